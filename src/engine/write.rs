//! The ordered writer: frames by number into volumes, their entries into the manifest.
//!
//! One thread. It alone talks to the store while a run stores; its errors are the store's and end the run. Where an
//! earlier manifest is built on, it goes through that one's lines as the plan says: takes them over, writes them anew, or
//! leaves them out and names them in a `.stale` list.

use std::collections::BTreeMap;

use super::make::{Made, MadeLine};
use super::stale::StaleLists;
use crate::archive::manifest::{
    FrameLine, Header, Line, ManifestError, ManifestWriter, RawLines, SkipLine, VolumeLine,
};
use crate::archive::seek::{self, SeekEntry};
use crate::archive::{Codec, END_MARKER, FrameMaker, StoredFrame};
use crate::catalog::{CatalogError, Draft, DraftFile, FileRecord, StoredBytes, part_name, volume_name};
use crate::domain::{ByteCount, FrameSum, Skips, SnapshotName, Totals};
use crate::observe::{Event, Observer};
use crate::store::StoreError;

/// Where and how volumes are written.
#[derive(Clone, Copy)]
pub(super) struct Volumes<'a> {
    pub(super) draft: &'a Draft,
    pub(super) snapshot: &'a SnapshotName,
    pub(super) codec: Codec,
    /// The number of the first in the manifest.
    pub(super) first_number: u32,
    /// A volume that has reached this length is closed, where its entries allow it.
    pub(super) size_max: Option<ByteCount>,
    /// Of this run's manifests.
    pub(super) header: &'a Header,
}

/// The earlier manifest, as the writer goes through it.
pub(super) struct EarlierLines<'a> {
    pub(super) snapshot: SnapshotName,
    pub(super) lines: RawLines<'a, StoredBytes>,
}

/// Writes volumes and their part of the manifest.
pub(super) struct OrderedWriter<'a> {
    volumes: Volumes<'a>,
    volume: OpenVolume,
    closed: Vec<WrittenVolume>,
    manifest_file: DraftFile,
    manifest: ManifestWriter,
    manifest_ready: Vec<u8>,
    earlier: Option<EarlierLines<'a>>,
    stale: StaleLists<'a>,
    observer: &'a dyn Observer,
    next: u64,
    waiting: BTreeMap<u64, Made>,
    totals: Totals,
    live: BTreeMap<u32, u64>,
    skips: Skips,
}

/// A volume that is being written.
struct OpenVolume {
    file: DraftFile,
    part: Option<Part>,
    number: u32,
    raw_offset: u64,
    large_began: u64,
    held: u64,
    frames: Vec<FrameLine>,
    seek: Vec<SeekEntry>,
}

/// The manifest of one volume alone, by which another run can adopt it.
struct Part {
    file: DraftFile,
    manifest: ManifestWriter,
    ready: Vec<u8>,
}

/// A volume that is written and flushed, not yet read back.
pub(super) struct WrittenVolume {
    pub(super) file: FileRecord,
    pub(super) number: u32,
    pub(super) raw_size: u64,
    /// Bytes of entries other than folders.
    pub(super) held: u64,
    pub(super) frames: Vec<FrameLine>,
    /// What stands behind the frames.
    pub(super) table: Vec<u8>,
}

/// All frames are written; the manifest is still open.
pub(super) struct Written<'a> {
    pub(super) volumes: Vec<WrittenVolume>,
    pub(super) manifest_file: DraftFile,
    pub(super) manifest: ManifestWriter,
    pub(super) manifest_ready: Vec<u8>,
    pub(super) stale: StaleLists<'a>,
    pub(super) totals: Totals,
    /// Bytes of entries that were found where they were, by the number of their volume.
    pub(super) live: BTreeMap<u32, u64>,
    pub(super) skips: Skips,
}

impl OpenVolume {
    fn begin(volumes: &Volumes<'_>, place: u32) -> Result<Self, CatalogError> {
        let name = volume_name(volumes.snapshot, place + 1, volumes.codec);
        let file = volumes.draft.create_file(&name)?;
        let part = match volumes.size_max {
            Some(_) => Some(Part::begin(volumes, &name)?),
            None => None,
        };
        Ok(Self {
            file,
            part,
            number: volumes.first_number + place,
            raw_offset: 0,
            large_began: 0,
            held: 0,
            frames: Vec::new(),
            seek: Vec::new(),
        })
    }

    fn frame(&mut self, stored: &[&[u8]], raw_len: u64, checksum: u32, xxh128: FrameSum) -> Result<(), StoreError> {
        let offset = self.file.written();
        self.file.write_pieces(stored)?;
        let stored = self.file.written() - offset;
        self.frames.push(FrameLine {
            frame: self.frames.len() as u64,
            volume: self.number,
            offset,
            stored,
            raw_offset: self.raw_offset,
            raw: raw_len,
            xxh128,
        });
        let word = |len: u64| u32::try_from(len).expect("a frame is far below 4 GiB");
        self.seek.push(SeekEntry { stored: word(stored), raw: word(raw_len), checksum });
        Ok(())
    }

    /// Ends the file and makes it durable.
    fn close(mut self, codec: Codec) -> Result<WrittenVolume, StoreError> {
        let table = if let Codec::Zstd { .. } = codec { seek::encode(&self.seek) } else { Vec::new() };
        self.file.write(&table)?;
        let raw_size = self.frames.last().map_or(0, |frame| frame.raw_offset + frame.raw);
        let Self { file, number, held, frames, .. } = self;
        Ok(WrittenVolume { file: file.finish()?, number, raw_size, held, frames, table })
    }
}

impl Part {
    fn begin(volumes: &Volumes<'_>, volume: &str) -> Result<Self, CatalogError> {
        // under its own name it says that the volume is finished
        let name = part_name(volume, volumes.codec);
        let file = volumes.draft.create_file(&format!("{name}-unfinished"))?;
        let mut ready = Vec::new();
        let manifest = ManifestWriter::new(volumes.header, &mut ready);
        Ok(Self { file, manifest, ready })
    }

    fn write_if_full(&mut self) -> Result<(), StoreError> {
        if !self.ready.is_empty() {
            self.file.write(&self.ready)?;
            self.ready.clear();
        }
        Ok(())
    }

    fn end(self, volumes: &Volumes<'_>, volume: &WrittenVolume) -> Result<(), CatalogError> {
        let codec = volumes.codec;
        let Self { mut file, mut manifest, mut ready } = self;
        for frame in &volume.frames {
            manifest.frame(&FrameLine { volume: 0, ..*frame }, &mut ready);
        }
        let line = VolumeLine {
            volume: 0,
            name: volume.file.name.clone(),
            codec,
            size: volume.file.size,
            raw_size: volume.raw_size,
            frames: volume.frames.len() as u64,
            sha256: volume.file.sha256,
        };
        manifest.volume(&line, &mut ready);
        manifest.finish(&mut ready);
        file.write(&ready)?;
        let unfinished = file.finish()?;
        volumes.draft.rename(&unfinished.name, &part_name(&volume.file.name, codec))
    }
}

impl<'a> OrderedWriter<'a> {
    pub(super) fn new(
        volumes: Volumes<'a>,
        manifest_file: DraftFile,
        manifest: ManifestWriter,
        manifest_ready: Vec<u8>,
        earlier: Option<EarlierLines<'a>>,
        stale: StaleLists<'a>,
        observer: &'a dyn Observer,
    ) -> Result<Self, CatalogError> {
        Ok(Self {
            volumes,
            volume: OpenVolume::begin(&volumes, 0)?,
            closed: Vec::new(),
            manifest_file,
            manifest,
            manifest_ready,
            earlier,
            stale,
            observer,
            next: 0,
            waiting: BTreeMap::new(),
            totals: Totals::default(),
            live: BTreeMap::new(),
            skips: Skips::default(),
        })
    }

    /// Takes a frame, writes all whose turn has come, and gives back their buffers. The caller bounds how many can
    /// be waiting.
    pub(super) fn take(&mut self, made: Made, mut written: impl FnMut(StoredFrame)) -> Result<(), CatalogError> {
        self.waiting.insert(made.number, made);
        while let Some(made) = self.waiting.remove(&self.next) {
            self.next += 1;
            let mut made = made;
            if let Some((file, part)) = made.staged.take() {
                file.read(part, made.stored.packed())?;
            }
            self.write(&made)?;
            self.lines(made.lines)?;
            if !self.manifest_ready.is_empty() {
                self.manifest_file.write(&self.manifest_ready)?;
                self.manifest_ready.clear();
            }
            written(made.stored);
        }
        Ok(())
    }

    /// Ends when every frame has come.
    pub(super) fn finish(mut self) -> Result<Written<'a>, CatalogError> {
        assert!(self.waiting.is_empty(), "frames are numbered without gaps");
        if let Some(part) = self.volume.part.take() {
            self.volumes.draft.drop_file(part.file)?;
        }
        self.closed.push(self.volume.close(self.volumes.codec)?);
        Ok(Written {
            volumes: self.closed,
            manifest_file: self.manifest_file,
            manifest: self.manifest,
            manifest_ready: self.manifest_ready,
            stale: self.stale,
            totals: self.totals,
            live: self.live,
            skips: self.skips,
        })
    }

    fn write(&mut self, made: &Made) -> Result<(), CatalogError> {
        if made.raw_len > 0 {
            let is_full = self.volumes.size_max.is_some_and(|max| self.volume.file.written() >= max.0);
            if is_full && !made.goes_on && !self.volume.frames.is_empty() {
                self.next_volume()?;
            }
            if made.begins_large {
                self.volume.large_began = self.volume.raw_offset;
            }
            self.volume.frame(&made.stored.pieces(), made.raw_len, made.checksum, made.xxh128)?;
        }
        add(&mut self.totals, &made.totals);
        self.observer.notice(&Event::Advanced {
            entries: made.totals.entries,
            bytes: made.totals.read_bytes,
            stored: ByteCount(made.stored.len()),
        });
        Ok(())
    }

    /// Ends the volume with a frame of its own for the end marker, and begins another.
    fn next_volume(&mut self) -> Result<(), CatalogError> {
        let place = u32::try_from(self.closed.len() + 1).expect("fewer volumes than numbers");
        let next = OpenVolume::begin(&self.volumes, place)?;
        let mut full = std::mem::replace(&mut self.volume, next);
        let mut stored = Vec::new();
        let checksum = FrameMaker::new(self.volumes.codec).make(&END_MARKER, &mut stored);
        full.frame(&[&stored], END_MARKER.len() as u64, checksum, FrameSum::of(&stored))?;
        let part = full.part.take();
        let closed = full.close(self.volumes.codec)?;
        if let Some(part) = part {
            part.end(&self.volumes, &closed)?;
            self.volumes.draft.sync()?;
        }
        self.closed.push(closed);
        Ok(())
    }

    fn lines(&mut self, lines: Vec<MadeLine>) -> Result<(), CatalogError> {
        for line in lines {
            match line {
                MadeLine::Entry { mut entry, of_large } => {
                    let base = if of_large { self.volume.large_began } else { self.volume.raw_offset };
                    entry.placed.offset += base;
                    entry.placed.body += base;
                    entry.placed.volume = self.volume.number;
                    self.volume.held += entry.held();
                    self.manifest.entry(&entry, &mut self.manifest_ready);
                    if let Some(part) = &mut self.volume.part {
                        entry.placed.volume = 0;
                        part.manifest.entry(&entry, &mut part.ready);
                        part.write_if_full()?;
                    }
                }
                MadeLine::Skip(skip) => {
                    self.observer.notice(&Event::Skipped { skip: &skip });
                    let line = SkipLine { path: skip.path.clone(), cause: skip.cause, why: skip.why.clone() };
                    self.manifest.skip(&line, &mut self.manifest_ready);
                    if let Some(part) = &mut self.volume.part {
                        part.manifest.skip(&line, &mut part.ready);
                        part.write_if_full()?;
                    }
                    self.skips.add(skip);
                }
                MadeLine::Keep(kept) => {
                    let earlier = self.earlier.as_mut().expect("lines are kept of an earlier manifest");
                    self.manifest
                        .copy(&mut earlier.lines, kept.lines, kept.content_bytes, &mut self.manifest_ready)
                        .map_err(|error| unreadable(&earlier.snapshot, error))?;
                }
                MadeLine::Drop(lines) => {
                    for _ in 0..lines {
                        if let Some(Line::Entry(entry)) = self.earlier_line()? {
                            self.stale.add(entry.placed.volume, &entry.path)?;
                        }
                    }
                }
                MadeLine::Stale { volume, path } => self.stale.add(volume, &path)?,
                line @ (MadeLine::Proven(_) | MadeLine::Adopted(_)) => {
                    let entry = match line {
                        MadeLine::Proven(entry) => {
                            self.earlier_line()?;
                            entry
                        }
                        MadeLine::Adopted(entry) => entry,
                        _ => unreachable!("it is one of the two"),
                    };
                    *self.live.entry(entry.placed.volume).or_default() += entry.held();
                    self.manifest.entry(&entry, &mut self.manifest_ready);
                }
            }
        }
        // moves on only now: the lines above lie in the frame that begins here
        self.volume.raw_offset = self.volume.frames.last().map_or(0, |frame| frame.raw_offset + frame.raw);
        Ok(())
    }

    /// The next line of the earlier manifest.
    fn earlier_line(&mut self) -> Result<Option<Line>, CatalogError> {
        let earlier = self.earlier.as_mut().expect("lines are passed of an earlier manifest");
        earlier.lines.next_parsed().map_err(|error| unreadable(&earlier.snapshot, error))
    }
}

/// An earlier manifest that could be read when the run began, and now cannot.
pub(super) fn unreadable(snapshot: &SnapshotName, error: ManifestError<StoreError>) -> CatalogError {
    match error {
        ManifestError::Read(error) => error.into(),
        other => CatalogError::Damaged {
            snapshot: snapshot.clone(),
            file: crate::catalog::MANIFEST_NAME.to_owned(),
            why: other.to_string(),
        },
    }
}

pub(super) fn add(sum: &mut Totals, more: &Totals) {
    sum.entries += more.entries;
    sum.files += more.files;
    sum.folders += more.folders;
    sum.symlinks += more.symlinks;
    sum.hard_links += more.hard_links;
    sum.special += more.special;
    sum.content_bytes += more.content_bytes;
    sum.read_bytes += more.read_bytes;
}
