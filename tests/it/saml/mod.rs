//! SAML: what a provider of ours sends is taken, and nothing of what an attacker makes of it.

mod hostile;
mod idp;
mod metadata;
mod outside;
mod request;
mod taken;
