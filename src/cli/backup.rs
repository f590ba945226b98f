//! `cedarkeep backup` and `cedarkeep restore`: all of it taken while the service runs, and put back.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::Outcome;
use super::audit::log;
use super::print::Out;
use crate::app::{App, Restore as Wanted};
use crate::backup::{Progress, PutBack};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The folder that the backup will be: it is there once it is whole
    #[arg(long, short, value_name = "FOLDER")]
    output: PathBuf,
    /// One organization alone (or `deployment`, its own log)
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    /// A key that opens the backup where the keyring is lost, which then lies in the backup too: the file is made (mode 0600) where
    /// it is not there; keep it apart from the machine and from the backups
    #[arg(long, value_name = "FILE")]
    recovery_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// One organization, in the place of what it is now; without this everything, where there is no deployment yet
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    /// What is put back once more, since this cannot be undone: the organization's short name, or the deployment's name
    /// (`deployment.name`)
    #[arg(long, value_name = "NAME", required_unless_present = "check")]
    confirm: Option<String>,
    /// Only check that all of it is as it was written, and change nothing. That the logs in it verify is seen by a restore, before it
    /// replaces anything
    #[arg(long, conflicts_with = "confirm")]
    check: bool,
    /// The file that was given to `cedarkeep backup --recovery-key`
    #[arg(long, value_name = "FILE")]
    recovery_key: Option<PathBuf>,
    /// A copy of the ledger of erasures (`data.ledger`), so that whoever was erased stays erased; may be repeated
    #[arg(long = "ledger", value_name = "FILE")]
    ledgers: Vec<PathBuf>,
    /// There is no ledger of erasures on this machine, and no copy: nobody was erased since
    #[arg(long, conflicts_with = "ledgers")]
    no_ledger: bool,
}

fn tell(out: Out) -> impl FnMut(Progress) + Send {
    let mut told = 0;
    move |progress| match progress {
        Progress::Checked { file, bytes } => {
            out.progress(&format!("{file}: {bytes} bytes checked"));
        }
        Progress::Rows { of, rows } => out.progress(&format!("{of}: {rows} rows")),
        Progress::Entries { done, of } => {
            if done < told || done >= told + 50_000 {
                told = done;
                out.progress(&format!("checked {done} of {of} entries"));
            }
        }
        Progress::Said(text) => out.progress(&text),
    }
}

impl Backup {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        let org = match self.org {
            Some(slug) => Some((log(app, &slug).await?, slug)),
            None => None,
        };
        let mut tell = tell(*out);
        let recovery = self.recovery_key.as_deref();
        let taking = app.backup(&self.output, org, recovery, &mut tell);
        let taken = tokio::select! {
            taken = taking => taken?,
            _ = tokio::signal::ctrl_c() => return Err("interrupted: nothing is left of the backup".into()),
        };
        let output = self.output.display().to_string();
        let mut text = format!(
            "backed up {} logs with all that is theirs to {output}: {} rows, {} files, {} bytes",
            taken.tenants, taken.rows, taken.files, taken.bytes
        );
        if self.recovery_key.is_some() && !taken.keyring {
            text.push_str(
                "\n  the recovery key alone does not restore it: the root key is in a token or a KMS, which a restore wants too",
            );
        }
        for one in &taken.left_out {
            text.push_str(&format!(
                "\n  left out: {one} is being put back from a backup"
            ));
        }
        out.say(
            &json!({
                "backup": taken.id, "output": output, "logs": taken.tenants, "rows": taken.rows, "files": taken.files,
                "bytes": taken.bytes, "keyring": taken.keyring, "left_out": taken.left_out,
            }),
            &text,
        )?;
        if taken.left_out.is_empty() {
            Ok(())
        } else {
            Err("not everything is in the backup: end what is being put back first".into())
        }
    }
}

impl Restore {
    pub(super) async fn run(self, config: Config, out: &Out) -> Outcome {
        let wanted = Wanted {
            from: self.from,
            org: self.org,
            confirm: self.confirm,
            check: self.check,
            recovery: self.recovery_key,
            ledgers: self.ledgers,
            no_ledger: self.no_ledger,
        };
        let mut tell = tell(*out);
        let done = App::restore(config, &wanted, &mut tell).await?;
        let (backup, created) = (&done.backup, &done.created_at);
        if wanted.check {
            for (slug, id, size, rows, files) in &done.found {
                out.say(
                    &json!({
                        "backup": backup, "created_at": created, "slug": slug, "id": id.to_string(), "size": size.to_string(),
                        "rows": rows, "files": files,
                    }),
                    &format!("sound: {slug}: {size} entries, {rows} rows, {files} files, of {created}"),
                )?;
            }
            return Ok(());
        }
        for one in &done.put_back {
            match one {
                PutBack::Closed { slug } => out.say(
                    &json!({ "slug": slug, "closed": true }),
                    &format!("{slug} was closed since, and is not put back"),
                )?,
                PutBack::Served {
                    id,
                    slug,
                    before,
                    erased,
                } => {
                    let lives: Vec<String> = before.iter().map(ToString::to_string).collect();
                    let told: Vec<_> = before
                        .iter()
                        .map(|life| json!({ "incarnation": life.incarnation, "known_size": life.size }))
                        .collect();
                    let mut text = format!("{slug} is put back as of {created}");
                    for line in lives {
                        text.push_str(&format!("\n  {line}"));
                    }
                    if *erased > 0 {
                        text.push_str(&format!("\n  {erased} people were erased again"));
                    }
                    out.say(
                        &json!({
                            "slug": slug, "id": id.to_string(), "backup": backup, "created_at": created, "before": told,
                            "index": before.first().map(|life| life.index.to_string()), "erased_again": erased,
                        }),
                        &text,
                    )?;
                }
            }
        }
        Ok(())
    }
}
