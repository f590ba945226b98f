//! Policies as files: a folder's `*.cedar`, and its `schema.cedarschema`.

use std::fs;
use std::path::Path;

use crate::policy::{OwnPolicies, Source};

/// The file of a folder that declares an organization's own types and actions.
const SCHEMA: &str = "schema.cedarschema";

/// What a folder holds, in the order of the files' names.
///
/// # Errors
/// The folder or a file cannot be read, or there is no policy and no schema in it; a message with the path.
pub(super) fn own(folder: &Path) -> Result<OwnPolicies, String> {
    let unreadable = |path: &Path, error: std::io::Error| format!("`{}`: {error}", path.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let entry = entry.map_err(|error| unreadable(folder, error))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    let mut own = OwnPolicies::default();
    for name in names {
        let is_schema = name == SCHEMA;
        if !is_schema && !name.ends_with(".cedar") {
            continue;
        }
        let path = folder.join(&name);
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
        let source = Source { name, text };
        if is_schema {
            own.schema = Some(source);
        } else {
            own.policies.push(source);
        }
    }
    if own.schema.is_none() && own.policies.is_empty() {
        let place = folder.display();
        return Err(format!("`{place}` holds no `*.cedar` and no `{SCHEMA}`"));
    }
    Ok(own)
}
