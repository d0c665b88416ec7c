//! Reading one volume from end to end: its frames, its entries.

use std::io::{self, Read};

use super::rebuild::IndexError;
use crate::archive::manifest::{Entry, EntryKind, FrameLine, Placed, VolumeLine};
use crate::archive::tar::{EndMarker, Member, MemberKind, TarLimits, TarReader};
use crate::archive::{Codec, FRAME_BYTES, FRAME_BYTES_MAX, FrameReader, GZIP_HEADER_LEN, gzip_lengths, padding, seek};
use crate::catalog::{FileRecord, NameSet, volume_codec};
use crate::domain::{Digest, EntryPath, FileTime, FrameSum, Hasher, Owner};
use crate::store::StoreReader;

/// Everything that a volume says of itself.
pub(super) struct Scanned {
    pub(super) line: VolumeLine,
    pub(super) frames: Vec<FrameLine>,
    pub(super) entries: Vec<Entry>,
    /// Bytes of entries other than folders.
    pub(super) held: u64,
    /// Of them, those of entries that the snapshot uses.
    pub(super) live: u64,
    /// The list of names that it does not use.
    pub(super) stale: Option<FileRecord>,
}

impl Scanned {
    /// Leaves out what the snapshot does not use.
    pub(super) fn leave_out(&mut self, stale: &NameSet, list: FileRecord) {
        self.entries.retain(|entry| !stale.contains(&entry.path));
        self.live = self.entries.iter().map(Entry::held).sum();
        self.stale = Some(list);
    }
}

/// Reads it. `number` is the volume's in the new manifest.
pub(super) fn scan(reader: &dyn StoreReader, name: &str, number: u32) -> Result<Scanned, IndexError> {
    let damaged = |why: String| IndexError::Volume { name: name.to_owned(), why };
    let codec = volume_codec(name).ok_or_else(|| damaged("it is no volume".to_owned()))?;
    let bounds = bounds(reader, codec).map_err(damaged)?;
    let mut stream = Stream {
        reader,
        codec,
        bounds: &bounds,
        next: 0,
        decoder: FrameReader::new(),
        stored: Vec::new(),
        raw: Vec::new(),
        at: 0,
        whole: Hasher::new(),
        sums: Vec::with_capacity(bounds.len()),
        failed: None,
    };
    let entries = entries(&mut stream, number);
    if let Some(why) = stream.failed.take() {
        return Err(damaged(why));
    }
    let entries = entries.map_err(damaged)?;
    // what is behind the end mark belongs to the file
    io::copy(&mut stream, &mut io::sink()).map_err(|error| damaged(error.to_string()))?;
    let Stream { mut whole, sums, .. } = stream;
    let end = bounds.last().map_or(0, |bound| bound.offset + bound.stored);
    rest(reader, end, &mut whole).map_err(damaged)?;
    let raw_size = bounds.last().map_or(0, |bound| bound.raw_offset + bound.raw);
    let frames: Vec<FrameLine> = if codec == Codec::None {
        cut(reader, &entries, raw_size, number).map_err(damaged)?
    } else {
        let lines = bounds.iter().zip(sums).enumerate().map(|(index, (bound, xxh128))| FrameLine {
            frame: index as u64,
            volume: number,
            offset: bound.offset,
            stored: bound.stored,
            raw_offset: bound.raw_offset,
            raw: bound.raw,
            xxh128,
        });
        lines.collect()
    };
    let line = VolumeLine {
        volume: number,
        name: name.to_owned(),
        codec,
        size: reader.len(),
        raw_size,
        frames: frames.len() as u64,
        sha256: whole.finish(),
    };
    let held = entries.iter().map(Entry::held).sum();
    Ok(Scanned { line, frames, entries, held, live: held, stale: None })
}

/// One frame, as far as the file tells it without decoding.
#[derive(Clone, Copy, Debug)]
struct Bound {
    offset: u64,
    stored: u64,
    raw_offset: u64,
    raw: u64,
}

/// The frames of a volume: by the table at its end, by what each gzip member says of itself, or by length.
fn bounds(reader: &dyn StoreReader, codec: Codec) -> Result<Vec<Bound>, String> {
    let mut found = Vec::new();
    let (mut offset, mut raw_offset) = (0_u64, 0_u64);
    let mut push = |stored: u64, raw: u64| {
        if stored == 0 || stored > FRAME_BYTES_MAX || raw > FRAME_BYTES_MAX {
            return Err(format!("a frame at byte {offset} has a length that no frame has"));
        }
        found.push(Bound { offset, stored, raw_offset, raw });
        offset += stored;
        raw_offset += raw;
        Ok(offset)
    };
    match codec {
        Codec::Zstd { .. } => {
            let mut footer = [0; seek::FOOTER_BYTES];
            let at = reader.len().checked_sub(footer.len() as u64).ok_or("it is too short")?;
            reader.read_at(at, &mut footer).map_err(|error| error.to_string())?;
            let len = seek::frame_len(&footer).map_err(|error| error.to_string())?;
            let at = reader.len().checked_sub(len).ok_or("its table of frames is longer than the file")?;
            let mut table = vec![0; usize::try_from(len).map_err(|error| error.to_string())?];
            reader.read_at(at, &mut table).map_err(|error| error.to_string())?;
            let mut end = 0;
            for entry in seek::decode(&table).map_err(|error| error.to_string())? {
                end = push(entry.stored.into(), entry.raw.into())?;
            }
            if end != at {
                return Err("its table of frames does not fit it".to_owned());
            }
        }
        Codec::Gzip { .. } => {
            let mut end = 0;
            while end < reader.len() {
                let mut header = [0; GZIP_HEADER_LEN];
                reader.read_at(end, &mut header).map_err(|error| error.to_string())?;
                let (stored, raw) = gzip_lengths(&header).ok_or_else(|| format!("no frame begins at byte {end}"))?;
                end = push(stored, raw)?;
            }
        }
        Codec::None => {
            let mut left = reader.len();
            while left > 0 {
                let len = left.min(FRAME_BYTES as u64);
                push(len, len)?;
                left -= len;
            }
        }
    }
    Ok(found)
}

/// The tar stream, decoded frame by frame; hashes what it reads.
struct Stream<'a> {
    reader: &'a dyn StoreReader,
    codec: Codec,
    bounds: &'a [Bound],
    next: usize,
    decoder: FrameReader,
    stored: Vec<u8>,
    raw: Vec<u8>,
    at: usize,
    whole: Hasher,
    sums: Vec<FrameSum>,
    failed: Option<String>,
}

impl Read for Stream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.raw.len() {
            let Some(bound) = self.bounds.get(self.next) else { return Ok(0) };
            self.stored.resize(bound.stored as usize, 0);
            let read = self.reader.read_at(bound.offset, &mut self.stored).map_err(|error| error.to_string());
            let decoded = read.and_then(|()| {
                let Self { decoder, stored, raw, .. } = self;
                decoder.read(self.codec, stored, bound.raw, raw).map_err(|error| error.to_string())
            });
            if let Err(why) = decoded {
                let number = self.next;
                self.failed = Some(format!("frame {number} at byte {}: {why}", bound.offset));
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.whole.update(&self.stored);
            self.sums.push(FrameSum::of(&self.stored));
            self.next += 1;
            self.at = 0;
        }
        let len = into.len().min(self.raw.len() - self.at);
        into[..len].copy_from_slice(&self.raw[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

/// Every member as an entry, its content hashed.
fn entries(stream: &mut Stream<'_>, number: u32) -> Result<Vec<Entry>, String> {
    let mut reader = TarReader::new(stream, TarLimits::default());
    let mut entries = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    while let Some(member) = reader.next_member().map_err(|error| error.to_string())? {
        let mut hasher = Hasher::new();
        hasher.update(&member.map);
        loop {
            match reader.read(&mut buffer).map_err(|error| error.to_string())? {
                0 => break,
                len => hasher.update(&buffer[..len]),
            }
        }
        entries.push(entry_of(member, hasher.finish(), number)?);
    }
    match reader.ended().map(|ended| ended.marker) {
        Some(EndMarker::TwoBlocks) => Ok(entries),
        _ => Err("it has no end mark: it was cut".to_owned()),
    }
}

fn entry_of(member: Member, sha256: Digest, volume: u32) -> Result<Entry, String> {
    let told = |raw: &[u8]| format!("`{}` is no name of ours", raw.escape_ascii());
    let name = member.path.strip_suffix(b"/").unwrap_or(&member.path);
    let path = EntryPath::parse(name).map_err(|_| told(name))?;
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty()).map(Into::into);
    let kind = match member.kind {
        MemberKind::File => EntryKind::File,
        MemberKind::Folder => EntryKind::Folder,
        MemberKind::Symlink { target } => EntryKind::Symlink { target },
        MemberKind::HardLink { target } => {
            EntryKind::HardLink { first: EntryPath::parse(&target).map_err(|_| told(&target))? }
        }
        MemberKind::Fifo => EntryKind::Fifo,
        MemberKind::CharDevice { special } => EntryKind::CharDevice { special },
        MemberKind::BlockDevice { special } => EntryKind::BlockDevice { special },
    };
    let number = |id: u64| u32::try_from(id).map_err(|_| format!("{path} has an owner that no system has"));
    Ok(Entry {
        mode: member.mode,
        uid: number(member.uid)?,
        gid: number(member.gid)?,
        owner: Owner { user: text(&member.user), group: text(&member.group) },
        size: member.size,
        mtime: member.mtime,
        // only the manifest knew these; nothing that is read again will fit them
        ctime: FileTime::default(),
        inode: 0,
        sha256: matches!(kind, EntryKind::File).then_some(sha256),
        xattrs: member.xattrs.digest(),
        sparse: member.extents.is_some(),
        changed: false,
        placed: Placed {
            volume,
            offset: member.offset,
            body: member.body,
            stored: member.map.len() as u64 + member.stored,
        },
        kind,
        path,
    })
}

/// Hashes a file from `offset` to its end.
fn rest(reader: &dyn StoreReader, mut offset: u64, whole: &mut Hasher) -> Result<(), String> {
    let mut buffer = vec![0; 1 << 20];
    while offset < reader.len() {
        let len = buffer.len().min((reader.len() - offset) as usize);
        reader.read_at(offset, &mut buffer[..len]).map_err(|error| error.to_string())?;
        whole.update(&buffer[..len]);
        offset += len as u64;
    }
    Ok(())
}

/// Frames of a volume that is not compressed, where any cut is one: between entries, and inside large files.
fn cut(reader: &dyn StoreReader, entries: &[Entry], raw_size: u64, volume: u32) -> Result<Vec<FrameLine>, String> {
    let most = FRAME_BYTES as u64;
    let mut cuts = vec![0];
    for entry in entries {
        let last = *cuts.last().expect("it begins with one");
        let placed = entry.placed;
        let end = placed.body + placed.stored + padding(placed.stored) as u64;
        if placed.offset > last && end - last > most {
            cuts.push(placed.offset);
        }
        let mut at = placed.body + most;
        while placed.stored > most && at < end {
            cuts.push(at);
            at += most;
        }
    }
    cuts.push(raw_size);
    cuts.dedup();
    let mut frames = Vec::with_capacity(cuts.len());
    let mut bytes = Vec::new();
    for (number, pair) in cuts.windows(2).enumerate() {
        let (offset, stored) = (pair[0], pair[1] - pair[0]);
        if stored > FRAME_BYTES_MAX {
            return Err(format!("the header at byte {offset} is longer than any header"));
        }
        bytes.resize(stored as usize, 0);
        reader.read_at(offset, &mut bytes).map_err(|error| error.to_string())?;
        let (frame, xxh128) = (number as u64, FrameSum::of(&bytes));
        frames.push(FrameLine { frame, volume, offset, stored, raw_offset: offset, raw: stored, xxh128 });
    }
    Ok(frames)
}
