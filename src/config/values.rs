//! From text to values: one function for each form, each saying what is allowed when it refuses.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Component, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::problem::nearest;
use crate::archive::Codec;
use crate::domain::{ByteCount, EntryPath, Level, Percent, Secret};
use crate::notify::http::{Address, AddressError};
use crate::notify::jira::Flavour;
use crate::notify::{self, Protection};
use crate::report::Kind;
use crate::store::RequireMount;

/// What is wrong with a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) allowed: String,
    pub(super) meant: Option<String>,
}

fn refuse<T>(what: impl Into<String>, allowed: &str) -> Result<T, Refusal> {
    Err(Refusal { what: what.into(), allowed: allowed.to_owned(), meant: None })
}

pub(super) fn path(text: &str) -> Result<PathBuf, Refusal> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return refuse(format!("`{text}` is not an absolute path"), "write the whole path, beginning with `/`");
    }
    if path.components().any(|part| part == Component::ParentDir) || text.contains('\0') {
        return refuse(format!("`{text}` is not a plain path"), "write it without `..`");
    }
    // `/a//b/` and `/a/b` are one folder, and shall be one in every comparison
    Ok(path.components().collect())
}

/// The file that holds a secret. What is no path is not repeated: it may be the secret itself.
pub(super) fn secret_path(text: &str) -> Result<PathBuf, Refusal> {
    path(text).map_err(|refusal| match text.starts_with('/') {
        true => refusal,
        false => Refusal { what: "this is not an absolute path".to_owned(), ..refusal },
    })
}

pub(super) fn zone(text: &str) -> Result<TimeZone, Refusal> {
    let name = text.strip_prefix(':').unwrap_or(text);
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        Refusal {
            what: format!("`{text}` is not a time zone"),
            allowed: "a name of the IANA database, such as Europe/Madrid or UTC".to_owned(),
            meant: nearest(name, known.iter().map(String::as_str)),
        }
    })
}

pub(super) fn file_name(text: &str) -> Result<String, Refusal> {
    if text.is_empty() || matches!(text, "." | "..") || text.contains(['/', '\0']) {
        return refuse(format!("`{text}` is not a file name"), "a name without a slash");
    }
    Ok(text.to_owned())
}

/// The path of a file in a snapshot.
pub(super) fn entry_name(text: &str) -> Result<String, Refusal> {
    match EntryPath::parse(text.as_bytes()) {
        Ok(path) if !path.is_root() && is_makeable(text) => Ok(text.to_owned()),
        _ => refuse(
            format!("`{}` is not the path of a file in a snapshot", text.escape_debug()),
            "relative, without `..` and empty parts: dumps/shop.sql",
        ),
    }
}

/// Whether every file system can hold a file of this path.
fn is_makeable(path: &str) -> bool {
    path.len() <= 1024 && path.split('/').all(|part| part.len() <= 255) && !path.chars().any(char::is_control)
}

/// What a shell reads. The text is never repeated.
pub(super) fn script(text: &str) -> Result<String, Refusal> {
    if text.trim().is_empty() || text.contains('\0') {
        return refuse("`shell` has nothing in it", "what /bin/sh is to run: \"a | b\"");
    }
    Ok(text.to_owned())
}

/// Whether a program's environment may have this name from the configuration: ours are not among them.
pub(super) fn is_variable(name: &str) -> bool {
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.starts_with("BACKUP_")
}

pub(super) fn boolean(text: &str) -> Result<bool, Refusal> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => refuse(format!("`{text}` is neither true nor false"), "true or false"),
    }
}

pub(super) fn size(text: &str) -> Result<ByteCount, Refusal> {
    text.parse().or_else(|_| refuse(format!("`{text}` is not a size"), "a number and a unit: 500MB, 2GiB, 1.5T"))
}

/// Whole seconds, from one second to ten years; a day is 24 hours.
pub(super) fn duration(text: &str) -> Result<Duration, Refusal> {
    const ALLOWED: &str = "a number and a unit, from 1s: 300s, 15m, 24h, 30d";
    const LONGEST_S: u64 = 10 * 366 * 86_400;
    let span: Result<jiff::Span, _> = text.trim().parse();
    let day = jiff::SpanRelativeTo::days_are_24_hours();
    let signed = span.ok().and_then(|span| span.to_duration(day).ok());
    match signed.map(Duration::try_from) {
        Some(Ok(duration)) if (1..=LONGEST_S).contains(&duration.as_secs()) => {
            Ok(Duration::from_secs(duration.as_secs()))
        }
        _ => refuse(format!("`{text}` is not a length of time"), ALLOWED),
    }
}

/// A length of time that may be none at all: `0s`.
pub(super) fn duration_or_none(text: &str) -> Result<Duration, Refusal> {
    if matches!(text.trim(), "0" | "0s") { Ok(Duration::ZERO) } else { duration(text) }
}

/// How many further attempts.
pub(super) fn times(text: &str) -> Result<u32, Refusal> {
    match text.trim().parse::<u32>() {
        Ok(number) if number <= 100 => Ok(number),
        _ => refuse(format!("`{text}` is not a number of attempts"), "a whole number from 0 to 100"),
    }
}

/// A length of time; none for `never`.
pub(super) fn duration_or_never(text: &str) -> Result<Option<Duration>, Refusal> {
    if text.trim() == "never" { Ok(None) } else { duration(text).map(Some) }
}

/// Whether every run is full.
pub(super) fn run_mode(text: &str) -> Result<bool, Refusal> {
    match text {
        "linked" => Ok(false),
        "full" => Ok(true),
        _ => Err(Refusal {
            what: format!("`{text}` is not a mode"),
            allowed: "linked or full".to_owned(),
            meant: nearest(text, ["linked", "full"].into_iter()),
        }),
    }
}

/// Whether ctimes, and whether inode numbers are compared.
pub(super) fn detection(text: &str) -> Result<(bool, bool), Refusal> {
    match text {
        "ctime+inode" => Ok((true, true)),
        "ctime" => Ok((true, false)),
        "inode" => Ok((false, true)),
        "mtime" => Ok((false, false)),
        _ => refuse(format!("`{text}` does not say what to compare"), "ctime+inode, ctime, inode or mtime"),
    }
}

/// A length of time, as in the file.
///
/// # Errors
/// What is wrong with it, in words.
pub fn duration_of(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|refusal| refusal.what)
}

/// What a store must be mounted as, as in the file.
///
/// # Errors
/// What is wrong with it, in words.
pub fn mount_of(text: &str) -> Result<RequireMount, String> {
    mount(text).map_err(|refusal| refusal.what)
}

pub(super) fn percent(text: &str) -> Result<u8, Refusal> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<u8>().ok());
    match number {
        Some(number) if number <= 100 => Ok(number),
        _ => refuse(format!("`{text}` is not a share"), "a whole number from 0% to 100%, with its sign"),
    }
}

/// Text of one line.
pub(super) fn line(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) || text.len() > 200 {
        return refuse("this is not a text of one line", "one line of at most 200 characters");
    }
    Ok(text.to_owned())
}

/// A secret of any length. The text is never repeated.
pub(super) fn hidden(text: &str) -> Result<Secret, Refusal> {
    let secret = Secret::new(text);
    if secret.reveal().is_empty() || secret.reveal().chars().any(char::is_control) {
        return refuse("the secret is empty, or has several lines", "one line");
    }
    Ok(secret)
}

pub(super) fn port(text: &str) -> Result<u16, Refusal> {
    match text.trim().parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => refuse(format!("`{text}` is not a port"), "a whole number from 1 to 65535"),
    }
}

/// What is told.
pub(super) fn kind(text: &str) -> Result<Kind, Refusal> {
    const ALL: [(&str, Kind); 7] = [
        ("failed", Kind::Failed),
        ("partial", Kind::Partial),
        ("missed", Kind::Missed),
        ("recovered", Kind::Recovered),
        ("ok", Kind::Ok),
        ("overdue", Kind::Overdue),
        ("damage", Kind::Damage),
    ];
    one_of(text, &ALL)
}

pub(super) fn protection(text: &str) -> Result<Protection, Refusal> {
    one_of(text, &[("starttls", Protection::StartTls), ("tls", Protection::Tls), ("none", Protection::Off)])
}

/// None: by the address.
pub(super) fn jira_api(text: &str) -> Result<Option<Flavour>, Refusal> {
    one_of(text, &[("auto", None), ("cloud", Some(Flavour::Cloud)), ("datacenter", Some(Flavour::DataCenter))])
}

fn one_of<T: Copy>(text: &str, all: &[(&str, T)]) -> Result<T, Refusal> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| Refusal {
        what: format!("`{text}` is none of these"),
        allowed: all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        meant: nearest(text, all.iter().map(|(name, _)| *name)),
    })
}

/// A template that renders.
pub(super) fn template(text: &str) -> Result<String, Refusal> {
    match notify::check_template(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(why) => refuse(format!("the template fails: {why}"), "{{ job }} on {{ host }}: the fields are in README"),
    }
}

/// An address for messages. The text is never repeated: it may be the secret.
pub(super) fn address(text: &str, allow_http: bool) -> Result<Address, Refusal> {
    Address::parse(text, allow_http).or_else(|error| match error {
        AddressError::NoUrl => refuse("this is no address", "an address that begins with https://"),
        AddressError::Plain => refuse(
            "this address begins with http://, and everybody on the way could read the message",
            "https://, or `allow_http: true` in `notify`",
        ),
    })
}

/// How deep is verified.
pub(super) fn level(text: &str) -> Result<Level, Refusal> {
    const ALL: [Level; 4] = [Level::Quick, Level::Stored, Level::Deep, Level::Drill];
    ALL.into_iter().find(|level| level.word() == text).ok_or_else(|| Refusal {
        what: format!("`{text}` is not a level"),
        allowed: "quick, stored, deep or drill".to_owned(),
        meant: nearest(text, ALL.into_iter().map(Level::word)),
    })
}

pub(super) fn share(text: &str) -> Result<Percent, Refusal> {
    text.trim().parse().or_else(|_| refuse(format!("`{text}` is not a share"), "a whole number from 1% to 100%"))
}

/// An address with its port; none for `no`.
pub(super) fn listen(text: &str) -> Result<Option<SocketAddr>, Refusal> {
    match text {
        "no" | "false" => Ok(None),
        _ => text.parse().map(Some).or_else(|_| {
            refuse(
                format!("`{text}` is not an address with a port"),
                "such as 127.0.0.1:9180, [::1]:9180, 0.0.0.0:9180; or no",
            )
        }),
    }
}

/// A token that is not guessed. The text is never repeated.
pub(super) fn token(text: &str) -> Result<Secret, Refusal> {
    let secret = Secret::new(text);
    let is_plain = secret.reveal().bytes().all(|b| b.is_ascii_graphic());
    if secret.reveal().len() < 16 || !is_plain {
        return refuse(
            "the token is too short, or holds blanks or letters beyond ASCII",
            "at least 16 characters: openssl rand -hex 32",
        );
    }
    Ok(secret)
}

pub(super) fn count(text: &str) -> Result<NonZeroUsize, Refusal> {
    match text.trim().parse::<NonZeroUsize>() {
        Ok(number) if number.get() <= 1024 => Ok(number),
        _ => refuse(format!("`{text}` is not a number from 1 to 1024"), "a whole number from 1 to 1024"),
    }
}

pub(super) fn number(text: &str) -> Result<u32, Refusal> {
    match text.trim().parse::<u32>() {
        Ok(number) if number <= 100_000 => Ok(number),
        _ => refuse(format!("`{text}` is not a number of snapshots"), "a whole number from 0"),
    }
}

/// Octal digits; the owner must be able to work with what is created, and nothing is made setuid.
pub(super) fn mode(text: &str, needed: u32) -> Result<u32, Refusal> {
    let digits = text.trim().trim_start_matches("0o");
    let good = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if good && mode <= 0o777 && mode & needed == needed => Ok(mode),
        _ => refuse(
            format!("`{text}` are not permissions for this"),
            if needed == 0o700 {
                "octal, at least 0700 for the owner: \"0700\", \"0750\""
            } else {
                "octal, at least 0600 for the owner: \"0600\", \"0640\""
            },
        ),
    }
}

pub(super) fn mount(text: &str) -> Result<RequireMount, Refusal> {
    const KNOWN: [&str; 4] = ["no", "any", "nfs", "cifs"];
    match text {
        "no" | "false" => Ok(RequireMount::No),
        "any" | "true" => Ok(RequireMount::Any),
        "nfs" => Ok(RequireMount::Nfs),
        "cifs" => Ok(RequireMount::Cifs),
        _ => Err(Refusal {
            what: format!("`{text}` is not a kind of mount"),
            allowed: "no, any, nfs or cifs".to_owned(),
            meant: nearest(text, KNOWN.into_iter()),
        }),
    }
}

/// `zstd`, `zstd:6`, `gzip`, `gzip:9`, `none`.
pub(super) fn codec(text: &str) -> Result<Codec, Refusal> {
    const ALLOWED: &str = "zstd (1 to 19), gzip (1 to 12) or none: zstd, zstd:6, {zstd: {level: 6}}";
    let (name, level) = match text.split_once(':') {
        Some((name, level)) => (name, Some(level)),
        None => (text, None),
    };
    let in_range = |max: u8, default: u8| match level {
        None => Ok(default),
        Some(level) => match level.trim().parse::<u8>() {
            Ok(level) if (1..=max).contains(&level) => Ok(level),
            _ => refuse(format!("`{level}` is not a level of {name}"), ALLOWED),
        },
    };
    match name {
        "zstd" | "zst" => Ok(Codec::Zstd { level: in_range(19, 3)? }),
        "gzip" | "gz" => Ok(Codec::Gzip { level: in_range(12, 6)? }),
        "none" if level.is_none() => Ok(Codec::None),
        _ => Err(Refusal {
            what: format!("`{text}` is not a compression"),
            allowed: ALLOWED.to_owned(),
            meant: nearest(name, ["zstd", "gzip", "none"].into_iter()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Codec, codec, duration, mode, path, percent};

    #[test]
    fn values_are_read_in_the_ways_people_write_them() {
        assert_eq!(duration("300s"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        for text in ["", "300", "-5m", "0s", "forever", "999999d", "5 potatoes"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!((percent("0%"), percent("100 %")), (Ok(0), Ok(100)));
        assert!(percent("50").is_err() && percent("101%").is_err() && percent("-1%").is_err());
        assert_eq!(codec("zstd:19"), Ok(Codec::Zstd { level: 19 }));
        assert_eq!(codec("none"), Ok(Codec::None));
        for text in ["zstd:0", "zstd:20", "gzip:13", "none:1", "lz4", "zstd:"] {
            assert!(codec(text).is_err(), "{text}");
        }
        assert_eq!(mode("0640", 0o600), Ok(0o640));
        assert_eq!(mode("600", 0o600), Ok(0o600));
        for text in ["0400", "4755", "0888", "rw", ""] {
            assert!(mode(text, 0o600).is_err(), "{text}");
        }
        assert_eq!(path("/a//b/./c/"), path("/a/b/c"));
        assert!(path("a/b").is_err() && path("/a/../b").is_err() && path("").is_err());
    }
}
