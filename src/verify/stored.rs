//! The default level: every stored byte.
//!
//! A volume is read once for its whole checksum and once by frames: the first proves `SHA256SUMS`, the second says
//! *where* it is damaged. The second reading comes from the page cache when the first has just passed.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use super::report::{Damage, Report};
use crate::archive::manifest::{FrameLine, Line, VolumeLine};
use crate::catalog::{
    Catalog, CatalogError, MANIFEST_NAME, Measure, OpenManifest, RECORD_NAME, RESTORE_NAME, Record, SUMS_NAME, Sums,
    check_frames, volumes_with_frames,
};
use crate::domain::{ByteCount, Cancel, Digest, Hasher, SnapshotName};
use crate::observe::{Event, Observer};
use crate::store::{ListedKind, StoreError, StoreReader};

/// How many entries of a damaged frame are named.
const ENTRIES_NAMED_MAX: usize = 20;

const READ_BYTES: usize = 1 << 20;

/// How verify works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Workers.
    pub threads: NonZeroUsize,
}

/// Verifies one snapshot. Damage is a result; an error means that the store could not be asked.
///
/// # Errors
/// If there is no such snapshot or the store fails.
pub fn verify(
    catalog: &Catalog,
    name: &SnapshotName,
    options: Options,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Report, CatalogError> {
    let mut work = Work {
        catalog,
        name,
        options,
        cancel,
        observer,
        report: Report { snapshot: name.clone(), bytes: ByteCount::ZERO, frames: 0, entries: 0, damages: Vec::new() },
        read: BTreeSet::new(),
    };
    let folder = catalog.layout().snapshot(name);
    let listed = match catalog.store().list(&folder) {
        Err(StoreError::NotThere { .. }) => return Err(CatalogError::NoSnapshot { name: name.to_string() }),
        other => other?,
    };
    let present: BTreeSet<String> = listed
        .into_iter()
        .filter(|l| l.kind == ListedKind::File && !l.name.starts_with(".nfs"))
        .map(|l| l.name)
        .collect();
    let Some(sums) = work.step(SUMS_NAME, |w| w.catalog.sums(w.name))? else { return Ok(work.report) };
    work.names(&present, &sums);
    let record = work.record(&sums)?;
    work.small(RESTORE_NAME, &sums)?;
    work.manifest_and_volumes(&sums, record.as_ref())?;
    work.others(&present, &sums)?;
    Ok(work.report)
}

struct Work<'a> {
    catalog: &'a Catalog,
    name: &'a SnapshotName,
    options: Options,
    cancel: &'a Cancel,
    observer: &'a dyn Observer,
    report: Report,
    /// Files that were compared with their checksums.
    read: BTreeSet<String>,
}

impl Work<'_> {
    fn damage(&mut self, file: &str, what: impl Into<String>) {
        self.report.damages.push(Damage::of(file, what));
    }

    /// Does something whose failure is damage of `file`, unless it is the store that is not there.
    fn step<T>(
        &mut self,
        file: &str,
        deed: impl FnOnce(&mut Self) -> Result<T, CatalogError>,
    ) -> Result<Option<T>, CatalogError> {
        match deed(self) {
            Ok(value) => Ok(Some(value)),
            Err(CatalogError::Store(error)) if error.is_absent() => Err(error.into()),
            // what a newer version made is not damaged, and what this user may not read is not known
            Err(error @ (CatalogError::Newer { .. } | CatalogError::Store(StoreError::Refused { .. }))) => Err(error),
            Err(error) => {
                let mut what = error.to_string();
                if let Some(cause) = std::error::Error::source(&error) {
                    what.push_str(&format!(": {cause}"));
                }
                self.damage(file, what);
                Ok(None)
            }
        }
    }

    fn names(&mut self, present: &BTreeSet<String>, sums: &Sums) {
        let named: BTreeSet<String> = sums.iter().map(|(name, _)| name.to_owned()).collect();
        for missing in named.difference(present) {
            self.damage(missing, "it is missing");
        }
        for extra in present.difference(&named).filter(|name| *name != SUMS_NAME) {
            self.damage(extra, format!("{SUMS_NAME} does not name it: it was not published with the snapshot"));
        }
        for needed in [RECORD_NAME, MANIFEST_NAME, RESTORE_NAME] {
            if sums.get(needed).is_none() {
                self.damage(SUMS_NAME, format!("it does not name {needed}"));
            }
        }
    }

    /// A small file against its checksum.
    fn small(&mut self, file: &str, sums: &Sums) -> Result<Option<Vec<u8>>, CatalogError> {
        let Some(bytes) = self.step(file, |w| w.catalog.file(w.name, file))? else { return Ok(None) };
        self.report.bytes.0 += bytes.len() as u64;
        self.read.insert(file.to_owned());
        if sums.get(file) != Some(Digest::of(&bytes)) {
            self.damage(file, format!("its bytes are not those that {SUMS_NAME} tells"));
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    fn record(&mut self, sums: &Sums) -> Result<Option<Record>, CatalogError> {
        let Some(bytes) = self.small(RECORD_NAME, sums)? else { return Ok(None) };
        let Some(record) = self.step(RECORD_NAME, |w| w.catalog.parse_record(w.name, &bytes))? else { return Ok(None) };
        let files = record.volumes.iter().map(|v| (&v.name, v.sha256));
        for (name, sha256) in files.chain([(&record.manifest.name, record.manifest.sha256)]) {
            if sums.get(name) != Some(sha256) {
                self.damage(RECORD_NAME, format!("it tells another checksum of {name} than {SUMS_NAME}"));
            }
        }
        Ok(Some(record))
    }

    fn manifest_and_volumes(&mut self, sums: &Sums, record: Option<&Record>) -> Result<(), CatalogError> {
        let key = self.catalog.layout().snapshot(self.name).join(MANIFEST_NAME)?;
        let opened = self.step(MANIFEST_NAME, |w| Ok(w.catalog.store().open(&key)?))?;
        if let Some(reader) = opened {
            self.whole(MANIFEST_NAME, &*reader, sums)?;
        }
        let manifest = self.step(MANIFEST_NAME, |w| w.catalog.manifest(w.name))?;
        let Some(manifest) = manifest else {
            // without a manifest the volumes are still checked as wholes
            let volumes: Vec<String> = record.iter().flat_map(|r| &r.volumes).map(|v| v.name.clone()).collect();
            for volume in volumes {
                let key = self.catalog.layout().snapshot(self.name).join(&volume)?;
                if let Some(reader) = self.step(&volume, |w| Ok(w.catalog.store().open(&key)?))? {
                    self.whole(&volume, &*reader, sums)?;
                }
            }
            return Ok(());
        };
        if let Some(record) = record
            && record.run != manifest.header().run
        {
            self.damage(MANIFEST_NAME, "it was written by another run than the record");
        }
        let volumes = self
            .step(MANIFEST_NAME, |w| volumes_with_frames(&manifest).map_err(|e| w.catalog.manifest_error(w.name, e)))?;
        let Some(volumes) = volumes else { return Ok(()) };
        if let Some(record) = record {
            self.volumes_agree(&volumes, record);
        }
        let mut damaged_ranges = Vec::new();
        for (volume, frames) in &volumes {
            self.volume(volume, frames, sums, &mut damaged_ranges)?;
        }
        self.entries(&manifest, &volumes, &damaged_ranges)
    }

    /// Files that the checksums name and nothing else does.
    fn others(&mut self, present: &BTreeSet<String>, sums: &Sums) -> Result<(), CatalogError> {
        for (name, _) in sums.iter() {
            if !self.read.contains(name) && present.contains(name) {
                let key = self.catalog.layout().snapshot(self.name).join(name)?;
                if let Some(reader) = self.step(name, |w| Ok(w.catalog.store().open(&key)?))? {
                    self.whole(name, &*reader, sums)?;
                }
            }
        }
        Ok(())
    }

    fn volumes_agree(&mut self, volumes: &[(VolumeLine, Vec<FrameLine>)], record: &Record) {
        let told: Vec<_> = record.volumes.iter().map(|v| (&v.name, v.size, v.raw_size, v.frames, v.sha256)).collect();
        let listed: Vec<_> = volumes.iter().map(|(v, _)| (&v.name, v.size, v.raw_size, v.frames, v.sha256)).collect();
        if told != listed {
            self.damage(MANIFEST_NAME, "it tells other volumes than the record");
        }
    }

    fn volume(
        &mut self,
        volume: &VolumeLine,
        frames: &[FrameLine],
        sums: &Sums,
        damaged_ranges: &mut Vec<(u32, u64, u64, usize)>,
    ) -> Result<(), CatalogError> {
        let key = match self.catalog.layout().snapshot(self.name).join(&volume.name) {
            Ok(key) => key,
            Err(error) => {
                self.damage(MANIFEST_NAME, format!("a volume has an impossible name: {error}"));
                return Ok(());
            }
        };
        let Some(reader) = self.step(&volume.name, |w| Ok(w.catalog.store().open(&key)?))? else { return Ok(()) };
        if sums.get(&volume.name) != Some(volume.sha256) {
            self.damage(MANIFEST_NAME, format!("it tells another checksum of {} than {SUMS_NAME}", volume.name));
        }
        if reader.len() != volume.size {
            self.damage(&volume.name, format!("it has {} bytes, and {} were published", reader.len(), volume.size));
        }
        self.whole(&volume.name, &*reader, sums)?;
        let damaged =
            check_frames(&*reader, frames, Measure::Sha256, self.options.threads, false, self.cancel, self.observer);
        self.report.frames += frames.len() as u64;
        for damage in damaged {
            if let Some(error) = &damage.error
                && error.is_absent()
            {
                return Err(damage.error.expect("it was just looked at").into());
            }
            let Some(frame) = frames.get(damage.frame as usize) else { continue };
            damaged_ranges.push((
                volume.volume,
                frame.raw_offset,
                frame.raw_offset + frame.raw,
                self.report.damages.len(),
            ));
            let why = damage.error.map_or_else(|| "its bytes differ".to_owned(), |error| error.to_string());
            self.report.damages.push(Damage {
                frame: Some(damage.frame),
                ..Damage::of(
                    &volume.name,
                    format!("frame {} at byte {} is damaged: {why}", damage.frame, damage.offset),
                )
            });
        }
        Ok(())
    }

    /// Names the entries that lie in damaged frames, and counts all.
    fn entries(
        &mut self,
        manifest: &OpenManifest,
        volumes: &[(VolumeLine, Vec<FrameLine>)],
        damaged: &[(u32, u64, u64, usize)],
    ) -> Result<(), CatalogError> {
        let mut last_end: Vec<u64> = vec![0; volumes.len()];
        for line in manifest.lines() {
            let line = line.map_err(|e| self.catalog.manifest_error(self.name, e));
            let Some(line) = self.step(MANIFEST_NAME, |_| line)? else { return Ok(()) };
            let Line::Entry(entry) = line else { continue };
            self.report.entries += 1;
            let placed = entry.placed;
            let end = placed.body.saturating_add(placed.stored);
            match volumes.get(placed.volume as usize) {
                Some((volume, _)) if end <= volume.raw_size && placed.offset >= last_end[placed.volume as usize] => {
                    last_end[placed.volume as usize] = end;
                }
                _ => self.damage(MANIFEST_NAME, format!("{} lies where nothing can lie", entry.path)),
            }
            // ranges and entries both ascend: the first that could touch it, and those that follow while they do
            let first = damaged.partition_point(|(volume, _, to, _)| (*volume, *to) <= (placed.volume, placed.offset));
            for (volume, from, _, at) in &damaged[first..] {
                if *volume != placed.volume || *from >= end {
                    break;
                }
                let damage = &mut self.report.damages[*at];
                damage.entries_count += 1;
                if damage.entries.len() < ENTRIES_NAMED_MAX {
                    damage.entries.push(entry.path.clone());
                }
            }
        }
        Ok(())
    }

    /// A whole file against its checksum.
    fn whole(&mut self, file: &str, reader: &dyn StoreReader, sums: &Sums) -> Result<(), CatalogError> {
        self.read.insert(file.to_owned());
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut offset = 0;
        while offset < reader.len() && self.cancel.asked().is_none() {
            let len = buffer.len().min((reader.len() - offset) as usize);
            let read = reader.read_at(offset, &mut buffer[..len]).map_err(CatalogError::from);
            if self.step(file, |_| read)?.is_none() {
                return Ok(());
            }
            hasher.update(&buffer[..len]);
            offset += len as u64;
            self.report.bytes.0 += len as u64;
            let none = ByteCount::ZERO;
            self.observer.notice(&Event::Advanced { entries: 0, bytes: ByteCount(len as u64), stored: none });
        }
        if self.cancel.asked().is_none() && sums.get(file) != Some(hasher.finish()) {
            self.damage(file, format!("its bytes are not those that {SUMS_NAME} tells"));
        }
        Ok(())
    }
}
