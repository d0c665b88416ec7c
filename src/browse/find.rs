//! In which snapshots a file is, and in how many versions.
//!
//! Versions are told apart by what they are, their sha256, size and time; a folder is one version as long as it is a
//! folder. A further hard link carries no sha256 of its own: it is told apart by its inode and time.
//!
//! Memory is one line of each snapshot and the versions of the path at hand. Entries that do not match are not even
//! parsed.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::merge::{Group, Merged};
use super::pattern::{Pattern, Scope};
use crate::archive::manifest::{Entry, EntryKind, Line, ManifestError, ManifestReader, OrderedLines, ReadAt, SkipLine};
use crate::domain::{ByteCount, EntryPath, FileTime};

/// What kind of entry is looked for. Hard links are files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindWanted {
    /// Regular files.
    File,
    /// Folders.
    Folder,
    /// Symlinks.
    Symlink,
}

/// What is looked for: all that is given must fit.
#[derive(Clone, Debug)]
pub struct Criteria {
    /// The path.
    pub pattern: Pattern,
    /// Only files with more bytes than this.
    pub larger: Option<ByteCount>,
    /// Only files with fewer bytes than this.
    pub smaller: Option<ByteCount>,
    /// Only what was changed at this time or later.
    pub newer: Option<Timestamp>,
    /// Only what was changed before this time.
    pub older: Option<Timestamp>,
    /// Only this kind.
    pub kind: Option<KindWanted>,
}

impl Criteria {
    /// Only the path counts.
    pub fn of(pattern: Pattern) -> Self {
        Self { pattern, larger: None, smaller: None, newer: None, older: None, kind: None }
    }

    /// Whether an entry is looked for.
    pub fn fits(&self, entry: &Entry) -> bool {
        let is_file = matches!(entry.kind, EntryKind::File);
        let kind_fits = match self.kind {
            None => true,
            Some(KindWanted::File) => matches!(entry.kind, EntryKind::File | EntryKind::HardLink { .. }),
            Some(KindWanted::Folder) => entry.kind == EntryKind::Folder,
            Some(KindWanted::Symlink) => matches!(entry.kind, EntryKind::Symlink { .. }),
        };
        let changed = entry.mtime.as_nanos();
        kind_fits
            && self.larger.is_none_or(|bytes| is_file && entry.size > bytes.0)
            && self.smaller.is_none_or(|bytes| is_file && entry.size < bytes.0)
            && self.newer.is_none_or(|time| changed >= time.as_nanosecond())
            && self.older.is_none_or(|time| changed < time.as_nanosecond())
            && self.pattern.matches(&entry.path, entry.kind == EntryKind::Folder)
    }

    /// Whether what could not be read might be what is looked for: of that nothing but the path is known.
    fn may_be(&self, skip: &SkipLine) -> bool {
        let nothing_else =
            self.larger.is_none() && self.smaller.is_none() && self.newer.is_none() && self.older.is_none();
        nothing_else && self.kind.is_none() && !skip.cause.is_stored() && self.pattern.matches(&skip.path, true)
    }
}

/// One version of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As it is in the newest snapshot that holds it.
    pub entry: Box<Entry>,
    /// The numbers of the manifests that hold it, rising; never empty.
    pub held_by: Vec<usize>,
}

/// A path that was found. Of `versions` and `missing` one at least is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Where.
    pub path: EntryPath,
    /// Its versions, in the order in which they first appear.
    pub versions: Vec<Version>,
    /// The manifests that tell of it that it was there and could not be stored, with why.
    pub missing: Vec<(usize, SkipLine)>,
}

/// What [`find`] gives: sightings in order of paths, and the failures of manifests, each with its number. A manifest
/// that failed is not looked at any further; the others are.
pub struct Sightings<'a, R: ReadAt> {
    merged: Merged<OrderedLines<'a, R>>,
    criteria: &'a Criteria,
    failures: VecDeque<(usize, ManifestError<R::Error>)>,
    ready: Option<Sighting>,
}

/// Looks for `criteria` in `manifests`, which come oldest first.
pub fn find<'a, R: ReadAt>(manifests: &'a [ManifestReader<R>], criteria: &'a Criteria) -> Sightings<'a, R> {
    let stream = |manifest: &'a ManifestReader<R>| match criteria.pattern.scope() {
        Scope::Within(folder) => manifest.lines_within(folder).only(|path| criteria.pattern.may_match(path)),
        Scope::Exactly(path) => manifest.lines_at(path),
    };
    let merged = Merged::new(manifests.iter().map(stream).collect());
    Sightings { merged, criteria, failures: VecDeque::new(), ready: None }
}

impl<R: ReadAt> Sightings<'_, R> {
    fn sighting(&self, group: Group) -> Option<Sighting> {
        let (mut versions, mut missing): (Vec<Version>, Vec<(usize, SkipLine)>) = (Vec::new(), Vec::new());
        for (number, line) in group.lines {
            match line {
                Line::Entry(entry) if self.criteria.fits(&entry) => {
                    match versions.iter_mut().find(|version| is_same(&version.entry, &entry)) {
                        Some(version) => {
                            version.entry = entry;
                            version.held_by.push(number);
                        }
                        None => versions.push(Version { entry, held_by: vec![number] }),
                    }
                }
                Line::Skip(skip) if self.criteria.may_be(&skip) => missing.push((number, skip)),
                Line::Entry(_) | Line::Skip(_) => {}
            }
        }
        let found = !versions.is_empty() || !missing.is_empty();
        found.then_some(Sighting { path: group.path, versions, missing })
    }
}

impl<R: ReadAt> Iterator for Sightings<'_, R> {
    type Item = Result<Sighting, (usize, ManifestError<R::Error>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(failure) = self.failures.pop_front() {
                return Some(Err(failure));
            }
            if let Some(ready) = self.ready.take() {
                return Some(Ok(ready));
            }
            let group = self.merged.next_group(&mut self.failures);
            if group.is_none() && self.failures.is_empty() {
                return None;
            }
            self.ready = group.and_then(|group| self.sighting(group));
        }
    }
}

fn is_same(a: &Entry, b: &Entry) -> bool {
    let identity = |entry: &Entry| -> (Option<crate::domain::Digest>, u64, Option<FileTime>, Option<u64>) {
        match entry.kind {
            EntryKind::Folder => (None, 0, None, None),
            EntryKind::HardLink { .. } => (None, 0, Some(entry.mtime), Some(entry.inode)),
            _ => (entry.sha256, entry.size, Some(entry.mtime), None),
        }
    };
    let same_kind = match (&a.kind, &b.kind) {
        (EntryKind::HardLink { .. }, EntryKind::HardLink { .. }) => true,
        (a, b) => a == b,
    };
    same_kind && identity(a) == identity(b)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::model::{World, any_world, entry, path};
    use super::{Criteria, KindWanted, Pattern, find, is_same};
    use crate::archive::manifest::{Entry, EntryKind, Line, SkipLine};
    use crate::domain::{ByteCount, Digest, EntryPath, FileTime};

    fn any_criteria() -> impl Strategy<Value = Criteria> {
        let pattern = prop_oneof![
            Just("*"),
            Just("a"),
            Just("a*"),
            Just("/a"),
            Just("a/b"),
            Just("a/*"),
            Just("**/b"),
            Just("a/**"),
            Just("b/"),
        ];
        let kind = prop_oneof![
            3 => Just(None), 1 => Just(Some(KindWanted::File)), 1 => Just(Some(KindWanted::Folder)),
            1 => Just(Some(KindWanted::Symlink)),
        ];
        let bytes = || prop::option::weighted(0.2, (0u64..4).prop_map(ByteCount));
        let time =
            || prop::option::weighted(0.2, (0i64..4).prop_map(|s| jiff::Timestamp::from_second(s).expect("a time")));
        (pattern, bytes(), bytes(), time(), time(), kind).prop_map(|(pattern, larger, smaller, newer, older, kind)| {
            Criteria { pattern: Pattern::new(pattern).expect("a pattern"), larger, smaller, newer, older, kind }
        })
    }

    /// The plain way: everything in one map.
    type Found = BTreeMap<EntryPath, (Vec<(Entry, Vec<usize>)>, Vec<(usize, SkipLine)>)>;

    fn plainly(worlds: &[World], criteria: &Criteria) -> Found {
        let mut found = Found::new();
        for (number, world) in worlds.iter().enumerate() {
            for line in world.lines.keys().flat_map(|at| world.lines_at(at)) {
                match line {
                    Line::Entry(entry) if criteria.fits(&entry) => {
                        let versions = &mut found.entry(entry.path.clone()).or_default().0;
                        let known = versions.iter().position(|(known, _)| is_same(known, &entry));
                        let mut held_by = known.map(|at| std::mem::take(&mut versions[at].1)).unwrap_or_default();
                        held_by.push(number);
                        match known {
                            Some(at) => versions[at] = (*entry, held_by),
                            None => versions.push((*entry, held_by)),
                        }
                    }
                    Line::Skip(skip) if criteria.may_be(&skip) => {
                        found.entry(skip.path.clone()).or_default().1.push((number, skip));
                    }
                    Line::Entry(_) | Line::Skip(_) => {}
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_a_plain_map_has(
            worlds in prop::collection::vec(any_world(), 0..5), criteria in any_criteria(), text_bytes in 1usize..2000,
        ) {
            let manifests: Vec<_> = worlds.iter().map(|world| world.manifest(text_bytes)).collect();
            let mut got = Found::new();
            let mut last = None;
            for sighting in find(&manifests, &criteria) {
                let sighting = sighting.expect("whole");
                prop_assert!(last.as_ref() < Some(&sighting.path), "sorted, each path once");
                last = Some(sighting.path.clone());
                let versions = sighting.versions.into_iter().map(|v| (*v.entry, v.held_by)).collect();
                got.insert(sighting.path, (versions, sighting.missing));
            }
            prop_assert_eq!(got, plainly(&worlds, &criteria));
        }
    }

    #[test]
    fn sizes_are_of_files_alone_and_times_begin_where_they_say() {
        let mut file = entry("a", EntryKind::File, 10);
        file.mtime = FileTime { sec: 5, nsec: 500 };
        let all = Criteria::of(Pattern::new("a").expect("a pattern"));
        let time = |sec, nsec| Some(jiff::Timestamp::new(sec, nsec).expect("a time"));
        for (criteria, fits) in [
            (Criteria { larger: Some(ByteCount(9)), ..all.clone() }, true),
            (Criteria { larger: Some(ByteCount(10)), ..all.clone() }, false),
            (Criteria { smaller: Some(ByteCount(11)), ..all.clone() }, true),
            (Criteria { smaller: Some(ByteCount(10)), ..all.clone() }, false),
            (Criteria { newer: time(5, 500), ..all.clone() }, true),
            (Criteria { newer: time(5, 501), ..all.clone() }, false),
            (Criteria { older: time(5, 501), ..all.clone() }, true),
            (Criteria { older: time(5, 500), ..all.clone() }, false),
            (Criteria { kind: Some(KindWanted::File), ..all.clone() }, true),
            (Criteria { kind: Some(KindWanted::Folder), ..all.clone() }, false),
        ] {
            assert_eq!(criteria.fits(&file), fits, "{criteria:?}");
        }
        let none_smaller = Criteria { smaller: Some(ByteCount(1)), ..all };
        assert!(!none_smaller.fits(&entry("a", EntryKind::Folder, 0)), "a folder has no size");
    }

    #[test]
    fn versions_are_told_apart_by_content_size_and_time() {
        let file = entry("a", EntryKind::File, 1);
        let with = |harm: &dyn Fn(&mut Entry)| {
            let mut other = file.clone();
            harm(&mut other);
            is_same(&file, &other)
        };
        assert!(with(&|e| (e.mode, e.ctime) = (0o600, FileTime { sec: 9, nsec: 9 })));
        assert!(!with(&|e| e.sha256 = Some(Digest::of(b"other"))));
        assert!(!with(&|e| e.size = 2));
        assert!(!with(&|e| e.mtime = FileTime { sec: 9, nsec: 9 }));
        assert!(!with(&|e| e.kind = EntryKind::Fifo));
        let folder = entry("a", EntryKind::Folder, 0);
        assert!(is_same(&folder, &Entry { mtime: FileTime { sec: 9, nsec: 9 }, ..folder.clone() }));
    }

    #[test]
    fn a_damaged_manifest_is_told_of_and_hides_nothing_of_the_others() {
        let world = World::of_files(&["a", "b", "c"]);
        let harmed = {
            let mut bytes = world.bytes(1);
            // the second frame of text: after the header's
            let at = bytes.len() / 4;
            bytes[at..at + 8].fill(0xee);
            bytes
        };
        let Ok(harmed) = crate::archive::manifest::ManifestReader::open(harmed) else { panic!("its ends are whole") };
        let manifests = [world.manifest(1), harmed, world.manifest(1)];
        let criteria = Criteria::of(Pattern::new("*").expect("a pattern"));
        let (found, failed): (Vec<_>, Vec<_>) = find(&manifests, &criteria).partition(Result::is_ok);
        let failed: Vec<usize> = failed.into_iter().filter_map(Result::err).map(|(number, _)| number).collect();
        assert_eq!(failed, [1]);
        let found: Vec<_> = found.into_iter().filter_map(Result::ok).collect();
        assert_eq!(found.iter().map(|s| s.path.clone()).collect::<Vec<_>>(), ["a", "b", "c"].map(path));
        assert!(found.iter().all(|s| s.versions[0].held_by.starts_with(&[0]) && s.versions[0].held_by.ends_with(&[2])));
    }
}
