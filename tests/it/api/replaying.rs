//! Logged decisions made again as they were recorded: every one comes out the same, and what was altered is found.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use cedarkeep::config::Database;
use cedarkeep::crypto::cobblestone::Salt;
use cedarkeep::decide::replay::{Range, Replaying, Report, Turn, Under, Why};
use cedarkeep::decide::{Asker, Refused, audit, replay, upkeep};
use cedarkeep::log::entry::{Entry, PartName};
use cedarkeep::log::segment::{Leaves, Parts};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::Row as _;

use super::harness::{Service, Tenant};
use super::history::History;
use super::keeping::{asked, every_entry};
use super::restore::Backup;
use crate::harness::chance::Chance;
use crate::harness::postgres;

/// Every decision that can be made again came out the same, and nothing else is left out but for these reasons.
fn is_same(report: &Report, but: &[Why]) {
    let words = report.words();
    assert!(report.is_same(), "{words}");
    for why in report.tally.not.keys() {
        assert!(but.contains(why), "{words}");
    }
    let all = report.tally.made() + report.tally.left_out();
    assert_eq!(report.tally.decisions, all, "{words}");
    let entries = report.tally.decisions + report.tally.others;
    assert_eq!(report.end - report.first, entries, "{words}");
}

/// It has decisions of each kind, by each kind of caller, with policies of the organization's own, links and failures.
async fn is_rich(tenant: &Tenant) {
    let shown = audit::entries(tenant.door.store(), 0, usize::MAX)
        .await
        .unwrap();
    let (mut kinds, mut text) = (BTreeSet::new(), String::new());
    for shown in &shown {
        let line = shown.line();
        if line["leaf"]["event"] == "decision.made" {
            for member in [
                "/leaf/outcome",
                "/leaf/refusal",
                "/leaf/caller/type",
                "/request/subject/type",
            ] {
                let word = line.pointer(member).and_then(Value::as_str);
                kinds.extend(word.map(str::to_owned));
            }
            text.push_str(&line["policies"].to_string());
        }
    }
    for kind in [
        "allow",
        "deny",
        "forbidden",
        "not_permitted",
        "error",
        "plan_required",
        "api_key",
        "session",
        "scim_token",
        "User",
        "Agent",
        "Service",
        "Robot",
    ] {
        assert!(kinds.contains(kind), "`{kind}` is not among {kinds:?}");
    }
    for part in ["share-", "tickets.", "\"error\""] {
        assert!(text.contains(part), "no {part}");
    }
}

async fn decisions(tenant: &Tenant) -> u64 {
    let all = every_entry(&tenant.door).await;
    let made = all
        .iter()
        .filter(|one| one.event.as_str() == "decision.made");
    u64::try_from(made.count()).unwrap()
}

async fn a_rich_history_comes_out_as_it_was_recorded(database: Database, steps: usize) {
    let chance = Chance::of_this_run("a rich history");
    let mut history = History::begin(Service::still(database).await, chance).await;
    history.go_on(steps).await;
    history.hard_times(steps / 8).await;
    let report = history.replayed(Under::Recorded).await;
    is_same(&report, &[Why::Operator]);
    assert_eq!(report.tally.not_for(Why::Operator), 0, "{}", report.words());
    assert!(report.tally.made() > u64::try_from(steps).unwrap());
    is_rich(&history.tenant).await;
    // What is behind it are the decisions and the entry of the replay itself.
    let made = decisions(&history.tenant).await;
    assert_eq!(report.tally.decisions + 2, made);

    // Keys are others, and somebody is forgotten.
    history.rotate().await;
    history.go_on(steps / 8).await;
    let gone = history.things.user.clone();
    history.erase(&gone).await;
    let report = history.replayed(Under::Recorded).await;
    is_same(&report, &[Why::Operator, Why::Erased]);
    let before = report.tally.not_for(Why::Erased);
    assert!(before > 0, "{}", report.words());
    history.round(0).await;
    let report = history.replayed(Under::Recorded).await;
    is_same(&report, &[Why::Operator, Why::Erased]);
    assert!(report.tally.not_for(Why::Erased) >= before);

    // A database that was put back goes on as another life.
    let id = history.tenant.door.store().id();
    history.tenant.door.close().await;
    let backup = Backup::take(&history.service, &history.tenant).await;
    history.tenant.door = history.service.app().door(id).await.unwrap();
    history.go_on(10).await;
    history.tenant.door.close().await;
    backup.put_back(&history.service, &history.tenant).await;
    history.service.app().restored(id, |_, _| {}).await.unwrap();
    history.tenant.door = history.service.app().door(id).await.unwrap();
    history.go_on(steps / 8).await;
    let report = history.replayed(Under::Recorded).await;
    is_same(&report, &[Why::Operator, Why::Erased]);

    // What is not kept any more is said, and what is kept is made again on states that began before it.
    let retention = json!({"retention_days": 30});
    let put = history.service.by(
        &history.tenant,
        history.tenant.admin,
        "PUT",
        "/v1/organization/retention",
    );
    put.body(&retention).send().await.ok();
    history.round(31).await;
    history.go_on(steps / 8).await;
    let report = history.replayed(Under::Recorded).await;
    is_same(&report, &[Why::Operator, Why::Erased]);
    assert!(report.pruned > 0 && report.first == report.pruned);
    assert_eq!(report.first % 256, 0);
    assert!(report.tally.made() > 10, "{}", report.words());
    assert!(report.words().contains("are not kept any more"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rich_history_comes_out_as_it_was_recorded_on_sqlite() {
    a_rich_history_comes_out_as_it_was_recorded(Database::Sqlite, 240).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rich_history_comes_out_as_it_was_recorded_on_postgresql() {
    let server = postgres::start();
    let url = Database::Postgres(server.url());
    a_rich_history_comes_out_as_it_was_recorded(url, 160).await;
}

/// An organization whose log has some decisions.
async fn scene(questions: usize) -> (Service, Tenant) {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    asked(&service, &tenant, tenant.viewer, 2).await;
    asked(&service, &tenant, tenant.member, questions).await;
    (service, tenant)
}

async fn made_again(tenant: &Tenant, range: Range) -> Report {
    let wanted = Replaying {
        range,
        under: Under::Recorded,
    };
    let replayed = tenant
        .door
        .replay(Asker::operator(), wanted, |_| ControlFlow::Continue(()));
    replayed.await.unwrap()
}

/// What somebody could do who has every key: the leaf of one entry says something else.
async fn rewrite(
    service: &Service,
    tenant: &Tenant,
    index: u64,
    otherwise: impl Fn(&str) -> String,
) {
    let mut rows = service.database(tenant).await;
    let row = sqlx::query("SELECT first_index, leaves FROM segment WHERE first_index <= $1 ORDER BY first_index DESC LIMIT 1")
        .bind(i64::try_from(index).unwrap())
        .fetch_one(&mut rows)
        .await
        .unwrap();
    let (first, sealed): (i64, Vec<u8>) = (row.get("first_index"), row.get("leaves"));
    let number = u64::try_from(first).unwrap();
    let keys = tenant.door.store().keys().at(number);
    let framed = keys
        .open_log("leaves", &first.to_string(), &sealed)
        .unwrap();
    let leaves = Leaves::parse(&framed).unwrap();
    let rewritten: Vec<Vec<u8>> = leaves
        .iter()
        .map(|(at, leaf)| {
            let text = std::str::from_utf8(leaf).unwrap();
            if at != index {
                return leaf.to_vec();
            }
            let other = otherwise(text);
            assert_ne!(other, text);
            other.into_bytes()
        })
        .collect();
    let framed = Leaves::frame(number, &rewritten).unwrap();
    let sealed = keys
        .seal_log("leaves", &first.to_string(), &framed)
        .unwrap();
    sqlx::query("UPDATE segment SET leaves = $1 WHERE first_index = $2")
        .bind(sealed)
        .bind(first)
        .execute(&mut rows)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_was_altered_is_found() {
    let (service, tenant) = scene(20).await;
    let all = every_entry(&tenant.door).await;
    let denied = |entry: &&Entry| entry.outcome.as_str() == "deny";
    let denied = all.iter().find(denied).unwrap();
    let (index, refusal) = (denied.index, denied.outcome.refusal().unwrap().as_str());
    rewrite(&service, &tenant, index, |leaf| {
        leaf.replace("\"outcome\":\"deny\"", "\"outcome\":\"allow\"")
            .replace(&format!("\"refusal\":\"{refusal}\","), "")
    })
    .await;
    let report = made_again(&tenant, Range::All).await;
    assert!(!report.is_same());
    assert_eq!((report.tally.changed.lost, report.flips()), (1, 1));
    let samples = report.tally.samples(Turn::Lost);
    assert_eq!((samples.len(), samples[0].index), (1, index));
    assert_eq!(samples[0].before.outcome, Some("allow"));
    assert_eq!(samples[0].after.refusal, Some(refusal));
    assert!(report.words().starts_with("NOT THE SAME"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_was_altered_is_found() {
    let (service, tenant) = scene(20).await;
    let store = tenant.door.store();
    let id = tenant.member.to_string();
    let mut rows = service.database(&tenant).await;
    let row = sqlx::query("SELECT from_index, body FROM state WHERE id = $1")
        .bind(&id)
        .fetch_one(&mut rows)
        .await
        .unwrap();
    let (from, sealed): (i64, Vec<u8>) = (row.get("from_index"), row.get("body"));
    let index = u64::try_from(from).unwrap();
    let keys = store.keys().at(index);
    let text = keys
        .open_value("state", "body", &id, index, &sealed)
        .unwrap();
    let mut body: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(body["object"]["role"], "Member");
    body["object"]["role"] = json!("Viewer");
    let text = body.to_string().into_bytes();
    let sealed = keys.seal("state", "body", &id, index, &text).unwrap();
    sqlx::query("UPDATE state SET body = $1 WHERE id = $2")
        .bind(sealed)
        .bind(&id)
        .execute(&mut rows)
        .await
        .unwrap();
    let report = made_again(&tenant, Range::All).await;
    // As a Member they may begin threads; ten of the questions were that.
    assert_eq!(report.tally.changed.lost, 10, "{}", report.words());
    assert_eq!(report.tally.people.of(&id).lost, 10);
    assert_eq!(report.tally.actions.of("thread.create").lost, 10);
    // A row that is not even sealed by a key of ours ends it.
    sqlx::query("UPDATE state SET body = $1 WHERE id = $2")
        .bind(b"nothing".to_vec())
        .bind(&id)
        .execute(&mut rows)
        .await
        .unwrap();
    let wanted = Replaying {
        range: Range::All,
        under: Under::Recorded,
    };
    let told = tenant
        .door
        .replay(Asker::operator(), wanted, |_| ControlFlow::Continue(()));
    assert!(matches!(told.await, Err(replay::NotReplayed::Unread(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_was_altered_is_found() {
    let (service, tenant) = scene(20).await;
    let mut rows = service.database(&tenant).await;
    let row =
        sqlx::query("SELECT first_index, parts FROM segment ORDER BY first_index DESC LIMIT 1")
            .fetch_one(&mut rows)
            .await
            .unwrap();
    let (first, mut parts): (i64, Vec<u8>) = (row.get("first_index"), row.get("parts"));
    // The last byte is of the tag of the last entry's request.
    *parts.last_mut().unwrap() ^= 1;
    sqlx::query("UPDATE segment SET parts = $1 WHERE first_index = $2")
        .bind(parts)
        .bind(first)
        .execute(&mut rows)
        .await
        .unwrap();
    let report = made_again(&tenant, Range::All).await;
    assert_eq!(report.tally.not_for(Why::Altered), 1, "{}", report.words());
    assert_eq!(report.tally.changed.all(), 0);
    assert!(!report.is_same());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_version_or_another_build_has_recorded_is_said() {
    let (service, tenant) = scene(2).await;
    let store = tenant.door.store();
    let mut rows = service.database(&tenant).await;
    let newest = "SELECT first_index, parts FROM segment ORDER BY first_index DESC LIMIT 1";
    let row = sqlx::query(newest).fetch_one(&mut rows).await.unwrap();
    let (first, parts): (i64, Vec<u8>) = (row.get("first_index"), row.get("parts"));
    let index = u64::try_from(first).unwrap();
    let subject = store.subjects().get(&tenant.member.to_string()).await;
    let key = subject.unwrap().unwrap();
    let mut all = Parts::parse(&parts).unwrap().to_vec();
    assert_eq!(all.len(), 2);
    // One as it was before entries said how they were judged, one as another build would have it.
    for (at, parts) in (index..).zip(&mut all) {
        let row = at.to_string();
        let keys = store.keys().at(at);
        let place = keys.binding("segment", "request", &row, 0);
        let part = parts
            .iter_mut()
            .find(|one| one.name == PartName::Request)
            .unwrap();
        let text = String::from_utf8(key.open(&place, &part.sealed).unwrap()).unwrap();
        let mark = service.app().library().mark();
        let other = match at == index {
            true => text.replace("\"judged\":\"question\",", ""),
            false => text.replace(mark, "0123456789abcdef"),
        };
        assert_ne!(text, other);
        let salt = Salt::random().unwrap();
        part.sealed = key.seal(&place, salt, other.as_bytes()).unwrap();
    }
    sqlx::query("UPDATE segment SET parts = $1 WHERE first_index = $2")
        .bind(Parts::frame(index, &all).unwrap())
        .bind(first)
        .execute(&mut rows)
        .await
        .unwrap();
    let report = made_again(&tenant, Range::All).await;
    is_same(&report, &[Why::Older, Why::OtherBuild]);
    assert_eq!(report.tally.not_for(Why::Older), 1);
    assert_eq!(report.tally.not_for(Why::OtherBuild), 1);
    let words = report.words();
    assert!(
        words.contains("other built-in policies have decided"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_are_what_they_say() {
    let (_service, tenant) = scene(300).await;
    let entries = every_entry(&tenant.door).await;
    let size = u64::try_from(entries.len()).unwrap();
    let decided: Vec<&Entry> = entries
        .iter()
        .filter(|one| one.event.as_str() == "decision.made")
        .collect();
    let all = made_again(&tenant, Range::All).await;
    assert_eq!((all.first, all.end), (0, size));
    assert_eq!(all.tally.decisions, u64::try_from(decided.len()).unwrap());
    // Of the last so many, what a replay says of itself is one.
    let grown = every_entry(&tenant.door).await;
    let made: Vec<&Entry> = grown
        .iter()
        .filter(|one| one.event.as_str() == "decision.made")
        .collect();
    let last = made_again(&tenant, Range::Last(100)).await;
    assert_eq!(last.tally.decisions, 100);
    assert_eq!(last.first, made[made.len() - 100].index);
    assert_eq!(made_again(&tenant, Range::Last(1)).await.tally.decisions, 1);
    let more = made_again(&tenant, Range::Last(1_000_000)).await;
    assert_eq!(more.first, 0);
    let some = made_again(&tenant, Range::Indexes(50, Some(60))).await;
    assert_eq!((some.first, some.end), (50, 60));
    assert_eq!(some.tally.decisions + some.tally.others, 10);
    let from = decided[150].time;
    let first_of = entries.iter().find(|one| one.time >= from).unwrap().index;
    let later = made_again(&tenant, Range::Times(Some(from), None)).await;
    assert_eq!(later.first, first_of);
    let earlier = made_again(&tenant, Range::Times(None, Some(from))).await;
    assert_eq!((earlier.first, earlier.end), (0, first_of));
    for wrong in [
        Range::Indexes(1_000_000, None),
        Range::Indexes(0, Some(1_000_000)),
        Range::Times(None, Some(entries[0].time)),
    ] {
        let wanted = Replaying {
            range: wrong,
            under: Under::Recorded,
        };
        let told = replay::begin(tenant.door.clone(), Asker::operator(), wanted).await;
        assert!(
            matches!(told, Err(replay::NotReplayed::Range { .. })),
            "{wrong:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_how_far_it_is_and_may_be_broken_off() {
    let (_service, tenant) = scene(400).await;
    let wanted = || Replaying {
        range: Range::All,
        under: Under::Recorded,
    };
    let mut told = Vec::new();
    let progress = |now: replay::Progress| {
        told.push((now.done, now.of));
        ControlFlow::Continue(())
    };
    let report = tenant
        .door
        .replay(Asker::operator(), wanted(), progress)
        .await
        .unwrap();
    assert!(told.is_sorted() && told.len() > 1, "{told:?}");
    let entries = report.end - report.first;
    assert_eq!(told.last(), Some(&(entries, entries)));
    let mut pages = 0;
    let progress = |_| {
        pages += 1;
        ControlFlow::Break(())
    };
    let told = tenant.door.replay(Asker::operator(), wanted(), progress);
    assert!(matches!(told.await, Err(replay::NotReplayed::Gone)));
    assert_eq!(pages, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_are_under_way_at_once_and_no_more() {
    let (_service, tenant) = scene(5).await;
    let begin = async || {
        let wanted = Replaying {
            range: Range::All,
            under: Under::Recorded,
        };
        replay::begin(tenant.door.clone(), Asker::operator(), wanted).await
    };
    let (one, two) = (begin().await.unwrap(), begin().await.unwrap());
    let third = begin().await;
    assert!(matches!(
        third,
        Err(replay::NotReplayed::Refused(Refused::Busy))
    ));
    one.run(|_| ControlFlow::Continue(())).await.unwrap();
    let third = begin().await.unwrap();
    drop(two);
    begin().await.unwrap();
    drop(third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_few_states_at_a_time_however_many_there_were() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let user = format!("/v1/users/{}", tenant.viewer);
    for number in 0..150 {
        let role = ["Member", "Viewer"][number % 2];
        let told = service
            .patch(&tenant, tenant.admin, &user, json!({"role": role}))
            .await;
        assert_eq!(told.status, 200, "{}", told.body);
    }
    let report = made_again(&tenant, Range::All).await;
    is_same(&report, &[Why::Operator]);
    assert!(report.worlds.all >= 150, "{:?}", report.worlds);
    assert!(report.worlds.at_once <= 64, "{:?}", report.worlds);
    assert!(report.tally.made() >= 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_on_a_state_or_by_a_version_that_was_not_in_force_is_found() {
    let (service, tenant) = scene(4).await;
    let earlier = every_entry(&tenant.door).await.pop().unwrap();
    let user = format!("/v1/users/{}", tenant.viewer);
    let body = json!({"role": "Member"});
    let told = service.patch(&tenant, tenant.admin, &user, body).await;
    assert_eq!(told.status, 200, "{}", told.body);
    asked(&service, &tenant, tenant.member, 1).await;
    let decided = every_entry(&tenant.door).await.pop().unwrap();
    assert!(decided.as_of > earlier.as_of);
    is_same(&made_again(&tenant, Range::All).await, &[Why::Operator]);
    // The role of somebody else changes no answer: what is wrong is the state, and nothing but that.
    let (before, then) = (earlier.as_of.unwrap(), decided.as_of.unwrap());
    let state = |as_of: u64| format!("\"as_of\":\"{as_of}\"");
    let version = decided.policy_version.unwrap();
    let by = |version: u64| format!("\"policy_version\":\"{version}\"");
    let wrong = [
        (state(then), state(before), "is not the newest before it"),
        (
            state(then),
            state(decided.index),
            "is not the newest before it",
        ),
        (by(version), by(version + 1), "the entry names another"),
    ];
    for (right, wrong, why) in wrong {
        rewrite(&service, &tenant, decided.index, |leaf| {
            leaf.replace(&right, &wrong)
        })
        .await;
        let range = Range::Indexes(0, Some(decided.index + 1));
        let report = made_again(&tenant, range).await;
        assert!(!report.is_same(), "{wrong}");
        assert_eq!(report.tally.changed.all(), 1, "{}", report.words());
        let samples = report.tally.samples(Turn::Otherwise);
        assert_eq!((samples.len(), samples[0].index), (1, decided.index));
        let said = samples[0].after.wrong.as_deref().unwrap();
        assert!(said.contains(why), "{said}");
        rewrite(&service, &tenant, decided.index, |leaf| {
            leaf.replace(&wrong, &right)
        })
        .await;
        assert!(made_again(&tenant, range).await.is_same());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pruned_meanwhile_is_said_and_the_rest_is_made_again() {
    let (service, tenant) = scene(700).await;
    let retention = json!({"retention_days": 30});
    let put = service.by(&tenant, tenant.admin, "PUT", "/v1/organization/retention");
    put.body(&retention).send().await.ok();
    let mut pages = 0;
    let progress = |_| {
        pages += 1;
        if pages == 1 {
            let pruned = upkeep::round(&tenant.door, Utc::now() + TimeDelta::days(31), true);
            let runtime = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| runtime.block_on(pruned)).unwrap();
        }
        ControlFlow::Continue(())
    };
    let wanted = Replaying {
        range: Range::All,
        under: Under::Recorded,
    };
    let replayed = tenant.door.replay(Asker::operator(), wanted, progress);
    let report = replayed.await.unwrap();
    let (minimum, words) = (
        audit::head(tenant.door.store()).await.unwrap().minimum,
        report.words(),
    );
    assert!(minimum >= 256, "{minimum}");
    assert!(report.is_same(), "{words}");
    // Of the first page it was said already; the rest below what is kept now was never judged.
    assert!(report.pruned > 0 && report.pruned < minimum, "{words}");
    let gone_through = report.tally.decisions + report.tally.others;
    assert_eq!(report.end - report.first, gone_through + report.pruned);
    assert!(report.tally.made() >= report.end - minimum - 10, "{words}");
    assert!(words.contains("are not kept any more"), "{words}");
}
