//! What a store can do, found out by doing it: a file written and read back, linked, moved and removed, in a folder of
//! its own that no command takes for a job's.
//!
//! Whether volumes can be linked is asked of volumes: a server may allow links in general and refuse those to files of
//! another owner, or to immutable ones. Leaves nothing behind when it ends, well or not; what a dead process left is a
//! folder that says so by its name.

use std::sync::Arc;

use super::error::CatalogError;
use crate::domain::{Digest, RunId};
use crate::store::{Key, Store, StoreError, create_whole};

/// Folders of this beginning are probes.
const PROBE_PREFIX: &str = ".probe-";

/// What is written: one byte more than a page, so that something is left over.
const PROBE_BYTES: usize = 4097;

/// What a store can do.
#[derive(Debug)]
pub struct Probe {
    /// The store's own clock while it was asked.
    pub now: jiff::Timestamp,
    /// Why a new file can have no second name, if it cannot.
    pub refused: Option<StoreError>,
    /// Those of the files asked about that can have no further name, with why.
    pub refused_files: Vec<(Key, StoreError)>,
}

/// Asks `store`, in a folder named after `probe`, and whether each of `files` could be linked.
///
/// # Errors
/// If it cannot do what every run needs: create, read back, move and remove.
pub fn probe_store(store: &Arc<dyn Store>, probe: &RunId, files: &[Key]) -> Result<Probe, CatalogError> {
    let folder = Key::top().join(&format!("{PROBE_PREFIX}{probe}"))?;
    let done = probe_in(&**store, &folder, files);
    let removed = store.remove_folder(&folder);
    let found = done?;
    removed?;
    Ok(found)
}

fn probe_in(store: &dyn Store, folder: &Key, files: &[Key]) -> Result<Probe, CatalogError> {
    store.create_folder(folder)?;
    let (draft, published) = (folder.join("draft")?, folder.join("published")?);
    store.create_folder(&draft)?;
    let (file, linked) = (draft.join("file")?, draft.join("linked")?);
    let bytes: Vec<u8> = (0..PROBE_BYTES).map(|at| (at % 251) as u8).collect();
    create_whole(store, &file, &bytes)?;
    let refused = refusal(store.link(&file, &linked))?;
    let mut refused_files = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let linked = draft.join(&format!("linked-{number}"))?;
        match refusal(store.link(file, &linked)) {
            Ok(refusal) => refused_files.extend(refusal.map(|error| (file.clone(), error))),
            // it was removed meanwhile: nobody will build on it
            Err(StoreError::NotThere { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    store.sync_folder(&draft)?;
    store.publish(&draft, &published)?;
    store.sync_folder(folder)?;
    let moved = published.join("file")?;
    let reader = store.open(&moved)?;
    let mut read = vec![0; bytes.len()];
    reader.read_at(0, &mut read)?;
    if reader.len() != bytes.len() as u64 || Digest::of(&read) != Digest::of(&bytes) {
        return Err(StoreError::ReadBackDiffers { place: moved.to_string(), offset: 0 }.into());
    }
    Ok(Probe { now: store.now()?, refused, refused_files })
}

fn refusal(linked: Result<(), StoreError>) -> Result<Option<StoreError>, StoreError> {
    match linked {
        Ok(()) => Ok(None),
        Err(error @ StoreError::LinkRefused { .. }) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}
