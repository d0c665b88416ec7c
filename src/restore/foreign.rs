//! Restoring a tar that this program did not make, beneath one folder and nowhere else.
//!
//! There is no manifest here, so the archive says what appears, and it may be an enemy's. A name that is absolute, climbs
//! or holds a NUL is refused, never rewritten. Folders are made and opened one name at a time through handles; nothing
//! is ever written through a name that exists. Links come last, after all content, so that no entry finds one on its
//! way; a hard link is made only to a regular file beneath the folder. Modes and times of folders are set at the very
//! end, through handles that are opened anew. What comes out, and what is kept in memory, is bounded.
//!
//! An archive is one stream: what is damaged ends it, and what came before stays.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::FileType;

use super::decide::{Decision, Overwrite, There};
use super::error::RestoreError;
use super::folder::{Folder, Metadata, Permit};
use super::names::{Owners, Ownership};
use super::report::{Counts, Loss, LossCause, Report};
use super::select::{Selection, is_beyond};
use super::work::Tally;
use crate::archive::expand::ExpandError;
use crate::archive::tar::{EndMarker, Member, MemberKind, TarError, TarLimits, TarReader};
use crate::domain::{Advise, ByteCount, Cancel, EntryPath, Extent, Kind, Owner, Shown};
use crate::observe::{Event, Observer, Phase};

/// How much an archive may make of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Entries of all kinds.
    pub entries: u64,
    /// Bytes of content that are written; holes do not count.
    pub bytes: u64,
    /// Bytes of names, targets and attributes that wait for the end: links and folders.
    pub waiting_bytes: u64,
}

impl Default for Budget {
    /// Ten million entries, any content that fits the disk, 32 MiB of what waits.
    fn default() -> Self {
        Self { entries: 10_000_000, bytes: u64::MAX, waiting_bytes: 32 << 20 }
    }
}

/// What is to be restored of an archive, and how.
#[derive(Clone, Debug)]
pub struct ForeignOrder {
    /// The archive's name, for messages.
    pub name: String,
    /// The folder to restore into.
    pub to: PathBuf,
    /// What.
    pub selection: Selection,
    /// What happens to what is there.
    pub overwrite: Overwrite,
    /// Whose it shall be.
    pub ownership: Ownership,
    /// As in [`super::Order`].
    pub privileged: bool,
    /// How much it may make of us.
    pub budget: Budget,
}

/// Restores a tar stream.
///
/// # Errors
/// [`RestoreError::Archive`] if the stream cannot be read on or goes beyond the budget: what came before it is there,
/// and the report that comes with it says what. Others as for [`super::restore`].
pub fn restore_archive<R: Read>(
    input: R,
    order: &ForeignOrder,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Report, RestoreError> {
    observer.notice(&Event::Entered { phase: Phase::Restoring });
    let target = |source, deed| RestoreError::Target { deed, path: order.to.clone(), source };
    let root = Folder::root(&order.to, true).map_err(|error| target(error, "opening"))?.expect("it was made");
    let is_empty = root.is_new() || root.names().map_err(|error| target(error, "listing"))?.is_empty();
    if !is_empty && order.overwrite == Overwrite::Refuse {
        return Err(RestoreError::NotEmpty { path: order.to.clone() });
    }
    let tally = Tally::default();
    let mut work = Foreign {
        order,
        observer,
        owners: Owners::new(order.ownership),
        permit: Permit { privileged: order.privileged },
        tally: &tally,
        counts: Counts::default(),
        way: vec![(EntryPath::root(), root)],
        links: BTreeMap::new(),
        left: BTreeSet::new(),
        folders: BTreeMap::new(),
        waiting_bytes: 0,
        entries: 0,
        taken: 0,
        buffer: vec![0; 256 << 10],
    };
    if work.way[0].1.is_new() {
        work.folders.insert(EntryPath::root(), None);
    }
    let mut reader = TarReader::new(input, TarLimits::default());
    let ended = work.all(&mut reader, cancel);
    work.finish();
    let root = work.way.swap_remove(0).1;
    root.flusher().and_then(|flusher| flusher.flush()).map_err(|error| target(error, "flushing"))?;
    let mut report = work.report();
    let was_empty = work.entries == 0;
    match ended {
        Ok(()) => {
            if was_empty && reader.ended().is_some_and(|ended| ended.marker == EndMarker::None) {
                let why = "it is empty".to_owned();
                let advice = "check the path, and where the archive came from".to_owned();
                return Err(RestoreError::Archive { name: order.name.clone(), why, advice, report: Box::new(report) });
            }
            if let Some(ended) = reader.ended() {
                if ended.marker == EndMarker::None {
                    report
                        .notes
                        .push("the archive has no end mark: it may have been cut between two entries".to_owned());
                }
                if let Some(at) = ended.data_after {
                    report
                        .notes
                        .push(format!("something follows the archive's end, from byte {at} on; it was not read"));
                }
            }
            if report.counts.written() + report.counts.same + report.counts.kept == 0 && !order.selection.is_all() {
                return Err(RestoreError::Nothing { wanted: order.selection.words() });
            }
            Ok(report)
        }
        Err(End::Stopped(stop)) => Err(RestoreError::Stopped(stop)),
        Err(End::Target(source)) => Err(target(source, "writing in")),
        Err(End::Archive { why, advice }) => {
            Err(RestoreError::Archive { name: order.name.clone(), why, advice, report: Box::new(report) })
        }
    }
}

/// Why the stream is not read on.
enum End {
    Archive { why: String, advice: String },
    Target(io::Error),
    Stopped(crate::domain::Stop),
}

impl End {
    /// The stream itself is wrong.
    fn unreadable(error: &TarError) -> Self {
        let advice = match error {
            TarError::Input(input) => ExpandError::of(input).map(Advise::advice),
            TarError::Damaged { .. } => None,
        };
        Self::Archive { why: chain(error), advice: advice.unwrap_or_else(|| error.advice()) }
    }

    /// It wants more than it gets.
    fn too_much(why: String) -> Self {
        let advice = "what came before is restored; if you trust the archive, unpack the rest with its own program";
        Self::Archive { why, advice: advice.to_owned() }
    }
}

struct Foreign<'a> {
    order: &'a ForeignOrder,
    observer: &'a dyn Observer,
    owners: Owners,
    permit: Permit,
    tally: &'a Tally,
    counts: Counts,
    /// The folders on the way to the current entry, open; the first is the root.
    way: Vec<(EntryPath, Arc<Folder>)>,
    links: BTreeMap<EntryPath, Waiting>,
    /// What was left as it is: nothing is linked to it.
    left: BTreeSet<EntryPath>,
    /// What folders are dressed with; `None` if the archive has not named them.
    folders: BTreeMap<EntryPath, Option<Metadata>>,
    waiting_bytes: u64,
    entries: u64,
    taken: u64,
    buffer: Vec<u8>,
}

/// A link that is made at the end.
struct Waiting {
    link: Link,
    metadata: Metadata,
}

enum Link {
    Symlink(Box<[u8]>),
    Hard(EntryPath),
}

/// What a name in an archive comes to: `None` if it is refused.
fn safe_path(raw: &[u8]) -> Result<EntryPath, &'static str> {
    if raw.is_empty() {
        return Err("it has no name");
    }
    if raw.contains(&0) {
        return Err("its name holds a NUL byte");
    }
    if raw.starts_with(b"/") {
        return Err("its name is absolute");
    }
    if is_beyond(raw) {
        return Err("its name is longer or deeper than any that a tree has");
    }
    let parts: Vec<&[u8]> = raw.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err("its name climbs out with `..`");
    }
    if parts.is_empty() {
        return Ok(EntryPath::root());
    }
    EntryPath::parse(&parts.join(&b'/')).map_err(|_| "its name is none")
}

impl Foreign<'_> {
    fn all<R: Read>(&mut self, reader: &mut TarReader<R>, cancel: &Cancel) -> Result<(), End> {
        loop {
            if let Some(stop) = cancel.asked() {
                return Err(End::Stopped(stop));
            }
            let member = match reader.next_member() {
                Ok(Some(member)) => member,
                Ok(None) => return Ok(()),
                Err(error) => return Err(End::unreadable(&error)),
            };
            self.entries += 1;
            self.check_waiting()?;
            if self.entries > self.order.budget.entries {
                return Err(End::too_much(format!("it has more than {} entries", self.order.budget.entries)));
            }
            self.member(member, reader)?;
            self.observer.notice(&Event::Advanced { entries: 1, bytes: ByteCount::ZERO, stored: ByteCount::ZERO });
        }
    }

    fn member<R: Read>(&mut self, member: Member, reader: &mut TarReader<R>) -> Result<(), End> {
        let path = match safe_path(&member.path) {
            Ok(path) => path,
            Err(why) => {
                // a name that is refused is told as it stands, escaped
                self.refuse(&member.path, why);
                return Ok(());
            }
        };
        let is_folder = matches!(member.kind, MemberKind::Folder);
        if !self.takes(&path, is_folder) {
            return Ok(());
        }
        self.taken += 1;
        if path.is_root() && !is_folder {
            self.refuse(&member.path, "its name is that of the folder itself");
            return Ok(());
        }
        let metadata = self.metadata(&member);
        match &member.kind {
            MemberKind::Folder => self.folder(path, metadata),
            MemberKind::File => self.file(&path, &metadata, &member, reader),
            MemberKind::Symlink { target } => {
                if target.is_empty() || target.contains(&0) {
                    self.refuse(&member.path, "it points to no name");
                    return Ok(());
                }
                self.wait(path, Link::Symlink(target.clone()), metadata)
            }
            MemberKind::HardLink { target } => match safe_path(target) {
                Ok(first) if !first.is_root() => self.wait(path, Link::Hard(first), metadata),
                Ok(_) => {
                    self.refuse(&member.path, "it links to the folder itself");
                    Ok(())
                }
                Err(why) => {
                    self.refuse(&member.path, &format!("what it links to is refused: {why}"));
                    Ok(())
                }
            },
            MemberKind::Fifo | MemberKind::CharDevice { .. } | MemberKind::BlockDevice { .. } => {
                self.special(&path, &member.kind, &metadata)
            }
        }
    }

    fn takes(&self, path: &EntryPath, is_folder: bool) -> bool {
        let selection = &self.order.selection;
        selection.is_all() || if is_folder { selection.takes_folder(path) } else { selection.takes(path) }
    }

    fn metadata(&self, member: &Member) -> Metadata {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty()).map(Into::into);
        let owner = Owner { user: text(&member.user), group: text(&member.group) };
        // numbers that no system has: whoever restores
        let ids = u32::try_from(member.uid).ok().zip(u32::try_from(member.gid).ok());
        let owner = ids.and_then(|(uid, gid)| self.owners.of(&owner, uid, gid));
        Metadata { mode: member.mode, owner, mtime: member.mtime, xattrs: member.xattrs.clone() }
    }

    fn refuse(&mut self, raw: &[u8], why: &str) {
        let mut tallied = self.tally.lock();
        tallied.losses_count += 1;
        // a name can be a megabyte of what has to be escaped
        let raw = &raw[..raw.len().min(200)];
        if tallied.losses.len() < super::report::LOSSES_MAX {
            let path = safe_path(raw).unwrap_or_else(|_| EntryPath::root());
            let why = if path.is_root() { format!("`{}`: {why}", Shown(raw)) } else { why.to_owned() };
            tallied.losses.push(Loss { path, cause: LossCause::Refused, why });
        }
    }

    /// An error that is this entry's, or the end of all.
    fn lose(&mut self, path: &EntryPath, error: io::Error) -> Result<(), End> {
        if super::work::is_fatal(&error) {
            return Err(End::Target(error));
        }
        self.tally.lose(path, LossCause::Unwritten, error.to_string());
        Ok(())
    }

    /// The folder that `path` is or shall be, opened or made name by name.
    fn enter(&mut self, path: &EntryPath) -> io::Result<Arc<Folder>> {
        Ok(self.go(path, true)?.expect("it is made if it is not there"))
    }

    /// Likewise; none if it is not there and shall not be made. From one folder to the next to it is one step.
    fn go(&mut self, path: &EntryPath, make: bool) -> io::Result<Option<Arc<Folder>>> {
        while self.way.len() > 1 && !path.is_within(&self.way.last().expect("there are two").0) {
            self.way.pop();
        }
        loop {
            let (at, folder) = self.way.last().expect("the root stays");
            if at == path {
                return Ok(Some(Arc::clone(folder)));
            }
            let rest = &path.as_bytes()[if at.is_root() { 0 } else { at.as_bytes().len() + 1 }..];
            let name = rest.split(|b| *b == b'/').next().expect("split gives one");
            let next = at.join(name);
            let entered = match folder.enter(name, make) {
                Err(error)
                    if make && super::plan::is_no_folder(&error) && self.order.overwrite == Overwrite::Always =>
                {
                    folder.unlink(name)?;
                    folder.enter(name, true)?
                }
                other => other?,
            };
            let Some(entered) = entered else { return Ok(None) };
            if entered.is_new() {
                self.counts.folders += 1;
                self.waiting_bytes += next.as_bytes().len() as u64 + 200;
                self.folders.entry(next.clone()).or_default();
            }
            self.links.remove(&next);
            self.way.push((next, entered));
        }
    }

    fn folder(&mut self, path: EntryPath, metadata: Metadata) -> Result<(), End> {
        match self.enter(&path) {
            Ok(_) => {
                self.charge(&path, &metadata, 0)?;
                self.folders.insert(path, Some(metadata));
                Ok(())
            }
            Err(error) => self.lose(&path, explain(error)),
        }
    }

    /// What of this entry waits for the end is bounded.
    fn charge(&mut self, path: &EntryPath, metadata: &Metadata, more: usize) -> Result<(), End> {
        let xattrs: usize = metadata.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len() + 64).sum();
        self.waiting_bytes += (path.as_bytes().len() + more + xattrs + 200) as u64;
        self.check_waiting()
    }

    fn check_waiting(&self) -> Result<(), End> {
        if self.waiting_bytes > self.order.budget.waiting_bytes {
            let max = ByteCount(self.order.budget.waiting_bytes);
            return Err(End::too_much(format!("its folders and links alone need more than {max} of memory")));
        }
        Ok(())
    }

    fn wait(&mut self, path: EntryPath, link: Link, metadata: Metadata) -> Result<(), End> {
        let more = match &link {
            Link::Symlink(target) => target.len(),
            Link::Hard(first) => first.as_bytes().len(),
        };
        self.charge(&path, &metadata, more)?;
        self.links.insert(path, Waiting { link, metadata });
        Ok(())
    }

    /// What is done about what has the entry's name already.
    fn decide(&self, there: Option<&There>, metadata: &Metadata, size: Option<u64>) -> Decision {
        let Some(there) = there else { return Decision::Make };
        if there.kind == Kind::Folder {
            return Decision::Blocked;
        }
        if size == Some(there.size) && there.kind == Kind::File && there.mtime == metadata.mtime {
            // as elsewhere: the time is set on a file that is whole
            if self.order.overwrite != Overwrite::Refuse {
                return Decision::Same;
            }
        }
        match self.order.overwrite {
            Overwrite::Never => Decision::Keep,
            Overwrite::Older if there.mtime >= metadata.mtime => Decision::Keep,
            _ => Decision::Replace,
        }
    }

    /// The folder an entry goes into, and what is done there; `None` if that is nothing.
    fn place(
        &mut self,
        path: &EntryPath,
        metadata: &Metadata,
        size: Option<u64>,
    ) -> Result<Option<(Arc<Folder>, bool)>, End> {
        let parent = path.parent().unwrap_or_else(EntryPath::root);
        let found = self.enter(&parent).and_then(|folder| folder.there(path.name()).map(|there| (folder, there)));
        let (folder, there) = match found {
            Ok(found) => found,
            Err(error) => return self.lose(path, explain(error)).map(|()| None),
        };
        match self.decide(there.as_ref(), metadata, size) {
            Decision::Make => Ok(Some((folder, false))),
            Decision::Replace => Ok(Some((folder, true))),
            Decision::Same => {
                self.counts.same += 1;
                Ok(None)
            }
            Decision::Keep => {
                self.counts.kept += 1;
                self.waiting_bytes += path.as_bytes().len() as u64 + 100;
                self.left.insert(path.clone());
                Ok(None)
            }
            Decision::Blocked => {
                self.tally.lose(path, LossCause::Unwritten, super::plan::BLOCKED.to_owned());
                Ok(None)
            }
        }
    }

    fn file<R: Read>(
        &mut self,
        path: &EntryPath,
        metadata: &Metadata,
        member: &Member,
        reader: &mut TarReader<R>,
    ) -> Result<(), End> {
        if self.counts.bytes.0.saturating_add(member.stored) > self.order.budget.bytes {
            return Err(End::too_much(format!("it holds more than {}", ByteCount(self.order.budget.bytes))));
        }
        let Some((folder, replace)) = self.place(path, metadata, Some(member.size))? else { return Ok(()) };
        // a link of this name that came before is overtaken
        self.links.remove(path);
        let written = self.write(&folder, member, reader)?;
        let done = written.and_then(|file| {
            file.set_len(member.size)?;
            file.dress(path, metadata, self.permit, self.tally)?;
            file.place(path.name(), replace)
        });
        match done {
            Ok(()) => {
                self.counts.files += 1;
                self.counts.replaced += u64::from(replace);
                self.counts.bytes.0 += member.stored;
                Ok(())
            }
            Err(error) => self.lose(path, error),
        }
    }

    /// The outer error ends all; the inner one is this file's.
    fn write<R: Read>(
        &mut self,
        folder: &Arc<Folder>,
        member: &Member,
        reader: &mut TarReader<R>,
    ) -> Result<io::Result<super::folder::Unplaced>, End> {
        let file = match folder.create() {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let whole = [Extent { offset: 0, len: member.stored }];
        for extent in member.extents.as_deref().unwrap_or(&whole) {
            let mut done = 0;
            while done < extent.len {
                let len = self.buffer.len().min(usize::try_from(extent.len - done).unwrap_or(usize::MAX));
                let got = match reader.read(&mut self.buffer[..len]) {
                    Ok(0) => return Err(End::too_much("an entry is cut".to_owned())),
                    Ok(got) => got,
                    Err(error) => return Err(End::unreadable(&error)),
                };
                if let Err(error) = file.write_at(extent.offset + done, &self.buffer[..got]) {
                    return Ok(Err(error));
                }
                done += got as u64;
                let bytes = ByteCount(got as u64);
                self.observer.notice(&Event::Advanced { entries: 0, bytes, stored: ByteCount::ZERO });
            }
        }
        Ok(Ok(file))
    }

    fn special(&mut self, path: &EntryPath, kind: &MemberKind, metadata: &Metadata) -> Result<(), End> {
        use rustix::fs::{Mode, makedev, mknodat};
        let is_device = !matches!(kind, MemberKind::Fifo);
        if is_device && !self.permit.privileged {
            let why = "devices are restored only with --privileged".to_owned();
            self.tally.lose(path, LossCause::NotAsked, why);
            return Ok(());
        }
        let Some((folder, replace)) = self.place(path, metadata, None)? else { return Ok(()) };
        self.links.remove(path);
        let (file_type, device) = match kind {
            MemberKind::CharDevice { special } => (FileType::CharacterDevice, makedev(special.0, special.1)),
            MemberKind::BlockDevice { special } => (FileType::BlockDevice, makedev(special.0, special.1)),
            _ => (FileType::Fifo, 0),
        };
        let made = folder.create_other(|at, name| mknodat(at, name, file_type, Mode::RUSR | Mode::WUSR, device));
        let done = made.and_then(|made| {
            made.dress(path, metadata, self.permit, self.tally)?;
            made.place(path.name(), replace)
        });
        match done {
            Ok(()) => {
                self.counts.special += 1;
                Ok(())
            }
            Err(error) => self.lose(path, error),
        }
    }

    /// Links, then what folders are dressed with, from the deepest up.
    fn finish(&mut self) {
        for (path, Waiting { link, metadata }) in std::mem::take(&mut self.links) {
            match self.place(&path, &metadata, None) {
                Ok(None) => {}
                Ok(Some((folder, replace))) => {
                    let done = match &link {
                        Link::Symlink(target) => self.symlink(&folder, &path, target, &metadata, replace),
                        Link::Hard(first) => self.hard_link(&folder, &path, first, replace),
                    };
                    match done {
                        Ok(()) => {
                            self.counts.symlinks += u64::from(matches!(link, Link::Symlink(_)));
                            self.counts.hard_links += u64::from(matches!(link, Link::Hard(_)));
                            self.counts.replaced += u64::from(replace);
                        }
                        Err(error) => self.tally.lose(&path, LossCause::Unwritten, explain(error).to_string()),
                    }
                }
                Err(End::Target(error)) => self.tally.lose(&path, LossCause::Unwritten, error.to_string()),
                Err(End::Archive { .. } | End::Stopped(_)) => {}
            }
        }
        for (path, metadata) in std::mem::take(&mut self.folders).into_iter().rev() {
            let done = self.go(&path, false).and_then(|folder| match folder {
                Some(folder) => match &metadata {
                    Some(metadata) => folder.dress_now(&path, metadata, self.permit, self.tally),
                    None => folder.open_up_as_usual(),
                },
                None => Ok(()),
            });
            if let Err(error) = done {
                self.tally.lose(&path, LossCause::Unwritten, explain(error).to_string());
            }
        }
        self.way.truncate(1);
    }

    fn symlink(
        &self,
        folder: &Arc<Folder>,
        path: &EntryPath,
        target: &[u8],
        metadata: &Metadata,
        replace: bool,
    ) -> io::Result<()> {
        let made = folder.create_other(|at, name| rustix::fs::symlinkat(target, at, name))?;
        made.dress(path, metadata, self.permit, self.tally)?;
        made.place(path.name(), replace)
    }

    fn hard_link(&self, folder: &Arc<Folder>, path: &EntryPath, first: &EntryPath, replace: bool) -> io::Result<()> {
        if self.left.contains(first) {
            return Err(io::Error::other(format!(
                "it is a further name of `{first}`, and what is there was left as it is"
            )));
        }
        let none = || io::Error::other(format!("there is no file `{first}` to link it to"));
        let parent = self.way_to(&first.parent().unwrap_or_else(EntryPath::root))?.ok_or_else(none)?;
        let there = parent.there(first.name())?.filter(|there| there.kind == Kind::File).ok_or_else(none)?;
        let made = folder.link_to(&parent, first.name())?;
        if made.there()?.map(|made| made.inode) != Some(there.inode) {
            return Err(io::Error::other(format!("`{first}` was replaced meanwhile")));
        }
        made.place(path.name(), replace)
    }

    /// A folder, opened anew from the root, never through a link.
    fn way_to(&self, path: &EntryPath) -> io::Result<Option<Arc<Folder>>> {
        let mut at = Arc::clone(&self.way[0].1);
        for name in path.as_bytes().split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            match at.enter(name, false)? {
                Some(folder) => at = folder,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn report(&self) -> Report {
        let mut tallied = self.tally.lock();
        let mut losses = std::mem::take(&mut tallied.losses);
        losses.sort();
        Report {
            of: self.order.name.clone(),
            counts: self.counts,
            losses,
            losses_count: tallied.losses_count,
            damaged_count: tallied.damaged_count,
            notes: tallied.notes(),
            resumed: false,
            extras: Vec::new(),
        }
    }
}

fn explain(error: io::Error) -> io::Error {
    if super::plan::is_no_folder(&error) {
        return io::Error::other("something else than a folder stands on its way");
    }
    error
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::safe_path;

    #[test]
    fn names_are_taken_or_refused_and_never_rewritten() {
        for (raw, path) in
            [(&b"a"[..], "a"), (b"./a//b/", "a/b"), (b".", "."), (b"./", "."), (b"a/./b", "a/b"), (b"...", "...")]
        {
            assert_eq!(safe_path(raw).expect("a path").to_string(), path, "{}", raw.escape_ascii());
        }
        for raw in [&b""[..], b"/", b"/etc/passwd", b"//a", b"..", b"../a", b"a/..", b"a/../b", b"./..", b"a\0b"] {
            assert!(safe_path(raw).is_err(), "{}", raw.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_name_leads_out(raw in prop::collection::vec(prop::sample::select(b"./a\0\\".to_vec()), 0..12)) {
            if let Ok(path) = safe_path(&raw) {
                for part in path.as_bytes().split(|b| *b == b'/') {
                    prop_assert!(path.is_root() || !matches!(part, b"" | b"." | b".."));
                    prop_assert!(!part.contains(&0));
                }
            }
        }
    }
}
