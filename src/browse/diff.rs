//! What differs between two snapshots.
//!
//! Both manifests are read once, side by side; memory is one line of each. The dangers are two wrong answers. "Removed"
//! for what could not be read when the second was made: that is told apart, also for all that lies in a folder which
//! could not be. "Changed" for what did not: when the first name of a file with several is removed, the next name
//! becomes the one that carries the content, which is no change of it.
//!
//! A folder's time is not looked at: it changes with every name in it, and those are told themselves.

use std::collections::VecDeque;

use super::hidden::{hides, hiding};
use super::merge::{Group, Merged};
use crate::archive::manifest::{Entry, EntryKind, Line, ManifestError, ManifestReader, OrderedLines, ReadAt, SkipLine};
use crate::domain::{ByteCount, EntryPath, SkipCause};

/// What of an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// What it is.
    Kind,
    /// What is in it, where it points, which device it is.
    Content,
    /// Permissions.
    Mode,
    /// User or group.
    Owner,
    /// When its content was changed, as the source says.
    Mtime,
    /// Extended attributes, ACLs among them.
    Xattrs,
}

impl Aspect {
    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kind => "type",
            Self::Content => "content",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Mtime => "mtime",
            Self::Xattrs => "xattrs",
        }
    }

    /// Whether more than what is told *about* the entry differs.
    pub fn is_of_substance(self) -> bool {
        matches!(self, Self::Kind | Self::Content)
    }
}

/// The one snapshot or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that is compared.
    Before,
    /// The one it is compared with.
    After,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only in the second.
    Added(Box<Entry>),
    /// Only in the first.
    Removed(Box<Entry>),
    /// In both, and not the same.
    Changed {
        /// In the first.
        before: Box<Entry>,
        /// In the second.
        after: Box<Entry>,
        /// What differs, sorted; never empty.
        aspects: Vec<Aspect>,
    },
    /// Only in one, because the other could not read it or the folder it lies in: whether it was there is not known.
    Unread {
        /// As it is where it was read.
        known: Box<Entry>,
        /// Where it was not.
        unread_in: Side,
        /// Why.
        cause: SkipCause,
    },
}

impl Change {
    /// Where.
    pub fn path(&self) -> &EntryPath {
        match self {
            Self::Added(entry) | Self::Removed(entry) => &entry.path,
            Self::Changed { after, .. } => &after.path,
            Self::Unread { known, .. } => &known.path,
        }
    }
}

/// All differences, counted. Bytes are of regular files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffTotals {
    /// Only in the second.
    pub added: u64,
    /// Their bytes.
    pub added_bytes: ByteCount,
    /// Only in the first.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: ByteCount,
    /// Changed in kind or content.
    pub changed: u64,
    /// Their bytes in the first.
    pub changed_bytes_before: ByteCount,
    /// Their bytes in the second.
    pub changed_bytes_after: ByteCount,
    /// Changed in what is told about them only.
    pub metadata: u64,
    /// Not readable in one of them.
    pub unread: u64,
    /// The same in both.
    pub same: u64,
}

impl DiffTotals {
    fn add(&mut self, change: &Change) {
        match change {
            Change::Added(entry) => {
                self.added += 1;
                self.added_bytes += ByteCount(entry.size);
            }
            Change::Removed(entry) => {
                self.removed += 1;
                self.removed_bytes += ByteCount(entry.size);
            }
            Change::Changed { before, after, aspects } if aspects.iter().any(|aspect| aspect.is_of_substance()) => {
                self.changed += 1;
                self.changed_bytes_before += ByteCount(before.size);
                self.changed_bytes_after += ByteCount(after.size);
            }
            Change::Changed { .. } => self.metadata += 1,
            Change::Unread { .. } => self.unread += 1,
        }
    }
}

/// What [`diff`] gives: changes in order of paths. The first failure ends it, with the side that failed.
pub struct Changes<'m, R: ReadAt> {
    merged: Merged<OrderedLines<'m, R>>,
    failures: VecDeque<(usize, ManifestError<R::Error>)>,
    failed: bool,
    /// On each side the folder that was last seen not to be read.
    unread: [Option<SkipLine>; 2],
    totals: DiffTotals,
}

/// Compares what is at `path` and below it.
///
/// # Errors
/// If what stands in a manifest of the folders above `path` cannot be read, with the side.
pub fn diff<'m, R: ReadAt>(
    before: &'m ManifestReader<R>,
    after: &'m ManifestReader<R>,
    path: &EntryPath,
) -> Result<Changes<'m, R>, (Side, ManifestError<R::Error>)> {
    let unread = [
        hiding(before, path).map_err(|error| (Side::Before, error))?,
        hiding(after, path).map_err(|error| (Side::After, error))?,
    ];
    let merged = Merged::new([before, after].map(|manifest| manifest.lines_within(path)).into());
    Ok(Changes { merged, failures: VecDeque::new(), failed: false, unread, totals: DiffTotals::default() })
}

impl<R: ReadAt> Changes<'_, R> {
    /// What was counted until now; of everything, once the iterator has ended without a failure.
    pub fn totals(&self) -> DiffTotals {
        self.totals
    }

    fn change(&mut self, group: Group) -> Option<Change> {
        let mut entries: [Option<Box<Entry>>; 2] = [None, None];
        for (side, line) in group.lines {
            match line {
                Line::Entry(entry) => entries[side] = Some(entry),
                Line::Skip(skip) if hides(&skip) => {
                    // the outermost folder that was not read tells of all below it
                    let inside = |known: &SkipLine| skip.path.is_within(&known.path);
                    if !self.unread[side].as_ref().is_some_and(inside) {
                        self.unread[side] = Some(skip);
                    }
                }
                Line::Skip(_) => {}
            }
        }
        let unread = |side: usize, path: &EntryPath| {
            self.unread[side].as_ref().filter(|skip| path.is_within(&skip.path)).map(|skip| skip.cause)
        };
        let [before, after] = entries;
        let change = match (before, after) {
            (Some(before), Some(after)) => {
                let aspects = aspects(&before, &after);
                if aspects.is_empty() {
                    self.totals.same += 1;
                    return None;
                }
                Change::Changed { before, after, aspects }
            }
            (Some(known), None) => match unread(1, &known.path) {
                Some(cause) => Change::Unread { known, unread_in: Side::After, cause },
                None => Change::Removed(known),
            },
            (None, Some(known)) => match unread(0, &known.path) {
                Some(cause) => Change::Unread { known, unread_in: Side::Before, cause },
                None => Change::Added(known),
            },
            (None, None) => return None,
        };
        self.totals.add(&change);
        Some(change)
    }
}

impl<R: ReadAt> Iterator for Changes<'_, R> {
    type Item = Result<Change, (Side, ManifestError<R::Error>)>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            let group = self.merged.next_group(&mut self.failures);
            if let Some((side, error)) = self.failures.pop_front() {
                self.failed = true;
                return Some(Err((if side == 0 { Side::Before } else { Side::After }, error)));
            }
            if let Some(change) = self.change(group?) {
                return Some(Ok(change));
            }
        }
        None
    }
}

fn aspects(before: &Entry, after: &Entry) -> Vec<Aspect> {
    use EntryKind::{File, Folder, HardLink, Symlink};
    let content_differs = match (&before.kind, &after.kind) {
        (File, File) => (before.sha256, before.size) != (after.sha256, after.size),
        (File | HardLink { .. }, File | HardLink { .. }) => (before.inode, before.mtime) != (after.inode, after.mtime),
        // the numbers of devices are part of what they are
        (before, after) => before != after,
    };
    let is_file = |entry: &Entry| matches!(entry.kind, File | HardLink { .. });
    let kind_differs = before.kind.word() != after.kind.word() && !(is_file(before) && is_file(after));
    let both_folders = matches!((&before.kind, &after.kind), (Folder, Folder));
    let both_links = matches!((&before.kind, &after.kind), (Symlink { .. }, Symlink { .. }));
    [
        (Aspect::Kind, kind_differs),
        (Aspect::Content, content_differs && !kind_differs),
        // a symlink's mode means nothing
        (Aspect::Mode, before.mode != after.mode && !both_links),
        (Aspect::Owner, (before.uid, before.gid) != (after.uid, after.gid)),
        (Aspect::Mtime, before.mtime != after.mtime && !both_folders),
        (Aspect::Xattrs, before.xattrs != after.xattrs),
    ]
    .into_iter()
    .filter_map(|(aspect, differs)| differs.then_some(aspect))
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hidden::hides;
    use super::super::model::{World, any_world, entry, names_path, path};
    use super::{Aspect, Change, DiffTotals, Side, aspects, diff};
    use crate::archive::manifest::{EntryKind, Line, SkipLine};
    use crate::domain::{ByteCount, Digest, EntryPath, FileTime, SkipCause};

    fn changes(before: &World, after: &World, at: &EntryPath, text_bytes: usize) -> (Vec<Change>, DiffTotals) {
        let (before, after) = (before.manifest(text_bytes), after.manifest(text_bytes));
        let mut changes = diff(&before, &after, at).expect("whole");
        let all = changes.by_ref().map(|change| change.expect("whole")).collect();
        (all, changes.totals())
    }

    /// The plain way: look every path up in both maps, and every folder above it for whether it was read.
    fn plainly(before: &World, after: &World, at: &EntryPath) -> Vec<Change> {
        let unread = |world: &World, of: &EntryPath| {
            let above: Vec<EntryPath> = std::iter::successors(Some(of.clone()), EntryPath::parent).collect();
            above.iter().rev().find_map(|folder| {
                world.lines_at(folder).iter().find_map(|line| match line {
                    Line::Skip(skip) if hides(skip) => Some(skip.cause),
                    _ => None,
                })
            })
        };
        let mut paths: Vec<&EntryPath> =
            before.lines.keys().chain(after.lines.keys()).filter(|p| p.is_within(at)).collect();
        paths.sort();
        paths.dedup();
        paths
            .into_iter()
            .filter_map(|path| match (before.entry_at(path), after.entry_at(path)) {
                (Some(before), Some(after)) => {
                    let aspects = aspects(&before, &after);
                    (!aspects.is_empty()).then_some(Change::Changed { before, after, aspects })
                }
                (Some(known), None) => Some(match unread(after, path) {
                    Some(cause) => Change::Unread { known, unread_in: Side::After, cause },
                    None => Change::Removed(known),
                }),
                (None, Some(known)) => Some(match unread(before, path) {
                    Some(cause) => Change::Unread { known, unread_in: Side::Before, cause },
                    None => Change::Added(known),
                }),
                (None, None) => None,
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_difference_is_what_two_plain_maps_have(
            before in any_world(), after in any_world(), at in prop::collection::vec(0usize..5, 0..2),
            text_bytes in 1usize..2000,
        ) {
            let at = names_path(&at);
            let (got, totals) = changes(&before, &after, &at, text_bytes);
            let expected = plainly(&before, &after, &at);
            let count = |wanted: &dyn Fn(&Change) -> bool| expected.iter().filter(|it| wanted(it)).count() as u64;
            prop_assert_eq!(totals.added, count(&|change| matches!(change, Change::Added(_))));
            prop_assert_eq!(totals.removed, count(&|change| matches!(change, Change::Removed(_))));
            prop_assert_eq!(totals.unread, count(&|change| matches!(change, Change::Unread { .. })));
            let in_both = count(&|change| matches!(change, Change::Changed { .. }));
            prop_assert_eq!(totals.changed + totals.metadata, in_both);
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn a_snapshot_does_not_differ_from_itself(world in any_world()) {
            let (got, totals) = changes(&world, &world, &EntryPath::root(), 300);
            prop_assert_eq!(got, []);
            let entries = world.lines.keys().filter(|at| world.entry_at(at).is_some()).count() as u64;
            prop_assert_eq!(totals, DiffTotals { same: entries, ..DiffTotals::default() });
        }
    }

    #[test]
    fn what_could_not_be_read_is_not_called_removed() {
        let before = World::of_files(&["a", "folder/x", "folder/y/z", "gone"]);
        let mut after = World::of_files(&["a"]);
        for at in ["folder", "gone"] {
            let skip = SkipLine { path: path(at), cause: SkipCause::Unreadable, why: String::new() };
            after.lines.insert(path(at), (None, Some(skip)));
        }
        after.lines.remove(&path("gone"));
        let (got, totals) = changes(&before, &after, &EntryPath::root(), 300);
        assert_eq!((totals.unread, totals.removed, totals.same), (2, 1, 1), "{got:?}");
        assert!(matches!(&got[2], Change::Removed(entry) if entry.path == path("gone")), "{got:?}");
        assert_eq!(totals.removed_bytes, ByteCount(1));
    }

    #[test]
    fn what_lay_in_a_folder_that_was_listed_in_part_is_not_called_removed() {
        let before = World::of_files(&["a", "folder/x/y"]);
        let mut after = World::of_files(&["a"]);
        let skip = SkipLine { path: path("folder"), cause: SkipCause::Unlisted, why: String::new() };
        after.lines.insert(path("folder"), (Some(entry("folder", EntryKind::Folder, 0)), Some(skip)));
        for at in [".", "folder", "folder/x", "folder/x/y"] {
            let (got, totals) = changes(&before, &after, &path(at), 300);
            assert_eq!((totals.unread, totals.removed), (1, 0), "{at}: {got:?}");
        }
        let mut changed = World::of_files(&["a"]);
        let skip = SkipLine { path: path("a"), cause: SkipCause::Changed, why: String::new() };
        changed.lines.insert(path("a"), (Some(entry("a", EntryKind::File, 1)), Some(skip)));
        assert_eq!(changes(&changed, &World::default(), &EntryPath::root(), 300).1.removed, 1);
    }

    #[test]
    fn each_aspect_is_told_apart() {
        let file = entry("a", EntryKind::File, 1);
        let differs = |harm: &dyn Fn(&mut super::Entry)| {
            let mut other = file.clone();
            harm(&mut other);
            aspects(&file, &other)
        };
        assert_eq!(differs(&|_| {}), []);
        assert_eq!(differs(&|e| e.sha256 = Some(Digest::of(b"other"))), [Aspect::Content]);
        assert_eq!(differs(&|e| e.mode = 0o600), [Aspect::Mode]);
        assert_eq!(differs(&|e| e.gid = 7), [Aspect::Owner]);
        assert_eq!(differs(&|e| e.mtime = FileTime { sec: 9, nsec: 9 }), [Aspect::Mtime]);
        assert_eq!(differs(&|e| e.xattrs = Some(Digest::of(b"x"))), [Aspect::Xattrs]);
        assert_eq!(differs(&|e| e.kind = EntryKind::Fifo), [Aspect::Kind]);
        assert_eq!(
            differs(&|e| (e.inode, e.ctime) = (7, FileTime { sec: 7, nsec: 7 })),
            [],
            "another disk, same files"
        );
        let mut folder = entry("a", EntryKind::Folder, 0);
        let before = folder.clone();
        folder.mtime = FileTime { sec: 9, nsec: 9 };
        assert_eq!(aspects(&before, &folder), [], "a folder's time is told by what is in it");
    }

    #[test]
    fn a_name_that_now_carries_the_content_is_not_a_change() {
        let link = entry("b", EntryKind::HardLink { first: path("a") }, 0);
        let file = entry("b", EntryKind::File, 1);
        assert_eq!(aspects(&link, &file), []);
        let mut other = file.clone();
        other.inode = 77;
        assert_eq!(aspects(&link, &other), [Aspect::Content]);
    }
}
