//! Shares that end, over HTTP: how long they may last, how that is changed, that they count to the moment, and that the log says they are over.

use cedarkeep::config::Database;
use cedarkeep::crypto;
use cedarkeep::decide::upkeep;
use cedarkeep::directory::change::{Change, RowId};
use cedarkeep::directory::object::{Level, Share};
use cedarkeep::directory::{Body, Kind, Ref};
use cedarkeep::log::Event;
use cedarkeep::log::entry::{Caller, Outcome};
use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told};
use super::keeping::every_entry;
use crate::harness::postgres;

const PLACE: &str = "/v1/shares";

/// An organization, and a private thread of its member's.
struct Scene {
    service: Service,
    tenant: Tenant,
    thread: String,
}

impl Scene {
    async fn of(service: Service) -> Self {
        let tenant = service.tenant("acme").await;
        let body = json!({"name": "Secret"});
        let thread = service
            .post(&tenant, tenant.member, "/v1/threads", body)
            .await
            .id();
        Self {
            service,
            tenant,
            thread,
        }
    }

    async fn open() -> Self {
        Self::of(Service::open().await).await
    }

    fn log(&self) -> String {
        Ref::new(Kind::AuditLog, self.tenant.org.id).to_string()
    }

    /// Shares the thread with the viewer until that.
    async fn shares(&self, end: Value) -> Told {
        let mut body =
            json!({"resource": self.thread, "grantee": self.tenant.viewer, "level": "viewer"});
        merge(&mut body, end);
        self.service
            .post(&self.tenant, self.tenant.member, PLACE, body)
            .await
    }

    async fn changes(&self, user: Ref, share: &str, body: Value) -> Told {
        let path = format!("{PLACE}/{share}");
        self.service.patch(&self.tenant, user, &path, body).await
    }

    async fn reads(&self) -> bool {
        let place = format!("/v1/threads/{}", self.thread);
        let told = self
            .service
            .get(&self.tenant, self.tenant.viewer, &place)
            .await;
        told.status == 200
    }

    async fn listed(&self, user: Ref, resource: &str) -> Vec<Value> {
        let path = format!("{PLACE}?resource={resource}");
        let told = self.service.get(&self.tenant, user, &path).await.ok();
        told["items"].as_array().unwrap().clone()
    }

    /// A share that is over, past everything that would not make one.
    async fn put_over(&self, resource: Ref, level: Level) {
        let id = crypto::random().unwrap();
        let share = Share {
            level,
            grantee: self.tenant.viewer,
            resource,
            expires_at: Some(Utc::now() - Duration::seconds(1)),
        };
        let put = move |_: &_, _: &_| {
            let change = Change::new(Event::ThreadShared, Some(resource), json!({}));
            Ok(change.put(RowId::Share(id), Body::Share(share.clone())))
        };
        self.tenant.door.operate(put).await.unwrap();
    }
}

fn merge(body: &mut Value, with: Value) {
    let (Some(body), Value::Object(with)) = (body.as_object_mut(), with) else {
        panic!("objects");
    };
    body.extend(with);
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

fn in_days(days: i64) -> String {
    let time = Utc::now() + Duration::days(days);
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_says_when_it_ends_in_one_of_two_ways() {
    let scene = Scene::open().await;
    let before = Utc::now();
    let told = scene.shares(json!({"for_minutes": 90})).await;
    let end = time(&told.body["expires_at"]);
    let id = told.id();
    assert!(end >= before + Duration::minutes(90) && end <= Utc::now() + Duration::minutes(90));
    let at = in_days(30);
    let again = scene.shares(json!({"expires_at": at})).await;
    assert_eq!(again.id(), id);
    assert_eq!(
        time(&again.body["expires_at"]),
        at.parse::<DateTime<Utc>>().unwrap()
    );
    for (wrong, named) in [
        (json!({"expires_at": at, "for_minutes": 5}), "both"),
        (json!({"expires_at": null, "for_minutes": 5}), "both"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "past"),
        (json!({"expires_at": "tomorrow"}), "`expires_at`"),
        (json!({"expires_at": in_days(367)}), "366 days"),
        (json!({"for_minutes": 366 * 24 * 60 + 1}), "366 days"),
        (json!({"for_minutes": 0}), "`for_minutes`"),
        (json!({"for_minutes": 4_294_967_296_u64}), "`for_minutes`"),
        (json!({"for_minutes": "5"}), "`for_minutes`"),
    ] {
        let told = scene.shares(wrong.clone()).await;
        assert!(told.is_problem(400).contains(named), "{wrong}");
    }
    let endless = scene.shares(json!({"expires_at": null})).await;
    assert_eq!(endless.body["expires_at"], Value::Null);
    assert_eq!(
        scene.listed(scene.tenant.member, &scene.thread).await.len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_share_it_has_it_end_sooner_or_later() {
    let scene = Scene::open().await;
    let (tenant, service) = (&scene.tenant, &scene.service);
    let share = scene.shares(json!({"for_minutes": 90})).await.id();
    let told = scene
        .changes(tenant.member, &share, json!({"for_minutes": 5}))
        .await
        .ok();
    assert_eq!(
        (&told["id"], &told["level"]),
        (&json!(share), &json!("viewer"))
    );
    let sooner = time(&told["expires_at"]);
    assert!(sooner <= Utc::now() + Duration::minutes(5));
    let told = scene
        .changes(tenant.member, &share, json!({"level": "editor"}))
        .await
        .ok();
    assert_eq!(time(&told["expires_at"]), sooner);
    assert_eq!(told["level"], "editor");
    let told = scene
        .changes(tenant.member, &share, json!({"expires_at": null}))
        .await
        .ok();
    assert_eq!(told["expires_at"], Value::Null);
    for (wrong, named) in [
        (json!({}), "`expires_at`"),
        (json!({"level": "auditor"}), "`level`"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "past"),
        (json!({"grantee": tenant.admin}), "`grantee`"),
    ] {
        let told = scene.changes(tenant.member, &share, wrong).await;
        assert!(told.is_problem(400).contains(named), "{named}");
    }
    // Who has it sees it and does not change it; for an Admin it is not there.
    let longer = json!({"for_minutes": 6});
    let told = scene.changes(tenant.viewer, &share, longer.clone()).await;
    assert!(told.is_problem(403).contains("thread.share"));
    scene
        .changes(tenant.admin, &share, longer.clone())
        .await
        .is_problem(404);
    let nowhere = "shr_aaaaaaaaaaaaaaaaaaaaaaaaaa";
    for id in [nowhere, "x"] {
        scene
            .changes(tenant.member, id, longer.clone())
            .await
            .is_problem(404);
    }
    // An auditor's, by an Admin alone.
    let body = json!({"resource": scene.log(), "grantee": tenant.viewer, "level": "auditor", "for_minutes": 60});
    let audit = service.post(tenant, tenant.admin, PLACE, body).await.id();
    scene
        .changes(tenant.member, &audit, longer.clone())
        .await
        .is_problem(403);
    let told = scene.changes(tenant.admin, &audit, longer).await.ok();
    assert!(time(&told["expires_at"]) <= Utc::now() + Duration::minutes(6));
    scene
        .changes(tenant.admin, &audit, json!({"level": "viewer"}))
        .await
        .is_problem(400);
    let audit = format!("{PLACE}/{audit}");
    let gone = service.delete(tenant, tenant.admin, &audit).await;
    assert_eq!(gone.status, 204);
    // Each change is one that the log has, as is what was before.
    let entries = every_entry(&tenant.door).await;
    let shared = entries
        .iter()
        .filter(|one| one.event == Event::ThreadShared);
    assert_eq!(shared.count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_says_within_how_many_days_every_share_ends() {
    let scene = Scene::open().await;
    let (tenant, service) = (&scene.tenant, &scene.service);
    let set = async |user: Ref, days: Value| {
        let body = json!({"share_days": days});
        service.patch(tenant, user, "/v1/organization", body).await
    };
    set(tenant.member, json!(7)).await.is_problem(403);
    for wrong in [json!(0), json!(3_661), json!(-1), json!("7"), json!(1.5)] {
        let told = set(tenant.admin, wrong).await;
        assert!(told.is_problem(400).contains("share_days"));
    }
    assert_eq!(set(tenant.admin, json!(7)).await.ok()["share_days"], 7);
    let endless = scene.shares(json!({})).await;
    assert!(endless.is_problem(400).contains("within 7 days"));
    let long = scene.shares(json!({"expires_at": in_days(8)})).await;
    assert!(long.is_problem(400).contains("within 7 days"));
    scene.shares(json!({"expires_at": in_days(6)})).await.id();
    // A request without an end is approved with one.
    let ask = json!({"resource": scene.thread, "level": "editor", "reason": "to write"});
    let asked = service.post(tenant, tenant.admin, "/v1/access-requests", ask);
    let place = format!("/v1/access-requests/{}/approve", asked.await.waits());
    let approve = async |body: Value| service.post(tenant, tenant.member, &place, body).await;
    assert!(
        approve(json!({}))
            .await
            .is_problem(400)
            .contains("within 7 days")
    );
    approve(json!({"for_minutes": 7 * 24 * 60})).await.ok();
    let none = set(tenant.admin, Value::Null).await.ok();
    assert_eq!(none["share_days"], Value::Null);
    scene.shares(json!({})).await.id();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_counts_to_the_moment_that_it_ends() {
    let scene = Scene::of(Service::patient(Database::Sqlite).await).await;
    let end = Utc::now() + Duration::seconds(3);
    let end = end.to_rfc3339_opts(SecondsFormat::Micros, true);
    scene.shares(json!({"expires_at": end})).await.id();
    assert!(scene.reads().await);
    // Asked for again and again until it is over.
    while scene.reads().await {}
    assert!(!scene.reads().await);
    let end: DateTime<Utc> = end.parse().unwrap();
    let (mut allowed, mut denied) = (0, 0);
    for entry in every_entry(&scene.tenant.door).await {
        let of_viewer = entry
            .actor
            .as_ref()
            .is_some_and(|actor| actor.id.as_str() == scene.tenant.viewer.to_string());
        if entry.event != Event::DecisionMade || !of_viewer {
            continue;
        }
        let counts = entry.time.micros() < end.timestamp_micros();
        assert_eq!(entry.outcome == Outcome::Allow, counts, "{entry:?}");
        allowed += u32::from(counts);
        denied += u32::from(!counts);
    }
    assert!(allowed > 0 && denied > 1, "{allowed} {denied}");
}

async fn that_a_share_is_over_is_said_once(database: Database) {
    let scene = Scene::of(Service::still(database).await).await;
    let (tenant, member) = (&scene.tenant, scene.tenant.member);
    let beside = scene.service.beside().await;
    let there = beside.app().door(tenant.door.store().id()).await.unwrap();
    let thread: Ref = scene.thread.parse().unwrap();
    scene.put_over(thread, Level::Editor).await;
    let log = Ref::new(Kind::AuditLog, tenant.org.id);
    scene.put_over(log, Level::Auditor).await;
    let body =
        json!({"resource": thread, "grantee": tenant.admin, "level": "viewer", "for_minutes": 60});
    let fresh = scene.service.post(tenant, member, PLACE, body).await.id();
    assert!(!scene.reads().await);
    assert_eq!(scene.listed(member, &scene.thread).await.len(), 2);
    let now = Utc::now();
    for _ in 0..2 {
        let (here, there) = tokio::join!(
            upkeep::round(&tenant.door, now, true),
            upkeep::round(&there, now, true)
        );
        here.unwrap();
        there.unwrap();
    }
    let entries = every_entry(&tenant.door).await;
    let over: Vec<_> = entries
        .iter()
        .filter(|one| one.event == Event::ShareExpired)
        .collect();
    let of: Vec<&str> = over
        .iter()
        .map(|one| one.resource.as_ref().unwrap().id.as_str())
        .collect();
    assert_eq!(over.len(), 2, "{of:?}");
    assert!(of.contains(&thread.to_string().as_str()) && of.contains(&log.to_string().as_str()));
    for one in over {
        assert_eq!((&one.caller, &one.actor), (&Caller::System, &None));
    }
    let left = scene.listed(member, &scene.thread).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["id"], json!(fresh));
    assert!(scene.listed(tenant.admin, &scene.log()).await.is_empty());
    // It may be given again.
    scene.shares(json!({"for_minutes": 5})).await.id();
    assert!(scene.reads().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_share_is_over_is_said_once_on_sqlite() {
    that_a_share_is_over_is_said_once(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_share_is_over_is_said_once_on_postgresql() {
    let server = postgres::start();
    that_a_share_is_over_is_said_once(Database::Postgres(server.url())).await;
}
