//! Reading frames from the store and comparing them with what they should be.
//!
//! A run does it before it publishes, `verify` does it ever after: the same reader, with the measure that each needs.
//! Ever after it is the sha256 that the manifest tells. Before publishing it is a quick checksum that never left this
//! process: what is asked is whether the store gives back what it was given a moment ago, and nobody can have known
//! that checksum to forge it.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use twox_hash::XxHash3_64;

use crate::archive::FRAME_BYTES_MAX;
use crate::archive::manifest::FrameLine;
use crate::domain::{ByteCount, Cancel, Digest};
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

/// By what a frame's bytes are known.
#[derive(Clone, Copy, Debug)]
pub enum Measure<'a> {
    /// The sha256 in its line.
    Sha256,
    /// A quick checksum of each frame, by its number, taken when it was written.
    Quick(&'a [u64]),
}

impl Measure<'_> {
    /// The quick checksum of a frame's stored bytes.
    pub fn quick(bytes: &[u8]) -> u64 {
        XxHash3_64::oneshot(bytes)
    }

    fn fits(&self, frame: &FrameLine, bytes: &[u8]) -> bool {
        match self {
            Self::Sha256 => Digest::of(bytes) == frame.sha256,
            Self::Quick(all) => all.get(frame.frame as usize) == Some(&Self::quick(bytes)),
        }
    }
}

/// Reads `frames` of one volume, with several threads, and gives those that are damaged, in order. Ends early, with
/// what was found so far, when `cancel` is asked or when `stop_at_first`.
pub fn check_frames(
    reader: &dyn StoreReader,
    frames: &[FrameLine],
    measure: Measure<'_>,
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
                if let Err(damage) = check_frame(reader, frame, measure, &mut bytes) {
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

fn check_frame(
    reader: &dyn StoreReader,
    frame: &FrameLine,
    measure: Measure<'_>,
    bytes: &mut Vec<u8>,
) -> Result<(), FrameDamage> {
    let damage = |error| FrameDamage { frame: frame.frame, offset: frame.offset, error };
    if frame.stored > FRAME_BYTES_MAX {
        return Err(damage(None));
    }
    bytes.resize(frame.stored as usize, 0);
    reader.read_at(frame.offset, bytes).map_err(|error| damage(Some(error)))?;
    if measure.fits(frame, bytes) { Ok(()) } else { Err(damage(None)) }
}
