//! The built-in types as test files speak of them: one section for each, its members by the schema.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::ids::reference::Kind;
use crate::policy::builtin::{Library, NAMESPACE};
use crate::policy::shape::{Declared, Fields, Shape, members, qualified};
use crate::policy::value::Type;

/// A built-in type.
#[derive(Debug)]
pub(super) struct BuiltIn {
    pub(super) name: String,
    pub(super) kind: Type,
    /// What its section is called: `prompt_templates`.
    pub(super) section: String,
    pub(super) fields: Fields,
    /// The names of the types that it may be in.
    pub(super) parents: BTreeSet<String>,
    /// Whether each organization has one.
    pub(super) single: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) all: Vec<BuiltIn>,
    /// The values of those that are lists of values.
    listed: BTreeMap<Type, Vec<String>>,
}

/// The type that all others belong to.
pub(super) const ORGANIZATION: &str = "Organization";

/// Whoever acts.
pub(super) const USER: &str = "User";

/// What people are in.
pub(super) const GROUP: &str = "Group";

impl Types {
    pub(super) fn of(library: &Library) -> Self {
        let json = &library.json;
        let declared = Declared::new(&[json]);
        let (mut all, mut listed) = (Vec::new(), BTreeMap::new());
        let body = json.get(NAMESPACE).unwrap_or(&Json::Null);
        for (name, body) in members(body, "entityTypes") {
            let kind = Type::named(&qualified(NAMESPACE, name));
            if let Some(values) = body.get("enum").and_then(Json::as_array) {
                let values = values.iter().filter_map(Json::as_str).map(str::to_owned);
                listed.insert(kind, values.collect());
                continue;
            }
            let fields = body
                .get("shape")
                .map(|shape| declared.fields(NAMESPACE, shape));
            let parents = body.get("memberOfTypes").and_then(Json::as_array);
            let parents = parents.into_iter().flatten().filter_map(Json::as_str);
            let bare = |name: &str| name.rsplit("::").next().unwrap_or(name).to_owned();
            all.push(BuiltIn {
                single: Kind::SINGLETONS.iter().any(|one| one.name() == name),
                section: section(name),
                fields: fields.unwrap_or_default(),
                parents: parents.map(bare).collect(),
                name: name.clone(),
                kind,
            });
        }
        Self { all, listed }
    }

    /// The type of a name.
    pub(super) fn named(&self, name: &str) -> Option<&BuiltIn> {
        self.all.iter().find(|one| one.name == name)
    }

    /// The type of a section.
    pub(super) fn of_section(&self, section: &str) -> Option<&BuiltIn> {
        self.sections().find(|one| one.section == section)
    }

    /// Every type that has a section: what there is one of, is there.
    pub(super) fn sections(&self) -> impl Iterator<Item = &BuiltIn> {
        self.all.iter().filter(|one| !one.single)
    }

    /// The values of a type that is a list of them.
    pub(super) fn values(&self, kind: &Type) -> Option<&[String]> {
        self.listed.get(kind).map(Vec::as_slice)
    }
}

impl BuiltIn {
    /// The member that is meant where something is said as one word: `ben: Member`, `talk: ben`.
    pub(super) fn short(&self) -> Option<&'static str> {
        let known = ["role", "owner", "definition", "scopes"];
        known
            .into_iter()
            .find(|name| self.fields.contains_key(*name))
    }

    /// The members that name groups of its own, unless another is named.
    pub(super) fn circles(&self) -> impl Iterator<Item = &'static str> {
        let fields = &self.fields;
        let group = Type::named(&qualified(NAMESPACE, GROUP));
        let circles = ["members", "leads"].into_iter();
        circles.filter(move |name| fields.get(*name) == Some(&Shape::Entity(group.clone())))
    }
}

/// `PromptTemplate` as `prompt_templates`.
fn section(name: &str) -> String {
    let mut text = String::new();
    for one in name.chars() {
        if one.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(one.to_lowercase());
    }
    match text.strip_suffix('y') {
        Some(stem) if !text.ends_with("ey") => format!("{stem}ies"),
        _ => format!("{text}s"),
    }
}
