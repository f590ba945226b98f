//! What the process says about itself: log lines on standard error, and metrics.

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

use crate::config::{Format, Telemetry};

/// Upper bounds, in seconds, of the buckets of every histogram: from a warm decision to a lost log.
const BUCKETS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Why the process cannot say anything.
#[derive(Debug, thiserror::Error)]
pub enum Mute {
    /// The directives of `telemetry.filter`.
    #[error("`telemetry.filter` cannot be read; write it as in `info,cedarkeep=debug`")]
    Filter(#[source] ParseError),
    /// A second call in one process.
    #[error("log lines are already being written")]
    Subscriber(#[source] TryInitError),
    /// A second call in one process, or no buckets.
    #[error("metrics are already being kept")]
    Recorder(#[source] BuildError),
}

/// Writes log lines to standard error from here on; once in a process.
///
/// # Errors
///
/// When the filter cannot be read, or somebody writes already.
pub fn speak(settings: &Telemetry) -> Result<(), Mute> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter = EnvFilter::try_new(&settings.filter).map_err(Mute::Filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A line that cannot be written (a full disk) is lost; saying so on standard error again would panic there,
        // and end whichever task wanted to log.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // Colours are for whoever looks on, and nothing that a file keeps.
    let lines = match std::io::stderr().is_terminal() {
        true => lines,
        false => lines.with_ansi(false),
    };
    match settings.format {
        Format::Json => lines.json().flatten_event(true).finish().try_init(),
        Format::Text => lines.finish().try_init(),
    }
    .map_err(Mute::Subscriber)
}

/// Keeps metrics from here on, and returns what renders them; once in a process. The caller runs
/// [`PrometheusHandle::run_upkeep`] every few seconds, else histograms grow between scrapes.
///
/// # Errors
///
/// When somebody keeps them already.
pub fn count() -> Result<PrometheusHandle, Mute> {
    PrometheusBuilder::new()
        .set_buckets(BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(Mute::Recorder)
}
