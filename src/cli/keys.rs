//! `cedarkeep keys`: how the keys stand, and their rotation.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::Outcome;
use super::audit::log;
use super::print::{Out, with_causes};
use super::rewrap::Rewrap;
use crate::app::App;
use crate::crypto::sealing::Purpose;
use crate::decide::above::{Above, By};
use crate::decide::{Door, rotate};
use crate::directory::keeping;
use crate::directory::keys::{self, KeyName};
use crate::ids::TenantId;
use crate::tenant::{DEPLOYMENT, Store};

/// How many organizations are listed at a time.
const PAGE: i64 = 100;

/// For how long it is worked at a rotation before progress is told.
const STINT: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Show which versions of each key there are, and which rotations are under way
    Status {
        /// One organization, or `deployment` for the deployment's own log; every one if not given
        slug: Option<String>,
    },
    /// Rotate a key: the next version is used at once, what lies under the one before is sealed or wrapped again, and that is destroyed
    Rotate {
        /// Which
        key: Which,
        /// The organization, or `deployment` for the deployment's own log; `root` and `deployment` are of none
        slug: Option<String>,
        /// Of every organization, and of the deployment's own log
        #[arg(long, conflicts_with = "slug")]
        all: bool,
        /// Do all of it here, and end when it is done; otherwise a running service goes on with it
        #[arg(long)]
        wait: bool,
        /// Of `root` only make the next version, and use it for nothing yet: copy the keyring to the other machines, then rotate
        #[arg(long)]
        prepare: bool,
    },
    /// Wrap the keys of the deployment and of its organizations anew: those of the deployment under the root key in force
    /// of `keys.root`, those of an organization with a provider of its own under the newest of that. Only rows of the control
    /// database change; organizations that are open go on. Run it again if it was interrupted
    Rewrap(Rewrap),
}

/// A key that can be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Which {
    /// Wraps every tenant key: all are wrapped anew, and whoever was closed before is in no backup any more
    Root,
    /// Seals and finds the organizations' short names in the control database
    Deployment,
    /// Wraps an organization's other keys
    Tenant,
    /// Seals an organization's rows, and wraps the keys of its log's epochs
    Records,
    /// Wraps the keys of an organization's content that belongs to no person
    ContentWrap,
    /// Wraps the keys of an organization's people
    SubjectWrap,
    /// Finds replies to requests that brought an Idempotency-Key; the one before goes when these expire, within a day
    Idempotency,
    /// Seals an organization's log from here on; what was sealed before stays as it is
    Epoch,
    /// Signs an organization's log
    LogSigning,
}

impl Keys {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            Self::Status { slug } => status(app, out, slug.as_deref()).await,
            Self::Rewrap(rewrap) => rewrap.run(app, out).await,
            Self::Rotate {
                key,
                slug,
                all,
                wait,
                prepare,
            } => {
                let above = match key {
                    Which::Root => Some(Above::Root),
                    Which::Deployment => Some(Above::Deployment),
                    _ => None,
                };
                if prepare && key != Which::Root {
                    return Err("--prepare is for `root` alone".into());
                }
                match (above, slug, all) {
                    (Some(_), None, false) if prepare => prepared(app, out).await,
                    (Some(key), None, false) => rotated(app, out, key).await,
                    (Some(key), ..) => {
                        let key = key.as_str();
                        Err(format!(
                            "the key `{key}` is of no organization: leave out ORG and --all"
                        )
                        .into())
                    }
                    (None, Some(slug), _) => of_one(app, out, &slug, key, wait).await,
                    (None, None, true) => {
                        for (slug, _) in everyone(app).await? {
                            of_one(app, out, &slug, key, wait).await?;
                        }
                        Ok(())
                    }
                    (None, None, false) => Err("say of which organization, or --all".into()),
                }
            }
        }
    }
}

/// Every organization, and the deployment's own log where there is one.
async fn everyone(
    app: &App,
) -> Result<Vec<(String, TenantId)>, Box<dyn std::error::Error + Send + Sync>> {
    let deployment = app.control().deployment().await?;
    let mut all: Vec<_> = deployment
        .map(|id| (DEPLOYMENT.to_owned(), id))
        .into_iter()
        .collect();
    let mut after = None;
    loop {
        let page = app.control().list(after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(all);
        };
        after = Some(last.id);
        all.extend(page.iter().map(|one| (one.slug.to_string(), one.id)));
    }
}

async fn prepared(app: &App, out: &Out) -> Outcome {
    let version = app.control().prepare_root().await?;
    out.say(
        &json!({ "key": "root", "prepared": version }),
        &format!(
            "there is a root key {version}, which is used for nothing yet: copy a keyring to the other machines, then `cedarkeep keys rotate root`"
        ),
    )?;
    Ok(())
}

async fn rotated(app: &App, out: &Out, key: Above) -> Outcome {
    let (old, new) = app.rotate_above(key, By::Operator).await?;
    let name = key.as_str();
    let next = match key {
        Above::Root => {
            "; take a new backup, and put a keyring into its own anew and destroy the old copy there"
        }
        Above::Deployment => "",
    };
    out.say(
        &json!({ "key": name, "old": old, "new": new, "phase": "done" }),
        &format!("{name}: version {new} is used, and what came before it is destroyed{next}"),
    )?;
    Ok(())
}

/// Rotates a key of one organization.
async fn of_one(app: &Arc<App>, out: &Out, slug: &str, which: Which, wait: bool) -> Outcome {
    let door = app.door(log(app, slug).await?).await?;
    let key = match which {
        Which::Tenant => KeyName::Tenant,
        Which::Records => KeyName::Records,
        Which::ContentWrap => KeyName::ContentWrap,
        Which::SubjectWrap => KeyName::SubjectWrap,
        Which::Idempotency => KeyName::Idempotency,
        Which::Epoch => KeyName::Epoch,
        Which::LogSigning | Which::Root | Which::Deployment => {
            door.operate(keeping::rotate_log_key_by_operator).await?;
            let key = door.verifier().to_string();
            out.say(
                &json!({ "slug": slug, "key": "log-signing", "phase": "done", "public": key }),
                &format!("{slug}: the log is signed by {key}"),
            )?;
            return Ok(());
        }
    };
    let changed = door
        .operate(move |by, snapshot| keys::rotate_by_operator(by, snapshot, key))
        .await?;
    let mut said = changed.reply;
    if wait && key == KeyName::Idempotency {
        out.progress("what the version before finds is kept for a day: it goes when that has expired, and is not waited for");
    } else if wait && key != KeyName::Epoch {
        finish(&door, out, key).await?;
        if let Some(said) = said.as_object_mut() {
            said.insert("phase".into(), json!("done"));
        }
    }
    let text = told(slug, &said);
    if let Some(said) = said.as_object_mut() {
        said.insert("slug".into(), json!(slug));
    }
    out.say(&said, &text)?;
    Ok(())
}

fn told(slug: &str, said: &Value) -> String {
    let member = |name: &str| said.get(name).map(ToString::to_string).unwrap_or_default();
    let key = said.get("key").and_then(Value::as_str).unwrap_or_default();
    let is_done = said.get("phase").is_some_and(|phase| phase == "done");
    let (old, new) = (member("old"), member("new"));
    match (key, is_done) {
        ("epoch", _) => format!("{slug}: epoch {new} of the log has begun"),
        (_, true) => format!("{slug}: {key} version {new} is used, and version {old} is destroyed"),
        (_, false) => format!(
            "{slug}: {key} version {new} is used; a running service goes on with what lies under version {old}, at the latest within a day; \
             --wait does it here"
        ),
    }
}

/// Goes on with a rotation until it is done.
async fn finish(door: &Door, out: &Out, key: KeyName) -> Outcome {
    let purpose = rotate::purpose(key);
    loop {
        door.refresh().await?;
        let left = rotate::advance(door, Utc::now(), STINT).await?;
        if left.iter().all(|rotation| rotation.purpose != purpose) {
            return Ok(());
        }
        out.progress(&format!("{key}: going on"));
    }
}

async fn status(app: &App, out: &Out, slug: Option<&str>) -> Outcome {
    if let Some(slug) = slug {
        let id = log(app, slug).await?;
        return of(app, out, slug, id).await;
    }
    let standing = app.control().standing().await?;
    let way =
        |rotation: Option<(u32, u32)>| rotation.map(|(old, new)| json!({ "old": old, "new": new }));
    let due = standing.shred_due_since.map(|since| since.to_rfc3339());
    let (held, told) = match app.control().root_versions().await {
        Ok(held) => {
            let told = format!("of {held:?} there");
            (json!(held), told)
        }
        Err(error) => (json!(null), with_causes(&error)),
    };
    let mut text = format!(
        "root: version {} of `{}`, {told}{}",
        standing.root,
        standing.provider,
        under_way(standing.root_rotation)
    );
    if let Some(since) = &due {
        text.push_str(&format!(
            "\n  an organization was closed at {since}: {}",
            if app.control().rotates_root()? {
                "until the root key is rotated an old backup of the control database opens it with the root key of then; \
                 `cedarkeep keys rotate root` does it now"
            } else {
                "an old backup of the control database opens it until everything is wrapped by another key (`cedarkeep keys rewrap`) \
                 and this one is deleted where it is kept"
            }
        ));
    }
    out.say(
        &json!({
            "key": "root", "provider": standing.provider, "version": standing.root, "held": held,
            "rotation": way(standing.root_rotation), "shred_due_since": due,
        }),
        &text,
    )?;
    out.say(
        &json!({
            "key": "deployment", "version": standing.deployment, "rotation": way(standing.deployment_rotation),
        }),
        &format!(
            "deployment: version {}{}",
            standing.deployment,
            under_way(standing.deployment_rotation)
        ),
    )?;
    for (slug, id) in everyone(app).await? {
        if let Err(error) = of(app, out, &slug, id).await {
            out.say(
                &json!({ "slug": slug, "error": error.to_string() }),
                &format!("{slug}: {error}"),
            )?;
        }
    }
    Ok(())
}

fn under_way(rotation: Option<(u32, u32)>) -> String {
    rotation
        .map(|(old, new)| format!(", being rotated from {old} to {new}"))
        .unwrap_or_default()
}

/// How the keys of one organization stand.
async fn of(app: &App, out: &Out, slug: &str, id: TenantId) -> Outcome {
    let store = app.control().open_store(id).await?;
    let said = said(out, slug, &store);
    store.database().close().await;
    said
}

fn said(out: &Out, slug: &str, store: &Store) -> Outcome {
    let held = store.keys();
    let (mut versions, mut lines) = (Map::new(), vec![format!("{slug}:")]);
    let purposes = KeyName::ALL
        .into_iter()
        .filter(|key| *key != KeyName::Epoch)
        .map(|key| (key.as_str(), rotate::purpose(key)))
        .chain([("log-signing", Purpose::LogSigning)]);
    for (name, purpose) in purposes {
        let all = held.versions(purpose);
        let newest = all.last().copied().unwrap_or_default();
        let rotation = held
            .rotations()
            .into_iter()
            .find(|rotation| rotation.purpose == purpose)
            .map(|rotation| (rotation.old, rotation.new));
        let mut one = Map::new();
        one.insert("version".into(), json!(newest));
        one.insert("held".into(), json!(all));
        if let Some((old, new)) = rotation {
            one.insert("rotation".into(), json!({ "old": old, "new": new }));
        }
        let mut line = format!("  {name}: version {newest}{}", under_way(rotation));
        if let Some(kept) = held
            .kept_for_segments()
            .filter(|_| purpose == Purpose::Records)
        {
            one.insert("kept_for_segments".into(), json!(kept));
            line.push_str(&format!(
                "; version {kept} is kept for entries that are older than epochs, until they are pruned"
            ));
        }
        versions.insert(name.to_owned(), Value::Object(one));
        lines.push(line);
    }
    let epochs = held.epochs();
    let newest = epochs.last();
    let epoch = json!({
        "version": newest.map(|epoch| epoch.number()), "held": epochs.len(),
        "first": newest.map(|epoch| epoch.first.to_string()),
    });
    lines.push(match newest {
        Some(epoch) => format!(
            "  epoch: {} since entry {}, {} held",
            epoch.number(),
            epoch.first,
            epochs.len()
        ),
        None => "  epoch: none yet, a running service begins the first".to_owned(),
    });
    versions.insert("epoch".into(), epoch);
    out.say(
        &json!({ "slug": slug, "keys": versions }),
        &lines.join("\n"),
    )?;
    Ok(())
}
