//! The Unix socket, limits of a connection, and the end of a server.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use cedarkeep::config::Config;
use cedarkeep::http::serve::{Listen, NotServing, Peer, Serving};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::{DEADLINE, Service, client, own};

fn who() -> Router {
    Router::new().route(
        "/",
        get(async |ConnectInfo(peer): ConnectInfo<Peer>| format!("{peer:?}")),
    )
}

/// Sends these bytes to the socket and returns what comes back until the server closes it.
async fn exchange(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    // A server that closes before it has read everything resets the connection after its answer.
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .ok();
    String::from_utf8(answer).unwrap()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn the_socket_serves_what_https_serves_and_goes_with_the_server() {
    let (dir, certificates) = own();
    let path = dir.path().join("http.sock");
    let service = Service::start_at(&certificates, who(), Some(path.clone()), DEADLINE);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    let answer = exchange(&path, GET).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("Unix"),
        "{answer}"
    );
    let over_tls = client(&service.ca)
        .get(service.url("/"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(over_tls.starts_with("Tcp(127.0.0.1:"), "{over_tls}");
    service.stop().await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn only_a_dead_socket_is_replaced() {
    let (dir, certificates) = own();
    let path = dir.path().join("http.sock");
    let start = || {
        let listen = Listen {
            https: ([127, 0, 0, 1], 0).into(),
            unix: Some(path.clone()),
            patience: DEADLINE,
            ..Listen::of(&Config::default().http)
        };
        Serving::start(&listen, certificates.live(), who())
    };
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(start(), Err(NotServing::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();

    let alive = UnixListener::bind(&path).unwrap();
    assert!(matches!(start(), Err(NotServing::InUse(_))));
    drop(alive);
    assert!(path.exists(), "dead, and still there");
    let _serving = start().unwrap();
    assert!(exchange(&path, GET).await.ends_with("Unix"));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let (_dir, certificates) = own();
    let service = Service::start(&certificates, who());
    let listen = Listen {
        https: service.address,
        unix: None,
        patience: DEADLINE,
        ..Listen::of(&Config::default().http)
    };
    let message = Serving::start(&listen, certificates.live(), who())
        .unwrap_err()
        .to_string();
    assert_eq!(message, format!("cannot listen on {}", service.address));
}

#[tokio::test]
async fn requests_that_are_there_are_answered_before_the_end() {
    let (_dir, certificates) = own();
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entering, released) = (entered.clone(), release.clone());
    let slow = get(async move || {
        entering.notify_one();
        released.notified().await;
        "done"
    });
    let service = Service::start(&certificates, Router::new().route("/", slow));
    let (client, url, address) = (client(&service.ca), service.url("/"), service.address);
    let request =
        tokio::spawn(async move { client.get(url).send().await.unwrap().text().await.unwrap() });
    entered.notified().await;
    let stopped = tokio::spawn(service.stop());
    // The listener is closed before the request has its answer.
    tokio::time::timeout(DEADLINE, async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(!stopped.is_finished(), "it waits for the request");
    release.notify_one();
    assert_eq!(request.await.unwrap(), "done");
    stopped.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_ends_with_the_grace() {
    let (_dir, certificates) = own();
    let entered = Arc::new(Notify::new());
    let entering = entered.clone();
    let never = get(async move || {
        entering.notify_one();
        std::future::pending::<()>().await;
    });
    let listen = Listen {
        https: ([127, 0, 0, 1], 0).into(),
        unix: None,
        patience: DEADLINE,
        ..Listen::of(&Config::default().http)
    };
    let routes = Router::new().route("/", never);
    let serving = Serving::start(&listen, certificates.live(), routes).unwrap();
    let url = format!("https://localhost:{}/", serving.https().port());
    let client = client(certificates.ca().unwrap());
    let request = tokio::spawn(async move { client.get(url).send().await.is_err() });
    let ended = serving.until(entered.notified(), Duration::from_millis(20));
    tokio::time::timeout(DEADLINE, ended)
        .await
        .unwrap()
        .unwrap();
    assert!(request.await.unwrap());
}

#[tokio::test]
async fn a_head_that_does_not_end_and_a_silent_connection_are_cut() {
    let (dir, certificates) = own();
    let path = dir.path().join("http.sock");
    let patience = Duration::from_millis(100);
    let _service = Service::start_at(&certificates, who(), Some(path.clone()), patience);
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\nHost: loc"] {
        let begun = Instant::now();
        let answer = exchange(&path, bytes).await;
        assert!(!answer.contains("200"), "{answer}");
        assert!(begun.elapsed() >= patience);
    }
}

#[tokio::test]
async fn too_many_header_lines_and_too_long_ones_are_refused() {
    let (dir, certificates) = own();
    let path = dir.path().join("http.sock");
    let _service = Service::start_at(&certificates, who(), Some(path.clone()), DEADLINE);
    let many = "X-A: b\r\n".repeat(65);
    let long = format!("X-A: {}\r\n", "b".repeat(33 * 1024));
    for lines in [many, long] {
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        let answer = exchange(&path, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}
