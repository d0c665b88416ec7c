//! Where everything is made: a folder and all beneath it, through handles.
//!
//! The danger here is a folder that becomes a link while we write, and a file seen before it is whole. Every folder is
//! made or opened by one name relative to its parent's handle and never through a link. In a folder that was there,
//! files are made under a name of their own, with nobody else's permission, and moved into place when they are whole
//! and dressed. A folder that this restore makes is closed to everybody else until it is done; there a file whose
//! content is already known to be right is made under its own name, which spares two turns at the folder's lock. Its
//! time is set last: a file that has its time is whole. A folder gets its mode and time when the last entry in it is
//! done, which is when its last holder lets go.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::decide::There;
use super::report::LossCause;
use super::work::Tally;
use crate::domain::{EntryPath, FileTime, Kind, Xattrs};
use crate::source::OpenFile;

/// Begins the name of what is not whole yet.
pub(super) const TEMP_PREFIX: &[u8] = b".backup-restore-";

/// Ours alone, until it is dressed.
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const PRIVATE_FOLDER: Mode = Mode::RWXU;

/// A folder that entries are restored into.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    parent: Option<Arc<Self>>,
    path: EntryPath,
    is_new: bool,
    last: Mutex<Option<Metadata>>,
}

/// What an entry is dressed with.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) mode: u32,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mtime: FileTime,
    pub(super) xattrs: Xattrs,
}

/// What may be set at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permit {
    /// setuid and setgid of files, capabilities and other attributes of the system, devices.
    pub(super) privileged: bool,
}

/// What cannot be done to an entry without losing the entry.
#[derive(Debug)]
pub(super) enum Shortfall {
    /// This user may not give files away.
    Owner,
    /// The kernel takes the bit away, and says that all is well, from whoever is not of the entry's group and may not
    /// set it for others (`chmod(2)`).
    SetGid,
    /// This file system (or this user) does not take such attributes.
    Attribute(String),
    /// Restored only when asked.
    NotAsked(&'static str),
}

const SET_GID: u32 = 0o2000;

static TEMP_NUMBER: AtomicU64 = AtomicU64::new(0);

const CREATE_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

const OPEN_FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

impl Folder {
    /// The folder that `path` leads to, through whatever links stand in `path`: who named it meant it. Made, with its
    /// parents, if it is not there.
    pub(super) fn root(path: &Path, make: bool) -> io::Result<Option<Arc<Self>>> {
        let flags = OPEN_FOLDER.difference(OFlags::NOFOLLOW);
        let mut is_new = false;
        let fd = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) if make => {
                is_new = true;
                make_with_parents(path)?;
                rustix::fs::open(path, flags, Mode::empty())?
            }
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        if is_new {
            forget_acls(&fd);
        }
        let (parent, path) = (None, EntryPath::root());
        Ok(Some(Arc::new(Self { fd, parent, path, is_new, last: Mutex::default() })))
    }

    /// Nothing was in it before this restore.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The folder `name` in this one: made if it is not there and `make` says so.
    pub(super) fn enter(self: &Arc<Self>, name: &[u8], make: bool) -> io::Result<Option<Arc<Self>>> {
        let made = match make.then(|| rustix::fs::mkdirat(&self.fd, name, PRIVATE_FOLDER)) {
            Some(Ok(())) => true,
            Some(Err(Errno::EXIST)) | None => false,
            Some(Err(errno)) => return Err(errno.into()),
        };
        let fd = match rustix::fs::openat(&self.fd, name, OPEN_FOLDER, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) if !make => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if made {
            forget_acls(&fd);
        }
        let last = if made || !make { None } else { open_up(&fd)? };
        let (parent, path) = (Some(Arc::clone(self)), self.path.join(name));
        Ok(Some(Arc::new(Self { fd, parent, path, is_new: made, last: Mutex::new(last) })))
    }

    /// What has this name.
    pub(super) fn there(&self, name: &[u8]) -> io::Result<Option<There>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
            Ok(stat) => Ok(Some(There {
                target: match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Symlink => Some(rustix::fs::readlinkat(&self.fd, name, Vec::new())?.into_bytes().into()),
                    _ => None,
                },
                kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
                size: stat.st_size.unsigned_abs(),
                mtime: FileTime { sec: stat.st_mtime, nsec: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) },
                inode: (stat.st_dev, stat.st_ino),
                mode: stat.st_mode & 0o7777,
                owner: (stat.st_uid, stat.st_gid),
                links: stat.st_nlink,
            })),
        }
    }

    /// The file system it lies on.
    pub(super) fn device(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.fd)?.st_dev)
    }

    /// Names in it, in no order.
    pub(super) fn names(&self) -> io::Result<Vec<Box<[u8]>>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.into());
            }
        }
        Ok(names)
    }

    /// Dresses a file that is there, but for its attributes, if it still is that file.
    pub(super) fn redress(
        &self,
        there: &There,
        path: &EntryPath,
        metadata: &Metadata,
        permit: Permit,
        tally: &Tally,
    ) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, path.name(), flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        if (stat.st_dev, stat.st_ino) != there.inode {
            return Err(io::Error::other("it was replaced meanwhile"));
        }
        dress(&fd, path, &Metadata { xattrs: Xattrs::default(), ..metadata.clone() }, None, false, permit, tally)
    }

    /// Opens a file that is there for reading, if it still is that file.
    pub(super) fn open_there(&self, there: &There, name: &[u8]) -> io::Result<OpenFile> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        if (stat.st_dev, stat.st_ino) != there.inode {
            return Err(io::Error::other("it was replaced meanwhile"));
        }
        OpenFile::from_handle(fd).map_err(io::Error::other)
    }

    /// The time that a file here has when it was given this one: file systems round, and cut what they cannot hold.
    pub(super) fn time_as_kept(self: &Arc<Self>, mtime: FileTime) -> io::Result<FileTime> {
        let probe = self.create()?;
        rustix::fs::futimens(probe.fd.as_ref().expect("it is a file"), &times(mtime))?;
        probe.there()?.map(|there| there.mtime).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Removes what an interrupted restore left half-made here.
    pub(super) fn sweep(&self) -> io::Result<()> {
        for name in self.names()?.iter().filter(|name| name.starts_with(TEMP_PREFIX)) {
            match rustix::fs::unlinkat(&self.fd, &**name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR | Errno::PERM) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// A new file under a name that is not its own yet.
    pub(super) fn create(self: &Arc<Self>) -> io::Result<Unplaced> {
        loop {
            let name = temp_name();
            match rustix::fs::openat(&self.fd, &*name, CREATE_FILE, PRIVATE_FILE) {
                Ok(fd) => return Ok(Unplaced::new(self, name, Some(fd))),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// A new file for content that is known to be right, which is then written in one go. In a folder that this
    /// restore made, which nobody else may enter before it is done, it has its own name from the start, if `may_be_cut`:
    /// should this process die, the next finds it cut under its own name, and has to be one that replaces it.
    pub(super) fn create_known(
        self: &Arc<Self>,
        name: &[u8],
        metadata: &Metadata,
        may_be_cut: bool,
    ) -> io::Result<Unplaced> {
        if !self.is_new || !may_be_cut {
            return self.create();
        }
        // what sets ids is set last
        let mode = if metadata.mode & !0o777 == 0 { Mode::from_raw_mode(metadata.mode) } else { PRIVATE_FILE };
        let fd = rustix::fs::openat(&self.fd, name, CREATE_FILE, mode)?;
        // not what was asked for: a setgid folder or an ACL above changes it
        let stat = rustix::fs::fstat(&fd)?;
        let has = (stat.st_mode & 0o7777, (stat.st_uid, stat.st_gid));
        let mut made = Unplaced::new(self, name.into(), Some(fd));
        (made.has, made.is_own) = (Some(has), true);
        Ok(made)
    }

    /// Something else than a file or folder, under a name that is not its own yet.
    pub(super) fn create_other(
        self: &Arc<Self>,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<(), Errno>,
    ) -> io::Result<Unplaced> {
        use std::os::fd::AsFd;
        loop {
            let name = temp_name();
            match make(self.fd.as_fd(), &name) {
                Ok(()) => return Ok(Unplaced::new(self, name, None)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// A further name, not its own yet, of the file `name` in `other`.
    pub(super) fn link_to(self: &Arc<Self>, other: &Self, name: &[u8]) -> io::Result<Unplaced> {
        self.create_other(|to, temp| rustix::fs::linkat(&other.fd, name, to, temp, AtFlags::empty()))
    }

    /// Removes what is no folder.
    pub(super) fn unlink(&self, name: &[u8]) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes a file or link; a folder with everything in it.
    pub(super) fn remove(self: &Arc<Self>, name: &[u8]) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        // not by recursion: a tree may be made deeper than the stack
        let Some(top) = self.enter_to_empty(name)? else { return Ok(()) };
        let device = self.device()?;
        if top.device()? != device {
            return Err(io::Error::other("another file system is mounted there"));
        }
        let mut stack = vec![(top, name.to_vec())];
        while let Some((folder, own_name)) = stack.last() {
            let mut inner = None;
            for name in folder.names()? {
                match rustix::fs::unlinkat(&folder.fd, &*name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::ISDIR | Errno::PERM) => {
                        if let Some(below) = folder.enter_to_empty(&name)? {
                            if below.device()? != device {
                                return Err(io::Error::other("another file system is mounted below it"));
                            }
                            inner = Some((below, name.to_vec()));
                            break;
                        }
                    }
                    Err(errno) => return Err(errno.into()),
                }
            }
            if let Some(inner) = inner {
                stack.push(inner);
                continue;
            }
            let above = folder.parent.as_ref().expect("it was entered from one");
            rustix::fs::unlinkat(&above.fd, &**own_name, AtFlags::REMOVEDIR)?;
            stack.pop();
        }
        Ok(())
    }

    /// The folder `name` in this one, made one that can be emptied if it is ours: a snapshot may hold folders that even
    /// their owner may not write in.
    fn enter_to_empty(self: &Arc<Self>, name: &[u8]) -> io::Result<Option<Arc<Self>>> {
        let mut entered = self.enter(name, false);
        if matches!(&entered, Err(error) if error.kind() == io::ErrorKind::PermissionDenied) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
            // refused if it is somebody else's
            rustix::fs::chmod(&*format!("/proc/self/fd/{}", found.as_raw_fd()), PRIVATE_FOLDER)?;
            entered = self.enter(name, false);
        }
        let entered = entered?;
        if let Some(folder) = &entered {
            open_up(&folder.fd)?;
        }
        Ok(entered)
    }

    /// What the folder is dressed with when everything in it is done.
    pub(super) fn dress_last(&self, metadata: Metadata) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(metadata);
    }

    /// Adds attributes to what the folder is dressed with.
    pub(super) fn dress_with(&self, xattrs: Xattrs) {
        if let Some(last) = &mut *self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            last.xattrs = xattrs;
        }
    }

    /// Dresses it now.
    pub(super) fn dress_now(
        &self,
        path: &EntryPath,
        metadata: &Metadata,
        permit: Permit,
        tally: &Tally,
    ) -> io::Result<()> {
        dress(&self.fd, path, metadata, None, true, permit, tally)
    }

    /// Gives a folder that nothing was said of the mode that folders usually get.
    pub(super) fn open_up_as_usual(&self) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(0o777 & !*UMASK))?)
    }

    /// Makes it one that can be written in; gives the mode that it had, if it had to be changed.
    pub(super) fn open_for_names(&self) -> io::Result<Option<u32>> {
        Ok(open_up(&self.fd)?.map(|metadata| metadata.mode))
    }

    /// Gives it a mode.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode))?)
    }

    /// Sets its time and nothing else.
    pub(super) fn set_mtime(&self, mtime: FileTime) -> io::Result<()> {
        Ok(rustix::fs::futimens(&self.fd, &times(mtime))?)
    }

    /// Lets go of it; the last who does dresses it, and lets go of its parent.
    pub(super) fn leave(self: Arc<Self>, permit: Permit, tally: &Tally) {
        let mut next = Some(self);
        while let Some(folder) = next.and_then(Arc::into_inner) {
            let Self { fd, parent, path, last, .. } = folder;
            if let Some(metadata) = last.into_inner().unwrap_or_else(PoisonError::into_inner)
                && let Err(error) = dress(&fd, &path, &metadata, None, true, permit, tally)
            {
                tally.lose(&path, LossCause::Unwritten, error.to_string());
            }
            next = parent;
        }
    }

    /// Bytes that may still be written where it lies.
    pub(super) fn free(&self) -> io::Result<u64> {
        let fs = rustix::fs::fstatvfs(&self.fd)?;
        Ok(fs.f_bavail.saturating_mul(fs.f_frsize))
    }

    /// A handle that outlives it, by which all that was written to its file system can be made durable.
    pub(super) fn flusher(&self) -> io::Result<Flusher> {
        Ok(Flusher(self.fd.try_clone()?))
    }

    /// Writes a small file of ours in it.
    pub(super) fn put_small(self: &Arc<Self>, name: &[u8], bytes: &[u8]) -> io::Result<()> {
        let file = self.create()?;
        file.write_at(0, bytes)?;
        file.place(name, true)
    }

    /// Reads a small file of ours in it, if it is there.
    pub(super) fn read_small(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let mut bytes = vec![0; 4096];
        let len = rustix::io::pread(&fd, &mut bytes[..], 0)?;
        bytes.truncate(len);
        Ok(Some(bytes))
    }
}

/// A file system that was written to.
pub(super) struct Flusher(OwnedFd);

impl Flusher {
    /// Makes everything durable that was written to it.
    pub(super) fn flush(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }
}

/// Something that is made and has not got its name. Removed if it never gets one.
#[derive(Debug)]
pub(super) struct Unplaced {
    folder: Arc<Folder>,
    name: Box<[u8]>,
    fd: Option<OwnedFd>,
    /// Mode and owner that it is known to have.
    has: Option<(u32, (u32, u32))>,
    /// Its name is its own already.
    is_own: bool,
    placed: AtomicBool,
}

impl Unplaced {
    fn new(folder: &Arc<Folder>, name: Box<[u8]>, fd: Option<OwnedFd>) -> Self {
        let placed = AtomicBool::new(false);
        Self { folder: Arc::clone(folder), name, fd, has: None, is_own: false, placed }
    }

    /// What it is now.
    pub(super) fn there(&self) -> io::Result<Option<There>> {
        self.folder.there(&self.name)
    }

    /// Writes all of `bytes` at `offset` of a file.
    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_at(self.fd.as_ref().expect("it is a file"), offset, bytes)
    }

    /// Sets a file's length: what was not written is a hole.
    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(self.fd.as_ref().expect("it is a file"), len)?)
    }

    /// Mode, owner, attributes, time.
    pub(super) fn dress(&self, path: &EntryPath, metadata: &Metadata, permit: Permit, tally: &Tally) -> io::Result<()> {
        match &self.fd {
            Some(fd) => dress(fd, path, metadata, self.has, false, permit, tally),
            None => self.dress_by_name(path, metadata, permit, tally),
        }
    }

    /// For what cannot be opened: links, FIFOs, devices. The name is one that nobody else knows.
    fn dress_by_name(&self, path: &EntryPath, metadata: &Metadata, permit: Permit, tally: &Tally) -> io::Result<()> {
        let (fd, name) = (&self.folder.fd, &*self.name);
        let kind = self.folder.there(name)?.map(|there| there.kind);
        if let Some((uid, gid)) = metadata.owner.map(ids) {
            owner_is_set(rustix::fs::chownat(fd, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW), path, tally)?;
        }
        if kind != Some(Kind::Symlink) {
            // by a handle: whoever may write here could have put a link in its place
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(fd, name, flags, Mode::empty())?;
            if Some(kind_of(FileType::from_raw_mode(rustix::fs::fstat(&made)?.st_mode))) != kind
                || kind == Some(Kind::File)
            {
                return Err(io::Error::other("it was replaced meanwhile"));
            }
            let by_handle = format!("/proc/self/fd/{}", made.as_raw_fd());
            rustix::fs::chmod(&*by_handle, Mode::from_raw_mode(metadata.mode & 0o777))?;
        }
        let mut full = format!("/proc/self/fd/{}/", fd.as_raw_fd()).into_bytes();
        full.extend_from_slice(name);
        let set = |name: &[u8], value: &[u8]| rustix::fs::lsetxattr(&*full, name, value, XattrFlags::empty());
        set_xattrs(&metadata.xattrs, path, permit, tally, || has_room(fd), set)?;
        Ok(rustix::fs::utimensat(fd, name, &times(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives it its name. If `replace` is not said, what has that name meanwhile stays, and this is an error.
    pub(super) fn place(&self, name: &[u8], replace: bool) -> io::Result<()> {
        let fd = &self.folder.fd;
        if self.is_own {
            // nothing else can have it: it was made exclusively
        } else if replace {
            // two names of one file: renaming one onto the other does nothing, and both stay
            rustix::fs::renameat(fd, &*self.name, fd, name)?;
            let _ = rustix::fs::unlinkat(fd, &*self.name, AtFlags::empty());
        } else {
            match rustix::fs::renameat_with(fd, &*self.name, fd, name, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    rustix::fs::linkat(fd, &*self.name, fd, name, AtFlags::empty())?;
                    rustix::fs::unlinkat(fd, &*self.name, AtFlags::empty())?;
                }
                other => other?,
            }
        }
        self.placed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Unplaced {
    fn drop(&mut self) {
        if !self.placed.load(Ordering::Relaxed) {
            let _ = rustix::fs::unlinkat(&self.folder.fd, &*self.name, AtFlags::empty());
        }
    }
}

fn write_at(fd: &OwnedFd, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(fd, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => {
                bytes = &bytes[len..];
                offset += len as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Takes away the ACLs that a new folder inherits, so that what is made in it inherits none.
fn forget_acls(fd: &OwnedFd) {
    // where there are none, or no such thing, all is well
    let _ = rustix::fs::fremovexattr(fd, c"system.posix_acl_default");
    let _ = rustix::fs::fremovexattr(fd, c"system.posix_acl_access");
}

/// Makes a folder that was there, and is ours, one that can be written in; gives how it was.
fn open_up(fd: &OwnedFd) -> io::Result<Option<Metadata>> {
    let stat = rustix::fs::fstat(fd)?;
    if stat.st_mode & 0o300 == 0o300 || stat.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(None);
    }
    let mode = stat.st_mode & 0o7777;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode | 0o700))?;
    let mtime = FileTime { sec: stat.st_mtime, nsec: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) };
    Ok(Some(Metadata { mode, owner: None, mtime, xattrs: Xattrs::default() }))
}

fn temp_name() -> Box<[u8]> {
    static OWN: LazyLock<String> = LazyLock::new(|| {
        String::from_utf8_lossy(TEMP_PREFIX).into_owned() + &rustix::process::getpid().as_raw_nonzero().to_string()
    });
    let number = TEMP_NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}", *OWN).into_bytes().into()
}

/// Which bits the kernel takes away from what this process makes.
static UMASK: LazyLock<u32> = LazyLock::new(|| {
    // there is no way to ask for it but to set it
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    umask.as_raw_mode()
});

fn make_with_parents(path: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(path, PRIVATE_FOLDER) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty());
            make_with_parents(above.ok_or(io::ErrorKind::NotFound)?)?;
            Ok(rustix::fs::mkdir(path, PRIVATE_FOLDER)?)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn kind_of(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Socket | FileType::Unknown => Kind::Socket,
    }
}

fn times(mtime: FileTime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.sec, tv_nsec: mtime.nsec.into() },
    }
}

/// As the kernel takes them.
fn ids((uid, gid): (u32, u32)) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

fn owner_is_set(done: Result<(), Errno>, path: &EntryPath, tally: &Tally) -> io::Result<()> {
    match done {
        // a squashed root, or a number that the user namespace does not have
        Err(Errno::PERM | Errno::INVAL) => {
            tally.fall_short(path, Shortfall::Owner);
            Ok(())
        }
        other => Ok(other?),
    }
}

/// In this order: giving a file away clears setuid and capabilities.
fn dress(
    fd: &OwnedFd,
    path: &EntryPath,
    metadata: &Metadata,
    has: Option<(u32, (u32, u32))>,
    is_folder: bool,
    permit: Permit,
    tally: &Tally,
) -> io::Result<()> {
    if has.is_none() && !is_folder {
        // inherited from the folder it was made in; the snapshot's own is set below
        let _ = rustix::fs::fremovexattr(fd, c"system.posix_acl_access");
    }
    if let Some((uid, gid)) = metadata.owner.filter(|owner| has.is_none_or(|(_, has)| has != *owner)).map(ids) {
        owner_is_set(rustix::fs::fchown(fd, uid, gid), path, tally)?;
    }
    let allowed = if is_folder || permit.privileged { 0o7777 } else { 0o1777 };
    if metadata.mode & !allowed != 0 {
        tally.fall_short(path, Shortfall::NotAsked("setuid and setgid bits"));
    }
    if has.is_none_or(|(has, _)| has != metadata.mode & allowed) {
        rustix::fs::fchmod(fd, Mode::from_raw_mode(metadata.mode & allowed))?;
        if metadata.mode & allowed & SET_GID != 0 && rustix::fs::fstat(fd)?.st_mode & SET_GID == 0 {
            tally.fall_short(path, Shortfall::SetGid);
        }
    }
    let set = |name: &[u8], value: &[u8]| rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty());
    set_xattrs(&metadata.xattrs, path, permit, tally, || has_room(fd), set)?;
    Ok(rustix::fs::futimens(fd, &times(metadata.mtime))?)
}

/// Whether a file system has room for some attributes more.
fn has_room(fd: &OwnedFd) -> bool {
    rustix::fs::fstatvfs(fd).is_ok_and(|fs| fs.f_bavail > 64 && (fs.f_files == 0 || fs.f_favail > 64))
}

fn set_xattrs(
    xattrs: &Xattrs,
    path: &EntryPath,
    permit: Permit,
    tally: &Tally,
    has_room: impl Fn() -> bool,
    set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>,
) -> io::Result<()> {
    for xattr in xattrs.iter() {
        let free = xattr.name.starts_with(b"user.") || xattr.name.starts_with(b"system.posix_acl_");
        if !free && !permit.privileged {
            tally.fall_short(path, Shortfall::NotAsked("capabilities and other attributes of the system"));
            continue;
        }
        match set(&xattr.name, &xattr.value) {
            Ok(()) => {}
            // these would be said of any write
            Err(errno @ (Errno::IO | Errno::ROFS | Errno::STALE | Errno::DQUOT)) => return Err(errno.into()),
            // ext4 says so too of an attribute that is longer than a block
            Err(Errno::NOSPC) if !has_room() => return Err(Errno::NOSPC.into()),
            // each file system has its own words for what it does not take
            Err(_) => {
                let space = xattr.name.split(|b| *b == b'.').next().unwrap_or_default();
                tally.fall_short(path, Shortfall::Attribute(space.escape_ascii().to_string()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::{Folder, Metadata, Permit, TEMP_PREFIX, Tally, set_xattrs};
    use crate::domain::{EntryPath, FileTime, Xattr, Xattrs};

    #[test]
    fn what_would_be_kept_as_it_is_found_has_its_name_only_when_it_is_whole() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::root(&place.path().join("new"), true).expect("made").expect("there");
        let metadata = Metadata { mode: 0o644, owner: None, mtime: FileTime::default(), xattrs: Xattrs::default() };
        for may_be_cut in [true, false] {
            let file = folder.create_known(b"a", &metadata, may_be_cut).expect("made");
            let names = folder.names().expect("listed");
            assert_eq!((&*names[0] == b"a", names[0].starts_with(TEMP_PREFIX)), (may_be_cut, !may_be_cut));
            file.place(b"a", false).expect("placed");
            assert_eq!(folder.names().expect("listed"), [(*b"a").into()]);
            folder.unlink(b"a").expect("removed");
        }
    }

    /// ext4 says ENOSPC of an attribute that is longer than a block: that ended the restore, each time it was tried.
    #[test]
    fn an_attribute_that_is_not_taken_costs_itself_and_only_what_any_write_would_hear_costs_more() {
        let xattr = Xattr { name: b"user.long".as_slice().into(), value: vec![1; 5000].into() };
        let (xattrs, permit) = (Xattrs::new(vec![xattr]), Permit { privileged: false });
        let set = |errno, room: bool| {
            let tally = Tally::default();
            let done = set_xattrs(&xattrs, &EntryPath::root(), permit, &tally, || room, |_, _| Err(errno));
            (done.is_ok(), tally.lock().notes().len())
        };
        for errno in [Errno::NOSPC, Errno::TOOBIG, Errno::RANGE, Errno::OPNOTSUPP, Errno::PERM] {
            assert_eq!(set(errno, true), (true, 1), "{errno}");
        }
        for errno in [Errno::IO, Errno::ROFS, Errno::STALE, Errno::DQUOT] {
            assert_eq!(set(errno, true), (false, 0), "{errno}");
        }
        assert_eq!(set(Errno::NOSPC, false), (false, 0), "a full disk: the file is written again when there is room");
    }
}
