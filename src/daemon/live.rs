//! What the daemon shows to `backup status`: a small file in the state's folder, written as it goes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::page::{View, lateness, ready};
use crate::wiring::DaemonLife;

/// Its name in the state's folder.
pub const FILE: &str = "live.json";

/// Larger than any.
pub const BYTES_MAX: u64 = 4 << 20;

/// A daemon that has not written for so long is not alive: it writes every ten seconds.
const SILENT_MAX_S: i64 = 60;

/// What `backup status` shows of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The format's version.
    pub format: u32,
    /// The process.
    pub pid: u32,
    /// When it began.
    pub started: Timestamp,
    /// When its loop last went round.
    pub ticked: Timestamp,
    /// Whether it is on its way out, or has ended as it was asked to.
    pub stopping: bool,
    /// Why it is not ready; empty if it is.
    pub reasons: Vec<String>,
    /// Why the newest configuration was not taken.
    pub config_refused: Option<String>,
    /// Messages that wait.
    pub spooled: u64,
    /// Messages that were given up.
    pub undelivered: u64,
    /// Channels that could not be reached, with why.
    pub silent_channels: Vec<(String, String)>,
    /// Jobs.
    pub jobs: Vec<LiveJob>,
    /// Whether its process is known to have ended without saying so. No word of its own: whoever reads it finds out.
    #[serde(skip)]
    pub is_gone: bool,
}

/// A job, as the daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveJob {
    /// Its name.
    pub name: String,
    /// What it does now.
    pub running: Option<String>,
    /// When it is due.
    pub next_run: Option<Timestamp>,
    /// When there was a good run.
    pub last_success: Option<Timestamp>,
    /// How the last run ended.
    pub last: Option<String>,
    /// Runs in a row that were not ok.
    pub failures_in_a_row: u32,
    /// Slots without a run.
    pub missed: u64,
    /// Why it has not the snapshot that it should have.
    pub late: Option<String>,
}

impl Live {
    /// Of what there is to see.
    pub fn of(view: &View, pid: u32, stopping: bool) -> Self {
        let jobs = view.jobs.iter().map(|job| LiveJob {
            name: job.name.to_string(),
            running: job.running.as_ref().map(|progress| progress.phase.clone()),
            next_run: job.next_run,
            last_success: job.last_success,
            last: job.last.as_ref().map(|last| last.verdict.word().to_owned()),
            failures_in_a_row: job.failures_in_a_row,
            missed: job.missed,
            late: lateness(job, view.now),
        });
        Self {
            format: 1,
            pid,
            started: view.started,
            ticked: view.ticked,
            stopping,
            reasons: ready(view).reasons,
            config_refused: view.config_refused.clone(),
            spooled: view.spooled,
            undelivered: view.undelivered,
            silent_channels: view.silent_channels.iter().map(|c| (c.name.clone(), c.why.clone())).collect(),
            jobs: jobs.collect(),
            is_gone: false,
        }
    }

    /// As JSON.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain values")
    }

    /// Reads what `encode` gave; none if it is anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|live: &Self| live.format == 1)
    }

    /// The process that wrote this is gone if `life` says so of the same one: then nothing of it is at work.
    #[must_use]
    pub fn seen_by(mut self, life: DaemonLife) -> Self {
        self.is_gone = !self.stopping && life == DaemonLife::Gone { pid: self.pid };
        if self.is_gone {
            for job in &mut self.jobs {
                (job.running, job.next_run) = (None, None);
            }
        }
        self
    }

    /// Why a health check should fail now; empty if it should not.
    pub fn complaints(&self, now: Timestamp) -> Vec<String> {
        let silent = now.duration_since(self.ticked).as_secs();
        if self.stopping {
            return vec!["the daemon was stopped".to_owned()];
        }
        if self.is_gone {
            return vec![format!("the daemon has ended without a word: process {} is gone", self.pid)];
        }
        if silent > SILENT_MAX_S {
            return vec![format!("the daemon has not gone round for {silent} s")];
        }
        self.reasons.clone()
    }

    /// Whether anything but the time is another than in `other`.
    pub(super) fn differs_from(&self, other: &Self) -> bool {
        Self { ticked: other.ticked, ..self.clone() } != *other
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{Live, LiveJob};
    use crate::wiring::DaemonLife;

    #[test]
    fn a_daemon_whose_process_is_gone_is_complained_about_at_once_and_nothing_of_it_is_at_work() {
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
        let job = LiveJob {
            name: "upload".into(),
            running: Some("storing".into()),
            next_run: Some(now),
            last_success: None,
            last: None,
            failures_in_a_row: 0,
            missed: 0,
            late: None,
        };
        let live = Live {
            format: 1,
            pid: 77,
            started: now,
            ticked: now,
            stopping: false,
            reasons: Vec::new(),
            config_refused: None,
            spooled: 0,
            undelivered: 0,
            silent_channels: Vec::new(),
            jobs: vec![job],
            is_gone: false,
        };
        for life in [DaemonLife::Lives, DaemonLife::Unknown, DaemonLife::Gone { pid: 78 }] {
            let seen = live.clone().seen_by(life);
            assert!(seen.complaints(now).is_empty() && seen.jobs[0].running.is_some(), "{life:?}");
        }
        let gone = live.clone().seen_by(DaemonLife::Gone { pid: 77 });
        assert_eq!(gone.complaints(now), ["the daemon has ended without a word: process 77 is gone"]);
        assert_eq!((&gone.jobs[0].running, &gone.jobs[0].next_run), (&None, &None));
        let stopped = Live { stopping: true, ..live }.seen_by(DaemonLife::Gone { pid: 77 });
        assert_eq!(stopped.complaints(now), ["the daemon was stopped"]);
    }
}
