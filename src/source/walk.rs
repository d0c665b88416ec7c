//! The walk: a source's entries, depth-first and sorted, one after another.
//!
//! Looked at by several threads, given out by one. The consumer decides the order; the threads only do early what it
//! will ask for next (listing a folder, looking at a chunk of its names). If it asks for something nobody has begun,
//! it does it itself: so one thread is enough, and none can wait for another in a circle.
//!
//! The dangers: a source that changes while it is walked (every surprise is an item, never an end), a tree made to
//! be too deep or too wide (depth is bounded, names lie packed, looking ahead is bounded by the names it holds, and
//! deep folders are gone through in small steps), another file system below the source (not entered unless asked;
//! what is excluded by name is not even looked at, but looking at the root of a mount that is dead can hang: the
//! run's deadline ends that, nothing here can).

use std::collections::VecDeque;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::error::SourceError;
use super::exclude::Excludes;
use super::folder::{Descriptors, Folder, Place, stat_at, stat_fd};
use crate::domain::{ByteCount, EntryPath, Kind, Stat};

/// Deeper than this nothing is walked: no person makes such trees, and paths grow with every level.
const DEPTH_MAX: u32 = 4096;

/// Nor does a path grow longer than this: names of 255 bytes would make millions of it, in every entry below.
const PATH_BYTES_MAX: usize = 16 << 10;

/// So many names of a folder are looked at in one go.
const CHUNK_NAMES: usize = 512;

/// And so many this far down. Every folder on the way to the current one holds a chunk, so a tree that is wide at every
/// one of thousands of levels would hold millions of entries.
const DEEP: u32 = 64;
const CHUNK_NAMES_DEEP: usize = 16;

/// So many names may have been listed and not been asked for, and one folder for each thread on top.
const NAMES_AHEAD_MAX: usize = 4 << 10;

/// Names come from the kernel in pieces of this size.
const LIST_BUFFER_BYTES: usize = 64 << 10;

/// The Cache Directory Tagging Specification: such a file, beginning so, marks a folder that can be made anew.
const CACHE_TAG_NAME: &CStr = c"CACHEDIR.TAG";
const CACHE_TAG_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What to walk, and what to leave out.
#[derive(Clone, Debug)]
pub struct WalkOptions {
    /// Patterns.
    pub excludes: Excludes,
    /// Leave out what is in cache folders, but for the tag.
    pub exclude_caches: bool,
    /// Leave out what is in folders that hold a file of this name.
    pub exclude_if_present: Option<Box<[u8]>>,
    /// Do not enter other file systems.
    pub one_file_system: bool,
    /// Leave out larger regular files.
    pub max_file_size: Option<ByteCount>,
    /// A folder that is never entered, by device and inode: the store, where it lies in its own source.
    pub avoid: Option<((u32, u32), u64)>,
    /// Threads that look ahead.
    pub threads: NonZeroUsize,
}

impl WalkOptions {
    /// Everything on one file system.
    pub fn everything(threads: NonZeroUsize) -> Self {
        Self {
            excludes: Excludes::none(),
            exclude_caches: false,
            exclude_if_present: None,
            one_file_system: true,
            max_file_size: None,
            avoid: None,
            threads,
        }
    }
}

/// One source folder, opened.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    prefix: EntryPath,
    folder: Arc<Folder>,
    stat: Stat,
    used: ByteCount,
}

impl Root {
    /// Opens `path`; links *in* the path are followed, because who configured it meant it. In the snapshot it stands
    /// at `prefix`.
    ///
    /// # Errors
    /// If it is missing, not a folder or not readable.
    pub fn open(path: &Path, prefix: EntryPath, descriptors: Arc<Descriptors>) -> Result<Self, SourceError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => SourceError::Missing { path: path.to_owned() },
            Errno::NOTDIR => SourceError::NotAFolder { path: path.to_owned() },
            other => SourceError::RootUnreadable { path: path.to_owned(), source: other.into() },
        })?;
        let stat = stat_fd(&opened)?;
        let used = rustix::fs::fstatvfs(&opened)
            .map_or(u64::MAX, |fs| fs.f_blocks.saturating_sub(fs.f_bfree).saturating_mul(fs.f_frsize));
        let folder = Folder::root(opened, &stat, descriptors);
        Ok(Self { path: path.to_owned(), prefix, folder, stat, used: ByteCount(used) })
    }

    /// As configured.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it stands in the snapshot.
    pub fn prefix(&self) -> &EntryPath {
        &self.prefix
    }

    /// How much is in use on its file system: a bound on what it holds itself.
    pub fn file_system_used(&self) -> ByteCount {
        self.used
    }
}

/// An entry that the walk found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its path in the snapshot.
    pub path: EntryPath,
    /// As it was listed.
    pub stat: Stat,
    /// Where it lies.
    pub place: Place,
}

/// One step of the walk. Paths never go back; a folder comes before what is in it.
#[derive(Debug)]
pub enum Item {
    /// An entry.
    Entry(Found),
    /// An entry that could not be looked at, or a folder (after its entry) that could not be listed.
    Skipped {
        /// Which.
        path: EntryPath,
        /// Why.
        error: SourceError,
    },
    /// Something was left out because the options say so; what is below it is not counted.
    Excluded,
    /// A socket.
    Socket,
    /// The folder (after its entry) that was to be avoided, not entered.
    Avoided {
        /// Which.
        path: EntryPath,
    },
    /// A folder (after its entry) where another file system is mounted, not entered.
    MountPoint {
        /// Which.
        path: EntryPath,
    },
}

/// Walks sources. Dropping it ends its threads.
#[derive(Debug)]
pub struct Walk {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    roots: VecDeque<Root>,
    stack: Vec<Level>,
    ready: VecDeque<Item>,
}

/// A folder that is being given out.
#[derive(Debug)]
struct Level {
    folder: Arc<Folder>,
    path: EntryPath,
    root_device: (u32, u32),
    scan: Option<Arc<Unit>>,
    names: Arc<NameList>,
    chunk: VecDeque<Seen>,
    chunk_start: usize,
    at: usize,
    next_chunk: Option<Arc<Unit>>,
    children: VecDeque<(Arc<Unit>, Arc<Folder>)>,
}

impl Walk {
    /// Starts its threads. Roots are walked in the order of their prefixes.
    pub fn new(mut roots: Vec<Root>, options: WalkOptions) -> Self {
        roots.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        let count = options.threads.get();
        let shared = Arc::new(Shared {
            options,
            queue: Mutex::default(),
            wake: Condvar::new(),
            ahead: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let threads = (0..if count > 1 { count } else { 0 })
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.look_ahead())
            })
            .collect();
        Self { shared, threads, roots: roots.into(), stack: Vec::new(), ready: VecDeque::new() }
    }

    fn enter_root(&mut self, root: Root) {
        let Root { prefix, folder, stat, .. } = root;
        let scan = self.shared.unit(Work::Scan { folder: Arc::clone(&folder) });
        let found = Found { path: prefix.clone(), place: Place::new(&folder, b"."), stat: stat.clone() };
        self.ready.push_back(Item::Entry(found));
        self.stack.push(Level::new(folder, prefix, stat.device, scan));
    }

    /// One step in the folder on top. False if it has no more.
    fn step(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let Some(level) = self.stack.last_mut() else { return false };
        if let Some(scan) = level.scan.take() {
            match shared.take(&scan) {
                Output::Scanned(Ok(scanned)) => {
                    if let Some(error) = scanned.cut {
                        self.ready.push_back(Item::Skipped { path: level.path.clone(), error });
                    }
                    for _ in 0..scanned.left_out {
                        self.ready.push_back(Item::Excluded);
                    }
                    level.names = scanned.names;
                    level.load(0, scanned.first, &shared);
                }
                Output::Scanned(Err(error)) => {
                    self.ready.push_back(Item::Skipped { path: level.path.clone(), error });
                    self.stack.pop();
                }
                Output::Looked(_) => unreachable!("a scan gives what was scanned"),
            }
            return true;
        }
        let Some(seen) = level.chunk.pop_front() else {
            let start = level.at;
            if start < level.names.len() {
                let unit = level.next_chunk.take().unwrap_or_else(|| level.chunk_unit(start));
                let Output::Looked(chunk) = shared.take(&unit) else { unreachable!("a chunk gives what was seen") };
                level.load(start, chunk, &shared);
                return true;
            }
            self.stack.pop();
            return true;
        };
        let names = Arc::clone(&level.names);
        let name = names.get(level.at);
        level.at += 1;
        match seen {
            Seen::Excluded => self.ready.push_back(Item::Excluded),
            Seen::Socket => self.ready.push_back(Item::Socket),
            Seen::Failed(error) => {
                let path = level.path.join(name.to_bytes());
                self.ready.push_back(Item::Skipped { path, error });
            }
            Seen::Entry(stat) => {
                let path = level.path.join(name.to_bytes());
                let place = Place::new(&level.folder, name.to_bytes());
                let next = if stat.kind == Kind::Folder { Some(level.descend(&path, &stat, &shared)) } else { None };
                self.ready.push_back(Item::Entry(Found { path, stat, place }));
                match next {
                    None => {}
                    Some(Descent::Into(level)) => self.stack.push(*level),
                    Some(Descent::Not(item)) => self.ready.push_back(item),
                }
            }
        }
        true
    }
}

impl Iterator for Walk {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if !self.step() {
                let root = self.roots.pop_front()?;
                self.enter_root(root);
            }
        }
    }
}

impl Drop for Walk {
    /// A thread ends after the one thing it is at.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.lock().clear();
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

enum Descent {
    Into(Box<Level>),
    Not(Item),
}

impl Level {
    fn new(folder: Arc<Folder>, path: EntryPath, root_device: (u32, u32), scan: Arc<Unit>) -> Self {
        Self {
            folder,
            path,
            root_device,
            scan: Some(scan),
            names: Arc::default(),
            chunk: VecDeque::new(),
            chunk_start: 0,
            at: 0,
            next_chunk: None,
            children: VecDeque::new(),
        }
    }

    /// Takes a chunk that was looked at, and has the next things done early: the folders in it, in order, and the
    /// chunk after it.
    fn load(&mut self, start: usize, chunk: Vec<Seen>, shared: &Arc<Shared>) {
        self.chunk_start = start;
        self.at = start;
        let end = start + chunk.len();
        let mut early = Vec::new();
        for (seen, index) in chunk.iter().zip(start..) {
            if let Seen::Entry(stat) = seen
                && stat.kind == Kind::Folder
                && self.may_enter(stat, shared)
            {
                let name = self.names.get(index);
                let folder = self.folder.child(name.to_bytes(), stat);
                let unit = Unit::waiting(Work::Scan { folder: Arc::clone(&folder) });
                early.push(Arc::clone(&unit));
                self.children.push_back((unit, folder));
            }
        }
        if end < self.names.len() {
            let unit = self.chunk_unit(end);
            early.push(Arc::clone(&unit));
            self.next_chunk = Some(unit);
        }
        self.chunk = chunk.into();
        shared.early(early);
    }

    fn chunk_unit(&self, start: usize) -> Arc<Unit> {
        let range = chunk_at(start, self.names.len(), self.folder.depth);
        Unit::waiting(Work::Look { folder: Arc::clone(&self.folder), names: Arc::clone(&self.names), range })
    }

    fn may_enter(&self, stat: &Stat, shared: &Shared) -> bool {
        let elsewhere = stat.mount_root || stat.device != self.root_device;
        let avoided = shared.options.avoid == Some((stat.device, stat.inode));
        let foreign = shared.options.one_file_system && elsewhere;
        !(avoided || foreign || self.is_too_deep())
    }

    fn is_too_deep(&self) -> bool {
        self.folder.depth >= DEPTH_MAX || self.path.as_bytes().len() > PATH_BYTES_MAX
    }

    fn descend(&mut self, path: &EntryPath, stat: &Stat, shared: &Shared) -> Descent {
        if self.may_enter(stat, shared) {
            let (scan, folder) = self.children.pop_front().expect("every folder that may be entered was prepared");
            return Descent::Into(Box::new(Self::new(folder, path.clone(), self.root_device, scan)));
        }
        if shared.options.avoid == Some((stat.device, stat.inode)) {
            return Descent::Not(Item::Avoided { path: path.clone() });
        }
        if self.is_too_deep() {
            let error = SourceError::TooDeep(DEPTH_MAX);
            return Descent::Not(Item::Skipped { path: path.clone(), error });
        }
        Descent::Not(Item::MountPoint { path: path.clone() })
    }
}

/// The names that are looked at in one go, from `start` on, of `len` names in a folder so deep.
fn chunk_at(start: usize, len: usize, depth: u32) -> Range<usize> {
    start..len.min(start + if depth < DEEP { CHUNK_NAMES } else { CHUNK_NAMES_DEEP })
}

/// Names of a folder, packed: each ends in a NUL.
#[derive(Debug, Default)]
struct NameList {
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl NameList {
    fn len(&self) -> usize {
        self.starts.len()
    }

    fn get(&self, index: usize) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes[self.starts[index] as usize..]).expect("every name ends in a NUL")
    }

    fn push(&mut self, name: &CStr) -> Result<(), Errno> {
        let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.starts.push(start);
        Ok(())
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        let name = |start: &u32| {
            let rest = &bytes[*start as usize..];
            &rest[..rest.iter().position(|b| *b == 0).unwrap_or(rest.len())]
        };
        self.starts.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        // a folder that changes while it is listed may tell a name twice
        self.starts.dedup_by(|a, b| name(a) == name(b));
    }
}

/// What a look at one name gave.
#[derive(Debug)]
enum Seen {
    Entry(Stat),
    Excluded,
    Socket,
    Failed(SourceError),
}

#[derive(Debug)]
struct Scanned {
    names: Arc<NameList>,
    first: Vec<Seen>,
    /// How many names were left out before they were looked at.
    left_out: usize,
    /// Why the listing ended early.
    cut: Option<SourceError>,
}

#[derive(Debug)]
enum Work {
    Scan { folder: Arc<Folder> },
    Look { folder: Arc<Folder>, names: Arc<NameList>, range: Range<usize> },
}

#[derive(Debug)]
enum Output {
    Scanned(Result<Scanned, SourceError>),
    Looked(Vec<Seen>),
}

impl Output {
    /// How many names it holds.
    fn names(&self) -> usize {
        match self {
            Self::Scanned(Ok(scanned)) => scanned.names.len(),
            Self::Scanned(Err(_)) => 0,
            Self::Looked(seen) => seen.len(),
        }
    }
}

/// Something to be done once, by whoever comes first.
#[derive(Debug)]
struct Unit {
    state: Mutex<UnitState>,
    done: Condvar,
}

#[derive(Debug)]
enum UnitState {
    Waiting(Work),
    Begun,
    /// With whether it counts as done ahead.
    Done(Output, bool),
}

impl Unit {
    fn waiting(work: Work) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(UnitState::Waiting(work)), done: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, UnitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_waiting(&self) -> bool {
        matches!(*self.lock(), UnitState::Waiting(_))
    }

    /// The work, if nobody has begun it.
    fn claim(&self) -> Option<Work> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, UnitState::Begun) {
            UnitState::Waiting(work) => Some(work),
            other => {
                *state = other;
                None
            }
        }
    }
}

#[derive(Debug)]
struct Shared {
    options: WalkOptions,
    /// What comes next is on top.
    queue: Mutex<Vec<Arc<Unit>>>,
    wake: Condvar,
    ahead: AtomicUsize,
    stop: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Unit>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unit(&self, work: Work) -> Arc<Unit> {
        let unit = Unit::waiting(work);
        self.early(vec![Arc::clone(&unit)]);
        unit
    }

    /// Has `units` done early, the first of them first.
    fn early(&self, units: Vec<Arc<Unit>>) {
        if units.is_empty() || self.options.threads.get() == 1 {
            return;
        }
        let mut queue = self.lock();
        // what the consumer did itself lies on top; while the threads rest it would pile up
        while queue.last().is_some_and(|unit| !unit.is_waiting()) {
            queue.pop();
        }
        queue.extend(units.into_iter().rev());
        drop(queue);
        self.wake.notify_all();
    }

    /// A thread's life.
    fn look_ahead(&self) {
        loop {
            let mut queue = self.lock();
            let unit = loop {
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                if self.ahead.load(Ordering::Relaxed) < NAMES_AHEAD_MAX
                    && let Some(unit) = queue.pop()
                {
                    break unit;
                }
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            drop(queue);
            if let Some(work) = unit.claim() {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.work(work)));
                // whoever waits for this unit would wait for ever: a defect ends the run's process, which is told
                let output = done.unwrap_or_else(|_| std::process::abort());
                self.ahead.fetch_add(output.names(), Ordering::Relaxed);
                *unit.lock() = UnitState::Done(output, true);
                unit.done.notify_all();
            }
        }
    }

    /// What a unit gives: done by now, being done, or done here.
    fn take(&self, unit: &Unit) -> Output {
        if let Some(work) = unit.claim() {
            return self.work(work);
        }
        let mut state = unit.lock();
        loop {
            match std::mem::replace(&mut *state, UnitState::Begun) {
                UnitState::Done(output, ahead) => {
                    if ahead {
                        let before = self.ahead.fetch_sub(output.names(), Ordering::Relaxed);
                        if before >= NAMES_AHEAD_MAX {
                            // the lock makes sure that nobody is between looking and waiting
                            drop(self.lock());
                            self.wake.notify_all();
                        }
                    }
                    return output;
                }
                UnitState::Begun | UnitState::Waiting(_) => {
                    state = unit.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn work(&self, work: Work) -> Output {
        match work {
            Work::Scan { folder } => Output::Scanned(self.scan(&folder)),
            Work::Look { folder, names, range } => Output::Looked(self.look(&folder, &names, range)),
        }
    }

    /// Lists a folder and looks at its first names.
    fn scan(&self, folder: &Arc<Folder>) -> Result<Scanned, SourceError> {
        let descriptor = folder.open().map_err(|error| match error {
            SourceError::Unreadable(source) => SourceError::Unlisted(source),
            other => other,
        })?;
        let mut names = NameList::default();
        let mut cut = None;
        let mut buffer = [const { MaybeUninit::uninit() }; LIST_BUFFER_BYTES];
        // a handle of its own: the position in a folder is shared by all that share the handle
        let listing = rustix::fs::openat(
            &*descriptor,
            c".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| SourceError::Unlisted(errno.into()))?;
        let mut entries = RawDir::new(&listing, &mut buffer);
        while let Some(entry) = entries.next() {
            let pushed = match entry {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => Ok(()),
                Ok(entry) => names.push(entry.file_name()),
                Err(errno) => Err(errno),
            };
            if let Err(errno) = pushed {
                cut = Some(SourceError::Unlisted(errno.into()));
                break;
            }
        }
        drop(listing);
        names.sort();
        let all = names.len();
        self.leave_out(&descriptor, &mut names);
        let left_out = all - names.len();
        let names = Arc::new(names);
        let first = self.look(folder, &names, chunk_at(0, names.len(), folder.depth));
        Ok(Scanned { names, first, left_out, cut })
    }

    /// Drops the names of a folder whose content is not wanted.
    fn leave_out(&self, descriptor: &std::os::fd::OwnedFd, names: &mut NameList) {
        let find = |wanted: &[u8]| (0..names.len()).find(|index| names.get(*index).to_bytes() == wanted);
        if let Some(marker) = &self.options.exclude_if_present
            && find(marker).is_some()
        {
            names.starts.clear();
            return;
        }
        if self.options.exclude_caches
            && let Some(tag) = find(CACHE_TAG_NAME.to_bytes())
            && is_cache_tag(descriptor)
        {
            names.starts = vec![names.starts[tag]];
        }
    }

    fn look(&self, folder: &Arc<Folder>, names: &NameList, range: Range<usize>) -> Vec<Seen> {
        let descriptor = match folder.open() {
            Ok(descriptor) => descriptor,
            Err(SourceError::Unreadable(error)) => {
                let kind = error.kind();
                return range.map(|_| Seen::Failed(SourceError::Unreadable(kind.into()))).collect();
            }
            Err(_) => return range.map(|_| Seen::Failed(SourceError::Vanished)).collect(),
        };
        let relative = if self.options.excludes.is_empty() { EntryPath::root() } else { folder.relative() };
        range.map(|index| self.look_at(&descriptor, &relative, names.get(index))).collect()
    }

    fn look_at(&self, descriptor: &std::os::fd::OwnedFd, relative: &EntryPath, name: &CStr) -> Seen {
        let options = &self.options;
        // what is excluded by its name is not even looked at: it may lie on a mount that is dead
        let excludes = &options.excludes;
        let path = if excludes.is_empty() { EntryPath::root() } else { relative.join(name.to_bytes()) };
        if !excludes.is_empty() && excludes.matches(path.as_bytes(), false) {
            return Seen::Excluded;
        }
        let stat = match stat_at(descriptor, name) {
            Ok(stat) => stat,
            Err(errno) => return Seen::Failed(SourceError::of_entry(errno)),
        };
        if !excludes.is_empty() && stat.kind == Kind::Folder && excludes.matches(path.as_bytes(), true) {
            return Seen::Excluded;
        }
        match stat.kind {
            Kind::Socket => Seen::Socket,
            Kind::File if options.max_file_size.is_some_and(|max| stat.size > max.0) => Seen::Excluded,
            _ => Seen::Entry(stat),
        }
    }
}

fn is_cache_tag(folder: &std::os::fd::OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut begin = [0; CACHE_TAG_SIGNATURE.len()];
    let Ok(fd) = rustix::fs::openat(folder, CACHE_TAG_NAME, flags, Mode::empty()) else { return false };
    matches!(rustix::io::pread(&fd, &mut begin[..], 0), Ok(len) if len == begin.len()) && begin == *CACHE_TAG_SIGNATURE
}
