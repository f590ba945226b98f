//! Memory for a thread: what somebody may use there, layer by layer, and nobody else's own.

use cedarkeep::directory::Ref;
use serde_json::{Value, json};

use super::content::events;
use super::harness::{Service, Tenant};
use super::messages::sound;

struct Place {
    service: Service,
    tenant: Tenant,
    thread: String,
    project: String,
    team: String,
}

impl Place {
    async fn new() -> Self {
        let service = Service::open().await;
        let tenant = service.tenant("acme").await;
        let make = async |path: &str, body: Value| {
            service.post(&tenant, tenant.admin, path, body).await.id()
        };
        let team = make("/v1/teams", json!({"name": "Research"})).await;
        let project = make("/v1/projects", json!({"name": "Launch", "parent": team})).await;
        for circle in [format!("teams/{team}"), format!("projects/{project}")] {
            let body = json!({"user": tenant.member});
            let path = format!("/v1/{circle}/members");
            let told = service.post(&tenant, tenant.admin, &path, body).await;
            assert!([200, 201].contains(&told.status), "{}", told.body);
        }
        let thread = json!({"name": "Plan", "parent": project, "audience": tenant.everybody});
        let thread = service.post(&tenant, tenant.member, "/v1/threads", thread);
        let thread = thread.await.id();
        Self {
            service,
            tenant,
            thread,
            project,
            team,
        }
    }

    /// Writes a memory with content; its id.
    async fn remember(&self, by: Ref, layer: &str, parent: Option<&str>, text: &str) -> String {
        let mut body = json!({"name": text, "layer": layer});
        if let Some(parent) = parent {
            body["parent"] = json!(parent);
        }
        let (service, tenant) = (&self.service, &self.tenant);
        let id = service.post(tenant, by, "/v1/memory", body).await.id();
        let place = format!("/v1/memory/{id}/content");
        let put = service.by(tenant, by, "PUT", &place);
        put.content("text/plain", text.to_owned()).send().await.ok();
        id
    }

    /// What is of use in the thread: layers and texts, in order.
    async fn of_use(&self, user: Ref, agent: Option<&str>) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let first = format!("/v1/memory?for={}&limit=2", self.thread);
        let mut next = first.clone();
        loop {
            let mut ask = self.service.by(&self.tenant, user, "GET", &next);
            if let Some(agent) = agent {
                ask = ask.header("cedarkeep-acting-agent", agent);
            }
            let page = ask.send().await;
            assert_eq!(page.headers["content-usage"], "train-ai=n", "{}", page.body);
            let page = page.ok();
            for item in page["items"].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                found.push((
                    text(&item["layer"]),
                    text(&item["content"]["content"]["text"]),
                ));
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("{first}&cursor={cursor}"),
                None => return found,
            }
        }
    }
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(layer, text): &(&str, &str)| ((*layer).to_owned(), (*text).to_owned());
    wanted.iter().map(own).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_of_use_in_a_thread_is_what_one_may_read_the_most_specific_first() {
    let place = Place::new().await;
    let (admin, member, viewer) = (place.tenant.admin, place.tenant.member, place.tenant.viewer);
    // In another order than they are shown in.
    place.remember(admin, "organization", None, "of all").await;
    place.remember(member, "personal", None, "my own").await;
    place
        .remember(admin, "personal", None, "the admin's own")
        .await;
    place
        .remember(member, "team", Some(&place.team), "of the team")
        .await;
    place
        .remember(member, "project", Some(&place.project), "of the project")
        .await;
    place
        .remember(member, "thread", Some(&place.thread), "of the thread")
        .await;
    let other = json!({"name": "Other", "audience": place.tenant.everybody});
    let other = place
        .service
        .post(&place.tenant, member, "/v1/threads", other);
    let other = other.await.id();
    place
        .remember(member, "thread", Some(&other), "of another")
        .await;

    let all = pairs(&[
        ("thread", "of the thread"),
        ("project", "of the project"),
        ("team", "of the team"),
        ("personal", "my own"),
        ("organization", "of all"),
    ]);
    assert_eq!(place.of_use(member, None).await, all);
    // Another participant sees neither what is of circles that they are not in, nor anybody's own.
    let theirs = pairs(&[("thread", "of the thread"), ("organization", "of all")]);
    assert_eq!(place.of_use(viewer, None).await, theirs);
    // The reading is an entry that says what was shown.
    let read = events(&place.service, &place.tenant, "content.read").await;
    let shown = read[0]["details"]["versions"].as_array().unwrap();
    assert_eq!(
        (shown.len(), &read[0]["details"]["for"]),
        (2, &json!(place.thread))
    );

    // An agent sees what it and its user both may: nothing of the thread, until that is shared with it.
    let agent = json!({"name": "Runner", "audience": place.tenant.everybody});
    let agent = place
        .service
        .post(&place.tenant, member, "/v1/agents", agent)
        .await;
    let (definition, agent) = (agent.body["id"].clone(), agent.body["agents"][0].clone());
    let agent = agent.as_str().unwrap();
    let path = format!("/v1/memory?for={}", place.thread);
    let ask = place.service.by(&place.tenant, member, "GET", &path);
    ask.header("cedarkeep-acting-agent", agent)
        .send()
        .await
        .is_problem(404);
    let share = json!({"resource": place.thread, "grantee": definition, "level": "viewer"});
    place
        .service
        .post(&place.tenant, member, "/v1/shares", share)
        .await
        .id();
    assert_eq!(place.of_use(member, Some(agent)).await, all);
    assert_eq!(place.of_use(viewer, Some(agent)).await, theirs);

    // A thread that one may not read has nothing for one.
    let private = json!({"name": "Private"});
    let private = place
        .service
        .post(&place.tenant, member, "/v1/threads", private);
    let path = format!("/v1/memory?for={}", private.await.id());
    place
        .service
        .get(&place.tenant, admin, &path)
        .await
        .is_problem(404);
    let both = format!("{path}&layer=team");
    place
        .service
        .get(&place.tenant, member, &both)
        .await
        .is_problem(400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_written_and_forgotten_by_those_of_its_layer() {
    let place = Place::new().await;
    let (service, tenant) = (&place.service, &place.tenant);
    let (admin, member, viewer) = (tenant.admin, tenant.member, tenant.viewer);
    let layers = [
        ("thread", Some(place.thread.as_str()), member),
        ("project", Some(place.project.as_str()), member),
        ("team", Some(place.team.as_str()), member),
        ("organization", None, admin),
        ("personal", None, member),
    ];
    for (layer, parent, writer) in layers {
        let id = place.remember(writer, layer, parent, "a fact").await;
        let content = format!("/v1/memory/{id}/content");
        // A Viewer writes nothing, and an Admin no private layer.
        let by = async |user, method: &str, path: &str| {
            let ask = service.by(tenant, user, method, path);
            ask.content("text/plain", "another").send().await.status
        };
        assert!(
            [403, 404].contains(&by(viewer, "PUT", &content).await),
            "{layer}"
        );
        if layer == "thread" || layer == "personal" {
            assert!(
                [403, 404].contains(&by(admin, "PUT", &content).await),
                "{layer}"
            );
            assert!([403, 404].contains(&by(viewer, "DELETE", &format!("/v1/memory/{id}")).await));
        }
        assert_eq!(by(writer, "PUT", &content).await, 200);
        let read = service.get(tenant, writer, &content).await;
        assert_eq!(read.bytes, b"another");
        // One version is kept, not two.
        let versions = service
            .get(tenant, writer, &format!("/v1/memory/{id}/versions"))
            .await
            .ok();
        assert_eq!(versions["items"].as_array().unwrap().len(), 1);
        let forgetter = if layer == "personal" { member } else { admin };
        let forgotten = by(forgetter, "DELETE", &format!("/v1/memory/{id}")).await;
        assert_eq!(forgotten, 204, "{layer}");
        service.get(tenant, writer, &content).await.is_problem(404);
    }
    let id = place.remember(member, "personal", None, "a fact").await;
    let path = format!("/v1/memory/{id}/content");
    assert_eq!(service.delete(tenant, member, &path).await.status, 204);
    service.get(tenant, member, &path).await.is_problem(404);
    sound(tenant).await;
    let long = "x".repeat((1 << 20) + 1);
    let id = place.remember(member, "personal", None, "a fact").await;
    let ask = service.by(tenant, member, "PUT", &format!("/v1/memory/{id}/content"));
    ask.content("text/plain", long).send().await.is_problem(413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_replaced_meanwhile_is_shown_as_it_was_before_or_after() {
    let place = Place::new().await;
    let member = place.tenant.member;
    let id = place.remember(member, "personal", None, "a fact").await;
    let (service, tenant) = (&place.service, &place.tenant);
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
    let writing = async {
        let path = format!("/v1/memory/{id}/content");
        while !is_done() {
            let put = service.by(tenant, member, "PUT", &path);
            let put = put.content("text/plain", "another fact");
            put.send().await.ok();
        }
    };
    let reading = async {
        for _ in 0..400 {
            let found = place.of_use(member, None).await;
            assert_eq!(found.len(), 1);
            assert!(found[0].1.ends_with("fact"), "{found:?}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    tokio::join!(writing, reading);
}
