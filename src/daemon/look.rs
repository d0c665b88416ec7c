//! A look at a store, in a child: whether it can be used, how much room it has, and what lies in it.
//!
//! The loop itself never touches a store: a dead mount would hold it for ever. The child gets the question as JSON on its
//! standard input and answers with JSON. It leaves nothing in the store: only who looks into folders asks the store for
//! its time, which takes a file that is removed at once.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, CatalogError, Verification, standing, verdict};
use crate::domain::{Advise, Clock, JobName, Level, Part, SnapshotName, StoreId, SystemClock, Trouble, Verdict};
use crate::prune;
use crate::report::RunRecord;
use crate::retention::Policy;
use crate::store::Store;
use crate::supervise::StoreOrder;
use crate::wiring::open_store;

/// The hidden verb that makes this program a look's child.
pub const LOOK_VERB: &str = "__look";

/// Of a run's skipped entries so many are told: the page shows no more.
const SKIPS_TOLD: usize = 100;

/// What is wanted to be known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LookOrder {
    /// The store.
    pub store: StoreOrder,
    /// The zone of retention's calendar.
    pub zone: String,
    /// The jobs whose folders are to be looked into; none: only whether the store can be used.
    pub jobs: Vec<LookJob>,
}

/// A job whose folder is looked into.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LookJob {
    /// Its name.
    pub job: JobName,
    /// What stays, and why.
    pub retention: Policy,
    /// So many of its newest runs are told.
    pub runs: usize,
}

/// What was seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look {
    /// The store can be used.
    Seen(Box<Seen>),
    /// It cannot.
    Trouble(Trouble),
}

/// A store that can be used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Which.
    pub id: StoreId,
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// How far its clock is ahead of ours, in seconds; none if it was not asked, or did not say.
    pub skew_s: Option<i64>,
    /// What was asked for.
    pub jobs: Vec<SeenJob>,
    /// Jobs whose folders could not be looked into, and why.
    pub unlisted: Vec<(JobName, Trouble)>,
}

/// What lies in a job's folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeenJob {
    /// Its name.
    pub job: JobName,
    /// When the look began.
    pub at: Timestamp,
    /// In which store.
    pub store: StoreId,
    /// Newest first.
    pub snapshots: Vec<SeenSnapshot>,
    /// Snapshots in the trash.
    pub trashed: Vec<SnapshotName>,
    /// Newest first.
    pub runs: Vec<RunRecord>,
}

/// A snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeenSnapshot {
    /// Its name.
    pub name: SnapshotName,
    /// Bytes of content.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Whether its run was ok.
    pub is_ok: bool,
    /// When it was proven well, and how well; none while damage stands that nobody has disproved.
    pub verified: Option<(Timestamp, Level)>,
    /// How deep and when it was verified, whatever was found; of each that still counts.
    pub tried: Vec<Tried>,
    /// Why it stays.
    pub kept_for: Vec<String>,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// A verification that still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// How deep it looked.
    pub level: Level,
    /// At which part, if not at all of it.
    pub part: Option<Part>,
    /// When it ended.
    pub at: Timestamp,
}

impl From<&Verification> for Tried {
    fn from(one: &Verification) -> Self {
        Self { level: one.level, part: one.part, at: one.at }
    }
}

/// The child: reads an order from `input`, looks, and answers to `output`. False if there was no order.
pub fn run_look(input: &mut dyn Read, output: &mut dyn Write) -> bool {
    // whoever asked is gone: nobody wants the answer
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let mut text = Vec::new();
    let Ok(Ok(order)) = input.read_to_end(&mut text).map(|_| serde_json::from_slice::<LookOrder>(&text)) else {
        return false;
    };
    let look = look(&order, SystemClock::new().now());
    let text = serde_json::to_vec(&look).expect("a look is plain values");
    output.write_all(&text).and_then(|()| output.flush()).is_ok()
}

fn look(order: &LookOrder, now: Timestamp) -> Look {
    let store = match open_store(&order.store) {
        Ok((store, _)) => store,
        Err(error) => return Look::Trouble(Trouble::from(&error)),
    };
    match seen(order, &store, now) {
        Ok(seen) => Look::Seen(Box::new(seen)),
        Err(error) => Look::Trouble(Trouble::of(&error as &dyn Advise, &error)),
    }
}

fn seen(order: &LookOrder, store: &Arc<dyn Store>, now: Timestamp) -> Result<Seen, CatalogError> {
    let room = store.room()?;
    let zone = TimeZone::get(&order.zone).unwrap_or(TimeZone::UTC);
    // a store that cannot be written has troubles of its own, and a run will tell them
    let asked = (!order.jobs.is_empty()).then(|| store.now().ok()).flatten();
    let skew_s = asked.map(|there| there.duration_since(SystemClock::new().now()).as_secs());
    let (mut jobs, mut unlisted) = (Vec::new(), Vec::new());
    for job in &order.jobs {
        match seen_job(job, &zone, store, now) {
            Ok(seen) => jobs.push(seen),
            Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
            // one folder that cannot be read hides no other
            Err(error) => unlisted.push((job.job.clone(), Trouble::of(&error as &dyn Advise, &error))),
        }
    }
    Ok(Seen { id: store.id().clone(), free: room.free.0, total: room.total.0, skew_s, jobs, unlisted })
}

fn seen_job(job: &LookJob, zone: &TimeZone, store: &Arc<dyn Store>, now: Timestamp) -> Result<SeenJob, CatalogError> {
    let catalog = Catalog::new(Arc::clone(store), job.job.clone());
    let mut runs = catalog.runs(job.runs)?;
    runs.iter_mut().for_each(|run| run.skips.truncate(SKIPS_TOLD));
    let what = prune::Order { policy: job.retention, zone: zone.clone(), now, trash_for: None };
    let plan = prune::plan(&catalog, &what)?;
    let mut verifications = catalog.verifications()?;
    let why: BTreeMap<&SnapshotName, Vec<String>> = plan
        .judgement
        .verdicts
        .iter()
        .map(|verdict| {
            let reasons = verdict.reasons.iter().map(|reason| reason.word().to_owned()).collect();
            (&verdict.snapshot.name, reasons)
        })
        .collect();
    let mut snapshots = Vec::new();
    for name in catalog.snapshots()?.into_iter().rev() {
        let verified = verifications.remove(&name);
        let known: Option<&Verification> = verified.as_deref().and_then(verdict).filter(|known| known.is_well());
        let tried = verified.as_deref().map(standing).unwrap_or_default();
        let Some(record) = catalog.record_or_damage(&name)? else { continue };
        let damages = plan.damages.get(&name).map(|damages| damages.join("; "));
        snapshots.push(SeenSnapshot {
            bytes: record.as_ref().map_or(0, |record| record.totals.content_bytes.0),
            entries: record.as_ref().map_or(0, |record| record.totals.entries),
            is_ok: record.as_ref().is_ok_and(|record| record.verdict == Verdict::Ok),
            verified: known.map(|known| (known.at, known.level)),
            tried: tried.into_iter().map(Tried::from).collect(),
            kept_for: why.get(&name).cloned().unwrap_or_default(),
            damage: damages.or(record.err().map(|error| error.to_string())),
            name,
        });
    }
    // after the snapshots: what is removed meanwhile is seen in one place at least
    let trashed = catalog.trash()?.into_iter().map(|trashed| trashed.name).collect();
    Ok(SeenJob { job: job.job.clone(), at: now, store: store.id().clone(), snapshots, trashed, runs })
}
