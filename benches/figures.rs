//! What benchmarks have in common: the summary that they all write into, and the service's own account of its time.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Writes these figures into `target/bench/summary.json`; those of other names stay.
pub fn write(figures: Vec<Value>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/summary.json");
    let mut all: Vec<Value> = std::fs::read(&path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    all.retain(|one| !figures.iter().any(|new| new["name"] == one["name"]));
    all.extend(figures);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = serde_json::to_string_pretty(&all).unwrap() + "\n";
    std::fs::write(&path, text).unwrap();
    println!("\nwrote {}", path.display());
}

/// Every summary and histogram that the service keeps, by its mean since it was started.
pub fn where_the_time_goes(metrics: &str) {
    println!("\nwhere the time goes, by the service's own metrics (means over the run):");
    let value = |line: &str| {
        line.rsplit_once(' ')
            .and_then(|(_, number)| number.parse::<f64>().ok())
    };
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split([' ', '{']).next().unwrap();
        let Some(base) = name.strip_suffix("_sum") else {
            continue;
        };
        let count = line.replacen(name, &format!("{base}_count"), 1);
        let count = count.rsplit_once(' ').map_or("", |(series, _)| series);
        let count = metrics.lines().find(|other| {
            other
                .rsplit_once(' ')
                .is_some_and(|(series, _)| series == count)
        });
        if let (Some(sum), Some(count)) = (value(line), count.and_then(value))
            && count > 0.0
        {
            let series = line
                .rsplit_once(' ')
                .map_or("", |(series, _)| series)
                .replacen("_sum", "", 1);
            println!("  {series}: {:.6} ({count} times)", sum / count);
        }
    }
}

/// Processor time that a process has used, in steps of 10 ms.
pub fn cpu(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}
