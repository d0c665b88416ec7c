//! What becomes of files that change between the moment they are listed and the moment they are read: plan and worker
//! in one thread, so that somebody else's deeds fall where a test puts them.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::make::{MadeLine, Maker};
use super::super::pipeline::Work;
use super::{Circumstances, PlanEnd, Planner};
use crate::archive::manifest::{Entry, EntryKind};
use crate::archive::{Codec, StoredFrame};
use crate::domain::{Cancel, EntryPath, Halt, Skip, SkipCause, SystemClock};
use crate::observe::Silent;
use crate::source::{Descriptors, Found, Item, Names, Naming, Walk, WalkOptions, open_roots};

/// The lines that a run without a snapshot before would write of the files in `source`. Before the plan hears of one,
/// `meanwhile` is called with it.
fn stored(source: &Path, mut meanwhile: impl FnMut(&mut Found)) -> (Vec<Entry>, Vec<Skip>) {
    let threads = NonZeroUsize::MIN;
    let roots = open_roots(&[source.to_owned()], Naming::of(1, 0), &Descriptors::for_this_process()).expect("a source");
    let work = Work {
        codec: Codec::None,
        threads,
        names: &Names::load(),
        roots: vec![EntryPath::root()],
        commands: &[],
        clock: &SystemClock::new(),
        cancel: &Cancel::new(),
        observer: &Silent,
    };
    let (mut entries, mut skips) = (Vec::new(), Vec::new());
    let mut maker = Maker::new(&work, Halt::default());
    let Work { names, cancel, observer, .. } = work;
    let circumstances = Circumstances { names, prover: work.prover(), cancel, observer };
    let give = |plan| {
        let made = maker.make(plan, StoredFrame::default()).expect("nobody halts");
        for line in made.lines {
            match line {
                MadeLine::Entry { entry, .. } if !matches!(entry.kind, EntryKind::Folder) => entries.push(entry),
                MadeLine::Skip(skip) => skips.push(skip),
                _ => {}
            }
        }
        true
    };
    let walk = Walk::new(roots, WalkOptions::everything(threads)).map(|mut item| {
        if let Item::Entry(found) = &mut item {
            meanwhile(found);
        }
        item
    });
    let end = Planner::new(circumstances, None, Vec::new(), &[], work.roots.clone(), give).plan(walk);
    assert!(matches!(end, PlanEnd::Done(_)));
    (entries, skips)
}

fn kinds(entries: &[Entry]) -> Vec<(String, EntryKind)> {
    entries.iter().map(|entry| (entry.path.to_string(), entry.kind.clone())).collect()
}

fn link_to(first: &str) -> EntryKind {
    EntryKind::HardLink { first: EntryPath::parse(first.as_bytes()).expect("a path") }
}

/// A file that has that length, and no hole.
fn make(path: &Path, len: usize) {
    fs::write(path, vec![b'x'; len]).expect("a file");
}

fn append(path: &Path, len: usize) {
    let end = fs::metadata(path).expect("a file").len();
    let file = fs::File::options().write(true).open(path).expect("a file");
    file.write_all_at(&vec![b'y'; len], end).expect("written");
}

/// It was stored a second time, under some length failed the whole run, and above it was missing.
#[test]
fn names_of_a_file_that_is_written_between_their_listings_stay_names_of_one_file() {
    for len in [1000, (1 << 20) + 1, 40 << 20] {
        let source = tempfile::tempdir().expect("a folder");
        make(&source.path().join("a"), len);
        fs::hard_link(source.path().join("a"), source.path().join("b")).expect("a link");
        let (entries, skips) = stored(source.path(), |found| {
            if found.path.as_bytes() == b"b" {
                append(&source.path().join("b"), 1000);
                found.stat = found.place.stat().expect("it is there");
                // and on it goes
                append(&source.path().join("b"), 1000);
            }
        });
        assert_eq!(kinds(&entries), [("a".to_owned(), EntryKind::File), ("b".to_owned(), link_to("a"))], "{len}");
        let only_growth = skips.iter().all(|skip| skip.cause == SkipCause::Changed && skip.path.as_bytes() == b"a");
        assert!(only_growth, "{len}: {skips:?}");
    }
}

#[test]
fn another_file_under_the_number_of_a_linked_one_is_no_name_of_it_and_too_long_for_a_frame_is_told() {
    for (len, is_stored) in [(2000, true), (2 << 20, true), (33 << 20, false)] {
        let source = tempfile::tempdir().expect("a folder");
        make(&source.path().join("a"), 1000);
        fs::hard_link(source.path().join("a"), source.path().join("b")).expect("a link");
        make(&source.path().join("other"), len);
        let (entries, skips) = stored(source.path(), |found| {
            let is_b = found.path.as_bytes() == b"b";
            if is_b {
                // as if the number had been free, and was given to it
                let (inode, links) = (found.stat.inode, found.stat.links);
                fs::rename(source.path().join("other"), source.path().join("b")).expect("renamed");
                found.stat = found.place.stat().expect("it is there");
                (found.stat.inode, found.stat.links) = (inode, links);
                append(&source.path().join("b"), 1);
            }
        });
        let b = entries.iter().find(|entry| entry.path.as_bytes() == b"b");
        assert_eq!(b.map(|b| (b.kind.clone(), b.size)), is_stored.then_some((EntryKind::File, len as u64 + 1)));
        assert_eq!(skips.iter().any(|skip| skip.path.as_bytes() == b"b"), !is_stored, "{skips:?}");
    }
}

/// Short ones were read all the same, and long ones were missing. The other names would be links to what has nothing to
/// do with them.
#[test]
fn a_file_that_another_has_replaced_since_it_was_listed_is_stored_as_that_and_its_other_names_as_what_they_are() {
    for (listed, now) in [(1000, 1001), (2 << 20, (2 << 20) + 1), (2 << 20, 1001), (1000, 2 << 20)] {
        let source = tempfile::tempdir().expect("a folder");
        make(&source.path().join("a"), listed);
        fs::hard_link(source.path().join("a"), source.path().join("b")).expect("a link");
        make(&source.path().join("single"), listed);
        let (entries, skips) = stored(source.path(), |found| {
            if found.path.as_bytes() == b"a" || found.path.as_bytes() == b"single" {
                let path = source.path().join(found.path.to_string());
                make(&source.path().join("new"), now);
                fs::rename(source.path().join("new"), path).expect("renamed");
            }
        });
        assert!(skips.iter().all(|skip| skip.cause == SkipCause::Changed), "{listed} {now}: {skips:?}");
        let sizes = entries.iter().map(|entry| (entry.path.to_string(), entry.kind.clone(), entry.size as usize));
        let file = |name: &str, size| (name.to_owned(), EntryKind::File, size);
        let expected = [file("a", now), file("b", listed), file("single", now)];
        assert_eq!(sizes.collect::<Vec<_>>(), expected, "{listed} {now}");
    }
}
