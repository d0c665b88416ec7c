//! The words of the program as types: ids, sizes, paths, digests, secrets, clock, cancel, turns, entry, level, outcome.
//!
//! Values that are settled. A value of these types is right by construction: it was parsed at a door.
//! No I/O here but the one real clock; no room is known here.

mod advice;
mod cancel;
mod clock;
mod digest;
mod entry;
mod frame_sum;
mod ids;
mod level;
mod moment;
mod outcome;
mod path;
mod secret;
mod size;
mod turns;

pub use advice::{Advise, Trouble};
pub use cancel::{Cancel, Stop};
pub use clock::{Clock, FixedClock, SystemClock, stamp_text};
pub use digest::{Digest, DigestParseError, Hasher};
pub use entry::{Extent, FileTime, Kind, Owner, Stat, Xattr, Xattrs};
pub use frame_sum::{FrameSum, FrameSumParseError};
pub use ids::{Host, IdError, JobName, RunId, SnapshotName, StoreId};
pub use level::{Level, Part, Percent, PercentError};
pub use moment::{Moment, MomentError};
pub use outcome::{Outcome, Skip, SkipCause, Skips, StopReason, Totals, Verdict};
pub use path::{EntryPath, PathError, Shown};
pub use secret::Secret;
pub use size::{ByteCount, SizeError};
pub use turns::{Halt, Halted, Turns};
