//! Policies that differ in whom and what they name alone: what is found about one is a guess about the others, which the engine
//! confirms or does not.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::scene::{call, is_action, named};
use crate::policy::{Type, Vocabulary};

/// What a policy names, in the order in which it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    Entity(String, String),
    Text(String),
    Long(i64),
}

/// A policy without what it names, and that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) form: String,
    pub(super) literals: Vec<Literal>,
}

impl Shape {
    /// Of a policy in Cedar's JSON form.
    pub(super) fn of(policy: &Json, vocabulary: &Vocabulary) -> Self {
        let mut form = policy.clone();
        if let Some(members) = form.as_object_mut() {
            members.remove("annotations");
        }
        let mut literals = Vec::new();
        take(&mut form, vocabulary, &mut literals);
        Self {
            form: form.to_string(),
            literals,
        }
    }
}

fn take(json: &mut Json, vocabulary: &Vocabulary, literals: &mut Vec<Literal>) {
    if let Some((kind, id)) = named(json) {
        if !is_action(kind) && !vocabulary.is_closed(&Type::named(kind)) {
            literals.push(Literal::Entity(kind.to_owned(), id.to_owned()));
            call(json, String::new());
        }
        return;
    }
    match json {
        Json::Object(members) => {
            for (name, value) in members {
                match value {
                    Json::String(text) if name == "Value" => {
                        literals.push(Literal::Text(std::mem::take(text)));
                    }
                    Json::Number(number) if name == "Value" => {
                        literals.extend(number.as_i64().map(Literal::Long));
                        *value = json!(0);
                    }
                    other => take(other, vocabulary, literals),
                }
            }
        }
        Json::Array(items) => {
            for item in items {
                take(item, vocabulary, literals);
            }
        }
        _ => {}
    }
}

/// Other names for what is in a question.
#[derive(Debug, Default)]
pub(super) struct Renaming {
    entities: HashMap<(String, String), String>,
    texts: HashMap<String, String>,
    longs: HashMap<i64, i64>,
}

impl Renaming {
    /// Of what one policy names into what another of the same shape does. The numbers beside a number go with it.
    pub(super) fn between(from: &[Literal], to: &[Literal]) -> Self {
        let mut renaming = Self::default();
        for pair in from.iter().zip(to) {
            match pair {
                (Literal::Entity(kind, id), Literal::Entity(_, other)) => {
                    let key = (kind.clone(), id.clone());
                    renaming.entities.insert(key, other.clone());
                }
                (Literal::Text(text), Literal::Text(other)) => {
                    renaming.texts.insert(text.clone(), other.clone());
                }
                (Literal::Long(number), Literal::Long(other)) => {
                    for beside in [1, -1, 0] {
                        let sums = (number.checked_add(beside), other.checked_add(beside));
                        if let (Some(number), Some(other)) = sums {
                            renaming.longs.insert(number, other);
                        }
                    }
                }
                _ => {}
            }
        }
        renaming
    }

    /// Renames what is in a question.
    pub(super) fn rename(&self, json: &mut Json) {
        if let Some((kind, id)) = named(json) {
            let key = (kind.to_owned(), id.to_owned());
            if let Some(other) = self.entities.get(&key) {
                call(json, other.clone());
            }
            return;
        }
        match json {
            Json::Object(members) => members.values_mut().for_each(|value| self.rename(value)),
            Json::Array(items) => items.iter_mut().for_each(|item| self.rename(item)),
            Json::String(text) => {
                if let Some(other) = self.texts.get(text) {
                    *text = other.clone();
                }
            }
            Json::Number(number) => {
                let other = number.as_i64().and_then(|number| self.longs.get(&number));
                if let Some(other) = other {
                    *json = json!(other);
                }
            }
            _ => {}
        }
    }
}
