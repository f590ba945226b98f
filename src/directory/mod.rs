//! The directory: people, containers, what people make, shares, and the tenant's own entities.
//!
//! Pure: a change is computed from a snapshot and applied by whoever holds the log's head.

pub mod bodies;
pub mod change;
pub mod circle;
pub mod closing;
pub mod connection;
pub mod content;
pub mod entering;
mod entities;
pub mod entity;
pub mod expiry;
mod hand;
pub mod import;
pub mod integration;
pub mod invitation;
pub mod keeping;
pub mod keys;
mod lookup;
pub mod made;
mod maker;
pub mod memory;
mod near;
pub mod object;
pub mod organization;
pub mod own;
pub mod people;
mod pointing;
pub mod policies;
mod refs;
pub mod reported;
pub mod request;
mod roll;
pub mod run;
pub mod scim;
pub mod service;
pub mod session;
pub mod share;
mod shares;
pub mod snapshot;
pub mod sso;
pub mod takeout;
pub mod view;
mod words;
#[cfg(test)]
mod world;

pub use change::{Change, Effect, Happening, Reported, Row, RowId};
pub use hand::Through;
pub use near::Near;
pub use object::{Body, Kind, Object, Ref};
pub use pointing::InOrder;
pub use snapshot::Snapshot;

/// Why the directory refuses a change, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// Named in the request, and not there.
    #[error("there is no {kind} `{id}`")]
    NotFound {
        /// The type's name.
        kind: &'static str,
        /// What was asked for.
        id: String,
    },
    /// Somebody else has it.
    #[error("{what} is taken: choose another")]
    Taken {
        /// What is taken.
        what: String,
    },
    /// It contradicts what is there.
    #[error("{why}")]
    Conflicting {
        /// What it contradicts, and what to do.
        why: String,
    },
    /// Something still hangs from it.
    #[error("`{id}` still has {count} {what}: delete or move them first")]
    NotEmpty {
        /// The container.
        id: String,
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
    },
    /// Somebody is invited under that address.
    #[error("`{email}` is invited already by `{id}`: resend that invitation, or revoke it first")]
    Invited {
        /// The address.
        email: String,
        /// The invitation.
        id: String,
    },
    /// A value that does not fit.
    #[error("`{member}`: {why}")]
    Invalid {
        /// The member of the request.
        member: &'static str,
        /// Why.
        why: String,
    },
    /// It would leave the organization without an active Admin.
    #[error("`{id}` is the last active Admin: make somebody else an Admin first")]
    LastAdmin {
        /// The person.
        id: String,
    },
    /// It was changed by somebody else since it was looked at.
    #[error("it was changed meanwhile: read it and try again")]
    Moved,
    /// The break-glass Admin is how one gets in where single sign-on does not work.
    #[error(
        "`{id}` is the break-glass Admin, and single sign-on is enforced: name another first, at `/v1/sso/enforcement`"
    )]
    BreaksGlass {
        /// The person.
        id: String,
    },
    /// Somebody who is suspended does not sign in.
    #[error("you are suspended: ask an Admin of your organization")]
    Suspended,
    /// Whoever an identity provider vouches for is not let in.
    #[error("you cannot sign in here: {why}")]
    NoMember {
        /// Why.
        why: &'static str,
    },
    /// What a provider says once was used by another call a moment before.
    #[error("the identity provider's answer was used before: begin again")]
    UsedUp,
    /// The organization wants its people to sign in by another method.
    #[error("this organization wants its people to sign in by `{wanted}`")]
    MethodNotAllowed {
        /// The one that is wanted.
        wanted: String,
    },
    /// A line of what is imported cannot be taken, so that nothing of it was.
    #[error("line {line}: {why}")]
    Line {
        /// The first such line, counted from 1.
        line: u64,
        /// Why; nothing of what stands there.
        why: String,
    },
    /// A link that has been used, replaced or taken back since it was looked up, or whose time is over.
    #[error("this link is not valid any more: ask for another")]
    DeadLink,
    /// It would take away what must be kept.
    #[error("a legal hold stands: release it first")]
    Held,
    /// Another Admin has not approved it.
    #[error(
        "what is private is handed out only once another Admin has approved it: ask at `private-export`"
    )]
    NotApproved,
    /// Where two people are asked for, both hands may be those of one.
    #[error(
        "this takes two people, and an Admin who made the key of this call may be behind both: sign in for it, or ask through a back end whose key the operator made"
    )]
    OneHand,
    /// A key, or a certificate, that may do more than what asks for it.
    #[error(
        "this key may not make one that may do more than it may itself, by the scope {scope}: ask by a session, or have the operator make it"
    )]
    BeyondScope {
        /// The scope that it has not.
        scope: &'static str,
    },
    /// A key is rotated once at a time.
    #[error(
        "the key `{key}` is being rotated: wait until that is done, `cedarkeep keys status` says how far it is"
    )]
    Rotating {
        /// Which.
        key: &'static str,
    },
    /// Nothing is to be ended.
    #[error("the key `{key}` is not being rotated")]
    NotRotating {
        /// Which.
        key: &'static str,
    },
    /// A service has as many live keys as it may.
    #[error(
        "`{service}` has two live keys: revoke one, or wait until one ends, and make the next then"
    )]
    KeysLive {
        /// The service.
        service: String,
    },
    /// The request names nobody that it acts for.
    #[error("this needs an acting user: name one in the header `Cedarkeep-Acting-User`")]
    NoActingUser,
    /// The tenant has no organization record.
    #[error("the organization has not been set up: run `cedarkeep org create`")]
    NoOrganization,
    /// Stored bytes that are not what their row says.
    #[error("the stored row `{id}` holds something else than its name says")]
    WrongBody {
        /// The row.
        id: String,
    },
    /// An entity that does not fit the tenant's schema.
    #[error("the entity {what} does not fit the schema: {cause}")]
    OwnEntity {
        /// Its uid, as given.
        what: String,
        /// What Cedar says.
        cause: String,
    },
    /// A version is not yet what the organization asks of one.
    #[error("version {version} cannot be activated yet: {}", unmet.join("; "))]
    Unmet {
        /// Its number.
        version: u64,
        /// What stands against it, each with the next step.
        unmet: Vec<String>,
    },
    /// What the customer's directory sends does not fit.
    #[error(transparent)]
    Misfit(#[from] scim::Misfit),
    /// A part of a change for which nothing was decided: a defect of ours.
    #[error("`{action}` was not decided for this change")]
    Undecided {
        /// The part's action.
        action: &'static str,
    },
    /// Cedar refuses what we made: a defect of ours.
    #[error("`{what}` cannot be put to Cedar: {cause}")]
    Cedar {
        /// What it was.
        what: String,
        /// What Cedar says.
        cause: String,
    },
}

impl DirectoryError {
    /// Nothing of that name, as far as the caller may know.
    fn absent(reference: Ref) -> Self {
        Self::NotFound {
            kind: reference.kind.name(),
            id: reference.to_string(),
        }
    }

    /// What a member of the request wants contradicts what is there.
    fn conflicting(member: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Conflicting {
            why: format!("`{member}`: {why}"),
        }
    }

    /// A member of the request that does not fit.
    fn invalid(member: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid {
            member,
            why: why.into(),
        }
    }
}

/// The longest name that a person may give, in bytes.
pub const NAME_LIMIT: usize = 200;

/// A name that people can read: not empty, not too long, no control or direction-changing characters.
///
/// # Errors
/// It is none.
pub fn name(member: &'static str, text: &str) -> Result<String, DirectoryError> {
    let invalid = |why: &str| DirectoryError::Invalid {
        member,
        why: why.into(),
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(invalid("it is empty"));
    }
    if text.len() > NAME_LIMIT {
        return Err(invalid("it is longer than 200 bytes"));
    }
    if text.chars().any(unreadable) {
        return Err(invalid(
            "it has control characters, or characters that change the direction of writing",
        ));
    }
    Ok(text.into())
}

/// Control characters, and those that change the direction of writing.
pub fn unreadable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
