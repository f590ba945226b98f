//! The names of a test file: what each stands for.

use std::collections::BTreeMap;

use super::given::Given;
use super::types::{GROUP, ORGANIZATION, Types};
use crate::policy::builtin::NAMESPACE;
use crate::policy::shape::{authzen_type, qualified};
use crate::policy::spelling::did_you_mean;
use crate::policy::value::{Type, Uid};
use crate::policy::vocabulary::Vocabulary;

/// The organization that the tests are about.
pub(super) const OURS: &str = "organization";

/// What the names of a file stand for.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By the name alone: one of each type at most.
    plain: BTreeMap<String, Vec<(Type, Uid)>>,
}

/// Why a name stands for nothing, and what may have been meant.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Names {
    /// The names of everything that is given.
    pub(super) fn of(given: &Given<'_>, types: &Types, vocabulary: &Vocabulary) -> Self {
        let mut names = Self::default();
        let organization = ours(ORGANIZATION);
        let id = |said: &super::given::Said<'_>, name: &str| {
            let id = said.get("id").and_then(|(_, node)| node.name());
            id.unwrap_or_else(|| name.to_owned())
        };
        let organizations = given
            .others()
            .map(|(name, thing)| (name.as_str(), &thing.said));
        for (name, said) in organizations.chain([(OURS, &given.organization)]) {
            names.add(name, &organization, &id(said, name));
            for one in types.all.iter().filter(|one| one.single) {
                // Each has the organization's id, under its own type.
                match name {
                    OURS => names.add(&one.name, &one.kind, &id(said, name)),
                    name => names.add(&format!("{name}.{}", one.name), &one.kind, &id(said, name)),
                }
            }
            names.add_circles(name, &organization, types);
        }
        for ((kind, name), thing) in &given.things {
            if kind == ORGANIZATION {
                continue;
            }
            let kind = ours(kind);
            names.add(name, &kind, &id(&thing.said, name));
            names.add_circles(name, &kind, types);
        }
        for key in given.own.keys() {
            if let Some((kind, id)) = split(key)
                && let Some(kind) = vocabulary.entity_type(kind)
            {
                names.add(key, &kind.clone(), id);
            }
        }
        names
    }

    /// One more name.
    pub(super) fn add(&mut self, name: &str, kind: &Type, id: &str) {
        let uid = Uid::new(kind.clone(), id);
        let known = self.plain.entry(name.to_owned()).or_default();
        if known.iter().all(|(_, other)| *other != uid) {
            known.push((kind.clone(), uid));
        }
    }

    fn add_circles(&mut self, name: &str, kind: &Type, types: &Types) {
        let Some(of) = types.named(authzen_type(kind)) else {
            return;
        };
        for circle in of.circles() {
            let name = circle_name(name, circle);
            self.add(&name, &ours(GROUP), &name);
        }
    }

    /// What a name stands for, where it must be of one of these types; without any, of whichever.
    pub(super) fn find(
        &self,
        name: &str,
        wanted: &[Type],
        vocabulary: &Vocabulary,
    ) -> Result<Uid, Unnamed> {
        let fits = |kind: &Type| wanted.is_empty() || wanted.contains(kind);
        let known = self.plain.get(name).map(Vec::as_slice).unwrap_or_default();
        let fitting: Vec<&Uid> = known
            .iter()
            .filter(|(kind, _)| fits(kind))
            .map(|(_, uid)| uid)
            .collect();
        match fitting.as_slice() {
            [one] => return Ok((*one).clone()),
            [] => {}
            [one, ..] => {
                let kinds: Vec<String> = known.iter().map(|(kind, _)| noun(kind)).collect();
                return Err(Unnamed {
                    message: format!("`{name}` is the name of {}", kinds.join(" and of ")),
                    help: Some(format!("write `{}:{name}`", authzen_type(&one.kind()))),
                });
            }
        }
        if let Some((kind, rest)) = split(name)
            && let Some(kind) = vocabulary.entity_type(kind)
            && fits(kind)
        {
            let there = self.plain.get(rest).into_iter().flatten();
            let there = there.clone().find(|(of, _)| of == kind);
            match there {
                Some((_, uid)) => return Ok(uid.clone()),
                None if vocabulary.is_own(kind) => return Ok(Uid::new(kind.clone(), rest)),
                None => {}
            }
        }
        // Of an organization's own type everything may be there, also what no file says.
        if let [kind] = wanted
            && vocabulary.is_own(kind)
            && split(name).is_none()
        {
            return Ok(Uid::new(kind.clone(), name));
        }
        Err(self.unnamed(name, known, wanted))
    }

    fn unnamed(&self, name: &str, known: &[(Type, Uid)], wanted: &[Type]) -> Unnamed {
        if let Some((kind, _)) = known.first() {
            let wanted: Vec<String> = wanted.iter().map(noun).collect();
            return Unnamed {
                message: format!(
                    "`{name}` is the name of {}, and {} is wanted here",
                    noun(kind),
                    wanted.join(" or ")
                ),
                help: None,
            };
        }
        let names = self.plain.iter().filter(|(_, known)| {
            let mut kinds = known.iter().map(|(kind, _)| kind);
            kinds.any(|kind| wanted.is_empty() || wanted.contains(kind))
        });
        Unnamed {
            message: format!("nothing that is given is called `{name}`"),
            help: did_you_mean(name, names.map(|(name, _)| name.as_str())),
        }
    }
}

/// The group of a container's people: `core.members`.
pub(super) fn circle_name(of: &str, circle: &str) -> String {
    format!("{of}.{circle}")
}

/// A built-in type.
pub(super) fn ours(name: &str) -> Type {
    Type::named(&qualified(NAMESPACE, name))
}

fn noun(kind: &Type) -> String {
    format!("a `{}`", authzen_type(kind))
}

/// A type and an id: `User:ben`, `Docs::Page:a:b`.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let mut rest = text.char_indices().peekable();
    while let Some((at, one)) = rest.next() {
        if one != ':' {
            continue;
        }
        if rest.next_if(|(_, next)| *next == ':').is_some() {
            continue;
        }
        let (kind, id) = text.split_at(at);
        let id = id.strip_prefix(':').unwrap_or(id);
        return (!kind.is_empty() && !id.is_empty()).then_some((kind, id));
    }
    None
}
