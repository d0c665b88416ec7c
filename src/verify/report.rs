//! What verify found, as values.

use crate::domain::{ByteCount, EntryPath, Level, Part, SnapshotName};

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file in the snapshot's folder.
    pub file: String,
    /// In words.
    pub what: String,
    /// The frame, where one frame is damaged.
    pub frame: Option<u64>,
    /// The first entries that lie in it.
    pub entries: Vec<EntryPath>,
    /// How many entries lie in it.
    pub entries_count: u64,
    /// Other snapshots of the job that hold the same volume, and so the same damage.
    pub shared_with: Vec<SnapshotName>,
}

impl Damage {
    /// Damage of a whole file.
    pub fn of(file: &str, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            what: what.into(),
            frame: None,
            entries: Vec::new(),
            entries_count: 0,
            shared_with: Vec::new(),
        }
    }

    /// Damage of one entry in it.
    pub fn of_entry(file: &str, path: EntryPath, what: impl Into<String>) -> Self {
        Self { entries: vec![path], entries_count: 1, ..Self::of(file, what) }
    }
}

/// What verify says of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// How deep it looked.
    pub level: Level,
    /// At which part of the frames, if not at all of them.
    pub part: Option<Part>,
    /// Stored bytes that were read.
    pub bytes: ByteCount,
    /// Frames that were compared.
    pub frames: u64,
    /// Entries in the manifest.
    pub entries: u64,
    /// Volumes that were not read again, because the same file was verified with another snapshot.
    pub volumes_known: u64,
    /// Everything that is not as it should be; empty if all is well. The first ten thousand.
    pub damages: Vec<Damage>,
    /// How many there are.
    pub damages_count: u64,
    /// Worth knowing.
    pub notes: Vec<String>,
}

/// So many damages are kept; all are counted.
const DAMAGES_MAX: usize = 10_000;

impl Report {
    /// Nothing found yet.
    pub(super) fn new(snapshot: SnapshotName, level: Level, part: Option<Part>) -> Self {
        Self {
            snapshot,
            level,
            part,
            bytes: ByteCount::ZERO,
            frames: 0,
            entries: 0,
            volumes_known: 0,
            damages: Vec::new(),
            damages_count: 0,
            notes: Vec::new(),
        }
    }

    /// Whether all is well.
    pub fn is_well(&self) -> bool {
        self.damages_count == 0
    }

    /// Adds a damage; gives its place among those that are kept.
    pub fn add(&mut self, damage: Damage) -> Option<usize> {
        self.damages_count += 1;
        if self.damages.len() >= DAMAGES_MAX {
            return None;
        }
        self.damages.push(damage);
        Some(self.damages.len() - 1)
    }
}
