//! From what the volumes say to a snapshot that is whole again.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::scan::{Scanned, scan};
use crate::archive::manifest::{self, Entry, Header, ManifestWriter};
use crate::catalog::{
    Catalog, CatalogError, Claim, Draft, FileRecord, Hold, Lease, MANIFEST_NAME, NameSet, RESTORE_NAME, Record, Reuse,
    VolumeRecord, restore_guide, stale_name, volume_codec, volume_writer,
};
use crate::domain::{Advise, ByteCount, SnapshotName, Totals, Verdict};
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
    /// What keeps retention from removing it: it is partial, so it would go as soon as a good one is newer.
    pub hold: Hold,
}

/// Makes the manifest, the record, the checksums and the guide of a snapshot anew, under the job's lease, and holds
/// it. The folder as it was goes to the trash.
///
/// # Errors
/// [`IndexError`]; the snapshot is then as it was, or, if the store failed at the last step, held in the trash.
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
    let files: Vec<String> = catalog.files_of(&folder)?.into_iter().map(|(file, _, _)| file).collect();
    let lists: BTreeSet<String> = files.iter().filter(|file| file.ends_with(".stale")).cloned().collect();
    let volumes = files.into_iter().filter(|file| volume_codec(file).is_some());
    let mut volumes = volumes.map(writer).collect::<Result<Vec<_>, _>>()?;
    volumes.sort();
    if volumes.is_empty() {
        return Err(IndexError::NoVolumes { snapshot: name.clone() });
    }
    let before = catalog.record(name).ok().map(|(record, _)| record);
    let mut scanned: Vec<Scanned> = Vec::new();
    for ((_, _, file), number) in volumes.iter().zip(0..) {
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
            if draft.reuse(name, file, None, &Silent)? == Reuse::Unsound {
                let why = "it, or the copy that had to be made of it, is not what was read before".to_owned();
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
        commands: before.as_ref().map(|record| record.commands.clone()).unwrap_or_default(),
        totals,
        skipped: before.as_ref().map_or(0, |record| record.skipped),
        doubts: doubts.clone(),
        volumes: scanned.iter().zip(&volumes).map(|(s, (by, ..))| volume_record(s, by, before.as_ref())).collect(),
        manifest,
        manifest_of: None,
        previous: before.as_ref().and_then(|record| record.previous.clone()),
    };
    draft.add_small(RESTORE_NAME, restore_guide(&record).as_bytes())?;
    draft.seal(&record)?;
    lease.check()?;
    let why = "made anew from its volumes".to_owned();
    let hold = Hold { why, by: claim.host.to_string(), since: Some(now) };
    let (_, hold) = catalog.replace(name, &hold, || draft.publish(lease, name))?;
    Ok(Indexed { entries: entries.len() as u64, volumes: scanned.len(), doubts, hold })
}

/// The run that wrote a volume and its number in that run, which make the order of the volumes' numbers. `RESTORE.txt`
/// unpacks volumes of one run together, and others one after the other: nothing but the name tells it for sure.
fn writer(file: String) -> Result<(SnapshotName, u32, String), IndexError> {
    match volume_writer(&file) {
        Some((snapshot, number)) => Ok((snapshot, number, file)),
        None => {
            let why =
                "its name tells no run that wrote it; JOB-YYYYMMDDTHHMMSSZ[-N].tar[.zst|.gz] is expected".to_owned();
            Err(IndexError::Volume { name: file, why })
        }
    }
}

fn read_stale(catalog: &Catalog, name: &SnapshotName, list: &str) -> Result<(NameSet, FileRecord), IndexError> {
    let (names, file) = NameSet::read(catalog, name, list)?;
    if catalog.sums(name).is_ok_and(|sums| sums.get(list).is_some_and(|told| told != file.sha256)) {
        let why = "its checksum is another than was published".to_owned();
        return Err(IndexError::Volume { name: list.to_owned(), why });
    }
    Ok((names, file))
}

fn volume_record(scanned: &Scanned, written_by: &SnapshotName, before: Option<&Record>) -> VolumeRecord {
    let line = &scanned.line;
    let known = before.and_then(|record| record.volumes.iter().find(|volume| volume.name == line.name));
    // the name tells the codec, and only the record its level
    let level = known.map(|volume| volume.codec).filter(|codec| codec.ending() == line.codec.ending());
    VolumeRecord {
        name: line.name.clone(),
        codec: level.unwrap_or(line.codec),
        size: line.size,
        raw_size: line.raw_size,
        frames: line.frames,
        sha256: line.sha256,
        written_by: written_by.clone(),
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
    entries.iter().for_each(|entry| entry.count_in(&mut totals));
    totals
}
