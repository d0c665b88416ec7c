//! What a restore did, and what it could not do.

use crate::domain::{ByteCount, EntryPath, SkipCause};

/// What was done, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Regular files.
    pub files: u64,
    /// Folders that were not there.
    pub folders: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// FIFOs and devices.
    pub special: u64,
    /// Content of the files.
    pub bytes: ByteCount,
    /// Of all these, those that took the place of something.
    pub replaced: u64,
    /// Entries that were there already, as they should be.
    pub same: u64,
    /// Entries that were left as they are, as `--overwrite` says.
    pub kept: u64,
}

impl Counts {
    /// Entries written.
    pub fn written(&self) -> u64 {
        self.files + self.folders + self.symlinks + self.hard_links + self.special
    }

    pub(super) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.folders += other.folders;
        self.symlinks += other.symlinks;
        self.hard_links += other.hard_links;
        self.special += other.special;
        self.bytes += other.bytes;
        self.replaced += other.replaced;
        self.same += other.same;
        self.kept += other.kept;
    }
}

/// Why an entry is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossCause {
    /// Its bytes in the store are damaged.
    Damaged,
    /// The snapshot does not have it: the run that made it said so.
    NotStored,
    /// It is here as the snapshot has it, and the run that made that said that it may not be as it was.
    NotAsItWas,
    /// It could not be written here.
    Unwritten,
    /// What it is called, or links to, is not let in.
    Refused,
    /// It is one of the things that are restored only when asked (`--privileged`).
    NotAsked,
}

impl LossCause {
    /// Of what the run that made the snapshot told.
    pub(super) fn of_skip(cause: SkipCause) -> Self {
        if cause.is_stored() { Self::NotAsItWas } else { Self::NotStored }
    }

    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::NotStored => "not-stored",
            Self::NotAsItWas => "not-as-it-was",
            Self::Unwritten => "unwritten",
            Self::Refused => "refused",
            Self::NotAsked => "not-asked",
        }
    }
}

/// An entry that is not there, or not as it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// Which.
    pub path: EntryPath,
    /// What kind of loss.
    pub cause: LossCause,
    /// In words.
    pub why: String,
}

/// So many losses are kept by name, in so many bytes; all are counted.
pub(super) const LOSSES_MAX: usize = 100_000;
pub(super) const LOSSES_BYTES_MAX: usize = 16 << 20;

/// What a restore says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was restored: the name of a snapshot or of an archive.
    pub of: String,
    /// What was done, or with `--dry-run` would be.
    pub counts: Counts,
    /// Entries that are not there or not as they were, sorted; the first hundred thousand.
    pub losses: Vec<Loss>,
    /// How many there are.
    pub losses_count: u64,
    /// How many of them are damaged in the store.
    pub damaged_count: u64,
    /// Worth knowing: what this user or this file system cannot take.
    pub notes: Vec<String>,
    /// It went on where an earlier one ended.
    pub resumed: bool,
    /// What is there and not in the snapshot, if that was asked for; not what lies in these.
    pub extras: Vec<EntryPath>,
}

impl Report {
    /// Whether stored bytes were found damaged.
    pub fn is_damaged(&self) -> bool {
        self.damaged_count > 0
    }

    /// Whether everything that was asked for is there, as it was.
    pub fn is_whole(&self) -> bool {
        self.losses_count == 0
    }
}
