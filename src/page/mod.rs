//! What an onlooker sees: the state of the jobs as HTML, OpenMetrics, JSON and health.
//!
//! Pure: a `View` in, text out. Names of files are hostile text in every one of them. It asks nobody anything, so it
//! answers while a store is dead.

mod view;

pub use view::{JobView, Progress, RunView, SnapshotView, StoreView, View};
