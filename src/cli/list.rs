//! `backup list`: the snapshots that are there.

use comfy_table::{CellAlignment, Table, presets};

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which::{self, Meant};
use crate::catalog::{Catalog, CatalogError, Record};
use crate::domain::SnapshotName;

/// List snapshots
#[derive(Debug, clap::Args)]
pub struct Verb {
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let mut rows: Vec<(SnapshotName, Result<Record, CatalogError>)> = Vec::new();
    for Meant { store, jobs } in which::meant(&verb.which, global)? {
        for job in jobs {
            let catalog = Catalog::new(std::sync::Arc::clone(&store), job);
            for name in catalog.snapshots()? {
                let record = catalog.record(&name).map(|(record, _)| record);
                rows.push((name, record));
            }
        }
    }
    if screen.is_json() {
        for (name, record) in &rows {
            screen.json(&match record {
                Ok(record) => serde_json::json!({"type": "snapshot", "snapshot": name, "record": record}),
                Err(error) => serde_json::json!({"type": "snapshot", "snapshot": name, "damage": error.to_string()}),
            });
        }
    } else if rows.is_empty() {
        screen.result("There are no snapshots yet.");
    } else {
        screen.result(&table(&rows));
    }
    let damaged = rows.iter().any(|(_, record)| record.is_err());
    Ok(if damaged { Exit::Damage } else { Exit::Ok })
}

fn table(rows: &[(SnapshotName, Result<Record, CatalogError>)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["SNAPSHOT", "OUTCOME", "ENTRIES", "CONTENT", "STORED", "TOOK"]);
    for (name, record) in rows {
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
