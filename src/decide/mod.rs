//! The door: what is decided before anything is changed.

pub mod authorized;
