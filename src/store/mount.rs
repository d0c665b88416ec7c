//! Mounts. (skeleton)
/// What kind of mount a store requires.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequireMount {
    /// Any place will do.
    #[default]
    No,
    /// Any mounted file system other than the machine's own.
    Any,
    /// NFS of any version.
    Nfs,
    /// SMB/CIFS.
    Cifs,
}
/// One line of mountinfo.
pub struct Mount;
/// What a mount is.
pub struct MountKind;
/// All of mountinfo.
pub struct MountTable;
