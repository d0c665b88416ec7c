//! `backup show`: what one snapshot is made of.

use std::time::Duration;

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::archive::manifest::Line;
use crate::report::{counted, duration_words};

/// Show what a snapshot is made of
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Its name, the beginning of its name or of its time, or `latest`
    #[arg(value_name = "SNAPSHOT", default_value = "latest")]
    snapshot: String,
    /// Name every entry that is missing in it or not as it should be
    #[arg(long)]
    skipped: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let (catalog, name) = which::catalog_of(&verb.snapshot, &verb.which, global)?;
    let (record, digest) = catalog.record(&name)?;
    if screen.is_json() {
        screen.json(&serde_json::json!({"type": "snapshot", "snapshot": name, "record": record}));
    } else {
        let took = Duration::try_from(record.finished.duration_since(record.started)).unwrap_or_default();
        let mut lines = vec![
            format!("{name}: {}", record.verdict.word()),
            format!("  source    {} on {}", record.made_of(), record.host),
            format!("  begun     {}, took {}", record.started.strftime("%Y-%m-%d %H:%M:%S UTC"), duration_words(took)),
            format!(
                "  holds     {}, {} of content",
                counted(record.totals.entries, "entry"),
                record.totals.content_bytes
            ),
        ];
        for volume in &record.volumes {
            let by = if volume.written_by == name { String::new() } else { format!(", of {}", volume.written_by) };
            lines.push(format!(
                "  volume    {} ({}, {}{by})",
                volume.name,
                crate::domain::ByteCount(volume.size),
                counted(volume.frames, "frame")
            ));
        }
        lines.push(format!("  lies in   {}/{}/{name}", catalog.store().name(), catalog.layout().job()));
        lines.push(format!("  record    {digest}, by {} in run {}", record.tool, record.run));
        if let Some(previous) = &record.previous {
            lines.push(format!("  after     {}", previous.snapshot));
        }
        if record.skipped > 0 {
            lines.push(format!("  skipped   {} (`--skipped` names them)", counted(record.skipped, "entry")));
        }
        lines.extend(record.doubts.iter().map(|doubt| format!("  doubt     {doubt}")));
        screen.result(&lines.join("\n"));
    }
    if verb.skipped {
        let manifest = catalog.manifest(&name)?;
        for line in manifest.lines() {
            let line = line.map_err(|error| catalog.manifest_error(&name, error))?;
            let Line::Skip(skip) = line else { continue };
            if screen.is_json() {
                let skip = crate::domain::Skip { path: skip.path, cause: skip.cause, why: skip.why };
                let mut value = serde_json::to_value(crate::report::SkipRecord::from(&skip)).expect("plain values");
                value["type"] = "skipped".into();
                screen.json(&value);
            } else {
                screen.result(&format!("{}: {}: {}", skip.path, skip.cause.words(), skip.why));
            }
        }
    }
    Ok(Exit::Ok)
}
