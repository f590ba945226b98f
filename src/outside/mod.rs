//! Calls to what tenants have named: their identity providers, and DNS.
//!
//! Every URL here is somebody's input, so nothing is sent but over TLS, to an address of the world that was looked at, without redirects and
//! proxies; what comes back has an end in bytes and in time. What is asked and what an answer means is for the rooms of the protocols.

pub mod address;
mod dns;
mod kept;

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, redirect};
use url::{Host, Url, form_urlencoded};

use crate::config;
use dns::Dns;
pub use dns::Verification;
use kept::{Kept, Next};

/// How long a call may take in all: the name, the connection, the answer to its end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes of an answer.
const ANSWER_LIMIT: usize = 1024 * 1024;

/// Why calls cannot be made with these settings.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file of certificates.
    #[error("cannot read `{}` of `outside.ca_file`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Certificates that are none, or no client with them.
    #[error("`outside.ca_file` cannot be used")]
    Certificates(#[source] reqwest::Error),
    /// A file without any.
    #[error("`outside.ca_file` holds no certificate in PEM")]
    NoCertificate,
}

/// Why a call was not made, or not answered.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// A URL to which nothing is sent.
    #[error("it must be an https:// URL without user and password")]
    Url,
    /// Where it leads.
    #[error(
        "it leads to an address that is none of the world's: a provider must be reachable from everywhere"
    )]
    Private(std::net::IpAddr),
    /// A name that can be none.
    #[error("that is not the name of a domain")]
    NoName,
    /// Nobody can be asked.
    #[error("this machine names no DNS server; set `outside.dns_server`")]
    NoServer,
    /// A name that nobody has.
    #[error("DNS knows no address of that name")]
    Unknown,
    /// DNS does not answer.
    #[error("DNS does not answer")]
    Unresolved(#[source] hickory_resolver::net::NetError),
    /// Nobody answers.
    #[error("it does not answer, or breaks off")]
    Silent(#[source] reqwest::Error),
    /// Somebody else answers.
    #[error("its TLS certificate is not trusted, or not its own")]
    Certificate(#[source] reqwest::Error),
    /// It takes too long.
    #[error("it takes longer than 5 s")]
    Slow,
    /// It says too much.
    #[error("its answer is longer than 1 MiB")]
    Long,
    /// It sends us elsewhere.
    #[error("it redirects, which is not followed; name the place itself")]
    Redirect,
    /// It says no.
    #[error("it answers {0}")]
    Status(u16),
    /// A secret that no header can carry.
    #[error("the client's id or secret holds what no request can carry")]
    Secret,
}

impl Unreached {
    /// The reason in one word, which never changes: a test sign-in shows it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Url => "outside_url",
            Self::Private(_) => "outside_private",
            Self::NoName => "outside_name",
            Self::NoServer => "outside_no_dns",
            Self::Unknown => "outside_unknown",
            Self::Unresolved(_) => "outside_dns",
            Self::Silent(_) => "outside_silent",
            Self::Certificate(_) => "outside_certificate",
            Self::Slow => "outside_slow",
            Self::Long => "outside_long",
            Self::Redirect => "outside_redirect",
            Self::Status(_) => "outside_status",
            Self::Secret => "outside_secret",
        }
    }
}

/// What was answered, whatever its status but a redirect.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The media type, as it was sent.
    pub media: String,
    /// The body, to its end; it may hold tokens.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Makes the calls.
#[derive(Debug)]
pub struct Outside {
    client: reqwest::Client,
    dns: Arc<Dns>,
    loopback: Loopback,
    kept: Kept,
}

/// Whether this very machine may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loopback {
    Refused,
    Allowed,
}

impl Loopback {
    fn check(self, address: std::net::IpAddr) -> Result<(), Unreached> {
        if address::is_global(address) || self == Self::Allowed && address.is_loopback() {
            Ok(())
        } else {
            Err(Unreached::Private(address))
        }
    }
}

/// Gives a connection the addresses that were looked at, and no others: a name is asked for once.
struct Looked {
    dns: Arc<Dns>,
    loopback: Loopback,
}

impl Resolve for Looked {
    fn resolve(&self, name: Name) -> Resolving {
        let (dns, loopback) = (Arc::clone(&self.dns), self.loopback);
        Box::pin(async move {
            let found = dns.addresses(name.as_str()).await?;
            // One that is not fit makes all of them suspicious.
            found
                .iter()
                .try_for_each(|address| loopback.check(*address))?;
            let places = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(places) as Addrs)
        })
    }
}

impl Outside {
    /// As the settings say.
    ///
    /// # Errors
    /// Certificates that cannot be read or are none.
    pub fn open(settings: &config::Outside) -> Result<Self, Unusable> {
        // The first that is installed stays; all of ours are the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let dns = Arc::new(Dns::new(settings.dns_server));
        let loopback = if settings.allow_loopback {
            Loopback::Allowed
        } else {
            Loopback::Refused
        };
        let looked = Looked {
            dns: Arc::clone(&dns),
            loopback,
        };
        // No connection outlives its call: the next one looks at the addresses again.
        let mut client = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .http1_only()
            .https_only(loopback == Loopback::Refused)
            .pool_max_idle_per_host(0)
            .dns_resolver(looked)
            .timeout(PATIENCE)
            .user_agent(concat!("cedarkeep/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.ca_file {
            let pem = std::fs::read(path).map_err(|source| Unusable::Unreadable {
                path: path.clone(),
                source,
            })?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(Unusable::Certificates)?;
            if certificates.is_empty() {
                return Err(Unusable::NoCertificate);
            }
            client = client.tls_certs_merge(certificates);
        }
        Ok(Self {
            client: client.build().map_err(Unusable::Certificates)?,
            dns,
            loopback,
            kept: Kept::new(),
        })
    }

    /// A provider's document: how it describes itself, or its keys. It is kept for a quarter of an hour.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn document(&self, url: &Url, now: Instant) -> Result<Arc<[u8]>, Unreached> {
        match self.kept.young(url, now) {
            Next::Use(text) => Ok(text),
            Next::Fetch | Next::Wait => self.fetch(url, now).await,
        }
    }

    /// The same document fetched anew, because something is missing in the one that is kept; none if that was done less than a minute ago.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn document_again(
        &self,
        url: &Url,
        now: Instant,
    ) -> Result<Option<Arc<[u8]>>, Unreached> {
        match self.kept.again(url, now) {
            Next::Wait => Ok(None),
            Next::Fetch | Next::Use(_) => self.fetch(url, now).await.map(Some),
        }
    }

    async fn fetch(&self, url: &Url, now: Instant) -> Result<Arc<[u8]>, Unreached> {
        let answer = self.get(url, None).await?;
        if answer.status != 200 {
            return Err(Unreached::Status(answer.status));
        }
        let text: Arc<[u8]> = answer.body.into();
        self.kept.keep(url, Arc::clone(&text), now);
        Ok(text)
    }

    /// A GET, with this value of `Authorization`.
    ///
    /// # Errors
    /// Nothing was sent there, or no answer came.
    pub async fn get(&self, url: &Url, authorization: Option<&str>) -> Result<Answer, Unreached> {
        self.call(url, self.client.get(url.clone()), authorization)
            .await
    }

    /// A POST of a form, with this value of `Authorization`.
    ///
    /// # Errors
    /// As of [`Outside::get`].
    pub async fn post(
        &self,
        url: &Url,
        authorization: Option<&str>,
        form: &[(&str, String)],
    ) -> Result<Answer, Unreached> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        self.call(url, request, authorization).await
    }

    /// Whether `_cedarkeep.<domain>` has a TXT record `cedarkeep-verification=<token>`.
    ///
    /// # Errors
    /// No domain, or DNS does not answer.
    pub async fn verification(&self, domain: &str, token: &str) -> Result<Verification, Unreached> {
        self.dns.verification(domain, token).await
    }

    async fn call(
        &self,
        url: &Url,
        mut request: RequestBuilder,
        authorization: Option<&str>,
    ) -> Result<Answer, Unreached> {
        self.check(url)?;
        if let Some(value) = authorization {
            let mut value = HeaderValue::from_str(value).map_err(|_| Unreached::Secret)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let answered = answer(request.header(ACCEPT, "application/json"));
        tokio::time::timeout(PATIENCE, answered)
            .await
            .map_err(|_| Unreached::Slow)?
    }

    /// Whether something may be sent there. A name is looked at when it is connected to, see [`Looked`]; an address goes past that.
    fn check(&self, url: &Url) -> Result<(), Unreached> {
        let local = match url.host().ok_or(Unreached::Url)? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => {
                self.loopback.check(address.into())?;
                address.is_loopback()
            }
            Host::Ipv6(address) => {
                self.loopback.check(address.into())?;
                address.is_loopback()
            }
        };
        let plain = self.loopback == Loopback::Allowed && url.scheme() == "http" && local;
        let bare = url.username().is_empty() && url.password().is_none();
        if bare && (plain || url.scheme() == "https") {
            Ok(())
        } else {
            Err(Unreached::Url)
        }
    }
}

async fn answer(request: RequestBuilder) -> Result<Answer, Unreached> {
    let mut response = request.send().await.map_err(unreached)?;
    let status = response.status().as_u16();
    if (300..400).contains(&status) {
        return Err(Unreached::Redirect);
    }
    let media = response.headers().get(CONTENT_TYPE);
    let media = media
        .and_then(|media| media.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreached)? {
        if body.len().saturating_add(chunk.len()) > ANSWER_LIMIT {
            return Err(Unreached::Long);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        media,
        body,
    })
}

/// What an error of the client comes to: ours, where one of ours is its cause.
fn unreached(error: reqwest::Error) -> Unreached {
    if error.is_timeout() {
        return Unreached::Slow;
    }
    // Whoever reads our log need not know the address: a query may hold a secret.
    let error = error.without_url();
    let mut cause = error.source();
    while let Some(one) = cause {
        match one.downcast_ref::<Unreached>() {
            Some(Unreached::Private(address)) => return Unreached::Private(*address),
            Some(Unreached::Unknown) => return Unreached::Unknown,
            Some(Unreached::NoServer) => return Unreached::NoServer,
            Some(Unreached::NoName) => return Unreached::NoName,
            Some(Unreached::Unresolved(why)) => return Unreached::Unresolved(why.clone()),
            Some(_) | None => {}
        }
        if let Some(rustls::Error::InvalidCertificate(_)) = one.downcast_ref() {
            return Unreached::Certificate(error);
        }
        // What an I/O error was made of is not its source.
        let made_of = one.downcast_ref::<std::io::Error>();
        cause = match made_of.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => one.source(),
        };
    }
    Unreached::Silent(error)
}
