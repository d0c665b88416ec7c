//! Whether an entry that is in doubt is still what the snapshot before says: it is read.
//!
//! What differs, cannot be read, or was written a moment ago is not proven; it is then stored like any other, with all
//! the care that takes. So nothing here ends a run or is told.

use super::large::{is_same_content, read_sparse};
use super::make::CLOCK_GRAIN;
use crate::archive::SparseMap;
use crate::archive::manifest::{Entry, EntryKind};
use crate::domain::{ByteCount, Cancel, Clock, Hasher, Kind, Stat};
use crate::observe::{Event, Observer};
use crate::source::{Found, SourceError};

const READ_BYTES: usize = 1 << 20;

/// Who reads what is in doubt.
#[derive(Clone, Copy)]
pub(super) struct Prover<'a> {
    pub(super) clock: &'a dyn Clock,
    pub(super) cancel: &'a Cancel,
    pub(super) observer: &'a dyn Observer,
}

impl Prover<'_> {
    /// Reads what was found and compares it with `before`. `read` hears how much was read.
    pub(super) fn is_proven(&self, found: &Found, before: &Entry, read: &mut u64) -> bool {
        let proven = match (&found.stat.kind, &before.kind) {
            (Kind::File, EntryKind::File) => self.file(found, before, read),
            (Kind::Symlink, EntryKind::Symlink { target }) => {
                found.place.read_link(&found.stat).and_then(|now| Ok(now == *target && attributes(found, before)?))
            }
            _ => attributes(found, before),
        };
        proven.unwrap_or(false)
    }

    fn file(&self, found: &Found, before: &Entry, read: &mut u64) -> Result<bool, SourceError> {
        let file = found.place.open(&found.stat)?;
        let stat = file.stat().clone();
        let sparse = if file.is_sparse() { SparseMap::new(stat.size, &file.extents()?) } else { None };
        let len = sparse.as_ref().map_or(stat.size, SparseMap::body_len);
        let alike =
            is_same_content(&found.stat, &stat) && sparse.is_some() == before.sparse && len == before.placed.stored;
        if !alike || is_fresh(&stat, self.clock) || file.xattrs()?.digest() != before.xattrs {
            return Ok(false);
        }
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; READ_BYTES.min(len as usize)];
        let mut at = 0;
        while at < len {
            if self.cancel.asked().is_some() {
                return Ok(false);
            }
            let part = &mut buffer[..READ_BYTES.min((len - at) as usize)];
            let got = match &sparse {
                Some(map) => {
                    part.fill(0);
                    read_sparse(&file, map, at, part)?;
                    part.len()
                }
                None => file.read_at(at, part)?,
            };
            if got == 0 {
                return Ok(false);
            }
            hasher.update(&part[..got]);
            at += got as u64;
            *read += got as u64;
            let (bytes, stored) = (ByteCount(got as u64), ByteCount::ZERO);
            self.observer.notice(&Event::Advanced { entries: 0, bytes, stored });
        }
        Ok(Some(hasher.finish()) == before.sha256 && is_same_content(&stat, &file.stat_now()?))
    }
}

/// Whether what was found has the extended attributes that `before` says. What cannot be read has others.
pub(super) fn attributes_are_those_of(found: &Found, before: &Entry) -> bool {
    attributes(found, before).unwrap_or(false)
}

fn attributes(found: &Found, before: &Entry) -> Result<bool, SourceError> {
    Ok(found.place.xattrs(&found.stat)?.digest() == before.xattrs)
}

/// Whether the clock's grain could hide a write that comes after this look.
fn is_fresh(stat: &Stat, clock: &dyn Clock) -> bool {
    let newest = stat.ctime.max(stat.mtime).as_nanos();
    let age = (clock.now().as_nanosecond() - newest).unsigned_abs();
    age < CLOCK_GRAIN.as_nanos()
}
