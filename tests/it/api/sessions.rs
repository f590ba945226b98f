//! People who are signed in: the one-time link, the cookie and what it opens, and how each session ends.

use cedarkeep::authn::token::{Token, Use};
use cedarkeep::config::Database;
use cedarkeep::crypto;
use cedarkeep::decide::Room;
use cedarkeep::directory::object::{Body, Object, Role};
use cedarkeep::directory::session::{self, Link};
use cedarkeep::directory::{Change, Kind, Ref, RowId};
use cedarkeep::log::Event;
use chrono::{Duration, Utc};
use serde_json::{Value, json};

use super::harness::{Ask, Service, Tenant, Told};
use super::messages::sound;
use crate::harness::postgres;

pub const ORIGIN: &str = "https://127.0.0.1:8443";

/// A link that signs somebody in, as the command line makes one.
pub async fn link(tenant: &Tenant, user: Ref, break_glass: bool) -> String {
    let link = Link { user, break_glass };
    let issued = link.clone();
    tenant
        .door
        .operate(move |by, snapshot| session::issue(by, snapshot, &issued))
        .await
        .unwrap();
    let (id, secret) = (crypto::random().unwrap(), crypto::random().unwrap());
    let token = Token::mint(Use::Link, *tenant.door.store().id().bytes(), id, secret);
    let body = serde_json::to_vec(&link).unwrap();
    let expires_at = Utc::now() + Duration::minutes(15);
    let digest = token.digest();
    let kept = tenant
        .door
        .expect((&digest, Room::Granted), &body, expires_at);
    kept.await.unwrap();
    format!("/signin/link/{}", token.expose())
}

/// The cookie of a session that an answer begins.
pub fn cookie(told: &Told) -> String {
    assert_eq!(told.status, 303, "{}", String::from_utf8_lossy(&told.bytes));
    let set = told.headers["set-cookie"].to_str().unwrap();
    let (cookie, rest) = set.split_once("; ").unwrap();
    assert_eq!(rest, "HttpOnly; SameSite=Lax; Secure; Path=/");
    assert!(cookie.starts_with("__Host-sid=cks_"), "{cookie}");
    cookie.to_owned()
}

impl Service {
    /// Signs somebody in by a one-time link; their cookie.
    pub async fn sign_in(&self, tenant: &Tenant, user: Ref) -> String {
        let link = link(tenant, user, false).await;
        let told = self
            .ask("POST", &link)
            .header("origin", ORIGIN)
            .send()
            .await;
        cookie(&told)
    }

    /// A call of whoever has this cookie, from a page of ours.
    pub fn signed_in<'a>(&'a self, cookie: &str, method: &str, path: &str) -> Ask<'a> {
        let ask = self.ask(method, path).header("cookie", cookie);
        ask.header("origin", ORIGIN)
    }

    async fn whoami(&self, cookie: &str) -> u16 {
        let told = self.signed_in(cookie, "GET", "/v1/session").send().await;
        told.status
    }
}

fn session_of(told: &Value) -> String {
    told["session"]["id"].as_str().unwrap().to_owned()
}

/// What the log says of an event, the newest first.
pub async fn entries(service: &Service, tenant: &Tenant, event: &str) -> Vec<Value> {
    let path = format!("/v1/audit/entries?event={event}&limit=100");
    let told = service.get(tenant, tenant.admin, &path).await.ok();
    let items = told["items"].as_array().unwrap();
    items.iter().map(|item| item["leaf"].clone()).collect()
}

async fn a_link_signs_in_once(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let link = link(&tenant, tenant.member, false).await;
    // That it is looked at uses nothing up.
    for _ in 0..2 {
        let page = service.ask("GET", &link).send().await;
        assert_eq!(page.status, 200);
        assert!(
            page.headers["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("frame-ancestors 'none'")
        );
    }
    let foreign = service
        .ask("POST", &link)
        .header("origin", "https://evil.example");
    assert_eq!(foreign.send().await.status, 403);
    let told = service
        .ask("POST", &link)
        .header("origin", ORIGIN)
        .send()
        .await;
    assert_eq!(told.headers["location"], "/account");
    let cookie = cookie(&told);
    let again = service
        .ask("POST", &link)
        .header("origin", ORIGIN)
        .send()
        .await;
    assert_eq!(again.status, 403);
    let who = service
        .signed_in(&cookie, "GET", "/v1/session")
        .send()
        .await
        .ok();
    assert_eq!(who["user"]["id"], tenant.member.to_string());
    assert_eq!(who["session"]["method"], "link");
    assert!(!who.to_string().contains("digest"));
    let login = entries(&service, &tenant, "user.login").await;
    assert_eq!(login.len(), 1);
    assert_eq!(login[0]["actor"]["id"], tenant.member.to_string());
    assert_eq!(login[0]["caller"]["type"], "session");
    assert_eq!(
        entries(&service, &tenant, "user.login_failed").await.len(),
        1
    );
    assert_eq!(
        entries(&service, &tenant, "user.link_issued").await.len(),
        1
    );
    let page = service.signed_in(&cookie, "GET", "/account").send().await;
    let text = String::from_utf8(page.bytes).unwrap();
    assert!(text.contains("mia@example.com") && text.contains("this one"));
    sound(&tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_signs_in_once_on_sqlite() {
    a_link_signs_in_once(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_signs_in_once_on_postgresql() {
    let server = postgres::start();
    a_link_signs_in_once(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_opens_what_its_person_may_and_nothing_more() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let (admin, viewer) = (
        service.sign_in(&tenant, tenant.admin).await,
        service.sign_in(&tenant, tenant.viewer).await,
    );
    let team = json!({"name": "Research"});
    let made = service
        .signed_in(&admin, "POST", "/v1/teams")
        .body(&team)
        .send()
        .await;
    made.id();
    let refused = service
        .signed_in(&viewer, "POST", "/v1/teams")
        .body(&team)
        .send()
        .await;
    refused.is_problem(403);
    // A session is its own user's.
    let other = service
        .signed_in(&viewer, "POST", "/v1/teams")
        .user(tenant.admin);
    other.body(&team).send().await.is_problem(400);
    // The decision point is for back ends.
    let question = json!({
        "subject": {"type": "User", "id": tenant.viewer.to_string()},
        "action": {"name": "member.read"},
        "resource": {"type": "Organization", "id": tenant.org.to_string()},
    });
    let asked = service
        .signed_in(&admin, "POST", "/access/v1/evaluation")
        .body(&question);
    assert_eq!(asked.send().await.status, 401);
    let why = service
        .signed_in(&viewer, "POST", "/v1/explain")
        .body(&question);
    assert_eq!(why.send().await.ok()["decision"], true);
    // A key that comes along is what counts, whatever a browser sends beside it.
    let both = service
        .signed_in(&viewer, "POST", "/v1/teams")
        .key(&tenant.key)
        .user(tenant.admin);
    both.body(&json!({"name": "Second"})).send().await.id();
    sound(&tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_sites_page_changes_nothing() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let admin = service.sign_in(&tenant, tenant.admin).await;
    let team = json!({"name": "Research"});
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("accept", "*/*"),
    ] {
        let ask = service.ask("POST", "/v1/teams").header("cookie", &admin);
        let told = ask.header(name, value).body(&team).send().await;
        assert!(
            told.is_problem(403).contains("page of this service"),
            "{name}: {value}"
        );
    }
    let forms = [
        ("/account/end", "session=ses_aaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("/signout", ""),
    ];
    for (path, fields) in forms {
        // A page of ours, that was not shown to this session.
        for form in ["", "form=wrong&"] {
            let ask = service.signed_in(&admin, "POST", path);
            let told = ask
                .content(
                    "application/x-www-form-urlencoded",
                    format!("{form}{fields}"),
                )
                .send()
                .await;
            assert_eq!(told.status, 403, "{path} {form}");
        }
    }
    assert_eq!(service.whoami(&admin).await, 200);
    let teams = service.get(&tenant, tenant.admin, "/v1/teams").await.ok();
    assert_eq!(teams["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_ends_the_session_and_signing_in_never_takes_one_over() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let first = service.sign_in(&tenant, tenant.member).await;
    // A cookie that somebody else has chosen is not what the session has, and the one before is over.
    let again = link(&tenant, tenant.member, false).await;
    let told = service.signed_in(&first, "POST", &again).send().await;
    let second = cookie(&told);
    assert_ne!(first, second);
    assert_eq!(service.whoami(&first).await, 401);
    let page = service.signed_in(&second, "GET", "/account").send().await;
    let text = String::from_utf8(page.bytes).unwrap();
    let form = text
        .split("name=\"form\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let out = service.signed_in(&second, "POST", "/signout");
    let told = out
        .content("application/x-www-form-urlencoded", format!("form={form}"))
        .send()
        .await;
    assert_eq!(told.status, 303);
    assert!(
        told.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(service.whoami(&second).await, 401);
    let third = service.sign_in(&tenant, tenant.member).await;
    let told = service
        .signed_in(&third, "DELETE", "/v1/session")
        .send()
        .await;
    assert_eq!(told.status, 204);
    assert_eq!(service.whoami(&third).await, 401);
    assert_eq!(entries(&service, &tenant, "user.logout").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_and_end_their_own_sessions_and_admins_everybodys() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let (one, two, viewer) = (
        service.sign_in(&tenant, tenant.member).await,
        service.sign_in(&tenant, tenant.member).await,
        service.sign_in(&tenant, tenant.viewer).await,
    );
    let mine = format!("/v1/users/{}/sessions", tenant.member);
    let listed = service.signed_in(&one, "GET", &mine).send().await.ok();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert!(items.iter().all(|item| item["method"] == "link"));
    assert!(items[1]["last_used_at"].is_string(), "{listed}");
    // Others do not exist for a Viewer, but for who they are.
    let theirs = service.signed_in(&viewer, "GET", &mine).send().await;
    assert!(matches!(theirs.status, 403 | 404));
    let who = service
        .signed_in(&two, "GET", "/v1/session")
        .send()
        .await
        .ok();
    let place = format!("{mine}/{}", session_of(&who));
    let not_theirs = format!("/v1/users/{}/sessions/{}", tenant.viewer, session_of(&who));
    assert_eq!(
        service
            .signed_in(&viewer, "DELETE", &not_theirs)
            .send()
            .await
            .status,
        404
    );
    assert!(matches!(
        service
            .signed_in(&viewer, "DELETE", &place)
            .send()
            .await
            .status,
        403 | 404
    ));
    assert_eq!(
        service
            .signed_in(&one, "DELETE", &place)
            .send()
            .await
            .status,
        204
    );
    assert_eq!(service.whoami(&two).await, 401);
    let ended = service
        .by(&tenant, tenant.admin, "DELETE", &mine)
        .send()
        .await
        .ok();
    assert_eq!(ended["ended"], 1);
    assert_eq!(service.whoami(&one).await, 401);
    assert_eq!(entries(&service, &tenant, "session.revoked").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_a_suspension_and_another_role_end_what_is_open() {
    for what in ["remove", "suspend", "role"] {
        let service = Service::open().await;
        let tenant = service.tenant("acme").await;
        let member = service.sign_in(&tenant, tenant.member).await;
        assert_eq!(service.whoami(&member).await, 200);
        let place = format!("/v1/users/{}", tenant.member);
        let told = match what {
            "remove" => service.delete(&tenant, tenant.admin, &place).await,
            "suspend" => {
                service
                    .patch(&tenant, tenant.admin, &place, json!({"active": false}))
                    .await
            }
            _ => {
                service
                    .patch(&tenant, tenant.admin, &place, json!({"role": "Admin"}))
                    .await
            }
        };
        assert!(matches!(told.status, 200 | 204), "{}", told.body);
        assert_eq!(service.whoami(&member).await, 401, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_session_opens_nothing() {
    let service = Service::open().await;
    let (tenant, other) = (service.tenant("acme").await, service.tenant("other").await);
    let good = service.sign_in(&tenant, tenant.member).await;
    let text = good.strip_prefix("__Host-sid=").unwrap();
    let token = Token::parse(Use::Session, text).unwrap();
    let secret = crypto::random().unwrap();
    let forged = |of, tenant, id| {
        let token = Token::mint(of, tenant, id, secret);
        format!("__Host-sid={}", token.expose())
    };
    let deployment = service.app().deployment().await.unwrap();
    for cookie in [
        forged(Use::Session, token.tenant(), token.id()),
        forged(Use::Session, *other.door.store().id().bytes(), token.id()),
        forged(Use::Session, token.tenant(), [9; 16]),
        forged(Use::Session, [9; 16], token.id()),
        forged(Use::Session, *deployment.store().id().bytes(), token.id()),
        forged(Use::Link, token.tenant(), token.id()),
        format!("{good}x"),
        format!("sid={text}"),
        format!("{good}; {good}"),
    ] {
        assert_eq!(service.whoami(&cookie).await, 401, "{cookie}");
    }
    assert_eq!(service.whoami(&good).await, 200);
    let failed = entries(&service, &tenant, "user.login_failed").await;
    let whys: Vec<_> = failed
        .iter()
        .map(|entry| entry["refusal"].clone())
        .collect();
    assert!(whys.contains(&json!("wrong_credential")), "{failed:?}");
    assert!(whys.contains(&json!("unknown_credential")), "{failed:?}");
}

/// Has a session be so old, and last so long yet.
async fn aged(tenant: &Tenant, session: &str, age: Duration, rest: Duration) {
    let session = Ref::of(Kind::Session, session).unwrap();
    let now = Utc::now();
    let plan = move |_: &_, snapshot: &cedarkeep::directory::Snapshot| {
        let Object::Session(old) = snapshot.object(session).unwrap().value.clone() else {
            panic!("no session");
        };
        let aged = cedarkeep::directory::object::Session {
            created_at: now - age,
            expires_at: now + rest,
            ..old
        };
        let body = Body::Object(Object::Session(aged));
        Ok(Change::new(Event::SettingsUpdated, None, json!({})).put(RowId::Object(session), body))
    };
    tenant.door.operate(plan).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_over_after_its_time_and_when_nobody_used_it() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let (used, unused, over) = (
        service.sign_in(&tenant, tenant.member).await,
        service.sign_in(&tenant, tenant.member).await,
        service.sign_in(&tenant, tenant.member).await,
    );
    let id = async |cookie: &str| {
        let text = cookie.strip_prefix("__Host-sid=").unwrap();
        let token = Token::parse(Use::Session, text).unwrap();
        Ref::new(Kind::Session, token.id()).to_string()
    };
    let hour = Duration::hours(1);
    assert_eq!(service.whoami(&used).await, 200);
    for (cookie, rest) in [
        (&used, hour),
        (&unused, hour),
        (&over, -Duration::seconds(1)),
    ] {
        aged(&tenant, &id(cookie).await, hour, rest).await;
    }
    assert_eq!(service.whoami(&used).await, 200);
    assert_eq!(service.whoami(&unused).await, 401);
    assert_eq!(service.whoami(&over).await, 401);
    // Another node knows within a minute or two that it was used here: what it cannot know it refuses.
    let elsewhere = service.beside().await;
    assert_eq!(elsewhere.whoami(&unused).await, 401);
    let failed = entries(&service, &tenant, "user.login_failed").await;
    assert!(
        failed.iter().all(|entry| entry["refusal"] == "expired"),
        "{failed:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_sso_is_enforced_another_method_opens_nothing_but_the_break_glass() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let (before, admin) = (service.sign_in(&tenant, tenant.admin).await, tenant.admin);
    let glass = link(&tenant, admin, false).await;
    tenant
        .door
        .operate(move |_, snapshot| {
            let mut organization = snapshot.organization()?.clone();
            organization.sso_enforced = Some("saml".into());
            organization.sign_in.break_glass = Some(admin);
            let body = Body::Object(Object::Organization(organization));
            Ok(Change::new(Event::SsoConfigured, None, json!({}))
                .put(RowId::Object(snapshot.org()), body))
        })
        .await
        .unwrap();
    // Whoever was signed in otherwise may do nothing any more.
    let team = json!({"name": "Research"});
    let told = service
        .signed_in(&before, "POST", "/v1/teams")
        .body(&team)
        .send()
        .await;
    told.is_problem(403);
    let told = service
        .ask("POST", &glass)
        .header("origin", ORIGIN)
        .send()
        .await;
    assert_eq!(told.status, 403);
    let member = link(&tenant, tenant.member, false).await;
    assert_eq!(
        service
            .ask("POST", &member)
            .header("origin", ORIGIN)
            .send()
            .await
            .status,
        403
    );
    // Nobody but the one who was named has a link that breaks glass.
    let theirs = Link {
        user: tenant.member,
        break_glass: true,
    };
    let issued = tenant
        .door
        .operate(move |by, snapshot| session::issue(by, snapshot, &theirs));
    issued.await.unwrap_err();
    let glass = link(&tenant, admin, true).await;
    let told = service
        .ask("POST", &glass)
        .header("origin", ORIGIN)
        .send()
        .await;
    let cookie = cookie(&told);
    // Nor is whoever is signed in otherwise told why.
    let question = json!({
        "subject": {"type": "User", "id": admin.to_string()},
        "action": {"name": "member.read"},
        "resource": {"type": "Organization", "id": tenant.org.to_string()},
    });
    let why = service.signed_in(&before, "POST", "/v1/explain");
    why.body(&question).send().await.is_problem(403);
    let refused = service
        .signed_in(&cookie, "POST", "/v1/teams")
        .body(&team)
        .send()
        .await;
    refused.is_problem(403);
    let who = tenant.door.glance();
    let sessions = session::sessions_of(who.snapshot(), admin);
    assert!(sessions.into_iter().any(|(_, session)| session.break_glass));
    assert_eq!(who.snapshot().user(admin).unwrap().role, Role::Admin);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_over_are_taken_away_by_the_keeper() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let cookie = service.sign_in(&tenant, tenant.member).await;
    let text = cookie.strip_prefix("__Host-sid=").unwrap();
    let id = Token::parse(Use::Session, text).unwrap().id();
    let session = Ref::new(Kind::Session, id);
    let rest = -Duration::minutes(61);
    aged(&tenant, &session.to_string(), Duration::hours(13), rest).await;
    cedarkeep::decide::upkeep::round(&tenant.door, Utc::now(), true)
        .await
        .unwrap();
    assert!(tenant.door.glance().snapshot().object(session).is_none());
    assert_eq!(entries(&service, &tenant, "session.revoked").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_session_that_is_over_nothing_says_from_where_it_was() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let link = link(&tenant, tenant.member, false).await;
    let ask = service.ask("POST", &link).header("origin", ORIGIN);
    let mia = cookie(&ask.header("user-agent", "CANARY-AGENT").send().await);
    let rows = async || super::invitations::rows_of(&service, &tenant, "ses_").await;
    let before = rows().await;
    assert!(before[0].contains("CANARY-AGENT") && before[0].contains("127.0.0.1"));
    let out = service
        .signed_in(&mia, "DELETE", "/v1/session")
        .send()
        .await;
    assert_eq!(out.status, 204);
    let after = rows().await;
    assert_eq!(after.len(), 1);
    assert!(
        !after[0].contains("CANARY") && !after[0].contains("127.0.0.1"),
        "{after:?}"
    );
    sound(&tenant).await;
}
