//! A folder to restore into for a moment, and the removal of those that others could not remove.
//!
//! Whoever has one holds a lock on it (`flock`), which ends with its process however that ends. So a folder of such a
//! name that nobody has locked was left by a crash or a kill, and may go: it holds a copy of somebody's data in plain.
//!
//! The danger is to remove what is another's. Only folders of exactly such a name go, of this user, reached without
//! following a link, and only with their lock in hand; where the disk takes no locks, nothing goes.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::domain::EntryPath;
use crate::restore::{RestoreError, remove_extras};

/// How their names begin; two numbers follow.
const NAME: &str = "backup-drill-";

/// So many names of one process may be taken by what others left that had its number.
const NAMES_TRIED: u32 = 1000;

/// A folder of this process alone.
#[derive(Debug)]
pub struct Scratch {
    place: PathBuf,
    name: EntryPath,
    is_there: bool,
    /// None where the disk takes no locks.
    _lock: Option<File>,
}

/// What was found of others that are gone.
#[derive(Debug, Default)]
pub struct Swept {
    /// Folders that were removed.
    pub removed: u64,
    /// What could not be removed, with why.
    pub failed: Vec<String>,
}

impl Scratch {
    /// Makes one in `place`, which is made if it is not there.
    ///
    /// # Errors
    /// If the disk or its rights do not allow it.
    pub fn make(place: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(place)?;
        let mut number = 0;
        loop {
            let name = format!("{NAME}{}-{number}", std::process::id());
            let path = place.join(&name);
            let made = DirBuilder::new().mode(0o700).create(&path).and_then(|()| locked(&path));
            match made {
                Ok(lock) => {
                    let name = EntryPath::parse(name.as_bytes()).expect("a plain name");
                    let (place, lock) = (place.to_owned(), lock.ok());
                    return Ok(Self { place, name, is_there: true, _lock: lock });
                }
                // it was there, or somebody swept it in the moment before it was locked
                Err(error) if is_taken(&error) && number < NAMES_TRIED => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.place.join(self.name.to_string())
    }

    /// Removes it, with all that is in it.
    ///
    /// # Errors
    /// The first that could not be removed.
    pub fn remove(mut self) -> Result<(), RestoreError> {
        self.is_there = false;
        remove_extras(&self.place, std::slice::from_ref(&self.name)).map(drop)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.is_there {
            // only a panic comes here; what cannot be removed keeps its name, and is swept
            let _ = remove_extras(&self.place, std::slice::from_ref(&self.name));
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::WouldBlock | io::ErrorKind::NotFound)
}

/// The lock of the folder at `path`, or why it takes none.
///
/// # Errors
/// If another has it (would block), or it is not there any more.
fn locked(path: &Path) -> io::Result<Result<File, io::Error>> {
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(error @ rustix::io::Errno::WOULDBLOCK) => return Err(error.into()),
        Err(error) => return Ok(Err(error.into())),
    }
    // the lock is of the folder that was opened; the name may be gone, or be another folder's, by now
    let (ours, there) = (folder.metadata()?, std::fs::symlink_metadata(path)?);
    if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
        Ok(Ok(folder))
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Removes from `place` what processes left there that are gone.
pub fn sweep(place: &Path) -> Swept {
    let mut swept = Swept::default();
    let Ok(entries) = std::fs::read_dir(place) else { return swept };
    let user = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_name(name)) else { continue };
        let path = place.join(name);
        if std::fs::symlink_metadata(&path).map_or(true, |found| !found.is_dir() || found.uid() != user) {
            continue;
        }
        let Ok(Ok(_lock)) = locked(&path) else { continue };
        let name = EntryPath::parse(name.as_bytes()).expect("a plain name");
        match remove_extras(place, &[name]) {
            Ok(_) => swept.removed += 1,
            Err(error) => swept.failed.push(error.to_string()),
        }
    }
    swept
}

fn is_name(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = name.strip_prefix(NAME).and_then(|numbers| numbers.split_once('-'));
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Scratch, sweep};

    fn names(place: &Path) -> Vec<String> {
        let entries = fs::read_dir(place).expect("a folder").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A drill whose process was killed left a copy of everything, each time, until the disk was full.
    #[test]
    fn what_a_killed_process_left_is_swept_and_what_another_works_in_or_is_no_such_folder_is_not() {
        let place = tempfile::tempdir().expect("a folder");
        let place = place.path().join("state");
        assert_eq!(sweep(&place).removed, 0, "there is no such place yet");
        let mine = Scratch::make(&place).expect("made");
        fs::create_dir_all(place.join("backup-drill-4000000-0/folder")).expect("left");
        drop(fs::File::create(place.join("backup-drill-4000000-0/folder/secret")).expect("left"));
        let others = ["backup-drill-", "backup-drill-1", "backup-drill-1-x", "backup-drill-1-2-3", "drill-1-2"];
        others.iter().for_each(|name| fs::create_dir(place.join(name)).expect("a folder"));
        drop(fs::File::create(place.join("backup-drill-1-0")).expect("a file"));
        std::os::unix::fs::symlink(&place, place.join("backup-drill-1-1")).expect("a link");
        let before = names(&place);
        let swept = sweep(&place);
        assert_eq!((swept.removed, swept.failed.len()), (1, 0), "{swept:?}");
        let gone: Vec<_> = before.into_iter().filter(|name| !names(&place).contains(name)).collect();
        assert_eq!(gone, ["backup-drill-4000000-0"]);
        let other = Scratch::make(&place).expect("made beside it");
        assert!(mine.path() != other.path() && mine.path().is_dir());
        drop(other);
        mine.remove().expect("removed");
        assert!(names(&place).iter().all(|name| !name.starts_with(&format!("backup-drill-{}-", std::process::id()))));
    }
}
