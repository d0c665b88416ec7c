//! Entries as bytes, to standard output: as a tar stream, or the content of one file.
//!
//! What lies in one frame is compared before its first byte goes out. Of a larger file the bytes go out as they come,
//! and whether they were the right ones is known at its end: then this fails, and a tar stream ends without its mark.

use std::collections::HashSet;
use std::io::{self, Write};

use super::error::RestoreError;
use super::report::{Counts, Loss, LossCause, Report};
use super::run::Source;
use super::select::{Selection, Standing};
use super::work::{Trouble, end_of, header_of};
use crate::archive::manifest::{Entry, EntryKind, Line};
use crate::archive::tar::{Member, TarLimits, TarReader};
use crate::archive::{END_MARKER, SparseMap, TarHeader, TarKind, pad};
use crate::catalog::{Catalog, FrameBuffers, FrameLoss};
use crate::domain::{Cancel, EntryPath, Hasher, Kind, SnapshotName};

/// Writes what is selected as a tar stream. Entries that are damaged are left out and named.
///
/// # Errors
/// [`RestoreError`]; then the stream is not complete.
pub fn to_tar(
    catalog: &Catalog,
    name: &SnapshotName,
    selection: &Selection,
    out: &mut dyn Write,
    cancel: &Cancel,
) -> Result<Report, RestoreError> {
    let source = Source::open(catalog, name)?;
    source.check_paths(selection)?;
    let mut cursor = Cursor::new(&source);
    let mut stack: Vec<(EntryPath, Standing)> = Vec::new();
    let mut stand_ins: std::collections::HashMap<EntryPath, EntryPath> = std::collections::HashMap::new();
    let (mut counts, mut losses, mut bytes) = (Counts::default(), Vec::new(), Vec::new());
    // files that are not in the stream: a further name of one would lead nowhere
    let mut lost: HashSet<EntryPath> = HashSet::new();
    let mut taken = 0_u64;
    for line in source.lines(selection) {
        if let Some(stop) = cancel.asked() {
            return Err(RestoreError::Stopped(stop));
        }
        let line = line.map_err(|error| source.trouble(error))?;
        while stack.last().is_some_and(|(path, _)| !line.path().is_within(path)) {
            stack.pop();
        }
        let entry = match line {
            Line::Entry(entry) => entry,
            Line::Skip(skip) => {
                let above = stack.last().map_or(Standing::default(), |(_, standing)| *standing);
                if above.is_taken() || selection.stand(&skip.path, false, above).is_taken() {
                    taken += 1;
                    let why = format!("when the snapshot was made it {}: {}", skip.cause.words(), skip.why);
                    losses.push(Loss { path: skip.path, cause: LossCause::of_skip(skip.cause), why });
                }
                continue;
            }
        };
        let above = stack.last().map_or(Standing::default(), |(_, standing)| *standing);
        let is_folder = matches!(entry.kind, EntryKind::Folder);
        let standing = selection.stand(&entry.path, is_folder, above);
        if is_folder {
            stack.push((entry.path.clone(), standing));
        }
        if !standing.is_taken() {
            continue;
        }
        taken += 1;
        let done = match &entry.kind {
            EntryKind::HardLink { first } if lost.contains(stand_ins.get(first).unwrap_or(first)) => {
                Err(Gone::Stored(format!("it is a further name of `{first}`, whose content is lost")))
            }
            EntryKind::HardLink { first } => match stand_ins.get(first) {
                // its first name is not selected: the first of the names that are carries the content
                None if !selection.is_all() && !selection.takes(first) => {
                    stand_ins.insert(first.clone(), entry.path.clone());
                    source.find(first)?.map_or_else(
                        || Err(Gone::Stored(format!("there is no `{first}`, whose further name it is"))),
                        |content| cursor.renamed(&content, &entry.path, &mut bytes, out),
                    )
                }
                None => cursor.copy(&entry, &mut bytes, out),
                Some(stand_in) => {
                    let mut head = Vec::new();
                    linked(&entry, stand_in).encode(&mut head);
                    out.write_all(&head).map_err(Gone::Out)
                }
            },
            _ => cursor.copy(&entry, &mut bytes, out),
        };
        match done {
            Ok(()) => {
                counts.files += u64::from(matches!(entry.kind, EntryKind::File));
                counts.folders += u64::from(is_folder);
                counts.bytes.0 += entry.size;
            }
            Err(gone) => {
                losses.push(gone.into_loss(&entry.path)?);
                if entry.kind.kind() == Kind::File {
                    lost.insert(entry.path);
                }
            }
        }
    }
    if taken == 0 {
        return Err(RestoreError::Nothing { wanted: selection.words() });
    }
    out.write_all(&END_MARKER).and_then(|()| out.flush()).map_err(out_failed)?;
    let (losses_count, of) = (losses.len() as u64, name.to_string());
    let damaged_count = losses.iter().filter(|loss| loss.cause == LossCause::Damaged).count() as u64;
    let (notes, extras) = (Vec::new(), Vec::new());
    Ok(Report { of, counts, losses, losses_count, damaged_count, notes, resumed: false, extras })
}

/// Writes the content of one file; holes are zeros.
///
/// # Errors
/// [`RestoreError::Nothing`] if there is no such file; damage as [`RestoreError::Damaged`].
pub fn content(
    catalog: &Catalog,
    name: &SnapshotName,
    path: &EntryPath,
    out: &mut dyn Write,
) -> Result<(), RestoreError> {
    let source = Source::open(catalog, name)?;
    let nothing = || RestoreError::Nothing { wanted: format!("`{path}` as a file") };
    let mut entry = source.find(path)?.ok_or_else(nothing)?;
    if let EntryKind::HardLink { first } = &entry.kind {
        entry = source.find(first)?.ok_or_else(nothing)?;
    }
    if !matches!(entry.kind, EntryKind::File) {
        return Err(nothing());
    }
    let done = Cursor::new(&source).plain(&entry, out).and_then(|()| out.flush().map_err(Gone::Out));
    done.map_err(|gone| match gone.into_loss(path) {
        Ok(loss) => RestoreError::Damaged { path: path.clone(), why: loss.why },
        Err(error) => error,
    })
}

/// Takes bytes, and hears whether they are all that was asked for.
type Sink<'a> = &'a mut dyn FnMut(&[u8], bool) -> Result<(), Gone>;

/// Why an entry did not go out.
enum Gone {
    /// Nothing of it went out: it is lost, and the next may follow.
    Frame(FrameLoss),
    /// It is not what the manifest says.
    Stored(String),
    /// A part of it went out already.
    Midway(String),
    /// Nobody reads.
    Out(io::Error),
}

impl Gone {
    fn into_loss(self, path: &EntryPath) -> Result<Loss, RestoreError> {
        let loss = |why| Loss { path: path.clone(), cause: LossCause::Damaged, why };
        match self {
            Self::Frame(source) if source.is_store_absent() => Err(RestoreError::StoreGone { source }),
            Self::Frame(source) if source.is_contradiction() => Err(RestoreError::Contradiction { source }),
            Self::Frame(source) => Ok(loss(source.to_string())),
            Self::Stored(why) => Ok(loss(why)),
            Self::Midway(why) => Err(RestoreError::Damaged { path: path.clone(), why }),
            Self::Out(error) => Err(out_failed(error)),
        }
    }
}

fn out_failed(source: io::Error) -> RestoreError {
    RestoreError::Output(source)
}

fn linked<'e>(entry: &'e Entry, first: &'e EntryPath) -> TarHeader<'e> {
    static NONE: std::sync::LazyLock<crate::domain::Xattrs> = std::sync::LazyLock::new(Default::default);
    TarHeader {
        path: &entry.path,
        kind: TarKind::HardLink { first },
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        owner: &entry.owner,
        mtime: entry.mtime,
        xattrs: &NONE,
    }
}

/// Reads frames in order and keeps the last.
struct Cursor<'s> {
    source: &'s Source<'s>,
    buffers: FrameBuffers,
    raw: Vec<u8>,
    loaded: Option<(u32, usize)>,
}

impl<'s> Cursor<'s> {
    fn new(source: &'s Source<'s>) -> Self {
        Self { source, buffers: FrameBuffers::default(), raw: Vec::new(), loaded: None }
    }

    fn frames(&self, entry: &Entry) -> Result<std::ops::Range<usize>, Gone> {
        let frames = self.source.contents.frames_of(&entry.placed);
        frames.ok_or_else(|| Gone::Stored("the manifest says that it lies where nothing can lie".to_owned()))
    }

    fn load(&mut self, volume: u32, frame: usize) -> Result<u64, Gone> {
        if self.loaded != Some((volume, frame)) {
            self.loaded = None;
            self.source.contents.read(volume, frame, &mut self.buffers, &mut self.raw).map_err(Gone::Frame)?;
            self.loaded = Some((volume, frame));
        }
        Ok(self.source.contents.raw_range(volume, frame).start)
    }

    /// The header, compared; what it says besides the manifest.
    fn header(&mut self, entry: &Entry) -> Result<Member, Gone> {
        let frames = self.frames(entry)?;
        let (volume, first) = (entry.placed.volume, frames.start);
        let begin = self.load(volume, first)?;
        let from = (entry.placed.offset - begin) as usize;
        let mut told = header_of(&mut TarReader::new(&self.raw[from..], TarLimits::default()), entry);
        if told.is_err() && entry.sparse && frames.len() > 1 {
            // its map may go on in the next frame: only as much is read as the reader takes for a map
            self.loaded = None;
            let range = entry.placed.offset..end_of(entry);
            let mut input = self.source.contents.stream(volume, range, &mut self.buffers, &mut self.raw);
            told = header_of(&mut TarReader::new(&mut input, TarLimits::default()), entry);
            if let Some((_, loss)) = input.take_loss() {
                return Err(Gone::Frame(loss));
            }
        }
        told.map_err(|trouble| match trouble {
            Trouble::Stored(why) => Gone::Frame(self.source.contents.blame(volume, first, &mut self.buffers, &why)),
            Trouble::Frame(loss) => Gone::Frame(loss),
            Trouble::Here(error) => Gone::Stored(error.to_string()),
        })
    }

    /// Passes the bytes of the tar stream between two offsets, frame by frame. `whole` hears whether it is all at once.
    fn pass(&mut self, entry: &Entry, range: std::ops::Range<u64>, sink: Sink<'_>) -> Result<(), Gone> {
        let frames = self.frames(entry)?;
        let mut sent = false;
        for frame in frames {
            let of = self.source.contents.raw_range(entry.placed.volume, frame);
            let (from, to) = (range.start.clamp(of.start, of.end), range.end.clamp(of.start, of.end));
            if from >= to {
                continue;
            }
            let begin =
                self.load(entry.placed.volume, frame).map_err(|gone| if sent { gone.midway() } else { gone })?;
            let whole = from == range.start && to == range.end;
            sink(&self.raw[(from - begin) as usize..(to - begin) as usize], whole)?;
            sent = true;
        }
        Ok(())
    }

    /// Header, body and padding as they lie in the volume.
    fn copy(&mut self, entry: &Entry, head: &mut Vec<u8>, out: &mut dyn Write) -> Result<(), Gone> {
        self.header(entry)?;
        head.clear();
        let placed = entry.placed;
        self.pass(entry, placed.offset..placed.body, &mut |bytes, _| {
            head.extend_from_slice(bytes);
            Ok(())
        })?;
        self.body(entry, head, out)
    }

    /// As another name: a new header, the same body.
    fn renamed(
        &mut self,
        entry: &Entry,
        path: &EntryPath,
        head: &mut Vec<u8>,
        out: &mut dyn Write,
    ) -> Result<(), Gone> {
        let member = self.header(entry)?;
        let map = member.extents.as_ref().and_then(|extents| SparseMap::new(entry.size, extents));
        let kind = map.as_ref().map_or(TarKind::File { size: entry.size }, |map| TarKind::Sparse { map });
        head.clear();
        TarHeader {
            path,
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            owner: &entry.owner,
            mtime: entry.mtime,
            xattrs: &member.xattrs,
        }
        .encode(head);
        self.body(entry, head, out)
    }

    fn body(&mut self, entry: &Entry, head: &[u8], out: &mut dyn Write) -> Result<(), Gone> {
        let placed = entry.placed;
        let mut hasher = Hasher::new();
        let mut head = Some(head);
        self.pass(entry, placed.body..placed.body + placed.stored, &mut |bytes, whole| {
            hasher.update(bytes);
            if whole && Some(hasher.clone().finish()) != entry.sha256 {
                return Err(Gone::Stored("its content is another than the manifest says".to_owned()));
            }
            if let Some(head) = head.take() {
                out.write_all(head).map_err(Gone::Out)?;
            }
            out.write_all(bytes).map_err(Gone::Out)
        })?;
        if let Some(head) = head.take() {
            out.write_all(head).map_err(Gone::Out)?;
        }
        if entry.sha256.is_some_and(|sha256| sha256 != hasher.finish()) {
            return Err(Gone::Midway("its content is another than the manifest says".to_owned()));
        }
        let mut padding = Vec::new();
        pad(&mut padding, placed.stored);
        debug_assert_eq!(placed.body + placed.stored + padding.len() as u64, end_of(entry), "one rule of padding");
        out.write_all(&padding).map_err(Gone::Out)
    }

    /// The content of a file, without map and with its holes.
    fn plain(&mut self, entry: &Entry, out: &mut dyn Write) -> Result<(), Gone> {
        let member = self.header(entry)?;
        let placed = entry.placed;
        let map_len = placed.stored - member.stored;
        let extents = member.extents.unwrap_or_else(|| vec![crate::domain::Extent { offset: 0, len: entry.size }]);
        let (mut hasher, mut passed, mut at, mut extent) = (Hasher::new(), 0_u64, 0_u64, 0);
        let mut within = 0_u64;
        self.pass(entry, placed.body..placed.body + placed.stored, &mut |mut bytes, whole| {
            hasher.update(bytes);
            if whole && Some(hasher.clone().finish()) != entry.sha256 {
                return Err(Gone::Stored("its content is another than the manifest says".to_owned()));
            }
            let map = map_len.saturating_sub(passed).min(bytes.len() as u64);
            passed += bytes.len() as u64;
            bytes = &bytes[map as usize..];
            while !bytes.is_empty() {
                let Some(run) = extents.get(extent) else { break };
                if within == run.len {
                    (extent, within) = (extent + 1, 0);
                    continue;
                }
                zeros(out, run.offset + within - at)?;
                let len = bytes.len().min((run.len - within) as usize);
                out.write_all(&bytes[..len]).map_err(Gone::Out)?;
                at = run.offset + within + len as u64;
                within += len as u64;
                bytes = &bytes[len..];
            }
            Ok(())
        })?;
        if Some(hasher.finish()) != entry.sha256 {
            return Err(Gone::Midway("its content is another than the manifest says".to_owned()));
        }
        zeros(out, entry.size.saturating_sub(at))
    }
}

impl Gone {
    fn midway(self) -> Self {
        match self {
            Self::Frame(loss) if !loss.is_store_absent() => Self::Midway(loss.to_string()),
            other => other,
        }
    }
}

fn zeros(out: &mut dyn Write, mut len: u64) -> Result<(), Gone> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while len > 0 {
        let part = len.min(ZEROS.len() as u64);
        out.write_all(&ZEROS[..part as usize]).map_err(Gone::Out)?;
        len -= part;
    }
    Ok(())
}
