//! The checks: which mutants each of them notices.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::{PolicySet, ValidationMode, Validator};
use cedarkeep::policy::suite::Case as Tested;
use cedarkeep::policy::{
    Compiled, DEREFERENCE_LEVEL, Determining, Evaluation, Failure, Library, Link, OwnPolicies,
    Question, SCHEMA, Verdict, View,
};

use super::super::checks::{cases, own, own_cases};
use super::super::slice::Slice;
use super::super::world::{Case, LIBRARY, answer, rows as all_rows};
use super::{Form, Mutant, library};

/// Those that strict validation refuses, or of which it says that they can never apply.
pub fn validation(mutants: &[Mutant]) -> BTreeSet<&str> {
    let validator = Validator::new(LIBRARY.schema().clone());
    let refused = |mutant: &&Mutant| {
        if !mutant.can_be_loaded() {
            return true;
        }
        let mut set = PolicySet::new();
        match &mutant.form {
            Form::Removed => return false,
            Form::Policy(policy) => set.add(policy.as_ref().clone()).unwrap(),
            Form::Template(template) => set.add_template(template.as_ref().clone()).unwrap(),
        }
        let result = validator.validate_with_level(&set, ValidationMode::Strict, DEREFERENCE_LEVEL);
        !result.validation_passed_without_warnings()
    };
    let all: Vec<&Mutant> = mutants.iter().collect();
    shared(&all, |mutants| {
        let refused = mutants.iter().copied().filter(refused);
        refused.map(|mutant| mutant.id.as_str()).collect()
    })
}

/// Those under which a row of the permissions page is answered otherwise.
pub fn rows(mutants: &[Mutant]) -> BTreeSet<&str> {
    let rows = all_rows();
    // A stride coprime to their number meets something of everything early.
    let order: Vec<usize> = (0..rows.len()).map(|at| (at * 7919) % rows.len()).collect();
    let mut alive: Vec<&Mutant> = mutants.iter().collect();
    let mut noticed = BTreeSet::new();
    let mut begin = 0;
    // What is noticed early is not looked at again.
    for end in [40, 200, 1_000, 4_000, rows.len()] {
        let some = &order[begin..end.min(rows.len())];
        let found = {
            let among = Among::new(&alive, &OwnPolicies::default());
            shared(some, |some| {
                let mut found = BTreeSet::new();
                for at in some {
                    let case = Case::new(&rows[*at]);
                    let view = Slice::of(&case.slice);
                    let links: Vec<Link> =
                        case.links.iter().map(|one| one.link().clone()).collect();
                    let half = among.half(&view, &links, &case.question);
                    let expected = case.row.expected();
                    let differs = |verdict: Verdict| answer(&verdict.conclude()) != expected;
                    found.extend(among.noticed(&[half], |mut halves| differs(halves.remove(0))));
                }
                found
            })
        };
        alive.retain(|mutant| !found.contains(mutant.id.as_str()));
        noticed.extend(found);
        begin = end;
    }
    noticed
}

/// Those under which a test of the project's own files fails, beside an organization's own policies too.
pub fn tests(mutants: &[Mutant]) -> BTreeSet<&str> {
    let mut noticed = failing(mutants, &OwnPolicies::default(), &cases());
    noticed.extend(failing(mutants, &own(), &own_cases()));
    noticed
}

fn failing<'m>(mutants: &'m [Mutant], own: &OwnPolicies, cases: &[Tested]) -> BTreeSet<&'m str> {
    let all: Vec<&Mutant> = mutants.iter().collect();
    let among = Among::new(&all, own);
    shared(cases, |cases| {
        let mut found = BTreeSet::new();
        for case in cases {
            let halves: Vec<Half> = case
                .questions()
                .iter()
                .map(|question| {
                    let links: Vec<Link> = case.links_of(question).cloned().collect();
                    among.half(case.view(), &links, question)
                })
                .collect();
            let differs = |halves: Vec<Verdict>| {
                let halves = halves.into_iter().map(Verdict::conclude);
                let whole = halves.reduce(Evaluation::and);
                whole.is_some_and(|whole| case.differs(&whole).is_some())
            };
            found.extend(among.noticed(&halves, differs));
        }
        found
    })
}

/// A part of the work on each processor.
fn shared<'m, T: Sync>(
    all: &[T],
    work: impl Fn(&[T]) -> BTreeSet<&'m str> + Sync,
) -> BTreeSet<&'m str> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = all.len().div_ceil(processors).max(1);
    std::thread::scope(|scope| {
        let work = &work;
        let threads = all
            .chunks(share)
            .map(|some| scope.spawn(move || work(some)));
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Mutants, ready to be asked.
struct Among<'m> {
    mutants: Vec<&'m Mutant>,
    original: Compiled,
    changed: Compiled,
    /// Each of these is asked by itself: the name of its template says what it may link.
    auditors: Vec<(&'m Mutant, Arc<Library>)>,
}

/// What the policies say of a half of a question, and what the mutants do.
struct Half {
    original: Told,
    changed: HashMap<String, Said>,
}

#[derive(Clone)]
enum Said {
    Permits(Determining),
    Forbids(Determining),
    Fails(bool),
}

/// A verdict that can be copied.
#[derive(Clone, Default)]
struct Told {
    permits: Vec<Determining>,
    forbids: Vec<Determining>,
}

impl<'m> Among<'m> {
    fn new(mutants: &[&'m Mutant], own: &OwnPolicies) -> Self {
        let mutants: Vec<&'m Mutant> = mutants
            .iter()
            .copied()
            .filter(|mutant| mutant.can_be_loaded())
            .collect();
        let (auditors, others): (Vec<&Mutant>, Vec<&Mutant>) = mutants
            .iter()
            .copied()
            .partition(|mutant| mutant.of == "auditor");
        let alone = |mutant: &'m Mutant| {
            let Form::Template(template) = &mutant.form else {
                return None;
            };
            let text = template.to_string().replace(&mutant.id, "auditor");
            let files = [("auditor.cedar", text.as_str())];
            let library = Library::compile(SCHEMA, &files).unwrap();
            Some((mutant, Arc::new(library)))
        };
        Self {
            original: Compiled::new(&LIBRARY, own).unwrap(),
            changed: Compiled::new(&library(&others), own).unwrap(),
            mutants,
            auditors: auditors.into_iter().filter_map(alone).collect(),
        }
    }

    fn half(&self, view: &dyn View, links: &[Link], question: &Question) -> Half {
        let link = |library: &Library, link: &Link| library.link(link.clone()).unwrap();
        let ours: Vec<_> = links.iter().map(|one| link(&LIBRARY, one)).collect();
        let original = Verdict::of(&self.original, &ours, view, question);
        assert!(original.failures.is_empty());
        let mut theirs = Vec::new();
        for mutant in &self.mutants {
            if !matches!(mutant.form, Form::Template(_)) || mutant.of == "auditor" {
                continue;
            }
            for one in links.iter().filter(|one| one.template == mutant.of) {
                let mut one = one.clone();
                one.template = mutant.id.clone().into();
                theirs.push(link(self.changed.library(), &one));
            }
        }
        let mut changed = HashMap::new();
        add(
            &mut changed,
            None,
            Verdict::of(&self.changed, &theirs, view, question),
            &self.mutants,
        );
        for (mutant, library) in &self.auditors {
            let own = links.iter().filter(|one| one.template == "auditor");
            let own: Vec<_> = own.map(|one| link(library, one)).collect();
            if !own.is_empty() {
                let alone = Compiled::builtin(library);
                let verdict = Verdict::of(&alone, &own, view, question);
                add(&mut changed, Some(mutant), verdict, &self.mutants);
            }
        }
        Half {
            original: Told {
                permits: original.permits,
                forbids: original.forbids,
            },
            changed,
        }
    }

    /// The mutants under which the verdicts of all halves differ from what is expected.
    fn noticed(
        &self,
        halves: &[Half],
        differs: impl Fn(Vec<Verdict>) -> bool,
    ) -> BTreeSet<&'m str> {
        let noticed = self.mutants.iter().filter(|mutant| {
            let same = halves.iter().all(|half| half.is_as_before(mutant));
            !same && differs(halves.iter().map(|half| half.under(mutant)).collect())
        });
        noticed.map(|mutant| mutant.id.as_str()).collect()
    }
}

fn add(
    changed: &mut HashMap<String, Said>,
    alone: Option<&Mutant>,
    verdict: Verdict,
    mutants: &[&Mutant],
) {
    let id = |of: &str| alone.map_or_else(|| of.to_owned(), |mutant| mutant.id.clone());
    for one in verdict.permits {
        changed.insert(id(&one.id), Said::Permits(one));
    }
    for one in verdict.forbids {
        changed.insert(id(&one.id), Said::Forbids(one));
    }
    for one in verdict.failures {
        // Of a link the template comes first.
        let of = id(one.id.split('/').next().unwrap());
        let Some(mutant) = mutants.iter().find(|mutant| mutant.id == of) else {
            continue;
        };
        let forbids = match &mutant.form {
            Form::Policy(policy) => policy.effect() == cedar_policy::Effect::Forbid,
            _ => false,
        };
        changed.insert(of, Said::Fails(forbids));
    }
}

impl Half {
    fn is_as_before(&self, mutant: &Mutant) -> bool {
        let has = |all: &[Determining]| all.iter().any(|one| *one.id == *mutant.of);
        match self.changed.get(&mutant.id) {
            None => !has(&self.original.permits) && !has(&self.original.forbids),
            Some(Said::Permits(_)) => has(&self.original.permits),
            Some(Said::Forbids(_)) => has(&self.original.forbids),
            Some(Said::Fails(_)) => false,
        }
    }

    /// What the policies say with the mutant in the place of what it is made from.
    fn under(&self, mutant: &Mutant) -> Verdict {
        let others = |all: &[Determining]| -> Vec<Determining> {
            let others = all.iter().filter(|one| *one.id != *mutant.of);
            others.cloned().collect()
        };
        let mut verdict = Verdict {
            permits: others(&self.original.permits),
            forbids: others(&self.original.forbids),
            ..Verdict::default()
        };
        let named = |one: &Determining| Determining {
            id: mutant.of.as_str().into(),
            ..one.clone()
        };
        match self.changed.get(&mutant.id) {
            None => {}
            Some(Said::Permits(one)) => verdict.permits.push(named(one)),
            Some(Said::Forbids(one)) => verdict.forbids.push(named(one)),
            Some(Said::Fails(forbids)) => {
                verdict.forbid_failed = *forbids;
                verdict.failures.push(Failure {
                    id: mutant.of.clone(),
                    message: String::new(),
                });
            }
        }
        verdict
    }
}
