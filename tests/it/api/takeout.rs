//! Data handed out: a person's own and nobody else's, an organization's without what is private, and with it once two Admins want it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, Stdio};

use cedarkeep::config::Database;
use cedarkeep::directory::Ref;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::content::{bytes, events};
use super::harness::{Service, Tenant, Told};
use crate::harness::postgres;

/// The files of a tar.
fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        assert!(files.insert(path, bytes).is_none());
    }
    assert!(files.contains_key("end.json"), "{:?}", files.keys());
    files
}

/// Every content of an export, by resource and version.
fn contents(files: &BTreeMap<String, Vec<u8>>) -> Vec<Vec<u8>> {
    let is_content = |path: &str| path.starts_with("content/") && !path.ends_with(".json");
    let found = files.iter().filter(|(path, _)| is_content(path));
    found.map(|(_, bytes)| bytes.clone()).collect()
}

fn lines(files: &BTreeMap<String, Vec<u8>>, folder: &str) -> Vec<Value> {
    let fits = files.iter().filter(|(path, _)| path.starts_with(folder));
    fits.flat_map(|(_, bytes)| {
        let text = std::str::from_utf8(bytes).unwrap();
        let each = text.lines().map(|line| serde_json::from_str(line).unwrap());
        each.collect::<Vec<Value>>()
    })
    .collect()
}

struct Place {
    service: Service,
    tenant: Tenant,
    second: Ref,
}

impl Place {
    async fn new(database: Database) -> Self {
        let service = Service::on(database).await;
        let tenant = service.tenant("acme").await;
        let body = json!({"name": "Sam", "email": "sam@example.com", "role": "Admin"});
        let second = service
            .post(&tenant, tenant.admin, "/v1/users", body)
            .await
            .id();
        Self {
            second: second.parse().unwrap(),
            service,
            tenant,
        }
    }

    async fn put(&self, user: Ref, place: &str, content: &[u8]) {
        let ask = self.service.by(&self.tenant, user, "PUT", place);
        ask.content("text/plain", content.to_vec())
            .send()
            .await
            .ok();
    }

    async fn made(&self, user: Ref, what: &str, body: Value, content: &[u8]) -> String {
        let path = format!("/v1/{what}");
        let id = self
            .service
            .post(&self.tenant, user, &path, body)
            .await
            .id();
        self.put(user, &format!("{path}/{id}/content"), content)
            .await;
        id
    }

    /// Something private and something open of the member's, a long one among them, and something of the Admin's.
    async fn fill(&self) {
        let member = self.tenant.member;
        let everybody = self.tenant.everybody;
        let open = json!({"name": "Open", "audience": everybody});
        let id = self
            .made(member, "documents", open.clone(), b"an open one")
            .await;
        self.put(
            member,
            &format!("/v1/documents/{id}/content"),
            &bytes(200_000),
        )
        .await;
        self.made(
            member,
            "documents",
            json!({"name": "Secret plans"}),
            b"a private one",
        )
        .await;
        let own = json!({"name": "Me", "layer": "personal"});
        self.made(member, "memory", own, b"a personal one").await;
        self.made(self.tenant.admin, "tools", open, b"the admin's")
            .await;
        let thread = json!({"name": "Talk", "audience": everybody});
        let thread = self
            .service
            .post(&self.tenant, member, "/v1/threads", thread)
            .await
            .id();
        let place = format!("/v1/threads/{thread}/messages");
        let say = self.service.by(&self.tenant, member, "POST", &place);
        say.content("text/plain", "a message").send().await.id();
        let nothing = "tol_aaaaaaaaaaaaaaaaaaaaaaaaaa";
        let ask = json!({"resource": nothing, "level": "viewer", "reason": "Secret wishes"});
        let ask = self
            .service
            .post(&self.tenant, member, "/v1/access-requests", ask);
        ask.await.waits();
        let token = json!({"name": "Mail", "provider": "imap"});
        let token = self
            .service
            .post(&self.tenant, self.tenant.admin, "/v1/integrations", token);
        let token = format!("/v1/integrations/{}/token", token.await.id());
        self.put(self.tenant.admin, &token, b"a token").await;
    }

    async fn export(&self, user: Ref, query: &str) -> Told {
        let path = format!("/v1/organization/export{query}");
        self.service.get(&self.tenant, user, &path).await
    }

    async fn asks(&self, user: Ref, method: &str, path: &str) -> Told {
        let path = format!("/v1/organization/private-export{path}");
        self.service
            .by(&self.tenant, user, method, &path)
            .send()
            .await
    }
}

fn holds(files: &BTreeMap<String, Vec<u8>>, content: &[u8]) -> bool {
    contents(files).iter().any(|one| one == content)
}

async fn a_person_takes_what_is_theirs(database: Database) {
    let place = Place::new(database).await;
    place.fill().await;
    let (service, tenant) = (&place.service, &place.tenant);
    let path = format!("/v1/users/{}/export", tenant.member);
    let told = service.get(tenant, tenant.member, &path).await;
    assert_eq!(
        (told.status, told.headers["content-type"].to_str().unwrap()),
        (200, "application/x-tar")
    );
    assert_eq!(told.headers["content-usage"], "train-ai=n");
    let found = files(&told.bytes);
    for content in [
        &b"an open one"[..],
        &bytes(200_000),
        b"a private one",
        b"a personal one",
        b"a message",
    ] {
        assert!(holds(&found, content));
    }
    assert!(!holds(&found, b"the admin's") && !holds(&found, b"a token"));
    let end: Value = serde_json::from_slice(&found["end.json"]).unwrap();
    assert_eq!(end["contents"], contents(&found).len());
    let people: Vec<_> = lines(&found, "objects/")
        .into_iter()
        .filter(|one| one["type"] == "User")
        .collect();
    assert_eq!(people.len(), 1);
    assert_eq!(people[0]["id"], json!(tenant.member));
    let asked = lines(&found, "objects/").into_iter();
    let asked: Vec<_> = asked.filter(|one| one["type"] == "AccessRequest").collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["reason"], "Secret wishes");
    let log = lines(&found, "log/");
    assert!(log.len() > 10, "{}", log.len());
    assert!(
        log.iter()
            .all(|entry| entry.to_string().contains(&tenant.member.to_string()))
    );
    // It is nobody else's to take, an Admin's neither, and an agent's not even with its user.
    for user in [tenant.admin, tenant.viewer] {
        let told = service.get(tenant, user, &path).await;
        assert!([403, 404].contains(&told.status), "{}", told.status);
    }
    // A Viewer takes theirs.
    let path = format!("/v1/users/{}/export", tenant.viewer);
    files(&service.get(tenant, tenant.viewer, &path).await.bytes);
    assert_eq!(events(service, tenant, "data.exported").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_takes_what_is_theirs_on_sqlite() {
    a_person_takes_what_is_theirs(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_takes_what_is_theirs_on_postgresql() {
    let server = postgres::start();
    a_person_takes_what_is_theirs(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_where_others_came_is_in_nobody_elses_export() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let path = format!("/v1/users/{}", tenant.viewer);
    let role = json!({"role": "Member"});
    service.patch(&tenant, tenant.admin, &path, role).await.ok();
    let path = format!("{path}/export");
    let told = service.get(&tenant, tenant.viewer, &path).await;
    let log = lines(&files(&told.bytes), "log/");
    let parts = ["client", "request", "policies"];
    let holds = |entry: &Value| parts.into_iter().any(|part| entry.get(part).is_some());
    let by = |user: Ref| {
        let is_by = move |entry: &&Value| entry["leaf"]["actor"]["id"] == json!(user);
        log.iter().filter(is_by).collect::<Vec<_>>()
    };
    let (own, others) = (by(tenant.viewer), by(tenant.admin));
    assert!(!own.is_empty() && own.iter().any(|entry| holds(entry)));
    assert!(
        !others.is_empty() && !others.iter().any(|entry| holds(entry)),
        "{others:?}"
    );
    // What was done to them is there.
    let is_said = |entry: &&Value| entry["details"].to_string().contains("Member");
    assert!(others.iter().any(is_said), "{others:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_private_is_handed_out_once_two_admins_want_it() {
    let place = Place::new(Database::Sqlite).await;
    place.fill().await;
    let (admin, second, member) = (place.tenant.admin, place.second, place.tenant.member);
    for user in [member, place.tenant.viewer] {
        place.export(user, "").await.is_problem(403);
        place.asks(user, "POST", "").await.is_problem(403);
        place.asks(user, "POST", "/approval").await.is_problem(403);
    }
    let found = files(&place.export(admin, "").await.bytes);
    assert!(
        holds(&found, b"an open one")
            && holds(&found, b"the admin's")
            && holds(&found, b"a message")
    );
    for private in [&b"a private one"[..], b"a personal one", b"a token"] {
        assert!(!holds(&found, private));
    }
    let all = found.values().flatten().copied().collect::<Vec<u8>>();
    for private in ["Secret plans", "Secret wishes"] {
        assert!(!String::from_utf8_lossy(&all).contains(private));
    }

    // Nobody approves what nobody asked for, and nobody their own.
    place.asks(admin, "POST", "/approval").await.is_problem(409);
    place.export(admin, "?private=true").await.is_problem(403);
    let asked = place.asks(admin, "POST", "").await.ok();
    assert_eq!(asked["private_export"]["requested_by"], json!(admin));
    place.asks(second, "POST", "").await.is_problem(409);
    place.asks(admin, "POST", "/approval").await.is_problem(400);
    place.export(admin, "?private=true").await.is_problem(403);
    place.asks(second, "POST", "/approval").await.ok();
    for user in [admin, second] {
        let found = files(&place.export(user, "?private=true").await.bytes);
        for content in [&b"a private one"[..], b"a personal one", b"an open one"] {
            assert!(holds(&found, content));
        }
        assert!(!holds(&found, b"a token"));
    }
    let (service, tenant) = (&place.service, &place.tenant);
    let exported = events(service, tenant, "data.exported").await;
    assert_eq!(exported.len(), 3);
    let details = &exported[0]["details"];
    assert_eq!(
        (&details["private"], &details["approved_by"]),
        (&json!(true), &json!(second))
    );
    assert_eq!(exported[2]["details"]["private"], false);
    assert_eq!(
        events(service, tenant, "data.export_requested").await.len(),
        1
    );
    assert_eq!(
        events(service, tenant, "data.export_approved").await.len(),
        1
    );
    // Whoever is no Admin any more has approved nothing.
    let role = json!({"role": "Member"});
    service
        .patch(tenant, admin, &format!("/v1/users/{second}"), role)
        .await
        .ok();
    place.export(admin, "?private=true").await.is_problem(403);
    place.asks(admin, "DELETE", "").await.ok();
    place.asks(admin, "DELETE", "").await.is_problem(409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_private_goes_out_no_longer_than_two_admins_want_it() {
    let place = Place::new(Database::Sqlite).await;
    let (admin, second, member) = (place.tenant.admin, place.second, place.tenant.member);
    let (service, tenant) = (&place.service, &place.tenant);
    // More than waits for a slow reader, in one piece.
    let long = json!({"name": "Long"});
    place.made(member, "documents", long, &bytes(8 << 20)).await;
    let role = async |role: &str| {
        let path = format!("/v1/users/{second}");
        let role = json!({"role": role});
        service.patch(tenant, admin, &path, role).await.ok();
    };
    for demoted in [false, true] {
        place.asks(admin, "POST", "").await.ok();
        place.asks(second, "POST", "/approval").await.ok();
        let path = "/v1/organization/export?private=true";
        let export = service.by(tenant, admin, "GET", path);
        let (status, mut chunks) = export.stream().await;
        assert_eq!(status, 200);
        chunks.next().await.unwrap().unwrap();
        if demoted {
            role("Member").await;
        } else {
            place.asks(admin, "DELETE", "").await.ok();
        }
        let (mut sent, mut is_whole) = (0, true);
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => sent += chunk.len(),
                Err(_) => is_whole = false,
            }
        }
        assert!(!is_whole && sent < 4 << 20, "{sent}");
    }
    // What an export of everybody's holds is nothing of that.
    role("Admin").await;
    place.asks(admin, "DELETE", "").await.ok();
    files(&place.export(admin, "").await.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sealed_for_a_receiver_opens_with_their_identity_alone() {
    let place = Place::new(Database::Sqlite).await;
    place.fill().await;
    let dir = tempfile::tempdir().unwrap();
    let identity = dir.path().join("identity");
    let made = Command::new("age-keygen")
        .arg("-o")
        .arg(&identity)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = std::fs::read_to_string(&identity).unwrap();
    let recipient = text
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "))
        .unwrap();
    let told = place
        .export(place.tenant.admin, &format!("?recipient={recipient}"))
        .await;
    assert_eq!(told.headers["content-type"], "application/octet-stream");
    assert!(told.bytes.starts_with(b"age-encryption.org/v1"));
    let sealed = dir.path().join("export.tar.age");
    std::fs::write(&sealed, &told.bytes).unwrap();
    let open = || {
        let mut age = Command::new("age");
        age.arg("-d").arg("-i").arg(&identity).arg(&sealed);
        age.stderr(Stdio::inherit()).output().unwrap()
    };
    let opened = open();
    assert!(opened.status.success());
    assert!(holds(&files(&opened.stdout), b"an open one"));
    // Cut, it does not open as if it were whole.
    std::fs::write(&sealed, &told.bytes[..told.bytes.len() - 1]).unwrap();
    let cut = open();
    assert!(!cut.status.success());
    let secret = text.lines().last().unwrap().to_owned();
    for wrong in ["nobody", "age1qqqq", &secret] {
        let told = place
            .export(place.tenant.admin, &format!("?recipient={wrong}"))
            .await;
        assert!(!told.is_problem(400).contains(wrong));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_where_somebody_came_is_in_their_own_export_alone() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    service.sign_in(&tenant, tenant.member).await;
    service.sign_in(&tenant, tenant.viewer).await;
    let held = async |user: Ref, path: &str| {
        let told = service.get(&tenant, user, path).await;
        assert_eq!(told.status, 200, "{}", told.body);
        let all = lines(&files(&told.bytes), "objects");
        let sessions = all.into_iter().filter(|one| one["type"] == "Session");
        sessions
            .map(|one| {
                assert!(!one.to_string().contains("digest"));
                one["owner"].as_str().unwrap().to_owned()
            })
            .collect::<Vec<_>>()
    };
    let own = format!("/v1/users/{}/export", tenant.member);
    assert_eq!(held(tenant.member, &own).await, [tenant.member.to_string()]);
    let whole = held(tenant.admin, "/v1/organization/export").await;
    assert!(whole.is_empty(), "{whole:?}");
}
