//! Invitations over HTTP: a link lets one person in, once, for seven days, and whatever else is tried with it does not.

use cedarkeep::authn::token::{Token, Use};
use cedarkeep::config::Database;
use cedarkeep::crypto;
use cedarkeep::decide::{audit, upkeep};
use cedarkeep::directory::change::{Change, RowId};
use cedarkeep::directory::object::{Invitation, Role, Scope};
use cedarkeep::directory::{Body, Kind, Object, Ref, organization};
use cedarkeep::log::Event;
use chrono::{Duration, Utc};
use serde_json::{Value, json};
use sqlx::Row as _;

use super::harness::{Service, Tenant, Told, key};
use super::keeping::every_entry;
use super::restore::Backup;
use crate::harness::postgres;

const PLACE: &str = "/v1/invitations";

async fn invited(service: &Service, tenant: &Tenant, email: &str) -> (String, String) {
    let body = json!({"email": email, "name": "Zoe", "role": "Member"});
    let told = service.post(tenant, tenant.admin, PLACE, body).await;
    let token = token(&told.body);
    (told.id(), token)
}

/// The token of the link in an answer.
fn token(body: &Value) -> String {
    let link = body["link"].as_str().unwrap_or_else(|| panic!("{body}"));
    let token = link.strip_prefix("https://127.0.0.1:8443/join/").unwrap();
    token.to_owned()
}

async fn accepted(service: &Service, token: &str) -> Told {
    service
        .ask("POST", "/v1/invitations/accept")
        .body(&json!({"token": token}))
        .send()
        .await
}

/// That a link is refused, and in which words: the same ones whatever is wrong with it.
async fn is_refused(service: &Service, token: &str) {
    let told = accepted(service, token).await;
    assert_eq!(
        told.is_problem(403),
        "this link is not valid, or not any more: ask for another"
    );
    assert_eq!(told.body["code"], "bad_link");
    assert!(!told.headers.contains_key("www-authenticate"));
}

async fn events(tenant: &Tenant) -> Vec<Event> {
    let entries = every_entry(&tenant.door).await;
    entries.iter().map(|entry| entry.event).collect()
}

async fn count(tenant: &Tenant, event: Event) -> usize {
    events(tenant)
        .await
        .iter()
        .filter(|one| **one == event)
        .count()
}

/// An invitation whose time is over, past everything that would not make one.
async fn put_expired(tenant: &Tenant, email: &str) -> (Ref, String) {
    let id = crypto::random().unwrap();
    let reference = Ref::new(Kind::Invitation, id);
    let link = Token::mint(
        Use::Invitation,
        tenant.org.id,
        id,
        crypto::random().unwrap(),
    );
    let invitation = Invitation {
        email: email.into(),
        name: Some("Zoe".into()),
        role: Role::Member,
        invited_by: Some(tenant.admin),
        digest: link.stored(),
        sent_at: Utc::now() - Duration::days(7) - Duration::seconds(1),
        expires_at: Utc::now() - Duration::seconds(1),
        expired: false,
    };
    tenant
        .door
        .operate(move |_, _| {
            let body = Body::Object(Object::Invitation(invitation.clone()));
            Ok(
                Change::new(Event::MemberInvited, Some(reference), json!({}))
                    .put(RowId::Object(reference), body),
            )
        })
        .await
        .unwrap();
    (reference, link.expose().to_owned())
}

async fn an_invited_person_joins(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let body = json!({"email": "Zoe@Example.com", "role": "Viewer"});
    let told = service.post(&tenant, tenant.admin, PLACE, body).await;
    assert_eq!(told.headers["cache-control"], "no-store");
    assert_eq!(
        (&told.body["delivery"], &told.body["status"]),
        (&json!("link"), &json!("open"))
    );
    let token = token(&told.body);
    let id = told.id();
    let place = format!("{PLACE}/{id}");
    // The link is told once.
    let read = service.get(&tenant, tenant.admin, &place).await.ok();
    assert_eq!(
        (&read["email"], &read["role"], &read["invited_by"]),
        (
            &json!("zoe@example.com"),
            &json!("Viewer"),
            &json!(tenant.admin)
        )
    );
    let days = |name: &str| {
        read[name]
            .as_str()
            .unwrap()
            .parse::<chrono::DateTime<Utc>>()
            .unwrap()
    };
    assert_eq!(days("expires_at") - days("sent_at"), Duration::days(7));
    let list = service.get(&tenant, tenant.admin, PLACE).await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert!(!format!("{read}{list}").contains("ckl_"));
    // A GET consumes nothing.
    service.ask("GET", &format!("/join/{token}")).send().await;
    // The invitation has no name, so whoever joins says it.
    assert!(
        accepted(&service, &token)
            .await
            .is_problem(400)
            .contains("`name`")
    );
    let joined = service
        .ask("POST", "/v1/invitations/accept")
        .body(&json!({"token": token, "name": "Zoe"}))
        .send()
        .await;
    assert_eq!(joined.headers["cache-control"], "no-store");
    assert_eq!(
        (
            &joined.body["email"],
            &joined.body["role"],
            &joined.body["active"]
        ),
        (&json!("zoe@example.com"), &json!("Viewer"), &json!(true))
    );
    let zoe = joined.id();
    let place = format!("/v1/users/{zoe}");
    assert_eq!(
        service.get(&tenant, tenant.viewer, &place).await.ok()["name"],
        "Zoe"
    );
    // Used up.
    is_refused(&service, &token).await;
    let list = service.get(&tenant, tenant.admin, PLACE).await.ok();
    assert_eq!(list["items"], json!([]));
    let all = events(&tenant).await;
    let of = |event| all.iter().rposition(|one| *one == event).unwrap();
    assert!(of(Event::MemberInvited) < of(Event::MemberJoined));
    assert!(of(Event::MemberJoined) < of(Event::UserLoginFailed));
    // Neither token nor digest is in the log.
    let shown = audit::entries(tenant.door.store(), 0, usize::MAX)
        .await
        .unwrap();
    let text: String = shown.iter().map(|shown| shown.line().to_string()).collect();
    let digest = Token::parse(Use::Invitation, &token).unwrap().stored();
    assert!(text.contains("zoe@example.com"));
    assert!(!text.contains(&token) && !text.contains(&digest) && !text.contains("ckl_"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invited_person_joins_on_sqlite() {
    an_invited_person_joins(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invited_person_joins_on_postgresql() {
    let server = postgres::start();
    an_invited_person_joins(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_link_is_refused_alike_and_recorded_as_what_it_is() {
    let service = Service::open().await;
    let (tenant, other) = (service.tenant("acme").await, service.tenant("other").await);
    let (id, first) = invited(&service, &tenant, "zoe@example.com").await;
    let place = format!("{PLACE}/{id}");
    // Sent again: the old one is dead.
    let told = service.by(&tenant, tenant.admin, "POST", &format!("{place}/resend"));
    let told = told.send().await;
    assert_eq!(told.headers["cache-control"], "no-store");
    let second = token(&told.ok());
    assert_ne!(first, second);
    is_refused(&service, &first).await;
    // Revoked.
    assert_eq!(
        service.delete(&tenant, tenant.admin, &place).await.status,
        204
    );
    is_refused(&service, &second).await;
    service
        .delete(&tenant, tenant.admin, &place)
        .await
        .is_problem(404);
    // Expired.
    let (_, expired) = put_expired(&tenant, "late@example.com").await;
    is_refused(&service, &expired).await;
    // The same identifiers with a secret of somebody's own, and of another organization.
    let (_, token) = invited(&service, &tenant, "ian@example.com").await;
    let right = Token::parse(Use::Invitation, &token).unwrap();
    let guessed = Token::mint(Use::Invitation, right.tenant(), right.id(), [7; 32]);
    is_refused(&service, guessed.expose()).await;
    let elsewhere = Token::mint(Use::Invitation, other.org.id, right.id(), [7; 32]);
    is_refused(&service, elsewhere.expose()).await;
    let nowhere = Token::mint(Use::Invitation, [9; 16], right.id(), [7; 32]);
    is_refused(&service, nowhere.expose()).await;
    let of_another_kind = Token::mint(Use::Link, right.tenant(), right.id(), [7; 32]);
    is_refused(&service, of_another_kind.expose()).await;
    for none in [
        "",
        "x",
        &token[1..],
        &format!("{token} "),
        &token.to_uppercase(),
    ] {
        is_refused(&service, none).await;
    }
    let whys = async |tenant: &Tenant| -> Vec<String> {
        let entries = every_entry(&tenant.door).await;
        let failed = entries
            .iter()
            .filter(|one| one.event == Event::UserLoginFailed);
        failed
            .map(|one| format!("{:?} {:?}", one.caller, one.outcome))
            .collect()
    };
    let said = [
        "WrongCredential",
        "UnknownCredential",
        "Expired",
        "WrongCredential",
    ];
    let said = said.map(|why| format!("Unrecognised Failed({why})"));
    assert_eq!(whys(&tenant).await, said);
    assert_eq!(
        whys(&other).await,
        ["Unrecognised Failed(UnknownCredential)"]
    );
    // A control: the right one still opens.
    accepted(&service, &token).await.id();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_organization_lets_nobody_in() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let (_, token) = invited(&service, &tenant, "zoe@example.com").await;
    tenant.door.operate(organization::suspend).await.unwrap();
    is_refused(&service, &token).await;
    tenant.door.operate(organization::resume).await.unwrap();
    accepted(&service, &token).await.id();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_come_with_one_link_one_is_let_in() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    for round in 0..5 {
        let (_, token) = invited(&service, &tenant, &format!("zoe{round}@example.com")).await;
        let all = (0..4).map(|_| accepted(&service, &token));
        let all = futures_util::future::join_all(all).await;
        let mut told: Vec<u16> = all.iter().map(|told| told.status).collect();
        told.sort_unstable();
        assert_eq!(told, [201, 403, 403, 403]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_a_moment_ago_counts_on_another_node() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let beside = service.beside().await;
    let (id, first) = invited(&service, &tenant, "zoe@example.com").await;
    // The other node knows the first link when the second is sent here.
    is_refused(
        &beside,
        Token::mint(Use::Invitation, tenant.org.id, [1; 16], [1; 32]).expose(),
    )
    .await;
    let again = service.by(
        &tenant,
        tenant.admin,
        "POST",
        &format!("{PLACE}/{id}/resend"),
    );
    let second = token(&again.send().await.ok());
    accepted(&beside, &second).await.id();
    is_refused(&service, &first).await;
    is_refused(&service, &second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_invite_does_not_and_who_is_there_is_not_invited() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let body = json!({"email": "zoe@example.com", "role": "Member"});
    for user in [tenant.member, tenant.viewer] {
        service
            .post(&tenant, user, PLACE, body.clone())
            .await
            .is_problem(403);
        let list = service.get(&tenant, user, PLACE).await.ok();
        assert_eq!(list["items"], json!([]));
    }
    let (id, _) = invited(&service, &tenant, "zoe@example.com").await;
    let again = service
        .post(&tenant, tenant.admin, PLACE, body.clone())
        .await;
    assert!(again.is_problem(409).contains(&id));
    let member = json!({"email": "MIA@example.com", "role": "Member"});
    service
        .post(&tenant, tenant.admin, PLACE, member)
        .await
        .is_problem(409);
    for (wrong, named) in [
        (json!({"email": "zoe", "role": "Member"}), "`email`"),
        (
            json!({"email": "z@example.com\r\nBcc: eve@example.com", "role": "Member"}),
            "`email`",
        ),
        (json!({"email": "z@example.com", "role": "God"}), "`role`"),
        (json!({"email": "z@example.com"}), "`role`"),
        (
            json!({"email": "z@example.com", "role": "Member", "name": "a\r\nBcc: x"}),
            "`name`",
        ),
        (
            json!({"email": "z@example.com", "role": "Member", "link": "x"}),
            "`link`",
        ),
    ] {
        let told = service.post(&tenant, tenant.admin, PLACE, wrong).await;
        assert!(told.is_problem(400).contains(named));
    }
    for place in [PLACE.to_owned(), format!("{PLACE}/{id}/resend")] {
        let told = service
            .by(&tenant, tenant.admin, "POST", &place)
            .header("idempotency-key", "once")
            .body(&body)
            .send()
            .await;
        assert!(told.is_problem(400).contains("Idempotency-Key"));
    }
    // For a member it is not there.
    let place = format!("{PLACE}/{id}");
    service
        .get(&tenant, tenant.member, &place)
        .await
        .is_problem(404);
    service
        .delete(&tenant, tenant.member, &place)
        .await
        .is_problem(404);
    // A directory that provisions may invite in nobody's name, and no more than that.
    let provisions = key(&tenant.door, &[Scope::Provision]).await;
    let ian = json!({"email": "ian@example.com", "role": "Viewer"});
    let told = service
        .ask("POST", PLACE)
        .key(&provisions)
        .body(&ian)
        .send()
        .await;
    assert_eq!(told.body["invited_by"], Value::Null);
    told.id();
    // Whoever has the link is signed in: nobody's key makes itself an Admin.
    let eve = json!({"email": "eve@example.com", "role": "Admin"});
    let by_it = |path: String| service.ask("POST", &path).key(&provisions);
    by_it(PLACE.into()).body(&eve).send().await.is_problem(400);
    let eve = service.post(&tenant, tenant.admin, PLACE, eve).await.id();
    let again = by_it(format!("{PLACE}/{eve}/resend")).send().await;
    again.is_problem(403);
    service
        .ask("DELETE", &place)
        .key(&provisions)
        .send()
        .await
        .is_problem(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_with_wrong_links_too_often_must_wait() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let (_, token) = invited(&service, &tenant, "zoe@example.com").await;
    for _ in 0..30 {
        is_refused(&service, &token[1..]).await;
    }
    let right = Token::parse(Use::Invitation, &token).unwrap();
    let guessed = Token::mint(Use::Invitation, right.tenant(), right.id(), [7; 32]);
    for wrong in [&token[1..], guessed.expose()] {
        let told = accepted(&service, wrong).await;
        told.is_problem(429);
        assert!(told.headers.contains_key("retry-after"));
    }
    assert_eq!(count(&tenant, Event::UserLoginFailed).await, 0);
    // Nobody keeps out whom the link is for.
    accepted(&service, &token).await.id();
}

async fn an_expired_invitation_is_told_of_and_sent_again(database: Database) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    let (id, expired) = put_expired(&tenant, "zoe@example.com").await;
    let (_, fresh) = invited(&service, &tenant, "ian@example.com").await;
    for _ in 0..2 {
        upkeep::round(&tenant.door, Utc::now(), true).await.unwrap();
    }
    assert_eq!(count(&tenant, Event::MemberInvitationExpired).await, 1);
    let place = format!("{PLACE}/{id}");
    let read = service.get(&tenant, tenant.admin, &place).await.ok();
    assert_eq!(read["status"], "expired");
    is_refused(&service, &expired).await;
    let again = service.by(&tenant, tenant.admin, "POST", &format!("{place}/resend"));
    let again = again.send().await.ok();
    assert_eq!(again["status"], "open");
    is_refused(&service, &expired).await;
    accepted(&service, &token(&again)).await.id();
    accepted(&service, &fresh).await.id();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_invitation_is_told_of_and_sent_again_on_sqlite() {
    an_expired_invitation_is_told_of_and_sent_again(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_invitation_is_told_of_and_sent_again_on_postgresql() {
    let server = postgres::start();
    let url = Database::Postgres(server.url());
    an_expired_invitation_is_told_of_and_sent_again(url).await;
}

/// What the state's rows of every invitation hold, past and present.
async fn rows(service: &Service, tenant: &Tenant) -> Vec<String> {
    rows_of(service, tenant, "inv_").await
}

/// What the state's rows hold, past and present, of everything whose identifier begins so.
pub async fn rows_of(service: &Service, tenant: &Tenant, prefix: &str) -> Vec<String> {
    let mut database = service.database(tenant).await;
    let sql = "SELECT id, from_index, body FROM state WHERE SUBSTR(id, 1, 4) = $1";
    let rows = sqlx::query(sql)
        .bind(prefix)
        .fetch_all(&mut database)
        .await
        .unwrap();
    let mut found = Vec::new();
    for row in rows {
        let (id, from): (String, i64) = (row.get("id"), row.get("from_index"));
        let index = u64::try_from(from).unwrap();
        let keys = tenant.door.store().keys().at(index);
        let text = keys.open_value("state", "body", &id, index, row.get("body"));
        found.push(String::from_utf8(text.unwrap().to_vec()).unwrap());
    }
    found
}

async fn who_is_erased_leaves_no_address_behind(database: Database) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    // One that was revoked, one that was sent twice and taken up, and one of somebody else.
    let (revoked, _) = invited(&service, &tenant, "zoe@example.com").await;
    let place = format!("{PLACE}/{revoked}");
    assert_eq!(
        service.delete(&tenant, tenant.admin, &place).await.status,
        204
    );
    let (id, _) = invited(&service, &tenant, "zoe@example.com").await;
    let again = service.by(
        &tenant,
        tenant.admin,
        "POST",
        &format!("{PLACE}/{id}/resend"),
    );
    let token = token(&again.send().await.ok());
    let zoe = accepted(&service, &token).await.id();
    invited(&service, &tenant, "ian@example.com").await;
    let with = |rows: &[String], what: &str| rows.iter().filter(|row| row.contains(what)).count();
    let before = rows(&service, &tenant).await;
    assert_eq!((with(&before, "zoe@"), with(&before, "ian@")), (3, 1));
    let path = format!("/v1/users/{zoe}/erasure");
    let told = service
        .by(&tenant, tenant.admin, "POST", &path)
        .send()
        .await;
    assert_eq!(told.ok()["erasing"], true);
    let after = rows(&service, &tenant).await;
    assert_eq!(
        (
            with(&after, "zoe@"),
            with(&after, "Zoe"),
            with(&after, "[erased]"),
            with(&after, "ian@")
        ),
        (0, 1, 3, 1)
    );
    for _ in 0..3 {
        upkeep::round(&tenant.door, Utc::now(), false)
            .await
            .unwrap();
    }
    let shown = audit::entries(tenant.door.store(), 0, usize::MAX)
        .await
        .unwrap();
    let text: String = shown.iter().map(|shown| shown.line().to_string()).collect();
    assert!(!text.contains("zoe@example.com"));
    assert!(text.contains("ian@example.com"));
    let erased = every_entry(&tenant.door).await;
    let erased: Vec<String> = erased
        .iter()
        .filter(|entry| entry.event == Event::DataErased)
        .map(|entry| entry.resource.as_ref().unwrap().id.as_str().to_owned())
        .collect();
    assert_eq!(erased.len(), 3, "{erased:?}");
    assert!(erased.contains(&zoe) && erased.contains(&id) && erased.contains(&revoked));
    // Who was erased may come again.
    invited(&service, &tenant, "zoe@example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_leaves_no_address_behind_on_sqlite() {
    who_is_erased_leaves_no_address_behind(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_leaves_no_address_behind_on_postgresql() {
    let server = postgres::start();
    who_is_erased_leaves_no_address_behind(Database::Postgres(server.url())).await;
}

/// A backup of when somebody was invited knows nothing of the person that they became.
async fn who_is_erased_is_not_brought_back_by_an_older_backup(database: Database) {
    let service = Service::still(database).await;
    let mut tenant = service.tenant("acme").await;
    let (revoked, _) = invited(&service, &tenant, "zoe@example.com").await;
    let place = format!("{PLACE}/{revoked}");
    service.delete(&tenant, tenant.admin, &place).await;
    let (_, token) = invited(&service, &tenant, "zoe@example.com").await;
    invited(&service, &tenant, "ian@example.com").await;
    let id = tenant.door.store().id();
    tenant.door.close().await;
    let backup = Backup::take(&service, &tenant).await;
    tenant.door = service.app().door(id).await.unwrap();
    let zoe = accepted(&service, &token).await.id();
    let path = format!("/v1/users/{zoe}/erasure");
    let told = service
        .by(&tenant, tenant.admin, "POST", &path)
        .send()
        .await;
    assert_eq!(told.ok()["erasing"], true);
    for _ in 0..3 {
        upkeep::round(&tenant.door, Utc::now(), false)
            .await
            .unwrap();
    }
    tenant.door.close().await;
    backup.put_back(&service, &tenant).await;
    service.app().restored(id, |_, _| {}).await.unwrap();
    tenant.door = service.app().door(id).await.unwrap();
    let with = |rows: &[String], what: &str| rows.iter().filter(|row| row.contains(what)).count();
    let after = rows(&service, &tenant).await;
    assert_eq!((with(&after, "zoe@"), with(&after, "ian@")), (0, 1));
    let shown = audit::entries(tenant.door.store(), 0, usize::MAX)
        .await
        .unwrap();
    let text: String = shown.iter().map(|shown| shown.line().to_string()).collect();
    assert!(!text.contains("zoe@example.com") && text.contains("ian@example.com"));
    is_refused(&service, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_is_not_brought_back_by_an_older_backup_on_sqlite() {
    who_is_erased_is_not_brought_back_by_an_older_backup(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_is_not_brought_back_by_an_older_backup_on_postgresql() {
    let server = postgres::start();
    let url = Database::Postgres(server.url());
    who_is_erased_is_not_brought_back_by_an_older_backup(url).await;
}
