//! A drill: a snapshot restored into a scratch folder and compared with its manifest.
//!
//! Restore and verify do not know each other; here they meet. The scratch folder is made for this and removed again,
//! whatever happens in between; what a crash leaves, the next drill there removes.
//!
//! The danger is a false alarm: what this user or this disk cannot take is told as a failure or a note, never as damage.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::arguments::Global;
use super::exit::{Exit, Failure};
use super::which;
use crate::catalog::{Catalog, CatalogError};
use crate::domain::{Cancel, SnapshotName, Trouble};
use crate::observe::Observer;
use crate::restore::{LossCause, Order, Overwrite, Ownership, RestoreError, Selection, restore};
use crate::source::Excludes;
use crate::verify::{CompareError, Damage, Report, Terms, compare};
use crate::wiring::{Environment, Scratch, sweep};

/// Where drills restore to: what was asked for, else the folder of this machine's state.
pub(super) fn place(scratch: Option<&Path>, global: &Global) -> PathBuf {
    // a configuration that cannot be read was told before, where it is needed
    let settings = which::settings(global).ok().flatten();
    scratch.map_or_else(|| which::state(global, settings.as_ref()).folder().to_owned(), which::absolute)
}

/// Restores the snapshot into a new folder in `place`, compares, and adds what differs to the report.
pub(super) fn drill(
    catalog: &Catalog,
    name: &SnapshotName,
    place: &Path,
    threads: NonZeroUsize,
    cancel: &Cancel,
    observer: &dyn Observer,
    report: &mut Report,
) -> Result<(), Failure> {
    if !report.is_well() {
        report.notes.push("it was not restored, because it is damaged".to_owned());
        return Ok(());
    }
    report.notes.extend(sweep(place).failed.into_iter().map(|why| format!("an earlier drill left something: {why}")));
    let scratch = Scratch::make(place).map_err(|error| {
        let advice = "let this user write there, or give another folder with --scratch";
        failed(format!("no scratch folder could be made in {}: {error}", place.display()), advice)
    })?;
    let done = in_scratch(catalog, name, &scratch.path(), threads, cancel, observer, report);
    let removed = scratch.remove();
    done?;
    Ok(removed?)
}

fn in_scratch(
    catalog: &Catalog,
    name: &SnapshotName,
    to: &Path,
    threads: NonZeroUsize,
    cancel: &Cancel,
    observer: &dyn Observer,
    report: &mut Report,
) -> Result<(), Failure> {
    let is_root = Environment::read().is_root;
    let order = Order {
        to: to.to_owned(),
        selection: Selection { paths: Vec::new(), include: None, exclude: Excludes::none() },
        overwrite: Overwrite::Refuse,
        ownership: if is_root { Ownership::Number } else { Ownership::None },
        privileged: is_root,
        extras: false,
        quick_check: false,
        threads,
    };
    let restored = match restore(catalog, name, &order, cancel, observer) {
        Ok(restored) => restored,
        Err(RestoreError::Stopped(_)) => return Ok(()),
        // a snapshot without entries restores to nothing
        Err(RestoreError::Nothing { .. }) if report.entries == 0 => return Ok(()),
        Err(RestoreError::Damaged { path, why }) => {
            report.add(Damage::of_entry(name.as_str(), path, why));
            return Ok(());
        }
        Err(RestoreError::Contradiction { source }) => {
            report.add(Damage::of(name.as_str(), source.to_string()));
            return Ok(());
        }
        Err(RestoreError::Catalog(error @ CatalogError::Damaged { .. })) => {
            report.add(Damage::of(name.as_str(), error.to_string()));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    for loss in &restored.losses {
        match loss.cause {
            LossCause::Damaged => {
                report.add(Damage::of_entry(name.as_str(), loss.path.clone(), format!("{}: {}", loss.path, loss.why)));
            }
            LossCause::Unwritten => {
                return Err(failed(
                    format!("the scratch folder {} did not take {}: {}", to.display(), loss.path, loss.why),
                    "nothing is known about the snapshot; give another folder with --scratch, or try as another user",
                ));
            }
            // names are refused in archives of others only
            LossCause::NotAsked | LossCause::Refused | LossCause::NotStored | LossCause::NotAsItWas => {}
        }
    }
    // what could not be set cannot be compared either
    let privileged = is_root && restored.notes.is_empty();
    report.notes.extend(restored.notes);
    let terms = Terms { privileged, threads };
    let compared = compare(catalog, name, to, terms, cancel, observer).map_err(|error| match error {
        CompareError::Catalog(error) => error.into(),
        CompareError::Folder(error) => failed(error.to_string(), "give another folder with --scratch"),
    })?;
    if compared.left_out > 0 {
        report.notes.push(format!("{} entries need root to be restored and compared", compared.left_out));
    }
    if !privileged {
        report.notes.push("owners and attributes were not compared: that takes root and a disk that keeps them".into());
    }
    report.damages_count += compared.differences_count - compared.differences.len() as u64;
    for difference in compared.differences {
        let what = format!("restored, {} {}", difference.path, difference.what);
        report.add(Damage::of_entry(name.as_str(), difference.path, what));
    }
    Ok(())
}

fn failed(what: String, advice: &str) -> Failure {
    Failure { exit: Exit::Failed, trouble: Trouble { what, causes: Vec::new(), advice: advice.to_owned() } }
}
