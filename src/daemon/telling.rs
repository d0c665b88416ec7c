//! What the daemon tells people, as messages: facts gathered, no words for any one channel.

use jiff::Timestamp;
use serde_json::json;

use super::log::{Log, Weight};
use crate::domain::{JobName, SnapshotName, StopReason, Trouble};
use crate::report::{Kind, Message, Subject};

/// What is told of one event; what is left out is not known or not meant.
#[derive(Debug)]
pub(super) struct Tale {
    pub(super) kind: Kind,
    pub(super) job: Option<JobName>,
    pub(super) subject: Option<Subject>,
    pub(super) store: Option<String>,
    pub(super) outcome: Option<Box<crate::report::RunRecord>>,
    pub(super) size_before: Option<u64>,
    pub(super) next_run: Option<Timestamp>,
    pub(super) last_success: Option<Timestamp>,
    pub(super) in_a_row: u32,
    pub(super) snapshot: Option<SnapshotName>,
    pub(super) trouble: Option<Trouble>,
}

impl Tale {
    pub(super) fn of(kind: Kind) -> Self {
        Self {
            kind,
            job: None,
            subject: None,
            store: None,
            outcome: None,
            size_before: None,
            next_run: None,
            last_success: None,
            in_a_row: 0,
            snapshot: None,
            trouble: None,
        }
    }

    pub(super) fn trouble(subject: Subject, trouble: Trouble) -> Self {
        Self { trouble: Some(trouble), subject: Some(subject), ..Self::of(Kind::Trouble) }
    }

    /// Logs it.
    pub(super) fn log(&self, log: &Log, now: Timestamp) {
        let (weight, event) = match self.kind {
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
        values.extend(self.job.as_ref().map(|job| ("job", json!(job))));
        values.extend(self.store.as_ref().map(|store| ("store", json!(store))));
        values.extend(self.snapshot.as_ref().map(|snapshot| ("snapshot", json!(snapshot))));
        if let Some(outcome) = &self.outcome {
            values.extend([
                ("run", json!(outcome.run)),
                ("took_ms", json!(outcome.took_ms)),
                ("entries", json!(outcome.totals.entries)),
                ("stored_bytes", json!(outcome.totals.stored_bytes.0)),
                ("skipped", json!(outcome.skipped)),
            ]);
            values.extend(outcome.reason.map(|reason| ("reason", json!(reason))));
        }
        let trouble = self.trouble.as_ref().or_else(|| self.outcome.as_ref()?.failure.as_ref());
        let text = match (trouble, &self.outcome) {
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
        log.tell(now, weight, event, &text, &values);
    }

    /// Whether anybody is told: not of a run that a person at the terminal stopped.
    pub(super) fn is_for_people(&self) -> bool {
        let reason = self.outcome.as_ref().and_then(|outcome| outcome.reason);
        reason != Some(StopReason::Interrupted)
    }

    /// As a message to people elsewhere; `empty` says when, and from whom.
    pub(super) fn message(self, empty: Message) -> Message {
        Message {
            kind: self.kind,
            job: self.job,
            subject: self.subject,
            store: self.store,
            outcome: self.outcome,
            size_before: self.size_before,
            next_run: self.next_run,
            last_success: self.last_success,
            in_a_row: self.in_a_row,
            snapshot: self.snapshot,
            trouble: self.trouble,
            ..empty
        }
    }
}
