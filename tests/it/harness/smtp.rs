//! A small mail server: it says what it is told to say, speaks TLS where it should, and keeps every line that it was sent.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It offers TLS, and goes on in it.
    Starttls,
    /// It offers TLS, and refuses it when it is asked for it.
    RefusesTls,
    /// It knows nothing of TLS.
    Plain,
    /// TLS from the first byte.
    Tls,
}

/// What it has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Each line, and whether it came through TLS.
    lines: Vec<(bool, String)>,
    /// The letters that it took.
    letters: Vec<String>,
    connections: usize,
}

/// The server; it ends with the test.
pub struct Server {
    port: u16,
    ca: PathBuf,
    seen: Arc<Mutex<Seen>>,
    taken: watch::Receiver<usize>,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts one that answers the first letters with these codes, and takes the others.
    pub async fn start(manner: Manner, answers: &[u16]) -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (told, taken) = watch::channel(0);
        let conversation = Conversation {
            manner,
            tls,
            seen: Arc::clone(&seen),
            answers: Arc::new(Mutex::new(answers.to_vec())),
            told,
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let conversation = conversation.clone();
                tokio::spawn(async move { conversation.hold(stream).await });
            }
        });
        Self {
            port,
            ca,
            seen,
            taken,
            _dir: dir,
        }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The certificate to trust.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// What was sent before, or outside of, TLS.
    pub fn in_the_clear(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let clear = seen.lines.iter().filter(|(tls, _)| !tls);
        clear.map(|(_, line)| line.clone()).collect()
    }

    /// What was sent through TLS.
    pub fn protected(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let protected = seen.lines.iter().filter(|(tls, _)| *tls);
        protected.map(|(_, line)| line.clone()).collect()
    }

    /// How often somebody has come.
    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Waits until so many letters were taken; the letters.
    pub async fn letters(&self, count: usize) -> Vec<String> {
        let mut taken = self.taken.clone();
        let wait = taken.wait_for(|taken| *taken >= count);
        let waited = tokio::time::timeout(super::server::DEADLINE, wait).await;
        waited.expect("a letter did not come").unwrap();
        self.seen.lock().unwrap().letters.clone()
    }
}

#[derive(Clone)]
struct Conversation {
    manner: Manner,
    tls: TlsAcceptor,
    seen: Arc<Mutex<Seen>>,
    answers: Arc<Mutex<Vec<u16>>>,
    told: watch::Sender<usize>,
}

/// What a part of a conversation ended with.
enum Ended {
    Over,
    WantsTls,
}

impl Conversation {
    async fn hold(self, stream: TcpStream) {
        self.seen.lock().unwrap().connections += 1;
        if self.manner == Manner::Tls {
            if let Ok(stream) = self.tls.clone().accept(stream).await {
                self.talk(BufReader::new(stream), true, true).await;
            }
            return;
        }
        let mut clear = BufReader::new(stream);
        if let Ended::WantsTls = self.talk(&mut clear, false, true).await
            && let Ok(stream) = self.tls.clone().accept(clear.into_inner()).await
        {
            self.talk(BufReader::new(stream), true, false).await;
        }
    }

    async fn talk<S>(&self, mut stream: S, tls: bool, greets: bool) -> Ended
    where
        S: AsyncBufRead + AsyncWrite + Unpin,
    {
        if greets && say(&mut stream, "220 ready").await.is_err() {
            return Ended::Over;
        }
        loop {
            let Some(line) = self.line(&mut stream, tls).await else {
                return Ended::Over;
            };
            let word = line.split(' ').next().unwrap().to_ascii_uppercase();
            let offers = matches!(self.manner, Manner::Starttls | Manner::RefusesTls) && !tls;
            let answer = match word.as_str() {
                "EHLO" if offers => "250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN",
                "EHLO" => "250-here\r\n250 AUTH PLAIN LOGIN",
                "STARTTLS" if self.manner == Manner::Starttls && !tls => {
                    drop(say(&mut stream, "220 go on").await);
                    return Ended::WantsTls;
                }
                "STARTTLS" => "454 not now",
                "AUTH" => "235 welcome",
                "MAIL" | "RCPT" => "250 fine",
                "DATA" => {
                    drop(say(&mut stream, "354 begin").await);
                    let mut letter = String::new();
                    loop {
                        let Some(line) = self.line(&mut stream, tls).await else {
                            return Ended::Over;
                        };
                        if line == "." {
                            break;
                        }
                        letter.push_str(&line);
                        letter.push('\n');
                    }
                    let code = {
                        let mut answers = self.answers.lock().unwrap();
                        if answers.is_empty() {
                            250
                        } else {
                            answers.remove(0)
                        }
                    };
                    if code == 250 {
                        self.seen.lock().unwrap().letters.push(letter);
                        self.told.send_modify(|taken| *taken += 1);
                    }
                    let answer = format!("{code} for <zoe@example.com>");
                    drop(say(&mut stream, &answer).await);
                    continue;
                }
                "QUIT" => {
                    drop(say(&mut stream, "221 bye").await);
                    return Ended::Over;
                }
                _ => "500 what",
            };
            if say(&mut stream, answer).await.is_err() {
                return Ended::Over;
            }
        }
    }

    async fn line<S: AsyncBufRead + Unpin>(&self, stream: &mut S, tls: bool) -> Option<String> {
        let mut line = String::new();
        let read = stream.read_line(&mut line).await.ok()?;
        if read == 0 {
            return None;
        }
        let line = line.trim_end_matches(['\r', '\n']).to_owned();
        self.seen.lock().unwrap().lines.push((tls, line.clone()));
        Some(line)
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, line: &str) -> std::io::Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    stream.flush().await
}
