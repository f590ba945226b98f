//! An export of the log on its way out: gathered, handed over a piece at a time, and only for as long as whoever takes it may have it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Map;
use tokio::time::timeout_at;

use super::authorized::AuditLogExport;
use super::door::Door;
use super::error::Refused;
use super::export::{NotExported, Outlet};
use super::question::{Asker, Caller};
use super::turn::AGAIN;
use crate::directory::{Kind, Ref};

/// How much is handed over at a time.
pub(super) const CHUNK: usize = 1 << 16;

/// After how long an export that lasts is decided anew.
const PERMITTED_FOR: Duration = Duration::from_secs(5);

/// How long it holds where nothing could be decided meanwhile.
const LATEST: Duration = Duration::from_secs(20);

/// How long a reader may take nothing: what it keeps from others is given back.
const STALLED: Duration = Duration::from_secs(300);

/// The right to an export. It is asked for anew every few seconds, and where the state is another one than it was decided on.
#[derive(Debug, Clone)]
pub(super) struct Right {
    door: Arc<Door>,
    asker: Asker,
    /// When it was decided last.
    decided: Instant,
    /// When it is decided anew.
    due: Instant,
    /// The last change that this node knew of then.
    seen: u64,
}

impl Right {
    /// Asks for it; nothing for the operator, whom nobody is asked about.
    ///
    /// # Errors
    /// It is not allowed, or cannot be decided now.
    pub(super) async fn of(door: &Arc<Door>, asker: &Asker) -> Result<Option<Self>, Refused> {
        if matches!(asker.caller, Caller::Operator | Caller::System) {
            return Ok(None);
        }
        let now = Instant::now();
        let mut right = Self {
            door: Arc::clone(door),
            asker: asker.clone(),
            decided: now,
            due: now,
            seen: as_of(door),
        };
        right.decide().await?;
        Ok(Some(right))
    }

    /// Decides it anew where that is due.
    ///
    /// # Errors
    /// It is not allowed any more, or could not be decided for too long.
    pub(super) async fn hold(&mut self) -> Result<(), Refused> {
        if Instant::now() < self.due && as_of(&self.door) == self.seen {
            return Ok(());
        }
        loop {
            match self.decide().await {
                // Too much else was asked just now: it is asked again in a moment, for a while. Behind a change nothing goes out meanwhile.
                Err(Refused::Busy) if self.decided.elapsed() < LATEST => {
                    if as_of(&self.door) == self.seen {
                        self.due = Instant::now() + AGAIN;
                        return Ok(());
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                decided => return decided,
            }
        }
    }

    async fn decide(&mut self) -> Result<(), Refused> {
        let (now, seen) = (Instant::now(), as_of(&self.door));
        let log = Ref::new(Kind::AuditLog, *self.door.store().id().bytes());
        self.door
            .permit::<AuditLogExport>(self.asker.clone(), log, Map::new())
            .await?;
        (self.decided, self.due, self.seen) = (now, now + PERMITTED_FOR, seen);
        Ok(())
    }
}

/// The last change that this node knows of.
fn as_of(door: &Door) -> u64 {
    door.glance().snapshot().as_of()
}

/// Bytes gathered on their way out.
pub(super) struct Sending {
    out: Outlet,
    gathered: Vec<u8>,
    right: Option<Right>,
}

impl Sending {
    pub(super) const fn of(out: Outlet, right: Option<Right>) -> Self {
        Self {
            out,
            gathered: Vec::new(),
            right,
        }
    }

    /// Whether it goes on, also where there is nothing to send for a while.
    ///
    /// # Errors
    /// Nobody takes it any more, or whoever does may not have it any more.
    pub(super) async fn goes_on(&mut self) -> Result<(), NotExported> {
        if self.out.is_closed() {
            return Err(NotExported::Gone);
        }
        match &mut self.right {
            Some(right) => Ok(right.hold().await?),
            None => Ok(()),
        }
    }

    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> Result<(), NotExported> {
        self.gathered.extend(bytes);
        while self.gathered.len() >= CHUNK {
            let rest = self.gathered.split_off(CHUNK);
            let piece = std::mem::replace(&mut self.gathered, rest);
            self.hand_over(piece).await?;
        }
        Ok(())
    }

    /// Hands over what is left.
    pub(super) async fn flush(&mut self) -> Result<(), NotExported> {
        match std::mem::take(&mut self.gathered) {
            rest if rest.is_empty() => Ok(()),
            rest => self.hand_over(rest).await,
        }
    }

    /// Waits until there is room for it. The right is looked at last: nothing goes out behind a change that takes it away.
    async fn hand_over(&mut self, piece: Vec<u8>) -> Result<(), NotExported> {
        let Some(right) = &mut self.right else {
            let sent = self.out.send(Ok(piece)).await;
            return sent.map_err(|_| NotExported::Gone);
        };
        let begun = Instant::now();
        loop {
            let room = timeout_at(right.due.into(), self.out.reserve()).await;
            right.hold().await?;
            match room {
                Ok(Ok(room)) => {
                    room.send(Ok(piece));
                    return Ok(());
                }
                Ok(Err(_)) => return Err(NotExported::Gone),
                Err(_) if begun.elapsed() >= STALLED => return Err(NotExported::Stalled),
                Err(_) => {}
            }
        }
    }
}
