//! An oracle: when cron would start a job, written from its manual and from nothing else.
//!
//! It is the daemon of cron(8) and crontab(5) (Debian's), walked through minute by minute; where the offset of a zone
//! stands still for a day, the day's minutes are taken from a list, which is the same and a thousand times faster. It
//! shares nothing with the program but the zones themselves: what offset held at an instant.
//!
//! crontab(5): five fields; `*`, numbers, ranges, lists, steps. "If both fields [day of month, day of week] are restricted
//! (i.e., do not start with *), the command will be run when either field matches the current time."
//!
//! cron(8): "Special considerations exist when the clock is changed by less than 3 hours [...]. If the time has moved
//! forwards, those jobs which would have run in the time that was skipped will be run soon after the change. Conversely,
//! if the time has moved backwards by less than 3 hours, those jobs that fall into the repeated time will not be re-run.
//! Only jobs that run at a particular time (not specified as @hourly, nor with '*' in the hour or minute specifier) are
//! affected. Jobs which are specified with wildcards are run based on the new time immediately. Clock changes of more
//! than 3 hours are considered to be corrections to the clock, and the new time is used immediately."

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

const DAY: i64 = 1440;

/// The days that are known: enough on either side of 2000 to 2037.
const FIRST: Date = jiff::civil::date(1999, 12, 28);
const LAST: Date = jiff::civil::date(2038, 1, 4);

/// A pattern, spread out: which minutes of a day, which days.
pub struct Pattern {
    /// No star in minute and hour.
    is_fixed: bool,
    /// In order.
    minutes: Vec<i64>,
    /// Of the day since 1970, from `FIRST`.
    days: Vec<bool>,
}

/// Days since 1970.
fn day_number(date: Date) -> i64 {
    date.to_zoned(TimeZone::UTC).expect("a date of our time").timestamp().as_second() / 86_400
}

/// Whether a value is in a field.
fn has(field: &str, value: i64, low: i64, high: i64) -> bool {
    field.split(',').any(|part| {
        let (range, step) = part.split_once('/').map_or((part, 1), |(range, step)| (range, number(step)));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None if range == "*" => (low, high),
            None => (number(range), if part.contains('/') { high } else { number(range) }),
        };
        (from..=to).contains(&value) && (value - from) % step == 0
    })
}

fn number(text: &str) -> i64 {
    text.parse().expect("the oracle is given numbers")
}

impl Pattern {
    /// Five fields of numbers.
    pub fn new(text: &str) -> Self {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else { panic!("`{text}` has not five fields") };
        let minutes = (0..DAY).filter(|m| has(minute, m % 60, 0, 59) && has(hour, m / 60, 0, 23)).collect();
        let days = FIRST.series(jiff::ToSpan::days(1)).take_while(|date| *date <= LAST).map(|date| {
            let sunday_is_0 = i64::from(date.weekday().to_sunday_zero_offset());
            let by_day = has(day, i64::from(date.day()), 1, 31);
            let by_weekday = has(weekday, sunday_is_0, 0, 7) || (sunday_is_0 == 0 && has(weekday, 7, 0, 7));
            let either = !day.starts_with('*') && !weekday.starts_with('*');
            let is_day = if either { by_day || by_weekday } else { by_day && by_weekday };
            is_day && has(month, i64::from(date.month()), 1, 12)
        });
        Self { is_fixed: !minute.contains('*') && !hour.contains('*'), minutes, days: days.collect() }
    }

    fn is_day(&self, day: i64) -> bool {
        self.days[usize::try_from(day - day_number(FIRST)).expect("a day that is known")]
    }

    /// Whether a minute on the wall (since 1970) is in the pattern.
    fn has(&self, wall: i64) -> bool {
        self.minutes.binary_search(&wall.rem_euclid(DAY)).is_ok() && self.is_day(wall.div_euclid(DAY))
    }
}

/// The offset at a minute since 1970, in minutes.
fn offset(zone: &TimeZone, minute: i64) -> i64 {
    let at = Timestamp::from_second(minute * 60).expect("an instant of our time");
    i64::from(zone.to_offset(at).seconds()).div_euclid(60)
}

/// Every start from the beginning of one year (in UTC) to the end of another, as minutes since 1970.
pub fn starts(pattern: &Pattern, zone: &TimeZone, years: std::ops::RangeInclusive<i16>) -> Vec<i64> {
    let begin = day_number(Date::new(*years.start(), 1, 1).expect("a date")) * DAY;
    let end = day_number(Date::new(*years.end() + 1, 1, 1).expect("a date")) * DAY;
    let mut starts = Vec::new();
    // two days before, so that a shift on the first day is seen whole
    let mut minute = begin - 2 * DAY;
    let mut cron = Cron { expected: minute + offset(zone, minute), covered: minute + offset(zone, minute) - 1 };
    while minute < end {
        let here = offset(zone, minute);
        let is_quiet = cron.covered == minute + here - 1
            && cron.expected == minute + here
            && (1..=24)
                .all(|hour| offset(zone, minute + hour * 60 - 1) == here && offset(zone, minute + hour * 60) == here);
        if is_quiet {
            let (from, to) = (minute + here, minute + here + DAY);
            for day in [from.div_euclid(DAY), from.div_euclid(DAY) + 1] {
                if pattern.is_day(day) {
                    let walls = pattern.minutes.iter().map(|m| day * DAY + m).filter(|wall| (from..to).contains(wall));
                    starts.extend(walls.map(|wall| wall - here));
                }
            }
            minute += DAY;
            cron = Cron { expected: to, covered: to - 1 };
        } else {
            if cron.wakes(pattern, minute + offset(zone, minute)) {
                starts.push(minute);
            }
            minute += 1;
        }
    }
    starts.retain(|start| (begin..end).contains(start));
    starts
}

/// What the daemon remembers from minute to minute.
struct Cron {
    /// What the wall should show now, had nobody touched the clock.
    expected: i64,
    /// The last minute on the wall for which jobs of a particular time have been run.
    covered: i64,
}

impl Cron {
    /// A minute begins and the wall shows `wall`: whether the job is run.
    fn wakes(&mut self, pattern: &Pattern, wall: i64) -> bool {
        let shift = wall - self.expected;
        self.expected = wall + 1;
        if !pattern.is_fixed {
            self.covered = wall;
            return pattern.has(wall);
        }
        if shift.abs() >= 180 {
            self.covered = wall - 1;
        }
        let run = (self.covered + 1..=wall).any(|minute| pattern.has(minute));
        self.covered = self.covered.max(wall);
        run
    }
}
