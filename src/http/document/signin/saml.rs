//! What a SAML provider's metadata says.

use utoipa::ToSchema;

use super::super::Moment;

/// How an authentication request goes to the provider: in the URL, or in a form that posts itself.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SamlBinding {
    Redirect,
    Post,
}

/// A certificate that a provider signs with. Its dates warn and decide nothing.
#[derive(ToSchema)]
pub(super) struct SamlCertificate {
    /// Whose it says it is.
    subject: String,
    /// Its key.
    #[schema(example = "RSA 2048")]
    key: String,
    /// From when it is valid.
    not_before: Moment,
    /// Until when it is valid.
    not_after: Moment,
    /// SHA-256 of the whole certificate, in hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// Whole days until it runs out; negative where it has.
    days_left: i64,
}

/// A SAML provider's metadata, or where it is.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum MetadataSource {
    /// The metadata itself.
    #[serde(deny_unknown_fields)]
    #[schema(title = "MetadataText")]
    Text {
        /// The metadata, in XML.
        metadata: String,
    },
    /// Where it is.
    #[serde(deny_unknown_fields)]
    #[schema(title = "MetadataPlace")]
    Place {
        /// Where the provider publishes it.
        metadata_url: String,
    },
}

/// What a SAML provider's metadata says.
#[derive(ToSchema)]
pub(in crate::http) struct SamlMetadata {
    /// The provider's entity ID.
    entity_id: String,
    /// Where an authentication request would go.
    sso_url: String,
    binding: SamlBinding,
    /// The certificates that the provider signs with.
    certificates: Vec<SamlCertificate>,
    /// What to do something about: certificates that have expired, or do within 30 days, and what the provider wants that it is not given.
    warnings: Vec<String>,
}
