//! Explanations: who may have one, and what it says. The answer in it is the decision point's own.

use super::acting::Acts;
use super::error::Refused;
use super::explained::{Explained, HalfTold};
use super::judge::{Judgement, Moment, judgement};
use super::question::{Acting, Asker, Named, Question};
use super::request::{Judged, Request};
use super::sight::{Sight, plain};
use crate::directory::{DirectoryError, Kind, Ref};
use crate::policy::{Evaluation, SUSPENDED, Uid, deed, details, explain, headline, thing};

/// What somebody may know who asks.
pub(super) struct Right {
    /// What their own decision says, where they ask about somebody else.
    pub(super) about_others: Option<Judgement>,
    /// Whether what they may not read is not there for them.
    hides: bool,
}

impl Moment<'_> {
    /// Whether whoever asks may ask about this subject: a service's key about anybody, a person and their agent about themselves, and
    /// about others who may read the log or the policies.
    ///
    /// # Errors
    /// The key counts no more; the acting user or agent is not there.
    pub(super) fn may_explain(&self, asker: &Asker, question: &Question) -> Result<Right, Refused> {
        let halves = self.acting(asker)?;
        let Some(acting) = asker.caller.acting() else {
            return Ok(Right {
                about_others: None,
                hides: false,
            });
        };
        if self.is_about(acting, question) {
            return Ok(Right {
                about_others: None,
                hides: true,
            });
        }
        let people = people(halves.unwrap_or_default());
        let own = |action: &str, kind: Kind| {
            let singleton = Ref::new(kind, self.world.snapshot().org().id);
            let whose = (Judged::People, people.as_slice());
            self.ours(whose, action, singleton, &asker.said())
        };
        let by_log = own("audit_log.read", Kind::AuditLog)?;
        if by_log.is_allowed() {
            // What there is, and who asked for it, they can read in the log.
            return Ok(Right {
                about_others: Some(by_log),
                hides: false,
            });
        }
        let by_policies = own("policy.read", Kind::PolicySet)?;
        let judgement = match by_policies.is_allowed() {
            true => by_policies,
            false => by_log,
        };
        Ok(Right {
            about_others: Some(judgement),
            hides: true,
        })
    }

    /// Whether a question is about whoever asks.
    fn is_about(&self, acting: Acting, question: &Question) -> bool {
        let vocabulary = self.world.compiled().vocabulary();
        let subject = vocabulary.entity(&question.subject.kind, &question.subject.id);
        let subject = subject.and_then(|uid| uid.reference());
        match acting.agent {
            None => subject == Some(acting.user),
            Some(agent) => {
                let theirs =
                    subject == Some(agent) && self.named_person(question) == Some(acting.user);
                theirs || subject == Some(acting.user)
            }
        }
    }

    /// The decision on a question, and why it is so; nothing of the why where what it is about is not there for whoever asks.
    ///
    /// # Errors
    /// As [`Moment::question`].
    pub(super) fn explain(
        &self,
        asker: &Asker,
        question: &Question,
        right: &Right,
    ) -> Result<(Judgement, Option<Explained>), Refused> {
        let sight = Sight::of(self, asker)?.with(question);
        let seen = crate::policy::Sight {
            sees: &|uid, name| sight.sees(uid, name),
            named: &|uid| sight.name(uid),
        };
        let asked = self.asked_of(
            question,
            |evaluation| (evaluation, Vec::new(), None),
            |halves, deeds| {
                let mut told = Vec::new();
                let mut said = None;
                for half in halves {
                    let explanation =
                        self.half_with(half, deeds, |compiled, links, view, asked| {
                            if said.is_none() {
                                said = Some(deed(asked));
                            }
                            explain(compiled, links, view, asked, seen)
                        })?;
                    told.push(HalfTold {
                        who: half.principal().clone(),
                        explanation,
                    });
                }
                let answers = told.iter();
                let answers = answers.map(|half| Ok(half.explanation.evaluation.clone()));
                Ok((self.together(answers)?, told, said))
            },
        );
        let ((evaluation, mut halves, said), [actor, acts_for, on]) = asked?;
        let refused = !evaluation.is_allowed();
        // Beside a refusal, what the other half was permitted by says nothing.
        halves.retain(|half| !refused || !half.explanation.evaluation.is_allowed());
        // While the organization is suspended the policies say nothing that counts.
        let mut deciding = evaluation.determining.iter();
        if deciding.any(|one| &*one.id == SUSPENDED) {
            halves.clear();
        }
        let words = self.words(question, &sight, (&evaluation, &halves, said));
        let judgement = judgement(
            evaluation,
            &question.action,
            [actor, acts_for, on],
            Request::asked(question, self),
        );
        if refused && right.hides && !self.is_there_for(asker, question)? {
            return Ok((judgement, None));
        }
        let explained = Explained {
            refusal: judgement.refusal.clone(),
            determining: judgement.determining.clone(),
            halves,
            words,
        };
        Ok((judgement, Some(explained)))
    }

    /// Whether the people who ask may know of what they ask about.
    fn is_there_for(&self, asker: &Asker, question: &Question) -> Result<bool, Refused> {
        let vocabulary = self.world.compiled().vocabulary();
        let named = &question.resource;
        let resource = vocabulary.entity(&named.kind, &named.id);
        let sight = Sight::of_persons(self, asker)?;
        Ok(resource.is_some_and(|uid| sight.reads(&uid)))
    }

    fn words(
        &self,
        question: &Question,
        sight: &Sight<'_>,
        (evaluation, halves, said): (&Evaluation, &[HalfTold], Option<String>),
    ) -> Vec<String> {
        let vocabulary = self.world.compiled().vocabulary();
        let entity = |named: &Named| vocabulary.entity(&named.kind, &named.id);
        let (subject, resource) = (entity(&question.subject), entity(&question.resource));
        let who = subject.as_ref().map_or_else(
            || format!("{} {}", question.subject.kind, question.subject.id),
            |uid| sight.name(uid),
        );
        let what = resource.as_ref().map_or_else(
            || format!("{} {}", question.resource.kind, question.resource.id),
            |uid| sight.name(uid),
        );
        let said = said.unwrap_or_else(|| format!("do “{}” to {what}", question.action));
        let mut words = vec![headline(evaluation, &who, &said)];
        if let Some(first) = words.first_mut()
            && let Some(capital) = first.chars().next().filter(|one| one.is_lowercase())
        {
            let rest: String = first.chars().skip(1).collect();
            *first = capital.to_uppercase().chain(rest.chars()).collect();
        }
        if halves.is_empty() {
            let reasons = evaluation.determining.iter();
            words.extend(reasons.map(|one| one.reason.to_string()));
            words.extend(self.why_settled(question, (subject.as_ref(), resource.as_ref())));
        } else if said.contains("this ") || said.contains("that ") {
            words.push(format!("It is about {what}."));
        }
        let several = halves.len() > 1;
        for half in halves {
            if several {
                words.push(format!("Of {}:", sight.name(&half.who)));
            }
            words.extend(details(&half.explanation, &|uid| sight.name(uid)));
        }
        words.iter().map(|sentence| plain(sentence)).collect()
    }

    /// Why no policy was asked.
    fn why_settled(
        &self,
        question: &Question,
        (subject, resource): (Option<&Uid>, Option<&Uid>),
    ) -> Vec<String> {
        let (Ok(action), Some(subject), Some(resource)) =
            (self.action(&question.action), subject, resource)
        else {
            return Vec::new();
        };
        let snapshot = self.world.snapshot();
        let vocabulary = self.world.compiled().vocabulary();
        if !action.applies_to(&subject.kind(), &resource.kind()) {
            return vec![format!(
                "“{}” is not something that can be asked of {} and {}.",
                question.action,
                thing(subject),
                thing(resource)
            )];
        }
        let both = [subject, resource].into_iter();
        let missing = both.filter(|uid| !vocabulary.is_own(&uid.kind()) && !snapshot.is_there(uid));
        missing
            .map(|uid| format!("There is nothing that is called {}.", thing(uid)))
            .collect()
    }
}

/// Those of whom each must be allowed but for the key's service.
pub(super) fn people(mut all: Acts) -> Acts {
    all.retain(|act| act.who.kind != Kind::Service);
    all
}

/// There is no such thing, as far as whoever asks may know.
pub(super) fn not_there(question: &Question) -> Refused {
    DirectoryError::NotFound {
        kind: Kind::named(&question.resource.kind).map_or("entity", Kind::name),
        id: question.resource.id.chars().take(64).collect(),
    }
    .into()
}
