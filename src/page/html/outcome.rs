//! The last outcome: what it did, what it skipped and why it failed.

use super::pieces::{Tone, ago, facts, fold, free, pill, prose, table};
use super::{Html, el};
use crate::domain::{Shown, SkipCause, Trouble, Verdict};
use crate::page::view::View;
use crate::page::words;
use crate::report::{RunRecord, SkipRecord, duration_words};

/// How many skipped entries are named here; `show` names them all.
const SKIPS_SHOWN: usize = 12;

pub(super) fn outcome(run: &RunRecord, view: &View) -> Html {
    let mut parts = Vec::new();
    if let Some(trouble) = &run.failure {
        parts.push(failure(trouble));
    }
    parts.extend(run.doubts.iter().map(|doubt| el("p", &[("class", "doubt")], doubt.as_str())));
    if run.skipped > 0 {
        let is_named = run.skips.iter().any(|skip| skip.path.is_some() || skip.path_hex.is_some());
        parts.push(if is_named { skips(run) } else { skips_unnamed(run, view) });
    }
    parts.extend(run.notices.iter().map(|notice| el("p", &[("class", "small")], format!("Note: {notice}"))));
    let took = std::time::Duration::from_millis(run.took_ms);
    let mut pairs = vec![("Took", Html::from(duration_words(took)))];
    if let Some(snapshot) = &run.snapshot {
        let totals = &run.totals;
        pairs.extend([
            ("Looked at", words::count(totals.entries, "entry", "entries").into()),
            ("Read", totals.read_bytes.to_string().into()),
            ("Written", totals.stored_bytes.to_string().into()),
            ("Used again", totals.reused_bytes.to_string().into()),
            ("Snapshot", el("code", &[], snapshot.as_str())),
        ]);
    }
    pairs.push(("On", run.host.0.as_str().into()));
    parts.push(facts(pairs));
    let summary = el(
        "h3",
        &[],
        [
            "The last outcome ".into(),
            pill(Tone::of(Some(run.verdict)), run.verdict.word()),
            " ".into(),
            ago(run.finished, view),
        ],
    );
    fold(summary, run.verdict != Verdict::Ok, parts)
}

fn failure(trouble: &Trouble) -> Html {
    let mut lines = vec![el("p", &[], el("strong", &[], trouble.what.as_str()))];
    lines.extend(trouble.causes.iter().map(|cause| el("p", &[], format!("because {cause}"))));
    if !trouble.advice.is_empty() {
        lines.push(el("p", &[("class", "advice")], prose(&format!("Do: {}.", trouble.advice))));
    }
    el("div", &[("class", "failure")], lines)
}

fn skips(run: &RunRecord) -> Html {
    let rows = run
        .skips
        .iter()
        .take(SKIPS_SHOWN)
        .map(|skip| vec![el("code", &[], path(skip)), skip.cause.words().into(), free(&skip.why)]);
    let shown = run.skips.len().min(SKIPS_SHOWN) as u64;
    let more = run.skipped.saturating_sub(shown);
    let more = (more > 0).then(|| {
        let see = run.snapshot.as_ref().map(|name| format!("; `backup show {name} --skipped` names them all"));
        el("p", &[("class", "small")], prose(&format!("And {} more{}.", words::grouped(more), see.unwrap_or_default())))
    });
    let title = words::count(run.skipped, "skipped entry", "skipped entries");
    let rows = table(&title, &["Entry", "What happened", "Why"], rows.collect());
    [el("h4", &[], title), rows, more.into()].into()
}

/// For who has not given the token: how many of each kind, of those that the record has.
fn skips_unnamed(run: &RunRecord, view: &View) -> Html {
    let mut counts: Vec<(SkipCause, u64)> = Vec::new();
    for skip in &run.skips {
        match counts.iter_mut().find(|(cause, _)| *cause == skip.cause) {
            Some((_, count)) => *count += 1,
            None => counts.push((skip.cause, 1)),
        }
    }
    let rows = counts.iter().map(|(cause, count)| vec![cause.words().into(), words::grouped(*count).into()]).collect();
    let title = words::count(run.skipped, "skipped entry", "skipped entries");
    let more = run.skipped.saturating_sub(run.skips.len() as u64);
    let more = (more > 0).then(|| el("p", &[("class", "small")], format!("And {} more.", words::grouped(more))));
    let who = if view.may_sign_in { ", and this page to whoever has signed in (open a snapshot)" } else { "" };
    let names = run.snapshot.as_ref().map(|name| {
        let text = format!("`backup show {name} --skipped` names them{who}.");
        el("p", &[("class", "small")], prose(&text))
    });
    let rows = table(&title, &["What happened", "Entries"], rows);
    [el("h4", &[], title), rows, more.into(), names.into()].into()
}

/// A path as a person may see it; bytes that are no text are escaped.
fn path(skip: &SkipRecord) -> String {
    match (skip.to_skip(), &skip.path, &skip.path_hex) {
        (Some(known), _, _) => known.path.to_string(),
        (None, Some(text), _) => Shown(text.as_bytes()).to_string(),
        (None, None, hex) => hex.clone().unwrap_or_default(),
    }
}
