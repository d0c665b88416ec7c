//! What the daemon remembers of its jobs over restarts: agendas, what became of runs, what was proven.
//!
//! All of it may be lost. Then nothing is known to have been missed, and the history is taken from the store's own
//! records (`.runs/`) when that answers. What is read back is taken only if it is whole and of a version we know.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::proofs::ToldDamage;
use crate::domain::{JobName, Level, RunId, SnapshotName, StopReason, Trouble, Verdict};
use crate::report::RunRecord;
use crate::schedule::Agenda;
use crate::supervise::End;

const VERSION: u32 = 1;

/// Past runs that are remembered of each job: a year of nights, and what the page shows.
pub const RUNS_MAX: usize = 400;

/// Of an outcome's skipped entries so many are kept for the page; the run's record has more, the manifest all.
const SKIPS_KEPT: usize = 100;

/// Dead runs that may hold something; one at a time does, and the store may be away for a while.
const DEAD_MAX: usize = 50;
/// That a job is overdue is said again after so long.
const OVERDUE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// The name of the file in the state's folder.
pub const FILE: &str = "daemon.json";

/// A hundred jobs with full histories take some ten megabytes.
pub const BYTES_MAX: u64 = 64 << 20;

/// Everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    version: u32,
    /// By name. Jobs that are not configured any more stay for as long as the file does: they may come back.
    pub jobs: BTreeMap<JobName, KeptJob>,
}

/// What is remembered of a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KeptJob {
    /// Of its runs.
    pub agenda: Option<Agenda>,
    /// Of its verifications.
    #[serde(default)]
    pub verify_agenda: Option<Agenda>,
    /// The run at work; none while what the agenda handed out waits for its turn.
    #[serde(default)]
    pub began: Option<Began>,
    /// Runs whose processes have been waited for and told no end: the next run takes over what they hold in the store.
    #[serde(default)]
    pub dead_runs: Vec<RunId>,
    /// Oldest first.
    #[serde(default)]
    pub runs: Vec<KeptRun>,
    /// The last outcome.
    #[serde(default)]
    pub last: Option<Box<RunRecord>>,
    /// When the last good run ended.
    #[serde(default)]
    pub last_success: Option<Timestamp>,
    /// Runs in a row that were not ok.
    #[serde(default)]
    pub failures_in_a_row: u32,
    /// Slots without a run.
    #[serde(default)]
    pub missed: u64,
    /// How many runs ended how.
    #[serde(default)]
    pub counts: KeptCounts,
    /// The last that `verify` proved.
    #[serde(default)]
    pub proven: Option<(Timestamp, Level)>,
    /// Damaged snapshots that people were told of. Whether one is, looks tell: this is only what was said. Once `damage`
    /// held less, which is not read: then it is told once more.
    #[serde(default, rename = "damage_told")]
    pub damage: ToldDamage,
    /// When the daemon last began to verify which snapshot, whatever came of it; of those that are in the store.
    #[serde(default)]
    pub tried: BTreeMap<SnapshotName, Timestamp>,
    /// That retention does not do its work; none since it last did.
    #[serde(default)]
    pub retention_undone: Option<KeptUndone>,
    /// When it was said last that it has not the good snapshot it should have; none while it has, and since a good run.
    #[serde(default)]
    pub overdue_told: Option<Timestamp>,
}

/// That retention does not do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptUndone {
    /// Since when.
    pub since: Timestamp,
    /// After how many runs.
    pub times: u32,
    /// Why, the last time.
    pub trouble: Trouble,
}

/// A run at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// Which.
    pub run: RunId,
    /// Since when.
    pub at: Timestamp,
}

/// How many runs ended how, since this file began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCounts {
    /// All of the source.
    pub ok: u64,
    /// Most of it.
    pub partial: u64,
    /// No snapshot.
    pub failed: u64,
    /// Another run was at work.
    pub skipped: u64,
}

/// A run that is over, or a slot that had none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRun {
    /// Which; none for a slot that was missed.
    pub run: Option<RunId>,
    /// How it ended; none for a slot that was missed.
    pub verdict: Option<Verdict>,
    /// When it began, or was due.
    pub at: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Bytes of content in the source.
    pub bytes: u64,
    /// Bytes given to the store.
    pub stored: u64,
    /// What went wrong, in one line.
    pub why: Option<String>,
}

impl From<&RunRecord> for KeptRun {
    fn from(record: &RunRecord) -> Self {
        Self {
            run: Some(record.run.clone()),
            verdict: Some(record.verdict),
            at: record.started,
            ended: record.finished,
            took_ms: record.took_ms,
            bytes: record.totals.content_bytes.0,
            stored: record.totals.stored_bytes.0,
            why: why(record),
        }
    }
}

fn why(record: &RunRecord) -> Option<String> {
    let skipped = || (record.skipped > 0).then(|| format!("{} entries skipped", record.skipped));
    let failure = record.failure.as_ref().map(|trouble| trouble.what.clone());
    failure.or_else(|| record.doubts.first().cloned()).or_else(skipped)
}

impl Kept {
    /// Reads what [`Kept::encode`] gave; none if it is anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let kept: Self = serde_json::from_slice(bytes).ok()?;
        (kept.version == VERSION).then_some(kept)
    }

    /// As JSON.
    pub fn encode(&self) -> Vec<u8> {
        let current = Self { version: VERSION, jobs: BTreeMap::new() };
        let mut value = serde_json::to_value(&current).expect("kept values are plain");
        value["jobs"] = serde_json::to_value(&self.jobs).expect("kept values are plain");
        value.to_string().into_bytes()
    }
}

impl KeptJob {
    /// A run has ended here.
    pub fn ended(&mut self, record: &RunRecord) {
        let mut record = record.clone();
        record.skips.truncate(SKIPS_KEPT);
        self.began = None;
        // a look into the store may have been quicker
        self.runs.retain(|run| run.run.as_ref() != Some(&record.run));
        self.add(KeptRun::from(&record));
        match record.verdict {
            Verdict::Ok => {
                self.counts.ok += 1;
                self.failures_in_a_row = 0;
                self.overdue_told = None;
            }
            Verdict::Partial => self.counts.partial += 1,
            Verdict::Failed => self.counts.failed += 1,
            Verdict::Skipped => self.counts.skipped += 1,
            Verdict::Missed => {}
        }
        if record.verdict != Verdict::Ok {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        }
        self.last = Some(Box::new(record));
    }

    /// What became of a run's process. A run that came through had the lease, so nothing is left of earlier ones; but it
    /// may itself have been ended after that, while retention had the lease.
    pub fn process_ended(&mut self, record: &RunRecord, end: &End) {
        let came_through = matches!(record.verdict, Verdict::Ok | Verdict::Partial);
        if came_through {
            self.dead_runs.clear();
        }
        match end {
            // of one that was left, its end will be told
            End::Left(_) | End::Unseen => {}
            End::Clean if came_through => {}
            End::Clean | End::Cut => self.is_dead(&record.run),
        }
    }

    /// A run's process is known to be gone, and may have left its lease.
    pub fn is_dead(&mut self, run: &RunId) {
        if !self.dead_runs.contains(run) {
            self.dead_runs.push(run.clone());
            if self.dead_runs.len() > DEAD_MAX {
                // the oldest of them may be the one that holds it
                self.dead_runs.remove(1);
            }
        }
    }

    /// Retention did not do its work; says how often in a row.
    pub fn retention_failed(&mut self, now: Timestamp, trouble: &Trouble) -> u32 {
        let (since, times) = self.retention_undone.as_ref().map_or((now, 0), |undone| (undone.since, undone.times));
        let times = times.saturating_add(1);
        self.retention_undone = Some(KeptUndone { since, times, trouble: trouble.clone() });
        times
    }

    /// Slots had no run.
    pub fn missed(&mut self, count: u64, last: Timestamp, why: &str) {
        self.missed = self.missed.saturating_add(count);
        let why = Some(format!("{count} missed: {why}")).filter(|_| count > 1).or_else(|| Some(why.to_owned()));
        self.add(KeptRun { run: None, verdict: None, at: last, ended: last, took_ms: 0, bytes: 0, stored: 0, why });
    }

    /// Whether the history says of this run what its record says.
    pub fn knows(&self, record: &RunRecord) -> bool {
        let is_older = self.runs.len() >= RUNS_MAX && self.runs.first().is_some_and(|run| record.started < run.at);
        is_older || self.runs.contains(&KeptRun::from(record))
    }

    /// Takes what the store says of past runs: those that were made elsewhere, and all after this file was lost.
    pub fn learn(&mut self, records: &[RunRecord]) {
        for record in records {
            // a run that this process was cut off from may have told the store more than us
            if !self.runs.contains(&KeptRun::from(record)) {
                self.runs.retain(|run| run.run.as_ref() != Some(&record.run));
                self.add(KeptRun::from(record));
            }
        }
        let newest = records.iter().max_by_key(|record| record.started);
        let is_newer = |record: &&RunRecord| {
            self.last.as_ref().is_none_or(|last| last.started < record.started || last.run == record.run)
        };
        if let Some(record) = newest.filter(is_newer) {
            let mut record = record.clone();
            record.skips.truncate(SKIPS_KEPT);
            self.last = Some(Box::new(record));
            let real = self.runs.iter().rev().filter(|run| run.verdict.is_some());
            let bad = real.take_while(|run| run.verdict != Some(Verdict::Ok)).count();
            self.failures_in_a_row = u32::try_from(bad).unwrap_or(u32::MAX);
        }
    }

    /// Bytes that the last good run but this one had in the source.
    pub fn size_before(&self, run: &RunId) -> Option<u64> {
        let mut good = self.runs.iter().rev().filter(|r| r.verdict == Some(Verdict::Ok) && r.run.as_ref() != Some(run));
        good.next().map(|run| run.bytes)
    }

    /// Whether it is said now that there is no good snapshot for too long, if that is so: said once only, a message that
    /// nobody read would be the last. Whoever is told holds it back by rules of their own.
    pub fn repeats_overdue(&self, now: Timestamp) -> bool {
        self.overdue_told.is_none_or(|told| now < told || now.duration_since(told) >= OVERDUE_EVERY)
    }

    /// Whether the last outcome tells of a run that was stopped with the daemon.
    pub fn was_stopped(&self) -> bool {
        let reason = self.last.as_ref().and_then(|last| last.reason);
        matches!(reason, Some(StopReason::Terminated | StopReason::Interrupted))
    }

    fn add(&mut self, run: KeptRun) {
        if run.verdict == Some(Verdict::Ok) && self.last_success.is_none_or(|at| at < run.ended) {
            self.last_success = Some(run.ended);
        }
        let at = self.runs.partition_point(|other| other.at <= run.at);
        self.runs.insert(at, run);
        let surplus = self.runs.len().saturating_sub(RUNS_MAX);
        self.runs.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::{End, Kept, KeptJob, RUNS_MAX};
    use crate::domain::{Host, Outcome, RunId, Skips, SnapshotName, StopReason, Totals, Trouble};
    use crate::report::RunRecord;

    fn record(number: u8, is_ok: bool) -> RunRecord {
        let started: Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
        let started = started + SignedDuration::from_hours(i64::from(number));
        let job: crate::domain::JobName = "upload".parse().expect("a job");
        let trouble = Trouble { what: "no".into(), causes: Vec::new(), advice: "do".into() };
        let outcome = Outcome {
            snapshot: is_ok.then(|| SnapshotName::new(&job, started)),
            job,
            run: RunId::from_random([number; 16]),
            host: Host("web1".into()),
            store: "/mnt".into(),
            sources: vec!["/srv".into()],
            started,
            finished: started + SignedDuration::from_mins(1),
            took_ms: 60_000,
            record: None,
            totals: Totals::default(),
            skips: Skips::default(),
            doubts: Vec::new(),
            notices: Vec::new(),
            failure: (!is_ok).then_some((StopReason::Store, trouble)),
        };
        RunRecord::from(&outcome)
    }

    #[test]
    fn what_was_kept_comes_back_and_what_is_something_else_does_not() {
        let mut kept = Kept::default();
        let job = kept.jobs.entry("upload".parse().expect("a job")).or_default();
        job.ended(&record(1, true));
        job.ended(&record(2, false));
        let back = Kept::decode(&kept.encode()).expect("our own");
        let job = &back.jobs.values().next().expect("a job");
        assert_eq!((job.failures_in_a_row, job.runs.len(), job.counts.ok), (1, 2, 1));
        assert_eq!(job.last_success, Some(record(1, true).finished));
        for other in [&b""[..], b"{}", b"{\"version\":2,\"jobs\":{}}", b"[1]"] {
            assert!(Kept::decode(other).is_none());
        }
    }

    #[test]
    fn after_a_loss_the_history_is_the_stores_and_what_is_known_is_not_counted_twice() {
        let (one, two, three) = (record(1, true), record(2, false), record(3, false));
        let mut job = KeptJob::default();
        job.learn(&[three.clone(), two.clone(), one.clone()]);
        assert_eq!((job.runs.len(), job.failures_in_a_row, job.last_success), (3, 2, Some(one.finished)));
        job.learn(&[three, two, one]);
        assert_eq!((job.runs.len(), job.failures_in_a_row), (3, 2));
        job.ended(&record(4, true));
        job.learn(&[record(4, true)]);
        assert_eq!((job.runs.len(), job.failures_in_a_row), (4, 0));
    }

    #[test]
    fn of_a_run_that_both_tell_of_the_stores_record_stays() {
        let mut job = KeptJob::default();
        let told = RunRecord { took_ms: 70_000, reason: Some(StopReason::Program), ..record(1, false) };
        job.ended(&told);
        let stored = record(1, false);
        assert!(!job.knows(&stored));
        job.learn(std::slice::from_ref(&stored));
        let last = job.last.as_ref().expect("a last run");
        assert_eq!((last.took_ms, last.reason, job.failures_in_a_row), (60_000, Some(StopReason::Store), 1));
        assert_eq!((job.runs.len(), job.runs[0].took_ms, job.knows(&stored)), (1, 60_000, true));
        // the look was quicker than the run's own end
        let mut job = KeptJob::default();
        job.learn(std::slice::from_ref(&stored));
        job.ended(&told);
        assert_eq!(job.runs.len(), 1);
    }

    #[test]
    fn what_a_run_may_have_left_in_the_store_is_remembered_until_one_came_through_and_ended_by_itself() {
        let mut job = KeptJob::default();
        job.process_ended(&record(1, false), &End::Unseen);
        assert!(job.dead_runs.is_empty(), "nobody has seen its end");
        for end in [End::Clean, End::Cut, End::Cut] {
            job.process_ended(&record(2, false), &end);
        }
        assert_eq!(job.dead_runs, [record(2, false).run]);
        // retention was cut off: nothing of the earlier ones is left, but its own lease
        job.process_ended(&record(3, true), &End::Cut);
        assert_eq!(job.dead_runs, [record(3, true).run]);
        job.process_ended(&record(4, true), &End::Clean);
        assert!(job.dead_runs.is_empty());
    }

    #[test]
    fn that_a_job_is_overdue_is_said_again_each_hour_until_a_run_is_good() {
        let mut job = KeptJob::default();
        let first: Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
        let minutes = |minutes| first + SignedDuration::from_mins(minutes);
        assert!(job.repeats_overdue(first));
        job.overdue_told = Some(first);
        assert_eq!([0, 59, 60, 61].map(|at| job.repeats_overdue(minutes(at))), [false, false, true, true]);
        assert!(job.repeats_overdue(minutes(-1)), "the clock was set back");
        job.ended(&record(1, true));
        assert!(job.repeats_overdue(first));
    }

    #[test]
    fn the_history_is_bounded_and_its_oldest_go_first() {
        let mut job = KeptJob::default();
        let first: Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
        for number in 0..1000 {
            job.missed(1, first + SignedDuration::from_mins(number), "asleep");
        }
        assert_eq!((job.runs.len(), job.missed), (RUNS_MAX, 1000));
        assert_eq!(job.runs[0].at, first + SignedDuration::from_mins(1000 - RUNS_MAX as i64));
    }
}
