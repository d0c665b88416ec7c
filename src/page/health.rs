//! Verdicts for `/healthz` and `/readyz`, for `backup status --check`, and for the headline of the page.
//!
//! The danger here is to say that all is well because nothing was asked. So readiness is never taken from the absence of
//! errors: every scheduled job must show a good run that is young enough. The only job that needs none is one that never
//! had a good run and whose first slot has not come yet: it is new, not late. From that slot on it is not ready until its
//! first good run ends; and one that had good runs, but before a long sleep of this machine, is late at once.
//!
//! What changes nothing here: a notifier that is silent, a configuration that was refused (the old one is at work), a run
//! that failed while an earlier good one is still young enough. The page and the metrics tell them.

use jiff::{SignedDuration, Timestamp};

use super::view::{JobView, RunView, SnapshotView, Unlisted, View};
use super::words;
use crate::domain::Verdict;

/// A loop that has not gone round for this long is taken for dead. It goes round every ten seconds at
/// least; a machine that is busy, or was asleep, is given time.
pub const TICK_MAX: SignedDuration = SignedDuration::from_secs(60);

/// How far in the future a good run may lie: two clocks, or one that was set a little.
const FUTURE_MAX: SignedDuration = SignedDuration::from_mins(1);

/// So often in a row may a job's snapshots not be listed (they are every ten minutes at least) before what was seen last
/// is not believed any more.
const UNLISTED_MAX: u32 = 3;

/// A verdict: well, or why not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why not, one sentence each, without line feeds; empty if all is well.
    pub reasons: Vec<String>,
}

impl Health {
    /// Whether there is nothing to say against it.
    pub fn is_well(&self) -> bool {
        self.reasons.is_empty()
    }

    /// The body of an answer: `ok`, or the reasons one a line.
    pub fn text(&self) -> String {
        if self.is_well() { "ok\n".to_owned() } else { self.reasons.join("\n") + "\n" }
    }
}

/// `/healthz`: whether the loop goes round. A supervisor restarts what is not alive, so nothing else counts here.
pub fn alive(view: &View) -> Health {
    let silent = view.now.duration_since(view.ticked);
    let dead = silent >= TICK_MAX;
    let reasons = dead.then(|| format!("the loop has not gone round for {}", words::span(silent)));
    Health { reasons: reasons.into_iter().collect() }
}

/// `/readyz`: whether every scheduled job has the good snapshot it should have, and every store can be used.
pub fn ready(view: &View) -> Health {
    let mut reasons = alive(view).reasons;
    for store in &view.stores {
        if let Some(why) = &store.trouble {
            reasons.push(words::one_line(&format!("store {} cannot be used: {why}", store.name)));
        }
    }
    let blind = |job: &&JobView| job.age_max_s.is_some() && is_unlisted(job);
    for (job, unlisted) in view.jobs.iter().filter(blind).filter_map(|job| Some((job, job.unlisted.as_ref()?))) {
        let Unlisted { why, times } = unlisted;
        let text = format!("job {}: its snapshots could not be listed, {times} times in a row: {why}", job.name);
        reasons.push(words::one_line(&text));
    }
    reasons.extend(
        view.jobs.iter().filter_map(|job| lateness(job, view.now).map(|why| format!("job {}: {why}", job.name))),
    );
    Health { reasons }
}

/// Whether what is known of a job's snapshots is too old to be believed.
pub(super) fn is_unlisted(job: &JobView) -> bool {
    job.unlisted.as_ref().is_some_and(|unlisted| unlisted.times >= UNLISTED_MAX)
}

/// Why a job has not the good snapshot it should have; none if it has, or has no schedule.
pub fn lateness(job: &JobView, now: Timestamp) -> Option<String> {
    let age_max = SignedDuration::from_secs(i64::try_from(job.age_max_s?).unwrap_or(i64::MAX));
    let newest = job.snapshots.iter().find(|snapshot| snapshot.is_ok);
    let Some(success) = job.last_success else {
        let due = job.first_due.or(job.next_run).filter(|due| *due <= now)?;
        return Some(format!("no good run yet, and the first was due {} ago", words::span(now.duration_since(due))));
    };
    let success = match newest {
        None if job.is_listed => return Some("there is no good snapshot in the store".to_owned()),
        Some(newest) if job.is_listed => success.min(made(job, newest)),
        _ => success,
    };
    let age = now.duration_since(success);
    if age > age_max {
        return Some(format!(
            "the last good run was {} ago, and {} is the most",
            words::span(age),
            words::span(age_max)
        ));
    }
    if age < -FUTURE_MAX {
        return Some(format!(
            "the last good run lies {} in the future: was the clock set back?",
            words::span(age.abs())
        ));
    }
    let damage = newest?.damage.as_ref()?;
    Some(words::one_line(&format!("its newest good snapshot is damaged: {damage}")))
}

/// When the run that made a snapshot ended; as long as it is remembered, else when it began.
fn made(job: &JobView, snapshot: &SnapshotView) -> Timestamp {
    // the name has whole seconds
    let is_it = |run: &&RunView| run.verdict == Some(Verdict::Ok) && run.at.as_second() <= snapshot.at.as_second();
    let run = job.runs.iter().rev().find(is_it);
    let took = |run: &RunView| SignedDuration::from_millis(i64::try_from(run.took_ms).unwrap_or(0));
    run.and_then(|run| run.at.checked_add(took(run)).ok()).map_or(snapshot.at, |ended| ended.max(snapshot.at))
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::{alive, lateness, ready};
    use crate::domain::Verdict;
    use crate::page::concerns::{Weight, concerns};
    use crate::page::view::{JobView, RunView, SnapshotView, Unlisted, View};

    fn view(silent: SignedDuration) -> View {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a time");
        View {
            now,
            zone: jiff::tz::TimeZone::UTC,
            instance: "main".into(),
            tool: "backup 0.1.0".into(),
            started: now,
            ticked: now - silent,
            jobs: Vec::new(),
            stores: Vec::new(),
            spooled: 0,
            undelivered: 0,
            silent_channels: Vec::new(),
            config_refused: None,
            state_trouble: None,
            token_refusals: 0,
            may_sign_in: false,
        }
    }

    fn job(success: Option<i64>, first_due: Option<i64>) -> JobView {
        let at = |s: i64| Timestamp::from_second(s).expect("a time");
        JobView {
            name: "upload".parse().expect("a name"),
            store: "nas".into(),
            sources: vec!["/srv".into()],
            schedules: vec!["@daily".into()],
            first_due: first_due.map(at),
            next_run: Some(at(10_000_000)),
            age_max_s: Some(1000),
            running: None,
            last_success: success.map(at),
            last_verified: None,
            failures_in_a_row: 0,
            missed: 0,
            counts: crate::page::Counts::default(),
            retention_undone: None,
            runs: Vec::new(),
            last: None,
            snapshots: Vec::new(),
            is_listed: false,
            unlisted: None,
        }
    }

    fn snapshot(at: i64, is_ok: bool) -> SnapshotView {
        let at = Timestamp::from_second(at).expect("a time");
        let name = format!("upload-{}", at.strftime("%Y%m%dT%H%M%SZ"));
        SnapshotView {
            name: name.parse().expect("a name"),
            at,
            bytes: 1,
            entries: 1,
            is_ok,
            verified: None,
            kept_for: Vec::new(),
            damage: None,
        }
    }

    #[test]
    fn a_good_run_whose_snapshot_is_gone_counts_no_more_once_the_store_was_listed() {
        let now = |s| Timestamp::from_second(s).expect("a time");
        let mut known = job(Some(5000), Some(1));
        assert_eq!(lateness(&known, now(5500)), None, "nobody has looked yet");
        known.is_listed = true;
        let gone = Some("there is no good snapshot in the store".to_owned());
        assert_eq!(lateness(&known, now(5500)), gone);
        known.snapshots = vec![snapshot(4990, false)];
        assert_eq!(lateness(&known, now(5500)), gone, "a partial one is none");
        known.snapshots = vec![snapshot(4990, false), snapshot(4500, true)];
        assert_eq!(lateness(&known, now(5500)), None);
        assert!(lateness(&known, now(5501)).expect("late").starts_with("the last good run was 16 min 41 s ago"));
        let mut never = job(None, Some(5000));
        never.is_listed = true;
        assert_eq!(lateness(&never, now(4999)), None, "it was never due");
    }

    #[test]
    fn a_job_whose_snapshots_cannot_be_listed_is_told_at_once_and_not_ready_after_three_times() {
        let mut view = view(SignedDuration::ZERO);
        let mut known = job(Some(view.now.as_second()), Some(1));
        for (times, ready_reasons, weight) in [(1, 0, Weight::Notable), (2, 0, Weight::Notable), (3, 1, Weight::Wrong)]
        {
            known.unlisted = Some(Unlisted { why: "denied".into(), times });
            view.jobs = vec![known.clone()];
            assert_eq!(ready(&view).reasons.len(), ready_reasons, "{times}");
            let found = concerns(&view);
            assert_eq!((found.len(), found[0].weight, found[0].about.as_str()), (1, weight, "upload"), "{times}");
        }
        assert_eq!(ready(&view).reasons, ["job upload: its snapshots could not be listed, 3 times in a row: denied"]);
    }

    #[test]
    fn a_long_run_counts_from_its_end() {
        let at = |s| Timestamp::from_second(s).expect("a time");
        let mut known = job(Some(5900), Some(1));
        (known.is_listed, known.snapshots) = (true, vec![snapshot(5000, true)]);
        let run = |at, took_ms| RunView { verdict: Some(Verdict::Ok), at, took_ms, bytes: 1, stored: 1, why: None };
        known.runs = vec![run(at(3000), 1), run(at(5000), 900_000)];
        assert_eq!(lateness(&known, at(6900)), None);
        assert!(lateness(&known, at(6901)).is_some());
    }

    #[test]
    fn the_loop_is_dead_after_a_minute_and_not_before() {
        assert_eq!(alive(&view(SignedDuration::from_millis(59_999))).text(), "ok\n");
        assert_eq!(alive(&view(SignedDuration::from_secs(-5))).text(), "ok\n", "a clock that was set back");
        assert_eq!(alive(&view(SignedDuration::from_secs(60))).text(), "the loop has not gone round for 1 min 00 s\n");
    }

    #[test]
    fn a_good_run_is_young_until_its_time_is_over_to_the_second() {
        let now = |s| Timestamp::from_second(s).expect("a time");
        let known = job(Some(5000), Some(1));
        assert_eq!(lateness(&known, now(6000)), None);
        assert_eq!(
            lateness(&known, now(6001)).expect("late"),
            "the last good run was 16 min 41 s ago, and 16 min 40 s is the most"
        );
        assert_eq!(lateness(&known, now(4940)), None, "two clocks");
        assert!(lateness(&known, now(4939)).expect("suspicious").contains("in the future"));
    }

    #[test]
    fn a_new_job_is_not_late_before_its_first_slot_and_late_from_then_until_its_first_good_run() {
        let now = |s| Timestamp::from_second(s).expect("a time");
        assert_eq!(lateness(&job(None, Some(5000)), now(4999)), None);
        assert!(lateness(&job(None, Some(5000)), now(5000)).expect("late").starts_with("no good run yet"));
        assert_eq!(lateness(&job(Some(5100), Some(5000)), now(5100)), None);
    }

    #[test]
    fn a_job_without_a_schedule_is_never_late() {
        let mut manual = job(None, None);
        (manual.age_max_s, manual.next_run) = (None, None);
        assert_eq!(lateness(&manual, Timestamp::MAX), None);
    }
}
