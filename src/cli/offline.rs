//! `cedarkeep audit verify` of a file: a bundle, a receipt or an anchor, checked with public keys alone, without settings, data or network.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Outcome;
use super::print::Out;
use crate::log::anchor::{self, Anchor};
use crate::log::bundle::{self, Verdict, Wrong};
use crate::log::checkpoint::{SignedCheckpoint, VerifierKey};
use crate::log::entry::Time;
use crate::log::flaw::Flaw;
use crate::log::receipt::Receipt;
use crate::log::verify::{Finding, Kept};
use crate::log::witness::{self, Policy, Witness};

/// How many entries are read before that is told.
const TOLD: u64 = 100_000;

/// The most bytes of a receipt: an entry, and the hashes beside it.
const RECEIPT_LIMIT: u64 = 1 << 20;

/// Checks the file at this path; what it is, its first bytes say.
pub(super) fn verify(
    out: &Out,
    path: &str,
    keys: &[String],
    (policy, files): (Option<&Path>, &[PathBuf]),
) -> Outcome {
    let unreadable = |error| format!("`{path}`: {error}");
    let mut file = File::open(path).map_err(unreadable)?;
    let mut keys = keys
        .iter()
        .map(|key| trusted(key))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let policy = policy.map(read_policy).transpose()?;
    keys.extend(policy.iter().flat_map(Policy::logs).cloned());
    let mut known: Vec<VerifierKey> = Vec::new();
    for key in keys {
        if !known.contains(&key) {
            known.push(key);
        }
    }
    let keys = known;
    let mut start = Vec::new();
    (&mut file)
        .take(512)
        .read_to_end(&mut start)
        .map_err(unreadable)?;
    if start.is_empty() {
        return Err(format!("`{path}` is empty: it proves nothing").into());
    }
    file.rewind().map_err(unreadable)?;
    let is_bundle = start.starts_with(format!("{}\0", bundle::MANIFEST).as_bytes());
    if !files.is_empty() && !is_bundle {
        return Err(
            "--kept is for a bundle or an organization's log: nothing else is held against it"
                .into(),
        );
    }
    if start.starts_with(b"c2sp.org/tlog-proof@v1\n") {
        return receipt(out, (path, file), &keys, policy.as_ref());
    }
    if start.starts_with(anchor::HEADER.as_bytes()) {
        return anchored(out, (path, file), &keys, policy.as_ref());
    }
    let kept: Vec<Kept> = files
        .iter()
        .map(|path| kept(path, &keys))
        .collect::<Result<_, _>>()?;
    if policy.is_some() {
        return Err(format!(
            "`{path}` is neither a receipt nor an anchor: --policy is for the deployment's log, which is the one that is witnessed"
        )
        .into());
    }
    if is_bundle {
        let verdict = bundle::verify(
            BufReader::with_capacity(1 << 16, file),
            &keys,
            &kept,
            |done, of| {
                if done.is_multiple_of(TOLD) {
                    out.progress(&format!("{done} of {of} entries"));
                }
            },
        );
        return tell(out, path, &verdict.map_err(unreadable)?);
    }
    Err(format!(
        "`{path}` is no receipt, nor a bundle or an anchor: it begins like none of them. For an organization of that name go where no such file is"
    )
    .into())
}

/// What somebody kept of a log: a checkpoint, that of a receipt, or one that an anchor shows to be in the deployment's log, by one of these
/// keys.
pub(super) fn kept(path: &Path, keys: &[VerifierKey]) -> Result<Kept, String> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| format!("`{name}`: {error}"))?;
    if bytes.starts_with(anchor::HEADER.as_bytes()) {
        let read = Anchor::parse(&bytes).and_then(|anchor| anchor.verify(keys).map(|_| anchor));
        let anchor = read.map_err(|flaw| format!("`{name}` is no anchor to go by: {flaw}"))?;
        return Ok(Kept::Anchored(anchor.checkpoint));
    }
    SignedCheckpoint::parse(&bytes)
        .or_else(|_| Receipt::parse(&bytes).map(|receipt| receipt.checkpoint))
        .map(Kept::Signed)
        .map_err(|flaw| {
            format!("`{name}` is neither a checkpoint, a receipt nor an anchor: {flaw}")
        })
}

/// A key, or those that a file holds one a line.
fn trusted(key: &str) -> Result<Vec<VerifierKey>, Box<dyn std::error::Error + Send + Sync>> {
    let flaw = match key.parse() {
        Ok(key) => return Ok(vec![key]),
        Err(flaw) => flaw,
    };
    if !Path::new(key).is_file() {
        return Err(format!("`--key` is neither a file nor a public key: {flaw}").into());
    }
    let text = std::fs::read_to_string(key).map_err(|error| format!("`{key}`: {error}"))?;
    let lines = text.trim().lines().map(|line| line.trim().parse());
    lines
        .collect::<Result<_, _>>()
        .map_err(|flaw| format!("`{key}` holds no public keys, one a line: {flaw}").into())
}

fn read_policy(path: &Path) -> Result<Policy, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("`{name}`: {error}"))?;
    text.parse()
        .map_err(|flaw: Flaw| format!("`{name}` is no policy: {flaw}"))
}

/// A small file, whole; there must be a key to check it with.
fn small(
    (path, file): (&str, File),
    what: &str,
    keys: &[VerifierKey],
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    if keys.is_empty() {
        return Err(format!(
            "`{path}` is {what}: give the log's public key with --key, as its operator prints it with \
             `cedarkeep audit checkpoint SLUG --key`"
        )
        .into());
    }
    let mut bytes = Vec::new();
    file.take(RECEIPT_LIMIT)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("`{path}`: {error}"))?;
    Ok(bytes)
}

/// Who has cosigned a checkpoint, as far as somebody asks for witnesses.
fn witnessed(
    checkpoint: &SignedCheckpoint,
    policy: Option<&Policy>,
) -> Result<Option<Vec<String>>, Flaw> {
    let met = policy.map(|policy| policy.met_by(checkpoint)).transpose()?;
    let named = |one: &Witness| {
        let time = witness::cosigned(checkpoint, &one.key).ok().flatten();
        let micros = time.and_then(|time| i64::try_from(time).ok()?.checked_mul(1_000_000));
        let time = micros.and_then(|micros| Time::from_micros(micros).ok());
        let time = time.map_or_else(
            || "a time that no clock has".into(),
            |time| time.to_string(),
        );
        format!("{} ({}) at {time}", one.name, one.key.name())
    };
    Ok(met.map(|witnesses| witnesses.into_iter().map(named).collect()))
}

/// A proof that the deployment's log commits to a checkpoint.
fn anchored(
    out: &Out,
    (path, file): (&str, File),
    keys: &[VerifierKey],
    policy: Option<&Policy>,
) -> Outcome {
    let bytes = small((path, file), "an anchor in the deployment's log", keys)?;
    let anchor = Anchor::parse(&bytes).map_err(|flaw| format!("`{path}` is no anchor: {flaw}"))?;
    let not_sound = |flaw| format!("NOT SOUND: {flaw}");
    let entry = anchor.verify(keys).map_err(not_sound)?;
    let under = &anchor.receipt.checkpoint;
    let cosigned = witnessed(under, policy).map_err(not_sound)?;
    let (log, size) = (anchor.checkpoint.origin.as_str(), anchor.checkpoint.size);
    let root = anchor.checkpoint.root.base64();
    let head = under.checkpoint();
    let mut unchecked = vec![
        "whether this is what the log itself says: hold it against a checkpoint or receipt of it of this size".to_owned(),
    ];
    if cosigned.is_none() {
        unchecked.push(
            "whether others have seen the deployment's log: give a policy with --policy".to_owned(),
        );
    }
    let mut text = format!(
        "sound: {log} had {size} entries under the root {root} at {}, says entry {} of {}, under a checkpoint of size {}",
        entry.time, entry.index, head.origin, head.size
    );
    for one in cosigned.iter().flatten() {
        text.push_str(&format!("\n  cosigned: {one}"));
    }
    for one in &unchecked {
        text.push_str(&format!("\n  not checked: {one}"));
    }
    out.say(
        &json!({
            "sound": true, "origin": log, "size": size, "root": root, "time": entry.time.to_string(),
            "deployment": head.origin.as_str(), "index": entry.index.to_string(), "deployment_size": head.size,
            "cosigned": cosigned, "unchecked": unchecked,
        }),
        &text,
    )?;
    Ok(())
}

fn receipt(
    out: &Out,
    (path, file): (&str, File),
    keys: &[VerifierKey],
    policy: Option<&Policy>,
) -> Outcome {
    let bytes = small((path, file), "a receipt", keys)?;
    let receipt =
        Receipt::parse(&bytes).map_err(|flaw| format!("`{path}` is no receipt: {flaw}"))?;
    let entry = receipt
        .verified_entry(keys)
        .map_err(|flaw| format!("NOT SOUND: {flaw}"))?;
    let cosigned =
        witnessed(&receipt.checkpoint, policy).map_err(|flaw| format!("NOT SOUND: {flaw}"))?;
    let checkpoint = receipt.checkpoint.checkpoint();
    let (log, size) = (checkpoint.origin.as_str(), checkpoint.size);
    let leaf: Value = serde_json::from_slice(&receipt.leaf)?;
    let unchecked = [
        "what its sealed parts say: it has their hashes alone",
        "whether the log still had this entry afterwards: ask it for a consistency proof from this size",
    ];
    let mut text = format!(
        "sound: entry {} of {log}, under a checkpoint of size {size}\n{leaf}",
        entry.index
    );
    for one in cosigned.iter().flatten() {
        text.push_str(&format!("\n  cosigned: {one}"));
    }
    for one in unchecked {
        text.push_str(&format!("\n  not checked: {one}"));
    }
    out.say(
        &json!({
            "sound": true, "origin": log, "size": size, "index": entry.index.to_string(), "leaf": leaf,
            "cosigned": cosigned, "unchecked": unchecked,
        }),
        &text,
    )?;
    Ok(())
}

/// Says what was checked, what is wrong, and what could not be checked.
fn tell(out: &Out, path: &str, verdict: &Verdict) -> Outcome {
    let wrong: Vec<String> = verdict.wrong.iter().map(ToString::to_string).collect();
    let mut unchecked: Vec<String> = verdict.unchecked.iter().map(ToString::to_string).collect();
    let is_short = |one: &Wrong| matches!(one, Wrong::Log(Finding::WentBack { .. }));
    if verdict.wrong.iter().any(is_short) {
        unchecked.push(
            "whether the bundle is only older than what was kept: then nothing is lost; export it anew, and hold that against it".to_owned(),
        );
    }
    let restored: Vec<String> = verdict.restored.iter().map(ToString::to_string).collect();
    let manifest = verdict.manifest.as_ref();
    let signed_by = verdict.signed_by.as_ref().map(ToString::to_string);
    let mut checked = vec![
        format!(
            "{} entries, each the next, under the root of the checkpoint",
            verdict.entries
        ),
        format!(
            "{} sealed parts against the hashes in their entries",
            verdict.parts
        ),
        format!("{} tiles against the root of the checkpoint", verdict.tiles),
    ];
    if verdict.rotations > 0 {
        checked.push(format!(
            "{} rotations of the key, each signed by the key before and announced by an entry",
            verdict.rotations
        ));
    }
    let mut text = match (manifest, verdict.is_sound()) {
        (Some(manifest), true) => format!(
            "sound: {} of {}, entries {} to {}, signed by {}\n",
            path,
            manifest.origin(),
            manifest.first(),
            manifest.size() - 1,
            signed_by.as_deref().unwrap_or_default(),
        ),
        (Some(manifest), false) => {
            format!(
                "NOT SOUND: {path}, which says that it is of {}\n",
                manifest.origin()
            )
        }
        (None, _) => format!("NOT SOUND: {path}\n"),
    };
    for one in &restored {
        text.push_str(&format!("  restored: {one}\n"));
    }
    for one in &wrong {
        text.push_str(&format!("  wrong: {one}\n"));
    }
    let unlisted = verdict.found - u64::try_from(wrong.len()).unwrap_or_default();
    if unlisted > 0 {
        text.push_str(&format!("  wrong: and {unlisted} more\n"));
    }
    if verdict.is_sound() {
        for one in &checked {
            text.push_str(&format!("  checked: {one}\n"));
        }
    }
    for one in &unchecked {
        text.push_str(&format!("  not checked: {one}\n"));
    }
    out.say(
        &json!({
            "sound": verdict.is_sound(),
            "origin": manifest.map(bundle::Manifest::origin),
            "first": manifest.map(|manifest| manifest.first().to_string()),
            "size": manifest.map(bundle::Manifest::size),
            "exported_at": manifest.map(bundle::Manifest::exported_at),
            "signed_by": signed_by,
            "entries": verdict.entries, "parts": verdict.parts, "tiles": verdict.tiles,
            "rotations": verdict.rotations, "restored": restored,
            "checked": if verdict.is_sound() { checked } else { Vec::new() },
            "findings": wrong, "found": verdict.found, "unchecked": unchecked,
        }),
        text.trim_end(),
    )?;
    if verdict.is_sound() {
        Ok(())
    } else {
        Err(format!("`{path}` does not verify").into())
    }
}
