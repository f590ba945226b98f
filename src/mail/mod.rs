//! Letters: queued once a change is committed, sent by SMTP, and tried again where the server could not take them.
//!
//! A letter holds a link that opens an account. Neither it nor the address that it goes to is ever logged: what failed is told by what
//! the letter is about, and whoever asked for it sends it again.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{AsyncSmtpTransport, Error};
use lettre::{Address, AsyncTransport as _, Message, Tokio1Executor};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::config::{Config, MailTls, Misconfigured};

/// How many letters wait at most; who asks for one more is told that it is not sent.
const WAITING: usize = 1_000;

/// How many are on their way at once.
const SENDING: usize = 4;

/// How long a server may take for one of its answers.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long is waited before a letter is tried again.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(15),
    Duration::from_secs(120),
    Duration::from_secs(900),
];

/// Of how many letters it is known that they failed.
const FAILED: usize = 10_000;

/// A letter to one person.
pub struct Letter {
    /// What it is about, by identifier: it is all that is told of it.
    pub about: String,
    /// Their address.
    pub to: String,
    /// What people call them.
    pub name: Option<String>,
    /// What it is about, in words.
    pub subject: String,
    /// What it says.
    pub text: Zeroizing<String>,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letter(about {})", self.about)
    }
}

/// Why a letter is not sent. Nothing of it repeats what a server said: servers repeat addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// A receiver's address is none.
    #[error("this is no address that mail could be sent to")]
    Address,
    /// The certificates that are to be trusted, or the system's.
    #[error("`mail.ca` does not hold PEM certificates, or TLS cannot be set up")]
    Certificates,
    /// So many wait already.
    #[error("too many letters wait to be sent: try again later")]
    Full,
    /// The server refuses it for good.
    #[error("the mail server refuses it ({0}): look at the server's log")]
    Refused(u16),
    /// The server cannot take it now.
    #[error("the mail server cannot take it now ({0})")]
    Later(u16),
    /// The connection is not, or would not be, protected as it must be.
    #[error("the mail server offers no TLS that can be trusted: check `mail.tls` and `mail.ca`")]
    Unprotected,
    /// It does not answer, or not in its protocol.
    #[error("the mail server does not answer: check `mail.host` and `mail.port`")]
    Silent,
}

impl MailError {
    /// Whether it may go the next time.
    const fn may_pass(&self) -> bool {
        match self {
            Self::Later(_) | Self::Silent | Self::Unprotected => true,
            Self::Address | Self::Certificates | Self::Full | Self::Refused(_) => false,
        }
    }

    fn of(error: &Error) -> Self {
        let code = error.status().map(u16::from);
        match code {
            Some(code) if error.is_permanent() => Self::Refused(code),
            Some(code) => Self::Later(code),
            // Where it is asked for TLS and the server has none, the library has no word of its own.
            None if error.is_tls() || error.is_client() => Self::Unprotected,
            None => Self::Silent,
        }
    }
}

/// Sends letters.
#[derive(Clone)]
pub struct Mailer {
    from: Mailbox,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    waiting: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    failed: Arc<Mutex<HashSet<String>>>,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailer(..)")
    }
}

impl Mailer {
    /// As the settings say; nothing where they name no server.
    ///
    /// # Errors
    /// A file that cannot be read, certificates or a sender that are none.
    pub fn of(config: &Config) -> Result<Option<Self>, Unsendable> {
        let settings = &config.mail;
        let Some(host) = &settings.host else {
            return Ok(None);
        };
        let from = settings.from.as_deref().unwrap_or_default();
        let from: Mailbox = from.parse().map_err(|_| Misconfigured::Unfit {
            key: "mail.from",
            problem: "must be an address, as in \"Cedarkeep <no-reply@example.com>\"",
        })?;
        let tls = |host: &str| -> Result<TlsParameters, Unsendable> {
            let mut parameters = TlsParameters::builder(host.to_owned());
            if let Some(path) = &settings.ca {
                let pem = std::fs::read(path).map_err(|source| Misconfigured::Unreadable {
                    path: path.clone(),
                    source,
                })?;
                let certificate = Certificate::from_pem(&pem);
                let certificate = certificate.map_err(|_| MailError::Certificates)?;
                parameters = parameters.add_root_certificate(certificate);
            }
            let parameters = parameters.build_rustls();
            Ok(parameters.map_err(|_| MailError::Certificates)?)
        };
        let tls = match settings.tls {
            MailTls::Starttls => Tls::Required(tls(host)?),
            MailTls::Tls => Tls::Wrapper(tls(host)?),
            MailTls::None => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(settings.port.unwrap_or(settings.tls.port()))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()))
            .timeout(Some(PATIENCE))
            .tls(tls);
        if let (Some(user), Some(password)) = (&settings.user, config.mail_password()?) {
            let password = password.expose().to_owned();
            transport = transport.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Some(Self {
            from,
            transport: transport.build(),
            waiting: Arc::new(Semaphore::new(WAITING)),
            sending: Arc::new(Semaphore::new(SENDING)),
            failed: Arc::default(),
        }))
    }

    /// Has a letter sent, as often as it takes, and does not wait for it.
    ///
    /// # Errors
    /// An address that is none, or too many wait already.
    pub fn post(&self, letter: &Letter) -> Result<(), MailError> {
        let message = self.message(letter)?;
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        let place = place.map_err(|_| {
            count("full");
            MailError::Full
        })?;
        self.failed().remove(&letter.about);
        let (mailer, about) = (self.clone(), letter.about.clone());
        tokio::spawn(async move {
            let sent = mailer.try_all(&message, &about).await;
            if let Err(error) = sent {
                tracing::error!(about, %error, "a letter was not sent: it is to be asked for again");
                count("failed");
                let mut failed = mailer.failed();
                if failed.len() < FAILED {
                    failed.insert(about);
                }
            }
            drop(place);
        });
        Ok(())
    }

    /// Sends a letter, and waits until the server has it.
    ///
    /// # Errors
    /// It has not.
    pub async fn deliver(&self, letter: &Letter) -> Result<(), MailError> {
        self.try_once(&self.message(letter)?).await
    }

    /// Whether this node knows that the last letter about this was not sent.
    #[must_use]
    pub fn has_failed(&self, about: &str) -> bool {
        self.failed().contains(about)
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_all(&self, message: &Message, about: &str) -> Result<(), MailError> {
        for pause in PAUSES {
            match self.try_once(message).await {
                Err(error) if error.may_pass() => {
                    tracing::warn!(about, %error, "a letter is sent later");
                    tokio::time::sleep(pause).await;
                }
                done => return done,
            }
        }
        self.try_once(message).await
    }

    async fn try_once(&self, message: &Message) -> Result<(), MailError> {
        let turn = self.sending.acquire().await;
        let sent = self.transport.send(message.clone()).await;
        drop(turn);
        sent.map_err(|error| MailError::of(&error))?;
        count("sent");
        Ok(())
    }

    fn message(&self, letter: &Letter) -> Result<Message, MailError> {
        let to: Address = letter.to.parse().map_err(|_| MailError::Address)?;
        // The edge takes no such characters in a name; what is written into a header does not depend on that.
        let plain = |text: &str| -> String {
            text.chars()
                .map(|one| if one.is_control() { ' ' } else { one })
                .collect()
        };
        let random: [u8; 16] = crate::crypto::random().map_err(|_| MailError::Silent)?;
        let domain = self.from.email.domain();
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(letter.name.as_deref().map(plain), to))
            .subject(plain(&letter.subject))
            .message_id(Some(format!("<{}@{domain}>", HEXLOWER.encode(&random))))
            .header(header::ContentType::TEXT_PLAIN)
            .body(letter.text.as_str().to_owned())
            .map_err(|_| MailError::Address)
    }
}

/// Why mail cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Unsendable {
    /// The settings.
    #[error(transparent)]
    Config(#[from] Misconfigured),
    /// What they say.
    #[error("mail cannot be set up: {0}")]
    Mail(#[from] MailError),
}

fn count(outcome: &'static str) {
    metrics::counter!("cedarkeep_letters_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn mailer() -> Mailer {
        let mut config = Config::default();
        config.mail.host = Some("127.0.0.1".into());
        config.mail.tls = MailTls::None;
        config.mail.from = Some("Cedarkeep <no-reply@example.com>".into());
        Mailer::of(&config).unwrap().unwrap()
    }

    fn letter(to: &str, name: &str, subject: &str) -> Letter {
        Letter {
            about: "inv_1".into(),
            to: to.into(),
            name: Some(name.into()),
            subject: subject.into(),
            text: Zeroizing::new("Hello.\r\n.\r\nRCPT TO:<x@example.com>\r\n".into()),
        }
    }

    /// The lines of a message before its text.
    fn headers(message: &Message) -> Vec<String> {
        let text = String::from_utf8(message.formatted()).unwrap();
        let (headers, _) = text.split_once("\r\n\r\n").unwrap();
        headers.split("\r\n").map(ToOwned::to_owned).collect()
    }

    #[tokio::test]
    async fn nothing_that_somebody_chose_begins_a_header() {
        let mailer = mailer();
        let plain = headers(
            &mailer
                .message(&letter("zoe@example.com", "Zoe", "Hello"))
                .unwrap(),
        );
        for evil in [
            "Zoe\r\nBcc: eve@example.com",
            "Zoe\nBcc: eve@example.com",
            "Zoe\rBcc: eve@example.com",
            "Zoe\u{0}",
            "\"Zoe\" <eve@example.com>, x",
            "Zo\u{eb}\r\n\r\nBody",
        ] {
            let named = mailer
                .message(&letter("zoe@example.com", evil, evil))
                .unwrap();
            let told = headers(&named);
            let names = |lines: &[String]| -> Vec<String> {
                let starts = lines.iter().filter(|line| !line.starts_with(' '));
                starts
                    .map(|line| line.split(':').next().unwrap().to_owned())
                    .collect()
            };
            assert_eq!(names(&told), names(&plain), "{told:?}");
            assert_eq!(named.envelope().to().len(), 1);
            assert_eq!(
                named.envelope().to().first().unwrap().to_string(),
                "zoe@example.com"
            );
            let refused =
                mailer.message(&letter(&format!("zoe@example.com{evil}"), "Zoe", "Hello"));
            assert_eq!(refused.unwrap_err(), MailError::Address, "{evil:?}");
        }
    }

    #[tokio::test]
    async fn neither_address_nor_text_is_shown() {
        let letter = letter("zoe@example.com", "Zoe", "Hello");
        assert_eq!(
            format!("{letter:?} {:?}", mailer()),
            "Letter(about inv_1) Mailer(..)"
        );
    }
}
