//! A proof under way: on a thread of its own, with a solver of its own, until it is done or nobody waits for it any more.

use cedar_policy_symcc::{CedarSymCompiler, ResetMode};
use tokio::sync::oneshot;

use super::query::Bench;
use super::solver::Session;
use super::{Progress, ProofError, Prover};

/// The stack of a proof's thread: formulas nest as deep as policies do, and each level is several calls.
const STACK: usize = 256 * 1024 * 1024;

impl Prover {
    /// Makes a proof. Formulas take processor time, so it has a thread; whoever drops the future ends thread and solver.
    ///
    /// # Errors
    /// What `prove` says; `NotStarted`; `BrokenOff` where the thread ended otherwise.
    pub(super) async fn job<T: Send + 'static>(
        &self,
        told: impl Fn(Progress) + Send + 'static,
        prove: impl AsyncFnOnce(&mut Bench) -> Result<T, ProofError> + Send + 'static,
    ) -> Result<T, ProofError> {
        let Ok(turn) = self.turn.clone().acquire_owned().await else {
            return Err(ProofError::BrokenOff);
        };
        let (program, limits) = (self.program.clone(), self.limits);
        let (mut done, waits) = oneshot::channel();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let Ok(runtime) = runtime else { return };
            let outcome = runtime.block_on(async {
                let session = match Session::start(&program, limits) {
                    Ok(session) => session,
                    Err(error) => return Some(Err(error)),
                };
                // Each question has a process of its own: nothing is to be reset.
                let compiler = CedarSymCompiler::new(session).ok()?;
                let compiler = compiler.with_reset_mode(ResetMode::Comment);
                let mut bench = Bench::new(compiler, Box::new(told));
                let outcome = tokio::select! {
                    biased;
                    () = done.closed() => None,
                    outcome = prove(&mut bench) => Some(outcome),
                };
                bench.end().await;
                outcome
            });
            drop(turn);
            if let Some(outcome) = outcome {
                // Nobody waits any more.
                drop(done.send(outcome));
            }
        };
        std::thread::Builder::new()
            .name("proof".to_owned())
            .stack_size(STACK)
            .spawn(work)
            .map_err(|_| ProofError::BrokenOff)?;
        waits.await.unwrap_or(Err(ProofError::BrokenOff))
    }
}
