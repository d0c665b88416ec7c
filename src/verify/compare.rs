//! A folder on this machine against a manifest: what a restore made.
//!
//! Two walks in the same order, merged: the manifest's and the folder's. The folder is looked at as a source is, by
//! handles, so that nothing in it leads elsewhere.
//!
//! Tells differences and judges nothing. Access times, inodes and change times are nobody's to restore.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;

use crate::archive::manifest::{Entry, EntryKind, Line};
use crate::catalog::{Catalog, CatalogError, Contents, FrameBuffers, compare_content};
use crate::domain::{Cancel, EntryPath, Kind, SnapshotName};
use crate::observe::{Event, Observer};
use crate::source::{Descriptors, Found, Item, Root, SourceError, Walk, WalkOptions};

/// So many differences are kept; all are counted.
const DIFFERENCES_MAX: usize = 10_000;

/// What this user could set, and so what is compared.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Owners, setuid and setgid, devices, all attributes: as root.
    pub privileged: bool,
    /// Workers that look ahead.
    pub threads: NonZeroUsize,
}

/// An entry that is not what the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub path: EntryPath,
    /// In words: `is not there`, `its mode is another`.
    pub what: String,
}

/// What was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Entries that are in both.
    pub entries: u64,
    /// Entries that could not be compared, because this user cannot have them.
    pub left_out: u64,
    /// The first ten thousand differences.
    pub differences: Vec<Difference>,
    /// How many there are.
    pub differences_count: u64,
}

impl Compared {
    fn differ(&mut self, path: &EntryPath, what: impl Into<String>) {
        self.differences_count += 1;
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(Difference { path: path.clone(), what: what.into() });
        }
    }
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The snapshot could not be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The folder could not be opened.
    #[error(transparent)]
    Folder(#[from] SourceError),
}

/// Compares what lies in `folder` with the snapshot.
///
/// # Errors
/// [`CompareError`]. What cannot be read of a single entry is a difference.
pub fn compare(
    catalog: &Catalog,
    name: &SnapshotName,
    folder: &Path,
    terms: Terms,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Compared, CompareError> {
    let manifest = catalog.manifest(name)?;
    let contents = Contents::open(catalog, name, &manifest)?;
    let root = Root::open(folder, EntryPath::root(), Descriptors::for_this_process())?;
    let options = WalkOptions::everything(terms.threads);
    let mut comparing = Comparing {
        terms,
        observer,
        compared: Compared::default(),
        inodes: HashMap::new(),
        closed: None,
        contents: &contents,
        buffers: FrameBuffers::default(),
        raw: Vec::new(),
        cancel,
    };
    let mut walk = Walk::new(vec![root], options).filter_map(|item| match item {
        Item::Entry(found) => Some((found.path.clone(), Ok(found))),
        Item::Skipped { path, error } => Some((path, Err(error.to_string()))),
        Item::MountPoint { path } | Item::Avoided { path } => Some((path, Err("it was not entered".to_owned()))),
        Item::Socket | Item::Excluded => None,
    });
    let mut here = walk.next();
    for line in manifest.lines() {
        if cancel.asked().is_some() {
            break;
        }
        let Line::Entry(entry) = line.map_err(|error| catalog.manifest_error(name, error))? else { continue };
        while let Some((path, found)) = here.take_if(|(path, _)| *path < entry.path) {
            // folders on the way to a source that is stored under its full path are nobody's entries
            if !entry.path.is_within(&path) || found.is_err() {
                comparing.stranger(&path, found);
            }
            here = walk.next();
        }
        match here.take_if(|(path, _)| *path == entry.path) {
            Some((path, found)) => {
                match found {
                    Ok(found) => comparing.entry(&entry, &found),
                    Err(why) => comparing.unread(&path, why),
                }
                here = walk.next();
                // a folder that could not be listed comes again, as what was skipped
                while let Some((path, Err(why))) = here.take_if(|(path, found)| *path == entry.path && found.is_err()) {
                    comparing.unread(&path, why);
                    here = walk.next();
                }
            }
            None => comparing.missing(&entry),
        }
    }
    if cancel.asked().is_none() {
        while let Some((path, found)) = here {
            comparing.stranger(&path, found);
            here = walk.next();
        }
    }
    Ok(comparing.compared)
}

struct Comparing<'a> {
    terms: Terms,
    observer: &'a dyn Observer,
    compared: Compared,
    /// Of files with several names: the inode of the first.
    inodes: HashMap<EntryPath, u64>,
    /// A folder that this user may not look into.
    closed: Option<EntryPath>,
    contents: &'a Contents,
    buffers: FrameBuffers,
    raw: Vec<u8>,
    cancel: &'a Cancel,
}

impl Comparing<'_> {
    fn stranger(&mut self, path: &EntryPath, found: Result<Found, String>) {
        match found {
            Ok(_) => self.compared.differ(path, "is there, and not in the snapshot"),
            Err(why) => self.unread(path, why),
        }
    }

    /// What only root may look at says nothing of the snapshot.
    fn unread(&mut self, path: &EntryPath, why: String) {
        if self.terms.privileged {
            self.compared.differ(path, why);
        } else {
            self.compared.left_out += 1;
            self.closed = Some(path.clone());
        }
    }

    fn missing(&mut self, entry: &Entry) {
        if self.closed.as_ref().is_some_and(|closed| entry.path.is_within(closed)) {
            self.compared.left_out += 1;
            return;
        }
        let is_device = matches!(entry.kind, EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. });
        if is_device && !self.terms.privileged {
            self.compared.left_out += 1;
        } else {
            self.compared.differ(&entry.path, "is not there");
        }
    }

    fn entry(&mut self, entry: &Entry, found: &Found) {
        self.compared.entries += 1;
        let stat = &found.stat;
        let (bytes, none) = (crate::domain::ByteCount(entry.size), crate::domain::ByteCount::ZERO);
        self.observer.notice(&Event::Advanced { entries: 1, bytes, stored: none });
        let kind = entry.kind.kind();
        if stat.kind != kind {
            return self.compared.differ(&entry.path, format!("is a {}", stat.kind.word()));
        }
        let mut wrong: Vec<String> = Vec::new();
        let mut check = |fits: bool, what: &str| {
            if !fits {
                wrong.push(format!("its {what} is another"));
            }
        };
        let mask = match (self.terms.privileged, kind) {
            (true, _) => 0o7777,
            // whoever is not of a folder's group cannot give it the setgid bit
            (false, Kind::Folder) => 0o5777,
            (false, _) => 0o1777,
        };
        // a further name has what its file has, which is compared under the first; its own line is as old as the listing,
        // and the file may have been written after that, before it was read
        if !matches!(entry.kind, EntryKind::HardLink { .. }) {
            // a symlink has no mode of its own on Linux
            check(kind == Kind::Symlink || stat.mode & mask == entry.mode & mask, "mode");
            check(!self.terms.privileged || (stat.uid, stat.gid) == (entry.uid, entry.gid), "owner");
            check(stat.mtime == entry.mtime, "time");
        }
        match &entry.kind {
            EntryKind::File => check(stat.size == entry.size, "length"),
            EntryKind::Symlink { target } => {
                check(found.place.read_link(stat).is_ok_and(|there| there == *target), "target");
            }
            EntryKind::CharDevice { special } | EntryKind::BlockDevice { special } => {
                check(stat.special == *special, "device");
            }
            EntryKind::HardLink { first } => {
                check(self.inodes.get(first) == Some(&stat.inode), "first name");
            }
            EntryKind::Folder | EntryKind::Fifo => {}
        }
        if self.terms.privileged && !matches!(entry.kind, EntryKind::HardLink { .. }) {
            check(found.place.xattrs(stat).is_ok_and(|xattrs| xattrs.digest() == entry.xattrs), "attributes");
        }
        if matches!(entry.kind, EntryKind::File) {
            if stat.links > 1 {
                self.inodes.insert(entry.path.clone(), stat.inode);
            }
            if stat.size == entry.size
                && let Err(what) = self.content(entry, found)
            {
                wrong.push(what);
            }
        }
        for what in wrong {
            self.compared.differ(&entry.path, what);
        }
    }

    fn content(&mut self, entry: &Entry, found: &Found) -> Result<(), String> {
        let file = match found.place.open(&found.stat) {
            Ok(file) => file,
            Err(_) if !self.terms.privileged => {
                self.compared.left_out += 1;
                return Ok(());
            }
            Err(error) => return Err(format!("its content cannot be read: {error}")),
        };
        let Self { contents, buffers, raw, cancel, .. } = self;
        compare_content(contents, entry, &file, buffers, raw, cancel).map_err(|otherwise| otherwise.to_string())
    }
}
