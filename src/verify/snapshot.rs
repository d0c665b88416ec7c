//! One snapshot, at any level that only reads.
//!
//! A volume is read once: for its whole checksum, which proves `SHA256SUMS`, and by frames, which say *where* it is
//! damaged. The deep level decodes what it reads by frames before. What is damaged is damage and no error: an error means that the store could not be
//! asked.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use super::deep::{self, Deep};
use super::known::{Found, Known, Which};
use super::lists::{Lists, Read};
use super::report::{Damage, Report};
use crate::archive::manifest::{EntryKind, FrameLine, Line, VolumeLine};
use crate::catalog::{
    Catalog, CatalogError, Contents, FrameLoss, MANIFEST_NAME, NameSet, OpenManifest, RECORD_NAME, RESTORE_NAME,
    Record, SUMS_NAME, Sums, TOOL, WholeCheck, check_frames, check_whole, restore_guide, stale_name, volume_name,
    volume_writer, volumes_with_frames,
};
use crate::domain::{ByteCount, Cancel, Digest, Hasher, Level, Part, SnapshotName};
use crate::observe::{Event, Observer};
use crate::store::{ListedKind, StoreError, StoreReader};

/// How many entries of a damaged frame are named.
const ENTRIES_NAMED_MAX: usize = 20;

const READ_BYTES: usize = 1 << 20;

/// How verify works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How deep it looks. A drill looks as deep as [`Level::Stored`] here; the rest of it is [`super::compare()`].
    pub level: Level,
    /// Only this part of the frames.
    pub part: Option<Part>,
    /// Workers.
    pub threads: NonZeroUsize,
}

impl Options {
    /// Everything, at `level`.
    pub fn at(level: Level, threads: NonZeroUsize) -> Self {
        Self { level, part: None, threads }
    }
}

/// Verifies one snapshot. Damage is a result; an error means that the store could not be asked. Volumes in `known` are
/// not read again.
///
/// # Errors
/// [`CatalogError::NoSnapshot`] if there is no such snapshot, or not any more: what is not there because somebody removed
/// it meanwhile is no damage. Otherwise if the store fails.
pub fn verify(
    catalog: &Catalog,
    name: &SnapshotName,
    options: &Options,
    known: &Known,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Report, CatalogError> {
    let folder = catalog.layout().snapshot(name);
    let listed = match catalog.store().list(&folder) {
        Err(StoreError::NotThere { .. }) => return Err(CatalogError::NoSnapshot { name: name.to_string() }),
        other => other?,
    };
    let mut work = Work {
        catalog,
        name,
        options,
        known,
        cancel,
        observer,
        report: Report::new(name.clone(), options.level, options.part),
        present: BTreeMap::new(),
        read: BTreeSet::new(),
    };
    for listed in listed.into_iter().filter(|listed| !listed.name.starts_with(".nfs")) {
        if listed.kind == ListedKind::File {
            work.present.insert(listed.name, listed.size);
        } else {
            work.damage(&listed.name, "it is no file: it was not published with the snapshot");
        }
    }
    if let Some(sums) = work.step(SUMS_NAME, |w| w.catalog.sums(w.name))? {
        work.names(&sums);
        let record = work.record(&sums)?;
        work.guide(&sums, record.as_ref())?;
        work.manifest_and_volumes(&sums, record.as_ref())?;
        work.others(&sums, record.as_ref())?;
    }
    work.shared()?;
    Ok(work.report)
}

struct Work<'a> {
    catalog: &'a Catalog,
    name: &'a SnapshotName,
    options: &'a Options,
    known: &'a Known,
    cancel: &'a Cancel,
    observer: &'a dyn Observer,
    report: Report,
    /// The files in the snapshot's folder.
    present: BTreeMap<String, ByteCount>,
    /// Files that were compared with their checksums.
    read: BTreeSet<String>,
}

impl Work<'_> {
    fn damage(&mut self, file: &str, what: impl Into<String>) {
        self.report.add(Damage::of(file, what));
    }

    /// Whether the snapshot is not there any more: the job's retention, or a person, may remove it at any moment.
    fn is_removed(&self) -> Result<bool, CatalogError> {
        Ok(!self.catalog.snapshots()?.contains(self.name))
    }

    fn removed(&self) -> CatalogError {
        CatalogError::NoSnapshot { name: self.name.to_string() }
    }

    fn reads_volumes(&self) -> bool {
        self.options.level > Level::Quick
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
            Err(CatalogError::Store(StoreError::NotThere { .. })) if self.is_removed()? => Err(self.removed()),
            // what this user may not read is not known
            Err(error @ CatalogError::Store(StoreError::Refused { .. })) => Err(error),
            // what a newer version made is not damaged; what is damaged may say that it is newer
            Err(error @ CatalogError::Newer { .. }) if self.report.damages.iter().all(|d| d.file != file) => Err(error),
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

    fn names(&mut self, sums: &Sums) {
        let named: BTreeSet<String> = sums.iter().map(|(name, _)| name.to_owned()).collect();
        let present: BTreeSet<String> = self.present.keys().cloned().collect();
        for missing in named.difference(&present) {
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
            self.damage(file, another_checksum());
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    fn record(&mut self, sums: &Sums) -> Result<Option<Record>, CatalogError> {
        let Some(bytes) = self.small(RECORD_NAME, sums)? else { return Ok(None) };
        let Some(record) = self.step(RECORD_NAME, |w| w.catalog.parse_record(w.name, &bytes))? else { return Ok(None) };
        let files = record.volumes.iter().map(|v| (&v.name, v.sha256));
        let lists = record.volumes.iter().filter_map(|v| v.stale.as_ref()).map(|list| (&list.name, list.sha256));
        for (name, sha256) in files.chain(lists).chain([(&record.manifest.name, record.manifest.sha256)]) {
            if sums.get(name) != Some(sha256) {
                self.damage(RECORD_NAME, format!("it tells another checksum of {name} than {SUMS_NAME}"));
            }
        }
        for volume in &record.volumes {
            // RESTORE.txt unpacks the volumes of one run together, by the codec that the record tells
            let named = volume_writer(&volume.name).map(|(_, number)| number);
            if named.is_none_or(|number| volume_name(&volume.written_by, number, volume.codec) != volume.name) {
                let by = &volume.written_by;
                self.damage(RECORD_NAME, format!("the name of {} is not that of a volume of {by}", volume.name));
            }
            // and leaves out what the lists name of which it knows
            let list = stale_name(&volume.name, volume.codec);
            match &volume.stale {
                Some(told) if told.name != list => {
                    self.damage(RECORD_NAME, format!("{} is not the list of {}", told.name, volume.name));
                }
                None if sums.get(&list).is_some() => self.damage(RECORD_NAME, format!("it does not know of {list}")),
                _ => {}
            }
        }
        Ok(Some(record))
    }

    /// The guide has to be the one that the record makes. Another version of this program may have said it otherwise.
    fn guide(&mut self, sums: &Sums, record: Option<&Record>) -> Result<(), CatalogError> {
        let Some(bytes) = self.small(RESTORE_NAME, sums)? else { return Ok(()) };
        if let Some(record) = record
            && record.tool == TOOL
            && restore_guide(record).as_bytes() != bytes
        {
            self.damage(RESTORE_NAME, format!("it is not the guide to what {RECORD_NAME} describes"));
        }
        Ok(())
    }

    fn manifest_and_volumes(&mut self, sums: &Sums, record: Option<&Record>) -> Result<(), CatalogError> {
        let key = self.catalog.layout().snapshot(self.name).join(MANIFEST_NAME)?;
        let opened = self.step(MANIFEST_NAME, |w| Ok(w.catalog.store().open(&key)?))?;
        if let Some(reader) = opened {
            if let Some(record) = record
                && reader.len() != record.manifest.size
            {
                let told = record.manifest.size;
                self.damage(MANIFEST_NAME, format!("it has {} bytes, and {told} were published", reader.len()));
            }
            self.whole(MANIFEST_NAME, &*reader, sums)?;
        }
        let manifest = self.step(MANIFEST_NAME, |w| w.catalog.manifest(w.name))?;
        let Some(manifest) = manifest else {
            // without a manifest the volumes are still checked as wholes
            let volumes: Vec<String> = record.iter().flat_map(|r| &r.volumes).map(|v| v.name.clone()).collect();
            for volume in if self.reads_volumes() { volumes } else { Vec::new() } {
                let key = self.catalog.layout().snapshot(self.name).join(&volume)?;
                if let Some(reader) = self.step(&volume, |w| Ok(w.catalog.store().open(&key)?))? {
                    self.whole(&volume, &*reader, sums)?;
                }
            }
            return Ok(());
        };
        if let Some(record) = record
            && record.manifest_of.is_none()
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
        for (volume, _) in &volumes {
            self.sizes(volume, sums);
        }
        let seen = match self.options.level {
            Level::Deep => self.deep(&manifest, &volumes)?,
            Level::Quick | Level::Stored | Level::Drill => None,
        };
        let (seen, mut damaged) = seen.unwrap_or_default();
        if self.reads_volumes() {
            let total: u64 = volumes.iter().map(|(_, frames)| frames.len() as u64).sum();
            let share = self.options.part.map_or(0..total, |part| part.share(total));
            let mut first = 0;
            for (volume, frames) in &volumes {
                let wanted = |frame: &FrameLine| {
                    let seen = seen.get(volume.volume as usize).and_then(|seen| seen.get(frame.frame as usize));
                    share.contains(&(first + frame.frame)) && seen != Some(&true)
                };
                let rest: Vec<FrameLine> = frames.iter().copied().filter(wanted).collect();
                self.volume(volume, frames, &rest, sums, &mut damaged)?;
                first += frames.len() as u64;
            }
        }
        let lines: Vec<&VolumeLine> = volumes.iter().map(|(volume, _)| volume).collect();
        let is_there = |file: &str| self.present.contains_key(file);
        let (mut lists, failed) = Lists::open(self.catalog, self.name, &lines, &is_there);
        for (file, error) in failed {
            self.step(&file, |_| Err::<(), _>(error))?;
        }
        self.entries(&manifest, &volumes, &mut lists, &damaged, record)?;
        self.lists_end(lists, sums)
    }

    /// A volume's name and length, without opening it.
    fn sizes(&mut self, volume: &VolumeLine, sums: &Sums) {
        if sums.get(&volume.name) != Some(volume.sha256) {
            self.damage(MANIFEST_NAME, format!("it tells another checksum of {} than {SUMS_NAME}", volume.name));
        }
        if let Some(found) = self.present.get(&volume.name).copied()
            && found.0 != volume.size
        {
            self.damage(&volume.name, format!("it has {} bytes, and {} were published", found.0, volume.size));
        }
    }

    /// Everything decoded. What was seen, and the damaged frames among it.
    fn deep(
        &mut self,
        manifest: &OpenManifest,
        volumes: &[(VolumeLine, Vec<FrameLine>)],
    ) -> Result<Option<(Seen, Hurt)>, CatalogError> {
        let contents = self.step(MANIFEST_NAME, |w| Contents::open(w.catalog, w.name, manifest))?;
        let Some(contents) = contents else { return Ok(None) };
        let stale = volumes.iter().map(|(volume, _)| self.stale(volume)).collect::<Result<Vec<_>, _>>()?;
        let (part, threads) = (self.options.part, self.options.threads);
        let deep =
            Deep { contents: &contents, stale: &stale, part, threads, cancel: self.cancel, observer: self.observer };
        let found = deep::look(&deep, manifest);
        self.report.bytes.0 += found.bytes;
        self.report.frames += found.seen.iter().flatten().filter(|seen| **seen).count() as u64;
        let mut hurt = Hurt::default();
        for ((volume, frame), loss) in found.frames {
            match loss {
                FrameLoss::Unread { source, .. } if source.is_absent() => return Err(source.into()),
                // that the volume is not there is told once
                FrameLoss::NoVolume { .. } => continue,
                _ => {}
            }
            let (line, frames) = &volumes[volume as usize];
            self.hurt(line, &frames[frame], loss.to_string(), &mut hurt);
        }
        self.report.damages_count += found.contradictions_count - found.contradictions.len() as u64;
        for contradiction in found.contradictions {
            let file = &volumes[contradiction.volume as usize].0.name;
            self.report.add(match contradiction.path {
                Some(path) => Damage::of_entry(file, path, contradiction.what),
                None => Damage::of(file, contradiction.what),
            });
        }
        Ok(Some((found.seen, hurt)))
    }

    /// The names in a volume that this snapshot does not use. What is wrong with the list is told when it is read beside
    /// the manifest; here it is empty then.
    fn stale(&self, volume: &VolumeLine) -> Result<NameSet, CatalogError> {
        let file = stale_name(&volume.name, volume.codec);
        if !self.present.contains_key(&file) {
            return Ok(NameSet::default());
        }
        match NameSet::read(self.catalog, self.name, &file) {
            Ok((names, _)) => Ok(names),
            Err(CatalogError::Store(error)) if error.is_absent() => Err(error.into()),
            Err(CatalogError::Store(StoreError::NotThere { .. })) if self.is_removed()? => Err(self.removed()),
            Err(_) => Ok(NameSet::default()),
        }
    }

    /// The lists to their ends: their lines, and their bytes against their checksums.
    fn lists_end(&mut self, lists: Lists<'_>, sums: &Sums) -> Result<(), CatalogError> {
        for Read { file, whole, fault } in lists.finish() {
            let Some(whole) = self.step(&file, |_| whole)? else { continue };
            self.report.bytes.0 += whole.size;
            self.read.insert(file.clone());
            if sums.get(&file) != Some(whole.sha256) {
                self.damage(&file, another_checksum());
            } else if let Some(fault) = fault {
                self.step(&file, |_| Err::<(), _>(fault))?;
            }
        }
        Ok(())
    }

    /// Files that the checksums name and nothing else does.
    fn others(&mut self, sums: &Sums, record: Option<&Record>) -> Result<(), CatalogError> {
        for (name, _) in sums.iter() {
            let is_volume = record.is_none_or(|record| record.volumes.iter().any(|volume| volume.name == name));
            let is_left_out = is_volume && (!self.reads_volumes() || self.options.part.is_some());
            if !self.read.contains(name) && self.present.contains_key(name) && !is_left_out {
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

    /// A volume as a whole, and those of its frames that nobody has compared yet.
    fn volume(
        &mut self,
        volume: &VolumeLine,
        frames: &[FrameLine],
        rest: &[FrameLine],
        sums: &Sums,
        hurt: &mut Hurt,
    ) -> Result<(), CatalogError> {
        let key = match self.catalog.layout().snapshot(self.name).join(&volume.name) {
            Ok(key) => key,
            Err(error) => {
                self.damage(MANIFEST_NAME, format!("a volume has an impossible name: {error}"));
                return Ok(());
            }
        };
        let Some(reader) = self.step(&volume.name, |w| Ok(w.catalog.store().open(&key)?))? else { return Ok(()) };
        let which = Which::of(self.catalog.store().id(), &*reader, volume, frames);
        if let Some(found) = which.as_ref().and_then(|which| self.known.find(which)) {
            self.read.insert(volume.name.clone());
            self.report.volumes_known += 1;
            if !found.whole {
                self.damage(&volume.name, another_checksum());
            }
            for (number, why) in found.frames {
                if let Some(frame) = rest.iter().find(|frame| frame.frame == number) {
                    self.hurt(volume, frame, why, hurt);
                }
            }
            return Ok(());
        }
        let mut found = Found::default();
        let threads = self.options.threads;
        let damaged = if self.options.part.is_some() {
            // of a part, the frames alone
            self.report.bytes.0 += rest.iter().map(|f| f.stored).sum::<u64>();
            check_frames(&*reader, rest, threads, false, self.cancel, self.observer)
        } else {
            let asked = |frame: &FrameLine| rest.binary_search_by_key(&frame.frame, |frame| frame.frame).is_ok();
            let WholeCheck { damaged, sha256, behind } =
                check_whole(&*reader, frames, &asked, threads, self.cancel, self.observer);
            self.read.insert(volume.name.clone());
            self.report.bytes.0 += reader.len();
            found.whole = sha256.is_some() && sums.get(&volume.name) == sha256;
            if let Some(error) = behind {
                self.step(&volume.name, |_| Err::<(), _>(error.into()))?;
            } else if self.cancel.asked().is_none() && sha256.is_some() && !found.whole {
                self.damage(&volume.name, another_checksum());
            }
            damaged
        };
        self.report.frames += rest.len() as u64;
        for damage in damaged {
            if let Some(error) = &damage.error
                && error.is_absent()
            {
                return Err(damage.error.expect("it was just looked at").into());
            }
            let Some(frame) = frames.get(damage.frame as usize) else { continue };
            let why = damage.error.map_or_else(|| "its bytes differ".to_owned(), |error| error.to_string());
            found.frames.push((damage.frame, why.clone()));
            self.hurt(volume, frame, why, hurt);
        }
        let is_all = self.options.part.is_none() && rest.len() == frames.len() && self.cancel.asked().is_none();
        if let (Some(which), true) = (which, is_all) {
            self.known.remember(which, found);
        }
        Ok(())
    }

    /// A damaged frame.
    fn hurt(&mut self, volume: &VolumeLine, frame: &FrameLine, why: String, hurt: &mut Hurt) {
        let what = format!("frame {} at byte {} is damaged: {why}", frame.frame, frame.offset);
        let damage = Damage { frame: Some(frame.frame), ..Damage::of(&volume.name, what) };
        if let Some(at) = self.report.add(damage) {
            hurt.0.push((volume.volume, frame.raw_offset, frame.raw_offset + frame.raw, at));
        }
    }

    /// Goes through the whole manifest: whether it adds up, and which entries lie in damaged frames.
    fn entries(
        &mut self,
        manifest: &OpenManifest,
        volumes: &[(VolumeLine, Vec<FrameLine>)],
        lists: &mut Lists<'_>,
        hurt: &Hurt,
        record: Option<&Record>,
    ) -> Result<(), CatalogError> {
        let mut hurt = hurt.0.clone();
        hurt.sort_unstable();
        let mut last_end: Vec<u64> = vec![0; volumes.len()];
        let (mut content, mut skips) = (0_u64, 0_u64);
        for line in manifest.lines() {
            let line = line.map_err(|e| self.catalog.manifest_error(self.name, e));
            let Some(line) = self.step(MANIFEST_NAME, |_| line)? else { return Ok(()) };
            let Line::Entry(entry) = line else {
                skips += 1;
                continue;
            };
            self.report.entries += 1;
            if matches!(entry.kind, EntryKind::File) {
                content = content.saturating_add(entry.size);
            }
            let placed = entry.placed;
            let end = placed.body.saturating_add(placed.stored);
            match volumes.get(placed.volume as usize) {
                Some((volume, _))
                    if placed.offset <= placed.body
                        && end <= volume.raw_size
                        && placed.offset >= last_end[placed.volume as usize] =>
                {
                    last_end[placed.volume as usize] = end;
                }
                _ => {
                    let what = format!("{} lies where nothing can lie", entry.path);
                    self.report.add(Damage::of_entry(MANIFEST_NAME, entry.path.clone(), what));
                }
            }
            for list in lists.naming(placed.volume, &entry.path) {
                let what = format!("it names {}, which this snapshot uses: tar would leave it out", entry.path);
                self.report.add(Damage::of_entry(&list, entry.path.clone(), what));
            }
            // ranges and entries both ascend: the first that could touch it, and those that follow while they do
            let first = hurt.partition_point(|(volume, _, to, _)| (*volume, *to) <= (placed.volume, placed.offset));
            for (volume, from, _, at) in &hurt[first..] {
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
        let trailer = manifest.trailer();
        if (skips, content) != (trailer.skipped, trailer.content_bytes) {
            self.damage(MANIFEST_NAME, "its lines do not add up to what its end tells");
        }
        if let Some(record) = record
            && (record.totals.entries, record.totals.content_bytes.0) != (self.report.entries, content)
        {
            self.damage(RECORD_NAME, "it counts other entries than the manifest");
        }
        Ok(())
    }

    /// Names the other snapshots that hold a damaged volume. A record that cannot be read says nothing.
    fn shared(&mut self) -> Result<(), CatalogError> {
        if self.report.is_well() {
            return Ok(());
        }
        let Ok((own, _)) = self.catalog.record(self.name) else { return Ok(()) };
        for other in self.catalog.snapshots()? {
            if other == *self.name {
                continue;
            }
            let Ok((record, _)) = self.catalog.record(&other) else { continue };
            for damage in &mut self.report.damages {
                let volume = own.volumes.iter().find(|volume| volume.name == damage.file);
                let is_shared = volume.is_some_and(|volume| {
                    record.volumes.iter().any(|o| (&o.name, o.sha256) == (&volume.name, volume.sha256))
                });
                if is_shared {
                    damage.shared_with.push(other.clone());
                }
            }
        }
        Ok(())
    }

    /// A whole file against its checksum. Whether it is the right one.
    fn whole(&mut self, file: &str, reader: &dyn StoreReader, sums: &Sums) -> Result<bool, CatalogError> {
        self.read.insert(file.to_owned());
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut offset = 0;
        while offset < reader.len() && self.cancel.asked().is_none() {
            let len = buffer.len().min((reader.len() - offset) as usize);
            let read = reader.read_at(offset, &mut buffer[..len]).map_err(CatalogError::from);
            if self.step(file, |_| read)?.is_none() {
                return Ok(false);
            }
            hasher.update(&buffer[..len]);
            offset += len as u64;
            self.report.bytes.0 += len as u64;
            let none = ByteCount::ZERO;
            self.observer.notice(&Event::Advanced { entries: 0, bytes: ByteCount(len as u64), stored: none });
        }
        let is_right = sums.get(file) == Some(hasher.finish());
        if self.cancel.asked().is_none() && !is_right {
            self.damage(file, another_checksum());
        }
        Ok(is_right)
    }
}

/// For each volume, which of its frames were compared.
type Seen = Vec<Vec<bool>>;

/// Damaged frames: the volume, where their content begins and ends in its tar stream, and their place in the report.
#[derive(Debug, Default)]
struct Hurt(Vec<(u32, u64, u64, usize)>);

fn another_checksum() -> String {
    format!("its bytes are not those that {SUMS_NAME} tells")
}
