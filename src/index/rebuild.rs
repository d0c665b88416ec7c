//! From what the volumes say to a snapshot that is whole again.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;

use super::scan::{Scanned, codec_of, scan};
use crate::archive::manifest::{self, Entry, EntryKind, Header, ManifestWriter};
use crate::archive::stale::parse_name;
use crate::catalog::{
    Catalog, CatalogError, Claim, Draft, FileRecord, Lease, MANIFEST_NAME, RESTORE_NAME, Record, Reuse, VolumeRecord,
    restore_guide, stale_name,
};
use crate::domain::{Advise, ByteCount, Digest, EntryPath, SnapshotName, Totals, Verdict};
use crate::observe::Silent;
use crate::store::StoreError;

/// Why a snapshot could not be indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store, or what lies in it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A volume is not sound.
    #[error("the volume {name} cannot be indexed: {why}")]
    Volume {
        /// Its file.
        name: String,
        /// In words.
        why: String,
    },
    /// There is no volume.
    #[error("the folder of {snapshot} holds no volume")]
    NoVolumes {
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// Two volumes, or one twice, name the same entry.
    #[error("`{path}` is in the volumes twice")]
    Twice {
        /// Which.
        path: String,
    },
}

impl Advise for IndexError {
    fn advice(&self) -> String {
        match self {
            Self::Catalog(error) => error.advice(),
            Self::Volume { .. } => {
                "`backup restore --archive` (or tar) on the volume itself still gives back what lies before the damage"
                    .into()
            }
            Self::NoVolumes { .. } => "restore from another snapshot; `backup list` shows them".into(),
            Self::Twice { .. } => "take out of the folder what does not belong to the snapshot, and try again".into(),
        }
    }
}

/// What was found and written.
#[derive(Clone, Debug)]
pub struct Indexed {
    /// Entries in the volumes.
    pub entries: u64,
    /// Volumes.
    pub volumes: usize,
    /// What is not known any more, in sentences.
    pub doubts: Vec<String>,
}

/// Makes the manifest, the record, the checksums and the guide of a snapshot anew, under the job's lease. The folder as
/// it was goes to the trash.
///
/// # Errors
/// [`IndexError`]; the snapshot is then as it was, or, if the store failed at the last step, in the trash.
pub fn index(
    catalog: &Catalog,
    name: &SnapshotName,
    claim: Claim,
    tool: &str,
    now: Timestamp,
) -> Result<Indexed, IndexError> {
    let lease = Lease::acquire(catalog, claim.clone())?;
    let mut draft = match Draft::create(catalog, &claim.run) {
        Ok(draft) => draft,
        Err(error) => {
            // the error that is told is the first
            let _ = lease.release();
            return Err(error.into());
        }
    };
    let made = make(catalog, name, &lease, &mut draft, &claim, tool, now);
    if made.is_err() {
        let _ = draft.abandon();
    }
    let released = lease.release();
    let made = made?;
    released?;
    Ok(made)
}

fn make(
    catalog: &Catalog,
    name: &SnapshotName,
    lease: &Lease,
    draft: &mut Draft,
    claim: &Claim,
    tool: &str,
    now: Timestamp,
) -> Result<Indexed, IndexError> {
    let folder = catalog.layout().snapshot(name);
    let mut files: Vec<String> = catalog.files_of(&folder)?.into_iter().map(|(file, _, _)| file).collect();
    let lists: BTreeSet<String> = files.iter().filter(|file| file.ends_with(".stale")).cloned().collect();
    files.retain(|file| codec_of(file).is_some());
    files.sort_by_cached_key(|file| order(file));
    if files.is_empty() {
        return Err(IndexError::NoVolumes { snapshot: name.clone() });
    }
    let before = catalog.record(name).ok().map(|(record, _)| record);
    let mut scanned: Vec<Scanned> = Vec::new();
    for (file, number) in files.iter().zip(0..) {
        let key = folder.join(file).map_err(CatalogError::from)?;
        let reader = catalog.store().open(&key).map_err(CatalogError::from)?;
        let mut volume = scan(&*reader, file, number)?;
        let list = stale_name(file, volume.line.codec);
        if lists.contains(&list) {
            let (stale, list) = read_stale(catalog, name, &list)?;
            volume.leave_out(&stale, list);
        }
        scanned.push(volume);
        lease.renew()?;
    }
    let mut entries: Vec<Entry> = scanned.iter_mut().flat_map(|scanned| std::mem::take(&mut scanned.entries)).collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
        return Err(IndexError::Twice { path: pair[0].path.to_string() });
    }
    let mut totals = count(&entries);
    let manifest = write_manifest(catalog, name, draft, claim, tool, &scanned, &entries)?;
    for scanned in &scanned {
        let line = &scanned.line;
        let volume = FileRecord { name: line.name.clone(), size: line.size, sha256: line.sha256 };
        for file in [Some(&volume), scanned.stale.as_ref()].into_iter().flatten() {
            if draft.reuse(name, file, &Silent)? == Reuse::Unsound {
                let why = "it had to be copied, and the copy is not what was read before".to_owned();
                return Err(IndexError::Volume { name: file.name.clone(), why });
            }
        }
        totals.stored_bytes += ByteCount(line.size);
    }
    totals.stored_bytes += ByteCount(manifest.size);
    let mut doubts = vec![format!(
        "its manifest was made anew from its volumes on {}: what the run could not read is not known any more",
        now.strftime("%Y-%m-%d %H:%M:%S UTC")
    )];
    if let Some(before) = &before {
        doubts.extend(before.doubts.iter().cloned());
    }
    let record = Record {
        format: 1,
        snapshot: name.clone(),
        job: catalog.layout().job().clone(),
        run: claim.run.clone(),
        host: before.as_ref().map_or_else(|| claim.host.clone(), |record| record.host.clone()),
        tool: tool.to_owned(),
        started: before.as_ref().map_or_else(|| name.at(), |record| record.started),
        finished: before.as_ref().map_or(now, |record| record.finished),
        // nobody can say any more that nothing was left out
        verdict: Verdict::Partial,
        sources: before.as_ref().map(|record| record.sources.clone()).unwrap_or_default(),
        totals,
        skipped: before.as_ref().map_or(0, |record| record.skipped),
        doubts: doubts.clone(),
        volumes: scanned.iter().map(|scanned| volume_record(scanned, name, before.as_ref())).collect(),
        manifest,
        manifest_of: None,
        previous: before.as_ref().and_then(|record| record.previous.clone()),
    };
    draft.add_small(RESTORE_NAME, restore_guide(&record).as_bytes())?;
    draft.seal(&record)?;
    lease.check()?;
    catalog.discard(name)?;
    draft.publish(lease, name)?;
    Ok(Indexed { entries: entries.len() as u64, volumes: scanned.len(), doubts })
}

/// By the run that wrote it, then by its number in that run: the order of the volumes' numbers.
fn order(file: &str) -> (String, u32) {
    let stem = file.split(".tar").next().unwrap_or(file);
    match stem.rsplit_once('-').and_then(|(run, number)| Some((run, number.parse::<u32>().ok()?))) {
        Some((run, number)) => (run.to_owned(), number),
        None => (stem.to_owned(), 1),
    }
}

fn read_stale(
    catalog: &Catalog,
    name: &SnapshotName,
    list: &str,
) -> Result<(HashSet<EntryPath>, FileRecord), IndexError> {
    let bytes = catalog.file(name, list)?;
    let sha256 = Digest::of(&bytes);
    let damaged = |why: String| IndexError::Volume { name: list.to_owned(), why };
    if catalog.sums(name).is_ok_and(|sums| sums.get(list).is_some_and(|told| told != sha256)) {
        return Err(damaged("its checksum is another than was published".to_owned()));
    }
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let names = lines.map(|line| parse_name(line.strip_suffix(b"\n").unwrap_or(line)));
    let names = names.collect::<Result<_, _>>().map_err(damaged)?;
    Ok((names, FileRecord { name: list.to_owned(), size: bytes.len() as u64, sha256 }))
}

fn volume_record(scanned: &Scanned, name: &SnapshotName, before: Option<&Record>) -> VolumeRecord {
    let line = &scanned.line;
    let known = before.and_then(|record| record.volumes.iter().find(|volume| volume.name == line.name));
    VolumeRecord {
        name: line.name.clone(),
        codec: known.map_or(line.codec, |volume| volume.codec),
        size: line.size,
        raw_size: line.raw_size,
        frames: line.frames,
        sha256: line.sha256,
        written_by: known.map_or_else(|| name.clone(), |volume| volume.written_by.clone()),
        held: scanned.held,
        live: scanned.live,
        stale: scanned.stale.clone(),
    }
}

fn write_manifest(
    catalog: &Catalog,
    name: &SnapshotName,
    draft: &mut Draft,
    claim: &Claim,
    tool: &str,
    scanned: &[Scanned],
    entries: &[Entry],
) -> Result<FileRecord, IndexError> {
    let store = |error: StoreError| CatalogError::from(error);
    let header = Header {
        manifest: manifest::FORMAT,
        job: catalog.layout().job().clone(),
        snapshot: name.clone(),
        run: claim.run.clone(),
        tool: tool.to_owned(),
        started: None,
    };
    let mut ready = Vec::new();
    let mut writer = ManifestWriter::new(&header, &mut ready);
    let mut file = draft.create_file(MANIFEST_NAME)?;
    for entry in entries {
        writer.entry(entry, &mut ready);
        file.write(&ready).map_err(store)?;
        ready.clear();
    }
    for frame in scanned.iter().flat_map(|scanned| &scanned.frames) {
        writer.frame(frame, &mut ready);
    }
    for scanned in scanned {
        writer.volume(&scanned.line, &mut ready);
    }
    writer.finish(&mut ready);
    file.write(&ready).map_err(store)?;
    let record = file.finish().map_err(store)?;
    draft.read_back(&record, &Silent)?;
    draft.add(record.clone());
    Ok(record)
}

fn count(entries: &[Entry]) -> Totals {
    let mut totals = Totals::default();
    for entry in entries {
        totals.entries += 1;
        totals.content_bytes += ByteCount(entry.size);
        match entry.kind {
            EntryKind::File => totals.files += 1,
            EntryKind::Folder => totals.folders += 1,
            EntryKind::Symlink { .. } => totals.symlinks += 1,
            EntryKind::HardLink { .. } => totals.hard_links += 1,
            EntryKind::Fifo | EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => totals.special += 1,
        }
    }
    totals
}
