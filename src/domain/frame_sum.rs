//! The checksum of a frame: XXH3 with 128 bits, behind a newtype so that the implementation can be exchanged in one place.
//!
//! It tells accidents (a bad sector, a cut write, a bit that turned over in memory), and is as fast as memory is. It tells
//! no forgery: whoever can choose bytes can choose two with one checksum. That is what the SHA-256 of each file's content
//! and of each volume are for; no decision that somebody could wish to be wrong rests on a frame's checksum.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

/// An XXH3-128 with seed 0. Shown and stored as 32 lower-case hexadecimal digits, the highest first: as `xxhsum -H2` does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "std::borrow::Cow<'_, str>", into = "String")]
pub struct FrameSum(u128);

impl FrameSum {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(XxHash3_128::oneshot(bytes))
    }

    /// The checksum of these, one behind the other.
    pub fn of_pieces(pieces: &[&[u8]]) -> Self {
        match pieces {
            // at once is faster than piece by piece
            [bytes] => Self::of(bytes),
            pieces => {
                let mut hasher = XxHash3_128::new();
                for piece in pieces {
                    hasher.write(piece);
                }
                Self(hasher.finish_128())
            }
        }
    }

    /// The 16 bytes, the highest first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for FrameSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for FrameSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<FrameSum> for String {
    fn from(sum: FrameSum) -> Self {
        sum.to_string()
    }
}

/// Text that is not 32 lower-case hexadecimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an XXH3-128: 32 lower-case hexadecimal digits are expected")]
pub struct FrameSumParseError;

impl FromStr for FrameSum {
    type Err = FrameSumParseError;

    fn from_str(text: &str) -> Result<Self, FrameSumParseError> {
        let is_ours = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).map_err(|_| FrameSumParseError)?;
        if is_ours { Ok(Self(number)) } else { Err(FrameSumParseError) }
    }
}

impl TryFrom<std::borrow::Cow<'_, str>> for FrameSum {
    type Error = FrameSumParseError;

    fn try_from(text: std::borrow::Cow<'_, str>) -> Result<Self, FrameSumParseError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::FrameSum;

    #[test]
    fn a_checksum_is_the_published_one_in_pieces_or_whole_and_survives_only_its_own_text() {
        // `printf '' | xxhsum -H2`, `printf abc | xxhsum -H2`, xxhsum 0.8.1
        for (bytes, text) in
            [(&b""[..], "99aa06d3014798d86001c324468d497f"), (&b"abc"[..], "06b05ab6733a618578af5f94892f3950")]
        {
            let sum = FrameSum::of(bytes);
            assert_eq!(sum.to_string(), text);
            assert_eq!(text.parse(), Ok(sum));
        }
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        for at in [0, 1, 63, 64, 65, 240, 241, 1024, 99_999, 100_000] {
            let (first, second) = bytes.split_at(at);
            assert_eq!(FrameSum::of_pieces(&[first, &[], second]), FrameSum::of(&bytes), "in pieces, cut at {at}");
        }
        for wrong in ["", "+6b05ab6733a618578af5f94892f3950", "06B05AB6733A618578AF5F94892F3950", "06b0"] {
            assert!(wrong.parse::<FrameSum>().is_err(), "{wrong}");
        }
    }
}
