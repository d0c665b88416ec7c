//! Micro-benchmarks of the manifest: writing and reading the lines of 100,000 entries, and merging them with a walk.
//!
//! The bytes are those of the text, uncompressed. The entries are made before the clock runs. Of a run without changes
//! this is most of the work, so writing and reading have a goal of their own: more than 500 MB/s each.
//!
//! A merge is that of a run with what a run uses for it (`RawLines`, `ManifestWriter::copy`), on one thread and without
//! the looks at the source: those are the walk's, and `benches/walk.rs` measures them.

use backup::archive::manifest::{Entry, EntryKind, Header, Line, ManifestReader, ManifestWriter, Placed};
use backup::domain::{Digest, EntryPath, FileTime, Owner, RunId};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

const ENTRIES: u64 = 100_000;

/// A folder, then 99 entries in it, most of them files, as an upload folder has them.
fn entries() -> Vec<Entry> {
    (0..ENTRIES).map(entry).collect()
}

fn entry(number: u64) -> Entry {
    let folder = format!("2026/uploads-{:05}", number / 100);
    let (path, kind) = match number % 100 {
        0 => (folder, EntryKind::Folder),
        50 => (format!("{folder}/{number:08}-latest"), EntryKind::Symlink { target: (*b"../current.html").into() }),
        _ => (format!("{folder}/{number:08}-page.html"), EntryKind::File),
    };
    let is_file = kind == EntryKind::File;
    let size = if is_file { number * 7919 % 1_000_003 } else { 0 };
    Entry {
        path: EntryPath::parse(path.as_bytes()).expect("a path"),
        kind,
        mode: 0o644,
        uid: 33,
        gid: 33,
        owner: Owner { user: Some("www-data".into()), group: Some("www-data".into()) },
        size,
        mtime: FileTime { sec: 1_700_000_000 + number as i64 * 17, nsec: (number * 48_611 % 1_000_000_000) as u32 },
        ctime: FileTime { sec: 1_700_000_000 + number as i64 * 17, nsec: (number * 48_611 % 1_000_000_000) as u32 },
        inode: 5_000_000 + number,
        sha256: is_file.then(|| Digest::of(&number.to_le_bytes())),
        xattrs: None,
        sparse: false,
        changed: false,
        placed: Placed { volume: 3, offset: number << 18, body: (number << 18) + 512, stored: size },
    }
}

fn header() -> Header {
    Header {
        manifest: 1,
        job: "job".parse().expect("a job"),
        snapshot: "job-20260101T000000Z".parse().expect("a snapshot"),
        run: RunId::from_random([7; 16]),
        tool: "a benchmark".to_owned(),
        started: None,
    }
}

/// Writes the manifest into `out`, whose former content is dropped; tells how many bytes of text it has.
fn write_all(entries: &[Entry], out: &mut Vec<u8>) -> u64 {
    out.clear();
    let mut writer = ManifestWriter::new(&header(), out);
    for entry in entries {
        writer.entry(entry, out);
    }
    writer.finish(out).text_bytes
}

/// The manifest, and how many bytes of text it has.
fn written(entries: &[Entry]) -> (Vec<u8>, u64) {
    let mut out = Vec::new();
    let text_bytes = write_all(entries, &mut out);
    (out, text_bytes)
}

#[divan::bench]
fn write(bencher: Bencher<'_, '_>) {
    let entries = entries();
    let (mut out, text_bytes) = written(&entries);
    bencher
        .counter(BytesCount::new(text_bytes))
        .counter(ItemsCount::new(ENTRIES))
        .bench_local(|| write_all(&entries, &mut out));
}

#[divan::bench]
fn read(bencher: Bencher<'_, '_>) {
    let (bytes, text_bytes) = written(&entries());
    let reader = ManifestReader::open(bytes).expect("a manifest");
    bencher.counter(BytesCount::new(text_bytes)).counter(ItemsCount::new(ENTRIES)).bench_local(|| {
        reader.lines().fold(0_u64, |count, line| {
            black_box(line.expect("whole"));
            count + 1
        })
    });
}

#[divan::bench]
fn find_one_path(bencher: Bencher<'_, '_>) {
    let reader = ManifestReader::open(written(&entries()).0).expect("a manifest");
    let path = entry(ENTRIES / 3 * 2 + 7).path;
    bencher.bench_local(|| assert_eq!(reader.find(&path).expect("whole").len(), 1));
}

/// Makes the manifest of what is there `now` out of the earlier one, as a run does: a line is understood and compared
/// with what was found, what is alike is copied (by the frame where it can be), what is not is written anew. Both have
/// the same paths. Tells how many bytes of text it has.
fn merge_all(earlier: &ManifestReader<Vec<u8>>, now: &[Entry], out: &mut Vec<u8>) -> u64 {
    out.clear();
    let mut writer = ManifestWriter::new(&header(), out);
    let (mut compared, mut copied) = (earlier.raw_lines(), earlier.raw_lines());
    let (mut kept, mut kept_bytes) = (0, 0);
    for found in now {
        let line = compared.next_parsed().expect("whole");
        let Some(Line::Entry(before)) = line.filter(|line| *line.path() == found.path) else {
            panic!("the same paths")
        };
        let metadata = (before.mode, before.uid, before.gid, before.mtime, before.ctime, before.inode, before.size);
        if metadata == (found.mode, found.uid, found.gid, found.mtime, found.ctime, found.inode, found.size) {
            kept += 1;
            kept_bytes += before.size;
            continue;
        }
        writer.copy(&mut copied, kept, kept_bytes, out).expect("whole");
        (kept, kept_bytes) = (0, 0);
        // whose place in a volume is now stale
        black_box(copied.next_parsed().expect("whole"));
        writer.entry(found, out);
    }
    writer.copy(&mut copied, kept, kept_bytes, out).expect("whole");
    writer.finish(out).text_bytes
}

#[divan::bench(args = [0, 1, 10])]
fn merge_with_changed_percent(bencher: Bencher<'_, '_>, percent: u64) {
    let mut now = entries();
    let earlier = ManifestReader::open(written(&now).0).expect("a manifest");
    // scattered as evenly as can be: no frame is spared
    for (entry, number) in now.iter_mut().zip(0_u64..) {
        entry.mtime.sec += i64::from((number + 7) * percent % 100 < percent);
    }
    let (mut out, text_bytes) = written(&now);
    bencher
        .counter(BytesCount::new(text_bytes))
        .counter(ItemsCount::new(ENTRIES))
        .bench_local(|| assert_eq!(merge_all(&earlier, &now, &mut out), text_bytes, "the same text"));
}
