//! What a worker does: reads a frame, compares what is in it with the manifest, writes the entries that lie in it.
//!
//! A frame that cannot be read costs the entries in it, each named. A frame that is as it was published and still
//! says something else than the manifest is a lie of one of the two: that ends the restore.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Mode};

use super::decide::{Decision, There};
use super::error::RestoreError;
use super::folder::{Folder, Metadata, Permit, Shortfall};
use super::large::LargeFile;
use super::report::{Counts, LOSSES_BYTES_MAX, LOSSES_MAX, Loss, LossCause};
use crate::archive::manifest::{Entry, EntryKind};
use crate::archive::padding;
use crate::archive::tar::{Member, TarLimits, TarReader};
use crate::catalog::{Contents, FrameBuffers, FrameLoss, Otherwise, RawStream, compare_content};
use crate::domain::{ByteCount, Cancel, Digest, EntryPath, Halt, Hasher};
use crate::observe::{Event, Observer};

/// Something to be done by a worker.
pub(super) enum Task {
    /// Entries that lie within one frame.
    Frame { volume: u32, frame: usize, items: Vec<Item> },
    /// One frame of a file that lies in several.
    Part { file: Arc<LargeFile>, part: usize },
    /// An entry in several frames that cannot be cut.
    Whole { item: Item },
    /// An entry that needs nothing from the store.
    Bare { item: Item },
    /// A file that seems to be there; its content is compared, unless a quick check is enough.
    There { item: Item, there: There, quick: bool },
}

/// An entry to be written.
#[derive(Debug)]
pub(super) struct Item {
    /// As it stands in the manifest and in the volume.
    pub(super) entry: Box<Entry>,
    /// Its path in what is restored: another than the entry's where a hard link stands in for its first name.
    pub(super) path: EntryPath,
    /// The folder it is written into; for a folder, itself.
    pub(super) folder: Arc<Folder>,
    pub(super) metadata: Metadata,
    pub(super) decision: Decision,
}

/// What is counted and told while workers work.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Tallied>);

#[derive(Debug, Default)]
pub(super) struct Tallied {
    pub(super) counts: Counts,
    pub(super) losses: Vec<Loss>,
    pub(super) losses_count: u64,
    /// Of these, what is damaged in the store.
    pub(super) damaged_count: u64,
    pub(super) losses_bytes: usize,
    owners: u64,
    set_gids: u64,
    attributes: BTreeMap<String, u64>,
    not_asked: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn lock(&self) -> MutexGuard<'_, Tallied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry is not there, or not as it was.
    pub(super) fn lose(&self, path: &EntryPath, cause: LossCause, why: String) {
        let mut tallied = self.lock();
        tallied.losses_count += 1;
        tallied.damaged_count += u64::from(cause == LossCause::Damaged);
        tallied.losses_bytes += path.as_bytes().len() + why.len() + 64;
        if tallied.losses.len() < LOSSES_MAX && tallied.losses_bytes < LOSSES_BYTES_MAX {
            tallied.losses.push(Loss { path: path.clone(), cause, why });
        }
    }

    /// Those of which nothing is here.
    pub(super) fn lost(&self) -> HashMap<EntryPath, LossCause> {
        let tallied = self.lock();
        let gone = tallied.losses.iter().filter(|loss| loss.cause != LossCause::NotAsItWas);
        gone.map(|loss| (loss.path.clone(), loss.cause)).collect()
    }

    /// Something of an entry could not be set.
    pub(super) fn fall_short(&self, _: &EntryPath, shortfall: Shortfall) {
        let mut tallied = self.lock();
        match shortfall {
            Shortfall::Owner => tallied.owners += 1,
            Shortfall::SetGid => tallied.set_gids += 1,
            Shortfall::Attribute(space) => *tallied.attributes.entry(space).or_default() += 1,
            Shortfall::NotAsked(what) => *tallied.not_asked.entry(what).or_default() += 1,
        }
    }
}

impl Tallied {
    /// What could not be set, as sentences.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.owners > 0 {
            notes.push(format!("the owners of {} entries could not be set here", self.owners));
        }
        if self.set_gids > 0 {
            notes.push(format!(
                "the setgid bits of {} entries were not kept here: that takes being in their group, or CAP_FSETID",
                self.set_gids
            ));
        }
        for (space, count) in &self.attributes {
            notes.push(format!("{count} attributes `{space}.*` are not taken by this file system or this user"));
        }
        for (what, count) in &self.not_asked {
            notes.push(format!("{what} of {count} entries were left out; --privileged restores them"));
        }
        notes
    }
}

/// What all workers share.
pub(super) struct Shared<'a> {
    pub(super) contents: &'a Contents,
    pub(super) permit: Permit,
    /// Whether the next restore, should this one die, replaces what it finds of it.
    pub(super) replaces: bool,
    pub(super) tally: &'a Tally,
    pub(super) halt: Halt,
    pub(super) fatal: Mutex<Option<RestoreError>>,
    pub(super) cancel: &'a Cancel,
    pub(super) observer: &'a dyn Observer,
}

impl Shared<'_> {
    /// Ends the restore; the first reason stays.
    pub(super) fn fail(&self, error: RestoreError) {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.halt.raise();
    }

    /// An entry is lost for what its frame is.
    pub(super) fn lose_frame(&self, path: &EntryPath, loss: FrameLoss) {
        let why = loss.to_string();
        if !self.end_for(loss) {
            self.tell(path, LossCause::Damaged, why);
        }
    }

    /// Ends the restore if a frame's loss is more than a loss.
    fn end_for(&self, loss: FrameLoss) -> bool {
        if loss.is_store_absent() {
            self.fail(RestoreError::StoreGone { source: loss });
        } else if loss.is_contradiction() {
            self.fail(RestoreError::Contradiction { source: loss });
        } else {
            return false;
        }
        true
    }

    /// An entry is lost for what the machine said here.
    pub(super) fn lose_here(&self, path: &EntryPath, error: io::Error) {
        if is_fatal(&error) {
            let path = std::path::PathBuf::from(path.to_string());
            return self.fail(RestoreError::Target { deed: "writing", path, source: error });
        }
        self.tell(path, LossCause::Unwritten, error.to_string());
    }

    pub(super) fn tell(&self, path: &EntryPath, cause: LossCause, why: String) {
        self.observer.notice(&Event::Notice { text: &format!("{path}: {why}") });
        self.tally.lose(path, cause, why);
    }

    pub(super) fn advanced(&self, entries: u64, bytes: u64) {
        self.observer.notice(&Event::Advanced { entries, bytes: ByteCount(bytes), stored: ByteCount::ZERO });
    }
}

/// Whether what the machine said of one entry would be said of all.
pub(super) fn is_fatal(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | StaleNetworkFileHandle)
}

/// A worker's tools.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    buffers: FrameBuffers,
    raw: Vec<u8>,
    counts: Counts,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, buffers: FrameBuffers::default(), raw: Vec::new(), counts: Counts::default() }
    }

    /// Works until the channel ends. After a failure or a wish to stop, tasks are only let go of.
    pub(super) fn work(mut self, tasks: &crossbeam_channel::Receiver<Task>) {
        for task in tasks {
            if self.shared.cancel.asked().is_some() {
                self.shared.halt.raise();
            }
            match task {
                Task::Frame { volume, frame, items } => self.frame(volume, frame, items),
                Task::Part { file, part } => self.part(&file, part),
                Task::Whole { item } => self.whole(item),
                Task::Bare { item } => self.bare(item),
                Task::There { item, there, quick } => self.there(item, &there, quick),
            }
        }
        self.shared.tally.lock().counts.add(self.counts);
    }

    fn frame(&mut self, volume: u32, frame: usize, items: Vec<Item>) {
        let shared = self.shared;
        let begin = shared.contents.raw_range(volume, frame).start;
        let (count, mut bytes) = (items.len() as u64, 0);
        let mut lost: Option<String> = None;
        if !shared.halt.is_raised()
            && let Err(loss) = shared.contents.read(volume, frame, &mut self.buffers, &mut self.raw)
        {
            lost = Some(loss.to_string());
            shared.end_for(loss);
        }
        for item in items {
            if shared.halt.is_raised() {
                // nothing more is written
            } else if let Some(why) = &lost {
                shared.tell(&item.path, LossCause::Damaged, why.clone());
            } else {
                bytes = u64::saturating_add(bytes, item.entry.size);
                let from = (item.entry.placed.offset - begin) as usize;
                let result = write_from(&self.raw[from..], &item, shared);
                self.settle(&item, volume, frame..frame + 1, result);
            }
            item.folder.leave(shared.permit, shared.tally);
        }
        shared.advanced(count, bytes);
    }

    fn settle(&mut self, item: &Item, volume: u32, frames: Range<usize>, result: Result<(), Trouble>) {
        match result {
            Ok(()) => self.count(item),
            Err(Trouble::Here(error)) => self.shared.lose_here(&item.path, error),
            Err(Trouble::Stored(why)) => {
                let loss = self.shared.contents.blame_any(volume, frames, &mut self.buffers, &why);
                self.shared.lose_frame(&item.path, loss);
            }
            Err(Trouble::Frame(loss)) => self.shared.lose_frame(&item.path, loss),
        }
    }

    fn count(&mut self, item: &Item) {
        let counts = &mut self.counts;
        counts.bytes.0 = counts.bytes.0.saturating_add(item.entry.size);
        counts.replaced += u64::from(item.decision == Decision::Replace);
        match item.entry.kind {
            EntryKind::File => counts.files += 1,
            EntryKind::Folder => {}
            EntryKind::Symlink { .. } => counts.symlinks += 1,
            EntryKind::HardLink { .. } => counts.hard_links += 1,
            EntryKind::Fifo | EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => counts.special += 1,
        }
    }

    fn bare(&mut self, item: Item) {
        if !self.shared.halt.is_raised() {
            match write_other(&item, &item.metadata, self.shared) {
                Ok(true) => self.count(&item),
                Ok(false) => {}
                Err(error) => self.shared.lose_here(&item.path, error),
            }
        }
        item.folder.leave(self.shared.permit, self.shared.tally);
        self.shared.advanced(1, 0);
    }

    /// Leaves a file that is there as it is, but for its mode and owner, if it is what the manifest says. Whether it is
    /// another or cannot be read: then it is written like one that was not there.
    fn there(&mut self, mut item: Item, there: &There, quick: bool) {
        let shared = self.shared;
        if shared.halt.is_raised() {
            return item.folder.leave(shared.permit, shared.tally);
        }
        let metadata = &item.metadata;
        let differs = there.mode != metadata.mode
            || there.mtime != metadata.mtime
            || metadata.owner.is_some_and(|owner| owner != there.owner);
        // its other names may be somebody else's: it gets a file of its own. And a mode means another thing with an ACL
        // and without, which is not set on what is there
        let is_ours = !differs || (there.links == 1 && item.entry.xattrs.is_none());
        if is_ours && (quick || self.is_as_published(&item, there)) {
            self.counts.same += 1;
            if differs && let Err(error) = item.folder.redress(there, &item.path, metadata, shared.permit, shared.tally)
            {
                shared.lose_here(&item.path, error);
            }
            item.folder.leave(shared.permit, shared.tally);
            return shared.advanced(1, item.entry.size);
        }
        if shared.cancel.asked().is_some() {
            shared.halt.raise();
        }
        item.decision = Decision::Replace;
        if shared.contents.frames_of(&item.entry.placed).is_some() {
            return self.whole(item);
        }
        let why = "the manifest says that it lies where nothing can lie".to_owned();
        shared.tell(&item.path, LossCause::Damaged, why);
        item.folder.leave(shared.permit, shared.tally);
    }

    fn is_as_published(&mut self, item: &Item, there: &There) -> bool {
        let shared = self.shared;
        let Ok(file) = item.folder.open_there(there, item.path.name()) else { return false };
        file.will_read();
        let (buffers, raw) = (&mut self.buffers, &mut self.raw);
        let same = compare_content(shared.contents, &item.entry, &file, buffers, raw, shared.cancel);
        // how a file system keeps holes is its own affair
        matches!(same, Ok(()) | Err(Otherwise::Filled))
    }

    fn part(&mut self, file: &Arc<LargeFile>, part: usize) {
        let shared = self.shared;
        let (volume, frame) = file.frame(part);
        let begin = shared.contents.raw_range(volume, frame).start;
        let read = if shared.halt.is_raised() || file.is_lost() {
            None
        } else {
            Some(shared.contents.read(volume, frame, &mut self.buffers, &mut self.raw))
        };
        if let Some(Err(loss)) = read {
            file.lose(loss, shared);
        } else if read.is_some() {
            match file.write(part, begin, &self.raw) {
                Ok(()) => {}
                Err(Trouble::Here(error)) => file.lose_here(error, shared),
                Err(Trouble::Frame(loss)) => file.lose(loss, shared),
                Err(Trouble::Stored(why)) => {
                    let loss = shared.contents.blame(volume, frame, &mut self.buffers, &why);
                    file.lose(loss, shared);
                }
            }
        }
        shared.advanced(0, self.raw.len() as u64);
        let done = file.take_turn(part, begin, &self.raw, shared);
        if let Some(item) = done {
            self.count(&item);
            item.folder.leave(shared.permit, shared.tally);
            shared.advanced(1, 0);
        }
    }

    /// One after another; for what is rare: a sparse file whose data fills several frames.
    fn whole(&mut self, item: Item) {
        if !self.shared.halt.is_raised() {
            let volume = item.entry.placed.volume;
            let frames = self.shared.contents.frames_of(&item.entry.placed).expect("the planner looked");
            let range = item.entry.placed.offset..end_of(&item.entry);
            let mut input = self.shared.contents.stream(volume, range, &mut self.buffers, &mut self.raw);
            let result = write_whole(&mut input, &item, self.shared);
            let result = match input.take_loss() {
                Some((_, loss)) => Err(Trouble::Frame(loss)),
                None => result,
            };
            self.settle(&item, volume, frames, result);
        }
        item.folder.leave(self.shared.permit, self.shared.tally);
        self.shared.advanced(1, 0);
    }
}

/// Why an entry could not be written.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The machine said so.
    Here(io::Error),
    /// What is stored is not what the manifest says.
    Stored(String),
    /// A frame of it could not be read.
    Frame(FrameLoss),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Here(error)
    }
}

/// The header at the beginning of `raw`, if it says what the manifest says.
pub(super) fn header_of<R: Read>(reader: &mut TarReader<R>, entry: &Entry) -> Result<Member, Trouble> {
    crate::catalog::header_of(reader, entry).map_err(Trouble::Stored)
}

/// Writes an entry whose header begins at the beginning of `raw`, and which lies in it whole.
fn write_from(raw: &[u8], item: &Item, shared: &Shared<'_>) -> Result<(), Trouble> {
    let placed = item.entry.placed;
    let body_at = (placed.body - placed.offset) as usize;
    let mut reader = TarReader::new(raw, TarLimits::default());
    let member = header_of(&mut reader, &item.entry)?;
    let metadata = Metadata { xattrs: member.xattrs, ..item.metadata.clone() };
    match item.entry.kind {
        EntryKind::File => {
            let stored = &raw[body_at..body_at + placed.stored as usize];
            if Some(Digest::of(stored)) != item.entry.sha256 {
                return Err(Trouble::Stored(format!("the content of {} is another", item.entry.path)));
            }
            let file = item.folder.create_known(item.path.name(), &metadata, shared.replaces)?;
            match &member.extents {
                None => file.write_at(0, stored)?,
                Some(extents) => {
                    let mut data = &stored[(stored.len() - member.stored as usize)..];
                    for extent in extents {
                        let (run, rest) = data.split_at(extent.len as usize);
                        file.write_at(extent.offset, run)?;
                        data = rest;
                    }
                    file.set_len(item.entry.size)?;
                }
            }
            file.dress(&item.path, &metadata, shared.permit, shared.tally)?;
            file.place(item.path.name(), item.decision == Decision::Replace)?;
        }
        EntryKind::Folder => item.folder.dress_with(metadata.xattrs),
        _ => {
            write_other(item, &metadata, shared)?;
        }
    }
    Ok(())
}

/// Links, FIFOs and devices. False if it is not made because nobody asked.
fn write_other(item: &Item, metadata: &Metadata, shared: &Shared<'_>) -> io::Result<bool> {
    use rustix::fs::{makedev, mknodat, symlinkat};
    let mode = Mode::RUSR | Mode::WUSR;
    let made = match &item.entry.kind {
        EntryKind::Symlink { target } => item.folder.create_other(|at, name| symlinkat(&**target, at, name))?,
        EntryKind::Fifo => item.folder.create_other(|at, name| mknodat(at, name, FileType::Fifo, mode, 0))?,
        EntryKind::CharDevice { special } | EntryKind::BlockDevice { special } => {
            if !shared.permit.privileged {
                let why = "devices are restored only with --privileged".to_owned();
                shared.tally.lose(&item.path, LossCause::NotAsked, why);
                return Ok(false);
            }
            let device = makedev(special.0, special.1);
            let kind = match item.entry.kind {
                EntryKind::CharDevice { .. } => FileType::CharacterDevice,
                _ => FileType::BlockDevice,
            };
            item.folder.create_other(|at, name| mknodat(at, name, kind, mode, device))?
        }
        EntryKind::File | EntryKind::Folder | EntryKind::HardLink { .. } => {
            unreachable!("files have content, folders are entered, hard links come last")
        }
    };
    made.dress(&item.path, metadata, shared.permit, shared.tally)?;
    made.place(item.path.name(), item.decision == Decision::Replace)?;
    Ok(true)
}

fn write_whole(input: &mut RawStream<'_>, item: &Item, shared: &Shared<'_>) -> Result<(), Trouble> {
    let placed = item.entry.placed;
    let (from, to) = (placed.body, placed.body + placed.stored);
    let mut hashing = Hashing { input, hasher: Hasher::new(), at: placed.offset, from, to };
    let mut reader = TarReader::new(&mut hashing, TarLimits::default());
    let member = header_of(&mut reader, &item.entry)?;
    if !matches!(item.entry.kind, EntryKind::File) {
        // a header with many attributes, cut in two
        let metadata = Metadata { xattrs: member.xattrs, ..item.metadata.clone() };
        match item.entry.kind {
            EntryKind::Folder => item.folder.dress_with(metadata.xattrs),
            _ => drop(write_other(item, &metadata, shared)?),
        }
        return Ok(());
    }
    let file = item.folder.create()?;
    let whole = [crate::domain::Extent { offset: 0, len: member.stored }];
    let mut buffer = vec![0; 256 << 10];
    for extent in member.extents.as_deref().unwrap_or(&whole) {
        let mut done = 0;
        while done < extent.len {
            let len = buffer.len().min((extent.len - done) as usize);
            let got = reader.read(&mut buffer[..len]).map_err(|error| Trouble::Stored(error.to_string()))?;
            if got == 0 {
                return Err(Trouble::Stored(format!("{} is cut", item.entry.path)));
            }
            file.write_at(extent.offset + done, &buffer[..got])?;
            done += got as u64;
        }
    }
    drop(reader);
    if Some(hashing.hasher.finish()) != item.entry.sha256 {
        return Err(Trouble::Stored(format!("the content of {} is another", item.entry.path)));
    }
    file.set_len(item.entry.size)?;
    let metadata = Metadata { xattrs: member.xattrs, ..item.metadata.clone() };
    file.dress(&item.path, &metadata, shared.permit, shared.tally)?;
    file.place(item.path.name(), item.decision == Decision::Replace)?;
    Ok(())
}

/// Hashes what passes between two offsets.
struct Hashing<R> {
    input: R,
    hasher: Hasher,
    at: u64,
    from: u64,
    to: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.input.read(into)?;
        let (begin, end) = (self.at, self.at + len as u64);
        let (from, to) = (self.from.clamp(begin, end), self.to.clamp(begin, end));
        self.hasher.update(&into[(from - begin) as usize..(to - begin) as usize]);
        self.at = end;
        Ok(len)
    }
}

/// The bytes of an entry with its header and padding.
pub(super) fn end_of(entry: &Entry) -> u64 {
    entry.placed.body + entry.placed.stored + padding(entry.placed.stored) as u64
}

#[cfg(test)]
mod tests {
    use super::{LOSSES_MAX, LossCause, Tally};
    use crate::domain::EntryPath;

    #[test]
    fn damage_counts_however_much_else_was_lost_before_it() {
        let tally = Tally::default();
        for _ in 0..=LOSSES_MAX {
            tally.lose(&EntryPath::root().join(b"a"), LossCause::NotStored, String::new());
        }
        tally.lose(&EntryPath::root().join(b"b"), LossCause::Damaged, String::new());
        let tallied = tally.lock();
        assert_eq!((tallied.losses.len(), tallied.losses_count), (LOSSES_MAX, LOSSES_MAX as u64 + 2));
        assert_eq!(tallied.damaged_count, 1);
    }
}
