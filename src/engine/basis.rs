//! What the snapshot before offers to this run: its manifest, and the volumes that may be linked.
//!
//! The danger is to build on something that is not sound, night after night. So a volume is linked only if it is there,
//! as long as its record says, and was not touched since that was published, nor until it was linked; one that a
//! verification found damaged, or may have found damaged (it cannot be read), is given up; the manifest and the lists are
//! read whole and compared with their checksums before anything is decided by
//! them. What cannot be built on is said, and read from the source again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fold::{Share, to_fold};
use super::run::Unsound;
use super::stale::EarlierList;
use crate::archive::manifest::VolumeLine;
use crate::catalog::{
    Catalog, CatalogError, FileRecord, MANIFEST_NAME, OpenManifest, RECORD_NAME, Record, Remembered, VolumeRecord,
    stale_name, standing,
};
use crate::domain::Hasher;
use crate::store::{Listed, StoreError};

const READ_BYTES: usize = 1 << 20;

/// An earlier snapshot to build on.
pub(super) struct Basis {
    pub(super) record: Record,
    pub(super) manifest: OpenManifest,
    /// By the number in the manifest's lines; none where a volume is not to be linked.
    volumes: BTreeMap<u32, Option<Linkable>>,
    /// When each file of the snapshot was last changed, before anything of it was looked at.
    seen: BTreeMap<String, jiff::Timestamp>,
    /// Volumes that are given up although they are sound.
    pub(super) folded: usize,
    /// Volumes that are given up because they are not.
    unsound: usize,
}

/// A volume that may be linked.
pub(super) struct Linkable {
    pub(super) name: String,
    pub(super) codec: crate::archive::Codec,
    pub(super) line: VolumeLine,
    pub(super) record: VolumeRecord,
    pub(super) stale: Option<FileRecord>,
}

impl Basis {
    /// Looks at the snapshot of `record`. Gives none, and a sentence, where nothing can be built on it.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub(super) fn open(
        catalog: &Catalog,
        record: Record,
        max_volumes: u32,
        note: &mut impl FnMut(String),
    ) -> Result<Option<Self>, CatalogError> {
        let name = record.snapshot.clone();
        let mut refuse = |why: String| {
            note(format!("nothing of {name} is reused, everything is read: {why}; run `backup verify {name}`"));
            Ok(None)
        };
        let listed: BTreeMap<String, Listed> = match catalog.store().list(&catalog.layout().snapshot(&name)) {
            Ok(listed) => listed.into_iter().map(|listed| (listed.name.clone(), listed)).collect(),
            Err(error) if error.is_absent() => return Err(error.into()),
            Err(error) => return refuse(error.to_string()),
        };
        if !is_file_sound(catalog, &record, &record.manifest)? {
            return refuse(format!("{MANIFEST_NAME} is not what was published"));
        }
        let manifest = match catalog.manifest(&name) {
            Ok(manifest) => manifest,
            Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
            Err(error) => return refuse(error.to_string()),
        };
        let lines = match manifest.volumes().map_err(|error| catalog.manifest_error(&name, error)) {
            Ok(lines) => lines,
            Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
            Err(error) => return refuse(error.to_string()),
        };
        let agree = lines.len() == record.volumes.len()
            && lines
                .iter()
                .zip(&record.volumes)
                .all(|(line, volume)| (&line.name, line.size) == (&volume.name, volume.size));
        if !agree {
            return refuse("its record and its manifest tell different volumes".to_owned());
        }
        let suspects = match Suspects::of(catalog) {
            Ok(suspects) => suspects,
            Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
            // what was found to be damaged would be linked again, night after night
            Err(error) => return refuse(format!("what was verified cannot be read: {error}")),
        };
        let published = listed.get(RECORD_NAME).map(|listed| listed.modified);
        let mut volumes = BTreeMap::new();
        let mut unsound = 0;
        for (line, volume) in lines.into_iter().zip(&record.volumes) {
            let why = match listed.get(&volume.name) {
                None => Some("it is not there".to_owned()),
                Some(found) if found.size.0 != volume.size => {
                    Some(format!("it has {} bytes, and {} were published", found.size.0, volume.size))
                }
                // a link keeps its time: what is younger than the record was written to after it was published
                Some(found) if published.is_some_and(|published| found.modified > published) => {
                    Some("it was written to after it was published".to_owned())
                }
                Some(_) => match (suspects.why(&volume.name), &volume.stale) {
                    (Some(why), _) => Some(why),
                    (None, Some(list)) if !is_file_sound(catalog, &record, list)? => {
                        Some(format!("its list {} is not what was published", list.name))
                    }
                    (None, _) => None,
                },
            };
            let number = manifest.number_of(line.volume);
            if let Some(why) = why {
                unsound += 1;
                note(format!("{} of {name} is not reused, what it holds is read again: {why}", volume.name));
                volumes.insert(number, None);
                continue;
            }
            let (record, stale) = (volume.clone(), volume.stale.clone());
            let linkable = Linkable { name: volume.name.clone(), codec: volume.codec, line, record, stale };
            volumes.insert(number, Some(linkable));
        }
        let seen = listed.into_values().map(|listed| (listed.name, listed.modified)).collect();
        let mut basis = Self { record, manifest, volumes, seen, folded: 0, unsound };
        let fold = to_fold(&basis.shares(), max_volumes);
        basis.folded = fold.len();
        for number in fold {
            basis.volumes.insert(number, None);
        }
        Ok(Some(basis))
    }

    /// Gives up all volumes: what is in them is only compared with.
    pub(super) fn let_go(&mut self) {
        self.volumes.values_mut().for_each(|volume| *volume = None);
    }

    /// Of what a file that is not sound is a part.
    pub(super) fn which(&self, file: &str) -> Unsound {
        let has =
            |volume: &Linkable| volume.name == file || volume.stale.as_ref().is_some_and(|list| list.name == file);
        match self.volumes.iter().find(|(_, volume)| volume.as_ref().is_some_and(has)) {
            Some((number, _)) => Unsound::Volume(*number),
            None => Unsound::Manifest(format!("{file} cannot be taken over as it was published")),
        }
    }

    /// When a file of the snapshot was last changed, as this run saw it first.
    pub(super) fn seen(&self, file: &str) -> Option<jiff::Timestamp> {
        self.seen.get(file).copied()
    }

    /// Gives up one volume, because it turned out not to be sound.
    pub(super) fn give_up(&mut self, number: u32) {
        self.volumes.insert(number, None);
        self.unsound += 1;
    }

    /// Whether every volume of the snapshot can be linked.
    pub(super) fn is_whole(&self) -> bool {
        self.volumes.values().all(Option::is_some) && self.unsound == 0
    }

    /// The volume of that number, if it may be linked.
    pub(super) fn linkable(&self, number: u32) -> Option<&Linkable> {
        self.volumes.get(&number)?.as_ref()
    }

    /// The lists of the volumes that may be linked.
    pub(super) fn lists(&self) -> BTreeMap<u32, EarlierList> {
        let linkable = self.volumes.iter().filter_map(|(number, volume)| Some((*number, volume.as_ref()?)));
        linkable
            .map(|(number, volume)| {
                let list = volume.stale.clone().map(|list| (self.record.snapshot.clone(), list));
                (number, EarlierList { name: stale_name(&volume.name, volume.codec), list })
            })
            .collect()
    }

    /// The number of the first volume that comes new.
    pub(super) fn next_number(&self) -> u32 {
        self.volumes.keys().next_back().map_or(0, |last| last + 1)
    }

    fn shares(&self) -> Vec<Share> {
        let runs: BTreeSet<_> = self.record.volumes.iter().map(|volume| &volume.written_by).collect();
        let linkable = self.volumes.iter().filter_map(|(number, volume)| Some((*number, volume.as_ref()?)));
        linkable
            .map(|(volume, Linkable { record, .. })| {
                let run = runs.iter().position(|run| **run == record.written_by).unwrap_or(usize::MAX);
                Share { volume, run, held: record.held, live: record.live }
            })
            .collect()
    }
}

/// Whether a run that builds on the snapshot of `record` and began at `started` is to store everything anew, because the
/// oldest volume in use has the age for it.
pub(super) fn is_fresh_due(fresh_every: Option<Duration>, record: &Record, started: jiff::Timestamp) -> bool {
    let oldest = record.volumes.iter().map(|volume| volume.written_by.at()).min();
    let age = oldest.map(|oldest| started.duration_since(oldest));
    let has_age = |every| age.is_some_and(|age| age >= jiff::SignedDuration::try_from(every).unwrap_or_default());
    fresh_every.is_some_and(has_age)
}

/// Whether a file still has the checksum of its record.
fn is_file_sound(catalog: &Catalog, record: &Record, file: &FileRecord) -> Result<bool, CatalogError> {
    let key = catalog.layout().snapshot(&record.snapshot).join(&file.name)?;
    let read = || {
        let reader = catalog.store().open(&key)?;
        if reader.len() != file.size {
            return Ok(false);
        }
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; READ_BYTES.min(file.size as usize)];
        let mut at = 0;
        while at < file.size {
            let part = &mut buffer[..READ_BYTES.min((file.size - at) as usize)];
            reader.read_at(at, part)?;
            hasher.update(part);
            at += part.len() as u64;
        }
        Ok::<bool, StoreError>(hasher.finish() == file.sha256)
    };
    match read() {
        Err(error) if error.is_absent() => Err(error.into()),
        other => Ok(other.unwrap_or(false)),
    }
}

/// Which volumes no run links, by what verifications found or may have found. Volumes have one name wherever they are
/// linked, so what was found of them in one snapshot holds for all.
struct Suspects {
    /// In these damage was found that no later verification has disproved.
    damaged: BTreeSet<String>,
    /// These are in snapshots of which a verification cannot be read.
    unread: BTreeMap<String, String>,
}

impl Suspects {
    /// # Errors
    /// If the store cannot be asked, or does not say what was verified.
    fn of(catalog: &Catalog) -> Result<Self, CatalogError> {
        let Remembered { known, unread: of } = catalog.remembered()?;
        let found = known.values().flat_map(|of_one| standing(of_one)).filter(|verification| !verification.is_well());
        let damaged = found.flat_map(|verification| verification.files.iter().cloned()).collect();
        let mut unread = BTreeMap::new();
        for (snapshot, why) in of {
            match catalog.files_of(&catalog.layout().snapshot(&snapshot)) {
                Ok(files) => unread.extend(files.into_iter().map(|(file, ..)| {
                    let why = format!("a verification of {snapshot} cannot be read: {why}");
                    (file, why)
                })),
                Err(CatalogError::Store(StoreError::NotThere { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { damaged, unread })
    }

    /// Why a volume is not to be linked.
    fn why(&self, file: &str) -> Option<String> {
        let damaged = || "a verification found damage in it that nobody has disproved".to_owned();
        self.damaged.contains(file).then(damaged).or_else(|| self.unread.get(file).cloned())
    }
}
