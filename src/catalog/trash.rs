//! Removing snapshots in two steps, and taking the first one back.
//!
//! The first step is one rename of the snapshot's folder into `.trash/`: after it the snapshot is not listed, and not a
//! byte is gone. The second, after a while by the store's own clock, removes what lies there. A death at any moment
//! leaves a snapshot whole and listed, whole and in the trash, or partly gone and in the trash: never partly gone and
//! listed. Volumes that other snapshots share keep their other names.
//!
//! The danger is a hold that comes at the same moment (`holds.rs` says how the two see each other): after each move
//! the holds are looked at once more, and what is held is moved back. So what is held is listed or in the trash, and
//! never goes for good. One window remains: between the move and the move back the snapshot is not listed, and whoever
//! held it then is told that it was removed, though it is back a moment later; a death in that window leaves it in the
//! trash, where the hold keeps it until it is taken back.
//!
//! Decides nothing: which snapshots go is retention's to say, and the lease is the caller's to hold.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::error::CatalogError;
use super::holds::Hold;
use super::layout::SUMS_NAME;
use super::lease::Lease;
use super::list::Catalog;
use super::record::Record;
use crate::domain::{RunId, SnapshotName, stamp_text};
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
    /// The first step, unless somebody holds it at this moment: then it stays, and the answer is false. A snapshot that
    /// somebody else removed meanwhile is no error.
    ///
    /// # Errors
    /// If the store refuses; the snapshot is then where it was, or in the trash, whole in either case.
    pub fn discard_unless_held(&self, name: &SnapshotName) -> Result<bool, CatalogError> {
        if self.held_now()?.contains(name) {
            return Ok(false);
        }
        let to = self.place_in_trash(name)?;
        self.discard_to(name, &to)?;
        if self.held_now()?.contains(name) {
            self.move_whole(&to, &self.layout().snapshot(name))?;
            self.store().sync_folder(&self.layout().folder())?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Puts a snapshot that was made anew in the place of what lies there under its name, which goes to the trash whoever
    /// holds it. `publish` gives the new one the name. Both are held from before the move on, by `hold` or an older one,
    /// which is given: a death before the new one is there must not leave the only copy in a trash that is emptied.
    ///
    /// # Errors
    /// What `publish` or the store says; the old one is then where it was, and held.
    /// [`CatalogError::LeftAside`] if it could not be put back there: it is held in the trash then.
    pub fn replace<T>(
        &self,
        name: &SnapshotName,
        hold: &Hold,
        publish: impl FnOnce() -> Result<T, CatalogError>,
    ) -> Result<(T, Hold), CatalogError> {
        let is_new = self.write_hold(name, hold)?;
        let older = if is_new { None } else { self.holds()?.remove(name) };
        let aside = self.place_in_trash(name)?;
        match self.discard_to(name, &aside).and_then(|()| publish()) {
            Ok(done) => Ok((done, older.unwrap_or_else(|| hold.clone()))),
            Err(error) => match self.move_whole(&aside, &self.layout().snapshot(name)) {
                Ok(()) => {
                    // the error that is told is the first
                    let _ = self.store().sync_folder(&self.layout().folder());
                    Err(error)
                }
                Err(_) => Err(CatalogError::LeftAside { snapshot: name.clone(), source: Box::new(error) }),
            },
        }
    }

    /// Where a snapshot comes to lie that is removed now: under the store's time, or the next second of which nothing
    /// with its name lies there, such as what it was before it was made anew.
    fn place_in_trash(&self, name: &SnapshotName) -> Result<Key, CatalogError> {
        let (trash, mut at) = (self.make_trash()?, self.store().now()?);
        loop {
            let to = trash.join(&format!("{}-{name}", stamp_text(at)))?;
            match (self.store().stat(&to)?, at.checked_add(Duration::from_secs(1))) {
                (Some(_), Ok(next)) => at = next,
                _ => return Ok(to),
            }
        }
    }

    fn make_trash(&self) -> Result<Key, CatalogError> {
        let trash = self.layout().trash();
        match self.store().create_folder(&trash) {
            Ok(()) | Err(StoreError::AlreadyThere { .. }) => Ok(trash),
            Err(error) => Err(error.into()),
        }
    }

    fn discard_to(&self, name: &SnapshotName, to: &Key) -> Result<(), CatalogError> {
        let store = self.store();
        self.move_whole(&self.layout().snapshot(name), to)?;
        store.sync_folder(&self.layout().trash())?;
        Ok(store.sync_folder(&self.layout().folder())?)
    }

    /// Moves a folder; one that is gone is no error.
    fn move_whole(&self, from: &Key, to: &Key) -> Result<(), CatalogError> {
        let store = self.store();
        match store.publish(from, to) {
            Ok(()) | Err(StoreError::NotThere { .. }) => Ok(()),
            // the answer may have been lost: what counts is where it lies
            Err(error) => match store.stat(from) {
                Ok(None) if matches!(store.stat(to), Ok(Some(_))) => Ok(()),
                _ => Err(error.into()),
            },
        }
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

    /// What is missing or cut in a removed snapshot, against its own record, in words; nothing if it is whole.
    ///
    /// # Errors
    /// If it is not in the trash any more, a newer program made it, or the store fails.
    pub fn damages_in_trash(&self, trashed: &Trashed) -> Result<Vec<String>, CatalogError> {
        let folder = self.layout().trash().join(&trashed.folder)?;
        let files = self.files_of(&folder)?;
        match self.record_in(&folder, &trashed.name) {
            Ok((record, _)) => Ok(damages_of(&record, &files)),
            Err(error @ CatalogError::Newer { .. }) => Err(error),
            Err(CatalogError::Store(error)) if error.is_absent() => Err(error.into()),
            Err(error) => Ok(vec![error.to_string()]),
        }
    }

    /// Takes a snapshot back and holds it, so that the next prune does not remove it again. Gives the hold that counts:
    /// an older one stays. The lease says that no other writer is at work.
    ///
    /// # Errors
    /// [`CatalogError::StillThere`] if a folder of this name is there; [`CatalogError::LeaseLost`]; otherwise if the
    /// store refuses. It is then in the trash, whole, or back; and held if the hold could be written.
    pub fn take_back(&self, trashed: &Trashed, hold: &Hold, lease: &Lease) -> Result<Hold, CatalogError> {
        let (name, to) = (&trashed.name, self.layout().snapshot(&trashed.name));
        let from = self.layout().trash().join(&trashed.folder)?;
        lease.renew()?;
        self.store().check_identity()?;
        self.ask_anew(&self.layout().folder())?;
        if self.store().list(&self.layout().folder())?.iter().any(|listed| listed.name == name.as_str()) {
            return Err(CatalogError::StillThere { snapshot: name.clone() });
        }
        // the hold first: a death in between leaves it held in the trash, not listed and about to be removed again
        self.write_hold(name, hold)?;
        match self.store().publish(&from, &to) {
            Ok(()) => {}
            Err(StoreError::AlreadyThere { .. }) => return Err(CatalogError::StillThere { snapshot: name.clone() }),
            // the answer may have been lost
            Err(error) => match self.store().stat(&from) {
                Ok(None) if matches!(self.store().stat(&to), Ok(Some(_))) => {}
                _ => return Err(error.into()),
            },
        }
        self.store().sync_folder(&self.layout().folder())?;
        Ok(self.holds()?.remove(name).unwrap_or_else(|| hold.clone()))
    }

    /// The second step: removes for good what was removed longer than `after` ago and is not held. Gives how many. Before
    /// each `may_go_on` is asked; at its no, the rest stays for the next time.
    ///
    /// # Errors
    /// If the store refuses; what is left is removed the next time.
    pub fn empty_trash(&self, after: Duration, may_go_on: &dyn Fn() -> bool) -> Result<u64, CatalogError> {
        self.sweep_trash(may_go_on)?;
        let all = self.trash()?;
        let mut emptied = 0;
        if !all.is_empty() {
            let now = self.store().now()?;
            let held = self.held_now()?;
            for trashed in all {
                if !may_go_on() {
                    break;
                }
                let age = now.duration_since(trashed.since);
                // a time to come is a clock that was set back: it stays until that time is over
                let is_due = age >= jiff::SignedDuration::try_from(after).unwrap_or(jiff::SignedDuration::MAX);
                if is_due && !held.contains(&trashed.name) {
                    // first a name that nobody takes back: what is partly gone must not be
                    let folder = self.layout().trash().join(&trashed.folder)?;
                    let going = self.layout().trash().join(&format!("{GOING}{}", trashed.folder))?;
                    self.store().publish(&folder, &going)?;
                    if self.held_now()?.contains(&trashed.name) {
                        self.move_whole(&going, &folder)?;
                    } else {
                        self.store().remove_folder(&going)?;
                        emptied += 1;
                    }
                }
            }
        }
        Ok(emptied)
    }

    /// Removes the unfinished work of a run that is over, as far as anybody can see. It loses its name first: a run that
    /// hung after it had looked at its lease may have its rename still on its way, which must not make a snapshot of what
    /// is being removed. It meets nothing then. A death in between leaves the work to [`Catalog::sweep_trash`].
    ///
    /// # Errors
    /// If the store refuses.
    pub fn remove_unfinished(&self, run: &RunId) -> Result<(), CatalogError> {
        let going = self.make_trash()?.join(&format!("{GOING}{run}"))?;
        self.move_whole(&self.layout().partial(run), &going)?;
        Ok(self.store().remove_folder(&going)?)
    }

    /// Removes what a death left partly removed. The lease is the caller's to hold. What is held comes back to the trash as
    /// it is; taking it back tells what is missing of it. Before each `may_go_on` is asked; at its no, the rest stays for
    /// the next time.
    ///
    /// # Errors
    /// If the store refuses; what is left is removed the next time.
    pub fn sweep_trash(&self, may_go_on: &dyn Fn() -> bool) -> Result<(), CatalogError> {
        let listed = match self.store().list(&self.layout().trash()) {
            Ok(listed) => listed,
            Err(StoreError::NotThere { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for going in listed.into_iter().filter(|listed| listed.name.starts_with(GOING)) {
            if !may_go_on() {
                break;
            }
            let trash = self.layout().trash();
            let folder = going.name.trim_start_matches(GOING);
            let is_held = match parse(folder.to_owned()) {
                Some(trashed) => self.held_now()?.contains(&trashed.name),
                None => false,
            };
            if is_held {
                self.move_whole(&trash.join(&going.name)?, &trash.join(folder)?)?;
            } else {
                self.store().remove_folder(&trash.join(&going.name)?)?;
            }
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

/// What of a snapshot is missing or has another length than its record says, in words. `files` as [`Catalog::files_of`]
/// gives them: nothing is opened, so what only reading shows is not found.
pub fn damages_of(record: &Record, files: &[(String, u64, u64)]) -> Vec<String> {
    let volumes = record.volumes.iter().map(|volume| (volume.name.as_str(), Some(volume.size)));
    let small = [(record.manifest.name.as_str(), Some(record.manifest.size)), (SUMS_NAME, None)];
    let damage = |(name, told): (&str, Option<u64>)| {
        let found = files.iter().find(|(file, ..)| file == name).map(|(_, size, _)| *size);
        match (found, told) {
            (None, _) => Some(format!("{name} is missing")),
            (Some(found), Some(told)) if found != told => {
                Some(format!("{name} has {found} bytes, and {told} were published"))
            }
            _ => None,
        }
    };
    volumes.chain(small).filter_map(damage).collect()
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
