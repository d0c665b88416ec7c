//! `backup doctor`: what will go wrong tonight, while somebody is there to read it.
//!
//! Looks at everything that a run needs, by doing it on a small scale: the configuration, the state folder, each store
//! (mount, marker, room, clock, links), each job (source, lease, schedule). It changes nothing that stays. What it finds
//! it tells all of, and does not end at the first: a person with three faults should not need three evenings.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::arguments::Global;
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::{silence, which};
use crate::catalog::{Catalog, Probe, VolumeRecord, jobs_in, probe_store};
use crate::command::{Spec, find_program};
use crate::config::{JobSettings, Settings, StoreSettings};
use crate::domain::{Advise, ByteCount, Clock, JobName, SystemClock, Trouble};
use crate::report::duration_words;
use crate::store::{Key, Store};
use crate::wiring;

/// Clocks may differ by so much before anybody is told: retention gives up at an hour.
const SKEW_TOLD_S: i64 = 60;

/// A holder that cannot be read is taken for dead after this.
const TERM_UNKNOWN_S: u64 = 900;

/// Look at everything a run needs: configuration, state, stores, sources
///
/// Writes a few bytes into each store and removes them. Ends with 0 if all is well, 6 if a store is not there, else 1.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Only this store: its folder, or its name in the configuration
    #[arg(long, short, value_name = "STORE")]
    store: Option<PathBuf>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Well,
    Note,
    Wrong,
}

/// What was found, as it is told.
struct Findings<'a> {
    screen: &'a Screen,
    worst: Grade,
    is_store_absent: bool,
}

impl Findings<'_> {
    fn tell(&mut self, grade: Grade, about: &str, what: &str, advice: &str) {
        self.worst = self.worst.max(grade);
        let word = match grade {
            Grade::Well => "ok",
            Grade::Note => "note",
            Grade::Wrong => "WRONG",
        };
        if self.screen.is_json() {
            return self.screen.json(&serde_json::json!({
                "type": "finding", "grade": word.to_lowercase(), "about": about, "what": what,
                "advice": if advice.is_empty() { None } else { Some(advice) },
            }));
        }
        let mut text = format!("{word:<6}{about}: {what}");
        if !advice.is_empty() {
            text.push_str(&format!("\n        do: {advice}"));
        }
        self.screen.result(&text);
    }

    fn well(&mut self, about: &str, what: &str) {
        self.tell(Grade::Well, about, what, "");
    }

    fn wrong<E: Advise + 'static>(&mut self, about: &str, error: &E) {
        let Trouble { what, causes, advice } = Trouble::from(error);
        let what = causes.into_iter().fold(what, |all, cause| format!("{all}: {cause}"));
        self.tell(Grade::Wrong, about, &what, &advice);
    }
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let by_path = verb.store.as_deref().is_some_and(|path| path.is_absolute() || path.components().count() > 1);
    let settings = if by_path && global.config.is_none() { None } else { which::settings(global)? };
    let state = which::state(global, settings.as_ref());
    let mut findings = Findings { screen, worst: Grade::Well, is_store_absent: false };
    let stores: Vec<StoreSettings> = match (&verb.store, &settings) {
        (Some(given), settings) => vec![which::named_store(given, settings.as_ref())],
        (None, Some(settings)) => settings.stores.values().cloned().collect(),
        (None, None) => {
            let advice = "say which store with --store DIR, or give a configuration with --config FILE";
            return Err(Failure::usage("there is nothing to look at: no store, no configuration", advice));
        }
    };
    if let Some(settings) = &settings {
        let (jobs, stores) = (settings.jobs.len(), settings.stores.len());
        findings.well("configuration", &format!("it is right; jobs: {jobs}, stores: {stores}"));
    }
    match state.prove_writable() {
        Ok(()) => findings.well("state", &format!("{} can be written", state.folder().display())),
        Err(error) => findings.wrong("state", &error),
    }
    let patience = silence::deadline(settings.as_ref(), global);
    for store in &stores {
        let about = format!("store {}", store.path.display());
        let tell = silence::teller(store.path.display().to_string());
        let opened = match wiring::open_watched(store, &state, patience, tell) {
            Ok(opened) => Some(opened),
            Err(error) => {
                findings.is_store_absent |= error.is_absent();
                findings.wrong(&about, &error);
                None
            }
        };
        if let Some(opened) = &opened {
            look_at_store(opened, &about, &mut findings);
        }
        for job in settings.iter().flat_map(|settings| settings.jobs.values()).filter(|job| job.store == store.name) {
            look_at_job(job, opened.as_ref(), settings.as_ref(), &mut findings);
        }
    }
    Ok(match findings.worst {
        Grade::Well | Grade::Note => Exit::Ok,
        Grade::Wrong if findings.is_store_absent => Exit::StoreAbsent,
        Grade::Wrong => Exit::Failed,
    })
}

fn look_at_store(store: &Arc<dyn Store>, about: &str, findings: &mut Findings<'_>) {
    let before = SystemClock::new().now();
    let volumes = volumes_in_use(store);
    let files: Vec<Key> = volumes.iter().map(|volume| volume.file.clone()).collect();
    let Probe { now, refused, refused_files } = match probe_store(store, &wiring::random_run(), &files) {
        Ok(probe) => probe,
        Err(error) => return findings.wrong(about, &error),
    };
    findings.well(about, "it takes files, gives them back as they were, and moves them in one step");
    match store.room() {
        Ok(room) => findings.well(about, &format!("{} free of {}", room.free, room.total)),
        Err(error) => findings.wrong(about, &error),
    }
    let skew = now.duration_since(before).as_secs();
    if skew.abs() > SKEW_TOLD_S {
        let long = duration_words(Duration::from_secs(skew.unsigned_abs()));
        let side = if skew > 0 { "ahead of" } else { "behind" };
        findings.tell(
            Grade::Note,
            about,
            &format!("its clock is {long} {side} ours"),
            "let both ask a time server: beyond an hour retention removes nothing, and leases are judged by the store's clock",
        );
    }
    let Some(error) = refused_files.first().map(|(_, error)| error).or(refused.as_ref()) else {
        return findings.well(about, "it has hard links: what does not change costs nothing");
    };
    let why = Trouble::from(error).causes.join(": ");
    let is_refused = |volume: &&InUse| refused_files.iter().any(|(file, _)| *file == volume.file);
    let bytes = ByteCount(volumes.iter().filter(is_refused).map(|volume| volume.size).sum());
    let count = refused_files.len();
    let cost = match (count, &refused) {
        (0, _) => "each run will copy the volumes that it builds on, and read them back".to_owned(),
        (_, None) => format!(
            "{count} of the volumes in use, {bytes}, are copied once, by the next run that stores anything: its copies \
             can be linked"
        ),
        (_, Some(_)) => format!(
            "each run that stores anything copies {bytes} in {count} volumes, reads them back, and every snapshot takes \
             that much room"
        ),
    };
    findings.tell(
        Grade::Note,
        about,
        &format!("it refuses hard links ({why}): {cost}"),
        "export the share so that they are allowed (CIFS has none; with all_squash see fs.protected_hardlinks on the \
         server), or accept the cost; nothing is less safe for it",
    );
}

/// A volume that the next run would build on.
struct InUse {
    file: Key,
    size: u64,
}

/// The volumes of the newest snapshot of each job. What cannot be read is told by whoever looks at that.
fn volumes_in_use(store: &Arc<dyn Store>) -> Vec<InUse> {
    let of_job = |job: JobName| {
        let catalog = Catalog::new(Arc::clone(store), job);
        let newest = catalog.snapshots().ok()?.pop()?;
        let (record, _) = catalog.record(&newest).ok()?;
        let folder = catalog.layout().snapshot(&newest);
        let volume = |volume: &VolumeRecord| Some(InUse { file: folder.join(&volume.name).ok()?, size: volume.size });
        Some(record.volumes.iter().filter_map(volume).collect::<Vec<_>>())
    };
    jobs_in(&**store).unwrap_or_default().into_iter().filter_map(of_job).flatten().collect()
}

fn look_at_job(
    job: &JobSettings,
    store: Option<&Arc<dyn Store>>,
    settings: Option<&Settings>,
    findings: &mut Findings<'_>,
) {
    let about = format!("job {}", job.name);
    for source in &job.sources {
        look_at_source(source, job.allow_empty, &about, findings);
    }
    for command in &job.commands {
        look_at_program(&command.spec, &format!("its command of {}", command.name), &about, findings);
    }
    for (name, spec) in job.hooks.all() {
        look_at_program(spec, &format!("its {name}"), &about, findings);
    }
    let now = SystemClock::new().now();
    match (job.schedules.iter().filter_map(|schedule| schedule.next_after(now)).min(), settings) {
        (Some(next), Some(settings)) => {
            let local = next.to_zoned(settings.timezone.clone());
            findings.well(&about, &format!("next due {}", local.strftime("%A %Y-%m-%d %H:%M %Z")));
        }
        _ => findings.tell(
            Grade::Note,
            &about,
            "it has no schedule, so the daemon never runs it",
            "add `schedule:`, unless something else calls `backup run`",
        ),
    }
    let Some(store) = store else { return };
    let catalog = Catalog::new(Arc::clone(store), job.name.clone());
    match catalog.lease_state(TERM_UNKNOWN_S) {
        Ok(None) => {}
        Ok(Some(lease)) => {
            let what = format!("its lease is held by {}, renewed {} ago", lease.holder, duration_words(lease.silent));
            let advice = if lease.is_stale() { "the next run takes it over; or `backup unlock` now" } else { "" };
            findings.tell(Grade::Note, &about, &what, advice);
        }
        Err(error) => findings.wrong(&about, &error),
    }
    match catalog.snapshots().map(|mut all| all.pop()) {
        Ok(Some(newest)) => {
            let age = Duration::try_from(now.duration_since(newest.at())).unwrap_or_default();
            findings.well(&about, &format!("its newest snapshot is {newest}, {} old", duration_words(age)));
        }
        Ok(None) => findings.tell(Grade::Note, &about, "it has no snapshot yet", "make one with `backup run`"),
        Err(error) => findings.wrong(&about, &error),
    }
}

/// Whether what is to be started is there, and the files of its variables can be read.
fn look_at_program(spec: &Spec, what: &str, about: &str, findings: &mut Findings<'_>) {
    let base = wiring::base_environment();
    let search = spec.environment.get("PATH").or_else(|| base.get("PATH")).map(String::as_str);
    let program = spec.argv.first().map_or("", String::as_str);
    match find_program(program, search) {
        Ok(path) => findings.well(about, &format!("{what} is there: {}", path.display())),
        Err(why) => findings.tell(
            Grade::Wrong,
            about,
            &format!("{what} cannot be started: {program}: {why}"),
            "install it where this runs, or give its whole path",
        ),
    }
    for (name, path) in &spec.environment_files {
        if let Err(error) = std::fs::File::open(path) {
            let what = format!("{what} has a variable {name} whose file {} cannot be read: {error}", path.display());
            findings.tell(Grade::Wrong, about, &what, "let this user read it");
        }
    }
}

/// Whether a source is there, can be listed, and holds anything.
fn look_at_source(source: &Path, may_be_empty: bool, about: &str, findings: &mut Findings<'_>) {
    let shown = source.display();
    match std::fs::read_dir(source).map(|mut entries| entries.next().is_some()) {
        Ok(true) => findings.well(about, &format!("its source {shown} can be listed")),
        Ok(false) if may_be_empty => findings.well(about, &format!("its source {shown} is empty, and may be")),
        Ok(false) => findings.tell(
            Grade::Wrong,
            about,
            &format!("its source {shown} is empty, and a run would fail"),
            "mount what belongs there; or say `allow_empty: true` if it may be empty",
        ),
        Err(error) => findings.tell(
            Grade::Wrong,
            about,
            &format!("its source {shown} cannot be listed: {error}"),
            "correct `source`, or let this user read it (CAP_DAC_READ_SEARCH is enough for everything)",
        ),
    }
}
