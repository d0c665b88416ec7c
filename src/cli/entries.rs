//! Entries on a screen: as `ls -l` shows them, and as JSON.
//!
//! Names come from whoever could write to the source. For people every one is shown escaped; JSON has the bytes, as
//! hexadecimal digits under another key where they are not UTF-8.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::exit::Failure;
use crate::archive::manifest::{Entry, EntryKind};
use crate::domain::{ByteCount, EntryPath, FileTime, Shown};

/// A path of a snapshot as people type it: `2019`, `./2019/`, or where it lay on the machine, below one of `sources`.
pub(super) fn typed_path(typed: &OsStr, sources: &[String]) -> Result<EntryPath, Failure> {
    let mut bytes = typed.as_bytes();
    if let [source] = sources
        && let Some(rest) = bytes.strip_prefix(source.trim_end_matches('/').as_bytes())
        && matches!(rest.first(), None | Some(b'/'))
    {
        bytes = rest;
    }
    let parts: Vec<&[u8]> = bytes.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    let plain = if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') };
    EntryPath::parse(&plain).map_err(|error| {
        Failure::usage(
            format!("`{}` is not a path of a snapshot: {error}", Shown(typed.as_bytes())),
            "give it relative to the source, such as 2019/report.pdf; `backup ls latest` shows where to begin",
        )
    })
}

/// Type and permissions as `ls -l` shows them.
pub(super) fn mode_text(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::File | EntryKind::HardLink { .. } => '-',
        EntryKind::Folder => 'd',
        EntryKind::Symlink { .. } => 'l',
        EntryKind::Fifo => 'p',
        EntryKind::CharDevice { .. } => 'c',
        EntryKind::BlockDevice { .. } => 'b',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A file's time in `zone`; seconds since 1970 where no calendar reaches.
pub(super) fn time_text(time: FileTime, zone: &TimeZone) -> String {
    match Timestamp::new(time.sec, i32::try_from(time.nsec).unwrap_or(0)) {
        Ok(at) => at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
        Err(_) => format!("@{}", time.sec),
    }
}

/// What stands in the place of the size: a device's numbers, nothing where there is no size.
pub(super) fn size_text(entry: &Entry) -> String {
    match &entry.kind {
        EntryKind::File => ByteCount(entry.size).to_string(),
        EntryKind::CharDevice { special: (major, minor) } | EntryKind::BlockDevice { special: (major, minor) } => {
            format!("{major}, {minor}")
        }
        EntryKind::Folder | EntryKind::Symlink { .. } | EntryKind::HardLink { .. } | EntryKind::Fifo => "-".to_owned(),
    }
}

/// `name/`, `name -> target`, `name link to first`; the source itself has no name and is `./`.
pub(super) fn name_text(name: &[u8], kind: &EntryKind) -> String {
    let name = Shown(if name.is_empty() { b"." } else { name });
    match kind {
        EntryKind::Folder => format!("{name}/"),
        EntryKind::Symlink { target } => format!("{name} -> {}", Shown(target)),
        EntryKind::HardLink { first } => format!("{name} link to {first}"),
        EntryKind::File | EntryKind::Fifo | EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => {
            name.to_string()
        }
    }
}

/// A line like `ls -l`'s, with `name` as it is to be shown.
pub(super) fn long_line(entry: &Entry, name: &[u8], zone: &TimeZone) -> String {
    let owner = |name: &Option<Box<str>>, id: u32| {
        name.as_deref().map_or_else(|| id.to_string(), |name| Shown(name.as_bytes()).to_string())
    };
    format!(
        "{} {:<8} {:<8} {:>9} {} {}",
        mode_text(entry),
        owner(&entry.owner.user, entry.uid),
        owner(&entry.owner.group, entry.gid),
        size_text(entry),
        time_text(entry.mtime, zone),
        name_text(name, &entry.kind),
    )
}

/// Adds bytes under `key`, or under `key_hex` if they are not UTF-8.
pub(super) fn put_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(key.to_owned(), text.into()),
        Err(_) => {
            let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            object.insert(format!("{key}_hex"), digits.into())
        }
    };
}

/// Adds a path as it stands in a manifest.
pub(super) fn put_path(object: &mut Map<String, Value>, path: &EntryPath) {
    put_bytes(object, "path", if path.is_root() { b"." } else { path.as_bytes() });
}

/// An entry without its path. Times are seconds since 1970 and nanoseconds, as in the manifest.
pub(super) fn entry_json(entry: &Entry) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("kind".into(), entry.kind.word().into());
    object.insert("mode".into(), format!("{:04o}", entry.mode).into());
    object.insert("uid".into(), entry.uid.into());
    object.insert("gid".into(), entry.gid.into());
    object.insert("user".into(), json!(entry.owner.user));
    object.insert("group".into(), json!(entry.owner.group));
    object.insert("mtime".into(), json!(entry.mtime));
    match &entry.kind {
        EntryKind::File => {
            object.insert("size".into(), entry.size.into());
            object.insert("sha256".into(), json!(entry.sha256));
        }
        EntryKind::Symlink { target } => put_bytes(&mut object, "target", target),
        EntryKind::HardLink { first } => put_bytes(&mut object, "target", first.as_bytes()),
        EntryKind::CharDevice { special } | EntryKind::BlockDevice { special } => {
            object.insert("special".into(), json!(special));
        }
        EntryKind::Folder | EntryKind::Fifo => {}
    }
    object
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::typed_path;

    #[test]
    fn a_path_is_understood_in_the_ways_people_type_it() {
        let one = ["/var/www/upload".to_owned()];
        let two = ["/var/www".to_owned(), "/etc".to_owned()];
        for (typed, sources, meant) in [
            ("2019", &one[..], "2019"),
            ("./2019/", &one, "2019"),
            ("/2019//a", &one, "2019/a"),
            (".", &one, "."),
            ("/", &one, "."),
            ("/var/www/upload/2019/a", &one, "2019/a"),
            ("/var/www/upload", &one, "."),
            ("/var/www/uploads", &one, "var/www/uploads"),
            ("/var/www/2019", &two, "var/www/2019"),
        ] {
            let path = typed_path(OsStr::new(typed), sources).map_err(|failure| failure.trouble.what);
            assert_eq!(path.map(|path| path.to_string()).as_deref(), Ok(meant), "{typed}");
        }
        assert!(typed_path(OsStr::new("../x"), &one).is_err());
    }
}
