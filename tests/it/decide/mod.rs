//! The door: what several nodes on one database must agree on.

mod appending;
mod turn;
mod two_nodes;
