//! `cedarkeep audit`: the log read, checked, and proved.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Outcome;
use super::export::{self, Export};
use super::offline;
use super::org::tenant;
use super::print::{Out, with_causes};
use super::replay::SelfCheck;
use crate::app::App;
use crate::decide::recent::Recent;
use crate::decide::{Asker, anchor, audit, check, search};
use crate::directory::keeping;
use crate::ids::TenantId;
use crate::log::Event;
use crate::log::checkpoint::{Origin, VerifierKey};
use crate::log::entry;
use crate::log::flaw::Flaw;
use crate::log::merkle::Hash;
use crate::log::query::{Query, Unasked};
use crate::log::verify::Kept;
use crate::publish::Publisher;
use crate::tenant::{DEPLOYMENT, Store, TenantError};

/// How many entries are read before they are printed.
const PAGE: usize = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Check a bundle, a receipt or an anchor, offline, or everything that is stored of an organization's log; exits with 1 when anything is
    /// wrong
    Verify {
        /// A file with a bundle, a receipt or an anchor; where there is no such file, the organization of that name
        #[arg(value_name = "FILE|SLUG")]
        what: String,
        /// A public key of the log that you trust, as `audit checkpoint --key` prints it, or a file with such keys, one a line.
        /// Nothing but the keys and the file is read then, no database and no network
        #[arg(long = "key", value_name = "KEY|FILE")]
        keys: Vec<String>,
        /// A policy (C2SP tlog-policy): the witnesses that you trust, and how many of them must have cosigned the checkpoint of a receipt
        /// or an anchor of the deployment's log; its logs are trusted like those of --key
        #[arg(long = "policy", value_name = "FILE")]
        policy: Option<PathBuf>,
        /// A checkpoint, a receipt or an anchor of the log that somebody kept: the log must go on from it. An organization's high-water mark on
        /// this machine is one without asking
        #[arg(long = "kept", value_name = "FILE")]
        kept: Vec<PathBuf>,
    },
    /// Export the log: as a bundle that `verify` checks, or as JSON lines, a table, or OCSF events
    Export(Box<Export>),
    /// Print a hash tile or an entry bundle (C2SP tlog-tiles), as `tile/0/000.p/20` or `tile/entries/000`
    Tile {
        /// The organization, or `deployment` for the deployment's own log
        slug: String,
        /// Its path
        path: String,
    },
    /// Print the last signed checkpoint, and with --key the public key that it and every receipt is verified with
    Checkpoint {
        /// The organization, or `deployment` for the deployment's own log
        slug: String,
        /// The key alone
        #[arg(long)]
        key: bool,
    },
    /// Print what shows that the log was only appended to since it had FROM entries: the sizes, the hashes of the proof, and the last checkpoint
    #[command(after_help = CONSISTENCY)]
    Consistency {
        /// The organization, or `deployment` for the deployment's own log
        slug: String,
        /// The earlier size, from 1
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        from: u64,
        /// The later size; the log's size now if not given
        to: Option<u64>,
    },
    /// Print the newest entries, the oldest of them first
    Tail {
        /// The organization, or `deployment` for the deployment's own log
        slug: String,
        /// How many
        #[arg(short = 'n', long, default_value_t = 20)]
        entries: u64,
    },
    /// Print the entries that fit every condition given, the newest first
    Query(Box<Asked>),
    /// Make logged decisions again as they were made; exits with 1 when one does not come out exactly as it was recorded
    Replay(Box<SelfCheck>),
    /// Build the search index anew; queries are complete meanwhile
    Reindex {
        /// The organization, or `deployment` for the deployment's own log
        slug: String,
    },
    /// Have the log signed by a new key: the checkpoint of the change is signed by both, and the old seed is destroyed
    RotateKey {
        /// The organization, or `deployment` for the deployment's own log
        slug: String,
    },
    /// Print what shows that the deployment's log, which is published and witnessed, has a commitment to this log
    Anchor {
        /// The organization
        slug: String,
        /// To a checkpoint of so many entries or more; the newest there is if not given
        size: Option<u64>,
    },
    /// Commit the deployment's log to every organization's last checkpoint, and publish it now; a running service does so by itself
    Publish,
    /// Print a receipt of one entry, which anybody can verify offline
    Receipt {
        /// The organization, or `deployment` for the deployment's own log
        slug: String,
        /// The entry's index
        index: u64,
    },
}

const CONSISTENCY: &str = "\
The form is that in which a witness is asked (C2SP tlog-witness): `old` and the earlier size, the hashes (RFC 6962) in base 64, an empty
line, and the signed checkpoint. With TO, a line `new` and the later size stands behind the first one where the checkpoint is of another.
Whoever kept the checkpoint of FROM entries checks it with any implementation of RFC 6962: the hashes lead from its root to the root of
the later size. Here `cedarkeep audit verify SLUG --kept FILE` does all of it with the checkpoint that was kept; for a bundle of the log,
`cedarkeep audit verify BUNDLE --key KEY --kept FILE` does, offline.";

#[derive(Debug, Args)]
pub(super) struct Asked {
    /// The organization, or `deployment` for the deployment's own log
    slug: String,
    #[command(flatten)]
    conditions: Conditions,
    /// How many; 0 for all of them
    #[arg(short = 'n', long, default_value_t = 20)]
    entries: usize,
}

/// Which entries.
#[derive(Debug, Args)]
pub(super) struct Conditions {
    /// The first moment that counts, as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The first moment that does not count any more
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// An event, as `thread.shared`
    #[arg(long)]
    event: Option<String>,
    /// decision, authentication, membership, settings, integrations, ai_activity or data_operations
    #[arg(long)]
    category: Option<String>,
    /// allow, deny, ok or failed
    #[arg(long)]
    outcome: Option<String>,
    /// The id of who acted, of the user acted for, or of the key
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// The id of what it was done to
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// An action, as `thread.read`
    #[arg(long)]
    action: Option<String>,
    /// The id of a policy that determined the decision
    #[arg(long, value_name = "ID")]
    policy: Option<String>,
    /// The X-Request-ID of the call
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

impl Conditions {
    /// Those that were given, by their names.
    pub(super) fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = [
            ("from", &self.from),
            ("to", &self.to),
            ("event", &self.event),
            ("category", &self.category),
            ("outcome", &self.outcome),
            ("actor", &self.actor),
            ("resource", &self.resource),
            ("action", &self.action),
            ("policy", &self.policy),
            ("request_id", &self.request_id),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    pub(super) fn query(&self) -> Result<Query, Unasked> {
        Query::of(self.given())
    }
}

impl Asked {
    async fn run(&self, app: &Arc<App>, out: &Out) -> Outcome {
        let query = self.conditions.query()?;
        let conditions: Map<String, Value> = self
            .conditions
            .given()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        // The reading itself is an entry, behind what it shows.
        let size = audit::head(&open(app, &self.slug).await?).await?.size;
        let store = read(app, &self.slug, json!({ "query": conditions })).await?;
        let mut left = match self.entries {
            0 => usize::MAX,
            entries => entries,
        };
        let mut before = Some(size);
        while left > 0 {
            let found = search::newest(&store, &query, before, left.min(PAGE)).await?;
            left = left.saturating_sub(found.entries.len());
            for shown in &found.entries {
                let line = shown.line();
                out.say(&line, &line.to_string())?;
            }
            let Some(next) = found.before else { break };
            if found.entries.is_empty() {
                out.progress(&format!("looked back to entry {next}"));
            }
            before = Some(next);
        }
        Ok(())
    }
}

impl Audit {
    /// What needs neither settings nor data.
    pub(super) fn offline(&self, out: &Out) -> Option<Outcome> {
        match self {
            Self::Verify {
                what,
                keys,
                policy,
                kept,
            } if !keys.is_empty() || policy.is_some() || Path::new(what).is_file() => {
                Some(offline::verify(out, what, keys, (policy.as_deref(), kept)))
            }
            _ => None,
        }
    }

    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            Self::Verify { what, kept, .. } => {
                let id = log(app, &what).await?;
                verify(app, out, &what, id, &kept).await
            }
            Self::Export(export) => export.run(app, out).await,
            Self::Tile { slug, path } => export::tile(app, out, &slug, &path).await,
            Self::Checkpoint { slug, key } => {
                let store = open(app, &slug).await?;
                let head = audit::head(&store).await?;
                let verifier =
                    VerifierKey::of(origin(app, &store)?, store.keys().signing().seed().key());
                let text = if key {
                    verifier.to_string()
                } else {
                    head.checkpoint.clone()
                };
                out.say(
                    &json!({ "checkpoint": head.checkpoint, "key": verifier.to_string() }),
                    text.trim_end(),
                )?;
                Ok(())
            }
            Self::Consistency { slug, from, to } => {
                let store = open(app, &slug).await?;
                let proof = audit::consistency(&store, from, to)
                    .await?
                    .map_err(|size| {
                        format!(
                            "the sizes must be in order, and the log of `{slug}` has {size} entries"
                        )
                    })?;
                let path: Vec<String> = proof.path.iter().map(Hash::base64).collect();
                out.say(
                    &json!({
                        "from": proof.from, "to": proof.to, "path": path, "size": proof.size,
                        "checkpoint": proof.checkpoint,
                    }),
                    &asked_of_a_witness(&proof, &path),
                )?;
                Ok(())
            }
            Self::Tail { slug, entries } => {
                // The reading itself is an entry, behind what it shows.
                let size = audit::head(&open(app, &slug).await?).await?.size;
                let store = read(app, &slug, json!({ "newest": entries.to_string() })).await?;
                let first = size.saturating_sub(entries);
                let count = usize::try_from(size - first).unwrap_or(usize::MAX);
                for shown in audit::entries(&store, first, count).await? {
                    let line = shown.line();
                    out.say(&line, &line.to_string())?;
                }
                Ok(())
            }
            Self::Query(conditions) => conditions.run(app, out).await,
            Self::Replay(check) => check.run(app, out).await,
            Self::Reindex { slug } => {
                let store = open(app, &slug).await?;
                search::forget_index(&store).await?;
                let (mut blocks, recent) = (0_u64, Recent::default());
                while let Some(left) = search::index_next(&store, &recent).await? {
                    blocks += 1;
                    if blocks.is_multiple_of(50) {
                        out.progress(&format!("{blocks} blocks of 1024 entries, {left} are left"));
                    }
                }
                out.say(
                    &json!({ "slug": slug, "blocks": blocks }),
                    &format!("indexed {blocks} blocks of 1024 entries; the rest is read as it is"),
                )?;
                Ok(())
            }
            Self::RotateKey { slug } => {
                let door = app.door(log(app, &slug).await?).await?;
                door.operate(keeping::rotate_log_key_by_operator).await?;
                let key = door.verifier().to_string();
                out.say(&json!({ "slug": slug, "key": key }), &key)?;
                Ok(())
            }
            Self::Anchor { slug, .. } if slug == DEPLOYMENT => {
                Err("the deployment's own log is the one that others are anchored in".into())
            }
            Self::Anchor { slug, size } => {
                let store = open(app, &slug).await?;
                let deployment = app.control().deployment().await?;
                let none = || {
                    format!(
                        "the deployment's log has no commitment to such a checkpoint of `{slug}` yet: a running service makes \
                     one every {} s, `cedarkeep audit publish` at once",
                        app.config().publish.every_s
                    )
                };
                let deployment = app
                    .control()
                    .open_store(deployment.ok_or_else(none)?)
                    .await?;
                let proof =
                    anchor::proof((&store, &origin(app, &store)?), &deployment, size).await?;
                let text = proof.ok_or_else(none)?.to_string();
                out.say(&json!({ "anchor": text }), text.trim_end())?;
                Ok(())
            }
            Self::Publish => publish(app, out).await,
            Self::Receipt { slug, index } => {
                let store = read(app, &slug, json!({ "receipt": index.to_string() })).await?;
                let receipt = audit::receipt(&store, index)
                    .await?
                    .ok_or_else(|| format!("the log of `{slug}` has no entry {index}"))?;
                let text = receipt.to_string();
                out.say(&json!({ "receipt": text }), text.trim_end())?;
                Ok(())
            }
        }
    }
}

/// A consistency proof as a witness is sent it (C2SP tlog-witness), with its later size where the checkpoint is of another.
fn asked_of_a_witness(proof: &audit::Consistency, path: &[String]) -> String {
    let mut lines = vec![format!("old {}", proof.from)];
    if proof.to != proof.size {
        lines.push(format!("new {}", proof.to));
    }
    lines.extend(path.iter().cloned());
    lines.push(String::new());
    lines.push(proof.checkpoint.trim_end().to_owned());
    lines.join("\n")
}

/// Publishes the deployment's log.
async fn publish(app: &Arc<App>, out: &Out) -> Outcome {
    let publisher = Publisher::open(app.config())?;
    let (anchored, left, round) = app.publish_all(&publisher).await?;
    let left = left
        .iter()
        .map(|(slug, error)| format!("the log of `{slug}`: {}", with_causes(error)));
    let failed: Vec<String> = left
        .chain(round.failed.iter().map(|one| with_causes(one)))
        .collect();
    let mut text = format!(
        "committed to {anchored} logs; published {} entries, cosigned by {} witnesses",
        round.size,
        round.cosigned.len()
    );
    for one in &failed {
        text.push_str(&format!("\n  failed: {one}"));
    }
    out.say(
        &json!({
            "anchored": anchored, "size": round.size, "cosigned": round.cosigned, "failed": failed,
        }),
        &text,
    )?;
    if failed.is_empty() {
        Ok(())
    } else {
        Err("not everything was published: it is tried again the next time".into())
    }
}

/// The log of that name: an organization's, or the deployment's own.
pub(super) async fn log(app: &App, name: &str) -> Result<TenantId, TenantError> {
    if name != DEPLOYMENT {
        return tenant(app, name).await;
    }
    let id = app.control().deployment().await?;
    id.ok_or(TenantError::NoDeploymentLog)
}

/// A log that is read by the operator, which is recorded in it first.
pub(super) async fn read(
    app: &App,
    name: &str,
    details: Value,
) -> Result<Arc<Store>, Box<dyn std::error::Error + Send + Sync>> {
    let door = app.door(log(app, name).await?).await?;
    let (event, ok) = (Event::AuditLogRead, entry::Outcome::Ok);
    door.note(Asker::operator(), event, ok, details).await?;
    Ok(Arc::clone(door.store()))
}

async fn open(app: &App, name: &str) -> Result<Store, TenantError> {
    app.control().open_store(log(app, name).await?).await
}

fn origin(app: &Arc<App>, store: &Store) -> Result<Origin, Flaw> {
    audit::origin(store, &app.config().deployment.name)
}

async fn verify(app: &Arc<App>, out: &Out, slug: &str, id: TenantId, files: &[PathBuf]) -> Outcome {
    let deployment = match app.control().deployment().await? {
        Some(id) => {
            let store = app.control().open_store(id).await?;
            audit::verifiers(&store, &origin(app, &store)?).await?
        }
        None => Vec::new(),
    };
    let mut evidence: Vec<Kept> = files
        .iter()
        .map(|path| offline::kept(path, &deployment))
        .collect::<Result<_, _>>()?;
    evidence.extend(app.mark(id).read()?.map(Kept::Signed));
    let store = app.control().open_store(id).await?;
    let origin = origin(app, &store)?;
    let mut told = 0;
    let report = check::verify(&store, &origin, &evidence, |done, of| {
        if done >= told + 50_000 {
            told = done;
            out.progress(&format!("{done} of {of} entries"));
        }
    })
    .await?;
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    let unchecked: Vec<String> = report.unchecked.iter().map(ToString::to_string).collect();
    let restored: Vec<String> = report.restored.iter().map(ToString::to_string).collect();
    let size = report.checkpoint.as_ref().map(|checkpoint| checkpoint.size);
    let mut text = format!(
        "{}: {} entries and {} parts checked against a checkpoint of size {}\n",
        if report.is_sound() {
            "sound"
        } else {
            "NOT SOUND"
        },
        report.entries,
        report.parts,
        size.map_or_else(|| "unknown".into(), |size| size.to_string()),
    );
    for one in &restored {
        text.push_str(&format!("  restored: {one}\n"));
    }
    for finding in &findings {
        text.push_str(&format!("  wrong: {finding}\n"));
    }
    for one in &unchecked {
        text.push_str(&format!("  not checked: {one}\n"));
    }
    out.say(
        &json!({
            "sound": report.is_sound(), "origin": origin.as_str(), "size": size, "entries": report.entries,
            "parts": report.parts, "restored": restored, "findings": findings, "unchecked": unchecked,
        }),
        text.trim_end(),
    )?;
    if report.is_sound() {
        Ok(())
    } else {
        Err(format!("the log of `{slug}` does not verify").into())
    }
}
