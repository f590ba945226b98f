//! Names asked of DNS: the addresses of a provider, and the record by which somebody shows that a domain is theirs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ProtocolConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::{PATIENCE, Unreached};

/// What the record is called, before the domain.
const LABEL: &str = "_cedarkeep";

/// What its text begins with, before the token.
const MARK: &str = "cedarkeep-verification=";

/// The most addresses of a name that are looked at, and records of one.
const ANSWERS_LIMIT: usize = 64;

/// Whether a domain shows a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// It does.
    Shown,
    /// It shows another one: of another organization, or an older one.
    Other,
    /// It shows none.
    Absent,
}

/// Whoever is asked.
pub(super) struct Dns {
    /// None where neither the settings nor the system name a server.
    resolver: Option<TokioResolver>,
}

impl Dns {
    /// Asks this server, or the system's. Nothing is kept: an Admin who has just added a record asks again.
    pub(super) fn new(server: Option<SocketAddr>) -> Self {
        let builder = match server {
            Some(server) => {
                let mut connections = Vec::new();
                for protocol in [ProtocolConfig::Udp, ProtocolConfig::Tcp] {
                    let mut connection = ConnectionConfig::new(protocol);
                    connection.port = server.port();
                    connections.push(connection);
                }
                let server = NameServerConfig::new(server.ip(), true, connections);
                let config = ResolverConfig::from_name_servers(vec![server]);
                let provider = TokioRuntimeProvider::default();
                Ok(TokioResolver::builder_with_config(config, provider))
            }
            None => TokioResolver::builder_tokio(),
        };
        let resolver = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            options.cache_size = 0;
            options.attempts = 2;
            options.timeout = Duration::from_secs(2);
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.build()
        });
        Self {
            resolver: resolver.ok(),
        }
    }

    fn resolver(&self) -> Result<&TokioResolver, Unreached> {
        self.resolver.as_ref().ok_or(Unreached::NoServer)
    }

    /// The addresses of a host. A name is whole: no search domain of this machine is put behind it.
    pub(super) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Unreached> {
        // This machine, whoever is asked (RFC 6761).
        if host == "localhost" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let found = self
            .resolver()?
            .lookup_ip(whole(host)?)
            .await
            .map_err(unresolved)?;
        Ok(found.iter().take(ANSWERS_LIMIT).collect())
    }

    /// Whether a domain shows this token.
    pub(super) async fn verification(
        &self,
        domain: &str,
        token: &str,
    ) -> Result<Verification, Unreached> {
        let Ok(url::Host::Domain(domain)) = url::Host::parse(domain.trim_end_matches('.')) else {
            return Err(Unreached::NoName);
        };
        if !domain.contains('.') {
            return Err(Unreached::NoName);
        }
        let name = whole(&format!("{LABEL}.{domain}"))?;
        let asked = self.resolver()?.lookup(name, RecordType::TXT);
        let asked = tokio::time::timeout(PATIENCE, asked).await;
        let found = match asked.map_err(|_| Unreached::Slow)? {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(Verification::Absent),
            Err(error) => return Err(unresolved(error)),
        };
        let mut shown = Verification::Absent;
        for record in found.answers().iter().take(ANSWERS_LIMIT) {
            let RData::TXT(text) = &record.data else {
                continue;
            };
            // The strings of one record are one text (RFC 7208, 3.3).
            let text = text.txt_data.concat();
            match text.trim_ascii().strip_prefix(MARK.as_bytes()) {
                Some(said) if said == token.as_bytes() => return Ok(Verification::Shown),
                Some(_) => shown = Verification::Other,
                None => {}
            }
        }
        Ok(shown)
    }
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dns(..)")
    }
}

fn whole(name: &str) -> Result<Name, Unreached> {
    let mut name = Name::from_ascii(name).map_err(|_| Unreached::NoName)?;
    name.set_fqdn(true);
    Ok(name)
}

fn unresolved(error: NetError) -> Unreached {
    if error.is_no_records_found() {
        Unreached::Unknown
    } else {
        Unreached::Unresolved(error)
    }
}
