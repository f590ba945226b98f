//! A million logged decisions made again, beside evaluating the same questions from memory: as they were recorded, and under a draft.
//!
//! From memory they are evaluated by the same code on one world that is there already, one after the other. From the log each is read,
//! opened, parsed and judged on the world of its time, on as many threads as there are processors, as a running service does it. The two
//! take turns within one run. `-- --entries 100000` makes fewer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a measurement that fails has failed; the harness is shared with the tests"
)]

mod figures;
#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cedarkeep::app::App;
use cedarkeep::config::Config;
use cedarkeep::crypto;
use cedarkeep::decide::authorized::{AgentCreate, ThreadCreate, ThreadShare};
use cedarkeep::decide::judge::Moment;
use cedarkeep::decide::replay::{Range, Replaying, Report, Under};
use cedarkeep::decide::{Acting, Asker, Caller, Door, Named, Question, Until, audit};
use cedarkeep::directory::expiry::End;
use cedarkeep::directory::made::{self, Audience, Creates, New};
use cedarkeep::directory::object::{Level, Plan, Role, Scope};
use cedarkeep::directory::organization::{self, Founding};
use cedarkeep::directory::people::{self, Joining};
use cedarkeep::directory::service::{self, NewKey, Speaker};
use cedarkeep::directory::share::{self, Grant};
use cedarkeep::directory::{Kind, Ref};
use cedarkeep::policy::{Compiled, OwnPolicies, Source};
use chrono::Utc;
use serde_json::{Map, Value, json};

use harness::chance::Chance;

/// The service's own allocator, for what is compared with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ENTRIES: usize = 1_000_000;
const ROUNDS: usize = 3;
const BATCH: usize = 1_024;

const PEOPLE: usize = 2_000;
const THREADS: usize = 2_000;
/// So many of the private threads are shared with one person each.
const SHARED: usize = 500;
/// Different questions, which are asked one after the other.
const QUESTIONS: usize = 40_000;
/// After so many questions something changes.
const CHANGES: usize = 5_000;

const DRAFT: &str = r#"
@id("draft.viewers") forbid(principal is Cedarkeep::User, action == Cedarkeep::Action::"thread.read", resource) when { principal.role == Cedarkeep::Role::"Member" };
"#;

fn main() {
    let entries = std::env::args()
        .skip_while(|argument| argument != "--entries")
        .nth(1)
        .map_or(ENTRIES, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(entries));
}

/// An organization with people, threads, an agent, and questions about them: half of them refused, one in twenty an agent's.
struct Scene {
    app: Arc<App>,
    door: Arc<Door>,
    key: (Ref, Ref),
    questions: Arc<Vec<Question>>,
}

impl Scene {
    fn asker(&self, user: Option<Ref>) -> Asker {
        Asker {
            caller: Caller::Key {
                key: self.key.0,
                service: self.key.1,
                acting: user.map(|user| Acting { user, agent: None }),
            },
            request_id: Some("req-0123456789abcdef".into()),
            client: Some("192.0.2.17".into()),
            purpose: None,
        }
    }

    async fn make<A: Creates>(&self, by: Ref, org: Ref, audience: Audience) -> (Ref, Ref) {
        let (id, agent) = (crypto::random().unwrap(), crypto::random().unwrap());
        let new = New {
            id,
            agent,
            name: "Made".into(),
            audience,
        };
        let by = self.asker(Some(by));
        self.door
            .change::<A>(by, org, Map::new(), None, move |by, snapshot| {
                made::create(by, snapshot, &new)
            })
            .await
            .unwrap();
        (Ref::new(A::KIND, id), Ref::new(Kind::Agent, agent))
    }

    async fn share(&self, by: Ref, thread: Ref, grantee: Ref) {
        let id = crypto::random().unwrap();
        let grant = Grant {
            grantee,
            level: Level::Viewer,
            until: End::Never,
        };
        let member = match grantee.kind {
            Kind::AgentDefinition => "grantee_agent",
            _ => "grantee",
        };
        let who = json!({member: {"type": grantee.kind.name(), "id": grantee.to_string()}});
        let context = who.as_object().unwrap().clone();
        let by = self.asker(Some(by));
        self.door
            .change::<ThreadShare>(by, thread, context, None, move |by, snapshot| {
                share::share(by, snapshot, id, &grant)
            })
            .await
            .unwrap();
    }

    /// Asks so many questions, with four batches' worth waiting at any time, and changes something now and then.
    async fn decide(&self, entries: usize) {
        let mut waiting = tokio::task::JoinSet::new();
        let (mut sent, mut done) = (0, 0);
        while done < entries {
            while sent < entries && sent - done < 4 * BATCH {
                if sent % CHANGES == CHANGES - 1 {
                    let plan = [Plan::Business, Plan::Enterprise][sent / CHANGES % 2];
                    let changed = self
                        .door
                        .operate(move |by, snapshot| organization::set_plan(by, snapshot, plan));
                    changed.await.unwrap();
                }
                let (door, asker) = (Arc::clone(&self.door), self.asker(None));
                let (questions, at) = (Arc::clone(&self.questions), sent % QUESTIONS);
                sent += 1;
                waiting.spawn(async move {
                    let items = vec![questions[at].clone()];
                    let told = door.answers(asker, items, Until::All).await.unwrap();
                    assert!(told[0].is_ok());
                });
            }
            waiting.join_next().await.unwrap().unwrap();
            done += 1;
        }
    }
}

async fn scene(folder: &Path) -> Scene {
    let mut config = Config::default();
    config.data.dir = folder.to_owned();
    config.log.commit_timeout_ms = 60_000;
    let app = App::open(config).await.unwrap();
    let created = app
        .control()
        .create(&"bench".parse().unwrap(), Utc::now())
        .await
        .unwrap();
    let org = Ref::new(Kind::Organization, *created.id.bytes());
    let door = app.found(created).await.unwrap();
    let founding = Founding {
        name: "Bench".into(),
        plan: Plan::Enterprise,
    };
    let group: [u8; 16] = crypto::random().unwrap();
    door.operate(move |by, _| organization::found(by, org, &founding, group))
        .await
        .unwrap();
    let (key, speaker) = (crypto::random().unwrap(), crypto::random().unwrap());
    let new = NewKey {
        id: key,
        name: "back end".into(),
        speaker: Speaker::New {
            id: speaker,
            scopes: Scope::ALL.iter().copied().collect(),
        },
        expires_at: None,
        digest: [7; 32],
    };
    door.operate(move |by, snapshot| service::create_key_by_operator(by, snapshot, &new))
        .await
        .unwrap();
    let mut scene = Scene {
        app,
        door,
        key: (
            Ref::new(Kind::ApiKey, key),
            Ref::new(Kind::Service, speaker),
        ),
        questions: Arc::default(),
    };
    let mut persons = Vec::new();
    for number in 0..PEOPLE {
        let role = match number {
            0 => Role::Admin,
            _ => Role::Member,
        };
        let joining = Joining {
            id: crypto::random().unwrap(),
            name: format!("Person {number}"),
            email: format!("person{number}@example.com"),
            role,
        };
        persons.push(Ref::new(Kind::User, joining.id));
        scene
            .door
            .operate(move |by, snapshot| people::join_by_operator(by, snapshot, &joining))
            .await
            .unwrap();
    }
    let admin = persons[0];
    let everybody = Audience::Members(Ref::new(Kind::Group, group));
    let mut threads = Vec::new();
    for number in 0..THREADS {
        let audience = match number % 2 {
            0 => everybody,
            _ => Audience::Private,
        };
        threads.push(scene.make::<ThreadCreate>(admin, org, audience).await.0);
    }
    let (definition, agent) = scene.make::<AgentCreate>(admin, org, everybody).await;
    for number in 0..SHARED {
        scene
            .share(admin, threads[2 * number + 1], persons[number])
            .await;
        scene.share(admin, threads[2 * number], definition).await;
    }
    scene.questions = Arc::new(questions(&persons, &threads, agent));
    scene
}

fn questions(persons: &[Ref], threads: &[Ref], agent: Ref) -> Vec<Question> {
    let mut chance = Chance::of_bytes(b"replay");
    // Those in front are asked about more often.
    let mut one_of = |all: &[Ref]| {
        let even = (chance.number() >> 11) as f64 / (1_u64 << 53) as f64;
        all[((even * even * even) * all.len() as f64) as usize]
    };
    (0..QUESTIONS)
        .map(|number| {
            let (person, thread) = (one_of(persons), one_of(threads));
            let mut context = Map::new();
            let subject = match number % 20 {
                0 => {
                    let whom = json!({"type": "User", "id": person.to_string()});
                    context.insert("acts_for".into(), whom);
                    Named::of(agent)
                }
                _ => Named::of(person),
            };
            Question {
                subject,
                action: ["thread.read", "thread.comment"][number % 2].into(),
                action_properties: Map::new(),
                resource: Named::of(thread),
                context,
            }
        })
        .collect()
}

/// The most memory that this process has had since this was begun.
struct Watch {
    before: u64,
    most: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

impl Watch {
    fn begin() -> Self {
        let (most, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, over) = (Arc::clone(&most), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                seen.fetch_max(resident(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self {
            before: resident(),
            most,
            stop,
        }
    }

    /// How much more than before, in MB.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let most = self.most.load(Ordering::Relaxed).max(resident());
        most.saturating_sub(self.before) / 1_000_000
    }
}

/// The same questions from memory, on so many threads.
fn from_memory(scene: &Scene, entries: usize, threads: usize) -> Duration {
    let world = scene.door.glance();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (world, questions) = (&world, &scene.questions);
            scope.spawn(move || {
                let moment = Moment {
                    world,
                    now: Utc::now(),
                    region: "local",
                };
                let mut allowed = 0_usize;
                for number in (thread..entries).step_by(threads) {
                    let judged = moment.question(&questions[number % QUESTIONS]).unwrap();
                    allowed += usize::from(judged.is_allowed());
                }
                assert!(allowed > 0);
            });
        }
    });
    begun.elapsed()
}

async fn from_log(scene: &Scene, range: Range, under: Under) -> (Report, Duration, u64) {
    let watch = Watch::begin();
    let begun = Instant::now();
    let wanted = Replaying { range, under };
    let replayed = scene
        .door
        .replay(Asker::operator(), wanted, |_| ControlFlow::Continue(()));
    let report = replayed.await.unwrap();
    (report, begun.elapsed(), watch.end())
}

fn rate(entries: usize, time: Duration) -> f64 {
    entries as f64 / time.as_secs_f64()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

async fn measure(entries: usize) {
    let folder =
        tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).unwrap();
    let scene = scene(folder.path()).await;
    let first = audit::head(scene.door.store()).await.unwrap().size;
    let begun = Instant::now();
    scene.decide(entries).await;
    let head = audit::head(scene.door.store()).await.unwrap();
    println!(
        "{entries} decisions and {} other entries were logged in {:.0} s",
        head.size - first - entries as u64,
        begun.elapsed().as_secs_f64()
    );
    let range = Range::Indexes(first, Some(head.size));
    let processors = std::thread::available_parallelism().unwrap().get();
    let (mut ratios, mut beside, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let mut grown = Vec::new();
    for _ in 0..ROUNDS {
        let one = rate(entries, from_memory(&scene, entries, 1));
        let all = rate(entries, from_memory(&scene, entries, processors));
        let (report, time, memory) = from_log(&scene, range, Under::Recorded).await;
        assert!(report.is_same(), "{}", report.words());
        assert_eq!(report.tally.made(), entries as u64);
        let replayed = rate(entries, time);
        println!(
            "from memory on one thread {one:.0}/s, on {processors} {all:.0}/s; from the log {replayed:.0}/s, ratios {:.3} and {:.3}; {memory} MB more at most, {} states",
            replayed / one,
            replayed / all,
            report.worlds.all
        );
        ratios.push(replayed / one);
        beside.push(replayed / all);
        rates.push(replayed);
        grown.push(memory);
    }
    let source = Source {
        name: "draft.cedar".into(),
        text: DRAFT.into(),
    };
    let own = OwnPolicies {
        schema: None,
        policies: vec![source],
    };
    let draft = Arc::new(Compiled::new(scene.app.library(), &own).unwrap());
    let (report, time, memory) = from_log(&scene, range, Under::Compiled(draft)).await;
    println!(
        "under a draft {:.0}/s, {memory} MB more at most: {} gained, {} lost, {} otherwise",
        rate(entries, time),
        report.tally.changed.gained,
        report.tally.changed.lost,
        report.tally.changed.otherwise
    );
    assert!(report.tally.changed.lost > 0);
    let tenth = Range::Indexes(first, Some(first + entries as u64 / 10));
    let (_, _, little) = from_log(&scene, tenth, Under::Recorded).await;
    println!("a tenth of it takes {little} MB more at most");
    let (last, time, _) = from_log(&scene, Range::Last(entries as u64), Under::Recorded).await;
    println!(
        "the last {} decisions, found first: {:.0}/s",
        last.tally.decisions,
        rate(entries, time)
    );
    figures::write(vec![
        figure(
            "replay_vs_memory",
            median(rates),
            median(ratios),
            "memory, one thread",
        ),
        json!({
            "name": "replay_vs_memory_all_processors", "ratio": rounded(median(beside)),
            "against": format!("memory, {processors} threads"),
        }),
        json!({ "name": "replay_memory", "value": grown.iter().max(), "unit": "MB" }),
    ]);
    scene.door.close().await;
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 1e3).round() / 1e3
}

fn figure(name: &str, value: f64, ratio: f64, against: &str) -> Value {
    json!({
        "name": name, "value": value.round(), "unit": "decisions/s", "ratio": rounded(ratio), "against": against,
    })
}
