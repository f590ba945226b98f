//! The OpenAPI document: what it says of the service, and what bodies look like. Routes say theirs where they are; nothing is read or sent by these types. Every call of the tests is held to them
//! (`tests/it/api/documented.rs`), so that what they say is so.
//!
//! What a call sends is a `New...` or named by what it does; what is answered is called what it is. A member that is always there is no
//! `Option`, or is `required` where it may be null; one that may be absent and is never null is `nullable = false`.

#![expect(
    dead_code,
    clippy::large_enum_variant,
    reason = "they are described, and never made"
)]

pub(super) mod access;
pub(super) mod audit;
pub(super) mod calls;
pub(super) mod circles;
pub(super) mod content;
pub(super) mod credentials;
pub(super) mod explanation;
mod finishing;
pub(super) mod made;
pub(super) mod operation;
pub(super) mod organization;
pub(super) mod people;
pub(super) mod policies;
pub(super) mod sharing;
pub(super) mod signin;

pub(super) use finishing::finish;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi as _, ToSchema};

/// The document before any route has come to it.
pub(super) fn without_calls() -> OpenApi {
    Document::openapi()
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Cedarkeep",
        description = "Authorization for enterprise AI workspaces: decisions by Cedar policies, each one in a signed log.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "this service")),
    components(schemas(Problem)),
    modifiers(&Common),
)]
struct Document;

/// How callers say who they are, and how calls are refused.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("ck_...")
            .description(Some("An API key; calls beside decisions name their acting user in `Cedarkeep-Acting-User`."))
            .build();
        let components = document.components.get_or_insert_default();
        components.responses.extend(calls::refusals());
        let shared = calls::shared().into_iter();
        components
            .parameters
            .extend(shared.map(|(name, parameter)| (name.to_owned(), parameter.into())));
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme));
        let certificate = SecurityScheme::MutualTls {
            description: Some(
                "A certificate of an issuer in `tls.client_ca`, one of whose names the organization has bound to a service; `Cedarkeep-Organization` names the organization. It opens whatever an API key opens.".into(),
            ),
            deprecated: None,
            extensions: None,
        };
        components.add_security_scheme("client_certificate", certificate);
        let cookie = ApiKeyValue::with_description(
            "__Host-sid",
            "Whoever has signed in at `/signin`. A change also needs `Origin`, as every browser sends it.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// An identifier: what kind of thing it names, an underscore, and 26 characters.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[a-z]+_[a-z2-7]{26}$", example = "thr_agl2xz3n4q5r6s7t2u3v4w5x6y")]
pub(super) struct Id(String);

/// A moment, as RFC 3339 writes it.
#[derive(ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00Z")]
pub(super) struct Moment(String);

/// A page of a list.
#[derive(ToSchema)]
pub(super) struct Page<T: ToSchema> {
    /// In a stable order.
    items: Vec<T>,
    /// What `cursor` of the next page is; absent where this is the last.
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// Why a call is not answered (RFC 9457).
#[derive(ToSchema)]
pub(super) struct Problem {
    /// `urn:cedarkeep:problem:` and the code.
    #[schema(example = "urn:cedarkeep:problem:not_found")]
    r#type: String,
    /// What HTTP calls its status.
    title: String,
    /// The HTTP status.
    status: u16,
    /// A word for programs.
    #[schema(example = "not_found")]
    code: String,
    /// What is wrong, and what to do.
    detail: String,
    /// Where a text that was sent is wrong; absent where nothing is.
    #[schema(nullable = false)]
    findings: Option<Vec<Finding>>,
}

/// Something wrong in a text that was sent, with its place.
#[derive(ToSchema)]
pub(super) struct Finding {
    /// What is wrong.
    message: String,
    /// The text it was found in, as the caller named it.
    #[schema(nullable = false)]
    file: Option<String>,
    /// Line, from 1.
    #[schema(nullable = false)]
    line: Option<u64>,
    /// Column in characters, from 1.
    #[schema(nullable = false)]
    column: Option<u64>,
    /// What would help.
    #[schema(nullable = false)]
    help: Option<String>,
}
