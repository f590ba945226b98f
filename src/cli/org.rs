//! Organizations, their people and policies, from the machine: each change is the operator's, and recorded as such.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;
use clap::Subcommand;
use serde_json::{Value, json};

use super::close::close;
use super::ending::Ending;
use super::joining;
use super::keeping::{self, Keeping};
use super::link::link;
use super::policy::folder::{Folder, Unread, texts};
use super::print::Out;
use super::provisioning;
use super::requests;
use super::{Failed, Outcome};
use crate::app::App;
use crate::crypto;
use crate::decide::{Door, Refused};
use crate::directory::object::{Organization, Plan, Role};
use crate::directory::organization::Founding;
use crate::directory::people::Joining;
use crate::directory::policies::{self, Draft, Files};
use crate::directory::{Kind, Object, Ref, closing, organization, own, people};
use crate::ids::TenantId;
use crate::policy::PolicyError;
use crate::tenant::{Slug, TenantError};

#[derive(Debug, Subcommand)]
pub(super) enum Org {
    /// Make an organization
    Create {
        /// Its short name: 2 to 63 of a-z, 0-9 and `-`
        slug: String,
        /// What people call it; the short name if not given
        #[arg(long)]
        name: Option<String>,
        /// Starter, Business or Enterprise
        #[arg(long, default_value = "Starter")]
        plan: Plan,
        /// Root keys of its own: a name under `keys.providers`; the deployment's if not given
        #[arg(
            long,
            value_name = "NAME",
            default_value = "",
            hide_default_value = true
        )]
        keys: String,
    },
    /// List the organizations
    List {
        /// After this id, for the next page
        #[arg(long)]
        after: Option<TenantId>,
        /// How many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
    },
    /// Show an organization
    Show {
        /// Its short name
        slug: String,
    },
    /// Change the plan
    Plan {
        /// Its short name
        slug: String,
        /// Starter, Business or Enterprise
        plan: Plan,
    },
    /// Suspend an organization: every question is refused until it is resumed
    Suspend {
        /// Its short name
        slug: String,
    },
    /// Resume a suspended organization
    Resume {
        /// Its short name
        slug: String,
    },
    /// Close an organization after a grace period: its keys and its database are destroyed, and nothing brings them back
    Close {
        /// Its short name
        slug: String,
        /// The short name once more, since this cannot be undone
        #[arg(long, value_name = "SLUG")]
        confirm: String,
        /// In so many days; 0: now
        #[arg(long, value_name = "DAYS", default_value_t = closing::GRACE_LIMIT, value_parser = clap::value_parser!(u32).range(0..=30))]
        grace: u32,
        /// With --grace 0: also where its database or its key is lost, so that nobody can say whether a legal hold stands
        #[arg(long)]
        unopened: bool,
    },
    /// Call off the closing of an organization
    Keep {
        /// Its short name
        slug: String,
    },
    #[command(flatten)]
    Keeping(Keeping),
    /// Load types, policies and entities of an organization's own; schema and policies are replaced together, so that
    /// whichever of the two is not given is empty afterwards
    Load {
        /// Its short name
        slug: String,
        /// A file in Cedar's schema syntax
        #[arg(long, value_name = "FILE")]
        schema: Option<PathBuf>,
        /// A folder of `.cedar` files
        #[arg(long, value_name = "DIR")]
        policies: Option<PathBuf>,
        /// Entities in Cedar's JSON format
        #[arg(long, value_name = "FILE")]
        entities: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Member {
    /// Add a person
    Add {
        /// The organization
        slug: String,
        /// What people call them
        #[arg(long)]
        name: String,
        /// Their address
        #[arg(long)]
        email: String,
        /// Admin, Member or Viewer
        #[arg(long, default_value = "Member")]
        role: Role,
    },
    /// Make a link that signs a person in, once, within 15 minutes: the first Admin's way in
    Link {
        /// The organization
        slug: String,
        /// Their id or address
        member: String,
        /// Where single sign-on is enforced and does not work: for the break-glass Admin alone
        #[arg(long)]
        break_glass: bool,
    },
    /// Make a token by which the customer's directory provisions people over SCIM
    ScimToken {
        /// The organization
        slug: String,
        /// What people call it
        #[arg(long, default_value = "directory")]
        name: String,
    },
    #[command(flatten)]
    Joining(joining::Joining),
    /// List who has asked for access to what, and waits for an answer
    Requests {
        /// The organization
        slug: String,
        /// Those that were decided, withdrawn or have lapsed too
        #[arg(long)]
        all: bool,
    },
    /// Forget a person: they leave, and what the log says about them is destroyed; entries, receipts and proofs stay
    Erase {
        /// The organization
        slug: String,
        /// Their id
        member: String,
        /// Their id once more, since this cannot be undone
        #[arg(long, value_name = "MEMBER")]
        confirm: String,
    },
    /// List the people
    List {
        /// The organization
        slug: String,
    },
}

/// The organization of that short name.
pub(super) async fn tenant(app: &App, slug: &str) -> Result<TenantId, TenantError> {
    let slug: Slug = slug.parse()?;
    app.control()
        .find(&slug)
        .await?
        .ok_or_else(|| TenantError::NotFound {
            name: slug.to_string(),
        })
}

pub(super) async fn door(
    app: &App,
    slug: &str,
) -> Result<Arc<Door>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(app.door(tenant(app, slug).await?).await?)
}

/// Makes an organization, or the rest of one that was left half made.
pub(super) async fn create(
    app: &App,
    slug: &str,
    (name, plan): (&str, Plan),
    keys: &str,
) -> Result<TenantId, Box<dyn std::error::Error + Send + Sync>> {
    let slug: Slug = slug.parse()?;
    let created = app
        .control()
        .create_with_keys(&slug, keys, Utc::now())
        .await?;
    let id = created.id;
    let door = app.found(created).await?;
    if door.glance().snapshot().organization().is_err() {
        let org = Ref::new(Kind::Organization, *id.bytes());
        let founding = Founding {
            name: name.to_owned(),
            plan,
        };
        let group = crypto::random()?;
        door.operate(move |by, _| organization::found(by, org, &founding, group))
            .await?;
    }
    door.close().await;
    app.control().mark_ready(id).await?;
    Ok(id)
}

/// Adds a person.
pub(super) async fn join(
    door: &Door,
    name: &str,
    email: &str,
    role: Role,
) -> Result<Ref, Box<dyn std::error::Error + Send + Sync>> {
    let id = crypto::random()?;
    let joining = Joining {
        id,
        name: name.into(),
        email: email.into(),
        role,
    };
    door.operate(move |by, snapshot| people::join_by_operator(by, snapshot, &joining))
        .await?;
    Ok(Ref::new(Kind::User, id))
}

impl Org {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            Self::Create {
                slug,
                name,
                plan,
                keys,
            } => {
                let name = name.as_deref().unwrap_or(&slug);
                let id = create(app, &slug, (name, plan), &keys).await?;
                out.say(
                    &json!({ "id": id.to_string(), "slug": slug }),
                    &format!("made {slug}: {id}"),
                )?;
            }
            Self::List { after, limit } => {
                for tenant in app.control().list(after, limit).await? {
                    let (id, slug) = (tenant.id.to_string(), tenant.slug.as_str());
                    let made = tenant.created_at.to_rfc3339();
                    out.say(
                        &json!({ "id": id, "slug": slug, "created_at": made }),
                        &format!("{id}  {slug}  {made}"),
                    )?;
                }
            }
            Self::Show { slug } => {
                let door = door(app, &slug).await?;
                let world = door.glance();
                let organization = world.snapshot().organization()?;
                out.say(
                    &json!({
                        "id": door.store().id().to_string(), "slug": slug, "name": organization.name,
                        "plan": organization.plan.name(), "suspended": organization.suspended,
                        "active_admins": organization.active_admins, "regions": organization.regions,
                        "holds": organization.holds, "retention_days": organization.retention_days,
                        "closes_at": organization.closes_at.map(|at| at.to_rfc3339()),
                        "policy_version": world.snapshot().library().version,
                    }),
                    &format!(
                        "{}  {}  plan {}{}  {} active Admins  own policies: version {}{}",
                        door.store().id(),
                        organization.name,
                        organization.plan.name(),
                        if organization.suspended { ", suspended" } else { "" },
                        organization.active_admins,
                        world.snapshot().library().version,
                        kept(organization),
                    ),
                )?;
            }
            Self::Plan { slug, plan } => {
                let door = door(app, &slug).await?;
                door.operate(move |by, snapshot| organization::set_plan(by, snapshot, plan))
                    .await?;
                out.say(
                    &json!({ "slug": slug, "plan": plan.name() }),
                    &format!("{slug} has the plan {}", plan.name()),
                )?;
            }
            Self::Suspend { slug } => {
                door(app, &slug)
                    .await?
                    .operate(organization::suspend)
                    .await?;
                out.say(
                    &json!({ "slug": slug, "suspended": true }),
                    &format!("{slug} is suspended"),
                )?;
            }
            Self::Resume { slug } => {
                door(app, &slug)
                    .await?
                    .operate(organization::resume)
                    .await?;
                out.say(
                    &json!({ "slug": slug, "suspended": false }),
                    &format!("{slug} is resumed"),
                )?;
            }
            Self::Close {
                slug,
                confirm,
                grace,
                unopened,
            } => {
                if slug != confirm {
                    return Err(format!(
                        "this destroys all that `{slug}` has: repeat it with --confirm {slug}"
                    )
                    .into());
                }
                close(app, out, &slug, (grace, unopened)).await?;
            }
            Self::Keep { slug } => {
                let door = door(app, &slug).await?;
                door.operate(closing::call_off_by_operator).await?;
                out.say(
                    &json!({ "slug": slug, "closes_at": null }),
                    &format!("{slug} is not closed"),
                )?;
            }
            Self::Keeping(keeping) => keeping.run(app, out).await?,
            Self::Load {
                slug,
                schema,
                policies,
                entities,
            } => {
                if schema.is_none() && policies.is_none() && entities.is_none() {
                    let said =
                        "nothing is given to load: name it with --schema, --policies or --entities";
                    return Err(Ending::unchecked(said).into());
                }
                let door = door(app, &slug).await?;
                load(
                    &door,
                    out,
                    schema.as_deref(),
                    policies.as_deref(),
                    entities.as_deref(),
                )
                .await?;
            }
        }
        Ok(())
    }
}

/// What is kept of it and for how long, as far as anybody has said.
fn kept(organization: &Organization) -> String {
    let mut words = String::new();
    match organization.holds {
        0 => {}
        1 => words.push_str("  one legal hold"),
        many => words.push_str(&format!("  {many} legal holds")),
    }
    if let Some(days) = organization.retention_days {
        words.push_str(&format!("  its log is kept for {days} days"));
    }
    if let Some(at) = organization.closes_at {
        words.push_str(&format!("  closed at {}", at.to_rfc3339()));
    }
    words
}

async fn load(
    door: &Door,
    out: &Out,
    schema: Option<&Path>,
    policies: Option<&Path>,
    entities: Option<&Path>,
) -> Outcome {
    let library = match (schema, policies) {
        (None, None) => None,
        _ => Some(Files::of(
            schema.map(read).transpose()?.unwrap_or_default(),
            policies.map(folder).transpose()?.unwrap_or_default(),
            Vec::new(),
        )?),
    };
    let are_given = entities.is_some();
    let entities = entities.map(list).transpose()?.unwrap_or_default();
    let mut chunks = entities.chunks(own::ENTITIES_LIMIT);
    // Schema, policies and the first entities are one change: if an entity is refused, nothing of it is loaded.
    let (first, seed) = (
        chunks.next().unwrap_or_default().to_vec(),
        crypto::random()?,
    );
    let mut loaded = first.len();
    if let Some(files) = library {
        let about = |refused: Refused| match schema {
            Some(path) => refused.about_schema(&path.display().to_string()),
            None => refused,
        };
        door.prepare(&files).await.map_err(about)?;
        let draft = Draft::of(files, "loaded at the machine");
        let changed = door
            .operate(move |by, snapshot| {
                let mut change = policies::load_by_operator(by, snapshot, &draft)?;
                if !first.is_empty() {
                    let more = own::put_entities_by_operator(by, snapshot, &first, &seed)?;
                    change.rows.extend(more.rows);
                    change.events.extend(more.events);
                }
                Ok(change)
            })
            .await
            .map_err(about)?;
        out.say(&changed.reply, "loaded the schema and the policies")?;
    } else if !first.is_empty() {
        door.operate(move |by, snapshot| {
            own::put_entities_by_operator(by, snapshot, &first, &seed)
        })
        .await?;
    }
    for chunk in chunks {
        let (chunk, seed) = (chunk.to_vec(), crypto::random()?);
        loaded += chunk.len();
        door.operate(move |by, snapshot| {
            own::put_entities_by_operator(by, snapshot, &chunk, &seed)
        })
        .await?;
        out.progress(&format!("{loaded} of {} entities", entities.len()));
    }
    if are_given {
        out.say(
            &json!({ "entities": loaded }),
            &format!("loaded {loaded} entities"),
        )?;
    }
    Ok(())
}

/// A file with a list of entities in Cedar's JSON format.
fn list(path: &Path) -> Result<Vec<Value>, String> {
    let parsed: Value = serde_json::from_str(&read(path)?)
        .map_err(|error| format!("`{}` is not JSON: {error}", path.display()))?;
    match parsed {
        Value::Array(entities) => Ok(entities),
        _ => Err(format!(
            "`{}` is not a list of entities in Cedar's JSON format",
            path.display()
        )),
    }
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

/// The policies of a folder.
fn folder(path: &Path) -> Result<Vec<(String, String)>, Failed> {
    let found = match Folder::read(path) {
        Ok(found) => found,
        Err(Unread::Folder(message)) => return Err(message.into()),
        Err(Unread::Files(findings)) => return Err(PolicyError::Refused(findings).into()),
    };
    let policies = texts(found.own.policies);
    if policies.is_empty() {
        return Err(format!("the folder `{}` has no `.cedar` file", path.display()).into());
    }
    Ok(policies)
}

impl Member {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            Self::Add {
                slug,
                name,
                email,
                role,
            } => {
                let id = join(&*door(app, &slug).await?, &name, &email, role).await?;
                out.say(
                    &json!({ "id": id, "role": role.name() }),
                    &format!("added {id} as {}", role.name()),
                )?;
            }
            Self::Joining(joining) => joining.run(app, out).await?,
            Self::Requests { slug, all } => {
                requests::list(&*door(app, &slug).await?, out, all)?;
            }
            Self::Erase {
                slug,
                member,
                confirm,
            } => keeping::erase(app, out, &slug, &member, &confirm).await?,
            Self::Link {
                slug,
                member,
                break_glass,
            } => link(app, out, (&slug, &member, break_glass)).await?,
            Self::ScimToken { slug, name } => {
                provisioning::token(app, out, (&slug, &name)).await?;
            }
            Self::List { slug } => {
                let world = door(app, &slug).await?.glance();
                for (id, stored) in world.snapshot().objects_of(Kind::User, None) {
                    let Object::User(user) = &stored.value else {
                        continue;
                    };
                    let standing = if user.active { "" } else { "  suspended" };
                    out.say(
                        &json!({ "id": id, "name": user.name, "email": user.email, "role": user.role.name(), "active": user.active }),
                        &format!("{id}  {}  {}  {}{standing}", user.role.name(), user.name, user.email),
                    )?;
                }
            }
        }
        Ok(())
    }
}
