//! What is sent over HTTP: to a sink, and to witnesses. TLS but to this machine itself, no redirects, and short answers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use url::{Host, Url};

use super::Unpublishable;
use crate::config::Password;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of an answer that are read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Why something was not sent, or not taken.
#[derive(Debug, thiserror::Error)]
pub enum Unsent {
    /// Nobody answers.
    #[error("it does not answer")]
    Silent(#[source] reqwest::Error),
    /// It answers otherwise than it should.
    #[error("it answers {status}{}", said(text))]
    Refused {
        /// The status.
        status: u16,
        /// The first line that it says.
        text: String,
    },
    /// The answer does not end.
    #[error("its answer is longer than 64 KiB")]
    Long,
    /// What a witness has answered.
    #[error("{0}")]
    Unfit(#[source] crate::log::flaw::Flaw),
    /// Another node has submitted more meanwhile.
    #[error("it has seen {seen} entries by now")]
    Overtaken {
        /// As many as it has seen.
        seen: u64,
    },
    /// A witness has seen more of the log than there is.
    #[error(
        "rollback_detected: it has seen {seen} entries of the log, which has {size}: put the right database back"
    )]
    Ahead {
        /// As many as it has seen.
        seen: u64,
        /// As many as there are.
        size: u64,
    },
}

fn said(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) media: String,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn refused(&self) -> Unsent {
        let line = self.text.lines().next().unwrap_or_default();
        let plain = line.chars().filter(|char| !char.is_control());
        Unsent::Refused {
            status: self.status,
            text: plain.take(200).collect(),
        }
    }
}

/// Sends texts.
#[derive(Debug, Clone)]
pub(super) struct Client(reqwest::Client);

impl Client {
    /// With these certificates trusted beside the system's.
    pub(super) fn new(ca: Option<&[u8]>) -> Result<Self, Unpublishable> {
        // The first that is installed stays; all of ours are the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .user_agent(concat!("cedarkeep/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = ca {
            let certificates = reqwest::Certificate::from_pem_bundle(ca);
            client = client.tls_certs_merge(certificates.map_err(Unpublishable::Certificates)?);
        }
        client
            .build()
            .map(Self)
            .map_err(Unpublishable::Certificates)
    }

    pub(super) async fn post(
        &self,
        url: &Url,
        body: String,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, Unsent> {
        let mut request = self
            .0
            .post(url.clone())
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(body);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        // Whoever reads our log need not know the address.
        let silent = |error: reqwest::Error| Unsent::Silent(error.without_url());
        let mut response = request.send().await.map_err(silent)?;
        let media = response.headers().get(CONTENT_TYPE);
        let media = media.and_then(|media| media.to_str().ok());
        let (status, media) = (
            response.status().as_u16(),
            media.unwrap_or_default().to_owned(),
        );
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            if bytes.len() + chunk.len() > ANSWER_LIMIT {
                return Err(Unsent::Long);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            media,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }
}

/// A URL to which something may be sent: https, or http on this machine.
pub(super) fn url(key: &'static str, text: &str) -> Result<Url, Unpublishable> {
    let wrong = || Unpublishable::Url {
        key,
        // Whoever has written a password into it need not find it in a log.
        url: text.rsplit('@').next().unwrap_or_default().to_owned(),
    };
    let url: Url = text.parse().map_err(|_| wrong())?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let open = url.scheme() == "https" || url.scheme() == "http" && loopback;
    if open && url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err(wrong())
    }
}

/// Where each checkpoint that is published is sent.
pub(super) struct Sink {
    client: Client,
    url: Url,
    token: Option<HeaderValue>,
    /// What it has taken last.
    taken: Mutex<String>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

impl Sink {
    pub(super) fn new(
        client: Client,
        text: &str,
        token: Option<Password>,
    ) -> Result<Self, Unpublishable> {
        let token = token.map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| Unpublishable::Token)?;
            value.set_sensitive(true);
            Ok::<_, Unpublishable>(value)
        });
        let token = token.transpose()?;
        Ok(Self {
            client,
            url: url("publish.sink", text)?,
            token,
            taken: Mutex::default(),
        })
    }

    /// Sends a checkpoint, if it is not the one that was taken last.
    pub(super) async fn send(&self, note: &str) -> Result<(), Unsent> {
        if *self.taken.lock().unwrap_or_else(PoisonError::into_inner) == note {
            return Ok(());
        }
        let answer = self
            .client
            .post(&self.url, note.to_owned(), self.token.as_ref())
            .await?;
        if !(200..300).contains(&answer.status) {
            return Err(answer.refused());
        }
        note.clone_into(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}
