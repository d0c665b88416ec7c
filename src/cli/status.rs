//! `backup status`: the daemon, jobs, their newest snapshots, their last runs and their next ones.
//!
//! What the daemon says comes from the file it writes as it goes; so that is told even while a store hangs.

use std::io::Write;
use std::sync::Arc;

use jiff::Timestamp;

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which::{self, Meant};
use crate::catalog::Catalog;
use crate::config::Settings;
use crate::daemon::{LIVE_BYTES_MAX, LIVE_FILE, Live};
use crate::domain::{Clock, SystemClock};
use crate::report::duration_words;

/// A holder that cannot be read is shown as stale after this.
const TERM_UNKNOWN_S: u64 = 900;

/// Show the daemon, jobs, their last runs and their next ones
///
/// With --json lines of the `type` daemon (what it knows; not there if none has run here), and status, one for each job.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// As a health check: exit with 0 if the daemon is alive and everything is as it should be, else say why and exit with
    /// 1. Looks at no store
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let clock = SystemClock::new();
    let now = clock.now();
    let settings = if verb.which.store.is_some() && global.config.is_none() { None } else { which::settings(global)? };
    let state = which::state(global, settings.as_ref());
    let live = state.kept(LIVE_FILE, LIVE_BYTES_MAX).as_deref().and_then(Live::decode);
    let live = live.map(|live| live.seen_by(state.daemon()));
    if verb.check {
        return Ok(check(live.as_ref(), now, screen));
    }
    if let Some(live) = live.filter(|_| verb.which.store.is_none()) {
        show(&live, now, settings.as_ref(), screen);
    }
    for Meant { store, jobs } in which::meant(&verb.which, global)? {
        let room = store.room()?;
        if !screen.is_json() {
            screen.result(&format!("store {}: {} free of {}", store.name(), room.free, room.total));
        }
        for job in jobs {
            let catalog = Catalog::new(Arc::clone(&store), job.clone());
            let snapshots = catalog.snapshots()?;
            let last_run = catalog.runs(1)?.pop();
            let lease = catalog.lease_state(TERM_UNKNOWN_S)?;
            let schedules = settings.as_ref().and_then(|s| s.jobs.get(&job)).map(|job| job.schedules.as_slice());
            let next = schedules.unwrap_or_default().iter().filter_map(|s| s.next_after(now)).min();
            if screen.is_json() {
                screen.json(&serde_json::json!({
                    "type": "status", "store": store.name(), "free_bytes": room.free, "job": job,
                    "snapshots": snapshots.len(), "newest": snapshots.last(), "last_run": last_run, "next_due": next,
                    "leased_by": lease.as_ref().map(|lease| lease.holder.to_string()),
                }));
                continue;
            }
            let mut lines = vec![format!("job {job}: {} snapshots", snapshots.len())];
            if let Some(newest) = snapshots.last() {
                let age = std::time::Duration::try_from(now.duration_since(newest.at())).unwrap_or_default();
                lines.push(format!("  newest    {newest}, {} ago", duration_words(age)));
            }
            if let Some(run) = last_run {
                let ago = std::time::Duration::try_from(now.duration_since(run.finished)).unwrap_or_default();
                lines.push(format!("  last run  {}, {} ago", run.verdict.word(), duration_words(ago)));
                if let Some(failure) = &run.failure {
                    lines.push(format!("            {}", failure.what));
                }
            }
            if let Some(lease) = lease {
                let state = if lease.is_stale() { "stale" } else { "at work" };
                lines.push(format!(
                    "  lease     {} ({state}, renewed {} ago)",
                    lease.holder,
                    duration_words(lease.silent)
                ));
            }
            if let (Some(next), Some(settings)) = (next, &settings) {
                let local = next.to_zoned(settings.timezone.clone());
                lines.push(format!("  next run  {}", local.strftime("%A %Y-%m-%d %H:%M %Z")));
            }
            screen.result(&lines.join("\n"));
        }
    }
    Ok(Exit::Ok)
}

fn check(live: Option<&Live>, now: Timestamp, screen: &Screen) -> Exit {
    let complaints = match live {
        Some(live) => live.complaints(now),
        None => vec!["no daemon has run here: there is no word of one in the folder of state".to_owned()],
    };
    let is_well = complaints.is_empty();
    if screen.is_json() {
        screen.json(&serde_json::json!({"type": "check", "well": is_well, "complaints": complaints}));
    } else if is_well {
        screen.result("ok");
    } else {
        let mut err = anstream::stderr();
        for complaint in &complaints {
            let _ = writeln!(err, "{complaint}");
        }
    }
    if is_well { Exit::Ok } else { Exit::Failed }
}

/// What the daemon knows.
fn show(live: &Live, now: Timestamp, settings: Option<&Settings>, screen: &Screen) {
    if screen.is_json() {
        let mut value = serde_json::to_value(live).expect("plain values");
        value["type"] = "daemon".into();
        value["complaints"] = live.complaints(now).into();
        screen.json(&value);
        return;
    }
    let zone = settings.map_or(jiff::tz::TimeZone::UTC, |settings| settings.timezone.clone());
    let at = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%A %Y-%m-%d %H:%M %Z").to_string();
    let ago = |at: Timestamp| {
        let ago = std::time::Duration::try_from(now.duration_since(at)).unwrap_or_default();
        format!("{} ago", duration_words(ago))
    };
    let state = match (live.stopping, live.complaints(now).is_empty()) {
        _ if live.is_gone => format!("GONE, was process {}, last seen {}", live.pid, ago(live.ticked)),
        (true, _) => format!("stopped, {}", ago(live.ticked)),
        (false, true) => format!("ready, process {}, since {}", live.pid, at(live.started)),
        (false, false) => format!("NOT READY, process {}, since {}", live.pid, at(live.started)),
    };
    let mut lines = vec![format!("daemon: {state}")];
    lines.extend(live.complaints(now).into_iter().filter(|_| !live.stopping).map(|why| format!("  because   {why}")));
    lines.extend(live.config_refused.iter().map(|why| format!("  config    not taken: {why}")));
    if live.spooled + live.undelivered > 0 {
        lines.push(format!("  notices   {} wait, {} were given up", live.spooled, live.undelivered));
    }
    lines.extend(live.silent_channels.iter().map(|(name, why)| format!("  notices   {name}: {why}")));
    for job in &live.jobs {
        let mut said = Vec::new();
        said.extend(job.running.iter().map(|phase| format!("at work, {phase}")));
        said.extend(job.last.iter().map(|word| format!("last run {word}")));
        said.extend(job.last_success.map(|at| format!("last good run {}", ago(at))));
        if job.failures_in_a_row > 0 {
            said.push(format!("{} not ok in a row", job.failures_in_a_row));
        }
        if job.missed > 0 {
            said.push(format!("{} missed", job.missed));
        }
        said.extend(job.next_run.filter(|_| !live.stopping).map(|next| format!("next {}", at(next))));
        lines.push(format!("  {:<9} {}", job.name, said.join("; ")));
    }
    screen.result(&lines.join("\n"));
}
