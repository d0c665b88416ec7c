//! The one way out of a deed for news that is not a result.
//!
//! An observer may be called from any thread, must return quickly, and cannot fail, veto or cancel. A run behaves
//! the same with none, one or five. Observers may draw, never account: totals are counted by the engine.

use crate::domain::{ByteCount, Skip, SnapshotName};

/// What a run (or a restore) is doing, in the order in which it does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Guard, lease, clean-up.
    Opening,
    /// Looking how much there is.
    Surveying,
    /// Running the job's commands and storing what they give.
    Commands,
    /// Reading the source and writing volumes.
    Storing,
    /// Making written bytes durable.
    Flushing,
    /// Reading back what was written.
    ReadingBack,
    /// Making the snapshot appear.
    Publishing,
    /// Retention, after a run that was ok.
    Pruning,
    /// Writing a snapshot's entries into a folder.
    Restoring,
}

impl Phase {
    /// For people, as "while …".
    pub fn words(self) -> &'static str {
        match self {
            Self::Opening => "opening the store",
            Self::Surveying => "looking through the source",
            Self::Commands => "running the job's commands",
            Self::Storing => "storing",
            Self::Flushing => "flushing to the store",
            Self::ReadingBack => "reading back what was written",
            Self::Publishing => "publishing the snapshot",
            Self::Pruning => "removing what retention does not keep",
            Self::Restoring => "restoring",
        }
    }
}

/// Everything a run may announce. A closed list, so that one search finds all of it.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run has begun its work.
    Started {
        /// The snapshot it wants to make.
        snapshot: &'a SnapshotName,
    },
    /// It has come to this.
    Entered {
        /// What it does now.
        phase: Phase,
    },
    /// How much there will be, as far as anybody knows.
    Expected {
        /// Entries.
        entries: u64,
        /// Content.
        bytes: ByteCount,
    },
    /// So much has been done since the last such event.
    Advanced {
        /// Entries stored.
        entries: u64,
        /// Bytes read from the source or back from the store.
        bytes: ByteCount,
        /// Bytes given to the store.
        stored: ByteCount,
    },
    /// Not fatal to the run; it is also part of the outcome.
    Skipped {
        /// What and why.
        skip: &'a Skip,
    },
    /// Worth knowing, changes nothing.
    Notice {
        /// One sentence.
        text: &'a str,
    },
}

/// Watches a deed. Terminal, pipe, metrics and tests all watch this way.
pub trait Observer: Send + Sync {
    /// Hears of one event.
    fn notice(&self, event: &Event<'_>);
}

/// Hears everything and says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn notice(&self, _: &Event<'_>) {}
}
