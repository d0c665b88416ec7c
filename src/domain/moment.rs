//! The times that people type: `2026-11-20`, `2026-11-20 14:00`, `3 days ago`.
//!
//! The danger here is to read more into a text than was meant. A day is not its first instant: who asks for the
//! snapshot of the 20th does not want that of the 19th. So a text names a span of time, and each use takes the end
//! of it that it means. Where clocks are set back an hour comes twice, and both are in the span; a time that is left
//! out where they are set forward is taken as if they had not been.
//!
//! Neither the clock nor the zone is asked for here: both are handed in.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};

/// A span of time that a person named; `first` is never after `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Its first nanosecond.
    pub first: Timestamp,
    /// Its last nanosecond; `first` where an instant was named.
    pub last: Timestamp,
}

/// Text that is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time: write a day (2026-11-20), a day and a time (2026-11-20 14:00), a time with its zone \
     (2026-11-20T14:00:00Z), `yesterday`, or how long ago (3 days ago, 2h 30m ago)"
)]
pub struct MomentError(String);

impl Moment {
    /// Understands what people type. Days and times without a zone are in `zone`; `3 days` and `3d` mean that long
    /// before `now`, with or without `ago`, and days are the calendar's.
    ///
    /// # Errors
    /// If it is none of the forms above, names no day of the calendar, or lies beyond the year 9999.
    pub fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Self, MomentError> {
        let text = text.trim();
        Self::instant(text, now, zone)
            .map(|at| Self { first: at, last: at })
            .or_else(|| Self::local(text, now, zone))
            .ok_or_else(|| MomentError(text.to_owned()))
    }

    fn instant(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if text == "now" {
            return Some(now);
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return Some(at);
        }
        if let Ok(at) = text.parse::<Zoned>() {
            return Some(at.timestamp());
        }
        let span: Span = text.parse().ok()?;
        // nobody looks for a snapshot of the future
        now.to_zoned(zone.clone()).checked_sub(span.abs()).ok().map(|at| at.timestamp())
    }

    fn local(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Self> {
        let today = now.to_zoned(zone.clone()).date();
        let day = match text {
            "today" => Some(today),
            "yesterday" => Some(today.yesterday().ok()?),
            _ => None,
        };
        if let Some(day) = day {
            return Self::between(day.into(), 1.day(), zone);
        }
        let Some((date, time)) = text.split_once(['T', 't', ' ']) else {
            return Self::between(text.parse::<Date>().ok()?.into(), 1.day(), zone);
        };
        let first: DateTime = format!("{date}T{}", time.trim()).parse().ok()?;
        let width = match time.bytes().filter(u8::is_ascii_digit).count() {
            2 => 1.hour(),
            4 => 1.minute(),
            6 => 1.second(),
            _ => 1.nanosecond(),
        };
        Self::between(first, width, zone)
    }

    fn between(first: DateTime, width: Span, zone: &TimeZone) -> Option<Self> {
        let last = first.checked_add(width).ok()?.checked_sub(1.nanosecond()).ok()?;
        let (first, last) = (zone.to_ambiguous_timestamp(first), zone.to_ambiguous_timestamp(last));
        let is_gap = first.is_ambiguous() && matches!(first.offset(), jiff::tz::AmbiguousOffset::Gap { .. });
        let first = first.compatible().ok()?;
        // in a gap "later" and "compatible" would part ways
        let last = if is_gap { last.compatible() } else { last.later() }.ok()?;
        (first <= last).then_some(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::Moment;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").expect("the zones are built in")
    }

    fn parsed(text: &str) -> Moment {
        Moment::parse(text, at("2026-11-21T09:30:00Z"), &berlin()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_day_is_all_of_the_day_and_a_minute_all_of_the_minute() {
        for (text, first, last) in [
            ("2026-11-20", "2026-11-19T23:00:00Z", "2026-11-20T22:59:59.999999999Z"),
            ("yesterday", "2026-11-19T23:00:00Z", "2026-11-20T22:59:59.999999999Z"),
            ("today", "2026-11-20T23:00:00Z", "2026-11-21T22:59:59.999999999Z"),
            ("2026-11-20 14:00", "2026-11-20T13:00:00Z", "2026-11-20T13:00:59.999999999Z"),
            ("2026-11-20T14:00", "2026-11-20T13:00:00Z", "2026-11-20T13:00:59.999999999Z"),
            (" 2026-11-20 14:00:07 ", "2026-11-20T13:00:07Z", "2026-11-20T13:00:07.999999999Z"),
            ("2026-11-20 14:00:07.5", "2026-11-20T13:00:07.5Z", "2026-11-20T13:00:07.5Z"),
        ] {
            assert_eq!(parsed(text), Moment { first: at(first), last: at(last) }, "{text}");
        }
    }

    #[test]
    fn a_time_with_its_zone_and_a_time_ago_are_instants() {
        for (text, when) in [
            ("now", "2026-11-21T09:30:00Z"),
            ("2026-11-20T14:00:00Z", "2026-11-20T14:00:00Z"),
            ("20261120T140000Z", "2026-11-20T14:00:00Z"),
            ("2026-11-20 14:00:00+02:00", "2026-11-20T12:00:00Z"),
            ("2026-11-20T14:00[America/New_York]", "2026-11-20T19:00:00Z"),
            ("3 days ago", "2026-11-18T09:30:00Z"),
            ("3d", "2026-11-18T09:30:00Z"),
            ("2h 30m ago", "2026-11-21T07:00:00Z"),
            ("1 month ago", "2026-10-21T08:30:00Z"),
        ] {
            assert_eq!(parsed(text), Moment { first: at(when), last: at(when) }, "{text}");
        }
    }

    /// On 2026-03-29 Berlin has no 02:30, on 2026-10-25 it has two.
    #[test]
    fn where_clocks_are_changed_no_time_is_lost() {
        assert_eq!(parsed("2026-03-29 02:30").first, at("2026-03-29T01:30:00Z"), "03:30 in summer time");
        assert!(parsed("2026-03-29 02:59").last > parsed("2026-03-29 02:59").first);
        assert_eq!(parsed("2026-10-25 02:30").first, at("2026-10-25T00:30:00Z"), "the first");
        assert_eq!(parsed("2026-10-25 02:30").last, at("2026-10-25T01:30:59.999999999Z"), "the second");
        let day = parsed("2026-03-29");
        assert_eq!(day.last.duration_since(day.first).as_hours(), 22, "23 hours less a nanosecond");
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms_that_are() {
        for text in ["", "noon", "2026-13-01", "2026-02-30", "20.11.2026", "2026-11-20 25:00", "3 potatoes ago", "-"] {
            let error = Moment::parse(text, at("2026-11-21T09:30:00Z"), &berlin()).expect_err(text);
            assert!(error.to_string().contains("3 days ago"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_span_or_refused(text in "[0-9TZ:+ -]{0,24}|\\PC{0,20}") {
            if let Ok(moment) = Moment::parse(&text, at("2026-11-21T09:30:00Z"), &berlin()) {
                prop_assert!(moment.first <= moment.last);
            }
        }

        #[test]
        fn every_instant_lies_in_the_second_and_in_the_day_that_name_it(seconds in 0i64..4_000_000_000) {
            let when = Timestamp::from_second(seconds).expect("a time");
            let local = when.to_zoned(berlin());
            for form in ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"] {
                let moment = parsed(&local.strftime(form).to_string());
                prop_assert!(moment.first <= when && when <= moment.last, "{} {:?}", form, moment);
            }
        }
    }
}
