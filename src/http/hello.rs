//! The first bytes of a connection: a client that is too old is told so.
//!
//! rustls refuses TLS 1.1 and older by itself, but those clients never send the extension that it misses
//! first, so it answers `handshake_failure` (40), which says nothing to whoever has to find out why. RFC
//! 8446 wants `protocol_version` (70) here. This looks at the version without taking the bytes, and
//! answers in rustls's place; what does not come in one piece is left to rustls, which refuses it as well.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// As much of a ClientHello as holds its version: record header, handshake header, version.
const OPENING: usize = 11;

/// Takes connections whose client is not too old.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hello {
    /// How long a client may take to say anything.
    pub(super) patience: Duration,
}

impl<S: Send + 'static> Accept<TcpStream, S> for Hello {
    type Stream = TcpStream;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(TcpStream, S)>> + Send>>;

    fn accept(&self, mut stream: TcpStream, service: S) -> Self::Future {
        let patience = self.patience;
        Box::pin(async move {
            let mut opening = [0_u8; OPENING];
            tokio::time::timeout(patience, stream.peek(&mut opening)).await??;
            let Some(version) = too_old(opening) else {
                return Ok((stream, service));
            };
            // What lies unread when a socket is closed makes the system send a reset, which would overtake
            // the alert.
            let mut rest = [0_u8; 4096];
            while matches!(stream.try_read(&mut rest), Ok(1..)) {}
            let [high, low] = version;
            stream.write_all(&[0x15, high, low, 0, 2, 2, 70]).await?;
            stream.shutdown().await?;
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the client speaks TLS 1.1 or older",
            ))
        })
    }
}

/// The version of a ClientHello that offers TLS 1.1 at most; 1.3 says 1.2 here.
fn too_old(opening: [u8; OPENING]) -> Option<[u8; 2]> {
    let [kind, 3, _, _, _, message, _, _, _, high, low] = opening else {
        return None;
    };
    let version = [high, low];
    (kind == 0x16 && message == 1 && high == 3 && version < [3, 3]).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_old_client_hello_is_too_old() {
        let hello = |version: [u8; 2]| [0x16, 3, 1, 0, 99, 1, 0, 0, 95, version[0], version[1]];
        for old in [[3, 0], [3, 1], [3, 2]] {
            assert_eq!(too_old(hello(old)), Some(old));
        }
        assert_eq!(too_old(hello([3, 3])), None);
        assert_eq!(too_old(*b"GET / HTTP/"), None);
        assert_eq!(too_old([0; OPENING]), None);
    }
}
