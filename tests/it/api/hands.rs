//! What takes two people takes two, and a key makes none that may do more than itself.

use cedarkeep::config::Database;
use cedarkeep::directory::Ref;
use cedarkeep::directory::object::Scope;
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told, key};
use crate::harness::postgres;

const KEYS: &str = "/v1/api-keys";
const EXPORT: &str = "/v1/organization/private-export";

struct Scene {
    service: Service,
    tenant: Tenant,
    bob: Ref,
}

impl Scene {
    async fn on(database: Database) -> Self {
        let service = Service::on(database).await;
        let tenant = service.tenant("acme").await;
        let bob = json!({"name": "Bob", "email": "bob@example.com", "role": "Admin"});
        let bob = service.post(&tenant, tenant.admin, "/v1/users", bob).await;
        Self {
            bob: bob.id().parse().unwrap(),
            service,
            tenant,
        }
    }

    async fn asks(&self, key: &str, user: Ref, call: (&str, &str), body: Value) -> Told {
        let ask = self.service.ask(call.0, call.1).key(key).user(user);
        ask.body(&body).send().await
    }

    /// A key with these scopes, which somebody makes with a key that is there.
    async fn made(&self, by: &str, user: Ref, scopes: Value) -> Told {
        let new = json!({"name": "mine", "scopes": scopes});
        self.asks(by, user, ("POST", KEYS), new).await
    }
}

fn secret(told: &Told) -> String {
    told.body["key"].as_str().unwrap().to_owned()
}

fn is_one_hand(told: &Told) {
    assert!(told.is_problem(403).contains("two people"), "{}", told.body);
}

async fn an_admin_is_no_second_admin_by_a_key_of_their_own(database: Database) {
    let scene = Scene::on(database).await;
    let (ada, bob, theirs) = (scene.tenant.admin, scene.bob, scene.tenant.key.as_str());
    let all: Vec<_> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    let mine = scene.made(theirs, ada, json!(all)).await;
    assert_eq!(mine.body["made_by"], json!(ada));
    let mine = secret(&mine);
    // Nor by one that was made with it, in whosever name: both had a hand in it.
    let deeper = scene.made(&mine, bob, json!(all)).await;
    assert_eq!(deeper.body["made_by"], Value::Null);
    let deeper = secret(&deeper);
    let approval = format!("{EXPORT}/approval");
    let ask = ("POST", EXPORT);
    let approve = ("POST", approval.as_str());
    scene.asks(theirs, ada, ask, json!({})).await.ok();
    for key in [&mine, &deeper] {
        is_one_hand(&scene.asks(key, bob, approve, json!({})).await);
    }
    scene.asks(theirs, bob, approve, json!({})).await.ok();
    scene
        .asks(theirs, ada, ("DELETE", EXPORT), json!({}))
        .await
        .ok();
    // The other way round it is the same, and whoever made a key by another's is in it too.
    for (key, one, other) in [(&mine, bob, ada), (&deeper, ada, bob)] {
        scene.asks(key, one, ask, json!({})).await.ok();
        is_one_hand(&scene.asks(theirs, other, approve, json!({})).await);
        scene
            .asks(theirs, ada, ("DELETE", EXPORT), json!({}))
            .await
            .ok();
    }
    scene.asks(theirs, bob, ask, json!({})).await.ok();
    is_one_hand(&scene.asks(&deeper, ada, approve, json!({})).await);

    let conditions = "/v1/policy-conditions";
    let two = json!({"approval": true, "tests": true});
    scene.asks(theirs, ada, ("PUT", conditions), two).await.ok();
    let draft = json!({"policies": {"own.cedar": "@id(\"own.a\") forbid (principal, action, resource) when { false };"}});
    let draft = scene
        .asks(theirs, ada, ("POST", "/v1/policy-versions"), draft)
        .await;
    let number = draft.body["version"].as_u64().unwrap();
    let approve = format!("/v1/policy-versions/{number}/approve");
    let approve = ("POST", approve.as_str());
    is_one_hand(&scene.asks(&mine, bob, approve, json!({})).await);
    // Nor does the author activate it in another's name.
    let activate = format!("/v1/policy-versions/{number}/activate");
    let activate = ("POST", activate.as_str());
    let told = scene.asks(&mine, bob, activate, json!({})).await;
    assert!(
        told.is_problem(409).contains("has not approved it"),
        "{}",
        told.body
    );
    scene.asks(theirs, bob, approve, json!({})).await.ok();
    let less = json!({"approval": true});
    scene
        .asks(theirs, ada, ("PUT", conditions), less.clone())
        .await
        .ok();
    let agree = format!("{conditions}/approve");
    let agree = ("POST", agree.as_str());
    is_one_hand(&scene.asks(&deeper, bob, agree, less.clone()).await);
    scene.asks(theirs, bob, agree, less).await.ok();
    scene.asks(theirs, bob, activate, json!({})).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_is_no_second_admin_by_a_key_of_their_own_on_sqlite() {
    an_admin_is_no_second_admin_by_a_key_of_their_own(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_is_no_second_admin_by_a_key_of_their_own_on_postgresql() {
    let server = postgres::start();
    an_admin_is_no_second_admin_by_a_key_of_their_own(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_none_that_may_do_more_than_itself() {
    let scene = Scene::on(Database::Sqlite).await;
    let ada = scene.tenant.admin;
    let small = key(&scene.tenant.door, &[Scope::DirectoryWrite, Scope::Decide]).await;
    let refused = |told: Told| {
        let said = told.is_problem(403).to_owned();
        assert!(said.contains("than it may itself"), "{said}");
    };
    scene
        .made(&small, ada, json!(["directory.write"]))
        .await
        .id();
    for beyond in [json!(["content"]), json!(["directory.write", "policy"])] {
        refused(scene.made(&small, ada, beyond).await);
    }
    let all = scene.service.get(&scene.tenant, ada, KEYS).await.ok();
    let all = all["items"].as_array().unwrap();
    let is_strong = |key: &&Value| key["scopes"].as_array().unwrap().len() == Scope::ALL.len();
    let strong = all.iter().find(is_strong).unwrap();
    // Another key of a service that may more, or one in place of it, would be such a key.
    let another = json!({"name": "another", "service": strong["service"]});
    refused(scene.asks(&small, ada, ("POST", KEYS), another).await);
    let rotation = format!("{KEYS}/{}/rotation", strong["id"].as_str().unwrap());
    refused(
        scene
            .asks(&small, ada, ("POST", &rotation), json!({}))
            .await,
    );
    let bound =
        json!({"name": "bound", "scopes": ["content"], "certificate": "spiffe://acme.example/x"});
    refused(scene.asks(&small, ada, ("POST", KEYS), bound).await);
    let now = scene.service.get(&scene.tenant, ada, KEYS).await.ok();
    assert_eq!(now["items"].as_array().unwrap().len(), all.len());
}
