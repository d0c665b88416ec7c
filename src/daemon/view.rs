//! What there is to see, gathered from what the loop knows. It asks nobody: what a store holds was told by looks.

use jiff::Timestamp;

use super::events::first_due;
use super::kept::{KeptJob, KeptRun};
use super::look::{SeenJob, SeenSnapshot};
use super::owner::Owner;
use crate::config::JobSettings;
use crate::page::{Counts, JobView, Progress, Proof, RunView, SnapshotView, StoreView, View};

impl Owner {
    /// Everything at this moment.
    pub(super) fn view(&self, now: Timestamp) -> View {
        let standing = self.standing();
        View {
            now,
            zone: self.settings.timezone.clone(),
            instance: self.instance(),
            tool: self.tool.clone(),
            started: self.started,
            ticked: now,
            jobs: self.settings.jobs.values().map(|job| self.job_view(job, now)).collect(),
            stores: self.settings.stores.values().map(|store| self.store_view(store)).collect(),
            spooled: standing.spooled,
            undelivered: standing.undelivered,
            silent_channels: standing.silent_channels,
            config_refused: self.config_refused.clone(),
            state_trouble: self.state_trouble.clone().or_else(|| self.live_trouble.clone()),
            // the door knows
            token_refusals: 0,
            may_sign_in: self.settings.web.token.is_some(),
        }
    }

    fn store_view(&self, store: &crate::config::StoreSettings) -> StoreView {
        let watch = self.stores.get(&store.name);
        let unknown = || Some("it has not been looked at yet".to_owned());
        StoreView {
            name: store.name.clone(),
            path: store.path.display().to_string(),
            trouble: watch.filter(|watch| watch.is_known).map_or_else(unknown, |watch| watch.trouble.clone()),
            free: watch.and_then(|watch| watch.free),
            total: watch.and_then(|watch| watch.total),
            skew_s: watch.and_then(|watch| watch.skew_s),
        }
    }

    fn job_view(&self, job: &JobSettings, now: Timestamp) -> JobView {
        let nothing = KeptJob::default();
        let kept = self.kept.jobs.get(&job.name).unwrap_or(&nothing);
        let plan = self.plans.get(&job.name);
        let zone = self.settings.timezone.iana_name().unwrap_or("UTC");
        let seen = self.seen.get(&job.name);
        let running = self.running.get(&job.name).map(|running| Progress {
            started: running.started,
            phase: running.phase.to_owned(),
            entries: running.entries,
            bytes: running.bytes,
        });
        let snapshots: Vec<SnapshotView> = seen.map(|seen| snapshots(seen, kept)).unwrap_or_default();
        let proofs = snapshots.iter().filter_map(|snapshot| snapshot.verified.clone());
        let own = kept.proven.map(|(at, level)| Proof { at, level: level.word().to_owned() });
        JobView {
            name: job.name.clone(),
            store: job.store.clone(),
            sources: sources_of(job),
            schedules: job.schedules.iter().map(|schedule| format!("{} ({zone})", schedule.text())).collect(),
            first_due: plan.and_then(|plan| first_due(plan, kept.agenda.as_ref())),
            next_run: self.next_run(&job.name, now),
            age_max_s: plan.and_then(|plan| plan.age_max(kept.last_success.unwrap_or(now))).map(|age| age.as_secs()),
            running,
            last_success: kept.last_success,
            last_verified: proofs.chain(own).max_by_key(|proof| proof.at),
            failures_in_a_row: kept.failures_in_a_row,
            missed: kept.missed,
            counts: Counts {
                ok: kept.counts.ok,
                partial: kept.counts.partial,
                failed: kept.counts.failed,
                skipped: kept.counts.skipped,
            },
            runs: kept.runs.iter().map(run).collect(),
            last: kept.last.clone(),
            snapshots,
            is_listed: seen.is_some_and(|seen| kept.last_success.is_none_or(|ended| ended <= seen.at)),
        }
    }

    /// One line for a supervisor.
    pub(super) fn status_line(&self, now: Timestamp) -> String {
        if self.stopping.is_some() {
            return format!("stopping; at work: {}", self.names_at_work());
        }
        if !self.running.is_empty() {
            return format!("at work: {}", self.names_at_work());
        }
        let next = self.plans.keys().filter_map(|name| Some((self.next_run(name, now)?, name))).min();
        next.map_or_else(
            || "nothing is scheduled".to_owned(),
            |(at, name)| {
                let at = at.to_zoned(self.settings.timezone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string();
                format!("next: {name}, {at}")
            },
        )
    }

    fn names_at_work(&self) -> String {
        let names: Vec<&str> = self.running.keys().map(|name| name.as_str()).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    }
}

/// Folders and commands, as people read them.
fn sources_of(job: &JobSettings) -> Vec<String> {
    let commands = job.commands.iter().map(|command| format!("a command: {}", command.name));
    job.sources.iter().map(|path| path.display().to_string()).chain(commands).collect()
}

fn run(run: &KeptRun) -> RunView {
    RunView {
        verdict: run.verdict,
        at: run.at,
        took_ms: run.took_ms,
        bytes: run.bytes,
        stored: run.stored,
        why: run.why.clone(),
    }
}

fn snapshots(seen: &SeenJob, kept: &KeptJob) -> Vec<SnapshotView> {
    let one = |snapshot: &SeenSnapshot| {
        let found = kept.damaged.contains(&snapshot.name).then(|| "verify found damage".to_owned());
        SnapshotView {
            name: snapshot.name.clone(),
            at: snapshot.name.at(),
            bytes: snapshot.bytes,
            entries: snapshot.entries,
            is_ok: snapshot.is_ok,
            verified: snapshot.verified.map(|(at, level)| Proof { at, level: level.word().to_owned() }),
            kept_for: snapshot.kept_for.clone(),
            damage: snapshot.damage.clone().or(found),
        }
    };
    seen.snapshots.iter().map(one).collect()
}
