//! Whole logs: an honest one is sound, and every way to tamper with one is found.

use cedarkeep::log::checkpoint::{Checkpoint, Origin, SignedCheckpoint, VerifierKey};
use cedarkeep::log::entry::{
    Caller, Draft, Event, Fact, Outcome, PartName, Record, SealedPart, Time,
};
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::merkle::Frontier;
use cedarkeep::log::tiles::frontier_at;
use cedarkeep::log::verify::{Evidence, Finding, Kept, Report, Unchecked, Verification, verify};

use super::{Sample, flips, key, keys, origin, record};

type Stored = Vec<(Vec<u8>, Vec<SealedPart>)>;

fn stored(sample: &Sample) -> Stored {
    sample
        .records
        .iter()
        .map(|record| (record.leaf.clone(), record.parts.clone()))
        .collect()
}

fn check_from(
    before: Frontier,
    note: Option<&[u8]>,
    kept: &[SignedCheckpoint],
    stored: Stored,
) -> Report {
    let (keys, origin) = (keys(), origin());
    let kept: Vec<Kept> = kept.iter().cloned().map(Kept::Signed).collect();
    verify(
        Evidence {
            checkpoint: note,
            kept: &kept,
            keys: &keys,
            origin: Some(&origin),
            before,
        },
        stored,
    )
}

fn check(sample: &Sample, stored: Stored) -> Report {
    check_from(
        Frontier::new(),
        Some(sample.signed().to_string().as_bytes()),
        &[],
        stored,
    )
}

#[test]
fn an_honest_log_is_sound() {
    let sample = Sample::new(300);
    let report = check(&sample, stored(&sample));
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.entries, report.parts), (300, 600));
    assert_eq!(report.signed_by, [keys()[0].id()]);
    assert_eq!(report.checkpoint, Some(sample.checkpoint()));
    assert_eq!(report.unchecked, [Unchecked::RollBack { kept: 0 }]);
}

#[test]
fn every_altered_bit_of_a_leaf_is_found() {
    let sample = Sample::new(4);
    let honest = stored(&sample);
    let mut tried = 0;
    for altered in flips(&honest[2].0) {
        let mut tampered = honest.clone();
        tampered[2].0 = altered;
        assert!(!check(&sample, tampered).is_sound());
        tried += 1;
    }
    assert_eq!(tried, honest[2].0.len() * 8);
}

#[test]
fn every_altered_bit_of_a_part_is_found_at_its_entry() {
    let sample = Sample::new(4);
    let honest = stored(&sample);
    for altered in flips(&honest[2].1[1].sealed) {
        let mut tampered = honest.clone();
        tampered[2].1[1].sealed = altered;
        assert_eq!(
            check(&sample, tampered).findings,
            [Finding::PartAltered {
                index: 2,
                name: PartName::Request
            }]
        );
    }
}

#[test]
fn every_altered_bit_of_the_checkpoint_is_found() {
    let sample = Sample::new(5);
    for altered in flips(sample.signed().to_string().as_bytes()) {
        assert!(!check_from(Frontier::new(), Some(&altered), &[], stored(&sample)).is_sound());
    }
}

#[test]
fn an_entry_that_is_left_out_is_a_gap() {
    let sample = Sample::new(20);
    let mut tampered = stored(&sample);
    tampered.remove(7);
    let findings = check(&sample, tampered).findings;
    assert_eq!(
        findings,
        [
            Finding::Gap {
                wanted: 7,
                found: 8
            },
            Finding::Size {
                wanted: 20,
                found: 19
            }
        ]
    );
}

#[test]
fn entries_that_changed_places_are_found() {
    let sample = Sample::new(20);
    let mut tampered = stored(&sample);
    tampered.swap(3, 12);
    let findings = check(&sample, tampered).findings;
    assert_eq!(
        findings[0],
        Finding::Gap {
            wanted: 3,
            found: 12
        }
    );
    assert!(findings.contains(&Finding::TimeWentBack { index: 4 }));
    assert!(findings.contains(&Finding::Root));
}

#[test]
fn an_entry_that_stands_twice_is_found() {
    let sample = Sample::new(20);
    let mut tampered = stored(&sample);
    tampered.insert(5, tampered[4].clone());
    assert!(check(&sample, tampered).findings.contains(&Finding::Gap {
        wanted: 5,
        found: 4
    }));
}

#[test]
fn a_log_that_lost_its_end_or_grew_another_is_found() {
    let sample = Sample::new(20);
    let mut cut = stored(&sample);
    cut.pop();
    assert_eq!(
        check(&sample, cut).findings,
        [Finding::Size {
            wanted: 20,
            found: 19
        }]
    );
    let grown = stored(&Sample::new(21));
    assert_eq!(
        check(&sample, grown).findings,
        [Finding::Size {
            wanted: 20,
            found: 21
        }]
    );
}

#[test]
fn nothing_at_all_is_not_sound() {
    let sample = Sample::new(20);
    assert_eq!(
        check(&sample, Vec::new()).findings,
        [Finding::Size {
            wanted: 20,
            found: 0
        }]
    );
    let report = check_from(Frontier::new(), None, &[], stored(&sample));
    assert_eq!(report.findings, [Finding::NoCheckpoint]);
    assert!(!report.is_sound());
    assert!(!check_from(Frontier::new(), None, &[], Vec::new()).is_sound());
    let empty = check_from(Frontier::new(), Some(b""), &[], stored(&sample));
    assert!(matches!(
        empty.findings[..],
        [Finding::Checkpoint(Flaw::Note { .. })]
    ));
}

#[test]
fn a_rewritten_history_under_the_same_numbers_is_found() {
    let sample = Sample::new(20);
    let mut tampered = stored(&sample);
    let mut entry = sample.records[6].entry.clone();
    entry.as_of = Some(1);
    tampered[6].0 = entry.leaf().unwrap();
    assert_eq!(check(&sample, tampered).findings, [Finding::Root]);
}

#[test]
fn a_part_of_another_entry_is_found() {
    let sample = Sample::new(20);
    let mut tampered = stored(&sample);
    tampered[3].1[0].sealed = tampered[4].1[0].sealed.clone();
    tampered[9].1.push(SealedPart {
        name: PartName::Details,
        sealed: Vec::new(),
    });
    let twice = tampered[11].1[0].clone();
    tampered[11].1.push(twice);
    assert_eq!(
        check(&sample, tampered).findings,
        [
            Finding::PartAltered {
                index: 3,
                name: PartName::Client
            },
            Finding::PartForeign {
                index: 9,
                name: PartName::Details
            },
            Finding::PartForeign {
                index: 11,
                name: PartName::Client
            },
        ]
    );
}

#[test]
fn erased_parts_leave_the_log_sound_and_are_counted() {
    let sample = Sample::new(20);
    let mut erased = stored(&sample);
    erased[3].1.clear();
    erased[8].1.remove(0);
    let report = check(&sample, erased);
    assert!(report.is_sound());
    assert_eq!(report.parts, 37);
    assert!(
        report
            .unchecked
            .contains(&Unchecked::PartsAbsent { count: 3 })
    );
}

#[test]
fn a_pruned_log_is_sound_from_its_tiles_on() {
    let sample = Sample::new(700);
    let before = frontier_at(512, |tile| sample.tile(tile)).unwrap();
    let rest = stored(&sample).split_off(512);
    let note = sample.signed().to_string();
    let report = check_from(before, Some(note.as_bytes()), &[], rest.clone());
    assert!(report.is_sound(), "{:?}", report.findings);
    assert!(report.unchecked.contains(&Unchecked::Pruned { count: 512 }));
    let false_tiles = frontier_at(512, |tile| {
        Sample::new(512).tile(tile).map(|mut bytes| {
            bytes[0] ^= 1;
            bytes
        })
    });
    assert_eq!(
        check_from(false_tiles.unwrap(), Some(note.as_bytes()), &[], rest).findings,
        [Finding::Root]
    );
}

#[test]
fn a_kept_checkpoint_shows_a_log_that_went_back() {
    let kept = [Sample::new(12).signed(), Sample::new(20).signed()];
    let whole = Sample::new(30);
    let note = whole.signed().to_string();
    let report = check_from(
        Frontier::new(),
        Some(note.as_bytes()),
        &kept,
        stored(&whole),
    );
    assert!(report.is_sound());
    assert_eq!(
        (report.kept, report.unchecked),
        (2, vec![Unchecked::RollBack { kept: 20 }])
    );
    let back = Sample::new(15);
    let note = back.signed().to_string();
    assert_eq!(
        check_from(Frontier::new(), Some(note.as_bytes()), &kept, stored(&back)).findings,
        [Finding::WentBack { kept: 20 }]
    );
}

#[test]
fn a_kept_checkpoint_of_another_life_that_no_entry_tells_of_is_of_another_log() {
    let sample = Sample::new(300);
    let note = sample.signed().to_string();
    let kept = |origin: Origin| {
        let mut of = sample.checkpoint();
        of.origin = origin.clone();
        let key = VerifierKey::of(origin, &key(0));
        let kept = [Kept::Signed(of.sign(&self::key(0)))];
        let (keys, origin) = ([keys(), vec![key]].concat(), self::origin());
        let evidence = Evidence {
            checkpoint: Some(note.as_bytes()),
            kept: &kept,
            keys: &keys,
            origin: Some(&origin),
            before: Frontier::new(),
        };
        verify(evidence, stored(&sample)).findings
    };
    assert_eq!(kept(origin()), []);
    let life = origin().with_incarnation("inc_other").unwrap();
    let other: Origin = "cedarkeep.example/t/somebody/else".parse().unwrap();
    for log in [life, other] {
        let found = log.to_string();
        assert_eq!(kept(log), [Finding::OtherLog { found }]);
    }
}

#[test]
fn a_log_is_held_against_what_an_anchor_has_shown() {
    let sample = Sample::new(300);
    let note = sample.signed().to_string();
    let findings = |checkpoint: Checkpoint| {
        let (keys, origin) = (keys(), origin());
        let evidence = Evidence {
            checkpoint: Some(note.as_bytes()),
            kept: &[Kept::Anchored(checkpoint)],
            keys: &keys,
            origin: Some(&origin),
            before: Frontier::new(),
        };
        verify(evidence, stored(&sample)).findings
    };
    let earlier = Sample::new(120).checkpoint();
    assert_eq!(findings(earlier.clone()), []);
    let mut rewritten = earlier.clone();
    rewritten.root = sample.checkpoint().root;
    assert_eq!(findings(rewritten), [Finding::Rewritten { kept: 120 }]);
    let mut beyond = earlier.clone();
    beyond.size = 301;
    assert_eq!(findings(beyond), [Finding::WentBack { kept: 301 }]);
    let mut elsewhere = earlier;
    elsewhere.origin = "keep.example/t/other/x".parse().unwrap();
    let found = elsewhere.origin.to_string();
    assert_eq!(findings(elsewhere), [Finding::OtherLog { found }]);
}

#[test]
fn a_key_vouches_for_another_life_of_its_own_log_alone() {
    let (own, next) = (origin(), origin().with_incarnation("inc_next").unwrap());
    let other: Origin = "cedarkeep.example/t/somebody/inc_next".parse().unwrap();
    assert!(own.with_incarnation("a/b").is_err() && own.with_incarnation("").is_err());
    for (of, vouches) in [(own.clone(), true), (next, true), (other, false)] {
        let mut note = Checkpoint {
            origin: of,
            ..Sample::new(3).checkpoint()
        }
        .sign(&key(1));
        let old = VerifierKey::of(own.clone(), &key(0));
        assert!(note.vouched_for_by(&old).is_err(), "it has not signed yet");
        note.sign_as(own.clone(), &key(0));
        assert_eq!(note.vouched_for_by(&old).is_ok(), vouches);
        let altered = Checkpoint {
            size: 2,
            ..note.checkpoint().clone()
        };
        let lines = note.to_string();
        let lines = lines.split_once("\n\n").unwrap().1;
        let forged = SignedCheckpoint::parse(format!("{}\n{lines}", altered.text()).as_bytes());
        assert!(forged.unwrap().vouched_for_by(&old).is_err());
    }
}

#[test]
fn a_kept_checkpoint_shows_a_log_that_was_rewritten_and_signed_again() {
    let kept = [Sample::new(12).signed()];
    let mut rewritten = Sample::new(5);
    for index in 5..20 {
        let mut record = record(index);
        record.entry.as_of = Some(0);
        record.leaf = record.entry.leaf().unwrap();
        rewritten.append(record);
    }
    let note = rewritten.signed().to_string();
    let report = check_from(
        Frontier::new(),
        Some(note.as_bytes()),
        &kept,
        stored(&rewritten),
    );
    assert_eq!(report.findings, [Finding::Rewritten { kept: 12 }]);
}

#[test]
fn a_log_under_another_name_or_key_is_not_this_one() {
    let sample = Sample::new(5);
    let other = Origin::tenant("keep.example", "another", "life").unwrap();
    let note = Checkpoint {
        origin: other.clone(),
        ..sample.checkpoint()
    }
    .sign(&key(1))
    .to_string();
    let keys = [VerifierKey::of(other, &key(1))];
    let wanted = origin();
    let evidence = Evidence {
        checkpoint: Some(note.as_bytes()),
        kept: &[],
        keys: &keys,
        origin: Some(&wanted),
        before: Frontier::new(),
    };
    assert!(matches!(
        verify(evidence, stored(&sample)).findings[..],
        [Finding::OtherLog { .. }]
    ));
    let forged = sample.checkpoint().sign(&key(3)).to_string();
    let report = check_from(
        Frontier::new(),
        Some(forged.as_bytes()),
        &[],
        stored(&sample),
    );
    assert!(matches!(
        report.findings[..],
        [Finding::Checkpoint(Flaw::Untrusted { .. })]
    ));
}

#[test]
fn what_is_pruned_is_held_against_what_was_kept_by_its_hashes() {
    let sample = Sample::new(300);
    let note = sample.signed().to_string();
    let earlier = Sample::new(100).checkpoint();
    let other = Checkpoint {
        root: sample.checkpoint().root,
        ..earlier.clone()
    };
    let lost = Checkpoint {
        origin: origin().with_incarnation("inc_before").unwrap(),
        ..other.clone()
    };
    let report = |kept: &Checkpoint, are_there: bool| {
        let (keys, origin) = (keys(), origin());
        let kept = [Kept::Anchored(kept.clone())];
        let mut verification = Verification::new(Evidence {
            checkpoint: Some(note.as_bytes()),
            kept: &kept,
            keys: &keys,
            origin: Some(&origin),
            before: Frontier::new(),
        });
        let (pruned, left) = sample.records.split_at(256);
        let hashes = pruned.iter().map(Record::leaf_hash);
        if are_there {
            hashes.for_each(|hash| verification.pass(hash));
        } else {
            let mut before = Frontier::new();
            hashes.for_each(|hash| before.push(hash).unwrap());
            verification.skip_to(before);
        }
        for record in left {
            verification.push(&record.leaf, &record.parts);
        }
        verification.finish()
    };
    let pruned = Unchecked::Pruned { count: 256 };
    for (are_there, kept, unchecked) in [
        (true, 1, vec![pruned, Unchecked::RollBack { kept: 100 }]),
        (
            false,
            0,
            vec![
                pruned,
                Unchecked::KeptBeforeFirst { count: 1 },
                Unchecked::RollBack { kept: 100 },
            ],
        ),
    ] {
        let report = report(&earlier, are_there);
        assert!(report.is_sound(), "{:?}", report.findings);
        assert_eq!((report.kept, report.entries), (kept, 44));
        assert_eq!(report.unchecked, unchecked);
    }
    assert_eq!(
        report(&other, true).findings,
        [Finding::Rewritten { kept: 100 }]
    );
    // Whether a restore has lost them is told by an entry that may be gone: it is no proof of a rewritten log, and none of a sound one.
    assert_eq!(
        report(&lost, true).findings,
        [Finding::LostOrRewritten { kept: 100 }]
    );
}

#[test]
fn findings_beyond_the_list_are_counted() {
    let sample = Sample::new(0);
    let garbage: Stored = (0..1_500).map(|_| (b"{}".to_vec(), Vec::new())).collect();
    let report = check(&sample, garbage);
    assert_eq!((report.findings.len(), report.found), (1_000, 1_501));
    let mut all = Report::of(vec![Finding::NoCheckpoint]);
    all.add_all(report);
    assert_eq!((all.findings.len(), all.found), (1_000, 1_502));
}

/// An activation of `version`, or a decision that says it was made by it, that saw `as_of`.
fn of_version(index: u64, (activates, said): (Option<u64>, u64), as_of: u64) -> Record {
    let (event, outcome) = match activates {
        Some(_) => (Event::PolicyActivated, Outcome::Ok),
        None => (Event::DecisionMade, Outcome::Allow),
    };
    let mut draft = Draft::new(event, Caller::System, outcome).saw(said, as_of);
    if let Some(version) = activates {
        draft = draft.fact(Fact::PolicyVersion(version));
    }
    let time = Time::from_micros(1_795_000_000_000_000).unwrap();
    draft.at(index, time).unwrap()
}

#[test]
fn a_decision_by_a_version_that_did_not_count_is_found_with_the_leaves_alone() {
    let honest: [((Option<u64>, u64), u64); 9] = [
        ((None, 0), 0),
        // The decision that allows an activation is made by what counted before, like the activation itself.
        ((None, 0), 0),
        ((Some(1), 0), 0),
        ((None, 1), 2),
        ((None, 1), 2),
        ((Some(2), 1), 2),
        ((None, 2), 5),
        ((Some(1), 2), 5),
        ((None, 1), 7),
    ];
    let log = |entries: &[((Option<u64>, u64), u64)]| {
        let mut sample = Sample::new(0);
        for (index, (version, as_of)) in (0..).zip(entries) {
            sample.append(of_version(index, *version, *as_of));
        }
        let stored = stored(&sample);
        check(&sample, stored).findings
    };
    assert_eq!(log(&honest), []);
    for (index, said) in [(4, 0), (4, 2), (6, 1), (8, 2)] {
        let mut mixed = honest;
        mixed[index].0.1 = said;
        let counts = honest[index].0.1;
        let index = u64::try_from(index).unwrap();
        let wanted = Finding::PolicyVersion {
            index,
            said,
            counts,
        };
        assert_eq!(log(&mixed), [wanted], "{index} {said}");
    }
    // By what counted before, long behind the activation, and saying that it saw no more than that did.
    let mut late = honest;
    late[8] = ((None, 2), 5);
    let wanted = Finding::PolicyVersion {
        index: 8,
        said: 2,
        counts: 1,
    };
    assert_eq!(log(&late), [wanted]);
}
