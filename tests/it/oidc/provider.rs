//! A sign-in at a provider that nobody here wrote (npm `oidc-provider`), from the first redirect to what is proven, and the logout that it sends;
//! and one at a provider of ours that changes its keys.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cedarkeep::authn::oidc::discovery::{Provider, well_known};
use cedarkeep::authn::oidc::grant::{Grant, redeem};
use cedarkeep::authn::oidc::keys::KeySet;
use cedarkeep::authn::oidc::request::{Callback, Pending, Seeds, begin};
use cedarkeep::authn::oidc::token::verify;
use cedarkeep::authn::oidc::{OidcRefusal, Plain, logout};
use cedarkeep::authn::proof::Proof;
use cedarkeep::directory::connection::{ClientSecret, Oidc};
use cedarkeep::outside::Outside;
use chrono::Utc;
use reqwest::header::{LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use url::Url;

use super::forge::{Key, Keys, Token};
use super::world::{self, Authority, Names, Server, Told};
use super::{ACCESS, connection, parameter, redirect_uri, seeds};

/// Where nobody comes back to.
const NOWHERE: &str = "https://nowhere.example/";

/// The provider, which ends with the test.
pub struct Node {
    child: Child,
    /// It may say more, and must not find that nobody listens.
    _output: BufReader<ChildStdout>,
    pub issuer: String,
}

impl Node {
    /// It sends its logout tokens there, and has a client `cedarkeep` that comes back to `callback`.
    pub fn start(logout: &str, callback: &str) -> Self {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        // `.ci/checkers` puts one there where Debian's own is too old for it.
        let newer = root.join("target/interop/newer/node");
        let node = if newer.exists() { newer } else { "node".into() };
        let mut command = Command::new(node);
        command
            .arg(root.join("tests/interop/node/oidc_provider.mjs"))
            .arg(root.join("target/interop/node"))
            .arg(logout)
            .arg(callback)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command.spawn().expect("Node runs the provider");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line)
            .expect("the provider starts; `make test` installs it into target/interop");
        let issuer = said["issuer"].as_str().unwrap().to_owned();
        Self {
            child,
            _output: output,
            issuer,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// As much of a browser as a sign-in needs: it follows redirects, keeps cookies by their paths, and submits forms.
pub struct Browser {
    http: reqwest::Client,
    /// Path, name, value.
    cookies: Vec<(String, String, String)>,
}

impl Browser {
    pub fn new() -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .build();
        Self {
            http: http.unwrap(),
            cookies: Vec::new(),
        }
    }

    /// Where a request leads: to another URL, or to a page.
    async fn send(&mut self, url: &Url, form: Option<&str>) -> Result<Url, String> {
        // Providers here that have themselves called `https` leave TLS to somebody in front of them, who is not there.
        let mut place = url.clone();
        place.set_scheme("http").unwrap();
        let mut request = match form {
            None => self.http.get(place),
            Some(form) => self
                .http
                .post(place)
                .header("content-type", "application/x-www-form-urlencoded")
                .header("origin", url.origin().ascii_serialization())
                .body(form.to_owned()),
        };
        let fitting = self
            .cookies
            .iter()
            .filter(|(path, ..)| url.path().starts_with(path.as_str()));
        let fitting: Vec<String> = fitting
            .map(|(_, name, value)| format!("{name}={value}"))
            .collect();
        request = request.header("cookie", fitting.join("; "));
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let mut parts = cookie.to_str().unwrap().split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let path = parts
                .find_map(|part| part.strip_prefix("path="))
                .unwrap_or("/");
            self.cookies
                .retain(|(at, old, _)| (at.as_str(), old.as_str()) != (path, name));
            if !value.is_empty() {
                self.cookies
                    .push((path.to_owned(), name.to_owned(), value.to_owned()));
            }
        }
        let status = response.status().as_u16();
        match response.headers().get(LOCATION) {
            Some(place) => Ok(url.join(place.to_str().unwrap()).unwrap()),
            None => {
                let text = response.text().await.unwrap();
                assert_eq!(status, 200, "{url}: {text}");
                Err(text)
            }
        }
    }

    /// Goes to a URL and on, until it is sent to our own or sees a page: that page's URL and text.
    pub async fn visit(&mut self, start: &Url, form: Option<&str>) -> Result<Url, (Url, String)> {
        let (mut url, mut form) = (start.clone(), form);
        for _ in 0..10 {
            match self.send(&url, form.take()).await {
                Ok(next) if next.host_str() != start.host_str() => return Ok(next),
                Ok(next) => url = next,
                Err(page) => return Err((url, page)),
            }
        }
        panic!("{start} leads nowhere");
    }

    /// Signs out at the provider.
    pub async fn sign_out(&mut self, node: &Node) {
        let end: Url = format!("{}/session/end", node.issuer).parse().unwrap();
        let (at, page) = self.visit(&end, None).await.unwrap_err();
        let action = at.join(between(&page, "action=\"", "\"")).unwrap();
        let xsrf = between(&page, "name=\"xsrf\" value=\"", "\"");
        let form = format!("xsrf={xsrf}&logout=yes");
        self.visit(&action, Some(&form)).await.unwrap_err();
    }

    /// Signs somebody in and agrees to everything, until it is sent to our own URL.
    pub async fn sign_in(&mut self, start: &Url, login: &str) -> Url {
        let mut at = self.visit(start, None).await;
        for _ in 0..4 {
            let (url, page) = match at {
                Ok(back) => return back,
                Err(page) => page,
            };
            let action = between(&page, "action=\"", "\"");
            let prompt = between(&page, "name=\"prompt\" value=\"", "\"");
            let form = format!("prompt={prompt}&login={login}&password=any");
            at = self.visit(&url.join(action).unwrap(), Some(&form)).await;
        }
        panic!("{start} asks without end");
    }
}

/// What stands between two texts that are there.
pub fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("{before} in {text}"));
    rest.split_once(after).unwrap().0
}

fn fresh() -> Seeds {
    let mut seeds = seeds(0);
    for seed in [&mut seeds.state, &mut seeds.nonce, &mut seeds.verifier] {
        getrandom::fill(seed).unwrap();
    }
    seeds
}

/// Why a sign-in came to nothing.
fn word<T>(result: Result<T, OidcRefusal>) -> Result<T, &'static str> {
    result.map_err(|refused| refused.name())
}

async fn provider(outside: &Outside, oidc: &Oidc) -> Provider {
    let url = well_known(&oidc.issuer, Plain::OnLoopback).unwrap();
    let document = outside.document(&url, Instant::now()).await.unwrap();
    Provider::read(&oidc.issuer, &document, Plain::OnLoopback).unwrap()
}

/// All that happens when a browser is back, as the edge does it.
async fn finish(
    outside: &Outside,
    oidc: &Oidc,
    pending: &Pending,
    query: &str,
    now: Instant,
) -> Result<Proof, &'static str> {
    let provider = provider(outside, oidc).await;
    let callback = word(Callback::read(query))?;
    assert_eq!(callback.key(), pending.key());
    let code = word(pending.accept((oidc, &provider), &callback, Utc::now()))?;
    let request = word(redeem((oidc, &provider), pending, &code))?;
    let answer = outside
        .post(
            &request.url,
            request.authorization.as_deref(),
            &request.form,
        )
        .await
        .map_err(|why| why.name())?;
    let grant = word(Grant::read(answer.status, &answer.body))?;
    let keys = outside.document(provider.keys(), now).await.unwrap();
    let keys = word(KeySet::read(&keys))?;
    let verified = match verify(&grant, pending, oidc, &keys, Utc::now()) {
        Err(OidcRefusal::UnknownKey(kid)) => {
            let again = outside.document_again(provider.keys(), now).await;
            let Some(keys) = again.map_err(|why| why.name())? else {
                return word(Err(OidcRefusal::UnknownKey(kid)));
            };
            verify(
                &grant,
                pending,
                oidc,
                &word(KeySet::read(&keys))?,
                Utc::now(),
            )
        }
        verified => verified,
    };
    let mut identity = word(verified)?;
    if identity.lacks(oidc)
        && let Some(url) = provider.userinfo()
    {
        let answer = outside
            .get(url, Some(&grant.authorization()))
            .await
            .unwrap();
        identity = word(identity.with_userinfo(answer.status, &answer.media, &answer.body))?;
    }
    word(identity.proof(oidc))
}

fn client(node: &Node, id: &str, secret: bool) -> Oidc {
    Oidc {
        issuer: node.issuer.clone(),
        client_id: id.to_owned(),
        client_secret: secret.then(|| ClientSecret::new("a secret: with % and + in it".to_owned())),
        scopes: ["email", "profile", "groups"].map(str::to_owned).into(),
        groups_claim: Some("groups".to_owned()),
        hosted_domain: None,
    }
}

#[tokio::test]
async fn somebody_signs_in_at_a_provider_that_nobody_here_wrote() {
    let node = Node::start("http://127.0.0.1:9/logout", NOWHERE);
    let outside = world::outside(None, None, true);
    for (id, secret) in [
        ("basic-rs256", true),
        ("post-ps256", true),
        ("public-es256", false),
        ("basic-eddsa", true),
    ] {
        let oidc = client(&node, id, secret);
        let found = provider(&outside, &oidc).await;
        let hint = Some("jane@example.com");
        let (url, pending) = begin((&oidc, &found), &redirect_uri(), hint, &fresh(), Utc::now());
        let back = Browser::new().sign_in(&url, "jane").await;
        assert_eq!(parameter(&back, "iss"), node.issuer);
        let query = back.query().unwrap();
        let proof = finish(&outside, &oidc, &pending, query, Instant::now()).await;
        let proof = proof.unwrap_or_else(|why| panic!("{id}: {why}"));
        assert_eq!(proof.subject, format!("{} jane", node.issuer));
        assert_eq!(proof.email.as_deref(), Some("jane@example.com"));
        assert!(proof.email_verified);
        assert_eq!(proof.name.as_deref(), Some("The one called jane"));
        assert_eq!(proof.groups, ["staff", "finance"]);
        // A code is good once, for whoever has the verifier.
        let again = finish(&outside, &oidc, &pending, query, Instant::now()).await;
        assert_eq!(again.unwrap_err(), "token_declined", "{id}");
    }
}

#[tokio::test]
async fn a_provider_that_nobody_here_wrote_holds_us_to_secret_and_verifier() {
    let node = Node::start("http://127.0.0.1:9/logout", NOWHERE);
    let outside = world::outside(None, None, true);
    let mut oidc = client(&node, "basic-rs256", true);
    let found = provider(&outside, &oidc).await;
    let (url, pending) = begin((&oidc, &found), &redirect_uri(), None, &fresh(), Utc::now());
    let back = Browser::new().sign_in(&url, "jane").await;
    // Another sign-in's verifier: whoever has only the code has nothing.
    let mut other = serde_json::to_value(&pending).unwrap();
    other["verifier"] = json!("x".repeat(43));
    let other: Pending = serde_json::from_value(other).unwrap();
    let query = back.query().unwrap();
    let refused = finish(&outside, &oidc, &other, query, Instant::now()).await;
    assert_eq!(refused.unwrap_err(), "token_declined");
    oidc.client_secret = Some(ClientSecret::new("another".to_owned()));
    let (url, pending) = begin((&oidc, &found), &redirect_uri(), None, &fresh(), Utc::now());
    let back = Browser::new().sign_in(&url, "jane").await;
    let refused = finish(
        &outside,
        &oidc,
        &pending,
        back.query().unwrap(),
        Instant::now(),
    )
    .await;
    assert_eq!(refused.unwrap_err(), "token_declined");
    // And a callback of somebody else's sign-in is none of this one.
    let (_, mine) = begin((&oidc, &found), &redirect_uri(), None, &fresh(), Utc::now());
    let callback = Callback::read(back.query().unwrap()).unwrap();
    let refused = mine.accept((&oidc, &found), &callback, Utc::now());
    assert_eq!(refused.unwrap_err().name(), "state");
}

#[tokio::test]
async fn a_provider_that_nobody_here_wrote_ends_our_session() {
    let received = Server::serve(None, |_| world::answer("200 OK", "", b"")).await;
    let node = Node::start(&format!("http://{}/logout", received.at), NOWHERE);
    let outside = world::outside(None, None, true);
    let oidc = client(&node, "basic-rs256", true);
    let found = provider(&outside, &oidc).await;
    let (url, pending) = begin((&oidc, &found), &redirect_uri(), None, &fresh(), Utc::now());
    let mut browser = Browser::new();
    let back = browser.sign_in(&url, "jane").await;
    let query = back.query().unwrap();
    let proof = finish(&outside, &oidc, &pending, query, Instant::now())
        .await
        .unwrap();
    assert!(proof.provider_session.is_some());

    browser.sign_out(&node).await;

    // It sends the token before it answers the browser.
    let heads = received.heads.lock().unwrap().clone();
    let [request] = heads.as_slice() else {
        panic!("{heads:?}");
    };
    let (_, token) = request.split_once("logout_token=").unwrap();
    let keys = outside
        .document(found.keys(), Instant::now())
        .await
        .unwrap();
    let keys = KeySet::read(&keys).unwrap();
    let ended = logout::verify(token, &oidc, &keys, Utc::now()).unwrap();
    assert_eq!(ended.provider_session, proof.provider_session);
    assert!(ended.subject.is_none_or(|subject| subject == proof.subject));
}

/// A provider of ours: what it publishes, and what its token endpoint hands out.
struct Ours {
    keys: Mutex<Value>,
    token: Mutex<String>,
}

#[tokio::test]
async fn a_key_that_is_new_is_fetched_once_and_one_that_is_invented_is_not() {
    let authority = Authority::new();
    let ours = Arc::new(Ours {
        keys: Mutex::default(),
        token: Mutex::default(),
    });
    let names = Names::serve(&[("idp.test", Told::Addresses(vec![[127, 0, 0, 1].into()]))]).await;
    let issuer = Arc::new(Mutex::new(String::new()));
    let (said, named) = (Arc::clone(&ours), Arc::clone(&issuer));
    let server = Server::serve(Some(authority.server(&["idp.test"], 2100)), move |path| {
        let issuer = named.lock().unwrap();
        let text = match path {
            "/jwks" => said.keys.lock().unwrap().to_string(),
            "/token" => {
                let token = said.token.lock().unwrap();
                json!({"access_token": ACCESS, "token_type": "Bearer", "id_token": *token})
                    .to_string()
            }
            _ => json!({
                "issuer": *issuer, "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
            })
            .to_string(),
        };
        world::json(&text)
    })
    .await;
    *issuer.lock().unwrap() = server
        .url("idp.test", "")
        .as_str()
        .trim_end_matches('/')
        .to_owned();
    let outside = world::outside(Some(&authority), Some(&names), true);
    let mut oidc = connection();
    oidc.issuer = issuer.lock().unwrap().clone();
    oidc.groups_claim = None;
    let found = provider(&outside, &oidc).await;
    let (keys, next) = (Keys::fresh(), Key::rsa());
    let begun = Instant::now();

    let sign_in = async |key: &Key, kid: &str, after: u64| {
        let (url, pending) = begin((&oidc, &found), &redirect_uri(), None, &fresh(), Utc::now());
        let now = Utc::now().timestamp();
        let mut token = Token::of(
            &keys,
            json!({
                "iss": oidc.issuer, "aud": oidc.client_id, "sub": "jane", "iat": now, "exp": now + 60,
                "nonce": parameter(&url, "nonce"), "email": "jane@example.com", "name": "Jane",
            }),
        );
        token.key = key;
        token.say("kid", json!(kid));
        *ours.token.lock().unwrap() = token.sign();
        let query = format!("code=abc&state={}", parameter(&url, "state"));
        let at = begun + Duration::from_secs(after);
        finish(&outside, &oidc, &pending, &query, at)
            .await
            .map(|proof| proof.subject)
    };
    let fetched = || {
        let heads = server.heads.lock().unwrap();
        heads
            .iter()
            .filter(|head| head.contains("get /jwks"))
            .count()
    };
    let jane = Ok(format!("{} jane", oidc.issuer));
    *ours.keys.lock().unwrap() = json!({"keys": [keys.rsa.named("2030", &json!({}))]});
    assert_eq!(sign_in(&keys.rsa, "2030", 0).await, jane);
    assert_eq!(sign_in(&keys.rsa, "2030", 70).await, jane);
    assert_eq!(fetched(), 1);
    // The provider has changed its keys, and the set that is kept is young.
    *ours.keys.lock().unwrap() = json!({"keys": [next.named("2031", &json!({}))]});
    assert_eq!(sign_in(&next, "2031", 71).await, jane);
    assert_eq!(fetched(), 2);
    assert_eq!(sign_in(&keys.rsa, "2030", 72).await, Err("unknown_key"));
    // Invented keys make nobody fetch more than once a minute.
    for _ in 0..5 {
        assert_eq!(
            sign_in(&keys.stranger, "invented", 73).await,
            Err("unknown_key")
        );
    }
    assert_eq!(fetched(), 2);
    assert_eq!(
        sign_in(&keys.stranger, "invented", 131).await,
        Err("unknown_key")
    );
    assert_eq!(fetched(), 3);
    assert_eq!(sign_in(&keys.stranger, "2031", 140).await, Err("signature"));
}
