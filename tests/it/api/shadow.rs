//! A draft evaluated beside the policies in force: it counts what a replay counts, and nobody waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cedarkeep::config::Database;
use cedarkeep::decide::replay::{Range, Replaying, Under};
use cedarkeep::decide::shadow::{Shadow, Shadowed};
use cedarkeep::decide::{Asker, Door, audit, upkeep};
use cedarkeep::policy::{Compiled, OwnPolicies, Source};
use chrono::Utc;
use serde_json::{Value, json};
use std::ops::ControlFlow;

use super::harness::{Service, Tenant};
use super::history::{History, OWN, SCHEMA};
use super::keeping::asked;
use crate::harness::chance::Chance;
use crate::harness::postgres;

fn compiled(service: &Service, schema: &str, policies: &str) -> Arc<Compiled> {
    let source = |name: &str, text: &str| Source {
        name: name.into(),
        text: text.into(),
    };
    let own = OwnPolicies {
        schema: (!schema.is_empty()).then(|| source("schema", schema)),
        policies: vec![source("own.cedar", policies)],
    };
    Arc::new(Compiled::new(service.app().library(), &own).unwrap())
}

async fn size(door: &Door) -> u64 {
    audit::head(door.store()).await.unwrap().size
}

/// Waits until so many entries were looked at, or left out.
async fn looked_at(door: &Door, entries: u64) -> Shadowed {
    let begun = Instant::now();
    loop {
        let shadowed = door.shadowed().unwrap();
        let seen = shadowed.tally.decisions + shadowed.tally.others + shadowed.skipped;
        if seen >= entries {
            assert_eq!(seen, entries);
            return shadowed;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{seen} of {entries}"
        );
        tokio::task::yield_now().await;
    }
}

async fn it_counts_what_a_replay_counts(database: Database) {
    let chance = Chance::of_this_run("a shadow");
    let mut history = History::begin(Service::still(database).await, chance).await;
    history.go_on(20).await;
    let door = history.tenant.door.clone();
    let draft = compiled(&history.service, SCHEMA, OWN[1]);
    door.shadow(Some(Shadow {
        version: 7,
        compiled: Arc::clone(&draft),
    }));
    assert_eq!(door.shadow_version(), Some(7));
    let first = size(&door).await;
    // A few at a time, so that none is left out; and until the draft allowed or denied something that was not.
    for round in 1..100 {
        history.go_on(10).await;
        let now = size(&door).await;
        let shadowed = looked_at(&door, now - first).await;
        if round >= 12 && shadowed.tally.changed.flips() > 0 {
            break;
        }
    }
    let end = size(&door).await;
    let shadowed = looked_at(&door, end - first).await;
    assert_eq!((shadowed.version, shadowed.skipped), (7, 0));
    let wanted = Replaying {
        range: Range::Indexes(first, Some(end)),
        under: Under::Compiled(draft),
    };
    let report = door
        .replay(Asker::operator(), wanted, |_| ControlFlow::Continue(()))
        .await
        .unwrap();
    assert_eq!(shadowed.tally, report.tally, "{}", report.words());
    assert!(report.tally.changed.flips() > 0, "{}", report.words());
    let changed = report.tally.changed.all();
    assert_eq!(
        u64::try_from(shadowed.last.len()).unwrap(),
        changed.min(100)
    );
    assert!(shadowed.last.is_sorted_by(|a, b| a.index > b.index));
    // None, and nothing is counted any more.
    door.shadow(None);
    assert_eq!((door.shadowed(), door.shadow_version()), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_counts_what_a_replay_counts_on_sqlite() {
    it_counts_what_a_replay_counts(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_counts_what_a_replay_counts_on_postgresql() {
    let server = postgres::start();
    it_counts_what_a_replay_counts(Database::Postgres(server.url())).await;
}

/// How long so many questions take, one after the other.
async fn time(service: &Service, tenant: &Tenant, questions: usize) -> Duration {
    let begun = Instant::now();
    for _ in 0..questions {
        asked(service, tenant, tenant.member, 1).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_flood_it_leaves_out_and_nobody_waits() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let door = tenant.door.clone();
    // Policies that only Cedar's own evaluator knows: one question takes it longer than some hundred answers.
    let slow: String = (0..1_000)
        .map(|number| {
            format!(
                "@id(\"slow.{number}\") permit(principal is Cedarkeep::User, action == Cedarkeep::Action::\"thread.create\", resource) when {{ ip(\"10.0.0.{}\").isInRange(ip(\"192.168.0.0/16\")) }};\n",
                number % 250
            )
        })
        .collect();
    let compiled = compiled(&service, "", &slow);
    assert_eq!(compiled.left_to_cedar(), 1_000);
    let without = time(&service, &tenant, 200).await;
    door.shadow(Some(Shadow {
        version: 1,
        compiled,
    }));
    let first = size(&door).await;
    let with = time(&service, &tenant, 200).await;
    let shadowed = door.shadowed().unwrap();
    assert!(shadowed.skipped > 0, "{with:?}: {}", shadowed.to_json());
    // What was looked at took longer than this by itself: whoever waited for it would have waited longer.
    assert!(
        with < without * 4 + Duration::from_secs(4),
        "{with:?} beside {without:?}"
    );
    let end = size(&door).await;
    assert_eq!(end - first, 200);
    drop(shadowed);
    door.shadow(None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_set_for_all_nodes_and_read_by_whoever_may() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let path = "/v1/policy-shadow";
    let none = service.get(&tenant, tenant.admin, path).await.ok();
    assert_eq!(none, json!({"version": null, "node": null}));
    let text = "@id(\"nobody\") forbid(principal is Cedarkeep::User, action == Cedarkeep::Action::\"thread.create\", resource);";
    let body = json!({"policies": {"own.cedar": text}, "message": "nobody begins threads"});
    let told = service
        .post(&tenant, tenant.admin, "/v1/policy-versions", body)
        .await;
    assert_eq!(told.status, 201, "{}", told.body);
    let set = async |method: &str, body: Option<Value>| {
        let ask = service.by(&tenant, tenant.admin, method, path);
        match body {
            Some(body) => ask.body(&body).send().await,
            None => ask.send().await,
        }
    };
    assert_eq!(set("PUT", Some(json!({"version": 5}))).await.status, 404);
    let told = set("PUT", Some(json!({"version": 1}))).await.ok();
    assert_eq!(told["version"], 1);
    // Each node has it ready with its next round.
    let elsewhere = service.beside().await;
    let other = elsewhere
        .app()
        .door(tenant.door.store().id())
        .await
        .unwrap();
    for door in [&tenant.door, &other] {
        upkeep::round(door, Utc::now(), false).await.unwrap();
        assert_eq!(door.shadow_version(), Some(1));
    }
    let first = size(&tenant.door).await;
    asked(&service, &tenant, tenant.member, 8).await;
    let shadowed = looked_at(&tenant.door, 8).await;
    assert_eq!(
        (shadowed.tally.changed.lost, shadowed.tally.unchanged),
        (4, 4)
    );
    assert_eq!(size(&tenant.door).await, first + 8);
    let told = service.get(&tenant, tenant.admin, path).await.ok();
    assert_eq!(
        (&told["version"], &told["node"]["version"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(told["node"]["lost"], 4);
    assert_eq!(told["node"]["actions"]["first"][0]["key"], "thread.create");
    assert_eq!(told["node"]["last"].as_array().unwrap().len(), 4);
    assert_eq!(
        told["node"]["last"][0]["after"]["policies"],
        json!(["nobody"])
    );
    for user in [tenant.member, tenant.viewer] {
        let told = service.get(&tenant, user, path).await;
        assert!([403, 404].contains(&told.status), "{}", told.body);
    }
    assert_eq!(set("DELETE", None).await.status, 204);
    for door in [&tenant.door, &other] {
        upkeep::round(door, Utc::now(), false).await.unwrap();
        assert_eq!(door.shadow_version(), None);
    }
    let told = service.get(&tenant, tenant.admin, path).await.ok();
    assert_eq!(told, none);
}
