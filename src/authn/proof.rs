//! What an identity provider has proven about somebody, whichever protocol it spoke.

use chrono::{DateTime, Utc};

/// Somebody whom a provider vouches for. Made only where its signature and every rule of its protocol held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who they are there, for as long as the connection lasts: OpenID's `iss` and `sub`, SAML's NameID with its format.
    pub subject: String,
    /// Their address, as the provider says it.
    pub email: Option<String>,
    /// Whether the provider says that the address is theirs.
    pub email_verified: bool,
    /// What people call them.
    pub name: Option<String>,
    /// The groups that it says they are in.
    pub groups: Vec<String>,
    /// The provider's own session, by which it ends ours: OpenID's `sid`, SAML's `SessionIndex`.
    pub provider_session: Option<String>,
    /// When a session that this begins is over at the latest.
    pub ends_at: Option<DateTime<Utc>>,
    /// What must never be taken twice, and until when: an assertion's identifier.
    pub once: Option<(String, DateTime<Utc>)>,
    /// All that was said, in words, for whoever tests the connection.
    pub claims: Vec<(String, String)>,
}
