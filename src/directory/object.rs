//! What the directory holds: the kinds, references to them, and the body of each as it is stored.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::connection::{Connection, ConnectionId, SignIn};
use super::hand::Through;
use super::policies::files::own;
use super::policies::{PolicyVersion, Rules, Signed, Standing};
use super::request::Request;
use super::run::Status;
use super::scim::{DirectoryGroup, Provisioned, Scim};
use super::takeout::PrivateExport;
pub use super::words::{Layer, Level, Plan, Role, Scope};
pub use crate::ids::reference::{Kind, Ref};
use crate::policy::OwnPolicies;

/// The tenant's own record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Organization {
    /// What people call it.
    pub name: String,
    /// What it has bought.
    pub plan: Plan,
    /// Where content may be touched; empty: everywhere.
    pub regions: BTreeSet<String>,
    /// The one method of signing in that is allowed.
    pub sso_enforced: Option<String>,
    /// How many active Admins it has, kept by the change that moves it.
    pub active_admins: i64,
    /// Everybody.
    pub members: Ref,
    /// Legal holds.
    pub holds: i64,
    /// Suspended by the operator: nothing is allowed.
    pub suspended: bool,
    /// For how many days entries of the log are kept; for ever if absent.
    #[serde(default)]
    pub retention_days: Option<u32>,
    /// When it is closed, where somebody has asked for that.
    #[serde(default)]
    pub closes_at: Option<DateTime<Utc>>,
    /// An export with what is private, asked for or approved.
    #[serde(default)]
    pub private_export: Option<PrivateExport>,
    /// What its Admins have set about signing in.
    #[serde(default)]
    pub sign_in: SignIn,
    /// Within how many days every share ends; if absent one may be without an end.
    #[serde(default)]
    pub share_days: Option<u32>,
    /// What they have set about the directory that provisions people.
    #[serde(default)]
    pub scim: Box<Scim>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// What people call them.
    pub name: String,
    /// Their address.
    pub email: String,
    /// What they are.
    pub role: Role,
    /// Not suspended.
    pub active: bool,
    /// The groups that they are in.
    pub groups: BTreeSet<Ref>,
    /// Legal holds.
    pub holds: i64,
    /// Who they are to identity providers.
    #[serde(default)]
    pub identities: BTreeSet<Identity>,
    /// What the customer's directory says of them, where it keeps them.
    #[serde(default)]
    pub provisioned: Option<Box<Provisioned>>,
}

/// Who somebody is to an identity provider: never their address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// The connection to it.
    pub connection: ConnectionId,
    /// Their name there, which it gives nobody else.
    pub subject: String,
}

/// A team or a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Circle {
    /// What people call it.
    pub name: String,
    /// The container that it hangs from.
    pub parent: Ref,
    /// Who is in it.
    pub members: Ref,
    /// Who leads it; leads are members.
    pub leads: Ref,
    /// Legal holds.
    pub holds: i64,
}

/// What a person makes: a thread, a document, a template, a tool, an assistant, an agent's definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// What people call it.
    pub name: String,
    /// Who owns it.
    pub owner: Ref,
    /// The container that it hangs from; for a document also its thread.
    pub parent: Ref,
    /// The members of a container above it who may read it; none: private.
    pub audience: Option<Ref>,
    /// Legal holds.
    pub holds: i64,
}

/// A memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What people call it.
    pub name: String,
    /// Who wrote it; the person of the personal layer.
    pub owner: Ref,
    /// How wide it reaches.
    pub layer: Layer,
    /// The thread, project, team or organization that it hangs from.
    pub parent: Ref,
    /// Legal holds.
    pub holds: i64,
}

/// A connection to something outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Integration {
    /// What people call it.
    pub name: String,
    /// What it connects to.
    pub provider: String,
    /// Who may use it; none: Admins alone.
    pub audience: Option<Ref>,
    /// When its token was last refreshed.
    pub refreshed_at: Option<DateTime<Utc>>,
}

/// An app back end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// What people call it.
    pub name: String,
    /// What its keys may be used for.
    pub scopes: BTreeSet<Scope>,
}

/// A service's key, by its digest; or what binds a client certificate to the service, by a name that the certificate has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    /// What people call it.
    pub name: String,
    /// The service that it speaks for.
    pub service: Ref,
    /// SHA-256 of the whole key, in hex; empty where it is no key.
    pub digest: String,
    /// The name of the certificates that are the service's, as [`service::certificate_name`](super::service::certificate_name) writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// When it stops.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Which door it opens.
    #[serde(default)]
    pub form: Form,
    /// Whose doing it is that there is one.
    #[serde(default)]
    pub made_by: Through,
}

/// Which door a service's credential opens; none opens another's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// An API key.
    #[default]
    Key,
    /// The token of the customer's directory.
    Scim,
}

/// Somebody signed in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Whose it is.
    pub owner: Ref,
    /// SHA-256 of the whole cookie, in hex.
    pub digest: String,
    /// How they signed in, in the words of `sso_enforced`.
    pub method: String,
    /// Whether this is the break-glass sign-in.
    pub break_glass: bool,
    /// The connection that they came by.
    pub connection: Option<ConnectionId>,
    /// The provider's own session, by which it ends this one.
    pub provider_session: Option<String>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it is over, however busy it is.
    pub expires_at: DateTime<Utc>,
    /// The program that they came with, as it called itself.
    pub agent: Option<String>,
    /// The address that they came from.
    pub client: Option<String>,
}

/// Somebody who may join by a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invitation {
    /// The address that it was sent to.
    pub email: String,
    /// What people call them, where whoever invited them said so.
    pub name: Option<String>,
    /// What they will be.
    pub role: Role,
    /// Who invited them; nobody: the operator, or a service that provisions.
    pub invited_by: Option<Ref>,
    /// SHA-256 of the link's token, in hex.
    pub digest: String,
    /// When the link that counts was sent.
    pub sent_at: DateTime<Utc>,
    /// When it stops counting.
    pub expires_at: DateTime<Utc>,
    /// It has stopped, and the log says so.
    pub expired: bool,
}

/// One run of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentRun {
    /// The user that it runs for.
    pub owner: Ref,
    /// What it runs.
    pub definition: Ref,
    /// How far it is.
    #[serde(default)]
    pub status: Status,
    /// When it was started.
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<DateTime<Utc>>,
}

/// An object of a built-in type, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Object {
    /// The tenant itself.
    Organization(Organization),
    /// A person.
    User(User),
    /// The members or leads of a container.
    Group {
        /// The container.
        of: Ref,
    },
    /// People whom the customer's directory keeps together.
    DirectoryGroup(DirectoryGroup),
    /// An app back end.
    Service(Service),
    /// A service's key.
    ApiKey(ApiKey),
    /// Some people.
    Team(Circle),
    /// A piece of work.
    Project(Circle),
    /// A conversation.
    Thread(Made),
    /// A document's metadata.
    Document(Made),
    /// A prompt template.
    PromptTemplate(Made),
    /// A tool.
    Tool(Made),
    /// An assistant.
    Assistant(Made),
    /// What an agent is.
    AgentDefinition(Made),
    /// Something remembered.
    Memory(Memory),
    /// A connection to something outside.
    Integration(Integration),
    /// An agent that runs.
    Agent {
        /// What it is.
        definition: Ref,
    },
    /// One run of an agent.
    AgentRun(AgentRun),
    /// Somebody signed in.
    Session(Session),
    /// Somebody who may join by a link.
    Invitation(Invitation),
    /// Somebody's wish to have something shared with them.
    AccessRequest(Request),
}

impl Object {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Organization(_) => Kind::Organization,
            Self::User(_) => Kind::User,
            Self::Group { .. } | Self::DirectoryGroup(_) => Kind::Group,
            Self::Service(_) => Kind::Service,
            Self::ApiKey(_) => Kind::ApiKey,
            Self::Team(_) => Kind::Team,
            Self::Project(_) => Kind::Project,
            Self::Thread(_) => Kind::Thread,
            Self::Document(_) => Kind::Document,
            Self::PromptTemplate(_) => Kind::PromptTemplate,
            Self::Tool(_) => Kind::Tool,
            Self::Assistant(_) => Kind::Assistant,
            Self::AgentDefinition(_) => Kind::AgentDefinition,
            Self::Memory(_) => Kind::Memory,
            Self::Integration(_) => Kind::Integration,
            Self::Agent { .. } => Kind::Agent,
            Self::AgentRun(_) => Kind::AgentRun,
            Self::Session(_) => Kind::Session,
            Self::Invitation(_) => Kind::Invitation,
            Self::AccessRequest(_) => Kind::AccessRequest,
        }
    }

    /// What it hangs from, if it hangs from anything but the organization's root.
    pub const fn parent(&self) -> Option<Ref> {
        match self {
            Self::Team(circle) | Self::Project(circle) => Some(circle.parent),
            Self::Memory(memory) => Some(memory.parent),
            Self::Agent { definition } => Some(*definition),
            Self::AgentRun(run) => Some(run.definition),
            Self::ApiKey(_)
            | Self::Integration(_)
            | Self::Invitation(_)
            | Self::AccessRequest(_)
            | Self::Organization(_)
            | Self::User(_)
            | Self::Group { .. }
            | Self::DirectoryGroup(_)
            | Self::Session(_)
            | Self::Service(_) => None,
            _ => match self.made() {
                Some(made) => Some(made.parent),
                None => None,
            },
        }
    }

    /// The common shape of teams and projects.
    pub const fn circle(&self) -> Option<&Circle> {
        match self {
            Self::Team(circle) | Self::Project(circle) => Some(circle),
            _ => None,
        }
    }

    /// The common shape of what a person makes.
    pub const fn made(&self) -> Option<&Made> {
        match self {
            Self::Thread(made)
            | Self::Document(made)
            | Self::PromptTemplate(made)
            | Self::Tool(made)
            | Self::Assistant(made)
            | Self::AgentDefinition(made) => Some(made),
            _ => None,
        }
    }

    /// The same, to change it.
    pub const fn made_mut(&mut self) -> Option<&mut Made> {
        match self {
            Self::Thread(made)
            | Self::Document(made)
            | Self::PromptTemplate(made)
            | Self::Tool(made)
            | Self::Assistant(made)
            | Self::AgentDefinition(made) => Some(made),
            _ => None,
        }
    }

    /// Puts the common shape into an object of that kind.
    pub fn from_made(kind: Kind, made: Made) -> Option<Self> {
        Some(match kind {
            Kind::Thread => Self::Thread(made),
            Kind::Document => Self::Document(made),
            Kind::PromptTemplate => Self::PromptTemplate(made),
            Kind::Tool => Self::Tool(made),
            Kind::Assistant => Self::Assistant(made),
            Kind::AgentDefinition => Self::AgentDefinition(made),
            _ => return None,
        })
    }
}

/// A share: a link of a policy template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// How much it gives.
    pub level: Level,
    /// A user, a group or an agent's definition.
    pub grantee: Ref,
    /// What is shared.
    pub resource: Ref,
    /// When it stops counting.
    pub expires_at: Option<DateTime<Utc>>,
}

/// An entity of a type of the tenant's own, as Cedar's JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnEntity {
    /// Cedar's JSON form of one entity: `uid`, `attrs`, `parents`, `tags`.
    pub entity: serde_json::Value,
}

/// The tenant's own schema and policies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnLibrary {
    /// Which version, counted from 1; 0: nothing but the built-in ones.
    pub version: u64,
    /// Cedar schema text.
    pub schema: String,
    /// File names and Cedar text.
    pub policies: Vec<(String, String)>,
    /// Who had it count, and since when.
    #[serde(default)]
    pub activated: Option<Signed>,
}

impl OwnLibrary {
    /// Schema and policies as the compiler takes them.
    #[must_use]
    pub fn own(&self) -> OwnPolicies {
        own(&self.schema, &self.policies)
    }
}

/// What a row of `state` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// An object of a built-in type.
    Object(Object),
    /// A share.
    Share(Share),
    /// An entity of the tenant's own types.
    Own(OwnEntity),
    /// The tenant's own schema and policies.
    Library(OwnLibrary),
    /// A connection to an identity provider.
    Connection(Connection),
    /// A version of the tenant's own policies.
    Version(PolicyVersion),
    /// How far a version has come.
    Standing(Standing),
    /// What counts for all versions.
    Rules(Rules),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_name_one_kind_each() {
        let prefixes: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.prefix()).collect();
        assert_eq!(prefixes.len(), Kind::ALL.len());
    }

    #[test]
    fn a_reference_survives_its_text() {
        for kind in Kind::ALL {
            let reference = Ref::new(*kind, [7; 16]);
            assert_eq!(reference.to_string().parse::<Ref>().ok(), Some(reference));
        }
        assert!("nob_aaaaaaaaaaaaaaaaaaaaaaaaaa".parse::<Ref>().is_err());
    }
}
