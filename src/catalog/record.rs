//! The record of a snapshot, `snapshot.json`: small, for people and for other programs.
//!
//! Types of their own, with a version; what is computed with lives elsewhere. Fields may be added within a version,
//! so unknown ones are passed over.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::archive::Codec;
use crate::archive::manifest::VolumeLine;
use crate::domain::{Digest, Host, JobName, RunId, SnapshotName, Totals, Verdict};

/// The version that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

/// This program and its version, as records tell it.
pub const TOOL: &str = concat!("backup ", env!("CARGO_PKG_VERSION"));

/// Describes one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The record's version.
    pub format: u32,
    /// Its name.
    pub snapshot: SnapshotName,
    /// The job.
    pub job: JobName,
    /// The run that made it.
    pub run: RunId,
    /// Where that ran.
    pub host: Host,
    /// The program and its version.
    pub tool: String,
    /// When the run began.
    pub started: Timestamp,
    /// When everything was written, just before it was published.
    pub finished: Timestamp,
    /// `ok` or `partial`.
    pub verdict: Verdict,
    /// The folders that were read.
    pub sources: Vec<String>,
    /// The paths of files that commands were to give. With any of them, or with several sources, what lies in a source has
    /// its full path without the leading slash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// What was counted.
    pub totals: Totals,
    /// How many entries are missing or not as they should be; each is named in the manifest.
    pub skipped: u64,
    /// What makes it partial besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// Its volumes, in the order of their numbers in the manifest.
    pub volumes: Vec<VolumeRecord>,
    /// Its manifest.
    pub manifest: FileRecord,
    /// The snapshot whose run wrote that manifest, if another: nothing at all had changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_of: Option<SnapshotName>,
    /// The snapshot before it, if there was one.
    pub previous: Option<Previous>,
}

impl Record {
    /// What it was made of, for people: folders, and what commands gave.
    pub fn made_of(&self) -> String {
        let commands =
            (!self.commands.is_empty()).then(|| format!("what commands gave ({})", self.commands.join(", ")));
        self.sources.iter().cloned().chain(commands).collect::<Vec<_>>().join(", ")
    }
}

/// One volume of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its file name.
    pub name: String,
    /// How it is compressed.
    pub codec: Codec,
    /// Bytes in the file.
    pub size: u64,
    /// Bytes of the tar stream in it.
    pub raw_size: u64,
    /// How many frames.
    pub frames: u64,
    /// Of the file.
    pub sha256: Digest,
    /// The snapshot whose run wrote it.
    pub written_by: SnapshotName,
    /// Bytes of its tar stream that are entries other than folders.
    #[serde(default)]
    pub held: u64,
    /// Of them, bytes of entries that this snapshot uses.
    #[serde(default)]
    pub live: u64,
    /// The list of its names that this snapshot does not use, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<FileRecord>,
}

impl VolumeRecord {
    /// Its line in a manifest in which it has this number.
    pub fn line(&self, number: u32) -> VolumeLine {
        VolumeLine {
            volume: number,
            name: self.name.clone(),
            codec: self.codec,
            size: self.size,
            raw_size: self.raw_size,
            frames: self.frames,
            sha256: self.sha256,
        }
    }

    /// As a file.
    pub fn file(&self) -> FileRecord {
        FileRecord { name: self.name.clone(), size: self.size, sha256: self.sha256 }
    }
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name.
    pub name: String,
    /// Bytes in the file.
    pub size: u64,
    /// Of the file.
    pub sha256: Digest,
}

/// The snapshot before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its name.
    pub snapshot: SnapshotName,
    /// The sha256 of its record, so that records form a chain.
    pub record: Digest,
}
