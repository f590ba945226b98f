//! The settings of root keys: what is read, and what is refused before anything is opened.

use std::path::Path;
use std::time::Duration;

use cedarkeep::config::{Config, ProviderSettings};

fn parsed(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(Some((Path::new("test.toml"), text)), variables)
        .map_err(|refused| refused.to_string())
}

fn known(config: &Config, name: &str) -> ProviderSettings {
    let mut further = config.keys.further();
    further.find(|(known, _)| *known == name).unwrap().1.clone()
}

#[test]
fn providers_are_read_from_the_file_and_from_the_environment() {
    let text = "[keys]\nroot = \"hsm\"\n\
        [keys.providers.hsm]\nkind = \"pkcs11\"\nmodule = \"/m.so\"\ntoken = \"t\"\npin_file = \"/pin\"\n\
        [keys.providers.acme]\nkind = \"aws-kms\"\nkey = \"alias/a\"\nregion = \"eu-central-1\"\n\
        [keys.providers.own]\nkind = \"keyring\"\nfile = \"/own\"\n";
    let config = parsed(text, &[("CEDARKEEP_KEYS__TIMEOUT_MS", "700")]).unwrap();
    assert_eq!(config.keys.root, "hsm");
    assert_eq!(config.keys.timeout(), Duration::from_millis(700));
    let hsm = ProviderSettings::Pkcs11 {
        module: "/m.so".into(),
        token: "t".into(),
        key: "cedarkeep-root".into(),
        pin_file: Some("/pin".into()),
        pin_variable: None,
    };
    assert_eq!(known(&config, "hsm"), hsm);
    assert_eq!(
        known(&config, "acme"),
        ProviderSettings::AwsKms {
            key: "alias/a".into(),
            region: Some("eu-central-1".into()),
            endpoint: None,
        }
    );
    assert_eq!(
        known(&config, "own"),
        ProviderSettings::Keyring {
            file: "/own".into()
        }
    );

    let inline =
        "{ hsm = { kind = \"pkcs11\", module = \"/m.so\", token = \"t\", pin_file = \"/pin\" } }";
    let config = parsed("", &[("CEDARKEEP_KEYS__PROVIDERS", inline)]).unwrap();
    assert_eq!(known(&config, "hsm"), hsm);
}

#[test]
fn what_cannot_work_is_refused_by_its_name() {
    let pkcs11 = "kind = \"pkcs11\"\nmodule = \"/m\"\ntoken = \"t\"\n";
    let at = |name: &str, rest: &str| format!("[keys.providers.{name}]\n{rest}");
    for (text, said) in [
        ("[keys]\nroot = \"hsm\"".to_owned(), "keys.root"),
        ("[keys]\ntimeout_ms = 10".to_owned(), "keys.timeout_ms"),
        ("[keys]\nwait_s = 100000".to_owned(), "keys.wait_s"),
        (at("hsm", pkcs11), "`pin_file` or `pin_variable`"),
        (
            at(
                "hsm",
                &format!("{pkcs11}pin_file = \"a\"\npin_variable = \"B\""),
            ),
            "`pin_file` or `pin_variable`",
        ),
        (
            at("hsm", &format!("{pkcs11}pin_variable = \"CEDARKEEP_PIN\"")),
            "does not begin with CEDARKEEP_",
        ),
        (at("hsm", &format!("{pkcs11}pin = \"1234\"")), "pin"),
        (
            at("keyring", "kind = \"keyring\"\nfile = \"/f\""),
            "keys.keyring",
        ),
        (
            at("Big", "kind = \"keyring\"\nfile = \"/f\""),
            "1 to 40 of a-z",
        ),
        (at("x", "kind = \"vault\""), "vault"),
        (at("x", "file = \"/f\""), "kind"),
        ("[keys]\nproviders = 3".to_owned(), "providers"),
    ] {
        let message = parsed(&text, &[]).unwrap_err();
        assert!(message.contains(said), "{text}: {message}");
        // A PIN that was written where it must not be is not repeated.
        assert!(!message.contains("1234"), "{message}");
    }
    let wrong = parsed("", &[("CEDARKEEP_KEYS__PROVIDERS", "hsm = 1")]).unwrap_err();
    assert!(wrong.contains("keys.providers"), "{wrong}");
}
