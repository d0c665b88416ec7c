//! Who is told what, and what is held back: arithmetic, with the time as an argument.
//!
//! The danger here is silence. A rule may hold back what was told already, never what is new: trouble of a kind, or for a
//! reason, that has not been told since things were last well is told at once, and what was told is told again after
//! `repeat_after`. A source that is missing and a store that is full are two troubles, though both are a failed run.
//! The memory may be lost at any time; then one message more is sent, never one less.
//!
//! * Trouble of runs (failed, partial, missed, overdue) ends with a run that is ok. Damage of stored snapshots and
//!   trouble of the program itself do not: they end when their caller tells [`Kind::Recovered`]. What has a subject of its
//!   own (a configuration, state) has a memory of its own.
//! * A well end is told once, and only to whom the trouble was told.
//! * Time that stands before what was told last (a clock that stepped back) holds nothing back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{JobName, StopReason};
use crate::report::Kind;

/// How long the same trouble is held back unless something else is configured.
pub const REPEAT_AFTER: Duration = Duration::from_secs(6 * 3600);

/// What one channel is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// These kinds. [`Kind::Test`] always; [`Kind::Trouble`] with [`Kind::Failed`].
    pub on: BTreeSet<Kind>,
    /// Of these jobs only; what is about no job is told as well.
    pub jobs: Option<BTreeSet<JobName>>,
    /// The same trouble is told again after so long.
    pub repeat_after: Duration,
    /// A run that was not ok is told when so many in a row were not; 1 tells the first.
    pub after_failures: u32,
}

impl Rules {
    /// What is told to people unless they say otherwise: all that is wrong, and that it is well again.
    pub fn for_people() -> Self {
        Self::of(&[Kind::Failed, Kind::Partial, Kind::Missed, Kind::Overdue, Kind::Damage, Kind::Recovered])
    }

    /// Everything: for programs.
    pub fn everything() -> Self {
        let mut rules = Self::for_people();
        rules.on.insert(Kind::Ok);
        rules.repeat_after = Duration::ZERO;
        rules
    }

    /// These kinds, with every other default.
    pub fn of(kinds: &[Kind]) -> Self {
        Self { on: kinds.iter().copied().collect(), jobs: None, repeat_after: REPEAT_AFTER, after_failures: 1 }
    }

    fn wants(&self, kind: Kind) -> bool {
        match kind {
            Kind::Test => true,
            Kind::Trouble => self.on.contains(&Kind::Failed),
            kind => self.on.contains(&kind),
        }
    }

    /// Judges one event of `job` and remembers it. `particular` is what of its kind it is, where several can be wrong at
    /// once: the reason for which its run failed, the snapshot that is damaged. `in_a_row` is what the caller counted,
    /// this event with it; the larger of that and the memory's own count is believed.
    pub fn judge(
        &self,
        memory: &mut Memory,
        kind: Kind,
        particular: Option<&str>,
        job: Option<&JobName>,
        in_a_row: u32,
        now: Timestamp,
    ) -> Ruling {
        let is_of_others = match (&self.jobs, job) {
            (Some(jobs), Some(job)) => !jobs.contains(job),
            (None, _) | (_, None) => false,
        };
        match kind {
            Kind::Test => return Ruling::Tell { kind, held_back: 0 },
            _ if is_of_others => return Ruling::Pass,
            Kind::Damage | Kind::Recovered => {}
            Kind::Ok | Kind::Partial | Kind::Failed | Kind::Missed | Kind::Overdue | Kind::Trouble => {
                memory.in_a_row = match kind {
                    Kind::Ok => 0,
                    Kind::Partial | Kind::Failed | Kind::Missed => memory.in_a_row.saturating_add(1).max(in_a_row),
                    _ => memory.in_a_row,
                };
            }
        }
        match kind {
            Kind::Ok => self.well(&mut memory.runs, kind),
            Kind::Recovered => self.well(&mut memory.damage, kind),
            Kind::Damage | Kind::Trouble => self.wrong(&mut memory.damage, kind, particular, now),
            Kind::Partial | Kind::Failed | Kind::Missed if memory.in_a_row < self.after_failures => Ruling::Pass,
            kind => self.wrong(&mut memory.runs, kind, particular, now),
        }
    }

    fn wrong(&self, track: &mut Track, kind: Kind, particular: Option<&str>, now: Timestamp) -> Ruling {
        if !self.wants(kind) {
            return Ruling::Pass;
        }
        let what = what(kind, particular);
        let is_fresh = track.told.get(&what).is_some_and(|told| {
            let since = now.duration_since(*told);
            !since.is_negative() && since.unsigned_abs() < self.repeat_after
        });
        if is_fresh {
            track.held_back = track.held_back.saturating_add(1);
            return Ruling::Hold;
        }
        track.told.insert(what, now);
        Ruling::Tell { kind, held_back: std::mem::take(&mut track.held_back) }
    }

    fn well(&self, track: &mut Track, kind: Kind) -> Ruling {
        let track = std::mem::take(track);
        if !track.told.is_empty() && self.wants(Kind::Recovered) {
            return Ruling::Tell { kind: Kind::Recovered, held_back: track.held_back };
        }
        if kind == Kind::Ok && self.wants(Kind::Ok) {
            return Ruling::Tell { kind, held_back: 0 };
        }
        Ruling::Pass
    }
}

/// What to do with one event on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Tell it as this kind; so many were held back since the last that was told.
    Tell {
        /// An ok run that ends a trouble is told as recovered.
        kind: Kind,
        /// Since the last.
        held_back: u32,
    },
    /// Hold it back: it was told a short while ago. It is counted.
    Hold,
    /// This channel does not want it.
    Pass,
}

/// What was told on one channel of one job, or of one subject. Losing it costs one message more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    in_a_row: u32,
    runs: Track,
    /// Of what no good run ends: damage, and trouble of the program itself.
    damage: Track,
}

/// One trouble from its beginning to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Track {
    /// Each kind with its reason, and when it was told last since things were well.
    told: BTreeMap<String, Timestamp>,
    held_back: u32,
}

/// What is the same trouble: `failed/store-full`, `damage/upload-20261121T020000Z`.
fn what(kind: Kind, particular: Option<&str>) -> String {
    let kind = word(serde_json::to_value(kind));
    particular.map_or_else(|| kind.clone(), |particular| format!("{kind}/{particular}"))
}

/// Why a run failed, as what is particular to its failure.
pub(super) fn reason(reason: StopReason) -> String {
    word(serde_json::to_value(reason))
}

fn word(value: Result<serde_json::Value, serde_json::Error>) -> String {
    match value {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Duration, Kind, Memory, Rules, Ruling, StopReason, Timestamp, reason};

    const HOUR_S: i64 = 3600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).expect("a time")
    }

    fn told(rules: &Rules, story: &[(Kind, i64)]) -> Vec<Ruling> {
        let mut memory = Memory::default();
        let judge = |(kind, hour): &(Kind, i64)| rules.judge(&mut memory, *kind, None, None, 0, at(hour * HOUR_S));
        story.iter().map(judge).collect()
    }

    fn tell(kind: Kind, held_back: u32) -> Ruling {
        Ruling::Tell { kind, held_back }
    }

    #[test]
    fn trouble_of_the_program_ends_when_its_caller_says_so_and_is_told_as_over_once() {
        let story = [(Kind::Trouble, 0), (Kind::Ok, 1), (Kind::Recovered, 2), (Kind::Recovered, 3)];
        let expected = [tell(Kind::Trouble, 0), Ruling::Pass, tell(Kind::Recovered, 0), Ruling::Pass];
        assert_eq!(told(&Rules::for_people(), &story), expected);
    }

    #[test]
    fn the_same_trouble_is_told_once_and_again_after_six_hours_with_what_was_held_back() {
        let story = [0, 1, 5, 6, 7].map(|hour| (Kind::Failed, hour));
        let expected = [tell(Kind::Failed, 0), Ruling::Hold, Ruling::Hold, tell(Kind::Failed, 2), Ruling::Hold];
        assert_eq!(told(&Rules::for_people(), &story), expected);
    }

    #[test]
    fn another_trouble_is_news_but_one_that_comes_and_goes_is_not() {
        let story = [(Kind::Partial, 0), (Kind::Failed, 1), (Kind::Partial, 2), (Kind::Failed, 3), (Kind::Ok, 4)];
        let expected =
            [tell(Kind::Partial, 0), tell(Kind::Failed, 0), Ruling::Hold, Ruling::Hold, tell(Kind::Recovered, 2)];
        assert_eq!(told(&Rules::for_people(), &story), expected);
    }

    #[test]
    fn a_run_that_fails_for_another_reason_is_told_at_once_and_for_the_same_it_is_held_back() {
        let rules = Rules::for_people();
        let mut memory = Memory::default();
        let mut judge = |why, hour: i64| {
            let ruling = rules.judge(&mut memory, Kind::Failed, Some(&reason(why)), None, 0, at(hour * HOUR_S));
            // as it is on disk between two processes
            let text = serde_json::to_string(&memory).expect("plain values");
            memory = serde_json::from_str(&text).expect("our own");
            ruling
        };
        assert_eq!(judge(StopReason::Source, 0), tell(Kind::Failed, 0));
        assert_eq!(judge(StopReason::Source, 1), Ruling::Hold);
        assert_eq!(judge(StopReason::StoreFull, 2), tell(Kind::Failed, 1));
        assert_eq!((judge(StopReason::Source, 3), judge(StopReason::StoreFull, 4)), (Ruling::Hold, Ruling::Hold));
        assert_eq!(judge(StopReason::Source, 6), tell(Kind::Failed, 2));
    }

    /// Damage in a second snapshot within six hours was held back, and as it was an edge nobody ever heard of it.
    #[test]
    fn damage_in_another_snapshot_is_told_at_once_and_so_is_one_that_is_gone() {
        let rules = Rules::for_people();
        let mut memory = Memory::default();
        let mut judge =
            |what, hour: i64| rules.judge(&mut memory, Kind::Damage, Some(what), None, 0, at(hour * HOUR_S));
        assert_eq!(judge("up-1", 0), tell(Kind::Damage, 0));
        assert_eq!(judge("up-2", 1), tell(Kind::Damage, 0));
        assert_eq!(judge("gone/up-1", 2), tell(Kind::Damage, 0));
        assert_eq!(judge("up-1", 3), Ruling::Hold);
        let over = rules.judge(&mut memory, Kind::Recovered, None, None, 0, at(4 * HOUR_S));
        assert_eq!(over, tell(Kind::Recovered, 1), "one end for all of it");
    }

    #[test]
    fn an_ok_run_does_not_end_damage_and_a_sound_verification_does() {
        let story = [(Kind::Damage, 0), (Kind::Ok, 1), (Kind::Damage, 2), (Kind::Recovered, 3), (Kind::Recovered, 4)];
        let expected = [tell(Kind::Damage, 0), Ruling::Pass, Ruling::Hold, tell(Kind::Recovered, 1), Ruling::Pass];
        assert_eq!(told(&Rules::for_people(), &story), expected);
    }

    #[test]
    fn a_threshold_waits_for_so_many_in_a_row_and_what_was_not_told_does_not_recover() {
        let rules = Rules { after_failures: 3, ..Rules::for_people() };
        let story = [(Kind::Failed, 0), (Kind::Partial, 1), (Kind::Ok, 2), (Kind::Failed, 3), (Kind::Missed, 4)];
        assert_eq!(told(&rules, &story), [Ruling::Pass; 5]);
        let story = [0, 1, 2].map(|hour| (Kind::Failed, hour));
        assert_eq!(told(&rules, &story)[2], tell(Kind::Failed, 0));
        // the caller counted more than a memory that was lost
        let ruling = rules.judge(&mut Memory::default(), Kind::Failed, None, None, 3, at(0));
        assert_eq!(ruling, tell(Kind::Failed, 0));
    }

    #[test]
    fn other_jobs_and_other_kinds_pass_and_a_test_never_does() {
        let job = "upload".parse().expect("a job");
        let other = "other".parse().expect("a job");
        let rules = Rules { jobs: Some([job].into()), ..Rules::of(&[Kind::Failed]) };
        let mut memory = Memory::default();
        assert_eq!(rules.judge(&mut memory, Kind::Failed, None, Some(&other), 1, at(0)), Ruling::Pass);
        assert_eq!(rules.judge(&mut memory, Kind::Partial, None, None, 1, at(0)), Ruling::Pass);
        assert_eq!(rules.judge(&mut memory, Kind::Trouble, None, None, 0, at(0)), tell(Kind::Trouble, 0));
        assert_eq!(rules.judge(&mut memory, Kind::Test, None, Some(&other), 0, at(0)), tell(Kind::Test, 0));
    }

    #[test]
    fn a_clock_that_stepped_back_holds_nothing_back() {
        let story = [(Kind::Failed, 100), (Kind::Failed, 10)];
        assert_eq!(told(&Rules::for_people(), &story)[1], tell(Kind::Failed, 0));
    }

    fn stories() -> impl Strategy<Value = Vec<(Kind, i64, bool)>> {
        let kinds = prop::sample::select(vec![Kind::Ok, Kind::Partial, Kind::Failed, Kind::Missed, Kind::Overdue]);
        // the time that passes, seldom backwards, and whether the memory is lost before
        prop::collection::vec((kinds, -600..8 * HOUR_S, prop::bool::weighted(0.05)), 1..60)
    }

    proptest! {
        #[test]
        fn nothing_wrong_is_silent_for_longer_than_repeat_after(story in stories(), hours in 1_u64..12) {
            let rules = Rules { repeat_after: Duration::from_secs(hours * 3600), ..Rules::for_people() };
            let (mut memory, mut now) = (Memory::default(), 0);
            let mut told: std::collections::BTreeMap<Kind, i64> = std::collections::BTreeMap::new();
            for (kind, passed, lost) in story {
                now += passed;
                if lost {
                    memory = Memory::default();
                }
                match rules.judge(&mut memory, kind, None, None, 0, at(now)) {
                    Ruling::Tell { kind, .. } => { told.insert(kind, now); }
                    Ruling::Pass => prop_assert_eq!(kind, Kind::Ok),
                    Ruling::Hold => {
                        let last = told.get(&kind).copied();
                        prop_assert!(last.is_some_and(|last| (0..(hours as i64) * HOUR_S).contains(&(now - last))));
                    }
                }
                if kind == Kind::Ok {
                    told.clear();
                }
            }
        }

        #[test]
        fn a_recovery_is_told_exactly_once_for_each_trouble_that_was_told(story in stories()) {
            let rules = Rules::for_people();
            let (mut memory, mut now, mut open) = (Memory::default(), 0, false);
            for (kind, passed, _) in story {
                now += passed;
                match (rules.judge(&mut memory, kind, None, None, 0, at(now)), kind) {
                    (Ruling::Tell { kind: Kind::Recovered, .. }, _) => {
                        prop_assert!(open && kind == Kind::Ok);
                        open = false;
                    }
                    (_, Kind::Ok) => prop_assert!(!open),
                    (Ruling::Tell { .. }, _) => open = true,
                    _ => {}
                }
            }
        }

        #[test]
        fn counts_of_what_was_held_back_add_up(story in stories()) {
            let rules = Rules::for_people();
            let (mut memory, mut now, mut held) = (Memory::default(), 0, 0);
            for (kind, passed, _) in story {
                now += passed;
                match rules.judge(&mut memory, kind, None, None, 0, at(now)) {
                    Ruling::Hold => held += 1,
                    Ruling::Tell { held_back, .. } => {
                        prop_assert_eq!(held_back, held);
                        held = 0;
                    }
                    Ruling::Pass => prop_assert_eq!(held, 0),
                }
            }
        }
    }
}
