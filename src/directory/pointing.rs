//! Who points to whom: for each attribute that names something, the objects that have it. What may be seen is found by it, without
//! a look at everything.

use std::ops::Bound;

use rpds::{HashTrieMapSync, RedBlackTreeSetSync};

use super::entity::Seen;
use super::object::{Kind, Ref};
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

/// Objects by what their attributes name.
#[derive(Clone)]
pub(super) struct Pointing {
    all: HashTrieMapSync<(&'static str, Uid), RedBlackTreeSetSync<Ref>>,
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
            Some(set) => set.insert_mut(seen.reference),
            None => {
                let mut set = RedBlackTreeSetSync::new_sync();
                set.insert_mut(seen.reference);
                self.all.insert_mut(key, set);
            }
        });
    }

    /// An object that is no more, or is another one from now on.
    pub(super) fn remove(&mut self, seen: &Seen<'_>) {
        each(seen, |key| {
            if let Some(set) = self.all.get_mut(&key) {
                set.remove_mut(&seen.reference);
                if set.is_empty() {
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
        let Some(set) = self.all.get(&(name, uid.clone())) else {
            return Some(Box::new(std::iter::empty()));
        };
        let start = match after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(Ref::new(kind, [0; 16])),
        };
        let end = Bound::Included(Ref::new(kind, [0xff; 16]));
        Some(Box::new(set.range((start, end)).copied()))
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

fn each(seen: &Seen<'_>, mut found: impl FnMut((&'static str, Uid))) {
    for name in NAMES {
        if let Some(Value::Entity(uid)) = seen.attribute(name) {
            found((name, uid));
        }
    }
}
