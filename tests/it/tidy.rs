//! The rules of the house, read off the source files: who imports whom, and where what may stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cedarkeep::log::Event;

use source::{CORE, files, has_word, imports, items_of, program, relative, root, sources};

mod source;

/// The most lines of a file, empty ones not counted.
const LONGEST: usize = 600;

/// Files that are longer, with their own limit and the reason. A file that fits again must leave the list.
const LONGER: &[(&str, usize, &str)] = &[];

/// Each room or file under `src/`, and the rooms that it may import. A path of two parts narrows it to that file.
const IMPORTS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("config", &[]),
    ("telemetry", &["config"]),
    ("crypto", &[]),
    // `crypto::random` gives a letter its identifier.
    ("mail", &["config", "crypto::random"]),
    ("policy", &["ids"]),
    // It says what policies do over all requests, and asks them nothing that is not theirs to say.
    ("proof", &["policy"]),
    ("storage", &["ids"]),
    ("tenant", &["crypto", "ids", "storage"]),
    ("vault", &["crypto", "storage", "tenant"]),
    // Pure but for `append`, `tree`, `anchors` and `upkeep`, which own the log's rows.
    ("log", &["storage"]),
    // `authorized` is what the door hands out: a change asks for it, and can not make it.
    ("directory", &["decide::authorized", "ids", "log", "policy"]),
    ("authn", &["directory"]),
    // It knows no tenant: whoever calls says where to.
    ("outside", &["config"]),
    (
        "decide",
        &[
            "crypto",
            "directory",
            "ids",
            "log",
            "policy",
            "storage",
            "tenant",
            "vault",
        ],
    ),
    // It takes and puts back what the rooms below own, by the names that their tables have.
    (
        "backup",
        &["crypto", "decide", "ids", "log", "storage", "tenant"],
    ),
    (
        "app",
        &[
            "authn",
            "backup",
            "config",
            "crypto",
            "decide",
            "directory",
            "ids",
            "log",
            "outside",
            "mail",
            "policy",
            "proof",
            "publish",
            "storage",
            "tenant",
        ],
    ),
    (
        "publish",
        &["config", "crypto::random", "decide", "log", "tenant"],
    ),
    // `crypto::random` gives what is made over HTTP its identifier; no key is opened at the edge.
    (
        "http",
        &[
            "app",
            "authn",
            "config",
            "crypto::random",
            "decide",
            "directory",
            "ids",
            "log",
            "outside",
            "policy",
            "proof",
            "tenant",
            "vault",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "authn",
            "backup",
            "config",
            "crypto",
            "decide",
            "directory",
            "http",
            "ids",
            "log",
            "outside",
            "policy",
            "proof",
            "publish",
            "telemetry",
            "tenant",
        ],
    ),
    ("lib", &[]),
    ("main", &[]),
];

/// Where the database may be spoken to, beside the impure files of pure rooms.
const SQL: &[&str] = &[
    "src/storage.rs",
    "src/storage/",
    "src/tenant/",
    "src/decide/aside.rs",
    "src/decide/rows.rs",
    "src/decide/state.rs",
    "src/vault/rows.rs",
];

/// Where a status code may be named: those of refusals, of what was made or is gone, and that all is well.
const STATUS: &[&str] = &[
    "src/http/page.rs",
    "src/http/problem.rs",
    "src/http/system.rs",
];

/// Where the word is SAML's: an element of its responses has that name.
const SAML_STATUS: &[&str] = &["src/authn/saml/status.rs"];

/// Where a word of HTTP may stand outside `http/`: settings are checked by the parser that will read them.
const HTTP_WORDS: &[&str] = &["src/config/values.rs"];

/// Where the environment may be read; `clap` reads one variable for `cli`.
const ENVIRONMENT: &[&str] = &["src/config.rs", "src/config/", "src/cli/"];

/// What takes the time as an argument.
const CLOCKLESS: &[&str] = &[
    "src/authn/",
    "src/crypto/",
    "src/decide/acting.rs",
    "src/decide/authorized.rs",
    "src/decide/batch.rs",
    "src/decide/explained.rs",
    "src/decide/explaining.rs",
    "src/decide/judge.rs",
    "src/decide/question.rs",
    "src/decide/record.rs",
    "src/decide/rows.rs",
    "src/decide/sight.rs",
    "src/decide/world.rs",
    "src/directory/",
    "src/ids.rs",
    "src/ids/",
    "src/log/",
    "src/policy/",
    "verify/src/",
];

/// What waits for nothing and opens nothing.
const PURE: &[&str] = &[
    "src/authn/",
    "src/decide/acting.rs",
    "src/decide/authorized.rs",
    "src/decide/explained.rs",
    "src/decide/explaining.rs",
    "src/decide/judge.rs",
    "src/decide/question.rs",
    "src/decide/record.rs",
    "src/decide/sight.rs",
    "src/decide/world.rs",
    "src/directory/",
    "src/ids.rs",
    "src/ids/",
    "src/log/",
    "src/policy/",
    "verify/src/",
];

/// In a pure room, and not pure.
const IMPURE: &[&str] = &[
    "src/log/anchors.rs",
    "src/log/append.rs",
    "src/log/tree.rs",
    "src/log/upkeep.rs",
];

/// The one file that calls C itself, with two functions that nothing else binds; each keyword says why.
const UNSAFE: &[&str] = &["src/authn/saml/engine.rs"];

/// Names that say nothing about what a module owns.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "manager", "managers", "handler", "handlers", "common",
    "misc",
];

/// Events of the vocabulary that nothing emits yet: what they wait for, and their names. It may only shrink.
const NOT_YET: &[(&str, &str)] = &[];

fn nothing(wrong: Vec<String>, rule: &str) {
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

#[test]
fn a_file_opens_with_what_it_owns() {
    let sources = sources(&["src", "verify", "tests/it", "benches"]);
    let wrong = sources
        .iter()
        .filter(|source| !source.text.starts_with("//! "));
    nothing(
        wrong.map(|source| source.path.clone()).collect(),
        "a file opens with one sentence behind `//!`",
    );
}

#[test]
fn a_file_is_not_too_long() {
    let mut exceptions: BTreeMap<&str, usize> = LONGER
        .iter()
        .map(|(path, limit, _)| (*path, *limit))
        .collect();
    let mut wrong = Vec::new();
    for source in sources(&["src", "verify", "tests/it", "benches"]) {
        let lines = source
            .text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        let limit = exceptions.remove(source.path.as_str());
        if lines > limit.unwrap_or(LONGEST) {
            wrong.push(format!("{}: {lines} lines", source.path));
        }
        if limit.is_some() && lines <= LONGEST {
            wrong.push(format!("{}: fits again, take it off the list", source.path));
        }
    }
    wrong.extend(
        exceptions
            .keys()
            .map(|path| format!("{path}: is not there, take it off the list")),
    );
    nothing(
        wrong,
        "a file has at most 600 lines, empty ones not counted",
    );
}

#[test]
fn rooms_import_whom_they_may() {
    let table: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in program() {
        let room = source.room();
        // The core is a crate of its own: it cannot import ours, and `the_core_needs_nothing` says what else it may.
        if room == "verify" {
            continue;
        }
        let Some(allowed) = table.get(room) else {
            wrong.push(format!(
                "{}: the room `{room}` is not in the table",
                source.path
            ));
            continue;
        };
        for (at, line) in source.code() {
            if line.contains("crate::{") {
                wrong.push(format!("{}:{at}: name one room a line", source.path));
            }
            for (to, item) in imports(line).filter(|(to, _)| *to != room && !to.is_empty()) {
                // A room that is imported by its name is used by its narrowed items alone.
                let narrow: Vec<String> = match item {
                    Some(item) => vec![format!("{to}::{item}")],
                    None => items_of(&source, to),
                };
                let fits = allowed.contains(&to)
                    || !narrow.is_empty()
                        && narrow.iter().all(|one| allowed.contains(&one.as_str()));
                if !fits {
                    wrong.push(format!("{}:{at}: `{room}` imports `{to}`", source.path));
                }
            }
        }
    }
    nothing(wrong, "a room imports only those that the table gives it");
}

#[test]
fn the_log_is_pure_but_for_its_rows() {
    let mut wrong = Vec::new();
    for source in program() {
        if source.room() == "log" && !source.is_in(IMPURE) {
            wrong.extend(source.found(&["crate::storage", "sqlx"]));
        }
    }
    nothing(wrong, "only what owns its rows knows a database");
}

/// What the crate that strangers embed may depend on: encodings, hashes, signatures, and nothing that could reach out.
const OF_THE_CORE: &[&str] = &[
    "data-encoding",
    "ed25519-dalek",
    "serde",
    "serde_json",
    "sha2",
    "tar",
    "thiserror",
];

#[test]
fn the_core_needs_nothing_that_could_reach_out() {
    let manifest = fs::read_to_string(root().join("verify/Cargo.toml")).unwrap();
    let (_, after) = manifest.split_once("[dependencies]\n").unwrap();
    let lines = after.lines().take_while(|line| !line.starts_with('['));
    let found: Vec<&str> = lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(found, OF_THE_CORE);
    let words = [
        "std::env",
        "env::var",
        "getrandom",
        "rand",
        "File",
        "OpenOptions",
    ];
    let wrong = sources(&[CORE])
        .iter()
        .flat_map(|source| source.found(&words))
        .collect();
    nothing(wrong, "the core opens nothing and draws nothing");
}

#[test]
fn only_the_edge_knows_the_edge() {
    let mut wrong = Vec::new();
    for source in program() {
        if source.room() != "http" && !source.is_in(HTTP_WORDS) {
            wrong.extend(source.found(&["axum", "utoipa", "tower", "hyper"]));
        }
    }
    nothing(wrong, "HTTP stays in `http/`");
}

#[test]
fn sql_stands_where_rows_are_owned() {
    let mut wrong = Vec::new();
    let statements = [
        "SELECT ",
        "INSERT INTO ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "CREATE DATABASE ",
        "DROP ",
        "PRAGMA ",
    ];
    let all = program();
    let others = all.iter().filter(|source| !source.is_in(SQL));
    for source in others.filter(|source| !source.is_in(IMPURE)) {
        for (at, line) in source.code() {
            let update = line.contains("UPDATE ") && line.contains(" SET ");
            if update
                || statements.iter().any(|statement| line.contains(statement))
                || has_word(line, "sqlx::query")
            {
                wrong.push(format!("{}:{at}: {}", source.path, line.trim()));
            }
        }
    }
    nothing(wrong, "SQL stands where rows are owned");
}

#[test]
fn status_codes_stand_in_one_place() {
    let wrong = program()
        .iter()
        .filter(|source| !source.is_in(STATUS) && !source.is_in(SAML_STATUS))
        .flat_map(|source| source.found(&["StatusCode"]))
        .collect();
    nothing(wrong, "only three files of `http/` know status codes");
}

#[test]
fn the_environment_is_read_in_one_place() {
    let words = [
        "std::env",
        "env::var",
        "env::vars",
        "env::vars_os",
        "env::args",
    ];
    let wrong = program()
        .iter()
        .filter(|source| !source.is_in(ENVIRONMENT))
        .flat_map(|source| source.found(&words))
        .collect();
    nothing(wrong, "only `config` reads the environment");
}

#[test]
fn pure_rooms_take_the_time_as_an_argument() {
    let words = ["Utc::now", "Local::now", "SystemTime", "Instant::now"];
    let wrong = program()
        .iter()
        .filter(|source| source.is_in(CLOCKLESS))
        .flat_map(|source| source.found(&words))
        .collect();
    nothing(wrong, "here time is an argument");
}

#[test]
fn pure_rooms_wait_for_nothing() {
    let words = [
        "async",
        "tokio",
        "sqlx",
        "std::fs",
        "std::net",
        "std::process",
    ];
    let wrong = program()
        .iter()
        .filter(|source| source.is_in(PURE) && !source.is_in(IMPURE))
        .flat_map(|source| source.found(&words))
        .collect();
    nothing(wrong, "here nothing waits and nothing is opened");
}

/// Where credentials are compared, how often, and what must not be comparable otherwise: the type that a secret has.
const COMPARED: &[(&str, usize, &[&str])] = &[
    (
        "src/authn/api_key.rs",
        1,
        &["struct ApiKey", "struct KeyDigest"],
    ),
    ("src/authn/token.rs", 2, &["struct Token"]),
    ("src/authn/oidc/request.rs", 1, &[]),
    ("src/authn/oidc/token.rs", 1, &[]),
    ("src/crypto/secret.rs", 1, &[]),
    ("src/directory/invitation.rs", 1, &[]),
    ("src/http/signin/arriving.rs", 1, &[]),
];

#[test]
fn credentials_are_compared_in_constant_time() {
    let mut wrong = Vec::new();
    for source in program() {
        let compared = source.code().filter(|(_, line)| line.contains(".ct_eq("));
        let listed = COMPARED.iter().find(|(path, ..)| *path == source.path);
        let (times, secrets) =
            listed.map_or((0, &[][..]), |(_, times, secrets)| (*times, *secrets));
        let found = compared.count();
        if found != times {
            wrong.push(format!(
                "{}: {found} comparisons, and {times} are listed",
                source.path
            ));
        }
        // Without `PartialEq`, `==` does not compile.
        let code: Vec<&str> = source.code().map(|(_, line)| line).collect();
        for secret in secrets {
            let at = code.iter().position(|line| has_word(line, secret));
            let derived = at.and_then(|at| at.checked_sub(1)).map(|at| code[at]);
            if derived.is_none_or(|line| !line.contains("derive(") || line.contains("PartialEq")) {
                wrong.push(format!(
                    "{}: `{secret}` can be compared by `==`",
                    source.path
                ));
            }
        }
        if ["authn", "directory", "http"].contains(&source.room()) {
            for (at, line) in source.code() {
                let secret = [".digest", "expose()"]
                    .iter()
                    .any(|word| line.contains(word));
                if secret && (line.contains("==") || line.contains("!=")) {
                    wrong.push(format!("{}:{at}: {}", source.path, line.trim()));
                }
            }
        }
    }
    nothing(wrong, "a credential is compared by `ct_eq` alone");
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["todo!", "unimplemented!", "dbg!"];
    let marks = ["FIXME", "XXX", "TODO", "HACK"];
    let mut wrong = Vec::new();
    for source in program() {
        wrong.extend(source.found(&words));
        let found = source.found(&["unsafe"]);
        if !source.is_in(UNSAFE) {
            wrong.extend(found);
        } else if found.len() != 1 {
            wrong.push(format!(
                "{}: `unsafe` stands there {} times",
                source.path,
                found.len()
            ));
        }
        for (at, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| has_word(line, mark)) {
                wrong.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    nothing(wrong, "nothing unsafe, and nothing left for later");
}

#[test]
fn modules_are_named_after_what_they_own() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "verify", "tests/it", "benches"]) {
        let parts = source.path.trim_end_matches(".rs").split('/');
        wrong.extend(
            parts
                .filter(|part| EMPTY_NAMES.contains(part))
                .map(|part| format!("{}: `{part}`", source.path)),
        );
    }
    nothing(wrong, "a module is named after what it owns");
}

#[test]
fn every_policy_and_schema_is_compiled_in() {
    let builtin = fs::read_to_string(root().join("src/policy/builtin.rs")).unwrap();
    let mut found = Vec::new();
    for folder in ["policies", "schema"] {
        files(&root().join(folder), &mut found);
    }
    assert!(
        found.len() > 20,
        "only {} files under policies/ and schema/",
        found.len()
    );
    let missing = found.iter().map(|path| relative(path)).filter(|path| {
        let listed = path.strip_prefix("policies/").unwrap_or(path);
        !builtin.contains(&format!("\"{listed}\"")) && !builtin.contains(&format!("/{listed}\""))
    });
    nothing(missing.collect(), "`policy/builtin.rs` lists every file");
}

#[test]
fn what_only_the_door_makes_is_made_there() {
    let makers = [
        ("Answer::new", &["src/decide/batch.rs"][..]),
        ("Authorized::mint", &["src/decide/door.rs"]),
        ("Operator::mint", &["src/decide/door.rs"]),
        ("Allowed::mint", &["src/decide/provisioning.rs"]),
    ];
    let program = program();
    let mut wrong = Vec::new();
    for (maker, places) in makers {
        let (inside, outside): (Vec<_>, Vec<_>) =
            program.iter().partition(|source| source.is_in(places));
        wrong.extend(outside.iter().flat_map(|source| source.found(&[maker])));
        let found = inside.iter().flat_map(|source| source.found(&[maker]));
        if found.count() != 1 {
            wrong.push(format!(
                "`{maker}` is not called exactly once in {places:?}"
            ));
        }
    }
    nothing(
        wrong,
        "answers and authorizations are made in one place each",
    );
}

#[test]
fn both_databases_have_the_same_migrations() {
    for room in ["control", "tenant"] {
        let names = |dialect: &str| {
            let mut found = Vec::new();
            files(
                &root().join("migrations").join(room).join(dialect),
                &mut found,
            );
            found
                .iter()
                .map(|path| path.file_name().unwrap().to_owned())
                .collect::<BTreeSet<_>>()
        };
        assert!(!names("sqlite").is_empty());
        assert_eq!(names("sqlite"), names("postgres"), "{room}");
    }
}

#[test]
fn every_event_is_emitted_or_says_what_it_waits_for() {
    let mut code = String::new();
    for source in program()
        .iter()
        .filter(|source| source.path != "verify/src/vocabulary.rs")
    {
        for (_, line) in source.code() {
            code.push_str(line);
            code.push('\n');
        }
    }
    let waiting: Vec<Event> = NOT_YET
        .iter()
        .flat_map(|(_, names)| names.split(' '))
        .map(|name| Event::parse(name).unwrap_or_else(|| panic!("`{name}` is no event")))
        .collect();
    let mut wrong = Vec::new();
    for event in Event::ALL {
        let emitted = has_word(&code, &format!("{event:?}"));
        if !emitted && !waiting.contains(event) {
            wrong.push(format!("`{}` is emitted nowhere", event.as_str()));
        }
        if emitted && waiting.contains(event) {
            wrong.push(format!(
                "`{}` is emitted: take it off the list",
                event.as_str()
            ));
        }
    }
    nothing(
        wrong,
        "an event is emitted, or is listed with what it waits for",
    );
}
