//! Between the loop and the notifiers: a thread that tells people, so that the loop never waits for a network.
//!
//! What it is given goes into the outbox before anything is sent, and at once, whoever is being waited for: so it survives
//! this process. It delivers what is due, for as long as a slow receiver may take. Only to leave, or for another
//! configuration, does it let go of what is under way (the outbox still has it): then it spools what it was given last,
//! and gives delivery one more moment. That a run begins is told beside all that.
//!
//! What is lost when the process dies between the loop's word and the outbox is in the log and in the run's record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};

use super::log::{Log, Weight};
use super::owner::Owner;
use super::telling;
use crate::config::Settings;
use crate::domain::{Clock, JobName, SystemClock, Trouble};
use crate::notify::{Beginnings, Delivery, Desk, Pass};
use crate::page::SilentChannel;
use crate::report::{Kind, Message, Subject};
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
        let starts = Starts { who: desk.beginnings(), ..Starts::default() };
        let thread = Thread {
            desk,
            given,
            starts,
            standing: Arc::clone(&standing),
            log: log.clone(),
            clock: SystemClock::new(),
        };
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
    desk.that_stays()
}

/// What follows from an order; of several the last in this list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Done,
    /// Another desk, which has not looked into the outbox yet.
    Anew,
    Leave,
}

/// Pings of runs that begin, under way.
#[derive(Default)]
struct Starts {
    who: Beginnings,
    tasks: JoinSet<Vec<(&'static str, Delivery)>>,
    of: BTreeMap<JobName, AbortHandle>,
}

impl Starts {
    fn begin(&mut self, job: JobName, now: Timestamp) {
        let (who, of) = (self.who.clone(), job.clone());
        let task = self.tasks.spawn(async move { who.tell(&of, now, START).await });
        self.of.insert(job, task);
    }

    /// A word on this job comes: that it began must not arrive after it.
    fn overtaken_by(&mut self, message: &Message) {
        if let Some(task) = message.job.as_ref().and_then(|job| self.of.remove(job)) {
            task.abort();
        }
    }

    /// The next that is answered; never, while none is under way.
    async fn next(&mut self) -> Vec<(&'static str, Delivery)> {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(answers)) => return answers,
                // overtaken, or a ping that panicked
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

struct Thread {
    desk: Desk,
    given: Receiver<Order>,
    starts: Starts,
    standing: Arc<Mutex<Standing>>,
    log: Log,
    clock: SystemClock,
}

impl Thread {
    async fn work(mut self) {
        let mut events: Vec<Message> = Vec::new();
        let mut is_new = true;
        loop {
            let now = self.clock.now();
            let due = self.desk.next_due().map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
            // what the desk before left is tried at once
            let waits = is_new || !events.is_empty();
            let rest = if waits { Duration::ZERO } else { due.unwrap_or(LOOK_EVERY).min(LOOK_EVERY) };
            is_new = false;
            let first = tokio::select! {
                biased;
                order = self.given.recv() => Some(order),
                answers = self.starts.next() => {
                    self.note_all(&answers);
                    is_new = waits;
                    continue;
                }
                () = tokio::time::sleep(rest) => None,
            };
            let mut end = if matches!(first, Some(None)) { End::Leave } else { End::Done };
            let mut orders: Vec<Order> = first.flatten().into_iter().collect();
            while let Ok(order) = self.given.try_recv() {
                orders.push(order);
            }
            for order in orders {
                end = end.max(self.obey(order, &mut events));
            }
            if end != End::Leave {
                end = match self.pass(&mut events).await {
                    Some(order) => self.obey(order, &mut events),
                    None => End::Done,
                };
            }
            match end {
                End::Done => {}
                End::Anew => is_new = true,
                End::Leave => {
                    let pass = self.desk.work(std::mem::take(&mut events), &self.clock, LAST_PASS).await;
                    self.show(&pass);
                    return;
                }
            }
        }
    }

    /// Delivers. What is told meanwhile is spooled at once, or left in `events`; what has to end this pass is given back.
    async fn pass(&mut self, events: &mut Vec<Message>) -> Option<Order> {
        let given = std::mem::take(events);
        let waiting = u64::try_from(self.desk.waiting() + given.len()).unwrap_or(u64::MAX);
        if !self.desk.is_empty() {
            self.standing.lock().unwrap_or_else(PoisonError::into_inner).spooled = waiting;
        }
        let (tell, mut heard) = unbounded_channel();
        given.into_iter().for_each(|message| drop(tell.send(message)));
        let mut answered = Vec::new();
        let (pass, order) = {
            let work = self.desk.work_and_hear(&mut heard, &self.clock, PASS);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    biased;
                    pass = &mut work => break (Some(pass), None),
                    answers = self.starts.next() => answered.extend(answers),
                    order = self.given.recv() => match order {
                        Some(Order::Tell(message)) => {
                            self.starts.overtaken_by(&message);
                            let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
                            standing.spooled = standing.spooled.saturating_add(1);
                            // the other end lives as long as this pass
                            let _ = tell.send(*message);
                        }
                        Some(Order::Began(job)) => self.starts.begin(job, self.clock.now()),
                        // only to leave, or for another desk, is what is under way let go of
                        Some(order @ (Order::Settle(_) | Order::Leave)) => break (None, Some(order)),
                        None => break (None, Some(Order::Leave)),
                    },
                }
            }
        };
        self.note_all(&answered);
        events.extend(std::iter::from_fn(|| heard.try_recv().ok()));
        if let Some(pass) = pass {
            self.show(&pass);
        }
        order
    }

    fn obey(&mut self, order: Order, events: &mut Vec<Message>) -> End {
        match order {
            Order::Tell(message) => {
                self.starts.overtaken_by(&message);
                events.push(*message);
            }
            Order::Began(job) => self.starts.begin(job, self.clock.now()),
            Order::Settle(desk) => {
                self.starts.who = desk.beginnings();
                self.desk.give_way_to(*desk, self.clock.now());
                return End::Anew;
            }
            Order::Leave => return End::Leave,
        }
        End::Done
    }

    fn note_all(&self, answers: &[(&'static str, Delivery)]) {
        for (channel, delivery) in answers {
            self.note(channel, delivery);
        }
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
    pub(super) fn tell(&mut self, message: Message) {
        telling::log_message(&message, &self.log);
        if telling::is_for_people(&message) {
            self.hand_over(message);
        }
    }

    /// From this daemon and of now; about nothing yet.
    pub(super) fn message(&self, kind: Kind) -> Message {
        self.people.sender.message(kind, self.clock.now())
    }

    /// Trouble that is no run's.
    pub(super) fn trouble(&self, subject: Subject, trouble: Trouble) -> Message {
        Message { trouble: Some(trouble), subject: Some(subject), ..self.message(Kind::Trouble) }
    }

    fn hand_over(&mut self, message: Message) {
        if !self.people.give(Order::Tell(Box::new(message))) {
            self.say(Weight::Error, "notify", "too many messages wait for the outbox: one was let go of", &[]);
        }
    }

    /// Trouble of this subject is over, if there was any: only whoever was told of it hears that.
    pub(super) fn tell_well(&mut self, job: Option<&JobName>, store: Option<&str>, subject: Subject) {
        let store = store.map(str::to_owned);
        let message = Message { job: job.cloned(), store, subject: Some(subject), ..self.message(Kind::Recovered) };
        self.hand_over(message);
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc::{Sender, channel};

    use super::{Arc, Clock, Desk, Log, Message, Mutex, Order, Standing, Starts, SystemClock, Thread};
    use crate::daemon::LogFormat;
    use crate::domain::{Host, Secret};
    use crate::notify::http::{Address, Http, HttpOptions};
    use crate::notify::{Channel, Listener, Ping, Rules, Webhook};
    use crate::report::Kind;

    /// Far less than a receiver is waited for.
    const SOON: Duration = Duration::from_secs(15);

    async fn receiver() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        (listener, url)
    }

    fn webhook(url: &str) -> Listener {
        let address = Address::parse(url, false).expect("an address");
        Listener { channel: Channel::Webhook(Webhook { address, secret: None }), rules: Rules::everything() }
    }

    fn thread(folder: &Path, listeners: Vec<Listener>) -> (Thread, Sender<Order>) {
        let http = Http::new(&HttpOptions::new("backup/test")).expect("a client");
        let desk = Desk::new(folder.to_owned(), http, listeners);
        let (orders, given) = channel(8);
        let starts = Starts { who: desk.beginnings(), ..Starts::default() };
        let log = Log::new(LogFormat::Json, std::io::sink());
        let standing = Arc::new(Mutex::new(Standing::default()));
        (Thread { desk, given, starts, standing, log, clock: SystemClock::new() }, orders)
    }

    fn tell(number: u8) -> Order {
        let (id, now) = (format!("{number:032x}"), SystemClock::new().now());
        let bare = Message::bare(id, Kind::Failed, now, "web1", &Host("web1".to_owned()), "backup 0");
        Order::Tell(Box::new(Message { job: "upload".parse().ok(), in_a_row: 1, ..bare }))
    }

    async fn letters(folder: &Path, count: usize) {
        let wait = async {
            loop {
                let files = std::fs::read_dir(folder.join("outbox")).into_iter().flatten().flatten();
                if files.filter(|file| file.path().extension().is_some_and(|end| end == "json")).count() == count {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("there were never {count} letters"));
    }

    async fn called(listener: &TcpListener) -> TcpStream {
        let (stream, _) = tokio::time::timeout(SOON, listener.accept()).await.expect("a call").expect("a connection");
        stream
    }

    #[tokio::test]
    async fn what_is_told_while_a_receiver_hangs_lies_on_disk_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (listener, url) = receiver().await;
        let (thread, orders) = thread(folder.path(), vec![webhook(&url)]);
        let thread = tokio::spawn(thread.work());
        orders.send(tell(1)).await.expect("taken");
        let hangs = called(&listener).await;
        orders.send(tell(2)).await.expect("taken");
        letters(folder.path(), 2).await;
        drop(hangs);
        thread.abort();
    }

    /// A daemon that was stopped within half a second of a failed run, while `backup run` told somebody, told nobody.
    #[tokio::test]
    async fn what_was_told_while_another_process_delivers_is_not_lost_when_the_daemon_stops() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_listener, url) = receiver().await;
        let (thread, orders) = thread(folder.path(), vec![webhook(&url)]);
        std::fs::create_dir(folder.path().join("outbox")).expect("a folder");
        let lock = std::fs::File::create(folder.path().join("outbox/lock")).expect("a file");
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("ours");
        let standing = Arc::clone(&thread.standing);
        let thread = tokio::spawn(thread.work());
        orders.send(tell(1)).await.expect("taken");
        let is_begun = async {
            while standing.lock().expect("no panic").spooled == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, is_begun).await.expect("it begins to deliver");
        orders.send(Order::Leave).await.expect("taken");
        tokio::time::timeout(SOON, thread).await.expect("it leaves").expect("no panic");
        letters(folder.path(), 1).await;
    }

    #[tokio::test]
    async fn a_run_that_begins_does_not_cut_off_a_delivery() {
        let folder = tempfile::tempdir().expect("a folder");
        let ((listener, url), (check, ping)) = (receiver().await, receiver().await);
        let ping = Ping::new(Secret::new(&ping), false).expect("an address");
        let rules = Rules { jobs: Some(["other".parse().expect("a job")].into()), ..Rules::everything() };
        let ping = Listener { channel: Channel::Ping(ping), rules };
        let (thread, orders) = thread(folder.path(), vec![webhook(&url), ping]);
        let thread = tokio::spawn(thread.work());
        orders.send(tell(1)).await.expect("taken");
        let mut stream = called(&listener).await;
        orders.send(Order::Began("other".parse().expect("a job"))).await.expect("taken");
        let _begins = called(&check).await;
        let _ = stream.read(&mut [0; 1 << 16]).await.expect("a request");
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.expect("heard");
        letters(folder.path(), 0).await;
        thread.abort();
    }
}
