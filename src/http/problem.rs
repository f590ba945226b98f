//! What a caller is told when a request is not answered: the only place that knows status codes.
//!
//! Our own calls answer with `application/problem+json` (RFC 9457); AuthZEN's answer with the message as
//! plain text, which is all that its text asks for. Neither ever holds a cause from inside.

use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What `WWW-Authenticate` names as the place that the credential is for.
const REALM: &str = "cedarkeep";

/// How long a caller should wait before it tries again, when nothing better is known.
const PAUSE: Duration = Duration::from_secs(1);

/// The same, when somebody has to bring root keys back.
const KEYS_PAUSE: Duration = Duration::from_secs(5);

/// Something wrong in a text that the caller sent, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub message: String,
    /// The text it was found in, as the caller named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Why a request is not answered. Text in a variant is shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The request cannot be understood: what is wrong, and where.
    Malformed(String),
    /// A text in it is wrong in these places.
    Findings(String, Vec<Finding>),
    /// It came without a credential.
    NoCredential,
    /// Its credential is unknown, revoked, expired or mistyped: which, only a log line says.
    BadCredential,
    /// Its one-time link is unknown, used, replaced or expired: which, only the log says.
    BadLink,
    /// Who asks may not do this: why.
    Forbidden(String),
    /// The organization's plan does not hold this: which plan would.
    PlanRequired(String),
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// The path is there, the method is not.
    MethodNotAllowed,
    /// The caller took too long to send it.
    TooSlow,
    /// It contradicts what is there: what.
    Conflict(String),
    /// The content is not the version that it names: what to do.
    PreconditionFailed(String),
    /// It asks for bytes that are not there, of so many that are.
    NoSuchRange(u64),
    /// Its body is beyond the limit.
    TooLarge,
    /// Its body is content that was encoded, which is kept as it is and nothing else.
    Encoded,
    /// Too many of them: when to try again.
    TooMany(Duration),
    /// Its credential was refused too often from where it comes, so that it is not looked at: when to try again.
    LockedOut(Duration),
    /// A fault of ours; the log line has the cause.
    Internal,
    /// The answer could not be recorded in time, so there is none.
    AuditUnavailable,
    /// The organization's log is not the one that was seen here, so nothing of it is served.
    RolledBack,
    /// The root key of the organization cannot be used now, so that it is not opened: why.
    KeysUnavailable(String),
    /// This node or this organization cannot answer now: what is missing.
    Unavailable(String),
}

impl Problem {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::Findings(..) => StatusCode::BAD_REQUEST,
            Self::NoCredential | Self::BadCredential => StatusCode::UNAUTHORIZED,
            Self::BadLink | Self::Forbidden(_) | Self::PlanRequired(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
            Self::NoSuchRange(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooMany(_) | Self::LockedOut(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::AuditUnavailable
            | Self::RolledBack
            | Self::KeysUnavailable(_)
            | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Findings(..) => "invalid",
            Self::NoCredential => "no_credential",
            Self::BadCredential => "bad_credential",
            Self::BadLink => "bad_link",
            Self::Forbidden(_) => "forbidden",
            Self::PlanRequired(_) => "plan_required",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooSlow => "too_slow",
            Self::Conflict(_) => "conflict",
            Self::PreconditionFailed(_) => "precondition_failed",
            Self::NoSuchRange(_) => "no_such_range",
            Self::TooLarge => "too_large",
            Self::Encoded => "encoded",
            Self::TooMany(_) => "too_many",
            Self::LockedOut(_) => "locked_out",
            Self::Internal => "internal",
            Self::AuditUnavailable => "audit_unavailable",
            Self::RolledBack => "rollback_detected",
            Self::KeysUnavailable(_) => "keys_unavailable",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// What a page that says it is called.
    pub(super) fn title(&self) -> &'static str {
        match self.status() {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::TOO_MANY_REQUESTS => "Too many requests",
            StatusCode::UNAUTHORIZED => "You are not signed in",
            status if status.is_server_error() => "Not available now",
            _ => "This was not done",
        }
    }

    /// A sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Malformed(what) | Self::Findings(what, _) => what,
            Self::NoCredential => "this call needs an API key: send `Authorization: Bearer ck_...`",
            Self::BadCredential => "this API key is not valid here",
            Self::BadLink => "this link is not valid, or not any more: ask for another",
            Self::Forbidden(why) | Self::PlanRequired(why) => why,
            Self::NotFound => "there is no such thing, or you may not know of it",
            Self::MethodNotAllowed => "this path does not take this method; see `Allow`",
            Self::TooSlow => "the request took too long to arrive",
            Self::Conflict(what)
            | Self::PreconditionFailed(what)
            | Self::KeysUnavailable(what)
            | Self::Unavailable(what) => what,
            Self::NoSuchRange(_) => {
                "these bytes are not there; see `Content-Range` for how many are"
            }
            Self::TooLarge => "the body is larger than this service takes",
            Self::Encoded => "content is kept as it is: send it without `Content-Encoding`",
            Self::TooMany(_) => "too many requests; see `Retry-After`",
            Self::LockedOut(_) => {
                "this credential was refused too often from your address, so it is not looked at for now; see `Retry-After`"
            }
            Self::Internal => "something went wrong here; the request id finds it in the logs",
            Self::RolledBack => {
                "rollback_detected: this organization's log ends before where it was seen to end, so nothing of it is served; tell the operator"
            }
            Self::AuditUnavailable => {
                "audit_unavailable: the answer could not be recorded in time, so there is none; try again"
            }
        }
    }

    pub(super) fn dressed(&self, mut response: Response) -> Response {
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let challenge = match self {
            Self::NoCredential => Some(format!("Bearer realm=\"{REALM}\"")),
            Self::BadCredential => {
                Some(format!("Bearer realm=\"{REALM}\", error=\"invalid_token\""))
            }
            _ => None,
        };
        if let Some(Ok(value)) = challenge.map(HeaderValue::try_from) {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        if let Self::NoSuchRange(length) = self
            && let Ok(value) = HeaderValue::try_from(format!("bytes */{length}"))
        {
            headers.insert(header::CONTENT_RANGE, value);
        }
        if matches!(self, Self::Encoded) {
            let identity = HeaderValue::from_static("identity");
            headers.insert(header::ACCEPT_ENCODING, identity);
        }
        let pause = match self {
            Self::TooMany(pause) | Self::LockedOut(pause) => Some(*pause),
            Self::AuditUnavailable | Self::Unavailable(_) => Some(PAUSE),
            Self::KeysUnavailable(_) => Some(KEYS_PAUSE),
            _ => None,
        };
        if let Some(pause) = pause {
            // Whole seconds, rounded up: a caller that comes back early is refused again.
            let seconds = pause
                .as_secs()
                .saturating_add(u64::from(pause.subsec_nanos() > 0))
                .max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    findings: &'a [Finding],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let findings: &[Finding] = match &self {
            Self::Findings(_, findings) => findings,
            _ => &[],
        };
        let body = Body {
            r#type: format!("urn:cedarkeep:problem:{}", self.code()),
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code: self.code(),
            detail: self.message(),
            findings,
        };
        // Strings and numbers always serialise; an empty body would still carry the status.
        let text = serde_json::to_string(&body).unwrap_or_default();
        self.dressed(([(header::CONTENT_TYPE, "application/problem+json")], text).into_response())
    }
}

/// The same, as AuthZEN's calls answer it: the message as the whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain(pub Problem);

impl From<Problem> for Plain {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Plain {
    fn into_response(self) -> Response {
        // Text by its type and `nosniff`: a message may repeat what a caller sent.
        let kind = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let text = self.0.message().to_owned();
        self.0.dressed((kind, text).into_response())
    }
}

/// The same, as SCIM's calls answer it (RFC 7644, section 3.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scim {
    problem: Problem,
    kind: Option<&'static str>,
}

impl Scim {
    /// A problem with SCIM's word for it.
    #[must_use]
    pub const fn of(problem: Problem, kind: &'static str) -> Self {
        Self {
            problem,
            kind: Some(kind),
        }
    }
}

impl From<Problem> for Scim {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            kind: None,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScimBody<'a> {
    schemas: [&'a str; 1],
    // A string, as SCIM wants it.
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scim_type: Option<&'a str>,
    detail: &'a str,
}

impl IntoResponse for Scim {
    fn into_response(self) -> Response {
        let status = self.problem.status();
        let body = ScimBody {
            schemas: ["urn:ietf:params:scim:api:messages:2.0:Error"],
            status: status.as_str(),
            scim_type: self.kind,
            detail: match &self.problem {
                Problem::NoCredential => {
                    "this call needs a SCIM token: send `Authorization: Bearer ckd_...`"
                }
                Problem::BadCredential => "this SCIM token is not valid here",
                problem => problem.message(),
            },
        };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, "application/scim+json")];
        self.problem.dressed((kind, text).into_response())
    }
}

impl From<QueryRejection> for Problem {
    fn from(refused: QueryRejection) -> Self {
        Self::Malformed(refused.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        // A path whose id cannot be read names nothing.
        Self::NotFound
    }
}
