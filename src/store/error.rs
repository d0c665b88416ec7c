//! What can go wrong between us and a store, each with what to do now.
//!
//! A store's error fails the run. It never shares a type with an error of the source.

use std::io;
use std::path::PathBuf;

use crate::domain::{Advise, ByteCount};

/// A failed exchange with a store. `Display` tells only this level; the cause is reached through `source()`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store's path does not exist.
    #[error("the store {path} does not exist")]
    Missing {
        /// The configured path.
        path: PathBuf,
    },
    /// The store's path is not a folder.
    #[error("the store {path} is not a folder")]
    NotAFolder {
        /// The configured path.
        path: PathBuf,
    },
    /// `require_mount` is set and the path lies on the machine's own disk.
    #[error("nothing is mounted at {path}: it lies on {found}, and this store requires a mount of type {required}")]
    NotMounted {
        /// The configured path.
        path: PathBuf,
        /// What it lies on, in words.
        found: String,
        /// What is required, in words.
        required: String,
    },
    /// The path is a mount point in /etc/fstab, and nothing is mounted there.
    #[error("{path} lies below {mount_point}, which /etc/fstab names as a mount point, and nothing is mounted there")]
    FstabNotMounted {
        /// The configured path.
        path: PathBuf,
        /// The mount point.
        mount_point: PathBuf,
    },
    /// There is no marker, so nothing proves that this is the right disk.
    #[error("{path} has no marker of a store ({marker})")]
    NoMarker {
        /// The store's path.
        path: PathBuf,
        /// The marker's file name.
        marker: String,
    },
    /// There is a marker, but of another store.
    #[error("{path} is store {found}, and store {expected} was there before")]
    WrongStore {
        /// The store's path.
        path: PathBuf,
        /// The id in the marker.
        found: String,
        /// The id that was expected.
        expected: String,
    },
    /// The marker cannot be understood.
    #[error("the marker {path} is damaged or made by a newer version")]
    BadMarker {
        /// The marker's path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk or the server went away under us (ESTALE, EBADF, ENODEV, ENOTCONN, EHOSTDOWN, ETIMEDOUT …).
    #[error("the store went away while {deed} {place}")]
    Gone {
        /// What was being done: `writing`, `opening` …
        deed: &'static str,
        /// On what.
        place: String,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// The disk is full (ENOSPC) or the quota used up (EDQUOT).
    #[error("no room left in the store while {deed} {place}")]
    NoRoom {
        /// What was being done.
        deed: &'static str,
        /// On what.
        place: String,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// Before anything was written: what is to be written cannot fit.
    #[error("the store has {free} free, and this run needs about {needed}")]
    TooSmall {
        /// What is free.
        free: ByteCount,
        /// What is needed at the least.
        needed: ByteCount,
    },
    /// The store may not be written (EROFS).
    #[error("the store is read-only: {deed} {place} was refused")]
    ReadOnly {
        /// What was being done.
        deed: &'static str,
        /// On what.
        place: String,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// The server or the disk does not let this user do it (EACCES, EPERM).
    #[error("{deed} {place} was not permitted")]
    Refused {
        /// What was being done.
        deed: &'static str,
        /// On what.
        place: String,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// Names are created, never overwritten; this one is taken.
    #[error("{place} is already there")]
    AlreadyThere {
        /// Which.
        place: String,
    },
    /// Something that should be there is not.
    #[error("{place} is not there")]
    NotThere {
        /// Which.
        place: String,
    },
    /// A file ends before it should.
    #[error("{place} ends at byte {len}, and byte {wanted} was asked for")]
    Short {
        /// Which.
        place: String,
        /// Its length.
        len: u64,
        /// The first byte that is missing.
        wanted: u64,
    },
    /// The store tells another length than was written.
    #[error("{place} has {found} bytes in the store, and {written} were written")]
    WrongLength {
        /// Which.
        place: String,
        /// What the store says.
        found: u64,
        /// What was written.
        written: u64,
    },
    /// An earlier error on this file; nothing on it can be trusted any more.
    #[error("{place} met an error before and cannot be used any more")]
    Poisoned {
        /// Which.
        place: String,
    },
    /// Read back from the store, the bytes differ from what was written.
    #[error("{place} read back from the store differs from what was written, at byte {offset}")]
    ReadBackDiffers {
        /// Which.
        place: String,
        /// Where the first differing frame begins.
        offset: u64,
    },
    /// The store cannot give a file a second name.
    #[error("the store refuses hard links ({place})")]
    LinkRefused {
        /// Which.
        place: String,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("{deed} {place} failed")]
    Io {
        /// What was being done.
        deed: &'static str,
        /// On what.
        place: String,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// Sorts what the machine said.
    pub fn from_io(deed: &'static str, place: impl Into<String>, source: io::Error) -> Self {
        use rustix::io::Errno;
        let place = place.into();
        let errno = source.raw_os_error().map(Errno::from_raw_os_error);
        match errno {
            Some(Errno::EXIST | Errno::NOTEMPTY) => Self::AlreadyThere { place },
            Some(Errno::NOENT) => Self::NotThere { place },
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::NoRoom { deed, place, source },
            Some(Errno::ROFS) => Self::ReadOnly { deed, place, source },
            Some(Errno::ACCESS | Errno::PERM) => Self::Refused { deed, place, source },
            // EBADF on a descriptor that we hold means that the NFS server lost the disk behind its export
            Some(
                Errno::STALE
                | Errno::BADF
                | Errno::NODEV
                | Errno::NXIO
                | Errno::NOTCONN
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::TIMEDOUT
                | Errno::SHUTDOWN
                | Errno::REMOTEIO,
            ) => Self::Gone { deed, place, source },
            _ => Self::Io { deed, place, source },
        }
    }

    /// Whether the store is not there (exit code 6), as opposed to there and refusing (exit code 1).
    pub fn is_absent(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::NotAFolder { .. }
                | Self::NotMounted { .. }
                | Self::FstabNotMounted { .. }
                | Self::NoMarker { .. }
                | Self::WrongStore { .. }
                | Self::BadMarker { .. }
                | Self::Gone { .. }
        )
    }
}

impl Advise for StoreError {
    fn advice(&self) -> String {
        match self {
            Self::Missing { path, .. } => format!(
                "mount the share, or correct the store's path; for a new store make the folder and run \
                 `backup init --store {}` once; nothing was written",
                path.display()
            ),
            Self::NotAFolder { .. } => "give the folder that holds (or shall hold) the store; nothing was written".into(),
            Self::NotMounted { path, .. } => {
                format!("mount the share (`mount {}`), or correct `require_mount`; nothing was written", path.display())
            }
            Self::FstabNotMounted { mount_point, .. } => {
                format!("run `mount {}` and try again; nothing was written", mount_point.display())
            }
            Self::NoMarker { path, .. } => format!(
                "check that the right disk is mounted; if this is a new store, run `backup init --store {}` once; nothing was written",
                path.display()
            ),
            Self::WrongStore { .. } => {
                "another disk is mounted here: mount the right one, or point the store's path at it; nothing was written".into()
            }
            Self::BadMarker { .. } => {
                "check the disk, and that this program is not older than the one that made the store; nothing was written".into()
            }
            Self::Gone { .. } => {
                "check the mount and the server, then run again; snapshots that are there are untouched".into()
            }
            Self::NoRoom { .. } => {
                "free some room or raise the quota, then run again; the unfinished work was removed, snapshots that are there are untouched".into()
            }
            Self::TooSmall { .. } => "free some room or raise the quota, then run again; nothing was stored".into(),
            Self::ReadOnly { .. } => "mount or export it read-write, then run again; nothing was stored".into(),
            Self::Refused { .. } => {
                "let the user that runs this write to the store (on NFS with root_squash root is `nobody`: chown the folder for it, or run as another user)".into()
            }
            Self::AlreadyThere { .. } => "nothing was overwritten; look what has that name, and whether two programs write to this store".into(),
            Self::NotThere { .. } => "look whether somebody else removed it; `backup list` shows what is there".into(),
            Self::Short { .. } => "the file is cut: run `backup verify` to see what it costs".into(),
            Self::WrongLength { .. } | Self::ReadBackDiffers { .. } => {
                "the store did not keep what it was given: check its disk and the network, then run again; nothing was published".into()
            }
            Self::Poisoned { .. } => "see the first error on this file; the next run starts it anew".into(),
            Self::LinkRefused { .. } => "the volume is copied instead".into(),
            Self::Io { .. } => "check the store's disk and mount, then run again; snapshots that are there are untouched".into(),
        }
    }
}
