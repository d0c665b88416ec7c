//! An entry of a manifest as a value: what it is, what was known of it, and where it lies.
//!
//! How it stands in a line is `line`'s matter; nothing here reads or writes.

use super::super::header::padding;
use crate::domain::{Digest, EntryPath, FileTime, Kind, Owner, Totals};

/// What an entry is, in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symlink and where it points, any bytes.
    Symlink {
        /// Where it points.
        target: Box<[u8]>,
    },
    /// A further name of the file `first`, which lies in the same volume or an earlier one.
    HardLink {
        /// The name under which the content lies.
        first: EntryPath,
    },
    /// A FIFO.
    Fifo,
    /// A character device: major, minor.
    CharDevice {
        /// Major, minor.
        special: (u32, u32),
    },
    /// A block device: major, minor.
    BlockDevice {
        /// Major, minor.
        special: (u32, u32),
    },
}

impl EntryKind {
    /// The word in the manifest.
    pub fn word(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Symlink { .. } => "symlink",
            Self::HardLink { .. } => "hardlink",
            Self::Fifo => "fifo",
            Self::CharDevice { .. } => "char-device",
            Self::BlockDevice { .. } => "block-device",
        }
    }

    /// What the kernel calls it: a further name of a file is a file there.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File | Self::HardLink { .. } => Kind::File,
            Self::Folder => Kind::Folder,
            Self::Symlink { .. } => Kind::Symlink,
            Self::Fifo => Kind::Fifo,
            Self::CharDevice { .. } => Kind::CharDevice,
            Self::BlockDevice { .. } => Kind::BlockDevice,
        }
    }
}

/// Where an entry lies. Offsets are in the volume's raw tar stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The volume, by its number in the manifest.
    pub volume: u32,
    /// Where its first header block begins; a multiple of 512.
    pub offset: u64,
    /// Where its body begins; a multiple of 512. The next entry's header if it has none.
    pub body: u64,
    /// Length of the body, without padding; differs from `size` for sparse files.
    pub stored: u64,
}

/// One entry of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: EntryPath,
    /// What it is.
    pub kind: EntryKind,
    /// 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Their names.
    pub owner: Owner,
    /// Length of a file; 0 for all else.
    pub size: u64,
    /// When its content changed.
    pub mtime: FileTime,
    /// When anything of it changed.
    pub ctime: FileTime,
    /// Its number in its file system.
    pub inode: u64,
    /// Of the body as it lies in the tar stream: the content, or map and data of a sparse file.
    pub sha256: Option<Digest>,
    /// Of its extended attributes.
    pub xattrs: Option<Digest>,
    /// Whether it is a sparse file.
    pub sparse: bool,
    /// Whether it changed while it was read: stored as last read.
    pub changed: bool,
    /// Where it lies.
    pub placed: Placed,
}

impl Entry {
    /// Bytes of its volume's tar stream that it takes, header and padding included. Folders count for nothing: every run
    /// that stores anything stores all of them.
    pub fn held(&self) -> u64 {
        let Placed { offset, body, stored, .. } = self.placed;
        match self.kind {
            EntryKind::Folder => 0,
            _ => body - offset + stored + padding(stored) as u64,
        }
    }

    /// Counts it.
    pub fn count_in(&self, totals: &mut Totals) {
        totals.entries += 1;
        totals.content_bytes.0 += self.size;
        match self.kind {
            EntryKind::File => totals.files += 1,
            EntryKind::Folder => totals.folders += 1,
            EntryKind::Symlink { .. } => totals.symlinks += 1,
            EntryKind::HardLink { .. } => totals.hard_links += 1,
            EntryKind::Fifo | EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => totals.special += 1,
        }
    }
}
