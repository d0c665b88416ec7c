//! Verify: whether a snapshot still is what it was when it was published.
//!
//! Reads every stored byte and believes nothing: the checksums, the record, the manifest and the volumes must agree
//! with each other and with the bytes. What is damaged is named down to the frame and the entries in it.
//!
//! This room changes nothing in the store, and does not look at the source.

mod report;
mod stored;

pub use report::{Damage, Report};
pub use stored::{Options, verify};
