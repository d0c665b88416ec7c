//! Sizes and durations over time, as small drawings of bars with the same in words.
//!
//! Bars begin at zero and stand in a row, one a run: a line would draw values between two nights where there are none.

use super::{Html, el};
use crate::domain::{ByteCount, Verdict};
use crate::page::view::{JobView, RunView, View};
use crate::page::words;
use crate::report::duration_words;

/// How many runs are drawn, the newest last: more would be thinner than a pixel on a telephone.
const RUNS_MAX: usize = 90;
/// Height of a drawing; its width is ten for each run.
const HEIGHT: u64 = 100;

pub(super) fn charts(job: &JobView, view: &View) -> Html {
    let made = |run: &&RunView| matches!(run.verdict, Some(Verdict::Ok | Verdict::Partial));
    let mut runs: Vec<&RunView> = job.runs.iter().filter(made).collect();
    let runs = runs.split_off(runs.len().saturating_sub(RUNS_MAX));
    if runs.is_empty() {
        return Html::default();
    }
    let size = |bytes: u64| ByteCount(bytes).to_string();
    let took = |ms: u64| duration_words(std::time::Duration::from_millis(ms));
    let charts = [
        chart("Size of the source", &runs, view, |run| run.bytes, &size),
        chart("Written by each run", &runs, view, |run| run.stored, &size),
        chart("Duration", &runs, view, |run| run.took_ms, &took),
    ];
    el("div", &[("class", "charts")], charts)
}

fn chart(
    title: &str,
    runs: &[&RunView],
    view: &View,
    value: fn(&RunView) -> u64,
    told: &dyn Fn(u64) -> String,
) -> Html {
    let values: Vec<u64> = runs.iter().map(|run| value(run)).collect();
    let (most, least) = (values.iter().copied().max().unwrap_or(0), values.iter().copied().min().unwrap_or(0));
    let last = values.last().copied().unwrap_or(0);
    let bars = runs.iter().zip(&values).enumerate().map(|(at, (run, value))| {
        let height = if most == 0 { 0 } else { u128::from(*value) * u128::from(HEIGHT) / u128::from(most) };
        // what is little is still something
        let height = height.max(u128::from(*value > 0));
        let place = [
            ("x", (at * 10).to_string()),
            ("y", (u128::from(HEIGHT) - height).to_string()),
            ("width", "7".to_owned()),
            ("height", height.to_string()),
        ];
        let place: Vec<(&str, &str)> = place.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let tip = format!("{}: {}", words::moment(run.at, &view.zone), told(*value));
        el("rect", &place, el("title", &[], tip))
    });
    let alternative = format!(
        "{title} in the last {}: {} at last, between {} and {}.",
        words::count(runs.len() as u64, "run", "runs"),
        told(last),
        told(least),
        told(most)
    );
    let size = format!("0 0 {} {HEIGHT}", (runs.len() * 10).max(10));
    let attributes =
        [("viewBox", size.as_str()), ("preserveAspectRatio", "none"), ("role", "img"), ("aria-label", &alternative)];
    let ends = |run: Option<&&RunView>| {
        run.map_or_else(String::new, |run| run.at.to_zoned(view.zone.clone()).strftime("%Y-%m-%d").to_string())
    };
    el(
        "figure",
        &[],
        [
            el("figcaption", &[], [el("span", &[], title), el("strong", &[], told(last))]),
            el("svg", &attributes, bars.collect::<Vec<_>>()),
            el(
                "p",
                &[("class", "axis")],
                [
                    el("span", &[], ends(runs.first())),
                    el("span", &[], format!("most {}", told(most))),
                    el("span", &[], ends(runs.last())),
                ],
            ),
        ],
    )
}
