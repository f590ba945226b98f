//! What is said once of all calls, when each has said its own: credentials, headers of answers, and what they have in common by its name.

use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{ArrayItems, Components, Schema};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Header, HeaderBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Type};

use super::calls;

/// Calls of a back end, for itself or for somebody, and of nobody who has signed in.
const BACK_ENDS_ALONE: [&str; 2] = ["/v1/audit/events", "/v1/integrations/{id}/use"];

/// Finishes the document.
pub(in crate::http) fn finish(document: &mut OpenApi) {
    let shared = calls::shared();
    for (path, item) in &mut document.paths.paths {
        let operations = [
            &mut item.get,
            &mut item.head,
            &mut item.put,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            say_who_may_call(path, operation);
            say_which_headers_come_back(operation);
            name_what_is_shared(&shared, operation);
        }
    }
    if let Some(components) = &mut document.components {
        name_what_pages_list(components);
    }
}

/// A call that needs a credential names a key. What else is one: a certificate wherever a key is, and of our own calls a session. The
/// others need none.
fn say_who_may_call(path: &str, operation: &mut Operation) {
    let by = |schemes: &[&str]| -> Vec<SecurityRequirement> {
        let each = schemes.iter();
        each.map(|scheme| SecurityRequirement::new(*scheme, [""; 0]))
            .collect()
    };
    operation.security = Some(match &operation.security {
        None => Vec::new(),
        // Of whoever is signed in alone.
        Some(_) if path == "/v1/session" => by(&["session"]),
        Some(_) if path.starts_with("/v1/") && !BACK_ENDS_ALONE.contains(&path) => {
            by(&["api_key", "client_certificate", "session"])
        }
        Some(_) => by(&["api_key", "client_certificate"]),
    });
}

/// The place of what was made or waits, and whether the answer to a change is one that was given before.
fn say_which_headers_come_back(operation: &mut Operation) {
    let is_keyed = operation
        .parameters
        .iter()
        .flatten()
        .any(|parameter| matches!(parameter, RefOr::T(one) if one.name == "Idempotency-Key"));
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        let mut say = |name: &str, meaning: &str| {
            response
                .headers
                .insert(name.to_owned(), text(meaning).into());
        };
        if ["201", "202"].contains(&status.as_str()) {
            say("Location", "its path");
        }
        if is_keyed && status.starts_with('2') {
            say(
                "Idempotency-Replayed",
                "`true` where the same call was answered before, and this is that answer",
            );
        }
    }
}

/// A header of an answer.
pub(super) fn text(meaning: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::String).build();
    HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(meaning))
        .build()
}

fn name_what_is_shared(shared: &[(&str, Parameter)], operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let named = shared
            .iter()
            .find(|(_, one)| matches!(parameter, RefOr::T(its) if its == one));
        if let Some((name, _)) = named {
            *parameter = RefOr::Ref(Ref::new(format!("#/components/parameters/{name}")));
        }
    }
}

/// A page has its items written out by its type; where they are described by a name of their own, it says that.
fn name_what_pages_list(components: &mut Components) {
    let names: Vec<String> = components.schemas.keys().cloned().collect();
    for (page, schema) in &mut components.schemas {
        let listed = page.strip_prefix("Page_");
        let Some(listed) = listed.filter(|listed| names.iter().any(|name| name == listed)) else {
            continue;
        };
        if let RefOr::T(Schema::Object(object)) = schema
            && let Some(RefOr::T(Schema::Array(items))) = object.properties.get_mut("items")
        {
            let listed = RefOr::Ref(Ref::from_schema_name(listed));
            items.items = ArrayItems::RefOrSchema(Box::new(listed));
        }
    }
}
