//! The walk beside the lines of the snapshot before: two sorted streams, one step at a time.
//!
//! [`Before`] gives for each path of the walk what the earlier snapshot knows of it, and how many lines it passed on the
//! way. [`is_unchanged`] goes through both until the first difference and stores nothing: where there is none, the run
//! costs a look and a few links.

use super::basis::Basis;
use std::collections::HashMap;

use super::likeness::{Likeness, Rules, likeness};
use super::prove::{Prover, attributes_are_those_of};
use super::run::Context;
use crate::archive::manifest::{Entry, EntryKind, Line, ManifestError, RawLines};
use crate::catalog::StoredBytes;
use crate::domain::{ByteCount, EntryPath, Kind, SkipCause, Totals};
use crate::observe::Event;
use crate::source::{Found, Item, Names, Walk};
use crate::store::StoreError;

/// A damaged manifest, or a store that does not answer.
pub(super) type LinesError = ManifestError<StoreError>;

/// So much is read, before the pipeline runs, to dispel doubts about entries that were touched of late. What needs more
/// is left to the pipeline's workers.
const PROVEN_BYTES_MAX: u64 = 64 << 20;

/// After so many items whoever watches is told that the source answers.
pub(super) const SIGN_OF_LIFE_EVERY: u64 = 1024;

/// The lines of the earlier snapshot, path by path.
pub(super) struct Before<'m> {
    lines: RawLines<'m, StoredBytes>,
    next: Option<Line>,
    begun: bool,
    last: Option<EntryPath>,
}

/// What the earlier snapshot knows of a path.
#[derive(Debug)]
pub(super) struct Prior {
    /// Its line. The volume is the number in the lines.
    pub(super) entry: Option<Box<Entry>>,
    /// How many lines the path has.
    pub(super) lines: u64,
    /// Whether it was stored other than it should have been, and must be read again.
    pub(super) imperfect: bool,
}

impl<'m> Before<'m> {
    pub(super) fn new(basis: &'m Basis) -> Self {
        Self { lines: basis.manifest.raw_lines(), next: None, begun: false, last: None }
    }

    fn read(&mut self) -> Result<(), LinesError> {
        self.next = self.lines.next_parsed()?;
        let Some(line) = &self.next else { return Ok(()) };
        let (path, is_entry) = (line.path(), matches!(line, Line::Entry(_)));
        // two streams are merged by their order: one that lies about it must not be believed
        if self.last.as_ref().is_some_and(|last| last > path || (last == path && is_entry)) {
            return Err(ManifestError::Damaged("its entries are not sorted".to_owned()));
        }
        self.last = Some(path.clone());
        Ok(())
    }

    /// Goes on to `path`: how many lines lie before it, and what is known of it.
    pub(super) fn advance(&mut self, path: &EntryPath) -> Result<(u64, Option<Prior>), LinesError> {
        if !self.begun {
            self.begun = true;
            self.read()?;
        }
        let mut passed = 0;
        while self.next.as_ref().is_some_and(|line| line.path() < path) {
            passed += 1;
            self.read()?;
        }
        let mut prior: Option<Prior> = None;
        while self.next.as_ref().is_some_and(|line| line.path() == path) {
            let prior = prior.get_or_insert(Prior { entry: None, lines: 0, imperfect: false });
            prior.lines += 1;
            match self.next.take() {
                Some(Line::Entry(entry)) => prior.entry = Some(entry),
                Some(Line::Skip(skip)) => prior.imperfect |= skip.cause != SkipCause::Silent,
                None => unreachable!("it was just looked at"),
            }
            self.read()?;
        }
        Ok((passed, prior))
    }

    /// How many lines are left.
    pub(super) fn rest(&mut self) -> Result<u64, LinesError> {
        if !self.begun {
            self.begun = true;
            self.read()?;
        }
        let mut rest = 0;
        while self.next.is_some() {
            rest += 1;
            self.read()?;
        }
        Ok(rest)
    }
}

/// A source in which nothing changed: what stands in no manifest.
pub(super) struct Unchanged {
    /// Everything counted, what was left out included.
    pub(super) totals: Totals,
    /// The store lies in the source.
    pub(super) holds_store: bool,
}

/// How an entry of the walk stands to what is known of it: as [`likeness`] says, and besides no name of its owner may
/// have gone to another number, nor, where ctime means nothing, its attributes have changed. The line of a further name
/// tells of none: its file's are compared under the first.
pub(super) fn verdict(found: &Found, before: &Entry, rules: &Rules, names: &Names) -> Likeness {
    let is_further = matches!(before.kind, EntryKind::HardLink { .. });
    match likeness(&found.stat, before, rules) {
        Likeness::Other => Likeness::Other,
        _ if names.contradict(found.stat.uid, found.stat.gid, &before.owner) => Likeness::Other,
        Likeness::Same if !rules.ctime && !is_further && !attributes_are_those_of(found, before) => Likeness::Other,
        other => other,
    }
}

/// Which sources were found to hold something. They are walked one after another, in the order of their prefixes.
pub(super) struct FilledRoots {
    left: Vec<EntryPath>,
    /// How many hold something.
    pub(super) filled: usize,
}

impl FilledRoots {
    pub(super) fn new(mut roots: Vec<EntryPath>) -> Self {
        roots.sort();
        Self { left: roots, filled: 0 }
    }

    /// Something lies at `path`: the source it lies in is not empty.
    pub(super) fn fill(&mut self, path: &EntryPath) {
        while self.left.first().is_some_and(|root| path != root && path.is_within(root)) {
            self.left.remove(0);
            self.filled += 1;
        }
        // a source whose root comes after an empty one has not been reached; the empty one is passed
        if let Some(at) = self.left.iter().position(|root| path == root) {
            self.left.drain(..at);
        }
    }
}

/// Whether the source is, to the last entry, what the earlier snapshot says.
pub(super) fn is_unchanged(
    basis: &Basis,
    rules: &Rules,
    names: &Names,
    roots: Vec<EntryPath>,
    walk: Walk,
    context: &Context<'_>,
) -> Result<Option<Unchanged>, LinesError> {
    let mut before = Before::new(basis);
    let prover = Prover { clock: context.clock, cancel: context.cancel, observer: context.observer };
    let (mut totals, mut holds_store) = (Totals::default(), false);
    let (mut proven, mut told) = (0, Told::default());
    let (sources, mut roots) = (roots.len(), FilledRoots::new(roots));
    // the first name of each file that has several, and how many of its names are still to come
    let mut first_names: HashMap<((u32, u32), u64), (EntryPath, u32)> = HashMap::new();
    for (item, number) in walk.zip(1_u64..) {
        if number % SIGN_OF_LIFE_EVERY == 0 {
            context.observer.notice(&told.since(&totals));
            if context.cancel.asked().is_some() {
                return Ok(None);
            }
        }
        let found = match item {
            Item::Entry(found) => found,
            Item::Excluded => {
                totals.excluded += 1;
                continue;
            }
            Item::Socket => {
                totals.sockets += 1;
                continue;
            }
            Item::MountPoint { .. } => {
                totals.mounts += 1;
                continue;
            }
            Item::Avoided { .. } => {
                holds_store = true;
                continue;
            }
            // what has to be told is told by a run that stores
            Item::Skipped { .. } => return Ok(None),
        };
        let (0, Some(Prior { entry: Some(entry), lines: 1, imperfect: false })) = before.advance(&found.path)? else {
            return Ok(None);
        };
        roots.fill(&found.path);
        if found.stat.kind == Kind::File && found.stat.links > 1 {
            let inode = (found.stat.device, found.stat.inode);
            let is_first = !first_names.contains_key(&inode);
            let (first, left) = first_names.entry(inode).or_insert_with(|| (found.path.clone(), found.stat.links));
            let is_link_to = match &entry.kind {
                EntryKind::HardLink { first: then } => !is_first && then == first,
                _ => is_first,
            };
            if !is_link_to {
                return Ok(None);
            }
            *left = left.saturating_sub(1);
            if *left == 0 {
                first_names.remove(&inode);
            }
        }
        let same = match verdict(&found, &entry, rules, names) {
            Likeness::Other => false,
            Likeness::Same => true,
            Likeness::Doubtful => {
                let is_where_it_was = (entry.ctime, entry.inode) == (found.stat.ctime, found.stat.inode);
                // a further name is what its first name is, and that was read
                let is_further = matches!(entry.kind, EntryKind::HardLink { .. });
                let affordable = proven + found.stat.size.min(found.stat.allocated) <= PROVEN_BYTES_MAX
                    || found.stat.kind != Kind::File;
                is_where_it_was && (is_further || affordable && prover.is_proven(&found, &entry, &mut proven))
            }
        };
        if !same {
            return Ok(None);
        }
        entry.count_in(&mut totals);
    }
    totals.read_bytes = ByteCount(proven);
    let stopped = context.cancel.asked().is_some();
    let is_same = !stopped && before.rest()? == 0 && roots.filled == sources;
    Ok(is_same.then_some(Unchanged { totals, holds_store }))
}

/// What whoever watches has been told of kept entries.
#[derive(Debug, Default)]
pub(super) struct Told {
    entries: u64,
    bytes: u64,
}

impl Told {
    /// News of what was counted since the last. What is kept counts like what is read.
    pub(super) fn since(&mut self, totals: &Totals) -> Event<'static> {
        let (entries, bytes) = (totals.entries - self.entries, totals.content_bytes.0 - self.bytes);
        *self = Self { entries: totals.entries, bytes: totals.content_bytes.0 };
        Event::Advanced { entries, bytes: ByteCount(bytes), stored: ByteCount::ZERO }
    }
}
