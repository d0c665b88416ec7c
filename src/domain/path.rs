//! The path of an entry below its source: bytes, never absolute, never climbing.
//!
//! The danger here is order. Volumes and manifests are sorted depth-first with children by bytes, which is *not*
//! the order of the joined bytes: `a` , `a/b`, `a.txt` is right, although `.` sorts before `/`. `Ord` on this
//! type is that order, and the only one the program uses.

use std::cmp::Ordering;
use std::fmt;

/// A path relative to the source. Components are separated by one `/`; none is empty, `.`, `..`, or holds a NUL.
/// The root of the source is the empty path, shown as `.`. Bytes are kept as they are; display is escaped.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct EntryPath(Box<[u8]>);

/// Bytes that cannot be an entry's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It begins with a slash.
    #[error("the path is absolute")]
    Absolute,
    /// It has `..`, `.` or an empty component.
    #[error("the path has an empty, `.` or `..` component")]
    Climbs,
    /// It has a NUL byte.
    #[error("the path holds a NUL byte")]
    Nul,
}

impl EntryPath {
    /// The root of the source.
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses bytes as they stand in a manifest (`.` is the root).
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes == b"." {
            return Ok(Self::root());
        }
        if bytes.first() == Some(&b'/') {
            return Err(PathError::Absolute);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        if bytes.split(|b| *b == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
            return Err(PathError::Climbs);
        }
        Ok(Self(bytes.into()))
    }

    /// The path of `name` in this folder.
    ///
    /// # Panics
    /// If `name` is not a single component: the kernel never returns such a name.
    pub fn join(&self, name: &[u8]) -> Self {
        assert!(
            !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0),
            "a name from a folder is one component"
        );
        if self.0.is_empty() {
            return Self(name.into());
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self(bytes.into())
    }

    /// The bytes, without a leading or trailing slash; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the source's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }

    /// The folder that holds this entry; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0[..cut].into()))
    }

    /// The order of two paths, as [`Self::as_bytes`] gives them.
    pub fn order(one: &[u8], other: &[u8]) -> Ordering {
        // a separator sorts before every byte a name can hold; NUL is never in a name
        let keyed = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        let shared = one.iter().zip(other).position(|(a, b)| a != b);
        match shared {
            None => one.len().cmp(&other.len()),
            Some(at) => keyed(&one[at]).cmp(&keyed(&other[at])),
        }
    }

    /// Whether `self` lies in `folder`, at any depth, or is it.
    pub fn is_within(&self, folder: &Self) -> bool {
        folder.is_root() || (self.0.starts_with(&folder.0) && matches!(self.0.get(folder.0.len()), None | Some(b'/')))
    }
}

impl Ord for EntryPath {
    fn cmp(&self, other: &Self) -> Ordering {
        Self::order(&self.0, &other.0)
    }
}

impl PartialOrd for EntryPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for EntryPath {
    /// Safe for a terminal, a log and a ticket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        Shown(&self.0).fmt(f)
    }
}

/// Bytes as a person may see them, such as where a symlink points: safe for a terminal, a log and a ticket. Control
/// characters and bytes that are not UTF-8 are escaped.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                // bidirectional controls can make a name read as another one
                let misleads = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
                if c.is_control() || c == '\\' || misleads {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    fmt::Write::write_char(f, c)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{EntryPath, PathError};

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).expect("a good path")
    }

    #[test]
    fn a_folder_comes_before_what_is_in_it_and_that_before_its_siblings() {
        let mut paths = ["a.txt", "a/b", "a", "a/b/c", "a-", "a/b.c", "b", "."].map(path);
        paths.sort();
        assert_eq!(paths, [".", "a", "a/b", "a/b/c", "a/b.c", "a-", "a.txt", "b"].map(path));
    }

    #[test]
    fn paths_that_climb_or_lie_are_refused() {
        for (text, why) in [
            (&b"/etc"[..], PathError::Absolute),
            (b"a/../b", PathError::Climbs),
            (b"..", PathError::Climbs),
            (b"./a", PathError::Climbs),
            (b"a//b", PathError::Climbs),
            (b"a/", PathError::Climbs),
            (b"", PathError::Climbs),
            (b"a\0b", PathError::Nul),
        ] {
            assert_eq!(EntryPath::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_cannot_drive_a_terminal() {
        let hostile = EntryPath::parse(b"\x1b[2Jx\nk\xff\\n \xe2\x80\xaegnp").expect("a good path");
        assert_eq!(hostile.to_string(), r"\u{1b}[2Jx\nk\xff\\n \u{202e}gnp");
    }

    #[test]
    fn a_neighbour_with_the_same_beginning_is_not_within() {
        assert!(path("a/b").is_within(&path("a")));
        assert!(path("a").is_within(&path("a")));
        assert!(!path("ab").is_within(&path("a")));
        assert!(path("ab").is_within(&EntryPath::root()));
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(EntryPath::root()));
    }

    proptest! {
        #[test]
        fn the_order_is_the_order_of_the_components(
            a in prop::collection::vec(prop::collection::vec(1u8..46, 1..4), 0..4),
            b in prop::collection::vec(prop::collection::vec(1u8..46, 1..4), 0..4),
        ) {
            // names of bytes 1..46 never are "." or ".." and never hold '/'
            let build = |parts: &[Vec<u8>]| parts.iter().fold(EntryPath::root(), |at, name| at.join(name));
            prop_assert_eq!(build(&a).cmp(&build(&b)), a.cmp(&b));
        }
    }
}
