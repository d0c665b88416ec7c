//! `backup ls`: what is in a folder of a snapshot.

use std::ffi::OsString;

use super::arguments::{Global, Which};
use super::entries::{entry_json, long_line, name_text, put_path, typed_path};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::archive::manifest::{Line, SkipLine};
use crate::browse::{Depth, Listed, hiding, list, near};
use crate::catalog::{Catalog, OpenManifest};
use crate::domain::{EntryPath, Shown, SnapshotName};

/// List what is in a folder of a snapshot
///
/// Reads the manifest only, and of it only what is needed. With --json every line has the `type` `entry`, with `path`
/// (`path_hex` if it is not UTF-8), `kind`, `mode`, `uid`, `gid`, `user`, `group`, `mtime` (seconds and nanoseconds)
/// and, of files, `size` and `sha256`, of links `target`; or the `type` `skipped`, with `path`, `cause` and `why`, for
/// what is missing or not as it should be. A folder above one of several sources has `path` and `kind` only.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Its name, the beginning of its name or of its time, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    /// A folder or file in it, relative to the source; default: the source
    #[arg(value_name = "PATH", default_value = ".", hide_default_value = true)]
    path: OsString,
    /// Show permissions, owner, size and time as well
    #[arg(long, short)]
    long: bool,
    /// Show everything below, with whole paths
    #[arg(long, short = 'R')]
    recursive: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let (catalog, name) = which::catalog_of(&verb.snapshot, &verb.which, global)?;
    let zone = which::zone(&verb.which, global)?;
    let path = typed_path(&verb.path, &which::sources(&catalog, &name))?;
    let manifest = catalog.manifest(&name)?;
    let failed = |error| Failure::from(catalog.manifest_error(&name, error));
    let depth = if verb.recursive { Depth::All } else { Depth::Children };
    let Some(listing) = list(&manifest, &path, depth).map_err(failed)? else {
        return Err(unknown(&catalog, &name, &manifest, &path));
    };
    let mut skipped = 0_u64;
    let mut stream = screen.stream();
    // a folder's own lines are not among what is in it, but what was not read of it is
    let own = if listing.is_folder() {
        listing.at.into_iter().filter(|line| matches!(line, Line::Skip(_))).collect()
    } else {
        listing.at
    };
    for listed in own.into_iter().map(|line| Ok(Listed::Line(line))).chain(listing.below) {
        let listed = listed.map_err(failed)?;
        let shown = |at: &EntryPath| {
            let whole = verb.recursive || *at == path;
            if whole { at.as_bytes().to_vec() } else { at.name().to_vec() }
        };
        let goes_on = match listed {
            Listed::Line(Line::Skip(skip)) => {
                skipped += 1;
                match (screen.is_json(), verb.long) {
                    (true, _) => stream.json(&skip_json(&skip)),
                    (false, true) => stream.line(&format!(
                        "skipped: {}: {}: {}",
                        skip.path,
                        skip.cause.words(),
                        Shown(skip.why.as_bytes())
                    )),
                    (false, false) => true,
                }
            }
            Listed::Line(Line::Entry(entry)) if screen.is_json() => {
                let mut object = entry_json(&entry);
                object.insert("type".into(), "entry".into());
                put_path(&mut object, &entry.path);
                stream.json(&object.into())
            }
            Listed::Line(Line::Entry(entry)) if verb.long => {
                stream.line(&long_line(&entry, &shown(&entry.path), &zone))
            }
            Listed::Line(Line::Entry(entry)) => match entry.kind {
                crate::archive::manifest::EntryKind::Folder => {
                    stream.line(&name_text(&shown(&entry.path), &entry.kind))
                }
                _ => stream.line(&Shown(&shown(&entry.path)).to_string()),
            },
            Listed::Implied(at) if screen.is_json() => {
                let mut object = serde_json::Map::new();
                object.insert("type".into(), "entry".into());
                object.insert("kind".into(), "folder".into());
                put_path(&mut object, &at);
                stream.json(&object.into())
            }
            Listed::Implied(at) => stream.line(&format!("{}/", Shown(&shown(&at)))),
        };
        if !goes_on {
            break;
        }
    }
    stream.finish()?;
    if skipped > 0 && !verb.long {
        screen.note(&format!(
            "entries skipped here, missing in the snapshot or not as they should be: {skipped}; \
             `backup show {name} --skipped` names them"
        ));
    }
    Ok(Exit::Ok)
}

fn skip_json(skip: &SkipLine) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    object.insert("type".into(), "skipped".into());
    object.insert("cause".into(), serde_json::json!(skip.cause));
    object.insert("why".into(), skip.why.clone().into());
    put_path(&mut object, &skip.path);
    object.into()
}

/// Why a path is not there, and what may be meant.
pub(super) fn unknown(catalog: &Catalog, name: &SnapshotName, manifest: &OpenManifest, path: &EntryPath) -> Failure {
    let failed = |error| Failure::from(catalog.manifest_error(name, error));
    let looked = hiding(manifest, path).and_then(|hidden| {
        let alike = |a: &[u8], b: &[u8]| strsim::jaro(&String::from_utf8_lossy(a), &String::from_utf8_lossy(b));
        Ok((hidden, near(manifest, path, alike)?))
    });
    let (hidden, near) = match looked {
        Ok(looked) => looked,
        Err(error) => return failed(error),
    };
    let search = format!("`backup find '{}'` shows which snapshots have it", Shown(path.name()));
    let advice = match near.as_slice() {
        [] => search,
        near => {
            let names: Vec<String> = near.iter().map(|path| format!("`{path}`")).collect();
            format!("did you mean {}? {search}", names.join(" or "))
        }
    };
    let what = match hidden {
        Some(skip) => format!("{path} is not in {name}: {} {} when that was made", skip.path, skip.cause.words()),
        None => format!("{path} is not in {name}"),
    };
    Failure { exit: Exit::Failed, trouble: crate::domain::Trouble { what, causes: Vec::new(), advice } }
}
