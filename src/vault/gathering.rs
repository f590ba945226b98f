//! What many look for at once is found by one query: while one is under way, those who come wait together for the next.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::VaultError;
use super::rows::{self, Held};
use crate::storage::Database;
use crate::storage::many::MANY;

/// What can be looked for by its name.
pub(super) trait Wanted: Sized + Send + 'static {
    /// Those of these names that are there; each name is there once.
    fn find(
        database: &Database,
        names: &[&str],
    ) -> impl Future<Output = Result<HashMap<String, Self>, VaultError>> + Send;
}

/// The version that counts, by the name of its resource.
impl Wanted for Held {
    async fn find(
        database: &Database,
        names: &[&str],
    ) -> Result<HashMap<String, Self>, VaultError> {
        let mut found = rows::current_of(database, names).await?;
        // Were there ever two, the newer one counts.
        found.sort_unstable_by_key(|held| held.from_index);
        let named = found
            .into_iter()
            .map(|held| (held.spot.resource.clone(), held));
        Ok(named.collect())
    }
}

/// That a version is there, by its own name.
impl Wanted for () {
    async fn find(
        database: &Database,
        names: &[&str],
    ) -> Result<HashMap<String, Self>, VaultError> {
        let found = rows::named(database, names).await?;
        Ok(found.into_iter().map(|name| (name, ())).collect())
    }
}

/// Who waits for what.
struct Waiting<T> {
    asked: Vec<(String, oneshot::Sender<Option<T>>)>,
    /// Somebody looks for them, or is about to.
    at_work: bool,
}

/// Looks for what it is asked for.
pub(super) struct Gathering<T> {
    waiting: Mutex<Waiting<T>>,
}

impl<T> Default for Gathering<T> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                asked: Vec::new(),
                at_work: false,
            }),
        }
    }
}

impl<T: Wanted + Clone> Gathering<T> {
    /// What is there of that name, as of a moment after this was called.
    ///
    /// # Errors
    /// The database does not answer.
    pub(super) async fn get(
        self: &Arc<Self>,
        database: &Database,
        name: &str,
    ) -> Result<Option<T>, VaultError> {
        let (tell, told) = oneshot::channel();
        let begins = self.with(|waiting| {
            waiting.asked.push((name.to_owned(), tell));
            !mem::replace(&mut waiting.at_work, true)
        });
        if begins {
            tokio::spawn(Arc::clone(self).work(database.clone()));
        }
        match told.await {
            Ok(found) => Ok(found),
            // Looking for all of them failed: each asks for itself, and is told why.
            Err(_) => Ok(T::find(database, &[name]).await?.remove(name)),
        }
    }

    /// Looks until nobody waits any more.
    async fn work(self: Arc<Self>, database: Database) {
        let resting = Resting(&self);
        loop {
            let asked = self.with(|waiting| {
                let many = waiting.asked.len().min(MANY);
                let asked: Vec<_> = waiting.asked.drain(..many).collect();
                waiting.at_work = !asked.is_empty();
                asked
            });
            if asked.is_empty() {
                // Whoever comes next begins anew, and may have already.
                mem::forget(resting);
                return;
            }
            let mut names: Vec<&str> = asked.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let Ok(found) = T::find(&database, &names).await else {
                continue;
            };
            for (name, tell) in asked {
                // Whoever is gone needs no word.
                drop(tell.send(found.get(&name).cloned()));
            }
        }
    }
}

impl<T> Gathering<T> {
    fn with<R>(&self, change: impl FnOnce(&mut Waiting<T>) -> R) -> R {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Lets those who wait ask for themselves where the work ended without having told them.
struct Resting<'a, T>(&'a Gathering<T>);

impl<T> Drop for Resting<'_, T> {
    fn drop(&mut self) {
        self.0.with(|waiting| {
            waiting.asked.clear();
            waiting.at_work = false;
        });
    }
}
