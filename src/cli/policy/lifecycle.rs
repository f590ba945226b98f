//! Versions at the command line: pushed from a folder and pulled into one, listed, compared, checked, activated and taken back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::diff;
use super::folder::{Folder, SCHEMA, texts};
use super::place::{At, Place, number_of, wrong_files};
use crate::app::App;
use crate::cli::ending::Ending;
use crate::cli::print::Out;
use crate::cli::{Failed, Outcome};
use crate::directory::policies::{self, Files};
use crate::policy;

/// Draft a version of the files in a folder: it is validated and tested, and counts once it is activated
#[derive(Debug, Args)]
#[command(after_help = PUSH)]
pub(in crate::cli) struct Push {
    /// The folder: `schema.cedarschema`, `*.cedar` and `*.test.yaml`
    dir: PathBuf,
    /// What it is for
    #[arg(long, short, default_value = "")]
    message: String,
    /// Activate it as well, where the organization's conditions are met
    #[arg(long)]
    activate: bool,
    #[command(flatten)]
    at: At,
}

const PUSH: &str = "\
Examples:
  cedarkeep policy push policies --org acme -m 'viewers see the settings'
  CEDARKEEP_API_KEY=... cedarkeep policy push policies --server https://pdp.example.com --as usr_... --activate

A folder that is what counts already is not drafted again. Exit codes: 0, 1 refused, 2 the files are wrong.";

/// Write the files of a version into a folder; of the one that counts, if none is named
#[derive(Debug, Args)]
pub(in crate::cli) struct Pull {
    /// The folder; it is made if it is not there
    dir: PathBuf,
    /// Which version
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Take away files of policies and tests that the version does not have
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    at: At,
}

/// List the versions, the newest first: which counts, what was found about each, and who had a hand in it
#[derive(Debug, Args)]
pub(in crate::cli) struct Versions {
    #[command(flatten)]
    at: At,
}

/// Have a version count, on all nodes at once
#[derive(Debug, Args)]
pub(in crate::cli) struct Activate {
    /// Its number
    version: u64,
    /// The version that counts now, as far as you know: refused if it is another
    #[arg(long, value_name = "N")]
    active: Option<u64>,
    #[command(flatten)]
    at: At,
}

/// Have a version count again that was active before; at this machine, without a number: take all own policies out of force
#[derive(Debug, Args)]
pub(in crate::cli) struct Rollback {
    /// Its number
    version: Option<u64>,
    #[command(flatten)]
    at: At,
}

/// What is done with versions.
pub(super) enum Deed<'a> {
    Push(&'a Push),
    Pull(&'a Pull),
    Versions(&'a Versions),
    Activate(&'a Activate),
    Rollback(&'a Rollback),
}

impl Deed<'_> {
    fn at(&self) -> &At {
        match self {
            Self::Push(push) => &push.at,
            Self::Pull(pull) => &pull.at,
            Self::Versions(versions) => &versions.at,
            Self::Activate(activate) => &activate.at,
            Self::Rollback(rollback) => &rollback.at,
        }
    }

    /// At a service elsewhere; nothing where it is about this machine.
    pub(super) fn elsewhere(&self, out: &Out) -> Option<Outcome> {
        self.at().is_elsewhere().then(|| {
            let place = self.at().elsewhere()?;
            on_a_runtime(self.run(&place, out))
        })
    }

    /// At this machine.
    pub(super) async fn here(&self, app: &Arc<App>, out: &Out) -> Outcome {
        let place = self.at().here(app).await?;
        self.run(&place, out).await
    }

    async fn run(&self, place: &Place, out: &Out) -> Outcome {
        match self {
            Self::Push(push) => push.run(place, out).await,
            Self::Pull(pull) => pull.run(place, out).await,
            Self::Versions(_) => versions(place, out).await,
            Self::Activate(activate) => {
                let done = place.activate(activate.version, activate.active).await?;
                counts(out, &done)
            }
            Self::Rollback(rollback) => match rollback.version {
                Some(version) => counts(out, &place.roll_back(version).await?),
                None => cleared(place, out).await,
            },
        }
    }
}

/// Runs what asks a service, in a process that does nothing else.
pub(super) fn on_a_runtime(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

async fn cleared(place: &Place, out: &Out) -> Outcome {
    let Place::Here(door) = place else {
        return Err("say which version: `cedarkeep policy versions` lists them".into());
    };
    let changed = door.operate(policies::clear).await?;
    Ok(out.say(
        &changed.reply,
        "the organization is governed by the built-in policies alone",
    )?)
}

fn counts(out: &Out, done: &Value) -> Outcome {
    let number = number_of(done)?;
    Ok(out.say(done, &format!("version {number} counts from here on"))?)
}

impl Push {
    async fn run(&self, place: &Place, out: &Out) -> Outcome {
        let files = match files(&self.dir) {
            Ok(files) => files,
            Err(unread) => return unread.end(out),
        };
        let files = match files {
            Ok(files) => files,
            Err(error) => return Err(Ending::unchecked(error.to_string()).into()),
        };
        let active = place.active().await?;
        if active.get("digest").and_then(Value::as_str) == Some(files.digest().as_str()) {
            let number = number_of(&active)?;
            let same = json!({ "version": number, "unchanged": true });
            let text = format!("version {number} counts, and is what the folder has");
            return Ok(out.say(&same, &text)?);
        }
        let drafted = match place.draft(files, self.message.clone()).await {
            Ok(drafted) => drafted,
            Err(failed) => return super::folder::Unread::Files(wrong_files(failed)?).end(out),
        };
        let number = number_of(&drafted)?;
        let failed = drafted.pointer("/tests/failed").and_then(Value::as_u64);
        let passed = drafted.pointer("/tests/passed").and_then(Value::as_u64);
        let tests = match (passed, failed) {
            (Some(passed), Some(0)) => format!(", and its {passed} tests pass"),
            (Some(passed), Some(failed)) => {
                let all = passed.saturating_add(failed);
                format!(", and {failed} of its {all} tests do not pass")
            }
            _ => ", without tests".to_owned(),
        };
        let mut words = vec![format!("drafted version {number}{tests}")];
        let failures = drafted.get("failures").and_then(Value::as_array);
        let failures = failures.into_iter().flatten().filter_map(Value::as_str);
        words.extend(failures.map(|failure| format!("  {failure}")));
        out.say(&drafted, &words.join("\n"))?;
        if self.activate {
            return counts(
                out,
                &place.activate(number, Some(number_of(&active)?)).await?,
            );
        }
        match failed {
            Some(failed) if failed > 0 => Err(unpassed(failed, &self.dir.display().to_string())),
            _ => Ok(()),
        }
    }
}

/// How a command ends whose version has tests that fail; `dir` is where they can be run.
pub(super) fn unpassed(failed: u64, dir: &str) -> Failed {
    let count = match failed {
        1 => "one test does not pass".to_owned(),
        many => format!("{many} tests do not pass"),
    };
    Ending::unmet(format!("{count}: `cedarkeep policy test {dir}` says why")).into()
}

/// A folder as a version's files.
fn files(
    dir: &Path,
) -> Result<Result<Files, crate::directory::DirectoryError>, super::folder::Unread> {
    let folder = Folder::read(dir)?;
    let schema = folder.own.schema.map(|schema| schema.text);
    Ok(Files::of(
        schema.unwrap_or_default(),
        texts(folder.own.policies),
        texts(folder.tests),
    ))
}

/// Says what differs between what counts, or a version, and a folder.
pub(super) async fn compare(
    place: &Place,
    (number, dir): (Option<u64>, &Path),
    out: &Out,
    exit_code: bool,
) -> Outcome {
    let after = match Folder::read(dir) {
        Ok(folder) => folder.own,
        Err(unread) => return unread.end(out),
    };
    let (_, before) = place.files(number).await?;
    let found = match policy::diff(&before.own(), &after) {
        Ok(found) => found,
        Err((_, findings)) => return super::folder::Unread::Files(findings).end(out),
    };
    diff::say(out, &found)?;
    match exit_code && !found.is_empty() {
        true => Err(Ending::unmet("there is a difference").into()),
        false => Ok(()),
    }
}

impl Pull {
    async fn run(&self, place: &Place, out: &Out) -> Outcome {
        let (number, files) = place.files(self.version).await?;
        std::fs::create_dir_all(&self.dir)?;
        let mut all: Vec<(&str, &str)> = Vec::new();
        if !files.schema.is_empty() {
            all.push((SCHEMA, &files.schema));
        }
        let texts = files.policies.iter().chain(&files.tests);
        all.extend(texts.map(|(name, text)| (name.as_str(), text.as_str())));
        // Names come from whoever drafted it: none of them leads out of the folder.
        for (name, _) in &all {
            if !is_plain(name) {
                let why = format!(
                    "version {number} has a file that is called `{name}`, which is no name for one here"
                );
                return Err(why.into());
            }
        }
        for (name, text) in &all {
            write(&self.dir.join(name), text)?;
        }
        let mut gone = Vec::new();
        if self.delete {
            for entry in std::fs::read_dir(&self.dir)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                let is_theirs = super::folder::is_ours(&name);
                if is_theirs && !all.iter().any(|(known, _)| *known == name) {
                    std::fs::remove_file(self.dir.join(&name))?;
                    gone.push(name);
                }
            }
        }
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let told = json!({ "version": number, "files": names, "deleted": gone });
        let text = format!("wrote {} files of version {number}", names.len());
        Ok(out.say(&told, &text)?)
    }
}

/// Whether it is the name of a file of ours, and of nothing else.
fn is_plain(name: &str) -> bool {
    super::folder::is_ours(name) && !name.starts_with('.') && !name.contains(['/', '\\', '\0', ':'])
}

/// Writes a file whole, or leaves the one that is there.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

async fn versions(place: &Place, out: &Out) -> Outcome {
    let all = place.versions().await?;
    if all.is_empty() {
        out.progress("there are no versions yet: `cedarkeep policy push` drafts one");
    }
    for version in &all {
        let text = |pointer: &str| {
            let text = version.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default()
        };
        let number = number_of(version)?;
        let mut words = vec![format!("{number:>5}  {}", text("/drafted/at"))];
        let is = |member: &str| version.get(member) == Some(&Value::Bool(true));
        if is("active") {
            words.push("counts".into());
        }
        if is("shadow") {
            words.push("shadow".into());
        }
        let (passed, failed) = (
            version.pointer("/tested/passed"),
            version.pointer("/tested/failed"),
        );
        if let (Some(passed), Some(failed)) = (passed, failed) {
            words.push(format!("tests {passed} passed, {failed} failed"));
        }
        if let Some(proved) = version
            .pointer("/checked/proved")
            .filter(|one| one.is_object())
        {
            let count = |member: &str| proved.get(member).cloned().unwrap_or(Value::Null);
            words.push(format!(
                "proofs {} hold, {} fail, {} unknown",
                count("holds"),
                count("fails"),
                count("unknown")
            ));
        }
        let approvals = version.get("approvals").and_then(Value::as_array);
        if let Some(count) = approvals.map(Vec::len).filter(|count| *count > 0) {
            words.push(format!("approved {count} times"));
        }
        words.push(
            text("/message")
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        );
        out.say(version, &words.join("  "))?;
    }
    Ok(())
}
