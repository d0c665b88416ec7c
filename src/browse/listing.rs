//! What lies in a folder of a snapshot.
//!
//! The danger is a small answer at a great price: a folder with three children and millions of entries below them is
//! listed without reading the millions.
//!
//! A job with several sources has them under their full paths, and the folders above a source are nowhere in the
//! manifest. They are listed all the same, as folders that are implied.

use crate::archive::manifest::{EntryKind, Line, ManifestError, ManifestReader, OrderedLines, ReadAt};
use crate::domain::EntryPath;

/// How far down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What lies in the folder itself.
    Children,
    /// All below it.
    All,
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// An entry, or a skip: alone for what is missing, after its entry for what is not as it should be.
    Line(Line),
    /// A folder above a source: it is known by its name only.
    Implied(EntryPath),
}

/// What is at a path, and below it.
pub struct Listing<'m, R> {
    /// The lines of the path itself; none for a folder that is implied.
    pub at: Vec<Line>,
    /// What lies below, in order of paths; nothing below what is no folder.
    pub below: Below<'m, R>,
}

impl<R> Listing<'_, R> {
    /// Whether there is a folder at the path, so that what lies below is meant.
    pub fn is_folder(&self) -> bool {
        self.at.is_empty() || self.at.iter().any(is_folder)
    }
}

/// What lies below a folder. The first error ends it.
pub struct Below<'m, R> {
    lines: OrderedLines<'m, R>,
    folder: EntryPath,
    depth: Depth,
    /// The line that came first after those of the folder itself.
    waiting: Option<Line>,
    /// The child that was given last.
    given: Option<EntryPath>,
    failed: bool,
}

/// Lists `path` of a snapshot; none if nothing in it has that path. Of a folder's own lines the folder is not among
/// those below it.
///
/// # Errors
/// If the manifest cannot be read, or is damaged where it must be.
pub fn list<'m, R: ReadAt>(
    manifest: &'m ManifestReader<R>,
    path: &EntryPath,
    depth: Depth,
) -> Result<Option<Listing<'m, R>>, ManifestError<R::Error>> {
    let mut lines = manifest.lines_within(path);
    let mut at = Vec::new();
    let waiting = loop {
        match lines.next().transpose()? {
            Some(line) if line.path() == path => at.push(line),
            other => break other,
        }
    };
    let is_there = !at.is_empty() || waiting.is_some() || path.is_root();
    let below = Below { lines, folder: path.clone(), depth, waiting, given: None, failed: false };
    Ok(is_there.then_some(Listing { at, below }))
}

impl<R: ReadAt> Below<'_, R> {
    fn step(&mut self) -> Result<Option<Listed>, ManifestError<R::Error>> {
        loop {
            let next = match self.waiting.take() {
                Some(line) => Some(line),
                None => self.lines.next().transpose()?,
            };
            let Some(line) = next else { return Ok(None) };
            if self.depth == Depth::All {
                return Ok(Some(Listed::Line(line)));
            }
            let child = child_of(&self.folder, line.path());
            if *line.path() == child {
                // an entry and its skip are two lines of one child; what is below is passed when that begins
                self.given = Some(child);
                return Ok(Some(Listed::Line(line)));
            }
            self.lines.pass(&child)?;
            if self.given.as_ref() != Some(&child) {
                self.given = Some(child.clone());
                return Ok(Some(Listed::Implied(child)));
            }
        }
    }
}

impl<R: ReadAt> Iterator for Below<'_, R> {
    type Item = Result<Listed, ManifestError<R::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let listed = self.step();
        self.failed = !matches!(listed, Ok(Some(_)));
        listed.transpose()
    }
}

/// The child of `folder` that `path` is or lies below.
fn child_of(folder: &EntryPath, path: &EntryPath) -> EntryPath {
    let skip = if folder.is_root() { 0 } else { folder.as_bytes().len() + 1 };
    let rest = path.as_bytes().get(skip..).unwrap_or_default();
    folder.join(rest.split(|b| *b == b'/').next().unwrap_or_default())
}

fn is_folder(line: &Line) -> bool {
    matches!(line, Line::Entry(entry) if entry.kind == EntryKind::Folder)
}

/// So many names of a folder are compared with one that is not there.
const NEAR_LOOKED_AT_MAX: usize = 100_000;

/// Paths that are there and may be meant by one that is not: in the deepest folder of it that is there, the names
/// nearest to the one that is missing. `nearness` of two names is from 0 (nothing in common) to 1 (the same).
///
/// # Errors
/// If the manifest cannot be read, or is damaged where it must be.
pub fn near<R: ReadAt>(
    manifest: &ManifestReader<R>,
    path: &EntryPath,
    nearness: impl Fn(&[u8], &[u8]) -> f64,
) -> Result<Vec<EntryPath>, ManifestError<R::Error>> {
    const NEAR_MIN: f64 = 0.7;
    const NAMED_MAX: usize = 3;
    let mut missing = path.clone();
    let listing = loop {
        let Some(folder) = missing.parent() else { return Ok(Vec::new()) };
        match list(manifest, &folder, Depth::Children)? {
            Some(listing) => break listing,
            None => missing = folder,
        }
    };
    let mut found: Vec<(f64, EntryPath)> = Vec::new();
    for listed in listing.below.take(NEAR_LOOKED_AT_MAX) {
        let Listed::Line(Line::Entry(entry)) = listed? else { continue };
        let near = nearness(entry.path.name(), missing.name());
        if near >= NEAR_MIN {
            found.push((near, entry.path));
            found.sort_by(|a, b| b.0.total_cmp(&a.0));
            found.truncate(NAMED_MAX);
        }
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::model::{World, any_world, names_path, path};
    use super::{Depth, Listed, child_of, list, near};
    use crate::archive::manifest::Line;
    use crate::domain::EntryPath;

    fn at(listed: &Listed) -> EntryPath {
        match listed {
            Listed::Line(line) => line.path().clone(),
            Listed::Implied(path) => path.clone(),
        }
    }

    proptest! {
        #[test]
        fn a_listing_is_what_a_plain_map_has(
            world in any_world(), one in prop::collection::vec(0usize..5, 0..4), text_bytes in 1usize..2000,
        ) {
            let one = names_path(&one);
            let manifest = world.manifest(text_bytes);
            let below: Vec<&EntryPath> = world.lines.keys().filter(|p| p.is_within(&one) && **p != one).collect();
            let there = world.lines.contains_key(&one) || !below.is_empty() || one.is_root();
            let all = list(&manifest, &one, Depth::All).expect("whole");
            let children = list(&manifest, &one, Depth::Children).expect("whole");
            prop_assert_eq!((all.is_some(), children.is_some()), (there, there));
            if let (Some(all), Some(children)) = (all, children) {
                prop_assert_eq!(&all.at, &world.lines_at(&one));
                let lines: Vec<Line> = below.iter().flat_map(|p| world.lines_at(p)).collect();
                let got: Vec<Listed> = all.below.collect::<Result<_, _>>().expect("whole");
                prop_assert_eq!(got, lines.into_iter().map(Listed::Line).collect::<Vec<_>>());
                let got: Vec<Listed> = children.below.collect::<Result<_, _>>().expect("whole");
                let paths: BTreeSet<EntryPath> = below.iter().map(|p| child_of(&one, p)).collect();
                let expected: Vec<Listed> = paths.into_iter().flat_map(|p| match world.lines_at(&p) {
                    none if none.is_empty() => vec![Listed::Implied(p)],
                    lines => lines.into_iter().map(Listed::Line).collect(),
                }).collect();
                prop_assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn the_folders_above_a_source_are_listed_though_no_line_tells_of_them() {
        let world = World::of_files(&["etc", "var/www/upload", "var/www/upload/a", "var/www/other"]);
        let manifest = world.manifest(100);
        let names = |folder: &str| -> Vec<EntryPath> {
            let listing = list(&manifest, &path(folder), Depth::Children).expect("whole").expect("there");
            listing.below.map(|listed| at(&listed.expect("whole"))).collect()
        };
        assert_eq!(names("."), ["etc", "var"].map(path));
        assert_eq!(names("var"), ["var/www"].map(path));
        assert_eq!(names("var/www"), ["var/www/other", "var/www/upload"].map(path));
    }

    #[test]
    fn what_lies_below_the_children_is_not_read() {
        let names: Vec<String> = ["a/large", "a/larger", "b/large"]
            .iter()
            .flat_map(|folder| (0..20_000).map(move |n| format!("{folder}/{n}")))
            .chain(["a/small/x", "a/z"].map(String::from))
            .collect();
        let world = World::of_files(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let (manifest, reads) = world.counted(8 << 10);
        let listing = list(&manifest, &path("a"), Depth::Children).expect("whole").expect("there");
        let found: Vec<EntryPath> = listing.below.map(|listed| at(&listed.expect("whole"))).collect();
        assert_eq!(found, ["a/large", "a/larger", "a/small", "a/z"].map(path));
        let for_children = reads.replace(0);
        let listing = list(&manifest, &path("a"), Depth::All).expect("whole").expect("there");
        assert_eq!(listing.below.count(), 40_002);
        let for_all = reads.get();
        assert!(for_children < 60 && for_all > 500, "{for_children} reads for the children, {for_all} for all");
    }

    #[test]
    fn a_name_that_is_nearly_right_is_known() {
        let world = World::of_files(&["2019/invoice.pdf", "2019/invoices.pdf", "2019/other", "2020/invoice.pdf"]);
        let manifest = world.manifest(100);
        let same =
            |a: &[u8], b: &[u8]| a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len().max(b.len()) as f64;
        let found = near(&manifest, &path("2019/invoice.pdx"), same).expect("whole");
        assert_eq!(found, [path("2019/invoice.pdf")]);
        assert_eq!(near(&manifest, &path("zzz/invoice.pdf"), same).expect("whole"), []);
    }
}
