//! The deployment's log shown to the world: cosigned by its witnesses, laid into a folder, sent to a sink.
//!
//! It holds salted hashes of the organizations' checkpoints and nothing else of theirs, so whoever sees it learns how many there are and
//! when they were busy, and nothing more.

mod folder;
mod outlet;
mod witnesses;

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, Misconfigured};
use crate::decide::error::Unwritten;
use crate::decide::{Door, anchor, audit};
use crate::log::anchors;
use crate::log::checkpoint::SignedCheckpoint;
use crate::log::flaw::Flaw;
use crate::log::witness::Policy;

use folder::Folder;
use outlet::{Client, Sink, Unsent};
use witnesses::Witnesses;

/// Why nothing can be published with these settings.
#[derive(Debug, thiserror::Error)]
pub enum Unpublishable {
    /// The settings.
    #[error(transparent)]
    Misconfigured(#[from] Misconfigured),
    /// A file that the settings name.
    #[error("cannot read `{}` of `{key}`", path.display())]
    Unreadable {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What such a file holds.
    #[error("`{}` of `publish.witnesses`: {flaw}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// A URL to which nothing is sent in the clear.
    #[error("`{url}` of `{key}` must begin with https://, or with http:// and a loopback address")]
    Url {
        /// The setting.
        key: &'static str,
        /// The URL.
        url: String,
    },
    /// More witnesses than a checkpoint can carry the signatures of.
    #[error("`publish.witnesses` names {count} witnesses, and at most 24 can be asked")]
    Crowd {
        /// As many as it names.
        count: usize,
    },
    /// A token that no header can carry.
    #[error("`publish.token_file` holds what cannot be sent as a bearer token")]
    Token,
    /// Certificates that are none, or no client with them.
    #[error("`publish.ca` cannot be used")]
    Certificates(#[source] reqwest::Error),
}

/// Why something did not go out. The next round tries again.
#[derive(Debug, thiserror::Error)]
pub enum Unpublished {
    /// A witness.
    #[error("witness `{name}`: {why}")]
    Witness {
        /// Its name in the policy.
        name: String,
        /// Why it has not cosigned.
        #[source]
        why: Unsent,
    },
    /// Too few witnesses: nothing goes out.
    #[error(transparent)]
    Quorum(Flaw),
    /// The folder.
    #[error("folder `{}`", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The sink.
    #[error("sink: {0}")]
    Sink(#[source] Unsent),
}

impl Unpublished {
    /// What did not work, for a counter.
    const fn outlet(&self) -> &'static str {
        match self {
            Self::Witness { .. } => "witness",
            Self::Quorum(_) => "quorum",
            Self::Folder { .. } => "folder",
            Self::Sink(_) => "sink",
        }
    }
}

/// How often a round is begun that another node overtakes.
const TRIES: usize = 3;

/// More witnesses than a checkpoint has room for signatures are not asked.
const WITNESSES: usize = 24;

/// What came of a round.
#[derive(Debug, Default)]
pub struct Round {
    /// How many entries the checkpoint has that went out; 0 if none did.
    pub size: u64,
    /// The witnesses that have cosigned it.
    pub cosigned: Vec<String>,
    /// What did not work.
    pub failed: Vec<Unpublished>,
    /// Another node has published more meanwhile.
    pub is_overtaken: bool,
}

/// Where the deployment's log goes.
#[derive(Debug)]
pub struct Publisher {
    every: Duration,
    witnesses: Witnesses,
    folder: Option<Folder>,
    sink: Option<Sink>,
}

impl Publisher {
    /// What the settings say.
    ///
    /// # Errors
    /// A file that cannot be read or is none, a URL without TLS.
    pub fn open(config: &Config) -> Result<Self, Unpublishable> {
        let settings = &config.publish;
        let read = |key, path: &PathBuf| {
            let unreadable = |source| Unpublishable::Unreadable {
                key,
                path: path.clone(),
                source,
            };
            std::fs::read(path).map_err(unreadable)
        };
        let ca = settings.ca.as_ref().map(|path| read("publish.ca", path));
        let client = Client::new(ca.transpose()?.as_deref())?;
        let policy = match &settings.witnesses {
            Some(path) => {
                let text = read("publish.witnesses", path)?;
                let policy: Result<Policy, _> = String::from_utf8_lossy(&text).parse();
                policy.map_err(|flaw| Unpublishable::Policy {
                    path: path.clone(),
                    flaw,
                })?
            }
            None => Policy::default(),
        };
        let count = policy.witnesses().len();
        if count > WITNESSES {
            return Err(Unpublishable::Crowd { count });
        }
        let sink = settings.sink.as_deref();
        let sink = sink.map(|url| Sink::new(client.clone(), url, config.publish_token()?));
        Ok(Self {
            every: settings.every(),
            witnesses: Witnesses::new(client, policy)?,
            folder: settings.dir.clone().map(Folder::new),
            sink: sink.transpose()?,
        })
    }

    /// How often a round is made.
    #[must_use]
    pub const fn every(&self) -> Duration {
        self.every
    }

    /// Has the last checkpoint cosigned, and lets it out if there are witnesses enough. Doing it again changes nothing.
    ///
    /// # Errors
    /// The log does not answer. What does not work outside is in the round.
    pub async fn round(&self, deployment: &Door) -> Result<Round, Unwritten> {
        let mut round = self.try_round(deployment).await?;
        // Where another node was quicker there is more to publish.
        for _ in 1..TRIES {
            if !round.is_overtaken {
                break;
            }
            round = self.try_round(deployment).await?;
        }
        for failed in &round.failed {
            let outlet = failed.outlet();
            metrics::counter!("cedarkeep_unpublished_total", "outlet" => outlet).increment(1);
        }
        Ok(round)
    }

    async fn try_round(&self, deployment: &Door) -> Result<Round, Unwritten> {
        let store = deployment.store();
        let head = audit::head(store).await?;
        let mut round = Round::default();
        if head.size == 0 {
            return Ok(round);
        }
        let mut note = SignedCheckpoint::parse(head.checkpoint.as_bytes())?;
        let last = anchor::published(store).await?;
        if let Some(last) = last.filter(|last| last.checkpoint() == note.checkpoint()) {
            self.witnesses.adopt(&mut note, &last);
        }
        for (name, why) in self.witnesses.ask(store, &mut note).await? {
            match why {
                Unsent::Overtaken { .. } => round.is_overtaken = true,
                why => round.failed.push(Unpublished::Witness { name, why }),
            }
        }
        if round.is_overtaken {
            return Ok(round);
        }
        match self.witnesses.policy().met_by(&note) {
            Ok(cosigned) => {
                round.cosigned = cosigned.iter().map(|one| one.name.clone()).collect();
                round.size = note.checkpoint().size;
                let text = note.to_string();
                let now = audit::head(store).await?.size;
                let going = (round.size, text.as_str());
                if !anchors::publish(store.database(), going, now).await? {
                    round.is_overtaken = true;
                    round.size = 0;
                    return Ok(round);
                }
                if let Some(folder) = &self.folder {
                    round.failed.extend(folder.lay(store, &note).await?);
                }
                if let Some(sink) = &self.sink {
                    round
                        .failed
                        .extend(sink.send(&text).await.err().map(Unpublished::Sink));
                }
            }
            Err(flaw) => round.failed.push(Unpublished::Quorum(flaw)),
        }
        Ok(round)
    }
}
