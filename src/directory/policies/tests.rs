//! Versions from draft to rollback, on a small organization.
#![expect(clippy::unwrap_used, reason = "a test")]

use serde_json::json;

use super::counting::*;
use super::rules::*;
use super::standing::{CHECK_HOURS, Demand, Flips, Proved, Replayed};
use super::*;
use crate::decide::authorized::{Operator, PolicyActivate, PolicyEdit, PolicyRollback};
use crate::directory::own::put_entities_by_operator;
use crate::directory::world::{World, now};
use crate::log::entry::Fact;

fn files(name: &str) -> Files {
    Files::of(
        "entity Ticket { title: String };".into(),
        vec![(name.into(), format!("// {name}"))],
        Vec::new(),
    )
    .unwrap()
}

fn a(name: &str) -> Draft {
    Draft::of(files(name), "why")
}

fn wanted(number: u64) -> Wanted<'static> {
    Wanted {
        number,
        active: None,
        builtin: "sha256:b",
    }
}

impl World {
    fn drafted(&mut self, draft: &Draft) -> u64 {
        let by = self.by::<PolicyEdit>(self.org);
        self.apply(super::draft(&by, &self.snapshot, draft));
        self.snapshot.rules().newest
    }

    fn activated(&mut self, number: u64) {
        let by = self.by::<PolicyActivate>(self.org);
        self.apply(activate(&by, &self.snapshot, &wanted(number)));
    }

    fn asks(&mut self, conditions: Conditions) {
        let by = self.by::<PolicyActivate>(self.org);
        self.apply(set_conditions(&by, &self.snapshot, &conditions));
    }

    /// What stands against activating it, as Ada.
    fn against(&self, number: u64) -> Vec<String> {
        let by = self.by::<PolicyActivate>(self.org);
        match activate(&by, &self.snapshot, &wanted(number)) {
            Ok(_) => Vec::new(),
            Err(DirectoryError::Unmet { unmet, .. }) => unmet,
            Err(other) => vec![other.to_string()],
        }
    }

    fn found(&mut self, number: u64, found: (&Checked, Option<&Tested>)) {
        let by = self.by::<PolicyEdit>(self.org);
        self.apply(check(&by, &self.snapshot, number, found));
    }
}

fn events(change: &Change) -> Vec<Event> {
    change.events.iter().map(|event| event.event).collect()
}

#[test]
fn a_draft_counts_once_it_is_activated() {
    let mut world = World::new();
    let first = world.drafted(&a("a.cedar"));
    assert_eq!((first, world.snapshot.library().version), (1, 0));
    world.activated(first);
    let library = world.snapshot.library();
    assert_eq!(library.version, 1);
    assert_eq!(library.policies, files("a.cedar").policies);
    assert_eq!(library.activated.unwrap().by, Some(world.ada));
    let second = world.drafted(&a("b.cedar"));
    assert_eq!(world.snapshot.version(second).unwrap().base, 1);
    assert_eq!(
        world.snapshot.version(second).unwrap().files(second),
        Ok(files("b.cedar"))
    );
    assert!(world.against(first).concat().contains("active already"));
    assert!(
        world
            .against(9)
            .concat()
            .contains("there is no version `9`")
    );
}

#[test]
fn a_version_comes_back_in_one_step_and_a_draft_does_not() {
    let mut world = World::new();
    let by = world.by::<PolicyRollback>(world.org);
    for name in ["a.cedar", "b.cedar", "c.cedar"] {
        world.drafted(&a(name));
    }
    world.activated(1);
    world.activated(2);
    world.apply(roll_back(&by, &world.snapshot, 1));
    assert_eq!(world.snapshot.library().version, 1);
    assert_eq!(world.snapshot.library().policies, files("a.cedar").policies);
    for (number, why) in [
        (1, "active already"),
        (3, "never active"),
        (4, "there is no"),
    ] {
        let refused = roll_back(&by, &world.snapshot, number).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[test]
fn the_entry_of_an_activation_tells_the_version_to_strangers() {
    let mut world = World::new();
    let by = Operator::in_test(now());
    let first = load_by_operator(&by, &world.snapshot, &a("a.cedar")).unwrap();
    assert_eq!(
        events(&first),
        [
            Event::PolicyDrafted,
            Event::PolicyActivated,
            Event::SchemaEdited
        ]
    );
    let facts: Vec<_> = first
        .events
        .iter()
        .map(|event| event.fact.clone())
        .collect();
    assert_eq!(facts, [None, Some(Fact::PolicyVersion(1)), None]);
    world.apply(Ok(first));
    let second = load_by_operator(&by, &world.snapshot, &a("b.cedar")).unwrap();
    assert_eq!(
        events(&second),
        [Event::PolicyDrafted, Event::PolicyActivated]
    );
}

#[test]
fn clearing_goes_forward_to_nothing() {
    let mut world = World::new();
    let by = Operator::in_test(now());
    assert!(clear(&by, &world.snapshot).is_err());
    world.apply(load_by_operator(&by, &world.snapshot, &a("a.cedar")));
    world.apply(clear(&by, &world.snapshot));
    let library = world.snapshot.library();
    assert_eq!((library.version, library.schema.as_str()), (2, ""));
    assert!(library.policies.is_empty());
}

#[test]
fn clearing_leaves_entities_the_schema_that_they_need() {
    let mut world = World::new();
    let by = Operator::in_test(now());
    world.apply(load_by_operator(&by, &world.snapshot, &a("a.cedar")));
    let ticket = json!({
        "uid": {"type": "Ticket", "id": "1"}, "attrs": {"title": "a"}, "parents": [],
    });
    world.apply(put_entities_by_operator(
        &by,
        &world.snapshot,
        &[ticket],
        &[1; 32],
    ));
    world.apply(clear(&by, &world.snapshot));
    let library = world.snapshot.library();
    assert!(library.policies.is_empty() && !library.schema.is_empty());
    assert!(clear(&by, &world.snapshot).is_err());
}

#[test]
fn what_was_discarded_leaves_its_number_behind() {
    let mut world = World::new();
    let by = world.by::<PolicyEdit>(world.org);
    let first = world.drafted(&a("a.cedar"));
    world.apply(discard(&by, &world.snapshot, first));
    assert!(world.snapshot.version(first).is_none() && world.snapshot.standing(first).is_none());
    assert!(discard(&by, &world.snapshot, first).is_err());
    let second = world.drafted(&a("b.cedar"));
    assert_eq!(second, 2);
    world.activated(second);
    let refused = discard(&by, &world.snapshot, second).unwrap_err();
    assert!(refused.to_string().contains("was active"), "{refused}");
}

#[test]
fn drafts_end_somewhere() {
    let mut world = World::new();
    for _ in 0..DRAFTS_LIMIT {
        world.drafted(&a("a.cedar"));
    }
    let by = world.by::<PolicyEdit>(world.org);
    assert!(draft(&by, &world.snapshot, &a("a.cedar")).is_err());
    world.activated(1);
    assert!(draft(&by, &world.snapshot, &a("a.cedar")).is_ok());
    world.drafted(&a("b.cedar"));
    // The operator's way back in is never shut by drafts.
    let operator = Operator::in_test(now());
    assert!(draft(&by, &world.snapshot, &a("a.cedar")).is_err());
    assert!(clear(&operator, &world.snapshot).is_ok());
    for message in ["x".repeat(MESSAGE_LIMIT + 1), "a\u{202e}b".into()] {
        let wrong = Draft::of(files("a.cedar"), message);
        assert!(draft(&by, &world.snapshot, &wrong).is_err());
    }
}

#[test]
fn tests_are_asked_for() {
    let mut world = World::new();
    world.asks(Conditions {
        tests: true,
        ..Conditions::default()
    });
    let without = world.drafted(&a("a.cedar"));
    let ran = |builtin: &str, passed, failed| {
        let builtin = builtin.into();
        let tested = Tested {
            passed,
            failed,
            builtin,
        };
        a("a.cedar").tested(Some(tested), Vec::new())
    };
    let with = |passed, failed| ran("sha256:b", passed, failed);
    let failing = world.drafted(&with(3, 1));
    let none = world.drafted(&with(0, 0));
    let passing = world.drafted(&with(3, 0));
    let earlier = world.drafted(&ran("sha256:a", 3, 0));
    assert!(world.against(without).concat().contains("no tests"));
    assert!(
        world
            .against(failing)
            .concat()
            .contains("1 of its 4 tests fail")
    );
    assert_eq!(world.against(none).len(), 1);
    assert_eq!(world.against(passing), Vec::<String>::new());
    assert!(
        world
            .against(earlier)
            .concat()
            .contains("other built-in policies than there are now: check it")
    );
    let again = Tested {
        passed: 3,
        failed: 0,
        builtin: "sha256:b".into(),
    };
    world.found(earlier, (&checked(None, None), Some(&again)));
    assert_eq!(world.against(earlier), Vec::<String>::new());
    let by = world.by::<PolicyActivate>(world.org);
    assert!(load(&by, &world.snapshot, &a("a.cedar")).is_err());
    assert!(load(&by, &world.snapshot, &with(1, 0)).is_ok());
}

fn checked(proved: Option<Proved>, replayed: Option<Replayed>) -> Checked {
    Checked {
        against: 0,
        builtin: "sha256:b".into(),
        at: now(),
        proved,
        without_solver: false,
        replayed,
    }
}

const PROVED: Proved = Proved {
    holds: 9,
    fails: 0,
    unknown: 0,
};

#[test]
fn a_proof_is_asked_for() {
    let mut world = World::new();
    world.asks(Conditions {
        proof: Demand::Yes,
        ..Conditions::default()
    });
    let number = world.drafted(&a("a.cedar"));
    assert!(world.against(number).concat().contains("was not checked"));
    let fails = Proved { fails: 1, ..PROVED };
    let unknown = Proved {
        unknown: 1,
        ..PROVED
    };
    for (proved, stands) in [
        (None, true),
        (Some(fails), true),
        (Some(unknown), true),
        (Some(Proved { holds: 0, ..PROVED }), true),
        (Some(PROVED), false),
    ] {
        world.found(number, (&checked(proved, None), None));
        assert_eq!(!world.against(number).is_empty(), stands, "{proved:?}");
    }
    // What was found against another version, other built-in policies, or too long ago, says nothing.
    let late = now() - chrono::Duration::hours(CHECK_HOURS);
    for stale in [
        Checked {
            against: 7,
            ..checked(Some(PROVED), None)
        },
        Checked {
            builtin: "sha256:c".into(),
            ..checked(Some(PROVED), None)
        },
        Checked {
            at: late,
            ..checked(Some(PROVED), None)
        },
    ] {
        world.found(number, (&stale, None));
        assert!(
            world.against(number).concat().contains("was not checked"),
            "{stale:?}"
        );
    }
    world.asks(Conditions {
        proof: Demand::IfPossible,
        ..Conditions::default()
    });
    // That nobody looked is no lack of a solver.
    for (proved, stands) in [(None, true), (Some(unknown), false), (Some(fails), true)] {
        world.found(number, (&checked(proved, None), None));
        assert_eq!(!world.against(number).is_empty(), stands, "{proved:?}");
    }
    let without = Checked {
        without_solver: true,
        ..checked(None, None)
    };
    world.found(number, (&without, None));
    assert_eq!(world.against(number), Vec::<String>::new());
    world.asks(Conditions {
        proof: Demand::Yes,
        ..Conditions::default()
    });
    assert!(world.against(number).concat().contains("install cvc5"));
    let by = world.by::<PolicyActivate>(world.org);
    assert!(load(&by, &world.snapshot, &a("a.cedar")).is_err());
}

#[test]
fn a_replay_is_asked_for() {
    let mut world = World::new();
    let replay = Some(Flips { last: 100, most: 2 });
    world.asks(Conditions {
        replay,
        ..Conditions::default()
    });
    let number = world.drafted(&a("a.cedar"));
    let replayed = |newest, gained, lost, unknown| Replayed {
        from: 0,
        to: 1_000,
        decisions: 100,
        gained,
        lost,
        left_out: unknown + 5,
        unknown,
        newest,
    };
    let with = |decisions, left_out| Replayed {
        decisions,
        left_out,
        ..replayed(100, 0, 0, 0)
    };
    for (replayed, stands) in [
        (None, true),
        (Some(replayed(100, 1, 1, 0)), false),
        (Some(replayed(u64::MAX, 0, 0, 0)), false),
        (Some(replayed(100, 2, 1, 0)), true),
        // What the version cannot answer any more, it refuses.
        (Some(replayed(100, 1, 0, 2)), true),
        // Fewer than are asked for, or a stretch that is not the newest: it begins at the first entry, and shows one.
        (Some(replayed(99, 0, 0, 0)), true),
        (Some(replayed(0, 0, 0, 0)), true),
        // A log that is young has few, and one that nobody can read again shows nothing.
        (Some(with(0, 0)), false),
        (Some(with(10, 10)), false),
        (Some(with(10, 11)), true),
    ] {
        world.found(number, (&checked(None, replayed), None));
        assert_eq!(!world.against(number).is_empty(), stands, "{replayed:?}");
    }
}

#[test]
fn two_people_are_asked_for() {
    let mut world = World::new();
    world.asks(Conditions {
        approval: true,
        ..Conditions::default()
    });
    let number = world.drafted(&a("a.cedar"));
    assert!(world.against(number).concat().contains("another Admin"));
    let (ada, bob) = (
        world.by::<PolicyActivate>(world.org),
        world.by_user(world.bob, world.org),
    );
    let own = approve(&ada, &world.snapshot, number).unwrap_err();
    assert!(own.to_string().contains("is yours"), "{own}");
    // Bob is no Admin: what he says does not count, whatever let him say it.
    world.apply(approve(&bob, &world.snapshot, number));
    assert_eq!(world.against(number).len(), 1);
    assert!(approve(&bob, &world.snapshot, number).is_err());
    world.promote(world.bob);
    assert_eq!(world.against(number), Vec::<String>::new());
    // Whoever did not write it may activate it, and then there are two.
    let other = world.drafted(&a("b.cedar"));
    assert!(activate(&bob, &world.snapshot, &wanted(other)).is_ok());
    assert_eq!(world.against(other).len(), 1);
}

#[test]
fn less_is_asked_for_only_by_two() {
    let mut world = World::new();
    let strict = Conditions {
        approval: true,
        tests: true,
        ..Conditions::default()
    };
    world.asks(strict);
    let less = Conditions {
        tests: true,
        ..Conditions::default()
    };
    world.asks(less);
    assert_eq!(world.snapshot.rules().conditions, strict);
    // Asked for again, those that stand take it back.
    world.asks(strict);
    assert_eq!(world.snapshot.rules().proposed, None);
    world.asks(less);
    let (ada, bob) = (world.by(world.org), world.by_user(world.bob, world.org));
    assert!(agree(&ada, &world.snapshot, &less).is_err());
    // Somebody asked for even less while Bob was reading.
    let read = Conditions {
        approval: true,
        ..less
    };
    assert_eq!(
        agree(&bob, &world.snapshot, &read).map(drop),
        Err(DirectoryError::Moved)
    );
    world.apply(agree(&bob, &world.snapshot, &less));
    assert!(!world.snapshot.rules().conditions.approval);
    assert!(agree(&bob, &world.snapshot, &less).is_err());
    // More may be asked for by one.
    world.asks(strict);
    assert_eq!(world.snapshot.rules().conditions, strict);
    let none = Conditions::default();
    let more = |conditions: Conditions| strict.are_weaker_than(&conditions);
    let flips = |last, most| Conditions {
        replay: Some(Flips { last, most }),
        ..strict
    };
    assert!(
        more(Conditions {
            proof: Demand::Yes,
            ..none
        }) && more(flips(1, 1))
    );
    assert!(flips(9, 1).are_weaker_than(&flips(10, 1)));
    assert!(flips(10, 2).are_weaker_than(&flips(10, 1)));
    assert!(!flips(11, 0).are_weaker_than(&flips(10, 1)));
    assert!(none.are_weaker_than(&strict) && !strict.are_weaker_than(&none));
}

#[test]
fn what_is_active_is_not_what_was_said() {
    let mut world = World::new();
    let number = world.drafted(&a("a.cedar"));
    let by = world.by::<PolicyActivate>(world.org);
    let said = Wanted {
        active: Some(4),
        ..wanted(number)
    };
    let refused = activate(&by, &world.snapshot, &said).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("version 0 is active, and not 4"),
        "{refused}"
    );
}

#[test]
fn a_shadow_is_never_the_active_one() {
    let mut world = World::new();
    let by = world.by::<PolicyEdit>(world.org);
    let number = world.drafted(&a("a.cedar"));
    assert!(shadow(&by, &world.snapshot, None).is_err());
    world.apply(shadow(&by, &world.snapshot, Some(number)));
    assert!(shadow(&by, &world.snapshot, Some(number)).is_err());
    assert!(discard(&by, &world.snapshot, number).is_err());
    let activating = world.by::<PolicyActivate>(world.org);
    world.apply(announce(&activating, &world.snapshot, &wanted(number)));
    assert_eq!(world.snapshot.rules().next, Some(number));
    world.activated(number);
    let rules = world.snapshot.rules();
    assert_eq!((rules.shadow, rules.next), (None, None));
    assert!(shadow(&by, &world.snapshot, Some(number)).is_err());
}
