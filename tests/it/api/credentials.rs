//! Credentials of services: two live keys, their last use, and what is done about those who guess.

use std::net::SocketAddr;

use cedarkeep::authn::api_key::{ApiKey, Environment};
use cedarkeep::authn::lockout::{OF_AN_ADDRESS, TRIES};
use cedarkeep::authn::token::{Token, Use};
use cedarkeep::config::Database;
use cedarkeep::decide::upkeep;
use cedarkeep::directory::object::Scope;
use cedarkeep::http::serve::Peer;
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::harness::{Ask, Service, Tenant, key};
use super::messages::sound;
use super::sessions::{ORIGIN, link};
use crate::harness::postgres;

const KEYS: &str = "/v1/api-keys";

/// Somebody else's address.
fn elsewhere(last: u8) -> Peer {
    Peer::Tcp(SocketAddr::from(([203, 0, 113, last], 4000)))
}

/// The same key with another secret.
fn guessed(key: &str, secret: u8) -> String {
    let key = ApiKey::parse(key).unwrap();
    let guess = ApiKey::mint(Environment::Live, key.tenant(), key.id(), [secret; 32]);
    guess.expose().to_owned()
}

/// How many an entry says that were left out.
fn count_of(leaf: &Value) -> u64 {
    leaf["fact"]["count"].as_str().unwrap().parse().unwrap()
}

/// What the log says of an event, the newest first: why, and the whole leaf.
async fn entries(service: &Service, tenant: &Tenant, event: &str) -> Vec<(String, Value)> {
    let path = format!("/v1/audit/entries?event={event}&limit=100");
    let told = service.get(tenant, tenant.admin, &path).await.ok();
    let items = told["items"].as_array().unwrap();
    let leaves = items.iter().map(|item| item["leaf"].clone());
    leaves
        .map(|leaf| {
            (
                leaf["refusal"].as_str().unwrap_or_default().to_owned(),
                leaf,
            )
        })
        .collect()
}

async fn listed(service: &Service, tenant: &Tenant) -> Vec<Value> {
    let told = service.get(tenant, tenant.admin, KEYS).await.ok();
    told["items"].as_array().unwrap().clone()
}

impl Service {
    /// What somebody with this key alone is told of an organization's people.
    fn with_key<'a>(&'a self, tenant: &Tenant, key: &str) -> Ask<'a> {
        self.ask("GET", "/v1/users").key(key).user(tenant.admin)
    }

    async fn opens(&self, tenant: &Tenant, key: &str) -> bool {
        self.with_key(tenant, key).send().await.status == 200
    }
}

async fn a_key_is_replaced_while_both_open_the_same(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let first = json!({"name": "Chat", "scopes": ["directory.read"]});
    let first = service.post(&tenant, tenant.admin, KEYS, first).await;
    let id = first.id();
    let old = first.body["key"].as_str().unwrap().to_owned();
    let rotation = format!("{KEYS}/{id}/rotation");
    let told = service
        .post(
            &tenant,
            tenant.admin,
            &rotation,
            json!({"overlap_hours": 2}),
        )
        .await;
    assert_eq!(told.status, 201, "{}", told.body);
    assert_eq!(told.headers["cache-control"], "no-store");
    let (next, new_id) = (told.body["key"].as_str().unwrap(), told.id());
    assert_eq!(told.body["service"], first.body["service"]);
    assert_eq!(told.body["scopes"], json!(["directory.read"]));
    assert_eq!(told.body["replaces"], json!(id));
    assert!(service.opens(&tenant, &old).await && service.opens(&tenant, next).await);
    let ends = |view: &Value| view["expires_at"].as_str()?.parse::<DateTime<Utc>>().ok();
    let view = service
        .get(&tenant, tenant.admin, &format!("{KEYS}/{id}"))
        .await
        .ok();
    let left = ends(&view).unwrap() - Utc::now();
    assert!(
        left <= Duration::hours(2) && left > Duration::minutes(110),
        "{left}"
    );
    // There is no third, however it is asked for, and what to do is said.
    for (path, body) in [
        (
            KEYS.to_owned(),
            json!({"name": "Third", "service": first.body["service"]}),
        ),
        (rotation.clone(), json!({})),
        (
            format!("{KEYS}/{new_id}/rotation"),
            json!({"overlap_hours": 1}),
        ),
    ] {
        let third = service.post(&tenant, tenant.admin, &path, body).await;
        let why = third.is_problem(409);
        assert!(why.contains("revoke one"), "{why}");
    }
    // One that ends at once makes room for its successor.
    let told = service
        .post(
            &tenant,
            tenant.admin,
            &rotation,
            json!({"overlap_hours": 0}),
        )
        .await;
    let third = told.body["key"].as_str().unwrap();
    assert!(!service.opens(&tenant, &old).await);
    assert!(service.opens(&tenant, next).await && service.opens(&tenant, third).await);
    for wrong in [json!(169), json!(-1), json!("2"), json!(1.5)] {
        let body = json!({ "overlap_hours": wrong });
        let place = format!("{KEYS}/{new_id}/rotation");
        service
            .post(&tenant, tenant.admin, &place, body)
            .await
            .is_problem(400);
    }
    sound(&tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_replaced_while_both_open_the_same_on_sqlite() {
    a_key_is_replaced_while_both_open_the_same(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_replaced_while_both_open_the_same_on_postgresql() {
    let server = postgres::start();
    a_key_is_replaced_while_both_open_the_same(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keys_last_use_is_known_on_another_node() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let made = json!({"name": "Chat", "scopes": ["directory.read"]});
    let made = service.post(&tenant, tenant.admin, KEYS, made).await;
    let place = format!("{KEYS}/{}", made.id());
    let unused = service.get(&tenant, tenant.admin, &place).await.ok();
    assert_eq!(unused["last_used_at"], Value::Null);
    let before = Utc::now();
    assert!(
        service
            .opens(&tenant, made.body["key"].as_str().unwrap())
            .await
    );
    upkeep::round(&tenant.door, Utc::now(), false)
        .await
        .unwrap();
    let other = service.beside().await;
    let used = other.get(&tenant, tenant.admin, &place).await.ok();
    let at: DateTime<Utc> = used["last_used_at"].as_str().unwrap().parse().unwrap();
    assert!(at >= before - Duration::microseconds(1) && at <= Utc::now());
    // The list says the same, and nothing of the secret.
    let all = listed(&other, &tenant).await;
    let one = all.iter().find(|one| one["id"] == made.body["id"]).unwrap();
    assert_eq!(one["last_used_at"], used["last_used_at"]);
    let text = json!(all).to_string();
    assert!(!text.contains("digest") && !text.contains("ck_live"));
    service
        .get(&tenant, tenant.member, &place)
        .await
        .is_problem(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_for_those_who_may_revoke_and_make() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let made = service
        .post(&tenant, tenant.admin, KEYS, json!({"name": "Chat"}))
        .await;
    let place = format!("{KEYS}/{}/rotation", made.id());
    let told = service
        .post(&tenant, tenant.member, &place, json!({}))
        .await;
    told.is_problem(404);
    let weak = key(&tenant.door, &[Scope::Decide]).await;
    let asked = service.ask("POST", &place).key(&weak).user(tenant.admin);
    asked.body(&json!({})).send().await.is_problem(403);
    let keyed = service
        .ask("POST", &place)
        .key(&tenant.key)
        .user(tenant.admin);
    let keyed = keyed.header("idempotency-key", "one").body(&json!({}));
    keyed.send().await.is_problem(400);
    assert_eq!(listed(&service, &tenant).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_is_locked_out_and_nobody_else() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let (one, other) = (
        key(&tenant.door, &[Scope::DirectoryRead]).await,
        key(&tenant.door, &[Scope::DirectoryRead]).await,
    );
    for secret in 0..u8::try_from(TRIES).unwrap() {
        let asked = service.with_key(&tenant, &guessed(&one, secret));
        asked.from(elsewhere(1)).send().await.is_problem(401);
    }
    // The right secret is refused too, or a guess would be told from a hit.
    for key in [&one, &guessed(&one, 99)] {
        let told = service
            .with_key(&tenant, key)
            .from(elsewhere(1))
            .send()
            .await;
        told.is_problem(429);
        assert_eq!(told.body["code"], "locked_out");
        let wait: u64 = told.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((50..=60).contains(&wait), "{wait}");
    }
    // Its owner comes from elsewhere, and others have keys of their own.
    assert!(service.opens(&tenant, &one).await);
    let unix = service.with_key(&tenant, &one).from(Peer::Unix);
    assert_eq!(unix.send().await.status, 200);
    let beside = service.with_key(&tenant, &other).from(elsewhere(1));
    assert_eq!(beside.send().await.status, 200);
    let refused = entries(&service, &tenant, "api_key.rejected").await;
    let count = |word| refused.iter().filter(|(why, _)| why == word).count();
    assert_eq!((count("wrong_credential"), count("locked_out")), (TRIES, 1));
    assert_eq!(refused.len(), TRIES + 1);
    assert!(
        refused
            .iter()
            .all(|(_, leaf)| leaf["caller"]["type"] == "unrecognised")
    );
    // What came while it was locked is counted, without anybody being refused once more.
    upkeep::round(&tenant.door, Utc::now(), false)
        .await
        .unwrap();
    let counted = entries(&service, &tenant, "requests.limited").await;
    assert_eq!(counted.len(), 1);
    assert_eq!(count_of(&counted[0].1), 2);
    sound(&tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_refused_too_often_shuts_out_no_valid_key() {
    let service = Service::still(Database::Sqlite).await;
    let (tenant, beside) = (service.tenant("acme").await, service.tenant("other").await);
    let id = ApiKey::parse(&tenant.key).unwrap().tenant();
    let mut told = [0_u32; 2];
    for number in 0..OF_AN_ADDRESS + 20 {
        let mut made_up = [0; 16];
        made_up[..4].copy_from_slice(&number.to_be_bytes());
        let key = ApiKey::mint(Environment::Live, id, made_up, [1; 32]);
        let asked = service.with_key(&tenant, key.expose()).from(elsewhere(1));
        match asked.send().await.status {
            401 => told[0] += 1,
            429 => told[1] += 1,
            status => panic!("{status}"),
        }
    }
    assert_eq!(told, [OF_AN_ADDRESS, 20]);
    // Behind the same router, and valid: neither its own organization's nor another's is held up.
    for tenant in [&tenant, &beside] {
        let asked = service.with_key(tenant, &tenant.key).from(elsewhere(1));
        assert_eq!(asked.send().await.status, 200);
    }
    // What is refused elsewhere is answered as ever, and all of it is in the log, recorded or counted.
    let asked = service.with_key(&tenant, &guessed(&tenant.key, 1));
    asked.from(elsewhere(2)).send().await.is_problem(401);
    upkeep::round(&tenant.door, Utc::now(), false)
        .await
        .unwrap();
    let recorded = service
        .get(
            &tenant,
            tenant.admin,
            "/v1/audit/entries?event=api_key.rejected&limit=200",
        )
        .await
        .ok();
    let recorded = recorded["items"].as_array().unwrap().len() as u64;
    let counted = entries(&service, &tenant, "requests.limited").await;
    let counted: u64 = counted.iter().map(|(_, leaf)| count_of(leaf)).sum();
    assert_eq!(recorded + counted, u64::from(OF_AN_ADDRESS) + 21);
    assert!(counted >= 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_and_a_link_that_are_guessed_are_locked_too() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let cookie = service.sign_in(&tenant, tenant.member).await;
    let token = |text: &str, of: Use, secret: u8| {
        let token = Token::parse(of, text).unwrap();
        Token::mint(of, token.tenant(), token.id(), [secret; 32])
            .expose()
            .to_owned()
    };
    let text = cookie.strip_prefix("__Host-sid=").unwrap();
    let with = |cookie: String| {
        let asked = service.signed_in(&cookie, "GET", "/v1/session");
        asked.from(elsewhere(1)).send()
    };
    for secret in 0..u8::try_from(TRIES).unwrap() {
        let guess = token(text, Use::Session, secret);
        with(format!("__Host-sid={guess}")).await.is_problem(401);
    }
    with(cookie.clone()).await.is_problem(429);
    let here = service
        .signed_in(&cookie, "GET", "/v1/session")
        .send()
        .await;
    assert_eq!(here.status, 200);
    let place = link(&tenant, tenant.member, false).await;
    let text = place.strip_prefix("/signin/link/").unwrap();
    let open = |place: String| {
        let asked = service.ask("POST", &place).header("origin", ORIGIN);
        asked.from(elsewhere(1)).send()
    };
    for secret in 0..u8::try_from(TRIES).unwrap() {
        let guess = token(text, Use::Link, secret);
        assert_eq!(open(format!("/signin/link/{guess}")).await.status, 403);
    }
    assert_eq!(open(place.clone()).await.status, 429);
    // Nothing of it was used up: it opens from where nobody has guessed.
    let told = service
        .ask("POST", &place)
        .header("origin", ORIGIN)
        .send()
        .await;
    assert_eq!(told.status, 303);
    let failed = entries(&service, &tenant, "user.login_failed").await;
    let locked = failed.iter().filter(|(why, _)| why == "locked_out").count();
    assert_eq!(locked, 2);
    // More than 20 a second are counted.
    assert!(failed.len() <= 2 * TRIES + 2);
    sound(&tenant).await;
}
