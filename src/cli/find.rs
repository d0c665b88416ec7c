//! `backup find`: in which snapshots a file is, and in how many versions.

use clap::ValueEnum;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::arguments::{Global, Which};
use super::entries::{entry_json, name_text, put_path, size_text, time_text};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::browse::{Criteria, KindWanted, Pattern, Sighting, find};
use crate::catalog::OpenManifest;
use crate::domain::{ByteCount, Clock, Moment, SnapshotName, SystemClock, Trouble};
use crate::report::counted;
use crate::wiring;

/// Find in which snapshots a file is, and in how many versions
///
/// Looks through all snapshots of the job. PATTERN is a name, or a glob as for excludes: `report.pdf` and `*.pdf`
/// match at any depth, `2019/*.pdf` and `/2019` from the source on, `**/2019/*.pdf` at any depth, `2019/` folders
/// only. With --json every line has the `type` `found`, with `path` (`path_hex` if it is not UTF-8), `versions`, each
/// as `backup ls` has entries and with `first`, `last` and all `snapshots` that hold it, and `missing`: snapshots that
/// tell of it but do not hold it, with `cause` and `why`. Exits with 1 if nothing is found.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// A name, or a glob
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// Look into one snapshot only: its name, the beginning of its name or of its time, or `latest`
    #[arg(long = "in", value_name = "SNAPSHOT")]
    snapshot: Option<String>,
    /// Only files larger than this, such as 10MB
    #[arg(long, value_name = "SIZE")]
    larger: Option<ByteCount>,
    /// Only files smaller than this
    #[arg(long, value_name = "SIZE")]
    smaller: Option<ByteCount>,
    /// Only what was changed at this time or later: 2026-11-20, '2026-11-20 14:00', '3 days ago'
    #[arg(long, value_name = "TIME")]
    newer: Option<String>,
    /// Only what was changed before this time
    #[arg(long, value_name = "TIME")]
    older: Option<String>,
    /// Only this kind
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<KindArgument>,
    #[command(flatten)]
    which: Which,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArgument {
    File,
    Folder,
    Symlink,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let (catalog, names) = match &verb.snapshot {
        Some(snapshot) => {
            let (catalog, name) = which::catalog_of(snapshot, &verb.which, global)?;
            (catalog, vec![name])
        }
        None => {
            let catalog = which::catalog(&verb.which, global)?;
            let names = catalog.snapshots()?;
            (catalog, names)
        }
    };
    let zone = which::zone(&verb.which, global)?;
    let sources = names.last().map(|name| which::sources(&catalog, name)).unwrap_or_default();
    let criteria = criteria(verb, &zone, &sources)?;
    wiring::allow_many_open_files();
    let mut failures: Vec<Failure> = Vec::new();
    let (mut searched, mut manifests): (Vec<SnapshotName>, Vec<OpenManifest>) = (Vec::new(), Vec::new());
    for name in names {
        match catalog.manifest(&name) {
            Ok(manifest) => {
                searched.push(name);
                manifests.push(manifest);
            }
            Err(error) => failures.push(error.into()),
        }
    }
    let names = searched;
    let mut found = 0_u64;
    let mut stream = screen.stream();
    for sighting in find(&manifests, &criteria) {
        let goes_on = match sighting {
            Err((number, error)) => {
                failures.push(catalog.manifest_error(&names[number], error).into());
                true
            }
            Ok(sighting) => {
                found += 1;
                if screen.is_json() {
                    stream.json(&sighting_json(&sighting, &names))
                } else {
                    sighting_lines(&sighting, &names, &zone).iter().all(|line| stream.line(line))
                }
            }
        };
        if !goes_on {
            break;
        }
    }
    stream.finish()?;
    let last_failure = failures.pop();
    failures.iter().for_each(|failure| screen.failure(failure));
    match last_failure {
        Some(failure) => Err(failure),
        None if found == 0 => Err(nothing(verb, names.len())),
        None => Ok(Exit::Ok),
    }
}

fn criteria(verb: &Verb, zone: &TimeZone, sources: &[String]) -> Result<Criteria, Failure> {
    // a path may be pasted as it was on the machine
    let pasted = match sources {
        [source] => verb.pattern.strip_prefix(source.trim_end_matches('/')).filter(|rest| rest.starts_with('/')),
        _ => None,
    };
    let pattern = Pattern::new(pasted.unwrap_or(&verb.pattern)).map_err(|error| Failure {
        exit: Exit::Usage,
        trouble: Trouble {
            what: error.to_string(),
            causes: vec![error.source.to_string()],
            advice:
                "write a name or a glob, such as report.pdf, '*.pdf' or '2019/**'; a backslash takes a sign for itself"
                    .to_owned(),
        },
    })?;
    let now = SystemClock::new().now();
    let moment = |text: &Option<String>| {
        let parsed = text.as_deref().map(|text| Moment::parse(text, now, zone)).transpose();
        parsed.map_err(|error| Failure::usage(error.to_string(), "quote it if it has a space in it"))
    };
    Ok(Criteria {
        pattern,
        larger: verb.larger,
        smaller: verb.smaller,
        newer: moment(&verb.newer)?.map(|moment| moment.first),
        older: moment(&verb.older)?.map(|moment| moment.first),
        kind: verb.kind.map(|kind| match kind {
            KindArgument::File => KindWanted::File,
            KindArgument::Folder => KindWanted::Folder,
            KindArgument::Symlink => KindWanted::Symlink,
        }),
    })
}

fn nothing(verb: &Verb, snapshots: usize) -> Failure {
    let tied = verb.pattern.trim_end_matches('/').contains('/') && !verb.pattern.starts_with("**/");
    let is_filtered = verb.kind.is_some()
        || [&verb.newer, &verb.older].into_iter().any(Option::is_some)
        || [verb.larger, verb.smaller].into_iter().any(|size| size.is_some());
    let advice = if is_filtered {
        "ask without sizes, times and --type to see what has that name".to_owned()
    } else if tied {
        format!(
            "a pattern with a slash begins at the source; '**/{}' matches at any depth",
            verb.pattern.trim_start_matches('/')
        )
    } else {
        format!("a name must be whole: '*{}*' matches parts of names", verb.pattern.trim_matches('*'))
    };
    let what = format!(
        "nothing in {} is what was looked for ({})",
        counted(snapshots as u64, "snapshot"),
        verb.pattern.escape_debug()
    );
    Failure { exit: Exit::Failed, trouble: Trouble { what, causes: Vec::new(), advice } }
}

fn sighting_lines(sighting: &Sighting, names: &[SnapshotName], zone: &TimeZone) -> Vec<String> {
    let newest = names.len() - 1;
    let in_newest = sighting.versions.iter().any(|version| version.held_by.contains(&newest))
        || sighting.missing.iter().any(|(number, _)| *number == newest);
    let shown = match sighting.versions.last() {
        Some(version) => name_text(sighting.path.as_bytes(), &version.entry.kind),
        None => sighting.path.to_string(),
    };
    let mut lines = vec![shown];
    for version in &sighting.versions {
        let (first, last) = (&names[version.held_by[0]], &names[*version.held_by.last().unwrap_or(&0)]);
        let held = match version.held_by.len() {
            1 => format!("in {first}"),
            count => format!("in {count} snapshots, {first} to {last}"),
        };
        lines.push(format!("  {:>9}  {}  {held}", size_text(&version.entry), time_text(version.entry.mtime, zone)));
    }
    for (number, skip) in &sighting.missing {
        lines.push(format!("  missing in {}: it {}", names[*number], skip.cause.words()));
    }
    if !in_newest {
        lines.push(format!("  no such version in the newest, {}", names[newest]));
    }
    lines
}

fn sighting_json(sighting: &Sighting, names: &[SnapshotName]) -> Value {
    let mut object = Map::new();
    object.insert("type".into(), "found".into());
    put_path(&mut object, &sighting.path);
    let versions: Vec<Value> = sighting
        .versions
        .iter()
        .map(|version| {
            let held: Vec<&SnapshotName> = version.held_by.iter().map(|number| &names[*number]).collect();
            let mut version = entry_json(&version.entry);
            version.insert("first".into(), json!(held.first()));
            version.insert("last".into(), json!(held.last()));
            version.insert("snapshots".into(), json!(held));
            version.into()
        })
        .collect();
    let missing: Vec<Value> = sighting
        .missing
        .iter()
        .map(|(number, skip)| json!({"snapshot": names[*number], "cause": skip.cause, "why": skip.why}))
        .collect();
    object.insert("versions".into(), versions.into());
    object.insert("missing".into(), missing.into());
    object.into()
}
