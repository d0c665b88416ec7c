//! What there is to see: plain values that the daemon (or `status`) has gathered.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::domain::{EntryPath, JobName, Kind, SnapshotName, Verdict};
use crate::report::{RunRecord, SkipRecord};

/// Everything at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// The moment.
    pub now: Timestamp,
    /// The zone in which people are told times.
    #[serde(skip)]
    pub zone: TimeZone,
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
    /// Channels whose last delivery failed.
    pub silent_channels: Vec<SilentChannel>,
    /// Why the newest configuration was not taken, if it was not.
    pub config_refused: Option<String>,
    /// Why the daemon cannot keep what it remembers, if it cannot.
    pub state_trouble: Option<String>,
    /// How often a token was given that is not the one, since the daemon began.
    pub token_refusals: u64,
    /// Whether a token is configured, so that those who have it may browse, download and start runs.
    pub may_sign_in: bool,
}

impl View {
    /// What those may see who reach the door and have no token: of entries in a source how many were skipped and why, and
    /// not which. What a file is called is content.
    #[must_use]
    pub fn for_onlookers(mut self) -> Self {
        let skips = self.jobs.iter_mut().filter_map(|job| job.last.as_mut()).flat_map(|last| &mut last.skips);
        for skip in skips {
            *skip = SkipRecord { path: None, path_hex: None, cause: skip.cause, why: String::new() };
        }
        self
    }
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
    /// Its first slot since this job is known to the daemon's state; none without a schedule. Until then a job that has
    /// never had a good run is not late.
    pub first_due: Option<Timestamp>,
    /// When it is due next.
    pub next_run: Option<Timestamp>,
    /// The longest a good snapshot may be old, in seconds: one and a half of its interval; none without a schedule.
    pub age_max_s: Option<u64>,
    /// What it does now, if it runs.
    pub running: Option<Progress>,
    /// The last that was ok.
    pub last_success: Option<Timestamp>,
    /// When it was last proven by `verify`, and how well.
    pub last_verified: Option<Proof>,
    /// Runs in a row that were not ok.
    pub failures_in_a_row: u32,
    /// Slots that came and went without a run, since the daemon's state began.
    pub missed: u64,
    /// Runs that ended, since the daemon's state began.
    pub counts: Counts,
    /// That retention does not do its work after runs that were ok; none if it does.
    pub retention_undone: Option<Undone>,
    /// Past runs, oldest first, at most 400.
    pub runs: Vec<RunView>,
    /// The last outcome whole.
    pub last: Option<Box<RunRecord>>,
    /// What is in its store, newest first, as last listed.
    pub snapshots: Vec<SnapshotView>,
    /// Whether they were listed since the last good run ended: then what is not among them is not there.
    pub is_listed: bool,
    /// Why they could not be listed the last time, if they could not.
    pub unlisted: Option<Unlisted>,
}

/// That the snapshots of a job could not be listed: what is shown of them is old.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unlisted {
    /// The last time.
    pub why: String,
    /// How often in a row.
    pub times: u32,
}

/// That something was not done for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// Since when.
    pub since: Timestamp,
    /// How often in a row.
    pub times: u32,
    /// Why, the last time, in one line.
    pub why: String,
    /// What to do now.
    pub advice: String,
}

/// How many runs ended how. What was missed is no run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// A snapshot holds everything.
    pub ok: u64,
    /// A snapshot holds most.
    pub partial: u64,
    /// No snapshot.
    pub failed: u64,
    /// Another run was at work.
    pub skipped: u64,
}

/// A channel that could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SilentChannel {
    /// Its name in the configuration.
    pub name: String,
    /// What it answered, without any secret.
    pub why: String,
}

/// That a snapshot was proven by `verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// When.
    pub at: Timestamp,
    /// How well: `quick`, `stored`, `deep`, `drill`.
    pub level: String,
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
    /// What went wrong in one line; none if nothing did.
    pub why: Option<String>,
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
    pub verified: Option<Proof>,
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
    /// How large it is, in bytes, as last asked.
    pub total: Option<u64>,
    /// How far its clock is ahead of ours, in seconds, as last asked.
    pub skew_s: Option<i64>,
}

/// A folder of a snapshot, to be looked through.
#[derive(Clone, Debug)]
pub struct FolderView {
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// The folder in it.
    pub path: EntryPath,
    /// What lies in it, in order.
    pub entries: Vec<EntryView>,
    /// How many more there are than `entries` holds: a page of a million lines helps nobody.
    pub more: u64,
}

/// Something in a folder of a snapshot.
#[derive(Clone, Debug)]
pub struct EntryView {
    /// Its path in the snapshot.
    pub path: EntryPath,
    /// What it is; none if it is not in the snapshot.
    pub kind: Option<Kind>,
    /// Length of its content.
    pub bytes: u64,
    /// When it was changed last; none for a folder above a source.
    pub modified: Option<Timestamp>,
    /// Where a link points.
    pub target: Option<Vec<u8>>,
    /// Why it is missing, or not as it should be.
    pub skipped: Option<String>,
}
