//! What became of one attempt to deliver one message.

use std::time::Duration;

/// What a person has to mend first is tried again after so long.
const UNTIL_MENDED: Duration = Duration::from_secs(3600);

/// The end of one attempt. None of them is an error of the program: a run's outcome does not depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has it, and said so in the way that its protocol documents.
    Delivered {
        /// What to show of its answer: a ticket's key, for example.
        answer: String,
    },
    /// Not now; the same message may be sent again.
    Later {
        /// In words, without any secret.
        why: String,
        /// How long it waits.
        wait: Wait,
    },
    /// Not ever: the receiver has understood it and will not have it.
    Never {
        /// In words, without any secret.
        why: String,
    },
}

/// How long a message waits that was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Longer with each attempt: nobody said.
    Growing,
    /// For as long as the receiver asked (`Retry-After`).
    Asked(Duration),
    /// Until a person has mended something (a token, an address): later would be a day without messages, and sooner helps
    /// nobody. Another configuration, or the program started anew, is tried at once.
    Mended,
}

impl Wait {
    /// How long, if that is known.
    pub fn known(self) -> Option<Duration> {
        match self {
            Self::Growing => None,
            Self::Asked(asked) => Some(asked),
            Self::Mended => Some(UNTIL_MENDED),
        }
    }
}

impl Delivery {
    /// Not now; tried again after longer and longer.
    pub fn later(why: impl Into<String>) -> Self {
        Self::Later { why: why.into(), wait: Wait::Growing }
    }

    /// Not before somebody has mended what is wrong, `why` in words with what to do. The message waits.
    pub(super) fn once_mended(why: String) -> Self {
        Self::Later { why, wait: Wait::Mended }
    }
}
