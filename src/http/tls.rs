//! Certificates: an own CA where none are given, and their replacement while the service runs.
//!
//! TLS 1.2 and 1.3, nothing older. Without `tls.cert` the first start makes a CA and a server certificate
//! in `tls/` of the data directory. The CA's key signs once and is dropped, never written: everything at
//! rest is sealed or worthless, and a CA key on disk would be neither. So a new server certificate is a new
//! CA, and clients fetch `ca.crt` again. Both last 397 days (the longest that browsers take) and are made
//! anew by a start that finds them within 30 days of their end, broken, or for another host name.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use crate::config::Config;

/// How long own certificates last, in days.
const LIFETIME_DAYS: i64 = 397;

/// How long before their end a start makes new ones, in days.
const RENEW_DAYS: i64 = 30;

/// How often files are looked at for a change.
pub const WATCH_EVERY: Duration = Duration::from_secs(3);

/// The names that an own certificate holds besides the configured host.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why there is no TLS, or no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum NoTls {
    /// A file that cannot be read or written.
    #[error("cannot {verb} `{}`", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No PEM certificate, or one that is broken.
    #[error("`{}` holds no certificate that can be read; it must be a PEM chain, the server's first", .0.display())]
    Certificate(PathBuf),
    /// No PEM key, or one that is broken or sealed with a password.
    #[error("`{}` holds no private key that can be read; it must be PEM, without a password", .0.display())]
    Key(PathBuf),
    /// Both can be read; together they cannot be used.
    #[error("the key `{}` does not fit the certificate `{}`", key.display(), cert.display())]
    Mismatch {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the TLS library said.
        #[source]
        source: rustls::Error,
    },
    /// Own certificates could not be made.
    #[error("cannot make a certificate for `{host}`; set `tls.cert` and `tls.key`")]
    Issue {
        /// The host of the base URL.
        host: String,
        /// What the certificate library said.
        #[source]
        source: rcgen::Error,
    },
}

/// What a look at the files brought.
#[derive(Debug)]
pub enum Look {
    /// They are as they were.
    Unchanged,
    /// New connections get the new certificate.
    Replaced,
    /// They changed and cannot be used: new connections get the old one.
    Kept(NoTls),
}

/// The certificate in use and the files that it came from.
#[derive(Debug)]
pub struct Certificates {
    files: Files,
    ca: Option<PathBuf>,
    live: RustlsConfig,
    seen: [Option<Mark>; 3],
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    /// Who issues the certificates of clients, where some have one.
    clients: Option<PathBuf>,
}

/// What tells one state of a file from the next: device, inode, size, and the time of the last change.
type Mark = (u64, u64, u64, i64, i64);

impl Certificates {
    /// The configured certificate, or an own one, made if need be.
    ///
    /// # Errors
    ///
    /// When files cannot be read or written, or do not fit together.
    pub fn open(settings: &Config, now: DateTime<Utc>) -> Result<Self, NoTls> {
        let (files, ca) = match (&settings.tls.cert, &settings.tls.key) {
            (Some(cert), Some(key)) => (
                Files {
                    cert: cert.clone(),
                    key: key.clone(),
                    clients: settings.tls.client_ca.clone(),
                },
                settings.tls.ca.clone(),
            ),
            _ => {
                let own = Own::at(
                    &settings.data.dir.join("tls"),
                    settings.http.base_url.host(),
                );
                if let Err(reason) = own.is_fit(now) {
                    own.issue(now)?;
                    tracing::info!(reason, tls.ca = %own.ca.display(), "made a CA and a server certificate");
                }
                let files = Files {
                    clients: settings.tls.client_ca.clone(),
                    ..own.files
                };
                (files, Some(own.ca))
            }
        };
        let seen = files.marks();
        let live = RustlsConfig::from_config(Arc::new(files.server_config()?));
        Ok(Self {
            files,
            ca,
            live,
            seen,
        })
    }

    /// What a listener takes; certificates that are replaced later reach it.
    #[must_use]
    pub fn live(&self) -> RustlsConfig {
        self.live.clone()
    }

    /// The CA certificate that clients need, when it is known.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Looks at the files, and takes them into use if they changed and fit together. Each change is tried
    /// once: half of a pair is kept out, and the other half is the next change.
    pub fn look(&mut self) -> Look {
        // The marks are older than what is read, so a change in between is seen at the next look.
        let marks = self.files.marks();
        if marks == self.seen {
            return Look::Unchanged;
        }
        self.seen = marks;
        match self.files.server_config() {
            Ok(fresh) => {
                self.live.reload_from_config(Arc::new(fresh));
                Look::Replaced
            }
            Err(refused) => Look::Kept(refused),
        }
    }

    /// Looks at the files every so often, for as long as it is polled.
    pub async fn watch(mut self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let looked = tokio::task::spawn_blocking(move || {
                let look = self.look();
                (self, look)
            });
            let Ok((same, look)) = looked.await else {
                tracing::error!("certificates are no longer watched");
                return;
            };
            self = same;
            match look {
                Look::Unchanged => {}
                Look::Replaced => {
                    tracing::info!(tls.cert = %self.files.cert.display(), "certificate replaced")
                }
                Look::Kept(refused) => {
                    tracing::error!(error = %refused, "certificate not replaced; the old one stays in use");
                }
            }
        }
    }
}

impl Files {
    fn marks(&self) -> [Option<Mark>; 3] {
        let mark = |path: &Path| {
            let about = std::fs::metadata(path).ok()?;
            Some((
                about.dev(),
                about.ino(),
                about.len(),
                about.mtime(),
                about.mtime_nsec(),
            ))
        };
        let clients = self.clients.as_deref().and_then(mark);
        [mark(&self.cert), mark(&self.key), clients]
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, NoTls> {
        certificates(&self.cert)
    }

    /// Asks for a client's certificate where somebody may issue one, and goes on without: most clients have a key. One that is shown
    /// must be good, or there is no connection.
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, NoTls> {
        let Some(path) = &self.clients else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let unfit = || NoTls::Certificate(path.clone());
        let mut roots = RootCertStore::empty();
        for root in certificates(path)? {
            roots.add(root).map_err(|_| unfit())?;
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|_| unfit())
    }

    fn server_config(&self) -> Result<ServerConfig, NoTls> {
        let chain = self.chain()?;
        let key = PrivateKeyDer::from_pem_slice(&zeroize::Zeroizing::new(read(&self.key)?))
            .map_err(|_| NoTls::Key(self.key.clone()))?;
        let mismatch = |source| NoTls::Mismatch {
            cert: self.cert.clone(),
            key: self.key.clone(),
            source,
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(mismatch)?
            .with_client_cert_verifier(self.verifier()?)
            .with_single_cert(chain, key)
            .map_err(mismatch)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// An own CA and what it signed.
struct Own {
    files: Files,
    ca: PathBuf,
    directory: PathBuf,
    host: String,
}

impl Own {
    fn at(directory: &Path, host: &str) -> Self {
        Self {
            files: Files {
                cert: directory.join("server.crt"),
                key: directory.join("server.key"),
                clients: None,
            },
            ca: directory.join("ca.crt"),
            directory: directory.to_owned(),
            host: host.to_owned(),
        }
    }

    fn names(&self) -> Vec<&str> {
        let mut names = LOCAL_NAMES.to_vec();
        if !names.contains(&self.host.as_str()) {
            names.push(&self.host);
        }
        names
    }

    /// Whether a client that trusts `ca.crt` takes the server's certificate for every name, now and until
    /// the day of renewal; else why not.
    fn is_fit(&self, now: DateTime<Utc>) -> Result<(), &'static str> {
        self.files
            .server_config()
            .map_err(|_| "there is no usable pair yet")?;
        let roots = certificates(&self.ca).map_err(|_| "there is no CA certificate")?;
        let chain = self
            .files
            .chain()
            .map_err(|_| "there is no server certificate")?;
        let (Some(server), [root]) = (chain.first(), roots.as_slice()) else {
            return Err("the files hold something else");
        };
        let mut store = RootCertStore::empty();
        store
            .add(root.clone())
            .map_err(|_| "the CA certificate is broken")?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
            .build()
            .map_err(|_| "the CA certificate is broken")?;
        let until = now + TimeDelta::days(RENEW_DAYS);
        for moment in [now, until] {
            let moment = UnixTime::since_unix_epoch(Duration::from_secs(
                u64::try_from(moment.timestamp()).map_err(|_| "the clock is before 1970")?,
            ));
            for name in self.names() {
                let name = ServerName::try_from(name)
                    .map_err(|_| "the host has no name for a certificate")?;
                verifier
                    .verify_server_cert(server, &[], &name, &[], moment)
                    .map_err(|_| "the certificate ends soon or is for other names")?;
            }
        }
        Ok(())
    }

    fn issue(&self, now: DateTime<Utc>) -> Result<(), NoTls> {
        let refused = |source| NoTls::Issue {
            host: self.host.clone(),
            source,
        };
        std::fs::create_dir_all(&self.directory).map_err(|source| NoTls::File {
            verb: "create",
            path: self.directory.clone(),
            source,
        })?;

        let mut ca = self.params(Vec::new(), "CA", now).map_err(refused)?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate().map_err(refused)?;
        let ca_pem = ca.self_signed(&ca_key).map_err(refused)?.pem();

        let names = self.names().into_iter().map(str::to_owned).collect();
        let mut server = self.params(names, "server", now).map_err(refused)?;
        server.use_authority_key_identifier_extension = true;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate().map_err(refused)?;
        let issuer = Issuer::new(ca, ca_key);
        let server_pem = server
            .signed_by(&server_key, &issuer)
            .map_err(refused)?
            .pem();

        // A crash in between leaves files that do not fit together, which the next start makes anew.
        let key_pem = zeroize::Zeroizing::new(server_key.serialize_pem());
        place(&self.files.key, key_pem.as_bytes(), 0o600)?;
        place(&self.files.cert, server_pem.as_bytes(), 0o644)?;
        place(&self.ca, ca_pem.as_bytes(), 0o644)
    }

    fn params(
        &self,
        names: Vec<String>,
        what: &str,
        now: DateTime<Utc>,
    ) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, "Cedarkeep");
        // The date keeps one CA's name from standing for another's in a client's trust store.
        subject.push(
            DnType::CommonName,
            format!("Cedarkeep {what} {}", now.format("%Y-%m-%d")),
        );
        params.distinguished_name = subject;
        // Whole days, from the day before: clocks differ.
        let (first, month, day) = date(now - TimeDelta::days(1));
        params.not_before = date_time_ymd(first, month, day);
        let (last, month, day) = date(now + TimeDelta::days(LIFETIME_DAYS - 1));
        params.not_after = date_time_ymd(last, month, day);
        Ok(params)
    }
}

fn date(at: DateTime<Utc>) -> (i32, u8, u8) {
    (
        at.year(),
        u8::try_from(at.month()).unwrap_or(1),
        u8::try_from(at.day()).unwrap_or(1),
    )
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(path: &Path) -> Result<Vec<u8>, NoTls> {
    std::fs::read(path).map_err(|source| NoTls::File {
        verb: "read",
        path: path.to_owned(),
        source,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NoTls> {
    let pem = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| NoTls::Certificate(path.to_owned()))
}

/// Puts a whole file in its place, durably, with this mode from its first byte on.
fn place(path: &Path, content: &[u8], mode: u32) -> Result<(), NoTls> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let written = || {
        match std::fs::remove_file(&fresh) {
            Err(refused) if refused.kind() != std::io::ErrorKind::NotFound => return Err(refused),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    written().map_err(|source| NoTls::File {
        verb: "write",
        path: path.to_owned(),
        source,
    })
}
