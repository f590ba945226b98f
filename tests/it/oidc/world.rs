//! A piece of the world for these tests: a DNS server, and servers that speak TLS as they should or should not.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cedarkeep::config;
use cedarkeep::outside::Outside;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, TXT};
use hickory_proto::rr::{RData, Record, RecordType};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

/// What a DNS server answers to a name.
#[derive(Clone)]
pub enum Told {
    /// Of the type that is asked for.
    Addresses(Vec<IpAddr>),
    /// The texts, each of one or several strings.
    Texts(Vec<Vec<String>>),
    /// It fails.
    Fails,
    /// It says nothing at all.
    Silent,
}

/// A DNS server on this machine.
pub struct Names {
    pub at: SocketAddr,
    /// What was asked for, in order.
    pub asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

impl Names {
    /// Whoever is not in the list does not exist.
    pub async fn serve(names: &[(&str, Told)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let names: BTreeMap<String, Told> = names
            .iter()
            .map(|(name, told)| (format!("{name}."), told.clone()))
            .collect();
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let query = question.queries[0].clone();
                let name = query.name().to_ascii().to_lowercase();
                seen.lock()
                    .unwrap()
                    .push((name.clone(), query.query_type()));
                let told = names.get(&name);
                if matches!(told, Some(Told::Silent)) {
                    continue;
                }
                let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
                answer.metadata.recursion_desired = true;
                answer.metadata.recursion_available = true;
                answer.add_query(query.clone());
                match told {
                    None => answer.metadata.response_code = ResponseCode::NXDomain,
                    Some(Told::Fails) => answer.metadata.response_code = ResponseCode::ServFail,
                    Some(told) => {
                        for data in told.of(query.query_type()) {
                            answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
                        }
                    }
                }
                socket
                    .send_to(&answer.to_vec().unwrap(), from)
                    .await
                    .unwrap();
            }
        });
        Self { at, asked }
    }

    /// How often a name was asked for, and for what.
    pub fn count(&self, name: &str, kind: RecordType) -> usize {
        let asked = self.asked.lock().unwrap();
        let name = format!("{name}.");
        asked
            .iter()
            .filter(|one| **one == (name.clone(), kind))
            .count()
    }
}

impl Told {
    fn of(&self, kind: RecordType) -> Vec<RData> {
        match self {
            Self::Addresses(addresses) => addresses
                .iter()
                .filter_map(|address| match address {
                    IpAddr::V4(address) if kind == RecordType::A => Some(RData::A(A(*address))),
                    IpAddr::V6(address) if kind == RecordType::AAAA => {
                        Some(RData::AAAA(AAAA(*address)))
                    }
                    IpAddr::V4(_) | IpAddr::V6(_) => None,
                })
                .collect(),
            Self::Texts(texts) if kind == RecordType::TXT => texts
                .iter()
                .map(|strings| RData::TXT(TXT::new(strings.clone())))
                .collect(),
            Self::Texts(_) | Self::Fails | Self::Silent => Vec::new(),
        }
    }
}

/// An authority for certificates, which nobody trusts by default.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A server's side, with a certificate for these names until that year.
    pub fn server(&self, names: &[&str], year: i32) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }
}

/// What a server sends: bytes, and pauses between them.
pub type Reply = Vec<(Vec<u8>, Duration)>;

/// An answer with this status line, these further headers and this body.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Reply {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    vec![([head.as_bytes(), body].concat(), Duration::ZERO)]
}

pub fn json(body: &str) -> Reply {
    answer(
        "200 OK",
        "Content-Type: application/json\r\n",
        body.as_bytes(),
    )
}

/// A server on this machine, in TLS where it has a certificate.
pub struct Server {
    pub at: SocketAddr,
    /// The heads of the requests that came, in order, and their bodies.
    pub heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub async fn serve(
        tls: Option<Arc<ServerConfig>>,
        reply: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, reply) = (Arc::clone(&heads), Arc::new(reply));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, seen, reply) = (tls.clone(), Arc::clone(&seen), Arc::clone(&reply));
                tokio::spawn(async move {
                    match tls {
                        None => speak(stream, None, &seen, reply.as_ref()).await,
                        Some(tls) => {
                            // Whoever does not trust the certificate goes away.
                            let acceptor = tokio_rustls::TlsAcceptor::from(tls);
                            let Ok(stream) = acceptor.accept(stream).await else {
                                return;
                            };
                            let name = stream.get_ref().1.server_name().map(str::to_owned);
                            speak(stream, name, &seen, reply.as_ref()).await;
                        }
                    }
                });
            }
        });
        Self { at, heads }
    }

    pub fn url(&self, host: &str, path: &str) -> url::Url {
        let port = self.at.port();
        format!("https://{host}:{port}{path}").parse().unwrap()
    }

    pub fn count(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

async fn speak(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    name: Option<String>,
    seen: &Mutex<Vec<String>>,
    reply: &(impl Fn(&str) -> Reply + Sync),
) {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        read.push(byte[0]);
    }
    let head = String::from_utf8(read).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    let said = format!("sni: {}\r\n{head}", name.unwrap_or_default());
    let path = head.split(' ').nth(1).unwrap().to_owned();
    seen.lock()
        .unwrap()
        .push(said + &String::from_utf8(body).unwrap());
    for (bytes, pause) in reply(&path) {
        // Whoever has heard enough has gone away.
        if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
    stream.shutdown().await.ok();
}

/// Calls that trust this authority and ask this server for names.
pub fn outside(authority: Option<&Authority>, names: Option<&Names>, loopback: bool) -> Outside {
    let file = tempfile::NamedTempFile::new().unwrap();
    if let Some(authority) = authority {
        std::fs::write(file.path(), &authority.pem).unwrap();
    }
    let settings = config::Outside {
        allow_loopback: loopback,
        ca_file: authority.map(|_| file.path().to_owned()),
        dns_server: names.map(|names| names.at),
    };
    Outside::open(&settings).unwrap()
}
