//! What lies in a store: names, the order of a commit, the lease, opening a snapshot.
//!
//! The danger here is a snapshot that is listed and not whole. It exists if and only if a folder of its name does,
//! and that folder appears by one rename of a draft whose every file was flushed, read back and compared. So this
//! room writes drafts under names that no list shows, and nothing else ever makes a snapshot's name.
//!
//! This room walks no source, makes no frames, and decides nothing about which snapshots stay.

mod adopt;
mod content;
mod contents;
mod draft;
mod error;
mod frames;
mod guide;
mod holds;
mod layout;
mod lease;
mod list;
mod member;
mod names;
mod probe;
mod proven;
mod record;
mod runs;
mod sums;
mod trash;

pub use adopt::Adopted;
pub use content::{Otherwise, compare_content};
pub use contents::{Contents, FrameBuffers, FrameLoss, RawStream, volumes_with_frames};
pub use draft::{Draft, DraftFile, Published, Reuse};
pub use error::CatalogError;
pub use frames::{FrameDamage, WholeCheck, check_frames, check_whole};
pub use guide::restore_guide;
pub use holds::Hold;
pub use layout::{
    Layout, MANIFEST_NAME, RECORD_NAME, RESTORE_NAME, SUMS_NAME, part_name, stale_name, volume_codec, volume_name,
    volume_writer,
};
pub use lease::{Claim, Holder, Lease, LeaseState};
pub use list::{Catalog, Leftover, OpenManifest, StoredBytes, jobs_in};
pub use member::header_of;
pub use names::{LIST_READ_BYTES, NameSet, StaleNames};
pub use probe::{Probe, probe_store};
pub use proven::{Remembered, SharedDamage, Stored, Verification, shared_damage, shared_doubt, standing, verdict};
pub use record::{FileRecord, Previous, Record, TOOL, VolumeRecord};
pub use runs::RUNS_KEPT;
pub use sums::{Sums, SumsError};
pub use trash::{Trashed, damages_of};
