//! Stopping is ordinary: a token that any deed looks at between two entries.
//!
//! The token never interrupts a system call and never unwinds; who holds it decides where it is safe to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Why a deed was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT: a person pressed Ctrl-C.
    Interrupted,
    /// SIGTERM: the machine, the container or Jenkins asks.
    Terminated,
}

/// Asked by one, looked at by many. Clones share the same token. The first reason given stays.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicU8>);

impl Cancel {
    /// A token that nobody has asked to stop yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop. A second reason does not replace the first.
    pub fn ask(&self, why: Stop) {
        let value = match why {
            Stop::Interrupted => 1,
            Stop::Terminated => 2,
        };
        let _ = self.0.compare_exchange(0, value, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The reason, once somebody has asked.
    pub fn asked(&self) -> Option<Stop> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Stop::Interrupted),
            _ => Some(Stop::Terminated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cancel, Stop};

    #[test]
    fn the_first_reason_to_stop_stays() {
        let token = Cancel::new();
        assert_eq!(token.asked(), None);
        let held_elsewhere = token.clone();
        token.ask(Stop::Terminated);
        token.ask(Stop::Interrupted);
        assert_eq!(held_elsewhere.asked(), Some(Stop::Terminated));
    }
}
