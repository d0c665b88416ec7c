//! The names in a store: the one place that knows how a job's folder is laid out.

use crate::archive::Codec;
use crate::domain::{JobName, RunId, SnapshotName, stamp_text};
use crate::store::Key;

/// The list of entries.
pub const MANIFEST_NAME: &str = "manifest.jsonl.zst";
/// The checksums of every other file in the folder.
pub const SUMS_NAME: &str = "SHA256SUMS";
/// How to restore without this program.
pub const RESTORE_NAME: &str = "RESTORE.txt";
/// The record.
pub const RECORD_NAME: &str = "snapshot.json";

const LEASE: &str = ".lease.json";
const RUNS: &str = ".runs";
const TRASH: &str = ".trash";
const HOLDS: &str = ".holds";
const VERIFIED: &str = ".verified";
/// Ends the name of the manifest of one finished volume.
pub(super) const PART_ENDING: &str = ".part";
/// In a draft: its run is over, whatever the clock says.
pub(super) const GIVEN_UP: &str = "given-up";
pub(super) const PARTIAL_PREFIX: &str = ".partial-";

/// The file name of the `number`th volume (from 1) that the run of `snapshot` writes.
pub fn volume_name(snapshot: &SnapshotName, number: u32, codec: Codec) -> String {
    match number {
        1 => format!("{snapshot}.{}", codec.ending()),
        _ => format!("{snapshot}-{number}.{}", codec.ending()),
    }
}

/// The file name of the manifest of one finished volume in a draft. No snapshot holds such a file.
pub fn part_name(volume: &str, codec: Codec) -> String {
    let stem = volume.strip_suffix(codec.ending()).and_then(|stem| stem.strip_suffix('.'));
    format!("{}{PART_ENDING}", stem.unwrap_or(volume))
}

/// The file name of the list of names in `volume` that a snapshot does not use.
pub fn stale_name(volume: &str, codec: Codec) -> String {
    let stem = volume.strip_suffix(codec.ending()).and_then(|stem| stem.strip_suffix('.'));
    format!("{}.stale", stem.unwrap_or(volume))
}

/// Where things of one job lie.
#[derive(Clone, Debug)]
pub struct Layout {
    job: JobName,
}

impl Layout {
    /// Of `job`.
    pub fn new(job: JobName) -> Self {
        Self { job }
    }

    /// The job.
    pub fn job(&self) -> &JobName {
        &self.job
    }

    /// The job's folder.
    pub fn folder(&self) -> Key {
        Key::top().join(self.job.as_str()).expect("a job's name is a key")
    }

    /// A snapshot's folder.
    pub fn snapshot(&self, name: &SnapshotName) -> Key {
        self.in_folder(name.as_str())
    }

    /// The folder of a run's unfinished work.
    pub fn partial(&self, run: &RunId) -> Key {
        self.in_folder(&format!("{PARTIAL_PREFIX}{run}"))
    }

    /// The lease.
    pub fn lease(&self) -> Key {
        self.in_folder(LEASE)
    }

    /// Where the stale lease of `holder` is put by the run that takes it over. Its name is decided by the holder
    /// alone, so that exclusive creation lets exactly one run take over one lease.
    pub fn takeover(&self, holder: &RunId) -> Key {
        self.in_folder(&format!(".lease-takeover-{holder}"))
    }

    /// The folder of run records.
    pub fn runs(&self) -> Key {
        self.in_folder(RUNS)
    }

    /// Where removed snapshots lie for a while.
    pub fn trash(&self) -> Key {
        self.in_folder(TRASH)
    }

    /// The folder of holds.
    pub fn holds(&self) -> Key {
        self.in_folder(HOLDS)
    }

    /// The folder of what was verified when.
    pub fn verified(&self) -> Key {
        self.in_folder(VERIFIED)
    }

    /// The record of one run.
    pub fn run(&self, started: jiff::Timestamp, run: &RunId) -> Key {
        let name = format!("{}-{run}.json", stamp_text(started));
        self.runs().join(&name).expect("a stamp and an id are a key")
    }

    fn in_folder(&self, name: &str) -> Key {
        self.folder().join(name).expect("names made here are keys")
    }
}
