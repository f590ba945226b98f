//! What calls have in common: parameters, and how they are refused.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Type,
};
use utoipa::{IntoParams, IntoResponses};

use super::finishing::text;

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

fn parameter(name: &str, place: ParameterIn, of: ObjectBuilder, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(of.build()))
        .build()
}

/// A header.
pub(in crate::http) fn in_header(name: &str, description: &str) -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String);
    parameter(name, ParameterIn::Header, text, description)
}

/// The header by which a call by certificate names its organization.
pub(super) fn organization() -> Parameter {
    in_header(
        "Cedarkeep-Organization",
        "the organization, in a call by client certificate: an API key names its own",
    )
}

/// The headers of every call of ours.
pub(in crate::http) struct Acting;

impl IntoParams for Acting {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            in_header(
                "Cedarkeep-Acting-User",
                "the user on whose behalf this is asked: key and user must both be allowed. A key or certificate without it asks for its service, \
                 which may do little beside asking for decisions; a session is its person's",
            ),
            in_header(
                "Cedarkeep-Acting-Agent",
                "the agent that acts for that user",
            ),
            organization(),
            in_header(
                "Cedarkeep-Purpose",
                "what it is for, 1 to 64 visible ASCII characters, as policies read it in `context.purpose`; `train` is refused for everybody",
            ),
        ]
    }
}

/// The header of every change.
pub(in crate::http) struct Keyed;

impl IntoParams for Keyed {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![in_header(
            "Idempotency-Key",
            "1 to 255 visible ASCII characters: the same call again is answered as before, with `Idempotency-Replayed: true`",
        )]
    }
}

/// The parameters of every list.
pub(in crate::http) struct Paged;

impl IntoParams for Paged {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(200));
        let text = ObjectBuilder::new().schema_type(Type::String);
        vec![
            parameter(
                "limit",
                ParameterIn::Query,
                number,
                "how many, 1 to 200; 50 if absent",
            ),
            parameter(
                "cursor",
                ParameterIn::Query,
                text,
                "the `next_cursor` of the page before",
            ),
        ]
    }
}

/// The parameters that many calls have, by what they are called in the document.
pub(super) fn shared() -> [(&'static str, Parameter); 7] {
    let place = || None;
    let named = [
        Acting::into_params(place),
        Keyed::into_params(place),
        Paged::into_params(place),
    ]
    .concat();
    let names = [
        "ActingUser",
        "ActingAgent",
        "Organization",
        "Purpose",
        "IdempotencyKey",
        "Limit",
        "Cursor",
    ];
    let mut named = named.into_iter();
    names.map(|name| (name, named.next().unwrap_or_default()))
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
    REFUSALS.into_iter().map(|(status, name, meaning)| {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let mut refusal = ResponseBuilder::new()
            .description(meaning)
            .content("application/problem+json", content)
            .build();
        if ["429", "503"].contains(&status) {
            let again = text("after how many seconds to come again");
            refusal
                .headers
                .insert("Retry-After".to_owned(), again.into());
        }
        (name.to_owned(), refusal.into())
    })
}
