//! Versions of policies over HTTP: drafted, shown, activated under conditions, approved, and taken back.

use cedarkeep::config::Database;
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told};
use super::invitations::rows_of;
use crate::harness::postgres;

const LOCKS_OUT: &str =
    "@id(\"out\") forbid (principal, action == Cedarkeep::Action::\"policy.edit\", resource);";
pub(super) const HARMLESS: &str = "@id(\"harmless\") @reason(\"Members do not see who else is here.\")\nforbid (principal is Cedarkeep::User, action == Cedarkeep::Action::\"member.read\", resource is Cedarkeep::Organization) when { principal.role == Cedarkeep::Role::\"Member\" };";
pub(super) const OTHER: &str = "@id(\"other\") permit (principal is Cedarkeep::User, action == Cedarkeep::Action::\"billing.read\", resource);";

/// An organization whose Admins edit policies.
pub(super) struct Scene {
    pub(super) service: Service,
    pub(super) tenant: Tenant,
    /// Another Admin.
    second: cedarkeep::directory::Ref,
}

impl Scene {
    pub(super) async fn on(database: Database) -> Self {
        let service = Service::on(database).await;
        let tenant = service.tenant("acme").await;
        let body = json!({"name": "Zoe", "email": "zoe@example.com", "role": "Admin"});
        let made = service.post(&tenant, tenant.admin, "/v1/users", body).await;
        let second = made.id().parse().unwrap();
        Self {
            service,
            tenant,
            second,
        }
    }

    async fn by(
        &self,
        user: cedarkeep::directory::Ref,
        method: &str,
        path: &str,
        body: Value,
    ) -> Told {
        self.service
            .by(&self.tenant, user, method, path)
            .body(&body)
            .send()
            .await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Told {
        self.by(self.tenant.admin, "POST", path, body).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.service
            .get(&self.tenant, self.tenant.admin, path)
            .await
            .ok()
    }

    /// A version of this policy.
    pub(super) async fn draft(&self, text: &str) -> u64 {
        let body = json!({"policies": {"own.cedar": text}, "message": "because"});
        let told = self.post("/v1/policy-versions", body).await;
        assert_eq!(told.status, 201, "{}", told.body);
        let number = told.body["version"].as_u64().unwrap();
        let place = format!("/v1/policy-versions/{number}");
        assert_eq!(told.headers["location"].to_str().unwrap(), place);
        number
    }

    async fn activate(&self, number: u64) -> Told {
        self.post(&format!("/v1/policy-versions/{number}/activate"), json!({}))
            .await
    }

    async fn active(&self) -> u64 {
        self.get("/v1/policy-set").await["version"]
            .as_u64()
            .unwrap()
    }

    /// Whether a member may not see who is here.
    async fn harmless(&self) -> bool {
        let told = self
            .service
            .get(&self.tenant, self.tenant.member, "/v1/policy-set")
            .await;
        assert_eq!(told.status, 404);
        let question = json!({
            "subject": {"type": "User", "id": self.tenant.member.to_string()},
            "action": {"name": "member.read"},
            "resource": {"type": "Organization", "id": self.tenant.org.to_string()},
        });
        let told = self
            .service
            .ask("POST", "/access/v1/evaluation")
            .key(&self.tenant.key)
            .body(&question)
            .send()
            .await;
        !told.ok()["decision"].as_bool().unwrap()
    }
}

async fn from_draft_to_rollback(database: Database) {
    let scene = Scene::on(database).await;
    let first = scene.draft(HARMLESS).await;
    let second = scene.draft(OTHER).await;
    assert_eq!((first, second, scene.active().await), (1, 2, 0));
    assert!(!scene.harmless().await);
    let told = scene.activate(first).await.ok();
    assert_eq!(told["version"], 1);
    assert!(scene.harmless().await);
    scene.activate(second).await.ok();
    assert!(!scene.harmless().await);

    let shown = scene.get("/v1/policy-versions/1").await;
    assert_eq!(shown["policies"]["own.cedar"], HARMLESS);
    assert_eq!(
        (&shown["message"], &shown["active"], &shown["base"]),
        (&json!("because"), &json!(false), &json!(0))
    );
    assert_eq!(shown["drafted"]["by"], scene.tenant.admin.to_string());
    assert_eq!(shown["activated"]["by"], scene.tenant.admin.to_string());
    let set = scene.get("/v1/policy-set").await;
    assert_eq!(
        (&set["version"], &set["policies"][0]["text"]),
        (&json!(2), &json!(OTHER))
    );
    let listed = scene.get("/v1/policy-versions?limit=1").await;
    assert_eq!(listed["items"][0]["version"], 2);
    let next = format!(
        "/v1/policy-versions?limit=1&cursor={}",
        listed["next_cursor"].as_str().unwrap()
    );
    let rest = scene.get(&next).await;
    assert_eq!(rest["items"][0]["version"], 1);
    assert_eq!(rest["next_cursor"], Value::Null);

    let back = scene
        .post("/v1/policy-set/rollback", json!({"version": 1}))
        .await
        .ok();
    assert_eq!(
        (&back["version"], &back["digest"]),
        (&json!(1), &shown["digest"])
    );
    assert!(scene.harmless().await);
    // Each entry says which version decided it, and the entry of an activation which one counts from there on.
    let door = &scene.tenant.door;
    let entries = cedarkeep::decide::audit::entries(door.store(), 0, usize::MAX)
        .await
        .unwrap();
    let lines: Vec<Value> = entries
        .iter()
        .map(cedarkeep::decide::audit::Shown::line)
        .collect();
    let facts: Vec<&Value> = lines
        .iter()
        .map(|line| &line["leaf"]["fact"]["policy_version"])
        .filter(|fact| !fact.is_null())
        .collect();
    assert_eq!(facts, [&json!("1"), &json!("2"), &json!("1")]);
    let events = |event: &str| {
        lines
            .iter()
            .filter(|line| line["leaf"]["event"] == event)
            .count()
    };
    assert_eq!(
        (
            events("policy.drafted"),
            events("policy.activated"),
            events("policy.rolled_back")
        ),
        (2, 2, 1)
    );
    assert!(
        lines
            .iter()
            .filter(|line| line["leaf"]["event"] == "policy.drafted")
            .all(|line| line["details"]["digest"].is_string())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_goes_from_draft_to_rollback() {
    from_draft_to_rollback(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_goes_from_draft_to_rollback_on_postgresql() {
    let database = postgres::start();
    from_draft_to_rollback(Database::Postgres(database.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_with_its_place_and_nothing_is_kept() {
    let scene = Scene::on(Database::Sqlite).await;
    let many: String = (0..200).map(|at| format!("@id(\"p{at}\") permit (principal, action == Cedarkeep::Action::\"billing.read\", resource);\n")).collect();
    let told = scene.post("/v1/policy-versions", json!({"policies": {"a.cedar": HARMLESS, "b.cedar": format!("{many}permit (principal, action, resource)")}})).await;
    told.is_problem(400);
    let finding = &told.body["findings"][0];
    assert_eq!(
        (&finding["file"], &finding["line"]),
        (&json!("b.cedar"), &json!(201)),
        "{}",
        told.body
    );
    let unknown = "permit (principal, action == Cedarkeep::Action::\"settings.raed\", resource);";
    let told = scene
        .post(
            "/v1/policy-versions",
            json!({"policies": {"a.cedar": unknown}}),
        )
        .await;
    told.is_problem(400);
    assert!(
        told.body.to_string().contains("settings.read"),
        "did you mean: {}",
        told.body
    );
    for (body, wanted) in [
        (json!({}), "`policies` is missing"),
        (json!({"policies": []}), "an object of file names and texts"),
        (json!({"policies": {"": ""}}), "it is empty"),
        (
            json!({"policies": {}, "message": "x".repeat(2_001)}),
            "longer than 2000 bytes",
        ),
        (json!({"policies": {}, "messages": ""}), "unknown member"),
    ] {
        let told = scene.post("/v1/policy-versions", body).await;
        assert!(told.is_problem(400).contains(wanted), "{}", told.body);
    }
    for id in ["@id(\"admin.administer\")", "@id(\"x\") @id(\"x\")"] {
        let text = format!("{id} permit (principal, action, resource);");
        scene
            .post(
                "/v1/policy-versions",
                json!({"policies": {"a.cedar": text}}),
            )
            .await
            .is_problem(400);
    }
    let schema = json!({"policies": {}, "schema": "namespace Cedarkeep { entity Mine; }"});
    let told = scene.post("/v1/policy-versions", schema).await;
    assert!(
        told.body.to_string().contains("is built in"),
        "{}",
        told.body
    );
    assert_eq!(scene.get("/v1/policy-versions").await["items"], json!([]));
    for path in [
        "/v1/policy-versions/1",
        "/v1/policy-versions/01",
        "/v1/policy-versions/x",
    ] {
        assert_eq!(
            scene
                .service
                .get(&scene.tenant, scene.tenant.admin, path)
                .await
                .status,
            404
        );
    }
    assert_eq!(scene.activate(1).await.status, 404);
    assert_eq!(
        scene
            .post("/v1/policy-set/rollback", json!({"version": 1}))
            .await
            .status,
        404
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_locked_out_by_a_draft_and_a_draft_counts_for_nothing() {
    let scene = Scene::on(Database::Sqlite).await;
    let number = scene.draft(LOCKS_OUT).await;
    let told = scene.activate(number).await;
    let said = told.is_problem(409);
    assert!(
        said.contains("no active Admin could edit policies"),
        "{said}"
    );
    assert_eq!(scene.active().await, 0);
    let harmless = scene.draft(HARMLESS).await;
    let guess = json!({"active": 7});
    let told = scene
        .post(&format!("/v1/policy-versions/{harmless}/activate"), guess)
        .await;
    assert!(
        told.is_problem(409)
            .contains("version 0 is active, and not 7"),
        "{}",
        told.body
    );
    scene.activate(harmless).await.ok();
    let told = scene.activate(harmless).await;
    assert!(told.is_problem(409).contains("active already"));
    let told = scene
        .post("/v1/policy-set/rollback", json!({"version": number}))
        .await;
    assert!(told.is_problem(409).contains("never active"));
    let gone = scene
        .by(
            scene.tenant.admin,
            "DELETE",
            &format!("/v1/policy-versions/{number}"),
            json!({}),
        )
        .await;
    assert_eq!(gone.status, 204);
    let kept = scene
        .by(
            scene.tenant.admin,
            "DELETE",
            &format!("/v1/policy-versions/{harmless}"),
            json!({}),
        )
        .await;
    kept.is_problem(409);
}

/// Whoever could edit and have nothing count would be locked out as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_left_with_drafts_alone() {
    let scene = Scene::on(Database::Sqlite).await;
    let text = "@id(\"never\") forbid (principal, action in [Cedarkeep::Action::\"policy.activate\", Cedarkeep::Action::\"policy.rollback\"], resource);";
    let number = scene.draft(text).await;
    let told = scene.activate(number).await;
    assert!(
        told.is_problem(409).contains("activate them"),
        "{}",
        told.body
    );
}

/// An Admin who writes, and one who activates: policies tell them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_write_need_not_be_who_may_activate() {
    let scene = Scene::on(Database::Sqlite).await;
    let text = format!(
        "@id(\"apart\") forbid (principal == Cedarkeep::User::\"{}\", action in [Cedarkeep::Action::\"policy.activate\", Cedarkeep::Action::\"policy.rollback\"], resource);",
        scene.tenant.admin
    );
    let apart = scene.draft(&text).await;
    scene.activate(apart).await.ok();
    let number = scene.draft(HARMLESS).await;
    assert_eq!(scene.activate(number).await.status, 403);
    let put = scene
        .by(
            scene.tenant.admin,
            "PUT",
            "/v1/policy-set",
            json!({"policies": {}}),
        )
        .await;
    assert_eq!(put.status, 403, "{}", put.body);
    assert_eq!(
        scene
            .post("/v1/policy-set/rollback", json!({"version": apart}))
            .await
            .status,
        403
    );
    assert_eq!(scene.active().await, apart);
    let path = format!("/v1/policy-versions/{number}/activate");
    scene.by(scene.second, "POST", &path, json!({})).await.ok();
    assert_eq!(scene.active().await, number);
}

async fn conditions(database: Database) {
    let scene = Scene::on(database).await;
    let asked = json!({"approval": true, "tests": true});
    let told = scene
        .by(
            scene.tenant.admin,
            "PUT",
            "/v1/policy-conditions",
            asked.clone(),
        )
        .await
        .ok();
    assert_eq!(
        (&told["conditions"]["approval"], &told["proposed"]),
        (&json!(true), &Value::Null)
    );
    let number = scene.draft(HARMLESS).await;
    let told = scene.activate(number).await;
    let said = told.is_problem(409);
    assert!(
        said.contains("it has no tests") && said.contains("another Admin has not approved it"),
        "{said}"
    );
    // In one step it cannot be met either, and nothing is left of the attempt.
    let put = scene
        .by(
            scene.tenant.admin,
            "PUT",
            "/v1/policy-set",
            json!({"policies": {}}),
        )
        .await;
    assert!(put.is_problem(409).contains("draft it at"), "{}", put.body);
    assert_eq!(
        scene.get("/v1/policy-versions").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let path = format!("/v1/policy-versions/{number}/approve");
    assert!(
        scene
            .post(&path, json!({}))
            .await
            .is_problem(409)
            .contains("is yours")
    );
    scene.by(scene.second, "POST", &path, json!({})).await.ok();
    let said = scene.activate(number).await;
    assert!(!said.is_problem(409).contains("approved"), "{}", said.body);
    // Less is asked for only once another Admin agrees.
    let less = json!({"approval": true});
    let told = scene
        .by(
            scene.tenant.admin,
            "PUT",
            "/v1/policy-conditions",
            less.clone(),
        )
        .await
        .ok();
    assert_eq!(told["conditions"]["tests"], true);
    assert_eq!(scene.activate(number).await.status, 409);
    scene
        .post("/v1/policy-conditions/approve", less.clone())
        .await
        .is_problem(409);
    scene
        .by(
            scene.second,
            "POST",
            "/v1/policy-conditions/approve",
            less.clone(),
        )
        .await
        .ok();
    assert_eq!(
        scene.get("/v1/policy-conditions").await["conditions"]["tests"],
        false
    );
    // An approval of somebody who is no Admin any more is none.
    let role = |role: &str| json!({"role": role});
    let second = format!("/v1/users/{}", scene.second);
    scene
        .by(scene.tenant.admin, "PATCH", &second, role("Member"))
        .await
        .ok();
    assert_eq!(scene.activate(number).await.status, 409);
    scene
        .by(scene.tenant.admin, "PATCH", &second, role("Admin"))
        .await
        .ok();
    scene.activate(number).await.ok();
    for wrong in [
        json!({"proof": "maybe"}),
        json!({"replay": {"last": 1}}),
        json!({"replay": {"last": 0, "most": 0}}),
        json!({"replay": {"last": 1, "most": 0, "least": 0}}),
        json!({"tests": 1}),
    ] {
        scene
            .by(scene.tenant.admin, "PUT", "/v1/policy-conditions", wrong)
            .await
            .is_problem(400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_stand_before_an_activation() {
    conditions(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_stand_before_an_activation_on_postgresql() {
    let database = postgres::start();
    conditions(Database::Postgres(database.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_viewers_and_other_organizations_see_no_version() {
    let scene = Scene::on(Database::Sqlite).await;
    let other = scene.service.tenant("other").await;
    let number = scene.draft(HARMLESS).await;
    for (method, path, body) in [
        ("GET", format!("/v1/policy-versions/{number}"), None),
        ("GET", "/v1/policy-versions".into(), None),
        ("GET", "/v1/policy-conditions".into(), None),
        (
            "POST",
            "/v1/policy-versions".into(),
            Some(json!({"policies": {}})),
        ),
        (
            "POST",
            format!("/v1/policy-versions/{number}/activate"),
            Some(json!({})),
        ),
        (
            "POST",
            format!("/v1/policy-versions/{number}/approve"),
            None,
        ),
        ("DELETE", format!("/v1/policy-versions/{number}"), None),
        (
            "PUT",
            "/v1/policy-shadow".into(),
            Some(json!({"version": number})),
        ),
        (
            "PUT",
            "/v1/policy-conditions".into(),
            Some(json!({"tests": true})),
        ),
    ] {
        for user in [scene.tenant.member, scene.tenant.viewer] {
            let mut ask = scene.service.by(&scene.tenant, user, method, &path);
            if let Some(body) = &body {
                ask = ask.body(body);
            }
            let told = ask.send().await;
            assert!(
                [403, 404].contains(&told.status),
                "{method} {path}: {}",
                told.body
            );
        }
    }
    let told = scene
        .service
        .get(
            &other,
            other.admin,
            &format!("/v1/policy-versions/{number}"),
        )
        .await;
    assert_eq!(told.status, 404);
    assert_eq!(scene.active().await, 0);
}

/// Two Admins at once: one activation is made on what it saw, and the other is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_activate_at_once_do_not_undo_each_other_unseen() {
    let scene = Scene::on(Database::Sqlite).await;
    let (first, second) = (scene.draft(HARMLESS).await, scene.draft(OTHER).await);
    let body = json!({"active": 0});
    let paths = [first, second].map(|number| format!("/v1/policy-versions/{number}/activate"));
    let (one, other) = tokio::join!(
        scene.by(scene.tenant.admin, "POST", &paths[0], body.clone()),
        scene.by(scene.second, "POST", &paths[1], body.clone()),
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", one.body, other.body);
}

async fn what_somebody_said_about_versions_goes_with_them(database: Database) {
    let scene = Scene::on(database).await;
    let draft = async |by, message: &str| {
        let body = json!({"policies": {"own.cedar": HARMLESS}, "message": message});
        let told = scene.by(by, "POST", "/v1/policy-versions", body).await;
        assert_eq!(told.status, 201, "{}", told.body);
        told.body["version"].as_u64().unwrap()
    };
    let said = async |what: &str| {
        let rows = rows_of(&scene.service, &scene.tenant, "poli").await;
        rows.iter().filter(|row| row.contains(what)).count()
    };
    let kept = draft(scene.second, "for Zoe's wedding").await;
    let discarded = draft(scene.second, "another of Zoe's").await;
    let others = draft(scene.tenant.admin, "for the auditors").await;
    let path = format!("/v1/policy-versions/{kept}/approve");
    scene.post(&path, json!({})).await.ok();
    assert_eq!((said("Zoe").await, said("auditors").await), (3, 1));
    let path = format!("/v1/policy-versions/{discarded}");
    let told = scene.by(scene.second, "DELETE", &path, json!({})).await;
    assert_eq!(told.status, 204);
    // What is let go of says nothing any more; what stands beside it does.
    assert_eq!((said("another").await, said("wedding").await), (0, 2));

    let path = format!("/v1/users/{}/erasure", scene.second);
    scene.post(&path, json!({})).await.ok();
    assert_eq!((said("Zoe").await, said("auditors").await), (0, 1));
    let shown = scene.get(&format!("/v1/policy-versions/{kept}")).await;
    assert_eq!(
        (&shown["message"], &shown["policies"]["own.cedar"]),
        (&json!(""), &json!(HARMLESS))
    );
    assert_eq!(shown["drafted"]["by"], scene.second.to_string());
    assert_eq!(shown["approvals"].as_array().unwrap().len(), 1);
    let shown = scene.get(&format!("/v1/policy-versions/{others}")).await;
    assert_eq!(shown["message"], "for the auditors");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_said_about_versions_goes_with_them_on_sqlite() {
    what_somebody_said_about_versions_goes_with_them(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_said_about_versions_goes_with_them_on_postgresql() {
    let server = postgres::start();
    what_somebody_said_about_versions_goes_with_them(Database::Postgres(server.url())).await;
}
