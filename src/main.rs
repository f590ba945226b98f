//! The entry: reads the arguments, starts a runtime, and says what went wrong.

use std::process::ExitCode;

fn main() -> ExitCode {
    cedarkeep::cli::main()
}
