//! What a directory is told of requests that are none, and that nothing comes of them.

use serde_json::{Value, json};

use super::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_misfit_has_scims_own_word() {
    let scene = Scene::open().await;
    let eve = scene.person("eve").await;
    let group = scene.group("Staff", &[&eve]).await;
    let (user, at) = (format!("/Users/{eve}"), format!("/Groups/{group}"));
    let before = (scene.get(&user).await, scene.get(&at).await);
    for (path, operation, word) in [
        (
            &user,
            json!({"op": "move", "path": "title"}),
            "invalidSyntax",
        ),
        (&user, json!({"op": "remove"}), "noTarget"),
        (
            &user,
            json!({"op": "replace", "value": "x"}),
            "invalidSyntax",
        ),
        (
            &user,
            json!({"op": "replace", "path": 7, "value": "x"}),
            "invalidSyntax",
        ),
        (
            &user,
            json!({"op": "replace", "path": "nothing", "value": "x"}),
            "invalidPath",
        ),
        (
            &user,
            json!({"op": "replace", "path": "name.nothing", "value": "x"}),
            "invalidPath",
        ),
        (
            &user,
            json!({"op": "replace", "path": "emails[type", "value": "x"}),
            "invalidPath",
        ),
        (
            &user,
            json!({"op": "replace", "path": "title[type eq \"x\"]", "value": "x"}),
            "invalidPath",
        ),
        (
            &user,
            json!({"op": "replace", "path": "urn:x:y:title", "value": "x"}),
            "invalidPath",
        ),
        (
            &user,
            json!({"op": "replace", "path": "id", "value": "x"}),
            "mutability",
        ),
        (
            &user,
            json!({"op": "remove", "path": "groups"}),
            "mutability",
        ),
        (
            &user,
            json!({"op": "replace", "path": "active", "value": "maybe"}),
            "invalidValue",
        ),
        (
            &user,
            json!({"op": "replace", "path": "title", "value": {"x": 1}}),
            "invalidValue",
        ),
        (
            &user,
            json!({"op": "replace", "path": "title", "value": "x".repeat(1_001)}),
            "invalidValue",
        ),
        (
            &user,
            json!({"op": "replace", "path": "title", "value": "\u{202e}x"}),
            "invalidValue",
        ),
        (
            &user,
            json!({"op": "replace", "path": "roles", "value": [{"value": "God"}]}),
            "invalidValue",
        ),
        (
            &user,
            json!({"op": "replace", "path": "emails", "value": [{"value": "nobody"}]}),
            "invalidValue",
        ),
        (
            &user,
            json!({"op": "remove", "path": "userName"}),
            "invalidValue",
        ),
        (
            &user,
            json!({"op": "replace", "path": "emails", "value": [
                {"value": "a@example.com", "primary": true}, {"value": "b@example.com", "primary": true},
            ]}),
            "invalidValue",
        ),
        (
            &user,
            json!({"op": "replace", "path": "userName", "value": "ada@example.com"}),
            "uniqueness",
        ),
        (
            &at,
            json!({"op": "replace", "path": "members[value eq \"usr_x\"].type", "value": "User"}),
            "noTarget",
        ),
        (
            &at,
            json!({"op": "add", "path": "members", "value": [{"value": "usr_x"}]}),
            "invalidValue",
        ),
        (
            &at,
            json!({"op": "add", "path": "members", "value": [{"value": group}]}),
            "invalidValue",
        ),
        (
            &at,
            json!({"op": "add", "path": "members", "value": [{"value": "usr_aaaaaaaaaaaaaaaaaaaaaaaaaa"}]}),
            "invalidValue",
        ),
        (
            &at,
            json!({"op": "remove", "path": "displayName"}),
            "invalidValue",
        ),
    ] {
        let told = scene.patch(path, json!([operation])).await;
        let status = if word == "uniqueness" { 409 } else { 400 };
        assert_eq!(told.misfit(status), word, "{operation}: {}", told.body);
    }
    assert_eq!((scene.get(&user).await, scene.get(&at).await), before);
    assert!(scene.entries("member.updated").await.is_empty());
    for (path, body, word) in [
        ("/Users", json!({}), "invalidValue"),
        ("/Users", json!({"userName": ""}), "invalidValue"),
        ("/Users", json!({"userName": "no address"}), "invalidValue"),
        (
            "/Users",
            json!({"userName": "x@example.com", "active": 7}),
            "invalidValue",
        ),
        (
            "/Users",
            json!({"userName": "x@example.com", "name": "x"}),
            "invalidValue",
        ),
        ("/Groups", json!({}), "invalidValue"),
        (
            "/Groups",
            json!({"displayName": "x", "members": "x"}),
            "invalidValue",
        ),
        ("/Users/.search", json!({"filter": "x"}), "invalidFilter"),
        ("/Users/.search", json!({"count": "x"}), "invalidValue"),
        ("/Users/.search", json!({"sortOrder": "x"}), "invalidValue"),
        (
            "/Users/.search",
            json!({"attributes": ["a"], "excludedAttributes": ["b"]}),
            "invalidSyntax",
        ),
    ] {
        assert_eq!(
            scene.post(path, body.clone()).await.misfit(400),
            word,
            "{body}"
        );
    }
    for operations in [json!([]), json!("x"), json!([7])] {
        assert_eq!(
            scene.patch(&user, operations).await.misfit(400),
            "invalidSyntax"
        );
    }
    let many: Vec<Value> = (0..1_001)
        .map(|_| json!({"op": "remove", "path": "title"}))
        .collect();
    assert_eq!(scene.patch(&user, json!(many)).await.misfit(400), "tooMany");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_not_there_is_said_in_scims_own_way() {
    let scene = Scene::open().await;
    for path in [
        "/Users/usr_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "/Users/x",
        "/Users/grp_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "/Groups/grp_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "/Groups/x",
        "/Schemas/x",
        "/ResourceTypes/x",
        "/Me",
        "/Bulk",
        "/x",
    ] {
        scene.call("GET", path, None).await.misfit(404);
    }
    // The members of everybody and of a team are no group of the directory's.
    let everybody = format!("/Groups/{}", scene.tenant.everybody);
    scene.call("GET", &everybody, None).await.misfit(404);
    scene.call("DELETE", &everybody, None).await.misfit(404);
    let whole = json!({"displayName": "Mine", "members": []});
    scene.put(&everybody, whole).await.misfit(404);
    for path in ["/ServiceProviderConfig", "/Schemas", "/ResourceTypes"] {
        scene.get(path).await;
        let told = scene
            .call("GET", &format!("{path}?filter=id%20pr"), None)
            .await;
        told.misfit(403);
        scene.call("DELETE", path, None).await.misfit(405);
    }
    let ask = scene
        .service
        .ask("POST", "/scim/v2/Users")
        .key(&scene.token);
    let told = ask
        .content("application/scim+json", b"{\"userName\": ".to_vec())
        .send()
        .await;
    assert_eq!(told.misfit(400), "invalidSyntax");
    let ask = scene
        .service
        .ask("POST", "/scim/v2/Users")
        .key(&scene.token);
    let told = ask.content("text/plain", b"{}".to_vec()).send().await;
    assert_eq!(told.misfit(400), "invalidSyntax");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_and_paths_that_mean_ill_are_refused_and_cost_little() {
    let scene = Scene::open().await;
    let user = format!("/Users/{}", scene.tenant.member);
    let deep =
        |open: &str, close: &str| format!("{}title pr{}", open.repeat(5_000), close.repeat(5_000));
    let filters = [
        deep("(", ")"),
        deep("not (", ")"),
        "title pr and ".repeat(600) + "title pr",
        "x".repeat(100_000),
        "emails[".repeat(200),
        "userName eq \"\\u".to_owned(),
        "userName eq \"\u{1f600}".to_owned(),
        "\u{0}".to_owned(),
        "userName eq 'x'".to_owned(),
        "userName eq".to_owned(),
        "a.b.c eq \"x\"".to_owned(),
        String::new(),
        ")".to_owned(),
        "userName eq 1e999".to_owned(),
    ];
    for filter in filters {
        let told = scene
            .post("/Users/.search", json!({"filter": filter}))
            .await;
        let short: String = filter.chars().take(60).collect();
        match told.status {
            200 => assert_eq!(told.body["Resources"], json!([]), "{short}"),
            _ => assert_eq!(told.misfit(400), "invalidFilter", "{short}"),
        }
        let operation = json!([{"op": "remove", "path": format!("emails[{filter}]")}]);
        assert_eq!(
            scene.patch(&user, operation).await.misfit(400),
            "invalidPath",
            "{short}"
        );
    }
    // Letters of every kind are only compared.
    for text in ["\u{1f600}", "Ⅷ", "ß", "\u{130}", "a\u{301}"] {
        let filter = format!("displayName co {}", json!(text));
        let told = scene
            .post("/Users/.search", json!({"filter": filter}))
            .await
            .ok();
        assert_eq!(told["totalResults"], 0);
    }
}
