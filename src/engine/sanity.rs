//! What makes a run doubtful although nothing failed: a source that shrinks sharply is more often a half-mounted disk than
//! a clean-up, and a clock that is ahead names a snapshot, and by it all that follow, for the future.
//!
//! Neither refuses a run: which of two clocks is wrong nobody can say here, and a snapshot under a wrong date is better
//! than none.

use jiff::Timestamp;

use crate::domain::{SnapshotName, Totals};
use crate::retention::CLOCKS_APART_MAX;

/// In words, if the clock by which a snapshot is named is ahead of the store's by more than retention bears. One that is
/// behind names nothing for the future.
pub fn clock_doubt(ours: Timestamp, stores: Timestamp) -> Option<String> {
    (ours.duration_since(stores) > CLOCKS_APART_MAX).then(|| {
        format!(
            "this machine's clock ({ours:.0}) is more than an hour ahead of the store's ({stores:.0}): the snapshot may be dated in the future, and later ones after it; set the clock right that is wrong"
        )
    })
}

/// In words, if entries or content fell by more than `max_shrink_percent` against the snapshot `name`.
pub fn shrink_doubt(name: &SnapshotName, before: &Totals, now: &Totals, max_shrink_percent: u8) -> Option<String> {
    let fell = |before: u64, now: u64| {
        u128::from(now) * 100 < u128::from(before) * u128::from(100_u8.saturating_sub(max_shrink_percent))
    };
    let mut parts = Vec::new();
    if fell(before.entries, now.entries) {
        parts.push(format!("from {} to {} entries", before.entries, now.entries));
    }
    if fell(before.content_bytes.0, now.content_bytes.0) {
        parts.push(format!("from {} to {} of content", before.content_bytes, now.content_bytes));
    }
    (!parts.is_empty()).then(|| {
        format!(
            "the source shrank by more than {max_shrink_percent} % since {name} ({}): check that all of it is mounted; if it is meant, say so once with --max-shrink 100%",
            parts.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{clock_doubt, shrink_doubt};
    use crate::domain::{ByteCount, SnapshotName, Totals};

    fn name() -> SnapshotName {
        "up-20261121T020000Z".parse().expect("a name")
    }

    fn totals(entries: u64, bytes: u64) -> Totals {
        Totals { entries, content_bytes: ByteCount(bytes), ..Totals::default() }
    }

    #[test]
    fn falling_to_the_edge_of_the_band_is_still_well_and_below_is_not() {
        let before = totals(100, 1000);
        assert_eq!(shrink_doubt(&name(), &before, &totals(50, 500), 50), None);
        assert!(
            shrink_doubt(&name(), &before, &totals(49, 1000), 50).expect("a doubt").contains("from 100 to 49 entries")
        );
        assert!(shrink_doubt(&name(), &before, &totals(100, 499), 50).is_some());
        assert_eq!(shrink_doubt(&name(), &before, &totals(0, 0), 100), None, "100 % allows everything");
        assert!(shrink_doubt(&name(), &before, &totals(99, 999), 0).is_some(), "0 % allows nothing");
        assert_eq!(shrink_doubt(&name(), &totals(0, 0), &totals(0, 0), 50), None);
    }

    #[test]
    fn a_clock_is_doubted_that_is_more_than_an_hour_ahead_and_none_that_is_behind() {
        let at = |second| jiff::Timestamp::from_second(second).expect("a time");
        assert_eq!(clock_doubt(at(1_000_003_600), at(1_000_000_000)), None);
        assert!(clock_doubt(at(1_000_003_601), at(1_000_000_000)).is_some());
        assert_eq!(clock_doubt(at(0), at(1_000_000_000)), None);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        assert!(shrink_doubt(&name(), &totals(u64::MAX, u64::MAX), &totals(1, 1), 50).is_some());
        assert_eq!(shrink_doubt(&name(), &totals(1, 1), &totals(u64::MAX, u64::MAX), 50), None);
    }
}
