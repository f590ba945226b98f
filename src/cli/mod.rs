//! The command line: what the operator at the machine can do.

mod api_key;
mod audit;
mod backup;
mod close;
mod demo;
mod ending;
mod explain;
mod export;
mod joining;
mod keeping;
mod keys;
mod link;
mod offline;
mod org;
mod policy;
mod print;
mod provisioning;
mod replay;
mod requests;
mod rewrap;
mod serve;
mod sso;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::App;
use crate::config::{self, Config};
use crate::telemetry;

/// Authorization for enterprise AI workspaces: Cedar policies, sealed storage, and a log that strangers can verify.
#[derive(Debug, Parser)]
#[command(name = "cedarkeep", version, arg_required_else_help = true, after_help = AFTER)]
struct Arguments {
    /// The configuration file (TOML); `cedarkeep.toml` is read if it is there
    #[arg(long, global = true, value_name = "FILE", env = "CEDARKEEP_CONFIG")]
    config: Option<PathBuf>,
    /// Answer in JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Examples:
  cedarkeep serve --demo                         start, with a demo organization at the first start
  cedarkeep org create acme --name Acme          make an organization
  cedarkeep key create acme --name backend       make an API key that may ask for decisions
  cedarkeep explain acme --subject User:usr_... --action thread.read --resource Thread:thr_...
                                                 say why they may, or may not
  cedarkeep audit verify acme                    check everything that its log holds
  cedarkeep keys rewrap                          wrap all keys under the root key of `keys.root`
  cedarkeep backup --output /backups/monday      take everything, sealed, while the service runs

Every setting can come from the file or from the environment; `cedarkeep config` lists them.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the service
    Serve(serve::Serve),
    /// Organizations: create, list, change the plan, suspend, load policies
    #[command(subcommand)]
    Org(org::Org),
    /// People of an organization
    #[command(subcommand)]
    Member(org::Member),
    /// How people of an organization sign in: connections, mail domains, sessions
    #[command(subcommand)]
    Sso(sso::Sso),
    /// API keys of an organization
    #[command(subcommand)]
    Key(api_key::Key),
    /// Keys that everything is sealed under: how they stand, their rotation, and who wraps them
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Policies of an organization
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Say why somebody may or may not do something
    Explain(Box<explain::Explain>),
    /// The log: read it, check it, export it, get a receipt
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Take a backup of everything, or of one organization, while the service runs
    Backup(backup::Backup),
    /// Check a backup, and put it back: everything on a new machine, or one organization
    Restore(backup::Restore),
    /// List every setting with its default and its meaning
    Config,
}

/// What a command failed with: a message with the next step.
type Failed = Box<dyn std::error::Error + Send + Sync>;

type Outcome = Result<(), Failed>;

/// Runs the command of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let out = print::Out::new(arguments.json);
    match run(arguments, &out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out.error(error.as_ref());
            ending::code(error.as_ref())
        }
    }
}

fn run(arguments: Arguments, out: &print::Out) -> Outcome {
    if matches!(arguments.command, Command::Config) {
        return settings(out);
    }
    if let Command::Audit(audit) = &arguments.command
        && let Some(outcome) = audit.offline(out)
    {
        return outcome;
    }
    if let Command::Policy(policy) = &arguments.command
        && let Some(outcome) = policy.offline(out)
    {
        return outcome;
    }
    let config = Config::of_process(arguments.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if let Command::Serve(serve) = arguments.command {
            telemetry::speak(&config.telemetry)?;
            return serve.run(config, out).await;
        }
        if let Command::Restore(restore) = arguments.command {
            return restore.run(config, out).await;
        }
        let app = App::visit(config).await?;
        let outcome = match arguments.command {
            Command::Org(org) => org.run(&app, out).await,
            Command::Member(member) => member.run(&app, out).await,
            Command::Sso(sso) => sso.run(&app, out).await,
            Command::Key(key) => key.run(&app, out).await,
            Command::Keys(keys) => keys.run(&app, out).await,
            Command::Policy(policy) => policy.run(&app, out).await,
            Command::Explain(explain) => explain.run(&app, out).await,
            Command::Audit(audit) => audit.run(&app, out).await,
            Command::Backup(backup) => backup.run(&app, out).await,
            Command::Serve(_) | Command::Restore(_) | Command::Config => Ok(()),
        };
        app.close().await;
        outcome
    })
}

fn settings(out: &print::Out) -> Outcome {
    for setting in config::reference() {
        out.say(
            &serde_json::json!({
                "key": setting.key, "variable": setting.variable(), "kind": setting.kind,
                "default": setting.default, "meaning": setting.meaning,
            }),
            &format!(
                "{}  ({}, default {})\n    {}\n    {}",
                setting.key,
                setting.kind,
                if setting.default.is_empty() {
                    "none"
                } else {
                    setting.default
                },
                setting.variable(),
                setting.meaning,
            ),
        )?;
    }
    Ok(())
}
