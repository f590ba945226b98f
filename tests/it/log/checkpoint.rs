//! Checkpoints and verifier keys, against the crate `signed_note`.

use cedarkeep::log::checkpoint::{Checkpoint, Origin, SignedCheckpoint, VerifierKey};
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::merkle::Hash;
use proptest::prelude::*;
use signed_note::{Note, StandardVerifier, VerifierList};

use super::{Sample, flips, id, key, keys, origin};

fn oracle(note: &str, keys: &[VerifierKey]) -> Result<usize, signed_note::NoteError> {
    let verifiers = keys.iter().map(|key| {
        Box::new(StandardVerifier::new(&key.to_string()).unwrap()) as Box<dyn signed_note::Verifier>
    });
    let (verified, _) =
        Note::from_bytes(note.as_bytes())?.verify(&VerifierList::new(verifiers.collect()))?;
    Ok(verified.len())
}

#[test]
fn the_crate_signed_note_accepts_a_checkpoint_and_its_key() {
    let note = Sample::new(9).signed().to_string();
    assert_eq!(oracle(&note, &keys()).unwrap(), 1);
    let mut lines = note.lines();
    assert_eq!(lines.next(), Some(origin().as_str()));
    assert_eq!(lines.next(), Some("9"));
    assert!(note.contains(&format!("\n\n\u{2014} {} ", origin())));
}

#[test]
fn a_note_that_the_crate_signed_note_signed_is_accepted() {
    let (signing, verifying) = signed_note_pair();
    let checkpoint = Sample::new(3).checkpoint();
    let mut note = Note::new(checkpoint.text().as_bytes(), &[]).unwrap();
    note.add_sigs(&[&signing]).unwrap();
    let signed = SignedCheckpoint::parse(&note.to_bytes()).unwrap();
    assert_eq!(
        signed.verify(&[verifying.parse().unwrap()]).unwrap().len(),
        1
    );
    assert_eq!(signed.checkpoint(), &checkpoint);
}

/// A key pair in that crate's own encoding, of the seed of `key(5)`.
fn signed_note_pair() -> (signed_note::StandardSigner, String) {
    let ours = VerifierKey::of(origin(), &key(5));
    let mut typed = vec![1];
    typed.extend_from_slice(&[5; 32]);
    let encoded = data_encoding::BASE64.encode(&typed);
    let signer = signed_note::StandardSigner::new(&format!(
        "PRIVATE+KEY+{}+{:08x}+{encoded}",
        origin(),
        ours.id()
    ))
    .unwrap();
    (signer, ours.to_string())
}

#[test]
fn every_altered_bit_of_a_checkpoint_is_refused() {
    let note = Sample::new(9).signed().to_string();
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    signed.verify(&keys()).unwrap();
    assert_eq!(signed.to_string(), note);
    for altered in flips(note.as_bytes()) {
        let verified =
            SignedCheckpoint::parse(&altered).and_then(|signed| signed.verify(&keys()).map(drop));
        assert!(verified.is_err(), "{}", String::from_utf8_lossy(&altered));
    }
}

#[test]
fn a_rotation_is_signed_by_both_keys() {
    let mut signed = Sample::new(9).signed();
    signed.also_sign(&key(2));
    signed.also_sign(&key(2));
    let both = [
        VerifierKey::of(origin(), &key(1)),
        VerifierKey::of(origin(), &key(2)),
    ];
    let note = signed.to_string();
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    assert_eq!(signed.verify(&both).unwrap().len(), 2);
    assert_eq!(signed.verify(&both[1..]).unwrap(), [&both[1]]);
    assert_eq!(oracle(&note, &both).unwrap(), 2);
}

#[test]
fn signatures_of_strangers_are_kept_and_do_not_count() {
    let note = format!(
        "{}\u{2014} witness.example AAAAAAAAAAA=\n",
        Sample::new(9).signed()
    );
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    assert_eq!(signed.to_string(), note);
    assert_eq!(signed.verify(&keys()).unwrap().len(), 1);
    assert!(matches!(
        signed.verify(&[VerifierKey::of(origin(), &key(9))]),
        Err(Flaw::Untrusted { .. })
    ));
    assert!(matches!(signed.verify(&[]), Err(Flaw::Untrusted { .. })));
}

#[test]
fn one_false_signature_of_a_known_key_refuses_the_note() {
    let (nine, ten) = (
        Sample::new(9).signed().to_string(),
        Sample::new(10).checkpoint().sign(&key(2)).to_string(),
    );
    let foreign_line = ten.lines().last().unwrap();
    let signed = SignedCheckpoint::parse(format!("{nine}{foreign_line}\n").as_bytes()).unwrap();
    let second = VerifierKey::of(origin(), &key(2));
    assert!(matches!(
        signed.verify(&[keys()[0].clone(), second]),
        Err(Flaw::Signature { .. })
    ));
}

#[test]
fn the_key_of_another_log_signs_nothing_here() {
    let other =
        Origin::tenant("keep.example", id("org", 2).as_str(), id("inc", 1).as_str()).unwrap();
    let text = Sample::new(9).checkpoint();
    let note = Checkpoint {
        origin: other.clone(),
        ..text
    }
    .sign(&key(1));
    assert!(matches!(note.verify(&keys()), Err(Flaw::Untrusted { .. })));
    note.verify(&[VerifierKey::of(other, &key(1))]).unwrap();
}

#[test]
fn notes_in_other_shapes_are_refused() {
    let note = Sample::new(9).signed().to_string();
    let line = note.lines().last().unwrap().to_owned();
    let altered = [
        note.replacen("\n9\n", "\n09\n", 1),
        note.replacen("\n9\n", "\n+9\n", 1),
        note.replacen("\n9\n", "\n9\nextension\n9\n", 1),
        note.replacen("\n\n", "\nextension\n\n", 1),
        note.replacen("\n\n", "\n", 1),
        note.replacen("\n\n", "\n\n\n", 1),
        note.replace('\n', "\r\n"),
        note.trim_end().to_owned(),
        format!("{note}\n"),
        format!("{note}{line}\n"),
        note.replace('=', ""),
        String::new(),
        "\n\n".to_owned(),
    ];
    for altered in altered {
        assert!(
            SignedCheckpoint::parse(altered.as_bytes()).is_err(),
            "{altered:?}"
        );
    }
}

#[test]
fn keys_read_back_and_others_are_refused() {
    let text = keys()[0].to_string();
    assert_eq!(text.parse::<VerifierKey>().unwrap(), keys()[0]);
    assert_eq!(
        VerifierKey::from_bytes(origin(), keys()[0].bytes()).unwrap(),
        keys()[0]
    );
    for altered in flips(text.as_bytes()).filter_map(|bytes| String::from_utf8(bytes).ok()) {
        assert!(altered.parse::<VerifierKey>().is_err(), "{altered}");
    }
    let mut small_order = [0; 32];
    small_order[0] = 1;
    assert!(matches!(
        VerifierKey::from_bytes(origin(), &small_order),
        Err(Flaw::Key { .. })
    ));
}

#[test]
fn origins_that_no_note_can_carry_are_refused() {
    for (deployment, tenant, life) in [
        ("", "a", "b"),
        ("a b", "a", "b"),
        ("a+b", "a", "b"),
        ("a", "", "b"),
        ("a", "b/c", "d"),
        ("a\n", "b", "c"),
        ("a\u{a0}", "b", "c"),
    ] {
        assert!(
            Origin::tenant(deployment, tenant, life).is_err(),
            "{deployment:?} {tenant:?} {life:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_checkpoint_survives_its_text(size: u64, root: [u8; 32], seed: [u8; 32]) {
        let signing = ed25519_dalek::SigningKey::from_bytes(&seed);
        let signed = Checkpoint { origin: origin(), size, root: Hash::new(root) }.sign(&signing);
        let read = SignedCheckpoint::parse(signed.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&read, &signed);
        prop_assert!(read.verify(&[VerifierKey::of(origin(), &signing)]).is_ok());
    }

    #[test]
    fn garbage_is_refused_without_harm(text in "\\PC{0,40}\n{0,3}(\u{2014} )?\\PC{0,40}\n?") {
        prop_assert!(SignedCheckpoint::parse(text.as_bytes()).is_err());
        prop_assert!(text.parse::<VerifierKey>().is_err());
    }
}
