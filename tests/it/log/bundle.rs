//! Bundles: an honest one is sound at every size, and whatever is changed in one is found.

use std::collections::BTreeMap;
use std::process::Command;

use cedarkeep::log::bundle::{
    ERASED, Extent, MANIFEST, Manifest, Signers, Survey, Unseen, Verdict, Writing, Wrong, tiles,
    verify,
};
use cedarkeep::log::checkpoint::{SignedCheckpoint, VerifierKey};
use cedarkeep::log::entry::{Caller, Draft, Event, Fact, Outcome, PartName, Record, Time};
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::merkle::Hash;
use cedarkeep::log::tiles::{Edge, Tile};
use cedarkeep::log::verify::{Finding, Unchecked};
use serde_json::{Map, Value, json};

use super::{SIZES, Sample, key, keys, origin};

/// What a part says that is hard to write down.
const HARD: &str = "=1+1,\"quoted\"\r\n\0\u{202e}dlrow\u{200f}";

fn opened() -> Map<String, Value> {
    let parts = json!({ "client": HARD, "request": {"subject": {"id": HARD}} });
    parts.as_object().unwrap().clone()
}

fn verifier(seed: u8) -> VerifierKey {
    VerifierKey::of(origin(), &key(seed))
}

fn one_key() -> Signers {
    Signers {
        keys: keys(),
        rotations: Vec::new(),
    }
}

fn packed(
    sample: &Sample,
    signers: &Signers,
    checkpoint: &SignedCheckpoint,
    first: u64,
) -> Result<Vec<u8>, Flaw> {
    let extent = Extent {
        origin: origin(),
        first,
        size: sample.frontier.size(),
        exported_at: Time::from_micros(1_795_000_000_000_000)?,
    };
    let size = extent.size;
    let note = checkpoint.to_string();
    let mut survey = Survey::new(extent, signers.clone(), &note)?;
    let records = || sample.records.iter().skip(usize::try_from(first).unwrap());
    for tile in tiles(size) {
        survey.tile(tile, &sample.tile(tile)?)?;
    }
    for record in records() {
        survey.entry((&record.entry, &record.leaf), &record.parts, &opened())?;
    }
    let manifest = survey.finish()?;
    let length = manifest.length();
    let mut writing = Writing::new(manifest, signers, &note)?;
    for tile in tiles(size) {
        writing.tile(tile, &sample.tile(tile)?)?;
    }
    writing.begin_records()?;
    for record in records() {
        writing.record(&record.leaf);
    }
    writing.begin_parts()?;
    for record in records() {
        writing.parts(&record.entry, &record.parts, &opened())?;
    }
    let bundle = [writing.taken(), writing.finish()?].concat();
    assert_eq!(u64::try_from(bundle.len()).unwrap(), length);
    Ok(bundle)
}

fn bundle(size: u64) -> Vec<u8> {
    let sample = Sample::new(size);
    packed(&sample, &one_key(), &sample.signed(), 0).unwrap()
}

fn read(bundle: &[u8], trusted: &[VerifierKey]) -> Verdict {
    verify(bundle, trusted, &[], |_, _| {}).unwrap()
}

fn is_refused(bundle: &[u8], what: &str) -> Vec<Wrong> {
    let verdict = read(bundle, &keys());
    assert!(!verdict.is_sound(), "{what}");
    assert!(!verdict.wrong.is_empty(), "{what}");
    verdict.wrong
}

/// The files of an archive, each with its header and its padding, and the end.
fn files(bundle: &[u8]) -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
    let (mut files, mut rest) = (Vec::new(), bundle);
    while rest[0] != 0 {
        let header = tar::Header::from_byte_slice(&rest[..512]);
        let size = usize::try_from(header.entry_size().unwrap()).unwrap();
        let length = 512 + size.next_multiple_of(512);
        let name = String::from_utf8(header.path_bytes().into_owned()).unwrap();
        files.push((name, rest[..length].to_vec()));
        rest = &rest[length..];
    }
    (files, rest.to_vec())
}

fn joined(files: &[(String, Vec<u8>)], end: &[u8]) -> Vec<u8> {
    let mut bundle: Vec<u8> = files.iter().flat_map(|(_, file)| file.clone()).collect();
    bundle.extend(end);
    bundle
}

/// A bundle of which somebody without the key has altered the content of a file, leaving its length, and made the manifest fit.
fn forged(bundle: &[u8], path: &str, alter: impl Fn(&mut [u8])) -> Vec<u8> {
    let (mut files, end) = files(bundle);
    let sum = |files: &[(String, Vec<u8>)]| {
        let tiles = path.starts_with("tile/");
        let content: Vec<u8> = files
            .iter()
            .filter(|(name, _)| name == path || tiles && name.starts_with("tile/"))
            .flat_map(|(_, file)| content(file))
            .collect();
        Hash::of(&content).to_string()
    };
    let before = sum(&files);
    let (_, file) = files.iter_mut().find(|(name, _)| name == path).unwrap();
    let length = content(file).len();
    alter(&mut file[512..512 + length]);
    let after = sum(&files);
    let manifest = String::from_utf8(content(&files[0].1)).unwrap();
    files[0].1 = resealed(&manifest.replace(&before, &after));
    joined(&files, &end)
}

fn content(file: &[u8]) -> Vec<u8> {
    let size = tar::Header::from_byte_slice(&file[..512])
        .entry_size()
        .unwrap();
    file[512..512 + usize::try_from(size).unwrap()].to_vec()
}

/// A manifest with the sum of itself made anew.
fn resealed(manifest: &str) -> Vec<u8> {
    let own = manifest.rfind("\"sha256\": \"").unwrap() + 11;
    let mut text = manifest.to_owned();
    text.replace_range(own..own + 64, "");
    let sum = Hash::of(text.as_bytes()).to_string();
    text.insert_str(own, &sum);
    filed(MANIFEST, text.as_bytes())
}

fn filed(path: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).unwrap();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut file = [header.as_bytes().as_slice(), content].concat();
    file.resize(file.len().next_multiple_of(512), 0);
    file
}

#[test]
fn an_honest_bundle_is_sound_at_every_size() {
    for size in SIZES.into_iter().chain([512]) {
        let bundle = bundle(size);
        let verdict = read(&bundle, &keys());
        assert!(verdict.is_sound(), "{size}: {:?}", verdict.wrong);
        let counted = (verdict.entries, verdict.parts, verdict.rotations);
        assert_eq!(counted, (size, 2 * size, 0));
        assert_eq!(verdict.signed_by, Some(verifier(1)));
        assert_eq!(verdict.manifest.map(|manifest| manifest.size()), Some(size));
        let roll_back = Unseen::Log(Unchecked::RollBack { kept: 0 });
        assert_eq!(
            verdict.unchecked,
            [roll_back, Unseen::Says, Unseen::ExportedAt]
        );
    }
}

#[test]
fn the_tiles_of_a_bundle_are_those_that_the_tree_makes_in_its_order() {
    let (mut edge, mut full) = (Edge::new(), Vec::new());
    for index in 0..70_000_u64 {
        let made = edge.push(Hash::of(&index.to_be_bytes())).unwrap();
        full.extend(made.into_iter().map(|full| full.tile));
        let size = index + 1;
        if [1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000].contains(&size) {
            let partial = edge.partial().map(|(tile, _)| tile);
            let wanted: Vec<Tile> = full.iter().copied().chain(partial).collect();
            assert_eq!(tiles(size).collect::<Vec<_>>(), wanted, "{size}");
        }
    }
}

#[test]
fn every_byte_of_a_bundle_counts() {
    let bundle = bundle(2);
    for at in 0..bundle.len() {
        let mut altered = bundle.clone();
        altered[at] ^= 1;
        is_refused(&altered, &format!("byte {at}"));
    }
}

#[test]
fn a_bundle_that_is_cut_or_goes_on_is_none() {
    let bundle = bundle(2);
    for length in (0..bundle.len()).step_by(7) {
        is_refused(&bundle[..length], &format!("{length} bytes"));
    }
    for more in [&[0][..], &[0; 512], &[1], &bundle] {
        is_refused(&[&bundle, more].concat(), "something behind it");
    }
}

#[test]
fn a_file_that_is_missing_doubled_moved_or_unknown_is_found() {
    let (files, end) = files(&bundle(300));
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "manifest.json",
            "keys",
            "checkpoint",
            "tile/0/000",
            "tile/0/001.p/44",
            "tile/1/000.p/1",
            "records.jsonl",
            "parts.jsonl"
        ]
    );
    for at in 0..files.len() {
        let name = files[at].0.clone();
        let mut without = files.clone();
        let taken = without.remove(at);
        is_refused(&joined(&without, &end), &format!("without {name}"));
        let mut doubled = files.clone();
        doubled.insert(at, taken.clone());
        is_refused(&joined(&doubled, &end), &format!("{name} twice"));
        if at > 0 {
            let mut swapped = files.clone();
            swapped.swap(at, at - 1);
            is_refused(&joined(&swapped, &end), &format!("{name} moved"));
        }
        let mut emptied = files.clone();
        emptied[at].1 = filed(&name, b"");
        is_refused(&joined(&emptied, &end), &format!("{name} empty"));
        for strange in ["notes.txt", "tile/0/002"] {
            let mut with = files.clone();
            with.insert(at + 1, (strange.into(), filed(strange, b"more")));
            let wrong = is_refused(&joined(&with, &end), strange);
            assert!(wrong[0].to_string().contains(strange), "{wrong:?}");
        }
    }
    // The control: what was taken apart is put together again.
    assert!(read(&joined(&files, &end), &keys()).is_sound());
}

#[test]
fn what_is_forged_without_the_key_is_found() {
    let bundle = bundle(300);
    let replace = |from: &'static str, to: &'static str| {
        move |content: &mut [u8]| {
            let text = content.to_vec();
            let at = text
                .windows(from.len())
                .position(|window| window == from.as_bytes());
            let at = at.unwrap();
            content[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    };
    let found = |path: &str, from, to| {
        let forged = forged(&bundle, path, replace(from, to));
        is_refused(&forged, path)
    };
    let leaf = found(
        "records.jsonl",
        "\"outcome\":\"allow\"",
        "\"outcome\":\"alloW\"",
    );
    assert!(
        leaf.iter()
            .any(|wrong| matches!(wrong, Wrong::Log(Finding::Leaf { index: 1, .. })))
    );
    // Another entry that could be: only the root tells.
    let leaf = found("records.jsonl", "thread.read", "thread.post");
    assert_eq!(leaf, [Wrong::Log(Finding::Root)]);
    let gap = found("records.jsonl", "\"index\":\"7\"", "\"index\":\"8\"");
    assert!(
        gap.contains(&Wrong::Log(Finding::Gap {
            wanted: 7,
            found: 8
        })),
        "{gap:?}"
    );
    let part = found("parts.jsonl", "\"sealed\":\"c2", "\"sealed\":\"d2");
    assert!(matches!(&part[..], [Wrong::PartAltered { index: 0, .. }]));
}

#[test]
fn parts_and_tiles_that_are_forged_throughout_are_found() {
    let bundle = bundle(300);
    // Sealed bytes and their sum, both other ones: the entries have other hashes.
    let altered = forged(&bundle, "parts.jsonl", |content| {
        let text = String::from_utf8(content.to_vec()).unwrap();
        let (line, rest) = text.split_once('\n').unwrap();
        let mut line: Value = serde_json::from_str(line).unwrap();
        let part = &mut line["parts"][0];
        let other = b"sealed client X";
        part["sealed"] = json!(data_encoding::BASE64.encode(other));
        part["sha256"] = json!(Hash::of(other).to_string());
        let line = ordered(&line);
        content.copy_from_slice(format!("{line}\n{rest}").as_bytes());
    });
    assert_eq!(is_refused(&altered, "a part"), [Wrong::Parts]);
    // A tile of another tree; and one that does not fit those beneath it.
    let altered = forged(&bundle, "tile/0/001.p/44", |content| content[5] ^= 1);
    assert_eq!(is_refused(&altered, "a tile"), [Wrong::Tiles]);
    let altered = forged(&bundle, "tile/1/000.p/1", |content| content[5] ^= 1);
    assert!(matches!(
        &is_refused(&altered, "a tile above")[..],
        [Wrong::Broken(Flaw::Bundle { .. })]
    ));
    // What nobody has signed can be forged, and is said to be unchecked.
    let altered = forged(&bundle, "parts.jsonl", |content| {
        let at = content.windows(4).position(|four| four == b"dlro").unwrap();
        content[at] = b'D';
    });
    let verdict = read(&altered, &keys());
    assert!(verdict.is_sound() && verdict.unchecked.contains(&Unseen::Says));
}

/// A line of parts as it is written.
fn ordered(line: &Value) -> String {
    let parts: Vec<String> = line["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| {
            format!(
                "{{\"name\":{},\"sha256\":{},\"sealed\":{},\"says\":{}}}",
                part["name"], part["sha256"], part["sealed"], part["says"]
            )
        })
        .collect();
    format!(
        "{{\"index\":{},\"parts\":[{}]}}",
        line["index"],
        parts.join(",")
    )
}

#[test]
fn a_bundle_proves_nothing_by_its_own_keys() {
    let bundle = bundle(3);
    for (trusted, given) in [(vec![], 0), (vec![verifier(9), verifier(8)], 2)] {
        let verdict = read(&bundle, &trusted);
        assert!(!verdict.is_sound());
        let origin = origin().to_string();
        assert_eq!(verdict.wrong, [Wrong::UnknownKey { origin, given }]);
        assert!(verdict.wrong[0].to_string().contains("unknown key"));
    }
    // A whole log of the same name, made by somebody with a key of their own.
    let sample = Sample::new(3);
    let signers = Signers {
        keys: vec![verifier(9)],
        rotations: Vec::new(),
    };
    let theirs = sample.checkpoint().sign(&key(9));
    let theirs = packed(&sample, &signers, &theirs, 0).unwrap();
    assert!(read(&theirs, &[verifier(9)]).is_sound());
    is_refused(&theirs, "another key");
}

fn announcement(index: u64, seed: u8) -> Record {
    let time = Time::from_micros(1_795_000_000_000_000 + i64::try_from(index).unwrap()).unwrap();
    Draft::new(Event::LogKeyRotated, Caller::System, Outcome::Ok)
        .fact(Fact::NewKey(*verifier(seed).bytes()))
        .at(index, time)
        .unwrap()
}

/// A log whose key was rotated twice: at 5 to the second key, at 300 to the third.
fn rotated(announced: bool) -> (Sample, Signers) {
    let mut sample = Sample::new(4);
    let mut rotations = Vec::new();
    for (size, seed) in [(5, 2), (300, 3)] {
        while sample.frontier.size() < size - 1 {
            sample.append(later(sample.frontier.size()));
        }
        let index = sample.frontier.size();
        sample.append(if announced {
            announcement(index, seed)
        } else {
            later(index)
        });
        let mut note = sample.checkpoint().sign(&key(seed - 1));
        note.also_sign(&key(seed));
        rotations.push(note);
    }
    sample.append(later(300));
    let keys = vec![verifier(1), verifier(2), verifier(3)];
    (sample, Signers { keys, rotations })
}

/// A record at a time that fits behind the announcements.
fn later(index: u64) -> Record {
    let time = Time::from_micros(1_795_000_000_000_000 + i64::try_from(index).unwrap()).unwrap();
    Draft::new(Event::LogHeartbeat, Caller::System, Outcome::Ok)
        .at(index, time)
        .unwrap()
}

#[test]
fn an_older_key_reaches_a_newer_one_through_the_log_alone() {
    let (sample, signers) = rotated(true);
    let newest = sample.checkpoint().sign(&key(3));
    let bundle = packed(&sample, &signers, &newest, 0).unwrap();
    for (seed, rotations, older) in [(1, 2, 0), (2, 1, 1), (3, 0, 2)] {
        let verdict = read(&bundle, &[verifier(seed)]);
        assert!(verdict.is_sound(), "{seed}: {:?}", verdict.wrong);
        assert_eq!(verdict.rotations, rotations);
        assert_eq!(verdict.signed_by, Some(verifier(3)));
        let unseen = verdict
            .unchecked
            .contains(&Unseen::OlderKeys { count: older });
        assert_eq!(unseen, older > 0);
    }
    is_all_refused(&bundle, &[verifier(9)]);
    // Nothing in the log says that the keys took over: each is good for itself alone.
    let (sample, signers) = rotated(false);
    let silent = sample.checkpoint().sign(&key(3));
    let silent = packed(&sample, &signers, &silent, 0).unwrap();
    assert!(read(&silent, &[verifier(3)]).is_sound());
    let verdict = read(&silent, &[verifier(2)]);
    let key = verifier(3).to_string();
    assert_eq!(verdict.wrong, [Wrong::Unannounced { key }]);
    assert_eq!(read(&silent, &[verifier(1)]).found, 2);
}

fn is_all_refused(bundle: &[u8], trusted: &[VerifierKey]) {
    assert!(!read(bundle, trusted).is_sound());
}

#[test]
fn a_rotation_that_is_not_whole_is_found() {
    let (sample, signers) = rotated(true);
    let newest = sample.checkpoint().sign(&key(3));
    let with = |change: &dyn Fn(&mut Signers)| {
        let mut signers = signers.clone();
        change(&mut signers);
        packed(&sample, &signers, &newest, 0)
    };
    let trusted = [verifier(1)];
    // The new key alone has signed; or the old one alone.
    for seed in [1, 2] {
        let bundle = with(&|signers| {
            let said = signers.rotations[0].checkpoint().clone();
            signers.rotations[0] = said.sign(&key(seed));
        });
        is_all_refused(&bundle.unwrap(), &trusted);
    }
    // A key, or a rotation, is kept back.
    let bundle = with(&|signers| {
        signers.keys.remove(1);
        signers.rotations.remove(0);
    });
    is_all_refused(&bundle.unwrap(), &trusted);
    let bundle = with(&|signers| {
        signers.rotations.remove(0);
    });
    is_all_refused(&bundle.unwrap(), &trusted);
    // The log announces a key, and whoever had the old one went on with it.
    let old = sample.checkpoint().sign(&key(1));
    let bundle = packed(&sample, &one_key(), &old, 0).unwrap();
    let verdict = read(&bundle, &trusted);
    assert_eq!(
        verdict.wrong,
        [
            Wrong::KeyMissing { index: 4 },
            Wrong::KeyMissing { index: 299 }
        ]
    );
    // An older key has signed behind a rotation.
    let old = sample.checkpoint().sign(&key(2));
    let refused = packed(&sample, &signers, &old, 0).unwrap();
    is_all_refused(&refused, &trusted);
}

#[test]
fn a_pruned_log_is_sound_from_where_it_begins() {
    let sample = Sample::new(777);
    for first in [256, 512, 768] {
        let bundle = packed(&sample, &one_key(), &sample.signed(), first).unwrap();
        let verdict = read(&bundle, &keys());
        assert!(verdict.is_sound(), "{first}: {:?}", verdict.wrong);
        assert_eq!(verdict.entries, 777 - first);
        assert_eq!(verdict.manifest.as_ref().map(Manifest::first), Some(first));
        let pruned = Unseen::Log(Unchecked::Pruned { count: first });
        assert!(verdict.unchecked.contains(&pruned));
        let altered = forged(&bundle, "tile/0/000", |content| content[0] ^= 1);
        is_refused(&altered, "the tile of what is pruned");
        let altered = forged(&bundle, "records.jsonl", |content| {
            let at = content.windows(6).position(|six| six == b"thread").unwrap();
            content[at] = b'T';
        });
        is_refused(&altered, "a leaf behind what is pruned");
    }
    for first in [1, 255, 777, 1024] {
        packed(&sample, &one_key(), &sample.signed(), first).unwrap_err();
    }
    // A rotation within what was pruned: its announcement cannot be read any more.
    let (sample, signers) = rotated(true);
    let newest = sample.checkpoint().sign(&key(3));
    let bundle = packed(&sample, &signers, &newest, 256).unwrap();
    let verdict = read(&bundle, &[verifier(1)]);
    let second = verifier(2).to_string();
    assert_eq!(verdict.wrong, [Wrong::Unannounced { key: second }]);
    assert!(read(&bundle, &[verifier(2)]).is_sound());
}

#[test]
fn parts_that_are_gone_are_counted_and_what_is_hard_to_write_survives() {
    let mut sample = Sample::new(3);
    sample.records[1].parts.remove(0);
    let bundle = packed(&sample, &one_key(), &sample.signed(), 0).unwrap();
    let verdict = read(&bundle, &keys());
    assert!(verdict.is_sound(), "{:?}", verdict.wrong);
    assert_eq!(verdict.parts, 5);
    let absent = Unseen::Log(Unchecked::PartsAbsent { count: 1 });
    assert!(verdict.unchecked.contains(&absent));
    let (files, _) = files(&bundle);
    let files: BTreeMap<String, Vec<u8>> = files.into_iter().collect();
    let lines = String::from_utf8(content(&files["parts.jsonl"])).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["parts"][0]["says"], HARD);
    assert_eq!(lines[0]["parts"][1]["says"]["subject"]["id"], HARD);
    assert_eq!(lines[1]["parts"][0]["sealed"], Value::Null);
    let leaves = content(&files["records.jsonl"]);
    let verbatim: Vec<u8> = sample
        .records
        .iter()
        .flat_map(|record| [record.leaf.as_slice(), b"\n"].concat())
        .collect();
    assert_eq!(leaves, verbatim);
    // What nobody can open is said to be erased.
    let record = &sample.records[0];
    let said = cedarkeep::log::bundle::says(&record.entry, &Map::new(), PartName::Client);
    assert_eq!(said, Some(json!(ERASED)));
}

#[test]
fn a_log_that_is_not_sound_is_not_exported() {
    let mut sample = Sample::new(300);
    sample.records[17] = super::record(18);
    let refused = packed(&sample, &one_key(), &sample.signed(), 0).unwrap_err();
    assert!(refused.to_string().contains("audit verify"), "{refused}");
    // What changes between the passes is found as well.
    let sample = Sample::new(3);
    let extent = Extent {
        origin: origin(),
        first: 0,
        size: 3,
        exported_at: Time::from_micros(0).unwrap(),
    };
    let note = sample.signed().to_string();
    let mut survey = Survey::new(extent, one_key(), &note).unwrap();
    for tile in tiles(3) {
        survey.tile(tile, &sample.tile(tile).unwrap()).unwrap();
    }
    for record in &sample.records {
        let leaf = (&record.entry, record.leaf.as_slice());
        survey.entry(leaf, &record.parts, &opened()).unwrap();
    }
    let mut writing = Writing::new(survey.finish().unwrap(), &one_key(), &note).unwrap();
    for tile in tiles(3) {
        writing.tile(tile, &sample.tile(tile).unwrap()).unwrap();
    }
    writing.begin_records().unwrap();
    for record in &sample.records {
        writing.record(&record.leaf);
    }
    writing.begin_parts().unwrap();
    for record in &sample.records {
        writing.parts(&record.entry, &[], &opened()).unwrap();
    }
    let refused = writing.finish().unwrap_err().to_string();
    assert!(refused.contains("export it again"), "{refused}");
}

#[test]
fn the_archive_is_one_that_other_programs_unpack() {
    let bundle = bundle(300);
    let away = tempfile::tempdir().unwrap();
    let file = away.path().join("log.tar");
    std::fs::write(&file, &bundle).unwrap();
    let output = Command::new("tar")
        .args(["-xf", "log.tar"])
        .current_dir(away.path())
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let sample = Sample::new(300);
    let at = |path: &str| std::fs::read(away.path().join(path)).unwrap();
    assert_eq!(at("checkpoint"), sample.signed().to_string().into_bytes());
    for tile in tiles(300) {
        assert_eq!(at(&tile.path()), sample.tile(tile).unwrap());
    }
}
