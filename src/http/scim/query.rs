//! What a query of SCIM asks for: which resources, in which order, from where on, and which of their attributes.

use scim_v2::filter::{AttrPath, Filter};
use serde_json::{Map, Value};

use super::filter;
use super::schema::{Resource, short};
use crate::directory::scim::{Kind, Misfit};

/// How many resources a page has where nothing is said, and at the most.
const COUNT: usize = 100;
/// The most.
pub(super) const COUNT_MOST: usize = 200;

/// How many attributes are named at the most.
const NAMED_MOST: usize = 100;

/// A query.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) filter: Option<Filter>,
    pub(super) sort_by: Option<AttrPath>,
    pub(super) descending: bool,
    /// Counted from 1.
    pub(super) start: usize,
    pub(super) count: usize,
    pub(super) shape: Shape,
}

/// Which attributes are shown.
#[derive(Debug, Default)]
pub(super) struct Shape {
    only: Option<Vec<Path>>,
    without: Vec<Path>,
}

/// An attribute, a part of one, or an extension as a whole; in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Path {
    extension: Option<&'static str>,
    name: Option<String>,
    part: Option<String>,
}

/// Every schema that a path may be of.
const RESOURCES: [&Resource; 2] = [&super::schema::PEOPLE, &super::schema::GROUPS];

impl Path {
    fn read(text: &str) -> Self {
        let text = text.trim();
        let mut rest = text;
        let mut extension = None;
        for resource in RESOURCES {
            for schema in std::iter::once(&resource.core).chain(resource.extensions) {
                let Some((start, end)) = text.split_at_checked(schema.id.len()) else {
                    continue;
                };
                if !start.eq_ignore_ascii_case(schema.id) {
                    continue;
                }
                let is_extension = resource.extensions.iter().any(|one| one.id == schema.id);
                extension = is_extension.then_some(schema.id);
                if end.is_empty() {
                    return Self {
                        extension,
                        name: None,
                        part: None,
                    };
                }
                if let Some(end) = end.strip_prefix(':') {
                    rest = end;
                }
            }
        }
        let (name, part) = match rest.split_once('.') {
            Some((name, part)) => (name, Some(part.to_lowercase())),
            None => (rest, None),
        };
        Self {
            extension,
            name: Some(name.to_lowercase()),
            part,
        }
    }

    /// Whether it is this attribute, or a part of it; `inside` an extension or not.
    fn is_of(&self, inside: Option<&str>, name: &str) -> bool {
        let named = self.name.as_deref();
        self.extension == inside
            && (named.is_none() || named.is_some_and(|known| known.eq_ignore_ascii_case(name)))
    }
}

impl Shape {
    /// Reads lists of attributes, of which one at the most is given.
    ///
    /// # Errors
    /// Both are, or too many.
    pub(super) fn read(
        only: Option<Vec<&str>>,
        without: Option<Vec<&str>>,
    ) -> Result<Self, Misfit> {
        let paths = |list: Vec<&str>| -> Result<Vec<Path>, Misfit> {
            if list.len() > NAMED_MOST {
                return Err(Misfit::new(Kind::TooMany, "too many attributes are named"));
            }
            Ok(list.into_iter().map(Path::read).collect())
        };
        if only.is_some() && without.is_some() {
            return Err(Misfit::new(
                Kind::InvalidSyntax,
                "send either `attributes` or `excludedAttributes`",
            ));
        }
        Ok(Self {
            only: only.map(paths).transpose()?,
            without: without.map(paths).transpose()?.unwrap_or_default(),
        })
    }

    /// Whether an attribute is shown at all.
    pub(super) fn shows(&self, name: &str) -> bool {
        let is_out = |path: &Path| {
            path.extension.is_none()
                && path.part.is_none()
                && path
                    .name
                    .as_deref()
                    .is_some_and(|out| out.eq_ignore_ascii_case(name))
        };
        let is_in = |paths: &Vec<Path>| paths.iter().any(|path| path.is_of(None, name));
        self.only.as_ref().is_none_or(is_in) && !self.without.iter().any(is_out)
    }

    /// What of a resource is shown: its `id` and `schemas` in any case.
    pub(super) fn of(
        &self,
        resource: &'static Resource,
        whole: Map<String, Value>,
    ) -> Map<String, Value> {
        let mut shown = Map::new();
        for (name, value) in whole {
            let extension = resource.extensions.iter().find(|schema| schema.id == name);
            if ["id", "schemas"].contains(&name.as_str()) {
                shown.insert(name, value);
                continue;
            }
            let value = match (extension, value) {
                (Some(schema), Value::Object(members)) => {
                    let kept: Map<String, Value> = members
                        .into_iter()
                        .filter_map(|(name, value)| {
                            Some((name.clone(), self.part_of(Some(schema.id), &name, value)?))
                        })
                        .collect();
                    (!kept.is_empty()).then_some(Value::Object(kept))
                }
                (_, value) => self.part_of(None, &name, value),
            };
            if let Some(value) = value {
                shown.insert(name, value);
            }
        }
        shown
    }

    fn part_of(&self, inside: Option<&str>, name: &str, mut value: Value) -> Option<Value> {
        if let Some(only) = &self.only {
            let meant: Vec<&Path> = only
                .iter()
                .filter(|path| path.is_of(inside, name))
                .collect();
            if meant.is_empty() {
                return None;
            }
            if meant.iter().all(|path| path.part.is_some()) {
                let parts: Vec<&str> = meant
                    .iter()
                    .filter_map(|path| path.part.as_deref())
                    .collect();
                each(&mut value, &mut |members| {
                    members.retain(|part, _| {
                        parts.iter().any(|known| known.eq_ignore_ascii_case(part))
                    });
                });
            }
        }
        for path in self.without.iter().filter(|path| path.is_of(inside, name)) {
            let out = path.part.as_deref()?;
            each(&mut value, &mut |members| {
                members.retain(|part, _| !out.eq_ignore_ascii_case(part));
            });
        }
        Some(value)
    }
}

fn each(value: &mut Value, change: &mut dyn FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(members) => change(members),
        Value::Array(items) => items.iter_mut().for_each(|item| each(item, change)),
        _ => {}
    }
}

fn listed(text: &str) -> Vec<&str> {
    text.split(',')
        .filter(|one| !one.trim().is_empty())
        .collect()
}

impl Query {
    /// Reads what stands behind a path.
    ///
    /// # Errors
    /// A filter, a number or an order that is none.
    pub(super) fn of_parameters(given: &[(String, String)]) -> Result<Self, Misfit> {
        let find = |name: &str| {
            let found = given
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str())
        };
        let number = |name: &str| match find(name) {
            None => Ok(None),
            Some(text) => match text.trim().parse::<i64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(wrong(name, "it must be a number")),
            },
        };
        let shape = Shape::read(
            find("attributes").map(listed),
            find("excludedAttributes").map(listed),
        )?;
        Self::read(
            (find("filter"), find("sortBy"), find("sortOrder")),
            (number("startIndex")?, number("count")?),
            shape,
        )
    }

    /// Reads the body of a search.
    ///
    /// # Errors
    /// The same.
    pub(super) fn of_body(body: &Map<String, Value>) -> Result<Self, Misfit> {
        let find = |name: &str| {
            let found = body
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            found
                .map(|(_, value)| value)
                .filter(|value| !value.is_null())
        };
        let text = |name: &str| match find(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(wrong(name, "it must be a string")),
        };
        let number = |name: &str| match find(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(name, "it must be a number")),
            },
        };
        let list = |name: &str| match find(name) {
            None => Ok(None),
            Some(Value::Array(items)) => {
                let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                items
                    .map(Some)
                    .ok_or_else(|| wrong(name, "it must be a list of strings"))
            }
            Some(_) => Err(wrong(name, "it must be a list of strings")),
        };
        let shape = Shape::read(list("attributes")?, list("excludedAttributes")?)?;
        Self::read(
            (text("filter")?, text("sortBy")?, text("sortOrder")?),
            (number("startIndex")?, number("count")?),
            shape,
        )
    }

    fn read(
        (wanted, sort_by, order): (Option<&str>, Option<&str>, Option<&str>),
        (start, count): (Option<i64>, Option<i64>),
        shape: Shape,
    ) -> Result<Self, Misfit> {
        let sort_by = match sort_by {
            None => None,
            Some(text) => match filter::read(&format!("{text} pr"))? {
                Filter::Attr(scim_v2::filter::AttrExp::Present(path)) => Some(path),
                _ => return Err(wrong("sortBy", "it must be an attribute")),
            },
        };
        let descending = match order.map(str::to_ascii_lowercase).as_deref() {
            None | Some("ascending") => false,
            Some("descending") => true,
            Some(_) => return Err(wrong("sortOrder", "it must be ascending or descending")),
        };
        let count = count.map_or(COUNT, |count| {
            usize::try_from(count.max(0)).unwrap_or(COUNT_MOST)
        });
        Ok(Self {
            filter: wanted.map(filter::read).transpose()?,
            sort_by,
            descending,
            start: usize::try_from(start.unwrap_or(1).max(1)).unwrap_or(usize::MAX),
            count: count.min(COUNT_MOST),
            shape,
        })
    }

    /// By what a resource is put in order.
    pub(super) fn sort_key(
        &self,
        resource: &'static Resource,
        of: &Map<String, Value>,
    ) -> Option<String> {
        let path = self.sort_by.as_ref()?;
        let values = filter::values(path, Some(resource), of);
        let is_main = |value: &&&Value| value.get("primary") == Some(&Value::Bool(true));
        let first = values.iter().find(is_main).or_else(|| values.first())?;
        let value = first.get("value").unwrap_or(first);
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_lowercase),
        )
    }
}

fn wrong(name: &str, why: &str) -> Misfit {
    Misfit::new(Kind::InvalidValue, format!("`{}`: {why}", short(name)))
}
