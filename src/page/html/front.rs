//! The front page: the verdict first, then what is wrong, then jobs and stores, then each job by itself.

use super::frame::document;
use super::pieces::{Tone, ago, nothing, on, pill, prose, table};
use super::{Html, el, job};
use crate::domain::{ByteCount, Verdict};
use crate::page::concerns::{Concern, Weight, concerns};
use crate::page::health::lateness;
use crate::page::view::{JobView, RunView, StoreView, View};
use crate::page::words;

/// With more jobs than this, those that are well are folded.
const OPEN_JOBS_MAX: usize = 3;

/// The page at `/`.
pub fn front(view: &View) -> String {
    let found = concerns(view);
    let mut main = vec![verdict(view, &found)];
    if !view.jobs.is_empty() {
        main.push(section("Jobs", "jobs", jobs(view)));
    }
    if !view.stores.is_empty() {
        main.push(section("Stores", "stores", stores(view)));
    }
    let opens = |job: &JobView| view.jobs.len() <= OPEN_JOBS_MAX || found.iter().any(|c| c.about == job.name.as_str());
    main.extend(view.jobs.iter().map(|each| job::section(each, view, opens(each))));
    let (_, headline, _) = words_of(view, &found);
    document(&format!("{headline} · backup {}", view.instance), view, Some("/"), main)
}

fn section(title: &str, id: &str, inner: Html) -> Html {
    let heading = format!("{id}-title");
    el("section", &[("aria-labelledby", &heading)], [el("h2", &[("id", &heading)], title), inner])
}

/// Tone, headline, and a sentence below it.
fn words_of(view: &View, found: &[Concern]) -> (Tone, String, String) {
    let wrong = found.iter().filter(|concern| concern.weight == Weight::Wrong).count() as u64;
    let notable = found.len() as u64 - wrong;
    if wrong > 0 {
        let more = if notable > 0 { format!(", and {} to look at", notable) } else { String::new() };
        let what = words::count(wrong, "thing is wrong", "things are wrong");
        return (Tone::Bad, format!("{what}{more}"), "The worst comes first.".to_owned());
    }
    if notable > 0 {
        let what = words::count(notable, "thing to look at", "things to look at");
        return (Tone::Notable, what, "Every job has a good backup that is young enough.".to_owned());
    }
    if view.jobs.is_empty() {
        return (
            Tone::Quiet,
            "Nothing is backed up yet".to_owned(),
            "There is no job in the configuration.".to_owned(),
        );
    }
    let newest = view.jobs.iter().filter_map(|job| job.last_success).max();
    let next = view.jobs.iter().filter_map(|job| job.next_run).min();
    let mut sentences = Vec::new();
    if let Some(at) = newest {
        sentences.push(format!("The newest good backup was made {}.", words::distance(at, view.now)));
    }
    if let Some(at) = next {
        sentences.push(format!("The next run is due {}.", words::distance(at, view.now)));
    }
    (Tone::Good, "All is well".to_owned(), sentences.join(" "))
}

fn verdict(view: &View, found: &[Concern]) -> Html {
    let (tone, headline, sentence) = words_of(view, found);
    let mut parts = vec![el("h1", &[("id", "verdict")], headline), el("p", &[("class", "lead")], sentence)];
    if view.jobs.is_empty() {
        let advice = "Write one under `jobs:`, look with `backup config check`, and send the daemon SIGHUP.";
        parts.push(el("p", &[], prose(advice)));
    }
    if !found.is_empty() {
        let items = found.iter().map(|concern| {
            let class = if concern.weight == Weight::Wrong { "bad" } else { "notable" };
            let about = match view.jobs.iter().find(|job| job.name.as_str() == concern.about) {
                Some(job) => el("a", &[("href", &format!("#job-{}", job.name))], concern.about.as_str()),
                None => concern.about.as_str().into(),
            };
            let word = if concern.weight == Weight::Wrong { "wrong" } else { "look" };
            let advice = (!concern.advice.is_empty())
                .then(|| el("p", &[("class", "advice")], prose(&format!("Do: {}.", concern.advice))));
            el(
                "li",
                &[("class", class)],
                [
                    pill(if class == "bad" { Tone::Bad } else { Tone::Notable }, word),
                    el(
                        "div",
                        &[],
                        [
                            el("p", &[], [el("strong", &[], about), ": ".into(), concern.what.as_str().into()]),
                            advice.into(),
                        ],
                    ),
                ],
            )
        });
        parts.push(el("ul", &[("class", "concerns")], items.collect::<Vec<_>>()));
    }
    el("section", &[("class", &format!("verdict {}", tone.class())), ("aria-labelledby", "verdict")], parts)
}

fn jobs(view: &View) -> Html {
    let rows = view.jobs.iter().map(|job| {
        let (tone, word) = state(job, view);
        vec![
            el("a", &[("href", &format!("#job-{}", job.name))], job.name.as_str()),
            pill(tone, &word),
            job.last_success.map_or_else(|| "never".into(), |at| ago(at, view)),
            job.next_run.map_or_else(|| "by hand".into(), |at| on(at, view)),
            size(job),
            words::grouped(job.snapshots.len() as u64).into(),
        ]
    });
    table("Jobs", &["Job", "State", "Last good run", "Next run", "Size", "Snapshots"], rows.collect())
}

/// The size of the source in the newest run that made a snapshot.
fn size(job: &JobView) -> Html {
    let made = |run: &&RunView| matches!(run.verdict, Some(Verdict::Ok | Verdict::Partial));
    job.runs.iter().rev().find(made).map_or_else(nothing, |run| ByteCount(run.bytes).to_string().into())
}

/// The state of a job in a word: what it does, or how late it is, or how its last run ended.
pub(super) fn state(job: &JobView, view: &View) -> (Tone, String) {
    if let Some(run) = &job.running {
        let since = words::span(view.now.duration_since(run.started));
        return (Tone::Busy, format!("running for {since}"));
    }
    let last = job.last.as_ref().map(|run| run.verdict);
    match last {
        Some(verdict) if Tone::of(Some(verdict)) == Tone::Bad => (Tone::Bad, verdict.word().to_owned()),
        _ if lateness(job, view.now).is_some() => (Tone::Bad, "overdue".to_owned()),
        Some(verdict) => (Tone::of(Some(verdict)), verdict.word().to_owned()),
        None => (Tone::Quiet, "new".to_owned()),
    }
}

fn stores(view: &View) -> Html {
    let rows = view.stores.iter().map(|store| {
        let is_well = store.trouble.is_none();
        vec![
            store.name.as_str().into(),
            pill(if is_well { Tone::Good } else { Tone::Bad }, if is_well { "usable" } else { "unusable" }),
            el("code", &[], store.path.as_str()),
            room(store),
            match store.skew_s {
                None => "unknown".into(),
                Some(0) => "agrees".into(),
                Some(skew) => format!("{skew:+} s").into(),
            },
        ]
    });
    table("Stores", &["Store", "State", "Folder", "Free", "Clock"], rows.collect())
}

fn room(store: &StoreView) -> Html {
    match (store.free, store.total) {
        (Some(free), Some(total)) if total > 0 => {
            let share = 100 * u128::from(free) / u128::from(total);
            let used = format!("{}", 100_u128.saturating_sub(share));
            let text = format!("{} of {} ({share} %)", ByteCount(free), ByteCount(total));
            let meter = el(
                "meter",
                &[("min", "0"), ("max", "100"), ("high", "90"), ("value", &used), ("aria-label", "used")],
                format!("{used} % used"),
            );
            [text.into(), meter].into()
        }
        (Some(free), _) => ByteCount(free).to_string().into(),
        (None, _) => "unknown".into(),
    }
}
