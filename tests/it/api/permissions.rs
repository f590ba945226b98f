//! The permissions page through HTTP: people, places and shares made with the directory's own calls, then each row of
//! the matrix that they answer asked at the authorize endpoint.

use std::collections::{BTreeSet, HashMap};

use cedarkeep::config::Database;
use cedarkeep::directory::{Kind, Ref};
use serde_json::{Value, json};

use super::harness::{Service, Tenant};
use crate::harness::postgres;
use crate::policy::world::{Row, rows};

/// One who asks, and what there is in each relation to them: a resource and a relation of the matrix, and its id.
struct Placed {
    pat: String,
    at: HashMap<(&'static str, &'static str), String>,
}

/// What people make, as the matrix and as the URL calls it.
const MADE: [(&str, &str); 5] = [
    ("Thread", "threads"),
    ("PromptTemplate", "prompt-templates"),
    ("Tool", "tools"),
    ("Assistant", "assistants"),
    ("AgentDefinition", "agents"),
];

/// Requests for access to those.
const ASKED: [(&str, &str); 5] = [
    ("AccessRequest/thread", "Thread"),
    ("AccessRequest/prompt_template", "PromptTemplate"),
    ("AccessRequest/tool", "Tool"),
    ("AccessRequest/assistant", "Assistant"),
    ("AccessRequest/agent", "AgentDefinition"),
];

/// How many questions are asked at once: few enough to be answered in time by a machine that does other things as well.
const AT_ONCE: usize = 40;

/// A link of the matrix, its level, and who has it on what.
const LINKS: [(&str, &str); 11] = [
    ("viewer-link", "viewer"),
    ("commenter-link", "commenter"),
    ("editor-link", "editor"),
    ("group-viewer-link", "viewer"),
    ("group-editor-link", "editor"),
    ("olive-viewer-link", "viewer"),
    ("olive-commenter-link", "commenter"),
    ("olive-editor-link", "editor"),
    ("elsewhere-viewer-link", "viewer"),
    ("elsewhere-commenter-link", "commenter"),
    ("elsewhere-editor-link", "editor"),
];

/// Makes things in one organization, as somebody.
struct Maker<'a> {
    service: &'a Service,
    tenant: &'a Tenant,
}

impl Maker<'_> {
    async fn make(&self, by: &str, path: &str, body: Value) -> String {
        let told = self
            .service
            .ask("POST", path)
            .key(&self.tenant.key)
            .header("cedarkeep-acting-user", by)
            .body(&body)
            .send()
            .await;
        told.id()
    }

    async fn call(&self, by: &str, method: &str, path: &str, body: Option<Value>) -> Value {
        let mut ask = self
            .service
            .ask(method, path)
            .key(&self.tenant.key)
            .header("cedarkeep-acting-user", by);
        if let Some(body) = body {
            ask = ask.body(&body);
        }
        let told = ask.send().await;
        assert!(
            (200..300).contains(&told.status),
            "{method} {path}: {}",
            told.body
        );
        told.body
    }

    async fn join(&self, place: &str, user: &str, lead: bool) {
        let body = json!({"user": user, "lead": lead});
        self.call(
            &self.tenant.admin.to_string(),
            "POST",
            &format!("/v1/{place}/members"),
            Some(body),
        )
        .await;
    }

    async fn share(&self, by: &str, resource: &str, grantee: &str, level: &str) -> String {
        let body = json!({"resource": resource, "grantee": grantee, "level": level});
        self.make(by, "/v1/shares", body).await
    }

    /// Requests for access, in each relation: by `pat`, by another, and about what is `pat`'s own.
    async fn ask(
        &self,
        (pat, role): (&str, &str),
        at: &mut HashMap<(&'static str, &'static str), String>,
    ) {
        let body =
            json!({"name": "Asker", "email": format!("{role}@example.org"), "role": "Viewer"});
        let admin = self.tenant.admin.to_string();
        let asker = &self.make(&admin, "/v1/users", body).await;
        let ask = async |by: &str, resource: &str, level: &str| {
            let body = json!({"resource": resource, "level": level, "reason": "for the matrix"});
            let told = self.service.ask("POST", "/v1/access-requests");
            let told = told
                .key(&self.tenant.key)
                .header("cedarkeep-acting-user", by);
            told.body(&body).send().await.waits()
        };
        for (request, kind) in ASKED {
            let (theirs, own) = (at[&(kind, "none")].clone(), at[&(kind, "owner")].clone());
            at.insert((request, "none"), ask(asker, &theirs, "viewer").await);
            at.insert((request, "owner"), ask(pat, &theirs, "viewer").await);
            at.insert((request, "holder"), ask(asker, &own, "viewer").await);
        }
        let log = Ref::new(Kind::AuditLog, self.tenant.org.id).to_string();
        let nothing = Ref::new(Kind::Thread, [0; 16]).to_string();
        for (request, about, level) in [
            ("AccessRequest/log", &log, "auditor"),
            ("AccessRequest", &nothing, "viewer"),
        ] {
            at.insert((request, "none"), ask(asker, about, level).await);
            at.insert((request, "owner"), ask(pat, about, level).await);
        }
    }

    /// An answer to each question, with its reason.
    async fn answers(&self, items: &[Value]) -> Vec<Value> {
        let told = self
            .service
            .ask("POST", "/access/v1/evaluations")
            .key(&self.tenant.key)
            .header("cedarkeep-explain", "true")
            .body(&json!({"evaluations": items}))
            .send()
            .await
            .ok();
        let answers = told["evaluations"].as_array().unwrap();
        assert_eq!(answers.len(), items.len());
        answers.clone()
    }

    /// Something of `pat`'s own in a thread of somebody else's, which they were let into for as long as that took.
    async fn by_guest(
        &self,
        host: &str,
        guest: &str,
        thread: &str,
        path: &str,
        body: Value,
    ) -> String {
        let share = self.share(host, thread, guest, "editor").await;
        let id = self.make(guest, path, body).await;
        self.call(host, "DELETE", &format!("/v1/shares/{share}"), None)
            .await;
        id
    }

    /// Somebody of this role, with something in every relation to them.
    async fn place(&self, role: &str) -> Placed {
        let olive = &self.tenant.admin.to_string();
        let other = &self.tenant.member.to_string();
        // An Admin for as long as things are made: who owns what is asked about may have been more than they are.
        let pat = json!({"name": "Pat", "email": format!("{role}@example.net"), "role": "Admin"});
        let pat = &self.make(olive, "/v1/users", pat).await;
        let mut at = HashMap::new();

        let team = async |name: &str| self.make(olive, "/v1/teams", json!({"name": name})).await;
        let (apart, joined, led, crew, closed) = (
            team("apart").await,
            team("joined").await,
            team("led").await,
            team("crew").await,
            team("closed").await,
        );
        self.join(&format!("teams/{joined}"), pat, false).await;
        self.join(&format!("teams/{led}"), pat, true).await;
        self.join(&format!("teams/{crew}"), pat, false).await;
        let project = async |parent: &str| {
            let body = json!({"name": "project", "parent": parent});
            self.make(olive, "/v1/projects", body).await
        };
        let (far, within, headed, beneath, of_crew, of_closed) = (
            project(&apart).await,
            project(&apart).await,
            project(&apart).await,
            project(&joined).await,
            project(&crew).await,
            project(&closed).await,
        );
        self.join(&format!("projects/{within}"), pat, false).await;
        self.join(&format!("projects/{headed}"), pat, true).await;
        // Somebody may have belonged where they made something, and not any more.
        let left = [format!("teams/{apart}"), format!("projects/{far}")];
        for place in &left {
            self.join(place, pat, false).await;
        }
        for (kind, layer, parent) in [
            ("Memory/team", "team", &apart),
            ("Memory/project", "project", &far),
        ] {
            let body = json!({"name": "memory", "layer": layer, "parent": parent});
            at.insert((kind, "owner"), self.make(pat, "/v1/memory", body).await);
        }
        let members = async |team: &str| {
            let read = self
                .call(olive, "GET", &format!("/v1/teams/{team}"), None)
                .await;
            json!(read["members"].as_str().unwrap())
        };
        let (ours, theirs) = (members(&crew).await, members(&closed).await);
        for (relation, id) in [("none", &apart), ("member", &joined), ("lead", &led)] {
            at.insert(("Team", relation), id.clone());
            let body = json!({"name": "memory", "layer": "team", "parent": id});
            let memory = self.make(olive, "/v1/memory", body).await;
            at.insert(("Memory/team", relation), memory);
        }
        for (relation, id) in [
            ("none", &far),
            ("member", &within),
            ("lead", &headed),
            ("up-member", &beneath),
        ] {
            at.insert(("Project", relation), id.clone());
            let body = json!({"name": "memory", "layer": "project", "parent": id});
            let memory = self.make(olive, "/v1/memory", body).await;
            at.insert(("Memory/project", relation), memory);
        }

        for (by, relation) in [(olive, "none"), (pat, "owner")] {
            let body = json!({"name": "memory", "layer": "personal"});
            let memory = self.make(by, "/v1/memory", body).await;
            at.insert(("Memory/personal", relation), memory);
            let body = json!({"name": "document", "parent": far});
            let document = self.make(by, "/v1/documents", body).await;
            at.insert(("Document", relation), document);
        }
        for ((parent, audience), relation) in [
            ((&of_crew, &ours), "audience"),
            ((&of_closed, &theirs), "outsider"),
        ] {
            let body = json!({"name": "document", "parent": parent, "audience": audience});
            let document = self.make(olive, "/v1/documents", body).await;
            at.insert(("Document", relation), document);
        }
        for (audience, relation) in [
            (json!(self.tenant.everybody), "audience"),
            (Value::Null, "none"),
        ] {
            let body = json!({"name": "calendar", "provider": "calendar", "audience": audience});
            let integration = self.make(olive, "/v1/integrations", body).await;
            at.insert(("Integration", relation), integration);
        }

        for (kind, collection) in MADE {
            let path = format!("/v1/{collection}");
            let make = async |by: &str, audience: Option<(&String, &Value)>| {
                self.make(by, &path, made(&far, audience)).await
            };
            at.insert((kind, "none"), make(olive, None).await);
            at.insert((kind, "owner"), make(pat, None).await);
            at.insert(
                (kind, "audience"),
                make(olive, Some((&of_crew, &ours))).await,
            );
            at.insert(
                (kind, "outsider"),
                make(olive, Some((&of_closed, &theirs))).await,
            );
            for (relation, level) in LINKS {
                let id = make(olive, None).await;
                let (on, grantee) = match relation.split('-').next().unwrap() {
                    "group" => (id.clone(), ours.as_str().unwrap()),
                    "olive" => (id.clone(), other.as_str()),
                    "elsewhere" => (make(olive, None).await, pat.as_str()),
                    _ => (id.clone(), pat.as_str()),
                };
                self.share(olive, &on, grantee, level).await;
                at.insert((kind, relation), id);
            }
        }

        // What is in a thread is reached through it.
        let thread = async |by: &str, audience: Option<(&String, &Value)>| {
            self.make(by, "/v1/threads", made(&far, audience)).await
        };
        for (kind, path, layer) in [
            ("Document/thread", "/v1/documents", None),
            ("Memory/thread", "/v1/memory", Some("thread")),
        ] {
            let body = |thread: &str| {
                let mut body = json!({"name": kind, "parent": thread});
                if let Some(layer) = layer {
                    body["layer"] = json!(layer);
                }
                body
            };
            let talk = thread(olive, None).await;
            let id = self.make(olive, path, body(&talk)).await;
            at.insert((kind, "none"), id);
            let id = self.by_guest(olive, pat, &talk, path, body(&talk)).await;
            at.insert((kind, "owner"), id);
            let own = thread(pat, None).await;
            let id = self.by_guest(pat, olive, &own, path, body(&own)).await;
            at.insert((kind, "thread-owner"), id);
            for (audience, relation) in [
                ((&of_crew, &ours), "thread-audience"),
                ((&of_closed, &theirs), "thread-outsider"),
            ] {
                let talk = thread(olive, Some(audience)).await;
                let id = self.make(olive, path, body(&talk)).await;
                at.insert((kind, relation), id);
            }
            for (relation, level) in LINKS {
                let talk = thread(olive, None).await;
                let id = self.make(olive, path, body(&talk)).await;
                let (on, grantee) = match relation.split('-').next().unwrap() {
                    "group" => (talk, ours.as_str().unwrap()),
                    "olive" => (talk, other.as_str()),
                    "elsewhere" => (thread(olive, None).await, pat.as_str()),
                    _ => (talk, pat.as_str()),
                };
                self.share(olive, &on, grantee, level).await;
                at.insert((kind, relation), id);
            }
        }

        self.ask((pat, role), &mut at).await;
        let key = self.make(olive, "/v1/api-keys", json!({"name": "nightly"}));
        at.insert(("ApiKey", "none"), key.await);
        at.insert(("User", "none"), other.clone());
        at.insert(("User", "self"), pat.clone());
        at.insert(("Group", "none"), theirs.as_str().unwrap().to_owned());
        at.insert(("Organization", "member"), self.tenant.org.to_string());
        for (name, kind) in [
            ("Settings", Kind::Settings),
            ("PolicySet", Kind::PolicySet),
            ("Billing", Kind::Billing),
            ("AuditLog", Kind::AuditLog),
            ("Report", Kind::Report),
            ("ComplianceDocs", Kind::ComplianceDocs),
        ] {
            let id = Ref::new(kind, self.tenant.org.id).to_string();
            at.insert((name, "none"), id);
        }
        for place in &left {
            self.call(olive, "DELETE", &format!("/v1/{place}/members/{pat}"), None)
                .await;
        }
        if role != "Admin" {
            let body = Some(json!({"role": role}));
            self.call(olive, "PATCH", &format!("/v1/users/{pat}"), body)
                .await;
        }
        let pat = pat.clone();
        Placed { pat, at }
    }
}

/// A body: in this place and for nobody else, or where that audience belongs, for them.
fn made(place: &str, audience: Option<(&String, &Value)>) -> Value {
    match audience {
        None => json!({"name": "made", "parent": place}),
        Some((place, group)) => json!({"name": "made", "parent": place, "audience": group}),
    }
}

fn question(row: &Row, placed: &Placed, id: &str) -> Value {
    let kind = row.resource.split('/').next().unwrap();
    json!({
        "subject": {"type": "User", "id": placed.pat},
        "action": {"name": row.action},
        "resource": {"type": kind, "id": id},
    })
}

async fn every_row_that_can_be_placed_is_answered_as_the_page_says(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let maker = Maker {
        service: &service,
        tenant: &tenant,
    };
    let (mut asked, mut allowed, mut actions, mut wrong) = (0, 0, BTreeSet::new(), Vec::new());
    for role in ["Admin", "Member", "Viewer"] {
        let placed = maker.place(role).await;
        let rows: Vec<(&Row, &str)> = rows()
            .iter()
            .filter(|row| row.principal == role && row.extra.is_empty() && row.plan == "Enterprise")
            .filter_map(|row| {
                let place = (row.resource.as_str(), row.relation.as_str());
                Some((row, placed.at.get(&place)?.as_str()))
            })
            .collect();
        for chunk in rows.chunks(AT_ONCE) {
            let items: Vec<Value> = chunk
                .iter()
                .map(|(row, id)| question(row, &placed, id))
                .collect();
            for ((row, _), answer) in chunk.iter().zip(&maker.answers(&items).await) {
                let got = match (
                    answer["decision"].as_bool().unwrap(),
                    &answer["context"]["kind"],
                ) {
                    (true, Value::Null) => "allow".to_owned(),
                    (false, Value::String(kind)) => format!("deny {kind}"),
                    _ => answer.to_string(),
                };
                if got != row.expected() {
                    wrong.push(format!("{row}: expected {}, got {got}", row.expected()));
                }
                asked += 1;
                allowed += usize::from(row.decision == "allow");
                actions.insert(row.action.as_str());
            }
        }
    }
    println!(
        "{asked} rows asked over HTTP, {allowed} of them allowed, {} actions",
        actions.len()
    );
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // Each action that people may ask for, but those about what the directory does not make yet.
    let missing: Vec<&str> = rows()
        .iter()
        .filter(|row| ["Admin", "Member", "Viewer"].contains(&row.principal.as_str()))
        .map(|row| row.action.as_str())
        .filter(|action| !actions.contains(action))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(missing, ABSENT);
    assert!(
        asked > 2_000 && allowed > 400,
        "{asked} asked, {allowed} allowed"
    );
}

/// An agent's question is two halves: what the matrix says of the agent, and of the Member that it acts for. Links are left
/// to the engine's test: here an agent has none of its own, as in the rows that are asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_may_what_both_it_and_its_member_may() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let maker = Maker {
        service: &service,
        tenant: &tenant,
    };
    let placed = maker.place("Member").await;
    let olive = tenant.admin.to_string();
    let helper = json!({"name": "helper", "audience": tenant.everybody});
    let helper = maker.make(&olive, "/v1/agents", helper).await;
    let path = format!("/v1/agents/{helper}");
    let agent = maker.call(&olive, "GET", &path, None).await["agents"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let plain = |row: &&Row| row.extra.is_empty() && row.plan == "Enterprise";
    let of_member: HashMap<(&str, &str, &str), bool> = rows()
        .iter()
        .filter(plain)
        .filter(|row| row.principal == "Member")
        .map(|row| {
            let asked = (
                row.action.as_str(),
                row.resource.as_str(),
                row.relation.as_str(),
            );
            (asked, row.decision == "allow")
        })
        .collect();
    let (mut items, mut expected, mut actions) = (Vec::new(), Vec::new(), BTreeSet::new());
    for row in rows().iter().filter(plain) {
        let asked = (
            row.action.as_str(),
            row.resource.as_str(),
            row.relation.as_str(),
        );
        let (Some(member), Some(id)) = (of_member.get(&asked), placed.at.get(&(asked.1, asked.2)))
        else {
            continue;
        };
        if row.principal == "Agent" && !row.relation.ends_with("-link") {
            let mut item = question(row, &placed, id);
            item["subject"] = json!({"type": "Agent", "id": agent});
            item["context"] = json!({"acts_for": placed.pat});
            items.push(item);
            expected.push((row, *member && row.decision == "allow"));
            actions.insert(row.action.as_str());
        }
    }
    let (mut wrong, mut allowed) = (Vec::new(), 0);
    for (items, expected) in items.chunks(AT_ONCE).zip(expected.chunks(AT_ONCE)) {
        for ((row, may), answer) in expected.iter().zip(&maker.answers(items).await) {
            allowed += usize::from(*may);
            if answer["decision"] != *may {
                wrong.push(format!("{row}: expected {may}, got {answer}"));
            }
        }
    }
    println!(
        "{} rows asked for an agent, {allowed} of them allowed, {} actions",
        items.len(),
        actions.len()
    );
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(items.len() > 400 && allowed > 20 && actions.len() > 90);
}

/// Actions on invitations alone: no route of the directory makes one of those for a question, and none places a run.
const ABSENT: [&str; 3] = [
    "agent.cancel",
    "member.resend_invitation",
    "member.revoke_invitation",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_matrix_holds_over_http_on_sqlite() {
    every_row_that_can_be_placed_is_answered_as_the_page_says(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_matrix_holds_over_http_on_postgresql() {
    let server = postgres::start();
    every_row_that_can_be_placed_is_answered_as_the_page_says(Database::Postgres(server.url()))
        .await;
}
