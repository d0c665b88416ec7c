//! Snapshots as plain maps, for the tests of this room: what browsing is compared with. Never compiled into the
//! program.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;

use crate::archive::Codec;
use crate::archive::manifest::{
    Entry, EntryKind, Header, Line, ManifestReader, ManifestWriter, Placed, ReadAt, SkipLine, VolumeLine,
};
use crate::domain::{Digest, EntryPath, FileTime, Owner, RunId, SkipCause};

/// A snapshot: of each path its entry, its skip, or both.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) lines: BTreeMap<EntryPath, (Option<Entry>, Option<SkipLine>)>,
}

/// A manifest's bytes, and how often they were asked for.
pub(super) struct Counting {
    bytes: Vec<u8>,
    pub(super) reads: Rc<Cell<usize>>,
}

impl ReadAt for Counting {
    type Error = std::io::Error;

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), std::io::Error> {
        self.reads.set(self.reads.get() + 1);
        self.bytes.read_at(offset, into)
    }
}

pub(super) fn path(text: &str) -> EntryPath {
    EntryPath::parse(text.as_bytes()).expect("a path")
}

/// Names that sort before and after a slash, and one that is not UTF-8.
pub(super) fn names_path(parts: &[usize]) -> EntryPath {
    let names: [&[u8]; 5] = [b"a", b"a-", b"a.b", b"b", b"\xff\""];
    parts.iter().fold(EntryPath::root(), |at, part| at.join(names[*part]))
}

pub(super) fn entry(at: &str, kind: EntryKind, size: u64) -> Entry {
    let is_file = kind == EntryKind::File;
    Entry {
        path: path(at),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        owner: Owner::default(),
        size,
        mtime: FileTime { sec: 1, nsec: 0 },
        ctime: FileTime { sec: 1, nsec: 0 },
        inode: 1,
        sha256: is_file.then(|| Digest::of(&size.to_le_bytes())),
        xattrs: None,
        sparse: false,
        changed: false,
        placed: Placed { volume: 0, offset: 0, body: 512, stored: size },
    }
}

impl World {
    /// Files of one byte, and no folders.
    pub(super) fn of_files(paths: &[&str]) -> Self {
        let lines = paths.iter().map(|at| (path(at), (Some(entry(at, EntryKind::File, 1)), None)));
        Self { lines: lines.collect() }
    }

    pub(super) fn entry_at(&self, at: &EntryPath) -> Option<Box<Entry>> {
        self.lines.get(at).and_then(|(entry, _)| entry.clone()).map(Box::new)
    }

    pub(super) fn lines_at(&self, at: &EntryPath) -> Vec<Line> {
        let Some((entry, skip)) = self.lines.get(at).cloned() else { return Vec::new() };
        entry.map(|entry| Line::Entry(Box::new(entry))).into_iter().chain(skip.map(Line::Skip)).collect()
    }

    pub(super) fn bytes(&self, text_bytes: usize) -> Vec<u8> {
        let header = Header {
            manifest: 1,
            job: "upload".parse().expect("a job"),
            snapshot: "upload-20261121T020000Z".parse().expect("a snapshot"),
            run: RunId::from_random([1; 16]),
            tool: "a test".to_owned(),
            started: None,
        };
        let mut out = Vec::new();
        let mut writer = ManifestWriter::with_text_bytes(&header, text_bytes, &mut out);
        for line in self.lines.keys().flat_map(|at| self.lines_at(at)) {
            match line {
                Line::Entry(entry) => writer.entry(&entry, &mut out),
                Line::Skip(skip) => writer.skip(&skip, &mut out),
            }
        }
        let volume = VolumeLine {
            volume: 0,
            name: "v.tar.zst".to_owned(),
            codec: Codec::default(),
            size: 1,
            raw_size: 2,
            frames: 0,
            sha256: Digest::of(b"v"),
        };
        writer.volume(&volume, &mut out);
        writer.finish(&mut out);
        out
    }

    pub(super) fn counted(&self, text_bytes: usize) -> (ManifestReader<Counting>, Rc<Cell<usize>>) {
        let reads = Rc::new(Cell::new(0));
        let bytes = Counting { bytes: self.bytes(text_bytes), reads: Rc::clone(&reads) };
        let manifest = ManifestReader::open(bytes).expect("a manifest");
        reads.set(0);
        (manifest, reads)
    }

    pub(super) fn manifest(&self, text_bytes: usize) -> ManifestReader<Vec<u8>> {
        ManifestReader::open(self.bytes(text_bytes)).expect("a manifest")
    }
}

prop_compose! {
    fn any_entry()(
        kind in prop_oneof![
            4 => Just(EntryKind::File), 3 => Just(EntryKind::Folder), 1 => Just(EntryKind::Fifo),
            1 => Just(EntryKind::Symlink { target: b"x".as_slice().into() }),
            1 => Just(EntryKind::Symlink { target: b"y".as_slice().into() }),
            1 => Just(EntryKind::HardLink { first: path("a") }),
        ],
        size in 0u64..4, sec in 0i64..4, mode in prop_oneof![9 => Just(0o644), 1 => Just(0o600)], inode in 1u64..3,
    ) -> Entry {
        let size = if kind == EntryKind::File { size } else { 0 };
        Entry { mode, inode, mtime: FileTime { sec, nsec: 0 }, ..entry("a", kind, size) }
    }
}

fn any_skip() -> impl Strategy<Value = SkipCause> {
    prop_oneof![Just(SkipCause::Unreadable), Just(SkipCause::Changed), Just(SkipCause::Unlisted)]
}

/// Any snapshot. Folders may be missing above what lies in them, as above the sources of a job with several.
pub(super) fn any_world() -> impl Strategy<Value = World> {
    let line = (any_entry(), prop::option::weighted(0.1, any_skip()));
    prop::collection::btree_map(prop::collection::vec(0usize..5, 0..5), line, 0..40).prop_map(|all| {
        let lines = all.into_iter().map(|(parts, (entry, cause))| {
            let at = names_path(&parts);
            let is_stored = cause.is_none_or(SkipCause::is_stored);
            let skip = cause.map(|cause| SkipLine { path: at.clone(), cause, why: "why".to_owned() });
            (at.clone(), (is_stored.then_some(Entry { path: at, ..entry }), skip))
        });
        World { lines: lines.collect() }
    })
}
