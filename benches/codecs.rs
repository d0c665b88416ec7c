//! Micro-benchmarks of the pure middle: frames of each codec on text and on noise, and lines of a manifest.
//!
//! `cargo bench`. Whole runs beside other programs are `benches/beside.sh`.

use backup::archive::manifest::{Entry, EntryKind, Header, ManifestReader, ManifestWriter, Placed};
use backup::archive::{Codec, FRAME_BYTES, FrameMaker, FrameReader};
use backup::domain::{Digest, EntryPath, FileTime, Owner, RunId};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

fn main() {
    divan::main();
}

const CODECS: [(&str, Codec); 3] =
    [("zstd", Codec::Zstd { level: 3 }), ("gzip", Codec::Gzip { level: 6 }), ("none", Codec::None)];

/// Bytes that do not shrink.
fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 32) as u8
    };
    (0..FRAME_BYTES).map(|_| next(&mut state)).collect()
}

/// Log lines that differ.
fn text() -> Vec<u8> {
    let lines = (0_u64..).flat_map(|n| {
        format!(
            "10.0.{}.{} - - \"GET /page/{} HTTP/1.1\" 200 {}\n",
            n % 7,
            n * 31 % 256,
            n * 7919 % 10_007,
            n * 104_729 % 99_991
        )
        .into_bytes()
    });
    lines.take(FRAME_BYTES).collect()
}

#[divan::bench(args = CODECS.map(|(name, _)| name))]
fn make_a_frame_of_text(bencher: Bencher<'_, '_>, name: &str) {
    make(bencher, name, &text());
}

#[divan::bench(args = CODECS.map(|(name, _)| name))]
fn make_a_frame_of_noise(bencher: Bencher<'_, '_>, name: &str) {
    make(bencher, name, &noise());
}

fn codec(name: &str) -> Codec {
    CODECS.iter().find(|(known, _)| *known == name).map_or(Codec::None, |(_, codec)| *codec)
}

fn make(bencher: Bencher<'_, '_>, name: &str, raw: &[u8]) {
    let (mut maker, mut stored) = (FrameMaker::new(codec(name)), Vec::new());
    bencher.counter(BytesCount::new(raw.len())).bench_local(|| maker.make(raw, &mut stored));
}

#[divan::bench(args = CODECS.map(|(name, _)| name))]
fn read_a_frame_of_text(bencher: Bencher<'_, '_>, name: &str) {
    let (raw, mut stored, mut back) = (text(), Vec::new(), Vec::new());
    FrameMaker::new(codec(name)).make(&raw, &mut stored);
    let mut reader = FrameReader::new();
    bencher
        .counter(BytesCount::new(raw.len()))
        .bench_local(|| reader.read(codec(name), &stored, raw.len() as u64, &mut back).expect("a whole frame"));
}

const ENTRIES: u64 = 20_000;

fn manifest() -> Vec<u8> {
    let header = Header {
        manifest: 1,
        job: "job".parse().expect("a job"),
        snapshot: "job-20260101T000000Z".parse().expect("a snapshot"),
        run: RunId::from_random([7; 16]),
        tool: "a benchmark".to_owned(),
    };
    let mut out = Vec::new();
    let mut writer = ManifestWriter::new(&header, &mut out);
    for number in 0..ENTRIES {
        let time = FileTime { sec: 1_700_000_000 + number as i64, nsec: 123_456_789 };
        let entry = Entry {
            path: EntryPath::parse(format!("folder-{:04}/file-{number:08}.html", number / 100).as_bytes())
                .expect("a path"),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 33,
            gid: 33,
            owner: Owner { user: Some("www-data".into()), group: Some("www-data".into()) },
            size: number * 37,
            mtime: time,
            ctime: time,
            inode: number,
            sha256: Some(Digest::of(&number.to_le_bytes())),
            xattrs: None,
            sparse: false,
            changed: false,
            placed: Placed { volume: 0, offset: number * 1024, body: number * 1024 + 512, stored: number * 37 },
        };
        writer.entry(&entry, &mut out);
    }
    writer.finish(&mut out);
    out
}

#[divan::bench]
fn write_a_manifest(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(ENTRIES)).bench_local(manifest);
}

#[divan::bench]
fn read_a_manifest(bencher: Bencher<'_, '_>) {
    let bytes = manifest();
    bencher.counter(ItemsCount::new(ENTRIES)).bench_local(|| {
        let reader = ManifestReader::open(bytes.clone()).expect("a manifest");
        reader.lines().try_fold(0, |count, line| line.map(|_| count + 1)).expect("whole")
    });
}
