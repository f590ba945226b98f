//! The source files as the rules read them: their code without tests and remarks, their words, what they import.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the crate lies that strangers embed.
pub(super) const CORE: &str = "verify/src";

/// A Rust file of the tree.
pub(super) struct Source {
    /// From the root of the repository.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// What is compiled into the program: without the tests at the end, and without lines that only say something.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .take_while(|line| !line.starts_with("mod tests {"))
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    pub(super) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            if place.ends_with('/') {
                self.path.starts_with(place)
            } else {
                self.path == *place
            }
        })
    }

    /// The room: the folder or the file right under `src/`.
    pub(super) fn room(&self) -> &str {
        if self.path.starts_with(CORE) {
            return "verify";
        }
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Where the words stand in the code, as `path:line`.
    pub(super) fn found(&self, words: &[&str]) -> Vec<String> {
        self.code()
            .filter(|(_, line)| words.iter().any(|word| has_word(line, word)))
            .map(|(at, line)| format!("{}:{at}: {}", self.path, line.trim()))
            .collect()
    }
}

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

pub(super) fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

/// The Rust files under these folders, in order.
pub(super) fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        files(&root().join(folder), &mut found);
    }
    found.retain(|path| path.extension().is_some_and(|ending| ending == "rs"));
    found.sort();
    assert!(!found.is_empty(), "nothing under {folders:?}");
    found
        .iter()
        .map(|path| Source {
            path: relative(path),
            text: fs::read_to_string(path).unwrap(),
        })
        .collect()
}

/// The files of the program, without those that are there for tests alone.
pub(super) fn program() -> Vec<Source> {
    let mut sources = sources(&["src", CORE]);
    let mut for_tests = BTreeSet::new();
    for source in &sources {
        let folder = source.path.rsplit_once('/').unwrap().0;
        for after in source.text.split("#[cfg(test)]\nmod ").skip(1) {
            if let Some((name, _)) = after.lines().next().unwrap().split_once(';') {
                for_tests.insert(format!("{folder}/{name}.rs"));
            }
        }
    }
    sources.retain(|source| !for_tests.contains(&source.path));
    sources
}

pub(super) const fn part_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether the text has the word, not as a piece of a longer one.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).map(|at| text.as_bytes()[at]);
        let after = text.as_bytes().get(at + word.len()).copied();
        let (first, last) = (word.as_bytes()[0], word.as_bytes()[word.len() - 1]);
        let goes_on_before = part_of_word(first) && before.is_some_and(part_of_word);
        let goes_on_after = part_of_word(last) && after.is_some_and(part_of_word);
        !goes_on_before && !goes_on_after
    })
}

/// What a line imports: the two parts after each `crate::`, the second where there is one.
pub(super) fn imports(line: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    line.split("crate::").skip(1).map(|after| {
        let mut parts =
            after.split(|one: char| !(one.is_ascii_alphanumeric() || one == '_' || one == ':'));
        let mut parts = parts.next().unwrap().split("::");
        (
            parts.next().unwrap(),
            parts.next().filter(|part| !part.is_empty()),
        )
    })
}

/// What a file uses of a room behind the room's name, as `room::item`.
pub(super) fn items_of(source: &Source, room: &str) -> Vec<String> {
    let behind = format!("{room}::");
    let uses = source
        .code()
        .flat_map(|(_, line)| line.split(behind.as_str()).skip(1));
    let names = uses.map(|after| {
        after
            .split(|one: char| !(one.is_ascii_alphanumeric() || one == '_'))
            .next()
    });
    names
        .map(|name| format!("{behind}{}", name.unwrap_or_default()))
        .collect()
}

#[test]
fn the_reading_of_the_source_finds_what_it_is_for() {
    let source = Source {
        path: "src/log/example.rs".into(),
        text: "//! An example.\n// crate::http\nuse crate::http::problem;\nlet x = Utc::now();\nmod tests {\nSELECT 1\n".into(),
    };
    assert_eq!(source.room(), "log");
    assert_eq!(
        source.found(&["Utc::now"]),
        ["src/log/example.rs:4: let x = Utc::now();"]
    );
    assert!(source.found(&["SELECT"]).is_empty());
    let found: Vec<_> = source.code().flat_map(|(_, line)| imports(line)).collect();
    assert_eq!(found, [("http", Some("problem"))]);
    assert!(!has_word("unsafe_code", "unsafe") && has_word("an unsafe { }", "unsafe"));
    assert!(source.is_in(&["src/log/"]) && !source.is_in(&["src/log/example"]));
}
