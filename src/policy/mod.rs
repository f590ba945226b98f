//! Policies: what may be said about them, what they say about a question, and why.
//!
//! The built-in schema and policies are compiled into the binary (`builtin`); a tenant's own types, actions and
//! policies are compiled beside them (`compile`), each share is one linked policy (`link`). A question in the words
//! of AuthZEN becomes a question in Cedar's (`request`), the few policies whose scope can match are picked (`index`) and
//! each is evaluated (`evaluate`): compiled once from Cedar's own form of it (`program`), it runs (`run`) on values of ours
//! (`value`) and reads entities one attribute at a time (`view`). Where it errs or has no compiled form, Cedar's own
//! authorizer is asked about it (`cedar`).
//!
//! Why an answer is what it is (`explain`), policies taken apart say (`parts`): what a part looked at (`looked`), by which memberships it
//! holds (`way`), and all of it in words (`words`, `sentences`).
//!
//! Three things make the guardrails hold whatever a tenant's own policies say:
//!
//! - They are `forbid` policies, and no permit outvotes a forbid.
//! - Administration is not surveillance: for the actions in the schema's `group.private` (reading, using and sharing
//!   what somebody owns) the permits of a tenant's own policies are left out of the set before it is evaluated, so
//!   that ownership, audience and links alone open them. A forbid could not say this, since it sees no links.
//! - A forbid that could not be evaluated refuses: Cedar alone would skip it, and turn a refusal into an allow.
//!
//! Everything here is pure: no clock, no I/O, nothing async.

mod builtin;
mod cedar;
mod compile;
mod diff;
mod error;
mod evaluate;
mod explain;
mod extent;
mod format;
mod index;
mod link;
mod looked;
mod narrow;
mod parts;
mod program;
mod request;
mod run;
mod sentences;
mod shape;
mod spelling;
pub mod suite;
mod value;
mod view;
mod vocabulary;
mod way;
mod words;

pub use builtin::{DEREFERENCE_LEVEL, FILES, Library, NAMESPACE, SCHEMA, SUSPENDED};
pub use compile::{Compiled, OwnPolicies, POLICIES_MOST, Source};
pub use diff::{Aspect, Difference, Happened, Line, PolicyChange, SchemaChange, Side, diff};
pub use error::{Finding, PolicyError};
pub use evaluate::{Determining, Evaluation, Failure, Refusal, Verdict, evaluate};
pub use explain::{Explanation, NEAR_MOST, NearMiss, Part, Told, Way, explain};
pub use format::formatted;
pub use link::{CompiledLink, Link};
pub use looked::{Looked, Shown, Sight};
pub use narrow::{Clause, narrow};
pub use parts::{Place, Truth};
pub use request::{Facts, Question, Said, SignedIn};
pub use sentences::{details, headline};
pub(crate) use shape::authzen_type;
pub use value::{Type, Uid, Value};
pub use view::{Attribute, Entity, View};
pub use vocabulary::{Action, Vocabulary};
pub use way::Step;
pub use words::{deed, thing, value};
