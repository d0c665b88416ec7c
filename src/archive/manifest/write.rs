//! Writing a manifest as a stream: lines in, compressed frames out.
//!
//! Memory is one frame of lines and one table entry for each frame already given out.

use super::super::frame::FrameMaker;
use super::super::seek::{self, SeekEntry};
use super::FORMAT;
use super::entry::Entry;
use super::line::{FrameLine, Header, Section, SkipLine, Trailer, VolumeLine, put_entry, put_json_line, put_skip};
use super::raw::{RawLines, cut};
use super::read::{ManifestError, ReadAt};
use crate::domain::EntryPath;

/// How much text a frame of the manifest holds, about. One lookup decodes one or two of them.
const TEXT_BYTES: usize = 256 << 10;

/// Writes one manifest. Each call appends to `out` the bytes that are ready for the file.
#[derive(Debug)]
pub struct ManifestWriter {
    maker: FrameMaker,
    text_bytes: usize,
    text: Vec<u8>,
    frame: Vec<u8>,
    table: Vec<SeekEntry>,
    raw_given: u64,
    stage: Stage,
    entries: Section,
    frames: Section,
    volumes: Section,
    skipped: u64,
    content_bytes: u64,
    numbers: Vec<u32>,
    last: EntryPath,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Entries,
    Frames,
    Volumes,
}

/// A manifest that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Lines of entries.
    pub entries: u64,
    /// Bytes of text, uncompressed.
    pub text_bytes: u64,
}

impl ManifestWriter {
    /// Begins with the header line.
    pub fn new(header: &Header, out: &mut Vec<u8>) -> Self {
        assert_eq!(header.manifest, FORMAT, "this program writes one version");
        let mut writer = Self {
            maker: FrameMaker::for_lines(),
            text_bytes: TEXT_BYTES,
            text: Vec::with_capacity(TEXT_BYTES + (64 << 10)),
            frame: Vec::new(),
            table: Vec::new(),
            raw_given: 0,
            stage: Stage::Entries,
            entries: Section { raw_offset: 0, lines: 0 },
            frames: Section { raw_offset: 0, lines: 0 },
            volumes: Section { raw_offset: 0, lines: 0 },
            skipped: 0,
            content_bytes: 0,
            numbers: Vec::new(),
            last: EntryPath::root(),
        };
        put_json_line(&mut writer.text, header);
        writer.end_frame(out);
        writer.entries.raw_offset = writer.raw_given;
        writer
    }

    /// One whose frames hold about so much text, so that a small manifest has many.
    #[cfg(test)]
    pub(crate) fn with_text_bytes(header: &Header, text_bytes: usize, out: &mut Vec<u8>) -> Self {
        Self { text_bytes, ..Self::new(header, out) }
    }

    /// The next entry, in order of paths.
    pub fn entry(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        self.in_order(&entry.path);
        put_entry(&mut self.text, entry);
        self.entries.lines += 1;
        self.content_bytes += entry.size;
        self.end_frame_if_full(out);
    }

    /// The next skip, in order of paths; after the entry of the same path, if it has one.
    pub fn skip(&mut self, skip: &SkipLine, out: &mut Vec<u8>) {
        self.in_order(&skip.path);
        put_skip(&mut self.text, skip);
        self.entries.lines += 1;
        self.skipped += 1;
        self.end_frame_if_full(out);
    }

    /// The next `count` lines of an earlier manifest as they are, numbers of volumes included. They hold
    /// `content_bytes` together, and none of them is a skip. Frames all of whose lines are taken are not made again.
    ///
    /// # Errors
    /// If the earlier manifest cannot be read, or has not so many lines left.
    pub fn copy<R: ReadAt>(
        &mut self,
        from: &mut RawLines<'_, R>,
        mut count: u64,
        content_bytes: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), ManifestError<R::Error>> {
        assert_eq!(self.stage, Stage::Entries, "entries come first");
        self.entries.lines += count;
        self.content_bytes += content_bytes;
        while count > 0 {
            if let Some(frame) = from.whole_frame(count)? {
                self.end_frame(out);
                self.table.push(frame.seek);
                self.raw_given += u64::from(frame.seek.raw);
                out.extend_from_slice(frame.stored);
                count -= frame.lines;
                self.last = frame.last;
            } else {
                let line = from.next_line()?.ok_or_else(cut)?;
                self.text.extend_from_slice(line);
                self.text.push(b'\n');
                count -= 1;
                if count == 0 || self.text.len() >= self.text_bytes {
                    self.last = from.path_of_last()?;
                    self.end_frame_if_full(out);
                }
            }
        }
        Ok(())
    }

    /// The next frame of a volume, in order.
    pub fn frame(&mut self, frame: &FrameLine, out: &mut Vec<u8>) {
        assert!(self.stage <= Stage::Frames, "volumes come after frames");
        self.reach(Stage::Frames, out);
        put_json_line(&mut self.text, frame);
        self.frames.lines += 1;
        self.end_frame_if_full(out);
    }

    /// The next volume, after all frames.
    pub fn volume(&mut self, volume: &VolumeLine, out: &mut Vec<u8>) {
        self.reach(Stage::Volumes, out);
        assert!(self.numbers.last().is_none_or(|last| *last < volume.volume), "volumes come by number");
        self.numbers.push(volume.volume);
        put_json_line(&mut self.text, volume);
        self.volumes.lines += 1;
        self.end_frame_if_full(out);
    }

    /// Ends with the trailer line and the seek table.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Finished {
        self.reach(Stage::Volumes, out);
        self.end_frame(out);
        if self.numbers.iter().zip(0..).all(|(number, place)| *number == place) {
            self.numbers.clear();
        }
        let trailer = Trailer {
            entries: self.entries,
            frames: self.frames,
            volumes: self.volumes,
            skipped: self.skipped,
            content_bytes: self.content_bytes,
            numbers: std::mem::take(&mut self.numbers),
        };
        put_json_line(&mut self.text, &trailer);
        self.end_frame(out);
        out.extend_from_slice(&seek::encode(&self.table));
        Finished { entries: self.entries.lines - self.skipped, text_bytes: self.raw_given }
    }

    fn in_order(&mut self, path: &EntryPath) {
        assert_eq!(self.stage, Stage::Entries, "entries come first");
        assert!(self.last <= *path, "entries come sorted: {path:?} after {:?}", self.last);
        self.last = path.clone();
    }

    /// Goes on to `stage`, through what lies between: every section begins a frame, also an empty one.
    fn reach(&mut self, stage: Stage, out: &mut Vec<u8>) {
        if self.stage == Stage::Entries && stage > Stage::Entries {
            self.end_frame(out);
            self.frames.raw_offset = self.raw_given;
            self.stage = Stage::Frames;
        }
        if self.stage == Stage::Frames && stage > Stage::Frames {
            self.end_frame(out);
            self.volumes.raw_offset = self.raw_given;
            self.stage = Stage::Volumes;
        }
    }

    fn end_frame_if_full(&mut self, out: &mut Vec<u8>) {
        if self.text.len() >= self.text_bytes {
            self.end_frame(out);
        }
    }

    fn end_frame(&mut self, out: &mut Vec<u8>) {
        if self.text.is_empty() {
            return;
        }
        let checksum = self.maker.make(&self.text, &mut self.frame);
        let len = |n: usize| u32::try_from(n).expect("a frame of the manifest is far below 4 GiB");
        self.table.push(SeekEntry { stored: len(self.frame.len()), raw: len(self.text.len()), checksum });
        self.raw_given += self.text.len() as u64;
        out.extend_from_slice(&self.frame);
        self.text.clear();
    }
}
