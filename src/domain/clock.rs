//! Time as an argument: the one place that asks the machine what time it is.
//!
//! Everything else is handed a `Clock` or a timestamp. The wall clock may step; durations are taken from
//! `since_start`, which does not.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Tells the time. The only two real implementations are the machine's clock and a fixed one for tests.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back.
    fn since_start(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts counting now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask the machine's clocks")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask the machine's clocks")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn since_start(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that always tells the same time.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn since_start(&self) -> Duration {
        Duration::ZERO
    }
}

/// The stamp that names carry: UTC, `YYYYMMDDTHHMMSSZ`, whole seconds, sorted as text like as time.
pub fn stamp_text(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
}
