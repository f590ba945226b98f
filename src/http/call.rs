//! One call on the directory: who makes it, what it names, and what it is told when it is refused.
//!
//! What a caller may not read does not exist: a reading that is denied is a 404, and so is a change of what the
//! caller may not read. Why is told only where it says nothing about the thing: the key's scopes, the plan, a purpose
//! that nothing is for, somebody who may do nothing at all; and then nothing else is told. A change that is denied of
//! what the caller may read is a 403 with its reasons.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::caller;
use super::fields::Fields;
use super::json::quoted;
use super::problem::Problem;
use super::refused::{self, is_about_the_caller};
use crate::app::App;
use crate::decide::authorized::{
    AccessRead, AgentRead, ApiKeyRead, AssistantRead, Authorized, DocumentRead, IntegrationRead,
    MemberRead, MemberResendInvitation, MemoryRead, PromptTemplateRead, ThreadRead, ToolRead,
};
use crate::decide::judge::Judgement;
use crate::decide::{
    Action, Asker, Beside, Caller, Changed, Deposit, Door, IdempotencyKey, Permitted, Refused,
};
use crate::directory::{Change, DirectoryError, Kind, Ref, RowId, Snapshot};
use crate::log::Event;

/// The header by which a change is made once, however often it is sent.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const IDEMPOTENCY_KEY_LIMIT: usize = 255;

/// One call: authenticated, and not yet decided.
pub(super) struct Call {
    door: Arc<Door>,
    asker: Asker,
    line: String,
    key: Option<String>,
    names: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl FromRequestParts<Arc<App>> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        // Who asks comes before everything else: a stranger learns nothing from what else is wrong.
        let (door, asker) = caller::on_behalf(app, parts).await?;
        let raw = RawPathParams::from_request_parts(parts, app)
            .await
            .map_err(|_| Problem::NotFound)?;
        let names = raw
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let Query(query) = Query::from_request_parts(parts, app).await?;
        let line = format!("{} {}", parts.method, parts.uri.path());
        Ok(Self {
            door,
            asker,
            line,
            key: idempotency_key(&parts.headers)?,
            names,
            query,
        })
    }
}

impl Call {
    /// The tenant.
    pub(super) const fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// Who asks.
    pub(super) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// The organization.
    pub(super) fn org(&self) -> Ref {
        self.singleton(Kind::Organization)
    }

    /// One of the organization's singletons.
    pub(super) fn singleton(&self, kind: Kind) -> Ref {
        Ref::new(kind, *self.door.store().id().bytes())
    }

    /// The user on whose behalf the call is made.
    pub(super) fn user(&self) -> Option<Ref> {
        self.asker.caller.user()
    }

    /// A part of the path as it was sent.
    pub(super) fn text(&self, name: &str) -> Result<&str, Problem> {
        let found = self.names.iter().find(|(other, _)| other == name);
        found
            .map(|(_, text)| text.as_str())
            .ok_or(Problem::Internal)
    }

    /// What a part of the path names; a text that is no identifier names nothing.
    pub(super) fn named(&self, name: &str, kind: Kind) -> Result<Ref, Problem> {
        Ref::of(kind, self.text(name)?).ok_or(Problem::NotFound)
    }

    /// The parameters behind the path: these and no others, each once.
    pub(super) fn query<const N: usize>(
        &self,
        known: [&str; N],
    ) -> Result<[Option<&str>; N], Problem> {
        let given = self.given(&known)?;
        let value = |wanted| given.iter().find(|(name, _)| *name == wanted);
        Ok(known.map(|name| value(name).map(|(_, value)| *value)))
    }

    /// Those that were given of these parameters, each once, and no others.
    pub(super) fn given(&self, known: &[&str]) -> Result<Vec<(&str, &str)>, Problem> {
        let mut given: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &self.query {
            if !known.contains(&name.as_str()) {
                return Err(Problem::Malformed(format!(
                    "unknown parameter {}",
                    quoted(name)
                )));
            }
            if given.iter().any(|(other, _)| other == name) {
                return Err(Problem::Malformed(format!(
                    "the parameter {} is there twice",
                    quoted(name)
                )));
            }
            given.push((name, value));
        }
        Ok(given)
    }

    /// Whether it came with an `Idempotency-Key`.
    pub(super) const fn is_keyed(&self) -> bool {
        self.key.is_some()
    }

    /// Decides a reading; a denied one is of something that is not there.
    pub(super) async fn read<A: Action>(&self, resource: Ref) -> Result<Permitted<A>, Problem> {
        self.reading(resource, None).await
    }

    /// The same; an allowed one is recorded as this event too.
    pub(super) async fn read_and<A: Action>(
        &self,
        resource: Ref,
        then: (Event, Value),
    ) -> Result<Permitted<A>, Problem> {
        self.reading(resource, Some(then)).await
    }

    /// Decides a use of something that the caller may see; an allowed one is recorded as this event too.
    pub(super) async fn used<A: Action>(
        &self,
        resource: Ref,
        then: (Event, Value),
    ) -> Result<Permitted<A>, Problem> {
        let asked = self
            .door
            .permit_and::<A>(self.asker(), (resource, Map::new()), Some(then))
            .await;
        self.told(resource, asked).await
    }

    async fn reading<A: Action>(
        &self,
        resource: Ref,
        then: Option<(Event, Value)>,
    ) -> Result<Permitted<A>, Problem> {
        match self
            .door
            .permit_and::<A>(self.asker(), (resource, Map::new()), then)
            .await
        {
            Err(Refused::Denied(judgement, _)) if !is_about_the_caller(&judgement) => {
                Err(Problem::NotFound)
            }
            asked => asked.map_err(refused::problem),
        }
    }

    /// What the door says to a change.
    async fn asked<A: Action>(
        &self,
        (resource, context): (Ref, Map<String, Value>),
        body: &Fields,
        plan: impl Fn(&Authorized<A>, &Snapshot) -> Result<Change, DirectoryError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Result<Changed, Refused>, Problem> {
        let [] = self.query([])?;
        let key = self.idempotency(body.digest());
        let asked = self
            .door
            .change::<A>(self.asker(), resource, context, key, plan);
        Ok(asked.await)
    }

    /// Decides and makes a change.
    pub(super) async fn change<A: Action>(
        &self,
        resource: Ref,
        context: Map<String, Value>,
        body: &Fields,
        plan: impl Fn(&Authorized<A>, &Snapshot) -> Result<Change, DirectoryError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Changed, Problem> {
        let asked = self.asked::<A>((resource, context), body, plan).await?;
        self.told(resource, asked).await
    }

    /// The same, of what the caller knows of by something else: whoever may not know of `by_that` is told of neither.
    pub(super) async fn change_known<A: Action>(
        &self,
        by_that: Ref,
        (resource, context): (Ref, Map<String, Value>),
        body: &Fields,
        plan: impl Fn(&Authorized<A>, &Snapshot) -> Result<Change, DirectoryError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Changed, Problem> {
        let asked = self.asked::<A>((resource, context), body, plan).await?;
        if let Err(Refused::Denied(judgement, _)) = &asked
            && !is_about_the_caller(judgement)
            && !self.sees(by_that).await?
        {
            return Err(Problem::NotFound);
        }
        self.told(resource, asked).await
    }

    /// The same, of what is there no more and is the organization's: whoever may not is not told that it ever was, but for a legal hold.
    pub(super) async fn change_past<A: Action>(
        &self,
        plan: impl Fn(&Authorized<A>, &Snapshot) -> Result<Change, DirectoryError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Changed, Problem> {
        let what = (self.org(), Map::new());
        let asked = self.asked::<A>(what, &Fields::none(), plan).await?;
        match asked {
            Err(Refused::Denied(judgement, _))
                if !is_about_the_caller(&judgement) && !is_held(&judgement) =>
            {
                Err(Problem::NotFound)
            }
            asked => asked.map_err(refused::problem),
        }
    }

    /// Decides and records something that is done by being answered: sent again, it is decided and done again.
    pub(super) async fn once<A: Action>(
        &self,
        resource: Ref,
        plan: impl Fn(&Authorized<A>, &Snapshot) -> Result<Change, DirectoryError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Changed, Problem> {
        let asked = self
            .door
            .change::<A>(self.asker(), resource, Map::new(), None, plan)
            .await;
        self.told(resource, asked).await
    }

    /// Decides and makes a change with what becomes of the content; `digest` is the request's, for its `Idempotency-Key`.
    pub(super) async fn ask_change<A: Action>(
        &self,
        resource: Ref,
        digest: &[u8; 32],
        content: (Deposit, Beside),
        plan: impl Fn(&Authorized<A>, &Snapshot) -> Result<Change, DirectoryError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Changed, Refused> {
        let asked = (resource, Map::new());
        let key = self.idempotency(digest);
        self.door
            .change_with::<A>(self.asker(), asked, key, Some(content), plan)
            .await
    }

    /// Decides a change that is made later, and decided again then.
    pub(super) async fn permit_change<A: Action>(
        &self,
        resource: Ref,
    ) -> Result<Permitted<A>, Problem> {
        let asked = self
            .door
            .permit::<A>(self.asker(), resource, Map::new())
            .await;
        self.told(resource, asked).await
    }

    /// The same, of an action that has something said about it.
    pub(super) async fn permit_change_with<A: Action>(
        &self,
        resource: Ref,
        context: Map<String, Value>,
    ) -> Result<Permitted<A>, Problem> {
        let asked = self.door.permit::<A>(self.asker(), resource, context).await;
        self.told(resource, asked).await
    }

    /// What a change came to, in the words of a caller.
    pub(super) async fn told<T>(
        &self,
        resource: Ref,
        asked: Result<T, Refused>,
    ) -> Result<T, Problem> {
        match asked {
            Err(Refused::Denied(judgement, at)) => Err(self.denied(resource, judgement, at).await),
            asked => asked.map_err(refused::problem),
        }
    }

    /// What whoever was denied a change is told.
    pub(super) async fn denied(
        &self,
        resource: Ref,
        judgement: Box<Judgement>,
        at: crate::decide::Recorded,
    ) -> Problem {
        if is_about_the_caller(&judgement) {
            return refused::problem(Refused::Denied(judgement, at));
        }
        match self.sees(resource).await {
            Ok(true) => refused::problem(Refused::Denied(judgement, at)),
            Ok(false) => Problem::NotFound,
            Err(problem) => problem,
        }
    }

    /// Whether this is there for the caller.
    async fn sees(&self, resource: Ref) -> Result<bool, Problem> {
        match resource.kind {
            Kind::User => self.may::<MemberRead>(resource, resource).await,
            Kind::Thread => self.may::<ThreadRead>(resource, resource).await,
            Kind::Document => self.may::<DocumentRead>(resource, resource).await,
            Kind::Memory => self.may::<MemoryRead>(resource, resource).await,
            Kind::PromptTemplate => self.may::<PromptTemplateRead>(resource, resource).await,
            Kind::Tool => self.may::<ToolRead>(resource, resource).await,
            Kind::Assistant => self.may::<AssistantRead>(resource, resource).await,
            Kind::AgentDefinition | Kind::AgentRun => {
                self.may::<AgentRead>(resource, resource).await
            }
            Kind::Integration => self.may::<IntegrationRead>(resource, resource).await,
            Kind::ApiKey => self.may::<ApiKeyRead>(resource, resource).await,
            Kind::Organization | Kind::Team | Kind::Project | Kind::Group => {
                self.may::<MemberRead>(self.org(), resource).await
            }
            // Every organization has one of each.
            Kind::PolicySet
            | Kind::AuditLog
            | Kind::Settings
            | Kind::Billing
            | Kind::Report
            | Kind::ComplianceDocs => Ok(true),
            Kind::Invitation => self.may::<MemberResendInvitation>(resource, resource).await,
            Kind::AccessRequest => self.may::<AccessRead>(resource, resource).await,
            Kind::Service | Kind::Agent | Kind::Session => Ok(false),
        }
    }

    async fn may<A: Action>(&self, asked: Ref, there: Ref) -> Result<bool, Problem> {
        match self.door.permit::<A>(self.asker(), asked, Map::new()).await {
            Ok(permitted) => Ok(permitted.snapshot().has(RowId::Object(there))),
            Err(Refused::Denied(..)) => Ok(false),
            Err(refused) => Err(refused::problem(refused)),
        }
    }

    /// The key under which the change is kept: this API key's, and that user's.
    pub(super) fn idempotency(&self, digest: &[u8; 32]) -> Option<IdempotencyKey> {
        let chosen = self.key.as_ref()?;
        let who = match self.asker.caller {
            Caller::Key { key, acting, .. }
            | Caller::Certificate {
                binding: key,
                acting,
                ..
            } => {
                let named = |reference: Option<Ref>| {
                    reference.map(|one| one.to_string()).unwrap_or_default()
                };
                let (user, agent) = (
                    acting.map(|acting| acting.user),
                    acting.and_then(|acting| acting.agent),
                );
                format!("{key} {} {}", named(user), named(agent))
            }
            // Of all their sessions: sent again after another sign-in it is the same request.
            Caller::Session { user, .. } => user.to_string(),
            Caller::Directory { .. } | Caller::Operator | Caller::System => String::new(),
        };
        let request = Sha256::new()
            .chain_update(&self.line)
            .chain_update("\n")
            .chain_update(digest)
            .finalize();
        Some(IdempotencyKey {
            scope: format!("{who} {chosen}"),
            request: request.into(),
        })
    }
}

/// Who a thing is given to or what it becomes, as a policy reads it.
pub(super) fn said(member: &str, reference: Ref) -> Map<String, Value> {
    let value = json!({ "type": reference.kind.name(), "id": reference.to_string() });
    std::iter::once((member.to_owned(), value)).collect()
}

/// Whether nothing but a legal hold stands against it.
fn is_held(judgement: &Judgement) -> bool {
    let mut determining = judgement.determining.iter();
    !judgement.determining.is_empty() && determining.all(|one| one.id.starts_with("holds."))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|text| {
        (1..=IDEMPOTENCY_KEY_LIMIT).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    });
    match (text, values.next()) {
        (Some(text), None) => Ok(Some(text.to_owned())),
        _ => Err(Problem::Malformed(
            "the header `Idempotency-Key` must be there once, with 1 to 255 visible ASCII characters".into(),
        )),
    }
}
