//! What this service says of its SCIM: what it can, which resources there are, and which attributes they have.

use serde_json::{Map, Value, json};

use super::query::COUNT_MOST;
use super::schema::{Attribute, GROUPS, PEOPLE, Resource, Schema, Type};

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
const TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";

const SUPPORTED: &[Attribute] = &[Attribute::flag("supported", "Whether it is.").read_only()];

/// The schemas of what is said here itself.
static OF_ITSELF: [Schema; 3] = [
    Schema {
        id: CONFIG,
        name: "ServiceProviderConfig",
        about: "What the service can.",
        attributes: &[
            Attribute::refers("documentationUri", "Where it is described.", &["external"])
                .read_only(),
            Attribute::complex("patch", "Changes of parts.", SUPPORTED)
                .required()
                .read_only(),
            Attribute::complex(
                "bulk",
                "Several requests in one.",
                &[
                    Attribute::flag("supported", "Whether it is.")
                        .required()
                        .read_only(),
                    Attribute::number("maxOperations", "How many.")
                        .required()
                        .read_only(),
                    Attribute::number("maxPayloadSize", "How long, in bytes.")
                        .required()
                        .read_only(),
                ],
            )
            .required()
            .read_only(),
            Attribute::complex(
                "filter",
                "Filters.",
                &[
                    Attribute::flag("supported", "Whether they are.")
                        .required()
                        .read_only(),
                    Attribute::number("maxResults", "How many are found at once.")
                        .required()
                        .read_only(),
                ],
            )
            .required()
            .read_only(),
            Attribute::complex("changePassword", "Passwords.", SUPPORTED)
                .required()
                .read_only(),
            Attribute::complex("sort", "Orders.", SUPPORTED)
                .required()
                .read_only(),
            Attribute::complex("etag", "Versions of resources.", SUPPORTED)
                .required()
                .read_only(),
            Attribute::complex(
                "authenticationSchemes",
                "How a directory shows who it is.",
                &[
                    Attribute::text("type", "Which way.").required().read_only(),
                    Attribute::text("name", "What it is called.")
                        .required()
                        .read_only(),
                    Attribute::text("description", "What it is.")
                        .required()
                        .read_only(),
                    Attribute::refers("specUri", "Where it is laid down.", &["external"])
                        .read_only(),
                ],
            )
            .many()
            .required()
            .read_only(),
        ],
    },
    Schema {
        id: TYPE,
        name: "ResourceType",
        about: "A type of resource.",
        attributes: &[
            Attribute::text("name", "What it is called.")
                .required()
                .read_only(),
            Attribute::text("description", "What it is.").read_only(),
            Attribute::refers("endpoint", "Where it is.", &["uri"])
                .required()
                .read_only(),
            Attribute::refers("schema", "Its schema.", &["uri"])
                .required()
                .read_only(),
            Attribute::complex(
                "schemaExtensions",
                "What is added to it.",
                &[
                    Attribute::refers("schema", "Which schema.", &["uri"])
                        .required()
                        .read_only(),
                    Attribute::flag("required", "Whether it must be there.")
                        .required()
                        .read_only(),
                ],
            )
            .many()
            .read_only(),
        ],
    },
    Schema {
        id: SCHEMA,
        name: "Schema",
        about: "A schema.",
        attributes: &[
            Attribute::text("name", "What it is called.").read_only(),
            Attribute::text("description", "What it is.").read_only(),
            Attribute::complex(
                "attributes",
                "Its attributes.",
                &[
                    Attribute::text("name", "What it is called.")
                        .required()
                        .read_only(),
                    Attribute::text("type", "What its value is.")
                        .required()
                        .read_only(),
                    Attribute::flag("multiValued", "Whether it has several.")
                        .required()
                        .read_only(),
                    Attribute::text("description", "What it is.").read_only(),
                    Attribute::flag("required", "Whether it must be there.").read_only(),
                    Attribute::text("canonicalValues", "What it may be.")
                        .many()
                        .read_only(),
                    Attribute::flag("caseExact", "Whether case counts.").read_only(),
                    Attribute::text("mutability", "Who says it.").read_only(),
                    Attribute::text("returned", "When it is shown.").read_only(),
                    Attribute::text("uniqueness", "Whether one has it alone.").read_only(),
                    Attribute::text("referenceTypes", "What it refers to.")
                        .many()
                        .read_only(),
                ],
            )
            .many()
            .required()
            .read_only(),
        ],
    },
];

/// What the service can.
pub(super) fn config(base: &str) -> Value {
    json!({
        "schemas": [CONFIG],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": COUNT_MOST},
        "changePassword": {"supported": false},
        "sort": {"supported": true},
        "etag": {"supported": false},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A token that an Admin has made at `/v1/scim/token`.",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig")},
    })
}

/// The types of resources.
pub(super) fn types(base: &str) -> Vec<Value> {
    [&PEOPLE, &GROUPS]
        .map(|resource| of_type(base, resource))
        .into()
}

fn of_type(base: &str, resource: &Resource) -> Value {
    let extensions: Vec<Value> = resource
        .extensions
        .iter()
        .map(|schema| json!({"schema": schema.id, "required": false}))
        .collect();
    let mut shown = json!({
        "schemas": [TYPE],
        "id": resource.name,
        "name": resource.name,
        "description": resource.core.about,
        "endpoint": resource.endpoint,
        "schema": resource.core.id,
        "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", resource.name)},
    });
    if let (Some(shown), false) = (shown.as_object_mut(), extensions.is_empty()) {
        shown.insert("schemaExtensions".into(), Value::Array(extensions));
    }
    shown
}

/// The schemas.
pub(super) fn schemas(base: &str) -> Vec<Value> {
    let of_resources = [&PEOPLE, &GROUPS]
        .into_iter()
        .flat_map(|resource| std::iter::once(&resource.core).chain(resource.extensions));
    of_resources
        .chain(&OF_ITSELF)
        .map(|schema| {
            let attributes: Vec<Value> = schema.attributes.iter().map(described).collect();
            json!({
                "schemas": [SCHEMA],
                "id": schema.id,
                "name": schema.name,
                "description": schema.about,
                "attributes": attributes,
                "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{}", schema.id)},
            })
        })
        .collect()
}

fn described(attribute: &Attribute) -> Value {
    let of = match attribute.of {
        Type::Text => "string",
        Type::Flag => "boolean",
        Type::Number => "integer",
        Type::Reference => "reference",
        Type::Complex => "complex",
    };
    let mut shown = Map::from_iter([
        ("name".to_owned(), attribute.name.into()),
        ("type".to_owned(), of.into()),
        ("multiValued".to_owned(), attribute.many.into()),
        ("description".to_owned(), attribute.about.into()),
        ("required".to_owned(), attribute.required.into()),
        ("caseExact".to_owned(), attribute.exact.into()),
        ("mutability".to_owned(), attribute.mutability.into()),
        ("returned".to_owned(), "default".into()),
        ("uniqueness".to_owned(), attribute.unique.into()),
    ]);
    if !attribute.values.is_empty() {
        shown.insert("canonicalValues".into(), json!(attribute.values));
    }
    if !attribute.refers.is_empty() {
        shown.insert("referenceTypes".into(), json!(attribute.refers));
    }
    if !attribute.parts.is_empty() {
        let parts: Vec<Value> = attribute.parts.iter().map(described).collect();
        shown.insert("subAttributes".into(), Value::Array(parts));
    }
    Value::Object(shown)
}
