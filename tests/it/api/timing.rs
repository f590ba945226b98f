//! How long a comparison of credentials takes says nothing of where they differ.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cedarkeep::authn::token::{Token, Use};

/// So long that a comparison which stops at the first difference is told from one that doesn't on any machine.
const LENGTH: usize = 256 * 1024;

/// The least time of many, which is the time without whatever else the machine did.
fn least(mut compared: impl FnMut() -> bool) -> Duration {
    let once = |compared: &mut dyn FnMut() -> bool| {
        let begun = Instant::now();
        assert!(!black_box(compared()));
        begun.elapsed()
    };
    let times = (0..40).map(|_| once(&mut compared));
    times.min().unwrap()
}

/// How many times longer it takes where the last character differs than where the first does.
fn ratio(same: impl Fn(&str, &str) -> bool) -> f64 {
    let text = "a".repeat(LENGTH);
    let first = format!("b{}", "a".repeat(LENGTH - 1));
    let last = format!("{}b", "a".repeat(LENGTH - 1));
    let (at_first, at_last) = (
        least(|| same(black_box(&text), black_box(&first))),
        least(|| same(black_box(&text), black_box(&last))),
    );
    at_last.as_secs_f64() / at_first.as_secs_f64().max(1e-9)
}

#[test]
fn where_two_credentials_differ_takes_no_time_to_tell() {
    let token = Token::mint(Use::Session, [1; 16], [2; 16], [3; 32]);
    let ours = ratio(|one, other| token.is_same(one, other));
    assert!((0.5..2.0).contains(&ours), "{ours}");
    // The control: a comparison that stops at the first difference is seen to.
    let plain = ratio(|one, other| one == other);
    assert!(plain > 10.0, "{plain}");
}
