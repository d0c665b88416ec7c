//! The manifest: the list of a snapshot's entries, and where each lies.
//!
//! JSON lines, compressed in frames of their own that begin at a line's beginning, closed by a seek table: so it is
//! written and read as a stream, and one path is found in it without reading the rest. `FORMAT.md` specifies it.
//!
//! The danger here is trust. A manifest is read as if an enemy wrote it: paths are parsed, lengths are bounded, the
//! order is checked while reading, and what does not fit is an error with its line, never a guess.

mod entry;
mod line;
mod raw;
mod read;
mod write;

pub use entry::{Entry, EntryKind, Placed};
pub use line::{FrameLine, Header, Line, Section, SkipLine, Trailer, VolumeLine};
pub use raw::RawLines;
pub use read::{ManifestError, ManifestReader, OrderedLines, ReadAt};
pub use write::{Finished, ManifestWriter};

/// The version that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
