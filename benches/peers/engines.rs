//! The engines that answer in this process, each with the scenario in its own language and with every question ready in its own form.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use casbin::rhai::Dynamic;
use casbin::rhai::serde::to_dynamic;
use casbin::{CoreApi as _, DefaultModel, Enforcer, FileAdapter, MgmtApi as _};
use cedar_policy::{Authorizer, Decision, Entities, PolicySet};
use cedarkeep::decide::world::World;
use cedarkeep::directory::object::{OwnEntity, OwnLibrary};
use cedarkeep::directory::{Body, Kind, Near, Ref, Row, RowId};
use cedarkeep::policy::{Facts, Library, Question, Said, evaluate};
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;
use serde_json::{Map, Value, json};

use crate::scenario::{Asked, Person, peer_file, root};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(400);

/// One that can be asked by a question's number.
pub struct Engine {
    pub name: &'static str,
    ask: Box<dyn FnMut(usize) -> bool>,
}

/// What one did in all rounds.
pub struct Speed {
    pub name: &'static str,
    /// Nanoseconds for one evaluation, round by round.
    pub rounds: Vec<f64>,
}

/// Ours first, then the others; each has answered every question right.
pub async fn engines(people: &[Person], questions: &[Asked]) -> Vec<Engine> {
    let entities = entities(questions);
    let (ours, asked) = cedarkeep(&entities, questions);
    let mut all = vec![
        ours,
        cedar(&entities, &asked),
        regorus(people, questions),
        casbin(people, questions).await,
    ];
    for engine in &mut all {
        for (number, question) in questions.iter().enumerate() {
            let allowed = (engine.ask)(number);
            assert_eq!(
                allowed, question.allowed,
                "{}: {}",
                engine.name, question.request
            );
        }
    }
    all
}

/// Asks them all in turn, who is first changing from round to round.
pub fn measure(engines: &mut [Engine], questions: usize) -> Vec<Speed> {
    let mut speeds: Vec<Speed> = (engines.iter())
        .map(|engine| Speed {
            name: engine.name,
            rounds: Vec::new(),
        })
        .collect();
    let count = engines.len();
    for engine in &mut *engines {
        timed(engine, questions);
    }
    for round in 0..ROUNDS {
        for at in (0..count).map(|number| (number + round) % count) {
            speeds[at].rounds.push(timed(&mut engines[at], questions));
        }
    }
    speeds
}

fn timed(engine: &mut Engine, questions: usize) -> f64 {
    let (start, mut done) = (Instant::now(), 0_usize);
    while start.elapsed() < ROUND {
        for number in 0..questions {
            black_box((engine.ask)(black_box(number)));
        }
        done += questions;
    }
    start.elapsed().as_nanos() as f64 / done as f64
}

/// The people as they are stored, and the todos that are asked about.
fn entities(questions: &[Asked]) -> Vec<Value> {
    let people = std::fs::read(root().join("tests/cases/todo/entities.json")).unwrap();
    let mut all: Vec<Value> = serde_json::from_slice(&people).unwrap();
    for asked in questions {
        let ([kind, id], Some(owner)) = (asked.resource(), asked.owner()) else {
            continue;
        };
        let uid = json!({"type": kind, "id": id});
        if !all.iter().any(|one| one["uid"] == uid) {
            all.push(json!({"uid": uid, "attrs": {"ownerID": owner}, "parents": []}));
        }
    }
    all
}

fn case_file(name: &str) -> String {
    std::fs::read_to_string(root().join("tests/cases/todo").join(name)).unwrap()
}

/// Ours, on a directory that holds the entities: the built-in policies are there too, as they always are.
fn cedarkeep(entities: &[Value], questions: &[Asked]) -> (Engine, Vec<Question>) {
    let reference = |number: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Ref::new(Kind::Document, id)
    };
    let library = Arc::new(Library::builtin().unwrap());
    let own = OwnLibrary {
        version: 1,
        schema: case_file("todo.cedarschema"),
        policies: vec![("todo.cedar".to_owned(), case_file("policies/todo.cedar"))],
        activated: None,
    };
    let mut rows = vec![Row::Put(RowId::Library, Body::Library(own))];
    rows.extend(entities.iter().enumerate().map(|(number, entity)| {
        let entity = entity.clone();
        Row::Put(
            RowId::Own(reference(number).id),
            Body::Own(OwnEntity { entity }),
        )
    }));
    let world = World::empty(Ref::new(Kind::Organization, [0; 16]), &library);
    let world = world.with(&rows, 1).unwrap();
    let vocabulary = world.compiled().vocabulary();
    let facts = Facts {
        now: chrono::Utc::now(),
        region: "eu".to_owned(),
        session: None,
        acts_for: None,
    };
    let nothing = Map::new();
    let said = Said {
        context: &nothing,
        action: &nothing,
    };
    let question = |asked: &Asked| {
        let [kind, id] = asked.resource();
        let parts = (
            vocabulary.entity("user", asked.subject()).unwrap(),
            vocabulary.action(asked.action()).unwrap(),
            vocabulary.entity(kind, id).unwrap(),
        );
        vocabulary.question(parts, said, &facts).unwrap()
    };
    let asked: Vec<Question> = questions.iter().map(question).collect();
    let ready = asked.clone();
    let ask = move |number: usize| {
        let question = &ready[number];
        let near = Near::of(world.snapshot(), question.principal(), question.resource());
        evaluate(world.compiled(), &[], &near, question).is_allowed()
    };
    let engine = Engine {
        name: "Cedarkeep",
        ask: Box::new(ask),
    };
    (engine, asked)
}

/// Cedar's own authorizer on the scenario's policies alone, all entities at hand.
fn cedar(entities: &[Value], asked: &[Question]) -> Engine {
    let policies: PolicySet = case_file("policies/todo.cedar").parse().unwrap();
    let entities = Entities::from_json_value(Value::from(entities), None).unwrap();
    let ready: Vec<_> = asked.iter().map(|one| one.to_cedar().unwrap()).collect();
    let authorizer = Authorizer::new();
    let ask = move |number: usize| {
        let response = authorizer.is_authorized(&ready[number], &policies, &entities);
        response.decision() == Decision::Allow
    };
    Engine {
        name: "Cedar",
        ask: Box::new(ask),
    }
}

/// Rego compiled for regorus's virtual machine, which is kept: the fastest of its ways.
fn regorus(people: &[Person], questions: &[Asked]) -> Engine {
    const RULE: &str = "data.todo.allow";
    let rego = std::fs::read_to_string(peer_file("todo.rego")).unwrap();
    let users: Map<String, Value> = (people.iter())
        .map(|one| {
            (
                one.id.clone(),
                json!({"email": one.email, "roles": one.roles}),
            )
        })
        .collect();
    let data = regorus::Value::from(json!({"users": users}));
    let mut engine = regorus::Engine::new();
    engine.add_policy("todo.rego".to_owned(), rego).unwrap();
    engine.add_data(data.clone()).unwrap();
    let compiled = engine.compile_with_entrypoint(&RULE.into()).unwrap();
    let program = Compiler::compile_from_policy(&compiled, &[RULE]).unwrap();
    let mut machine = RegoVM::new();
    machine.load_program(program);
    machine.set_data(data).unwrap();
    let ready: Vec<_> = (questions.iter())
        .map(|one| regorus::Value::from(one.request.clone()))
        .collect();
    let ask = move |number: usize| {
        machine.set_input(ready[number].clone());
        *machine.execute().unwrap().as_bool().unwrap()
    };
    Engine {
        name: "regorus",
        ask: Box::new(ask),
    }
}

/// Roles and owners in casbin, without its cache of answers.
async fn casbin(people: &[Person], questions: &[Asked]) -> Engine {
    let model = DefaultModel::from_file(peer_file("casbin/model.conf"));
    let policies = FileAdapter::new(peer_file("casbin/policy.csv"));
    let mut enforcer = Enforcer::new(model.await.unwrap(), policies).await.unwrap();
    for person in people {
        for role in &person.roles {
            let link = vec![person.id.clone(), role.clone()];
            enforcer.add_grouping_policy(link).await.unwrap();
        }
    }
    let ready = questions.iter().map(|asked| {
        let person = people.iter().find(|one| one.id == asked.subject()).unwrap();
        let [kind, _] = asked.resource();
        let parts = [
            json!({"id": person.id, "email": person.email}),
            json!(asked.action()),
            json!({"kind": kind, "owner": asked.owner().unwrap_or_default()}),
        ];
        parts.map(|part| to_dynamic(part).unwrap()).to_vec()
    });
    let ready: Vec<Vec<Dynamic>> = ready.collect();
    let ask = move |number: usize| enforcer.enforce(ready[number].clone()).unwrap();
    Engine {
        name: "casbin",
        ask: Box::new(ask),
    }
}
