//! How a command ends that did what it was to do and has something to tell by its exit code.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// An end with an exit code of its own. Every other error ends with 1.
#[derive(Debug)]
pub(super) struct Ending {
    code: u8,
    said: String,
}

impl Ending {
    /// What was checked is not as it should be.
    pub(super) fn unmet(said: impl Into<String>) -> Self {
        Self {
            code: 1,
            said: said.into(),
        }
    }

    /// It could not be checked, since the files are wrong.
    pub(super) fn unchecked(said: impl Into<String>) -> Self {
        Self {
            code: 2,
            said: said.into(),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl Error for Ending {}

/// The exit code of a command that ended with this.
pub(super) fn code(error: &(dyn Error + 'static)) -> ExitCode {
    let ending = error.downcast_ref::<Ending>();
    ending.map_or(ExitCode::FAILURE, |ending| ExitCode::from(ending.code))
}
