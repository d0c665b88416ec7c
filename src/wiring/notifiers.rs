//! From settings to people: the desk with its live channels, and events put into messages.
//!
//! The danger here is that telling stands in the way of what is told. So this is made before anything that can fail, and
//! making it never fails: a certificate file that cannot be read or a proxy that is none is a notice, and the rest works.
//! A command tells and waits, but for ten seconds in all and one more for each further job; the daemon has a runtime of
//! its own and takes the [`Desk`].

use std::time::Duration;

use jiff::Timestamp;

use super::environment::{Environment, machine_name, random_run, tool};
use super::state::State;
use crate::config::{ChannelSettings, Settings};
use crate::domain::{Clock, Host, Outcome, Secret, StopReason, SystemClock, Trouble, Verdict};
use crate::notify::http::{Http, HttpOptions};
use crate::notify::jira::Jira;
use crate::notify::{Channel, Delivery, Desk, Listener, Pass};
use crate::report::{Kind, Message, RunRecord};

/// How long a command waits for its messages in all; the rest stays in the outbox.
const PATIENCE: Duration = Duration::from_secs(10);

/// Each event gets a moment, however long the ones before it took.
const PATIENCE_MIN: Duration = Duration::from_secs(1);

/// How long the beginning of a run waits for its ping.
const START_PATIENCE: Duration = Duration::from_secs(3);

/// For one answer in `notify test`.
const TEST_PATIENCE: Duration = Duration::from_secs(30);

/// Who we are in every message.
#[derive(Clone, Debug)]
pub struct Sender {
    instance: String,
    host: Host,
    tool: String,
    build_url: Option<String>,
}

impl Sender {
    /// As configured, on this machine, called by whoever set `BUILD_URL`.
    pub fn new(settings: &Settings, environment: &Environment) -> Self {
        let host = machine_name();
        let build_url = environment.variables.get("BUILD_URL").filter(|url| is_web(url)).cloned();
        Self { instance: settings.instance.clone().unwrap_or_else(|| host.0.clone()), host, tool: tool(), build_url }
    }

    /// The installation's name.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// An empty message, with an id of its own.
    pub fn message(&self, kind: Kind, at: Timestamp) -> Message {
        let message = Message::bare(random_run().into(), kind, at, &self.instance, &self.host, &self.tool);
        Message { build_url: self.build_url.clone(), ..message }
    }

    /// What a run is told as; none for one that a person stopped. A run that did not start because another holds the
    /// lease is `missed`, and the desk tells it from the second in a row on: once is another run at work.
    pub fn about_run(
        &self,
        outcome: &Outcome,
        store: &str,
        next_run: Option<Timestamp>,
        at: Timestamp,
    ) -> Option<Message> {
        let kind = match (outcome.verdict(), outcome.failure.as_ref().map(|(reason, _)| *reason)) {
            (_, Some(StopReason::Interrupted)) => return None,
            (Verdict::Ok, _) => Kind::Ok,
            (Verdict::Partial, _) => Kind::Partial,
            (Verdict::Failed, _) => Kind::Failed,
            (Verdict::Skipped | Verdict::Missed, _) => Kind::Missed,
        };
        Some(Message {
            job: Some(outcome.job.clone()),
            store: Some(store.to_owned()),
            snapshot: outcome.snapshot.clone(),
            outcome: Some(Box::new(RunRecord::from(outcome))),
            next_run,
            ..self.message(kind, at)
        })
    }

    /// Something that is no run.
    pub fn about_trouble(&self, trouble: Trouble, at: Timestamp) -> Message {
        Message { trouble: Some(trouble), ..self.message(Kind::Trouble, at) }
    }
}

/// A build's address is put into messages as it stands, so it has to be one.
fn is_web(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(char::is_whitespace)
}

/// The desk for these settings, and what is worth a line about it. Connects to nothing, never fails.
pub fn desk(settings: &Settings, state: &State, environment: &Environment) -> (Desk, Vec<String>) {
    let mut notices = Vec::new();
    let mut options = HttpOptions::new(&tool().replace(' ', "/"));
    if let Some(path) = &settings.notify.ca_file {
        match super::environment::read_small(path) {
            Ok(text) => options.extra_roots = Some(text.into_bytes()),
            Err(error) => notices.push(format!("notify.ca_file could not be read ({error}); it is left out")),
        }
    }
    let variable = |names: [&str; 2]| names.iter().find_map(|name| environment.variables.get(*name)).cloned();
    options.proxy = variable(["HTTPS_PROXY", "https_proxy"])
        .filter(|proxy| !proxy.is_empty())
        .map(|proxy| (Secret::new(&proxy), variable(["NO_PROXY", "no_proxy"]).unwrap_or_default()));
    let http = Http::new(&options).or_else(|error| {
        notices.push(format!("{error}: messages are sent without"));
        options.extra_roots = None;
        options.proxy = None;
        Http::new(&options)
    });
    let http = match http {
        Ok(http) => http,
        Err(error) => {
            notices.push(format!("{error}: nobody can be told"));
            return (Desk::silent(state.folder().join("notify")), notices);
        }
    };
    let live = |channel: &ChannelSettings| match channel {
        ChannelSettings::Slack(slack) => Channel::Slack(slack.clone()),
        ChannelSettings::Jira(settings) => Channel::Jira(Box::new(Jira::new(http.clone(), (**settings).clone()))),
        ChannelSettings::Webhook(webhook) => Channel::Webhook(webhook.clone()),
        ChannelSettings::Ping(ping) => Channel::Ping(ping.clone()),
        ChannelSettings::Email(email) => {
            let mut email = email.clone();
            email.extra_roots.clone_from(&options.extra_roots);
            Channel::Email(email)
        }
    };
    let listeners = settings.notify.listeners.iter();
    let listeners = listeners.map(|one| Listener { channel: live(&one.channel), rules: one.rules.clone() }).collect();
    (Desk::new(state.folder().join("notify"), http, listeners), notices)
}

/// Telling, for a command: it waits, but not for long.
#[derive(Debug)]
pub struct Notifiers {
    desk: Desk,
    sender: Sender,
    clock: SystemClock,
    patience: Duration,
    notices: Vec<String>,
}

impl Notifiers {
    /// Never fails.
    pub fn new(settings: &Settings, state: &State, environment: &Environment) -> Self {
        let (desk, notices) = desk(settings, state, environment);
        let sender = Sender::new(settings, environment);
        Self { desk, sender, clock: SystemClock::new(), patience: PATIENCE, notices }
    }

    /// Puts events into messages.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Says that a run begins, to whom that is of use. Lines for people about what did not work.
    pub fn started(&mut self, job: &crate::domain::JobName) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.notices);
        let who = self.desk.beginnings();
        if who.hears(job) {
            let begun = self.clock.since_start();
            let answers = wait(who.tell(job, self.clock.now(), START_PATIENCE.min(self.patience))).unwrap_or_default();
            self.took_since(begun);
            lines.extend(answers.iter().filter_map(|(channel, delivery)| line(channel, delivery, Fate::NotRepeated)));
        }
        lines
    }

    fn took_since(&mut self, begun: Duration) {
        self.patience = self.patience.saturating_sub(self.clock.since_start().saturating_sub(begun));
    }

    /// Tells, by the rules, and delivers what waits; lines for people about what did not work.
    pub fn tell(&mut self, messages: Vec<Message>) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.notices);
        if self.desk.is_empty() {
            return lines;
        }
        let begun = self.clock.since_start();
        let pass = wait(self.desk.work(messages, &self.clock, self.patience.max(PATIENCE_MIN)));
        self.took_since(begun);
        let fate = if self.desk.only_in_memory() == 0 { Fate::Kept } else { Fate::Lost };
        match pass {
            None => lines.push("nobody could be told: this machine gives no event queue or thread".to_owned()),
            Some(Pass { tried, notices, .. }) => {
                lines.extend(notices);
                lines.extend(tried.iter().filter_map(|(channel, delivery)| line(channel, delivery, fate)));
            }
        }
        lines
    }

    /// Sends a marked test through each channel, or one, and gives their answers; none if there is no such channel.
    pub fn test(&mut self, channel: Option<&str>) -> Vec<(&'static str, Delivery)> {
        let now = self.clock.now();
        let message = self.sender.message(Kind::Test, now);
        let nobody = || Delivery::later("this machine gives no event queue or thread");
        wait(self.desk.test(channel, &message, now, TEST_PATIENCE)).unwrap_or_else(|| vec![("all", nobody())])
    }

    /// What was worth a line when this was made.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

/// What becomes of a message that was not delivered, when this command ends.
#[derive(Clone, Copy)]
enum Fate {
    Kept,
    Lost,
    NotRepeated,
}

/// What a person reads of an attempt; nothing where it went well.
fn line(channel: &str, delivery: &Delivery, fate: Fate) -> Option<String> {
    match delivery {
        Delivery::Delivered { .. } => None,
        Delivery::Later { why, .. } => Some(match fate {
            Fate::Kept => format!("{channel}: {why}; the message is kept and tried again"),
            Fate::Lost => format!("{channel}: {why}; the message could not be kept either, and is lost"),
            Fate::NotRepeated => format!("{channel}: {why}"),
        }),
        Delivery::Never { why } => Some(format!("{channel}: {why}; the message is dropped, it would never be taken")),
    }
}

/// Runs to its end in a small runtime. None if the machine gives none.
fn wait<T>(work: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let done = runtime.block_on(work);
    // a lookup of a name that hangs is not waited for
    runtime.shutdown_background();
    Some(done)
}

#[cfg(test)]
mod tests {
    use super::{Host, Kind, Outcome, Sender, StopReason, Trouble};
    use crate::domain::{RunId, Skips, Totals};

    #[test]
    fn a_run_is_told_as_what_it_was_and_one_that_a_person_stopped_is_not() {
        let sender = Sender { instance: "i".into(), host: Host("h".into()), tool: "backup 0".into(), build_url: None };
        let at = "2026-11-21T02:00:00Z".parse().expect("a time");
        for (reason, kind) in [
            (None, Some(Kind::Ok)),
            (Some(StopReason::StoreAbsent), Some(Kind::Failed)),
            (Some(StopReason::Terminated), Some(Kind::Failed)),
            (Some(StopReason::Program), Some(Kind::Failed)),
            (Some(StopReason::Leased), Some(Kind::Missed)),
            (Some(StopReason::Interrupted), None),
        ] {
            let trouble = Trouble { what: "w".into(), causes: Vec::new(), advice: "a".into() };
            let job: crate::domain::JobName = "upload".parse().expect("a job");
            let outcome = Outcome {
                run: RunId::from_random([1; 16]),
                host: Host("h".into()),
                store: "/s".into(),
                sources: Vec::new(),
                started: at,
                finished: at,
                took_ms: 1,
                snapshot: Some(crate::domain::SnapshotName::new(&job, at)),
                job,
                record: None,
                totals: Totals::default(),
                skips: Skips::default(),
                doubts: Vec::new(),
                notices: Vec::new(),
                failure: reason.map(|reason| (reason, trouble)),
            };
            assert_eq!(sender.about_run(&outcome, "nas", None, at).map(|message| message.kind), kind, "{reason:?}");
        }
    }
}
