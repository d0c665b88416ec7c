//! The names in a volume that a snapshot does not use: one a line, in order of paths.
//!
//! The lines are what GNU tar takes with `--anchored --wildcards --no-recursion --exclude-from`, so a snapshot is
//! restored without this program. The danger is a name that tar would understand as a pattern, and so leave out
//! something else: `\`, `*`, `?` and `[` stand behind a backslash, white space at the end in brackets, because tar cuts
//! it off. A line feed cannot stand in a line at all: a bracket of all other bytes, negated, stands for it.

use crate::domain::EntryPath;

/// Matches a line feed and nothing else, in the C locale.
const LINE_FEED: &[u8] = b"[!\x01-\x09\x0b-\xff]";

/// Appends the line of `path`, with its line feed.
pub fn put_name(out: &mut Vec<u8>, path: &EntryPath) {
    let name = if path.is_root() { b"." } else { path.as_bytes() };
    let (last, rest) = name.split_last().expect("no path is empty");
    for byte in rest.iter().chain(Some(last).filter(|last| !is_cut(**last))) {
        match byte {
            b'\\' | b'*' | b'?' | b'[' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(LINE_FEED),
            other => out.push(*other),
        }
    }
    if is_cut(*last) {
        out.extend_from_slice(&[b'[', *last, b']']);
    }
    out.push(b'\n');
}

/// What tar takes off the end of a line.
fn is_cut(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\x0b' | b'\x0c' | b'\r')
}

/// Understands a line, without its line feed.
///
/// # Errors
/// In words, if it is not one that [`put_name`] writes.
pub fn parse_name(line: &[u8]) -> Result<EntryPath, String> {
    let mut name = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'\\', [escaped @ (b'\\' | b'*' | b'?' | b'['), after @ ..]) => {
                name.push(*escaped);
                after
            }
            (b'[', [cut, b']']) if is_cut(*cut) => {
                name.push(*cut);
                &[]
            }
            (b'[', _) if rest.starts_with(LINE_FEED) => {
                name.push(b'\n');
                &rest[LINE_FEED.len()..]
            }
            (b'\\' | b'*' | b'?' | b'[', _) => return Err("it is a pattern, not a name".to_owned()),
            (other, after) => {
                name.push(*other);
                after
            }
        };
    }
    if name == b"." {
        return Ok(EntryPath::root());
    }
    let path = EntryPath::parse(&name).map_err(|error| error.to_string())?;
    let mut again = Vec::new();
    put_name(&mut again, &path);
    if again.strip_suffix(b"\n") != Some(line) {
        return Err("it is not written as such names are".to_owned());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{parse_name, put_name};
    use crate::domain::EntryPath;

    #[test]
    fn what_tar_would_take_for_a_pattern_is_written_so_that_it_does_not() {
        for (name, line) in [
            ("a/b", "a/b\n"),
            ("a*?[b]\\", "a\\*\\?\\[b]\\\\\n"),
            ("ends in space ", "ends in space[ ]\n"),
            ("return\r", "return[\r]\n"),
        ] {
            let mut out = Vec::new();
            put_name(&mut out, &EntryPath::parse(name.as_bytes()).expect("a path"));
            assert_eq!(String::from_utf8_lossy(&out), line);
        }
        let mut out = Vec::new();
        put_name(&mut out, &EntryPath::parse(b"two\nlines").expect("a path"));
        assert_eq!(out, b"two[!\x01-\x09\x0b-\xff]lines\n");
        let mut out = Vec::new();
        put_name(&mut out, &EntryPath::root());
        assert_eq!(out, b".\n");
        assert_eq!(parse_name(b"."), Ok(EntryPath::root()));
        for line in [&b"a*"[..], b"a[b", b"", b"a\\b", b"/a", b"a ", b"a/../b", b"[ ]x"] {
            assert!(parse_name(line).is_err(), "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(parts in prop::collection::vec(prop::collection::vec(prop::sample::select(
            b"ab \t\r\n\x0b\x0c\\*?[]:!^-#\xff\xc3".to_vec()), 1..6), 1..4)) {
            let bytes = parts.join(&b'/');
            let path = EntryPath::parse(&bytes).expect("no part is empty, none is a dot");
            let mut out = Vec::new();
            put_name(&mut out, &path);
            let line = out.strip_suffix(b"\n").expect("a line");
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(parse_name(line), Ok(path));
        }
    }
}
