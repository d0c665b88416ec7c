//! Listing and opening snapshots.

use std::sync::Arc;

use super::error::CatalogError;
use super::layout::{GIVEN_UP, Layout, MANIFEST_NAME, PARTIAL_PREFIX, RECORD_NAME, SUMS_NAME};
use super::record::{FORMAT, Record};
use super::sums::Sums;
use crate::archive::manifest::{ManifestError, ManifestReader, ReadAt};
use crate::domain::{Digest, JobName, RunId, SnapshotName};
use crate::store::{Key, Listed, ListedKind, Store, StoreError, StoreReader};

/// A record of a snapshot of ten thousand volumes is some megabytes; what is larger was not written by us.
const RECORD_BYTES_MAX: u64 = 64 << 20;

/// The snapshots of one job in one store.
#[derive(Clone)]
pub struct Catalog {
    store: Arc<dyn Store>,
    layout: Layout,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Catalog({}, {})", self.store.name(), self.layout.job())
    }
}

/// A stored file as bytes at offsets.
pub struct StoredBytes(Box<dyn StoreReader>);

impl std::fmt::Debug for StoredBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredBytes({})", self.0.len())
    }
}

impl ReadAt for StoredBytes {
    type Error = StoreError;

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), StoreError> {
        self.0.read_at(offset, into)
    }
}

/// The unfinished work of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The run.
    pub run: RunId,
    /// When anything in it was last written, by the store's clock.
    pub touched: jiff::Timestamp,
    /// Whether the run said that it is over.
    pub given_up: bool,
}

/// A snapshot's manifest, open in the store.
pub type OpenManifest = ManifestReader<StoredBytes>;

/// The jobs that have a folder in the store, in order of names.
///
/// # Errors
/// If the store cannot be listed.
pub fn jobs_in(store: &dyn Store) -> Result<Vec<JobName>, StoreError> {
    let mut jobs: Vec<JobName> = store
        .list(&Key::top())?
        .into_iter()
        .filter(|listed| listed.kind == ListedKind::Folder)
        .filter_map(|listed| listed.name.parse().ok())
        .collect();
    jobs.sort();
    Ok(jobs)
}

impl Catalog {
    /// Of `job` in `store`. Looks at nothing yet.
    pub fn new(store: Arc<dyn Store>, job: JobName) -> Self {
        Self { store, layout: Layout::new(job) }
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Where things lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All snapshots, oldest first. A job without a folder has none.
    ///
    /// # Errors
    /// If the store cannot be listed.
    pub fn snapshots(&self) -> Result<Vec<SnapshotName>, CatalogError> {
        let mut names: Vec<SnapshotName> = self
            .listed()?
            .into_iter()
            .filter(|listed| listed.kind == ListedKind::Folder)
            .filter_map(|listed| listed.name.parse().ok())
            .filter(|name: &SnapshotName| name.job() == *self.layout.job())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Runs that left unfinished work behind, with when it was last touched by the store's clock.
    ///
    /// # Errors
    /// If the store cannot be listed.
    pub fn leftovers(&self) -> Result<Vec<Leftover>, CatalogError> {
        let mut found = Vec::new();
        for listed in self.listed()? {
            let run = listed.name.strip_prefix(PARTIAL_PREFIX).and_then(|id| id.parse::<RunId>().ok());
            if let (Some(run), ListedKind::Folder) = (run, listed.kind) {
                let inside = match self.store.list(&self.layout.partial(&run)) {
                    Ok(inside) => inside,
                    Err(StoreError::NotThere { .. }) => continue,
                    Err(error) => return Err(error.into()),
                };
                let touched = inside.iter().map(|file| file.modified).fold(listed.modified, Ord::max);
                let given_up = inside.iter().any(|file| file.name == GIVEN_UP);
                found.push(Leftover { run, touched, given_up });
            }
        }
        Ok(found)
    }

    /// A snapshot by its full name, or by its stamp or the beginning of either if only one fits, or `latest`.
    ///
    /// # Errors
    /// [`CatalogError::NoSnapshot`] if none or several fit.
    pub fn find(&self, wanted: &str) -> Result<SnapshotName, CatalogError> {
        let all = self.snapshots()?;
        if wanted == "latest" {
            return all
                .last()
                .cloned()
                .ok_or_else(|| CatalogError::NoSnapshot { name: format!("of job {} yet", self.layout.job()) });
        }
        if let Some(exact) = all.iter().find(|name| name.as_str() == wanted) {
            return Ok(exact.clone());
        }
        let fits: Vec<&SnapshotName> = all
            .iter()
            .filter(|name| {
                !wanted.is_empty() && (name.as_str().starts_with(wanted) || name.stamp().starts_with(wanted))
            })
            .collect();
        match fits.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(CatalogError::NoSnapshot { name: wanted.to_owned() }),
            several => Err(CatalogError::NoSnapshot {
                name: format!("that alone is called {wanted}: {} begin like that", several.len()),
            }),
        }
    }

    /// The newest snapshot whose run began at `time` or before.
    ///
    /// # Errors
    /// [`CatalogError::NoSnapshot`] if all are later.
    pub fn at(&self, time: jiff::Timestamp) -> Result<SnapshotName, CatalogError> {
        self.snapshots()?.into_iter().rfind(|name| name.at() <= time).ok_or_else(|| CatalogError::NoSnapshot {
            name: format!("of job {} from {} or before", self.layout.job(), time.strftime("%Y-%m-%d %H:%M:%S UTC")),
        })
    }

    /// The record of a snapshot and the digest of its bytes.
    ///
    /// # Errors
    /// If it is not there, damaged, newer, or another snapshot's.
    pub fn record(&self, name: &SnapshotName) -> Result<(Record, Digest), CatalogError> {
        self.record_in(&self.layout.snapshot(name), name)
    }

    /// A snapshot's record, or what is wrong with it; none if the snapshot was removed meanwhile.
    ///
    /// # Errors
    /// Where a right is missing or the store is gone, nothing is known of the job. Whatever else hides one record says
    /// nothing of the others, and is a value.
    pub fn record_or_damage(&self, name: &SnapshotName) -> Result<Option<Result<Record, CatalogError>>, CatalogError> {
        match self.record(name) {
            Ok((record, _)) => Ok(Some(Ok(record))),
            Err(error @ CatalogError::Store(StoreError::NotThere { .. })) => {
                Ok(self.snapshots()?.contains(name).then_some(Err(error)))
            }
            Err(CatalogError::Store(error)) if error.is_absent() || matches!(error, StoreError::Refused { .. }) => {
                Err(error.into())
            }
            Err(error) => Ok(Some(Err(error))),
        }
    }

    /// The record in a folder that is, or was, a snapshot's.
    pub(super) fn record_in(&self, folder: &Key, name: &SnapshotName) -> Result<(Record, Digest), CatalogError> {
        let bytes = self.read_small(&folder.join(RECORD_NAME)?, RECORD_BYTES_MAX)?;
        self.parse_record(name, &bytes).map(|record| (record, Digest::of(&bytes)))
    }

    /// Understands the bytes of a record.
    ///
    /// # Errors
    /// If they are damaged, newer, or another snapshot's.
    pub fn parse_record(&self, name: &SnapshotName, bytes: &[u8]) -> Result<Record, CatalogError> {
        #[derive(serde::Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged = |why: String| CatalogError::Damaged { snapshot: name.clone(), file: RECORD_NAME.into(), why };
        let version: Version = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        if version.format > FORMAT {
            return Err(CatalogError::Newer {
                snapshot: name.clone(),
                file: RECORD_NAME.into(),
                found: version.format,
                newest: FORMAT,
            });
        }
        let record: Record = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        if record.snapshot != *name {
            return Err(damaged(format!("it is the record of {}", record.snapshot)));
        }
        Ok(record)
    }

    /// The checksums of a snapshot.
    ///
    /// # Errors
    /// If they are not there or not in their one form.
    pub fn sums(&self, name: &SnapshotName) -> Result<Sums, CatalogError> {
        let bytes = self.file(name, SUMS_NAME)?;
        Sums::parse(&bytes).map_err(|e| CatalogError::Damaged {
            snapshot: name.clone(),
            file: SUMS_NAME.into(),
            why: e.to_string(),
        })
    }

    /// The manifest of a snapshot, opened.
    ///
    /// # Errors
    /// If it is not there, damaged, newer, or another snapshot's.
    pub fn manifest(&self, name: &SnapshotName) -> Result<OpenManifest, CatalogError> {
        let key = self.layout.snapshot(name).join(MANIFEST_NAME)?;
        let manifest = ManifestReader::open(StoredBytes(self.store.open(&key)?));
        let manifest = manifest.map_err(|error| self.manifest_error(name, error))?;
        let of = &manifest.header().snapshot;
        // where nothing had changed, the manifest is that of an earlier snapshot, and the record says so
        let is_theirs = || Ok::<_, CatalogError>(self.record(name)?.0.manifest_of.as_ref() == Some(of));
        if of != name && !is_theirs()? {
            return Err(CatalogError::Damaged {
                snapshot: name.clone(),
                file: MANIFEST_NAME.into(),
                why: format!("it is the manifest of {}", manifest.header().snapshot),
            });
        }
        Ok(manifest)
    }

    /// Opens whatever manifest lies there.
    pub(super) fn open_manifest(&self, key: &Key) -> Result<OpenManifest, ManifestError<StoreError>> {
        ManifestReader::open(StoredBytes(self.store.open(key).map_err(ManifestError::Read)?))
    }

    /// Places a manifest's error: the store's own errors stay the store's.
    pub fn manifest_error(&self, name: &SnapshotName, error: ManifestError<StoreError>) -> CatalogError {
        match error {
            ManifestError::Read(error) => error.into(),
            ManifestError::Damaged(why) => {
                CatalogError::Damaged { snapshot: name.clone(), file: MANIFEST_NAME.into(), why }
            }
            ManifestError::Newer { found, newest } => {
                CatalogError::Newer { snapshot: name.clone(), file: MANIFEST_NAME.into(), found, newest }
            }
        }
    }

    /// A small file of a snapshot, whole.
    ///
    /// # Errors
    /// If it is not there or absurdly large.
    pub fn file(&self, name: &SnapshotName, file: &str) -> Result<Vec<u8>, CatalogError> {
        let folder = self.layout.snapshot(name);
        self.read_small(&folder.join(file)?, RECORD_BYTES_MAX)
    }

    pub(super) fn read_small(&self, key: &Key, bytes_max: u64) -> Result<Vec<u8>, CatalogError> {
        let reader = self.store.open(key)?;
        let len = reader.len();
        if len > bytes_max {
            return Err(StoreError::Io {
                deed: "reading",
                place: key.to_string(),
                source: std::io::Error::other(format!("it has {len} bytes, and such a file has at most {bytes_max}")),
            }
            .into());
        }
        let mut bytes = vec![0; len as usize];
        reader.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    fn listed(&self) -> Result<Vec<Listed>, CatalogError> {
        match self.store.list(&self.layout.folder()) {
            Err(StoreError::NotThere { .. }) => Ok(Vec::new()),
            other => Ok(other?),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files")]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::Catalog;
    use crate::domain::StoreId;
    use crate::store::{FolderStore, Permissions, RequireMount};

    fn catalog(path: &Path, snapshots: &[&str]) -> Catalog {
        let id = StoreId::from_random([7; 16]);
        let created = "2026-11-01T00:00:00Z".parse().expect("a time");
        let permissions = Permissions::default();
        FolderStore::init(path, &RequireMount::No, permissions, id.clone(), created, "a test", true).expect("a store");
        for name in snapshots {
            std::fs::create_dir_all(path.join("up").join(name)).expect("a folder");
        }
        let store = FolderStore::open(path, &RequireMount::No, permissions, Some(&id)).expect("a store").store;
        Catalog::new(Arc::new(store), "up".parse().expect("a job"))
    }

    /// A prune during a deep look was told as damage, and "well again" after the next.
    #[test]
    fn a_snapshot_that_is_removed_while_it_is_looked_at_is_no_damage_and_one_without_its_record_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let catalog = catalog(folder.path(), &[]);
        let name = "up-20261119T020000Z".parse().expect("a name");
        let look = || catalog.record_or_damage(&name);
        assert!(matches!(look(), Ok(None)), "it is gone");
        let snapshot = folder.path().join("up/up-20261119T020000Z");
        std::fs::create_dir_all(&snapshot).expect("a folder");
        assert!(matches!(look(), Ok(Some(Err(_)))), "its record is");
        std::fs::write(snapshot.join("snapshot.json"), b"{}").expect("a file");
        assert!(matches!(look(), Ok(Some(Err(_)))), "it is no record");
        std::fs::remove_file(snapshot.join("snapshot.json")).expect("removable");
        std::fs::create_dir(snapshot.join("snapshot.json")).expect("a folder");
        assert!(matches!(look(), Ok(Some(Err(_)))), "it cannot be read, and hides no other");
    }

    #[test]
    fn the_snapshot_at_a_time_is_the_newest_that_is_not_later() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names = ["up-20261119T020000Z", "up-20261120T020000Z", "up-20261121T020000Z"];
        let catalog = catalog(folder.path(), &names);
        for (time, found) in [
            ("2026-11-19T02:00:00Z", names[0]),
            ("2026-11-20T01:59:59.999Z", names[0]),
            ("2026-11-20T02:00:00Z", names[1]),
            ("2030-01-01T00:00:00Z", names[2]),
        ] {
            assert_eq!(catalog.at(time.parse().expect("a time")).expect("a snapshot").as_str(), found, "{time}");
        }
        let error = catalog.at("2026-11-19T01:59:59Z".parse().expect("a time")).expect_err("all are later");
        assert_eq!(error.to_string(), "there is no snapshot of job up from 2026-11-19 01:59:59 UTC or before");
    }
}
