//! The table at the end of a zstd volume and of every manifest: zstd's own seekable format.
//!
//! A skippable frame that plain decoders pass over. It lets any program that knows the format read the middle of a
//! volume without our manifest. Source: contrib/seekable_format in zstd, version 0.1.0 of its specification.
//!
//! The danger is a table made by an enemy: counts are checked against the bytes that are there before anything is
//! allocated.

const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
const CHECKSUM_FLAG: u8 = 0x80;
const ENTRY_BYTES: usize = 12;
/// Bytes of the footer: number of frames, descriptor, magic.
pub const FOOTER_BYTES: usize = 9;

/// One frame as the table tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeekEntry {
    /// Bytes in the file.
    pub stored: u32,
    /// Bytes of content.
    pub raw: u32,
    /// The low half of the content's XXH64.
    pub checksum: u32,
}

/// A table that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table of frames at the end is damaged or not there")]
pub struct SeekTableError;

/// The whole skippable frame.
pub fn encode(entries: &[SeekEntry]) -> Vec<u8> {
    let content = entries.len() * ENTRY_BYTES + FOOTER_BYTES;
    let mut out = Vec::with_capacity(content + 8);
    out.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    out.extend_from_slice(&u32::try_from(content).expect("a table of 350 million frames is 4 GiB").to_le_bytes());
    for entry in entries {
        for number in [entry.stored, entry.raw, entry.checksum] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out.extend_from_slice(&u32::try_from(entries.len()).expect("checked above").to_le_bytes());
    out.push(CHECKSUM_FLAG);
    out.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
    out
}

/// From the file's last [`FOOTER_BYTES`]: how many bytes at its end the whole skippable frame takes.
///
/// # Errors
/// If they are not the footer of a table with checksums.
pub fn frame_len(footer: &[u8; FOOTER_BYTES]) -> Result<u64, SeekTableError> {
    let count = u64::from(word(&footer[0..4]));
    if footer[4] != CHECKSUM_FLAG || word(&footer[5..9]) != SEEKABLE_MAGIC {
        return Err(SeekTableError);
    }
    Ok(8 + count * ENTRY_BYTES as u64 + FOOTER_BYTES as u64)
}

/// Decodes the whole skippable frame.
///
/// # Errors
/// If any length in it does not agree with the bytes that are there.
pub fn decode(frame: &[u8]) -> Result<Vec<SeekEntry>, SeekTableError> {
    let footer = frame.last_chunk::<FOOTER_BYTES>().ok_or(SeekTableError)?;
    if frame_len(footer)? != frame.len() as u64
        || word(&frame[0..4]) != SKIPPABLE_MAGIC
        || u64::from(word(&frame[4..8])) != frame.len() as u64 - 8
    {
        return Err(SeekTableError);
    }
    let entries = &frame[8..frame.len() - FOOTER_BYTES];
    Ok(entries
        .chunks_exact(ENTRY_BYTES)
        .map(|e| SeekEntry { stored: word(&e[0..4]), raw: word(&e[4..8]), checksum: word(&e[8..12]) })
        .collect())
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("callers cut four bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SeekEntry, decode, encode, frame_len};

    #[test]
    fn a_table_comes_back_and_tells_its_own_length() {
        for count in [0, 1, 2, 1000] {
            let entries: Vec<_> = (0..count).map(|n| SeekEntry { stored: n, raw: n * 2, checksum: !n }).collect();
            let frame = encode(&entries);
            assert_eq!(frame_len(frame.last_chunk().expect("a footer")), Ok(frame.len() as u64));
            assert_eq!(decode(&frame), Ok(entries));
            assert!(decode(&frame[1..]).is_err());
        }
    }

    proptest! {
        #[test]
        fn decoding_anything_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(decode(&bytes).map_or(true, |entries| entries.len() * 12 < bytes.len()));
        }
    }
}
