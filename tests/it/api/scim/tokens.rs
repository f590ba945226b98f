//! The tokens of a directory: what they open, and what they do not; other organizations, and smaller plans.

use cedarkeep::authn::token::{Token, Use};
use cedarkeep::config::Database;
use cedarkeep::crypto;
use cedarkeep::directory::object::{ApiKey, Body, Form, Object, Plan, Scope};
use cedarkeep::directory::{Change, Kind, Ref, RowId, Through, organization};
use cedarkeep::log::Event;
use chrono::Duration;
use serde_json::{Value, json};

use super::super::harness::{Service, key};
use super::super::messages::sound;
use super::{Scene, token};
use crate::harness::postgres;

async fn tokens_come_and_go(database: Database) {
    let mut scene = Scene::set(database).await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    let listed = service
        .get(tenant, tenant.admin, "/v1/scim/token")
        .await
        .ok();
    let first = listed["items"][0]["id"].as_str().unwrap().to_owned();
    assert!(!listed.to_string().contains("ckd_") && !listed.to_string().contains("digest"));
    scene.get("/Users").await;
    let listed = service
        .get(tenant, tenant.admin, "/v1/scim/token")
        .await
        .ok();
    assert!(listed["items"][0]["last_used_at"].is_string(), "{listed}");
    // It is no API key, and is not found or revoked as one.
    let keys = service.get(tenant, tenant.admin, "/v1/api-keys").await.ok();
    assert!(!keys.to_string().contains(&first));
    let path = format!("/v1/api-keys/{first}");
    service
        .delete(tenant, tenant.admin, &path)
        .await
        .is_problem(404);
    let told = service
        .ask("GET", "/v1/users")
        .key(&scene.token)
        .user(tenant.admin)
        .send()
        .await;
    told.is_problem(401);
    // An API key opens nothing here, whatever its scopes.
    let provisions = key(&tenant.door, &[Scope::Provision]).await;
    for other in [&tenant.key, &provisions] {
        let told = service.ask("GET", "/scim/v2/Users").key(other).send().await;
        told.misfit(401);
        assert!(told.headers.contains_key("www-authenticate"));
    }
    service
        .ask("GET", "/scim/v2/Users")
        .send()
        .await
        .misfit(401);
    // Two at once, so that one is replaced without a pause.
    let second = token(service, tenant).await;
    let third = json!({"name": "third"});
    let told = service
        .post(tenant, tenant.admin, "/v1/scim/token", third.clone())
        .await;
    told.is_problem(409);
    let place = format!("/v1/scim/token/{first}");
    service
        .delete(tenant, tenant.member, &place)
        .await
        .is_problem(403);
    let told = service.delete(tenant, tenant.admin, &place).await;
    assert_eq!(told.status, 204, "{}", told.body);
    scene.call("GET", "/Users", None).await.misfit(401);
    assert_eq!(scene.entries("api_key.rejected").await.len(), 1);
    service
        .delete(tenant, tenant.admin, &place)
        .await
        .is_problem(404);
    for entry in scene.entries("scim.configured").await {
        assert!(!entry.to_string().contains("ckd_"));
    }
    assert_eq!(scene.entries("scim.configured").await.len(), 3);
    let past = json!({"name": "past", "expires_at": "2020-01-01T00:00:00Z"});
    service
        .post(tenant, tenant.admin, "/v1/scim/token", past)
        .await
        .is_problem(400);
    service
        .post(tenant, tenant.member, "/v1/scim/token", third)
        .await
        .is_problem(403);
    scene.token = second;
    scene.get("/Users").await;
    sound(&scene.tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_come_and_go_on_sqlite() {
    tokens_come_and_go(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_come_and_go_on_postgresql() {
    let server = postgres::start();
    tokens_come_and_go(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_over_opens_nothing_and_makes_room() {
    let mut scene = Scene::open().await;
    let tenant = &scene.tenant;
    let service = {
        let world = tenant.door.glance();
        world
            .snapshot()
            .organization()
            .unwrap()
            .scim
            .service
            .unwrap()
    };
    let id = crypto::random().unwrap();
    let old = Token::mint(
        Use::Scim,
        *tenant.door.store().id().bytes(),
        id,
        crypto::random().unwrap(),
    );
    let digest = data_encoding::HEXLOWER.encode(&old.digest());
    tenant
        .door
        .operate(move |by, _| {
            let key = ApiKey {
                name: "old".into(),
                service,
                digest: digest.clone(),
                expires_at: Some(by.now() - Duration::seconds(1)),
                created_at: by.now() - Duration::days(1),
                certificate: None,
                form: Form::Scim,
                made_by: Through::Several,
            };
            let row = RowId::Object(Ref::new(Kind::ApiKey, id));
            Ok(Change::new(Event::ScimConfigured, None, json!({}))
                .put(row, Body::Object(Object::ApiKey(key))))
        })
        .await
        .unwrap();
    let good = std::mem::replace(&mut scene.token, old.expose().to_owned());
    scene.call("GET", "/Users", None).await.misfit(401);
    let entries = scene.entries("api_key.rejected").await;
    assert!(entries[0].to_string().contains("expired"), "{}", entries[0]);
    // A wrong secret of a token that is there.
    let parsed = Token::parse(Use::Scim, &good).unwrap();
    let forged = Token::mint(Use::Scim, parsed.tenant(), parsed.id(), [7; 32]);
    scene.token = forged.expose().to_owned();
    scene.call("GET", "/Users", None).await.misfit(401);
    assert_eq!(scene.entries("api_key.rejected").await.len(), 2);
    token(&scene.service, &scene.tenant).await;
    let listed = scene
        .service
        .get(&scene.tenant, scene.tenant.admin, "/v1/scim/token")
        .await
        .ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains("old"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_reaches_its_own_organization_alone() {
    let scene = Scene::open().await;
    let other = scene.service.tenant("other").await;
    let theirs = Scene {
        token: token(&scene.service, &other).await,
        service: Service::of(scene.service.app().config().clone()).await,
        tenant: other,
    };
    let group = scene
        .group("Staff", &[&scene.tenant.member.to_string()])
        .await;
    let user = scene.tenant.member.to_string();
    for (path, attribute) in [
        (format!("/Users/{user}"), "title"),
        (format!("/Groups/{group}"), "displayName"),
    ] {
        let other = json!([{"op": "replace", "path": attribute, "value": "x"}]);
        theirs.call("GET", &path, None).await.misfit(404);
        theirs.call("DELETE", &path, None).await.misfit(404);
        theirs.patch(&path, other).await.misfit(404);
        let whole = json!({"userName": "x@example.com", "displayName": "x"});
        theirs.put(&path, whole).await.misfit(404);
    }
    assert!(scene.user(&user).unwrap().active);
    let all = theirs.get("/Users?count=200").await.to_string();
    assert!(!all.contains(&user));
    let members = json!({"displayName": "Theirs", "members": [{"value": user}]});
    assert_eq!(
        theirs.post("/Groups", members).await.misfit(400),
        "invalidValue"
    );
    assert_eq!(theirs.get("/Groups").await["totalResults"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_plan_refuses_every_request_and_says_which_would_do() {
    let scene = Scene::open().await;
    let tenant = &scene.tenant;
    let eve = scene.person("eve").await;
    let group = scene.group("Staff", &[]).await;
    tenant
        .door
        .operate(|by, snapshot| organization::set_plan(by, snapshot, Plan::Business))
        .await
        .unwrap();
    let off = json!([{"op": "replace", "path": "active", "value": false}]);
    let refused = [
        scene
            .post("/Users", json!({"userName": "x@example.com"}))
            .await,
        scene.call("GET", "/Users", None).await,
        scene.call("GET", &format!("/Users/{eve}"), None).await,
        scene.call("DELETE", &format!("/Users/{eve}"), None).await,
        scene.patch(&format!("/Users/{eve}"), off).await,
        scene.post("/Groups", json!({"displayName": "x"})).await,
        scene
            .call("DELETE", &format!("/Groups/{group}"), None)
            .await,
    ];
    for told in refused {
        told.misfit(403);
        let detail = told.body["detail"].as_str().unwrap();
        assert!(detail.contains("Enterprise"), "{detail}");
    }
    assert!(scene.user(&eve).unwrap().active);
    let another: Value = json!({"name": "another"});
    let told = scene
        .service
        .post(tenant, tenant.admin, "/v1/scim/token", another)
        .await;
    assert!(told.is_problem(403).contains("Enterprise"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_own_policy_can_forbid_a_part_and_then_nothing_of_it_is_made() {
    let scene = Scene::open().await;
    let tenant = &scene.tenant;
    let eve = scene.person("eve").await;
    let text = "forbid (principal is Cedarkeep::Service, action == Cedarkeep::Action::\"member.suspend\", resource);";
    let body = json!({"policies": {"own.cedar": text}});
    let ask = scene
        .service
        .by(tenant, tenant.admin, "PUT", "/v1/policy-set");
    ask.body(&body).send().await.ok();
    let both = json!([
        {"op": "replace", "path": "title", "value": "Dr"},
        {"op": "replace", "path": "active", "value": false},
    ]);
    scene
        .patch(&format!("/Users/{eve}"), both)
        .await
        .misfit(403);
    assert!(
        scene
            .get(&format!("/Users/{eve}"))
            .await
            .get("title")
            .is_none()
    );
    assert!(scene.user(&eve).unwrap().active);
    assert!(scene.entries("member.updated").await.is_empty());
    sound(tenant).await;
}
