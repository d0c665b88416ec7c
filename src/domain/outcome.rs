//! What a run did: the one truth that exit codes, records, JSON and messages are made from.
//!
//! Skips are part of it. A run that lost something is never `Ok`: `Verdict` is computed from what was counted,
//! not set by hand.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::advice::Trouble;
use super::cancel::Stop;
use super::digest::Digest;
use super::ids::{Host, JobName, RunId, SnapshotName};
use super::path::EntryPath;
use super::size::ByteCount;

/// The five words for how a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// A snapshot exists and holds everything.
    Ok,
    /// A snapshot exists, but some entries could not be read or changed while read, or the source shrank sharply.
    Partial,
    /// There is no snapshot.
    Failed,
    /// Another run holds the lease.
    Skipped,
    /// It was due and did not start.
    Missed,
}

impl Verdict {
    /// The word, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }
}

/// Why an entry is not in the snapshot, or not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipCause {
    /// It could not be opened or read; not in the snapshot.
    Unreadable,
    /// It was there when its folder was listed and gone when it was read; not in the snapshot.
    Vanished,
    /// Another thing had taken its place when it was read; not in the snapshot.
    Replaced,
    /// It changed each time it was read; stored as last read.
    Changed,
    /// It could not be read to its end; stored with zeros in place of the rest.
    Incomplete,
    /// Its folder could not be listed to the end; what lies beneath may be missing.
    Unlisted,
    /// It lies deeper than the walker goes; not in the snapshot.
    TooDeep,
    /// Some of its extended attributes could not be read; stored without them.
    Attributes,
    /// Its content is another than in the snapshot before, though neither its times nor anything else about it moved;
    /// stored as it is now.
    Silent,
    /// The command whose output it was to be did not end well; not in the snapshot.
    Command,
}

impl SkipCause {
    /// Whether the entry is in the snapshot all the same.
    pub fn is_stored(self) -> bool {
        matches!(self, Self::Changed | Self::Incomplete | Self::Attributes | Self::Unlisted | Self::Silent)
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unreadable => "could not be read",
            Self::Vanished => "vanished before it was read",
            Self::Replaced => "was replaced while it was read",
            Self::Changed => "changed while it was read",
            Self::Incomplete => "could not be read to its end, the rest is zeros",
            Self::Unlisted => "could not be listed completely",
            Self::TooDeep => "lies too deep",
            Self::Attributes => "has attributes that could not be read",
            Self::Silent => "changed though its times did not: bit rot in the source, or a forged time",
            Self::Command => "came of a command that failed",
        }
    }
}

/// One entry that the run must own up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Which.
    pub path: EntryPath,
    /// What kind of loss.
    pub cause: SkipCause,
    /// What the machine said, for example `Permission denied`.
    pub why: String,
}

/// Skips, counted without bound and listed up to a bound: all of them stand in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skips {
    count: u64,
    first: Vec<Skip>,
}

impl Skips {
    /// How many are listed by name in the outcome. The rest is counted here and named in the manifest, so that a
    /// source of ten million unreadable files does not fill memory or a ticket.
    pub const LISTED_MAX: usize = 1000;

    /// Counts one, and lists it while there is room.
    pub fn add(&mut self, skip: Skip) {
        self.count += 1;
        if self.first.len() < Self::LISTED_MAX {
            self.first.push(skip);
        }
    }

    /// From a record: `count` of which `first` are known by name.
    pub fn restored(count: u64, first: Vec<Skip>) -> Self {
        Self { count: count.max(first.len() as u64), first }
    }

    /// All of them.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first ones, by name.
    pub fn listed(&self) -> &[Skip] {
        &self.first
    }

    /// Whether nothing was skipped.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// What was counted during a run. Bytes are of content unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Entries in the snapshot, of every kind.
    pub entries: u64,
    /// Regular files among them (a further name of a hard-linked file is not counted again).
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Further names of files that have several.
    pub hard_links: u64,
    /// FIFOs and devices.
    pub special: u64,
    /// Sockets that were passed over.
    pub sockets: u64,
    /// Entries left out because the configuration says so.
    pub excluded: u64,
    /// Folders where another file system is mounted, not entered.
    pub mounts: u64,
    /// Length of all regular files.
    pub content_bytes: ByteCount,
    /// Bytes read from the source.
    pub read_bytes: ByteCount,
    /// Bytes written into this run's volumes.
    pub stored_bytes: ByteCount,
    /// Stored bytes of volumes that were linked from the snapshot before.
    pub reused_bytes: ByteCount,
}

/// Why a run that failed did so, for exit codes. The words are in `Trouble`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The source could not be read at all, is missing or is empty.
    Source,
    /// The store refused or lost a write.
    Store,
    /// The store has no room, before or while it was written to.
    StoreFull,
    /// The store is not there: not mounted, no marker, another disk, no answer.
    StoreAbsent,
    /// Another run holds the lease.
    Leased,
    /// A signal.
    Interrupted,
    /// A signal.
    Terminated,
    /// A hook that was to prepare the source failed.
    Hook,
    /// The program itself failed: a panic, a child that died.
    Program,
}

impl From<Stop> for StopReason {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Interrupted => Self::Interrupted,
            Stop::Terminated => Self::Terminated,
        }
    }
}

/// What one run did. Made once, at its end; never changed afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The job.
    pub job: JobName,
    /// This attempt.
    pub run: RunId,
    /// Where it ran.
    pub host: Host,
    /// The store, as people call it.
    pub store: String,
    /// The sources, as configured.
    pub sources: Vec<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How long it took, by a clock that does not step.
    pub took_ms: u64,
    /// The snapshot, if there is one.
    pub snapshot: Option<SnapshotName>,
    /// The digest of its record.
    pub record: Option<Digest>,
    /// What was counted.
    pub totals: Totals,
    /// What is missing or not as it should be.
    pub skips: Skips,
    /// Things that make a run with a snapshot partial although every entry was stored (a source that shrank).
    pub doubts: Vec<String>,
    /// Things a person should know that change nothing (a soft mount, a store initialised on first use).
    pub notices: Vec<String>,
    /// Why there is no snapshot.
    pub failure: Option<(StopReason, Trouble)>,
}

impl Outcome {
    /// How it ended, from what it holds.
    pub fn verdict(&self) -> Verdict {
        match &self.failure {
            Some((StopReason::Leased, _)) => Verdict::Skipped,
            Some(_) => Verdict::Failed,
            None if self.snapshot.is_none() => Verdict::Failed,
            None if self.skips.is_empty() && self.doubts.is_empty() => Verdict::Ok,
            None => Verdict::Partial,
        }
    }
}
