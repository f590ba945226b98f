//! What an attacker makes of SAML responses over HTTP: brought again, by another browser, to another place, unasked, or changed. None of it
//! begins a session, and each is in the log.

use std::cell::Cell;

use cedarkeep::authn::saml::ServiceProvider;
use cedarkeep::config::Database;
use chrono::TimeDelta;
use data_encoding::BASE64;
use miniz_oxide::inflate::decompress_to_vec;
use serde_json::json;

use super::harness::{Service, Told};
use super::messages::sound;
use super::saml::{carry, page, set_up};
use super::sessions::entries;
use super::sso::{Scene, session};
use crate::harness::postgres;
use crate::oidc::parameter;
use crate::oidc::provider::between;
use crate::saml::forge::{self, Draft, Signer, field};
use crate::saml::providers::Carried;

/// A connection to the provider of this process.
struct Line {
    id: String,
    start: String,
    us: ServiceProvider,
}

/// A sign-in that is at the provider.
struct Begun {
    asked: String,
    relay_state: String,
    cookie: String,
}

impl Line {
    async fn to(scene: &Scene) -> Self {
        let made = set_up(scene, &forge::metadata()).await;
        let text = |member: &str| made[member].as_str().unwrap().to_owned();
        let id = text("id");
        scene.patch(&id, json!({"enabled": true})).await.ok();
        Self {
            start: format!("/signin/{}/{id}", scene.tenant.door.store().id()),
            us: ServiceProvider {
                entity_id: text("sp_entity_id"),
                acs_url: text("sp_acs_url"),
            },
            id,
        }
    }

    async fn begin(&self, scene: &Scene) -> Begun {
        let (url, cookie) = scene.begin(&self.start).await;
        let packed = BASE64.decode(parameter(&url, "SAMLRequest").as_bytes());
        let request = decompress_to_vec(&packed.unwrap()).unwrap();
        let request = String::from_utf8(request).unwrap();
        Begun {
            asked: between(&request, " ID=\"", "\"").to_owned(),
            relay_state: parameter(&url, "RelayState"),
            cookie,
        }
    }

    /// A response on its way here.
    fn carried(&self, response: &str, relay_state: Option<&str>) -> Carried {
        Carried {
            action: self.us.acs_url.parse().unwrap(),
            response: response.to_owned(),
            relay_state: relay_state.map(str::to_owned),
        }
    }

    fn answer(&self, begun: &Begun) -> Draft {
        Draft::of("mia", &self.us, Some(&begun.asked))
    }
}

/// Two connections of an organization to one provider, and what the log says so far.
struct Field {
    scene: Scene,
    line: Line,
    other: Line,
    failed: Cell<usize>,
    entered: Cell<usize>,
}

impl Field {
    async fn of(database: Database) -> Self {
        let scene = Scene::set(database).await;
        Self {
            line: Line::to(&scene).await,
            other: Line::to(&scene).await,
            scene,
            failed: Cell::new(0),
            entered: Cell::new(0),
        }
    }

    async fn bring(&self, response: &str, begun: &Begun) -> Told {
        let carried = self.line.carried(response, Some(&begun.relay_state));
        carry(&self.scene.service, &carried, &begun.cookie).await
    }

    async fn unasked(&self, service: &Service, response: &str) -> Told {
        carry(service, &self.line.carried(response, None), "").await
    }

    /// The log has one more entry of the one that it should, and no other.
    async fn logged(&self) {
        let Scene { service, tenant } = &self.scene;
        let failed = entries(service, tenant, "user.login_failed").await;
        assert_eq!(failed.len(), self.failed.get());
        let entered = entries(service, tenant, "user.login").await;
        assert_eq!(entered.len(), self.entered.get());
    }

    async fn is_refused(&self, what: &str, told: Told, word: &str) {
        let text = page(told, 403);
        assert!(text.contains(word), "{what}: {text}");
        self.failed.set(self.failed.get() + 1);
        self.logged().await;
    }

    async fn is_taken(&self, told: &Told) {
        let cookie = session(told);
        let ask = self.scene.service.signed_in(&cookie, "GET", "/v1/session");
        let who = ask.send().await.ok();
        assert_eq!(who["user"]["id"], self.scene.tenant.member.to_string());
        self.entered.set(self.entered.get() + 1);
        self.logged().await;
    }
}

async fn an_answer_is_good_once_and_for_the_browser_that_asked(database: Database) {
    let field = Field::of(database).await;
    let (scene, line) = (&field.scene, &field.line);
    let gone = "used, has taken longer than ten minutes, or was begun in another browser";
    // Another browser's, or none's: then it is used up for the one that asked, too.
    for cookie in ["", "__Host-arrival=another"] {
        let begun = line.begin(scene).await;
        let answer = line.answer(&begun).field();
        let carried = line.carried(&answer, Some(&begun.relay_state));
        let told = carry(&scene.service, &carried, cookie).await;
        field.is_refused(cookie, told, gone).await;
        let told = field.bring(&answer, &begun).await;
        field.is_refused("late", told, gone).await;
    }
    let begun = line.begin(scene).await;
    let answer = line.answer(&begun).field();
    field.is_taken(&field.bring(&answer, &begun).await).await;
    let told = field.bring(&answer, &begun).await;
    field.is_refused("again", told, gone).await;
    let next = line.begin(scene).await;
    let told = field.bring(&answer, &next).await;
    field
        .is_refused("for the next sign-in", told, "in_response_to")
        .await;
    // Nor is it taken at another place, with that one's key or with its own.
    let begun = line.begin(scene).await;
    let answer = line.answer(&begun).field();
    let astray = field.other.carried(&answer, Some(&begun.relay_state));
    let told = carry(&scene.service, &astray, &begun.cookie).await;
    field.is_refused("astray", told, gone).await;
    let begun = field.other.begin(scene).await;
    let answer = line.answer(&begun).field();
    let astray = field.other.carried(&answer, Some(&begun.relay_state));
    let told = carry(&scene.service, &astray, &begun.cookie).await;
    field.is_refused("for another", told, "destination").await;
    sound(&scene.tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_good_once_and_for_the_browser_that_asked_on_sqlite() {
    an_answer_is_good_once_and_for_the_browser_that_asked(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_good_once_and_for_the_browser_that_asked_on_postgresql() {
    let server = postgres::start();
    let database = Database::Postgres(server.url());
    an_answer_is_good_once_and_for_the_browser_that_asked(database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_provider_did_not_say_signs_nobody_in() {
    let field = Field::of(Database::Sqlite).await;
    let (scene, line) = (&field.scene, &field.line);
    type Craft = fn(&Line, &Begun) -> String;
    let cases: [(&str, Craft); 8] = [
        ("signature", |line, begun| {
            let good = line.answer(begun).signed(Signer::Provider);
            good.replace("mia@example.com", "ada@example.com")
        }),
        ("signature", |line, begun| {
            line.answer(begun).signed(Signer::Stranger)
        }),
        ("unsigned", |line, begun| {
            line.answer(begun).signed(Signer::Nobody)
        }),
        ("markup", |line, begun| {
            let good = line.answer(begun).signed(Signer::Provider);
            good.replace("mia@example.com", "mia@example.com<!---->.evil.example")
        }),
        ("expired", |line, begun| {
            let age = TimeDelta::minutes(10);
            Draft::aged("mia", &line.us, Some(&begun.asked), age).signed(Signer::Provider)
        }),
        ("issuer", |line, begun| {
            let other = line
                .answer(begun)
                .with("https://idp.citadel", "https://idp.other");
            other.signed(Signer::Provider)
        }),
        ("audience", |line, begun| {
            let entity_id = &line.us.entity_id;
            let other = line
                .answer(begun)
                .with(entity_id, "https://another.example");
            other.signed(Signer::Provider)
        }),
        ("status", |line, begun| {
            let failed = line
                .answer(begun)
                .with("status:Success", "status:Responder");
            failed.signed(Signer::Provider)
        }),
    ];
    for (check, craft) in cases {
        let begun = line.begin(scene).await;
        let response = craft(line, &begun);
        let told = field.bring(&self::field(&response), &begun).await;
        field.is_refused(check, told, &format!("({check})")).await;
    }
    // Somebody whom the provider vouches for, and who is nobody here.
    for (user, word) in [("eve", "no member"), ("mia", "no domain")] {
        let begun = line.begin(scene).await;
        let answer = Draft::of(user, &line.us, Some(&begun.asked));
        let answer = match user {
            "mia" => answer.with("@example.com", "@elsewhere.example"),
            _ => answer,
        };
        let told = field.bring(&answer.field(), &begun).await;
        field.is_refused(user, told, word).await;
    }
    let begun = line.begin(scene).await;
    let answer = line.answer(&begun).field();
    field.is_taken(&field.bring(&answer, &begun).await).await;
    sound(&scene.tenant).await;
}

async fn a_sign_in_that_nobody_asked_for_is_taken_once_where_that_is_on(database: Database) {
    let field = Field::of(database).await;
    let (scene, line) = (&field.scene, &field.line);
    let service = &scene.service;
    let answer = Draft::of("mia", &line.us, None).field();
    let told = field.unasked(service, &answer).await;
    field
        .is_refused("off", told, "nobody has asked for this")
        .await;
    let on = json!({"idp_initiated": true});
    scene.patch(&line.id, on).await.ok();
    field.is_taken(&field.unasked(service, &answer).await).await;
    let used = "was used before";
    let told = field.unasked(service, &answer).await;
    field.is_refused("again", told, used).await;
    let elsewhere = service.beside().await;
    let told = field.unasked(&elsewhere, &answer).await;
    field.is_refused("at another node", told, used).await;
    // What answers a request is no answer that nobody has asked for, though its key is left out.
    let begun = line.begin(scene).await;
    let asked = line.answer(&begun).field();
    let told = field.unasked(service, &asked).await;
    field
        .is_refused("without its key", told, "in_response_to")
        .await;
    // Nor does it do for a sign-in that was asked for.
    let fresh = Draft::of("mia", &line.us, None).field();
    let told = field.bring(&fresh, &begun).await;
    field.is_refused("instead", told, "in_response_to").await;
    // Brought to two nodes at once, it begins one session.
    let (here, there) = tokio::join!(
        field.unasked(service, &fresh),
        field.unasked(&elsewhere, &fresh)
    );
    let (taken, left) = match here.status {
        303 => (here, there),
        _ => (there, here),
    };
    assert_eq!(taken.status, 303, "{}", page(left, 403));
    field.failed.set(field.failed.get() + 1);
    field.is_taken(&taken).await;
    let left = page(left, 403);
    assert!(left.contains(used), "{left}");
    // Off again, nothing of it is left.
    let off = json!({"idp_initiated": false});
    scene.patch(&line.id, off).await.ok();
    let last = Draft::of("mia", &line.us, None).field();
    let told = field.unasked(service, &last).await;
    field
        .is_refused("off again", told, "nobody has asked for this")
        .await;
    sound(&scene.tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_nobody_asked_for_is_taken_once_where_that_is_on_on_sqlite() {
    a_sign_in_that_nobody_asked_for_is_taken_once_where_that_is_on(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_nobody_asked_for_is_taken_once_where_that_is_on_on_postgresql() {
    let server = postgres::start();
    let database = Database::Postgres(server.url());
    a_sign_in_that_nobody_asked_for_is_taken_once_where_that_is_on(database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_switched_off_or_gone_takes_nothing() {
    let field = Field::of(Database::Sqlite).await;
    let (scene, line) = (&field.scene, &field.line);
    let begun = line.begin(scene).await;
    let off = json!({"enabled": false});
    scene.patch(&line.id, off).await.ok();
    let told = field.bring(&line.answer(&begun).field(), &begun).await;
    field.is_refused("off", told, "not in use").await;
    let begun = field.other.begin(scene).await;
    let answer = field.other.answer(&begun).field();
    let place = format!("/v1/sso/connections/{}", field.other.id);
    let gone = scene
        .service
        .delete(&scene.tenant, scene.tenant.admin, &place)
        .await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    let carried = field.other.carried(&answer, Some(&begun.relay_state));
    page(carry(&scene.service, &carried, &begun.cookie).await, 404);
    field.logged().await;
}
