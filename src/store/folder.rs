//! The folder store. (skeleton)
/// Permissions of what is created in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Permissions {
    /// Of files; 0600 unless configured.
    pub file_mode: u32,
    /// Of folders; 0700 unless configured.
    pub dir_mode: u32,
}
impl Default for Permissions {
    fn default() -> Self {
        Self { file_mode: 0o600, dir_mode: 0o700 }
    }
}
/// A store in a folder.
pub struct FolderStore;
