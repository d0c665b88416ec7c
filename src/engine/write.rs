//! The ordered writer: frames by number into the volume, their entries into the manifest.
//!
//! One thread. It alone talks to the store while a run stores; its errors are the store's and end the run.

use std::collections::BTreeMap;

use super::make::{Made, MadeLine};
use crate::archive::manifest::{FrameLine, ManifestWriter, SkipLine};
use crate::archive::seek::SeekEntry;
use crate::catalog::DraftFile;
use crate::domain::{ByteCount, Skips, Totals};
use crate::observe::{Event, Observer};
use crate::store::StoreError;

/// Writes one volume and its part of the manifest.
pub(super) struct OrderedWriter<'a> {
    volume: DraftFile,
    manifest_file: DraftFile,
    manifest: ManifestWriter,
    manifest_ready: Vec<u8>,
    observer: &'a dyn Observer,
    next: u64,
    waiting: BTreeMap<u64, Made>,
    raw_offset: u64,
    large_began: u64,
    frames: Vec<FrameLine>,
    quick: Vec<u64>,
    seek: Vec<SeekEntry>,
    totals: Totals,
    skips: Skips,
}

/// All frames are written; the files are still open.
pub(super) struct Written {
    pub(super) volume: DraftFile,
    pub(super) manifest_file: DraftFile,
    pub(super) manifest: ManifestWriter,
    pub(super) manifest_ready: Vec<u8>,
    pub(super) raw_size: u64,
    pub(super) frames: Vec<FrameLine>,
    pub(super) quick: Vec<u64>,
    pub(super) seek: Vec<SeekEntry>,
    pub(super) totals: Totals,
    pub(super) skips: Skips,
}

impl<'a> OrderedWriter<'a> {
    pub(super) fn new(
        volume: DraftFile,
        manifest_file: DraftFile,
        manifest: ManifestWriter,
        manifest_ready: Vec<u8>,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            volume,
            manifest_file,
            manifest,
            manifest_ready,
            observer,
            next: 0,
            waiting: BTreeMap::new(),
            raw_offset: 0,
            large_began: 0,
            frames: Vec::new(),
            quick: Vec::new(),
            seek: Vec::new(),
            totals: Totals::default(),
            skips: Skips::default(),
        }
    }

    /// Takes a frame, writes all whose turn has come, and gives back their buffers. The caller bounds how many can
    /// be waiting.
    pub(super) fn take(&mut self, made: Made, mut written: impl FnMut(Vec<u8>)) -> Result<(), StoreError> {
        self.waiting.insert(made.number, made);
        while let Some(made) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.write(&made)?;
            self.lines(made.lines);
            if !self.manifest_ready.is_empty() {
                self.manifest_file.write(&self.manifest_ready)?;
                self.manifest_ready.clear();
            }
            written(made.stored);
        }
        Ok(())
    }

    /// Ends when every frame has come.
    pub(super) fn finish(self) -> Written {
        assert!(self.waiting.is_empty(), "frames are numbered without gaps");
        Written {
            volume: self.volume,
            manifest_file: self.manifest_file,
            manifest: self.manifest,
            manifest_ready: self.manifest_ready,
            raw_size: self.raw_offset,
            frames: self.frames,
            quick: self.quick,
            seek: self.seek,
            totals: self.totals,
            skips: self.skips,
        }
    }

    fn write(&mut self, made: &Made) -> Result<(), StoreError> {
        if made.begins_large {
            self.large_began = self.raw_offset;
        }
        if made.raw_len > 0 {
            let offset = self.volume.written();
            self.volume.write(&made.stored)?;
            self.frames.push(FrameLine {
                frame: self.frames.len() as u64,
                volume: 0,
                offset,
                stored: made.stored.len() as u64,
                raw_offset: self.raw_offset,
                raw: made.raw_len,
                sha256: made.sha256,
            });
            self.quick.push(made.quick);
            let word = |len: u64| u32::try_from(len).expect("a frame is far below 4 GiB");
            self.seek.push(SeekEntry {
                stored: word(made.stored.len() as u64),
                raw: word(made.raw_len),
                checksum: made.checksum,
            });
        }
        add(&mut self.totals, &made.totals);
        self.totals.stored_bytes = ByteCount(self.volume.written());
        self.observer.notice(&Event::Advanced {
            entries: made.totals.entries,
            bytes: made.totals.read_bytes,
            stored: ByteCount(made.stored.len() as u64),
        });
        Ok(())
    }

    fn lines(&mut self, lines: Vec<MadeLine>) {
        for line in lines {
            match line {
                MadeLine::Entry { mut entry, of_large } => {
                    let base = if of_large { self.large_began } else { self.raw_offset };
                    entry.placed.offset += base;
                    entry.placed.body += base;
                    self.manifest.entry(&entry, &mut self.manifest_ready);
                }
                MadeLine::Skip(skip) => {
                    self.observer.notice(&Event::Skipped { skip: &skip });
                    let line = SkipLine { path: skip.path.clone(), cause: skip.cause, why: skip.why.clone() };
                    self.manifest.skip(&line, &mut self.manifest_ready);
                    self.skips.add(skip);
                }
            }
        }
        // moves on only now: the lines above lie in the frame that begins here
        self.raw_offset = self.frames.last().map_or(0, |frame| frame.raw_offset + frame.raw);
    }
}

fn add(sum: &mut Totals, more: &Totals) {
    sum.entries += more.entries;
    sum.files += more.files;
    sum.folders += more.folders;
    sum.symlinks += more.symlinks;
    sum.hard_links += more.hard_links;
    sum.special += more.special;
    sum.content_bytes += more.content_bytes;
    sum.read_bytes += more.read_bytes;
}
