//! Nothing outside a response is opened: not by the gate, and not by the engine behind it, should the gate ever fail.
//!
//! The control runs in a process of its own, since what closes the engine's ways does so for the whole process.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{env, fs};

use cedarkeep::authn::saml::prepare;
use samael::crypto::{
    AllowedSignatureAlgorithm, CertificateDer, Crypto, CryptoProvider as _, ReduceMode,
};

use super::idp::{Around, PLAIN, RSA, Signs, signed, swap};

/// Set where a test is the process that is not closed.
const OPEN: &str = "CEDARKEEP_SAML_ENGINE_LEFT_OPEN";

/// A listener that counts who connects, for a while, and answers as a web server would.
fn counting() -> (u16, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let counted = std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(2);
        let mut connections = 0;
        while Instant::now() < until {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    connections += 1;
                    stream.set_nonblocking(false).unwrap();
                    stream
                        .set_read_timeout(Some(Duration::from_secs(1)))
                        .unwrap();
                    let mut request = [0; 1024];
                    let read = stream.read(&mut request).unwrap_or(0);
                    assert!(read <= request.len());
                    stream
                        .write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx")
                        .unwrap();
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    std::thread::yield_now();
                }
            }
        }
        connections
    });
    (port, counted)
}

fn with_reference(uri: &str) -> String {
    let xml = signed(&RSA, PLAIN, Signs::Assertion);
    swap(&xml, "URI=\"#_assertion\"", &format!("URI=\"{uri}\""))
}

/// What the engine alone makes of it; the gate would have refused.
fn engine(xml: &str) -> bool {
    Crypto::reduce_xml_to_signed_with_allowed_algorithms(
        xml,
        &[CertificateDer::from(RSA.certificate.clone())],
        ReduceMode::PreDigest,
        Some(&[AllowedSignatureAlgorithm::RsaSha256]),
    )
    .is_ok()
}

/// A pipe that nobody writes into: whoever opens it to read waits for ever.
fn pipe() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn a_reference_over_http_is_not_followed() {
    prepare();
    let (port, counted) = counting();
    let uri = format!("http://127.0.0.1:{port}/key");
    let refusal = Around::of(&RSA)
        .take_xml(&with_reference(&uri))
        .unwrap_err();
    assert_eq!(refusal.name(), "reference");
    assert!(!engine(&with_reference(&uri)));
    assert!(!engine(&with_reference(&format!("{uri}#x"))));
    assert_eq!(counted.join().unwrap(), 0);
}

#[test]
fn a_reference_to_a_file_is_not_read() {
    prepare();
    let (_folder, path) = pipe();
    // A pipe without a writer would hold whoever reads it; a device without an end would fill the memory.
    for uri in [
        format!("file://{path}"),
        path,
        "file:///dev/zero".to_owned(),
    ] {
        let refusal = Around::of(&RSA)
            .take_xml(&with_reference(&uri))
            .unwrap_err();
        assert_eq!(refusal.name(), "reference");
        let begun = Instant::now();
        assert!(!engine(&with_reference(&uri)));
        assert!(begun.elapsed() < Duration::from_secs(2), "{uri}");
    }
}

#[test]
fn a_good_response_goes_through_the_engine_as_it_is_closed() {
    prepare();
    assert!(engine(&signed(&RSA, PLAIN, Signs::Assertion)));
    Around::of(&RSA)
        .take_xml(&signed(&RSA, PLAIN, Signs::Assertion))
        .unwrap();
}

/// The control: left as it is, the engine does connect and does read, so that the tests above show something.
#[test]
fn the_engine_left_open_would_follow_and_read() {
    if env::var_os(OPEN).is_some() {
        let (port, counted) = counting();
        assert!(!engine(&with_reference(&format!(
            "http://127.0.0.1:{port}/key"
        ))));
        assert!(counted.join().unwrap() > 0, "nobody connected");
        // Read, the file is what was signed: its digest is wrong, and the signature with it, which is as far as this looks.
        let (_folder, path) = pipe();
        let writer = std::thread::spawn({
            let path = path.clone();
            // Opening to write returns once somebody opens to read.
            move || fs::OpenOptions::new().write(true).open(path).map(drop)
        });
        assert!(!engine(&with_reference(&format!("file://{path}"))));
        writer.join().unwrap().unwrap();
        return;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "saml::outside::the_engine_left_open_would_follow_and_read",
            "--nocapture",
        ])
        .env(OPEN, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
