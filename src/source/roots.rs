//! Sources by their configured paths: where each stands in a snapshot, and single looks at what lies in them.
//!
//! The danger is that two places of the program give a source different names in the snapshot: everything in it would
//! then seem gone and new. So the rule stands here and nowhere else.
//!
//! A [`Glance`] resolves beneath its source and through no link, in one call of the kernel; it opens nothing for reading.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::error::SourceError;
use super::folder::{Descriptors, stat_fd};
use super::walk::Root;
use crate::domain::EntryPath;

/// How what lies in a job's sources is named in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By its path below the source.
    Relative,
    /// By its full path without the leading slash.
    Full,
}

impl Naming {
    /// Of a job with so many sources and so many commands: one source alone stands at the root of the snapshot.
    pub fn of(sources: usize, commands: usize) -> Self {
        if sources == 1 && commands == 0 { Self::Relative } else { Self::Full }
    }

    /// Where the source of this path stands in the snapshot.
    pub fn prefix(self, path: &Path) -> EntryPath {
        match self {
            Self::Relative => EntryPath::root(),
            Self::Full => prefix_of(path),
        }
    }
}

/// Opens the sources of a job.
///
/// # Errors
/// The first that is missing, not a folder or not readable.
pub fn open_roots(
    sources: &[PathBuf],
    naming: Naming,
    descriptors: &Arc<Descriptors>,
) -> Result<Vec<Root>, SourceError> {
    sources.iter().map(|path| Root::open(path, naming.prefix(path), Arc::clone(descriptors))).collect()
}

/// A source's full path without the leading slash.
fn prefix_of(path: &Path) -> EntryPath {
    use std::os::unix::ffi::OsStrExt;
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.as_bytes()),
            _ => None,
        })
        .fold(EntryPath::root(), |at, name| at.join(name))
}

/// Device and inode: names that are links share them.
pub type Identity = ((u32, u32), u64);

/// Looks at single names beside a walk.
#[derive(Debug)]
pub struct Glance {
    roots: Vec<(EntryPath, OwnedFd)>,
}

impl Glance {
    /// Of the same sources as [`open_roots`]. A source that cannot be opened shows nothing.
    pub fn new(sources: &[PathBuf], naming: Naming) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open =
            |path: &PathBuf| rustix::fs::open(path, flags, Mode::empty()).ok().map(|fd| (naming.prefix(path), fd));
        Self { roots: sources.iter().filter_map(open).collect() }
    }

    /// Device and inode of what has this path in the snapshot now; `None` if nothing has.
    ///
    /// # Errors
    /// If it cannot be told: a path that is too long for one call, a folder that may not be entered, an old kernel.
    pub fn identity(&self, path: &EntryPath) -> Result<Option<Identity>, SourceError> {
        let Some((prefix, root)) = self.roots.iter().find(|(prefix, _)| path.is_within(prefix)) else {
            return Ok(None);
        };
        let below = &path.as_bytes()[prefix.as_bytes().len()..];
        let below = below.strip_prefix(b"/").unwrap_or(below);
        let at = if below.is_empty() { b"." } else { below };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(root, at, flags, Mode::empty(), resolve).map_err(SourceError::of_entry) {
            Ok(found) => stat_fd(&found).map(|stat| Some((stat.device, stat.inode))),
            Err(SourceError::Vanished | SourceError::Replaced) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

    use super::{Glance, Naming, prefix_of};
    use crate::domain::EntryPath;

    #[test]
    fn one_source_alone_stands_at_the_root_and_with_others_or_commands_at_its_full_path() {
        let prefix = |sources, commands| Naming::of(sources, commands).prefix(std::path::Path::new("/var/www"));
        assert_eq!(prefix(1, 0), EntryPath::root());
        let full = EntryPath::parse(b"var/www").expect("a path");
        assert_eq!([prefix(2, 0), prefix(1, 1), prefix(3, 2)], [full.clone(), full.clone(), full]);
    }

    #[test]
    fn a_glance_tells_names_of_one_file_and_follows_no_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("in")).expect("a folder");
        std::fs::write(at("in/a"), "a").expect("a file");
        std::fs::hard_link(at("in/a"), at("b")).expect("a link");
        std::os::unix::fs::symlink("in", at("link")).expect("a link");
        std::os::unix::fs::symlink("/", at("out")).expect("a link");
        let glance = Glance::new(&[folder.path().to_owned()], Naming::of(1, 0));
        let seen = |path: &[u8]| glance.identity(&EntryPath::parse(path).expect("a path")).expect("it can be told");
        assert_eq!(seen(b"in/a"), seen(b"b"));
        assert!(seen(b"b").is_some() && seen(b".").is_some() && seen(b"link").is_some());
        assert_ne!(seen(b"link"), seen(b"in"));
        for gone in [&b"link/a"[..], b"out/etc", b"c", b"in/a/b"] {
            assert_eq!(seen(gone), None, "{}", gone.escape_ascii());
        }
        let other = tempfile::tempdir().expect("a folder");
        let both = Glance::new(&[folder.path().to_owned(), other.path().to_owned()], Naming::of(2, 0));
        let path = prefix_of(folder.path()).join(b"b");
        assert_eq!(
            both.identity(&path).expect("it can be told"),
            seen(b"b"),
            "several sources stand at their full paths"
        );
        assert_eq!(both.identity(&EntryPath::root().join(b"b")).expect("it can be told"), None);
        let long = (0..40).fold(EntryPath::root(), |at, _| at.join(&[b'n'; 200]));
        assert!(glance.identity(&long).is_err(), "what cannot be told is not called absent");
    }
}
