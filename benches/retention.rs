//! Micro-benchmark of retention: judging 10,000 snapshots, a year of runs every fifty minutes.

use backup::domain::SnapshotName;
use backup::retention::{Clocks, Dated, Policy, Quality, judge};
use divan::Bencher;
use divan::counter::ItemsCount;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

fn main() {
    divan::main();
}

const SNAPSHOTS: u64 = 10_000;

#[divan::bench(args = ["UTC", "Europe/Zurich"])]
fn judge_ten_thousand_snapshots(bencher: Bencher<'_, '_>, zone: &str) {
    let zone = TimeZone::get(zone).expect("a zone");
    let first: Timestamp = "2025-01-01T00:00:00Z".parse().expect("a time");
    let job = "upload".parse().expect("a job");
    let at = |number: u64| first + SignedDuration::from_mins(50 * number as i64);
    let snapshots: Vec<Dated> = (0..SNAPSHOTS)
        .map(|number| Dated {
            name: SnapshotName::new(&job, at(number)),
            quality: if number % 50 == 49 { Quality::Partial } else { Quality::Good },
            held: number % 1000 == 500,
        })
        .collect();
    let policy = Policy {
        last: 7,
        hourly: 48,
        daily: 30,
        weekly: 26,
        monthly: 24,
        yearly: 10,
        max_removals: 9,
        ..Policy::default()
    };
    bencher.counter(ItemsCount::new(SNAPSHOTS)).bench_local(|| {
        judge(&policy, &zone, Clocks { ours: at(SNAPSHOTS), stores: None }, None, &snapshots).verdicts.len()
    });
}
