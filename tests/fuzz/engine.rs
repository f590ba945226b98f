//! The engine against Cedar's own authorizer, where each choice of the generator is the fuzzer's.
#![no_main]
#![allow(dead_code, reason = "the generator is shared with the tests")]

#[path = "../it/harness"]
mod harness {
    pub mod chance;
}
#[path = "../it/policy"]
mod policy {
    pub mod generated;
    mod generator;
    mod slice;
    mod world;
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    policy::generated::compare(
        harness::chance::Chance::of_bytes(bytes),
        policy::generated::FUZZED,
    );
});
