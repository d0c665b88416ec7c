//! Folder handles: how anything in a source is reached.
//!
//! The danger here is a folder that becomes a link between two system calls. A folder is opened relative to its
//! parent's handle, never through a link, and what was opened is compared, by device and inode, with what was listed.
//!
//! Handles are many and descriptors are few: a folder's descriptor may be closed at any time to make room, and is
//! opened again by going down from the nearest one that is open, comparing at every step.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::error::SourceError;
use super::read::{OpenFile, read_attributes};
use crate::domain::{EntryPath, FileTime, Kind, Stat, Xattrs};

/// More open folders than this gain nothing.
const DESCRIPTORS_MAX: usize = 4096;
const DESCRIPTORS_MIN: usize = 16;

/// A bound on how many folders are open at once.
#[derive(Debug)]
pub struct Descriptors {
    max: usize,
    /// How many folders hold one now.
    held: AtomicUsize,
    /// Those that hold one, the longest open first, and some that are gone.
    open: Mutex<VecDeque<Weak<Folder>>>,
    opened: AtomicU64,
}

impl Descriptors {
    /// At most `max_open` at once, and one more for each thread that works.
    pub fn new(max_open: NonZeroUsize) -> Arc<Self> {
        Arc::new(Self {
            max: max_open.get(),
            held: AtomicUsize::new(0),
            open: Mutex::default(),
            opened: AtomicU64::new(0),
        })
    }

    /// A quarter of what this process may have, after raising its limit as far as it may be raised.
    pub fn for_this_process() -> Arc<Self> {
        let limit = rustix::process::getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let current = match rustix::process::setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        let quarter = current.map_or(DESCRIPTORS_MAX, |n| usize::try_from(n / 4).unwrap_or(DESCRIPTORS_MAX));
        let max = quarter.clamp(DESCRIPTORS_MIN, DESCRIPTORS_MAX);
        Self::new(NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN))
    }

    /// How often a folder was opened so far: at least once for each that was walked, and not much more.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Notes that `folder` holds a descriptor, and closes one that was not used lately if there are too many.
    fn note(&self, folder: &Arc<Folder>) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.held.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() > self.max * 2 {
            open.retain(|folder| folder.strong_count() > 0);
        }
        open.push_back(Arc::downgrade(folder));
        // each is looked at twice at the most: the first look takes its mark of use away
        let mut looks = open.len() * 2;
        while self.held.load(Ordering::Relaxed) > self.max && looks > 0 {
            looks -= 1;
            let Some(oldest) = open.pop_front() else { break };
            let Some(folder) = oldest.upgrade() else { continue };
            if folder.used.swap(false, Ordering::Relaxed) {
                open.push_back(oldest);
            } else if folder.descriptor.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
                self.held.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// A folder of a source, by handle.
#[derive(Debug)]
pub(super) struct Folder {
    parent: Option<Arc<Self>>,
    name: Box<[u8]>,
    device: (u32, u32),
    inode: u64,
    pub(super) depth: u32,
    descriptor: Mutex<Option<Arc<OwnedFd>>>,
    used: AtomicBool,
    descriptors: Arc<Descriptors>,
}

impl Drop for Folder {
    /// Lets go of the ancestors one by one: a tree that is thousands of folders deep would else use up the stack.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        // a root's is not among those that are counted
        if self.depth > 0 && self.descriptor.get_mut().unwrap_or_else(PoisonError::into_inner).is_some() {
            self.descriptors.held.fetch_sub(1, Ordering::Relaxed);
        }
        while let Some(folder) = next.and_then(Arc::into_inner) {
            let mut folder = folder;
            next = folder.parent.take();
        }
    }
}

impl Folder {
    /// A root: its descriptor stays open.
    pub(super) fn root(descriptor: OwnedFd, stat: &Stat, descriptors: Arc<Descriptors>) -> Arc<Self> {
        Arc::new(Self {
            parent: None,
            name: b".".as_slice().into(),
            device: stat.device,
            inode: stat.inode,
            depth: 0,
            descriptor: Mutex::new(Some(Arc::new(descriptor))),
            used: AtomicBool::new(true),
            descriptors,
        })
    }

    /// A folder in this one, as it was listed. Opens nothing.
    pub(super) fn child(self: &Arc<Self>, name: &[u8], stat: &Stat) -> Arc<Self> {
        Arc::new(Self {
            parent: Some(Arc::clone(self)),
            name: name.into(),
            device: stat.device,
            inode: stat.inode,
            depth: self.depth + 1,
            descriptor: Mutex::new(None),
            used: AtomicBool::new(false),
            descriptors: Arc::clone(&self.descriptors),
        })
    }

    fn held(&self) -> Option<Arc<OwnedFd>> {
        self.descriptor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its path below the root.
    pub(super) fn relative(&self) -> EntryPath {
        let mut names = Vec::new();
        let mut at = self;
        while let Some(parent) = &at.parent {
            names.push(&*at.name);
            at = parent;
        }
        if names.is_empty() {
            return EntryPath::root();
        }
        names.reverse();
        EntryPath::parse(&names.join(&b'/')).expect("names come from the kernel")
    }

    /// Its descriptor, opened if it is not open. What is opened on the way down stays open too: in a tree that is
    /// deeper than descriptors are many, going back up would else begin at the root for every folder.
    pub(super) fn open(self: &Arc<Self>) -> Result<Arc<OwnedFd>, SourceError> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(held) = self.held() {
            return Ok(held);
        }
        let mut closed: Vec<&Arc<Self>> = vec![self];
        let mut at = loop {
            let above = closed.last().and_then(|folder| folder.parent.as_ref());
            let above = above.expect("a root is always open");
            // a folder through which others are reached is in use
            above.used.store(true, Ordering::Relaxed);
            match above.held() {
                Some(held) => break held,
                None => closed.push(above),
            }
        };
        while let Some(folder) = closed.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(&at, &*folder.name, flags, Mode::empty()).map_err(SourceError::of_entry)?;
            let found = stat_fd(&opened)?;
            if (found.device, found.inode) != (folder.device, folder.inode) {
                return Err(SourceError::Replaced);
            }
            at = Arc::new(opened);
            // another thread may have opened it meanwhile; its descriptor does as well
            let mut descriptor = folder.descriptor.lock().unwrap_or_else(PoisonError::into_inner);
            if descriptor.replace(Arc::clone(&at)).is_none() {
                drop(descriptor);
                self.descriptors.note(folder);
            }
        }
        Ok(at)
    }
}

/// Where an entry lies: its folder's handle, and its name there.
#[derive(Clone, Debug)]
pub struct Place {
    folder: Arc<Folder>,
    name: Box<[u8]>,
}

impl Place {
    pub(super) fn new(folder: &Arc<Folder>, name: &[u8]) -> Self {
        Self { folder: Arc::clone(folder), name: name.into() }
    }

    /// Opens a regular file for reading, if it still is the one that `expected` tells.
    ///
    /// # Errors
    /// [`SourceError::Replaced`] if another thing has its name now; never waits for a FIFO.
    pub fn open(&self, expected: &Stat) -> Result<OpenFile, SourceError> {
        let folder = self.folder.open()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |flags| rustix::fs::openat(&*folder, &*self.name, flags, Mode::empty());
        let opened = match open(flags | OFlags::NOATIME) {
            // only an owner may leave the access time alone
            Err(Errno::PERM) => open(flags),
            other => other,
        };
        let fd = opened.map_err(SourceError::of_entry)?;
        let stat = stat_fd(&fd)?;
        if stat.kind != Kind::File || (stat.device, stat.inode) != (expected.device, expected.inode) {
            return Err(SourceError::Replaced);
        }
        Ok(OpenFile::new(fd, stat))
    }

    /// Where a symlink points.
    ///
    /// # Errors
    /// [`SourceError::Replaced`] if it is no symlink any more.
    pub fn read_link(&self, _expected: &Stat) -> Result<Box<[u8]>, SourceError> {
        let folder = self.folder.open()?;
        match rustix::fs::readlinkat(&*folder, &*self.name, Vec::new()) {
            Ok(target) => Ok(target.into_bytes().into()),
            Err(Errno::INVAL) => Err(SourceError::Replaced),
            Err(errno) => Err(SourceError::of_entry(errno)),
        }
    }

    /// The extended attributes of what has this name, never of what a link points to.
    ///
    /// # Errors
    /// [`SourceError::Attributes`] if they cannot be read.
    pub fn xattrs(&self, _expected: &Stat) -> Result<Xattrs, SourceError> {
        use std::os::fd::AsRawFd;
        let folder = self.folder.open()?;
        // there is no call that takes a folder and a name; this path leads through the folder's own handle
        let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
        path.extend_from_slice(&self.name);
        read_attributes(
            |into| rustix::fs::llistxattr(&*path, into),
            |name, into| rustix::fs::lgetxattr(&*path, name, into),
        )
    }

    /// Looks at it again.
    ///
    /// # Errors
    /// [`SourceError::Vanished`] if nothing has its name any more.
    pub fn stat(&self) -> Result<Stat, SourceError> {
        let folder = self.folder.open()?;
        stat_at(&folder, &*self.name).map_err(SourceError::of_entry)
    }
}

pub(super) fn stat_fd(fd: &OwnedFd) -> Result<Stat, SourceError> {
    let found = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT, StatxFlags::BASIC_STATS);
    Ok(stat_of(&found.map_err(SourceError::of_entry)?))
}

pub(super) fn stat_at<P: rustix::path::Arg>(folder: &OwnedFd, name: P) -> Result<Stat, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    Ok(stat_of(&rustix::fs::statx(folder, name, flags, StatxFlags::BASIC_STATS)?))
}

fn stat_of(found: &Statx) -> Stat {
    let kind = match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        // the kernel has no other kinds
        FileType::Socket | FileType::Unknown => Kind::Socket,
    };
    Stat {
        kind,
        mode: u32::from(found.stx_mode) & 0o7777,
        uid: found.stx_uid,
        gid: found.stx_gid,
        size: found.stx_size,
        allocated: found.stx_blocks.saturating_mul(512),
        mtime: FileTime { sec: found.stx_mtime.tv_sec, nsec: found.stx_mtime.tv_nsec },
        ctime: FileTime { sec: found.stx_ctime.tv_sec, nsec: found.stx_ctime.tv_nsec },
        device: (found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        links: found.stx_nlink,
        special: (found.stx_rdev_major, found.stx_rdev_minor),
        mount_root: found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
    }
}
