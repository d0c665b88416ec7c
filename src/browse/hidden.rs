//! What a snapshot cannot tell of, because a folder above it could not be read when it was made.
//!
//! The danger is to call such a thing absent.

use crate::archive::manifest::{Line, ManifestError, ManifestReader, ReadAt, SkipLine};
use crate::domain::{EntryPath, SkipCause};

/// The outermost folder above `path` that was not read, or only in part; none if all were.
///
/// # Errors
/// If what stands in the manifest of the folders above `path` cannot be read.
pub fn hiding<R: ReadAt>(
    manifest: &ManifestReader<R>,
    path: &EntryPath,
) -> Result<Option<SkipLine>, ManifestError<R::Error>> {
    let mut found = None;
    for folder in std::iter::successors(path.parent(), EntryPath::parent) {
        for line in manifest.find(&folder)? {
            if let Line::Skip(skip) = line
                && hides(&skip)
            {
                found = Some(skip);
            }
        }
    }
    Ok(found)
}

/// What is stored although something is to be told of it hides nothing, but for a folder that was listed in part.
pub(super) fn hides(skip: &SkipLine) -> bool {
    !skip.cause.is_stored() || skip.cause == SkipCause::Unlisted
}
