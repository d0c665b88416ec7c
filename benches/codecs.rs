//! Micro-benchmarks of frames: each codec on text and on noise, made and read.
//!
//! Noise is what does not shrink: the probe finds that out and the frame is stored, so what is measured there is the
//! probe, a copy and a checksum. Whole runs beside other programs are `benches/peers`.

use backup::archive::{Codec, FRAME_BYTES, FrameMaker, FrameReader};
use divan::Bencher;
use divan::counter::BytesCount;

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
    read(bencher, name, &text());
}

#[divan::bench(args = CODECS.map(|(name, _)| name))]
fn read_a_frame_of_noise(bencher: Bencher<'_, '_>, name: &str) {
    read(bencher, name, &noise());
}

fn read(bencher: Bencher<'_, '_>, name: &str, raw: &[u8]) {
    let (mut stored, mut back) = (Vec::new(), Vec::new());
    FrameMaker::new(codec(name)).make(raw, &mut stored);
    let mut reader = FrameReader::new();
    bencher
        .counter(BytesCount::new(raw.len()))
        .bench_local(|| reader.read(codec(name), &stored, raw.len() as u64, &mut back).expect("a whole frame"));
}
