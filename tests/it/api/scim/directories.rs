//! What Entra and Okta send, in the shapes that their documentation gives.

use cedarkeep::directory::object::Role;
use serde_json::{Value, json};

use super::{ENTERPRISE, Scene};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

async fn found(scene: &Scene, path: &str, filter: &str) -> Value {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("filter", filter)
        .finish();
    scene.get(&format!("{path}{query}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entra_provisions_people() {
    let scene = Scene::open().await;
    // It tries the connection with somebody whom nobody has.
    let filter = "userName eq \"1f9e5c2b-0000-4000-8000-non-existing\"";
    let nobody = found(&scene, "/Users?", filter).await;
    assert_eq!(
        (&nobody["totalResults"], &nobody["Resources"]),
        (&json!(0), &json!([]))
    );
    let told = scene
        .post(
            "/Users",
            json!({
                "schemas": [USER, ENTERPRISE], "externalId": "0a21f0f2", "userName": "Test_User_ab6490ee@example.com",
                "active": true, "emails": [{"primary": true, "type": "work", "value": "Test_User_fd0ea19b@example.com"}],
                "meta": {"resourceType": "User"}, "roles": [],
                "name": {"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
            }),
        )
        .await;
    assert_eq!(told.status, 201, "{}", told.body);
    let id = told.body["id"].as_str().unwrap().to_owned();
    let place = format!("/Users/{id}");
    let again = found(&scene, "/Users?", "externalId eq \"0a21f0f2\"").await;
    assert_eq!(again["Resources"][0]["id"], id);
    let told = scene
        .patch(
            &place,
            json!([
                {"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "updated@example.com"},
                {"op": "Replace", "path": "name.familyName", "value": "updatedFamilyName"},
                {"op": "Add", "path": "emails[type eq \"home\"].value", "value": "home@example.com"},
                {"op": "Add", "path": "roles[primary eq \"True\"].value", "value": "Member"},
                {"op": "Add", "path": format!("{ENTERPRISE}:department"), "value": "Research"},
                {"op": "Add", "path": format!("{ENTERPRISE}:manager"), "value": "usr_x"},
                {"op": "Add", "path": "phoneNumbers[type eq \"work\"].value", "value": "1"},
                {"op": "Add", "path": "addresses[type eq \"work\"].formatted", "value": "1"},
            ]),
        )
        .await
        .ok();
    assert_eq!(
        told["emails"],
        json!([
            {"primary": true, "type": "work", "value": "updated@example.com"},
            {"type": "home", "value": "home@example.com"},
        ])
    );
    assert_eq!(told["name"]["familyName"], "updatedFamilyName");
    assert_eq!(told["roles"], json!([{"primary": true, "value": "Member"}]));
    assert_eq!(told[ENTERPRISE], json!({"department": "Research"}));
    let kept = scene.user(&id).unwrap();
    assert_eq!(
        (kept.role, kept.email.as_str()),
        (Role::Member, "updated@example.com")
    );
    // One operation whose members are paths.
    let told = scene
        .patch(
            &place,
            json!([{"op": "Replace", "value": {
                "displayName": "Shown", "name.givenName": "Given", "emails[type eq \"work\"].value": "third@example.com",
                (format!("{ENTERPRISE}:employeeNumber")): "7", "unknownToUs": "let go",
            }}]),
        )
        .await
        .ok();
    assert_eq!(
        (&told["displayName"], &told["name"]["givenName"]),
        (&json!("Shown"), &json!("Given"))
    );
    assert_eq!(told[ENTERPRISE]["employeeNumber"], "7");
    assert_eq!(scene.user(&id).unwrap().email, "third@example.com");
    let told = scene
        .patch(
            &place,
            json!([{"op": "Replace", "path": "userName", "value": "5b50642d@example.com"}]),
        )
        .await
        .ok();
    assert_eq!(told["userName"], "5b50642d@example.com");
    let gone = scene
        .patch(
            &place,
            json!([{"op": "Replace", "path": "active", "value": false}]),
        )
        .await
        .ok();
    assert_eq!(gone["active"], false);
    // Somebody who may not act is found all the same.
    let still = found(&scene, "/Users?", "userName eq \"5b50642d@example.com\"").await;
    assert_eq!(still["Resources"][0]["active"], false);
    assert_eq!(scene.call("DELETE", &place, None).await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entra_provisions_groups() {
    let scene = Scene::open().await;
    let (one, other) = (scene.person("one").await, scene.person("other").await);
    let told = scene
        .post(
            "/Groups",
            json!({
                "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
                "externalId": "8aa1a0c0", "displayName": "displayName", "meta": {"resourceType": "Group"},
            }),
        )
        .await;
    assert_eq!(told.status, 201, "{}", told.body);
    let id = told.body["id"].as_str().unwrap().to_owned();
    let place = format!("/Groups/{id}");
    let by_name = found(
        &scene,
        "/Groups?excludedAttributes=members&",
        "displayName eq \"displayName\"",
    )
    .await;
    assert_eq!(by_name["Resources"][0]["id"], id);
    let told = scene
        .patch(&place, json!([{"op": "Add", "path": "members", "value": [{"$ref": null, "value": one}, {"$ref": null, "value": other}]}]))
        .await
        .ok();
    assert_eq!(told["members"].as_array().unwrap().len(), 2);
    let refers = format!("{} eq \"{id}\" and members eq \"{one}\"", "id");
    assert_eq!(
        found(&scene, "/Groups?excludedAttributes=members&", &refers).await["totalResults"],
        1
    );
    let told = scene
        .patch(
            &place,
            json!([{"op": "Remove", "path": "members", "value": [{"$ref": null, "value": one}]}]),
        )
        .await
        .ok();
    assert_eq!(told["members"][0]["value"], other);
    // Somebody who is not in it any more is taken out without a word, and nobody else is.
    let told = scene
        .patch(
            &place,
            json!([{"op": "Remove", "path": "members", "value": [{"value": one}]}]),
        )
        .await
        .ok();
    assert_eq!(told["members"].as_array().unwrap().len(), 1);
    let told = scene
        .patch(
            &place,
            json!([{"op": "Replace", "path": "displayName", "value": "1879db59"}]),
        )
        .await
        .ok();
    assert_eq!(
        (&told["displayName"], &told["externalId"]),
        (&json!("1879db59"), &json!("8aa1a0c0"))
    );
    assert_eq!(scene.call("DELETE", &place, None).await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn okta_provisions_people_and_groups() {
    let scene = Scene::open().await;
    for path in [
        "/Users?startIndex=1&count=2",
        "/Groups?startIndex=1&count=100",
    ] {
        scene.get(path).await;
    }
    let nobody = found(
        &scene,
        "/Users?startIndex=1&count=100&",
        "userName eq \"test.user@okta.local\"",
    )
    .await;
    assert_eq!(nobody["totalResults"], 0);
    let whole = json!({
        "schemas": [USER], "userName": "test.user@okta.local",
        "name": {"givenName": "Test", "familyName": "User"},
        "emails": [{"primary": true, "value": "test.user@okta.local", "type": "work"}],
        "displayName": "Test User", "locale": "en-US", "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [], "password": "1mz050nq", "active": true,
    });
    let made = scene.post("/Users", whole.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert!(!made.body.to_string().contains("1mz050nq"));
    assert_eq!(scene.post("/Users", whole).await.misfit(409), "uniqueness");
    let id = made.body["id"].as_str().unwrap().to_owned();
    let place = format!("/Users/{id}");
    let mut changed = scene.get(&place).await;
    changed["name"]["middleName"] = json!("Excited");
    changed["active"] = json!(true);
    changed["meta"]["lastModified"] = json!("2026-01-01T00:00:00Z");
    let told = scene.put(&place, changed.clone()).await.ok();
    assert_eq!(told["name"]["middleName"], "Excited");
    // What is left out of a whole is taken away.
    changed.as_object_mut().unwrap().remove("locale");
    let told = scene.put(&place, changed).await.ok();
    assert!(told.get("locale").is_none());
    for active in [false, true] {
        let told = scene
            .patch(
                &place,
                json!([{"op": "replace", "value": {"active": active}}]),
            )
            .await
            .ok();
        assert_eq!(told["active"], active);
    }
    let told = scene
        .post(
            "/Groups",
            json!({"schemas": [GROUP], "displayName": "Test SCIMv2", "members": []}),
        )
        .await;
    assert_eq!(told.status, 201);
    let group = told.body["id"].as_str().unwrap().to_owned();
    let at = format!("/Groups/{group}");
    let told = scene
        .patch(&at, json!([{"op": "replace", "value": {"id": group, "displayName": "Test SCIMv2 renamed"}}]))
        .await
        .ok();
    assert_eq!(told["displayName"], "Test SCIMv2 renamed");
    let other = scene.person("other").await;
    let told = scene
        .patch(&at, json!([{"op": "add", "path": "members", "value": [{"value": other, "display": "other"}]}]))
        .await
        .ok();
    assert_eq!(told["members"][0]["value"], other);
    let told = scene
        .patch(
            &at,
            json!([
                {"op": "remove", "path": format!("members[value eq \"{other}\"]")},
                {"op": "add", "path": "members", "value": [{"value": id, "display": "test.user@okta.local"}]},
            ]),
        )
        .await
        .ok();
    assert_eq!(told["members"].as_array().unwrap().len(), 1);
    assert_eq!(told["members"][0]["value"], id);
    let told = scene
        .patch(&at, json!([{"op": "replace", "path": "members", "value": [{"value": id}, {"value": other}]}]))
        .await
        .ok();
    assert_eq!(told["members"].as_array().unwrap().len(), 2);
    let told = scene
        .put(
            &at,
            json!({"schemas": [GROUP], "displayName": "Whole", "members": [{"value": other}]}),
        )
        .await
        .ok();
    assert_eq!(
        (
            &told["displayName"],
            told["members"].as_array().unwrap().len()
        ),
        (&json!("Whole"), 1)
    );
    assert_eq!(scene.call("DELETE", &at, None).await.status, 204);
}
