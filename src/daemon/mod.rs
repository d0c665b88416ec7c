//! The loop that runs all day: what is due, runs as children, signals, notices, and the HTTP door.
//!
//! The danger here is to stop without anybody noticing, or to say that all is well because nothing was asked. What is due
//! is decided by `schedule`, what is shown by `page`, what is told by `notify`: this room only connects them with time.
//!
//! One thread owns everything (`owner`); runs, looks at stores, signals and the door tell it by message and never wait for
//! it. Nothing here touches a store or a source: children do, and each has a deadline.

mod calls;
mod door;
mod events;
mod kept;
mod live;
mod log;
mod look;
mod news;
mod owner;
mod people;
mod proofs;
mod retained;
mod runs;
mod stores;
mod supervisor;
mod telling;
mod view;
mod watched;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

pub use live::{BYTES_MAX as LIVE_BYTES_MAX, FILE as LIVE_FILE, Live, LiveJob};
pub use log::{Log, LogFormat, Weight};
pub use look::{LOOK_VERB, run_look};
pub use news::Inbox;
pub use owner::{Given, Load};

use crate::domain::{Advise, Clock, SystemClock, Trouble};
use crate::wiring::{self, Unlocked};

/// The daemon could not begin.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another daemon has the folder of state.
    #[error("another daemon is at work with the state in {folder}{}", .pid.map_or_else(String::new, |pid| format!(" (process {pid})")))]
    Second {
        /// The folder.
        folder: PathBuf,
        /// Its process, if it could be read.
        pid: Option<u32>,
    },
    /// The door could not be opened.
    #[error("nothing can be answered at {address}")]
    Door {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Advise for DaemonError {
    fn advice(&self) -> String {
        match self {
            Self::Second { .. } => {
                "stop that one first, or give this one a configuration and a `state_dir` (BACKUP_STATE_DIR) of its own: two \
                 daemons with one memory would each forget what the other did"
                    .to_owned()
            }
            Self::Door { .. } => {
                "another daemon may be at work; else give another address as `web.listen`, or `no`".to_owned()
            }
        }
    }
}

/// Runs all day, until it is asked to stop by a signal.
///
/// # Errors
/// If it cannot begin. Once it has begun, nothing ends it but a signal.
pub fn run(given: Given, inbox: Inbox) -> Result<(), DaemonError> {
    let log = given.log.clone();
    let folder = given.state.folder().to_owned();
    // before anything of it is read, and until the process ends
    let _lock = match given.state.lock() {
        Ok(lock) => Some(lock),
        Err(Unlocked::Held { pid }) => return Err(DaemonError::Second { folder, pid }),
        Err(Unlocked::Unable(error)) => {
            let trouble = Trouble::from(&error);
            let values = [("advice", json!(trouble.advice)), ("causes", json!(trouble.causes.join("; ")))];
            let text = format!("{}: a second daemon with this state would not be noticed", trouble.what);
            log.tell(SystemClock::new().now(), Weight::Warning, "state-unlocked", &text, &values);
            None
        }
    };
    let scratches = given.settings.jobs.values().filter_map(|job| job.verify.as_ref()?.scratch.clone());
    sweep_drills(&folder, scratches.collect(), &log);
    let shared = Arc::new(door::Shared::new(given.program.clone(), folder, inbox.tell.clone()));
    let listen = given.settings.web.listen;
    let mut owner = owner::Owner::new(given, inbox, Arc::clone(&shared));
    if let Some(address) = listen {
        let bound = door::open(address, shared).map_err(|source| DaemonError::Door { address, source })?;
        owner.say(Weight::Info, "listening", &format!("answering at http://{bound}/"), &[("address", json!(bound))]);
    }
    owner.run();
    drop(owner);
    log.finish(std::time::Duration::from_secs(1));
    Ok(())
}

/// Removes what drills left that were killed: copies of snapshots, in plain. Beside everything else: they may be large.
/// From the folder of state, and from where jobs want their drills. A disk that does not answer holds up no other.
fn sweep_drills(folder: &Path, scratches: BTreeSet<PathBuf>, log: &Log) {
    for place in scratches.into_iter().chain([folder.to_owned()]) {
        let log = log.clone();
        std::thread::spawn(move || {
            let swept = wiring::sweep(&place);
            let now = SystemClock::new().now();
            if swept.removed > 0 {
                let values = [("count", json!(swept.removed)), ("folder", json!(place.display().to_string()))];
                log.tell(now, Weight::Info, "drills-swept", "what drills had left was removed", &values);
            }
            for why in swept.failed {
                log.tell(now, Weight::Warning, "drills-swept", &format!("a drill left something: {why}"), &[]);
            }
        });
    }
}
