//! The Cerbos server that npm has, on loopback and HTTPS, with its telemetry and its audit log off.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cedarkeep::config::Config;
use cedarkeep::http::tls::Certificates;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::client::Client;
use crate::scenario::{peer_file, root};

/// Its own way of asking; the other is AuthZEN's.
pub const CHECK: &str = "/api/check/resources";

const PROGRAM: &str = "target/peers/node_modules/@cerbos/cerbos-linux-x64/cerbos-linux-x64";
const PATIENCE: Duration = Duration::from_secs(30);

/// The server while it runs; it is killed when it is dropped.
pub struct Cerbos {
    child: Child,
    pub port: u16,
    dir: TempDir,
}

impl Cerbos {
    /// Starts it with the policies of the scenario and a certificate of the kind that the service makes for itself.
    pub async fn start() -> Self {
        let program = root().join(PROGRAM);
        assert!(program.exists(), "no Cerbos server: run `.ci/peers`");
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Config::default();
        settings.data.dir = dir.path().to_owned();
        Certificates::open(&settings, chrono::Utc::now()).unwrap();
        let [port, internal] = free_ports();
        let config = json!({
            "server": {
                "httpListenAddr": format!("127.0.0.1:{port}"),
                "grpcListenAddr": format!("127.0.0.1:{internal}"),
                "adminAPI": {"enabled": false},
                "tls": {"cert": dir.path().join("tls/server.crt"), "key": dir.path().join("tls/server.key")},
            },
            "storage": {
                "driver": "disk",
                "disk": {"directory": peer_file("cerbos/policies"), "watchForChanges": false},
            },
            "telemetry": {"disabled": true},
            "audit": {"enabled": false},
        });
        // YAML has JSON in it.
        let path = dir.path().join("cerbos.yaml");
        std::fs::write(&path, config.to_string()).unwrap();
        let log = std::fs::File::create(dir.path().join("cerbos.log")).unwrap();
        let child = Command::new(program)
            .args(["server", "--log-level=warn", "--config"])
            .arg(&path)
            .env("CERBOS_NO_TELEMETRY", "1")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let cerbos = Self { child, port, dir };
        let (client, start) = (cerbos.client(), Instant::now());
        while client
            .get("/_cerbos/health")
            .await
            .map(|answer| answer.status)
            .ok()
            != Some(200)
        {
            let said = || std::fs::read_to_string(cerbos.dir.path().join("cerbos.log"));
            assert!(start.elapsed() < PATIENCE, "not ready: {}", said().unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cerbos
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("tls/ca.crt")
    }

    pub fn client(&self) -> Client {
        Client::new(&self.ca(), self.port, "")
    }
}

impl Drop for Cerbos {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What its package says that it is.
pub fn version() -> String {
    let package = root().join(Path::new(PROGRAM).with_file_name("package.json"));
    let package: Value = serde_json::from_slice(&std::fs::read(package).unwrap()).unwrap();
    package["version"].as_str().unwrap().to_owned()
}

/// An AuthZEN question, its subject told, in Cerbos's own words.
pub fn check(request: &Value) -> Value {
    let (subject, resource) = (&request["subject"], &request["resource"]);
    json!({
        "principal": {
            "id": subject["id"],
            "roles": subject["properties"]["cerbos.roles"],
            "attr": {"email": subject["properties"]["email"]},
        },
        "resources": [{
            "resource": {
                "kind": resource["type"],
                "id": resource["id"],
                "attr": resource.get("properties").unwrap_or(&json!({})),
            },
            "actions": [request["action"]["name"]],
        }],
    })
}

/// Both were free a moment ago.
fn free_ports() -> [u16; 2] {
    let listeners = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
