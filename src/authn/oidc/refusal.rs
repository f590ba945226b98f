//! Why a provider, or what it says of somebody, is not believed: one variant for each check.

use super::SKEW_S;

/// The check that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcRefusal {
    /// The issuer that the connection names.
    #[error(
        "the issuer must be an https:// URL without query, fragment and user; copy it from the provider's own documentation"
    )]
    IssuerUrl,
    /// The discovery document is no JSON object, or can be read in two ways.
    #[error("the discovery document cannot be read: {0}")]
    Document(String),
    /// A member that it must have.
    #[error("the discovery document has no `{0}`, or not of the right type")]
    DocumentMember(&'static str),
    /// It speaks for somebody else.
    #[error(
        "the discovery document says the issuer is `{0}`; the connection must name exactly that, to the last slash"
    )]
    DocumentIssuer(String),
    /// An endpoint that nothing is sent to.
    #[error("`{0}` of the discovery document must be an https:// URL without user and fragment")]
    Endpoint(&'static str),
    /// What the provider cannot do, or insists on.
    #[error(
        "the provider's `{0}` does not go with the code flow, PKCE by S256 and a signature that is taken here"
    )]
    Unsupported(&'static str),
    /// The connection was set otherwise after the browser was sent away.
    #[error("the connection was changed in the meantime; sign in again")]
    Changed,
    /// The answer is to no question of this browser's.
    #[error("`state` is not the one that was sent; sign in again")]
    State,
    /// The browser took too long.
    #[error("the sign-in took longer than ten minutes; sign in again")]
    Late,
    /// What the browser brought back.
    #[error("what the provider sent the browser back with cannot be read: {0}")]
    Callback(&'static str),
    /// Another provider answers than the one that was asked (RFC 9207).
    #[error("`iss` of the callback is missing or names another issuer")]
    CallbackIssuer,
    /// The provider says no.
    #[error("the provider refuses: `{0}`")]
    Declined(String),
    /// What the token endpoint answers.
    #[error("the token endpoint's answer cannot be used: {0}")]
    TokenAnswer(&'static str),
    /// The token endpoint says no.
    #[error("the token endpoint refuses: `{0}`; check the client's id, secret and redirect URI")]
    TokenDeclined(String),
    /// More than a token may have.
    #[error("the token is longer than 64 KiB")]
    Size,
    /// A JWE.
    #[error("the token is encrypted; switch encryption of ID tokens off at the provider")]
    Encrypted,
    /// No JWS in its compact form.
    #[error("the token is no signed JWT: {0}")]
    Form(&'static str),
    /// Something that two readers would read differently.
    #[error("the token names a member twice")]
    Duplicate,
    /// An extension that must be understood, and is not.
    #[error("the token's header has `crit`, and no extension is understood here")]
    Critical,
    /// A token of another kind.
    #[error("the token's `typ` is `{0}`, which is another kind of token")]
    Type(String),
    /// A way of signing that is not taken.
    #[error(
        "the token is signed by `{0}`; taken are RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA"
    )]
    Algorithm(String),
    /// The provider's keys.
    #[error("the provider's key set cannot be read: {0}")]
    KeySet(&'static str),
    /// No such key; fetching the set again may help.
    #[error("the provider's key set has no key `{0}`")]
    UnknownKey(String),
    /// The token does not say by which of several keys.
    #[error("the token names no key, and the provider has several that it could be")]
    AmbiguousKey,
    /// A key of another kind than the signature's.
    #[error("the key that the token names is not for this signature")]
    KeyUse,
    /// A key that is easily broken.
    #[error(
        "the key that the token names is weak: RSA needs 2048 to 4096 bits, an odd exponent, and its private part kept private"
    )]
    WeakKey,
    /// The signature.
    #[error("the token's signature is wrong")]
    Signature,
    /// `iss`
    #[error("`iss` of the token is not the connection's issuer")]
    Issuer,
    /// `aud`
    #[error("`aud` of the token does not name the connection's client")]
    Audience,
    /// `azp`
    #[error("`azp` of the token names another client, or is missing beside several audiences")]
    AuthorizedParty,
    /// `exp`
    #[error("`exp` of the token is missing, or over by more than {SKEW_S} s; check both clocks")]
    Expired,
    /// `iat`
    #[error("`iat` of the token is missing, or more than {SKEW_S} s ahead; check both clocks")]
    IssuedAhead,
    /// `nbf`
    #[error("`nbf` of the token is more than {SKEW_S} s ahead; check both clocks")]
    NotYet,
    /// `sub`
    #[error("`sub` of the token is missing, empty, longer than 255 or not plain text")]
    Subject,
    /// `nonce`
    #[error("`nonce` of the token is not the one that was sent")]
    Nonce,
    /// `at_hash`
    #[error("`at_hash` of the token is not of the access token that came with it")]
    AccessTokenHash,
    /// `hd`
    #[error(
        "`hd` of the token is not the connection's hosted domain; the account is of another organization, or of none"
    )]
    HostedDomain,
    /// `email_verified`
    #[error("`email_verified` is neither true nor false")]
    EmailVerified,
    /// Another claim.
    #[error("the claim `{0}` is not of the right type, or too long")]
    Claim(String),
    /// What the userinfo endpoint answers.
    #[error("the userinfo endpoint's answer cannot be used: {0}")]
    Userinfo(&'static str),
    /// It speaks of somebody else.
    #[error("`sub` of the userinfo endpoint is not that of the ID token")]
    UserinfoSubject,
    /// `events`
    #[error("`events` of the logout token does not name a back-channel logout")]
    Events,
    /// `jti`
    #[error("`jti` of the logout token is missing, empty or longer than 255")]
    Identifier,
    /// An ID token in a logout token's place.
    #[error("the logout token has a `nonce`, which only an ID token may have")]
    NonceInLogout,
    /// A logout of nobody.
    #[error("the logout token has neither `sub` nor `sid`")]
    Nobody,
}

impl OidcRefusal {
    /// The check in one word, which never changes: a test sign-in shows it, and a log counts it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::IssuerUrl => "issuer_url",
            Self::Document(_) => "discovery_document",
            Self::DocumentMember(_) => "discovery_member",
            Self::DocumentIssuer(_) => "discovery_issuer",
            Self::Endpoint(_) => "discovery_endpoint",
            Self::Unsupported(_) => "discovery_unsupported",
            Self::Changed => "connection_changed",
            Self::State => "state",
            Self::Late => "late",
            Self::Callback(_) => "callback",
            Self::CallbackIssuer => "callback_iss",
            Self::Declined(_) => "provider_declined",
            Self::TokenAnswer(_) => "token_answer",
            Self::TokenDeclined(_) => "token_declined",
            Self::Size => "token_size",
            Self::Encrypted => "token_encrypted",
            Self::Form(_) => "token_form",
            Self::Duplicate => "duplicate_member",
            Self::Critical => "crit",
            Self::Type(_) => "typ",
            Self::Algorithm(_) => "alg",
            Self::KeySet(_) => "key_set",
            Self::UnknownKey(_) => "unknown_key",
            Self::AmbiguousKey => "ambiguous_key",
            Self::KeyUse => "key_use",
            Self::WeakKey => "weak_key",
            Self::Signature => "signature",
            Self::Issuer => "iss",
            Self::Audience => "aud",
            Self::AuthorizedParty => "azp",
            Self::Expired => "exp",
            Self::IssuedAhead => "iat",
            Self::NotYet => "nbf",
            Self::Subject => "sub",
            Self::Nonce => "nonce",
            Self::AccessTokenHash => "at_hash",
            Self::HostedDomain => "hd",
            Self::EmailVerified => "email_verified",
            Self::Claim(_) => "claim",
            Self::Userinfo(_) => "userinfo",
            Self::UserinfoSubject => "userinfo_sub",
            Self::Events => "events",
            Self::Identifier => "jti",
            Self::NonceInLogout => "logout_nonce",
            Self::Nobody => "logout_nobody",
        }
    }
}
