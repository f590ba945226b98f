//! Requests for access over HTTP: asked, approved as a share that ends, declined and withdrawn.

mod kept;
mod refused;

use cedarkeep::config::Database;
use cedarkeep::crypto;
use cedarkeep::directory::change::{Change, RowId};
use cedarkeep::directory::object::Level;
use cedarkeep::directory::request::{Request, Status};
use cedarkeep::directory::{Body, Kind, Object, Ref};
use cedarkeep::log::Event;
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told};
use super::keeping::every_entry;
use crate::harness::postgres;

const PLACE: &str = "/v1/access-requests";

/// An organization, and a private thread of its member's.
struct Scene {
    service: Service,
    tenant: Tenant,
    thread: String,
}

impl Scene {
    async fn on(database: Database) -> Self {
        Self::of(Service::on(database).await).await
    }

    /// Nothing happens in it but what a test does.
    async fn still(database: Database) -> Self {
        Self::of(Service::still(database).await).await
    }

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

    fn log(&self) -> String {
        Ref::new(Kind::AuditLog, self.tenant.org.id).to_string()
    }

    async fn person(&self, name: &str, role: &str) -> Ref {
        let body = json!({"name": name, "email": format!("{name}@example.com"), "role": role});
        let by = self.tenant.admin;
        let told = self.service.post(&self.tenant, by, "/v1/users", body);
        told.await.id().parse().unwrap()
    }

    async fn asks(&self, user: Ref, resource: &str, level: &str, minutes: Option<u32>) -> Told {
        let body = json!({
            "resource": resource, "level": level, "reason": "to look into it", "for_minutes": minutes,
        });
        self.service.post(&self.tenant, user, PLACE, body).await
    }

    /// The viewer asks to read the member's thread.
    async fn wanted(&self) -> String {
        let asked = self.asks(self.tenant.viewer, &self.thread, "viewer", Some(60));
        asked.await.waits()
    }

    async fn decides(&self, user: Ref, id: &str, how: &str, body: Option<Value>) -> Told {
        let place = format!("{PLACE}/{id}/{how}");
        let ask = self.service.by(&self.tenant, user, "POST", &place);
        match body {
            Some(body) => ask.body(&body).send().await,
            None => ask.send().await,
        }
    }

    async fn approves(&self, user: Ref, id: &str) -> Told {
        self.decides(user, id, "approve", Some(json!({}))).await
    }

    async fn reads(&self, user: Ref, id: &str) -> Told {
        let place = format!("{PLACE}/{id}");
        self.service.get(&self.tenant, user, &place).await
    }

    async fn thread_of(&self, user: Ref) -> u16 {
        let place = format!("/v1/threads/{}", self.thread);
        self.service.get(&self.tenant, user, &place).await.status
    }

    async fn listed(&self, user: Ref, query: &str) -> Vec<String> {
        let path = format!("{PLACE}{query}");
        let told = self.service.get(&self.tenant, user, &path).await.ok();
        let items = told["items"].as_array().unwrap().iter();
        items
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn count(&self, event: Event) -> usize {
        let entries = every_entry(&self.tenant.door).await;
        entries.iter().filter(|one| one.event == event).count()
    }

    async fn shares(&self, user: Ref) -> Vec<Value> {
        let path = format!("/v1/shares?resource={}", self.thread);
        let told = self.service.get(&self.tenant, user, &path).await.ok();
        told["items"].as_array().unwrap().clone()
    }

    /// A request of the viewer's whose time is over, past everything that would not make one.
    async fn put_lapsed(&self) -> String {
        let reference = Ref::new(Kind::AccessRequest, crypto::random().unwrap());
        let then = Utc::now() - Duration::days(14) - Duration::seconds(1);
        let request = Request {
            owner: self.tenant.viewer,
            resource: self.thread.parse().unwrap(),
            level: Level::Viewer,
            reason: "long ago".into(),
            minutes: None,
            asked_at: then,
            lapses_at: then + Duration::days(14),
            status: Status::Open,
            closed_at: None,
            given: None,
        };
        let put = move |_: &_, _: &_| {
            let body = Body::Object(Object::AccessRequest(request.clone()));
            let change = Change::new(Event::AccessRequested, Some(reference), json!({}));
            Ok(change.put(RowId::Object(reference), body))
        };
        self.tenant.door.operate(put).await.unwrap();
        reference.to_string()
    }
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

async fn what_is_approved_is_shared_until_it_ends(database: Database) {
    let scene = Scene::on(database).await;
    let (member, viewer) = (scene.tenant.member, scene.tenant.viewer);
    let body = json!({"resource": scene.thread, "level": "commenter", "reason": " to answer it ", "for_minutes": 60});
    let told = scene.service.post(&scene.tenant, viewer, PLACE, body).await;
    let id = told.waits();
    assert_eq!(told.headers["location"], format!("{PLACE}/{id}"));
    assert_eq!(told.body["status"], "open");
    assert_eq!(told.body["reason"], "to answer it");
    let asked = time(&told.body["asked_at"]);
    assert_eq!(time(&told.body["lapses_at"]) - asked, Duration::days(14));
    assert_eq!(scene.thread_of(viewer).await, 404);
    // Whoever may share it sees it, and so does whoever asked.
    for (user, query) in [
        (member, ""),
        (member, "?by=others"),
        (viewer, "?by=me"),
        (viewer, "?status=open"),
    ] {
        assert_eq!(
            scene.listed(user, query).await,
            std::slice::from_ref(&id),
            "{query}"
        );
    }
    let of_this = format!("?resource={}", scene.thread);
    assert_eq!(
        scene.listed(member, &of_this).await,
        std::slice::from_ref(&id)
    );
    assert!(scene.listed(scene.tenant.admin, "").await.is_empty());
    let less = json!({"level": "viewer", "for_minutes": 5});
    let told = scene.decides(member, &id, "approve", Some(less)).await.ok();
    assert_eq!(told["status"], "approved");
    assert_eq!(told["given"]["level"], "viewer");
    let end = time(&told["given"]["expires_at"]);
    assert_eq!(end - time(&told["closed_at"]), Duration::minutes(5));
    assert_eq!(scene.thread_of(viewer).await, 200);
    let shares = scene.shares(member).await;
    assert_eq!(shares.len(), 1);
    assert_eq!(shares[0]["id"], told["given"]["share"]);
    assert_eq!(time(&shares[0]["expires_at"]), end);
    let seen = scene.reads(viewer, &id).await.ok();
    assert_eq!(seen["given"], told["given"]);
    assert!(scene.listed(member, "?status=open").await.is_empty());
    assert_eq!(scene.listed(member, "?status=approved").await, [id]);
    // The decision is the one of sharing; what became of it is beside it, in the same change.
    let entries = every_entry(&scene.tenant.door).await;
    let at = entries
        .iter()
        .position(|one| one.event == Event::AccessApproved);
    let [decided, shared, approved] = &entries[at.unwrap() - 2..=at.unwrap()] else {
        panic!("three entries");
    };
    assert_eq!(
        decided.action.as_ref().map(|action| action.as_str()),
        Some("thread.share")
    );
    assert_eq!(shared.event, Event::ThreadShared);
    assert_eq!(shared.time, approved.time);
    assert_eq!(
        approved.actor.as_ref().unwrap().id.as_str(),
        member.to_string()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_approved_is_shared_until_it_ends_on_sqlite() {
    what_is_approved_is_shared_until_it_ends(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_approved_is_shared_until_it_ends_on_postgresql() {
    let server = postgres::start();
    what_is_approved_is_shared_until_it_ends(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_for_each_thing_that_is_shared() {
    let scene = Scene::on(Database::Sqlite).await;
    let (member, viewer) = (scene.tenant.member, scene.tenant.viewer);
    for path in ["prompt-templates", "tools", "assistants", "agents"] {
        let collection = format!("/v1/{path}");
        let body = json!({"name": "Secret"});
        let made = scene.service.post(&scene.tenant, member, &collection, body);
        let thing = made.await.id();
        let place = format!("/v1/{path}/{thing}");
        let id = scene.asks(viewer, &thing, "editor", None).await.waits();
        assert_eq!(
            scene.listed(member, "?status=open").await,
            std::slice::from_ref(&id)
        );
        let told = scene.approves(member, &id).await.ok();
        assert_eq!(told["given"]["expires_at"], Value::Null);
        scene.service.get(&scene.tenant, viewer, &place).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_asked_for_like_anything_else() {
    let scene = Scene::on(Database::Sqlite).await;
    let (admin, viewer) = (scene.tenant.admin, scene.tenant.viewer);
    let id = scene
        .asks(viewer, &scene.log(), "auditor", Some(30))
        .await
        .waits();
    let checkpoint = "/v1/audit/checkpoint";
    let reads = async || {
        let told = scene.service.get(&scene.tenant, viewer, checkpoint);
        told.await.status
    };
    assert_eq!(reads().await, 403);
    scene.reads(scene.tenant.member, &id).await.is_problem(404);
    scene
        .approves(scene.tenant.member, &id)
        .await
        .is_problem(404);
    assert!(
        scene
            .approves(viewer, &id)
            .await
            .is_problem(403)
            .contains("settings.update")
    );
    assert_eq!(
        scene.listed(admin, "?by=others").await,
        std::slice::from_ref(&id)
    );
    let more = json!({"for_minutes": 31});
    let told = scene.decides(admin, &id, "approve", Some(more)).await;
    assert!(told.is_problem(400).contains("`for_minutes`"));
    let told = scene.approves(admin, &id).await.ok();
    assert_eq!(told["given"]["level"], "auditor");
    assert_eq!(reads().await, 200);
    // Another one is declined.
    let id = scene
        .asks(scene.tenant.member, &scene.log(), "auditor", None)
        .await
        .waits();
    let told = scene.decides(admin, &id, "decline", None).await.ok();
    assert_eq!(told["status"], "declined");
    let again = scene.approves(admin, &id).await;
    assert!(again.is_problem(409).contains("it was declined"));
    let seen = scene.reads(scene.tenant.member, &id).await.ok();
    assert_eq!(seen["status"], "declined");
    // And what a decision needs is not told but its reason: who declined it, the log says.
    assert_eq!(seen.get("given"), Some(&Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_request_is_said() {
    let scene = Scene::on(Database::Sqlite).await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    let thread = &scene.thread;
    let right = json!({"resource": thread, "level": "viewer", "reason": "why not"});
    for (member, value, named) in [
        ("resource", json!("nobody"), "`resource`"),
        ("resource", json!(tenant.member), "`resource`"),
        ("resource", Value::Null, "`resource`"),
        ("resource", json!(scene.log()), "`level`"),
        ("level", json!("auditor"), "`level`"),
        ("level", json!("owner"), "`level`"),
        ("reason", json!(""), "`reason`"),
        ("reason", json!("x".repeat(501)), "`reason`"),
        ("reason", json!("a\nb"), "`reason`"),
        ("reason", json!(7), "`reason`"),
        ("for_minutes", json!(0), "`for_minutes`"),
        ("for_minutes", json!(-1), "`for_minutes`"),
        ("for_minutes", json!(1.5), "`for_minutes`"),
        ("for_minutes", json!(5_270_401), "`for_minutes`"),
        ("for_minutes", json!("1h"), "`for_minutes`"),
        (
            "for_minutes",
            json!(9_007_199_254_740_991_u64),
            "from 1 to 5270400",
        ),
        ("expires_at", json!("2027-01-01T00:00:00Z"), "`expires_at`"),
        ("grantee", json!(tenant.viewer), "`grantee`"),
    ] {
        let mut body = right.clone();
        body[member] = value.clone();
        let told = service.post(tenant, tenant.viewer, PLACE, body).await;
        assert!(told.is_problem(400).contains(named), "{member} {value}");
    }
    for query in ["?by=you", "?status=new", "?who=me"] {
        let path = format!("{PLACE}{query}");
        service
            .get(tenant, tenant.viewer, &path)
            .await
            .is_problem(400);
    }
    let id = scene.wanted().await;
    for (body, named) in [
        (json!({"level": "editor"}), "`level`"),
        (json!({"expires_at": null}), "`expires_at`"),
        (
            json!({"expires_at": "2020-01-01T00:00:00Z"}),
            "`expires_at`",
        ),
        (
            json!({"expires_at": "2027-01-01T00:00:00Z", "for_minutes": 5}),
            "both",
        ),
        (json!({"for_minutes": 61}), "`for_minutes`"),
        (json!({"grantee": tenant.admin}), "`grantee`"),
    ] {
        let told = scene
            .decides(tenant.member, &id, "approve", Some(body))
            .await;
        assert!(told.is_problem(400).contains(named), "{named}");
    }
    for nowhere in ["acr_aaaaaaaaaaaaaaaaaaaaaaaaaa", "thr_x", "x"] {
        scene.approves(tenant.member, nowhere).await.is_problem(404);
        scene.reads(tenant.member, nowhere).await.is_problem(404);
    }
    assert_eq!(scene.reads(tenant.viewer, &id).await.ok()["status"], "open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_each_thing_is_open_and_twenty_in_all() {
    let scene = Scene::on(Database::Sqlite).await;
    let viewer = scene.tenant.viewer;
    let id = scene.wanted().await;
    let again = scene.asks(viewer, &scene.thread, "editor", None).await;
    assert!(again.is_problem(409).contains(&id));
    for number in 1..20_u8 {
        let nothing = Ref::new(Kind::Tool, [number; 16]).to_string();
        scene.asks(viewer, &nothing, "viewer", None).await.waits();
    }
    let nothing = Ref::new(Kind::Tool, [20; 16]).to_string();
    let many = scene.asks(viewer, &nothing, "viewer", None).await;
    assert!(many.is_problem(409).contains("20 open requests"));
    // Page by page all are there.
    let (mut seen, mut query) = (Vec::new(), "?limit=7".to_owned());
    loop {
        let path = format!("{PLACE}{query}");
        let page = scene.service.get(&scene.tenant, viewer, &path).await.ok();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 7);
        seen.extend(items.iter().map(|one| one["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => query = format!("?limit=7&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 20);
    let place = format!("{PLACE}/{id}");
    let withdrawn = scene.service.delete(&scene.tenant, viewer, &place).await;
    assert_eq!(withdrawn.status, 204);
    let twice = scene.service.delete(&scene.tenant, viewer, &place).await;
    assert!(twice.is_problem(409).contains("it was withdrawn"));
    let late = scene.approves(scene.tenant.member, &id).await;
    assert!(late.is_problem(409).contains("it was withdrawn"));
    scene.asks(viewer, &nothing, "viewer", None).await.waits();
    // Somebody else has requests of their own.
    scene
        .asks(scene.tenant.admin, &nothing, "viewer", None)
        .await
        .waits();
}
