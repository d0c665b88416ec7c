//! Making frames: what a worker does, and all that it does.
//!
//! It opens, reads, hashes and packs the entries of one plan, then compresses and hashes the frame. Everything the
//! source does to us meanwhile ends here, as a skip; nothing here knows the store.
//!
//! The danger is a file that changes while it is read. It is looked at before and after; if it moved it is read
//! again, a few times, and then stored as last read and told. If it was written so shortly before that the clock's
//! grain could hide another write, it is read twice and compared.

use std::time::Duration;

use super::large::{is_same_content, read_sparse};
use super::pipeline::Work;
use super::plan::{FramePlan, Kept, Of, Piece, Planned, loss, silent, skip};
use super::prove::Prover;
use super::staged::Staged;
use crate::archive::manifest::{Entry, EntryKind, Placed};
use crate::archive::{END_MARKER, FRAME_BYTES_MAX, FrameMaker, SparseMap, StoredFrame, TarHeader, TarKind, pad};
use crate::domain::{Clock, Digest, EntryPath, FrameSum, Kind, Skip, SkipCause, Stat, Totals, Xattrs};
use crate::domain::{Halt, Halted};
use crate::source::{Found, Names, OpenFile, SourceError};

/// How often a file that changes is read before it is stored as it is, and one that is replaced looked for.
pub(super) const READ_TRIES: u32 = 3;

/// Kernels stamp files by the tick (up to 10 ms); two writes within one look like one.
pub(super) const CLOCK_GRAIN: Duration = Duration::from_millis(20);

/// A file that was small when it was listed and grew by more than this is cut: a frame is held in memory.
const GROWTH_MAX: u64 = 8 << 20;

/// A line of the manifest, placed within its frame.
pub(super) enum MadeLine {
    Entry {
        entry: Entry,
        /// Its offsets count from where its large file began, not from this frame.
        of_large: bool,
    },
    Skip(Skip),
    /// As [`Piece::Keep`].
    Keep(Kept),
    /// As [`Piece::Drop`].
    Drop(u64),
    /// As [`Piece::Proven`].
    Proven(Box<Entry>),
    /// As [`Piece::Adopted`].
    Adopted(Box<Entry>),
    /// As [`Piece::Stale`].
    Stale {
        volume: u32,
        path: EntryPath,
    },
}

/// A frame, ready to be written.
pub(super) struct Made {
    pub(super) number: u64,
    pub(super) raw_len: u64,
    /// Where the writer finds what is stored, if it lies in the draft already.
    pub(super) staged: Option<(std::sync::Arc<Staged>, usize)>,
    pub(super) stored: StoredFrame,
    pub(super) xxh128: FrameSum,
    pub(super) checksum: u32,
    pub(super) lines: Vec<MadeLine>,
    pub(super) totals: Totals,
    /// A large file begins with this frame.
    pub(super) begins_large: bool,
    /// A large file goes on in this frame.
    pub(super) goes_on: bool,
}

/// A worker's tools, reused from frame to frame.
pub(super) struct Maker<'a> {
    frames: FrameMaker,
    names: &'a Names,
    clock: &'a dyn Clock,
    prover: Prover<'a>,
    halt: Halt,
    raw: Vec<u8>,
}

/// What became of a file.
enum Stored {
    Yes { entry: Box<Entry>, skips: Vec<Skip> },
    No(Skip),
}

impl<'a> Maker<'a> {
    pub(super) fn new(work: &Work<'a>, halt: Halt) -> Self {
        let Work { codec, names, clock, .. } = *work;
        Self { frames: FrameMaker::new(codec), names, clock, prover: work.prover(), halt, raw: Vec::new() }
    }

    /// Makes one frame; `stored` is one to be reused.
    pub(super) fn make(&mut self, plan: FramePlan, stored: StoredFrame) -> Result<Made, Halted> {
        self.raw.clear();
        let mut made = Made {
            number: plan.number,
            raw_len: 0,
            staged: None,
            stored,
            xxh128: FrameSum::of(b""),
            checksum: 0,
            lines: Vec::with_capacity(plan.pieces.len()),
            totals: Totals::default(),
            begins_large: false,
            goes_on: false,
        };
        for piece in plan.pieces {
            match piece {
                Piece::Entry(planned) => self.entry(planned, &mut made)?,
                Piece::Part { file, part } => {
                    made.begins_large = part == 0;
                    made.goes_on = part > 0;
                    let mut read = 0;
                    let done = file.part(part, &mut self.raw, &self.halt, &mut read)?;
                    made.totals.read_bytes.0 += read;
                    if let Some(done) = done {
                        done.entry.count_in(&mut made.totals);
                        made.lines.push(MadeLine::Entry { entry: done.entry, of_large: true });
                        made.lines.extend(done.skips.into_iter().map(MadeLine::Skip));
                    }
                }
                Piece::StagedHead(file) => {
                    made.begins_large = true;
                    self.raw.extend_from_slice(&file.header);
                    if file.frames.is_empty() {
                        staged_line(&file, &mut made);
                    }
                }
                Piece::StagedPart { file, part } => {
                    made.goes_on = true;
                    if part + 1 == file.frames.len() {
                        staged_line(&file, &mut made);
                    }
                    made.staged = Some((file, part));
                }
                Piece::Skip(skip) => made.lines.push(MadeLine::Skip(skip)),
                Piece::Keep(kept) => made.lines.push(MadeLine::Keep(kept)),
                Piece::Drop(lines) => made.lines.push(MadeLine::Drop(lines)),
                Piece::Proven(entry) => proven(entry, Of::Earlier, &mut made),
                Piece::Adopted(entry) => proven(entry, Of::Adopted, &mut made),
                Piece::Stale { volume, path } => made.lines.push(MadeLine::Stale { volume, path }),
                Piece::Doubt { found, before, of, names } => {
                    let mut read = 0;
                    let same = self.prover.is_proven(&found, &before, &mut read);
                    made.totals.read_bytes.0 += read;
                    if same {
                        if let Some((names, turn)) = names {
                            let first = Some(found.clone());
                            names.take(turn, &self.halt, |stays| *stays = first)?;
                        }
                        let entry = Entry { ctime: found.stat.ctime, inode: found.stat.inode, ..*before };
                        proven(Box::new(entry), of, &mut made);
                    } else {
                        made.lines.push(match of {
                            Of::Earlier => MadeLine::Drop(1),
                            Of::Adopted => MadeLine::Stale { volume: before.placed.volume, path: before.path },
                        });
                        self.entry(Planned { found, names, expected: None }, &mut made)?;
                    }
                }
                Piece::End => self.raw.extend_from_slice(&END_MARKER),
            }
        }
        if let Some((file, part)) = &made.staged {
            assert!(self.raw.is_empty(), "a staged frame is a frame of its own");
            let frame = &file.frames[*part];
            (made.raw_len, made.xxh128, made.checksum) = (frame.raw, frame.xxh128, frame.checksum);
            return Ok(made);
        }
        made.raw_len = self.raw.len() as u64;
        assert!(made.raw_len <= FRAME_BYTES_MAX, "a frame is bounded by its plan and by what may grow meanwhile");
        if made.raw_len > 0 {
            made.checksum = self.frames.make_of(&mut self.raw, &mut made.stored);
            made.xxh128 = FrameSum::of_pieces(&made.stored.pieces());
        } else {
            made.stored.clear();
        }
        Ok(made)
    }

    fn entry(&mut self, planned: Planned, made: &mut Made) -> Result<(), Halted> {
        let Planned { found, names, expected } = planned;
        let stored = match (found.stat.kind, names) {
            (Kind::File, None) => self.file(&found, made),
            (Kind::File, Some((names, turn))) => {
                let halt = self.halt.clone();
                names.take(turn, &halt, |first| match first {
                    Some(first) if is_one_file(first, &found) => self.hard_link(&found, &first.path, made),
                    // its number was given to another file meanwhile: it is stored for itself
                    Some(_) => self.file(&found, made),
                    None => {
                        let stored = self.file(&found, made);
                        // of what has taken its name since it was listed the other names are none
                        if let Stored::Yes { entry, .. } = &stored
                            && entry.inode == found.stat.inode
                        {
                            *first = Some(found.clone());
                        }
                        stored
                    }
                })?
            }
            _ => self.other(&found, made),
        };
        match stored {
            Stored::Yes { entry, mut skips } => {
                if skips.is_empty() && expected.is_some_and(|expected| expected.is_other(&entry)) {
                    skips.push(silent(&entry.path));
                }
                entry.count_in(&mut made.totals);
                made.lines.push(MadeLine::Entry { entry: *entry, of_large: false });
                made.lines.extend(skips.into_iter().map(MadeLine::Skip));
            }
            Stored::No(skip) => made.lines.push(MadeLine::Skip(skip)),
        }
        Ok(())
    }

    /// A regular file that fits a frame: read, and read again while it changes.
    fn file(&mut self, found: &Found, made: &mut Made) -> Stored {
        let begin = self.raw.len();
        let mut expected = found.stat.clone();
        let mut seen: Option<(Stat, Digest)> = None;
        for attempt in 1..=READ_TRIES {
            self.raw.truncate(begin);
            let last = attempt == READ_TRIES;
            match self.read_once(&found.path, found, &expected, made) {
                Ok(read) => {
                    let settled = read.whole && read.now.as_ref().is_some_and(|now| is_same_content(&read.stat, now));
                    let sha256 = read.entry.sha256.expect("a file has a digest");
                    let again = seen
                        .as_ref()
                        .is_some_and(|(stat, digest)| *digest == sha256 && is_same_content(stat, &read.stat));
                    let steady = settled && !read.cut && (again || !self.is_fresh(&read.stat));
                    if steady || last {
                        let mut entry = read.entry;
                        let mut skips = read.skips;
                        if !steady {
                            entry.changed = true;
                            skips.push(loss(&found.path, SkipCause::Changed, "it was written each time it was read"));
                        }
                        return Stored::Yes { entry, skips };
                    }
                    expected = read.now.unwrap_or(read.stat.clone());
                    seen = Some((read.stat, sha256));
                }
                Err(SourceError::Replaced) if !last => match found.place.stat() {
                    Ok(now) if now.kind == Kind::File => expected = now,
                    Ok(_) => return self.give_up(begin, found, &SourceError::Replaced),
                    Err(error) => return self.give_up(begin, found, &error),
                },
                Err(error @ SourceError::Vanished) => return self.give_up(begin, found, &error),
                Err(error) if last => return self.give_up(begin, found, &error),
                Err(_) => {}
            }
        }
        unreachable!("the last attempt returns")
    }

    fn give_up(&mut self, begin: usize, found: &Found, error: &SourceError) -> Stored {
        self.raw.truncate(begin);
        Stored::No(skip(found.path.clone(), error))
    }

    /// Whether the clock's grain could hide a write that came after the file was opened.
    fn is_fresh(&self, stat: &Stat) -> bool {
        let now = self.clock.now().as_nanosecond();
        let newest = stat.ctime.max(stat.mtime).as_nanos();
        (now - newest).unsigned_abs() < CLOCK_GRAIN.as_nanos()
    }

    fn read_once(
        &mut self,
        path: &EntryPath,
        found: &Found,
        expected: &Stat,
        made: &mut Made,
    ) -> Result<ReadOnce, SourceError> {
        let file = found.place.open(expected)?;
        let stat = file.stat().clone();
        let sparse = if file.is_sparse() { SparseMap::new(stat.size, &file.extents()?) } else { None };
        let mut skips = Vec::new();
        let xattrs = self.that_fit(file.xattrs()).unwrap_or_else(|error| {
            skips.push(skip(path.clone(), &error));
            Xattrs::default()
        });
        // what grew beyond what memory was planned for is cut to the length it had in its folder's listing
        let held = sparse.as_ref().map_or(stat.size, SparseMap::body_len);
        let too_much = held > found.stat.size.saturating_add(GROWTH_MAX)
            || held.saturating_add(self.raw.len() as u64) > FRAME_BYTES_MAX / 2;
        let cut = sparse.is_none() && too_much && held > found.stat.size;
        let size = if cut { found.stat.size } else { stat.size };
        // nor is more than that memory read of one that was long when it was listed
        if too_much && (!cut || size.saturating_add(self.raw.len() as u64) > FRAME_BYTES_MAX / 2) {
            return Err(SourceError::Unreadable(std::io::ErrorKind::FileTooLarge.into()));
        }
        let kind = sparse.as_ref().map_or(TarKind::File { size }, |map| TarKind::Sparse { map });
        let owner = self.names.owner(stat.uid, stat.gid);
        let head = header(path, kind, &stat, &owner, &xattrs);
        let offset = self.raw.len() as u64;
        head.encode(&mut self.raw);
        let body = self.raw.len();
        let len = head.body_len();
        self.raw.resize(body + len as usize, 0);
        let got = read_body(&file, sparse.as_ref(), &mut self.raw[body..])?;
        made.totals.read_bytes.0 += got;
        let wanted = len - sparse.as_ref().map_or(0, |map| map.text().len() as u64);
        let sha256 = Digest::of(&self.raw[body..]);
        pad(&mut self.raw, len);
        let mut entry = entry_of(path, EntryKind::File, &stat, owner, &xattrs);
        entry.size = size;
        entry.sha256 = Some(sha256);
        entry.sparse = sparse.is_some();
        entry.placed = Placed { volume: 0, offset, body: body as u64, stored: len };
        Ok(ReadOnce { whole: got == wanted, now: file.stat_now().ok(), stat, entry: Box::new(entry), skips, cut })
    }

    /// Attributes, unless so many came together in one frame that it would grow too large.
    fn that_fit(&self, xattrs: Result<Xattrs, SourceError>) -> Result<Xattrs, SourceError> {
        let xattrs = xattrs?;
        let bytes: usize = xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum();
        if bytes > 0 && (self.raw.len() + bytes) as u64 > FRAME_BYTES_MAX / 4 {
            return Err(SourceError::Attributes(std::io::ErrorKind::FileTooLarge.into()));
        }
        Ok(xattrs)
    }

    fn hard_link(&mut self, found: &Found, first: &EntryPath, _: &mut Made) -> Stored {
        let stat = &found.stat;
        let owner = self.names.owner(stat.uid, stat.gid);
        let xattrs = Xattrs::default();
        let offset = self.raw.len() as u64;
        header(&found.path, TarKind::HardLink { first }, stat, &owner, &xattrs).encode(&mut self.raw);
        let mut entry = entry_of(&found.path, EntryKind::HardLink { first: first.clone() }, stat, owner, &xattrs);
        entry.placed = Placed { volume: 0, offset, body: self.raw.len() as u64, stored: 0 };
        Stored::Yes { entry: Box::new(entry), skips: Vec::new() }
    }

    /// A folder, symlink, FIFO or device: a header without a body.
    fn other(&mut self, found: &Found, _: &mut Made) -> Stored {
        let stat = &found.stat;
        let target = match stat.kind {
            Kind::Symlink => match found.place.read_link(stat) {
                Ok(target) => target,
                Err(error) => return Stored::No(skip(found.path.clone(), &error)),
            },
            _ => Box::default(),
        };
        let mut skips = Vec::new();
        let xattrs = match self.that_fit(found.place.xattrs(stat)) {
            Ok(xattrs) => xattrs,
            Err(error @ (SourceError::Vanished | SourceError::Replaced)) if stat.kind != Kind::Folder => {
                return Stored::No(skip(found.path.clone(), &error));
            }
            Err(error) => {
                skips.push(skip(found.path.clone(), &error));
                Xattrs::default()
            }
        };
        let (tar, kind) = match stat.kind {
            Kind::Folder => (TarKind::Folder, EntryKind::Folder),
            Kind::Symlink => (TarKind::Symlink { target: &target }, EntryKind::Symlink { target: target.clone() }),
            Kind::Fifo => (TarKind::Fifo, EntryKind::Fifo),
            Kind::CharDevice => {
                (TarKind::CharDevice { special: stat.special }, EntryKind::CharDevice { special: stat.special })
            }
            Kind::BlockDevice => {
                (TarKind::BlockDevice { special: stat.special }, EntryKind::BlockDevice { special: stat.special })
            }
            Kind::File | Kind::Socket => unreachable!("files are read, sockets are never planned"),
        };
        let owner = self.names.owner(stat.uid, stat.gid);
        let offset = self.raw.len() as u64;
        header(&found.path, tar, stat, &owner, &xattrs).encode(&mut self.raw);
        let mut entry = entry_of(&found.path, kind, stat, owner, &xattrs);
        entry.placed = Placed { volume: 0, offset, body: self.raw.len() as u64, stored: 0 };
        Stored::Yes { entry: Box::new(entry), skips }
    }
}

/// Whether two names of one inode are names of one file. Where it was written between the two looks (its ctime says
/// nothing: a new name for it moves that), both are looked at again: a number that was given to another file has left
/// one of them.
fn is_one_file(first: &Found, further: &Found) -> bool {
    let is_as_listed = first.stat.size == further.stat.size && first.stat.mtime == further.stat.mtime;
    let inode = |stat: &Stat| (stat.kind, stat.device, stat.inode);
    let still_is = |name: &Found| name.place.stat().is_ok_and(|now| inode(&now) == inode(&further.stat));
    is_as_listed || (still_is(first) && still_is(further))
}

struct ReadOnce {
    /// Whether as much could be read as the file's length says.
    whole: bool,
    stat: Stat,
    now: Option<Stat>,
    entry: Box<Entry>,
    skips: Vec<Skip>,
    cut: bool,
}

fn read_body(file: &OpenFile, sparse: Option<&SparseMap>, into: &mut [u8]) -> Result<u64, SourceError> {
    match sparse {
        None => Ok(file.read_at(0, into)? as u64),
        Some(map) => read_sparse(file, map, 0, into),
    }
}

fn header<'h>(
    path: &'h EntryPath,
    kind: TarKind<'h>,
    stat: &Stat,
    owner: &'h crate::domain::Owner,
    xattrs: &'h Xattrs,
) -> TarHeader<'h> {
    TarHeader { path, kind, mode: stat.mode, uid: stat.uid, gid: stat.gid, owner, mtime: stat.mtime, xattrs }
}

fn entry_of(path: &EntryPath, kind: EntryKind, stat: &Stat, owner: crate::domain::Owner, xattrs: &Xattrs) -> Entry {
    Entry {
        path: path.clone(),
        size: if matches!(kind, EntryKind::File) { stat.size } else { 0 },
        kind,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        owner,
        mtime: stat.mtime,
        ctime: stat.ctime,
        inode: stat.inode,
        sha256: None,
        xattrs: xattrs.digest(),
        sparse: false,
        changed: false,
        placed: Placed { volume: 0, offset: 0, body: 0, stored: 0 },
    }
}

/// The line of an output that is complete with this frame.
fn staged_line(file: &Staged, made: &mut Made) {
    file.entry.count_in(&mut made.totals);
    made.lines.push(MadeLine::Entry { entry: file.entry.clone(), of_large: true });
}

/// Its content stays where it lies.
fn proven(entry: Box<Entry>, of: Of, made: &mut Made) {
    entry.count_in(&mut made.totals);
    made.lines.push(match of {
        Of::Earlier => MadeLine::Proven(entry),
        Of::Adopted => MadeLine::Adopted(entry),
    });
}
