//! Outcome → text, JSON, record: the one place that puts results into words.
//!
//! Values in, text out; nothing is printed here. What is read back (a run record, a child's last line) is read as
//! if a stranger wrote it.

mod message;
mod run_record;
mod summary;
mod tell;

pub use message::{Kind, Message, Subject};
pub use run_record::{RunRecord, SkipRecord};
pub use summary::{Next, summary};
pub use tell::{counted, duration_words, tell};
