//! What the loop hears: everything that happens comes to its one owner as a message.

use crossbeam_channel::{Receiver, Sender, bounded};
use jiff::Timestamp;

use super::look::Look;
use crate::config::Settings;
use crate::domain::{JobName, Level, Part, RunId, SnapshotName, Trouble};
use crate::supervise::Ended;
use crate::wiring::{Call, hear_calls};

/// Messages that wait for the loop; it hears hundreds of thousands in a second, so more means that it hangs.
const MESSAGES_MAX: usize = 1024;

/// A message to the loop.
pub(super) enum News {
    /// A signal.
    Call(Call),
    /// A configuration was read again.
    Loaded(Result<Box<Settings>, Trouble>),
    /// How far a run is. Totals, so one that is lost does no harm.
    Progress { job: JobName, phase: &'static str, entries: u64, bytes: u64 },
    /// A run said something worth knowing, which may not be lost.
    Notice { job: JobName, text: String },
    /// A run is over.
    Ended { job: JobName, ended: Box<Ended> },
    /// The process of a run that was left behind is gone.
    RunGone { job: JobName, run: RunId },
    /// A verification is over.
    Proven { job: JobName, snapshot: SnapshotName, proof: Proof },
    /// The process of a verification that was left behind is gone.
    ProofGone { job: JobName, snapshot: SnapshotName },
    /// A look at a store is over.
    Looked { store: String, is_deep: bool, look: Box<Look> },
    /// A look at a store got no answer in time.
    Silent { store: String, is_deep: bool },
    /// The child of such a look is gone.
    Gone { store: String, is_deep: bool },
    /// Somebody at the door wants a run.
    RunNow { job: JobName, answer: tokio::sync::oneshot::Sender<RunNow> },
}

/// How a verification ended.
#[derive(Debug)]
pub(super) enum Proof {
    /// Well, at this time.
    Well(Timestamp),
    /// Damage was found: the first of it in words, how much there is, and by what kind of look.
    Damaged { causes: Vec<String>, count: u64, level: Level, part: Option<Part> },
    /// The snapshot was removed meanwhile, by retention or a person.
    Removed,
    /// It could not be done, or was stopped.
    Failed(String),
    /// It could not be done, and its process is still there, though it was killed. The channel closes when it is gone.
    Left(String, Receiver<()>),
}

/// What becomes of the wish for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RunNow {
    /// It starts, or waits for its store.
    Taken(JobName),
    /// It is at work.
    AtWork,
    /// There is no such job.
    NoJob,
    /// The daemon is being stopped.
    Stopping,
}

/// Where messages come in. It hears signals from the moment it is opened.
pub struct Inbox {
    pub(super) news: Receiver<News>,
    pub(super) tell: Sender<News>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inbox")
    }
}

impl Inbox {
    /// Opens it. To be done before anything else, so that no signal meets the kernel's own answer to it.
    pub fn open() -> Self {
        let (tell, news) = bounded(MESSAGES_MAX);
        let hand_on = tell.clone();
        hear_calls(move |call| {
            let _ = hand_on.send(News::Call(call));
        });
        Self { news, tell }
    }
}
