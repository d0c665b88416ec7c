//! A snapshot against its source as it is now.
//!
//! Two walks in the same order, merged, as in `compare`; both sides are read as streams, and memory is one line and one
//! folder's names. Every file is read, whatever its size and times say: that is the point. A file whose content is
//! another although size, mtime and ctime are as they were was changed by nobody who used a file system: rot, or a
//! forged time. No other comparison of this program can see it.
//!
//! The danger is two wrong answers. "The same" for what could not be read: that is a kind of its own, also for all that
//! lies in a folder that could not be listed. "Rot" for what changed under our eyes: so a file is looked at again after
//! it was read, and one that changed while the snapshot was made, or too shortly before, is an ordinary change.
//!
//! A folder's time is not compared: it changes with every name in it, and those are told. Nor are inode and ctime by
//! themselves: a restored or moved source has others. The volumes are not read, but for the maps of sparse files.
//! What commands gave is passed over.

use std::path::PathBuf;

use super::compare::CompareError;
use crate::archive::manifest::{Entry, EntryKind, Line, ManifestError, SkipLine};
use crate::catalog::{Catalog, Contents, FrameBuffers, OpenManifest, Otherwise, compare_content};
use crate::domain::{ByteCount, Cancel, EntryPath, FileTime, Kind, SkipCause, SnapshotName, Stat};
use crate::observe::{Event, Observer};
use crate::source::{Descriptors, Found, Glance, Item, Naming, SourceError, Walk, WalkOptions, open_roots};
use crate::store::StoreError;

/// Times are as coarse as this on some file systems: a change so shortly before a snapshot may not show in them.
const GRAIN_NANOS: i128 = 2_000_000_000;

/// What is read, and what is left out: as a run of the job would.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The folders.
    pub folders: Vec<PathBuf>,
    /// As the job's. What the store's own place is, is filled in.
    pub options: WalkOptions,
}

/// In which way an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// Only in the source.
    Added,
    /// Only in the snapshot.
    Removed,
    /// In both, as another kind or with another content.
    Content,
    /// In both, with the same content.
    Metadata,
    /// The content is another, and size, mtime and ctime say that nobody changed it.
    Rot,
    /// It could not be read, so nobody knows.
    Unread,
}

impl ChangeKind {
    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Content => "content",
            Self::Metadata => "metadata",
            Self::Rot => "rot",
            Self::Unread => "unread",
        }
    }
}

/// One entry that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub path: EntryPath,
    /// In which way.
    pub kind: ChangeKind,
    /// In words, one for each thing that differs; may be none where the kind says it all.
    pub what: Vec<String>,
}

/// All that was compared, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Only in the source.
    pub added: u64,
    /// Only in the snapshot.
    pub removed: u64,
    /// With another content.
    pub content: u64,
    /// With the same content and other metadata.
    pub metadata: u64,
    /// Changed by nobody.
    pub rot: u64,
    /// Not read.
    pub unread: u64,
    /// The same in both.
    pub same: u64,
    /// Bytes of the source that were read.
    pub bytes: ByteCount,
}

impl Changes {
    /// Whether everything could be read and is the same.
    pub fn is_same(&self) -> bool {
        [self.added, self.removed, self.content, self.metadata, self.rot, self.unread] == [0; 6]
    }
}

/// Compares the snapshot with the folders as they are now; `show` hears of every difference in order of paths, and says
/// whether it wants more.
///
/// # Errors
/// [`CompareError`]: the manifest or a source cannot be read. What cannot be read of a single entry is a difference.
pub fn against_source(
    catalog: &Catalog,
    name: &SnapshotName,
    sources: &Sources,
    cancel: &Cancel,
    observer: &dyn Observer,
    show: &mut dyn FnMut(&Change) -> bool,
) -> Result<Changes, CompareError> {
    let (record, _) = catalog.record(name)?;
    let manifest = catalog.manifest(name)?;
    let contents = Contents::open(catalog, name, &manifest)?;
    let naming = Naming::of(sources.folders.len(), record.commands.len());
    let roots = open_roots(&sources.folders, naming, &Descriptors::for_this_process())?;
    let trailer = manifest.trailer();
    observer.notice(&Event::Expected { entries: trailer.entries.lines, bytes: record.totals.content_bytes });
    let options = WalkOptions { avoid: catalog.store().place(), ..sources.options.clone() };
    let mut here = Walk::new(roots, options).filter_map(Here::of).peekable();
    let mut against = Against {
        manifest: &manifest,
        contents: &contents,
        buffers: FrameBuffers::default(),
        raw: Vec::new(),
        cancel,
        glance: Glance::new(&sources.folders, naming),
        settled: record.started.as_nanosecond() - GRAIN_NANOS,
        observer,
        show,
        goes_on: true,
        changes: Changes::default(),
        hidden: None,
        untold: None,
    };
    for line in manifest.lines() {
        if cancel.asked().is_some() || !against.goes_on {
            return Ok(against.changes);
        }
        let line = line.map_err(|error| catalog.manifest_error(name, error))?;
        let path = match &line {
            Line::Entry(entry) => &entry.path,
            Line::Skip(skip) => &skip.path,
        };
        // what a command gave lies in no source: there is nothing to compare it with
        if record.commands.iter().any(|command| command.as_bytes() == path.as_bytes()) {
            continue;
        }
        while let Some(found) = here.next_if(|here| here.path < *path) {
            against.stranger(found);
        }
        match &line {
            Line::Entry(entry) => {
                let trouble = |error| CompareError::from(catalog.manifest_error(name, error));
                match here.next_if(|here| here.path == entry.path) {
                    Some(Here { what: What::Entry(found), .. }) => against.entry(entry, &found).map_err(trouble)?,
                    Some(other) => against.stranger(other),
                    None => against.missing(entry),
                }
            }
            Line::Skip(skip) => against.skip(skip),
        }
        // a folder that could not be listed, or was not entered, comes again
        while let Some(found) = here.next_if(|here| here.path == *path && !matches!(here.what, What::Entry(_))) {
            against.stranger(found);
        }
    }
    for found in here {
        if cancel.asked().is_some() || !against.goes_on {
            break;
        }
        against.stranger(found);
    }
    Ok(against.changes)
}

/// A step of the walk that says something.
struct Here {
    path: EntryPath,
    what: What,
}

enum What {
    Entry(Found),
    Unread(SourceError),
    /// Not entered: another file system, or the store itself.
    Closed(&'static str),
}

impl Here {
    fn of(item: Item) -> Option<Self> {
        Some(match item {
            Item::Entry(found) => Self { path: found.path.clone(), what: What::Entry(found) },
            Item::Skipped { path, error } => Self { path, what: What::Unread(error) },
            Item::MountPoint { path } => Self { path, what: What::Closed("another file system is mounted above it") },
            Item::Avoided { path } => Self { path, what: What::Closed("the store lies there now") },
            Item::Socket | Item::Excluded => return None,
        })
    }
}

struct Against<'a> {
    manifest: &'a OpenManifest,
    contents: &'a Contents,
    buffers: FrameBuffers,
    raw: Vec<u8>,
    cancel: &'a Cancel,
    glance: Glance,
    /// What was changed before this, in nanoseconds since 1970, was settled when the snapshot was made.
    settled: i128,
    observer: &'a dyn Observer,
    show: &'a mut dyn FnMut(&Change) -> bool,
    goes_on: bool,
    changes: Changes,
    /// A folder of the source that could not be looked into, and why.
    hidden: Option<(EntryPath, String)>,
    /// What the snapshot could not read when it was made.
    untold: Option<SkipLine>,
}

impl Against<'_> {
    fn tell(&mut self, path: &EntryPath, kind: ChangeKind, what: Vec<String>) {
        let count = match kind {
            ChangeKind::Added => &mut self.changes.added,
            ChangeKind::Removed => &mut self.changes.removed,
            ChangeKind::Content => &mut self.changes.content,
            ChangeKind::Metadata => &mut self.changes.metadata,
            ChangeKind::Rot => &mut self.changes.rot,
            ChangeKind::Unread => &mut self.changes.unread,
        };
        *count += 1;
        self.goes_on = (self.show)(&Change { path: path.clone(), kind, what }) && self.goes_on;
    }

    /// What the snapshot could not read is known to be missing in it.
    fn skip(&mut self, skip: &SkipLine) {
        let is_known = |known: &SkipLine| skip.path.is_within(&known.path);
        if (!skip.cause.is_stored() || skip.cause == SkipCause::Unlisted) && !self.untold.as_ref().is_some_and(is_known)
        {
            self.untold = Some(skip.clone());
        }
    }

    /// What is no entry of the snapshot, or none that could be looked at.
    fn stranger(&mut self, here: Here) {
        let Here { path, what } = here;
        match what {
            What::Entry(_) => {
                let untold = self.untold.as_ref().filter(|skip| path.is_within(&skip.path));
                let why = untold.map(|skip| format!("when the snapshot was made it {}", skip.cause.words()));
                self.tell(&path, ChangeKind::Added, why.into_iter().collect());
            }
            What::Unread(error) => {
                let why = error.said();
                self.tell(&path, ChangeKind::Unread, vec![why.clone()]);
                self.hidden = Some((path, why));
            }
            What::Closed(why) => self.hidden = Some((path, why.to_owned())),
        }
    }

    fn missing(&mut self, entry: &Entry) {
        let hidden = self.hidden.as_ref().filter(|(folder, _)| entry.path.is_within(folder));
        if let Some((folder, why)) = hidden {
            let why = if *folder == entry.path { why.clone() } else { format!("{folder}: {why}") };
            return self.tell(&entry.path, ChangeKind::Unread, vec![why]);
        }
        let is_there = matches!(self.glance.identity(&entry.path), Ok(Some(_)));
        let why = is_there.then(|| "it is there, and the job leaves it out now".to_owned());
        self.tell(&entry.path, ChangeKind::Removed, why.into_iter().collect());
    }

    fn entry(&mut self, entry: &Entry, found: &Found) -> Result<(), ManifestError<StoreError>> {
        let mut other = Other::default();
        let kind = entry.kind.kind();
        let mut bytes = ByteCount::ZERO;
        if found.stat.kind != kind {
            other.content.push(format!("{} -> {}", kind.word(), found.stat.kind.word()));
        } else {
            let stat = match &entry.kind {
                EntryKind::File => self.file(entry, found, &mut other, &mut bytes),
                EntryKind::HardLink { first } => self.further_name(first, found, &mut other, &mut bytes)?,
                EntryKind::Symlink { target } => {
                    match found.place.read_link(&found.stat) {
                        Ok(there) if there == *target => {}
                        Ok(_) => other.content.push("its target is another".to_owned()),
                        Err(error) => other.unread.push(error.said()),
                    }
                    found.stat.clone()
                }
                EntryKind::CharDevice { special } | EntryKind::BlockDevice { special } => {
                    if found.stat.special != *special {
                        other.content.push("it is another device".to_owned());
                    }
                    found.stat.clone()
                }
                EntryKind::Folder | EntryKind::Fifo => found.stat.clone(),
            };
            metadata(entry, &stat, &mut other);
            if !matches!(entry.kind, EntryKind::HardLink { .. }) {
                match found.place.xattrs(&found.stat) {
                    Ok(xattrs) if xattrs.digest() == entry.xattrs => {}
                    Ok(_) => other.metadata.push("attributes".to_owned()),
                    Err(error) => other.unread.push(format!("its attributes: {}", error.said())),
                }
            }
        }
        self.changes.bytes += bytes;
        self.observer.notice(&Event::Advanced { entries: 1, bytes, stored: ByteCount::ZERO });
        let kind = match &other {
            Other { rot: true, .. } => ChangeKind::Rot,
            Other { content, .. } if !content.is_empty() => ChangeKind::Content,
            Other { unread, .. } if !unread.is_empty() => ChangeKind::Unread,
            Other { metadata, .. } if !metadata.is_empty() => ChangeKind::Metadata,
            _ => {
                self.changes.same += 1;
                return Ok(());
            }
        };
        let Other { content, unread, metadata, .. } = other;
        self.tell(&entry.path, kind, [content, unread, metadata].concat());
        Ok(())
    }

    /// Compares the content of a file, and gives how it was when it was opened: the walk may have seen it long before.
    fn file(&mut self, entry: &Entry, found: &Found, other: &mut Other, bytes: &mut ByteCount) -> Stat {
        let file = match found.place.open(&found.stat) {
            Ok(file) => file,
            Err(error) => {
                other.unread.push(error.said());
                return found.stat.clone();
            }
        };
        let stat = file.stat().clone();
        if stat.size != entry.size {
            other.content.push(format!("{} -> {}", ByteCount(entry.size), ByteCount(stat.size)));
            return stat;
        }
        file.will_read();
        *bytes = ByteCount(entry.size);
        let Self { contents, buffers, raw, cancel, .. } = self;
        let why = match compare_content(contents, entry, &file, buffers, raw, cancel) {
            // how a file system keeps its holes is its own affair
            Ok(()) | Err(Otherwise::Filled) => return stat,
            Err(Otherwise::Unread(why)) => {
                other.unread.push(why);
                return stat;
            }
            Err(Otherwise::Another(why)) => why,
        };
        let marks = |stat: &Stat| (stat.size, stat.mtime, stat.ctime);
        let is_still = file.stat_now().is_ok_and(|now| marks(&now) == marks(&stat));
        let is_settled = !entry.changed && stat.ctime.as_nanos() < self.settled;
        if !is_still {
            other.content.push("it changes while it is read".to_owned());
        } else if marks(&stat) != (entry.size, entry.mtime, entry.ctime) {
            let kept = stat.mtime == entry.mtime;
            let why = if kept {
                "other bytes, though length and mtime are the same"
            } else {
                "other bytes, of the same length"
            };
            other.content.push(why.to_owned());
        } else if is_settled {
            other.rot = true;
            other.content.push(format!("{why}, though length, mtime and ctime are as they were"));
        } else {
            other.content.push("other bytes: it changed while the snapshot was made, or just before".to_owned());
        }
        stat
    }

    /// A further name is compared with the first; if it is a file of its own now, with what the first name held.
    fn further_name(
        &mut self,
        first: &EntryPath,
        found: &Found,
        other: &mut Other,
        bytes: &mut ByteCount,
    ) -> Result<Stat, ManifestError<StoreError>> {
        match self.glance.identity(first) {
            // that name's line tells of the content
            Ok(Some(id)) if id == (found.stat.device, found.stat.inode) => return Ok(found.stat.clone()),
            Ok(_) => other.metadata.push(format!("it is no further name of {first}")),
            // then it is read like any other
            Err(_) => {}
        }
        let lines = self.manifest.find(first)?;
        let held = lines.into_iter().find_map(|line| match line {
            Line::Entry(entry) if matches!(entry.kind, EntryKind::File) => Some(entry),
            _ => None,
        });
        let Some(held) = held else {
            other.unread.push(format!("the manifest does not tell of {first}"));
            return Ok(found.stat.clone());
        };
        Ok(self.file(&held, found, other, bytes))
    }
}

/// What differs of one entry.
#[derive(Default)]
struct Other {
    rot: bool,
    content: Vec<String>,
    unread: Vec<String>,
    metadata: Vec<String>,
}

fn metadata(entry: &Entry, stat: &Stat, other: &mut Other) {
    // a symlink has no mode of its own on Linux
    if stat.mode != entry.mode && stat.kind != Kind::Symlink {
        other.metadata.push(format!("mode {:04o} -> {:04o}", entry.mode, stat.mode));
    }
    if (stat.uid, stat.gid) != (entry.uid, entry.gid) {
        other.metadata.push(format!("owner {}:{} -> {}:{}", entry.uid, entry.gid, stat.uid, stat.gid));
    }
    if stat.mtime != entry.mtime && stat.kind != Kind::Folder {
        let direction = if later(stat.mtime, entry.mtime) { "later" } else { "earlier" };
        other.metadata.push(format!("mtime {direction}"));
    }
}

fn later(one: FileTime, other: FileTime) -> bool {
    one.as_nanos() > other.as_nanos()
}
