//! TLS of the service itself; versions, certificates and their replacement are shown in `http/tls.rs`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::harness::server::{Server, Site};

/// What `openssl s_client` prints when it speaks this version, whatever the system's configuration says.
fn openssl(port: u16, version: &str) -> (bool, String) {
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &format!("127.0.0.1:{port}"),
            version,
        ])
        .args(["-cipher", "DEFAULT@SECLEVEL=0"])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    (
        output.status.success(),
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    )
}

/// A server that speaks an old version, to see that the client can.
struct Legacy(Child);

impl Legacy {
    fn start(version: &str, site: &Site) -> (Self, u16) {
        let tls = site.data().join("tls");
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
            .arg(tls.join("server.crt"))
            .arg("-key")
            .arg(tls.join("server.key"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let accept = lines.find(|line| line.starts_with("ACCEPT")).unwrap();
        (
            Self(child),
            accept.rsplit(':').next().unwrap().trim().parse().unwrap(),
        )
    }
}

impl Drop for Legacy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

async fn running() -> (Site, Server) {
    let site = Site::sqlite();
    let server = site.serve().await;
    (site, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_speaks_tls_1_2_and_1_3_and_refuses_older() {
    let (site, server) = running().await;
    for (flag, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (spoken, text) = openssl(server.port(), flag);
        assert!(
            spoken && text.contains(&format!("New, {name}")),
            "{name}: {text}"
        );
    }
    for (flag, name) in [("-tls1", "TLSv1"), ("-tls1_1", "TLSv1.1")] {
        let (spoken, text) = openssl(server.port(), flag);
        assert!(
            !spoken && text.contains("alert number 70"),
            "{name}: {text}"
        );

        // The same client reaches a server that does speak it: so it was ours that refused.
        let (legacy, port) = Legacy::start(flag, &site);
        let (spoken, text) = openssl(port, flag);
        drop(legacy);
        assert!(
            spoken && text.contains(&format!("Protocol  : {name}\n")),
            "{name}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_says_nothing_without_tls() {
    use std::io::{Read as _, Write as _};

    let (_site, server) = running().await;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream
        .set_read_timeout(Some(crate::harness::server::DEADLINE))
        .unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // A reset is as good as an end here.
    stream.read_to_end(&mut answer).ok();
    assert!(
        answer.is_empty() || answer[0] == 0x15,
        "an alert or nothing: {answer:?}"
    );
}
