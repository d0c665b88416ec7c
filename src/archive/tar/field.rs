//! The fields of a header block: numbers, names, the checksum.
//!
//! The danger is a field that two readers take for two numbers. What a number is, is therefore narrow: octal digits
//! between blanks, or base 256; whatever else stands in the field is refused and not guessed at.

/// One header block.
pub(super) type Block = [u8; 512];

/// Octal with blanks (spaces, NULs) around it, or base 256 in two's complement (GNU). A blank field is 0.
/// None if it is neither, or not within 64 bits.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let mut value: i64 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            // the flag is no part of a positive number; of a negative one it is as good as its sign
            let byte = if at == 0 && !negative { byte & 0x7f } else { *byte };
            value = value.checked_mul(256)?.checked_add(i64::from(byte))?;
        }
        return Some(value);
    }
    let is_blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let digits = &field[field.iter().position(|byte| *byte != b' ').unwrap_or(field.len())..];
    let end = digits.iter().position(|byte| !matches!(byte, b'0'..=b'7')).unwrap_or(digits.len());
    if end == 0 {
        // GNU reads on behind a leading NUL where others read 0
        return digits.iter().all(is_blank).then_some(0);
    }
    if digits.get(end).is_some_and(|byte| !is_blank(byte)) {
        return None;
    }
    digits[..end].iter().try_fold(0i64, |value, digit| value.checked_mul(8)?.checked_add(i64::from(digit - b'0')))
}

/// A text field: up to its first NUL, or whole.
pub(super) fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}

/// Whether the block's checksum is right: of bytes as POSIX has it, or of signed ones as some old programs had it.
pub(super) fn checksum_is_right(block: &Block) -> bool {
    let field = &block[148..156];
    // eight zeros are no checksum: no header's bytes sum up to less than the eight spaces
    let told = match number(field) {
        Some(told) if field[0] & 0x80 == 0 => told,
        _ => return false,
    };
    let blanks = 8 * i64::from(b' ');
    let unsigned: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = field.iter().map(|byte| u32::from(*byte)).sum();
    if i64::from(unsigned) - i64::from(own) + blanks == told {
        return true;
    }
    let signed: i32 = block.iter().map(|byte| i32::from(byte.cast_signed())).sum();
    let own: i32 = field.iter().map(|byte| i32::from(byte.cast_signed())).sum();
    i64::from(signed) - i64::from(own) + blanks == told
}

/// Which program's fields the block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Nothing behind the link name.
    V7,
    /// POSIX: owner names, devices, a prefix of the name.
    Ustar,
    /// Owner names and devices; other things where ustar has the prefix.
    Gnu,
    /// As ustar, with a shorter prefix.
    Star,
}

impl Dialect {
    pub(super) fn of(block: &Block) -> Self {
        match &block[257..265] {
            b"ustar  \0" => Self::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, ..] if &block[508..] == b"tar\0" => Self::Star,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Self::Ustar,
            _ => Self::V7,
        }
    }

    /// The name as the block alone has it.
    pub(super) fn name(self, block: &Block) -> Box<[u8]> {
        let name = text(&block[..100]);
        let prefix = match self {
            Self::V7 | Self::Gnu => b"",
            Self::Ustar => text(&block[345..500]),
            Self::Star => text(&block[345..476]),
        };
        if prefix.is_empty() {
            return name.into();
        }
        [prefix, b"/", name].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::{checksum_is_right, number};

    #[test]
    fn numbers_are_octal_between_blanks_or_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644\0junk", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"       \0", Some(0)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"\x000000644", None),
            (b"0x1\0\0\0\0\0", None),
            (b"", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn checksums_of_signed_and_of_unsigned_bytes_are_both_right() {
        let mut block = [0u8; 512];
        block[0] = 0xe9;
        block[148..156].copy_from_slice(b"        ");
        let unsigned: i64 = 8 * 32 + 0xe9;
        for (sum, right) in [(unsigned, true), (unsigned - 256, true), (unsigned + 1, false)] {
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            assert_eq!(checksum_is_right(&block), right, "{sum}");
        }
        assert!(!checksum_is_right(&[0; 512]), "zeros are no header");
    }
}
