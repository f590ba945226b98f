//! Root keys in AWS KMS: each tenant key is encrypted by a call to it, with its place as the encryption context.
//!
//! ```text
//! 0x12 || 1 (u32, big-endian) || what KMS calls the ciphertext blob
//! ```
//!
//! The key that the settings name is the only one that is asked, to encrypt and to decrypt: a row cannot say which key opens
//! it. KMS keeps the versions of a key to itself, so ours is always the first.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::{CryptoError, ProviderError};
use crate::crypto::sealing::{FORMAT_AWS_KMS, Purpose, put_foreign, split_foreign};

/// The version of every root key here.
const VERSION: u32 = 1;

/// The most bytes of an answer that are read; what KMS says is far shorter.
const ANSWER_LIMIT: usize = 64 * 1024;

/// How often a call is made that fails for a reason that may pass, and how long is waited before the second time.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// What the environment says about who we are to AWS.
pub struct Identity {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_key: Zeroizing<String>,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// Which key, where, and how long it may take.
#[derive(Debug)]
pub struct Settings {
    /// Id, ARN or alias of the key.
    pub key: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Where KMS is, when it is not where the region's is.
    pub endpoint: Option<String>,
    /// Who asks.
    pub identity: Identity,
    /// How long one call may take; a second or third is made only where the first has failed.
    pub patience: Duration,
    /// What time it is, for the signature of a request.
    pub now: fn() -> DateTime<Utc>,
}

/// A key of AWS KMS.
pub struct AwsKms {
    key: String,
    region: String,
    endpoint: Url,
    credentials: Credentials,
    now: fn() -> DateTime<Utc>,
    http: reqwest::Client,
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKms")
            .field("key", &self.key)
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypt<'a> {
    key_id: &'a str,
    plaintext: &'a str,
    encryption_context: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypt<'a> {
    key_id: &'a str,
    ciphertext_blob: &'a str,
    encryption_context: BTreeMap<&'static str, &'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypted<'a> {
    ciphertext_blob: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted<'a> {
    plaintext: &'a str,
}

/// An answer that is none. KMS writes `message` now and then with a capital.
#[derive(Deserialize)]
struct Failed {
    #[serde(rename = "__type", default)]
    kind: String,
    #[serde(alias = "Message", default)]
    message: String,
}

impl AwsKms {
    /// Nothing is asked of it before its first call.
    ///
    /// # Errors
    /// [`ProviderError::Refused`] for an endpoint that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, ProviderError> {
        let key = settings.key;
        let refused = |why: String| ProviderError::Refused {
            what: what(&key),
            why,
        };
        let endpoint = match settings.endpoint {
            Some(endpoint) => endpoint,
            // China has a partition of its own.
            None if settings.region.starts_with("cn-") => {
                format!("https://kms.{}.amazonaws.com.cn", settings.region)
            }
            None => format!("https://kms.{}.amazonaws.com", settings.region),
        };
        let endpoint: Url = endpoint
            .parse()
            .map_err(|error| refused(format!("its `endpoint` is no URL: {error}")))?;
        let here = match endpoint.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if endpoint.scheme() != "https" && !(endpoint.scheme() == "http" && here) {
            return Err(refused(
                "its `endpoint` must begin with https://, or be http:// on this machine".to_owned(),
            ));
        }
        // The first that is installed stays; all of ours are the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(settings.patience)
            .user_agent(concat!("cedarkeep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| refused(error.to_string()))?;
        let identity = settings.identity;
        let credentials = Credentials::new(
            identity.access_key,
            identity.secret_key.as_str(),
            identity
                .session_token
                .map(|token| token.as_str().to_owned()),
            None,
            "environment",
        );
        Ok(Self {
            key,
            region: settings.region,
            endpoint,
            credentials,
            now: settings.now,
            http,
        })
    }

    pub(super) const fn newest(&self) -> u32 {
        VERSION
    }

    pub(super) fn own_versions(&self) -> ProviderError {
        ProviderError::OwnVersions { what: self.what() }
    }

    fn what(&self) -> String {
        what(&self.key)
    }

    /// Seals a text for a tenant and a version of its key.
    pub(super) async fn seal(
        &self,
        (tenant, key_version): (&str, u32),
        text: &[u8],
    ) -> Result<(u32, Vec<u8>), CryptoError> {
        let key_version = key_version.to_string();
        let text = Zeroizing::new(STANDARD.encode(text));
        let asked = self.body(&Encrypt {
            key_id: &self.key,
            plaintext: &text,
            encryption_context: context(tenant, &key_version),
        })?;
        let answer = self.ask("TrentService.Encrypt", asked).await?;
        let told: Encrypted<'_> = self.read(&answer)?;
        let blob = STANDARD
            .decode(told.ciphertext_blob)
            .map_err(|_| self.nonsense())?;
        Ok((VERSION, put_foreign(FORMAT_AWS_KMS, VERSION, &[&blob])))
    }

    /// Opens what was sealed for this tenant and this version of its key.
    pub(super) async fn open(
        &self,
        (tenant, key_version): (&str, u32),
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let (version, blob) = split_foreign(FORMAT_AWS_KMS, sealed)?;
        if version != VERSION {
            let purpose = Purpose::TenantWrap;
            return Err(CryptoError::UnknownVersion { purpose, version });
        }
        let (key_version, blob) = (key_version.to_string(), STANDARD.encode(blob));
        let asked = self.body(&Decrypt {
            key_id: &self.key,
            ciphertext_blob: &blob,
            encryption_context: context(tenant, &key_version),
        })?;
        let answer = self.ask("TrentService.Decrypt", asked).await?;
        let told: Decrypted<'_> = self.read(&answer)?;
        // The room is made at once: a vector that grows leaves its old content behind.
        let mut text = Zeroizing::new(Vec::with_capacity(told.plaintext.len()));
        STANDARD
            .decode_vec(told.plaintext, &mut text)
            .map_err(|_| self.nonsense())?;
        Ok(text)
    }

    fn body(&self, asked: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        // Longer than any that is sent, for the same reason.
        let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
        serde_json::to_writer(&mut *body, asked).map_err(|_| self.nonsense())?;
        Ok(body)
    }

    fn read<'a, T: Deserialize<'a>>(&self, answer: &'a [u8]) -> Result<T, CryptoError> {
        Ok(serde_json::from_slice(answer).map_err(|_| self.nonsense())?)
    }

    fn nonsense(&self) -> ProviderError {
        self.out_of_reach("what answers there is no KMS".to_owned())
    }

    fn out_of_reach(&self, why: String) -> ProviderError {
        ProviderError::OutOfReach {
            what: self.what(),
            why,
        }
    }

    /// Makes a call, again where its failure may pass. Encrypting or decrypting twice changes nothing.
    async fn ask(
        &self,
        target: &'static str,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let body = Bytes::from_owner(body);
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.ask_once(target, body.clone()).await {
                Err(CryptoError::Provider(error)) if error.may_pass() => {
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(4);
                }
                told => return told,
            }
        }
        self.ask_once(target, body).await
    }

    async fn ask_once(
        &self,
        target: &'static str,
        body: Bytes,
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let headers = self.signed(target, &body)?;
        // An error of this client names the address, and nothing that is secret.
        let silent = |error: reqwest::Error| {
            if error.is_timeout() {
                ProviderError::TooSlow { what: self.what() }
            } else {
                self.out_of_reach(with_causes(&error))
            }
        };
        let mut response = self
            .http
            .post(self.endpoint.clone())
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(silent)?;
        let status = response.status();
        let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            if answer.len().saturating_add(chunk.len()) > ANSWER_LIMIT {
                return Err(self.nonsense().into());
            }
            answer.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(answer);
        }
        let failed = serde_json::from_slice(&answer).unwrap_or(Failed {
            kind: String::new(),
            message: String::new(),
        });
        Err(self.failed(status.as_u16(), &failed))
    }

    fn signed(&self, target: &'static str, body: &[u8]) -> Result<HeaderMap, CryptoError> {
        let kind = "application/x-amz-json-1.1";
        let refused = |_| ProviderError::Refused {
            what: self.what(),
            why: "a request to it cannot be signed".to_owned(),
        };
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("kms")
            .time((self.now)().into())
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| refused(()))?
            .into();
        let host = self.authority();
        let asked = [
            ("host", host.as_str()),
            ("content-type", kind),
            ("x-amz-target", target),
        ];
        let signable = SignableRequest::new(
            "POST",
            self.endpoint.as_str(),
            asked.into_iter(),
            SignableBody::Bytes(body),
        )
        .map_err(|_| refused(()))?;
        let (made, _) = sign(signable, &params)
            .map_err(|_| refused(()))?
            .into_parts();
        let (signed, _) = made.into_parts();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert("x-amz-target", HeaderValue::from_static(target));
        for header in signed {
            let mut value = HeaderValue::from_str(header.value()).map_err(|_| refused(()))?;
            value.set_sensitive(header.sensitive());
            headers.insert(HeaderName::from_static(header.name()), value);
        }
        Ok(headers)
    }

    /// What `Host` will say.
    fn authority(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        match self.endpoint.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    fn failed(&self, status: u16, failed: &Failed) -> CryptoError {
        let what = self.what();
        // `com.amazonaws.kms#DisabledException`, or without what is before the `#`.
        let kind = failed.kind.rsplit('#').next().unwrap_or_default();
        let kind: String = kind
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(64)
            .collect();
        let message = failed.message.chars().filter(|char| !char.is_control());
        let message: String = message.take(200).collect();
        let said = match (kind.is_empty(), message.is_empty()) {
            (true, _) => format!("it answers {status}"),
            (false, true) => kind.clone(),
            (false, false) => format!("{kind}: {message}"),
        };
        let refused = |why| ProviderError::Refused {
            what: self.what(),
            why,
        };
        match kind.as_str() {
            "InvalidCiphertextException" | "IncorrectKeyException" => CryptoError::DoesNotOpen,
            "NotFoundException" => ProviderError::NoKey {
                what: "AWS KMS".to_owned(),
                key: self.key.clone(),
            }
            .into(),
            "ThrottlingException" | "LimitExceededException" => ProviderError::Busy { what }.into(),
            "DisabledException" => {
                refused(format!("{said}: the key is disabled, so enable it")).into()
            }
            "KMSInvalidStateException" => refused(format!(
                "{said}: the key is not enabled; if it is pending deletion, cancel that while it is time"
            ))
            .into(),
            "KMSInternalException" | "DependencyTimeoutException" | "KeyUnavailableException" => {
                self.out_of_reach(said).into()
            }
            _ if status == 429 => ProviderError::Busy { what }.into(),
            _ if status >= 500 => self.out_of_reach(said).into(),
            _ => refused(said).into(),
        }
    }
}

fn what(key: &str) -> String {
    format!("the key `{key}` of AWS KMS")
}

fn context<'a>(tenant: &'a str, key_version: &'a str) -> BTreeMap<&'static str, &'a str> {
    BTreeMap::from([
        ("tenant", tenant),
        ("version", key_version),
        ("purpose", Purpose::TenantWrap.name()),
    ])
}

/// An error with everything beneath it: the client's own says only that something failed.
fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
