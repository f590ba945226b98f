//! Documents of providers that are kept a while: how they describe themselves, and their keys.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use url::Url;

/// How long a document is used before it is fetched again: so long a key counts that its provider has withdrawn.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// How long after a document was fetched, or tried to be, it is not fetched again because of a key that it has not.
const COOL_DOWN: Duration = Duration::from_secs(60);

/// The most bytes that are kept, of all tenants' providers.
const ROOM: usize = 16 * 1024 * 1024;

/// The most URLs that are remembered.
const URLS: usize = 4096;

struct Document {
    text: Arc<[u8]>,
    fetched: Instant,
    asked: Instant,
}

/// The documents, by their URLs. They are public, and what a URL holds is the same for every tenant.
pub(super) struct Kept(Mutex<LruCache<Url, Document>>);

/// What is to be done about a document.
pub(super) enum Next {
    /// It is here.
    Use(Arc<[u8]>),
    /// It must be fetched.
    Fetch,
    /// It is not fetched again so soon.
    Wait,
}

impl Kept {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }

    /// The document of this URL, if it is young enough.
    pub(super) fn young(&self, url: &Url, now: Instant) -> Next {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.get(url) {
            Some(document) if now.saturating_duration_since(document.fetched) < MAX_AGE => {
                Next::Use(Arc::clone(&document.text))
            }
            Some(_) | None => Next::Fetch,
        }
    }

    /// Whether it may be fetched again although it is young. Whoever is told so has begun the next cool-down.
    pub(super) fn again(&self, url: &Url, now: Instant) -> Next {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(document) = kept.get_mut(url) else {
            return Next::Fetch;
        };
        if now.saturating_duration_since(document.asked) < COOL_DOWN {
            return Next::Wait;
        }
        document.asked = now;
        Next::Fetch
    }

    pub(super) fn keep(&self, url: &Url, text: Arc<[u8]>, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let document = Document {
            text,
            fetched: now,
            asked: now,
        };
        kept.put(url.clone(), document);
        let mut all: usize = kept.iter().map(|(_, document)| document.text.len()).sum();
        while all > ROOM || kept.len() > URLS {
            let Some((_, gone)) = kept.pop_lru() else {
                break;
            };
            all = all.saturating_sub(gone.text.len());
        }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept(..)")
    }
}
