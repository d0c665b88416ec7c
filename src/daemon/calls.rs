//! What signals ask for: to stop, or to take another configuration.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::log::Weight;
use super::news::News;
use super::owner::Owner;
use super::runs::STOP_WITHIN;
use crate::config::Settings;
use crate::domain::{Clock, Stop, Trouble};
use crate::report::Subject;

/// A daemon that was asked to stop.
pub(super) struct Stopping {
    why: Stop,
    since: Duration,
    /// Since when the runs have been asked to stop.
    asked: Option<Duration>,
    /// Whether the verification has been: it has no grace, because all that it loses is made up for.
    is_proof_asked: bool,
}

impl Stopping {
    fn new(why: Stop, since: Duration) -> Self {
        Self { why, since, asked: None, is_proof_asked: false }
    }

    /// Whether nothing is waited for any more at `now`. Each run's watcher gives up after [`STOP_WITHIN`], then undoes what
    /// hooks did, for `hooks` at the most; a verification has [`STOP_WITHIN`] to remove what it restored. If even that does
    /// not come, nothing is waited for.
    fn is_over(&self, now: Duration, hooks: Option<Duration>, is_proving: bool) -> bool {
        let is_running = hooks.is_some();
        let limit = STOP_WITHIN + Duration::from_millis(2500) + hooks.unwrap_or_default();
        let is_run_late = self.asked.is_some_and(|asked| now.saturating_sub(asked) > limit);
        let is_proof_late = now.saturating_sub(self.since) > STOP_WITHIN;
        (!is_running || is_run_late) && (!is_proving || is_proof_late)
    }
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
                let trouble = Trouble { what, causes, advice: trouble.advice };
                self.tell(self.trouble(Subject::Config, trouble));
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
        self.stopping = Some(Stopping::new(why, self.clock.since_start()));
    }

    /// Asks what is at work to stop, at once or when the grace is over.
    pub(super) fn stop_what_must(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        let now = self.clock.since_start();
        let grace = self.settings.grace.unwrap_or_default();
        if stopping.asked.is_none() && now.saturating_sub(stopping.since) >= grace {
            stopping.asked = Some(now);
            self.running.values().for_each(|running| running.cancel.ask(stopping.why));
        }
        if let Some((proving, _)) =
            self.proving.as_ref().filter(|_| !std::mem::replace(&mut stopping.is_proof_asked, true))
        {
            proving.stop(rustix::process::Signal::TERM);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        let Some(stopping) = &self.stopping else { return false };
        let hooks = self.running.values().map(|running| running.hooks_limit).max().unwrap_or_default();
        stopping.is_over(self.clock.since_start(), (!self.running.is_empty()).then_some(hooks), self.proving.is_some())
    }

    pub(super) fn leave(&mut self) {
        if let Some((proving, _)) = &self.proving {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Stop, Stopping};

    /// Only runs were waited for: a drill was killed within milliseconds, and left a copy of everything.
    #[test]
    fn a_verification_has_as_long_to_clean_up_as_a_run_and_no_longer() {
        let at = Duration::from_secs;
        let mut stopping = Stopping::new(Stop::Terminated, at(100));
        assert!(stopping.is_over(at(100), None, false), "nothing is at work");
        assert_eq!([100, 103, 106].map(|s| stopping.is_over(at(s), None, true)), [false; 3]);
        assert!(stopping.is_over(at(107), None, true), "it does not end");
        assert!(!stopping.is_over(at(999), Some(Duration::ZERO), false), "a run has its grace");
        stopping.asked = Some(at(1000));
        assert_eq!(
            [1000, 1008, 1009].map(|s| stopping.is_over(at(s), Some(Duration::ZERO), true)),
            [false, false, true]
        );
        let undoing = Some(Duration::from_secs(60));
        assert_eq!([1009, 1068, 1069].map(|s| stopping.is_over(at(s), undoing, true)), [false, false, true]);
    }
}
