//! What is set about signing in: what is enforced, mail domains, and how long sessions last.

use utoipa::ToSchema;

use super::super::organization::EnforcedMethod;
use super::super::{Id, Moment};

/// What is set about signing in.
#[derive(ToSchema)]
pub(in crate::http) struct SignInSettings {
    /// The method by which people sign in and no other; null: any.
    #[schema(required)]
    enforced: Option<EnforcedMethod>,
    /// The Admin who gets in by a one-time link of the command line where the enforced method does not work; null: none was named.
    #[schema(required)]
    break_glass: Option<Id>,
    /// The organization's mail domains, verified or not.
    #[schema(max_items = 100)]
    domains: Vec<MailDomain>,
    /// After how many minutes without a call a session is over.
    #[schema(minimum = 1, maximum = 30)]
    idle_minutes: u32,
    /// After how many minutes a session is over in any case.
    #[schema(minimum = 1, maximum = 720)]
    session_minutes: u32,
}

/// How long sessions are to last.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SessionLimits {
    /// After how many minutes without a call a session is over; null: as long as this service allows, which is 30.
    #[schema(required, minimum = 1, maximum = 30)]
    idle_minutes: Option<u32>,
    /// After how many minutes a session is over in any case; null: as long as this service allows, which is 720.
    #[schema(required, minimum = 1, maximum = 720)]
    session_minutes: Option<u32>,
}

/// By which method alone people are to sign in.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SignInEnforcement {
    /// That of a connection that is enabled, and that you have tested yourself.
    method: EnforcedMethod,
    /// An active Admin, who still gets in by a one-time link of the command line.
    break_glass: Id,
}

/// A mail domain that is the organization's own.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewMailDomain {
    /// Its name.
    #[schema(example = "acme.example")]
    domain: String,
}

/// A mail domain that the organization says is its own, and the record that shows it.
#[derive(ToSchema)]
pub(in crate::http) struct MailDomain {
    /// Its name, in small letters.
    domain: String,
    /// Where the record belongs.
    #[schema(example = "_cedarkeep.acme.example")]
    record_name: String,
    #[schema(inline)]
    record_type: RecordType,
    /// What the record must hold.
    #[schema(example = "cedarkeep-verification=...")]
    record_value: String,
    /// When DNS showed the record; null: not yet.
    #[schema(required)]
    verified_at: Option<Moment>,
}

/// What kind of record it is.
#[derive(ToSchema)]
enum RecordType {
    #[serde(rename = "TXT")]
    Txt,
}
