//! API keys from the machine: made, replaced, listed with their last use, and revoked; each change is the operator's.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use serde_json::json;

use super::Outcome;
use super::org::door;
use super::print::Out;
use crate::app::App;
use crate::authn::api_key::{ApiKey, Environment};
use crate::crypto;
use crate::decide::Door;
use crate::directory::object::Scope;
use crate::directory::service::{self, NewBinding, NewKey, Rotation, Speaker};
use crate::directory::{Kind, Object, Ref};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a service with a key, or another key of a service; the key is shown once
    Create {
        /// The organization
        slug: String,
        /// What people call the service, or the key
        #[arg(long)]
        name: String,
        /// What the key may be used for: decide, search, explain, directory.read, directory.write, content, audit.read, policy, provision, events
        #[arg(long, value_delimiter = ',', default_value = "decide")]
        scopes: Vec<Scope>,
        /// Another key of this service, which has two live ones at most
        #[arg(long, value_name = "SERVICE", conflicts_with = "scopes")]
        service: Option<String>,
        /// No key: client certificates that have this URI or DNS name, of an issuer in `tls.client_ca`, are the service's
        #[arg(long, value_name = "NAME")]
        certificate: Option<String>,
        /// When it stops, as in 2027-01-31T00:00:00Z
        #[arg(long)]
        expires_at: Option<DateTime<Utc>>,
    },
    /// Replace a key by another of the same service; the old one goes on for a while
    Rotate {
        /// The organization
        slug: String,
        /// The key's id
        key: String,
        /// For how many hours the old one goes on; 0: it ends now
        #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(i64).range(0..=168))]
        overlap_hours: i64,
        /// When the new one stops; it lasts as long as the old one was to last if not given
        #[arg(long)]
        expires_at: Option<DateTime<Utc>>,
    },
    /// Revoke a key, and its service when it has no other
    Revoke {
        /// The organization
        slug: String,
        /// The key's id
        key: String,
    },
    /// List the keys, without what is secret
    List {
        /// The organization
        slug: String,
    },
}

type Made = Result<(Ref, ApiKey), Box<dyn std::error::Error + Send + Sync>>;

/// Makes a service with a key.
pub(super) async fn key(
    door: &Door,
    name: &str,
    scopes: &[Scope],
    expires_at: Option<DateTime<Utc>>,
) -> Made {
    let speaker = Speaker::New {
        id: crypto::random()?,
        scopes: scopes.iter().copied().collect(),
    };
    made(door, name, speaker, expires_at).await
}

async fn made(
    door: &Door,
    name: &str,
    speaker: Speaker,
    expires_at: Option<DateTime<Utc>>,
) -> Made {
    let (id, key) = minted(door)?;
    let new = NewKey {
        id,
        name: name.into(),
        speaker,
        expires_at,
        digest: *key.digest().as_bytes(),
    };
    door.operate(move |by, snapshot| service::create_key_by_operator(by, snapshot, &new))
        .await?;
    Ok((Ref::new(Kind::ApiKey, id), key))
}

fn minted(door: &Door) -> Result<([u8; 16], ApiKey), crypto::CryptoError> {
    let (id, secret) = (crypto::random()?, crypto::random()?);
    let tenant = *door.store().id().bytes();
    Ok((id, ApiKey::mint(Environment::Live, tenant, id, secret)))
}

fn named(kind: Kind, text: &str) -> Result<Ref, String> {
    let what = kind.name();
    Ref::of(kind, text).ok_or_else(|| {
        format!("`{text}` is no identifier of a {what}: `cedarkeep key list` shows them")
    })
}

impl Key {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            Self::Create {
                slug,
                name,
                scopes,
                service,
                certificate,
                expires_at,
            } => {
                let door = door(app, &slug).await?;
                let speaker = match service {
                    Some(service) => Speaker::Existing(named(Kind::Service, &service)?),
                    None => Speaker::New {
                        id: crypto::random()?,
                        scopes: scopes.iter().copied().collect(),
                    },
                };
                if let Some(certificate) = certificate {
                    let new = NewBinding {
                        id: crypto::random()?,
                        name,
                        speaker,
                        expires_at,
                        certificate,
                    };
                    return bind(&door, out, new).await;
                }
                let (id, key) = made(&door, &name, speaker, expires_at).await?;
                out.say(
                    &json!({ "id": id, "key": key.expose() }),
                    &format!("{}\n(this is {id}; it is not shown again)", key.expose()),
                )?;
            }
            Self::Rotate {
                slug,
                key: old,
                overlap_hours,
                expires_at,
            } => {
                let door = door(app, &slug).await?;
                let (id, key) = minted(&door)?;
                let rotation = Rotation {
                    old: named(Kind::ApiKey, &old)?,
                    overlap: TimeDelta::hours(overlap_hours),
                    id,
                    expires_at,
                    digest: *key.digest().as_bytes(),
                };
                let changed = door
                    .operate(move |by, snapshot| {
                        service::rotate_key_by_operator(by, snapshot, &rotation)
                    })
                    .await?;
                let id = Ref::new(Kind::ApiKey, id);
                let ends = changed.reply.get("replaced_ends_at");
                let ends = ends.and_then(|end| end.as_str()).unwrap_or_default();
                out.say(
                    &json!({ "id": id, "key": key.expose(), "replaces": old, "replaced_ends_at": ends }),
                    &format!(
                        "{}\n(this is {id}; it is not shown again; {old} ends at {ends})",
                        key.expose()
                    ),
                )?;
            }
            Self::Revoke { slug, key } => {
                let wanted = named(Kind::ApiKey, &key)?;
                door(app, &slug)
                    .await?
                    .operate(move |by, snapshot| {
                        service::revoke_key_by_operator(by, snapshot, wanted)
                    })
                    .await?;
                out.say(
                    &json!({ "id": wanted, "revoked": true }),
                    &format!("{wanted} opens nothing from now on"),
                )?;
            }
            Self::List { slug } => list(&*door(app, &slug).await?, out).await?,
        }
        Ok(())
    }
}

async fn bind(door: &Door, out: &Out, new: NewBinding) -> Outcome {
    let (id, name) = (Ref::new(Kind::ApiKey, new.id), new.certificate.clone());
    let changed = door
        .operate(move |by, snapshot| service::bind_certificate_by_operator(by, snapshot, &new))
        .await?;
    out.say(
        &changed.reply,
        &format!("client certificates of {name} are the service's (this is {id})"),
    )?;
    Ok(())
}

async fn list(door: &Door, out: &Out) -> Outcome {
    let world = door.glance();
    for (id, stored) in world.snapshot().objects_of(Kind::ApiKey, None) {
        let Object::ApiKey(key) = &stored.value else {
            continue;
        };
        let end = key.expires_at.map(|end| end.to_rfc3339());
        let used = door.last_used(id).await?.map(|used| used.to_rfc3339());
        out.say(
            &json!({
                "id": id, "name": key.name, "service": key.service, "expires_at": end, "last_used_at": used,
                "certificate": key.certificate,
            }),
            &format!(
                "{id}  {}  of {}  until {}  last used {}",
                key.name,
                key.service,
                end.as_deref().unwrap_or("revoked"),
                used.as_deref().unwrap_or("never"),
            ),
        )?;
    }
    Ok(())
}
