//! Keys: the names of files and folders in a store. (skeleton)
/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);
/// Not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a key")]
pub struct KeyError(pub String);
impl Key {
    /// The store's own folder.
    pub fn top() -> Self {
        Self(String::new())
    }
    /// The key of `name` in this folder. Components: 1 to 143 bytes of [A-Za-z0-9._-], not `.` or `..`.
    pub fn join(&self, name: &str) -> Result<Self, KeyError> {
        let good = (1..=143).contains(&name.len())
            && !matches!(name, "." | "..")
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !good {
            return Err(KeyError(name.to_owned()));
        }
        Ok(Self(if self.0.is_empty() { name.to_owned() } else { format!("{}/{name}", self.0) }))
    }
    /// Components joined by `/`; empty for the top.
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
}
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
