//! The service in this process, organizations in it, and one call at a time.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, Response};
use axum_server::tls::TlsInfo;
use cedarkeep::app::{App, AppError};
use cedarkeep::authn::api_key::{ApiKey, Environment};
use cedarkeep::config::{Config, Database};
use cedarkeep::crypto;
use cedarkeep::decide::Door;
use cedarkeep::directory::object::{Plan, Role, Scope};
use cedarkeep::directory::organization::{self, Founding};
use cedarkeep::directory::people::{self, Joining};
use cedarkeep::directory::service::{self, NewKey, Speaker};
use cedarkeep::directory::{Kind, Ref};
use cedarkeep::http;
use cedarkeep::http::serve::Peer;
use chrono::Utc;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::documented;

/// The service.
pub struct Service {
    app: Arc<App>,
    routes: Router,
    dir: Option<Arc<TempDir>>,
}

/// An organization with somebody in each role, and a key with every scope.
pub struct Tenant {
    pub door: Arc<Door>,
    pub org: Ref,
    pub everybody: Ref,
    pub admin: Ref,
    pub member: Ref,
    pub viewer: Ref,
    pub key: String,
}

/// What was answered.
#[derive(Debug)]
pub struct Told {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub bytes: Vec<u8>,
}

impl Told {
    pub fn id(&self) -> String {
        assert_eq!(self.status, 201, "{}", self.body);
        let id = self.body["id"].as_str().unwrap().to_owned();
        assert!(self.headers["location"].to_str().unwrap().ends_with(&id));
        id
    }

    /// The identifier of what waits for somebody.
    pub fn waits(&self) -> String {
        assert_eq!(self.status, 202, "{}", self.body);
        let id = self.body["id"].as_str().unwrap().to_owned();
        assert!(self.headers["location"].to_str().unwrap().ends_with(&id));
        id
    }

    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    pub fn is_problem(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        self.body["detail"].as_str().unwrap()
    }
}

/// One call.
pub struct Ask<'a> {
    service: &'a Service,
    request: axum::http::request::Builder,
    body: Option<Body>,
    /// The body where it is JSON, to be held to the document.
    json: Option<Vec<u8>>,
    peer: Peer,
    shown: Option<Vec<u8>>,
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// From there, and not from this machine.
    pub fn from(mut self, peer: Peer) -> Self {
        self.peer = peer;
        self
    }

    /// Over a connection that began with this certificate.
    pub fn shown(mut self, certificate: &[u8]) -> Self {
        self.shown = Some(certificate.to_vec());
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub fn user(self, user: Ref) -> Self {
        self.header("cedarkeep-acting-user", &user.to_string())
    }

    pub fn body(self, body: &Value) -> Self {
        self.raw(body.to_string().into_bytes())
    }

    pub fn raw(self, body: Vec<u8>) -> Self {
        let json = Some(body.clone());
        Self {
            json,
            ..self.content("application/json", body)
        }
    }

    /// With content of this media type.
    pub fn content(self, media_type: &str, body: impl Into<Body>) -> Self {
        let with = self.header("content-type", media_type);
        Self {
            body: Some(body.into()),
            ..with
        }
    }

    /// What is answered piece by piece; it may never end.
    pub async fn stream(self) -> (u16, axum::body::BodyDataStream) {
        let response = self.answer().await;
        (
            response.status().as_u16(),
            response.into_body().into_data_stream(),
        )
    }

    pub async fn send(mut self) -> Told {
        let sent = self.json.take();
        let method = self.request.method_ref().unwrap().as_str().to_owned();
        let path = self.request.uri_ref().unwrap().path().to_owned();
        let (parts, body) = self.answer().await.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let media_type = parts.headers.get("content-type");
        let media_type = media_type.map(|value| value.to_str().unwrap());
        let answered = (parts.status.as_u16(), media_type, &body);
        documented::hold(&method, &path, sent.as_deref(), answered);
        Told {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            bytes,
        }
    }

    /// The status, and the body if it ends as a body should.
    pub async fn streamed(self) -> (u16, Result<Vec<u8>, axum::Error>) {
        let (parts, body) = self.answer().await.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.map(|bytes| bytes.to_vec());
        (parts.status.as_u16(), bytes)
    }

    async fn answer(self) -> Response<Body> {
        let body = self.body.unwrap_or_else(Body::empty);
        let mut request: Request<Body> = self.request.body(body).unwrap();
        request.extensions_mut().insert(ConnectInfo(self.peer));
        if let Some(certificate) = self.shown {
            let mut shown = TlsInfo::default();
            shown.peer_certificates.push(certificate);
            request.extensions_mut().insert(Arc::new(shown));
        }
        self.service.routes.clone().oneshot(request).await.unwrap()
    }
}

impl Service {
    pub async fn open() -> Self {
        Self::on(Database::Sqlite).await
    }

    /// The service on that database.
    pub async fn on(database: Database) -> Self {
        Self::with(database, App::open).await
    }

    /// The same, without the upkeep of its logs: nothing happens but what a test does.
    pub async fn still(database: Database) -> Self {
        Self::with(database, App::visit).await
    }

    /// The service on that database, where an answer may take as long as a busy machine needs.
    pub async fn patient(database: Database) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Self::settings(database, &dir);
        config.log.commit_timeout_ms = 60_000;
        Self::of_app(App::open(config).await.unwrap()).keeping(dir)
    }

    /// The service on that database, without upkeep, which holds nothing in memory that may lie elsewhere.
    pub async fn without_memory(database: Database) -> Self {
        let open = async |mut config: Config| {
            config.tenants.memory_mib = 0;
            App::visit(config).await
        };
        Self::with(database, open).await
    }

    /// The service without upkeep, which keeps so many organizations open at once.
    pub async fn narrow(open: usize) -> Self {
        let narrow = async |mut config: Config| {
            config.tenants.open_max = open;
            App::visit(config).await
        };
        Self::with(Database::Sqlite, narrow).await
    }

    /// The service with room for so many to wait for each log.
    pub async fn crowded(waiting: usize) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Self::settings(Database::Sqlite, &dir);
        config.log.queue = waiting;
        config.log.commit_timeout_ms = 60_000;
        Self::of_app(App::open(config).await.unwrap()).keeping(dir)
    }

    async fn with(
        database: Database,
        open: impl AsyncFnOnce(Config) -> Result<Arc<App>, AppError>,
    ) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let config = Self::settings(database, &dir);
        Self::of_app(open(config).await.unwrap()).keeping(dir)
    }

    fn settings(database: Database, dir: &TempDir) -> Config {
        let mut config = Config::default();
        config.data.dir = dir.path().to_owned();
        config.data.database = database;
        config
    }

    /// The folder stays for as long as this is there.
    fn keeping(self, dir: Arc<TempDir>) -> Self {
        Self {
            dir: Some(dir),
            ..self
        }
    }

    /// The service on what is there, which outlives it; nothing happens but what a test does.
    pub async fn of(config: Config) -> Self {
        Self::of_app(App::visit(config).await.unwrap())
    }

    fn of_app(app: Arc<App>) -> Self {
        let counts = PrometheusBuilder::new().build_recorder().handle();
        let routes = http::router(Arc::clone(&app), counts);
        Self {
            app,
            routes,
            dir: None,
        }
    }

    /// Another node of the same deployment, with routes of its own.
    pub async fn beside(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            ..Self::of_app(self.second_node().await)
        }
    }

    /// Another node of the same deployment, set otherwise.
    pub async fn beside_with(&self, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.app.config().clone();
        set(&mut config);
        Self {
            dir: self.dir.clone(),
            ..Self::of_app(App::open(config).await.unwrap())
        }
    }

    /// A connection of one's own to the control database.
    pub async fn control(&self) -> sqlx::AnyConnection {
        use sqlx::Connection as _;
        let url = match &self.app.config().data.database {
            Database::Sqlite => {
                let file = self.app.config().data.dir.join("control.db");
                format!("sqlite://{}", file.display())
            }
            Database::Postgres(url) => url.clone(),
        };
        sqlx::any::install_default_drivers();
        sqlx::AnyConnection::connect(&url).await.unwrap()
    }

    /// Its routes, for a listener.
    pub fn routes(&self) -> Router {
        self.routes.clone()
    }

    /// The service itself.
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// A connection of one's own to an organization's database, past everything that guards it.
    pub async fn database(&self, tenant: &Tenant) -> sqlx::AnyConnection {
        use sqlx::Connection as _;
        let url = match &self.app.config().data.database {
            Database::Sqlite => format!("sqlite://{}", self.file(tenant).display()),
            Database::Postgres(url) => {
                let id = tenant.door.store().id().to_string();
                let name = format!("cedarkeep_{}", id.split_once('_').unwrap().1);
                url.replacen("/postgres?", &format!("/{name}?"), 1)
            }
        };
        sqlx::any::install_default_drivers();
        sqlx::AnyConnection::connect(&url).await.unwrap()
    }

    /// Where the mark of an organization's log lies.
    pub fn mark(&self, tenant: &Tenant) -> PathBuf {
        let name = format!("marks/{}.checkpoint", tenant.door.store().id());
        self.app.config().data.dir.join(name)
    }

    /// An organization's database on SQLite.
    pub fn file(&self, tenant: &Tenant) -> PathBuf {
        let name = format!("tenants/{}.db", tenant.door.store().id());
        self.app.config().data.dir.join(name)
    }

    /// Where an organization's long content lies on SQLite.
    pub fn shelf(&self, tenant: &Tenant) -> PathBuf {
        let name = format!("content/{}", tenant.door.store().id());
        self.app.config().data.dir.join(name)
    }

    /// Another node of the same deployment.
    pub async fn second_node(&self) -> Arc<App> {
        App::open(self.app.config().clone()).await.unwrap()
    }

    pub async fn tenant(&self, slug: &str) -> Tenant {
        let created = self
            .app
            .control()
            .create(&slug.parse().unwrap(), Utc::now())
            .await
            .unwrap();
        let id = created.id;
        let org = Ref::new(Kind::Organization, *id.bytes());
        let door = self.app.found(created).await.unwrap();
        let founding = Founding {
            name: slug.to_owned(),
            plan: Plan::Enterprise,
        };
        let group = crypto::random().unwrap();
        door.operate(move |by, _| organization::found(by, org, &founding, group))
            .await
            .unwrap();
        door.close().await;
        self.app.control().mark_ready(id).await.unwrap();
        let door = self.app.door(id).await.unwrap();
        let everybody = Ref::new(Kind::Group, group);
        let admin = joined(&door, "ada", Role::Admin).await;
        let member = joined(&door, "mia", Role::Member).await;
        let viewer = joined(&door, "vic", Role::Viewer).await;
        let key = key(&door, Scope::ALL).await;
        Tenant {
            door,
            org,
            everybody,
            admin,
            member,
            viewer,
            key,
        }
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        Ask {
            service: self,
            request: Request::builder().method(method).uri(path),
            body: None,
            json: None,
            peer: Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], 4000))),
            shown: None,
        }
    }

    /// A call with the key that has every scope.
    pub fn by<'a>(&'a self, tenant: &Tenant, user: Ref, method: &str, path: &str) -> Ask<'a> {
        self.ask(method, path).key(&tenant.key).user(user)
    }

    pub async fn post(&self, tenant: &Tenant, user: Ref, path: &str, body: Value) -> Told {
        self.by(tenant, user, "POST", path).body(&body).send().await
    }

    pub async fn get(&self, tenant: &Tenant, user: Ref, path: &str) -> Told {
        self.by(tenant, user, "GET", path).send().await
    }

    pub async fn patch(&self, tenant: &Tenant, user: Ref, path: &str, body: Value) -> Told {
        self.by(tenant, user, "PATCH", path)
            .body(&body)
            .send()
            .await
    }

    pub async fn delete(&self, tenant: &Tenant, user: Ref, path: &str) -> Told {
        self.by(tenant, user, "DELETE", path).send().await
    }

    /// Something of each kind, made over HTTP.
    pub async fn things(&self, tenant: &Tenant) -> Things {
        let (by, group) = (tenant.admin, tenant.everybody.to_string());
        let make = async |path: &str, body: Value| self.post(tenant, by, path, body).await.id();
        let user = make(
            "/v1/users",
            json!({"name": "Ned", "email": "ned@example.com", "role": "Member"}),
        )
        .await;
        let team = make("/v1/teams", json!({"name": "Research"})).await;
        let project = make("/v1/projects", json!({"name": "Launch", "parent": team})).await;
        let thread = make("/v1/threads", json!({"name": "Plan", "audience": group})).await;
        let document = make("/v1/documents", json!({"name": "Budget", "parent": thread})).await;
        let template = make(
            "/v1/prompt-templates",
            json!({"name": "Summary", "audience": group}),
        )
        .await;
        let tool = make(
            "/v1/tools",
            json!({"name": "Calculator", "audience": group}),
        )
        .await;
        let assistant = make(
            "/v1/assistants",
            json!({"name": "Reader", "audience": group}),
        )
        .await;
        let agent = make("/v1/agents", json!({"name": "Runner", "audience": group})).await;
        let memory = make(
            "/v1/memory",
            json!({"name": "Terms", "layer": "organization"}),
        )
        .await;
        let integration = make(
            "/v1/integrations",
            json!({"name": "Calendar", "provider": "calendar"}),
        )
        .await;
        let run = self.by(tenant, by, "POST", &format!("/v1/agents/{agent}/runs"));
        let run = run.send().await.id();
        let share = json!({"resource": thread, "grantee": tenant.viewer, "level": "viewer"});
        let share = make("/v1/shares", share).await;
        let key = make("/v1/api-keys", json!({"name": "nightly"})).await;
        let invitation = json!({"email": "ivy@example.com", "role": "Member"});
        let invitation = make("/v1/invitations", invitation).await;
        let request = json!({"resource": thread, "level": "editor", "reason": "to answer"});
        let request = self.post(tenant, tenant.member, "/v1/access-requests", request);
        let request = request.await.waits();
        Things {
            user,
            team,
            project,
            thread,
            document,
            template,
            tool,
            assistant,
            agent,
            run,
            memory,
            integration,
            share,
            key,
            invitation,
            request,
        }
    }
}

/// One of each.
pub struct Things {
    pub user: String,
    pub team: String,
    pub project: String,
    pub thread: String,
    pub document: String,
    pub template: String,
    pub tool: String,
    pub assistant: String,
    pub agent: String,
    pub run: String,
    pub memory: String,
    pub integration: String,
    pub share: String,
    pub key: String,
    pub invitation: String,
    pub request: String,
}

async fn joined(door: &Door, name: &str, role: Role) -> Ref {
    let id = crypto::random().unwrap();
    let joining = Joining {
        id,
        name: name.into(),
        email: format!("{name}@example.com"),
        role,
    };
    door.operate(move |by, snapshot| people::join_by_operator(by, snapshot, &joining))
        .await
        .unwrap();
    Ref::new(Kind::User, id)
}

/// A key with these scopes.
pub async fn key(door: &Door, scopes: &[Scope]) -> String {
    let (id, service) = (crypto::random().unwrap(), crypto::random().unwrap());
    let tenant = *door.store().id().bytes();
    let key = ApiKey::mint(Environment::Live, tenant, id, crypto::random().unwrap());
    let new = NewKey {
        id,
        name: "a test's".into(),
        speaker: Speaker::New {
            id: service,
            scopes: scopes.iter().copied().collect(),
        },
        expires_at: None,
        digest: *key.digest().as_bytes(),
    };
    door.operate(move |by, snapshot| service::create_key_by_operator(by, snapshot, &new))
        .await
        .unwrap();
    key.expose().to_owned()
}
