//! An organization of ten thousand people and ten thousand threads, and questions about them that can't flatter: people and threads by
//! Zipf's law, half of them refused, one in twenty an agent's, some allowed by a share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cedarkeep::http::authzen::{EVALUATION, EVALUATIONS};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::chance::Chance;
use crate::harness::client::Client;
use crate::harness::server::{Server, Site};
use crate::load::Asked;

const PEOPLE: usize = 10_000;
const THREADS: usize = 10_000;
/// So many threads are shared with the one agent, and so many with one person each.
const SHARED: usize = 500;
/// Different questions, which are asked one after the other.
const QUESTIONS: usize = 40_000;
/// Makers at once.
const MAKERS: usize = 16;

/// What was made.
pub struct Scene {
    pub client: Client,
    pub key: String,
    admin: String,
    people: Vec<String>,
    /// Of even number for everybody to read, of odd number private to the Admin, who made them.
    threads: Vec<String>,
    agent: String,
}

/// Makes everything through the service itself.
pub async fn scene(site: &Site, server: &Server, slug: &str) -> Scene {
    let admin = site.add_admin(slug);
    let client =
        server.client(&site.create_key(slug, "decide,directory.read,directory.write,content"));
    let organization = call(&client, &admin, Method::GET, "/v1/organization", None).await;
    let everybody = organization["members"].as_str().unwrap().to_owned();
    let people = make(
        &client,
        &admin,
        "/v1/users",
        PEOPLE,
        |number| json!({"name": format!("Person {number}"), "email": format!("p{number}@mix.example"), "role": "Member"}),
    );
    let people = people.await;
    let threads = make(&client, &admin, "/v1/threads", THREADS, |number| {
        let name = format!("Thread {number}");
        match number % 2 {
            0 => json!({"name": name, "audience": everybody}),
            _ => json!({"name": name}),
        }
    });
    let threads = threads.await;
    let agent = json!({"name": "Reader", "audience": everybody});
    let agent = call(&client, &admin, Method::POST, "/v1/agents", Some(agent)).await;
    let definition = agent["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/agents/{definition}");
    let agent = call(&client, &admin, Method::GET, &path, None).await;
    let agent = agent["agents"][0].as_str().unwrap().to_owned();
    make(
        &client,
        &admin,
        "/v1/shares",
        SHARED,
        |number| json!({"resource": threads[2 * number], "grantee": definition, "level": "viewer"}),
    )
    .await;
    make(&client, &admin, "/v1/shares", SHARED, |number| {
        json!({"resource": threads[2 * number + 1], "grantee": people[number], "level": "viewer"})
    })
    .await;
    let key = site.create_key(slug, "decide");
    Scene {
        client,
        key,
        admin,
        people,
        threads,
        agent,
    }
}

async fn call(client: &Client, by: &str, method: Method, path: &str, body: Option<Value>) -> Value {
    let headers = [
        ("content-type", "application/json"),
        ("cedarkeep-acting-user", by),
    ];
    let body = body.map(|body| body.to_string().into_bytes());
    let answer = client.send(method, path, &headers, body).await.unwrap();
    assert!(
        answer.status < 300,
        "{path}: {} {}",
        answer.status,
        answer.body
    );
    answer.json()
}

/// Makes so many of a collection; their ids, in order.
async fn make(
    client: &Client,
    by: &str,
    path: &str,
    count: usize,
    body: impl Fn(usize) -> Value,
) -> Vec<String> {
    let bodies: Arc<Vec<Value>> = Arc::new((0..count).map(body).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let mut makers = JoinSet::new();
    for _ in 0..MAKERS {
        let (bodies, next) = (Arc::clone(&bodies), Arc::clone(&next));
        let (client, by, path) = (client.clone(), by.to_owned(), path.to_owned());
        makers.spawn(async move {
            let mut made = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(body) = bodies.get(number) else {
                    return made;
                };
                let body = Some(body.clone());
                let thing = call(&client, &by, Method::POST, &path, body).await;
                made.push((number, thing["id"].as_str().unwrap().to_owned()));
            }
        });
    }
    let mut made = makers.join_all().await.concat();
    made.sort_unstable();
    made.into_iter().map(|(_, id)| id).collect()
}

impl Scene {
    /// One change, as one a second is made.
    pub async fn change(&self) {
        let body = Some(json!({"name": "Another"}));
        call(&self.client, &self.admin, Method::POST, "/v1/threads", body).await;
    }

    /// Questions with their answers; of each half is refused.
    fn questions(&self, count: usize) -> impl Iterator<Item = (Value, bool)> {
        let mut chance = Chance::of_this_run("mix");
        let (who, what) = (Zipf::of(PEOPLE), Zipf::of(THREADS / 2));
        let seen: BTreeSet<usize> = (0..SHARED).collect();
        (0..count).map(move |number| {
            let (person, pair) = (who.draw(&mut chance), what.draw(&mut chance));
            let allowed = number % 2 == 0;
            let agents = chance.number().is_multiple_of(20);
            let by_share = chance.number().is_multiple_of(10);
            let (person, thread) = match (allowed, agents, by_share) {
                (true, true, _) => (person, 2 * (pair % SHARED)),
                (true, false, true) => (pair % SHARED, 2 * (pair % SHARED) + 1),
                (true, false, false) => (person, 2 * pair),
                // What is shared with one is not asked for by that one.
                (false, ..) if person == pair && seen.contains(&pair) => (person + 1, 2 * pair + 1),
                (false, ..) => (person, 2 * pair + 1),
            };
            let mut question = json!({
                "subject": {"type": "User", "id": self.people[person]},
                "action": {"name": "thread.read"},
                "resource": {"type": "Thread", "id": self.threads[thread]},
            });
            if agents {
                question["context"] = json!({"acts_for": question["subject"]["id"]});
                question["subject"] = json!({"type": "Agent", "id": self.agent});
            }
            (question, allowed)
        })
    }

    /// One question at a time.
    pub fn singles(&self) -> Asked {
        let each = self.questions(QUESTIONS).map(|(question, allowed)| {
            (question.to_string(), format!("{{\"decision\":{allowed}}}"))
        });
        Asked::posts(EVALUATION, &self.key, each)
    }

    /// The same for who answers each alike.
    pub fn singles_answered_alike(&self) -> Asked {
        let each = self
            .questions(QUESTIONS)
            .map(|(question, _)| (question.to_string(), "{\"decision\":true}".to_owned()));
        Asked::posts(EVALUATION, &self.key, each)
    }

    /// So many questions in each call.
    pub fn batches(&self, of: usize) -> Asked {
        let all: Vec<_> = self.questions(QUESTIONS).collect();
        let each = all.chunks_exact(of).map(|batch| {
            let items: Vec<&Value> = batch.iter().map(|(question, _)| question).collect();
            let answers: Vec<Value> = batch
                .iter()
                .map(|(_, allowed)| json!({"decision": allowed}))
                .collect();
            let answer = json!({"evaluations": answers}).to_string();
            (json!({"evaluations": items}).to_string(), answer)
        });
        Asked::posts(EVALUATIONS, &self.key, each)
    }
}

/// Zipf's law with exponent 1: the n-th is drawn 1/n as often as the first.
struct Zipf(Vec<f64>);

impl Zipf {
    fn of(count: usize) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self(sums.collect())
    }

    fn draw(&self, chance: &mut Chance) -> usize {
        let whole = self.0.last().unwrap();
        let at = chance.number() as f64 / u64::MAX as f64 * whole;
        self.0
            .partition_point(|sum| *sum < at)
            .min(self.0.len() - 1)
    }
}
