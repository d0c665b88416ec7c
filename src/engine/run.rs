//! One run, step by step, in the order that makes it safe.
//!
//! The order: store and source are opened before anything is written; room is checked before the lease; the draft is
//! complete, flushed and read back before anything is published; whatever goes wrong before the rename removes the
//! draft; whatever happens is an `Outcome`.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::pipeline::{PipelineError, Work, store_all};
use super::plan::PlanTotals;
use super::room::check_room;
use super::sanity::shrink_doubt;
use super::write::{OrderedWriter, Written};
use crate::archive::manifest::{self, Header, ManifestWriter, VolumeLine};
use crate::archive::{Codec, seek};
use crate::catalog::{
    Catalog, CatalogError, Claim, Draft, FileRecord, Lease, MANIFEST_NAME, Measure, Previous, RESTORE_NAME, Record,
    VolumeRecord, check_frames, restore_guide, volume_name,
};
use crate::domain::{
    Advise, ByteCount, Cancel, Clock, Digest, Host, JobName, Outcome, RunId, Skips, SnapshotName, Stop, StopReason,
    Totals, Trouble, Verdict,
};
use crate::observe::{Event, Observer, Phase};
use crate::source::{Descriptors, Excludes, Names, Root, SourceError, Walk, WalkOptions, open_roots};
use crate::store::{Store, StoreError};

/// What is to be snapshotted, and how: settled values only.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// The folders to read; several are stored under their full paths.
    pub sources: Vec<PathBuf>,
    /// What is left out.
    pub excludes: Excludes,
    /// Leave out the content of cache folders.
    pub exclude_caches: bool,
    /// Leave out the content of folders that hold a file of this name.
    pub exclude_if_present: Option<Box<[u8]>>,
    /// Do not enter other file systems.
    pub one_file_system: bool,
    /// Leave out larger files.
    pub max_file_size: Option<ByteCount>,
    /// Whether an empty source is well.
    pub allow_empty: bool,
    /// How frames are compressed.
    pub codec: Codec,
    /// By how much entries or content may fall.
    pub max_shrink_percent: u8,
    /// Workers.
    pub threads: NonZeroUsize,
    /// After how long a silence of this run others may take its lease.
    pub lease_term: Duration,
    /// Look through the source first, so that an observer can tell how much is left.
    pub survey: bool,
}

/// The circumstances of a run.
pub struct Context<'a> {
    /// This attempt.
    pub run: RunId,
    /// This machine.
    pub host: Host,
    /// This process, for people.
    pub pid: u32,
    /// This program and its version.
    pub tool: String,
    /// The store as configured, for people, also when it cannot be opened.
    pub store_name: String,
    /// The time.
    pub clock: &'a dyn Clock,
    /// The token that stops it.
    pub cancel: &'a Cancel,
    /// Who watches.
    pub observer: &'a dyn Observer,
}

/// Why a run made no snapshot.
#[derive(Debug)]
pub(super) enum RunError {
    Source(SourceError),
    Store(CatalogError),
    Stopped(Stop),
    Panicked,
}

impl From<CatalogError> for RunError {
    fn from(error: CatalogError) -> Self {
        Self::Store(error)
    }
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl From<SourceError> for RunError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// What a run that made a snapshot did.
struct Done {
    snapshot: SnapshotName,
    record: Digest,
    totals: Totals,
    skips: Skips,
    doubts: Vec<String>,
    holds_store: bool,
}

/// Runs `job` into the store that `open_store` gives (with what is worth knowing of it), and tells how it went. The
/// only result is the outcome; nothing is printed and nobody is notified.
pub fn run(
    job: &Job,
    open_store: impl FnOnce() -> Result<(Arc<dyn Store>, Vec<String>), StoreError>,
    context: &Context<'_>,
) -> Outcome {
    let started = context.clock.now();
    let began = context.clock.since_start();
    let mut notices = Vec::new();
    let result = attempt(job, open_store, context, started, &mut notices);
    let mut outcome = Outcome {
        job: job.name.clone(),
        run: context.run.clone(),
        host: context.host.clone(),
        store: context.store_name.clone(),
        sources: job.sources.iter().map(|path| path.display().to_string()).collect(),
        started,
        finished: context.clock.now(),
        took_ms: u64::try_from(context.clock.since_start().saturating_sub(began).as_millis()).unwrap_or(u64::MAX),
        snapshot: None,
        record: None,
        totals: Totals::default(),
        skips: Skips::default(),
        doubts: Vec::new(),
        notices,
        failure: None,
    };
    match result {
        Ok(done) => {
            if done.holds_store {
                let text = "the store lies in the source: its folder is stored, what is in it is not";
                outcome.notices.push(text.to_owned());
            }
            outcome.snapshot = Some(done.snapshot);
            outcome.record = Some(done.record);
            outcome.totals = done.totals;
            outcome.skips = done.skips;
            outcome.doubts = done.doubts;
        }
        Err(error) => outcome.failure = Some(failure(&error)),
    }
    outcome
}

fn failure(error: &RunError) -> (StopReason, Trouble) {
    match error {
        RunError::Source(error) => (StopReason::Source, Trouble::from(error)),
        RunError::Store(error) => {
            let reason = match error {
                CatalogError::Leased { .. } => StopReason::Leased,
                CatalogError::Store(store) if store.is_absent() => StopReason::StoreAbsent,
                CatalogError::Store(StoreError::TooSmall { .. } | StoreError::NoRoom { .. }) => StopReason::StoreFull,
                _ => StopReason::Store,
            };
            (reason, Trouble::from(error))
        }
        RunError::Stopped(stop) => {
            let what = match stop {
                Stop::Interrupted => "the run was interrupted (SIGINT)",
                Stop::Terminated => "the run was stopped (SIGTERM)",
            };
            let advice = "the unfinished work was removed; run again when it suits".to_owned();
            ((*stop).into(), Trouble { what: what.to_owned(), causes: Vec::new(), advice })
        }
        RunError::Panicked => {
            let what = "a thread of the run panicked: this is a defect of the program".to_owned();
            let advice = "please report it with the log; snapshots that are there are untouched".to_owned();
            (StopReason::Program, Trouble { what, causes: Vec::new(), advice })
        }
    }
}

fn attempt(
    job: &Job,
    open_store: impl FnOnce() -> Result<(Arc<dyn Store>, Vec<String>), StoreError>,
    context: &Context<'_>,
    started: jiff::Timestamp,
    notices: &mut Vec<String>,
) -> Result<Done, RunError> {
    let mut note = |text: String| {
        context.observer.notice(&Event::Notice { text: &text });
        notices.push(text);
    };
    context.observer.notice(&Event::Entered { phase: Phase::Opening });
    let descriptors = Descriptors::for_this_process();
    // the store first: a run that fails for its source is recorded there
    let (store, opened) = open_store()?;
    opened.into_iter().for_each(&mut note);
    drop(open_roots(&job.sources, &descriptors)?);
    let catalog = Catalog::new(store, job.name.clone());
    let before = previous(&catalog, &mut |_| ())?;
    check_room(job, context, &descriptors, &catalog, before.as_ref())?;
    let claim = Claim {
        run: context.run.clone(),
        host: context.host.clone(),
        pid: context.pid,
        started,
        term_s: job.lease_term.as_secs(),
    };
    let lease = Lease::acquire(&catalog, claim)?;
    if let Some(holder) = lease.taken_over_from() {
        note(format!("took over the stale lease of {holder}"));
    }
    let result = while_renewed(&lease, || {
        // again, now that nobody else can add to them
        let before = previous(&catalog, &mut note)?;
        clean_leftovers(&catalog, context, job.lease_term, &mut note)?;
        let mut draft = Draft::create(&catalog, &context.run)?;
        let result = make(job, context, &descriptors, &catalog, &lease, &mut draft, started, before.as_ref());
        if result.is_err()
            && let Err(error) = draft.abandon()
        {
            note(format!("the unfinished work could not be removed ({error}); a later run cleans up"));
        }
        result
    });
    if let Err(error) = lease.release() {
        note(format!("the lease could not be given back ({error}); it ends by itself"));
    }
    result
}

/// Works while a thread renews the lease. What becomes of the lease is decided at the commit, not here.
fn while_renewed<T>(lease: &Lease, work: impl FnOnce() -> Result<T, RunError>) -> Result<T, RunError> {
    let (end, ended) = crossbeam_channel::bounded::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let every = lease.renew_every();
            while ended.recv_timeout(every) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                // a failure now may be over at the next renewal; if it is not, the commit says so
                let _ = lease.renew();
            }
        });
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(RunError::Panicked));
        drop(end);
        result
    })
}

pub(super) fn walk(job: &Job, store: &dyn Store, roots: Vec<Root>) -> Walk {
    let options = WalkOptions {
        excludes: job.excludes.clone(),
        exclude_caches: job.exclude_caches,
        exclude_if_present: job.exclude_if_present.clone(),
        one_file_system: job.one_file_system,
        max_file_size: job.max_file_size,
        avoid: store.place(),
        threads: job.threads,
    };
    Walk::new(roots, options)
}

/// The record of the newest snapshot that has a readable one. One that cannot be read is told, and the one before it is
/// compared with instead: a bad block shall not hide a source that is half gone.
fn previous(catalog: &Catalog, note: &mut impl FnMut(String)) -> Result<Option<(Record, Digest)>, RunError> {
    for name in catalog.snapshots()?.iter().rev() {
        match catalog.record(name) {
            Ok(found) => return Ok(Some(found)),
            Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
            Err(error) => note(format!("a snapshot could not be compared with: {error}; run `backup verify {name}`")),
        }
    }
    Ok(None)
}

/// Removes unfinished work of runs that are dead: this run has the lease, and nothing has touched it for a term.
fn clean_leftovers(
    catalog: &Catalog,
    context: &Context<'_>,
    term: Duration,
    note: &mut impl FnMut(String),
) -> Result<(), RunError> {
    let leftovers = catalog.leftovers()?;
    if leftovers.is_empty() {
        return Ok(());
    }
    let now = catalog.store().now()?;
    for (run, touched) in leftovers {
        let silent = Duration::try_from(now.duration_since(touched)).unwrap_or(Duration::ZERO);
        if run == context.run || silent <= term {
            continue;
        }
        match catalog.store().remove_folder(&catalog.layout().partial(&run)) {
            Ok(()) => note(format!("removed the unfinished work of run {}", &run.as_str()[..8])),
            Err(error) => note(format!("could not remove the unfinished work of run {}: {error}", &run.as_str()[..8])),
        }
    }
    Ok(())
}

/// The name of the snapshot: the second in which the run began, or the first one after the newest snapshot's.
fn choose_name(catalog: &Catalog, started: jiff::Timestamp) -> Result<SnapshotName, RunError> {
    let job = catalog.layout().job();
    let name = SnapshotName::new(job, started);
    let Some(newest) = catalog.snapshots()?.pop() else { return Ok(name) };
    if newest < name {
        return Ok(name);
    }
    let later = newest.at().checked_add(Duration::from_secs(1)).unwrap_or(started);
    Ok(SnapshotName::new(job, later))
}

#[expect(clippy::too_many_arguments, reason = "the steps of one run share all of it, and none of it outlives them")]
fn make(
    job: &Job,
    context: &Context<'_>,
    descriptors: &Arc<Descriptors>,
    catalog: &Catalog,
    lease: &Lease,
    draft: &mut Draft,
    started: jiff::Timestamp,
    before: Option<&(Record, Digest)>,
) -> Result<Done, RunError> {
    let snapshot = choose_name(catalog, started)?;
    context.observer.notice(&Event::Started { snapshot: &snapshot });
    context.observer.notice(&Event::Entered { phase: Phase::Storing });
    let (written, planned) = store_entries(job, context, descriptors, catalog, draft, &snapshot)?;
    check_not_empty(job, planned)?;
    let mut totals = written.totals;
    totals.excluded = planned.counted.excluded;
    totals.sockets = planned.counted.sockets;
    totals.mounts = planned.counted.mounts;
    let skips = written.skips.clone();
    let (volume, manifest) = flush_and_read_back(job, context, catalog, draft, &snapshot, written)?;
    totals.stored_bytes = ByteCount(volume.size + manifest.size);
    let doubts: Vec<String> = before
        .and_then(|(record, _)| shrink_doubt(&record.totals, &totals, job.max_shrink_percent))
        .into_iter()
        .collect();
    let well = skips.is_empty() && doubts.is_empty();
    let record = Record {
        format: 1,
        snapshot: snapshot.clone(),
        job: job.name.clone(),
        run: context.run.clone(),
        host: context.host.clone(),
        tool: context.tool.clone(),
        started,
        finished: context.clock.now(),
        verdict: if well { Verdict::Ok } else { Verdict::Partial },
        sources: job.sources.iter().map(|path| path.display().to_string()).collect(),
        totals,
        skipped: skips.count(),
        doubts: doubts.clone(),
        volumes: vec![volume],
        manifest,
        previous: before.map(|(record, digest)| Previous { snapshot: record.snapshot.clone(), record: *digest }),
    };
    context.observer.notice(&Event::Entered { phase: Phase::Publishing });
    draft.add_small(RESTORE_NAME, restore_guide(&record).as_bytes())?;
    let digest = draft.seal(&record)?;
    if let Some(stop) = context.cancel.asked() {
        return Err(RunError::Stopped(stop));
    }
    let published = draft.publish(lease, &snapshot)?;
    let mut doubts = doubts;
    doubts.extend(published.doubt.map(|error| {
        format!(
            "the snapshot is there, but the store did not confirm that its name is durable ({error}): {}",
            error.advice()
        )
    }));
    Ok(Done { snapshot, record: digest, totals, skips, doubts, holds_store: planned.holds_store })
}

/// The pipeline: everything that is in the source into the draft's volume and manifest.
fn store_entries(
    job: &Job,
    context: &Context<'_>,
    descriptors: &Arc<Descriptors>,
    catalog: &Catalog,
    draft: &Draft,
    snapshot: &SnapshotName,
) -> Result<(Written, PlanTotals), RunError> {
    let header = Header {
        manifest: manifest::FORMAT,
        job: job.name.clone(),
        snapshot: snapshot.clone(),
        run: context.run.clone(),
        tool: context.tool.clone(),
    };
    let mut ready = Vec::new();
    let manifest = ManifestWriter::new(&header, &mut ready);
    let writer = OrderedWriter::new(
        draft.create_file(&volume_name(snapshot, 1, job.codec))?,
        draft.create_file(MANIFEST_NAME)?,
        manifest,
        ready,
        context.observer,
    );
    let roots = open_roots(&job.sources, descriptors)?;
    let names = Names::load();
    let work = Work {
        codec: job.codec,
        threads: job.threads,
        names: &names,
        roots: roots.iter().map(|root| root.prefix().clone()).collect(),
        clock: context.clock,
        cancel: context.cancel,
        observer: context.observer,
    };
    store_all(&work, walk(job, catalog.store(), roots), writer).map_err(|error| match error {
        PipelineError::Store(error) => error.into(),
        PipelineError::Stopped(stop) => RunError::Stopped(stop),
        PipelineError::Panicked => RunError::Panicked,
    })
}

fn check_not_empty(job: &Job, planned: PlanTotals) -> Result<(), RunError> {
    if planned.filled_roots == job.sources.len() || job.allow_empty {
        return Ok(());
    }
    let path = match job.sources.as_slice() {
        [only] => only.clone(),
        several => {
            let all: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            PathBuf::from(format!("({} of {})", several.len() - planned.filled_roots, all.join(", ")))
        }
    };
    Err(SourceError::Empty { path }.into())
}

/// Ends volume and manifest, makes them durable, and looks at them through the store's eyes.
fn flush_and_read_back(
    job: &Job,
    context: &Context<'_>,
    catalog: &Catalog,
    draft: &mut Draft,
    snapshot: &SnapshotName,
    written: Written,
) -> Result<(VolumeRecord, FileRecord), RunError> {
    let Written {
        mut volume, mut manifest_file, mut manifest, mut manifest_ready, raw_size, frames, quick, seek, ..
    } = written;
    let frames_end = volume.written();
    let table = if let Codec::Zstd { .. } = job.codec { seek::encode(&seek) } else { Vec::new() };
    drop(seek);
    volume.write(&table)?;
    context.observer.notice(&Event::Entered { phase: Phase::Flushing });
    let volume = volume.finish()?;
    context.observer.notice(&Event::Entered { phase: Phase::ReadingBack });
    let key = draft.key(&volume.name)?;
    let reader = catalog.store().open(&key)?;
    if reader.len() != volume.size {
        let (place, found) = (key.to_string(), reader.len());
        return Err(StoreError::WrongLength { place, found, written: volume.size }.into());
    }
    let damaged =
        check_frames(&*reader, &frames, Measure::Quick(&quick), job.threads, true, context.cancel, context.observer);
    let mut table_back = vec![0; table.len()];
    reader.read_at(frames_end, &mut table_back)?;
    if table_back != table {
        return Err(StoreError::ReadBackDiffers { place: key.to_string(), offset: frames_end }.into());
    }
    if let Some(stop) = context.cancel.asked() {
        return Err(RunError::Stopped(stop));
    }
    if let Some(damage) = damaged.into_iter().next() {
        let (place, offset) = (key.to_string(), damage.offset);
        return Err(damage.error.unwrap_or(StoreError::ReadBackDiffers { place, offset }).into());
    }
    for frame in &frames {
        manifest.frame(frame, &mut manifest_ready);
    }
    let line = VolumeLine {
        volume: 0,
        name: volume.name.clone(),
        codec: job.codec,
        size: volume.size,
        raw_size,
        frames: frames.len() as u64,
        sha256: volume.sha256,
    };
    manifest.volume(&line, &mut manifest_ready);
    manifest.finish(&mut manifest_ready);
    manifest_file.write(&manifest_ready)?;
    let manifest = manifest_file.finish()?;
    draft.read_back(&manifest, context.observer)?;
    draft.add(volume.clone());
    draft.add(manifest.clone());
    let volume = VolumeRecord {
        name: volume.name,
        codec: job.codec,
        size: volume.size,
        raw_size,
        frames: line.frames,
        sha256: volume.sha256,
        written_by: snapshot.clone(),
    };
    Ok((volume, manifest))
}
