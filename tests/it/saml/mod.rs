//! SAML: what a provider of ours sends is taken, and nothing of what an attacker makes of it.

pub mod forge;
mod hostile;
mod idp;
mod metadata;
mod outside;
pub mod providers;
mod request;
mod taken;
