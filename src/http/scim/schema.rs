//! Which attributes people and groups have over SCIM, and how what a directory sends is read as them.

use serde_json::{Map, Value};

use crate::directory::object::Role;
use crate::directory::scim::{Kind, Misfit};
use crate::directory::unreadable;

/// The schema of people.
pub(super) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The schema of groups.
pub(super) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The schema of what an employer adds to people.
pub(super) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// The longest text, in bytes.
const TEXT_LIMIT: usize = 1_000;

/// Attributes that RFC 7643 knows and that are not kept: what is sent of them is let go.
const NOT_KEPT: &[&str] = &[
    "addresses",
    "entitlements",
    "ims",
    "manager",
    "password",
    "phoneNumbers",
    "photos",
    "profileUrl",
    "x509Certificates",
];

/// What an attribute's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Flag,
    Number,
    Reference,
    Complex,
}

/// One attribute.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) of: Type,
    pub(super) many: bool,
    pub(super) required: bool,
    pub(super) exact: bool,
    pub(super) unique: &'static str,
    pub(super) mutability: &'static str,
    pub(super) values: &'static [&'static str],
    pub(super) refers: &'static [&'static str],
    pub(super) parts: &'static [Self],
}

impl Attribute {
    const fn new(name: &'static str, of: Type, about: &'static str) -> Self {
        Self {
            name,
            about,
            of,
            many: false,
            required: false,
            exact: false,
            unique: "none",
            mutability: "readWrite",
            values: &[],
            refers: &[],
            parts: &[],
        }
    }

    pub(super) const fn text(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Type::Text, about)
    }

    pub(super) const fn flag(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Type::Flag, about)
    }

    pub(super) const fn number(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Type::Number, about)
    }

    pub(super) const fn complex(
        name: &'static str,
        about: &'static str,
        parts: &'static [Self],
    ) -> Self {
        Self {
            parts,
            ..Self::new(name, Type::Complex, about)
        }
    }

    pub(super) const fn refers(
        name: &'static str,
        about: &'static str,
        refers: &'static [&'static str],
    ) -> Self {
        Self {
            refers,
            exact: true,
            ..Self::new(name, Type::Reference, about)
        }
    }

    pub(super) const fn many(self) -> Self {
        Self { many: true, ..self }
    }

    pub(super) const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    pub(super) const fn read_only(self) -> Self {
        Self {
            mutability: "readOnly",
            ..self
        }
    }

    const fn immutable(self) -> Self {
        Self {
            mutability: "immutable",
            ..self
        }
    }

    const fn exact(self) -> Self {
        Self {
            exact: true,
            ..self
        }
    }

    const fn unique(self) -> Self {
        Self {
            unique: "server",
            ..self
        }
    }

    const fn of_values(self, values: &'static [&'static str]) -> Self {
        Self { values, ..self }
    }

    /// Whether a directory may say it.
    pub(super) fn is_written(&self) -> bool {
        self.mutability != "readOnly"
    }
}

/// A schema.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) attributes: &'static [Attribute],
}

/// People, or groups.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) name: &'static str,
    pub(super) endpoint: &'static str,
    pub(super) core: Schema,
    pub(super) extensions: &'static [Schema],
}

/// What every resource has beside its schema.
const COMMON: &[Attribute] = &[
    Attribute::text("id", "What it is called here.")
        .read_only()
        .exact(),
    Attribute::text("externalId", "What the directory calls it.").exact(),
    Attribute::complex("meta", "About the resource itself.", &[]).read_only(),
    Attribute::text("schemas", "Its schemas.")
        .read_only()
        .many(),
];

/// People.
pub(super) static PEOPLE: Resource = Resource {
    name: "User",
    endpoint: "/Users",
    core: Schema {
        id: USER,
        name: "User",
        about: "A person.",
        attributes: &[
            Attribute::text("userName", "By what the directory matches them.")
                .required()
                .unique(),
            Attribute::complex(
                "name",
                "The parts of their name.",
                &[
                    Attribute::text("formatted", "The whole name."),
                    Attribute::text("familyName", "Their family name."),
                    Attribute::text("givenName", "Their given name."),
                    Attribute::text("middleName", "Their middle names."),
                    Attribute::text("honorificPrefix", "What is said before it."),
                    Attribute::text("honorificSuffix", "What is said behind it."),
                ],
            ),
            Attribute::text("displayName", "What people call them."),
            Attribute::text("nickName", "What friends call them."),
            Attribute::text("title", "Their title."),
            Attribute::text("userType", "What they are to the organization."),
            Attribute::text("preferredLanguage", "The language that they prefer."),
            Attribute::text("locale", "How they write dates and numbers."),
            Attribute::text("timezone", "Their time zone."),
            Attribute::flag(
                "active",
                "Whether they may act; they may where nothing is sent. Once they may not, their sessions are over.",
            )
            .required(),
            Attribute::complex(
                "emails",
                "Their addresses; the primary one is theirs here. Where none is sent, the user name is it.",
                &[
                    Attribute::text("value", "The address.").required(),
                    Attribute::text("display", "How it is shown."),
                    Attribute::text("type", "What it is for.").of_values(&["work", "home", "other"]),
                    Attribute::flag("primary", "Whether it is the one that counts."),
                ],
            )
            .many()
            .required(),
            Attribute::complex(
                "roles",
                "The roles that the directory gives them by itself; the highest counts, of groups too.",
                &[
                    Attribute::text("value", "The role.").of_values(&["Admin", "Member", "Viewer"]),
                    Attribute::text("display", "How it is shown."),
                    Attribute::text("type", "What kind of role it is."),
                    Attribute::flag("primary", "Whether it is the main one."),
                ],
            )
            .many(),
            Attribute::complex(
                "groups",
                "The groups of the directory's that they are in.",
                &[
                    Attribute::text("value", "The group's id.").read_only(),
                    Attribute::refers("$ref", "Where the group is.", &["Group"]).read_only(),
                    Attribute::text("display", "The group's name.").read_only(),
                    Attribute::text("type", "How they are in it.")
                        .read_only()
                        .of_values(&["direct"]),
                ],
            )
            .many()
            .read_only(),
        ],
    },
    extensions: &[Schema {
        id: ENTERPRISE,
        name: "EnterpriseUser",
        about: "What an employer adds to a person.",
        attributes: &[
            Attribute::text("employeeNumber", "Their number."),
            Attribute::text("costCenter", "Their cost centre."),
            Attribute::text("organization", "Their organization."),
            Attribute::text("division", "Their division."),
            Attribute::text("department", "Their department."),
        ],
    }],
};

/// Groups.
pub(super) static GROUPS: Resource = Resource {
    name: "Group",
    endpoint: "/Groups",
    core: Schema {
        id: GROUP,
        name: "Group",
        about: "People whom the directory keeps together.",
        attributes: &[
            Attribute::text("displayName", "What people call it.").required(),
            Attribute::complex(
                "members",
                "Who is in it: people alone.",
                &[
                    Attribute::text("value", "The person's id.").immutable(),
                    Attribute::refers("$ref", "Where the person is.", &["User"]).immutable(),
                    Attribute::text("type", "What kind of member it is.")
                        .immutable()
                        .of_values(&["User"]),
                ],
            )
            .many(),
        ],
    },
    extensions: &[],
};

/// The attribute of that name, whatever its case.
pub(super) fn named(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

impl Resource {
    /// The schema that a path is of; the core one where it says none.
    pub(super) fn schema(&'static self, uri: Option<&str>) -> Option<&'static Schema> {
        let Some(uri) = uri else {
            return Some(&self.core);
        };
        std::iter::once(&self.core)
            .chain(self.extensions)
            .find(|schema| schema.id.eq_ignore_ascii_case(uri))
    }

    /// An attribute of one of its schemas, or one that every resource has.
    pub(super) fn attribute(
        &'static self,
        schema: &'static Schema,
        name: &str,
    ) -> Option<&'static Attribute> {
        named(schema.attributes, name).or_else(|| {
            let is_core = std::ptr::eq(schema, &raw const self.core);
            named(COMMON, name).filter(|_| is_core)
        })
    }

    /// Whether a schema is an extension: its attributes stand in an object of their own.
    pub(super) fn is_extension(&'static self, schema: &Schema) -> bool {
        schema.id != self.core.id
    }

    /// What a directory sends for a whole resource, by the names that its attributes have here. What is not kept, and what is not the
    /// directory's to say, is let go.
    ///
    /// # Errors
    /// A value is not what its attribute holds.
    pub(super) fn read(
        &'static self,
        sent: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Misfit> {
        let mut read = Map::new();
        for (name, value) in sent {
            let extension = self
                .extensions
                .iter()
                .find(|schema| schema.id.eq_ignore_ascii_case(name));
            if let Some(extension) = extension {
                if let Some(members) = object(value, name)? {
                    let inside = of_attributes(extension.attributes, members)?;
                    if !inside.is_empty() {
                        read.insert(extension.id.to_owned(), Value::Object(inside));
                    }
                }
                continue;
            }
            let Some(attribute) = self.attribute(&self.core, name) else {
                continue;
            };
            if attribute.is_written()
                && let Some(value) = attribute.read(value)?
            {
                read.insert(attribute.name.to_owned(), value);
            }
        }
        Ok(read)
    }
}

/// Whether an attribute is known, and what is sent of it let go.
pub(super) fn is_not_kept(name: &str) -> bool {
    NOT_KEPT
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

pub(super) fn invalid(name: &str, why: &str) -> Misfit {
    Misfit::new(Kind::InvalidValue, format!("`{name}`: {why}"))
}

fn object<'a>(value: &'a Value, name: &str) -> Result<Option<&'a Map<String, Value>>, Misfit> {
    match value {
        Value::Null => Ok(None),
        Value::Object(members) => Ok(Some(members)),
        _ => Err(invalid(&short(name), "it must be an object")),
    }
}

/// As much of what was sent as an error repeats.
pub(super) fn short(text: &str) -> String {
    text.chars()
        .filter(|one| !unreadable(*one))
        .take(80)
        .collect()
}

/// What of an object is known, by the names that it has here.
pub(super) fn of_attributes(
    attributes: &'static [Attribute],
    members: &Map<String, Value>,
) -> Result<Map<String, Value>, Misfit> {
    let mut read = Map::new();
    for (name, value) in members {
        if let Some(attribute) = named(attributes, name)
            && attribute.is_written()
            && let Some(value) = attribute.read(value)?
        {
            read.insert(attribute.name.to_owned(), value);
        }
    }
    Ok(read)
}

impl Attribute {
    /// Its value as a directory sends it; nothing where that says that it has none.
    ///
    /// # Errors
    /// It is not what the attribute holds.
    pub(super) fn read(&'static self, value: &Value) -> Result<Option<Value>, Misfit> {
        if !self.many {
            // Some directories send a list of one.
            return match value {
                Value::Array(items) => match items.as_slice() {
                    [] => Ok(None),
                    [one] => self.one(one),
                    _ => Err(invalid(self.name, "it has one value")),
                },
                one => self.one(one),
            };
        }
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut read = Vec::with_capacity(items.len());
        for item in items {
            read.extend(self.one(item)?);
        }
        Ok((!read.is_empty()).then_some(Value::Array(read)))
    }

    /// One value of it.
    ///
    /// # Errors
    /// It is not what the attribute holds.
    pub(super) fn one(&'static self, value: &Value) -> Result<Option<Value>, Misfit> {
        match (self.of, value) {
            (_, Value::Null) => Ok(None),
            (Type::Text | Type::Reference, Value::String(text)) => self.said(text),
            (Type::Text, Value::Number(number)) => self.said(&number.to_string()),
            (Type::Text | Type::Reference, _) => Err(invalid(self.name, "it must be a string")),
            (Type::Flag, Value::Bool(flag)) => Ok(Some(Value::Bool(*flag))),
            // Entra says `"True"` and `"False"`.
            (Type::Flag, Value::String(text)) if text.eq_ignore_ascii_case("true") => {
                Ok(Some(Value::Bool(true)))
            }
            (Type::Flag, Value::String(text)) if text.eq_ignore_ascii_case("false") => {
                Ok(Some(Value::Bool(false)))
            }
            (Type::Flag, _) => Err(invalid(self.name, "it must be true or false")),
            (Type::Number, _) => Err(invalid(self.name, "it is not the directory's to say")),
            (Type::Complex, Value::Object(members)) => {
                let read = of_attributes(self.parts, members)?;
                Ok((!read.is_empty()).then_some(Value::Object(read)))
            }
            // And a value by itself, where an object with it is meant.
            (Type::Complex, Value::String(_)) => match named(self.parts, "value") {
                Some(part) => Ok(part.one(value)?.map(|value| {
                    Value::Object(std::iter::once((part.name.to_owned(), value)).collect())
                })),
                None => Err(invalid(self.name, "it must be an object")),
            },
            (Type::Complex, _) => Err(invalid(self.name, "it must be an object")),
        }
    }

    fn said(&self, text: &str) -> Result<Option<Value>, Misfit> {
        if text.len() > TEXT_LIMIT {
            return Err(invalid(self.name, "it is longer than 1000 bytes"));
        }
        if text.chars().any(unreadable) {
            return Err(invalid(
                self.name,
                "it has control characters, or characters that change the direction of writing",
            ));
        }
        if text.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(text.into()))
    }
}

/// The role of that name, whatever its case.
pub(super) fn role(text: &str) -> Option<Role> {
    Role::ALL
        .iter()
        .copied()
        .find(|role| role.name().eq_ignore_ascii_case(text.trim()))
}
