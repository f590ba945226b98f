//! Versions of an organization's own policies, and which of them counts.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::Signed;
use super::checks::PolicyCheck;

/// A schema and policies that are to count.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewPolicySet {
    /// Cedar schema text; as it is now if absent.
    #[schema(nullable = false)]
    schema: Option<String>,
    /// File names, each with its Cedar text: at most 1,000, each name of 1 to 200 bytes. All texts together have at most 8 MiB.
    policies: BTreeMap<String, String>,
    /// File names, each with the YAML of tests: at most 1,000. None if absent.
    #[schema(nullable = false)]
    tests: Option<BTreeMap<String, String>>,
    /// What it is for, in at most 2,000 bytes; nothing if absent.
    #[schema(nullable = false, max_length = 2_000)]
    message: Option<String>,
}

/// What is to be a version.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewPolicyVersion {
    /// Cedar schema text; as it is now if absent.
    #[schema(nullable = false)]
    schema: Option<String>,
    /// File names, each with its Cedar text: at most 1,000, each name of 1 to 200 bytes. All texts together have at most 8 MiB.
    policies: BTreeMap<String, String>,
    /// File names, each with the YAML of tests: at most 1,000. None if absent.
    #[schema(nullable = false)]
    tests: Option<BTreeMap<String, String>>,
    /// What it is for, in at most 2,000 bytes; nothing if absent.
    #[schema(nullable = false, max_length = 2_000)]
    message: Option<String>,
    /// Whether only to say what would come of it; it is drafted if absent.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
}

/// The schema and the policies of the organization's own that count.
#[derive(ToSchema)]
pub(in crate::http) struct PolicySet {
    /// Its number, counted from 1; 0: there is none, and the built-in policies alone count.
    version: u64,
    /// Of its files: `sha256:` and hexadecimal; null where there is no version, or it was loaded before versions were kept.
    #[schema(required, pattern = "^sha256:[0-9a-f]{64}$")]
    digest: Option<String>,
    /// Cedar schema text; empty where there is none.
    schema: String,
    /// By name.
    policies: Vec<PolicyFile>,
    /// Who had it count, and since when; null where that is not known.
    #[schema(required)]
    activated: Option<Signed>,
}

/// A file of policies.
#[derive(ToSchema)]
struct PolicyFile {
    name: String,
    /// Cedar text.
    text: String,
}

/// The version that counts now.
#[derive(ToSchema)]
pub(in crate::http) struct ActivatedPolicySet {
    /// Its number.
    version: u64,
    /// Of its files.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    digest: String,
    /// The names of its files of policies.
    policies: Vec<String>,
}

/// Which version is to count again.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PolicyRollback {
    /// One that was active before, and is not now.
    #[schema(minimum = 1)]
    version: u64,
}

/// How a version is activated.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PolicyActivation {
    /// The version that counts as far as the caller knows, 0 where the built-in policies alone do: refused where it is another. Not looked at
    /// if absent.
    #[schema(nullable = false)]
    active: Option<u64>,
}

/// A version that was drafted.
#[derive(ToSchema)]
pub(in crate::http) struct DraftedPolicyVersion {
    /// Its number.
    version: u64,
    /// Of its files.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    digest: String,
    /// The version that counted when it was drafted; 0: the built-in policies alone.
    base: u64,
    /// What came of its tests; null where it has none.
    #[schema(required)]
    tests: Option<PolicyTests>,
    /// Which of its tests failed, and why, in words: the first of them.
    #[schema(max_items = 20)]
    failures: Vec<String>,
}

/// What would come of a draft.
#[derive(ToSchema)]
pub(in crate::http) struct TriedPolicyVersion {
    /// Of its files.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    digest: String,
    /// What came of its tests; null where it has none.
    #[schema(required)]
    tests: Option<PolicyTests>,
    /// Which of its tests failed, and why, in words: the first of them.
    #[schema(max_items = 20)]
    failures: Vec<String>,
}

/// What came of a version's tests.
#[derive(ToSchema)]
pub(super) struct PolicyTests {
    /// How many passed.
    passed: u64,
    /// How many did not.
    failed: u64,
    /// The digest of the built-in policies beside which they ran; empty where it was not kept.
    builtin: String,
}

/// Which version it is about.
#[derive(ToSchema)]
pub(in crate::http) struct PolicyVersionNumber {
    version: u64,
}

/// A version and how far it has come, without its files.
#[derive(ToSchema)]
pub(in crate::http) struct PolicyVersion {
    /// Its number.
    version: u64,
    /// Of its files.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    digest: String,
    /// The version that counted when it was drafted; 0: the built-in policies alone.
    base: u64,
    /// What whoever drafted it says about it; empty where they said nothing, or were erased.
    message: String,
    /// Who drafted it, and when.
    drafted: Signed,
    /// Whether it counts.
    active: bool,
    /// Whether it is evaluated beside the one that counts.
    shadow: bool,
    /// What came of its tests; null where it has none.
    #[schema(required)]
    tested: Option<PolicyTests>,
    /// What was found about it last; null: it was not checked.
    #[schema(required)]
    checked: Option<PolicyCheck>,
    /// Who approved it, and when.
    approvals: Vec<Signed>,
    /// Who activated it first, and when; null: it was never active.
    #[schema(required)]
    activated: Option<Signed>,
}

/// A version and how far it has come, with its files.
#[derive(ToSchema)]
pub(in crate::http) struct WholePolicyVersion {
    /// Its number.
    version: u64,
    /// Of its files: `sha256:` and, in hexadecimal, the SHA-256 of the RFC 8785 JSON of an object with `schema`, `policies` and `tests`.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    digest: String,
    /// The version that counted when it was drafted; 0: the built-in policies alone.
    base: u64,
    /// What whoever drafted it says about it; empty where they said nothing, or were erased.
    message: String,
    /// Who drafted it, and when.
    drafted: Signed,
    /// Whether it counts.
    active: bool,
    /// Whether it is evaluated beside the one that counts.
    shadow: bool,
    /// What came of its tests; null where it has none.
    #[schema(required)]
    tested: Option<PolicyTests>,
    /// What was found about it last; null: it was not checked.
    #[schema(required)]
    checked: Option<PolicyCheck>,
    /// Who approved it, and when.
    approvals: Vec<Signed>,
    /// Who activated it first, and when; null: it was never active.
    #[schema(required)]
    activated: Option<Signed>,
    /// Cedar schema text; empty where it has none.
    schema: String,
    /// File names, each with its Cedar text.
    policies: BTreeMap<String, String>,
    /// File names, each with the YAML of tests.
    tests: BTreeMap<String, String>,
}
