//! Cookies: how each is set, found and taken away. All are `__Host-` cookies: of this host alone, over TLS alone.

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::Duration;
use cookie::{Cookie, SameSite};

/// A cookie of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// Of whoever is signed in.
    Session,
    /// Of a sign-in that is under way; it comes back from the identity provider.
    Arrival,
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "__Host-sid",
            Self::Arrival => "__Host-arrival",
        }
    }

    /// A provider of SAML comes back with a form of another site: only such a cookie comes along, and it is good for nothing else.
    const fn same_site(self) -> SameSite {
        match self {
            Self::Session => SameSite::Lax,
            Self::Arrival => SameSite::None,
        }
    }
}

/// The value of a cookie; none where it is there twice, since one of the two may be somebody else's.
pub(super) fn read(headers: &HeaderMap, name: Name) -> Option<String> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .filter(|cookie| cookie.name() == name.as_str());
    let value = found.next()?.value().to_owned();
    found.next().is_none().then_some(value)
}

/// Has the browser keep a cookie, as long as it is open or for so long.
pub(super) fn set(name: Name, value: &str, lasts: Option<Duration>) -> Option<HeaderValue> {
    let mut cookie = Cookie::new(name.as_str(), value);
    if let Some(lasts) = lasts {
        cookie.set_max_age(cookie::time::Duration::seconds(lasts.num_seconds()));
    }
    written(cookie, name)
}

/// Has the browser forget it.
pub(super) fn clear(name: Name) -> Option<HeaderValue> {
    let mut cookie = Cookie::new(name.as_str(), "");
    cookie.set_max_age(cookie::time::Duration::ZERO);
    written(cookie, name)
}

fn written(mut cookie: Cookie<'_>, name: Name) -> Option<HeaderValue> {
    cookie.set_path("/");
    cookie.set_secure(true);
    cookie.set_http_only(true);
    cookie.set_same_site(name.same_site());
    HeaderValue::try_from(cookie.to_string()).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    fn sent(lines: &[&'static str]) -> HeaderMap {
        let lines = lines
            .iter()
            .map(|line| (header::COOKIE, HeaderValue::from_static(line)));
        lines.collect()
    }

    #[test]
    fn a_cookie_is_of_this_host_over_tls_and_out_of_reach_of_scripts() {
        let session = set(Name::Session, "abc", None).unwrap();
        assert_eq!(
            session,
            "__Host-sid=abc; HttpOnly; SameSite=Lax; Secure; Path=/"
        );
        let arrival = set(Name::Arrival, "abc", Some(Duration::minutes(10))).unwrap();
        assert_eq!(
            arrival,
            "__Host-arrival=abc; HttpOnly; SameSite=None; Secure; Path=/; Max-Age=600"
        );
        assert!(
            clear(Name::Session)
                .unwrap()
                .to_str()
                .unwrap()
                .contains("Max-Age=0")
        );
    }

    #[test]
    fn a_cookie_that_is_there_twice_is_none() {
        let one = sent(&["a=1; __Host-sid=abc; b=2"]);
        assert_eq!(read(&one, Name::Session).unwrap(), "abc");
        assert_eq!(read(&one, Name::Arrival), None);
        assert_eq!(
            read(&sent(&["__Host-sid=abc; __Host-sid=abd"]), Name::Session),
            None
        );
        assert_eq!(
            read(&sent(&["__Host-sid=abc", "__Host-sid=abd"]), Name::Session),
            None
        );
    }
}
