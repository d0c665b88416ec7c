//! What is told to people elsewhere, before it is put into any channel's words.
//!
//! A message is plain values: it is spooled, survives a restart, and each channel (Slack, JIRA, …) makes of it what its
//! own readers need. Everything in it may come from file names, so everything in it is hostile text to a channel.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RunRecord;
use crate::domain::{Host, JobName, SnapshotName, Trouble};

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A run was ok.
    Ok,
    /// A snapshot exists, but not everything is in it.
    Partial,
    /// There is no snapshot.
    Failed,
    /// A run was due and did not start.
    Missed,
    /// No good snapshot for longer than there should be.
    Overdue,
    /// A stored snapshot is not what it was.
    Damage,
    /// What was wrong is well again.
    Recovered,
    /// Something about this program that is no run: a configuration that could not be taken, state that cannot be kept.
    Trouble,
    /// `notify test`: nothing has happened.
    Test,
}

/// What a message is about that is about no run, so that one trouble does not hide another, and each can be told as over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A configuration that could not be taken.
    Config,
    /// State that cannot be kept.
    State,
    /// A store that cannot be used: the one that the message names.
    Store,
    /// A verification that could not be made.
    Verify,
    /// Retention after a run, which did not do what the rules say.
    Retention,
    /// What a verification found: [`Kind::Damage`], and that it is gone. Runs may be well meanwhile, and may fail after.
    Damage,
}

impl Subject {
    /// As in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::State => "state",
            Self::Store => "store",
            Self::Verify => "verify",
            Self::Retention => "retention",
            Self::Damage => "damage",
        }
    }
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The same in every attempt to deliver it, for receivers that can tell repeats: 32 hex digits.
    pub id: String,
    /// Why.
    pub kind: Kind,
    /// When it happened.
    pub at: Timestamp,
    /// Which of several installations; part of a ticket's identity.
    pub instance: String,
    /// Where.
    pub host: Host,
    /// The job; none if it is about no job.
    pub job: Option<JobName>,
    /// What it is about, if it is about no run. Older messages have none.
    #[serde(default)]
    pub subject: Option<Subject>,
    /// What of its kind in particular, if there can be several at once: a damaged snapshot, or one that is gone. Trouble
    /// with another is another trouble; see `notify::rules`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub particular: Option<String>,
    /// The store's name in the configuration.
    pub store: Option<String>,
    /// The run, if it is about one.
    pub outcome: Option<Box<RunRecord>>,
    /// Bytes of content that the last good run before found in the source: what [`Totals::content_bytes`] is of this one.
    ///
    /// [`Totals::content_bytes`]: crate::domain::Totals::content_bytes
    pub size_before: Option<u64>,
    /// When the next run is due.
    pub next_run: Option<Timestamp>,
    /// When there was a good run the last time.
    pub last_success: Option<Timestamp>,
    /// How many runs in a row have not been ok, this one with them.
    pub in_a_row: u32,
    /// How many messages like this were held back since the last that was sent.
    pub held_back: u32,
    /// The build that called us (`BUILD_URL`).
    pub build_url: Option<String>,
    /// The snapshot in question, if there is one.
    pub snapshot: Option<SnapshotName>,
    /// What is wrong and what to do, if the teller knows more than the run's outcome; see [`Message::trouble`].
    pub trouble: Option<Trouble>,
    /// The program and its version.
    pub tool: String,
}

impl Message {
    /// Of nothing but this; nothing else is known.
    pub fn bare(id: String, kind: Kind, at: Timestamp, instance: &str, host: &Host, tool: &str) -> Self {
        Self {
            id,
            kind,
            at,
            instance: instance.to_owned(),
            host: host.clone(),
            job: None,
            subject: None,
            particular: None,
            store: None,
            outcome: None,
            size_before: None,
            next_run: None,
            last_success: None,
            in_a_row: 0,
            held_back: 0,
            build_url: None,
            snapshot: None,
            trouble: None,
            tool: tool.to_owned(),
        }
    }

    /// What is wrong and what to do: the teller's own words, or else why the run failed; none where nothing is.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref().or_else(|| self.outcome.as_ref()?.failure.as_ref())
    }
}
