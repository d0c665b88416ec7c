//! One job: what it is, its half year, its sizes, its last outcome, its snapshots, and a button.

use super::pieces::{Tone, ago, codes, facts, fold, on, pill, table, token};
use super::{Html, calendar, chart, el, front, outcome};
use crate::domain::{ByteCount, EntryPath};
use crate::page::links::browse_url;
use crate::page::view::{JobView, Progress, SnapshotView, View};
use crate::page::words;

/// With more snapshots than this the list is folded.
const OPEN_SNAPSHOTS_MAX: usize = 8;

/// All of a job; its details folded if it is well and there are many.
pub(super) fn section(job: &JobView, view: &View, is_open: bool) -> Html {
    let id = format!("job-{}", job.name);
    let (tone, word) = front::state(job, view);
    let heading = el("h2", &[("id", &id)], [job.name.as_str().into(), " ".into(), pill(tone, &word)]);
    let mut parts = Vec::new();
    if let Some(run) = &job.running {
        parts.push(progress(run, view));
    }
    if job.runs.is_empty() {
        parts.push(about(job, view));
    } else {
        parts.push(el("div", &[("class", "overview")], [about(job, view), calendar::calendar(job, view)]));
        parts.push(chart::charts(job, view));
    }
    if let Some(run) = &job.last {
        parts.push(outcome::outcome(run, view));
    }
    for snapshot in &job.snapshots {
        if let Some(damage) = &snapshot.damage {
            let words = format!("The snapshot of {} is damaged: {damage}", words::moment(snapshot.at, &view.zone));
            parts.push(el("p", &[("class", "failure")], words));
        }
    }
    if !job.snapshots.is_empty() {
        parts.push(snapshots(job, view));
    }
    if view.may_sign_in && job.running.is_none() {
        parts.push(start(job));
    }
    let body: Html = if is_open { parts.into() } else { fold("Details", false, parts) };
    el("section", &[("class", "job"), ("aria-labelledby", &id)], [heading, body])
}

fn progress(run: &Progress, view: &View) -> Html {
    let entries = words::count(run.entries, "entry", "entries");
    let text = format!(
        "Running since {}: {}, {entries} so far, {} read.",
        words::moment(run.started, &view.zone),
        run.phase,
        ByteCount(run.bytes)
    );
    el("p", &[("class", "progress")], text)
}

fn about(job: &JobView, view: &View) -> Html {
    let verified = job
        .last_verified
        .as_ref()
        .map_or_else(|| "never".into(), |proof| [ago(proof.at, view), format!(", {}", proof.level).into()].into());
    let schedule = if job.schedules.is_empty() { "by hand".into() } else { codes(&job.schedules) };
    let mut pairs = vec![
        ("Sources", codes(&job.sources)),
        ("Store", job.store.as_str().into()),
        ("Schedule", schedule),
        ("Next run", job.next_run.map_or_else(|| "by hand".into(), |at| on(at, view))),
        ("Last good run", job.last_success.map_or_else(|| "never".into(), |at| ago(at, view))),
        ("Last verified", verified),
    ];
    if job.failures_in_a_row > 0 {
        pairs.push(("Not ok in a row", job.failures_in_a_row.to_string().into()));
    }
    facts(pairs)
}

fn snapshots(job: &JobView, view: &View) -> Html {
    let rows = job.snapshots.iter().map(|snapshot| row(snapshot, view)).collect();
    let count = words::count(job.snapshots.len() as u64, "snapshot", "snapshots");
    let damaged = job.snapshots.iter().filter(|snapshot| snapshot.damage.is_some()).count();
    let note = if damaged > 0 { format!(", {damaged} damaged") } else { String::new() };
    let heads = ["Snapshot", "State", "Content", "Entries", "Verified", "Kept as"];
    let summary = el("h3", &[], format!("{count}{note}"));
    fold(summary, job.snapshots.len() <= OPEN_SNAPSHOTS_MAX, table(&format!("Snapshots of {}", job.name), &heads, rows))
}

fn row(snapshot: &SnapshotView, view: &View) -> Vec<Html> {
    let when = el(
        "time",
        &[("datetime", &snapshot.at.to_string()), ("title", snapshot.name.as_str())],
        words::moment(snapshot.at, &view.zone),
    );
    let name = if view.may_sign_in {
        let hint = format!("Browse {}", snapshot.name);
        el("a", &[("href", &browse_url(&snapshot.name, &EntryPath::root())), ("title", &hint)], when)
    } else {
        when
    };
    let state = match (&snapshot.damage, snapshot.is_ok) {
        (Some(damage), _) => [pill(Tone::Bad, "damaged"), el("p", &[("class", "small")], damage.as_str())].into(),
        (None, true) => pill(Tone::Good, "ok"),
        (None, false) => pill(Tone::Notable, "partial"),
    };
    vec![
        name,
        state,
        ByteCount(snapshot.bytes).to_string().into(),
        words::grouped(snapshot.entries).into(),
        snapshot.verified.as_ref().map_or_else(
            || "not yet".into(),
            |proof| [ago(proof.at, view), format!(", {}", proof.level).into()].into(),
        ),
        if snapshot.kept_for.is_empty() { "may go".into() } else { snapshot.kept_for.join(", ").into() },
    ]
}

/// A run takes the token, not a session: another site's form cannot know it.
fn start(job: &JobView) -> Html {
    let id = format!("token-{}", job.name);
    let form = el(
        "form",
        &[("method", "post"), ("action", &format!("/jobs/{}/run", job.name)), ("class", "token")],
        [token(&id, &[]), el("button", &[("type", "submit")], format!("Run {} now", job.name))],
    );
    fold("Start a run", false, form)
}
