//! A history with something of everything that a decision can hang on, made by chance: for whoever makes decisions again.

use cedarkeep::decide::replay::{Range, Replaying, Report, Under};
use cedarkeep::decide::{Asker, rotate, upkeep};
use cedarkeep::directory::keys::{self, KeyName};
use cedarkeep::directory::object::{Plan, Scope};
use cedarkeep::directory::organization;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::time::Duration;

use super::harness::{Service, Tenant, Things, key};
use crate::harness::chance::Chance;

pub const SCHEMA: &str = r#"
entity Folder;
entity Robot { strength: Long };
entity Ticket in [Folder] { title: String, level?: Long, about?: Cedarkeep::User };
action "see", "close" appliesTo { principal: [Cedarkeep::User, Cedarkeep::Agent, Robot], resource: [Ticket], context: { reason?: String, purpose?: String } };
"#;

/// Policies of the organization's own, in force by turns: they permit, forbid and fail.
pub const OWN: [&str; 2] = [
    r#"
@id("tickets.see") permit(principal, action == Action::"see", resource) when { resource.title != "secret" };
@id("tickets.hers") permit(principal is Cedarkeep::User, action == Action::"see", resource) when { resource has about && resource.about == principal };
@id("tickets.close") permit(principal is Robot, action == Action::"close", resource) when { principal.strength > 3 };
@id("tickets.urgent") forbid(principal, action == Action::"close", resource) when { resource has level && resource.level + 9223372036854775807 > 0 };
@id("viewers.out") forbid(principal is Cedarkeep::User, action == Cedarkeep::Action::"thread.read", resource) when { principal.role == Cedarkeep::Role::"Viewer" };
"#,
    r#"
@id("tickets.folder") permit(principal, action in [Action::"see", Action::"close"], resource in Folder::"open");
@id("settings.all") permit(principal is Cedarkeep::User, action == Cedarkeep::Action::"settings.read", resource);
@id("why") forbid(principal, action == Action::"close", resource) unless { context has reason };
@id("sums") forbid(principal, action == Cedarkeep::Action::"thread.comment", resource) when { resource.holds + 9223372036854775807 + 1 > 0 };
"#,
];

/// What happens in an organization.
pub struct History {
    pub service: Service,
    pub tenant: Tenant,
    pub things: Things,
    chance: Chance,
    low: String,
    agent: String,
    cookies: Vec<String>,
    scim: String,
    shares: Vec<String>,
    threads: Vec<String>,
    turn: usize,
}

impl History {
    pub async fn begin(service: Service, chance: Chance) -> Self {
        let tenant = service.tenant("acme").await;
        let things = service.things(&tenant).await;
        let low = key(&tenant.door, &[Scope::Decide]).await;
        let path = format!("/v1/agents/{}", things.agent);
        let agent = service.get(&tenant, tenant.admin, &path).await.ok();
        let agent = agent["agents"][0].as_str().unwrap().to_owned();
        let cookies = vec![
            service.sign_in(&tenant, tenant.admin).await,
            service.sign_in(&tenant, tenant.member).await,
        ];
        let body = json!({"name": "Entra"});
        let told = service.post(&tenant, tenant.admin, "/v1/scim/token", body);
        let scim = told.await.body["token"].as_str().unwrap().to_owned();
        let threads = vec![things.thread.clone()];
        let mut history = Self {
            service,
            tenant,
            things,
            chance,
            low,
            agent,
            cookies,
            scim,
            shares: Vec::new(),
            threads,
            turn: 0,
        };
        history.policies().await;
        history.entities().await;
        history
    }

    fn under(&mut self, most: usize) -> usize {
        usize::try_from(self.chance.number() >> 33).unwrap() % most
    }

    fn one_of(&mut self, all: &[&str]) -> String {
        let at = self.under(all.len());
        all[at].to_owned()
    }

    fn somebody(&mut self) -> String {
        let people = [
            self.tenant.admin.to_string(),
            self.tenant.member.to_string(),
            self.tenant.viewer.to_string(),
            self.things.user.clone(),
        ];
        let at = self.under(people.len());
        people[at].clone()
    }

    fn thread(&mut self) -> String {
        let at = self.under(self.threads.len());
        self.threads[at].clone()
    }

    /// So many steps, each by chance.
    pub async fn go_on(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.under(16) {
                0..=4 => self.ask().await,
                5 => self.explain().await,
                6 | 7 => self.call().await,
                8 => self.sign().await,
                9 => self.role().await,
                10 => self.share().await,
                11 => self.unshare().await,
                12 => self.make().await,
                13 => self.entities().await,
                14 => self.provision().await,
                _ => self.policies().await,
            }
        }
    }

    fn question(&mut self) -> Value {
        let (thread, user) = (self.thread(), self.somebody());
        let subject = match self.under(8) {
            0 => json!({"type": "Agent", "id": self.agent}),
            1 => json!({"type": "Robot", "id": "r2", "properties": {"strength": self.under(6)}}),
            2 => json!({"type": "User", "id": "usr_aaaaaaaaaaaaaaaaaaaaaaaaaa"}),
            _ => json!({"type": "User", "id": user}),
        };
        let ticket = self.one_of(&["1", "2", "3", "not there"]);
        let (action, resource) = match self.under(8) {
            0 => ("see", json!({"type": "Ticket", "id": ticket})),
            1 => {
                let said =
                    json!({"level": self.under(3), "title": self.one_of(&["secret", "open"])});
                (
                    "close",
                    json!({"type": "Ticket", "id": ticket, "properties": said}),
                )
            }
            2 => ("thread.comment", json!({"type": "Thread", "id": thread})),
            3 => (
                "settings.read",
                json!({"type": "Settings", "id": self.tenant.org.to_string().replacen("org", "set", 1)}),
            ),
            4 => (
                "document.read",
                json!({"type": "Document", "id": self.things.document}),
            ),
            5 => ("model.train", json!({"type": "Thread", "id": thread})),
            _ => ("thread.read", json!({"type": "Thread", "id": thread})),
        };
        let context = match self.under(5) {
            0 => {
                json!({"acts_for": {"type": "User", "id": self.somebody()}, "reason": "it is late"})
            }
            1 => json!({"acts_for": {"type": "User", "id": self.somebody()}, "purpose": "train"}),
            2 => json!({"purpose": "support", "reason": "no \"reason\" \u{fc}"}),
            3 => json!({"acts_for": {"type": "User", "id": "usr_aaaaaaaaaaaaaaaaaaaaaaaaaa"}}),
            _ => json!({}),
        };
        json!({"subject": subject, "action": {"name": action}, "resource": resource, "context": context})
    }

    async fn ask(&mut self) {
        let count = 1 + self.under(6);
        let items: Vec<Value> = (0..count).map(|_| self.question()).collect();
        let key = match self.under(4) {
            0 => self.low.clone(),
            _ => self.tenant.key.clone(),
        };
        let ask = self.service.ask("POST", "/access/v1/evaluations").key(&key);
        let ask = ask.body(&json!({"evaluations": items}));
        ask.send().await;
    }

    async fn explain(&mut self) {
        let question = self.question();
        let (by, low) = (self.somebody(), self.under(3) == 0);
        let key = if low { &self.low } else { &self.tenant.key };
        let mut ask = self.service.ask("POST", "/v1/explain").key(key);
        if self.chance.number().is_multiple_of(2) {
            ask = ask.header("cedarkeep-acting-user", &by);
        }
        ask.body(&question).send().await;
    }

    /// In somebody's name, by themselves or by an agent.
    async fn call(&mut self) {
        let (by, thread, agent) = (self.somebody(), self.thread(), self.under(3) == 0);
        let path = match self.under(4) {
            0 => "/v1/organization".to_owned(),
            1 => format!("/v1/documents/{}", self.things.document),
            _ => format!("/v1/threads/{thread}"),
        };
        let purpose = self.one_of(&["support", "train", "billing"]);
        let low = self.under(5) == 0;
        let key = if low { &self.low } else { &self.tenant.key };
        let mut ask = self.service.ask("GET", &path).key(key);
        ask = ask.header("cedarkeep-acting-user", &by);
        if agent {
            ask = ask.header("cedarkeep-acting-agent", &self.agent);
        }
        ask.header("cedarkeep-purpose", &purpose).send().await;
    }

    /// By a session.
    async fn sign(&mut self) {
        let at = self.under(self.cookies.len());
        let thread = self.thread();
        let place = self.one_of(&[
            "/v1/sessions",
            "/v1/organization",
            &format!("/v1/threads/{thread}"),
        ]);
        let ask = self.service.signed_in(&self.cookies[at], "GET", &place);
        ask.send().await;
        if self.under(4) == 0 {
            self.service
                .signed_in(&self.cookies[at], "DELETE", "/v1/session")
                .send()
                .await;
            let who = [self.tenant.admin, self.tenant.member][at];
            let active = self.tenant.door.glance();
            if active.snapshot().user(who).is_some_and(|user| user.active) {
                let link = super::sessions::link(&self.tenant, who, false).await;
                let ask = self.service.ask("POST", &link);
                let told = ask.header("origin", super::sessions::ORIGIN).send().await;
                if told.status == 303 {
                    self.cookies[at] = super::sessions::cookie(&told);
                }
            }
        }
    }

    async fn role(&mut self) {
        let user = match self.under(2) {
            0 => self.things.user.clone(),
            _ => self.tenant.viewer.to_string(),
        };
        let body = match self.under(4) {
            0 => json!({"active": false}),
            1 => json!({"active": true}),
            _ => json!({"role": self.one_of(&["Member", "Viewer", "Admin"])}),
        };
        self.service
            .patch(
                &self.tenant,
                self.tenant.admin,
                &format!("/v1/users/{user}"),
                body,
            )
            .await;
    }

    async fn share(&mut self) {
        let (thread, grantee) = (self.thread(), self.somebody());
        let level = self.one_of(&["viewer", "commenter", "editor"]);
        let mut body = json!({"resource": thread, "grantee": grantee, "level": level});
        if self.under(2) == 0 {
            // It is over before the history is.
            let ends = Utc::now() + TimeDelta::milliseconds(300);
            body["expires_at"] = json!(ends.to_rfc3339());
        }
        let told = self
            .service
            .post(&self.tenant, self.tenant.admin, "/v1/shares", body)
            .await;
        if told.status == 201 {
            self.shares.push(told.id());
            let question = json!({
                "subject": {"type": "User", "id": grantee}, "action": {"name": "thread.read"},
                "resource": {"type": "Thread", "id": thread},
            });
            let ask = self.service.ask("POST", "/access/v1/evaluation");
            ask.key(&self.tenant.key).body(&question).send().await;
        }
    }

    async fn unshare(&mut self) {
        if let Some(share) = self.shares.pop() {
            let path = format!("/v1/shares/{share}");
            self.service
                .delete(&self.tenant, self.tenant.admin, &path)
                .await;
        }
    }

    async fn make(&mut self) {
        let by = [self.tenant.admin, self.tenant.member][self.under(2)];
        let mut body = json!({"name": "Another"});
        if self.under(2) == 0 {
            body["audience"] = json!(self.tenant.everybody);
        }
        let told = self
            .service
            .post(&self.tenant, by, "/v1/threads", body)
            .await;
        if told.status == 201 {
            self.threads.push(told.id());
        }
        if self.threads.len() > 6 {
            let thread = self.threads.remove(1);
            let path = format!("/v1/threads/{thread}");
            self.service
                .delete(&self.tenant, self.tenant.admin, &path)
                .await;
        }
    }

    /// By the customer's directory.
    async fn provision(&mut self) {
        let name = self.chance.word();
        let body = json!({"userName": format!("{name}@example.com"), "displayName": name});
        let ask = self.service.ask("POST", "/scim/v2/Users").key(&self.scim);
        let body = body.to_string().into_bytes();
        ask.content("application/scim+json", body).send().await;
    }

    pub async fn policies(&mut self) {
        self.turn += 1;
        let body = json!({"schema": SCHEMA, "policies": {"own.cedar": OWN[self.turn % 2]}});
        let put = self
            .service
            .by(&self.tenant, self.tenant.admin, "PUT", "/v1/policy-set");
        put.body(&body).send().await;
    }

    pub async fn entities(&mut self) {
        let parents = match self.under(2) {
            0 => json!([]),
            _ => json!([{"type": "Folder", "id": "open"}]),
        };
        let about = json!({"__entity": {"type": "Cedarkeep::User", "id": self.somebody()}});
        let ticket = |id: &str, attrs: Value| json!({"uid": {"type": "Ticket", "id": id}, "attrs": attrs, "parents": parents});
        let entities = json!({"entities": [
            {"uid": {"type": "Folder", "id": "open"}, "attrs": {}, "parents": []},
            ticket("1", json!({"title": "open", "level": self.chance.number() % 4})),
            ticket("2", json!({"title": "secret", "about": about})),
            ticket("3", json!({"title": "open"})),
        ]});
        let put = self
            .service
            .by(&self.tenant, self.tenant.admin, "PUT", "/v1/entities");
        put.body(&entities).send().await;
    }

    /// The organization suspended, and on a smaller plan, for some steps each.
    pub async fn hard_times(&mut self, steps: usize) {
        let door = self.tenant.door.clone();
        door.operate(organization::suspend).await.unwrap();
        self.go_on(steps).await;
        door.operate(organization::resume).await.unwrap();
        let plan =
            |plan| door.operate(move |by, snapshot| organization::set_plan(by, snapshot, plan));
        plan(Plan::Starter).await.unwrap();
        let path = "/v1/audit/entries";
        let told = self
            .service
            .get(&self.tenant, self.tenant.admin, path)
            .await;
        assert_eq!(told.status, 403, "{}", told.body);
        self.go_on(steps).await;
        plan(Plan::Enterprise).await.unwrap();
    }

    /// Keys rotated, and the log's epoch.
    pub async fn rotate(&mut self) {
        let door = &self.tenant.door;
        for key in [KeyName::Records, KeyName::SubjectWrap] {
            door.operate(move |by, snapshot| keys::rotate_by_operator(by, snapshot, key))
                .await
                .unwrap();
            while door.store().keys().rotates(rotate::purpose(key)) {
                rotate::advance(door, Utc::now(), Duration::from_secs(1))
                    .await
                    .unwrap();
            }
        }
        let epoch = KeyName::Epoch;
        door.operate(move |by, snapshot| keys::rotate_by_operator(by, snapshot, epoch))
            .await
            .unwrap();
        let told = self
            .service
            .by(&self.tenant, self.tenant.admin, "POST", "/v1/audit/key");
        told.send().await.ok();
    }

    /// Somebody forgotten; all that the log says of them is written away.
    pub async fn erase(&mut self, user: &str) {
        let path = format!("/v1/users/{user}/erasure");
        let told = self
            .service
            .by(&self.tenant, self.tenant.admin, "POST", &path);
        told.send().await.ok();
    }

    /// What is due at this moment.
    pub async fn round(&self, days: i64) {
        let now = Utc::now() + TimeDelta::days(days);
        upkeep::round(&self.tenant.door, now, true).await.unwrap();
    }

    /// All of it as it was recorded, or under something else.
    pub async fn replayed(&self, under: Under) -> Report {
        let wanted = Replaying {
            range: Range::All,
            under,
        };
        let door = &self.tenant.door;
        door.replay(Asker::operator(), wanted, |_| ControlFlow::Continue(()))
            .await
            .unwrap()
    }
}
