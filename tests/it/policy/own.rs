//! A tenant's own types, actions and policies: what they can do, and what is refused before any of it counts.

use std::sync::Arc;

use cedar_policy::{Entities, Entity};
use cedarkeep::policy::{
    self, Compiled, Evaluation, Facts, Finding, OwnPolicies, PolicyError, Said, Source, Uid,
    evaluate,
};
use serde_json::{Map, Value, json};

use super::slice::Slice;
use super::world::{Case, LIBRARY, answer, named, now, rows};

fn case_file(path: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/");
    std::fs::read_to_string(format!("{root}{path}")).unwrap()
}

fn source(name: &str, text: &str) -> Source {
    Source {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn own(schema: &str, policies: &str) -> OwnPolicies {
    OwnPolicies {
        schema: Some(source("own.cedarschema", schema)),
        policies: vec![source("own.cedar", policies)],
    }
}

fn facts() -> Facts {
    Facts {
        now: now(),
        region: "eu".to_owned(),
        session: None,
        acts_for: None,
    }
}

fn findings(refused: Result<Compiled, PolicyError>) -> Vec<Finding> {
    match refused {
        Err(PolicyError::Refused(findings)) => findings,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    }
}

/// A question about own types, as the door asks it: by name, with the stored subject and the request's properties.
fn ask(compiled: &Compiled, stored: &Entities, request: &Value) -> Result<Evaluation, PolicyError> {
    let vocabulary = compiled.vocabulary();
    let none = Map::new();
    let part = |name: &str| {
        let part = &request[name];
        let (kind, id) = (part["type"].as_str().unwrap(), part["id"].as_str().unwrap());
        let uid = vocabulary.entity(kind, id).unwrap();
        let said = part["properties"].as_object().unwrap_or(&none);
        let there = stored.get(&uid.to_cedar().unwrap());
        let there = there.map(|one| policy::Entity::from_cedar(one, |name| name.into()).unwrap());
        let entity = vocabulary.own_entity(uid.clone(), there.as_ref(), said)?;
        Ok::<_, PolicyError>((uid, entity.to_cedar().unwrap()))
    };
    let (principal, subject) = part("subject")?;
    let (resource, object) = part("resource")?;
    let action = vocabulary
        .action(request["action"]["name"].as_str().unwrap())
        .unwrap();
    let said = Said {
        context: request["context"].as_object().unwrap_or(&none),
        action: request["action"]["properties"].as_object().unwrap_or(&none),
    };
    let question = vocabulary.question(
        (principal.clone(), action, resource.clone()),
        said,
        &facts(),
    )?;
    let mut slice = vec![subject];
    if resource != principal {
        slice.push(object);
    }
    let roles = stored
        .iter()
        .filter(|one| ![&principal, &resource].contains(&&Uid::from(&one.uid())));
    slice.extend(roles.cloned());
    Ok(evaluate(compiled, &[], &Slice::of(&slice), &question))
}

#[test]
fn the_todo_scenario_is_answered_in_full() {
    let todo = OwnPolicies {
        schema: Some(source(
            "todo.cedarschema",
            &case_file("cases/todo/todo.cedarschema"),
        )),
        policies: vec![source(
            "todo.cedar",
            &case_file("cases/todo/policies/todo.cedar"),
        )],
    };
    let compiled = Compiled::new(&LIBRARY, &todo).unwrap();
    let entities = case_file("cases/todo/entities.json");
    let stored = Entities::from_json_str(&entities, Some(compiled.schema())).unwrap();
    let vectors: Value =
        serde_json::from_str(&case_file("vectors/todo-decisions-1_0-02.json")).unwrap();
    let mut asked = 0;
    for vector in vectors["evaluation"].as_array().unwrap() {
        let evaluation = ask(&compiled, &stored, &vector["request"]).unwrap();
        assert_eq!(
            evaluation.is_allowed(),
            vector["expected"],
            "{}",
            vector["request"]
        );
        asked += 1;
    }
    for vector in vectors["evaluations"].as_array().unwrap() {
        let request = vector["request"].as_object().unwrap();
        let items = request["evaluations"].as_array().unwrap();
        for (item, expected) in items.iter().zip(vector["expected"].as_array().unwrap()) {
            let mut whole = request.clone();
            whole.extend(item.as_object().unwrap().clone());
            let evaluation = ask(&compiled, &stored, &Value::Object(whole)).unwrap();
            assert_eq!(evaluation.is_allowed(), expected["decision"], "{item}");
        }
        asked += 1;
    }
    assert_eq!(asked, 43);
}

const RECORDS: &str = r#"
entity person { name: String };
entity record { status: String, level?: Long, keeper?: person, tags?: Set<String> };
action "read", "write" appliesTo { principal: [person], resource: [record] };
action "delete" appliesTo {
  principal: [person], resource: [record],
  context: { action: { soft?: Bool }, since?: datetime, cedarkeep: Cedarkeep::Server }
};
"#;

fn record(properties: Value, action: Value, context: Value) -> Value {
    json!({
        "subject": {"type": "person", "id": "ann"},
        "action": action,
        "resource": {"type": "record", "id": "r", "properties": properties},
        "context": context,
    })
}

fn empty() -> Entities {
    Entities::empty()
}

#[test]
fn properties_of_the_action_and_of_the_resource_reach_a_policy() {
    let policies = r#"
permit(principal, action == Action::"delete", resource)
when { context.action has soft && context.action.soft && context.cedarkeep.region == "eu" };
permit(principal, action == Action::"read", resource)
when { resource has keeper && resource.keeper == principal };
"#;
    let compiled = Compiled::new(&LIBRARY, &own(RECORDS, policies)).unwrap();
    let delete = |soft: Value| json!({"name": "delete", "properties": {"soft": soft, "odd": [1]}});
    let ask = |request: Value| ask(&compiled, &empty(), &request);
    // A caller's own `cedarkeep` and whatever else the schema doesn't know is dropped.
    let context = json!({"cedarkeep": {"region": "us"}, "time": "2025-06-27T18:03-07:00", "ip": 7});
    let soft = ask(record(json!({}), delete(json!(true)), context)).unwrap();
    assert!(soft.is_allowed());
    assert_eq!(&*soft.determining[0].id, "own.cedar#1");
    let hard = ask(record(json!({}), delete(json!(false)), json!({}))).unwrap();
    assert_eq!(answer(&hard), "deny not_permitted");
    // The caller's context cannot speak for the action.
    let forged = json!({"action": {"soft": true}});
    let forged = ask(record(json!({}), json!({"name": "delete"}), forged)).unwrap();
    assert_eq!(answer(&forged), "deny not_permitted");

    let read = || json!({"name": "read"});
    for keeper in [json!("ann"), json!({"type": "person", "id": "ann"})] {
        let kept = ask(record(json!({"keeper": keeper}), read(), json!({}))).unwrap();
        assert!(kept.is_allowed());
        assert_eq!(&*kept.determining[0].id, "own.cedar#2");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_an_error_that_names_it() {
    let compiled = Compiled::new(&LIBRARY, &own(RECORDS, "")).unwrap();
    let ask = |request: Value| ask(&compiled, &empty(), &request).unwrap_err().to_string();
    let read = || json!({"name": "read"});
    for (properties, expected) in [
        (json!({"status": 7}), "`properties.status` must be a string"),
        (
            json!({"level": "7"}),
            "`properties.level` must be a whole number",
        ),
        (
            json!({"level": 7.5}),
            "`properties.level` must be a whole number",
        ),
        (
            json!({"tags": ["a", 1]}),
            "`properties.tags` must be a string",
        ),
        (
            json!({"keeper": {"type": "record", "id": "r"}}),
            "`properties.keeper` must be the id of a `person`, or an object with its `type` and `id`",
        ),
    ] {
        assert_eq!(ask(record(properties, read(), json!({}))), expected);
    }
    let delete = json!({"name": "delete"});
    let since = ask(record(json!({}), delete, json!({"since": "yesterday"})));
    assert!(
        since.starts_with("`context.since` has no valid value"),
        "{since}"
    );
}

#[test]
fn what_the_request_says_of_an_own_entity_wins_over_what_is_stored() {
    let policies =
        "permit(principal, action, resource is record) when { resource.status == \"active\" };";
    let compiled = Compiled::new(&LIBRARY, &own(RECORDS, policies)).unwrap();
    let stored = json!([{"uid": {"type": "record", "id": "r"}, "attrs": {"status": "active"}, "parents": []}]);
    let stored = Entities::from_json_value(stored, Some(compiled.schema())).unwrap();
    let read = || json!({"name": "read"});
    let known = ask(&compiled, &stored, &record(json!({}), read(), json!({}))).unwrap();
    assert!(known.is_allowed());
    let said = record(
        json!({"status": "archived", "department": "x"}),
        read(),
        json!({}),
    );
    assert_eq!(
        answer(&ask(&compiled, &stored, &said).unwrap()),
        "deny not_permitted"
    );
    // Neither stored nor said: the policy that needs it errs, and the answer says which.
    let unknown = ask(&compiled, &empty(), &record(json!({}), read(), json!({}))).unwrap();
    assert_eq!(answer(&unknown), "deny error");
    assert_eq!(unknown.failures[0].id, "own.cedar#1");
}

#[test]
fn a_policy_that_does_not_parse_is_refused_with_its_position_and_help() {
    let text = "permit(principal, action, resource)\nwhen { principal.name = \"x\" };\n";
    let refused = findings(Compiled::new(&LIBRARY, &own(RECORDS, text)));
    assert_eq!((refused[0].line, refused[0].column), (Some(2), Some(8)));
    assert_eq!(refused[0].file, "own.cedar");
    let help = refused[0].help.as_deref().unwrap();
    assert!(help.contains("=="), "{help}");
    let shown = PolicyError::Refused(refused).to_string();
    assert!(
        shown.starts_with("`own.cedar` line 2 column 8: "),
        "{shown}"
    );
}

#[test]
fn a_policy_that_the_schema_does_not_allow_is_refused_with_its_position() {
    let text = "\n\npermit(principal is person, action, resource) when { principal.nose == 1 };";
    let refused = findings(Compiled::new(&LIBRARY, &own(RECORDS, text)));
    assert_eq!(refused[0].line, Some(3), "{refused:?}");
    assert!(refused[0].message.contains("nose"), "{refused:?}");
    let unknown = "permit(principal, action == Action::\"fly\", resource);";
    let refused = findings(Compiled::new(&LIBRARY, &own(RECORDS, unknown)));
    assert!(refused[0].message.contains("fly"), "{refused:?}");
    // Further than a slice of the entities reaches.
    let far = "permit(principal is Cedarkeep::User, action == Cedarkeep::Action::\"document.delete\", resource) \
               when { resource has thread && resource.thread.owner.org.plan == Cedarkeep::Plan::\"Starter\" };";
    let refused = findings(Compiled::new(&LIBRARY, &own(RECORDS, far)));
    assert!(refused[0].message.contains("level"), "{refused:?}");
}

#[test]
fn a_schema_that_does_not_parse_is_refused_with_its_position() {
    let refused = findings(Compiled::new(&LIBRARY, &own("entity a;\nentity b {", "")));
    assert_eq!(refused[0].line, Some(2), "{refused:?}");
    let refused = findings(Compiled::new(
        &LIBRARY,
        &own("entity a { x: Nothing };", ""),
    ));
    assert!(refused[0].message.contains("Nothing"), "{refused:?}");
}

#[test]
fn a_schema_that_shadows_a_built_in_name_is_refused() {
    for (schema, named) in [
        ("entity User;", "`User`"),
        ("entity a;\nentity Thread { x: String };", "`Thread`"),
        ("type Session = { x: String };", "`Session`"),
        (
            "entity a; action \"thread.read\" appliesTo { principal: [a], resource: [a] };",
            "`thread.read`",
        ),
        (
            "entity a; action \"model.train\" appliesTo { principal: [a], resource: [a] };",
            "`model.train`",
        ),
        (
            "namespace Acme { entity a; action \"model.train\" appliesTo { principal: [a], resource: [a] }; }",
            "`model.train`",
        ),
        ("namespace Cedarkeep { entity Extra; }", "`Cedarkeep`"),
        (
            "namespace Cedarkeep::Inner { entity Extra; }",
            "`Cedarkeep::Inner`",
        ),
        (
            "entity a; action go in [Cedarkeep::Action::\"group.read\"] appliesTo { principal: [a], resource: [a] };",
            "`go`",
        ),
        (
            "entity a; action go appliesTo { principal: [a], resource: [a], context: { cedarkeep: Long } };",
            "`cedarkeep`",
        ),
        (
            "entity a; action go appliesTo { principal: [a], resource: [a] }; namespace B { entity b; action go appliesTo { principal: [b], resource: [b] }; }",
            "`go`",
        ),
    ] {
        let refused = findings(Compiled::new(&LIBRARY, &own(schema, "")));
        assert!(
            refused.iter().any(|f| f.message.contains(named)),
            "{schema}: {refused:?}"
        );
        assert!(refused[0].line.is_some(), "{schema}: {refused:?}");
        assert!(refused[0].help.is_some(), "{schema}: {refused:?}");
    }
}

#[test]
fn own_policies_may_not_take_a_built_in_id_nor_be_templates() {
    for (text, expected) in [
        (
            "@id(\"viewer.ceiling\") permit(principal, action, resource);",
            "the id of a built-in policy",
        ),
        (
            "@id(\"share-viewer\") permit(principal, action, resource);",
            "the id of a built-in policy",
        ),
        (
            "permit(principal == ?principal, action, resource);",
            "is a template",
        ),
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"a\") permit(principal, action, resource);",
            "two policies with the id `a`",
        ),
    ] {
        let refused = findings(Compiled::new(&LIBRARY, &own(RECORDS, text)));
        assert!(refused[0].message.contains(expected), "{refused:?}");
    }
}

#[test]
fn an_own_forbid_narrows_what_the_built_in_policies_open() {
    let row = rows()
        .iter()
        .find(|row| {
            row.action == "thread.read" && row.relation == "owner" && row.decision == "allow"
        })
        .unwrap();
    let case = Case::new(row);
    let text = "@id(\"quiet\") @reason(\"Not now.\") @plan(\"Enterprise\") forbid(principal, action == Cedarkeep::Action::\"thread.read\", resource);";
    let compiled = Compiled::new(&LIBRARY, &own(RECORDS, text)).unwrap();
    let evaluation = case.evaluate_with(&compiled, &[]);
    // Nor does a tenant's annotation speak for the plans.
    assert_eq!(answer(&evaluation), "deny forbidden");
    assert_eq!(&*evaluation.determining[0].reason, "Not now.");
}

#[test]
fn an_own_action_on_a_suspended_person_is_refused() {
    let schema = "entity invoice; action approve appliesTo { principal: [Cedarkeep::User], resource: [invoice] };";
    let text = "permit(principal, action == Action::\"approve\", resource);";
    let compiled = Compiled::new(&LIBRARY, &own(schema, text)).unwrap();
    let vocabulary = compiled.vocabulary();
    let invoice = vocabulary.entity("invoice", "7").unwrap();
    let none = Map::new();
    let said = Said {
        context: &none,
        action: &none,
    };
    let action = Arc::clone(vocabulary.action("approve").unwrap());
    let question = vocabulary
        .question(
            (named("User", "pat"), &action, invoice.clone()),
            said,
            &facts(),
        )
        .unwrap();
    for (inactive, expected) in [(false, "allow"), (true, "deny forbidden")] {
        let row = rows()
            .iter()
            .find(|row| row.principal == "Member" && row.has("inactive") == inactive)
            .unwrap();
        let mut slice = Case::new(row).slice;
        slice.push(Entity::with_uid(invoice.to_cedar().unwrap()));
        let evaluation = evaluate(&compiled, &[], &Slice::of(&slice), &question);
        assert_eq!(answer(&evaluation), expected);
    }
}

#[test]
fn names_are_resolved_as_authzen_says_them() {
    let schema = "entity user; namespace Acme { entity invoice; action pay appliesTo { principal: [invoice], resource: [invoice] }; }";
    let compiled = Compiled::new(&LIBRARY, &own(schema, "")).unwrap();
    let vocabulary = compiled.vocabulary();
    let named = |name: &str| {
        vocabulary
            .entity_type(name)
            .map(|kind| kind.name().to_owned())
    };
    assert_eq!(named("user").as_deref(), Some("user"));
    assert_eq!(named("User").as_deref(), Some("Cedarkeep::User"));
    assert_eq!(named("Acme::invoice").as_deref(), Some("Acme::invoice"));
    for unknown in [
        "invoice",
        "Cedarkeep::User",
        "thread",
        "no such",
        "",
        "\u{202e}User",
    ] {
        assert_eq!(named(unknown), None, "{unknown}");
    }
    assert!(vocabulary.action("pay").unwrap().is_own());
    assert!(vocabulary.action("read").is_none(), "a group is no action");
    let apart = (
        super::world::named("User", "pat"),
        vocabulary.action("thread.read").unwrap(),
        super::world::named("Tool", "t"),
    );
    let none = Map::new();
    let said = Said {
        context: &none,
        action: &none,
    };
    let refused = vocabulary.question(apart, said, &facts()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`thread.read` does not apply to a `User` and a `Tool`"
    );
}

#[test]
fn what_has_no_compiled_form_is_evaluated_by_cedar() {
    let schema = "entity person tags String; entity door { networks: Set<ipaddr> }; action open appliesTo { principal: [person], resource: [door], context: { from: ipaddr } };";
    let text = "@id(\"tag\") permit(principal is person, action == Action::\"open\", resource) when { principal.hasTag(\"badge\") && principal.getTag(\"badge\") == \"gold\" };\n\
        @id(\"net\") forbid(principal is person, action == Action::\"open\", resource) when { context.from.isInRange(ip(\"10.0.0.0/8\")) };";
    let compiled = Compiled::new(&LIBRARY, &own(schema, text)).unwrap();
    assert_eq!(compiled.left_to_cedar(), 2);
    let person = |badge: &str| json!({"uid": {"type": "person", "id": badge}, "attrs": {}, "parents": [], "tags": {"badge": badge}});
    let door =
        json!({"uid": {"type": "door", "id": "d"}, "attrs": {"networks": []}, "parents": []});
    let stored = json!([person("gold"), person("tin"), door]);
    let stored = Entities::from_json_value(stored, Some(compiled.schema())).unwrap();
    for (id, from, expected) in [
        ("gold", "192.0.2.1", "allow"),
        ("tin", "192.0.2.1", "deny not_permitted"),
        ("gold", "10.1.2.3", "deny forbidden"),
    ] {
        let request = json!({
            "subject": {"type": "person", "id": id}, "action": {"name": "open"},
            "resource": {"type": "door", "id": "d"}, "context": {"from": from},
        });
        let evaluation = ask(&compiled, &stored, &request).unwrap();
        assert_eq!(answer(&evaluation), expected, "{id} {from}");
    }
    // One that says nothing of where it comes from is refused, in Cedar's words.
    let request = json!({
        "subject": {"type": "person", "id": "gold"}, "action": {"name": "open"},
        "resource": {"type": "door", "id": "d"},
    });
    let evaluation = ask(&compiled, &stored, &request).unwrap();
    assert_eq!(answer(&evaluation), "deny error");
    assert!(
        evaluation.failures[0].message.contains("`from`"),
        "{evaluation:?}"
    );
}

#[test]
fn a_policy_that_nobody_could_read_is_refused_before_anything_walks_through_it() {
    let policy = |condition: &str| {
        format!(
            "@id(\"much\") permit(principal is person, action, resource is record) when {{ {condition} }};"
        )
    };
    let many = |what: &str, count: usize| vec![what; count].join(" || ");
    let mut subject = "principal".to_owned();
    for _ in 0..6 {
        subject =
            format!("(if {subject} is person in person::\"p\" then principal else principal)");
    }
    for (condition, why) in [
        (
            many("resource.status == \"active\"", 1_000),
            "longer than 16384 bytes",
        ),
        (many("true", 1_500), "nest deeper than 250 levels"),
        (
            format!("{}true{}", "!(".repeat(400), ")".repeat(400)),
            "nests deeper than 250 levels",
        ),
        (
            format!("{subject} is person"),
            "stands in the subject of another",
        ),
    ] {
        let start = std::time::Instant::now();
        let refused = findings(Compiled::new(&LIBRARY, &own(RECORDS, &policy(&condition))));
        assert!(
            refused[0].message.contains("is too much") && refused[0].message.contains(why),
            "{refused:?}"
        );
        assert!(refused[0].help.is_some());
        assert!(start.elapsed().as_secs() < 20);
    }
    // A path of any length is one node, and there is no such attribute.
    let path = vec!["a"; 7_000].join(".");
    let text = policy(&format!("principal has {path}"));
    Compiled::new(&LIBRARY, &own(RECORDS, &text)).unwrap();
    // What a person might still write is taken.
    let enough = many("resource.status == \"active\"", 100);
    let compiled = Compiled::new(&LIBRARY, &own(RECORDS, &policy(&enough))).unwrap();
    assert_eq!(compiled.left_to_cedar(), 0);
}
