//! The policies: what they say, row by row, and what would follow if one of them were not there.

mod checks;
mod differential;
mod diffs;
mod explain;
mod explained;
mod formats;
mod generated;
mod generator;
mod library;
mod matrix;
mod mutants;
mod own;
mod slice;
mod suites;
mod ways;
pub mod world;
