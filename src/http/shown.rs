//! Short content inside of JSON: as text where it is text, else in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::vault::Opened;

/// Short content; null for what is too long to stand in a list.
pub(super) fn short(opened: &Opened) -> Value {
    opened
        .short()
        .map_or(Value::Null, |bytes| of(&opened.label().media_type, bytes))
}

/// `{"text": ...}`, or `{"base64": ...}` for what is no text.
pub(super) fn of(media_type: &str, bytes: &[u8]) -> Value {
    let (kind, _) = media_type.split_once(';').unwrap_or((media_type, ""));
    let kind = kind.trim().to_ascii_lowercase();
    let says_text =
        kind.starts_with("text/") || kind == "application/json" || kind.ends_with("+json");
    match std::str::from_utf8(bytes) {
        Ok(text) if says_text => json!({"text": text}),
        _ => json!({"base64": STANDARD.encode(bytes)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_everything_else_is_base64() {
        assert_eq!(
            of("text/plain; charset=utf-8", b"hi"),
            json!({"text": "hi"})
        );
        assert_eq!(of("Application/JSON", b"{}"), json!({"text": "{}"}));
        assert_eq!(
            of("application/octet-stream", b"hi"),
            json!({"base64": "aGk="})
        );
        assert_eq!(of("text/plain", b"\xff"), json!({"base64": "/w=="}));
    }
}
