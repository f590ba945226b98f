//! Each route does what it says, and is refused to whom it should be.

use serde_json::json;

use super::harness::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_join_change_and_leave() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let eve = json!({"name": "Eve", "email": "Eve@Example.com", "role": "Member"});
    let eve_is = service
        .post(&tenant, tenant.admin, "/v1/users", eve.clone())
        .await
        .id();
    service
        .post(&tenant, tenant.admin, "/v1/users", eve)
        .await
        .is_problem(409);
    let place = format!("/v1/users/{eve_is}");
    let read = service.get(&tenant, tenant.viewer, &place).await.ok();
    assert_eq!(
        (&read["email"], &read["role"]),
        (&json!("eve@example.com"), &json!("Member"))
    );
    let role = service
        .patch(&tenant, tenant.admin, &place, json!({"role": "Admin"}))
        .await
        .ok();
    assert_eq!(role["role"], "Admin");
    let active = service
        .patch(&tenant, tenant.admin, &place, json!({"active": false}))
        .await
        .ok();
    assert_eq!(active["active"], false);
    service
        .patch(
            &tenant,
            tenant.admin,
            &place,
            json!({"active": true, "role": "Member"}),
        )
        .await
        .is_problem(400);
    service
        .patch(&tenant, tenant.member, &place, json!({"active": true}))
        .await
        .is_problem(403);
    assert_eq!(
        service.delete(&tenant, tenant.admin, &place).await.status,
        204
    );
    service
        .get(&tenant, tenant.admin, &place)
        .await
        .is_problem(404);
    service
        .delete(&tenant, tenant.admin, &place)
        .await
        .is_problem(404);
    let last = format!("/v1/users/{}", tenant.admin);
    service
        .delete(&tenant, tenant.admin, &last)
        .await
        .is_problem(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn teams_and_projects_are_made_joined_and_deleted() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let team = service
        .post(
            &tenant,
            tenant.admin,
            "/v1/teams",
            json!({"name": "Research"}),
        )
        .await
        .id();
    let members = format!("/v1/teams/{team}/members");
    let joined = service
        .post(
            &tenant,
            tenant.admin,
            &members,
            json!({"user": tenant.member, "lead": true}),
        )
        .await;
    assert_eq!(
        (joined.status, &joined.body["place"]),
        (201, &json!("lead"))
    );
    let project = json!({"name": "Launch", "parent": team});
    let project = service
        .post(&tenant, tenant.member, "/v1/projects", project)
        .await
        .id();
    let read = service
        .get(&tenant, tenant.viewer, &format!("/v1/projects/{project}"))
        .await
        .ok();
    assert_eq!(read["parent"], json!(team));
    service
        .delete(&tenant, tenant.admin, &format!("/v1/teams/{team}"))
        .await
        .is_problem(409);
    assert_eq!(
        service
            .delete(&tenant, tenant.member, &format!("/v1/projects/{project}"))
            .await
            .status,
        204
    );
    let place = format!("{members}/{}", tenant.member);
    assert_eq!(
        service.delete(&tenant, tenant.admin, &place).await.status,
        204
    );
    assert_eq!(
        service
            .delete(&tenant, tenant.admin, &format!("/v1/teams/{team}"))
            .await
            .status,
        204
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_make_is_made_read_changed_and_deleted() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    for path in [
        "documents",
        "prompt-templates",
        "tools",
        "assistants",
        "agents",
    ] {
        let made = json!({"name": "One", "audience": tenant.everybody});
        let id = service
            .post(&tenant, tenant.member, &format!("/v1/{path}"), made)
            .await
            .id();
        let place = format!("/v1/{path}/{id}");
        let read = service.get(&tenant, tenant.viewer, &place).await.ok();
        assert_eq!(
            (&read["name"], &read["owner"]),
            (&json!("One"), &json!(tenant.member))
        );
        service
            .patch(&tenant, tenant.viewer, &place, json!({"name": "Two"}))
            .await
            .is_problem(403);
        let changed = json!({"name": "Two", "audience": null});
        let changed = service
            .patch(&tenant, tenant.member, &place, changed)
            .await
            .ok();
        assert_eq!(
            (&changed["name"], &changed["audience"]),
            (&json!("Two"), &json!(null))
        );
        // It is private now, so for others it is not there: neither to read nor to change.
        service
            .get(&tenant, tenant.viewer, &place)
            .await
            .is_problem(404);
        service
            .patch(&tenant, tenant.viewer, &place, json!({"name": "Three"}))
            .await
            .is_problem(404);
        assert_eq!(
            service.delete(&tenant, tenant.member, &place).await.status,
            204
        );
        service
            .get(&tenant, tenant.member, &place)
            .await
            .is_problem(404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_is_narrowed_given_and_deleted() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let made = json!({"name": "Plan", "audience": tenant.everybody});
    let thread = service
        .post(&tenant, tenant.member, "/v1/threads", made)
        .await
        .id();
    let place = format!("/v1/threads/{thread}");
    let document = json!({"name": "Budget", "parent": thread});
    let document = service
        .post(&tenant, tenant.member, "/v1/documents", document)
        .await
        .id();
    let narrowed = service
        .patch(&tenant, tenant.admin, &place, json!({"audience": null}))
        .await
        .ok();
    assert_eq!(narrowed["audience"], json!(null));
    service
        .get(&tenant, tenant.admin, &place)
        .await
        .is_problem(404);
    let given = service
        .patch(
            &tenant,
            tenant.member,
            &place,
            json!({"owner": tenant.admin}),
        )
        .await
        .ok();
    assert_eq!(given["owner"], json!(tenant.admin));
    service
        .get(&tenant, tenant.member, &place)
        .await
        .is_problem(404);
    assert_eq!(
        service.delete(&tenant, tenant.admin, &place).await.status,
        204
    );
    service
        .get(&tenant, tenant.member, &format!("/v1/documents/{document}"))
        .await
        .is_problem(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_written_in_its_layer_and_forgotten() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let team = service
        .post(
            &tenant,
            tenant.admin,
            "/v1/teams",
            json!({"name": "Research"}),
        )
        .await
        .id();
    let place = format!("/v1/teams/{team}/members");
    assert_eq!(
        service
            .post(
                &tenant,
                tenant.admin,
                &place,
                json!({"user": tenant.member})
            )
            .await
            .status,
        201
    );
    let write = async |user, body| service.post(&tenant, user, "/v1/memory", body).await;
    let of_team = write(
        tenant.member,
        json!({"name": "How", "layer": "team", "parent": team}),
    )
    .await
    .id();
    let own = write(tenant.member, json!({"name": "Mine", "layer": "personal"}))
        .await
        .id();
    write(
        tenant.admin,
        json!({"name": "Who", "layer": "organization"}),
    )
    .await
    .id();
    write(
        tenant.member,
        json!({"name": "Who", "layer": "organization"}),
    )
    .await
    .is_problem(403);
    write(tenant.member, json!({"name": "Which", "layer": "team"}))
        .await
        .is_problem(400);
    // Nobody but the person reads it, and an Admin is told no more than that it is not there.
    service
        .get(&tenant, tenant.admin, &format!("/v1/memory/{own}"))
        .await
        .is_problem(404);
    let list = service
        .get(&tenant, tenant.member, "/v1/memory?layer=team")
        .await
        .ok();
    assert_eq!(
        (
            list["items"].as_array().unwrap().len(),
            &list["items"][0]["id"]
        ),
        (1, &json!(of_team))
    );
    let all = service.get(&tenant, tenant.member, "/v1/memory").await.ok();
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
    let renamed = service
        .patch(
            &tenant,
            tenant.member,
            &format!("/v1/memory/{own}"),
            json!({"name": "Ours"}),
        )
        .await
        .ok();
    assert_eq!(renamed["name"], "Ours");
    assert_eq!(
        service
            .delete(&tenant, tenant.member, &format!("/v1/memory/{own}"))
            .await
            .status,
        204
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_integration_is_connected_refreshed_and_disconnected() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let made = json!({"name": "Calendar", "provider": "calendar", "audience": tenant.everybody});
    let id = service
        .post(&tenant, tenant.admin, "/v1/integrations", made)
        .await
        .id();
    let place = format!("/v1/integrations/{id}");
    assert_eq!(
        service.get(&tenant, tenant.viewer, &place).await.ok()["refreshed_at"],
        json!(null)
    );
    let refreshed = service
        .by(&tenant, tenant.admin, "PUT", &format!("{place}/token"))
        .content("text/plain", "a token")
        .send()
        .await
        .ok();
    assert!(refreshed["refreshed_at"].is_string());
    service
        .delete(&tenant, tenant.member, &place)
        .await
        .is_problem(403);
    assert_eq!(
        service.delete(&tenant, tenant.admin, &place).await.status,
        204
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_opens_what_it_is_of_and_is_taken_back() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    for (path, resource) in [
        ("threads", "thread"),
        ("prompt-templates", "template"),
        ("tools", "tool"),
        ("assistants", "assistant"),
        ("agents", "agent"),
    ] {
        let id = service
            .post(
                &tenant,
                tenant.member,
                &format!("/v1/{path}"),
                json!({"name": resource}),
            )
            .await
            .id();
        let place = format!("/v1/{path}/{id}");
        let give =
            json!({"resource": id, "grantee": tenant.viewer, "level": "viewer", "for_minutes": 60});
        // An Admin who may not read it may not share it either, and is not told of it.
        service
            .post(&tenant, tenant.admin, "/v1/shares", give.clone())
            .await
            .is_problem(404);
        let share = service
            .post(&tenant, tenant.member, "/v1/shares", give)
            .await
            .id();
        service.get(&tenant, tenant.viewer, &place).await.ok();
        let list = service
            .get(&tenant, tenant.viewer, &format!("/v1/shares?resource={id}"))
            .await
            .ok();
        assert_eq!(list["items"][0]["id"], json!(share));
        service
            .delete(&tenant, tenant.viewer, &format!("/v1/shares/{share}"))
            .await
            .is_problem(403);
        assert_eq!(
            service
                .delete(&tenant, tenant.member, &format!("/v1/shares/{share}"))
                .await
                .status,
            204
        );
        service
            .get(&tenant, tenant.viewer, &place)
            .await
            .is_problem(404);
        service
            .delete(&tenant, tenant.member, &format!("/v1/shares/{share}"))
            .await
            .is_problem(404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_to_everybody_and_one_of_the_log() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let id = service
        .post(
            &tenant,
            tenant.member,
            "/v1/threads",
            json!({"name": "Plan"}),
        )
        .await
        .id();
    let give = json!({"resource": id, "grantee": tenant.everybody, "level": "commenter"});
    service
        .post(&tenant, tenant.member, "/v1/shares", give)
        .await
        .id();
    service
        .get(&tenant, tenant.viewer, &format!("/v1/threads/{id}"))
        .await
        .ok();
    let log = tenant.org.to_string().replace("org_", "log_");
    service
        .get(&tenant, tenant.viewer, "/v1/audit/checkpoint")
        .await
        .is_problem(403);
    let give = json!({"resource": log, "grantee": tenant.viewer, "level": "auditor"});
    service
        .post(&tenant, tenant.member, "/v1/shares", give.clone())
        .await
        .is_problem(403);
    let share = service
        .post(&tenant, tenant.admin, "/v1/shares", give)
        .await
        .id();
    service
        .get(&tenant, tenant.viewer, "/v1/audit/checkpoint")
        .await
        .ok();
    assert_eq!(
        service
            .delete(&tenant, tenant.admin, &format!("/v1/shares/{share}"))
            .await
            .status,
        204
    );
    service
        .get(&tenant, tenant.viewer, "/v1/audit/checkpoint")
        .await
        .is_problem(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_works_once_made_and_no_longer_once_revoked() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let made = json!({"name": "sync", "scopes": ["directory.read"]});
    let made = service
        .post(&tenant, tenant.admin, "/v1/api-keys", made)
        .await;
    let (id, key) = (made.id(), made.body["key"].as_str().unwrap().to_owned());
    let ask = || {
        service
            .ask("GET", "/v1/users")
            .key(&key)
            .user(tenant.admin)
            .send()
    };
    ask().await.ok();
    let list = service
        .get(&tenant, tenant.admin, "/v1/api-keys")
        .await
        .ok();
    assert!(!list.to_string().contains(&key) && !list.to_string().contains("digest"));
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        service
            .delete(&tenant, tenant.admin, &format!("/v1/api-keys/{id}"))
            .await
            .status,
        204
    );
    ask().await.is_problem(401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_organization_is_renamed_and_kept_to_its_regions() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let place = "/v1/organization";
    assert_eq!(
        service.get(&tenant, tenant.viewer, place).await.ok()["name"],
        "acme"
    );
    assert_eq!(
        service
            .patch(&tenant, tenant.admin, place, json!({"name": "Acme"}))
            .await
            .ok()["name"],
        "Acme"
    );
    let regions = service
        .patch(
            &tenant,
            tenant.admin,
            place,
            json!({"regions": ["eu-west"]}),
        )
        .await
        .ok();
    assert_eq!(regions["regions"], json!(["eu-west"]));
    service
        .patch(&tenant, tenant.member, place, json!({"name": "Mine"}))
        .await
        .is_problem(403);
}
