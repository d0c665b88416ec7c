//! Browsing: what is in a snapshot, which snapshots hold a file, what differs between two of them.
//!
//! All three stream sorted manifests, so memory does not grow with the number of entries. The danger here is a wrong
//! "it is not there": at three in the morning somebody believes it. So an entry that could not be read when the
//! snapshot was made is told apart from one that was not there, and a manifest that cannot be read to its end is an
//! error beside the answer, never a shorter answer.
//!
//! This room reads manifests only. It opens no volume, writes nothing, and knows no clock and no zone.

mod diff;
mod find;
mod hidden;
mod listing;
mod merge;
#[cfg(test)]
mod model;
mod pattern;

pub use diff::{Aspect, Change, Changes, DiffTotals, Side, diff};
pub use find::{Criteria, KindWanted, Sighting, Sightings, Version, find};
pub use hidden::hiding;
pub use listing::{Below, Depth, Listed, Listing, list, near};
pub use pattern::{Pattern, PatternError, Scope};
