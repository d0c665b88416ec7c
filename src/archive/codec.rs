//! Which compression a volume uses.

use serde::{Deserialize, Serialize};

/// How frames are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Zstandard, level 1 to 19.
    Zstd {
        /// 1 to 19; 3 unless configured.
        level: u8,
    },
    /// gzip, level 1 to 12 (libdeflate's scale); opens on anything.
    Gzip {
        /// 1 to 12; 6 unless configured.
        level: u8,
    },
    /// Not at all.
    None,
}

impl Default for Codec {
    fn default() -> Self {
        Self::Zstd { level: 3 }
    }
}

impl Codec {
    /// The ending of a volume's file name, without the leading dot.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Zstd { .. } => "tar.zst",
            Self::Gzip { .. } => "tar.gz",
            Self::None => "tar",
        }
    }
}
