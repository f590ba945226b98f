//! The OpenAPI document against what is sent and answered: every call of the tests is held to it.
//!
//! What a document allows beside what it names is closed here, so that a member that it does not name is found too.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use cedarkeep::http;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::harness::Service;

/// The bodies of a call.
struct Call {
    method: String,
    segments: Vec<String>,
    /// What may be sent as JSON.
    sent: Option<Form>,
    /// What is answered, by status.
    answered: HashMap<u16, Answer>,
}

/// An answer of one status.
struct Answer {
    /// Of which media types it may be; none: it has no body.
    media_types: Vec<String>,
    /// What it looks like where it is JSON.
    form: Option<Form>,
}

/// What a body looks like; compiled when one is held to it, since a test makes few of all the calls.
struct Form {
    schema: Value,
    compiled: OnceLock<Validator>,
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(http::openapi()).unwrap();
    close(&mut document);
    name_in_place(&mut document);
    document
});

static CALLS: LazyLock<Vec<Call>> = LazyLock::new(|| {
    operations(&DOCUMENT)
        .map(|(method, path, operation)| {
            let responses = operation["responses"].as_object().unwrap();
            Call {
                method: method.to_uppercase(),
                segments: path.split('/').map(str::to_owned).collect(),
                sent: Form::of(&operation["requestBody"]),
                answered: responses
                    .iter()
                    .filter_map(|(status, body)| Some((status.parse().ok()?, Answer::of(body))))
                    .collect(),
            }
        })
        .collect()
});

impl Answer {
    fn of(body: &Value) -> Self {
        let content = body.get("content").and_then(Value::as_object);
        let media_types = content.into_iter().flat_map(Map::keys);
        Self {
            media_types: media_types.cloned().collect(),
            form: Form::of(body),
        }
    }

    /// Whether it may be of this media type, or has no body where none is said.
    fn is_of(&self, media_type: Option<&str>) -> bool {
        let Some(media_type) = media_type else {
            return self.media_types.is_empty();
        };
        let plain = media_type.split(';').next().unwrap().trim();
        let mut said = self.media_types.iter();
        said.any(|said| said == "*/*" || said == plain)
    }
}

impl Form {
    fn of(body: &Value) -> Option<Self> {
        Some(Self {
            schema: json_schema(body)?.clone(),
            compiled: OnceLock::new(),
        })
    }

    fn compiled(&self) -> &Validator {
        self.compiled
            .get_or_init(|| validator(&self.schema, &DOCUMENT["components"]["schemas"]))
    }
}

/// Puts answers that are named in the place of their names.
fn name_in_place(document: &mut Value) {
    let named = document["components"]["responses"].clone();
    let items = document["paths"].as_object_mut().unwrap().values_mut();
    let operations = items.flat_map(|item| item.as_object_mut().unwrap().values_mut());
    for operation in operations {
        let responses = operation
            .get_mut("responses")
            .and_then(Value::as_object_mut);
        for response in responses.into_iter().flat_map(Map::values_mut) {
            let name = response.get("$ref").and_then(Value::as_str);
            if let Some(name) = name.and_then(|name| name.strip_prefix("#/components/responses/")) {
                *response = named[name].clone();
            }
        }
    }
}

fn operations(document: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations
            .filter(|(_, operation)| operation.get("responses").is_some())
            .map(move |(method, operation)| (method, path, operation))
    })
}

fn json_schema(body: &Value) -> Option<&Value> {
    let content = body.get("content")?.as_object()?;
    content
        .iter()
        .find(|(media_type, _)| media_type.ends_with("json") && !media_type.ends_with("ndjson"))
        .map(|(_, content)| &content["schema"])
}

/// Compiled beside those of these components that it leads to.
fn validator(schema: &Value, components: &Value) -> Validator {
    let (mut led_to, mut open) = (Map::new(), vec![schema]);
    while let Some(one) = open.pop() {
        match one {
            Value::Object(members) => {
                open.extend(members.values());
                let name = members.get("$ref").and_then(Value::as_str);
                if let Some(name) = name.and_then(|name| name.strip_prefix("#/components/schemas/"))
                    && !led_to.contains_key(name)
                {
                    let component = components.get(name).unwrap();
                    led_to.insert(name.to_owned(), component.clone());
                    open.push(component);
                }
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    let mut root = schema.as_object().cloned().unwrap_or_default();
    root.insert("components".into(), json!({ "schemas": led_to }));
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&Value::Object(root))
        .unwrap()
}

/// Nothing beside the members that an object names.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("properties").is_some_and(Value::is_object)
                && members.get("type").is_some_and(|kind| kind == "object")
            {
                members
                    .entry("additionalProperties")
                    .or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Looks at a call that was answered: whether the document says as much of it. What was refused need not have been sent as it should be.
pub fn hold(
    method: &str,
    path: &str,
    sent: Option<&[u8]>,
    (status, media_type, answered): (u16, Option<&str>, &Value),
) {
    let segments: Vec<&str> = path.split('/').collect();
    let fits = |call: &&Call| {
        call.method == method
            && call.segments.len() == segments.len()
            && call
                .segments
                .iter()
                .zip(&segments)
                .all(|(of, one)| of.starts_with('{') || of == one)
    };
    let named = |call: &&Call| {
        call.segments
            .iter()
            .filter(|of| !of.starts_with('{'))
            .count()
    };
    let Some(call) = CALLS.iter().filter(fits).max_by_key(named) else {
        return;
    };
    let what = format!("{method} {}", call.segments.join("/"));
    let answer = call.answered.get(&status);
    // What is not there, what has another method, and what fails are said of all.
    assert!(
        answer.is_some() || status >= 500 || [404, 405].contains(&status),
        "{what}: the document has no {status}: {answered}"
    );
    // An answer to HEAD has the other's headers and no body.
    if let Some(answer) = answer.filter(|_| method != "HEAD") {
        assert!(
            answer.is_of(media_type),
            "{what}: {status} is of {media_type:?}, which the document does not say: {:?}",
            answer.media_types
        );
        let of_json = |one: &str| one.ends_with("json") && !one.contains("ndjson");
        if let Some(form) = answer
            .form
            .as_ref()
            .filter(|_| media_type.is_some_and(of_json))
        {
            let what = format!("{what}: what is answered with {status}");
            agrees(form, answered, &what);
        }
    }
    if (200..300).contains(&status)
        && let Some((form, sent)) = call.sent.as_ref().zip(sent)
        && let Ok(sent) = serde_json::from_slice(sent)
    {
        agrees(form, &sent, &format!("{what}: what is sent"));
    }
}

fn agrees(form: &Form, body: &Value, what: &str) {
    let wrong: Vec<String> = form
        .compiled()
        .iter_errors(body)
        .map(|error| format!("at `{}`: {error}", error.instance_path()))
        .collect();
    assert!(
        wrong.is_empty(),
        "{what} is not as documented:\n{}\n{body:#}",
        wrong.join("\n")
    );
}

/// Whether a schema says anything.
fn says(schema: &Value) -> bool {
    schema.as_object().is_some_and(|members| {
        members
            .keys()
            .any(|key| key != "description" && key != "title")
    })
}

#[test]
fn every_body_in_the_document_says_what_it_looks_like() {
    let document = serde_json::to_value(http::openapi()).unwrap();
    let mut silent = Vec::new();
    for (method, path, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        let bodies = responses
            .iter()
            .map(|(status, body)| (status.as_str(), body));
        for (which, body) in bodies.chain([("request", &operation["requestBody"])]) {
            if json_schema(body).is_some_and(|schema| !says(schema)) {
                silent.push(format!("{method} {path}: {which}"));
            }
        }
    }
    assert!(
        silent.is_empty(),
        "bodies in words alone:\n{}",
        silent.join("\n")
    );
}

#[test]
fn every_member_in_the_document_has_a_type() {
    let document = serde_json::to_value(http::openapi()).unwrap();
    let mut untyped = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let members = schema.get("properties").and_then(Value::as_object);
        for (member, schema) in members.unwrap_or(&Map::new()) {
            if !says(schema) {
                untyped.push(format!("{name}.{member}"));
            }
        }
    }
    assert!(untyped.is_empty(), "{untyped:?}");
}

#[test]
fn a_member_that_is_not_documented_is_found() {
    let mut schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    close(&mut schema);
    let schema = validator(&schema, &json!({}));
    assert!(schema.is_valid(&json!({"name": "a"})));
    assert!(!schema.is_valid(&json!({"name": "a", "other": 1})));
    assert!(!schema.is_valid(&json!({"name": 1})));
}

/// What no other test of the API calls with success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_seldom_asked_for_is_answered_as_documented() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    let by = |method: &str, path: String| service.by(&tenant, tenant.admin, method, &path);
    for place in [
        format!("assistants/{}", things.assistant),
        format!("prompt-templates/{}", things.template),
        format!("tools/{}", things.tool),
        format!("agents/{}", things.agent),
        format!("agent-runs/{}", things.run),
    ] {
        let content = by("PUT", format!("/v1/{place}/content")).content("text/plain", "Be brief.");
        content.send().await.ok();
        let versions = by("GET", format!("/v1/{place}/versions")).send().await.ok();
        assert_eq!(versions["items"].as_array().unwrap().len(), 1, "{place}");
    }
    for place in [&format!("memory/{}", things.memory), "scim", "sso"] {
        by("GET", format!("/v1/{place}")).send().await.ok();
    }
    let drafted = by("POST", "/v1/policy-versions".into()).body(&json!({"policies": {}}));
    let version = drafted.send().await.body["version"].clone();
    let check = by("POST", format!("/v1/policy-versions/{version}/check"));
    let check = check.body(&json!({"proof": false, "replay": false})).send();
    assert_eq!(check.await.status, 200);
    let rotation = by("POST", "/v1/keys/records/rotation".into())
        .send()
        .await
        .ok();
    assert_eq!(rotation["key"], "records");
    let closing = by("POST", "/v1/organization/closing".into()).body(&json!({"days": 7}));
    assert!(closing.send().await.ok()["closes_at"].is_string());
    let kept = by("DELETE", "/v1/organization/closing".into()).send().await;
    assert!(kept.ok()["closes_at"].is_null());
}
