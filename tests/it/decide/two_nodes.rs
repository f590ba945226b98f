//! Two nodes on one database: what one has changed, the other's next answer knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cedarkeep::authn::api_key::ApiKey;
use cedarkeep::config::Database;
use cedarkeep::crypto;
use cedarkeep::decide::authorized::{ThreadShare, ThreadUnshare};
use cedarkeep::decide::world::World;
use cedarkeep::decide::{Acting, Asker, Caller, Door, Named, Question, Until, audit, check};
use cedarkeep::directory::expiry::End;
use cedarkeep::directory::object::{Level, Plan};
use cedarkeep::directory::share::{self, Grant};
use cedarkeep::directory::{Kind, Object, Ref, organization};
use cedarkeep::log::Event;
use cedarkeep::log::entry::Outcome;
use cedarkeep::log::merkle::leaf_hash;
use cedarkeep::policy::Library;
use serde_json::{Map, json};

use crate::api::harness::{Service, Tenant};
use crate::harness::postgres;

const FLIPS: usize = 60;

/// How many wait at once on each node: more than it takes to make a batch ahead.
const AHEAD: usize = 600;

fn asker(tenant: &Tenant, user: Option<Ref>) -> Asker {
    let id = ApiKey::parse(&tenant.key).unwrap().id();
    let key = Ref::new(Kind::ApiKey, id);
    let world = tenant.door.glance();
    let Object::ApiKey(stored) = &world.snapshot().object(key).unwrap().value else {
        panic!("no key");
    };
    Asker {
        caller: Caller::Key {
            key,
            service: stored.service,
            acting: user.map(|user| Acting { user, agent: None }),
        },
        request_id: None,
        client: None,
        purpose: None,
    }
}

async fn may_read(door: &Door, asker: &Asker, user: Ref, thread: Ref) -> bool {
    let question = Question {
        subject: Named::of(user),
        action: "thread.read".into(),
        action_properties: Map::new(),
        resource: Named::of(thread),
        context: Map::new(),
    };
    let answers = door
        .answers(asker.clone(), vec![question], Until::All)
        .await
        .unwrap();
    let answer = answers.into_iter().next().unwrap().unwrap();
    answer.judgement().is_allowed()
}

async fn shares(tenant: &Tenant, thread: Ref) -> [u8; 16] {
    let (id, grantee) = (crypto::random().unwrap(), tenant.viewer);
    let grant = Grant {
        grantee,
        level: Level::Viewer,
        until: End::Never,
    };
    let context = json!({"grantee": {"type": "User", "id": grantee.to_string()}});
    let context = context.as_object().unwrap().clone();
    let by = asker(tenant, Some(tenant.member));
    tenant
        .door
        .change::<ThreadShare>(by, thread, context, None, move |by, snapshot| {
            share::share(by, snapshot, id, &grant)
        })
        .await
        .unwrap();
    id
}

async fn unshares(tenant: &Tenant, thread: Ref, id: [u8; 16]) {
    let by = asker(tenant, Some(tenant.member));
    tenant
        .door
        .change::<ThreadUnshare>(by, thread, Map::new(), None, move |by, snapshot| {
            share::unshare(by, snapshot, id)
        })
        .await
        .unwrap();
}

async fn agree(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("two").await;
    let made = service
        .post(
            &tenant,
            tenant.member,
            "/v1/threads",
            json!({"name": "Plan"}),
        )
        .await;
    let thread: Ref = made.id().parse().unwrap();
    let other = service.second_node().await;
    let second = other.door(tenant.door.store().id()).await.unwrap();
    let ask = asker(&tenant, None);

    // Load on the second node, so that it catches up while the first one writes, and changes of its own.
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (door, ask, stop) = (Arc::clone(&second), ask.clone(), Arc::clone(&stop));
        let (asked, viewer) = (Arc::clone(&asked), tenant.viewer);
        load.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                may_read(&door, &ask, viewer, thread).await;
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let (door, ended) = (Arc::clone(&second), Arc::clone(&stop));
    load.spawn(async move {
        let mut plans = [Plan::Business, Plan::Enterprise].into_iter().cycle();
        while !ended.load(Ordering::Relaxed) {
            let plan = plans.next().unwrap();
            door.operate(move |by, snapshot| organization::set_plan(by, snapshot, plan))
                .await
                .unwrap();
        }
    });

    for flip in 0..FLIPS {
        let id = shares(&tenant, thread).await;
        if flip % 2 == 0 {
            assert!(
                may_read(&second, &ask, tenant.viewer, thread).await,
                "flip {flip}: the share is not seen"
            );
        }
        unshares(&tenant, thread, id).await;
        assert!(
            !may_read(&second, &ask, tenant.viewer, thread).await,
            "flip {flip}: the share outlives its end"
        );
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked > 0, "there was no load");
    let report = check::verify(second.store(), second.origin(), &[], |_, _| {})
        .await
        .unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    println!(
        "{FLIPS} flips beside {asked} questions, {} entries",
        report.entries
    );
}

/// So many wait at once that batches are made ahead, on two nodes that take each other's place at the end of the log, with changes between.
async fn made_ahead(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("ahead").await;
    let other = service.second_node().await;
    let second = other.door(tenant.door.store().id()).await.unwrap();
    let before = audit::head(second.store()).await.unwrap().size;
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..AHEAD {
        for (node, door) in [&tenant.door, &second].into_iter().enumerate() {
            let (door, ask) = (Arc::clone(door), asker(&tenant, Some(tenant.member)));
            let name = format!("{node}/{number}");
            waiting.spawn(async move {
                let details = json!({"name": name});
                let noted = door.note(ask, Event::AuditLogRead, Outcome::Ok, details);
                (name, noted.await)
            });
        }
    }
    let mut plans = [Plan::Business, Plan::Enterprise].into_iter().cycle();
    for _ in 0..3 {
        let plan = plans.next().unwrap();
        let changed = tenant
            .door
            .operate(move |by, snapshot| organization::set_plan(by, snapshot, plan));
        changed.await.unwrap();
    }
    let mut told = std::collections::BTreeMap::new();
    while let Some(noted) = waiting.join_next().await {
        let (name, noted) = noted.unwrap();
        // On a busy machine some come too late; what was answered must stand.
        if let Ok(recorded) = noted {
            let twice = told.insert(recorded.index, (name, recorded));
            assert!(twice.is_none(), "two were told one index: {twice:?}");
        }
    }
    let answered = told.len();
    assert!(answered > AHEAD / 2, "only {answered} were answered");
    let mut next = before;
    loop {
        let entries = audit::entries(second.store(), next, 500).await.unwrap();
        let Some(last) = entries.last() else { break };
        next = last.index + 1;
        for entry in &entries {
            if let Some((name, recorded)) = told.remove(&entry.index) {
                assert_eq!(entry.parts["details"]["name"], name.as_str());
                assert_eq!(leaf_hash(&entry.leaf), recorded.leaf_hash);
            }
        }
    }
    assert!(told.is_empty(), "answered and not recorded: {told:?}");
    let report = check::verify(second.store(), second.origin(), &[], |_, _| {})
        .await
        .unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_made_ahead_are_recorded_as_they_were_answered_on_sqlite() {
    made_ahead(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_made_ahead_are_recorded_as_they_were_answered_on_postgresql() {
    let server = postgres::start();
    made_ahead(Database::Postgres(server.url())).await;
}

async fn state_is_read_back(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("back").await;
    let made = service
        .post(
            &tenant,
            tenant.member,
            "/v1/threads",
            json!({"name": "Plan"}),
        )
        .await;
    let thread: Ref = made.id().parse().unwrap();
    let as_of = || tenant.door.glance().snapshot().as_of();
    let before = as_of();
    let id = shares(&tenant, thread).await;
    let during = as_of();
    unshares(&tenant, thread, id).await;
    let after = as_of();

    let library = Arc::new(Library::builtin().unwrap());
    let store = tenant.door.store();
    let empty = Arc::new(World::empty(tenant.org, &library));
    let at = async |earlier: &Arc<World>, change: u64| {
        let world = audit::world_at(store, earlier, change).await.unwrap();
        assert_eq!(world.snapshot().as_of(), change);
        Arc::new(world)
    };
    let shared = |world: &World| world.snapshot().share(id).is_some();

    // Rows of later changes are committed already, as when another node writes between the head and the rows.
    let first = at(&empty, before).await;
    assert!(!shared(&first), "a share of a later change");
    let second = at(&first, during).await;
    assert!(shared(&second), "a share that ended later");
    assert!(
        !shared(&*at(&second, after).await),
        "a share that has ended"
    );
    assert!(shared(&*at(&empty, during).await));
    assert!(!shared(&*at(&first, after).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn state_as_of_any_change_is_read_back_on_sqlite() {
    state_is_read_back(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_as_of_any_change_is_read_back_on_postgresql() {
    let server = postgres::start();
    state_is_read_back(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_never_contradicts_a_change_of_another_node_on_sqlite() {
    agree(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_never_contradicts_a_change_of_another_node_on_postgresql() {
    let server = postgres::start();
    agree(Database::Postgres(server.url())).await;
}

/// Somebody else holds the head for longer than one waits for a lock: whoever asks has time, so it is tried again, and answered.
async fn held_for_a_while(database: Database, hold: &'static str) {
    use sqlx::Executor as _;
    let service = Service::patient(database).await;
    let tenant = service.tenant("held").await;
    let ask = asker(&tenant, None);
    let mut other = service.database(&tenant).await;
    for statement in hold.split("; ") {
        other.execute(statement).await.unwrap();
    }
    let (door, viewer) = (Arc::clone(&tenant.door), tenant.viewer);
    let thread = Ref::new(Kind::Thread, [7; 16]);
    let asked = tokio::spawn(async move { may_read(&door, &ask, viewer, thread).await });
    // Longer than the 1.5 s of `storage`: what was begun is let go of by the database.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert!(
        !asked.is_finished(),
        "it was answered while somebody held the head"
    );
    other.execute("ROLLBACK").await.unwrap();
    assert!(!asked.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_held_for_a_while_is_waited_for_on_sqlite() {
    held_for_a_while(Database::Sqlite, "BEGIN IMMEDIATE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_held_for_a_while_is_waited_for_on_postgresql() {
    let server = postgres::start();
    let hold = "BEGIN; SELECT one FROM head FOR UPDATE";
    held_for_a_while(Database::Postgres(server.url()), hold).await;
}
