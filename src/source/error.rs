//! What can go wrong between us and a source, each with what to do now.
//!
//! An error of an entry marks that entry; an error of a root ends the run. Neither ever shares a type with an error of
//! the store: a full store must never look like an unreadable file, nor the reverse.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::domain::{Advise, SkipCause};

/// A failed look at a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A source does not exist.
    #[error("the source {path} does not exist")]
    Missing {
        /// The configured path.
        path: PathBuf,
    },
    /// A source is not a folder.
    #[error("the source {path} is not a folder")]
    NotAFolder {
        /// The configured path.
        path: PathBuf,
    },
    /// A source cannot be opened or listed.
    #[error("the source {path} could not be read")]
    RootUnreadable {
        /// The configured path.
        path: PathBuf,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// There is nothing in the source.
    #[error("the source {path} is empty")]
    Empty {
        /// The configured path.
        path: PathBuf,
    },
    /// An entry could not be opened or read.
    #[error("it could not be read")]
    Unreadable(#[source] io::Error),
    /// An entry was there when its folder was listed, and is gone.
    #[error("it is gone")]
    Vanished,
    /// Another thing has taken an entry's place.
    #[error("something else has its name now")]
    Replaced,
    /// A folder could not be listed, or not to its end.
    #[error("it could not be listed")]
    Unlisted(#[source] io::Error),
    /// A folder lies deeper than the walker goes.
    #[error("it lies more than {0} folders deep, or its path is too long")]
    TooDeep(u32),
    /// An extended attribute could not be read.
    #[error("its extended attributes could not be read")]
    Attributes(#[source] io::Error),
}

impl SourceError {
    /// What an entry's error means for the entry.
    pub fn cause(&self) -> SkipCause {
        match self {
            Self::Vanished | Self::Missing { .. } => SkipCause::Vanished,
            Self::Replaced | Self::NotAFolder { .. } => SkipCause::Replaced,
            Self::Unlisted(_) => SkipCause::Unlisted,
            Self::TooDeep(_) => SkipCause::TooDeep,
            Self::Attributes(_) => SkipCause::Attributes,
            Self::Unreadable(_) | Self::RootUnreadable { .. } | Self::Empty { .. } => SkipCause::Unreadable,
        }
    }

    /// What the machine said, where it said something: the deepest cause.
    pub fn said(&self) -> String {
        let mut deepest: &dyn std::error::Error = self;
        while let Some(next) = deepest.source() {
            deepest = next;
        }
        deepest.to_string()
    }

    /// Sorts what the machine said when an entry was opened, looked at or read.
    pub(super) fn of_entry(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Vanished,
            // O_NOFOLLOW met a link; O_DIRECTORY met something else; a device without a driver, a socket
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO => Self::Replaced,
            other => Self::Unreadable(other.into()),
        }
    }
}

impl Advise for SourceError {
    fn advice(&self) -> String {
        match self {
            Self::Missing { .. } => "mount it, or correct the job's source; nothing was stored".into(),
            Self::NotAFolder { .. } => "give the folder that is to be stored; nothing was stored".into(),
            Self::RootUnreadable { .. } => {
                "let the user that runs this read it (CAP_DAC_READ_SEARCH is enough); nothing was stored".into()
            }
            Self::Empty { .. } => {
                "check that it is mounted and filled; if it may be empty, say `allow_empty: true` (--allow-empty); nothing was stored".into()
            }
            Self::Unreadable(_) | Self::Unlisted(_) | Self::Attributes(_) => {
                "let the user that runs this read it, or exclude it; it is tried again by the next run".into()
            }
            Self::Vanished | Self::Replaced => "nothing, if it is meant to come and go; it is looked at again by the next run".into(),
            Self::TooDeep(_) => "exclude it, or find out who makes folders that deep".into(),
        }
    }
}
