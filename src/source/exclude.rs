//! Excludes. (skeleton)
/// Compiled globs.
#[derive(Clone, Debug)]
pub struct Excludes;
/// A pattern that is not a glob.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is not a pattern")]
pub struct ExcludeError {
    /// The pattern.
    pub pattern: String,
    /// Why.
    #[source]
    pub source: globset::Error,
}
impl Excludes {
    /// Compiles.
    pub fn new(patterns: &[String]) -> Result<Self, ExcludeError> {
        for pattern in patterns {
            globset::Glob::new(pattern).map_err(|source| ExcludeError { pattern: pattern.clone(), source })?;
        }
        Ok(Self)
    }
}
