//! What a request for access never gives, to whom it is not there, and what it does not tell.

use cedarkeep::config::Database;
use cedarkeep::crypto;
use cedarkeep::directory::object::Scope;
use cedarkeep::directory::{Kind, Ref};
use cedarkeep::log::Event;
use serde_json::{Value, json};

use super::super::harness::{Told, key};
use super::{PLACE, Scene};
use crate::harness::postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_share_it_decides_nothing() {
    let scene = Scene::on(Database::Sqlite).await;
    let (tenant, service) = (&scene.tenant, &scene.service);
    let id = scene.wanted().await;
    let reader = scene.person("rae", "Member").await;
    let share = json!({"resource": scene.thread, "grantee": reader, "level": "editor"});
    service
        .post(tenant, tenant.member, "/v1/shares", share)
        .await
        .id();
    // An Admin, who may not read it; somebody who may write to it: for neither the request is there.
    for user in [tenant.admin, reader] {
        scene.reads(user, &id).await.is_problem(404);
        scene.approves(user, &id).await.is_problem(404);
        scene
            .decides(user, &id, "decline", None)
            .await
            .is_problem(404);
    }
    // Whoever asked sees it, may withdraw it, and neither approves nor declines it.
    scene.approves(tenant.viewer, &id).await.is_problem(404);
    let declined = scene.decides(tenant.viewer, &id, "decline", None).await;
    assert!(declined.is_problem(403).contains("access.decline"));
    let place = format!("{PLACE}/{id}");
    service
        .delete(tenant, tenant.member, &place)
        .await
        .is_problem(403);
    // Who owns it and has become a Viewer shares nothing any more.
    let body = json!({"role": "Viewer"});
    let role = format!("/v1/users/{}", tenant.member);
    service.patch(tenant, tenant.admin, &role, body).await.ok();
    scene.reads(tenant.member, &id).await.ok();
    let told = scene.approves(tenant.member, &id).await;
    assert!(told.is_problem(403).contains("viewer.ceiling"));
    scene
        .decides(tenant.member, &id, "decline", None)
        .await
        .is_problem(403);
    assert_eq!(scene.thread_of(tenant.viewer).await, 404);
    assert_eq!(scene.count(Event::AccessApproved).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_approves_their_own() {
    let scene = Scene::on(Database::Sqlite).await;
    let (member, admin) = (scene.tenant.member, scene.tenant.admin);
    let of_own = scene.asks(member, &scene.thread, "editor", None).await;
    let of_log = scene.asks(admin, &scene.log(), "auditor", None).await;
    for (user, id) in [(member, of_own.waits()), (admin, of_log.waits())] {
        let told = scene.approves(user, &id).await;
        assert!(told.is_problem(400).contains("somebody else"));
        assert_eq!(scene.reads(user, &id).await.ok()["status"], "open");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_counts_is_who_owns_it_and_who_asks_when_it_is_approved() {
    let scene = Scene::on(Database::Sqlite).await;
    let (tenant, service) = (&scene.tenant, &scene.service);
    let (id, next) = (scene.wanted().await, scene.person("nia", "Member").await);
    // Another owner.
    let path = format!("/v1/threads/{}", scene.thread);
    let body = json!({"owner": next});
    service.patch(tenant, tenant.member, &path, body).await.ok();
    scene.approves(tenant.member, &id).await.is_problem(404);
    assert_eq!(
        scene.listed(next, "?by=others").await,
        std::slice::from_ref(&id)
    );
    // Whoever asked is suspended.
    let person = format!("/v1/users/{}", tenant.viewer);
    let active = async |active: bool| {
        let body = json!({"active": active});
        service
            .patch(tenant, tenant.admin, &person, body)
            .await
            .ok()
    };
    active(false).await;
    let told = scene.approves(next, &id).await;
    assert!(told.is_problem(400).contains("suspended"));
    active(true).await;
    // Somebody else is removed, with what they asked for.
    let leaver = scene.person("lee", "Member").await;
    let theirs = scene.asks(leaver, &scene.thread, "viewer", None).await;
    let theirs = theirs.waits();
    let gone = format!("/v1/users/{leaver}");
    assert_eq!(
        service.delete(tenant, tenant.admin, &gone).await.status,
        204
    );
    scene.approves(next, &theirs).await.is_problem(404);
    assert_eq!(scene.listed(next, "").await, std::slice::from_ref(&id));
    scene.approves(next, &id).await.ok();
    assert_eq!(scene.thread_of(tenant.viewer).await, 200);
}

/// What somebody who asks can find out about what they may not read.
async fn told_of(scene: &Scene, user: Ref, resource: &str) -> Vec<(u16, String)> {
    let asked = scene.asks(user, resource, "editor", Some(30)).await;
    let id = asked.waits();
    let place = format!("{PLACE}/{id}");
    let mut all = vec![asked];
    all.push(scene.asks(user, resource, "viewer", None).await);
    all.push(scene.reads(user, &id).await);
    all.push(scene.approves(user, &id).await);
    all.push(scene.decides(user, &id, "decline", None).await);
    let list = format!("{PLACE}?resource={resource}");
    all.push(scene.service.get(&scene.tenant, user, &list).await);
    for action in ["access.read", "access.decline", "access.withdraw"] {
        let question = json!({
            "subject": {"type": "User", "id": user},
            "action": {"name": action},
            "resource": {"type": "AccessRequest", "id": id},
        });
        let explained = scene
            .service
            .post(&scene.tenant, user, "/v1/explain", question.clone());
        all.push(explained.await);
        let decided = scene
            .service
            .ask("POST", "/access/v1/evaluation")
            .key(&scene.tenant.key)
            .header("cedarkeep-explain", "true")
            .body(&question);
        all.push(decided.send().await);
    }
    all.push(scene.service.delete(&scene.tenant, user, &place).await);
    all.push(scene.reads(user, &id).await);
    let plain = |told: &Told| {
        let mut body = told.body.clone();
        without(&mut body);
        let names: Vec<&str> = told.headers.keys().map(|name| name.as_str()).collect();
        let text = format!("{names:?} {body}");
        (
            told.status,
            text.replace(&id, "ID").replace(resource, "THAT"),
        )
    };
    all.iter().map(plain).collect()
}

/// Takes out of an answer what is another each time: when it was, and where it stands in the log.
fn without(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for name in [
                "asked_at",
                "lapses_at",
                "closed_at",
                "from_index",
                "log",
                "index",
                "request_id",
                "receipt",
                "as_of",
                "instance",
                "cedarkeep",
            ] {
                members.remove(name);
            }
            members.values_mut().for_each(without);
        }
        Value::Array(items) => items.iter_mut().for_each(without),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_something_is_there_is_not_told() {
    let scene = Scene::on(Database::Sqlite).await;
    let other = scene.service.tenant("other").await;
    let body = json!({"name": "Elsewhere"});
    let elsewhere = scene
        .service
        .post(&other, other.member, "/v1/threads", body)
        .await
        .id();
    let nothing = Ref::new(Kind::Thread, crypto::random().unwrap()).to_string();
    let viewer = scene.tenant.viewer;
    let there = told_of(&scene, viewer, &scene.thread).await;
    // A control: these are answers, and there is something in them.
    assert_eq!(there[0].0, 202);
    assert!(there.iter().any(|(_, text)| text.contains("access.own")));
    for about in [&nothing, &elsewhere] {
        let told = told_of(&scene, viewer, about).await;
        for (one, other) in told.iter().zip(&there) {
            assert_eq!(one, other);
        }
    }
    // What is deleted while somebody waits for it looks to them as if nobody had answered.
    let (one, other) = (
        scene.asks(viewer, &scene.thread, "viewer", None).await,
        scene.asks(viewer, &nothing, "viewer", None).await,
    );
    let (one, other) = (one.waits(), other.waits());
    let before = scene.reads(viewer, &one).await.ok();
    let path = format!("/v1/threads/{}", scene.thread);
    let member = scene.tenant.member;
    assert_eq!(
        scene
            .service
            .delete(&scene.tenant, member, &path)
            .await
            .status,
        204
    );
    assert_eq!(scene.reads(viewer, &one).await.ok(), before);
    scene.reads(member, &one).await.is_problem(404);
    for id in [&one, &other] {
        scene.approves(member, id).await.is_problem(404);
        scene.approves(viewer, id).await.is_problem(404);
    }
    assert_eq!(scene.listed(viewer, "?status=open").await.len(), 2);
    // Nobody else ever hears of what is not there.
    for user in [scene.tenant.admin, member] {
        assert!(scene.listed(user, "").await.is_empty());
    }
}

async fn of_two_who_decide_at_once_one_does(database: Database) {
    let scene = Scene::on(database).await;
    let (one, other) = (scene.tenant.admin, scene.person("abe", "Admin").await);
    for (round, second) in [(0, "approve"), (1, "decline"), (2, "approve")] {
        let asker = scene.person(&format!("asker{round}"), "Member").await;
        let id = scene.asks(asker, &scene.log(), "auditor", Some(30)).await;
        let id = id.waits();
        let body = (second == "approve").then(|| json!({}));
        let both = tokio::join!(
            scene.approves(one, &id),
            scene.decides(other, &id, second, body)
        );
        let mut statuses = [both.0.status, both.1.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        let seen = scene.reads(asker, &id).await.ok();
        let approved = both.0.status == 200 || second == "approve";
        assert_eq!(
            seen["status"],
            if approved { "approved" } else { "declined" }
        );
        let audits = scene
            .service
            .get(&scene.tenant, asker, "/v1/audit/checkpoint")
            .await;
        assert_eq!(audits.status == 200, approved);
    }
    let shared = format!("/v1/shares?resource={}", scene.log());
    let shares = scene.service.get(&scene.tenant, one, &shared).await.ok();
    assert_eq!(
        shares["items"].as_array().unwrap().len(),
        scene.count(Event::AccessApproved).await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_decide_at_once_one_does_on_sqlite() {
    of_two_who_decide_at_once_one_does(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_decide_at_once_one_does_on_postgresql() {
    let server = postgres::start();
    of_two_who_decide_at_once_one_does(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_is_done_once() {
    let scene = Scene::on(Database::Sqlite).await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    let sent = async |user: Ref, path: &str, body: &Value| {
        let ask = service.by(tenant, user, "POST", path);
        ask.header("idempotency-key", "once")
            .body(body)
            .send()
            .await
    };
    let body =
        json!({"resource": scene.thread, "level": "viewer", "reason": "to look", "for_minutes": 5});
    let first = sent(tenant.viewer, PLACE, &body).await;
    let again = sent(tenant.viewer, PLACE, &body).await;
    assert_eq!(first.waits(), again.waits());
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = json!({"resource": scene.thread, "level": "editor", "reason": "to write"});
    sent(tenant.viewer, PLACE, &other).await.is_problem(409);
    assert_eq!(scene.count(Event::AccessRequested).await, 1);
    let approve = format!("{PLACE}/{}/approve", first.waits());
    let given = sent(tenant.member, &approve, &json!({})).await.ok();
    let again = sent(tenant.member, &approve, &json!({})).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.ok(), given);
    assert_eq!(scene.count(Event::AccessApproved).await, 1);
    // Taken back since: what is sent again gives nothing again.
    let share = given["given"]["share"].as_str().unwrap();
    let share = format!("/v1/shares/{share}");
    let taken = service.delete(tenant, tenant.member, &share).await;
    assert_eq!(taken.status, 204);
    sent(tenant.member, &approve, &json!({})).await.ok();
    assert_eq!(scene.thread_of(tenant.viewer).await, 404);
    // Nor where somebody else owns it by then: they are told what they were told before, and nothing is done.
    let path = format!("/v1/threads/{}", scene.thread);
    let next = json!({"owner": tenant.admin});
    service.patch(tenant, tenant.member, &path, next).await.ok();
    let again = sent(tenant.member, &approve, &json!({})).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(scene.thread_of(tenant.viewer).await, 404);
    scene
        .approves(tenant.member, &first.waits())
        .await
        .is_problem(404);
    assert_eq!(scene.count(Event::AccessApproved).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_do_not_ask_and_a_key_needs_its_scope() {
    let scene = Scene::on(Database::Sqlite).await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    let body = json!({"name": "Helper", "audience": tenant.everybody});
    let agent = service
        .post(tenant, tenant.member, "/v1/agents", body)
        .await;
    let agent = agent.body["agents"][0].as_str().unwrap().to_owned();
    let ask = json!({"resource": scene.thread, "level": "viewer", "reason": "to look"});
    let by_agent = service
        .by(tenant, tenant.viewer, "POST", PLACE)
        .header("cedarkeep-acting-agent", &agent)
        .body(&ask)
        .send()
        .await;
    assert!(by_agent.is_problem(403).contains("agents.ceiling"));
    let id = scene.wanted().await;
    let read = service.by(tenant, tenant.viewer, "GET", &format!("{PLACE}/{id}"));
    let read = read.header("cedarkeep-acting-agent", &agent).send().await;
    read.is_problem(404);
    let approved = service.by(
        tenant,
        tenant.member,
        "POST",
        &format!("{PLACE}/{id}/approve"),
    );
    let approved = approved.header("cedarkeep-acting-agent", &agent);
    approved.body(&json!({})).send().await.is_problem(404);
    let reader = key(&tenant.door, &[Scope::DirectoryRead]).await;
    let told = service.ask("POST", PLACE).key(&reader).user(tenant.member);
    let told = told.body(&ask).send().await;
    assert!(told.is_problem(403).contains("directory.write"));
    let seen = service.ask("GET", PLACE).key(&reader).user(tenant.member);
    let seen = seen.send().await.ok();
    assert_eq!(seen["items"][0]["id"], json!(id));
}
