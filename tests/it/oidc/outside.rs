//! Calls to the world: where they go, where they do not, and where they end.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cedarkeep::config;
use cedarkeep::outside::address::is_global;
use cedarkeep::outside::{Outside, Unreached, Unusable};
use hickory_proto::rr::RecordType;
use url::Url;

use super::world::{Authority, Names, Reply, Server, Told, answer, json, outside};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn word<T>(result: Result<T, Unreached>) -> &'static str {
    result.err().map_or("taken", |why| why.name())
}

/// A server in TLS that this machine's name `idp.test` leads to, and calls that trust it.
async fn world(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (Server, Names, Outside) {
    let authority = Authority::new();
    let server = Server::serve(Some(authority.server(&["idp.test"], 2100)), reply).await;
    let names = Names::serve(&[("idp.test", Told::Addresses(vec![LOCAL]))]).await;
    let outside = outside(Some(&authority), Some(&names), true);
    (server, names, outside)
}

#[tokio::test]
async fn a_call_names_the_host_and_asks_for_its_address_once() {
    let (server, names, outside) = world(|_| json("{}")).await;
    let url = server.url("idp.test", "/userinfo?a=b");
    let answer = outside.get(&url, Some("Bearer t0ken")).await.unwrap();
    assert_eq!(
        (answer.status, answer.media.as_str()),
        (200, "application/json")
    );
    assert_eq!(answer.body, b"{}");
    let form = [("code", "a b&c".to_owned()), ("x", "ü".to_owned())];
    outside.post(&url, None, &form).await.unwrap();
    let heads = server.heads.lock().unwrap().clone();
    let host = format!("host: idp.test:{}\r\n", server.at.port());
    assert!(
        heads[0].starts_with("sni: idp.test\r\nget /userinfo?a=b http/1.1\r\n"),
        "{}",
        heads[0]
    );
    assert!(heads[0].contains(&host) && heads[0].contains("authorization: bearer t0ken\r\n"));
    assert!(heads[0].contains("user-agent: cedarkeep/"));
    assert!(
        heads[1].ends_with("\r\n\r\ncode=a+b%26c&x=%C3%BC"),
        "{}",
        heads[1]
    );
    assert!(!heads[1].contains("authorization"));
    // Once a call: what was looked at is what was connected to. And the next call looks again.
    assert_eq!(names.count("idp.test", RecordType::A), 2);
    let secret = outside.get(&url, Some("Basic \n")).await;
    assert_eq!(word(secret), "outside_secret");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let (server, _, outside) = world(move |path| match path {
            "/" => answer(status, "Location: /elsewhere\r\n", b""),
            _ => json("{}"),
        })
        .await;
        let url = server.url("idp.test", "/");
        assert_eq!(word(outside.get(&url, None).await), "outside_redirect");
        assert_eq!(
            word(outside.post(&url, None, &[]).await),
            "outside_redirect"
        );
        assert_eq!(
            word(outside.document(&url, Instant::now()).await),
            "outside_redirect"
        );
        assert_eq!(server.count(), 3, "{status}");
    }
}

/// Addresses that are nobody's, or somebody's own.
const PRIVATE: &[&str] = &[
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
];

const GLOBAL: &[&str] = &[
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.0.0.1",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "2003::1",
    "2001:200::1",
];

#[test]
fn addresses_of_the_world_are_told_from_the_others() {
    let address = |text: &&str| text.parse::<IpAddr>().unwrap();
    for text in PRIVATE
        .iter()
        .chain(&["127.0.0.1", "127.255.255.255", "::1"])
    {
        assert!(!is_global(address(text)), "{text}");
    }
    for text in GLOBAL {
        assert!(is_global(address(text)), "{text}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_of_the_world_is_refused_in_a_url() {
    let (closed, open) = (outside(None, None, false), outside(None, None, true));
    let url = |text: &str| -> Url {
        let host = if text.contains(':') {
            format!("[{text}]")
        } else {
            text.to_owned()
        };
        format!("https://{host}/").parse().unwrap()
    };
    for text in PRIVATE {
        // The setting opens this machine and nothing else.
        for outside in [&closed, &open] {
            assert_eq!(
                word(outside.get(&url(text), None).await),
                "outside_private",
                "{text}"
            );
        }
    }
    for text in [
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
    ] {
        assert_eq!(
            word(closed.get(&url(text), None).await),
            "outside_private",
            "{text}"
        );
    }
    let named: Url = "https://localhost:1/".parse().unwrap();
    assert_eq!(word(closed.get(&named, None).await), "outside_private");
}

#[tokio::test]
async fn a_name_that_leads_to_such_an_address_is_refused() {
    let parsed =
        |texts: &[&str]| Told::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect());
    let mut told: Vec<(String, Told)> = PRIVATE
        .iter()
        .enumerate()
        .map(|(at, text)| (format!("h{at}.test"), parsed(&[text])))
        .collect();
    // One address of the world beside one that is not, of either kind and in either order.
    told.push(("mixed.test".to_owned(), parsed(&["8.8.8.8", "10.0.0.1"])));
    told.push(("mixed6.test".to_owned(), parsed(&["8.8.8.8", "fd00::1"])));
    told.push(("loop.test".to_owned(), parsed(&["127.0.0.1"])));
    let told: Vec<(&str, Told)> = told
        .iter()
        .map(|(name, told)| (name.as_str(), told.clone()))
        .collect();
    let names = Names::serve(&told).await;
    let authority = Authority::new();
    let (closed, open) = (
        outside(Some(&authority), Some(&names), false),
        outside(Some(&authority), Some(&names), true),
    );
    for (name, _) in &told {
        let url: Url = format!("https://{name}/").parse().unwrap();
        assert_eq!(
            word(closed.get(&url, None).await),
            "outside_private",
            "{name}"
        );
        if *name != "loop.test" {
            assert_eq!(
                word(open.get(&url, None).await),
                "outside_private",
                "{name}"
            );
        }
    }
    let nobody: Url = "https://nobody.test/".parse().unwrap();
    assert_eq!(word(closed.get(&nobody, None).await), "outside_unknown");
}

#[tokio::test]
async fn loopback_is_reached_only_where_the_settings_say_so() {
    let authority = Authority::new();
    let tls = authority.server(&["idp.test", "localhost", "127.0.0.1"], 2100);
    let server = Server::serve(Some(tls), |_| json("{}")).await;
    let names = Names::serve(&[("idp.test", Told::Addresses(vec![LOCAL]))]).await;
    let (closed, open) = (
        outside(Some(&authority), Some(&names), false),
        outside(Some(&authority), Some(&names), true),
    );
    for host in ["idp.test", "localhost", "127.0.0.1"] {
        let url = server.url(host, "/");
        assert_eq!(
            word(closed.get(&url, None).await),
            "outside_private",
            "{host}"
        );
        assert_eq!(word(open.get(&url, None).await), "taken", "{host}");
    }
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn plain_http_is_spoken_to_this_machine_alone_and_only_where_the_settings_say_so() {
    let server = Server::serve(None, |_| json("{}")).await;
    let names = Names::serve(&[
        ("idp.test", Told::Addresses(vec![LOCAL])),
        (
            "far.test",
            Told::Addresses(vec!["8.8.8.8".parse().unwrap()]),
        ),
    ])
    .await;
    let (closed, open) = (
        outside(None, Some(&names), false),
        outside(None, Some(&names), true),
    );
    let at = |host: &str| -> Url {
        format!("http://{host}:{}/", server.at.port())
            .parse()
            .unwrap()
    };
    for host in ["localhost", "127.0.0.1"] {
        assert_ne!(word(closed.get(&at(host), None).await), "taken");
        assert_eq!(word(open.get(&at(host), None).await), "taken");
    }
    // A name may lead elsewhere tomorrow.
    for host in ["idp.test", "far.test", "8.8.8.8"] {
        for outside in [&closed, &open] {
            assert_eq!(
                word(outside.get(&at(host), None).await),
                "outside_url",
                "{host}"
            );
        }
    }
    for hostile in [
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
        "https://a@idp.test/",
        "https://a:b@idp.test/",
    ] {
        assert_eq!(
            word(open.get(&hostile.parse().unwrap(), None).await),
            "outside_url",
            "{hostile}"
        );
    }
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_certificate_that_is_not_its_own_ends_the_call_before_anything_is_sent() {
    let (authority, other) = (Authority::new(), Authority::new());
    let names = Names::serve(&[("idp.test", Told::Addresses(vec![LOCAL]))]).await;
    for (name, tls) in [
        ("of another authority", other.server(&["idp.test"], 2100)),
        ("for another name", authority.server(&["idp2.test"], 2100)),
        ("over", authority.server(&["idp.test"], 2021)),
    ] {
        let server = Server::serve(Some(tls), |_| json("{}")).await;
        let outside = outside(Some(&authority), Some(&names), true);
        let called = outside
            .get(&server.url("idp.test", "/"), Some("Basic s3cret"))
            .await;
        assert_eq!(word(called), "outside_certificate", "{name}");
        assert_eq!(server.count(), 0);
    }
    // Trust is the setting's: without the file nobody is trusted who is not in the system's list.
    let server = Server::serve(Some(authority.server(&["idp.test"], 2100)), |_| json("{}")).await;
    let outside = outside(None, Some(&names), true);
    let called = outside.get(&server.url("idp.test", "/"), None).await;
    assert_eq!(word(called), "outside_certificate");
}

#[tokio::test]
async fn an_answer_ends_after_1_mib() {
    let (server, _, outside) = world(|path| match path {
        "/fits" => answer("200 OK", "", &vec![b'x'; 1 << 20]),
        "/long" => answer("200 OK", "", &vec![b'x'; (1 << 20) + 1]),
        "/says-more" => vec![(
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx".to_vec(),
            Duration::ZERO,
        )],
        _ => {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 1 << 16], b"\r\n".to_vec()].concat();
            let mut reply = vec![(head, Duration::ZERO)];
            reply.extend(vec![(chunk, Duration::ZERO); 64]);
            reply
        }
    })
    .await;
    let fits = outside
        .get(&server.url("idp.test", "/fits"), None)
        .await
        .unwrap();
    assert_eq!(fits.body.len(), 1 << 20);
    for path in ["/long", "/endless"] {
        let called = outside.get(&server.url("idp.test", path), None).await;
        assert_eq!(word(called), "outside_long", "{path}");
    }
    // One that breaks off is no answer.
    let called = outside
        .get(&server.url("idp.test", "/says-more"), None)
        .await;
    assert_eq!(word(called), "outside_silent");
}

#[tokio::test]
async fn a_call_ends_after_5_s_however_it_is_drawn_out() {
    let pause = Duration::from_millis(400);
    let (server, _, outside) = world(move |path| match path {
        "/silent" => vec![(Vec::new(), Duration::from_secs(60))],
        "/head" => vec![(b"HTTP/1.1 200 OK\r\n".to_vec(), pause); 40],
        _ => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec();
            let mut reply = vec![(head, pause)];
            reply.extend(vec![(b"x".to_vec(), pause); 40]);
            reply
        }
    })
    .await;
    let begun = Instant::now();
    let urls = ["/silent", "/head", "/body"].map(|path| server.url("idp.test", path));
    let (silent, head, body) = tokio::join!(
        outside.get(&urls[0], None),
        outside.get(&urls[1], None),
        outside.get(&urls[2], None),
    );
    let took = begun.elapsed();
    for called in [silent, head, body] {
        assert_eq!(word(called), "outside_slow");
    }
    assert!((4..8).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test]
async fn nobody_at_home_is_said_so() {
    let (server, _, outside) =
        world(|_| vec![(b"SSH-2.0-OpenSSH\r\n".to_vec(), Duration::ZERO)]).await;
    assert_eq!(
        word(outside.get(&server.url("idp.test", "/"), None).await),
        "outside_silent"
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let closed: Url = format!("https://idp.test:{port}/?code=s3cret")
        .parse()
        .unwrap();
    let why = outside.get(&closed, None).await.unwrap_err();
    assert_eq!(why.name(), "outside_silent");
    assert!(!format!("{why:?}").contains("s3cret"), "{why:?}");
}

#[tokio::test]
async fn a_document_is_kept_a_quarter_of_an_hour_and_asked_for_again_once_a_minute() {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&served);
    let (server, _, outside) = world(move |path| match path {
        "/gone" => answer("404 Not Found", "", b"{}"),
        _ => json(&counted.fetch_add(1, Ordering::Relaxed).to_string()),
    })
    .await;
    let (url, begun) = (server.url("idp.test", "/jwks"), Instant::now());
    let after = |seconds| begun + Duration::from_secs(seconds);
    assert_eq!(*outside.document(&url, begun).await.unwrap(), *b"0");
    assert_eq!(*outside.document(&url, after(899)).await.unwrap(), *b"0");
    assert_eq!(*outside.document(&url, after(900)).await.unwrap(), *b"1");
    // It is young, so a key that it has not may be anybody's invention.
    assert_eq!(
        outside.document_again(&url, after(959)).await.unwrap(),
        None
    );
    assert_eq!(
        *outside
            .document_again(&url, after(960))
            .await
            .unwrap()
            .unwrap(),
        *b"2"
    );
    assert_eq!(
        outside.document_again(&url, after(1019)).await.unwrap(),
        None
    );
    assert_eq!(*outside.document(&url, after(1020)).await.unwrap(), *b"2");
    assert_eq!(served.load(Ordering::Relaxed), 3);
    // What is no document is not kept.
    let gone = server.url("idp.test", "/gone");
    for _ in 0..2 {
        assert_eq!(word(outside.document(&gone, begun).await), "outside_status");
    }
    assert_eq!(server.count(), 5);
}

#[tokio::test]
async fn a_cool_down_holds_although_the_provider_fails() {
    let (server, _, outside) = world(|path| match path {
        "/jwks" => json("{}"),
        _ => answer("500 Oh", "", b""),
    })
    .await;
    let begun = Instant::now();
    let url = server.url("idp.test", "/jwks");
    outside.document(&url, begun).await.unwrap();
    let after = |seconds| begun + Duration::from_secs(seconds);
    let (one, two) = (
        outside.document_again(&url, after(61)).await.unwrap(),
        outside.document_again(&url, after(62)).await.unwrap(),
    );
    assert!(one.is_some() && two.is_none());
    assert_eq!(server.count(), 2);
}

#[test]
fn settings_that_name_no_certificates_are_refused() {
    let open = |path: &std::path::Path| {
        Outside::open(&config::Outside {
            ca_file: Some(path.to_owned()),
            ..config::Outside::default()
        })
    };
    let absent = open(std::path::Path::new("/nowhere/ca.pem")).unwrap_err();
    assert!(matches!(absent, Unusable::Unreadable { .. }));
    let file = tempfile::NamedTempFile::new().unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
    for text in ["", "no certificate", broken] {
        std::fs::write(file.path(), text).unwrap();
        let refused = open(file.path()).map(|_| ());
        assert!(
            matches!(
                refused,
                Err(Unusable::Certificates(_) | Unusable::NoCertificate)
            ),
            "{text}"
        );
    }
}
