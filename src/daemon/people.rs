//! Between the loop and the notifiers: a thread that tells people, so that the loop never waits for a network.
//!
//! What it is given goes into the outbox before anything is sent, so it survives this process. It delivers what is due,
//! for as long as a slow receiver may take; when the daemon leaves, it lets go of what is under way (the outbox still has
//! it), spools what it was given last, and gives delivery one more moment.
//!
//! What is lost when the process dies between the loop's word and the outbox is in the log and in the run's record.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::log::{Log, Weight};
use super::owner::Owner;
use super::telling::Tale;
use crate::config::Settings;
use crate::domain::{Clock, JobName, SystemClock};
use crate::notify::{Delivery, Desk, Pass};
use crate::page::SilentChannel;
use crate::report::Message;
use crate::wiring::{self, Environment, State};

/// Messages that wait for the thread. The outbox takes thousands in a second; more means that its disk hangs.
const WAITING_MAX: usize = 1024;

/// How long one pass may deliver: longer than any one receiver is waited for.
const PASS: Duration = Duration::from_secs(35);

/// How long the last pass may take, of the seconds in which the daemon should be gone.
const LAST_PASS: Duration = Duration::from_millis(800);

/// For the ping at the beginning of a run.
const START: Duration = Duration::from_secs(5);

/// Without anything due, the outbox is looked at so often: another process may have left something in it.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How the notifiers stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) spooled: u64,
    pub(super) undelivered: u64,
    pub(super) silent_channels: Vec<SilentChannel>,
}

enum Order {
    Tell(Box<Message>),
    Began(JobName),
    Settle(Box<Desk>),
    Leave,
}

/// The thread, from the loop's side.
pub(super) struct People {
    orders: Sender<Order>,
    standing: Arc<Mutex<Standing>>,
    left: crossbeam_channel::Receiver<()>,
    sender: wiring::Sender,
}

impl People {
    /// Starts the thread. Never fails: what is wrong with a channel is logged.
    pub(super) fn new(settings: &Settings, state: &State, log: &Log) -> Self {
        let environment = Environment::read();
        let (orders, given) = channel(WAITING_MAX);
        let standing = Arc::new(Mutex::new(Standing::default()));
        let (leave, left) = crossbeam_channel::bounded::<()>(0);
        let desk = desk(settings, state, &environment, log);
        let thread =
            Thread { desk, given, standing: Arc::clone(&standing), log: log.clone(), clock: SystemClock::new() };
        std::thread::spawn(move || {
            let _closes_with_the_thread = leave;
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let text = format!("nobody can be told: this machine gives no event queue ({error})");
                    thread.log.tell(thread.clock.now(), Weight::Error, "notify", &text, &[]);
                    return;
                }
            };
            runtime.block_on(thread.work());
            // a lookup of a name that hangs is not waited for
            runtime.shutdown_background();
        });
        Self { orders, standing, left, sender: wiring::Sender::new(settings, &environment) }
    }

    fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// False if nothing can be given to the thread.
    fn give(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }
}

fn desk(settings: &Settings, state: &State, environment: &Environment, log: &Log) -> Desk {
    let (desk, notices) = wiring::desk(settings, state, environment);
    for notice in notices {
        log.tell(SystemClock::new().now(), Weight::Warning, "notify", &notice, &[]);
    }
    desk
}

struct Thread {
    desk: Desk,
    given: Receiver<Order>,
    standing: Arc<Mutex<Standing>>,
    log: Log,
    clock: SystemClock,
}

impl Thread {
    async fn work(mut self) {
        let mut events: Vec<Message> = Vec::new();
        let mut is_first = true;
        loop {
            let now = self.clock.now();
            let due = self.desk.next_due().map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
            // what the daemon before left is tried at once
            let rest = if is_first { Duration::ZERO } else { due.unwrap_or(LOOK_EVERY).min(LOOK_EVERY) };
            is_first = false;
            let first = tokio::time::timeout(rest, self.given.recv()).await.ok();
            let mut leaves = matches!(first, Some(None));
            let mut orders: Vec<Order> = first.flatten().into_iter().collect();
            while let Ok(order) = self.given.try_recv() {
                orders.push(order);
            }
            for order in orders {
                leaves |= self.obey(order, &mut events).await;
            }
            if leaves {
                let pass = self.desk.work(std::mem::take(&mut events), &self.clock, LAST_PASS).await;
                self.show(&pass);
                return;
            }
            if let Some(order) = self.pass(&mut events).await
                && self.obey(order, &mut events).await
            {
                let pass = self.desk.work(std::mem::take(&mut events), &self.clock, LAST_PASS).await;
                self.show(&pass);
                return;
            }
        }
    }

    /// Delivers. What comes meanwhile ends it early and is given back: an event is spooled before others are waited for.
    async fn pass(&mut self, events: &mut Vec<Message>) -> Option<Order> {
        let given = std::mem::take(events);
        let waiting = u64::try_from(self.desk.waiting() + given.len()).unwrap_or(u64::MAX);
        if !self.desk.is_empty() {
            self.standing.lock().unwrap_or_else(PoisonError::into_inner).spooled = waiting;
        }
        let heard = {
            let work = self.desk.work(given, &self.clock, PASS);
            tokio::pin!(work);
            let mut heard = Vec::new();
            let pass = loop {
                tokio::select! {
                    biased;
                    pass = &mut work => break Some(pass),
                    order = self.given.recv() => match order {
                        Some(Order::Tell(message)) => heard.push(*message),
                        // only to leave, or for another desk, is what is under way let go of
                        other => {
                            events.extend(heard);
                            return other.or(Some(Order::Leave));
                        }
                    },
                }
            };
            (pass, heard)
        };
        let (pass, heard) = heard;
        events.extend(heard);
        if let Some(pass) = pass {
            self.show(&pass);
        }
        None
    }

    /// True if the daemon leaves.
    async fn obey(&mut self, order: Order, events: &mut Vec<Message>) -> bool {
        match order {
            Order::Tell(message) => events.push(*message),
            Order::Began(job) => {
                let now = self.clock.now();
                for (channel, delivery) in self.desk.started(&job, now, START).await {
                    self.note(channel, &delivery);
                }
            }
            Order::Settle(desk) => self.desk = *desk,
            Order::Leave => return true,
        }
        false
    }

    fn note(&self, channel: &str, delivery: &Delivery) {
        let (weight, event, text) = match delivery {
            Delivery::Delivered { answer } => (Weight::Info, "notify-delivered", answer.clone()),
            Delivery::Later { why, .. } => (Weight::Warning, "notify-later", why.clone()),
            Delivery::Never { why } => (Weight::Error, "notify-never", why.clone()),
        };
        self.log.tell(self.clock.now(), weight, event, &text, &[("channel", json!(channel))]);
    }

    fn show(&self, pass: &Pass) {
        for (channel, delivery) in &pass.tried {
            self.note(channel, delivery);
        }
        for notice in &pass.notices {
            self.log.tell(self.clock.now(), Weight::Warning, "notify", notice, &[]);
        }
        let lost = self.desk.lost();
        let mut silent: Vec<SilentChannel> = Vec::new();
        for letter in self.desk.letters() {
            let Some(why) = &letter.last else { continue };
            match silent.iter_mut().find(|known| known.name == letter.channel) {
                Some(known) => known.why.clone_from(why),
                None => silent.push(SilentChannel { name: letter.channel.clone(), why: why.clone() }),
            }
        }
        let standing = Standing {
            spooled: u64::try_from(self.desk.waiting()).unwrap_or(u64::MAX),
            undelivered: lost.too_old + lost.too_many + lost.damaged + lost.refused,
            silent_channels: silent,
        };
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }
}

impl Owner {
    /// Logs it, and hands it to the notifiers.
    pub(super) fn tell(&mut self, tale: Tale) {
        let now = self.clock.now();
        tale.log(&self.log, now);
        if !tale.is_for_people() {
            return;
        }
        let message = tale.message(self.people.sender.message(crate::report::Kind::Test, now));
        if !self.people.give(Order::Tell(Box::new(message))) {
            self.log.tell(
                now,
                Weight::Error,
                "notify",
                "too many messages wait for the outbox: one was let go of",
                &[],
            );
        }
    }

    /// A run begins, for those who want to know even that.
    pub(super) fn announce_start(&mut self, job: &JobName) {
        self.people.give(Order::Began(job.clone()));
    }

    /// The configuration has changed.
    pub(super) fn take_notifiers(&mut self) {
        let environment = Environment::read();
        let desk = desk(&self.settings, &self.state, &environment, &self.log);
        self.people.sender = wiring::Sender::new(&self.settings, &environment);
        self.people.give(Order::Settle(Box::new(desk)));
    }

    /// What could not be delivered waits on disk for the next daemon.
    pub(super) fn leave_notifiers(&mut self) {
        self.people.give(Order::Leave);
        let _ = self.people.left.recv_timeout(LAST_PASS + Duration::from_millis(300));
    }

    pub(super) fn standing(&self) -> Standing {
        self.people.standing()
    }

    pub(super) fn instance(&self) -> String {
        self.people.sender.instance().to_owned()
    }
}
