//! What of a snapshot is restored.

use crate::domain::EntryPath;
use crate::source::Excludes;

/// No source is walked deeper than 4096 folders, nor to longer paths than this and a name: what lies there was made up.
const DEPTH_MAX: usize = 4100;
const PATH_BYTES_MAX: usize = (16 << 10) + 256;

/// Whether a path goes beyond what a source can have.
pub(super) fn is_beyond(path: &[u8]) -> bool {
    path.len() > PATH_BYTES_MAX || path.iter().filter(|byte| **byte == b'/').count() > DEPTH_MAX
}

/// Paths, and patterns within them.
#[derive(Clone, Debug)]
pub struct Selection {
    /// These and all in them; everything if there are none.
    pub paths: Vec<EntryPath>,
    /// Only what matches, or lies in what matches.
    pub include: Option<Excludes>,
    /// Not what matches, nor what lies in it.
    pub exclude: Excludes,
}

/// What the folders above an entry have settled for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    included: bool,
    excluded: bool,
}

impl Standing {
    /// Whether the entry is restored.
    pub(super) fn is_taken(self) -> bool {
        self.included && !self.excluded
    }
}

impl Selection {
    /// Everything.
    pub fn all() -> Self {
        Self { paths: Vec::new(), include: None, exclude: Excludes::none() }
    }

    /// Whether everything is restored.
    pub fn is_all(&self) -> bool {
        self.paths.is_empty() && self.include.is_none() && self.exclude.is_empty()
    }

    /// What was asked for, for a message.
    pub(super) fn words(&self) -> String {
        let paths: Vec<String> = self.paths.iter().map(|path| format!("`{path}`")).collect();
        match (paths.is_empty(), &self.include) {
            (false, None) => paths.join(", "),
            (false, Some(_)) => format!("the patterns in {}", paths.join(", ")),
            (true, _) if self.is_all() => "everything".to_owned(),
            (true, _) => "the patterns".to_owned(),
        }
    }

    /// Whether it takes this path, which is not a folder.
    pub(super) fn takes(&self, path: &EntryPath) -> bool {
        let mut above: Vec<EntryPath> = std::iter::successors(path.parent(), EntryPath::parent).collect();
        above.reverse();
        let standing = above.iter().fold(Standing::default(), |standing, path| self.stand(path, true, standing));
        self.stand(path, false, standing).is_taken()
    }

    /// Whether it takes this folder.
    pub(super) fn takes_folder(&self, path: &EntryPath) -> bool {
        let mut way: Vec<EntryPath> = std::iter::successors(Some(path.clone()), EntryPath::parent).collect();
        way.reverse();
        way.iter().fold(Standing::default(), |standing, path| self.stand(path, true, standing)).is_taken()
    }

    /// How an entry stands that lies in a folder that stands so.
    pub(super) fn stand(&self, path: &EntryPath, is_folder: bool, above: Standing) -> Standing {
        let within = self.paths.is_empty() || self.paths.iter().any(|wanted| path.is_within(wanted));
        let matched = self.include.as_ref().is_none_or(|include| include.matches(path.as_bytes(), is_folder));
        let excluded = !path.is_root() && self.exclude.matches(path.as_bytes(), is_folder);
        Standing { included: within && (above.included || matched), excluded: above.excluded || excluded }
    }
}

#[cfg(test)]
mod tests {
    use super::Selection;
    use crate::domain::EntryPath;
    use crate::source::Excludes;

    fn taken(selection: &Selection, path: &str) -> bool {
        selection.takes(&EntryPath::parse(path.as_bytes()).expect("a path"))
    }

    #[test]
    fn what_lies_in_a_folder_that_is_taken_is_taken_and_exclusion_wins() {
        let globs = |patterns: &[&str]| {
            Excludes::new(&patterns.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("patterns")
        };
        let path = |text: &str| EntryPath::parse(text.as_bytes()).expect("a path");
        assert!(taken(&Selection::all(), "a/b"));
        let paths = Selection { paths: vec![path("a/b"), path("c")], ..Selection::all() };
        for (text, expected) in [("a/b", true), ("a/b/x/y", true), ("a", false), ("a/bb", false), ("c/d", true)] {
            assert_eq!(taken(&paths, text), expected, "{text}");
        }
        let include = Selection { include: Some(globs(&["*.jpg", "docs/"])), ..Selection::all() };
        for (text, expected) in [("x.jpg", true), ("a/b/y.jpg", true), ("docs/deep/z.txt", true), ("a/z.txt", false)] {
            assert_eq!(taken(&include, text), expected, "{text}");
        }
        let both = Selection { exclude: globs(&["tmp/", "*.log"]), ..paths };
        for (text, expected) in [("a/b/tmp/x", false), ("a/b/x.log", false), ("a/b/x", true), ("z/x", false)] {
            assert_eq!(taken(&both, text), expected, "{text}");
        }
    }
}
