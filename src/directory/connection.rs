//! A connection to an identity provider, by which people of an organization sign in: what its Admins have set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::object::{Ref, Role};
use crate::ids;

/// The prefix of connections' identifiers.
const PREFIX: &str = "con";

/// The 128 random bits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ConnectionId(pub [u8; 16]);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ids::text(PREFIX, &self.0))
    }
}

impl FromStr for ConnectionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = ids::parse(PREFIX, text);
        read.map(Self).map_err(|error| error.to_string())
    }
}

impl From<ConnectionId> for String {
    fn from(id: ConnectionId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for ConnectionId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What an organization's Admins have set about signing in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignIn {
    /// After how many minutes without a call a session is over; none: [`IDLE_MINUTES`].
    pub idle_minutes: Option<u32>,
    /// After how many minutes a session is over in any case; none: [`SESSION_MINUTES`].
    pub session_minutes: Option<u32>,
    /// The Admin who gets in by a one-time link where single sign-on is enforced and does not work.
    pub break_glass: Option<Ref>,
    /// Until when people sign in by SAML, since the plan has it no more.
    pub saml_until: Option<DateTime<Utc>>,
    /// The organization's mail domains, in small letters, and since when each is known to be its own.
    pub domains: BTreeMap<String, Domain>,
}

/// How long people sign in by SAML after the plan has it no more.
pub const SAML_NOTICE: chrono::Duration = chrono::Duration::days(30);

/// The longest that a session may go without a call, in minutes.
pub const IDLE_MINUTES: u32 = 30;

/// The longest that a session may last, in minutes.
pub const SESSION_MINUTES: u32 = 12 * 60;

impl SignIn {
    /// After how long without a call a session is over.
    #[must_use]
    pub fn idle(&self) -> chrono::Duration {
        let minutes = self.idle_minutes.unwrap_or(IDLE_MINUTES);
        chrono::Duration::minutes(minutes.min(IDLE_MINUTES).into())
    }

    /// After how long a session is over.
    #[must_use]
    pub fn session(&self) -> chrono::Duration {
        let minutes = self.session_minutes.unwrap_or(SESSION_MINUTES);
        chrono::Duration::minutes(minutes.min(SESSION_MINUTES).into())
    }

    /// Whether this domain was shown to be the organization's.
    #[must_use]
    pub fn owns(&self, domain: &str) -> bool {
        let found = self.domains.get(domain);
        found.is_some_and(|domain| domain.verified_at.is_some())
    }
}

/// A mail domain that an organization says is its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// What a TXT record of the domain must hold.
    pub token: String,
    /// When it did.
    pub verified_at: Option<DateTime<Utc>>,
}

/// A connection to an identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// What people call it; it stands on the sign-in page.
    pub name: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Whether people sign in by it; a test sign-in needs no enabling.
    pub enabled: bool,
    /// The Admins who have signed in by it in a test, as it is set now.
    pub tested_by: BTreeSet<Ref>,
    /// Whether somebody who signs in by it and is not a member becomes one.
    pub provisioning: bool,
    /// What such a person becomes where no group of theirs says otherwise.
    pub default_role: Role,
    /// Which role a group of the provider's gives; of several the highest.
    pub group_roles: BTreeMap<String, Role>,
}

/// How a connection's provider is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "protocol", rename_all = "snake_case")]
pub enum Protocol {
    /// OpenID Connect.
    Oidc(Oidc),
    /// SAML 2.0.
    Saml(Saml),
}

impl Protocol {
    /// Its name: `context.protocol` of `sso.configure`, the `method` of a session, and a value of `sso_enforced`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Oidc(_) => "oidc",
            Self::Saml(_) => "saml",
        }
    }
}

/// An OpenID provider, and what we are to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oidc {
    /// Its issuer identifier: an HTTPS URL, compared character by character.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our secret there; none for a public client, which PKCE alone protects.
    pub client_secret: Option<ClientSecret>,
    /// What is asked for beside `openid`.
    pub scopes: BTreeSet<String>,
    /// The claim that lists a person's groups.
    pub groups_claim: Option<String>,
    /// The Google Workspace domain that the claim `hd` must name.
    pub hosted_domain: Option<String>,
}

impl Oidc {
    /// Google, for the people of one Workspace domain: its issuer, and what it is asked for. It says nothing of groups.
    #[must_use]
    pub fn google(client_id: String, client_secret: ClientSecret, hosted_domain: String) -> Self {
        Self {
            issuer: "https://accounts.google.com".to_owned(),
            client_id,
            client_secret: Some(client_secret),
            scopes: ["email", "profile"].map(str::to_owned).into(),
            groups_claim: None,
            hosted_domain: Some(hosted_domain),
        }
    }
}

/// A SAML identity provider, as its metadata said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saml {
    /// Its entity ID.
    pub entity_id: String,
    /// Where an authentication request goes: an HTTPS URL.
    pub sso_url: String,
    /// How it goes there.
    pub binding: Binding,
    /// The certificates that it signs with: DER in base 64, at least one.
    pub certificates: Vec<String>,
    /// Whether a response that nobody has asked for is taken.
    pub idp_initiated: bool,
    /// The attribute that holds a person's address; none: a NameID of the e-mail format, or one of the usual names.
    pub email_attribute: Option<String>,
    /// The attribute that holds what people call them.
    pub name_attribute: Option<String>,
    /// The attribute that lists a person's groups.
    pub groups_attribute: Option<String>,
}

/// A SAML binding by which an authentication request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// In the URL, compressed.
    Redirect,
    /// In a form that posts itself.
    Post,
}

/// A client secret; it is in the connection's sealed row and in what is sent to the provider, nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// The secret that this is.
    #[must_use]
    pub const fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}
