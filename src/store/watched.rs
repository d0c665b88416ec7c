//! A coat around a store that notes every call while it lasts, so that somebody else can tell a store that hangs.
//!
//! A server that is gone leaves its caller in the kernel, for ever and without a word. The caller cannot tell; a thread
//! beside it can, if it knows which call has been waiting and since when. One call is short work (a frame, a folder, a
//! flush of a few megabytes), so a call that lasts for minutes means that the store does not answer, whatever the rest
//! of the program is doing meanwhile.
//!
//! Changes no answer, and ends nothing: what a silence means is decided by whoever asks.

use std::io::IoSliceMut;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::{Key, Listed, Room, Store, StoreError, StoreReader, StoreWriter};
use crate::domain::{ByteCount, Clock, StoreId};

/// The calls that a store has not answered yet.
pub struct Calls {
    clock: Box<dyn Clock>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    number: u64,
    calls: Vec<Call>,
}

struct Call {
    number: u64,
    deed: &'static str,
    place: Arc<str>,
    since: Duration,
}

/// A call that was not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For example `reading`.
    pub deed: &'static str,
    /// Of what in the store.
    pub place: String,
    /// For how long.
    pub long: Duration,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Calls({:?})", self.longest())
    }
}

impl Calls {
    /// None yet.
    pub fn new(clock: impl Clock + 'static) -> Arc<Self> {
        Arc::new(Self { clock: Box::new(clock), open: Mutex::default() })
    }

    /// Does something that only the store can answer.
    pub fn during<T>(&self, deed: &'static str, place: &Arc<str>, act: impl FnOnce() -> T) -> T {
        self.with_signs(deed, place, |_| act())
    }

    /// As [`Calls::during`], for a deed that takes long and calls the given function while it goes on.
    fn with_signs<T>(&self, deed: &'static str, place: &Arc<str>, act: impl FnOnce(&dyn Fn()) -> T) -> T {
        let number = {
            let since = self.clock.since_start();
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.number += 1;
            let number = open.number;
            open.calls.push(Call { number, deed, place: Arc::clone(place), since });
            number
        };
        let _over = Over { calls: self, number };
        act(&|| {
            let now = self.clock.since_start();
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(call) = open.calls.iter_mut().find(|call| call.number == number) {
                call.since = now;
            }
        })
    }

    /// The call that has been waiting for longest.
    pub fn longest(&self) -> Option<Waiting> {
        let now = self.clock.since_start();
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = open.calls.iter().min_by_key(|call| call.since)?;
        let long = now.saturating_sub(oldest.since);
        Some(Waiting { deed: oldest.deed, place: oldest.place.to_string(), long })
    }
}

/// A call is over when this goes, also by a panic.
struct Over<'a> {
    calls: &'a Calls,
    number: u64,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut open = self.calls.open.lock().unwrap_or_else(PoisonError::into_inner);
        // as many as there are threads
        open.calls.retain(|call| call.number != self.number);
    }
}

/// The coat.
pub struct Watched {
    inner: Arc<dyn Store>,
    calls: Arc<Calls>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watched({})", self.inner.name())
    }
}

impl Watched {
    /// Notes the calls of `inner`.
    pub fn new(inner: Arc<dyn Store>, calls: Arc<Calls>) -> Self {
        Self { inner, calls }
    }

    fn during<T>(&self, deed: &'static str, key: &Key, act: impl FnOnce(&dyn Store) -> T) -> T {
        self.calls.during(deed, &place(key), || act(&*self.inner))
    }
}

fn place(key: &Key) -> Arc<str> {
    key.to_string().into()
}

impl Store for Watched {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn id(&self) -> &StoreId {
        self.inner.id()
    }

    fn place(&self) -> Option<((u32, u32), u64)> {
        self.during("looking at", &Key::top(), |store| store.place())
    }

    fn check_identity(&self) -> Result<(), StoreError> {
        self.during("looking at", &Key::top(), |store| store.check_identity())
    }

    fn create_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.during("creating", folder, |store| store.create_folder(folder))
    }

    fn create(&self, file: &Key) -> Result<Box<dyn StoreWriter>, StoreError> {
        let inner = self.during("creating", file, |store| store.create(file))?;
        Ok(Box::new(WatchedWriter { inner, calls: Arc::clone(&self.calls), place: place(file) }))
    }

    fn open(&self, file: &Key) -> Result<Box<dyn StoreReader>, StoreError> {
        let inner = self.during("opening", file, |store| store.open(file))?;
        Ok(Box::new(WatchedReader { inner, calls: Arc::clone(&self.calls), place: place(file) }))
    }

    fn list(&self, folder: &Key) -> Result<Vec<Listed>, StoreError> {
        self.during("listing", folder, |store| store.list(folder))
    }

    fn stat(&self, key: &Key) -> Result<Option<Listed>, StoreError> {
        self.during("looking at", key, |store| store.stat(key))
    }

    fn sync_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.during("flushing", folder, |store| store.sync_folder(folder))
    }

    fn publish(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.during("renaming", from, |store| store.publish(from, to))
    }

    fn link(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.during("linking", from, |store| store.link(from, to))
    }

    fn copy(&self, from: &Key, to: &Key, copied: &mut dyn FnMut(ByteCount)) -> Result<(), StoreError> {
        self.calls.with_signs("copying", &place(from), |sign| {
            self.inner.copy(from, to, &mut |bytes| {
                sign();
                copied(bytes);
            })
        })
    }

    fn rename(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.during("renaming", from, |store| store.rename(from, to))
    }

    fn touch(&self, file: &Key) -> Result<(), StoreError> {
        self.during("touching", file, |store| store.touch(file))
    }

    fn now(&self) -> Result<Timestamp, StoreError> {
        self.during("asking the time of", &Key::top(), |store| store.now())
    }

    fn remove(&self, file: &Key) -> Result<(), StoreError> {
        self.during("removing", file, |store| store.remove(file))
    }

    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.during("removing", folder, |store| store.remove_folder(folder))
    }

    fn room(&self) -> Result<Room, StoreError> {
        self.during("asking the room of", &Key::top(), |store| store.room())
    }
}

struct WatchedWriter {
    inner: Box<dyn StoreWriter>,
    calls: Arc<Calls>,
    place: Arc<str>,
}

impl StoreWriter for WatchedWriter {
    fn write(&mut self, pieces: &[&[u8]]) -> Result<(), StoreError> {
        let Self { inner, calls, place } = self;
        calls.during("writing", place, || inner.write(pieces))
    }

    fn written(&self) -> u64 {
        self.inner.written()
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { inner, calls, place } = *self;
        calls.during("flushing", &place, || inner.finish())
    }
}

struct WatchedReader {
    inner: Box<dyn StoreReader>,
    calls: Arc<Calls>,
    place: Arc<str>,
}

impl StoreReader for WatchedReader {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn file_id(&self) -> Option<((u32, u32), u64)> {
        self.inner.file_id()
    }

    fn read_pieces_at(&self, offset: u64, into: &mut [IoSliceMut<'_>]) -> Result<(), StoreError> {
        self.calls.during("reading", &self.place, || self.inner.read_pieces_at(offset, into))
    }
}
