//! `cedarkeep sso`: how an organization's people sign in, set by the operator: its first connection, before an Admin can sign in to set one.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Outcome;
use super::link::find;
use super::org::door;
use super::print::Out;
use crate::app::App;
use crate::crypto;
use crate::decide::Door;
use crate::directory::connection::ConnectionId;
use crate::directory::{session, sso};
use crate::http::sso::{described, with_places};
use crate::outside::Verification;

/// Nobody is asked for more than this, in bytes.
const FILE_LIMIT: u64 = 2 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Sso {
    /// Show connections, domains, and what is enforced
    Show {
        /// The organization
        slug: String,
    },
    /// Set a connection up, or set one otherwise, as a JSON file says: what `POST /v1/sso/connections` takes
    Set {
        /// The organization
        slug: String,
        /// The file; a client secret stands in it, so let nobody else read it
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// The connection to change; a new one if not given
        #[arg(long, value_name = "CONNECTION")]
        id: Option<ConnectionId>,
    },
    /// Take a connection away; its sessions end
    Remove {
        /// The organization
        slug: String,
        /// The connection
        id: ConnectionId,
    },
    /// Say that a mail domain is the organization's own, have DNS asked whether it shows so, or give it up
    Domain {
        /// The organization
        slug: String,
        /// The domain
        domain: String,
        /// Ask DNS for the record that was shown when it was claimed
        #[arg(long)]
        verify: bool,
        /// Give it up
        #[arg(long, conflicts_with = "verify")]
        remove: bool,
    },
    /// Let people sign in by any method again, where single sign-on is enforced and nobody gets in
    Relax {
        /// The organization
        slug: String,
    },
    /// Set how long sessions last, in minutes; whatever is not given is as long as this service allows
    Limit {
        /// The organization
        slug: String,
        /// Without a call
        #[arg(long)]
        idle: Option<u32>,
        /// In any case
        #[arg(long)]
        whole: Option<u32>,
    },
    /// List a person's sessions, or end them all
    Sessions {
        /// The organization
        slug: String,
        /// Their id or address
        member: String,
        /// End them
        #[arg(long)]
        end: bool,
    },
}

impl Sso {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            Self::Show { slug } => show(app, out, &slug).await,
            Self::Set { slug, file, id } => set(app, out, (&slug, id), &file).await,
            Self::Remove { slug, id } => {
                let door = door(app, &slug).await?;
                let gone = door
                    .operate(move |by, snapshot| sso::remove_by_operator(by, snapshot, id))
                    .await?;
                say(out, &gone.reply, &format!("{id} is taken away"))
            }
            Self::Domain {
                slug,
                domain,
                verify,
                remove,
            } => {
                let door = door(app, &slug).await?;
                match (verify, remove) {
                    (true, _) => verified(app, out, &door, domain.to_lowercase()).await,
                    (_, true) => {
                        let given_up = door
                            .operate(move |by, snapshot| {
                                sso::disclaim_by_operator(by, snapshot, &domain)
                            })
                            .await?;
                        say(out, &given_up.reply, "it is the organization's no longer")
                    }
                    _ => claim(out, &door, domain).await,
                }
            }
            Self::Relax { slug } => {
                let door = door(app, &slug).await?;
                let relaxed = door.operate(sso::relax_by_operator).await?;
                say(
                    out,
                    &relaxed.reply,
                    &format!("people of {slug} sign in by any method again"),
                )
            }
            Self::Limit { slug, idle, whole } => {
                let door = door(app, &slug).await?;
                let limited = door
                    .operate(move |by, snapshot| {
                        sso::limit_sessions_by_operator(by, snapshot, (idle, whole))
                    })
                    .await?;
                say(out, &limited.reply, &limited.reply.to_string())
            }
            Self::Sessions { slug, member, end } => sessions(app, out, (&slug, &member), end).await,
        }
    }
}

fn say(out: &Out, value: &Value, words: &str) -> Outcome {
    out.say(value, words)?;
    Ok(())
}

async fn show(app: &Arc<App>, out: &Out, slug: &str) -> Outcome {
    let door = door(app, slug).await?;
    let world = door.glance();
    let snapshot = world.snapshot();
    for (id, stored) in snapshot.connections() {
        let view = with_places(app, door.store().id(), id, sso::told(id, &stored.value));
        let connection = &stored.value;
        let standing = if connection.enabled {
            "in use"
        } else {
            "not in use"
        };
        let words = format!(
            "{id}  {}  {}  {standing}",
            connection.protocol.name(),
            connection.name
        );
        out.say(&view, &words)?;
    }
    let settings = sso::sign_in_told(snapshot.organization()?);
    say(out, &settings, &settings.to_string())
}

async fn set(
    app: &Arc<App>,
    out: &Out,
    (slug, id): (&str, Option<ConnectionId>),
    file: &std::path::Path,
) -> Outcome {
    let door = door(app, slug).await?;
    if std::fs::metadata(file)?.len() > FILE_LIMIT {
        return Err(format!("`{}` is longer than {FILE_LIMIT} bytes", file.display()).into());
    }
    let members = crate::http::json::object(&std::fs::read(file)?)
        .map_err(|error| format!("`{}`: {error}", file.display()))?;
    let old = match id {
        None => None,
        Some(id) => {
            let found = door.glance().snapshot().connection(id).cloned();
            let found = found.ok_or_else(|| format!("there is no connection `{id}`"))?;
            Some(found.value)
        }
    };
    let wanted = described(app, members, old.clone()).await;
    let wanted = wanted.map_err(|problem| problem.message().to_owned())?;
    let id = match id {
        Some(id) => id,
        None => ConnectionId(crypto::random()?),
    };
    let changed = door
        .operate(move |by, snapshot| {
            sso::configure_by_operator(by, snapshot, (id, &wanted), old.as_ref())
        })
        .await?;
    let view = with_places(app, door.store().id(), id, changed.reply);
    let told =
        ["redirect_uri", "sp_metadata_url"].map(|name| view.get(name).and_then(Value::as_str));
    let told = told.into_iter().flatten().next().unwrap_or_default();
    say(out, &view, &format!("{id}: tell the provider {told}"))
}

async fn claim(out: &Out, door: &Door, domain: String) -> Outcome {
    let random: [u8; 16] = crypto::random()?;
    let token = data_encoding::HEXLOWER.encode(&random);
    let claimed = door
        .operate(move |by, snapshot| sso::claim_by_operator(by, snapshot, (&domain, &token)))
        .await?;
    let text = |name: &str| {
        claimed
            .reply
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let words = format!(
        "add the TXT record {} with {}, and then give --verify",
        text("record_name"),
        text("record_value")
    );
    say(out, &claimed.reply, &words)
}

async fn verified(app: &App, out: &Out, door: &Door, domain: String) -> Outcome {
    let world = door.glance();
    let organization = world.snapshot().organization()?;
    let claimed = organization.sign_in.domains.get(&domain);
    let token = claimed.map(|claimed| claimed.token.clone());
    let token = token.ok_or_else(|| format!("`{domain}` was not claimed: leave --verify out"))?;
    match app.outside().verification(&domain, &token).await? {
        Verification::Shown => {}
        Verification::Other | Verification::Absent => {
            let wanted = format!("TXT `cedarkeep-verification={token}` at `_cedarkeep.{domain}`");
            return Err(format!("DNS does not show {wanted} yet").into());
        }
    }
    let shown = door
        .operate(move |by, snapshot| sso::verified_by_operator(by, snapshot, (&domain, &token)))
        .await?;
    say(out, &shown.reply, "it is the organization's own")
}

async fn sessions(app: &Arc<App>, out: &Out, (slug, member): (&str, &str), end: bool) -> Outcome {
    let door = door(app, slug).await?;
    let world = door.glance();
    let user = find(world.snapshot(), member)
        .ok_or_else(|| format!("there is nobody with the id or the address `{member}`"))?;
    if end {
        let ended = door
            .operate(move |by, snapshot| session::revoke_all_by_operator(by, snapshot, user))
            .await?;
        return say(out, &ended.reply, &format!("ended: {}", ended.reply));
    }
    for (one, session) in session::sessions_of(world.snapshot(), user) {
        let used = door.last_used(one).await?;
        let value = json!({
            "id": one, "method": session.method, "created_at": session.created_at, "expires_at": session.expires_at,
            "last_used_at": used, "client": session.client, "agent": session.agent,
        });
        let words = format!("{one}  {}  until {}", session.method, session.expires_at);
        out.say(&value, &words)?;
    }
    Ok(())
}
