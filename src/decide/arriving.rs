//! The door for people: sign-ins that are under way, what somebody has proven, and when sessions and keys were last used.

use chrono::{DateTime, Utc};
use serde_json::Map;

use super::aside::{self, Room};
use super::authorized::Proven;
use super::door::{Changed, Door};
use super::error::{Refused, Unwritten};
use super::question::Asker;
use super::work::{Ground, Plan};
use crate::directory::{Change, DirectoryError, Kind, Ref, Snapshot};

impl Door {
    /// Keeps a sign-in that is under way until it is taken by its id, until `expires_at` at most. The id is the SHA-256 of a secret that
    /// only the browser has.
    ///
    /// # Errors
    /// `Busy` where too many links wait that were granted; `Unavailable`.
    pub async fn expect(
        &self,
        (id, room): (&[u8; 32], Room<'_>),
        body: &[u8],
        expires_at: DateTime<Utc>,
    ) -> Result<(), Refused> {
        let times = (Utc::now().timestamp_micros(), expires_at.timestamp_micros());
        let kept = aside::expect(self.store(), (id, body, room), times).await;
        match kept.map_err(|error| unavailable(&error))? {
            true => Ok(()),
            false => Err(Refused::Busy),
        }
    }

    /// Takes a sign-in that is under way: once, whichever node is asked.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn take_expected(&self, id: &[u8; 32]) -> Result<Option<Vec<u8>>, Refused> {
        let now = Utc::now().timestamp_micros();
        let taken = aside::take(self.store(), id, now).await;
        taken.map_err(|error| unavailable(&error))
    }

    /// Whether this was used up by an earlier change's [`Effect::Spend`](crate::directory::Effect::Spend).
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn is_spent(&self, id: &[u8; 32]) -> Result<bool, Refused> {
        let spent = aside::is_spent(self.store(), id).await;
        spent.map_err(|error| unavailable(&error))
    }

    /// Makes a change for somebody who has proven who they are by other means than a key or a session of ours.
    ///
    /// # Errors
    /// The change is refused, or `Unavailable`.
    pub async fn arrive(
        &self,
        asker: Asker,
        plan: impl Fn(&Proven, &Snapshot) -> Result<Change, DirectoryError> + Send + Sync + 'static,
    ) -> Result<Changed, Refused> {
        let plan: Plan =
            Box::new(move |ground: &Ground<'_>| plan(&Proven::mint(ground.now), ground.snapshot));
        let organization = Ref::new(Kind::Organization, *self.store().id().bytes());
        self.propose(asker, None, (organization, Map::new()), (None, None), plan)
            .await
    }

    /// A session or a key is used now.
    pub fn touch(&self, one: Ref, now: DateTime<Utc>) {
        self.uses.touch(one, now.timestamp_micros());
    }

    /// When it was last used, as far as this node knows without asking.
    pub fn used_here(&self, one: Ref) -> Option<DateTime<Utc>> {
        self.uses
            .known(one)
            .and_then(DateTime::from_timestamp_micros)
    }

    /// When it was last used on any node: to the minute, where it was another one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn last_used(&self, one: Ref) -> Result<Option<DateTime<Utc>>, Refused> {
        let last = self.uses.last(self.store(), one).await;
        let last = last.map_err(|error| unavailable(&error))?;
        Ok(last.and_then(DateTime::from_timestamp_micros))
    }

    /// Writes down what was used since the last time.
    pub(super) async fn write_uses(&self, now: DateTime<Utc>) -> Result<(), Unwritten> {
        self.uses.write(self.store(), now.timestamp_micros()).await
    }
}

fn unavailable(error: &Unwritten) -> Refused {
    tracing::error!(%error, "what is kept beside a log does not answer");
    Refused::Unavailable
}
