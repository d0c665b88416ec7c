//! Run records: the outcome of every run, failed ones too, in `.runs/`.

use super::error::CatalogError;
use super::list::Catalog;
use crate::domain::Outcome;
use crate::report::RunRecord;
use crate::store::{ListedKind, StoreError, create_whole};

/// How many are kept: a year of daily runs and some. Older ones are removed as new ones are written.
pub const RUNS_KEPT: usize = 400;

/// A record is a few lines with at most a thousand names; what is larger was not written by us.
const RUN_BYTES_MAX: u64 = 16 << 20;

impl Catalog {
    /// Stores the outcome of a run under its time and id. Storing it again is no error: the record is the same.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn store_run(&self, outcome: &Outcome) -> Result<(), CatalogError> {
        let store = self.store();
        for folder in [self.layout().folder(), self.layout().runs()] {
            match store.create_folder(&folder) {
                Ok(()) | Err(StoreError::AlreadyThere { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let key = self.layout().run(outcome.started, &outcome.run);
        let text = RunRecord::from(outcome).encode();
        match create_whole(store, &key, text.as_bytes()) {
            Ok(()) => {}
            Err(StoreError::AlreadyThere { .. }) => {
                if self.read_small(&key, RUN_BYTES_MAX).is_ok_and(|bytes| bytes == text.as_bytes()) {
                    return Ok(());
                }
                // a crash cut it; nothing else makes this name
                store.remove(&key)?;
                create_whole(store, &key, text.as_bytes())?;
            }
            Err(error) => return Err(error.into()),
        }
        store.sync_folder(&self.layout().runs())?;
        let names = self.run_names()?;
        for old in names.iter().rev().skip(RUNS_KEPT) {
            store.remove(&self.layout().runs().join(old)?)?;
        }
        Ok(())
    }

    /// The newest `count` runs, newest first. Records that cannot be read are passed over: they prove nothing.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn runs(&self, count: usize) -> Result<Vec<RunRecord>, CatalogError> {
        let names = self.run_names()?;
        let stamp = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
        let mut found: Vec<RunRecord> = Vec::new();
        let mut oldest = String::new();
        for name in names.iter().rev() {
            // names tell seconds: runs of one second are told apart by their records
            if found.len() >= count && stamp(name) != oldest {
                break;
            }
            oldest = stamp(name);
            match self.read_small(&self.layout().runs().join(name)?, RUN_BYTES_MAX) {
                Ok(bytes) => found.extend(RunRecord::decode(&bytes)),
                Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
                Err(_) => {}
            }
        }
        found.sort_by_key(|record| std::cmp::Reverse(record.started));
        found.truncate(count);
        Ok(found)
    }

    /// Whether the newest run's record is there and cannot be read: then nobody knows how it went.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn is_last_run_unreadable(&self) -> Result<bool, CatalogError> {
        let Some(newest) = self.run_names()?.pop() else { return Ok(false) };
        match self.read_small(&self.layout().runs().join(&newest)?, RUN_BYTES_MAX) {
            Ok(bytes) => Ok(RunRecord::decode(&bytes).is_none()),
            Err(CatalogError::Store(error)) if error.is_absent() => Err(error.into()),
            Err(_) => Ok(true),
        }
    }

    fn run_names(&self) -> Result<Vec<String>, CatalogError> {
        let listed = match self.store().list(&self.layout().runs()) {
            Ok(listed) => listed,
            Err(StoreError::NotThere { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut names: Vec<String> = listed
            .into_iter()
            .filter(|l| l.kind == ListedKind::File && l.name.ends_with(".json") && !l.name.starts_with('.'))
            .map(|l| l.name)
            .collect();
        names.sort();
        Ok(names)
    }
}
