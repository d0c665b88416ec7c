//! What a source holds, as values: kinds, stats, times, extended attributes.
//!
//! These are what the kernel said; nothing here asks it. Numbers are as wide as the kernel's own, because a
//! source may hold an mtime of the year 292 billion and a uid of 2^32-2, and both must come back.

use serde::{Deserialize, Serialize};

use super::digest::{Digest, Hasher};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket: counted, never stored.
    Socket,
}

impl Kind {
    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::CharDevice => "char-device",
            Self::BlockDevice => "block-device",
            Self::Socket => "socket",
        }
    }
}

/// A file's time: seconds since 1970 (may be negative) and nanoseconds (0 to 999,999,999) after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(i64, u32)", into = "(i64, u32)")]
pub struct FileTime {
    /// Seconds since 1970-01-01T00:00:00Z, rounded down.
    pub sec: i64,
    /// Nanoseconds after `sec`.
    pub nsec: u32,
}

impl From<(i64, u32)> for FileTime {
    fn from((sec, nsec): (i64, u32)) -> Self {
        Self { sec, nsec }
    }
}

impl From<FileTime> for (i64, u32) {
    fn from(time: FileTime) -> Self {
        (time.sec, time.nsec)
    }
}

impl FileTime {
    /// Nanoseconds since 1970, wide enough for every time a file can have.
    pub fn as_nanos(self) -> i128 {
        i128::from(self.sec) * 1_000_000_000 + i128::from(self.nsec)
    }
}

/// What `statx` says of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes; the target's length for a symlink.
    pub size: u64,
    /// Bytes allocated on disk; less than `size` where there are holes.
    pub allocated: u64,
    /// When the content last changed.
    pub mtime: FileTime,
    /// When content or metadata last changed.
    pub ctime: FileTime,
    /// The file system's id (major, minor).
    pub device: (u32, u32),
    /// Number within the file system.
    pub inode: u64,
    /// How many names it has.
    pub links: u32,
    /// For devices: major and minor.
    pub special: (u32, u32),
    /// Whether it is where another file system is mounted.
    pub mount_root: bool,
}

/// One extended attribute: its name and value, bytes as the kernel gave them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// For example `user.comment`, `security.capability`, `system.posix_acl_access`.
    pub name: Box<[u8]>,
    /// Any bytes.
    pub value: Box<[u8]>,
}

/// The extended attributes of one entry (ACLs and capabilities among them), sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xattrs(Vec<Xattr>);

impl Xattrs {
    /// Sorts by name.
    pub fn new(mut all: Vec<Xattr>) -> Self {
        all.sort();
        Self(all)
    }

    /// In order of names.
    pub fn iter(&self) -> std::slice::Iter<'_, Xattr> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One digest of them all; none if there are none. The byte string that is hashed is specified in `FORMAT.md`.
    pub fn digest(&self) -> Option<Digest> {
        if self.is_empty() {
            return None;
        }
        let mut hasher = Hasher::new();
        for Xattr { name, value } in &self.0 {
            for part in [name, value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        Some(hasher.finish())
    }
}

/// A run of bytes of a sparse file that holds data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins in the file.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// The names of the owner and group, where the machine knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User name.
    pub user: Option<Box<str>>,
    /// Group name.
    pub group: Option<Box<str>>,
}
