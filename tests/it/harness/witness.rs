//! Clients under load that remember every answer that they received, and hold the log to it afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use super::client::{Client, may_morty_change};
use super::server::{Server, Site};

/// The longest that an answer may take when it cannot be recorded: 2 s, and some for a busy machine.
pub const REFUSED_WITHIN: Duration = Duration::from_millis(2_400);

/// Entries that may lie between the last one received and the end of the log: asked and never answered.
const UNRECEIVED: usize = 4_096;

/// A decision that a client received.
#[derive(Debug, Clone)]
struct Received {
    index: u64,
    leaf_hash: String,
    decision: bool,
    todo: String,
}

/// What clients saw.
#[derive(Default)]
pub struct Witness {
    received: Mutex<Vec<Received>>,
    /// How many of them were checked before.
    checked: Mutex<usize>,
    asked: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
    slowest: Mutex<Duration>,
}

/// Clients at work.
pub struct Load {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// Lets each client end its question, and waits for that.
    pub async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

impl Witness {
    /// Decisions that were received.
    pub fn received(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Answers that said that there is none: 503.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Questions whose connection broke.
    pub fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// The longest that any answer took, refusals included.
    pub fn slowest(&self) -> Duration {
        *self.slowest.lock().unwrap()
    }

    /// Starts this many clients that ask without a pause, until [`Load::end`] or until their connection breaks.
    pub fn load(self: &Arc<Self>, server: &Server, key: &str, clients: usize) -> Load {
        let (mut tasks, stop) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for _ in 0..clients {
            let (witness, client, stop) = (Arc::clone(self), server.client(key), Arc::clone(&stop));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) && witness.ask(&client).await {}
            });
        }
        Load { tasks, stop }
    }

    /// Asks one question that nobody asked before; whether an answer came.
    pub async fn ask(&self, client: &Client) -> bool {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let (todo, own) = (format!("todo-{number}-end"), number.is_multiple_of(2));
        let Ok(answer) = client.explain(&may_morty_change(&todo, own)).await else {
            self.broken.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        {
            let mut slowest = self.slowest.lock().unwrap();
            *slowest = answer.took.max(*slowest);
        }
        if answer.status == 503 {
            assert!(!answer.body.contains("\"decision\""), "{}", answer.body);
            assert!(
                answer.took <= REFUSED_WITHIN,
                "it took {:?} to refuse",
                answer.took
            );
            self.refused.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        let said = answer.json();
        let (decision, log) = (said["decision"].as_bool().unwrap(), &said["context"]["log"]);
        assert_eq!(decision, own, "{said}");
        let leaf_hash = log["leaf_hash"].as_str().unwrap().to_owned();
        let received = Received {
            index: number_of(&log["index"]),
            leaf_hash,
            decision,
            todo,
        };
        self.received.lock().unwrap().push(received);
        true
    }

    /// Asserts that the log verifies, and that what was received since the last call is in it as it was received.
    pub fn check_new(&self, site: &Site, slug: &str) {
        let received = self.received.lock().unwrap().clone();
        let mut checked = self.checked.lock().unwrap();
        let fresh = &received[*checked..];
        site.verify(slug);
        let last = (fresh.len() + UNRECEIVED).to_string();
        hold(&tail(site, slug, &last), fresh);
        *checked = received.len();
    }

    /// Asserts that the log verifies, has no gap, and holds everything that was ever received.
    pub fn check_all(&self, site: &Site, slug: &str) {
        let received = self.received.lock().unwrap().clone();
        site.verify(slug);
        let entries = tail(site, slug, "100000000");
        let indexes: Vec<u64> = entries.keys().copied().collect();
        let whole: Vec<u64> = (0..u64::try_from(entries.len()).unwrap()).collect();
        assert!(indexes == whole, "the log has gaps");
        hold(&entries, &received);
        let mut indexes: Vec<u64> = received.iter().map(|one| one.index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        assert_eq!(indexes.len(), received.len(), "two answers named one entry");
    }
}

/// The last entries of a log by their index.
fn tail(site: &Site, slug: &str, last: &str) -> BTreeMap<u64, Value> {
    let text = site.done(&["audit", "tail", slug, "--json", "-n", last]);
    text.lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).unwrap();
            (number_of(&entry["index"]), entry)
        })
        .collect()
}

fn hold(entries: &BTreeMap<u64, Value>, received: &[Received]) {
    for one in received {
        let entry = entries
            .get(&one.index)
            .unwrap_or_else(|| panic!("no entry for {one:?}"));
        // The leaf is canonical JSON of ASCII strings under sorted keys, which is what this writes again.
        let leaf = serde_json::to_vec(&entry["leaf"]).unwrap();
        let hash = Sha256::new()
            .chain_update([0])
            .chain_update(&leaf)
            .finalize();
        assert_eq!(
            STANDARD.encode(hash),
            one.leaf_hash,
            "{one:?} against {entry}"
        );
        let outcome = if one.decision { "allow" } else { "deny" };
        assert_eq!(entry["leaf"]["outcome"], outcome, "{one:?} against {entry}");
        let request = entry["request"].to_string();
        assert!(
            request.contains(&format!("\"{}\"", one.todo)),
            "{one:?} against {entry}"
        );
    }
}

/// A number that is written as one, or as a string.
pub fn number_of(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        other => other
            .as_u64()
            .unwrap_or_else(|| panic!("`{other}` is no index")),
    }
}
