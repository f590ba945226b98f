//! The entry: reads the arguments, starts a runtime, and says what went wrong.

use std::process::ExitCode;

/// Half of what a small decision costs is memory that is taken and given back: this allocator does it at half the price.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cedarkeep::cli::main()
}
