//! The plan: the walk's items packed into frames, by sizes alone.
//!
//! What goes into which frame depends on nothing but the walk, so equal input gives equal volumes for any number of
//! threads. Large files are opened here, one after another, because their pieces need one shared handle; everything
//! else is opened by the worker that makes its frame.

use std::collections::HashMap;
use std::sync::Arc;

use super::large::LargeFile;
use crate::archive::FRAME_BYTES;
use crate::domain::Turns;
use crate::domain::{ByteCount, Cancel, EntryPath, Kind, Skip, SkipCause, Stat, Totals};
use crate::observe::{Event, Observer};
use crate::source::{Found, Item, Names, SourceError};

/// A frame of small things holds at most so many entries and skips, however small they are.
const PIECES_MAX: usize = 4096;

/// What a worker turns into one frame, in order.
pub(super) enum Piece {
    /// An entry that is opened, read and stored by the worker.
    Entry(Planned),
    /// A piece of a large file.
    Part { file: Arc<LargeFile>, part: u64 },
    /// A loss that belongs at this place of the manifest.
    Skip(Skip),
    /// The end of the tar stream.
    End,
}

/// An entry with what the plan knows of it.
pub(super) struct Planned {
    pub(super) found: Found,
    /// For a file with several names: the names' shared state, and which turn this one has.
    pub(super) names: Option<(Arc<LinkedNames>, u64)>,
}

/// The first path under which an inode's content was stored, and how it was listed; none while no name could be read.
pub(super) type LinkedNames = Turns<Option<(EntryPath, Stat)>>;

/// One frame's work.
pub(super) struct FramePlan {
    pub(super) number: u64,
    pub(super) pieces: Vec<Piece>,
}

/// Why planning ended before the walk did.
#[derive(Debug)]
pub(super) enum PlanEnd {
    /// The walk ended.
    Done(PlanTotals),
    /// Somebody asked to stop, or nobody takes frames any more.
    Stopped,
}

/// What only the plan sees.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlanTotals {
    pub(super) counted: Totals,
    /// Sources in which something was found.
    pub(super) filled_roots: usize,
    /// The store lies in the source.
    pub(super) holds_store: bool,
}

struct Group {
    names: Arc<LinkedNames>,
    next_turn: u64,
    names_left: u32,
}

/// After so many items whoever watches is told that the source answers, also where nothing is stored of them.
const SIGN_OF_LIFE_EVERY: u64 = 1024;

pub(super) struct Planner<'a, F> {
    names: &'a Names,
    observer: &'a dyn Observer,
    roots: Vec<EntryPath>,
    give: F,
    number: u64,
    pieces: Vec<Piece>,
    estimate: u64,
    groups: HashMap<((u32, u32), u64), Group>,
    totals: PlanTotals,
}

impl<'a, F: FnMut(FramePlan) -> bool> Planner<'a, F> {
    /// `give` takes a frame's work and says whether it wants more.
    pub(super) fn new(names: &'a Names, observer: &'a dyn Observer, mut roots: Vec<EntryPath>, give: F) -> Self {
        roots.sort();
        Self {
            names,
            observer,
            roots,
            give,
            number: 0,
            pieces: Vec::new(),
            estimate: 0,
            groups: HashMap::new(),
            totals: PlanTotals::default(),
        }
    }

    /// Plans the whole walk.
    pub(super) fn plan(mut self, walk: impl Iterator<Item = Item>, cancel: &Cancel) -> PlanEnd {
        for (item, number) in walk.zip(1_u64..) {
            if number % SIGN_OF_LIFE_EVERY == 0 {
                let none = ByteCount::ZERO;
                self.observer.notice(&Event::Advanced { entries: 0, bytes: none, stored: none });
            }
            if cancel.asked().is_some() || !self.item(item) {
                return PlanEnd::Stopped;
            }
        }
        self.pieces.push(Piece::End);
        if !self.flush() {
            return PlanEnd::Stopped;
        }
        PlanEnd::Done(self.totals)
    }

    fn item(&mut self, item: Item) -> bool {
        match item {
            Item::Entry(found) => {
                self.fill(&found.path);
                self.entry(found)
            }
            Item::Skipped { path, error } => {
                self.fill(&path);
                self.push(Piece::Skip(skip(path, &error)), 0)
            }
            Item::Excluded => {
                self.totals.counted.excluded += 1;
                true
            }
            Item::Socket => {
                self.totals.counted.sockets += 1;
                true
            }
            Item::Avoided { .. } => {
                self.totals.holds_store = true;
                true
            }
            Item::MountPoint { .. } => {
                self.totals.counted.mounts += 1;
                true
            }
        }
    }

    /// Something lies at `path`: the source it lies in is not empty. Sources come one after another, in order.
    fn fill(&mut self, path: &EntryPath) {
        while self.roots.first().is_some_and(|root| path != root && path.is_within(root)) {
            self.roots.remove(0);
            self.totals.filled_roots += 1;
        }
        // a source whose root comes after an empty one has not been reached; the empty one is passed
        if let Some(at) = self.roots.iter().position(|root| path == root) {
            self.roots.drain(..at);
        }
    }

    fn entry(&mut self, found: Found) -> bool {
        let stat = &found.stat;
        if stat.kind != Kind::File {
            let estimate = 2 * 512 + 2 * found.path.as_bytes().len() as u64;
            return self.push(Piece::Entry(Planned { found, names: None }), estimate);
        }
        let names = if stat.links > 1 { Some(self.turn(&found)) } else { None };
        let is_first = names.as_ref().is_none_or(|(_, turn)| *turn == 0);
        if is_first && stat.size > FRAME_BYTES as u64 {
            return self.large(found, names);
        }
        let names_len = 2 * found.path.as_bytes().len() as u64;
        let estimate = names_len + if is_first { 3 * 512 + stat.size.next_multiple_of(512) } else { 2 * 512 };
        self.push(Piece::Entry(Planned { found, names }), estimate)
    }

    /// Which turn this name has among the names of its inode.
    fn turn(&mut self, found: &Found) -> (Arc<LinkedNames>, u64) {
        let key = (found.stat.device, found.stat.inode);
        let group = self.groups.entry(key).or_insert_with(|| Group {
            names: Arc::new(Turns::new(None)),
            next_turn: 0,
            names_left: found.stat.links,
        });
        let turn = group.next_turn;
        group.next_turn += 1;
        group.names_left = group.names_left.saturating_sub(1);
        let names = Arc::clone(&group.names);
        if group.names_left == 0 {
            // all names were seen: nothing of the walk's memory grows with files that have several names in it
            self.groups.remove(&key);
        }
        (names, turn)
    }

    fn large(&mut self, found: Found, names: Option<(Arc<LinkedNames>, u64)>) -> bool {
        let key = (found.stat.device, found.stat.inode);
        let (path, stat) = (found.path.clone(), found.stat.clone());
        let unlimited = crate::domain::Halt::default();
        match LargeFile::open(found, self.names) {
            Ok(file) => {
                if let Some((names, turn)) = &names {
                    let stored = |first: &mut Option<(EntryPath, Stat)>| *first = Some((path.clone(), stat));
                    names.take(*turn, &unlimited, stored).expect("the first turn never waits");
                }
                let file = Arc::new(file);
                if !self.flush() {
                    return false;
                }
                for part in 0..file.parts() {
                    self.pieces.push(Piece::Part { file: Arc::clone(&file), part });
                    if !self.flush() {
                        return false;
                    }
                }
                true
            }
            Err(error) => {
                // the next name of this inode, if the walk finds one, is tried as the first
                if names.is_some()
                    && let Some(group) = self.groups.get_mut(&key)
                {
                    group.names = Arc::new(Turns::new(None));
                    group.next_turn = 0;
                }
                self.push(Piece::Skip(skip(path, &error)), 0)
            }
        }
    }

    fn push(&mut self, piece: Piece, estimate: u64) -> bool {
        self.pieces.push(piece);
        self.estimate += estimate;
        if self.estimate < FRAME_BYTES as u64 && self.pieces.len() < PIECES_MAX {
            return true;
        }
        self.flush()
    }

    fn flush(&mut self) -> bool {
        if self.pieces.is_empty() {
            return true;
        }
        let plan = FramePlan { number: self.number, pieces: std::mem::take(&mut self.pieces) };
        self.number += 1;
        self.estimate = 0;
        (self.give)(plan)
    }
}

/// An error of the source as part of the outcome.
pub(super) fn skip(path: EntryPath, error: &SourceError) -> Skip {
    Skip { path, cause: error.cause(), why: error.said() }
}

/// A loss that no error tells of.
pub(super) fn loss(path: &EntryPath, cause: SkipCause, why: &str) -> Skip {
    Skip { path: path.clone(), cause, why: why.to_owned() }
}
