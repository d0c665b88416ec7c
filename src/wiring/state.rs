//! What this machine remembers between runs: which store was where, and outcomes that have not reached a store.
//!
//! All of it can be lost: then a store is trusted by its marker alone, and an outcome is missing from `.runs/`.
//! Files are replaced whole (written aside, flushed, renamed), so a crash leaves the old or the new one.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::{Advise, RunId, StoreId};
use crate::report::RunRecord;

/// Outcomes that wait for their store; older ones give way, because a store that is gone for a year of hourly runs
/// must not fill this disk.
const PENDING_MAX: usize = 1000;

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
        "let this user write there, or set `state_dir` (BACKUP_STATE_DIR) to a folder it may write".to_owned()
    }
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
        self.stores().seen.remove(&path_key(path))
    }

    /// Remembers which store is at `path`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn remember_store(&self, path: &Path, id: &StoreId) -> Result<(), StateError> {
        let mut stores = self.stores();
        if stores.seen.insert(path_key(path), id.clone()).as_ref() == Some(id) {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&stores).expect("paths and ids are plain values");
        self.replace(&self.folder.join("stores.json"), text.as_bytes(), Flush::Yes)
    }

    /// Forgets which store was at `path`: a person said that another is right.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn forget_store(&self, path: &Path) -> Result<(), StateError> {
        let mut stores = self.stores();
        if stores.seen.remove(&path_key(path)).is_none() {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&stores).expect("paths and ids are plain values");
        self.replace(&self.folder.join("stores.json"), text.as_bytes(), Flush::Yes)
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

    fn stores(&self) -> Stores {
        let text = std::fs::read(self.folder.join("stores.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
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
            std::fs::rename(&aside, path)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&aside);
        }
        written.map_err(fail("written"))
    }
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

    use super::State;
    use crate::domain::StoreId;

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
