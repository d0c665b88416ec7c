//! The JSON of an outcome: in `.runs/`, on the pipe from a run's child, and behind `run --json`.
//!
//! A format of its own with a version. Fields may be added; a reader passes over what it does not know.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Digest, EntryPath, Host, JobName, Outcome, RunId, Skip, SkipCause, Skips, SnapshotName, StopReason, Totals,
    Trouble, Verdict,
};

const FORMAT: u32 = 1;

/// An outcome, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// `run`, so that a line among other lines says what it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The format's version.
    pub format: u32,
    /// The word.
    pub verdict: Verdict,
    /// The job.
    pub job: JobName,
    /// The run.
    pub run: RunId,
    /// The machine.
    pub host: Host,
    /// The store.
    pub store: String,
    /// The sources.
    pub sources: Vec<String>,
    /// Begun.
    pub started: Timestamp,
    /// Ended.
    pub finished: Timestamp,
    /// Milliseconds in between, by a clock that does not step.
    pub took_ms: u64,
    /// The snapshot, if there is one.
    pub snapshot: Option<SnapshotName>,
    /// The sha256 of its record.
    pub record: Option<Digest>,
    /// What was counted.
    pub totals: Totals,
    /// How many entries are missing or not as they should be.
    pub skipped: u64,
    /// The first of them.
    #[serde(default)]
    pub skips: Vec<SkipRecord>,
    /// What makes it partial besides.
    #[serde(default)]
    pub doubts: Vec<String>,
    /// Worth knowing.
    #[serde(default)]
    pub notices: Vec<String>,
    /// Why there is no snapshot.
    #[serde(default)]
    pub reason: Option<StopReason>,
    /// The same in words.
    #[serde(default)]
    pub failure: Option<Trouble>,
}

/// One entry that was skipped. Exactly one of `path` and `path_hex` is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipRecord {
    /// The path, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path's bytes, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// The kind of loss.
    pub cause: SkipCause,
    /// What the machine said.
    pub why: String,
}

impl From<&Skip> for SkipRecord {
    fn from(skip: &Skip) -> Self {
        let bytes = if skip.path.is_root() { b"." } else { skip.path.as_bytes() };
        let (path, path_hex) = match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(bytes.iter().map(|b| format!("{b:02x}")).collect())),
        };
        Self { path, path_hex, cause: skip.cause, why: skip.why.clone() }
    }
}

impl SkipRecord {
    /// The skip it tells of; none if its path is no path.
    pub fn to_skip(&self) -> Option<Skip> {
        let bytes = match (&self.path, &self.path_hex) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(hex)) => (0..hex.len())
                .step_by(2)
                .map(|at| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                .collect::<Option<_>>()?,
            _ => return None,
        };
        Some(Skip { path: EntryPath::parse(&bytes).ok()?, cause: self.cause, why: self.why.clone() })
    }
}

impl From<&Outcome> for RunRecord {
    fn from(outcome: &Outcome) -> Self {
        Self {
            kind: "run".to_owned(),
            format: FORMAT,
            verdict: outcome.verdict(),
            job: outcome.job.clone(),
            run: outcome.run.clone(),
            host: outcome.host.clone(),
            store: outcome.store.clone(),
            sources: outcome.sources.clone(),
            started: outcome.started,
            finished: outcome.finished,
            took_ms: outcome.took_ms,
            snapshot: outcome.snapshot.clone(),
            record: outcome.record,
            totals: outcome.totals,
            skipped: outcome.skips.count(),
            skips: outcome.skips.listed().iter().map(SkipRecord::from).collect(),
            doubts: outcome.doubts.clone(),
            notices: outcome.notices.clone(),
            reason: outcome.failure.as_ref().map(|(reason, _)| *reason),
            failure: outcome.failure.as_ref().map(|(_, trouble)| trouble.clone()),
        }
    }
}

impl RunRecord {
    /// One line of JSON with its line feed.
    pub fn encode(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a run record is plain values");
        text.push('\n');
        text
    }

    /// Reads what `encode` gave; none if it is anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(bytes).ok()?;
        (record.kind == "run" && record.format <= FORMAT).then_some(record)
    }

    /// The outcome it tells of.
    pub fn outcome(&self) -> Outcome {
        let no_words = || Trouble { what: "the run failed".into(), causes: Vec::new(), advice: "see its log".into() };
        Outcome {
            job: self.job.clone(),
            run: self.run.clone(),
            host: self.host.clone(),
            store: self.store.clone(),
            sources: self.sources.clone(),
            started: self.started,
            finished: self.finished,
            took_ms: self.took_ms,
            snapshot: self.snapshot.clone(),
            record: self.record,
            totals: self.totals,
            skips: Skips::restored(self.skipped, self.skips.iter().filter_map(SkipRecord::to_skip).collect()),
            doubts: self.doubts.clone(),
            notices: self.notices.clone(),
            failure: self.reason.map(|reason| (reason, self.failure.clone().unwrap_or_else(no_words))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, RunRecord};
    use crate::domain::{EntryPath, Host, RunId, Skip, SkipCause, Skips, StopReason, Totals, Trouble};

    fn outcome() -> Outcome {
        let mut skips = Skips::default();
        for bytes in [&b"a/b"[..], b"\xff", b"."] {
            let path = EntryPath::parse(bytes).expect("a path");
            skips.add(Skip { path, cause: SkipCause::Unreadable, why: "Permission denied".into() });
        }
        Outcome {
            job: "upload".parse().expect("a job"),
            run: RunId::from_random([3; 16]),
            host: Host("web1".into()),
            store: "/mnt/backup".into(),
            sources: vec!["/var/www/upload".into()],
            started: "2026-11-21T02:00:00Z".parse().expect("a time"),
            finished: "2026-11-21T02:01:00Z".parse().expect("a time"),
            took_ms: 60_000,
            snapshot: None,
            record: None,
            totals: Totals::default(),
            skips,
            doubts: vec!["the source shrank".into()],
            notices: Vec::new(),
            failure: Some((
                StopReason::Store,
                Trouble { what: "no room".into(), causes: vec!["ENOSPC".into()], advice: "free some".into() },
            )),
        }
    }

    #[test]
    fn an_outcome_survives_its_record_with_every_skip() {
        let outcome = outcome();
        let text = RunRecord::from(&outcome).encode();
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(RunRecord::decode(text.as_bytes()).expect("a record").outcome(), outcome);
    }

    #[test]
    fn another_programs_json_is_no_record() {
        assert_eq!(RunRecord::decode(b"{}"), None);
        let newer = RunRecord { format: 2, ..RunRecord::from(&outcome()) };
        assert_eq!(RunRecord::decode(newer.encode().as_bytes()), None);
    }
}
