//! Reading tar streams, ours and others', as if an enemy wrote them.
//!
//! [`TarReader`] pulls members out of any `Read`: v7, ustar, pax, GNU (long names, sparse files in four formats), star,
//! and what SunOS, AIX and BSD made of them. It keeps one block and the extended headers of one member, whatever
//! the stream says of itself.
//!
//! The danger here is a stream that two programs read differently: one lists what the other hides. So a pax size counts
//! for everything, and where programs are known to differ (a body behind a link, two extended headers, half a map)
//! the stream is refused at that place, with a [`Fault`] that says what it is. What GNU tar and libarchive
//! agree on is read as they read it.
//!
//! Names are handed out raw: `..`, a leading slash and control characters are the caller's to refuse. Nothing is written,
//! no names of users are looked up, and POSIX ACLs in star's text form are told ([`Member::acls_left_out`]), not converted.
//! A stream of several volumes is not joined, and an archive behind the end of another is told, not read.

mod fault;
mod field;
mod pax;
mod sparse;

use std::io::{self, ErrorKind, Read};

pub use fault::{Fault, TarError};
use field::{Block, Dialect, checksum_is_right, number, text};
use pax::{Records, Said, Shared};
use sparse::{Ends, MapText, Runs};

use super::{BLOCK, padding};
use crate::domain::{Extent, FileTime, Xattrs};

/// Where the pairs of an old GNU sparse file lie in its header, whether more follow, and its real size.
const OLD_SPARSE: (std::ops::Range<usize>, usize, std::ops::Range<usize>) = (386..482, 482, 483..495);
/// The pairs in an extension block, and whether another follows.
const OLD_SPARSE_MORE: (std::ops::Range<usize>, usize) = (0..504, 504);

/// What a reader keeps at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TarLimits {
    /// Bytes of extended headers (pax, long names) of one entry. Also of each global header.
    pub metadata_bytes_max: u64,
    /// Bytes of the map of one sparse file, as it lies in the stream.
    pub map_bytes_max: u64,
}

impl Default for TarLimits {
    /// 1 MiB of metadata; 4 MiB of map, which is more than a hundred thousand runs.
    fn default() -> Self {
        Self { metadata_bytes_max: 1 << 20, map_bytes_max: 4 << 20 }
    }
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A file; its bytes follow.
    File,
    /// A folder.
    Folder,
    /// A symlink.
    Symlink {
        /// Where it points, any bytes.
        target: Box<[u8]>,
    },
    /// A further name of a member that came before.
    HardLink {
        /// The name that came before, raw.
        target: Box<[u8]>,
    },
    /// A FIFO.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major, minor.
        special: (u32, u32),
    },
    /// A block device.
    BlockDevice {
        /// Major, minor.
        special: (u32, u32),
    },
}

/// One member, as its headers say. Nothing in it is to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name exactly as in the stream: may be empty, absolute, or climb; a folder's often ends in a slash.
    pub path: Box<[u8]>,
    /// What it is.
    pub kind: MemberKind,
    /// 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Owner's name; empty if it is not told.
    pub user: Box<[u8]>,
    /// Group's name; empty if it is not told.
    pub group: Box<[u8]>,
    /// Modification time.
    pub mtime: FileTime,
    /// A file's real length in bytes, holes included; 0 for anything else.
    pub size: u64,
    /// How many bytes [`TarReader::read`] gives: those of a file, without its holes and its map.
    pub stored: u64,
    /// Of a sparse file: where its stored bytes belong. In order, apart, none empty, `stored` bytes together,
    /// within `size`.
    pub extents: Option<Vec<Extent>>,
    /// Of a sparse file of format 1.0: the map at the head of its body, as it lies in the stream; whole blocks.
    pub map: Box<[u8]>,
    /// Extended attributes: `SCHILY.xattr.*`, and `LIBARCHIVE.xattr.*` that is not among those.
    pub xattrs: Xattrs,
    /// It had ACLs in star's text form, which are not among `xattrs`.
    pub acls_left_out: bool,
    /// The byte of the raw stream at which its first header block begins, extended headers included.
    pub offset: u64,
    /// The byte of the raw stream at which its body begins: the map of a sparse file of format 1.0, or its bytes.
    pub body: u64,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What stood there.
    pub marker: EndMarker,
    /// The block of the raw stream behind the marker, in bytes, that is not zeros: another archive, or rubbish.
    pub data_after: Option<u64>,
}

/// What stood at the end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndMarker {
    /// Two blocks of zeros, as it should be.
    TwoBlocks,
    /// One.
    OneBlock,
    /// None: the input ended between two members. It may have been cut.
    None,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Reading,
    Ended(Ended),
    Failed,
}

/// Pulls members out of a tar stream. Making one is cheap, so that one may be made for each frame.
#[derive(Debug)]
pub struct TarReader<R> {
    input: R,
    limits: TarLimits,
    state: State,
    /// Bytes taken from the input.
    offset: u64,
    /// The header being read; what is wrong is told of it.
    at: u64,
    /// Bytes of the body that the caller has not read.
    left: u64,
    /// Bytes behind those that belong to the member as well.
    behind: u64,
    shared: Shared,
    block: Block,
    metadata: Vec<u8>,
}

/// Extended headers that wait for their member.
#[derive(Default)]
struct Waiting {
    /// Where the first of them begins.
    start: Option<u64>,
    bytes: u64,
    records: Option<Box<Records>>,
    name: Option<Box<[u8]>>,
    link: Option<Box<[u8]>>,
}

impl<R: Read> TarReader<R> {
    /// Reads from the input's present place, which counts as byte 0. Blocks are asked for one by one: an input that
    /// is slow to ask belongs in a `BufReader`.
    pub fn new(input: R, limits: TarLimits) -> Self {
        Self {
            input,
            limits,
            state: State::Reading,
            offset: 0,
            at: 0,
            left: 0,
            behind: 0,
            shared: Shared::default(),
            block: [0; 512],
            metadata: Vec::new(),
        }
    }

    /// The next member; none at the end (see [`Self::ended`]). What is left of the former one's body is passed over.
    ///
    /// # Errors
    /// [`TarError`]: the input failed, or what it gave is not read. The reader does not go on after an error.
    pub fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        match self.state {
            State::Reading => {}
            State::Ended(_) => return Ok(None),
            State::Failed => return Err(self.fault(Fault::AfterError)),
        }
        let next = self.pass_rest().and_then(|()| self.advance());
        if next.is_err() {
            self.state = State::Failed;
        }
        next
    }

    /// Bytes of the present member's body, as they are stored: 0 when there are no more, or `into` is empty.
    ///
    /// # Errors
    /// [`TarError`]: the input failed, or ended within the body.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, TarError> {
        let wanted = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        if matches!(self.state, State::Failed) {
            return Err(self.fault(Fault::AfterError));
        }
        let got = match self.some(&mut into[..wanted]) {
            Ok(0) => Err(self.fault(Fault::Truncated)),
            other => other,
        };
        match &got {
            Ok(len) => self.left -= *len as u64,
            Err(_) => self.state = State::Failed,
        }
        got
    }

    /// How many bytes of the raw stream were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How the stream ended; none before [`Self::next_member`] gave none.
    pub fn ended(&self) -> Option<Ended> {
        if let State::Ended(ended) = self.state { Some(ended) } else { None }
    }

    fn fault(&self, fault: Fault) -> TarError {
        TarError::Damaged { at: self.at, fault }
    }

    /// One read that is not interrupted.
    fn some(&mut self, into: &mut [u8]) -> Result<usize, TarError> {
        loop {
            match self.input.read(into) {
                Ok(len) => {
                    self.offset += len as u64;
                    return Ok(len);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Input(error)),
            }
        }
    }

    /// Fills the block; tells how many bytes of it there were.
    fn fill(&mut self) -> Result<usize, TarError> {
        let mut block = [0; 512];
        let mut filled = 0;
        while filled < block.len() {
            match self.some(&mut block[filled..])? {
                0 => break,
                len => filled += len,
            }
        }
        self.block = block;
        Ok(filled)
    }

    /// Fills the block with what must be there.
    fn fill_whole(&mut self) -> Result<(), TarError> {
        if self.fill()? == self.block.len() { Ok(()) } else { Err(self.fault(Fault::Truncated)) }
    }

    fn pass_rest(&mut self) -> Result<(), TarError> {
        let len = self.left + self.behind;
        (self.left, self.behind) = (0, 0);
        self.pass(len)
    }

    fn pass(&mut self, len: u64) -> Result<(), TarError> {
        if len == 0 {
            return Ok(());
        }
        let passed = io::copy(&mut (&mut self.input).take(len), &mut io::sink()).map_err(TarError::Input)?;
        self.offset += passed;
        if passed == len { Ok(()) } else { Err(self.fault(Fault::Truncated)) }
    }

    /// Reads headers up to and with the next member's.
    fn advance(&mut self) -> Result<Option<Member>, TarError> {
        let mut waiting = Waiting::default();
        loop {
            self.at = self.offset;
            match self.fill()? {
                0 => {
                    self.nothing_waits(&waiting)?;
                    self.state = State::Ended(Ended { marker: EndMarker::None, data_after: None });
                    return Ok(None);
                }
                512 => {}
                _ => return Err(self.fault(if self.at == 0 { Fault::NotTar } else { Fault::Truncated })),
            }
            if self.block[0] == 0 && self.block == [0; 512] {
                self.nothing_waits(&waiting)?;
                let ended = self.end()?;
                self.state = State::Ended(ended);
                return Ok(None);
            }
            if !checksum_is_right(&self.block) {
                return Err(self.fault(if self.at == 0 { Fault::NotTar } else { Fault::Checksum }));
            }
            match self.block[156] {
                b'g' => {
                    self.nothing_waits(&waiting)?;
                    self.take_metadata(&mut Waiting::default())?;
                    self.shared.add(&self.metadata).map_err(|fault| self.fault(fault))?;
                }
                flag @ (b'x' | b'X') => {
                    if waiting.records.is_some() {
                        return Err(self.fault(Fault::Stacked { flag }));
                    }
                    self.take_metadata(&mut waiting)?;
                    let records = Records::read(&self.metadata).map_err(|fault| self.fault(fault))?;
                    waiting.records = Some(Box::new(records));
                }
                flag @ (b'L' | b'K') => {
                    // whether a size said before counts for this header or for the member is seen differently
                    if waiting.records.is_some() {
                        return Err(self.fault(Fault::Contradiction));
                    }
                    self.take_metadata(&mut waiting)?;
                    let end = self.metadata.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                    let name: Box<[u8]> = self.metadata[..end].into();
                    if name.contains(&0) {
                        return Err(self.fault(Fault::NulInName));
                    }
                    let slot = if flag == b'L' { &mut waiting.name } else { &mut waiting.link };
                    if slot.replace(name).is_some() {
                        return Err(self.fault(Fault::Stacked { flag }));
                    }
                }
                // a volume's label, and the rest of a file that began in another volume
                b'V' | b'M' => {
                    let size = self.body_size(waiting.records.as_deref())?;
                    self.pass(size + padding(size) as u64)?;
                    waiting = Waiting::default();
                }
                _ => return self.member(waiting).map(Some),
            }
        }
    }

    fn nothing_waits(&self, waiting: &Waiting) -> Result<(), TarError> {
        if waiting.start.is_some() { Err(self.fault(Fault::Dangling)) } else { Ok(()) }
    }

    /// Behind a first block of zeros: is there a second, and is there anything behind it?
    fn end(&mut self) -> Result<Ended, TarError> {
        let mut marker = EndMarker::OneBlock;
        loop {
            let start = self.offset;
            let filled = self.fill()?;
            if self.block != [0; 512] {
                return Ok(Ended { marker, data_after: Some(start) });
            }
            if filled < self.block.len() {
                return Ok(Ended { marker, data_after: None });
            }
            marker = EndMarker::TwoBlocks;
        }
    }

    /// Reads the body of an extended header. Memory grows with what is there, not with what is said.
    fn take_metadata(&mut self, waiting: &mut Waiting) -> Result<(), TarError> {
        let len = self.body_size(None)?;
        waiting.start.get_or_insert(self.at);
        waiting.bytes = waiting.bytes.saturating_add(len);
        let max = self.limits.metadata_bytes_max;
        if waiting.bytes > max {
            return Err(self.fault(Fault::MetadataTooLong { max }));
        }
        self.metadata.clear();
        let got = (&mut self.input).take(len).read_to_end(&mut self.metadata).map_err(TarError::Input)? as u64;
        self.offset += got;
        if got < len {
            return Err(self.fault(Fault::Truncated));
        }
        self.pass(padding(len) as u64)
    }

    /// The length of the body behind the present block: a pax record counts and the block does not, if there are both.
    fn body_size(&self, records: Option<&Records>) -> Result<u64, TarError> {
        match records.and_then(|records| records.size) {
            Some(size) => Ok(size),
            None => self.natural(124..136, "size"),
        }
    }

    fn number(&self, place: std::ops::Range<usize>, field: &'static str) -> Result<i64, TarError> {
        number(&self.block[place]).ok_or_else(|| self.fault(Fault::Number { field }))
    }

    fn natural(&self, place: std::ops::Range<usize>, field: &'static str) -> Result<u64, TarError> {
        u64::try_from(self.number(place, field)?).map_err(|_| self.fault(Fault::Number { field }))
    }

    /// An owner's number. Old programs wrote the 32 bits of -2 (nobody) as a negative number.
    fn owner(&self, place: std::ops::Range<usize>, field: &'static str) -> Result<u64, TarError> {
        let value = self.number(place, field)?;
        match (u64::try_from(value), i32::try_from(value)) {
            (Ok(value), _) => Ok(value),
            (_, Ok(value)) => Ok(u64::from(value.cast_unsigned())),
            _ => Err(self.fault(Fault::Number { field })),
        }
    }

    fn special(&self, records: &Records) -> Result<(u32, u32), TarError> {
        let part = |said: Option<u32>, place, field| match said {
            Some(part) => Ok(part),
            None => u32::try_from(self.natural(place, field)?).map_err(|_| self.fault(Fault::Number { field })),
        };
        Ok((part(records.major, 329..337, "devmajor")?, part(records.minor, 337..345, "devminor")?))
    }

    /// The member whose own header is in the block.
    fn member(&mut self, waiting: Waiting) -> Result<Member, TarError> {
        let Waiting { start, records, name, link, .. } = waiting;
        let mut records = records.map(|records| *records).unwrap_or_default();
        let contradict = |a: &Option<Box<[u8]>>, b: &Option<Box<[u8]>>| matches!((a, b), (Some(a), Some(b)) if a != b);
        if contradict(&records.path, &name) || contradict(&records.link, &link) {
            return Err(self.fault(Fault::Contradiction));
        }
        let dialect = Dialect::of(&self.block);
        let flag = self.block[156];
        let size = self.body_size(Some(&records))?;
        let said = records.sparse.name.take().or(records.path.take()).or(name);
        let path = said.unwrap_or_else(|| dialect.name(&self.block));
        let target = |block: &Block| records.link.clone().or(link).unwrap_or_else(|| text(&block[157..257]).into());
        let (kind, body) = match flag {
            b'1' => (MemberKind::HardLink { target: target(&self.block) }, Body::None),
            b'2' => (MemberKind::Symlink { target: target(&self.block) }, Body::None),
            b'3' => (MemberKind::CharDevice { special: self.special(&records)? }, Body::None),
            b'4' => (MemberKind::BlockDevice { special: self.special(&records)? }, Body::None),
            b'5' => (MemberKind::Folder, Body::None),
            b'6' => (MemberKind::Fifo, Body::None),
            // what was in the folder at the time
            b'D' => (MemberKind::Folder, Body::NotContent),
            // Solaris' ACLs and attributes, star's inodes without content, GNU's first try at long names
            b'A' | b'E' | b'I' | b'N' => return Err(self.fault(Fault::Type { flag })),
            b'S' if dialect != Dialect::Gnu => return Err(self.fault(Fault::Type { flag })),
            b'S' => (MemberKind::File, Body::Content),
            // before there were folders in tar, a slash said it; programs still honour it
            _ if path.last() == Some(&b'/') => (MemberKind::Folder, Body::NotContent),
            // `0`, NUL, `7`; and by POSIX whatever is not known
            _ => (MemberKind::File, Body::Content),
        };
        if size > 0 && body == Body::None {
            return Err(self.fault(Fault::BodyOfNoFile { flag }));
        }
        let shared = std::mem::take(&mut records.shared);
        let owner_name = |said: Said<Box<[u8]>>, all: &Said<Box<[u8]>>, field: &[u8]| match said.or(all) {
            Said::This(name) => name,
            Said::Deleted => Box::default(),
            Said::Nothing if dialect == Dialect::V7 => Box::default(),
            Said::Nothing => text(field).into(),
        };
        let mut member = Member {
            mode: u32::try_from(self.number(100..108, "mode")? & 0o7777).expect("twelve bits"),
            uid: match shared.uid.or(&self.shared.uid) {
                Said::This(uid) => uid,
                _ => self.owner(108..116, "uid")?,
            },
            gid: match shared.gid.or(&self.shared.gid) {
                Said::This(gid) => gid,
                _ => self.owner(116..124, "gid")?,
            },
            user: owner_name(shared.user, &self.shared.user, &self.block[265..297]),
            group: owner_name(shared.group, &self.shared.group, &self.block[297..329]),
            mtime: match shared.mtime.or(&self.shared.mtime) {
                Said::This(time) => time,
                // AIX overwrites its first digit, a zero, with the end of the field before
                _ if self.block[136] == 0 => FileTime { sec: self.number(137..148, "mtime")?, nsec: 0 },
                _ => FileTime { sec: self.number(136..148, "mtime")?, nsec: 0 },
            },
            size: if body == Body::Content { size } else { 0 },
            stored: if body == Body::Content { size } else { 0 },
            extents: None,
            map: Box::default(),
            xattrs: xattrs(&mut records),
            acls_left_out: records.acls,
            offset: start.unwrap_or(self.at),
            body: self.offset,
            path,
            kind,
        };
        self.sparse(&mut member, &records, body)?;
        (self.left, self.behind) = match body {
            Body::Content => (member.stored, padding(size) as u64),
            Body::NotContent => (0, size + padding(size) as u64),
            Body::None => (0, 0),
        };
        Ok(member)
    }

    /// Reads the map of a sparse file, wherever its format has it.
    fn sparse(&mut self, member: &mut Member, records: &Records, body: Body) -> Result<(), TarError> {
        let told = &records.sparse;
        let old = self.block[156] == b'S';
        let wrong = |why| Fault::Map { why };
        let (runs, real_size) = match (told.major, told.minor.unwrap_or(0)) {
            (None | Some(0), _) if !told.has_map() && !old => {
                // a length without a map says nothing to GNU tar either, but libarchive takes it for the file's
                return if told.real_size.is_some_and(|size| size != member.size) {
                    Err(self.fault(wrong("a length, and no map")))
                } else {
                    Ok(())
                };
            }
            _ if body != Body::Content => return Err(self.fault(wrong("it is not of a file"))),
            (None, _) if old && !told.has_map() => self.old_map(member)?,
            (None | Some(0), _) if !old => {
                let runs = told.runs.clone().unwrap_or_default();
                if told.runs_told.is_some_and(|count| count != runs.len() as u64) {
                    return Err(self.fault(wrong("it does not have as many runs as it says")));
                }
                (Runs::new(runs), told.real_size)
            }
            (Some(1), 0) if !old && !told.has_map() => (self.map_text(member)?, told.real_size),
            (Some(_), _) if !old && !told.has_map() => return Err(self.fault(wrong("a format that we do not know"))),
            _ => return Err(self.fault(wrong("it is there twice"))),
        };
        let real_size = real_size.ok_or_else(|| self.fault(wrong("the file's length is not told")))?;
        member.extents = Some(runs.finish(real_size, member.stored).map_err(|fault| self.fault(fault))?);
        member.size = real_size;
        Ok(())
    }

    /// Old GNU: pairs in the header, and in blocks behind it that the size does not count.
    fn old_map(&mut self, member: &mut Member) -> Result<(Runs, Option<u64>), TarError> {
        let (pairs, more, size) = OLD_SPARSE;
        let real_size = self.natural(size, "realsize")?;
        let mut runs = Runs::default();
        let mut ends = runs.add_pairs(&self.block[pairs]).map_err(|fault| self.fault(fault))?;
        let mut goes_on = self.block[more] != 0;
        let (pairs, more) = OLD_SPARSE_MORE;
        let mut bytes = 0;
        while goes_on {
            if ends == Ends::Here {
                return Err(self.fault(Fault::Map { why: "it goes on after its end" }));
            }
            bytes += BLOCK;
            let max = self.limits.map_bytes_max;
            if bytes > max {
                return Err(self.fault(Fault::MapTooLong { max }));
            }
            self.fill_whole()?;
            ends = runs.add_pairs(&self.block[pairs.clone()]).map_err(|fault| self.fault(fault))?;
            goes_on = self.block[more] != 0;
        }
        member.body = self.offset;
        Ok((runs, Some(real_size)))
    }

    /// GNU 1.0: decimal lines at the head of the body.
    fn map_text(&mut self, member: &mut Member) -> Result<Runs, TarError> {
        let mut map = MapText::default();
        loop {
            let max = self.limits.map_bytes_max;
            if map.text.len() as u64 >= max {
                return Err(self.fault(Fault::MapTooLong { max }));
            }
            member.stored =
                member.stored.checked_sub(BLOCK).ok_or_else(|| self.fault(Fault::Map { why: "it is cut" }))?;
            self.fill_whole()?;
            if map.add(&self.block).map_err(|fault| self.fault(fault))? == Ends::Here {
                break;
            }
        }
        let (runs, text) = map.finish();
        member.map = text;
        Ok(runs)
    }
}

/// What the bytes behind a header are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Content,
    /// They are passed over.
    NotContent,
    /// There may be none.
    None,
}

/// Of equal names the last counts, and star's keyword more than libarchive's.
fn xattrs(records: &mut Records) -> Xattrs {
    if records.xattrs.is_empty() && records.lesser_xattrs.is_empty() {
        return Xattrs::default();
    }
    let mut all = std::mem::take(&mut records.lesser_xattrs);
    all.append(&mut records.xattrs);
    all.reverse();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.dedup_by(|later, first| later.name == first.name);
    Xattrs::new(all)
}

#[cfg(test)]
mod tests;
