//! A connection to an identity provider, by which people of an organization sign in: what its Admins have set.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::object::{Ref, Role};

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
