//! What of a plan is accounted for: one agenda for each job, which whoever runs the job asks and tells.
//!
//! A state machine over values: no clock, no I/O. Every slot is accounted for once: it is handed out as a [`Start`], or
//! told as [`Missed`]. What was missed is made up for by one run, however much it was, and none if it is too late.
//!
//! The danger is a clock that moves. Forward (or a machine that slept) is slots that were missed. Backward by less
//! than three hours, nothing happens until the clock is again where it was; by more, as with cron, the earlier time was
//! the wrong one, and the agenda goes on from now. In no case is a slot started twice: started slots are remembered, the
//! newest [`REMEMBERED_MAX`] of them.
//!
//! The state is to be saved after each call that changes it and **before** anything it said is done: then a crash in
//! between costs a run (which is told, and made up for), and never makes a second one. A state that is lost begins at
//! now: nothing is known to have been missed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::plan::{Plan, later};

/// A slot that is seen so late is still on time: a loaded machine, a daemon that was restarted.
pub const ON_TIME: Duration = Duration::from_secs(300);
/// The longest sleep: then the clock is looked at again, whatever it was before.
pub const WAKE_MAX: Duration = Duration::from_secs(60);
/// A clock that was set back further than this was wrong before (cron(8) has the same three hours).
const SET_BACK_MAX: Duration = Duration::from_secs(3 * 3600);
/// So many started slots are remembered, against clocks that are set back: sixteen days of an hourly job.
pub const REMEMBERED_MAX: usize = 400;
/// Missed slots are counted up to this; it bounds the work after years of silence.
const COUNTED_MAX: u64 = 100_000;

/// What is accounted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agenda {
    /// Of the schedules that it speaks of.
    plan: String,
    /// Since when slots are accounted for.
    began: Timestamp,
    /// Every slot up to here is accounted for.
    settled: Timestamp,
    /// Runs that have been handed out and have not ended.
    running: Option<Start>,
    /// A run that is due besides the slots.
    waiting: Option<Waiting>,
    /// Attempts at the slot that was started last which failed.
    failures: u32,
    /// Slots that were started, oldest first.
    started: Vec<i64>,
}

/// A catch-up or another attempt, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    since: Timestamp,
    at: Timestamp,
    start: Start,
}

/// A run that is to be started now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The slot that it is for; for a run by hand, when it was asked for.
    pub slot: Timestamp,
    /// Why it starts.
    pub why: Why,
}

/// Why a run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Its slot has come.
    Slot,
    /// Slots were missed, this the last of them; or its run was cut off by the end of the daemon.
    CatchUp,
    /// An earlier attempt at the slot failed.
    Retry,
    /// Somebody asked for it.
    Asked,
}

/// Slots that were due and did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// How many; counted up to a hundred thousand.
    pub count: u64,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// Why slots were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody looked: not running, asleep, or the clock was set forward.
    Away,
    /// The job was still at work on an earlier slot.
    Overlap,
    /// It was handed out and given back before it began.
    Withdrawn,
}

impl Reason {
    /// For people, after "did not start: ".
    pub fn words(self) -> &'static str {
        match self {
            Self::Away => "the program was not running, the machine slept, or its clock was set forward",
            Self::Overlap => "the run before was still at work",
            Self::Withdrawn => "the program was stopped before its turn came",
        }
    }
}

/// What is to be done at this moment. Save the agenda first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// To be told: slots that did not start.
    pub missed: Option<Missed>,
    /// To be run.
    pub start: Option<Start>,
    /// To be told: the clock was set back by so much, and what was accounted for after now no longer counts.
    pub set_back: Option<Duration>,
}

impl Agenda {
    /// Begins at now: nothing earlier was ever due.
    pub fn begin(plan: &Plan, now: Timestamp) -> Self {
        Self {
            plan: plan.fingerprint(),
            began: now,
            settled: now,
            running: None,
            waiting: None,
            failures: 0,
            started: Vec::new(),
        }
    }

    /// To be called once after it was loaded. A run that was at work when it was saved was cut off: it is given back, to
    /// be accounted for as failed, and made up for once if it is not too late.
    pub fn resume(&mut self, plan: &Plan, now: Timestamp) -> Option<Start> {
        let cut_off = self.running.take()?;
        let late = now.duration_since(cut_off.slot).unsigned_abs();
        if cut_off.why != Why::CatchUp && plan.catch_up.is_some_and(|within| late <= within) {
            self.wait(now, now, Start { slot: cut_off.slot, why: Why::CatchUp });
        } else {
            // a run that takes the machine down with it must not be begun for ever
            self.running = Some(cut_off);
            self.ended(plan, now, true);
        }
        Some(cut_off)
    }

    /// What is to be done now.
    pub fn due(&mut self, plan: &Plan, now: Timestamp) -> Due {
        let mut due = Due { set_back: self.look_at_the_clock(plan, now), ..Due::default() };
        if let Some(slots) = self.slots(plan, now) {
            self.settled = slots.last;
            let is_on_time = now.duration_since(plan.start_of(slots.last)) <= signed(ON_TIME);
            if self.running.is_some() {
                due.missed = Some(slots.missed(Reason::Overlap));
            } else if is_on_time {
                due.missed = slots.before_last().map(|earlier| earlier.missed(Reason::Away));
                self.waiting = None;
                self.failures = 0;
                self.remember(slots.last);
                due.start = Some(Start { slot: slots.last, why: Why::Slot });
            } else {
                due.missed = Some(slots.missed(Reason::Away));
                self.waiting = None;
                self.failures = 0;
                let late = now.duration_since(slots.last).unsigned_abs();
                if plan.catch_up.is_some_and(|within| late <= within) {
                    let delay = plan.start_of(slots.last).duration_since(slots.last).unsigned_abs();
                    self.wait(now, later(now, delay), Start { slot: slots.last, why: Why::CatchUp });
                }
            }
        }
        if self.running.is_none()
            && due.start.is_none()
            && let Some(waiting) = self.waiting.filter(|waiting| waiting.at <= now)
        {
            self.waiting = None;
            due.start = Some(waiting.start);
        }
        self.running = self.running.or(due.start);
        due
    }

    /// A run by hand; none if one is at work. A catch-up or another attempt that waited is not needed any more.
    pub fn ask(&mut self, now: Timestamp) -> Option<Start> {
        if self.running.is_some() {
            return None;
        }
        self.waiting = None;
        self.running = Some(Start { slot: now, why: Why::Asked });
        self.running
    }

    /// The run that was handed out has ended. If it failed, says when another attempt comes, if one does: it must come
    /// before the next slot.
    pub fn ended(&mut self, plan: &Plan, now: Timestamp, failed: bool) -> Option<Timestamp> {
        let ended = self.running.take()?;
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        if !failed || ended.why == Why::Asked {
            return None;
        }
        let at = later(now, plan.pause_after(self.failures)?);
        if plan.slot_after(now.max(self.settled)).is_some_and(|next| next <= at) {
            return None;
        }
        self.wait(now, at, Start { slot: ended.slot, why: Why::Retry });
        Some(at)
    }

    /// The run that was handed out will not begin: the program is stopped. A slot of it is missed.
    pub fn withdraw(&mut self) -> Option<Missed> {
        let Start { slot, why } = self.running.take()?;
        (why == Why::Slot).then_some(Missed { count: 1, first: slot, last: slot, reason: Reason::Withdrawn })
    }

    /// What comes next, if nothing happens: when, and which.
    pub fn next(&self, plan: &Plan, now: Timestamp) -> Option<(Timestamp, Start)> {
        let from = if self.is_set_back(now) { now } else { self.settled };
        let mut slots = std::iter::successors(plan.slot_after(from), |slot| plan.slot_after(*slot));
        let slot = slots
            .find(|slot| !self.has_started(*slot))
            .map(|slot| (plan.start_of(slot).max(now), Start { slot, why: Why::Slot }));
        let waiting = self.waiting.map(|waiting| (waiting.at.max(now), waiting.start));
        slot.into_iter().chain(waiting).min_by_key(|(at, _)| *at)
    }

    /// When [`Agenda::due`] is to be asked again: at the next start, and at the most in a minute.
    pub fn wake_at(&self, plan: &Plan, now: Timestamp) -> Timestamp {
        let next = self.next(plan, now).map_or(Timestamp::MAX, |(at, _)| at);
        next.min(later(now, WAKE_MAX))
    }

    /// The run that is at work.
    pub fn running(&self) -> Option<Start> {
        self.running
    }

    /// Since when slots are accounted for.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    fn is_set_back(&self, now: Timestamp) -> bool {
        self.settled.duration_since(now) > signed(SET_BACK_MAX)
    }

    /// Brings the agenda to a clock that was set back and to schedules that are others than before.
    fn look_at_the_clock(&mut self, plan: &Plan, now: Timestamp) -> Option<Duration> {
        if let Some(waiting) = self.waiting.as_mut().filter(|waiting| now < waiting.since) {
            waiting.at = later(now, waiting.at.duration_since(waiting.since).unsigned_abs());
            waiting.since = now;
        }
        let fingerprint = plan.fingerprint();
        if self.plan != fingerprint {
            // what the old schedules would have had in the meantime is not known, and the new ones had nothing
            self.plan = fingerprint;
            self.settled = self.settled.max(now);
        }
        let back = self.is_set_back(now).then(|| self.settled.duration_since(now).unsigned_abs())?;
        self.settled = now;
        self.began = self.began.min(now);
        Some(back)
    }

    /// The slots whose starts have come and that are not accounted for.
    fn slots(&self, plan: &Plan, now: Timestamp) -> Option<Slots> {
        let mut slots: Option<Slots> = None;
        let mut slot = plan.slot_after(self.settled);
        while let Some(at) = slot.filter(|at| plan.start_of(*at) <= now) {
            if !self.has_started(at) {
                let found = slots.get_or_insert(Slots { count: 0, first: at, before_last: None, last: at });
                found.before_last = (found.count > 0).then_some(found.last);
                (found.count, found.last) = (found.count + 1, at);
            }
            slot = match &slots {
                Some(Slots { count: COUNTED_MAX, .. }) => plan.slot_until(now).filter(|last| *last > at),
                _ => plan.slot_after(at),
            };
        }
        slots
    }

    fn has_started(&self, slot: Timestamp) -> bool {
        self.started.contains(&slot.as_second())
    }

    fn wait(&mut self, since: Timestamp, at: Timestamp, start: Start) {
        self.waiting = Some(Waiting { since, at, start });
    }

    fn remember(&mut self, slot: Timestamp) {
        self.started.push(slot.as_second());
        let surplus = self.started.len().saturating_sub(REMEMBERED_MAX);
        self.started.drain(..surplus);
    }
}

/// Slots that have come, not one of them accounted for.
#[derive(Clone, Copy)]
struct Slots {
    count: u64,
    first: Timestamp,
    before_last: Option<Timestamp>,
    last: Timestamp,
}

impl Slots {
    fn missed(self, reason: Reason) -> Missed {
        Missed { count: self.count, first: self.first, last: self.last, reason }
    }

    /// All but the last.
    fn before_last(self) -> Option<Self> {
        let last = self.before_last?;
        Some(Self { count: self.count - 1, last, before_last: None, ..self })
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
