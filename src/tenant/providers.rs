//! The providers of root keys by their names, each asked with patience: how long a call may take, and what is known of one
//! that is down.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::TenantError;
use crate::crypto::CryptoError;
use crate::crypto::hierarchy::{TenantKey, Wrapped};
use crate::crypto::keyring::Store;
use crate::crypto::provider::{Provider, ProviderError, RootCheck, Under};

/// The name of the local keyring, which every deployment may use.
pub const KEYRING: &str = "keyring";

/// How long a provider that is down is left alone: whoever comes meanwhile is told at once what the last one was told.
const REST: Duration = Duration::from_secs(1);

/// How long a call may take where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every provider that this process knows.
#[derive(Debug, Clone)]
pub struct Providers {
    root: String,
    // INVARIANT: holds `root`.
    known: BTreeMap<String, Arc<RootKeys>>,
}

/// One provider.
#[derive(Debug)]
pub struct RootKeys {
    name: String,
    provider: Provider,
    patience: Duration,
    down: Mutex<Option<Down>>,
}

#[derive(Debug)]
struct Down {
    since: Instant,
    until: Instant,
    cause: ProviderError,
}

impl Providers {
    /// The local keyring and no other.
    #[must_use]
    pub fn keyring(path: PathBuf) -> Self {
        let one = (KEYRING.to_owned(), Provider::Keyring(path));
        Self {
            root: KEYRING.to_owned(),
            known: BTreeMap::from([RootKeys::named(one, PATIENCE)]),
        }
    }

    /// All of these, of which `root` is the deployment's own.
    ///
    /// # Errors
    /// There is none of the name `root`.
    pub fn new(
        root: &str,
        providers: impl IntoIterator<Item = (String, Provider)>,
        patience: Duration,
    ) -> Result<Self, TenantError> {
        let providers = providers.into_iter();
        let known = Self {
            root: root.to_owned(),
            known: providers
                .map(|one| RootKeys::named(one, patience))
                .collect(),
        };
        known.named(root)?;
        Ok(known)
    }

    /// The name of the deployment's own.
    #[must_use]
    pub fn root_name(&self) -> &str {
        &self.root
    }

    /// The one of that name; `""` is the deployment's own.
    ///
    /// # Errors
    /// It is not configured here.
    pub fn named(&self, name: &str) -> Result<&Arc<RootKeys>, TenantError> {
        let name = if name.is_empty() { &self.root } else { name };
        self.known
            .get(name)
            .ok_or_else(|| TenantError::NoProvider { name: name.into() })
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RootKeys>> {
        self.known.values()
    }

    /// How many are known to be down, of how many, and why the first of them is.
    #[must_use]
    pub fn down(&self) -> Option<(usize, usize, &'static str)> {
        let mut down = self.iter().filter_map(|one| one.down_because());
        let first = down.next()?;
        Some((down.count().saturating_add(1), self.known.len(), first))
    }
}

impl RootKeys {
    fn named((name, provider): (String, Provider), patience: Duration) -> (String, Arc<Self>) {
        let one = Self {
            name: name.clone(),
            provider,
            patience,
            down: Mutex::new(None),
        };
        (name, Arc::new(one))
    }

    /// What it is called in the settings and in the control database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it cannot be used, as far as is known.
    #[must_use]
    pub fn down_because(&self) -> Option<&'static str> {
        self.known_down().as_ref().map(|down| down.cause.reason())
    }

    /// The provider itself, without what is remembered of its being down.
    #[must_use]
    pub const fn provider(&self) -> &Provider {
        &self.provider
    }

    /// Has a root key ready, and makes the first where there is nothing yet for it to open.
    ///
    /// # Errors
    /// [`TenantError::Keys`], here and everywhere below.
    pub async fn prepare(&self, store: Store) -> Result<(), TenantError> {
        self.ask(self.provider.prepare(store)).await
    }

    /// A new tenant key, and what the control database keeps of it.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn create_key(
        &self,
        tenant: &str,
        version: u32,
        under: Under,
    ) -> Result<(TenantKey, Wrapped), TenantError> {
        self.ask(TenantKey::create(&self.provider, tenant, version, under))
            .await
    }

    /// The tenant key that was wrapped here.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn open_key(
        &self,
        tenant: &str,
        version: u32,
        wrapped: &Wrapped,
    ) -> Result<TenantKey, TenantError> {
        self.ask(TenantKey::open(&self.provider, tenant, version, wrapped))
            .await
    }

    /// Wraps a tenant key that was opened, here or elsewhere.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn rewrap(&self, key: &TenantKey, under: Under) -> Result<Wrapped, TenantError> {
        self.ask(key.rewrap(&self.provider, under)).await
    }

    /// The root key that wraps now, and what the control database keeps of it.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn check_value(&self) -> Result<(u32, RootCheck), TenantError> {
        self.ask(self.provider.check_value()).await
    }

    /// Whether the root key of this version is the one that was recorded.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn verify(&self, version: u32, recorded: &RootCheck) -> Result<(), TenantError> {
        self.ask(self.provider.verify(version, recorded)).await
    }

    /// The version of the root key that wraps now.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn newest(&self) -> Result<u32, TenantError> {
        self.ask(self.provider.newest()).await
    }

    /// The versions of its root keys, oldest first.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn versions(&self) -> Result<Vec<u32>, TenantError> {
        self.ask(self.provider.versions()).await
    }

    /// Makes sure that there is a root key after this version; the newest.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn add_after(&self, version: u32) -> Result<u32, TenantError> {
        self.ask(self.provider.add_after(version)).await
    }

    /// Destroys the root keys before this version.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn destroy_before(&self, version: u32) -> Result<(), TenantError> {
        self.ask(self.provider.destroy_before(version)).await
    }

    /// Adds a root key, which wraps from now on.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn create_next(&self) -> Result<u32, TenantError> {
        self.ask(self.provider.create_next()).await
    }

    /// Destroys an older root key.
    ///
    /// # Errors
    /// As [`RootKeys::prepare`].
    pub async fn destroy(&self, version: u32) -> Result<(), TenantError> {
        self.ask(self.provider.destroy(version)).await
    }

    async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, CryptoError>>,
    ) -> Result<T, TenantError> {
        if let Some(cause) = self.resting() {
            return Err(self.failed(cause.into()));
        }
        let told = match tokio::time::timeout(self.patience, call).await {
            Ok(told) => told,
            Err(_) => Err(ProviderError::TooSlow {
                what: format!("the provider `{}`", self.name),
            }
            .into()),
        };
        self.note(told.as_ref().err());
        told.map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: CryptoError) -> TenantError {
        TenantError::Keys {
            provider: self.name.clone(),
            cause,
        }
    }

    fn resting(&self) -> Option<ProviderError> {
        let down = self.known_down();
        let down = down.as_ref()?;
        (Instant::now() < down.until).then(|| down.cause.clone())
    }

    fn note(&self, error: Option<&CryptoError>) {
        let outage = error.and_then(CryptoError::outage);
        let counted = match (&outage, error) {
            (Some(_), _) => "down",
            (None, Some(_)) => "refused",
            (None, None) => "ok",
        };
        metrics::counter!("cedarkeep_root_key_calls_total", "outcome" => counted).increment(1);
        let mut down = self.known_down();
        let now = Instant::now();
        match (outage, &mut *down) {
            (Some(cause), Some(known)) => {
                known.until = now + REST;
                known.cause = cause;
            }
            (Some(cause), empty) => {
                tracing::error!(provider = self.name, error = %cause, "root keys cannot be used: what is open goes on, nothing is opened");
                let (since, until) = (now, now + REST);
                *empty = Some(Down {
                    since,
                    until,
                    cause,
                });
            }
            (None, Some(known)) => {
                let seconds = known.since.elapsed().as_secs();
                tracing::info!(
                    provider = self.name,
                    down_s = seconds,
                    "root keys can be used again"
                );
                *down = None;
            }
            (None, None) => {}
        }
    }

    fn known_down(&self) -> MutexGuard<'_, Option<Down>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
