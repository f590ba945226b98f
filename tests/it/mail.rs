//! Letters against a mail server: what is protected stays so, what fails is tried again or told of, and nothing is said that is secret.

use std::os::unix::fs::PermissionsExt as _;

use cedarkeep::config::{Config, Database, MailTls};
use cedarkeep::mail::{Letter, MailError, Mailer};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::api::harness::{Service, Tenant};
use crate::harness::server::Site;
use crate::harness::smtp::{Manner, Server};

const PASSWORD: &str = "correct horse battery staple";

fn settings(server: &Server, tls: MailTls, dir: &tempfile::TempDir) -> Config {
    let mut config = Config::default();
    config.mail.host = Some("localhost".into());
    config.mail.port = Some(server.port());
    config.mail.tls = tls;
    config.mail.from = Some("Cedarkeep <no-reply@example.com>".into());
    if tls != MailTls::None {
        let file = dir.path().join("password");
        std::fs::write(&file, PASSWORD).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        config.mail.ca = Some(server.ca().to_owned());
        config.mail.user = Some("cedarkeep".into());
        config.mail.password_file = Some(file);
    }
    config
}

fn letter() -> Letter {
    Letter {
        about: "inv_1".into(),
        to: "zoe@example.com".into(),
        name: Some("Zoë".into()),
        subject: "Join Acme".into(),
        text: Zeroizing::new("https://example.com/join/secret\r\n".into()),
    }
}

async fn delivered(server: &Server, tls: MailTls) -> Result<(), MailError> {
    let dir = tempfile::tempdir().unwrap();
    let mailer = Mailer::of(&settings(server, tls, &dir)).unwrap().unwrap();
    mailer.deliver(&letter()).await
}

/// That nothing but the beginning of a conversation was sent where anybody could read it.
fn nothing_was_told(server: &Server) {
    for line in server.in_the_clear() {
        let word = line.split(' ').next().unwrap();
        assert!(["EHLO", "STARTTLS", "QUIT"].contains(&word), "{line}");
    }
}

#[tokio::test]
async fn a_letter_goes_through_tls_with_its_credentials() {
    for (manner, tls) in [
        (Manner::Starttls, MailTls::Starttls),
        (Manner::Tls, MailTls::Tls),
    ] {
        let server = Server::start(manner, &[]).await;
        delivered(&server, tls).await.unwrap();
        let letters = server.letters(1).await;
        assert!(letters[0].contains("https://example.com/join/secret"));
        assert!(letters[0].contains("Subject: Join Acme"));
        nothing_was_told(&server);
        // The control: it was told, through TLS.
        let protected = server.protected();
        assert!(protected.iter().any(|line| line.starts_with("AUTH ")));
        assert!(protected.contains(&"RCPT TO:<zoe@example.com>".to_owned()));
    }
}

#[tokio::test]
async fn without_tls_neither_password_nor_letter_is_sent() {
    for manner in [Manner::Plain, Manner::RefusesTls] {
        let server = Server::start(manner, &[]).await;
        let refused = delivered(&server, MailTls::Starttls).await.unwrap_err();
        assert!(
            matches!(refused, MailError::Unprotected | MailError::Later(454)),
            "{refused:?}"
        );
        assert_eq!(server.connections(), 1);
        nothing_was_told(&server);
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_told_nothing() {
    for (manner, tls) in [
        (Manner::Starttls, MailTls::Starttls),
        (Manner::Tls, MailTls::Tls),
    ] {
        let server = Server::start(manner, &[]).await;
        let dir = tempfile::tempdir().unwrap();
        let mut config = settings(&server, tls, &dir);
        config.mail.ca = None;
        let mailer = Mailer::of(&config).unwrap().unwrap();
        let refused = mailer.deliver(&letter()).await.unwrap_err();
        assert!(
            matches!(refused, MailError::Unprotected | MailError::Silent),
            "{refused:?}"
        );
        nothing_was_told(&server);
        assert!(server.protected().is_empty());
    }
}

#[tokio::test]
async fn what_a_server_says_of_an_address_is_not_repeated() {
    let server = Server::start(Manner::Plain, &[550]).await;
    let refused = delivered(&server, MailTls::None).await.unwrap_err();
    assert_eq!(refused, MailError::Refused(550));
    assert!(!refused.to_string().contains("zoe"));
}

/// A service that sends by this server.
async fn service(server: &Server) -> (Service, Tenant) {
    let mut config = settings(server, MailTls::None, &tempfile::tempdir().unwrap());
    let data = tempfile::tempdir().unwrap();
    config.data.database = Database::Sqlite;
    config.data.dir = data.keep();
    let service = Service::of(config).await;
    let tenant = service.tenant("acme").await;
    (service, tenant)
}

async fn invite(service: &Service, tenant: &Tenant) -> Value {
    let body = json!({"email": "zoe@example.com", "name": "Zoe", "role": "Member"});
    let told = service
        .post(tenant, tenant.admin, "/v1/invitations", body)
        .await;
    assert_eq!(told.status, 201, "{}", told.body);
    told.body
}

/// The token in a letter.
fn token(letter: &str) -> String {
    // A long line is broken by a `=` at its end.
    let letter = letter.replace("=\n", "");
    let (_, rest) = letter.split_once("/join/").unwrap();
    rest.lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_goes_by_mail_and_its_link_nowhere_else() {
    // The server cannot take it at first.
    let server = Server::start(Manner::Plain, &[451]).await;
    let (service, tenant) = service(&server).await;
    let told = invite(&service, &tenant).await;
    assert_eq!(told["delivery"], "mail");
    assert!(!told.to_string().contains("ckl_"));
    let letters = server.letters(1).await;
    assert!(
        letters[0].contains("To: Zoe <zoe@example.com>"),
        "{}",
        letters[0]
    );
    let accept = json!({"token": token(&letters[0])});
    let joined = service
        .ask("POST", "/v1/invitations/accept")
        .body(&accept)
        .send()
        .await;
    joined.id();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_was_refused_is_seen_and_sent_again() {
    let server = Server::start(Manner::Plain, &[550]).await;
    let (service, tenant) = service(&server).await;
    let told = invite(&service, &tenant).await;
    assert_eq!(told["delivery"], "mail");
    let place = format!("/v1/invitations/{}", told["id"].as_str().unwrap());
    let begun = std::time::Instant::now();
    loop {
        let read = service.get(&tenant, tenant.admin, &place).await.ok();
        if read.get("mail") == Some(&json!("failed")) {
            break;
        }
        assert!(begun.elapsed() < crate::harness::server::DEADLINE);
    }
    let again = service.by(&tenant, tenant.admin, "POST", &format!("{place}/resend"));
    assert_eq!(again.send().await.ok()["delivery"], "mail");
    server.letters(1).await;
    let read = service.get(&tenant, tenant.admin, &place).await.ok();
    assert_eq!(read.get("mail"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_invites_from_the_command_line() {
    let mut site = Site::sqlite();
    site.create_org("acme");
    let invite = [
        "member",
        "invite",
        "acme",
        "--email",
        "zoe@example.com",
        "--name",
        "Zoe",
        "--json",
    ];
    let made = site.told(&invite);
    let link = made["link"].as_str().unwrap();
    assert!(
        link.starts_with("https://pdp.example.com/join/ckl_inv_"),
        "{link}"
    );
    let id = made["id"].as_str().unwrap();
    assert!(site.refused(&invite).contains("invited already"));
    let again = site.told(&["member", "resend", "acme", id, "--json"]);
    assert_ne!(again["link"], made["link"]);
    let listed = site.told(&["member", "invitations", "acme", "--json"]);
    assert_eq!(
        (&listed["id"], &listed["status"]),
        (&json!(id), &json!("open"))
    );
    assert!(!listed.to_string().contains("ckl_"));
    site.done(&["member", "revoke", "acme", id]);
    assert_eq!(site.done(&["member", "invitations", "acme"]), "");
    assert!(
        site.refused(&["member", "revoke", "acme", id])
            .contains("there is no")
    );
    // By mail, it is in the letter and not printed.
    let server = Server::start(Manner::Plain, &[]).await;
    for (name, value) in [
        ("CEDARKEEP_MAIL__HOST", "127.0.0.1"),
        ("CEDARKEEP_MAIL__PORT", &server.port().to_string()),
        ("CEDARKEEP_MAIL__TLS", "none"),
        ("CEDARKEEP_MAIL__FROM", "no-reply@example.com"),
    ] {
        site.set(name, value);
    }
    let made = tokio::task::spawn_blocking(move || {
        let made = site.done(&invite);
        site.verify("acme");
        made
    });
    let made = made.await.unwrap();
    assert!(
        made.contains("\"delivery\":\"mail\"") && !made.contains("ckl_"),
        "{made}"
    );
    assert!(token(&server.letters(1).await[0]).starts_with("ckl_inv_"));
}
