//! What is different between two folders of policies.

use std::path::{Path, PathBuf};

use clap::Args;

use super::folder::{Folder, Unread};
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
    /// The folder that is compared
    other: PathBuf,
    /// End with 1 if there is a difference
    #[arg(long)]
    exit_code: bool,
}

const AFTER: &str = "\
+ is new, - is gone, ~ says something else, = says the same and stands elsewhere or is written otherwise.
Exit codes: 0, 1 with --exit-code: there is a difference, 2 a file does not parse.";

impl Diff {
    pub(super) fn run(&self, out: &Out) -> Outcome {
        let (before, after) = match (Folder::read(&self.dir), Folder::read(&self.other)) {
            (Ok(before), Ok(after)) => (before.own, after.own),
            (Err(unread), _) => return named(unread, &self.dir).end(out),
            (_, Err(unread)) => return named(unread, &self.other).end(out),
        };
        let found = match diff(&before, &after) {
            Ok(found) => found,
            Err((Side::Before, findings)) => {
                return named(Unread::Files(findings), &self.dir).end(out);
            }
            Err((Side::After, findings)) => {
                return named(Unread::Files(findings), &self.other).end(out);
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
