//! Whether an entry is still what the snapshot before says: by what the kernel tells, nothing is opened.
//!
//! The danger is a change that cannot be seen. A file that was written twice within one tick of its file system's clock
//! looks the same after both; so what was touched shortly before the earlier run began, or later, is in doubt, and its
//! content decides. ctime moves with every change of content, metadata or extended attributes and cannot be set by
//! hand: where it stands still, attributes need not be read.
//!
//! Pure: values in, a verdict out.

use crate::archive::manifest::{Entry, EntryKind};
use crate::domain::{Digest, FileTime, Kind, Stat};

/// How far before the start of the earlier run a time must lie to be believed: the coarsest clock of a file system in
/// use is that of FAT, with two seconds.
const GRAIN_SECONDS: i64 = 2;

/// What may be compared on this source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Times before this one cannot hide a later write.
    pub(super) safe_before: FileTime,
    /// Whether ctime means something there. If not, whoever believes [`Likeness::Same`] reads extended attributes.
    pub(super) ctime: bool,
    /// Whether inode numbers stay what they are there.
    pub(super) inode: bool,
}

impl Rules {
    /// For an earlier run that began at `began`.
    pub(super) fn new(began: jiff::Timestamp, ctime: bool, inode: bool) -> Self {
        let safe_before = FileTime { sec: began.as_second() - GRAIN_SECONDS, nsec: 0 };
        Self { safe_before, ctime, inode }
    }
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It is what it was.
    Same,
    /// Only its content (and its attributes) can tell.
    Doubtful,
    /// It is another, or its metadata is.
    Other,
}

/// Compares an entry of the walk with the line of its path.
pub(super) fn likeness(stat: &Stat, before: &Entry, rules: &Rules) -> Likeness {
    let metadata = (stat.mode, stat.uid, stat.gid, stat.mtime) == (before.mode, before.uid, before.gid, before.mtime);
    if before.changed || !metadata || !is_of_kind(stat, before) {
        return Likeness::Other;
    }
    let moved = (rules.ctime && stat.ctime != before.ctime) || (rules.inode && stat.inode != before.inode);
    if moved && stat.kind != Kind::File {
        // a header costs less than a look
        return Likeness::Other;
    }
    let recent = stat.mtime >= rules.safe_before || (rules.ctime && stat.ctime >= rules.safe_before);
    if moved || recent { Likeness::Doubtful } else { Likeness::Same }
}

fn is_of_kind(stat: &Stat, before: &Entry) -> bool {
    let more = match &before.kind {
        EntryKind::File => stat.size == before.size,
        EntryKind::HardLink { .. } => stat.links > 1,
        EntryKind::CharDevice { special } | EntryKind::BlockDevice { special } => stat.special == *special,
        EntryKind::Folder | EntryKind::Symlink { .. } | EntryKind::Fifo => true,
    };
    stat.kind == before.kind.kind() && more
}

/// The content that a file must have, because nothing can have changed it since it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    sha256: Digest,
    mtime: FileTime,
    sparse: bool,
    stored: u64,
}

impl Expected {
    /// Of an entry that was found to be like `before`.
    pub(super) fn of(before: &Entry, verdict: Likeness) -> Option<Self> {
        let sha256 = before.sha256.filter(|_| verdict == Likeness::Same)?;
        Some(Self { sha256, mtime: before.mtime, sparse: before.sparse, stored: before.placed.stored })
    }

    /// Whether the file, as it was stored now, holds another. The digest of a sparse one covers the map of its holes as
    /// well, and a map may move alone: one that has another length says nothing. Nor does a file that was written after
    /// it was listed.
    pub(super) fn is_other(&self, now: &Entry) -> bool {
        let is_comparable = (now.mtime, now.sparse, now.placed.stored) == (self.mtime, self.sparse, self.stored);
        is_comparable && now.sha256.is_some_and(|sha256| sha256 != self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, Likeness, Rules, likeness};
    use crate::archive::manifest::{Entry, EntryKind, Placed};
    use crate::domain::{Digest, EntryPath, FileTime, Kind, Owner, Stat};

    const AT: FileTime = FileTime { sec: 1000, nsec: 7 };

    fn stat(kind: Kind) -> Stat {
        Stat {
            kind,
            mode: 0o644,
            uid: 1,
            gid: 2,
            size: 10,
            allocated: 512,
            mtime: AT,
            ctime: AT,
            device: (8, 1),
            inode: 77,
            links: 1,
            special: (3, 4),
            mount_root: false,
        }
    }

    fn entry(kind: EntryKind) -> Entry {
        let is_file = kind == EntryKind::File;
        Entry {
            path: EntryPath::parse(b"a").expect("a path"),
            kind,
            mode: 0o644,
            uid: 1,
            gid: 2,
            owner: Owner::default(),
            size: if is_file { 10 } else { 0 },
            mtime: AT,
            ctime: AT,
            inode: 77,
            sha256: is_file.then(|| Digest::of(b"x")),
            xattrs: None,
            sparse: false,
            changed: false,
            placed: Placed { volume: 0, offset: 0, body: 512, stored: 10 },
        }
    }

    fn rules() -> Rules {
        Rules { safe_before: FileTime { sec: 1001, nsec: 0 }, ctime: true, inode: true }
    }

    fn all_kinds() -> Vec<(Kind, EntryKind)> {
        vec![
            (Kind::File, EntryKind::File),
            (Kind::Folder, EntryKind::Folder),
            (Kind::Symlink, EntryKind::Symlink { target: b"t".as_slice().into() }),
            (Kind::Fifo, EntryKind::Fifo),
            (Kind::CharDevice, EntryKind::CharDevice { special: (3, 4) }),
            (Kind::BlockDevice, EntryKind::BlockDevice { special: (3, 4) }),
        ]
    }

    #[test]
    fn what_did_not_move_is_the_same_and_a_kind_is_only_like_itself() {
        for (at, (kind, _)) in all_kinds().into_iter().enumerate() {
            for (other_at, (_, before)) in all_kinds().into_iter().enumerate() {
                let expected = if at == other_at { Likeness::Same } else { Likeness::Other };
                assert_eq!(likeness(&stat(kind), &entry(before.clone()), &rules()), expected, "{kind:?} {before:?}");
            }
        }
    }

    #[test]
    fn every_difference_that_the_kernel_tells_is_seen() {
        type Change = fn(&mut Stat);
        let always: [(&str, Change); 5] = [
            ("mode", |s| s.mode ^= 1),
            ("owner", |s| s.uid += 1),
            ("group", |s| s.gid += 1),
            ("a nanosecond of mtime", |s| s.mtime.nsec += 1),
            ("an earlier mtime", |s| s.mtime.sec -= 1),
        ];
        for (kind, before) in all_kinds() {
            for (what, change) in always {
                let mut now = stat(kind);
                change(&mut now);
                assert_eq!(likeness(&now, &entry(before.clone()), &rules()), Likeness::Other, "{what} of {kind:?}");
            }
            let moved: [(&str, Change); 2] = [("ctime", |s| s.ctime.nsec += 1), ("inode", |s| s.inode += 1)];
            for (what, change) in moved {
                let mut now = stat(kind);
                change(&mut now);
                let expected = if kind == Kind::File { Likeness::Doubtful } else { Likeness::Other };
                assert_eq!(likeness(&now, &entry(before.clone()), &rules()), expected, "{what} of {kind:?}");
            }
        }
        let mut longer = stat(Kind::File);
        longer.size += 1;
        assert_eq!(likeness(&longer, &entry(EntryKind::File), &rules()), Likeness::Other);
        let mut device = stat(Kind::CharDevice);
        device.special.1 += 1;
        let before = entry(EntryKind::CharDevice { special: (3, 4) });
        assert_eq!(likeness(&device, &before, &rules()), Likeness::Other);
        let torn = Entry { changed: true, ..entry(EntryKind::File) };
        assert_eq!(likeness(&stat(Kind::File), &torn, &rules()), Likeness::Other, "it was stored torn");
    }

    #[test]
    fn a_time_within_the_clocks_grain_of_the_earlier_run_is_in_doubt() {
        for (safe_before, expected) in [
            (FileTime { sec: 1000, nsec: 8 }, Likeness::Same),
            (FileTime { sec: 1000, nsec: 7 }, Likeness::Doubtful),
            (FileTime { sec: 999, nsec: 0 }, Likeness::Doubtful),
        ] {
            let rules = Rules { safe_before, ..rules() };
            assert_eq!(likeness(&stat(Kind::File), &entry(EntryKind::File), &rules), expected, "{safe_before:?}");
        }
        let rules = Rules::new("1970-01-01T00:16:42.9Z".parse().expect("a time"), true, true);
        assert_eq!(rules.safe_before, FileTime { sec: 1000, nsec: 0 }, "two seconds before 1002.9, rounded down");
    }

    #[test]
    fn another_content_is_silent_only_where_nothing_says_that_the_file_or_the_map_of_its_holes_changed() {
        for sparse in [false, true] {
            let before = Entry { sparse, ..entry(EntryKind::File) };
            assert_eq!(Expected::of(&before, Likeness::Doubtful), None);
            let expected = Expected::of(&before, Likeness::Same).expect("it must be the same");
            assert!(!expected.is_other(&before));
            let rotten = Entry { sha256: Some(Digest::of(b"y")), ..before };
            assert!(expected.is_other(&rotten));
            let written = Entry { mtime: FileTime { nsec: 8, ..AT }, ..rotten.clone() };
            assert!(!expected.is_other(&written), "after it was listed");
            let moved = Entry { placed: Placed { stored: 11, ..rotten.placed }, ..rotten.clone() };
            assert!(!expected.is_other(&moved));
            assert!(!expected.is_other(&Entry { sparse: !sparse, ..rotten }));
        }
    }

    #[test]
    fn what_means_nothing_on_a_source_is_not_compared() {
        let mut now = stat(Kind::File);
        now.inode += 1;
        let no_inode = Rules { inode: false, ..rules() };
        assert_eq!(likeness(&now, &entry(EntryKind::File), &no_inode), Likeness::Same);
        let no_ctime = Rules { ctime: false, ..rules() };
        now = stat(Kind::File);
        now.ctime.sec += 5;
        assert_eq!(likeness(&now, &entry(EntryKind::File), &no_ctime), Likeness::Same);
        now.mtime.nsec += 1;
        assert_eq!(likeness(&now, &entry(EntryKind::File), &no_ctime), Likeness::Other);
    }

    #[test]
    fn a_further_name_is_like_a_file_only_while_the_file_has_several() {
        let before = entry(EntryKind::HardLink { first: EntryPath::parse(b"b").expect("a path") });
        assert_eq!(likeness(&stat(Kind::File), &before, &rules()), Likeness::Other);
        let two = Stat { links: 2, ..stat(Kind::File) };
        assert_eq!(likeness(&two, &before, &rules()), Likeness::Same);
    }
}
