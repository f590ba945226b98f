//! Who may try a credential again, and when: refused attempts, counted by credential and address, and by address. Pure.
//!
//! What is locked is a pair: one credential, from one address. Were it the credential alone, whoever knows its identifier could shut
//! its owner out from anywhere; were it the address alone, one back end's mistake would shut out all others behind the same router. So
//! what is refused of one address at all limits how often that address is told, and how often it is recorded, and never what is right.
//! The Unix socket is one address. So much is remembered and no more: whoever makes this forget a lock has to be refused ten thousand
//! times for it, and then has ten tries at 256 random bits.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

/// So many refused attempts lock a pair.
pub const TRIES: usize = 10;

/// Where they come within so long.
pub const WITHIN: Duration = Duration::from_secs(60);

/// How long the first lock lasts; each that follows soon lasts twice as long as the one before.
pub const FIRST: Duration = Duration::from_secs(60);

/// The longest lock. Whoever keeps quiet for as long after one begins anew.
pub const LONGEST: Duration = Duration::from_mins(15);

/// So many refused attempts of one address a minute are answered and recorded as what they are.
pub const OF_AN_ADDRESS: u32 = 100;

/// So many pairs, and so many addresses, are remembered: those that were last seen.
pub const REMEMBERED: usize = 10_000;

/// Where somebody comes from: one host of IPv4, one network of 64 bits of IPv6 (which one host has all of), or the Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(Option<[u8; 16]>);

impl Address {
    /// The Unix socket.
    pub const LOCAL: Self = Self(None);

    /// An address of IPv6; one that stands for an address of IPv4 is that one.
    #[must_use]
    pub fn of(mut address: [u8; 16]) -> Self {
        let (network, host) = address.split_at_mut(8);
        let mapped = network == [0; 8] && host.starts_with(&[0, 0, 0xff, 0xff]);
        if !mapped {
            host.fill(0);
        }
        Self(Some(address))
    }
}

/// A credential that somebody brought, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// From where.
    pub from: Address,
    /// What it is for: the word that it begins with.
    pub of: &'static str,
    /// Its tenant.
    pub tenant: [u8; 16],
    /// Its identifier.
    pub id: [u8; 16],
}

/// What becomes of a refused attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is recorded and answered as what it is.
    Told,
    /// The same, and the pair is locked for so long from now on.
    Locks(Duration),
    /// There are too many: it is counted, and the next may come after so long.
    Counted(Duration),
}

/// The attempts that are remembered.
#[derive(Debug)]
pub struct Lockout {
    pairs: Mutex<LruCache<Attempt, Pair>>,
    addresses: Mutex<LruCache<Address, Minute>>,
}

#[derive(Debug, Default)]
struct Pair {
    /// The last refused attempts, the oldest first.
    tries: VecDeque<Instant>,
    until: Option<Instant>,
    /// How many locks came soon after each other.
    locks: u32,
}

#[derive(Debug)]
struct Minute {
    since: Instant,
    refused: u32,
}

impl Default for Lockout {
    fn default() -> Self {
        let room = NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN);
        Self {
            pairs: Mutex::new(LruCache::new(room)),
            addresses: Mutex::new(LruCache::new(room)),
        }
    }
}

impl Lockout {
    /// For how long this pair is still locked, whether its secret is right or not.
    pub fn locked(&self, attempt: &Attempt, now: Instant) -> Option<Duration> {
        let pairs = held(&self.pairs);
        let until = pairs.peek(attempt)?.until?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// An attempt is refused.
    pub fn refused(&self, attempt: &Attempt, now: Instant) -> Verdict {
        let beyond = self.beyond(attempt.from, now);
        let mut pairs = held(&self.pairs);
        let verdict = pairs
            .get_or_insert_mut(*attempt, Pair::default)
            .refused(now);
        match (verdict, beyond) {
            (Verdict::Told, Some(pause)) => Verdict::Counted(pause),
            (verdict, _) => verdict,
        }
    }

    /// Counts one more of this address; how long until it is told again what is wrong, where there are too many.
    fn beyond(&self, address: Address, now: Instant) -> Option<Duration> {
        let mut addresses = held(&self.addresses);
        let fresh = || Minute {
            since: now,
            refused: 0,
        };
        let minute = addresses.get_or_insert_mut(address, fresh);
        if now.saturating_duration_since(minute.since) >= WITHIN {
            *minute = fresh();
        }
        minute.refused = minute.refused.saturating_add(1);
        let end = minute.since + WITHIN;
        (minute.refused > OF_AN_ADDRESS).then(|| end.saturating_duration_since(now))
    }
}

impl Pair {
    fn refused(&mut self, now: Instant) -> Verdict {
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(now);
            if !left.is_zero() {
                // It came before the lock, and is refused only now.
                return Verdict::Counted(left);
            }
            if now.saturating_duration_since(until) >= LONGEST {
                *self = Self::default();
            }
        }
        self.tries.push_back(now);
        let is_late = |at: &Instant| now.saturating_duration_since(*at) >= WITHIN;
        while self.tries.front().is_some_and(is_late) {
            self.tries.pop_front();
        }
        if self.tries.len() < TRIES {
            return Verdict::Told;
        }
        self.tries.clear();
        let doubled = FIRST.saturating_mul(1_u32.checked_shl(self.locks).unwrap_or(u32::MAX));
        let lock = doubled.min(LONGEST);
        self.locks = self.locks.saturating_add(1);
        self.until = Some(now + lock);
        Verdict::Locks(lock)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(host: u8, id: u8) -> Attempt {
        let mut address = [0; 16];
        address[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, host]);
        Attempt {
            from: Address::of(address),
            of: "ck",
            tenant: [1; 16],
            id: [id; 16],
        }
    }

    fn begin() -> (Lockout, Instant) {
        (Lockout::default(), Instant::now())
    }

    /// Refuses so many attempts at once; what the last came to.
    fn refuse(lockout: &Lockout, attempt: Attempt, times: usize, now: Instant) -> Verdict {
        let verdicts = (0..times).map(|_| lockout.refused(&attempt, now));
        verdicts.last().unwrap_or(Verdict::Told)
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_tenth_within_a_minute_locks_and_the_ninth_does_not() {
        let (lockout, now) = begin();
        let one = attempt(1, 1);
        assert_eq!(refuse(&lockout, one, 9, now), Verdict::Told);
        assert_eq!(lockout.locked(&one, now), None);
        assert_eq!(
            refuse(&lockout, one, 1, now + seconds(59)),
            Verdict::Locks(FIRST)
        );
        let locked = |after| lockout.locked(&one, now + seconds(59) + after);
        assert_eq!(locked(seconds(0)), Some(FIRST));
        assert_eq!(locked(seconds(59)), Some(seconds(1)));
        assert_eq!(locked(seconds(60)), None);
    }

    #[test]
    fn ten_in_more_than_a_minute_lock_nothing() {
        let (lockout, now) = begin();
        for second in 0..600 {
            if second % 7 == 0 {
                assert_eq!(
                    lockout.refused(&attempt(1, 1), now + seconds(second)),
                    Verdict::Told
                );
            }
        }
    }

    #[test]
    fn ten_that_lie_across_any_minute_lock() {
        let (lockout, now) = begin();
        assert_eq!(refuse(&lockout, attempt(1, 1), 1, now), Verdict::Told);
        assert_eq!(
            refuse(&lockout, attempt(1, 1), 5, now + seconds(58)),
            Verdict::Told
        );
        let last = refuse(&lockout, attempt(1, 1), 5, now + seconds(62));
        assert_eq!(last, Verdict::Locks(FIRST));
    }

    #[test]
    fn a_lock_doubles_up_to_a_quarter_of_an_hour_and_is_forgotten_after_one() {
        let (lockout, mut now) = begin();
        for expected in [60, 120, 240, 480, 900, 900, 900] {
            let lock = refuse(&lockout, attempt(1, 1), TRIES, now);
            assert_eq!(lock, Verdict::Locks(seconds(expected)));
            now += seconds(expected);
        }
        now += LONGEST;
        assert_eq!(
            refuse(&lockout, attempt(1, 1), TRIES, now),
            Verdict::Locks(FIRST)
        );
    }

    #[test]
    fn what_is_refused_during_a_lock_is_counted_and_lengthens_nothing() {
        let (lockout, now) = begin();
        refuse(&lockout, attempt(1, 1), TRIES, now);
        let later = now + seconds(20);
        assert_eq!(
            refuse(&lockout, attempt(1, 1), 30, later),
            Verdict::Counted(seconds(40))
        );
        assert_eq!(lockout.locked(&attempt(1, 1), later), Some(seconds(40)));
    }

    #[test]
    fn a_lock_is_of_one_credential_from_one_address() {
        let (lockout, now) = begin();
        refuse(&lockout, attempt(1, 1), TRIES, now);
        assert!(lockout.locked(&attempt(1, 1), now).is_some());
        let of_another_kind = Attempt {
            of: "cks",
            ..attempt(1, 1)
        };
        let of_another_tenant = Attempt {
            tenant: [2; 16],
            ..attempt(1, 1)
        };
        let local = Attempt {
            from: Address::LOCAL,
            ..attempt(1, 1)
        };
        for other in [
            attempt(2, 1),
            attempt(1, 2),
            of_another_kind,
            of_another_tenant,
            local,
        ] {
            assert_eq!(lockout.locked(&other, now), None, "{other:?}");
        }
    }

    #[test]
    fn an_address_that_is_refused_too_often_locks_no_credential_beside() {
        let (lockout, now) = begin();
        let mut told = 0;
        for id in 0..150 {
            match lockout.refused(&attempt(1, id), now) {
                Verdict::Told => told += 1,
                Verdict::Counted(pause) => assert_eq!(pause, WITHIN),
                Verdict::Locks(_) => unreachable!("each is tried once"),
            }
        }
        assert_eq!(told, OF_AN_ADDRESS);
        assert_eq!(lockout.locked(&attempt(1, 200), now), None);
        assert_eq!(lockout.refused(&attempt(2, 1), now), Verdict::Told);
        assert_eq!(
            lockout.refused(&attempt(1, 200), now + WITHIN),
            Verdict::Told
        );
        // It is locked for what it tries ten times all the same.
        for _ in 0..OF_AN_ADDRESS {
            lockout.refused(&attempt(1, 201), now + WITHIN);
        }
        assert!(lockout.locked(&attempt(1, 201), now + WITHIN).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_a_host_of_ipv4_too() {
        let of = |last: u8| {
            let mut address = [0x20; 16];
            address[15] = last;
            Address::of(address)
        };
        assert_eq!(of(1), of(2));
        assert_ne!(attempt(1, 1).from, attempt(2, 1).from);
        let mut elsewhere = [0x20; 16];
        elsewhere[7] = 1;
        assert_ne!(Address::of(elsewhere), of(1));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let (lockout, now) = begin();
        for number in 0..u32::try_from(REMEMBERED + 500).unwrap_or(u32::MAX) {
            let mut address = [0x20; 16];
            address[..4].copy_from_slice(&number.to_be_bytes());
            let from = Address::of(address);
            lockout.refused(
                &Attempt {
                    from,
                    ..attempt(1, 1)
                },
                now,
            );
        }
        assert_eq!(held(&lockout.pairs).len(), REMEMBERED);
        assert_eq!(held(&lockout.addresses).len(), REMEMBERED);
    }
}
