//! Values of settings that have a form of their own: a database's address, a password, a URL.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::http::uri::Authority;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

/// Where tenants' databases are.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Database {
    /// A file each in `data.dir`.
    Sqlite,
    /// A database each on this server; the address holds no password.
    Postgres(String),
}

impl TryFrom<String> for Database {
    type Error = &'static str;

    // Messages here never repeat the address: what is refused may be a password.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "sqlite" {
            return Ok(Self::Sqlite);
        }
        let Some(rest) = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
        else {
            return Err("`data.database` must be `sqlite` or begin with `postgres://`");
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        // The last `@`, so that a password with `@` or `/` in it is seen as one.
        let in_place = place
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.contains(':'));
        let in_query = query.split('&').any(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            name.contains('%')
                || name.eq_ignore_ascii_case("password")
                || name.eq_ignore_ascii_case("sslpassword")
        });
        if in_place || in_query || query.contains('@') {
            return Err(
                "`data.database` must not hold a password; put it in a file and name that in `data.password_file`",
            );
        }
        if place.is_empty() {
            return Err(
                "`data.database` names no server; write postgres://user@host:5432/database",
            );
        }
        Ok(Self::Postgres(text))
    }
}

impl From<Database> for String {
    fn from(database: Database) -> Self {
        match database {
            Database::Sqlite => "sqlite".to_owned(),
            Database::Postgres(address) => address,
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite => f.write_str("Sqlite"),
            Self::Postgres(_) => f.write_str("Postgres(..)"),
        }
    }
}

/// A password that was read from a file; it is wiped when it is dropped.
pub struct Password(pub(super) String);

impl Password {
    /// The password itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// How clients reach the service: https, a host, perhaps a port and a path, and no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl {
    text: String,
    host: String,
}

impl Default for BaseUrl {
    fn default() -> Self {
        Self {
            text: "https://127.0.0.1:8443".to_owned(),
            host: "127.0.0.1".to_owned(),
        }
    }
}

impl BaseUrl {
    /// That of a service that listens there and is called nothing else; on every address, it is this machine's own.
    #[must_use]
    pub fn of(listen: SocketAddr) -> Self {
        let (ip, port) = (listen.ip(), listen.port());
        if port == 0 {
            return Self::default();
        }
        let ip = match ip.is_unspecified() {
            true => IpAddr::from([127, 0, 0, 1]),
            false => ip,
        };
        Self {
            text: format!("https://{}", SocketAddr::new(ip, port)),
            host: ip.to_string(),
        }
    }

    /// The URL, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host: a name or an address, the latter without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Scheme, host and port: what a browser calls the origin of its pages.
    #[must_use]
    pub fn origin(&self) -> &str {
        let length = self.text.len().saturating_sub(self.path().len());
        self.text.get(..length).unwrap_or_default()
    }

    /// What follows the host and port: empty, or a path that begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        let rest = self.text.strip_prefix("https://").unwrap_or_default();
        rest.find('/')
            .and_then(|at| rest.get(at..))
            .unwrap_or_default()
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let Some(rest) = text.strip_prefix("https://") else {
            return Err("`http.base_url` must begin with `https://`");
        };
        if rest.contains(['?', '#']) {
            return Err("`http.base_url` must have no query and no fragment");
        }
        if rest.contains(|c: char| !c.is_ascii_graphic() || c == '\\' || c == '"') {
            return Err("`http.base_url` must be plain ASCII without spaces");
        }
        let rest = rest.trim_end_matches('/');
        let place = rest.split('/').next().unwrap_or_default();
        let authority: Authority = place
            .parse()
            .map_err(|_| "`http.base_url` has no host, or one that cannot be read")?;
        let port_is_whole = place.ends_with(authority.host()) || authority.port_u16().is_some();
        if authority.host().is_empty() || place.contains('@') || !port_is_whole {
            return Err("`http.base_url` must be https://HOST[:PORT][/PATH]");
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        if ServerName::try_from(host.as_str()).is_err() {
            return Err("`http.base_url` has a host that no certificate can name");
        }
        Ok(Self {
            text: format!("https://{rest}"),
            host,
        })
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.text
    }
}
