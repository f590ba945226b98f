//! Settings: the one list of them, where they come from, and what makes one wrong.
//!
//! A TOML file first, the environment over it: `CEDARKEEP_HTTP__LISTEN` is `http.listen`. A name that is
//! not in [`reference`] is an error, since a misspelt setting that is silently ignored is a service that
//! runs otherwise than its operator believes.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{ConfigError, FileFormat, Source as _, Value, ValueKind};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

mod content;
mod http;
mod keys;
mod mail;
mod outside;
mod proof;
mod publish;
mod tenants;
mod values;

pub use content::Content;
pub use http::Http;
pub use keys::{AwsIdentity, Keys, ProviderSettings};
pub use mail::{Mail, MailTls};
pub use outside::Outside;
pub use proof::Proof;
pub use publish::Publish;
pub use tenants::Tenants;
pub use values::{BaseUrl, Database, Password};

/// What every variable of ours begins with.
const PREFIX: &str = "CEDARKEEP_";

/// The variable that names the file; it is no setting.
const FILE_VARIABLE: &str = "CEDARKEEP_CONFIG";

/// Variables of ours that are no settings: the file's, and those of commands that ask a service.
const NO_SETTINGS: [&str; 5] = [
    FILE_VARIABLE,
    "CEDARKEEP_SERVER",
    "CEDARKEEP_API_KEY",
    "CEDARKEEP_ACTING_USER",
    "CEDARKEEP_CA",
];

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "cedarkeep.toml";

/// The longest password file that is read, in bytes.
const PASSWORD_LIMIT: u64 = 4096;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Misconfigured {
    /// The file that was named is not there or cannot be read.
    #[error("cannot read the configuration file `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or a value of the wrong type; the text says where.
    #[error("{0}")]
    Malformed(String),
    /// A name that no setting has.
    #[error("unknown setting `{key}` in {origin}; `cedarkeep config` lists them all")]
    Unknown {
        /// The name, with its section.
        key: String,
        /// The file or the environment.
        origin: String,
    },
    /// A variable of ours that is not `CEDARKEEP_SECTION__KEY`.
    #[error(
        "unknown variable `{0}`; a setting is written CEDARKEEP_SECTION__KEY with two underscores, as in CEDARKEEP_HTTP__LISTEN"
    )]
    Variable(String),
    /// A value that cannot work, alone or beside another.
    #[error("`{key}` {problem}")]
    Unfit {
        /// The setting.
        key: &'static str,
        /// What is wrong with it and what would be right.
        problem: &'static str,
    },
}

/// One line of the list of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// `section.key`.
    pub key: &'static str,
    /// What kind of value it takes.
    pub kind: &'static str,
    /// The default as TOML, empty when there is none.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

impl Setting {
    /// The variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.replace('.', "__").to_uppercase())
    }
}

macro_rules! settings {
    ($($key:literal, $kind:literal, $default:literal, $meaning:literal;)*) => {
        &[$(Setting { key: $key, kind: $kind, default: $default, meaning: $meaning }),*]
    };
}

/// Every setting, in the order in which it is printed.
const REFERENCE: &[Setting] = settings! {
    "data.dir", "path", "\"./data\"", "directory of everything that is kept: databases, own certificates";
    "data.database", "`sqlite` or a postgres:// address", "\"sqlite\"", "where tenants live; an address carries no password";
    "data.password_file", "path", "", "file that holds the password of the PostgreSQL user, and nothing else";
    "data.ledger", "path", "", "the ledger of erasures, which no restore puts back; by default `erasures` in `data.dir`";
    "http.listen", "address:port", "\"127.0.0.1:8443\"", "where HTTPS listens; there is no listener without TLS";
    "http.base_url", "https URL", "\"https://127.0.0.1:8443\"", "how clients reach the service, by default where `http.listen` listens; published URLs are built from it, never from a request";
    "http.unix_socket", "path", "", "a Unix socket (mode 0660) beside HTTPS, for callers on the same machine";
    "http.body_limit", "bytes", "1048576", "the largest request body; content is streamed and not counted";
    "http.request_timeout_ms", "milliseconds", "30000", "how long a caller may take to send a request's head, and again its body, and how long a connection may have nothing open on it";
    "http.connections_max", "connections", "4096", "connections that are open at once on HTTPS, and again on the Unix socket; one more is closed at once";
    "http.connections_address_max", "connections", "1024", "the same from one address, of IPv6 from one /64; a proxy in front of the service is one";
    "tls.cert", "path", "", "PEM certificate chain, read again when it changes; without it an own CA is made at the first start";
    "tls.key", "path", "", "PEM private key of `tls.cert`";
    "tls.ca", "path", "", "CA certificate of `tls.cert`, when clients do not trust it already; only printed";
    "tls.client_ca", "path", "", "PEM certificates of whoever issues client certificates to back ends, read again when they change; without it none is asked for";
    "node.region", "name", "\"local\"", "the region of this node, as policies see it";
    "deployment.name", "host name", "\"cedarkeep.local\"", "first part of the origin of every log; it must never change";
    "log.queue", "entries", "8192", "calls that may wait for one log before further ones are refused";
    "log.commit_timeout_ms", "milliseconds", "1800", "how long an answer waits for its record before it becomes an error";
    "log.heartbeat_s", "seconds", "600", "after how long without an entry a log says that nothing happened";
    "content.max_bytes", "bytes", "5368709120", "the longest content of a document, a message, a template and the like";
    "content.memory_max_bytes", "bytes", "1048576", "the longest content of a memory";
    "content.token_max_bytes", "bytes", "65536", "the longest token of an integration";
    "mail.host", "host name", "", "the SMTP server that invitations are sent by; without one their links are handed to whoever invites";
    "mail.port", "port", "", "its port; 587 for `starttls`, 465 for `tls`, 25 for `none`";
    "mail.tls", "`starttls`, `tls` or `none`", "\"starttls\"", "how the connection is protected; `none` for a relay on this machine alone, and without a password";
    "mail.user", "name", "", "as whom the server is used";
    "mail.password_file", "path", "", "file that holds the password of `mail.user`, and nothing else";
    "mail.from", "address", "", "whom letters are from, as in `Cedarkeep <no-reply@example.com>`";
    "mail.ca", "path", "", "PEM certificate that is trusted for the mail server, beside the system's";
    "publish.every_s", "seconds", "60", "how often the logs' checkpoints are committed to the deployment's own log, and that is published";
    "publish.dir", "path", "", "folder for the deployment's log as files (C2SP tlog-tiles), for a web server to hand out";
    "publish.sink", "URL", "", "where each published checkpoint is sent by POST; https, or http on this machine";
    "publish.token_file", "path", "", "file that holds the bearer token for `publish.sink`, and nothing else";
    "publish.witnesses", "path", "", "policy (C2SP tlog-policy) that names the witnesses to ask, with their URLs, and the quorum without which nothing is published";
    "publish.ca", "path", "", "PEM certificates that are trusted for `publish.sink` and witnesses, beside the system's";
    "outside.allow_loopback", "true or false", "false", "for development: whether a tenant may name an identity provider on this very machine, and that without TLS";
    "outside.ca_file", "path", "", "PEM certificates that are trusted for identity providers, beside the system's";
    "outside.dns_server", "address:port", "", "the DNS server that is asked for identity providers and for verifications of domains; by default the system's";
    "tenants.open_max", "tenants", "500", "tenants that are kept open at once";
    "tenants.memory_mib", "MiB", "1024", "how much of an open tenant's directory is held in memory; what is beyond it lies sealed in a file in `data.dir`, and is read back when it is asked for";
    "keys.keyring", "path", "", "the local keyring (mode 0600); by default `keyring` in `data.dir`";
    "keys.root", "name", "\"keyring\"", "whose root keys wrap the deployment's keys: `keyring`, or a name under `keys.providers`";
    "keys.providers", "tables", "", "further providers of root keys, `[keys.providers.NAME]` with `kind` = `keyring`, `pkcs11` or `aws-kms`; in the environment as one inline table of TOML";
    "keys.timeout_ms", "milliseconds", "5000", "how long one call to a provider of root keys may take";
    "keys.wait_s", "seconds", "60", "how long a start waits for root keys that are out of reach, before it gives up";
    "keys.shred_after_s", "seconds", "86400", "how long after an organization was closed the root key is rotated, so that no old backup of the control database opens it; 0: only by `cedarkeep keys rotate root`";
    "proof.solver", "path", "", "the solver that proofs about policies are made with, cvc5; by default `cvc5` on the path";
    "proof.timeout_s", "seconds", "10", "how long the solver may take for one question of a proof, before it counts as unknown";
    "proof.limit_s", "seconds", "600", "how long a whole proof may take; what is not known by then counts as unknown";
    "proof.memory_mib", "MiB", "2048", "how much memory the solver may take; a question that takes more counts as unknown";
    "telemetry.format", "`json` or `text`", "\"text\"", "how log lines are written to standard error";
    "telemetry.filter", "directives", "\"info\"", "which log lines are written, as in `info,cedarkeep=debug`";
};

/// Every setting that there is.
#[must_use]
pub const fn reference() -> &'static [Setting] {
    REFERENCE
}

/// The settings of one process; what cannot work is refused when they are read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// Where things are kept.
    pub data: Data,
    /// The edge.
    pub http: Http,
    /// Certificates.
    pub tls: Tls,
    /// This node.
    pub node: Node,
    /// This deployment.
    pub deployment: Deployment,
    /// The logs.
    pub log: Log,
    /// What is kept of resources.
    pub content: Content,
    /// How mail is sent.
    pub mail: Mail,
    /// Where the deployment's own log goes.
    pub publish: Publish,
    /// What tenants have named in the world.
    pub outside: Outside,
    /// Tenants in memory.
    pub tenants: Tenants,
    /// Keys.
    pub keys: Keys,
    /// Proofs about policies.
    pub proof: Proof,
    /// What the process says about itself.
    pub telemetry: Telemetry,
}

/// `data.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Data {
    /// Directory of everything that is kept.
    pub dir: PathBuf,
    /// Where tenants live.
    pub database: Database,
    /// File with the password of the PostgreSQL user.
    pub password_file: Option<PathBuf>,
    /// The ledger of erasures, when it is not in `dir`.
    pub ledger: Option<PathBuf>,
}

/// `tls.*`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Tls {
    /// Certificate chain.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Its CA, for printing.
    pub ca: Option<PathBuf>,
    /// Who issues the certificates of clients.
    pub client_ca: Option<PathBuf>,
}

/// `node.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Node {
    /// The node's region.
    pub region: String,
}

/// `deployment.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Deployment {
    /// First part of the origin of every log.
    pub name: String,
}

/// `log.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Log {
    /// Decisions that may wait for one log.
    pub queue: usize,
    /// How long an answer waits for its record.
    pub commit_timeout_ms: u64,
    /// After how long without an entry a log gives a sign of life.
    pub heartbeat_s: u64,
}

/// `telemetry.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Telemetry {
    /// How log lines are written.
    pub format: Format,
    /// Which log lines are written.
    pub filter: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("./data"),
            database: Database::Sqlite,
            password_file: None,
            ledger: None,
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            region: "local".to_owned(),
        }
    }
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            name: "cedarkeep.local".to_owned(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            queue: 8192,
            commit_timeout_ms: 1800,
            heartbeat_s: 600,
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            format: Format::Text,
            filter: "info".to_owned(),
        }
    }
}

impl Log {
    /// How long an answer waits for its record.
    #[must_use]
    pub const fn commit_timeout(&self) -> Duration {
        Duration::from_millis(self.commit_timeout_ms)
    }

    /// After how long without an entry a log gives a sign of life.
    #[must_use]
    pub const fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_s)
    }
}

impl Config {
    /// The settings of this process: the file that is named, else `cedarkeep.toml` when there is one, and
    /// the environment over it.
    ///
    /// # Errors
    ///
    /// When a file that was named cannot be read, or a setting is unknown or cannot work.
    pub fn of_process(file: Option<&Path>) -> Result<Self, Misconfigured> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let text = match file {
            Some(path) => Some((path, read(path)?)),
            None => match read(Path::new(DEFAULT_FILE)) {
                Ok(text) => Some((Path::new(DEFAULT_FILE), text)),
                Err(Misconfigured::Unreadable { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    None
                }
                Err(other) => return Err(other),
            },
        };
        Self::parse(
            text.as_ref().map(|(path, text)| (*path, text.as_str())),
            variables,
        )
    }

    /// The settings that a file's text and some variables make; reads nothing itself.
    ///
    /// # Errors
    ///
    /// When a setting is unknown or cannot work.
    pub fn parse(
        file: Option<(&Path, &str)>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Misconfigured> {
        let mut builder = config::Config::builder();
        if let Some((path, text)) = file {
            let origin = path.display().to_string();
            let written = config::File::from_str(text, FileFormat::Toml)
                .collect()
                .map_err(|refused| Misconfigured::Malformed(format!("`{origin}`: {refused}")))?;
            known(&written, &origin)?;
            builder = builder.add_source(config::File::from_str(text, FileFormat::Toml));
        }
        let ours = variables
            .into_iter()
            .filter(|(name, value)| {
                name.starts_with(PREFIX)
                    && !NO_SETTINGS.contains(&name.as_str())
                    && !value.is_empty()
            })
            .map(|(name, value)| {
                if REFERENCE.iter().any(|setting| setting.variable() == name) {
                    Ok((name, value))
                } else {
                    Err(Misconfigured::Variable(name))
                }
            })
            .collect::<Result<_, _>>()?;
        let settings = builder
            .add_source(
                config::Environment::with_prefix("CEDARKEEP")
                    .prefix_separator("_")
                    .separator("__")
                    .source(Some(ours)),
            )
            .build();
        let malformed = |refused: ConfigError| Misconfigured::Malformed(refused.to_string());
        let settings = settings.map_err(malformed)?;
        let says_url = settings.get_string("http.base_url").is_ok();
        let mut settings: Self = settings.try_deserialize().map_err(malformed)?;
        if !says_url {
            settings.http.base_url = BaseUrl::of(settings.http.listen);
        }
        settings.check()?;
        Ok(settings)
    }

    /// Where the ledger of erasures lies.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.data
            .ledger
            .clone()
            .unwrap_or_else(|| self.data.dir.join("erasures"))
    }

    /// Where the local keyring lies.
    #[must_use]
    pub fn keyring(&self) -> PathBuf {
        self.keys
            .keyring
            .clone()
            .unwrap_or_else(|| self.data.dir.join("keyring"))
    }

    /// The password of the PostgreSQL user, when a file holds one.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, everybody may read it, or it does not hold one line of text.
    pub fn database_password(&self) -> Result<Option<Password>, Misconfigured> {
        secret("data.password_file", self.data.password_file.as_deref())
    }

    /// The token for the sink of checkpoints, when a file holds one.
    ///
    /// # Errors
    ///
    /// As of [`Config::database_password`].
    pub fn publish_token(&self) -> Result<Option<Password>, Misconfigured> {
        secret("publish.token_file", self.publish.token_file.as_deref())
    }

    fn check(&self) -> Result<(), Misconfigured> {
        self.keys.check()?;
        let unfit = |key, problem| Err(Misconfigured::Unfit { key, problem });
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            return unfit("tls.cert", "and `tls.key` go together; set both or neither");
        }
        if self.tls.ca.is_some() && self.tls.cert.is_none() {
            return unfit("tls.ca", "belongs to `tls.cert`, which is not set");
        }
        if self.data.password_file.is_some() && self.data.database == Database::Sqlite {
            return unfit(
                "data.password_file",
                "is set although `data.database` is `sqlite`",
            );
        }
        if !(10..=60_000).contains(&self.log.commit_timeout_ms) {
            return unfit("log.commit_timeout_ms", "must lie between 10 and 60000");
        }
        if !(1..=86_400).contains(&self.log.heartbeat_s) {
            return unfit("log.heartbeat_s", "must lie between 1 and 86400");
        }
        let others = || {
            let mail = self.mail.unfit();
            mail.or_else(|| self.proof.unfit())
                .or_else(|| self.tenants.unfit())
                .or_else(|| self.http.unfit())
        };
        if let Some((key, problem)) = self.content.unfit().or_else(others) {
            return unfit(key, problem);
        }
        if !(1..=86_400).contains(&self.publish.every_s) {
            return unfit("publish.every_s", "must lie between 1 and 86400");
        }
        if self.publish.token_file.is_some() && self.publish.sink.is_none() {
            return unfit(
                "publish.token_file",
                "belongs to `publish.sink`, which is not set",
            );
        }
        if !(1..=1_048_576).contains(&self.log.queue) {
            return unfit("log.queue", "must lie between 1 and 1048576");
        }
        if !is_name(&self.node.region) {
            return unfit(
                "node.region",
                "must be 1 to 253 of the characters a-z 0-9 . -",
            );
        }
        if !is_name(&self.deployment.name) {
            return unfit(
                "deployment.name",
                "must be 1 to 253 of the characters a-z 0-9 . -",
            );
        }
        Ok(())
    }
}

/// The one line of text that a file holds, for nobody else to read.
fn secret(key: &'static str, path: Option<&Path>) -> Result<Option<Password>, Misconfigured> {
    let Some(path) = path else {
        return Ok(None);
    };
    let unreadable = |source| Misconfigured::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(Misconfigured::Unfit {
            key,
            problem: "may be read by everybody; chmod 0640 or tighter",
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(PASSWORD_LIMIT)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\n') {
        return Err(Misconfigured::Unfit {
            key,
            problem: "must hold one line of text and nothing else",
        });
    }
    Ok(Some(Password(line.to_owned())))
}

fn read(path: &Path) -> Result<String, Misconfigured> {
    std::fs::read_to_string(path).map_err(|source| Misconfigured::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn known(written: &config::Map<String, Value>, origin: &str) -> Result<(), Misconfigured> {
    for (section, value) in written {
        let ValueKind::Table(keys) = &value.kind else {
            return Err(Misconfigured::Unknown {
                key: section.clone(),
                origin: format!("`{origin}`"),
            });
        };
        for key in keys.keys() {
            let name = format!("{section}.{key}");
            if !REFERENCE.iter().any(|setting| setting.key == name) {
                return Err(Misconfigured::Unknown {
                    key: name,
                    origin: format!("`{origin}`"),
                });
            }
        }
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
}
