//! What the daemon makes of retention after its runs.
//!
//! The danger is silence: retention changes no run's outcome, so runs are ok for months while it removes nothing, until the
//! store is full. So each time that it does not do its work is logged and shown, and people are told when that repeats.
//!
//! Decides nothing about what stays.

use serde_json::json;

use super::log::Weight;
use super::owner::Owner;
use crate::domain::{Clock, JobName};
use crate::report::{Kind, Message, Subject};
use crate::supervise::Retention;

/// After so many runs in a row people are told: once may be a store that was away for a moment.
const TOLD_FROM: u32 = 2;

impl Owner {
    /// Retention is over, or was not due.
    pub(super) fn retained(&mut self, name: &JobName, store: &str, retention: Option<Retention>) {
        let now = self.clock.now();
        match retention {
            None | Some(Retention::Stopped) => {}
            Some(Retention::Done) => {
                self.job_kept(name).retention_undone = None;
                // also where nothing is remembered: only whoever was told hears it
                self.tell_well(Some(name), Some(store), Subject::Retention);
            }
            Some(Retention::Undone { trouble }) => {
                let times = self.job_kept(name).retention_failed(now, &trouble);
                if times < TOLD_FROM {
                    let causes = json!(trouble.causes.join("; "));
                    let values = [("job", json!(name)), ("causes", causes), ("advice", json!(trouble.advice))];
                    self.say(Weight::Warning, "retention", &trouble.what, &values);
                    return;
                }
                let (trouble, subject) = (Some(trouble), Some(Subject::Retention));
                self.tell(Message { trouble, subject, ..self.about_job(Kind::Trouble, name, store.to_owned()) });
            }
        }
    }
}
