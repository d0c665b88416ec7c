//! `backup verify`: whether snapshots still are what they were.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::against;
use super::arguments::{Global, Which};
use super::drill;
use super::exit::{Exit, Failure};
use super::junit::{self, Case};
use super::screen::Screen;
use super::which::{self, Meant};
use crate::catalog::{Catalog, CatalogError, TOOL, Verification};
use crate::domain::{Cancel, Clock, Level, Part, Percent, SnapshotName, Stop, SystemClock, Trouble};
use crate::report::{counted, tell};
use crate::verify::{Known, Options, Report, verify};
use crate::wiring;

/// Check that a snapshot still is what it was
///
/// Reads every stored byte and compares it with the checksums that were published with it, frame by frame; more or less
/// than that with --quick, --deep and --drill, and other than that with --against-source. What is damaged is named: the
/// frame, the files in it, and the other snapshots that hold the same volume.
#[derive(Debug, clap::Args)]
#[command(after_long_help = JSON_HELP)]
pub struct Verb {
    /// Its name, the beginning of its name or of its time, or `latest`
    #[arg(value_name = "SNAPSHOT", default_value = "latest", conflicts_with = "all")]
    snapshot: String,
    /// All snapshots, of all jobs unless --job is given; a volume that several of them hold is read once
    #[arg(long)]
    all: bool,
    /// Names, sizes, records and manifests only: nothing is missing or cut
    #[arg(long, conflicts_with_all = ["deep", "drill"])]
    quick: bool,
    /// Decompress everything too: every header and every file's sha256 against the manifest, and nothing besides
    #[arg(long, conflicts_with = "drill")]
    deep: bool,
    /// Restore it into a scratch folder too, and compare that with the manifest
    #[arg(long)]
    drill: bool,
    /// Where a drill restores to, in a folder of its own that is removed again; default: beside the state
    #[arg(long, value_name = "DIR", requires = "drill")]
    scratch: Option<PathBuf>,
    /// Only this share of the frames, another one each time: 10% has seen everything after ten times
    #[arg(long, value_name = "PERCENT", conflicts_with_all = ["quick", "drill"])]
    sample: Option<Percent>,
    /// Write a report that CI systems read, with a test case for each snapshot, and an error for one that could not be
    /// verified to its end; a file of this name is replaced
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Compare it with its source as it is now, reading every file of both: the folders and excludes of the job's
    /// configuration, or those of --source and --exclude. Differences are told, and are no damage
    #[arg(long, conflicts_with_all = ["all", "quick", "deep", "drill", "sample", "junit"])]
    against_source: bool,
    /// With --against-source: a folder that the snapshot was made of; may be given several times
    #[arg(long, value_name = "DIR", requires = "against_source")]
    source: Vec<PathBuf>,
    /// With --source: leave out what matches this pattern, as the run did; may be given several times
    #[arg(long, value_name = "GLOB", requires = "source")]
    exclude: Vec<String>,
    #[command(flatten)]
    which: Which,
}

const JSON_HELP: &str = "With --json a line for each snapshot, of `type` verified: `snapshot`, `level` (quick, stored, deep or drill), `part` \
(with --sample: {number, of}), `well`, `bytes` read, `frames` compared, `entries` of the manifest, `volumes_known` (read before, with another snapshot), `damages` \
(each with `file`, `what`, `frame`, the first `entries` in it, `entries_count`, `shared_with`: other snapshots), `damages_count`, `notes`. \
One that is removed meanwhile has a line of `type` removed: `snapshot`.\n\n\
With --against-source a line for each entry that differs, of `type` difference: `path` (`path_hex` if it is not UTF-8), `change` (added, removed, \
content, metadata, rot, unread), `what` (words, one for each thing that differs); the last line has the `type` compared: `snapshot`, `sources`, `same_source` \
(whether they are the folders that the snapshot was made of), the counts `added`, `removed`, `content`, `metadata`, `rot`, `unread`, `same`, and `bytes` that were read. \
Of the store it reads the manifest and the maps of sparse files only, and it remembers nothing.\n\n\
Exit status: 0 all is well, 4 damage or, in a drill, a difference. What was verified is remembered in the store; `backup list` shows it. \
With --against-source: 0 nothing differs, 3 something differs or could not be read, 4 a file holds other bytes although its length, mtime and ctime are as they were \
(rot of the source, or a forged time), 1 they could not be compared.";

impl Verb {
    fn level(&self) -> Level {
        match (self.quick, self.deep, self.drill) {
            (true, ..) => Level::Quick,
            (_, true, _) => Level::Deep,
            (.., true) => Level::Drill,
            _ => Level::Stored,
        }
    }
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    if verb.against_source {
        let asked = against::Asked { sources: &verb.source, exclude: &verb.exclude };
        return against::run(&verb.snapshot, &asked, &verb.which, global, screen);
    }
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
    wiring::watch_signals_twice(&cancel);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let known = Known::default();
    let clock = SystemClock::new();
    let mut exit = Exit::Ok;
    let mut cases = Vec::new();
    let mut failed = None;
    for (catalog, name) in work {
        let begun = clock.since_start();
        let looked = look(verb, global, screen, &catalog, &name, threads, &known, &cancel);
        let looked = looked.and_then(|mut report| {
            match &mut report {
                Some(report) if cancel.asked().is_none() => remember(&catalog, report, clock.now())?,
                None => {
                    if screen.is_json() {
                        screen.json(&serde_json::json!({"type": "removed", "snapshot": name}));
                    }
                    // whoever named it wants to know of it
                    if !verb.all {
                        return Err(removed(&name));
                    }
                }
                Some(_) => {}
            }
            Ok(report)
        });
        let case = |damages, notes, error| Case {
            snapshot: name.to_string(),
            job: catalog.layout().job().to_string(),
            level: verb.level().word(),
            took: clock.since_start().saturating_sub(begun),
            damages,
            notes,
            error,
        };
        match looked {
            Ok(None) => {
                let note = format!("{name}: it was removed meanwhile");
                screen.note(&note);
                cases.push(case(Vec::new(), vec![note], None));
            }
            Ok(Some(report)) if cancel.asked().is_none() => {
                show(&report, screen);
                if !report.is_well() {
                    exit = Exit::Damage;
                }
                cases.push(case(damages(&report), report.notes, None));
            }
            // what was found until then is true all the same
            Ok(Some(report)) => {
                let why = "it was stopped before all was looked at".to_owned();
                cases.push(case(damages(&report), report.notes, Some(why)));
                failed = Some(Err(match cancel.asked() {
                    Some(Stop::Interrupted) => Exit::Interrupted,
                    _ => Exit::Terminated,
                }));
                break;
            }
            Err(failure) => {
                cases.push(case(Vec::new(), Vec::new(), Some(tell(&failure.trouble))));
                failed = Some(Ok(failure));
                break;
            }
        }
    }
    let written = verb.junit.as_ref().map_or(Ok(()), |path| junit::write(path, &cases));
    match (failed, written) {
        (None, written) if exit != Exit::Damage => written.map(|()| exit),
        // what ended it, and damage, are the greater news
        (failed, written) => {
            if let Err(failure) = written {
                screen.failure(&failure);
            }
            match failed {
                Some(Ok(failure)) => Err(failure),
                Some(Err(stopped)) => Ok(stopped),
                None => Ok(exit),
            }
        }
    }
}

/// Verifies one snapshot, and restores it if that was asked for. None if it was removed meanwhile.
#[expect(clippy::too_many_arguments, reason = "the steps of one command share all of it, and none of it outlives them")]
fn look(
    verb: &Verb,
    global: &Global,
    screen: &Screen,
    catalog: &Catalog,
    name: &SnapshotName,
    threads: NonZeroUsize,
    known: &Known,
    cancel: &Cancel,
) -> Result<Option<Report>, Failure> {
    let part = verb.sample.map(|percent| next_part(catalog, name, verb.level(), percent)).transpose()?;
    let options = Options { level: verb.level(), part, threads };
    let progress = screen.progress();
    let mut report = match verify(catalog, name, &options, known, cancel, &*progress) {
        Err(CatalogError::NoSnapshot { .. }) => return Ok(None),
        other => other?,
    };
    if verb.drill && cancel.asked().is_none() {
        let place = drill::place(verb.scratch.as_deref(), global);
        let was_well = report.is_well();
        let drilled = drill::drill(catalog, name, &place, threads, cancel, &*progress, &mut report);
        // every stored byte was well: what is amiss now may be amiss because it is gone
        if was_well && (drilled.is_err() || !report.is_well()) && !catalog.snapshots()?.contains(name) {
            return Ok(None);
        }
        drilled?;
    }
    Ok(Some(report))
}

fn removed(name: &SnapshotName) -> Failure {
    Failure {
        exit: Exit::Failed,
        trouble: Trouble {
            what: format!("{name} was removed while it was verified, so nothing is known of it"),
            causes: Vec::new(),
            advice: "`backup list` shows the snapshots that are there, `backup undelete` those that can be taken back"
                .to_owned(),
        },
    }
}

/// The part of a snapshot whose turn it is.
fn next_part(catalog: &Catalog, name: &SnapshotName, level: Level, percent: Percent) -> Result<Part, CatalogError> {
    let known = catalog.verifications()?;
    let samples = known.get(name).into_iter().flatten().filter(|known| known.level == level);
    Ok(Part::after(samples.filter_map(|known| known.part).next_back(), percent))
}

/// Remembers in the store what was verified. A store that takes nothing is no failure of verify.
fn remember(catalog: &Catalog, report: &mut Report, now: jiff::Timestamp) -> Result<(), CatalogError> {
    let tool = TOOL.to_owned();
    let (snapshot, level, part) = (report.snapshot.clone(), report.level, report.part);
    let mut verification = Verification::new(snapshot, level, part, now, report.damages_count, tool);
    let files: BTreeSet<&str> = report.damages.iter().map(|damage| damage.file.as_str()).collect();
    verification.files = files.into_iter().map(str::to_owned).collect();
    match catalog.remember(&verification) {
        Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
        Err(error) => report.notes.push(format!("that it was verified could not be remembered in the store: {error}")),
        Ok(()) => {}
    }
    Ok(())
}

fn show(report: &Report, screen: &Screen) {
    if screen.is_json() {
        screen.json(&json(report));
        return;
    }
    for note in &report.notes {
        screen.note(note);
    }
    if report.is_well() {
        screen.result(&well(report));
        return;
    }
    let mut err = anstream::stderr();
    let _ = writeln!(err, "{}: DAMAGED", report.snapshot);
    for line in damages(report) {
        let _ = writeln!(err, "  {line}");
    }
    let _ = writeln!(
        err,
        "  do: check the store's disk; everything that is not named here can still be restored; run the job again for a sound snapshot"
    );
}

fn well(report: &Report) -> String {
    let mut said = vec![format!("{} read", report.bytes)];
    if report.level > Level::Quick {
        said.push(counted(report.frames, "frame"));
    }
    said.push(counted(report.entries, "entry"));
    if report.volumes_known > 0 {
        said.push(format!("{} read before", counted(report.volumes_known, "volume")));
    }
    let part = report.part.map_or_else(String::new, |part| format!(", part {} of {}", part.number, part.of));
    format!("{}: well ({}{part}: {})", report.snapshot, report.level.word(), said.join(", "))
}

/// The damages of a report, as lines: one each, and below it what it costs.
fn damages(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    // a damage of the scratch and one of a shared volume alike: the other snapshots are named once a file
    let mut shared: BTreeMap<&str, &[SnapshotName]> = BTreeMap::new();
    for damage in &report.damages {
        lines.push(format!("{}: {}", damage.file, damage.what));
        if damage.frame.is_some() {
            if damage.entries_count > 0 {
                lines.push(format!("  {} entries lie in it:", damage.entries_count));
                lines.extend(damage.entries.iter().map(|path| format!("    {path}")));
            }
            let more = damage.entries_count - damage.entries.len() as u64;
            if more > 0 {
                lines.push(format!("    and {more} more"));
            }
        }
        if !damage.shared_with.is_empty() {
            shared.insert(&damage.file, &damage.shared_with);
        }
    }
    let more = report.damages_count - report.damages.len() as u64;
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    for (file, snapshots) in shared {
        lines.push(format!("{file} is a part of these snapshots too:"));
        lines.extend(snapshots.iter().map(|name| format!("  {name}")));
    }
    lines
}

fn json(report: &Report) -> serde_json::Value {
    let damages: Vec<_> = report
        .damages
        .iter()
        .map(|damage| {
            let entries: Vec<String> = damage.entries.iter().map(ToString::to_string).collect();
            serde_json::json!({
                "file": damage.file, "what": damage.what, "frame": damage.frame,
                "entries": entries, "entries_count": damage.entries_count, "shared_with": damage.shared_with,
            })
        })
        .collect();
    serde_json::json!({
        "type": "verified", "snapshot": report.snapshot, "level": report.level, "part": report.part,
        "well": report.is_well(), "bytes": report.bytes, "frames": report.frames, "entries": report.entries,
        "volumes_known": report.volumes_known, "damages": damages, "damages_count": report.damages_count,
        "notes": report.notes,
    })
}
