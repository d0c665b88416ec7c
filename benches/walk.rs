//! Micro-benchmark of the walk: listing and looking at 20,000 small files in 200 folders, all of it in memory already.
//!
//! The tree is made in a temporary folder (`TMPDIR` says where): on another file system the figures are others.
#![expect(clippy::disallowed_methods, reason = "a benchmark makes its own tree")]

use std::num::NonZeroUsize;
use std::path::Path;

use backup::domain::EntryPath;
use backup::source::{Descriptors, Item, Root, Walk, WalkOptions};
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

const FOLDERS: u64 = 200;
const FILES: u64 = 100;

#[divan::bench(args = [1, 2])]
fn twenty_thousand_files(bencher: Bencher<'_, '_>, threads: usize) {
    let tree = tempfile::tempdir().expect("a temporary folder");
    for folder in 0..FOLDERS {
        let folder = tree.path().join(format!("{:02}/folder-{folder:03}", folder % 20));
        std::fs::create_dir_all(&folder).expect("a folder");
        for file in 0..FILES {
            std::fs::write(folder.join(format!("file-{file:04}.html")), "some words").expect("a file");
        }
    }
    bencher.counter(ItemsCount::new(FOLDERS * FILES)).bench_local(|| {
        let entries = walk(tree.path(), threads).filter(|item| matches!(item, Item::Entry(_))).count() as u64;
        assert_eq!(entries, FOLDERS * FILES + FOLDERS + 20 + 1);
    });
}

fn walk(tree: &Path, threads: usize) -> Walk {
    let open = NonZeroUsize::new(256).expect("some");
    let root = Root::open(tree, EntryPath::root(), Descriptors::new(open)).expect("a root");
    let options = WalkOptions::everything(NonZeroUsize::new(threads).expect("some"));
    Walk::new(vec![root], options)
}
