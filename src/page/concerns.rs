//! What a person should look at, the worst first: the headline of the page, and what `backup status` says first.
//!
//! Wider than readiness on purpose: a silent notifier or a partial run changes no verdict of health, but hiding it would
//! be a lie by omission. Whatever is not ready is among the concerns.

use serde::Serialize;

use super::health::{alive, is_unlisted, lateness};
use super::view::{JobView, StoreView, View};
use super::words;
use crate::domain::{ByteCount, Verdict};

/// Clocks that disagree by more than this are worth a word, in seconds.
const SKEW_MAX_S: u64 = 60;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// There may be no good backup.
    Wrong,
    /// Look at it when there is time.
    Notable,
}

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Concern {
    /// How bad.
    pub weight: Weight,
    /// Which job, store or part of the daemon.
    pub about: String,
    /// What is wrong, in one line.
    pub what: String,
    /// What to do now; empty if there is nothing to do.
    pub advice: String,
}

/// All of them: what is wrong before what is notable, else in the order of the view.
pub fn concerns(view: &View) -> Vec<Concern> {
    let mut found = Vec::new();
    for reason in alive(view).reasons {
        found.push(concern(Weight::Wrong, "the daemon", reason, "restart it, and keep its log"));
    }
    if let Some(why) = &view.config_refused {
        let what = format!("the newest configuration was not taken: {why}");
        found.push(concern(
            Weight::Wrong,
            "the configuration",
            what,
            "mend it, look with `backup config check`, send SIGHUP",
        ));
    }
    if let Some(why) = &view.state_trouble {
        let what = format!("what the daemon remembers cannot be kept: {why}");
        let advice = "make room in `state_dir`, and let the daemon's user write there";
        found.push(concern(Weight::Wrong, "the state", what, advice));
    }
    view.stores.iter().for_each(|store| of_store(store, &mut found));
    view.jobs.iter().for_each(|job| of_job(job, view, &mut found));
    for channel in &view.silent_channels {
        let what = format!("does not take notices: {}", channel.why);
        found.push(concern(Weight::Notable, &channel.name, what, "look with `backup notify test`"));
    }
    if view.undelivered > 0 {
        let what = words::count(view.undelivered, "notice was given up", "notices were given up");
        found.push(concern(Weight::Notable, "notices", what, "look with `backup notify test`"));
    }
    found.sort_by_key(|concern| concern.weight);
    found
}

fn of_store(store: &StoreView, found: &mut Vec<Concern>) {
    if let Some(why) = &store.trouble {
        found.push(concern(Weight::Wrong, &store.name, format!("the store cannot be used: {why}"), ""));
    }
    if let (Some(free), Some(total)) = (store.free, store.total)
        && free < total / 10
    {
        let what = format!("the store has {} of {} left", ByteCount(free), ByteCount(total));
        found.push(concern(Weight::Notable, &store.name, what, "look with `backup prune --dry-run` what could go"));
    }
    if let Some(skew) = store.skew_s.filter(|skew| skew.unsigned_abs() > SKEW_MAX_S) {
        let side = if skew > 0 { "ahead of" } else { "behind" };
        let what = format!("the clock of the store is {} s {side} ours", skew.unsigned_abs());
        found.push(concern(Weight::Notable, &store.name, what, "look at the time synchronisation of both"));
    }
}

fn of_job(job: &JobView, view: &View, found: &mut Vec<Concern>) {
    let name = job.name.as_str();
    if let Some(why) = lateness(job, view.now) {
        found.push(concern(Weight::Wrong, name, why, ""));
    }
    if let Some(unlisted) = &job.unlisted {
        let weight = if is_unlisted(job) { Weight::Wrong } else { Weight::Notable };
        let what = format!("its snapshots could not be listed, what is shown of them is old: {}", unlisted.why);
        found.push(concern(weight, name, what, "look with `backup list` as the daemon's user"));
    }
    if let Some(run) = &job.last {
        match run.verdict {
            Verdict::Failed => {
                let (what, advice) = run.failure.as_ref().map_or(("it made no snapshot", ""), |t| (&t.what, &t.advice));
                let times = if job.failures_in_a_row > 1 {
                    format!("the last run failed, {} in a row were not ok", job.failures_in_a_row)
                } else {
                    "the last run failed".to_owned()
                };
                found.push(concern(Weight::Wrong, name, format!("{times}: {what}"), advice));
            }
            Verdict::Partial => {
                let what = if run.skipped > 0 {
                    words::count(run.skipped, "entry was skipped", "entries were skipped")
                } else {
                    run.doubts.first().cloned().unwrap_or_else(|| "not everything is in it".to_owned())
                };
                found.push(concern(
                    Weight::Notable,
                    name,
                    format!("the last run was partial: {what}"),
                    "see its outcome below",
                ));
            }
            Verdict::Ok | Verdict::Skipped | Verdict::Missed => {}
        }
    }
    if let Some(undone) = &job.retention_undone {
        let since = undone.since.to_zoned(view.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        let times = words::count(u64::from(undone.times), "run", "runs");
        let what = format!("retention has not done its work since {since}, after {times}: {}", undone.why);
        found.push(concern(Weight::Notable, name, what, &undone.advice));
    }
    let damaged = job.snapshots.iter().filter(|snapshot| snapshot.damage.is_some()).count() as u64;
    if damaged > 0 {
        let what = words::count(damaged, "snapshot is damaged", "snapshots are damaged");
        found.push(concern(Weight::Wrong, name, what, "`backup verify` tells what is lost"));
    }
    if job.runs.last().is_some_and(|run| matches!(run.verdict, None | Some(Verdict::Missed))) {
        found.push(concern(Weight::Notable, name, "the last slot came and went without a run".to_owned(), ""));
    }
}

fn concern(weight: Weight, about: &str, what: String, advice: &str) -> Concern {
    Concern { weight, about: words::one_line(about), what: words::one_line(&what), advice: words::one_line(advice) }
}
