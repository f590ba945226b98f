//! The solver: its process, one question at a time, how long it may take, and its end.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cedar_policy_symcc::SmtLibScript as _;
use cedar_policy_symcc::solver::{Decision, DecisionWithModel, Solver, SolverError};
use sha2::{Digest as _, Sha256};
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::{Limits, ProofError, Unknown};

/// What a solver that works answers to [`EASY`].
const EASY_ANSWERS: [&str; 2] = ["sat", "unsat"];

/// Questions that every solver knows the answer to: who gets them wrong is not believed anything.
const EASY: &str = "(set-logic ALL)\n(declare-const x Bool)\n(assert x)\n(check-sat)\n(reset)\n\
    (set-logic ALL)\n(assert false)\n(check-sat)\n(reset)\n";

/// How much longer than it may the solver has to say so itself.
const GRACE: Duration = Duration::from_secs(1);

/// How often in a row it may fail before it is not asked any more.
const FAILURES_MOST: u32 = 5;

/// The longest question, in bytes.
const QUESTION_MOST: usize = 64 * 1024 * 1024;

/// The longest answer, in bytes.
const ANSWER_MOST: u64 = 16 * 1024 * 1024;

/// A solver that runs while it is asked.
pub(super) struct Session {
    program: Arc<Path>,
    question: Duration,
    ends: Instant,
    /// The question, as far as it has been written.
    script: Vec<u8>,
    running: Option<Running>,
    /// Answers by the digest of their questions: many request environments come to the same question.
    known: HashMap<[u8; 32], DecisionWithModel>,
    failed: u32,
    why: Option<Unknown>,
    /// How many questions the solver has answered.
    pub(super) asked: usize,
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    /// A solver that is started now.
    ///
    /// # Errors
    /// `NotStarted`.
    pub(super) fn start(program: &Arc<Path>, limits: Limits) -> Result<Self, ProofError> {
        let now = Instant::now();
        let mut session = Self {
            program: Arc::clone(program),
            question: limits.question,
            // A limit that no clock reaches is a day.
            ends: now
                .checked_add(limits.whole)
                .unwrap_or(now + Duration::from_secs(86_400)),
            script: Vec::new(),
            running: None,
            known: HashMap::new(),
            failed: 0,
            why: None,
            asked: 0,
        };
        let running = session.spawn();
        session.running = Some(running.map_err(|source| ProofError::NotStarted {
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
        if let Some(mut running) = self.running.take() {
            // It may be gone already.
            drop(running.child.kill().await);
        }
    }

    fn spawn(&self) -> io::Result<Running> {
        let question = self.question.as_millis();
        let mut child = Command::new(self.program.as_os_str())
            .args(["--lang", "smt"])
            .arg(format!("--tlimit-per={question}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Running {
                child,
                input,
                output: BufReader::new(output),
            }),
            _ => Err(io::Error::other("no pipes")),
        }
    }

    /// Asks what has been written.
    async fn ask(&mut self, model: bool) -> Result<DecisionWithModel, SolverError> {
        let script = std::mem::take(&mut self.script);
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
        let most = self.question.saturating_add(GRACE);
        let answer = timeout(most.min(left), self.converse(&script, model)).await;
        let slow = || {
            if left <= most && !self.has_time() {
                Unknown::OutOfTime
            } else {
                Unknown::TimedOut
            }
        };
        match answer {
            Ok(Ok(DecisionWithModel::Unknown)) => {
                self.failed = 0;
                self.asked = self.asked.saturating_add(1);
                let why = if now.elapsed() >= self.question {
                    Unknown::TimedOut
                } else {
                    Unknown::Undecided
                };
                Err(self.fails(why))
            }
            Ok(Ok(decision)) => {
                self.failed = 0;
                self.asked = self.asked.saturating_add(1);
                self.known.insert(digest, decision.clone());
                Ok(decision)
            }
            // What it still says belongs to no question.
            Ok(Err(error)) => {
                self.end().await;
                self.failed = self.failed.saturating_add(1);
                Err(self.fails(Unknown::Solver(error.to_string())))
            }
            Err(_) => {
                let why = slow();
                self.end().await;
                self.failed = self.failed.saturating_add(1);
                Err(self.fails(why))
            }
        }
    }

    fn fails(&mut self, why: Unknown) -> SolverError {
        self.why = Some(why);
        SolverError::SolverMarkedFailed
    }

    async fn converse(&mut self, script: &[u8], model: bool) -> io::Result<DecisionWithModel> {
        let fresh = self.running.is_none() || self.asked == 0;
        if self.running.is_none() {
            self.running = Some(self.spawn()?);
        }
        let Some(running) = &mut self.running else {
            return Err(io::Error::other("it does not run"));
        };
        if fresh {
            for (answer, wanted) in running
                .check(EASY.as_bytes())
                .await?
                .iter()
                .zip(EASY_ANSWERS)
            {
                if answer != wanted {
                    let answer: String = answer.chars().take(100).collect();
                    let why = format!("it says `{answer}` where `{wanted}` is the answer");
                    return Err(io::Error::other(why));
                }
            }
        }
        match running.said(script).await?.as_str() {
            "unsat" => Ok(DecisionWithModel::Unsat),
            "unknown" | "timeout" => Ok(DecisionWithModel::Unknown),
            "sat" if model => {
                running.input.write_all(b"(get-model)\n").await?;
                let model = running.model().await?;
                Ok(DecisionWithModel::Sat { model })
            }
            "sat" => Ok(DecisionWithModel::Sat {
                model: String::new(),
            }),
            other => {
                let other: String = other.chars().take(200).collect();
                Err(io::Error::other(format!("it says `{other}`")))
            }
        }
    }
}

impl Running {
    /// Asks the easy questions.
    async fn check(&mut self, script: &[u8]) -> io::Result<[String; 2]> {
        let Self { input, output, .. } = self;
        let write = async {
            input.write_all(script).await?;
            input.flush().await
        };
        let read = async { Ok([line(output).await?, line(output).await?]) };
        let ((), answers) = tokio::try_join!(write, read)?;
        Ok(answers)
    }

    /// Asks a question that is answered in one line.
    async fn said(&mut self, script: &[u8]) -> io::Result<String> {
        let Self { input, output, .. } = self;
        let write = async {
            input.write_all(script).await?;
            input.write_all(b"(check-sat)\n").await?;
            input.flush().await
        };
        // It reads while it writes: neither waits for the other.
        let ((), answer) = tokio::try_join!(write, line(output))?;
        Ok(answer)
    }

    /// A model: all up to a line that closes it.
    async fn model(&mut self) -> io::Result<String> {
        let first = line(&mut self.output).await?;
        if first != "(" {
            let first: String = first.chars().take(200).collect();
            return Err(io::Error::other(format!("it says `{first}` for a model")));
        }
        let mut model = String::from("(\n");
        loop {
            let next = line(&mut self.output).await?;
            model.push_str(&next);
            model.push('\n');
            if next == ")" {
                return Ok(model);
            }
            if u64::try_from(model.len()).is_ok_and(|length| length > ANSWER_MOST) {
                return Err(io::Error::other("its answer never ends"));
            }
        }
    }
}

/// The next line, without its end.
async fn line(output: &mut BufReader<ChildStdout>) -> io::Result<String> {
    let mut line = Vec::new();
    let read = output
        .take(ANSWER_MOST)
        .read_until(b'\n', &mut line)
        .await?;
    if read == 0 {
        return Err(io::Error::other("it has ended"));
    }
    let line = String::from_utf8(line).map_err(|_| io::Error::other("its answer is no text"))?;
    Ok(line.trim_end().to_owned())
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
