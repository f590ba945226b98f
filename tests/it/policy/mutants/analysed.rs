//! Analysis: which mutants it tells from the original, over all requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cedarkeep::config::Proof;
use cedarkeep::policy::Compiled;
use cedarkeep::proof::{Effect, Limits, Prover};

use super::super::world::LIBRARY;
use super::{Mutant, whole};

/// What was found out.
#[derive(Default)]
pub struct Analysed<'m> {
    /// Those that answer some request otherwise.
    pub noticed: BTreeSet<&'m str>,
    /// Those that answer every request as the original does.
    pub equivalent: BTreeSet<&'m str>,
    /// Those of which nobody knows, and why.
    pub unknown: BTreeMap<&'m str, String>,
}

pub async fn analysis<'m>(mutants: &[&'m Mutant]) -> Analysed<'m> {
    let limits = Limits {
        question: Duration::from_secs(20),
        whole: Duration::from_secs(900),
        memory: Proof::default().memory(),
    };
    let prover = Prover::find(Proof::default().program().as_deref(), limits).unwrap();
    let original = Arc::new(Compiled::builtin(&LIBRARY));
    let mut found = Analysed::default();
    for (number, mutant) in mutants.iter().enumerate() {
        if number % 50 == 49 {
            println!("{} of {} mutants analysed", number + 1, mutants.len());
        }
        let changed = Arc::new(Compiled::builtin(&whole(mutant)));
        let difference = prover
            .difference(&original, &changed, |_| {})
            .await
            .unwrap();
        let effects: Vec<Effect> = difference.changes.iter().map(|one| one.effect()).collect();
        if effects.is_empty() {
            found.equivalent.insert(&mutant.id);
        } else if effects.iter().any(|one| *one != Effect::Unknown) {
            found.noticed.insert(&mutant.id);
        } else {
            let why = difference.changes.first().map(|one| format!("{one:?}"));
            found.unknown.insert(&mutant.id, why.unwrap_or_default());
        }
    }
    found
}
