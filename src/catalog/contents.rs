//! The content of a snapshot's entries: which frames hold it, read from the store and decoded.
//!
//! Opens every volume when it begins and holds it, so that a snapshot that is moved to the trash meanwhile is still
//! read to its end. The danger is a manifest that lies: its frames must follow each other without gaps and fill their
//! volume before any of them is read, so that no number in it makes us allocate or read what is not there.
//!
//! Does not look at what a frame holds: headers and content are compared by whoever asked.

use std::io::{self, IoSliceMut, Read};
use std::ops::Range;

use super::error::CatalogError;
use super::list::{Catalog, OpenManifest};
use crate::archive::manifest::{FrameLine, ManifestError, Placed, VolumeLine};
use crate::archive::seek::{self, SeekEntry};
use crate::archive::{Codec, FRAME_BYTES_MAX, FrameReader, padding};
use crate::domain::{FrameSum, SnapshotName};
use crate::store::{StoreError, StoreReader};

/// The volumes of one snapshot, open.
pub struct Contents {
    volumes: Vec<Volume>,
}

struct Volume {
    line: VolumeLine,
    frames: Vec<FrameLine>,
    reader: Result<Box<dyn StoreReader>, String>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contents({} volumes)", self.volumes.len())
    }
}

/// A frame that could not be read, and why. The frame is a fact about the store: other frames are not touched by it.
#[derive(Debug, thiserror::Error)]
pub enum FrameLoss {
    /// Its volume is not there.
    #[error("{volume} cannot be opened: {why}")]
    NoVolume {
        /// The volume's file.
        volume: String,
        /// What the store said.
        why: String,
    },
    /// The store did not give its bytes.
    #[error("frame {frame} of {volume} could not be read")]
    Unread {
        /// The volume's file.
        volume: String,
        /// The frame's number in it.
        frame: u64,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// Its volume ends before it does.
    #[error("frame {frame} of {volume} is not there: the volume is cut, {found} of {size} bytes")]
    Cut {
        /// The volume's file.
        volume: String,
        /// The frame's number in it.
        frame: u64,
        /// Bytes that the file has.
        found: u64,
        /// Bytes that it was published with.
        size: u64,
    },
    /// Its bytes are not those that were published.
    #[error("frame {frame} of {volume} is damaged: its bytes differ from those that were published")]
    Damaged {
        /// The volume's file.
        volume: String,
        /// The frame's number in it.
        frame: u64,
    },
    /// Its bytes are those that the manifest tells, and they do not hold what it tells: one of the two was made up.
    #[error("frame {frame} of {volume} is not what the manifest says, though its checksum is: {why}")]
    Contradiction {
        /// The volume's file.
        volume: String,
        /// The frame's number in it.
        frame: u64,
        /// In words.
        why: String,
    },
}

impl FrameLoss {
    /// Whether the store itself is gone, and not just this frame.
    pub fn is_store_absent(&self) -> bool {
        matches!(self, Self::Unread { source, .. } if source.is_absent())
    }

    /// Whether manifest and volume say different things, though neither is damaged.
    pub fn is_contradiction(&self) -> bool {
        matches!(self, Self::Contradiction { .. })
    }
}

/// What a thread keeps between two frames.
#[derive(Debug, Default)]
pub struct FrameBuffers {
    reader: FrameReader,
    stored: Vec<u8>,
}

impl FrameBuffers {
    /// The bytes of the frame that was read last, as they are stored.
    pub fn stored(&self) -> &[u8] {
        &self.stored
    }
}

impl Contents {
    /// Opens the volumes of `name`, whose manifest this is. A volume that is missing is told when a frame of it is
    /// asked for.
    ///
    /// # Errors
    /// If the manifest's volumes and frames cannot be read or do not fit together, or the store is gone.
    pub fn open(catalog: &Catalog, name: &SnapshotName, manifest: &OpenManifest) -> Result<Self, CatalogError> {
        let folder = catalog.layout().snapshot(name);
        let volumes = volumes_with_frames(manifest).map_err(|error| catalog.manifest_error(name, error))?;
        let mut open = Vec::with_capacity(volumes.len());
        for (line, frames) in volumes {
            let reader = catalog.store().open(&folder.join(&line.name)?);
            match reader {
                Err(error) if error.is_absent() => return Err(error.into()),
                Err(error) => open.push(Volume { line, frames, reader: Err(error.to_string()) }),
                Ok(reader) => open.push(Volume { line, frames, reader: Ok(reader) }),
            }
        }
        Ok(Self { volumes: open })
    }

    /// The volumes whose files have another length than they were published with, in words. Known before any frame is
    /// read; what is still there can be.
    pub fn wrong_lengths(&self) -> impl Iterator<Item = String> {
        self.volumes.iter().filter_map(|Volume { line, reader, .. }| {
            let (found, size) = (reader.as_ref().ok()?.len(), line.size);
            let what = if found < size { "is cut" } else { "is longer than it was" };
            (found != size).then(|| format!("the volume {} {what}: {found} of {size} bytes", line.name))
        })
    }

    /// The frames, of the volume of that number, that hold an entry with its header; `None` if it lies where nothing can lie.
    pub fn frames_of(&self, placed: &Placed) -> Option<Range<usize>> {
        let volume = self.volumes.get(placed.volume as usize)?;
        let end = placed.body.checked_add(placed.stored)?.checked_add(padding(placed.stored) as u64)?;
        if placed.offset > placed.body || end > volume.line.raw_size {
            return None;
        }
        let first = volume.frames.partition_point(|frame| frame.raw_offset + frame.raw <= placed.offset);
        let last = volume.frames.partition_point(|frame| frame.raw_offset < end);
        (first < last).then_some(first..last)
    }

    /// Where a frame's content begins in its volume's tar stream, and its length there.
    ///
    /// # Panics
    /// If there is no such frame: numbers come from [`Contents::frames_of`].
    pub fn raw_range(&self, volume: u32, frame: usize) -> Range<u64> {
        let frame = &self.volumes[volume as usize].frames[frame];
        frame.raw_offset..frame.raw_offset + frame.raw
    }

    /// The volumes, each with its frames.
    pub fn volumes(&self) -> impl ExactSizeIterator<Item = (&VolumeLine, &[FrameLine])> {
        self.volumes.iter().map(|volume| (&volume.line, &*volume.frames))
    }

    /// The frames of a volume that hold any of these bytes of its tar stream.
    ///
    /// # Panics
    /// If there is no such volume.
    pub fn frames_in(&self, volume: u32, range: &Range<u64>) -> Range<usize> {
        let frames = &self.volumes[volume as usize].frames;
        let first = frames.partition_point(|frame| frame.raw_offset + frame.raw <= range.start);
        first..frames.partition_point(|frame| frame.raw_offset < range.end).max(first)
    }

    /// The table behind the frames of a volume; none where its codec has none.
    ///
    /// # Errors
    /// In words, if it cannot be read or is no table.
    ///
    /// # Panics
    /// If there is no such volume.
    pub fn table(&self, volume: u32) -> Result<Option<Vec<SeekEntry>>, String> {
        let Volume { line, frames, reader } = &self.volumes[volume as usize];
        if !matches!(line.codec, Codec::Zstd { .. }) {
            return Ok(None);
        }
        let reader = reader.as_ref().map_err(Clone::clone)?;
        let begin: u64 = frames.iter().map(|frame| frame.stored).sum();
        // `volumes_with_frames` has seen that this is what the frames need
        let mut bytes = vec![0; (line.size - begin) as usize];
        reader.read_at(begin, &mut bytes).map_err(|error| error.to_string())?;
        seek::decode(&bytes).map(Some).map_err(|error| error.to_string())
    }

    /// Bytes of the tar streams of all volumes.
    pub fn raw_len(&self) -> u64 {
        self.volumes.iter().fold(0, |sum, volume| sum.saturating_add(volume.line.raw_size))
    }

    /// Reads one frame and decodes it into `raw`, whose former content is dropped.
    ///
    /// # Errors
    /// [`FrameLoss`].
    ///
    /// # Panics
    /// As [`Contents::raw_range`].
    pub fn read(
        &self,
        volume: u32,
        frame: usize,
        buffers: &mut FrameBuffers,
        raw: &mut Vec<u8>,
    ) -> Result<(), FrameLoss> {
        let (line, at, reader) = self.find(volume, frame)?;
        let fill = |pieces: &mut [IoSliceMut<'_>]| reader.read_pieces_at(at.offset, pieces);
        let read = buffers.reader.read_blocks(line.codec, at.stored, at.raw, raw, fill);
        if read.map_err(|source| unread(line, at, source))? {
            return Ok(());
        }
        self.stored(volume, frame, &mut buffers.stored)?;
        self.decode(volume, frame, buffers, raw)
    }

    /// As [`Contents::read`], and compares the stored bytes with their checksum first.
    ///
    /// # Errors
    /// [`FrameLoss`].
    ///
    /// # Panics
    /// As [`Contents::raw_range`].
    pub fn read_proven(
        &self,
        volume: u32,
        frame: usize,
        buffers: &mut FrameBuffers,
        raw: &mut Vec<u8>,
    ) -> Result<(), FrameLoss> {
        self.stored(volume, frame, &mut buffers.stored)?;
        let Volume { line, frames, .. } = &self.volumes[volume as usize];
        let FrameLine { frame: number, xxh128, .. } = frames[frame];
        if FrameSum::of(&buffers.stored) != xxh128 {
            return Err(FrameLoss::Damaged { volume: line.name.clone(), frame: number });
        }
        self.decode(volume, frame, buffers, raw)
    }

    /// Decodes the frame whose stored bytes lie in `buffers`.
    fn decode(
        &self,
        volume: u32,
        frame: usize,
        buffers: &mut FrameBuffers,
        raw: &mut Vec<u8>,
    ) -> Result<(), FrameLoss> {
        let Volume { line, frames, .. } = &self.volumes[volume as usize];
        let FrameBuffers { reader, stored } = buffers;
        let read = reader.read(line.codec, stored, frames[frame].raw, raw);
        read.map_err(|error| why(line, &frames[frame], stored, &error.to_string()))
    }

    /// A part of a volume's tar stream, frame by frame.
    ///
    /// # Panics
    /// If there is no such volume.
    pub fn stream<'a>(
        &'a self,
        volume: u32,
        range: Range<u64>,
        buffers: &'a mut FrameBuffers,
        raw: &'a mut Vec<u8>,
    ) -> RawStream<'a> {
        let frames = self.frames_in(volume, &range);
        RawStream { contents: self, volume, frames, range, buffers, raw, loaded: None, loss: None }
    }

    /// Why what was decoded from a frame is not what the manifest says: damage, if its stored bytes differ too.
    ///
    /// # Panics
    /// As [`Contents::raw_range`].
    pub fn blame(&self, volume: u32, frame: usize, buffers: &mut FrameBuffers, said: &str) -> FrameLoss {
        match self.stored(volume, frame, &mut buffers.stored) {
            Ok(()) => {
                let Volume { line, frames, .. } = &self.volumes[volume as usize];
                why(line, &frames[frame], &buffers.stored, said)
            }
            Err(loss) => loss,
        }
    }

    /// As [`Contents::blame`], of what lies in several frames: the damaged one is named, and only if none is, it is a
    /// contradiction.
    ///
    /// # Panics
    /// As [`Contents::raw_range`].
    pub fn blame_any(&self, volume: u32, frames: Range<usize>, buffers: &mut FrameBuffers, said: &str) -> FrameLoss {
        let mut blame = |frame| self.blame(volume, frame, buffers, said);
        let damaged = frames.clone().map(&mut blame).find(|loss| !loss.is_contradiction());
        damaged.unwrap_or_else(|| blame(frames.start))
    }

    fn stored(&self, volume: u32, frame: usize, into: &mut Vec<u8>) -> Result<(), FrameLoss> {
        let (line, frame, reader) = self.find(volume, frame)?;
        into.resize(frame.stored as usize, 0);
        reader.read_at(frame.offset, into).map_err(|source| unread(line, frame, source))
    }

    /// Where a frame is to be read.
    fn find(&self, volume: u32, frame: usize) -> Result<(&VolumeLine, &FrameLine, &dyn StoreReader), FrameLoss> {
        let Volume { line, frames, reader } = &self.volumes[volume as usize];
        let frame = &frames[frame];
        let volume = || line.name.clone();
        let reader = reader.as_ref().map_err(|why| FrameLoss::NoVolume { volume: volume(), why: why.clone() })?;
        if frame.offset.saturating_add(frame.stored) > reader.len() {
            return Err(FrameLoss::Cut { volume: volume(), frame: frame.frame, found: reader.len(), size: line.size });
        }
        Ok((line, frame, &**reader))
    }
}

fn unread(line: &VolumeLine, frame: &FrameLine, source: StoreError) -> FrameLoss {
    FrameLoss::Unread { volume: line.name.clone(), frame: frame.frame, source }
}

/// A part of a volume's tar stream. A frame that cannot be had ends it with an error whose reason is kept aside.
pub struct RawStream<'a> {
    contents: &'a Contents,
    volume: u32,
    frames: Range<usize>,
    range: Range<u64>,
    buffers: &'a mut FrameBuffers,
    raw: &'a mut Vec<u8>,
    loaded: Option<u64>,
    loss: Option<(usize, FrameLoss)>,
}

impl std::fmt::Debug for RawStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawStream({:?} of volume {})", self.range, self.volume)
    }
}

impl RawStream<'_> {
    /// The frame that could not be had, and why.
    pub fn take_loss(&mut self) -> Option<(usize, FrameLoss)> {
        self.loss.take()
    }
}

impl Read for RawStream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.range.is_empty() || into.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(begin) = self.loaded {
                let from = (self.range.start - begin) as usize;
                if from < self.raw.len() {
                    let wanted = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
                    let len = into.len().min(self.raw.len() - from).min(wanted);
                    into[..len].copy_from_slice(&self.raw[from..from + len]);
                    self.range.start += len as u64;
                    return Ok(len);
                }
            }
            let Some(frame) = self.frames.next() else { return Ok(0) };
            if let Err(loss) = self.contents.read(self.volume, frame, self.buffers, self.raw) {
                self.loss = Some((frame, loss));
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.loaded = Some(self.contents.raw_range(self.volume, frame).start);
        }
    }
}

fn why(line: &VolumeLine, frame: &FrameLine, stored: &[u8], said: &str) -> FrameLoss {
    let (volume, number) = (line.name.clone(), frame.frame);
    if FrameSum::of(stored) == frame.xxh128 {
        FrameLoss::Contradiction { volume, frame: number, why: said.to_owned() }
    } else {
        FrameLoss::Damaged { volume, frame: number }
    }
}

/// The volumes of a manifest with their frames, known to follow each other without gaps, in the file and in the tar
/// stream, and to fill both.
///
/// # Errors
/// If they cannot be read or do not fit together.
pub fn volumes_with_frames(
    manifest: &OpenManifest,
) -> Result<Vec<(VolumeLine, Vec<FrameLine>)>, ManifestError<StoreError>> {
    let damaged = |why: String| ManifestError::Damaged(why);
    let mut all: Vec<(VolumeLine, Vec<FrameLine>)> = manifest.volumes()?.into_iter().map(|v| (v, Vec::new())).collect();
    let (mut offset, mut raw_offset, mut at) = (0_u64, 0_u64, 0_usize);
    for frame in manifest.frames() {
        let frame = frame?;
        if frame.volume as usize != at {
            (offset, raw_offset, at) = (0, 0, frame.volume as usize);
        }
        let Some((line, frames)) = all.get_mut(at) else {
            return Err(damaged(format!("frame {} lies in a volume that it does not name", frame.frame)));
        };
        let follows = frame.frame == frames.len() as u64 && frame.offset == offset && frame.raw_offset == raw_offset;
        if !follows {
            return Err(damaged(format!("frame {} of {} does not follow the one before", frame.frame, line.name)));
        }
        offset = offset.saturating_add(frame.stored);
        raw_offset = raw_offset.saturating_add(frame.raw);
        // a small manifest could tell of more frames than fit any memory
        let fits = frame.stored > 0 && frame.stored <= FRAME_BYTES_MAX && offset <= line.size;
        if !fits || frame.raw > FRAME_BYTES_MAX || raw_offset > line.raw_size {
            return Err(damaged(format!("the frames of {} do not fit it", line.name)));
        }
        frames.push(frame);
    }
    for (line, frames) in &all {
        let stored: u64 = frames.iter().map(|frame| frame.stored).sum();
        let raw: u64 = frames.iter().map(|frame| frame.raw).sum();
        let table = match line.codec {
            Codec::Zstd { .. } => 8 + 12 * frames.len() as u64 + seek::FOOTER_BYTES as u64,
            Codec::Gzip { .. } | Codec::None => 0,
        };
        if stored.checked_add(table) != Some(line.size) || raw != line.raw_size {
            return Err(damaged(format!("the frames of {} do not fill it", line.name)));
        }
    }
    Ok(all)
}
