//! Work shared out among the processors, behind whatever else they have to do.

use std::thread;

use super::super::error::Unwritten;

/// How far behind others these threads stand: an answer that is waited for goes first.
#[cfg(target_os = "linux")]
const BEHIND: i32 = 10;

/// Does something with each of a list, in order, on as many processors as there are; nothing waits here but what calls it.
///
/// # Errors
/// The work broke off.
pub(in crate::decide) fn shared_out<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(Vec<T>) -> R + Sync,
) -> Result<Vec<R>, Unwritten> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let each = items.len().div_ceil(processors).max(1);
    let mut shares = Vec::with_capacity(processors);
    let mut rest = items;
    while rest.len() > each {
        let after = rest.split_off(each);
        shares.push(std::mem::replace(&mut rest, after));
    }
    if !rest.is_empty() {
        shares.push(rest);
    }
    let work = &work;
    thread::scope(|scope| {
        let begun: Vec<_> = shares
            .into_iter()
            .map(|share| {
                scope.spawn(move || {
                    step_back();
                    work(share)
                })
            })
            .collect();
        begun
            .into_iter()
            .map(|one| {
                one.join()
                    .map_err(|_| Unwritten::Corrupt { what: "replay" })
            })
            .collect()
    })
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
