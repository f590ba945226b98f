//! People in bulk over HTTP: tried, taken whole or line by line, and told of by line and never by address.

use cedarkeep::config::Database;
use cedarkeep::directory::object::{Plan, Scope};
use cedarkeep::directory::organization;
use cedarkeep::log::Event;
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told, key};
use super::keeping::every_entry;
use crate::harness::postgres;

const PLACE: &str = "/v1/users/import";

const FILE: &str = "name,email,role,active\n\
    Zoe,zoe@example.com,Admin,\n\
    Ian,ian@example.com,Viewer,false\n\
    Mia Minor,mia@example.com,Member,\n";

async fn sent(service: &Service, tenant: &Tenant, query: &str, file: &str) -> Told {
    service
        .by(tenant, tenant.admin, "POST", &format!("{PLACE}{query}"))
        .content("text/csv", file.to_owned())
        .send()
        .await
}

/// The lines of a report: what was told of lines, and what came beside them.
fn report(told: &Told) -> (Vec<Value>, Vec<Value>) {
    let text = std::str::from_utf8(&told.bytes).unwrap();
    assert_eq!(told.status, 200, "{text}");
    assert_eq!(told.headers["content-type"], "application/x-ndjson");
    assert!(!text.contains("example.com"), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.partition(|line: &Value| line.get("line").is_some())
}

fn statuses(told: &Told) -> Vec<String> {
    let (lines, beside) = report(told);
    assert!(beside.last().unwrap().get("summary").is_some());
    let status = |line: &Value| format!("{} {}", line["line"], line["status"].as_str().unwrap());
    lines.iter().map(status).collect()
}

fn summary(told: &Told) -> [u64; 4] {
    let (_, beside) = report(told);
    let summary = &beside.last().unwrap()["summary"];
    ["created", "updated", "unchanged", "refused"].map(|one| summary[one].as_u64().unwrap())
}

async fn people(service: &Service, tenant: &Tenant) -> Vec<Value> {
    let list = service
        .get(tenant, tenant.admin, "/v1/users?limit=200")
        .await
        .ok();
    list["items"].as_array().unwrap().clone()
}

async fn a_file_is_tried_and_taken_and_changes_nothing_again(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let tried = sent(&service, &tenant, "?dry_run=true", FILE).await;
    assert_eq!(statuses(&tried), ["2 created", "3 created", "4 updated"]);
    assert_eq!(people(&service, &tenant).await.len(), 3);
    let taken = sent(&service, &tenant, "", FILE).await;
    assert_eq!(summary(&taken), [2, 1, 0, 0]);
    let (lines, _) = report(&taken);
    let zoe = lines[0]["id"].as_str().unwrap();
    let read = service
        .get(&tenant, tenant.viewer, &format!("/v1/users/{zoe}"))
        .await
        .ok();
    assert_eq!(
        (&read["email"], &read["role"]),
        (&json!("zoe@example.com"), &json!("Admin"))
    );
    assert_eq!(lines[2]["id"], json!(tenant.member));
    let all = people(&service, &tenant).await;
    let ian = all.iter().find(|one| one["name"] == "Ian").unwrap();
    assert_eq!(ian["active"], false);
    let organization = service
        .get(&tenant, tenant.admin, "/v1/organization")
        .await
        .ok();
    assert_eq!(organization["active_admins"], 2);
    for query in ["?dry_run=true", "", "?mode=each"] {
        let again = sent(&service, &tenant, query, FILE).await;
        assert_eq!(summary(&again), [0, 0, 3, 0]);
    }
    // The same in the other form.
    let jsonl = "{\"name\":\"Zoe\",\"email\":\"zoe@example.com\",\"role\":\"Member\"}\n";
    let told = service
        .by(&tenant, tenant.admin, "POST", PLACE)
        .content("application/x-ndjson; charset=utf-8", jsonl)
        .send()
        .await;
    assert_eq!(summary(&told), [0, 1, 0, 0]);
    // Each person is in the log, and each import.
    let entries = every_entry(&tenant.door).await;
    let of = |event, resource: &str| {
        let found = entries.iter().filter(|entry| {
            entry.event == event
                && entry
                    .resource
                    .as_ref()
                    .is_some_and(|one| one.id.as_str() == resource)
        });
        found.count()
    };
    assert_eq!(of(Event::MemberJoined, zoe), 1);
    assert_eq!(of(Event::MemberRoleChanged, zoe), 1);
    assert_eq!(of(Event::MemberImported, &tenant.member.to_string()), 1);
    assert_eq!(of(Event::MemberImported, &tenant.org.to_string()), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_tried_and_taken_and_changes_nothing_again_on_sqlite() {
    a_file_is_tried_and_taken_and_changes_nothing_again(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_tried_and_taken_and_changes_nothing_again_on_postgresql() {
    let server = postgres::start();
    let url = Database::Postgres(server.url());
    a_file_is_tried_and_taken_and_changes_nothing_again(url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_line_keeps_everything_or_nothing_else_from_being_taken() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let broken = format!("{FILE}Eve,nobody,Member,\nZed,zoe@example.com,Member,\n");
    let told = sent(&service, &tenant, "?mode=all", &broken).await;
    assert!(
        told.is_problem(400)
            .starts_with("2 of 5 lines cannot be taken")
    );
    let findings = told.body["findings"].as_array().unwrap();
    let lines: Vec<&Value> = findings.iter().map(|one| &one["line"]).collect();
    assert_eq!(lines, [&json!(5), &json!(6)]);
    assert!(!told.body.to_string().contains("example.com"));
    assert_eq!(people(&service, &tenant).await.len(), 3);
    let tried = sent(&service, &tenant, "?dry_run=true", &broken).await;
    assert_eq!(summary(&tried), [2, 1, 0, 2]);
    let taken = sent(&service, &tenant, "?mode=each", &broken).await;
    assert_eq!(
        statuses(&taken),
        [
            "2 created",
            "3 created",
            "4 updated",
            "5 refused",
            "6 refused"
        ]
    );
    let (lines, beside) = report(&taken);
    assert!(lines[4]["why"].as_str().unwrap().contains("line 2"));
    assert_eq!(beside[0]["progress"], json!({"done": 5, "of": 5}));
    assert_eq!(people(&service, &tenant).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_told_of_as_they_are_taken() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let mut file = String::from("name,email,role\n");
    for number in 0..1_200 {
        file.push_str(&format!("P,p{number}@example.com,Member\n"));
    }
    let taken = sent(&service, &tenant, "?mode=each", &file).await;
    let (lines, beside) = report(&taken);
    assert_eq!((lines.len(), summary(&taken)), (1_200, [1_200, 0, 0, 0]));
    let progress: Vec<&Value> = beside
        .iter()
        .filter_map(|one| one.get("progress"))
        .collect();
    assert_eq!(progress.len(), 3);
    assert_eq!(progress[1], &json!({"done": 1_000, "of": 1_200}));
    // Half of them demoted and suspended: no Admin among them, so the one who asks is never the last.
    let entries = every_entry(&tenant.door).await;
    let imports = entries
        .iter()
        .filter(|one| one.event == Event::MemberImported);
    assert_eq!(imports.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_active_admin_stays_through_this_door_too() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let file = "name,email,role,active\nada,ada@example.com,Member,\nNed,ned@example.com,Viewer,\n";
    let told = sent(&service, &tenant, "", file).await;
    told.is_problem(400);
    assert!(
        told.body["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("last active Admin")
    );
    let suspended = file.replace("Member,", "Admin,false");
    let taken = sent(&service, &tenant, "?mode=each", &suspended).await;
    assert_eq!(statuses(&taken), ["2 refused", "3 created"]);
    let place = format!("/v1/users/{}", tenant.admin);
    let ada = service.get(&tenant, tenant.admin, &place).await.ok();
    assert_eq!(
        (&ada["role"], &ada["active"]),
        (&json!("Admin"), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_import_does_and_nobody_else() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    for user in [tenant.member, tenant.viewer] {
        let ask = service
            .by(&tenant, user, "POST", PLACE)
            .content("text/csv", FILE);
        ask.send().await.is_problem(403);
    }
    let ask = |key: &str| {
        service
            .ask("POST", PLACE)
            .key(key)
            .content("text/csv", FILE)
    };
    // A directory that provisions names nobody.
    let writes = key(&tenant.door, &[Scope::DirectoryWrite]).await;
    ask(&writes).send().await.is_problem(403);
    let provisions = key(&tenant.door, &[Scope::Provision]).await;
    assert_eq!(summary(&ask(&provisions).send().await), [2, 1, 0, 0]);
    tenant
        .door
        .operate(|by, snapshot| organization::set_plan(by, snapshot, Plan::Business))
        .await
        .unwrap();
    for told in [
        ask(&provisions).send().await,
        sent(&service, &tenant, "", FILE).await,
        sent(&service, &tenant, "?dry_run=true", FILE).await,
    ] {
        told.is_problem(403);
        assert_eq!(told.body["code"], "plan_required");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_file_of_people_is_refused_by_line() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let refused = async |query: &str, media: &str, file: Vec<u8>, said: &str| {
        let told = service
            .by(&tenant, tenant.admin, "POST", &format!("{PLACE}{query}"))
            .content(media, file)
            .send()
            .await;
        let detail = told.is_problem(400);
        assert!(detail.contains(said), "{detail}");
    };
    let many = "name,email,role\n".to_owned() + &"P,p@example.com,Member\n".repeat(20_001);
    let csv = "text/csv";
    refused("", "application/json", b"{}".to_vec(), "Content-Type").await;
    refused("?mode=some", csv, FILE.into(), "`mode`").await;
    refused("?dry_run=perhaps", csv, FILE.into(), "`dry_run`").await;
    refused("?all=true", csv, FILE.into(), "`all`").await;
    refused("", csv, Vec::new(), "line 1").await;
    refused("", csv, b"name,mail,role\n".to_vec(), "line 1: column 2").await;
    refused("", csv, many.into_bytes(), "line 20002").await;
    refused("", csv, vec![b'a'; 8 * 1024 * 1024 + 1], "8388608 bytes").await;
    let told = service
        .by(&tenant, tenant.admin, "POST", PLACE)
        .header("idempotency-key", "once")
        .content(csv, FILE)
        .send()
        .await;
    told.is_problem(400);
    assert_eq!(people(&service, &tenant).await.len(), 3);
}
