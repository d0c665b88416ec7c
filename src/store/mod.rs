//! Where snapshots live: one small trait, the folder store, and the guard that proves it is the right disk.
//!
//! The danger here is a store that seems to be there and is not: an empty mount point, another disk behind the
//! same path, a write error that is told once and then forgotten by `fsync` and `close`. So: one folder handle is
//! held from the guard to the commit and every name is relative to it; the first error on a file poisons it; names
//! are created, never overwritten; and only the marker proves the right disk.
//!
//! This room does not know what a snapshot is, never retries, and never looks at the source.

pub mod conformance;
mod error;
mod folder;
mod key;
mod marker;
mod mount;
mod watched;

pub use error::StoreError;
pub use folder::{FolderStore, Opened, Permissions};
pub use key::{Key, KeyError};
pub use marker::{MARKER_NAME, Marker};
pub use mount::{Mount, MountKind, MountTable, RequireMount, fstab_mount_points};
pub use watched::{Calls, Waiting, Watched};

use std::io::IoSliceMut;

use jiff::Timestamp;

use crate::domain::{ByteCount, StoreId};

/// A place for files, seen through the few deeds that a snapshot needs.
///
/// Contract, checked by [`conformance`]: `create` and `create_folder` are exclusive; a file is seen by others only
/// under the key it was created with; nothing is ever overwritten; `publish` moves a whole folder in one step and
/// never over another one that holds anything; `list` never invents or repeats a name while others write.
pub trait Store: Send + Sync {
    /// The store as people call it, for messages (a path or an address, never with secrets).
    fn name(&self) -> String;

    /// The id that the marker told when the store was opened.
    fn id(&self) -> &StoreId;

    /// Device and inode of the store's own folder on this machine, if it has one: a source may hold it.
    fn place(&self) -> Option<((u32, u32), u64)> {
        None
    }

    /// Looks again, past every cache, whether this is still the disk whose marker was seen at opening.
    fn check_identity(&self) -> Result<(), StoreError>;

    /// Creates a folder. [`StoreError::AlreadyThere`] if anything has that name.
    fn create_folder(&self, folder: &Key) -> Result<(), StoreError>;

    /// Creates a file. [`StoreError::AlreadyThere`] if anything has that name.
    fn create(&self, file: &Key) -> Result<Box<dyn StoreWriter>, StoreError>;

    /// Opens a file for reading what the store really holds: cached pages are dropped first where that is possible.
    fn open(&self, file: &Key) -> Result<Box<dyn StoreReader>, StoreError>;

    /// What lies directly in a folder, in no order. Names that are not keys (`.nfs…` of a busy NFS client excepted,
    /// which are left out) are listed as they are, lossily.
    fn list(&self, folder: &Key) -> Result<Vec<Listed>, StoreError>;

    /// What has this name; `None` if nothing has. On NFS "nothing" may be up to 30 s old: never decide ownership by it.
    fn stat(&self, key: &Key) -> Result<Option<Listed>, StoreError>;

    /// Makes everything created directly in `folder` durable.
    fn sync_folder(&self, folder: &Key) -> Result<(), StoreError>;

    /// The commit: `from` becomes `to` in one step. [`StoreError::AlreadyThere`] if `to` holds anything. An error may
    /// also mean that the store did it and its answer was lost: the caller compares what lies at `to` with what it
    /// wrote before it believes in failure.
    fn publish(&self, from: &Key, to: &Key) -> Result<(), StoreError>;

    /// Gives a file a further name in the same store, without copying a byte. [`StoreError::LinkRefused`] where the
    /// store cannot.
    fn link(&self, from: &Key, to: &Key) -> Result<(), StoreError>;

    /// Makes a second file with the content of another, inside the store where it can (a server's own copy, a shared
    /// extent). [`StoreError::AlreadyThere`] if anything has the name. `copied` hears how many bytes were copied now and
    /// then. Durable when it returns; whether it is equal the caller finds by reading it.
    fn copy(&self, from: &Key, to: &Key, copied: &mut dyn FnMut(ByteCount)) -> Result<(), StoreError>;

    /// Moves a single file aside, never over another.
    fn rename(&self, from: &Key, to: &Key) -> Result<(), StoreError>;

    /// Sets the `modified` of a file or a folder to the store's own now. For leases, and so that a client that
    /// remembers what lay in a folder asks its server anew.
    fn touch(&self, key: &Key) -> Result<(), StoreError>;

    /// The store's own clock, as it stamps files at this moment.
    fn now(&self) -> Result<Timestamp, StoreError>;

    /// Removes a file. Success if nothing has that name.
    fn remove(&self, file: &Key) -> Result<(), StoreError>;

    /// Removes a folder and all in it. Success if nothing has that name; what others still hold open
    /// (`.nfs…`) may stay behind until they close it.
    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError>;

    /// Room for more, for this process's user. A hint: quotas and other writers may still refuse.
    fn room(&self) -> Result<Room, StoreError>;
}

/// A file being written. The first error poisons it: every later call returns an error, and so does `finish`.
///
/// What was written becomes durable and is known to be whole only by [`StoreWriter::finish`]. A writer that is
/// dropped without it leaves a partial file behind, for whoever cleans the folder.
pub trait StoreWriter: Send {
    /// Appends all of these, one behind the other, in as few calls as the store allows. Flushes every so often, so
    /// that an error is told early and the deadline on progress sees movement.
    fn write(&mut self, pieces: &[&[u8]]) -> Result<(), StoreError>;

    /// Bytes appended so far.
    fn written(&self) -> u64;

    /// Flushes, compares the length that the store tells with what was written, closes. Consumes the writer.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// An open file. May be read by several threads at once.
pub trait StoreReader: Send + Sync {
    /// The file's length when it was opened.
    fn len(&self) -> u64;

    /// Whether it is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Device and inode, where the store tells one file from another: names that are links share it. None where it
    /// does not.
    fn file_id(&self) -> Option<((u32, u32), u64)> {
        None
    }

    /// Fills all of these from `offset`, one behind the other, in as few calls as the store allows.
    /// [`StoreError::Short`] if the file ends before.
    fn read_pieces_at(&self, offset: u64, into: &mut [IoSliceMut<'_>]) -> Result<(), StoreError>;

    /// Fills all of `into` from `offset`.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), StoreError> {
        self.read_pieces_at(offset, &mut [IoSliceMut::new(into)])
    }
}

/// Creates a small file whole, or leaves nothing: what was created and could not be written is removed again.
///
/// # Errors
/// The first that was met; [`StoreError::AlreadyThere`] if the name is taken.
pub fn create_whole(store: &dyn Store, file: &Key, bytes: &[u8]) -> Result<(), StoreError> {
    let mut writer = store.create(file)?;
    let written = writer.write(&[bytes]).and_then(|()| writer.finish());
    if written.is_err() {
        // the error that is told is the first
        let _ = store.remove(file);
    }
    written
}

/// What a listing says of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The last component.
    pub name: String,
    /// What it is.
    pub kind: ListedKind,
    /// Length in bytes; 0 for folders.
    pub size: ByteCount,
    /// When it was last changed, by the store's clock.
    pub modified: Timestamp,
    /// How many names the file has.
    pub links: u64,
}

/// Files and folders are ours; anything else is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a device, a socket: nothing of ours.
    Other,
}

/// Room in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this user may still write.
    pub free: ByteCount,
    /// The size of the whole.
    pub total: ByteCount,
}
