//! The lines of an earlier manifest, as they stand, for the one that is made from it.
//!
//! What did not change is copied: line by line, or whole frames as they are stored. Numbers of volumes are those that
//! stand in the lines, so that a copy means the same. The danger is to copy what was not looked at: a frame is copied
//! only after it was decoded, and its checksum with it.

use super::super::seek::SeekEntry;
use super::line::{Line, parse, parse_path};
use super::read::{Lines, ManifestError, ReadAt, damaged};
use crate::domain::EntryPath;

/// Goes through the first section of a manifest once.
pub struct RawLines<'m, R> {
    lines: Lines<'m, R>,
    last_from: usize,
}

/// A frame that can be copied.
pub(super) struct WholeFrame<'a> {
    pub(super) stored: &'a [u8],
    pub(super) seek: SeekEntry,
    pub(super) lines: u64,
    pub(super) last: EntryPath,
}

impl<'m, R: ReadAt> RawLines<'m, R> {
    pub(super) fn new(lines: Lines<'m, R>) -> Self {
        Self { lines, last_from: 0 }
    }

    /// The next line, without its line feed; none at the end.
    ///
    /// # Errors
    /// If the manifest cannot be read or is damaged.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, ManifestError<R::Error>> {
        if !self.lines.is_inside_frame() && self.lines.next == self.lines.end {
            return self.lines.next_line();
        }
        self.last_from = if self.lines.is_inside_frame() { self.lines.at } else { 0 };
        self.lines.next_line()
    }

    /// The next line, understood. Unlike elsewhere the volume is the number that stands in the line.
    ///
    /// # Errors
    /// If the manifest cannot be read or is damaged.
    pub fn next_parsed(&mut self) -> Result<Option<Line>, ManifestError<R::Error>> {
        self.next_line()?.map(|line| parse(line).map_err(|why| damaged(&why))).transpose()
    }

    /// The path of the line that was given last.
    pub(super) fn path_of_last(&self) -> Result<EntryPath, ManifestError<R::Error>> {
        let end = self.lines.at.saturating_sub(1);
        let line = self.lines.text.get(self.last_from..end).unwrap_or_default();
        parse_path(line).map_err(|why| damaged(&why))
    }

    /// The next frame, if a frame begins here and has at most `lines_max` lines.
    pub(super) fn whole_frame(&mut self, lines_max: u64) -> Result<Option<WholeFrame<'_>>, ManifestError<R::Error>> {
        if !self.lines.is_inside_frame() {
            if self.lines.next == self.lines.end {
                return Err(cut());
            }
            self.lines.next_frame()?;
        }
        if self.lines.at > 0 {
            return Ok(None);
        }
        let text = &self.lines.text;
        let count = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        let Some(whole) = text.strip_suffix(b"\n").filter(|_| count <= lines_max) else { return Ok(None) };
        let last = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or(whole);
        let last = parse_path(last).map_err(|why| damaged(&why))?;
        if let Some(left) = &mut self.lines.left {
            *left = left.checked_sub(count).ok_or_else(|| damaged("a section has more lines than it says"))?;
        }
        self.lines.at = text.len();
        let frame = self.lines.manifest.table[self.lines.next - 1];
        let seek = SeekEntry { stored: frame.stored, raw: frame.raw, checksum: frame.checksum };
        Ok(Some(WholeFrame { stored: &self.lines.frame, seek, lines: count, last }))
    }
}

pub(super) fn cut<E: std::error::Error>() -> ManifestError<E> {
    damaged("it has fewer lines than it says")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::line::tests::{any_entry, header};
    use super::super::{Entry, Line, ManifestReader, ManifestWriter, VolumeLine};
    use crate::archive::Codec;
    use crate::domain::Digest;

    fn ended(mut writer: ManifestWriter, mut out: Vec<u8>, numbers: &[u32]) -> Vec<u8> {
        for number in numbers {
            let line = VolumeLine {
                volume: *number,
                name: format!("{number}.tar"),
                codec: Codec::None,
                size: 1,
                raw_size: 1,
                frames: 0,
                sha256: Digest::of(b"v"),
            };
            writer.volume(&line, &mut out);
        }
        writer.finish(&mut out);
        out
    }

    proptest! {
        #[test]
        fn a_copy_holds_what_was_taken_in_its_order_and_what_was_put_between(
            mut entries in prop::collection::vec(any_entry(), 1..60),
            takes in prop::collection::vec(any::<bool>(), 60),
            text_bytes in prop::sample::select(vec![1, 300, 1000, 5000, 1 << 20]),
            gap in 0_u32..3,
        ) {
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            entries.dedup_by(|a, b| a.path == b.path);
            // whatever numbers volumes have in the lines: the reader counts them from 0
            for entry in &mut entries {
                entry.placed.volume = gap + 2 * (entry.placed.volume % 2);
            }
            let numbers = [gap, gap + 2];
            let mut out = Vec::new();
            let mut writer = ManifestWriter::with_text_bytes(&header(), text_bytes, &mut out);
            for entry in &entries {
                writer.entry(entry, &mut out);
            }
            let first = ManifestReader::open(ended(writer, out, &numbers)).expect("well formed");

            let mut out = Vec::new();
            let mut writer = ManifestWriter::with_text_bytes(&header(), text_bytes, &mut out);
            let (mut lines, mut expected, mut at) = (first.raw_lines(), Vec::new(), 0);
            while at < entries.len() {
                let run = takes[at..entries.len()].iter().take_while(|take| **take).count();
                let bytes = entries[at..at + run].iter().map(|entry| entry.size).sum();
                writer.copy(&mut lines, run as u64, bytes, &mut out).expect("they are there");
                expected.extend_from_slice(&entries[at..at + run]);
                at += run;
                if let Some(dropped) = entries.get(at) {
                    let line = lines.next_parsed().expect("it is there");
                    prop_assert_eq!(line, Some(Line::Entry(Box::new(dropped.clone()))));
                    let changed = Entry { uid: dropped.uid ^ 1, ..dropped.clone() };
                    writer.entry(&changed, &mut out);
                    expected.push(changed);
                    at += 1;
                }
            }
            prop_assert_eq!(lines.next_line().expect("the end"), None);
            let second = ManifestReader::open(ended(writer, out, &numbers)).expect("well formed");
            let mut spent = ManifestWriter::new(&header(), &mut Vec::new());
            prop_assert!(spent.copy(&mut lines, 1, 0, &mut Vec::new()).is_err(), "there is no line left");
            let read: Vec<Line> = second.lines().collect::<Result<_, _>>().expect("in order");
            let placed: Vec<Line> = expected.iter().map(|entry| {
                let mut entry = entry.clone();
                entry.placed.volume = (entry.placed.volume - gap) / 2;
                Line::Entry(Box::new(entry))
            }).collect();
            prop_assert_eq!(read, placed);
            prop_assert_eq!(second.trailer().content_bytes, expected.iter().map(|entry| entry.size).sum::<u64>());
            let volumes = second.volumes().expect("two");
            prop_assert_eq!(volumes.iter().map(|volume| volume.volume).collect::<Vec<_>>(), vec![0, 1]);
            prop_assert_eq!((second.number_of(0), second.number_of(1)), (gap, gap + 2));
        }
    }
}
