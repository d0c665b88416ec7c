//! A run: from a source to a published snapshot.
//!
//! ```text
//! lease → commands (staged) ──────────┐
//!         walk ──────────────────────┤
//!         manifest of the one before ┴→ merge → plan → frames made by workers → ordered writer
//!                                                        → links → read back → publish → outcome
//! ```
//!
//! The dangers here are three. Memory: everything in flight is bounded by a number of frames. Order: the volume's
//! bytes must not depend on how many threads made them, so frames are cut by the plan alone and written by number.
//! And honesty: an error of the source marks an entry and makes the run partial, an error of the store fails the run,
//! and the two never share a type.
//!
//! This room starts threads in `pipeline` and one that renews the lease, and nowhere else. It never
//! prints, and never decides what stays (retention) or who is told (notify).

mod basis;
mod before;
mod fold;
mod large;
mod likeness;
mod make;
mod pipeline;
mod plan;
mod prove;
mod room;
mod run;
mod sanity;
mod snapshot;
mod staged;
mod stale;
mod write;

pub use run::{Context, Gate, Job, NoGate, Reuse, run};
pub use sanity::shrink_doubt;
pub use staged::{CommandSource, Commands};
