//! The guardian: this program once more, first of a process group in which one command runs.
//!
//! Its standard input is one end of a socket. The order comes on it as one line, reports go back on it, and whoever
//! started the guardian says now and then that it is alive. When that end closes (it was told to stop, or its owner died
//! in whatever way) or is silent for too long, the guardian asks the group to end, waits a moment for all that came of the
//! command, and kills what is left, itself included. A command that ends by itself ends the guardian as well, and what it
//! left running is not touched: it may be a service that it was to start.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpgrp, getpid, kill_process_group, set_child_subreaper};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::error::Ending;
use crate::domain::{Clock, SystemClock};

/// The hidden verb that makes this program a guardian.
pub const GUARD_VERB: &str = "__command";

/// How long what was asked to end may take.
pub(super) const TERM_GRACE: Duration = Duration::from_secs(3);

/// An argument vector and an environment; the kernel takes no more.
const ORDER_BYTES_MAX: u64 = 8 << 20;

/// What a guardian is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) argv: Vec<String>,
    /// All of it; values are any bytes.
    pub(super) environment: Vec<(String, Vec<u8>)>,
    /// Silence of its owner for longer than this is death.
    pub(super) patience: Duration,
}

/// What it tells, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Report {
    NotStarted { why: String },
    Ended { ending: Ending },
}

enum News {
    /// A process that came of the command has ended.
    Ended(Pid, WaitStatus),
    /// None is left.
    AllGone,
    /// The command is to end.
    Stop,
}

/// Runs and watches the command that comes from standard input. Gives back false if there was no order.
pub fn guard() -> bool {
    // the whole group is killed in the end: it must be our own
    if getpgrp() != getpid() {
        return false;
    }
    let Ok(mut line) = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else { return false };
    let Ok(owner) = line.try_clone() else { return false };
    let mut owner = BufReader::new(owner);
    let mut text = Vec::new();
    let read = owner.by_ref().take(ORDER_BYTES_MAX).read_until(b'\n', &mut text);
    let Some(order) = read.ok().and_then(|_| serde_json::from_slice::<Order>(&text).ok()) else { return false };
    // the group's SIGTERM comes here too, and this process has to outlive it
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    // what the command leaves behind becomes ours, so that its end can be waited for
    let _ = set_child_subreaper(Some(getpid()));
    let spawned = match order.argv.split_first() {
        Some((program, arguments)) => {
            let environment = order.environment.iter();
            Command::new(program)
                .args(arguments)
                .env_clear()
                .envs(environment.map(|(name, value)| (name, std::ffi::OsStr::from_bytes(value))))
                .stdin(Stdio::null())
                .spawn()
        }
        None => Err(std::io::ErrorKind::InvalidInput.into()),
    };
    let child = match spawned {
        Ok(child) => Pid::from_child(&child),
        Err(error) => {
            tell(&mut line, &Report::NotStarted { why: error.to_string() });
            return true;
        }
    };
    let (news, heard) = unbounded();
    wait_for_all(news.clone());
    listen(owner, order.patience, news);
    watch(child, &heard, &mut line);
    true
}

fn watch(child: Pid, heard: &Receiver<News>, line: &mut UnixStream) {
    loop {
        match heard.recv() {
            Ok(News::Ended(pid, status)) if pid == child => return tell_end(line, status),
            Ok(News::Ended(..)) => {}
            Ok(News::Stop) => break,
            Ok(News::AllGone) | Err(_) => return,
        }
    }
    let clock = SystemClock::new();
    let _ = kill_process_group(getpgrp(), Signal::TERM);
    loop {
        match heard.recv_timeout(TERM_GRACE.saturating_sub(clock.since_start())) {
            Ok(News::Ended(pid, status)) if pid == child => tell_end(line, status),
            Ok(News::Ended(..) | News::Stop) => {}
            Ok(News::AllGone) => return,
            Err(_) => break,
        }
    }
    let _ = kill_process_group(getpgrp(), Signal::KILL);
}

/// Hears of every end in a thread of its own.
fn wait_for_all(news: Sender<News>) {
    std::thread::spawn(move || {
        loop {
            let told = match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => news.send(News::Ended(pid, status)),
                Ok(None) | Err(Errno::INTR) => Ok(()),
                Err(_) => {
                    let _ = news.send(News::AllGone);
                    return;
                }
            };
            if told.is_err() {
                return;
            }
        }
    });
}

/// Hears the owner's signs of life in a thread of its own, and their end.
fn listen(owner: BufReader<UnixStream>, patience: Duration, news: Sender<News>) {
    std::thread::spawn(move || {
        let mut owner = owner;
        let mut signs = [0; 64];
        // where it cannot be bounded, the owner's end is still heard
        let _ = owner.get_ref().set_read_timeout(Some(patience));
        loop {
            match owner.read(&mut signs) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = news.send(News::Stop);
    });
}

fn tell_end(line: &mut UnixStream, status: WaitStatus) {
    let ending = match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Ending::Status(status),
        (None, signal) => Ending::Signal(signal.unwrap_or_default()),
    };
    tell(line, &Report::Ended { ending });
}

fn tell(line: &mut UnixStream, report: &Report) {
    let mut text = serde_json::to_vec(report).expect("a report is plain values");
    text.push(b'\n');
    // an owner that is gone needs no report
    let _ = line.write_all(&text);
}
