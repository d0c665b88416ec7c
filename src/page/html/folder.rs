//! A folder of a snapshot: where one is, what lies in it, and a way to each file.

use super::frame::document;
use super::pieces::{Tone, nothing, on, pill, table};
use super::{Html, el};
use crate::domain::{ByteCount, EntryPath, Kind, Shown};
use crate::page::links::{browse_url, download_url};
use crate::page::view::{EntryView, FolderView, View};
use crate::page::words;

/// The page at `/browse/SNAPSHOT?path=…`, for those who are signed in.
pub fn folder(view: &View, folder: &FolderView) -> String {
    let title = if folder.path.is_root() { folder.snapshot.to_string() } else { name(&folder.path) };
    let mut main = vec![trail(folder), el("h1", &[], title.as_str())];
    main.push(el("p", &[("class", "lead")], lead(folder, view)));
    if folder.entries.is_empty() {
        main.push(el("p", &[], "There is nothing in it."));
    } else {
        let rows = folder.entries.iter().map(|entry| row(folder, entry, view)).collect();
        main.push(table("What lies in it", &["Name", "Kind", "Size", "Changed", "Content"], rows));
    }
    if folder.more > 0 {
        let what = words::count(folder.more, "more entry is", "more entries are");
        let text = format!("{what} not shown here; `backup ls {}` lists them all.", folder.snapshot);
        main.push(el("p", &[("class", "small")], super::pieces::prose(&text)));
    }
    let again = browse_url(&folder.snapshot, &folder.path);
    document(
        &format!("{title} · backup {}", view.instance),
        view,
        Some(&again),
        el("section", &[("class", "browse")], main),
    )
}

fn lead(folder: &FolderView, view: &View) -> Html {
    let made = words::moment(folder.snapshot.at(), &view.zone);
    let count = words::count(folder.entries.len() as u64 + folder.more, "entry", "entries");
    format!("{count}, as it was on {made}").into()
}

/// Breadcrumbs: the front page, the snapshot, each folder above, this one.
fn trail(folder: &FolderView) -> Html {
    let mut above = Vec::new();
    let mut at = folder.path.parent();
    while let Some(path) = at {
        at = path.parent();
        above.push(path);
    }
    let mut items = vec![el("li", &[], el("a", &[("href", "/")], "All jobs"))];
    items.extend(above.iter().rev().map(|path| {
        let text = if path.is_root() { folder.snapshot.to_string() } else { name(path) };
        el("li", &[], el("a", &[("href", &browse_url(&folder.snapshot, path))], text))
    }));
    let here = if folder.path.is_root() { folder.snapshot.to_string() } else { name(&folder.path) };
    items.push(el("li", &[], el("span", &[("aria-current", "page")], here)));
    el("nav", &[("aria-label", "Where you are"), ("class", "trail")], el("ol", &[], items))
}

fn row(folder: &FolderView, entry: &EntryView, view: &View) -> Vec<Html> {
    let text = name(&entry.path);
    let is_folder = entry.kind == Some(Kind::Folder);
    let shown = if is_folder { format!("{text}/") } else { text };
    let mut first: Vec<Html> = vec![if is_folder {
        el("a", &[("href", &browse_url(&folder.snapshot, &entry.path))], shown)
    } else {
        shown.into()
    }];
    if let Some(target) = &entry.target {
        first.push(el("span", &[("class", "small")], format!(" → {}", Shown(target))));
    }
    if let Some(why) = &entry.skipped {
        let word = if entry.kind.is_none() { "missing" } else { "not as it should be" };
        first.push(el("p", &[("class", "small")], [pill(Tone::Notable, word), " ".into(), why.as_str().into()]));
    }
    let is_file = entry.kind == Some(Kind::File);
    vec![
        el("span", &[("class", "name")], first),
        entry.kind.map_or_else(nothing, |kind| kind.word().into()),
        if is_file { ByteCount(entry.bytes).to_string().into() } else { nothing() },
        entry.modified.map_or_else(nothing, |at| on(at, view)),
        if is_file {
            let hint = format!("Download {}", name(&entry.path));
            el("a", &[("href", &download_url(&folder.snapshot, &entry.path)), ("aria-label", &hint)], "Download")
        } else {
            nothing()
        },
    ]
}

/// The last part of a path, as a person may see it.
fn name(path: &EntryPath) -> String {
    Shown(path.name()).to_string()
}
