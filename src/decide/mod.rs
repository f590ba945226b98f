//! The door: questions of tenants are answered here, and actions of our own are allowed here; both only once recorded.

pub mod above;
mod ahead;
pub mod anchor;
pub mod audit;
pub mod authorized;
mod batch;
pub mod check;
pub mod door;
mod drafts;
pub mod error;
pub mod export;
pub mod judge;
pub mod mark;
mod pick;
pub mod question;
pub mod recent;
mod record;
pub mod restore;
pub mod rotate;
mod rows;
pub mod search;
mod sequencer;
pub mod upkeep;
mod work;
pub mod world;

pub use authorized::{Action, Authorized, Operator};
pub use door::{Changed, Door, IdempotencyKey, Listed, Permitted};
pub use error::Refused;
pub use question::{Acting, Answer, Asker, Caller, Named, Question, Recorded, Until};
