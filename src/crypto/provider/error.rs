//! Why a provider of root keys does not do what it was asked. No variant carries a PIN, a credential or a key.

/// What a provider says, or does not say; `what` names it as its operator would.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProviderError {
    /// Nothing answers: the token is not in its slot, there is no way to the service, the service is broken.
    #[error("{what} is out of reach: {why}")]
    OutOfReach {
        /// Which provider.
        what: String,
        /// What the system or the library said.
        why: String,
    },
    /// It takes longer than `keys.timeout_ms`.
    #[error("{what} does not answer in time (`keys.timeout_ms`)")]
    TooSlow {
        /// Which provider.
        what: String,
    },
    /// More is asked of it than it takes.
    #[error("{what} takes no more calls now")]
    Busy {
        /// Which provider.
        what: String,
    },
    /// It answers, and refuses: its operator has something to do.
    #[error("{what} refuses: {why}")]
    Refused {
        /// Which provider.
        what: String,
        /// What it says, and what to do.
        why: String,
    },
    /// The root key is not in it.
    #[error(
        "{what} has no key `{key}`, and none is made over existing data: bring the key back, or name the right one"
    )]
    NoKey {
        /// Which provider.
        what: String,
        /// The key's name.
        key: String,
    },
    /// The root key is there, and may not serve as one.
    #[error("{what}: its key `{key}` cannot be a root key: {why}")]
    UnfitKey {
        /// Which provider.
        what: String,
        /// The key's name.
        key: String,
        /// What it should be.
        why: &'static str,
    },
    /// The versions of its keys are not ours to make or to destroy.
    #[error(
        "{what} makes the versions of its keys by itself: switch its own rotation on, or name another key as a further provider and run `cedarkeep keys rewrap`"
    )]
    OwnVersions {
        /// Which provider.
        what: String,
    },
}

impl ProviderError {
    /// Whether it keeps every key of the provider from being used.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::OutOfReach { .. }
            | Self::TooSlow { .. }
            | Self::Busy { .. }
            | Self::Refused { .. } => true,
            Self::NoKey { .. } | Self::UnfitKey { .. } | Self::OwnVersions { .. } => false,
        }
    }

    /// Whether it may pass without anybody's doing.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::OutOfReach { .. } | Self::TooSlow { .. } | Self::Busy { .. }
        )
    }

    /// The same in words that say nothing about where the key is kept.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::OutOfReach { .. } => "what keeps its root key is out of reach",
            Self::TooSlow { .. } => "what keeps its root key does not answer in time",
            Self::Busy { .. } => "what keeps its root key takes no more calls now",
            Self::Refused { .. } => "what keeps its root key refuses to use it",
            Self::NoKey { .. } | Self::UnfitKey { .. } | Self::OwnVersions { .. } => {
                "its root key is not there"
            }
        }
    }
}
