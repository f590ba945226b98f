//! Why a SAML response is refused: the check that failed, each with a word of its own.

/// The check that a SAML response failed. The words of [`SamlRefusal::name`] are stable; the sentences are for the Admin who
/// tests a connection. Texts of the response in them are cut short and come from whoever sent it: show them escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SamlRefusal {
    /// The form field is longer than a response may be.
    #[error(
        "the response is longer than {limit} bytes: let the provider send fewer attributes or groups"
    )]
    TooLarge {
        /// The most that is read.
        limit: usize,
    },
    /// The form field is not base 64, or has something between its characters.
    #[error("the field `SAMLResponse` is not base 64 without white space")]
    Base64,
    /// It is not UTF-8, begins with a byte order mark, or has characters that XML does not know.
    #[error("the response is not plain UTF-8")]
    Encoding,
    /// It has a comment, a CDATA section, a document type or a processing instruction.
    #[error(
        "the response has a comment, a CDATA section, a document type or a processing instruction, none of which is taken"
    )]
    Markup,
    /// It has more elements, levels or attributes than a response has.
    #[error("the response has more {what} than are read")]
    TooComplex {
        /// Of what it has too many.
        what: &'static str,
    },
    /// It is not well-formed.
    #[error("the response is not well-formed XML")]
    Xml,
    /// Its root is something else.
    #[error("the document is not a SAML 2.0 `Response`")]
    NotAResponse,
    /// It, or its assertion, is of another version.
    #[error("the response or its assertion is not of SAML version 2.0")]
    Version,
    /// The provider says that signing in failed there.
    #[error("the provider refused: `{code}`{}{message}", if message.is_empty() { "" } else { ", " })]
    Status {
        /// Its status code.
        code: String,
        /// What it says beside it, or nothing.
        message: String,
    },
    /// Something in it is encrypted.
    #[error(
        "the response has an `{element}`: switch encryption of assertions off at the provider; the response travels over TLS"
    )]
    Encrypted {
        /// Which element.
        element: String,
    },
    /// It has something that is never taken.
    #[error("the response has an element `{element}`, which is not taken")]
    Forbidden {
        /// Which element.
        element: String,
    },
    /// It has no assertion, or several.
    #[error("the response has {count} assertions: exactly one is taken")]
    AssertionCount {
        /// How many.
        count: usize,
    },
    /// Identifiers are missing, repeated, badly written, or where none belongs.
    #[error("an identifier in the response is missing, repeated, badly written or out of place")]
    Ids,
    /// An element or an attribute is where it does not belong, or there once too often.
    #[error("`{what}` is not expected inside `{inside}`, or there once too often")]
    Unexpected {
        /// What is there.
        what: String,
        /// In which element.
        inside: &'static str,
    },
    /// An element or an attribute is missing.
    #[error("`{what}` is missing inside `{inside}`")]
    Missing {
        /// What should be there.
        what: &'static str,
        /// In which element.
        inside: &'static str,
    },
    /// A time is not a UTC time as SAML writes it.
    #[error("`{what}` is not a time in UTC, such as `2026-01-31T12:00:00Z`")]
    Time {
        /// Which time.
        what: &'static str,
    },
    /// Neither the response nor its assertion is signed.
    #[error("neither the response nor its assertion is signed: let the provider sign one of them")]
    Unsigned,
    /// A signature is where none belongs, or is not made of what it must be made of.
    #[error("a signature is out of place, or `{what}` in it is not as it must be")]
    SignatureShape {
        /// What is wrong in it.
        what: &'static str,
    },
    /// A signature is about something else than the element that it is in.
    #[error("a signature does not refer to exactly the element that it is in")]
    Reference,
    /// A signature names transforms that are not taken.
    #[error(
        "a signature's transforms are not exactly enveloped signature and exclusive canonicalization without comments"
    )]
    Transforms,
    /// A signature is made with an algorithm that is not taken.
    #[error(
        "a signature's algorithm is not taken: RSA or ECDSA with SHA-256, SHA-384 or SHA-512 are"
    )]
    Algorithm,
    /// No certificate of the connection verifies the signatures.
    #[error(
        "no certificate of this connection verifies the signatures: compare the certificates with the provider's"
    )]
    Signature,
    /// What was signed is not what was looked at.
    #[error("what the signature covers is not the response that came")]
    Covered,
    /// It was sent to another place, or does not say to which.
    #[error("`Destination` is not our assertion consumer URL")]
    Destination,
    /// Another provider has issued it, or it does not say which.
    #[error("`Issuer` is not the provider's entity ID")]
    Issuer,
    /// It is for another service, or does not say for which.
    #[error("`Audience` is not our entity ID")]
    Audience,
    /// It is to be handed to another place, or does not say to which.
    #[error("`Recipient` is not our assertion consumer URL")]
    Recipient,
    /// It does not answer the request that this browser was sent with.
    #[error("`InResponseTo` is not the request that this browser was sent with")]
    InResponseTo,
    /// Nobody has asked for it, and the connection does not take such responses.
    #[error(
        "the response answers no request, and sign-in that begins at the provider is off for this connection"
    )]
    Unasked,
    /// It is said to be from the future.
    #[error("`{what}` is in the future: compare the provider's clock")]
    FromTheFuture {
        /// Which time.
        what: &'static str,
    },
    /// Its time has not come.
    #[error("`{what}` is in the future: compare the provider's clock")]
    NotYetValid {
        /// Which time.
        what: &'static str,
    },
    /// Its time is over.
    #[error("`{what}` is over: sign in again, or compare the provider's clock")]
    Expired {
        /// Which time.
        what: &'static str,
    },
    /// The provider's session is over.
    #[error("`SessionNotOnOrAfter` is over: sign in again")]
    SessionOver,
    /// Nobody confirms that whoever brings it may.
    #[error("the subject is not confirmed by the bearer method")]
    Confirmation,
    /// It does not say who it is about in a way that lasts.
    #[error("the NameID is not taken: {why}")]
    NameId {
        /// What is wrong with it.
        why: &'static str,
    },
}

impl SamlRefusal {
    /// The word for the check: stable, for logs, metrics and whoever tests a connection.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Base64 => "base64",
            Self::Encoding => "encoding",
            Self::Markup => "markup",
            Self::TooComplex { .. } => "too_complex",
            Self::Xml => "xml",
            Self::NotAResponse => "not_a_response",
            Self::Version => "version",
            Self::Status { .. } => "status",
            Self::Encrypted { .. } => "encrypted",
            Self::Forbidden { .. } => "forbidden",
            Self::AssertionCount { .. } => "assertion_count",
            Self::Ids => "ids",
            Self::Unexpected { .. } => "unexpected",
            Self::Missing { .. } => "missing",
            Self::Time { .. } => "time",
            Self::Unsigned => "unsigned",
            Self::SignatureShape { .. } => "signature_shape",
            Self::Reference => "reference",
            Self::Transforms => "transforms",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Covered => "covered",
            Self::Destination => "destination",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Recipient => "recipient",
            Self::InResponseTo => "in_response_to",
            Self::Unasked => "unasked",
            Self::FromTheFuture { .. } => "from_the_future",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Expired { .. } => "expired",
            Self::SessionOver => "session_over",
            Self::Confirmation => "confirmation",
            Self::NameId { .. } => "name_id",
        }
    }
}
