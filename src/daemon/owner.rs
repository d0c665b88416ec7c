//! The loop: the one owner of what the daemon knows, which decides nothing about time and touches no store.
//!
//! What is due is the agenda's word, how a run goes is its child's. The loop hands out, hears, remembers, tells. It
//! goes round at least every [`TICK`], looks at the wall clock anew each time, and whoever supervises it is told that
//! it is alive only from here.
//!
//! The order of one round is the promise: the agenda is asked, the state is saved, and only then anything starts. A
//! crash in between costs a run that is told and made up for, and never makes a second one.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use jiff::Timestamp;
use serde_json::json;

use super::calls::Stopping;
use super::door::Shared;
use super::kept::{self, Kept, KeptJob};
use super::live::Live;
use super::log::{Log, Weight};
use super::look::SeenJob;
use super::news::{Inbox, News, RunNow};
use super::people::People;
use super::runs::{Left, Proving, Running};
use super::stores::{Eyes, StoreWatch};
use super::supervisor::Supervisor;
use crate::config::{JobSettings, Settings, StoreSettings};
use crate::domain::{Advise, Cancel, Clock, Host, JobName, RunId, SnapshotName, StopReason, SystemClock, Trouble};
use crate::report::Subject;
use crate::schedule::{Agenda, Plan, Start};
use crate::supervise::{End, Ended};
use crate::wiring::{self, Call, State};

/// Wrong tokens are told so seldom.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

/// The loop goes round at least so often, whatever happens or does not.
pub(super) const TICK: Duration = Duration::from_secs(10);

/// What is on the page is at most so old while something moves; drawing it for every message would be waste.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Reads the configuration again, as it was read at the start.
pub type Load = Arc<dyn Fn() -> Result<Settings, Trouble> + Send + Sync>;

/// What a daemon needs.
pub struct Given {
    /// Checked.
    pub settings: Settings,
    /// For SIGHUP.
    pub load: Load,
    /// Where state lies.
    pub state: State,
    /// This program's own file.
    pub program: PathBuf,
    /// Where events are logged.
    pub log: Log,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Given")
    }
}

/// The owner.
pub(super) struct Owner {
    pub(super) settings: Settings,
    pub(super) load: Load,
    pub(super) state: State,
    program: PathBuf,
    pub(super) log: Log,
    pub(super) inbox: Inbox,
    pub(super) clock: SystemClock,
    pub(super) host: Host,
    pub(super) tool: String,
    pub(super) started: Timestamp,
    pub(super) kept: Kept,
    pub(super) is_kept_saved: bool,
    pub(super) plans: BTreeMap<JobName, Plan>,
    pub(super) running: BTreeMap<JobName, Running>,
    waiting: VecDeque<(JobName, Start)>,
    /// Runs whose processes were left behind and are still there.
    pub(super) left: BTreeMap<RunId, Left>,
    /// The verification at work, and what is known of it should it be left behind.
    pub(super) proving: Option<(Proving, Left)>,
    /// Verifications whose processes were left behind and are still there.
    pub(super) left_proofs: BTreeMap<(JobName, SnapshotName), Left>,
    pub(super) stores: BTreeMap<String, StoreWatch>,
    pub(super) seen: BTreeMap<JobName, SeenJob>,
    /// Jobs without the good snapshot that they should have, and why: what was shown last.
    pub(super) late: BTreeMap<JobName, String>,
    pub(super) config_refused: Option<String>,
    /// Why what must survive could not be saved.
    pub(super) state_trouble: Option<String>,
    /// Why `backup status` could not be told.
    pub(super) live_trouble: Option<String>,
    has_kept_state: bool,
    pub(super) stopping: Option<Stopping>,
    shown: Option<Duration>,
    /// Whether something happened since.
    is_behind: bool,
    /// How many wrong tokens were told, and when the last time was.
    refused_told: (u64, Option<Duration>),
    pub(super) shared: Arc<Shared>,
    pub(super) supervisor: Supervisor,
    pub(super) people: People,
}

impl Owner {
    pub(super) fn new(given: Given, inbox: Inbox, shared: Arc<Shared>) -> Self {
        let Given { settings, load, state, program, log } = given;
        let clock = SystemClock::new();
        let now = clock.now();
        let people = People::new(&settings, &state, &log);
        let mut owner = Self {
            people,
            plans: BTreeMap::new(),
            stores: BTreeMap::new(),
            kept: Kept::default(),
            settings,
            load,
            state,
            program,
            log,
            inbox,
            clock,
            host: wiring::machine_name(),
            tool: wiring::tool(),
            started: now,
            is_kept_saved: true,
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            left: BTreeMap::new(),
            proving: None,
            left_proofs: BTreeMap::new(),
            seen: BTreeMap::new(),
            late: BTreeMap::new(),
            config_refused: None,
            state_trouble: None,
            live_trouble: None,
            has_kept_state: false,
            stopping: None,
            shown: None,
            is_behind: false,
            refused_told: (0, None),
            shared,
            supervisor: Supervisor::new(),
        };
        owner.settle();
        owner.remember(now);
        // before the door opens, so that whoever asks first sees something
        owner.show(now);
        owner
    }

    /// Goes round until it was asked to stop, and everything has.
    pub(super) fn run(&mut self) {
        self.say(Weight::Info, "started", "the daemon has started", &[("jobs", json!(self.settings.jobs.len()))]);
        // what the daemon before told of may be over by now
        self.tell_well(None, None, Subject::Config);
        loop {
            self.round();
            if self.is_over() {
                break;
            }
            match self.inbox.news.recv_timeout(self.rest()) {
                Ok(news) => self.hear(news),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            // what came meanwhile is heard before anything is decided; the inbox is bounded, and so is this
            for _ in 0..self.inbox.news.len() {
                if let Ok(news) = self.inbox.news.try_recv() {
                    self.hear(news);
                }
            }
        }
        self.leave();
    }

    /// One round: everything that the moment asks for.
    fn round(&mut self) {
        let now = self.clock.now();
        if self.stopping.is_none() {
            self.ask_agendas(now);
            self.save(now);
            self.start_waiting();
            self.start_proofs(now);
            self.watch_ages(now);
            self.watch_stores();
        }
        self.stop_what_must();
        self.look_at_stores();
        self.tell_refused_tokens(false);
        self.save(now);
        self.show(now);
        self.supervisor.alive(&self.status_line(now));
    }

    /// Logs that wrong tokens were given, once a minute at the most unless it is the last time.
    pub(super) fn tell_refused_tokens(&mut self, is_last: bool) {
        let (refused, now, (told, at)) = (self.shared.refused(), self.clock.since_start(), self.refused_told);
        let is_early = at.is_some_and(|at| now.saturating_sub(at) < REFUSED_EVERY);
        if refused.count == told || is_early && !is_last {
            return;
        }
        let peer = refused.peer.map(|peer| ("last_from", json!(peer.to_string())));
        let values: Vec<_> = [("count", json!(refused.count - told))].into_iter().chain(peer).collect();
        self.say(Weight::Warning, "token-refused", "a token was given at the door that is not the one", &values);
        self.refused_told = (refused.count, Some(now));
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Call(Call::Reload) => self.reload(),
            News::Call(Call::Stop(why)) => self.stop(why),
            News::Loaded(loaded) => self.take(loaded.map(|settings| *settings)),
            News::Progress { job, phase, entries, bytes } => {
                if let Some(running) = self.running.get_mut(&job) {
                    (running.phase, running.entries, running.bytes) = (phase, entries, bytes);
                }
            }
            News::Notice { job, text } => self.say(Weight::Info, "notice", &text, &[("job", json!(job))]),
            News::Ended { job, ended } => self.ended(&job, *ended),
            News::RunGone { job, run } => self.run_gone(&job, &run),
            News::Proven { job, snapshot, proof } => self.proven(&job, &snapshot, proof),
            News::ProofGone { job, snapshot } => {
                let values = [("job", json!(job)), ("snapshot", json!(snapshot))];
                let text = "the process of a verification that had been left behind is gone";
                self.say(Weight::Info, "verify-gone", text, &values);
                self.left_proofs.remove(&(job, snapshot));
            }
            News::Looked { store, is_deep, look } => self.looked(&store, is_deep, *look),
            News::Silent { store, is_deep } => self.silent(&store, is_deep),
            News::Gone { store, is_deep } => {
                let now = self.clock.since_start();
                self.stores.entry(store).or_default().gone(is_deep, now);
            }
            News::RunNow { job, answer } => {
                // whoever asked may be gone
                let _ = answer.send(self.run_now(&job));
            }
        }
    }

    /// How long nothing needs to be done.
    fn rest(&self) -> Duration {
        let now = self.clock.now();
        let mut rest = TICK.min(self.supervisor.patience());
        if self.stopping.is_some() {
            return rest.min(Duration::from_millis(100));
        }
        for (name, plan) in &self.plans {
            let agenda = self.kept.jobs.get(name).and_then(|job| job.agenda.as_ref());
            if let Some(agenda) = agenda.filter(|agenda| agenda.running().is_none()) {
                let until = agenda.wake_at(plan, now).duration_since(now);
                rest = rest.min(Duration::try_from(until).unwrap_or_default());
            }
        }
        // stores are looked at more often than the loop must go round
        let rest = rest.min(super::stores::LOOK_EVERY);
        if self.is_behind { rest.min(SHOW_EVERY) } else { rest }
    }

    /// Makes what follows from the settings.
    pub(super) fn settle(&mut self) {
        self.plans = self.settings.jobs.values().map(|job| (job.name.clone(), self.plan_of(job))).collect();
        let names: Vec<String> = self.settings.stores.keys().cloned().collect();
        self.stores.retain(|name, _| names.contains(name));
        for name in names {
            // a store under this name may be another one now
            self.stores.entry(name).or_default().want_deep();
        }
        self.seen.retain(|name, _| self.settings.jobs.contains_key(name));
        self.shared.settle(&self.settings);
    }

    fn plan_of(&self, job: &JobSettings) -> Plan {
        job.plan(&self.host)
    }

    /// Takes up what was left: state, agendas, and runs that were cut off.
    fn remember(&mut self, now: Timestamp) {
        let bytes = self.state.kept(kept::FILE, kept::BYTES_MAX);
        let found = bytes.as_deref().and_then(Kept::decode);
        if bytes.is_some() && found.is_none() {
            self.say(Weight::Warning, "state-lost", "the remembered state could not be read; it begins anew", &[]);
        }
        self.kept = found.unwrap_or_default();
        for (name, plan) in self.plans.clone() {
            let verify_plan = self.settings.jobs.get(&name).and_then(|job| job.verify_plan(&self.host));
            let job = self.kept.jobs.entry(name.clone()).or_default();
            let cut_off = job.agenda.get_or_insert_with(|| Agenda::begin(&plan, now)).resume(&plan, now);
            let began = job.began.take();
            match (&mut job.verify_agenda, verify_plan) {
                // what it proved is in the store; what was cut off is made up for
                (Some(verify), Some(plan)) => drop(verify.resume(&plan, now)),
                (Some(verify), None) => drop(verify.withdraw()),
                (None, _) => {}
            }
            if let Some(start) = cut_off {
                self.was_cut_off(&name, start, began, now);
            }
        }
        self.is_kept_saved = false;
    }

    /// Asks every agenda what is due.
    fn ask_agendas(&mut self, now: Timestamp) {
        let mut tales = Vec::new();
        for (name, plan) in &self.plans {
            let job = self.kept.jobs.entry(name.clone()).or_default();
            let agenda = job.agenda.get_or_insert_with(|| Agenda::begin(plan, now));
            let due = agenda.due(plan, now);
            if due == crate::schedule::Due::default() {
                continue;
            }
            self.is_kept_saved = false;
            if let Some(back) = due.set_back {
                let text = format!("the clock was set back by {} s", back.as_secs());
                self.log.tell(now, Weight::Warning, "clock-set-back", &text, &[("job", json!(name))]);
            }
            if let Some(missed) = due.missed {
                job.missed(missed.count, missed.last, missed.reason.words());
                tales.push((name.clone(), missed));
            }
            if let Some(start) = due.start {
                self.waiting.push_back((name.clone(), start));
            }
        }
        self.save(now);
        for (name, missed) in tales {
            self.tell_missed(&name, &missed);
        }
    }

    /// Starts those of the waiting runs whose store has none at work.
    fn start_waiting(&mut self) {
        let mut later = VecDeque::new();
        while let Some((name, start)) = self.waiting.pop_front() {
            let Some(job) = self.settings.jobs.get(&name).cloned() else {
                // it is not configured any more; if it comes back, it is not at work
                let _ = self.job_kept(&name).agenda.as_mut().and_then(Agenda::withdraw);
                continue;
            };
            if self.running.values().any(|running| running.store == job.store) {
                later.push_back((name, start));
            } else {
                self.start(&job, start);
            }
        }
        self.waiting = later;
    }

    fn start(&mut self, job: &JobSettings, start: Start) {
        let store = self.settings.stores.get(&job.store).cloned();
        let store = store.expect("the configuration was checked: a job's store exists");
        if let Some(trouble) = self.left_in(&store) {
            let began = kept::Began { run: wiring::random_run(), at: self.clock.now() };
            let outcome = self.untold_outcome(job, began, self.clock.now(), (StopReason::StoreAbsent, trouble));
            let ended = Ended { outcome, recorded: Vec::new(), store: None, retention: None, end: End::Unseen };
            self.ended(&job.name, ended);
            return;
        }
        let path = store.path.clone();
        let plan = wiring::JobPlan { job: job.clone(), store, init: false };
        let mut order = wiring::order_for(&plan, &self.settings.timezone, &self.state, false);
        let (now, cancel) = (self.clock.now(), Cancel::new());
        let kept = self.kept.jobs.entry(job.name.clone()).or_default();
        order.dead_runs.clone_from(&kept.dead_runs);
        kept.began = Some(kept::Began { run: order.run.clone(), at: now });
        self.is_kept_saved = false;
        self.save(now);
        let values = [("job", json!(job.name)), ("run", json!(order.run)), ("why", json!(start.why))];
        self.say(Weight::Info, "run-started", &format!("{} starts", job.name), &values);
        let running = Running {
            store: job.store.clone(),
            path,
            started: now,
            phase: crate::observe::Phase::Opening.words(),
            entries: 0,
            bytes: 0,
            cancel: cancel.clone(),
            hooks_limit: job.hooks.ending_limit(),
        };
        self.running.insert(job.name.clone(), running);
        self.announce_start(&job.name);
        let tell = self.inbox.tell.clone();
        super::runs::start_run(self.program.clone(), order, job, cancel, tell);
    }

    /// Why nothing starts in a store: a process that was left behind is still there. Another beside it would hang as well,
    /// and with each slot there would be one more.
    pub(super) fn left_in(&self, store: &StoreSettings) -> Option<Trouble> {
        let left = self.left.values().chain(self.left_proofs.values()).find(|left| left.path == store.path)?;
        let since = left.since.to_zoned(self.settings.timezone.clone()).strftime("%Y-%m-%d %H:%M %Z");
        let (job, deed) = (&left.job, left.deed);
        let what = format!("the process of {job}'s {deed} of {since} still hangs in the store {}", store.name);
        let advice =
            "check the server and the mount; nothing starts in this store until that process is gone, which it is \
                      when the server answers or this machine is started anew"
                .to_owned();
        Some(Trouble { what, causes: Vec::new(), advice })
    }

    /// What a run held that was left behind is over.
    fn run_gone(&mut self, name: &JobName, run: &RunId) {
        self.left.remove(run);
        self.job_kept(name).is_dead(run);
        let values = [("job", json!(name)), ("run", json!(run))];
        self.say(Weight::Info, "run-gone", "the process of a run that had been left behind is gone", &values);
    }

    fn run_now(&mut self, name: &JobName) -> RunNow {
        let now = self.clock.now();
        if self.stopping.is_some() {
            return RunNow::Stopping;
        }
        let Some(plan) = self.plans.get(name) else { return RunNow::NoJob };
        let job = self.kept.jobs.entry(name.clone()).or_default();
        match job.agenda.get_or_insert_with(|| Agenda::begin(plan, now)).ask(now) {
            None => RunNow::AtWork,
            Some(start) => {
                self.is_kept_saved = false;
                self.waiting.push_back((name.clone(), start));
                self.say(Weight::Info, "run-asked", "somebody asked for a run", &[("job", json!(name))]);
                RunNow::Taken(name.clone())
            }
        }
    }

    fn look_at_stores(&mut self) {
        let now = self.clock.since_start();
        let eyes =
            Eyes { program: &self.program, settings: &self.settings, state: &self.state, tell: &self.inbox.tell };
        let jobs = &self.kept.jobs;
        let is_new = |name: &JobName| jobs.get(name).is_none_or(|job| job.runs.is_empty());
        for store in self.settings.stores.values() {
            self.stores.entry(store.name.clone()).or_default().look(store, &eyes, now, &is_new);
        }
    }

    /// Saves what must survive, if it has changed.
    pub(super) fn save(&mut self, now: Timestamp) {
        if self.is_kept_saved {
            return;
        }
        let result = self.state.keep(kept::FILE, &self.kept.encode());
        self.is_kept_saved = result.is_ok();
        match (result, self.state_trouble.is_some()) {
            (Ok(()), was) => {
                self.state_trouble = None;
                if was {
                    self.log.tell(now, Weight::Info, "state-kept", "state can be kept again", &[]);
                }
                // also once at the beginning: the daemon before may have told of it
                if was || !std::mem::replace(&mut self.has_kept_state, true) {
                    self.tell_well(None, None, Subject::State);
                }
            }
            // told once; it is tried again each round
            (Err(_), true) => {}
            (Err(error), false) => {
                let trouble = Trouble::from(&error);
                self.state_trouble = Some(in_one_line(&trouble));
                self.tell(self.trouble(Subject::State, trouble));
            }
        }
    }

    /// Shows the state of things: to the door at once, to `backup status` by a file.
    pub(super) fn show(&mut self, now: Timestamp) {
        let since = self.clock.since_start();
        if self.shown.is_some_and(|at| since.saturating_sub(at) < SHOW_EVERY) && self.stopping.is_none() {
            // the loop is alive all the same
            self.shared.ticked();
            self.is_behind = true;
            return;
        }
        (self.shown, self.is_behind) = (Some(since), false);
        let view = self.view(now);
        let late = view.jobs.iter().filter_map(|job| Some((job.name.clone(), crate::page::lateness(job, now)?)));
        self.late = late.collect();
        let live = Live::of(&view, wiring::pid(), self.stopping.is_some());
        self.shared.show(view);
        if let Some(text) = self.shared.live_changed(live) {
            // people are told by `save`; the page and the metrics say this as well
            let shown = self.state.show(super::live::FILE, &text);
            self.live_trouble = shown.err().map(|error| in_one_line(&Trouble::from(&error)));
        }
    }

    pub(super) fn kept_changed(&mut self) {
        self.is_kept_saved = false;
    }

    pub(super) fn job_kept(&mut self, name: &JobName) -> &mut KeptJob {
        self.is_kept_saved = false;
        self.kept.jobs.entry(name.clone()).or_default()
    }

    pub(super) fn program(&self) -> &PathBuf {
        &self.program
    }

    pub(super) fn say(&self, weight: Weight, event: &'static str, text: &str, values: &[(&str, serde_json::Value)]) {
        self.log.tell(self.clock.now(), weight, event, text, values);
    }

    /// Logs an error that changes nothing.
    pub(super) fn note<E: Advise + 'static>(&self, result: Result<(), E>) {
        if let Err(error) = result {
            let trouble = Trouble::from(&error);
            let values = [("advice", json!(trouble.advice)), ("causes", json!(trouble.causes.join("; ")))];
            self.say(Weight::Warning, "state", &trouble.what, &values);
        }
    }
}

fn in_one_line(trouble: &Trouble) -> String {
    let causes: String = trouble.causes.iter().map(|cause| format!(": {cause}")).collect();
    format!("{}{causes}", trouble.what)
}

#[cfg(test)]
pub(super) mod tests;
