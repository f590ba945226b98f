//! SAML 2.0: an identity provider's metadata taken in, what it is sent, and its responses taken or refused. Pure.
//!
//! | File | Owns |
//! | --- | --- |
//! | `metadata` | a provider's metadata read into a connection |
//! | `certificate` | which certificates are good enough, and what is told of them |
//! | `provider` | a connection that responses may be taken from |
//! | `request` | our own metadata, and the request that a browser carries to the provider |
//! | `response` | a response taken, or refused with the check that failed |
//! | `text`, `gate`, `status`, `signature`, `element` | the strict gate before the signature engine |
//! | `engine` | xmlsec, by way of samael, unable to open anything |
//! | `said` | what the attributes say |
//! | `refusal` | the checks, by their names |
//!
//! samael is used for its signature engine alone. Its own reading of responses takes unsigned ones where the metadata has no
//! certificate, lets `InResponseTo` be anything where sign-in may begin at the provider, and asks the machine for the time.

pub mod certificate;
mod element;
mod engine;
mod gate;
pub mod metadata;
pub mod provider;
pub mod refusal;
pub mod request;
pub mod response;
mod said;
mod signature;
mod status;
mod text;

pub use engine::prepare;
pub use text::{DEEPEST, LONGEST, LONGEST_VALUE, MOST_ATTRIBUTES, MOST_ELEMENTS};

/// Who we are to a provider of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceProvider {
    /// Our entity ID: the URL of our metadata for the connection.
    pub entity_id: String,
    /// Where responses come: our assertion consumer URL for the connection.
    pub acs_url: String,
}
