//! The mutants that no check notices, each with the reason for which it is no other policy.

use std::collections::BTreeMap;

/// A reason, and the mutants that it is the reason for: the policy, a colon, and what was done.
type Reason = (&'static str, &'static [&'static str]);

const REASONS: &[Reason] = &[];

/// Each by its name, with its reason.
pub fn by_name() -> BTreeMap<String, &'static str> {
    let mut all = BTreeMap::new();
    for (why, names) in REASONS {
        for name in *names {
            let twice = all.insert((*name).to_owned(), *why);
            assert!(twice.is_none(), "{name} is explained twice");
        }
    }
    all
}
