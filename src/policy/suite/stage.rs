//! What is given made into entities: what is left out has a value that is nothing special, and the schema checks all of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::given::{Given, Said, Thing};
use super::names::{Names, OURS, Unnamed, circle_name, ours, split};
use super::node::{At, Key, Node, What, unknown};
use super::scene::Scene;
use super::types::{BuiltIn, GROUP, ORGANIZATION, Types, USER};
use crate::policy::compile::Compiled;
use crate::policy::error::Finding;
use crate::policy::shape::{Fields, Shape, authzen_type};
use crate::policy::spelling::did_you_mean;
use crate::policy::value::{Type, Uid};
use crate::policy::view::Entity;

/// What every file is read with.
pub(super) struct Stage<'a> {
    pub(super) compiled: &'a Compiled,
    pub(super) types: &'a Types,
    pub(super) file: &'a str,
    pub(super) names: Names,
    pub(super) findings: Vec<Finding>,
}

/// Which people are in which groups.
type Circles = BTreeMap<Uid, BTreeSet<Uid>>;

impl<'a> Stage<'a> {
    pub(super) fn new(
        compiled: &'a Compiled,
        types: &'a Types,
        file: &'a str,
        given: &Given<'_>,
    ) -> Self {
        let mut stage = Self {
            compiled,
            types,
            file,
            names: Names::of(given, types, compiled.vocabulary()),
            findings: Vec::new(),
        };
        for node in &given.cedar {
            stage.name_cedar(node);
        }
        stage
    }

    pub(super) fn refuse(&mut self, at: At, message: String, help: Option<String>) {
        let finding = at.finding(self.file, message);
        self.findings.push(match help {
            Some(help) => finding.with_help(help),
            None => finding,
        });
    }

    /// What a name stands for, of one of these types.
    pub(super) fn named(&mut self, node: &Node, wanted: &[Type]) -> Option<Uid> {
        let Some(name) = node.name() else {
            let message = format!("a name is wanted here, and this is {}", node.kind());
            self.refuse(node.at, message, None);
            return None;
        };
        match self.names.find(&name, wanted, self.compiled.vocabulary()) {
            Ok(uid) => Some(uid),
            Err(Unnamed { message, help }) => {
                self.refuse(node.at, message, help);
                None
            }
        }
    }

    /// Everything that is given, as policies see it.
    pub(super) fn scene(&mut self, given: &Given<'_>) -> Scene {
        let circles = self.circles(given);
        let mut entities = Vec::new();
        let mut admins: BTreeMap<Uid, i64> = BTreeMap::new();
        let of_organization = |given: &Given<'_>, stage: &mut Self, name: &str| {
            let none = Said::new();
            let said = match name {
                OURS => &given.organization,
                name => {
                    let found = given
                        .things
                        .get(&(ORGANIZATION.to_owned(), name.to_owned()));
                    found.map_or(&none, |thing| &thing.said)
                }
            };
            let holds = said.get("holds").map(|(_, node)| node.json());
            (stage.uid(name, ORGANIZATION), holds)
        };
        for ((kind, name), thing) in &given.things {
            let Some(of) = self.types.named(kind).filter(|of| of.name != ORGANIZATION) else {
                continue;
            };
            let org = match thing.said.get("org") {
                Some((_, node)) => node.name().unwrap_or_default(),
                None => OURS.to_owned(),
            };
            let (org_uid, holds) = of_organization(given, self, &org);
            let known = self.findings.len();
            let made = self.made(of, (name, thing), &circles, holds);
            // Of what is wrong already, the schema says nothing more.
            let made = made.filter(|_| self.findings.len() == known);
            if let Some(attributes) = made.as_ref().and_then(|made| made.get("attrs"))
                && of.name == USER
                && attributes.pointer("/role/__entity/id") == Some(&json!("Admin"))
                && attributes.get("active") == Some(&json!(true))
                && let Some(org) = org_uid
            {
                let count = admins.entry(org).or_insert(0);
                *count = count.saturating_add(1);
            }
            entities.extend(made.map(|made| (thing.at, made)));
        }
        let none = Thing {
            at: At::default(),
            said: given.organization.clone(),
        };
        let others: Vec<(String, Thing<'_>)> = given
            .others()
            .map(|(name, thing)| (name.clone(), thing.clone()))
            .chain([(OURS.to_owned(), none)])
            .collect();
        for (name, thing) in &others {
            entities.extend(self.organization((name, thing), &admins));
        }
        self.add_circles(given, &others, &mut entities);
        let mut scene = Scene::default();
        for (at, json) in entities {
            self.set(&mut scene, at, json);
        }
        for (key, thing) in &given.own {
            self.own(&mut scene, key, thing);
        }
        for node in &given.cedar {
            self.set(&mut scene, node.at, node.json());
        }
        scene
    }

    pub(super) fn uid(&self, name: &str, kind: &str) -> Option<Uid> {
        let vocabulary = self.compiled.vocabulary();
        self.names.find(name, &[ours(kind)], vocabulary).ok()
    }

    /// Adds an entity in Cedar's JSON form, if the schema takes it.
    fn set(&mut self, scene: &mut Scene, at: At, json: Json) {
        let schema = self.compiled.schema();
        match cedar_policy::Entity::from_json_value(json, Some(schema)) {
            Ok(entity) => match Entity::from_cedar(&entity, |name| name.into()) {
                Some(known) => scene.add(known, entity),
                None => self.refuse(
                    at,
                    "it has a value that cannot be read here".to_owned(),
                    None,
                ),
            },
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                let mut message = error.to_string();
                let mut cause = error.source();
                while let Some(why) = cause {
                    let why_text = why.to_string();
                    if !message.contains(&why_text) {
                        message = format!("{message}: {why_text}");
                    }
                    cause = why.source();
                }
                let known = "entity does not conform to the schema: ";
                let message = message.trim_start_matches(known).to_owned();
                self.refuse(at, message, None);
            }
        }
    }

    fn name_cedar(&mut self, node: &Node) {
        let json = node.json();
        let uid = json
            .get("uid")
            .map(|uid| uid.get("__entity").unwrap_or(uid));
        let named = uid.and_then(|uid| {
            let kind = Type::named(uid.get("type")?.as_str()?);
            Some((kind, uid.get("id")?.as_str()?.to_owned()))
        });
        match named {
            Some((kind, id)) => {
                self.names.add(&id, &kind, &id);
                self.names
                    .add(&format!("{}:{id}", authzen_type(&kind)), &kind, &id);
            }
            None => {
                let message = "an entity in Cedar's JSON form has a `uid` with `type` and `id`, `attrs` and `parents`";
                self.refuse(node.at, message.to_owned(), None);
            }
        }
    }

    /// Who is in which group, by all that says so.
    fn circles(&mut self, given: &Given<'_>) -> Circles {
        let mut circles = Circles::new();
        let user = ours(USER);
        for ((kind, name), thing) in &given.things {
            match kind.as_str() {
                GROUP => {
                    if let Some((_, node)) = thing.said.get("members")
                        && let Some(group) = self.uid(name, GROUP)
                    {
                        let people = self.several(node, std::slice::from_ref(&user));
                        circles.entry(group).or_default().extend(people);
                    }
                }
                kind => self.circles_of(kind, name, &thing.said, &mut circles),
            }
        }
        self.circles_of(ORGANIZATION, OURS, &given.organization, &mut circles);
        // Without another word everybody is a member of their organization.
        for (name, thing) in given.of(USER) {
            let org = match thing.said.get("org") {
                Some((_, node)) => node.name().unwrap_or_default(),
                None => OURS.to_owned(),
            };
            let said = match org.as_str() {
                OURS => Some(&given.organization),
                org => given
                    .things
                    .get(&(ORGANIZATION.to_owned(), org.to_owned()))
                    .map(|thing| &thing.said),
            };
            if said.is_some_and(|said| !said.contains_key("members"))
                && let Some(group) = self.uid(&circle_name(&org, "members"), GROUP)
            {
                circles
                    .entry(group)
                    .or_default()
                    .extend(self.uid(name, USER));
            }
        }
        circles
    }

    /// The people that a container lists as its own.
    fn circles_of(&mut self, kind: &str, name: &str, said: &Said<'_>, circles: &mut Circles) {
        let Some(of) = self.types.named(kind) else {
            return;
        };
        for circle in of.circles() {
            let Some((_, node)) = said.get(circle).filter(|(_, node)| node.list().is_some()) else {
                continue;
            };
            let people = self.several(node, &[ours(USER)]);
            // Leads are members, too.
            for into in [circle, "members"] {
                if let Some(group) = self.uid(&circle_name(name, into), GROUP) {
                    circles.entry(group).or_default().extend(people.clone());
                }
            }
        }
    }

    /// A name or a list of names.
    fn several(&mut self, node: &Node, wanted: &[Type]) -> Vec<Uid> {
        match &node.what {
            What::Null => Vec::new(),
            What::List(items) => items
                .iter()
                .filter_map(|item| self.named(item, wanted))
                .collect(),
            _ => self.named(node, wanted).into_iter().collect(),
        }
    }

    /// One of a built-in type, in Cedar's JSON form.
    fn made(
        &mut self,
        of: &BuiltIn,
        (name, thing): (&str, &Thing<'_>),
        circles: &Circles,
        holds: Option<Json>,
    ) -> Option<Json> {
        let uid = self.uid(name, &of.name)?;
        let mut attributes = self.attributes(of, name, &thing.said);
        let mut parents = BTreeSet::new();
        // What belongs to one of these is in it.
        for place in ["thread", "project", "team", "definition"] {
            if let Some(Shape::Entity(kind)) = of.fields.get(place)
                && of.parents.contains(authzen_type(kind))
            {
                let id = named_by(&attributes, place);
                parents.extend(id.map(|id| Uid::new(kind.clone(), id)));
            }
        }
        let places: Vec<Type> = of.parents.iter().map(|name| ours(name)).collect();
        match thing.said.get("in") {
            Some((at, _)) if places.is_empty() => {
                let message = format!("a `{}` is in nothing", of.name);
                self.refuse(*at, message, None);
            }
            Some((_, node)) => parents.extend(self.several(node, &places)),
            None => {}
        }
        let in_groups = circles.iter().filter(|(_, people)| people.contains(&uid));
        parents.extend(in_groups.map(|(group, _)| group.clone()));
        let personal = named_by(&attributes, "layer") == Some("personal");
        if parents.is_empty() && of.parents.contains(ORGANIZATION) && !personal {
            let org = named_by(&attributes, "org");
            parents.extend(org.map(|id| Uid::new(ours(ORGANIZATION), id)));
        }
        if of.fields.contains_key("holds") {
            let holds = holds.unwrap_or(json!(0));
            attributes.entry("holds").or_insert(holds);
        }
        Some(entity(&uid, attributes, &parents))
    }

    /// The attributes that something has, with those that it needs and nobody said.
    fn attributes(&mut self, of: &BuiltIn, name: &str, said: &Said<'_>) -> Map<String, Json> {
        let mut attributes = Map::new();
        for (member, (at, node)) in said {
            match member.as_str() {
                "id" | "in" => continue,
                "members" if of.name == GROUP => continue,
                circle if of.circles().any(|one| one == circle) && node.list().is_some() => {
                    continue;
                }
                _ => {}
            }
            match of.fields.get(member.as_str()) {
                Some(_) if node.is_null() => {}
                Some(shape) => {
                    let value = self.value(shape, node, member);
                    attributes.extend(value.map(|value| (member.clone(), value)));
                }
                None => self.no_such(
                    (*at, member),
                    &format!("`{}`", of.name),
                    &of.fields,
                    &["id", "in"],
                ),
            }
        }
        let listed = |kind: &str, value: &str| reference(&Uid::new(ours(kind), value));
        let mut default = |name: &str, value: &dyn Fn() -> Option<Json>| {
            if of.fields.contains_key(name)
                && !attributes.contains_key(name)
                && let Some(value) = value()
            {
                attributes.insert(name.to_owned(), value);
            }
        };
        default("org", &|| Some(reference(&self.uid(OURS, ORGANIZATION)?)));
        default("role", &|| Some(listed("Role", "Member")));
        default("active", &|| Some(json!(true)));
        default("plan", &|| Some(listed("Plan", "Enterprise")));
        default("regions", &|| Some(json!([])));
        default("scopes", &|| Some(json!(["decide"])));
        for circle in of.circles() {
            let group = circle_name(name, circle);
            default(circle, &|| Some(reference(&self.uid(&group, GROUP)?)));
        }
        if of.fields.contains_key("layer") && !attributes.contains_key("layer") {
            let layers = ["thread", "project", "team"].into_iter();
            let mut layers = layers.filter(|name| attributes.contains_key(*name));
            if let Some(layer) = layers.next() {
                attributes.insert("layer".to_owned(), listed("Layer", layer));
            }
        }
        attributes
    }

    pub(super) fn no_such(
        &mut self,
        (at, member): (At, &str),
        of: &str,
        fields: &Fields,
        more: &[&str],
    ) {
        let mut known: Vec<&str> = fields.keys().map(|name| &**name).collect();
        known.extend(more);
        let key = Key {
            at,
            text: member.to_owned(),
        };
        self.findings.push(unknown(self.file, &key, of, &known));
    }

    /// An organization, and what it has one of.
    fn organization(
        &mut self,
        (name, thing): (&str, &Thing<'_>),
        admins: &BTreeMap<Uid, i64>,
    ) -> Vec<(At, Json)> {
        let (types, mut all) = (self.types, Vec::new());
        let Some((of, uid)) = types.named(ORGANIZATION).zip(self.uid(name, ORGANIZATION)) else {
            return all;
        };
        let known = self.findings.len();
        let mut attributes = self.attributes(of, name, &thing.said);
        if self.findings.len() > known {
            return all;
        }
        attributes.insert("org".to_owned(), reference(&uid));
        attributes.entry("holds").or_insert(json!(0));
        let admins = admins.get(&uid).copied().unwrap_or(0);
        attributes.entry("active_admins").or_insert(json!(admins));
        all.push((thing.at, entity(&uid, attributes, &BTreeSet::new())));
        for one in types.all.iter().filter(|one| one.single) {
            let attributes = Map::from_iter([("org".to_owned(), reference(&uid))]);
            let parents = BTreeSet::from([uid.clone()]);
            let uid = Uid::new(one.kind.clone(), &uid.id());
            all.push((thing.at, entity(&uid, attributes, &parents)));
        }
        all
    }

    /// The groups of containers' people.
    fn add_circles(
        &self,
        given: &Given<'_>,
        organizations: &[(String, Thing<'_>)],
        entities: &mut Vec<(At, Json)>,
    ) {
        let things = given.things.iter();
        let things = things
            .filter(|((kind, _), _)| kind != ORGANIZATION)
            .map(|((kind, name), thing)| (kind.as_str(), name, thing));
        let organizations = organizations.iter();
        let organizations = organizations.map(|(name, thing)| (ORGANIZATION, name, thing));
        for (kind, name, thing) in things.chain(organizations) {
            let circles = self.types.named(kind).map(BuiltIn::circles);
            let org = match (kind, thing.said.get("org")) {
                (ORGANIZATION, _) => name.clone(),
                (_, Some((_, node))) => node.name().unwrap_or_default(),
                (_, None) => OURS.to_owned(),
            };
            let Some(org) = self.uid(&org, ORGANIZATION) else {
                continue;
            };
            for circle in circles.into_iter().flatten() {
                if let Some(group) = self.uid(&circle_name(name, circle), GROUP) {
                    let attributes = Map::from_iter([("org".to_owned(), reference(&org))]);
                    entities.push((thing.at, entity(&group, attributes, &BTreeSet::new())));
                }
            }
        }
    }

    /// One of an organization's own types.
    fn own(&mut self, scene: &mut Scene, key: &str, thing: &Thing<'_>) {
        let compiled = self.compiled;
        let vocabulary = compiled.vocabulary();
        let kind = split(key).and_then(|(kind, id)| Some((vocabulary.entity_type(kind)?, id)));
        let Some((kind, id)) = kind else {
            let types = vocabulary
                .types()
                .filter(|(_, kind)| vocabulary.is_own(kind));
            let said = split(key).map_or(key, |(kind, _)| kind);
            let help = did_you_mean(said, types.map(|(name, _)| name));
            let message = format!("`{key}` is not `type:id` with a type of the schema");
            return self.refuse(thing.at, message, help);
        };
        let Some(fields) = vocabulary.own_attributes(kind) else {
            let message = format!("`{key}` is of a built-in type");
            let help = "built-in types have sections of their own; in Cedar's JSON form `entities` is a list";
            return self.refuse(thing.at, message, Some(help.to_owned()));
        };
        let before = self.findings.len();
        let mut attributes = Map::new();
        let (mut parents, mut tags) = (BTreeSet::new(), Json::Null);
        for (member, (at, node)) in &thing.said {
            match (fields.get(member.as_str()), member.as_str()) {
                (Some(shape), _) => {
                    let value = self.value(shape, node, member);
                    attributes.extend(value.map(|value| (member.clone(), value)));
                }
                (None, "in") => parents.extend(self.several(node, &[])),
                (None, "tags") => tags = node.json(),
                (None, _) => {
                    let of = format!("`{}`", authzen_type(kind));
                    self.no_such((*at, member), &of, fields, &["in", "tags"]);
                }
            }
        }
        if self.findings.len() > before {
            return;
        }
        let mut json = entity(&Uid::new(kind.clone(), id), attributes, &parents);
        if let (Json::Object(members), false) = (&mut json, tags.is_null()) {
            members.insert("tags".to_owned(), tags);
        }
        self.set(scene, thing.at, json);
    }
}

/// The id of what an attribute names.
fn named_by<'a>(attributes: &'a Map<String, Json>, name: &str) -> Option<&'a str> {
    attributes.get(name)?.pointer("/__entity/id")?.as_str()
}

/// An entity as Cedar's JSON form names it.
pub(super) fn reference(uid: &Uid) -> Json {
    json!({"__entity": {"type": uid.kind().name(), "id": uid.id()}})
}

fn entity(uid: &Uid, attributes: Map<String, Json>, parents: &BTreeSet<Uid>) -> Json {
    let parents: Vec<Json> = parents.iter().map(reference).collect();
    json!({"uid": reference(uid), "attrs": attributes, "parents": parents})
}
