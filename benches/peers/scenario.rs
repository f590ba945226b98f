//! The scenario that every peer can express, AuthZEN's todo application: who there is, and what is asked with which answer.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Somebody who has roles.
pub struct Person {
    pub id: String,
    pub email: String,
    pub roles: Vec<String>,
}

/// One question of the interoperability tests.
pub struct Asked {
    /// As AuthZEN has it.
    pub request: Value,
    pub allowed: bool,
}

impl Asked {
    pub fn subject(&self) -> &str {
        self.request["subject"]["id"].as_str().unwrap()
    }

    pub fn action(&self) -> &str {
        self.request["action"]["name"].as_str().unwrap()
    }

    /// Its type and its id.
    pub fn resource(&self) -> [&str; 2] {
        ["type", "id"].map(|name| self.request["resource"][name].as_str().unwrap())
    }

    pub fn owner(&self) -> Option<&str> {
        self.request["resource"]["properties"]["ownerID"].as_str()
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where a file of the peers' own is.
pub fn peer_file(name: &str) -> PathBuf {
    root().join("benches/peers").join(name)
}

fn read(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(root().join(path)).unwrap()).unwrap()
}

/// As the service has them stored.
pub fn people() -> Vec<Person> {
    let entities = read("tests/cases/todo/entities.json");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let one = |entity: &Value| Person {
        id: text(&entity["uid"]["id"]),
        email: text(&entity["attrs"]["email"]),
        roles: (entity["parents"].as_array().unwrap().iter())
            .map(|role| text(&role["id"]))
            .collect(),
    };
    entities.as_array().unwrap().iter().map(one).collect()
}

/// All single questions of the published test.
pub fn questions() -> Vec<Asked> {
    let vectors = read("tests/vectors/todo-decisions-1_0-02.json");
    let one = |vector: &Value| Asked {
        request: vector["request"].clone(),
        allowed: vector["expected"].as_bool().unwrap(),
    };
    (vectors["evaluation"].as_array().unwrap().iter())
        .map(one)
        .collect()
}

/// A question with what a server that stores nobody must be told about the subject. One that does has no use for the roles.
pub fn self_contained(request: &Value, people: &[Person]) -> Value {
    let mut request = request.clone();
    let person = people.iter().find(|one| one.id == request["subject"]["id"]);
    let person = person.unwrap();
    request["subject"]["properties"] = json!({"cerbos.roles": person.roles, "email": person.email});
    request
}
