//! How often an address may come with a link that is none, before it must wait.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::problem::Problem;
use super::serve::Peer;

/// So many wrong ones in so long.
const MOST: u32 = 30;
/// So many sign-ins may be begun in so long.
const BEGUN_MOST: u32 = 300;
const WITHIN: Duration = Duration::from_secs(60);

/// Of how many addresses it is known.
const ADDRESSES: usize = 10_000;

/// Attempts that failed, by the address that they came from; callers on this machine count as one.
pub(super) struct Attempts {
    known: Mutex<LruCache<Option<IpAddr>, (Instant, u32)>>,
    most: u32,
}

/// Sign-ins that were begun, which anybody may: a whole office may come from one address in the morning.
pub(super) struct Begun(Attempts);

impl Default for Attempts {
    fn default() -> Self {
        Self::at_most(MOST)
    }
}

impl Default for Begun {
    fn default() -> Self {
        Self(Attempts::at_most(BEGUN_MOST))
    }
}

impl Begun {
    /// Another one there, at this moment.
    ///
    /// # Errors
    /// There were too many: when to come again.
    pub(super) fn another(&self, peer: Peer, now: Instant) -> Result<(), Problem> {
        self.0.check(peer, now)?;
        self.0.failed(peer, now);
        Ok(())
    }
}

impl Attempts {
    fn at_most(most: u32) -> Self {
        let room = NonZeroUsize::new(ADDRESSES).unwrap_or(NonZeroUsize::MIN);
        Self {
            known: Mutex::new(LruCache::new(room)),
            most,
        }
    }

    /// Whether somebody there may try, at this moment.
    ///
    /// # Errors
    /// They have failed too often: when to come again.
    pub(super) fn check(&self, peer: Peer, now: Instant) -> Result<(), Problem> {
        let Some((since, failed)) = self.known().get(&peer.site()).copied() else {
            return Ok(());
        };
        let left = WITHIN.saturating_sub(now.duration_since(since));
        if failed >= self.most && !left.is_zero() {
            return Err(Problem::TooMany(left));
        }
        Ok(())
    }

    /// They have failed.
    pub(super) fn failed(&self, peer: Peer, now: Instant) {
        let mut known = self.known();
        let counted = known.get_or_insert_mut(peer.site(), || (now, 0));
        if now.duration_since(counted.0) >= WITHIN {
            *counted = (now, 0);
        }
        counted.1 = counted.1.saturating_add(1);
    }

    fn known(&self) -> MutexGuard<'_, LruCache<Option<IpAddr>, (Instant, u32)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::Tcp(text.parse().unwrap())
    }

    #[test]
    fn whoever_fails_too_often_waits_and_nobody_else_does() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let guesser = peer("192.0.2.1:1000");
        for _ in 0..MOST {
            attempts.check(guesser, now).unwrap();
            attempts.failed(guesser, now);
        }
        let half = now + WITHIN / 2;
        assert_eq!(
            attempts.check(peer("192.0.2.1:2000"), half).unwrap_err(),
            Problem::TooMany(WITHIN / 2)
        );
        attempts.check(peer("192.0.2.2:1000"), half).unwrap();
        attempts.check(Peer::Unix, half).unwrap();
        let over = now + WITHIN;
        attempts.check(guesser, over).unwrap();
        attempts.failed(guesser, over);
        attempts.check(guesser, over).unwrap();
    }

    #[test]
    fn a_site_is_one_address() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for host in 0..MOST {
            attempts.failed(peer(&format!("[2001:db8::{host:x}]:1")), now);
        }
        assert!(attempts.check(peer("[2001:db8::ffff]:1"), now).is_err());
        assert!(attempts.check(peer("[2001:db8:0:1::1]:1"), now).is_ok());
    }
}
