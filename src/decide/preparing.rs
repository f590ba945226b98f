//! Versions made ready before they count: on the node that is asked, and on every other that has the organization open.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::door::Door;
use super::error::Refused;
use crate::directory::policies::{Files, Tested};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::policy::suite::{self, CaseReport, Measured, SuiteReport};
use crate::policy::{Compiled, OwnPolicies, PolicyError, Source};

/// What compiles within this is not announced: whoever waits for it meanwhile is answered in time.
const AT_ONCE: Duration = Duration::from_millis(250);

/// How long after an announcement every node has looked ([`super::upkeep`]), also one where nobody has asked for a while.
const LOOKED: Duration = Duration::from_secs(5);

/// The longest that an activation waits for other nodes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Of how many tests that fail whoever drafts is told.
const FAILURES: usize = 20;

/// How many sets are compiled or tested at a time on a node: decisions have the other processors.
static COMPILING: Semaphore = Semaphore::const_new(1);

/// How long one waits for what the same organization has compiled before.
const WAITED: Duration = Duration::from_secs(60);

/// A version that is compiled here.
#[derive(Debug)]
pub struct Prepared {
    /// What was made of it.
    pub compiled: Arc<Compiled>,
    took: Duration,
}

/// What came of a version's tests.
#[derive(Debug, Clone, Default)]
pub struct Trial {
    /// How many passed and failed; nothing where there are none.
    pub tested: Option<Tested>,
    /// What failed, the first of it.
    pub failures: Vec<String>,
}

impl Trial {
    fn of(report: &SuiteReport, compiled: &Compiled) -> Self {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let failed = report.failed().count();
        let passed = report.cases.len().saturating_sub(failed);
        let said = |case: &CaseReport| {
            let why = case.failure.clone().unwrap_or_default();
            format!("`{}` line {}: {}: {why}", case.file, case.line, case.name())
        };
        Self {
            tested: Some(Tested {
                passed: count(passed),
                failed: count(failed),
                builtin: compiled.library().digest().to_owned(),
            }),
            failures: report.failed().take(FAILURES).map(said).collect(),
        }
    }
}

impl Prepared {
    /// For how long other nodes are given to make it ready too, where it takes longer than an answer may.
    #[must_use]
    pub fn notice(&self) -> Option<Duration> {
        // They may have slower processors, and other things to do.
        (self.took > AT_ONCE)
            .then(|| PATIENCE.min(LOOKED.saturating_add(self.took.saturating_mul(3))))
    }
}

impl Door {
    /// Validates and compiles files beside the built-in policies, as they would be if they counted, without holding anything up.
    ///
    /// # Errors
    /// `Question` with everything that is wrong in them; `Unavailable` where the process ends.
    pub async fn prepare(&self, files: &Files) -> Result<Prepared, Refused> {
        self.prepare_sources(files.own()).await
    }

    /// Runs the tests of a version that is compiled here.
    ///
    /// # Errors
    /// `Question` with everything that is wrong in their files; `Unavailable` where the process ends.
    pub async fn run_tests(&self, prepared: &Prepared, files: &Files) -> Result<Trial, Refused> {
        if files.tests.is_empty() {
            return Ok(Trial::default());
        }
        let compiled = Arc::clone(&prepared.compiled);
        let tests = files.tests.iter().map(|(name, text)| Source {
            name: name.clone(),
            text: text.clone(),
        });
        let tests: Vec<Source> = tests.collect();
        let turn = self.compiling().await?;
        let run = move || {
            // Until it is done, whoever waits for it.
            let _turn = turn;
            let cases = suite::read(&compiled, &tests).map_err(PolicyError::Refused)?;
            Ok(suite::run_on(&compiled, &cases, Measured::Own))
        };
        let ran = tokio::task::spawn_blocking(run).await;
        let report: Result<SuiteReport, PolicyError> = ran.map_err(|_| Refused::Unavailable)?;
        Ok(Trial::of(&report?, &prepared.compiled))
    }

    /// A turn to compile or to run tests: one for an organization, and one processor's worth for all of them.
    async fn compiling(&self) -> Result<(OwnedSemaphorePermit, SemaphorePermit<'static>), Refused> {
        let own = Arc::clone(&self.compiling).acquire_owned();
        let own = tokio::time::timeout(WAITED, own).await;
        let Ok(Ok(own)) = own else {
            return Err(Refused::Busy);
        };
        let all = COMPILING
            .acquire()
            .await
            .map_err(|_| Refused::Unavailable)?;
        Ok((own, all))
    }

    async fn prepare_sources(&self, own: OwnPolicies) -> Result<Prepared, Refused> {
        let world = self.glance();
        let library = Arc::clone(world.compiled().library());
        let ready = Arc::clone(world.ready());
        let turn = self.compiling().await?;
        let work = move || {
            let made = ready.made(&library, &own);
            drop(turn);
            made
        };
        let made = tokio::task::spawn_blocking(work).await;
        let (compiled, took) = made.map_err(|_| Refused::Unavailable)??;
        Ok(Prepared { compiled, took })
    }

    /// Makes what another node has announced ready here.
    pub(super) async fn prepare_next(&self) {
        let world = self.glance();
        let snapshot = world.snapshot();
        let Some(number) = snapshot.rules().next else {
            if self.announced.swap(0, Ordering::Relaxed) != 0 {
                world.ready().let_go();
            }
            return;
        };
        let Some(version) = snapshot.version(number) else {
            return;
        };
        if self.announced.swap(number, Ordering::Relaxed) == number {
            return;
        }
        let made = match version.files(number) {
            Ok(files) => self.prepare(&files).await.map(|prepared| {
                let made = (prepared.compiled, prepared.took);
                world.ready().hold(&files.own(), made);
            }),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = made {
            tracing::warn!(tenant.id = %self.store().id(), version = number, %error, "a version that is announced does not compile here");
        }
    }
}
