//! Adoption: what a run that did not come to its end had finished becomes part of the next one's draft.
//!
//! A run that cuts its volumes by size writes beside each finished one a manifest of that volume alone. The next run moves
//! both into its own draft, so that they are not lost if it dies as well, and believes them only after every byte of the
//! volume was compared with its checksum. What does not hold is passed over; it is removed with the rest.

use super::contents::volumes_with_frames;
use super::draft::Draft;
use super::error::CatalogError;
use super::layout::{PART_ENDING, part_name};
use super::list::OpenManifest;
use super::record::FileRecord;
use crate::archive::manifest::{Header, ManifestError, VolumeLine};
use crate::domain::RunId;
use crate::observe::Observer;
use crate::store::{Key, ListedKind, StoreError};

/// A finished volume of an unfinished run, in this draft, with its own manifest.
#[derive(Debug)]
pub struct Adopted {
    /// Its manifest; the volume is number 0 in it.
    pub manifest: OpenManifest,
    /// The volume.
    pub line: VolumeLine,
    /// The volume as a file.
    pub file: FileRecord,
}

impl Adopted {
    /// Who wrote it, and when.
    pub fn header(&self) -> &Header {
        self.manifest.header()
    }
}

impl Draft {
    /// Takes over the finished volumes of `run`, whose unfinished work lies beside this draft and whom nobody else will
    /// touch. Gives them in the order of their names, and what was passed over in sentences.
    ///
    /// # Errors
    /// If the store fails.
    pub fn adopt(&self, run: &RunId, observer: &dyn Observer) -> Result<(Vec<Adopted>, Vec<String>), CatalogError> {
        let (store, layout) = (self.catalog.store(), self.catalog.layout());
        let from = layout.partial(run);
        let listed = match store.list(&from) {
            // its own rename came through after all, or it cleaned up
            Err(StoreError::NotThere { .. }) => Vec::new(),
            listed => listed?,
        };
        let mut parts: Vec<String> = listed
            .into_iter()
            .filter(|file| file.kind == ListedKind::File && file.name.ends_with(PART_ENDING))
            .map(|file| file.name)
            .collect();
        parts.sort_by_key(|name| (name.len(), name.clone()));
        let (mut adopted, mut passed) = (Vec::new(), Vec::new());
        for part in parts {
            let key = from.join(&part)?;
            let volume = self.catalog.open_manifest(&key).and_then(|manifest| {
                let mut volumes = volumes_with_frames(&manifest)?;
                let (line, _) = volumes.pop().filter(|_| volumes.is_empty()).ok_or_else(|| damaged("one volume"))?;
                let header = manifest.header();
                let fits = header.job == *layout.job()
                    && header.started.is_some()
                    && part_name(&line.name, line.codec) == part;
                if fits { Ok(line) } else { Err(damaged("its own volume")) }
            });
            let line = match volume {
                Ok(line) => line,
                Err(ManifestError::Read(error)) if error.is_absent() => return Err(error.into()),
                Err(error) => {
                    passed.push(format!("{part} of an unfinished run is not adopted: {error}"));
                    continue;
                }
            };
            let file = FileRecord { name: line.name.clone(), size: line.size, sha256: line.sha256 };
            // the volume first: a part without its volume is worth nothing, and is passed over
            let is_taken = self.take(&from, &line.name)?;
            if !(is_taken && self.take(&from, &part)?) {
                if is_taken {
                    // nothing would tell of it in the snapshot
                    self.remove(&line.name)?;
                }
                passed.push(format!("{} of an unfinished run is not adopted: it is gone", line.name));
                continue;
            }
            let sound = self.read_back(&file, observer).map_err(|error| match error {
                CatalogError::Store(StoreError::Short { .. } | StoreError::ReadBackDiffers { .. }) => {
                    Ok("its bytes are others".to_owned())
                }
                // one bad sector must not fail this run, and every one after it
                CatalogError::Store(error @ StoreError::Io { .. }) => Ok(error.to_string()),
                other => Err(other),
            });
            let manifest = match sound {
                Ok(()) => match self.catalog.open_manifest(&self.folder.join(&part)?) {
                    Ok(manifest) => Ok(manifest),
                    Err(ManifestError::Read(error)) if error.is_absent() => return Err(error.into()),
                    Err(error) => Err(error.to_string()),
                },
                Err(Ok(why)) => Err(why),
                Err(Err(error)) => return Err(error),
            };
            match manifest {
                Ok(manifest) => adopted.push(Adopted { manifest, line, file }),
                Err(why) => {
                    passed.push(format!("{} of an unfinished run is not adopted: {why}", line.name));
                    self.remove(&part)?;
                    self.remove(&line.name)?;
                }
            }
        }
        Ok((adopted, passed))
    }

    /// Moves a file of an unfinished run into this draft. False if it is nowhere: that run died between two of its own
    /// deeds, or lost the race with a hand that tidied up.
    fn take(&self, from: &Key, name: &str) -> Result<bool, CatalogError> {
        let store = self.catalog.store();
        let (from, to) = (from.join(name)?, self.folder.join(name)?);
        match store.rename(&from, &to) {
            Ok(()) => Ok(true),
            // an answer may be lost, and the client asks again for what is done already
            Err(StoreError::NotThere { .. } | StoreError::AlreadyThere { .. }) => {
                Ok(store.stat(&from)?.is_none() && store.stat(&to)?.is_some())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn damaged(lacks: &str) -> ManifestError<StoreError> {
    ManifestError::Damaged(format!("it is not the manifest of {lacks}"))
}
