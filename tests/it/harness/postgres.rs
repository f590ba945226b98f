//! A PostgreSQL server of its own for a test: on a Unix socket, as somebody who is not root, gone afterwards.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A server; it is stopped when it is dropped.
pub struct Server {
    dir: TempDir,
}

/// Starts one that keeps what it promises: `fsync` and `synchronous_commit` are on.
pub fn start() -> Server {
    let server = Server {
        dir: tempfile::tempdir().unwrap(),
    };
    if rustix::process::geteuid().is_root() {
        run(Command::new("chown").arg("postgres").arg(server.dir.path()));
    }
    run(as_user(&program("initdb"))
        .args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ])
        .arg(server.directory()));
    server.start_again();
    server
}

impl Server {
    /// The address of its first database.
    pub fn url(&self) -> String {
        format!(
            "postgres://postgres@localhost/postgres?host={}",
            self.dir.path().display()
        )
    }

    /// Its data directory.
    pub fn directory(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts it after [`Server::stop_now`], and waits until it answers.
    pub fn start_again(&self) {
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={}",
            self.dir.path().display()
        );
        run(self
            .control()
            .args(["-w", "-o", &options, "-l"])
            .arg(self.dir.path().join("log"))
            .arg("start"));
    }

    /// Stops it as a loss of power would: it recovers at the next start.
    pub fn stop_now(&self) {
        run(self.control().args(["-w", "-m", "immediate", "stop"]));
    }

    fn control(&self) -> Command {
        let mut command = as_user(&program("pg_ctl"));
        command.arg("-D").arg(self.directory());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control()
            .args(["-m", "immediate", "stop"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .ok();
    }
}

/// Debian keeps the server's programs out of `PATH`; the newest version is taken.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|program| program.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

/// PostgreSQL refuses to run as root.
fn as_user(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg(program)
            .current_dir("/");
        command
    } else {
        Command::new(program)
    }
}

fn run(command: &mut Command) {
    // Its own output goes nowhere: a server that inherits a pipe keeps whoever reads it waiting.
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?}: {status:?}"
    );
}
