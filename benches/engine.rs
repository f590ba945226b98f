//! What an evaluation costs, in this process and without the log: beside Cedar's own authorizer, as policies, links and entities grow, and
//! for a search; what entities and links take in memory; and how often an evaluation allocates.
//!
//! All of it is measured on one thread. What counts is the ratio within a run. `--only NAME` makes one table: `cedar`, `policies`, `links`,
//! `entities`, `memory` or `search`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a measurement that fails has failed"
)]

mod figures;
mod held;

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cedar_policy::{Authorizer, Entities, PolicySet};
use cedarkeep::decide::spill::Spilling;
use cedarkeep::decide::world::World;
use cedarkeep::directory::connection::SignIn;
use cedarkeep::directory::object::{
    Circle, Level, Made, Organization, OwnLibrary, Plan, Role, Share, User,
};
use cedarkeep::directory::{Body, Kind, Near, Object, Ref, Row, RowId};
use cedarkeep::ids::TenantId;
use cedarkeep::policy::{Evaluation, Facts, Library, Question, Said, Uid, View as _, evaluate};
use serde_json::{Map, Value, json};

/// How much lives, and how often was asked for more.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static ASKED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the service's own allocator as it came; only numbers are kept beside it.
#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        ASKED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as it came.
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as it came.
        unsafe { mimalloc::MiMalloc.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(300);

/// Numbers that are the same in every run (SplitMix64).
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() >> 16).unwrap() % limit
    }
}

fn reference(kind: Kind, number: usize) -> Ref {
    let mut mixed = Chance(u64::try_from(number).unwrap() ^ 0x5eed);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mixed.number().to_be_bytes());
    id[8..].copy_from_slice(&mixed.number().to_be_bytes());
    Ref::new(kind, id)
}

/// An organization with as many people and threads as wanted: a team for every fifty people, a tenth of the threads open to their team,
/// the others private, every twentieth of them shared with somebody.
#[derive(Clone)]
struct Scene {
    world: World,
    users: usize,
    threads: usize,
}

const TEAM: usize = 50;

fn org() -> Ref {
    reference(Kind::Organization, 0)
}

fn object(reference: Ref, object: Object) -> Row {
    Row::Put(RowId::Object(reference), Body::Object(object))
}

fn person(number: usize) -> Row {
    let team = number / TEAM;
    let user = User {
        name: format!("Person {number}"),
        email: format!("person-{number}@example.com"),
        role: if number == 0 {
            Role::Admin
        } else {
            Role::Member
        },
        active: true,
        provisioned: None,
        groups: [reference(Kind::Group, 0), reference(Kind::Group, 1 + team)].into(),
        holds: 0,
        identities: BTreeSet::new(),
    };
    object(reference(Kind::User, number), Object::User(user))
}

fn thread(number: usize, users: usize) -> Row {
    let owner = number % users;
    let team = owner / TEAM;
    let made = Made {
        name: format!("Thread {number}"),
        owner: reference(Kind::User, owner),
        parent: reference(Kind::Team, team),
        audience: number
            .is_multiple_of(10)
            .then(|| reference(Kind::Group, 1 + team)),
        holds: 0,
    };
    object(reference(Kind::Thread, number), Object::Thread(made))
}

fn share(number: usize, resource: Ref, grantee: Ref) -> Row {
    let share = Share {
        level: Level::Viewer,
        grantee,
        resource,
        expires_at: None,
    };
    Row::Put(
        RowId::Share(reference(Kind::Thread, number).id),
        Body::Share(share),
    )
}

impl Scene {
    fn new(library: &Arc<Library>, users: usize, threads: usize) -> Self {
        let nothing = World::empty(org(), library);
        Self::of(&nothing, users, threads)
    }

    /// The same, with nothing in memory that may lie elsewhere.
    fn elsewhere(library: &Arc<Library>, users: usize, threads: usize) -> Self {
        let spilling = Spilling {
            dir: std::env::temp_dir(),
            most: 0,
        };
        let room = spilling.room(TenantId::new([7; 16]));
        let nothing = World::empty(org(), library).within(room);
        Self::of(&nothing, users, threads)
    }

    fn of(nothing: &World, users: usize, threads: usize) -> Self {
        let organization = Organization {
            name: "Acme".to_owned(),
            plan: Plan::Enterprise,
            regions: BTreeSet::new(),
            sso_enforced: None,
            active_admins: 2,
            members: reference(Kind::Group, 0),
            holds: 0,
            suspended: false,
            retention_days: None,
            share_days: None,
            closes_at: None,
            private_export: None,
            sign_in: SignIn::default(),
            scim: Box::default(),
        };
        let mut rows = vec![
            object(org(), Object::Organization(organization)),
            object(reference(Kind::Group, 0), Object::Group { of: org() }),
        ];
        for team in 0..users.div_ceil(TEAM) {
            let of = reference(Kind::Team, team);
            let circle = Circle {
                name: format!("Team {team}"),
                parent: org(),
                members: reference(Kind::Group, 1 + team),
                leads: reference(Kind::Group, 1_000_000 + team),
                holds: 0,
            };
            rows.push(object(of, Object::Team(circle)));
            for group in [1 + team, 1_000_000 + team] {
                rows.push(object(reference(Kind::Group, group), Object::Group { of }));
            }
        }
        rows.extend((0..users).map(person));
        rows.extend((0..threads).map(|number| thread(number, users)));
        rows.extend((0..threads).step_by(20).map(|number| {
            let grantee = reference(Kind::User, (number * 7 + 1) % users);
            share(number, reference(Kind::Thread, number), grantee)
        }));
        let world = nothing.with(&rows, 1).unwrap();
        Self {
            world,
            users,
            threads,
        }
    }

    fn with(self, rows: &[Row]) -> Self {
        Self {
            world: self.world.with(rows, 2).unwrap(),
            ..self
        }
    }

    fn question(&self, user: usize, action: &str, thread: usize) -> Question {
        let vocabulary = self.world.compiled().vocabulary();
        let facts = Facts {
            now: chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
            region: "eu".to_owned(),
            session: None,
            acts_for: None,
        };
        let nothing = Map::new();
        let said = Said {
            context: &nothing,
            action: &nothing,
        };
        let parts = (
            Uid::Ours(reference(Kind::User, user)),
            vocabulary.action(action).unwrap(),
            Uid::Ours(reference(Kind::Thread, thread)),
        );
        vocabulary.question(parts, said, &facts).unwrap()
    }

    /// Half of them the owner's, half of them somebody's.
    fn questions(&self, count: usize) -> Vec<Question> {
        let mut chance = Chance(7);
        let one = |number: usize| {
            let thread = chance.below(self.threads);
            let user = if number.is_multiple_of(2) {
                thread % self.users
            } else {
                chance.below(self.users)
            };
            let action = ["thread.read", "thread.comment"][number / 2 % 2];
            self.question(user, action, thread)
        };
        (0..count).map(one).collect()
    }

    fn evaluate(&self, question: &Question) -> Evaluation {
        let of = |uid: &Uid| uid.reference().unwrap();
        let links = self
            .world
            .links(of(question.principal()), of(question.resource()));
        let near = Near::of(
            self.world.snapshot(),
            question.principal(),
            question.resource(),
        );
        evaluate(self.world.compiled(), &links, &near, question)
    }
}

/// How long one takes, in nanoseconds: the median of some rounds.
fn each<T>(items: &[T], mut work: impl FnMut(&T)) -> f64 {
    items.iter().take(100).for_each(&mut work);
    median((0..ROUNDS).map(|_| round(items, &mut work)).collect())
}

fn round<T>(items: &[T], mut work: impl FnMut(&T)) -> f64 {
    let (start, mut done) = (Instant::now(), 0_usize);
    while start.elapsed() < ROUND {
        for item in items.iter().skip(done % items.len()).take(64) {
            work(item);
            done += 1;
        }
    }
    start.elapsed().as_nanos() as f64 / done as f64
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn evaluated(scene: &Scene) -> f64 {
    let questions = scene.questions(4_096);
    each(&questions, |question| {
        black_box(scene.evaluate(question));
    })
}

/// The first of scenes that grow. The others take turns with it, so that a machine that grows slower meanwhile is slower for both.
struct First(Option<(Scene, Vec<Question>)>);

impl First {
    /// How long one evaluation takes in this scene, in nanoseconds, and how many times what it takes in the first: medians.
    fn beside(&mut self, scene: Scene) -> (f64, f64) {
        let questions = scene.questions(4_096);
        let time = |(scene, questions): (&Scene, &[Question])| {
            round(questions, |question| {
                black_box(scene.evaluate(question));
            })
        };
        let (first, asked) = self
            .0
            .get_or_insert_with(|| (scene.clone(), questions.clone()));
        let (mut times, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let least = time((first, asked));
            let one = time((&scene, &questions));
            times.push(one);
            ratios.push(one / least);
        }
        (median(times), median(ratios))
    }
}

fn figure(name: &str, value: f64, unit: &str, ratio: f64, against: &str) -> Value {
    let rounded = |number: f64| (number * 1e4).round() / 1e4;
    json!({"name": name, "value": rounded(value), "unit": unit, "ratio": rounded(ratio), "against": against})
}

fn main() {
    let library = Library::builtin().unwrap().with_own_most(usize::MAX);
    let library = Arc::new(library);
    let mut figures = Vec::new();
    let only = std::env::args().skip_while(|one| one != "--only").nth(1);
    let takes = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if takes("cedar") {
        let small = Scene::new(&library, 1_000, 1_000);
        against_cedar(&small, &mut figures);
        allocations(&small, &mut figures);
    }
    if takes("policies") {
        policies(&library, &mut figures);
    }
    if takes("links") {
        links(&library, &mut figures);
    }
    if takes("entities") {
        entities(&library, &mut figures);
    }
    if takes("memory") {
        held::memory(&library, &mut figures);
        held::read_back(&library, &mut figures);
    }
    if takes("search") {
        search(&library, &mut figures);
    }
    figures::write(figures);
}

/// Beside Cedar's own authorizer: on the whole set, with the entities put together for each question, and with them put together before.
fn against_cedar(scene: &Scene, figures: &mut Vec<Value>) {
    let library = scene.world.compiled().library();
    let whole = PolicySet::from_policies(library.policies().cloned()).unwrap();
    let actions = library.schema().action_entities().unwrap();
    let questions = scene.questions(256);
    let gathered = |question: &Question| {
        let starts = [question.principal().clone(), question.resource().clone()];
        let slice = scene.world.snapshot().slice(&starts).unwrap();
        let action = actions.get(&question.action().uid().to_cedar().unwrap());
        let all = slice.into_iter().chain(action.cloned());
        Entities::from_entities(all, None).unwrap()
    };
    let ours = evaluated(scene);
    let built = each(&questions, |question| {
        let request = question.to_cedar().unwrap();
        black_box(Authorizer::new().is_authorized(&request, &whole, &gathered(question)));
    });
    let ready: Vec<_> = questions
        .iter()
        .map(|question| (question.to_cedar().unwrap(), gathered(question)))
        .collect();
    let bare = each(&ready, |(request, entities)| {
        black_box(Authorizer::new().is_authorized(request, &whole, entities));
    });
    println!(
        "one evaluation of the built-in {} policies:",
        library.policies().count()
    );
    println!("  compiled, on the directory itself      {ours:>9.0} ns");
    println!("  Cedar's authorizer, entities at hand   {bare:>9.0} ns");
    println!("  Cedar's authorizer, entities gathered  {built:>9.0} ns");
    figures.push(figure(
        "eval_vs_cedar",
        ours,
        "ns",
        ours / bare,
        "cedar_authorizer",
    ));
    figures.push(figure(
        "eval_vs_cedar_gathering",
        ours,
        "ns",
        ours / built,
        "cedar_authorizer_with_slice",
    ));
}

fn allocations(scene: &Scene, figures: &mut Vec<Value>) {
    let questions = scene.questions(1_000);
    questions.iter().for_each(|question| {
        black_box(scene.evaluate(question));
    });
    let before = ASKED.load(Ordering::Relaxed);
    for question in &questions {
        black_box(scene.evaluate(question));
    }
    let each = (ASKED.load(Ordering::Relaxed) - before) as f64 / questions.len() as f64;
    println!("  allocations in one evaluation          {each:>9.1}");
    figures.push(json!({"name": "eval_allocations", "value": each, "unit": "allocations"}));
}

/// An organization's own policies, each about one person and one thread, one action, and now and then only one of both.
fn own_policies(count: usize, users: usize, threads: usize) -> Row {
    let mut text = String::new();
    let mut chance = Chance(11);
    for number in 0..count {
        let user = reference(Kind::User, chance.below(users));
        let thread = reference(Kind::Thread, chance.below(threads));
        let resource = match number % 10 {
            0 => "resource is Cedarkeep::Thread".to_owned(),
            _ => format!("resource == Cedarkeep::Thread::\"{thread}\""),
        };
        writeln!(
            text,
            "@id(\"own.{number}\") forbid (principal == Cedarkeep::User::\"{user}\", action == Cedarkeep::Action::\"thread.read\", {resource}) when {{ resource.holds > 7 }};"
        )
        .unwrap();
    }
    let library = OwnLibrary {
        version: 1,
        schema: String::new(),
        policies: vec![("own.cedar".to_owned(), text)],
        activated: None,
    };
    Row::Put(RowId::Library, Body::Library(library))
}

fn policies(library: &Arc<Library>, figures: &mut Vec<Value>) {
    println!("\n| own policies | one evaluation, ns | times the first | compiling, s |");
    println!("| ---: | ---: | ---: | ---: |");
    let mut first = First(None);
    for count in [30, 1_000, 10_000, 100_000] {
        let scene = Scene::new(library, 10_000, 10_000);
        let start = Instant::now();
        let scene = scene.with(&[own_policies(count, 10_000, 10_000)]);
        let compiled = start.elapsed().as_secs_f64();
        let (one, ratio) = first.beside(scene);
        println!("| {count} | {one:.0} | {ratio:.2} | {compiled:.1} |");
        if count == 100_000 {
            let name = "eval_100k_policies_vs_30";
            figures.push(figure(name, one, "ns", ratio, "30_policies"));
        }
    }
}

fn links(library: &Arc<Library>, figures: &mut Vec<Value>) {
    println!("\n| links | one evaluation, ns | times the first |");
    println!("| ---: | ---: | ---: |");
    let mut first = First(None);
    for count in [30, 10_000, 100_000] {
        let mut chance = Chance(13);
        let rows: Vec<Row> = (0..count)
            .map(|number| {
                let resource = reference(Kind::Thread, chance.below(10_000));
                let grantee = reference(Kind::User, chance.below(10_000));
                share(50_000_000 + number, resource, grantee)
            })
            .collect();
        let scene = Scene::new(library, 10_000, 10_000).with(&rows);
        let (one, ratio) = first.beside(scene);
        println!("| {count} | {one:.0} | {ratio:.2} |");
        if count == 100_000 {
            let name = "eval_100k_links_vs_30";
            figures.push(figure(name, one, "ns", ratio, "30_links"));
        }
    }
}

fn entities(library: &Arc<Library>, figures: &mut Vec<Value>) {
    println!("\n| entities | one evaluation, ns | times the first | one entity changed, ns |");
    println!("| ---: | ---: | ---: | ---: |");
    let (mut first, mut first_change) = (First(None), None);
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let scene = Scene::new(library, count / 10, count - count / 10);
        let rows: Vec<Row> = (0..256).map(|number| thread(number, scene.users)).collect();
        let change = each(&rows, |row| {
            black_box(scene.world.with(std::slice::from_ref(row), 3).unwrap());
        });
        let (one, ratio) = first.beside(scene);
        println!("| {count} | {one:.0} | {ratio:.2} | {change:.0} |");
        let changed = *first_change.get_or_insert(change);
        if count == 1_000_000 {
            let name = "eval_1m_entities_vs_1k";
            figures.push(figure(name, one, "ns", ratio, "1k_entities"));
            figures.push(figure(
                "change_1m_entities_vs_1k",
                change,
                "ns",
                change / changed,
                "1k_entities",
            ));
        }
    }
}

fn search(library: &Arc<Library>, figures: &mut Vec<Value>) {
    println!("\n| threads | found | the first 50, us | all, us | each evaluated, us | ratio |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for count in [1_000, 100_000] {
        let scene = Scene::new(library, 1_000, count);
        let somebody = scene.question(17, "thread.read", 0);
        let allowed = |resource: Ref| {
            let question = somebody.about(resource.into());
            scene.evaluate(&question).is_allowed()
        };
        let found = |limit: usize| -> Vec<Ref> {
            let candidates = scene.world.among(&somebody, Kind::Thread, None).unwrap();
            candidates.filter(|one| allowed(*one)).take(limit).collect()
        };
        let every = || -> Vec<Ref> {
            let all = scene.world.snapshot().objects_of(Kind::Thread, None);
            all.map(|(one, _)| one)
                .filter(|one| allowed(*one))
                .collect()
        };
        assert_eq!(found(usize::MAX), every(), "nothing is left out");
        let median = |work: &dyn Fn() -> usize| {
            let mut times: Vec<f64> = (0..ROUNDS)
                .map(|_| {
                    let start = Instant::now();
                    black_box(work());
                    start.elapsed().as_nanos() as f64 / 1e3
                })
                .collect();
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        };
        let first = median(&|| found(50).len());
        let all = median(&|| found(usize::MAX).len());
        let each = median(&|| every().len());
        println!(
            "| {count} | {} | {first:.0} | {all:.0} | {each:.0} | {:.4} |",
            found(usize::MAX).len(),
            all / each
        );
        if count == 100_000 {
            figures.push(figure(
                "search_all_100k_vs_each",
                all,
                "us",
                all / each,
                "evaluating_each",
            ));
            figures.push(figure(
                "search_first_50_of_100k",
                first,
                "us",
                first / each,
                "evaluating_each",
            ));
        }
    }
}
