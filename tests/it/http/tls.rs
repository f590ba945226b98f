//! Certificates and versions, as clients that we did not write see them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use cedarkeep::http::tls::{Certificates, Look, NoTls};
use chrono::{TimeDelta, Utc};

use super::{DEADLINE, Service, client, own, settings};

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// What `openssl s_client` prints when it speaks this version, whatever Debian's configuration says.
async fn openssl(port: u16, version: &'static str) -> (bool, String) {
    let run = tokio::task::spawn_blocking(move || {
        Command::new("openssl")
            .args([
                "s_client",
                "-connect",
                &format!("127.0.0.1:{port}"),
                version,
            ])
            .args(["-cipher", "DEFAULT@SECLEVEL=0"])
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed")
    })
    .await
    .unwrap();
    let text = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    (run.status.success(), text)
}

/// A server that speaks an old version, to see that the client can.
struct Legacy(Child);

impl Legacy {
    fn start(version: &str, dir: &Path) -> (Self, u16) {
        let mut child = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                version,
                "-cipher",
                "DEFAULT@SECLEVEL=0",
                "-naccept",
                "1",
            ])
            .arg("-cert")
            .arg(dir.join("tls/server.crt"))
            .arg("-key")
            .arg(dir.join("tls/server.key"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let accept = lines
            .map_while(Result::ok)
            .find(|line| line.starts_with("ACCEPT"))
            .unwrap();
        let port = accept.rsplit(':').next().unwrap().trim().parse().unwrap();
        (Self(child), port)
    }
}

impl Drop for Legacy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_and_1_3_are_spoken() {
    let (_dir, certificates) = own();
    let service = Service::start(&certificates, hello());
    for (flag, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (spoken, text) = openssl(service.address.port(), flag).await;
        assert!(
            spoken && text.contains(&format!("New, {name}")),
            "{name}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_0_and_1_1_are_refused_with_the_alert_for_it() {
    let (dir, certificates) = own();
    let service = Service::start(&certificates, hello());
    for (flag, name) in [("-tls1", "TLSv1"), ("-tls1_1", "TLSv1.1")] {
        let (spoken, text) = openssl(service.address.port(), flag).await;
        assert!(
            !spoken && text.contains("SSL alert number 70"),
            "{name}: {text}"
        );

        // The same client reaches a server that does speak it: so it was ours that refused.
        let (legacy, port) = Legacy::start(flag, dir.path());
        let (spoken, text) = openssl(port, flag).await;
        drop(legacy);
        assert!(
            spoken && text.contains(&format!("Protocol  : {name}\n")),
            "{name}: {text}"
        );
    }
}

#[tokio::test]
async fn plain_http_on_the_tls_port_gets_no_http() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (_dir, certificates) = own();
    let service = Service::start(&certificates, hello());
    let mut stream = tokio::net::TcpStream::connect(service.address)
        .await
        .unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // A reset is as good as an end here.
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .ok();
    assert!(
        answer.is_empty() || answer[0] == 0x15,
        "an alert or nothing: {answer:?}"
    );
}

#[tokio::test]
async fn an_own_certificate_works_for_the_ca_that_was_written() {
    let (_dir, certificates) = own();
    let service = Service::start(&certificates, hello());
    let answer = client(&service.ca)
        .get(service.url("/"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "hello");

    let (_other_dir, other) = own();
    assert!(
        client(other.ca().unwrap())
            .get(service.url("/"))
            .send()
            .await
            .is_err()
    );
}

#[test]
fn openssl_finds_nothing_to_complain_of_in_own_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.http.base_url = "https://pdp.example.com".to_owned().try_into().unwrap();
    Certificates::open(&settings, Utc::now()).unwrap();
    for name in [
        ["-verify_hostname", "pdp.example.com"],
        ["-verify_hostname", "localhost"],
        ["-verify_ip", "::1"],
    ] {
        let run = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslserver"])
            .args(name)
            .arg("-CAfile")
            .arg(dir.path().join("tls/ca.crt"))
            .arg(dir.path().join("tls/server.crt"))
            .output()
            .expect("openssl is installed");
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
}

#[test]
fn the_ca_key_is_not_kept_and_the_server_key_is_private() {
    let (dir, _certificates) = own();
    let tls = dir.path().join("tls");
    let mut names: Vec<_> = std::fs::read_dir(&tls)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["ca.crt", "server.crt", "server.key"]);
    let mode = |name: &str| {
        std::fs::metadata(tls.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("server.key"), mode("ca.crt")), (0o600, 0o644));
}

#[test]
fn own_certificates_stay_until_a_month_before_their_end() {
    let (dir, _certificates) = own();
    let ca = dir.path().join("tls/ca.crt");
    let first = std::fs::read(&ca).unwrap();
    let opened_after = |days| {
        Certificates::open(&settings(dir.path()), Utc::now() + TimeDelta::days(days)).unwrap();
        std::fs::read(&ca).unwrap()
    };
    assert!(opened_after(0) == first && opened_after(360) == first);
    let second = opened_after(370);
    assert!(second != first);
    assert!(opened_after(371) == second);
}

#[test]
fn own_certificates_are_made_anew_when_they_are_broken_or_for_another_host() {
    let (dir, _certificates) = own();
    let ca = dir.path().join("tls/ca.crt");
    let mut last = std::fs::read(&ca).unwrap();
    let mut settings = settings(dir.path());
    let mut is_new = |settings: &_| {
        Certificates::open(settings, Utc::now()).unwrap();
        let now = std::fs::read(&ca).unwrap();
        std::mem::replace(&mut last, now.clone()) != now
    };
    assert!(!is_new(&settings));
    settings.http.base_url = "https://pdp.example.com".to_owned().try_into().unwrap();
    assert!(is_new(&settings));
    std::fs::write(dir.path().join("tls/server.key"), "").unwrap();
    assert!(is_new(&settings));
    std::fs::remove_file(dir.path().join("tls/server.crt")).unwrap();
    assert!(is_new(&settings));
    assert!(!is_new(&settings));
}

/// Puts the pair of one directory, or one file of it, where another's configured files are.
fn put(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        std::fs::copy(from.join("tls").join(name), to.join(name)).unwrap();
    }
}

fn configured(dir: &Path) -> cedarkeep::config::Config {
    let mut settings = settings(dir);
    settings.tls.cert = Some(dir.join("server.crt"));
    settings.tls.key = Some(dir.join("server.key"));
    settings.tls.ca = Some(dir.join("ca.crt"));
    settings
}

const PAIR: &[&str] = &["server.crt", "server.key"];

#[tokio::test]
async fn replaced_files_are_taken_into_use_and_wrong_ones_are_not() {
    let ((first, _), (second, _), dir) = (own(), own(), tempfile::tempdir().unwrap());
    put(
        first.path(),
        dir.path(),
        &["server.crt", "server.key", "ca.crt"],
    );
    let mut certificates = Certificates::open(&configured(dir.path()), Utc::now()).unwrap();
    let service = Service::start(&certificates, hello());
    let reached = async |from: &Path| {
        client(&from.join("tls/ca.crt"))
            .get(service.url("/"))
            .send()
            .await
            .is_ok()
    };
    assert!(reached(first.path()).await && !reached(second.path()).await);
    assert!(matches!(certificates.look(), Look::Unchanged));

    put(second.path(), dir.path(), PAIR);
    assert!(matches!(certificates.look(), Look::Replaced));
    assert!(!reached(first.path()).await && reached(second.path()).await);

    put(first.path(), dir.path(), &["server.key"]);
    assert!(matches!(
        certificates.look(),
        Look::Kept(NoTls::Mismatch { .. })
    ));
    assert!(
        matches!(certificates.look(), Look::Unchanged),
        "a change is reported once"
    );
    std::fs::write(dir.path().join("server.crt"), "not a certificate").unwrap();
    assert!(matches!(
        certificates.look(),
        Look::Kept(NoTls::Certificate(_))
    ));
    std::fs::remove_file(dir.path().join("server.crt")).unwrap();
    assert!(matches!(
        certificates.look(),
        Look::Kept(NoTls::File { .. })
    ));
    assert!(
        reached(second.path()).await,
        "the last good one stays in use"
    );

    put(first.path(), dir.path(), PAIR);
    assert!(matches!(certificates.look(), Look::Replaced));
    assert!(reached(first.path()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_brings_a_new_certificate_without_a_restart() {
    let ((first, _), (second, _), dir) = (own(), own(), tempfile::tempdir().unwrap());
    put(
        first.path(),
        dir.path(),
        &["server.crt", "server.key", "ca.crt"],
    );
    let certificates = Certificates::open(&configured(dir.path()), Utc::now()).unwrap();
    let service = Service::start(&certificates, hello());
    let watch = tokio::spawn(certificates.watch(Duration::from_millis(5)));
    put(second.path(), dir.path(), PAIR);
    let ca = second.path().join("tls/ca.crt");
    tokio::time::timeout(DEADLINE, async {
        while client(&ca).get(service.url("/")).send().await.is_err() {}
    })
    .await
    .expect("the new certificate is served");
    watch.abort();
}

#[test]
fn a_start_with_files_that_cannot_be_used_is_refused_and_names_them() {
    let ((first, _), (second, _), dir) = (own(), own(), tempfile::tempdir().unwrap());
    let refused = || Certificates::open(&configured(dir.path()), Utc::now()).unwrap_err();
    assert!(matches!(refused(), NoTls::File { verb: "read", .. }));
    put(first.path(), dir.path(), &["server.crt"]);
    put(second.path(), dir.path(), &["server.key"]);
    let message = refused().to_string();
    assert!(
        message.contains("does not fit") && message.contains("server.key"),
        "{message}"
    );
    let mut file = std::fs::File::create(dir.path().join("server.key")).unwrap();
    file.write_all(
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    assert!(refused().to_string().contains("without a password"));
}
