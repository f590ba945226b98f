//! The whole service from outside: a process, its clients, its operators, and what goes wrong around it.

mod activations;
mod authzen;
mod bad_input;
mod canary;
mod close;
mod commands;
mod crash;
mod credentials;
mod explaining;
mod export;
mod faults;
mod folders;
mod footprint;
mod import;
mod nodes;
mod offline;
mod policies;
mod replaying;
mod requests;
mod scim;
mod searching;
mod sso;
mod tls;
mod uploads;
