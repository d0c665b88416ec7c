//! Reading frames from the store and comparing them with what they should be.
//!
//! A run does it before it publishes, `verify` does it ever after: the same eyes.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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

fn check_frame(reader: &dyn StoreReader, frame: &FrameLine, bytes: &mut Vec<u8>) -> Result<(), FrameDamage> {
    let damage = |error| FrameDamage { frame: frame.frame, offset: frame.offset, error };
    if frame.stored > FRAME_BYTES_MAX {
        return Err(damage(None));
    }
    bytes.resize(frame.stored as usize, 0);
    reader.read_at(frame.offset, bytes).map_err(|error| damage(Some(error)))?;
    if Digest::of(bytes) == frame.sha256 { Ok(()) } else { Err(damage(None)) }
}
