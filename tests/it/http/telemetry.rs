//! Metrics are rendered, and what cannot be said is refused.

use cedarkeep::config::Telemetry;
use cedarkeep::telemetry::{Mute, count, speak};

#[test]
fn a_filter_that_cannot_be_read_is_refused() {
    let settings = Telemetry {
        filter: "cedarkeep=loud=er".to_owned(),
        ..Telemetry::default()
    };
    assert!(matches!(speak(&settings), Err(Mute::Filter(_))));
}

#[test]
fn metrics_are_rendered_by_the_one_who_keeps_them() {
    let kept = count().unwrap();
    metrics::counter!("cedarkeep_test_total").increment(3);
    metrics::histogram!("cedarkeep_test_seconds").record(0.003);
    let text = kept.render();
    assert!(text.contains("cedarkeep_test_total 3"), "{text}");
    assert!(
        text.contains("cedarkeep_test_seconds_bucket{le=\"0.005\"} 1"),
        "{text}"
    );
    assert!(matches!(count(), Err(Mute::Recorder(_))));
}
