//! Room: whether what is to be written can fit, asked before anything is written.
//!
//! A run is refused only when it is sure not to fit: what will be stored is not known before it is compressed. Where
//! storing everything anew is due and only for that there is no room, it is put off: a snapshot of what changed is better
//! than none. The source is looked through first only where the answer could be a refusal, or where somebody watches.

use std::sync::Arc;

use super::basis::is_fresh_due;
use super::run::{Context, Job, RunError, walk};
use crate::archive::Codec;
use crate::catalog::{Catalog, Record};
use crate::domain::{ByteCount, Digest, Kind, Totals};
use crate::observe::{Event, Phase};
use crate::source::{Descriptors, Item, Root, Walk, open_roots};
use crate::store::StoreError;

/// Without a snapshot to learn from, compression is believed to shrink by no more than this: a run is refused for
/// lack of room only when it is sure not to fit.
const SHRINKS_AT_MOST: u64 = 20;

/// A run that has less than this before it begins will not get anywhere.
const ROOM_LEAST: ByteCount = ByteCount(1 << 20);

/// For what there is room.
#[derive(Clone, Copy, Debug)]
pub(super) enum Admitted {
    /// For all that is to be done.
    AsDue,
    /// For what changed; not for storing everything anew, which is due.
    NotFresh {
        /// What is free.
        free: ByteCount,
        /// What storing everything needs at the least.
        needed: ByteCount,
    },
}

/// Refuses a run that began at `started` and is sure not to fit, before anything is written. Of what it needs `stored` is
/// there already, in volumes that it adopted.
pub(super) fn check_room(
    job: &Job,
    context: &Context<'_>,
    descriptors: &Arc<Descriptors>,
    catalog: &Catalog,
    (before, started): (Option<&(Record, Digest)>, jiff::Timestamp),
    stored: ByteCount,
) -> Result<Admitted, RunError> {
    let free = catalog.store().room()?.free;
    let is_due = before.is_some_and(|(record, _)| is_fresh_due(job.reuse.fresh_every, record, started));
    let before = before.map(|(record, _)| &record.totals);
    // what the snapshot before holds is linked, unless all is read anew
    let linked = before.filter(|_| !job.reuse.full).map_or(ByteCount::ZERO, |totals| totals.content_bytes);
    let needed_beside = |held: ByteCount, bytes: ByteCount| {
        let more = ByteCount(bytes.0.saturating_sub(held.0));
        ByteCount(least_stored(job.codec, before, more).0.saturating_sub(stored.0))
    };
    let held = if is_due { ByteCount::ZERO } else { linked };
    // what is in use on the source's file systems bounds what the source holds: looking through it costs time, and
    // is worth it only where the answer could be a refusal
    let bound = open_roots(&job.sources, job.naming(), descriptors)?.iter().map(Root::file_system_used).sum();
    let doubtful = free < needed_beside(held, bound);
    let (mut needed, mut without_fresh) = (ROOM_LEAST, ROOM_LEAST);
    if doubtful || (job.survey && before.is_none()) {
        context.observer.notice(&Event::Entered { phase: Phase::Surveying });
        let (entries, bytes) =
            survey(walk(job, catalog.store(), open_roots(&job.sources, job.naming(), descriptors)?), context)?;
        // from here the store is waited for again: whoever watches shall not blame the source for its silence
        context.observer.notice(&Event::Entered { phase: Phase::Opening });
        context.observer.notice(&Event::Expected { entries, bytes });
        needed = needed.max(needed_beside(held, bytes));
        without_fresh = without_fresh.max(needed_beside(linked, bytes));
    } else if let Some(totals) = before {
        context.observer.notice(&Event::Expected { entries: totals.entries, bytes: totals.content_bytes });
    }
    if free < without_fresh {
        return Err(StoreError::TooSmall { free, needed: without_fresh }.into());
    }
    Ok(if free < needed { Admitted::NotFresh { free, needed } } else { Admitted::AsDue })
}

/// How many entries the source has, and how much they hold on disk.
fn survey(walk: Walk, context: &Context<'_>) -> Result<(u64, ByteCount), RunError> {
    /// So that whoever watches sees that the source answers.
    const SIGN_OF_LIFE_EVERY: u64 = 1024;
    let (mut items, mut entries, mut bytes) = (0_u64, 0, 0);
    for item in walk {
        if let Some(stop) = context.cancel.asked() {
            return Err(RunError::Stopped(stop));
        }
        items += 1;
        if let Item::Entry(found) = item {
            entries += 1;
            if found.stat.kind == Kind::File {
                bytes += found.stat.size.min(found.stat.allocated) / u64::from(found.stat.links.max(1));
            }
        }
        if items % SIGN_OF_LIFE_EVERY == 0 {
            let none = ByteCount::ZERO;
            context.observer.notice(&Event::Advanced { entries: 0, bytes: none, stored: none });
        }
    }
    Ok((entries, ByteCount(bytes)))
}

/// What `content` surely takes: at the ratio of the snapshot before less a tenth, or at the best that is thinkable.
fn least_stored(codec: Codec, before: Option<&Totals>, content: ByteCount) -> ByteCount {
    let part = |stored: u64, of: u64| {
        let bytes = u128::from(content.0) * u128::from(stored) / u128::from(of.max(1));
        ByteCount(u64::try_from(bytes).unwrap_or(u64::MAX))
    };
    match (codec, before) {
        (Codec::None, _) => content,
        (_, Some(totals)) if totals.content_bytes.0 > 0 => {
            let stored = totals.stored_bytes.0.saturating_add(totals.reused_bytes.0);
            part(stored / 10 * 9, totals.content_bytes.0).min(content)
        }
        _ => part(1, SHRINKS_AT_MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteCount, Codec, Totals, least_stored};

    #[test]
    fn a_run_is_refused_for_room_only_when_it_is_sure_not_to_fit() {
        let before = Totals { content_bytes: ByteCount(1000), stored_bytes: ByteCount(500), ..Totals::default() };
        let zstd = Codec::default();
        assert_eq!(least_stored(Codec::None, None, ByteCount(100)), ByteCount(100));
        assert_eq!(least_stored(zstd, None, ByteCount(100)), ByteCount(5));
        assert_eq!(least_stored(zstd, Some(&before), ByteCount(2000)), ByteCount(900));
        assert_eq!(least_stored(zstd, Some(&Totals::default()), ByteCount(100)), ByteCount(5));
        assert_eq!(least_stored(zstd, Some(&before), ByteCount(u64::MAX)), ByteCount(u64::MAX / 1000 * 450 + 276));
    }
}
