//! The lines that a run's child writes.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{ByteCount, Clock, RunId, SnapshotName, StopReason, StoreId, Trouble};
use crate::observe::{Event, Observer, Phase};
use crate::report::{RunRecord, SkipRecord};

/// Progress is gathered and sent at most so often; silence for longer means that nothing moved.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Of the skips at most so many are sent as they happen: all of them stand in the manifest.
const SKIPS_SENT_MAX: u64 = 200;

/// One line of the child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Message {
    /// The store was opened.
    Store {
        /// Its id.
        id: StoreId,
    },
    /// The run works on this snapshot.
    Started {
        /// Its name.
        snapshot: SnapshotName,
    },
    /// The run has come to this.
    Phase {
        /// What it does now.
        phase: Phase,
    },
    /// How much there will be.
    Expected {
        /// Entries.
        entries: u64,
        /// Content.
        bytes: ByteCount,
    },
    /// So much was done since the last such line.
    Progress {
        /// Entries stored.
        entries: u64,
        /// Bytes read.
        bytes: ByteCount,
        /// Bytes given to the store.
        stored: ByteCount,
    },
    /// An entry was skipped.
    Skipped(SkipRecord),
    /// Worth knowing.
    Notice {
        /// One sentence.
        text: String,
    },
    /// The run waits for an [`Answer`]: hooks are to be run now.
    Ask {
        /// Which.
        turn: Turn,
    },
    /// These runs' outcomes lie in the store now.
    Recorded {
        /// Which.
        runs: Vec<RunId>,
    },
    /// The last line: the outcome.
    Outcome {
        /// As it is stored.
        record: Box<RunRecord>,
    },
}

/// When the parent is asked for its hooks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "kebab-case")]
pub enum Turn {
    /// Before anything of the source is read.
    Before,
    /// The source is not needed any more.
    Undo,
    /// The run ended so; its outcome is not stored yet.
    Ended {
        /// What is known of it.
        record: Box<RunRecord>,
    },
}

/// What the parent answers, a line on the run's standard input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Why there is to be no run.
    pub refusal: Option<(StopReason, Trouble)>,
    /// What went wrong and makes the outcome partial.
    pub doubts: Vec<String>,
}

/// Sends events as lines. If nobody reads any more it says nothing, and the run goes on.
pub struct PipeObserver<'a, W> {
    clock: &'a dyn Clock,
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    sent_at: Duration,
    entries: u64,
    bytes: ByteCount,
    stored: ByteCount,
    skips: u64,
}

impl<W> std::fmt::Debug for PipeObserver<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PipeObserver")
    }
}

impl<'a, W: Write + Send> PipeObserver<'a, W> {
    /// Writes to `out`.
    pub fn new(out: W, clock: &'a dyn Clock) -> Self {
        let state = State {
            out,
            sent_at: Duration::ZERO,
            entries: 0,
            bytes: ByteCount::ZERO,
            stored: ByteCount::ZERO,
            skips: 0,
        };
        Self { clock, state: Mutex::new(state) }
    }

    /// Sends one line now.
    pub fn send(&self, message: &Message) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).send(message);
    }
}

impl<W: Write> State<W> {
    fn send(&mut self, message: &Message) {
        let mut line = serde_json::to_vec(message).expect("messages are plain values");
        line.push(b'\n');
        // a parent that is gone must not change what the run does: it is told by signal, not by this pipe
        let _ = self.out.write_all(&line).and_then(|()| self.out.flush());
    }

    fn send_progress(&mut self, now: Duration) {
        let message = Message::Progress {
            entries: std::mem::take(&mut self.entries),
            bytes: std::mem::take(&mut self.bytes),
            stored: std::mem::take(&mut self.stored),
        };
        self.sent_at = now;
        self.send(&message);
    }
}

impl<W: Write + Send> Observer for PipeObserver<'_, W> {
    fn notice(&self, event: &Event<'_>) {
        let now = self.clock.since_start();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { snapshot } => state.send(&Message::Started { snapshot: (*snapshot).clone() }),
            Event::Entered { phase } => {
                state.send_progress(now);
                state.send(&Message::Phase { phase: *phase });
            }
            Event::Expected { entries, bytes } => {
                state.send(&Message::Expected { entries: *entries, bytes: *bytes });
            }
            Event::Advanced { entries, bytes, stored } => {
                state.entries += entries;
                state.bytes += *bytes;
                state.stored += *stored;
                if now.saturating_sub(state.sent_at) >= PROGRESS_EVERY {
                    state.send_progress(now);
                }
            }
            Event::Skipped { skip } => {
                state.skips += 1;
                if state.skips <= SKIPS_SENT_MAX {
                    state.send(&Message::Skipped(SkipRecord::from(*skip)));
                }
            }
            Event::Notice { text } => state.send(&Message::Notice { text: (*text).to_owned() }),
        }
    }
}
