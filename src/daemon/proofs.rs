//! Which snapshot is verified next, and what of damage is news: arithmetic over what looks have told.
//!
//! The dangers are a snapshot that is never read, and a "well again" that is not true. So turns go by the last attempt,
//! whatever came of it: neither the newest nor one that always fails takes every slot. And whether a snapshot is damaged
//! is the look's word alone, which knows of every verification and of what stands (`catalog::proven`); what is
//! remembered here is only what people were told.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::look::{SeenJob, SeenSnapshot, Tried};
use crate::domain::{Level, Part, SnapshotName};

/// Damaged snapshots that people know of; where this daemon found it, how.
pub(super) type ToldDamage = BTreeMap<SnapshotName, Option<Found>>;

/// A verification of this daemon that found damage, of which the store may know nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// When it began.
    pub(super) began: Timestamp,
    /// How deep it looked.
    pub(super) level: Level,
    /// At which part, if not at all of it.
    pub(super) part: Option<Part>,
}

impl Found {
    /// Whether this attempt, of which the store does know, is that verification, or a later one that has looked at least
    /// as well at what was damaged.
    fn is_known_by(&self, tried: &Tried) -> bool {
        tried.at >= self.began
            && match (tried.part, self.part) {
                (None, _) => tried.level >= self.level,
                (Some(part), found) => tried.level == self.level && found == Some(part),
            }
    }
}

/// What a look tells of damage that is news.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DamageNews {
    /// Newly found, newest first, and what is wrong.
    pub(super) found: Vec<(SnapshotName, String)>,
    /// People knew of damage, and there is none any more: it was disproved, or what was damaged is gone.
    pub(super) is_over: bool,
    /// Whether what was told has to be remembered anew.
    pub(super) has_changed: bool,
}

/// What becomes of a slot of verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody has looked yet: the slot waits.
    Unknown,
    /// What is there could never be listed, and why: it cannot be verified.
    Blind(String),
    /// There is no snapshot.
    Nothing,
    /// It is this one's.
    Of(SnapshotName),
}

/// What becomes of a slot, by what looks have `seen` of the job, or why they saw nothing.
pub(super) fn turn(
    seen: Option<&[SeenSnapshot]>,
    unlisted: Option<&str>,
    level: Level,
    tried: &BTreeMap<SnapshotName, Timestamp>,
    now: Timestamp,
) -> Turn {
    match (seen, unlisted) {
        (Some(seen), _) => next(seen, level, tried, now).map_or(Turn::Nothing, |name| Turn::Of(name.clone())),
        (None, Some(why)) => Turn::Blind(why.to_owned()),
        (None, None) => Turn::Unknown,
    }
}

/// The snapshot whose turn it is: the one of which the last attempt at this level or a deeper one is longest ago; for one
/// that never had any, it is the moment it was made. `tried` are attempts of which the store may know nothing.
fn next<'s>(
    snapshots: &'s [SeenSnapshot],
    level: Level,
    tried: &BTreeMap<SnapshotName, Timestamp>,
    now: Timestamp,
) -> Option<&'s SnapshotName> {
    let last = |snapshot: &SeenSnapshot| {
        let told = snapshot.tried.iter().filter(|tried| tried.level >= level).map(|tried| tried.at);
        // what a clock that was wrong has dated into the future would wait for ever
        let attempts = told.chain(tried.get(&snapshot.name).copied()).filter(|at| *at <= now);
        attempts.max().unwrap_or_else(|| snapshot.name.at().min(now))
    };
    snapshots.iter().map(|snapshot| (last(snapshot), &snapshot.name)).min().map(|(_, name)| name)
}

/// Brings what people were `told` to what a look has `seen`, newest first, and gives what is news to them.
pub(super) fn news(told: &mut ToldDamage, seen: &[SeenSnapshot]) -> DamageNews {
    let before = told.clone();
    told.retain(|name, found| {
        let Some(snapshot) = seen.iter().find(|snapshot| snapshot.name == *name) else { return false };
        // a look that is older than what was found, or a store that could not remember it, disproves nothing
        let is_known = found.as_ref().is_none_or(|found| snapshot.tried.iter().any(|tried| found.is_known_by(tried)));
        snapshot.damage.is_some() || !is_known
    });
    let mut found = Vec::new();
    for snapshot in seen {
        let Some(why) = &snapshot.damage else { continue };
        if !told.contains_key(&snapshot.name) {
            told.insert(snapshot.name.clone(), None);
            found.push((snapshot.name.clone(), why.clone()));
        }
    }
    DamageNews { found, is_over: told.is_empty() && !before.is_empty(), has_changed: *told != before }
}

/// Good snapshots that were there `before`, and are neither there now nor in the trash, where every removal by this program
/// leaves them for `trash_for`. Two looks further apart than that tell nothing of it, nor do looks at two stores.
pub(super) fn vanished(before: &SeenJob, now: &SeenJob, trash_for: Duration) -> Vec<SnapshotName> {
    let apart = now.at.duration_since(before.at);
    if before.store != now.store || apart.is_negative() || apart.unsigned_abs() >= trash_for {
        return Vec::new();
    }
    let good = before.snapshots.iter().filter(|snapshot| snapshot.is_ok && snapshot.damage.is_none());
    let is_there = |name| now.trashed.contains(name) || now.snapshots.iter().any(|snapshot| snapshot.name == *name);
    good.map(|snapshot| &snapshot.name).filter(|name| !is_there(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::{SignedDuration, Timestamp};

    use super::{
        DamageNews, Duration, Found, SeenJob, SeenSnapshot, ToldDamage, Tried, Turn, news, next, turn, vanished,
    };
    use crate::catalog::{Verification, standing, verdict};
    use crate::domain::{JobName, Level, Part, SnapshotName, StoreId};

    fn at(days: i64) -> Timestamp {
        let first: Timestamp = "2026-01-01T02:00:00Z".parse().expect("a time");
        first + SignedDuration::from_hours(24 * days)
    }

    fn name(days: i64) -> SnapshotName {
        let job: JobName = "upload".parse().expect("a job");
        SnapshotName::new(&job, at(days))
    }

    fn seen(days: i64, verifications: &[Verification]) -> SeenSnapshot {
        let known = verdict(verifications);
        SeenSnapshot {
            name: name(days),
            bytes: 1,
            entries: 1,
            is_ok: true,
            verified: known.filter(|known| known.is_well()).map(|known| (known.at, known.level)),
            tried: standing(verifications).into_iter().map(Tried::from).collect(),
            kept_for: Vec::new(),
            damage: known.filter(|known| !known.is_well()).map(|_| "verify found damage".to_owned()),
        }
    }

    fn verified(days: i64, level: Level, part: Option<u32>, damages: u64) -> Verification {
        let part = part.map(|number| Part { number, of: 10 });
        Verification::new(name(0), level, part, at(days), damages, "a test".to_owned())
    }

    fn found(days: i64, level: Level, part: Option<u32>) -> Option<Found> {
        let part = part.map(|number| Part { number, of: 10 });
        Some(Found { began: at(days), level, part })
    }

    /// Days whose snapshots a usual retention has on this day: a week of days, five weeks, twelve months.
    fn kept(today: i64) -> Vec<i64> {
        let stays = |day: &i64| {
            let age = today - day;
            age < 7 || (day % 7 == 0 && age < 35) || (day % 28 == 0 && age < 340)
        };
        (0..=today).rev().filter(stays).collect()
    }

    #[test]
    fn in_a_year_of_weekly_proofs_every_snapshot_that_stays_is_read_and_one_that_always_fails_blocks_none() {
        let fails = 28;
        let mut proven: BTreeMap<i64, Vec<Verification>> = BTreeMap::new();
        let (mut tried, mut attempts, mut picked) = (BTreeMap::new(), 0, BTreeSet::new());
        for today in (0..364).step_by(7) {
            let snapshots: Vec<SeenSnapshot> =
                kept(today).into_iter().map(|day| seen(day, proven.get(&day).map_or(&[], Vec::as_slice))).collect();
            // an hour later the slot comes
            let now = at(today) + SignedDuration::from_hours(1);
            let whose = next(&snapshots, Level::Stored, &tried, now).expect("there are some").clone();
            let day = (0..=today).find(|day| name(*day) == whose).expect("one of them");
            tried.insert(whose, now);
            if day == fails {
                attempts += 1;
            } else {
                proven.entry(day).or_default().push(verified(today, Level::Stored, None, 0));
                picked.insert(day);
            }
        }
        let long: Vec<i64> = (0..364 - 84).filter(|day| kept(day + 83).contains(day) && *day != fails).collect();
        assert!(long.len() >= 8, "{long:?}");
        let never: Vec<&i64> = long.iter().filter(|day| !picked.contains(day)).collect();
        assert_eq!(never, Vec::<&i64>::new(), "kept for twelve weeks and never read");
        assert!(proven[&0].len() > 1, "what was proven is proven again");
        assert!((2..10).contains(&attempts), "{attempts}");
    }

    #[test]
    fn a_quick_look_is_no_turn_of_a_deeper_one_and_damage_that_was_found_is() {
        let now = at(100);
        let quick = seen(1, &[verified(90, Level::Quick, None, 0)]);
        let damaged = seen(2, &[verified(80, Level::Deep, None, 1)]);
        let well = seen(3, &[verified(70, Level::Stored, Some(1), 0)]);
        let all = [well, damaged, quick];
        let nothing = BTreeMap::new();
        assert_eq!(next(&all, Level::Stored, &nothing, now), Some(&name(1)));
        assert_eq!(next(&all[..2], Level::Stored, &nothing, now), Some(&name(3)));
        assert_eq!(next(&all[1..], Level::Quick, &nothing, now), Some(&name(2)));
        // dated into the future by a clock that was wrong: as if it had not been
        let ahead = seen(4, &[verified(500, Level::Stored, None, 0)]);
        assert_eq!(next(&[all[0].clone(), ahead], Level::Stored, &nothing, now), Some(&name(4)));
        assert_eq!(next(&[], Level::Stored, &nothing, now), None);
    }

    #[test]
    fn nothing_to_verify_is_said_only_by_a_look_that_saw_nothing() {
        let nothing = BTreeMap::new();
        let one = [seen(1, &[])];
        let turn = |seen, unlisted| turn(seen, unlisted, Level::Stored, &nothing, at(9));
        assert_eq!(turn(None, None), Turn::Unknown);
        assert_eq!(turn(None, Some("denied")), Turn::Blind("denied".into()));
        assert_eq!(turn(Some(&[]), Some("denied")), Turn::Nothing);
        assert_eq!(turn(Some(&one), Some("denied")), Turn::Of(name(1)), "what was seen before may still be there");
    }

    #[test]
    fn damage_in_one_part_is_over_when_that_part_is_well_and_not_when_another_is() {
        let mut told = ToldDamage::from([(name(1), found(10, Level::Stored, Some(3)))]);
        let mut known = vec![verified(10, Level::Stored, Some(3), 1)];
        let quiet = DamageNews::default();
        assert_eq!(news(&mut told, &[seen(1, &known)]), quiet, "it was told when it was found");
        known.push(verified(11, Level::Stored, Some(4), 0));
        assert_eq!(news(&mut told, &[seen(1, &known)]), quiet, "another part is well");
        known.push(verified(12, Level::Quick, None, 0));
        assert_eq!(news(&mut told, &[seen(1, &known)]), quiet, "a level that proves less");
        known.push(verified(13, Level::Stored, Some(3), 0));
        let over = DamageNews { is_over: true, has_changed: true, ..DamageNews::default() };
        assert_eq!(news(&mut told, &[seen(1, &known)]), over);
        assert_eq!(news(&mut told, &[seen(1, &known)]), quiet, "told once");
    }

    #[test]
    fn what_a_look_finds_is_told_once_and_is_over_when_the_last_is_disproved_or_gone() {
        let mut told = ToldDamage::new();
        let harmed = |day| seen(day, &[verified(10, Level::Stored, None, 1)]);
        let well = |day| seen(day, &[verified(20, Level::Stored, None, 0)]);
        let why = "verify found damage".to_owned();
        let found = vec![(name(2), why.clone()), (name(1), why)];
        assert_eq!(news(&mut told, &[harmed(2), harmed(1)]), DamageNews { found, is_over: false, has_changed: true });
        assert_eq!(news(&mut told, &[harmed(2), harmed(1)]), DamageNews::default());
        assert!(!news(&mut told, &[well(2), harmed(1)]).is_over, "one is still damaged");
        assert!(news(&mut told, &[well(2)]).is_over, "the other is gone");
    }

    #[test]
    fn what_somebody_removed_is_not_what_a_prune_removed_or_another_store_never_had() {
        let look = |day: i64, days: &[i64], trashed: &[i64], store: u8| SeenJob {
            job: "upload".parse().expect("a job"),
            at: at(day),
            store: StoreId::from_random([store; 16]),
            snapshots: days.iter().map(|day| seen(*day, &[])).collect(),
            trashed: trashed.iter().map(|day| name(*day)).collect(),
            runs: Vec::new(),
        };
        let mut before = look(10, &[5, 4, 3, 2], &[], 1);
        before.snapshots[1].is_ok = false;
        let week = Duration::from_secs(7 * 86_400);
        let gone = |now: &SeenJob| vanished(&before, now, week);
        assert_eq!(gone(&look(11, &[6, 5, 4, 3, 2], &[], 1)), []);
        assert_eq!(gone(&look(11, &[6, 3], &[5], 1)), [name(2)], "one is in the trash, one was partial");
        assert_eq!(gone(&look(17, &[6], &[], 1)), [], "the trash may have been emptied");
        assert_eq!(gone(&look(9, &[], &[], 1)), [], "the clock was set back");
        assert_eq!(gone(&look(11, &[], &[], 2)), [], "another store");
    }

    #[test]
    fn a_look_that_does_not_know_what_was_found_ends_nothing() {
        let mut told = ToldDamage::from([(name(1), found(10, Level::Stored, None))]);
        let before = seen(1, &[verified(9, Level::Stored, None, 0)]);
        assert_eq!(news(&mut told, &[before]), DamageNews::default(), "begun before, or the store took no record");
        assert!(news(&mut told, &[seen(1, &[verified(11, Level::Stored, None, 0)])]).is_over);
    }

    /// A store that takes no files had no record of it, and a quick look on the next day told that all was well.
    #[test]
    fn damage_of_which_the_store_knows_nothing_is_over_only_by_a_proof_of_the_same_or_more() {
        let by = |found, after: Verification| {
            let mut told = ToldDamage::from([(name(1), found)]);
            news(&mut told, &[seen(1, &[after])]).is_over
        };
        let whole = || found(10, Level::Stored, None);
        assert!(!by(whole(), verified(12, Level::Quick, None, 0)), "it proves less");
        assert!(!by(whole(), verified(12, Level::Deep, Some(3), 0)), "of a part");
        assert!(by(whole(), verified(12, Level::Stored, None, 0)) && by(whole(), verified(12, Level::Drill, None, 0)));
        let part = || found(10, Level::Stored, Some(3));
        assert!(!by(part(), verified(12, Level::Stored, Some(4), 0)), "another part");
        assert!(!by(part(), verified(12, Level::Quick, None, 0)));
        assert!(by(part(), verified(12, Level::Stored, Some(3), 0)) && by(part(), verified(12, Level::Deep, None, 0)));
        assert!(!by(whole(), verified(9, Level::Drill, None, 0)), "before");
    }
}
