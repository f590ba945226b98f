//! A witness that nobody here wrote: `tests/interop/go/witness`, out of Go's `sumdb`, as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A witness; it is stopped when it is dropped, and knows what it has seen when it is started again.
pub struct Cosigner {
    child: Child,
    /// Its line in a policy, but for the name.
    pub line: String,
}

impl Cosigner {
    /// Starts one that trusts this log; `fault` is what is wrong with it.
    pub fn start(state: &Path, (log, name): (&str, &str), fault: Option<&str>) -> Self {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/interop/witness");
        let mut command = Command::new(&program);
        command.args([log, name]).arg(state).stdout(Stdio::piped());
        if let Some(fault) = fault {
            command.env("WITNESS_FAULT", fault);
        }
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}; `make test` builds it", program.display())
        });
        let mut first = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut first).unwrap();
        let (address, key) = first.trim().split_once(' ').unwrap();
        let line = format!("{key} http://{address}/");
        Self { child, line }
    }
}

impl Drop for Cosigner {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
