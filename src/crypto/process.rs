//! What keeps keys inside this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::CryptoError;

/// Keeps keys out of core files: none is written, however the process dies, and on Linux no other process of
/// the same user can attach to it either. To be called first of all.
///
/// # Errors
/// [`CryptoError::CoreDumps`].
pub fn forbid_core_dumps() -> Result<(), CryptoError> {
    let refused = |errno: rustix::io::Errno| CryptoError::CoreDumps(errno.into());
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .map_err(refused)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // A pattern that pipes cores to a program ignores the limit; this it does not ignore.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused)?;
    }
    Ok(())
}

/// Whether core dumps are forbidden.
#[must_use]
pub fn core_dumps_forbidden() -> bool {
    let limit = getrlimit(Resource::Core);
    let limited = limit.current == Some(0) && limit.maximum == Some(0);
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, dumpable_behavior};
        limited && dumpable_behavior() == Ok(DumpableBehavior::NotDumpable)
    }
    #[cfg(not(target_os = "linux"))]
    limited
}
