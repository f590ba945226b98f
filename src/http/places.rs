//! How many connections a listener has at once, in all and from one site.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::serve::{Most, Peer};

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    most: Most,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// A place, for as long as a connection has it.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    site: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(most: Most) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    /// A place for a connection from there, if there is one.
    pub(super) fn take(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let mut taken = self.taken();
        if taken.all >= self.most.all {
            return None;
        }
        let site = peer.site();
        if let Some(site) = site {
            let of = taken.of.entry(site).or_default();
            if *of >= self.most.of_one {
                return None;
            }
            *of += 1;
        }
        taken.all += 1;
        Some(Place {
            places: Arc::clone(self),
            site,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(site) = self.site
            && let Entry::Occupied(mut of) = taken.of.entry(site)
        {
            *of.get_mut() = of.get().saturating_sub(1);
            if *of.get() == 0 {
                of.remove();
            }
        }
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
    fn one_site_has_its_share_and_all_have_theirs() {
        let most = Most { all: 4, of_one: 2 };
        let places = Arc::new(Places::new(most));
        let first = places.take(peer("192.0.2.1:1")).unwrap();
        let second = places.take(peer("192.0.2.1:2")).unwrap();
        assert!(places.take(peer("192.0.2.1:3")).is_none());
        let third = places.take(peer("[2001:db8::1]:1")).unwrap();
        let fourth = places.take(peer("[2001:db8::2]:1")).unwrap();
        assert!(places.take(peer("192.0.2.9:1")).is_none(), "none is left");
        drop(first);
        assert!(places.take(peer("[2001:db8::3]:1")).is_none());
        let fifth = places.take(peer("192.0.2.1:3")).unwrap();
        drop((second, third, fourth, fifth));
        let taken = places.taken();
        assert!(taken.all == 0 && taken.of.is_empty());
    }

    #[test]
    fn callers_on_this_machine_share_all_of_them() {
        let most = Most { all: 3, of_one: 1 };
        let places = Arc::new(Places::new(most));
        let held: Vec<_> = (0..3).map(|_| places.take(Peer::Unix).unwrap()).collect();
        assert!(places.take(Peer::Unix).is_none());
        drop(held);
        assert!(places.take(Peer::Unix).is_some());
    }
}
