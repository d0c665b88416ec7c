//! Generated stories of one trouble each: runs fail, are missed and recover, people close, decline, move and delete
//! tickets, the program is restarted with and without its memory, and any request may go wrong in any way.
//!
//! After every attempt there is at most one open ticket, no ticket was made beside an open one, and no message stands in
//! a ticket twice. In the end every message is delivered. Time is a number here: nothing sleeps, but for the client's
//! own deadline where a server says nothing.

#![expect(clippy::disallowed_methods, reason = "a seed may be handed in, to repeat what failed")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup::domain::{Host, RunId, SkipCause, StopReason, Totals, Trouble, Verdict};
use backup::notify::Delivery;
use backup::notify::http::{Http, HttpOptions};
use backup::notify::jira::{Jira, JiraMemory, Settings};
use backup::report::{Kind, Message, RunRecord, SkipRecord};
use jiff::Timestamp;

use crate::receiver::jira::{Flavour, Site};
use crate::receiver::{Fault, Receiver};

/// Names that are markup in one or the other.
pub const HOSTILE: [&str; 14] = [
    "{noformat}*bold*{noformat}",
    "!http://evil.test/x.png!",
    "[~everybody] [click|http://evil.test]",
    "<script>alert(1)</script> &lt;b&gt; &#42;",
    "back\\slash\\\\ \\* \\{",
    "h1. heading",
    "* item -- # one || two |",
    "{color:red}red{color} {panel}",
    "(x) (!) :) ;) :D :P ??cite?? ^up^ ~down~ +in+ -out- _it_",
    "{\"type\":\"doc\",\"version\":1}",
    "@here <!channel> <@U123>",
    "bq. quotation",
    "\u{1f4a3} naïve 日本",
    "----",
];

/// The seed, unless `TICKETS_SEED` says otherwise.
const SEED: u64 = 20_261_121;

/// So many attempts empty any queue, when nothing goes wrong any more.
const ATTEMPTS_MAX: usize = 200;

pub fn start() -> Timestamp {
    "2026-11-21T02:00:00Z".parse().expect("a time")
}

pub fn message(kind: Kind, id: &str, at: Timestamp) -> Message {
    let trouble = Trouble {
        what: "could not store volume 1".into(),
        causes: vec!["no room left".into()],
        advice: "free some room".into(),
    };
    Message {
        job: "upload".parse().ok(),
        store: Some("nas".into()),
        next_run: Some(at),
        in_a_row: 2,
        held_back: 1,
        build_url: Some("https://ci.test/job/backup/7/".into()),
        trouble: (kind != Kind::Recovered).then_some(trouble),
        ..Message::bare(id.to_owned(), kind, at, "web1", &Host("web1".into()), "backup 0.1.0")
    }
}

/// The message with a run that skipped these.
pub fn with_names(mut message: Message, names: &[&str]) -> Message {
    let skip = |name: &&str| SkipRecord {
        path: Some((*name).to_owned()),
        path_hex: None,
        cause: SkipCause::Unreadable,
        why: "Permission denied".into(),
    };
    message.outcome = Some(Box::new(RunRecord {
        kind: "run".into(),
        format: 1,
        verdict: Verdict::Partial,
        job: "upload".parse().expect("a job"),
        run: RunId::from_random([3; 16]),
        host: Host("web1".into()),
        store: "/mnt/backup".into(),
        sources: vec!["/var/www/upload".into()],
        started: message.at,
        finished: message.at,
        took_ms: 60_000,
        snapshot: None,
        record: None,
        totals: Totals::default(),
        skipped: names.len() as u64,
        skips: names.iter().map(skip).collect(),
        doubts: names.iter().take(2).map(|name| (*name).to_owned()).collect(),
        notices: Vec::new(),
        reason: Some(StopReason::Store),
        failure: None,
    }));
    message
}

/// Numbers that are the same each time (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..count`.
    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// What all stories together did.
#[derive(Default, Debug)]
struct Sums {
    requests: usize,
    faults: usize,
    attempts: usize,
    messages: usize,
    created: usize,
    commented: usize,
    reopened: usize,
    closed: usize,
    crashes: usize,
    lost_memories: usize,
    duplicates: usize,
}

struct Story {
    name: String,
    dice: Dice,
    receiver: Receiver,
    patient: Jira,
    hasty: Jira,
    memory: JiraMemory,
    disk: Arc<Mutex<JiraMemory>>,
    queue: VecDeque<Message>,
    now: Timestamp,
    messages: u64,
}

/// Runs `count` stories, one after another, and says what they did.
pub async fn run(count: usize, http: Http) {
    let seed = std::env::var("TICKETS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    let short = HttpOptions { total_timeout: Duration::from_millis(60), ..HttpOptions::new("backup/test") };
    let hasty = Http::new(&short).expect("a client");
    let mut sums = Sums::default();
    for number in 0..count {
        let mut story = Story::new(seed, number, &http, &hasty).await;
        story.tell(&mut sums).await;
        let counts = story.receiver.with(|world| {
            sums.requests += world.asked.len();
            world.jira.counts.clone()
        });
        sums.created += story.receiver.with(|world| world.jira.issues.len());
        sums.commented += counts.get("comment").copied().unwrap_or(0);
    }
    println!("{count} scenarios, seed {seed}: {sums:?}");
    assert!(sums.created > count / 2 && sums.reopened > 0 && sums.closed > 0 && sums.crashes > 0, "{sums:?}");
    assert_eq!(sums.duplicates, 0);
}

impl Story {
    async fn new(seed: u64, number: usize, patient: &Http, hasty: &Http) -> Self {
        let mut dice = Dice(seed ^ (number as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
        let real = if number.is_multiple_of(2) { Flavour::Cloud } else { Flavour::Center };
        let site = Site {
            lag: Duration::from_secs(dice.pick(&[0, 5, 60, 480])),
            has_labels: !dice.percent(20),
            has_priority: !dice.percent(20),
            can_reopen: !dice.percent(15),
            close_asks: dice.percent(15),
            sets_resolution: !dice.percent(20),
            page: dice.pick(&[1, 2, 15]),
            ..Site::new(real)
        };
        let name = format!("scenario {number} of seed {seed}: {real:?} lag {:?}", site.lag);
        let receiver = Receiver::start(site, start()).await;
        let mut settings: Settings = crate::settings(&receiver.url, real);
        settings.resolve = dice.percent(60);
        Self {
            name,
            patient: Jira::new(patient.clone(), settings.clone()),
            hasty: Jira::new(hasty.clone(), settings),
            dice,
            receiver,
            memory: JiraMemory::default(),
            disk: Arc::default(),
            queue: VecDeque::new(),
            now: start(),
            messages: 0,
        }
    }

    async fn tell(&mut self, sums: &mut Sums) {
        for _ in 0..4 + self.dice.below(9) {
            self.event(sums);
            let pause = self.dice.pick(&[1, 60, 3600, 6 * 3600, 24 * 3600, 8 * 24 * 3600]);
            self.pass(Duration::from_secs(pause));
            for _ in 0..self.dice.below(6) {
                if !self.queue.is_empty() {
                    let faults = self.faults();
                    self.attempt(faults, sums).await;
                }
            }
        }
        let mut left = ATTEMPTS_MAX;
        while !self.queue.is_empty() {
            self.attempt(Vec::new(), sums).await;
            left -= 1;
            assert!(left > 0, "{}: {} messages are never delivered", self.name, self.queue.len());
        }
        sums.messages += self.messages as usize;
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.checked_add(time).expect("a time");
    }

    /// What happened, for whoever must find out why it failed.
    fn note(&mut self, what: &str) {
        self.name.push_str(&format!("\n  {} {what}", self.now));
    }

    fn push(&mut self, kind: Kind) {
        self.messages += 1;
        let id = format!("{:016x}{:016x}", self.dice.next(), self.messages);
        let name = self.dice.pick(&HOSTILE);
        self.queue.push_back(with_names(message(kind, &id, self.now), &[name]));
    }

    fn event(&mut self, sums: &mut Sums) {
        let now = self.now;
        let dice = self.dice.below(100);
        self.note(&format!("event {dice}"));
        match dice {
            0..40 => self.push(Kind::Failed),
            40..50 => self.push(Kind::Missed),
            50..72 => self.push(Kind::Recovered),
            72..79 => self.memory = self.disk.lock().expect("no panic").clone(),
            79..86 => {
                sums.lost_memories += 1;
                self.memory = JiraMemory::begun(now);
                *self.disk.lock().expect("no panic") = self.memory.clone();
            }
            86..92 => self.receiver.with(|world| world.jira.close_all("Fertig", now)),
            92..94 => self.receiver.with(|world| world.jira.close_all("Won't Do", now)),
            94..97 => self.receiver.with(|world| world.jira.move_all()),
            _ => self.receiver.with(|world| world.jira.delete_all()),
        }
    }

    /// For the requests of one attempt.
    fn faults(&mut self) -> Vec<Option<Fault>> {
        let worse = self.dice.pick(&[0, 10, 30, 60]);
        (0..8).map(|_| self.dice.percent(worse).then(|| self.fault())).collect()
    }

    fn fault(&mut self) -> Fault {
        match self.dice.below(20) {
            0..3 => Fault::Reset,
            3..7 => Fault::DoneThenReset,
            7..9 => Fault::DoneThen(self.dice.pick(&[500, 502, 504])),
            9..11 => Fault::Refuse(self.dice.pick(&[401, 403, 404, 500, 503])),
            11..13 => Fault::Limit("Retry-After", self.dice.below(300).to_string()),
            13 => Fault::Redirect,
            14 => Fault::Page,
            15 => Fault::DoneThenSilent,
            _ => Fault::DoneThenClientDies,
        }
    }

    /// One attempt at the first message.
    async fn attempt(&mut self, faults: Vec<Option<Fault>>, sums: &mut Sums) {
        let message = self.queue.front().expect("a message").clone();
        let jira =
            if faults.contains(&Some(Fault::DoneThenSilent)) { self.hasty.clone() } else { self.patient.clone() };
        let planned = faults.clone();
        self.receiver.with(|world| {
            world.now = self.now;
            world.faults = faults.into();
        });
        let disk = Arc::clone(&self.disk);
        let keep = move |memory: &JiraMemory| *disk.lock().expect("no panic") = memory.clone();
        let delivery = tokio::select! {
            delivery = jira.deliver(&message, &mut self.memory, &keep, self.now) => Some(delivery),
            () = self.receiver.client_dies() => None,
        };
        sums.attempts += 1;
        let left = self.receiver.with(|world| std::mem::take(&mut world.faults).len());
        let met: Vec<Option<Fault>> = planned[..planned.len() - left].to_vec();
        sums.faults += met.iter().flatten().count();
        self.note(&format!("{:?} {} met {met:?}: {delivery:?}", message.kind, &message.id[..4]));
        match &delivery {
            // only what lies on the disk is left
            None => {
                sums.crashes += 1;
                self.memory = self.disk.lock().expect("no panic").clone();
            }
            Some(Delivery::Delivered { .. }) => drop(self.queue.pop_front()),
            Some(Delivery::Later { wait, .. }) => {
                let least = Duration::from_secs(1 + self.dice.below(60) as u64);
                self.pass(wait.known().unwrap_or_default().max(least));
            }
            Some(Delivery::Never { why }) => panic!("{}: {why}", self.name),
        }
        self.check(&message, delivery.as_ref(), sums);
    }

    fn check(&self, message: &Message, delivery: Option<&Delivery>, sums: &mut Sums) {
        let name = &self.name;
        self.receiver.with(|world| {
            let site = &mut world.jira;
            sums.duplicates += site.duplicates.len();
            assert!(site.duplicates.is_empty(), "{name}: {:?}", site.duplicates);
            assert!(site.problems.is_empty(), "{name}: {:?}", site.problems);
            assert!(site.open().len() <= 1, "{name}: {:?}", site.open());
            for issue in &site.issues {
                assert!(issue.count_of(&message.id) <= 1, "{name}: {} stands twice in {}", message.id, issue.key);
            }
            let Some(Delivery::Delivered { answer }) = delivery else { return };
            let is_there = site.issues.iter().any(|issue| !issue.is_deleted && issue.count_of(&message.id) == 1);
            let words = answer.split(' ').nth(1).unwrap_or_default();
            match words {
                "created" | "commented" | "reopened" => {
                    assert_eq!((site.open().len(), is_there), (1, true), "{name}: {answer}");
                    sums.reopened += usize::from(words == "reopened");
                }
                "closed" => {
                    assert_eq!((site.open().len(), is_there), (0, true), "{name}: {answer}");
                    sums.closed += 1;
                }
                "told" => assert!(is_there, "{name}: {answer}"),
                _ => {}
            }
        });
    }
}
