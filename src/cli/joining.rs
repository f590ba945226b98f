//! `cedarkeep member invite|invitations|resend|revoke|import`: how people come in, said by the operator.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Outcome;
use super::org::door;
use super::print::Out;
use crate::app::{App, Sent};
use crate::authn::token::{Token, Use};
use crate::crypto;
use crate::decide::Door;
use crate::directory::import::{self, Counts, Form, LINES_AT_ONCE, Line, Mode, Part, Told};
use crate::directory::invitation::{self, Inviting};
use crate::directory::object::Role;
use crate::directory::{Kind, Object, Ref};

#[derive(Debug, Subcommand)]
pub(super) enum Joining {
    /// Invite a person: by mail where that is set up, else the link is printed once
    Invite {
        /// The organization
        slug: String,
        /// Their address
        #[arg(long)]
        email: String,
        /// What people call them; whoever joins says it if not given
        #[arg(long)]
        name: Option<String>,
        /// Admin, Member or Viewer
        #[arg(long, default_value = "Member")]
        role: Role,
    },
    /// List who is invited
    Invitations {
        /// The organization
        slug: String,
    },
    /// Send another link for an invitation, which counts for seven days; the one before counts no more
    Resend {
        /// The organization
        slug: String,
        /// The invitation's id
        invitation: String,
    },
    /// Revoke an invitation: its link opens nothing from now on
    Revoke {
        /// The organization
        slug: String,
        /// The invitation's id
        invitation: String,
    },
    /// Import people from a file: with the columns name, email, role and perhaps active in CSV, or as JSON objects, one a line
    #[command(after_help = AFTER)]
    Import {
        /// The organization
        slug: String,
        /// The file
        file: PathBuf,
        /// How it is written; by its ending if not given
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// Say what would become of each line, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Every line stands for itself: one that cannot be taken keeps nothing else from being taken
        #[arg(long)]
        each: bool,
    },
}

const AFTER: &str = "\
Examples:
  cedarkeep member import acme people.csv --dry-run    say what would become of each line
  cedarkeep member import acme people.csv              take all lines, or none where one cannot be taken
  cedarkeep member import acme people.jsonl --each     take those that can be taken

Who has a line's address is made what the line says; who is not there joins. Imported again, a file changes nothing.";

/// How a file of people is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// CSV whose first line names the columns
    Csv,
    /// JSON objects, one a line
    Jsonl,
}

impl Joining {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            Self::Invite {
                slug,
                email,
                name,
                role,
            } => {
                let door = door(app, &slug).await?;
                let id = crypto::random()?;
                let link = link(&door, id)?;
                let inviting = Inviting {
                    id,
                    email,
                    name,
                    role,
                    digest: link.stored(),
                };
                door.operate(move |by, snapshot| {
                    invitation::invite_by_operator(by, snapshot, &inviting)
                })
                .await?;
                send(app, out, &door, &link).await
            }
            Self::Invitations { slug } => list(&*door(app, &slug).await?, out),
            Self::Resend { slug, invitation } => {
                let (door, invitation) = (door(app, &slug).await?, named(&invitation)?);
                let link = link(&door, invitation.id)?;
                let digest = link.stored();
                door.operate(move |by, snapshot| {
                    invitation::resend_by_operator(by, snapshot, invitation, &digest)
                })
                .await?;
                send(app, out, &door, &link).await
            }
            Self::Revoke { slug, invitation } => {
                let (door, invitation) = (door(app, &slug).await?, named(&invitation)?);
                door.operate(move |by, snapshot| {
                    invitation::revoke_by_operator(by, snapshot, invitation)
                })
                .await?;
                let told = json!({ "id": invitation, "revoked": true });
                Ok(out.say(&told, &format!("{invitation} is revoked"))?)
            }
            Self::Import {
                slug,
                file,
                format,
                dry_run,
                each,
            } => {
                let lines = read(&file, format)?;
                let door = door(app, &slug).await?;
                if dry_run {
                    let told = import::preview(door.glance().snapshot(), &lines)?;
                    return report(out, &told, Taking::Dry { each });
                }
                let told = if each {
                    take_each(&door, out, &lines).await?
                } else {
                    take_all(&door, out, lines).await?
                };
                report(out, &told, Taking::Done)
            }
        }
    }
}

fn named(text: &str) -> Result<Ref, String> {
    Ref::of(Kind::Invitation, text).ok_or_else(|| {
        format!("`{text}` is no invitation's id; `cedarkeep member invitations` lists them")
    })
}

fn link(door: &Door, invitation: [u8; 16]) -> Result<Token, crypto::CryptoError> {
    let tenant = *door.store().id().bytes();
    let secret = crypto::random()?;
    Ok(Token::mint(Use::Invitation, tenant, invitation, secret))
}

/// Sends the link, or prints it: this process ends, so that nobody else would send it.
async fn send(app: &App, out: &Out, door: &Door, link: &Token) -> Outcome {
    let invitation = Ref::new(Kind::Invitation, link.id());
    let sent = app
        .deliver_invitation(door, invitation, link.expose())
        .await;
    match sent {
        Ok(Sent::Posted) => {
            let told = json!({ "id": invitation, "delivery": "mail" });
            out.say(&told, &format!("{invitation} was sent by mail"))?;
        }
        Ok(Sent::ToBeHandedOver(url)) => {
            let url = url.as_str();
            let told = json!({ "id": invitation, "delivery": "link", "link": url });
            let text = format!("{url}\n(this is {invitation}; it is not shown again)");
            out.say(&told, &text)?;
        }
        Ok(Sent::Failed) => {
            return Err(format!("{invitation} is there no more, and was not sent").into());
        }
        Err(error) => {
            return Err(format!(
                "{invitation} is made and was not sent: {error}; then `cedarkeep member resend`"
            )
            .into());
        }
    }
    Ok(())
}

fn list(door: &Door, out: &Out) -> Outcome {
    let world = door.glance();
    for (id, stored) in world.snapshot().objects_of(Kind::Invitation, None) {
        let Object::Invitation(invited) = &stored.value else {
            continue;
        };
        let until = invited.expires_at.to_rfc3339();
        let status = if invited.expired { "expired" } else { "open" };
        out.say(
            &json!({
                "id": id, "email": invited.email, "name": invited.name, "role": invited.role.name(),
                "invited_by": invited.invited_by, "expires_at": until, "status": status,
            }),
            &format!(
                "{id}  {}  {}  {status}, until {until}",
                invited.role.name(),
                invited.email
            ),
        )?;
    }
    Ok(())
}

fn read(path: &Path, format: Option<Format>) -> Result<Vec<Line>, String> {
    let named = path.display();
    let ending = path.extension().and_then(|ending| ending.to_str());
    let form = match (format, ending) {
        (Some(Format::Csv), _) | (None, Some("csv")) => Form::Csv,
        (Some(Format::Jsonl), _) | (None, Some("jsonl" | "ndjson")) => Form::Jsonl,
        (None, _) => {
            return Err(format!(
                "`{named}` ends neither in .csv nor in .jsonl: say which it is with --format"
            ));
        }
    };
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read `{named}`: {error}"))?;
    import::read(form, &bytes).map_err(|error| format!("`{named}`: {error}"))
}

fn part(number: usize, of: usize, mode: Mode) -> Result<Part, crypto::CryptoError> {
    Ok(Part {
        seed: crypto::random()?,
        number: u64::try_from(number).unwrap_or(u64::MAX),
        of: u64::try_from(of).unwrap_or(u64::MAX),
        mode,
    })
}

async fn take_all(
    door: &Door,
    out: &Out,
    lines: Vec<Line>,
) -> Result<Vec<Told>, Box<dyn std::error::Error + Send + Sync>> {
    let told = import::preview(door.glance().snapshot(), &lines)?;
    let counts = Counts::of(&told);
    if counts.refused > 0 {
        for one in told.iter().filter(|one| one.why.is_some()) {
            say(out, one)?;
        }
        return Err(format!(
            "{} of {} lines cannot be taken, and none was; --each takes the others",
            counts.refused,
            counts.all()
        )
        .into());
    }
    let part = part(1, 1, Mode::All)?;
    out.progress(&format!("taking {} lines at once", lines.len()));
    let changed = door
        .operate(move |by, snapshot| import::import_by_operator(by, snapshot, &lines, &part))
        .await?;
    Ok(serde_json::from_value(changed.reply)?)
}

async fn take_each(
    door: &Door,
    out: &Out,
    lines: &[Line],
) -> Result<Vec<Told>, Box<dyn std::error::Error + Send + Sync>> {
    let mut told: Vec<Told> = Vec::with_capacity(lines.len());
    let parts = lines.len().div_ceil(LINES_AT_ONCE);
    for (number, chunk) in (1..).zip(lines.chunks(LINES_AT_ONCE)) {
        let (chunk, part) = (chunk.to_vec(), part(number, parts, Mode::Each)?);
        let changed = door
            .operate(move |by, snapshot| import::import_by_operator(by, snapshot, &chunk, &part))
            .await?;
        told.extend(serde_json::from_value::<Vec<Told>>(changed.reply)?);
        out.progress(&format!("{} of {} lines", told.len(), lines.len()));
    }
    Ok(told)
}

fn say(out: &Out, told: &Told) -> std::io::Result<()> {
    let why = told.why.as_deref().unwrap_or_default();
    out.say(&json!(told), &format!("line {}: {why}", told.line))
}

/// Whether what is reported was done.
#[derive(Debug, Clone, Copy)]
enum Taking {
    /// It was.
    Done,
    /// It would be: each line for itself, or all or none.
    Dry { each: bool },
}

/// Every line for programs; for people those that were not taken, and how many were.
fn report(out: &Out, told: &[Told], taking: Taking) -> Outcome {
    for one in told {
        if out.is_json() || one.why.is_some() {
            say(out, one)?;
        }
    }
    let counts = Counts::of(told);
    let (would, told) = match taking {
        Taking::Done => ("", ""),
        Taking::Dry { each: false } if counts.refused > 0 => (
            "with --each would be ",
            "; without it none is taken while one is refused (nothing was changed)",
        ),
        Taking::Dry { .. } => ("would be ", " (nothing was changed)"),
    };
    out.say(
        &json!({ "summary": summary(counts, taking) }),
        &format!(
            "{} lines: {would}created {}, updated {}, unchanged {}, refused {}{told}",
            counts.all(),
            counts.created,
            counts.updated,
            counts.unchanged,
            counts.refused,
        ),
    )?;
    Ok(())
}

fn summary(counts: Counts, taking: Taking) -> Value {
    let mut summary = json!({
        "lines": counts.all(), "created": counts.created, "updated": counts.updated,
        "unchanged": counts.unchanged, "refused": counts.refused,
        "dry_run": matches!(taking, Taking::Dry { .. }),
    });
    if let (Taking::Dry { each }, Some(members)) = (taking, summary.as_object_mut()) {
        members.insert("none_taken".into(), (!each && counts.refused > 0).into());
    }
    summary
}
