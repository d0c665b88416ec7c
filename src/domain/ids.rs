//! Names and ids, each of its own type: none converts into another.
//!
//! A job's name is part of file names in the store, so it is held to what every server takes: ASCII, short.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::clock::stamp_text;

/// Text that is not the name or id it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a job's name.
    #[error("`{0}` is not a job's name: 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit")]
    Job(String),
    /// Not a snapshot's name.
    #[error("`{0}` is not a snapshot's name: JOB-YYYYMMDDTHHMMSSZ is expected")]
    Snapshot(String),
    /// Not an id of a run or a store.
    #[error("`{0}` is not an id: 32 lower-case hexadecimal digits are expected")]
    Hex(String),
}

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
    };
}

/// A job's name. It becomes part of file names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(String);
text_type!(JobName);

impl FromStr for JobName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let good = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if good { Ok(Self(text.to_owned())) } else { Err(IdError::Job(text.to_owned())) }
    }
}

impl JobName {
    /// A job's name made from a folder's name: what is not allowed becomes `-`. None if nothing is left.
    pub fn from_folder(name: &[u8]) -> Option<Self> {
        let text: String = name
            .iter()
            .map(|b| if b.is_ascii_alphanumeric() || b"._-".contains(b) { char::from(*b) } else { '-' })
            .skip_while(|c| !c.is_ascii_alphanumeric())
            .take(64)
            .collect();
        text.parse().ok()
    }
}

/// A snapshot's name: `JOB-YYYYMMDDTHHMMSSZ`, the second in which its run began.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotName(String);
text_type!(SnapshotName);

const STAMP_LEN: usize = "YYYYMMDDTHHMMSSZ".len();

impl SnapshotName {
    /// The name of the snapshot of `job` that began at `at`.
    pub fn new(job: &JobName, at: Timestamp) -> Self {
        Self(format!("{job}-{}", stamp_text(at)))
    }

    /// The job.
    pub fn job(&self) -> JobName {
        JobName(self.0[..self.0.len() - STAMP_LEN - 1].to_owned())
    }

    /// The `YYYYMMDDTHHMMSSZ` part.
    pub fn stamp(&self) -> &str {
        &self.0[self.0.len() - STAMP_LEN..]
    }

    /// The second that the name tells.
    pub fn at(&self) -> Timestamp {
        parse_stamp(self.stamp()).expect("a snapshot's name was parsed with its stamp")
    }
}

impl FromStr for SnapshotName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refuse = || IdError::Snapshot(text.to_owned());
        let cut = text.len().checked_sub(STAMP_LEN + 1).ok_or_else(refuse)?;
        let (job, stamp) = text.split_at_checked(cut).ok_or_else(refuse)?;
        let stamp = stamp.strip_prefix('-').ok_or_else(refuse)?;
        job.parse::<JobName>().map_err(|_| refuse())?;
        let at = parse_stamp(stamp).ok_or_else(refuse)?;
        // exactly one text for each second
        if stamp_text(at) != stamp {
            return Err(refuse());
        }
        Ok(Self(text.to_owned()))
    }
}

fn parse_stamp(stamp: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y%m%dT%H%M%SZ", stamp).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

macro_rules! hex_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);
        text_type!($name);

        impl $name {
            /// From 16 random bytes, drawn by the caller.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(bytes.iter().map(|b| format!("{b:02x}")).collect())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let good = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                if good { Ok(Self(text.to_owned())) } else { Err(IdError::Hex(text.to_owned())) }
            }
        }
    };
}

hex_type! {
    /// One attempt at a job.
    RunId
}
hex_type! {
    /// One store, told apart from every other by its marker.
    StoreId
}

/// The name of a machine, as it calls itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Host(pub String);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{JobName, RunId, SnapshotName};

    #[test]
    fn a_snapshot_name_gives_back_its_job_and_its_second() {
        let job: JobName = "web-2.up".parse().expect("a job's name");
        let at = "2026-11-21T02:00:00Z".parse().expect("a time");
        let name = SnapshotName::new(&job, at);
        assert_eq!(name.as_str(), "web-2.up-20261121T020000Z");
        let read: SnapshotName = name.as_str().parse().expect("its own text");
        assert_eq!((read.job(), read.at()), (job, at));
    }

    #[test]
    fn near_misses_are_not_snapshot_names() {
        for text in [
            "20261121T020000Z",
            "-20261121T020000Z",
            "up-20261121T020000",
            "up-20261321T020000Z",
            "up-20261121T020060Z",
            "up/-20261121T020000Z",
            ".partial-0",
            "ü-20261121T020000Z",
            "",
        ] {
            assert!(text.parse::<SnapshotName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_folder_with_an_odd_name_still_gives_a_job() {
        let name = |bytes: &[u8]| JobName::from_folder(bytes).map(String::from);
        assert_eq!(name(b"upload").as_deref(), Some("upload"));
        assert_eq!(name(b"my files (2)").as_deref(), Some("my-files--2-"));
        assert_eq!(name(b"-\xff-"), None);
    }

    #[test]
    fn ids_are_32_digits() {
        assert_eq!(RunId::from_random([0xab; 16]).as_str(), "ab".repeat(16));
        assert!("AB".repeat(16).parse::<RunId>().is_err());
    }
}
