//! Extended headers: the records of pax, and what of them we use.
//!
//! The danger is a header that two readers take differently: one with a NUL in a name, with a length that lies, with a
//! size for all entries. These are errors here. Of two equal keywords the later counts, as POSIX has it, but not for
//! the size. Records that we do not know are passed over, as POSIX has it too.

use super::Fault;
use crate::domain::{Extent, FileTime, Xattr};

/// A name of a user or group longer than this is none. The global header's names are copied for every entry.
const OWNER_BYTES_MAX: usize = 1024;

/// What a header says of one field: nothing, that the field counts for nothing (an empty value), or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Said<T> {
    #[default]
    Nothing,
    Deleted,
    This(T),
}

impl<T: Clone> Said<T> {
    /// What counts, of one entry's header and the global one.
    pub(super) fn or(self, global: &Self) -> Self {
        if matches!(self, Self::Nothing) { global.clone() } else { self }
    }
}

/// What may be said of all entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    pub(super) uid: Said<u64>,
    pub(super) gid: Said<u64>,
    pub(super) user: Said<Box<[u8]>>,
    pub(super) group: Said<Box<[u8]>>,
    pub(super) mtime: Said<FileTime>,
}

/// The records of GNU sparse files.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) name: Option<Box<[u8]>>,
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) real_size: Option<u64>,
    pub(super) runs_told: Option<u64>,
    /// Formats 0.0 and 0.1.
    pub(super) runs: Option<Vec<Extent>>,
    /// The offset whose length has not come yet (format 0.0).
    open: Option<u64>,
}

impl SparseRecords {
    /// Whether the map stands in the records.
    pub(super) fn has_map(&self) -> bool {
        self.runs.is_some() || self.runs_told.is_some()
    }
}

/// What an entry's own header says.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) shared: Shared,
    pub(super) path: Option<Box<[u8]>>,
    pub(super) link: Option<Box<[u8]>>,
    pub(super) size: Option<u64>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) sparse: SparseRecords,
    /// Later ones count.
    pub(super) xattrs: Vec<Xattr>,
    /// Those in libarchive's own keywords count less.
    pub(super) lesser_xattrs: Vec<Xattr>,
    pub(super) acls: bool,
}

impl Records {
    /// Reads the records of an entry's header.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let mut all = Self::default();
        each(bytes, |key, value| all.take(key, value))?;
        if all.sparse.open.is_some() {
            return Err(Fault::Map { why: "a run has no length" });
        }
        Ok(all)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        if self.shared.take(key, value)? {
            return Ok(());
        }
        match key {
            b"path" => self.path = Some(name(value, "path")?),
            b"linkpath" => self.link = Some(name(value, "linkpath")?),
            b"size" => once(&mut self.size, decimal(value, "size")?, "size")?,
            b"SCHILY.devmajor" => self.major = Some(device(value, "SCHILY.devmajor")?),
            b"SCHILY.devminor" => self.minor = Some(device(value, "SCHILY.devminor")?),
            // sparse files of star and of Solaris: read as plain ones they would be shorter, and not tell it
            b"SCHILY.realsize" => return Err(Fault::Map { why: "star's format is not read" }),
            b"SUN.holesdata" => return Err(Fault::Map { why: "Solaris' format is not read" }),
            b"SCHILY.acl.access" | b"SCHILY.acl.default" | b"SCHILY.acl.ace" => self.acls = true,
            _ => {
                if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push(xattr(gnu_keyword(attribute), value.to_vec())?);
                } else if let Some(attribute) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let bad = Fault::Value { key: "LIBARCHIVE.xattr" };
                    let decoded = base64(value).ok_or(bad)?;
                    self.lesser_xattrs.push(xattr(percent(attribute).ok_or(bad)?, decoded)?);
                } else if let Some(word) = key.strip_prefix(b"GNU.sparse.") {
                    self.take_sparse(word, value)?;
                }
            }
        }
        Ok(())
    }

    fn take_sparse(&mut self, word: &[u8], value: &[u8]) -> Result<(), Fault> {
        let sparse = &mut self.sparse;
        match word {
            b"name" => sparse.name = Some(name(value, "GNU.sparse.name")?),
            b"major" => once(&mut sparse.major, decimal(value, "GNU.sparse.major")?, "GNU.sparse.major")?,
            b"minor" => once(&mut sparse.minor, decimal(value, "GNU.sparse.minor")?, "GNU.sparse.minor")?,
            b"size" | b"realsize" => {
                once(&mut sparse.real_size, decimal(value, "GNU.sparse.realsize")?, "GNU.sparse.realsize")?;
            }
            b"numblocks" => {
                once(&mut sparse.runs_told, decimal(value, "GNU.sparse.numblocks")?, "GNU.sparse.numblocks")?;
            }
            b"offset" => {
                let offset = decimal(value, "GNU.sparse.offset")?;
                match sparse.open.replace(offset) {
                    None => {}
                    Some(_) => return Err(Fault::Map { why: "a run has no length" }),
                }
            }
            b"numbytes" => {
                let len = decimal(value, "GNU.sparse.numbytes")?;
                let offset = sparse.open.take().ok_or(Fault::Map { why: "a run has no offset" })?;
                sparse.runs.get_or_insert_default().push(Extent { offset, len });
            }
            b"map" => {
                if sparse.runs.is_some() {
                    return Err(Fault::SaidTwice { key: "GNU.sparse.map" });
                }
                let mut runs = Vec::new();
                let mut numbers = value.split(|byte| *byte == b',');
                while let Some(offset) = numbers.next().filter(|_| !value.is_empty()) {
                    let len = numbers.next().ok_or(Fault::Map { why: "a run has no length" })?;
                    let offset = decimal(offset, "GNU.sparse.map")?;
                    runs.push(Extent { offset, len: decimal(len, "GNU.sparse.map")? });
                }
                sparse.runs = Some(runs);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Shared {
    /// Adds the records of a global header to what earlier ones said.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        each(bytes, |key, value| {
            if self.take(key, value)? {
                return Ok(());
            }
            for told in ["path", "linkpath", "size"] {
                if key == told.as_bytes() {
                    return Err(Fault::Global { key: told });
                }
            }
            for told in ["GNU.sparse.", "SCHILY.xattr.", "LIBARCHIVE.xattr."] {
                if key.starts_with(told.as_bytes()) {
                    return Err(Fault::Global { key: told });
                }
            }
            Ok(())
        })
    }

    /// Whether it was one of ours.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
        match key {
            b"uid" => self.uid = unless_empty(value, |value| decimal(value, "uid"))?,
            b"gid" => self.gid = unless_empty(value, |value| decimal(value, "gid"))?,
            b"uname" => self.user = unless_empty(value, owner)?,
            b"gname" => self.group = unless_empty(value, owner)?,
            b"mtime" => self.mtime = unless_empty(value, |value| time(value).ok_or(Fault::Value { key: "mtime" }))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Calls `take` with each record. A record is `LENGTH KEY=VALUE\n`; its length counts all of it.
fn each(mut bytes: &[u8], mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
    while !bytes.is_empty() {
        // twenty digits say any length there is
        let space = bytes.iter().take(21).position(|byte| *byte == b' ').ok_or(Fault::Record)?;
        let len = decimal(&bytes[..space], "length").map_err(|_| Fault::Record)?;
        let len = usize::try_from(len).ok().filter(|len| *len <= bytes.len()).ok_or(Fault::Record)?;
        let record = bytes.get(space + 1..len).ok_or(Fault::Record)?;
        let (end, record) = record.split_last().ok_or(Fault::Record)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(Fault::Record)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if *end != b'\n' || key.is_empty() || key.contains(&0) {
            return Err(Fault::Record);
        }
        take(key, value)?;
        bytes = &bytes[len..];
    }
    Ok(())
}

fn once(slot: &mut Option<u64>, value: u64, key: &'static str) -> Result<(), Fault> {
    if slot.replace(value).is_some_and(|before| before != value) {
        return Err(Fault::SaidTwice { key });
    }
    Ok(())
}

fn unless_empty<T>(value: &[u8], read: impl FnOnce(&[u8]) -> Result<T, Fault>) -> Result<Said<T>, Fault> {
    if value.is_empty() { Ok(Said::Deleted) } else { read(value).map(Said::This) }
}

/// Digits only, and no more than a file's length can be.
pub(super) fn decimal(digits: &[u8], key: &'static str) -> Result<u64, Fault> {
    let bad = Fault::Value { key };
    if digits.is_empty() {
        return Err(bad);
    }
    let value = digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    });
    value.filter(|value| i64::try_from(*value).is_ok()).ok_or(bad)
}

fn device(value: &[u8], key: &'static str) -> Result<u32, Fault> {
    u32::try_from(decimal(value, key)?).map_err(|_| Fault::Value { key })
}

fn name(value: &[u8], key: &'static str) -> Result<Box<[u8]>, Fault> {
    if value.contains(&0) {
        return Err(Fault::NulInName);
    }
    if value.is_empty() {
        return Err(Fault::Value { key });
    }
    Ok(value.into())
}

fn owner(value: &[u8]) -> Result<Box<[u8]>, Fault> {
    if value.contains(&0) {
        return Err(Fault::NulInName);
    }
    if value.len() > OWNER_BYTES_MAX {
        return Err(Fault::OwnerTooLong { max: OWNER_BYTES_MAX });
    }
    Ok(value.into())
}

/// `SECONDS[.FRACTION]`, with a sign. Before 1970 the fraction counts away from zero; digits beyond the nanosecond
/// are dropped.
fn time(text: &[u8]) -> Option<FileTime> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (seconds, fraction) = (&digits[..dot], digits.get(dot + 1..).unwrap_or_default());
    if seconds.is_empty() && fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = if seconds.is_empty() { 0 } else { i128::from(wide(seconds)?) };
    let nanos = (0..9).fold(0, |nanos, at| nanos * 10 + i128::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
    let all = seconds * 1_000_000_000 + nanos;
    let all = if negative { -all } else { all };
    let sec = i64::try_from(all.div_euclid(1_000_000_000)).ok()?;
    Some(FileTime { sec, nsec: u32::try_from(all.rem_euclid(1_000_000_000)).ok()? })
}

/// As [`decimal`], over all 64 bits: the oldest time there is has no positive counterpart.
fn wide(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn xattr(name: Vec<u8>, value: Vec<u8>) -> Result<Xattr, Fault> {
    if name.is_empty() {
        return Err(Fault::Record);
    }
    if name.contains(&0) {
        return Err(Fault::NulInName);
    }
    Ok(Xattr { name: name.into(), value: value.into() })
}

/// GNU and we write `%` and `=` of a keyword as `%25` and `%3D`, and nothing else so.
fn gnu_keyword(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(b"%25") {
            out.push(b'%');
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix(b"%3D") {
            out.push(b'=');
            rest = behind;
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    out
}

/// `%XX` for any byte, as libarchive writes names.
fn percent(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => u8::try_from(digit(bytes.next()?)? * 16 + digit(bytes.next()?)?).ok()?,
            other => other,
        });
    }
    Some(out)
}

/// Base 64, with or without the padding; None if it is not.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for at in 0..4 {
            let value = match group.get(at).copied() {
                None => 0,
                Some(byte @ b'A'..=b'Z') => byte - b'A',
                Some(byte @ b'a'..=b'z') => byte - b'a' + 26,
                Some(byte @ b'0'..=b'9') => byte - b'0' + 52,
                Some(b'+') => 62,
                Some(b'/') => 63,
                Some(_) => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        match group.len() {
            1 => return None,
            len => out.extend_from_slice(&bits.to_be_bytes()[1..len]),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{FileTime, base64, gnu_keyword, percent, time};

    #[test]
    fn times_before_1970_count_away_from_zero() {
        for (text, sec, nsec) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("-0.5", -1, 500_000_000),
            ("-1.000000001", -2, 999_999_999),
            ("1.1234567899", 1, 123_456_789),
            (".5", 0, 500_000_000),
            ("7.", 7, 0),
            ("-9223372036854775808", i64::MIN, 0),
            ("9223372036854775807.999999999", i64::MAX, 999_999_999),
        ] {
            assert_eq!(time(text.as_bytes()), Some(FileTime { sec, nsec }), "{text}");
        }
        for text in ["", ".", "-", "-.", "1e9", "1.-5", "--1", "+1", " 1", "9223372036854775808", "1.5 "] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn keywords_and_values_are_decoded_as_their_programs_write_them() {
        assert_eq!(gnu_keyword(b"user.a%3Db%25c%41%"), b"user.a=b%c%41%");
        assert_eq!(percent(b"user.%41%zz"), None);
        assert_eq!(percent(b"user.%41%2"), None);
        assert_eq!(percent(b"user.%41%2f").as_deref(), Some(&b"user.A/"[..]));
        for (text, value) in
            [("", &b""[..]), ("aGk", b"hi"), ("aGk=", b"hi"), ("aA", b"h"), ("aA==", b"h"), ("aGV5", b"hey")]
        {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(value), "{text}");
        }
        assert_eq!(base64(b"a"), None);
        assert_eq!(base64(b"a-b+"), None);
    }
}
