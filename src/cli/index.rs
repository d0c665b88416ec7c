//! `backup index`: a snapshot's manifest and record, made anew from its volumes.

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::domain::{Clock, SystemClock};
use crate::index::{IndexError, index};
use crate::report::counted;
use crate::wiring;

/// Make a snapshot's manifest and record anew, from its volumes
///
/// For a snapshot whose small files are lost or damaged and whose tarballs are sound. What only the manifest
/// knew (what the run could not read) stays lost, and the record says so: the snapshot is partial, and held, or retention
/// would remove it. The folder as it was goes to the trash, where the hold keeps it too: `backup release` ends that.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Its name, the beginning of its name or of its time, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    /// Do it even if the manifest and the record can be read
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let (catalog, name) = which::catalog_of(&verb.snapshot, &verb.which, global)?;
    let is_sound = catalog.record(&name).is_ok()
        && catalog.sums(&name).is_ok()
        && catalog.manifest(&name).is_ok_and(|manifest| manifest.lines().all(|line| line.is_ok()));
    if is_sound && !verb.force {
        return Err(Failure::usage(
            format!("the manifest and the record of {name} can be read"),
            "`backup verify` tells whether they are sound; --force makes them anew all the same",
        ));
    }
    let now = SystemClock::new().now();
    let claim = wiring::claim(now, which::lease_term(&verb.which, global));
    let indexed = index(&catalog, &name, claim, &wiring::tool(), now)?;
    if screen.is_json() {
        screen.json(&serde_json::json!({
            "type": "indexed", "snapshot": name, "entries": indexed.entries, "volumes": indexed.volumes,
            "doubts": indexed.doubts, "held": indexed.hold.why,
        }));
    } else {
        let mut lines = vec![format!(
            "{name}: {} in {}",
            counted(indexed.entries, "entry"),
            counted(indexed.volumes as u64, "volume")
        )];
        lines.extend(indexed.doubts.iter().map(|doubt| format!("  note      {doubt}")));
        lines.push(format!("  held      until `backup release {name}`: {}", indexed.hold.why));
        lines.push("  trash     the folder as it was: `backup undelete` shows it".to_owned());
        screen.result(&lines.join("\n"));
    }
    Ok(Exit::Ok)
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Catalog(error) => error.into(),
            IndexError::Volume { .. } => Self::of(Exit::Damage, &error),
            IndexError::NoVolumes { .. } | IndexError::Twice { .. } => Self::of(Exit::Failed, &error),
        }
    }
}
