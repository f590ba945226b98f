//! What a customer's directory keeps here over SCIM: what is stored of it, and what a change of it needs to be allowed.

pub mod groups;
pub mod people;
pub mod setup;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::object::{Object, Ref, Role};
use super::snapshot::Snapshot;
use crate::decide::authorized::Action;

/// What an organization's Admins have set about the directory that provisions its people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scim {
    /// The service that its tokens speak for, once there was one.
    pub service: Option<Ref>,
    /// What somebody is whom the directory gives no role, by itself or by a group.
    pub default_role: Role,
    /// Which role a group of the directory's gives, by its name; of several the highest.
    pub group_roles: BTreeMap<String, Role>,
}

impl Default for Scim {
    fn default() -> Self {
        Self {
            service: None,
            default_role: Role::Viewer,
            group_roles: BTreeMap::new(),
        }
    }
}

/// What the directory says of a person, beside what every person has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provisioned {
    /// What the directory itself calls them by.
    pub external_id: Option<String>,
    /// By what they are matched; absent: their address.
    pub user_name: Option<String>,
    /// Further attributes that are texts, by their SCIM paths.
    pub texts: BTreeMap<String, String>,
    /// Their addresses; one of them is the person's.
    pub emails: Vec<Valued>,
    /// The roles that the directory gives them by itself.
    pub roles: Vec<Valued>,
}

/// One of several values of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Valued {
    /// The value.
    pub value: String,
    /// What kind of it, as in `work`.
    pub kind: Option<String>,
    /// How it is shown.
    pub display: Option<String>,
    /// Whether it is the one that counts.
    pub primary: Option<bool>,
}

/// People whom the directory keeps together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryGroup {
    /// What people call it.
    pub name: String,
    /// What the directory itself calls it by.
    #[serde(default)]
    pub external_id: Option<String>,
}

/// What the directory sent does not fit, in SCIM's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Misfit {
    /// SCIM's word for it.
    pub kind: Kind,
    /// What is wrong.
    pub why: String,
}

impl Misfit {
    /// That is wrong.
    pub fn new(kind: Kind, why: impl Into<String>) -> Self {
        Self {
            kind,
            why: why.into(),
        }
    }
}

/// SCIM's words for what is wrong with a request (RFC 7644, table 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A filter.
    InvalidFilter,
    /// More than is taken at once.
    TooMany,
    /// The form of the body.
    InvalidSyntax,
    /// The path of an operation.
    InvalidPath,
    /// The path finds nothing.
    NoTarget,
    /// A value.
    InvalidValue,
    /// It is not the directory's to change.
    Mutability,
    /// Somebody else has it.
    Uniqueness,
}

impl Kind {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
            Self::Mutability => "mutability",
            Self::Uniqueness => "uniqueness",
        }
    }
}

/// One part of a change that must be allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct Need {
    /// Which action.
    pub action: &'static str,
    /// On what.
    pub resource: Ref,
    /// What is said about it.
    pub context: Map<String, Value>,
}

impl Need {
    fn of<A: Action>(resource: Ref) -> Self {
        Self {
            action: A::NAME,
            resource,
            context: Map::new(),
        }
    }

    fn role<A: Action>(resource: Ref, role: Role) -> Self {
        let said = json!({"type": "Role", "id": role.name()});
        Self {
            context: std::iter::once(("new_role".to_owned(), said)).collect(),
            ..Self::of::<A>(resource)
        }
    }
}

/// The role that the directory gives somebody, by itself or by the groups that they are in: the highest.
fn given(
    snapshot: &Snapshot,
    scim: &Scim,
    by_itself: &[Valued],
    groups: &BTreeSet<Ref>,
) -> Option<Role> {
    let by_groups = groups.iter().filter_map(|group| {
        let group = directory_group(snapshot, *group)?;
        scim.group_roles.get(&group.name).copied()
    });
    let by_itself = by_itself.iter().filter_map(|role| role.value.parse().ok());
    // Roles are listed with the highest first.
    by_groups.chain(by_itself).min()
}

/// A group of the directory's.
#[must_use]
pub fn directory_group(snapshot: &Snapshot, group: Ref) -> Option<&DirectoryGroup> {
    match snapshot.object(group).map(|stored| &stored.value) {
        Some(Object::DirectoryGroup(group)) => Some(group),
        _ => None,
    }
}
