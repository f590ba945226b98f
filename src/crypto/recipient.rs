//! Sealing for somebody else: age (<https://age-encryption.org/v1>), which whoever has the identity opens with any tool that speaks it.

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use super::CryptoError;

/// Whoever something is sealed for: an X25519 recipient of age.
#[derive(Clone)]
pub struct Recipient(age::x25519::Recipient);

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recipient")
    }
}

impl FromStr for Recipient {
    type Err = CryptoError;

    fn from_str(text: &str) -> Result<Self, CryptoError> {
        text.parse().map(Self).map_err(|_| CryptoError::NoRecipient)
    }
}

/// What a stream writes to, and what is taken from it.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that is being sealed.
pub struct Envelope {
    stream: age::stream::StreamWriter<Shared>,
    sealed: Shared,
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Envelope")
    }
}

impl Envelope {
    /// Begins one that the recipient alone opens.
    ///
    /// # Errors
    /// [`CryptoError::NotForRecipient`].
    pub fn begin(recipient: &Recipient) -> Result<Self, CryptoError> {
        let recipient: &dyn age::Recipient = &recipient.0;
        let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient))
            .map_err(|_| CryptoError::NotForRecipient)?;
        let sealed = Shared::default();
        let stream = encryptor
            .wrap_output(sealed.clone())
            .map_err(|_| CryptoError::NotForRecipient)?;
        Ok(Self { stream, sealed })
    }

    /// Seals the next bytes; what is ready of the stream.
    ///
    /// # Errors
    /// [`CryptoError::NotForRecipient`].
    pub fn push(&mut self, text: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.stream
            .write_all(text)
            .map_err(|_| CryptoError::NotForRecipient)?;
        Ok(self.taken())
    }

    /// Ends it; the rest of the stream, without which it does not open.
    ///
    /// # Errors
    /// [`CryptoError::NotForRecipient`].
    pub fn finish(self) -> Result<Vec<u8>, CryptoError> {
        let Self { stream, sealed } = self;
        stream.finish().map_err(|_| CryptoError::NotForRecipient)?;
        let mut sealed = sealed.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *sealed))
    }

    fn taken(&self) -> Vec<u8> {
        let mut sealed = self.sealed.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *sealed)
    }
}
