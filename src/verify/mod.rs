//! Verify: whether a snapshot still is what it was when it was published.
//!
//! Believes nothing: the checksums, the record, the manifest and the volumes must agree with each other and with the
//! bytes, as deep as is asked for. What is damaged is named down to the frame and the entries in it. The source may be
//! compared as well: what differs there is news, not damage, unless nobody changed it.
//!
//! This room changes nothing in the store, and restores nothing: a drill is put together by whoever may use both rooms.

mod against;
mod compare;
mod deep;
mod known;
mod lists;
mod report;
mod snapshot;

pub use against::{Change, ChangeKind, Changes, Sources, against_source};
pub use compare::{CompareError, Compared, Difference, Terms, compare};
pub use known::Known;
pub use report::{Damage, Report};
pub use snapshot::{Options, verify};
