//! The service as its operators have it: a process, a data directory, the command line beside it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;

/// Longer than anything here takes on a slow machine; only a failing test waits for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What the service prints before the address that it listens on.
const LISTENING: &str = "listening on https://";

/// One deployment: its data directory and its settings, whether or not it runs.
pub struct Site {
    dir: TempDir,
    data: PathBuf,
    variables: Vec<(String, String)>,
    file_limit: Option<u64>,
}

impl Site {
    /// A new one on SQLite.
    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut site = Self {
            dir,
            data: PathBuf::new(),
            variables: Vec::new(),
            file_limit: None,
        };
        site.set("CEDARKEEP_HTTP__LISTEN", "127.0.0.1:0");
        site.set("CEDARKEEP_HTTP__BASE_URL", "https://pdp.example.com");
        site.put_data_at(&data);
        site
    }

    /// A new one whose tenants live on this PostgreSQL server.
    pub fn postgres(address: &str) -> Self {
        let mut site = Self::sqlite();
        site.set("CEDARKEEP_DATA__DATABASE", address);
        site
    }

    /// Sets a setting, for every process that is started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Moves the data directory; nothing of the old one comes along.
    pub fn put_data_at(&mut self, data: &Path) {
        self.data = data.to_owned();
        self.set("CEDARKEEP_DATA__DIR", data.to_str().unwrap());
    }

    /// Starts the service from now on so that a write beyond this many bytes of one file fails, as on a
    /// full disk. The limit is soft: [`Server::limit_files`] moves it.
    pub const fn limit_files(&mut self, bytes: u64) {
        self.file_limit = Some(bytes);
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A directory beside the data directory, for what a test needs.
    pub fn beside(&self) -> &Path {
        self.dir.path()
    }

    /// Everything that the service wrote to standard error, of all its lives.
    pub fn stderr_file(&self) -> PathBuf {
        self.dir.path().join("stderr.log")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_cedarkeep");
        let mut command = match self.file_limit {
            // The signal that the limit sends is ignored, so that the write fails instead; that is inherited.
            Some(_) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", program]);
                shell
            }
            None => Command::new(program),
        };
        let inherited = std::env::vars().filter(|(name, _)| name.starts_with("CEDARKEEP_"));
        for (name, _) in inherited {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end, whatever that is.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a command, and does not wait for it.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs a command that must succeed; what it printed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{arguments:?}: {}: {stderr}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must succeed, whatever it prints; the most memory that it had, in KiB.
    pub fn peak(&self, arguments: &[&str]) -> u64 {
        let mut child = self
            .command(arguments)
            // What is let go of is given back at once: the peak is of what is held.
            .env("MIMALLOC_PURGE_DELAY", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        loop {
            let said = std::fs::read_to_string(&status).unwrap_or_default();
            let line = said.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            peak = peak.max(now.unwrap_or_default());
            if let Some(ended) = child.try_wait().unwrap() {
                assert!(ended.success(), "{arguments:?}: {ended}");
                return peak;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Runs a command that must succeed and print one JSON value.
    pub fn told(&self, arguments: &[&str]) -> Value {
        let text = self.done(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Runs a command that must refuse, by its own word and not by a crash; what it said.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        let code = output.status.code();
        assert!(
            code.is_some_and(|code| code != 0),
            "{arguments:?}: {}: {said}",
            output.status
        );
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        assert!(
            !said.trim().is_empty(),
            "{arguments:?} refused without a word"
        );
        said
    }

    /// Runs a command that must refuse, where no file can be longer than so many KiB, as on a full disk; what it said.
    pub fn refused_within(&self, kibibytes: u64, arguments: &[&str]) -> String {
        let plain = self.command(arguments);
        let mut shell = Command::new("sh");
        let script = format!(
            "trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"",
            kibibytes * 2
        );
        shell
            .args(["-c", &script])
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let output = shell.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        said
    }

    /// Makes an organization with all that a plan can hold; its id.
    pub fn create_org(&self, slug: &str) -> String {
        let made = self.told(&[
            "org",
            "create",
            slug,
            "--name",
            slug,
            "--plan",
            "Enterprise",
            "--json",
        ]);
        assert_eq!(made["slug"], slug);
        made["id"].as_str().unwrap().to_owned()
    }

    /// Makes an API key; the key itself.
    pub fn create_key(&self, slug: &str, scopes: &str) -> String {
        let made = self.told(&[
            "key", "create", slug, "--name", "back end", "--scopes", scopes, "--json",
        ]);
        made["key"].as_str().unwrap().to_owned()
    }

    /// Makes an Admin; their id.
    pub fn add_admin(&self, slug: &str) -> String {
        let email = format!("admin@{slug}.example");
        let made = self.told(&[
            "member", "add", slug, "--name", "Ada", "--email", &email, "--role", "Admin", "--json",
        ]);
        made["id"].as_str().unwrap().to_owned()
    }

    /// Loads the types, policies and entities of a directory of `tests/cases`.
    pub fn load(&self, slug: &str, case: &str) {
        self.done(
            &self
                .load_command(slug, &case_directory(case))
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        );
    }

    /// The command that loads what lies in a directory.
    pub fn load_command(&self, slug: &str, from: &Path) -> Vec<String> {
        let at = |name: &str| from.join(name).to_str().unwrap().to_owned();
        let schema = std::fs::read_dir(from)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .find(|name| name.ends_with(".cedarschema"))
            .unwrap();
        [
            "org",
            "load",
            slug,
            "--schema",
            &at(&schema),
            "--policies",
            &at("policies"),
            "--entities",
            &at("entities.json"),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Makes an organization that can be asked about the todo scenario: its key.
    pub fn create_todo_org(&self, slug: &str) -> String {
        self.create_org(slug);
        self.add_admin(slug);
        self.load(slug, "todo");
        self.create_key(slug, "decide")
    }

    /// Waits until the tenant key of an organization is the second, and nothing of its rotation is left: what is said of that key.
    pub async fn second_tenant_key(&self, slug: &str) -> Value {
        let since = Instant::now();
        loop {
            let said = self.done(&["keys", "status", slug, "--json"]);
            let lines = said
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap());
            let mut of_it = lines.filter(|line| line["slug"] == slug);
            let tenant = of_it.next().unwrap()["keys"]["tenant"].clone();
            if tenant["version"] == 2 && tenant["rotation"].is_null() {
                return tenant;
            }
            assert!(since.elapsed().as_secs() < 60, "it never ends: {said}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The whole log of an organization, oldest entry first.
    pub fn entries(&self, slug: &str) -> Vec<Value> {
        let text = self.done(&["audit", "tail", slug, "--json", "-n", "10000000"]);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Verifies the log of an organization.
    pub fn verify(&self, slug: &str) {
        self.done(&["audit", "verify", slug]);
    }

    /// Starts the service and waits until it can answer.
    pub async fn serve(&self) -> Server {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.stderr_file())
            .unwrap();
        let mut child = self
            .command(&["serve"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (found, address) = mpsc::channel();
        // It reads on, so that the service never waits for a full pipe.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once(LISTENING) {
                    found.send(address.trim().to_owned()).ok();
                }
            }
        });
        let address = address.recv_timeout(DEADLINE);
        let mut server = Server {
            child: Some(child),
            port: 0,
            ca: self.data.join("tls/ca.crt"),
        };
        let Ok(address) = address else {
            server.signal(Signal::KILL);
            panic!("it does not listen; it said:\n{}", self.stderr());
        };
        server.port = address
            .rsplit(':')
            .next()
            .unwrap()
            .trim_end_matches('/')
            .parse()
            .unwrap();
        if let Some(bytes) = self.file_limit {
            server.limit_files(Some(bytes));
        }
        let client = server.client("");
        let start = Instant::now();
        while client.get("/readyz").await.map(|answer| answer.status).ok() != Some(200) {
            assert!(
                start.elapsed() < DEADLINE,
                "never ready; it said:\n{}",
                self.stderr()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// What the service said on standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.stderr_file()).unwrap_or_default()).into_owned()
    }
}

/// A directory of `tests/cases`.
pub fn case_directory(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(case)
}

/// The service while it runs; it is killed when it is dropped.
pub struct Server {
    child: Option<Child>,
    port: u16,
    ca: PathBuf,
}

impl Server {
    /// Where HTTPS listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// A line of the process's status, as in `VmRSS:`, in KiB.
    pub fn status(&self, line: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let value = text
            .lines()
            .find_map(|one| one.strip_prefix(line)?.trim().strip_suffix(" kB"));
        value.unwrap().trim().parse().unwrap()
    }

    /// Has the peak of its memory (`VmHWM:`) begin anew; what it holds now.
    pub fn forget_peak(&self) -> u64 {
        std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5").unwrap();
        self.status("VmRSS:")
    }

    /// A client with this API key, or none if it is empty, and a connection of its own.
    pub fn client(&self, key: &str) -> Client {
        Client::new(&self.ca, self.port, key)
    }

    /// Ends it without a chance to put anything in order.
    pub fn kill9(mut self) {
        self.signal(Signal::KILL);
        let status = self.wait();
        assert_eq!(status.signal(), Some(9), "it had ended by itself: {status}");
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "after SIGTERM: {status}");
    }

    /// Asserts that it is the process that was started and still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Moves the limit of [`Site::limit_files`], for files that are open too.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = rustix::process::Rlimit {
            current: bytes,
            maximum: None,
        };
        rustix::process::prlimit(Some(self.pid()), rustix::process::Resource::Fsize, limit)
            .unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if start.elapsed() > DEADLINE {
                child.kill().ok();
                panic!("it does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
