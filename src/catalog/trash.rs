//! Removing snapshots in two steps, and taking the first one back.
//!
//! The first step is one rename of the snapshot's folder into `.trash/`: after it the snapshot is not listed, and not a
//! byte is gone. The second, after a while by the store's own clock, removes what lies there. A death at any moment
//! leaves a snapshot whole and listed, whole and in the trash, or partly gone and in the trash: never partly gone and
//! listed. Volumes that other snapshots share keep their other names.
//!
//! Decides nothing: which snapshots go is retention's to say, and the lease is the caller's to hold.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::error::CatalogError;
use super::list::Catalog;
use crate::domain::{SnapshotName, stamp_text};
use crate::store::{Key, ListedKind, StoreError};

/// Begins the name of what is being removed for good.
const GOING: &str = ".going-";

/// A removed snapshot that can still be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trashed {
    /// Its name.
    pub name: SnapshotName,
    /// When it was removed, by the store's clock.
    pub since: Timestamp,
    folder: String,
}

impl Catalog {
    /// The first step. A snapshot that somebody else removed meanwhile is no error.
    ///
    /// # Errors
    /// If the store refuses; the snapshot is then where it was, or in the trash, whole in either case.
    pub fn discard(&self, name: &SnapshotName) -> Result<(), CatalogError> {
        let (store, trash) = (self.store(), self.layout().trash());
        match store.create_folder(&trash) {
            Ok(()) | Err(StoreError::AlreadyThere { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let to = trash.join(&format!("{}-{name}", stamp_text(store.now()?)))?;
        match store.publish(&self.layout().snapshot(name), &to) {
            Ok(()) | Err(StoreError::NotThere { .. }) => {}
            // the answer may have been lost: what counts is whether it is still listed
            Err(error) => match store.stat(&self.layout().snapshot(name)) {
                Ok(None) if matches!(store.stat(&to), Ok(Some(_))) => {}
                _ => return Err(error.into()),
            },
        }
        store.sync_folder(&trash)?;
        Ok(store.sync_folder(&self.layout().folder())?)
    }

    /// What lies in the trash, in order of names and times.
    ///
    /// # Errors
    /// If the store cannot be listed.
    pub fn trash(&self) -> Result<Vec<Trashed>, CatalogError> {
        let listed = match self.store().list(&self.layout().trash()) {
            Ok(listed) => listed,
            Err(StoreError::NotThere { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let folders = listed.into_iter().filter(|listed| listed.kind == ListedKind::Folder);
        let mut found: Vec<Trashed> = folders.filter_map(|listed| parse(listed.name)).collect();
        found.retain(|trashed| trashed.name.job() == *self.layout().job());
        found.sort_by(|a, b| (&a.name, a.since).cmp(&(&b.name, b.since)));
        Ok(found)
    }

    /// Takes a snapshot back.
    ///
    /// # Errors
    /// [`StoreError::AlreadyThere`] if a snapshot of this name is there again.
    pub fn take_back(&self, trashed: &Trashed) -> Result<(), CatalogError> {
        let from = self.layout().trash().join(&trashed.folder)?;
        self.store().publish(&from, &self.layout().snapshot(&trashed.name))?;
        Ok(self.store().sync_folder(&self.layout().folder())?)
    }

    /// The second step: removes for good what was removed longer than `after` ago. Gives how many.
    ///
    /// # Errors
    /// If the store refuses; what is left is removed the next time.
    pub fn empty_trash(&self, after: Duration) -> Result<u64, CatalogError> {
        self.sweep_trash()?;
        let all = self.trash()?;
        let mut emptied = 0;
        if !all.is_empty() {
            let now = self.store().now()?;
            for trashed in all {
                let age = now.duration_since(trashed.since);
                // a time to come is a clock that was set back: it stays until that time is over
                if age >= jiff::SignedDuration::try_from(after).unwrap_or(jiff::SignedDuration::MAX) {
                    // first a name that nobody takes back: what is partly gone must not be
                    let going = self.layout().trash().join(&format!("{GOING}{}", trashed.folder))?;
                    self.store().publish(&self.layout().trash().join(&trashed.folder)?, &going)?;
                    self.store().remove_folder(&going)?;
                    emptied += 1;
                }
            }
        }
        Ok(emptied)
    }

    /// Removes what a death left partly removed.
    fn sweep_trash(&self) -> Result<(), CatalogError> {
        let listed = match self.store().list(&self.layout().trash()) {
            Ok(listed) => listed,
            Err(StoreError::NotThere { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for folder in listed.into_iter().filter(|listed| listed.name.starts_with(GOING)) {
            self.store().remove_folder(&self.layout().trash().join(&folder.name)?)?;
        }
        Ok(())
    }

    /// The files of a snapshot's folder: name, length, and how many names each has in the store.
    ///
    /// # Errors
    /// If the store cannot be listed.
    pub fn files_of(&self, folder: &Key) -> Result<Vec<(String, u64, u64)>, CatalogError> {
        let listed = self.store().list(folder)?;
        let files = listed.into_iter().filter(|listed| listed.kind == ListedKind::File);
        Ok(files.map(|listed| (listed.name, listed.size.0, listed.links)).collect())
    }
}

/// `<stamp>-<snapshot>`; anything else is nothing of ours.
fn parse(folder: String) -> Option<Trashed> {
    let (stamp, name) = folder.split_once('-')?;
    let since = DateTime::strptime("%Y%m%dT%H%M%SZ", stamp).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let name = name.parse().ok()?;
    Some(Trashed { name, since, folder })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_what_the_first_step_made_is_known() {
        let trashed = parse("20261121T101112Z-my-job-20261101T020000Z".to_owned()).expect("one of ours");
        assert_eq!(trashed.since.to_string(), "2026-11-21T10:11:12Z");
        assert_eq!(trashed.name.as_str(), "my-job-20261101T020000Z");
        for other in ["", "x", "20261121T101112Z", "20261121T101112Z-x", "20269921T101112Z-up-20261101T020000Z"] {
            assert_eq!(parse(other.to_owned()), None, "{other}");
        }
    }
}
