//! Work shared out among the processors, behind whatever else they have to do.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::super::error::Unwritten;

/// How far behind others these threads stand: an answer that is waited for goes first.
#[cfg(target_os = "linux")]
const BEHIND: i32 = 10;

/// So many shares for each: whoever is held up leaves more of them to the others.
const SHARES: usize = 8;

/// Does something with each of a list, in order, on as many processors as there are; nothing waits here but what calls it.
///
/// # Errors
/// The work broke off.
pub(in crate::decide) fn shared_out<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(Vec<T>) -> R + Sync,
) -> Result<Vec<R>, Unwritten> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let each = items.len().div_ceil(processors * SHARES).max(1);
    let mut shares = VecDeque::with_capacity(processors * SHARES);
    let mut rest = items;
    while rest.len() > each {
        let after = rest.split_off(each);
        shares.push_back((shares.len(), std::mem::replace(&mut rest, after)));
    }
    if !rest.is_empty() {
        shares.push_back((shares.len(), rest));
    }
    let hands = processors.min(shares.len());
    let (shares, work) = (&Mutex::new(shares), &work);
    // Let go of before the work begins.
    let take = || {
        let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.pop_front()
    };
    let mut done = Vec::new();
    thread::scope(|scope| {
        let at_work = || {
            step_back();
            let shares = std::iter::from_fn(take);
            shares
                .map(|(at, share)| (at, work(share)))
                .collect::<Vec<_>>()
        };
        let begun: Vec<_> = (0..hands).map(|_| scope.spawn(at_work)).collect();
        for one in begun {
            let of_one = one
                .join()
                .map_err(|_| Unwritten::Corrupt { what: "replay" })?;
            done.extend(of_one);
        }
        Ok::<_, Unwritten>(())
    })?;
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, done)| done).collect())
}

/// Lets others go first: of this thread alone.
fn step_back() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        // What stands there already need not go further back.
        let stepped =
            getpriority_process(None).and_then(|now| setpriority_process(None, now.max(BEHIND)));
        if let Err(error) = stepped {
            tracing::debug!(%error, "a replay goes on beside answers, and not behind them");
        }
    }
}
