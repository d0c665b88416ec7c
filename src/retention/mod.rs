//! Which snapshots stay: arithmetic over dates, with a reason for each verdict.
//!
//! Values in, values out: no clock, no store, nothing is removed here. The danger is a rule that looks harmless and
//! removes what somebody will need: so the newest good snapshot always stays, so do `floor` good ones whatever the
//! rules say, and where anything is odd (the last run was not ok, the clock is behind or another than the store's, too many would go) the answer
//! is a refusal, and nothing goes.

mod judge;
mod policy;

pub use judge::{CLOCKS_APART_MAX, Clocks, Dated, Judgement, Quality, Reason, Refusal, Verdict, judge};
pub use policy::Policy;
