//! Reading a manifest: as a stream, from a path on, or one path by bisection.
//!
//! Reads as if an enemy wrote it. Nothing is allocated that the file's own length does not bound, and the order of
//! paths is checked while they pass. What is passed over is not looked at: a bisection believes the order, and in a
//! manifest that lies about it something is not found, or the lie is noticed; no search is without end.

use std::cmp::Ordering;

use super::super::codec::Codec;
use super::super::frame::{FRAME_BYTES_MAX, FrameReader};
use super::super::seek;
use super::FORMAT;
use super::line::{FrameLine, Header, Line, Section, Trailer, VolumeLine, parse, parse_path, quick_path};
use super::raw::RawLines;
use crate::domain::EntryPath;

/// Bytes at any offset, from wherever they lie.
pub trait ReadAt {
    /// What can go wrong there.
    type Error: std::error::Error + Send + Sync + 'static;
    /// How many bytes there are.
    fn len(&self) -> u64;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Fills all of `into` from `offset`.
    ///
    /// # Errors
    /// If that many bytes cannot be had.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Self::Error>;
}

impl ReadAt for Vec<u8> {
    type Error = std::io::Error;

    fn len(&self) -> u64 {
        Vec::len(self) as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Self::Error> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = start.checked_add(into.len()).and_then(|end| self.get(start..end));
        into.copy_from_slice(found.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A manifest that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError<E: std::error::Error + 'static> {
    /// Its bytes could not be had.
    #[error("the manifest could not be read")]
    Read(#[source] E),
    /// It is not what a manifest is.
    #[error("the manifest is damaged: {0}")]
    Damaged(String),
    /// A later version of this program wrote it.
    #[error("the manifest has format {found}, and this program reads up to {newest}")]
    Newer {
        /// Its version.
        found: u32,
        /// Ours.
        newest: u32,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct TextFrame {
    offset: u64,
    pub(super) stored: u32,
    raw_offset: u64,
    pub(super) raw: u32,
    pub(super) checksum: u32,
}

/// An open manifest.
#[derive(Debug)]
pub struct ManifestReader<R> {
    source: R,
    pub(super) table: Vec<TextFrame>,
    header: Header,
    trailer: Trailer,
}

impl<R: ReadAt> ManifestReader<R> {
    /// Reads the table at the end, the header and the trailer.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or was written by a later version.
    pub fn open(source: R) -> Result<Self, ManifestError<R::Error>> {
        let table = read_table(&source)?;
        let (first, last) = match (table.first(), table.last()) {
            (Some(first), Some(last)) if table.len() >= 2 => (*first, *last),
            _ => return Err(damaged("it has no header and trailer")),
        };
        let mut text = Vec::new();
        let mut frame = Vec::new();
        let mut decoder = FrameReader::new();
        read_frame(&source, first, &mut decoder, &mut frame, &mut text)?;
        let version: Version = serde_json::from_slice(&text).map_err(|e| damaged(&format!("its header: {e}")))?;
        if version.manifest > FORMAT {
            return Err(ManifestError::Newer { found: version.manifest, newest: FORMAT });
        }
        let header = serde_json::from_slice(&text).map_err(|e| damaged(&format!("its header: {e}")))?;
        read_frame(&source, last, &mut decoder, &mut frame, &mut text)?;
        let trailer: Trailer = serde_json::from_slice(&text).map_err(|e| damaged(&format!("its trailer: {e}")))?;
        let (entries, frames, volumes) = (trailer.entries, trailer.frames, trailer.volumes);
        let in_order = u64::from(first.raw) == entries.raw_offset
            && entries.raw_offset <= frames.raw_offset
            && frames.raw_offset <= volumes.raw_offset
            && volumes.raw_offset <= last.raw_offset;
        if !in_order {
            return Err(damaged("its sections overlap"));
        }
        let numbers = &trailer.numbers;
        let rise = numbers.windows(2).all(|pair| pair[0] < pair[1]);
        if !rise || !(numbers.is_empty() || numbers.len() as u64 == volumes.lines) {
            return Err(damaged("the numbers of its volumes are not those of its volumes"));
        }
        Ok(Self { source, table, header, trailer })
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The last line.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// Entries and skips, in order of paths.
    pub fn lines(&self) -> OrderedLines<'_, R> {
        OrderedLines {
            lines: self.section(self.trailer.entries, self.trailer.frames.raw_offset),
            begin: None,
            reach: Reach::Everything,
            wanted: None,
            waiting: None,
            last: None,
            failed: false,
        }
    }

    /// Entries and skips whose path is not before `path`, in order. What is before it is found by bisection, not read.
    pub fn lines_from(&self, path: &EntryPath) -> OrderedLines<'_, R> {
        OrderedLines { begin: Some(path.clone()), ..self.lines() }
    }

    /// The entry or skip of `folder` and all below it, in order. Only the frames that can hold them are read.
    pub fn lines_within(&self, folder: &EntryPath) -> OrderedLines<'_, R> {
        OrderedLines { reach: Reach::Within(folder.clone()), ..self.lines_from(folder) }
    }

    /// The entry or skip lines of `path` alone: none, one, or an entry and what had to be told of it.
    pub fn lines_at(&self, path: &EntryPath) -> OrderedLines<'_, R> {
        OrderedLines { reach: Reach::At(path.clone()), ..self.lines_from(path) }
    }

    /// [`Self::lines_at`], collected.
    ///
    /// # Errors
    /// If what has to be read for it cannot be.
    pub fn find(&self, path: &EntryPath) -> Result<Vec<Line>, ManifestError<R::Error>> {
        self.lines_at(path).collect()
    }

    /// The frames of all volumes, in order.
    pub fn frames(&self) -> impl Iterator<Item = Result<FrameLine, ManifestError<R::Error>>> + '_ {
        let frames = self.json(self.trailer.frames, self.trailer.volumes.raw_offset);
        frames.map(|frame: Result<FrameLine, _>| {
            frame.map(|frame| FrameLine { volume: self.trailer.place_of(frame.volume), ..frame })
        })
    }

    /// The volumes, in order; here, and wherever this reader tells of a volume, they are counted from 0, whatever
    /// numbers they have in the lines.
    ///
    /// # Errors
    /// If they cannot be read, or have other numbers than the trailer tells.
    pub fn volumes(&self) -> Result<Vec<VolumeLine>, ManifestError<R::Error>> {
        let end = self.table.last().map_or(0, |last| last.raw_offset);
        let volumes = self.json(self.trailer.volumes, end).zip(0..).map(|(volume, place)| {
            let volume: VolumeLine = volume?;
            if self.trailer.place_of(volume.volume) != place {
                return Err(damaged("its volumes have other numbers than its end tells"));
            }
            Ok(VolumeLine { volume: place, ..volume })
        });
        volumes.collect()
    }

    /// Entries and skips as they stand, to be compared and copied.
    pub fn raw_lines(&self) -> RawLines<'_, R> {
        RawLines::new(self.section(self.trailer.entries, self.trailer.frames.raw_offset))
    }

    /// The number that a volume, counted from 0, has in the lines.
    pub fn number_of(&self, place: u32) -> u32 {
        self.trailer.numbers.get(place as usize).copied().unwrap_or(place)
    }

    fn placed(&self, mut line: Line) -> Line {
        if let Line::Entry(entry) = &mut line {
            entry.placed.volume = self.trailer.place_of(entry.placed.volume);
        }
        line
    }

    fn first_path(&self, frame: usize) -> Result<EntryPath, ManifestError<R::Error>> {
        let mut lines = Lines::new(self, frame, frame + 1, None);
        let line = lines.next_line()?.ok_or_else(|| damaged("an empty frame"))?;
        parse_path(line).map_err(|why| damaged(&why))
    }

    /// The first frame of `range` whose first line is not `before`; its end if there is none.
    fn first_frame_not(
        &self,
        range: std::ops::Range<usize>,
        before: &dyn Fn(&EntryPath) -> bool,
    ) -> Result<usize, ManifestError<R::Error>> {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.first_path(middle)?) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn json<T: serde::de::DeserializeOwned>(
        &self,
        section: Section,
        end: u64,
    ) -> impl Iterator<Item = Result<T, ManifestError<R::Error>>> + '_ {
        let mut lines = self.section(section, end);
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let line = lines.next_line().and_then(|line| {
                line.map(|line| serde_json::from_slice(line).map_err(|e| damaged(&e.to_string()))).transpose()
            });
            failed = line.is_err();
            line.transpose()
        })
    }

    fn section(&self, section: Section, end: u64) -> Lines<'_, R> {
        let range = self.frames_between(section.raw_offset, end);
        Lines::new(self, range.start, range.end, Some(section.lines))
    }

    fn frames_between(&self, start: u64, end: u64) -> std::ops::Range<usize> {
        let at = |offset| self.table.partition_point(|frame| frame.raw_offset < offset);
        at(start)..at(end).max(at(start))
    }
}

#[derive(serde::Deserialize)]
struct Version {
    manifest: u32,
}

/// Lines of some frames, each borrowed from the frame's text.
pub(super) struct Lines<'m, R> {
    pub(super) manifest: &'m ManifestReader<R>,
    pub(super) next: usize,
    pub(super) end: usize,
    pub(super) left: Option<u64>,
    decoder: FrameReader,
    pub(super) frame: Vec<u8>,
    pub(super) text: Vec<u8>,
    pub(super) at: usize,
}

impl<'m, R: ReadAt> Lines<'m, R> {
    fn new(manifest: &'m ManifestReader<R>, start: usize, end: usize, left: Option<u64>) -> Self {
        Self {
            manifest,
            next: start,
            end,
            left,
            decoder: FrameReader::new(),
            frame: Vec::new(),
            text: Vec::new(),
            at: 0,
        }
    }

    pub(super) fn is_inside_frame(&self) -> bool {
        self.at < self.text.len()
    }

    pub(super) fn next_frame(&mut self) -> Result<(), ManifestError<R::Error>> {
        let frame = self.manifest.table[self.next];
        read_frame(&self.manifest.source, frame, &mut self.decoder, &mut self.frame, &mut self.text)?;
        self.next += 1;
        self.at = 0;
        Ok(())
    }

    /// The last line of the frame that is being read, if lines of it are left.
    fn last_of_frame(&self) -> Option<&[u8]> {
        let rest = self.text.get(self.at..).and_then(|rest| rest.strip_suffix(b"\n"))?;
        Some(rest.rsplit(|b| *b == b'\n').next().unwrap_or(rest))
    }

    /// Goes on with the next frame, uncounted.
    fn leave_frame(&mut self) {
        self.at = self.text.len();
        self.left = None;
    }

    /// Goes on with frame `next`. What is passed over is not counted, so nothing is from here on.
    fn jump(&mut self, next: usize) {
        self.next = next;
        self.leave_frame();
    }

    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, ManifestError<R::Error>> {
        while !self.is_inside_frame() {
            if self.next == self.end {
                return match self.left {
                    Some(1..) => Err(damaged("a section is cut")),
                    _ => Ok(None),
                };
            }
            self.next_frame()?;
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or_else(|| damaged("a section has more lines than it says"))?;
        }
        let rest = &self.text[self.at..];
        let len = line_feed(rest).ok_or_else(|| damaged("a line without end"))?;
        self.at += len + 1;
        Ok(Some(&rest[..len]))
    }
}

/// Where the first line feed is. A line is long: blocks without one are passed as a whole.
fn line_feed(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    let has_one = |block: &[u8]| block.iter().fold(false, |any, b| any | (*b == b'\n'));
    let passed = bytes.chunks_exact(BLOCK).take_while(|block| !has_one(block)).count() * BLOCK;
    bytes[passed..].iter().position(|b| *b == b'\n').map(|at| passed + at)
}

/// Entries and skips in order of paths, from some place to another. The first error ends it.
pub struct OrderedLines<'m, R> {
    lines: Lines<'m, R>,
    /// Where to begin, until it has begun.
    begin: Option<EntryPath>,
    reach: Reach,
    wanted: Option<Box<Wanted<'m>>>,
    /// Read already, to be given next.
    waiting: Option<Line>,
    /// The path given before; a buffer that is used again for each line.
    last: Option<Vec<u8>>,
    failed: bool,
}

/// How far it goes.
enum Reach {
    Everything,
    Within(EntryPath),
    At(EntryPath),
}

impl Reach {
    fn holds(&self, path: &[u8]) -> bool {
        match self {
            Self::Everything => true,
            Self::Within(folder) => {
                let rest = path.strip_prefix(folder.as_bytes());
                folder.is_root() || rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
            }
            Self::At(only) => path == only.as_bytes(),
        }
    }
}

type Wanted<'m> = dyn Fn(&[u8]) -> bool + 'm;

impl<'m, R: ReadAt> OrderedLines<'m, R> {
    /// Gives only lines for whose path `wanted` is true; the others are not even parsed.
    #[must_use]
    pub fn only(self, wanted: impl Fn(&[u8]) -> bool + 'm) -> Self {
        Self { wanted: Some(Box::new(wanted)), ..self }
    }

    /// Passes over what is left of `folder` and of what lies below it. Where that is much, it is not read.
    ///
    /// # Errors
    /// If what has to be read to find its end cannot be.
    pub fn pass(&mut self, folder: &EntryPath) -> Result<(), ManifestError<R::Error>> {
        let before = |path: &EntryPath| path <= folder || path.is_within(folder);
        let passed = self.begin().and_then(|()| self.pass_while(&before));
        self.failed |= passed.is_err();
        passed
    }

    fn begin(&mut self) -> Result<(), ManifestError<R::Error>> {
        let Some(begin) = self.begin.take().filter(|begin| !begin.is_root()) else { return Ok(()) };
        let before = |path: &EntryPath| *path < begin;
        let first = self.lines.manifest.first_frame_not(self.lines.next..self.lines.end, &before)?;
        // what is looked for may stand in the middle of the frame before
        self.lines.jump(first.saturating_sub(1).max(self.lines.next));
        self.pass_while(&before)
    }

    fn pass_while(&mut self, before: &dyn Fn(&EntryPath) -> bool) -> Result<(), ManifestError<R::Error>> {
        if self.waiting.as_ref().is_some_and(|line| !before(line.path())) {
            return Ok(());
        }
        self.waiting = None;
        let mut whole_frames = 0;
        while self.lines.is_inside_frame() || self.lines.next < self.lines.end {
            if !self.lines.is_inside_frame() {
                if whole_frames > 1 {
                    self.leap(before)?;
                }
                self.lines.next_frame()?;
            }
            if let Some(last) = self.lines.last_of_frame()
                && before(&parse_path(last).map_err(|why| damaged(&why))?)
            {
                self.lines.leave_frame();
                whole_frames += 1;
                continue;
            }
            while let Some(line) = self.lines.next_line()? {
                if !before(&parse_path(line).map_err(|why| damaged(&why))?) {
                    let line = parse(line).map_err(|why| damaged(&why))?;
                    self.waiting = Some(self.lines.manifest.placed(line));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Goes to the last frame whose first line is still `before`, in steps that double, then by bisection.
    fn leap(&mut self, before: &dyn Fn(&EntryPath) -> bool) -> Result<(), ManifestError<R::Error>> {
        let (mut low, end) = (self.lines.next, self.lines.end);
        let mut step = 1;
        let mut high = low;
        while high < end && before(&self.lines.manifest.first_path(high)?) {
            low = high + 1;
            high = (high + step).min(end);
            step *= 2;
        }
        let first = self.lines.manifest.first_frame_not(low..high.max(low), before)?;
        self.lines.jump(first.saturating_sub(1).max(self.lines.next));
        Ok(())
    }

    fn next_checked(&mut self) -> Result<Option<Line>, ManifestError<R::Error>> {
        self.begin()?;
        loop {
            let line = match self.waiting.take() {
                Some(line) => line,
                None => {
                    let Some(line) = self.lines.next_line()? else { return Ok(None) };
                    // where the path is plain to see, what is not wanted costs nothing more
                    if let (Some(wanted), Some(path)) = (&self.wanted, quick_path(line))
                        && !wanted(path)
                    {
                        if self.reach.holds(path) {
                            continue;
                        }
                        return Ok(None);
                    }
                    let line = parse(line).map_err(|why| damaged(&why))?;
                    self.lines.manifest.placed(line)
                }
            };
            if !self.reach.holds(line.path().as_bytes()) {
                return Ok(None);
            }
            let path = line.path().as_bytes();
            match self.last.as_ref().map(|last| EntryPath::order(last, path)) {
                Some(Ordering::Greater) => return Err(damaged("its entries are not sorted")),
                Some(Ordering::Equal) if matches!(line, Line::Entry(_)) => {
                    return Err(damaged("it names an entry twice"));
                }
                _ => {}
            }
            let last = self.last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(path);
            if self.wanted.as_ref().is_none_or(|wanted| wanted(line.path().as_bytes())) {
                return Ok(Some(line));
            }
        }
    }
}

impl<R: ReadAt> Iterator for OrderedLines<'_, R> {
    type Item = Result<Line, ManifestError<R::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let line = self.next_checked();
        self.failed = !matches!(line, Ok(Some(_)));
        line.transpose()
    }
}

fn read_table<R: ReadAt>(source: &R) -> Result<Vec<TextFrame>, ManifestError<R::Error>> {
    let no_table = |_| damaged("its table of frames is not there");
    let len = source.len();
    let mut footer = [0; seek::FOOTER_BYTES];
    let footer_at = len.checked_sub(footer.len() as u64).ok_or_else(|| damaged("it is too short"))?;
    source.read_at(footer_at, &mut footer).map_err(ManifestError::Read)?;
    let table_len = seek::frame_len(&footer).map_err(no_table)?;
    let table_at = len.checked_sub(table_len).ok_or_else(|| damaged("its table of frames is longer than the file"))?;
    let mut bytes = vec![0; table_len as usize];
    source.read_at(table_at, &mut bytes).map_err(ManifestError::Read)?;
    let (mut offset, mut raw_offset) = (0_u64, 0_u64);
    let mut table = Vec::new();
    for entry in seek::decode(&bytes).map_err(no_table)? {
        let (stored, raw, checksum) = (entry.stored, entry.raw, entry.checksum);
        table.push(TextFrame { offset, stored, raw_offset, raw, checksum });
        offset += u64::from(entry.stored);
        raw_offset += u64::from(entry.raw);
        if u64::from(entry.raw.max(entry.stored)) > FRAME_BYTES_MAX {
            return Err(damaged("a frame is too large"));
        }
    }
    if offset != table_at {
        return Err(damaged("its table of frames does not fit the file"));
    }
    Ok(table)
}

fn read_frame<R: ReadAt>(
    source: &R,
    frame: TextFrame,
    decoder: &mut FrameReader,
    stored: &mut Vec<u8>,
    text: &mut Vec<u8>,
) -> Result<(), ManifestError<R::Error>> {
    stored.resize(frame.stored as usize, 0);
    source.read_at(frame.offset, stored).map_err(ManifestError::Read)?;
    decoder
        .read(Codec::Zstd { level: 3 }, stored, u64::from(frame.raw), text)
        .map_err(|e| damaged(&format!("at byte {}: {e}", frame.offset)))
}

pub(super) fn damaged<E: std::error::Error>(what: &str) -> ManifestError<E> {
    ManifestError::Damaged(what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::super::line::tests::{any_entry, header};
    use super::super::line::{put_entry, put_json_line};
    use super::super::{Entry, FrameLine, Line, ManifestWriter, Section, Trailer, VolumeLine};
    use super::{ManifestError, ManifestReader, ReadAt};
    use crate::archive::Codec;
    use crate::domain::{Digest, EntryPath, FrameSum};

    fn written(entries: &[Entry], frames: u64) -> Vec<u8> {
        written_in(256 << 10, entries, frames)
    }

    fn written_in(text_bytes: usize, entries: &[Entry], frames: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ManifestWriter::with_text_bytes(&header(), text_bytes, &mut out);
        for entry in entries {
            writer.entry(entry, &mut out);
        }
        for frame in 0..frames {
            let line = FrameLine {
                frame,
                volume: 0,
                offset: frame * 7,
                stored: 7,
                raw_offset: frame * 9,
                raw: 9,
                xxh128: FrameSum::of(b"f"),
            };
            writer.frame(&line, &mut out);
        }
        let volume = VolumeLine {
            volume: 0,
            name: "v.tar.zst".to_owned(),
            codec: Codec::default(),
            size: 1,
            raw_size: 2,
            frames,
            sha256: Digest::of(b"v"),
        };
        writer.volume(&volume, &mut out);
        writer.finish(&mut out);
        out
    }

    /// Counts how often it is asked.
    struct Counting {
        bytes: Vec<u8>,
        reads: Cell<usize>,
    }

    impl ReadAt for Counting {
        type Error = std::io::Error;

        fn len(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), std::io::Error> {
            self.reads.set(self.reads.get() + 1);
            self.bytes.read_at(offset, into)
        }
    }

    fn numbered(count: usize) -> Vec<Entry> {
        let paths = (0..count).map(|n| format!("folder/{n:08}").into_bytes());
        named(paths.map(|path| EntryPath::parse(&path).expect("a path")))
    }

    fn named(paths: impl Iterator<Item = EntryPath>) -> Vec<Entry> {
        let line = r#"{"path":"a","type":"fifo","mode":"0644","uid":0,"gid":0,"mtime":[0,0],"ctime":[0,0],"inode":1,"volume":0,"offset":0,"body":512}"#;
        let Ok(Line::Entry(model)) = super::parse(line.as_bytes()) else { panic!("a good line") };
        paths.map(|path| Entry { path, ..(*model).clone() }).collect()
    }

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).expect("a path")
    }

    fn paths_of<E>(lines: impl Iterator<Item = Result<Line, E>>) -> Vec<EntryPath> {
        lines.map(|line| line.ok().expect("whole").path().clone()).collect()
    }

    #[test]
    fn a_manifest_of_many_frames_comes_back_and_every_path_is_found_in_it() {
        let entries = numbered(20_000);
        let manifest = ManifestReader::open(written(&entries, 5000)).expect("a manifest");
        assert!(manifest.table.len() > 10, "the test wants several frames of text");
        let lines: Vec<Line> = manifest.lines().collect::<Result<_, _>>().expect("whole");
        assert_eq!(lines.len(), entries.len());
        assert!(lines.iter().zip(&entries).all(|(line, entry)| *line == Line::Entry(Box::new(entry.clone()))));
        for entry in entries.iter().step_by(331).chain(entries.last()) {
            assert_eq!(manifest.find(&entry.path).expect("readable"), [Line::Entry(Box::new(entry.clone()))]);
        }
        for absent in ["a", "folder", "folder/00000000x", "zzz"] {
            let path = EntryPath::parse(absent.as_bytes()).expect("a path");
            assert_eq!(manifest.find(&path).expect("readable"), []);
        }
        assert_eq!(manifest.frames().collect::<Result<Vec<_>, _>>().expect("whole").len(), 5000);
        assert_eq!(manifest.volumes().expect("whole").len(), 1);
    }

    #[test]
    fn what_lies_before_a_path_and_below_a_large_folder_is_not_read() {
        let below = |folder: &'static str| (0..60_000).map(move |n| format!("a/{folder}/{n:06}"));
        let some = ["a", "a/first", "a/large"].map(String::from).into_iter().chain(below("large"));
        let more = ["a/large-", "a/larger"].map(String::from).into_iter().chain(below("larger"));
        let all = some.chain(more).chain(["a/last", "b", "b/c"].map(String::from));
        let entries = named(all.map(|text| path(&text)));
        let bytes = Counting { bytes: written(&entries, 0), reads: Cell::new(0) };
        let manifest = ManifestReader::open(bytes).expect("a manifest");
        let frames = manifest.table.len();
        assert!(frames > 60, "the test wants many frames, and has {frames}");
        let reads_of = |deed: &dyn Fn()| {
            manifest.source.reads.set(0);
            deed();
            manifest.source.reads.get()
        };
        let reads = reads_of(&|| assert_eq!(paths_of(manifest.lines_from(&path("a/z"))), [path("b"), path("b/c")]));
        assert!(reads <= 10, "{reads} reads for the end of {frames} frames");
        let reads = reads_of(&|| assert_eq!(paths_of(manifest.lines_within(&path("a/larger"))).len(), 60_001));
        assert!((frames / 3..frames / 3 * 2).contains(&reads), "{reads} reads for half of {frames} frames");
        let reads = reads_of(&|| {
            let mut lines = manifest.lines_within(&path("a"));
            let mut found = Vec::new();
            while let Some(line) = lines.next() {
                let at = line.expect("whole").path().clone();
                if at != path("a") {
                    lines.pass(&at).expect("whole");
                }
                found.push(at);
            }
            assert_eq!(found, ["a", "a/first", "a/large", "a/large-", "a/larger", "a/last"].map(path));
        });
        assert!(reads <= 40, "{reads} reads to pass over two large folders in {frames} frames");
    }

    #[test]
    fn an_empty_manifest_is_one() {
        let manifest = ManifestReader::open(written(&[], 0)).expect("a manifest");
        assert_eq!(manifest.lines().count(), 0);
        assert_eq!(manifest.frames().count(), 0);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed_or_changes_nothing() {
        let entries = numbered(50);
        let whole = written(&entries, 3);
        let reads = |bytes: Vec<u8>| -> Result<usize, ManifestError<std::io::Error>> {
            let manifest = ManifestReader::open(bytes)?;
            let count = manifest.lines().collect::<Result<Vec<_>, _>>()?.len();
            manifest.frames().collect::<Result<Vec<_>, _>>()?;
            manifest.volumes()?;
            Ok(count)
        };
        for bit in 0..whole.len() * 8 {
            let mut harmed = whole.clone();
            harmed[bit / 8] ^= 1 << (bit % 8);
            assert!(reads(harmed).map_or(true, |count| count == 50), "bit {bit}");
        }
        for cut in 0..whole.len() {
            assert!(reads(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }

    /// A manifest as only an enemy writes it: frames of lines in any order, with a seek table and a trailer that fit.
    fn unsorted(frames: &[Vec<Entry>]) -> Vec<u8> {
        let mut texts = vec![Vec::new()];
        put_json_line(&mut texts[0], &header());
        for frame in frames {
            let mut text = Vec::new();
            frame.iter().for_each(|entry| put_entry(&mut text, entry));
            texts.push(text);
        }
        let (first, rest) = (texts[0].len() as u64, texts[1..].iter().map(|text| text.len() as u64).sum::<u64>());
        let lines = frames.iter().map(|frame| frame.len() as u64).sum();
        let empty = Section { raw_offset: first + rest, lines: 0 };
        let entries = Section { raw_offset: first, lines };
        let trailer =
            Trailer { entries, frames: empty, volumes: empty, skipped: 0, content_bytes: 0, numbers: Vec::new() };
        let mut last = Vec::new();
        put_json_line(&mut last, &trailer);
        texts.push(last);
        let (mut out, mut table) = (Vec::new(), Vec::new());
        for text in &texts {
            let mut stored = Vec::new();
            crate::archive::FrameMaker::new(Codec::default()).make(text, &mut stored);
            let (len, raw) = (stored.len() as u32, text.len() as u32);
            table.push(crate::archive::seek::SeekEntry { stored: len, raw, checksum: 0 });
            out.extend_from_slice(&stored);
        }
        out.extend_from_slice(&crate::archive::seek::encode(&table));
        out
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let mut maker = crate::archive::FrameMaker::new(Codec::default());
        let (mut first, mut last) = (Vec::new(), Vec::new());
        let text = br#"{"manifest":2,"shape":"unknown"}"#;
        maker.make(text, &mut first);
        maker.make(b"{}", &mut last);
        let entry = |stored: &[u8], raw: usize| crate::archive::seek::SeekEntry {
            stored: stored.len() as u32,
            raw: raw as u32,
            checksum: 0,
        };
        let table = crate::archive::seek::encode(&[entry(&first, text.len()), entry(&last, 2)]);
        let opened = ManifestReader::open([first, last, table].concat());
        assert!(matches!(opened, Err(ManifestError::Newer { found: 2, newest: 1 })), "{opened:?}");
    }

    proptest! {
        #[test]
        fn any_entries_come_back_in_order(mut entries in prop::collection::vec(any_entry(), 0..40)) {
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            entries.dedup_by(|a, b| a.path == b.path);
            let manifest = ManifestReader::open(written(&entries, 1)).expect("a manifest");
            for (line, entry) in manifest.lines().zip(&entries) {
                prop_assert_eq!(line.expect("whole"), Line::Entry(Box::new(entry.clone())));
            }
            prop_assert_eq!(manifest.trailer().entries.lines, entries.len() as u64);
        }

        /// Names that sort before and after a slash, one that needs escaping, one that is not UTF-8.
        #[test]
        fn any_part_is_what_the_whole_has_of_it(
            all in prop::collection::btree_set(prop::collection::vec(0usize..6, 0..5), 0..60),
            one in prop::collection::vec(0usize..6, 0..4), text_bytes in 1usize..2000,
        ) {
            let build = |parts: &Vec<usize>| {
                let names: [&[u8]; 6] = [b"a", b"a-", b"a.b", b"b", b"q\"\n", b"\xff"];
                parts.iter().fold(EntryPath::root(), |at, n| at.join(names[*n]))
            };
            let mut paths: Vec<EntryPath> = all.iter().map(build).collect();
            paths.sort();
            let one = build(&one);
            let manifest = ManifestReader::open(written_in(text_bytes, &named(paths.iter().cloned()), 1)).expect("a manifest");
            let those = |wanted: &dyn Fn(&EntryPath) -> bool| paths.iter().filter(|p| wanted(p)).cloned().collect::<Vec<_>>();
            prop_assert_eq!(paths_of(manifest.lines_from(&one)), those(&|p| *p >= one));
            prop_assert_eq!(paths_of(manifest.lines_within(&one)), those(&|p| p.is_within(&one)));
            let odd = |path: &[u8]| path.len() % 2 == 1;
            prop_assert_eq!(
                paths_of(manifest.lines_within(&one).only(odd)), those(&|p| p.is_within(&one) && odd(p.as_bytes()))
            );
            prop_assert_eq!(manifest.find(&one).expect("whole").len(), usize::from(paths.contains(&one)));
            let mut lines = manifest.lines();
            let before: Vec<_> = lines.by_ref().take(text_bytes % 7).map(|line| line.expect("whole").path().clone()).collect();
            lines.pass(&one).expect("whole");
            let last = before.last().cloned();
            let rest = those(&|p| last.as_ref().is_none_or(|last| p > last) && *p > one && !p.is_within(&one));
            // what was given is not given again, and passing over what lies behind passes nothing
            prop_assert_eq!(paths_of(lines), rest);
        }

        #[test]
        fn a_manifest_that_lies_about_its_order_gives_an_error_or_less_and_always_an_end(
            frames in prop::collection::vec(prop::collection::vec(0u8..40, 1..4), 1..12), one in 0u8..40,
        ) {
            let build = |n: &u8| path(&format!("{}/{}", n / 7, n % 7));
            let all: Vec<Vec<Entry>> = frames.iter().map(|frame| named(frame.iter().map(build))).collect();
            let manifest = ManifestReader::open(unsorted(&all)).expect("its ends are whole");
            let most = frames.iter().map(Vec::len).sum::<usize>();
            let one = build(&one);
            prop_assert!(manifest.lines().count() <= most + 1);
            prop_assert!(manifest.lines_from(&one).count() <= most + 1);
            prop_assert!(manifest.lines_within(&one).count() <= most + 1);
            let mut lines = manifest.lines();
            let mut given = 0;
            while let Some(Ok(line)) = lines.next() {
                given += 1;
                if lines.pass(line.path()).is_err() {
                    break;
                }
            }
            prop_assert!(given <= most);
            let sorted = frames.concat().windows(2).all(|pair| build(&pair[0]) < build(&pair[1]));
            prop_assert_eq!(manifest.lines().all(|line| line.is_ok()), sorted, "reading all of it notices the lie");
        }

        #[test]
        fn opening_anything_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(ManifestReader::open(bytes).is_err());
        }
    }
}
