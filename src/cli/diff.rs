//! `backup diff`: what differs between two snapshots.

use std::ffi::OsString;

use serde_json::{Map, Value, json};

use super::arguments::{Global, Which};
use super::entries::{entry_json, put_path};
use super::exit::{Exit, Failure};
use super::ls::unknown;
use super::screen::Screen;
use super::which;
use crate::archive::manifest::{Entry, EntryKind};
use crate::browse::{Aspect, Change, DiffTotals, Side, diff};
use crate::domain::{ByteCount, SnapshotName};

/// Show what differs between two snapshots
///
/// `+` only in B, `-` only in A, `~` in both and not the same, `?` not known: one of them could not read it. With
/// --json every line has the `type` `change`, with `path` (`path_hex` if it is not UTF-8), `change` (`added`,
/// `removed`, `changed`, `unread`), `before` and `after` as `backup ls` has entries, `aspects` (`type`, `content`,
/// `mode`, `owner`, `mtime`, `xattrs`) and `cause`; the last has the `type` `diff` and counts them. A folder's time is
/// not compared. Exits with 0 whether or not anything differs.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// The earlier: its name, the beginning of its name or of its time, or `latest`
    #[arg(value_name = "A")]
    before: String,
    /// The later
    #[arg(value_name = "B")]
    after: String,
    /// Compare this folder or file only, relative to the source
    #[arg(value_name = "PATH", default_value = ".", hide_default_value = true)]
    path: OsString,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let (catalog, before_name) = which::catalog_of(&verb.before, &verb.which, global)?;
    let after_name = catalog.find(&verb.after)?;
    let path = super::entries::typed_path(&verb.path, &which::sources(&catalog, &after_name))?;
    let (before, after) = (catalog.manifest(&before_name)?, catalog.manifest(&after_name)?);
    let failed = |(side, error)| {
        let name = if side == Side::Before { &before_name } else { &after_name };
        Failure::from(catalog.manifest_error(name, error))
    };
    let mut stream = screen.stream();
    let mut changes = diff(&before, &after, &path).map_err(failed)?;
    for change in changes.by_ref() {
        let change = change.map_err(failed)?;
        let goes_on =
            if screen.is_json() { stream.json(&change_json(&change)) } else { stream.line(&change_line(&change)) };
        if !goes_on {
            return stream.finish().map(|()| Exit::Ok);
        }
    }
    let totals = changes.totals();
    if totals == DiffTotals::default() && !path.is_root() {
        return Err(unknown(&catalog, &after_name, &after, &path));
    }
    // it is the last line: whether anybody listens makes no difference any more
    let _ = if screen.is_json() {
        stream.json(&totals_json(&totals, &before_name, &after_name))
    } else {
        stream.line(&totals_text(&totals))
    };
    stream.finish().map(|()| Exit::Ok)
}

fn change_line(change: &Change) -> String {
    let path = |entry: &Entry| match entry.kind {
        EntryKind::Folder => format!("{}/", entry.path),
        _ => entry.path.to_string(),
    };
    let sized = |entry: &Entry| match entry.kind {
        EntryKind::File => format!("{} ({})", path(entry), ByteCount(entry.size)),
        _ => path(entry),
    };
    match change {
        Change::Added(entry) => format!("+ {}", sized(entry)),
        Change::Removed(entry) => format!("- {}", sized(entry)),
        Change::Changed { before, after, aspects } => {
            let words: Vec<String> = aspects.iter().map(|aspect| aspect_words(*aspect, before, after)).collect();
            format!("~ {} ({})", path(after), words.join(", "))
        }
        Change::Unread { known, unread_in, cause } => {
            let side = if *unread_in == Side::Before { "A" } else { "B" };
            format!("? {} (in {side} it, or a folder above it, {})", path(known), cause.words())
        }
    }
}

fn aspect_words(aspect: Aspect, before: &Entry, after: &Entry) -> String {
    match aspect {
        Aspect::Kind => format!("{} -> {}", before.kind.word(), after.kind.word()),
        Aspect::Content if before.size != after.size => {
            format!("content, {} -> {}", ByteCount(before.size), ByteCount(after.size))
        }
        Aspect::Mode => format!("mode {:04o} -> {:04o}", before.mode, after.mode),
        Aspect::Owner => format!("owner {}:{} -> {}:{}", before.uid, before.gid, after.uid, after.gid),
        Aspect::Content | Aspect::Mtime | Aspect::Xattrs => aspect.word().to_owned(),
    }
}

fn totals_text(totals: &DiffTotals) -> String {
    let mut words = vec![
        format!("{} added ({})", totals.added, totals.added_bytes),
        format!("{} removed ({})", totals.removed, totals.removed_bytes),
        format!("{} changed ({} -> {})", totals.changed, totals.changed_bytes_before, totals.changed_bytes_after),
    ];
    if totals.metadata > 0 {
        words.push(format!("{} with other metadata", totals.metadata));
    }
    if totals.unread > 0 {
        words.push(format!("{} that one of them could not read", totals.unread));
    }
    words.push(format!("{} the same", totals.same));
    words.join(", ")
}

fn change_json(change: &Change) -> Value {
    let mut object = Map::new();
    object.insert("type".into(), "change".into());
    put_path(&mut object, change.path());
    let (word, before, after) = match change {
        Change::Added(entry) => ("added", None, Some(entry)),
        Change::Removed(entry) => ("removed", Some(entry), None),
        Change::Changed { before, after, .. } => ("changed", Some(before), Some(after)),
        Change::Unread { known, unread_in: Side::After, .. } => ("unread", Some(known), None),
        Change::Unread { known, unread_in: Side::Before, .. } => ("unread", None, Some(known)),
    };
    object.insert("change".into(), word.into());
    object.insert("before".into(), before.map(|entry| entry_json(entry)).into());
    object.insert("after".into(), after.map(|entry| entry_json(entry)).into());
    match change {
        Change::Changed { aspects, .. } => {
            let words: Vec<&str> = aspects.iter().map(|aspect| aspect.word()).collect();
            object.insert("aspects".into(), json!(words));
        }
        Change::Unread { cause, .. } => {
            object.insert("cause".into(), json!(cause));
        }
        Change::Added(_) | Change::Removed(_) => {}
    }
    object.into()
}

fn totals_json(totals: &DiffTotals, before: &SnapshotName, after: &SnapshotName) -> Value {
    json!({
        "type": "diff", "before": before, "after": after,
        "added": totals.added, "added_bytes": totals.added_bytes,
        "removed": totals.removed, "removed_bytes": totals.removed_bytes,
        "changed": totals.changed, "changed_bytes_before": totals.changed_bytes_before,
        "changed_bytes_after": totals.changed_bytes_after,
        "metadata": totals.metadata, "unread": totals.unread, "same": totals.same,
    })
}
