//! What the log hands out, checked by programs that nobody here wrote: Go's `sumdb/note` and `sumdb/tlog`, and sigstore's
//! packages of PyPI and npm.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cedarkeep::log::checkpoint::VerifierKey;
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::merkle::{Frontier, Hash};
use cedarkeep::log::tiles::{Edge, Tile, consistency_proof, inclusion_proof};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{Sample, flips, key, keys, origin};

const SIZES: [u64; 10] = [1, 2, 3, 8, 255, 256, 257, 777, 1000, 70_000];

/// The answer of `tests/interop/go/check.go` to each question. Debian: `golang-go`, `golang-golang-x-mod-dev`.
fn go(questions: &[Value]) -> Vec<bool> {
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new("go");
    command
        .arg("run")
        .arg(place("tests/interop/go/check.go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", cache.path());
    answers(command, questions)
}

/// The answers of sigstore's packages: PyPI's `sigstore`, and npm's `@sigstore/verify`.
fn sigstore(questions: &[Value]) -> [(&'static str, Vec<bool>); 2] {
    let mut python = Command::new(place("target/interop/python/bin/python"));
    python.arg(place("tests/interop/python/check_receipts.py"));
    let mut node = Command::new("node");
    node.arg(place("tests/interop/node/check_receipts.js"))
        .arg(place("target/interop/node"));
    [
        ("sigstore (PyPI)", answers(python, questions)),
        ("@sigstore/verify (npm)", answers(node, questions)),
    ]
}

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Puts questions to a checker, one a line, and reads its answers.
fn answers(mut command: Command, questions: &[Value]) -> Vec<bool> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; `make test` installs the checkers"));
    let mut stdin = child.stdin.take().unwrap();
    let lines: Vec<String> = questions.iter().map(Value::to_string).collect();
    let writer = std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = child.wait_with_output().unwrap();
    let written = writer.join().unwrap();
    assert!(
        output.status.success() && written.is_ok(),
        "{command:?}: {}; `make test` installs the checkers",
        output.status
    );
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
    let sample = Sample::new(70_000);
    let mut questions = Vec::new();
    let (mut frontier, mut roots) = (Frontier::new(), BTreeMap::new());
    for hash in sample.hashes() {
        frontier.push(hash).unwrap();
        roots.insert(frontier.size(), frontier.root().base64());
    }
    let root = |size: u64| roots[&size].clone();
    for size in SIZES {
        let smaller;
        let at_size = if size == 70_000 {
            &sample
        } else {
            smaller = Sample::new(size);
            &smaller
        };
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

/// Receipts of trees of every size, and each of them altered: so many bits of it, its index, its size, its key.
fn receipts() -> (Vec<Value>, Vec<Value>) {
    let (mut honest, mut altered) = (Vec::new(), Vec::new());
    let ask = |receipt: &str, keys: Vec<String>| json!({"check": "receipt", "keys": keys, "receipt": receipt});
    let stranger = VerifierKey::of(origin(), &key(9)).to_string();
    for size in SIZES {
        let sample = Sample::new(size);
        for index in [0, size / 3, size - 1] {
            let text = sample.receipt(index).to_string();
            honest.push(ask(&text, key_texts()));
            altered.push(ask(&text, vec![stranger.clone()]));
            let other = format!("index {}\n", index + 1);
            let moved = text.replacen(&format!("index {index}\n"), &other, 1);
            let longer = text.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1);
            assert!(moved != text && longer != text);
            altered.extend([moved, longer].map(|text| ask(&text, key_texts())));
            // Bits of every line, spread over the whole.
            let step = text.len() * 8 / 199;
            for (bit, other) in flips(text.as_bytes()).enumerate().skip(3).step_by(step) {
                let spare = text.as_bytes().get(bit / 8 + 1) == Some(&b'=');
                if let (Ok(other), false) = (String::from_utf8(other), spare) {
                    altered.push(ask(&other, key_texts()));
                }
            }
        }
    }
    (honest, altered)
}

#[test]
fn sigstore_accepts_what_the_log_hands_out_and_refuses_what_was_altered() {
    let (honest, altered) = receipts();
    assert!(
        honest.len() == 30 && altered.len() > 3_000,
        "{}",
        altered.len()
    );
    for (checker, accepted) in sigstore(&honest) {
        for (question, accepted) in honest.iter().zip(accepted) {
            assert!(accepted, "{checker}: {question}");
        }
    }
    for (checker, accepted) in sigstore(&altered) {
        for (question, accepted) in altered.iter().zip(accepted) {
            assert!(!accepted, "{checker}: {question}");
        }
    }
    println!(
        "{} receipts accepted, {} altered ones refused",
        honest.len(),
        altered.len()
    );
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
