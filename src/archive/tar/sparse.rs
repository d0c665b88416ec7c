//! Maps of sparse files, as four formats have them.
//!
//! The danger is a map that is longer than its file, or that two readers lay out differently. A map is read as it
//! comes, never by its own count; runs must be in order, apart, within the file, and as long as the data that follows.

use super::Fault;
use super::field::{Block, number};
use super::pax::decimal;
use crate::archive::BLOCK;
use crate::domain::Extent;

/// Runs gathered while a map is read.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Extent>,
}

impl Runs {
    pub(super) fn new(runs: Vec<Extent>) -> Self {
        Self { runs }
    }

    /// Adds the runs of a header of old GNU sparse files or of its extension: pairs of 12 bytes. Tells whether an
    /// empty place ended the map.
    pub(super) fn add_pairs(&mut self, pairs: &[u8]) -> Result<Ends, Fault> {
        for pair in pairs.chunks_exact(24) {
            let (offset, len) = pair.split_at(12);
            match (offset[0], len[0]) {
                (0, 0) => return Ok(Ends::Here),
                (0, _) | (_, 0) => return Err(Fault::Map { why: "a run is half empty" }),
                _ => {}
            }
            let value = |field| number(field).and_then(|value| u64::try_from(value).ok());
            let (Some(offset), Some(len)) = (value(offset), value(len)) else {
                return Err(Fault::Number { field: "sparse" });
            };
            self.runs.push(Extent { offset, len });
        }
        Ok(Ends::NotYet)
    }

    /// The runs that hold data, if the map can be of a file of `real_size` bytes with `stored` bytes of data.
    pub(super) fn finish(self, real_size: u64, stored: u64) -> Result<Vec<Extent>, Fault> {
        let mut runs = self.runs;
        let (mut end, mut data) = (0u64, 0u64);
        for run in &runs {
            if run.offset < end {
                return Err(Fault::Map { why: "its runs are not in order" });
            }
            if run.len > 0 && data % BLOCK != 0 {
                // GNU tar pads each run to a block, libarchive does not
                return Err(Fault::Map { why: "a run that is not the last ends within a block" });
            }
            end = run.offset.checked_add(run.len).ok_or(Fault::Map { why: "a run ends beyond every file" })?;
            data += run.len;
        }
        if end > real_size {
            return Err(Fault::Map { why: "it reaches beyond the end of the file" });
        }
        if data != stored {
            return Err(Fault::Map { why: "it is not of as many bytes as are stored" });
        }
        runs.retain(|run| run.len > 0);
        Ok(runs)
    }
}

/// Whether a map goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Here,
    NotYet,
}

/// The map at the head of a body (GNU format 1.0): decimal lines, read block by block.
#[derive(Debug, Default)]
pub(super) struct MapText {
    /// All that was read, as it lies in the stream.
    pub(super) text: Vec<u8>,
    parsed: usize,
    runs_left: Option<u64>,
    offset: Option<u64>,
    runs: Vec<Extent>,
}

impl MapText {
    /// Takes one more block, and tells whether the map ends in it.
    pub(super) fn add(&mut self, block: &Block) -> Result<Ends, Fault> {
        self.text.extend_from_slice(block);
        while self.runs_left != Some(0) {
            let rest = &self.text[self.parsed..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                // a number goes on in the next block; twenty digits say any number there is
                let number = rest.len() <= 20 && rest.iter().all(u8::is_ascii_digit);
                return if number { Ok(Ends::NotYet) } else { Err(Fault::Map { why: "it is no text" }) };
            };
            let value = decimal(&rest[..end], "sparse map").map_err(|_| Fault::Map { why: "it is no text" })?;
            self.parsed += end + 1;
            match (self.runs_left, self.offset.take()) {
                (None, _) => self.runs_left = Some(value),
                (Some(_), None) => self.offset = Some(value),
                (Some(left), Some(offset)) => {
                    self.runs.push(Extent { offset, len: value });
                    self.runs_left = Some(left - 1);
                }
            }
        }
        Ok(Ends::Here)
    }

    pub(super) fn finish(self) -> (Runs, Box<[u8]>) {
        (Runs::new(self.runs), self.text.into())
    }
}
