//! The plan: the walk's items packed into frames, by sizes alone.
//!
//! What goes into which frame depends on nothing but the walk, so equal input gives equal volumes for any number of
//! threads. Large files are opened here, one after another, because their pieces need one shared handle; everything
//! else is opened by the worker that makes its frame.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::basis::Basis;
use super::before::{Before, FilledRoots, LinesError, Prior, SIGN_OF_LIFE_EVERY, Told, verdict};
use super::large::LargeFile;
use super::likeness::{Expected, Likeness, Rules};
use super::make::READ_TRIES;
use super::prove::Prover;
use super::staged::{FromCommand, Staged};
use crate::archive::FRAME_BYTES;
use crate::archive::manifest::{Entry, EntryKind, Line, RawLines};
use crate::catalog::{OpenManifest, StoredBytes};
use crate::domain::{Cancel, EntryPath, Kind, Skip, SkipCause, Totals};
use crate::domain::{Halt, Turns};
use crate::observe::Observer;
use crate::source::{Found, Item, Names, SourceError};

/// A frame of small things holds at most so many entries and skips, however small they are.
const PIECES_MAX: usize = 4096;

/// What a worker turns into one frame, in order.
pub(super) enum Piece {
    /// An entry that is opened, read and stored by the worker.
    Entry(Planned),
    /// A piece of a large file.
    Part { file: Arc<LargeFile>, part: u64 },
    /// The header of an output that lies in the draft; its frames follow.
    StagedHead(Arc<Staged>),
    /// A frame of it, which the writer copies.
    StagedPart { file: Arc<Staged>, part: usize },
    /// A loss that belongs at this place of the manifest.
    Skip(Skip),
    /// The next lines of the earlier manifest stand in this one as they are.
    Keep(Kept),
    /// The next lines of the earlier manifest do not: what they tell of is stale where it lies.
    Drop(u64),
    /// An entry that may still be what the next line of the earlier manifest says; the worker reads it.
    Doubt {
        found: Found,
        before: Box<Entry>,
        of: Of,
        /// For the first name of a file with several: its turn.
        names: Option<(Arc<LinkedNames>, u64)>,
    },
    /// An entry whose content is where the next line of the earlier manifest says, under another ctime or inode.
    Proven(Box<Entry>),
    /// An entry whose content lies in an adopted volume.
    Adopted(Box<Entry>),
    /// From now on this name in an adopted volume is not used.
    Stale { volume: u32, path: EntryPath },
    /// The end of the tar stream.
    End,
}

/// Who told of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The next line of the earlier manifest.
    Earlier,
    /// The manifest of an adopted volume.
    Adopted,
}

/// An entry with what the plan knows of it.
pub(super) struct Planned {
    pub(super) found: Found,
    /// For a file with several names: the names' shared state, and which turn this one has.
    pub(super) names: Option<(Arc<LinkedNames>, u64)>,
    /// The content that it must have, if nothing can have changed it: it is read for other reasons.
    pub(super) expected: Option<Expected>,
}

/// Lines that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) lines: u64,
    pub(super) content_bytes: u64,
}

/// The lines of an adopted volume.
pub(super) struct AdoptedLines<'a> {
    lines: RawLines<'a, StoredBytes>,
    next: Option<Box<Entry>>,
    number: u32,
    rules: Rules,
    begun: bool,
}

impl<'a> AdoptedLines<'a> {
    /// Of the manifest of an adopted volume that has this number now.
    pub(super) fn new(manifest: &'a OpenManifest, number: u32, rules: Rules) -> Self {
        Self { lines: manifest.raw_lines(), next: None, number, rules, begun: false }
    }

    /// The next entry whose path is not after `path`; any, without one.
    fn next_until(&mut self, path: Option<&EntryPath>) -> Result<Option<Box<Entry>>, LinesError> {
        if !self.begun {
            self.begun = true;
            self.read(None)?;
        }
        if self.next.as_ref().is_none_or(|next| path.is_some_and(|path| next.path > *path)) {
            return Ok(None);
        }
        let Some(mut entry) = self.next.take() else { return Ok(None) };
        entry.changed |= self.read(Some(&entry.path))?;
        entry.placed.volume = self.number;
        Ok(Some(entry))
    }

    /// Goes on to the next entry. Whether what stands before it says that the entry `of` was not stored as it should have
    /// been.
    fn read(&mut self, of: Option<&EntryPath>) -> Result<bool, LinesError> {
        let mut imperfect = false;
        while let Some(line) = self.lines.next_parsed()? {
            match line {
                Line::Entry(entry) => {
                    self.next = Some(entry);
                    break;
                }
                // it was stored as it was found; what it should have been, the earlier manifest tells
                Line::Skip(skip) if skip.cause == SkipCause::Silent => {}
                Line::Skip(skip) => imperfect |= of == Some(&skip.path),
            }
        }
        Ok(imperfect)
    }
}

/// What is known of the source from the snapshot before.
pub(super) struct Earlier<'a> {
    pub(super) basis: &'a Basis,
    pub(super) before: Before<'a>,
    pub(super) rules: Rules,
}

/// The first name under which an inode's content was stored; none while no name could be read.
pub(super) type LinkedNames = Turns<Option<Found>>;

/// One frame's work.
pub(super) struct FramePlan {
    pub(super) number: u64,
    pub(super) pieces: Vec<Piece>,
}

/// Why planning ended before the walk did.
pub(super) enum PlanEnd {
    /// The walk ended.
    Done(PlanTotals),
    /// Somebody asked to stop, or nobody takes frames any more.
    Stopped,
    /// The earlier manifest cannot be read.
    Lines(LinesError),
}

/// Why planning cannot go on.
enum Break {
    Stopped,
    Lines(LinesError),
}

impl From<LinesError> for Break {
    fn from(error: LinesError) -> Self {
        Self::Lines(error)
    }
}

/// What only the plan sees.
#[derive(Clone, Debug, Default)]
pub(super) struct PlanTotals {
    /// What was left out, and what was kept.
    pub(super) counted: Totals,
    /// Bytes of kept entries, by the number of their volume.
    pub(super) live: BTreeMap<u32, u64>,
    /// Sources in which something was found.
    pub(super) filled_roots: usize,
    /// The store lies in the source.
    pub(super) holds_store: bool,
}

struct Group {
    names: Arc<LinkedNames>,
    next_turn: u64,
    names_left: u32,
    /// The name whose content stays where it lies, if it does.
    kept: Option<EntryPath>,
}

impl Group {
    fn new(links: u32) -> Self {
        Self { names: Arc::new(Turns::new(None)), next_turn: 0, names_left: links, kept: None }
    }

    /// Counts one name; whether it was the last.
    fn is_last_name(&mut self) -> bool {
        self.names_left = self.names_left.saturating_sub(1);
        self.names_left == 0
    }
}

/// What a planner knows of its run.
pub(super) struct Circumstances<'a> {
    pub(super) names: &'a Names,
    pub(super) prover: Prover<'a>,
    pub(super) cancel: &'a Cancel,
    pub(super) observer: &'a dyn Observer,
}

pub(super) struct Planner<'a, F> {
    names: &'a Names,
    prover: Prover<'a>,
    cancel: &'a Cancel,
    earlier: Option<Earlier<'a>>,
    adopted: Vec<AdoptedLines<'a>>,
    /// What came from commands and has not had its turn, the last path first.
    commands: Vec<FromCommand>,
    observer: &'a dyn Observer,
    roots: FilledRoots,
    give: F,
    number: u64,
    pieces: Vec<Piece>,
    estimate: u64,
    groups: HashMap<((u32, u32), u64), Group>,
    totals: PlanTotals,
    told: Told,
}

impl<'a, F: FnMut(FramePlan) -> bool> Planner<'a, F> {
    /// `give` takes a frame's work and says whether it wants more.
    pub(super) fn new(
        circumstances: Circumstances<'a>,
        earlier: Option<Earlier<'a>>,
        adopted: Vec<AdoptedLines<'a>>,
        commands: &[FromCommand],
        roots: Vec<EntryPath>,
        give: F,
    ) -> Self {
        let Circumstances { names, prover, cancel, observer } = circumstances;
        Self {
            names,
            prover,
            cancel,
            earlier,
            adopted,
            commands: commands.iter().rev().cloned().collect(),
            observer,
            roots: FilledRoots::new(roots),
            give,
            number: 0,
            pieces: Vec::new(),
            estimate: 0,
            groups: HashMap::new(),
            totals: PlanTotals::default(),
            told: Told::default(),
        }
    }

    /// Plans the whole walk.
    pub(super) fn plan(mut self, walk: impl Iterator<Item = Item>) -> PlanEnd {
        match self.all(walk) {
            Ok(()) => PlanEnd::Done(PlanTotals { filled_roots: self.roots.filled, ..self.totals }),
            Err(Break::Stopped) => PlanEnd::Stopped,
            Err(Break::Lines(error)) => PlanEnd::Lines(error),
        }
    }

    fn all(&mut self, walk: impl Iterator<Item = Item>) -> Result<(), Break> {
        for (item, number) in walk.zip(1_u64..) {
            if number % SIGN_OF_LIFE_EVERY == 0 {
                self.observer.notice(&self.told.since(&self.totals.counted));
            }
            if self.cancel.asked().is_some() {
                return Err(Break::Stopped);
            }
            self.item(item)?;
        }
        self.commands_until(None)?;
        if let Some(earlier) = &mut self.earlier {
            let rest = earlier.before.rest()?;
            self.drop_lines(rest)?;
        }
        self.adopted_until(None)?;
        self.pieces.push(Piece::End);
        self.flush()
    }

    fn item(&mut self, item: Item) -> Result<(), Break> {
        match item {
            Item::Entry(found) => {
                self.commands_until(Some(&found.path))?;
                self.roots.fill(&found.path);
                let prior = self.prior(&found.path)?;
                return self.entry(found, prior);
            }
            Item::Skipped { path, error } => {
                self.commands_until(Some(&path))?;
                self.roots.fill(&path);
                // of a folder that cannot be listed the entry came before
                let lines = self.prior(&path)?.map_or(0, |prior| prior.lines);
                self.drop_lines(lines)?;
                if let Some((entry, _)) = self.adopted_until(Some(&path))? {
                    self.push(Piece::Stale { volume: entry.placed.volume, path: entry.path }, 0)?;
                }
                return self.push(Piece::Skip(skip(path, &error)), 0);
            }
            Item::Excluded => self.totals.counted.excluded += 1,
            Item::Socket => self.totals.counted.sockets += 1,
            Item::Avoided { .. } => self.totals.holds_store = true,
            Item::MountPoint { .. } => self.totals.counted.mounts += 1,
        }
        Ok(())
    }

    /// Plans what came from commands and stands before `path`, or all that is left. What the earlier snapshot has of it is
    /// stale, whatever it holds: it has other times.
    fn commands_until(&mut self, path: Option<&EntryPath>) -> Result<(), Break> {
        while let Some(from) = self.commands.pop_if(|from| path.is_none_or(|path| from.path() < path)) {
            let own = from.path().clone();
            let lines = self.prior(&own)?.map_or(0, |prior| prior.lines);
            self.drop_lines(lines)?;
            if let Some((entry, _)) = self.adopted_until(Some(&own))? {
                self.push(Piece::Stale { volume: entry.placed.volume, path: entry.path }, 0)?;
            }
            match from {
                FromCommand::Nothing(skip) => self.push(Piece::Skip(skip), 0)?,
                FromCommand::File(file) => {
                    self.flush()?;
                    self.pieces.push(Piece::StagedHead(Arc::clone(&file)));
                    self.flush()?;
                    for part in 0..file.frames.len() {
                        if self.cancel.asked().is_some() {
                            return Err(Break::Stopped);
                        }
                        self.pieces.push(Piece::StagedPart { file: Arc::clone(&file), part });
                        self.flush()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What the earlier snapshot knows of `path`. What it knows of paths before it is gone.
    fn prior(&mut self, path: &EntryPath) -> Result<Option<Prior>, Break> {
        let Some(earlier) = &mut self.earlier else { return Ok(None) };
        let (gone, prior) = earlier.before.advance(path)?;
        self.drop_lines(gone)?;
        Ok(prior)
    }

    /// Goes through the lines of adopted volumes up to `path`, or to the end. What is passed is not used; what is there
    /// at `path` itself is given, with what may be compared.
    fn adopted_until(&mut self, path: Option<&EntryPath>) -> Result<Option<(Box<Entry>, Rules)>, Break> {
        let mut at_path = None;
        for at in 0..self.adopted.len() {
            while let Some(entry) = self.adopted[at].next_until(path)? {
                if path == Some(&entry.path) && at_path.is_none() {
                    at_path = Some((entry, self.adopted[at].rules));
                } else {
                    self.push(Piece::Stale { volume: entry.placed.volume, path: entry.path }, 0)?;
                }
            }
        }
        Ok(at_path)
    }

    /// What an interrupted run stored of it is taken, if it still is that. A name of a file that has several is not: the
    /// others may lie elsewhere.
    fn adopt(&mut self, found: Found, entry: Box<Entry>, rules: &Rules, prior: Option<Prior>) -> Result<(), Break> {
        let is_simple = found.stat.kind != Kind::Folder && (found.stat.kind != Kind::File || found.stat.links == 1);
        let verdict = if is_simple { verdict(&found, &entry, rules, self.names) } else { Likeness::Other };
        let expected = prior.as_ref().and_then(|prior| self.expected(&found, prior));
        let is_other = expected.is_some_and(|expected| expected.is_other(&entry));
        self.drop_lines(prior.map_or(0, |prior| prior.lines))?;
        match verdict {
            Likeness::Same => {
                self.push(Piece::Adopted(entry), 0)?;
                if is_other { self.push(Piece::Skip(silent(&found.path)), 0) } else { Ok(()) }
            }
            Likeness::Doubtful if !is_other => self.doubt(found, entry, Of::Adopted),
            Likeness::Doubtful | Likeness::Other => {
                self.push(Piece::Stale { volume: entry.placed.volume, path: entry.path }, 0)?;
                self.store(found, expected)
            }
        }
    }

    fn entry(&mut self, found: Found, prior: Option<Prior>) -> Result<(), Break> {
        if let Some((entry, rules)) = self.adopted_until(Some(&found.path))? {
            return self.adopt(found, entry, &rules, prior);
        }
        let Some(Prior { entry, lines, imperfect }) = prior else { return self.store(found, None) };
        let Some(before) = entry else {
            self.drop_lines(lines)?;
            return self.store(found, None);
        };
        let verdict = if imperfect { Likeness::Other } else { self.likeness(&found, &before) };
        if found.stat.kind == Kind::Folder || verdict == Likeness::Other {
            self.drop_lines(lines)?;
            return self.store(found, None);
        }
        if found.stat.kind == Kind::File && found.stat.links > 1 {
            if verdict == Likeness::Same && self.keeps_link(&found, &before) {
                self.keep(&before)?;
                return self.drop_lines(lines - 1);
            }
            if verdict == Likeness::Doubtful && self.may_begin_group(&found, &before) {
                self.doubt(found, before, Of::Earlier)?;
                return self.drop_lines(lines - 1);
            }
            self.drop_lines(lines)?;
            // in its group a name is stored with its content or as a link: what it must hold is known of a file alone
            let expected = Expected::of(&before, verdict);
            return self.store(found, expected);
        }
        let earlier = self.earlier.as_ref().expect("there is a line of it");
        let is_linkable = earlier.basis.linkable(before.placed.volume).is_some();
        match verdict {
            Likeness::Same if is_linkable => self.keep(&before)?,
            Likeness::Doubtful if is_linkable => {
                self.doubt(found, before, Of::Earlier)?;
            }
            _ => {
                let expected = Expected::of(&before, verdict);
                self.drop_lines(lines)?;
                return self.store(found, expected);
            }
        }
        // what was told of it then is over
        self.drop_lines(lines - 1)
    }

    fn likeness(&self, found: &Found, before: &Entry) -> Likeness {
        let Some(Earlier { rules, .. }) = &self.earlier else { return Likeness::Other };
        verdict(found, before, rules, self.names)
    }

    /// The content that the earlier snapshot says it must have.
    fn expected(&self, found: &Found, prior: &Prior) -> Option<Expected> {
        let before = prior.entry.as_ref().filter(|_| !prior.imperfect)?;
        Expected::of(before, self.likeness(found, before))
    }

    /// The next line of the earlier manifest stands in this one too.
    fn keep(&mut self, before: &Entry) -> Result<(), Break> {
        before.count_in(&mut self.totals.counted);
        *self.totals.live.entry(before.placed.volume).or_default() += before.held();
        if let Some(Piece::Keep(kept)) = self.pieces.last_mut() {
            kept.lines += 1;
            kept.content_bytes += before.size;
            return Ok(());
        }
        self.push(Piece::Keep(Kept { lines: 1, content_bytes: before.size }), 0)
    }

    /// The next `lines` of the earlier manifest do not.
    fn drop_lines(&mut self, lines: u64) -> Result<(), Break> {
        match self.pieces.last_mut() {
            _ if lines == 0 => Ok(()),
            Some(Piece::Drop(dropped)) => {
                *dropped += lines;
                Ok(())
            }
            _ => self.push(Piece::Drop(lines), 0),
        }
    }

    /// An entry that only its content can tell. Large ones are read here, because their frames are planned here.
    fn doubt(&mut self, found: Found, before: Box<Entry>, of: Of) -> Result<(), Break> {
        if found.stat.kind != Kind::File || found.stat.size <= FRAME_BYTES as u64 {
            let estimate = 3 * 512 + found.stat.size.next_multiple_of(512) + 2 * found.path.as_bytes().len() as u64;
            let names = (found.stat.kind == Kind::File && found.stat.links > 1).then(|| self.turn(&found));
            return self.push(Piece::Doubt { found, before, of, names }, estimate);
        }
        let mut read = 0;
        let proven = self.prover.is_proven(&found, &before, &mut read);
        self.totals.counted.read_bytes.0 += read;
        if proven {
            if found.stat.links > 1 {
                let (names, turn) = self.turn(&found);
                let first = Some(found.clone());
                names.take(turn, &Halt::default(), |stays| *stays = first).expect("the first turn never waits");
            }
            let entry = Entry { ctime: found.stat.ctime, inode: found.stat.inode, ..*before };
            return match of {
                Of::Earlier => self.push(Piece::Proven(Box::new(entry)), 0),
                Of::Adopted => self.push(Piece::Adopted(Box::new(entry)), 0),
            };
        }
        match of {
            Of::Earlier => self.drop_lines(1)?,
            Of::Adopted => self.push(Piece::Stale { volume: before.placed.volume, path: before.path }, 0)?,
        }
        self.store(found, None)
    }

    fn store(&mut self, found: Found, expected: Option<Expected>) -> Result<(), Break> {
        let stat = &found.stat;
        if stat.kind != Kind::File {
            let estimate = 2 * 512 + 2 * found.path.as_bytes().len() as u64;
            return self.push(Piece::Entry(Planned { found, names: None, expected: None }), estimate);
        }
        let names = if stat.links > 1 { Some(self.turn(&found)) } else { None };
        let is_first = match &names {
            None => true,
            // unless another name's content stays where it lies
            Some((names, turn)) => *turn == 0 && names.peek(Option::is_none),
        };
        if is_first && stat.size > FRAME_BYTES as u64 {
            return self.large(found, names, expected);
        }
        let names_len = 2 * found.path.as_bytes().len() as u64;
        let estimate = names_len + if is_first { 3 * 512 + stat.size.next_multiple_of(512) } else { 2 * 512 };
        self.push(Piece::Entry(Planned { found, names, expected }), estimate)
    }

    /// Whether this name of a file that has several stays where it lies: the first does, and the others with it.
    fn keeps_link(&mut self, found: &Found, before: &Entry) -> bool {
        let earlier = self.earlier.as_ref().expect("there is a line of it");
        if earlier.basis.linkable(before.placed.volume).is_none() {
            return false;
        }
        let key = (found.stat.device, found.stat.inode);
        let stays = match (self.groups.get(&key), &before.kind) {
            (None, EntryKind::File) => true,
            (Some(group), EntryKind::HardLink { first }) => group.kept.as_ref() == Some(first),
            _ => false,
        };
        if stays {
            let group = self.groups.entry(key).or_insert_with(|| {
                let mut group = Group::new(found.stat.links);
                group.kept = Some(found.path.clone());
                // a name that comes new is a link to it, in a later volume
                group.names = Arc::new(Turns::new(Some(found.clone())));
                group
            });
            if group.is_last_name() {
                self.groups.remove(&key);
            }
        }
        stays
    }

    /// Whether the content of a file with several names, if it still is what it was, stays where it lies under this one,
    /// the first of them: the others become links to it.
    fn may_begin_group(&self, found: &Found, before: &Entry) -> bool {
        let earlier = self.earlier.as_ref().expect("there is a line of it");
        before.kind == EntryKind::File
            && earlier.basis.linkable(before.placed.volume).is_some()
            && !self.groups.contains_key(&(found.stat.device, found.stat.inode))
    }

    /// Which turn this name has among the names of its inode.
    fn turn(&mut self, found: &Found) -> (Arc<LinkedNames>, u64) {
        let key = (found.stat.device, found.stat.inode);
        let group = self.groups.entry(key).or_insert_with(|| Group::new(found.stat.links));
        let turn = group.next_turn;
        group.next_turn += 1;
        let names = Arc::clone(&group.names);
        if group.is_last_name() {
            // all names were seen: nothing of the walk's memory grows with files that have several names in it
            self.groups.remove(&key);
        }
        (names, turn)
    }

    /// Opens a large file; another one, if that has taken its name since it was listed.
    fn open_large(&self, found: &mut Found, mut expected: Option<Expected>) -> Result<LargeFile, SourceError> {
        for _ in 1..READ_TRIES {
            match LargeFile::open(found, self.names, expected) {
                Err(SourceError::Replaced) => {
                    let now = found.place.stat()?;
                    if now.kind != Kind::File {
                        return Err(SourceError::Replaced);
                    }
                    (found.stat, expected) = (now, None);
                }
                other => return other,
            }
        }
        LargeFile::open(found, self.names, expected)
    }

    fn large(
        &mut self,
        mut found: Found,
        names: Option<(Arc<LinkedNames>, u64)>,
        expected: Option<Expected>,
    ) -> Result<(), Break> {
        let key = (found.stat.device, found.stat.inode);
        let opened = self.open_large(&mut found, expected);
        let path = found.path.clone();
        if let Some((names, turn)) = names {
            if opened.is_ok() && (found.stat.device, found.stat.inode) == key {
                names.take(turn, &Halt::default(), |first| *first = Some(found)).expect("the first turn never waits");
            } else if let Some(group) = self.groups.get_mut(&key) {
                // the next name of this inode, if the walk finds one, is tried as the first
                group.names = Arc::new(Turns::new(None));
                group.next_turn = 0;
            }
        }
        match opened {
            Ok(file) => {
                let file = Arc::new(file);
                self.flush()?;
                for part in 0..file.parts() {
                    self.pieces.push(Piece::Part { file: Arc::clone(&file), part });
                    self.flush()?;
                }
                Ok(())
            }
            Err(error) => self.push(Piece::Skip(skip(path, &error)), 0),
        }
    }

    fn push(&mut self, piece: Piece, estimate: u64) -> Result<(), Break> {
        self.pieces.push(piece);
        self.estimate += estimate;
        if self.estimate < FRAME_BYTES as u64 && self.pieces.len() < PIECES_MAX {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Break> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        let plan = FramePlan { number: self.number, pieces: std::mem::take(&mut self.pieces) };
        self.number += 1;
        self.estimate = 0;
        if (self.give)(plan) { Ok(()) } else { Err(Break::Stopped) }
    }
}

/// An error of the source as part of the outcome.
pub(super) fn skip(path: EntryPath, error: &SourceError) -> Skip {
    Skip { path, cause: error.cause(), why: error.said() }
}

/// A content that is another, where nothing can have changed it.
pub(super) fn silent(path: &EntryPath) -> Skip {
    loss(path, SkipCause::Silent, "the snapshot before holds what it was; this one holds what it is now")
}

/// A loss that no error tells of.
pub(super) fn loss(path: &EntryPath, cause: SkipCause, why: &str) -> Skip {
    Skip { path: path.clone(), cause, why: why.to_owned() }
}

#[cfg(test)]
mod tests;
