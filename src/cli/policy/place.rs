//! Where an organization's policies are: on this machine, or at a service that is asked over HTTP with an API key.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::app::App;
use crate::cli::org::{door, read};
use crate::cli::print::with_causes;
use crate::cli::{Failed, Outcome};
use crate::decide::{Door, Refused};
use crate::directory::policies::{self, Draft, Files};
use crate::directory::view;
use crate::policy::{Finding, PolicyError};

/// How long a service may take to answer: a large version is announced first.
const PATIENCE: Duration = Duration::from_secs(300);

/// The longest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 64 << 20;

/// Which organization, and where.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct At {
    /// The organization, at this machine: every change is the operator's
    #[arg(long, visible_alias = "operator", value_name = "SLUG", conflicts_with_all = ["server", "key_file", "user", "ca"])]
    org: Option<String>,
    /// A service, as https://pdp.example.com, asked with the API key in the variable CEDARKEEP_API_KEY; by default the one that the
    /// variable CEDARKEEP_SERVER names, where no `--org` is given
    #[arg(long, value_name = "URL")]
    server: Option<Url>,
    /// A file with the API key, in place of the variable
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The user on whose behalf the service is asked: the key and they must both be allowed; by default the one in CEDARKEEP_ACTING_USER
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// A file of certificates to trust beside the system's; by default the one that CEDARKEEP_CA names
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl At {
    /// Whether it needs nothing of this machine.
    pub(super) const fn is_elsewhere(&self) -> bool {
        self.org.is_none()
    }

    /// A service elsewhere.
    pub(super) fn elsewhere(&self) -> Result<Place, Failed> {
        let server = match (&self.server, variable("CEDARKEEP_SERVER")) {
            (Some(server), _) => server.clone(),
            (None, Some(named)) => {
                let server = Url::parse(&named);
                server
                    .map_err(|error| format!("the variable CEDARKEEP_SERVER is no URL: {error}"))?
            }
            (None, None) => {
                return Err("say where: `--org SLUG` for an organization at this machine, or `--server URL` for a service".into());
            }
        };
        let key = match &self.key_file {
            Some(file) => read(file)?.trim().to_owned(),
            None => variable("CEDARKEEP_API_KEY").ok_or(
                "the service wants an API key: put it into the variable CEDARKEEP_API_KEY, or name a file with `--key-file`"
            )?,
        };
        let user = self
            .user
            .clone()
            .or_else(|| variable("CEDARKEEP_ACTING_USER"));
        let ca = self
            .ca
            .clone()
            .or_else(|| variable("CEDARKEEP_CA").map(PathBuf::from));
        Ok(Place::Elsewhere(Service::new(
            server,
            &key,
            user,
            ca.as_ref(),
        )?))
    }

    /// An organization at this machine.
    pub(super) async fn here(&self, app: &Arc<App>) -> Result<Place, Failed> {
        let slug = self.org.as_deref().unwrap_or_default();
        Ok(Place::Here(door(app, slug).await?))
    }
}

/// What a variable says. It is read here and not by `clap`, to which it would be as good as an option: `--org` would then be refused
/// where one is set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where policies are read and changed.
pub(super) enum Place {
    /// At this machine, by the operator.
    Here(Arc<Door>),
    /// At a service.
    Elsewhere(Service),
}

impl Place {
    /// What counts.
    pub(super) async fn active(&self) -> Result<Value, Failed> {
        match self {
            Self::Here(door) => Ok(view::policy_set(door.glance().snapshot())),
            Self::Elsewhere(service) => service.get("/v1/policy-set").await,
        }
    }

    /// A version with its files; what counts where none is said.
    pub(super) async fn files(&self, number: Option<u64>) -> Result<(u64, Files), Failed> {
        let number = match number {
            Some(number) => number,
            None => number_of(&self.active().await?)?,
        };
        match self {
            Self::Here(door) => {
                let world = door.glance();
                let snapshot = world.snapshot();
                if let Some(version) = snapshot.version(number) {
                    return Ok((number, version.files(number)?));
                }
                let library = snapshot.library();
                if library.version == number {
                    let (schema, policies) = (library.schema.clone(), library.policies.clone());
                    return Ok((number, Files::of(schema, policies, Vec::new())?));
                }
                Err(no_version(number))
            }
            Self::Elsewhere(_) if number == 0 => Ok((0, Files::default())),
            Self::Elsewhere(service) => {
                let path = format!("/v1/policy-versions/{number}");
                let shown = service.get(&path).await;
                let shown = shown.map_err(|failed| about(number, failed))?;
                Ok((number, files_of(&shown)?))
            }
        }
    }

    /// All versions, the newest first, without their files.
    pub(super) async fn versions(&self) -> Result<Vec<Value>, Failed> {
        match self {
            Self::Here(door) => {
                let world = door.glance();
                let snapshot = world.snapshot();
                let all = snapshot.versions();
                Ok(all
                    .map(|(number, _)| view::policy_version(snapshot, number))
                    .collect())
            }
            Self::Elsewhere(service) => service.all("/v1/policy-versions").await,
        }
    }

    /// Makes a draft of these.
    pub(super) async fn draft(&self, files: Files, message: String) -> Result<Value, Failed> {
        match self {
            Self::Here(door) => {
                let prepared = door.prepare(&files).await?;
                let trial = door.run_tests(&prepared, &files).await?;
                let draft = Draft::of(files, message).tested(trial.tested, trial.failures);
                let changed = door
                    .operate(move |by, snapshot| policies::draft_by_operator(by, snapshot, &draft))
                    .await?;
                Ok(changed.reply)
            }
            Self::Elsewhere(service) => {
                let mut body = json!({ "message": message });
                view::with_files(&mut body, &files);
                service
                    .send(Method::POST, "/v1/policy-versions", &body)
                    .await
            }
        }
    }

    /// Has a version count. `active`: the one that counts as far as whoever asks knows.
    pub(super) async fn activate(&self, number: u64, active: Option<u64>) -> Result<Value, Failed> {
        match self {
            Self::Here(door) => {
                self.ready(number).await?;
                let changed = door
                    .operate(move |by, snapshot| {
                        policies::activate_by_operator(by, snapshot, number)
                    })
                    .await?;
                Ok(changed.reply)
            }
            Self::Elsewhere(service) => {
                let path = format!("/v1/policy-versions/{number}/activate");
                let body = active.map_or_else(|| json!({}), |active| json!({ "active": active }));
                let sent = service.send(Method::POST, &path, &body).await;
                sent.map_err(|failed| about(number, failed))
            }
        }
    }

    /// Has a version count again.
    pub(super) async fn roll_back(&self, number: u64) -> Result<Value, Failed> {
        match self {
            Self::Here(door) => {
                self.ready(number).await?;
                let changed = door
                    .operate(move |by, snapshot| {
                        policies::roll_back_by_operator(by, snapshot, number)
                    })
                    .await?;
                Ok(changed.reply)
            }
            Self::Elsewhere(service) => {
                let body = json!({ "version": number });
                let path = "/v1/policy-set/rollback";
                let sent = service.send(Method::POST, path, &body).await;
                sent.map_err(|failed| about(number, failed))
            }
        }
    }

    /// Has it compiled before it is waited for, here and on every node.
    async fn ready(&self, number: u64) -> Outcome {
        if let Self::Here(door) = self {
            let (_, files) = self.files(Some(number)).await?;
            if let Some(notice) = door.prepare(&files).await?.notice() {
                door.operate(move |by, snapshot| {
                    policies::announce_by_operator(by, snapshot, number)
                })
                .await?;
                tokio::time::sleep(notice).await;
            }
        }
        Ok(())
    }
}

/// What a service has not, or not for whoever asks.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Absent(String);

/// What a command about a version failed with; of one that is not there, with what lists those that are.
pub(super) fn about(number: u64, failed: Failed) -> Failed {
    match failed.is::<Absent>() {
        true => no_version(number),
        false => failed,
    }
}

pub(super) fn no_version(number: u64) -> Failed {
    format!("there is no version {number}: `cedarkeep policy versions` lists them").into()
}

/// What is wrong in files, where a command failed because of that.
pub(super) fn wrong_files(failed: Failed) -> Result<Vec<Finding>, Failed> {
    let failed = match failed.downcast::<PolicyError>() {
        Ok(error) => match *error {
            PolicyError::Refused(findings) => return Ok(findings),
            other => return Err(other.into()),
        },
        Err(failed) => failed,
    };
    match failed.downcast::<Refused>() {
        Ok(refused) => match *refused {
            Refused::Question(PolicyError::Refused(findings)) => Ok(findings),
            other => Err(other.into()),
        },
        Err(failed) => Err(failed),
    }
}

/// The number that an answer says.
pub(super) fn number_of(shown: &Value) -> Result<u64, Failed> {
    let number = shown.get("version").and_then(Value::as_u64);
    number.ok_or_else(|| "the answer names no version: is this a Cedarkeep service?".into())
}

fn files_of(shown: &Value) -> Result<Files, Failed> {
    let texts = |member: &str| -> Vec<(String, String)> {
        let files = shown.get(member).and_then(Value::as_object);
        let files = files.into_iter().flatten();
        files
            .filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned())))
            .collect()
    };
    let schema = shown.get("schema").and_then(Value::as_str);
    let schema = schema.ok_or("the answer has no schema: is this a Cedarkeep service?")?;
    Ok(Files::of(
        schema.to_owned(),
        texts("policies"),
        texts("tests"),
    )?)
}

/// A service elsewhere.
pub(super) struct Service {
    base: Url,
    http: reqwest::Client,
}

impl Service {
    fn new(
        base: Url,
        key: &str,
        user: Option<String>,
        ca: Option<&PathBuf>,
    ) -> Result<Self, Failed> {
        if base.scheme() != "https" {
            return Err("the service is asked over https alone: its key would be seen".into());
        }
        // The first that is installed stays; all of ours are the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut headers = reqwest::header::HeaderMap::new();
        let mut secret = reqwest::header::HeaderValue::try_from(format!("Bearer {key}"))
            .map_err(|_| "the API key has characters that none has")?;
        secret.set_sensitive(true);
        headers.insert(reqwest::header::AUTHORIZATION, secret);
        if let Some(user) = user {
            let user = reqwest::header::HeaderValue::try_from(user)
                .map_err(|_| "the acting user is no identifier")?;
            headers.insert("cedarkeep-acting-user", user);
        }
        let mut client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .default_headers(headers)
            .user_agent(concat!("cedarkeep/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = ca {
            let text = read(file)?;
            let certificates = reqwest::Certificate::from_pem_bundle(text.as_bytes())?;
            client = client.tls_certs_merge(certificates);
        }
        Ok(Self {
            base,
            http: client.build()?,
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failed> {
        let url = self.base.join(path)?;
        self.told(self.http.get(url)).await
    }

    /// Every item of a list.
    async fn all(&self, path: &str) -> Result<Vec<Value>, Failed> {
        let mut items = Vec::new();
        let mut next = format!("{path}?limit=200");
        loop {
            let mut page = self.get(&next).await?;
            if let Some(more) = page.get_mut("items").and_then(Value::as_array_mut) {
                items.append(more);
            }
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(cursor) => next = format!("{path}?limit=200&cursor={cursor}"),
                None => return Ok(items),
            }
        }
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, Failed> {
        let url = self.base.join(path)?;
        let request = self
            .http
            .request(method, url)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
        self.told(request).await
    }

    /// An answer that comes in lines: each is shown, and the last is given back.
    pub(super) async fn lines(
        &self,
        path: &str,
        body: &Value,
        mut show: impl FnMut(&Value),
    ) -> Result<Value, Failed> {
        let url = self.base.join(path)?;
        let request = self
            .http
            .post(url)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            // It takes as long as it takes, and tells how far it is.
            .timeout(Duration::from_secs(86_400))
            .body(body.to_string());
        let mut answer = request.send().await.map_err(unreached)?;
        if !answer.status().is_success() {
            return Self::read(answer).await;
        }
        let (mut waiting, mut last) = (Vec::<u8>::new(), Value::Null);
        while let Some(chunk) = answer.chunk().await? {
            let mut rest = chunk.as_ref();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let (line, behind) = rest.split_at(end);
                waiting.extend_from_slice(line);
                last = serde_json::from_slice(&std::mem::take(&mut waiting))?;
                show(&last);
                rest = behind.strip_prefix(b"\n").unwrap_or(behind);
            }
            waiting.extend_from_slice(rest);
            if waiting.len() > ANSWER_LIMIT {
                return Err("the service answers with more than anybody reads".into());
            }
        }
        let problem = |member: &str| {
            let said = last.pointer(&format!("/problem/{member}"));
            said.and_then(Value::as_str).map(str::to_owned)
        };
        match (problem("detail"), problem("code").as_deref()) {
            (Some(detail), Some("not_found")) => Err(Absent(detail).into()),
            (Some(detail), _) => Err(detail.into()),
            (None, _) => Ok(last),
        }
    }

    async fn told(&self, request: reqwest::RequestBuilder) -> Result<Value, Failed> {
        Self::read(request.send().await.map_err(unreached)?).await
    }

    async fn read(mut answer: reqwest::Response) -> Result<Value, Failed> {
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_LIMIT {
                return Err("the service answers with more than anybody reads".into());
            }
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(body);
        }
        Err(refusal(status.as_u16(), &body))
    }
}

/// Why a service was not reached, with the next step where its certificate is nobody's that is known here.
fn unreached(error: reqwest::Error) -> Failed {
    let said = with_causes(&error);
    match said.contains("UnknownIssuer") {
        true => format!(
            "{said}; name the CA that has signed the service's certificate with `--ca FILE` or in CEDARKEEP_CA: one that made its own has \
             it in its data directory, as `--ca data/tls/ca.crt`"
        )
        .into(),
        false => error.into(),
    }
}

/// What a service refused, with the places of what is wrong in files.
fn refusal(status: u16, body: &Value) -> Failed {
    let text = |value: &Value, member: &str| {
        let text = value.get(member).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let found = body.get("findings").and_then(Value::as_array);
    let findings: Vec<Finding> = found
        .into_iter()
        .flatten()
        .map(|one| {
            let at = |member: &str| {
                let number = one.get(member).and_then(Value::as_u64);
                number.and_then(|number| usize::try_from(number).ok())
            };
            Finding {
                file: text(one, "file"),
                line: at("line"),
                column: at("column"),
                message: text(one, "message"),
                help: one.get("help").and_then(Value::as_str).map(str::to_owned),
            }
        })
        .collect();
    if !findings.is_empty() {
        return PolicyError::Refused(findings).into();
    }
    match text(body, "detail") {
        detail if detail.is_empty() => format!("the service answered with {status}").into(),
        detail if text(body, "code") == "not_found" => Absent(detail).into(),
        detail => detail.into(),
    }
}
