//! `X-Request-ID`: the caller's, sent back as it came on every response; one of ours where there is none.
//!
//! Whatever a header may hold is sent back byte for byte, however long or odd, since callers match answers
//! by it. What is *shown* (log lines) is another thing: a value over [`SHOWN_LIMIT`] bytes, or with
//! anything but visible ASCII, would let a caller write what it likes into them, so an id of ours stands
//! there in its place. Only what the HTTP parser itself refuses, before a request exists, has no id.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use data_encoding::BASE32_NOPAD;

/// The header.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest caller's id that is shown as it is, in bytes.
pub const SHOWN_LIMIT: usize = 256;

/// The id of a request, as an extension of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    shown: String,
    sent: Option<Vec<u8>>,
}

impl RequestId {
    /// What log lines show: visible ASCII, never empty, at most [`SHOWN_LIMIT`] bytes.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// What the caller sent, byte for byte, when it sent one.
    #[must_use]
    pub fn sent(&self) -> Option<&[u8]> {
        self.sent.as_deref()
    }

    /// The id of a request that came with this value, if any, and the id that stands in for it.
    #[must_use]
    pub fn of(sent: Option<&HeaderValue>, random: [u8; 16]) -> Self {
        let bytes = sent.map(HeaderValue::as_bytes);
        let shown = bytes
            .filter(|value| {
                (1..=SHOWN_LIMIT).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
            })
            .and_then(|value| std::str::from_utf8(value).ok())
            .map_or_else(
                || format!("req_{}", BASE32_NOPAD.encode(&random).to_ascii_lowercase()),
                str::to_owned,
            );
        Self {
            shown,
            sent: bytes.map(<[u8]>::to_vec),
        }
    }
}

/// What is sent back of the id that a request came with, or of ours.
#[derive(Debug)]
pub struct Returned {
    sent: Vec<HeaderValue>,
    minted: Option<HeaderValue>,
}

/// Gives a request its id.
pub fn give(request: &mut Request) -> Returned {
    let sent: Vec<HeaderValue> = request
        .headers()
        .get_all(&X_REQUEST_ID)
        .iter()
        .cloned()
        .collect();
    let mut random = [0_u8; 16];
    if getrandom::fill(&mut random).is_err() {
        // An id only has to tell requests apart; without randomness nothing else answers either.
        tracing::error!("the system has no randomness for a request id");
    }
    let id = RequestId::of(sent.first(), random);
    let minted = HeaderValue::from_str(id.shown())
        .ok()
        .filter(|_| sent.is_empty());
    request.extensions_mut().insert(id);
    Returned { sent, minted }
}

impl Returned {
    /// Writes it into an answer's headers, byte for byte.
    pub fn send_back(self, headers: &mut HeaderMap) {
        headers.remove(&X_REQUEST_ID);
        for value in self.sent.into_iter().chain(self.minted) {
            headers.append(X_REQUEST_ID, value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn what_cannot_be_shown_is_replaced_but_kept() {
        let odd = [
            b"".to_vec(),
            b"two words".to_vec(),
            vec![0xC3, 0xA9],
            vec![b'a'; 257],
        ];
        for value in odd {
            let id = RequestId::of(Some(&HeaderValue::from_bytes(&value).unwrap()), [7; 16]);
            assert_eq!(id.shown(), "req_a4dqobyha4dqobyha4dqobyha4");
            assert_eq!(id.sent(), Some(value.as_slice()));
        }
    }

    #[test]
    fn what_can_be_shown_is_shown() {
        let value = "b".repeat(256);
        let id = RequestId::of(Some(&HeaderValue::from_str(&value).unwrap()), [7; 16]);
        assert_eq!(id.shown(), value);
        assert_eq!(RequestId::of(None, [7; 16]).sent(), None);
    }
}
