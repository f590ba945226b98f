//! What somebody is told beside an answer: nothing of what is stored that they may not read, and nothing of whether a thing is there.

use cedarkeep::directory::Ref;
use cedarkeep::directory::object::Scope;
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told, key};

const SCHEMA: &str = r#"
entity Folder;
entity Ticket in [Folder] { n: Long, age: Long } tags String;
action "see", "add", "sum" appliesTo { principal: [Cedarkeep::User], resource: [Ticket], context: { reason?: String } };
action "file" appliesTo { principal: [Cedarkeep::User], resource: [Folder], context: { other?: Ticket } };
action "look" appliesTo { principal: [Ticket], resource: [Ticket] };
"#;

const POLICIES: &str = r#"
@id("see.tag") @reason("Some are marked.")
permit(principal, action == Action::"see", resource)
when { resource.hasTag("CANARY-TAG") && resource.getTag("CANARY-TAG") == "legal" };
@id("see.computed") @reason("Some are of a number.")
permit(principal, action == Action::"see", resource)
when { (if context has reason then resource else resource).n == 7 };
@id("file.other") @reason("Some are there already.")
permit(principal, action == Action::"file", resource) when { context has other && context.other in resource };
@id("add.computed") @reason("A sum.")
permit(principal, action == Action::"add", resource)
when { (if context has reason then resource else resource).n + 9223372036854775807 > 0 };
@id("sum.plain") @reason("A product.")
forbid(principal, action == Action::"sum", resource) when { resource.n * 1000000000000000000 > 1000 };
@id("look.age") @reason("Some are of an age.")
permit(principal, action == Action::"look", resource) when { resource.age == 20 };
"#;

/// The thing of a kind that nobody has.
const NO_THREAD: &str = "/v1/threads/thr_aaaaaaaaaaaaaaaaaaaaaaaaaa";

async fn load(service: &Service, tenant: &Tenant, schema: Option<&str>, policies: &str) -> Told {
    let mut body = json!({"policies": {"own.cedar": policies}});
    if let Some(schema) = schema {
        body["schema"] = json!(schema);
    }
    let put = service.by(tenant, tenant.admin, "PUT", "/v1/policy-set");
    put.body(&body).send().await
}

/// An organization with a ticket `5`, which is in the folder `g`.
async fn with_tickets(service: &Service) -> Tenant {
    let tenant = service.tenant("acme").await;
    load(service, &tenant, Some(SCHEMA), POLICIES).await.ok();
    let ticket = json!({
        "uid": {"type": "Ticket", "id": "5"}, "attrs": {"n": 87_654_321, "age": 474_747_474},
        "parents": [{"type": "Folder", "id": "g"}], "tags": {"CANARY-TAG": "sales"},
    });
    let folder =
        |id: &str| json!({"uid": {"type": "Folder", "id": id}, "attrs": {}, "parents": []});
    let entities = json!({"entities": [folder("f"), folder("g"), ticket]});
    let put = service.by(&tenant, tenant.admin, "PUT", "/v1/entities");
    put.body(&entities).send().await.ok();
    tenant
}

fn on_ticket(subject: Ref, action: &str) -> Value {
    json!({
        "subject": {"type": "User", "id": subject}, "action": {"name": action},
        "resource": {"type": "Ticket", "id": "5"},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_one_that_is_both_subject_and_resource_is_said_of_it() {
    let service = Service::open().await;
    let tenant = with_tickets(&service).await;
    let asking = key(&tenant.door, &[Scope::Explain, Scope::Decide]).await;
    let ask = async |path: &str, subject: Value, resource: Value| {
        let one = |said: &Value| json!({"type": "Ticket", "id": "5", "properties": said});
        let question = json!({"subject": one(&subject), "action": {"name": "look"}, "resource": one(&resource)});
        let ask = service.ask("POST", path).key(&asking).body(&question);
        ask.send().await.ok()
    };
    for (subject, resource, allowed) in [
        (json!({"age": 20}), json!({}), true),
        (json!({"age": 1}), json!({}), false),
        (json!({"age": 1}), json!({"age": 20}), true),
        (json!({"age": 20}), json!({"age": 1}), false),
        (json!({"age": 20}), json!({"age": null}), true),
        (json!({"n": 1}), json!({"age": 20}), true),
        (json!({}), json!({}), false),
    ] {
        let decided = ask("/access/v1/evaluation", subject.clone(), resource.clone()).await;
        assert_eq!(decided["decision"], allowed, "{subject} {resource}");
        let told = ask("/v1/explain", subject.clone(), resource.clone()).await;
        assert_eq!(told["decision"], allowed, "{subject} {resource}");
        assert!(!told.to_string().contains("474747474"), "{subject}: {told}");
    }
    let told = ask("/v1/explain", json!({"age": 1}), json!({})).await;
    let looked = &told["why"][0]["near_misses"][0]["conditions"][0]["values"][0];
    assert_eq!(looked["value"], 1, "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_on_what_may_not_be_seen_is_withheld_whatever_its_form() {
    let service = Service::open().await;
    let tenant = with_tickets(&service).await;
    let alone = key(&tenant.door, &[Scope::Explain]).await;
    let mut file = on_ticket(tenant.viewer, "file");
    file["resource"] = json!({"type": "Folder", "id": "f"});
    file["context"] = json!({"other": {"type": "Ticket", "id": "5"}});
    let questions = [
        (on_ticket(tenant.viewer, "see"), "near_misses", 2),
        (file, "near_misses", 1),
        (on_ticket(tenant.viewer, "add"), "failed", 1),
    ];
    for (question, kind, count) in questions {
        let ask = service.ask("POST", "/v1/explain").key(&alone);
        let told = ask.body(&question).send().await.ok();
        let policies = told["why"][0][kind].as_array().unwrap();
        assert_eq!(policies.len(), count, "{told}");
        for policy in policies {
            for part in policy["conditions"].as_array().unwrap() {
                assert_eq!(part["withheld"], true, "{told}");
                assert!(part.get("error").is_none(), "{told}");
            }
        }
        let text = told.to_string();
        for hidden in ["CANARY", "getTag", "has reason", "87654321", "overflow"] {
            assert!(!text.contains(hidden), "{hidden}: {told}");
        }
        assert!(!text.contains("it is the ticket"), "{told}");
        // Whoever may read it is told.
        let told = service.post(&tenant, tenant.admin, "/v1/explain", question);
        let told = told.await.ok();
        for policy in told["why"][0][kind].as_array().unwrap() {
            for part in policy["conditions"].as_array().unwrap() {
                assert!(part["condition"].is_string(), "{told}");
            }
        }
        assert_eq!(told.to_string().contains("overflow"), kind == "failed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_in_an_error_of_cedars_is_in_the_log_alone() {
    let service = Service::open().await;
    let tenant = with_tickets(&service).await;
    let deciding = key(&tenant.door, &[Scope::Decide]).await;
    let question = on_ticket(tenant.viewer, "sum");
    let several = json!({"evaluations": [question, question]});
    for (path, body) in [
        ("/access/v1/evaluation", &question),
        ("/access/v1/evaluations", &several),
    ] {
        let ask = service.ask("POST", path).key(&deciding);
        let ask = ask.header("cedarkeep-explain", "true").body(body);
        let told = ask.send().await.ok();
        let one = match told["evaluations"].as_array() {
            Some(all) => &all[1],
            None => &told,
        };
        let failed = json!([{"id": "sum.plain", "reason": "could not be evaluated"}]);
        assert_eq!(one["context"]["policies"], failed, "{told}");
        assert!(!told.to_string().contains("87654321"), "{told}");
    }
    let entries = "/v1/audit/entries?limit=1&event=decision.made&action=sum";
    let entries = service.get(&tenant, tenant.admin, entries).await.ok();
    assert!(entries.to_string().contains("overflow"), "{entries}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_caller_says_nothing_of_what_is_asked_for() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let thread = service.things(&tenant).await.thread;
    let deciding = key(&tenant.door, &[Scope::Decide]).await;
    // Satisfied of what is there, and an error of what is not.
    let own = r#"@id("own.services") @reason("No service reads.")
forbid(principal is Cedarkeep::Service, action == Cedarkeep::Action::"thread.read", resource)
when { principal.org == resource.org };"#;
    for own in ["", own] {
        if !own.is_empty() {
            load(&service, &tenant, None, own).await.ok();
        }
        for method in ["GET", "DELETE"] {
            for (key, user, reason) in [
                (&tenant.key, None, "services.acting_user"),
                (&deciding, Some(tenant.viewer), "services."),
            ] {
                let mut told = Vec::new();
                for path in [format!("/v1/threads/{thread}").as_str(), NO_THREAD] {
                    let ask = service.ask(method, path).key(key);
                    let ask = match user {
                        Some(user) => ask.user(user),
                        None => ask,
                    };
                    let answer = ask.send().await;
                    assert!(answer.is_problem(403).contains(reason), "{answer:?}");
                    told.push(answer.bytes);
                }
                assert_eq!(told[0], told[1], "{method}");
            }
        }
    }
    let told = service.ask("GET", NO_THREAD).key(&tenant.key).send().await;
    assert!(told.is_problem(403).contains("`Cedarkeep-Acting-User`"));
    // A list is asked about a thing that nobody has, which is not told.
    for (path, reason) in [
        ("/v1/users", "services.directory_read"),
        ("/v1/threads", "services.content"),
    ] {
        let told = service.ask("GET", path).key(&deciding).user(tenant.viewer);
        let told = told.send().await;
        let why = told.is_problem(403);
        assert!(why.contains(reason), "{why}");
        assert!(!why.contains("evaluat") && !why.contains("_aaaa"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_policy_is_not_about_the_caller_whatever_its_name() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let private = json!({"name": "Private"});
    let private = service.post(&tenant, tenant.member, "/v1/threads", private);
    let place = format!("/v1/threads/{}", private.await.id());
    for id in [
        "active.confidential",
        "services.confidential",
        "sso.confidential",
        "never.train_purpose.not",
    ] {
        let own = format!(
            r#"@id("{id}") @reason("It is theirs.")
forbid(principal is Cedarkeep::User, action == Cedarkeep::Action::"thread.read", resource)
when {{ resource.owner != principal }};"#
        );
        load(&service, &tenant, None, &own).await.ok();
        let there = service.get(&tenant, tenant.viewer, &place).await;
        let absent = service.get(&tenant, tenant.viewer, NO_THREAD).await;
        there.is_problem(404);
        assert_eq!((there.status, &there.bytes), (absent.status, &absent.bytes));
        service.get(&tenant, tenant.member, &place).await.ok();
    }
    // What a suspension says, no policy says.
    let own = r#"@id("organization.suspended") @reason("It looks like one.")
forbid(principal, action == Cedarkeep::Action::"thread.read", resource);"#;
    let refused = load(&service, &tenant, None, own).await;
    refused.is_problem(400);
    assert!(refused.body.to_string().contains("built-in policy"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_for_training_is_refused_and_no_search_is_made() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    service.things(&tenant).await;
    let recorded = async |query: &str| {
        let path = format!("/v1/audit/entries?limit=200&{query}");
        let found = service.get(&tenant, tenant.admin, &path).await.ok();
        found["items"].as_array().unwrap().len()
    };
    let (searches, refusals) = ("event=search.made", "policy=never.train_purpose");
    let before = recorded(searches).await;
    let lists = [
        "users",
        "threads",
        "documents",
        "memory",
        "api-keys",
        "teams",
    ];
    for (number, list) in lists.into_iter().enumerate() {
        let path = format!("/v1/{list}");
        let ask = service.by(&tenant, tenant.admin, "GET", &path);
        let told = ask.header("cedarkeep-purpose", "train").send().await;
        assert!(
            told.is_problem(403).contains("never.train_purpose"),
            "{told:?}"
        );
        assert_eq!(recorded(refusals).await, number + 1, "{list}");
    }
    assert_eq!(recorded(searches).await, before);
    let ask = service.by(&tenant, tenant.admin, "POST", "/v1/threads");
    let ask = ask.header("cedarkeep-purpose", "train");
    let told = ask.body(&json!({"name": "New"})).send().await;
    assert!(told.is_problem(403).contains("never.train_purpose"));
    for path in ["/v1/organization", NO_THREAD] {
        let ask = service.by(&tenant, tenant.admin, "GET", path);
        let told = ask.header("cedarkeep-purpose", "train").send().await;
        assert!(told.is_problem(403).contains("never.train_purpose"));
    }
}
