//! What the policies say about a question on one world: pure, so that it can be said again.
//!
//! A question may have several halves: the key's service, the agent, the user. Each is evaluated for itself under all
//! guardrails, at one index and one time; the answer is yes when every half says yes.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::acting::Act;
use super::error::Refused;
use super::question::{Asker, Named, Question};
use super::request::{Judged, Request};
use super::told::{self, Told};
use super::world::World;
use crate::directory::{Kind, Near, Object, Ref};
use crate::policy::{
    Action, Compiled, CompiledLink, Determining, Entity, Evaluation, Facts, Failure, NAMESPACE,
    Refusal, SUSPENDED, Said, SignedIn, Type, Uid, View, evaluate,
};

/// What was decided, by which policies, and on what exactly.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Why not; absent: it is allowed.
    pub refusal: Option<Refusal>,
    /// The policies that decided.
    pub determining: Vec<Determining>,
    /// The policies that could not be evaluated.
    pub failures: Vec<Failure>,
    /// Who acts, where it is somebody of ours.
    pub actor: Option<Ref>,
    /// The user that the actor acts for.
    pub acts_for: Option<Ref>,
    /// The action's name.
    pub action: String,
    /// What it is done to, where it is something of ours.
    pub resource: Option<Ref>,
    /// The exact question, for the record, until that is made.
    pub request: Option<Request>,
}

impl Judgement {
    /// Whether the answer is yes.
    pub const fn is_allowed(&self) -> bool {
        self.refusal.is_none()
    }
}

/// What every question at one moment shares.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// What is seen.
    pub world: &'a World,
    /// The time of the entry that will record it.
    pub now: DateTime<Utc>,
    /// The region of this node.
    pub region: &'a str,
}

/// One half of a question: a principal, and whom they act for.
pub(super) struct Half {
    principal: Uid,
    reference: Option<Ref>,
    acts_for: Option<Ref>,
    /// How they are signed in, where they ask for themselves.
    session: Option<SignedIn>,
    /// A principal of the tenant's own types, with the request's properties.
    own: Option<Entity>,
}

impl Half {
    /// Of somebody of ours.
    pub(super) fn of(act: &Act) -> Self {
        Self {
            principal: act.who.into(),
            reference: Some(act.who),
            acts_for: act.acts_for,
            session: act.session.clone(),
            own: None,
        }
    }

    /// Whose it is.
    pub(super) const fn principal(&self) -> &Uid {
        &self.principal
    }

    /// Whether it is a person's.
    pub(super) fn is_persons(&self) -> bool {
        self.reference.is_some_and(|one| one.kind == Kind::User)
    }
}

/// An action on a resource, and what was said about both.
pub(super) struct Deed<'a> {
    pub(super) action: &'a Arc<Action>,
    pub(super) resource: Uid,
    pub(super) reference: Option<Ref>,
    pub(super) own: Option<Entity>,
    pub(super) said: Said<'a>,
}

impl Moment<'_> {
    pub(super) fn by_operator(&self, action: &str) -> Judgement {
        Judgement {
            refusal: None,
            determining: Vec::new(),
            failures: Vec::new(),
            actor: None,
            acts_for: None,
            action: action.into(),
            resource: None,
            request: Some(Request::none()),
        }
    }

    /// An action of Cedarkeep's own: the key's service, and the user (and agent) on whose behalf it is used.
    ///
    /// # Errors
    /// The acting user or agent is not there, or what was said is of a wrong type.
    pub fn own_action(
        &self,
        asker: &Asker,
        action: &'static str,
        resource: Ref,
        context: &Map<String, Value>,
    ) -> Result<Judgement, Refused> {
        let Some(acting) = self.acting(asker)? else {
            return Ok(self.by_operator(action));
        };
        let whose = (Judged::Call, acting.as_slice());
        if asker.purpose.is_none() {
            return self.ours(whose, action, resource, context);
        }
        let mut said = context.clone();
        said.extend(asker.said());
        self.ours(whose, action, resource, &said)
    }

    pub(super) fn ours(
        &self,
        (judged, halves): (Judged, &[Act]),
        action: &str,
        resource: Ref,
        context: &Map<String, Value>,
    ) -> Result<Judgement, Refused> {
        let found = self.action(action)?;
        let (evaluation, on) = self.answer_ours(halves, &found, resource, context)?;
        let actor = on[0].unwrap_or(self.world.snapshot().org());
        let by = (self, judged);
        let request = Request::own((actor, action, resource), context, by);
        Ok(judgement(evaluation, found.name(), on, request))
    }

    /// What the policies say of an action of ours, of each of these; and who acts, for whom, on what.
    ///
    /// # Errors
    /// What was said is of a wrong type.
    pub(super) fn answer_ours(
        &self,
        halves: &[Act],
        action: &Arc<Action>,
        resource: Ref,
        context: &Map<String, Value>,
    ) -> Result<(Evaluation, [Option<Ref>; 3]), Refused> {
        let nothing = Map::new();
        let deed = Deed {
            action,
            resource: resource.into(),
            reference: Some(resource),
            own: None,
            said: Said {
                context,
                action: &nothing,
            },
        };
        let principals: Vec<Half> = halves.iter().map(Half::of).collect();
        let first = halves.first();
        let on = [
            first.map(|act| act.who),
            first.and_then(|act| act.acts_for),
            deed.reference,
        ];
        Ok((self.evaluated(&principals, &deed)?, on))
    }

    /// A back end's question about anybody.
    ///
    /// # Errors
    /// An unknown type or action, or what was said is of a wrong type.
    pub fn question(&self, question: &Question) -> Result<Judgement, Refused> {
        let (evaluation, on) = self.answer(question)?;
        let request = Request::asked(question, self);
        Ok(judgement(evaluation, &question.action, on, request))
    }

    /// What the policies say of it; and who acts, for whom, on what, where that is something of ours.
    ///
    /// # Errors
    /// As [`Moment::question`].
    pub(super) fn answer(
        &self,
        question: &Question,
    ) -> Result<(Evaluation, [Option<Ref>; 3]), Refused> {
        self.asked_of(
            question,
            |evaluation| evaluation,
            |halves, deed| self.evaluated(halves, deed),
        )
    }

    /// Puts a question to the policies, half by half, unless it is settled before any of them is asked.
    ///
    /// # Errors
    /// As [`Moment::question`].
    pub(super) fn asked_of<T>(
        &self,
        question: &Question,
        settled: impl FnOnce(Evaluation) -> T,
        ask: impl FnOnce(&[Half], &Deed<'_>) -> Result<T, Refused>,
    ) -> Result<(T, [Option<Ref>; 3]), Refused> {
        let library = self.world.compiled().library();
        // A leaf names nothing that is not there.
        let known = |one: Option<Ref>| one.filter(|one| self.world.known(*one).is_some());
        if let Some(determining) = library.reserved(&question.action, &question.context) {
            let evaluation = Evaluation::refused(Refusal::Forbidden, vec![determining]);
            let (actor, on) = (
                reference_of(&question.subject),
                reference_of(&question.resource),
            );
            return Ok((settled(evaluation), [actor, None, on].map(known)));
        }
        let action = self.action(&question.action)?;
        let [subject, resource] = told::said(question, self.world.compiled().vocabulary());
        let (subject, own_subject) = self.entity(&subject)?;
        let (resource, own_resource) = self.entity(&resource)?;
        let (actor, on) = (subject.reference(), resource.reference());
        let acts_for = self.acts_for(actor, &question.context);
        // An agent that names nobody does nothing, on a tenant's own types too, where no guardrail of ours is asked.
        let alone = actor.is_some_and(|actor| actor.kind == Kind::Agent)
            && acts_for.is_none()
            && action.is_own();
        // Something of a built-in type that is not there: no policy is asked about it.
        let missing = [(&subject, actor), (&resource, on)]
            .into_iter()
            .any(|(uid, _)| is_builtin(uid) && !self.world.snapshot().is_there(uid));
        let nobody = acts_for.is_some_and(|user| self.world.known(user).is_none());
        // Something of a type whose entities the schema lists that is none of them.
        let vocabulary = self.world.compiled().vocabulary();
        let unlisted = !vocabulary.lists(&subject) || !vocabulary.lists(&resource);
        // A pair of types that the action is not for, be it those of whom an agent acts for: nothing could permit it.
        let person = Type::Ours(Kind::User);
        let stranger = !action.applies_to(&subject.kind(), &resource.kind())
            || acts_for.is_some() && !action.applies_to(&person, &resource.kind());
        if missing || nobody || alone || unlisted || stranger {
            let evaluation = Evaluation::refused(Refusal::NotPermitted, Vec::new());
            return Ok((settled(evaluation), [actor, acts_for, on].map(known)));
        }
        let deed = Deed {
            action: &action,
            resource,
            reference: on,
            own: own_resource,
            said: Said {
                context: &question.context,
                action: &question.action_properties,
            },
        };
        let mut halves = vec![Half {
            principal: subject,
            reference: actor,
            acts_for,
            session: None,
            own: own_subject,
        }];
        if let Some(user) = acts_for {
            halves.push(Half {
                principal: user.into(),
                reference: Some(user),
                acts_for: None,
                session: None,
                own: None,
            });
        }
        Ok((ask(&halves, &deed)?, [actor, acts_for, on]))
    }

    /// What one of ours asks, about any resource of a type.
    pub(super) fn half_of(
        &self,
        subject: Uid,
        (action, kind): (&Arc<Action>, Kind),
        question: &Question,
    ) -> Result<crate::policy::Question, Refused> {
        let acts_for = self.acts_for(subject.reference(), &question.context);
        let half = Half {
            reference: subject.reference(),
            principal: subject,
            acts_for,
            session: None,
            own: None,
        };
        let any = Ref::new(kind, [0; 16]);
        let deed = Deed {
            action,
            resource: any.into(),
            reference: Some(any),
            own: None,
            said: Said {
                context: &question.context,
                action: &question.action_properties,
            },
        };
        self.asked(&half, &deed)
    }

    pub(super) fn action(&self, name: &str) -> Result<Arc<Action>, Refused> {
        self.world
            .compiled()
            .vocabulary()
            .action(name)
            .cloned()
            .ok_or_else(|| Refused::Unknown {
                what: "action",
                name: name.chars().take(64).collect(),
                known: "the schema lists those that there are",
            })
    }

    /// The entity that a caller names; one of the tenant's own types also with what the caller says about it.
    pub(super) fn entity(&self, named: &Named) -> Result<(Uid, Option<Entity>), Refused> {
        let vocabulary = self.world.compiled().vocabulary();
        let uid = vocabulary
            .entity(&named.kind, &named.id)
            .ok_or_else(|| Refused::Unknown {
                what: "type",
                name: named.kind.chars().take(64).collect(),
                known: "the schema lists those that there are",
            })?;
        if !vocabulary.is_own(&uid.kind()) {
            return Ok((uid, None));
        }
        let stored = self.world.snapshot().own_entity(&uid);
        let entity = vocabulary.own_entity(uid.clone(), stored, &named.properties)?;
        Ok((uid, Some(entity)))
    }

    /// The person in whose name an agent would act, where a question names one who is there.
    pub(super) fn named_person(&self, question: &Question) -> Option<Ref> {
        let id = person_said(&question.context)?;
        Ref::of(Kind::User, id).filter(|user| self.world.known(*user).is_some())
    }

    /// The user that an agent says it acts for.
    fn acts_for(&self, actor: Option<Ref>, context: &Map<String, Value>) -> Option<Ref> {
        if actor?.kind != Kind::Agent {
            return None;
        }
        let id = person_said(context)?;
        // Somebody that we never heard of is nobody: the guardrail or the look-up refuses.
        Some(Ref::of(Kind::User, id).unwrap_or(Ref::new(Kind::User, [0; 16])))
    }

    fn facts(&self, half: &Half) -> Facts {
        Facts {
            now: self.now,
            region: self.region.into(),
            session: half.session.clone(),
            acts_for: half.acts_for.map(Uid::Ours),
        }
    }

    /// What the policies say of all halves.
    pub(super) fn evaluated(
        &self,
        halves: &[Half],
        deed: &Deed<'_>,
    ) -> Result<Evaluation, Refused> {
        self.together(halves.iter().map(|half| self.half(half, deed)))
    }

    /// The halves' answers as one.
    pub(super) fn together(
        &self,
        halves: impl Iterator<Item = Result<Evaluation, Refused>>,
    ) -> Result<Evaluation, Refused> {
        let mut whole: Option<Evaluation> = None;
        for evaluation in halves {
            let evaluation = evaluation?;
            whole = Some(match whole {
                None => evaluation,
                Some(before) => before.and(evaluation),
            });
        }
        let suspended = self
            .world
            .snapshot()
            .organization()
            .is_ok_and(|organization| organization.suspended);
        Ok(match whole {
            Some(evaluation) if !suspended => evaluation,
            Some(_) => Evaluation::refused(Refusal::Forbidden, vec![suspension()]),
            None => Evaluation::refused(Refusal::NotPermitted, Vec::new()),
        })
    }

    /// One half in Cedar's words.
    pub(super) fn asked(
        &self,
        half: &Half,
        deed: &Deed<'_>,
    ) -> Result<crate::policy::Question, Refused> {
        let vocabulary = self.world.compiled().vocabulary();
        let parts = (half.principal.clone(), deed.action, deed.resource.clone());
        Ok(vocabulary.question(parts, deed.said, &self.facts(half))?)
    }

    fn half(&self, half: &Half, deed: &Deed<'_>) -> Result<Evaluation, Refused> {
        self.half_with(half, deed, evaluate)
    }

    /// One half, and what it is answered on.
    pub(super) fn half_with<T>(
        &self,
        half: &Half,
        deed: &Deed<'_>,
        with: impl FnOnce(&Compiled, &[CompiledLink], &dyn View, &crate::policy::Question) -> T,
    ) -> Result<T, Refused> {
        let compiled = self.world.compiled();
        let question = self.asked(half, deed)?;
        let links = match (half.reference, deed.reference) {
            (Some(principal), Some(resource)) => self.world.links(principal, resource),
            _ => Vec::new(),
        };
        let snapshot = self.world.snapshot();
        // Where subject and resource are one entity, both say the same of it.
        let said = Told {
            snapshot,
            own: [deed.own.as_ref(), half.own.as_ref()],
        };
        let told = said.own.iter().any(Option::is_some);
        if told {
            return Ok(with(compiled, &links, &said, &question));
        }
        let near = Near::of(snapshot, question.principal(), question.resource());
        Ok(with(compiled, &links, &near, &question))
    }
}

pub(super) fn judgement(
    evaluation: Evaluation,
    action: &str,
    [actor, acts_for, resource]: [Option<Ref>; 3],
    request: Request,
) -> Judgement {
    Judgement {
        refusal: evaluation.refusal,
        determining: evaluation.determining,
        failures: evaluation.failures,
        actor,
        acts_for,
        action: action.into(),
        resource,
        request: Some(request),
    }
}

fn suspension() -> Determining {
    Determining {
        id: SUSPENDED.into(),
        link: None,
        reason: "The operator has suspended this organization.".into(),
        plan: None,
    }
}

/// The id of whom a request says that it acts for.
fn person_said(context: &Map<String, Value>) -> Option<&str> {
    let said = context.get("acts_for")?;
    said.as_str()
        .or_else(|| said.get("id").and_then(Value::as_str))
}

fn is_builtin(uid: &Uid) -> bool {
    let kind = uid.kind();
    let bare = kind
        .name()
        .strip_prefix(NAMESPACE)
        .and_then(|rest| rest.strip_prefix("::"));
    bare.is_some_and(|bare| !bare.contains("::"))
}

fn reference_of(named: &Named) -> Option<Ref> {
    Ref::of(Kind::named(&named.kind)?, &named.id)
}

/// Whether active Admins of this world could still change policies: one edits them, and one, perhaps another, has what was edited count.
pub fn admins_can_change_policies(moment: &Moment<'_>) -> bool {
    let mut needed = ["policy.edit", "policy.activate"].into_iter();
    needed.all(|action| an_admin_can(moment, action))
}

fn an_admin_can(moment: &Moment<'_>, action: &str) -> bool {
    let snapshot = moment.world.snapshot();
    let policies = Ref::new(Kind::PolicySet, snapshot.org().id);
    snapshot
        .objects_of(Kind::User, None)
        .any(|(user, stored)| match &stored.value {
            Object::User(person)
                if person.active && person.role == crate::directory::object::Role::Admin =>
            {
                moment
                    .ours(
                        (Judged::Call, &[Act::of(user)]),
                        action,
                        policies,
                        &Map::new(),
                    )
                    .is_ok_and(|judgement| judgement.is_allowed())
            }
            _ => false,
        })
}
