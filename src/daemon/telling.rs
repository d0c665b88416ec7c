//! What the daemon tells people, as its log has it, and which of it reaches them.

use serde_json::json;

use super::log::{Log, Weight};
use crate::domain::{StopReason, Verdict};
use crate::report::{Kind, Message, RunRecord};

/// Logs it.
pub(super) fn log_message(message: &Message, log: &Log) {
    let (weight, event) = match message.kind {
        Kind::Ok => (Weight::Info, "run-ok"),
        Kind::Partial => (Weight::Warning, "run-partial"),
        Kind::Failed => (Weight::Error, "run-failed"),
        Kind::Missed => (Weight::Warning, "missed"),
        Kind::Overdue => (Weight::Error, "overdue"),
        Kind::Damage => (Weight::Error, "damage"),
        Kind::Recovered => (Weight::Info, "recovered"),
        Kind::Trouble => (Weight::Error, "trouble"),
        Kind::Test => (Weight::Info, "test"),
    };
    let mut values = Vec::new();
    values.extend(message.job.as_ref().map(|job| ("job", json!(job))));
    values.extend(message.store.as_ref().map(|store| ("store", json!(store))));
    values.extend(message.snapshot.as_ref().map(|snapshot| ("snapshot", json!(snapshot))));
    if let Some(outcome) = &message.outcome {
        values.extend([
            ("run", json!(outcome.run)),
            ("took_ms", json!(outcome.took_ms)),
            ("entries", json!(outcome.totals.entries)),
            ("stored_bytes", json!(outcome.totals.stored_bytes.0)),
            ("skipped", json!(outcome.skipped)),
        ]);
        values.extend(outcome.reason.map(|reason| ("reason", json!(reason))));
        values.extend(why_partial(outcome).map(|why| ("why", json!(why))));
    }
    let text = match (message.trouble(), &message.outcome) {
        (Some(trouble), _) => {
            values.push(("advice", json!(trouble.advice)));
            if !trouble.causes.is_empty() {
                values.push(("causes", json!(trouble.causes.join("; "))));
            }
            trouble.what.clone()
        }
        (None, Some(outcome)) => format!("{} is {}", outcome.job, outcome.verdict.word()),
        (None, None) => event.to_owned(),
    };
    log.tell(message.at, weight, event, &text, &values);
}

/// Whether anybody is told: not of a run that a person at the terminal stopped.
pub(super) fn is_for_people(message: &Message) -> bool {
    let reason = message.outcome.as_ref().and_then(|outcome| outcome.reason);
    reason != Some(StopReason::Interrupted)
}

/// The first thing for which a run is not ok although it made a snapshot; there may be more, in its record.
fn why_partial(outcome: &RunRecord) -> Option<String> {
    if outcome.verdict != Verdict::Partial {
        return None;
    }
    let skip = || {
        let skip = outcome.skips.first()?;
        let path = skip.to_skip().map_or_else(|| "a name that is no path".to_owned(), |skip| skip.path.to_string());
        Some(format!("{path}: {} ({})", skip.cause.words(), skip.why))
    };
    outcome.doubts.first().cloned().or_else(skip)
}

#[cfg(test)]
mod tests {
    use super::why_partial;
    use crate::domain::{EntryPath, Host, Outcome, RunId, Skip, SkipCause, Skips, SnapshotName, Totals};
    use crate::report::RunRecord;

    #[test]
    fn a_partial_run_says_in_the_log_what_made_it_so() {
        let job: crate::domain::JobName = "upload".parse().expect("a job");
        let at: jiff::Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
        let outcome = Outcome {
            snapshot: Some(SnapshotName::new(&job, at)),
            job,
            run: RunId::from_random([1; 16]),
            host: Host("web1".into()),
            store: "/mnt".into(),
            sources: vec!["/srv".into()],
            started: at,
            finished: at,
            took_ms: 0,
            record: None,
            totals: Totals::default(),
            skips: Skips::default(),
            doubts: Vec::new(),
            notices: Vec::new(),
            failure: None,
        };
        assert_eq!(why_partial(&RunRecord::from(&outcome)), None, "it is ok");
        let doubtful = Outcome { doubts: vec!["half is gone".into(), "more".into()], ..outcome.clone() };
        assert_eq!(why_partial(&RunRecord::from(&doubtful)).as_deref(), Some("half is gone"));
        let mut record = RunRecord::from(&doubtful);
        record.doubts.clear();
        let path = EntryPath::parse(b"folder/secret").expect("a path");
        let skip = Skip { path, cause: SkipCause::Unreadable, why: "permission denied".into() };
        record.skips = vec![crate::report::SkipRecord::from(&skip)];
        let why = why_partial(&record).expect("a reason");
        assert!(why.contains("folder/secret") && why.contains("permission denied"), "{why}");
    }
}
