//! The lines of a manifest, as types: what is stored, apart from what is computed with.
//!
//! A run without changes does little else than read and write these lines, so both are by hand: writing always,
//! reading where a line is exactly as this program writes it. Every other line is serde's to judge. The danger is that
//! the two ways of reading differ; tests compare them on lines that are whole and on lines that are not.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::super::codec::Codec;
use super::entry::{Entry, EntryKind, Placed};
use crate::domain::{Digest, EntryPath, FileTime, FrameSum, JobName, Owner, RunId, SkipCause, SnapshotName};

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format's version.
    pub manifest: u32,
    /// The job.
    pub job: JobName,
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// The run that wrote it.
    pub run: RunId,
    /// The program and its version.
    pub tool: String,
    /// When that run began; not known of a manifest that was made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<jiff::Timestamp>,
}

/// An entry of the source that is not in the snapshot, or whose loss must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkipLine {
    /// Which.
    pub path: EntryPath,
    /// What kind of loss.
    pub cause: SkipCause,
    /// What the machine said.
    pub why: String,
}

/// One frame of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameLine {
    /// Number within the volume, from 0.
    pub frame: u64,
    /// The volume's number.
    pub volume: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub stored: u64,
    /// Where its content begins in the tar stream.
    pub raw_offset: u64,
    /// Bytes of content.
    pub raw: u64,
    /// Of the stored bytes.
    pub xxh128: FrameSum,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeLine {
    /// Its number in this manifest, from 0.
    pub volume: u32,
    /// Its file name.
    pub name: String,
    /// How its frames are compressed.
    pub codec: Codec,
    /// Bytes in the file.
    pub size: u64,
    /// Bytes of the tar stream.
    pub raw_size: u64,
    /// How many frames.
    pub frames: u64,
    /// Of the whole file.
    pub sha256: Digest,
}

/// A part of the manifest: where it begins in the uncompressed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Offset of its first line in the uncompressed text; a frame of the manifest begins there.
    pub raw_offset: u64,
    /// How many lines.
    pub lines: u64,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// Entries and skips, sorted by path.
    pub entries: Section,
    /// Frames, sorted by volume and offset.
    pub frames: Section,
    /// Volumes, in order of their numbers.
    pub volumes: Section,
    /// How many lines of the first section are skips.
    pub skipped: u64,
    /// Length of all regular files in the snapshot.
    pub content_bytes: u64,
    /// The volumes' numbers as they stand in the lines, rising; empty if they are 0, 1, 2 and so on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<u32>,
}

impl Trailer {
    /// Which of the volumes, counted from 0, has this number in the lines. What no volume has, none is.
    pub(super) fn place_of(&self, number: u32) -> u32 {
        if self.numbers.is_empty() {
            return number;
        }
        self.numbers.binary_search(&number).map_or(u32::MAX, |at| at as u32)
    }
}

/// Any line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An entry.
    Entry(Box<Entry>),
    /// A skip.
    Skip(SkipLine),
}

impl Line {
    /// The path it is sorted by.
    pub fn path(&self) -> &EntryPath {
        match self {
            Self::Entry(entry) => &entry.path,
            Self::Skip(skip) => &skip.path,
        }
    }
}

/// As it stands in the file. Exactly one of `path` and `path_hex` is there: `path` if it is UTF-8.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    #[serde(borrow, default)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    path_hex: Option<Cow<'a, str>>,
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    target: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    target_hex: Option<Cow<'a, str>>,
    #[serde(default)]
    special: Option<(u32, u32)>,
    #[serde(borrow, default)]
    mode: Option<Cow<'a, str>>,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(borrow, default)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    group: Option<Cow<'a, str>>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    mtime: FileTime,
    #[serde(default)]
    ctime: FileTime,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    sha256: Option<Digest>,
    #[serde(default)]
    xattrs: Option<Digest>,
    #[serde(default)]
    sparse: bool,
    #[serde(default)]
    changed: bool,
    #[serde(default)]
    volume: u32,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    body: u64,
    #[serde(default)]
    stored: Option<u64>,
    #[serde(default)]
    skipped: Option<SkipCause>,
    #[serde(borrow, default)]
    why: Option<Cow<'a, str>>,
}

/// The path of a line of the first section, where it stands first and plainly, as this program writes it; the rest of
/// the line is not looked at, and the path need not be a good one.
pub(super) fn quick_path(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(br#"{"path":""#)?;
    let len = rest.iter().position(|b| matches!(b, b'"' | b'\\'))?;
    (rest[len] == b'"').then(|| if rest[..len] == *b"." { &[] } else { &rest[..len] })
}

/// The path of a line of the first section.
///
/// # Errors
/// In words, if it has none.
pub(super) fn parse_path(line: &[u8]) -> Result<EntryPath, String> {
    match quick_path(line) {
        Some(b"") => Ok(EntryPath::root()),
        Some(path) => EntryPath::parse(path).map_err(|e| e.to_string()),
        None => parse(line).map(|line| line.path().clone()),
    }
}

/// Parses a line of the first section.
///
/// # Errors
/// In words, if it is not one.
pub(super) fn parse(line: &[u8]) -> Result<Line, String> {
    match Plain::read(line) {
        Some(stored) => settle(stored),
        None => parse_any(line),
    }
}

/// A line that may be written in any way that JSON knows.
fn parse_any(line: &[u8]) -> Result<Line, String> {
    settle(serde_json::from_slice(line).map_err(|e| e.to_string())?)
}

/// Checks what serde cannot know.
fn settle(stored: Stored<'_>) -> Result<Line, String> {
    let bytes = either(stored.path, stored.path_hex)?.ok_or("there is no path")?;
    let path = EntryPath::parse(&bytes).map_err(|e| e.to_string())?;
    if let Some(cause) = stored.skipped {
        return Ok(Line::Skip(SkipLine { path, cause, why: stored.why.unwrap_or_default().into_owned() }));
    }
    let target = either(stored.target, stored.target_hex)?;
    let kind = match (stored.kind.as_deref(), target, stored.special) {
        (Some("file"), None, None) => EntryKind::File,
        (Some("folder"), None, None) => EntryKind::Folder,
        (Some("symlink"), Some(target), None) => EntryKind::Symlink { target: target.into_owned().into() },
        (Some("hardlink"), Some(first), None) => {
            EntryKind::HardLink { first: EntryPath::parse(&first).map_err(|e| e.to_string())? }
        }
        (Some("fifo"), None, None) => EntryKind::Fifo,
        (Some("char-device"), None, Some(special)) => EntryKind::CharDevice { special },
        (Some("block-device"), None, Some(special)) => EntryKind::BlockDevice { special },
        _ => return Err("the type is not known, or lacks what belongs to it".to_owned()),
    };
    if !stored.offset.is_multiple_of(512) || !stored.body.is_multiple_of(512) || stored.body <= stored.offset {
        return Err("the offsets are not those of a tar header".to_owned());
    }
    if stored.mtime.nsec > 999_999_999 || stored.ctime.nsec > 999_999_999 {
        return Err("a time has more than 999,999,999 nanoseconds".to_owned());
    }
    let mode = stored.mode.as_deref().and_then(|text| u32::from_str_radix(text, 8).ok());
    let is_file = matches!(kind, EntryKind::File);
    if is_file != stored.sha256.is_some() {
        return Err("a file has a sha256, and nothing else has".to_owned());
    }
    Ok(Line::Entry(Box::new(Entry {
        path,
        mode: mode.filter(|mode| *mode <= 0o7777).ok_or("the mode is not four octal digits")?,
        uid: stored.uid,
        gid: stored.gid,
        owner: Owner {
            user: stored.user.map(|name| name.into_owned().into()),
            group: stored.group.map(|name| name.into_owned().into()),
        },
        size: stored.size,
        mtime: stored.mtime,
        ctime: stored.ctime,
        inode: stored.inode,
        sha256: stored.sha256,
        xattrs: stored.xattrs,
        sparse: stored.sparse,
        changed: stored.changed,
        placed: Placed {
            volume: stored.volume,
            offset: stored.offset,
            body: stored.body,
            stored: stored.stored.unwrap_or(if is_file { stored.size } else { 0 }),
        },
        kind,
    })))
}

/// A line exactly as [`put_entry`] writes it, and nothing else: the same keys in the same order, no escapes, no time
/// before 1970, no device. It gives what serde would give for the same bytes, or nothing.
struct Plain<'a> {
    rest: &'a str,
}

impl<'a> Plain<'a> {
    fn read(line: &'a [u8]) -> Option<Stored<'a>> {
        let mut line = Self { rest: std::str::from_utf8(line).ok()? };
        line.skip("{\"path\":\"")?;
        let mut stored = Stored { path: Some(Cow::Borrowed(line.text()?)), ..Stored::default() };
        line.skip(",\"type\":\"")?;
        let kind = line.text()?;
        stored.kind = Some(Cow::Borrowed(kind));
        if matches!(kind, "symlink" | "hardlink") {
            line.skip(",\"target\":\"")?;
            stored.target = Some(Cow::Borrowed(line.text()?));
        }
        line.skip(",\"mode\":\"")?;
        stored.mode = Some(Cow::Borrowed(line.text()?));
        stored.uid = line.number_of(",\"uid\":")?.try_into().ok()?;
        stored.gid = line.number_of(",\"gid\":")?.try_into().ok()?;
        stored.user = line.perhaps(",\"user\":\"", Self::text)?.map(Cow::Borrowed);
        stored.group = line.perhaps(",\"group\":\"", Self::text)?.map(Cow::Borrowed);
        if kind == "file" {
            stored.size = line.number_of(",\"size\":")?;
        }
        stored.mtime = line.time_of(",\"mtime\":[")?;
        stored.ctime = line.time_of(",\"ctime\":[")?;
        stored.inode = line.number_of(",\"inode\":")?;
        stored.sha256 = line.perhaps(",\"sha256\":\"", Self::digest)?;
        stored.xattrs = line.perhaps(",\"xattrs\":\"", Self::digest)?;
        stored.sparse = line.skip(",\"sparse\":true").is_some();
        stored.stored = line.perhaps(",\"stored\":", Self::number)?;
        stored.changed = line.skip(",\"changed\":true").is_some();
        stored.volume = line.number_of(",\"volume\":")?.try_into().ok()?;
        stored.offset = line.number_of(",\"offset\":")?;
        stored.body = line.number_of(",\"body\":")?;
        (line.rest == "}").then_some(stored)
    }

    #[inline]
    fn skip(&mut self, what: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(what)?;
        Some(())
    }

    /// Up to the quote; none if anything in it would have to be escaped.
    fn text(&mut self) -> Option<&'a str> {
        let ends = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
        let (text, rest) = self.rest.split_at(self.rest.as_bytes().iter().position(ends)?);
        self.rest = rest.strip_prefix('"')?;
        Some(text)
    }

    /// As JSON writes whole numbers; at most 19 digits, so it fits.
    fn number(&mut self) -> Option<u64> {
        let (mut value, mut len) = (0_u64, 0);
        for byte in self.rest.bytes() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            len += 1;
        }
        if !(1..=19).contains(&len) || (len > 1 && self.rest.starts_with('0')) {
            return None;
        }
        self.rest = &self.rest[len..];
        Some(value)
    }

    /// What a line may lack. Where the key is, the value has to be good.
    #[inline]
    fn perhaps<T>(&mut self, key: &str, read: impl Fn(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.skip(key) {
            Some(()) => read(self).map(Some),
            None => Some(None),
        }
    }

    #[inline]
    fn number_of(&mut self, key: &str) -> Option<u64> {
        self.skip(key)?;
        self.number()
    }

    #[inline]
    fn time_of(&mut self, key: &str) -> Option<FileTime> {
        self.skip(key)?;
        let sec = self.number()?.try_into().ok()?;
        let nsec = self.number_of(",")?.try_into().ok()?;
        self.skip("]")?;
        Some(FileTime { sec, nsec })
    }

    fn digest(&mut self) -> Option<Digest> {
        let (digits, rest) = (self.rest.get(..64)?, self.rest.get(64..)?);
        self.rest = rest.strip_prefix('"')?;
        digits.parse().ok()
    }
}

fn either<'a>(text: Option<Cow<'a, str>>, hex: Option<Cow<'a, str>>) -> Result<Option<Cow<'a, [u8]>>, String> {
    match (text, hex) {
        (None, None) => Ok(None),
        (Some(Cow::Borrowed(text)), None) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
        (Some(Cow::Owned(text)), None) => Ok(Some(Cow::Owned(text.into_bytes()))),
        (None, Some(hex)) => {
            let bytes = from_hex(hex.as_bytes()).ok_or("not hexadecimal digits")?;
            if std::str::from_utf8(&bytes).is_ok() {
                return Err("text that is UTF-8 is stored as it is".to_owned());
            }
            Ok(Some(Cow::Owned(bytes)))
        }
        (Some(_), Some(_)) => Err("one name is given in two ways".to_owned()),
    }
}

fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

/// Appends the line of an entry, with its line feed.
pub(super) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.push(b'{');
    put_bytes(out, "path", if entry.path.is_root() { b"." } else { entry.path.as_bytes() });
    put_raw(out, ",\"type\":\"", entry.kind.word());
    out.push(b'"');
    match &entry.kind {
        EntryKind::Symlink { target } => {
            out.push(b',');
            put_bytes(out, "target", target);
        }
        EntryKind::HardLink { first } => {
            out.push(b',');
            put_bytes(out, "target", first.as_bytes());
        }
        EntryKind::CharDevice { special: (major, minor) } | EntryKind::BlockDevice { special: (major, minor) } => {
            put_number(out, ",\"special\":[", u64::from(*major));
            put_number(out, ",", u64::from(*minor));
            out.push(b']');
        }
        EntryKind::File | EntryKind::Folder | EntryKind::Fifo => {}
    }
    out.extend_from_slice(b",\"mode\":\"");
    for shift in [9, 6, 3, 0] {
        out.push(b'0' + (entry.mode >> shift & 7) as u8);
    }
    put_number(out, "\",\"uid\":", u64::from(entry.uid));
    put_number(out, ",\"gid\":", u64::from(entry.gid));
    for (key, name) in [("user", &entry.owner.user), ("group", &entry.owner.group)] {
        if let Some(name) = name {
            out.push(b',');
            put_bytes(out, key, name.as_bytes());
        }
    }
    if matches!(entry.kind, EntryKind::File) {
        put_number(out, ",\"size\":", entry.size);
    }
    put_time(out, ",\"mtime\":[", entry.mtime);
    put_time(out, ",\"ctime\":[", entry.ctime);
    put_number(out, ",\"inode\":", entry.inode);
    for (key, digest) in [(",\"sha256\":\"", entry.sha256), (",\"xattrs\":\"", entry.xattrs)] {
        if let Some(digest) = digest {
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(&digest.hex());
            out.push(b'"');
        }
    }
    if entry.sparse {
        out.extend_from_slice(b",\"sparse\":true");
        put_number(out, ",\"stored\":", entry.placed.stored);
    } else if matches!(entry.kind, EntryKind::File) && entry.placed.stored != entry.size {
        put_number(out, ",\"stored\":", entry.placed.stored);
    }
    if entry.changed {
        out.extend_from_slice(b",\"changed\":true");
    }
    put_number(out, ",\"volume\":", u64::from(entry.placed.volume));
    put_number(out, ",\"offset\":", entry.placed.offset);
    put_number(out, ",\"body\":", entry.placed.body);
    out.extend_from_slice(b"}\n");
}

/// Appends the line of a skip, with its line feed.
pub(super) fn put_skip(out: &mut Vec<u8>, skip: &SkipLine) {
    out.push(b'{');
    put_bytes(out, "path", if skip.path.is_root() { b"." } else { skip.path.as_bytes() });
    out.extend_from_slice(b",\"skipped\":");
    put_json(out, &skip.cause);
    out.push(b',');
    put_bytes(out, "why", skip.why.as_bytes());
    out.extend_from_slice(b"}\n");
}

/// Appends any other line, with its line feed.
pub(super) fn put_json_line<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    put_json(out, value);
    out.push(b'\n');
}

fn put_json<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("plain values become JSON in memory");
}

fn put_raw(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

#[inline]
fn put_number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    put_digits(out, value);
}

/// Two digits at a time: dividing is what writing numbers costs, and a line has eleven.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

fn put_digits(out: &mut Vec<u8>, mut value: u64) {
    const MOST: usize = 20;
    let mut digits = [0_u8; 2 * MOST];
    let mut at = MOST;
    while value >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value > 0 || at == MOST {
        at -= 1;
        digits[at] = b'0' + value as u8;
    }
    // always twenty, because a copy whose length is known costs nothing, and one whose length is not is a call
    let end = out.len() + MOST - at;
    out.extend_from_slice(&digits[at..][..MOST]);
    out.truncate(end);
}

fn put_time(out: &mut Vec<u8>, key: &str, time: FileTime) {
    out.extend_from_slice(key.as_bytes());
    if time.sec < 0 {
        out.push(b'-');
    }
    put_number(out, "", time.sec.unsigned_abs());
    put_number(out, ",", u64::from(time.nsec));
    out.push(b']');
}

/// `"key":"text"`, or `"key_hex":"digits"` where the bytes are not UTF-8.
fn put_bytes(out: &mut Vec<u8>, key: &str, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            out.extend_from_slice(b"\":\"");
            let escaped = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
            // looks at every byte, so that it looks at many at once
            if !bytes.iter().fold(false, |any, b| any | escaped(b)) {
                out.extend_from_slice(bytes);
                out.push(b'"');
            } else {
                out.pop();
                put_json(out, &text);
            }
        }
        Err(_) => {
            out.extend_from_slice(b"_hex\":\"");
            for byte in bytes {
                for nibble in [byte >> 4, byte & 15] {
                    out.push(b"0123456789abcdef"[usize::from(nibble)]);
                }
            }
            out.push(b'"');
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::{Entry, EntryKind, Header, Line, Placed, Plain, SkipLine, parse, parse_any, put_entry, put_skip};
    use crate::domain::{Digest, EntryPath, FileTime, Owner, RunId, SkipCause};

    /// Of a manifest that a test makes.
    pub fn header() -> Header {
        Header {
            manifest: 1,
            job: "upload".parse().expect("a job"),
            snapshot: "upload-20261121T020000Z".parse().expect("a snapshot"),
            run: RunId::from_random([1; 16]),
            tool: "backup 0.1.0".to_owned(),
            started: None,
        }
    }

    fn any_path() -> impl Strategy<Value = EntryPath> {
        let name = prop_oneof![
            prop::collection::vec(any::<u8>().prop_filter("no separator", |b| *b != 0 && *b != b'/'), 1..20),
            "[a-z\"\\\\\u{1}\u{e9}\u{1f600} ]{1,12}".prop_map(String::into_bytes),
        ]
        .prop_filter("a name", |n| n != b"." && n != b"..");
        prop::collection::vec(name, 1..4).prop_map(|names| names.iter().fold(EntryPath::root(), |at, n| at.join(n)))
    }

    fn any_kind() -> impl Strategy<Value = EntryKind> {
        prop_oneof![
            Just(EntryKind::File),
            Just(EntryKind::Folder),
            Just(EntryKind::Fifo),
            prop::collection::vec(any::<u8>(), 0..30).prop_map(|t| EntryKind::Symlink { target: t.into() }),
            any_path().prop_map(|first| EntryKind::HardLink { first }),
            any::<(u32, u32)>().prop_map(|special| EntryKind::CharDevice { special }),
            any::<(u32, u32)>().prop_map(|special| EntryKind::BlockDevice { special }),
        ]
    }

    prop_compose! {
        pub fn any_entry()(
            path in any_path(), kind in any_kind(), mode in 0u32..=0o7777, uid: u32, gid: u32,
            user in prop::option::of("[a-z\u{e9}\"]{1,8}"), size in 0u64..1 << 55, sec: i64, nsec in 0u32..1_000_000_000, inode: u64,
            xattrs: Option<[u8; 32]>, sparse: bool, changed: bool, volume: u32, offset in 0u64..1 << 40, stored: u64,
        ) -> Entry {
            let file = kind == EntryKind::File;
            let sparse = file && sparse;
            Entry {
                path, kind, mode, uid, gid,
                owner: Owner { user: user.map(Into::into), group: None },
                size: if file { size } else { 0 },
                mtime: FileTime { sec, nsec }, ctime: FileTime { sec: 5, nsec }, inode,
                sha256: file.then(|| Digest::of(b"x")), xattrs: xattrs.map(Digest::from_bytes), sparse, changed,
                placed: Placed {
                    volume, offset: offset * 512, body: offset * 512 + 512,
                    stored: if !file { 0 } else if sparse { stored } else { size },
                },
            }
        }
    }

    proptest! {
        #[test]
        fn every_entry_survives_its_line(entry in any_entry()) {
            let mut line = Vec::new();
            put_entry(&mut line, &entry);
            prop_assert_eq!(line.pop(), Some(b'\n'));
            prop_assert!(!line.contains(&b'\n'), "one line");
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok());
            prop_assert_eq!(parse(&line), Ok(Line::Entry(Box::new(entry))));
        }

        /// Bytes that mean something in such a line, at any place of a good one.
        #[test]
        fn the_quick_way_of_reading_never_differs_from_the_thorough_one(
            entry in any_entry(), harm in prop::collection::vec(
                (any::<prop::sample::Index>(), 0..3, prop::sample::select(&b"\"\\{}[],:-+.0159eaf \n\x7f\xc3\xa9/"[..])), 0..3),
        ) {
            let mut line = Vec::new();
            put_entry(&mut line, &entry);
            line.pop();
            for (at, how, byte) in harm {
                let at = at.index(line.len());
                match how {
                    0 => line[at] = byte,
                    1 => line.insert(at, byte),
                    _ => { line.remove(at); }
                }
            }
            let (quick, thorough) = (parse(&line), parse_any(&line));
            prop_assert_eq!(quick, thorough, "{}", String::from_utf8_lossy(&line));
        }

        #[test]
        fn every_skip_survives_its_line(path in any_path(), why in "\\PC*") {
            let skip = SkipLine { path, cause: SkipCause::Unreadable, why };
            let mut line = Vec::new();
            put_skip(&mut line, &skip);
            line.pop();
            prop_assert_eq!(parse(&line), Ok(Line::Skip(skip)));
        }

        #[test]
        fn parsing_anything_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[{}\":,a-z0-9\\[\\]]{0,80}") {
            let _ = parse(&bytes);
            prop_assert!(parse(text.as_bytes()).is_err(), "no such line lacks a path: {}", text);
        }
    }

    #[test]
    fn common_lines_are_read_the_quick_way() {
        let entry = |kind: EntryKind| Entry {
            path: EntryPath::parse("a folder/caf\u{e9}.txt".as_bytes()).expect("a path"),
            sha256: (kind == EntryKind::File).then(|| Digest::of(b"x")),
            kind,
            mode: 0o4755,
            uid: 0,
            gid: u32::MAX,
            owner: Owner { user: Some("root".into()), group: None },
            size: 0,
            mtime: FileTime { sec: 1_700_000_000, nsec: 999_999_999 },
            ctime: FileTime::default(),
            inode: 1 << 60,
            xattrs: Some(Digest::of(b"y")),
            sparse: false,
            changed: true,
            placed: Placed { volume: 7, offset: 0, body: 512, stored: 0 },
        };
        let first = EntryPath::parse(b"b").expect("a path");
        for kind in [
            EntryKind::File,
            EntryKind::Folder,
            EntryKind::Fifo,
            EntryKind::Symlink { target: (*b"../b").into() },
            EntryKind::HardLink { first },
        ] {
            let mut line = Vec::new();
            put_entry(&mut line, &entry(kind));
            line.pop();
            assert!(Plain::read(&line).is_some(), "{}", String::from_utf8_lossy(&line));
        }
    }

    #[test]
    fn lines_that_lie_are_refused() {
        let good = r#"{"path":"a","type":"file","mode":"0644","uid":0,"gid":0,"size":1,"mtime":[0,0],"ctime":[0,0],"inode":1,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","volume":0,"offset":0,"body":512}"#;
        assert!(parse(good.as_bytes()).is_ok());
        for (from, to) in [
            (r#""path":"a""#, r#""path":"../a""#),
            (r#""path":"a""#, r#""path":"/a""#),
            (r#""path":"a""#, r#""path_hex":"61""#),
            (r#""path":"a""#, r#""path":"a","path_hex":"ff""#),
            (r#""type":"file""#, r#""type":"symlink""#),
            (r#""type":"file""#, r#""type":"door""#),
            (r#""mode":"0644""#, r#""mode":"70644""#),
            (r#""offset":0"#, r#""offset":1"#),
            (r#""body":512"#, r#""body":0"#),
            (r#""mtime":[0,0]"#, r#""mtime":[0,1000000000]"#),
            (r#""inode":1"#, r#""inode":1,"extra":1"#),
            (r#""inode":1"#, r#""inode":01"#),
            (r#""inode":1"#, r#""inode":18446744073709551616"#),
            (r#""uid":0"#, r#""uid":4294967296"#),
            (r#""path":"a""#, "\"path\":\"a\tb\""),
            (r#""sha256":"ba"#, r#""sha256":"bA"#),
            (r#""sha256":"ba"#, r#""sha256":"a"#),
            (r#""volume":0"#, r#""xattrs":"ba","volume":0"#),
            (r#""body":512}"#, r#""body":512}}"#),
            (r#""body":512}"#, r#""body":512"#),
        ] {
            assert!(good.contains(from));
            assert!(parse(good.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }
}
