//! A solver that is not there, hangs, dies, or talks nonsense: it is said, in time, and never makes anything hold.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cedarkeep::proof::{Guardrails, Limits, NoSolver, ProofError, Prover, Unknown, Verdict, Which};
use tempfile::TempDir;

use super::{EVERYTHING, compiled};

/// A program that is no solver: it writes its process id down, and goes on like this.
fn fake(folder: &TempDir, script: &str) -> PathBuf {
    let path = folder.path().join("solver");
    let pids = folder.path().join("pids");
    let text = format!("#!/bin/sh\necho $$ >> {}\n{script}\n", pids.display());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn limits(question_ms: u64, whole_ms: u64) -> Limits {
    Limits {
        question: Duration::from_millis(question_ms),
        whole: Duration::from_millis(whole_ms),
        memory: 1 << 31,
    }
}

/// Those of the processes that are still there.
fn alive(folder: &TempDir) -> Vec<String> {
    let pids = fs::read_to_string(folder.path().join("pids")).unwrap();
    let pids = pids.lines().map(str::to_owned);
    pids.filter(|pid| Path::new("/proc").join(pid).exists())
        .collect()
}

async fn proved(program: &Path, limits: Limits) -> Result<Guardrails, ProofError> {
    let prover = Prover::find(Some(program), limits).unwrap();
    let which = Which::Only(vec!["viewers".to_owned()]);
    prover
        .guardrails(&compiled(EVERYTHING), &which, |_| {})
        .await
}

/// Why nothing is known of the one property.
fn reasons(found: &Guardrails) -> &[(cedarkeep::proof::Place, Unknown)] {
    match &found.properties[0].verdict {
        Verdict::Unknown(reasons) => reasons,
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_solver_is_said_with_the_next_step() {
    let limits = limits(1_000, 1_000);
    let none = Prover::find(None, limits).unwrap_err();
    assert_eq!(none, NoSolver::NotFound);
    let said = none.to_string();
    assert!(
        said.contains("apt-get install cvc5") && said.contains("`proof.solver`"),
        "{said}"
    );
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "no program").unwrap();
    for path in [
        folder.path().join("nowhere"),
        folder.path().to_owned(),
        text,
    ] {
        let none = Prover::find(Some(&path), limits).unwrap_err();
        assert_eq!(none, NoSolver::NoProgram(path.clone()));
        assert!(none.to_string().contains(path.to_str().unwrap()), "{none}");
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_an_error() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("solver");
    fs::write(&path, "\u{7f}ELF of no machine").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let error = proved(&path, limits(1_000, 1_000)).await.unwrap_err();
    assert!(matches!(error, ProofError::NotStarted { .. }), "{error}");
    assert!(error.to_string().contains("`proof.solver`"), "{error}");
}

#[tokio::test]
async fn a_solver_that_hangs_leaves_things_unknown_within_the_limit_and_is_gone() {
    let folder = TempDir::new().unwrap();
    let program = fake(&folder, "exec sleep 1000");
    let start = Instant::now();
    let found = proved(&program, limits(100, 20_000)).await.unwrap();
    let took = start.elapsed();
    // It is not asked for ever: after a few times it is clear that nothing comes.
    assert!(took < Duration::from_secs(15), "{took:?}");
    let reasons = reasons(&found);
    assert!(
        reasons.iter().any(|(_, why)| *why == Unknown::TimedOut),
        "{reasons:?}"
    );
    assert!(
        reasons
            .iter()
            .any(|(_, why)| why.to_string().contains("times in a row"))
    );
    assert_eq!(alive(&folder), Vec::<String>::new());
}

#[tokio::test]
async fn the_limit_of_the_whole_ends_a_proof() {
    let folder = TempDir::new().unwrap();
    let program = fake(&folder, "exec sleep 1000");
    let start = Instant::now();
    let found = proved(&program, limits(60_000, 500)).await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    let reasons = reasons(&found);
    assert!(
        reasons.iter().all(|(_, why)| *why == Unknown::OutOfTime),
        "{reasons:?}"
    );
    assert_eq!(alive(&folder), Vec::<String>::new());
}

#[tokio::test]
async fn whoever_drops_a_proof_ends_its_solver() {
    let folder = TempDir::new().unwrap();
    let program = fake(&folder, "exec sleep 1000");
    let prover = Prover::find(Some(&program), limits(60_000, 60_000)).unwrap();
    let which = Which::Only(vec!["log.append_only".to_owned()]);
    let (told, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let proof = {
        let prover = prover.clone();
        let compiled = compiled(EVERYTHING);
        tokio::spawn(async move {
            let told = move |now| {
                // Whoever waits has perhaps heard enough.
                told.send(now).ok();
            };
            prover.guardrails(&compiled, &which, told).await
        })
    };
    begun.recv().await.unwrap();
    proof.abort();
    assert!(proof.await.unwrap_err().is_cancelled());
    // Its thread ends the solver, and then lets the next proof in: that one begins when the process is gone.
    let (compiled, nothing) = (compiled(EVERYTHING), Which::Only(Vec::new()));
    let after = prover
        .guardrails(&compiled, &nothing, |_| {})
        .await
        .unwrap();
    assert!(after.properties.is_empty());
    assert_eq!(alive(&folder), Vec::<String>::new());
}

#[tokio::test]
async fn nonsense_makes_nothing_hold() {
    for script in [
        // What everybody would like to hear, whatever was asked.
        "cat > /dev/null; echo unsat",
        "cat > /dev/null; yes unsat | head -1000",
        "cat > /dev/null; echo sat; echo unsat; echo more",
        "echo hello",
        "cat > /dev/null; echo '(error \"out of memory\")'",
        "exit 3",
        "kill -9 $$",
        "yes | tr -d '\\n' | head -c 20000000",
        // Sane when it is easy, and mad afterwards.
        "if grep -q 'declare-const x Bool'; then echo sat; echo unsat; else echo maybe; fi",
        "if grep -q 'declare-const x Bool'; then echo sat; echo unsat; else echo sat; echo '(model)'; fi",
        "if grep -q 'declare-const x Bool'; then echo sat; echo unsat; fi",
    ] {
        let folder = TempDir::new().unwrap();
        let program = fake(&folder, script);
        let found = proved(&program, limits(5_000, 60_000)).await.unwrap();
        let reasons = reasons(&found);
        let failed = reasons
            .iter()
            .all(|(_, why)| matches!(why, Unknown::Solver(_) | Unknown::Unconfirmed(_)));
        assert!(failed, "{script}: {reasons:?}");
        assert_eq!(alive(&folder), Vec::<String>::new(), "{script}");
        let words = found.words().join("\n");
        assert!(words.contains("0 properties hold"), "{script}: {words}");
        assert!(
            words.contains("not known: A Viewer writes"),
            "{script}: {words}"
        );
    }
}

#[tokio::test]
async fn a_solver_that_wants_too_much_memory_is_refused_it_and_that_is_said() {
    let folder = TempDir::new().unwrap();
    // It asks for a GiB where it may have a quarter, and would answer if it had it.
    let python =
        "import sys\nsys.stdin.read()\nhuge = bytearray(1 << 30)\nprint('sat')\nprint('unsat')";
    let program = fake(&folder, &format!("exec /usr/bin/python3 -c \"{python}\""));
    let least = Limits {
        memory: 256 << 20,
        ..limits(10_000, 20_000)
    };
    let found = proved(&program, least).await.unwrap();
    let why = reasons(&found)[0].1.to_string();
    assert!(
        why.contains("256 MiB of memory (`proof.memory_mib`)"),
        "{why}"
    );
    // With more it gets as far as an answer, which is none to a question.
    let found = proved(&program, limits(10_000, 20_000)).await.unwrap();
    let why = reasons(&found)[0].1.to_string();
    assert!(!why.contains("MiB of memory"), "{why}");
}

#[tokio::test]
async fn a_solver_is_told_nothing_of_what_the_service_was_started_with() {
    let folder = TempDir::new().unwrap();
    let program = fake(&folder, "env > $(dirname $0)/told; exec sleep 0");
    proved(&program, limits(1_000, 20_000)).await.unwrap();
    let told = fs::read_to_string(folder.path().join("told")).unwrap();
    let names = told.lines().filter_map(|line| line.split_once('='));
    let names: Vec<&str> = names.map(|(name, _)| name).collect();
    // The shell makes these of itself.
    assert!(
        names
            .iter()
            .all(|name| ["PWD", "_", "SHLVL", "OLDPWD"].contains(name)),
        "{told}"
    );
}
