//! The door: questions of tenants are answered here, and actions of our own are allowed here; both only once recorded.

pub mod above;
mod acting;
mod ahead;
pub mod anchor;
mod arriving;
mod aside;
pub mod audit;
pub mod authorized;
mod batch;
pub mod check;
pub mod content;
pub mod door;
mod drafts;
pub mod error;
pub mod explained;
mod explaining;
pub mod export;
mod finding;
mod flood;
mod forgetting;
pub mod judge;
pub mod mark;
mod permitted;
mod pick;
pub mod preparing;
mod provisioning;
pub mod question;
pub mod reading;
pub mod ready;
pub mod recent;
mod record;
pub mod replay;
mod reporting;
mod request;
pub mod restore;
pub mod rotate;
mod rows;
pub mod search;
mod sequencer;
pub mod shadow;
mod sight;
pub mod sought;
pub mod takeout;
mod told;
pub mod turn;
pub mod upkeep;
mod work;
pub mod world;

pub use crate::crypto::recipient::Recipient;
pub use aside::Room;
pub use authorized::{Action, Authorized, Operator, Proven};
pub use door::{Beside, Changed, Deposit, Door, IdempotencyKey, Listed, Permitted};
pub use error::Refused;
pub use question::{
    Acting, Answer, Asker, Caller, Named, Query, Question, Recorded, Sought, Until,
};
