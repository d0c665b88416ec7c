//! Reading a `.stale` list: the names in a volume that a snapshot does not use, as a stream.
//!
//! A list grows with the volume, to many millions of names, so nobody has it in memory as text. The danger is a list out
//! of order: whoever goes through it beside a manifest would pass over names. So the order is checked while they pass, and
//! the checksum is taken of the very bytes that were believed.
//!
//! No file stays open between two reads: a snapshot has a list for each of hundreds of volumes.

use super::error::CatalogError;
use super::list::Catalog;
use super::record::FileRecord;
use crate::archive::stale::parse_name;
use crate::domain::{EntryPath, Hasher, SnapshotName};
use crate::store::Key;

/// A name has at most 1 MiB, and at most nine bytes of a line stand for one of them.
const LINE_BYTES_MAX: usize = 9 << 20;

/// Bytes that are read at once when one list is read by itself.
pub const LIST_READ_BYTES: usize = 256 << 10;

/// Goes through a list, name by name.
#[derive(Debug)]
pub struct StaleNames<'a> {
    catalog: &'a Catalog,
    snapshot: &'a SnapshotName,
    file: String,
    key: Key,
    len: u64,
    read: u64,
    read_bytes: usize,
    buffer: Vec<u8>,
    at: usize,
    hasher: Hasher,
    last: Option<EntryPath>,
}

impl<'a> StaleNames<'a> {
    /// Of the list called `file` in the snapshot's folder. Takes about `read_bytes` of memory.
    ///
    /// # Errors
    /// If it is not there.
    pub fn open(
        catalog: &'a Catalog,
        snapshot: &'a SnapshotName,
        file: &str,
        read_bytes: usize,
    ) -> Result<Self, CatalogError> {
        let key = catalog.layout().snapshot(snapshot).join(file)?;
        let len = catalog.store().open(&key)?.len();
        let (buffer, hasher) = (Vec::new(), Hasher::new());
        let file = file.to_owned();
        Ok(Self { catalog, snapshot, file, key, len, read: 0, read_bytes, buffer, at: 0, hasher, last: None })
    }

    /// The next name; none at the end. After an error nothing that follows is to be believed.
    ///
    /// # Errors
    /// If the store fails, or a line is no name or not behind the one before it.
    pub fn next_name(&mut self) -> Result<Option<EntryPath>, CatalogError> {
        let mut seen = self.at;
        let end = loop {
            if let Some(found) = self.buffer[seen..].iter().position(|byte| *byte == b'\n') {
                break seen + found;
            }
            if self.buffer.len() - self.at > LINE_BYTES_MAX {
                return Err(self.damaged("a line of it is longer than any name".to_owned()));
            }
            // what was searched is not searched again
            let searched = self.buffer.len() - self.at;
            if !self.fill()? {
                if searched == 0 {
                    return Ok(None);
                }
                return Err(self.damaged("its last line has no end".to_owned()));
            }
            seen = self.at + searched;
        };
        let parsed = parse_name(&self.buffer[self.at..end]);
        self.at = end + 1;
        let path = parsed.map_err(|why| self.damaged(format!("a line of it is no name: {why}")))?;
        if self.last.as_ref().is_some_and(|last| *last >= path) {
            return Err(self.damaged(format!("{path} is not in its place: its names are not in order")));
        }
        self.last = Some(path.clone());
        Ok(Some(path))
    }

    /// Reads what is left, and gives the length and the checksum of all that was read.
    ///
    /// # Errors
    /// If the store fails.
    pub fn finish(mut self) -> Result<FileRecord, CatalogError> {
        loop {
            self.at = self.buffer.len();
            if !self.fill()? {
                return Ok(FileRecord { name: self.file, size: self.read, sha256: self.hasher.finish() });
            }
        }
    }

    /// Reads on behind what was not used yet. False at the end.
    fn fill(&mut self) -> Result<bool, CatalogError> {
        let want = (self.len - self.read).min(self.read_bytes as u64) as usize;
        if want == 0 {
            return Ok(false);
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + want, 0);
        let reader = self.catalog.store().open(&self.key);
        if let Err(error) = reader.and_then(|reader| reader.read_at(self.read, &mut self.buffer[kept..])) {
            self.buffer.truncate(kept);
            return Err(error.into());
        }
        self.hasher.update(&self.buffer[kept..]);
        self.read += want as u64;
        Ok(true)
    }

    fn damaged(&self, why: String) -> CatalogError {
        CatalogError::Damaged { snapshot: self.snapshot.clone(), file: self.file.clone(), why }
    }
}

/// All names of a list, to be asked for in any order. In memory they take their own bytes and 8 more each, and twice that
/// at most while they grow: 33 to 66 MB for a million names of 25 bytes. Nothing but the length of the list bounds them.
#[derive(Clone, Debug, Default)]
pub struct NameSet {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl NameSet {
    /// Reads a whole list, and its length and checksum.
    ///
    /// # Errors
    /// As [`StaleNames::next_name`].
    pub fn read(catalog: &Catalog, snapshot: &SnapshotName, file: &str) -> Result<(Self, FileRecord), CatalogError> {
        let mut names = StaleNames::open(catalog, snapshot, file, LIST_READ_BYTES)?;
        let mut set = Self::default();
        while let Some(path) = names.next_name()? {
            set.bytes.extend_from_slice(path.as_bytes());
            set.ends.push(set.bytes.len());
        }
        Ok((set, names.finish()?))
    }

    /// Whether `path` is among them.
    pub fn contains(&self, path: &EntryPath) -> bool {
        let (mut from, mut to) = (0, self.ends.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            let begin = if middle == 0 { 0 } else { self.ends[middle - 1] };
            match EntryPath::order(&self.bytes[begin..self.ends[middle]], path.as_bytes()) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::{NameSet, StaleNames};
    use crate::archive::stale::put_name;
    use crate::catalog::Catalog;
    use crate::domain::{Digest, EntryPath, SnapshotName, StoreId};
    use crate::store::{FolderStore, Permissions, RequireMount};

    const NAME: &str = "up-20261121T020000Z";

    fn with_list(path: &Path, list: &[u8]) -> (Catalog, SnapshotName) {
        let id = StoreId::from_random([7; 16]);
        let created = "2026-11-01T00:00:00Z".parse().expect("a time");
        let permissions = Permissions::default();
        FolderStore::init(path, &RequireMount::No, permissions, id.clone(), created, "a test", true).expect("a store");
        let folder = path.join("up").join(NAME);
        std::fs::create_dir_all(&folder).expect("a folder");
        #[expect(clippy::disallowed_methods, reason = "the test builds its world by hand")]
        std::fs::write(folder.join("a.stale"), list).expect("a list");
        let store = FolderStore::open(path, &RequireMount::No, permissions, Some(&id)).expect("a store").store;
        (Catalog::new(Arc::new(store), "up".parse().expect("a job")), NAME.parse().expect("a name"))
    }

    #[test]
    fn a_list_out_of_order_or_with_a_line_that_is_no_name_is_damage_and_its_checksum_is_still_that_of_all_of_it() {
        for (list, said) in [
            ("a\na\n", "not in order"),
            ("b\na\nc\n", "not in order"),
            ("a.txt\na/b\n", "not in order"),
            ("a\n*\nb\n", "is no name"),
            ("a\n\nb\n", "is no name"),
            ("a\nb", "no end"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let (catalog, name) = with_list(folder.path(), list.as_bytes());
            for read_bytes in [1, 3, 1000] {
                let mut names = StaleNames::open(&catalog, &name, "a.stale", read_bytes).expect("a list");
                let error = loop {
                    match names.next_name() {
                        Ok(Some(_)) => {}
                        Ok(None) => panic!("{list:?} is well"),
                        Err(error) => break error,
                    }
                };
                assert!(error.to_string().contains(said), "{error}");
                let file = names.finish().expect("read");
                assert_eq!((file.size, file.sha256), (list.len() as u64, Digest::of(list.as_bytes())));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_name_of_a_list_comes_back_in_order_however_it_is_cut(
            paths in prop::collection::btree_set(prop::collection::vec(prop::collection::vec(
                prop::sample::select(b"ab \n*[\xff".to_vec()), 1..6), 0..4), 0..30),
            read_bytes in 1_usize..40,
        ) {
            let path = |parts: &Vec<Vec<u8>>| parts.iter().fold(EntryPath::root(), |at, name| at.join(name));
            let paths: BTreeSet<EntryPath> = paths.iter().map(path).collect();
            let mut list = Vec::new();
            paths.iter().for_each(|path| put_name(&mut list, path));
            let folder = tempfile::tempdir().expect("a folder");
            let (catalog, name) = with_list(folder.path(), &list);
            let mut names = StaleNames::open(&catalog, &name, "a.stale", read_bytes).expect("a list");
            for path in &paths {
                prop_assert_eq!(names.next_name().expect("a name"), Some(path.clone()));
            }
            prop_assert_eq!(names.next_name().expect("the end"), None);
            prop_assert_eq!(names.finish().expect("read").sha256, Digest::of(&list));
            let (set, file) = NameSet::read(&catalog, &name, "a.stale").expect("a list");
            prop_assert_eq!(file.sha256, Digest::of(&list));
            for path in &paths {
                prop_assert!(set.contains(path));
                prop_assert!(!set.contains(&path.join(b"zz")));
            }
        }
    }
}
