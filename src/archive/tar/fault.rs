//! What can be wrong with a tar stream, and where.
//!
//! The source's own failures are a variant apart: a disk that cannot be read says nothing about the archive.

use std::io;

use crate::domain::Advise;

/// Why a tar stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The source of the bytes failed (or its decompressor: see the cause).
    #[error("reading the archive failed")]
    Input(#[source] io::Error),
    /// The bytes are no tar stream that we read.
    #[error("at byte {at} of the tar stream: {fault}")]
    Damaged {
        /// The header block that is wrong, or to which what is wrong belongs; in bytes of the raw stream.
        at: u64,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with a tar stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The first block is no header.
    #[error("this is not a tar archive")]
    NotTar,
    /// A block that should be a header has another checksum.
    #[error("a header does not match its checksum")]
    Checksum,
    /// The stream ends within a block, a header or a body.
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    /// A number is not one, is negative where it may not be, or is too large.
    #[error("the field `{field}` of a header is no number that we can use")]
    Number {
        /// Name of the field.
        field: &'static str,
    },
    /// A record of a pax header is not `LENGTH KEY=VALUE`.
    #[error("an extended header holds a malformed record")]
    Record,
    /// A pax record's value cannot be what its keyword says.
    #[error("the record `{key}` of an extended header has a value that we cannot use")]
    Value {
        /// The keyword.
        key: &'static str,
    },
    /// A name or link target with a NUL in it: readers differ on where it ends.
    #[error("a name holds a NUL byte")]
    NulInName,
    /// The same record twice with two values, where readers differ on which counts.
    #[error("an extended header says `{key}` twice, differently")]
    SaidTwice {
        /// The keyword.
        key: &'static str,
    },
    /// Two extended headers of one type before one entry.
    #[error("two extended headers of type `{}` stand before one entry", char::from(*.flag))]
    Stacked {
        /// The type.
        flag: u8,
    },
    /// An extended header with no entry behind it.
    #[error("an extended header belongs to no entry")]
    Dangling,
    /// Two kinds of extended headers that name the entry differently, or in an order that readers take differently.
    #[error("two extended headers contradict each other")]
    Contradiction,
    /// A header for all entries says what can only be of one.
    #[error("a global header says `{key}`, which can only be said of one entry")]
    Global {
        /// The keyword.
        key: &'static str,
    },
    /// More metadata for an entry than we keep.
    #[error("an entry has more than {max} bytes of extended headers")]
    MetadataTooLong {
        /// The limit, in bytes.
        max: u64,
    },
    /// A user's or group's name that is none.
    #[error("the name of a user or group is longer than {max} bytes")]
    OwnerTooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// A sparse file's map that cannot be: not in order, overlapping, beyond its end, or not as long as its data.
    #[error("the map of a sparse file is wrong: {why}")]
    Map {
        /// What is wrong.
        why: &'static str,
    },
    /// A sparse file's map with more runs or bytes than we keep.
    #[error("the map of a sparse file is longer than {max} bytes")]
    MapTooLong {
        /// The limit, in bytes.
        max: u64,
    },
    /// A folder, link or device that has a body: readers differ on whether it follows.
    #[error("an entry of type `{}` has a body, and programs differ on where it ends", char::from(*.flag))]
    BodyOfNoFile {
        /// The entry's type.
        flag: u8,
    },
    /// A type that is no file and that we cannot store as one.
    #[error("an entry has the type `{}`, which we do not read", char::from(*.flag).escape_default())]
    Type {
        /// The entry's type.
        flag: u8,
    },
    /// The reader was asked to go on after an error.
    #[error("it was not read on after an earlier error")]
    AfterError,
}

impl Advise for TarError {
    fn advice(&self) -> String {
        match self {
            Self::Input(_) => "see the cause; the archive itself may be sound".to_owned(),
            Self::Damaged { fault: Fault::NotTar, .. } => {
                "check that it is a tar archive: plain, gzip or zstd; other compressions must be undone first"
                    .to_owned()
            }
            Self::Damaged { fault: Fault::Truncated, .. } => {
                "get a whole copy of the archive; what was told before this place is sound".to_owned()
            }
            Self::Damaged { .. } => {
                "get another copy of the archive, or unpack it with its own program where it can do no harm".to_owned()
            }
        }
    }
}
