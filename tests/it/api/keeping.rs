//! What is kept of a log and how: its key rotated, a person erased, retention, legal holds, signs of life, and a database put back.

use std::time::Duration;

use cedarkeep::config::Database;
use cedarkeep::decide::{Door, audit, check, upkeep};
use cedarkeep::directory::{Kind, Ref};
use cedarkeep::log::Event;
use cedarkeep::log::checkpoint::{SignedCheckpoint, VerifierKey};
use cedarkeep::log::entry::{Caller, Entry, Fact};
use cedarkeep::log::receipt::Receipt;
use cedarkeep::log::verify::Kept;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::Row as _;

use super::found::found;
use super::harness::{Service, Tenant};
use crate::harness::postgres;

/// Asks so many questions about a user, 40 at a time.
pub async fn asked(service: &Service, tenant: &Tenant, user: Ref, questions: usize) {
    for begun in (0..questions).step_by(40) {
        let question = |number: usize| {
            let action = ["thread.create", "member.read"][number % 2];
            json!({
                "subject": {"type": "User", "id": user},
                "action": {"name": action},
                "resource": {"type": "Organization", "id": tenant.org},
            })
        };
        let items: Vec<Value> = (begun..questions.min(begun + 40)).map(question).collect();
        let body = json!({ "evaluations": items });
        // A busy machine may not record them in time, and says so: then they are asked again.
        for tries in 1.. {
            let told = service
                .ask("POST", "/access/v1/evaluations")
                .key(&tenant.key)
                .header("x-request-id", &format!("call {begun}"))
                .body(&body)
                .send()
                .await;
            if told.status != 503 || tries == 5 {
                told.ok();
                break;
            }
        }
    }
}

pub async fn every_entry(door: &Door) -> Vec<Entry> {
    let shown = audit::entries(door.store(), 0, usize::MAX).await.unwrap();
    shown
        .iter()
        .map(|shown| Entry::parse(&shown.leaf).unwrap())
        .collect()
}

pub async fn last_of(door: &Door, event: Event) -> Option<Entry> {
    let all = every_entry(door).await;
    all.into_iter().rev().find(|entry| entry.event == event)
}

fn in_days(days: i64) -> DateTime<Utc> {
    Utc::now() + chrono::Duration::days(days)
}

async fn receipt(service: &Service, tenant: &Tenant, index: u64) -> Receipt {
    let found = audit::receipt(tenant.door.store(), index).await.unwrap();
    let receipt = found.unwrap();
    // What goes out over HTTP is the same but for the checkpoint, which has grown by the reading.
    let path = format!("/v1/audit/receipts/{index}");
    let told = service.get(tenant, tenant.admin, &path).await;
    assert_eq!(told.status, 200);
    receipt
}

async fn a_new_key_is_vouched_for_by_the_old_one(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    let elsewhere = service.second_node().await;
    let other = elsewhere.door(door.store().id()).await.unwrap();
    let old = door.verifier();
    let before = receipt(&service, &tenant, 2).await;
    for round in 0..2 {
        let told = service
            .by(&tenant, tenant.admin, "POST", "/v1/audit/key")
            .send()
            .await;
        assert_eq!(told.ok()["rotated"], true, "{round}");
        // The other node has the old key in its memory, and signs with the new one nevertheless.
        upkeep::beat(&other).await.unwrap();
        let head = audit::head(other.store()).await.unwrap();
        let signed = SignedCheckpoint::parse(head.checkpoint.as_bytes()).unwrap();
        assert!(signed.verify(std::slice::from_ref(&old)).is_err());
        signed.verify(&[other.verifier()]).unwrap();
    }
    let new = other.verifier();
    assert_ne!(new, old);
    before.verified_entry(std::slice::from_ref(&old)).unwrap();
    assert!(before.verified_entry(std::slice::from_ref(&new)).is_err());
    let after = receipt(&service, &tenant, 2).await;
    after.verified_entry(std::slice::from_ref(&new)).unwrap();
    // Each handover is an entry with the new key and a checkpoint that both have signed.
    let keys = audit::verifiers(door.store(), door.origin()).await.unwrap();
    assert_eq!(keys.len(), 3);
    assert_eq!((&keys[0], &keys[2]), (&new, &old));
    let handed: Vec<_> = every_entry(door)
        .await
        .into_iter()
        .filter(|entry| entry.event == Event::LogKeyRotated)
        .map(|entry| entry.fact.unwrap())
        .collect();
    let named: Vec<_> = [&keys[1], &keys[0]]
        .map(|key| Fact::NewKey(*key.bytes()))
        .into();
    assert_eq!(handed, named);
    let mut rows = service.database(&tenant).await;
    let notes = sqlx::query("SELECT checkpoint FROM log_key WHERE version > 1 ORDER BY version")
        .fetch_all(&mut rows)
        .await
        .unwrap();
    for (note, pair) in notes
        .iter()
        .zip([[&keys[1], &keys[2]], [&keys[0], &keys[1]]])
    {
        let note: String = note.get("checkpoint");
        let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
        for key in pair {
            signed
                .verify(std::slice::from_ref::<VerifierKey>(key))
                .unwrap();
        }
    }
    // The old seeds are gone, and a false link in the chain is found.
    let seeds: i64 =
        sqlx::query("SELECT COUNT(*) AS seeds FROM data_key WHERE purpose = 'log-signing'")
            .fetch_one(&mut rows)
            .await
            .unwrap()
            .get("seeds");
    assert_eq!(seeds, 1);
    sqlx::query("UPDATE log_key SET public = $1 WHERE version = 1")
        .bind(new.bytes().as_slice())
        .execute(&mut rows)
        .await
        .unwrap();
    assert!(audit::verifiers(door.store(), door.origin()).await.is_err());
    // Those who may not do not rotate.
    let told = service
        .by(&tenant, tenant.member, "POST", "/v1/audit/key")
        .send()
        .await;
    told.is_problem(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_vouched_for_by_the_old_one_on_sqlite() {
    a_new_key_is_vouched_for_by_the_old_one(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_vouched_for_by_the_old_one_on_postgresql() {
    let server = postgres::start();
    a_new_key_is_vouched_for_by_the_old_one(Database::Postgres(server.url())).await;
}

async fn an_erased_person_is_gone_from_the_log_and_every_proof_holds(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    let things = service.things(&tenant).await;
    asked(&service, &tenant, tenant.member, 90).await;
    let member = tenant.member.to_string();
    let mine = found(door, &[("actor", &member), ("request_id", "call 40")], 50).await;
    assert_eq!(mine.len(), 40);
    let kept = receipt(&service, &tenant, mine[0]).await;
    let path = format!("/v1/users/{member}/erasure");
    // Under a legal hold nobody is erased; nor is the last Admin, nor by a Member.
    let reason = json!({"reason": "a lawsuit"});
    let told = service
        .post(
            &tenant,
            tenant.admin,
            "/v1/organization/hold",
            reason.clone(),
        )
        .await;
    assert_eq!(told.ok()["holds"], 1);
    let refused = service
        .by(&tenant, tenant.admin, "POST", &path)
        .send()
        .await;
    assert!([403, 409].contains(&refused.status), "{}", refused.body);
    let thread = format!("/v1/threads/{}", things.thread);
    let refused = service.delete(&tenant, tenant.admin, &thread).await;
    refused.is_problem(403);
    let told = service
        .post(
            &tenant,
            tenant.admin,
            "/v1/organization/release",
            reason.clone(),
        )
        .await;
    assert_eq!(told.ok()["holds"], 0);
    let told = service
        .post(&tenant, tenant.admin, "/v1/organization/release", reason)
        .await;
    assert_eq!(told.status, 409);
    let refused = service
        .by(&tenant, tenant.member, "POST", &path)
        .send()
        .await;
    assert!([403, 404].contains(&refused.status));
    let last = format!("/v1/users/{}/erasure", tenant.admin);
    let refused = service
        .by(&tenant, tenant.admin, "POST", &last)
        .send()
        .await;
    assert!([400, 403].contains(&refused.status), "{}", refused.body);

    let other = service.second_node().await;
    let elsewhere = other.door(door.store().id()).await.unwrap();
    let seen = audit::entries(elsewhere.store(), mine[0], 1).await.unwrap();
    assert_eq!(seen[0].parts["client"]["request_id"], "call 40");
    let told = service
        .by(&tenant, tenant.admin, "POST", &path)
        .send()
        .await;
    assert_eq!(told.ok()["erasing"], true);
    // At once: who they were is refused, and their parts open no more, here and on the other node.
    let told = service
        .get(&tenant, tenant.member, "/v1/organization")
        .await;
    assert!([401, 403, 404].contains(&told.status), "{}", told.body);
    let shown = audit::entries(door.store(), mine[0], 1).await.unwrap();
    assert!(shown[0].parts.values().all(|part| part == "[erased]"));
    upkeep::round(&elsewhere, Utc::now(), false).await.unwrap();
    let shown = audit::entries(elsewhere.store(), mine[0], 1).await.unwrap();
    assert!(shown[0].parts.values().all(|part| part == "[erased]"));
    // Then their parts are written out of the log, and it says so.
    upkeep::round(door, Utc::now(), false).await.unwrap();
    let done = last_of(door, Event::DataErased).await.unwrap();
    assert_eq!(done.caller, Caller::System);
    assert_eq!(done.resource.unwrap().id.as_str(), member);
    let mut rows = service.database(&tenant).await;
    for (sql, wanted) in [
        ("SELECT COUNT(*) AS n FROM erasure", 0),
        ("SELECT COUNT(*) AS n FROM subject_key", 3),
    ] {
        let n: i64 = sqlx::query(sql)
            .fetch_one(&mut rows)
            .await
            .unwrap()
            .get("n");
        assert_eq!(n, wanted, "{sql}");
    }
    // Nobody is found by their name any more, and nothing that is read back has it.
    let all = audit::entries(door.store(), 0, usize::MAX).await.unwrap();
    let text: String = all.iter().map(|shown| shown.line().to_string()).collect();
    assert!(!text.contains("mia@example.com") && !text.contains("\"mia\""));
    assert!(text.contains("ada@example.com"));
    assert!(text.contains("[erased]"));
    let gone = found(door, &[("actor", &member), ("request_id", "call 40")], 50).await;
    assert!(gone.is_empty());
    assert!(!found(door, &[("actor", &member)], 500).await.is_empty());
    // Every receipt and proof still verifies.
    let keys = [door.verifier()];
    kept.verified_entry(&keys).unwrap();
    let now = receipt(&service, &tenant, mine[0]).await;
    assert_eq!(now.leaf, kept.leaf);
    now.verified_entry(&keys).unwrap();
    let kept = [kept.checkpoint];
    let report = check::verify(
        door.store(),
        door.origin(),
        &kept.map(Kept::Signed),
        |_, _| {},
    )
    .await
    .unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let said: String = report.unchecked.iter().map(ToString::to_string).collect();
    assert!(said.contains("parts are not there"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_is_gone_from_the_log_and_every_proof_holds_on_sqlite() {
    an_erased_person_is_gone_from_the_log_and_every_proof_holds(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_is_gone_from_the_log_and_every_proof_holds_on_postgresql() {
    let server = postgres::start();
    let url = Database::Postgres(server.url());
    an_erased_person_is_gone_from_the_log_and_every_proof_holds(url).await;
}

async fn whoever_has_left_is_erased_by_an_admin(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    asked(&service, &tenant, tenant.member, 3).await;
    let member = tenant.member.to_string();
    let path = format!("/v1/users/{member}/erasure");
    let erase = async |by: Ref, path: &str| service.by(&tenant, by, "POST", path).send().await;
    let gone = format!("/v1/users/{member}");
    let gone = service.delete(&tenant, tenant.admin, &gone).await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    // Who may not is told no more than of somebody who never was.
    let never = format!("/v1/users/{}/erasure", Ref::new(Kind::User, [7; 16]));
    let [of_left, of_nobody] = [
        erase(tenant.viewer, &path).await,
        erase(tenant.viewer, &never).await,
    ];
    of_left.is_problem(404);
    of_nobody.is_problem(404);
    erase(tenant.admin, &never).await.is_problem(404);
    let reason = json!({"reason": "a lawsuit"});
    for (hold, status) in [("hold", 403), ("release", 200)] {
        let hold = format!("/v1/organization/{hold}");
        let told = service.post(&tenant, tenant.admin, &hold, reason.clone());
        told.await.ok();
        let told = erase(tenant.admin, &path).await;
        assert_eq!(told.status, status, "{}", told.body);
    }
    upkeep::round(door, Utc::now(), false).await.unwrap();
    let done = last_of(door, Event::DataErased).await.unwrap();
    assert_eq!(done.resource.unwrap().id.as_str(), member);
    let all = audit::entries(door.store(), 0, usize::MAX).await.unwrap();
    let text: String = all.iter().map(|shown| shown.line().to_string()).collect();
    assert!(!text.contains("mia@example.com") && text.contains("[erased]"));
    // Again, when nothing of them is left but that they were.
    assert_eq!(erase(tenant.admin, &path).await.ok()["erasing"], true);
    upkeep::round(door, Utc::now(), false).await.unwrap();
    let mut rows = service.database(&tenant).await;
    let under_way = sqlx::query("SELECT COUNT(*) AS n FROM erasure");
    let under_way = under_way.fetch_one(&mut rows).await.unwrap();
    assert_eq!(under_way.get::<i64, _>("n"), 0);
    erase(tenant.viewer, &path).await.is_problem(404);
    let report = check::verify(door.store(), door.origin(), &[], |_, _| {});
    let report = report.await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_left_is_erased_by_an_admin_on_sqlite() {
    whoever_has_left_is_erased_by_an_admin(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_left_is_erased_by_an_admin_on_postgresql() {
    let server = postgres::start();
    whoever_has_left_is_erased_by_an_admin(Database::Postgres(server.url())).await;
}

async fn old_entries_go_and_their_hashes_stay(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    asked(&service, &tenant, tenant.member, 7).await;
    let oldest = receipt(&service, &tenant, 3).await;
    asked(&service, &tenant, tenant.member, 700).await;
    let old = receipt(&service, &tenant, 100).await;
    let size = audit::head(door.store()).await.unwrap().size;
    let retention = "/v1/organization/retention";
    for (body, status) in [
        (json!({}), 400),
        (json!({"retention_days": 0}), 400),
        (json!({"retention_days": "30"}), 400),
        (json!({"retention_days": 30}), 200),
        (json!({"retention_days": 30}), 409),
    ] {
        let ask = service.by(&tenant, tenant.admin, "PUT", retention);
        let told = ask.body(&body).send().await;
        assert_eq!(told.status, status, "{body}: {}", told.body);
    }
    // Not before their time, and not under a legal hold.
    upkeep::round(door, in_days(29), true).await.unwrap();
    assert_eq!(door.tip().minimum, 0);
    let reason = json!({"reason": "a lawsuit"});
    let hold = "/v1/organization/hold";
    service
        .post(&tenant, tenant.admin, hold, reason.clone())
        .await
        .ok();
    upkeep::round(door, in_days(31), true).await.unwrap();
    assert_eq!(door.tip().minimum, 0);
    let release = "/v1/organization/release";
    service
        .post(&tenant, tenant.admin, release, reason)
        .await
        .ok();
    upkeep::round(door, in_days(31), true).await.unwrap();
    upkeep::round(door, in_days(31), true).await.unwrap();
    let minimum = door.tip().minimum;
    assert!(minimum >= 512 && minimum <= size && minimum.is_multiple_of(256));
    let pruned = last_of(door, Event::LogPruned).await.unwrap();
    assert_eq!(pruned.fact, Some(Fact::Minimum(minimum)));
    assert_eq!(pruned.caller, Caller::System);
    let mut rows = service.database(&tenant).await;
    for sql in [
        "SELECT COUNT(*) AS n FROM segment WHERE first_index + entries <= $1",
        "SELECT COUNT(*) AS n FROM state WHERE to_index <= $1",
    ] {
        let minimum = i64::try_from(minimum).unwrap();
        let row = sqlx::query(sql).bind(minimum).fetch_one(&mut rows).await;
        assert_eq!(row.unwrap().get::<i64, _>("n"), 0, "{sql}");
    }
    // What is left is whole, what is gone is said to be, and what somebody kept still verifies.
    let all = found(door, &[], 100).await;
    assert_eq!(all.last(), Some(&minimum));
    assert_eq!(every_entry(door).await[0].index, minimum);
    let path = "/v1/audit/receipts/100";
    assert_eq!(service.get(&tenant, tenant.admin, path).await.status, 404);
    receipt(&service, &tenant, minimum)
        .await
        .verified_entry(&[door.verifier()])
        .unwrap();
    old.verified_entry(&[door.verifier()]).unwrap();
    let from = old.checkpoint.checkpoint();
    let proof = audit::consistency(door.store(), from.size, None)
        .await
        .unwrap()
        .unwrap();
    let now = SignedCheckpoint::parse(proof.checkpoint.as_bytes()).unwrap();
    let now = now.checkpoint();
    cedarkeep::log::merkle::verify_consistency(
        (from.size, &from.root),
        (now.size, &now.root),
        &proof.path,
    )
    .unwrap();
    // Another node, and the same one anew, go on from there.
    door.close().await;
    let anew = service.app().door(door.store().id()).await.unwrap();
    asked(&service, &tenant, tenant.viewer, 5).await;
    assert!(anew.tip().size > size);
    assert!(oldest.checkpoint.checkpoint().size < minimum);
    let kept = [old, oldest].map(|receipt| receipt.checkpoint.into());
    let report = check::verify(anew.store(), anew.origin(), &kept, |_, _| {}).await;
    let report = report.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    // The hashes of what is gone are enough to hold the log against what was kept of it.
    assert_eq!(report.kept, 2);
    let said: String = report.unchecked.iter().map(ToString::to_string).collect();
    assert!(said.contains("are pruned"), "{said}");
    // What is left of what is gone is checked too, each tile by itself.
    anew.close().await;
    let store = service.app().control().open_store(door.store().id());
    let store = store.await.unwrap();
    for (altered, tile) in [("hashes", "tile/0/000"), ("root", "tile/0/001")] {
        let number = i64::from(tile == "tile/0/001");
        let read = format!("SELECT {altered} FROM tile WHERE level = 0 AND number = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(read)).bind(number);
        let whole: Vec<u8> = row.fetch_one(&mut rows).await.unwrap().get(altered);
        let mut other = whole.clone();
        other[7] ^= 1;
        let set = format!("UPDATE tile SET {altered} = $1 WHERE level = 0 AND number = $2");
        for (bytes, is_sound) in [(other, false), (whole, true)] {
            let set = sqlx::query(sqlx::AssertSqlSafe(set.clone()));
            let set = set.bind(bytes).bind(number).execute(&mut rows).await;
            assert_eq!(set.unwrap().rows_affected(), 1);
            let report = check::verify(&store, anew.origin(), &[], |_, _| {}).await;
            let report = report.unwrap();
            let found: String = report.findings.iter().map(ToString::to_string).collect();
            assert_eq!(report.is_sound(), is_sound, "{altered}: {found}");
            assert!(is_sound || found.contains(tile), "{altered}: {found}");
        }
    }
    sqlx::query("DELETE FROM tile WHERE level = 0 AND number = 1")
        .execute(&mut rows)
        .await
        .unwrap();
    let report = check::verify(&store, anew.origin(), &[], |_, _| {}).await;
    let found = report.unwrap().findings;
    let found: String = found.iter().map(ToString::to_string).collect();
    assert!(found.contains("tile/0/001: it is missing"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_entries_go_and_their_hashes_stay_on_sqlite() {
    old_entries_go_and_their_hashes_stay(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_entries_go_and_their_hashes_stay_on_postgresql() {
    let server = postgres::start();
    old_entries_go_and_their_hashes_stay(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_log_says_that_nothing_happened() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    let beats = async || {
        let all = every_entry(door).await;
        all.into_iter()
            .filter(|entry| entry.event == Event::LogHeartbeat)
            .collect::<Vec<_>>()
    };
    upkeep::round(door, Utc::now(), false).await.unwrap();
    assert!(beats().await.is_empty());
    let later = Utc::now() + chrono::Duration::seconds(601);
    upkeep::round(door, later, false).await.unwrap();
    let beat = beats().await;
    assert_eq!(beat.len(), 1);
    assert_eq!(beat[0].caller, Caller::System);
    // One that is not open is woken once a day, and only where it was silent.
    let silent = Duration::from_secs(24 * 60 * 60);
    let elsewhere = service.second_node().await;
    elsewhere.wake_silent(Utc::now(), silent).await.unwrap();
    assert_eq!(beats().await.len(), 1);
    elsewhere.wake_silent(in_days(2), silent).await.unwrap();
    assert_eq!(beats().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_node_hears_of_what_another_one_wrote() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let elsewhere = service.second_node().await;
    let other = elsewhere.door(tenant.door.store().id()).await.unwrap();
    asked(&service, &tenant, tenant.member, 3).await;
    let size = tenant.door.tip().size;
    let mut tip = other.watch();
    // Nobody asks the other node anything.
    let heard = tip.wait_for(|tip| tip.size >= size);
    tokio::time::timeout(Duration::from_secs(10), heard)
        .await
        .expect("it hears of it within some rounds")
        .unwrap();
}
