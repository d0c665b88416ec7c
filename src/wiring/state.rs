//! What this machine remembers between runs: which store was where, and outcomes that have not reached a store.
//!
//! All of it can be lost: then a store is trusted by its marker alone, and an outcome is missing from `.runs/`.
//! Files are replaced whole (written aside, flushed, renamed, the folder flushed), so a crash leaves the old or the new
//! one. What several processes change (which store is where) is changed under a lock, and never where it cannot be read:
//! that would forget what protects from another disk.
//!
//! Two daemons with one folder would each overwrite what the other remembers; so one locks it for its life (`flock`,
//! which ends with the process however that ends), and whoever asks learns by the same lock whether it lives.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::bounded;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::environment::machine_name;
use crate::domain::{Advise, Host, RunId, StoreId};
use crate::report::RunRecord;

/// Outcomes that wait for their store; older ones give way, because a store that is gone for a year of hourly runs
/// must not fill this disk.
const PENDING_MAX: usize = 1000;

/// Its lock's name in the folder.
const LOCK: &str = "daemon.lock";

/// The file of the stores that were seen, and the lock of those who change it.
const STORES: &str = "stores.json";
const STORES_LOCK: &str = "stores.lock";

/// A change of it takes as long as two flushes; so it is waited for at most so often, at [`LOCK_PACE`].
const STORES_LOCK_TRIES: usize = 400;

/// Somebody who only asks whether a daemon lives has the lock for a moment; so it is asked for so often, at this pace.
const LOCK_TRIES: usize = 20;
const LOCK_PACE: Duration = Duration::from_millis(25);

/// The state could not be read or written. Never fails a run.
#[derive(Debug, thiserror::Error)]
#[error("the state in {path} could not be {deed}")]
pub struct StateError {
    path: PathBuf,
    deed: &'static str,
    #[source]
    source: std::io::Error,
}

impl Advise for StateError {
    fn advice(&self) -> String {
        if self.source.kind() == std::io::ErrorKind::InvalidData {
            return "it is left as it is; remove it, and a store is trusted by its marker alone until it was seen again"
                .to_owned();
        }
        "let this user write there, or set `state_dir` (BACKUP_STATE_DIR) to a folder it may write".to_owned()
    }
}

/// Why this process is not the one daemon of a folder of state.
#[derive(Debug)]
pub enum Unlocked {
    /// Another has it.
    Held {
        /// Its process, as it wrote it down.
        pid: Option<u32>,
    },
    /// Nobody can be found out to have it: the folder takes no lock.
    Unable(StateError),
}

/// The folder of state is this process's, for as long as this lives.
#[derive(Debug)]
pub struct StateLock {
    _held: std::fs::File,
}

/// Whether a daemon lives that has the folder of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonLife {
    /// It does.
    Lives,
    /// The process that had it on this machine is gone.
    Gone {
        /// Which.
        pid: u32,
    },
    /// It cannot be told: there is no lock, it may not be looked at, or it is another machine's.
    Unknown,
}

/// Who has the lock, as it stands in its file. For people, and to tell one machine's from another's.
#[derive(Debug, Serialize, Deserialize)]
struct LockHolder {
    pid: u32,
    host: Host,
}

/// The folder of state.
#[derive(Clone, Debug)]
pub struct State {
    folder: PathBuf,
}

/// Whether a file must be on the disk before it takes its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    Yes,
    No,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stores {
    #[serde(default)]
    seen: BTreeMap<String, StoreId>,
}

impl State {
    /// In `folder`, which is created when something is remembered.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes this process the one daemon of this folder, until the lock is dropped or the process ends.
    ///
    /// # Errors
    /// [`Unlocked::Held`] if another process is that; [`Unlocked::Unable`] if the folder takes no lock.
    pub fn lock(&self) -> Result<StateLock, Unlocked> {
        let path = self.folder.join(LOCK);
        let fail = |deed| {
            let path = path.clone();
            move |source| Unlocked::Unable(StateError { path, deed, source })
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(fail("created"))?;
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fail("opened"))?;
        match lock_within(&file, LOCK_TRIES) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Unlocked::Held { pid: holder(&mut file).map(|holder| holder.pid) });
            }
            Err(error) => return Err(fail("locked")(error.into())),
        }
        let text = serde_json::to_vec(&LockHolder { pid: std::process::id(), host: machine_name() });
        // a full disk takes no name; the lock is held all the same
        let _ = file.set_len(0).and_then(|()| file.write_all(&text.expect("plain values")));
        Ok(StateLock { _held: file })
    }

    /// Whether a daemon has this folder, by its lock: nothing is concluded from a number that may be another process's by
    /// now.
    pub fn daemon(&self) -> DaemonLife {
        let Ok(mut file) = std::fs::File::open(self.folder.join(LOCK)) else { return DaemonLife::Unknown };
        match (flock(&file, FlockOperation::NonBlockingLockShared), holder(&mut file)) {
            (Err(rustix::io::Errno::WOULDBLOCK), _) => DaemonLife::Lives,
            (Ok(()), Some(holder)) if holder.host == machine_name() => DaemonLife::Gone { pid: holder.pid },
            _ => DaemonLife::Unknown,
        }
    }

    /// Finds out whether it can be written, by writing to it.
    ///
    /// # Errors
    /// If it cannot.
    pub fn prove_writable(&self) -> Result<(), StateError> {
        let path = self.folder.join("probe");
        self.replace(&path, b"", Flush::No)?;
        std::fs::remove_file(&path).map_err(|source| StateError { path, deed: "removed", source })
    }

    /// The store that was at `path` when it was last seen. What cannot be read is not known.
    pub fn store_at(&self, path: &Path) -> Option<StoreId> {
        self.stores().ok()?.seen.remove(&path_key(path))
    }

    /// Remembers which store is at `path`.
    ///
    /// # Errors
    /// If it cannot be written, or what is remembered cannot be read: then nothing is changed.
    pub fn remember_store(&self, path: &Path, id: &StoreId) -> Result<(), StateError> {
        if self.store_at(path).as_ref() == Some(id) {
            return Ok(());
        }
        self.change_stores(|stores| stores.seen.insert(path_key(path), id.clone()).as_ref() != Some(id))
    }

    /// Forgets which store was at `path`: a person said that another is right.
    ///
    /// # Errors
    /// If it cannot be written, or what is remembered cannot be read: then nothing is changed.
    pub fn forget_store(&self, path: &Path) -> Result<(), StateError> {
        if matches!(self.stores(), Ok(stores) if !stores.seen.contains_key(&path_key(path))) {
            return Ok(());
        }
        self.change_stores(|stores| stores.seen.remove(&path_key(path)).is_some())
    }

    /// Reads, changes and replaces, with nobody else in between. `change` says whether there is anything to write.
    fn change_stores(&self, change: impl FnOnce(&mut Stores) -> bool) -> Result<(), StateError> {
        let path = self.folder.join(STORES_LOCK);
        let fail = |deed| {
            let path = path.clone();
            move |source| StateError { path, deed, source }
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(fail("created"))?;
        let mut options = std::fs::OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail("opened"))?;
        // a disk that takes no locks is no reason to remember nothing
        if let Err(error @ rustix::io::Errno::WOULDBLOCK) = lock_within(&lock, STORES_LOCK_TRIES) {
            return Err(fail("locked")(error.into()));
        }
        let mut stores = self.stores()?;
        if !change(&mut stores) {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&stores).expect("paths and ids are plain values");
        self.replace(&self.folder.join(STORES), text.as_bytes(), Flush::Yes)
    }

    /// Keeps an outcome until it can be stored.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_outcome(&self, record: &RunRecord) -> Result<(), StateError> {
        let folder = self.folder.join("outcomes");
        let name = format!("{}-{}.json", crate::domain::stamp_text(record.started), record.run);
        self.replace(&folder.join(name), record.encode().as_bytes(), Flush::Yes)?;
        let mut names = self.outcome_files();
        names.sort();
        for old in names.iter().rev().skip(PENDING_MAX) {
            let _ = std::fs::remove_file(old);
        }
        Ok(())
    }

    /// Outcomes of `job` in the store at `store` that have not reached it.
    pub fn pending(&self, job: &crate::domain::JobName, store: &str) -> Vec<RunRecord> {
        let read = |path: PathBuf| RunRecord::decode(&std::fs::read(path).ok()?);
        let mut records: Vec<RunRecord> = self.outcome_files().into_iter().filter_map(read).collect();
        records.retain(|record| record.job == *job && record.store == store);
        records.sort_by_key(|record| record.started);
        records
    }

    /// These have reached their store.
    pub fn drop_outcomes(&self, runs: &[RunId]) {
        for path in self.outcome_files() {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if runs.iter().any(|run| name.ends_with(&format!("-{run}.json"))) {
                // one that stays is stored again by the next run, which is no error
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Replaces the file `name` of this folder, flushed: what must be there after a power cut.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.replace(&self.folder.join(name), bytes, Flush::Yes)
    }

    /// Replaces the file `name` of this folder without waiting for the disk: what is told again soon.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn show(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.replace(&self.folder.join(name), bytes, Flush::No)
    }

    /// The content of the file `name`, up to `bytes_max`; none if it is not there, is longer or cannot be read.
    pub fn kept(&self, name: &str, bytes_max: u64) -> Option<Vec<u8>> {
        use std::io::Read;
        let mut bytes = Vec::new();
        let file = std::fs::File::open(self.folder.join(name)).ok()?;
        let read = file.take(bytes_max + 1).read_to_end(&mut bytes).ok()?;
        (read as u64 <= bytes_max).then_some(bytes)
    }

    fn outcome_files(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.folder.join("outcomes")) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|e| e == "json")).collect()
    }

    /// None were seen if there is no file; one that cannot be read is an error, and never the same as none.
    fn stores(&self) -> Result<Stores, StateError> {
        let path = self.folder.join(STORES);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
                StateError { path, deed: "understood", source }
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Stores::default()),
            Err(source) => Err(StateError { path, deed: "read", source }),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that replaces files, all of them its own")]
    fn replace(&self, path: &Path, bytes: &[u8], flush: Flush) -> Result<(), StateError> {
        let fail = |deed| move |source| StateError { path: path.to_owned(), deed, source };
        let folder = path.parent().unwrap_or(&self.folder);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail("created"))?;
        let aside = path.with_extension(format!("new-{}", std::process::id()));
        let written = (|| {
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(bytes)?;
            if flush == Flush::Yes {
                file.sync_all()?;
            }
            std::fs::rename(&aside, path)?;
            if flush == Flush::Yes { sync_folder(folder) } else { Ok(()) }
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&aside);
        }
        written.map_err(fail("written"))
    }
}

/// Makes the names in a folder outlast a power cut, where its disk can do that.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    match std::fs::File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) => {
            Ok(())
        }
        result => result,
    }
}

/// Locks a file for this process alone; waits for another that has it, but not for ever.
fn lock_within(file: &std::fs::File, tries: usize) -> Result<(), rustix::io::Errno> {
    let (_keep, never) = bounded::<()>(0);
    for _ in 0..tries {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => drop(never.recv_timeout(LOCK_PACE)),
            result => return result,
        }
    }
    Err(rustix::io::Errno::WOULDBLOCK)
}

fn holder(file: &mut std::fs::File) -> Option<LockHolder> {
    use std::io::{Read, Seek};
    let mut text = Vec::new();
    file.rewind().ok()?;
    file.take(4 << 10).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn path_key(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("hex:{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{DaemonLife, State, Unlocked};
    use crate::domain::StoreId;

    #[test]
    fn a_folder_of_state_has_one_daemon_and_is_free_as_soon_as_that_one_is_gone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = State::new(folder.path().join("state"));
        assert_eq!(state.daemon(), DaemonLife::Unknown);
        let lock = state.lock().expect("nobody has it");
        assert_eq!(state.daemon(), DaemonLife::Lives);
        let own = std::process::id();
        assert!(matches!(state.lock(), Err(Unlocked::Held { pid: Some(pid) }) if pid == own));
        drop(lock);
        assert_eq!(state.daemon(), DaemonLife::Gone { pid: own });
        drop(state.lock().expect("it is free again"));
        std::fs::remove_dir_all(state.folder()).expect("removed");
        std::os::unix::fs::symlink("/nothing/there", state.folder()).expect("a link to nowhere");
        assert!(matches!(state.lock(), Err(Unlocked::Unable(_))));
    }

    /// The daemon and `backup run` both remember stores: one read, the other wrote, and the first wrote that away.
    #[test]
    fn of_many_that_remember_stores_at_once_none_forgets_what_another_saw() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = State::new(folder.path().join("state"));
        let path = |number: u8, step: u8| format!("/mnt/{number}/{step}");
        std::thread::scope(|scope| {
            for number in 0..4 {
                let state = &state;
                scope.spawn(move || {
                    for step in 0..10 {
                        let id = StoreId::from_random([number * 10 + step; 16]);
                        state.remember_store(Path::new(&path(number, step)), &id).expect("writable");
                    }
                });
            }
        });
        for (number, step) in (0..4).flat_map(|number| (0..10).map(move |step| (number, step))) {
            let id = StoreId::from_random([number * 10 + step; 16]);
            assert_eq!(state.store_at(Path::new(&path(number, step))), Some(id), "{number} {step}");
        }
    }

    /// What cannot be read was taken for nothing, and the next write made it so: every other disk would have been trusted.
    #[test]
    fn stores_that_cannot_be_understood_are_not_overwritten_and_it_is_said_what_to_do() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = State::new(folder.path().join("state"));
        let (path, other, id) = (Path::new("/mnt/backup"), Path::new("/mnt/other"), StoreId::from_random([7; 16]));
        state.remember_store(path, &id).expect("writable");
        let file = folder.path().join("state/stores.json");
        let whole = std::fs::read(&file).expect("a file");
        let cut = &whole[..whole.len() - 9];
        std::fs::File::create(&file).and_then(|mut file| std::io::Write::write_all(&mut file, cut)).expect("cut");
        assert_eq!(state.store_at(path), None);
        for changed in [state.remember_store(other, &id), state.forget_store(other)] {
            let error = changed.expect_err("nothing is known of what is in it");
            assert!(crate::domain::Advise::advice(&error).contains("remove it"), "{error}");
        }
        assert_eq!(std::fs::read(&file).expect("a file"), cut, "it is left as it is");
        std::fs::remove_file(&file).expect("removed");
        state.remember_store(other, &id).expect("writable again");
    }

    #[test]
    fn a_store_once_seen_is_remembered_until_it_is_forgotten_and_state_that_is_lost_is_no_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = State::new(folder.path().join("state"));
        let (path, id) = (Path::new("/mnt/backup"), StoreId::from_random([7; 16]));
        assert_eq!(state.store_at(path), None);
        state.remember_store(path, &id).expect("writable");
        assert_eq!(state.store_at(path), Some(id.clone()));
        assert_eq!(state.store_at(Path::new("/mnt/other")), None);
        state.forget_store(path).expect("writable");
        assert_eq!(state.store_at(path), None);
        state.remember_store(path, &id).expect("writable");
        std::fs::remove_dir_all(folder.path().join("state")).expect("removed");
        assert_eq!(state.store_at(path), None);
    }
}
