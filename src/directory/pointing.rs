//! Who points to whom: for each attribute that names something, the objects that have it. What may be seen is found by it, without
//! a look at everything.

use std::ops::Bound;

use rpds::HashTrieMapSync;

use super::entity::Seen;
use super::object::{Kind, Object, Ref};
use super::refs::Refs;
use crate::policy::{Uid, Value};

/// The attributes by which objects are found: each names one entity. `org` is not among them: everything has it.
const NAMES: [&str; 14] = [
    "owner",
    "audience",
    "thread",
    "project",
    "team",
    "definition",
    "members",
    "leads",
    "layer",
    "role",
    "prompt_template",
    "tool",
    "assistant",
    "agent",
];

/// What hangs from something. No attribute has this name.
const PARENT: &str = "^parent";

/// Objects by what their attributes name, and by what they hang from.
#[derive(Clone)]
pub(super) struct Pointing {
    all: HashTrieMapSync<(&'static str, Uid), Refs>,
}

/// Objects in the order of their references.
pub type InOrder<'a> = Box<dyn Iterator<Item = Ref> + 'a>;

impl Pointing {
    pub(super) fn new() -> Self {
        Self {
            all: HashTrieMapSync::new_sync(),
        }
    }

    /// An object that is there from now on.
    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        each(seen, |key| match self.all.get_mut(&key) {
            Some(refs) => refs.insert(seen.reference),
            None => self.all.insert_mut(key, Refs::One(seen.reference)),
        });
    }

    /// An object that is no more, or is another one from now on.
    pub(super) fn remove(&mut self, seen: &Seen<'_>) {
        each(seen, |key| {
            let left = self.all.get(&key).cloned();
            match left.and_then(|refs| refs.without(seen.reference)) {
                Some(left) => self.all.insert_mut(key, left),
                None => {
                    self.all.remove_mut(&key);
                }
            }
        });
    }

    /// The objects of a kind after `after` whose attribute names this; nothing where they are not found by that attribute.
    pub(super) fn to(
        &self,
        name: &str,
        uid: &Uid,
        (kind, after): (Kind, Option<Ref>),
    ) -> Option<InOrder<'_>> {
        let name = NAMES.into_iter().find(|known| *known == name)?;
        Some(self.found((name, uid.clone()), within(kind, after)))
    }

    /// The objects of any kind whose attribute names this.
    pub(super) fn all_to(&self, name: &'static str, uid: &Uid) -> InOrder<'_> {
        self.found((name, uid.clone()), EVERYTHING)
    }

    /// What hangs from something.
    pub(super) fn under(&self, parent: Ref) -> InOrder<'_> {
        self.found((PARENT, parent.into()), EVERYTHING)
    }

    fn found(&self, key: (&'static str, Uid), within: (Bound<Ref>, Bound<Ref>)) -> InOrder<'_> {
        match self.all.get(&key) {
            Some(refs) => refs.range(within),
            None => Box::new(std::iter::empty()),
        }
    }

    /// The objects that an attribute `name` could name, and whose attribute `beyond` names this.
    pub(super) fn between(&self, name: &str, beyond: &str, uid: &Uid) -> Option<InOrder<'_>> {
        let kind = match name {
            "owner" => Kind::User,
            "audience" | "members" | "leads" => Kind::Group,
            "thread" => Kind::Thread,
            "project" => Kind::Project,
            "team" => Kind::Team,
            "definition" | "agent" => Kind::AgentDefinition,
            "prompt_template" => Kind::PromptTemplate,
            "tool" => Kind::Tool,
            "assistant" => Kind::Assistant,
            _ => return None,
        };
        self.to(beyond, uid, (kind, None))
    }
}

const EVERYTHING: (Bound<Ref>, Bound<Ref>) = (Bound::Unbounded, Bound::Unbounded);

/// Everything of a kind, after `after`.
pub(super) const fn within(kind: Kind, after: Option<Ref>) -> (Bound<Ref>, Bound<Ref>) {
    let start = match after {
        Some(after) => Bound::Excluded(after),
        None => Bound::Included(Ref::new(kind, [0; 16])),
    };
    (start, Bound::Included(Ref::new(kind, [0xff; 16])))
}

fn each(seen: &Seen<'_>, mut found: impl FnMut((&'static str, Uid))) {
    if let Some(parent) = seen.object.and_then(Object::parent) {
        found((PARENT, parent.into()));
    }
    for name in NAMES {
        if let Some(Value::Entity(uid)) = seen.attribute(name) {
            found((name, uid));
        }
    }
}
