//! What there is to see: plain values that the daemon (or `status`) has gathered.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{JobName, SnapshotName, Verdict};
use crate::report::RunRecord;

/// Everything at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// The moment.
    pub now: Timestamp,
    /// The installation's name.
    pub instance: String,
    /// The program and its version.
    pub tool: String,
    /// When the daemon began.
    pub started: Timestamp,
    /// When its loop last went round.
    pub ticked: Timestamp,
    /// By name.
    pub jobs: Vec<JobView>,
    /// By name.
    pub stores: Vec<StoreView>,
    /// Messages that wait in the outbox.
    pub spooled: u64,
    /// Messages that were given up.
    pub undelivered: u64,
    /// Channels whose last delivery failed, with why.
    pub silent_channels: Vec<(String, String)>,
    /// Why the newest configuration was not taken, if it was not.
    pub config_refused: Option<String>,
}

/// A job.
#[derive(Clone, Debug, Serialize)]
pub struct JobView {
    /// Its name.
    pub name: JobName,
    /// Its store's name.
    pub store: String,
    /// Its sources.
    pub sources: Vec<String>,
    /// Its schedules as written, with their zone.
    pub schedules: Vec<String>,
    /// When it is due next.
    pub next_run: Option<Timestamp>,
    /// The longest a good snapshot may be old, in seconds: one and a half of its interval; none without a schedule.
    pub age_max_s: Option<u64>,
    /// What it does now, if it runs.
    pub running: Option<Progress>,
    /// The last that was ok.
    pub last_success: Option<Timestamp>,
    /// When it was last proven by `verify`, and how well.
    pub last_verified: Option<(Timestamp, String)>,
    /// Runs in a row that were not ok.
    pub failures_in_a_row: u32,
    /// Slots that came and went without a run, since the daemon's state began.
    pub missed: u64,
    /// Past runs, oldest first, at most 400.
    pub runs: Vec<RunView>,
    /// The last outcome whole.
    pub last: Option<Box<RunRecord>>,
    /// What is in its store, newest first, as last listed.
    pub snapshots: Vec<SnapshotView>,
}

/// A run that goes on.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    /// Since when.
    pub started: Timestamp,
    /// In words.
    pub phase: String,
    /// Entries so far.
    pub entries: u64,
    /// Bytes read so far.
    pub bytes: u64,
}

/// A run that is over.
#[derive(Clone, Debug, Serialize)]
pub struct RunView {
    /// The word; none for a slot that was missed.
    pub verdict: Option<Verdict>,
    /// When it began, or was due.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Bytes of content in the source.
    pub bytes: u64,
    /// Bytes written to the store.
    pub stored: u64,
}

/// A snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotView {
    /// Its name.
    pub name: SnapshotName,
    /// When it was made.
    pub at: Timestamp,
    /// Bytes of content.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Whether its run was ok.
    pub is_ok: bool,
    /// When it was proven, and how well.
    pub verified: Option<(Timestamp, String)>,
    /// Why retention keeps it; empty if it does not.
    pub kept_for: Vec<String>,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// A store.
#[derive(Clone, Debug, Serialize)]
pub struct StoreView {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub path: String,
    /// Why it cannot be used now, if it cannot.
    pub trouble: Option<String>,
    /// Free space in bytes, as last asked.
    pub free: Option<u64>,
    /// How far its clock is ahead of ours, in seconds, as last asked.
    pub skew_s: Option<i64>,
}
