//! When it runs: every firing against an oracle that was written from cron's manual (`tests/cron`).
//!
//! The whole campaign: `cargo test --release --test schedule -- --ignored --nocapture` (all zones, 2000 to 2037;
//! `ZONES=Europe/` only those).

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod cron;
mod site;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use backup::schedule::Schedule;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use crate::cron::{Pattern, starts};
use crate::site::Site;

/// Fixed times in and around the hours in which clocks change, several of them, stars in hour and minute, and both rules
/// about days.
const PATTERNS: [&str; 8] = [
    "30 2 * * *",
    "0 0 * * *",
    "15,45 1-3 * * *",
    "59 23 1,15 * 5",
    "5 3 */10 * 1",
    "0 */6 * * *",
    "*/20 2 * * *",
    "17 * * * *",
];

/// What was found: how many firings were compared, and those that differ, in words.
#[derive(Default)]
struct Found {
    compared: u64,
    differences: u64,
    first: Option<String>,
}

fn minutes(at: Timestamp) -> i64 {
    assert!(at.as_second() % 60 == 0 && at.subsec_nanosecond() == 0, "{at} is no whole minute");
    at.as_second() / 60
}

/// The span of these years, in UTC.
fn span(years: &std::ops::RangeInclusive<i16>) -> (Timestamp, Timestamp) {
    let first_of = |year| jiff::civil::date(year, 1, 1).to_zoned(TimeZone::UTC).expect("a date").timestamp();
    (first_of(*years.start()) - jiff::SignedDuration::from_nanos(1), first_of(*years.end() + 1))
}

fn compare(what: &str, end: Timestamp, ours: impl Iterator<Item = Timestamp>, theirs: &[i64]) -> Found {
    let mut found = Found::default();
    let (mut ours, mut theirs) = (ours.take_while(|at| *at < end).peekable(), theirs.iter().copied().peekable());
    loop {
        let pair = (ours.peek().map(|at| minutes(*at)), theirs.peek().copied());
        let is_ours_behind = match pair {
            (None, None) => return found,
            (Some(ours), Some(theirs)) => ours <= theirs,
            (ours, _) => ours.is_some(),
        };
        found.compared += 1;
        if pair.0 != pair.1 {
            found.differences += 1;
            let theirs = pair.1.map(|minute| Timestamp::from_second(minute * 60).expect("a time"));
            found.first.get_or_insert_with(|| format!("{what}: {:?}, the oracle says {theirs:?}", ours.peek()));
        }
        // whoever is behind goes on
        if is_ours_behind {
            ours.next();
        }
        if !is_ours_behind || pair.0 == pair.1 {
            theirs.next();
        }
    }
}

fn against_the_oracle(text: &str, zone_name: &str, years: std::ops::RangeInclusive<i16>, pattern: &Pattern) -> Found {
    let zone = TimeZone::get(zone_name).expect("a zone of the database");
    let expected = starts(pattern, &zone, years.clone());
    let schedule = Schedule::parse(text, zone.clone()).expect("a schedule");
    let (begin, end) = span(&years);
    let mut found = compare(&format!("`{text}` in {zone_name}"), end, schedule.firings_after(begin), &expected);
    // the same, asked one by one: around each change of the clock, and now and then
    let instants: Vec<Timestamp> =
        expected.iter().map(|minute| Timestamp::from_second(minute * 60).expect("a time")).collect();
    for (index, pair) in instants.windows(2).enumerate() {
        let changed = zone.to_offset(pair[0]) != zone.to_offset(pair[1]);
        let near =
            changed || index % 64 == 0 || (index > 0 && zone.to_offset(instants[index - 1]) != zone.to_offset(pair[0]));
        if near && schedule.next_after(pair[0]) != Some(pair[1]) {
            found.differences += 1;
            found.first.get_or_insert_with(|| format!("`{text}` in {zone_name}: another firing after {}", pair[0]));
        }
    }
    found
}

#[test]
fn firings_are_those_that_crons_manual_describes() {
    let zones = [
        ("Europe/Berlin", 2026..=2028),
        ("America/Sao_Paulo", 2016..=2019),   // the clock changed at midnight
        ("America/St_Johns", 2009..=2011),    // a minute after midnight
        ("Australia/Lord_Howe", 2025..=2026), // by half an hour
        ("Africa/Casablanca", 2025..=2026),   // four times a year
        ("Antarctica/Troll", 2025..=2026),    // by two hours
        ("Antarctica/Casey", 2009..=2012),    // by three hours: corrections
        ("Pacific/Apia", 2011..=2012),        // a day was left out
        ("Asia/Pyongyang", 2015..=2018),
        ("America/Caracas", 2007..=2016),
        ("UTC", 2000..=2001),
    ];
    for text in PATTERNS {
        let pattern = Pattern::new(text);
        for (zone, years) in zones.clone() {
            let found = against_the_oracle(text, zone, years, &pattern);
            assert!(found.compared > 0, "{text} {zone}");
            assert_eq!(found.first, None);
        }
    }
}

#[test]
#[ignore = "all zones times thirty-eight years: minutes"]
fn firings_of_all_zones_and_years_are_those_that_crons_manual_describes() {
    let mut zones: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    zones.retain(|name| TimeZone::get(name).is_ok());
    if let Ok(part) = std::env::var("ZONES") {
        zones.retain(|name| name.contains(&part));
    }
    let patterns: Vec<(&str, Pattern)> = PATTERNS.iter().map(|text| (*text, Pattern::new(text))).collect();
    let (next, compared, differences) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        let mut first = None;
        while let Some(zone) = zones.get(next.fetch_add(1, Ordering::Relaxed)) {
            for (text, pattern) in &patterns {
                let found = against_the_oracle(text, zone, 2000..=2037, pattern);
                compared.fetch_add(found.compared, Ordering::Relaxed);
                differences.fetch_add(found.differences, Ordering::Relaxed);
                first = first.or(found.first);
            }
        }
        first
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let first: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("a worker ends")).collect()
    });
    println!(
        "{} zones, 2000 to 2037, {} patterns: {} firings compared, {} differences",
        zones.len(),
        PATTERNS.len(),
        compared.load(Ordering::Relaxed),
        differences.load(Ordering::Relaxed),
    );
    assert_eq!(first, Vec::<String>::new());
    let (bound, is_part) = (100_000_000, std::env::var_os("ZONES").is_some());
    assert!(is_part || (zones.len() > 400 && compared.load(Ordering::Relaxed) > bound), "too little was compared");
}

/// Why the room has its own rules for changes of the clock.
#[test]
#[ignore = "a count for the note, not a promise"]
fn croner_alone_differs() {
    for text in PATTERNS {
        let pattern = Pattern::new(text);
        let parsed: croner::Cron = text.parse().expect("a pattern");
        let (mut compared, mut differences, mut first) = (0, 0, None);
        for name in ["Europe/Berlin", "America/Sao_Paulo", "Antarctica/Casey", "Pacific/Apia", "Africa/Casablanca"] {
            let zone = TimeZone::get(name).expect("a zone");
            let expected = starts(&pattern, &zone, 2000..=2037);
            let (begin, end) = span(&(2000..=2037));
            let next = |after: &Timestamp| {
                let next = parsed.find_next_occurrence(&after.to_zoned(zone.clone()), false).ok()?.timestamp();
                (next > *after).then_some(next)
            };
            let theirs = std::iter::successors(next(&begin), next);
            let found = compare(&format!("`{text}` in {name}"), end, theirs, &expected);
            compared += found.compared;
            differences += found.differences;
            first = first.or(found.first);
        }
        println!("{text}: {compared} compared, {differences} differ; {}", first.unwrap_or_default());
    }
}

fn field(low: u8, high: u8) -> impl Strategy<Value = String> {
    let value = low..=high;
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => value.clone().prop_map(|value| value.to_string()),
        1 => (2..=high).prop_map(|step| format!("*/{step}")),
        1 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (value.clone(), value).prop_map(|(a, b)| format!("{},{}", a.min(b), a.max(b))),
    ]
}

fn zone_name() -> impl Strategy<Value = &'static str> {
    let names = ["Europe/Berlin", "America/Nuuk", "America/Havana", "Australia/Lord_Howe", "Asia/Tehran", "UTC"];
    prop::sample::select(names.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_pattern_of_numbers_fires_as_crons_manual_describes(
        minute in field(0, 59), hour in field(0, 23), day in field(1, 28), month in field(1, 12), weekday in field(0, 7),
        zone in zone_name(), year in 2000i16..=2037,
    ) {
        let text = format!("{minute} {hour} {day} {month} {weekday}");
        let found = against_the_oracle(&text, zone, year..=year, &Pattern::new(&text));
        prop_assert_eq!(found.first, None);
    }
}

/// A configuration of two jobs in Berlin.
fn in_berlin(site: &Site) {
    let text = "timezone: Europe/Berlin\nstores: {nas: {path: /mnt/nas}}\njobs:\n  \
        upload: {source: /var/www, schedule: ['30 2 * * *', '@hourly']}\n  \
        quiet: {source: /etc}\n  \
        night: {source: /srv, schedule: '30 2 * * *', jitter: 30m}\n";
    std::fs::write(site.path().join("backup.yaml"), text).expect("a configuration");
}

#[test]
fn what_comes_next_is_told_with_zone_utc_and_why_a_time_was_moved() {
    let site = Site::new();
    in_berlin(&site);
    site.backup(["schedule", "next", "upload", "--count", "3", "--after", "2027-03-28 01:30"])
        .exits(0)
        .says("job upload: `30 2 * * *` and `@hourly`, Europe/Berlin")
        .says("Sun 2027-03-28 03:00 CEST   2027-03-28T01:00:00Z  02:30 does not exist on 2027-03-28; runs at 03:00")
        .says("Sun 2027-03-28 05:00 CEST");
    site.backup(["schedule", "next", "quiet", "night", "--count", "2", "--after", "2027-10-30"])
        .exits(0)
        .says("job quiet: no schedule")
        .says("2027-10-31 02:30 CEST")
        .says("02:30 comes twice on 2027-10-31; runs the first time only")
        .does_not_say("02:30 CET");
    site.backup(["schedule", "next", "upload", "--json", "--count", "1", "--after", "2027-03-28 01:30"])
        .exits(0)
        .says(r#""local":"2027-03-28T03:00:00+02:00""#)
        .says(r#""schedules":["30 2 * * *","@hourly"]"#)
        .says(r#""type":"firing""#);
}

#[test]
fn what_comes_next_is_not_told_of_jobs_that_are_not_there_or_times_that_are_none() {
    let site = Site::new();
    site.backup(["schedule", "next"]).exits(2);
    in_berlin(&site);
    site.backup(["schedule", "next", "uplod"]).exits(2).says("there is no job uplod");
    site.backup(["schedule", "next", "--after", "soon"]).exits(2).says("`soon` is not a time");
    site.backup(["schedule", "next", "--count", "0"]).exits(2);
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 */2"] {
        let text = format!("stores: {{nas: {{path: /x}}}}\njobs: {{up: {{source: /y, schedule: '{never}'}}}}\n");
        std::fs::write(site.path().join("backup.yaml"), text).expect("a configuration");
        site.backup(["schedule", "next"]).exits(2).says(&format!("`{never}` never comes"));
    }
}
