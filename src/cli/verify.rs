//! `backup verify`: whether snapshots still are what they were.

use std::num::NonZeroUsize;

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which::{self, Meant};
use crate::catalog::Catalog;
use crate::domain::{Cancel, SnapshotName, Stop};
use crate::verify::{Options, Report, verify};
use crate::wiring;

/// Check that a snapshot still is what it was
///
/// Reads every stored byte and compares it with the checksums that were published with it, frame by frame.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Its name, the beginning of its name or of its time, or `latest`
    #[arg(value_name = "SNAPSHOT", default_value = "latest", conflicts_with = "all")]
    snapshot: String,
    /// All snapshots, of all jobs unless --job is given
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let mut work: Vec<(Catalog, SnapshotName)> = Vec::new();
    if verb.all {
        for Meant { store, jobs } in which::meant(&verb.which, global)? {
            for job in jobs {
                let catalog = Catalog::new(std::sync::Arc::clone(&store), job);
                work.extend(catalog.snapshots()?.into_iter().map(|name| (catalog.clone(), name)));
            }
        }
    } else {
        work.push(which::catalog_of(&verb.snapshot, &verb.which, global)?);
    }
    let cancel = Cancel::new();
    wiring::watch_signals(&cancel);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut exit = Exit::Ok;
    for (catalog, name) in work {
        let progress = screen.progress();
        let report = verify(&catalog, &name, Options { threads }, &cancel, &*progress)?;
        drop(progress);
        match cancel.asked() {
            Some(Stop::Interrupted) => return Ok(Exit::Interrupted),
            Some(Stop::Terminated) => return Ok(Exit::Terminated),
            None => {}
        }
        show(&report, screen);
        if !report.is_well() {
            exit = Exit::Damage;
        }
    }
    Ok(exit)
}

fn show(report: &Report, screen: &Screen) {
    if screen.is_json() {
        let damages: Vec<_> = report
            .damages
            .iter()
            .map(|damage| {
                let entries: Vec<String> = damage.entries.iter().map(ToString::to_string).collect();
                serde_json::json!({
                    "file": damage.file, "what": damage.what, "frame": damage.frame,
                    "entries": entries, "entries_count": damage.entries_count,
                })
            })
            .collect();
        screen.json(&serde_json::json!({
            "type": "verified", "snapshot": report.snapshot, "level": "stored", "well": report.is_well(),
            "bytes": report.bytes, "frames": report.frames, "entries": report.entries, "damages": damages,
        }));
        return;
    }
    if report.is_well() {
        screen.result(&format!(
            "{}: well ({} read, {} frames, {} entries)",
            report.snapshot, report.bytes, report.frames, report.entries
        ));
        return;
    }
    use std::io::Write;
    let mut err = anstream::stderr();
    let _ = writeln!(err, "{}: DAMAGED", report.snapshot);
    for damage in &report.damages {
        let _ = writeln!(err, "  {}: {}", damage.file, damage.what);
        if damage.entries_count > 0 {
            let _ = writeln!(err, "    {} entries lie in it:", damage.entries_count);
            for path in &damage.entries {
                let _ = writeln!(err, "      {path}");
            }
            let more = damage.entries_count - damage.entries.len() as u64;
            if more > 0 {
                let _ = writeln!(err, "      and {more} more");
            }
        }
    }
    let _ = writeln!(
        err,
        "  do: check the store's disk; everything that is not named here can still be restored; run the job again for a sound snapshot"
    );
}
