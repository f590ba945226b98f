//! Tokens of integrations, used and never shown; and messages of threads, a list that only grows.

use cedarkeep::decide::check;
use serde_json::json;

use super::content::{events, kept};
use super::harness::{Service, Tenant};

/// Everything that is stored is what the log says.
pub(super) async fn sound(tenant: &Tenant) {
    let (store, origin) = (tenant.door.store(), tenant.door.origin());
    let report = check::verify(store, origin, &[], |_, _| {}).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_handed_to_whoever_may_use_it_and_shown_to_nobody() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let made = json!({"name": "Mail", "provider": "imap", "audience": tenant.everybody});
    let made = service.post(&tenant, tenant.admin, "/v1/integrations", made);
    let place = format!("/v1/integrations/{}", made.await.id());
    let ask = async |user, what: &str| {
        let ask = service.by(&tenant, user, "POST", &format!("{place}/{what}"));
        ask.send().await
    };
    let none = ask(tenant.member, "use").await;
    assert!(none.is_problem(409).contains("no token yet"));
    assert_eq!(events(&service, &tenant, "integration.used").await.len(), 0);
    let token = r#"{"access_token":"s3cr3t-of-mail"}"#;
    let give = async |user, token: &str| {
        let ask = service.by(&tenant, user, "PUT", &format!("{place}/token"));
        ask.content("application/json", token.to_owned())
            .send()
            .await
    };
    give(tenant.member, token).await.is_problem(403);
    let told = give(tenant.admin, token).await.ok();
    assert!(told["refreshed_at"].is_string() && !told.to_string().contains("s3cr3t"));
    give(tenant.admin, &"x".repeat(70_000))
        .await
        .is_problem(413);
    let used = ask(tenant.member, "use").await;
    assert_eq!(used.headers["content-usage"], "train-ai=n");
    let used = used.ok();
    assert_eq!(used["token"]["text"], token);
    ask(tenant.viewer, "use").await.is_problem(403);
    // Nobody reads it, an Admin neither.
    for what in ["token", "content", "use"] {
        let told = service
            .get(&tenant, tenant.admin, &format!("{place}/{what}"))
            .await;
        assert!([404, 405].contains(&told.status), "{what}: {}", told.status);
    }
    // Another takes its place, and the one before is gone.
    give(tenant.admin, "newer").await.ok();
    let newer = ask(tenant.member, "use").await.ok();
    assert_eq!(newer["token"], json!({"text": "newer"}));
    assert_eq!(kept(&service, &tenant).await.0, 1);
    assert_eq!(events(&service, &tenant, "integration.used").await.len(), 2);
    let all = service
        .get(&tenant, tenant.admin, "/v1/audit/entries?limit=200")
        .await;
    assert!(!all.body.to_string().contains("s3cr3t"));
    // Using it changes nothing, and the log's check knows that.
    sound(&tenant).await;
    // Disconnected, nothing of it is left.
    let gone = service.delete(&tenant, tenant.admin, &place).await;
    assert_eq!(gone.status, 204);
    assert_eq!(kept(&service, &tenant).await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_a_list_that_only_grows() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let thread = json!({"name": "Plan", "audience": tenant.everybody});
    let thread = service
        .post(&tenant, tenant.member, "/v1/threads", thread)
        .await
        .id();
    let place = format!("/v1/threads/{thread}/messages");
    let say = async |user, text: &str, query: &str| {
        let ask = service.by(&tenant, user, "POST", &format!("{place}{query}"));
        ask.content("text/plain", text.to_owned()).send().await
    };
    let first = say(tenant.member, "hello", "").await;
    let id = first.id();
    assert_eq!(first.body["author"], json!(tenant.member));
    // Its audience reads, and does not write.
    say(tenant.admin, "me too", "").await.is_problem(403);
    say(tenant.admin, "me too", "?comment=true")
        .await
        .is_problem(403);
    let level = json!({"resource": thread, "grantee": tenant.admin, "level": "commenter"});
    service
        .post(&tenant, tenant.member, "/v1/shares", level)
        .await
        .id();
    say(tenant.admin, "me too", "").await.is_problem(403);
    say(tenant.admin, "a remark", "?comment=true").await.id();
    say(tenant.admin, "a remark", "?comment=maybe")
        .await
        .is_problem(400);
    let long = "long ".repeat(10_000);
    let long_id = say(tenant.member, &long, "").await.id();
    let list = service.get(&tenant, tenant.viewer, &place).await.ok();
    let items = list["items"].as_array().unwrap();
    let texts: Vec<_> = items
        .iter()
        .map(|item| item["content"]["text"].as_str())
        .collect();
    assert_eq!(texts, [Some("hello"), Some("a remark"), None]);
    assert_eq!(items[1]["author"], json!(tenant.admin));
    assert_eq!(
        (&items[0]["comment"], &items[1]["comment"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(items[2]["length"], long.len());
    let read = service
        .get(&tenant, tenant.viewer, &format!("{place}/{long_id}"))
        .await;
    assert_eq!(read.bytes, long.as_bytes());
    // Page by page, the same.
    let mut found = Vec::new();
    let mut next = format!("{place}?limit=1");
    loop {
        let page = service.get(&tenant, tenant.viewer, &next).await.ok();
        found.push(page["items"][0]["id"].clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{place}?limit=1&cursor={cursor}"),
            None => break,
        }
    }
    let ids: Vec<_> = items.iter().map(|item| item["id"].clone()).collect();
    assert_eq!(found, ids);
    // The same call again is the same message; another under its key is refused.
    let keyed = async |text: &str| {
        let ask = service.by(&tenant, tenant.member, "POST", &place);
        let ask = ask.header("idempotency-key", "once");
        ask.content("text/plain", text.to_owned()).send().await
    };
    let (once, again) = (keyed("once").await, keyed("once").await);
    assert_eq!(once.id(), again.id());
    assert_eq!(again.headers["idempotency-replayed"], "true");
    keyed("twice").await.is_problem(409);
    let (long_once, long_again) = {
        let keyed = async || {
            let ask = service.by(&tenant, tenant.member, "POST", &place);
            let ask = ask.header("idempotency-key", "a-long-one");
            ask.content("text/plain", long.clone()).send().await.id()
        };
        (keyed().await, keyed().await)
    };
    assert_eq!(long_once, long_again);
    assert_eq!(kept(&service, &tenant).await, (5, 0, 2));
    // Nothing changes or takes away a message.
    for method in ["PUT", "DELETE", "PATCH"] {
        let told = service.by(&tenant, tenant.member, method, &format!("{place}/{id}"));
        assert_eq!(told.send().await.status, 405);
    }
    assert_eq!(events(&service, &tenant, "thread.posted").await.len(), 5);
    // An author who is erased takes their messages along.
    let role = json!({"role": "Admin"});
    service
        .patch(
            &tenant,
            tenant.admin,
            &format!("/v1/users/{}", tenant.viewer),
            role,
        )
        .await
        .ok();
    let erased = format!("/v1/users/{}/erasure", tenant.admin);
    let told = service
        .by(&tenant, tenant.viewer, "POST", &erased)
        .send()
        .await;
    assert!([200, 202, 204].contains(&told.status), "{}", told.body);
    let list = service.get(&tenant, tenant.viewer, &place).await.ok();
    let authors: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["author"].clone())
        .collect();
    assert!(!authors.is_empty() && authors.iter().all(|author| *author == json!(tenant.member)));
    // With the thread everything goes.
    let gone = service
        .delete(&tenant, tenant.member, &format!("/v1/threads/{thread}"))
        .await;
    assert_eq!(gone.status, 204);
    assert_eq!(kept(&service, &tenant).await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_did_is_open_to_whom_it_ran_for_alone() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let agent = json!({"name": "Runner", "audience": tenant.everybody});
    let agent = service
        .post(&tenant, tenant.admin, "/v1/agents", agent)
        .await;
    let (definition, agent) = (agent.body["id"].clone(), agent.body["agents"][0].clone());
    let share = json!({"resource": definition, "grantee": tenant.member, "level": "editor"});
    service
        .post(&tenant, tenant.admin, "/v1/shares", share)
        .await
        .id();
    let runs = format!("/v1/agents/{}/runs", definition.as_str().unwrap());
    let start = async |user| service.by(&tenant, user, "POST", &runs).send().await;
    start(tenant.viewer).await.is_problem(403);
    let (theirs, own) = (
        start(tenant.member).await.id(),
        start(tenant.admin).await.id(),
    );
    let place = format!("/v1/agent-runs/{theirs}");
    let put = async |user, run: &str| {
        let ask = service.by(
            &tenant,
            user,
            "PUT",
            &format!("/v1/agent-runs/{run}/content"),
        );
        ask.content("text/plain", "what it did").send().await
    };
    put(tenant.member, &theirs).await.ok();
    // Neither an Admin, nor whoever owns the agent, nor whoever it is shared with sees what it did for another.
    for (user, run) in [(tenant.admin, &theirs), (tenant.member, &own)] {
        put(user, run).await.is_problem(404);
        for what in ["", "/content", "/versions"] {
            let told = service
                .get(&tenant, user, &format!("/v1/agent-runs/{run}{what}"))
                .await;
            told.is_problem(404);
        }
        let path = format!("/v1/agent-runs/{run}");
        let told = service.patch(&tenant, user, &path, json!({"status": "failed"}));
        told.await.is_problem(404);
    }
    let read = service
        .get(&tenant, tenant.member, &format!("{place}/content"))
        .await;
    assert_eq!(read.bytes, b"what it did");
    // The agent that acts for them does.
    let ask = service.by(&tenant, tenant.member, "GET", &format!("{place}/content"));
    let read = ask
        .header("cedarkeep-acting-agent", agent.as_str().unwrap())
        .send()
        .await;
    assert_eq!(read.bytes, b"what it did");
    let list = service
        .get(&tenant, tenant.member, "/v1/agent-runs")
        .await
        .ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let ended = service.patch(
        &tenant,
        tenant.member,
        &place,
        json!({"status": "completed"}),
    );
    assert_eq!(ended.await.ok()["status"], "completed");
    let again = service.patch(&tenant, tenant.member, &place, json!({"status": "failed"}));
    again.await.is_problem(409);
    let cancel = service.by(
        &tenant,
        tenant.admin,
        "POST",
        &format!("/v1/agent-runs/{own}/cancel"),
    );
    assert_eq!(cancel.send().await.ok()["status"], "cancelled");
    for event in ["started", "recorded", "completed", "cancelled"] {
        let found = events(&service, &tenant, &format!("agent.run_{event}")).await;
        assert_eq!(
            found.len(),
            if event == "started" { 2 } else { 1 },
            "{event}"
        );
    }
}
