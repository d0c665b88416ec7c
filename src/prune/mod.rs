//! Pruning: carrying out what retention says, and nothing else.
//!
//! The danger is to remove what somebody needs because something was read wrongly. So whatever cannot be read stays: a
//! snapshot without a readable record, everything if holds or runs cannot be listed. It works under the job's lease,
//! asks retention, and moves what goes to the trash, from where it can be taken back for a while, under the lease too.
//! What is held while it works stays. A snapshot counts as good only if its files are there, as long as its record says,
//! and no verification found damage, in it or in a file that it shares with another, that none has disproved. One that
//! cannot be read may have found some.
//!
//! This room never decides which snapshots stay, and never looks into a volume.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::catalog::{
    Catalog, CatalogError, Claim, Hold, Lease, Remembered, SharedDamage, Stored, Trashed, damages_of, shared_damage,
    shared_doubt, verdict,
};
use crate::domain::{ByteCount, Cancel, SnapshotName, Verdict};
use crate::observe::{Event, Observer};
use crate::retention::{Clocks, Dated, Judgement, Policy, Quality, judge};
use crate::store::StoreError;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Order {
    /// What stays.
    pub policy: Policy,
    /// Of the calendar.
    pub zone: TimeZone,
    /// By our clock.
    pub now: Timestamp,
    /// How long removed snapshots can be taken back; none if nobody has said it, then the trash is not emptied.
    pub trash_for: Option<Duration>,
}

/// How much a snapshot takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Bytes of all files in its folder.
    pub size: ByteCount,
    /// Of them, those that have no other name in the store.
    pub alone: ByteCount,
}

/// What was, or would be, done.
#[derive(Clone, Debug)]
pub struct Report {
    /// Every snapshot with its verdict.
    pub judgement: Judgement,
    /// What each takes.
    pub weights: BTreeMap<SnapshotName, Weight>,
    /// What is known of the damaged ones, in words.
    pub damages: BTreeMap<SnapshotName, Vec<String>>,
    /// Bytes that the removals free together, once the trash is emptied: those of files all of whose names go.
    pub frees: ByteCount,
    /// Moved to the trash.
    pub removed: Vec<SnapshotName>,
    /// Held by somebody since they were judged, so they stayed.
    pub held_meanwhile: Vec<SnapshotName>,
    /// Snapshots that were removed for good from the trash.
    pub emptied: u64,
    /// It was asked to stop: the rest, if there is any, is left to the next prune.
    pub is_stopped: bool,
}

/// Says what would be done, and does nothing: so it does not ask the store's clock either, which takes a file.
///
/// # Errors
/// If something cannot be listed.
pub fn plan(catalog: &Catalog, order: &Order) -> Result<Report, CatalogError> {
    plan_at(catalog, order, Clocks::ours(order.now), &|| ())
}

/// Calls `moves` for each snapshot that was looked at.
fn plan_at(catalog: &Catalog, order: &Order, clocks: Clocks, moves: &dyn Fn()) -> Result<Report, CatalogError> {
    let names = catalog.snapshots()?;
    let holds = catalog.holds()?;
    let Remembered { known: verifications, unread } = catalog.remembered()?;
    let (mut records, mut files) = (BTreeMap::new(), BTreeMap::new());
    for name in names {
        let record = match catalog.record(&name) {
            Ok((record, _)) => Some(record),
            Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
            // what cannot be read is not known to be superfluous
            Err(_) => None,
        };
        match catalog.files_of(&catalog.layout().snapshot(&name)) {
            Ok(found) => {
                files.insert(name.clone(), found);
                records.insert(name, record);
            }
            // somebody removed it meanwhile, which is no trouble of the others
            Err(CatalogError::Store(StoreError::NotThere { .. })) if !catalog.snapshots()?.contains(&name) => {}
            Err(error) => return Err(error),
        }
        moves();
    }
    let stored = records.iter().map(|(name, record)| {
        let stored = Stored { record: record.as_ref(), files: &files[name] };
        (name.clone(), stored)
    });
    let stored = stored.collect();
    let shared = shared_damage(&stored, &verifications);
    let doubted = shared_doubt(&stored, &unread);
    let (mut snapshots, mut damages) = (Vec::with_capacity(records.len()), BTreeMap::new());
    for (name, record) in &records {
        let mut damaged = record.as_ref().map(|record| damages_of(record, &files[name])).unwrap_or_default();
        let known = verifications.get(name).and_then(|all| verdict(all)).filter(|known| !known.is_well());
        damaged.extend(known.map(|known| format!("verify found damage on {}", known.at.strftime("%Y-%m-%d"))));
        damaged.extend(shared.get(name).into_iter().flatten().map(|SharedDamage { file, found }| {
            let day = found.at.strftime("%Y-%m-%d");
            format!("verify found damage on {day} in {file}, which it shares with {}", found.snapshot)
        }));
        // it may tell of damage
        damaged.extend(unread.get(name).map(|why| format!("a verification of it cannot be read: {why}")));
        damaged.extend(
            doubted
                .get(name)
                .map(|(file, of)| format!("a verification of {of}, with which it shares {file}, cannot be read")),
        );
        let quality = match record {
            None => Quality::Unread,
            Some(_) if !damaged.is_empty() => Quality::Damaged,
            Some(record) if record.verdict == Verdict::Ok => Quality::Good,
            Some(_) => Quality::Partial,
        };
        if !damaged.is_empty() {
            damages.insert(name.clone(), damaged);
        }
        snapshots.push(Dated { name: name.clone(), quality, held: holds.contains_key(name) });
    }
    let last = catalog.runs(1)?.into_iter().next();
    let mut not_ok = last.filter(|run| run.verdict != Verdict::Ok).map(|run| run.verdict.word());
    if catalog.is_last_run_unreadable()? {
        not_ok = Some("not readable");
    }
    let judgement = judge(&order.policy, &order.zone, clocks, not_ok, &snapshots);
    let (mut weights, mut going) = (BTreeMap::new(), BTreeMap::<(String, u64, u64), u64>::new());
    for verdict in &judgement.verdicts {
        let name = &verdict.snapshot.name;
        let mut weight = Weight::default();
        for (file, size, links) in files.remove(name).unwrap_or_default() {
            weight.size.0 += size;
            if links <= 1 {
                weight.alone.0 += size;
            }
            if !verdict.stays() {
                // one file under several names has one name in each snapshot: its own
                let file = if links > 1 { file } else { format!("{name}/{file}") };
                *going.entry((file, size, links)).or_default() += 1;
            }
        }
        weights.insert(name.clone(), weight);
    }
    let frees = going.into_iter().filter(|((_, _, links), count)| count >= links).map(|((_, size, _), _)| size).sum();
    Ok(Report {
        judgement,
        weights,
        damages,
        frees: ByteCount(frees),
        removed: Vec::new(),
        held_meanwhile: Vec::new(),
        emptied: 0,
        is_stopped: false,
    })
}

/// Prunes, under the job's lease. Between two removals it looks whether it is asked to stop, and says that it moves: by
/// advances of nothing, because there is nothing to count.
///
/// # Errors
/// [`CatalogError::Leased`] if a run is at work; otherwise the first that the store says. What was moved to the trash
/// before stays there.
pub fn prune(
    catalog: &Catalog,
    order: &Order,
    claim: Claim,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Report, CatalogError> {
    let lease = Lease::acquire(catalog, claim)?;
    let done = under_lease(catalog, order, &lease, cancel, observer);
    let released = lease.release();
    let report = done?;
    released?;
    Ok(report)
}

fn under_lease(
    catalog: &Catalog,
    order: &Order,
    lease: &Lease,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Report, CatalogError> {
    let moves = || observer.notice(&Event::Advanced { entries: 0, bytes: ByteCount::ZERO, stored: ByteCount::ZERO });
    let may_go_on = || {
        moves();
        cancel.asked().is_none()
    };
    let clocks = Clocks { ours: order.now, stores: Some(catalog.store().now()?) };
    let mut report = plan_at(catalog, order, clocks, &moves)?;
    if report.judgement.refusal.is_some() {
        // what is in doubt for a snapshot is in doubt for what may be all that is left of one
        return Ok(report);
    }
    let removals: Vec<SnapshotName> = report.judgement.removals().cloned().collect();
    for name in removals {
        if !may_go_on() {
            break;
        }
        // between two removals somebody may have taken the lease over, or the disk may be another
        lease.renew()?;
        catalog.store().check_identity()?;
        if catalog.discard_unless_held(&name)? {
            report.removed.push(name);
        } else {
            report.held_meanwhile.push(name);
        }
    }
    if let Some(trash_for) = order.trash_for
        && may_go_on()
    {
        lease.renew()?;
        report.emptied = catalog.empty_trash(trash_for, &may_go_on)?;
    }
    report.is_stopped = cancel.asked().is_some();
    Ok(report)
}

/// Which removed snapshots are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Those whose files are there, as long as their record says.
    Whole,
    /// Damaged ones as well: somebody said so.
    Damaged,
}

/// What was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// The hold that keeps the next prune from removing it again: ours, or an older one.
    pub hold: Hold,
    /// What of it is missing or cut, in words; empty if it is whole.
    pub damages: Vec<String>,
}

/// Takes a removed snapshot back and holds it with `hold`, under the job's lease.
///
/// # Errors
/// [`CatalogError::TrashDamaged`] if it is not whole and only whole ones are accepted; [`CatalogError::StillThere`] if a
/// snapshot of its name is there; [`CatalogError::Leased`] if a run is at work; otherwise what the store says.
pub fn take_back(
    catalog: &Catalog,
    trashed: &Trashed,
    hold: &Hold,
    accept: Accept,
    claim: Claim,
) -> Result<TakenBack, CatalogError> {
    let lease = Lease::acquire(catalog, claim)?;
    let done = take_back_under_lease(catalog, trashed, hold, accept, &lease);
    let released = lease.release();
    let taken = done?;
    released?;
    Ok(taken)
}

fn take_back_under_lease(
    catalog: &Catalog,
    trashed: &Trashed,
    hold: &Hold,
    accept: Accept,
    lease: &Lease,
) -> Result<TakenBack, CatalogError> {
    let damages = catalog.damages_in_trash(trashed)?;
    if !damages.is_empty() && accept == Accept::Whole {
        return Err(CatalogError::TrashDamaged { snapshot: trashed.name.clone(), damages });
    }
    let hold = catalog.take_back(trashed, hold, lease)?;
    Ok(TakenBack { hold, damages })
}
