//! What a difference between two versions says: by `@id`, whatever the file and the place.

use cedarkeep::policy::{Aspect, Difference, Happened, Line, OwnPolicies, Side, Source, diff};
use serde_json::json;

fn source(name: &str, text: &str) -> Source {
    Source {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn own(files: &[(&str, &str)]) -> OwnPolicies {
    let (schemas, policies): (Vec<_>, Vec<_>) = files
        .iter()
        .partition(|(name, _)| name.ends_with(".cedarschema"));
    OwnPolicies {
        schema: schemas.first().map(|(name, text)| source(name, text)),
        policies: policies
            .iter()
            .map(|(name, text)| source(name, text))
            .collect(),
    }
}

fn between(before: &[(&str, &str)], after: &[(&str, &str)]) -> Difference {
    diff(&own(before), &own(after)).unwrap()
}

const A: &str = "@id(\"a\")\npermit (principal, action, resource)\nwhen { principal.level > 1 };\n";
const B: &str = "@id(\"b\")\nforbid (principal, action, resource);\n";

#[test]
fn policies_are_found_by_their_id_wherever_they_stand() {
    let moved = between(
        &[("one.cedar", &format!("{A}{B}"))],
        &[("one.cedar", B), ("two.cedar", A)],
    );
    assert!(moved.schema.is_empty());
    let [change] = moved.policies.as_slice() else {
        panic!("{moved:?}");
    };
    assert_eq!(
        (change.id.as_str(), change.happened),
        ("a", Happened::Rewritten)
    );
    assert_eq!(change.aspects, [Aspect::File]);
    assert_eq!(change.before.as_deref(), Some("one.cedar"));
    assert_eq!(change.after.as_deref(), Some("two.cedar"));
    assert!(change.lines.is_empty());
    // The order of a file says nothing.
    let turned = between(
        &[("x.cedar", &format!("{A}{B}"))],
        &[("x.cedar", &format!("{B}{A}"))],
    );
    assert!(turned.is_empty(), "{turned:?}");
    assert_eq!(turned.words(), ["no difference"]);
}

#[test]
fn each_aspect_is_told_from_the_others() {
    let of = |text: &str| {
        let found = between(&[("x.cedar", A)], &[("x.cedar", text)]);
        let change = found.policies.first().unwrap();
        (change.happened, change.aspects.clone())
    };
    for (from, to, happened, aspect) in [
        ("permit", "forbid", Happened::Changed, Aspect::Effect),
        (
            "principal,",
            "principal is User,",
            Happened::Changed,
            Aspect::Scope,
        ),
        ("> 1", ">= 1", Happened::Changed, Aspect::Conditions),
        ("when", "unless", Happened::Changed, Aspect::Conditions),
        (
            "permit",
            "@reason(\"x\") permit",
            Happened::Changed,
            Aspect::Annotations,
        ),
        (
            "permit",
            "// x\npermit",
            Happened::Rewritten,
            Aspect::Remarks,
        ),
        ("permit (", "permit(", Happened::Rewritten, Aspect::Layout),
    ] {
        assert_eq!(
            of(&A.replace(from, to)),
            (happened, vec![aspect]),
            "{from} to {to}"
        );
    }
    // What looks like a remark and stands in a string is none.
    let before = "@id(\"a\") @doc(\"https://a\") permit(principal, action, resource);";
    let found = between(
        &[("x.cedar", before)],
        &[("x.cedar", &before.replace("//a", "//b"))],
    );
    assert_eq!(found.policies[0].aspects, [Aspect::Annotations]);
}

#[test]
fn added_removed_and_changed_are_told_line_by_line() {
    let before = "@id(\"a\") permit(principal, action, resource) when { principal.x && principal.y && principal.z };\n@id(\"gone\") forbid(principal, action, resource);";
    let after = "// Why.\n@id(\"a\") permit(principal, action, resource) when { principal.x && principal.w && principal.z };\n@id(\"new\") forbid(principal, action, resource) unless { false };";
    let found = between(&[("x.cedar", before)], &[("x.cedar", after)]);
    insta::assert_snapshot!(found.words().join("\n"), @r#"
    ~ policy a (x.cedar) changed: conditions, remarks
        + // Why.
          @id("a")
          permit (principal, action, resource)
        - when { principal.x && principal.y && principal.z };
        + when { principal.x && principal.w && principal.z };
    - policy gone (x.cedar) removed
        - @id("gone")
        - forbid (principal, action, resource);
    + policy new (x.cedar) added
        + @id("new")
        + forbid (principal, action, resource)
        + unless { false };
    "#);
    let json = found.to_json();
    assert_eq!(
        json["policies"][0]["changed"],
        json!(["conditions", "remarks"])
    );
    assert_eq!(json["policies"][1]["change"], "removed");
    assert_eq!(json["policies"][2]["change"], "added");
    assert_eq!(json["policies"][2]["before"], json!(null));
}

#[test]
fn what_has_no_id_is_found_by_what_it_says_and_then_by_its_place() {
    let one = "permit(principal, action, resource) when { principal.x };";
    let two = "permit(principal, action, resource) when { principal.y };";
    let three = "permit(principal, action, resource) when { principal.z };";
    // Another one before it makes it no other.
    let found = between(
        &[("x.cedar", &format!("{one}\n{two}"))],
        &[("x.cedar", &format!("{three}\n{one}\n{two}"))],
    );
    let changes: Vec<_> = found
        .policies
        .iter()
        .map(|one| (one.id.as_str(), one.happened))
        .collect();
    assert_eq!(changes, [("x.cedar#1", Happened::Added)]);
    // One that says something else in the same place is changed.
    let found = between(&[("x.cedar", one)], &[("x.cedar", two)]);
    let changes: Vec<_> = found
        .policies
        .iter()
        .map(|one| (one.id.as_str(), one.happened))
        .collect();
    assert_eq!(changes, [("x.cedar#1", Happened::Changed)]);
    assert!(
        found.policies[0]
            .lines
            .iter()
            .any(|line| matches!(line, Line::Added(_)))
    );
}

#[test]
fn types_and_actions_are_compared_by_what_they_say() {
    let before = "entity a { x: Long, y: String };\nentity b;\nentity c in [b];\naction go, stay appliesTo { principal: [a, b], resource: [b] };\ntype t = { n: Long };";
    let after = "// New remarks, another order.\naction go appliesTo { principal: [b, a], resource: [b] };\nentity c;\nentity b;\nentity a { y?: String, z: Long };\nnamespace N { entity d; }\naction stay appliesTo { principal: [a], resource: [b], context: { why: String } };\ntype t = { n: Long };";
    let found = between(&[("s.cedarschema", before)], &[("s.cedarschema", after)]);
    insta::assert_snapshot!(found.words().join("\n"), @r#"
    ~ action stay changed
        context member `why` added
        its principals changed
    + entity type N::d added
    ~ entity type a changed
        attribute `x` removed
        attribute `y` changed
        attribute `z` added
    ~ entity type c changed
        what it may be in changed
    "#);
    let none = between(&[], &[("s.cedarschema", before)]);
    assert!(
        none.schema
            .iter()
            .all(|one| one.happened == Happened::Added)
    );
    assert_eq!(none.schema.len(), 6);
}

#[test]
fn what_does_not_parse_is_said_with_its_side() {
    let (good, wrong) = (own(&[("x.cedar", A)]), own(&[("x.cedar", "permit(")]));
    for (before, after, side) in [(&wrong, &good, Side::Before), (&good, &wrong, Side::After)] {
        let (found, findings) = diff(before, after).unwrap_err();
        assert_eq!(found, side);
        assert_eq!(findings[0].file, "x.cedar");
        assert_eq!(findings[0].line, Some(1));
    }
    let twice = own(&[("x.cedar", A), ("y.cedar", A)]);
    let (_, findings) = diff(&good, &twice).unwrap_err();
    assert!(
        findings[0].message.contains("two policies with the id `a`"),
        "{findings:?}"
    );
    let schema = own(&[("s.cedarschema", "entity")]);
    assert_eq!(diff(&schema, &good).unwrap_err().0, Side::Before);
}

#[test]
fn a_difference_to_itself_is_none_and_back_again_is_the_other_way() {
    let files: Vec<(&str, &str)> = cedarkeep::policy::FILES.to_vec();
    let before = own(&files);
    assert!(diff(&before, &before).unwrap().is_empty());
    let mut after = before.clone();
    after.policies.pop();
    let there = diff(&before, &after).unwrap();
    let back = diff(&after, &before).unwrap();
    assert!(
        there
            .policies
            .iter()
            .all(|one| one.happened == Happened::Removed)
    );
    assert!(
        back.policies
            .iter()
            .all(|one| one.happened == Happened::Added)
    );
    assert_eq!(there.policies.len(), back.policies.len());
}
