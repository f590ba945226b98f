//! Keys, invitations, and what is reported.

use utoipa::ToSchema;

use super::people::Role;
use super::{Id, Moment};

/// A key that is to be.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewApiKey {
    /// What people call it, and the new service where it speaks for one: 1 to 200 bytes.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it may be used for; `decide` alone if absent or empty. Not with `service`, which has its own.
    #[schema(nullable = false)]
    scopes: Option<Vec<KeyScope>>,
    /// The service that it is another key of; a new one, of this name, if absent.
    #[schema(nullable = false)]
    service: Option<Id>,
    /// When it stops, in the future; it does not if absent or null.
    expires_at: Option<Moment>,
    /// Instead of a key: a URI or a whole DNS name among the alternative names of client certificates, which are the service's from then
    /// on. Visible ASCII characters.
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 255,
        example = "spiffe://acme.example/chat"
    )]
    certificate: Option<String>,
}

/// How a key is replaced.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ApiKeyRotation {
    /// For how many hours the old key goes on, though never longer than it was to last; 24 if absent, and 0 ends it at once.
    #[schema(nullable = false, minimum = 0, maximum = 168)]
    overlap_hours: Option<u64>,
    /// When the new key stops, in the future; if absent or null, it lasts as long as the old one was to last.
    expires_at: Option<Moment>,
}

/// A key, without what is secret; or what has client certificates of a name be a service's.
#[derive(ToSchema)]
pub(in crate::http) struct ApiKey {
    id: Id,
    r#type: ApiKeyType,
    /// What people call it.
    name: String,
    /// The service that it speaks for.
    service: Id,
    /// What it may be used for.
    scopes: Vec<KeyScope>,
    /// When it was made.
    created_at: Moment,
    /// When it stops; null: it does not.
    #[schema(required)]
    expires_at: Option<Moment>,
    /// The name of the client certificates that are the service's, a DNS name in small letters; null where it is a key.
    #[schema(required)]
    certificate: Option<String>,
    /// Whose doing it is that there is one; null where several Admins had a hand in it, or that is not known.
    #[schema(required)]
    made_by: Option<KeyMaker>,
    /// The index in the log since which it is as it is.
    from_index: u64,
    /// When it was last used on any node, to the minute; null where it never was.
    #[schema(required)]
    last_used_at: Option<Moment>,
}

/// A key that was made, with the whole key, which is shown here and never again; or what has client certificates of a name be a service's,
/// of which nothing is secret.
#[derive(ToSchema)]
pub(in crate::http) struct MadeApiKey {
    id: Id,
    r#type: ApiKeyType,
    /// What people call it.
    name: String,
    /// The service that it speaks for.
    service: Id,
    /// What it may be used for.
    scopes: Vec<KeyScope>,
    /// When it was made.
    created_at: Moment,
    /// When it stops; null: it does not.
    #[schema(required)]
    expires_at: Option<Moment>,
    /// The name of the client certificates that are the service's, a DNS name in small letters; null where it is a key.
    #[schema(required)]
    certificate: Option<String>,
    /// Whose doing it is that there is one; null where several Admins had a hand in it, or that is not known.
    #[schema(required)]
    made_by: Option<KeyMaker>,
    /// The whole key, once; absent where `certificate` is not null.
    #[schema(nullable = false, example = "ck_...")]
    key: Option<String>,
}

/// A key that replaces another, with the whole key, which is shown here and never again.
#[derive(ToSchema)]
pub(in crate::http) struct RotatedApiKey {
    id: Id,
    r#type: ApiKeyType,
    /// What people call it: as the old one.
    name: String,
    /// The service that both speak for.
    service: Id,
    /// What both may be used for.
    scopes: Vec<KeyScope>,
    /// When it was made.
    created_at: Moment,
    /// When it stops; null: it does not.
    #[schema(required)]
    expires_at: Option<Moment>,
    /// Null: it is a key.
    #[schema(required)]
    certificate: Option<String>,
    /// Whose doing it is that there is one; null where several Admins had a hand in it, or that is not known.
    #[schema(required)]
    made_by: Option<KeyMaker>,
    /// The key that is replaced.
    replaces: Id,
    /// When that one ends, or has ended.
    replaced_ends_at: Moment,
    /// The whole key, once.
    #[schema(example = "ck_...")]
    key: String,
}

/// What a key is.
#[derive(ToSchema)]
enum ApiKeyType {
    ApiKey,
}

/// Whose doing it is that there is a key.
#[derive(ToSchema)]
#[serde(untagged)]
enum KeyMaker {
    Operator(OperatorName),
    Admin(Id),
}

/// The operator, or a service of theirs.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum OperatorName {
    Operator,
}

/// What a key may be used for: to ask for decisions, who and what, and why; for an acting user to read and to change the directory, for
/// content, to read the log, and for policies; without one to bring people in and out, and to report what happened in the app.
#[derive(ToSchema)]
enum KeyScope {
    #[serde(rename = "decide")]
    Decide,
    #[serde(rename = "search")]
    Search,
    #[serde(rename = "explain")]
    Explain,
    #[serde(rename = "directory.read")]
    DirectoryRead,
    #[serde(rename = "directory.write")]
    DirectoryWrite,
    #[serde(rename = "content")]
    Content,
    #[serde(rename = "audit.read")]
    AuditRead,
    #[serde(rename = "policy")]
    Policy,
    #[serde(rename = "provision")]
    Provision,
    #[serde(rename = "events")]
    Events,
}

/// Who is to be invited.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewInvitation {
    /// Their address, of at most 254 bytes, which nobody else in the organization has.
    #[schema(max_length = 254, example = "ada@example.com")]
    email: String,
    role: Role,
    /// What people call them: 1 to 200 bytes, without control characters; whoever joins says it if absent.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// An invitation.
#[derive(ToSchema)]
pub(in crate::http) struct Invitation {
    id: Id,
    r#type: InvitationType,
    /// The address that it was sent to, in small letters.
    email: String,
    /// What people call them; null: whoever joins says it.
    #[schema(required)]
    name: Option<String>,
    role: Role,
    /// Who invited them; null: the operator, or a service that provisions.
    #[schema(required)]
    invited_by: Option<Id>,
    /// When the link that counts was sent.
    sent_at: Moment,
    /// When the link stops counting: seven days later.
    expires_at: Moment,
    status: InvitationStatus,
    /// The index in the log since which it is as it is.
    from_index: u64,
    /// Where it is read by itself and this node knows that the letter was not sent; absent otherwise.
    #[schema(nullable = false)]
    mail: Option<InvitationMail>,
}

/// An invitation whose link was just made.
#[derive(ToSchema)]
pub(in crate::http) struct SentInvitation {
    id: Id,
    r#type: InvitationType,
    /// The address that it is sent to, in small letters.
    email: String,
    /// What people call them; null: whoever joins says it.
    #[schema(required)]
    name: Option<String>,
    role: Role,
    /// Who invited them; null: the operator, or a service that provisions.
    #[schema(required)]
    invited_by: Option<Id>,
    /// When the link was made.
    sent_at: Moment,
    /// When the link stops counting: seven days later.
    expires_at: Moment,
    status: InvitationStatus,
    delivery: InvitationDelivery,
    /// The link, once, where `delivery` is `link`; absent otherwise.
    #[schema(nullable = false, example = "https://id.acme.example/join/...")]
    link: Option<String>,
}

/// What an invitation is.
#[derive(ToSchema)]
enum InvitationType {
    Invitation,
}

/// Whether its link counts, as far as the log says.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum InvitationStatus {
    Open,
    Expired,
}

/// How the link goes on: by mail; mail is set up and could not take it, so that it is to be sent again; or no mail is set up, and it is
/// handed over by whoever invited them.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum InvitationDelivery {
    Mail,
    Failed,
    Link,
}

/// What became of the letter.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum InvitationMail {
    Failed,
}

/// Whoever takes an invitation up.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct InvitationAcceptance {
    /// What follows `/join/` in the link.
    token: String,
    /// What people call whoever joins, where the invitation has no name, or another: 1 to 200 bytes.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// What happened in an app: all of it is recorded, or none.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EventReport {
    /// In the order in which they are recorded.
    #[schema(min_items = 1, max_items = 100)]
    events: Vec<ReportedEvent>,
}

/// Something that happened in an app.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct ReportedEvent {
    event: ReportedEventName,
    /// The person.
    actor: Id,
    /// When, by the app's clock: within 24 hours of now.
    at: Moment,
    /// The integration that was used; absent with every other event.
    #[schema(nullable = false)]
    resource: Option<Id>,
    /// `ok` of `user.login` and `user.logout`, `failed` of `user.login_failed`.
    outcome: ReportedOutcome,
    /// Why it failed, where it did; `invalid` if absent.
    #[schema(nullable = false)]
    reason: Option<ReportedReason>,
    /// What else there is to say, in 4 KiB of JSON at most: sealed under the person's key.
    #[schema(nullable = false)]
    details: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Somebody signed in there, failed to, or signed out; or an integration was used.
#[derive(ToSchema)]
enum ReportedEventName {
    #[serde(rename = "user.login")]
    Login,
    #[serde(rename = "user.login_failed")]
    LoginFailed,
    #[serde(rename = "user.logout")]
    Logout,
    #[serde(rename = "integration.used")]
    IntegrationUsed,
}

/// How it ended.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReportedOutcome {
    Ok,
    Failed,
}

/// Why it failed.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReportedReason {
    UnknownCredential,
    WrongCredential,
    Expired,
    Revoked,
    Suspended,
    LockedOut,
    MethodNotAllowed,
    RateLimited,
    Invalid,
    Unavailable,
    Cancelled,
}

/// What was recorded.
#[derive(ToSchema)]
pub(in crate::http) struct RecordedEvents {
    /// How many events.
    recorded: u64,
}
