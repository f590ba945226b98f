//! What is found about a version before it counts: its tests, proofs over all requests, and what was decided made again under it.

use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::Utc;
use serde_json::{Map, Value, json};

use super::App;
use crate::decide::authorized::{AuditLogRead, PolicyEdit, PolicyRead};
use crate::decide::preparing::Trial;
use crate::decide::replay::{self, NotReplayed, Range, Replaying, Under};
use crate::decide::{Asker, Changed, Door, Refused};
use crate::directory::policies::standing::{Proved, Replayed};
use crate::directory::policies::{self, Checked};
use crate::directory::{DirectoryError, Kind, Ref};
use crate::proof::{self, NoSolver, ProofError};

/// Which decisions are made again where the organization asks for none.
const REPLAYED: u64 = 10_000;

/// What is to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The version.
    pub number: u64,
    /// Whether proofs are made.
    pub proof: bool,
    /// Which decisions are made again; as many as the organization's conditions ask for where it is not said, none where there is none.
    pub replay: Option<Option<Range>>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// With the proofs.
    Proof(proof::Progress),
    /// With the replay.
    Replay(replay::Progress),
}

impl Step {
    /// As one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Proof(now) => {
                json!({ "progress": { "step": "proof", "done": now.done, "of": now.of } })
            }
            Self::Replay(now) => {
                let mut line = now.to_json();
                if let Some(line) = line.pointer_mut("/progress").and_then(Value::as_object_mut) {
                    line.insert("step".into(), "replay".into());
                }
                line
            }
        }
    }
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// What is kept beside the version.
    pub checked: Checked,
    /// What came of its tests.
    pub trial: Trial,
    /// The proofs; why there are none.
    pub proof: Option<Result<proof::Report, NoSolver>>,
    /// The replay; why there is none.
    pub replay: Option<Result<replay::Report, String>>,
    /// Where it is recorded.
    pub changed: Changed,
}

impl Found {
    /// As an object of JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut shown = Map::new();
        shown.insert("checked".into(), json!(self.checked));
        shown.insert("tests".into(), json!(self.trial.tested));
        shown.insert("failures".into(), json!(self.trial.failures));
        match &self.proof {
            Some(Ok(report)) => drop(shown.insert("proof".into(), report.to_json())),
            Some(Err(none)) => drop(shown.insert("no_proof".into(), json!(none.to_string()))),
            None => {}
        }
        match &self.replay {
            Some(Ok(report)) => drop(shown.insert("replay".into(), report.to_json())),
            Some(Err(why)) => drop(shown.insert("no_replay".into(), json!(why))),
            None => {}
        }
        shown.insert("words".into(), json!(self.words()));
        Value::Object(shown)
    }

    /// In words, a line each.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(tested) = &self.trial.tested {
            let all = tested.passed.saturating_add(tested.failed);
            words.push(format!("{} of its {all} tests pass.", tested.passed));
            words.extend(self.trial.failures.iter().cloned());
        }
        match &self.proof {
            Some(Ok(report)) => words.extend(report.words()),
            Some(Err(none)) => words.push(none.to_string()),
            None => {}
        }
        match &self.replay {
            Some(Ok(report)) => words.push(report.words()),
            Some(Err(why)) => words.push(why.clone()),
            None => {}
        }
        words
    }
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
pub enum NotChecked {
    /// It is not allowed, the version is not there, or it cannot be recorded.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The proof was not made.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The replay was not made.
    #[error(transparent)]
    Replay(#[from] NotReplayed),
}

impl App {
    /// Whether somebody may have this found out: for an answer before the work begins.
    ///
    /// # Errors
    /// They may not, or there is no such version.
    pub async fn may_check(
        &self,
        door: &Door,
        asker: &Asker,
        wanted: Wanted,
    ) -> Result<(), Refused> {
        let of = |kind| Ref::new(kind, *door.store().id().bytes());
        let permitted = door
            .permit::<PolicyEdit>(asker.clone(), of(Kind::PolicySet), Map::new())
            .await?;
        if wanted.replay.is_some() {
            door.permit::<AuditLogRead>(asker.clone(), of(Kind::AuditLog), Map::new())
                .await?;
        }
        match permitted.snapshot().version(wanted.number) {
            Some(_) => Ok(()),
            None => Err(absent(wanted.number)),
        }
    }

    /// Finds out what a version does, and keeps it beside it. It takes the right to edit policies, and for a replay that to read the log. One
    /// at a time, for an organization.
    ///
    /// # Errors
    /// `Refused`, `Busy` among it where one is under way; `Proof` where the solver does not start, `Replay` where the log is not read.
    pub async fn check(
        &self,
        door: &Arc<Door>,
        asker: &Asker,
        wanted: Wanted,
        told: impl Fn(Step) -> ControlFlow<()> + Clone + Send + Sync + 'static,
    ) -> Result<Found, NotChecked> {
        let _turn = door.checks().try_acquire().map_err(|_| Refused::Busy)?;
        let set = Ref::new(Kind::PolicySet, *door.store().id().bytes());
        door.permit::<PolicyEdit>(asker.clone(), set, Map::new())
            .await?;
        let permitted = door
            .permit::<PolicyRead>(asker.clone(), set, Map::new())
            .await?;
        let snapshot = permitted.snapshot();
        let number = wanted.number;
        let version = snapshot.version(number).ok_or_else(|| absent(number))?;
        let files = version.files(number).map_err(Refused::from)?;
        let asked = snapshot.rules().conditions.replay;
        let against = snapshot.library().version;
        let prepared = door.prepare(&files).await?;
        let trial = door.run_tests(&prepared, &files).await?;
        let draft = prepared.compiled;
        let active = Arc::clone(permitted.world().compiled());
        let proof = match (wanted.proof, self.prover()) {
            (false, _) => None,
            (true, Err(none)) => Some(Err(none.clone())),
            (true, Ok(prover)) => {
                let told = told.clone();
                // Whoever is gone drops all of this.
                let telling = move |now| {
                    let (ControlFlow::Continue(()) | ControlFlow::Break(())) =
                        told(Step::Proof(now));
                };
                Some(Ok(prover.report(Some(&active), &draft, telling).await?))
            }
        };
        let last = asked.map_or(REPLAYED, |flips| flips.last);
        let newest = match wanted.replay {
            Some(None) => last,
            Some(Some(Range::Last(count))) => count,
            Some(Some(Range::All)) => u64::MAX,
            _ => 0,
        };
        let replay = match wanted.replay {
            None => None,
            Some(range) => {
                let wanted = Replaying {
                    range: range.unwrap_or(Range::Last(last)),
                    under: Under::Compiled(draft),
                };
                let telling = |now| told(Step::Replay(now));
                match door.replay(asker.clone(), wanted, telling).await {
                    Ok(report) => Some(Ok(report)),
                    // A log without a decision shows nothing, and says so.
                    Err(error @ NotReplayed::Range { .. }) => Some(Err(error.to_string())),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let proved = proof.as_ref().and_then(|proof| proof.as_ref().ok());
        let replayed = replay.as_ref().and_then(|replay| replay.as_ref().ok());
        let checked = Checked {
            against,
            builtin: active.library().digest().to_owned(),
            at: Utc::now(),
            without_solver: matches!(proof, Some(Err(_))),
            proved: proved.map(|report| {
                let (holds, fails, unknown) = report.guardrails.counts();
                Proved {
                    holds: count(holds),
                    fails: count(fails),
                    unknown: count(unknown),
                }
            }),
            replayed: replayed.map(|report| Replayed {
                newest,
                ..report.replayed()
            }),
        };
        let kept = (checked.clone(), trial.tested.clone());
        let changed = door
            .change::<PolicyEdit>(asker.clone(), set, Map::new(), None, move |by, snapshot| {
                policies::check(by, snapshot, number, (&kept.0, kept.1.as_ref()))
            })
            .await?;
        Ok(Found {
            checked,
            trial,
            proof,
            replay,
            changed,
        })
    }
}

fn absent(number: u64) -> Refused {
    Refused::from(DirectoryError::NotFound {
        kind: "version",
        id: number.to_string(),
    })
}
