//! What verify found, as values.

use crate::domain::{ByteCount, EntryPath, SnapshotName};

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
}

impl Damage {
    /// Damage of a whole file.
    pub(super) fn of(file: &str, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), what: what.into(), frame: None, entries: Vec::new(), entries_count: 0 }
    }
}

/// What verify says of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// Stored bytes that were read.
    pub bytes: ByteCount,
    /// Frames that were compared.
    pub frames: u64,
    /// Entries in the manifest.
    pub entries: u64,
    /// Everything that is not as it should be; empty if all is well.
    pub damages: Vec<Damage>,
}

impl Report {
    /// Whether all is well.
    pub fn is_well(&self) -> bool {
        self.damages.is_empty()
    }
}
