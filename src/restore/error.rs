//! What ends a restore early. What only costs an entry is a [`super::Loss`] in the report.

use std::io;
use std::path::PathBuf;

use super::report::Report;
use crate::catalog::{CatalogError, FrameLoss};
use crate::domain::{Advise, ByteCount, EntryPath, Stop};

/// Why a restore could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The store, or what lies in it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The folder to restore into.
    #[error("{deed} {path} failed")]
    Target {
        /// What was being done.
        deed: &'static str,
        /// On what.
        path: PathBuf,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// It holds something already, and nothing was said about overwriting.
    #[error("{path} is not empty")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// It holds the beginning of another restore.
    #[error("{path} holds an unfinished restore of {snapshot}")]
    OtherUnfinished {
        /// The folder.
        path: PathBuf,
        /// Of which snapshot.
        snapshot: String,
    },
    /// It holds the beginning of this restore, under which files may be cut, and what is there is not to be replaced.
    #[error("{path} holds the beginning of this restore, which was to replace what is there: files of it may be cut")]
    BegunToReplace {
        /// The folder.
        path: PathBuf,
    },
    /// What is to be restored cannot fit.
    #[error("{path} has {free} free, and the snapshot holds {needed}")]
    TooSmall {
        /// The folder.
        path: PathBuf,
        /// What is free.
        free: ByteCount,
        /// The content of all files.
        needed: ByteCount,
    },
    /// Nothing in the snapshot fits what was asked for.
    #[error("nothing in the snapshot fits {wanted}")]
    Nothing {
        /// What was asked for.
        wanted: String,
    },
    /// An archive that cannot be read on.
    #[error("the archive {name} cannot be read on: {why}")]
    Archive {
        /// Its name.
        name: String,
        /// In words.
        why: String,
        /// What to do.
        advice: String,
        /// What was restored of it.
        report: Box<Report>,
    },
    /// Nobody takes what is given out.
    #[error("writing to standard output failed")]
    Output(#[source] io::Error),
    /// What was to be given out is damaged.
    #[error("`{path}` is damaged in the store: {why}")]
    Damaged {
        /// Which entry.
        path: EntryPath,
        /// In words.
        why: String,
    },
    /// The volume says what the manifest does not.
    #[error("the snapshot contradicts itself")]
    Contradiction {
        /// Where.
        #[source]
        source: FrameLoss,
    },
    /// The store went away.
    #[error("the store went away")]
    StoreGone {
        /// Where it was noticed.
        #[source]
        source: FrameLoss,
    },
    /// Somebody asked to stop.
    #[error("stopped before everything was restored")]
    Stopped(Stop),
}

impl Advise for RestoreError {
    fn advice(&self) -> String {
        match self {
            Self::Catalog(error) => error.advice(),
            Self::Target { .. } => {
                "make room or correct the folder's permissions, then give the same command again: it goes on where it ended".into()
            }
            Self::NotEmpty { .. } => {
                "restore into a new folder, or say what happens to what is there: --overwrite never, older or always (--dry-run shows it first)".into()
            }
            Self::OtherUnfinished { .. } => {
                "restore into another folder, or finish that one first by restoring that snapshot into it".into()
            }
            Self::BegunToReplace { .. } => {
                "finish it first as it was begun, without `--overwrite never` or `older`, or restore into another folder".into()
            }
            Self::TooSmall { .. } => "restore into a larger disk, or only a part of it (PATH, --include)".into(),
            Self::Nothing { .. } => "`backup ls` shows what is in a snapshot, `backup find NAME` in which snapshots something is".into(),
            Self::Archive { advice, .. } => advice.clone(),
            Self::Output(_) => "find out why the reading program ended; what it got is not complete".into(),
            Self::Damaged { .. } => {
                "what was written so far is not complete; `backup find` shows in which other snapshots it is, and `backup verify` what else is damaged".into()
            }
            Self::Contradiction { .. } => {
                "do not trust this snapshot: its manifest and its volume were not made together; run `backup verify` on it, and restore from another one".into()
            }
            Self::StoreGone { .. } => "mount the store again, then give the same command again: it goes on where it ended".into(),
            Self::Stopped(_) => "give the same command again: it goes on where it ended".into(),
        }
    }
}
