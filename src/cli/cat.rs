//! `backup cat`: the content of one file.

use std::ffi::OsString;

use super::arguments::{Global, Which};
use super::entries::typed_path;
use super::exit::{Exit, Failure};
use super::which;
use crate::restore::{RestoreError, content};

/// Print the content of a file in a snapshot
///
/// Reads only the frames in which it lies.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// The snapshot: its name, the beginning of its name or of its time, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    /// The file in it
    #[arg(value_name = "PATH")]
    path: OsString,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global) -> Result<Exit, Failure> {
    let (catalog, name) = which::catalog_of(&verb.snapshot, &verb.which, global)?;
    let path = typed_path(&verb.path, &which::sources(&catalog, &name))?;
    let mut out = std::io::BufWriter::with_capacity(256 << 10, std::io::stdout().lock());
    match content(&catalog, &name, &path, &mut out) {
        Ok(()) => Ok(Exit::Ok),
        // `backup cat … | head`: whoever reads has had enough
        Err(RestoreError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Failed),
        Err(error) => Err(error.into()),
    }
}
