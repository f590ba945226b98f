//! The roll: whom an address belongs to, who is invited under one, and who the active Admins are.

use std::sync::Arc;

use rpds::{HashTrieMapSync, HashTrieSetSync};

use super::object::{Kind, Object, Ref, Role, User};

/// Read off the objects and kept beside them, so that neither somebody who joins nor ten thousand of them cost a look at everybody.
///
/// Addresses stand here in the clear, as everything else in memory does; in the database a person's row is sealed whole, so that no
/// column is left to look an address up by, sealed or blinded.
#[derive(Clone)]
pub(super) struct Roll {
    people: HashTrieMapSync<Arc<str>, Ref>,
    invited: HashTrieMapSync<Arc<str>, Ref>,
    admins: HashTrieSetSync<Ref>,
}

impl Roll {
    pub(super) fn new() -> Self {
        Self {
            people: HashTrieMapSync::new_sync(),
            invited: HashTrieMapSync::new_sync(),
            admins: HashTrieSetSync::new_sync(),
        }
    }

    /// An object that is there from now on.
    pub(super) fn add(&mut self, reference: Ref, object: &Object) {
        match object {
            Object::User(user) => {
                self.people
                    .insert_mut(user.email.as_str().into(), reference);
                if is_active_admin(user) {
                    self.admins.insert_mut(reference);
                }
            }
            Object::Invitation(invitation) => {
                self.invited
                    .insert_mut(invitation.email.as_str().into(), reference);
            }
            _ => {}
        }
    }

    /// An object that is no more, or is another one from now on.
    pub(super) fn remove(&mut self, reference: Ref, object: &Object) {
        let (addresses, email) = match object {
            Object::User(user) => {
                self.admins.remove_mut(&reference);
                (&mut self.people, &user.email)
            }
            Object::Invitation(invitation) => (&mut self.invited, &invitation.email),
            _ => return,
        };
        // In one change somebody may take over an address before whoever had it is looked at.
        if addresses.get(email.as_str()) == Some(&reference) {
            addresses.remove_mut(email.as_str());
        }
    }

    /// Who has this address, or is invited under it.
    pub(super) fn of(&self, kind: Kind, email: &str) -> Option<Ref> {
        match kind {
            Kind::User => self.people.get(email).copied(),
            Kind::Invitation => self.invited.get(email).copied(),
            _ => None,
        }
    }

    /// The active Admins, in no order.
    pub(super) fn admins(&self) -> impl Iterator<Item = Ref> {
        self.admins.iter().copied()
    }
}

/// Whether somebody counts among those without whom nobody runs the organization.
pub(super) fn is_active_admin(user: &User) -> bool {
    user.active && user.role == Role::Admin
}
