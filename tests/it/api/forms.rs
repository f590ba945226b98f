//! Forms of the sign-in pages, which anybody may send: so much of one is taken, and no longer waited for than for any other body.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::{iter, pending};

use super::harness::{Service, Told};
use super::sessions::ORIGIN;
use crate::harness::server::DEADLINE;

const FORM: &str = "application/x-www-form-urlencoded";

/// Where a form is sent to, and the most bytes that are taken there.
const PLACES: &[(&str, usize)] = &[
    ("/signin/acme/con_1", 16 * 1024),
    ("/join/token", 16 * 1024),
    ("/account/end", 16 * 1024),
    ("/signout", 16 * 1024),
    ("/signin/acme/con_1/logout", 128 * 1024),
    ("/signin/acme/con_1/acs", 1024 * 1024),
];

async fn sent(service: &Service, place: &str, body: Body) -> Told {
    let ask = service.ask("POST", place).header("origin", ORIGIN);
    let sending = ask.content(FORM, body).send();
    tokio::time::timeout(DEADLINE, sending).await.unwrap()
}

#[tokio::test]
async fn a_form_that_does_not_end_is_408() {
    let service = Service::open().await;
    let service = service
        .beside_with(|config| config.http.request_timeout_ms = 50)
        .await;
    for (place, _) in PLACES {
        let begun = iter([Ok::<_, std::io::Error>(Bytes::from_static(b"next="))]);
        let since = std::time::Instant::now();
        let told = sent(&service, place, Body::from_stream(begun.chain(pending()))).await;
        assert_eq!(told.status, 408, "{place}");
        assert!(since.elapsed() >= Duration::from_millis(50), "{place}");
    }
}

#[tokio::test]
async fn a_form_that_is_too_large_is_413() {
    let service = Service::open().await;
    for (place, most) in PLACES {
        let told = sent(&service, place, Body::from(vec![b'a'; *most])).await;
        assert_ne!(told.status, 413, "{place}");
        let told = sent(&service, place, Body::from(vec![b'a'; most + 1])).await;
        assert_eq!(told.status, 413, "{place}");
    }
}

#[tokio::test]
async fn a_form_that_breaks_off_is_400() {
    let service = Service::open().await;
    for (place, _) in PLACES {
        let broken = iter([
            Ok(Bytes::from_static(b"next=")),
            Err(std::io::Error::other("gone")),
        ]);
        let told = sent(&service, place, Body::from_stream(broken)).await;
        assert_eq!(told.status, 400, "{place}");
    }
}
