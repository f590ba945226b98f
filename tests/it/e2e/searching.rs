//! AuthZEN's searches over HTTPS: the public interop scenario in full, what the certification asks, pages, and what is no search.

use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::postgres;
use crate::harness::server::{Server, Site};

async fn loaded(site: &Site, scenario: &str) -> (Server, Client) {
    site.create_org(scenario);
    site.add_admin(scenario);
    site.load(scenario, scenario);
    let key = site.create_key(scenario, "decide,search");
    let server = site.serve().await;
    let client = server.client(&key);
    (server, client)
}

/// What a search answers, whole.
async fn found(client: &Client, sought: &str, asked: &Value) -> Value {
    let path = format!("/access/v1/search/{sought}");
    let answer = client.post(&path, asked).await.unwrap();
    assert_eq!(answer.status, 200, "{asked}: {}", answer.body);
    answer.json()
}

/// What is wrong with a search.
async fn refused(client: &Client, sought: &str, asked: &Value, status: u16) -> String {
    let path = format!("/access/v1/search/{sought}");
    let answer = client.post(&path, asked).await.unwrap();
    assert_eq!(answer.status, status, "{asked}: {}", answer.body);
    answer.body
}

async fn the_interop_scenario(site: Site) {
    let (server, client) = loaded(&site, "search").await;
    let mut asked = 0;
    for (sought, vectors) in [
        (
            "action",
            include_str!("../../vectors/search-action-results.json"),
        ),
        (
            "resource",
            include_str!("../../vectors/search-resource-results.json"),
        ),
        (
            "subject",
            include_str!("../../vectors/search-subject-results.json"),
        ),
    ] {
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        for vector in vectors["evaluation"].as_array().unwrap() {
            // The whole body: the public runners compare it so.
            let told = found(&client, sought, &vector["request"]).await;
            assert_eq!(told, vector["expected"], "{}", vector["request"]);
            asked += 1;
        }
    }
    assert_eq!(asked, 198);
    server.stop();
    site.verify("search");
    let log = site.done(&[
        "audit",
        "query",
        "search",
        "--event",
        "search.made",
        "--json",
    ]);
    assert_eq!(log.lines().count(), 20, "a page of them: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interop_scenario_is_answered_in_full_on_sqlite() {
    the_interop_scenario(Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interop_scenario_is_answered_in_full_on_postgresql() {
    let server = postgres::start();
    the_interop_scenario(Site::postgres(&server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_certification_asks_of_searches() {
    let site = Site::sqlite();
    let (_server, client) = loaded(&site, "certification").await;
    let user = |id: &str| json!({"type": "user", "id": id});
    let record = |id: &str| json!({"type": "record", "id": id});
    let named = |name: &str| json!({"name": name});
    for (sought, asked, expected) in [
        (
            "subject",
            json!({"subject": {"type": "user"}, "action": named("read"), "resource": record("record-1")}),
            json!([user("alice"), user("bob")]),
        ),
        // An id of what is looked for is not looked at.
        (
            "subject",
            json!({"subject": {"type": "user", "id": "bob"}, "action": named("write"), "resource": record("record-1")}),
            json!([user("alice")]),
        ),
        (
            "resource",
            json!({"subject": user("bob"), "action": named("write"), "resource": {"type": "record", "id": "record-1"}}),
            json!([record("record-2")]),
        ),
        (
            "action",
            json!({"subject": user("alice"), "resource": record("record-1"), "context": {"time": "2025-06-27T18:03-07:00"}}),
            json!([named("read"), named("write")]),
        ),
        // What the request says of a record counts.
        (
            "action",
            json!({"subject": user("alice"), "resource": {"type": "record", "id": "record-1", "properties": {"status": "archived"}}}),
            json!([named("read")]),
        ),
        (
            "subject",
            json!({"subject": {"type": "user"}, "action": {"name": "delete", "properties": {"soft": true}}, "resource": record("record-1")}),
            json!([user("alice"), user("bob")]),
        ),
        // Whoever is not there may do nothing, and of a type that is not there is nothing.
        (
            "resource",
            json!({"subject": user("nobody"), "action": named("read"), "resource": {"type": "record"}}),
            json!([]),
        ),
        (
            "resource",
            json!({"subject": user("alice"), "action": named("read"), "resource": {"type": "spaceship"}}),
            json!([]),
        ),
        (
            "subject",
            json!({"subject": {"type": "martian"}, "action": named("read"), "resource": record("record-1")}),
            json!([]),
        ),
        (
            "action",
            json!({"subject": user("alice"), "resource": {"type": "spaceship", "id": "1"}}),
            json!([]),
        ),
        // Nobody may train on anything.
        (
            "resource",
            json!({"subject": user("alice"), "action": named("read"), "resource": {"type": "record"}, "context": {"purpose": "train"}}),
            json!([]),
        ),
    ] {
        let told = found(&client, sought, &asked).await;
        assert_eq!(told, json!({"results": expected}), "{sought} {asked}");
    }
    for (sought, asked, status, why) in [
        (
            "subject",
            json!({"action": named("read"), "resource": record("1")}),
            400,
            "`subject` is missing",
        ),
        (
            "subject",
            json!({"subject": {}, "action": named("read"), "resource": record("1")}),
            400,
            "`subject.type` is missing",
        ),
        (
            "subject",
            json!({"subject": {"type": "user"}, "action": named("read"), "resource": {"type": "record"}}),
            400,
            "`resource.id` is missing",
        ),
        (
            "resource",
            json!({"subject": {"type": "user"}, "action": named("read"), "resource": {"type": "record"}}),
            400,
            "`subject.id` is missing",
        ),
        (
            "resource",
            json!({"subject": user("alice"), "resource": {"type": "record"}}),
            400,
            "`action` is missing",
        ),
        (
            "action",
            json!({"subject": user("alice"), "resource": {"type": "record"}}),
            400,
            "`resource.id` is missing",
        ),
        (
            "resource",
            json!({"subject": user("alice"), "action": named("fly"), "resource": {"type": "record"}}),
            400,
            "there is no action `fly`",
        ),
        (
            "resource",
            json!({"subject": user("alice"), "action": named("read"), "resource": {"type": "record"}, "page": 7}),
            400,
            "`page` must be an object",
        ),
        (
            "resource",
            json!({"subject": user("alice"), "action": named("read"), "resource": {"type": "record"}, "page": {"limit": 0}}),
            400,
            "`page.limit` must be a number from 1 to 10000",
        ),
        (
            "resource",
            json!({"subject": user("alice"), "action": named("read"), "resource": {"type": "record"}, "page": {"token": "x"}}),
            400,
            "`page.token` must be the `next_token`",
        ),
        (
            "action",
            json!({"subject": user("alice"), "resource": {"type": "record", "id": "1", "properties": {"status": 7}}}),
            400,
            "`properties.status` must be a string",
        ),
    ] {
        let told = refused(&client, sought, &asked, status).await;
        assert!(told.contains(why), "{sought} {asked}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_everything_once_and_their_tokens_are_of_one_search() {
    let site = Site::sqlite();
    let (server, client) = loaded(&site, "search").await;
    let search = |page: Value, user: &str| json!({"subject": {"type": "user", "id": user}, "action": {"name": "view"}, "resource": {"type": "record"}, "page": page});
    let all = found(&client, "resource", &search(json!({}), "alice")).await;
    assert_eq!(all["page"], Value::Null);
    let all = all["results"].as_array().unwrap();
    let mut paged = Vec::new();
    let mut told = found(&client, "resource", &search(json!({"limit": 3}), "alice")).await;
    let first = told["page"]["next_token"].as_str().unwrap().to_owned();
    loop {
        let results = told["results"].as_array().unwrap();
        assert_eq!(told["page"]["count"], json!(results.len()));
        assert!(results.len() <= 3);
        paged.extend(results.clone());
        let token = told["page"]["next_token"].as_str().unwrap();
        if token.is_empty() {
            break;
        }
        // The token alone is enough.
        let next = search(json!({"token": token}), "alice");
        told = found(&client, "resource", &next).await;
    }
    assert_eq!(&paged, all);
    assert_eq!(all.len(), 20);
    for (asked, why) in [
        (
            search(json!({"token": first, "limit": 4}), "alice"),
            "`page.limit` is not that of the page before",
        ),
        (
            search(json!({"token": first}), "bob"),
            "of this very search",
        ),
    ] {
        let told = refused(&client, "resource", &asked, 400).await;
        assert!(told.contains(why), "{told}");
    }
    let same = search(json!({"token": first, "limit": 3}), "alice");
    assert_eq!(
        found(&client, "resource", &same).await["results"][0],
        all[3]
    );
    // Another organization's token is none here, though it asks the very same.
    site.create_org("other");
    site.add_admin("other");
    let key = site.create_key("other", "search");
    let told = refused(&server.client(&key), "resource", &same, 400).await;
    assert!(told.contains("of this very search"), "{told}");
    // A key without the scope is told so, and what it asked for is recorded.
    let key = site.create_key("search", "decide");
    let told = refused(
        &server.client(&key),
        "resource",
        &search(json!({}), "alice"),
        403,
    )
    .await;
    assert!(told.contains("scope"), "{told}");
    let nobody = refused(
        &server.client(""),
        "resource",
        &search(json!({}), "alice"),
        401,
    )
    .await;
    assert!(!nobody.is_empty());
    let answer = server
        .client("")
        .get("/.well-known/authzen-configuration")
        .await;
    let metadata = answer.unwrap().json();
    for sought in ["subject", "resource", "action"] {
        let place = metadata[format!("search_{sought}_endpoint")]
            .as_str()
            .unwrap();
        assert!(
            place.ends_with(&format!("/access/v1/search/{sought}")),
            "{place}"
        );
    }
}
