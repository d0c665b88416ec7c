//! What an onlooker sees: the state of the jobs as HTML, OpenMetrics, JSON and health.
//!
//! Pure: a `View` in, text out. Names of files are hostile text in every one of them. It asks nobody anything, so it
//! answers while a store is dead.

pub mod api;
mod concerns;
mod health;
mod html;
mod links;
mod metrics;
mod view;
mod words;

pub use concerns::{Concern, Weight, concerns};
pub use health::{Health, TICK_MAX, alive, lateness, ready};
pub use html::{answer, content_security_policy, folder, front, security_headers, sign_in};
pub use links::{browse_url, disposition, download_url, path_of_query};
pub use metrics::{METRICS_TYPE, metrics};
pub use view::{
    Counts, EntryView, FolderView, JobView, Progress, Proof, RunView, SilentChannel, SnapshotView, StoreView, Undone,
    Unlisted, View,
};
