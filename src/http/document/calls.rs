//! What calls have in common: parameters, and how they are refused.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Type,
};
use utoipa::{IntoParams, IntoResponses};

/// How a call may be refused: the status, what it is called in the document, and what it means.
const REFUSALS: [(&str, &str, &str); 9] = [
    (
        "400",
        "Malformed",
        "something in the request is not what it should be: what and where",
    ),
    (
        "401",
        "NoCredential",
        "no valid API key, certificate or session",
    ),
    (
        "403",
        "Forbidden",
        "the key has not the scope, the plan is too small, or the acting user may see this but not do it",
    ),
    (
        "404",
        "NotFound",
        "there is no such thing, or the acting user may not know of it",
    ),
    (
        "408",
        "TooSlow",
        "the body did not come in the time that there is for it",
    ),
    (
        "409",
        "Conflict",
        "it contradicts what is there, or the Idempotency-Key came with another request before",
    ),
    (
        "413",
        "TooLarge",
        "the body is larger than this service takes",
    ),
    (
        "429",
        "TooMany",
        "the organization asks for more than its part of the node, or the credential was refused too often from where it comes: come again after `Retry-After`",
    ),
    (
        "503",
        "Unavailable",
        "the call could not be recorded in time, so nothing was done",
    ),
];

fn parameter(name: &str, place: ParameterIn, of: Type, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(of).build()))
        .build()
}

/// A header.
pub(in crate::http) fn in_header(name: &str, description: &str) -> Parameter {
    parameter(name, ParameterIn::Header, Type::String, description)
}

/// The header of every call on the directory.
pub(in crate::http) struct Acting;

impl IntoParams for Acting {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            parameter(
                "Cedarkeep-Acting-User",
                ParameterIn::Header,
                Type::String,
                "the user on whose behalf this is asked: key and user must both be allowed",
            ),
            parameter(
                "Cedarkeep-Acting-Agent",
                ParameterIn::Header,
                Type::String,
                "the agent that acts for that user",
            ),
            parameter(
                "Cedarkeep-Organization",
                ParameterIn::Header,
                Type::String,
                "the organization, in a call by client certificate: an API key names its own",
            ),
        ]
    }
}

/// The header of every change.
pub(in crate::http) struct Keyed;

impl IntoParams for Keyed {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![parameter(
            "Idempotency-Key",
            ParameterIn::Header,
            Type::String,
            "1 to 255 visible ASCII characters: the same call again is answered as before, with `Idempotency-Replayed: true`",
        )]
    }
}

/// The parameters of every list.
pub(in crate::http) struct Paged;

impl IntoParams for Paged {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            parameter(
                "limit",
                ParameterIn::Query,
                Type::Integer,
                "how many, 1 to 200; 50 if absent",
            ),
            parameter(
                "cursor",
                ParameterIn::Query,
                Type::String,
                "the `next_cursor` of the page before",
            ),
        ]
    }
}

/// How every call of ours may be refused.
pub(in crate::http) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let refusals = REFUSALS.into_iter();
        refusals
            .map(|(status, name, _)| (status.to_owned(), Ref::from_response_name(name).into()))
            .collect()
    }
}

/// The refusals themselves, by what they are called in the document.
pub(super) fn refusals() -> impl Iterator<Item = (String, RefOr<Response>)> {
    REFUSALS.into_iter().map(|(_, name, meaning)| {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let refusal = ResponseBuilder::new()
            .description(meaning)
            .content("application/problem+json", content)
            .build();
        (name.to_owned(), refusal.into())
    })
}
