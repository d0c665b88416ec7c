//! `backup status`: jobs, their newest snapshots, their last runs and their next ones.

use std::sync::Arc;

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which::{self, Meant};
use crate::catalog::Catalog;
use crate::domain::{Clock, SystemClock};
use crate::report::duration_words;

/// A holder that cannot be read is shown as stale after this.
const TERM_UNKNOWN_S: u64 = 900;

/// Show jobs, their last runs and their next ones
#[derive(Debug, clap::Args)]
pub struct Verb {
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let clock = SystemClock::new();
    let now = clock.now();
    let settings = if verb.which.store.is_some() && global.config.is_none() { None } else { which::settings(global)? };
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
