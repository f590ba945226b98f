//! SCIM over HTTP: what a directory makes of people and groups, whom it may not touch, and what it is told.

mod directories;
mod found;
mod refused;
mod tokens;

use cedarkeep::config::Database;
use cedarkeep::directory::object::{Role, User};
use cedarkeep::directory::{Kind, Ref};
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told};
use super::messages::sound;
use crate::harness::postgres;

const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// An organization with a directory that provisions it.
struct Scene {
    service: Service,
    tenant: Tenant,
    token: String,
}

/// Makes a token as an Admin does; the token itself.
async fn token(service: &Service, tenant: &Tenant) -> String {
    let body = json!({"name": "Entra"});
    let told = service
        .post(tenant, tenant.admin, "/v1/scim/token", body)
        .await;
    assert_eq!(told.status, 201, "{}", told.body);
    assert_eq!(told.headers["cache-control"], "no-store");
    told.body["token"].as_str().unwrap().to_owned()
}

impl Scene {
    async fn set(database: Database) -> Self {
        let service = Service::on(database).await;
        let tenant = service.tenant("acme").await;
        let token = token(&service, &tenant).await;
        Self {
            service,
            tenant,
            token,
        }
    }

    async fn open() -> Self {
        Self::set(Database::Sqlite).await
    }

    /// A call of the directory.
    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Told {
        let ask = self
            .service
            .ask(method, &format!("/scim/v2{path}"))
            .key(&self.token);
        let told = match body {
            Some(body) => {
                let body = body.to_string().into_bytes();
                ask.content("application/scim+json", body).send().await
            }
            None => ask.send().await,
        };
        if told.status != 204 {
            assert_eq!(told.headers["content-type"], "application/scim+json");
        }
        told
    }

    async fn get(&self, path: &str) -> Value {
        self.call("GET", path, None).await.ok()
    }

    async fn post(&self, path: &str, body: Value) -> Told {
        self.call("POST", path, Some(&body)).await
    }

    async fn put(&self, path: &str, body: Value) -> Told {
        self.call("PUT", path, Some(&body)).await
    }

    async fn patch(&self, path: &str, operations: Value) -> Told {
        let body = json!({"schemas": [PATCH], "Operations": operations});
        self.call("PATCH", path, Some(&body)).await
    }

    /// Somebody whom the directory makes; their id.
    async fn person(&self, name: &str) -> String {
        let told = self
            .post("/Users", json!({"userName": format!("{name}@example.com")}))
            .await;
        assert_eq!(told.status, 201, "{}", told.body);
        told.body["id"].as_str().unwrap().to_owned()
    }

    async fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|one| json!({"value": one})).collect();
        let told = self
            .post("/Groups", json!({"displayName": name, "members": members}))
            .await;
        assert_eq!(told.status, 201, "{}", told.body);
        told.body["id"].as_str().unwrap().to_owned()
    }

    /// Has groups give roles.
    async fn roles(&self, default: &str, groups: Value) {
        let body = json!({"default_role": default, "group_roles": groups});
        let ask = self
            .service
            .by(&self.tenant, self.tenant.admin, "PUT", "/v1/scim");
        let told = ask.body(&body).send().await.ok();
        assert_eq!(told["group_roles"], groups);
    }

    /// What somebody is, as Cedarkeep has it.
    fn user(&self, id: &str) -> Option<User> {
        let world = self.tenant.door.glance();
        let user = Ref::of(Kind::User, id).unwrap();
        world.snapshot().user(user).cloned()
    }

    fn role(&self, id: &str) -> Role {
        self.user(id).unwrap().role
    }

    /// The newest entries of an event.
    async fn entries(&self, event: &str) -> Vec<Value> {
        let path = format!("/v1/audit/entries?event={event}&limit=100");
        let told = self
            .service
            .get(&self.tenant, self.tenant.admin, &path)
            .await
            .ok();
        told["items"].as_array().unwrap().clone()
    }

    async fn whoami(&self, cookie: &str) -> u16 {
        let ask = self.service.signed_in(cookie, "GET", "/v1/session");
        ask.send().await.status
    }
}

impl Told {
    /// SCIM's word for what is wrong, of an answer that says so.
    fn misfit(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/scim+json");
        let schema = "urn:ietf:params:scim:api:messages:2.0:Error";
        assert_eq!(self.body["schemas"], json!([schema]));
        assert_eq!(self.body["status"], status.to_string());
        assert!(!self.body["detail"].as_str().unwrap().is_empty());
        self.body["scimType"].as_str().unwrap_or_default()
    }
}

async fn from_joining_to_leaving(database: Database) {
    let scene = Scene::set(database).await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    scene
        .roles("Viewer", json!({"Staff": "Member", "Owners": "Admin"}))
        .await;
    let eve = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "userName": "Eve", "externalId": "e-1", "displayName": "Eve Moneypenny", "active": true,
        "name": {"givenName": "Eve", "familyName": "Moneypenny"}, "title": "Secretary",
        "emails": [{"value": "Eve@example.com", "type": "work", "primary": true}, {"value": "eve@home.example", "type": "home"}],
        "password": "never kept", "phoneNumbers": [{"value": "007"}],
        ENTERPRISE: {"department": "MI6", "manager": {"value": "m"}},
    });
    let made = scene.post("/Users", eve.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["id"].as_str().unwrap().to_owned();
    let place = format!("https://127.0.0.1:8443/scim/v2/Users/{id}");
    assert_eq!(made.headers["location"], place.as_str());
    assert_eq!(made.body["meta"]["location"], place);
    for member in [
        "userName",
        "externalId",
        "displayName",
        "name",
        "title",
        "emails",
        "active",
    ] {
        assert_eq!(made.body[member], eve[member], "{member}");
    }
    assert_eq!(made.body[ENTERPRISE], json!({"department": "MI6"}));
    assert!(!made.body.to_string().contains("never kept"));
    let kept = scene.user(&id).unwrap();
    assert_eq!(
        (kept.role, kept.email.as_str()),
        (Role::Viewer, "eve@example.com")
    );
    assert!(!format!("{kept:?}").contains("never kept") && !format!("{kept:?}").contains("007"));
    assert_eq!(scene.get(&format!("/Users/{id}")).await, made.body);
    // Nobody twice, whatever the case.
    for other in [
        json!({"userName": "EVE", "emails": [{"value": "other@example.com"}]}),
        json!({"userName": "other", "emails": [{"value": "EVE@example.com"}]}),
        json!({"userName": "ada@example.com"}),
    ] {
        assert_eq!(scene.post("/Users", other).await.misfit(409), "uniqueness");
    }
    // A thread that is shared with a group is open to whoever is in it.
    let group = scene.group("Staff", &[&id]).await;
    assert_eq!(scene.role(&id), Role::Member);
    let listed = service
        .get(tenant, tenant.admin, "/v1/scim/groups")
        .await
        .ok();
    assert_eq!(listed["items"][0]["id"], group);
    let thread = service
        .post(
            tenant,
            tenant.admin,
            "/v1/threads",
            json!({"name": "Plan", "audience": null}),
        )
        .await
        .id();
    let share = json!({"resource": thread, "grantee": group, "level": "viewer"});
    service
        .post(tenant, tenant.admin, "/v1/shares", share)
        .await
        .id();
    let path = format!("/v1/threads/{thread}");
    let person = Ref::of(Kind::User, &id).unwrap();
    service.get(tenant, person, &path).await.ok();
    service
        .get(tenant, tenant.member, &path)
        .await
        .is_problem(404);
    // A group of the directory's is nobody's audience.
    let audience = json!({"name": "Other", "audience": group});
    let told = service
        .post(tenant, tenant.admin, "/v1/threads", audience)
        .await;
    told.is_problem(400);
    let shown = scene.get(&format!("/Users/{id}")).await;
    assert_eq!(shown["groups"][0]["value"], group);
    assert_eq!(shown["groups"][0]["display"], "Staff");
    // One request changes several things, and each has its event.
    let told = scene
        .patch(
            &format!("/Users/{id}"),
            json!([
                {"op": "replace", "path": "title", "value": "Field agent"},
                {"op": "add", "path": "roles", "value": [{"value": "Admin"}]},
                {"op": "replace", "path": "active", "value": false},
            ]),
        )
        .await
        .ok();
    assert_eq!(
        (&told["title"], &told["active"]),
        (&json!("Field agent"), &json!(false))
    );
    let kept = scene.user(&id).unwrap();
    assert_eq!((kept.role, kept.active), (Role::Admin, false));
    for (event, count) in [
        ("member.joined", 4),
        ("member.updated", 1),
        ("member.role_changed", 2),
        ("member.suspended", 1),
        ("directory_group.created", 1),
    ] {
        let entries = scene.entries(event).await;
        assert_eq!(entries.len(), count, "{event}");
        assert_eq!(
            entries[0]["leaf"]["caller"]["type"], "scim_token",
            "{event}: {}",
            entries[0]
        );
    }
    // Out of the group the thread is closed; the role of the directory's own giving stays.
    let on = json!([{"op": "replace", "path": "active", "value": true}]);
    scene.patch(&format!("/Users/{id}"), on).await.ok();
    service.get(tenant, person, &path).await.ok();
    let out = json!([{"op": "remove", "path": format!("members[value eq \"{id}\"]")}]);
    scene.patch(&format!("/Groups/{group}"), out).await.ok();
    service.get(tenant, person, &path).await.is_problem(404);
    assert_eq!(scene.role(&id), Role::Admin);
    let back = json!([{"op": "add", "path": "members", "value": [{"value": id}]}]);
    let told = scene.patch(&format!("/Groups/{group}"), back).await.ok();
    assert_eq!(told["members"][0]["value"], id);
    let told = scene
        .call("DELETE", &format!("/Groups/{group}"), None)
        .await;
    assert_eq!(told.status, 204);
    assert_eq!(
        scene
            .call("GET", &format!("/Groups/{group}"), None)
            .await
            .misfit(404),
        ""
    );
    assert!(scene.user(&id).unwrap().groups.len() == 1);
    let shared = Ref::of(Kind::Thread, &thread).unwrap();
    let gone = Ref::of(Kind::Group, &group).unwrap();
    let world = tenant.door.glance();
    assert_eq!(world.snapshot().shares_of(shared).count(), 0);
    assert_eq!(world.snapshot().shares_to(gone).count(), 0);
    // They leave, and what they wrote would stay.
    let told = scene.call("DELETE", &format!("/Users/{id}"), None).await;
    assert_eq!(told.status, 204);
    for method in ["GET", "DELETE"] {
        let told = scene.call(method, &format!("/Users/{id}"), None).await;
        told.misfit(404);
    }
    assert!(scene.user(&id).is_none());
    assert_eq!(scene.entries("member.removed").await.len(), 1);
    sound(tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_joining_to_leaving_on_sqlite() {
    from_joining_to_leaving(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_joining_to_leaving_on_postgresql() {
    let server = postgres::start();
    from_joining_to_leaving(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_active_is_signed_out_at_once_on_every_node() {
    let scene = Scene::open().await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    let elsewhere = service.beside().await;
    let place = format!("/Users/{}", tenant.member);
    let cookie = service.sign_in(tenant, tenant.member).await;
    let other = service.sign_in(tenant, tenant.viewer).await;
    assert_eq!(scene.whoami(&cookie).await, 200);
    let ask = elsewhere.signed_in(&cookie, "GET", "/v1/session");
    assert_eq!(ask.send().await.status, 200);
    let off = json!([{"op": "Replace", "path": "active", "value": "False"}]);
    scene.patch(&place, off.clone()).await.ok();
    assert_eq!(scene.whoami(&cookie).await, 401);
    let ask = elsewhere.signed_in(&cookie, "POST", "/v1/threads");
    let told = ask
        .body(&json!({"name": "New", "audience": null}))
        .send()
        .await;
    assert_eq!(told.status, 401);
    assert_eq!(scene.whoami(&other).await, 200);
    // Said again it changes nothing, and nobody is suspended twice.
    scene.patch(&place, off).await.ok();
    assert_eq!(scene.entries("member.suspended").await.len(), 1);
    let link = super::sessions::link(tenant, tenant.member, false);
    let on = json!([{"op": "replace", "value": {"active": true}}]);
    scene.patch(&place, on).await.ok();
    let told = service
        .ask("POST", &link.await)
        .header("origin", super::sessions::ORIGIN)
        .send()
        .await;
    assert_eq!(scene.whoami(&super::sessions::cookie(&told)).await, 200);
    assert_eq!(scene.whoami(&cookie).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_active_admin_stays_through_every_request() {
    let scene = Scene::open().await;
    let tenant = &scene.tenant;
    let (ada, vic) = (tenant.admin.to_string(), tenant.viewer.to_string());
    let place = format!("/Users/{ada}");
    scene
        .roles("Viewer", json!({"Staff": "Member", "Owners": "Admin"}))
        .await;
    let is_kept = async |told: Told| {
        assert_eq!(told.misfit(400), "mutability");
        assert!(
            told.body["detail"]
                .as_str()
                .unwrap()
                .contains("last active Admin")
        );
        let kept = scene.user(&ada).unwrap();
        assert_eq!((kept.role, kept.active), (Role::Admin, true));
    };
    let operation =
        |path: &str, value: Value| json!([{"op": "replace", "path": path, "value": value}]);
    is_kept(scene.patch(&place, operation("active", json!(false))).await).await;
    is_kept(
        scene
            .patch(&place, operation("roles", json!([{"value": "Member"}])))
            .await,
    )
    .await;
    is_kept(scene.call("DELETE", &place, None).await).await;
    let whole = json!({"userName": "ada@example.com", "active": false});
    is_kept(scene.put(&place, whole).await).await;
    let members = json!({"displayName": "Staff", "members": [{"value": ada}]});
    is_kept(scene.post("/Groups", members).await).await;
    // Two Admins, each of whom might go, but not both at once.
    let owners = scene.group("Owners", &[&ada, &vic]).await;
    assert_eq!(scene.role(&vic), Role::Admin);
    let place = format!("/Groups/{owners}");
    is_kept(
        scene
            .patch(&place, json!([{"op": "remove", "path": "members"}]))
            .await,
    )
    .await;
    is_kept(scene.call("DELETE", &place, None).await).await;
    let one = json!([{"op": "remove", "path": "members", "value": [{"value": vic}]}]);
    scene.patch(&place, one).await.ok();
    assert_eq!(scene.role(&vic), Role::Viewer);
    let organization = tenant
        .door
        .glance()
        .snapshot()
        .organization()
        .unwrap()
        .clone();
    assert_eq!(organization.active_admins, 1);
    sound(tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_follows_groups_and_stays_where_the_directory_says_nothing() {
    let scene = Scene::open().await;
    scene
        .roles("Viewer", json!({"Staff": "Member", "Owners": "Admin"}))
        .await;
    let eve = scene.person("eve").await;
    let (staff, owners) = (
        scene.group("Staff", &[&eve]).await,
        scene.group("Owners", &[]).await,
    );
    let with = async |group: &str, op: &str| {
        let operations = json!([{"op": op, "path": "members", "value": [{"value": eve}]}]);
        scene
            .patch(&format!("/Groups/{group}"), operations)
            .await
            .ok();
        scene.role(&eve)
    };
    assert_eq!(scene.role(&eve), Role::Member);
    assert_eq!(with(&owners, "add").await, Role::Admin);
    assert_eq!(with(&staff, "remove").await, Role::Admin);
    assert_eq!(with(&owners, "remove").await, Role::Viewer);
    assert_eq!(with(&staff, "add").await, Role::Member);
    // A group that is called otherwise gives what that name gives.
    let rename = json!([{"op": "replace", "path": "displayName", "value": "Former staff"}]);
    scene.patch(&format!("/Groups/{staff}"), rename).await.ok();
    assert_eq!(scene.role(&eve), Role::Viewer);
    // What an Admin decides stays, whatever else the directory says of them.
    let path = format!("/v1/users/{eve}");
    let (service, tenant) = (&scene.service, &scene.tenant);
    service
        .patch(tenant, tenant.admin, &path, json!({"role": "Member"}))
        .await
        .ok();
    let title = json!([{"op": "add", "path": "title", "value": "Dr"}]);
    scene.patch(&format!("/Users/{eve}"), title).await.ok();
    assert_eq!(scene.role(&eve), Role::Member);
}
