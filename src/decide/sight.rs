//! What whoever asks for an explanation may see: what they could read themselves, and what they have said.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::{Map, Value};

use super::error::Refused;
use super::judge::{Deed, Half, Moment};
use super::question::{Asker, Named, Question};
use super::told;
use crate::directory::{self, Kind, Object, Ref};
use crate::policy::{Said, Uid, thing};

/// What somebody may see.
pub(super) struct Sight<'a> {
    moment: &'a Moment<'a>,
    /// Whoever must be allowed to read it, each; nobody: the operator, who may see everything.
    halves: Option<Vec<Half>>,
    /// What the call says of every reading.
    context: Map<String, Value>,
    /// What the question says of entities of the tenant's own types.
    said: Vec<(Uid, Map<String, Value>)>,
    known: RefCell<HashMap<(&'static str, Ref), bool>>,
}

impl<'a> Sight<'a> {
    /// What this caller may see: what a read through the same key, in the same names, would tell.
    ///
    /// # Errors
    /// The key counts no more; the acting user or agent is not there.
    pub(super) fn of(moment: &'a Moment<'a>, asker: &Asker) -> Result<Self, Refused> {
        let acting = moment.acting(asker)?;
        Ok(Self {
            moment,
            halves: acting.map(|acting| acting.iter().map(Half::of).collect()),
            context: asker.said(),
            said: Vec::new(),
            known: RefCell::default(),
        })
    }

    /// What the people themselves may see, and their agent, whatever the key that they ask through is for.
    ///
    /// # Errors
    /// The same.
    pub(super) fn of_persons(moment: &'a Moment<'a>, asker: &Asker) -> Result<Self, Refused> {
        let acting = moment.acting(asker)?;
        let persons = acting.map(|acting| {
            let persons = acting.iter().filter(|act| act.who.kind != Kind::Service);
            persons.map(Half::of).collect()
        });
        let halves = persons;
        Ok(Self {
            halves,
            ..Self::of(moment, asker)?
        })
    }

    /// The same, and what this question says.
    pub(super) fn with(mut self, question: &Question) -> Self {
        let vocabulary = self.moment.world.compiled().vocabulary();
        let said = |named: Cow<'_, Named>| {
            let uid = vocabulary.entity(&named.kind, &named.id)?;
            let told = vocabulary.is_own(&uid.kind()) && !named.properties.is_empty();
            told.then(|| (uid, named.into_owned().properties))
        };
        let both = told::said(question, vocabulary).into_iter();
        self.said = both.filter_map(said).collect();
        self
    }

    /// Whether they may see an attribute of an entity, or what it is in.
    pub(super) fn sees(&self, of: &Uid, name: Option<&str>) -> bool {
        if self.halves.is_none() {
            return true;
        }
        let told = |(uid, said): &(Uid, Map<String, Value>)| {
            uid == of && name.is_some_and(|name| said.get(name).is_some_and(|one| !one.is_null()))
        };
        self.said.iter().any(told) || (self.reads(of) && !self.hides(of, name))
    }

    /// Whether this would tell whoever asked for access whether what they asked for is there.
    fn hides(&self, of: &Uid, name: Option<&str>) -> bool {
        let request = of.reference().filter(|one| one.kind == Kind::AccessRequest);
        let (Some(request), Some(name)) = (request, name) else {
            return false;
        };
        !["org", "owner"].contains(&name) && !self.may("access.decline", request)
    }

    /// Whether this is there for them.
    pub(super) fn reads(&self, uid: &Uid) -> bool {
        let snapshot = self.moment.world.snapshot();
        if self.halves.is_none() {
            return snapshot.is_there(uid);
        }
        let org = snapshot.org();
        let Some(one) = uid.reference() else {
            let vocabulary = self.moment.world.compiled().vocabulary();
            return vocabulary.is_own(&uid.kind())
                && snapshot.is_there(uid)
                && self.may("entity.read", org);
        };
        if !snapshot.is_there(uid) {
            return false;
        }
        match one.kind {
            Kind::User => self.may("member.read", one),
            Kind::Thread => self.may("thread.read", one),
            Kind::Document => self.may("document.read", one),
            Kind::Memory => self.may("memory.read", one),
            Kind::PromptTemplate => self.may("prompt_template.read", one),
            Kind::Tool => self.may("tool.read", one),
            Kind::Assistant => self.may("assistant.read", one),
            Kind::AgentDefinition | Kind::AgentRun => self.may("agent.read", one),
            Kind::Agent => match snapshot.object(one).map(|stored| &stored.value) {
                Some(Object::Agent { definition }) => self.may("agent.read", *definition),
                _ => false,
            },
            Kind::Integration => self.may("integration.read", one),
            Kind::ApiKey => self.may("api_key.read", one),
            Kind::Organization | Kind::Team | Kind::Project | Kind::Group => {
                self.may("member.read", org)
            }
            // Every organization has one of each.
            Kind::PolicySet
            | Kind::AuditLog
            | Kind::Settings
            | Kind::Billing
            | Kind::Report
            | Kind::ComplianceDocs => true,
            Kind::Invitation => self.may("member.resend_invitation", one),
            Kind::AccessRequest => self.may("access.read", one),
            Kind::Service | Kind::Session => false,
        }
    }

    /// What they may call it.
    pub(super) fn name(&self, uid: &Uid) -> String {
        let snapshot = self.moment.world.snapshot();
        let object = uid.reference().and_then(|one| snapshot.object(one));
        let name = object.and_then(|stored| match &stored.value {
            Object::User(user) => Some(user.name.clone()),
            Object::Group { of } => {
                let circle = snapshot.object(*of).map(|stored| &stored.value);
                let (name, leads) = match circle? {
                    Object::Organization(organization) => (&organization.name, None),
                    other => other.circle().map(|one| (&one.name, Some(one.leads)))?,
                };
                let whose = match leads.map(Uid::from).as_ref() == Some(uid) {
                    true => "leads",
                    false => "members",
                };
                Some(format!("the {whose} of “{name}”"))
            }
            Object::DirectoryGroup(group) => Some(format!("the group “{}”", group.name)),
            Object::Organization(organization) => Some(format!("“{}”", organization.name)),
            other => {
                let made = other.made().map(|made| &made.name);
                let name = made.or_else(|| other.circle().map(|circle| &circle.name));
                name.map(|name| format!("{} “{name}”", kind_in_words(uid)))
            }
        });
        match name {
            Some(name) if self.reads(uid) => name,
            _ => thing(uid),
        }
    }

    fn may(&self, action: &'static str, resource: Ref) -> bool {
        if let Some(known) = self.known.borrow().get(&(action, resource)) {
            return *known;
        }
        let allowed = self.is_allowed(action, resource);
        self.known.borrow_mut().insert((action, resource), allowed);
        allowed
    }

    fn is_allowed(&self, action: &str, resource: Ref) -> bool {
        let Some(halves) = &self.halves else {
            return true;
        };
        let Ok(action) = self.moment.action(action) else {
            return false;
        };
        let nothing = Map::new();
        let deed = Deed {
            action: &action,
            resource: resource.into(),
            reference: Some(resource),
            own: None,
            said: Said {
                context: &self.context,
                action: &nothing,
            },
        };
        // What cannot be decided is not seen.
        let evaluated = self.moment.evaluated(halves, &deed);
        evaluated.is_ok_and(|evaluation| evaluation.is_allowed())
    }
}

/// `the thread`.
fn kind_in_words(uid: &Uid) -> String {
    let text = thing(uid);
    let id = uid.id();
    text.strip_suffix(&id)
        .map_or_else(|| text.clone(), |kind| kind.trim_end().to_owned())
}

/// A sentence without what a screen would take for something else.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for one in text.chars() {
        match directory::unreadable(one) {
            true => plain.extend(one.escape_unicode()),
            false => plain.push(one),
        }
    }
    plain
}
