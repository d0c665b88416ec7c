//! Addresses within the page, and what is in them: a path of a snapshot is bytes, so it travels percent-encoded.
//!
//! The danger here is a path that is decoded twice or as text, or a name that breaks out of a header. Both directions
//! stand in this file, and everything but letters, digits and `-._~` is encoded.

use std::fmt::Write;

use crate::domain::{EntryPath, SnapshotName};

/// The page of a folder in a snapshot: `/browse/SNAPSHOT?path=…`.
pub fn browse_url(snapshot: &SnapshotName, path: &EntryPath) -> String {
    format!("/browse/{snapshot}?path={}", encoded(path.as_bytes()))
}

/// The content of a file in a snapshot: `/download/SNAPSHOT?path=…`.
pub fn download_url(snapshot: &SnapshotName, path: &EntryPath) -> String {
    format!("/download/{snapshot}?path={}", encoded(path.as_bytes()))
}

/// The `path` of a raw query (what stands after `?`, still encoded); the root if there is none; none if it is no path.
pub fn path_of_query(query: &str) -> Option<EntryPath> {
    let raw = query.split('&').find_map(|pair| pair.strip_prefix("path=")).unwrap_or_default();
    let bytes = decoded(raw)?;
    if bytes.is_empty() { Some(EntryPath::root()) } else { EntryPath::parse(&bytes).ok() }
}

/// The value of `Content-Disposition` for a file that is downloaded: always saved, never shown.
pub fn disposition(name: &[u8]) -> String {
    let plain: String = name
        .iter()
        .map(|b| if b.is_ascii_alphanumeric() || b"._- ".contains(b) { char::from(*b) } else { '_' })
        .collect();
    // what is not UTF-8 has no place in the extended form
    let known = encoded(String::from_utf8_lossy(name).as_bytes());
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{known}")
}

fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a string takes everything");
        }
    }
    text
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte")
            }
            // as a form of a browser sends it
            b'+' => b' ',
            other => other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{browse_url, disposition, path_of_query};
    use crate::domain::{EntryPath, SnapshotName};

    #[test]
    fn what_is_no_path_of_a_snapshot_is_refused() {
        for query in ["path=/etc", "path=..%2fetc", "path=a/../b", "path=%00", "path=%", "path=%zz", "path=%c"] {
            assert_eq!(path_of_query(query), None, "{query}");
        }
        for query in ["", "path=", "path=.", "x=1&path="] {
            assert_eq!(path_of_query(query), Some(EntryPath::root()), "{query}");
        }
    }

    #[test]
    fn a_name_never_breaks_out_of_its_header() {
        let header = disposition(b"\"; x=\"\r\nSet-Cookie: a\xff\xc3\xa9");
        assert_eq!(header.matches('"').count(), 2);
        assert!(header.bytes().all(|b| (b' '..=b'~').contains(&b)), "{header}");
        assert_eq!(disposition(b"a b.txt"), "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt");
    }

    proptest! {
        #[test]
        fn every_path_comes_back_from_its_address(parts in prop::collection::vec(prop::collection::vec(1u8.., 1..8), 0..4)) {
            let joined = parts.join(&b'/');
            let Ok(path) = EntryPath::parse(&joined) else { return Ok(()) };
            let snapshot: SnapshotName = "upload-20261121T020000Z".parse().expect("a name");
            let url = browse_url(&snapshot, &path);
            prop_assert!(url.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%/?=".contains(&b)), "{}", url);
            let (_, query) = url.split_once('?').expect("a query");
            prop_assert_eq!(path_of_query(query), Some(path));
        }
    }
}
