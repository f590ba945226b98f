//! Sessions of people who have signed in.

use utoipa::ToSchema;

use super::super::people::User;
use super::super::{Id, Moment};

/// Who is signed in, and the session.
#[derive(ToSchema)]
pub(in crate::http) struct SignedIn {
    /// Who.
    user: User,
    /// The session, without when it was used last.
    session: Session,
}

/// A session of somebody who has signed in.
#[derive(ToSchema)]
pub(in crate::http) struct Session {
    id: Id,
    #[schema(inline)]
    r#type: SessionType,
    /// Whose it is.
    owner: Id,
    method: SessionMethod,
    /// Whether the break-glass Admin came by it past what is enforced.
    break_glass: bool,
    /// The connection that they came by; null: by none, as with a link.
    #[schema(required)]
    connection: Option<Id>,
    /// When it began.
    created_at: Moment,
    /// When it is over, however busy it is.
    expires_at: Moment,
    /// The program that they came with, as it called itself, in 200 characters at most; null: it did not.
    #[schema(required, max_length = 200)]
    agent: Option<String>,
    /// The address that they came from; null where it is not known.
    #[schema(required)]
    client: Option<String>,
    /// The index in the log since which it is as it is.
    from_index: u64,
    /// When it was used last; null: not since it began, as far as is known. Absent where it is not one of a list.
    last_used_at: Option<Moment>,
}

/// What a session is.
#[derive(ToSchema)]
enum SessionType {
    Session,
}

/// How somebody has signed in: by a connection's protocol, or by a one-time link.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum SessionMethod {
    Oidc,
    Saml,
    Link,
}

/// What became of all sessions of a person.
#[derive(ToSchema)]
pub(in crate::http) struct EndedSessions {
    /// How many were ended, those that were over included.
    ended: u64,
}
