//! What Admins say about versions at a service: found out about, approved, asked for, and evaluated beside the one that counts.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::lifecycle::{on_a_runtime, unpassed};
use super::place::{At, Place, Service, about, no_version};
use crate::app::App;
use crate::app::checking::{NotChecked, Step, Wanted};
use crate::cli::Outcome;
use crate::cli::ending::Ending;
use crate::cli::print::Out;
use crate::decide::replay::Range;
use crate::decide::{Asker, Refused};
use crate::directory::DirectoryError;

/// How often it is told how far it is.
const TOLD: Duration = Duration::from_secs(1);

/// Find out what a version does before it counts: proofs over all requests, and what was decided made again under it
#[derive(Debug, Args)]
#[command(after_help = CHECK)]
pub(in crate::cli) struct Check {
    /// Its number
    version: u64,
    /// Make no proofs
    #[arg(long)]
    no_proof: bool,
    /// Make no decisions again
    #[arg(long)]
    no_replay: bool,
    /// Make the last so many decisions again; as many as the conditions ask for, else 10,000
    #[arg(long, value_name = "N", conflicts_with = "no_replay")]
    last: Option<u64>,
    #[command(flatten)]
    at: At,
}

const CHECK: &str = "\
Exit codes: 0, 1 a guardrail does not hold or a policy of the version can err, 2 something is not known.
What is found is kept beside the version, and speaks for it for a day.";

/// Approve a version of somebody else's
#[derive(Debug, Args)]
pub(in crate::cli) struct Approve {
    /// Its number
    version: u64,
    #[command(flatten)]
    at: At,
}

/// Show what is asked of a version before it counts, or ask for it: what is not given is not asked for
#[derive(Debug, Args)]
pub(in crate::cli) struct Conditions {
    /// Ask for nothing
    #[arg(long, conflicts_with_all = ["tests", "proof", "replay", "approval", "approve"])]
    none: bool,
    /// It has tests, and all of them pass
    #[arg(long)]
    tests: bool,
    /// The guardrails are proved
    #[arg(long, value_enum)]
    proof: Option<Proof>,
    /// A replay of the last decisions changes so many at most, as LAST:MOST
    #[arg(long, value_name = "LAST:MOST", value_parser = flips)]
    replay: Option<Value>,
    /// Two people have had a hand in it
    #[arg(long)]
    approval: bool,
    /// Agree to what another Admin wants to ask for
    #[arg(long, conflicts_with_all = ["tests", "proof", "replay", "approval"])]
    approve: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Proof {
    /// Nothing may fail; let through where there is no solver, or where it gives up
    IfPossible,
    /// Everything must hold
    Yes,
}

/// Show what a version would decide otherwise on what is asked now, have one evaluated beside the one that counts, or end that
#[derive(Debug, Args)]
pub(in crate::cli) struct Shadow {
    /// The version to evaluate from here on
    version: Option<u64>,
    /// End it
    #[arg(long, conflicts_with = "version")]
    end: bool,
    #[command(flatten)]
    at: At,
}

/// What an Admin says.
pub(super) enum Saying<'a> {
    Check(&'a Check),
    Approve(&'a Approve),
    Conditions(&'a Conditions),
    Shadow(&'a Shadow),
}

impl Saying<'_> {
    fn at(&self) -> &At {
        match self {
            Self::Check(check) => &check.at,
            Self::Approve(approve) => &approve.at,
            Self::Conditions(conditions) => &conditions.at,
            Self::Shadow(shadow) => &shadow.at,
        }
    }

    /// At a service elsewhere; nothing where it is about this machine.
    pub(super) fn elsewhere(&self, out: &Out) -> Option<Outcome> {
        self.at().is_elsewhere().then(|| {
            let Place::Elsewhere(service) = self.at().elsewhere()? else {
                return Ok(());
            };
            on_a_runtime(self.run(&service, out))
        })
    }

    /// At this machine: a check; the rest is for Admins.
    pub(super) async fn here(&self, app: &Arc<App>, out: &Out) -> Outcome {
        let Self::Check(check) = self else {
            return Err("an Admin says this, at a service: name it with `--server URL`".into());
        };
        let Place::Here(door) = check.at.here(app).await? else {
            return Ok(());
        };
        let (pace, out_too) = (Arc::new(Pace::default()), *out);
        let told = move |step: Step| {
            pace.tell(&out_too, &step.to_json());
            ControlFlow::Continue(())
        };
        let wanted = Wanted {
            number: check.version,
            proof: !check.no_proof,
            replay: (!check.no_replay).then_some(check.last.map(Range::Last)),
        };
        let found = app.check(&door, &Asker::operator(), wanted, told).await;
        let found = found.map_err(|error| match error {
            NotChecked::Refused(Refused::Directory(DirectoryError::NotFound { .. })) => {
                no_version(check.version)
            }
            error => error.into(),
        })?;
        out.say(&found.to_json(), &found.words().join("\n"))?;
        ended(&found.to_json())
    }

    async fn run(&self, service: &Service, out: &Out) -> Outcome {
        match self {
            Self::Check(check) => check.run(service, out).await,
            Self::Approve(approve) => {
                let path = format!("/v1/policy-versions/{}/approve", approve.version);
                let told = service.send(Method::POST, &path, &json!({})).await;
                let told = told.map_err(|failed| about(approve.version, failed))?;
                Ok(out.say(&told, &format!("version {} is approved", approve.version))?)
            }
            Self::Conditions(conditions) => conditions.run(service, out).await,
            Self::Shadow(shadow) => shadow.run(service, out).await,
        }
    }
}

impl Check {
    async fn run(&self, service: &Service, out: &Out) -> Outcome {
        let path = format!("/v1/policy-versions/{}/check", self.version);
        let mut body = json!({ "proof": !self.no_proof, "replay": !self.no_replay });
        if let (Some(last), Some(body)) = (self.last, body.as_object_mut()) {
            body.insert("last".into(), last.into());
        }
        let pace = Pace::default();
        let show = |line: &Value| pace.tell(out, line);
        let last = service.lines(&path, &body, show).await;
        let last = last.map_err(|failed| about(self.version, failed))?;
        let report = last.get("report").cloned().unwrap_or(Value::Null);
        let words = report.get("words").and_then(Value::as_array);
        let words = words.into_iter().flatten().filter_map(Value::as_str);
        out.say(&report, &words.collect::<Vec<_>>().join("\n"))?;
        ended(&report)
    }
}

/// Tells how far it is, now and then.
#[derive(Debug, Default)]
struct Pace(Mutex<Option<Instant>>);

impl Pace {
    fn tell(&self, out: &Out, line: &Value) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|told| told.elapsed() >= TOLD);
        if is_due && line.get("progress").is_some() {
            *told = Some(Instant::now());
            out.progress(&progress(line));
        }
    }
}

/// How far it is, in a line.
fn progress(line: &Value) -> String {
    let at = |member: &str| line.pointer(&format!("/progress/{member}")).cloned();
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    format!(
        "{}: {} of {}",
        text(at("step")),
        text(at("done")),
        text(at("of"))
    )
}

/// How the command ends after this report.
fn ended(report: &Value) -> Outcome {
    let number = |member: &str| {
        let found = report.pointer(member);
        found.and_then(Value::as_u64).unwrap_or_default()
    };
    let count = |member: &str| number(&format!("/checked/proved/{member}"));
    let failed = number("/tests/failed");
    if failed > 0 {
        return Err(unpassed(failed, "DIR"));
    }
    if count("fails") > 0 {
        return Err(Ending::unmet(format!("{} properties do not hold", count("fails"))).into());
    }
    if count("unknown") > 0 || report.get("no_proof").is_some() {
        return Err(Ending::unchecked("not everything is known").into());
    }
    Ok(())
}

impl Conditions {
    const fn says_nothing(&self) -> bool {
        !self.none && !self.tests && self.proof.is_none() && self.replay.is_none() && !self.approval
    }

    async fn run(&self, service: &Service, out: &Out) -> Outcome {
        let path = "/v1/policy-conditions";
        let told = if self.approve {
            let standing = service.get(path).await?;
            let proposed = standing.pointer("/proposed/conditions").cloned();
            let proposed = proposed.ok_or("no conditions wait for an approval")?;
            let path = format!("{path}/approve");
            service.send(Method::POST, &path, &proposed).await?
        } else if self.says_nothing() {
            service.get(path).await?
        } else {
            let proof = match self.proof {
                None => "no",
                Some(Proof::IfPossible) => "if_possible",
                Some(Proof::Yes) => "yes",
            };
            let mut body = Map::new();
            body.insert("tests".into(), self.tests.into());
            body.insert("proof".into(), proof.into());
            body.insert("approval".into(), self.approval.into());
            if let Some(replay) = &self.replay {
                body.insert("replay".into(), replay.clone());
            }
            service
                .send(Method::PUT, path, &Value::Object(body))
                .await?
        };
        let conditions = told.get("conditions").unwrap_or(&Value::Null);
        let mut text = format!("asked for: {conditions}");
        if let Some(proposed) = told.get("proposed").filter(|one| !one.is_null()) {
            text.push_str(&format!("\nwaits for another Admin: {proposed}"));
        }
        Ok(out.say(&told, &text)?)
    }
}

impl Shadow {
    async fn run(&self, service: &Service, out: &Out) -> Outcome {
        let path = "/v1/policy-shadow";
        if self.end {
            let told = service.send(Method::DELETE, path, &json!({})).await?;
            return Ok(out.say(&told, "no version is evaluated beside the one that counts")?);
        }
        let told = match self.version {
            Some(version) => {
                let body = json!({ "version": version });
                let sent = service.send(Method::PUT, path, &body).await;
                sent.map_err(|failed| about(version, failed))?
            }
            None => service.get(path).await?,
        };
        let text = match (
            self.version,
            told.get("node").filter(|node| !node.is_null()),
        ) {
            (Some(version), _) => {
                format!("version {version} is evaluated beside the one that counts")
            }
            (None, Some(node)) => shadowed(&told, node),
            (None, None) => match told.get("version").and_then(Value::as_u64) {
                Some(version) => format!("version {version} is about to be evaluated on this node"),
                None => "no version is evaluated beside the one that counts".to_owned(),
            },
        };
        Ok(out.say(&told, &text)?)
    }
}

/// What a shadow has come to on the node that was asked.
fn shadowed(told: &Value, node: &Value) -> String {
    let of = |member: &str| node.get(member).cloned().unwrap_or(Value::Null);
    let version = told.get("version").cloned().unwrap_or(Value::Null);
    format!(
        "version {version}, on the node that was asked: {} decisions compared, {} gained, {} lost, {} by other policies; {} entries skipped",
        of("compared"),
        of("gained"),
        of("lost"),
        of("other_policies"),
        of("skipped_entries"),
    )
}

/// `LAST:MOST`.
fn flips(text: &str) -> Result<Value, String> {
    let numbers = text
        .split_once(':')
        .and_then(|(last, most)| Some((last.parse::<u64>().ok()?, most.parse::<u64>().ok()?)));
    let (last, most) = numbers.ok_or("it must be two numbers, as 10000:5")?;
    Ok(json!({ "last": last, "most": most }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flips_are_two_numbers() {
        assert_eq!(flips("10:5"), Ok(json!({ "last": 10, "most": 5 })));
        for wrong in ["", "10", "10:", ":5", "-1:5", "10:5:5"] {
            assert!(flips(wrong).is_err(), "{wrong}");
        }
    }
}
