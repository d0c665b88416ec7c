//! A half year of outcomes as a drawing, with the same in words: each day takes the worst of its runs.
//!
//! Colour is never the only sign: what failed has a cross, what was missed an empty frame, what was partial a dot.

use std::collections::BTreeMap;

use jiff::civil::{Date, Weekday};
use jiff::{Span, ToSpan};

use super::{Html, el};
use crate::domain::Verdict;
use crate::page::view::{JobView, View};
use crate::page::words;

const WEEKS: i32 = 26;
/// From one day to the next, and the side of a day.
const STEP: i32 = 14;
const SIDE: i32 = 11;
const LEFT: i32 = 28;
const TOP: i32 = 16;

/// How a day went, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Day {
    Skipped,
    Ok,
    Partial,
    Missed,
    Failed,
}

impl Day {
    const ALL: [Self; 5] = [Self::Ok, Self::Partial, Self::Failed, Self::Missed, Self::Skipped];

    fn of(verdict: Option<Verdict>) -> Self {
        match verdict {
            Some(Verdict::Ok) => Self::Ok,
            Some(Verdict::Partial) => Self::Partial,
            Some(Verdict::Failed) => Self::Failed,
            Some(Verdict::Skipped) => Self::Skipped,
            Some(Verdict::Missed) | None => Self::Missed,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Missed => "missed",
            Self::Skipped => "skipped",
        }
    }
}

/// A day with its worst outcome, how many runs it had, and why it was not ok.
struct Told {
    day: Day,
    runs: u64,
    why: Option<String>,
}

pub(super) fn calendar(job: &JobView, view: &View) -> Html {
    let today = view.now.to_zoned(view.zone.clone()).date();
    let monday = back(today, i64::from(today.weekday().to_monday_zero_offset()));
    let first = back(monday, i64::from(7 * (WEEKS - 1)));
    let days = told(job, view, first);
    let counts: Vec<(Day, u64)> = Day::ALL
        .into_iter()
        .map(|day| (day, days.values().filter(|told| told.day == day).count() as u64))
        .filter(|(_, count)| *count > 0)
        .collect();
    let spoken: Vec<String> = counts.iter().map(|(day, count)| format!("{count} {}", day.word())).collect();
    let alternative = format!("Days of the last {WEEKS} weeks: {}.", spoken.join(", "));
    let legend = counts.into_iter().map(|(day, count)| {
        el(
            "li",
            &[],
            [
                el(
                    "svg",
                    &[("viewBox", "0 0 11 11"), ("class", "key"), ("aria-hidden", "true")],
                    cell(0, 0, day, None),
                ),
                format!("{count} {}", day.word()).into(),
            ],
        )
    });
    let amiss: Vec<Html> = days
        .iter()
        .rev()
        .filter(|(_, told)| told.day > Day::Ok)
        .map(|(date, told)| el("li", &[], line(*date, told)))
        .collect();
    let list = (!amiss.is_empty()).then(|| {
        let title = words::count(amiss.len() as u64, "day that was not ok", "days that were not ok");
        super::pieces::fold(title, false, el("ul", &[("class", "days")], amiss))
    });
    el(
        "div",
        &[("class", "calendar")],
        [
            el("h3", &[], "The last half year"),
            drawing(&days, first, today, &alternative),
            el("ul", &[("class", "legend"), ("aria-label", "Days by outcome")], legend.collect::<Vec<_>>()),
            list.into(),
        ],
    )
}

fn told(job: &JobView, view: &View, first: Date) -> BTreeMap<Date, Told> {
    let mut days: BTreeMap<Date, Told> = BTreeMap::new();
    for run in &job.runs {
        let date = run.at.to_zoned(view.zone.clone()).date();
        if date < first {
            continue;
        }
        let day = Day::of(run.verdict);
        let told = days.entry(date).or_insert(Told { day, runs: 0, why: None });
        told.runs += 1;
        if told.why.is_none() || day > told.day {
            told.why.clone_from(&run.why);
        }
        told.day = told.day.max(day);
    }
    days
}

fn line(date: Date, told: &Told) -> String {
    let runs = if told.runs > 1 { format!(", {} runs", told.runs) } else { String::new() };
    let why = told.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{}: {}{runs}{why}", date.strftime("%a %Y-%m-%d"), told.day.word())
}

fn drawing(days: &BTreeMap<Date, Told>, first: Date, today: Date, alternative: &str) -> Html {
    let mut parts = vec![el("title", &[], alternative)];
    for (row, name) in [(0, "Mon"), (2, "Wed"), (4, "Fri")] {
        parts.push(label(0, TOP + row * STEP + 9, name));
    }
    let (mut date, mut month) = (first, None);
    let mut last_label = -LEFT;
    for at in 0.. {
        if date > today {
            break;
        }
        let (x, y) = (LEFT + at / 7 * STEP, TOP + at % 7 * STEP);
        if date.weekday() == Weekday::Monday && month != Some(date.month()) {
            // a name is wider than a week
            if x - last_label >= 2 * STEP && x < LEFT + (WEEKS - 1) * STEP {
                parts.push(label(x, 10, &date.strftime("%b").to_string()));
                last_label = x;
            }
            month = Some(date.month());
        }
        match days.get(&date) {
            Some(told) => parts.push(cell(x, y, told.day, Some(&line(date, told)))),
            None => parts.push(square(x, y, "none", Some(&format!("{}: no run", date.strftime("%a %Y-%m-%d"))))),
        }
        date = date.tomorrow().unwrap_or(Date::MAX);
    }
    let size = format!("0 0 {} {}", LEFT + WEEKS * STEP, TOP + 7 * STEP);
    el("svg", &[("viewBox", &size), ("class", "weeks"), ("role", "img"), ("aria-label", alternative)], parts)
}

fn cell(x: i32, y: i32, day: Day, title: Option<&str>) -> Html {
    let mark = match day {
        Day::Failed => {
            let path = format!("M{} {}l5 5m0 -5l-5 5", x + 3, y + 3);
            Some(el("path", &[("d", &path), ("class", "mark")], ""))
        }
        Day::Partial => {
            let (x, y) = ((x * 2 + SIDE).to_string(), (y * 2 + SIDE).to_string());
            let scaled = [("cx", x.as_str()), ("cy", &y), ("r", "4"), ("transform", "scale(.5)"), ("class", "dot")];
            Some(el("circle", &scaled, ""))
        }
        Day::Ok | Day::Missed | Day::Skipped => None,
    };
    [square(x, y, day.word(), title), mark.into()].into()
}

fn square(x: i32, y: i32, class: &'static str, title: Option<&str>) -> Html {
    let side = SIDE.to_string();
    let place = [
        ("x", x.to_string()),
        ("y", y.to_string()),
        ("width", side.clone()),
        ("height", side),
        ("rx", "2".to_owned()),
        ("class", format!("day {class}")),
    ];
    let place: Vec<(&str, &str)> = place.iter().map(|(name, value)| (*name, value.as_str())).collect();
    el("rect", &place, title.map(|title| el("title", &[], title)))
}

fn label(x: i32, y: i32, text: &str) -> Html {
    el("text", &[("x", &x.to_string()), ("y", &y.to_string()), ("aria-hidden", "true")], text)
}

fn back(date: Date, days: i64) -> Date {
    let span: Span = days.days();
    date.checked_sub(span).unwrap_or(Date::MIN)
}
