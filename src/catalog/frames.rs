//! Reading frames from the store and comparing them with what they should be.
//!
//! A run does it before it publishes, and `verify` does it ever after: by the checksum in the frame's line of the manifest.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::archive::FRAME_BYTES_MAX;
use crate::archive::manifest::FrameLine;
use crate::domain::{ByteCount, Cancel, Digest, FrameSum, Halt, Hasher, Turns};
use crate::observe::{Event, Observer};
use crate::store::{StoreError, StoreReader};

/// A frame that is not what it should be.
#[derive(Debug)]
pub struct FrameDamage {
    /// Its number in the volume.
    pub frame: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// `None`: its bytes differ. Otherwise they could not be read.
    pub error: Option<StoreError>,
}

/// How many frames a worker claims at once, so that it reads the file in long runs.
const FRAMES_AT_ONCE: usize = 8;

/// Reads `frames` of one volume, with several threads, and gives those that are damaged, in order. Ends early, with
/// what was found so far, when `cancel` is asked or when `stop_at_first`.
pub fn check_frames(
    reader: &dyn StoreReader,
    frames: &[FrameLine],
    threads: NonZeroUsize,
    stop_at_first: bool,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Vec<FrameDamage> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let damaged = Mutex::new(Vec::new());
    let work = || {
        let mut bytes = Vec::new();
        loop {
            let start = next.fetch_add(FRAMES_AT_ONCE, Ordering::Relaxed);
            if start >= frames.len() {
                return;
            }
            for frame in &frames[start..frames.len().min(start + FRAMES_AT_ONCE)] {
                if stop.load(Ordering::Relaxed) || cancel.asked().is_some() {
                    return;
                }
                if let Err(damage) = check_frame(reader, frame, &mut bytes) {
                    damaged.lock().unwrap_or_else(PoisonError::into_inner).push(damage);
                    stop.fetch_or(stop_at_first, Ordering::Relaxed);
                }
                let (bytes, none) = (ByteCount(frame.stored), ByteCount::ZERO);
                observer.notice(&Event::Advanced { entries: 0, bytes, stored: none });
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get() {
            scope.spawn(work);
        }
        work();
    });
    let mut damaged = damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
    damaged.sort_by_key(|damage| damage.offset);
    damaged
}

/// What reading all of a volume showed.
#[derive(Debug)]
pub struct WholeCheck {
    /// Damaged frames, in order.
    pub damaged: Vec<FrameDamage>,
    /// The sha256 of the file. None if some of it could not be read, or somebody asked to stop.
    pub sha256: Option<Digest>,
    /// Why what stands behind the frames could not be read.
    pub behind: Option<StoreError>,
}

/// Reads all of one volume, each byte once: takes the sha256 of the file, and compares those of its `frames` that
/// `asked` names with their own. `frames` follow each other without gaps from the beginning (as
/// [`super::volumes_with_frames`] gives them); what stands behind them belongs to the file alone.
///
/// Workers read and compare runs of frames beside each other, then take turns at the checksum of the file, which needs its
/// bytes in order.
pub fn check_whole(
    reader: &dyn StoreReader,
    frames: &[FrameLine],
    asked: &(dyn Fn(&FrameLine) -> bool + Sync),
    threads: NonZeroUsize,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> WholeCheck {
    let next = AtomicUsize::new(0);
    let whole = Turns::new(Some(Hasher::new()));
    let halt = Halt::default();
    let damaged = Mutex::new(Vec::new());
    let runs = runs_of(frames);
    let work = || {
        let mut bytes = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(run) = runs.get(number) else { return };
            let (mut read_to, mut is_read) = (0, true);
            for frame in &frames[run.clone()] {
                if cancel.asked().is_some() {
                    return halt.raise();
                }
                let read = read_frame(reader, frame, &mut bytes, read_to);
                is_read &= read.is_ok();
                read_to += read.as_ref().map_or(0, |stored| stored.len());
                let fits = read.and_then(|stored| {
                    if !asked(frame) || FrameSum::of(stored) == frame.xxh128 {
                        Ok(())
                    } else {
                        Err(frame_damage(frame, None))
                    }
                });
                if let Err(damage) = fits {
                    damaged.lock().unwrap_or_else(PoisonError::into_inner).push(damage);
                }
                let (bytes, none) = (ByteCount(frame.stored), ByteCount::ZERO);
                observer.notice(&Event::Advanced { entries: 0, bytes, stored: none });
            }
            let turn = whole.take(number as u64, &halt, |hasher| match hasher {
                Some(hasher) if is_read => hasher.update(&bytes[..read_to]),
                // a checksum of the rest would be one of nothing
                _ => *hasher = None,
            });
            if turn.is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get() {
            scope.spawn(work);
        }
        work();
    });
    let mut hasher = if halt.is_raised() { None } else { whole.peek(Clone::clone) };
    let mut behind = None;
    let (mut at, mut bytes) = (frames.last().map_or(0, |frame| frame.offset + frame.stored), Vec::new());
    while at < reader.len() && behind.is_none() && !halt.is_raised() {
        let len = (reader.len() - at).min(BEHIND_BYTES);
        bytes.resize(len as usize, 0);
        match reader.read_at(at, &mut bytes) {
            Ok(()) => hasher.iter_mut().for_each(|hasher| hasher.update(&bytes)),
            Err(error) => (hasher, behind) = (None, Some(error)),
        }
        at += len;
        observer.notice(&Event::Advanced { entries: 0, bytes: ByteCount(len), stored: ByteCount::ZERO });
    }
    let mut damaged = damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
    damaged.sort_by_key(|damage| damage.offset);
    WholeCheck { damaged, sha256: hasher.map(Hasher::finish), behind }
}

/// A worker takes its turn when it has about this much, so that few turns are waited for.
const RUN_BYTES: u64 = 4 << 20;

/// Frames that follow each other, in runs of about `RUN_BYTES`.
fn runs_of(frames: &[FrameLine]) -> Vec<Range<usize>> {
    let (mut runs, mut start, mut bytes) = (Vec::new(), 0, 0_u64);
    for (at, frame) in frames.iter().enumerate() {
        bytes = bytes.saturating_add(frame.stored);
        if bytes >= RUN_BYTES || at + 1 == frames.len() {
            runs.push(start..at + 1);
            (start, bytes) = (at + 1, 0);
        }
    }
    runs
}

/// What stands behind a volume's frames is read in pieces of this length: somebody may have put a terabyte there.
const BEHIND_BYTES: u64 = 1 << 20;

fn frame_damage(frame: &FrameLine, error: Option<StoreError>) -> FrameDamage {
    FrameDamage { frame: frame.frame, offset: frame.offset, error }
}

fn check_frame(reader: &dyn StoreReader, frame: &FrameLine, bytes: &mut Vec<u8>) -> Result<(), FrameDamage> {
    let stored = read_frame(reader, frame, bytes, 0)?;
    if FrameSum::of(stored) == frame.xxh128 { Ok(()) } else { Err(frame_damage(frame, None)) }
}

/// Reads it into `bytes` from `at` on. Those grow as needed and never shrink: what is cut must be filled anew.
fn read_frame<'b>(
    reader: &dyn StoreReader,
    frame: &FrameLine,
    bytes: &'b mut Vec<u8>,
    at: usize,
) -> Result<&'b [u8], FrameDamage> {
    if frame.stored > FRAME_BYTES_MAX {
        return Err(frame_damage(frame, None));
    }
    let end = at + frame.stored as usize;
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    let stored = &mut bytes[at..end];
    reader.read_at(frame.offset, stored).map_err(|error| frame_damage(frame, Some(error)))?;
    Ok(stored)
}
