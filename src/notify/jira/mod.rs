//! JIRA: one open ticket for each trouble, with comments as it goes on, opened again when it comes back, closed when it
//! is over.
//!
//! The danger here is the second ticket. JIRA has no way to say "only if there is none", its search lags behind, and an
//! answer that is lost leaves open whether there is a ticket now. So a ticket is asked for only after the intention has
//! been written down, and where it is not known whether one was made, it is looked for until the search must know
//! ([`JiraMemory`], `judge`). In between the message waits; nothing is lost by waiting, and a run's outcome does not
//! depend on any of this.
//!
//! | file | what for |
//! |---|---|
//! | `settings` | what the configuration says |
//! | `label` | what a ticket is known by |
//! | `text`, `adf`, `wiki` | what stands in it |
//! | `memory` | what is remembered |
//! | `judge` | what is to be done |
//! | `issue` | what JIRA says |
//! | `wire`, `find` | asking, finding |
//! | `visit` | doing it |
//!
//! It does not decide what is told or how often (the rules do), nor when it is tried again (the outbox does).

mod adf;
mod find;
mod issue;
mod judge;
mod label;
mod memory;
mod settings;
mod text;
mod visit;
mod wiki;
mod wire;

use jiff::Timestamp;

pub use label::Label;
pub use memory::JiraMemory;
pub use settings::{Flavour, REOPEN_WITHIN, Settings, SignIn, WONT_DO};

use super::channel::Delivery;
use super::http::Http;
use crate::report::Message;
use visit::Visit;
use wire::Wire;

/// One JIRA, ready to be told things.
#[derive(Clone, Debug)]
pub struct Jira {
    http: Http,
    settings: Settings,
}

impl Jira {
    /// Connects to nothing.
    pub fn new(http: Http, settings: Settings) -> Self {
        Self { http, settings }
    }

    /// Brings `message` to its ticket; `now` is the time. The same message may be delivered again: it stands in the
    /// ticket once.
    ///
    /// `keep` writes the memory to disk. It is called *before* something is asked for whose answer may be lost, and
    /// whenever the memory has changed; the caller need not do it afterwards. If it cannot be written, that is not for
    /// here to know: the ticket is wanted all the same. Messages of one memory are delivered one after another. Dropping
    /// the future at any point is safe; so is the end of the process, if the memory of the last `keep` is there again.
    pub async fn deliver(
        &self,
        message: &Message,
        memory: &mut JiraMemory,
        keep: &(dyn Fn(&JiraMemory) + Send + Sync),
        now: Timestamp,
    ) -> Delivery {
        let wire = Wire { http: &self.http, settings: &self.settings, now };
        Visit::new(wire, message, memory, keep).deliver().await
    }

    /// The address of a ticket, for channels that link it.
    pub fn link(&self, key: &str) -> String {
        self.settings.url.join(&["browse", key]).reveal().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::{Host, Trouble};
    use crate::report::{Kind, Message};

    pub(super) fn message(kind: Kind) -> Message {
        let at = "2026-11-21T02:00:00Z".parse().expect("a time");
        Message {
            job: "upload".parse().ok(),
            store: Some("nas".into()),
            in_a_row: 1,
            trouble: Some(Trouble {
                what: "could not store volume 1".into(),
                causes: vec!["no room left".into()],
                advice: "free some room".into(),
            }),
            ..Message::bare("a".repeat(32), kind, at, "web1", &Host("web1".into()), "backup 0.1.0")
        }
    }
}
