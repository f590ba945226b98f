//! What a back end asks at the edges of a question: a key that counts no more, an agent's own action, types whose entities are listed.

use cedarkeep::config::Database;
use cedarkeep::directory::{Kind, Ref};
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told};

async fn asks(service: &Service, tenant: &Tenant, path: &str, body: &Value) -> Told {
    let asked = service.ask("POST", &format!("/access/v1/{path}"));
    let asked = asked.key(&tenant.key).header("cedarkeep-explain", "true");
    asked.body(body).send().await
}

/// Loads a schema with one policy that permits all of this.
async fn loads(service: &Service, tenant: &Tenant, schema: &str, scope: &str) {
    let policy = format!("@id(\"all\") @reason(\"Anybody does.\")\npermit ({scope});");
    let body = json!({"schema": schema, "policies": {"all.cedar": policy}});
    let put = service.by(tenant, tenant.admin, "PUT", "/v1/policy-set");
    put.body(&body).send().await.ok();
}

/// The ids, or names, of what is found.
fn found(told: Told) -> Vec<String> {
    let told = told.ok();
    let results = told["results"].as_array().unwrap().iter();
    let named = results.map(|one| one.get("id").unwrap_or(&one["name"]));
    named
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_by_a_key_that_was_revoked_elsewhere_is_refused_whole() {
    let here = Service::still(Database::Sqlite).await;
    let tenant = here.tenant("acme").await;
    // It hears of nothing by itself.
    let there = Service::of(here.app().config().clone()).await;
    let made = json!({"name": "nightly", "scopes": ["decide"]});
    let made = here.post(&tenant, tenant.admin, "/v1/api-keys", made).await;
    let (id, key) = (made.id(), made.body["key"].as_str().unwrap().to_owned());
    let batch = json!({
        "subject": {"type": "User", "id": tenant.member},
        "action": {"name": "settings.read"},
        "resource": {"type": "Settings", "id": format!("set_{}", &tenant.org.to_string()[4..])},
        "evaluations": [{}, {}, {}],
    });
    let asks = || {
        let asked = there.ask("POST", "/access/v1/evaluations").key(&key);
        asked.body(&batch).send()
    };
    let answered = asks().await.ok();
    assert_eq!(answered["evaluations"].as_array().unwrap().len(), 3);
    let place = format!("/v1/api-keys/{id}");
    let gone = here.delete(&tenant, tenant.admin, &place).await;
    assert_eq!(gone.status, 204);
    let told = asks().await;
    assert_eq!(told.status, 401, "{}", told.body);
    assert!(told.headers.contains_key("www-authenticate"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_goes_on_whatever_the_order_of_its_members() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let asks = async |text: String| {
        let asked = service.ask("POST", "/access/v1/search/subject");
        asked.key(&tenant.key).raw(text.into_bytes()).send().await
    };
    let member = tenant.member;
    let first = asks(format!(
        r#"{{"subject": {{"type": "User"}}, "action": {{"name": "member.read"}}, "resource": {{"type": "User", "id": "{member}"}},
            "context": {{"a": 1, "b": {{"c": 2, "d": 3}}}}, "page": {{"limit": 1}}}}"#
    ));
    let first = first.await.ok();
    let token = first["page"]["next_token"].as_str().unwrap();
    let next = |deepest: u8| {
        asks(format!(
            r#"{{"page": {{"token": "{token}"}}, "context": {{"b": {{"d": {deepest}, "c": 2}}, "a": 1}},
                "resource": {{"id": "{member}", "type": "User"}}, "action": {{"name": "member.read"}}, "subject": {{"type": "User"}}}}"#
        ))
    };
    let second = next(3).await.ok();
    assert_eq!(second["results"].as_array().unwrap().len(), 1);
    assert_ne!(first["results"], second["results"]);
    assert_eq!(next(4).await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_does_not_begin_anew_where_its_place_is_gone() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let schema = |actions: &str| {
        format!(
            "entity Ticket;\naction {actions} appliesTo {{ principal: [Cedarkeep::User], resource: [Ticket] }};"
        )
    };
    let scope = "principal, action, resource is Ticket";
    loads(&service, &tenant, &schema("close, open, see"), scope).await;
    let mut search = json!({
        "subject": {"type": "User", "id": tenant.member},
        "resource": {"type": "Ticket", "id": "1"},
        "page": {"limit": 2},
    });
    let first = asks(&service, &tenant, "search/action", &search).await;
    search["page"] = json!({"token": first.body["page"]["next_token"]});
    assert_eq!(found(first), ["close", "open"]);
    let rest = asks(&service, &tenant, "search/action", &search).await;
    assert_eq!(found(rest), ["see"]);
    loads(&service, &tenant, &schema("close, see"), scope).await;
    let told = asks(&service, &tenant, "search/action", &search).await;
    assert_eq!(told.status, 400, "{}", told.body);
    let said = String::from_utf8_lossy(&told.bytes);
    assert!(said.contains("page.token"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_for_agents_alone_is_denied_to_one_that_acts_for_somebody() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    let place = format!("/v1/agents/{}", things.agent);
    let definition = service.get(&tenant, tenant.admin, &place).await.ok();
    let schema = "entity Ticket;\naction agent_only appliesTo { principal: [Cedarkeep::Agent], resource: [Ticket] };";
    let scope = "principal, action == Action::\"agent_only\", resource";
    loads(&service, &tenant, schema, scope).await;
    let ticket = json!({"uid": {"type": "Ticket", "id": "1"}, "attrs": {}, "parents": []});
    let put = service.by(&tenant, tenant.admin, "PUT", "/v1/entities");
    put.body(&json!({"entities": [ticket]})).send().await.ok();
    // Both must be allowed, and nobody is.
    let question = json!({
        "subject": {"type": "Agent", "id": definition["agents"][0]},
        "action": {"name": "agent_only"},
        "resource": {"type": "Ticket", "id": "1"},
        "context": {"acts_for": tenant.admin},
    });
    let told = asks(&service, &tenant, "evaluation", &question).await.ok();
    assert_eq!(told["decision"], false);
    assert_eq!(told["context"]["kind"], "not_permitted");
    let told = asks(&service, &tenant, "search/resource", &question).await;
    assert!(found(told).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_never_done_names_nobody_that_is_not_there() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let thread = json!({"name": "Plan", "audience": tenant.everybody});
    let thread = service.post(&tenant, tenant.admin, "/v1/threads", thread);
    let thread = thread.await.id();
    let [nobody, nothing] = [(Kind::User, 7), (Kind::Thread, 8)]
        .map(|(kind, byte)| Ref::new(kind, [byte; 16]).to_string());
    let asked = async |who: &str, what: &str, (action, context): (&str, Value)| {
        let question = json!({
            "subject": {"type": "User", "id": who},
            "action": {"name": action},
            "resource": {"type": "Thread", "id": what},
            "context": context,
        });
        let told = asks(&service, &tenant, "evaluation", &question).await.ok();
        assert_eq!(told["context"]["kind"], "forbidden");
        let entries = service.get(&tenant, tenant.admin, "/v1/audit/entries?limit=100");
        let entries = entries.await.ok()["items"].clone();
        let at = told["context"]["log"]["index"].to_string();
        let at = at.trim_matches('"');
        let entries = entries.as_array().unwrap().iter();
        let mut entries = entries.filter(|entry| entry["index"] == at);
        entries.next().unwrap()["leaf"].clone()
    };
    let member = tenant.member.to_string();
    for said in [
        ("thread.read", json!({"purpose": "train"})),
        ("model.train", json!({})),
    ] {
        let leaf = asked(&nobody, &nothing, said.clone()).await;
        let text = leaf.to_string();
        assert!(
            !text.contains(&nobody) && !text.contains(&nothing),
            "{text}"
        );
        let leaf = asked(&member, &thread, said).await;
        assert_eq!(leaf["actor"]["id"], member);
        assert_eq!(leaf["resource"]["id"], thread);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_that_the_schema_lists_are_found_and_there_are_no_others() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let schema = r#"entity Application enum ["TinyTodo", "Other"];
        action launch appliesTo { principal: [Cedarkeep::User, Application], resource: [Application], context: { from?: Application } };"#;
    let scope = "principal, action == Action::\"launch\", resource";
    loads(&service, &tenant, schema, scope).await;
    let question = |application: &str, from: &str| {
        json!({
            "subject": {"type": "User", "id": tenant.member},
            "action": {"name": "launch"},
            "resource": {"type": "Application", "id": application},
            "context": {"from": from},
        })
    };
    let decided = async |question: Value| {
        let told = asks(&service, &tenant, "evaluation", &question).await.ok();
        let kind = told["context"]["kind"].as_str().map(str::to_owned);
        (told["decision"].as_bool().unwrap(), kind)
    };
    let denied = (false, Some("not_permitted".to_owned()));
    assert_eq!(decided(question("TinyTodo", "Other")).await, (true, None));
    assert_eq!(decided(question("Nope", "Other")).await, denied);
    let mut by = question("Other", "Other");
    by["subject"] = json!({"type": "Application", "id": "TinyTodo"});
    assert_eq!(decided(by.clone()).await, (true, None));
    by["subject"]["id"] = json!("Nope");
    assert_eq!(decided(by.clone()).await, denied);
    // What is said of the circumstances is wrong, as anything else of a wrong type is.
    let told = asks(&service, &tenant, "evaluation", &question("Other", "Nope")).await;
    assert_eq!(told.status, 400, "{}", told.body);
    let said = String::from_utf8_lossy(&told.bytes);
    assert!(said.contains("`Other`, `TinyTodo`"), "{said}");

    // In order, each once, one that is stored too among them.
    let stored = json!({"uid": {"type": "Application", "id": "Other"}, "attrs": {}, "parents": []});
    let put = service.by(&tenant, tenant.admin, "PUT", "/v1/entities");
    let put = put.body(&json!({"entities": [stored]})).send().await;
    assert_eq!(put.status, 200, "{}", put.body);
    let all = ["Other", "TinyTodo"];
    let told = asks(
        &service,
        &tenant,
        "search/resource",
        &question("any", "Other"),
    )
    .await;
    assert_eq!(found(told), all);
    let told = asks(&service, &tenant, "search/subject", &by).await;
    assert_eq!(found(told), all);
    let mut paged = question("any", "Other");
    paged["page"] = json!({"limit": 1});
    let first = asks(&service, &tenant, "search/resource", &paged).await;
    paged["page"] = json!({"token": first.body["page"]["next_token"]});
    assert_eq!(found(first), ["Other"]);
    let rest = asks(&service, &tenant, "search/resource", &paged).await;
    assert_eq!(found(rest), ["TinyTodo"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_there_is_not_is_none() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let question = |role: &str| {
        json!({
            "subject": {"type": "User", "id": tenant.admin},
            "action": {"name": "member.change_role"},
            "resource": {"type": "User", "id": tenant.member},
            "context": {"new_role": role},
        })
    };
    let told = asks(&service, &tenant, "evaluation", &question("Viewer")).await;
    assert_eq!(told.ok()["decision"], true);
    let told = asks(&service, &tenant, "evaluation", &question("Emperor")).await;
    assert_eq!(told.status, 400, "{}", told.body);
}
