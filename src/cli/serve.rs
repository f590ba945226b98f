//! `cedarkeep serve`: starts the listeners, and ends without losing what it has taken.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;

use super::print::{Out, with_causes};
use super::{Outcome, demo};
use crate::app::App;
use crate::config::Config;
use crate::http;
use crate::http::serve::{Listen, Serving, stop_signal};
use crate::http::tls::{Certificates, WATCH_EVERY};
use crate::publish::Publisher;
use crate::telemetry;

/// How often metrics are folded and closed organizations let go of.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// How often it is asked whether root keys can be used, and how often where some can not.
const ROOTS_EVERY: Duration = Duration::from_secs(15);
const ROOTS_DOWN_EVERY: Duration = Duration::from_secs(2);

/// How often it is asked which logs are silent, and for how long one may be whose organization is not open.
const SILENT_EVERY: Duration = Duration::from_secs(60 * 60);
const SILENT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long requests that are there may take to end once the service was told to stop.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Make a demo organization at the first start, and print calls to try
    #[arg(long)]
    demo: bool,
}

/// Publishes the deployment's log, for as long as the service runs.
async fn publish(app: Arc<App>, publisher: Publisher) {
    let mut every = tokio::time::interval(publisher.every());
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match app.publish(&publisher).await {
            Ok(round) => {
                for failed in &round.failed {
                    let error = with_causes(failed);
                    tracing::error!(error, "the deployment's log is published later");
                }
            }
            Err(error) => {
                metrics::counter!("cedarkeep_unpublished_total", "outlet" => "log").increment(1);
                tracing::error!(error = %with_causes(&error), "the deployment's log is published later");
            }
        }
    }
}

/// Asks whether root keys can be used, for as long as the service runs.
async fn look_at_root_keys(app: Arc<App>) {
    loop {
        let pause = match app.control().look_at_root_keys().await {
            Ok(down) => {
                metrics::gauge!("cedarkeep_root_keys_down").set(down);
                if down > 0 {
                    ROOTS_DOWN_EVERY
                } else {
                    ROOTS_EVERY
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "whether root keys can be used is not known now");
                ROOTS_EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Raises how many files the process may have open as far as the system lets it: each connection is one.
fn raise_file_limit(connections: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it was");
    }
    let most = getrlimit(Resource::Nofile).current;
    if most.is_some_and(|most| usize::try_from(most).is_ok_and(|most| most / 2 < connections)) {
        tracing::warn!(
            files = most,
            "the limit of open files is less than twice `http.connections_max`: raise it, or lower the setting"
        );
    }
}

impl Serve {
    pub(super) async fn run(self, config: Config, out: &Out) -> Outcome {
        let stop = stop_signal()?;
        let counts = telemetry::count()?;
        let certificates = Certificates::open(&config, chrono::Utc::now())?;
        let ca = certificates.ca().map(std::path::Path::to_path_buf);
        let listen = Listen::of(&config.http);
        raise_file_limit(listen.most.all);
        let publisher = Publisher::open(&config)?;
        let app = App::open(config).await?;
        app.check_policies()?;
        let (upkeep, kept) = (counts.clone(), Arc::clone(&app));
        tokio::spawn(async move {
            let mut every = tokio::time::interval(UPKEEP_EVERY);
            loop {
                every.tick().await;
                upkeep.run_upkeep();
            }
        });
        // By itself: it waits for a database.
        tokio::spawn(async move {
            let mut every = tokio::time::interval(UPKEEP_EVERY);
            loop {
                every.tick().await;
                if let Err(error) = kept.let_go_of_closed().await {
                    tracing::warn!(error = %error, "which organizations were closed is not known now");
                }
            }
        });
        let silent = Arc::clone(&app);
        tokio::spawn(async move {
            let mut every = tokio::time::interval(SILENT_EVERY);
            loop {
                every.tick().await;
                if let Err(error) = silent.wake_silent(chrono::Utc::now(), SILENT).await {
                    tracing::warn!(error = %error, "silent logs are kept later");
                }
            }
        });
        let keys = Arc::clone(&app);
        tokio::spawn(async move {
            let mut every = tokio::time::interval(UPKEEP_EVERY);
            loop {
                every.tick().await;
                if let Err(error) = keys.keep_keys(chrono::Utc::now()).await {
                    tracing::error!(error = %with_causes(&error), "the keys above those of organizations are gone on with later");
                }
            }
        });
        tokio::spawn(publish(Arc::clone(&app), publisher));
        tokio::spawn(look_at_root_keys(Arc::clone(&app)));
        let routes = http::router(Arc::clone(&app), counts);
        let serving = Serving::start(&listen, certificates.live(), routes)?;
        tokio::spawn(certificates.watch(WATCH_EVERY));
        let address = format!("https://{}", serving.https());
        out.say(
            &json!({ "listening": address }),
            &format!("listening on {address}"),
        )?;
        if let Some(ca) = &ca {
            out.say(
                &json!({ "ca": ca }),
                &format!("CA certificate: {}", ca.display()),
            )?;
        }
        if self.demo {
            demo::greet(&app, out, ca.as_deref()).await?;
        }
        let served = serving.until(stop, GRACE).await;
        app.close().await;
        served?;
        Ok(())
    }
}
