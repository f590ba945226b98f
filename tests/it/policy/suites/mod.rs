//! Test files of policies: what they can say, how wrong ones are refused, what they reach, and how results are told.

mod mistakes;

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
    insta::assert_snapshot!(report.coverage.missing().join("\n"), @r#"
    `badge`: no test reaches it
    `late`: no test reaches it
    `open`, condition 1, when: `resource.level < 3` never failed
    `open`, condition 1, when: `resource has keeper` never failed
    `open`, condition 2, unless: `!((context has why) && (context.why == "spite"))` never failed
    `shelf`: no test reaches it
    `soft`: no test reaches it
    `sum`: no test reaches it
    "#);
    let (met, all) = report.coverage.counts();
    assert_eq!((met, all), (6, 28));
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
    insta::assert_snapshot!(report.words().join("\n"), @r#"
    FAILED a.test.yaml line 12: a <thread> is "shared", case 2: cid thread.read talk
      expected allow, got not_permitted
      Closest: “It is open to this group for reading” would permit it, but this thread has no audience.
      Or: “A thread's owner may do everything with it” would permit it, but this thread's owner is not this person (it is the person ben).
    FAILED a.test.yaml line 13: a <thread> is "shared", case 3: ben thread.read talk
      expected allow by `audience.read`, got allow, by `owner.thread`
      A thread's owner may do everything with it: this thread's owner is this person (it is the person ben).
    FAILED a.test.yaml line 14: one
      asked: ben thread.read talk
      expected deny, got allow, by `owner.thread`
      A thread's owner may do everything with it: this thread's owner is this person (it is the person ben).
    3 of 4 cases fail
    "#);
    let json = report.to_json();
    assert_eq!(json["passed"], false);
    assert_eq!(json["cases"][1]["got"], "not_permitted");
    assert_eq!(json["cases"][0]["failure"], serde_json::Value::Null);
}

#[test]
fn build_servers_read_the_results() {
    let report = run(&OwnPolicies::default(), FAILING);
    insta::assert_snapshot!(report.to_junit().unwrap(), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="cedarkeep policy test" tests="4" skipped="0" failures="3" errors="0">
        <testsuite name="a.test.yaml" tests="4" skipped="0" errors="0" failures="3">
            <testcase name="a &lt;thread&gt; is &quot;shared&quot;, case 1: ben thread.read talk" classname="a.test.yaml">
                <properties>
                    <property name="line" value="11"/>
                </properties>
            </testcase>
            <testcase name="a &lt;thread&gt; is &quot;shared&quot;, case 2: cid thread.read talk" classname="a.test.yaml">
                <properties>
                    <property name="line" value="12"/>
                </properties>
                <failure message="expected allow, got not_permitted">Closest: “It is open to this group for reading” would permit it, but this thread has no audience.
    Or: “A thread&apos;s owner may do everything with it” would permit it, but this thread&apos;s owner is not this person (it is the person ben).</failure>
            </testcase>
            <testcase name="a &lt;thread&gt; is &quot;shared&quot;, case 3: ben thread.read talk" classname="a.test.yaml">
                <properties>
                    <property name="line" value="13"/>
                </properties>
                <failure message="expected allow by `audience.read`, got allow, by `owner.thread`">A thread&apos;s owner may do everything with it: this thread&apos;s owner is this person (it is the person ben).</failure>
            </testcase>
            <testcase name="one" classname="a.test.yaml">
                <properties>
                    <property name="line" value="14"/>
                </properties>
                <failure message="expected deny, got allow, by `owner.thread`">A thread&apos;s owner may do everything with it: this thread&apos;s owner is this person (it is the person ben).</failure>
            </testcase>
        </testsuite>
    </testsuites>
    "#);
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
