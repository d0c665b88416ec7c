//! Errors that know what to do next.
//!
//! A message tells its own level only; its cause is reached through `source()`, and `report` prints the chain
//! once. Advice stands beside the message, in the room that knows the failure.

use std::error::Error;

use serde::{Deserialize, Serialize};

/// An error that can say what a person should do now.
pub trait Advise: Error {
    /// One sentence: what to do now, or that it will be tried again, and when.
    fn advice(&self) -> String;
}

/// A failure told in words: what happened, the chain of causes, what to do. It crosses the pipe between a run's
/// two processes and lies in run records; nothing branches on its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What failed, on what.
    pub what: String,
    /// Why, outermost cause first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do now.
    pub advice: String,
}

impl Trouble {
    /// Tells `error` and its whole chain.
    pub fn of(error: &dyn Advise, as_error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut cause = as_error.source();
        while let Some(next) = cause {
            causes.push(next.to_string());
            cause = next.source();
        }
        Self { what: as_error.to_string(), causes, advice: error.advice() }
    }
}

impl<E: Advise + 'static> From<&E> for Trouble {
    fn from(error: &E) -> Self {
        Self::of(error, error)
    }
}
