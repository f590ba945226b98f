//! Test files of policies: what they can say, how wrong ones are refused, what they reach, and how results are told.

use std::time::Instant;

use cedarkeep::policy::suite::{self, Measured, SuiteReport};
use cedarkeep::policy::{Compiled, Finding, OwnPolicies, Source};

use super::world::LIBRARY;

fn source(name: &str, text: &str) -> Source {
    Source {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn own(schema: &str, policies: &str) -> OwnPolicies {
    OwnPolicies {
        schema: (!schema.is_empty()).then(|| source("schema.cedarschema", schema)),
        policies: vec![source("own.cedar", policies)],
    }
}

fn run(own: &OwnPolicies, test: &str) -> SuiteReport {
    let report = suite::run(&LIBRARY, own, &[source("a.test.yaml", test)]);
    report.unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// What is wrong with a test file.
fn wrong(own: &OwnPolicies, test: &str) -> Vec<Finding> {
    suite::run(&LIBRARY, own, &[source("a.test.yaml", test)]).unwrap_err()
}

const SCHEMA: &str = r#"
entity person tags String;
entity folder;
entity record in [folder] {
  level: Long, keeper?: Cedarkeep::User, names: Set<String>, due?: datetime, net?: ipaddr,
  place?: { floor: Long, room?: String },
};
action "record.open", "record.burn" appliesTo {
  principal: [Cedarkeep::User, Cedarkeep::Agent, person], resource: [record],
  context: { action: { soft?: Bool }, why?: String, by?: Cedarkeep::User, cedarkeep: Cedarkeep::Server },
};
"#;

const POLICIES: &str = r#"
@id("open") permit(principal is Cedarkeep::User, action == Action::"record.open", resource)
when { resource.level < 3 && resource has keeper && resource.keeper == principal }
unless { context has why && context.why == "spite" };
@id("shelf") permit(principal, action == Action::"record.open", resource in folder::"shelf");
@id("soft") permit(principal, action == Action::"record.burn", resource) when { context.action has soft && context.action.soft };
@id("late") forbid(principal, action == Action::"record.burn", resource)
when { resource has due && resource.due < context.cedarkeep.now };
@id("badge") permit(principal is person, action == Action::"record.burn", resource)
when { principal.hasTag("badge") && principal.getTag("badge") == "gold" };
@id("sum") permit(principal, action == Action::"record.burn", resource) when { resource.level + 9223372036854775807 > 0 };
"#;

#[test]
fn all_that_a_question_may_have_reaches_the_policies() {
    let test = r#"
now: 2026-05-01
given:
  users: {ben: Member, cid: {id: usr_aaaaaaaaaaaaaaaaaaaaaaaaaa}}
  entities:
    folder:shelf:
    record:a: {level: 1, keeper: ben, names: [x]}
    record:b: {level: 1, keeper: cid, names: []}
    record:c: {level: 9, names: [], in: "folder:shelf"}
    record:d: {level: -5, names: [], due: 2026-05-02T00:00:00Z, net: 10.0.0.0/8, place: {floor: 1}}
    person:gold: {tags: {badge: gold}}
    person:007: {tags: {badge: tin}}
tests:
  - name: attributes, parents, identifiers
    action: record.open
    columns: [principal, resource, expect, reasons]
    cases:
      - [ben, record:a, allow, open]
      - [cid, record:a, not_permitted, []]
      - [cid, record:b, allow, open]
      - [ben, record:c, allow, shelf]
      - ["person:007", record:c, allow, shelf]
      - ["person:nobody", record:c, allow, shelf]
  - name: what the question says
    principal: ben
    action: record.open
    resource: record:a
    cases:
      - {context: {why: spite}, expect: deny}
      - {context: {why: need, by: cid}, expect: allow}
      - {resource: {name: record:a, properties: {level: 3}}, expect: deny}
      - {resource: {name: record:new, properties: {level: 2, keeper: ben}}, expect: allow}
  - name: the action's properties, and the time
    principal: ben
    resource: record:d
    action: {name: record.burn, properties: {soft: true}}
    cases:
      - {expect: allow, reasons_include: soft}
      - {now: 2026-05-02T00:00:01Z, expect: forbidden, reasons: late}
      - {action: record.burn, resource: record:c, expect: error, reasons: sum}
  - name: tags
    action: record.burn
    resource: record:d
    columns: [principal, expect, reasons]
    cases:
      - [person:gold, allow, [badge, sum]]
      - ["person:007", allow, [sum]]
"#;
    let report = run(&own(SCHEMA, POLICIES), test);
    assert!(report.passed(), "{}", report.words().join("\n"));
    assert_eq!(report.cases.len(), 15);
}

#[test]
fn entities_may_be_in_cedars_json_form() {
    let test = r#"
given:
  users: {ben: Member}
  entities:
    - {uid: {type: folder, id: shelf}, attrs: {}, parents: []}
    - {uid: {type: record, id: r}, attrs: {level: 1, names: []}, parents: [{type: folder, id: shelf}]}
    - uid: {type: "Cedarkeep::Group", id: crew}
      attrs: {org: {__entity: {type: "Cedarkeep::Organization", id: organization}}}
      parents: []
  threads: {talk: {owner: ben, audience: crew}}
tests:
  - {name: by parents, principal: ben, action: record.open, resource: "record:r", expect: allow}
  - {name: by a name that both have, principal: ben, action: thread.read, resource: talk, expect: allow}
"#;
    let report = run(&own(SCHEMA, POLICIES), test);
    assert!(report.passed(), "{}", report.words().join("\n"));
}

#[test]
fn guardrails_stand_and_an_own_permit_does_not_count_for_what_is_private() {
    let everything = own("", "@id(\"all\") permit(principal, action, resource);");
    let test = r#"
given:
  users: {ada: Admin, ben: Member, vic: Viewer}
  threads: {talk: ben}
  agent_definitions: {helper: ben}
  agents: {bot: helper}
tests:
  - name: none
    columns: [principal, acts_for, action, resource, expect, reasons]
    cases:
      - [ada, null, thread.read, talk, not_permitted, []]
      - [vic, null, thread.delete, talk, forbidden, viewer.ceiling]
      - [ben, null, policy.edit, PolicySet, forbidden, admins.administer]
      - [ben, null, thread.delete, talk, allow, [all, owner.thread]]
      - [bot, ben, thread.delete, talk, allow, [all, owner.thread]]
      - [bot, ada, thread.read, talk, not_permitted, []]
      - [bot, null, thread.delete, talk, forbidden, agents.acting_user]
"#;
    let report = run(&everything, test);
    assert!(report.passed(), "{}", report.words().join("\n"));
}

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
            "`tests` is a list",
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

#[test]
fn policies_that_are_wrong_are_said_before_any_test() {
    let found = wrong(
        &own(SCHEMA, "permit(principal, action, resource)"),
        "tests: [",
    );
    assert_eq!(found[0].file, "own.cedar");
}

#[test]
fn coverage_tells_what_no_test_reached_held_or_failed() {
    let test = r#"
given:
  users: {ben: Member, cid: Member}
  entities: {record:a: {level: 1, keeper: ben, names: []}}
tests:
  - {name: t, principal: ben, action: record.open, resource: "record:a", expect: allow}
  - {name: u, principal: cid, action: record.open, resource: "record:a", expect: deny}
"#;
    let report = run(&own(SCHEMA, POLICIES), test);
    insta::assert_snapshot!(report.coverage.missing().join("\n"), @r#""#);
    let (met, all) = report.coverage.counts();
    assert_eq!((met, all), (6, 21));
    let open = &report
        .coverage
        .policies
        .iter()
        .find(|one| one.id == "open")
        .unwrap();
    let counts: Vec<_> = open
        .parts
        .iter()
        .map(|part| (part.held, part.failed, part.erred))
        .collect();
    // What Cedar does not look at counts as not looked at.
    assert_eq!(
        (open.reached, counts),
        (2, vec![(2, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 0)])
    );
    // Nothing to reach is all of it.
    let none = suite::run(
        &LIBRARY,
        &OwnPolicies::default(),
        &[source(
            "a.test.yaml",
            "given: {users: [a]}\ntests: [{name: t, principal: a, action: member.read, resource: a, expect: allow}]",
        )],
    );
    assert_eq!(none.unwrap().coverage.percent(), 100.0);
}

#[test]
fn a_permit_that_never_counts_is_never_reached_and_warned_of() {
    let own = own(
        "",
        "@id(\"mine\") permit(principal, action == Cedarkeep::Action::\"thread.read\", resource);\n@id(\"ours\") permit(principal, action in Cedarkeep::Action::\"group.read\", resource);",
    );
    let test = "given: {users: {a: Admin, b: Member}, threads: {t: b}}\ntests: [{name: t, principal: a, action: thread.read, resource: t, expect: deny}]";
    assert_eq!(
        run(&own, test).coverage.missing(),
        ["`mine`: no test reaches it", "`ours`: no test reaches it"]
    );
    let compiled = Compiled::new(&LIBRARY, &own).unwrap();
    let warned: Vec<_> = compiled
        .warnings()
        .iter()
        .map(|one| (one.line, one.message.as_str()))
        .collect();
    assert_eq!(
        warned,
        [(
            Some(1),
            "the permit `mine` never counts: its actions are opened by ownership, audience and shares alone"
        )]
    );
}

const FAILING: &str = r#"
given:
  users: {ben: Member, cid: Member}
  threads: {talk: ben}
tests:
  - name: a <thread> is "shared"
    action: thread.read
    resource: talk
    columns: [principal, expect, reasons]
    cases:
      - [ben, allow, owner.thread]
      - [cid, allow, []]
      - [ben, allow, audience.read]
  - {name: one, principal: ben, action: thread.read, resource: talk, expect: deny}
"#;

#[test]
fn what_failed_is_told_with_what_came_and_why() {
    let report = run(&OwnPolicies::default(), FAILING);
    insta::assert_snapshot!(report.words().join("\n"), @r#""#);
    let json = report.to_json();
    assert_eq!(json["passed"], false);
    assert_eq!(json["cases"][1]["got"], "not_permitted");
    assert_eq!(json["cases"][0]["failure"], serde_json::Value::Null);
}

#[test]
fn build_servers_read_the_results() {
    let report = run(&OwnPolicies::default(), FAILING);
    insta::assert_snapshot!(report.to_junit().unwrap(), @r#""#);
    let read = quick_junit::Report::deserialize_from_str(&report.to_junit().unwrap()).unwrap();
    assert_eq!((read.tests, read.failures), (4, 3));
}

#[test]
fn other_policies_of_the_same_vocabulary_answer_the_same_questions() {
    let compiled = Compiled::builtin(&LIBRARY);
    let cases = suite::read(&compiled, &[source("a.test.yaml", FAILING)]).unwrap();
    let shut = own("", "@id(\"shut\") forbid(principal, action, resource);");
    let other = Compiled::new(&LIBRARY, &shut).unwrap();
    let report = suite::run_on(&other, &cases, Measured::Own);
    assert!(
        report
            .cases
            .iter()
            .all(|case| case.got == "forbidden" && case.reasons == ["shut"])
    );
}
