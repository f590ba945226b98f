//! Policies in a folder, at the command line of a machine that has nothing else of ours: validated, tested, formatted, compared.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::offline::elsewhere;

/// What a command said, and its exit code.
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn policy(folder: &TempDir, arguments: &[&str]) -> Said {
    let all: Vec<&str> = ["policy"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let output = elsewhere(folder.path(), &all);
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    #[track_caller]
    fn ends(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn says(&self, text: &str) -> &Self {
        assert!(
            self.out.contains(text),
            "{text}\n{}\n{}",
            self.out,
            self.err
        );
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

const POLICIES: &str = "// Who burns.\n@id(\"burn\") permit(principal is Cedarkeep::User, action == Cedarkeep::Action::\"thread.delete\", resource) when { resource.holds < 1 };\n";

const TESTS: &str = "given: {users: {ada: Admin, cid: Member}, threads: {talk: ada}}
tests:
  - name: anybody burns what is not held
    principal: cid
    action: thread.delete
    resource: talk
    expect: allow
    reasons: burn
  - name: but for what is
    given: {threads: {talk: {holds: 1}}}
    principal: cid
    action: thread.delete
    resource: talk
    expect: deny
";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn good() -> TempDir {
    folder(&[
        ("a.cedar", POLICIES),
        ("a.test.yaml", TESTS),
        ("README.md", "("),
    ])
}

#[test]
fn tests_pass_fail_or_cannot_be_run() {
    let good = good();
    policy(&good, &["test", "."])
        .ends(0)
        .says("2 of 2 cases pass");
    let junit = policy(
        &good,
        &[
            "test",
            ".",
            "--junit",
            "out.xml",
            "--json",
            "--min-coverage",
            "100",
        ],
    );
    let json = junit.ends(0).json();
    assert_eq!(
        (
            json["passed"].as_bool(),
            json["coverage"]["percent"].as_f64()
        ),
        (Some(true), Some(100.0))
    );
    let xml = fs::read_to_string(good.path().join("out.xml")).unwrap();
    assert!(
        xml.contains("<testsuite name=\"a.test.yaml\" tests=\"2\""),
        "{xml}"
    );

    fs::write(
        good.path().join("a.test.yaml"),
        TESTS.replace("expect: deny", "expect: allow"),
    )
    .unwrap();
    let failed = policy(&good, &["test", ".", "--junit", "out.xml"]);
    failed
        .ends(1)
        .says("FAILED a.test.yaml line 9: but for what is");
    failed
        .says("expected allow, got forbidden, by `holds.destroy`")
        .says("1 of 2 cases fail");
    assert!(
        fs::read_to_string(good.path().join("out.xml"))
            .unwrap()
            .contains("failures=\"1\"")
    );

    let half = TESTS.split("  - name: but").next().unwrap();
    fs::write(good.path().join("a.test.yaml"), half).unwrap();
    policy(&good, &["test", ".", "--min-coverage", "66"])
        .ends(0)
        .says("coverage: 66.7 % (2 of 3)");
    let little = policy(&good, &["test", ".", "--coverage", "--min-coverage", "67"]);
    little
        .ends(1)
        .says("`burn`, condition 1, when: `resource.holds < 1` never failed");
    assert!(
        little
            .err
            .contains("the tests reach 66.7 % of the policies, and 67 % are wanted"),
        "{}",
        little.err
    );

    fs::write(good.path().join("a.test.yaml"), "tests: []").unwrap();
    policy(&good, &["test", "."])
        .ends(2)
        .says("a.test.yaml:1:1: `tests` is a list");
    let json = policy(&good, &["test", ".", "--json"]).ends(2).json();
    assert_eq!(json["findings"][0]["line"], 1);
    fs::write(good.path().join("a.cedar"), "permit").unwrap();
    policy(&good, &["test", "."]).ends(2).says("a.cedar:1:7:");
    fs::remove_file(good.path().join("a.test.yaml")).unwrap();
    let none = policy(&good, &["test", "."]);
    assert!(
        none.ends(2).err.contains("there is no `*.test.yaml`"),
        "{}",
        none.err
    );
    policy(&good, &["test", "nowhere"]).ends(2);
    policy(&good, &["test", ".", "--min-coverage", "101"]).ends(2);
}

#[test]
fn a_folder_is_validated_with_position_help_and_what_was_meant() {
    let good = good();
    policy(&good, &["validate", "."])
        .ends(0)
        .says("valid: 1 policy, 0 warnings and 2 test cases");
    let write = |name: &str, text: &str| fs::write(good.path().join(name), text).unwrap();
    write(
        "b.cedar",
        "permit(principal is Usr, action == Action::\"thread.read\", resource)\nwhen { resource.ownr == principal };",
    );
    let wrong = policy(&good, &["validate", "."]);
    wrong
        .ends(1)
        .says("b.cedar:1:21: for policy `b.cedar#1`, unrecognized entity type `Usr`\n");
    wrong.says("did you mean `Cedarkeep::Action::\"thread.read\"`?");
    let json = policy(&good, &["validate", ".", "--json"]).ends(1).json();
    assert_eq!(json["valid"], false);
    assert_eq!(json["findings"][0]["file"], "b.cedar");
    assert!(json["findings"][0]["help"].is_string());
    write(
        "b.cedar",
        "permit(principal, action, resource) when { false };",
    );
    policy(&good, &["validate", "."])
        .ends(0)
        .says("warning: b.cedar:1:1: for policy `b.cedar#1`, policy is impossible");
    write(
        "b.cedar",
        "permit(principal, action, resource) when { principal.contians(1) };",
    );
    policy(&good, &["validate", "."])
        .ends(1)
        .says("`contians` is not a valid method\n    did you mean `contains`?");
    write(
        "b.cedar",
        "@id(\"admin.audit\") permit(principal, action, resource);",
    );
    policy(&good, &["validate", "."])
        .ends(1)
        .says("b.cedar:1:6: `admin.audit` is the id of a built-in policy");
    write(
        "b.cedar",
        "permit(principal in ?principal, action, resource);",
    );
    policy(&good, &["validate", "."])
        .ends(1)
        .says("b.cedar:1:21: this is a template");
    write(
        "b.cedar",
        "permit(principal, action, resource) when { context.purpose == \"x\" };",
    );
    let many = policy(&good, &["validate", "."]);
    many.ends(1)
        .says("more like it)")
        .says("try testing for the attribute's presence");
    assert!(many.out.lines().count() < 10, "{}", many.out);
    write("b.cedar", "");
    write("schema.cedarschema", "entity invoice { amount: Lng };");
    policy(&good, &["validate", "."])
        .ends(1)
        .says("schema.cedarschema:1:26:")
        .says("Lng");
    write("schema.cedarschema", "entity User;");
    policy(&good, &["validate", "."])
        .ends(1)
        .says("schema.cedarschema:1:8: `User` is the name of a built-in type");
}

#[test]
fn a_mistake_in_the_last_line_of_one_file_among_many_is_found_there() {
    let folder = tempfile::tempdir().unwrap();
    for file in 0..200 {
        let text: String = (0..20)
            .map(|at| POLICIES.replace("\"burn\"", &format!("\"p{file}.{at}\"")))
            .collect();
        // The last line of the last file lacks its semicolon.
        let text = match file {
            199 => text.trim_end().trim_end_matches(';').to_owned(),
            _ => text,
        };
        fs::write(folder.path().join(format!("f{file:03}.cedar")), text).unwrap();
    }
    let wrong = policy(&folder, &["validate", "."]);
    wrong.ends(1);
    let lines: Vec<&str> = wrong.out.lines().collect();
    assert_eq!(
        lines,
        [
            "f199.cedar:40:136: unexpected end of input",
            "    expected `;` or identifier"
        ]
    );
    assert_eq!(wrong.err, "cedarkeep: one thing is wrong with the files\n");
}

#[test]
fn ten_thousand_policies_are_taken_and_one_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let one = |at: usize| {
        format!(
            "@id(\"p{at}\") permit(principal in Cedarkeep::Group::\"g{at}\", action == Cedarkeep::Action::\"report.read\", resource);\n"
        )
    };
    // `PROVE=1` validates all that may be.
    let most = match std::env::var_os("PROVE") {
        Some(_) => 10_000,
        None => 1_000,
    };
    let text: String = (0..most).map(one).collect();
    fs::write(folder.path().join("a.cedar"), &text).unwrap();
    let start = Instant::now();
    policy(&folder, &["validate", "."])
        .ends(0)
        .says(&format!("valid: {most} policies"));
    println!("{most} policies validated in {:?}", start.elapsed());
    let text: String = (0..10_000).map(one).collect();
    fs::write(folder.path().join("a.cedar"), &text).unwrap();
    fs::write(
        folder.path().join("b.cedar"),
        "permit(principal, action, resource);",
    )
    .unwrap();
    let start = Instant::now();
    let refused = policy(&folder, &["validate", "."]);
    refused.ends(1).says("b.cedar: there are 10001 policies up to here, and 10000 at most may be\n    say it of groups");
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    fs::remove_file(folder.path().join("b.cedar")).unwrap();
    // Each of them wrong: the first hundred are told, and the others counted.
    let wrong: String = (0..300)
        .map(|at| one(at).replace("report.read", "report.raed"))
        .collect();
    fs::write(folder.path().join("a.cedar"), wrong).unwrap();
    let refused = policy(&folder, &["validate", "."]);
    refused
        .ends(1)
        .says("a.cedar:1:65:")
        .says("did you mean `Cedarkeep::Action::\"report.read\"`?");
    refused.says("200 more things are wrong");
}

#[test]
fn files_that_are_none_of_a_folder_are_refused() {
    let good = good();
    let at = |name: &str| good.path().join(name);
    let refused = |file: &str, said: &str| {
        for command in [
            &["validate", "."][..],
            &["test", "."],
            &["format", "."],
            &["diff", ".", "."],
        ] {
            policy(&good, command)
                .ends(2)
                .says(&format!("{file}: {said}"));
        }
    };
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink(outside.path(), at("b.cedar")).unwrap();
    refused("b.cedar", "the file is a link that leads out of the folder");
    fs::remove_file(at("b.cedar")).unwrap();
    // One that stays inside is as good as a file.
    symlink("a.cedar", at("schema.txt")).unwrap();
    symlink("nowhere", at("b.cedar")).unwrap();
    refused("b.cedar", "the file cannot be read");
    fs::remove_file(at("b.cedar")).unwrap();
    fs::create_dir(at("b.cedar")).unwrap();
    refused("b.cedar", "this is no file");
    fs::remove_dir(at("b.cedar")).unwrap();
    fs::create_dir(at("more")).unwrap();
    fs::write(at("more/x.cedar"), POLICIES).unwrap();
    refused(
        "more",
        "`x.cedar` stands in a folder within, and would be left out",
    );
    fs::remove_dir_all(at("more")).unwrap();
    fs::write(at("b.cedar"), b"// \xc3\xa4\n// \xe2\x82\n").unwrap();
    refused("b.cedar:2:4", "the file is no UTF-8");
    fs::write(at("b.cedar"), "/".repeat(10 << 20)).unwrap();
    refused(
        "b.cedar",
        "the file is too much: it is longer than 8388608 bytes",
    );
    fs::remove_file(at("b.cedar")).unwrap();
    fs::write(at("z.test.yaml"), "x".repeat(2 << 20)).unwrap();
    policy(&good, &["test", "."])
        .ends(2)
        .says("z.test.yaml: the file is too much");
}

#[test]
fn formatting_is_checked_and_done() {
    let good = good();
    let path = good.path().join("a.cedar");
    let check = policy(&good, &["format", ".", "--check"]);
    check.ends(1).says("would be changed: a.cedar");
    assert!(
        check.err.contains("1 of 1 files are not formatted"),
        "{}",
        check.err
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), POLICIES);
    let json = policy(&good, &["format", ".", "--json"]).ends(0).json();
    assert_eq!(json["changed"], serde_json::json!(["a.cedar"]));
    insta::assert_snapshot!(fs::read_to_string(&path).unwrap(), @r#"
    // Who burns.
    @id("burn")
    permit (
      principal is Cedarkeep::User,
      action == Cedarkeep::Action::"thread.delete",
      resource
    )
    when { resource.holds < 1 };
    "#);
    policy(&good, &["format", ".", "--check"])
        .ends(0)
        .says("1 files are formatted");
    assert_eq!(names(good.path()), ["README.md", "a.cedar", "a.test.yaml"]);
    // Where one does not parse, none is written.
    fs::write(good.path().join("b.cedar"), "permit(").unwrap();
    fs::write(&path, POLICIES).unwrap();
    policy(&good, &["format", "."]).ends(2).says("b.cedar:1:8:");
    assert_eq!(fs::read_to_string(&path).unwrap(), POLICIES);
    let deep = format!(
        "permit(principal, action, resource) when {{ {} }};",
        "!(".repeat(100_000)
    );
    fs::write(good.path().join("b.cedar"), deep).unwrap();
    policy(&good, &["format", "."])
        .ends(2)
        .says("it nests deeper than 250 levels");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn folders_are_compared_policy_by_policy() {
    let (one, other) = (good(), good());
    let there = other.path().to_str().unwrap().to_owned();
    policy(&one, &["diff", ".", &there, "--exit-code"])
        .ends(0)
        .says("no difference");
    let changed = POLICIES.replace("< 1", "< 2");
    fs::remove_file(other.path().join("a.cedar")).unwrap();
    fs::write(other.path().join("moved.cedar"), changed).unwrap();
    let found = policy(&one, &["diff", ".", &there]);
    found
        .ends(0)
        .says("~ policy burn (a.cedar -> moved.cedar) changed: conditions, file");
    found
        .says("- when { resource.holds < 1 };")
        .says("+ when { resource.holds < 2 };");
    policy(&one, &["diff", ".", &there, "--exit-code"]).ends(1);
    let json = policy(&one, &["diff", ".", &there, "--json"])
        .ends(0)
        .json();
    assert_eq!(json["policies"][0]["after"], "moved.cedar");
    fs::write(other.path().join("moved.cedar"), "permit(").unwrap();
    policy(&one, &["diff", ".", &there])
        .ends(2)
        .says(&format!("{there}/moved.cedar:1:8:"));
}
