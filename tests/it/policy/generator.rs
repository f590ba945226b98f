//! Schemas, entities, policies and questions by chance. Policies are made without regard for whether a validator would take them, so that
//! many err.

use std::fmt::Write as _;

use cedarkeep::policy::{CompiledLink, Facts, Library, Question, Said, Type, Uid};
use serde_json::{Map, Value, json};

use super::world::now;
use crate::harness::chance::Chance;

/// The types that have entities, and what each may be in. What is in something comes before it.
const TYPES: [(&str, &[&str]); 5] = [
    ("User", &["Group"]),
    ("Thread", &["Project", "Organization"]),
    ("Project", &["Organization"]),
    ("Group", &["Group"]),
    ("Organization", &[]),
];
const ACTIONS: [(&str, &[&str]); 5] = [
    ("look", &["soft", "all"]),
    ("touch", &["soft"]),
    ("break", &["hard"]),
    ("mend", &[]),
    ("ask", &["all"]),
];
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// The templates that links are made of.
pub const TEMPLATES: [&str; 3] = ["share-viewer", "share-commenter", "share-editor"];

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Bool,
    Long,
    Text,
    Of(&'static str),
    Set(Box<Shape>),
    /// Its members, and whether each must be there.
    Record(Vec<(&'static str, Shape, bool)>),
    Extension(&'static str),
}

/// Where choices come from.
pub struct Maker {
    pub chance: Chance,
    /// Policies mostly say in their first condition whom the resource names.
    pub pointed: bool,
}

impl Maker {
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.chance.number() >> 16).unwrap() % limit
    }

    pub fn often(&mut self, of_ten: usize) -> bool {
        self.below(10) < of_ten
    }

    pub fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn shape(&mut self, depth: usize) -> Shape {
        match self.below(if depth == 0 { 8 } else { 10 }) {
            0 => Shape::Bool,
            1 | 2 => Shape::Long,
            3 => Shape::Text,
            4..=6 => {
                let kind = self.below(TYPES.len());
                Shape::Of(TYPES[kind].0)
            }
            7 => Shape::Extension(self.one(&["datetime", "duration", "decimal", "ipaddr"])),
            8 => Shape::Set(Box::new(self.shape(0))),
            _ => Shape::Record(self.fields(3, depth - 1)),
        }
    }

    fn fields(&mut self, most: usize, depth: usize) -> Vec<(&'static str, Shape, bool)> {
        let count = self.below(most + 1);
        let fields = NAMES.iter().take(count);
        fields
            .map(|name| (*name, self.shape(depth), self.often(7)))
            .collect()
    }

    fn long(&mut self) -> i64 {
        match self.below(12) {
            0 => i64::MAX,
            1 => i64::MIN,
            other => i64::try_from(other).unwrap() - 6,
        }
    }

    fn text(&mut self) -> String {
        self.one(&["", "a", "ab", "aXb", "*", "ä\u{1f33f}", "b\"\\"])
            .to_owned()
    }

    fn extension(&mut self, kind: &str) -> (&'static str, String) {
        let (call, texts): (_, &[&str]) = match kind {
            "datetime" => (
                "datetime",
                &[
                    "1970-01-01",
                    "2026-11-26T10:20:30.456Z",
                    "1969-12-31T23:59:59.999-0130",
                    "0001-01-01",
                ],
            ),
            "duration" => ("duration", &["0ms", "1d2h3m4s5ms", "-90m", "106751991167d"]),
            "decimal" => (
                "decimal",
                &["0.0", "1.20", "-1.2345", "922337203685477.5807"],
            ),
            _ => ("ip", &["10.0.0.1", "10.0.0.0/8", "::1", "10.0.0.1/32"]),
        };
        (call, self.one(texts).to_owned())
    }

    /// The name of an entity; of a type that exists, and mostly of one that does.
    pub fn uid(&mut self, kind: &'static str) -> (String, String) {
        let number = self.below(7);
        (format!("Cedarkeep::{kind}"), format!("{kind}{number}"))
    }

    fn json(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Bool => json!(self.often(5)),
            Shape::Long => json!(self.long()),
            Shape::Text => json!(self.text()),
            Shape::Of(kind) => {
                let (kind, id) = self.uid(kind);
                json!({"__entity": {"type": kind, "id": id}})
            }
            Shape::Set(of) => {
                let count = self.below(4);
                Value::Array((0..count).map(|_| self.json(of)).collect())
            }
            Shape::Record(fields) => Value::Object(self.members(fields)),
            Shape::Extension(kind) => {
                let (call, text) = self.extension(kind);
                json!({"__extn": {"fn": call, "arg": text}})
            }
        }
    }

    fn members(&mut self, fields: &[(&'static str, Shape, bool)]) -> Map<String, Value> {
        let mut members = Map::new();
        for (name, shape, must) in fields {
            if *must || self.often(5) {
                members.insert((*name).to_owned(), self.json(shape));
            }
        }
        members
    }
}

/// A schema, the entities under it, and what policies may speak of.
pub struct World {
    pub schema: String,
    types: Vec<Vec<(&'static str, Shape, bool)>>,
    context: Vec<(&'static str, Shape, bool)>,
}

fn written(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "Bool".to_owned(),
        Shape::Long => "Long".to_owned(),
        Shape::Text => "String".to_owned(),
        Shape::Of(kind) => (*kind).to_owned(),
        Shape::Set(of) => format!("Set<{}>", written(of)),
        Shape::Record(fields) => record(fields),
        Shape::Extension(kind) => (*kind).to_owned(),
    }
}

fn record(fields: &[(&'static str, Shape, bool)]) -> String {
    let fields = fields.iter().map(|(name, shape, must)| {
        let mark = if *must { "" } else { "?" };
        format!("{name}{mark}: {}", written(shape))
    });
    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
}

impl World {
    pub fn new(maker: &mut Maker) -> Self {
        let types: Vec<_> = TYPES.iter().map(|_| maker.fields(7, 1)).collect();
        let context = maker.fields(6, 1);
        let mut schema = "namespace Cedarkeep {\n".to_owned();
        for ((name, above), fields) in TYPES.iter().zip(&types) {
            let above = above.join(", ");
            writeln!(schema, "entity {name} in [{above}] {};", record(fields)).unwrap();
        }
        for group in ["all", "soft", "hard"] {
            let above = if group == "all" { "" } else { " in [all]" };
            writeln!(schema, "action {group}{above};").unwrap();
        }
        let every = TYPES.map(|(name, _)| name).join(", ");
        for (name, groups) in ACTIONS {
            let above = groups.join(", ");
            let above = if above.is_empty() {
                above
            } else {
                format!(" in [{above}]")
            };
            let context = record(&context);
            writeln!(schema, "action {name}{above} appliesTo {{ principal: [{every}], resource: [{every}], context: {context} }};").unwrap();
        }
        schema.push('}');
        Self {
            schema,
            types,
            context,
        }
    }

    /// Six of each type; a seventh is named and not there.
    pub fn entities(&self, maker: &mut Maker) -> Vec<cedar_policy::Entity> {
        let mut entities = Vec::new();
        for ((kind, above), fields) in TYPES.iter().zip(&self.types) {
            for number in 0..6 {
                let mut parents = Vec::new();
                for above in *above {
                    for _ in 0..maker.below(3) {
                        let other = maker.below(7);
                        // No loops: a group is only in those after it.
                        if above != kind || other > number {
                            let id = format!("{above}{other}");
                            parents.push(json!({"type": format!("Cedarkeep::{above}"), "id": id}));
                        }
                    }
                }
                let uid =
                    json!({"type": format!("Cedarkeep::{kind}"), "id": format!("{kind}{number}")});
                let attrs = Value::Object(maker.members(fields));
                let entity = json!({"uid": uid, "attrs": attrs, "parents": parents});
                entities.push(cedar_policy::Entity::from_json_value(entity, None).unwrap());
            }
        }
        entities
    }

    /// Names that an entity or the context may have an attribute under.
    fn path(&self, maker: &mut Maker) -> String {
        let start = maker.one(&["principal", "resource", "context", "principal", "resource"]);
        let mut path = start.to_owned();
        for _ in 0..maker.below(3) {
            write!(path, ".{}", maker.one(&NAMES[..5])).unwrap();
        }
        path
    }

    /// An expression that is meant to be of this shape, and mostly is not wrong for its kind.
    fn expression(&self, maker: &mut Maker, shape: &Shape, depth: usize) -> String {
        // Now and then something else stands there.
        if maker.below(40) == 0 {
            let other = maker.shape(1);
            return self.expression(maker, &other, depth.saturating_sub(1));
        }
        if maker.often(3) {
            if let Some(path) = self.known(maker, shape) {
                return path;
            }
            if maker.below(6) == 0 {
                return self.path(maker);
            }
        }
        if depth > 0 && maker.below(12) == 0 {
            let truth = self.expression(maker, &Shape::Bool, depth - 1);
            let (then, otherwise) = (
                self.expression(maker, shape, depth - 1),
                self.expression(maker, shape, depth - 1),
            );
            return format!("(if {truth} then {then} else {otherwise})");
        }
        match shape {
            Shape::Bool if depth > 0 => self.truth(maker, depth - 1),
            Shape::Bool => maker.one(&["true", "false"]).to_owned(),
            Shape::Long if depth > 0 && maker.often(4) => {
                let operator = maker.one(&["+", "-", "*"]);
                let left = self.expression(maker, shape, depth - 1);
                let right = self.expression(maker, shape, depth - 1);
                match maker.below(8) {
                    0 => format!("-({left})"),
                    1 => {
                        let length =
                            self.expression(maker, &Shape::Extension("duration"), depth - 1);
                        let unit = maker.one(&[
                            "toDays",
                            "toHours",
                            "toMinutes",
                            "toSeconds",
                            "toMilliseconds",
                        ]);
                        format!("({length}).{unit}()")
                    }
                    _ => format!("({left} {operator} {right})"),
                }
            }
            Shape::Long => maker.long().to_string(),
            Shape::Text => format!("{:?}", maker.text()).replace("\\u{1f33f}", "\u{1f33f}"),
            Shape::Of(kind) => match maker.below(4) {
                0 => "principal".to_owned(),
                1 => "resource".to_owned(),
                _ => {
                    let (kind, id) = maker.uid(kind);
                    format!("{kind}::\"{id}\"")
                }
            },
            Shape::Set(of) => {
                let count = maker.below(3);
                let elements = (0..count).map(|_| self.expression(maker, of, depth.min(1)));
                format!("[{}]", elements.collect::<Vec<_>>().join(", "))
            }
            Shape::Record(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, shape, _)| {
                        format!("{name}: {}", self.expression(maker, shape, depth.min(1)))
                    })
                    .collect();
                format!("{{{}}}", fields.join(", "))
            }
            Shape::Extension(kind) => self.made(maker, kind, depth),
        }
    }

    fn made(&self, maker: &mut Maker, kind: &'static str, depth: usize) -> String {
        let (call, text) = maker.extension(kind);
        let literal = format!("{call}(\"{text}\")");
        if depth == 0 || !maker.often(4) {
            return literal;
        }
        let when = Shape::Extension("datetime");
        match kind {
            "datetime" => {
                let at = self.expression(maker, &when, depth - 1);
                if maker.often(5) {
                    return format!("({at}).toDate()");
                }
                let by = self.expression(maker, &Shape::Extension("duration"), depth - 1);
                format!("({at}).offset({by})")
            }
            "duration" => {
                let at = self.expression(maker, &when, depth - 1);
                if maker.often(5) {
                    return format!("({at}).toTime()");
                }
                let since = self.expression(maker, &when, depth - 1);
                format!("({at}).durationSince({since})")
            }
            _ => literal,
        }
    }

    fn truth(&self, maker: &mut Maker, depth: usize) -> String {
        let of = |shape: &Shape, maker: &mut Maker| self.expression(maker, shape, depth);
        let number = maker.below(20);
        match number {
            0 => format!("!({})", of(&Shape::Bool, maker)),
            1 | 2 => {
                let (left, right) = (of(&Shape::Bool, maker), of(&Shape::Bool, maker));
                format!("({left} {} {right})", maker.one(&["&&", "||"]))
            }
            3 | 4 => {
                let shape = maker.shape(1);
                let (left, right) = (of(&shape, maker), of(&shape, maker));
                format!("({left} {} {right})", maker.one(&["==", "!="]))
            }
            5 => {
                let shape = maker.one(&[
                    Shape::Long,
                    Shape::Extension("datetime"),
                    Shape::Extension("duration"),
                ]);
                let (left, right) = (of(&shape, maker), of(&shape, maker));
                format!("({left} {} {right})", maker.one(&["<", "<=", ">", ">="]))
            }
            6..=8 => {
                let kind = maker.below(TYPES.len());
                let (left, right) = (of(&Shape::Of("User"), maker), Shape::Of(TYPES[kind].0));
                let right = if maker.often(7) {
                    of(&right, maker)
                } else {
                    of(&Shape::Set(Box::new(right)), maker)
                };
                format!("({left} in {right})")
            }
            9 | 10 => {
                let path = self.path(maker);
                let name = maker.one(&NAMES[..6]);
                let more = if maker.often(2) {
                    format!(".{}", maker.one(&NAMES[..3]))
                } else {
                    String::new()
                };
                format!("({path} has {name}{more})")
            }
            11 => {
                let pattern = maker.one(&["*", "a*", "*b", "a*b", "\\*", "*X*", ""]);
                format!("({} like \"{pattern}\")", of(&Shape::Text, maker))
            }
            12 => {
                let kind = maker.below(TYPES.len());
                let subject = of(&Shape::Of("Group"), maker);
                let within = if maker.often(3) {
                    format!(" in {}", of(&Shape::Of("Group"), maker))
                } else {
                    String::new()
                };
                format!("({subject} is Cedarkeep::{}{within})", TYPES[kind].0)
            }
            13 => {
                let shape = maker.shape(0);
                let set = of(&Shape::Set(Box::new(shape.clone())), maker);
                match maker.below(4) {
                    0 => format!("({set}).contains({})", of(&shape, maker)),
                    1 => format!("({set}).isEmpty()"),
                    other => {
                        let right = of(&Shape::Set(Box::new(shape)), maker);
                        let call = ["containsAll", "containsAny"][other - 2];
                        format!("({set}).{call}({right})")
                    }
                }
            }
            14 => {
                let decimal = Shape::Extension("decimal");
                let (left, right) = (of(&decimal, maker), of(&decimal, maker));
                let call = maker.one(&[
                    "lessThan",
                    "lessThanOrEqual",
                    "greaterThan",
                    "greaterThanOrEqual",
                ]);
                format!("({left}).{call}({right})")
            }
            15..=18 => self.pointer(maker),
            _ if maker.often(5) => {
                let address = Shape::Extension("ipaddr");
                let (left, right) = (of(&address, maker), of(&address, maker));
                format!("({left}).isInRange({right})")
            }
            _ => {
                let name = maker.one(&["look", "touch", "all", "soft"]);
                let left = maker.one(&["action", "Cedarkeep::Action::\"touch\""]);
                format!("({left} in Cedarkeep::Action::\"{name}\")")
            }
        }
    }

    /// How what may be seen is mostly found: the resource, or what it names, names the principal or what that is in.
    fn pointer(&self, maker: &mut Maker) -> String {
        let mut paths = vec!["resource".to_owned()];
        for (name, of, _) in self.types.iter().flatten() {
            if let Shape::Of(kind) = of {
                paths.push(format!("resource.{name}"));
                let at = TYPES.iter().position(|(other, _)| other == kind).unwrap();
                let inner = self.types[at].iter();
                let inner = inner.filter(|(_, of, _)| matches!(of, Shape::Of(_)));
                paths.extend(inner.map(|(inner, ..)| format!("resource.{name}.{inner}")));
            }
        }
        let path = maker.one(&paths);
        match maker.below(3) {
            0 => format!("({path} == principal)"),
            1 => format!("(principal == {path})"),
            _ => format!("(principal in {path})"),
        }
    }

    /// A path that is of this shape where everything is there that it passes.
    fn known(&self, maker: &mut Maker, shape: &Shape) -> Option<String> {
        let mut paths = Vec::new();
        for (name, of, _) in &self.context {
            if of == shape {
                paths.push(format!("context.{name}"));
            }
            if let Shape::Of(kind) = of {
                let at = TYPES.iter().position(|(other, _)| other == kind).unwrap();
                let found = self.types[at].iter().filter(|(_, of, _)| of == shape);
                paths.extend(found.map(|(inner, ..)| format!("context.{name}.{inner}")));
            }
        }
        for fields in &self.types {
            for (name, of, _) in fields {
                if of == shape {
                    paths.push(format!("principal.{name}"));
                    paths.push(format!("resource.{name}"));
                }
            }
        }
        (!paths.is_empty()).then(|| maker.one(&paths))
    }

    fn scope(&self, maker: &mut Maker, of: &str, slot: bool) -> String {
        let kind = TYPES[maker.below(TYPES.len())].0;
        let (name, id) = maker.uid(kind);
        let there = if slot {
            format!("?{of}")
        } else {
            format!("{name}::\"{id}\"")
        };
        match maker.below(if slot { 3 } else { 8 }) {
            0 => format!("{of} == {there}"),
            1 => format!("{of} in {there}"),
            2 => format!("{of} is {name} in {there}"),
            3 => format!("{of} is {name}"),
            _ => of.to_owned(),
        }
    }

    fn action(&self, maker: &mut Maker) -> String {
        let named = |name: &str| format!("Cedarkeep::Action::\"{name}\"");
        match maker.below(5) {
            0 => {
                let action = ACTIONS[maker.below(ACTIONS.len())].0;
                format!("action == {}", named(action))
            }
            1 => format!("action in {}", named(maker.one(&["all", "soft", "hard"]))),
            2 => {
                let action = ACTIONS[maker.below(ACTIONS.len())].0;
                format!("action in [{}, {}]", named(action), named("hard"))
            }
            _ => "action".to_owned(),
        }
    }

    pub fn policy(&self, maker: &mut Maker, id: &str, linked: bool) -> String {
        let effect = if linked || maker.often(6) {
            "permit"
        } else {
            "forbid"
        };
        let principal = self.scope(maker, "principal", linked);
        let resource = self.scope(maker, "resource", linked);
        let action = self.action(maker);
        let mut text = format!(
            "@id(\"{id}\") @reason(\"{id}\")\n{effect} ({principal}, {action}, {resource})"
        );
        let least = usize::from(maker.pointed);
        for number in 0..maker.below(3).max(least) {
            let kind = maker.one(&["when", "when", "unless"]);
            let condition = if maker.pointed && number == 0 {
                format!("{} && true", self.pointer(maker))
            } else {
                self.expression(maker, &Shape::Bool, 3)
            };
            write!(text, "\n{kind} {{ {condition} }}").unwrap();
        }
        text.push_str(";\n");
        text
    }

    pub fn question(
        &self,
        maker: &mut Maker,
        library: &Library,
        links: &[CompiledLink],
    ) -> Question {
        let uid = |maker: &mut Maker| {
            let kind = TYPES[maker.below(TYPES.len())].0;
            let (kind, id) = maker.uid(kind);
            Uid::new(Type::named(&kind), &id)
        };
        let (mut principal, mut resource) = (uid(maker), uid(maker));
        if !links.is_empty() && maker.often(3) {
            let link = links[maker.below(links.len())].link();
            principal = link.principal.clone();
            resource = link.resource.clone();
        }
        let mut context = maker.members(&self.context);
        // What the schema requires and nobody said.
        if maker.often(2)
            && let Some(name) = context.keys().next().cloned()
        {
            context.remove(&name);
        }
        let facts = Facts {
            now: now(),
            region: "eu".to_owned(),
            session: None,
            acts_for: None,
        };
        let nothing = Map::new();
        let said = Said {
            context: &context,
            action: &nothing,
        };
        let action = ACTIONS[maker.below(ACTIONS.len())].0;
        let action = library.vocabulary().action(action).unwrap();
        library
            .vocabulary()
            .question((principal, action, resource), said, &facts)
            .unwrap()
    }
}
