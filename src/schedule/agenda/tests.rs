//! The agenda's promises one by one; all of them at once are in `tests/month.rs`.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::{Agenda, Due, Missed, Reason, Start, Why};
use crate::schedule::{Plan, Retry, Schedule};

fn at(text: &str) -> Timestamp {
    format!("2026-{text}:00Z").parse().expect("a time")
}

fn plan(texts: &[&str]) -> Plan {
    let schedules = texts.iter().map(|text| Schedule::parse(text, TimeZone::UTC).expect("a schedule"));
    Plan::of("host/job", schedules.collect())
}

fn daily() -> Plan {
    plan(&["0 2 * * *"])
}

fn begun(plan: &Plan) -> Agenda {
    Agenda::begin(plan, at("11-21T12:00"))
}

fn missed(count: u64, first: &str, last: &str, reason: Reason) -> Option<Missed> {
    Some(Missed { count, first: at(first), last: at(last), reason })
}

fn start(slot: &str, why: Why) -> Option<Start> {
    Some(Start { slot: at(slot), why })
}

/// After a restart: through its text.
fn reloaded(agenda: &Agenda) -> Agenda {
    serde_json::from_str(&serde_json::to_string(agenda).expect("JSON")).expect("what was saved")
}

#[test]
fn nothing_is_due_at_the_beginning_and_each_slot_starts_once() {
    let plan = daily();
    let mut agenda = begun(&plan);
    assert_eq!(agenda.due(&plan, at("11-21T12:00")), Due::default());
    assert_eq!(agenda.next(&plan, at("11-21T12:00")).map(|(at, _)| at), Some(at("11-22T02:00")));
    assert_eq!(agenda.due(&plan, at("11-22T01:59")), Due::default());
    let due = agenda.due(&plan, at("11-22T02:00"));
    assert_eq!((due.start, due.missed), (start("11-22T02:00", Why::Slot), None));
    assert_eq!(agenda.due(&plan, at("11-22T02:00")), Due::default());
    assert_eq!(agenda.ended(&plan, at("11-22T02:10"), false), None);
    assert_eq!(agenda.due(&plan, at("11-22T02:11")), Due::default());
}

#[test]
fn schedules_that_fire_at_one_instant_make_one_slot() {
    let plan = plan(&["0 2 * * *", "0 * * * *"]);
    let mut agenda = begun(&plan);
    agenda.due(&plan, at("11-21T13:00"));
    let _ = agenda.ended(&plan, at("11-21T13:01"), false);
    let due = agenda.due(&plan, at("11-22T02:00"));
    assert_eq!(due.missed, missed(12, "11-21T14:00", "11-22T01:00", Reason::Away));
    assert_eq!(due.start, start("11-22T02:00", Why::Slot));
}

#[test]
fn what_was_missed_is_told_once_and_made_up_for_by_one_run() {
    let plan = daily();
    let mut agenda = reloaded(&begun(&plan));
    let due = agenda.due(&plan, at("11-25T09:00"));
    assert_eq!(due.missed, missed(4, "11-22T02:00", "11-25T02:00", Reason::Away));
    assert_eq!(due.start, start("11-25T02:00", Why::CatchUp));
    let _ = agenda.ended(&plan, at("11-25T09:10"), false);
    assert_eq!(agenda.due(&plan, at("11-25T09:11")), Due::default());
    assert_eq!(agenda.due(&plan, at("11-26T02:00")).start, start("11-26T02:00", Why::Slot));
}

#[test]
fn what_was_missed_too_long_ago_or_is_not_to_be_made_up_for_is_told_only() {
    let short = Plan { catch_up: Some(Duration::from_secs(6 * 3600)), ..daily() };
    for (plan, now, is_run) in [
        (short.clone(), "11-25T08:00", true),
        (short, "11-25T08:01", false),
        (Plan { catch_up: None, ..daily() }, "11-25T02:06", false),
        // on time is no matter of catching up
        (Plan { catch_up: None, ..daily() }, "11-25T02:05", true),
    ] {
        let mut agenda = begun(&plan);
        let due = agenda.due(&plan, at(now));
        assert_eq!(due.start.is_some(), is_run, "{now}");
        assert!(due.missed.is_some());
    }
}

#[test]
fn state_that_was_lost_invents_no_missed_runs() {
    let plan = daily();
    let mut agenda = Agenda::begin(&plan, at("11-25T09:00"));
    assert_eq!(agenda.due(&plan, at("11-25T09:00")), Due::default());
    assert_eq!(agenda.next(&plan, at("11-25T09:00")).map(|(at, _)| at), Some(at("11-26T02:00")));
}

#[test]
fn schedules_that_are_new_have_missed_nothing() {
    let mut agenda = begun(&daily());
    let other = plan(&["0 3 * * *"]);
    assert_eq!(agenda.due(&other, at("11-25T09:00")), Due::default());
    assert_eq!(agenda.due(&other, at("11-26T03:00")).start, start("11-26T03:00", Why::Slot));
}

#[test]
fn a_job_does_not_overlap_itself() {
    let plan = plan(&["0 * * * *"]);
    let mut agenda = begun(&plan);
    assert!(agenda.due(&plan, at("11-21T13:00")).start.is_some());
    assert_eq!(agenda.ask(at("11-21T13:30")), None);
    let due = agenda.due(&plan, at("11-21T15:30"));
    assert_eq!((due.missed, due.start), (missed(2, "11-21T14:00", "11-21T15:00", Reason::Overlap), None));
    let _ = agenda.ended(&plan, at("11-21T15:31"), false);
    assert_eq!(agenda.due(&plan, at("11-21T15:31")), Due::default(), "a run has only just ended");
    assert!(agenda.due(&plan, at("11-21T16:00")).start.is_some());
}

#[test]
fn a_clock_that_is_set_back_runs_no_slot_again() {
    let plan = daily();
    let mut agenda = begun(&plan);
    assert!(agenda.due(&plan, at("11-22T02:00")).start.is_some());
    let _ = agenda.ended(&plan, at("11-22T02:01"), false);
    for back in ["11-22T01:00", "11-21T23:01", "11-21T13:00"] {
        let mut agenda = reloaded(&agenda);
        let set_back = agenda.due(&plan, at(back)).set_back;
        assert_eq!(set_back.is_some(), back == "11-21T13:00", "three hours are waited for, more is a correction");
        assert_eq!(agenda.due(&plan, at("11-22T02:00")), Due::default(), "it has run");
        assert_eq!(agenda.due(&plan, at("11-23T02:00")).start, start("11-23T02:00", Why::Slot));
    }
}

#[test]
fn a_clock_that_was_years_ahead_does_not_stop_the_job_for_years() {
    let plan = daily();
    let mut agenda = begun(&plan);
    let ahead = "2040-01-01T12:00:00Z".parse().expect("a time");
    assert_eq!(agenda.due(&plan, ahead).missed.map(|missed| missed.count), Some(4789));
    let _ = agenda.ended(&plan, ahead, false);
    assert!(agenda.due(&plan, at("11-21T13:00")).set_back.is_some());
    assert_eq!(agenda.due(&plan, at("11-22T02:00")).start, start("11-22T02:00", Why::Slot));
}

#[test]
fn silence_of_a_century_is_counted_up_to_a_bound() {
    let plan = plan(&["* * * * *"]);
    let mut agenda = begun(&plan);
    let due = agenda.due(&plan, "2126-11-21T12:00:00Z".parse().expect("a time"));
    assert_eq!(due.missed.map(|missed| missed.count), Some(100_000));
    assert_eq!(due.start.map(|start| start.slot), "2126-11-21T12:00:00Z".parse().ok());
}

#[test]
fn failures_are_tried_again_with_pauses_that_double_and_never_beyond_the_next_slot() {
    let plan = Plan { retry: Retry { times: 3, after: Duration::from_secs(600) }, ..daily() };
    let mut agenda = begun(&plan);
    agenda.due(&plan, at("11-22T02:00"));
    assert_eq!(agenda.ended(&plan, at("11-22T02:00"), true), Some(at("11-22T02:10")));
    assert_eq!(agenda.due(&plan, at("11-22T02:09")), Due::default());
    assert_eq!(reloaded(&agenda).due(&plan, at("11-22T02:10")).start, start("11-22T02:00", Why::Retry));
    agenda.due(&plan, at("11-22T02:10"));
    assert_eq!(agenda.ended(&plan, at("11-22T02:10"), true), Some(at("11-22T02:30")));
    agenda.due(&plan, at("11-22T02:30"));
    assert_eq!(agenda.ended(&plan, at("11-22T02:30"), true), Some(at("11-22T03:10")));
    agenda.due(&plan, at("11-22T03:10"));
    assert_eq!(agenda.ended(&plan, at("11-22T03:10"), true), None, "three times, and no more");
    // the next slot has attempts of its own, if there is time for them
    agenda.due(&plan, at("11-23T02:00"));
    assert_eq!(agenda.ended(&plan, at("11-24T01:50"), true), None);
}

#[test]
fn a_run_that_was_cut_off_is_given_back_and_made_up_for_once() {
    let plan = daily();
    let mut agenda = begun(&plan);
    agenda.due(&plan, at("11-22T02:00"));
    let mut agenda = reloaded(&agenda);
    assert_eq!(agenda.resume(&plan, at("11-22T02:30")), start("11-22T02:00", Why::Slot));
    assert_eq!(agenda.due(&plan, at("11-22T02:30")).start, start("11-22T02:00", Why::CatchUp));
    let mut agenda = reloaded(&agenda);
    assert_eq!(agenda.resume(&plan, at("11-22T02:40")), start("11-22T02:00", Why::CatchUp));
    assert_eq!(agenda.due(&plan, at("11-22T02:40")).start, None, "a run that ends the machine is not begun for ever");
    assert_eq!(agenda.resume(&plan, at("11-22T02:41")), None);
}

#[test]
fn a_run_that_is_given_back_before_it_began_is_missed() {
    let plan = daily();
    let mut agenda = begun(&plan);
    agenda.due(&plan, at("11-22T02:00"));
    assert_eq!(agenda.withdraw(), missed(1, "11-22T02:00", "11-22T02:00", Reason::Withdrawn));
    assert_eq!(agenda.running(), None);
    assert_eq!(agenda.due(&plan, at("11-22T02:01")), Due::default());
}

#[test]
fn a_good_snapshot_is_overdue_after_one_and_a_half_intervals() {
    let hours = |count: u64| Some(Duration::from_secs(count * 3600));
    assert_eq!(daily().age_max(at("11-22T02:05")), hours(36));
    // from Friday to Monday is a longer interval than from Monday to Tuesday
    let weekdays = plan(&["0 2 * * 1-5"]);
    assert_eq!(weekdays.age_max(at("11-20T02:05")), hours(108));
    assert_eq!(weekdays.age_max(at("11-23T02:05")), hours(36));
    assert_eq!(plan(&["* * * * *"]).age_max(at("11-23T02:05")), Some(Duration::from_secs(60 + 300)));
    assert_eq!(plan(&[]).age_max(at("11-23T02:05")), None);
    assert!(!daily().is_overdue(at("11-22T02:05"), at("11-23T14:05")));
    assert!(daily().is_overdue(at("11-22T02:05"), at("11-23T14:06")));
}

proptest! {
    #[test]
    fn jitter_is_the_same_each_time_within_its_bound_and_before_the_next_slot(
        jitter in 0u64..200_000, seed in "[a-z]{1,8}", day in 0i64..5000,
    ) {
        let plan = Plan { jitter: Duration::from_secs(jitter), seed, ..plan(&["0 */6 * * *"]) };
        let slot = plan.slot_after(Timestamp::from_second(1_700_000_000 + day * 86_400).expect("a time")).expect("it comes");
        let start = plan.start_of(slot);
        prop_assert_eq!(start, plan.clone().start_of(slot));
        prop_assert!(start >= slot && start.duration_since(slot).unsigned_abs() <= plan.jitter);
        prop_assert!(start < plan.slot_after(slot).expect("it comes"));
    }
}

#[test]
fn jitter_scatters_machines_and_days() {
    let starts = |seed: &str| {
        let plan = Plan { jitter: Duration::from_secs(1800), seed: seed.to_owned(), ..daily() };
        let slots = plan.firings(at("11-21T12:00"), 20);
        slots.iter().map(|firing| firing.start.duration_since(firing.slot).as_secs()).collect::<Vec<_>>()
    };
    let (one, other) = (starts("one/job"), starts("other/job"));
    assert_ne!(one, other);
    let mut scattered = one;
    scattered.sort_unstable();
    scattered.dedup();
    assert!(scattered.len() > 15, "{scattered:?}");
}
