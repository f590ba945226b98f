//! `keys.*`: who keeps root keys, and what the environment says of our identity to them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use config::FileFormat;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Misconfigured, PREFIX, Password};

/// The name of the local keyring; no other provider may have it.
const KEYRING: &str = "keyring";

/// `keys.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Keys {
    /// The local keyring, when it is not in `data.dir`.
    pub keyring: Option<PathBuf>,
    /// Whose root keys wrap the deployment's.
    pub root: String,
    /// Further providers, by their names.
    #[serde(deserialize_with = "tables")]
    pub providers: Option<BTreeMap<String, ProviderSettings>>,
    /// How long one call to a provider may take.
    pub timeout_ms: u64,
    /// How long a start waits for root keys that are out of reach.
    pub wait_s: u64,
    /// How long after an organization was closed the root key is rotated.
    pub shred_after_s: u32,
}

/// One provider of root keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProviderSettings {
    /// Another keyring.
    Keyring {
        /// The file (mode 0600).
        file: PathBuf,
    },
    /// A PKCS#11 token.
    Pkcs11 {
        /// The library that speaks to it.
        module: PathBuf,
        /// The token's label.
        token: String,
        /// What the labels of its root keys begin with.
        #[serde(default = "root_key")]
        key: String,
        /// File with the user PIN (mode 0600).
        pin_file: Option<PathBuf>,
        /// Variable of the environment with the user PIN.
        pin_variable: Option<String>,
    },
    /// A key of AWS KMS.
    AwsKms {
        /// Its id, ARN or alias.
        key: String,
        /// Its region; `AWS_REGION` if not given.
        region: Option<String>,
        /// Where KMS is, when it is not where the region's is.
        endpoint: Option<String>,
    },
}

fn root_key() -> String {
    "cedarkeep-root".to_owned()
}

/// Who we are to AWS, as its own tools are told.
pub struct AwsIdentity {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_key: Password,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<Password>,
    /// `AWS_REGION`, or `AWS_DEFAULT_REGION`
    pub region: Option<String>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            keyring: None,
            root: KEYRING.to_owned(),
            providers: None,
            timeout_ms: 5_000,
            wait_s: 60,
            shred_after_s: 86_400,
        }
    }
}

impl Keys {
    /// How long after an organization was closed the root key is rotated; nothing where that is not done by itself.
    #[must_use]
    pub fn shred_after(&self) -> Option<chrono::Duration> {
        let after = i64::from(self.shred_after_s);
        (after > 0).then(|| chrono::Duration::seconds(after))
    }

    /// How long one call to a provider may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How long a start waits for root keys that are out of reach.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        Duration::from_secs(self.wait_s)
    }

    /// Further providers, by their names.
    pub fn further(&self) -> impl Iterator<Item = (&String, &ProviderSettings)> {
        self.providers.iter().flatten()
    }

    pub(super) fn check(&self) -> Result<(), Misconfigured> {
        let unfit = |key, problem| Err(Misconfigured::Unfit { key, problem });
        if !(100..=60_000).contains(&self.timeout_ms) {
            return unfit("keys.timeout_ms", "must lie between 100 and 60000");
        }
        if self.wait_s > 86_400 {
            return unfit("keys.wait_s", "must lie between 0 and 86400");
        }
        if self.root != KEYRING && self.further().all(|(name, _)| *name != self.root) {
            return unfit(
                "keys.root",
                "must be `keyring` or the name of a table under `keys.providers`",
            );
        }
        for (name, provider) in self.further() {
            let wrong = |problem: &str| {
                Err(Misconfigured::Malformed(format!(
                    "`keys.providers.{name}` {problem}"
                )))
            };
            let fits = (1..=40).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !fits {
                return wrong("must have a name of 1 to 40 of a-z, 0-9 and `-`");
            }
            if name == KEYRING {
                return wrong(
                    "cannot have that name, which is the local keyring's: set `keys.keyring` for its place",
                );
            }
            match provider {
                ProviderSettings::Pkcs11 {
                    pin_file,
                    pin_variable,
                    ..
                } => match (pin_file, pin_variable) {
                    (Some(_), None) => {}
                    (None, Some(variable)) if variable.starts_with(PREFIX) => {
                        return wrong(
                            "must name a `pin_variable` that does not begin with CEDARKEEP_, as settings do",
                        );
                    }
                    (None, Some(_)) => {}
                    _ => return wrong("needs either `pin_file` or `pin_variable`"),
                },
                ProviderSettings::Keyring { .. } | ProviderSettings::AwsKms { .. } => {}
            }
        }
        Ok(())
    }

    /// The PIN that a variable of the environment holds.
    ///
    /// # Errors
    /// It is not set, or not text.
    pub fn pin(variable: &str) -> Result<Zeroizing<String>, Misconfigured> {
        match std::env::var(variable) {
            Ok(pin) if !pin.is_empty() => Ok(Zeroizing::new(pin)),
            _ => Err(Misconfigured::Malformed(format!(
                "`pin_variable` names `{variable}`, and the environment has no such variable"
            ))),
        }
    }

    /// Who we are to AWS.
    ///
    /// # Errors
    /// One of the variables is missing.
    pub fn aws_identity() -> Result<AwsIdentity, Misconfigured> {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let needed = |name: &'static str| {
            read(name).ok_or_else(|| {
                Misconfigured::Malformed(format!(
                    "a provider of the kind `aws-kms` needs the variable {name} in the environment"
                ))
            })
        };
        Ok(AwsIdentity {
            access_key: needed("AWS_ACCESS_KEY_ID")?,
            secret_key: Password(needed("AWS_SECRET_ACCESS_KEY")?),
            session_token: read("AWS_SESSION_TOKEN").map(Password),
            region: read("AWS_REGION").or_else(|| read("AWS_DEFAULT_REGION")),
        })
    }
}

/// Tables in a file; in the environment, where there are none, the text of an inline table.
fn tables<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, ProviderSettings>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Tables(BTreeMap<String, config::Value>),
    }
    #[derive(Deserialize)]
    struct Inline {
        providers: BTreeMap<String, ProviderSettings>,
    }
    let Some(written) = Option::<Written>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let found = match written {
        Written::Text(text) => {
            let text = format!("providers = {text}");
            config::Config::builder()
                .add_source(config::File::from_str(&text, FileFormat::Toml))
                .build()
                .and_then(config::Config::try_deserialize::<Inline>)
                .map_err(|error| D::Error::custom(format!("`keys.providers`: {error}")))?
                .providers
        }
        Written::Tables(tables) => tables
            .into_iter()
            .map(|(name, value)| match value.try_deserialize() {
                Ok(settings) => Ok((name, settings)),
                Err(error) => Err(D::Error::custom(format!(
                    "`keys.providers.{name}`: {error}"
                ))),
            })
            .collect::<Result<_, _>>()?,
    };
    Ok(Some(found))
}
