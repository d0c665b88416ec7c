//! The JSON under `/api/v1`: what `config/openapi.yaml` promises, and a test holds the two together.
//!
//! Every answer has a `type`. Every field is always there, `null` where there is nothing to tell, so that nobody has to
//! guess whether something is missing or unknown; the two exceptions are those of a run's record (see `report`). Fields
//! may be added, never renamed. Times are RFC 3339 in UTC; sizes are bytes; units come last in names.

use jiff::Timestamp;
use serde::Serialize;

use super::concerns::{Concern, concerns};
use super::health::{alive, lateness, ready};
use super::view::{Counts, JobView, Progress, Proof, RunView, SilentChannel, SnapshotView, StoreView, View};
use crate::domain::{JobName, Verdict};
use crate::report::RunRecord;

/// Every address of the interface, with its method; `{name}` is a job's name.
pub const PATHS: [(&str, &str); 6] = [
    ("get", "/api/v1/status"),
    ("get", "/api/v1/jobs"),
    ("get", "/api/v1/jobs/{name}"),
    ("get", "/api/v1/jobs/{name}/runs"),
    ("get", "/api/v1/jobs/{name}/snapshots"),
    ("post", "/api/v1/jobs/{name}/run"),
];

/// Why a request was not answered with what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refused {
    /// 404: there is no such job or address.
    NotFound,
    /// 401: the bearer token is missing or wrong.
    Unauthorized,
    /// 403: no token is configured, so nobody may.
    Forbidden,
    /// 405: the address knows other methods.
    MethodNotAllowed,
    /// 409: the job runs already.
    AlreadyRunning,
    /// 503: the daemon is about to end.
    Stopping,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NotFound,
        Self::Unauthorized,
        Self::Forbidden,
        Self::MethodNotAllowed,
        Self::AlreadyRunning,
        Self::Stopping,
    ];

    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::AlreadyRunning => 409,
            Self::Stopping => 503,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Answer<'v> {
    Status(Status<'v>),
    Jobs { jobs: Vec<Job<'v>> },
    Job { job: Job<'v>, last: Option<&'v RunRecord> },
    Runs { job: &'v JobName, runs: &'v [RunView] },
    Snapshots { job: &'v JobName, snapshots: &'v [SnapshotView] },
    Started { job: &'v JobName },
    Error { error: Refused, message: &'v str },
}

#[derive(Serialize)]
struct Status<'v> {
    now: Timestamp,
    instance: &'v str,
    tool: &'v str,
    started: Timestamp,
    ticked: Timestamp,
    is_alive: bool,
    is_ready: bool,
    reasons: Vec<String>,
    concerns: Vec<Concern>,
    jobs: Vec<Job<'v>>,
    stores: &'v [StoreView],
    spooled: u64,
    undelivered: u64,
    silent_channels: &'v [SilentChannel],
    config_refused: Option<&'v str>,
    state_trouble: Option<&'v str>,
}

#[derive(Serialize)]
struct Job<'v> {
    name: &'v JobName,
    store: &'v str,
    sources: &'v [String],
    schedules: &'v [String],
    first_due: Option<Timestamp>,
    next_run: Option<Timestamp>,
    age_max_s: Option<u64>,
    running: Option<&'v Progress>,
    last_verdict: Option<Verdict>,
    last_run: Option<Timestamp>,
    last_success: Option<Timestamp>,
    last_verified: Option<&'v Proof>,
    late: Option<String>,
    failures_in_a_row: u32,
    missed: u64,
    counts: Counts,
    snapshots: usize,
}

/// `GET /api/v1/status`: everything but histories. `backup status --json` says the same.
pub fn status(view: &View) -> String {
    let readiness = ready(view);
    json(&Answer::Status(Status {
        now: view.now,
        instance: &view.instance,
        tool: &view.tool,
        started: view.started,
        ticked: view.ticked,
        is_alive: alive(view).is_well(),
        is_ready: readiness.is_well(),
        reasons: readiness.reasons,
        concerns: concerns(view),
        jobs: view.jobs.iter().map(|job| told(job, view)).collect(),
        stores: &view.stores,
        spooled: view.spooled,
        undelivered: view.undelivered,
        silent_channels: &view.silent_channels,
        config_refused: view.config_refused.as_deref(),
        state_trouble: view.state_trouble.as_deref(),
    }))
}

/// `GET /api/v1/jobs`.
pub fn jobs(view: &View) -> String {
    json(&Answer::Jobs { jobs: view.jobs.iter().map(|job| told(job, view)).collect() })
}

/// `GET /api/v1/jobs/{name}`: the job with its last record; none if there is no such job.
pub fn job(view: &View, name: &str) -> Option<String> {
    of(view, name).map(|job| json(&Answer::Job { job: told(job, view), last: job.last.as_deref() }))
}

/// `GET /api/v1/jobs/{name}/runs`: oldest first.
pub fn runs(view: &View, name: &str) -> Option<String> {
    of(view, name).map(|job| json(&Answer::Runs { job: &job.name, runs: &job.runs }))
}

/// `GET /api/v1/jobs/{name}/snapshots`: newest first.
pub fn snapshots(view: &View, name: &str) -> Option<String> {
    of(view, name).map(|job| json(&Answer::Snapshots { job: &job.name, snapshots: &job.snapshots }))
}

/// `POST /api/v1/jobs/{name}/run`, answered with 202.
pub fn started(job: &JobName) -> String {
    json(&Answer::Started { job })
}

/// Whatever is refused, in the words of `message`.
pub fn error(error: Refused, message: &str) -> String {
    json(&Answer::Error { error, message })
}

fn of<'v>(view: &'v View, name: &str) -> Option<&'v JobView> {
    view.jobs.iter().find(|job| job.name.as_str() == name)
}

fn told<'v>(job: &'v JobView, view: &View) -> Job<'v> {
    Job {
        name: &job.name,
        store: &job.store,
        sources: &job.sources,
        schedules: &job.schedules,
        first_due: job.first_due,
        next_run: job.next_run,
        age_max_s: job.age_max_s,
        running: job.running.as_ref(),
        last_verdict: job.last.as_ref().map(|run| run.verdict),
        last_run: job.last.as_ref().map(|run| run.finished),
        last_success: job.last_success,
        last_verified: job.last_verified.as_ref(),
        late: lateness(job, view.now),
        failures_in_a_row: job.failures_in_a_row,
        missed: job.missed,
        counts: job.counts,
        snapshots: job.snapshots.len(),
    }
}

fn json(answer: &Answer<'_>) -> String {
    let mut text = serde_json::to_string(answer).expect("answers are plain values");
    text.push('\n');
    text
}
