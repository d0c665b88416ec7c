//! The page: what an onlooker sees of three systems, in every form there is.

#![expect(clippy::disallowed_methods, reason = "tests read and write the project's own files")]

mod api;
mod browser;
mod chromium;
mod html;
mod live;
mod metrics;
#[path = "../site/mod.rs"]
mod site;
mod systems;
#[path = "../daemon/watch.rs"]
mod watch;

use std::fs;
use std::path::PathBuf;

/// A file of the repository.
fn read(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
