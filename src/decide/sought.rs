//! Searches of a back end: who, what, or to what, would make a question one that is allowed. Each result is one that the decision point
//! itself allows, at the same index; none is left out.

use std::time::{Duration, Instant};

use super::error::Refused;
use super::judge::Moment;
use super::question::{Query, Question, Sought};
use crate::directory::{Kind, Ref};
use crate::policy::{Type, Uid};

/// How many are looked at for one page: others wait meanwhile.
const LOOKED_AT: usize = 10_000;

/// How long one page is looked for, where each look is slow.
const LOOKED_FOR: Duration = Duration::from_millis(200);

/// The end of a page that is long in coming.
pub(super) struct Looking {
    until: Instant,
}

impl Looking {
    pub(super) fn begin() -> Self {
        Self {
            until: Instant::now() + LOOKED_FOR,
        }
    }

    /// Whether no more is looked at after so many.
    pub(super) fn is_over(&self, looked_at: usize) -> bool {
        let some = looked_at > 0 && looked_at.is_multiple_of(64);
        looked_at >= LOOKED_AT || (some && Instant::now() > self.until)
    }
}

/// A page of what was found, by its ids or names, and where the next one begins: after this one. A page may be shorter than its limit, and
/// empty, and not be the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Ids of subjects or resources, or names of actions, in a stable order.
    pub results: Vec<String>,
    /// The last that was looked at; nothing: this was the last page.
    pub next: Option<String>,
}

impl Moment<'_> {
    /// Up to `limit` results after `after`.
    ///
    /// # Errors
    /// An unknown action, `after` among them, or what was said is of a wrong type. A type that nobody declared has nothing of it.
    pub(super) fn search(
        &self,
        query: &Query,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Found, Refused> {
        let nothing = Found {
            results: Vec::new(),
            next: None,
        };
        let vocabulary = self.world.compiled().vocabulary();
        let question = &query.question;
        let (subject, resource) = (&question.subject.kind, &question.resource.kind);
        let types = [subject, resource].map(|kind| vocabulary.entity_type(kind));
        let [Some(subject), Some(resource)] = types else {
            return Ok(nothing);
        };
        if query.sought == Sought::Action {
            // What is wrong with these is wrong for every action.
            for named in [&question.subject, &question.resource] {
                self.entity(named)?;
            }
            let mut actions = vocabulary.actions_as_declared();
            // The order is that of the schema, which may have changed since.
            if let Some(after) = after
                && !actions.any(|action| action.name() == after)
            {
                return Err(Refused::Unknown {
                    what: "action",
                    name: after.chars().take(64).collect(),
                    known: "the schema has changed since the page before: begin anew without `page.token`",
                });
            }
            let actions = actions.filter(|action| action.applies_to(subject, resource));
            let names = actions.map(|action| action.name().to_owned());
            return self.page(query, names, limit);
        }
        let kind = match query.sought {
            Sought::Resource => resource,
            Sought::Subject | Sought::Action => subject,
        };
        if let Type::Ours(kind) = kind {
            let after = after.and_then(|after| Ref::of(*kind, after));
            let candidates = self.candidates(query, *kind, after)?;
            return self.page(query, candidates.map(|one| one.to_string()), limit);
        }
        let listed = vocabulary.choices(kind);
        let own = self.world.snapshot().own_of(kind);
        // Each once, where what is stored is listed in the schema too.
        let own = own.filter(|id| !listed.is_some_and(|listed| listed.contains(*id)));
        let listed = listed.into_iter().flatten().map(String::as_str);
        let mut ids: Vec<&str> = own
            .chain(listed)
            .filter(|id| after.is_none_or(|after| *id > after))
            .collect();
        // No more are put in order than a page may look at.
        if ids.len() > LOOKED_AT.saturating_add(1) {
            ids.select_nth_unstable(LOOKED_AT);
            ids.truncate(LOOKED_AT.saturating_add(1));
        }
        ids.sort_unstable();
        self.page(query, ids.into_iter().map(str::to_owned), limit)
    }

    fn page(
        &self,
        query: &Query,
        candidates: impl Iterator<Item = String>,
        limit: usize,
    ) -> Result<Found, Refused> {
        let mut results = Vec::new();
        let mut last = None;
        let looking = Looking::begin();
        for (number, candidate) in candidates.enumerate() {
            if results.len() == limit || looking.is_over(number) {
                return Ok(Found {
                    results,
                    next: last,
                });
            }
            let question = query.about(&candidate);
            match self.answer(&question) {
                Ok((evaluation, _)) if evaluation.is_allowed() => results.push(candidate.clone()),
                Ok(_) => {}
                // What was said does not fit this action: it could not be asked for.
                Err(Refused::Question(_)) if query.sought == Sought::Action => {}
                Err(refused) => return Err(refused),
            }
            last = Some(candidate);
        }
        Ok(Found {
            results,
            next: None,
        })
    }

    /// The things of a built-in type that a search looks at.
    fn candidates(
        &self,
        query: &Query,
        kind: Kind,
        after: Option<Ref>,
    ) -> Result<Box<dyn Iterator<Item = Ref> + '_>, Refused> {
        let snapshot = self.world.snapshot();
        if Kind::SINGLETONS.contains(&kind) {
            let one = Ref::new(kind, snapshot.org().id);
            return Ok(Box::new(Some(one).filter(|_| after.is_none()).into_iter()));
        }
        if query.sought == Sought::Resource
            && let Some(question) = self.of_subject(&query.question, kind)?
            && let Some(found) = self.world.among(&question, kind, after)
        {
            return Ok(found);
        }
        Ok(Box::new(snapshot.references_of(kind, after)))
    }

    /// The subject's half of a question, about any resource of a type; nothing where there is none, or where what the request says of the
    /// subject may change who they are.
    fn of_subject(
        &self,
        question: &Question,
        kind: Kind,
    ) -> Result<Option<crate::policy::Question>, Refused> {
        let vocabulary = self.world.compiled().vocabulary();
        let subject = vocabulary.entity(&question.subject.kind, &question.subject.id);
        let action = self.action(&question.action)?;
        match subject {
            Some(subject @ Uid::Ours(_))
                if action.applies_to(&subject.kind(), &Type::Ours(kind)) =>
            {
                self.half_of(subject, (&action, kind), question).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl Query {
    /// The question about one that may be found.
    fn about(&self, candidate: &str) -> Question {
        let mut question = self.question.clone();
        let place = match self.sought {
            Sought::Subject => &mut question.subject.id,
            Sought::Resource => &mut question.resource.id,
            Sought::Action => &mut question.action,
        };
        candidate.clone_into(place);
        question
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_by_number_and_by_time() {
        let looking = Looking::begin();
        assert!(!looking.is_over(0) && !looking.is_over(64));
        assert!(looking.is_over(LOOKED_AT));
        // One is always looked at, however slow: else a page would never come further.
        let late = Looking {
            until: Instant::now() - LOOKED_FOR,
        };
        assert!(!late.is_over(0) && !late.is_over(63) && late.is_over(64));
    }
}
