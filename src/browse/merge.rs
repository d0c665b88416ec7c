//! Several sorted streams of lines as one, path by path.
//!
//! Memory is one line of each stream. A stream that fails is told of once and left out from then on, so that one
//! damaged manifest does not hide what the others hold; what to make of that is the caller's to decide.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use crate::archive::manifest::Line;
use crate::domain::EntryPath;

/// All lines of one path, each with the number of its stream: in order of streams, a stream's own in its order.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) path: EntryPath,
    pub(super) lines: Vec<(usize, Line)>,
}

/// Merges; see the module.
pub(super) struct Merged<I> {
    streams: Vec<I>,
    heads: BinaryHeap<Reverse<Head>>,
    begun: bool,
}

struct Head {
    line: Line,
    stream: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.line.path().cmp(other.line.path()).then(self.stream.cmp(&other.stream))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl<E, I: Iterator<Item = Result<Line, E>>> Merged<I> {
    pub(super) fn new(streams: Vec<I>) -> Self {
        Self { streams, heads: BinaryHeap::new(), begun: false }
    }

    /// The next path, after the failures that were met on the way to it; a failure ends its stream.
    pub(super) fn next_group(&mut self, failures: &mut VecDeque<(usize, E)>) -> Option<Group> {
        if !self.begun {
            self.begun = true;
            for stream in 0..self.streams.len() {
                self.pull(stream, failures);
            }
        }
        let Reverse(first) = self.heads.pop()?;
        let path = first.line.path().clone();
        let mut lines = vec![(first.stream, first.line)];
        self.pull(first.stream, failures);
        while let Some(Reverse(next)) = self.heads.peek()
            && *next.line.path() == path
        {
            let Some(Reverse(Head { line, stream })) = self.heads.pop() else { break };
            lines.push((stream, line));
            self.pull(stream, failures);
        }
        Some(Group { path, lines })
    }

    fn pull(&mut self, stream: usize, failures: &mut VecDeque<(usize, E)>) {
        match self.streams[stream].next() {
            Some(Ok(line)) => self.heads.push(Reverse(Head { line, stream })),
            Some(Err(error)) => failures.push_back((stream, error)),
            None => {}
        }
    }
}
