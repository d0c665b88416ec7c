//! The codecs: tar headers, frames, volumes' tables, manifests. Bytes in, bytes out.
//!
//! What a snapshot is made of, byte by byte, is specified in `FORMAT.md`, which is the rest of this page. This room
//! knows no file names, no clock, no threads and no disk; whatever it decodes it decodes as if an enemy wrote it.
//!
#![doc = include_str!("FORMAT.md")]

mod codec;
pub mod expand;
mod frame;
mod header;
pub mod manifest;
pub mod seek;
pub mod stale;
pub mod tar;

pub use codec::Codec;
pub use frame::{
    FRAME_BYTES, FRAME_BYTES_MAX, FrameError, FrameMaker, FrameReader, GZIP_HEADER_LEN, StoredFrame, gzip_lengths,
};
pub use header::{BLOCK, END_MARKER, SparseMap, TarHeader, TarKind, pad, padding};
