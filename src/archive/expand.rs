//! Expanding a stream that may be compressed: plain, gzip or zstd, told by its first bytes.
//!
//! For archives that we did not make, or that are read from end to end; our own frames are read one by one (`frame`).
//! The danger is a bomb: a few bytes that become a disk full, or a window that becomes the memory. So there is a budget
//! on what comes out, in all and for what went in, counted on bytes that were really read and really made, and a
//! window above 128 MiB is refused. Nothing is allocated but the window.
//!
//! Several gzip members or zstd frames after one another are one stream; zstd's skippable frames are passed over, and
//! zeros behind gzip, which tapes leave. What is compressed twice is expanded once. xz, bzip2 and others are told by name and refused.

use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};

use flate2::bufread::GzDecoder;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use crate::domain::Advise;

/// Bytes asked of the input at a time.
const INPUT_BYTES: usize = 64 << 10;
/// As many first bytes tell every compression we know of.
const HEAD_BYTES: u64 = 10;
/// What zstd calls a window above its limit: `ZSTD_error_frameParameter_windowTooLarge`.
const ZSTD_WINDOW_TOO_LARGE: usize = 16usize.wrapping_neg();

/// How much a stream may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpandLimits {
    /// Bytes that may come out in all.
    pub output_bytes_max: u64,
    /// Bytes that may come out for each that went in.
    pub ratio_max: u64,
    /// Bytes that may come out before the ratio counts.
    pub free_bytes: u64,
    /// The largest window of zstd, as a power of two. Its memory is taken as it is used.
    pub window_log_max: u32,
}

impl Default for ExpandLimits {
    /// 16 TiB in all; ten thousand for one after the first 256 MiB, which is more than gzip can and more than real
    /// trees do; a window of 128 MiB, as zstd's own program has it.
    fn default() -> Self {
        Self { output_bytes_max: 16 << 40, ratio_max: 10_000, free_bytes: 256 << 20, window_log_max: 27 }
    }
}

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all, or not in a way that we know.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
}

/// Why a stream cannot be expanded on. Inside an [`io::Error`]; see [`ExpandError::of`]. Errors of the input come out as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The compressed bytes are wrong.
    #[error("the {name} stream is damaged: {why}")]
    Damaged {
        /// Of the compression.
        name: &'static str,
        /// What the decompressor says.
        why: String,
    },
    /// The compressed bytes end too early.
    #[error("the {name} stream is cut")]
    Cut {
        /// Of the compression.
        name: &'static str,
    },
    /// More came out than may come out in all.
    #[error("it expands to more than {max} bytes")]
    TooLong {
        /// The limit, in bytes.
        max: u64,
    },
    /// More came out than so few bytes may become.
    #[error("{read} bytes expand to more than {max} times as many")]
    Bomb {
        /// Compressed bytes that were read.
        read: u64,
        /// The limit.
        max: u64,
    },
    /// It asks for more memory than it gets.
    #[error("the zstd stream wants a window of more than {} MiB", (1u64 << .log) >> 20)]
    Window {
        /// The limit, as a power of two.
        log: u32,
    },
    /// A compression that we do not read.
    #[error("this is {name}, which is not read here")]
    Other {
        /// Of the compression.
        name: &'static str,
    },
    /// The expander was asked to go on after an error.
    #[error("it was not expanded on after an earlier error")]
    AfterError,
}

impl ExpandError {
    /// The one inside `error`; none if the input itself failed.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }
}

impl From<ExpandError> for io::Error {
    fn from(error: ExpandError) -> Self {
        let kind = match &error {
            ExpandError::Cut { .. } => ErrorKind::UnexpectedEof,
            ExpandError::Other { .. } => ErrorKind::Unsupported,
            ExpandError::TooLong { .. } | ExpandError::Bomb { .. } | ExpandError::Window { .. } => {
                ErrorKind::QuotaExceeded
            }
            ExpandError::Damaged { .. } | ExpandError::AfterError => ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl Advise for ExpandError {
    fn advice(&self) -> String {
        match self {
            Self::Damaged { .. } | Self::Cut { .. } | Self::AfterError => {
                "get a whole copy of the archive; what came before this place is sound".to_owned()
            }
            Self::TooLong { .. } | Self::Bomb { .. } => {
                "if you trust the archive, expand it with its own program and read it plain".to_owned()
            }
            Self::Window { .. } => {
                "if you trust the archive, expand it with `zstd -d --long=31` and read it plain".to_owned()
            }
            Self::Other { name } => format!("unpack it first, with the program for {name}"),
        }
    }
}

/// Counts what the input gave, and remembers whether it failed.
#[derive(Debug)]
struct Metered<R> {
    input: R,
    bytes: u64,
    failed: bool,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(into);
        match &got {
            Ok(len) => self.bytes += *len as u64,
            Err(error) => self.failed |= error.kind() != ErrorKind::Interrupted,
        }
        got
    }
}

type Input<R> = BufReader<Metered<Chain<Cursor<Vec<u8>>, R>>>;

enum Codec<R> {
    Plain(Input<R>),
    Gzip(Box<GzDecoder<Input<R>>>),
    Zstd {
        input: Input<R>,
        context: Box<DCtx<'static>>,
        between_frames: bool,
    },
    /// All was read, or an error ended it.
    Over {
        read: u64,
        failed: bool,
    },
}

/// A `Read` of what is inside. Ask for pieces of some KiB, or put it in a `BufReader`.
pub struct Expander<R> {
    codec: Codec<R>,
    compression: Compression,
    limits: ExpandLimits,
    written: u64,
}

impl<R> std::fmt::Debug for Expander<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expander({:?}, {} bytes so far)", self.compression, self.written)
    }
}

impl<R: Read> Expander<R> {
    /// Reads the first bytes and decides how the rest is compressed.
    ///
    /// # Errors
    /// The input's, or [`ExpandError::Other`].
    pub fn new(mut input: R, limits: ExpandLimits) -> io::Result<Self> {
        let mut head = Vec::new();
        (&mut input).take(HEAD_BYTES).read_to_end(&mut head)?;
        let compression = match head[..] {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => match other(&head) {
                Some(name) => return Err(ExpandError::Other { name }.into()),
                None => Compression::Plain,
            },
        };
        let input = Metered { input: Cursor::new(head).chain(input), bytes: 0, failed: false };
        let input = BufReader::with_capacity(INPUT_BYTES, input);
        let codec = match compression {
            Compression::Plain => Codec::Plain(input),
            Compression::Gzip => Codec::Gzip(Box::new(GzDecoder::new(input))),
            Compression::Zstd => {
                let mut context = DCtx::create();
                context
                    .set_parameter(DParameter::WindowLogMax(limits.window_log_max))
                    .map_err(|_| ExpandError::Window { log: limits.window_log_max })?;
                Codec::Zstd { input, context: Box::new(context), between_frames: true }
            }
        };
        Ok(Self { codec, compression, limits, written: 0 })
    }

    /// How it is compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Bytes taken from the input, at most 64 KiB ahead of what was needed.
    pub fn read_bytes(&self) -> u64 {
        match &self.codec {
            Codec::Plain(input) | Codec::Zstd { input, .. } => input.get_ref().bytes,
            Codec::Gzip(gzip) => gzip.get_ref().get_ref().bytes,
            Codec::Over { read, .. } => *read,
        }
    }

    /// Bytes that came out.
    pub fn written_bytes(&self) -> u64 {
        self.written
    }

    /// One piece, before the budget was asked.
    fn expand(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.codec {
                Codec::Over { failed: true, .. } => return Err(ExpandError::AfterError.into()),
                Codec::Over { failed: false, .. } => return Ok(0),
                Codec::Plain(input) => return input.read(into),
                Codec::Zstd { input, context, between_frames } => {
                    let (taken, made, ended, log) = {
                        let bytes = input.fill_buf()?;
                        let no_more = bytes.is_empty();
                        if no_more && *between_frames {
                            return Ok(0);
                        }
                        let (mut from, mut to) = (InBuffer::around(bytes), OutBuffer::around(&mut *into));
                        let log = self.limits.window_log_max;
                        let hint = context.decompress_stream(&mut to, &mut from).map_err(|code| match code {
                            ZSTD_WINDOW_TOO_LARGE => ExpandError::Window { log },
                            _ => damaged("zstd", zstd_safe::get_error_name(code)),
                        })?;
                        (from.pos(), to.pos(), hint == 0, no_more)
                    };
                    input.consume(taken);
                    *between_frames = ended;
                    match (made, log) {
                        (0, true) if !ended => return Err(ExpandError::Cut { name: "zstd" }.into()),
                        (0, _) => {}
                        _ => return Ok(made),
                    }
                }
                Codec::Gzip(gzip) => {
                    match gzip.read(into) {
                        Ok(0) => {}
                        other => {
                            return other.map_err(|error| {
                                if gzip.get_ref().get_ref().failed { error } else { of_gzip(&error) }
                            });
                        }
                    }
                    // a member ended
                    let over = Codec::Over { read: self.read_bytes(), failed: true };
                    let Codec::Gzip(gzip) = std::mem::replace(&mut self.codec, over) else { return Ok(0) };
                    let mut input = gzip.into_inner();
                    let first = loop {
                        match input.fill_buf() {
                            Ok(bytes) => break bytes.first().copied(),
                            Err(error) if error.kind() == ErrorKind::Interrupted => {}
                            Err(error) => return Err(error),
                        }
                    };
                    if first == Some(0x1f) {
                        self.codec = Codec::Gzip(Box::new(GzDecoder::new(input)));
                    } else {
                        only_zeros(&mut input)?;
                        self.codec = Codec::Over { read: input.get_ref().bytes, failed: false };
                    }
                }
            }
        }
    }

    fn within_budget(&self) -> Result<(), ExpandError> {
        let ExpandLimits { output_bytes_max, ratio_max, free_bytes, .. } = self.limits;
        if self.written > output_bytes_max {
            return Err(ExpandError::TooLong { max: output_bytes_max });
        }
        let read = self.read_bytes();
        if self.written > read.saturating_mul(ratio_max).saturating_add(free_bytes) {
            return Err(ExpandError::Bomb { read, max: ratio_max });
        }
        Ok(())
    }
}

impl<R: Read> Read for Expander<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let got = self.expand(into).and_then(|made| {
            self.written += made as u64;
            self.within_budget()?;
            Ok(made)
        });
        if got.as_ref().is_err_and(|error| error.kind() != ErrorKind::Interrupted) {
            self.codec = Codec::Over { read: self.read_bytes(), failed: true };
        }
        got
    }
}

/// Tapes are filled up with zeros; gzip's own program passes over them too.
fn only_zeros(input: &mut impl BufRead) -> io::Result<()> {
    for byte in input.bytes() {
        if byte? != 0 {
            return Err(damaged("gzip", "other bytes behind its end").into());
        }
    }
    Ok(())
}

fn damaged(name: &'static str, why: &str) -> ExpandError {
    ExpandError::Damaged { name, why: why.to_owned() }
}

fn of_gzip(error: &io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => ExpandError::Cut { name: "gzip" }.into(),
        ErrorKind::Interrupted => ErrorKind::Interrupted.into(),
        _ => damaged("gzip", &error.to_string()).into(),
    }
}

/// The name of a compression that we know, but not how to undo.
fn other(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some("lz4"),
        [b'L', b'Z', b'I', b'P', 0 | 1, ..] => Some("lzip"),
        [0x1f, 0x9d, ..] => Some("compress (.Z)"),
        [b'P', b'K', 3, 4, ..] => Some("zip"),
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Some("7-Zip"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};

    use proptest::prelude::*;

    use super::{Compression, ExpandError, ExpandLimits, Expander};
    use crate::archive::{Codec, FrameMaker, seek};

    fn zstd(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        FrameMaker::new(Codec::Zstd { level: 3 }).make(raw, &mut out);
        out
    }

    fn gzip(raw: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(raw).expect("memory");
        encoder.finish().expect("memory")
    }

    fn expand(bytes: &[u8], limits: ExpandLimits) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut expander = Expander::new(bytes, limits)?;
        expander.read_to_end(&mut out)?;
        assert_eq!(expander.written_bytes(), out.len() as u64);
        assert_eq!(expander.read_bytes(), bytes.len() as u64, "all of it was read");
        Ok(out)
    }

    fn refusal(bytes: &[u8], limits: ExpandLimits) -> ExpandError {
        let error = expand(bytes, limits).expect_err("it is refused");
        ExpandError::of(&error).unwrap_or_else(|| panic!("the input did not fail: {error}")).clone()
    }

    /// Text and a table as behind a volume's frames.
    fn in_all_ways(raw: &[u8]) -> Vec<(Compression, Vec<u8>)> {
        let (first, second) = raw.split_at(raw.len() / 2);
        let table = seek::encode(&[]);
        vec![
            (Compression::Zstd, zstd(raw)),
            (Compression::Zstd, [table.clone(), zstd(first), zstd(b""), zstd(second), table].concat()),
            (Compression::Gzip, gzip(raw)),
            (Compression::Gzip, [gzip(first), gzip(b""), gzip(second), vec![0; 700]].concat()),
        ]
    }

    /// Gives bytes in small pieces, and fails in the end if told so.
    struct Slow<'a>(&'a [u8], usize, bool);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() && self.2 {
                return Err(io::Error::other("the disk is gone"));
            }
            let len = into.len().min(self.1).min(self.0.len());
            into[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back_however_it_is_read(
            raw in prop::collection::vec(any::<u8>(), 0..3000), step in 1..600usize, ask in 1..600usize,
        ) {
            for (compression, stored) in in_all_ways(&raw) {
                let mut expander = Expander::new(Slow(&stored, step, false), ExpandLimits::default()).expect("sound");
                prop_assert_eq!(expander.compression(), compression);
                let (mut out, mut part) = (Vec::new(), vec![0; ask]);
                loop {
                    match expander.read(&mut part).expect("sound") {
                        0 => break,
                        len => out.extend_from_slice(&part[..len]),
                    }
                }
                prop_assert_eq!(&out, &raw);
            }
        }

        #[test]
        fn a_flipped_bit_gives_an_error_or_bytes(
            raw in prop::collection::vec(any::<u8>(), 0..600), at: prop::sample::Index, bit in 0..8u8,
        ) {
            for (_, mut stored) in in_all_ways(&raw) {
                let at = at.index(stored.len());
                stored[at] ^= 1 << bit;
                if let Err(error) = Expander::new(&stored[..], ExpandLimits::default()).and_then(|mut e| {
                    io::copy(&mut e, &mut io::sink())
                }) {
                    prop_assert!(ExpandError::of(&error).is_some(), "{}", error);
                }
            }
        }
    }

    #[test]
    fn a_stream_that_is_cut_is_told_as_cut_wherever_it_is() {
        let raw: Vec<u8> = (0..2000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (compression, stored) in [(Compression::Zstd, zstd(&raw)), (Compression::Gzip, gzip(&raw))] {
            for len in (4..stored.len()).step_by(7).chain([stored.len() - 1]) {
                let refused = refusal(&stored[..len], ExpandLimits::default());
                assert!(matches!(refused, ExpandError::Cut { .. }), "{compression:?} cut at {len}: {refused:?}");
            }
        }
    }

    #[test]
    fn a_failing_input_is_told_apart_from_damage() {
        for (_, stored) in in_all_ways(&[7; 5000]) {
            for len in [0, 3, 10, 15, stored.len() - 1] {
                let read = Expander::new(Slow(&stored[..len], 5, true), ExpandLimits::default())
                    .and_then(|mut expander| io::copy(&mut expander, &mut io::sink()));
                let error = read.expect_err("the input failed");
                assert!(ExpandError::of(&error).is_none(), "after {len}: {error}");
                assert_eq!(error.to_string(), "the disk is gone");
            }
        }
    }

    #[test]
    fn plain_bytes_pass_and_other_compressions_are_named() {
        for plain in [&b""[..], b"a", b"BZh9 is a fine name", b"PKzip", b"\x1f", b"LZIP.txt\0"] {
            assert_eq!(expand(plain, ExpandLimits::default()).expect("plain"), plain);
        }
        for (head, expected) in [
            (&b"BZh91AY&SY..."[..], "bzip2"),
            (b"\xfd7zXZ\0...", "xz"),
            (b"\x04\x22\x4d\x18...", "lz4"),
            (b"LZIP\x01...", "lzip"),
            (b"\x1f\x9d...", "compress (.Z)"),
            (b"PK\x03\x04...", "zip"),
        ] {
            assert_eq!(refusal(head, ExpandLimits::default()), ExpandError::Other { name: expected });
        }
    }

    #[test]
    fn a_bomb_of_zeros_is_refused_once_its_budget_is_spent() {
        let limits = ExpandLimits { free_bytes: 1 << 20, ratio_max: 100, ..ExpandLimits::default() };
        let zeros = vec![0; 64 << 20];
        for stored in [zstd(&zeros), gzip(&zeros)] {
            let mut expander = Expander::new(&stored[..], limits).expect("it begins well");
            let mut part = [0; 8192];
            let error = loop {
                match expander.read(&mut part) {
                    Ok(0) => panic!("it was expanded"),
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(matches!(ExpandError::of(&error), Some(ExpandError::Bomb { max: 100, .. })), "{error}");
            let allowed = (1 << 20) + 100 * stored.len() as u64;
            assert!(expander.written_bytes() <= allowed + 8192, "{} came out", expander.written_bytes());
            let again = expander.read(&mut part).expect_err("no further");
            assert_eq!(ExpandError::of(&again), Some(&ExpandError::AfterError));
        }
        let short = ExpandLimits { output_bytes_max: 1000, ..ExpandLimits::default() };
        for stored in [vec![1; 1001], zstd(&[1; 1001]), gzip(&[1; 1001])] {
            assert_eq!(refusal(&stored, short), ExpandError::TooLong { max: 1000 });
        }
        expand(&[1; 1000], short).expect("just within");
    }

    #[test]
    fn a_window_of_more_than_128_mib_is_refused_by_name() {
        // a frame header without content size: window descriptor of 2^28, then of 2^27
        let frame = |log: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3][..], &[1, 0, 0]].concat();
        assert_eq!(refusal(&frame(28), ExpandLimits::default()), ExpandError::Window { log: 27 });
        assert_eq!(refusal(&frame(31), ExpandLimits::default()), ExpandError::Window { log: 27 });
        assert_eq!(expand(&frame(27), ExpandLimits::default()).expect("within"), b"");
    }

    #[test]
    fn bytes_behind_the_end_are_damage() {
        for (_, stored) in in_all_ways(b"hello") {
            let refused = refusal(&[&stored[..], b"rubbish"].concat(), ExpandLimits::default());
            assert!(matches!(refused, ExpandError::Damaged { .. }), "{refused:?}");
        }
    }
}
