//! Walking and reading what is to be snapshotted, by folder handle, noticing change.
//!
//! The source is hostile while it is read: web users write in it, and this program may be root. A folder can become
//! a link to `/etc` between two system calls. So nothing is ever opened by path: every name is opened relative to a
//! held folder, links are never followed, and what was opened is compared with what was listed.
//!
//! This room never writes, never looks at the store, never decides what a failure means for the run.

mod error;
mod exclude;
mod folder;
mod names;
mod read;
mod roots;
mod walk;

pub use error::SourceError;
pub use exclude::{ExcludeError, Excludes};
pub use folder::{Descriptors, Place};
pub use names::Names;
pub use read::OpenFile;
pub use roots::{Glance, Identity, Naming, open_roots};
pub use walk::{Found, Item, Root, Walk, WalkOptions};
