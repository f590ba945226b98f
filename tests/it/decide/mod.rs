//! The door: what several nodes on one database must agree on.

mod two_nodes;
