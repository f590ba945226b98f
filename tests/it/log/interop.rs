//! What the log hands out, checked by programs that nobody here wrote: Go's `sumdb/note` and `sumdb/tlog`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use cedarkeep::log::checkpoint::VerifierKey;
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::merkle::{Frontier, Hash};
use cedarkeep::log::tiles::{Edge, Tile, consistency_proof, inclusion_proof};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{Sample, flips, key, keys, origin};

const SIZES: [u64; 9] = [1, 2, 3, 8, 255, 256, 257, 777, 1000];

/// The answer of `tests/interop/go/check.go` to each question. Debian: `golang-go`, `golang-golang-x-mod-dev`.
fn go(questions: &[Value]) -> Vec<bool> {
    let cache = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/go/check.go");
    let mut child = Command::new("go")
        .arg("run")
        .arg(program)
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", cache.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`go` is needed: install golang-go and golang-golang-x-mod-dev");
    let mut stdin = child.stdin.take().unwrap();
    let lines: Vec<String> = questions.iter().map(Value::to_string).collect();
    let writer = std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let answers: Vec<bool> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line == "ok")
        .collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

fn base64(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::base64).collect()
}

fn key_texts() -> Vec<String> {
    keys().iter().map(VerifierKey::to_string).collect()
}

#[test]
fn go_accepts_what_the_log_hands_out() {
    let sample = Sample::new(1000);
    let mut questions = Vec::new();
    let mut frontiers = vec![Frontier::new()];
    for hash in sample.hashes() {
        let mut next = frontiers.last().unwrap().clone();
        next.push(hash).unwrap();
        frontiers.push(next);
    }
    let root = |size: u64| frontiers[usize::try_from(size).unwrap()].root().base64();
    for size in SIZES {
        let at_size = Sample::new(size);
        questions.push(
            json!({"check": "note", "keys": key_texts(), "note": at_size.signed().to_string()}),
        );
        for index in [0, size / 3, size - 1] {
            questions.push(json!({"check": "receipt", "keys": key_texts(), "receipt": at_size.receipt(index).to_string()}));
        }
        for old in SIZES.into_iter().filter(|old| *old <= size) {
            let proof = consistency_proof(old, size, |tile| sample.tile(tile)).unwrap();
            questions.push(json!({
                "check": "consistency", "proof": base64(&proof),
                "old": old, "old_root": root(old), "new": size, "new_root": root(size),
            }));
        }
    }
    let mut rotated = sample.signed();
    rotated.also_sign(&key(2));
    let second = VerifierKey::of(origin(), &key(2)).to_string();
    questions.push(
        json!({"check": "note", "keys": [key_texts()[0], second], "note": rotated.to_string()}),
    );
    questions.push(json!({"check": "note", "keys": [second], "note": rotated.to_string()}));
    for (question, accepted) in questions.iter().zip(go(&questions)) {
        assert!(accepted, "{question}");
    }
}

#[test]
fn go_refuses_every_altered_bit() {
    let sample = Sample::new(257);
    let mut questions = Vec::new();
    for (kind, text) in [
        ("note", sample.signed().to_string()),
        ("receipt", sample.receipt(100).to_string()),
    ] {
        for (bit, altered) in flips(text.as_bytes()).enumerate() {
            // Go reads base 64 whose last character has bits beyond the last byte; what decodes to the same bytes is no alteration to it.
            let spare = text.as_bytes().get(bit / 8 + 1) == Some(&b'=');
            // A JSON string holds UTF-8 alone; the tests beside this one alter those bytes too.
            if let (Ok(altered), false) = (String::from_utf8(altered), spare) {
                questions.push(json!({"check": kind, "keys": key_texts(), kind: altered}));
            }
        }
    }
    let proof = consistency_proof(100, 257, |tile| sample.tile(tile)).unwrap();
    let mut old = Frontier::new();
    sample.hashes()[..100]
        .iter()
        .for_each(|hash| old.push(*hash).unwrap());
    for place in 0..proof.len() {
        let mut altered = proof.clone();
        altered[place] = Hash::of(altered[place].bytes());
        questions.push(json!({
            "check": "consistency", "proof": base64(&altered),
            "old": 100, "old_root": old.root().base64(), "new": 257, "new_root": sample.frontier.root().base64(),
        }));
    }
    assert!(questions.len() > 10_000, "{}", questions.len());
    for (question, accepted) in questions.iter().zip(go(&questions)) {
        assert!(!accepted, "{question}");
    }
}

#[test]
fn go_reads_the_tiles_of_a_tree_of_70_000() {
    let (mut edge, mut frontier) = (Edge::new(), Frontier::new());
    let mut tiles = BTreeMap::new();
    for index in 0..70_000_u64 {
        let leaf = Hash::of(&index.to_be_bytes());
        frontier.push(leaf).unwrap();
        tiles.extend(
            edge.push(leaf)
                .unwrap()
                .into_iter()
                .map(|full| (full.tile, full.bytes)),
        );
    }
    tiles.extend(edge.partial());
    let served = |tiles: &BTreeMap<Tile, Vec<u8>>| {
        tiles
            .iter()
            .map(|(tile, bytes)| (tile.path(), json!(BASE64.encode(bytes))))
            .collect::<serde_json::Map<_, _>>()
    };
    let ask = |index: u64, tiles: &BTreeMap<Tile, Vec<u8>>, proof: &[Hash]| {
        let (root, leaf) = (
            frontier.root().base64(),
            Hash::of(&index.to_be_bytes()).base64(),
        );
        json!({
            "check": "tiles", "size": 70_000, "root": root, "tiles": served(tiles),
            "index": index, "leaf_hash": leaf, "proof": base64(proof),
        })
    };
    let prove = |index| {
        let read = |tile: Tile| {
            tiles
                .get(&tile)
                .cloned()
                .ok_or_else(|| Flaw::TileMissing { path: tile.path() })
        };
        inclusion_proof(index, 70_000, read).unwrap()
    };
    let mut questions: Vec<Value> = [0, 255, 256, 65_535, 65_536, 69_999]
        .map(|index| ask(index, &tiles, &prove(index)))
        .into();
    let mut altered = tiles.clone();
    altered
        .get_mut(&Tile {
            level: 0,
            index: 0,
            width: 256,
        })
        .unwrap()[40] ^= 1;
    questions.push(ask(0, &altered, &prove(0)));
    questions.push(ask(0, &tiles, &prove(1)));
    assert_eq!(
        go(&questions),
        [true, true, true, true, true, true, false, false]
    );
}
