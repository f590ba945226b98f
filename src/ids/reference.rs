//! The built-in types, and references to what is of one: its kind, and the 128 bits that we gave it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super as ids;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $prefix:literal, $path:literal;)*) => {
        /// A built-in type.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Its name in the schema, without the namespace; AuthZEN's `type`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)* }
            }

            /// Its whole name in the schema.
            pub const fn type_name(self) -> &'static str {
                match self { $(Self::$kind => concat!("Cedarkeep::", stringify!($kind)),)* }
            }

            /// The prefix of its identifiers.
            pub const fn prefix(self) -> &'static str {
                match self { $(Self::$kind => $prefix,)* }
            }

            /// Its collection's name in URLs.
            pub const fn collection(self) -> &'static str {
                match self { $(Self::$kind => $path,)* }
            }
        }
    };
}

kinds! {
    /// The tenant itself.
    Organization = "org", "organization";
    /// A person.
    User = "usr", "users";
    /// The members or the leads of a container.
    Group = "grp", "groups";
    /// An app back end.
    Service = "svc", "services";
    /// Some people.
    Team = "tea", "teams";
    /// A piece of work.
    Project = "prj", "projects";
    /// A conversation.
    Thread = "thr", "threads";
    /// A document's metadata.
    Document = "doc", "documents";
    /// Something remembered.
    Memory = "mem", "memory";
    /// A prompt template.
    PromptTemplate = "tpl", "prompt-templates";
    /// A tool.
    Tool = "tol", "tools";
    /// An assistant.
    Assistant = "ast", "assistants";
    /// What an agent is.
    AgentDefinition = "adf", "agents";
    /// An agent that runs.
    Agent = "agt", "agent-principals";
    /// One run of an agent.
    AgentRun = "run", "agent-runs";
    /// A connection to something outside.
    Integration = "int", "integrations";
    /// A service's key.
    ApiKey = "key", "api-keys";
    /// An invitation.
    Invitation = "inv", "invitations";
    /// Somebody's wish to have something shared with them.
    AccessRequest = "acr", "access-requests";
    /// Somebody signed in.
    Session = "ses", "sessions";
    /// The organization's policies.
    PolicySet = "pol", "policy-set";
    /// The organization's log.
    AuditLog = "log", "audit";
    /// The organization's settings.
    Settings = "set", "settings";
    /// The organization's plan and bills.
    Billing = "bil", "billing";
    /// The organization's reports.
    Report = "rep", "reports";
    /// The documents for auditors.
    ComplianceDocs = "cmp", "compliance-docs";
}

impl Kind {
    /// One of each per organization, with the organization's own 128 bits.
    pub const SINGLETONS: &'static [Self] = &[
        Self::PolicySet,
        Self::AuditLog,
        Self::Settings,
        Self::Billing,
        Self::Report,
        Self::ComplianceDocs,
    ];

    /// The kind of that name; case matters.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether other things hang from it.
    pub const fn is_container(self) -> bool {
        matches!(self, Self::Organization | Self::Team | Self::Project)
    }
}

/// A reference to an object of a built-in type; as text the prefix tells the kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ref {
    /// Its kind.
    pub kind: Kind,
    /// Its 128 random bits.
    pub id: [u8; 16],
}

impl Ref {
    /// A reference made of 128 random bits.
    pub const fn new(kind: Kind, id: [u8; 16]) -> Self {
        Self { kind, id }
    }

    /// Reads a text that must name this kind.
    pub fn of(kind: Kind, text: &str) -> Option<Self> {
        ids::parse(kind.prefix(), text)
            .ok()
            .map(|id| Self { kind, id })
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ids::text(self.kind.prefix(), &self.id))
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names nothing that we could have made.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an identifier of ours")]
pub struct NotARef(String);

impl FromStr for Ref {
    type Err = NotARef;

    fn from_str(text: &str) -> Result<Self, NotARef> {
        let wrong = || NotARef(text.chars().take(64).collect());
        let (prefix, _) = text.split_once('_').ok_or_else(wrong)?;
        let kind = Kind::ALL
            .iter()
            .copied()
            .find(|kind| kind.prefix() == prefix)
            .ok_or_else(wrong)?;
        Self::of(kind, text).ok_or_else(wrong)
    }
}

impl Serialize for Ref {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ref {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
