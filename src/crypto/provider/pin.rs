//! A token's PIN: out of a file that only its owner can read, or out of the environment.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::super::private_file::{self, Unfit};

/// A PIN has at most 255 bytes in any token.
const MAX_BYTES: u16 = 300;

/// Where the PIN comes from.
pub enum Pin {
    /// A file with one line (mode 0600), read whenever the token is logged in to.
    File(PathBuf),
    /// A variable of the environment had it at the start.
    Given(Zeroizing<String>),
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

impl Pin {
    /// The PIN; else why there is none, and what to do.
    pub(super) fn read(&self) -> Result<Zeroizing<String>, String> {
        let path = match self {
            Self::Given(pin) => return Ok(pin.clone()),
            Self::File(path) => path,
        };
        let at = path.display();
        let bytes = private_file::read(path, MAX_BYTES).map_err(|unfit| match unfit {
            Unfit::Missing => format!("there is no file `{at}` with its PIN"),
            Unfit::NotAFile => format!(
                "the file of its PIN, `{at}`, must be a regular file, not a link, folder or device"
            ),
            Unfit::Owner { owner, user } => format!(
                "the file of its PIN, `{at}`, belongs to user {owner}, and this process is user {user}: run `chown {user} {at}`"
            ),
            Unfit::Mode(mode) => format!(
                "the file of its PIN, `{at}`, has mode {mode:04o}, so others can get at it: run `chmod 600 {at}`"
            ),
            Unfit::Io { action, source } => {
                format!("cannot {action} the file of its PIN, `{at}`: {source}")
            }
        })?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.contains('\n') || bytes.len() > usize::from(MAX_BYTES) {
            return Err(format!(
                "the file of its PIN, `{at}`, must hold one line of text and nothing else"
            ));
        }
        Ok(Zeroizing::new(line.to_owned()))
    }
}
