//! Settings: the list and the struct agree, and what is wrong is named.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cedarkeep::config::{BaseUrl, Config, Database, Format, reference};

fn parsed(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(Some((Path::new("test.toml"), text)), variables)
        .map_err(|refused| refused.to_string())
}

fn refused(text: &str) -> String {
    parsed(text, &[]).unwrap_err()
}

#[test]
fn the_list_holds_every_setting_of_the_struct_and_no_other() {
    let struct_keys: BTreeSet<String> = serde_json::to_value(Config::default())
        .unwrap()
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(section, keys)| {
            keys.as_object()
                .unwrap()
                .keys()
                .map(move |key| format!("{section}.{key}"))
                .collect::<Vec<_>>()
        })
        .collect();
    let listed: BTreeSet<String> = reference()
        .iter()
        .map(|setting| setting.key.to_owned())
        .collect();
    assert_eq!(listed, struct_keys);
    assert_eq!(listed.len(), reference().len(), "a setting is listed twice");
}

#[test]
fn every_listed_default_is_the_default() {
    let defaults = serde_json::to_value(Config::default()).unwrap();
    for setting in reference() {
        let (section, key) = setting.key.split_once('.').unwrap();
        if setting.default.is_empty() {
            assert!(
                defaults[section][key].is_null(),
                "`{}` has a default that is not listed",
                setting.key
            );
        } else {
            let read = parsed(&format!("[{section}]\n{key} = {}", setting.default), &[]).unwrap();
            assert_eq!(read, Config::default(), "`{}`", setting.key);
            let read = serde_json::to_value(read).unwrap();
            assert_eq!(
                read[section][key].to_string(),
                setting.default,
                "`{}`",
                setting.key
            );
        }
        assert!(!setting.meaning.is_empty() && !setting.kind.is_empty());
    }
}

#[test]
fn the_environment_goes_over_the_file() {
    let text =
        "[http]\nlisten = \"127.0.0.1:1000\"\nbody_limit = 2048\n[telemetry]\nformat = \"json\"";
    let variables = [
        ("CEDARKEEP_HTTP__LISTEN", "127.0.0.1:2000"),
        ("CEDARKEEP_LOG__QUEUE", "7"),
        ("HOME", "/"),
    ];
    let read = parsed(text, &variables).unwrap();
    assert_eq!(read.http.listen.port(), 2000);
    assert_eq!((read.http.body_limit, read.log.queue), (2048, 7));
    assert_eq!(read.telemetry.format, Format::Json);
}

#[test]
fn every_setting_can_be_set_by_its_variable() {
    for setting in reference()
        .iter()
        .filter(|setting| !setting.default.is_empty())
    {
        let value = setting.default.trim_matches('"');
        assert_eq!(
            parsed("", &[(&setting.variable(), value)]).unwrap(),
            Config::default(),
            "{}",
            setting.key
        );
    }
}

#[test]
fn an_empty_variable_sets_nothing() {
    assert_eq!(
        parsed("", &[("CEDARKEEP_HTTP__LISTEN", "")]).unwrap(),
        Config::default()
    );
}

#[test]
fn an_unknown_name_is_an_error_that_names_it() {
    assert_eq!(
        refused("[http]\nlissten = \"127.0.0.1:1\""),
        "unknown setting `http.lissten` in `test.toml`; `cedarkeep config` lists them all"
    );
    assert!(refused("[htp]\nlisten = 1").contains("`htp.listen`"));
    assert!(refused("listen = 1").contains("`listen`"));
    for name in [
        "CEDARKEEP_HTTP__LISSTEN",
        "CEDARKEEP_HTTP_LISTEN",
        "CEDARKEEP_LISTEN",
        "CEDARKEEP_HTTP__listen",
    ] {
        assert!(
            parsed("", &[(name, "x")])
                .unwrap_err()
                .contains(&format!("`{name}`")),
            "{name}"
        );
    }
    assert!(
        parsed("", &[("CEDARKEEP_CONFIG", "x.toml")]).is_ok(),
        "names the file, is no setting"
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_an_error_that_names_its_setting() {
    for (text, key) in [
        ("[http]\nbody_limit = \"much\"", "http.body_limit"),
        ("[http]\nbody_limit = -1", "http.body_limit"),
        ("[http]\nlisten = \"localhost\"", "http.listen"),
        ("[telemetry]\nformat = \"xml\"", "telemetry.format"),
        ("[http]\nbody_limit = 10", "http.body_limit"),
        ("[log]\nqueue = 0", "log.queue"),
        ("[log]\ncommit_timeout_ms = 0", "log.commit_timeout_ms"),
        ("[tenants]\nopen_max = 0", "tenants.open_max"),
        ("[http]\nrequest_timeout_ms = 0", "http.request_timeout_ms"),
        ("[http]\nconnections_max = 0", "http.connections_max"),
        (
            "[http]\nconnections_address_max = 0",
            "http.connections_address_max",
        ),
        ("[node]\nregion = \"\"", "node.region"),
        ("[deployment]\nname = \"two words\"", "deployment.name"),
        ("[tls]\ncert = \"a\"", "tls.cert"),
        ("[tls]\nkey = \"a\"", "tls.key"),
        ("[tls]\nca = \"a\"", "tls.ca"),
        ("[data]\npassword_file = \"a\"", "data.password_file"),
    ] {
        let message = refused(text);
        assert!(message.contains(key), "{text}: {message}");
    }
    assert!(
        parsed("", &[("CEDARKEEP_HTTP__BODY_LIMIT", "much")])
            .unwrap_err()
            .contains("http.body_limit")
    );
    assert!(refused("[http\n").contains("test.toml"));
}

#[test]
fn mail_is_sent_with_all_that_it_takes_and_no_password_in_the_clear() {
    let host = "[mail]\nhost = \"mail.example.com\"\nfrom = \"no-reply@example.com\"\n";
    let local = host.replace("mail.example.com", "127.0.0.1");
    for (text, key) in [
        (
            "[mail]\nfrom = \"no-reply@example.com\"".to_owned(),
            "mail.host",
        ),
        (
            "[mail]\nhost = \"mail.example.com\"".to_owned(),
            "mail.from",
        ),
        (host.replace("mail.example", "mail example"), "mail.host"),
        (format!("{host}user = \"me\""), "mail.user"),
        (format!("{host}password_file = \"a\""), "mail.user"),
        (format!("{host}tls = \"none\""), "mail.tls"),
        (
            format!("{local}tls = \"none\"\nuser = \"me\"\npassword_file = \"a\""),
            "mail.tls",
        ),
        (format!("{host}tls = \"perhaps\""), "mail.tls"),
    ] {
        let message = refused(&text);
        assert!(message.contains(key), "{text}: {message}");
    }
    for text in [
        host.to_owned(),
        format!("{local}tls = \"none\""),
        String::new(),
    ] {
        parsed(&text, &[]).unwrap();
    }
}

#[test]
fn a_password_in_the_address_is_refused_and_never_repeated() {
    for address in [
        "postgres://me:hunter2@db/x",
        "postgresql://me:hun@ter2/hunter2@db:5432/x",
        "postgres://db/x?user=me&password=hunter2",
        "postgres://db/x?PassWord=hunter2",
        "postgres://db/x?p%61ssword=hunter2",
        "postgres://me:hunter2?@db/x",
        "mysql://me:hunter2@db",
    ] {
        let message = refused(&format!("[data]\ndatabase = \"{address}\""));
        assert!(message.contains("data.database"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn an_address_without_a_password_is_kept_and_not_shown() {
    let read = parsed(
        "[data]\ndatabase = \"postgres://me@db.internal:5432/x?sslmode=verify-full\"",
        &[],
    )
    .unwrap();
    assert!(
        matches!(&read.data.database, Database::Postgres(address) if address.starts_with("postgres://me@db"))
    );
    assert!(!format!("{read:?}").contains("db.internal"));
}

#[test]
fn a_password_comes_from_a_file_that_not_everybody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    let mut settings = Config::default();
    assert!(settings.database_password().unwrap().is_none());
    settings.data.password_file = Some(path.clone());
    assert!(
        settings
            .database_password()
            .unwrap_err()
            .to_string()
            .contains("cannot read")
    );
    std::fs::write(&path, "hunter2\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        settings
            .database_password()
            .unwrap_err()
            .to_string()
            .contains("chmod")
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let password = settings.database_password().unwrap().unwrap();
    assert_eq!(password.expose(), "hunter2");
    assert_eq!(format!("{password:?}"), "Password(..)");
    for text in ["", "\n", "a\nb\n"] {
        std::fs::write(&path, text).unwrap();
        assert!(settings.database_password().is_err(), "{text:?}");
    }
}

#[test]
fn a_base_url_that_nobody_has_set_is_where_the_service_listens() {
    let url = |file: &str, variables: &[(&str, &str)]| {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = Config::parse(Some((Path::new("c.toml"), file)), variables).unwrap();
        settings.http.base_url.as_str().to_owned()
    };
    assert_eq!(url("", &[]), "https://127.0.0.1:8443");
    for (listen, wanted) in [
        ("127.0.0.1:9443", "https://127.0.0.1:9443"),
        ("0.0.0.0:443", "https://127.0.0.1:443"),
        ("[::]:9443", "https://127.0.0.1:9443"),
        ("[::1]:9443", "https://[::1]:9443"),
        ("192.0.2.7:8443", "https://192.0.2.7:8443"),
        // Which port it will be nobody knows.
        ("127.0.0.1:0", "https://127.0.0.1:8443"),
    ] {
        let file = format!("[http]\nlisten = \"{listen}\"");
        assert_eq!(url(&file, &[]), wanted);
        assert_eq!(url("", &[("CEDARKEEP_HTTP__LISTEN", listen)]), wanted);
        let told = [("CEDARKEEP_HTTP__BASE_URL", "https://pdp.example.com")];
        assert_eq!(url(&file, &told), "https://pdp.example.com");
    }
}

#[test]
fn a_base_url_is_https_with_a_host_and_nothing_behind_its_path() {
    let url = |text: &str| BaseUrl::try_from(text.to_owned());
    for (text, kept, host, path) in [
        (
            "https://127.0.0.1:8443",
            "https://127.0.0.1:8443",
            "127.0.0.1",
            "",
        ),
        (
            "https://PDP.example.com/",
            "https://PDP.example.com",
            "pdp.example.com",
            "",
        ),
        (
            "https://[::1]:8443/pdp",
            "https://[::1]:8443/pdp",
            "::1",
            "/pdp",
        ),
    ] {
        let read = url(text).unwrap();
        assert_eq!(
            (read.as_str(), read.host(), read.path()),
            (kept, host, path)
        );
    }
    for text in [
        "",
        "http://a",
        "HTTPS://a",
        "https://",
        "https:///x",
        "https://a?b",
        "https://a#b",
        "https://a/#",
        "https://u@a",
        "https://u:p@a",
        "https://a b",
        "https://a:port",
        "https://a:99999",
        "https://a\\b",
        "https://[::1",
        "https://\u{e9}",
        "https://a..b",
        "https://a!b",
        "https://-a",
    ] {
        assert!(url(text).is_err(), "{text}");
    }
}

#[test]
fn the_keyring_lies_with_the_data_unless_told_otherwise() {
    assert_eq!(Config::default().keyring(), Path::new("./data/keyring"));
    assert_eq!(
        parsed("[keys]\nkeyring = \"/k\"", &[]).unwrap().keyring(),
        Path::new("/k")
    );
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let message = Config::of_process(Some(&dir.path().join("none.toml")))
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("cannot read the configuration file"),
        "{message}"
    );
}
