//! How a draft differs from what is in force: every answer with examples, each of them true of both versions.

use std::sync::Arc;

use cedarkeep::policy::Compiled;
use cedarkeep::proof::{Difference, Direction, Effect};

use super::{Court, compiled, prover, with_schema};

async fn difference(active: &Arc<Compiled>, draft: &Arc<Compiled>) -> Difference {
    let found = prover().difference(active, draft, |_| {}).await.unwrap();
    let courts = (Court::of(active), Court::of(draft));
    for change in &found.changes {
        if let Direction::Example(example) = &change.more {
            assert!(
                courts.1.allows(example) && !courts.0.allows(example),
                "{change:?}"
            );
        }
        if let Direction::Example(example) = &change.less {
            assert!(
                courts.0.allows(example) && !courts.1.allows(example),
                "{change:?}"
            );
        }
    }
    found
}

/// Which requests change, and how.
fn changes(found: &Difference) -> Vec<(String, Effect)> {
    let changes = found.changes.iter();
    changes
        .map(|one| (one.place.to_string(), one.effect()))
        .collect()
}

#[tokio::test]
async fn other_words_for_the_same_are_equivalent() {
    let active = compiled(
        "@id(\"a\") permit (principal is Cedarkeep::User, action == Cedarkeep::Action::\"tool.edit\", resource)
         when { principal in Cedarkeep::Group::\"makers\" && !(resource.holds > 3) };
         @id(\"b\") forbid (principal, action == Cedarkeep::Action::\"tool.edit\", resource is Cedarkeep::Tool)
         when { resource.holds > 7 };",
    );
    let draft = compiled(
        "@id(\"new name\") permit (principal in Cedarkeep::Group::\"makers\", action == Cedarkeep::Action::\"tool.edit\", resource is Cedarkeep::Tool)
         unless { resource.holds >= 4 || resource.holds > 100 };
         @id(\"b\") forbid (principal, action == Cedarkeep::Action::\"tool.edit\", resource is Cedarkeep::Tool)
         when { resource.holds > 7 };",
    );
    let found = difference(&active, &draft).await;
    assert_eq!(found.effect(), Effect::Equivalent, "{:?}", found.changes);
    assert_eq!(found.changes, []);
    assert!(found.asked > 0);
    assert!(found.words()[0].starts_with("difference: equivalent"));
    assert_eq!(found.to_json()["effect"], "equivalent");
}

#[tokio::test]
async fn a_new_permit_is_more_permissive() {
    let draft = compiled(
        "@id(\"auditors\") permit (principal in Cedarkeep::Group::\"auditors\", action == Cedarkeep::Action::\"audit_log.read\", resource);",
    );
    let found = difference(&compiled(""), &draft).await;
    let place = "audit_log.read of a AuditLog by a User".to_owned();
    assert_eq!(changes(&found), [(place, Effect::MorePermissive)]);
    assert_eq!(found.effect(), Effect::MorePermissive);
    let Direction::Example(example) = &found.changes[0].more else {
        panic!("{found:?}");
    };
    let words = example.words().join("\n");
    assert!(words.contains("Group::\"auditors\""), "{words}");
    assert!(
        words.contains("active: refused, nothing permits it"),
        "{words}"
    );
    assert!(words.contains("draft: allowed, by auditors"), "{words}");
}

#[tokio::test]
async fn a_permit_of_what_is_private_opens_nothing() {
    let draft =
        compiled("permit (principal, action in Cedarkeep::Action::\"group.private\", resource);");
    let found = difference(&compiled(""), &draft).await;
    assert_eq!(found.effect(), Effect::Equivalent, "{:?}", found.changes);
}

#[tokio::test]
async fn a_new_forbid_is_stricter_and_takes_what_links_alone_open() {
    let draft = compiled(
        "@id(\"quiet\") forbid (principal is Cedarkeep::Agent, action == Cedarkeep::Action::\"thread.read\", resource);",
    );
    let found = difference(&compiled(""), &draft).await;
    let place = "thread.read of a Thread by a Agent".to_owned();
    assert_eq!(changes(&found), [(place, Effect::Stricter)]);
    let Direction::Example(example) = &found.changes[0].less else {
        panic!("{found:?}");
    };
    let words = example.words().join("\n");
    assert!(words.contains("active: allowed, by share-"), "{words}");
    assert!(words.contains("draft: refused, by quiet"), "{words}");
    // Back again it is the other way round.
    let back = difference(&draft, &compiled("")).await;
    assert_eq!(back.effect(), Effect::MorePermissive);
    assert!(matches!(back.changes[0].less, Direction::Never));
}

#[tokio::test]
async fn a_policy_that_is_exchanged_can_be_both() {
    let policy = |group: &str| {
        compiled(&format!(
            "@id(\"p\") permit (principal in Cedarkeep::Group::\"{group}\", action == Cedarkeep::Action::\"tool.edit\", resource is Cedarkeep::Tool);"
        ))
    };
    let found = difference(&policy("one"), &policy("other")).await;
    let place = "tool.edit of a Tool by a User".to_owned();
    assert_eq!(changes(&found), [(place, Effect::Both)]);
    assert_eq!(found.effect(), Effect::Both);
    let json = found.to_json();
    assert_eq!(json["both"], 1);
    assert_eq!(
        json["changes"][0]["more"]["example"]["question"]["action"]["id"],
        "tool.edit"
    );
    assert_eq!(
        json["changes"][0]["environment"]["principal"],
        "Cedarkeep::User"
    );
}

#[tokio::test]
async fn a_forbid_that_errs_counts_as_the_engine_counts_it() {
    let active = compiled(
        "@id(\"f\") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::\"audit_log.read\", resource)
         when { principal.holds + 1 > 100 };",
    );
    let draft = compiled(
        "@id(\"f\") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::\"audit_log.read\", resource)
         when { principal.holds > 99 };",
    );
    // Where the sum runs over, the number is greater than 99 all the same: only why it is refused differs.
    let found = difference(&active, &draft).await;
    assert_eq!(found.effect(), Effect::Equivalent, "{:?}", found.changes);
    let draft = compiled(
        "@id(\"f\") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::\"audit_log.read\", resource)
         when { principal.holds > 99 && principal.holds < 9223372036854775807 };",
    );
    let found = difference(&active, &draft).await;
    assert_eq!(
        found.effect(),
        Effect::MorePermissive,
        "{:?}",
        found.changes
    );
    let Direction::Example(example) = &found.changes[0].more else {
        panic!("{found:?}");
    };
    let words = example.words().join("\n");
    assert!(words.contains("9223372036854775807"), "{words}");
    assert!(words.contains("active: refused, by f"), "{words}");
}

#[tokio::test]
async fn what_a_draft_adds_to_the_schema_is_new_and_what_it_takes_away_is_gone() {
    let schema = "
        entity Ticket { open: Bool };
        action \"ticket.close\" appliesTo { principal: [Cedarkeep::User], resource: [Ticket] };";
    let policy = "@id(\"close\") permit (principal is Cedarkeep::User, action == Action::\"ticket.close\", resource) when { resource.open };";
    let (without, with) = (compiled(""), with_schema(Some(schema), policy));
    let place = "ticket.close of a Ticket by a User".to_owned();
    let prover = prover();
    let added = prover.difference(&without, &with, |_| {}).await.unwrap();
    assert_eq!(changes(&added), [(place.clone(), Effect::MorePermissive)]);
    let gone = prover.difference(&with, &without, |_| {}).await.unwrap();
    assert_eq!(changes(&gone), [(place, Effect::Stricter)]);
    let court = Court::of(&with);
    for direction in [&added.changes[0].more, &gone.changes[0].less] {
        let Direction::Example(example) = direction else {
            panic!("{direction:?}");
        };
        assert!(court.allows(example));
    }
}

#[tokio::test]
async fn a_version_that_does_not_fit_the_drafts_schema_is_not_compared() {
    let schema = |attribute: &str| {
        format!(
            "entity Ticket {{ {attribute}: Bool }};
             action \"ticket.close\" appliesTo {{ principal: [Cedarkeep::User], resource: [Ticket] }};"
        )
    };
    let policy = |attribute: &str| {
        format!(
            "@id(\"close\") permit (principal is Cedarkeep::User, action == Action::\"ticket.close\", resource) when {{ resource.{attribute} }};"
        )
    };
    let active = with_schema(Some(&schema("open")), &policy("open"));
    let draft = with_schema(Some(&schema("closed")), &policy("closed"));
    let found = prover().difference(&active, &draft, |_| {}).await.unwrap();
    assert_eq!(found.effect(), Effect::Unknown);
    let words = found.words().join("\n");
    assert!(
        words.contains("is not known: the solver cannot be asked"),
        "{words}"
    );
}
