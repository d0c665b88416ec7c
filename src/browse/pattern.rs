//! Patterns for paths, in the way that excludes are written.
//!
//! * `report.pdf`, `*.pdf`: without a slash, a name at any depth; `*` never matches a slash.
//! * `2019/*.pdf`, `/2019`: a slash at the beginning or inside ties it to the snapshot's root.
//! * `**/2019/*.pdf`: at any depth after all.
//! * `build/`: a slash at the end makes it match folders only.
//!
//! Bytes are matched, so names that are not UTF-8 can match as well. A pattern tells where in a manifest its matches
//! can lie, so that `2019/*.pdf` does not read the other years.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use crate::domain::EntryPath;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    glob: GlobMatcher,
    only_folders: bool,
    scope: Scope,
}

/// Where what matches can lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a folder or below; the root is everywhere.
    Within(EntryPath),
    /// Nowhere else than there.
    Exactly(EntryPath),
}

/// Text that is not a pattern.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is not a pattern")]
pub struct PatternError {
    /// The text.
    pub pattern: String,
    /// Why.
    #[source]
    pub source: globset::Error,
}

impl Pattern {
    /// Compiles.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let (text, only_folders) = match pattern.strip_suffix('/') {
            Some(text) => (text, true),
            None => (pattern, false),
        };
        let (text, tied) = match text.strip_prefix('/') {
            Some(text) => (text.to_owned(), true),
            None if text.contains('/') => (text.to_owned(), !text.starts_with("**/")),
            None => (format!("**/{text}"), false),
        };
        let glob = GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).build();
        let glob = glob.map_err(|source| PatternError { pattern: pattern.to_owned(), source })?.compile_matcher();
        let scope = if tied { scope_of(&text) } else { Scope::Within(EntryPath::root()) };
        Ok(Self { glob, only_folders, scope })
    }

    /// Whether a path matches.
    pub fn matches(&self, path: &EntryPath, is_folder: bool) -> bool {
        (is_folder || !self.only_folders) && self.may_match(path.as_bytes())
    }

    /// Whether a path's bytes match, if it is of the right kind.
    pub fn may_match(&self, path: &[u8]) -> bool {
        self.glob.is_match(Path::new(OsStr::from_bytes(path)))
    }

    /// Where to look.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

fn scope_of(text: &str) -> Scope {
    let special = |part: &&str| part.contains(['*', '?', '[', ']', '{', '}', '\\']);
    // braces may hold a slash, so nothing after the first special sign counts
    let plain: Vec<&str> = text.split('/').take_while(|part| !special(part)).collect();
    match EntryPath::parse(plain.join("/").as_bytes()) {
        Ok(path) if plain.len() == text.split('/').count() => Scope::Exactly(path),
        Ok(path) => Scope::Within(path),
        Err(_) => Scope::Within(EntryPath::root()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::model::path;
    use super::{Pattern, Scope};
    use crate::domain::EntryPath;

    #[test]
    fn patterns_mean_what_people_expect_of_them() {
        for (pattern, at, is_folder, matches) in [
            ("report.pdf", "report.pdf", false, true),
            ("report.pdf", "deep/er/report.pdf", false, true),
            ("report.pdf", "report.pdf/x", false, false),
            ("report", "report.pdf", false, false),
            ("*.pdf", "a/b.pdf", false, true),
            ("2019/*.pdf", "2019/b.pdf", false, true),
            ("2019/*.pdf", "2019/a/b.pdf", false, false),
            ("2019/*.pdf", "x/2019/b.pdf", false, false),
            ("**/2019/*.pdf", "x/2019/b.pdf", false, true),
            ("2019/**", "2019/a/b", false, true),
            ("/report.pdf", "a/report.pdf", false, false),
            ("2019/", "a/2019", true, true),
            ("2019/", "a/2019", false, false),
            (r"\*", "a/*", false, true),
        ] {
            let compiled = Pattern::new(pattern).expect("a pattern");
            assert_eq!(compiled.matches(&path(at), is_folder), matches, "{pattern} {at}");
        }
        assert!(Pattern::new("*.pdf").expect("a pattern").may_match(b"\xff.pdf"), "not UTF-8");
        assert_eq!(Pattern::new("[").expect_err("no pattern").pattern, "[");
    }

    #[test]
    fn a_pattern_tells_where_to_look() {
        let (within, exactly) = (|p| Scope::Within(path(p)), |p| Scope::Exactly(path(p)));
        for (pattern, scope) in [
            ("x", within(".")),
            ("*", within(".")),
            ("**/a/b", within(".")),
            ("a/b/*.c", within("a/b")),
            ("a/{b/c,d}/e", within("a")),
            ("*/b", within(".")),
            ("/a", exactly("a")),
            ("a/b/", exactly("a/b")),
            ("a/../b", within(".")),
        ] {
            assert_eq!(*Pattern::new(pattern).expect("a pattern").scope(), scope, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn nothing_outside_its_scope_matches(
            pattern in "/?([ab*?{},\\\\/.]|\\*\\*/|\\[a\\]){0,8}",
            parts in prop::collection::vec("[ab.{},]{0,1}[ab]", 0..5),
        ) {
            let at = parts.iter().fold(EntryPath::root(), |at, name| at.join(name.as_bytes()));
            if let Ok(compiled) = Pattern::new(&pattern) && compiled.matches(&at, true) {
                let lies = match compiled.scope() {
                    Scope::Within(folder) => at.is_within(folder),
                    Scope::Exactly(path) => at == *path,
                };
                prop_assert!(lies, "{} matches {} outside {:?}", pattern, at, compiled.scope());
            }
        }
    }
}
