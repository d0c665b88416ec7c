//! The content of a file on this machine against its entry in a manifest: one comparison, for restore and for verify.
//!
//! Content is hashed as the manifest hashed it. For a sparse file that is by the map in its volume, so that holes of
//! terabytes cost nothing; what the map has as a hole has to hold nothing but zeros. Where the map cannot be read, that
//! is told: a file is never taken for the same unread.
//!
//! Opens nothing and follows no path: whoever asks has the file open.

use super::contents::{Contents, FrameBuffers};
use super::member::header_of;
use crate::archive::manifest::Entry;
use crate::archive::padding;
use crate::archive::tar::{TarLimits, TarReader};
use crate::domain::{Cancel, Extent, Hasher};
use crate::source::OpenFile;

const READ_BYTES: usize = 1 << 20;

/// A hole shorter than this may be filled by any file system.
const HOLE_BYTES_MIN: u64 = 128 << 10;

/// How a file's content is not what the manifest says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Otherwise {
    /// Other bytes; in words.
    #[error("{0}")]
    Another(&'static str),
    /// The same bytes, and its holes take room.
    #[error("its holes are filled")]
    Filled,
    /// Nobody knows; in words.
    #[error("{0}")]
    Unread(String),
}

/// Compares the content of a file of the length that the entry tells. Ends early when somebody asks to stop: then
/// nobody knows.
///
/// # Errors
/// [`Otherwise`], if it is not the same or not known.
pub fn compare_content(
    contents: &Contents,
    entry: &Entry,
    file: &OpenFile,
    buffers: &mut FrameBuffers,
    raw: &mut Vec<u8>,
    cancel: &Cancel,
) -> Result<(), Otherwise> {
    let mut hasher = Hasher::new();
    let mut filled = false;
    if entry.sparse {
        let (map, extents) = map(contents, entry, buffers, raw)?;
        hasher.update(&map);
        let mut end = 0;
        for extent in &extents {
            zeros(file, end..extent.offset, cancel)?;
            hash(file, extent.offset..extent.offset + extent.len, &mut hasher, cancel)?;
            end = extent.offset + extent.len;
        }
        zeros(file, end..entry.size, cancel)?;
        filled = !file.is_sparse() && has_hole(&extents, entry.size);
    } else {
        hash(file, 0..entry.size, &mut hasher, cancel)?;
    }
    match Some(hasher.finish()) == entry.sha256 {
        true if filled => Err(Otherwise::Filled),
        true => Ok(()),
        false => Err(Otherwise::Another("its content is another")),
    }
}

/// Where the data of a sparse file belongs, and how that is written in its volume.
fn map(
    contents: &Contents,
    entry: &Entry,
    buffers: &mut FrameBuffers,
    raw: &mut Vec<u8>,
) -> Result<(Box<[u8]>, Vec<Extent>), Otherwise> {
    let placed = entry.placed;
    let lost = || Otherwise::Unread("its map of holes cannot be read from the volume".to_owned());
    contents.frames_of(&placed).ok_or_else(lost)?;
    let range = placed.offset..placed.body + placed.stored + padding(placed.stored) as u64;
    let input = contents.stream(placed.volume, range, buffers, raw);
    let member = header_of(&mut TarReader::new(input, TarLimits::default()), entry).map_err(|_| lost())?;
    Ok((member.map, member.extents.unwrap_or_default()))
}

fn has_hole(extents: &[Extent], size: u64) -> bool {
    let ends = extents.iter().map(|extent| extent.offset + extent.len);
    let begins = extents.iter().map(|extent| extent.offset).chain([size]);
    std::iter::once(0).chain(ends).zip(begins).any(|(end, begin)| begin.saturating_sub(end) >= HOLE_BYTES_MIN)
}

fn hash(file: &OpenFile, range: std::ops::Range<u64>, hasher: &mut Hasher, cancel: &Cancel) -> Result<(), Otherwise> {
    each(file, range, cancel, &mut |bytes| {
        hasher.update(bytes);
        Ok(())
    })
}

/// What the volume has as a hole holds nothing but zeros.
fn zeros(file: &OpenFile, range: std::ops::Range<u64>, cancel: &Cancel) -> Result<(), Otherwise> {
    let runs = file.extents().map_err(|error| Otherwise::Unread(format!("its holes cannot be told: {error}")))?;
    for run in runs {
        let own = run.offset.max(range.start)..(run.offset + run.len).min(range.end);
        if own.start < own.end {
            each(file, own, cancel, &mut |bytes| {
                let all = bytes.iter().all(|byte| *byte == 0);
                if all { Ok(()) } else { Err(Otherwise::Another("there is data where it has a hole")) }
            })?;
        }
    }
    Ok(())
}

fn each(
    file: &OpenFile,
    range: std::ops::Range<u64>,
    cancel: &Cancel,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Otherwise>,
) -> Result<(), Otherwise> {
    let mut buffer = vec![0; READ_BYTES.min((range.end - range.start) as usize)];
    let mut at = range.start;
    while at < range.end {
        if cancel.asked().is_some() {
            return Err(Otherwise::Unread("it was not read to its end".to_owned()));
        }
        let len = buffer.len().min((range.end - at) as usize);
        let got = file
            .read_at(at, &mut buffer[..len])
            .map_err(|error| Otherwise::Unread(format!("its content cannot be read: {}", error.said())))?;
        if got == 0 {
            return Err(Otherwise::Another("it is cut"));
        }
        take(&buffer[..got])?;
        at += got as u64;
    }
    Ok(())
}
