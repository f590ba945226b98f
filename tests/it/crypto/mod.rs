//! Keys, sealed values and the keyring.

mod cobblestone;
mod hierarchy;
mod keyring;
mod sealing;
mod secret;
mod signing;
mod vector;
