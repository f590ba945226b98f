//! What a command prints: lines for people, or one JSON object a line.

use std::io::Write as _;

use serde_json::Value;

/// Where a command prints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    json: bool,
}

impl Out {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether it prints for programs.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line on standard output.
    pub(super) fn say(&self, value: &Value, text: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{value}")?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()
    }

    /// Prints bytes on standard output as they are; in JSON, in base 64.
    pub(super) fn bytes(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            let text = data_encoding::BASE64.encode(bytes);
            writeln!(out, "{}", serde_json::json!({ "base64": text }))?;
        } else {
            out.write_all(bytes)?;
        }
        out.flush()
    }

    /// Prints progress on standard error, for people alone.
    pub(super) fn progress(&self, text: &str) {
        if !self.json {
            // A closed standard error leaves nobody to tell.
            drop(writeln!(std::io::stderr().lock(), "{text}"));
        }
    }

    /// Says what went wrong, with everything beneath it.
    pub(super) fn error(&self, error: &(dyn std::error::Error + 'static)) {
        let text = with_causes(error);
        let mut err = std::io::stderr().lock();
        let written = if self.json {
            writeln!(err, "{}", serde_json::json!({ "error": text }))
        } else {
            writeln!(err, "cedarkeep: {text}")
        };
        drop(written);
    }
}

/// An error with everything beneath it, in one line.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}
