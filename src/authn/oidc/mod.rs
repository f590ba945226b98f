//! OpenID Connect, as the one who relies on it: what is asked of a provider, and what of its answers is believed. Pure.
//!
//! The code flow with PKCE and nonce, in the order in which it happens; fetching is `outside`'s:
//!
//! 1. [`discovery::well_known`] says where the provider describes itself, [`discovery::Provider::read`] holds that to the rules.
//! 2. [`request::begin`] makes the URL to which a browser is sent, and the [`request::Pending`] that stays here.
//! 3. [`request::Callback::read`] reads what the browser brings back, [`request::Pending::accept`] takes the code out of it.
//! 4. [`grant::redeem`] makes the request for the tokens, [`grant::Grant::read`] reads the answer.
//! 5. [`token::verify`] holds the ID token to its signature and every rule; on [`OidcRefusal::UnknownKey`] the keys are fetched again, once.
//! 6. [`token::Identity::with_userinfo`] adds what the provider says elsewhere, [`token::Identity::proof`] is the result.
//!
//! [`logout::verify`] reads a logout token (OpenID Connect Back-Channel Logout 1.0).
//!
//! Signatures are verified by the crate `openidconnect`; what it would leave to us is checked here, on the same bytes, for ID tokens and
//! logout tokens alike.

pub mod discovery;
pub mod grant;
pub mod keys;
pub mod logout;
mod members;
mod refusal;
pub mod request;
mod signed;
pub mod token;

pub use refusal::OidcRefusal;
pub use signed::LONGEST;

use url::{Host, Url};

/// How far a provider's clock may be ahead of ours, or behind, in seconds.
pub const SKEW_S: i64 = 60;

/// Whether a provider may be spoken to without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// Never.
    Refused,
    /// Where it is this very machine: for development.
    OnLoopback,
}

impl Plain {
    /// The URL that this text is, if it is one to which a browser or a secret may be sent.
    fn url(self, text: &str) -> Option<Url> {
        let url: Url = text.parse().ok()?;
        let loopback = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let open = url.scheme() == "https"
            || self == Self::OnLoopback && url.scheme() == "http" && loopback;
        let bare =
            url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        (open && bare).then_some(url)
    }
}

/// A text of a provider's as it may stand in a message: one short line of plain characters.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|char| char.is_ascii_graphic() || *char == ' ')
        .take(120)
        .collect()
}

/// Who somebody is at a provider. No issuer has a space in it, so the first one divides.
fn subject_of(issuer: &str, sub: &str) -> String {
    format!("{issuer} {sub}")
}
