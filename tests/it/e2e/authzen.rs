//! AuthZEN over HTTPS: the public todo scenario in full, the certification's scenario, and what is easy to get wrong.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::client::{Answer, Client, MORTY, may_morty_change};
use crate::harness::server::{Server, Site};

/// A service with the certification's people and records, and a client with a key for it.
async fn records() -> (Site, Server, Client) {
    let site = Site::sqlite();
    site.create_org("records");
    site.add_admin("records");
    site.load("records", "certification");
    let key = site.create_key("records", "decide");
    let server = site.serve().await;
    let client = server.client(&key);
    (site, server, client)
}

fn ask(subject: &str, action: Value, resource: &str) -> Value {
    json!({
        "subject": {"type": "user", "id": subject},
        "action": action,
        "resource": {"type": "record", "id": resource},
    })
}

fn question(subject: &str, action: &str, resource: &str) -> Value {
    ask(subject, json!({"name": action}), resource)
}

fn assert_refused(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.body);
    assert!(!answer.body.trim().is_empty(), "{what}: no message");
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("text/plain"),
        "{what}"
    );
    assert!(
        !answer.body.contains("\"decision\""),
        "{what}: an error is no decision"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_todo_scenario_is_answered_in_full() {
    let site = Site::sqlite();
    let key = site.create_todo_org("todo");
    let server = site.serve().await;
    let client = server.client(&key);
    let vectors = include_str!("../../vectors/todo-decisions-1_0-02.json");
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let mut asked = 0;
    for vector in vectors["evaluation"].as_array().unwrap() {
        let answer = client.evaluate(&vector["request"]).await.unwrap();
        // The whole body: the public runners compare it so.
        assert_eq!(answer.status, 200, "{}: {}", vector["request"], answer.body);
        assert_eq!(
            answer.json(),
            json!({"decision": vector["expected"]}),
            "{}",
            vector["request"]
        );
        asked += 1;
    }
    for vector in vectors["evaluations"].as_array().unwrap() {
        let answer = client.evaluations(&vector["request"]).await.unwrap();
        assert_eq!(answer.status, 200, "{}: {}", vector["request"], answer.body);
        assert_eq!(
            answer.json(),
            json!({"evaluations": vector["expected"]}),
            "{}",
            vector["request"]
        );
        asked += 1;
    }
    assert_eq!(asked, 43);
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_core_and_properties() {
    let (_site, _server, client) = records().await;
    let delete = |soft: bool| json!({"name": "delete", "properties": {"soft": soft}});
    for (asked, expected) in [
        (question("alice", "read", "record-1"), true),
        (question("alice", "write", "record-1"), true),
        (question("bob", "read", "record-1"), true),
        (question("bob", "write", "record-1"), false),
        (question("alice", "write", "record-2"), false),
        (question("bob", "write", "record-2"), true),
        (ask("alice", delete(true), "record-1"), true),
        (ask("alice", delete(false), "record-1"), false),
        (question("alice", "delete", "record-1"), false),
    ] {
        let answer = client.evaluate(&asked).await.unwrap();
        assert_eq!(answer.status, 200, "{asked}: {}", answer.body);
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{asked}"
        );
        assert_eq!(answer.json(), json!({"decision": expected}), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_core_and_properties() {
    let (_site, _server, client) = records().await;
    let item = |id: &str| json!({"resource": {"type": "record", "id": id}});
    let batch = |options: Value| {
        json!({
            "subject": {"type": "user", "id": "alice"},
            "action": {"name": "write"},
            "evaluations": [item("record-1"), item("record-2"), item("record-1")],
            "options": options,
        })
    };
    let decided = |decisions: &[bool]| {
        let all: Vec<_> = decisions
            .iter()
            .map(|decision| json!({"decision": decision}))
            .collect();
        json!({"evaluations": all})
    };
    for (options, expected) in [
        (json!({}), &[true, false, true][..]),
        (
            json!({"evaluations_semantic": "execute_all", "unknown": 1}),
            &[true, false, true],
        ),
        (
            json!({"evaluations_semantic": "deny_on_first_deny"}),
            &[true, false],
        ),
        (
            json!({"evaluations_semantic": "permit_on_first_permit"}),
            &[true],
        ),
    ] {
        let answer = client.evaluations(&batch(options.clone())).await.unwrap();
        assert_eq!(
            (answer.status, answer.json()),
            (200, decided(expected)),
            "{options}"
        );
    }
    let unknown = client
        .evaluations(&batch(json!({"evaluations_semantic": "guess"})))
        .await
        .unwrap();
    assert_refused(&unknown, 400, "an unknown semantic");

    // Without items it is one evaluation, and is answered like one.
    for evaluations in [None, Some(json!([]))] {
        let mut one = question("alice", "read", "record-1");
        if let Some(evaluations) = evaluations {
            one["evaluations"] = evaluations;
        }
        let answer = client.evaluations(&one).await.unwrap();
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"decision": true}))
        );
    }

    // One item that lacks a resource is a deny of its own, in its place.
    let lacking = json!({
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "read"},
        "evaluations": [item("record-1"), {}, item("record-2")],
    });
    let answer = client.evaluations(&lacking).await.unwrap();
    let items = answer.json()["evaluations"].as_array().unwrap().clone();
    assert_eq!(answer.status, 200);
    assert_eq!(items.len(), 3, "{}", answer.body);
    let decisions: Vec<_> = items
        .iter()
        .map(|item| item["decision"].as_bool().unwrap())
        .collect();
    assert_eq!(decisions, [true, false, true]);
    assert_eq!(items[1]["context"]["error"]["status"], 400);

    // An item's member replaces the default whole, and a default that no item uses may be anything.
    let replaced = json!({
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "delete", "properties": {"soft": true}},
        "resource": {},
        "context": {},
        "evaluations": [item("record-1"), {"action": {"name": "delete"}, "resource": {"type": "record", "id": "record-1"}}],
    });
    let answer = client.evaluations(&replaced).await.unwrap();
    assert_eq!(
        (answer.status, answer.json()),
        (200, decided(&[true, false]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_1_a_body_that_is_not_right_is_a_400_and_nothing_else() {
    let (_site, _server, client) = records().await;
    let path = "/access/v1/evaluation";
    let without = |member: &str| {
        let mut asked = question("alice", "read", "record-1");
        asked.as_object_mut().unwrap().remove(member);
        asked
    };
    let with = |pointer: &str, value: Value| {
        let mut asked = question("alice", "read", "record-1");
        *asked.pointer_mut(pointer).unwrap() = value;
        asked
    };
    for asked in [
        without("subject"),
        without("action"),
        without("resource"),
        with("/subject", json!("alice")),
        with("/subject/id", json!(7)),
        with("/subject/type", json!(null)),
        with("/action", json!({})),
        with("/action/name", json!(["read"])),
        with("/resource", json!([])),
        with("/resource/id", json!("")),
    ] {
        for path in [path, "/access/v1/evaluations"] {
            let answer = client.post(path, &asked).await.unwrap();
            assert_refused(&answer, 400, &format!("{path} {asked}"));
        }
    }
    for body in [
        "",
        " ",
        "{",
        "[]",
        "null",
        "\"text\"",
        "{\"subject\":}",
        "{} {}",
    ] {
        let answer = client
            .post_bytes(path, body.as_bytes().to_vec())
            .await
            .unwrap();
        assert_refused(&answer, 400, body);
    }
    let good = question("alice", "read", "record-1")
        .to_string()
        .into_bytes();
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/xml"),
    ] {
        let headers: Vec<_> = kind.iter().map(|kind| ("content-type", *kind)).collect();
        let answer = client
            .send(Method::POST, path, &headers, Some(good.clone()))
            .await
            .unwrap();
        assert_refused(&answer, 400, &format!("{kind:?}"));
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        let answer = client
            .send(
                Method::POST,
                path,
                &[("content-type", kind)],
                Some(good.clone()),
            )
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{kind}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_2_an_entity_without_an_id_is_a_400_where_it_is_input() {
    let (_site, _server, client) = records().await;
    for member in ["subject", "resource"] {
        let mut asked = question("alice", "read", "record-1");
        asked[member].as_object_mut().unwrap().remove("id");
        let answer = client.evaluate(&asked).await.unwrap();
        assert_refused(&answer, 400, member);
        assert!(
            answer.body.contains(&format!("{member}.id")),
            "{}",
            answer.body
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_3_an_entity_that_nobody_knows_is_denied_and_is_no_error() {
    let (_site, _server, client) = records().await;
    let mut builtin = question("alice", "read", "record-1");
    builtin["subject"]["type"] = json!("User");
    builtin["action"]["name"] = json!("thread.read");
    builtin["resource"]["type"] = json!("Thread");
    for asked in [
        question("nobody", "read", "record-1"),
        question("alice", "write", "record-99"),
        builtin,
    ] {
        let answer = client.explain(&asked).await.unwrap();
        assert_eq!(answer.status, 200, "{asked}: {}", answer.body);
        assert_eq!(answer.json()["decision"], false, "{asked}");
        assert_eq!(
            answer.json()["context"]["kind"],
            "not_permitted",
            "{asked}: {}",
            answer.body
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_4_properties_of_the_request_count_and_unknown_ones_do_not_harm() {
    let (_site, _server, client) = records().await;
    let with = |action: &str, resource: Value| {
        let mut asked = question("alice", action, "record-1");
        asked["resource"] = resource;
        asked
    };
    let record =
        |id: &str, properties: Value| json!({"type": "record", "id": id, "properties": properties});
    // What the request says of a tenant's own type wins over what is stored.
    assert!(
        !client
            .decision(&with(
                "write",
                record("record-1", json!({"status": "archived"}))
            ))
            .await
    );
    assert!(
        client
            .decision(&with(
                "write",
                record("record-2", json!({"status": "active"}))
            ))
            .await
    );
    assert!(
        client
            .decision(&with(
                "write",
                record("record-99", json!({"status": "active"}))
            ))
            .await
    );
    let odd =
        json!({"status": "active", "department": "sales", "owner": {"a": [1, null]}, "method": 7});
    assert!(
        client
            .decision(&with("write", record("record-1", odd)))
            .await
    );

    let mut as_admin = question("alice", "write", "record-2");
    as_admin["subject"]["properties"] = json!({"role": "admin", "department": "sales"});
    assert!(client.decision(&as_admin).await);

    let soft = json!({"name": "delete", "properties": {"soft": true, "method": "POST"}});
    assert!(client.decision(&ask("alice", soft, "record-1")).await);
    // The caller's context cannot speak for the action.
    let mut forged = question("alice", "delete", "record-1");
    forged["context"] = json!({"action": {"soft": true}});
    assert!(!client.decision(&forged).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_5_a_context_that_the_schema_does_not_know_changes_nothing() {
    let (_site, _server, client) = records().await;
    for (action, expected) in [("read", true), ("write", false)] {
        for context in [
            json!({}),
            json!({"time": "2025-06-27T18:03-07:00", "ip": "192.0.2.1"}),
            json!({"cedarkeep": {"now": "1970-01-01T00:00:00Z", "region": "elsewhere"}}),
            json!({"deep": {"a": [{"b": null}, 1.5, "é"]}}),
        ] {
            let mut asked = question("bob", action, "record-1");
            asked["context"] = context;
            assert_eq!(client.decision(&asked).await, expected, "{asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_6_the_request_id_comes_back_verbatim_and_answers_repeat() {
    let (_site, server, client) = records().await;
    let stranger = server.client("ck_nobody");
    let json_type = ("content-type", "application/json");
    let good = question("alice", "read", "record-1")
        .to_string()
        .into_bytes();
    for id in [
        "bfe9eb29-ab87-4ca3-be83-a1d5d8305716",
        "Ab-_.~ 1,2;\"q\"=%20</>",
        "0",
    ] {
        let headers = [json_type, ("X-Request-ID", id)];
        let post = async |client: &Client, path: &str, body: &[u8]| {
            client
                .send(Method::POST, path, &headers, Some(body.to_vec()))
                .await
                .unwrap()
        };
        for (answer, status) in [
            (post(&client, "/access/v1/evaluation", &good).await, 200),
            (post(&client, "/access/v1/evaluation", b"{").await, 400),
            (post(&stranger, "/access/v1/evaluation", &good).await, 401),
            (post(&client, "/access/v1/nothing", &good).await, 404),
        ] {
            assert_eq!(answer.status, status, "{}", answer.body);
            assert_eq!(answer.header("x-request-id"), Some(id), "at {status}");
        }
    }
    let asked = question("alice", "read", "record-1");
    let first = client.evaluate(&asked).await.unwrap().body;
    for _ in 0..5 {
        assert_eq!(client.evaluate(&asked).await.unwrap().body, first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_7_discovery_names_the_configured_service_whatever_the_request_says() {
    let (_site, server, _) = records().await;
    let anybody = server.client("");
    let path = "/.well-known/authzen-configuration";
    for host in ["evil.example", "pdp.example.com"] {
        let headers = [
            ("host", host),
            ("x-forwarded-host", host),
            ("forwarded", "host=evil.example;proto=http"),
        ];
        let answer = anybody
            .send(Method::GET, path, &headers, None)
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("cache-control").unwrap().contains("max-age"));
        assert_eq!(
            answer.json(),
            json!({
                "policy_decision_point": "https://pdp.example.com",
                "access_evaluation_endpoint": "https://pdp.example.com/access/v1/evaluation",
                "access_evaluations_endpoint": "https://pdp.example.com/access/v1/evaluations",
                "search_subject_endpoint": "https://pdp.example.com/access/v1/search/subject",
                "search_resource_endpoint": "https://pdp.example.com/access/v1/search/resource",
                "search_action_endpoint": "https://pdp.example.com/access/v1/search/action",
            })
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_key_is_told_what_is_missing() {
    let (_site, server, _) = records().await;
    let asked = question("alice", "read", "record-1");
    for key in ["", "ck_nobody", "Bearer"] {
        let answer = server.client(key).evaluate(&asked).await.unwrap();
        assert_refused(&answer, 401, key);
        assert!(
            answer
                .header("www-authenticate")
                .unwrap()
                .starts_with("Bearer realm="),
            "{key}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explained_answer_says_why_and_where_it_is_recorded() {
    let site = Site::sqlite();
    let key = site.create_todo_org("todo");
    let server = site.serve().await;
    let client = server.client(&key);
    let allow = client
        .explain(&may_morty_change("t1", true))
        .await
        .unwrap()
        .json();
    assert_eq!(allow["decision"], true);
    assert_eq!(allow["context"]["policies"][0]["id"], "todo.own");
    assert_eq!(
        allow["context"]["policies"][0]["reason"],
        "Editors may change and delete their own todos."
    );
    assert!(allow["context"].get("kind").is_none(), "{allow}");
    let deny = client
        .explain(&may_morty_change("t2", false))
        .await
        .unwrap()
        .json();
    assert_eq!(
        (&deny["decision"], &deny["context"]["kind"]),
        (&json!(false), &json!("not_permitted"))
    );
    for answer in [&allow, &deny] {
        let log = answer["context"]["log"].as_object().unwrap();
        let mut members: Vec<_> = log.keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(
            members,
            ["as_of", "checkpoint_size", "index", "leaf_hash", "log"]
        );
    }
    // The same through the body, and in a batch.
    let mut asked = may_morty_change("t3", true);
    asked["options"] = json!({"explain": true});
    assert!(client.evaluate(&asked).await.unwrap().json()["context"]["log"].is_object());
    let batch = json!({
        "subject": {"type": "user", "id": MORTY.0},
        "action": {"name": "can_read_todos"},
        "evaluations": [{"resource": {"type": "todo", "id": "a"}}, {"resource": {"type": "todo", "id": "b"}}],
        "options": {"explain": true},
    });
    let answer = client.evaluations(&batch).await.unwrap().json();
    let at = |item: usize| answer["evaluations"][item]["context"]["log"]["index"].clone();
    assert!(
        !at(0).is_null() && at(0) != at(1),
        "an item is an entry: {answer}"
    );
}
