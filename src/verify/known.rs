//! Volumes that were read already: one that several snapshots share is read once.
//!
//! Known is a file, not a name: the same inode of the same store, with the same checksum and the same frames promised.
//! A copy under the same name may be damaged where the first is not, so it is read.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::archive::manifest::{FrameLine, VolumeLine};
use crate::domain::{Digest, Hasher, StoreId};
use crate::store::StoreReader;

/// What is known of volumes, for as long as one command works.
#[derive(Debug, Default)]
pub struct Known(Mutex<BTreeMap<Which, Found>>);

/// Which file, and what is promised of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Which {
    store: String,
    file: ((u32, u32), u64),
    len: u64,
    name: String,
    promised: [u8; 32],
}

/// What reading every byte of a volume found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Whether the whole has the checksum that was promised.
    pub(super) whole: bool,
    /// Damaged frames: number, and why.
    pub(super) frames: Vec<(u64, String)>,
}

impl Which {
    /// None where the store does not tell one file from another.
    pub(super) fn of(
        store: &StoreId,
        reader: &dyn StoreReader,
        volume: &VolumeLine,
        frames: &[FrameLine],
    ) -> Option<Self> {
        let mut hasher = Hasher::new();
        hasher.update(volume.sha256.as_bytes());
        for frame in frames {
            for number in [frame.offset, frame.stored] {
                hasher.update(&number.to_le_bytes());
            }
            hasher.update(&frame.xxh128.to_bytes());
        }
        let promised: Digest = hasher.finish();
        Some(Self {
            store: store.to_string(),
            file: reader.file_id()?,
            len: reader.len(),
            name: volume.name.clone(),
            promised: *promised.as_bytes(),
        })
    }
}

impl Known {
    pub(super) fn find(&self, which: &Which) -> Option<Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(which).cloned()
    }

    pub(super) fn remember(&self, which: Which, found: Found) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(which, found);
    }
}
