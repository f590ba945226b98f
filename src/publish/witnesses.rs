//! Witnesses asked to cosign the deployment's log (C2SP tlog-witness, `add-checkpoint`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use url::Url;

use super::Unpublishable;
use super::outlet::{self, Client, Unsent};
use crate::decide::audit;
use crate::decide::error::Unwritten;
use crate::log::checkpoint::SignedCheckpoint;
use crate::log::flaw::Flaw;
use crate::log::witness::{
    Policy, Witness, adopt_cosignature, cosigned, submission, take_cosignature,
};
use crate::tenant::Store;

/// What a witness's answer is called that says how much it has seen.
const SIZE: &str = "text/x.tlog.size";

/// How often a witness is asked that has seen another size than was thought.
const TRIES: usize = 3;

/// A witness has seen more than was submitted: another node was quicker, or the log was put back.
async fn beyond(store: &Store, seen: u64) -> Result<Unsent, Unwritten> {
    let size = audit::head(store).await?.size;
    Ok(match seen > size {
        true => Unsent::Ahead { seen, size },
        false => Unsent::Overtaken { seen },
    })
}

/// The witnesses of a policy, and how much each has seen.
#[derive(Debug)]
pub(super) struct Witnesses {
    client: Client,
    policy: Policy,
    asked: Vec<(Witness, Url)>,
    /// By name; 0 before the first answer.
    seen: Mutex<HashMap<String, u64>>,
}

impl Witnesses {
    pub(super) fn new(client: Client, policy: Policy) -> Result<Self, Unpublishable> {
        let mut asked = Vec::new();
        for witness in policy.witnesses() {
            if let Some(prefix) = &witness.url {
                let text = format!("{}/add-checkpoint", prefix.trim_end_matches('/'));
                asked.push((witness.clone(), outlet::url("publish.witnesses", &text)?));
            }
        }
        Ok(Self {
            client,
            policy,
            asked,
            seen: Mutex::default(),
        })
    }

    pub(super) const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes over who has cosigned a checkpoint before.
    pub(super) fn adopt(&self, note: &mut SignedCheckpoint, last: &SignedCheckpoint) {
        for witness in self.policy.witnesses() {
            adopt_cosignature(note, last, &witness.key);
        }
    }

    /// Asks all that have not cosigned a checkpoint, at once; those that did not, and why.
    pub(super) async fn ask(
        &self,
        store: &Store,
        note: &mut SignedCheckpoint,
    ) -> Result<Vec<(String, Unsent)>, Unwritten> {
        let open: Vec<_> = self
            .asked
            .iter()
            .filter(|(witness, _)| !matches!(cosigned(note, &witness.key), Ok(Some(_))))
            .collect();
        let asked = open
            .iter()
            .map(|(witness, url)| self.one(store, note, (witness, url)));
        let answers = join_all(asked).await;
        let mut failed = Vec::new();
        for ((witness, _), answer) in open.into_iter().zip(answers) {
            let taken = answer?.and_then(|text| {
                take_cosignature(note, &text, &witness.key).map_err(Unsent::Unfit)
            });
            if let Err(why) = taken {
                failed.push((witness.name.clone(), why));
            }
        }
        Ok(failed)
    }

    /// What a witness answers to a checkpoint.
    async fn one(
        &self,
        store: &Store,
        note: &SignedCheckpoint,
        (witness, url): (&Witness, &Url),
    ) -> Result<Result<String, Unsent>, Unwritten> {
        let size = note.checkpoint().size;
        let mut old = self.seen(&witness.name).min(size);
        for _ in 0..TRIES {
            let proof = match old {
                0 => Vec::new(),
                old => match audit::consistency(store, old, Some(size)).await {
                    Ok(Ok(proof)) => proof.path,
                    Ok(Err(_)) => return beyond(store, old).await.map(Err),
                    // What cannot be proved to this one may be proved to others.
                    Err(Unwritten::Flaw(flaw)) => return Ok(Err(Unsent::Unfit(flaw))),
                    Err(error) => return Err(error),
                },
            };
            let body = submission(old, &proof, note);
            let answer = match self.client.post(url, body, None).await {
                Ok(answer) => answer,
                Err(unsent) => return Ok(Err(unsent)),
            };
            match answer.status {
                200 => {
                    self.saw(&witness.name, size);
                    return Ok(Ok(answer.text));
                }
                409 if answer.media.starts_with(SIZE) => {
                    let Ok(seen) = answer.text.trim_end().parse() else {
                        return Ok(Err(answer.refused()));
                    };
                    if seen > size {
                        return beyond(store, seen).await.map(Err);
                    }
                    if seen == old {
                        return Ok(Err(Unsent::Unfit(Flaw::ProofRoot { size: old })));
                    }
                    self.saw(&witness.name, seen);
                    old = seen;
                }
                _ => return Ok(Err(answer.refused())),
            }
        }
        Ok(Err(Unsent::Unfit(Flaw::ProofRoot { size: old })))
    }

    fn seen(&self, name: &str) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(name).copied().unwrap_or_default()
    }

    fn saw(&self, name: &str, size: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(name.to_owned(), size);
    }
}
