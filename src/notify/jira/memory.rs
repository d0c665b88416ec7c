//! What is remembered of tickets between two messages: which ticket there is, and what may have happened unseen.
//!
//! JIRA's search lags behind what was written, so a ticket just made may not be found; and a request to make one may
//! have been carried out although its answer was lost. Both would give two tickets for one trouble. This memory is what
//! stands between. The caller keeps it (it is small: a few lines for each job) and writes it down **before** a ticket is
//! asked for, see [`Jira::deliver`](super::Jira::deliver). Losing it is survivable: tickets are then found by their
//! label, and where that is said ([`JiraMemory::begun`]) nothing is made before the search can have caught up.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::label::Label;
use crate::report::Message;

/// How many messages are remembered for each ticket, so that none is written twice.
const NOTED_MAX: usize = 8;

/// All tickets that we know of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JiraMemory {
    /// When this memory began, if one before it may have been lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) begun: Option<Timestamp>,
    #[serde(default)]
    pub(super) tickets: BTreeMap<Label, Known>,
}

/// What is known of the ticket of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A ticket that may have been made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// The ids of messages that may have been written to the ticket, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsure: Vec<String>,
    /// When we closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by_us: Option<Timestamp>,
    /// The ids of messages that are in the ticket, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
}

/// A ticket was asked for, and what became of it is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// For which message.
    pub message: String,
    /// When it was asked for the last time.
    pub since: Timestamp,
    /// How often it was looked for since.
    pub looks: u32,
}

impl JiraMemory {
    /// An empty memory in place of one that is not there, at `now`. For a program that goes on running (the daemon):
    /// until ten minutes after, no ticket is made, because one that the lost memory knew of may not be found yet. For a
    /// program that ends at once, where nobody would be left to make it, take the default: it searches and makes.
    pub fn begun(now: Timestamp) -> Self {
        Self { begun: Some(now), tickets: BTreeMap::new() }
    }

    /// The key of the ticket that `message` belongs to, for channels that link it; none if we know of none.
    pub fn key_of(&self, message: &Message) -> Option<&str> {
        self.tickets.get(&Label::of(message))?.key.as_deref()
    }
}

impl Known {
    pub(super) fn has_told(&self, id: &str) -> bool {
        self.told.iter().any(|told| told == id)
    }

    /// This message is in the ticket now.
    pub(super) fn note_told(&mut self, id: &str) {
        self.unsure.retain(|unsure| unsure != id);
        note(&mut self.told, id);
    }

    /// This message is about to be written to the ticket.
    pub(super) fn note_unsure(&mut self, id: &str) {
        note(&mut self.unsure, id);
    }

    /// From now on `key` is the ticket.
    pub(super) fn adopt(&mut self, key: &str) {
        if self.key.as_deref() != Some(key) {
            self.closed_by_us = None;
        }
        self.key = Some(key.to_owned());
    }

    /// There is no such ticket any more.
    pub(super) fn forget(&mut self) {
        self.key = None;
        self.closed_by_us = None;
    }
}

fn note(ids: &mut Vec<String>, id: &str) {
    ids.retain(|known| known != id);
    ids.push(id.to_owned());
    let excess = ids.len().saturating_sub(NOTED_MAX);
    ids.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::super::label::Label;
    use super::super::tests::message;
    use super::{JiraMemory, Known, NOTED_MAX};
    use crate::report::Kind;

    #[test]
    fn it_is_small_and_survives_its_text() {
        let message = message(Kind::Failed);
        let mut known = Known::default();
        known.adopt("OPS-12");
        for number in 0..100 {
            known.note_unsure(&number.to_string());
            known.note_told(&number.to_string());
        }
        assert_eq!((known.told.len(), known.unsure.len()), (NOTED_MAX, 0));
        let mut memory = JiraMemory::begun(message.at);
        memory.tickets.insert(Label::of(&message), known);
        let text = serde_json::to_string(&memory).expect("plain values");
        assert_eq!(serde_json::from_str::<JiraMemory>(&text).ok().as_ref(), Some(&memory));
        assert_eq!(memory.key_of(&message), Some("OPS-12"));
        assert_eq!(serde_json::from_str::<JiraMemory>("{}").ok(), Some(JiraMemory::default()));
    }
}
