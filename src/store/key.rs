//! Keys: the names of files and folders in a store.
//!
//! Held to what every server takes, eCryptfs and CIFS behind NFS among them: letters, digits, `.`, `_`, `-`, at most
//! 143 bytes a component. So no name of ours ever needs escaping, in a shell or in a message.

use std::fmt;

const COMPONENT_BYTES_MAX: usize = 143;

/// The name of a file or folder in a store: components joined by `/`, none of them `.` or `..`; empty for the top.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

/// Text that is no component of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be a name in a store: 1 to 143 of a-z, A-Z, 0-9, `.`, `_`, `-` are expected")]
pub struct KeyError(pub String);

impl Key {
    /// The store's own folder.
    pub fn top() -> Self {
        Self(String::new())
    }

    /// The key of `name` in this folder.
    ///
    /// # Errors
    /// If `name` is not one component of the allowed characters.
    pub fn join(&self, name: &str) -> Result<Self, KeyError> {
        let good = (1..=COMPONENT_BYTES_MAX).contains(&name.len())
            && !matches!(name, "." | "..")
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !good {
            return Err(KeyError(name.to_owned()));
        }
        Ok(Self(if self.0.is_empty() { name.to_owned() } else { format!("{}/{name}", self.0) }))
    }

    /// The text; empty for the top.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component; empty for the top.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The folder that holds it; none for the top.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default()))
    }

    /// From the top down.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_never_climbs_and_never_needs_escaping() {
        for name in ["", ".", "..", "a/b", "/", "a b", "é", "a\0", "$x", &"x".repeat(144)] {
            assert!(Key::top().join(name).is_err(), "{name:?}");
        }
        for name in [".lease.json", "...", "-", "upload-20261121T020000Z.tar.zst", &"x".repeat(143)] {
            assert!(Key::top().join(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_key_knows_its_folder_and_its_name() {
        let key = Key::top().join("job").and_then(|k| k.join("file")).expect("a key");
        assert_eq!((key.as_str(), key.name()), ("job/file", "file"));
        assert_eq!(key.parent().and_then(|k| k.parent()), Some(Key::top()));
        assert_eq!(Key::top().parent(), None);
        assert_eq!(key.components().collect::<Vec<_>>(), ["job", "file"]);
    }
}
