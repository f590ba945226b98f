//! Which of a kind somebody may do something with: one question after another that differ in the resource alone, looked for where the
//! policies say that an answer could be yes.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::Refused;
use super::judge::{Deed, Half, Moment};
use super::question::Asker;
use crate::directory::{InOrder, Kind, Ref};
use crate::policy::{Action, Said};

/// What is asked about each of them.
pub struct Reading<'a> {
    moment: &'a Moment<'a>,
    /// Nobody: the operator, who may everything.
    halves: Option<Vec<Half>>,
    action: Arc<Action>,
    kind: Kind,
    context: Map<String, Value>,
}

impl<'a> Reading<'a> {
    /// Whether whoever asks may do this action of ours to things of this kind, one by one.
    ///
    /// # Errors
    /// The key counts no more; the acting user or agent is not there.
    pub fn new(
        moment: &'a Moment<'a>,
        asker: &Asker,
        (action, kind): (&str, Kind),
    ) -> Result<Self, Refused> {
        let acting = moment.acting(asker)?;
        Ok(Self {
            moment,
            halves: acting.map(|acting| acting.iter().map(Half::of).collect()),
            action: moment.action(action)?,
            kind,
            context: asker.said(),
        })
    }

    /// Whether they may do it to this one.
    ///
    /// # Errors
    /// What makes the question none.
    pub fn allows(&self, resource: Ref) -> Result<bool, Refused> {
        let Some(halves) = &self.halves else {
            return Ok(true);
        };
        let nothing = Map::new();
        let deed = self.deed(resource, &nothing);
        Ok(self.moment.evaluated(halves, &deed)?.is_allowed())
    }

    /// Those that it could be allowed for after `after`, in the order of references: all that it is allowed for, and seldom many more.
    ///
    /// # Errors
    /// What makes the question none.
    pub fn candidates(&self, after: Option<Ref>) -> Result<InOrder<'a>, Refused> {
        let world = self.moment.world;
        let nothing = Map::new();
        let deed = self.deed(Ref::new(self.kind, [0; 16]), &nothing);
        let halves = self.halves.iter().flatten();
        // Each half must allow it: whichever is looked at, none is left out. A person may see the least.
        let mut halves: Vec<&Half> = halves.collect();
        halves.sort_by_key(|half| !half.is_persons());
        if let Some(half) = halves.first() {
            let question = self.moment.asked(half, &deed)?;
            if let Some(found) = world.among(&question, self.kind, after) {
                return Ok(found);
            }
        }
        Ok(Box::new(world.snapshot().references_of(self.kind, after)))
    }

    fn deed<'s>(&'s self, resource: Ref, nothing: &'s Map<String, Value>) -> Deed<'s> {
        Deed {
            action: &self.action,
            resource: resource.into(),
            reference: Some(resource),
            own: None,
            said: Said {
                context: &self.context,
                action: nothing,
            },
        }
    }
}
