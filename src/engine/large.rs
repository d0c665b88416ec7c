//! A large file: one handle, many frames.
//!
//! Its first frames are on their way before its last byte is read, so it cannot be read again from the start when it
//! changes meanwhile: what it grew is cut, what it lost is padded with zeros, and it is told as changed. The header
//! says the length it had when it was opened.

use super::likeness::Expected;
use super::plan::{loss, silent};
use crate::archive::manifest::{Entry, EntryKind, Placed};
use crate::archive::{FRAME_BYTES, SparseMap, TarHeader, TarKind, pad};
use crate::domain::{EntryPath, Hasher, Owner, Skip, SkipCause, Stat, Xattrs};
use crate::domain::{Halt, Halted, Turns};
use crate::source::{Found, Names, OpenFile, SourceError};

/// An open file that is stored in several frames.
pub(super) struct LargeFile {
    path: EntryPath,
    file: OpenFile,
    owner: Owner,
    xattrs: Xattrs,
    xattrs_lost: Option<SourceError>,
    sparse: Option<SparseMap>,
    header: Vec<u8>,
    body_len: u64,
    expected: Option<Expected>,
    state: Turns<Reading>,
}

struct Reading {
    hasher: Option<Hasher>,
    read_bytes: u64,
    loss: Option<(SkipCause, String)>,
}

/// What the last part tells.
pub(super) struct LargeDone {
    pub(super) entry: Entry,
    pub(super) skips: Vec<Skip>,
}

impl LargeFile {
    /// Opens it and settles its header.
    pub(super) fn open(found: &Found, names: &Names, expected: Option<Expected>) -> Result<Self, SourceError> {
        let file = found.place.open(&found.stat)?;
        let stat = file.stat().clone();
        let sparse = if file.is_sparse() { SparseMap::new(stat.size, &file.extents()?) } else { None };
        let (xattrs, xattrs_lost) = match file.xattrs() {
            Ok(xattrs) => (xattrs, None),
            Err(error) => (Xattrs::default(), Some(error)),
        };
        file.will_read();
        let owner = names.owner(stat.uid, stat.gid);
        let kind = sparse.as_ref().map_or(TarKind::File { size: stat.size }, |map| TarKind::Sparse { map });
        let head = TarHeader {
            path: &found.path,
            kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            owner: &owner,
            mtime: stat.mtime,
            xattrs: &xattrs,
        };
        let body_len = head.body_len();
        let mut header = Vec::new();
        head.encode(&mut header);
        let state = Turns::new(Reading { hasher: Some(Hasher::new()), read_bytes: 0, loss: None });
        let path = found.path.clone();
        Ok(Self { path, file, owner, xattrs, xattrs_lost, sparse, header, body_len, expected, state })
    }

    /// How many frames it takes.
    pub(super) fn parts(&self) -> u64 {
        self.body_len.div_ceil(FRAME_BYTES as u64).max(1)
    }

    /// How long its header is.
    pub(super) fn header_len(&self) -> u64 {
        self.header.len() as u64
    }

    /// Appends the bytes of one part to `raw`. The last part gives the entry. `read` hears how much was read.
    pub(super) fn part(
        &self,
        part: u64,
        raw: &mut Vec<u8>,
        halt: &Halt,
        read: &mut u64,
    ) -> Result<Option<LargeDone>, Halted> {
        if part == 0 {
            raw.extend_from_slice(&self.header);
        }
        let start = part * FRAME_BYTES as u64;
        let len = (self.body_len - start).min(FRAME_BYTES as u64) as usize;
        let body_at = raw.len();
        raw.resize(body_at + len, 0);
        let got = self.read_body(start, &mut raw[body_at..]);
        let body = &raw[body_at..];
        let last = part + 1 == self.parts();
        let done = self.state.take(part, halt, |state| {
            if let Some(hasher) = &mut state.hasher {
                hasher.update(body);
            }
            match got {
                Ok(got) => {
                    *read += got;
                    state.read_bytes += got;
                    if got < self.data_in(start, len as u64) && state.loss.is_none() {
                        state.loss = Some((SkipCause::Changed, "it became shorter".to_owned()));
                    }
                }
                Err(error) => {
                    let cause = SkipCause::Incomplete;
                    state.loss.get_or_insert_with(|| (cause, super::plan::skip(self.path.clone(), &error).why));
                }
            }
            if !last {
                return None;
            }
            if state.loss.is_none() && !self.is_unchanged() {
                state.loss = Some((SkipCause::Changed, "it was written while it was read".to_owned()));
            }
            let hasher = state.hasher.take().expect("the last part comes once");
            Some((hasher, state.loss.take()))
        })?;
        let Some((hasher, loss_found)) = done else { return Ok(None) };
        pad(raw, self.body_len);
        let stat = self.file.stat();
        let mut skips = Vec::new();
        if let Some(error) = &self.xattrs_lost {
            skips.push(super::plan::skip(self.path.clone(), error));
        }
        skips.extend(loss_found.map(|(cause, why)| loss(&self.path, cause, &why)));
        let sha256 = hasher.finish();
        let changed = skips.iter().any(|skip| matches!(skip.cause, SkipCause::Changed | SkipCause::Incomplete));
        let entry = Entry {
            path: self.path.clone(),
            kind: EntryKind::File,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            owner: self.owner.clone(),
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
            inode: stat.inode,
            sha256: Some(sha256),
            xattrs: self.xattrs.digest(),
            sparse: self.sparse.is_some(),
            changed,
            // the writer knows where its first part came to lie
            placed: Placed { volume: 0, offset: 0, body: self.header_len(), stored: self.body_len },
        };
        if skips.is_empty() && self.expected.is_some_and(|expected| expected.is_other(&entry)) {
            skips.push(silent(&self.path));
        }
        Ok(Some(LargeDone { entry, skips }))
    }

    /// How many of these bytes of the body come from the file, and not from the map of a sparse one.
    fn data_in(&self, start: u64, len: u64) -> u64 {
        let map_len = self.sparse.as_ref().map_or(0, |map| map.text().len() as u64);
        (start + len).saturating_sub(start.max(map_len))
    }

    fn is_unchanged(&self) -> bool {
        self.file.stat_now().is_ok_and(|now| is_same_content(self.file.stat(), &now))
    }

    /// Reads `into.len()` bytes of the body from `start`; what the file no longer has stays zero.
    fn read_body(&self, start: u64, into: &mut [u8]) -> Result<u64, SourceError> {
        match &self.sparse {
            None => Ok(self.file.read_at(start, into)? as u64),
            Some(map) => read_sparse(&self.file, map, start, into),
        }
    }
}

/// Reads from the body of a sparse file as it lies in the tar stream: the map, then the runs of data.
pub(super) fn read_sparse(file: &OpenFile, map: &SparseMap, start: u64, into: &mut [u8]) -> Result<u64, SourceError> {
    let end = start + into.len() as u64;
    let mut got = 0;
    let text = map.text();
    if (start as usize) < text.len() {
        let part = &text[start as usize..text.len().min(end as usize)];
        into[..part.len()].copy_from_slice(part);
    }
    let mut at = text.len() as u64;
    for extent in map.extents() {
        let (from, to) = (start.max(at), end.min(at + extent.len));
        if from < to {
            let window = &mut into[(from - start) as usize..(to - start) as usize];
            got += file.read_at(extent.offset + (from - at), window)? as u64;
        }
        at += extent.len;
        if at >= end {
            break;
        }
    }
    Ok(got)
}

/// Whether nothing wrote to the file between two looks at it.
pub(super) fn is_same_content(before: &Stat, after: &Stat) -> bool {
    before.size == after.size && before.mtime == after.mtime && before.ctime == after.ctime
}
