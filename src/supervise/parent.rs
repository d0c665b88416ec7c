//! The parent's side: start the child, hear it, and know when it will say nothing any more.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use super::order::Order;
use super::pipe::{Answer, Message, Retention, Turn};
use crate::command::{HookRunner, Hooks};
use crate::domain::{Cancel, Clock, Outcome, RunId, Skips, Stop, StopReason, StoreId, Totals, Trouble, Verdict};
use crate::observe::{Event, Observer, Phase};
use crate::report::RunRecord;

/// How often the parent looks at the clock and at its own signals while the child is silent.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The child's last words are kept up to this; a panic's backtrace fits.
const STDERR_BYTES_MAX: u64 = 64 << 10;

/// A line is an outcome of a thousand skips at the most; what is longer is not ours.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Messages that wait for the parent; the child waits when they are more.
const MESSAGES_MAX: usize = 1024;

/// How the child is started and how long it may be silent.
#[derive(Clone, Debug)]
pub struct Child {
    /// This program's own file.
    pub program: PathBuf,
    /// The arguments that make it a run's child.
    pub arguments: Vec<OsString>,
    /// Silence for longer than this is failure. Longer than a server's reboot and its grace period.
    pub deadline: Duration,
    /// How long the child may take to clean up when it was asked to stop.
    pub grace: Duration,
    /// What is run around the run; none if there is nothing.
    pub hooks: Option<HookPlan>,
}

/// What is run around a run, and in which environment.
#[derive(Clone, Debug)]
pub struct HookPlan {
    /// What.
    pub hooks: Hooks,
    /// Of every hook, besides what it is told of the run.
    pub environment: BTreeMap<String, String>,
}

/// How a supervised run ended.
#[derive(Debug)]
pub struct Ended {
    /// What it did, by its own word or, where it has none, by what was seen.
    pub outcome: Outcome,
    /// Runs whose outcomes lie in the store now; this one's among them if its child could store it.
    pub recorded: Vec<RunId>,
    /// The store that was opened.
    pub store: Option<StoreId>,
    /// What came of retention, if it was due: by its word or, where it has none, by what was seen.
    pub retention: Option<Retention>,
    /// What became of its process.
    pub end: End,
}

/// What became of a run's process.
#[derive(Debug)]
pub enum End {
    /// It came to its own end and was waited for: it holds nothing any more.
    Clean,
    /// It was ended, and waited for: nothing of it can touch the store any more, and what it held there is over.
    Cut,
    /// It was killed and is still there: in state D, until the server answers. The channel closes when it is gone, and then
    /// what it held is over too.
    Left(Receiver<()>),
    /// There was none, or nobody has seen its end.
    Unseen,
}

/// Why a child was not heard to its end.
enum Unheard {
    /// It did not take its order.
    NoOrder(std::io::Error),
    /// Nothing moved for longer than the deadline.
    Silent,
    /// It did not end within the grace.
    Late(Stop),
}

enum Heard {
    Message(Message),
    Closed,
}

/// Runs `order` in a child and watches it to its end, or to its deadline.
pub fn supervise(child: &Child, order: &Order, clock: &dyn Clock, cancel: &Cancel, observer: &dyn Observer) -> Ended {
    let started = clock.now();
    let began = clock.since_start();
    let hooks = child.hooks.as_ref().map(|plan| {
        let about = (&order.job, &order.run, order.store.path.to_string_lossy().into_owned());
        HookRunner::new(&plan.hooks, child.program.clone(), &plan.environment, clock, about)
    });
    let mut watch = Watch {
        hooks,
        phase: Phase::Opening,
        store: None,
        recorded: Vec::new(),
        outcome: None,
        retention: None,
        end: End::Unseen,
    };
    let failure = watch.run(child, order, clock, cancel, observer).err();
    // whatever became of the child: what was begun is undone
    let undone = watch.hooks.as_mut().map(HookRunner::undo).unwrap_or_default();
    let mut outcome = watch.outcome.take().unwrap_or_else(|| {
        let died = || died("its process ended without telling how the run went", &[]);
        let took = clock.since_start().saturating_sub(began);
        untold(order, started, clock.now(), took, failure.unwrap_or_else(died))
    });
    // a run that lived on has told them itself
    for doubt in undone {
        if !outcome.doubts.contains(&doubt) {
            outcome.doubts.push(doubt);
        }
    }
    if let Some(hooks) = &mut watch.hooks {
        let record = RunRecord::from(&outcome);
        outcome.doubts.extend(hooks.ended(&record, cancel));
    }
    let Watch { recorded, store, retention, end, .. } = watch;
    Ended { outcome, recorded, store, retention, end }
}

/// A run that nobody watched to its end: its watcher was cut off from it.
pub fn cut_off(order: &Order, started: Timestamp, finished: Timestamp, why: &str) -> Ended {
    let took = Duration::try_from(finished.duration_since(started)).unwrap_or_default();
    let outcome = untold(order, started, finished, took, died(why, &[]));
    Ended { outcome, recorded: Vec::new(), store: None, retention: None, end: End::Unseen }
}

/// The outcome of a run that did not tell one.
fn untold(order: &Order, started: Timestamp, finished: Timestamp, took: Duration, failure: Failure) -> Outcome {
    Outcome {
        job: order.job.clone(),
        run: order.run.clone(),
        host: order.host.clone(),
        store: order.store.path.to_string_lossy().into_owned(),
        sources: order.sources.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
        started,
        finished,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        snapshot: None,
        record: None,
        totals: Totals::default(),
        skips: Skips::default(),
        doubts: Vec::new(),
        notices: Vec::new(),
        failure: Some(failure),
    }
}

struct Watch<'a> {
    hooks: Option<HookRunner<'a>>,
    phase: Phase,
    store: Option<StoreId>,
    recorded: Vec<RunId>,
    outcome: Option<Outcome>,
    retention: Option<Retention>,
    end: End,
}

type Failure = (StopReason, Trouble);

impl Watch<'_> {
    fn run(
        &mut self,
        child: &Child,
        order: &Order,
        clock: &dyn Clock,
        cancel: &Cancel,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        inherit_nothing();
        let spawned = Command::new(&child.program)
            .args(&child.arguments)
            // an order is all that a child is told: this process's environment may hold secrets
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = spawned.map_err(|error| died("its process could not be started", &[error.to_string()]))?;
        let pid = Pid::from_child(&process);
        let mut text = serde_json::to_vec(order).expect("an order is plain values");
        text.push(b'\n');
        let mut stdin = process.stdin.take().expect("it was piped");
        let told = stdin.write_all(&text);
        // a run that asks for nothing hears nothing more
        let mut answers = self.hooks.is_some().then_some(stdin);
        let stdout = process.stdout.take().expect("it was piped");
        let stderr = process.stderr.take().expect("it was piped");
        let heard = listen(stdout);
        let last_words = gather(stderr);
        let unheard = match told {
            Ok(()) => self.hear_out((pid, &heard, &mut answers), child, clock, cancel, observer).err(),
            Err(error) => Some(Unheard::NoOrder(error)),
        };
        if unheard.is_some() {
            // in state D it takes no signal, and is gone when the server answers
            let _ = kill_process(pid, Signal::KILL);
        }
        let status = self.reap(&mut process, clock);
        if matches!(self.end, End::Unseen) {
            self.end = End::Left(wait_for(process));
        }
        match unheard {
            // whatever came after its word, it stands
            cut if self.outcome.is_some() => {
                let why = match cut {
                    Some(Unheard::Silent) => format!("the store has not answered for {} s", child.deadline.as_secs()),
                    Some(Unheard::NoOrder(_) | Unheard::Late(_)) | None => format!("its process has ended ({status})"),
                };
                self.settle_retention(order, cancel, why);
                return Ok(());
            }
            Some(Unheard::NoOrder(error)) => {
                return Err(died("its process did not take its order", &[error.to_string()]));
            }
            Some(Unheard::Silent) => return Err(self.silent(child.deadline)),
            Some(Unheard::Late(stop)) => return Err(self.left_behind(stop, child.grace)),
            None => {}
        }
        let words = last_words.recv_timeout(LOOK_EVERY).unwrap_or_default();
        let tail: Vec<String> = words.lines().rev().take(5).map(str::to_owned).collect();
        let tail: Vec<String> = tail.into_iter().rev().collect();
        Err(match cancel.asked() {
            Some(stop) => self.cut_short(stop, &status),
            None => died(&format!("its process ended without telling how the run went ({status})"), &tail),
        })
    }

    /// What came of retention, where it was due and said nothing.
    fn settle_retention(&mut self, order: &Order, cancel: &Cancel, why: String) {
        let is_ok = self.outcome.as_ref().is_some_and(|outcome| outcome.verdict() == Verdict::Ok);
        if self.retention.is_some() || !is_ok || !order.retention.has_rules() {
            return;
        }
        let what = "retention did not come to its end".to_owned();
        let advice = "see what the store does; the next run tries again".to_owned();
        self.retention = Some(match cancel.asked() {
            Some(_) => Retention::Stopped,
            None => Retention::Undone { trouble: Trouble { what, causes: vec![why], advice } },
        });
    }

    /// Hears the child until it closes its output, and answers what it asks.
    fn hear_out(
        &mut self,
        (pid, heard, answers): (Pid, &Receiver<Heard>, &mut Option<ChildStdin>),
        child: &Child,
        clock: &dyn Clock,
        cancel: &Cancel,
        observer: &dyn Observer,
    ) -> Result<(), Unheard> {
        let mut moved = clock.since_start();
        let mut asked: Option<(Stop, Duration)> = None;
        loop {
            match heard.recv_timeout(LOOK_EVERY) {
                Ok(Heard::Message(Message::Ask { turn })) => {
                    let began = clock.since_start();
                    let answer = self.answer(turn, cancel);
                    let mut line = serde_json::to_vec(&answer).expect("an answer is plain values");
                    line.push(b'\n');
                    // a child that is gone is seen when its pipe closes
                    let _ = answers.as_mut().map(|answers| answers.write_all(&line));
                    // it has waited for us
                    moved = clock.since_start();
                    let waited = moved.saturating_sub(began);
                    asked = asked.map(|(stop, since)| (stop, since + waited));
                }
                Ok(Heard::Message(message)) => {
                    moved = clock.since_start();
                    self.hear(message, observer);
                }
                Ok(Heard::Closed) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = clock.since_start();
            if let (Some(stop), None) = (cancel.asked(), asked) {
                asked = Some((stop, now));
                let signal = if stop == Stop::Interrupted { Signal::INT } else { Signal::TERM };
                // a child that is already gone closes its pipe, which is seen above
                let _ = kill_process(pid, signal);
            }
            if let Some((stop, since)) = asked
                && now.saturating_sub(since) > child.grace
            {
                return Err(Unheard::Late(stop));
            }
            if now.saturating_sub(moved) > child.deadline {
                return Err(Unheard::Silent);
            }
        }
    }

    fn answer(&mut self, turn: Turn, cancel: &Cancel) -> Answer {
        let Some(hooks) = &mut self.hooks else { return Answer::default() };
        match turn {
            Turn::Before => Answer { refusal: hooks.before(cancel).err(), doubts: Vec::new() },
            Turn::Undo => Answer { refusal: None, doubts: hooks.undo() },
            Turn::Ended { record } => {
                // that is its word on the run, whatever becomes of it while the last hooks are at work
                let mut outcome = record.outcome();
                let doubts = hooks.ended(&record, cancel);
                outcome.doubts.extend(doubts.iter().cloned());
                self.outcome = Some(outcome);
                Answer { refusal: None, doubts }
            }
        }
    }

    /// Waits for a process that has closed its output or was killed, but not for ever: in state D it never ends.
    fn reap(&mut self, process: &mut std::process::Child, clock: &dyn Clock) -> String {
        let since = clock.since_start();
        let (_keep, never) = bounded::<()>(0);
        while clock.since_start().saturating_sub(since) < Duration::from_secs(2) {
            match process.try_wait() {
                Ok(Some(status)) => {
                    self.end = if status.success() { End::Clean } else { End::Cut };
                    return status.to_string();
                }
                Ok(None) => {
                    let _ = never.recv_timeout(Duration::from_millis(5));
                }
                Err(error) => return error.to_string(),
            }
        }
        "it is still there".to_owned()
    }

    fn hear(&mut self, message: Message, observer: &dyn Observer) {
        match message {
            Message::Store { id } => self.store = Some(id),
            Message::Started { snapshot } => observer.notice(&Event::Started { snapshot: &snapshot }),
            Message::Phase { phase } => {
                self.phase = phase;
                observer.notice(&Event::Entered { phase });
            }
            Message::Expected { entries, bytes } => observer.notice(&Event::Expected { entries, bytes }),
            Message::Progress { entries, bytes, stored } => {
                observer.notice(&Event::Advanced { entries, bytes, stored });
            }
            Message::Skipped(record) => {
                if let Some(skip) = record.to_skip() {
                    observer.notice(&Event::Skipped { skip: &skip });
                }
            }
            Message::Notice { text } => observer.notice(&Event::Notice { text: &text }),
            // where nothing is asked for there is nothing to answer
            Message::Ask { .. } => {}
            Message::Recorded { runs } => self.recorded.extend(runs),
            Message::Retention { came } => self.retention = Some(came),
            Message::Outcome { record } => self.outcome = Some(record.outcome()),
        }
    }

    /// Past the deadline.
    fn silent(&self, deadline: Duration) -> Failure {
        let secs = deadline.as_secs();
        let who = match self.phase {
            Phase::Surveying => "the source has",
            Phase::Storing => "the store (or the source) has",
            Phase::Opening
            | Phase::Commands
            | Phase::Flushing
            | Phase::ReadingBack
            | Phase::Publishing
            | Phase::Pruning
            | Phase::Restoring => "the store has",
        };
        let what = format!("{who} not answered for {secs} s while {}", self.phase.words());
        let advice = format!("check the server and the mount; {}; {}", self.published(), self.remains());
        let reason = if self.phase == Phase::Surveying { StopReason::Source } else { StopReason::StoreAbsent };
        (reason, Trouble { what, causes: Vec::new(), advice })
    }

    /// What is known of the snapshot when the child says no more.
    fn published(&self) -> &'static str {
        match self.phase {
            Phase::Publishing => "whether the snapshot was published is not known (`backup list` shows it if it was)",
            _ => "nothing was published",
        }
    }

    /// It ended when it was asked to, without another word: before it could hear the signal as one.
    fn cut_short(&self, stop: Stop, status: &str) -> Failure {
        let what = format!("the run was stopped while {} and told no more ({status})", self.phase.words());
        let advice = format!("{}; the next run cleans up what it left, if anything", self.published());
        (stop.into(), Trouble { what, causes: Vec::new(), advice })
    }

    fn left_behind(&self, stop: Stop, grace: Duration) -> Failure {
        let what =
            format!("the run was stopped while {} and did not end within {} s", self.phase.words(), grace.as_secs());
        let advice = format!("{}; {}", self.published(), self.remains());
        (stop.into(), Trouble { what, causes: Vec::new(), advice })
    }

    /// What becomes of what it held and left.
    fn remains(&self) -> &'static str {
        match self.end {
            End::Clean | End::Cut => {
                "its process was ended; the daemon's next run, or any after `lease_term`, takes over what it left"
            }
            End::Left(_) | End::Unseen => {
                "this run's process was left behind and ends when the server answers; until then \
                 the daemon starts nothing in this store; other programs' runs take its lease over once it has been silent \
                 for `lease_term` (`backup unlock` shows it)"
            }
        }
    }
}

/// Waits in a thread for a process that was killed, however long that takes: nobody else would, and it would stay a zombie.
fn wait_for(mut process: std::process::Child) -> Receiver<()> {
    let (gone, is_gone) = bounded(0);
    std::thread::spawn(move || {
        let _closes_with_the_thread = gone;
        let _ = process.wait();
    });
    is_gone
}

fn died(what: &str, causes: &[String]) -> Failure {
    let advice = "this is a defect or the machine's doing (out of memory?): see the log and the kernel's; \
                  `backup list` shows what is there; the daemon's next run, or any after `lease_term`, cleans up"
        .to_owned();
    let trouble = Trouble { what: format!("the run failed: {what}"), causes: causes.to_vec(), advice };
    (StopReason::Program, trouble)
}

/// Hears the child's lines in a thread of its own, which ends with the pipe; a child that never ends keeps it, and
/// nobody waits for it.
fn listen(stdout: ChildStdout) -> Receiver<Heard> {
    let (tell, heard) = bounded(MESSAGES_MAX);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout);
        loop {
            let mut line = Vec::new();
            match lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            // what is not a message was printed by something that should not print; the run's word is the outcome
            if let Ok(message) = serde_json::from_slice(&line)
                && tell.send(Heard::Message(message)).is_err()
            {
                return;
            }
        }
        let _ = tell.send(Heard::Closed);
    });
    heard
}

fn gather(stderr: ChildStderr) -> Receiver<String> {
    let (tell, words) = bounded(1);
    std::thread::spawn(move || {
        let mut stderr = stderr;
        let mut text = Vec::new();
        let _ = stderr.by_ref().take(STDERR_BYTES_MAX).read_to_end(&mut text);
        // the rest is read and dropped, so that the child is never stuck on it
        let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        let _ = tell.send(String::from_utf8_lossy(&text).into_owned());
    });
    words
}

/// Marks every descriptor above the standard ones as not to be inherited. Ours are so marked from birth; a shell or a
/// build server may have left others open, and a child that hangs with one of them would hang its owner.
pub fn inherit_nothing() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in numbers {
        set_close_on_exec(fd);
    }
}

#[expect(unsafe_code, reason = "a descriptor that another program left open has no owner in this one")]
fn set_close_on_exec(fd: i32) {
    // SAFETY: the borrow ends with the call, and the call neither closes nor reads; a number that names nothing any
    // more gives EBADF, which is as good.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    let _ = rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC);
}

#[cfg(test)]
mod tests;
