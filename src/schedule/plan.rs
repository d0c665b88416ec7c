//! What a job wants of time: its schedules, its jitter, what happens to runs that were missed or failed.
//!
//! A *slot* is an instant at which a schedule fires; two schedules that fire at one instant make one slot. The *start* of
//! a slot is the slot and its jitter. Arithmetic only: the same plan says the same after every restart.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use twox_hash::XxHash64;

use super::{Moved, Schedule};

/// What a job wants of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What jitter is drawn from, besides the slot: the job and, so that many machines do not start at once, the host.
    pub seed: String,
    /// When it is due: the union of them. None: only by hand.
    pub schedules: Vec<Schedule>,
    /// How late a missed slot is still made up for, by one run for all of them; none: never.
    pub catch_up: Option<Duration>,
    /// By how much a start is put off at the most.
    pub jitter: Duration,
    /// What happens after a run that failed.
    pub retry: Retry,
}

/// Further attempts after a run that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many for each slot.
    pub times: u32,
    /// How long after the first failure; twice as long after each further one.
    pub after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { times: 0, after: Duration::from_secs(600) }
    }
}

/// A slot and what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// When it is due.
    pub slot: Timestamp,
    /// When its run starts.
    pub start: Timestamp,
    /// The schedules that fire, as written.
    pub schedules: Vec<String>,
    /// Why it is not when the text says, if it is not.
    pub moved: Option<Moved>,
}

/// However short the interval: a good snapshot is not overdue sooner than this after the next slot.
const SLACK_MIN: Duration = Duration::from_secs(300);

impl Plan {
    /// How late a missed slot is made up for unless something else is said.
    pub const CATCH_UP_WITHIN: Duration = Duration::from_secs(24 * 3600);

    /// These schedules, and every default.
    pub fn of(seed: impl Into<String>, schedules: Vec<Schedule>) -> Self {
        Self {
            seed: seed.into(),
            schedules,
            catch_up: Some(Self::CATCH_UP_WITHIN),
            jitter: Duration::ZERO,
            retry: Retry::default(),
        }
    }

    /// The first slot after this instant.
    pub fn slot_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedules.iter().filter_map(|schedule| schedule.next_after(after)).min()
    }

    /// The next slots, with what there is to say of each.
    pub fn firings(&self, after: Timestamp, count: usize) -> Vec<Firing> {
        let slots = std::iter::successors(self.slot_after(after), |slot| self.slot_after(*slot));
        slots.take(count).map(|slot| self.firing(slot)).collect()
    }

    fn firing(&self, slot: Timestamp) -> Firing {
        let just_before = slot.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(slot);
        let fire = |schedule: &&Schedule| schedule.next_after(just_before) == Some(slot);
        let schedules: Vec<&Schedule> = self.schedules.iter().filter(fire).collect();
        Firing {
            slot,
            start: self.start_of(slot),
            schedules: schedules.iter().map(|schedule| schedule.text().to_owned()).collect(),
            moved: schedules.iter().find_map(|schedule| schedule.moved(slot)),
        }
    }

    /// The last slot that is not after this instant, if there is one within the last forty years.
    pub fn slot_until(&self, until: Timestamp) -> Option<Timestamp> {
        // slots are looked for from ever further back, so that dense schedules need few steps and sparse ones are found
        let mut back = Duration::from_secs(90);
        while back < Duration::from_secs(40 * 366 * 86_400) {
            let from = until.checked_sub(back).ok()?;
            let slots = std::iter::successors(self.slot_after(from), |slot| self.slot_after(*slot));
            if let Some(last) = slots.take_while(|slot| *slot <= until).last() {
                return Some(last);
            }
            back *= 8;
        }
        None
    }

    /// When the run of a slot starts: the slot and its jitter, always before the next slot.
    pub fn start_of(&self, slot: Timestamp) -> Timestamp {
        let room = self.slot_after(slot).map_or(u64::MAX, |next| seconds(slot, next).saturating_sub(1));
        let width = self.jitter.as_secs().min(room);
        if width == 0 {
            return slot;
        }
        let drawn = XxHash64::oneshot(slot.as_second().cast_unsigned(), self.seed.as_bytes()) % (width + 1);
        later(slot, Duration::from_secs(drawn))
    }

    /// The longest that a good snapshot which was made at `since` may be the newest: one and a half of the interval
    /// between the slots around it, and the jitter. None without a schedule.
    pub fn age_max(&self, since: Timestamp) -> Option<Duration> {
        let next = self.slot_after(since)?;
        let before = self.slot_until(since)?;
        let interval = Duration::from_secs(seconds(before, next));
        Some(interval + (interval / 2).max(SLACK_MIN) + self.jitter)
    }

    /// Whether the newest good snapshot, made at `since`, is older than it may be.
    pub fn is_overdue(&self, since: Timestamp, now: Timestamp) -> bool {
        self.age_max(since).is_some_and(|max| later(since, max) < now)
    }

    /// How long after the `failures`-th failure of a slot the next attempt comes; none if there is none left.
    pub(super) fn pause_after(&self, failures: u32) -> Option<Duration> {
        let doubled = 1_u32.checked_shl(failures.checked_sub(1)?).unwrap_or(u32::MAX);
        (failures <= self.retry.times).then(|| self.retry.after.saturating_mul(doubled))
    }

    /// The same as long as the schedules are the same.
    pub(super) fn fingerprint(&self) -> String {
        let text: Vec<String> = self.schedules.iter().map(|schedule| format!("{schedule:?}")).collect();
        format!("{:016x}", XxHash64::oneshot(0, text.join("\n").as_bytes()))
    }
}

/// Whole seconds from one instant to a later one.
fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}

/// An instant and a while, or the end of time.
pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
