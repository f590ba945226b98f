//! AWS KMS as moto has it, and a way to it that fails as a test likes: a key that is disabled, calls that hang, lines that drop.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// A stand-in for AWS; it is stopped when it is dropped.
pub struct Moto {
    child: Child,
    address: SocketAddr,
}

impl Moto {
    /// Starts one.
    pub fn start() -> Self {
        Self::with_free_calls(u32::MAX)
    }

    /// Starts one that knows a user `keys`, who may use KMS, and no other caller; with a key of this alias. The access key,
    /// and its secret.
    pub fn strict(alias: &str) -> (Self, String, String) {
        // As many as are made here.
        let moto = Self::with_free_calls(5);
        moto.key(alias);
        moto.iam("Action=CreateUser&UserName=keys");
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;
        let policy: String = url::form_urlencoded::byte_serialize(policy.as_bytes()).collect();
        moto.iam(&format!(
            "Action=PutUserPolicy&UserName=keys&PolicyName=kms&PolicyDocument={policy}"
        ));
        let made = moto.iam("Action=CreateAccessKey&UserName=keys");
        let part = |name: &str| {
            let (_, rest) = made.split_once(&format!("<{name}>")).unwrap();
            rest.split_once('<').unwrap().0.to_owned()
        };
        let (id, secret) = (part("AccessKeyId"), part("SecretAccessKey"));
        (moto, id, secret)
    }

    fn iam(&self, call: &str) -> String {
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("authorization", &CREDENTIAL.replace("/kms/", "/iam/")),
        ];
        let body = format!("{call}&Version=2010-05-08");
        let (status, text) = post(self.address, "/", &headers, body.as_bytes());
        assert_eq!(status, 200, "{text}");
        text
    }

    fn with_free_calls(calls: u32) -> Self {
        let program =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/interop/python/bin/moto_server");
        let mut child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", calls.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}: {error}; `make test` installs it", program.display())
            });
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = said
            .by_ref()
            .map(|line| line.unwrap())
            .find_map(|line| Some(line.split_once("http://")?.1.trim().parse().unwrap()))
            .expect("moto says where it listens");
        // It reads on, so that moto never waits for a full pipe.
        std::thread::spawn(move || said.for_each(drop));
        Self { child, address }
    }

    /// Calls an action of KMS, unsigned as moto lets one; what it answers.
    pub fn call(&self, action: &str, body: &Value) -> Value {
        let (status, text) = post(
            self.address,
            "/",
            &[
                ("content-type", "application/x-amz-json-1.1"),
                ("x-amz-target", &format!("TrentService.{action}")),
                ("authorization", CREDENTIAL),
            ],
            body.to_string().as_bytes(),
        );
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// A new key with an alias; its id.
    pub fn key(&self, alias: &str) -> String {
        let made = self.call("CreateKey", &json!({}));
        let id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        self.call(
            "CreateAlias",
            &json!({ "AliasName": alias, "TargetKeyId": id }),
        );
        id
    }
}

const CREDENTIAL: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/kms/aws4_request, SignedHeaders=host, Signature=none";

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A POST, and what came back; on a connection of its own.
pub fn post(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let mut line = TcpStream::connect(to).unwrap();
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    line.write_all(head.as_bytes()).unwrap();
    line.write_all(body).unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, text) = answer.split_once("\r\n\r\n").unwrap();
    (status, text.to_owned())
}

/// What is wrong with the way.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing.
    None,
    /// KMS says this instead of doing what it is asked.
    Says(u16, &'static str),
    /// Nothing comes back.
    Hangs,
    /// The line drops once the request is sent.
    Drops,
    /// The next so many lines drop, and no other.
    DropsFirst(usize),
}

/// A way to moto.
pub struct Way {
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Way {
    /// Opens one.
    pub fn to(moto: &Moto) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let way = Self {
            address: listener.local_addr().unwrap(),
            fault: Arc::new(Mutex::new(Fault::None)),
            seen: Arc::default(),
        };
        let (fault, seen, to) = (Arc::clone(&way.fault), Arc::clone(&way.seen), moto.address);
        std::thread::spawn(move || {
            for line in listener.incoming().map_while(Result::ok) {
                let (fault, seen) = (Arc::clone(&fault), Arc::clone(&seen));
                std::thread::spawn(move || carry(line, to, &fault, &seen));
            }
        });
        way
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this is wrong with it.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// The requests that came by since the last time, heads and bodies.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Carries one request there and its answer back.
fn carry(mut line: TcpStream, to: SocketAddr, fault: &Mutex<Fault>, seen: &Mutex<Vec<String>>) {
    let Some(request) = request(&mut line) else {
        return;
    };
    seen.lock().unwrap().push(request.clone());
    let now = {
        let mut fault = fault.lock().unwrap();
        let now = fault.clone();
        if let Fault::DropsFirst(left) = &mut *fault {
            *left = left.saturating_sub(1);
        }
        now
    };
    match now {
        Fault::Hangs => std::thread::sleep(Duration::from_secs(60)),
        Fault::Drops => {}
        Fault::DropsFirst(left) if left > 0 => {}
        Fault::Says(status, kind) => {
            let body = json!({ "__type": kind, "message": "as the test has it" }).to_string();
            let answer = format!(
                "HTTP/1.1 {status} no\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            line.write_all(answer.as_bytes()).ok();
        }
        Fault::None | Fault::DropsFirst(_) => {
            let mut there = TcpStream::connect(to).unwrap();
            let (first, rest) = request.split_once("\r\n").unwrap();
            there
                .write_all(format!("{first}\r\nconnection: close\r\n{rest}").as_bytes())
                .unwrap();
            let mut answer = Vec::new();
            there.read_to_end(&mut answer).unwrap();
            line.write_all(&answer).ok();
        }
    }
}

fn request(line: &mut TcpStream) -> Option<String> {
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = line.read(&mut piece).ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&piece[..count]);
        let text = std::str::from_utf8(&read).ok()?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return Some(text.to_owned());
        }
    }
}
