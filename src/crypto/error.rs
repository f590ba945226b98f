//! What can go wrong with keys and sealed values.

use std::path::PathBuf;

use super::provider::ProviderError;
use super::sealing::Purpose;

/// Why a value was not sealed, a key not found or a signature not accepted. No variant carries secret bytes.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The operating system gave no randomness.
    #[error("the operating system gives no randomness")]
    NoRandomness(#[source] getrandom::Error),
    /// A key, salt or check value of a wrong length.
    #[error("{what} must be {expected} bytes, not {found}")]
    Length {
        /// What was read.
        what: &'static str,
        /// Bytes that it must have.
        expected: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// The first byte of a stored value is no format that this version writes or reads.
    #[error("sealed value has the unknown format {0:#04x}: was it written by a newer version?")]
    UnknownFormat(u8),
    /// The key version that a stored value names is not among those held.
    #[error(
        "no {purpose} key of version {version}: it was destroyed, or belongs to another deployment"
    )]
    UnknownVersion {
        /// What the key is for.
        purpose: Purpose,
        /// The version in the value's header.
        version: u32,
    },
    /// A text that names nobody whom something could be sealed for.
    #[error("this is no age recipient: it begins with `age1`, as `age-keygen` prints it")]
    NoRecipient,
    /// Sealing for a recipient failed.
    #[error("cannot be sealed for the recipient")]
    NotForRecipient,
    /// The commitment differs: another key, another place, or an altered header. Which of these cannot be told.
    #[error(
        "sealed value does not open: its key is another one, or it was moved from its place, or altered"
    )]
    DoesNotOpen,
    /// The commitment holds, but a chunk was altered, or is out of order.
    #[error("sealed value was altered in chunk {chunk}")]
    Altered {
        /// Counted from 0.
        chunk: u64,
    },
    /// The last chunk is missing or cut.
    #[error("sealed value is cut short")]
    Truncated,
    /// More than 2^38 chunks (4 PiB).
    #[error("value is too long to seal: the format ends at 4 PiB")]
    TooLong,
    /// A key's check value differs from the recorded one.
    #[error(
        "wrong key: the {purpose} key of version {version} is not the one that this data was written with"
    )]
    WrongKey {
        /// What the key is for.
        purpose: Purpose,
        /// Its version.
        version: u32,
    },
    /// A key was offered for something that it is not for.
    #[error("a {found} key cannot serve as {wanted}")]
    WrongPurpose {
        /// What the key is for.
        found: Purpose,
        /// What it was to do.
        wanted: &'static str,
    },
    /// No purpose has this name.
    #[error("no key has the purpose `{0}`")]
    UnknownPurpose(String),
    /// A version is there twice, or is 0.
    #[error(
        "a {purpose} key of version {version} cannot be added: versions start at 1 and are there once"
    )]
    BadVersion {
        /// What the keys are for.
        purpose: Purpose,
        /// The version in question.
        version: u32,
    },
    /// The newest version of a key cannot be removed, and no set of keys is empty.
    #[error("the newest {0} key cannot be removed: add its successor first")]
    LastVersion(Purpose),
    /// Not the encoding of an Ed25519 public key, or a point of small order.
    #[error("not a usable Ed25519 public key")]
    BadPublicKey,
    /// An Ed25519 signature that does not verify.
    #[error("signature does not verify")]
    BadSignature,
    /// No keyring, and it may not be made.
    #[error("no keyring at `{}`, and none is made over existing data: restore the file from its backup", .0.display())]
    KeyringMissing(PathBuf),
    /// The keyring is a symbolic link, a directory or something else than a plain file.
    #[error("keyring `{}` must be a regular file, not a link, folder or device: give its real path", .0.display())]
    KeyringNotAFile(PathBuf),
    /// Others may read or write the keyring.
    #[error("keyring `{}` has mode {mode:04o}, so others can get at it: run `chmod 600 {}`", .path.display(), .path.display())]
    KeyringMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The keyring belongs to another user than the one we run as.
    #[error("keyring `{}` belongs to user {owner}, and this process is user {user}: run `chown {user} {}`", .path.display(), .path.display())]
    KeyringOwner {
        /// The file.
        path: PathBuf,
        /// Its owner's numeric id.
        owner: u32,
        /// The id that this process runs as.
        user: u32,
    },
    /// The keyring cannot be read as one.
    #[error("keyring `{}` is damaged: {why}: restore the file from its backup", .path.display())]
    KeyringDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without any of its content.
        why: String,
    },
    /// The file is no longer what was read at start.
    #[error("keyring `{}` was changed by somebody else since it was read: start again", .0.display())]
    KeyringChanged(PathBuf),
    /// The file system refused.
    #[error("cannot {action} keyring `{}`", .path.display())]
    KeyringIo {
        /// A verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A provider of root keys does not do what it was asked.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The operating system refused to switch core dumps off.
    #[error("cannot forbid core dumps")]
    CoreDumps(#[source] std::io::Error),
}

impl CryptoError {
    /// What keeps a whole provider of root keys from being used, and not one key in it alone.
    #[must_use]
    pub fn outage(&self) -> Option<ProviderError> {
        match self {
            Self::Provider(error) if error.is_outage() => Some(error.clone()),
            Self::KeyringMissing(_)
            | Self::KeyringNotAFile(_)
            | Self::KeyringMode { .. }
            | Self::KeyringOwner { .. }
            | Self::KeyringDamaged { .. }
            | Self::KeyringIo { .. } => Some(ProviderError::OutOfReach {
                what: "the keyring".to_owned(),
                why: self.to_string(),
            }),
            _ => None,
        }
    }

    /// Why a root key cannot be used now, in words for whoever may know nothing of where it is kept.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        if let Some(outage) = self.outage() {
            return outage.reason();
        }
        match self {
            Self::Provider(error) => error.reason(),
            Self::UnknownVersion { .. } => "its root key is not there",
            Self::DoesNotOpen | Self::WrongKey { .. } | Self::UnknownFormat(_) => {
                "its root key is another one"
            }
            _ => "its root key cannot be read",
        }
    }
}
