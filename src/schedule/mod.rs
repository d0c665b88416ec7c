//! When a job is due: cron expressions in the job's time zone.
//!
//! Arithmetic with the time as an argument. At daylight-saving changes the rules of Vixie cron hold (`firing`): a time
//! that does not exist runs once, right after the gap; a time that comes twice runs once; what has a star in minute or
//! hour follows the clock on the wall. Above it, a job's `Plan` makes slots of its schedules, and its `Agenda` accounts
//! for each of them once, whatever becomes of the machine and its clock.

mod agenda;
mod firing;
mod plan;

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

pub use agenda::{Agenda, Due, Missed, ON_TIME, REMEMBERED_MAX, Reason, Start, WAKE_MAX, Why};
pub use firing::Moved;
pub use plan::{Firing, Plan, Retry};

use firing::Firings;

/// How far ahead a firing is looked for: what does not fire within it never fires. A leap day comes within eight years,
/// and falls on every day of the week within forty.
const HORIZON: SignedDuration = SignedDuration::from_hours(40 * 366 * 24);

/// A cron expression in a zone.
#[derive(Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
    /// No star in minute and hour.
    is_fixed: bool,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({} {})", self.text, self.zone.iana_name().unwrap_or("?"))
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }
}

/// Text that is not a schedule, or one that never fires.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not a cron expression of five fields.
    #[error("`{text}` is not a schedule: {why}")]
    NotCron {
        /// The text.
        text: String,
        /// In the parser's words.
        why: String,
    },
    /// No such day ever comes.
    #[error("`{text}` never comes")]
    Never {
        /// The text.
        text: String,
    },
}

impl Schedule {
    /// Parses five fields (minute, hour, day of month, month, day of week) or `@daily` and its like.
    ///
    /// # Errors
    /// If it is no such expression, or one like 31 February.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, ScheduleError> {
        let refuse = |why: String| ScheduleError::NotCron { text: text.to_owned(), why };
        let trimmed = text.trim();
        if trimmed.len() > 200 {
            return Err(refuse("it is longer than any schedule".to_owned()));
        }
        let fields = trimmed.split_whitespace().count();
        if !trimmed.starts_with('@') && fields != 5 {
            return Err(refuse(format!(
                "it has {fields} fields, and five are expected: minute, hour, day of month, month, day of week"
            )));
        }
        let stars = Stars::of(trimmed);
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .dom_and_dow(stars.on_a_day)
            .build();
        let cron = parser.parse(trimmed).map_err(|error| refuse(error.to_string()))?;
        let schedule = Self { text: trimmed.to_owned(), cron, zone, is_fixed: !stars.on_the_clock };
        if schedule.next_after(Timestamp::UNIX_EPOCH).is_none() {
            return Err(ScheduleError::Never { text: text.to_owned() });
        }
        Ok(schedule)
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// In words.
    pub fn describe(&self) -> String {
        self.cron.describe()
    }

    /// The zone that it is read in.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first firing after `after`. None if none comes within forty years or time ends.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let next = self.firings_after(after).next()?;
        (next.duration_since(after) < HORIZON).then_some(next)
    }

    /// Why a firing is not where the text says, if it is not.
    pub fn moved(&self, firing: Timestamp) -> Option<Moved> {
        self.firings().moved(firing)
    }

    /// All firings after `after`, in order; quicker than asking for one after the other.
    pub fn firings_after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.firings().after(after)
    }

    /// The next `count` firings after `after`.
    pub fn upcoming(&self, after: Timestamp, count: usize) -> Vec<Timestamp> {
        self.firings_after(after).take(count).collect()
    }

    fn firings(&self) -> Firings<'_> {
        Firings { cron: &self.cron, zone: &self.zone, is_fixed: self.is_fixed }
    }
}

/// Where an expression has stars; two of cron's rules hang on that.
struct Stars {
    /// In minute or hour: it follows the clock on the wall.
    on_the_clock: bool,
    /// At the beginning of day of month or day of week: then both must match, as in `0 0 */2 * 1`. With none in either,
    /// one is enough.
    on_a_day: bool,
}

impl Stars {
    fn of(text: &str) -> Self {
        let fields: Vec<&str> = text.split_whitespace().collect();
        match fields.as_slice() {
            [minute, hour, day, _, weekday] => {
                let is_star = |field: &&str| field.starts_with(['*', '?']);
                Self {
                    on_the_clock: [minute, hour].iter().any(|field| field.contains(['*', '?'])),
                    on_a_day: [day, weekday].into_iter().any(is_star),
                }
            }
            _ => Self { on_the_clock: text.eq_ignore_ascii_case("@hourly"), on_a_day: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::{Schedule, ScheduleError};

    fn berlin(text: &str) -> Schedule {
        Schedule::parse(text, TimeZone::get("Europe/Berlin").expect("a zone")).expect("a schedule")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn local(times: Vec<Timestamp>) -> Vec<String> {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        times.into_iter().map(|t| t.to_zoned(zone.clone()).strftime("%m-%d %H:%M %Z").to_string()).collect()
    }

    #[test]
    fn a_time_that_does_not_exist_runs_once_right_after_the_gap() {
        let times = berlin("30 2 * * *").upcoming(at("2026-03-28T00:00:00Z"), 3);
        assert_eq!(local(times), ["03-28 02:30 CET", "03-29 03:00 CEST", "03-30 02:30 CEST"]);
    }

    #[test]
    fn a_time_that_comes_twice_runs_once() {
        let times = berlin("30 2 * * *").upcoming(at("2026-10-24T12:00:00Z"), 2);
        assert_eq!(local(times), ["10-25 02:30 CEST", "10-26 02:30 CET"]);
    }

    #[test]
    fn an_interval_runs_by_elapsed_time_through_the_hour_that_comes_twice() {
        let times = berlin("*/30 2 * * *").upcoming(at("2026-10-24T12:00:00Z"), 4);
        assert_eq!(local(times), ["10-25 02:00 CEST", "10-25 02:30 CEST", "10-25 02:00 CET", "10-25 02:30 CET"]);
    }

    #[test]
    fn what_is_no_schedule_or_never_comes_is_refused() {
        let zone = TimeZone::UTC;
        for text in ["", "* * * *", "* * * * * *", "60 2 * * *", "0 2 * * mo0n", "@sometimes", "*/0 * * * *"] {
            assert!(matches!(Schedule::parse(text, zone.clone()), Err(ScheduleError::NotCron { .. })), "{text}");
        }
        assert!(Schedule::parse("0 2 29 2 *", zone.clone()).is_ok(), "a leap day comes");
        for text in ["0 2 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 */2", "* * 30-31 2 *"] {
            assert!(matches!(Schedule::parse(text, zone.clone()), Err(ScheduleError::Never { .. })), "{text}");
        }
    }

    #[test]
    fn what_comes_seldom_is_found_however_far_it_is() {
        let days = |text: &str, from: &str, count| {
            let schedule = Schedule::parse(text, TimeZone::UTC).expect("a schedule");
            schedule.upcoming(at(from), count).iter().map(|t| t.strftime("%F %a").to_string()).collect::<Vec<_>>()
        };
        let from = "2026-11-21T12:00:00Z";
        assert_eq!(days("0 0 29 2 *", from, 3), ["2028-02-29 Tue", "2032-02-29 Sun", "2036-02-29 Fri"]);
        assert_eq!(days("0 0 29 2 *", "2096-03-01T00:00:00Z", 1), ["2104-02-29 Fri"], "2100 is no leap year");
        // both fields are restricted, so one is enough
        assert_eq!(days("0 0 29 2 1", from, 5)[..2], ["2027-02-01 Mon", "2027-02-08 Mon"]);
        // croner's sign for both
        assert_eq!(days("0 0 29 2 +1", from, 1), ["2044-02-29 Mon"]);
        // a star at the beginning is not restricted, as cron's manual has it: both must match
        assert_eq!(days("0 0 */2 * 1", from, 2), ["2026-11-23 Mon", "2026-12-07 Mon"]);
    }

    #[test]
    fn several_hours_of_a_job_of_fixed_time_lose_none_and_run_none_twice() {
        let schedule = berlin("30 1-3 * * *");
        let spring = schedule.upcoming(at("2026-03-28T23:00:00Z"), 3);
        assert_eq!(local(spring.clone()), ["03-29 01:30 CET", "03-29 03:00 CEST", "03-29 03:30 CEST"]);
        let autumn = schedule.upcoming(at("2026-10-24T22:00:00Z"), 3);
        assert_eq!(local(autumn.clone()), ["10-25 01:30 CEST", "10-25 02:30 CEST", "10-25 03:30 CET"]);
        let told =
            |times: &[Timestamp]| times.iter().map(|t| schedule.moved(*t).map(|m| m.to_string())).collect::<Vec<_>>();
        assert_eq!(told(&spring), [None, Some("02:30 does not exist on 2026-03-29; runs at 03:00".to_owned()), None]);
        assert_eq!(
            told(&autumn),
            [None, Some("02:30 comes twice on 2026-10-25; runs the first time only".to_owned()), None]
        );
    }

    #[test]
    fn a_gap_at_midnight_is_told_with_both_days() {
        let nuuk =
            Schedule::parse("15 23 * * *", TimeZone::get("America/Scoresbysund").expect("a zone")).expect("well");
        let next = nuuk.next_after(at("2025-03-29T12:00:00Z")).expect("it comes");
        assert_eq!(next, at("2025-03-30T01:00:00Z"));
        let told = nuuk.moved(next).map(|moved| moved.to_string());
        assert_eq!(told.as_deref(), Some("23:15 does not exist on 2025-03-29; runs at 00:00 on 2025-03-30"));
    }

    #[test]
    fn nicknames_and_names_are_understood() {
        assert_eq!(local(berlin("@daily").upcoming(at("2026-11-21T12:00:00Z"), 1)), ["11-22 00:00 CET"]);
        assert_eq!(local(berlin("0 5 * * SUN").upcoming(at("2026-11-21T12:00:00Z"), 1)), ["11-22 05:00 CET"]);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_what_fires_fires_later(
            text in "[@a-z0-9*/,#L -]{0,20}", seconds in -10_000_000_000i64..10_000_000_000,
        ) {
            if let Ok(schedule) = Schedule::parse(&text, TimeZone::UTC) {
                let after = Timestamp::from_second(seconds).expect("a time");
                if let Some(next) = schedule.next_after(after) {
                    prop_assert!(next > after);
                }
            }
        }
    }
}
