//! Connections to identity providers, by which people sign in.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::super::people::Role;
use super::super::{Id, Moment};
use super::saml::{SamlBinding, SamlCertificate};

/// A connection that is to be set up.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(discriminator(property_name = "protocol", mapping(
    ("oidc" = "#/components/schemas/NewOidcConnection"),
    ("saml" = "#/components/schemas/NewSamlConnection"),
)))]
pub(in crate::http) enum NewConnection {
    Oidc(NewOidcConnection),
    Saml(NewSamlConnection),
}

/// A connection by OpenID Connect that is to be set up. The provider is asked for what it says of itself.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewOidcConnection {
    #[schema(inline)]
    protocol: OidcProtocol,
    /// What people call it: 1 to 200 bytes, without control characters. It stands on the sign-in page.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The provider's issuer identifier, an HTTPS URL. It is needed, but for a `preset`, with which it is not sent.
    #[schema(nullable = false, example = "https://login.acme.example")]
    issuer: Option<String>,
    /// A provider whose issuer is known here.
    #[schema(nullable = false)]
    preset: Option<ProviderPreset>,
    /// Our name at the provider.
    client_id: String,
    /// Our secret there; none if absent, which is a public client.
    #[schema(nullable = false)]
    client_secret: Option<String>,
    /// What is asked for beside `openid`; `email` and `profile` if absent.
    #[schema(nullable = false)]
    scopes: Option<Vec<String>>,
    /// The claim that lists a person's groups; none if absent.
    #[schema(nullable = false)]
    groups_claim: Option<String>,
    /// The Google Workspace domain that the claim `hd` must name; any if absent.
    #[schema(nullable = false)]
    hosted_domain: Option<String>,
    /// Whether people sign in by it, for which a test need not be; not if absent.
    #[schema(nullable = false)]
    enabled: Option<bool>,
    /// Whether somebody who signs in by it and is no member becomes one; not if absent.
    #[schema(nullable = false)]
    provisioning: Option<bool>,
    /// What such a person becomes where no group of theirs says otherwise; `Viewer` if absent.
    #[schema(nullable = false)]
    default_role: Option<Role>,
    /// The provider's groups, by name, and the role that each gives: of several the highest. None if absent.
    #[schema(nullable = false)]
    group_roles: Option<BTreeMap<String, Role>>,
}

/// A connection by SAML 2.0 that is to be set up, from the provider's metadata. It takes the Enterprise plan.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewSamlConnection {
    #[schema(inline)]
    protocol: SamlProtocol,
    /// What people call it: 1 to 200 bytes, without control characters. It stands on the sign-in page.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The provider's metadata, in XML. It is needed, or `metadata_url`.
    #[schema(nullable = false)]
    metadata: Option<String>,
    /// Where the provider publishes its metadata; what is there counts, also beside `metadata`.
    #[schema(nullable = false)]
    metadata_url: Option<String>,
    /// Whether a response that nobody has asked for is taken; not if absent.
    #[schema(nullable = false)]
    idp_initiated: Option<bool>,
    /// The attribute that holds a person's address; if absent or empty, a NameID of the e-mail format, or one of the usual names.
    #[schema(nullable = false)]
    email_attribute: Option<String>,
    /// The attribute that holds what people call them; none is named if absent or empty.
    #[schema(nullable = false)]
    name_attribute: Option<String>,
    /// The attribute that lists a person's groups; none if absent or empty.
    #[schema(nullable = false)]
    groups_attribute: Option<String>,
    /// Whether people sign in by it, for which a test need not be; not if absent.
    #[schema(nullable = false)]
    enabled: Option<bool>,
    /// Whether somebody who signs in by it and is no member becomes one; not if absent.
    #[schema(nullable = false)]
    provisioning: Option<bool>,
    /// What such a person becomes where no group of theirs says otherwise; `Viewer` if absent.
    #[schema(nullable = false)]
    default_role: Option<Role>,
    /// The provider's groups, by name, and the role that each gives: of several the highest. None if absent.
    #[schema(nullable = false)]
    group_roles: Option<BTreeMap<String, Role>>,
}

/// What of a connection is to be otherwise: what is absent stays as it is.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ConnectionChange {
    /// It stays what it is.
    #[schema(nullable = false)]
    protocol: Option<ConnectionProtocol>,
    /// What people call it: 1 to 200 bytes, without control characters.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    name: Option<String>,
    /// For `oidc`: the provider's issuer identifier, an HTTPS URL; not with `preset`.
    #[schema(nullable = false)]
    issuer: Option<String>,
    /// For `oidc`: a provider whose issuer is known here.
    #[schema(nullable = false)]
    preset: Option<ProviderPreset>,
    /// For `oidc`: our name at the provider.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// For `oidc`: our secret there. With another issuer or name it is forgotten, unless it is sent.
    #[schema(nullable = false)]
    client_secret: Option<String>,
    /// For `oidc`: what is asked for beside `openid`.
    #[schema(nullable = false)]
    scopes: Option<Vec<String>>,
    /// For `oidc`: the claim that lists a person's groups.
    #[schema(nullable = false)]
    groups_claim: Option<String>,
    /// For `oidc`: the Google Workspace domain that the claim `hd` must name.
    #[schema(nullable = false)]
    hosted_domain: Option<String>,
    /// For `saml`: the provider's metadata, in XML. A certificate that is not in it is trusted no more.
    #[schema(nullable = false)]
    metadata: Option<String>,
    /// For `saml`: where the provider publishes its metadata; what is there counts, also beside `metadata`.
    #[schema(nullable = false)]
    metadata_url: Option<String>,
    /// For `saml`: whether a response that nobody has asked for is taken.
    #[schema(nullable = false)]
    idp_initiated: Option<bool>,
    /// For `saml`: the attribute that holds a person's address; empty: none is named.
    #[schema(nullable = false)]
    email_attribute: Option<String>,
    /// For `saml`: the attribute that holds what people call them; empty: none is named.
    #[schema(nullable = false)]
    name_attribute: Option<String>,
    /// For `saml`: the attribute that lists a person's groups; empty: none is named.
    #[schema(nullable = false)]
    groups_attribute: Option<String>,
    /// Whether people sign in by it.
    #[schema(nullable = false)]
    enabled: Option<bool>,
    /// Whether somebody who signs in by it and is no member becomes one.
    #[schema(nullable = false)]
    provisioning: Option<bool>,
    /// What such a person becomes where no group of theirs says otherwise.
    #[schema(nullable = false)]
    default_role: Option<Role>,
    /// The provider's groups, by name, and the role that each gives, as a whole.
    #[schema(nullable = false)]
    group_roles: Option<BTreeMap<String, Role>>,
}

/// A connection, never its secret, with what its provider must be told of us.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(discriminator(property_name = "protocol", mapping(
    ("oidc" = "#/components/schemas/OidcConnection"),
    ("saml" = "#/components/schemas/SamlConnection"),
)))]
pub(in crate::http) enum Connection {
    Oidc(OidcConnection),
    Saml(SamlConnection),
}

/// A connection by OpenID Connect.
#[derive(ToSchema)]
pub(in crate::http) struct OidcConnection {
    id: Id,
    #[schema(inline)]
    protocol: OidcProtocol,
    /// What people call it; it stands on the sign-in page.
    name: String,
    /// The provider's issuer identifier.
    issuer: String,
    /// Our name at the provider.
    client_id: String,
    /// Whether we have a secret there.
    has_client_secret: bool,
    /// What is asked for beside `openid`.
    scopes: Vec<String>,
    /// The claim that lists a person's groups; null: none.
    #[schema(required)]
    groups_claim: Option<String>,
    /// The Google Workspace domain that the claim `hd` must name; null: any.
    #[schema(required)]
    hosted_domain: Option<String>,
    /// Whether people sign in by it.
    enabled: bool,
    /// The Admins who have signed in by it in a test, as it is set now.
    tested_by: Vec<Id>,
    /// Whether somebody who signs in by it and is no member becomes one.
    provisioning: bool,
    /// What such a person becomes where no group of theirs says otherwise.
    default_role: Role,
    /// The provider's groups, by name, and the role that each gives: of several the highest.
    group_roles: BTreeMap<String, Role>,
    /// Where the organization's people sign in.
    sign_in_url: String,
    /// Tell the provider: where it sends people back to.
    redirect_uri: String,
    /// Tell the provider: where it says that somebody has signed out there.
    backchannel_logout_uri: String,
}

/// A connection by SAML 2.0.
#[derive(ToSchema)]
pub(in crate::http) struct SamlConnection {
    id: Id,
    #[schema(inline)]
    protocol: SamlProtocol,
    /// What people call it; it stands on the sign-in page.
    name: String,
    /// The provider's entity ID.
    entity_id: String,
    /// Where an authentication request goes.
    sso_url: String,
    binding: SamlBinding,
    /// The certificates that the provider signs with.
    certificates: Vec<SamlCertificate>,
    /// Whether a response that nobody has asked for is taken.
    idp_initiated: bool,
    /// The attribute that holds a person's address; null: a NameID of the e-mail format, or one of the usual names.
    #[schema(required)]
    email_attribute: Option<String>,
    /// The attribute that holds what people call them; null: none is named.
    #[schema(required)]
    name_attribute: Option<String>,
    /// The attribute that lists a person's groups; null: none.
    #[schema(required)]
    groups_attribute: Option<String>,
    /// Whether people sign in by it.
    enabled: bool,
    /// The Admins who have signed in by it in a test, as it is set now.
    tested_by: Vec<Id>,
    /// Whether somebody who signs in by it and is no member becomes one.
    provisioning: bool,
    /// What such a person becomes where no group of theirs says otherwise.
    default_role: Role,
    /// The provider's groups, by name, and the role that each gives: of several the highest.
    group_roles: BTreeMap<String, Role>,
    /// What an Admin should do something about: certificates that have expired, or do within 30 days.
    warnings: Vec<String>,
    /// Where the organization's people sign in.
    sign_in_url: String,
    /// Tell the provider: our entity ID.
    sp_entity_id: String,
    /// Tell the provider: where its responses go.
    sp_acs_url: String,
    /// Tell the provider: where our metadata is.
    sp_metadata_url: String,
}

/// How a provider is spoken to.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConnectionProtocol {
    Oidc,
    Saml,
}

/// OpenID Connect.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum OidcProtocol {
    Oidc,
}

/// SAML 2.0.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum SamlProtocol {
    Saml,
}

/// A provider whose issuer is known here.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ProviderPreset {
    Google,
}

/// A test of a connection that may be begun.
#[derive(ToSchema)]
pub(in crate::http) struct ConnectionTest {
    /// What to open in a browser; good once.
    url: String,
    /// Until when it is good: for 15 minutes.
    expires_at: Moment,
}
