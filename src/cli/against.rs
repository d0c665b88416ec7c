//! `backup verify --against-source`: what differs now between a snapshot and what it was made of.
//!
//! Finds out which folders are meant, and by which rules they are walked; shows what differs while it is found. The
//! danger is to compare what cannot be compared, and to call everything removed and added: a snapshot of one folder
//! holds names relative to it, one of several holds full paths.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::arguments::{Global, Which};
use super::entries::put_path;
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::catalog::{Catalog, Record};
use crate::config::{self, JobSettings, Overrides};
use crate::domain::{Cancel, Stop};
use crate::source::{Excludes, Naming, WalkOptions};
use crate::verify::{Change, ChangeKind, Changes, CompareError, Sources, against_source};
use crate::wiring::{self, Environment, LoadError};

/// What the command line says of the source.
pub(super) struct Asked<'a> {
    pub(super) sources: &'a [PathBuf],
    pub(super) exclude: &'a [String],
}

pub(super) fn run(
    snapshot: &str,
    asked: &Asked<'_>,
    which: &Which,
    global: &Global,
    screen: &Screen,
) -> Result<Exit, Failure> {
    wiring::allow_many_open_files();
    let (catalog, name) = which::catalog_of(snapshot, which, global)?;
    let job = job(asked, &catalog, global)?;
    let (record, _) = catalog.record(&name)?;
    let folders: Vec<String> = job.sources.iter().map(|path| path.display().to_string()).collect();
    let naming = |folders: usize| Naming::of(folders, record.commands.len());
    if folders.is_empty() || naming(record.sources.len()) != naming(folders.len()) {
        return Err(Failure::usage(
            format!(
                "{name} was made of {}, and {} to be compared with it: names in a snapshot of one folder are relative to it, and of several full paths",
                record.made_of(),
                match folders.as_slice() {
                    [] => "no folder is".to_owned(),
                    [one] => format!("{one} is"),
                    several => format!("{} are", several.join(", ")),
                },
            ),
            "name the folders that it was made of with --source",
        ));
    }
    let same_source = record.sources == folders;
    if !same_source {
        screen.note(&format!(
            "{name} was made of {}; it is compared with {}",
            record.sources.join(", "),
            folders.join(", ")
        ));
    }
    if !record.commands.is_empty() {
        screen.note(&format!("what commands gave is not compared: {}", record.commands.join(", ")));
    }
    let cancel = Cancel::new();
    wiring::watch_signals_twice(&cancel);
    let sources = Sources { folders: job.sources.clone(), options: options(&job)? };
    let (progress, beside) = screen.progress_beside_results();
    let mut stream = screen.stream();
    let mut show = |change: &Change| {
        let mut goes_on = true;
        beside.print(&mut || {
            if change.kind == ChangeKind::Rot {
                let _ = writeln!(anstream::stderr(), "CHANGED BY NOBODY: {}: {}", change.path, change.what.join(", "));
            }
            goes_on = if screen.is_json() { stream.json(&change_json(change)) } else { stream.line(&line(change)) };
        });
        goes_on || screen.is_quiet()
    };
    let done = against_source(&catalog, &name, &sources, &cancel, &*progress, &mut show);
    drop(progress);
    let changes = done.map_err(|error| match error {
        CompareError::Catalog(error) => error.into(),
        CompareError::Folder(error) => Failure::of(Exit::Failed, &error),
    })?;
    match cancel.asked() {
        Some(Stop::Interrupted) => return stream.finish().map(|()| Exit::Interrupted),
        Some(Stop::Terminated) => return stream.finish().map(|()| Exit::Terminated),
        None => {}
    }
    // it is the last line: whether anybody listens makes no difference any more
    let _ = if screen.is_json() {
        stream.json(&totals_json(&changes, &record, &folders, same_source))
    } else {
        stream.line(&format!("{name} and its source: {}", totals_text(&changes)))
    };
    stream.finish()?;
    if changes.rot > 0 {
        let _ = writeln!(
            anstream::stderr(),
            "{} files hold other bytes than the snapshot although nothing says that they were written: bit rot of the source, or a forged time\n  \
             do: check that disk; compare them with `backup cat {name} PATH` and restore those that are worse; keep this snapshot with `backup hold`",
            changes.rot
        );
    }
    Ok(match &changes {
        Changes { rot: 1.., .. } => Exit::Damage,
        changes if changes.is_same() => Exit::Ok,
        _ => Exit::Partial,
    })
}

/// The job whose source is meant: of the command line, else of the configuration.
fn job(asked: &Asked<'_>, catalog: &Catalog, global: &Global) -> Result<JobSettings, Failure> {
    let name = catalog.layout().job();
    let settings = if asked.sources.is_empty() {
        which::settings(global)?.ok_or_else(|| {
            Failure::usage(
                "which folders are to be compared is not said, and there is no configuration",
                "name them with --source DIR, or give a configuration with --config FILE",
            )
        })?
    } else {
        let environment = Environment::read();
        let folders: Vec<PathBuf> = asked.sources.iter().map(|path| which::absolute(path)).collect();
        let overrides = Overrides { exclude: asked.exclude.to_vec(), ..Overrides::default() };
        let store = PathBuf::from("/");
        config::from_flags(&folders, &store, Some(name.as_str()), overrides, environment.default_state_dir(), None)
            .map_err(|error| Failure::of(Exit::Usage, &LoadError::Wrong(error)))?
    };
    settings.jobs.get(name).cloned().ok_or_else(|| {
        Failure::usage(
            format!("the configuration has no job {name}"),
            "name the folders with --source DIR, or give the job's configuration with --config FILE",
        )
    })
}

/// As a run of the job would walk.
fn options(job: &JobSettings) -> Result<WalkOptions, Failure> {
    let excludes = Excludes::new(&job.exclude).map_err(|error| {
        Failure::usage(error.to_string(), "patterns are written as in the configuration's `exclude`")
    })?;
    Ok(WalkOptions {
        excludes,
        exclude_caches: job.exclude_caches,
        exclude_if_present: job.exclude_if_present.as_ref().map(|name| name.as_bytes().into()),
        one_file_system: job.one_file_system,
        max_file_size: job.max_file_size,
        avoid: None,
        threads: job.threads.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
    })
}

fn line(change: &Change) -> String {
    let sign = match change.kind {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Content | ChangeKind::Metadata => '~',
        ChangeKind::Rot => '!',
        ChangeKind::Unread => '?',
    };
    let mut what = change.what.join(", ");
    if matches!(change.kind, ChangeKind::Content | ChangeKind::Metadata) {
        what = format!("{}: {what}", change.kind.word());
    }
    if what.is_empty() { format!("{sign} {}", change.path) } else { format!("{sign} {} ({what})", change.path) }
}

fn totals_text(changes: &Changes) -> String {
    let mut words = Vec::new();
    for (count, text) in [
        (changes.rot, "CHANGED BY NOBODY"),
        (changes.added, "added"),
        (changes.removed, "removed"),
        (changes.content, "with another content"),
        (changes.metadata, "with other metadata"),
        (changes.unread, "that could not be read"),
    ] {
        if count > 0 {
            words.push(format!("{count} {text}"));
        }
    }
    words.push(format!("{} the same", changes.same));
    format!("{} ({} read)", words.join(", "), changes.bytes)
}

fn change_json(change: &Change) -> Value {
    let mut object = Map::new();
    object.insert("type".into(), "difference".into());
    put_path(&mut object, &change.path);
    object.insert("change".into(), change.kind.word().into());
    object.insert("what".into(), json!(change.what));
    object.into()
}

fn totals_json(changes: &Changes, record: &Record, folders: &[String], same_source: bool) -> Value {
    json!({
        "type": "compared", "snapshot": record.snapshot, "sources": folders, "same_source": same_source,
        "commands_not_compared": record.commands,
        "added": changes.added, "removed": changes.removed, "content": changes.content, "metadata": changes.metadata,
        "rot": changes.rot, "unread": changes.unread, "same": changes.same, "bytes": changes.bytes,
    })
}
