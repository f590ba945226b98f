//! Identity providers that nobody here wrote, started by the tests: one on `pysaml2` of PyPI, and Debian's SimpleSAMLphp.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use openssl::x509::X509;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{Url, form_urlencoded};

use super::idp::Idp;
use crate::oidc::provider::{Browser, between};

/// Everybody's, at both.
const PASSWORD: &str = "correct horse";

/// What a provider signs, as both are told.
#[derive(Debug, Clone, Copy)]
pub enum Signed {
    Assertion,
    Response,
    Both,
}

impl Signed {
    const fn word(self) -> &'static str {
        match self {
            Self::Assertion => "assertion",
            Self::Response => "response",
            Self::Both => "both",
        }
    }
}

/// By which NameIDs a provider names people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Persistently,
    ByAddress,
}

impl Named {
    const fn word(self) -> &'static str {
        match self {
            Self::Persistently => "persistent",
            Self::ByAddress => "email",
        }
    }
}

/// A provider, which ends with the test.
pub struct Provider {
    child: Child,
    /// What it says and is told.
    voice: Voice,
    folder: TempDir,
    /// Where it is: over TLS, if you ask it.
    base: String,
    pub metadata: String,
}

enum Voice {
    /// By lines: what it says.
    Lines(BufReader<ChildStdout>),
    /// By a file in its folder.
    File,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `.ci/checkers` puts what the tests need.
fn installed(what: &str) -> PathBuf {
    let path = root().join("target/interop").join(what);
    assert!(path.exists(), "`make test` puts {what} into target/interop");
    path
}

impl Provider {
    /// The one on `pysaml2`.
    pub fn pysaml2(signed: Signed, named: Named) -> Self {
        let mut child = Command::new(installed("python/bin/python"))
            .args(["-W", "ignore"])
            .arg(root().join("tests/interop/python/saml_idp.py"))
            .args([signed.word(), named.word()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("Python runs the provider");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let said = line(&mut lines);
        Self {
            child,
            voice: Voice::Lines(lines),
            folder: tempfile::tempdir().unwrap(),
            base: said["base"].as_str().unwrap().to_owned(),
            metadata: said["metadata"].as_str().unwrap().to_owned(),
        }
    }

    /// Debian's.
    pub async fn simplesamlphp(signed: Signed, named: Named) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = Idp::rsa(2048);
        let key = own.key.private_key_to_pem_pkcs8().unwrap();
        let certificate = X509::from_der(&own.certificate).unwrap().to_pem().unwrap();
        fs::write(folder.path().join("idp.pem"), key).unwrap();
        fs::write(folder.path().join("idp.crt"), certificate).unwrap();
        let pages = installed("simplesamlphp/usr/share/simplesamlphp/www");
        let mut child = Command::new("php")
            .args(["-d", "display_errors=0", "-S", "127.0.0.1:0", "-t"])
            .arg(pages)
            .env("SIMPLESAMLPHP_CONFIG_DIR", root().join("tests/interop/php"))
            .env("CEDARKEEP_IDP_DIR", folder.path())
            .env("CEDARKEEP_IDP_SIGNS", signed.word())
            .env("CEDARKEEP_IDP_FORMAT", named.word())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`make test` installs PHP");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        log.read_line(&mut first).unwrap();
        let port = between(&first, "(http://127.0.0.1:", ")");
        let base = format!("https://localhost:{port}");
        // It must not find that nobody reads what it logs.
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()).unwrap());
        let place = format!("{base}/saml2/idp/metadata.php").parse().unwrap();
        let (_, metadata) = Browser::new().visit(&place, None).await.unwrap_err();
        Self {
            child,
            voice: Voice::File,
            folder,
            base,
            metadata,
        }
    }

    /// Tells it of us, by our metadata.
    pub fn meet(&mut self, ours: &str) {
        match &mut self.voice {
            Voice::Lines(lines) => {
                let stdin = self.child.stdin.as_mut().unwrap();
                writeln!(stdin, "{}", json!({"metadata": ours})).unwrap();
                let known = line(lines);
                assert_eq!(known["knows"].as_array().unwrap().len(), 1);
            }
            Voice::File => fs::write(self.folder.path().join("sp.xml"), ours).unwrap(),
        }
    }

    /// Where signing in to us begins there.
    pub fn start(&self, entity_id: &str) -> Url {
        let base = &self.base;
        match &self.voice {
            Voice::Lines(_) => format!("{base}/start").parse().unwrap(),
            Voice::File => {
                let service = format!("{base}/saml2/idp/SSOService.php");
                Url::parse_with_params(&service, [("spentityid", entity_id)]).unwrap()
            }
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn line(lines: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    serde_json::from_str(&line).expect("the provider says why it does not start")
}

/// What a provider has a browser take to us.
#[derive(Debug, Clone)]
pub struct Carried {
    pub action: Url,
    pub response: String,
    pub relay_state: Option<String>,
}

impl Browser {
    /// Signs somebody in at a provider, until there is something to carry to us.
    pub async fn sign_in_at_saml(&mut self, start: &Url, user: &str) -> Carried {
        let mut at = self.visit(start, None).await;
        for _ in 0..4 {
            let (url, page) = at.expect_err("a provider answers with a form");
            let mut fields = fields(&page);
            let (_, form) = page.split_once("<form").unwrap();
            let action = url.join(&plain(between(form, "action=\"", "\""))).unwrap();
            let value = |wanted: &str| {
                let found = fields.iter().find(|(name, _)| name == wanted);
                found.map(|(_, value)| value.clone())
            };
            if let Some(response) = value("SAMLResponse") {
                return Carried {
                    action,
                    response,
                    relay_state: value("RelayState").filter(|text| !text.is_empty()),
                };
            }
            for (name, value) in &mut fields {
                match name.as_str() {
                    "username" => user.clone_into(value),
                    "password" => PASSWORD.clone_into(value),
                    _ => {}
                }
            }
            let form: String = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&fields)
                .finish();
            at = self.visit(&action, Some(&form)).await;
        }
        panic!("{start} asks without end");
    }
}

/// The named fields of a page.
fn fields(page: &str) -> Vec<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        rest.split_once('"').map(|(value, _)| plain(value))
    };
    let tags = page.split("<input").skip(1);
    tags.map(|rest| rest.split_once('>').unwrap().0)
        .filter_map(|tag| {
            let value = attribute(tag, "value").unwrap_or_default();
            attribute(tag, "name").map(|name| (name, value))
        })
        .collect()
}

/// What an attribute's value is, without the escapes that occur.
fn plain(value: &str) -> String {
    let mut text = value.to_owned();
    for (escape, meant) in [
        ("&quot;", "\""),
        ("&#039;", "'"),
        ("&#x27;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ] {
        text = text.replace(escape, meant);
    }
    text
}
