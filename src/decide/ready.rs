//! Policies compiled before they count: a version takes a millisecond a policy, and nobody's answer waits for that.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use sha2::{Digest as _, Sha256};

use crate::policy::{Compiled, Library, OwnPolicies, PolicyError};

/// A set, and how long it took to compile: on another node it takes about as long.
type Made = (Arc<Compiled>, Duration);

/// How many sets are kept for an organization: the active one, the one before, one beside it and one that is coming.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// Sets of an organization's own policies that are compiled, by what is in them.
#[derive(Debug)]
pub struct Ready {
    sets: Mutex<LruCache<[u8; 32], Made>>,
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            sets: Mutex::new(LruCache::new(KEPT)),
        }
    }
}

impl Ready {
    /// These compiled beside the built-in ones, or as they were compiled before.
    ///
    /// # Errors
    /// `Refused` with everything that is wrong.
    pub fn compiled(
        &self,
        library: &Arc<Library>,
        own: &OwnPolicies,
    ) -> Result<Arc<Compiled>, PolicyError> {
        self.made(library, own).map(|(compiled, _)| compiled)
    }

    /// The same, and how long it took when it was compiled.
    ///
    /// # Errors
    /// The same.
    pub(super) fn made(
        &self,
        library: &Arc<Library>,
        own: &OwnPolicies,
    ) -> Result<Made, PolicyError> {
        let key = key(own);
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        // Not under the lock: whoever has one already does not wait for it.
        let begun = Instant::now();
        let made = (Arc::new(Compiled::new(library, own)?), begun.elapsed());
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.put(key, made.clone());
        Ok(made)
    }

    fn known(&self, key: &[u8; 32]) -> Option<Made> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.get(key).cloned()
    }
}

/// What is in them, each text behind its length.
fn key(own: &OwnPolicies) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut text = |text: &str| {
        digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(text);
    };
    for source in own.schema.iter().chain(&own.policies) {
        text(&source.name);
        text(&source.text);
    }
    text(if own.schema.is_some() { "schema" } else { "" });
    digest.finalize().into()
}
