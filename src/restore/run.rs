//! A restore from beginning to end.

use std::collections::HashSet;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::decide::{Decision, Overwrite};
use super::error::RestoreError;
use super::folder::{Folder, Permit};
use super::names::{Owners, Ownership};
use super::plan::{Hands, Link, Planner, Rest, Terms};
use super::report::{LossCause, Report};
use super::select::Selection;
use super::work::{Shared, Tally, Task, Worker};
use crate::archive::manifest::{Entry, Line, ManifestError};
use crate::catalog::{Catalog, Contents, OpenManifest};
use crate::domain::{ByteCount, Cancel, EntryPath, FileTime, Halt, Kind, SnapshotName};
use crate::observe::{Event, Observer, Phase};
use crate::store::StoreError;

/// Lies in the folder until everything is restored: says of which snapshot it holds the beginning.
pub(super) const UNFINISHED: &[u8] = b".backup-restore.json";

/// So many tasks may wait for each worker.
const TASKS_AHEAD: usize = 4;

/// What is to be restored, and how.
#[derive(Clone, Debug)]
pub struct Order {
    /// The folder to restore into.
    pub to: PathBuf,
    /// What.
    pub selection: Selection,
    /// What happens to what is there.
    pub overwrite: Overwrite,
    /// Whose it shall be.
    pub ownership: Ownership,
    /// setuid and setgid bits of files, devices, capabilities: only when asked, and only for those who may.
    pub privileged: bool,
    /// Gather what is there and not in the snapshot.
    pub extras: bool,
    /// Take a file that is there for the same by its length and time, without reading it.
    pub quick_check: bool,
    /// Workers.
    pub threads: NonZeroUsize,
}

/// What would be done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Written; nothing is there.
    Write,
    /// Written in the place of what is there.
    Replace,
    /// There already, as it should be.
    Same,
    /// What is there stays.
    Keep,
    /// Not possible: a folder is in its place, or something else in a folder's place.
    Blocked,
}

impl From<Decision> for Deed {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Make => Self::Write,
            Decision::Replace => Self::Replace,
            Decision::Same => Self::Same,
            Decision::Keep => Self::Keep,
            Decision::Blocked => Self::Blocked,
        }
    }
}

impl Deed {
    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Replace => "replace",
            Self::Same => "same",
            Self::Keep => "keep",
            Self::Blocked => "blocked",
        }
    }
}

/// One line of a preview.
#[derive(Debug)]
pub struct Planned<'a> {
    /// Which entry.
    pub path: &'a EntryPath,
    /// What it is.
    pub kind: Kind,
    /// Length of a file.
    pub size: u64,
    /// What would be done.
    pub decision: Deed,
}

/// Restores. Damage and what could not be written is in the report; an error means that it ended early, and that the
/// same order goes on from there.
///
/// # Errors
/// [`RestoreError`].
pub fn restore(
    catalog: &Catalog,
    name: &SnapshotName,
    order: &Order,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Report, RestoreError> {
    observer.notice(&Event::Entered { phase: Phase::Restoring });
    let source = Source::open(catalog, name)?;
    for text in source.contents.wrong_lengths() {
        observer.notice(&Event::Notice { text: &text });
    }
    source.check_paths(&order.selection)?;
    let root = target(&order.to, Folder::root(&order.to, true), "opening")?.expect("it is made if it is not there");
    let Begun { resumed, marked } = source.begin(&root, order)?;
    source.check_room(&root, order)?;
    let trailer = source.manifest.trailer();
    let entries = trailer.entries.lines.saturating_sub(trailer.skipped);
    observer.notice(&Event::Expected { entries, bytes: ByteCount(source.contents.raw_len()) });

    let tally = Tally::default();
    let owners = Owners::new(order.ownership);
    let shared = source.shared(order, &tally, cancel, observer);
    let terms = Terms {
        selection: &order.selection,
        overwrite: order.overwrite,
        owners: &owners,
        resumed,
        quick_check: order.quick_check,
        extras: order.extras,
    };
    let workers = order.threads.get();
    let (sender, tasks) = crossbeam_channel::bounded::<Task>(workers * TASKS_AHEAD);
    let rest = std::thread::scope(|scope| {
        for _ in 0..workers {
            let (shared, tasks) = (&shared, tasks.clone());
            scope.spawn(move || Worker::new(shared).work(&tasks));
        }
        drop(tasks);
        source.plan(terms, &shared, Hands::Work(sender), Some(Arc::clone(&root)))
    });
    let rest = match rest {
        Ok(rest) => rest,
        Err(error) => {
            // what ended the workers came first
            return Err(shared.fatal.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or(error));
        }
    };
    if !shared.halt.is_raised() {
        let mtime_of = |first: &EntryPath| source.find(first).ok().flatten().map(|entry| entry.mtime);
        link_all(&rest, &root, &mtime_of, &shared);
    }
    if let Some(error) = shared.fatal.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    if let Some(stop) = cancel.asked() {
        return Err(RestoreError::Stopped(stop));
    }
    if rest.taken == 0 {
        if marked {
            target(&order.to, root.unlink(UNFINISHED), "cleaning up in")?;
        }
        return Err(RestoreError::Nothing { wanted: order.selection.words() });
    }
    let flusher = target(&order.to, root.flusher(), "opening")?;
    target(&order.to, flusher.flush(), "flushing")?;
    // it came to its end: what is lost is told, and what others put here from now on is theirs
    if marked {
        target(&order.to, root.unlink(UNFINISHED), "cleaning up in")?;
    }
    // last of all, since the mark lay in it; what cannot be set is told as of any other folder
    root.leave(Permit { privileged: order.privileged }, &tally);
    let dressed = flusher.flush();
    let mut report = report(name, rest, &tally, resumed);
    if let Err(error) = dressed {
        report.notes.push(format!("the mode and the time of the folder itself may not outlast a power cut ({error})"));
    }
    report.notes.extend(source.contents.wrong_lengths());
    Ok(report)
}

/// Shows what [`restore`] would do, and writes nothing.
///
/// # Errors
/// [`RestoreError`].
pub fn preview(
    catalog: &Catalog,
    name: &SnapshotName,
    order: &Order,
    cancel: &Cancel,
    show: &mut dyn FnMut(&Planned<'_>),
) -> Result<Report, RestoreError> {
    let source = Source::open(catalog, name)?;
    source.check_paths(&order.selection)?;
    let root = target(&order.to, Folder::root(&order.to, false), "opening")?;
    let (tally, owners) = (Tally::default(), Owners::new(order.ownership));
    let shared = source.shared(order, &tally, cancel, &crate::observe::Silent);
    let terms = Terms {
        selection: &order.selection,
        // what is there is shown as what would become of it if overwriting were asked for
        overwrite: order.overwrite,
        owners: &owners,
        resumed: false,
        quick_check: true,
        extras: order.extras,
    };
    let rest = source.plan(terms, &shared, Hands::Show(show), root)?;
    if let Some(stop) = cancel.asked() {
        return Err(RestoreError::Stopped(stop));
    }
    if rest.taken == 0 {
        return Err(RestoreError::Nothing { wanted: order.selection.words() });
    }
    let mut report = report(name, rest, &tally, false);
    report.notes.extend(source.contents.wrong_lengths());
    Ok(report)
}

/// Removes what the report of a restore with `extras` named, with all that lies in it.
///
/// # Errors
/// The first that could not be removed.
pub fn remove_extras(to: &Path, extras: &[EntryPath]) -> Result<u64, RestoreError> {
    let Some(root) = target(to, Folder::root(to, false), "opening")? else { return Ok(0) };
    let mut removed = 0;
    let mut ways = Ways::new(&root);
    for path in extras {
        let folder = ways.to(&path.parent().unwrap_or_else(EntryPath::root));
        let done = folder.and_then(|folder| folder.map_or(Ok(()), |folder| folder.remove(path.name())));
        target(&to.join(path.to_string()), done, "removing")?;
        removed += 1;
    }
    Ok(removed)
}

/// What a restore finds where it is to restore to.
struct Begun {
    /// An earlier restore is continued.
    resumed: bool,
    /// A mark of this restore lies there. That of another is for its own.
    marked: bool,
}

/// A snapshot, opened for restoring.
pub(super) struct Source<'c> {
    catalog: &'c Catalog,
    name: &'c SnapshotName,
    manifest: OpenManifest,
    pub(super) contents: Contents,
}

impl<'c> Source<'c> {
    pub(super) fn open(catalog: &'c Catalog, name: &'c SnapshotName) -> Result<Self, RestoreError> {
        let manifest = catalog.manifest(name)?;
        let contents = Contents::open(catalog, name, &manifest)?;
        Ok(Self { catalog, name, manifest, contents })
    }

    fn shared<'s>(
        &'s self,
        order: &Order,
        tally: &'s Tally,
        cancel: &'s Cancel,
        observer: &'s dyn Observer,
    ) -> Shared<'s> {
        Shared {
            contents: &self.contents,
            permit: Permit { privileged: order.privileged },
            replaces: order.overwrite.replaces(),
            tally,
            halt: Halt::default(),
            fatal: Mutex::new(None),
            cancel,
            observer,
        }
    }

    /// Every path that was asked for has to be there.
    pub(super) fn check_paths(&self, selection: &Selection) -> Result<(), RestoreError> {
        for path in &selection.paths {
            if self.find(path)?.is_none() && self.manifest.lines_within(path).next().is_none() {
                return Err(RestoreError::Nothing { wanted: format!("`{path}`") });
            }
        }
        Ok(())
    }

    /// Makes sure that the folder may be restored into.
    fn begin(&self, root: &Arc<Folder>, order: &Order) -> Result<Begun, RestoreError> {
        let found = target(&order.to, root.read_small(UNFINISHED), "reading the state of")?;
        if let Some(bytes) = found {
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let of = value["snapshot"].as_str().unwrap_or("something that cannot be read").to_owned();
            let is_this = value["wanted"].as_str() == Some(order.selection.words().as_str());
            if of == self.name.as_str() && is_this {
                // what is not said was so before it was asked
                if value["replaces"].as_bool().unwrap_or(true) && !order.overwrite.replaces() {
                    return Err(RestoreError::BegunToReplace { path: order.to.clone() });
                }
                target(&order.to, root.sweep(), "sweeping")?;
                return Ok(Begun { resumed: true, marked: true });
            }
            if order.overwrite == Overwrite::Refuse {
                return Err(RestoreError::OtherUnfinished { path: order.to.clone(), snapshot: of });
            }
        }
        let is_empty = root.is_new() || target(&order.to, root.names(), "listing")?.is_empty();
        if !is_empty && order.overwrite == Overwrite::Refuse {
            return Err(RestoreError::NotEmpty { path: order.to.clone() });
        }
        let text = serde_json::json!({
            "type": "unfinished-restore", "snapshot": self.name, "wanted": order.selection.words(), "job": self.catalog.layout().job(),
            "replaces": order.overwrite.replaces(),
            "note": "the restore into this folder is not complete; give the same command again, or remove this file",
        });
        if !is_empty {
            // a folder that others live in gets no such mark: it would let a later restore replace what is theirs
            return Ok(Begun { resumed: false, marked: false });
        }
        target(&order.to, root.put_small(UNFINISHED, format!("{text}\n").as_bytes()), "writing in")?;
        Ok(Begun { resumed: false, marked: true })
    }

    /// Refuses what cannot fit, before anything is written.
    fn check_room(&self, root: &Folder, order: &Order) -> Result<(), RestoreError> {
        let free = target(&order.to, root.free(), "asking for the room of")?;
        if !order.selection.is_all() || order.overwrite != Overwrite::Refuse || self.contents.raw_len() <= free {
            return Ok(());
        }
        // volumes may hold what this snapshot does not use, and the folder may hold a part already
        let mut needed = 0_u64;
        for line in self.manifest.lines() {
            if let Line::Entry(entry) = line.map_err(|error| self.trouble(error))? {
                needed = needed.saturating_add(entry.placed.stored);
            }
        }
        if needed <= free || !target(&order.to, root.names(), "listing")?.iter().all(|name| **name == *UNFINISHED) {
            return Ok(());
        }
        target(&order.to, root.unlink(UNFINISHED), "cleaning up in")?;
        Err(RestoreError::TooSmall { path: order.to.clone(), free: ByteCount(free), needed: ByteCount(needed) })
    }

    /// Goes through the manifest.
    fn plan(
        &self,
        terms: Terms<'_>,
        shared: &Shared<'_>,
        hands: Hands<'_>,
        root: Option<Arc<Folder>>,
    ) -> Result<Rest, RestoreError> {
        let lookup = |path: &EntryPath| self.find(path).ok().flatten();
        let selection = terms.selection;
        let mut planner = Planner::new(terms, shared, &lookup, hands, root);
        let mut failed = None;
        for line in self.lines(selection) {
            if shared.halt.is_raised() || shared.cancel.asked().is_some() {
                shared.halt.raise();
                break;
            }
            match line {
                Ok(line) => planner.line(line),
                Err(error) => {
                    // what was named before is restored; that the rest is not is the outcome
                    failed = Some(self.trouble(error));
                    break;
                }
            }
        }
        let rest = planner.finish();
        failed.map_or(Ok(rest), Err)
    }

    /// The lines that may be taken, and the folders above them.
    pub(super) fn lines<'s>(
        &'s self,
        selection: &'s Selection,
    ) -> Box<dyn Iterator<Item = Result<Line, ManifestError<StoreError>>> + 's> {
        if selection.paths.is_empty() {
            return Box::new(self.manifest.lines());
        }
        let mut wanted: Vec<&EntryPath> = selection.paths.iter().collect();
        wanted.sort();
        wanted.dedup();
        let mut tops: Vec<&EntryPath> = Vec::new();
        for path in wanted {
            if !tops.last().is_some_and(|top| path.is_within(top)) {
                tops.push(path);
            }
        }
        let mut above_seen: HashSet<EntryPath> = HashSet::new();
        let mut all: Vec<Box<dyn Iterator<Item = Result<Line, ManifestError<StoreError>>> + 's>> = Vec::new();
        for top in tops {
            let mut above: Vec<EntryPath> = std::iter::successors(top.parent(), EntryPath::parent).collect();
            above.reverse();
            above.retain(|path| above_seen.insert(path.clone()));
            let found = above.into_iter().flat_map(|path| match self.manifest.find(&path) {
                Ok(lines) => lines.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            });
            all.push(Box::new(found));
            all.push(Box::new(self.manifest.lines_within(top)));
        }
        Box::new(all.into_iter().flatten())
    }

    pub(super) fn find(&self, path: &EntryPath) -> Result<Option<Box<Entry>>, RestoreError> {
        let lines = self.manifest.find(path).map_err(|error| self.trouble(error))?;
        Ok(lines.into_iter().find_map(|line| match line {
            Line::Entry(entry) => Some(entry),
            Line::Skip(_) => None,
        }))
    }

    pub(super) fn trouble(&self, error: ManifestError<StoreError>) -> RestoreError {
        self.catalog.manifest_error(self.name, error).into()
    }
}

/// The time of a file, as the manifest has it.
type TimeOf<'a> = &'a dyn Fn(&EntryPath) -> Option<FileTime>;

/// Makes the further names of files, now that the files are there.
fn link_all(rest: &Rest, root: &Arc<Folder>, mtime_of: TimeOf<'_>, shared: &Shared<'_>) {
    let lost = shared.tally.lost();
    let (mut ways, mut ways_to_first) = (Ways::new(root), Ways::new(root));
    for link in &rest.links {
        if shared.cancel.asked().is_some() {
            return;
        }
        if let Some(cause) = lost.get(&link.first) {
            let why = format!("it is a further name of `{}`, which could not be restored", link.first);
            shared.tell(&link.path, *cause, why);
            continue;
        }
        if rest.left.contains(&link.first) {
            let why = format!(
                "it is a further name of `{}`, and what is there under that name was left as it is",
                link.first
            );
            shared.tell(&link.path, LossCause::Unwritten, why);
            continue;
        }
        match make_link(link, &mut ways, &mut ways_to_first, mtime_of) {
            Ok(true) => {
                let mut tallied = shared.tally.lock();
                tallied.counts.hard_links += 1;
                tallied.counts.replaced += u64::from(link.decision == Decision::Replace);
            }
            Ok(false) => shared.tally.lock().counts.same += 1,
            Err(error) => shared.lose_here(&link.path, error),
        }
    }
}

/// False if it is there already.
fn make_link(link: &Link, ways: &mut Ways, ways_to_first: &mut Ways, mtime_of: TimeOf<'_>) -> io::Result<bool> {
    let parent = |path: &EntryPath| path.parent().unwrap_or_else(EntryPath::root);
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let folder = ways.to(&parent(&link.path))?.ok_or_else(gone)?;
    let first_folder = ways_to_first.to(&parent(&link.first))?.ok_or_else(gone)?;
    let (name, first) = (link.path.name(), link.first.name());
    let there = first_folder.there(first)?.ok_or_else(gone)?;
    let stranger = || io::Error::other(format!("`{}` is not the file that was restored", link.first));
    if there.kind != Kind::File {
        return Err(stranger());
    }
    if folder.there(name)?.is_some_and(|now| now.inode == there.inode) {
        return Ok(false);
    }
    let had = folder.open_for_names()?;
    // what was restored is a file with this time, as this file system keeps it (links never leave one); anything else was
    // put there meanwhile, by somebody else
    let is_restored = |mtime| Ok::<_, io::Error>(there.mtime == mtime || there.mtime == folder.time_as_kept(mtime)?);
    // a file that was written while its names were listed has another time than its further names
    if !is_restored(link.mtime)? && !mtime_of(&link.first).map_or(Ok(false), is_restored)? {
        return Err(stranger());
    }
    let made = folder.link_to(&first_folder, first)?;
    if made.there()?.map(|made| made.inode) != Some(there.inode) {
        return Err(io::Error::other(format!("`{}` was replaced meanwhile", link.first)));
    }
    made.place(name, link.decision == Decision::Replace)?;
    drop(made);
    if let Some(mode) = had {
        folder.set_mode(mode)?;
    }
    if let Some(mtime) = link.folder_mtime {
        folder.set_mtime(mtime)?;
    }
    Ok(true)
}

/// Ways from the root to folders, opened again name by name, never through a link. Keeps the last.
struct Ways<'r> {
    root: &'r Arc<Folder>,
    last: Option<(EntryPath, Arc<Folder>)>,
}

impl<'r> Ways<'r> {
    fn new(root: &'r Arc<Folder>) -> Self {
        Self { root, last: None }
    }

    fn to(&mut self, path: &EntryPath) -> io::Result<Option<Arc<Folder>>> {
        if let Some((last, folder)) = &self.last
            && last == path
        {
            return Ok(Some(Arc::clone(folder)));
        }
        let mut at = Arc::clone(self.root);
        for name in path.as_bytes().split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            match at.enter(name, false)? {
                Some(folder) => at = folder,
                None => return Ok(None),
            }
        }
        self.last = Some((path.clone(), Arc::clone(&at)));
        Ok(Some(at))
    }
}

fn target<T>(path: &Path, done: io::Result<T>, deed: &'static str) -> Result<T, RestoreError> {
    done.map_err(|source| RestoreError::Target { deed, path: path.to_owned(), source })
}

fn report(name: &SnapshotName, rest: Rest, tally: &Tally, resumed: bool) -> Report {
    let mut tallied = tally.lock();
    let mut counts = tallied.counts;
    counts.add(rest.counts);
    let mut losses = std::mem::take(&mut tallied.losses);
    losses.sort();
    Report {
        of: name.to_string(),
        counts,
        losses,
        losses_count: tallied.losses_count,
        damaged_count: tallied.damaged_count,
        notes: tallied.notes(),
        resumed,
        extras: rest.extras,
    }
}
