//! The marker: the one proof that this is the right disk.
//!
//! Measured on NFS: when the server's disk is unmounted behind its export, the client still sees a mounted NFS with
//! plenty of room, and writes land on the server's root disk. Only a file that lies on the right disk tells.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::StoreId;

/// The marker's file name, in the store's own folder.
pub const MARKER_NAME: &str = ".backup-store.json";

/// The version that this program writes, and the newest that it understands.
const FORMAT: u32 = 1;

/// A marker is a line; what is larger was not written by us.
pub(super) const MARKER_BYTES_MAX: u64 = 64 << 10;

/// What the marker says. Fields may be added within a format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The store's format.
    pub format: u32,
    /// The store's id.
    pub id: StoreId,
    /// When it was made.
    pub created: Timestamp,
    /// By what.
    pub tool: String,
}

impl Marker {
    /// A new store's.
    pub fn new(id: StoreId, created: Timestamp, tool: &str) -> Self {
        Self { format: FORMAT, id, created, tool: tool.to_owned() }
    }

    /// As it stands in the file.
    pub fn encode(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a marker is plain values");
        text.push('\n');
        text
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// If they are not a marker, or of a newer format.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } = serde_json::from_slice(bytes)?;
        if format > FORMAT {
            return Err(io::Error::other(format!("it has format {format}, and this program knows up to {FORMAT}")));
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Marker, StoreId};

    #[test]
    fn a_marker_comes_back_and_a_newer_one_is_refused_by_its_number() {
        let created = "2026-11-21T00:00:00Z".parse().expect("a time");
        let marker = Marker::new(StoreId::from_random([9; 16]), created, "backup 0.1.0");
        assert_eq!(Marker::parse(marker.encode().as_bytes()).expect("a marker"), marker);
        let newer = Marker::parse(br#"{"format":2,"shape":"unknown"}"#).expect_err("newer");
        assert!(newer.to_string().contains("format 2"), "{newer}");
        for damaged in [&b""[..], b"{", b"{\"format\":1}", b"\xff"] {
            assert!(Marker::parse(damaged).is_err(), "{damaged:?}");
        }
    }
}
