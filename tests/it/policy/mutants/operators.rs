//! What is changed about a policy, one thing at a time, in Cedar's JSON form of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cedar_policy::SchemaFragment;
use cedarkeep::policy::SCHEMA;
use serde_json::{Value, json};

/// One change: the operator, what it was done to, and the policy as it is then; nothing where it is gone.
pub struct Change {
    pub operator: &'static str,
    pub detail: String,
    pub policy: Option<Value>,
}

/// The names of all operators, in the order of the table.
pub const OPERATORS: [&str; 21] = [
    "policy removed",
    "effect turned round",
    "made to err",
    "scope widened",
    "another principal type",
    "action removed",
    "condition dropped",
    "condition negated",
    "when for unless",
    "conjunct dropped",
    "disjunct dropped",
    "and for or",
    "part negated",
    "== for !=",
    "in for ==",
    "boundary moved",
    "number off by one",
    "another role, plan or layer",
    "another text",
    "unknown attribute",
    "another attribute",
];

/// Every small change of a policy.
pub fn changes(policy: &Value) -> Vec<Change> {
    let mut all = Vec::new();
    let mut add = |operator: &'static str, detail: String, policy: Option<Value>| {
        assert!(OPERATORS.contains(&operator), "{operator}");
        all.push(Change {
            operator,
            detail,
            policy,
        });
    };
    add("policy removed", String::new(), None);
    let mut turned = policy.clone();
    turned["effect"] = match policy["effect"].as_str().unwrap() {
        "permit" => json!("forbid"),
        _ => json!("permit"),
    };
    add("effect turned round", String::new(), Some(turned));
    let mut errs = policy.clone();
    errs["conditions"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"kind": "when", "body": overflow()}));
    add("made to err", String::new(), Some(errs));
    for part in ["principal", "action", "resource"] {
        if policy[part]["op"] != "All" {
            let mut wider = policy.clone();
            wider[part] = json!({"op": "All"});
            add("scope widened", part.to_owned(), Some(wider));
        }
    }
    if policy["principal"]["op"] == "is" {
        for kind in ["User", "Agent", "Service"] {
            let kind = format!("Cedarkeep::{kind}");
            if policy["principal"]["entity_type"] != *kind {
                let mut other = policy.clone();
                other["principal"]["entity_type"] = json!(kind);
                add("another principal type", kind, Some(other));
            }
        }
    }
    let actions = policy["action"]["entities"].as_array();
    for (at, action) in actions.into_iter().flatten().enumerate() {
        let mut fewer = policy.clone();
        fewer["action"]["entities"]
            .as_array_mut()
            .unwrap()
            .remove(at);
        let name = action["id"].as_str().unwrap().to_owned();
        add("action removed", name, Some(fewer));
    }
    for (at, condition) in policy["conditions"].as_array().unwrap().iter().enumerate() {
        let number = at + 1;
        let mut without = policy.clone();
        without["conditions"].as_array_mut().unwrap().remove(at);
        add("condition dropped", number.to_string(), Some(without));
        let mut negated = policy.clone();
        negated["conditions"][at]["body"] = not(&condition["body"]);
        add("condition negated", number.to_string(), Some(negated));
        let mut turned = policy.clone();
        turned["conditions"][at]["kind"] = match condition["kind"].as_str().unwrap() {
            "when" => json!("unless"),
            _ => json!("when"),
        };
        add("when for unless", number.to_string(), Some(turned));
        // The whole condition negated is that already.
        for (operator, detail, body) in variants(&condition["body"], false) {
            let mut changed = policy.clone();
            changed["conditions"][at]["body"] = body;
            add(operator, format!("{number}: {detail}"), Some(changed));
        }
    }
    all
}

/// What no policy can compute, and every validator takes.
fn overflow() -> Value {
    let number = |of: i64| json!({"Value": of});
    let sum = json!({"+": {"left": number(i64::MAX), "right": number(1)}});
    json!({"==": {"left": sum, "right": number(0)}})
}

fn not(expression: &Value) -> Value {
    match expression.get("!") {
        Some(negated) => negated["arg"].clone(),
        None => json!({"!": {"arg": expression}}),
    }
}

type Variant = (&'static str, String, Value);

/// An expression with one thing in it changed, in every way; `part` where it is an operand of a logical operator.
fn variants(expression: &Value, part: bool) -> Vec<Variant> {
    let mut all = alternatives(expression);
    let (operator, body) = expression.as_object().unwrap().iter().next().unwrap();
    let logical = ["&&", "||", "!"].contains(&operator.as_str());
    if part && !["&&", "||"].contains(&operator.as_str()) {
        all.push(("part negated", text(expression), not(expression)));
    }
    let mut within = |path: &str, child: &Value| {
        for (name, detail, changed) in variants(child, logical && operator != "!") {
            let mut whole = expression.clone();
            *whole.pointer_mut(path).unwrap() = changed;
            all.push((name, detail, whole));
        }
    };
    let escaped = operator.replace('/', "~1");
    match body {
        Value::Object(members) => {
            for name in ["left", "right", "arg", "if", "then", "else", "in"] {
                if let Some(child) = members.get(name).filter(|child| child.is_object()) {
                    within(&format!("/{escaped}/{name}"), child);
                }
            }
        }
        Value::Array(items) => {
            for (at, child) in items.iter().enumerate() {
                within(&format!("/{escaped}/{at}"), child);
            }
        }
        _ => {}
    }
    all
}

/// What may stand in an expression's place.
fn alternatives(expression: &Value) -> Vec<Variant> {
    let mut all: Vec<Variant> = Vec::new();
    let (operator, body) = expression.as_object().unwrap().iter().next().unwrap();
    let said = || text(expression);
    let mut swapped = |name: &'static str, other: &str| {
        all.push((name, said(), json!({other: body})));
    };
    match operator.as_str() {
        "&&" | "||" => {
            let (dropped, other) = match operator.as_str() {
                "&&" => ("conjunct dropped", "||"),
                _ => ("disjunct dropped", "&&"),
            };
            swapped("and for or", other);
            for (gone, kept) in [("left", "right"), ("right", "left")] {
                all.push((dropped, text(&body[gone]), body[kept].clone()));
            }
        }
        "==" => {
            swapped("== for !=", "!=");
            swapped("in for ==", "in");
        }
        "!=" => swapped("== for !=", "=="),
        "in" => swapped("in for ==", "=="),
        ">" => swapped("boundary moved", ">="),
        ">=" => swapped("boundary moved", ">"),
        "<" => swapped("boundary moved", "<="),
        "<=" => swapped("boundary moved", "<"),
        "." | "has" => {
            let name = body["attr"].as_str().unwrap();
            let mut renamed = |operation: &'static str, other: &str| {
                let mut changed = expression.clone();
                changed[operator.as_str()]["attr"] = json!(other);
                all.push((operation, format!("{} to {other}", said()), changed));
            };
            renamed("unknown attribute", &format!("{name}_"));
            for other in alike(name) {
                renamed("another attribute", &other);
            }
        }
        "Set" => {
            let items = body.as_array().unwrap();
            for (at, item) in items.iter().enumerate() {
                let mut fewer = expression.clone();
                fewer["Set"].as_array_mut().unwrap().remove(at);
                all.push(("action removed", text(item), fewer));
            }
        }
        "Value" => {
            if let Some(number) = body.as_i64() {
                for other in [number + 1, number - 1] {
                    let detail = format!("{number} to {other}");
                    all.push(("number off by one", detail, json!({"Value": other})));
                }
            } else if let Some(word) = body.as_str() {
                let detail = format!("“{word}”");
                let other = json!({"Value": format!("{word}x")});
                all.push(("another text", detail, other));
            } else if let Some(entity) = body.get("__entity") {
                let (kind, id) = (
                    entity["type"].as_str().unwrap(),
                    entity["id"].as_str().unwrap(),
                );
                for other in LISTED
                    .get(kind)
                    .into_iter()
                    .flatten()
                    .filter(|other| *other != id)
                {
                    let mut changed = expression.clone();
                    changed["Value"]["__entity"]["id"] = json!(other);
                    let detail = format!("{id} to {other}");
                    all.push(("another role, plan or layer", detail, changed));
                }
            }
        }
        _ => {}
    }
    all
}

/// The schema in Cedar's JSON form.
static DECLARED: LazyLock<Value> = LazyLock::new(|| {
    let (fragment, _) = SchemaFragment::from_cedarschema_str(SCHEMA).unwrap();
    fragment.to_json_value().unwrap()["Cedarkeep"].clone()
});

/// The values of the enumerated types.
static LISTED: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
    let types = DECLARED["entityTypes"].as_object().unwrap().iter();
    let listed = types.filter_map(|(name, body)| {
        let values = body.get("enum")?.as_array()?.iter();
        let values = values.map(|value| value.as_str().unwrap().to_owned());
        Some((format!("Cedarkeep::{name}"), values.collect()))
    });
    listed.collect()
});

/// The attributes that have the type of one of this name, beside it.
fn alike(name: &str) -> BTreeSet<String> {
    let entities = DECLARED["entityTypes"].as_object().unwrap().values();
    let common = DECLARED["commonTypes"].as_object().unwrap().values();
    let records = entities
        .filter_map(|body| body.pointer("/shape/attributes"))
        .chain(common.filter_map(|body| body.get("attributes")));
    let mut found = BTreeSet::new();
    for attributes in records.map(|attributes| attributes.as_object().unwrap()) {
        let kind = |of: &Value| {
            let mut kind = of.clone();
            kind.as_object_mut().unwrap().remove("required");
            kind
        };
        let Some(wanted) = attributes.get(name).map(kind) else {
            continue;
        };
        let others = attributes.iter().filter(|(other, _)| *other != name);
        let others = others.filter(|(_, of)| kind(of) == wanted);
        found.extend(others.map(|(other, _)| other.clone()));
    }
    found
}

/// An expression, short enough to be read in a table.
pub fn text(expression: &Value) -> String {
    let policy = json!({
        "effect": "permit", "principal": {"op": "All"}, "action": {"op": "All"}, "resource": {"op": "All"},
        "conditions": [{"kind": "when", "body": expression}],
    });
    let Ok(policy) = cedar_policy::Policy::from_json(None, policy) else {
        return expression.to_string();
    };
    let text = policy.to_string();
    let (_, text) = text.split_once("when {").unwrap();
    let (text, _) = text.rsplit_once('}').unwrap();
    text.trim().replace("Cedarkeep::", "")
}
