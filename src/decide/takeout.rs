//! A person's or an organization's data handed out as one tar: what it is, then piece by piece, in constant memory.
//!
//! `manifest.json` first; `objects/`, `shares/`, `entities/` and `log/` as numbered files of JSON lines; `policies/`; under
//! `content/<resource>/` each version and what it is; `end.json` last, with how much there is of each: without it the export is not whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::{Map, Value, json};
use tar::Header;

use super::audit;
use super::authorized::DataExport;
use super::door::{Changed, Door};
use super::error::{Refused, Unwritten};
use super::export::{Broken, Outlet, Walk};
use super::question::Asker;
use super::world::World;
use crate::crypto::CryptoError;
use crate::crypto::recipient::{Envelope, Recipient};
use crate::directory::takeout::{self, Of};
use crate::directory::{Kind, Ref, view};
use crate::log::entry::{self, PartName};
use crate::vault::{Held, Vault, VaultError};

/// How long one file of lines becomes, about.
const FILE: usize = 1 << 20;
/// How much is gathered before it is sent.
const CHUNK: usize = 1 << 16;
/// After how long an export that lasts is decided anew.
const PERMITTED_FOR: Duration = Duration::from_secs(5);

/// How long it holds where nothing could be decided meanwhile.
const LATEST: Duration = Duration::from_secs(20);
/// What entries say of whoever else acted: from where, with what request, and by which policies.
const OF_OTHERS: [PartName; 3] = [PartName::Client, PartName::Request, PartName::Policies];
/// How many versions are read at a time.
const VERSIONS: usize = 100;

/// Why an export of data is not whole.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The state or the log.
    #[error(transparent)]
    Unread(#[from] Unwritten),
    /// What is kept.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Sealing for the receiver.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A file that tar cannot hold.
    #[error("a file of the export cannot be written")]
    File(#[from] std::io::Error),
    /// It is not allowed any more.
    #[error("the export is not allowed any more")]
    Denied,
    /// Whoever wanted it is gone.
    #[error("nobody takes the export any more")]
    Gone,
}

/// An export of data that is decided and recorded.
#[derive(Debug)]
pub struct Takeout {
    door: Arc<Door>,
    world: Arc<World>,
    of: Of,
    asker: Asker,
    /// The index at which it was decided: nothing that is newer goes out.
    until: u64,
    said: Value,
    permitted: Instant,
    written: u64,
}

/// What is being sent.
struct Sending {
    out: Outlet,
    envelope: Option<Envelope>,
    gathered: Vec<u8>,
    time: u64,
}

impl Takeout {
    /// Of the state as it is known here now, as it was decided and recorded for whoever asks.
    #[must_use]
    pub fn new(door: Arc<Door>, of: Of, (asker, exported): (Asker, Changed)) -> Self {
        Self {
            world: door.glance(),
            door,
            of,
            asker,
            until: exported.recorded.map_or(0, |recorded| recorded.index),
            said: exported.reply,
            permitted: Instant::now(),
            written: 0,
        }
    }

    /// Writes all of it, sealed for the recipient where there is one. `now`: seconds since 1970, as the files are dated. What goes wrong is
    /// the last that is sent.
    ///
    /// # Errors
    /// Something cannot be read any more, or nobody takes what is sent.
    pub async fn write(
        mut self,
        out: Outlet,
        recipient: Option<Recipient>,
        now: u64,
    ) -> Result<(), NotTaken> {
        let mut sending = Sending {
            out,
            envelope: recipient.as_ref().map(Envelope::begin).transpose()?,
            gathered: Vec::with_capacity(CHUNK),
            time: now,
        };
        let written = self.write_all(&mut sending).await;
        match written {
            Ok(()) => sending.end().await,
            Err(error) => {
                if !matches!(error, NotTaken::Gone) {
                    tracing::error!(tenant.id = %self.door.store().id(), %error, "an export of data ended early");
                }
                // Whoever is gone needs no word.
                drop(sending.out.send(Err(Broken)).await);
                Err(error)
            }
        }
    }

    async fn write_all(&mut self, sending: &mut Sending) -> Result<(), NotTaken> {
        let snapshot = Arc::clone(&self.world);
        let snapshot = snapshot.snapshot();
        let whose = match self.of {
            Of::Organization { .. } => snapshot.org(),
            Of::Person(person) => person,
        };
        let manifest = json!({
            "format": "cedarkeep.data.v1", "of": whose, "log": self.door.origin().as_str(), "as_of": snapshot.as_of(),
            "recorded": self.said,
        });
        sending.file("manifest.json", &line(&manifest)).await?;
        let objects = tokio::task::block_in_place(|| takeout::objects(snapshot, self.of));
        let mut lines = Lines::of("objects");
        let mut read = snapshot.apart();
        for reference in &objects {
            self.still_allowed().await?;
            if read.is_full() {
                read = read.cleared();
            }
            if let Some(stored) = read.object(*reference) {
                let object = view::view(*reference, &stored.value, &read);
                lines.add(sending, &object).await?;
            }
        }
        let objects_written = lines.end(sending).await?;
        let mut lines = Lines::of("shares");
        for id in takeout::shares(snapshot, self.of, &objects) {
            self.still_allowed().await?;
            if let Some(stored) = snapshot.share(id) {
                lines.add(sending, &view::share(id, stored)).await?;
            }
        }
        let shares = lines.end(sending).await?;
        let mut entities = 0;
        if matches!(self.of, Of::Organization { .. }) {
            let mut lines = Lines::of("entities");
            for (_, _, entity) in snapshot.own(None) {
                self.still_allowed().await?;
                lines.add(sending, &view::own(&entity)).await?;
            }
            entities = lines.end(sending).await?;
            let library = snapshot.library();
            sending
                .file("policies/schema.cedarschema", library.schema.as_bytes())
                .await?;
            let mut names = Vec::new();
            for (number, (name, text)) in (1_u32..).zip(&library.policies) {
                // What an Admin called it need not be the name of a file.
                let place = format!("policies/{number:06}.cedar");
                sending.file(&place, text.as_bytes()).await?;
                names.push(json!({"file": place, "name": name}));
            }
            let names = Value::Array(names);
            sending.file("policies/names.json", &line(&names)).await?;
        }
        match self.of {
            Of::Organization { .. } => {
                for reference in objects {
                    // A token is nobody's to read.
                    if super::content::is_carried_by(reference.kind)
                        && reference.kind != Kind::Integration
                    {
                        self.contents_of(sending, reference).await?;
                    }
                }
            }
            Of::Person(person) => {
                self.contents_by(sending, person).await?;
                // What they wrote for a circle is the circle's: of that they take what is in their own words.
                for reference in takeout::shared_memories(snapshot, person) {
                    self.contents_of(sending, reference).await?;
                }
            }
        }
        let log = match self.of {
            Of::Organization { .. } => 0,
            Of::Person(person) => self.log_about(sending, person).await?,
        };
        let end = json!({
            "objects": objects_written, "shares": shares, "entities": entities, "contents": self.written, "log_entries": log,
        });
        if !self.world.snapshot().is_sound() {
            return Err(Unwritten::Corrupt { what: "spill" }.into());
        }
        self.still_allowed().await?;
        sending.file("end.json", &line(&end)).await
    }

    /// Whether it may go on: it is decided anew every few seconds, and what two Admins have agreed on is asked of the state that is known
    /// here before anything more goes out.
    async fn still_allowed(&mut self) -> Result<(), NotTaken> {
        if let Of::Organization { private: true } = self.of {
            let now = self.door.glance();
            let agreed = takeout::approved(now.snapshot(), Utc::now());
            let (one, other) = agreed.map_err(|_| NotTaken::Denied)?;
            if ![Some(one), Some(other)].contains(&self.asker.caller.user()) {
                return Err(NotTaken::Denied);
            }
        }
        if self.permitted.elapsed() < PERMITTED_FOR {
            return Ok(());
        }
        let whole = match self.of {
            Of::Organization { .. } => self.world.snapshot().org(),
            Of::Person(person) => person,
        };
        let asked = self
            .door
            .permit::<DataExport>(self.asker.clone(), whole, Map::new())
            .await;
        match asked {
            Ok(_) => self.permitted = Instant::now(),
            // Too much else was asked just now: it is asked again for the next thing, for a while.
            Err(Refused::Busy) if self.permitted.elapsed() < LATEST => {}
            Err(_) => return Err(NotTaken::Denied),
        }
        Ok(())
    }

    /// What is still allowed to go out: what has become private meanwhile stays here.
    async fn may_go(&mut self, resource: Ref) -> Result<bool, NotTaken> {
        self.still_allowed().await?;
        let now = self.door.glance();
        let private = now
            .snapshot()
            .object(resource)
            .is_none_or(|object| takeout::is_private(now.snapshot(), &object.value));
        Ok(!private || !matches!(self.of, Of::Organization { private: false }))
    }

    async fn contents_of(&mut self, sending: &mut Sending, of: Ref) -> Result<(), NotTaken> {
        let (vault, name) = (self.door.vault(), of.to_string());
        let mut after = None;
        loop {
            let some = vault.versions(&name, after, VERSIONS).await?;
            for held in &some {
                after = Some(held.from_index);
                self.content(sending, &vault, held).await?;
            }
            if some.len() < VERSIONS {
                return Ok(());
            }
        }
    }

    async fn contents_by(&mut self, sending: &mut Sending, person: Ref) -> Result<(), NotTaken> {
        let (vault, name) = (self.door.vault(), person.to_string());
        let mut after = String::new();
        loop {
            let some = vault.of_person(&name, &after, VERSIONS).await?;
            for held in &some {
                after.clone_from(&held.spot().version);
                self.content(sending, &vault, held).await?;
            }
            if some.len() < VERSIONS {
                return Ok(());
            }
        }
    }

    async fn content(
        &mut self,
        sending: &mut Sending,
        vault: &Vault,
        held: &Held,
    ) -> Result<(), NotTaken> {
        let name = &held.spot().resource;
        let resource = name.parse().map_err(|_| VaultError::Corrupt)?;
        if held.from_index > self.until || !self.may_go(resource).await? {
            return Ok(());
        }
        let mut opened = match vault.open(held).await {
            Ok(opened) => opened,
            // They were erased since; there is nothing to hand out.
            Err(VaultError::Forgotten) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let spot = held.spot();
        let place = format!("content/{}/{}", spot.resource, spot.version);
        let label = opened.label().clone();
        if let Of::Person(person) = self.of
            && spot.subject.is_none()
            && label.author != Some(person.to_string())
        {
            return Ok(());
        }
        let said = json!({
            "resource": spot.resource, "version": spot.version, "media_type": label.media_type, "length": label.length,
            "author": label.author, "at": chrono::DateTime::from_timestamp_micros(label.at), "comment": label.comment,
            "from_index": held.from_index, "to_index": held.to_index,
        });
        sending.file(&format!("{place}.json"), &line(&said)).await?;
        sending.begin(&place, label.length).await?;
        let mut at = 0;
        while at < label.length {
            self.still_allowed().await?;
            let piece = opened.next(at, label.length).await?;
            at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            sending.bytes(&piece).await?;
        }
        sending.pad(label.length).await?;
        self.written += 1;
        Ok(())
    }

    /// What the log says by, for or about somebody, with what its parts say; where somebody else acted, without what those say of them.
    async fn log_about(&mut self, sending: &mut Sending, person: Ref) -> Result<u64, NotTaken> {
        let door = Arc::clone(&self.door);
        let store = door.store();
        let head = audit::head(store).await?;
        let mut walk = Walk::of(store, head.minimum, head.size);
        let mut lines = Lines::of("log");
        let person = person.to_string();
        let is_among = |people: &[&Option<entry::Ref>]| {
            let mut people = people.iter().copied().flatten();
            people.any(|one| one.id.as_str() == person)
        };
        while let Some(read) = walk.page().await? {
            self.still_allowed().await?;
            let theirs = |(entry, ..): &audit::Read| {
                is_among(&[&entry.actor, &entry.acts_for, &entry.resource])
            };
            let theirs = read.into_iter().filter(theirs).collect();
            for (entry, mut shown) in audit::show(store, theirs).await? {
                let acted = [&entry.actor, &entry.acts_for];
                if !is_among(&acted) {
                    for part in OF_OTHERS {
                        shown.parts.remove(part.as_str());
                    }
                }
                lines.add(sending, &shown.line()).await?;
            }
        }
        lines.end(sending).await
    }
}

/// Lines on their way into numbered files.
struct Lines {
    folder: &'static str,
    file: u32,
    lines: u64,
    gathered: Vec<u8>,
}

impl Lines {
    const fn of(folder: &'static str) -> Self {
        Self {
            folder,
            file: 0,
            lines: 0,
            gathered: Vec::new(),
        }
    }

    async fn add(&mut self, sending: &mut Sending, value: &Value) -> Result<(), NotTaken> {
        self.gathered.extend(line(value));
        self.lines += 1;
        if self.gathered.len() >= FILE {
            self.flush(sending).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, sending: &mut Sending) -> Result<(), NotTaken> {
        if !self.gathered.is_empty() {
            self.file += 1;
            let place = format!("{}/{:06}.jsonl", self.folder, self.file);
            sending.file(&place, &self.gathered).await?;
            self.gathered.clear();
        }
        Ok(())
    }

    async fn end(mut self, sending: &mut Sending) -> Result<u64, NotTaken> {
        self.flush(sending).await?;
        Ok(self.lines)
    }
}

impl Sending {
    async fn file(&mut self, place: &str, bytes: &[u8]) -> Result<(), NotTaken> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.begin(place, length).await?;
        self.bytes(bytes).await?;
        self.pad(length).await
    }

    async fn begin(&mut self, place: &str, length: u64) -> Result<(), NotTaken> {
        let mut header = Header::new_gnu();
        header.set_path(place)?;
        header.set_size(length);
        header.set_mode(0o600);
        header.set_mtime(self.time);
        header.set_cksum();
        self.bytes(header.as_bytes()).await
    }

    /// A file in a tar fills whole blocks of 512 bytes.
    async fn pad(&mut self, length: u64) -> Result<(), NotTaken> {
        let over = usize::try_from(length % 512).unwrap_or_default();
        if over == 0 {
            return Ok(());
        }
        self.bytes(&vec![0; 512 - over]).await
    }

    async fn bytes(&mut self, bytes: &[u8]) -> Result<(), NotTaken> {
        match &mut self.envelope {
            Some(envelope) => self.gathered.extend(envelope.push(bytes)?),
            None => self.gathered.extend_from_slice(bytes),
        }
        if self.gathered.len() >= CHUNK {
            self.flush().await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), NotTaken> {
        self.bytes(&[0; 1024]).await?;
        if let Some(envelope) = self.envelope.take() {
            self.gathered.extend(envelope.finish()?);
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), NotTaken> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::replace(&mut self.gathered, Vec::with_capacity(CHUNK));
        self.out
            .send(Ok(gathered))
            .await
            .map_err(|_| NotTaken::Gone)
    }
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}
