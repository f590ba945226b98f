//! Why an answer is what it is, over HTTP: each outcome, what is wrong with a question, who may ask, and what they are not told.

use cedarkeep::directory::object::{Plan, Scope};
use cedarkeep::directory::{Kind, Ref, organization};
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told, key};

const SCHEMA: &str = r#"
entity Ticket { title: String, pressing?: Bool, about?: Cedarkeep::User };
action "see" appliesTo { principal: [Cedarkeep::User], resource: [Ticket], context: { reason?: String } };
"#;

const POLICIES: &str = r#"
@id("tickets.named") @reason("Some tickets are for everybody.")
permit(principal, action == Action::"see", resource) when { resource.title == "CANARY-POLICY" };
@id("tickets.not") @reason("Tickets of another kind.")
permit(principal, action == Action::"see", resource) when { resource.title != "CANARY-TITLE" };
@id("tickets.now") @reason("Some cannot wait.")
permit(principal, action == Action::"see", resource) when { resource has pressing && resource.pressing };
@id("tickets.hers") @reason("It is theirs.")
permit(principal == Cedarkeep::User::"THEIRS", action == Action::"see", resource);
@id("tickets.sum") @reason("Sums.")
forbid(principal, action == Cedarkeep::Action::"thread.comment", resource)
when { resource.holds + 9223372036854775807 + 1 > 0 };
"#;

struct Scene {
    service: Service,
    tenant: Tenant,
    thread: String,
    agent: Ref,
}

fn asked(subject: Ref, action: &str, (kind, id): (&str, &str)) -> Value {
    json!({
        "subject": {"type": subject.kind.name(), "id": subject.to_string()},
        "action": {"name": action},
        "resource": {"type": kind, "id": id},
    })
}

impl Scene {
    async fn set() -> Self {
        let service = Service::open().await;
        let tenant = service.tenant("acme").await;
        let things = service.things(&tenant).await;
        let policies = POLICIES.replace("THEIRS", &tenant.member.to_string());
        let body = json!({"schema": SCHEMA, "policies": {"own.cedar": policies}});
        let told = service
            .by(&tenant, tenant.admin, "PUT", "/v1/policy-set")
            .body(&body)
            .send()
            .await;
        told.ok();
        let ticket = json!({"uid": {"type": "Ticket", "id": "1"}, "attrs": {"title": "CANARY-TITLE", "pressing": false}, "parents": []});
        let told = service
            .by(&tenant, tenant.admin, "PUT", "/v1/entities")
            .body(&json!({"entities": [ticket]}))
            .send()
            .await;
        told.ok();
        Self {
            service,
            tenant,
            thread: things.thread,
            agent: things.agent.parse().unwrap(),
        }
    }

    /// Asked in somebody's name.
    async fn by(&self, user: Ref, question: &Value) -> Told {
        self.service
            .post(&self.tenant, user, "/v1/explain", question.clone())
            .await
    }

    /// Asked with a key alone.
    async fn with(&self, key: &str, question: &Value) -> Told {
        let ask = self.service.ask("POST", "/v1/explain").key(key);
        ask.body(question).send().await
    }

    /// The decision point's own answer.
    async fn decided(&self, question: &Value) -> (bool, Value) {
        let told = self
            .service
            .ask("POST", "/access/v1/evaluation")
            .key(&self.tenant.key)
            .header("cedarkeep-explain", "true")
            .body(question)
            .send()
            .await
            .ok();
        let kind = told["context"]["kind"].clone();
        (told["decision"].as_bool().unwrap(), kind)
    }

    fn on_thread(&self, subject: Ref, action: &str) -> Value {
        asked(subject, action, ("Thread", &self.thread))
    }
}

fn words(told: &Value) -> String {
    let words = told["words"].as_array().unwrap().iter();
    let words: Vec<&str> = words.map(|one| one.as_str().unwrap()).collect();
    words.join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yes_says_by_which_policy_and_memberships() {
    let scene = Scene::set().await;
    let mia = scene.tenant.member;
    let told = scene
        .by(mia, &scene.on_thread(mia, "thread.read"))
        .await
        .ok();
    assert_eq!(told["outcome"], "allowed");
    assert_eq!(told["decision"], true);
    let because = &told["why"][0]["because"];
    assert_eq!(because["policy"]["id"], "audience.read");
    assert_eq!(
        because["memberships"],
        json!([{
            "child": {"type": "User", "id": mia},
            "parent": {"type": "Group", "id": scene.tenant.everybody},
        }])
    );
    assert!(
        words(&told).contains("Mia is in the members of “acme”."),
        "{}",
        words(&told)
    );
    assert!(told["log"]["index"].is_u64());
    // By a share.
    let vic = scene.tenant.viewer;
    let private = json!({"name": "Secret"});
    let private = scene
        .service
        .post(&scene.tenant, mia, "/v1/threads", private)
        .await
        .id();
    let share = json!({"resource": private, "grantee": vic, "level": "viewer"});
    let share = scene.service.post(&scene.tenant, mia, "/v1/shares", share);
    let share = share.await.id();
    let told = scene
        .by(vic, &asked(vic, "thread.read", ("Thread", &private)))
        .await
        .ok();
    let because = &told["why"][0]["because"];
    assert_eq!(because["policy"]["id"], "share-viewer");
    assert_eq!(because["policy"]["link"], json!(share));
    assert_eq!(because["link"]["principal"]["id"], json!(vic));
    assert_eq!(because["memberships"], json!([]));
    assert!(
        words(&told).contains("is of the thread “Secret” with vic."),
        "{}",
        words(&told)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_what_stands_against_it() {
    let scene = Scene::set().await;
    let (ada, mia, vic) = (scene.tenant.admin, scene.tenant.member, scene.tenant.viewer);
    let told = scene
        .by(vic, &scene.on_thread(vic, "thread.post"))
        .await
        .ok();
    assert_eq!(told["outcome"], "forbidden");
    let ceiling = &told["why"][0]["forbidden_by"][0];
    assert_eq!(ceiling["id"], "viewer.ceiling");
    let role = &ceiling["conditions"][0];
    assert_eq!(
        role["condition"],
        "principal.role == Cedarkeep::Role::\"Viewer\""
    );
    assert_eq!(role["values"][0]["path"], "principal.role");
    assert_eq!(role["values"][0]["value"]["id"], "Viewer");

    let told = scene
        .by(mia, &scene.on_thread(mia, "thread.post"))
        .await
        .ok();
    assert_eq!(told["outcome"], "not_permitted");
    let near = &told["why"][0]["near_misses"][0];
    assert_eq!(near["id"], "owner.thread");
    assert_eq!(
        near["conditions"][0]["condition"],
        "resource.owner == principal"
    );
    assert_eq!(near["conditions"][0]["result"], "false");
    assert_eq!(
        near["conditions"][0]["values"][0]["value"]["id"],
        json!(ada)
    );
    let said = words(&told);
    assert!(
        said.starts_with("Mia may not post to this thread: nothing permits it. It is about the thread “Plan”. Closest: “A thread's owner may do everything with it” would permit it, but this thread's owner is not this person (it is ada)."),
        "{said}"
    );

    let told = scene
        .by(ada, &scene.on_thread(ada, "thread.comment"))
        .await
        .ok();
    assert_eq!(told["outcome"], "error");
    let failed = &told["why"][0]["failed"][0];
    assert_eq!(failed["id"], "tickets.sum");
    assert_eq!(failed["conditions"][0]["result"], "error");
    assert!(
        failed["conditions"][0]["error"]
            .as_str()
            .unwrap()
            .contains("overflow")
    );

    scene
        .tenant
        .door
        .operate(move |by, snapshot| organization::set_plan(by, snapshot, Plan::Business))
        .await
        .unwrap();
    let settings = Ref::new(Kind::Settings, scene.tenant.org.id).to_string();
    let question = asked(ada, "sso.configure", ("Settings", &settings));
    let told = scene.by(ada, &question).await.ok();
    assert_eq!(told["outcome"], "plan_required", "{told}");
    assert_eq!(told["plan"], "Enterprise");
    assert_eq!(told["why"][0]["otherwise_permitted"], true);
    assert!(
        words(&told).contains("it needs the Enterprise plan"),
        "{}",
        words(&told)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_is_of_what_the_decision_point_says() {
    let scene = Scene::set().await;
    let explainer = key(&scene.tenant.door, &[Scope::Explain]).await;
    let mut compared = 0;
    for person in [scene.tenant.admin, scene.tenant.member, scene.tenant.viewer] {
        for action in [
            "thread.read",
            "thread.comment",
            "thread.post",
            "thread.share",
            "thread.delete",
            "model.train",
            "memory.read",
        ] {
            for thread in [scene.thread.as_str(), "thr_aaaaaaaaaaaaaaaaaaaaaaaaaa"] {
                let question = asked(person, action, ("Thread", thread));
                let (decision, kind) = scene.decided(&question).await;
                let told = scene.with(&explainer, &question).await.ok();
                assert_eq!(told["decision"], decision, "{question}");
                let outcome = match decision {
                    true => json!("allowed"),
                    false => kind,
                };
                assert_eq!(told["outcome"], outcome, "{question}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 42);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_halves_are_explained_each() {
    let scene = Scene::set().await;
    let definition = scene.agent;
    let world = scene.tenant.door.glance();
    let agent = world
        .snapshot()
        .objects_of(Kind::Agent, None)
        .find(|(_, stored)| stored.value.parent() == Some(definition))
        .map(|(agent, _)| agent)
        .unwrap();
    let mut question = scene.on_thread(agent, "thread.read");
    question["context"] = json!({"acts_for": scene.tenant.member});
    let told = scene.with(&scene.tenant.key, &question).await.ok();
    assert_eq!(told["outcome"], "not_permitted");
    // Its person may: what is told is what stands against it.
    assert_eq!(told["why"].as_array().unwrap().len(), 1);
    assert_eq!(told["why"][0]["subject"]["id"], json!(agent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn about_others_asks_who_may_read_the_log_or_the_policies() {
    let scene = Scene::set().await;
    let (ada, mia, vic) = (scene.tenant.admin, scene.tenant.member, scene.tenant.viewer);
    for asker in [vic, mia] {
        let about = scene.on_thread(ada, "thread.read");
        let told = scene.by(asker, &about).await;
        told.is_problem(403);
        assert!(!told.body.to_string().contains("audience.read"));
        // Somebody who is not there is somebody else as well.
        let nobody = asked(
            Ref::new(Kind::User, [7; 16]),
            "thread.read",
            ("Thread", &scene.thread),
        );
        scene.by(asker, &nobody).await.is_problem(403);
    }
    let about = scene.on_thread(vic, "thread.post");
    let told = scene.by(ada, &about).await.ok();
    assert_eq!(told["outcome"], "forbidden");
    // An auditor, too.
    let log = Ref::new(Kind::AuditLog, scene.tenant.org.id);
    let share = json!({"resource": log, "grantee": mia, "level": "auditor"});
    scene
        .service
        .post(&scene.tenant, ada, "/v1/shares", share)
        .await
        .id();
    scene.by(mia, &about).await.ok();
    // Without the plan that the log needs, an Admin still may, and an auditor may not.
    scene
        .tenant
        .door
        .operate(move |by, snapshot| organization::set_plan(by, snapshot, Plan::Starter))
        .await
        .unwrap();
    scene.by(ada, &about).await.ok();
    scene.by(mia, &about).await.is_problem(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_may_not_read_is_not_there_for_them() {
    let scene = Scene::set().await;
    let (mia, vic) = (scene.tenant.member, scene.tenant.viewer);
    let private = scene
        .service
        .post(&scene.tenant, mia, "/v1/threads", json!({"name": "Canary"}))
        .await
        .id();
    for action in ["thread.read", "thread.post", "thread.delete"] {
        let hidden = scene
            .by(vic, &asked(vic, action, ("Thread", &private)))
            .await;
        hidden.is_problem(404);
        let nothing = asked(vic, action, ("Thread", "thr_aaaaaaaaaaaaaaaaaaaaaaaaaa"));
        let nothing = scene.by(vic, &nothing).await;
        assert_eq!(
            (hidden.status, &hidden.body),
            (nothing.status, &nothing.body)
        );
        let unsaid = scene
            .by(vic, &asked(vic, action, ("Thread", "not an id")))
            .await;
        assert_eq!((hidden.status, &hidden.body), (unsaid.status, &unsaid.body));
    }
    // A tenant's own things are read by Admins.
    scene
        .by(vic, &asked(vic, "see", ("Ticket", "1")))
        .await
        .is_problem(404);
    scene
        .by(vic, &asked(vic, "see", ("Ticket", "2")))
        .await
        .is_problem(404);
    // An Admin who asks why somebody may is told why, and not what the thread says of itself.
    let question = asked(mia, "thread.read", ("Thread", &private));
    let told = scene.by(scene.tenant.admin, &question).await.ok();
    let looked = &told["why"][0]["because"]["policy"]["conditions"][0]["values"][0];
    assert_eq!(looked["path"], "resource.owner");
    assert_eq!(looked["withheld"], true);
    assert!(looked.get("value").is_none());
    assert!(!told.to_string().contains("Canary"), "{told}");
    assert!(
        words(&told).contains("a value that you may not see"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_told_to_those_alone_who_may_read_them() {
    let scene = Scene::set().await;
    let (ada, vic) = (scene.tenant.admin, scene.tenant.viewer);
    let question = asked(vic, "see", ("Ticket", "1"));
    let told = scene.by(ada, &question).await.ok();
    assert!(
        told.to_string().contains("CANARY-TITLE"),
        "a control: {told}"
    );
    assert!(
        told.to_string().contains(&scene.tenant.member.to_string()),
        "a control: {told}"
    );
    // A key by itself reads nothing.
    let explainer = key(&scene.tenant.door, &[Scope::Explain]).await;
    let everything = key(&scene.tenant.door, Scope::ALL).await;
    for key in [&explainer, &everything] {
        let told = scene.with(key, &question).await.ok();
        assert_eq!(told["outcome"], "not_permitted");
        assert_eq!(told["why"][0]["near_misses"].as_array().unwrap().len(), 4);
        // Nor what it would follow from: that a title is not one, or is not another.
        assert!(!told.to_string().contains("CANARY"), "{told}");
        // Nor a condition that is nothing but such a value, nor who somebody else is that a policy names.
        let hers = scene.tenant.member.to_string();
        assert!(!told.to_string().contains(&hers), "{told}");
        assert!(!told.to_string().contains("pressing"), "{told}");
        let part = &told["why"][0]["near_misses"][0]["conditions"][0];
        assert_eq!(part["withheld"], true);
    }
    // The same in the name of an Admin, through a key that opens nothing else.
    let told = scene
        .service
        .ask("POST", "/v1/explain")
        .key(&explainer)
        .user(ada)
        .body(&question)
        .send()
        .await
        .ok();
    assert!(!told.to_string().contains("CANARY"), "{told}");
    // What the request itself says, it may hear again.
    let mut said = question.clone();
    said["resource"]["properties"] = json!({"title": "mine"});
    let told = scene.with(&explainer, &said).await.ok();
    assert_eq!(told["outcome"], "allowed");
    assert!(told.to_string().contains("\"value\":\"mine\""), "{told}");
    // The log has the question and a digest.
    let entries = scene
        .service
        .get(
            &scene.tenant,
            ada,
            "/v1/audit/entries?limit=1&event=decision.made&action=see",
        )
        .await
        .ok();
    let entry = &entries["items"][0];
    let digest = entry["details"]["explanation"]["digest"].as_str().unwrap();
    assert_eq!(digest.len(), 64);
    assert!(!entry.to_string().contains("tickets.named"), "{entry}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_learns_nothing() {
    let scene = Scene::set().await;
    let other = scene.service.tenant("other").await;
    let question = scene.on_thread(scene.tenant.member, "thread.read");
    let told = scene.with(&other.key, &question).await.ok();
    assert_eq!(told["outcome"], "not_permitted");
    assert_eq!(told["why"], json!([]));
    let theirs = scene.service.ask("POST", "/v1/explain").key(&other.key);
    theirs
        .user(scene.tenant.admin)
        .body(&question)
        .send()
        .await
        .is_problem(403);
    let theirs = scene.service.ask("POST", "/v1/explain").key(&other.key);
    let told = theirs.user(other.admin).body(&question).send().await.ok();
    assert_eq!(told["why"], json!([]));
    assert!(!told.to_string().contains("Plan"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_question_is_refused() {
    let scene = Scene::set().await;
    let mia = scene.tenant.member;
    let question = scene.on_thread(mia, "thread.read");
    for scopes in [&[Scope::Decide][..], &[Scope::Decide, Scope::Search]] {
        let key = key(&scene.tenant.door, scopes).await;
        scene.with(&key, &question).await.is_problem(403);
    }
    scene
        .with("ck_live_nothing", &question)
        .await
        .is_problem(401);
    for wrong in [
        json!({}),
        json!({"subject": "mia", "action": {"name": "thread.read"}, "resource": {"type": "Thread", "id": "1"}}),
        scene.on_thread(mia, "thread.dance"),
        asked(mia, "thread.read", ("Spaceship", "1")),
        json!({"subject": question["subject"], "action": question["action"], "resource": question["resource"], "context": {"new_role": 7}}),
    ] {
        let told = scene.with(&scene.tenant.key, &wrong).await;
        told.is_problem(400);
    }
    let train = scene.service.ask("POST", "/v1/explain");
    let train = train.key(&scene.tenant.key).user(mia);
    let train = train.header("cedarkeep-purpose", "train");
    train.body(&question).send().await.is_problem(403);
    let agent = scene
        .service
        .ask("POST", "/v1/explain")
        .key(&scene.tenant.key);
    let agent = agent.header("cedarkeep-acting-agent", "agt_aaaaaaaaaaaaaaaaaaaaaaaaaa");
    agent.body(&question).send().await.is_problem(400);
}
