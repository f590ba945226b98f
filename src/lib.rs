//! Cedarkeep: authorization as a service, with a log that strangers can verify.
//!
//! The rooms, in reading order:
//!
//! - [`directory`]: what a tenant holds, in memory as of one index of its log, and the changes to it.
//! - [`policy`]: what the Cedar policies say about a question.
//! - [`proof`]: what the policies say about all questions at once, by a solver.
//! - [`log`]: a log's rows, segments, queries and search index; what strangers need of it (entries, the tree, checkpoints, receipts,
//!   verification) is the crate `cedarkeep-verify`.
//! - [`crypto`]: one way of sealing, and the key hierarchy.
//! - [`storage`]: databases, and all that differs between SQLite and PostgreSQL.
//! - [`tenant`]: the control database and a tenant's open store.
//! - [`vault`]: what is kept of resources, sealed.
//! - [`decide`]: the door. It alone sees directory, policies and log at once: it answers, and it records.
//! - [`backup`]: all of it taken while the service runs, sealed, and put back.
//! - [`publish`]: the deployment's own log shown to the world, which commits to the tenants' logs.
//! - [`outside`]: calls to what tenants have named: providers of identity, and DNS.
//! - [`mail`]: letters, sent once what they are about is committed.
//! - [`authn`]: who asks. [`http`]: the edge. [`cli`]: the operator at the machine. [`app`]: all of it put together.
//!
//! Words: a *question* is asked about a subject, an action and a resource; a *judgement* is what the policies say to
//! it; an *answer* is a judgement that is in the log. An *entry* is one line of the log, a *leaf* its bytes, a *part*
//! what of it is sealed apart. A *life* or *incarnation* of a log is what lies between two restores; an *anchor* shows that the
//! deployment's log commits to a checkpoint. A *world* is everything that a judgement sees, as of one *index* of the log.

pub mod app;
pub mod authn;
pub mod backup;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod decide;
pub mod directory;
pub mod http;
pub mod ids;
pub mod log;
pub mod mail;
pub mod outside;
pub mod policy;
pub mod proof;
pub mod publish;
pub mod storage;
pub mod telemetry;
pub mod tenant;
pub mod vault;
