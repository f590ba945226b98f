//! Sign-in: connections, domains, sessions, provisioning.

pub(in crate::http) mod connections;
pub(in crate::http) mod importing;
pub(in crate::http) mod provisioning;
pub(in crate::http) mod saml;
pub(in crate::http) mod sessions;
pub(in crate::http) mod settings;
