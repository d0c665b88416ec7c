//! `backup prune`: removes what no rule keeps.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::catalog::Catalog;
use crate::domain::{Cancel, Clock, SystemClock};
use crate::observe::Silent;
use crate::prune::{Order, Report, plan, prune};
use crate::report::duration_words;
use crate::retention::{Policy, Refusal, Verdict};
use crate::wiring;

/// Remove snapshots that no rule keeps
///
/// The rules are those of the job's `retention`, or those given here. What is removed can be taken back with `backup
/// undelete` for a while. Never removes the newest good snapshot, a held one, or any after a run that was not ok.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Show what would be removed and why the rest stays; nothing is removed or written, so the store's clock is not asked
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Keep the newest so many
    #[arg(long, value_name = "N")]
    last: Option<u32>,
    /// Keep the newest of each of the newest so many hours that have one
    #[arg(long, value_name = "N")]
    hourly: Option<u32>,
    /// Likewise of days
    #[arg(long, value_name = "N")]
    daily: Option<u32>,
    /// Likewise of weeks
    #[arg(long, value_name = "N")]
    weekly: Option<u32>,
    /// Likewise of months
    #[arg(long, value_name = "N")]
    monthly: Option<u32>,
    /// Likewise of years
    #[arg(long, value_name = "N")]
    yearly: Option<u32>,
    /// Keep everything that is not older, such as 30d
    #[arg(long, value_name = "DURATION")]
    within: Option<String>,
    /// Keep so many good ones in any case
    #[arg(long, value_name = "N")]
    floor: Option<u32>,
    /// Remove nothing if more would be removed at once
    #[arg(long, value_name = "N")]
    max_removals: Option<u32>,
    /// How long removed snapshots can be taken back; default: as the job says. Where no job of a configuration is known
    /// for the store, nobody has said it, and the trash is not emptied
    #[arg(long, value_name = "DURATION")]
    trash_for: Option<String>,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let catalog = which::catalog(&verb.which, global)?;
    let (policy, trash_for) = policy(verb, global, &catalog)?;
    let zone = which::zone(&verb.which, global)?;
    let now = SystemClock::new().now();
    let order = Order { policy, zone, now, trash_for };
    if !policy.has_rules() && !verb.dry_run {
        return Err(Failure::usage(
            format!("job {} has no rule for what stays, so everything stays", catalog.layout().job()),
            "give the job a `retention`, or rules here: --last 7 --daily 14 --weekly 8",
        ));
    }
    let report = if verb.dry_run {
        plan(&catalog, &order)?
    } else {
        let claim = wiring::claim(now, which::lease_term(&verb.which, global));
        // nobody asks it to stop but by ending it, and each step leaves the store whole
        prune(&catalog, &order, claim, &Cancel::new(), &Silent)?
    };
    show(&report, verb.dry_run, trash_for, screen);
    if trash_for.is_none() && !verb.dry_run {
        screen.note(
            "the trash is not emptied: no job of a configuration is known for this store, so nobody has said how long \
             removed snapshots can be taken back; --trash-for says it",
        );
    }
    match &report.judgement.refusal {
        Some(refusal) if !verb.dry_run => Err(refused(refusal)),
        _ => Ok(Exit::Ok),
    }
}

fn policy(verb: &Verb, global: &Global, catalog: &Catalog) -> Result<(Policy, Option<Duration>), Failure> {
    let settings = which::settings(global)?;
    // a job of this name in another store is another job
    let job = settings.as_ref().and_then(|settings| {
        let job = settings.jobs.get(catalog.layout().job())?;
        let store = settings.stores.get(&job.store)?;
        let opened = verb.which.store.as_deref().map(|given| which::named_store(given, Some(settings)));
        opened.is_none_or(|opened| opened.path == store.path).then_some(job)
    });
    let mut policy = job.map_or_else(Policy::default, |job| job.retention);
    let given = [verb.last, verb.hourly, verb.daily, verb.weekly, verb.monthly, verb.yearly];
    let duration = |text: &String| {
        crate::config::duration_of(text).map_err(|what| Failure::usage(what, "a number and a unit: 24h, 30d"))
    };
    let within = verb.within.as_ref().map(duration).transpose()?;
    // rules given here are all the rules
    if within.is_some() || given.iter().any(Option::is_some) {
        let [last, hourly, daily, weekly, monthly, yearly] = given.map(Option::unwrap_or_default);
        policy = Policy { last, hourly, daily, weekly, monthly, yearly, within, ..policy };
    }
    policy.floor = verb.floor.unwrap_or(policy.floor);
    policy.max_removals = verb.max_removals.unwrap_or(policy.max_removals);
    let trash_for = verb.trash_for.as_ref().map(duration).transpose()?;
    Ok((policy, trash_for.or_else(|| job.map(|job| job.trash_for))))
}

fn refused(refusal: &Refusal) -> Failure {
    Failure {
        exit: Exit::Failed,
        trouble: crate::domain::Trouble {
            what: "nothing was removed".to_owned(),
            causes: vec![refusal.to_string()],
            advice: refusal.advice().to_owned(),
        },
    }
}

fn why(verdict: &Verdict, report: &Report) -> String {
    match report.damages.get(&verdict.snapshot.name).map(Vec::as_slice) {
        None | Some([]) => verdict.words(),
        Some([one]) => format!("{} ({one})", verdict.words()),
        Some([first, rest @ ..]) => format!("{} ({first}, and {} more)", verdict.words(), rest.len()),
    }
}

fn show(report: &Report, dry: bool, trash_for: Option<Duration>, screen: &Screen) {
    let judgement = &report.judgement;
    if screen.is_json() {
        for verdict in &judgement.verdicts {
            let weight = report.weights.get(&verdict.snapshot.name).copied().unwrap_or_default();
            let reasons: Vec<&str> = verdict.reasons.iter().map(|reason| reason.word()).collect();
            screen.json(&serde_json::json!({
                "type": "verdict", "snapshot": verdict.snapshot.name, "keep": verdict.stays(), "reasons": reasons,
                "why": verdict.words(), "damages": report.damages.get(&verdict.snapshot.name).map_or(&[][..], Vec::as_slice), "size": weight.size, "alone": weight.alone,
            }));
        }
        screen.json(&serde_json::json!({
            "type": "pruned", "dry_run": dry, "removed": report.removed, "frees": report.frees, "emptied": report.emptied,
            "held_meanwhile": report.held_meanwhile,
            "refusal": judgement.refusal.as_ref().map(ToString::to_string),
        }));
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "SNAPSHOT", "SIZE", "ALONE", "WHY"]);
    for verdict in &judgement.verdicts {
        let weight = report.weights.get(&verdict.snapshot.name).copied().unwrap_or_default();
        table.add_row([
            if verdict.stays() { "keep" } else { "remove" }.to_owned(),
            verdict.snapshot.name.to_string(),
            weight.size.to_string(),
            weight.alone.to_string(),
            why(verdict, report),
        ]);
    }
    for column in 2..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    let going = judgement.verdicts.iter().filter(|verdict| !verdict.stays()).count();
    lines.push(match (&judgement.refusal, dry, going) {
        (_, _, 0) => "nothing is to be removed".to_owned(),
        (Some(refusal), ..) => format!("nothing is removed: {refusal}"),
        (None, true, count) => format!("{count} would be removed, which frees {} in the end", report.frees),
        (None, false, _) if report.removed.is_empty() => "nothing was removed".to_owned(),
        (None, false, _) => format!(
            "{} removed; `backup undelete` takes them back{}, then {} are free",
            report.removed.len(),
            trash_for.map_or_else(
                || " until the trash is emptied".to_owned(),
                |term| format!(" for {}", duration_words(term))
            ),
            report.frees
        ),
    });
    lines.extend(report.held_meanwhile.iter().map(|name| format!("{name} stays: somebody has held it meanwhile")));
    if report.emptied > 0 {
        lines.push(format!("{} removed for good from the trash", report.emptied));
    }
    screen.result(&lines.join("\n"));
}
