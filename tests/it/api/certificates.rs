//! Client certificates of services, from a handshake to an entry: whose they are, whose they are not, and how they end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cedarkeep::directory::object::Scope;
use cedarkeep::http::serve::{Listen, Serving};
use cedarkeep::http::tls::{Certificates, Look};
use chrono::{Datelike as _, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::harness::{Service, Tenant};
use super::messages::sound;

const CHAT: &str = "spiffe://acme.example/chat";
const PATIENCE: Duration = Duration::from_secs(20);

/// Who issues certificates to back ends.
struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Shown {
    pem: String,
    der: Vec<u8>,
}

impl Ca {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, name);
        params.distinguished_name = subject;
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// A certificate of these names that lasts so many days from now.
    fn issue(&self, uris: &[&str], dns: &[&str], days: i64) -> Shown {
        let key = KeyPair::generate().unwrap();
        let dns: Vec<String> = dns.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(dns).unwrap();
        for uri in uris {
            params
                .subject_alt_names
                .push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let day = |days| {
            let day = Utc::now() + TimeDelta::days(days);
            let (month, date) = (
                day.month().try_into().unwrap(),
                day.day().try_into().unwrap(),
            );
            date_time_ymd(day.year(), month, date)
        };
        params.not_before = day(-10);
        params.not_after = day(days);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Shown {
            pem: format!("{}{}", certificate.pem(), key.serialize_pem()),
            der: certificate.der().to_vec(),
        }
    }
}

/// The service behind TLS that knows one issuer of client certificates.
struct Edge {
    service: Service,
    tenant: Tenant,
    certificates: Certificates,
    address: SocketAddr,
    trusted: PathBuf,
    _stop: oneshot::Sender<()>,
    _serving: JoinHandle<()>,
}

impl Edge {
    async fn open(ca: &Ca) -> Self {
        let service = Service::open().await;
        let tenant = service.tenant("acme").await;
        let mut config = service.app().config().clone();
        let trusted = config.data.dir.join("clients.pem");
        std::fs::write(&trusted, &ca.pem).unwrap();
        config.tls.client_ca = Some(trusted.clone());
        let certificates = Certificates::open(&config, Utc::now()).unwrap();
        let listen = Listen {
            https: SocketAddr::from(([127, 0, 0, 1], 0)),
            unix: None,
            patience: PATIENCE,
            ..Listen::of(&config.http)
        };
        let serving = Serving::start(&listen, certificates.live(), service.routes()).unwrap();
        let address = serving.https();
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async {
            stopped.await.ok();
        };
        let serving = tokio::spawn(async move {
            serving.until(until, PATIENCE).await.unwrap();
        });
        Self {
            service,
            tenant,
            certificates,
            address,
            trusted,
            _stop: stop,
            _serving: serving,
        }
    }

    fn client(&self, shown: Option<&Shown>) -> reqwest::Client {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let ca = std::fs::read(self.certificates.ca().unwrap()).unwrap();
        let builder = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
            .no_proxy()
            .timeout(PATIENCE);
        let builder = match shown {
            Some(shown) => {
                builder.identity(reqwest::Identity::from_pem(shown.pem.as_bytes()).unwrap())
            }
            None => builder,
        };
        builder.build().unwrap()
    }

    fn users(&self, client: &reqwest::Client) -> reqwest::RequestBuilder {
        let url = format!("https://localhost:{}/v1/users", self.address.port());
        client
            .get(url)
            .header("cedarkeep-acting-user", self.tenant.admin.to_string())
    }

    /// What a client is told who names this organization.
    async fn told(&self, client: &reqwest::Client, tenant: &Tenant) -> u16 {
        let asked = self
            .users(client)
            .header("cedarkeep-organization", tenant.org.to_string());
        asked.send().await.unwrap().status().as_u16()
    }

    async fn bind(&self, tenant: &Tenant, name: &str) -> super::harness::Told {
        let body =
            json!({"name": "Chat", "scopes": ["decide", "directory.read"], "certificate": name});
        self.service
            .post(tenant, tenant.admin, "/v1/api-keys", body)
            .await
    }
}

async fn entries(service: &Service, tenant: &Tenant, conditions: &str) -> Vec<Value> {
    let path = format!("/v1/audit/entries?{conditions}&limit=100");
    let told = service.get(tenant, tenant.admin, &path).await.ok();
    let items = told["items"].as_array().unwrap();
    items.iter().map(|item| item["leaf"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_its_services_until_its_binding_ends() {
    let ca = Ca::new("clients");
    let edge = Edge::open(&ca).await;
    let (service, tenant) = (&edge.service, &edge.tenant);
    let other = service.tenant("other").await;
    let client = edge.client(Some(&ca.issue(&[CHAT], &["chat.acme.example"], 10)));
    // Bound nowhere, it opens nothing, and that is recorded.
    assert_eq!(edge.told(&client, tenant).await, 401);
    let bound = edge.bind(tenant, CHAT).await;
    let id = bound.id();
    assert!(bound.body.get("key").is_none());
    assert_eq!(edge.told(&client, tenant).await, 200);
    let question = json!({
        "subject": {"type": "User", "id": tenant.admin.to_string()},
        "action": {"name": "member.read"},
        "resource": {"type": "Organization", "id": tenant.org.to_string()},
    });
    let url = format!(
        "https://localhost:{}/access/v1/evaluation",
        edge.address.port()
    );
    let asked = client
        .post(url)
        .header("cedarkeep-organization", tenant.org.to_string());
    let asked = asked
        .header("content-type", "application/json")
        .body(question.to_string());
    let answer: Value = asked.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["decision"], true);
    let decided = entries(service, tenant, "event=decision.made").await;
    let by: Vec<&Value> = decided.iter().map(|leaf| &leaf["caller"]).collect();
    let certified = json!({"type": "client_certificate", "id": id});
    assert!(by.contains(&&certified), "{by:?}");
    // Another organization has not bound it, and no header is no organization.
    assert_eq!(edge.told(&client, &other).await, 401);
    assert_eq!(edge.users(&client).send().await.unwrap().status(), 401);
    // A key counts beside it, and its last use is known as a key's is.
    let keyed = edge
        .users(&client)
        .bearer_auth(&tenant.key)
        .send()
        .await
        .unwrap();
    assert_eq!(keyed.status(), 200);
    let place = format!("/v1/api-keys/{id}");
    let view = service.get(tenant, tenant.admin, &place).await.ok();
    assert_eq!(view["certificate"], CHAT);
    assert!(view["last_used_at"].is_string());
    // Its end counts on the same connection.
    assert_eq!(
        service.delete(tenant, tenant.admin, &place).await.status,
        204
    );
    assert_eq!(edge.told(&client, tenant).await, 401);
    for (tenant, times) in [(tenant, 2), (&other, 1)] {
        let refused = entries(service, tenant, "event=api_key.rejected").await;
        assert_eq!(refused.len(), times);
        assert!(
            refused
                .iter()
                .all(|leaf| leaf["refusal"] == "unknown_credential")
        );
    }
    sound(tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_good_gets_no_connection() {
    let (ca, stranger) = (Ca::new("clients"), Ca::new("strangers"));
    let mut edge = Edge::open(&ca).await;
    edge.bind(&edge.tenant, CHAT).await.id();
    let good = edge.client(Some(&ca.issue(&[CHAT], &[], 10)));
    assert_eq!(edge.told(&good, &edge.tenant).await, 200);
    let (foreign, over) = (stranger.issue(&[CHAT], &[], 10), ca.issue(&[CHAT], &[], -2));
    for shown in [&foreign, &over] {
        let asked = edge.users(&edge.client(Some(shown)));
        let org = edge.tenant.org.to_string();
        let refused = asked.header("cedarkeep-organization", org).send().await;
        assert!(refused.is_err(), "{refused:?}");
    }
    // Without one there is a connection, and nothing to go by.
    assert_eq!(edge.told(&edge.client(None), &edge.tenant).await, 401);
    // Another issuer is trusted while the service runs, and the one before is not any more.
    std::fs::write(&edge.trusted, &stranger.pem).unwrap();
    assert!(matches!(edge.certificates.look(), Look::Replaced));
    assert_eq!(
        edge.told(&edge.client(Some(&foreign)), &edge.tenant).await,
        200
    );
    let asked = edge.users(&edge.client(Some(&ca.issue(&[CHAT], &[], 10))));
    assert!(asked.send().await.is_err());
    // A file that holds none keeps the last that did.
    std::fs::write(&edge.trusted, "nothing").unwrap();
    assert!(matches!(edge.certificates.look(), Look::Kept(_)));
    assert_eq!(
        edge.told(&edge.client(Some(&foreign)), &edge.tenant).await,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_outlasts_its_certificate_opens_nothing() {
    let ca = Ca::new("clients");
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let body =
        json!({"name": "Chat", "scopes": ["directory.read"], "certificate": "Chat.Acme.Example"});
    let bound = service
        .post(&tenant, tenant.admin, "/v1/api-keys", body)
        .await;
    assert_eq!(bound.body["certificate"], "chat.acme.example");
    let told = |shown: Vec<u8>, org: String| {
        let asked = service
            .ask("GET", "/v1/users")
            .user(tenant.admin)
            .shown(&shown);
        asked.header("cedarkeep-organization", &org).send()
    };
    let org = tenant.org.to_string();
    let (now, before) = (
        ca.issue(&[], &["chat.acme.example"], 10).der,
        ca.issue(&[], &["chat.acme.example"], -2).der,
    );
    assert_eq!(told(now.clone(), org.clone()).await.status, 200);
    assert_eq!(told(before, org.clone()).await.status, 401);
    let refused = entries(&service, &tenant, "event=api_key.rejected").await;
    assert_eq!(refused[0]["refusal"], "expired");
    // What is no organization's identifier is said, and nothing that is no certificate counts.
    told(now, "acme".into()).await.is_problem(400);
    told(vec![1, 2, 3], org.clone()).await.is_problem(401);
    // One that is two services' says nothing.
    let second =
        json!({"name": "Mail", "scopes": ["directory.read"], "certificate": "mail.acme.example"});
    service
        .post(&tenant, tenant.admin, "/v1/api-keys", second)
        .await
        .id();
    let both = ca
        .issue(&[], &["chat.acme.example", "mail.acme.example"], 10)
        .der;
    told(both, org).await.is_problem(401);
    sound(&tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_bound_once_and_is_whole() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let bind = |name: &str| {
        let body = json!({"name": "Chat", "certificate": name});
        service.post(&tenant, tenant.admin, "/v1/api-keys", body)
    };
    let id = bind(CHAT).await.id();
    bind(CHAT).await.is_problem(409);
    for wrong in [
        "",
        "chat",
        "*.acme.example",
        "a b.example",
        "://x",
        "spiffe://",
        "-a.example",
        "a..b",
    ] {
        bind(wrong).await.is_problem(400);
    }
    // Certificates are replaced where they are issued.
    let rotation = format!("/v1/api-keys/{id}/rotation");
    service
        .post(&tenant, tenant.admin, &rotation, json!({}))
        .await
        .is_problem(400);
    // It is one credential of a service beside its keys.
    let read = service
        .get(&tenant, tenant.admin, &format!("/v1/api-keys/{id}"))
        .await
        .ok();
    for _ in 0..2 {
        let body = json!({"name": "Key", "service": read["service"]});
        assert_eq!(
            service
                .post(&tenant, tenant.admin, "/v1/api-keys", body)
                .await
                .status,
            201
        );
    }
    assert_eq!(read["scopes"], json!([Scope::Decide.name()]));
}
