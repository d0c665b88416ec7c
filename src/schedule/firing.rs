//! From times on a wall to instants: what becomes of times that do not exist or come twice.
//!
//! The rules are cron's (Debian's cron(8)), and this room follows them itself, because croner takes a job for one of
//! fixed time only if it has one minute and one hour: `0 1-5 * * *` lost its run in the gap and ran twice in the fold.
//! A job of *fixed time* has no `*` in minute and hour. A time of it that the clock jumps over runs once, right after
//! the gap, and a time that comes twice runs the first time. A job *with a star* follows the clock on the wall as it is.
//! A shift of three hours or more is a correction of the clock and no daylight saving: then the new time simply holds
//! (Samoa had no 30 December 2011).
//!
//! The time line is walked in stretches of one offset. Within a stretch wall and time line run alike, so croner is only
//! asked about plain dates and times.

use std::fmt;

use croner::Cron;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// A shift of this or more is a correction.
const CORRECTION: SignedDuration = SignedDuration::from_hours(3);

/// A firing that is not where the schedule says, or of which there could have been two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The time on the wall does not exist; it runs right after the gap.
    Gap {
        /// As the schedule has it; the first, if there are several in the gap.
        wanted: DateTime,
        /// The first time after the gap.
        runs: DateTime,
    },
    /// The time on the wall comes twice; it runs the first time.
    Fold {
        /// As the schedule has it.
        wanted: DateTime,
        /// When it comes again and does not run.
        again: Timestamp,
    },
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: &DateTime| at.strftime("%H:%M").to_string();
        match self {
            Self::Gap { wanted, runs } => {
                write!(f, "{} does not exist on {}; runs at {}", time(wanted), wanted.date(), time(runs))?;
                if runs.date() == wanted.date() { Ok(()) } else { write!(f, " on {}", runs.date()) }
            }
            Self::Fold { wanted, .. } => {
                write!(f, "{} comes twice on {}; runs the first time only", time(wanted), wanted.date())
            }
        }
    }
}

/// A cron expression on the time line of a zone.
pub(super) struct Firings<'a> {
    pub(super) cron: &'a Cron,
    pub(super) zone: &'a TimeZone,
    pub(super) is_fixed: bool,
}

/// A walk from firing to firing. The stretch is kept, because to find its ends takes longer than all the rest.
pub(super) struct Walk<'a> {
    firings: Firings<'a>,
    at: Timestamp,
    /// Whether `at` itself may be the next.
    is_inclusive: bool,
    stretch: Stretch,
}

impl Iterator for Walk<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        loop {
            let Stretch { offset, since, until } = self.stretch;
            let mut from = (offset.to_datetime(self.at), self.is_inclusive);
            if let Some(change) = since.filter(|change| self.firings.is_fixed && change.is_fold()) {
                // these times have come once already
                let (_, end) = change.affected();
                from = if from.0 < end { (end, true) } else { from };
            }
            let found = self.firings.on_the_wall(from.0, from.1)?;
            let found_at = offset.to_timestamp(found).ok()?;
            match until {
                Some(change) if found_at >= change.at => {
                    self.stretch = self.firings.stretch_from(change);
                    self.at = change.at;
                    self.is_inclusive = true;
                    if self.firings.is_fixed && self.firings.jumped_over(&change).is_some() {
                        self.is_inclusive = false;
                        return Some(change.at);
                    }
                }
                _ => {
                    (self.at, self.is_inclusive) = (found_at, false);
                    return Some(found_at);
                }
            }
        }
    }
}

/// A stretch of one offset, from the change of the clock before it.
#[derive(Clone, Copy)]
struct Stretch {
    offset: Offset,
    /// The change that began it, if there was one.
    since: Option<Change>,
    /// The change that ends it, if one does.
    until: Option<Change>,
}

/// A change of the clock.
#[derive(Clone, Copy)]
struct Change {
    at: Timestamp,
    before: Offset,
    after: Offset,
}

impl Change {
    /// Forward is positive.
    fn shift(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.after.seconds()) - i64::from(self.before.seconds()))
    }

    /// The times on the wall that are jumped over, or that come again: from and below.
    fn affected(&self) -> (DateTime, DateTime) {
        let (before, after) = (self.before.to_datetime(self.at), self.after.to_datetime(self.at));
        (before.min(after), before.max(after))
    }

    fn is_gap(&self) -> bool {
        self.shift() > SignedDuration::ZERO && self.shift() < CORRECTION
    }

    fn is_fold(&self) -> bool {
        self.shift() < SignedDuration::ZERO && self.shift() > -CORRECTION
    }
}

impl<'a> Firings<'a> {
    /// The firings after an instant, in order.
    pub(super) fn after(self, at: Timestamp) -> Walk<'a> {
        let stretch = self.stretch(at);
        Walk { firings: self, at, is_inclusive: false, stretch }
    }

    /// Why a firing is where it is, if the clock's changes have to do with it.
    pub(super) fn moved(&self, firing: Timestamp) -> Option<Moved> {
        if !self.is_fixed {
            return None;
        }
        let stretch = self.stretch(firing);
        let runs = stretch.offset.to_datetime(firing);
        if let Some(change) = stretch.since.filter(|change| change.at == firing) {
            return self.jumped_over(&change).map(|wanted| Moved::Gap { wanted, runs });
        }
        let change = stretch.until.filter(Change::is_fold)?;
        let (start, end) = change.affected();
        let again = change.after.to_timestamp(runs).ok()?;
        (start <= runs && runs < end).then_some(Moved::Fold { wanted: runs, again })
    }

    /// The first time of the schedule that a gap swallows.
    fn jumped_over(&self, change: &Change) -> Option<DateTime> {
        let (start, end) = change.affected();
        let found = if change.is_gap() { self.on_the_wall(start, true)? } else { return None };
        (found < end).then_some(found)
    }

    fn on_the_wall(&self, from: DateTime, is_inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&from, is_inclusive).ok()
    }

    fn stretch(&self, at: Timestamp) -> Stretch {
        let offset = self.zone.to_offset(at);
        // changes of the name alone are none
        let since = self.zone.preceding(at.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(at));
        let since = since.map(|change| self.change(change.timestamp())).find(|change| change.before != change.after);
        Stretch { offset, since, until: self.change_after(at) }
    }

    fn stretch_from(&self, change: Change) -> Stretch {
        Stretch { offset: change.after, since: Some(change), until: self.change_after(change.at) }
    }

    fn change_after(&self, at: Timestamp) -> Option<Change> {
        let changes = self.zone.following(at).map(|change| self.change(change.timestamp()));
        changes.into_iter().find(|change| change.before != change.after)
    }

    fn change(&self, at: Timestamp) -> Change {
        let just_before = at.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(at);
        Change { at, before: self.zone.to_offset(just_before), after: self.zone.to_offset(at) }
    }
}
