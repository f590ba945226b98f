//! A folder's policies in Cedar's format.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::folder::{self, Folder, counted, show};
use crate::cli::Outcome;
use crate::cli::ending::Ending;
use crate::cli::print::Out;
use crate::policy::formatted;

/// Write a folder's policies in Cedar's format: what they say, their remarks and the empty lines around those stay
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(in crate::cli) struct Format {
    /// A folder of `*.cedar`
    dir: PathBuf,
    /// Change nothing; say what would be changed
    #[arg(long)]
    check: bool,
}

const AFTER: &str = "\
Exit codes: 0 all is as it should be, 1 with --check: something would be changed, 2 a file does not parse, and nothing was changed.
`schema.cedarschema` is left as it is: Cedar's own form of a schema has no remarks.";

impl Format {
    pub(super) fn run(&self, out: &Out) -> Outcome {
        let folder = match Folder::read(&self.dir) {
            Ok(folder) => folder,
            Err(unread) => return unread.end(out),
        };
        let (mut changed, mut findings) = (Vec::new(), Vec::new());
        for source in &folder.own.policies {
            match formatted(source) {
                Ok(text) if text == source.text => {}
                Ok(text) => changed.push((source.name.as_str(), text)),
                Err(found) => findings.extend(found),
            }
        }
        if !findings.is_empty() {
            show(out, &findings)?;
            return Err(Ending::unchecked(counted(&findings)).into());
        }
        for (name, text) in &changed {
            if !self.check {
                write(&self.dir, name, text)?;
            }
        }
        let names: Vec<&str> = changed.iter().map(|(name, _)| *name).collect();
        let files = folder.own.policies.len();
        let words = match (names.as_slice(), self.check) {
            ([], _) => format!("{files} files are formatted"),
            (names, true) => format!("would be changed: {}", names.join(", ")),
            (names, false) => format!("formatted: {}", names.join(", ")),
        };
        out.say(&json!({ "files": files, "changed": names }), &words)?;
        match names.len() {
            many if self.check && many > 0 => {
                let said = format!(
                    "{many} of {files} files are not formatted; `cedarkeep policy format` does it"
                );
                Err(Ending::unmet(said).into())
            }
            _ => Ok(()),
        }
    }
}

/// Puts a text in a file's place: whoever reads it has the one or the other.
fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let place = folder::place(folder, name)?;
    let beside = place.with_file_name(format!(".{name}.formatting"));
    fs::write(&beside, text)?;
    fs::set_permissions(&beside, fs::metadata(&place)?.permissions())?;
    fs::rename(&beside, &place)
}
