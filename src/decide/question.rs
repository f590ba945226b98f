//! Who asks what, and the answer with its receipt.

use serde_json::{Map, Value};

use super::judge::Judgement;
use crate::directory::Ref;
use crate::log::merkle::Hash;

/// A subject or a resource as a caller names it.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Its type's AuthZEN name.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// What the caller says about it.
    pub properties: Map<String, Value>,
}

impl Named {
    /// An object of a built-in type.
    pub fn of(reference: Ref) -> Self {
        Self {
            kind: reference.kind.name().into(),
            id: reference.to_string(),
            properties: Map::new(),
        }
    }
}

/// One question of a back end.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Who.
    pub subject: Named,
    /// Does what.
    pub action: String,
    /// What the caller says about the action.
    pub action_properties: Map<String, Value>,
    /// To what.
    pub resource: Named,
    /// Under which circumstances.
    pub context: Map<String, Value>,
}

/// What a search looks for: which of these would make its question one that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    /// Who: of the subject's type.
    Subject,
    /// To what: of the resource's type.
    Resource,
    /// What.
    Action,
}

/// A search of a back end.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What is looked for.
    pub sought: Sought,
    /// The rest of the question. Of what is looked for, only the type and the properties count.
    pub question: Question,
}

/// On whose behalf a key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acting {
    /// The user.
    pub user: Ref,
    /// The agent that acts for them.
    pub agent: Option<Ref>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// An app back end, by its key.
    Key {
        /// The key.
        key: Ref,
        /// The service that it speaks for.
        service: Ref,
        /// On whose behalf.
        acting: Option<Acting>,
    },
    /// An app back end, by a certificate that its connection has shown.
    Certificate {
        /// What binds the certificate to the service.
        binding: Ref,
        /// The service that it speaks for.
        service: Ref,
        /// On whose behalf.
        acting: Option<Acting>,
    },
    /// A person, by the session that they have signed in to.
    Session {
        /// The session.
        session: Ref,
        /// Whose it is.
        user: Ref,
    },
    /// The customer's directory, by its token.
    Directory {
        /// The token.
        token: Ref,
        /// The service that it speaks for.
        service: Ref,
    },
    /// The operator at the machine.
    Operator,
    /// The service itself: heartbeats, pruning.
    System,
}

impl Caller {
    /// In whose name it is asked.
    #[must_use]
    pub const fn acting(self) -> Option<Acting> {
        match self {
            Self::Key { acting, .. } | Self::Certificate { acting, .. } => acting,
            Self::Session { user, .. } => Some(Acting { user, agent: None }),
            Self::Directory { .. } | Self::Operator | Self::System => None,
        }
    }

    /// The person in whose name it is asked.
    #[must_use]
    pub fn user(self) -> Option<Ref> {
        self.acting().map(|acting| acting.user)
    }
}

/// Who asks, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Who.
    pub caller: Caller,
    /// `X-Request-ID`.
    pub request_id: Option<String>,
    /// The client's address.
    pub client: Option<String>,
    /// What the call is for, as policies read it in `context.purpose`.
    pub purpose: Option<String>,
}

impl Asker {
    /// What the call itself says of every action that it asks for.
    pub(super) fn said(&self) -> Map<String, Value> {
        let purpose = self.purpose.as_ref();
        let purpose = purpose.map(|purpose| ("purpose".to_owned(), purpose.as_str().into()));
        purpose.into_iter().collect()
    }

    /// The operator at the machine.
    pub const fn operator() -> Self {
        Self {
            caller: Caller::Operator,
            request_id: None,
            client: None,
            purpose: None,
        }
    }

    /// The service itself.
    pub const fn system() -> Self {
        Self {
            caller: Caller::System,
            request_id: None,
            client: None,
            purpose: None,
        }
    }
}

/// When a batch ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// Never.
    #[default]
    All,
    /// After the first deny.
    FirstDeny,
    /// After the first permit.
    FirstPermit,
}

/// Where something is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The log's origin.
    pub log: String,
    /// The entry's index.
    pub index: u64,
    /// The index of the last change that was seen.
    pub as_of: u64,
    /// The entry's leaf hash.
    pub leaf_hash: Hash,
    /// The size of the signed checkpoint that covers it.
    pub checkpoint_size: u64,
}

/// A decision that is in the log. INVARIANT: only the sequencer makes one, after its commit.
#[derive(Debug)]
pub struct Answer {
    judgement: Judgement,
    recorded: Recorded,
}

impl Answer {
    pub(super) const fn new(judgement: Judgement, recorded: Recorded) -> Self {
        Self {
            judgement,
            recorded,
        }
    }

    /// What was decided and why.
    pub const fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// Where it is recorded.
    pub const fn recorded(&self) -> &Recorded {
        &self.recorded
    }
}
