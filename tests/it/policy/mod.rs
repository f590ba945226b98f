//! The policies: what they say, row by row, and what would follow if one of them were not there.

mod differential;
mod explain;
mod explained;
mod generated;
mod generator;
mod library;
mod matrix;
mod mutants;
mod own;
mod slice;
mod ways;
pub mod world;
