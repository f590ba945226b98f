//! When a connection ends by itself, and how many there may be: HTTP/2 spoken by hand, one frame at a time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use cedarkeep::config::Config;
use cedarkeep::http::serve::{Listen, Most};
use futures_util::stream::unfold;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::{DEADLINE, Service, client_from, own};

/// How long a connection may have nothing open on it here.
const PATIENCE: Duration = Duration::from_millis(200);

/// Kinds of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// The flag of an acknowledgement, and that of the last frame of a request or an answer.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;

/// Which PINGs a client acknowledges.
#[derive(Clone, Copy, PartialEq)]
enum Pings {
    All,
    /// None once it was told to go: the first behind that asks whether it has been seen.
    UntilTold,
}

struct Http2 {
    stream: UnixStream,
    pings: Pings,
    told_to_go: bool,
}

impl Http2 {
    /// A connection that has said nothing but that it is one.
    async fn open(path: &Path, pings: Pings) -> Self {
        let mut stream = UnixStream::connect(path).await.unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        stream.write_all(preface).await.unwrap();
        let mut opened = Self {
            stream,
            pings,
            told_to_go: false,
        };
        opened.send(SETTINGS, 0, 0, &[]).await;
        opened
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // One that is closed meanwhile is seen to be by whoever reads.
        self.stream.write_all(&frame).await.ok();
    }

    /// A whole request: a GET of `/` by the static table of HPACK, and whose it is.
    async fn get(&mut self, stream: u32) {
        const END_HEADERS: u8 = 4;
        let mut block = vec![0x82, 0x87, 0x84, 0x41, 9];
        block.extend(b"localhost");
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block)
            .await;
    }

    /// The next frame that is not about the connection alone, its flags; none once the connection has ended.
    async fn next(&mut self) -> Option<(u8, u8)> {
        loop {
            let mut head = [0_u8; 9];
            let read = self.stream.read_exact(&mut head);
            let read = tokio::time::timeout(DEADLINE, read).await;
            read.expect("it stays open").ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length.try_into().unwrap()];
            self.stream.read_exact(&mut payload).await.ok()?;
            let (kind, flags) = (head[3], head[4]);
            match kind {
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]).await,
                PING if flags & ACK == 0 && (!self.told_to_go || self.pings == Pings::All) => {
                    self.send(PING, ACK, 0, &payload).await;
                }
                DATA | HEADERS | GOAWAY => {
                    self.told_to_go |= kind == GOAWAY;
                    return Some((kind, flags));
                }
                _ => {}
            }
        }
    }

    /// Reads an answer to its end.
    async fn answered(&mut self) {
        loop {
            let (kind, flags) = self.next().await.expect("the connection ends");
            assert_ne!(kind, GOAWAY, "it is told to go while it is answered");
            if flags & END_STREAM != 0 {
                return;
            }
        }
    }

    /// Reads until the connection ends: whether it was told to go before.
    async fn ended(mut self) -> bool {
        while let Some((kind, _)) = self.next().await {
            assert_eq!(kind, GOAWAY);
        }
        self.told_to_go
    }
}

/// Answers in so many pieces, each of them later than a connection may be idle.
fn slow(pieces: usize) -> Router {
    let answer = get(async move || {
        let pieces = unfold(pieces, |left| async move {
            let left = left.checked_sub(1)?;
            tokio::time::sleep(PATIENCE * 2).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b".")), left))
        });
        Body::from_stream(pieces)
    });
    Router::new().route("/", answer)
}

#[tokio::test]
async fn an_http2_connection_with_nothing_open_is_told_to_go_and_closed() {
    let (dir, certificates) = own();
    let path = dir.path().join("http.sock");
    let _service = Service::start_at(&certificates, slow(0), Some(path.clone()), PATIENCE);
    let mut connection = Http2::open(&path, Pings::All).await;
    connection.get(1).await;
    connection.answered().await;
    let since = Instant::now();
    connection.get(3).await;
    connection.answered().await;
    assert!(connection.ended().await, "it is told to go");
    assert!(since.elapsed() >= PATIENCE);
}

#[tokio::test]
async fn an_answer_that_goes_on_keeps_its_connection() {
    let (dir, certificates) = own();
    let path = dir.path().join("http.sock");
    let _service = Service::start_at(&certificates, slow(4), Some(path.clone()), PATIENCE);
    let mut connection = Http2::open(&path, Pings::All).await;
    let since = Instant::now();
    connection.get(1).await;
    connection.answered().await;
    assert!(since.elapsed() >= PATIENCE * 8);
    assert!(connection.ended().await, "nothing is open any more");
}

#[tokio::test]
async fn an_http2_connection_that_asks_nothing_or_does_not_go_is_cut() {
    let (dir, certificates) = own();
    let path = dir.path().join("http.sock");
    let _service = Service::start_at(&certificates, slow(0), Some(path.clone()), PATIENCE);
    let silent = Http2::open(&path, Pings::All).await;
    assert!(!silent.ended().await, "there is nothing that it was told");
    let mut staying = Http2::open(&path, Pings::UntilTold).await;
    staying.get(1).await;
    staying.answered().await;
    assert!(staying.ended().await);
}

/// A server with so many places, and connections that have taken some of them, by the last part of their address.
async fn crowded(most: Most, from: &[u8]) -> (TempDir, Service, Vec<TcpStream>) {
    let (dir, certificates) = own();
    let listen = Listen {
        https: SocketAddr::from(([127, 0, 0, 1], 0)),
        patience: DEADLINE,
        most,
        ..Listen::of(&Config::default().http)
    };
    let service = Service::of(&listen, &certificates, slow(0));
    let mut held = Vec::new();
    for last in from {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(loopback(*last), 0)).unwrap();
        held.push(socket.connect(service.address).await.unwrap());
    }
    (dir, service, held)
}

const fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// Whether somebody there is answered, over a connection that is their own.
async fn is_answered(service: &Service, last: u8) -> bool {
    let client = client_from(&service.ca, Some(loopback(last)));
    client.get(service.url("/")).send().await.is_ok()
}

#[tokio::test]
async fn beyond_its_connections_an_address_is_refused_and_another_is_not() {
    let most = Most { all: 9, of_one: 2 };
    let (_dir, service, held) = crowded(most, &[1, 1]).await;
    assert!(!is_answered(&service, 1).await);
    assert!(is_answered(&service, 2).await);
    drop(held);
    // That they are over is seen a moment later.
    let freed = async { while !is_answered(&service, 1).await {} };
    tokio::time::timeout(DEADLINE, freed).await.unwrap();
}

#[tokio::test]
async fn beyond_all_connections_everybody_is_refused_until_one_ends() {
    let most = Most { all: 3, of_one: 2 };
    let (_dir, service, mut held) = crowded(most, &[1, 1, 2]).await;
    assert!(!is_answered(&service, 3).await);
    held.truncate(2);
    let freed = async { while !is_answered(&service, 3).await {} };
    tokio::time::timeout(DEADLINE, freed).await.unwrap();
}
