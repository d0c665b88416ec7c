//! systemd, or whoever stands in for it: that the daemon is ready, alive, stopping (`sd_notify`). Nothing where nobody asks.
//!
//! The danger is to be alive by a thread of its own: a loop that hangs would never be noticed. Only the loop says that it
//! is alive, once a round.

use std::time::Duration;

use sd_notify::NotifyState;

/// Whoever started this process and wants to know.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// The watchdog's interval.
    watchdog: Option<Duration>,
    is_ready: bool,
    status: String,
}

impl Supervisor {
    pub(super) fn new() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled(), is_ready: false, status: String::new() }
    }

    /// How long the loop may rest so that the watchdog hears from it twice in its interval.
    pub(super) fn patience(&self) -> Duration {
        self.watchdog.map_or(Duration::MAX, |interval| interval / 2)
    }

    /// The loop has gone round.
    pub(super) fn alive(&mut self, status: &str) {
        if !self.is_ready {
            self.ready();
        }
        if self.watchdog.is_some() {
            say(&[NotifyState::Watchdog]);
        }
        if self.status != status {
            status.clone_into(&mut self.status);
            say(&[NotifyState::Status(status)]);
        }
    }

    /// At work, with the configuration that it has.
    pub(super) fn ready(&mut self) {
        self.is_ready = true;
        say(&[NotifyState::Ready]);
    }

    /// The configuration is being read.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => say(&[NotifyState::Reloading, now]),
            Err(_) => say(&[NotifyState::Reloading]),
        }
    }

    /// Nothing starts any more.
    pub(super) fn stopping(&self) {
        say(&[NotifyState::Stopping]);
    }
}

/// A supervisor that does not hear is no reason to stop.
fn say(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
