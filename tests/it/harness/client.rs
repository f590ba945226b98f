//! A client as others have it: it trusts the deployment's CA and speaks AuthZEN.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

/// Longer than an answer may take; a client that waits so long reports a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection to the service, with at most one API key.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, to the byte.
    pub body: String,
    /// From the first byte sent to the last received.
    pub took: Duration,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.body))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Client {
    /// A client of the service at this port of the machine.
    pub fn new(ca: &Path, port: u16, key: &str) -> Self {
        // A second call finds it installed, which is just as good.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let pem = std::fs::read(ca).unwrap_or_else(|error| panic!("{}: {error}", ca.display()));
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
            .no_proxy()
            .http1_only()
            .pool_max_idle_per_host(1)
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self {
            http,
            base: format!("https://localhost:{port}"),
            key: key.to_owned(),
        }
    }

    /// Sends a request with these headers beside the credential.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if !self.key.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.key));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let start = Instant::now();
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await?;
        Ok(Answer {
            status,
            headers,
            body,
            took: start.elapsed(),
        })
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> Result<Answer, reqwest::Error> {
        self.send(Method::GET, path, &[], None).await
    }

    /// A POST of JSON as it is meant to be.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        self.post_bytes(path, body.to_string().into_bytes()).await
    }

    /// A POST of bytes that say that they are JSON.
    pub async fn post_bytes(&self, path: &str, body: Vec<u8>) -> Result<Answer, reqwest::Error> {
        self.send(
            Method::POST,
            path,
            &[(CONTENT_TYPE.as_str(), "application/json")],
            Some(body),
        )
        .await
    }

    /// Asks one question.
    pub async fn evaluate(&self, question: &Value) -> Result<Answer, reqwest::Error> {
        self.post("/access/v1/evaluation", question).await
    }

    /// Asks one question, and why and where it is recorded.
    pub async fn explain(&self, question: &Value) -> Result<Answer, reqwest::Error> {
        let headers = [
            (CONTENT_TYPE.as_str(), "application/json"),
            ("Cedarkeep-Explain", "true"),
        ];
        self.send(
            Method::POST,
            "/access/v1/evaluation",
            &headers,
            Some(question.to_string().into_bytes()),
        )
        .await
    }

    /// Asks a batch.
    pub async fn evaluations(&self, batch: &Value) -> Result<Answer, reqwest::Error> {
        self.post("/access/v1/evaluations", batch).await
    }

    /// Asks one question that must be answered: the decision.
    pub async fn decision(&self, question: &Value) -> bool {
        let answer = self.evaluate(question).await.unwrap();
        assert_eq!(answer.status, 200, "{question}: {}", answer.body);
        answer.json()["decision"].as_bool().unwrap()
    }
}

/// The editor of the todo scenario, by id and e-mail address.
pub const MORTY: (&str, &str) = (
    "CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs",
    "morty@the-citadel.com",
);

/// Whether the editor of the todo scenario may change this todo: it is allowed when it is their own.
pub fn may_morty_change(todo: &str, own: bool) -> Value {
    let owner = if own { MORTY.1 } else { "rick@the-citadel.com" };
    json!({
        "subject": {"type": "user", "id": MORTY.0},
        "action": {"name": "can_update_todo"},
        "resource": {"type": "todo", "id": todo, "properties": {"ownerID": owner}},
    })
}
