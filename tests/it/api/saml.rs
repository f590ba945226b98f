//! Single sign-on by SAML over HTTP: sign-ins at providers that nobody here wrote, from a browser to a session, a call, and their end.

use cedarkeep::config::Database;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::harness::{Service, Told};
use super::messages::sound;
use super::sessions::{ORIGIN, cookie, link};
use super::sso::{Scene, begins_a_session, session};
use crate::harness::postgres;
use crate::oidc::provider::Browser;
use crate::saml::providers::{Carried, Named, Provider, Signed};

/// What the browser is answered when it posts what a provider has given it, with this cookie if it has one.
pub async fn carry(service: &Service, carried: &Carried, cookie: &str) -> Told {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("SAMLResponse", &carried.response);
    if let Some(relay_state) = &carried.relay_state {
        form.append_pair("RelayState", relay_state);
    }
    // A form of another site's page.
    service
        .ask("POST", carried.action.path())
        .header("origin", "https://idp.example")
        .header("sec-fetch-site", "cross-site")
        .header("cookie", cookie)
        .content("application/x-www-form-urlencoded", form.finish())
        .send()
        .await
}

/// A page's text, of an answer with this status that begins no session.
pub fn page(told: Told, status: u16) -> String {
    let begins = begins_a_session(&told);
    let text = String::from_utf8(told.bytes).unwrap();
    assert_eq!(told.status, status, "{text}");
    assert!(!begins, "{text}");
    text
}

/// A connection by this metadata, not yet in use.
pub async fn set_up(scene: &Scene, metadata: &str) -> Value {
    let body = json!({"name": "Staff", "protocol": "saml", "metadata": metadata});
    let (service, tenant) = (&scene.service, &scene.tenant);
    let made = service
        .post(tenant, tenant.admin, "/v1/sso/connections", body)
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["enabled"], false);
    made.body
}

/// A connection to a provider, each of which has read the other's metadata.
async fn connected(scene: &Scene, provider: &mut Provider) -> Value {
    let (service, tenant) = (&scene.service, &scene.tenant);
    let metadata = json!({"metadata": provider.metadata});
    let preview = service
        .post(tenant, tenant.admin, "/v1/sso/metadata", metadata)
        .await
        .ok();
    let made = set_up(scene, &provider.metadata).await;
    for member in [
        "entity_id",
        "sso_url",
        "binding",
        "certificates",
        "warnings",
    ] {
        assert_eq!(preview[member], made[member], "{member}");
    }
    assert_eq!(preview["certificates"].as_array().unwrap().len(), 1);
    let read = format!("/v1/sso/connections/{}", made["id"].as_str().unwrap());
    assert_eq!(service.get(tenant, tenant.admin, &read).await.ok(), made);
    let place = made["sp_metadata_url"].as_str().unwrap();
    let place = place.strip_prefix(ORIGIN).unwrap();
    let ours = service.ask("GET", place).send().await;
    assert_eq!(ours.headers["content-type"], "application/samlmetadata+xml");
    provider.meet(&String::from_utf8(ours.bytes).unwrap());
    made
}

/// The way to one connection.
struct Way<'a> {
    scene: &'a Scene,
    id: String,
    start: String,
}

impl Way<'_> {
    async fn sign_in(&self, login: &str) -> Told {
        let (url, cookie) = self.scene.begin(&self.start).await;
        let carried = Browser::new().sign_in_at_saml(&url, login).await;
        carry(&self.scene.service, &carried, &cookie).await
    }

    async fn test(&self, login: &str) -> String {
        let (url, cookie) = self.scene.begin_test(&self.id).await;
        let carried = Browser::new().sign_in_at_saml(&url, login).await;
        page(carry(&self.scene.service, &carried, &cookie).await, 200)
    }

    async fn whoami(&self, cookie: &str) -> Told {
        let ask = self.scene.service.signed_in(cookie, "GET", "/v1/session");
        ask.send().await
    }
}

async fn from_a_test_to_a_removal(scene: &Scene, provider: &mut Provider, named: Named) {
    let (service, tenant) = (&scene.service, &scene.tenant);
    let made = connected(scene, provider).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let start = format!("/signin/{}/{id}", tenant.door.store().id());
    let way = Way { scene, id, start };
    let post = |path: &str| service.ask("POST", path).header("origin", ORIGIN).send();
    let put = |body: Value| {
        service
            .by(tenant, tenant.admin, "PUT", "/v1/sso/enforcement")
            .body(&body)
            .send()
    };
    // Not in use, it signs nobody in; and nothing is enforced that nobody has tested.
    assert_eq!(post(&way.start).await.status, 404);
    let enforce = json!({"method": "saml", "break_glass": tenant.admin});
    put(enforce.clone()).await.is_problem(400);
    let other = way.test("eve").await;
    let format = match named {
        Named::Persistently => "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
        Named::ByAddress => "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
    };
    for said in [
        "The test succeeded",
        "not your own sign-in",
        "eve@example.com",
        "The one called eve",
        "<td>groups</td><td>finance</td>",
        format,
    ] {
        assert!(other.contains(said), "{said}: {other}");
    }
    put(enforce.clone()).await.is_problem(400);
    let own = way.test("ada").await;
    assert!(own.contains("This was your own sign-in"), "{own}");
    let roles = json!({"staff": "Member"});
    let use_it = json!({"enabled": true, "provisioning": true, "group_roles": roles});
    scene.patch(&way.id, use_it).await.ok();
    let shown = page(service.ask("GET", "/signin/acme").send().await, 200);
    assert!(shown.contains("Sign in with Staff"));

    // Somebody new becomes a member, and is the same one again.
    let told = way.sign_in("eve").await;
    assert_eq!(told.headers["location"], "/account");
    let eve = session(&told);
    let who = way.whoami(&eve).await.ok();
    assert_eq!(who["user"]["email"], "eve@example.com");
    assert_eq!(who["user"]["name"], "The one called eve");
    assert_eq!(who["user"]["role"], "Member");
    assert_eq!(who["session"]["method"], "saml");
    let again = session(&way.sign_in("eve").await);
    let same = way.whoami(&again).await.ok();
    assert_eq!(same["user"]["id"], who["user"]["id"]);
    // A call that is decided for her, and the same one refused once she is removed by another node.
    let call = json!({"name": "Research", "audience": null});
    let calls = || {
        let ask = service.signed_in(&eve, "POST", "/v1/threads");
        ask.body(&call).send()
    };
    calls().await.id();
    let elsewhere = service.beside().await;
    let place = format!("/v1/users/{}", who["user"]["id"].as_str().unwrap());
    let gone = elsewhere.delete(tenant, tenant.admin, &place).await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    assert_eq!(calls().await.status, 401);
    assert_eq!(way.whoami(&again).await.status, 401);

    begun_at_the_provider(&way, provider, &made).await;
    // It is another connection than the one that was tested.
    put(enforce.clone()).await.is_problem(400);
    way.test("ada").await;
    enforced(&way, enforce).await;
    sound(tenant).await;
}

/// Sign-in that begins at the provider: off, then on, each answer good once.
async fn begun_at_the_provider(way: &Way<'_>, provider: &Provider, made: &Value) {
    let service = &way.scene.service;
    let there = provider.start(made["sp_entity_id"].as_str().unwrap());
    let carried = Browser::new().sign_in_at_saml(&there, "mia").await;
    assert_eq!(carried.relay_state, None);
    assert_eq!(carried.action.as_str(), made["sp_acs_url"]);
    let off = page(carry(service, &carried, "").await, 403);
    assert!(off.contains("nobody has asked for this"), "{off}");
    let on = json!({"idp_initiated": true});
    way.scene.patch(&way.id, on).await.ok();
    let mia = session(&carry(service, &carried, "").await);
    let who = way.whoami(&mia).await.ok();
    assert_eq!(who["user"]["id"], way.scene.tenant.member.to_string());
    let again = page(carry(service, &carried, "").await, 403);
    assert!(again.contains("was used before"), "{again}");
}

/// Enforced, nothing else signs anybody in but the break-glass link, and that does nothing but end it.
async fn enforced(way: &Way<'_>, enforce: Value) {
    let (service, tenant) = (&way.scene.service, &way.scene.tenant);
    let before = service.sign_in(tenant, tenant.admin).await;
    let put = service
        .by(tenant, tenant.admin, "PUT", "/v1/sso/enforcement")
        .body(&enforce);
    put.send().await.ok();
    let team = json!({"name": "Research"});
    let calls = |cookie: &str| {
        let ask = service.signed_in(cookie, "POST", "/v1/teams");
        ask.body(&team).send()
    };
    calls(&before).await.is_problem(403);
    let take = async |user, break_glass| {
        let link = link(tenant, user, break_glass).await;
        let ask = service.ask("POST", &link).header("origin", ORIGIN);
        ask.send().await
    };
    page(take(tenant.admin, false).await, 403);
    page(take(tenant.member, false).await, 403);
    let path = format!("/v1/sso/connections/{}", way.id);
    let taken_away = service.delete(tenant, tenant.admin, &path).await;
    taken_away.is_problem(400);
    let mia = session(&way.sign_in("mia").await);
    let who = way.whoami(&mia).await.ok();
    assert_eq!(who["user"]["id"], tenant.member.to_string());
    let glass = cookie(&take(tenant.admin, true).await);
    calls(&glass).await.is_problem(403);
    let relax = |cookie: &str| {
        let ask = service.signed_in(cookie, "DELETE", "/v1/sso/enforcement");
        ask.send()
    };
    relax(&before).await.is_problem(403);
    relax(&mia).await.is_problem(403);
    relax(&glass).await.ok();
    calls(&before).await.id();
    let taken_away = service.delete(tenant, tenant.admin, &path).await;
    assert_eq!(taken_away.status, 204, "{}", taken_away.body);
    let told = service.ask("POST", &way.start).header("origin", ORIGIN);
    assert_eq!(told.send().await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_test_to_a_removal_by_pysaml2_on_sqlite() {
    let scene = Scene::set(Database::Sqlite).await;
    let named = Named::Persistently;
    let mut provider = Provider::pysaml2(Signed::Both, named);
    from_a_test_to_a_removal(&scene, &mut provider, named).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_test_to_a_removal_by_pysaml2_on_postgresql() {
    let server = postgres::start();
    let scene = Scene::set(Database::Postgres(server.url())).await;
    let named = Named::ByAddress;
    let mut provider = Provider::pysaml2(Signed::Assertion, named);
    from_a_test_to_a_removal(&scene, &mut provider, named).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_test_to_a_removal_by_simplesamlphp_on_sqlite() {
    let scene = Scene::set(Database::Sqlite).await;
    let named = Named::Persistently;
    let mut provider = Provider::simplesamlphp(Signed::Response, named).await;
    from_a_test_to_a_removal(&scene, &mut provider, named).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_test_to_a_removal_by_simplesamlphp_on_postgresql() {
    let server = postgres::start();
    let scene = Scene::set(Database::Postgres(server.url())).await;
    let named = Named::ByAddress;
    let mut provider = Provider::simplesamlphp(Signed::Both, named).await;
    from_a_test_to_a_removal(&scene, &mut provider, named).await;
}
