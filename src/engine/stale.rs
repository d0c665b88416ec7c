//! The `.stale` lists of a snapshot in the making: for each volume that is linked, its names that are not used.
//!
//! A list is the earlier snapshot's and what became stale since, merged in order of paths and written as the run goes,
//! so that no number of names needs memory. One to which nothing comes is not written: it is linked.

use std::collections::{BTreeMap, BTreeSet};

use super::basis::Basis;
use super::run::{RunError, Unsound};
use crate::archive::stale::{parse_name, put_name};
use crate::catalog::{Catalog, CatalogError, Draft, DraftFile, FileRecord, Reuse};
use crate::domain::{EntryPath, SnapshotName};
use crate::observe::Observer;
use crate::store::StoreReader;

const READ_BYTES: usize = 64 << 10;

/// The lists of one run.
pub(super) struct StaleLists<'a> {
    catalog: &'a Catalog,
    draft: &'a Draft,
    earlier: BTreeMap<u32, EarlierList>,
    begun: BTreeMap<u32, List>,
}

/// What is known of a volume's list before the run.
pub(super) struct EarlierList {
    /// The list's file name.
    pub(super) name: String,
    /// The list, and the snapshot in which it lies, if there is one.
    pub(super) list: Option<(SnapshotName, FileRecord)>,
}

/// A list that is being written anew.
struct List {
    file: DraftFile,
    ready: Vec<u8>,
    earlier: Option<Names>,
}

impl<'a> StaleLists<'a> {
    /// For the volumes that may become part of the snapshot, by number.
    pub(super) fn new(catalog: &'a Catalog, draft: &'a Draft, earlier: BTreeMap<u32, EarlierList>) -> Self {
        Self { catalog, draft, earlier, begun: BTreeMap::new() }
    }

    /// From now on `path` in the volume of that number is not used. Paths come in order. What will not be linked needs
    /// no list.
    pub(super) fn add(&mut self, volume: u32, path: &EntryPath) -> Result<(), CatalogError> {
        let Some(known) = self.earlier.get(&volume) else { return Ok(()) };
        if !self.begun.contains_key(&volume) {
            let earlier = match &known.list {
                Some((snapshot, list)) => {
                    let key = self.catalog.layout().snapshot(snapshot).join(&list.name)?;
                    Some(Names::new(self.catalog.store().open(&key)?, snapshot.clone()))
                }
                None => None,
            };
            let file = self.draft.create_file(&known.name)?;
            self.begun.insert(volume, List { file, ready: Vec::new(), earlier });
        }
        let list = self.begun.get_mut(&volume).expect("it was just begun");
        list.earlier_until(Some(path))?;
        put_name(&mut list.ready, path);
        list.write_if_full()
    }

    /// Ends the lists: of the volumes in `linked` each list becomes part of the snapshot, the others vanish.
    pub(super) fn finish(self, linked: &BTreeSet<u32>) -> Result<Finished, CatalogError> {
        let Self { draft, earlier, begun, .. } = self;
        let mut finished = Finished { written: BTreeMap::new(), stored: 0, earlier };
        for (volume, mut list) in begun {
            if !linked.contains(&volume) {
                draft.drop_file(list.file)?;
                continue;
            }
            list.earlier_until(None)?;
            list.file.write(&list.ready)?;
            finished.written.insert(volume, list.file.finish()?);
        }
        Ok(finished)
    }
}

/// What was written.
pub(super) struct Finished {
    written: BTreeMap<u32, FileRecord>,
    /// Bytes of lists that were written or copied.
    pub(super) stored: u64,
    earlier: BTreeMap<u32, EarlierList>,
}

impl Finished {
    /// Takes the list of a linked volume into the snapshot: the one that was written, or the earlier one by a link.
    pub(super) fn take(
        &mut self,
        volume: u32,
        draft: &mut Draft,
        basis: Option<&Basis>,
        observer: &dyn Observer,
    ) -> Result<Option<FileRecord>, RunError> {
        if let Some(list) = self.written.remove(&volume) {
            draft.read_back(&list, observer)?;
            self.stored += list.size;
            draft.add(list.clone());
            return Ok(Some(list));
        }
        let Some((snapshot, list)) = self.earlier.remove(&volume).and_then(|known| known.list) else { return Ok(None) };
        let seen = basis.and_then(|basis| basis.seen(&list.name));
        match draft.reuse(&snapshot, &list, seen, observer)? {
            Reuse::Linked => {}
            Reuse::Copied => self.stored += list.size,
            Reuse::Unsound => return Err(RunError::Unsound(Unsound::Volume(volume))),
        }
        Ok(Some(list))
    }
}

impl List {
    /// Takes over the earlier names before `path`, or all that are left.
    fn earlier_until(&mut self, path: Option<&EntryPath>) -> Result<(), CatalogError> {
        while let Some(names) = &mut self.earlier {
            match names.peek()? {
                None => self.earlier = None,
                Some(name) if path.is_some_and(|path| name >= path) => return Ok(()),
                Some(name) => {
                    put_name(&mut self.ready, name);
                    names.next = None;
                    self.write_if_full()?;
                }
            }
        }
        Ok(())
    }

    fn write_if_full(&mut self) -> Result<(), CatalogError> {
        if self.ready.len() >= READ_BYTES {
            self.file.write(&self.ready)?;
            self.ready.clear();
        }
        Ok(())
    }
}

/// The names of an earlier list, as a stream.
struct Names {
    reader: Box<dyn StoreReader>,
    offset: u64,
    text: Vec<u8>,
    at: usize,
    next: Option<EntryPath>,
    snapshot: SnapshotName,
}

impl Names {
    fn new(reader: Box<dyn StoreReader>, snapshot: SnapshotName) -> Self {
        Self { snapshot, reader, offset: 0, text: Vec::new(), at: 0, next: None }
    }

    fn peek(&mut self) -> Result<Option<&EntryPath>, CatalogError> {
        if self.next.is_none() {
            let Some(line) = self.line()? else { return Ok(None) };
            let snapshot = &self.snapshot;
            let damaged =
                |why| CatalogError::Damaged { snapshot: snapshot.clone(), file: "a .stale list".to_owned(), why };
            self.next = Some(parse_name(&line).map_err(damaged)?);
        }
        Ok(self.next.as_ref())
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, CatalogError> {
        loop {
            if let Some(len) = self.text[self.at..].iter().position(|byte| *byte == b'\n') {
                let line = self.text[self.at..self.at + len].to_vec();
                self.at += len + 1;
                return Ok(Some(line));
            }
            let left = self.reader.len() - self.offset;
            if left == 0 {
                // what has no line feed was not written by us; its checksum was compared before
                return Ok(None);
            }
            self.text.drain(..self.at);
            self.at = 0;
            let (begin, more) = (self.text.len(), left.min(READ_BYTES as u64));
            self.text.resize(begin + more as usize, 0);
            self.reader.read_at(self.offset, &mut self.text[begin..])?;
            self.offset += more;
        }
    }
}
