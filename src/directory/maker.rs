//! Whoever makes a credential: no key makes one that may do more than itself, and whose each is stays with it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::DirectoryError;
use super::hand::Through;
use super::object::{Object, Ref, Scope};
use super::snapshot::Snapshot;
use crate::decide::authorized::{ApiKeyCreate, Authorized, Operator};

/// Who makes a credential, and what they may give it.
#[derive(Clone, Copy)]
pub(super) struct Maker {
    /// The service whose own credential asks for it: none may do more than that one.
    service: Option<Ref>,
    /// Whose doing it is.
    pub(super) who: Through,
    /// When.
    pub(super) now: DateTime<Utc>,
}

impl Maker {
    /// Whoever was allowed it.
    pub(super) fn of(by: &Authorized<ApiKeyCreate>) -> Self {
        Self {
            service: by.service(),
            who: by.through().made_by(by.user()),
            now: by.now(),
        }
    }

    /// The operator, who may give anything.
    pub(super) const fn operator(by: &Operator) -> Self {
        Self {
            service: None,
            who: Through::Nobody,
            now: by.now(),
        }
    }

    /// Refuses scopes that the asking service has not itself.
    ///
    /// # Errors
    /// It has not one of them.
    pub(super) fn may_give(
        self,
        snapshot: &Snapshot,
        scopes: &BTreeSet<Scope>,
    ) -> Result<(), DirectoryError> {
        let Some(service) = self.service else {
            return Ok(());
        };
        let Object::Service(own) = snapshot.require(service)? else {
            return Err(DirectoryError::absent(service));
        };
        match scopes.difference(&own.scopes).next() {
            Some(beyond) => Err(DirectoryError::BeyondScope {
                scope: beyond.name(),
            }),
            None => Ok(()),
        }
    }
}
