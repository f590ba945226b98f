//! What somebody is told beside an answer: nothing of what is stored that they may not read, and nothing of whether a thing is there.

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
