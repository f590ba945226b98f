//! Keys and what is sealed under them: one construction, one hierarchy, one provider of root keys.
//!
//! In reading order: [`secret`] (what a key is in memory), [`cobblestone`] (the cipher's format),
//! [`sealing`] (a stored value and the place that it is bound to), [`hierarchy`] (which key wraps
//! which), [`provider`] and [`keyring`] (where root keys come from), [`signing`], [`process`].

pub mod cobblestone;
mod error;
pub mod hierarchy;
pub mod keyring;
mod private_file;
pub mod process;
pub mod provider;
pub mod recipient;
pub mod sealing;
pub mod secret;
pub mod signing;

pub use error::CryptoError;

/// `N` bytes of the operating system's randomness.
///
/// # Errors
/// [`CryptoError::NoRandomness`]: the caller must not go on with anything weaker.
pub fn random<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(CryptoError::NoRandomness)?;
    Ok(bytes)
}

/// Appends a field behind its length (u64, big-endian), so that no two lists of fields give the same bytes.
fn put_field(out: &mut Vec<u8>, field: &[u8]) {
    // A usize never exceeds a u64 on a platform that this builds for.
    let length = u64::try_from(field.len()).unwrap_or(u64::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field);
}
