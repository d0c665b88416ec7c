//! Holds: snapshots that stay whatever retention says, each with who said so and why.
//!
//! A hold is a small file of its own beside the snapshots, because a snapshot's folder never changes. A hold that cannot
//! be read holds all the same.
//!
//! The danger is a hold and a removal at the same moment. No lease keeps them apart, because a hold must be possible
//! while a run works. So each does its own deed first and looks at the other's afterwards, anew at the server: whoever
//! holds looks whether the snapshot is still listed, whoever removes (`trash.rs`) looks for the hold before *and after*
//! the move and takes the move back. Whatever the order, one of the two sees the other.
//!
//! Ends no hold by itself, and does not know why something is removed.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Holds a snapshot that is listed. One that is held already stays held, for its first reason; then false.
    ///
    /// # Errors
    /// [`CatalogError::RemovedMeanwhile`] if it is not listed any more once the hold is written: the hold stays.
    /// Otherwise if the store refuses.
    pub fn hold(&self, name: &SnapshotName, hold: &Hold) -> Result<bool, CatalogError> {
        let is_new = self.write_hold(name, hold)?;
        // whoever moved it to the trash before it could see the hold did so before this look
        self.ask_anew(&self.layout().folder())?;
        if !self.snapshots()?.contains(name) {
            return Err(CatalogError::RemovedMeanwhile { snapshot: name.clone() });
        }
        Ok(is_new)
    }

    /// Writes a hold, wherever the snapshot is. False if there is one already.
    pub(super) fn write_hold(&self, name: &SnapshotName, hold: &Hold) -> Result<bool, CatalogError> {
        let (store, folder) = (self.store(), self.layout().holds());
        self.make_holds()?;
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

    /// Which snapshots are held at this moment, as the server knows it. For whoever is about to remove one.
    ///
    /// # Errors
    /// If the store refuses: then nobody knows what is held, and nothing may be removed.
    pub(super) fn held_now(&self) -> Result<BTreeSet<SnapshotName>, CatalogError> {
        let folder = self.layout().holds();
        // a lookup may say for half a minute that the folder is not there; making it asks the server
        self.make_holds()?;
        self.ask_anew(&folder)?;
        let listed = self.store().list(&folder)?;
        Ok(listed.iter().filter_map(|file| file.name.strip_suffix(".json")?.parse().ok()).collect())
    }

    /// Makes the next listing of `folder` the server's own: an NFS client forgets what it remembers of a folder whose
    /// times it has changed itself.
    pub(super) fn ask_anew(&self, folder: &Key) -> Result<(), CatalogError> {
        Ok(self.store().touch(folder)?)
    }

    fn make_holds(&self) -> Result<(), CatalogError> {
        match self.store().create_folder(&self.layout().holds()) {
            Ok(()) => Ok(self.store().sync_folder(&self.layout().folder())?),
            Err(StoreError::AlreadyThere { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn hold_key(&self, name: &SnapshotName) -> Result<Key, CatalogError> {
        Ok(self.layout().holds().join(&format!("{name}.json"))?)
    }
}
