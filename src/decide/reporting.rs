//! The door for what happened elsewhere: events that a back end reports, recorded with the decision that lets it, all or none.

use serde_json::Map;

use super::authorized::{Action as _, Authorized, EventRecord};
use super::door::{CHANGE, Changed, Door, planned};
use super::error::Refused;
use super::question::Asker;
use super::work::{IdempotencyKey, Proposal, Work};
use crate::directory::reported::{self, Happened};
use crate::directory::{Kind, Ref};

impl Door {
    /// Records events that happened in an app, in this order.
    ///
    /// # Errors
    /// `Denied`, `Directory` where one of them cannot be, `KeyReused`, `Unavailable`.
    pub async fn report(
        &self,
        asker: Asker,
        happened: Vec<Happened>,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Changed, Refused> {
        let about = happened.iter().map(|one| one.actor).collect();
        let plan = planned(move |by: &Authorized<EventRecord>, snapshot| {
            reported::report(by, snapshot, &happened)
        });
        self.ask(CHANGE, |reply, deadline| {
            Work::Change(Box::new(Proposal {
                asker,
                action: Some(EventRecord::NAME),
                resource: Ref::new(Kind::AuditLog, *self.store().id().bytes()),
                context: Map::new(),
                idempotency,
                needs: None,
                content: None,
                content_alone: true,
                about,
                plan,
                reply,
                deadline,
            }))
        })
        .await
    }
}
