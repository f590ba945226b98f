//! How mail is sent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Config, Misconfigured, Password, secret};

/// `mail.*`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Mail {
    /// The server; without one no mail is sent.
    pub host: Option<String>,
    /// Its port, where it is not the usual one.
    pub port: Option<u16>,
    /// How the connection is protected.
    pub tls: MailTls,
    /// As whom.
    pub user: Option<String>,
    /// File with that user's password.
    pub password_file: Option<PathBuf>,
    /// Whom letters are from.
    pub from: Option<String>,
    /// Certificates that are trusted too.
    pub ca: Option<PathBuf>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// It begins in the clear and goes on in TLS, or not at all.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not: for a relay on this machine.
    None,
}

impl MailTls {
    /// The port that servers listen on for it.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

impl Config {
    /// The password for the mail server, when a file holds one.
    ///
    /// # Errors
    ///
    /// As of [`Config::database_password`].
    pub fn mail_password(&self) -> Result<Option<Password>, Misconfigured> {
        secret("mail.password_file", self.mail.password_file.as_deref())
    }
}

impl Mail {
    /// What cannot work, and what would.
    pub(super) fn unfit(&self) -> Option<(&'static str, &'static str)> {
        let Some(host) = &self.host else {
            let set = self.from.is_some() || self.user.is_some() || self.password_file.is_some();
            return set.then_some((
                "mail.host",
                "must name the server that the rest of `mail` is for",
            ));
        };
        if host.is_empty()
            || !host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-:".contains(&b))
        {
            return Some((
                "mail.host",
                "must be a host name or an address, without a port",
            ));
        }
        if self.from.is_none() {
            return Some((
                "mail.from",
                "must say whom letters are from, as in \"Cedarkeep <no-reply@example.com>\"",
            ));
        }
        if self.user.is_some() != self.password_file.is_some() {
            return Some((
                "mail.user",
                "and `mail.password_file` go together; set both or neither",
            ));
        }
        if self.tls == MailTls::None {
            if self.user.is_some() {
                return Some(("mail.tls", "must not be `none` where a password is sent"));
            }
            if !["127.0.0.1", "::1", "localhost"].contains(&host.as_str()) {
                return Some((
                    "mail.tls",
                    "may be `none` for a relay on this machine alone: letters hold links that open an account",
                ));
            }
        }
        None
    }
}
