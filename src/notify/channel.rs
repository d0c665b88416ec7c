//! What became of one attempt to deliver one message.

use std::time::Duration;

/// What a person has to mend first (a token, an address) is tried again after so long: later would be a day without
/// messages, and sooner helps nobody. Another configuration, or the program started anew, is tried at once.
pub(super) const UNTIL_MENDED: Duration = Duration::from_secs(3600);

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
        /// What the receiver asked for (`Retry-After`), if it did.
        after: Option<Duration>,
    },
    /// Not ever: the receiver has understood it and will not have it.
    Never {
        /// In words, without any secret.
        why: String,
    },
}

impl Delivery {
    /// Not before somebody has mended what is wrong, `why` in words with what to do. The message waits.
    pub(super) fn once_mended(why: String) -> Self {
        Self::Later { why, after: Some(UNTIL_MENDED) }
    }
}
