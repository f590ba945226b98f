//! In whose name something is asked: each who must be allowed, whom they act for, and how they are signed in.

use super::authorized::By;
use super::error::Refused;
use super::judge::{Judgement, Moment};
use super::question::{Acting, Asker, Caller};
use super::request::Judged;
use crate::directory::snapshot::Stored;
use crate::directory::{Object, Ref, Through};
use crate::policy::SignedIn;

/// A principal of ours, whom they act for, and how they are signed in.
#[derive(Debug, Clone)]
pub(super) struct Act {
    pub(super) who: Ref,
    pub(super) acts_for: Option<Ref>,
    pub(super) session: Option<SignedIn>,
}

impl Act {
    /// For themselves, without a session.
    pub(super) const fn of(who: Ref) -> Self {
        Self {
            who,
            acts_for: None,
            session: None,
        }
    }

    /// For somebody.
    fn of_for(who: Ref, user: Ref) -> Self {
        Self {
            acts_for: Some(user),
            ..Self::of(who)
        }
    }
}

/// Each of whom must be allowed.
pub(super) type Acts = Vec<Act>;

/// The action of whoever asks why.
pub(super) const EXPLAIN: &str = "decision.explain";

impl Moment<'_> {
    /// Whether this service's key may ask the decision point at all.
    ///
    /// # Errors
    /// The service is not there.
    pub fn scope(&self, asker: &Asker, action: &'static str) -> Result<Judgement, Refused> {
        let service = match asker.caller {
            Caller::Key { key, service, .. }
            | Caller::Certificate {
                binding: key,
                service,
                ..
            } => {
                self.in_force(key)?;
                service
            }
            // A person who is signed in may ask why where they may do the least of all, which is to see their own sessions: the guardrails on
            // sign-in, standing and purpose hold here too. What they may know of it is asked for each question.
            Caller::Session { session, user } if action == EXPLAIN => {
                let act = self.signed_in(session, user)?;
                let said = asker.said();
                return self.ours((Judged::Call, &[act]), "session.read", user, &said);
            }
            // The decision point is for back ends: people ask their app.
            Caller::Session { .. } | Caller::Directory { .. } => {
                return Err(Refused::Nobody { what: "key" });
            }
            Caller::Operator | Caller::System => return Ok(self.by_operator(action)),
        };
        let organization = self.world.snapshot().org();
        let halves = [Act::of(service)];
        self.ours((Judged::Call, &halves), action, organization, &asker.said())
    }

    /// Whoever must be allowed each: the agent, the user and the key's service, each with whom they act for. Nobody, for the operator.
    ///
    /// # Errors
    /// The key or the session counts no more; the acting user or agent is not there.
    pub(super) fn acting(&self, asker: &Asker) -> Result<Option<Acts>, Refused> {
        let (service, acting) = match asker.caller {
            Caller::Key {
                key,
                service,
                acting,
            }
            | Caller::Certificate {
                binding: key,
                service,
                acting,
            } => {
                self.in_force(key)?;
                (service, acting)
            }
            Caller::Session { session, user } => {
                return Ok(Some(vec![self.signed_in(session, user)?]));
            }
            Caller::Directory { token, service } => {
                self.in_force(token)?;
                return Ok(Some(vec![Act::of(service)]));
            }
            Caller::Operator | Caller::System => return Ok(None),
        };
        let Some(Acting { user, agent }) = acting else {
            return Ok(Some(vec![Act::of(service)]));
        };
        self.there(user, "user")?;
        let mut halves = Vec::with_capacity(3);
        if let Some(agent) = agent {
            self.there(agent, "agent")?;
            halves.push(Act::of_for(agent, user));
        }
        halves.extend([Act::of(user), Act::of_for(service, user)]);
        Ok(Some(halves))
    }

    /// What credential it is asked by.
    pub(super) fn by(&self, asker: &Asker) -> By {
        let (Caller::Key { key, service, .. }
        | Caller::Certificate {
            binding: key,
            service,
            ..
        }) = asker.caller
        else {
            return By::NONE;
        };
        let through = match self.world.snapshot().object(key) {
            Some(Stored {
                value: Object::ApiKey(key),
                ..
            }) => key.made_by,
            _ => Through::Several,
        };
        By {
            service: Some(service),
            through,
        }
    }

    /// Whoever is signed in, on the state that the answer is of: a session that ended meanwhile is nobody's.
    fn signed_in(&self, session: Ref, user: Ref) -> Result<Act, Refused> {
        let found = self.world.snapshot().object(session);
        match found.map(|stored| &stored.value) {
            Some(Object::Session(found)) if found.owner == user && self.now < found.expires_at => {
                self.there(user, "session")?;
                Ok(Act {
                    session: Some(SignedIn {
                        method: found.method.clone(),
                        break_glass: found.break_glass,
                    }),
                    ..Act::of(user)
                })
            }
            _ => Err(Refused::Nobody { what: "session" }),
        }
    }

    /// The key was looked up before; whether it still counts is decided here, on the state that the answer is of.
    fn in_force(&self, key: Ref) -> Result<(), Refused> {
        match self
            .world
            .snapshot()
            .object(key)
            .map(|stored| &stored.value)
        {
            Some(Object::ApiKey(stored)) if stored.expires_at.is_none_or(|end| self.now < end) => {
                Ok(())
            }
            _ => Err(Refused::Nobody { what: "key" }),
        }
    }

    fn there(&self, reference: Ref, what: &'static str) -> Result<(), Refused> {
        self.world
            .known(reference)
            .map(|_| ())
            .ok_or(Refused::Nobody { what })
    }
}
