//! Whatever is found is what the decision point allows, and nothing else is: lists and searches against one question for each.

use std::collections::BTreeSet;

use cedarkeep::config::Database;
use cedarkeep::directory::{Kind, Ref};
use serde_json::{Value, json};

use super::harness::{Service, Tenant};
use crate::harness::chance::Chance;
use crate::harness::postgres;

/// Kinds, where they are listed, and actions that are asked of them.
const SOUGHT: [(Kind, &str, &[&str]); 5] = [
    (
        Kind::Thread,
        "threads",
        &[
            "thread.read",
            "thread.comment",
            "thread.share",
            "thread.delete",
        ],
    ),
    (
        Kind::Document,
        "documents",
        &["document.read", "document.edit"],
    ),
    (Kind::Memory, "memory", &["memory.read", "memory.forget"]),
    (Kind::Tool, "tools", &["tool.read", "tool.use", "tool.edit"]),
    (
        Kind::Project,
        "projects",
        &["project.delete", "thread.create"],
    ),
];

struct Scene {
    service: Service,
    tenant: Tenant,
    people: Vec<Ref>,
    made: Vec<Ref>,
}

impl Scene {
    async fn post(&self, by: Ref, path: &str, body: Value) -> Option<Ref> {
        let told = self.service.post(&self.tenant, by, path, body).await;
        // Whoever may not make it makes nothing; a share has no type.
        let id = told.body["id"].as_str().filter(|_| told.status == 201);
        id.and_then(|id| id.parse().ok())
    }

    /// People in teams and projects, what they make there, and whom they share it with.
    async fn set(database: Database, chance: &mut Chance) -> Self {
        let service = Service::patient(database).await;
        let tenant = service.tenant("acme").await;
        let people = vec![tenant.admin, tenant.member, tenant.viewer];
        let mut scene = Self {
            service,
            tenant,
            people,
            made: Vec::new(),
        };
        let admin = scene.tenant.admin;
        for number in 0..5 {
            let role = ["Admin", "Member", "Member", "Viewer", "Member"][number];
            let body =
                json!({"name": "P", "email": format!("p{number}@example.com"), "role": role});
            let made = scene.post(admin, "/v1/users", body).await.unwrap();
            scene.people.push(made);
        }
        let mut places = vec![None];
        for _ in 0..2 {
            let team = scene
                .post(admin, "/v1/teams", json!({"name": "T"}))
                .await
                .unwrap();
            let body = json!({"name": "P", "parent": team.to_string()});
            let project = scene.post(admin, "/v1/projects", body).await.unwrap();
            places.extend([Some(team), Some(project)]);
            for (place, of) in [("teams", team), ("projects", project)] {
                for person in scene.people.clone() {
                    if chance.number() % 5 < 2 {
                        let body = json!({"user": person.to_string(), "lead": chance.number().is_multiple_of(4)});
                        let path = format!("/v1/{place}/{of}/members");
                        scene.service.post(&scene.tenant, admin, &path, body).await;
                    }
                }
            }
        }
        // Chance alone may leave one of them out.
        for path in ["/v1/tools", "/v1/documents", "/v1/threads"] {
            for _ in 0..2 {
                let made = scene.post(admin, path, json!({"name": "Given"})).await;
                scene.made.extend(made);
            }
        }
        for _ in 0..60 {
            let by = scene.someone(chance);
            let (path, body) = scene.something(chance, &places);
            let made = scene.post(by, path, body).await;
            scene.made.extend(made);
            if let Some(thread) = made.filter(|made| made.kind == Kind::Thread) {
                for (path, body) in [
                    (
                        "/v1/documents",
                        json!({"name": "D", "parent": thread.to_string()}),
                    ),
                    (
                        "/v1/memory",
                        json!({"name": "M", "layer": "thread", "parent": thread.to_string()}),
                    ),
                ] {
                    let inside = scene.post(by, path, body).await;
                    scene.made.extend(inside);
                }
                let grantee = scene.someone(chance);
                let level = ["viewer", "commenter", "editor"]
                    [usize::try_from(chance.number() % 3).unwrap()];
                let body = json!({"resource": thread.to_string(), "grantee": grantee.to_string(), "level": level});
                scene.post(by, "/v1/shares", body).await;
            }
        }
        scene
    }

    fn someone(&self, chance: &mut Chance) -> Ref {
        self.people[usize::try_from(chance.number() >> 8).unwrap() % self.people.len()]
    }

    fn something(&self, chance: &mut Chance, places: &[Option<Ref>]) -> (&'static str, Value) {
        let place = places[usize::try_from(chance.number() >> 8).unwrap() % places.len()];
        let world = self.tenant.door.glance();
        let circle = place.and_then(|place| world.snapshot().object(place));
        let circle = circle.and_then(|stored| stored.value.circle());
        let audience = match (chance.number() % 3, circle) {
            (0, _) => None,
            (1, Some(circle)) => Some(circle.members.to_string()),
            _ => Some(self.tenant.everybody.to_string()),
        };
        let mut body = json!({"name": "Something", "audience": audience});
        let path = match chance.number() % 6 {
            0 => "/v1/tools",
            1 => "/v1/documents",
            2 => {
                let layer = match place.map(|place| place.kind) {
                    Some(Kind::Team) => "team",
                    Some(_) => "project",
                    None => "personal",
                };
                body = json!({"name": "M", "layer": layer});
                if let Some(place) = place {
                    body["parent"] = json!(place.to_string());
                }
                return ("/v1/memory", body);
            }
            _ => "/v1/threads",
        };
        if let Some(place) = place {
            body["parent"] = json!(place.to_string());
        }
        (path, body)
    }

    /// What the decision point says, one question for each.
    async fn allowed(&self, questions: &[Value]) -> Vec<bool> {
        let mut all = Vec::new();
        for some in questions.chunks(100) {
            let told = self
                .service
                .ask("POST", "/access/v1/evaluations")
                .key(&self.tenant.key)
                .body(&json!({"evaluations": some}))
                .send()
                .await
                .ok();
            let answers = told["evaluations"].as_array().unwrap().iter();
            all.extend(answers.map(|answer| answer["decision"].as_bool().unwrap()));
        }
        all
    }

    /// Every result of a search, page by page.
    async fn found(&self, sought: &str, mut search: Value, limit: usize) -> Vec<String> {
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            search["page"] = json!({"limit": limit, "token": token});
            let told = self
                .service
                .ask("POST", &format!("/access/v1/search/{sought}"))
                .key(&self.tenant.key)
                .body(&search)
                .send()
                .await
                .ok();
            for one in told["results"].as_array().unwrap() {
                let name = one.get("id").unwrap_or(&one["name"]);
                all.push(name.as_str().unwrap().to_owned());
            }
            token = told["page"]["next_token"].as_str().unwrap().to_owned();
            if token.is_empty() {
                return all;
            }
        }
    }

    /// Every item of a list.
    async fn listed(&self, user: Ref, path: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/{path}?limit=7{cursor}");
            let told = self.service.get(&self.tenant, user, &path).await.ok();
            for item in told["items"].as_array().unwrap() {
                assert!(all.insert(item["id"].as_str().unwrap().to_owned()));
            }
            match told["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }
}

async fn what_is_found_is_what_is_allowed(database: Database, chance: &mut Chance) {
    let scene = Scene::set(database, chance).await;
    let (mut compared, mut found, mut listed) = (0, 0, 0);
    let snapshot = scene.tenant.door.glance();
    let snapshot = snapshot.snapshot();
    let named = |one: Ref| json!({"type": one.kind.name(), "id": one.to_string()});
    for (kind, list, actions) in SOUGHT {
        let all: Vec<Ref> = snapshot
            .objects_of(kind, None)
            .map(|(one, _)| one)
            .collect();
        assert!(all.len() > 1, "{kind:?}");
        for action in actions {
            let name = json!({"name": action});
            for person in &scene.people {
                let questions: Vec<Value> = all
                    .iter()
                    .map(|one| json!({"subject": named(*person), "action": name, "resource": named(*one)}))
                    .collect();
                let allowed = scene.allowed(&questions).await;
                let expected: Vec<String> = all
                    .iter()
                    .zip(&allowed)
                    .filter(|(_, allowed)| **allowed)
                    .map(|(one, _)| one.to_string())
                    .collect();
                let search = json!({"subject": named(*person), "action": name, "resource": {"type": kind.name()}});
                let results = scene.found("resource", search, 4).await;
                assert_eq!(results, expected, "{person} {action}");
                compared += all.len();
                found += results.len();
                if action.ends_with(".read") {
                    let items = scene.listed(*person, list).await;
                    let expected: BTreeSet<String> = expected.into_iter().collect();
                    assert_eq!(items, expected, "{person} {list}");
                    listed += items.len();
                }
            }
            // Who may do it, for a few of them.
            for one in all.iter().take(4) {
                let questions: Vec<Value> = scene
                    .people
                    .iter()
                    .map(|person| json!({"subject": named(*person), "action": name, "resource": named(*one)}))
                    .collect();
                let allowed = scene.allowed(&questions).await;
                let expected: BTreeSet<String> = scene
                    .people
                    .iter()
                    .zip(&allowed)
                    .filter(|(_, allowed)| **allowed)
                    .map(|(person, _)| person.to_string())
                    .collect();
                let search =
                    json!({"subject": {"type": "User"}, "action": name, "resource": named(*one)});
                let results = scene.found("subject", search, 3).await;
                let results: BTreeSet<String> = results.into_iter().collect();
                assert_eq!(results, expected, "{one} {action}");
                compared += scene.people.len();
            }
        }
        // What they may do with it.
        for (person, one) in scene.people.iter().zip(&all) {
            let search = json!({"subject": named(*person), "resource": named(*one)});
            let results = scene.found("action", search, 2).await;
            let questions: Vec<Value> = cedarkeep::policy::Library::builtin()
                .unwrap()
                .vocabulary()
                .actions()
                .map(|action| json!({"subject": named(*person), "action": {"name": action.name()}, "resource": named(*one)}))
                .collect();
            let allowed = scene.allowed(&questions).await;
            let expected: BTreeSet<String> = questions
                .iter()
                .zip(allowed)
                .filter(|(_, allowed)| *allowed)
                .map(|(question, _)| question["action"]["name"].as_str().unwrap().to_owned())
                .collect();
            let results: BTreeSet<String> = results.into_iter().collect();
            assert_eq!(results, expected, "{person} {one}");
            compared += questions.len();
        }
    }
    println!("{compared} decisions compared, {found} found, {listed} listed");
    assert!(
        compared > 3_000 && found > 200 && listed > 50,
        "{compared} {found} {listed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_is_what_is_allowed_on_sqlite() {
    let mut chance = Chance::of_this_run("searches on SQLite");
    what_is_found_is_what_is_allowed(Database::Sqlite, &mut chance).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_is_what_is_allowed_on_postgresql() {
    let server = postgres::start();
    let mut chance = Chance::of_this_run("searches on PostgreSQL");
    what_is_found_is_what_is_allowed(Database::Postgres(server.url()), &mut chance).await;
}
