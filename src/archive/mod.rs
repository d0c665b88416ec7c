//! The codecs: tar, frames, volumes, manifest. Bytes in, bytes out.

mod codec;

pub use codec::Codec;
