//! What is wrong with a test file is said with its place; what is hostile is refused at once.

use std::time::Instant;

use cedarkeep::policy::suite;
use cedarkeep::policy::{Compiled, OwnPolicies};

use super::super::world::LIBRARY;
use super::{POLICIES, SCHEMA, own, source, wrong};

#[test]
fn each_mistake_is_said_with_its_place_and_what_was_meant() {
    let own = own(SCHEMA, POLICIES);
    let begin = "given:\n  users: {ada: Admin, ben: Member}\n  threads: {talk: ben}\n";
    let test = |rest: &str| {
        format!(
            "{begin}tests:\n  - {{name: t, principal: ben, action: thread.read, resource: talk, expect: allow{rest}}}\n"
        )
    };
    let given = |rest: &str| {
        format!(
            "given:\n  {rest}\ntests: [{{name: t, principal: organization, action: x, resource: x, expect: allow}}]"
        )
    };
    for (text, line, message, help) in [
        (
            "test: []".to_owned(),
            1,
            "a test file has no `test`",
            "did you mean `tests`?",
        ),
        (
            test(", contxt: {}"),
            5,
            "a test has no `contxt`",
            "did you mean `context`?",
        ),
        (
            test(", expect: yes"),
            5,
            "duplicate mapping key `expect`",
            "",
        ),
        (
            test("").replace("allow", "alow"),
            5,
            "this is no answer",
            "did you mean `allow`?",
        ),
        (
            test("").replace("allow", "yes"),
            5,
            "this is no answer",
            "did you mean `allow`?",
        ),
        (
            test("").replace("principal: ben", "principal: bne"),
            5,
            "nothing that is given is called `bne`",
            "did you mean `ben`?",
        ),
        (
            test("").replace("thread.read", "thread.raed"),
            5,
            "no action is called `thread.raed`",
            "did you mean `thread.read`?",
        ),
        (
            test("").replace("resource: talk", "resource: ada"),
            5,
            "`ada` is the name of a `User`, and a `Thread` is wanted here",
            "",
        ),
        (
            test(", reasons: owner.thraed"),
            5,
            "no policy has the id `owner.thraed`",
            "did you mean `owner.thread`?",
        ),
        (
            test(", reasons: open, reasons_include: open"),
            5,
            "both `reasons` and `reasons_include` are said",
            "say one of them",
        ),
        (
            test(", context: {purpos: x}"),
            5,
            "`context` has no `purpos`",
            "did you mean `purpose`?",
        ),
        (
            test(", context: {purpose: 7}"),
            5,
            "`context.purpose` must be a string, and this is a number",
            "put it in quotes",
        ),
        (
            test(", context: {acts_for: ben}"),
            5,
            "`context` has no `acts_for`",
            "",
        ),
        (
            test(", acts_for: ada"),
            5,
            "only agents and services act for somebody",
            "",
        ),
        (
            test(", session: {methd: x}"),
            5,
            "a session has no `methd`",
            "did you mean `method`?",
        ),
        (
            test(", now: yesterday"),
            5,
            "a time is wanted here",
            "as `2026-03-01T12:00:00Z`, or a day as `2026-03-01`",
        ),
        (
            test(", cases: {}"),
            5,
            "`cases` is a list, and this is members",
            "",
        ),
        (
            test(", cases: []"),
            5,
            "`cases` is a list, and this one is empty",
            "",
        ),
        (
            test(", cases: [[a]]"),
            5,
            "the row has 1 columns, and there are 4",
            "they are `principal`, `action`, `resource`, `expect`",
        ),
        (
            test(", columns: [principle]"),
            5,
            "no column is called `principle`",
            "did you mean `principal`?",
        ),
        (
            test("").replace("name: t", "nam: t"),
            5,
            "a test has a `name`",
            "a few words on what it shows",
        ),
        (
            format!("{}  - {{name: t}}", test("")),
            6,
            "there are two tests called `t`, the first in line 5",
            "choose another name",
        ),
        (
            given("user: {}"),
            2,
            "`given` has no `user`",
            "did you mean `users`?",
        ),
        (
            given("users: {a: Membr}"),
            2,
            "`role` must be one of `Admin`, `Member`, `Viewer`",
            "did you mean `Member`?",
        ),
        (
            given("users: {a: {rol: Admin}}"),
            2,
            "`User` has no `rol`",
            "did you mean `role`?",
        ),
        (
            given("users: {a: {active: maybe}}"),
            2,
            "`active` must be true or false, and this is a text",
            "",
        ),
        (
            given("threads: {a: {}}"),
            2,
            "to have attribute `owner`",
            "",
        ),
        (
            given("memories: {a: {owner: b}}\n  users: [b]"),
            2,
            "to have attribute `layer`",
            "",
        ),
        (
            given("threads: {a: {owner: b, in: c}}\n  users: [b]"),
            2,
            "nothing that is given is called `c`",
            "",
        ),
        (
            given("groups: {a: {in: b}}"),
            2,
            "a `Group` is in nothing",
            "",
        ),
        (
            given("entities: {recrd:a: {}}"),
            2,
            "`recrd:a` is not `type:id` with a type of the schema",
            "did you mean `record`?",
        ),
        (
            given("entities: {record:a: {levl: 1}}"),
            2,
            "`record` has no `levl`",
            "did you mean `level`?",
        ),
        (
            given("entities: {record:a: {level: 1.5, names: []}}"),
            2,
            "`level` must be a whole number, and this is a number",
            "",
        ),
        (
            given("entities: {record:a: {level: 1}}"),
            2,
            "to have attribute `names`",
            "",
        ),
        (
            given("entities: {\"User:a\": {}}"),
            2,
            "`User:a` is of a built-in type",
            "",
        ),
        (
            given("entities: [{uid: x}]"),
            2,
            "an entity in Cedar's JSON form has a `uid`",
            "",
        ),
        (
            given("shares: [{template: share-reader, to: a, of: b}]"),
            2,
            "no template is called `share-reader`",
            "",
        ),
        (
            given("shares: [{template: auditor, to: organization}]"),
            2,
            "`auditor` cannot link",
            "",
        ),
        (
            "tests: []".to_owned(),
            1,
            "`tests` is a list, and this one is empty",
            "each test begins with `- name:`",
        ),
        (
            "tests:\n  - 7".to_owned(),
            2,
            "a test has members, and this is a number",
            "",
        ),
        ("tests:\n\t- a".to_owned(), 2, "tab", ""),
        ("tests: [".to_owned(), 1, "unclosed bracket", ""),
        (
            "tests: *none".to_owned(),
            1,
            "reference to unknown value",
            "",
        ),
        (
            "---\ntests: 1\n---\ntests: 2\n".to_owned(),
            3,
            "the file is several documents",
            "a test file is one: take the `---` out",
        ),
    ] {
        let found = wrong(&own, &text);
        let said = found.iter().find(|one| one.message.contains(message));
        let said = said.unwrap_or_else(|| panic!("{text}\n{found:#?}"));
        assert_eq!(
            (said.file.as_str(), said.line),
            ("a.test.yaml", Some(line)),
            "{text}\n{found:#?}"
        );
        assert!(said.column.is_some(), "{text}");
        if !help.is_empty() {
            assert_eq!(said.help.as_deref(), Some(help), "{text}");
        }
    }
}

#[test]
fn several_mistakes_are_said_in_the_order_of_the_file() {
    let found = wrong(
        &own(SCHEMA, POLICIES),
        "given: {users: {a: Admn}}\ntests:\n  - {name: one, principal: b, action: thread.red, resource: c, expect: maybe}\n  - {name: one}\n",
    );
    let lines: Vec<_> = found.iter().map(|one| one.line.unwrap()).collect();
    assert!(lines.is_sorted() && lines.len() >= 5, "{found:#?}");
}

#[test]
fn hostile_files_are_refused_at_once() {
    let nested =
        |open: &str, close: &str| format!("tests: {}{}", open.repeat(50_000), close.repeat(50_000));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let of = format!("*a{}", level - 1);
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![of; 9].join(", ")
        ));
    }
    let mut deep = String::new();
    for level in 0..500 {
        deep.push_str(&format!("{}a:\n", " ".repeat(level)));
    }
    let wide = format!("tests: [{}]", "a, ".repeat(200_000));
    for (text, said) in [
        (bomb, "its aliases repeat too much"),
        (nested("[", "]"), "it nests deeper than 24 levels"),
        (nested("{a: ", "}"), "it nests deeper than 24 levels"),
        (deep, "it nests deeper than 24 levels"),
        (wide, "it has more than 100000 values"),
        ("x".repeat(10 << 20), "it is longer than 1048576 bytes"),
        (format!("tests: {}", "&a ".repeat(2_000)), ""),
        ("<<: {a: &a [*a]}\n".repeat(100), ""),
        ("tests: !!binary AAAA\n".to_owned(), ""),
        ("\u{0}\u{1}".to_owned(), ""),
        ("tests: [{name: t, principal: {? [a] : b}}]".to_owned(), ""),
    ] {
        let start = Instant::now();
        let found = wrong(&OwnPolicies::default(), &text);
        assert!(found[0].message.contains(said), "{found:#?}");
        assert!(
            start.elapsed().as_secs() < 10,
            "{said}: {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn too_many_questions_are_refused_in_all() {
    let row = "      - [ben, thread.read, talk, allow]\n".repeat(10_001);
    let text = format!(
        "given: {{users: [ben], threads: {{talk: ben}}}}\ntests:\n  - name: t\n    cases:\n{row}"
    );
    let compiled = Compiled::builtin(&LIBRARY);
    let files = [source("a.test.yaml", &text), source("b.test.yaml", &text)];
    let found = suite::read(&compiled, &files).unwrap_err();
    assert_eq!(found[0].message, "the tests put more than 20000 questions");
    let twice = [source("a.test.yaml", &text), source("a.test.yaml", &text)];
    let found = suite::read(&compiled, &twice).unwrap_err();
    assert_eq!(found[0].message, "there are two files of this name");
}
