//! Mounts: what lies where, from `/proc/self/mountinfo` and `/etc/fstab`, as text.
//!
//! Pure but for the reading of those two files, which never hangs: a dead server hangs every look at its mount, and
//! these two are looked at instead. Formats: proc_pid_mountinfo(5), fstab(5).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a store must be mounted as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequireMount {
    /// Any place will do; the marker alone decides.
    #[default]
    No,
    /// A mounted file system of its own: not the one of `/`, and not one in memory.
    Any,
    /// NFS of any version.
    Nfs,
    /// SMB.
    Cifs,
}

impl RequireMount {
    /// Whether a store may lie on `mount`.
    pub fn permits(&self, mount: &Mount) -> bool {
        match self {
            Self::No => true,
            Self::Any => mount.mount_point != Path::new("/") && mount.kind() != MountKind::Memory,
            Self::Nfs => mount.kind() == MountKind::Nfs,
            Self::Cifs => mount.kind() == MountKind::Cifs,
        }
    }

    /// As a configuration says it.
    pub fn flag(&self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Any => "any",
            Self::Nfs => "nfs",
            Self::Cifs => "cifs",
        }
    }

    /// For people.
    pub fn words(&self) -> &'static str {
        match self {
            Self::No => "any",
            Self::Any => "any but the machine's own disk or memory",
            Self::Nfs => "nfs",
            Self::Cifs => "cifs",
        }
    }
}

/// Families of file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// NFS of any version.
    Nfs,
    /// SMB.
    Cifs,
    /// Gone when the machine stops, or a container's throw-away layer.
    Memory,
    /// Anything else.
    Other,
}

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub mount_point: PathBuf,
    /// For example `nfs4`.
    pub fs_type: String,
    /// For example `nas:/export`.
    pub source: String,
    /// Of the mount and of the file system.
    pub options: Vec<String>,
}

impl Mount {
    /// Its family.
    pub fn kind(&self) -> MountKind {
        match self.fs_type.as_str() {
            "nfs" | "nfs4" => MountKind::Nfs,
            "cifs" | "smb3" | "smbfs" => MountKind::Cifs,
            "tmpfs" | "ramfs" | "overlay" | "devtmpfs" | "proc" | "sysfs" => MountKind::Memory,
            _ => MountKind::Other,
        }
    }

    /// Whether writes may be given up silently when the server is slow: nfs(5) warns of it.
    pub fn is_soft(&self) -> bool {
        self.kind() == MountKind::Nfs && self.options.iter().any(|o| matches!(o.as_str(), "soft" | "softerr"))
    }

    /// For people.
    pub fn words(&self) -> String {
        format!("{} ({} on {})", self.source, self.fs_type, self.mount_point.display())
    }
}

/// All mounts, in the order in which they were mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountTable(Vec<Mount>);

impl MountTable {
    /// From the text of `/proc/self/mountinfo`. Lines that are none are passed over.
    pub fn parse(text: &[u8]) -> Self {
        Self(text.split(|b| *b == b'\n').filter_map(parse_line).collect())
    }

    /// The mount on which an absolute path without links lies. A later mount on the same point hides the earlier.
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        let over = self.0.iter().enumerate().filter(|(_, mount)| path.starts_with(&mount.mount_point));
        over.max_by_key(|(order, mount)| (mount.mount_point.components().count(), *order)).map(|(_, mount)| mount)
    }

    /// Whether something is mounted exactly there.
    pub fn is_mount_point(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount.mount_point == path)
    }
}

/// The mount points that `/etc/fstab` names, but for `/`, swap and those that are not mounted by themselves.
pub fn fstab_mount_points(text: &[u8]) -> Vec<PathBuf> {
    text.split(|b| *b == b'\n')
        .filter_map(|line| {
            let mut fields = fields(line);
            let first = fields.next()?;
            if first.starts_with(b"#") {
                return None;
            }
            let point = path_of(&unescape(fields.next()?));
            (point.is_absolute() && point != Path::new("/")).then_some(point)
        })
        .collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    // 36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let mut before = fields(line);
    let mount_point = path_of(&unescape(before.nth(4)?));
    let mut options = text(before.next()?);
    let mut after = before.skip_while(|field| *field != b"-").skip(1);
    let fs_type = text(after.next()?);
    let source = text(&unescape(after.next()?));
    if let Some(super_options) = after.next() {
        options.push(',');
        options.push_str(&text(super_options));
    }
    let options = options.split(',').map(str::to_owned).collect();
    mount_point.is_absolute().then_some(Mount { mount_point, fs_type, source, options })
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| b.is_ascii_whitespace()).filter(|field| !field.is_empty())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Space, tab, line feed and backslash stand as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let digits = field.get(at + 1..at + 4).filter(|_| field[at] == b'\\');
        let value = digits.and_then(|digits| {
            digits.iter().try_fold(0_u32, |sum, digit| match digit {
                b'0'..=b'7' => Some(sum * 8 + u32::from(digit - b'0')),
                _ => None,
            })
        });
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(field[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;

    use super::{MountKind, MountTable, RequireMount, fstab_mount_points};

    const INFO: &[u8] = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        30 22 0:40 / /mnt/nas rw,relatime shared:5 master:2 - nfs4 nas:/export rw,vers=4.2,soft,addr=10.0.0.1\n\
        31 22 0:41 / /mnt/with\\040space rw - cifs //nas/share rw\n\
        32 22 0:42 / /scratch rw - tmpfs none rw\n\
        33 30 0:43 / /mnt/nas rw - ext4 /dev/vdb rw\n";

    #[test]
    fn a_path_lies_on_the_deepest_mount_and_there_on_the_last() {
        let table = MountTable::parse(INFO);
        let on = |path: &str| table.of(Path::new(path)).map(|m| (m.fs_type.as_str(), m.kind()));
        assert_eq!(on("/var"), Some(("ext4", MountKind::Other)));
        assert_eq!(on("/mnt/nasty"), Some(("ext4", MountKind::Other)), "a neighbour with the same beginning");
        assert_eq!(on("/mnt/with space/x"), Some(("cifs", MountKind::Cifs)));
        assert_eq!(table.of(Path::new("/mnt/nas/x")).map(|m| m.source.as_str()), Some("/dev/vdb"), "mounted over");
    }

    #[test]
    fn a_requirement_permits_its_kind_and_nothing_else() {
        let table =
            MountTable::parse(INFO.strip_suffix(b"33 30 0:43 / /mnt/nas rw - ext4 /dev/vdb rw\n").expect("last"));
        let permits = |require: RequireMount, path: &str| require.permits(table.of(Path::new(path)).expect("a mount"));
        for (require, root, nas, cifs, memory) in [
            (RequireMount::No, true, true, true, true),
            (RequireMount::Any, false, true, true, false),
            (RequireMount::Nfs, false, true, false, false),
            (RequireMount::Cifs, false, false, true, false),
        ] {
            let found = ["/x", "/mnt/nas/x", "/mnt/with space", "/scratch"].map(|path| permits(require.clone(), path));
            assert_eq!(found, [root, nas, cifs, memory], "{require:?}");
        }
        assert!(table.of(Path::new("/mnt/nas")).expect("a mount").is_soft());
        assert!(!table.of(Path::new("/")).expect("a mount").is_soft());
    }

    #[test]
    fn fstab_names_its_mount_points() {
        let text = b"# comment\nUUID=1 / ext4 defaults 0 1\nnas:/e /mnt/with\\040space nfs hard 0 0\n\nswap none swap sw 0 0\n";
        assert_eq!(fstab_mount_points(text), [PathBuf::from("/mnt/with space")]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in prop::collection::vec(any::<u8>(), 0..300), line in "[0-9 /a\\\\:-]{0,80}") {
            for bytes in [&text[..], line.as_bytes()] {
                let table = MountTable::parse(bytes);
                prop_assert!(table.of(Path::new("relative")).is_none());
                let _ = fstab_mount_points(bytes);
            }
        }
    }
}
