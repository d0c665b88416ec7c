//! The desk: where an event becomes letters, and letters are carried out until there is no more time.
//!
//! The danger here is to hold somebody up, or to fall silent because something of our own is broken. All that is done
//! ends with the patience it was given; what is not delivered by then waits in the outbox. A folder that cannot be
//! written, a lock that another process keeps, a memory that is damaged: each is a notice, and the message is tried all
//! the same.
//!
//! Channels are tried side by side, so that one that hangs holds up no other; each sends one message at a time. The
//! ticket comes first, for a moment, so that the others can name it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::channel::Delivery;
use super::email::Email;
use super::http::Http;
use super::jira::{Jira, JiraMemory};
use super::outbox::{Letter, LetterId, Lost, Outbox, OutboxLock, replace};
use super::ping::{self, Ping};
use super::rules::{self, Memory, Rules, Ruling};
use super::slack::{self, Slack};
use super::webhook::Webhook;
use super::words::Ticket;
use crate::domain::{Clock, JobName, Trouble, Verdict};
use crate::report::{Kind, Message, Subject};

/// How often is looked whether another process has let go of the lock.
const LOCK_LOOKS: Duration = Duration::from_millis(50);

/// Events are put into the outbox after so long, even while another process keeps the lock.
const KEPT_WITHIN: Duration = Duration::from_millis(500);

/// How long the other channels wait for a ticket that they could name.
const TICKET_FIRST: Duration = Duration::from_secs(4);

/// One way to somebody.
#[derive(Clone, Debug)]
pub enum Channel {
    /// Slack.
    Slack(Slack),
    /// A ticket in JIRA.
    Jira(Box<Jira>),
    /// JSON for programs.
    Webhook(Webhook),
    /// A dead man's switch.
    Ping(Ping),
    /// E-mail.
    Email(Box<Email>),
}

impl Channel {
    /// Its name in the configuration, in the outbox and in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Jira(_) => "jira",
            Self::Webhook(_) => "webhook",
            Self::Ping(_) => "ping",
            Self::Email(_) => "email",
        }
    }

    /// Whether `older` need not be told any more, now that there is `newer`.
    fn replaces(&self, newer: &Message, older: &Message) -> bool {
        matches!(self, Self::Ping(_)) && ping::replaces(newer, older)
    }

    /// Whether there is anybody behind it whom `message` is about.
    fn takes(&self, message: &Message) -> bool {
        !matches!(self, Self::Ping(ping) if !ping.takes(message))
    }

    /// Time between two messages.
    fn pace(&self) -> Duration {
        if matches!(self, Self::Slack(_)) { slack::PACE } else { Duration::ZERO }
    }
}

/// Whoever is told that a run begins.
#[derive(Clone, Debug, Default)]
pub struct Beginnings {
    http: Option<Http>,
    /// With the jobs of which they are told; all if there are none.
    pings: Vec<(&'static str, Ping, Option<BTreeSet<JobName>>)>,
}

impl Beginnings {
    /// Whether there is anybody to tell of a run of `job`.
    pub fn hears(&self, job: &JobName) -> bool {
        self.pings.iter().any(|(_, _, jobs)| jobs.as_ref().is_none_or(|jobs| jobs.contains(job)))
    }

    /// Tells them of a run of `job`, each for `patience` at the most.
    pub async fn tell(&self, job: &JobName, now: Timestamp, patience: Duration) -> Vec<(&'static str, Delivery)> {
        let mut answers = Vec::new();
        let Some(http) = &self.http else { return answers };
        for (channel, ping, jobs) in &self.pings {
            if jobs.as_ref().is_some_and(|jobs| !jobs.contains(job)) {
                continue;
            }
            let answer = tokio::time::timeout(patience, ping.start(http, job, now)).await;
            let late = || Delivery::later("the ping was not answered in time");
            answers.push((*channel, answer.unwrap_or_else(|_| late())));
        }
        answers
    }
}

/// A channel and what it is told.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where to.
    pub channel: Channel,
    /// What.
    pub rules: Rules,
}

/// What became of the letters that were tried, and what else is worth a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Channel and answer, in the order in which they came.
    pub tried: Vec<(&'static str, Delivery)>,
    /// Of our own: state that could not be written, letters that were let go of.
    pub notices: Vec<String>,
    /// Letters that wait.
    pub waiting: usize,
}

/// The desk. One for each process; several processes may share the folder.
#[derive(Debug)]
pub struct Desk {
    folder: PathBuf,
    http: Option<Http>,
    listeners: Vec<Listener>,
    outbox: Outbox,
    book: Book,
    /// The file is older than the book, because it could not be written.
    book_is_ahead: bool,
    tickets: Arc<Tickets>,
    /// The program goes on running.
    stays: bool,
}

/// What is known of tickets, and where that is written down.
#[derive(Debug)]
struct Tickets {
    file: PathBuf,
    memory: Mutex<JiraMemory>,
    /// The file is older than what this process knows, because it could not be written.
    is_ahead: AtomicBool,
}

impl Tickets {
    /// Before a ticket is asked for, and after. Where it cannot be written, the ticket is wanted all the same.
    fn keep(&self, memory: &JiraMemory) {
        let text = serde_json::to_vec(memory).expect("a memory is plain values");
        self.is_ahead.store(replace(&self.file, &text).is_err(), Ordering::SeqCst);
    }

    /// What another process wrote since. What cannot be read is not known; what this process knows stays. False if
    /// nothing is known at all.
    async fn read(&self) -> bool {
        let mut memory = self.memory.lock().await;
        if !self.is_ahead.load(Ordering::SeqCst)
            && let Some(read) = std::fs::read(&self.file).ok().and_then(|text| serde_json::from_slice(&text).ok())
        {
            *memory = read;
            return true;
        }
        *memory != JiraMemory::default()
    }
}

/// What is remembered between messages. Losing it costs one message more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Book {
    /// By channel, then by job, or by subject.
    told: BTreeMap<String, BTreeMap<String, Memory>>,
    jobs: BTreeMap<String, History>,
}

/// How the runs of a job went, for callers that do not know themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct History {
    in_a_row: u32,
    skipped_in_a_row: u32,
    last_success: Option<Timestamp>,
    content_bytes: Option<u64>,
}

impl Desk {
    /// With its letters and its memory in `folder`, which need not be there.
    pub fn new(folder: PathBuf, http: Http, listeners: Vec<Listener>) -> Self {
        Self { http: Some(http), listeners, ..Self::silent(folder) }
    }

    /// From now on `other` listeners are told. What this desk could not write down is not lost, and what waits is tried
    /// at once: another address or token may be what it waited for.
    pub fn give_way_to(&mut self, other: Self, now: Timestamp) {
        if self.folder == other.folder {
            (self.http, self.listeners) = (other.http, other.listeners);
        } else {
            *self = other;
        }
        self.outbox.try_at_once(now);
    }

    /// For a program that goes on running: if what was known of tickets is lost though people were told, it waits until
    /// JIRA's search must know the last of them, and makes none twice. One that ends at once cannot wait.
    #[must_use]
    pub fn that_stays(mut self) -> Self {
        self.stays = true;
        self.outbox.lift_once();
        self
    }

    /// Tells nobody.
    pub fn silent(folder: PathBuf) -> Self {
        let outbox = Outbox::new(folder.join("outbox"));
        let tickets =
            Tickets { file: folder.join("tickets.json"), memory: Mutex::default(), is_ahead: AtomicBool::new(false) };
        Self {
            folder,
            http: None,
            listeners: Vec::new(),
            outbox,
            book: Book::default(),
            book_is_ahead: false,
            tickets: Arc::new(tickets),
            stays: false,
        }
    }

    /// Whether anybody listens.
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Letters that wait, as they were last seen.
    pub fn waiting(&self) -> usize {
        self.outbox.letters().count()
    }

    /// Letters that wait, with their channel, attempts and the last failure.
    pub fn letters(&self) -> impl Iterator<Item = &Letter> {
        self.outbox.letters().map(|(_, letter)| letter)
    }

    /// Letters that no file holds: they are lost when this process ends.
    pub fn only_in_memory(&self) -> usize {
        self.outbox.only_in_memory()
    }

    /// What will not be delivered, since this desk was made.
    pub fn lost(&self) -> &Lost {
        self.outbox.lost()
    }

    /// When another pass may be worth it; none if nothing waits for a channel that there is. What waits for one that is
    /// configured no more grows old in the outbox, or is delivered when it is there again.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.next_due_of(None)
    }

    /// Tells `events` to whom their rules say, and delivers what waits, for `patience` at the most. With no events it
    /// delivers what is due.
    pub async fn work(&mut self, events: Vec<Message>, clock: &dyn Clock, patience: Duration) -> Pass {
        let (tell, mut heard) = unbounded_channel();
        events.into_iter().for_each(|event| drop(tell.send(event)));
        drop(tell);
        self.work_and_hear(&mut heard, clock, patience).await
    }

    /// As [`Self::work`], of what is `heard`; what comes meanwhile is put into the outbox at once, whoever is being waited
    /// for. What has not been taken from `heard` when this ends, or is dropped, is still the caller's.
    pub async fn work_and_hear(
        &mut self,
        heard: &mut UnboundedReceiver<Message>,
        clock: &dyn Clock,
        patience: Duration,
    ) -> Pass {
        let mut pass = Pass::default();
        if self.listeners.is_empty() {
            let _ = taken(heard);
            return pass;
        }
        let begun = Instant::now();
        let end = begun + patience;
        let lost_before = self.outbox.lost().clone();
        let mut own = BTreeSet::new();
        let mut lock = self.lock(begun + KEPT_WITHIN.min(patience / 2), &mut pass).await;
        let now = clock.now();
        self.outbox.refresh(now);
        self.read_tickets(now).await;
        // taken only now that nothing is waited for: whoever drops this has all the rest
        self.spool(taken(heard), now, &mut own, &mut pass);
        while matches!(lock, Lock::Others) && Instant::now() < begun + patience / 2 {
            tokio::select! {
                event = next(heard) => self.spool(vec![event], clock.now(), &mut own, &mut pass),
                () = tokio::time::sleep(LOCK_LOOKS) => {
                    lock = self.lock(Instant::now(), &mut pass).await;
                    if !matches!(lock, Lock::Others) {
                        // what the other process delivered is not delivered again
                        self.outbox.refresh(clock.now());
                        self.read_tickets(clock.now()).await;
                    }
                }
            }
        }
        // another process delivers: what is not ours is its own to send
        let is_others = matches!(lock, Lock::Others);
        self.carry(is_others, &mut own, heard, clock, end, &mut pass).await;
        drop(lock);
        pass.notices.extend(lost_words(&lost_before, self.outbox.lost()));
        pass.waiting = self.waiting();
        pass
    }

    /// Sends `message` through each channel, or the one that is named, past all rules and past the outbox; each is waited
    /// for, for `patience` at the most.
    pub async fn test(
        &mut self,
        channel: Option<&str>,
        message: &Message,
        now: Timestamp,
        patience: Duration,
    ) -> Vec<(&'static str, Delivery)> {
        let mut answers = Vec::new();
        let lock = self.lock(Instant::now() + patience, &mut Pass::default()).await;
        self.read_tickets(now).await;
        for listener in &self.listeners {
            let name = listener.channel.name();
            let attempt = self.attempt(&listener.channel).filter(|_| channel.is_none_or(|wanted| wanted == name));
            let Some(attempt) = attempt else { continue };
            // two that write down what they know of tickets would each lose what the other knows
            let answer = if matches!((&lock, &attempt.channel), (Lock::Others, Channel::Jira(_))) {
                Delivery::later("another process of this program is telling JIRA at this moment: try again")
            } else {
                let answer = tokio::time::timeout(patience, attempt.deliver(message, now)).await;
                answer.unwrap_or_else(|_| Delivery::later("there was no answer in time"))
            };
            answers.push((name, answer));
        }
        drop(lock);
        answers
    }

    /// Those to whom beginnings are told, beside whatever else the desk does: dead man's switches. It is not tried again:
    /// the end of the run says more.
    pub fn beginnings(&self) -> Beginnings {
        let pings = self.listeners.iter().filter_map(|one| match &one.channel {
            Channel::Ping(ping) => Some((one.channel.name(), ping.clone(), one.rules.jobs.clone())),
            _ => None,
        });
        Beginnings { http: self.http.clone(), pings: pings.collect() }
    }

    /// Makes letters of events; they are on disk when this returns, where they can be.
    fn spool(&mut self, events: Vec<Message>, now: Timestamp, own: &mut BTreeSet<LetterId>, pass: &mut Pass) {
        self.read_book();
        let book_before = self.book.clone();
        for event in events {
            self.judge(event, now, own, pass);
        }
        if self.book != book_before || self.book_is_ahead {
            self.keep_book(pass);
        }
    }

    fn attempt(&self, channel: &Channel) -> Option<Attempt> {
        let http = self.http.clone()?;
        let jira = self.listeners.iter().find_map(|listener| match &listener.channel {
            Channel::Jira(jira) => Some(jira.clone()),
            _ => None,
        });
        Some(Attempt { channel: channel.clone(), http, tickets: Arc::clone(&self.tickets), jira })
    }

    /// One event: facts that its teller did not know, then a letter for each channel that is to hear it.
    fn judge(&mut self, mut event: Message, now: Timestamp, own: &mut BTreeSet<LetterId>, pass: &mut Pass) {
        if !self.book.complete(&mut event) {
            return;
        }
        let job = event.job.as_ref().map_or("", JobName::as_str).to_owned();
        // no job has a colon in its name
        let job = match (event.subject, &event.store) {
            (None, _) => job,
            // one store's trouble is not another's
            (Some(subject @ Subject::Store), Some(store)) => format!("{job}:{}:{store}", subject.word()),
            (Some(subject), _) => format!("{job}:{}", subject.word()),
        };
        let reason = event.outcome.as_ref().and_then(|outcome| outcome.reason).map(rules::reason);
        let particular = reason.or_else(|| event.particular.clone());
        for Listener { channel, rules } in self.listeners.iter().filter(|listener| listener.channel.takes(&event)) {
            let told = self.book.told.entry(channel.name().to_owned()).or_default();
            let memory = told.entry(job.clone()).or_default();
            match rules.judge(memory, event.kind, particular.as_deref(), event.job.as_ref(), event.in_a_row, now) {
                Ruling::Tell { kind, held_back } => {
                    let letter = Message { kind, held_back, ..event.clone() };
                    let replaces = |older: &Message| channel.replaces(&event, older);
                    match self.outbox.put(channel.name(), letter, replaces, now) {
                        // a ticket is asked for only by whoever holds the lock: two at once would make two
                        Ok(_) if matches!(channel, Channel::Jira(_)) => {}
                        Ok(id) => drop(own.insert(id)),
                        Err(error) => pass.notices.push(format!(
                            "a message could not be kept in {} ({error}); it is tried now and lost if that fails",
                            self.folder.display()
                        )),
                    }
                }
                Ruling::Hold | Ruling::Pass => {}
            }
        }
    }

    /// Carries letters out until none is due before `end`; of those that others deliver, `own` ones only.
    async fn carry(
        &mut self,
        is_others: bool,
        own: &mut BTreeSet<LetterId>,
        heard: &mut UnboundedReceiver<Message>,
        clock: &dyn Clock,
        end: Instant,
        pass: &mut Pass,
    ) {
        let mut under_way: JoinSet<(&'static str, Duration, Delivery)> = JoinSet::new();
        let mut busy: BTreeMap<&'static str, LetterId> = BTreeMap::new();
        let mut tasks: BTreeMap<tokio::task::Id, &'static str> = BTreeMap::new();
        let ticket_until = Instant::now() + TICKET_FIRST.min(end.saturating_duration_since(Instant::now()) / 2);
        let mut is_first = true;
        loop {
            let now = clock.now();
            let only = is_others.then_some(&*own);
            let due = self.outbox.due(now);
            // the ticket first, for a moment, so that the others can name it
            is_first = is_first
                && Instant::now() < ticket_until
                && due.iter().any(|(id, letter)| letter.channel == "jira" && only.is_none_or(|only| only.contains(id)))
                && self.listeners.iter().any(|listener| matches!(listener.channel, Channel::Jira(_)));
            for (id, letter) in due {
                if is_first && letter.channel != "jira" {
                    continue;
                }
                let known = self.listeners.iter().find(|listener| listener.channel.name() == letter.channel);
                let Some(Listener { channel, .. }) = known.filter(|_| self.is_ours(only, &id, &letter)) else {
                    continue;
                };
                if let Entry::Vacant(free) = busy.entry(channel.name()) {
                    free.insert(id);
                    let Some(attempt) = self.attempt(channel) else { return };
                    let task = under_way.spawn(async move {
                        let delivery = attempt.deliver(&letter.message, now).await;
                        (attempt.channel.name(), attempt.channel.pace(), delivery)
                    });
                    tasks.insert(task.id(), channel.name());
                }
            }
            let until = if is_first { ticket_until } else { end };
            let joined = tokio::select! {
                joined = timeout_at(until, under_way.join_next()) => joined,
                event = next(heard), if !under_way.is_empty() => {
                    self.spool(vec![event], clock.now(), own, pass);
                    continue;
                }
            };
            match joined {
                Err(_) if is_first => is_first = false,
                Ok(Some(Ok((channel, pace, delivery)))) => {
                    let now = clock.now();
                    if !pace.is_zero() {
                        self.outbox.leave_alone(channel, pace, now);
                    }
                    if let Some(id) = busy.remove(channel) {
                        self.outbox.settle(&id, &delivery, now);
                    }
                    pass.tried.push((channel, delivery));
                    is_first = false;
                }
                // a channel that panics is one that did not deliver: its letter waits as any other
                Ok(Some(Err(error))) => {
                    if let Some((channel, id)) = tasks.get(&error.id()).and_then(|name| busy.remove_entry(name)) {
                        let delivery = Delivery::later("the program failed on this message: please report it");
                        self.outbox.settle(&id, &delivery, clock.now());
                        pass.tried.push((channel, delivery));
                    }
                    is_first = false;
                }
                Ok(None) if is_first => is_first = false,
                Ok(None) => {
                    let only = is_others.then_some(&*own);
                    let Some(due) = self.next_due_of(only) else { return };
                    let wait = Duration::try_from(due.duration_since(clock.now())).unwrap_or(Duration::ZERO);
                    if Instant::now() + wait >= end || wait.is_zero() {
                        return;
                    }
                    tokio::select! {
                        event = next(heard) => self.spool(vec![event], clock.now(), own, pass),
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                Err(_) => {
                    for (channel, id) in busy {
                        let delivery = Delivery::later("there was no answer in the time that was left");
                        self.outbox.settle(&id, &delivery, clock.now());
                        pass.tried.push((channel, delivery));
                    }
                    return;
                }
            }
        }
    }

    /// As [`Self::next_due`], of channels that are configured and letters that are ours to send.
    fn next_due_of(&self, only: Option<&BTreeSet<LetterId>>) -> Option<Timestamp> {
        let is_known = |channel: &str| self.listeners.iter().any(|listener| listener.channel.name() == channel);
        self.outbox.next_due_of(|id, letter| is_known(&letter.channel) && self.is_ours(only, id, letter))
    }

    /// Whether this process is to send it, if `only` these are its own. A ticket is asked for by whoever holds the lock.
    fn is_ours(&self, only: Option<&BTreeSet<LetterId>>, id: &LetterId, letter: &Letter) -> bool {
        only.is_none_or(|only| only.contains(id) || (letter.channel != "jira" && self.outbox.is_in_memory(id)))
    }

    async fn read_tickets(&mut self, now: Timestamp) {
        self.read_book();
        let were_told = self.book.told.get("jira").is_some_and(|told| !told.is_empty());
        if !self.tickets.read().await && self.stays && were_told {
            let memory = JiraMemory::begun(now);
            self.tickets.keep(&memory);
            *self.tickets.memory.lock().await = memory;
        }
    }

    async fn lock(&self, until: Instant, pass: &mut Pass) -> Lock {
        loop {
            match self.outbox.lock() {
                Ok(Some(lock)) => return Lock::Ours(lock),
                Ok(None) if Instant::now() >= until => return Lock::Others,
                Ok(None) => tokio::time::sleep(LOCK_LOOKS).await,
                Err(error) => {
                    let folder = self.folder.display();
                    pass.notices.push(format!("messages cannot be kept in {folder} ({error}); they are tried now"));
                    return Lock::Impossible;
                }
            }
        }
    }

    fn read_book(&mut self) {
        // what cannot be read is not known; what this process knows itself stays
        if !self.book_is_ahead
            && let Ok(text) = std::fs::read(self.folder.join("told.json"))
            && let Ok(book) = serde_json::from_slice(&text)
        {
            self.book = book;
        }
    }

    fn keep_book(&mut self, pass: &mut Pass) {
        let text = serde_json::to_vec(&self.book).expect("a memory is plain values");
        let kept = replace(&self.folder.join("told.json"), &text);
        self.book_is_ahead = kept.is_err();
        if let Err(error) = kept {
            let folder = self.folder.display();
            pass.notices
                .push(format!("what was told could not be remembered in {folder} ({error}); it may be told again"));
        }
    }
}

impl Book {
    /// Fills in what the teller did not know of a job's runs, and remembers this one. False if there is nothing to tell.
    fn complete(&mut self, event: &mut Message) -> bool {
        let (Some(job), Some(outcome)) = (&event.job, &event.outcome) else { return true };
        let history = self.jobs.entry(job.to_string()).or_default();
        event.last_success = event.last_success.or(history.last_success);
        event.size_before = event.size_before.or(history.content_bytes);
        if outcome.verdict == Verdict::Skipped {
            history.skipped_in_a_row = history.skipped_in_a_row.saturating_add(1);
            // once is another run at work; twice is a slot in which nothing was made
            if event.kind == Kind::Missed && history.skipped_in_a_row >= 2 && event.trouble.is_none() {
                event.trouble = Some(Trouble {
                    what: format!("{} runs in a row did not start", history.skipped_in_a_row),
                    causes: outcome.failure.iter().map(|trouble| trouble.what.clone()).collect(),
                    advice: "see what the other run is doing: `backup status`".to_owned(),
                });
            }
            return history.skipped_in_a_row >= 2;
        }
        history.skipped_in_a_row = 0;
        if outcome.verdict == Verdict::Ok {
            history.in_a_row = 0;
            history.last_success = Some(outcome.finished);
            history.content_bytes = Some(outcome.totals.content_bytes.0);
        } else {
            history.in_a_row = history.in_a_row.saturating_add(1).max(event.in_a_row);
            event.in_a_row = history.in_a_row;
        }
        true
    }
}

/// What is heard next; never, where nothing can come any more. Dropping it loses nothing.
async fn next(heard: &mut UnboundedReceiver<Message>) -> Message {
    match heard.recv().await {
        Some(event) => event,
        None => std::future::pending().await,
    }
}

/// What has been heard until now.
fn taken(heard: &mut UnboundedReceiver<Message>) -> Vec<Message> {
    std::iter::from_fn(|| heard.try_recv().ok()).collect()
}

/// Whose turn it is to deliver.
enum Lock {
    Ours(#[expect(dead_code, reason = "held until it is dropped")] OutboxLock),
    Others,
    /// There can be none here, so there is nobody else either.
    Impossible,
}

/// All that an attempt needs, so that it can run beside others.
struct Attempt {
    channel: Channel,
    http: Http,
    tickets: Arc<Tickets>,
    /// The ticket of the same trouble, looked up when the attempt begins.
    jira: Option<Box<Jira>>,
}

impl Attempt {
    async fn deliver(&self, message: &Message, now: Timestamp) -> Delivery {
        match &self.channel {
            Channel::Slack(slack) => slack.deliver(&self.http, message, self.ticket(message).as_ref(), now).await,
            Channel::Webhook(webhook) => webhook.deliver(&self.http, message, now).await,
            Channel::Ping(ping) => ping.deliver(&self.http, message, now).await,
            Channel::Email(email) => email.deliver(message, now).await,
            Channel::Jira(jira) => {
                let mut memory = self.tickets.memory.lock().await;
                jira.deliver(message, &mut memory, &|memory| self.tickets.keep(memory), now).await
            }
        }
    }

    /// None while JIRA is being asked: nobody waits for a link.
    fn ticket(&self, message: &Message) -> Option<Ticket> {
        let memory = self.tickets.memory.try_lock().ok()?;
        let key = memory.key_of(message)?.to_owned();
        Some(Ticket { url: self.jira.as_ref()?.link(&key), key })
    }
}

fn lost_words(before: &Lost, after: &Lost) -> Vec<String> {
    [
        (after.too_old - before.too_old, "were given up: a week has passed"),
        (after.too_many - before.too_many, "were given up: too many wait"),
        (after.damaged - before.damaged, "could not be read and are set aside"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} undelivered messages {what}"))
    .collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files")]
mod tests {
    use super::super::words::tests::message;
    use super::{
        AtomicBool, BTreeSet, Book, Channel, Desk, Http, JiraMemory, Kind, Listener, Mutex, Pass, Ping, Rules, Subject,
        Tickets, Timestamp, Verdict, Webhook,
    };
    use crate::domain::Secret;

    #[test]
    fn a_run_that_found_another_at_work_is_told_from_the_second_in_a_row_on() {
        let mut book = Book::default();
        let mut skipped = |verdict, kind| {
            let mut event = message(kind);
            event.outcome.as_mut().expect("a run").verdict = verdict;
            event.trouble = None;
            (book.complete(&mut event), event.trouble.map(|trouble| trouble.what))
        };
        assert_eq!(skipped(Verdict::Skipped, Kind::Missed), (false, None));
        let twice = (true, Some("2 runs in a row did not start".to_owned()));
        assert_eq!(skipped(Verdict::Skipped, Kind::Missed), twice);
        assert_eq!(skipped(Verdict::Ok, Kind::Ok), (true, None));
        assert_eq!(skipped(Verdict::Skipped, Kind::Missed), (false, None));
    }

    #[test]
    fn what_the_teller_does_not_know_of_a_job_is_filled_in() {
        let mut book = Book::default();
        let mut complete = |verdict, bytes| {
            let mut event = message(Kind::Failed);
            (event.in_a_row, event.size_before, event.last_success) = (0, None, None);
            let outcome = event.outcome.as_mut().expect("a run");
            outcome.verdict = verdict;
            outcome.totals.content_bytes.0 = bytes;
            book.complete(&mut event);
            (event.in_a_row, event.size_before, event.last_success.is_some())
        };
        assert_eq!(complete(Verdict::Ok, 100), (0, None, false));
        assert_eq!(complete(Verdict::Failed, 0), (1, Some(100), true));
        assert_eq!(complete(Verdict::Partial, 7), (2, Some(100), true));
        assert_eq!(complete(Verdict::Ok, 120), (0, Some(100), true));
        assert_eq!(complete(Verdict::Failed, 0), (1, Some(120), true));
    }

    #[test]
    fn two_runs_of_the_same_content_have_no_difference_however_little_was_stored() {
        let mut book = Book::default();
        let mut size = |stored| {
            let mut event = message(Kind::Ok);
            event.size_before = None;
            let outcome = event.outcome.as_mut().expect("a run");
            outcome.verdict = Verdict::Ok;
            outcome.totals.content_bytes.0 = 42_000_000;
            outcome.totals.stored_bytes.0 = stored;
            book.complete(&mut event);
            let facts = super::super::words::Words::of(&event).facts;
            facts.into_iter().find(|(name, _)| *name == "Size").expect("a size").1
        };
        assert_eq!((size(10_500_000), size(512)), ("42.0 MB".to_owned(), "42.0 MB (as before)".to_owned()));
    }

    #[tokio::test]
    async fn trouble_of_each_subject_is_told_and_is_over_when_that_subject_is_well() {
        let folder = tempfile::tempdir().expect("a folder");
        let http = Http::new(&super::super::http::HttpOptions::new("backup/test")).expect("a client");
        let address = super::super::http::Address::parse("http://127.0.0.1:9/", false).expect("an address");
        let webhook = Channel::Webhook(Webhook { address, secret: None });
        let listeners = vec![Listener { channel: webhook, rules: Rules::for_people() }];
        let mut desk = Desk::new(folder.path().to_owned(), http, listeners);
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
        let mut told = 0;
        let mut is_told = |number: u8, kind, subject| {
            let mut event = message(kind);
            (event.id, event.subject, event.outcome) = (format!("{number:032x}"), Some(subject), None);
            event.job = event.job.filter(|_| matches!(subject, Subject::Verify | Subject::Damage));
            desk.spool(vec![event], now, &mut BTreeSet::new(), &mut Pass::default());
            let before = std::mem::replace(&mut told, desk.waiting());
            told - before == 1
        };
        assert!(!is_told(1, Kind::Recovered, Subject::State), "nothing was wrong");
        assert!(is_told(2, Kind::Trouble, Subject::Config));
        assert!(is_told(3, Kind::Trouble, Subject::State), "another subject is another trouble");
        assert!(is_told(4, Kind::Trouble, Subject::Verify));
        assert!(!is_told(5, Kind::Trouble, Subject::State), "held back");
        assert!(is_told(6, Kind::Recovered, Subject::State));
        assert!(!is_told(7, Kind::Trouble, Subject::Config), "that is not over");
        assert!(is_told(8, Kind::Recovered, Subject::Verify) && is_told(9, Kind::Recovered, Subject::Config));
        assert!(is_told(10, Kind::Trouble, Subject::Config), "it is news again");
        assert!(is_told(11, Kind::Damage, Subject::Damage));
        assert!(!is_told(12, Kind::Recovered, Subject::Verify), "that it can be verified does not make it well");
        assert!(is_told(13, Kind::Recovered, Subject::Damage));
    }

    #[tokio::test]
    async fn damage_in_another_snapshot_is_another_letter_and_what_is_about_no_job_is_none_to_the_check_of_a_job() {
        let folder = tempfile::tempdir().expect("a folder");
        let (http, mut listeners) = webhook_at("http://127.0.0.1:9/");
        let ping = Ping::new(Secret::new("http://127.0.0.1:9/{job}"), false).expect("an address");
        listeners.push(Listener { channel: Channel::Ping(ping), rules: Rules::for_people() });
        let mut desk = Desk::new(folder.path().to_owned(), http, listeners);
        let mut told = |number: u8, particular: Option<&str>| {
            let (kind, subject) =
                if particular.is_some() { (Kind::Damage, Subject::Damage) } else { (Kind::Trouble, Subject::State) };
            let mut event = message(kind);
            (event.id, event.subject, event.outcome) = (format!("{number:032x}"), Some(subject), None);
            event.particular = particular.map(str::to_owned);
            event.job = event.job.filter(|_| particular.is_some());
            let now: Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
            let before = desk.waiting();
            desk.spool(vec![event], now, &mut BTreeSet::new(), &mut Pass::default());
            desk.letters().skip(before).count()
        };
        assert_eq!(told(1, Some("up-1")), 2);
        assert_eq!(told(2, Some("up-1")), 0, "held back");
        assert_eq!(told(3, None), 1, "the webhook's");
        // one more waits: the ping's takes the place of the one before
        assert_eq!(told(4, Some("up-2")), 1);
    }

    fn webhook_at(address: &str) -> (Http, Vec<Listener>) {
        let http = Http::new(&super::super::http::HttpOptions::new("backup/test")).expect("a client");
        let address = super::super::http::Address::parse(address, false).expect("an address");
        let channel = Channel::Webhook(Webhook { address, secret: None });
        (http, vec![Listener { channel, rules: Rules::for_people() }])
    }

    fn spooled(desk: &mut Desk, now: Timestamp) {
        desk.spool(vec![message(Kind::Failed)], now, &mut BTreeSet::new(), &mut Pass::default());
    }

    #[tokio::test]
    async fn letters_of_a_channel_that_is_no_more_are_nothing_to_wake_up_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let (http, listeners) = webhook_at("http://127.0.0.1:9/");
        let mut desk = Desk::new(folder.path().to_owned(), http.clone(), listeners.clone());
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
        spooled(&mut desk, now);
        assert_eq!(desk.next_due(), Some(now));
        desk.give_way_to(Desk::new(folder.path().to_owned(), http.clone(), Vec::new()), now);
        assert_eq!((desk.next_due(), desk.waiting()), (None, 1));
        desk.give_way_to(Desk::new(folder.path().to_owned(), http, listeners), now);
        assert_eq!(desk.next_due(), Some(now), "it is there again");
    }

    #[tokio::test]
    async fn what_could_not_be_written_down_outlives_a_change_of_the_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let in_the_way = folder.path().join("file");
        std::fs::write(&in_the_way, b"").expect("a file where the folder should be");
        let (http, listeners) = webhook_at("http://127.0.0.1:9/");
        let mut desk = Desk::new(in_the_way.clone(), http.clone(), listeners.clone());
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
        spooled(&mut desk, now);
        let id = desk.outbox.due(now)[0].0.clone();
        desk.outbox.settle(&id, &super::Delivery::once_mended("a wrong token".to_owned()), now);
        assert_ne!(desk.next_due(), Some(now), "it waits");
        desk.give_way_to(Desk::new(in_the_way, http, listeners), now);
        assert_eq!((desk.waiting(), desk.only_in_memory(), desk.next_due()), (1, 1, Some(now)));
        let mut again = message(Kind::Failed);
        again.id = "9".repeat(32);
        desk.spool(vec![again], now, &mut BTreeSet::new(), &mut Pass::default());
        assert_eq!(desk.waiting(), 1, "that it was told is remembered: the second is held back");
    }

    #[tokio::test]
    async fn a_daemon_that_lost_what_it_knew_of_tickets_waits_and_a_command_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
        let mut desk = Desk::silent(folder.path().to_owned());
        desk.book.told.entry("jira".to_owned()).or_default().entry("upload".to_owned()).or_default();
        desk.keep_book(&mut Pass::default());
        let known = |desk: &Desk| desk.tickets.memory.try_lock().expect("free").clone();
        desk.read_tickets(now).await;
        assert_eq!(known(&desk), JiraMemory::default());
        let mut daemon = Desk::silent(folder.path().to_owned()).that_stays();
        daemon.read_tickets(now).await;
        assert_eq!(known(&daemon), JiraMemory::begun(now));
        let mut again = Desk::silent(folder.path().to_owned()).that_stays();
        again.read_tickets(now + std::time::Duration::from_secs(60)).await;
        assert_eq!(known(&again), JiraMemory::begun(now), "the wait does not begin anew with each start");
    }

    #[tokio::test]
    async fn a_file_of_tickets_that_could_not_be_written_is_not_believed_over_what_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tickets.json");
        let tickets = Tickets { file: file.clone(), memory: Mutex::default(), is_ahead: AtomicBool::new(false) };
        tickets.keep(&JiraMemory::default());
        // the disk is full: nothing can be written aside
        let aside = file.with_extension(format!("new-{}", std::process::id()));
        std::fs::create_dir(&aside).expect("a folder in its way");
        let known = JiraMemory::begun("2026-11-21T02:00:00Z".parse().expect("a time"));
        *tickets.memory.lock().await = known.clone();
        tickets.keep(&known);
        tickets.read().await;
        assert_eq!(*tickets.memory.lock().await, known);
        std::fs::remove_dir(&aside).expect("room again");
        tickets.keep(&known);
        *tickets.memory.lock().await = JiraMemory::default();
        tickets.read().await;
        assert_eq!(*tickets.memory.lock().await, known, "the file is believed again");
    }
}
