//! Excludes: globs relative to the source, in the way people know from gitignore and rsync.
//!
//! * `*.tmp` matches a name at any depth; `*` never matches a slash.
//! * `/cache`, `cache/x`, `cache/**`: a slash at the beginning or inside ties the pattern to the source's root.
//! * `build/`: a slash at the end makes it match folders only.
//!
//! A folder that matches is not entered. Bytes are matched, so names that are not UTF-8 can match as well.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Compiled patterns.
#[derive(Clone, Debug)]
pub struct Excludes {
    anything: GlobSet,
    folders: GlobSet,
}

/// A pattern that is not one.
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
    ///
    /// # Errors
    /// The first pattern that is none.
    pub fn new(patterns: &[String]) -> Result<Self, ExcludeError> {
        let (mut anything, mut folders) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let refuse = |source| ExcludeError { pattern: pattern.clone(), source };
            let (text, only_folders) = match pattern.strip_suffix('/') {
                Some(text) => (text, true),
                None => (pattern.as_str(), false),
            };
            let tied = text.trim_start_matches("**/").contains('/');
            let text = match text.strip_prefix('/') {
                Some(text) => text.to_owned(),
                None if tied => text.to_owned(),
                None => format!("**/{text}"),
            };
            let glob =
                GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).build().map_err(refuse)?;
            if only_folders {
                folders.add(glob)
            } else {
                anything.add(glob)
            };
        }
        let build = |builder: GlobSetBuilder| {
            builder.build().map_err(|source| ExcludeError { pattern: patterns.join(", "), source })
        };
        Ok(Self { anything: build(anything)?, folders: build(folders)? })
    }

    /// Nothing is excluded.
    pub fn none() -> Self {
        Self { anything: GlobSet::empty(), folders: GlobSet::empty() }
    }

    /// Whether a path relative to its source is left out.
    pub fn matches(&self, relative: &[u8], is_folder: bool) -> bool {
        let path = Path::new(OsStr::from_bytes(relative));
        self.anything.is_match(path) || (is_folder && self.folders.is_match(path))
    }

    /// Whether there is nothing to match, so that paths need not be put together.
    pub fn is_empty(&self) -> bool {
        self.anything.is_empty() && self.folders.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Excludes;

    #[test]
    fn patterns_mean_what_people_expect_of_them() {
        for (pattern, path, folder, matches) in [
            ("*.tmp", "a.tmp", false, true),
            ("*.tmp", "deep/er/a.tmp", false, true),
            ("*.tmp", "a.tmp.gz", false, false),
            ("cache", "a/cache", true, true),
            ("/cache", "cache", true, true),
            ("/cache", "a/cache", true, false),
            ("a/cache", "a/cache", true, true),
            ("a/cache", "b/a/cache", true, false),
            ("cache/**", "cache", true, false),
            ("cache/**", "cache/x/y", false, true),
            ("**/cache", "x/y/cache", false, true),
            ("build/", "a/build", true, true),
            ("build/", "a/build", false, false),
            ("a*c", "ab/c", false, false),
            ("[ab].txt", "b.txt", false, true),
            (r"\*", "*", false, true),
            (r"\*", "x", false, false),
            ("{a,b}.log", "x/b.log", false, true),
        ] {
            let excludes = Excludes::new(&[pattern.to_owned()]).expect("a pattern");
            assert_eq!(excludes.matches(path.as_bytes(), folder), matches, "{pattern} {path}");
        }
        let bytes = Excludes::new(&["*.tmp".to_owned()]).expect("a pattern");
        assert!(bytes.matches(b"\xff\xfe.tmp", false), "names that are not UTF-8 match as well");
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        let error = Excludes::new(&["ok".to_owned(), "[".to_owned()]).expect_err("no pattern");
        assert_eq!(error.pattern, "[");
    }
}
