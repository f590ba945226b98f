//! What is different between two folders of policies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::folder::{Folder, Unread};
use super::lifecycle::{compare, on_a_runtime};
use super::place::At;
use crate::app::App;
use crate::cli::Outcome;
use crate::cli::ending::Ending;
use crate::cli::print::Out;
use crate::policy::{Difference, Side, diff};

/// Say what is different in another folder: policy by policy, by `@id`, whichever file it stands in
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(in crate::cli) struct Diff {
    /// The folder that is compared with
    dir: PathBuf,
    /// The folder that is compared; the first one, with what an organization has, if there is none
    other: Option<PathBuf>,
    /// With this version of the organization's; with the one that counts if none is named
    #[arg(long, value_name = "N", conflicts_with = "other")]
    version: Option<u64>,
    #[command(flatten)]
    at: At,
    /// End with 1 if there is a difference
    #[arg(long)]
    exit_code: bool,
}

const AFTER: &str = "\
+ is new, - is gone, ~ says something else, = says the same and stands elsewhere or is written otherwise.
Exit codes: 0, 1 with --exit-code: there is a difference, 2 a file does not parse.";

impl Diff {
    /// Two folders, or one and a service; nothing where it is about this machine.
    pub(super) fn elsewhere(&self, out: &Out) -> Option<Outcome> {
        match &self.other {
            Some(other) => Some(self.folders(other, out)),
            None if self.at.is_elsewhere() => Some(self.at.elsewhere().and_then(|place| {
                let with = (self.version, self.dir.as_path());
                on_a_runtime(compare(&place, with, out, self.exit_code))
            })),
            None => None,
        }
    }

    /// A folder and an organization at this machine.
    pub(super) async fn here(&self, app: &Arc<App>, out: &Out) -> Outcome {
        let place = self.at.here(app).await?;
        let with = (self.version, self.dir.as_path());
        compare(&place, with, out, self.exit_code).await
    }

    fn folders(&self, other: &Path, out: &Out) -> Outcome {
        let (before, after) = match (Folder::read(&self.dir), Folder::read(other)) {
            (Ok(before), Ok(after)) => (before.own, after.own),
            (Err(unread), _) => return named(unread, &self.dir).end(out),
            (_, Err(unread)) => return named(unread, other).end(out),
        };
        let found = match diff(&before, &after) {
            Ok(found) => found,
            Err((Side::Before, findings)) => {
                return named(Unread::Files(findings), &self.dir).end(out);
            }
            Err((Side::After, findings)) => {
                return named(Unread::Files(findings), other).end(out);
            }
        };
        say(out, &found)?;
        match self.exit_code && !found.is_empty() {
            true => Err(Ending::unmet("there is a difference").into()),
            false => Ok(()),
        }
    }
}

/// Prints a difference.
pub(in crate::cli) fn say(out: &Out, found: &Difference) -> std::io::Result<()> {
    out.say(&found.to_json(), &found.words().join("\n"))
}

/// The same with the folder before each file's name: two folders have files of one name.
fn named(unread: Unread, folder: &Path) -> Unread {
    match unread {
        Unread::Files(mut findings) => {
            for finding in &mut findings {
                finding.file = folder.join(&finding.file).display().to_string();
            }
            Unread::Files(findings)
        }
        unread => unread,
    }
}
