//! Who may: the token, and sessions of browsers that gave it.
//!
//! Compared in constant time, over digests, so that neither the time nor the length tells anything. A session is a random
//! value that is not the token; sessions live in memory, are few, and end with the daemon, with their time, or when
//! another token is configured.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::domain::{Digest, Secret};

/// How long a browser is known.
pub(super) const SESSION_FOR: Duration = Duration::from_secs(8 * 3600);

/// Browsers that are known at once; the oldest gives way.
const SESSIONS_MAX: usize = 64;

/// The name of the cookie.
pub(super) const COOKIE: &str = "backup_session";

/// Knows the token and the sessions.
pub(crate) struct Guard(Mutex<Known>);

#[derive(Default)]
struct Known {
    token: Option<Secret>,
    /// Digests of the sessions' values, and until when, by a clock that does not step. Oldest first.
    sessions: Vec<(Digest, Duration)>,
}

impl Guard {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(super) fn settle(&self, token: Option<Secret>) {
        let mut known = self.known();
        if known.token != token {
            known.sessions.clear();
            known.token = token;
        }
    }

    /// Whether anybody may at all.
    pub(super) fn has_token(&self) -> bool {
        self.known().token.is_some()
    }

    /// Whether this is the token. Without a configured token nothing is.
    pub(super) fn is_token(&self, given: &[u8]) -> bool {
        let known = self.known();
        let Some(token) = &known.token else { return false };
        same(&Digest::of(token.reveal().as_bytes()), &Digest::of(given))
    }

    /// A new session's value, for the cookie.
    pub(super) fn open(&self, now: Duration) -> String {
        // 128 random bits, as hexadecimal digits
        let value = crate::wiring::random_run().to_string();
        let mut known = self.known();
        known.sessions.retain(|(_, until)| *until > now);
        let surplus = (known.sessions.len() + 1).saturating_sub(SESSIONS_MAX);
        known.sessions.drain(..surplus);
        known.sessions.push((Digest::of(value.as_bytes()), now + SESSION_FOR));
        value
    }

    /// Whether this is the value of a session that lives.
    pub(super) fn is_session(&self, given: &[u8], now: Duration) -> bool {
        let given = Digest::of(given);
        let known = self.known();
        // all are compared, whichever it is
        known.sessions.iter().filter(|(_, until)| *until > now).fold(false, |found, (one, _)| found | same(one, &given))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same(one: &Digest, other: &Digest) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Guard, SESSION_FOR, SESSIONS_MAX};
    use crate::domain::Secret;

    #[test]
    fn only_the_whole_token_is_the_token_and_without_one_nothing_is() {
        let guard = Guard::new();
        for given in ["", "0123456789abcdef"] {
            assert!(!guard.is_token(given.as_bytes()), "none is configured");
        }
        guard.settle(Some(Secret::new("0123456789abcdef")));
        for given in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0", " 0123456789abcdef"] {
            assert!(!guard.is_token(given.as_bytes()), "{given}");
        }
        assert!(guard.is_token(b"0123456789abcdef"));
    }

    #[test]
    fn a_session_ends_with_its_time_with_another_token_and_when_there_are_too_many() {
        let guard = Guard::new();
        guard.settle(Some(Secret::new("0123456789abcdef")));
        let now = Duration::from_secs(5);
        let first = guard.open(now);
        assert!(guard.is_session(first.as_bytes(), now) && !guard.is_session(b"", now));
        assert!(!guard.is_session(first.as_bytes(), now + SESSION_FOR));
        for _ in 0..SESSIONS_MAX {
            guard.open(now);
        }
        assert!(!guard.is_session(first.as_bytes(), now), "the oldest gave way");
        let last = guard.open(now);
        guard.settle(Some(Secret::new("0123456789abcdef")));
        assert!(guard.is_session(last.as_bytes(), now), "the same token");
        guard.settle(Some(Secret::new("fedcba9876543210")));
        assert!(!guard.is_session(last.as_bytes(), now));
    }
}
