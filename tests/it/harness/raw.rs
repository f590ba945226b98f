//! A client that speaks HTTP/1.1 by hand, over TLS or the Unix socket: it streams bodies of any length, holds none of them, and breaks off
//! where it is told to.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// How much is sent and received at a time.
const PIECE: usize = 256 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection that stays open.
pub struct Raw {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
}

/// The beginning of an answer.
#[derive(Debug)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// How long the body is.
    pub length: usize,
}

impl Raw {
    /// Over TLS, to the service at this port of the machine.
    pub async fn tls(ca: &Path, port: u16) -> Self {
        // A second call finds it installed, which is just as good.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(ca).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        Self::over(connected.await.unwrap())
    }

    /// Over the Unix socket at this path.
    pub async fn unix(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).await.unwrap())
    }

    fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            received: Vec::with_capacity(4 * 1024),
        }
    }

    /// Sends these bytes, which are a whole request, and takes the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut body = Vec::new();
        let head = self.answer(|piece| body.extend_from_slice(piece)).await?;
        Ok((head.status, body))
    }

    /// Sends a request whose body is so many bytes; `piece` has the next ones, of which there may be more than are missing.
    pub async fn upload<'p>(
        &mut self,
        head: &str,
        length: usize,
        mut piece: impl FnMut(usize) -> &'p [u8],
    ) -> Result<(u16, Vec<u8>)> {
        let head = format!("{head}content-length: {length}\r\n\r\n");
        self.stream.write_all(head.as_bytes()).await?;
        let mut sent = 0;
        while sent < length {
            let some = piece(sent);
            let some = &some[..some.len().min(length - sent)];
            self.stream.write_all(some).await?;
            sent += some.len();
        }
        self.exchange(b"").await
    }

    /// Takes an answer, its body piece by piece.
    pub async fn answer(&mut self, mut taken: impl FnMut(&[u8])) -> Result<Head> {
        let ended = || Error::new(ErrorKind::UnexpectedEof, "the connection ended");
        let end = loop {
            if let Some(end) = self
                .received
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                break end;
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(ended());
            }
        };
        let head = head(&self.received[..end]);
        let here = self.received.len().min(end + 4 + head.length);
        taken(&self.received[end + 4..here]);
        let mut rest = head.length - (here - end - 4);
        self.received.drain(..here);
        let mut buffer = vec![0; PIECE.min(rest)];
        while rest > 0 {
            let wanted = buffer.len().min(rest);
            let read = self.stream.read(&mut buffer[..wanted]).await?;
            if read == 0 {
                return Err(ended());
            }
            taken(&buffer[..read]);
            rest -= read;
        }
        Ok(head)
    }

    /// Sends bytes and waits for nothing.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}

fn head(bytes: &[u8]) -> Head {
    let text = std::str::from_utf8(bytes).unwrap();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse().unwrap())
    });
    let status: u16 = text[9..12].parse().unwrap();
    // What has no body says no length.
    let length = match (length, status) {
        (Some(length), _) => length,
        (None, 204 | 304) => 0,
        (None, _) => panic!("a body of unknown length: {text}"),
    };
    Head { status, length }
}

/// The head of a request up to its `content-length`, on behalf of a user.
pub fn request(method: &str, path: &str, key: &str, user: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncedarkeep-acting-user: {user}\r\ncontent-type: application/octet-stream\r\n"
    )
}

/// A whole request with this body.
pub fn whole(head: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!("{head}content-length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend_from_slice(body);
    request
}
