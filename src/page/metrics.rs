//! `/metrics`: the view as OpenMetrics text.
//!
//! Gauges that tell the state as it is, counters from the daemon's state, in a fixed order. What is not known has no
//! sample, rather than a zero that reads like a fact. The names are a promise: `config/README.md` lists them, and a test
//! holds that list, the alerts and the dashboard against what stands here.

use std::fmt::Error;
use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::health::{alive, ready};
use super::view::{JobView, StoreView, View};
use super::words;
use crate::domain::{ByteCount, Verdict};
use crate::report::RunRecord;

/// What `/metrics` answers as its `Content-Type`.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text of `/metrics`.
pub fn metrics(view: &View) -> String {
    let mut registry = Registry::with_prefix("backup");
    registry.register_collector(Box::new(Scrape(Arc::new(view.clone()))));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes everything");
    text
}

/// What a registry asks for its samples.
#[derive(Debug)]
struct Scrape(Arc<View>);

/// Labels of one sample.
type Labels = Vec<(&'static str, String)>;

/// One sample.
type Sample = (Labels, f64);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let view = &*self.0;
        let mut page = Page { encoder: &mut encoder };
        installation(&mut page, view)?;
        for (name, help, value) in STORES {
            let samples = view.stores.iter().filter_map(|store| Some((of_store(store), value(store)?)));
            page.gauge(name, help, samples.collect())?;
        }
        for (name, help, value) in JOBS {
            let samples = view.jobs.iter().filter_map(|job| Some((of_job(job), value(job)?)));
            page.gauge(name, help, samples.collect())?;
        }
        let ages = view.jobs.iter().filter_map(|job| {
            let age = view.now.duration_since(job.last_success?).as_secs_f64();
            Some((of_job(job), age))
        });
        page.gauge("last_success_age_seconds", "How long ago the last run ended that was ok", ages.collect())?;
        outcomes(&mut page, view)
    }
}

type OfStore = (&'static str, &'static str, fn(&StoreView) -> Option<f64>);
type OfJob = (&'static str, &'static str, fn(&JobView) -> Option<f64>);

const STORES: &[OfStore] = &[
    ("store_usable", "1 if the store can be used, 0 if not", |store| Some(truth(store.trouble.is_none()))),
    ("store_free_bytes", "Free space of the store, as last asked", |store| store.free.map(number)),
    ("store_size_bytes", "Size of the store, as last asked", |store| store.total.map(number)),
    ("store_skew_seconds", "How far the clock of the store is ahead of ours, as last asked", |store| {
        store.skew_s.map(|seconds| seconds as f64)
    }),
];

const JOBS: &[OfJob] = &[
    ("running", "1 while a run of the job goes on", |job| Some(truth(job.running.is_some()))),
    ("last_run_timestamp_seconds", "When the last run ended", |job| last(job, |run| seconds(run.finished))),
    ("last_run_duration_seconds", "How long the last run took", |job| last(job, |run| run.took_ms as f64 / 1000.0)),
    ("last_run_entries", "Entries in the source, in the last run", |job| last(job, |run| number(run.totals.entries))),
    ("last_run_files", "Regular files in the source, in the last run", |job| last(job, |run| number(run.totals.files))),
    ("last_run_content_bytes", "Length of all files, in the last run", |job| {
        last(job, |run| bytes(run.totals.content_bytes))
    }),
    ("last_run_read_bytes", "Read from the source in the last run", |job| {
        last(job, |run| bytes(run.totals.read_bytes))
    }),
    ("last_run_stored_bytes", "Written to the store in the last run", |job| {
        last(job, |run| bytes(run.totals.stored_bytes))
    }),
    ("last_run_reused_bytes", "Stored by earlier runs and used again by the last", |job| {
        last(job, |run| bytes(run.totals.reused_bytes))
    }),
    (
        "last_run_skipped_entries",
        "Entries that the last run could not store as they are, without those that excludes leave out",
        |job| last(job, |run| number(run.skipped)),
    ),
    ("last_success_timestamp_seconds", "When the last run that was ok ended", |job| job.last_success.map(seconds)),
    ("age_max_seconds", "How old the last good run may be: one and a half intervals", |job| job.age_max_s.map(number)),
    ("first_due_timestamp_seconds", "The first slot since the job is known", |job| job.first_due.map(seconds)),
    ("next_due_timestamp_seconds", "When the job is due next", |job| job.next_run.map(seconds)),
    ("failures_in_a_row", "Runs in a row that were not ok", |job| Some(f64::from(job.failures_in_a_row))),
    ("snapshots", "Snapshots in the store, as last listed", |job| Some(job.snapshots.len() as f64)),
    ("snapshots_damaged", "Those among them that are known to be damaged", |job| {
        Some(job.snapshots.iter().filter(|snapshot| snapshot.damage.is_some()).count() as f64)
    }),
    ("newest_snapshot_timestamp_seconds", "When the newest snapshot was made", |job| {
        job.snapshots.first().map(|snapshot| seconds(snapshot.at))
    }),
    (
        "last_verified_timestamp_seconds",
        "When a snapshot of the job was last verified and well, in whole or of a sample",
        |job| job.last_verified.as_ref().map(|proof| seconds(proof.at)),
    ),
];

fn installation(page: &mut Page<'_, '_>, view: &View) -> Result<(), Error> {
    let build = vec![("version", view.tool.clone()), ("installation", view.instance.clone())];
    page.gauge("build_info", "The program and its version", vec![(build, 1.0)])?;
    for (name, help, value) in [
        ("alive", "1 if the loop goes round (healthz)", truth(alive(view).is_well())),
        ("ready", "1 if every job and store is as it should be (readyz)", truth(ready(view).is_well())),
        ("start_timestamp_seconds", "When the daemon began", seconds(view.started)),
        ("tick_timestamp_seconds", "When the loop last went round", seconds(view.ticked)),
        ("notices_spooled", "Notices that wait to be delivered", number(view.spooled)),
        ("notices_undelivered", "Notices that were given up", number(view.undelivered)),
        ("config_refused", "1 if the newest configuration was not taken", truth(view.config_refused.is_some())),
        ("state_writable", "1 if the daemon can keep what it remembers", truth(view.state_trouble.is_none())),
    ] {
        page.gauge(name, help, vec![(Vec::new(), value)])?;
    }
    let refusals = vec![(Vec::new(), view.token_refusals)];
    page.counter("token_refusals", "How often a token was given at the door that is not the one", refusals)?;
    let silent = view.silent_channels.iter().map(|channel| (vec![("channel", channel.name.clone())], 1.0));
    page.gauge("channel_silent", "1 for a channel whose last delivery failed", silent.collect())
}

fn outcomes(page: &mut Page<'_, '_>, view: &View) -> Result<(), Error> {
    let with = |job: &JobView, outcome: Verdict| {
        let mut labels = of_job(job);
        labels.push(("outcome", outcome.word().to_owned()));
        labels
    };
    let words = [Verdict::Ok, Verdict::Partial, Verdict::Failed, Verdict::Skipped, Verdict::Missed];
    let last = view.jobs.iter().filter_map(|job| Some((job, job.last.as_ref()?.verdict)));
    let last = last.flat_map(|(job, end)| words.map(|word| (with(job, word), truth(word == end))));
    page.gauge("last_run_outcome", "1 for the outcome of the last run, 0 for the others", last.collect())?;
    let counts = view.jobs.iter().flat_map(|job| {
        let of = job.counts;
        let counts = [of.ok, of.partial, of.failed, of.skipped, job.missed];
        words.into_iter().zip(counts).map(|(word, count)| (with(job, word), count)).collect::<Vec<_>>()
    });
    page.counter("runs", "Runs by outcome, and slots that were missed", counts.collect())
}

/// One place that writes a family.
struct Page<'e, 'w> {
    encoder: &'e mut DescriptorEncoder<'w>,
}

impl Page<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, samples: Vec<Sample>) -> Result<(), Error> {
        self.family(name, help, samples.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value))).collect())
    }

    fn counter(&mut self, name: &str, help: &str, samples: Vec<(Labels, u64)>) -> Result<(), Error> {
        self.family(name, help, samples.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value))).collect())
    }

    fn family<M: EncodeMetric>(&mut self, name: &str, help: &str, samples: Vec<(Labels, M)>) -> Result<(), Error> {
        let Some(kind) = samples.first().map(|(_, metric)| metric.metric_type()) else { return Ok(()) };
        let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, metric) in samples {
            if labels.is_empty() {
                // a family without labels is its one sample
                return metric.encode(family);
            }
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn of_job(job: &JobView) -> Labels {
    vec![("job_name", job.name.to_string()), ("store", words::one_line(&job.store))]
}

fn of_store(store: &StoreView) -> Labels {
    vec![("store", words::one_line(&store.name))]
}

fn last(job: &JobView, value: impl Fn(&RunRecord) -> f64) -> Option<f64> {
    job.last.as_deref().map(value)
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

fn number(value: u64) -> f64 {
    value as f64
}

fn bytes(value: ByteCount) -> f64 {
    value.0 as f64
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}
