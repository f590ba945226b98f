//! A verifier of bundles in a page: `cargo run -p cedarkeep-verify --example verify -- BUNDLE KEY`.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::process::ExitCode;

use cedarkeep_verify::bundle;

fn main() -> ExitCode {
    match verified() {
        Ok(text) => {
            drop(writeln!(std::io::stdout(), "{text}"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            drop(writeln!(std::io::stderr(), "{why}"));
            ExitCode::FAILURE
        }
    }
}

fn verified() -> Result<String, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("give a bundle, and the public key of its log".into());
    };
    let from = BufReader::new(File::open(path)?);
    let verdict = bundle::verify(from, &[key.parse()?], &[], |_, _| {})?;
    if verdict.is_sound() {
        return Ok(format!("sound: {} entries", verdict.entries));
    }
    let wrong: Vec<String> = verdict.wrong.iter().map(ToString::to_string).collect();
    Err(format!("NOT SOUND: {}", wrong.join("; ")).into())
}
