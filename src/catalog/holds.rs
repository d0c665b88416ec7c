//! Holds: snapshots that stay whatever retention says, each with who said so and why.
//!
//! A hold is a small file of its own beside the snapshots, because a snapshot's folder never changes. A hold that cannot
//! be read holds all the same.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::CatalogError;
use super::list::Catalog;
use crate::domain::SnapshotName;
use crate::store::{Key, StoreError, create_whole};

const HOLD_BYTES_MAX: u64 = 64 << 10;

/// Why a snapshot stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// In words.
    pub why: String,
    /// Who said so.
    #[serde(default)]
    pub by: String,
    /// When, by that machine's clock.
    #[serde(default)]
    pub since: Option<Timestamp>,
}

impl Catalog {
    /// Holds a snapshot. One that is held already stays held, for its first reason.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn hold(&self, name: &SnapshotName, hold: &Hold) -> Result<bool, CatalogError> {
        let (store, folder) = (self.store(), self.layout().holds());
        match store.create_folder(&folder) {
            Ok(()) => store.sync_folder(&self.layout().folder())?,
            Err(StoreError::AlreadyThere { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut text = serde_json::to_string(hold).expect("a hold is plain values");
        text.push('\n');
        match create_whole(store, &self.hold_key(name)?, text.as_bytes()) {
            Ok(()) => {}
            Err(StoreError::AlreadyThere { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        store.sync_folder(&folder)?;
        Ok(true)
    }

    /// Ends a hold. False if there was none.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn release(&self, name: &SnapshotName) -> Result<bool, CatalogError> {
        let key = self.hold_key(name)?;
        let was = self.store().stat(&key)?.is_some();
        self.store().remove(&key)?;
        Ok(was)
    }

    /// All holds.
    ///
    /// # Errors
    /// If the store cannot be read: then nobody knows what is held, and nothing may be removed.
    pub fn holds(&self) -> Result<BTreeMap<SnapshotName, Hold>, CatalogError> {
        let listed = match self.store().list(&self.layout().holds()) {
            Ok(listed) => listed,
            Err(StoreError::NotThere { .. }) => return Ok(BTreeMap::new()),
            Err(error) => return Err(error.into()),
        };
        let mut holds = BTreeMap::new();
        for file in listed {
            let Some(name) = file.name.strip_suffix(".json").and_then(|name| name.parse::<SnapshotName>().ok()) else {
                continue;
            };
            let hold = match self.read_small(&self.hold_key(&name)?, HOLD_BYTES_MAX) {
                Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
                Err(CatalogError::Store(StoreError::NotThere { .. })) => continue,
                Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
                Err(_) => Hold::default(),
            };
            holds.insert(name, hold);
        }
        Ok(holds)
    }

    fn hold_key(&self, name: &SnapshotName) -> Result<Key, CatalogError> {
        Ok(self.layout().holds().join(&format!("{name}.json"))?)
    }
}
