//! Whether an entry is written: what is to be there, what is there, and what was said about it. Pure.

use crate::archive::manifest::{Entry, EntryKind};
use crate::domain::{FileTime, Kind};

/// What happens to what is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// The folder has to be empty (or to hold the unfinished restore of the same snapshot).
    Refuse,
    /// What is there stays; what is missing is written.
    Never,
    /// What is older than the snapshot's is replaced.
    Older,
    /// What differs is replaced.
    Always,
}

impl Overwrite {
    /// Whether whatever differs gives way.
    pub(super) fn replaces(self) -> bool {
        matches!(self, Self::Always | Self::Refuse)
    }
}

/// What has the entry's name now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct There {
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) mtime: FileTime,
    pub(super) inode: (u64, u64),
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) links: u64,
    /// Where it points, if it is a symlink.
    pub(super) target: Option<Box<[u8]>>,
}

/// What is done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing is there: it is written.
    Make,
    /// It takes the place of what is there.
    Replace,
    /// It is there.
    Same,
    /// What is there stays.
    Keep,
    /// A folder is in the place of something else; folders are never removed for that.
    Blocked,
}

/// Decides for anything but a folder. Where an earlier restore is continued (`resumed`) that replaces what differs, what has
/// the length of a file is looked at, whatever its time is: a file system may not hold times as they were. But a time is
/// set last: without it nobody knows whether attributes were.
pub(super) fn decide(entry: &Entry, there: Option<&There>, overwrite: Overwrite, resumed: bool) -> Decision {
    let Some(there) = there else { return Decision::Make };
    if there.kind == Kind::Folder {
        return Decision::Blocked;
    }
    if is_same(entry, there, resumed && overwrite.replaces()) {
        return Decision::Same;
    }
    match overwrite {
        Overwrite::Never => Decision::Keep,
        Overwrite::Older if there.mtime >= entry.mtime => Decision::Keep,
        Overwrite::Older | Overwrite::Always | Overwrite::Refuse => Decision::Replace,
    }
}

/// A file of the same length and time may be the same: a time is set only on a file that is whole. But after a power cut
/// a file system may hold length and time without the bytes, so its content is compared before that is believed.
fn is_same(entry: &Entry, there: &There, at_any_time: bool) -> bool {
    match &entry.kind {
        EntryKind::File => {
            let may_be_whole = there.mtime == entry.mtime || (at_any_time && entry.xattrs.is_none());
            there.kind == Kind::File && there.size == entry.size && may_be_whole
        }
        EntryKind::Symlink { target } => there.target.as_ref() == Some(target) && there.mtime == entry.mtime,
        EntryKind::Fifo => there.kind == Kind::Fifo,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision, Overwrite, There, decide};
    use crate::archive::manifest::{Entry, EntryKind, Placed};
    use crate::domain::{Digest, EntryPath, FileTime, Kind, Owner};

    fn file(size: u64, sec: i64) -> Entry {
        Entry {
            path: EntryPath::root().join(b"a"),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            owner: Owner::default(),
            size,
            mtime: FileTime { sec, nsec: 5 },
            ctime: FileTime::default(),
            inode: 1,
            sha256: None,
            xattrs: None,
            sparse: false,
            changed: false,
            placed: Placed { volume: 0, offset: 0, body: 512, stored: size },
        }
    }

    #[test]
    fn every_policy_does_what_it_says_and_none_removes_a_folder() {
        use Decision::{Blocked, Keep, Make, Replace, Same};
        let there = |kind, size, sec| {
            Some(There {
                kind,
                size,
                mtime: FileTime { sec, nsec: 5 },
                inode: (1, 1),
                mode: 0o644,
                owner: (0, 0),
                links: 1,
                target: None,
            })
        };
        let all = [Overwrite::Refuse, Overwrite::Never, Overwrite::Older, Overwrite::Always];
        for (there, expected) in [
            (None, [Make; 4]),
            (there(Kind::File, 7, 100), [Same; 4]),
            (there(Kind::File, 8, 100), [Replace, Keep, Keep, Replace]),
            (there(Kind::File, 7, 99), [Replace, Keep, Replace, Replace]),
            (there(Kind::File, 7, 101), [Replace, Keep, Keep, Replace]),
            (there(Kind::Symlink, 7, 100), [Replace, Keep, Keep, Replace]),
            (there(Kind::Folder, 7, 100), [Blocked; 4]),
        ] {
            let decided = all.map(|overwrite| decide(&file(7, 100), there.as_ref(), overwrite, false));
            assert_eq!(decided, expected, "{there:?}");
        }
        let (rounded, cut) = (there(Kind::File, 7, 99), there(Kind::File, 6, 100));
        let resumed =
            |there: Option<There>| all.map(|overwrite| decide(&file(7, 100), there.as_ref(), overwrite, true));
        assert_eq!(resumed(rounded), [Same, Keep, Replace, Same], "its content is compared, or it is left");
        assert_eq!(resumed(cut), [Replace, Keep, Keep, Replace]);
        let dressed = Entry { xattrs: Some(Digest::of(b"x")), ..file(7, 100) };
        assert_eq!(decide(&dressed, there(Kind::File, 7, 99).as_ref(), Overwrite::Refuse, true), Replace);
    }
}
