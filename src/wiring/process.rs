//! What a process that runs all day owes the machine: its signals, and the duties of the first process.
//!
//! The danger as process 1 (a container without an init): the kernel delivers it only signals that it handles, and every
//! orphan becomes its child and stays a zombie until it is waited for. Waiting for all children would steal the statuses
//! of our own runs from those who wait for them. So process 1 is a small init that starts this program once more, hands
//! on every signal, waits for everything, and ends as its one child of its own ended.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::process::{Pid, Signal, WaitOptions, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::domain::Stop;

/// What the world asks of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// SIGTERM or SIGINT.
    Stop(Stop),
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Hears signals in a thread of its own and hands them on. The second SIGTERM or SIGINT ends the process at once.
pub fn hear_calls(hand_on: impl Fn(Call) + Send + 'static) {
    for signal in [SIGINT, SIGTERM] {
        let asked = Arc::new(AtomicBool::new(false));
        // in this order: the first signal meets a flag that is down, and raises it
        let ended = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked));
        ended.and_then(|_| signal_hook::flag::register(signal, asked)).expect("SIGINT and SIGTERM can be handled");
    }
    let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]);
    let mut signals = signals.expect("SIGINT, SIGTERM and SIGHUP can be handled");
    std::thread::spawn(move || {
        for signal in signals.forever() {
            hand_on(match signal {
                SIGHUP => Call::Reload,
                SIGINT => Call::Stop(Stop::Interrupted),
                _ => Call::Stop(Stop::Terminated),
            });
        }
    });
}

/// The hidden word before a verb that makes its process end with the one that started it, whose number follows.
pub const OF_VERB: &str = "__of";

/// Asks the kernel to end this process when the one that started it ends. False if that one, `parent`, has ended already:
/// then nobody waits for this one.
///
/// By SIGUSR1, which ends whoever does not handle it: the kernel sends it again for each thread of a dying parent that
/// inherits this process for a moment, and a second SIGTERM would end a command before it has cleaned up.
pub fn end_with(parent: u32) -> bool {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::USR1));
    // in this order: whoever ends after the look is heard of by the signal
    rustix::process::getppid().is_some_and(|now| u32::try_from(now.as_raw_nonzero().get()) == Ok(parent))
}

/// Lets the kernel write no core files of this process: they would hold its secrets.
pub fn leave_no_core() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
}

/// Whether the kernel started this process first in its (container's) world.
pub fn is_first_process() -> bool {
    std::process::id() == 1
}

/// The first process.
#[derive(Debug)]
pub struct Init;

impl Init {
    /// Starts `command`, hands on every signal, reaps whoever ends, and gives the child's exit code: 128 and the signal's
    /// number if one ended it.
    ///
    /// # Errors
    /// If it cannot be started, or signals cannot be heard.
    pub fn run(command: &mut Command) -> std::io::Result<u8> {
        // before the child is there, so that no signal is lost
        let handed_on = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD];
        let mut signals = signal_hook::iterator::Signals::new(handed_on)?;
        let child = Pid::from_child(&command.spawn()?);
        loop {
            // whoever ended before the handler stood is found by the first look
            while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                if pid == child {
                    let signalled = status.terminating_signal().map(|signal| 128 + signal);
                    let code = status.exit_status().or(signalled).unwrap_or(1);
                    return Ok(u8::try_from(code).unwrap_or(1));
                }
            }
            for signal in signals.wait() {
                if signal != SIGCHLD
                    && let Some(signal) = Signal::from_named_raw(signal)
                {
                    // a child that is gone is seen above
                    let _ = kill_process(child, signal);
                }
            }
        }
    }
}
