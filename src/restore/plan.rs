//! Going through the manifest: which entries are restored, into which folders, in which order by whom.
//!
//! One thread does this. It makes the folders, decides about every entry, gathers the entries of one frame into one
//! task, and keeps hard links for the end, when what they name is there. Memory holds the folders on the way to the
//! current entry, the entries of the frames that are being gathered, and the hard links.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::decide::{Decision, Overwrite, decide};
use super::folder::{Folder, Metadata};
use super::large::LargeFile;
use super::names::Owners;
use super::report::{Counts, LossCause};
use super::run::Planned;
use super::select::{Selection, Standing, is_beyond};
use super::work::{Item, Shared, Task, end_of};
use crate::archive::manifest::{Entry, EntryKind, Line, SkipLine};
use crate::domain::{EntryPath, FileTime, Kind, Xattrs};

/// More entries than this do not fit a frame that was made honestly.
const ITEMS_MAX: usize = 4096;

pub(super) const BLOCKED: &str = "a folder has its name, and folders are not removed for files";

/// What a plan needs to know.
pub(super) struct Terms<'a> {
    pub(super) selection: &'a Selection,
    pub(super) overwrite: Overwrite,
    pub(super) owners: &'a Owners,
    /// An earlier restore of the same snapshot is continued.
    pub(super) resumed: bool,
    /// What has the length and time of a file is not read.
    pub(super) quick_check: bool,
    /// Names that the snapshot does not have are gathered.
    pub(super) extras: bool,
}

/// Where decisions go.
pub(super) enum Hands<'h> {
    /// To workers.
    Work(Sender<Task>),
    /// Shown, and nothing is written.
    Show(&'h mut (dyn FnMut(&Planned<'_>) + 'h)),
}

/// A further name of a file, to be made when the file is there.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) path: EntryPath,
    pub(super) first: EntryPath,
    pub(super) mtime: FileTime,
    pub(super) decision: Decision,
    /// The time that its folder was given, and that the link would change.
    pub(super) folder_mtime: Option<FileTime>,
}

/// Looks an entry up in the manifest, out of order.
pub(super) type Lookup<'a> = &'a dyn Fn(&EntryPath) -> Option<Box<Entry>>;

pub(super) struct Planner<'a, 'h> {
    terms: Terms<'a>,
    shared: &'a Shared<'a>,
    lookup: Lookup<'a>,
    hands: Hands<'h>,
    stack: Vec<Level>,
    gathered: HashMap<u32, (usize, Vec<Item>)>,
    links: Vec<Link>,
    stand_ins: HashMap<EntryPath, EntryPath>,
    /// Files that were left as they are: what has further names in the snapshot is not linked to them.
    left: HashSet<EntryPath>,
    extras: Vec<EntryPath>,
    counts: Counts,
    taken: u64,
    /// The file system of the root: what is mounted below it is no extra.
    device: u64,
}

/// A folder on the way to the current entry.
struct Level {
    path: EntryPath,
    entry: Option<Box<Entry>>,
    standing: Standing,
    state: State,
    /// Its time, once it is to be set.
    mtime: Option<FileTime>,
    names: Vec<Box<[u8]>>,
}

enum State {
    /// Nothing was needed in it yet.
    Asleep,
    Open(Arc<Folder>),
    /// Not there, and not made because nothing is written.
    Absent,
    /// Something else has its name.
    Blocked,
}

/// What the plan leaves for the end.
pub(super) struct Rest {
    pub(super) links: Vec<Link>,
    pub(super) left: HashSet<EntryPath>,
    pub(super) extras: Vec<EntryPath>,
    pub(super) counts: Counts,
    pub(super) taken: u64,
}

impl<'a, 'h> Planner<'a, 'h> {
    /// Plans for `root`; none if it is not there and nothing is to be written.
    pub(super) fn new(
        terms: Terms<'a>,
        shared: &'a Shared<'a>,
        lookup: Lookup<'a>,
        hands: Hands<'h>,
        root: Option<Arc<Folder>>,
    ) -> Self {
        let standing = terms.selection.stand(&EntryPath::root(), true, Standing::default());
        let device = root.as_ref().and_then(|root| root.device().ok()).unwrap_or(0);
        let state = root.map_or(State::Absent, State::Open);
        let level = Level { path: EntryPath::root(), entry: None, standing, state, mtime: None, names: Vec::new() };
        Self {
            terms,
            shared,
            lookup,
            hands,
            stack: vec![level],
            gathered: HashMap::new(),
            links: Vec::new(),
            stand_ins: HashMap::new(),
            left: HashSet::new(),
            extras: Vec::new(),
            counts: Counts::default(),
            taken: 0,
            device,
        }
    }

    /// The next line of the manifest.
    pub(super) fn line(&mut self, line: Line) {
        match line {
            Line::Skip(SkipLine { path, cause, why }) => {
                if !path.is_root() {
                    self.come_to(&path);
                    // the snapshot could not read it: it is not known to be superfluous
                    self.name(&path);
                }
                let above = self.top().standing;
                if above.is_taken() || self.terms.selection.stand(&path, false, above).is_taken() {
                    self.taken += 1;
                    let why = format!("when the snapshot was made it {}: {why}", cause.words());
                    self.shared.tally.lose(&path, LossCause::of_skip(cause), why);
                }
            }
            Line::Entry(entry) => self.entry(entry),
        }
    }

    /// No more lines come.
    pub(super) fn finish(mut self) -> Rest {
        while let Some(level) = self.stack.pop() {
            self.close(level);
        }
        for (volume, (frame, items)) in std::mem::take(&mut self.gathered) {
            self.send(Task::Frame { volume, frame, items });
        }
        Rest { links: self.links, left: self.left, extras: self.extras, counts: self.counts, taken: self.taken }
    }

    fn top(&mut self) -> &mut Level {
        self.stack.last_mut().expect("the root stays until the end")
    }

    /// Leaves the folders that `path` does not lie in, and comes to those that it does, also where the manifest has no
    /// line for them: the folders above a source.
    fn come_to(&mut self, path: &EntryPath) {
        while self.stack.len() > 1 && !path.is_within(&self.top().path) {
            let level = self.stack.pop().expect("there are two");
            self.close(level);
        }
        let parent = path.parent().unwrap_or_else(EntryPath::root);
        let mut missing = Vec::new();
        let mut at = Some(parent);
        while let Some(path) = at
            && path != self.top().path
            && !path.is_root()
        {
            at = path.parent();
            missing.push(path);
        }
        for path in missing.into_iter().rev() {
            self.name(&path);
            self.descend(path, None);
        }
    }

    fn descend(&mut self, path: EntryPath, entry: Option<Box<Entry>>) {
        let above = self.top().standing;
        let standing = self.terms.selection.stand(&path, true, above);
        self.stack.push(Level { path, entry, standing, state: State::Asleep, mtime: None, names: Vec::new() });
    }

    /// Notes that the snapshot knows this name.
    fn name(&mut self, path: &EntryPath) {
        if self.terms.extras {
            let name = path.name().into();
            self.top().names.push(name);
        }
    }

    fn entry(&mut self, entry: Box<Entry>) {
        if is_beyond(entry.path.as_bytes()) {
            let why = "its path is longer or deeper than any that a source has".to_owned();
            return self.shared.tell(&entry.path, LossCause::Damaged, why);
        }
        if entry.path.is_root() {
            return self.root_entry(entry);
        }
        self.come_to(&entry.path);
        self.name(&entry.path);
        if matches!(entry.kind, EntryKind::Folder) {
            self.descend(entry.path.clone(), Some(entry));
            if self.top().standing.is_taken() {
                self.taken += 1;
                self.wake();
            }
            return;
        }
        let above = self.top().standing;
        if self.terms.selection.stand(&entry.path, false, above).is_taken() {
            self.taken += 1;
            self.take(entry);
        }
    }

    fn root_entry(&mut self, entry: Box<Entry>) {
        if !self.stack[0].standing.is_taken() {
            return;
        }
        self.taken += 1;
        if let State::Open(folder) = &self.stack[0].state
            && (folder.is_new() || self.dresses())
        {
            let folder = Arc::clone(folder);
            self.stack[0].mtime = Some(entry.mtime);
            self.dress(folder, entry);
        }
    }

    /// Whether what is there gives way to what the snapshot has.
    fn replaces(&self) -> bool {
        self.terms.overwrite.replaces()
    }

    /// Whether folders that are there are dressed: those that an earlier restore of the same made are not yet.
    fn dresses(&self) -> bool {
        self.replaces() || self.terms.resumed
    }

    /// Opens the folders on the way, the last of them with those above it.
    fn wake(&mut self) {
        for at in 1..self.stack.len() {
            if !matches!(self.stack[at].state, State::Asleep) {
                continue;
            }
            let above = match &self.stack[at - 1].state {
                State::Open(folder) => Some(Arc::clone(folder)),
                State::Absent => None,
                State::Blocked => {
                    self.stack[at].state = State::Blocked;
                    self.lose(at, "the folder it lies in could not be made".to_owned());
                    continue;
                }
                State::Asleep => unreachable!("those above were woken first"),
            };
            let state = match above {
                None => {
                    self.show_folder(at, Decision::Make);
                    self.counts.folders += 1;
                    State::Absent
                }
                Some(above) => {
                    let state = self.enter(at, &above);
                    above.leave(self.shared.permit, self.shared.tally);
                    state
                }
            };
            self.stack[at].state = state;
        }
    }

    fn lose(&self, at: usize, why: String) {
        let level = &self.stack[at];
        if level.standing.is_taken() {
            self.shared.tell(&level.path, LossCause::Unwritten, why);
        }
    }

    fn show_folder(&mut self, at: usize, decision: Decision) {
        if let Hands::Show(show) = &mut self.hands {
            let path = &self.stack[at].path;
            show(&Planned { path, kind: Kind::Folder, size: 0, decision: decision.into() });
        }
    }

    fn enter(&mut self, at: usize, above: &Arc<Folder>) -> State {
        let name = self.stack[at].path.name().to_vec();
        let make = matches!(self.hands, Hands::Work(_));
        let mut entered = above.enter(&name, make);
        if let Err(error) = &entered
            && is_no_folder(error)
            && self.replaces()
        {
            if !make {
                self.show_folder(at, Decision::Replace);
                return State::Absent;
            }
            entered = above.unlink(&name).and_then(|()| above.enter(&name, true));
            self.counts.replaced += 1;
        }
        match entered {
            Ok(Some(folder)) => {
                if folder.is_new() {
                    self.counts.folders += 1;
                    if self.stack[at].entry.is_none()
                        && let Err(error) = folder.open_up_as_usual()
                    {
                        self.lose(at, error.to_string());
                    }
                } else {
                    self.counts.same += u64::from(self.stack[at].standing.is_taken());
                    if self.terms.resumed && make {
                        // what cannot be swept is only in the way of nobody
                        let _ = folder.sweep();
                    }
                }
                let taken = self.stack[at].standing.is_taken() && self.dresses();
                if (folder.is_new() || taken)
                    && let Some(entry) = self.stack[at].entry.take()
                {
                    self.stack[at].mtime = Some(entry.mtime);
                    self.dress(Arc::clone(&folder), entry);
                }
                State::Open(folder)
            }
            Ok(None) => {
                self.show_folder(at, Decision::Make);
                self.counts.folders += 1;
                State::Absent
            }
            Err(error) => {
                let why = if is_no_folder(&error) {
                    "something else than a folder has its name (--overwrite always replaces it)".to_owned()
                } else {
                    error.to_string()
                };
                if let Hands::Show(_) = self.hands {
                    self.show_folder(at, Decision::Blocked);
                }
                self.lose(at, why);
                State::Blocked
            }
        }
    }

    /// Has a folder dressed when it is done.
    fn dress(&mut self, folder: Arc<Folder>, entry: Box<Entry>) {
        if let Hands::Show(_) = self.hands {
            return;
        }
        let metadata = self.metadata(&entry);
        folder.dress_last(metadata.clone());
        if entry.xattrs.is_some() {
            let path = entry.path.clone();
            self.dispatch(Item { entry, path, folder, metadata, decision: Decision::Same });
        } else {
            folder.leave(self.shared.permit, self.shared.tally);
        }
    }

    fn metadata(&self, entry: &Entry) -> Metadata {
        let owner = self.terms.owners.of(&entry.owner, entry.uid, entry.gid);
        Metadata { mode: entry.mode, owner, mtime: entry.mtime, xattrs: Xattrs::default() }
    }

    /// Something else than a folder.
    fn take(&mut self, entry: Box<Entry>) {
        self.wake();
        let level = self.stack.last().expect("the root stays until the end");
        let folder_mtime = level.mtime;
        let folder = match &level.state {
            State::Open(folder) => Some(Arc::clone(folder)),
            State::Absent => None,
            State::Blocked => {
                let why = "the folder it lies in could not be made".to_owned();
                return self.shared.tell(&entry.path, LossCause::Unwritten, why);
            }
            State::Asleep => unreachable!("it was woken"),
        };
        let there = match &folder {
            Some(folder) if !folder.is_new() => folder.there(entry.path.name()),
            _ => Ok(None),
        };
        let there = match there {
            Ok(there) => there,
            Err(error) => return self.shared.lose_here(&entry.path, error),
        };
        let decision = decide(&entry, there.as_ref(), self.terms.overwrite, self.terms.resumed);
        if let Hands::Show(show) = &mut self.hands {
            let size = entry.size;
            show(&Planned { path: &entry.path, kind: entry.kind.kind(), size, decision: decision.into() });
            count(&mut self.counts, &entry, decision);
            if decision == Decision::Blocked {
                self.shared.tell(&entry.path, LossCause::Unwritten, BLOCKED.to_owned());
            }
            return;
        }
        let folder = folder.expect("folders are made when something is written");
        match decision {
            Decision::Make | Decision::Replace => {
                if let EntryKind::HardLink { first } = &entry.kind {
                    self.link(&entry, first, decision, folder, folder_mtime);
                } else {
                    let (path, metadata) = (entry.path.clone(), self.metadata(&entry));
                    self.dispatch(Item { entry, path, folder, metadata, decision });
                }
                return;
            }
            Decision::Same => {
                let there = there.expect("it is the same as something");
                if matches!(entry.kind, EntryKind::File) && self.replaces() {
                    let (path, metadata) = (entry.path.clone(), self.metadata(&entry));
                    let quick = self.terms.quick_check && there.mtime == entry.mtime;
                    let item = Item { entry, path, folder, metadata, decision };
                    return self.send(Task::There { item, there, quick });
                }
                self.counts.same += 1;
            }
            Decision::Keep => {
                self.counts.kept += 1;
                self.left.insert(entry.path.clone());
            }
            Decision::Blocked => {
                self.shared.tell(&entry.path, LossCause::Unwritten, BLOCKED.to_owned());
            }
        }
        folder.leave(self.shared.permit, self.shared.tally);
    }

    /// A further name: of a file that is restored as well, or else a file of its own that later names are linked to.
    fn link(
        &mut self,
        entry: &Entry,
        first: &EntryPath,
        decision: Decision,
        folder: Arc<Folder>,
        folder_mtime: Option<FileTime>,
    ) {
        let first = self.stand_ins.get(first).unwrap_or(first).clone();
        if self.terms.selection.is_all() || self.terms.selection.takes(&first) {
            let (path, mtime) = (entry.path.clone(), entry.mtime);
            self.links.push(Link { path, first, mtime, decision, folder_mtime });
            return folder.leave(self.shared.permit, self.shared.tally);
        }
        match (self.lookup)(&first) {
            Some(content) if matches!(content.kind, EntryKind::File) => {
                self.stand_ins.insert(first, entry.path.clone());
                let (path, metadata) = (entry.path.clone(), self.metadata(entry));
                self.dispatch(Item { entry: content, path, folder, metadata, decision });
            }
            _ => {
                let why = format!("the manifest has no file `{first}`, whose further name it is");
                self.shared.tell(&entry.path, LossCause::Damaged, why);
                folder.leave(self.shared.permit, self.shared.tally);
            }
        }
    }

    fn dispatch(&mut self, item: Item) {
        let entry = &item.entry;
        if !matches!(entry.kind, EntryKind::File) && entry.xattrs.is_none() {
            return self.send(Task::Bare { item });
        }
        let placed = entry.placed;
        let Some(frames) = self.shared.contents.frames_of(&placed) else {
            let why = "the manifest says that it lies where nothing can lie".to_owned();
            self.shared.tell(&item.path, LossCause::Damaged, why);
            return item.folder.leave(self.shared.permit, self.shared.tally);
        };
        let is_single = frames.len() == 1 && {
            let range = self.shared.contents.raw_range(placed.volume, frames.start);
            range.start <= placed.offset && end_of(entry) <= range.end
        };
        if is_single {
            let gathered = self.gathered.remove(&placed.volume);
            let mut items = match gathered {
                Some((frame, items)) if frame == frames.start => items,
                Some((frame, items)) => {
                    self.send(Task::Frame { volume: placed.volume, frame, items });
                    Vec::new()
                }
                None => Vec::new(),
            };
            items.push(item);
            if items.len() >= ITEMS_MAX {
                return self.send(Task::Frame { volume: placed.volume, frame: frames.start, items });
            }
            self.gathered.insert(placed.volume, (frames.start, items));
        } else if entry.sparse || !matches!(entry.kind, EntryKind::File) {
            self.send(Task::Whole { item });
        } else {
            match LargeFile::create(item, frames) {
                Ok(file) => {
                    let file = Arc::new(file);
                    for part in 0..file.parts() {
                        self.send(Task::Part { file: Arc::clone(&file), part });
                    }
                }
                Err((item, error)) => {
                    self.shared.lose_here(&item.path, error);
                    item.folder.leave(self.shared.permit, self.shared.tally);
                }
            }
        }
    }

    fn send(&mut self, task: Task) {
        if let Hands::Work(tasks) = &self.hands {
            // workers take what comes until the channel ends; none is left only when all have died, which is told
            let _ = tasks.send(task);
        }
    }

    /// Lets go of a folder.
    fn close(&mut self, level: Level) {
        let State::Open(folder) = level.state else { return };
        let same_disk = || Ok::<_, io::Error>(folder.device()? == self.device);
        if self.terms.extras && level.standing.is_taken() && !folder.is_new() && same_disk().unwrap_or(false) {
            match folder.names() {
                Ok(mut there) => {
                    let mut known = level.names;
                    known.sort();
                    there.retain(|name| known.binary_search(name).is_err() && **name != *super::run::UNFINISHED);
                    // sockets are never in a snapshot
                    there.retain(|name| !matches!(folder.there(name), Ok(Some(there)) if there.kind == Kind::Socket));
                    self.extras.extend(there.iter().map(|name| level.path.join(name)));
                }
                Err(error) => self.shared.lose_here(&level.path, error),
            }
        }
        folder.leave(self.shared.permit, self.shared.tally);
    }
}

pub(super) fn is_no_folder(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
        Some(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP)
    )
}

/// Counts what would be written.
fn count(counts: &mut Counts, entry: &Entry, decision: Decision) {
    match decision {
        Decision::Same => counts.same += 1,
        Decision::Keep => counts.kept += 1,
        Decision::Blocked => {}
        Decision::Make | Decision::Replace => {
            counts.replaced += u64::from(decision == Decision::Replace);
            counts.bytes.0 = counts.bytes.0.saturating_add(entry.size);
            match entry.kind {
                EntryKind::File => counts.files += 1,
                EntryKind::Folder => counts.folders += 1,
                EntryKind::Symlink { .. } => counts.symlinks += 1,
                EntryKind::HardLink { .. } => counts.hard_links += 1,
                EntryKind::Fifo | EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => counts.special += 1,
            }
        }
    }
}
