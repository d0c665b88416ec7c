//! A file that lies in several frames: written by several workers, hashed in order, put in place by the last.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use super::decide::Decision;
use super::folder::{Metadata, Unplaced};
use super::work::{Item, Shared, Trouble, header_of};
use crate::archive::tar::{TarLimits, TarReader};
use crate::catalog::{FrameBuffers, FrameLoss};
use crate::domain::{Hasher, Turns};

/// An open file that several workers write.
pub(super) struct LargeFile {
    volume: u32,
    frames: Range<usize>,
    offset: u64,
    body: Range<u64>,
    /// Taken out by the last part, because it holds its folder.
    file: RwLock<Option<Unplaced>>,
    metadata: Mutex<Metadata>,
    lost: AtomicBool,
    state: Turns<Writing>,
}

struct Writing {
    hasher: Option<Hasher>,
    item: Option<Item>,
}

impl LargeFile {
    /// Makes the file, under a name that is not its own yet.
    pub(super) fn create(item: Item, frames: Range<usize>) -> Result<Self, (Item, io::Error)> {
        let file = match item.folder.create() {
            Ok(file) => file,
            Err(error) => return Err((item, error)),
        };
        let placed = item.entry.placed;
        Ok(Self {
            volume: placed.volume,
            frames,
            offset: placed.offset,
            body: placed.body..placed.body + placed.stored,
            file: RwLock::new(Some(file)),
            metadata: Mutex::new(item.metadata.clone()),
            lost: AtomicBool::new(false),
            state: Turns::new(Writing { hasher: Some(Hasher::new()), item: Some(item) }),
        })
    }

    /// How many frames it lies in.
    pub(super) fn parts(&self) -> usize {
        self.frames.len()
    }

    /// The volume and frame of one part.
    pub(super) fn frame(&self, part: usize) -> (u32, usize) {
        (self.volume, self.frames.start + part)
    }

    /// Whether a part of it could not be had.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes what a frame, whose content begins at `begin` of the tar stream, holds of it.
    pub(super) fn write(&self, part: usize, begin: u64, raw: &[u8]) -> Result<(), Trouble> {
        if part == 0 {
            let state_entry = self.state.peek(|writing| writing.item.as_ref().map(|item| item.entry.clone()));
            let entry = state_entry.expect("the first part comes before the last");
            let member =
                header_of(&mut TarReader::new(&raw[(self.offset - begin) as usize..], TarLimits::default()), &entry)?;
            self.metadata.lock().unwrap_or_else(PoisonError::into_inner).xattrs = member.xattrs;
        }
        let own = self.own(begin, raw.len());
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let file = file.as_ref().expect("the last part was not done");
        Ok(file.write_at(begin + own.start as u64 - self.body.start, &raw[own])?)
    }

    /// The part of a frame's content that is this file's.
    fn own(&self, begin: u64, len: usize) -> Range<usize> {
        let end = begin + len as u64;
        let (from, to) = (self.body.start.clamp(begin, end), self.body.end.clamp(begin, end));
        (from - begin) as usize..(to - begin) as usize
    }

    /// A frame of it is lost, and so is the file.
    pub(super) fn lose(&self, loss: FrameLoss, shared: &Shared<'_>) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            let path = self.state.peek(|writing| writing.item.as_ref().map(|item| item.path.clone()));
            shared.lose_frame(&path.expect("the last part was not done"), loss);
        }
    }

    /// It cannot be written here.
    pub(super) fn lose_here(&self, error: io::Error, shared: &Shared<'_>) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            let path = self.state.peek(|writing| writing.item.as_ref().map(|item| item.path.clone()));
            shared.lose_here(&path.expect("the last part was not done"), error);
        }
    }

    /// Hashes one part, after those before it. The last puts the file in place, and gives the item if all is well.
    pub(super) fn take_turn(&self, part: usize, begin: u64, raw: &[u8], shared: &Shared<'_>) -> Option<Item> {
        let last = part + 1 == self.parts();
        let turn = self.state.take(part as u64, &shared.halt, |writing| {
            if let Some(hasher) = &mut writing.hasher
                && !self.is_lost()
            {
                hasher.update(&raw[self.own(begin, raw.len())]);
            }
            if last { writing.hasher.take().zip(writing.item.take()) } else { None }
        });
        let (hasher, item) = turn.ok()??;
        let file = self.file.write().unwrap_or_else(PoisonError::into_inner).take().expect("there is one last part");
        let done = self.finish(&item, &file, hasher, shared);
        drop(file);
        if done {
            return Some(item);
        }
        item.folder.leave(shared.permit, shared.tally);
        None
    }

    /// Compares, dresses and places. False if the file is lost, which has been told.
    fn finish(&self, item: &Item, file: &Unplaced, hasher: Hasher, shared: &Shared<'_>) -> bool {
        if shared.halt.is_raised() || self.is_lost() {
            return false;
        }
        if Some(hasher.finish()) != item.entry.sha256 {
            // every frame of it could be decoded: if the bytes of all are as published, the manifest lies
            let mut buffers = FrameBuffers::default();
            let why = format!("the content of {} is another", item.entry.path);
            let loss = shared.contents.blame_any(self.volume, self.frames.clone(), &mut buffers, &why);
            shared.lose_frame(&item.path, loss);
            return false;
        }
        let metadata = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        let placed = file
            .dress(&item.path, &metadata, shared.permit, shared.tally)
            .and_then(|()| file.place(item.path.name(), item.decision == Decision::Replace));
        placed.map_err(|error| shared.lose_here(&item.path, error)).is_ok()
    }
}
