//! The marker that proves the right disk. (skeleton)
use crate::domain::StoreId;
/// The marker's file name.
pub const MARKER_NAME: &str = ".backup-store.json";
/// What the marker says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Marker {
    /// Format of the store; 1.
    pub format: u32,
    /// The store's id.
    pub id: StoreId,
}
