//! The providers of root keys that the settings name, made ready to be asked.

use crate::config::{self, Config, Keys, ProviderSettings};
use crate::crypto::provider::{Provider, pkcs11};
use crate::tenant::{KEYRING, Providers};

use super::AppError;

/// Every one of them; none is asked anything yet.
pub(super) fn providers(config: &Config) -> Result<Providers, AppError> {
    let mut known = vec![(KEYRING.to_owned(), Provider::Keyring(config.keyring()))];
    for (name, settings) in config.keys.further() {
        let provider = match settings {
            ProviderSettings::Keyring { file } => Provider::Keyring(file.clone()),
            ProviderSettings::Pkcs11 {
                module,
                token,
                key,
                pin_file,
                pin_variable,
            } => {
                let pin = match (pin_file, pin_variable) {
                    (Some(file), _) => pkcs11::Pin::File(file.clone()),
                    (None, variable) => {
                        let variable = variable.as_deref().unwrap_or_default();
                        pkcs11::Pin::Given(Keys::pin(variable)?)
                    }
                };
                Provider::Pkcs11(pkcs11::Token::new(pkcs11::Settings {
                    module: module.clone(),
                    token: token.clone(),
                    key: key.clone(),
                    pin,
                }))
            }
            ProviderSettings::AwsKms {
                key,
                region,
                endpoint,
            } => aws_kms(config, name, (key, region.as_deref(), endpoint.as_deref()))?,
        };
        known.push((name.clone(), provider));
    }
    Ok(Providers::new(
        &config.keys.root,
        known,
        config.keys.timeout(),
    )?)
}

#[cfg(feature = "aws-kms")]
fn aws_kms(
    config: &Config,
    name: &str,
    (key, region, endpoint): (&str, Option<&str>, Option<&str>),
) -> Result<Provider, AppError> {
    use crate::crypto::CryptoError;
    use crate::crypto::provider::aws_kms::{AwsKms, Identity, Settings};

    let text = |password: config::Password| zeroize::Zeroizing::new(password.expose().to_owned());
    let identity = Keys::aws_identity()?;
    let region = region.map(str::to_owned).or(identity.region);
    let region = region.ok_or_else(|| {
        config::Misconfigured::Malformed(format!(
            "`keys.providers.{name}` needs a `region`, or the variable AWS_REGION in the environment"
        ))
    })?;
    let kms = AwsKms::new(Settings {
        key: key.to_owned(),
        region,
        endpoint: endpoint.map(str::to_owned),
        identity: Identity {
            access_key: identity.access_key,
            secret_key: text(identity.secret_key),
            session_token: identity.session_token.map(text),
        },
        // So that a second call has a chance where the first one hangs.
        patience: config.keys.timeout().div_f32(2.5),
        now: chrono::Utc::now,
    });
    Ok(Provider::AwsKms(kms.map_err(CryptoError::from)?))
}

#[cfg(not(feature = "aws-kms"))]
fn aws_kms(
    _: &Config,
    name: &str,
    _: (&str, Option<&str>, Option<&str>),
) -> Result<Provider, AppError> {
    Err(config::Misconfigured::Malformed(format!(
        "`keys.providers.{name}` is of the kind `aws-kms`, which this program was built without: build it with the feature `aws-kms`"
    ))
    .into())
}
