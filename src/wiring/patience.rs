//! Patience with a store: a thread that looks how long its oldest call has been waiting.
//!
//! A run is a process of its own, watched from outside (`supervise`). The commands that people give are not: for them a
//! thread beside the work is enough, because it only has to speak, and where nobody watches to end the process. It cannot
//! end a thread that the kernel keeps; the kernel lets go of most when the process ends (NFS waits can be killed).
//!
//! Looks at calls of the store only. What else a command waits for, a slow disk to restore to or a reader that sleeps, is
//! not the store's silence.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::bounded;

use super::order::{open_store, store_order};
use super::state::State;
use crate::config::StoreSettings;
use crate::domain::SystemClock;
use crate::store::{Calls, Store, StoreError, Waiting, Watched};

/// How often is looked, in parts of the deadline, and not more seldom than every second.
const LOOKS: u32 = 20;

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A call waits for longer than the deadline, or for a further time as long.
    Silent(Waiting),
    /// It was answered after all.
    Answers,
}

/// Opens a configured store, and tells when it does not answer for `deadline`: from the first look at it on, until it is
/// let go of.
///
/// # Errors
/// As [`crate::store::FolderStore::open`].
pub fn open_watched(
    store: &StoreSettings,
    state: &State,
    deadline: Duration,
    tell: impl FnMut(&News) + Send + 'static,
) -> Result<Arc<dyn Store>, StoreError> {
    let calls = Calls::new(SystemClock::new());
    watch_calls(&calls, deadline, tell);
    let order = store_order(store, state, false);
    let place: Arc<str> = Path::new(&order.path).display().to_string().into();
    let (inner, _) = calls.during("opening", &place, || open_store(&order))?;
    Ok(Arc::new(Watched::new(inner, calls)))
}

/// Looks at `calls` in a thread of its own, which ends when nobody else has them any more.
pub fn watch_calls(calls: &Arc<Calls>, deadline: Duration, mut tell: impl FnMut(&News) + Send + 'static) {
    let calls: Weak<Calls> = Arc::downgrade(calls);
    let every = (deadline / LOOKS).clamp(Duration::from_millis(1), Duration::from_secs(1));
    std::thread::spawn(move || {
        let (_keep, never) = bounded::<()>(0);
        let mut told = 0_u32;
        loop {
            let _ = never.recv_timeout(every);
            let Some(calls) = calls.upgrade() else { return };
            match calls.longest() {
                Some(waiting) if waiting.long >= deadline.saturating_mul(told + 1) => {
                    told += 1;
                    tell(&News::Silent(waiting));
                }
                Some(waiting) if waiting.long >= deadline => {}
                _ if told > 0 => {
                    told = 0;
                    tell(&News::Answers);
                }
                _ => {}
            }
        }
    });
}
