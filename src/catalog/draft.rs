//! A snapshot in the making: files under a name that no list shows, then one rename.
//!
//! The order is the promise. Every file is created exclusively, hashed while it is written, flushed, measured, and
//! read back from the store; the checksums come last and name every other file; the folder is flushed; the marker and
//! the lease are looked at once more; one rename publishes. A crash anywhere leaves a whole snapshot or a leftover.

use jiff::Timestamp;

use super::error::CatalogError;
use super::layout::{GIVEN_UP, PART_ENDING, RECORD_NAME, SUMS_NAME};
use super::lease::Lease;
use super::list::Catalog;
use super::record::{FileRecord, Record};
use super::sums::Sums;
use crate::domain::{ByteCount, Digest, Hasher, RunId, SnapshotName};
use crate::observe::{Event, Observer, Silent};
use crate::store::{Key, Store, StoreError, StoreWriter, create_whole};

const READ_BACK_BYTES: usize = 1 << 20;

/// The unfinished snapshot of one run. Ends with [`Draft::publish`] or [`Draft::abandon`].
#[derive(Debug)]
pub struct Draft {
    pub(super) catalog: Catalog,
    run: RunId,
    pub(super) folder: Key,
    files: Vec<FileRecord>,
    /// What was linked, and the time it must keep until this snapshot's record is there.
    linked: Vec<(Key, Timestamp)>,
    in_doubt: bool,
}

/// A file of a draft that is being written.
pub struct DraftFile {
    name: String,
    writer: Box<dyn StoreWriter>,
    hasher: Hasher,
}

impl std::fmt::Debug for DraftFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DraftFile({}, {})", self.name, self.writer.written())
    }
}

/// How a file of an earlier snapshot became part of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It has one more name.
    Linked,
    /// It is there twice, because the store refused a link.
    Copied,
    /// It is not part of this one: it is gone or was written to since it was looked at, or the store refused a link and the
    /// copy is not what was published.
    Unsound,
}

/// A snapshot that is there.
#[derive(Debug)]
pub struct Published {
    /// Why its name may be lost if the store's power goes now: it could not be flushed.
    pub doubt: Option<StoreError>,
}

impl DraftFile {
    /// Appends.
    ///
    /// # Errors
    /// If the store fails; the file is then of no use.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_pieces(&[bytes])
    }

    /// Appends all of these, one behind the other.
    ///
    /// # Errors
    /// If the store fails; the file is then of no use.
    pub fn write_pieces(&mut self, pieces: &[&[u8]]) -> Result<(), StoreError> {
        self.writer.write(pieces)?;
        for piece in pieces {
            self.hasher.update(piece);
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn written(&self) -> u64 {
        self.writer.written()
    }

    /// Flushes, measures, closes.
    ///
    /// # Errors
    /// If the store fails.
    pub fn finish(self) -> Result<FileRecord, StoreError> {
        let size = self.writer.written();
        self.writer.finish()?;
        Ok(FileRecord { name: self.name, size, sha256: self.hasher.finish() })
    }
}

impl Draft {
    /// Creates the folder of the run's unfinished work.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn create(catalog: &Catalog, run: &RunId) -> Result<Self, CatalogError> {
        let folder = catalog.layout().partial(run);
        catalog.store().create_folder(&folder)?;
        let (catalog, run) = (catalog.clone(), run.clone());
        Ok(Self { catalog, run, folder, files: Vec::new(), linked: Vec::new(), in_doubt: false })
    }

    /// Begins a file.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn create_file(&self, name: &str) -> Result<DraftFile, CatalogError> {
        let writer = self.catalog.store().create(&self.folder.join(name)?)?;
        Ok(DraftFile { name: name.to_owned(), writer, hasher: Hasher::new() })
    }

    /// Where it lies.
    pub fn store(&self) -> &dyn Store {
        self.catalog.store()
    }

    /// The key of one of its files.
    ///
    /// # Errors
    /// If the name is none.
    pub fn key(&self, name: &str) -> Result<Key, CatalogError> {
        Ok(self.folder.join(name)?)
    }

    /// Takes a finished file into the checksums. Its bytes were read back by the caller.
    pub fn add(&mut self, file: FileRecord) {
        self.files.push(file);
    }

    /// Takes over a file of a snapshot that is there: by a link, which costs nothing, or by a copy where the store refuses
    /// links. A copy is read back; a link must have the length of its record, and the time that the file had when it was
    /// looked at, if that is known: this snapshot's record will be younger than any write before it, so one that came
    /// after that look would never be seen again.
    ///
    /// # Errors
    /// If the store fails.
    pub fn reuse(
        &mut self,
        from: &SnapshotName,
        file: &FileRecord,
        seen: Option<Timestamp>,
        observer: &dyn Observer,
    ) -> Result<Reuse, CatalogError> {
        let store = self.catalog.store();
        let source = self.catalog.layout().snapshot(from).join(&file.name)?;
        let to = self.folder.join(&file.name)?;
        let reuse = match store.link(&source, &to) {
            // nobody else makes names in this folder: one that is there is a link whose answer was lost
            Ok(()) | Err(StoreError::AlreadyThere { .. }) => Reuse::Linked,
            Err(StoreError::LinkRefused { .. }) => {
                let copied = store.copy(&source, &to, &mut |bytes| {
                    observer.notice(&Event::Advanced { entries: 0, bytes: ByteCount::ZERO, stored: bytes });
                });
                match copied.map_err(CatalogError::from).and_then(|()| self.read_back(file, observer)) {
                    Ok(()) => Reuse::Copied,
                    // the source cannot be read, or is not what it was: that is no failure of this run
                    Err(CatalogError::Store(
                        StoreError::Io { .. }
                        | StoreError::Short { .. }
                        | StoreError::ReadBackDiffers { .. }
                        | StoreError::NotThere { .. },
                    )) => Reuse::Unsound,
                    Err(error) => return Err(error),
                }
            }
            Err(StoreError::NotThere { .. }) => Reuse::Unsound,
            Err(error) => return Err(error.into()),
        };
        let is_sound = match (reuse, store.stat(&to)?) {
            (Reuse::Linked, Some(found)) => {
                found.size.0 == file.size && seen.is_none_or(|modified| found.modified == modified)
            }
            (Reuse::Copied, Some(found)) => found.size.0 == file.size,
            (Reuse::Unsound, None) => return Ok(Reuse::Unsound),
            (Reuse::Unsound, Some(_)) => false,
            (Reuse::Linked | Reuse::Copied, None) => return Err(StoreError::NotThere { place: to.to_string() }.into()),
        };
        if !is_sound {
            store.remove(&to)?;
            return Ok(Reuse::Unsound);
        }
        if let (Reuse::Linked, Some(modified)) = (reuse, seen) {
            self.linked.push((to, modified));
        }
        self.add(file.clone());
        Ok(reuse)
    }

    /// Removes a file that was begun and is not to be part of the snapshot.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn drop_file(&self, file: DraftFile) -> Result<(), CatalogError> {
        let key = self.folder.join(&file.name)?;
        drop(file);
        Ok(self.catalog.store().remove(&key)?)
    }

    /// Writes a small file whole and reads it back.
    ///
    /// # Errors
    /// If the store fails or gives back other bytes.
    pub fn add_small(&mut self, name: &str, bytes: &[u8]) -> Result<FileRecord, CatalogError> {
        let mut file = self.create_file(name)?;
        file.write(bytes)?;
        let file = file.finish()?;
        self.read_back(&file, &Silent)?;
        self.add(file.clone());
        Ok(file)
    }

    /// Reads a finished file from the store and compares it with what was written.
    ///
    /// # Errors
    /// [`StoreError::ReadBackDiffers`] if it is another.
    pub fn read_back(&self, file: &FileRecord, observer: &dyn Observer) -> Result<(), CatalogError> {
        let key = self.folder.join(&file.name)?;
        let reader = self.catalog.store().open(&key)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; READ_BACK_BYTES.min(file.size as usize)];
        let mut offset = 0;
        while offset < file.size {
            let len = buffer.len().min((file.size - offset) as usize);
            reader.read_at(offset, &mut buffer[..len])?;
            hasher.update(&buffer[..len]);
            offset += len as u64;
            let (bytes, stored) = (ByteCount(len as u64), ByteCount::ZERO);
            observer.notice(&Event::Advanced { entries: 0, bytes, stored });
        }
        if reader.len() != file.size || hasher.finish() != file.sha256 {
            return Err(StoreError::ReadBackDiffers { place: key.to_string(), offset: 0 }.into());
        }
        Ok(())
    }

    /// Gives one of its finished files another name.
    ///
    /// # Errors
    /// If the store refuses, or the name is taken.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), CatalogError> {
        Ok(self.catalog.store().rename(&self.folder.join(from)?, &self.folder.join(to)?)?)
    }

    /// Removes one of its files.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn remove(&self, name: &str) -> Result<(), CatalogError> {
        Ok(self.catalog.store().remove(&self.folder.join(name)?)?)
    }

    /// Makes the names in it durable.
    ///
    /// # Errors
    /// If the store fails.
    pub fn sync(&self) -> Result<(), CatalogError> {
        Ok(self.catalog.store().sync_folder(&self.folder)?)
    }

    /// Begins again: removes everything but the files of these names.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn restart(&mut self, keep: &[String]) -> Result<(), CatalogError> {
        self.files.clear();
        self.linked.clear();
        for file in self.catalog.store().list(&self.folder)? {
            if !keep.contains(&file.name) {
                self.remove(&file.name)?;
            }
        }
        Ok(())
    }

    /// Removes the manifests of single volumes: a snapshot has one for all.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn remove_parts(&self) -> Result<(), CatalogError> {
        for file in self.catalog.store().list(&self.folder)? {
            if file.name.ends_with(PART_ENDING) {
                self.remove(&file.name)?;
            }
        }
        Ok(())
    }

    /// Writes the record and, last of all, the checksums of everything. What is linked is looked at once more after that:
    /// what is written to from then on is younger than the record, and the next run sees it.
    ///
    /// # Errors
    /// If the store fails; [`CatalogError::WrittenTo`] if what is linked was written to since it was looked at.
    pub fn seal(&mut self, record: &Record) -> Result<Digest, CatalogError> {
        let mut text = serde_json::to_string_pretty(record).expect("a record is plain values");
        text.push('\n');
        let file = self.add_small(RECORD_NAME, text.as_bytes())?;
        let sums = Sums::new(self.files.iter().map(|f| (f.name.clone(), f.sha256)).collect());
        self.add_small(SUMS_NAME, sums.encode().as_bytes())?;
        for (key, modified) in &self.linked {
            if self.store().stat(key)?.is_none_or(|found| found.modified != *modified) {
                return Err(CatalogError::WrittenTo { place: key.to_string() });
            }
        }
        Ok(file.sha256)
    }

    /// Makes the snapshot appear. After an error nothing has appeared, and the draft is still there to be abandoned.
    ///
    /// # Errors
    /// If the store is another now, the lease was lost, or the rename failed.
    pub fn publish(&mut self, lease: &Lease, name: &SnapshotName) -> Result<Published, CatalogError> {
        let store = self.catalog.store();
        store.sync_folder(&self.folder)?;
        store.check_identity()?;
        lease.check()?;
        let snapshot = self.catalog.layout().snapshot(name);
        if let Err(error) = store.publish(&self.folder, &snapshot) {
            // over NFS the server may have done it and only its answer was lost; then the name is there, and ours
            let ours = self.catalog.record(name).is_ok_and(|(record, _)| record.run == self.run);
            if !ours {
                // a server may still carry out a rename that it has not answered: then nothing may be taken out of it
                self.in_doubt = !matches!(error, StoreError::AlreadyThere { .. } | StoreError::Refused { .. });
                return Err(error.into());
            }
        }
        let doubt = store.sync_folder(&self.catalog.layout().folder()).err();
        Ok(Published { doubt })
    }

    /// Leaves what is finished in it to the next run, if anything is: whole volumes, each with its manifest. Gives how
    /// many they are.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn leave(&self) -> Result<u64, CatalogError> {
        let store = self.catalog.store();
        if self.in_doubt {
            return Ok(0);
        }
        let parts = store.list(&self.folder)?.iter().filter(|file| file.name.ends_with(PART_ENDING)).count() as u64;
        if parts > 0 {
            match create_whole(store, &self.folder.join(GIVEN_UP)?, b"") {
                // whoever broke its lease has said so already
                Ok(()) | Err(StoreError::AlreadyThere { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(parts)
    }

    /// Removes the unfinished work, unless the store may still be publishing it: then a later run cleans up.
    ///
    /// # Errors
    /// If the store refuses; a later run cleans up.
    pub fn abandon(self) -> Result<(), CatalogError> {
        if self.in_doubt {
            return Ok(());
        }
        Ok(self.catalog.store().remove_folder(&self.folder)?)
    }
}
