//! Policies compiled before they count: a version takes a millisecond a policy, and nobody's answer waits for that.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// The one that is announced, however many others are compiled before it counts.
    held: Mutex<Option<([u8; 32], Made)>>,
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            sets: Mutex::new(LruCache::new(KEPT)),
            held: Mutex::default(),
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

    /// Keeps what was made of these until another is held, or nothing is.
    pub(super) fn hold(&self, own: &OwnPolicies, made: Made) {
        *self.held() = Some((key(own), made));
    }

    /// Nothing is held any more.
    pub(super) fn let_go(&self) {
        *self.held() = None;
    }

    fn held(&self) -> MutexGuard<'_, Option<([u8; 32], Made)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, key: &[u8; 32]) -> Option<Made> {
        if let Some((_, made)) = self.held().as_ref().filter(|(held, _)| held == key) {
            return Some(made.clone());
        }
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::policy::Source;

    fn permits(id: &str) -> OwnPolicies {
        let text = format!("@id(\"{id}\") permit (principal, action, resource);");
        let name = "own.cedar".to_owned();
        OwnPolicies {
            schema: None,
            policies: vec![Source { name, text }],
        }
    }

    #[test]
    fn what_is_held_stays_however_many_others_are_made() {
        let library = Arc::new(Library::builtin().unwrap());
        let ready = Ready::default();
        let [held, passing] = ["held", "passing"].map(permits);
        let [one, other] = [&held, &passing].map(|own| ready.made(&library, own).unwrap());
        ready.hold(&held, one.clone());
        for number in 0..KEPT.get() {
            ready.made(&library, &permits(&number.to_string())).unwrap();
        }
        let again = |own| ready.compiled(&library, own).unwrap();
        assert!(Arc::ptr_eq(&again(&held), &one.0));
        assert!(!Arc::ptr_eq(&again(&passing), &other.0));
        ready.let_go();
        assert!(!Arc::ptr_eq(&again(&held), &one.0));
    }
}
