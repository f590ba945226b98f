//! The log for other programs: as a table (CSV) and as OCSF events. Both are views: each row has the index and the leaf hash by
//! which a receipt or a bundle vouches for it.
//!
//! # CSV
//!
//! RFC 4180 in UTF-8, every cell in quotes, [`columns`] in the first row. `leaf_hash` is that of the tree: SHA-256 of a zero byte
//! and the leaf. Then what the leaf says: `time` (RFC 3339, UTC), `event`, `category`, `outcome`, `refusal`, who asked (`caller_*`), who
//! acted and for whom, the built-in `action`, `resource_*`, `policies` (separated by spaces), `policy_version`, `as_of` (the index of the last
//! change that a decision saw) and `fact`. A column `part_*` for each sealed part has what it says, as text or else as JSON; empty where the
//! entry has no such part, `[erased]` where nobody can open it any more. A cell that a spreadsheet would take for a formula
//! begins with `'` (see [`neutral`]).
//!
//! # OCSF
//!
//! One event of the class API Activity (6003), schema 1.3.0, a line. `metadata.sequence` is the index and `metadata.uid` the leaf hash;
//! `unmapped` has the whole leaf and what its parts say.

use core::net::IpAddr;

use serde_json::{Map, Value, json};

use super::bundle::says;
use super::checkpoint::Origin;
use super::entry::{Entry, Event, Fact, Outcome, PartName, Ref};
use super::merkle::leaf_hash;

/// The columns of the table ahead of those of the parts.
const OF_LEAF: [&str; 19] = [
    "index",
    "leaf_hash",
    "time",
    "event",
    "category",
    "outcome",
    "refusal",
    "caller_type",
    "caller_id",
    "actor_type",
    "actor_id",
    "acts_for_id",
    "action",
    "resource_type",
    "resource_id",
    "policies",
    "policy_version",
    "as_of",
    "fact",
];

/// The columns of the table.
pub fn columns() -> impl Iterator<Item = String> {
    let parts = PartName::ALL
        .iter()
        .map(|name| format!("part_{}", name.as_str()));
    OF_LEAF.into_iter().map(String::from).chain(parts)
}

/// The cells of an entry, in the order of [`columns`].
#[must_use]
pub fn cells(entry: &Entry, leaf: &[u8], opened: &Map<String, Value>) -> Vec<String> {
    let kind = |one: &Option<Ref>| {
        one.as_ref()
            .map_or_else(String::new, |one| one.kind.to_string())
    };
    let id = |one: &Option<Ref>| {
        one.as_ref()
            .map_or_else(String::new, |one| one.id.to_string())
    };
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let policies: Vec<&str> = entry
        .policies
        .iter()
        .map(|policy| policy.as_str())
        .collect();
    let of_leaf = [
        entry.index.to_string(),
        leaf_hash(leaf).to_string(),
        entry.time.to_string(),
        entry.event.as_str().into(),
        entry.category().as_str().into(),
        entry.outcome.as_str().into(),
        refusal(entry).into(),
        entry.caller.kind().into(),
        entry
            .caller
            .id()
            .map_or_else(String::new, ToString::to_string),
        kind(&entry.actor),
        id(&entry.actor),
        id(&entry.acts_for),
        entry
            .action
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        kind(&entry.resource),
        id(&entry.resource),
        policies.join(" "),
        number(entry.policy_version),
        number(entry.as_of),
        entry.fact.as_ref().map_or_else(String::new, fact),
    ];
    let parts = PartName::ALL
        .iter()
        .map(|name| match says(entry, opened, *name) {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(value) => value.to_string(),
        });
    of_leaf.into_iter().chain(parts).map(neutral).collect()
}

/// A cell that no spreadsheet takes for a formula: with `'` ahead of it where it begins with `= + - @`, their wide forms, TAB, CR, LF
/// or NUL, or comes to one of them behind spaces and invisible characters that programs skip. What begins with `'` by
/// itself gets one too, so that taking one away always gives what was there.
#[must_use]
pub fn neutral(cell: String) -> String {
    let control = cell.starts_with(['\t', '\r', '\n', '\0', '\'']);
    let skipped = |char: char| {
        char.is_whitespace()
            || char.is_control()
            || matches!(char, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    let formula = cell
        .trim_start_matches(skipped)
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if control || formula {
        format!("'{cell}")
    } else {
        cell
    }
}

fn refusal(entry: &Entry) -> &'static str {
    entry
        .outcome
        .refusal()
        .map_or("", |refusal| refusal.as_str())
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Commitment(hash) => format!("commitment {hash}"),
        Fact::Count(count) => format!("count {count}"),
        Fact::NewKey(key) => format!("key {}", data_encoding::HEXLOWER.encode(key)),
        Fact::Minimum(index) => format!("minimum {index}"),
        Fact::PolicyVersion(version) => format!("policy_version {version}"),
        Fact::Restored {
            incarnation,
            size,
            root,
        } => format!("restored {incarnation} {size} {root}"),
    }
}

/// OCSF's API Activity.
const CLASS: u64 = 6003;

/// The version of the schema that [`ocsf`] follows.
const SCHEMA: &str = "1.3.0";

/// An entry as an OCSF event.
#[must_use]
pub fn ocsf(entry: &Entry, leaf: &[u8], opened: &Map<String, Value>, log: &Origin) -> Value {
    let hash = leaf_hash(leaf).to_string();
    let said = |name| says(entry, opened, name);
    let words = said(PartName::RequestId).and_then(|id| id.as_str().map(String::from));
    let words = words.or_else(|| {
        let client = said(PartName::Client)?;
        client.get("request_id")?.as_str().map(String::from)
    });
    let asked = asked(entry, &said);
    let (activity, activity_name) = activity(entry, &asked);
    let succeeded = matches!(entry.outcome, Outcome::Allow | Outcome::Ok);
    let millis = entry.time.micros() / 1_000;
    let parts: Map<String, Value> = PartName::ALL
        .iter()
        .filter_map(|name| Some((name.as_str().to_owned(), said(*name)?)))
        .collect();
    let mut event = json!({
        "class_uid": CLASS,
        "class_name": "API Activity",
        "category_uid": CLASS / 1_000,
        "category_name": "Application Activity",
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity,
        "type_name": format!("API Activity: {activity_name}"),
        "time": millis,
        "severity_id": if succeeded { 1 } else { 2 },
        "severity": if succeeded { "Informational" } else { "Low" },
        "status_id": if succeeded { 1 } else { 2 },
        "status": if succeeded { "Success" } else { "Failure" },
        "status_code": entry.outcome.as_str(),
        "message": format!("{} {asked}: {}", entry.event.as_str(), entry.outcome.as_str()),
        "metadata": {
            "version": SCHEMA,
            "product": {
                "name": "Cedarkeep", "vendor_name": "Cedarkeep", "version": env!("CARGO_PKG_VERSION"),
            },
            "log_name": log.as_str(),
            "uid": hash,
            "sequence": entry.index,
            "event_code": entry.event.as_str(),
            "logged_time": millis,
        },
        "actor": actor(entry, &said),
        "api": { "operation": asked, "service": { "name": "Cedarkeep" } },
        "src_endpoint": endpoint(entry, &said),
        "unmapped": {
            "index": entry.index.to_string(),
            "leaf_hash": hash,
            "leaf": serde_json::from_slice(leaf).unwrap_or(Value::Null),
            "parts": parts,
        },
    });
    let mut set = |pointer: &str, name: &str, value: Value| {
        if let Some(object) = event.pointer_mut(pointer).and_then(Value::as_object_mut) {
            object.insert(name.into(), value);
        }
    };
    if let Some(words) = words {
        set("/metadata", "correlation_uid", json!(words));
        set("/api", "request", json!({ "uid": words }));
    }
    if let Some(why) = entry.outcome.refusal() {
        set("", "status_detail", json!(why.as_str()));
    }
    if let Some((kind, id)) = named(entry.resource.as_ref(), &said, "/resource") {
        set("", "resources", json!([{ "type": kind, "uid": id }]));
    }
    event
}

/// A thing by its leaf, or else as the request named it: its type and its id.
fn named(
    known: Option<&Ref>,
    said: &impl Fn(PartName) -> Option<Value>,
    pointer: &str,
) -> Option<(String, String)> {
    if let Some(one) = known {
        return Some((one.kind.to_string(), one.id.to_string()));
    }
    let request = said(PartName::Request)?;
    let named = request.pointer(pointer)?;
    let text = |name| named.get(name).and_then(Value::as_str).map(String::from);
    Some((text("type")?, text("id")?))
}

/// The action that was asked for, or what happened.
fn asked(entry: &Entry, said: &impl Fn(PartName) -> Option<Value>) -> String {
    if let Some(action) = &entry.action {
        return action.to_string();
    }
    let own = said(PartName::Request);
    let own = own
        .as_ref()
        .and_then(|request| request.pointer("/action/name"));
    own.and_then(Value::as_str)
        .map_or_else(|| entry.event.as_str().to_owned(), String::from)
}

/// Create, read, update or delete, as the last word of the built-in action or of the event has it; else the word itself.
fn activity(entry: &Entry, asked: &str) -> (u64, String) {
    let own = entry.event == Event::DecisionMade && entry.action.is_none();
    let verb = asked.rsplit('.').next().unwrap_or_default();
    let (id, name) = match verb {
        _ if own => (99, asked),
        "create" | "created" | "upload" | "uploaded" | "invite" | "invited" | "joined"
        | "imported" | "connect" | "connected" | "post" | "posted" => (1, "Create"),
        "read" | "export" | "exported" | "view" | "made" => (2, "Read"),
        "delete" | "deleted" | "remove" | "removed" | "forget" | "forgotten" | "revoke"
        | "revoked" | "disconnect" | "disconnected" | "erased" | "pruned" => (4, "Delete"),
        "edit" | "edited" | "update" | "updated" | "write" | "written" | "share" | "shared"
        | "unshare" | "unshared" | "transfer" | "transferred" | "restrict" | "restricted"
        | "add_member" | "member_added" | "remove_member" | "member_removed" | "change_role"
        | "role_changed" | "suspend" | "suspended" | "changed" | "activated" | "rolled_back"
        | "rotated" => (3, "Update"),
        _ => (99, asked),
    };
    (id, name.to_owned())
}

/// Who acted: a user, an agent for a user, or the credential alone.
fn actor(entry: &Entry, said: &impl Fn(PartName) -> Option<Value>) -> Value {
    let mut actor = json!({ "app_name": entry.caller.kind() });
    let user = |(kind, id): (String, String)| {
        let known = if kind == "User" { 1 } else { 99 };
        json!({ "uid": id, "type": kind, "type_id": known })
    };
    let acted = named(entry.actor.as_ref(), said, "/subject");
    let person = match &entry.acts_for {
        Some(_) => named(entry.acts_for.as_ref(), said, ""),
        None => acted.clone(),
    };
    if let Some(object) = actor.as_object_mut() {
        if let Some(id) = entry.caller.id() {
            object.insert("app_uid".into(), json!(id.as_str()));
        }
        if let (Some((kind, id)), Some(_)) = (acted, &entry.acts_for) {
            object.insert("app_name".into(), json!(kind));
            object.insert("app_uid".into(), json!(id));
        }
        if let Some(person) = person {
            object.insert("user".into(), user(person));
        }
    }
    actor
}

/// Where it came from: the client's address where it is known, else who asked.
fn endpoint(entry: &Entry, said: &impl Fn(PartName) -> Option<Value>) -> Value {
    let client = said(PartName::Client);
    let address = client.as_ref().and_then(|client| client.get("address"));
    match address.or(client.as_ref()).and_then(Value::as_str) {
        Some(text) if text.parse::<IpAddr>().is_ok() => json!({ "ip": text }),
        Some(text) => json!({ "name": text }),
        None => json!({ "svc_name": entry.caller.kind() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_reckon_is_text() {
        for cell in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "\0=1",
            " =1",
            "\u{a0}=1",
            "\u{feff}=1",
            "\u{200f}=1",
            "\u{202e}+1",
            " \u{1}=1",
            "＝1",
            "\tx",
            "\0x",
            "'=1",
        ] {
            assert_eq!(neutral(cell.into()), format!("'{cell}"), "{cell:?}");
        }
        for cell in [
            "",
            "plain",
            "a=1",
            "1-1",
            "{\"a\":\"=1\"}",
            "[erased]",
            " x",
        ] {
            assert_eq!(neutral(cell.into()), cell);
        }
    }
}
