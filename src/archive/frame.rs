//! Frames: runs of tar bytes, each compressed on its own.
//!
//! Made in parallel, read one at a time, and damage costs one. A frame is one whole member of its format (a zstd
//! frame with size and checksum, a gzip member, or bare bytes), so a volume is the plain concatenation of its frames.
//! What does not shrink is stored, decided by a probe of its bytes and never by a name.
//!
//! Decoding never gives more than the length it was promised, whatever the input. No threads, no I/O.

use std::io::IoSliceMut;

use twox_hash::XxHash64;
use zstd_safe::{CCtx, CParameter, DCtx};

use super::codec::Codec;

/// How much tar stream a frame holds, about: between small entries it is cut when this is reached, and large files
/// are cut into pieces of exactly this much. Large enough that compression loses little, small enough that one file
/// is read out of a terabyte quickly.
pub const FRAME_BYTES: usize = 1 << 20;

/// No frame of ours is larger, stored or raw; a manifest that says otherwise is damaged or hostile.
pub const FRAME_BYTES_MAX: u64 = 64 << 20;

const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// RFC 8878, 3.1.1.2: no block is larger.
const ZSTD_BLOCK_MAX: usize = 128 << 10;
/// RFC 1951, 3.2.4: the length of a stored block has 16 bits.
const DEFLATE_BLOCK_MAX: usize = u16::MAX as usize;

/// Below this, compressing is cheaper than asking whether to.
const PROBE_FROM_BYTES: usize = 16 << 10;
const PROBE_SLICES: usize = 16;
const PROBE_SLICE_BYTES: usize = 2 << 10;

/// RFC 1952, 2.3.1.1: the subfield that tells a member's lengths, so that a reader without manifest can skip.
const GZIP_SUBFIELD: [u8; 2] = *b"BK";
/// Bytes at the head of a gzip member of ours.
pub const GZIP_HEADER_LEN: usize = 10 + 2 + 4 + 8;
/// CRC-32 and length.
const GZIP_TAIL_LEN: usize = 4 + 4;

/// A frame that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is not a frame of this codec, or its content does not match its checksum.
    #[error("the frame is damaged")]
    Damaged,
    /// It does not hold as many bytes as was said.
    #[error("the frame does not hold as many bytes as the manifest says")]
    WrongLength,
}

/// Compresses frames. One a worker: it keeps the compressor's tables between frames.
pub struct FrameMaker {
    codec: Codec,
    zstd: CCtx<'static>,
    /// None where what comes is known to shrink.
    probe: Option<CCtx<'static>>,
    deflate: Option<libdeflater::Compressor>,
    sample: Vec<u8>,
    scratch: Vec<u8>,
}

/// A frame as it is stored: packed, or its own bytes in blocks. Reused from frame to frame, for its buffers.
#[derive(Debug, Default)]
pub struct StoredFrame {
    /// All of it where it is packed; else what stands around the blocks.
    own: Vec<u8>,
    /// What did not shrink.
    raw: Vec<u8>,
    blocks: Option<Blocks>,
}

impl StoredFrame {
    /// Nothing.
    pub fn clear(&mut self) {
        self.own.clear();
        self.raw.clear();
        self.blocks = None;
    }

    /// A frame that was made elsewhere: whatever is read into this.
    pub fn packed(&mut self) -> &mut Vec<u8> {
        self.clear();
        &mut self.own
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        (self.own.len() + self.raw.len()) as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes, piece by piece.
    pub fn pieces(&self) -> Vec<&[u8]> {
        match &self.blocks {
            Some(blocks) => blocks.pieces(&self.own, &self.raw),
            None => vec![&self.own],
        }
    }
}

/// How bytes that do not shrink lie in a frame: in blocks, each behind a few bytes that say how long it is.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    /// Of each but the last.
    len: usize,
    /// Before the first of them.
    lead: usize,
    /// Before each other.
    between: usize,
    /// Behind the last.
    tail: usize,
}

impl Blocks {
    fn of(codec: Codec) -> Self {
        match codec {
            Codec::None => Self { len: FRAME_BYTES_MAX as usize, lead: 0, between: 0, tail: 0 },
            Codec::Zstd { .. } => Self { len: ZSTD_BLOCK_MAX, lead: 4 + 1 + 4 + 3, between: 3, tail: 4 },
            Codec::Gzip { .. } => {
                Self { len: DEFLATE_BLOCK_MAX, lead: GZIP_HEADER_LEN + 5, between: 5, tail: GZIP_TAIL_LEN }
            }
        }
    }

    /// How much stands around the blocks of so many bytes.
    fn around_len(self, raw_len: usize) -> usize {
        self.cuts(raw_len).map(|(before, _)| before).sum::<usize>() + self.tail
    }

    /// For each block how much stands before it, and its length.
    fn cuts(self, raw_len: usize) -> impl Iterator<Item = (usize, usize)> {
        let before = std::iter::once(self.lead).chain(std::iter::repeat(self.between));
        before.zip(lengths(raw_len, self.len).map(|(len, _)| len))
    }

    /// All of the frame's bytes, in their order; none of the pieces is empty.
    fn pieces<'b>(self, mut own: &'b [u8], mut raw: &'b [u8]) -> Vec<&'b [u8]> {
        let mut pieces = Vec::new();
        for (before, len) in self.cuts(raw.len()) {
            pieces.extend([own.split_off(..before), raw.split_off(..len)].into_iter().flatten());
        }
        pieces.push(own);
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    /// The same, to be filled.
    fn pieces_mut<'b>(self, mut own: &'b mut [u8], mut raw: &'b mut [u8]) -> Vec<IoSliceMut<'b>> {
        let mut pieces = Vec::new();
        for (before, len) in self.cuts(raw.len()) {
            let two = [own.split_off_mut(..before), raw.split_off_mut(..len)];
            pieces.extend(two.into_iter().flatten().map(IoSliceMut::new));
        }
        pieces.push(IoSliceMut::new(own));
        pieces
    }
}

/// Writes what stands around the blocks of `raw` to `own`, whose former content is dropped. Gives what the seek table
/// says of the frame.
fn around(codec: Codec, raw: &[u8], own: &mut Vec<u8>) -> u32 {
    own.clear();
    match codec {
        Codec::None => 0,
        Codec::Zstd { .. } => zstd_around(raw, own),
        Codec::Gzip { .. } => {
            gzip_around(raw, own);
            0
        }
    }
}

impl std::fmt::Debug for FrameMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameMaker({:?})", self.codec)
    }
}

impl FrameMaker {
    /// A maker for `codec`; levels outside the codec's range are taken as the nearest in it.
    pub fn new(codec: Codec) -> Self {
        let level = match codec {
            Codec::Zstd { level } => i32::from(level.clamp(1, 19)),
            Codec::Gzip { .. } | Codec::None => 1,
        };
        let deflate = match codec {
            Codec::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(i32::from(level.clamp(1, 12)));
                Some(libdeflater::Compressor::new(level.expect("1 to 12 are levels of libdeflate")))
            }
            Codec::Zstd { .. } | Codec::None => None,
        };
        Self {
            codec,
            zstd: zstd_context(level, true),
            probe: Some(zstd_context(1, false)),
            deflate,
            sample: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// A maker for text whose every line is like the one before it: a manifest. Any reader of zstd reads its frames.
    ///
    /// In such text the next match is near, and its offset the last one. A small table finds just those: it stays in
    /// the processor's cache, and gives fewer bytes than a large one, which also finds matches far off. Higher levels
    /// search for longer ones, at half the speed and below, and give more bytes too.
    pub fn for_lines() -> Self {
        let mut maker = Self::new(Codec::Zstd { level: 1 });
        maker.zstd.set_parameter(CParameter::HashLog(11)).expect("6 to 30 are sizes of zstd's table");
        maker.zstd.set_parameter(CParameter::MinMatch(7)).expect("3 to 7 are lengths of zstd's matches");
        maker.probe = None;
        maker
    }

    /// Makes the frame of `raw` in `out`, whose former content is dropped. Returns the low half of the XXH64 of `raw`
    /// for the seek table (0 where the codec has none). Equal input gives equal bytes.
    pub fn make(&mut self, raw: &[u8], out: &mut Vec<u8>) -> u32 {
        self.pack(raw, out).unwrap_or_else(|| {
            let checksum = around(self.codec, raw, &mut self.scratch);
            out.clear();
            out.reserve(self.scratch.len() + raw.len());
            let pieces = Blocks::of(self.codec).pieces(&self.scratch, raw);
            pieces.into_iter().for_each(|piece| out.extend_from_slice(piece));
            checksum
        })
    }

    /// As [`FrameMaker::make`], without a copy of what does not shrink: that is taken out of `raw`, which is left empty.
    pub fn make_of(&mut self, raw: &mut Vec<u8>, frame: &mut StoredFrame) -> u32 {
        frame.clear();
        if let Some(checksum) = self.pack(raw, &mut frame.own) {
            raw.clear();
            return checksum;
        }
        std::mem::swap(raw, &mut frame.raw);
        frame.blocks = Some(Blocks::of(self.codec));
        around(self.codec, &frame.raw, &mut frame.own)
    }

    /// Compresses `raw` into `out`, if it shrinks. What stands in `out` otherwise is of no use.
    fn pack(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Option<u32> {
        out.clear();
        match self.codec {
            Codec::None => None,
            Codec::Zstd { .. } => {
                if !self.shrinks(raw) {
                    return None;
                }
                out.reserve(zstd_safe::compress_bound(raw.len()));
                self.zstd.compress2(out, raw).expect("zstd compresses whatever fits into its own bound");
                let tail = out[out.len() - 4..].try_into().expect("a frame with a checksum ends in 4 bytes");
                (out.len() < raw.len()).then(|| u32::from_le_bytes(tail))
            }
            Codec::Gzip { .. } => {
                if !self.shrinks(raw) {
                    return None;
                }
                let deflate = self.deflate.as_mut().expect("a gzip maker has its compressor");
                let body = &mut self.scratch;
                body.resize(deflate.deflate_compress_bound(raw.len()), 0);
                let len = deflate.deflate_compress(raw, body).expect("the bound suffices");
                if len >= raw.len() {
                    return None;
                }
                gzip_header(GZIP_HEADER_LEN + len + GZIP_TAIL_LEN, raw.len(), out);
                out.extend_from_slice(&body[..len]);
                gzip_tail(raw, out);
                Some(0)
            }
        }
    }

    /// Whether compressing is worth its time: a few slices of `raw`, at zstd's level 1, lose at least a sixteenth: for
    /// less, half the speed is not worth it.
    fn shrinks(&mut self, raw: &[u8]) -> bool {
        let Some(probe) = &mut self.probe else { return true };
        if raw.len() < PROBE_FROM_BYTES.max(PROBE_SLICES * PROBE_SLICE_BYTES) {
            return true;
        }
        self.sample.clear();
        let stride = (raw.len() - PROBE_SLICE_BYTES) / (PROBE_SLICES - 1);
        for slice in 0..PROBE_SLICES {
            self.sample.extend_from_slice(&raw[slice * stride..][..PROBE_SLICE_BYTES]);
        }
        self.scratch.clear();
        self.scratch.reserve(zstd_safe::compress_bound(self.sample.len()));
        let len = probe.compress2(&mut self.scratch, &self.sample).expect("the bound suffices");
        len < self.sample.len() - self.sample.len() / 16
    }
}

fn zstd_context(level: i32, checksum: bool) -> CCtx<'static> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level)).expect("1 to 19 are levels of zstd");
    context.set_parameter(CParameter::ChecksumFlag(checksum)).expect("zstd has checksums");
    context
}

/// Around the blocks of a zstd frame that holds them raw: single segment, 4 bytes of content size, content checksum
/// (RFC 8878, 3.1.1).
fn zstd_around(raw: &[u8], own: &mut Vec<u8>) -> u32 {
    own.extend_from_slice(&ZSTD_MAGIC);
    own.push(0b1010_0100);
    own.extend_from_slice(&u32::try_from(raw.len()).expect("a frame is far below 4 GiB").to_le_bytes());
    // a frame of nothing has one block of nothing
    for (len, last) in lengths(raw.len(), ZSTD_BLOCK_MAX) {
        let header = u32::from(last) | u32::try_from(len).expect("a block is at most 128 KiB") << 3;
        own.extend_from_slice(&header.to_le_bytes()[..3]);
    }
    let checksum = XxHash64::oneshot(0, raw) as u32;
    own.extend_from_slice(&checksum.to_le_bytes());
    checksum
}

/// Around the blocks of a gzip member that stores them (RFC 1951, 3.2.4).
fn gzip_around(raw: &[u8], own: &mut Vec<u8>) {
    let blocks = lengths(raw.len(), DEFLATE_BLOCK_MAX).count();
    gzip_header(GZIP_HEADER_LEN + blocks * 5 + raw.len() + GZIP_TAIL_LEN, raw.len(), own);
    for (len, last) in lengths(raw.len(), DEFLATE_BLOCK_MAX) {
        let len = u16::try_from(len).expect("a block is below 64 KiB");
        // a bit for the last, two of zero for "stored", and the rest of the byte is passed over
        own.push(u8::from(last));
        own.extend_from_slice(&len.to_le_bytes());
        own.extend_from_slice(&(!len).to_le_bytes());
    }
    gzip_tail(raw, own);
}

/// The length of each block of so many bytes, and whether it is the last. At least one.
fn lengths(raw_len: usize, max: usize) -> impl Iterator<Item = (usize, bool)> {
    let blocks = raw_len.div_ceil(max).max(1);
    (1..=blocks).map(move |nth| if nth < blocks { (max, false) } else { (raw_len - (blocks - 1) * max, true) })
}

/// The lengths that a gzip member of ours tells of itself: of the whole member, and of its content.
pub fn gzip_lengths(header: &[u8; GZIP_HEADER_LEN]) -> Option<(u64, u64)> {
    let is_ours = header[..4] == [0x1f, 0x8b, 8, 4] && header[12..14] == GZIP_SUBFIELD && header[10..12] == [12, 0];
    let word = |at: usize| header[at..at + 4].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    is_ours.then(|| (word(16), word(20)))
}

fn gzip_header(total: usize, raw: usize, out: &mut Vec<u8>) {
    // ID1 ID2 CM=deflate FLG=FEXTRA MTIME=0 XFL=0 OS=unknown
    out.extend_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]);
    out.extend_from_slice(&12_u16.to_le_bytes());
    out.extend_from_slice(&GZIP_SUBFIELD);
    out.extend_from_slice(&8_u16.to_le_bytes());
    for len in [total, raw] {
        out.extend_from_slice(&u32::try_from(len).expect("a frame is far below 4 GiB").to_le_bytes());
    }
}

fn gzip_tail(raw: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&libdeflater::crc32(raw).to_le_bytes());
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
}

/// Decompresses frames. One a worker.
pub struct FrameReader {
    zstd: DCtx<'static>,
    gzip: libdeflater::Decompressor,
    /// What stands around blocks, as it was found and as it should be.
    around: [Vec<u8>; 2],
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameReader")
    }
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameReader {
    /// Ready for any codec.
    pub fn new() -> Self {
        Self { zstd: DCtx::create(), gzip: libdeflater::Decompressor::new(), around: Default::default() }
    }

    /// Reads a frame whose content lies in it as it is to where that is wanted, `out`, whose former content is dropped:
    /// `read` fills pieces with the frame's bytes, from the first to the last. False if this is no such frame, or not
    /// quite as we make them: it may be sound all the same, and is for [`FrameReader::read`].
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read_blocks<E>(
        &mut self,
        codec: Codec,
        stored_len: u64,
        raw_len: u64,
        out: &mut Vec<u8>,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> Result<(), E>,
    ) -> Result<bool, E> {
        // what shrank is shorter than its content
        if raw_len > FRAME_BYTES_MAX || stored_len < raw_len {
            return Ok(false);
        }
        let blocks = Blocks::of(codec);
        let around_len = blocks.around_len(raw_len as usize);
        if stored_len - raw_len != around_len as u64 {
            return Ok(false);
        }
        let [found, expected] = &mut self.around;
        found.resize(around_len, 0);
        // no more of it is cleared than has not been used yet
        out.resize(raw_len as usize, 0);
        read(&mut blocks.pieces_mut(found, out))?;
        around(codec, out, expected);
        Ok(found == expected)
    }

    /// Decodes one frame that holds exactly `raw_len` bytes into `out`, whose former content is dropped.
    ///
    /// # Errors
    /// [`FrameError`] if it is not one whole frame of this codec with that many bytes and a right checksum.
    pub fn read(&mut self, codec: Codec, stored: &[u8], raw_len: u64, out: &mut Vec<u8>) -> Result<(), FrameError> {
        if raw_len > FRAME_BYTES_MAX {
            return Err(FrameError::WrongLength);
        }
        let raw_len = raw_len as usize;
        out.clear();
        match codec {
            Codec::None => {
                if stored.len() != raw_len {
                    return Err(FrameError::WrongLength);
                }
                out.extend_from_slice(stored);
            }
            Codec::Zstd { .. } => {
                out.reserve(raw_len);
                // `out` may have more room than was asked for; a frame that fills it is caught by the comparison
                let len = self.zstd.decompress(out, stored).map_err(|_| FrameError::Damaged)?;
                if len != raw_len {
                    return Err(FrameError::WrongLength);
                }
            }
            Codec::Gzip { .. } => {
                out.resize(raw_len, 0);
                let len = self.gzip.gzip_decompress(stored, out).map_err(|_| FrameError::Damaged)?;
                if len != raw_len {
                    return Err(FrameError::WrongLength);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Codec, FRAME_BYTES, FrameMaker, FrameReader, IoSliceMut, StoredFrame};

    /// Bytes that no compressor shrinks, the same each time.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect()
    }

    const ALL: [Codec; 3] = [Codec::Zstd { level: 3 }, Codec::Gzip { level: 6 }, Codec::None];

    fn read_blocks(reader: &mut FrameReader, codec: Codec, stored: &[u8], raw_len: usize, out: &mut Vec<u8>) -> bool {
        let fill = |pieces: &mut [IoSliceMut<'_>]| {
            let mut rest = stored;
            for piece in pieces {
                let from = rest.split_off(..piece.len()).expect("no more than there is");
                piece.copy_from_slice(from);
            }
            if rest.is_empty() { Ok(()) } else { Err("too few are asked for") }
        };
        reader.read_blocks(codec, stored.len() as u64, raw_len as u64, out, fill).expect("all of it")
    }

    fn round_trip(codec: Codec, raw: &[u8]) -> usize {
        let (mut stored, mut back) = (Vec::new(), Vec::new());
        let checksum = FrameMaker::new(codec).make(raw, &mut stored);
        let (mut taken, mut frame) = (raw.to_vec(), StoredFrame::default());
        assert_eq!(FrameMaker::new(codec).make_of(&mut taken, &mut frame), checksum, "{codec:?}");
        assert!(taken.is_empty() && frame.len() == stored.len() as u64);
        assert!(frame.pieces().concat() == stored, "{codec:?}: the pieces of a frame are the frame");
        FrameReader::new().read(codec, &stored, raw.len() as u64, &mut back).expect("a whole frame");
        assert!(back == raw, "{codec:?}, {} bytes", raw.len());
        let is_as_it_is = read_blocks(&mut FrameReader::new(), codec, &stored, raw.len(), &mut back);
        assert_eq!(is_as_it_is, stored.len() >= raw.len(), "{codec:?}, {} bytes", raw.len());
        assert!(back == raw);
        stored.len()
    }

    #[test]
    fn frames_of_every_awkward_length_come_back() {
        for codec in ALL {
            for len in
                [0, 1, 511, 512, 16 << 10, (32 << 10) - 1, 32 << 10, 128 << 10, (128 << 10) + 1, FRAME_BYTES, 3 << 20]
            {
                round_trip(codec, &noise(len));
                round_trip(codec, &vec![7; len]);
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_stored_with_little_more_than_its_own_bytes() {
        for codec in ALL {
            let stored = round_trip(codec, &noise(FRAME_BYTES));
            assert!(stored <= FRAME_BYTES + FRAME_BYTES / 1000, "{codec:?}: {stored}");
        }
        assert!(round_trip(Codec::Zstd { level: 3 }, &vec![b'x'; FRAME_BYTES]) < 1000);
        assert!(round_trip(Codec::Gzip { level: 6 }, &vec![b'x'; FRAME_BYTES]) < 3000);
    }

    #[test]
    fn a_frame_that_is_half_text_is_still_compressed() {
        let mixed = [noise(FRAME_BYTES / 2), vec![b'a'; FRAME_BYTES / 2]].concat();
        for codec in [Codec::Zstd { level: 3 }, Codec::Gzip { level: 6 }] {
            assert!(round_trip(codec, &mixed) < FRAME_BYTES * 6 / 10, "{codec:?}");
        }
    }

    #[test]
    fn a_frame_with_any_bit_flipped_is_refused_or_reads_the_same() {
        let (packed, as_it_is) = ([noise(600), vec![b'a'; 600]].concat(), noise(1200));
        let both = [Codec::Zstd { level: 3 }, Codec::Gzip { level: 6 }];
        for (codec, raw) in both.into_iter().flat_map(|codec| [(codec, &packed), (codec, &as_it_is)]) {
            let (mut stored, mut back) = (Vec::new(), Vec::new());
            FrameMaker::new(codec).make(raw, &mut stored);
            for bit in 0..stored.len() * 8 {
                let mut harmed = stored.clone();
                harmed[bit / 8] ^= 1 << (bit % 8);
                let read = FrameReader::new().read(codec, &harmed, raw.len() as u64, &mut back);
                // unused header bits change nothing that is read; the checksum in the manifest notices those
                assert!(read.is_err() || back == *raw, "{codec:?}, bit {bit}");
                let is_as_it_is = read_blocks(&mut FrameReader::new(), codec, &harmed, raw.len(), &mut back);
                assert!(!is_as_it_is, "{codec:?}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_never_gives_more_than_was_promised() {
        for codec in ALL {
            let (mut stored, mut back) = (Vec::new(), Vec::new());
            FrameMaker::new(codec).make(&vec![0; 1 << 20], &mut stored);
            assert!(FrameReader::new().read(codec, &stored, 1000, &mut back).is_err(), "{codec:?}");
            assert!(FrameReader::new().read(codec, &stored, 2 << 20, &mut back).is_err(), "{codec:?}");
            assert!(FrameReader::new().read(codec, &stored, u64::MAX, &mut back).is_err(), "{codec:?}");
        }
    }

    proptest! {
        #[test]
        fn decoding_anything_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), len in 0u64..5000) {
            for codec in ALL {
                let mut back = Vec::new();
                let _ = FrameReader::new().read(codec, &bytes, len, &mut back);
                prop_assert!(back.len() <= 5000.max(bytes.len()));
            }
        }
    }
}
