//! Reading a manifest: as a stream, or one path by bisection.
//!
//! Reads as if an enemy wrote it. Nothing is allocated that the file's own length does not bound, and the order of
//! paths is checked while they pass.

use super::super::codec::Codec;
use super::super::frame::{FRAME_BYTES_MAX, FrameReader};
use super::super::seek;
use super::FORMAT;
use super::line::{FrameLine, Header, Line, Section, Trailer, VolumeLine, parse};
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
struct TextFrame {
    offset: u64,
    stored: u32,
    raw_offset: u64,
    raw: u32,
}

/// An open manifest.
#[derive(Debug)]
pub struct ManifestReader<R> {
    source: R,
    table: Vec<TextFrame>,
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
    pub fn lines(&self) -> impl Iterator<Item = Result<Line, ManifestError<R::Error>>> + '_ {
        Ordered { lines: self.section(self.trailer.entries, self.trailer.frames.raw_offset), last: None, failed: false }
    }

    /// The entry or skip lines of `path`: none, one, or an entry and what had to be told of it.
    ///
    /// # Errors
    /// If what has to be read for it cannot be.
    pub fn find(&self, path: &EntryPath) -> Result<Vec<Line>, ManifestError<R::Error>> {
        let range = self.frames_between(self.trailer.entries.raw_offset, self.trailer.frames.raw_offset);
        let (mut low, mut high) = (range.start, range.end);
        // the first frame whose first line is not before `path`
        while low < high {
            let middle = low + (high - low) / 2;
            let first = self.first_path(middle)?;
            if first < *path { low = middle + 1 } else { high = middle }
        }
        let start = low.saturating_sub(1).max(range.start);
        let mut found = Vec::new();
        let mut lines = Lines::new(self, start, range.end, None);
        while let Some(line) = lines.next_line()? {
            let line = parse(line).map_err(|why| damaged(&why))?;
            match line.path().cmp(path) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => found.push(line),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(found)
    }

    /// The frames of all volumes, in order.
    pub fn frames(&self) -> impl Iterator<Item = Result<FrameLine, ManifestError<R::Error>>> + '_ {
        self.json(self.trailer.frames, self.trailer.volumes.raw_offset)
    }

    /// The volumes, in order of their numbers.
    ///
    /// # Errors
    /// If they cannot be read, or are not numbered from 0.
    pub fn volumes(&self) -> Result<Vec<VolumeLine>, ManifestError<R::Error>> {
        let end = self.table.last().map_or(0, |last| last.raw_offset);
        let volumes: Vec<VolumeLine> = self.json(self.trailer.volumes, end).collect::<Result<_, _>>()?;
        if volumes.iter().zip(0..).any(|(volume, number)| volume.volume != number) {
            return Err(damaged("its volumes are not numbered from 0"));
        }
        Ok(volumes)
    }

    fn first_path(&self, frame: usize) -> Result<EntryPath, ManifestError<R::Error>> {
        let mut lines = Lines::new(self, frame, frame + 1, None);
        let line = lines.next_line()?.ok_or_else(|| damaged("an empty frame"))?;
        Ok(parse(line).map_err(|why| damaged(&why))?.path().clone())
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
struct Lines<'m, R> {
    manifest: &'m ManifestReader<R>,
    next: usize,
    end: usize,
    left: Option<u64>,
    decoder: FrameReader,
    frame: Vec<u8>,
    text: Vec<u8>,
    at: usize,
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

    fn next_line(&mut self) -> Result<Option<&[u8]>, ManifestError<R::Error>> {
        while self.at == self.text.len() {
            if self.next == self.end {
                return match self.left {
                    Some(1..) => Err(damaged("a section is cut")),
                    _ => Ok(None),
                };
            }
            let frame = self.manifest.table[self.next];
            read_frame(&self.manifest.source, frame, &mut self.decoder, &mut self.frame, &mut self.text)?;
            self.next += 1;
            self.at = 0;
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or_else(|| damaged("a section has more lines than it says"))?;
        }
        let rest = &self.text[self.at..];
        let len = memchr(rest).ok_or_else(|| damaged("a line without end"))?;
        self.at += len + 1;
        Ok(Some(&rest[..len]))
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|b| *b == b'\n')
}

struct Ordered<'m, R> {
    lines: Lines<'m, R>,
    last: Option<EntryPath>,
    failed: bool,
}

impl<R: ReadAt> Iterator for Ordered<'_, R> {
    type Item = Result<Line, ManifestError<R::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let line = self.lines.next_line().and_then(|line| match line {
            None => Ok(None),
            Some(line) => parse(line).map(Some).map_err(|why| damaged(&why)),
        });
        let checked = line.and_then(|line| match line {
            Some(line) if self.last.as_ref().is_some_and(|last| last > line.path()) => {
                Err(damaged("its entries are not sorted"))
            }
            Some(line) if matches!(line, Line::Entry(_)) && self.last.as_ref() == Some(line.path()) => {
                Err(damaged("it names an entry twice"))
            }
            other => Ok(other),
        });
        if let Ok(Some(line)) = &checked {
            self.last = Some(line.path().clone());
        }
        self.failed = checked.is_err();
        checked.transpose()
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
        table.push(TextFrame { offset, stored: entry.stored, raw_offset, raw: entry.raw });
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

fn damaged<E: std::error::Error>(what: &str) -> ManifestError<E> {
    ManifestError::Damaged(what.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::line::tests::any_entry;
    use super::super::{Entry, FrameLine, Header, Line, ManifestWriter, VolumeLine};
    use super::{ManifestError, ManifestReader};
    use crate::archive::Codec;
    use crate::domain::{Digest, EntryPath, RunId};

    fn header() -> Header {
        Header {
            manifest: 1,
            job: "upload".parse().expect("a job"),
            snapshot: "upload-20261121T020000Z".parse().expect("a snapshot"),
            run: RunId::from_random([1; 16]),
            tool: "backup 0.1.0".to_owned(),
        }
    }

    fn written(entries: &[Entry], frames: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ManifestWriter::new(&header(), &mut out);
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
                sha256: Digest::of(b"f"),
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

    fn numbered(count: usize) -> Vec<Entry> {
        let line = r#"{"path":"a","type":"fifo","mode":"0644","uid":0,"gid":0,"mtime":[0,0],"ctime":[0,0],"inode":1,"volume":0,"offset":0,"body":512}"#;
        let Ok(Line::Entry(model)) = super::parse(line.as_bytes()) else { panic!("a good line") };
        (0..count)
            .map(|n| Entry {
                path: EntryPath::parse(format!("folder/{n:08}").as_bytes()).expect("a path"),
                ..(*model).clone()
            })
            .collect()
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

        #[test]
        fn opening_anything_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(ManifestReader::open(bytes).is_err());
        }
    }
}
