//! What signals ask for: to stop, or to take another configuration.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::log::Weight;
use super::news::News;
use super::owner::Owner;
use super::runs::STOP_WITHIN;
use super::telling::Tale;
use crate::config::Settings;
use crate::domain::{Clock, Stop, Trouble};
use crate::report::Subject;

/// A daemon that was asked to stop.
pub(super) struct Stopping {
    why: Stop,
    since: Duration,
    /// Since when the runs have been asked to stop.
    asked: Option<Duration>,
}

impl Owner {
    /// Reads the configuration in a thread of its own: it may lie on a disk that does not answer.
    pub(super) fn reload(&mut self) {
        self.supervisor.reloading();
        let (load, tell) = (Arc::clone(&self.load), self.inbox.tell.clone());
        std::thread::spawn(move || {
            let _ = tell.send(News::Loaded(load().map(Box::new)));
        });
    }

    /// Takes a configuration whole, or keeps the one it has and says why.
    pub(super) fn take(&mut self, loaded: Result<Settings, Trouble>) {
        match loaded {
            Ok(settings) => {
                let stays =
                    (settings.web.listen, &settings.state_dir) == (self.settings.web.listen, &self.settings.state_dir);
                if !stays {
                    let text = "`web.listen` and `state_dir` change when the daemon is started again";
                    self.say(Weight::Warning, "config-later", text, &[]);
                }
                self.settings = settings;
                self.config_refused = None;
                self.settle();
                self.take_notifiers();
                self.say(Weight::Info, "config-taken", "the configuration was read again and taken", &[]);
                self.tell_well(None, None, Subject::Config);
            }
            Err(trouble) => {
                let causes: String = trouble.causes.iter().map(|cause| format!(": {cause}")).collect();
                self.config_refused = Some(format!("{}{causes}", trouble.what));
                let what = "the new configuration was not taken; the one before stays at work".to_owned();
                let mut causes = vec![trouble.what];
                causes.extend(trouble.causes);
                self.tell(Tale::trouble(Subject::Config, Trouble { what, causes, advice: trouble.advice }));
            }
        }
        self.supervisor.ready();
    }

    pub(super) fn stop(&mut self, why: Stop) {
        if self.stopping.is_some() {
            return;
        }
        self.supervisor.stopping();
        let word = if why == Stop::Interrupted { "SIGINT" } else { "SIGTERM" };
        let text = format!("{word}: nothing starts any more");
        self.say(Weight::Info, "stopping", &text, &[("running", json!(self.running.len()))]);
        self.stopping = Some(Stopping { why, since: self.clock.since_start(), asked: None });
    }

    /// Asks what is at work to stop, at once or when the grace is over.
    pub(super) fn stop_what_must(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        let now = self.clock.since_start();
        let grace = self.settings.grace.unwrap_or_default();
        if stopping.asked.is_none() && now.saturating_sub(stopping.since) >= grace {
            stopping.asked = Some(now);
            self.running.values().for_each(|running| running.cancel.ask(stopping.why));
            if let Some(proving) = &self.proving {
                proving.stop(rustix::process::Signal::TERM);
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        let Some(stopping) = &self.stopping else { return false };
        // each run's watcher gives up after `STOP_WITHIN`, then undoes what hooks did; if even that does not come, nothing
        // is waited for
        let hooks = self.running.values().map(|running| running.hooks_limit).max().unwrap_or_default();
        let limit = STOP_WITHIN + Duration::from_millis(2500) + hooks;
        let is_late = |asked: Duration| self.clock.since_start().saturating_sub(asked) > limit;
        self.running.is_empty() || stopping.asked.is_some_and(is_late)
    }

    pub(super) fn leave(&mut self) {
        if let Some(proving) = &self.proving {
            proving.stop(rustix::process::Signal::KILL);
        }
        let now = self.clock.now();
        self.save(now);
        self.leave_notifiers();
        self.tell_refused_tokens(true);
        self.show(now);
        self.say(Weight::Info, "stopped", "the daemon has stopped", &[]);
    }
}
