//! Why there is no answer, or no change.

use crate::crypto::CryptoError;
use crate::directory::DirectoryError;
use crate::log::append::Unreadable;
use crate::log::flaw::Flaw;
use crate::policy::PolicyError;
use crate::storage::StorageError;
use crate::tenant::TenantError;

use super::judge::Judgement;
use super::question::Recorded;
use crate::directory::policies::files::SCHEMA;

/// A state that cannot be: a library that does not compile, an entity that does not fit.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Of the directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Of the policies.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Why the log could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The tenant's keys or its database.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// What was to be written, or what was read.
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// The log's rows.
    #[error(transparent)]
    Log(#[from] Unreadable),
    /// Stored rows that cannot be what they are.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Sealing failed.
    #[error(transparent)]
    Crypto(#[from] crate::crypto::CryptoError),
    /// What is kept of a resource.
    #[error(transparent)]
    Vault(#[from] crate::vault::VaultError),
    /// A stored value that is not what it should be.
    #[error("the stored {what} is not what it should be")]
    Corrupt {
        /// What.
        what: &'static str,
    },
    /// The log ends before where it was seen to end, or is another one: its database was put back.
    #[error(
        "rollback_detected: the log was seen with {seen} entries, and what is stored, of {size}, does not go on from there, or is damaged (`cedarkeep audit verify SLUG` says where); put the right database back, or, after a restore on purpose, run `cedarkeep org restored SLUG --confirm SLUG`"
    )]
    RolledBack {
        /// How many entries it was seen to have.
        seen: u64,
        /// How many it has.
        size: u64,
    },
    /// Another life of the log has begun since it was opened: it is opened anew.
    #[error("the log was put back from a backup, and goes on as another incarnation")]
    OtherLife,
    /// The mark outside the database is not to be believed, so it is not known whether the log was put back.
    #[error("the high-water mark `{}` cannot be used: {why}", path.display())]
    Mark {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        why: String,
    },
    /// What is good once was used up a moment before.
    #[error("what is good once was used up before")]
    UsedUp,
    /// Other nodes wrote each time that this one tried.
    #[error("other nodes were quicker, several times over")]
    Contended,
    /// It took too long.
    #[error("the log did not answer in time")]
    Slow,
}

impl Unwritten {
    /// Whether somebody else held what was to be written, so that the database has let go of the whole transaction: it can be made again.
    pub(super) fn is_collision(&self) -> bool {
        match self {
            Self::Storage(error) | Self::Log(Unreadable::Storage(error)) => error.is_collision(),
            _ => false,
        }
    }

    /// Whether a value names a version of a key that is not in memory: another node has rotated it.
    pub(super) const fn is_of_unknown_key(&self) -> bool {
        matches!(
            self,
            Self::Crypto(CryptoError::UnknownVersion { .. })
                | Self::Tenant(TenantError::Crypto(CryptoError::UnknownVersion { .. }))
        )
    }
}

/// Why there is no answer: an error, and never a decision.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The tenant asks for more than its part of the node; nothing was recorded.
    #[error("too much is waiting for an answer already; come again in a second")]
    Busy,
    /// The key's scopes do not open this call; recorded.
    #[error("the key has not the scope for this")]
    Scope(Box<Judgement>, Recorded),
    /// Cedar denied an action of Cedarkeep's own; recorded.
    #[error("not allowed")]
    Denied(Box<Judgement>, Recorded),
    /// The question is none: an unknown type or action, a context of the wrong type.
    #[error(transparent)]
    Question(#[from] PolicyError),
    /// A name that nothing has.
    #[error("there is no {what} `{name}`: {known}")]
    Unknown {
        /// Type or action.
        what: &'static str,
        /// The name given.
        name: String,
        /// What would do.
        known: &'static str,
    },
    /// The change cannot be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The acting user or agent is not there.
    #[error("the acting {what} is not there")]
    Nobody {
        /// User or agent.
        what: &'static str,
    },
    /// After it no active Admin could edit policies, or have them count.
    #[error(
        "after this no active Admin could edit policies and activate them: leave `policy.edit` and `policy.activate` to them, or use `cedarkeep policy rollback`"
    )]
    LockOut,
    /// The same Idempotency-Key with another request.
    #[error("this Idempotency-Key was used for another request: choose a new one")]
    KeyReused,
    /// The content is not what the request says that it must be.
    #[error("the content is not the version that this request names: read it again")]
    Precondition,
    /// The person whose content it would be was erased.
    #[error("the person whose content this would be was erased")]
    Forgotten,
    /// The log could not be written in time, so there is no answer.
    #[error("the log cannot be written now: try again")]
    Unavailable,
}

impl Refused {
    /// What is wrong with the schema, said of the file that it came from: policies have the names of theirs already.
    #[must_use]
    pub fn about_schema(mut self, file: &str) -> Self {
        if let Self::Question(PolicyError::Refused(findings)) = &mut self {
            for finding in findings.iter_mut().filter(|one| one.file == SCHEMA) {
                finding.file = file.to_owned();
            }
        }
        self
    }
}

impl From<Unfit> for Refused {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Directory(error) => Self::Directory(error),
            Unfit::Policy(error) => Self::Question(error),
        }
    }
}
