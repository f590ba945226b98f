//! A recorded log, and which mutants a replay of it notices: everybody has asked about everything.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use cedarkeep::config::Database;
use cedarkeep::decide::replay::{Range, Replaying, Under, Why};
use cedarkeep::decide::{Asker, audit};
use cedarkeep::directory::object::Plan;
use cedarkeep::directory::organization;
use cedarkeep::policy::Compiled;
use serde_json::{Value, json};

use super::super::world::LIBRARY;
use super::{Mutant, whole};
use crate::api::harness::{Service, Tenant, Things};

/// How many questions are put in one call.
const AT_ONCE: usize = 500;

/// An organization whose log has decisions about all that there is.
pub struct Recorded {
    tenant: Tenant,
    range: (u64, u64),
    _service: Service,
}

impl Recorded {
    pub async fn make() -> Self {
        let service = Service::still(Database::Sqlite).await;
        let tenant = service.tenant("acme").await;
        let things = service.things(&tenant).await;
        let first = size(&tenant).await;
        let mine = things_of_a_member(&service, &tenant).await;
        let resources = resources(&tenant, &things, &mine);
        let people = [
            tenant.admin.to_string(),
            tenant.member.to_string(),
            tenant.viewer.to_string(),
            things.user.clone(),
        ];
        let agent = format!("/v1/agents/{}", things.agent);
        let agent = service.get(&tenant, tenant.admin, &agent).await.ok();
        let agent = agent["agents"][0].as_str().unwrap().to_owned();
        let ask = async |groups: &[&str], people: &[String], context: &Value| {
            let questions = questions((groups, people, &agent), &resources, context);
            for some in questions.chunks(AT_ONCE) {
                let ask = service
                    .ask("POST", "/access/v1/evaluations")
                    .key(&tenant.key);
                ask.body(&json!({"evaluations": some})).send().await.ok();
            }
        };
        ask(&["any"], &people, &json!({})).await;
        // A smaller plan, a legal hold, a way of signing in, and somebody who is suspended.
        let plan = |plan| {
            tenant
                .door
                .operate(move |by, seen| organization::set_plan(by, seen, plan))
        };
        plan(Plan::Starter).await.unwrap();
        let said = json!({"new_role": "Viewer", "protocol": "oidc"});
        ask(&["audit", "administer"], &people[..2], &said).await;
        plan(Plan::Enterprise).await.unwrap();
        let hold = json!({"resource": things.thread, "reason": "a case"});
        service
            .post(&tenant, tenant.admin, "/v1/legal-holds", hold)
            .await;
        let user = format!("/v1/users/{}", things.user);
        service
            .patch(&tenant, tenant.admin, &user, json!({"active": false}))
            .await
            .ok();
        let said = json!({"purpose": "support", "new_role": "Admin"});
        ask(&["destroy", "overwrite", "read"], &people[..1], &said).await;
        ask(&["read", "write"], &people[3..], &json!({})).await;
        let end = size(&tenant).await;
        Self {
            tenant,
            range: (first, end),
            _service: service,
        }
    }

    /// How many decisions there are to be made again.
    pub const fn entries(&self) -> u64 {
        self.range.1 - self.range.0
    }

    /// Whether anything comes out otherwise under other policies.
    async fn differs(&self, compiled: Arc<Compiled>) -> bool {
        let wanted = Replaying {
            range: Range::Indexes(self.range.0, Some(self.range.1)),
            under: Under::Compiled(compiled),
        };
        let door = &self.tenant.door;
        let report = door.replay(Asker::operator(), wanted, |_| ControlFlow::Continue(()));
        let report = report.await.unwrap();
        // Under a template that is none for them any more the shares of then cannot be: each decision since is told as not to be made.
        let unfit = report.tally.not_for(Why::State) > 0;
        assert!(unfit || report.tally.made() > 1_000, "{}", report.words());
        unfit || !report.is_same()
    }

    /// The mutants under which a decision comes out otherwise.
    pub async fn notices<'m>(&self, mutants: &[&'m Mutant]) -> BTreeSet<&'m str> {
        let original = Arc::new(Compiled::builtin(&LIBRARY));
        assert!(
            !self.differs(original).await,
            "it differs under what it was made"
        );
        let mut noticed = BTreeSet::new();
        for mutant in mutants {
            if self
                .differs(Arc::new(Compiled::builtin(&whole(mutant))))
                .await
            {
                noticed.insert(mutant.id.as_str());
            }
        }
        noticed
    }
}

async fn size(tenant: &Tenant) -> u64 {
    audit::head(tenant.door.store()).await.unwrap().size
}

/// What a Member has made, for themselves and under a thread of theirs.
async fn things_of_a_member(service: &Service, tenant: &Tenant) -> Vec<(&'static str, String)> {
    let make =
        async |path: &str, body: Value| service.post(tenant, tenant.member, path, body).await.id();
    let thread = make("/v1/threads", json!({"name": "Mine"})).await;
    let document = make("/v1/documents", json!({"name": "Draft", "parent": thread})).await;
    let personal = make("/v1/memory", json!({"name": "Habits", "layer": "personal"})).await;
    let remembered = make(
        "/v1/memory",
        json!({"name": "Terms", "layer": "thread", "parent": thread}),
    )
    .await;
    let template = make("/v1/prompt-templates", json!({"name": "Mine"})).await;
    let share = json!({"resource": thread, "grantee": tenant.viewer, "level": "editor"});
    make("/v1/shares", share).await;
    vec![
        ("Thread", thread),
        ("Document", document),
        ("Memory", personal),
        ("Memory", remembered),
        ("PromptTemplate", template),
    ]
}

fn resources(
    tenant: &Tenant,
    things: &Things,
    mine: &[(&'static str, String)],
) -> Vec<(&'static str, String)> {
    let single = |prefix: &str| tenant.org.to_string().replacen("org", prefix, 1);
    let mut all = vec![
        ("Organization", tenant.org.to_string()),
        ("PolicySet", single("pol")),
        ("AuditLog", single("log")),
        ("Settings", single("set")),
        ("Billing", single("bil")),
        ("Report", single("rep")),
        ("ComplianceDocs", single("cmp")),
        ("User", things.user.clone()),
        ("User", tenant.member.to_string()),
        ("User", tenant.admin.to_string()),
        ("Team", things.team.clone()),
        ("Project", things.project.clone()),
        ("Thread", things.thread.clone()),
        ("Document", things.document.clone()),
        ("PromptTemplate", things.template.clone()),
        ("Tool", things.tool.clone()),
        ("Assistant", things.assistant.clone()),
        ("AgentDefinition", things.agent.clone()),
        ("AgentRun", things.run.clone()),
        ("Memory", things.memory.clone()),
        ("Integration", things.integration.clone()),
        ("ApiKey", things.key.clone()),
        ("Invitation", things.invitation.clone()),
        ("AccessRequest", things.request.clone()),
    ];
    all.extend(mine.iter().cloned());
    all
}

/// Everybody, an agent of theirs too, about each action and all that it is for.
fn questions(
    (groups, people, agent): (&[&str], &[String], &str),
    resources: &[(&str, String)],
    context: &Value,
) -> Vec<Value> {
    let mut all = Vec::new();
    let kind =
        |one: &cedarkeep::policy::Type| one.name().trim_start_matches("Cedarkeep::").to_owned();
    let actions = LIBRARY.vocabulary().actions();
    for action in actions.filter(|action| groups.iter().any(|group| action.is_in(group))) {
        let kinds: Vec<String> = action.resources().iter().map(kind).collect();
        let askers: Vec<String> = action.principals().iter().map(kind).collect();
        for (of, id) in resources
            .iter()
            .filter(|(of, _)| kinds.iter().any(|one| one == of))
        {
            let mut put = |subject: Value, acts_for: Option<&String>| {
                let mut context = context.clone();
                if let Some(user) = acts_for {
                    context["acts_for"] = json!({"type": "User", "id": user});
                }
                all.push(json!({
                    "subject": subject, "action": {"name": action.name()},
                    "resource": {"type": of, "id": id}, "context": context,
                }));
            };
            if askers.iter().any(|one| one == "User") {
                for user in people {
                    put(json!({"type": "User", "id": user}), None);
                }
            }
            if askers.iter().any(|one| one == "Agent") {
                for user in people.iter().take(2) {
                    put(json!({"type": "Agent", "id": agent}), Some(user));
                }
            }
        }
    }
    all
}
