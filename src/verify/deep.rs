//! The deep level: every byte of the tar streams, decompressed and compared with the manifest.
//!
//! A volume's stream is divided without a gap: into entries that the manifest names, what lies between them, and what
//! lies behind the last. So a member that the manifest does not know is found wherever it hides. Frames are decoded by
//! several threads; only the hash of a file in several frames takes them in order.
//!
//! The danger is a byte that nobody looks at: every frame of a volume is seen by somebody, and the caller learns which
//! were. What is between entries must be named by the volume's `.stale` list, or it is told.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::archive::manifest::{Entry, EntryKind, Line};
use crate::archive::padding;
use crate::archive::seek::SeekEntry;
use crate::archive::tar::{EndMarker, TarLimits, TarReader};
use crate::catalog::{Contents, FrameBuffers, FrameLoss, NameSet, OpenManifest, header_of};
use crate::domain::{ByteCount, Cancel, Digest, EntryPath, Halt, Hasher, Part, Shown, Turns};
use crate::observe::{Event, Observer};

/// So many tasks may wait for each worker.
const TASKS_AHEAD: usize = 4;

/// So many contradictions are kept; all are counted.
const CONTRADICTIONS_MAX: usize = 10_000;

const READ_BYTES: usize = 256 << 10;

/// What the deep look needs.
pub(super) struct Deep<'a> {
    pub(super) contents: &'a Contents,
    /// For each volume, the names in it that the snapshot does not use. They are asked for in no order, so they are in
    /// memory: see [`NameSet`] for what they take.
    pub(super) stale: &'a [NameSet],
    pub(super) part: Option<Part>,
    pub(super) threads: NonZeroUsize,
    pub(super) cancel: &'a Cancel,
    pub(super) observer: &'a dyn Observer,
}

/// Something in a volume that is not what the manifest says.
pub(super) struct Contradiction {
    pub(super) volume: u32,
    pub(super) path: Option<EntryPath>,
    pub(super) what: String,
}

/// What it found.
#[derive(Default)]
pub(super) struct Found {
    /// Frames that could not be had, by volume and number.
    pub(super) frames: BTreeMap<(u32, usize), FrameLoss>,
    pub(super) contradictions: Vec<Contradiction>,
    pub(super) contradictions_count: u64,
    /// For each volume, which frames were compared with their checksums and decoded.
    pub(super) seen: Vec<Vec<bool>>,
    /// Stored bytes that were read.
    pub(super) bytes: u64,
}

enum Task {
    /// Entries that lie within one frame.
    Frame { volume: u32, frame: usize, entries: Vec<Entry> },
    /// One frame of a file that lies in several.
    Piece { file: Arc<Large>, piece: usize },
    /// An entry in several frames whose header may lie in several as well.
    Whole { entry: Box<Entry>, frames: Range<usize> },
    /// What lies between entries, or behind the last.
    Between { volume: u32, range: Range<u64>, is_last: bool },
}

/// A file in several frames.
struct Large {
    entry: Box<Entry>,
    frames: Range<usize>,
    lost: AtomicBool,
    hasher: Turns<Option<Hasher>>,
}

struct Shared<'a> {
    deep: &'a Deep<'a>,
    tables: Vec<Option<Vec<SeekEntry>>>,
    seen: Vec<Vec<AtomicBool>>,
    found: Mutex<Found>,
    bytes: AtomicU64,
    halt: Halt,
}

/// Looks through the volumes of one snapshot. A manifest that cannot be read to its end ends it early, in silence:
/// whoever asked reads the manifest too.
pub(super) fn look(deep: &Deep<'_>, manifest: &OpenManifest) -> Found {
    let mut found = Found::default();
    let tables = tables(deep.contents, &mut found);
    let seen = deep.contents.volumes().map(|(_, frames)| frames.iter().map(|_| AtomicBool::new(false)).collect());
    let shared = Shared {
        deep,
        tables,
        seen: seen.collect(),
        found: Mutex::new(found),
        bytes: AtomicU64::new(0),
        halt: Halt::default(),
    };
    let threads = deep.threads.get();
    let (sender, tasks) = crossbeam_channel::bounded::<Task>(threads * TASKS_AHEAD);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (shared, tasks) = (&shared, tasks.clone());
            scope.spawn(move || {
                let mut worker = Worker { shared, buffers: FrameBuffers::default(), raw: Vec::new(), loaded: None };
                for task in tasks {
                    worker.work(task);
                }
            });
        }
        drop(tasks);
        // workers take until the sender is gone, so sending never fails while they live
        plan(deep, manifest, &mut |task| drop(sender.send(task)));
        drop(sender);
    });
    let mut found = shared.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.seen = shared.seen.into_iter().map(|v| v.into_iter().map(AtomicBool::into_inner).collect()).collect();
    found.bytes = shared.bytes.into_inner();
    found
}

/// The tables behind the frames, each compared with the frames of its volume.
fn tables(contents: &Contents, found: &mut Found) -> Vec<Option<Vec<SeekEntry>>> {
    let mut tables = Vec::new();
    for (number, (_, frames)) in contents.volumes().enumerate() {
        let table = contents.table(number as u32).and_then(|table| match table {
            Some(table) => {
                let told = table.iter().map(|entry| (u64::from(entry.stored), u64::from(entry.raw)));
                let fits = told.eq(frames.iter().map(|frame| (frame.stored, frame.raw)));
                if fits { Ok(Some(table)) } else { Err("it tells other frames than the manifest".to_owned()) }
            }
            None => Ok(None),
        });
        match table {
            Ok(table) => tables.push(table),
            Err(why) => {
                tables.push(None);
                found.add(number as u32, None, format!("its table of frames: {why}"));
            }
        }
    }
    tables
}

impl Found {
    fn add(&mut self, volume: u32, path: Option<EntryPath>, what: String) {
        self.contradictions_count += 1;
        if self.contradictions.len() < CONTRADICTIONS_MAX {
            self.contradictions.push(Contradiction { volume, path, what });
        }
    }
}

/// Entries of one frame that wait for the rest.
type Batch = Option<(usize, Vec<Entry>)>;

fn plan(deep: &Deep<'_>, manifest: &OpenManifest, give: &mut dyn FnMut(Task)) {
    let contents = deep.contents;
    let mut batches: Vec<Batch> = contents.volumes().map(|_| None).collect();
    let mut ends: Vec<u64> = vec![0; batches.len()];
    let (firsts, total) = contents.volumes().fold((Vec::new(), 0_u64), |(mut firsts, sum), (_, frames)| {
        firsts.push(sum);
        (firsts, sum + frames.len() as u64)
    });
    let share = deep.part.map_or(0..total, |part| part.share(total));
    // a thing belongs to the part that its first frame belongs to
    let is_wanted =
        |volume: u32, frame: usize| deep.part.is_none() || share.contains(&(firsts[volume as usize] + frame as u64));
    for line in manifest.lines() {
        if deep.cancel.asked().is_some() {
            return;
        }
        let Ok(line) = line else { break };
        let Line::Entry(entry) = line else { continue };
        let (placed, volume) = (entry.placed, entry.placed.volume);
        let Some(frames) = contents.frames_of(&placed) else { continue };
        let end = &mut ends[volume as usize];
        if placed.offset < *end {
            continue;
        }
        between(contents, volume, *end..placed.offset, false, &is_wanted, give);
        *end = end_of(&entry);
        if !is_wanted(volume, frames.start) {
            continue;
        }
        let first_ends = contents.raw_range(volume, frames.start).end;
        if frames.len() == 1 {
            let batch = &mut batches[volume as usize];
            match batch {
                Some((frame, entries)) if *frame == frames.start => entries.push(*entry),
                _ => {
                    if let Some((frame, entries)) = batch.replace((frames.start, vec![*entry])) {
                        give(Task::Frame { volume, frame, entries });
                    }
                }
            }
        } else if entry.sparse || placed.body > first_ends || !matches!(entry.kind, EntryKind::File) {
            give(Task::Whole { entry, frames });
        } else {
            let hasher = Turns::new(Some(Hasher::new()));
            let file = Arc::new(Large { entry, frames: frames.clone(), lost: AtomicBool::new(false), hasher });
            for piece in 0..frames.len() {
                give(Task::Piece { file: Arc::clone(&file), piece });
            }
        }
    }
    for (volume, batch) in batches.into_iter().enumerate() {
        if let Some((frame, entries)) = batch {
            give(Task::Frame { volume: volume as u32, frame, entries });
        }
    }
    for (volume, (line, _)) in contents.volumes().enumerate() {
        between(contents, volume as u32, ends[volume]..line.raw_size, true, &is_wanted, give);
    }
}

fn between(
    contents: &Contents,
    volume: u32,
    range: Range<u64>,
    is_last: bool,
    is_wanted: &dyn Fn(u32, usize) -> bool,
    give: &mut dyn FnMut(Task),
) {
    // an empty rest, where the end marker should be, belongs to the last frame
    let frames = contents.volumes().nth(volume as usize).map_or(0, |(_, frames)| frames.len());
    let first = contents.frames_in(volume, &range).start.min(frames.saturating_sub(1));
    if (is_last || !range.is_empty()) && is_wanted(volume, first) {
        give(Task::Between { volume, range, is_last });
    }
}

/// The end of an entry with its padding.
fn end_of(entry: &Entry) -> u64 {
    entry.placed.body + entry.placed.stored + padding(entry.placed.stored) as u64
}

struct Worker<'a> {
    shared: &'a Shared<'a>,
    buffers: FrameBuffers,
    raw: Vec<u8>,
    /// The frame that `raw` holds.
    loaded: Option<(u32, usize)>,
}

impl Worker<'_> {
    fn work(&mut self, task: Task) {
        if self.shared.deep.cancel.asked().is_some() {
            self.shared.halt.raise();
            return;
        }
        match task {
            Task::Frame { volume, frame, entries } => self.frame(volume, frame, &entries),
            Task::Piece { file, piece } => self.piece(&file, piece),
            Task::Whole { entry, frames } => self.whole(&entry, frames),
            Task::Between { volume, range, is_last } => self.between(volume, range, is_last),
        }
    }

    fn contradict(&self, volume: u32, path: Option<&EntryPath>, what: String) {
        let mut found = self.shared.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.add(volume, path.cloned(), what);
    }

    fn lose(&mut self, volume: u32, frame: usize, loss: FrameLoss) {
        self.loaded = None;
        let mut found = self.shared.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.frames.entry((volume, frame)).or_insert(loss);
    }

    /// Reads a frame into `raw`. False if it could not be had, which is told.
    fn load(&mut self, volume: u32, frame: usize) -> bool {
        if self.loaded == Some((volume, frame)) {
            return true;
        }
        self.loaded = None;
        let contents = self.shared.deep.contents;
        self.shared.seen[volume as usize][frame].store(true, Ordering::Relaxed);
        if let Err(loss) = contents.read_proven(volume, frame, &mut self.buffers, &mut self.raw) {
            self.lose(volume, frame, loss);
            return false;
        }
        let stored = self.buffers.stored();
        let (bytes, none) = (ByteCount(stored.len() as u64), ByteCount::ZERO);
        self.shared.bytes.fetch_add(bytes.0, Ordering::Relaxed);
        self.shared.deep.observer.notice(&Event::Advanced { entries: 0, bytes, stored: none });
        if let Some(table) = &self.shared.tables[volume as usize] {
            // a zstd frame ends in the low half of its content's XXH64, and so does its line of the table
            let told = table[frame].checksum.to_le_bytes();
            if !stored.ends_with(&told) {
                self.contradict(volume, None, format!("its table of frames tells another checksum of frame {frame}"));
            }
        }
        self.loaded = Some((volume, frame));
        true
    }

    fn frame(&mut self, volume: u32, frame: usize, entries: &[Entry]) {
        if !self.load(volume, frame) {
            return;
        }
        let begin = self.shared.deep.contents.raw_range(volume, frame).start;
        for entry in entries {
            let range = (entry.placed.offset - begin) as usize..(end_of(entry) - begin) as usize;
            if let Err(what) = compare(&self.raw[range], entry) {
                self.contradict(volume, Some(&entry.path), what);
            }
        }
    }

    fn piece(&mut self, file: &Large, piece: usize) {
        let entry = &file.entry;
        let (placed, volume) = (entry.placed, entry.placed.volume);
        let lost = || file.lost.load(Ordering::Relaxed);
        if !self.load(volume, file.frames.start + piece) {
            // the frame is told, and that this file lies in it as well
            file.lost.store(true, Ordering::Relaxed);
        }
        let begin = self.shared.deep.contents.raw_range(volume, file.frames.start + piece).start;
        if piece == 0 && !lost() {
            let from = (placed.offset - begin) as usize;
            if let Err(what) = header_of(&mut TarReader::new(&self.raw[from..], TarLimits::default()), entry) {
                self.contradict(volume, Some(&entry.path), what);
            }
        }
        let own = |raw: &[u8], from: u64, to: u64| {
            let end = begin + raw.len() as u64;
            (from.clamp(begin, end) - begin) as usize..(to.clamp(begin, end) - begin) as usize
        };
        let is_last = piece + 1 == file.frames.len();
        let body_ends = placed.body + placed.stored;
        let turn = file.hasher.take(piece as u64, &self.shared.halt, |hasher| {
            if let (Some(hasher), false) = (hasher.as_mut(), lost()) {
                hasher.update(&self.raw[own(&self.raw, placed.body, body_ends)]);
            }
            if is_last { hasher.take() } else { None }
        });
        if lost() {
            return;
        }
        if self.raw[own(&self.raw, body_ends, end_of(entry))].iter().any(|byte| *byte != 0) {
            self.contradict(volume, Some(&entry.path), format!("there is something in the padding of {}", entry.path));
        }
        if let Ok(Some(hasher)) = turn
            && Some(hasher.finish()) != entry.sha256
        {
            self.contradict(volume, Some(&entry.path), another_content(entry));
        }
    }

    fn whole(&mut self, entry: &Entry, frames: Range<usize>) {
        let (placed, volume) = (entry.placed, entry.placed.volume);
        // each is proven by its checksum first; what follows may read them again
        let mut is_whole = true;
        for frame in frames {
            is_whole &= self.load(volume, frame);
        }
        if !is_whole {
            return;
        }
        let result = self.stream(volume, placed.offset..end_of(entry), |input| {
            header_of(&mut TarReader::new(input, TarLimits::default()), entry).map(drop)
        });
        let hashed = self.stream(volume, placed.body..end_of(entry), |input| {
            let mut hasher = Hasher::new();
            let mut left = placed.stored;
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let len = input.read(&mut buffer).map_err(|error| error.to_string())?;
                if len == 0 {
                    break;
                }
                let own = len.min(usize::try_from(left).unwrap_or(usize::MAX));
                hasher.update(&buffer[..own]);
                left -= own as u64;
                if buffer[own..len].iter().any(|byte| *byte != 0) {
                    return Err(format!("there is something in the padding of {}", entry.path));
                }
            }
            let is_right = entry.sha256.is_none_or(|sha256| sha256 == hasher.finish());
            if is_right { Ok(()) } else { Err(another_content(entry)) }
        });
        for what in [result, hashed].into_iter().filter_map(Result::err) {
            self.contradict(volume, Some(&entry.path), what);
        }
    }

    /// Hands out a part of a tar stream. If a frame of it cannot be had, that is told and all else is well.
    fn stream(
        &mut self,
        volume: u32,
        range: Range<u64>,
        look: impl FnOnce(&mut dyn Read) -> Result<(), String>,
    ) -> Result<(), String> {
        self.loaded = None;
        let contents = self.shared.deep.contents;
        let mut input = contents.stream(volume, range, &mut self.buffers, &mut self.raw);
        let result = look(&mut input);
        if let Some((frame, loss)) = input.take_loss() {
            self.lose(volume, frame, loss);
            return Ok(());
        }
        result
    }

    fn between(&mut self, volume: u32, range: Range<u64>, is_last: bool) {
        for frame in self.shared.deep.contents.frames_in(volume, &range) {
            if !self.load(volume, frame) {
                return;
            }
        }
        let stale = &self.shared.deep.stale[volume as usize];
        let mut strangers = Vec::new();
        let len = range.end - range.start;
        let result = self.stream(volume, range, |input| {
            let mut reader = TarReader::new(input, TarLimits::default());
            let mut end = 0;
            loop {
                match reader.next_member() {
                    Ok(Some(member)) => {
                        let name = member.path.strip_suffix(b"/").unwrap_or(&member.path);
                        let path = if name == b"." { Ok(EntryPath::root()) } else { EntryPath::parse(name) };
                        if !path.is_ok_and(|path| stale.contains(&path)) {
                            strangers.push(format!("it holds {}, which the manifest does not name there", Shown(name)));
                        }
                        let body = member.stored.saturating_add(member.map.len() as u64);
                        end = member.body.saturating_add(body).saturating_add(padding(body) as u64);
                    }
                    Ok(None) => break,
                    Err(error) => return Err(format!("what lies between its entries is no member: {error}")),
                }
            }
            let ended = reader.ended().map(|ended| (ended.marker, ended.data_after));
            match (ended, is_last) {
                (Some((EndMarker::None, None)), false) => Ok(()),
                (Some((EndMarker::TwoBlocks, None)), true) if end.checked_add(END_MARKER_BYTES) == Some(len) => Ok(()),
                (_, false) => Err("an end marker stands between its entries".to_owned()),
                (Some((EndMarker::TwoBlocks, None)), true) => Err("there are zeros behind its end marker".to_owned()),
                (Some((_, Some(_))), true) => Err("there is something behind its end marker".to_owned()),
                (_, true) => Err("its end marker is not there or not whole".to_owned()),
            }
        });
        for what in strangers.into_iter().chain(result.err()) {
            self.contradict(volume, None, what);
        }
    }
}

const END_MARKER_BYTES: u64 = crate::archive::END_MARKER.len() as u64;

fn another_content(entry: &Entry) -> String {
    format!("the content of {} is another than the manifest says", entry.path)
}

/// An entry that lies in `raw` whole: header, body, padding.
fn compare(raw: &[u8], entry: &Entry) -> Result<(), String> {
    let placed = entry.placed;
    header_of(&mut TarReader::new(raw, TarLimits::default()), entry)?;
    let body_at = (placed.body - placed.offset) as usize;
    let (body, padding) = raw[body_at..].split_at(placed.stored as usize);
    if entry.sha256.is_some_and(|sha256| sha256 != Digest::of(body)) {
        return Err(another_content(entry));
    }
    if matches!(entry.kind, EntryKind::File) && entry.sha256.is_none() {
        return Err(format!("the manifest tells no sha256 of {}", entry.path));
    }
    if padding.iter().any(|byte| *byte != 0) {
        return Err(format!("there is something in the padding of {}", entry.path));
    }
    Ok(())
}
