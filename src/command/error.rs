//! Why a command gave nothing, in words, with what to do now.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::Advise;
use crate::report::duration_words;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// A command that did not end well. `said` is the end of its standard error, escaped, empty if there was none.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A file of its environment cannot be read. Its content is in no message.
    #[error("{path} for its variable {name} could not be read")]
    Secret {
        /// The variable.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// It is not there, or may not be executed.
    #[error("{program} could not be started: {why}")]
    NotStarted {
        /// As configured.
        program: String,
        /// What the machine said.
        why: String,
    },
    /// It said that it failed.
    #[error("it ended with status {status}{}", after(.said))]
    Status {
        /// 1 to 255.
        status: i32,
        /// Its last words.
        said: String,
    },
    /// A signal ended it.
    #[error("signal {signal} ended it{}", after(.said))]
    Signal {
        /// Its number.
        signal: i32,
        /// Its last words.
        said: String,
    },
    /// It was at work for longer than it may be, and was ended.
    #[error("it had not ended after {} and was ended{}", duration_words(*.deadline), after(.said))]
    Deadline {
        /// How long it had.
        deadline: Duration,
        /// Its last words.
        said: String,
    },
    /// It has no deadline of its own, gave nothing for as long as nothing may move, and was ended.
    #[error("it gave nothing for {} and was ended{}", duration_words(*.silence), after(.said))]
    Silent {
        /// For how long.
        silence: Duration,
        /// Its last words.
        said: String,
    },
    /// It ended well, but something that it had started still held its output: nobody knows whether all of it came.
    #[error("it ended, but something that it had started went on holding its output{}", after(.said))]
    HeldOpen {
        /// Its last words.
        said: String,
    },
    /// The run was asked to stop.
    #[error("it was ended because the run was stopped")]
    Stopped,
    /// The process that watches over it was ended, or could not be started.
    #[error("its guardian process was lost ({why})")]
    Lost {
        /// In words.
        why: String,
    },
}

fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; it said: {said}") }
}

impl Advise for CommandError {
    fn advice(&self) -> String {
        match self {
            Self::Secret { .. } => "let the user that runs this read it".to_owned(),
            Self::NotStarted { .. } => {
                "install it where this runs, or give its whole path; `backup doctor` looks for it".to_owned()
            }
            Self::Status { .. } | Self::Signal { .. } => "run it by hand as the user that runs this".to_owned(),
            Self::Deadline { .. } => "find out what it waits for, or give it a longer `deadline`".to_owned(),
            Self::Silent { .. } => {
                "find out what it waits for; a command that is silent for long needs a `deadline` of its own".to_owned()
            }
            Self::HeldOpen { .. } => "let it wait for all that it starts".to_owned(),
            Self::Stopped => "run again when it suits".to_owned(),
            Self::Lost { .. } => "see the kernel's log (out of memory?)".to_owned(),
        }
    }
}
