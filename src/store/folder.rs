//! The store in a folder, local or mounted.
//!
//! The dangers, each measured on real NFS: a write error is told once and then `fsync` and `close` say success, so
//! the first error poisons a file; an unmounted share leaves its mount point behind, so every name is relative to one
//! handle held from the guard to the commit; `close` itself may tell a quota, so its answer is heard; the page cache
//! answers in the server's place, so it is dropped before anything is read back.
//!
//! It does not retry, and knows no snapshots.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use rustix::fs::{
    Advice, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, StatxFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::key::Key;
use super::marker::{MARKER_BYTES_MAX, MARKER_NAME, Marker};
use super::mount::{MountTable, RequireMount, fstab_mount_points};
use super::{Listed, ListedKind, Room, Store, StoreReader, StoreWriter, create_whole};
use crate::domain::{ByteCount, StoreId};

/// So much is copied between two signs of life.
const COPY_BYTES: u64 = 64 << 20;

/// So much is written before it is flushed: errors are told early, the deadline on progress sees movement, and the
/// last flush is short, also on a line of a megabit a second.
const FLUSH_EVERY_BYTES: u64 = 32 << 20;

/// So many pieces the kernel takes in one call (IOV_MAX, writev(2)).
const PIECES_MAX: usize = 1024;

/// Our folders are three deep; what is deeper is not ours.
const REMOVE_DEPTH_MAX: usize = 16;

/// How often, and after how long a wait, a folder is removed again in which something was still being closed.
const REMOVE_TRIES: usize = 20;
const REMOVE_WAIT: std::time::Duration = std::time::Duration::from_millis(100);

/// A busy NFS client keeps what it still holds open under such names.
const SILLY_PREFIX: &[u8] = b".nfs";

/// Permissions of what is created in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Of files; 0600 unless configured.
    pub file_mode: u32,
    /// Of folders; 0700 unless configured.
    pub dir_mode: u32,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { file_mode: 0o600, dir_mode: 0o700 }
    }
}

/// An open store, and what is worth knowing of it.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: FolderStore,
    /// For example that the mount is soft.
    pub notices: Vec<String>,
}

/// A store in a folder. Holds one handle of it for its whole life.
#[derive(Debug)]
pub struct FolderStore {
    path: PathBuf,
    top: OwnedFd,
    id: StoreId,
    permissions: Permissions,
    probes: AtomicU64,
}

impl FolderStore {
    /// Opens the store at `path` behind its guard: it must exist, be mounted as required, and carry its marker;
    /// `expected` is the id it had when it was last seen.
    ///
    /// # Errors
    /// One that says which of these is not so. Nothing is written.
    pub fn open(
        path: &Path,
        require: &RequireMount,
        permissions: Permissions,
        expected: Option<&StoreId>,
    ) -> Result<Opened, StoreError> {
        let (top, notices) = guard(path, require)?;
        let marker = read_marker(top.as_fd(), path)?;
        if let Some(expected) = expected
            && *expected != marker.id
        {
            return Err(StoreError::WrongStore {
                path: path.to_owned(),
                found: marker.id.to_string(),
                expected: expected.to_string(),
            });
        }
        let store = Self { path: path.to_owned(), top, id: marker.id, permissions, probes: AtomicU64::new(0) };
        Ok(Opened { store, notices })
    }

    /// Makes the folder at `path` a store: the same guard, then the marker, durable. With `create` the folder itself
    /// is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::AlreadyThere`] if it is one already.
    pub fn init(
        path: &Path,
        require: &RequireMount,
        permissions: Permissions,
        id: StoreId,
        created: Timestamp,
        tool: &str,
        create: bool,
    ) -> Result<(), StoreError> {
        refuse_unmounted_fstab(path)?;
        let existing = path.ancestors().find_map(|ancestor| std::fs::canonicalize(ancestor).ok());
        existing.map_or(Ok(()), |real| refuse_unmounted_fstab(&real))?;
        if create && *require == RequireMount::No {
            use std::os::unix::fs::DirBuilderExt;
            let made = std::fs::DirBuilder::new().recursive(true).mode(permissions.dir_mode).create(path);
            made.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::EXIST | Errno::NOTDIR) => StoreError::NotAFolder { path: path.to_owned() },
                _ => StoreError::from_io("creating", path.display().to_string(), error),
            })?;
        }
        let (top, _) = guard(path, require)?;
        let store = Self { path: path.to_owned(), top, id: id.clone(), permissions, probes: AtomicU64::new(0) };
        let key = Key::top().join(MARKER_NAME).expect("the marker's name is a key");
        create_whole(&store, &key, Marker::new(id, created, tool).encode().as_bytes())?;
        store.sync_folder(&Key::top())
    }

    fn place(&self, key: &Key) -> String {
        match key.as_str() {
            "" => self.path.display().to_string(),
            text => self.path.join(text).display().to_string(),
        }
    }

    fn fail(&self, deed: &'static str, key: &Key) -> impl Fn(Errno) -> StoreError + use<> {
        let place = self.place(key);
        move |errno| StoreError::from_io(deed, place.clone(), errno.into())
    }

    /// A folder's own handle, reached step by step and never through a link.
    fn folder(&self, key: &Key) -> Result<OwnedFd, StoreError> {
        let fail = self.fail("opening", key);
        let mut at = open_folder(self.top.as_fd(), ".").map_err(&fail)?;
        for part in key.components() {
            at = open_folder(at.as_fd(), part).map_err(&fail)?;
        }
        Ok(at)
    }

    fn parent(&self, key: &Key) -> Result<OwnedFd, StoreError> {
        self.folder(&key.parent().unwrap_or_else(Key::top))
    }

    fn create_file(&self, folder: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(self.permissions.file_mode);
        let fd = rustix::fs::openat(folder, name, flags, mode)?;
        // the umask took its part
        rustix::fs::fchmod(&fd, mode)?;
        Ok(fd)
    }

    /// Moves without ever replacing. NFS does not know how to refuse, so there the name is looked at first: a race
    /// is left only with a program that makes our names, and over anything that holds files even that fails.
    fn move_to(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        let (from_folder, to_folder) = (self.parent(from)?, self.parent(to)?);
        let moved = rustix::fs::renameat_with(&from_folder, from.name(), &to_folder, to.name(), RenameFlags::NOREPLACE);
        match moved {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if self.stat(to)?.is_some() {
                    return Err(StoreError::AlreadyThere { place: self.place(to) });
                }
                rustix::fs::renameat(&from_folder, from.name(), &to_folder, to.name())
            }
            other => other,
        }
        .map_err(|errno| match errno {
            Errno::EXIST | Errno::NOTEMPTY => StoreError::AlreadyThere { place: self.place(to) },
            other => self.fail("renaming", from)(other),
        })
    }

    fn remove_in(
        &self,
        folder: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        key: &Key,
        depth: usize,
    ) -> Result<(), StoreError> {
        let fail = self.fail("removing", key);
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            // what the client itself holds open goes away when it is closed
            Err(Errno::BUSY) if name.to_bytes().starts_with(SILLY_PREFIX) => return Ok(()),
            Err(errno) => return Err(fail(errno)),
        }
        if depth == 0 {
            return Err(fail(Errno::LOOP));
        }
        let inner = match open_folder(folder, name) {
            Ok(inner) => inner,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(fail(errno)),
        };
        let mut left_open = false;
        for entry in Dir::read_from(&inner).map_err(&fail)? {
            let entry = entry.map_err(&fail)?;
            let inner_name = entry.file_name();
            if matches!(inner_name.to_bytes(), b"." | b"..") {
                continue;
            }
            left_open |= inner_name.to_bytes().starts_with(SILLY_PREFIX);
            self.remove_in(inner.as_fd(), inner_name, key, depth - 1)?;
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) if left_open => Ok(()),
            Err(errno) => Err(fail(errno)),
        }
    }
}

impl FolderStore {
    fn writer(&self, file: &Key) -> Result<FolderWriter, StoreError> {
        let parent = self.parent(file)?;
        let fd = self.create_file(parent.as_fd(), file.name()).map_err(self.fail("creating", file))?;
        Ok(FolderWriter { fd: Some(fd), place: self.place(file), written: 0, unflushed: 0 })
    }

    fn reader(&self, file: &Key) -> Result<FolderReader, StoreError> {
        let fail = self.fail("opening", file);
        let parent = self.parent(file)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent, file.name(), flags, Mode::empty()).map_err(&fail)?;
        let stat = rustix::fs::fstat(&fd).map_err(&fail)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(fail(Errno::INVAL));
        }
        // so that the store answers, and not this machine's memory; where it cannot be done there is none
        let _ = rustix::fs::fadvise(&fd, 0, None, Advice::DontNeed);
        let device = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        let id = (device, stat.st_ino);
        Ok(FolderReader { fd, place: self.place(file), len: stat.st_size as u64, id })
    }
}

impl Store for FolderStore {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn id(&self) -> &StoreId {
        &self.id
    }

    fn place(&self) -> Option<((u32, u32), u64)> {
        let found = rustix::fs::statx(&self.top, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).ok()?;
        Some(((found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
    }

    /// Only the marker, through the held handle, decides: after a lazy unmount the handle still leads to the right
    /// disk and the path does not, and when the server lost its disk the handle tells EBADF or ESTALE.
    fn check_identity(&self) -> Result<(), StoreError> {
        let marker = read_marker(self.top.as_fd(), &self.path)?;
        if marker.id == self.id {
            return Ok(());
        }
        Err(StoreError::WrongStore {
            path: self.path.clone(),
            found: marker.id.to_string(),
            expected: self.id.to_string(),
        })
    }

    fn create_folder(&self, folder: &Key) -> Result<(), StoreError> {
        let fail = self.fail("creating", folder);
        let parent = self.parent(folder)?;
        let mode = Mode::from_raw_mode(self.permissions.dir_mode);
        rustix::fs::mkdirat(&parent, folder.name(), mode).map_err(&fail)?;
        let made = open_folder(parent.as_fd(), folder.name()).map_err(&fail)?;
        rustix::fs::fchmod(&made, mode).map_err(&fail)
    }

    fn create(&self, file: &Key) -> Result<Box<dyn StoreWriter>, StoreError> {
        Ok(Box::new(self.writer(file)?))
    }

    fn open(&self, file: &Key) -> Result<Box<dyn StoreReader>, StoreError> {
        Ok(Box::new(self.reader(file)?))
    }

    fn list(&self, folder: &Key) -> Result<Vec<Listed>, StoreError> {
        let fail = self.fail("listing", folder);
        let handle = self.folder(folder)?;
        let mut found = Vec::new();
        for entry in Dir::read_from(&handle).map_err(&fail)? {
            let entry = entry.map_err(&fail)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || name.to_bytes().starts_with(SILLY_PREFIX) {
                continue;
            }
            match stat_at(handle.as_fd(), name) {
                Ok(listed) => found.push(listed),
                // it went while the folder was read
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(fail(errno)),
            }
        }
        Ok(found)
    }

    fn stat(&self, key: &Key) -> Result<Option<Listed>, StoreError> {
        let parent = match self.parent(key) {
            Ok(parent) => parent,
            Err(StoreError::NotThere { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let name = if key.as_str().is_empty() { "." } else { key.name() };
        let name = std::ffi::CString::new(name).expect("a key holds no NUL");
        match stat_at(parent.as_fd(), &name) {
            Ok(listed) => Ok(Some(listed)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.fail("looking at", key)(errno)),
        }
    }

    fn sync_folder(&self, folder: &Key) -> Result<(), StoreError> {
        let handle = self.folder(folder)?;
        match rustix::fs::fsync(&handle) {
            // file systems that cannot flush a folder say EINVAL (fsync(2)); there is nothing better to do there
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(self.fail("flushing", folder)(errno)),
        }
    }

    fn publish(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.move_to(from, to)
    }

    fn link(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        let (from_folder, to_folder) = (self.parent(from)?, self.parent(to)?);
        let linked = rustix::fs::linkat(&from_folder, from.name(), &to_folder, to.name(), AtFlags::empty());
        linked.map_err(|errno| match errno {
            Errno::EXIST => StoreError::AlreadyThere { place: self.place(to) },
            errno if refuses_link(errno) => StoreError::LinkRefused { place: self.place(from), source: errno.into() },
            other => self.fail("linking", from)(other),
        })
    }

    fn copy(&self, from: &Key, to: &Key, copied: &mut dyn FnMut(ByteCount)) -> Result<(), StoreError> {
        let reader = self.reader(from)?;
        let mut writer = self.writer(to)?;
        let mut inside = true;
        let mut buffer = Vec::new();
        while writer.written < reader.len {
            let wanted = (reader.len - writer.written).min(COPY_BYTES);
            let before = writer.written;
            if inside {
                match writer.copy_from(&reader, wanted) {
                    // EXDEV, EINVAL, ENOSYS, EOPNOTSUPP: not between these two, or not here (copy_file_range(2))
                    Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if before == 0 => inside = false,
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(writer.poison("copying", errno)),
                    Ok(0) => {
                        return Err(StoreError::Short { place: reader.place, len: before, wanted: reader.len });
                    }
                    Ok(_) => writer.flush_if_due()?,
                }
            } else {
                buffer.resize(wanted.min(1 << 20) as usize, 0);
                reader.read_at(before, &mut buffer)?;
                writer.write(&[&buffer])?;
            }
            copied(ByteCount(writer.written - before));
        }
        Box::new(writer).finish()
    }

    fn rename(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.move_to(from, to)
    }

    fn touch(&self, file: &Key) -> Result<(), StoreError> {
        let parent = self.parent(file)?;
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            // "now" is filled in by the server
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        };
        rustix::fs::utimensat(&parent, file.name(), &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.fail("touching", file))
    }

    fn now(&self) -> Result<Timestamp, StoreError> {
        let fail = self.fail("asking the time of", &Key::top());
        let number = self.probes.fetch_add(1, Ordering::Relaxed);
        let mut random = [0_u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).map_err(&fail)?;
        let name = format!(".probe-{number}-{:016x}", u64::from_le_bytes(random));
        let fd = self.create_file(self.top.as_fd(), &name).map_err(&fail)?;
        let stat = rustix::fs::fstat(&fd);
        drop(fd);
        rustix::fs::unlinkat(&self.top, name.as_str(), AtFlags::empty()).map_err(&fail)?;
        let stat = stat.map_err(&fail)?;
        Ok(timestamp(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)))
    }

    fn remove(&self, file: &Key) -> Result<(), StoreError> {
        let parent = match self.parent(file) {
            Ok(parent) => parent,
            Err(StoreError::NotThere { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        match rustix::fs::unlinkat(&parent, file.name(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.fail("removing", file)(errno)),
        }
    }

    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        let parent = match self.parent(folder) {
            Ok(parent) => parent,
            Err(StoreError::NotThere { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let name = std::ffi::CString::new(folder.name()).expect("a key holds no NUL");
        // an NFS client that is still closing a file keeps it under another name for a moment
        let (_keep, never) = crossbeam_channel::bounded::<()>(0);
        for _ in 1..REMOVE_TRIES {
            self.remove_in(parent.as_fd(), &name, folder, REMOVE_DEPTH_MAX).or_else(|error| match error {
                StoreError::AlreadyThere { .. } => Ok(()),
                other => Err(other),
            })?;
            match stat_at(parent.as_fd(), &name) {
                Err(Errno::NOENT) => return Ok(()),
                _ => never.recv_timeout(REMOVE_WAIT).unwrap_or_default(),
            }
        }
        self.remove_in(parent.as_fd(), &name, folder, REMOVE_DEPTH_MAX)
    }

    fn room(&self) -> Result<Room, StoreError> {
        let stat = rustix::fs::fstatvfs(&self.top).map_err(self.fail("asking the room of", &Key::top()))?;
        let bytes = |blocks: u64| ByteCount(blocks.saturating_mul(stat.f_frsize));
        Ok(Room { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }
}

struct FolderWriter {
    /// None once an error has poisoned the file, or it was closed.
    fd: Option<OwnedFd>,
    place: String,
    written: u64,
    unflushed: u64,
}

impl FolderWriter {
    fn poison(&mut self, deed: &'static str, errno: Errno) -> StoreError {
        self.fd = None;
        StoreError::from_io(deed, self.place.clone(), errno.into())
    }

    fn flush_if_due(&mut self) -> Result<(), StoreError> {
        if self.unflushed >= FLUSH_EVERY_BYTES {
            self.unflushed = 0;
            rustix::fs::fdatasync(self.fd()?).map_err(|errno| self.poison("flushing", errno))?;
        }
        Ok(())
    }

    /// Lets the kernel, or the server, append up to `wanted` bytes of another file. Gives how many it did.
    fn copy_from(&mut self, reader: &FolderReader, wanted: u64) -> Result<u64, Errno> {
        let Some(fd) = &self.fd else { return Err(Errno::BADF) };
        let mut from = self.written;
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let copied = rustix::fs::copy_file_range(&reader.fd, Some(&mut from), fd, None, wanted)? as u64;
        self.written += copied;
        self.unflushed += copied;
        Ok(copied)
    }

    fn fd(&self) -> Result<&OwnedFd, StoreError> {
        self.fd.as_ref().ok_or_else(|| StoreError::Poisoned { place: self.place.clone() })
    }
}

impl StoreWriter for FolderWriter {
    fn write(&mut self, pieces: &[&[u8]]) -> Result<(), StoreError> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = &mut slices[..];
        // none of them empty: a call that writes nothing would look like a store that takes nothing
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match rustix::io::writev(self.fd()?, &rest[..rest.len().min(PIECES_MAX)]) {
                Ok(0) => return Err(self.poison("writing", Errno::IO)),
                Ok(len) => {
                    IoSlice::advance_slices(&mut rest, len);
                    self.written += len as u64;
                    self.unflushed += len as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.poison("writing", errno)),
            }
        }
        self.flush_if_due()
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        rustix::fs::fsync(self.fd()?).map_err(|errno| self.poison("flushing", errno))?;
        let stat = rustix::fs::fstat(self.fd()?).map_err(|errno| self.poison("measuring", errno))?;
        let (found, written) = (stat.st_size as u64, self.written);
        let fd = self.fd.take().ok_or_else(|| StoreError::Poisoned { place: self.place.clone() })?;
        close(fd).map_err(|errno| StoreError::from_io("closing", self.place.clone(), errno.into()))?;
        if found != written {
            return Err(StoreError::WrongLength { place: self.place.clone(), found, written });
        }
        Ok(())
    }
}

struct FolderReader {
    fd: OwnedFd,
    place: String,
    len: u64,
    id: ((u32, u32), u64),
}

impl StoreReader for FolderReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn file_id(&self) -> Option<((u32, u32), u64)> {
        Some(self.id)
    }

    fn read_pieces_at(&self, offset: u64, into: &mut [IoSliceMut<'_>]) -> Result<(), StoreError> {
        let (mut rest, mut at) = (into, offset);
        // none of them empty: a call that reads nothing would look like the end of the file
        IoSliceMut::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let many = rest.len().min(PIECES_MAX);
            match rustix::io::preadv(&self.fd, &mut rest[..many], at) {
                Ok(0) => return Err(StoreError::Short { place: self.place.clone(), len: at, wanted: at }),
                Ok(len) => {
                    IoSliceMut::advance_slices(&mut rest, len);
                    at += len as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(StoreError::from_io("reading", self.place.clone(), errno.into())),
            }
        }
        Ok(())
    }
}

/// Refuses what is not there, not a folder, or not mounted as it must be, and opens the rest.
fn guard(path: &Path, require: &RequireMount) -> Result<(OwnedFd, Vec<String>), StoreError> {
    refuse_unmounted_fstab(path)?;
    let real =
        std::fs::canonicalize(path).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => StoreError::Missing { path: path.to_owned() },
            Some(Errno::NOTDIR) => StoreError::NotAFolder { path: path.to_owned() },
            _ => StoreError::from_io("opening", path.display().to_string(), error),
        })?;
    // a link may lead below a mount point that the path itself does not name
    refuse_unmounted_fstab(&real)?;
    let table = MountTable::parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default());
    let mut notices = Vec::new();
    match table.of(&real) {
        Some(mount) if !require.permits(mount) => return Err(not_mounted(path, mount.words(), require)),
        None if *require != RequireMount::No => return Err(not_mounted(path, "an unknown mount".into(), require)),
        Some(mount) if mount.is_soft() => notices.push(format!(
            "{} is a soft mount: when the server is slow it may lose writes; mount it `hard` (nfs(5))",
            mount.words()
        )),
        _ => {}
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(&real, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOTDIR => StoreError::NotAFolder { path: path.to_owned() },
        other => StoreError::from_io("opening", path.display().to_string(), other.into()),
    })?;
    Ok((top, notices))
}

fn not_mounted(path: &Path, found: String, require: &RequireMount) -> StoreError {
    StoreError::NotMounted { path: path.to_owned(), found, required: require.words().to_owned() }
}

/// A mount point of `/etc/fstab` where nothing is mounted is the folder *under* a share, never a store.
fn refuse_unmounted_fstab(path: &Path) -> Result<(), StoreError> {
    let fstab = std::fs::read("/etc/fstab").unwrap_or_default();
    let table = MountTable::parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default());
    unmounted_in(path, &fstab, &table)
}

fn unmounted_in(path: &Path, fstab: &[u8], table: &MountTable) -> Result<(), StoreError> {
    let points = fstab_mount_points(fstab);
    let deepest = points.into_iter().filter(|point| path.starts_with(point)).max_by_key(|p| p.components().count());
    match deepest {
        Some(mount_point) if !table.is_mount_point(&mount_point) => {
            Err(StoreError::FstabNotMounted { path: path.to_owned(), mount_point })
        }
        _ => Ok(()),
    }
}

fn read_marker(top: BorrowedFd<'_>, path: &Path) -> Result<Marker, StoreError> {
    let place = path.join(MARKER_NAME);
    let fail = |errno: Errno| StoreError::from_io("reading", place.display().to_string(), errno.into());
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(top, MARKER_NAME, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => {
            return Err(StoreError::NoMarker { path: path.to_owned(), marker: MARKER_NAME.to_owned() });
        }
        Err(errno) => return Err(fail(errno)),
    };
    let _ = rustix::fs::fadvise(&fd, 0, None, Advice::DontNeed);
    let mut bytes = Vec::new();
    let mut file = io::Read::take(std::fs::File::from(fd), MARKER_BYTES_MAX);
    io::Read::read_to_end(&mut file, &mut bytes)
        .map_err(|error| StoreError::from_io("reading", place.display().to_string(), error))?;
    Marker::parse(&bytes).map_err(|source| StoreError::BadMarker { path: place.clone(), source })
}

fn open_folder<P: rustix::path::Arg>(at: BorrowedFd<'_>, name: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn stat_at(folder: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<Listed, Errno> {
    let stat = rustix::fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
    let kind = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => ListedKind::File,
        FileType::Directory => ListedKind::Folder,
        _ => ListedKind::Other,
    };
    Ok(Listed {
        name: name.to_string_lossy().into_owned(),
        kind,
        size: ByteCount(if kind == ListedKind::File { stat.stx_size } else { 0 }),
        modified: timestamp(stat.stx_mtime.tv_sec, i64::from(stat.stx_mtime.tv_nsec)),
        links: stat.stx_nlink.into(),
    })
}

fn timestamp(sec: i64, nsec: i64) -> Timestamp {
    // a server may tell any time at all; one beyond the year 9999 is as good as the last second before
    let nsec = i32::try_from(nsec).unwrap_or(0);
    Timestamp::new(sec, nsec).unwrap_or(if sec < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Closes and hears the answer, which on NFS may be the only word of a full disk or quota (close(2)).
#[expect(unsafe_code, reason = "dropping a file ignores what close says")]
fn close(fd: OwnedFd) -> Result<(), Errno> {
    let raw = fd.into_raw_fd();
    // SAFETY: the descriptor was owned here and given up just now, so nobody else uses or closes it; on Linux it is
    // closed whatever the answer is.
    unsafe { rustix::io::try_close(raw) }
}

/// Whether this says that the file cannot have one more name, so that it is copied. EACCES is how some servers forbid it
/// for a file of somebody else; where it is the folder that may not be written, the copy says so.
fn refuses_link(errno: Errno) -> bool {
    /// ENOTSUPP, which is not EOPNOTSUPP: what Linux gives when an NFS server knows no hard links at all.
    const NOT_SUPPORTED_BY_SERVER: Errno = Errno::from_raw_os_error(524);
    matches!(errno, Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::MLINK | Errno::XDEV | Errno::NOSYS)
        || errno == NOT_SUPPORTED_BY_SERVER
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{MountTable, StoreError, unmounted_in};

    #[test]
    fn the_folder_under_a_share_that_is_not_mounted_is_refused() {
        let fstab = b"nas:/e /mnt/nas nfs hard 0 0\nnas:/f /mnt/nas/deep nfs hard 0 0\n";
        let mounted = |line: &str| MountTable::parse(format!("1 0 0:1 / {line} rw - nfs4 nas:/e rw\n").as_bytes());
        let refused = |path: &str, at: &str| {
            matches!(unmounted_in(Path::new(path), fstab, &mounted(at)), Err(StoreError::FstabNotMounted { .. }))
        };
        assert!(refused("/mnt/nas/store", "/"));
        assert!(!refused("/mnt/nas/store", "/mnt/nas"));
        assert!(refused("/mnt/nas/deep/store", "/mnt/nas"), "the deepest mount point counts");
        assert!(!refused("/mnt/nasty", "/"));
    }
}
