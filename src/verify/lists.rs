//! The `.stale` lists of a snapshot beside its manifest: both are in order of paths, so they are merged as they pass.
//!
//! An entry is asked for in the lists of all volumes of the run that wrote its own: `RESTORE.txt` unpacks those in one
//! command with all their lists. The danger is memory: there may be a list for each of thousands of volumes, so they share
//! a budget, and none of them is loaded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::archive::manifest::VolumeLine;
use crate::catalog::{Catalog, CatalogError, FileRecord, LIST_READ_BYTES, StaleNames, stale_name, volume_writer};
use crate::domain::{EntryPath, SnapshotName};

/// So many bytes of all lists are in memory, or [`READ_BYTES_MIN`] of each.
const BUDGET_BYTES: usize = 16 << 20;

const READ_BYTES_MIN: usize = 4 << 10;

struct List<'a> {
    file: String,
    names: StaleNames<'a>,
    /// What ended it before its end.
    fault: Option<CatalogError>,
}

/// What became of one list.
pub(super) struct Read {
    pub(super) file: String,
    pub(super) whole: Result<FileRecord, CatalogError>,
    /// What was wrong with its lines.
    pub(super) fault: Option<CatalogError>,
}

/// All of them, open.
pub(super) struct Lists<'a> {
    lists: Vec<List<'a>>,
    /// For each run, the next name of each of its lists.
    next: Vec<BinaryHeap<Reverse<(EntryPath, usize)>>>,
    /// For each volume, its run.
    runs: Vec<usize>,
}

impl<'a> Lists<'a> {
    /// Those of `volumes` that are there, and those that cannot be opened.
    pub(super) fn open(
        catalog: &'a Catalog,
        name: &'a SnapshotName,
        volumes: &[&VolumeLine],
        is_there: &dyn Fn(&str) -> bool,
    ) -> (Self, Vec<(String, CatalogError)>) {
        let mut numbers = BTreeMap::new();
        let runs = volumes.iter().enumerate().map(|(number, volume)| {
            // a name that is none of ours is a run by itself, and damage elsewhere
            let run = volume_writer(&volume.name).map(|(run, _)| run).ok_or(number);
            let count = numbers.len();
            *numbers.entry(run).or_insert(count)
        });
        let runs: Vec<usize> = runs.collect();
        let files = volumes.iter().map(|volume| stale_name(&volume.name, volume.codec)).zip(&runs);
        let files: Vec<(String, usize)> = files.filter(|(f, _)| is_there(f)).map(|(f, run)| (f, *run)).collect();
        let read_bytes = (BUDGET_BYTES / files.len().max(1)).clamp(READ_BYTES_MIN, LIST_READ_BYTES);
        let next = numbers.values().map(|_| BinaryHeap::new()).collect();
        let mut all = Self { lists: Vec::new(), next, runs };
        let mut failed = Vec::new();
        for (file, run) in files {
            match StaleNames::open(catalog, name, &file, read_bytes) {
                Ok(names) => {
                    all.lists.push(List { file, names, fault: None });
                    all.advance(run, all.lists.len() - 1);
                }
                Err(error) => failed.push((file, error)),
            }
        }
        (all, failed)
    }

    fn advance(&mut self, run: usize, number: usize) {
        let list = &mut self.lists[number];
        match list.names.next_name() {
            Ok(Some(path)) => self.next[run].push(Reverse((path, number))),
            Ok(None) => {}
            Err(error) => list.fault = Some(error),
        }
    }

    /// The lists that name the entry at `path` in that volume. Entries have to come in order of paths.
    pub(super) fn naming(&mut self, volume: u32, path: &EntryPath) -> Vec<String> {
        let mut found = Vec::new();
        let Some(run) = self.runs.get(volume as usize).copied() else { return found };
        while let Some(Reverse((next, number))) = self.next[run].peek() {
            let number = *number;
            match next.cmp(path) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => found.push(self.lists[number].file.clone()),
                std::cmp::Ordering::Greater => break,
            }
            self.next[run].pop();
            self.advance(run, number);
        }
        found
    }

    /// Reads all that is left: every line, and the checksums.
    pub(super) fn finish(mut self) -> Vec<Read> {
        for run in 0..self.next.len() {
            while let Some(Reverse((_, number))) = self.next[run].pop() {
                self.advance(run, number);
            }
        }
        let lists = self.lists.into_iter();
        lists.map(|List { file, names, fault }| Read { file, whole: names.finish(), fault }).collect()
    }
}
