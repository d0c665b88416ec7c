//! Restoring: a snapshot, or any tar, becomes a tree again, beneath one folder and nowhere else.
//!
//! Volumes and archives are treated as if an enemy wrote them. Every folder is made or opened through its parent's
//! handle and never through a link, so there is no path that could lead outside. For our own snapshots the manifest is
//! the list of what may appear; what a volume says besides stops the restore. A damaged frame costs its own files only:
//! they are named, and everything else is restored.
//!
//! This room writes nothing into a store, and never takes a lease: it opens all it reads when it begins.

mod decide;
mod error;
mod folder;
mod foreign;
mod large;
mod names;
mod plan;
mod report;
mod run;
mod select;
mod stream;
mod work;

pub use decide::Overwrite;
pub use error::RestoreError;
pub use foreign::{Budget, ForeignOrder, restore_archive};
pub use names::Ownership;
pub use report::{Counts, Loss, LossCause, Report};
pub use run::{Deed, Order, Planned, preview, remove_extras, restore};
pub use select::Selection;
pub use stream::{content, to_tar};
