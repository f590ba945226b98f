//! Single sign-on as an organization sets it up: domains, a provider that nobody here wrote, tests of a connection, sign-ins by it, and
//! their end.

use cedarkeep::config::Database;
use serde_json::{Value, json};
use url::Url;

use super::harness::{Service, Tenant, Told};
use super::messages::sound;
use super::sessions::{ORIGIN, cookie};
use crate::harness::postgres;
use crate::oidc::provider::{Browser, Node};
use crate::oidc::world::{Names, Told as Shown};

const NOWHERE: &str = "http://127.0.0.1:9/logout";

/// A service that reaches providers on this machine, and an organization whose domain is verified.
pub struct Scene {
    pub service: Service,
    pub tenant: Tenant,
}

impl Scene {
    pub async fn set(database: Database) -> Self {
        let first = Service::on(database).await;
        let tenant = first.tenant("acme").await;
        let claim = json!({"domain": "Example.com"});
        let claimed = first
            .post(&tenant, tenant.admin, "/v1/sso/domains", claim.clone())
            .await
            .ok();
        assert_eq!(claimed["record_name"], "_cedarkeep.example.com");
        assert_eq!(claimed["verified_at"], Value::Null);
        let again = first
            .post(&tenant, tenant.admin, "/v1/sso/domains", claim)
            .await;
        again.is_problem(409);
        let record = claimed["record_value"].as_str().unwrap().to_owned();
        let names =
            Names::serve(&[("_cedarkeep.example.com", Shown::Texts(vec![vec![record]]))]).await;
        let nobody = Names::serve(&[]).await;
        let verify = "/v1/sso/domains/example.com/verification";
        let not_yet = first
            .beside_with(|config| config.outside.dns_server = Some(nobody.at))
            .await;
        let told = not_yet
            .by(&tenant, tenant.admin, "POST", verify)
            .send()
            .await;
        assert!(told.is_problem(409).contains("no such record yet"));
        let service = first
            .beside_with(|config| {
                config.outside.dns_server = Some(names.at);
                config.outside.allow_loopback = true;
            })
            .await;
        let told = service
            .by(&tenant, tenant.admin, "POST", verify)
            .send()
            .await
            .ok();
        assert!(told["verified_at"].is_string());
        Self { service, tenant }
    }

    pub async fn patch(&self, id: &str, body: Value) -> Told {
        let path = format!("/v1/sso/connections/{id}");
        self.service
            .patch(&self.tenant, self.tenant.admin, &path, body)
            .await
    }

    /// A connection to a provider that nobody here wrote, which knows it.
    async fn connected(&self, logout: impl Fn(&str) -> String) -> (Node, String) {
        let (service, tenant) = (&self.service, &self.tenant);
        let any = Node::start(NOWHERE, "https://nowhere.example/");
        let body = json!({
            "name": "Staff", "protocol": "oidc", "issuer": any.issuer, "client_id": "cedarkeep",
            "client_secret": "a secret: with % and + in it", "scopes": ["email", "profile", "groups"],
            "groups_claim": "groups",
        });
        let made = service
            .post(tenant, tenant.admin, "/v1/sso/connections", body)
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        assert!(!made.body.to_string().contains("a secret"));
        let id = made.body["id"].as_str().unwrap().to_owned();
        let node = Node::start(&logout(&id), made.body["redirect_uri"].as_str().unwrap());
        let told = self
            .patch(
                &id,
                json!({"issuer": node.issuer, "client_secret": "a secret: with % and + in it"}),
            )
            .await
            .ok();
        assert_eq!(
            (&told["enabled"], &told["has_client_secret"]),
            (&json!(false), &json!(true))
        );
        (node, id)
    }

    /// Where a form of ours sends the browser, and the cookie that it is given for it.
    pub async fn begin(&self, path: &str) -> (Url, String) {
        let told = self
            .service
            .ask("POST", path)
            .header("origin", ORIGIN)
            .send()
            .await;
        assert_eq!(
            told.status,
            303,
            "{path}: {}",
            String::from_utf8_lossy(&told.bytes)
        );
        let set = told.headers["set-cookie"].to_str().unwrap();
        let (cookie, rest) = set.split_once("; ").unwrap();
        assert!(
            rest.contains("SameSite=None")
                && rest.contains("Max-Age=600")
                && rest.contains("HttpOnly")
        );
        (
            told.headers["location"].to_str().unwrap().parse().unwrap(),
            cookie.to_owned(),
        )
    }

    /// What the browser is answered with that cookie, back from the provider.
    async fn back(&self, back: &Url, cookie: &str) -> Told {
        let path = format!("{}?{}", back.path(), back.query().unwrap());
        self.service
            .ask("GET", &path)
            .header("cookie", cookie)
            .send()
            .await
    }

    async fn sign_in(&self, id: &str, login: &str) -> Told {
        let path = format!("/signin/{}/{id}", self.tenant.door.store().id());
        let (url, cookie) = self.begin(&path).await;
        let back = Browser::new().sign_in(&url, login).await;
        self.back(&back, &cookie).await
    }

    /// Begins a test of the connection as the Admin does: where it sends the browser, and its cookie.
    pub async fn begin_test(&self, id: &str) -> (Url, String) {
        let path = format!("/v1/sso/connections/{id}/test");
        let told = self
            .service
            .by(&self.tenant, self.tenant.admin, "POST", &path)
            .send()
            .await
            .ok();
        let url: Url = told["url"].as_str().unwrap().parse().unwrap();
        let page = self.service.ask("GET", url.path()).send().await;
        assert_eq!(page.status, 200);
        let begun = self.begin(url.path()).await;
        let again = self
            .service
            .ask("POST", url.path())
            .header("origin", ORIGIN)
            .send()
            .await;
        assert_eq!(again.status, 403);
        begun
    }

    /// Tests the connection as the Admin does, who is `login` at the provider; the page that they see.
    async fn test(&self, id: &str, login: &str) -> String {
        let (away, cookie) = self.begin_test(id).await;
        let back = Browser::new().sign_in(&away, login).await;
        let told = self.back(&back, &cookie).await;
        assert_eq!(told.status, 200);
        assert!(!begins_a_session(&told));
        String::from_utf8(told.bytes).unwrap()
    }
}

/// Whether an answer gives the browser a session.
pub fn begins_a_session(told: &Told) -> bool {
    let mut set = told.headers.get_all("set-cookie").iter();
    set.any(|set| set.to_str().unwrap().contains("__Host-sid"))
}

/// The session of an answer that begins one and forgets the sign-in.
pub fn session(told: &Told) -> String {
    let set: Vec<_> = told.headers.get_all("set-cookie").iter().collect();
    assert_eq!(set.len(), 2, "{}", String::from_utf8_lossy(&told.bytes));
    assert!(set[1].to_str().unwrap().starts_with("__Host-arrival=; "));
    cookie(told)
}

async fn from_a_test_to_a_removal(database: Database) {
    let scene = Scene::set(database).await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    let (_node, id) = scene.connected(|_| NOWHERE.to_owned()).await;
    let start = format!("/signin/{}/{id}", tenant.door.store().id());
    // Not in use, it signs nobody in; and nothing is enforced that nobody has tested.
    let told = service
        .ask("POST", &start)
        .header("origin", ORIGIN)
        .send()
        .await;
    assert_eq!(told.status, 404);
    let enforce = json!({"method": "oidc", "break_glass": tenant.admin});
    let put = |body: Value| {
        service
            .by(tenant, tenant.admin, "PUT", "/v1/sso/enforcement")
            .body(&body)
            .send()
    };
    put(enforce.clone()).await.is_problem(400);
    let other = scene.test(&id, "eve").await;
    assert!(
        other.contains("not your own sign-in") && other.contains("eve@example.com"),
        "{other}"
    );
    put(enforce.clone()).await.is_problem(400);
    let own = scene.test(&id, "ada").await;
    assert!(own.contains("This was your own sign-in"), "{own}");
    let roles = json!({"staff": "Member"});
    scene
        .patch(
            &id,
            json!({"enabled": true, "provisioning": true, "group_roles": roles}),
        )
        .await
        .ok();
    let page = service.ask("GET", "/signin/acme").send().await;
    assert!(
        String::from_utf8(page.bytes)
            .unwrap()
            .contains("Sign in with Staff")
    );

    // Somebody new becomes a member; a browser that has not begun it brings nothing.
    let (url, cookie) = scene.begin(&start).await;
    let back = Browser::new().sign_in(&url, "eve").await;
    assert_eq!(
        scene.back(&back, "__Host-arrival=another").await.status,
        403
    );
    assert_eq!(scene.back(&back, &cookie).await.status, 403);
    let told = scene.sign_in(&id, "eve").await;
    let eve = session(&told);
    let who = service
        .signed_in(&eve, "GET", "/v1/session")
        .send()
        .await
        .ok();
    assert_eq!(who["user"]["email"], "eve@example.com");
    assert_eq!(who["user"]["role"], "Member");
    assert_eq!(who["session"]["method"], "oidc");
    let again = session(&scene.sign_in(&id, "eve").await);
    let same = service
        .signed_in(&again, "GET", "/v1/session")
        .send()
        .await
        .ok();
    assert_eq!(same["user"]["id"], who["user"]["id"]);
    // A call that is decided for her, and the same one refused once she is removed by another node.
    let team = json!({"name": "Research", "audience": null});
    let asked = service
        .signed_in(&eve, "POST", "/v1/threads")
        .body(&team)
        .send()
        .await;
    asked.id();
    let elsewhere = service.beside().await;
    let place = format!("/v1/users/{}", who["user"]["id"].as_str().unwrap());
    let gone = elsewhere.delete(tenant, tenant.admin, &place).await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    let asked = service
        .signed_in(&eve, "POST", "/v1/threads")
        .body(&team)
        .send()
        .await;
    assert_eq!(asked.status, 401);

    // Enforced, a link signs nobody in any more, and the connection cannot be taken away.
    put(enforce).await.ok();
    let link = super::sessions::link(tenant, tenant.member, false).await;
    let told = service
        .ask("POST", &link)
        .header("origin", ORIGIN)
        .send()
        .await;
    assert_eq!(told.status, 403);
    let path = format!("/v1/sso/connections/{id}");
    service
        .delete(tenant, tenant.admin, &path)
        .await
        .is_problem(400);
    let mia = session(&scene.sign_in(&id, "mia").await);
    let who = service
        .signed_in(&mia, "GET", "/v1/session")
        .send()
        .await
        .ok();
    assert_eq!(who["user"]["id"], tenant.member.to_string());
    service
        .delete(tenant, tenant.admin, "/v1/sso/enforcement")
        .await
        .ok();
    assert_eq!(
        service.delete(tenant, tenant.admin, &path).await.status,
        204
    );
    sound(tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_test_to_a_removal_on_sqlite() {
    from_a_test_to_a_removal(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_test_to_a_removal_on_postgresql() {
    let server = postgres::start();
    from_a_test_to_a_removal(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_none_is_not_set_up_and_nothing_of_this_machine_is_asked() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    for (issuer, word) in [
        ("http://idp.example", "issuer_url"),
        ("https://127.0.0.1:1", "reach"),
        ("https://localhost", "reach"),
        ("https://10.0.0.1/", "reach"),
    ] {
        let body = json!({"name": "Bad", "protocol": "oidc", "issuer": issuer, "client_id": "us"});
        let told = service
            .post(&tenant, tenant.admin, "/v1/sso/connections", body)
            .await;
        assert!(
            told.is_problem(400).contains(word),
            "{issuer}: {}",
            told.body
        );
    }
    let both = json!({"name": "Bad", "protocol": "oidc", "preset": "google", "issuer": "https://idp.example", "client_id": "us"});
    let told = service
        .post(&tenant, tenant.admin, "/v1/sso/connections", both)
        .await;
    assert!(told.is_problem(400).contains("`preset` says it"));
    // Whoever may not set it has no call made for them.
    let body = json!({"name": "Bad", "protocol": "oidc", "issuer": "https://127.0.0.1:1", "client_id": "us"});
    let told = service
        .post(&tenant, tenant.member, "/v1/sso/connections", body)
        .await;
    told.is_problem(403);
    let listed = service
        .get(&tenant, tenant.admin, "/v1/sso/connections")
        .await
        .ok();
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_made_shorter_and_never_longer() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let put = |body: Value| {
        service
            .by(&tenant, tenant.admin, "PUT", "/v1/sso/sessions")
            .body(&body)
            .send()
    };
    for (idle, whole) in [
        (json!(31), json!(60)),
        (json!(5), json!(721)),
        (json!(0), json!(null)),
        (json!("5"), json!(5)),
    ] {
        let told = put(json!({"idle_minutes": idle, "session_minutes": whole})).await;
        told.is_problem(400);
    }
    let set = put(json!({"idle_minutes": 5, "session_minutes": 60}))
        .await
        .ok();
    assert_eq!(
        (&set["idle_minutes"], &set["session_minutes"]),
        (&json!(5), &json!(60))
    );
    let cookie = service.sign_in(&tenant, tenant.member).await;
    let who = service
        .signed_in(&cookie, "GET", "/v1/session")
        .send()
        .await
        .ok();
    let time = |name: &str| {
        let text = who["session"][name].as_str().unwrap();
        text.parse::<chrono::DateTime<chrono::Utc>>().unwrap()
    };
    assert_eq!(
        time("expires_at") - time("created_at"),
        chrono::Duration::hours(1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_ends_the_sessions_that_it_has_begun() {
    let scene = Scene::set(Database::Sqlite).await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    // Its logout tokens go to a place where a test picks them up, since nothing listens here.
    let received =
        crate::oidc::world::Server::serve(None, |_| crate::oidc::world::answer("200 OK", "", b""))
            .await;
    let at = received.at;
    let (node, id) = scene.connected(|_| format!("http://{at}/logout")).await;
    scene.patch(&id, json!({"enabled": true})).await.ok();
    let path = format!("/signin/{}/{id}", tenant.door.store().id());
    let (url, cookie) = scene.begin(&path).await;
    let mut browser = Browser::new();
    let back = browser.sign_in(&url, "mia").await;
    let mia = session(&scene.back(&back, &cookie).await);
    browser.sign_out(&node).await;
    let heads = received.heads.lock().unwrap().clone();
    let (_, token) = heads[0].split_once("logout_token=").unwrap();
    let logout = |token: String| {
        let ask = service.ask("POST", &format!("{path}/logout"));
        ask.content(
            "application/x-www-form-urlencoded",
            format!("logout_token={token}"),
        )
        .send()
    };
    let broken = logout(format!("{token}x")).await;
    assert_eq!(broken.status, 400, "{}", broken.body);
    let here = service.signed_in(&mia, "GET", "/v1/session").send().await;
    assert_eq!(here.status, 200);
    assert_eq!(logout(token.to_owned()).await.status, 200);
    let here = service.signed_in(&mia, "GET", "/v1/session").send().await;
    assert_eq!(here.status, 401);
    assert_eq!(logout(token.to_owned()).await.status, 400);
}
