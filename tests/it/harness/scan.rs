//! A search for words that must not be there, in every form that a file could hold them in.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A word that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Where.
    pub file: PathBuf,
    /// At which byte.
    pub at: usize,
    /// Which word.
    pub word: String,
    /// How it was written.
    pub form: &'static str,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` as {} at byte {} of {}",
            self.word,
            self.form,
            self.at,
            self.file.display()
        )
    }
}

struct Pattern {
    bytes: Vec<u8>,
    word: String,
    form: &'static str,
}

/// The words in all their forms.
pub struct Scan {
    patterns: Vec<Pattern>,
    by_start: HashMap<u16, Vec<usize>>,
    starts: Vec<bool>,
}

impl Scan {
    /// A search for these words; each must be long enough that chance does not write it.
    pub fn new(words: impl IntoIterator<Item = String>) -> Self {
        let mut patterns = Vec::new();
        for word in words {
            assert!(word.len() >= 12, "`{word}` is too short to be looked for");
            for (form, bytes) in forms(&word) {
                patterns.push(Pattern {
                    bytes,
                    word: word.clone(),
                    form,
                });
            }
        }
        let mut by_start: HashMap<u16, Vec<usize>> = HashMap::new();
        let mut starts = vec![false; 1 << 16];
        for (at, pattern) in patterns.iter().enumerate() {
            let start = u16::from_le_bytes([pattern.bytes[0], pattern.bytes[1]]);
            by_start.entry(start).or_default().push(at);
            starts[usize::from(start)] = true;
        }
        Self {
            patterns,
            by_start,
            starts,
        }
    }

    /// Every hit in these bytes.
    pub fn bytes(&self, file: &Path, bytes: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        for (at, pair) in bytes.windows(2).enumerate() {
            let start = u16::from_le_bytes([pair[0], pair[1]]);
            if !self.starts[usize::from(start)] {
                continue;
            }
            for pattern in self.by_start[&start].iter().map(|at| &self.patterns[*at]) {
                if bytes[at..].starts_with(&pattern.bytes) {
                    let (word, form) = (pattern.word.clone(), pattern.form);
                    hits.push(Hit {
                        file: file.to_owned(),
                        at,
                        word,
                        form,
                    });
                }
            }
        }
        hits
    }

    /// Every hit in every file at or below these paths, and how many bytes were read. The names of files count too.
    pub fn files(&self, roots: &[&Path]) -> (Vec<Hit>, u64) {
        let (mut hits, mut read) = (Vec::new(), 0);
        let mut paths: Vec<PathBuf> = roots.iter().map(|root| root.to_path_buf()).collect();
        while let Some(path) = paths.pop() {
            hits.extend(self.bytes(
                &path,
                path.file_name().unwrap_or_default().as_encoded_bytes(),
            ));
            let about = match std::fs::symlink_metadata(&path) {
                Ok(about) => about,
                // A running service may have removed it since its directory was listed.
                Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => panic!("{}: {error}", path.display()),
            };
            if about.is_dir() {
                match std::fs::read_dir(&path) {
                    Ok(files) => paths.extend(files.map(|file| file.unwrap().path())),
                    Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => panic!("{}: {error}", path.display()),
                }
            } else if about.is_symlink() {
                let target = std::fs::read_link(&path).unwrap();
                hits.extend(self.bytes(&path, target.as_os_str().as_encoded_bytes()));
            } else if about.is_file() {
                match std::fs::read(&path) {
                    Ok(bytes) => {
                        read += u64::try_from(bytes.len()).unwrap();
                        hits.extend(self.bytes(&path, &bytes));
                    }
                    Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => panic!("{}: {error}", path.display()),
                }
            }
        }
        (hits, read)
    }
}

/// Every form that is looked for, with its name.
pub fn forms(word: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = word.as_bytes();
    let lower = data_encoding::HEXLOWER.encode(bytes);
    let mut forms = vec![
        ("text", bytes.to_vec()),
        ("hex", lower.clone().into_bytes()),
        ("upper-case hex", lower.to_uppercase().into_bytes()),
        (
            "UTF-16, little end first",
            word.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        (
            "UTF-16, big end first",
            word.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ),
    ];
    for (before, form) in [
        (0, "base 64"),
        (1, "base 64, second byte"),
        (2, "base 64, third byte"),
    ] {
        forms.push((form, base64_core(&STANDARD_NO_PAD, bytes, before)));
        let url = base64_core(&URL_SAFE_NO_PAD, bytes, before);
        if forms.iter().all(|(_, known)| *known != url) {
            forms.push(("base 64 for URLs", url));
        }
    }
    forms
}

/// The characters of base 64 that the word alone determines when this many bytes stand before it.
fn base64_core(alphabet: &base64::engine::GeneralPurpose, word: &[u8], before: usize) -> Vec<u8> {
    let mut padded = vec![0; before];
    padded.extend_from_slice(word);
    let text = alphabet.encode(&padded).into_bytes();
    text[(before * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec()
}
