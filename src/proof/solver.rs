//! The solver: its process, one question at a time, how long it may take, and its end.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cedar_policy_symcc::SmtLibScript as _;
use cedar_policy_symcc::solver::{Decision, DecisionWithModel, Solver, SolverError};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Limits, ProofError, Unknown};

/// Questions that every solver knows the answer to: who gets them wrong is not believed anything.
const EASY: &[u8] = b"(set-logic ALL)\n(declare-const x Bool)\n(assert x)\n(check-sat)\n(reset)\n\
    (set-logic ALL)\n(assert false)\n(check-sat)\n";

/// What a solver that works says to them.
const EASY_ANSWERS: &str = "sat\nunsat\n";

/// How much longer than it may the solver has to say so itself.
const GRACE: Duration = Duration::from_secs(1);

/// How often in a row it may fail before it is not asked any more.
const FAILURES_MOST: u32 = 5;

/// The longest question, in bytes.
const QUESTION_MOST: usize = 64 * 1024 * 1024;

/// The longest answer, in bytes.
const ANSWER_MOST: u64 = 16 * 1024 * 1024;

/// A solver, asked one question after another. Each has a process of its own: one that lives on gets slower with every
/// question that it has answered, and what it still says to one is never taken for an answer to the next.
pub(super) struct Session {
    program: Arc<Path>,
    question: Duration,
    memory: u64,
    ends: Instant,
    /// The question, as far as it has been written.
    script: Vec<u8>,
    /// A process that has been asked nothing yet: it starts while the question is being made.
    ready: Option<Child>,
    is_sane: bool,
    /// Answers by the digest of their questions: many request environments come to the same question.
    known: HashMap<[u8; 32], DecisionWithModel>,
    failed: u32,
    why: Option<Unknown>,
    /// How many questions the solver has answered.
    pub(super) asked: usize,
}

impl Session {
    /// A solver that is started now.
    ///
    /// # Errors
    /// `NotStarted`.
    pub(super) fn start(program: &Arc<Path>, limits: Limits) -> Result<Self, ProofError> {
        let now = Instant::now();
        // A limit that no clock reaches is a day.
        let ends = now.checked_add(limits.whole);
        let mut session = Self {
            program: Arc::clone(program),
            question: limits.question,
            memory: limits.memory,
            ends: ends.unwrap_or(now + Duration::from_secs(86_400)),
            script: Vec::new(),
            ready: None,
            is_sane: false,
            known: HashMap::new(),
            failed: 0,
            why: None,
            asked: 0,
        };
        let ready = session.spawn();
        session.ready = Some(ready.map_err(|source| ProofError::NotStarted {
            program: program.to_path_buf(),
            source,
        })?);
        Ok(session)
    }

    /// Whether there is time for another question.
    pub(super) fn has_time(&self) -> bool {
        Instant::now() < self.ends
    }

    /// Why the last question has no answer.
    pub(super) fn why(&mut self) -> Option<Unknown> {
        self.why.take()
    }

    /// Forgets a question that was not asked to its end.
    pub(super) fn forget(&mut self) {
        self.script.clear();
    }

    /// Ends the solver, and waits until it is gone.
    pub(super) async fn end(&mut self) {
        if let Some(mut ready) = self.ready.take() {
            // It may be gone already.
            drop(ready.kill().await);
        }
    }

    /// It finds nothing of what this process was started with, and has no more memory than it may.
    fn spawn(&self) -> io::Result<Child> {
        let child = Command::new(self.program.as_os_str())
            .env_clear()
            .args(["--lang", "smt"])
            .arg(format!("--tlimit-per={}", self.question.as_millis()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            let most = Rlimit {
                current: Some(self.memory),
                maximum: Some(self.memory),
            };
            prlimit(Some(id), Resource::As, most)?;
        }
        Ok(child)
    }

    /// Asks what has been written.
    async fn ask(&mut self, model: bool) -> Result<DecisionWithModel, SolverError> {
        let mut script = std::mem::take(&mut self.script);
        let mut digest = Sha256::new();
        digest.update([u8::from(model)]);
        digest.update(&script);
        let digest: [u8; 32] = digest.finalize().into();
        if let Some(known) = self.known.get(&digest) {
            return Ok(known.clone());
        }
        let now = Instant::now();
        let left = self.ends.saturating_duration_since(now);
        if left.is_zero() {
            return Err(self.fails(Unknown::OutOfTime));
        }
        if script.len() > QUESTION_MOST {
            let much = format!("a question of {} bytes", script.len());
            return Err(self.fails(Unknown::TooMuch(much)));
        }
        if self.failed >= FAILURES_MOST {
            let often = format!("it gave no answer {FAILURES_MOST} times in a row");
            return Err(self.fails(Unknown::Solver(often)));
        }
        let most = self.question.saturating_add(GRACE).min(left);
        script.extend_from_slice(b"(check-sat)\n");
        if model {
            script.extend_from_slice(b"(get-model)\n");
        }
        let answer = timeout(most, self.decide(&script)).await;
        self.ready = self.spawn().ok();
        let why = match answer {
            Ok(Ok(DecisionWithModel::Unknown)) if now.elapsed() < self.question => {
                Unknown::Undecided
            }
            Ok(Ok(DecisionWithModel::Unknown)) => Unknown::TimedOut,
            Ok(Ok(decision)) => {
                self.failed = 0;
                self.asked = self.asked.saturating_add(1);
                self.known.insert(digest, decision.clone());
                return Ok(decision);
            }
            Ok(Err(error)) => {
                self.failed = self.failed.saturating_add(1);
                Unknown::Solver(error.to_string())
            }
            Err(_) => {
                self.failed = self.failed.saturating_add(1);
                if self.has_time() {
                    Unknown::TimedOut
                } else {
                    Unknown::OutOfTime
                }
            }
        };
        Err(self.fails(why))
    }

    fn fails(&mut self, why: Unknown) -> SolverError {
        self.why = Some(why);
        SolverError::SolverMarkedFailed
    }

    async fn decide(&mut self, script: &[u8]) -> io::Result<DecisionWithModel> {
        if !self.is_sane {
            let answer = self.answer(EASY).await?;
            if answer.is_empty() {
                return Err(self.silence());
            }
            if answer != EASY_ANSWERS {
                let why = format!("it says `{}` to what is easy", start_of(&answer));
                return Err(io::Error::other(why));
            }
            self.is_sane = true;
        }
        let answer = self.answer(script).await?;
        let (first, rest) = answer.split_once('\n').unwrap_or((&answer, ""));
        match first.trim_end() {
            "sat" => Ok(DecisionWithModel::Sat {
                model: rest.to_owned(),
            }),
            "unsat" => Ok(DecisionWithModel::Unsat),
            "unknown" | "timeout" => Ok(DecisionWithModel::Unknown),
            "" => Err(self.silence()),
            other => {
                let why = format!("it says `{}`", start_of(other));
                Err(io::Error::other(why))
            }
        }
    }

    /// It has said nothing.
    fn silence(&self) -> io::Error {
        let most = self.memory >> 20;
        io::Error::other(format!(
            "it ends without an answer; it may take {most} MiB of memory (`proof.memory_mib`)"
        ))
    }

    /// All that a process of its own says to a script. Where this is dropped, the process ends.
    async fn answer(&mut self, script: &[u8]) -> io::Result<String> {
        let mut child = match self.ready.take() {
            Some(child) => child,
            None => self.spawn()?,
        };
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        let write = async {
            // Who answers without having read it all is heard all the same.
            drop(input.write_all(script).await);
            drop(input);
        };
        let mut answer = Vec::new();
        let mut output = output.take(ANSWER_MOST);
        // It reads while it writes: neither waits for the other.
        let ((), read) = tokio::join!(write, output.read_to_end(&mut answer));
        read?;
        // What has closed its output is at its end, or is made to be.
        drop(child.kill().await);
        if u64::try_from(answer.len()).is_ok_and(|length| length == ANSWER_MOST) {
            return Err(io::Error::other("its answer never ends"));
        }
        String::from_utf8(answer).map_err(|_| io::Error::other("its answer is no text"))
    }
}

/// As much of it as a message can hold.
fn start_of(answer: &str) -> String {
    answer
        .chars()
        .take(100)
        .collect::<String>()
        .replace('\n', " ")
}

impl Solver for Session {
    fn smtlib_input(&mut self) -> &mut (dyn AsyncWrite + Unpin + Send) {
        &mut self.script
    }

    async fn enable_models(&mut self) -> Result<(), SolverError> {
        self.script
            .set_option("produce-models", "true")
            .await
            .map_err(Into::into)
    }

    async fn check_sat(&mut self) -> Result<Decision, SolverError> {
        Ok(match self.ask(false).await? {
            DecisionWithModel::Sat { .. } => Decision::Sat,
            DecisionWithModel::Unsat => Decision::Unsat,
            DecisionWithModel::Unknown => Decision::Unknown,
        })
    }

    async fn check_sat_with_model(&mut self) -> Result<DecisionWithModel, SolverError> {
        self.ask(true).await
    }
}
