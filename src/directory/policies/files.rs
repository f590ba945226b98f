//! The files of a version of an organization's own policies: what may be in them, their digest, and how they are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::{DirectoryError, name};
use crate::policy::{OwnPolicies, Source};

/// The most bytes of all texts of a version together.
pub const BYTES_LIMIT: usize = 8 << 20;

/// What findings call the schema, which has no file of its own in a store.
pub const SCHEMA: &str = "schema";

/// The most files of a version.
pub const FILES_LIMIT: usize = 1_000;

/// A schema, policies and tests, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Cedar schema text.
    pub schema: String,
    /// File names and Cedar text.
    pub policies: Vec<(String, String)>,
    /// File names and the YAML of tests.
    pub tests: Vec<(String, String)>,
}

impl Files {
    /// These, in the order of their names.
    ///
    /// # Errors
    /// A name that cannot be read or is there twice, too many, or too long.
    pub fn of(
        schema: String,
        mut policies: Vec<(String, String)>,
        mut tests: Vec<(String, String)>,
    ) -> Result<Self, DirectoryError> {
        policies.sort();
        tests.sort();
        for (member, files) in [("policies", &policies), ("tests", &tests)] {
            let mut names = BTreeSet::new();
            for (file, _) in files {
                if name(member, file)? != *file {
                    return Err(DirectoryError::invalid(
                        member,
                        "a file name begins or ends with a space",
                    ));
                }
                if !names.insert(file) {
                    return Err(DirectoryError::invalid(
                        member,
                        format!("`{file}` is there twice"),
                    ));
                }
            }
            if files.len() > FILES_LIMIT {
                let why = format!("{FILES_LIMIT} files at most: put several policies in one");
                return Err(DirectoryError::invalid(member, why));
            }
        }
        let files = Self {
            schema,
            policies,
            tests,
        };
        if files.bytes() > BYTES_LIMIT {
            let why = format!(
                "all texts together have {} bytes, {BYTES_LIMIT} at most",
                files.bytes()
            );
            return Err(DirectoryError::invalid("policies", why));
        }
        Ok(files)
    }

    /// Schema and policies as the compiler takes them.
    #[must_use]
    pub fn own(&self) -> OwnPolicies {
        own(&self.schema, &self.policies)
    }

    fn bytes(&self) -> usize {
        let files = self.policies.iter().chain(&self.tests);
        let texts = files.map(|(name, text)| name.len().saturating_add(text.len()));
        texts.fold(self.schema.len(), usize::saturating_add)
    }

    /// `sha256:` and the SHA-256 of them, in hexadecimal: of the RFC 8785 JSON of an object with `schema`, and `policies` and `tests` as
    /// objects of file names and texts.
    #[must_use]
    pub fn digest(&self) -> String {
        #[derive(Serialize)]
        struct Digested<'a> {
            policies: BTreeMap<&'a str, &'a str>,
            schema: &'a str,
            tests: BTreeMap<&'a str, &'a str>,
        }
        let digested = Digested {
            policies: by_name(&self.policies),
            schema: &self.schema,
            tests: by_name(&self.tests),
        };
        // Texts alone: there is nothing that could not be written.
        let text = serde_json_canonicalizer::to_vec(&digested).unwrap_or_default();
        format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(text)))
    }

    /// As they are kept.
    #[must_use]
    pub(super) fn packed(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::default());
        // Into memory, which takes everything.
        let packed = match packed.write_all(&text) {
            Ok(()) => packed.finish().unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        STANDARD_NO_PAD.encode(packed)
    }

    /// What [`Files::packed`] made.
    pub(super) fn unpacked(packed: &str) -> Option<Self> {
        let packed = STANDARD_NO_PAD.decode(packed).ok()?;
        let mut text = Vec::new();
        // JSON may take twice the bytes of a text, and more where it has many control characters.
        let most = u64::try_from(BYTES_LIMIT).ok()?.saturating_mul(8);
        DeflateDecoder::new(packed.as_slice())
            .take(most)
            .read_to_end(&mut text)
            .ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// A schema and policies as the compiler takes them.
pub(in crate::directory) fn own(schema: &str, policies: &[(String, String)]) -> OwnPolicies {
    let source = |(name, text): &(String, String)| Source {
        name: name.clone(),
        text: text.clone(),
    };
    OwnPolicies {
        schema: (!schema.trim().is_empty()).then(|| Source {
            name: SCHEMA.into(),
            text: schema.to_owned(),
        }),
        policies: policies.iter().map(source).collect(),
    }
}

fn by_name(files: &[(String, String)]) -> BTreeMap<&str, &str> {
    files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        Files::of(
            "entity Page;".into(),
            vec![
                text("b.cedar", "permit (principal, action, resource);"),
                text("a.cedar", "// ü\u{1}"),
            ],
            vec![text("a.test.yaml", "tests: []")],
        )
        .unwrap_or_default()
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let files = files();
        assert_eq!(
            files.policies.first().map(|(name, _)| name.as_str()),
            Some("a.cedar")
        );
        assert_eq!(Files::unpacked(&files.packed()), Some(files));
        assert_eq!(Files::unpacked("AAAA"), None);
        assert_eq!(Files::unpacked("?"), None);
    }

    #[test]
    fn a_digest_is_of_every_text_and_of_no_order() {
        let files = files();
        let mut turned = files.clone();
        turned.policies.reverse();
        assert_eq!(turned.digest(), files.digest());
        for change in [
            |files: &mut Files| files.schema.push(' '),
            |files: &mut Files| {
                files
                    .policies
                    .iter_mut()
                    .for_each(|(_, text)| text.push(' '))
            },
            |files: &mut Files| {
                files
                    .policies
                    .iter_mut()
                    .for_each(|(name, _)| name.push('x'))
            },
            |files: &mut Files| files.tests.clear(),
        ] {
            let mut other = files.clone();
            change(&mut other);
            assert_ne!(other.digest(), files.digest());
        }
    }

    #[test]
    fn too_much_is_refused() {
        let text = |name: &str, text: String| (name.to_owned(), text);
        let long = vec![text("a.cedar", " ".repeat(BYTES_LIMIT))];
        assert!(Files::of(String::new(), long, Vec::new()).is_err());
        let many = (0..=FILES_LIMIT).map(|number| text(&format!("{number}.cedar"), String::new()));
        assert!(Files::of(String::new(), many.collect(), Vec::new()).is_err());
        let twice = vec![
            text("a.cedar", String::new()),
            text("a.cedar", String::new()),
        ];
        assert!(Files::of(String::new(), twice, Vec::new()).is_err());
    }
}
