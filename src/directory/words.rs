//! The closed lists of words that objects use: roles, plans, layers, scopes and levels, as the schema names them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in the schema.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|value| value.name() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|value| value.name()).collect();
                    format!("`{}` is none of {}", text.chars().take(64).collect::<String>(), known.join(", "))
                })
            }
        }
    };
}

names! {
    /// What a person is in the organization.
    Role {
        /// Runs the organization.
        Admin = "Admin",
        /// Works in it.
        Member = "Member",
        /// Looks at what is shared.
        Viewer = "Viewer",
    }
}

names! {
    /// What the organization has bought.
    Plan {
        /// The first.
        Starter = "Starter",
        /// With the log.
        Business = "Business",
        /// With everything.
        Enterprise = "Enterprise",
    }
}

names! {
    /// How wide a memory reaches.
    Layer {
        /// One conversation.
        Thread = "thread",
        /// One project.
        Project = "project",
        /// One team.
        Team = "team",
        /// One person.
        Personal = "personal",
        /// Everybody.
        Organization = "organization",
    }
}

names! {
    /// What a key may be used for.
    Scope {
        /// Ask for decisions.
        Decide = "decide",
        /// Ask who and what.
        Search = "search",
        /// Ask why.
        Explain = "explain",
        /// Read the directory for an acting user.
        DirectoryRead = "directory.read",
        /// Change the directory for an acting user.
        DirectoryWrite = "directory.write",
        /// Read and write content for an acting user.
        Content = "content",
        /// Read the log for an acting user.
        AuditRead = "audit.read",
        /// Edit policies for an acting user.
        Policy = "policy",
        /// Bring people in and out, without an acting user.
        Provision = "provision",
        /// Report what happened in the app.
        Events = "events",
    }
}

names! {
    /// How much a share gives; each has what the one before has.
    Level {
        /// Read and use.
        Viewer = "viewer",
        /// Comment too.
        Commenter = "commenter",
        /// Write too.
        Editor = "editor",
        /// Read the log; on the log alone.
        Auditor = "auditor",
    }
}
