//! `cedarkeep audit export` and `audit tile`: the log taken away, into a file that is there whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::Outcome;
use super::audit::{Conditions, log, read};
use super::print::Out;
use crate::app::App;
use crate::crypto;
use crate::decide::Asker;
use crate::decide::export::{self, Format, Wanted};

/// How often progress is told.
const TOLD: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The organization
    slug: String,
    /// The format: `bundle` is the whole log with all that proves it, and takes no conditions; the others are views, whose rows
    /// carry index and leaf hash
    #[arg(long, value_enum)]
    format: Wished,
    /// The file; standard output if not given
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    conditions: Conditions,
}

/// The formats by their names.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wished {
    /// A tar of leaves, checkpoint, tiles, keys, parts and manifest, for `audit verify`
    Bundle,
    /// A JSON object a line: index, leaf, what its parts say
    Jsonl,
    /// A table: what the leaf says, and a column for each part
    Csv,
    /// OCSF events (class 6003), one a line
    Ocsf,
}

impl Export {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        let format = match self.format {
            Wished::Bundle => Format::Bundle,
            Wished::Jsonl => Format::Jsonl,
            Wished::Csv => Format::Csv,
            Wished::Ocsf => Format::Ocsf,
        };
        let conditions: Map<String, Value> = self
            .conditions
            .given()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        let wanted = Wanted {
            format,
            query: self.conditions.query()?,
            conditions: Value::Object(conditions),
        };
        let door = app.door(log(app, &self.slug).await?).await?;
        let mut to = Destination::open(self.output.as_deref(), self.force, format)?;
        let mut progress = Progress::new(out, "checked");
        let export = export::begin(door, Asker::operator(), wanted, |done, of| {
            progress.tell(done, of);
        })
        .await?;
        let size = export.size();
        let (sender, mut chunks) = mpsc::channel(4);
        let mut progress = Progress::new(out, "exported");
        let writing = export.write(sender, |done, of| progress.tell(done, of));
        let taking = async {
            let mut bytes = 0;
            // What is broken is told by the writing itself.
            while let Some(Ok(chunk)) = chunks.recv().await {
                to.write(&chunk)?;
                bytes += chunk.len();
            }
            // Nothing more is taken after an error: the writing ends too.
            drop(chunks);
            io::Result::Ok((to, bytes))
        };
        let (taken, written) = tokio::select! {
            both = async { tokio::join!(taking, writing) } => both,
            _ = tokio::signal::ctrl_c() => return Err("interrupted: nothing was exported".into()),
        };
        // A destination that cannot be written is the cause of an export that nobody takes.
        let (to, bytes) = taken.map_err(|error| format!("cannot write the export: {error}"))?;
        written?;
        let named = to.finish(self.force)?;
        if let Some(file) = named {
            let file = file.display().to_string();
            out.say(
                &json!({ "file": file, "format": format.name(), "size": size, "bytes": bytes }),
                &format!("exported the log of {size} entries to {file} ({bytes} bytes)"),
            )?;
        }
        Ok(())
    }
}

/// Tells how far it is, once a second.
struct Progress<'a> {
    out: &'a Out,
    what: &'static str,
    told: Instant,
}

impl<'a> Progress<'a> {
    fn new(out: &'a Out, what: &'static str) -> Self {
        Self {
            out,
            what,
            told: Instant::now(),
        }
    }

    fn tell(&mut self, done: u64, of: u64) {
        if self.told.elapsed() >= TOLD || done == of {
            self.told = Instant::now();
            self.out
                .progress(&format!("{done} of {of} entries {}", self.what));
        }
    }
}

/// Where an export goes. A file has another name until it is whole, and goes away if it never is.
enum Destination {
    Stdout,
    File {
        file: Option<File>,
        part: PathBuf,
        whole: PathBuf,
    },
}

impl Destination {
    fn open(
        path: Option<&Path>,
        force: bool,
        format: Format,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let Some(path) = path else {
            if format == Format::Bundle && io::stdout().is_terminal() {
                return Err("a bundle is not for a terminal: give a file with --output".into());
            }
            return Ok(Self::Stdout);
        };
        refuse_existing(path, force)?;
        let name = path
            .file_name()
            .ok_or_else(|| format!("`{}` names no file", path.display()))?;
        let random: [u8; 8] = crypto::random()?;
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".{:016x}.part", u64::from_be_bytes(random)));
        let part = path.with_file_name(part);
        // What a log says is nobody's business but its owner's.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)
            .map_err(|error| format!("cannot write beside `{}`: {error}", path.display()))?;
        Ok(Self::File {
            file: Some(file),
            part,
            whole: path.to_owned(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(bytes),
            Self::File { file, .. } => file
                .as_mut()
                .ok_or(io::ErrorKind::BrokenPipe)?
                .write_all(bytes),
        }
    }

    /// Gives the file its name.
    fn finish(
        mut self,
        force: bool,
    ) -> Result<Option<PathBuf>, Box<dyn std::error::Error + Send + Sync>> {
        let Self::File { file, part, whole } = &mut self else {
            io::stdout().lock().flush()?;
            return Ok(None);
        };
        if let Some(written) = file.as_ref() {
            written.sync_all()?;
        }
        refuse_existing(whole, force)?;
        std::fs::rename(part, &whole)?;
        *file = None;
        Ok(Some(whole.clone()))
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Self::File {
            file: Some(_),
            part,
            ..
        } = self
        {
            // It was ours alone; if it cannot be removed, its name says what it is.
            drop(std::fs::remove_file(part));
        }
    }
}

fn refuse_existing(path: &Path, force: bool) -> Result<(), String> {
    if !force && path.symlink_metadata().is_ok() {
        Err(format!(
            "`{}` is there already: choose another file, or replace it with --force",
            path.display()
        ))
    } else {
        Ok(())
    }
}

/// Prints a tile or an entry bundle as it is.
pub(super) async fn tile(app: &Arc<App>, out: &Out, slug: &str, path: &str) -> Outcome {
    // Hashes say nothing about anybody; entries do, and that they were read is one.
    let store = match path.starts_with("tile/entries/") {
        true => read(app, slug, json!({ "tile": path })).await?,
        false => Arc::new(app.control().open_store(log(app, slug).await?).await?),
    };
    let bytes = export::tile(&store, path).await?.ok_or_else(|| {
        format!(
            "the log of `{slug}` has no tile `{path}`: paths are those of C2SP tlog-tiles, as `tile/0/000.p/20`, \
             within the size of its checkpoint"
        )
    })?;
    out.bytes(&bytes)?;
    Ok(())
}
