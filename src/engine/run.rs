//! One run, step by step, in the order that makes it safe.
//!
//! The order: store and source are opened before anything is written, and room is checked before the lease (where somebody
//! prepares the source under the lease, or what dead runs left takes the room, it is checked after that); the draft is
//! complete, flushed and read back before anything is published; whatever goes wrong before the rename removes the draft;
//! whatever happens is an `Outcome`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::room::{Admitted, check_room};
use super::snapshot::{Done, Making};
use super::staged::{Commands, NothingCame};
use crate::archive::Codec;
use crate::catalog::{Adopted, Catalog, CatalogError, Claim, Draft, Holder, Lease, Leftover, Record};
use crate::domain::{
    ByteCount, Cancel, Clock, Digest, Host, JobName, Outcome, RunId, Skips, SnapshotName, Stop, StopReason, Totals,
    Trouble, Verdict,
};
use crate::observe::{Event, Observer, Phase};
use crate::report::duration_words;
use crate::source::{Descriptors, Excludes, Naming, Root, SourceError, Walk, WalkOptions, open_roots};
use crate::store::{Store, StoreError};

/// What is to be snapshotted, and how: settled values only.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// The folders to read; several are stored under their full paths.
    pub sources: Vec<PathBuf>,
    /// Commands whose output is stored besides.
    pub commands: Commands,
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
    /// What is built on the snapshot before.
    pub reuse: Reuse,
}

impl Job {
    /// How what lies in its sources is named.
    pub(super) fn naming(&self) -> Naming {
        Naming::of(self.sources.len(), self.commands.list.len())
    }
}

/// What a run takes over from the snapshot before, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reuse {
    /// Whether everything is read and stored anew, whatever the snapshot before holds.
    pub full: bool,
    /// Everything is, once the oldest volume in use is older than this; never, if not given.
    pub fresh_every: Option<Duration>,
    /// Volumes of more runs than this one snapshot has not.
    pub max_volumes: NonZeroU32,
    /// A volume that has reached this length is followed by another.
    pub volume_size: Option<ByteCount>,
    /// Whether ctime is compared.
    pub ctime: bool,
    /// Whether inode numbers are compared.
    pub inode: bool,
}

impl Default for Reuse {
    /// As configured where nothing is said.
    fn default() -> Self {
        Self {
            full: false,
            fresh_every: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            max_volumes: NonZeroU32::new(30).expect("30 is not 0"),
            volume_size: None,
            ctime: true,
            inode: true,
        }
    }
}

/// Who prepares the source for a run and puts it back.
pub trait Gate: Send + Sync {
    /// Whether anybody does. If so, the source is looked at only after [`Gate::before`].
    fn is_kept(&self) -> bool;

    /// Called under the lease, before anything of the source is read.
    ///
    /// # Errors
    /// Why there is to be no run.
    fn before(&self) -> Result<(), (StopReason, Trouble)>;

    /// Called under the lease, when the source is not needed any more, whatever came of the run. Gives what went wrong.
    fn undo(&self) -> Vec<String>;
}

/// A source that nobody prepares.
#[derive(Clone, Copy, Debug)]
pub struct NoGate;

impl Gate for NoGate {
    fn is_kept(&self) -> bool {
        false
    }

    fn before(&self) -> Result<(), (StopReason, Trouble)> {
        Ok(())
    }

    fn undo(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The circumstances of a run.
pub struct Context<'a> {
    /// This attempt.
    pub run: RunId,
    /// Runs of this machine whose processes are known to have ended: their leases and their work are over.
    pub dead: &'a [RunId],
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
    /// Who prepares the source.
    pub gate: &'a dyn Gate,
}

/// Why a run made no snapshot.
#[derive(Debug)]
pub(super) enum RunError {
    Source(SourceError),
    Store(CatalogError),
    Stopped(Stop),
    /// There is nothing to store.
    Commands(NothingCame),
    /// The source could not be prepared.
    Refused(StopReason, Trouble),
    /// The snapshot before cannot be built on as it was; the run begins again with less of it.
    Unsound(Unsound),
    Panicked,
}

/// What of the snapshot before turned out not to be sound while it was built on.
#[derive(Debug)]
pub(super) enum Unsound {
    /// A volume, by its number.
    Volume(u32),
    /// Its manifest, or a list; in words.
    Manifest(String),
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

/// Runs `job` into the store that `open_store` gives (with what is worth knowing of it), and tells how it went. The
/// only result is the outcome; nothing is printed and nobody is notified.
pub fn run(
    job: &Job,
    open_store: impl FnOnce() -> Result<(Arc<dyn Store>, Vec<String>), StoreError>,
    context: &Context<'_>,
) -> Outcome {
    let started = context.clock.now();
    let began = context.clock.since_start();
    let (mut notices, mut doubts) = (Vec::new(), Vec::new());
    let result = attempt(job, open_store, context, started, &mut notices, &mut doubts);
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
        doubts,
        notices,
        failure: None,
    };
    match result {
        Ok(done) => {
            if done.holds_store {
                let text = "the store lies in the source: its folder is stored, what is in it is not";
                context.observer.notice(&Event::Notice { text });
                outcome.notices.push(text.to_owned());
            }
            outcome.snapshot = Some(done.snapshot);
            outcome.record = Some(done.record);
            outcome.totals = done.totals;
            outcome.skips = done.skips;
            outcome.doubts.splice(0..0, done.doubts);
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
        RunError::Refused(reason, trouble) => (*reason, trouble.clone()),
        RunError::Commands(nothing) => (StopReason::Source, nothing.trouble()),
        RunError::Stopped(stop) => {
            let what = match stop {
                Stop::Interrupted => "the run was interrupted (SIGINT)",
                Stop::Terminated => "the run was stopped (SIGTERM)",
            };
            let advice =
                "run again when it suits: volumes that were finished are left for that run, the rest was removed"
                    .to_owned();
            ((*stop).into(), Trouble { what: what.to_owned(), causes: Vec::new(), advice })
        }
        RunError::Unsound(_) | RunError::Panicked => {
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
    doubts: &mut Vec<String>,
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
    let catalog = Catalog::new(store, job.name.clone());
    // where somebody prepares the source, it is not there yet
    let is_prepared = context.gate.is_kept();
    let admitted = if is_prepared { None } else { room_now(job, context, &descriptors, &catalog, started)? };
    let claim = Claim {
        run: context.run.clone(),
        host: context.host.clone(),
        pid: context.pid,
        started,
        term_s: job.lease_term.as_secs(),
    };
    let lease = Lease::acquire_after(&catalog, claim, context.dead)?;
    if let Some(holder) = lease.taken_over_from() {
        note(format!("took over the stale lease of {holder}"));
    }
    let result = while_renewed(&lease, || {
        if is_prepared {
            context.gate.before().map_err(|(reason, trouble)| RunError::Refused(reason, trouble))?;
            drop(open_roots(&job.sources, job.naming(), &descriptors)?);
        }
        // again, now that nobody else can add to them
        let before = previous(&catalog, &mut note)?;
        let mut draft = Draft::create(&catalog, &context.run)?;
        let result = take_leftovers(&catalog, context, job.lease_term, &lease, &draft, &mut note).and_then(|adopted| {
            let (descriptors, catalog, lease) = (&descriptors, &catalog, &lease);
            let admitted = match admitted {
                Some(admitted) => admitted,
                None => {
                    let stored = adopted.iter().map(|volume| ByteCount(volume.file.size)).sum();
                    check_room(job, context, descriptors, catalog, (before.as_ref(), started), stored)?
                }
            };
            let yardstick = yardstick(catalog, before.as_ref())?;
            let making =
                Making { job, context, descriptors, catalog, lease, started, admitted, before, yardstick, adopted };
            making.make(&mut draft, &mut note)
        });
        if let Err(error) = &result {
            end_draft(draft, error, &mut note);
        }
        result
    });
    // before the lease is given back: the next run may prepare the source anew
    if is_prepared {
        match while_renewed(&lease, || Ok(context.gate.undo())) {
            Ok(failed) => doubts.extend(failed),
            Err(_) => doubts.push("a thread of the run panicked while it was undone".to_owned()),
        }
    }
    if let Err(error) = lease.release() {
        note(format!("the lease could not be given back ({error}); it ends by itself"));
    }
    result
}

/// For what there is room as the store is now. Where there is too little, and unfinished work lies there, that may be why:
/// it is adopted or removed under the lease, and room is asked for again, so this gives none.
fn room_now(
    job: &Job,
    context: &Context<'_>,
    descriptors: &Arc<Descriptors>,
    catalog: &Catalog,
    started: jiff::Timestamp,
) -> Result<Option<Admitted>, RunError> {
    drop(open_roots(&job.sources, job.naming(), descriptors)?);
    let before = previous(catalog, &mut |_| ())?;
    let admitted = check_room(job, context, descriptors, catalog, (before.as_ref(), started), ByteCount::ZERO);
    let is_too_little = match &admitted {
        Ok(Admitted::AsDue) => false,
        Ok(Admitted::NotFresh { .. }) => true,
        Err(error) => is_lack_of_room(error),
    };
    if is_too_little && !catalog.leftovers()?.is_empty() {
        return Ok(None);
    }
    admitted.map(Some)
}

fn is_lack_of_room(error: &RunError) -> bool {
    matches!(error, RunError::Store(CatalogError::Store(StoreError::TooSmall { .. } | StoreError::NoRoom { .. })))
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

/// What the source is measured by: the newest snapshot that was ok, else the newest. A source that is half gone makes a run
/// partial until it is whole again, and not for one night only.
fn yardstick(catalog: &Catalog, before: Option<&(Record, Digest)>) -> Result<Option<(SnapshotName, Totals)>, RunError> {
    let of = |record: &Record| (record.snapshot.clone(), record.totals);
    let Some((newest, _)) = before else { return Ok(None) };
    if newest.verdict == Verdict::Ok {
        return Ok(Some(of(newest)));
    }
    for name in catalog.snapshots()?.iter().rev() {
        match catalog.record(name) {
            Ok((record, _)) if record.verdict == Verdict::Ok => return Ok(Some(of(&record))),
            Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(Some(of(newest)))
}

/// What becomes of the unfinished work of a run that failed: whole volumes are left to the next run, unless it is for
/// them that there is no room.
fn end_draft(draft: Draft, error: &RunError, note: &mut impl FnMut(String)) {
    let is_full = matches!(error, RunError::Store(CatalogError::Store(StoreError::NoRoom { .. })));
    match if is_full { Ok(0) } else { draft.leave() } {
        Ok(0) => {
            if let Err(error) = draft.abandon() {
                note(format!("the unfinished work could not be removed ({error}); a later run cleans up"));
            }
        }
        // what may hold whole volumes is not removed because a store did not answer
        Err(error) => {
            note(format!("the unfinished work was left as it is ({error}); a later run adopts it or cleans up"))
        }
        Ok(volumes) => note(format!("{volumes} finished volumes are left for the next run, which adopts them")),
    }
}

/// Takes over what dead runs had finished, and removes the rest of their work: this run has the lease, and they (or whoever
/// broke theirs) said that they are over, or it took theirs over, or nothing has touched their work for a term.
fn take_leftovers(
    catalog: &Catalog,
    context: &Context<'_>,
    term: Duration,
    lease: &Lease,
    draft: &Draft,
    note: &mut impl FnMut(String),
) -> Result<Vec<Adopted>, RunError> {
    let mut adopted = Vec::new();
    match catalog.sweep_trash(&|| true) {
        Ok(()) => {}
        Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
        Err(error) => note(format!("what was being removed when a run died could not be removed: {error}")),
    }
    let leftovers: Vec<Leftover> = catalog.leftovers()?.into_iter().filter(|left| left.run != context.run).collect();
    if leftovers.is_empty() {
        return Ok(adopted);
    }
    let now = catalog.store().now()?;
    for Leftover { run, touched, given_up } in leftovers {
        let silent = Duration::try_from(now.duration_since(touched)).unwrap_or(Duration::ZERO);
        let is_taken_over = matches!(lease.taken_over_from(), Some(Holder::Run(claim)) if claim.run == run);
        if silent <= term && !given_up && !is_taken_over && !context.dead.contains(&run) {
            note(format!(
                "the unfinished work of run {} is left for now: it was written to {} ago, so that run may still be at work; after {} of silence the next run takes it over",
                &run.as_str()[..8],
                duration_words(silent),
                duration_words(term),
            ));
            continue;
        }
        let (finished, passed) = draft.adopt(&run, context.observer)?;
        passed.into_iter().for_each(&mut *note);
        if !finished.is_empty() {
            let bytes = ByteCount(finished.iter().map(|volume| volume.file.size).sum());
            note(format!(
                "adopted {} finished volumes ({bytes}) of run {}, which was interrupted",
                finished.len(),
                &run.as_str()[..8]
            ));
        }
        adopted.extend(finished);
        match catalog.remove_unfinished(&run) {
            Ok(()) => note(format!("removed the unfinished work of run {}", &run.as_str()[..8])),
            Err(error) => note(format!("could not remove the unfinished work of run {}: {error}", &run.as_str()[..8])),
        }
    }
    Ok(adopted)
}

/// The name of the snapshot: the second in which the run began, or the first one after the newest snapshot's, that no
/// adopted volume is named for.
pub(super) fn choose_name(
    catalog: &Catalog,
    started: jiff::Timestamp,
    adopted: &[Adopted],
) -> Result<SnapshotName, RunError> {
    let job = catalog.layout().job();
    let next = |name: &SnapshotName| {
        let later = name.at().checked_add(Duration::from_secs(1)).unwrap_or(started);
        SnapshotName::new(job, later)
    };
    let mut name = SnapshotName::new(job, started);
    if let Some(newest) = catalog.snapshots()?.pop().filter(|newest| *newest >= name) {
        name = next(&newest);
    }
    // not after them: a dead run whose clock was years ahead would have all later ones named for the future
    while adopted.iter().any(|volume| volume.header().snapshot == name) {
        name = next(&name);
    }
    Ok(name)
}
