//! Logged decisions made again under a draft: who gains, who loses, what fails, and what cannot be made again; over HTTP too.

use std::ops::ControlFlow;

use cedarkeep::config::Database;
use cedarkeep::decide::replay::{
    self, Counts, NotReplayed, Range, Replaying, Report, Turn, Under, Why,
};
use cedarkeep::decide::{Asker, Refused, audit};
use cedarkeep::directory::object::Scope;
use cedarkeep::directory::{DirectoryError, Ref};
use cedarkeep::policy::PolicyError;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Things, Told, key};
use super::history::{OWN, SCHEMA};
use crate::harness::postgres;

const DRAFT: &str = r#"
@id("viewers.out") forbid(principal is Cedarkeep::User, action == Cedarkeep::Action::"thread.read", resource) when { principal.role == Cedarkeep::Role::"Viewer" };
@id("tools.all") permit(principal is Cedarkeep::User, action == Cedarkeep::Action::"tool.delete", resource);
@id("documents.sum") forbid(principal, action == Cedarkeep::Action::"document.read", resource) when { resource.holds + 9223372036854775807 + 1 > 0 };
@id("people") permit(principal is Cedarkeep::User, action == Cedarkeep::Action::"member.read", resource);
"#;

struct Scene {
    service: Service,
    tenant: Tenant,
    things: Things,
}

impl Scene {
    async fn set(database: Database) -> Self {
        let service = Service::still(database).await;
        let tenant = service.tenant("acme").await;
        let things = service.things(&tenant).await;
        Self {
            service,
            tenant,
            things,
        }
    }

    async fn size(&self) -> u64 {
        audit::head(self.tenant.door.store()).await.unwrap().size
    }

    /// Asks the same so many times.
    async fn ask(&self, who: Ref, action: &str, (kind, id): (&str, &str), times: usize) {
        let question = json!({
            "subject": {"type": who.kind.name(), "id": who},
            "action": {"name": action},
            "resource": {"type": kind, "id": id},
            "context": {"reason": "asked for"},
        });
        let items = vec![question; times];
        let ask = self.service.ask("POST", "/access/v1/evaluations");
        let ask = ask.key(&self.tenant.key);
        ask.body(&json!({"evaluations": items})).send().await.ok();
    }

    async fn replayed(&self, range: Range, under: Under) -> Result<Report, NotReplayed> {
        let wanted = Replaying { range, under };
        let door = &self.tenant.door;
        door.replay(Asker::operator(), wanted, |_| ControlFlow::Continue(()))
            .await
    }

    async fn load(&self, schema: &str, policies: &str) -> Told {
        let body = json!({"schema": schema, "policies": {"own.cedar": policies}});
        let admin = self.tenant.admin;
        let put = self
            .service
            .by(&self.tenant, admin, "PUT", "/v1/policy-set");
        put.body(&body).send().await
    }
}

fn drafted(schema: Option<&str>, policies: &str) -> Under {
    Under::Draft {
        schema: schema.map(str::to_owned),
        policies: vec![("own.cedar".to_owned(), policies.to_owned())],
    }
}

fn counts(gained: u64, lost: u64, otherwise: u64) -> Counts {
    Counts {
        gained,
        lost,
        otherwise,
    }
}

async fn a_draft_says_who_gains_and_who_loses(database: Database) {
    let scene = Scene::set(database).await;
    let (tenant, things) = (&scene.tenant, &scene.things);
    let first = scene.size().await;
    let ned: Ref = things.user.parse().unwrap();
    let tool = ("Tool", things.tool.as_str());
    let org = tenant.org.to_string();
    let (thread, document) = (
        ("Thread", things.thread.as_str()),
        ("Document", things.document.as_str()),
    );
    scene.ask(tenant.member, "thread.read", thread, 7).await;
    scene.ask(tenant.viewer, "thread.read", thread, 5).await;
    scene.ask(tenant.member, "tool.delete", tool, 3).await;
    scene.ask(ned, "tool.delete", tool, 2).await;
    scene.ask(tenant.member, "document.read", document, 4).await;
    scene
        .ask(tenant.member, "member.read", ("Organization", &org), 6)
        .await;
    let range = Range::Indexes(first, None);
    let report = scene.replayed(range, drafted(None, DRAFT)).await.unwrap();
    let tally = &report.tally;
    let words = report.words();
    assert_eq!((tally.decisions, tally.made()), (27, 27), "{words}");
    assert_eq!(tally.changed, counts(5, 9, 6), "{words}");
    assert_eq!((tally.unchanged, report.flips()), (7, 14));
    let of = |who: Ref| tally.people.of(&who.to_string());
    assert_eq!(of(tenant.member), counts(3, 4, 6));
    assert_eq!(of(tenant.viewer), counts(0, 5, 0));
    assert_eq!(of(ned), counts(2, 0, 0));
    assert_eq!(tally.actions.of("thread.read"), counts(0, 5, 0));
    assert_eq!(tally.actions.of("tool.delete"), counts(5, 0, 0));
    assert_eq!(tally.types.of("Document"), counts(0, 4, 0));
    let key = format!("Thread:{}", things.thread);
    assert_eq!(tally.resources.of(&key), counts(0, 5, 0));
    assert_eq!(tally.failing, 4);
    assert_eq!(tally.failing_policies.get("documents.sum"), Some(&4));
    let sample = tally.samples(Turn::Gained)[0];
    assert_eq!(sample.before.refusal, Some("not_permitted"));
    assert_eq!(sample.after.policies, ["tools.all"]);
    let sample = tally.samples(Turn::Lost)[0];
    assert_eq!(sample.before.outcome, Some("allow"));
    let sample = tally.samples(Turn::Otherwise)[0];
    assert!(sample.after.policies.contains(&"people".to_owned()));
    assert!(!sample.before.policies.contains(&"people".to_owned()));
    for said in [
        "of 27 decisions 14 would come out otherwise: 5 that were denied allowed, 9 that were allowed denied",
        "6 with the same outcome by other policies",
        "documents.sum: 4",
        "tool.delete: 5 gained, 0 lost, 0 by other policies",
    ] {
        assert!(words.contains(said), "{said} is not in {words}");
    }
    let replayed = report.replayed();
    assert_eq!((replayed.gained, replayed.lost), (5, 9));
    assert_eq!((replayed.from, replayed.decisions), (first, 27));

    // Once it is in force, it changes nothing more; what was decided before it still says what it did.
    scene.load("", DRAFT).await.ok();
    let second = scene.size().await;
    scene.ask(tenant.viewer, "thread.read", thread, 5).await;
    let since = Range::Indexes(second, None);
    let report = scene.replayed(since, Under::Version(1)).await.unwrap();
    assert_eq!((report.version, report.tally.changed.all()), (Some(1), 0));
    let report = scene.replayed(range, Under::Version(1)).await.unwrap();
    assert_eq!(report.flips(), 14);
    let report = scene.replayed(range, Under::Recorded).await.unwrap();
    assert!(report.is_same(), "{}", report.words());
    // And without it, whoever lost by it gains.
    let report = scene.replayed(since, drafted(None, "")).await.unwrap();
    assert_eq!(report.tally.changed, counts(5, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_says_who_gains_and_who_loses_on_sqlite() {
    a_draft_says_who_gains_and_who_loses(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_says_who_gains_and_who_loses_on_postgresql() {
    let server = postgres::start();
    a_draft_says_who_gains_and_who_loses(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_draft_does_not_know_is_left_out_and_said() {
    let scene = Scene::set(Database::Sqlite).await;
    let tenant = &scene.tenant;
    scene.load(SCHEMA, OWN[0]).await.ok();
    let ticket = json!({"entities": [
        {"uid": {"type": "Ticket", "id": "1"}, "attrs": {"title": "open"}, "parents": []},
    ]});
    let put = scene
        .service
        .by(tenant, tenant.admin, "PUT", "/v1/entities");
    put.body(&ticket).send().await.ok();
    let first = scene.size().await;
    scene.ask(tenant.member, "see", ("Ticket", "1"), 4).await;
    let thread = ("Thread", scene.things.thread.as_str());
    scene.ask(tenant.member, "thread.read", thread, 3).await;
    let range = Range::Indexes(first, None);
    let under = async |schema: &str, policies: &str| {
        let under = drafted(Some(schema), policies);
        scene.replayed(range, under).await.unwrap()
    };
    let same = under(SCHEMA, OWN[0]).await;
    assert_eq!(same.tally.unchanged, 7, "{}", same.words());
    // The types are gone.
    let unknown = under("", "").await;
    assert_eq!(unknown.tally.not_for(Why::Unknown), 4);
    assert_eq!(unknown.tally.unchanged, 3);
    assert!(
        unknown.words().contains("there is no action `see`"),
        "{}",
        unknown.words()
    );
    // What was said is of another type.
    let schema = SCHEMA.replace("reason?: String", "reason?: Long");
    let misfit = under(&schema, "").await;
    assert_eq!(misfit.tally.not_for(Why::Misfit), 4, "{}", misfit.words());
    // What there is does not fit; what hangs on none of it is made again.
    let schema = SCHEMA.replace("title: String", "title: Long");
    let entities = under(&schema, "").await;
    assert_eq!(entities.tally.not_for(Why::Entities), 4);
    assert_eq!(entities.tally.unchanged, 3);
    // Once it is gone, nothing hangs on it any more.
    let end = scene
        .service
        .by(tenant, tenant.admin, "DELETE", "/v1/entities");
    let told = end.body(&json!({"type": "Ticket", "id": "1"})).send().await;
    assert_eq!(told.status, 204);
    scene.ask(tenant.member, "see", ("Ticket", "1"), 2).await;
    let entities = under(&schema, "").await;
    assert_eq!(entities.tally.not_for(Why::Entities), 4);
    assert_eq!(
        entities.tally.changed,
        counts(0, 0, 2),
        "{}",
        entities.words()
    );
    let left_out = 4 + entities.tally.not_for(Why::Operator);
    assert_eq!(entities.replayed().left_out, left_out);

    let told = scene.replayed(range, Under::Version(99)).await;
    assert!(matches!(
        told,
        Err(NotReplayed::Refused(Refused::Directory(
            DirectoryError::NotFound { .. }
        )))
    ));
    let told = scene
        .replayed(range, drafted(None, "permit(principal, action, resource"))
        .await;
    assert!(matches!(
        told,
        Err(NotReplayed::Refused(Refused::Question(
            PolicyError::Refused(_)
        )))
    ));
}

fn lines(told: &Told) -> Vec<Value> {
    assert_eq!(told.status, 200, "{}", String::from_utf8_lossy(&told.bytes));
    assert_eq!(told.headers["content-type"], "application/x-ndjson");
    let text = std::str::from_utf8(&told.bytes).unwrap();
    assert!(text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_it_is_told_line_by_line_and_recorded_first() {
    let scene = Scene::set(Database::Sqlite).await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    let first = scene.size().await;
    let thread = ("Thread", scene.things.thread.as_str());
    scene.ask(tenant.viewer, "thread.read", thread, 5).await;
    let end = scene.size().await;
    let body = json!({"policies": {"own.cedar": DRAFT}, "from": first});
    let path = "/v1/policy-replays";
    let told = service.post(tenant, tenant.admin, path, body.clone()).await;
    let lines_told = lines(&told);
    assert_eq!(
        lines_told[0],
        json!({"progress": {"done": 0, "of": end - first, "per_second": 0.0}})
    );
    let report = &lines_told.last().unwrap()["report"];
    assert_eq!(
        (&report["lost"], &report["replayed"]),
        (&json!(5), &json!(5))
    );
    let people = &report["people"]["first"][0];
    assert_eq!(people["key"], tenant.viewer.to_string());
    assert_eq!(people["lost"], 5);
    assert_eq!(report["samples"]["lost"].as_array().unwrap().len(), 5);
    let sample = &report["samples"]["lost"][0];
    assert_eq!(sample["after"]["policies"], json!(["viewers.out"]));
    // Both rights were decided, and the reading recorded, ahead of the first line.
    let entries = audit::entries(tenant.door.store(), end, 10).await.unwrap();
    let said: Vec<Value> = entries.iter().map(audit::Shown::line).collect();
    assert_eq!(said.len(), 3);
    assert_eq!(said[0]["leaf"]["action"], "policy.read");
    assert_eq!(said[1]["leaf"]["action"], "audit_log.read");
    assert_eq!(said[2]["leaf"]["event"], "audit_log.read");
    assert_eq!(said[2]["details"]["replay"], "draft");
    assert_eq!(said[2]["details"]["first"], first.to_string());

    let told = service
        .get(tenant, tenant.admin, "/v1/audit/self-check?last=20")
        .await;
    let told = lines(&told);
    let report = &told.last().unwrap()["report"];
    assert_eq!(
        (&report["under"], &report["replayed"]),
        (&json!("recorded"), &json!(20))
    );
    let differs = ["gained", "lost", "other_policies"].map(|one| report[one].as_u64());
    assert_eq!(differs, [Some(0); 3], "{report}");

    // Whoever may not read both gets nothing.
    for user in [tenant.member, tenant.viewer] {
        let told = service.post(tenant, user, path, body.clone()).await;
        told.is_problem(403);
        service
            .get(tenant, user, "/v1/audit/self-check")
            .await
            .is_problem(403);
    }
    for scope in [Scope::Policy, Scope::AuditRead] {
        let key = key(&tenant.door, &[scope]).await;
        let ask = service.ask("POST", path).key(&key).user(tenant.admin);
        ask.body(&body).send().await.is_problem(403);
    }
    for (body, status) in [
        (json!({}), 400),
        (json!({"policies": {"own.cedar": "permit("}}), 400),
        (json!({"policies": {}, "last": 0}), 400),
        (json!({"policies": {}, "last": 5, "from": 1}), 400),
        (json!({"policies": {}, "from": 9, "to": 9}), 400),
        (json!({"policies": {}, "from": 1_000_000}), 400),
        (json!({"policies": {}, "since": "yesterday"}), 400),
        (
            json!({"policies": {}, "until": "1999-01-01T00:00:00Z"}),
            400,
        ),
        (json!({"version": 1, "policies": {}}), 400),
        (json!({"version": 7}), 404),
    ] {
        let told = service.post(tenant, tenant.admin, path, body.clone()).await;
        assert_eq!(told.status, status, "{body}: {}", told.body);
    }
    for query in ["last=x", "from=5&to=5", "size=1", "since=now"] {
        let path = format!("/v1/audit/self-check?{query}");
        let told = service.get(tenant, tenant.admin, &path).await;
        told.is_problem(400);
    }
    // A draft that does not compile is told with its place.
    let body = json!({"policies": {"own.cedar": "permit(principal, action, resource)"}});
    let told = service.post(tenant, tenant.admin, path, body).await;
    assert_eq!(told.body["findings"][0]["file"], "own.cedar");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_with_whoever_reads_and_says_when_it_cannot_go_on() {
    let scene = Scene::set(Database::Sqlite).await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    let path = "/v1/audit/self-check";
    for _ in 0..6 {
        // Read to the first line, and no further.
        let (status, mut body) = service.by(tenant, tenant.admin, "GET", path).stream().await;
        assert_eq!(status, 200);
        body.next().await.unwrap().unwrap();
        drop(body);
    }
    // Each has let go of its turn: they are taken again.
    let taken = || {
        let wanted = Replaying {
            range: Range::All,
            under: Under::Recorded,
        };
        replay::begin(tenant.door.clone(), Asker::operator(), wanted)
    };
    let both = (taken().await.unwrap(), taken().await.unwrap());
    let busy = service.get(tenant, tenant.admin, path).await;
    busy.is_problem(429);
    drop(both);
    // A row of the state that does not open ends it in the middle.
    let mut rows = service.database(tenant).await;
    sqlx::query("UPDATE state SET body = $1 WHERE id = $2")
        .bind(b"nothing".to_vec())
        .bind(tenant.viewer.to_string())
        .execute(&mut rows)
        .await
        .unwrap();
    let told = lines(&service.get(tenant, tenant.admin, path).await);
    let last = told.last().unwrap();
    assert_eq!(last["problem"]["code"], "audit_unavailable", "{last}");
}
