//! Changes of several parts, of which each must be allowed: what a customer's directory asks for at once.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Map;

use super::authorized::Allowed;
use super::door::{CHANGE, Changed, Door};
use super::drafts::{Done, Drafts};
use super::error::Refused;
use super::question::Asker;
use super::work::{Ground, Needs, Plan, Proposal, Reply, Work};
use crate::directory::scim::Need;
use crate::directory::{Change, DirectoryError, Kind, Ref, Snapshot};

impl Door {
    /// Makes a change where Cedar allows each part of it: the decisions, the events and the rows are one transaction. Both closures are
    /// asked on the state that the change is made on, and may be asked again when it has moved.
    ///
    /// # Errors
    /// `Denied` with the first part that is; `Directory` where the change cannot be made; `Unavailable`.
    pub async fn provision(
        &self,
        asker: Asker,
        needs: impl Fn(&Snapshot) -> Result<Vec<Need>, DirectoryError> + Send + Sync + 'static,
        plan: impl Fn(&Allowed, &Snapshot) -> Result<Change, DirectoryError> + Send + Sync + 'static,
    ) -> Result<Changed, Refused> {
        let needs: Needs = Box::new(needs);
        let plan: Plan = Box::new(move |ground: &Ground<'_>| plan(ground.granted, ground.snapshot));
        let resource = Ref::new(Kind::Organization, *self.store().id().bytes());
        self.ask(CHANGE, |reply: Reply<Changed>, deadline: Instant| {
            Work::Change(Box::new(Proposal {
                asker,
                action: None,
                resource,
                context: Map::new(),
                idempotency: None,
                needs: Some(needs),
                content: None,
                content_alone: false,
                about: Vec::new(),
                plan,
                reply,
                deadline,
            }))
        })
        .await
    }
}

impl Drafts<'_> {
    /// Decides each part of a change that has several; the first that is not allowed ends it.
    pub(super) fn granted(&mut self, work: &Proposal) -> Result<Allowed, Box<Done>> {
        let snapshot = self.moment.world.snapshot();
        let (as_of, now) = (snapshot.as_of(), self.moment.now);
        let mut allowed = BTreeSet::new();
        let needs = match &work.needs {
            Some(needs) => needs(snapshot),
            None => Ok(Vec::new()),
        };
        for need in needs.map_err(|error| Box::new(Done::Change(Err(error.into()))))? {
            let mut judgement = self
                .moment
                .own_action(&work.asker, need.action, need.resource, &need.context)
                .map_err(|refused| Box::new(Done::Change(Err(refused))))?;
            let at = self.decision(&work.asker, &mut judgement);
            if !judgement.is_allowed() {
                return Err(Box::new(Done::Denied(Box::new(judgement), at)));
            }
            allowed.insert((need.action, need.resource));
        }
        Ok(Allowed::mint(allowed, as_of, now))
    }
}
