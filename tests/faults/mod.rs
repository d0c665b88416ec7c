//! A store with faults: a coat around any store that fails its Nth call, once or from then on, before doing it or
//! after (the deed is done and its answer lost); or before whose Nth call somebody else does something; or that says how
//! much room a disk of some size would have. Without a fault planned it is the store, and passes the same suite.

#![allow(dead_code, clippy::allow_attributes, reason = "each test plans its own faults")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use backup::domain::{ByteCount, StoreId};
use backup::store::{Key, Listed, Room, Store, StoreError, StoreReader, StoreWriter};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which call, counted from 1 over all deeds.
    pub call: u64,
    /// What the machine says.
    pub errno: i32,
    /// Whether every later call fails as well.
    pub for_ever: bool,
    /// Whether the deed is done all the same.
    pub after: bool,
}

/// The coat.
pub struct Faulty {
    inner: Arc<dyn Store>,
    plan: Arc<Plan>,
    /// The folder in which it lies, and the size of its disk.
    disk: Option<(PathBuf, u64)>,
}

/// What somebody else does.
type Deed = Box<dyn FnOnce() + Send>;

pub struct Plan {
    fault: Option<Fault>,
    calls: AtomicU64,
    /// What somebody else does just before a call.
    meanwhile: Mutex<Option<(u64, Deed)>>,
    /// The files that are open for reading.
    open: Mutex<Vec<String>>,
    /// Those that were when they were removed, or their folder renamed.
    held: Mutex<Vec<String>>,
    /// The folders that were removed, by the names that they had then.
    removed: Mutex<Vec<String>>,
}

impl Plan {
    fn meet<T>(&self, deed: &'static str, act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let mut planned = self.meanwhile.lock().expect("no test panics in here");
        let is_now = planned.as_ref().is_some_and(|(at, _)| *at == call);
        let others = if is_now { planned.take() } else { None };
        drop(planned);
        if let Some((_, others_deed)) = others {
            others_deed();
        }
        match self.fault {
            Some(fault) if call == fault.call || (fault.for_ever && call > fault.call) => {
                if fault.after {
                    let _ = act();
                }
                Err(StoreError::from_io(deed, "a file", io::Error::from_raw_os_error(fault.errno)))
            }
            _ => act(),
        }
    }
}

impl Faulty {
    pub fn new(inner: Arc<dyn Store>, fault: Option<Fault>) -> Self {
        let (open, held, removed) = (Mutex::default(), Mutex::default(), Mutex::default());
        let plan = Plan { fault, calls: AtomicU64::new(0), meanwhile: Mutex::new(None), open, held, removed };
        Self { inner, plan: Arc::new(plan), disk: None }
    }

    /// No fault; but its room is what a disk of `size` bytes has left beside what lies in `folder`.
    pub fn on_disk(inner: Arc<dyn Store>, folder: PathBuf, size: u64) -> Self {
        Self { disk: Some((folder, size)), ..Self::new(inner, None) }
    }

    /// No fault; but just before the `call`th call somebody else does `deed`.
    pub fn meanwhile(inner: Arc<dyn Store>, call: u64, deed: impl FnOnce() + Send + 'static) -> Self {
        let coat = Self::new(inner, None);
        *coat.plan.meanwhile.lock().expect("a new lock") = Some((call, Box::new(deed)));
        coat
    }

    /// How many calls were made: the plan of a matrix.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan)
    }
}

impl Plan {
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// What was open when it was removed or its folder renamed, which NFS and CIFS do not take well.
    pub fn held(&self) -> Vec<String> {
        self.held.lock().expect("no test panics in here").clone()
    }

    /// The names of folders that were removed: whoever knows one may rename the folder while that goes on.
    pub fn removed(&self) -> Vec<String> {
        self.removed.lock().expect("no test panics in here").clone()
    }

    fn let_go(&self, deed: &str, gone: &Key) {
        let (gone, within) = (gone.to_string(), format!("{gone}/"));
        let open = self.open.lock().expect("no test panics in here");
        let held = open.iter().filter(|open| **open == gone || open.starts_with(&within));
        let told = held.map(|open| format!("{open} while {deed} {gone}"));
        self.held.lock().expect("no test panics in here").extend(told);
    }
}

impl Store for Faulty {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn id(&self) -> &StoreId {
        self.inner.id()
    }

    fn check_identity(&self) -> Result<(), StoreError> {
        self.plan.meet("asking for", || self.inner.check_identity())
    }

    fn create_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.plan.meet("creating", || self.inner.create_folder(folder))
    }

    fn create(&self, file: &Key) -> Result<Box<dyn StoreWriter>, StoreError> {
        let writer = self.plan.meet("creating", || self.inner.create(file))?;
        Ok(Box::new(FaultyWriter { inner: Some(writer), plan: Arc::clone(&self.plan), written: 0 }))
    }

    fn open(&self, file: &Key) -> Result<Box<dyn StoreReader>, StoreError> {
        let reader = self.plan.meet("opening", || self.inner.open(file))?;
        self.plan.open.lock().expect("no test panics in here").push(file.to_string());
        Ok(Box::new(FaultyReader { inner: reader, plan: Arc::clone(&self.plan), place: file.to_string() }))
    }

    fn list(&self, folder: &Key) -> Result<Vec<Listed>, StoreError> {
        self.plan.meet("listing", || self.inner.list(folder))
    }

    fn stat(&self, key: &Key) -> Result<Option<Listed>, StoreError> {
        self.plan.meet("looking at", || self.inner.stat(key))
    }

    fn sync_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.plan.meet("flushing", || self.inner.sync_folder(folder))
    }

    fn publish(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.plan.let_go("renaming", from);
        self.plan.meet("renaming", || self.inner.publish(from, to))
    }

    fn link(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.plan.meet("linking", || self.inner.link(from, to))
    }

    fn copy(&self, from: &Key, to: &Key, copied: &mut dyn FnMut(ByteCount)) -> Result<(), StoreError> {
        self.plan.meet("copying", || self.inner.copy(from, to, copied))
    }

    fn rename(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.plan.meet("renaming", || self.inner.rename(from, to))
    }

    fn touch(&self, file: &Key) -> Result<(), StoreError> {
        self.plan.meet("touching", || self.inner.touch(file))
    }

    fn now(&self) -> Result<jiff::Timestamp, StoreError> {
        self.plan.meet("asking the time", || self.inner.now())
    }

    fn remove(&self, file: &Key) -> Result<(), StoreError> {
        self.plan.let_go("removing", file);
        self.plan.meet("removing", || self.inner.remove(file))
    }

    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.plan.removed.lock().expect("no test panics in here").push(folder.to_string());
        self.plan.meet("removing", || self.inner.remove_folder(folder))
    }

    fn room(&self) -> Result<Room, StoreError> {
        self.plan.meet("asking the room", || {
            let Some((folder, size)) = &self.disk else { return self.inner.room() };
            let free = size.saturating_sub(bytes_in(folder));
            Ok(Room { free: ByteCount(free), total: ByteCount(*size) })
        })
    }
}

/// What all files below a folder hold.
pub fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let found = entry.metadata().expect("metadata");
            if found.is_dir() { bytes_in(&entry.path()) } else { found.len() }
        })
        .sum()
}

struct FaultyWriter {
    inner: Option<Box<dyn StoreWriter>>,
    plan: Arc<Plan>,
    written: u64,
}

impl StoreWriter for FaultyWriter {
    fn write(&mut self, pieces: &[&[u8]]) -> Result<(), StoreError> {
        let inner = self.inner.as_mut().ok_or_else(|| StoreError::Poisoned { place: "a file".into() })?;
        let result = self.plan.meet("writing", || inner.write(pieces));
        match &result {
            Ok(()) => self.written += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(),
            Err(_) => self.inner = None,
        }
        result
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let inner = self.inner.take().ok_or_else(|| StoreError::Poisoned { place: "a file".into() })?;
        self.plan.meet("flushing", || inner.finish())
    }
}

struct FaultyReader {
    inner: Box<dyn StoreReader>,
    plan: Arc<Plan>,
    place: String,
}

impl Drop for FaultyReader {
    fn drop(&mut self) {
        let mut open = self.plan.open.lock().expect("no test panics in here");
        let at = open.iter().position(|open| *open == self.place).expect("it was opened");
        open.swap_remove(at);
    }
}

impl StoreReader for FaultyReader {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_pieces_at(&self, offset: u64, into: &mut [io::IoSliceMut<'_>]) -> Result<(), StoreError> {
        self.plan.meet("reading", || self.inner.read_pieces_at(offset, into))
    }
}
