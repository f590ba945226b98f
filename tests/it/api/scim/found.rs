//! What a directory looks for and finds, page by page; and how many it moves at once.

use cedarkeep::directory::object::{Body, Object, Role, User};
use cedarkeep::directory::{Change, Kind, Ref, RowId};
use cedarkeep::log::Event;
use serde_json::{Value, json};

use super::super::messages::sound;
use super::{ENTERPRISE, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_filters_orders_and_shapes() {
    let scene = Scene::open().await;
    for name in ["b", "d", "a", "c"] {
        let told = scene
            .post(
                "/Users",
                json!({
                    "userName": format!("{name}@example.com"), "displayName": name, "title": "Clerk",
                    "name": {"familyName": name, "givenName": "X"}, "externalId": format!("E-{name}"),
                    ENTERPRISE: {"department": name},
                }),
            )
            .await;
        assert_eq!(told.status, 201);
    }
    let (mut seen, mut start) = (Vec::new(), 1);
    loop {
        let page = scene
            .get(&format!("/Users?startIndex={start}&count=2"))
            .await;
        assert_eq!(
            (&page["totalResults"], &page["startIndex"]),
            (&json!(7), &json!(start))
        );
        let items = page["Resources"].as_array().unwrap();
        assert_eq!(page["itemsPerPage"], items.len());
        if items.is_empty() {
            break;
        }
        seen.extend(
            items
                .iter()
                .map(|one| one["id"].as_str().unwrap().to_owned()),
        );
        start += items.len();
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.iter().map(|id| Ref::of(Kind::User, id)).is_sorted());
    let none = scene.get("/Users?count=0").await;
    assert_eq!(
        (&none["totalResults"], &none["Resources"]),
        (&json!(7), &json!([]))
    );
    let many = scene.get("/Users?count=100000&startIndex=-5").await;
    assert_eq!(many["itemsPerPage"], 7);
    let found = async |filter: &str| -> Vec<String> {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("filter", filter)
            .append_pair("sortBy", "displayName")
            .finish();
        let page = scene.get(&format!("/Users?{query}")).await;
        let items = page["Resources"].as_array().unwrap();
        assert_eq!(page["totalResults"], items.len());
        items
            .iter()
            .map(|one| one["displayName"].as_str().unwrap().to_owned())
            .collect()
    };
    for (filter, wanted) in [
        ("userName eq \"A@example.com\"", "a"),
        ("USERNAME EQ \"a@EXAMPLE.com\"", "a"),
        ("externalId eq \"E-b\"", "b"),
        ("externalId eq \"e-b\"", ""),
        ("title pr", "a b c d"),
        ("title eq \"clerk\" and not (displayName eq \"c\")", "a b d"),
        ("emails[type eq \"work\" and value sw \"d@\"]", "d"),
        ("emails.value co \"c@exam\"", "c vic"),
        ("name.familyName gt \"b\"", "c d"),
        ("title pr and displayName le \"b\"", "a b"),
        ("displayName eq \"a\" or displayName ew \"d\"", "a d"),
        ("active eq false", ""),
        ("active eq true and title pr", "a b c d"),
        ("active eq \"True\" and title pr", "a b c d"),
        ("title ne \"clerk\"", "ada mia vic"),
        ("nothing eq \"a\"", ""),
        ("userName eq \"mia@example.com\"", "mia"),
    ] {
        assert_eq!(found(filter).await.join(" "), wanted, "{filter}");
    }
    let department = format!("{ENTERPRISE}:department eq \"B\"");
    assert_eq!(found(&department).await, ["b"]);
    let last = scene
        .get("/Users?sortBy=userName&sortOrder=descending&count=1")
        .await;
    assert_eq!(last["Resources"][0]["userName"], "vic@example.com");
    let searched = scene
        .post(
            "/Users/.search",
            json!({"filter": "displayName eq \"a\"", "attributes": ["name.familyName", "userName"], "count": 5}),
        )
        .await
        .ok();
    let one = &searched["Resources"][0];
    assert_eq!(
        (&one["name"], &one["userName"]),
        (&json!({"familyName": "a"}), &json!("a@example.com"))
    );
    let mut members: Vec<_> = one
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    assert_eq!(members, ["id", "name", "schemas", "userName"]);
    let id = one["id"].as_str().unwrap();
    let less = scene
        .get(&format!(
            "/Users/{id}?excludedAttributes=emails,name.givenName,{ENTERPRISE}"
        ))
        .await;
    assert_eq!(less["name"], json!({"familyName": "a"}));
    assert!(less.get("emails").is_none() && less.get(ENTERPRISE).is_none());
    let group = scene.group("All", &[id]).await;
    let all = scene
        .post("/.search", json!({"filter": "displayName pr"}))
        .await
        .ok();
    assert_eq!(all["totalResults"], 8);
    let less = scene
        .get(&format!("/Groups/{group}?excludedAttributes=members"))
        .await;
    assert!(less.get("members").is_none());
    for filter in [
        format!("members eq \"{id}\""),
        format!("id eq \"{group}\" and members[value eq \"{id}\"]"),
    ] {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("filter", &filter)
            .append_pair("excludedAttributes", "members")
            .finish();
        let page = scene.get(&format!("/Groups?{query}")).await;
        assert_eq!(page["totalResults"], 1, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_come_into_a_group_at_once_and_no_more() {
    let scene = Scene::open().await;
    let everybody = scene.tenant.everybody;
    let people: Vec<String> = (0..1_001_u128)
        .map(|number| Ref::new(Kind::User, (number + 1).to_be_bytes()).to_string())
        .collect();
    scene
        .tenant
        .door
        .operate(move |_, snapshot| {
            let model = snapshot
                .objects_of(Kind::User, None)
                .find_map(|(_, stored)| match &stored.value {
                    Object::User(user) => Some(user.clone()),
                    _ => None,
                });
            let mut change = Change::new(Event::MemberJoined, None, json!({}));
            for number in 0..1_001_u128 {
                let user = User {
                    name: format!("P{number}"),
                    email: format!("p{number}@example.com"),
                    role: Role::Viewer,
                    groups: [everybody].into(),
                    ..model.clone().unwrap()
                };
                let row = RowId::Object(Ref::new(Kind::User, (number + 1).to_be_bytes()));
                change = change.put(row, Body::Object(Object::User(user)));
            }
            Ok(change)
        })
        .await
        .unwrap();
    scene.roles("Viewer", json!({"Staff": "Member"})).await;
    let group = scene.group("Staff", &[]).await;
    let place = format!("/Groups/{group}");
    let values = |people: &[String]| -> Vec<Value> {
        people.iter().map(|one| json!({"value": one})).collect()
    };
    let all = json!([{"op": "add", "path": "members", "value": values(&people)}]);
    assert_eq!(scene.patch(&place, all).await.misfit(400), "tooMany");
    assert_eq!(scene.role(&people[0]), Role::Viewer);
    let most = json!([{"op": "Add", "path": "members", "value": values(&people[..1_000])}]);
    let told = scene.patch(&place, most).await.ok();
    assert_eq!(told["members"].as_array().unwrap().len(), 1_000);
    assert!(
        people[..1_000]
            .iter()
            .all(|one| scene.role(one) == Role::Member)
    );
    // Deleting it is one request, however many are in it.
    let told = scene.call("DELETE", &place, None).await;
    assert_eq!(told.status, 204, "{}", told.body);
    assert!(people.iter().all(|one| scene.role(one) == Role::Viewer));
    sound(&scene.tenant).await;
}
