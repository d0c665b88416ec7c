//! `backup restore`: a snapshot becomes a tree again.

use std::ffi::OsString;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{ArgAction, ValueEnum};

use super::arguments::{Global, Which};
use super::entries::{put_path, typed_path};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::archive::expand::{ExpandError, ExpandLimits, Expander};
use crate::catalog::Catalog;
use crate::domain::{Advise, ByteCount, Cancel, Clock, EntryPath, Moment, SnapshotName, Stop, SystemClock};
use crate::report::counted;
use crate::restore::{
    Budget, Counts, Deed, ForeignOrder, LossCause, Order, Overwrite, Ownership, Planned, Report, RestoreError,
    Selection, preview, remove_extras, restore, restore_archive, to_tar,
};
use crate::source::Excludes;
use crate::wiring::{self, Environment};

/// Restore a snapshot, or a part of it
///
/// Gives everything back as it was: content, modes, times, links, holes, attributes; owners, if you are root. Each file
/// is compared with its checksum before it gets its name. Give the same command again after an interruption, and it
/// goes on where it ended.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// The snapshot (its name, the beginning of its name or of its time, or `latest`), then the paths in it that are
    /// wanted; with --at only the paths
    #[arg(value_name = "SNAPSHOT [PATH", num_args = 0..)]
    what: Vec<OsString>,
    /// The newest snapshot that was made at this time or before: `2026-11-20 14:00`, `yesterday`, `3 days ago`
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The folder to restore into; made if it is not there
    #[arg(long, value_name = "DIR", required_unless_present = "tar")]
    to: Option<PathBuf>,
    /// Only what matches this pattern, or lies in what matches; may be given several times
    #[arg(long, value_name = "GLOB", action = ArgAction::Append)]
    include: Vec<String>,
    /// Not what matches this pattern, nor what lies in it; may be given several times
    #[arg(long, value_name = "GLOB", action = ArgAction::Append)]
    exclude: Vec<String>,
    /// What happens to what is there; without it, the folder has to be empty
    #[arg(long, value_name = "WHEN")]
    overwrite: Option<When>,
    /// Remove what is there and not in the snapshot; shows it first, and needs --yes
    #[arg(long, requires = "overwrite", conflicts_with_all = ["include", "exclude", "tar"])]
    delete: bool,
    /// With --delete: remove, instead of only showing what would be removed
    #[arg(long, requires = "delete")]
    yes: bool,
    /// Take a file that is there for the right one by its length and time, as rsync does, without reading it: faster when
    /// a restore goes on or --overwrite always is given, and blind to what a power cut left
    #[arg(long, conflicts_with_all = ["archive", "tar"])]
    quick_check: bool,
    /// Show what would be written, by lengths and times, and write nothing
    #[arg(long, short = 'n', conflicts_with = "tar")]
    dry_run: bool,
    /// Restore a tar archive that another program made (plain, gzip or zstd; `-` for standard input) instead of a
    /// snapshot; the arguments are paths in it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["at", "store", "job", "delete", "dry_run", "tar"])]
    archive: Option<PathBuf>,
    /// With --archive: write no more content than this
    #[arg(long, value_name = "SIZE", requires = "archive")]
    max_size: Option<ByteCount>,
    /// Write a tar stream to standard output instead
    #[arg(long, conflicts_with_all = ["to", "overwrite"])]
    tar: bool,
    /// Whose the entries shall be; `none` unless you are root
    #[arg(long, value_name = "HOW")]
    owner: Option<Owner>,
    /// As root: devices, setuid and setgid bits, capabilities and other attributes of the system as well
    #[arg(long)]
    privileged: bool,
    /// Workers; default: one for each processor
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    #[command(flatten)]
    which: Which,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// Only what is missing is written
    Never,
    /// What is older than in the snapshot is replaced
    Older,
    /// What differs is replaced
    Always,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Owner {
    /// By name where this machine knows it, else by number
    Name,
    /// By number
    Number,
    /// You
    None,
}

impl Verb {
    fn overwrite(&self) -> Overwrite {
        match self.overwrite {
            None => Overwrite::Refuse,
            Some(When::Never) => Overwrite::Never,
            Some(When::Older) => Overwrite::Older,
            Some(When::Always) => Overwrite::Always,
        }
    }

    fn ownership(&self) -> Ownership {
        match (self.owner, Environment::read().is_root) {
            (None, false) | (Some(Owner::None), _) => Ownership::None,
            (None, true) | (Some(Owner::Name), _) => Ownership::Name,
            (Some(Owner::Number), _) => Ownership::Number,
        }
    }
}

/// So many lines of a long list are shown to a person.
const LINES_SHOWN: usize = 50;

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    wiring::allow_many_open_files();
    let foreign = verb.archive.is_some();
    let (snapshot, paths) = if foreign {
        let paths: Result<Vec<EntryPath>, Failure> = verb.what.iter().map(|typed| typed_path(typed, &[])).collect();
        (None, paths?)
    } else {
        let (catalog, name, paths) = meant(verb, global)?;
        (Some((catalog, name)), paths)
    };
    let patterns = |patterns: &[String]| {
        Excludes::new(patterns).map_err(|error| {
            let why = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            Failure::usage(format!("{error}{why}"), "patterns are written as in the configuration's `exclude`")
        })
    };
    let include = if verb.include.is_empty() { None } else { Some(patterns(&verb.include)?) };
    let selection = Selection { paths, include, exclude: patterns(&verb.exclude)? };
    let cancel = Cancel::new();
    wiring::watch_signals_twice(&cancel);
    let Some((catalog, name)) = snapshot else { return archive(verb, selection, &cancel, screen) };
    if verb.tar {
        return tar(&catalog, &name, &selection, &cancel);
    }
    let order = Order {
        to: which::absolute(verb.to.as_deref().unwrap_or_else(|| ".".as_ref())),
        selection,
        overwrite: verb.overwrite(),
        ownership: verb.ownership(),
        privileged: verb.privileged,
        extras: verb.delete,
        quick_check: verb.quick_check,
        threads: verb.threads.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
    };
    if verb.dry_run {
        let mut show = |planned: &Planned<'_>| show_planned(planned, screen);
        let report = ended(preview(&catalog, &name, &order, &cancel, &mut show))?;
        return Ok(match report {
            Ok(report) => shown(&report, &order.to, true, screen),
            Err(exit) => exit,
        });
    }
    let clock = SystemClock::new();
    let progress = screen.progress();
    let done = restore(&catalog, &name, &order, &cancel, &*progress);
    drop(progress);
    let report = match ended(done)? {
        Ok(report) => report,
        Err(exit) => return Ok(exit),
    };
    let exit = shown(&report, &order.to, false, screen);
    if !screen.is_json() {
        let took = clock.since_start();
        let rate = ByteCount((report.counts.bytes.0 as f64 / took.as_secs_f64().max(0.001)) as u64);
        screen.result(&format!("  took      {}, {rate}/s", crate::report::duration_words(took)));
    }
    if verb.delete && exit == Exit::Ok {
        return delete(verb, &report, &order, screen);
    }
    Ok(exit)
}

fn meant(verb: &Verb, global: &Global) -> Result<(Catalog, SnapshotName, Vec<EntryPath>), Failure> {
    let (catalog, name, rest) = match &verb.at {
        Some(time) => {
            let catalog = which::catalog(&verb.which, global)?;
            let zone = which::zone(&verb.which, global)?;
            let moment = Moment::parse(time, SystemClock::new().now(), &zone).map_err(|error| {
                Failure::usage(error.to_string(), "times without a zone are in the configuration's, else UTC")
            })?;
            let name = catalog.at(moment.last)?;
            (catalog, name, &verb.what[..])
        }
        None => {
            let wanted = verb.what.first().map_or_else(|| "latest".into(), |wanted| wanted.to_string_lossy());
            let (catalog, name) = which::catalog_of(&wanted, &verb.which, global)?;
            (catalog, name, verb.what.get(1..).unwrap_or_default())
        }
    };
    let sources = if rest.is_empty() { Vec::new() } else { which::sources(&catalog, &name) };
    let paths: Result<Vec<EntryPath>, Failure> = rest.iter().map(|typed| typed_path(typed, &sources)).collect();
    let mut paths = paths?;
    // the root is everything
    if paths.iter().any(EntryPath::is_root) {
        paths.clear();
    }
    Ok((catalog, name, paths))
}

/// A restore that was stopped ends with the signal's exit status; what else ended it is a failure.
fn ended(done: Result<Report, RestoreError>) -> Result<Result<Report, Exit>, Failure> {
    match done {
        Ok(report) => Ok(Ok(report)),
        Err(RestoreError::Stopped(stop)) => {
            let _ = writeln!(
                anstream::stderr(),
                "stopped; what is whole stays. Give the same command again, and it goes on where it ended"
            );
            Ok(Err(match stop {
                Stop::Interrupted => Exit::Interrupted,
                Stop::Terminated => Exit::Terminated,
            }))
        }
        // `backup … | head`: whoever reads has had enough
        Err(RestoreError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Err(Exit::Failed)),
        Err(error) => Err(Failure::from(error)),
    }
}

fn show_planned(planned: &Planned<'_>, screen: &Screen) {
    if screen.is_json() {
        screen.json(&with_path(
            planned.path,
            serde_json::json!({
                "type": "planned", "kind": planned.kind.word(), "size": planned.size,
                "deed": planned.decision.word(),
            }),
        ));
    } else if planned.decision != Deed::Same {
        screen.result(&format!("{:8} {}", planned.decision.word(), planned.path));
    }
}

/// A tar that another program made.
fn archive(verb: &Verb, selection: Selection, cancel: &Cancel, screen: &Screen) -> Result<Exit, Failure> {
    let path = verb.archive.as_deref().unwrap_or_else(|| "-".as_ref());
    let opened: std::io::Result<Box<dyn std::io::Read>> = if path.as_os_str() == "-" {
        Ok(Box::new(std::io::stdin().lock()))
    } else {
        std::fs::File::open(path).map(|file| Box::new(file) as Box<dyn std::io::Read>)
    };
    let name = path.display().to_string();
    let refused = |error: std::io::Error| {
        let advice =
            ExpandError::of(&error).map_or_else(|| "check the path and its permissions".to_owned(), Advise::advice);
        Failure::usage(format!("the archive {name} cannot be read: {error}"), advice)
    };
    let input = opened.and_then(|input| Expander::new(input, ExpandLimits::default())).map_err(refused)?;
    let mut budget = Budget::default();
    if let Some(max) = verb.max_size {
        budget.bytes = max.0;
    }
    let order = ForeignOrder {
        name: name.clone(),
        to: which::absolute(verb.to.as_deref().unwrap_or_else(|| ".".as_ref())),
        selection,
        overwrite: verb.overwrite(),
        ownership: verb.ownership(),
        privileged: verb.privileged,
        budget,
    };
    let progress = screen.progress();
    let done = restore_archive(std::io::BufReader::with_capacity(256 << 10, input), &order, cancel, &*progress);
    drop(progress);
    let done = match done {
        Err(RestoreError::Archive { name, why, advice, report }) => {
            shown(&report, &order.to, false, screen);
            Err(RestoreError::Archive { name, why, advice, report })
        }
        done => done,
    };
    Ok(match ended(done)? {
        Ok(report) => shown(&report, &order.to, false, screen),
        Err(exit) => exit,
    })
}

fn tar(catalog: &Catalog, name: &SnapshotName, selection: &Selection, cancel: &Cancel) -> Result<Exit, Failure> {
    let mut out = std::io::BufWriter::with_capacity(256 << 10, std::io::stdout().lock());
    let report = match ended(to_tar(catalog, name, selection, &mut out, cancel))? {
        Ok(report) => report,
        Err(exit) => return Ok(exit),
    };
    drop(out);
    tell_losses(&report);
    Ok(exit_of(&report))
}

fn exit_of(report: &Report) -> Exit {
    if report.is_damaged() {
        Exit::Damage
    } else if report.is_whole() {
        Exit::Ok
    } else {
        Exit::Partial
    }
}

fn shown(report: &Report, to: &Path, dry: bool, screen: &Screen) -> Exit {
    let exit = exit_of(report);
    if screen.is_json() {
        let counts = &report.counts;
        for loss in &report.losses {
            let line = serde_json::json!({"type": "loss", "cause": loss.cause.word(), "why": loss.why});
            screen.json(&with_path(&loss.path, line));
        }
        for path in &report.extras {
            screen.json(&with_path(path, serde_json::json!({"type": "extra"})));
        }
        screen.json(&serde_json::json!({
            "type": if dry { "restore-planned" } else { "restored" }, "of": report.of,
            "to": to.to_string_lossy(), "whole": report.is_whole(), "resumed": report.resumed,
            "files": counts.files, "folders": counts.folders, "symlinks": counts.symlinks,
            "hard_links": counts.hard_links, "special": counts.special, "bytes": counts.bytes,
            "replaced": counts.replaced, "same": counts.same, "kept": counts.kept,
            "losses": report.losses_count, "extras": report.extras.len(), "notes": report.notes, "exit": exit as u8,
        }));
        return exit;
    }
    tell_losses(report);
    let counts = &report.counts;
    let word = match (dry, report.is_damaged(), report.is_whole()) {
        (true, ..) => "would be restored",
        (false, true, _) => "restored, but for what is DAMAGED",
        (false, false, true) => "restored",
        (false, false, false) => "restored, but not all of it",
    };
    let mut lines = vec![
        format!("{}: {word}", report.of),
        format!("  into      {}", to.display()),
        format!("  written   {}", written(counts)),
    ];
    if counts.same + counts.kept + counts.replaced > 0 {
        lines.push(format!(
            "  there     {} already as they should be, {} replaced, {} left as they are",
            counts.same, counts.replaced, counts.kept
        ));
    }
    if report.resumed {
        lines.push("  resumed   an earlier restore of this snapshot into this folder".to_owned());
    }
    if report.losses_count > 0 {
        lines.push(format!(
            "  not so    {} not there or not as it was; each is named above",
            counted(report.losses_count, "entry")
        ));
    }
    lines.extend(report.notes.iter().map(|note| format!("  note      {note}")));
    for path in report.extras.iter().take(LINES_SHOWN) {
        lines.push(format!("  extra     {path}"));
    }
    if report.extras.len() > LINES_SHOWN {
        lines.push(format!("  extra     and {} more", report.extras.len() - LINES_SHOWN));
    }
    screen.result(&lines.join("\n"));
    exit
}

/// A line of JSON that tells of a path.
fn with_path(path: &EntryPath, mut line: serde_json::Value) -> serde_json::Value {
    if let Some(object) = line.as_object_mut() {
        put_path(object, path);
    }
    line
}

fn written(counts: &Counts) -> String {
    let mut parts = vec![format!("{} with {}", counted(counts.files, "file"), counts.bytes)];
    for (count, one) in [
        (counts.folders, "folder"),
        (counts.symlinks, "symlink"),
        (counts.hard_links, "hard link"),
        (counts.special, "special file"),
    ] {
        if count > 0 {
            parts.push(counted(count, one));
        }
    }
    parts.join(", ")
}

fn tell_losses(report: &Report) {
    let mut err = anstream::stderr();
    for loss in &report.losses {
        let word = match loss.cause {
            LossCause::Damaged => "DAMAGED",
            LossCause::NotStored => "NOT IN THE SNAPSHOT",
            LossCause::NotAsItWas => "MAY NOT BE AS IT WAS",
            LossCause::Unwritten => "not written",
            LossCause::NotAsked => "left out",
            LossCause::Refused => "REFUSED",
        };
        let _ = writeln!(err, "{word}: {}: {}", loss.path, loss.why);
    }
    let more = report.losses_count - report.losses.len() as u64;
    if more > 0 {
        let _ = writeln!(err, "and {more} more");
    }
    if report.is_damaged() {
        let _ = writeln!(
            err,
            "do: `backup find` shows in which other snapshots the damaged ones still are; run `backup verify` to see what else is damaged"
        );
    }
}

fn delete(verb: &Verb, report: &Report, order: &Order, screen: &Screen) -> Result<Exit, Failure> {
    if report.extras.is_empty() {
        return Ok(Exit::Ok);
    }
    if !verb.yes {
        screen.result(&format!(
            "  {} entries are there and not in the snapshot, with all that is in them; nothing was removed: give the same command with --yes to remove them",
            report.extras.len()
        ));
        return Ok(Exit::Ok);
    }
    let removed = remove_extras(&order.to, &report.extras).map_err(Failure::from)?;
    if screen.is_json() {
        screen.json(&serde_json::json!({"type": "removed", "entries": removed}));
    } else {
        screen.result(&format!("  removed   {removed} entries that were not in the snapshot"));
    }
    Ok(Exit::Ok)
}
