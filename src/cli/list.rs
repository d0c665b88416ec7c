//! `backup list`: the snapshots that are there.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which::{self, Meant};
use crate::catalog::{Catalog, CatalogError, Record, Stored, Verification, shared_damage, standing, verdict};
use crate::domain::{Clock, SnapshotName, SystemClock};
use crate::store::StoreError;

/// List snapshots
#[derive(Debug, clap::Args)]
pub struct Verb {
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let mut rows: Vec<Row> = Vec::new();
    for Meant { store, jobs } in which::meant(&verb.which, global)? {
        for job in jobs {
            let catalog = Catalog::new(std::sync::Arc::clone(&store), job);
            let verifications = catalog.verifications()?;
            let names = catalog.snapshots()?;
            let (mut listed, mut records) = (Vec::new(), Vec::new());
            for name in names {
                // one that was removed meanwhile is no longer there to be listed
                if let Some(record) = catalog.record_or_damage(&name)? {
                    listed.push(name);
                    records.push(record);
                }
            }
            let mut files = BTreeMap::new();
            // only then is it worth to ask what they share
            if verifications.values().flat_map(|all| standing(all)).any(|known| !known.is_well()) {
                for name in &listed {
                    match catalog.files_of(&catalog.layout().snapshot(name)) {
                        Ok(found) => files.insert(name.clone(), found),
                        Err(CatalogError::Store(StoreError::NotThere { .. })) => continue,
                        Err(error) => return Err(error.into()),
                    };
                }
            }
            let stored = listed.iter().zip(&records).filter_map(|(name, record)| {
                let stored = Stored { record: record.as_ref().ok(), files: files.get(name)? };
                Some((name.clone(), stored))
            });
            let stored = stored.collect();
            let shared = shared_damage(&stored, &verifications);
            for (name, record) in listed.into_iter().zip(records) {
                let verified = verifications.get(&name).and_then(|all| verdict(all)).cloned();
                let shared = shared.get(&name).and_then(|all| all.first()).map(|damage| damage.found.clone());
                rows.push(Row { name, record, verified, shared });
            }
        }
    }
    if screen.is_json() {
        for Row { name, record, verified, shared } in &rows {
            let mut line = match record {
                Ok(record) => serde_json::json!({"type": "snapshot", "snapshot": name, "record": record}),
                Err(error) => serde_json::json!({"type": "snapshot", "snapshot": name, "damage": error.to_string()}),
            };
            line["verified"] = serde_json::json!(verified);
            line["shared_damage"] = serde_json::json!(shared);
            screen.json(&line);
        }
    } else if rows.is_empty() {
        screen.result("There are no snapshots yet.");
    } else {
        screen.result(&table(&rows, SystemClock::new().now()));
    }
    let damaged = rows.iter().any(|row| row.record.is_err());
    Ok(if damaged { Exit::Damage } else { Exit::Ok })
}

/// A line of the table.
struct Row {
    name: SnapshotName,
    record: Result<Record, CatalogError>,
    /// What its last verification said.
    verified: Option<Verification>,
    /// What one of another snapshot found, in a file that is this one's as well.
    shared: Option<Verification>,
}

/// `deep, 3 d 4 h ago`, `stored 3/10, 0.4 s ago`, `DAMAGED, 2 h 10 min ago`, `DAMAGED with NAME, 5 min ago`, `never`.
fn verified_text(verified: Option<&Verification>, shared: Option<&Verification>, now: jiff::Timestamp) -> String {
    let own = verified.filter(|verified| !verified.is_well() || shared.is_none());
    let Some(verified) = own.or(shared) else { return "never".to_owned() };
    let age = std::time::Duration::try_from(now.duration_since(verified.at)).unwrap_or_default();
    let what = match (verified.is_well(), verified.part) {
        (false, _) if own.is_none() => format!("DAMAGED with {}", verified.snapshot),
        (false, _) => "DAMAGED".to_owned(),
        (true, Some(part)) => format!("{} {}/{}", verified.level.word(), part.number, part.of),
        (true, None) => verified.level.word().to_owned(),
    };
    format!("{what}, {} ago", crate::report::duration_words(age))
}

fn table(rows: &[Row], now: jiff::Timestamp) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["SNAPSHOT", "OUTCOME", "ENTRIES", "CONTENT", "STORED", "TOOK", "VERIFIED"]);
    for Row { name, record, verified, shared } in rows {
        match record {
            Ok(record) => {
                let took = record.finished.duration_since(record.started);
                let verdict = match record.skipped {
                    0 => record.verdict.word().to_owned(),
                    skipped => format!("{} ({skipped} skipped)", record.verdict.word()),
                };
                table.add_row([
                    name.to_string(),
                    verdict,
                    record.totals.entries.to_string(),
                    record.totals.content_bytes.to_string(),
                    record.totals.stored_bytes.to_string(),
                    crate::report::duration_words(std::time::Duration::try_from(took).unwrap_or_default()),
                    verified_text(verified.as_ref(), shared.as_ref(), now),
                ]);
            }
            Err(error) => {
                table.add_row([name.to_string(), format!("DAMAGED: {error}")]);
            }
        }
    }
    for column in 2..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
