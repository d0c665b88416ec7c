//! The owner's side: start a guardian, hear the command's output, and end it when it has to end.
//!
//! One thread decides: the caller's. Three others read (output, last words, the guardian's line) and hand on, and each ends
//! with its pipe. While the caller is busy with what it heard, the command waits at its full pipe; memory is a few pieces.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::{Deserialize, Serialize};

use super::error::{CommandError, Ending};
use super::guardian::{GUARD_VERB, Order, Report, TERM_GRACE};
use super::said::LastWords;
use crate::domain::{Cancel, Clock, Secret};

/// How often the clock and the token are looked at while nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often the guardian hears that its owner is alive.
const SIGN_EVERY: Duration = Duration::from_secs(1);

/// How much longer than anything may be silent the guardian waits for such a sign: its owner may be busy with the store.
const PATIENCE_MORE: Duration = Duration::from_secs(60);

/// How long something else may hold the output of a command that has ended. That it writes meanwhile makes it no longer.
const HELD_OPEN_MAX: Duration = Duration::from_secs(5);

/// What an ended command can have left unread: a pipe as large as it could make it, and what waits here. All of that is
/// taken, however long a slow store takes for it.
const LEFT_BYTES_MAX: usize = (1 << 20) + (PIECES_MAX + 2) * PIECE_BYTES;

/// How long last words are waited for.
const WORDS_WITHIN: Duration = Duration::from_millis(200);

/// A pipe holds no more.
const PIECE_BYTES: usize = 64 << 10;

/// Pieces that wait for the caller.
const PIECES_MAX: usize = 4;

/// The file of a variable is a password, not a disk.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The program and its arguments. Not empty.
    pub argv: Vec<String>,
    /// How long it may be at work; none: as long as it is not silent for too long.
    pub deadline: Option<Duration>,
    /// Its environment besides the base.
    pub environment: BTreeMap<String, String>,
    /// Variables whose values stand in files, which are read when it is started. A line feed at the end is no part of them.
    pub environment_files: BTreeMap<String, PathBuf>,
}

/// What becomes of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The caller hears it.
    Heard,
    /// It is kept with standard error, as last words.
    LastWords,
}

/// What a caller hears.
#[derive(Debug)]
pub enum Heard<'a> {
    /// The next bytes of the output.
    Output(&'a [u8]),
    /// Nothing, for a moment: the command is at work. Comes ten times a second.
    Nothing,
}

/// The circumstances in which commands are started.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// This program's own file.
    pub guard: &'a Path,
    /// The environment of every command.
    pub base: &'a BTreeMap<String, String>,
    /// How long a command without a deadline may give nothing.
    pub silence: Duration,
    /// The time.
    pub clock: &'a dyn Clock,
    /// The token that ends it.
    pub cancel: &'a Cancel,
}

impl std::fmt::Debug for Launch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Launch({})", self.guard.display())
    }
}

enum News {
    Output(Vec<u8>),
    OutputEnded,
    WordsEnded,
    Report(Report),
    GuardianGone,
}

impl Launch<'_> {
    /// Runs `spec` to its end, with `more` in its environment, which wins over everything. `hear` hears the output; an
    /// error that it gives ends the command and comes back.
    ///
    /// When this returns, nothing of the command's process group is left, unless the command ended by itself.
    ///
    /// # Errors
    /// What `hear` gave. How the command fared is the value.
    pub fn run<E>(
        &self,
        spec: &Spec,
        more: &BTreeMap<String, String>,
        output: Output,
        hear: &mut dyn FnMut(Heard<'_>) -> Result<(), E>,
    ) -> Result<Result<(), CommandError>, E> {
        let secrets = match read_secrets(spec) {
            Ok(secrets) => secrets,
            Err(error) => return Ok(Err(error)),
        };
        let mut environment: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let plain = self.base.iter().chain(&spec.environment);
        environment.extend(plain.map(|(name, value)| (name.clone(), value.clone().into_bytes())));
        environment.extend(secrets.clone());
        environment.extend(more.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())));
        let order = Order {
            argv: spec.argv.clone(),
            environment: environment.into_iter().collect(),
            patience: self.silence + PATIENCE_MORE,
        };
        let mut watched = match Watched::start(self.guard, &order, output) {
            Ok(watched) => watched,
            Err(error) => return Ok(Err(CommandError::Lost { why: error.to_string() })),
        };
        watched.secrets = secrets.values().map(|value| Secret::new(&String::from_utf8_lossy(value))).collect();
        watched.watch(self, spec, hear)
    }
}

fn read_secrets(spec: &Spec) -> Result<BTreeMap<String, Vec<u8>>, CommandError> {
    let read = |path: &Path| {
        let mut value = Vec::new();
        std::fs::File::open(path)?.take(SECRET_BYTES_MAX).read_to_end(&mut value)?;
        if value.last() == Some(&b'\n') {
            value.pop();
        }
        Ok(value)
    };
    let of = |(name, path): (&String, &PathBuf)| match read(path) {
        Ok(value) => Ok((name.clone(), value)),
        Err(source) => Err(CommandError::Secret { name: name.clone(), path: path.clone(), source }),
    };
    spec.environment_files.iter().map(of).collect()
}

/// A guardian at work.
struct Watched {
    guardian: Child,
    line: UnixStream,
    news: Receiver<News>,
    words: Arc<Mutex<LastWords>>,
    secrets: Vec<Secret>,
    is_output_heard: bool,
}

impl Watched {
    fn start(guard: &Path, order: &Order, output: Output) -> std::io::Result<Self> {
        let (mut line, theirs) = UnixStream::pair()?;
        let (words_out, words_in) = std::io::pipe()?;
        let (stdout, out) = match output {
            Output::Heard => {
                let (out, into) = std::io::pipe()?;
                (into, Some(out))
            }
            Output::LastWords => (words_in.try_clone()?, None),
        };
        let guardian = Command::new(guard)
            .arg(GUARD_VERB)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(stdout)
            .stderr(words_in)
            // what it is asked to end is all of this group, and nobody else's
            .process_group(0)
            .spawn()?;
        let (tell, news) = bounded(PIECES_MAX);
        let words = Arc::new(Mutex::new(LastWords::default()));
        if let Some(out) = out {
            hear_output(out, tell.clone());
        }
        hear_words(words_out, Arc::clone(&words), tell.clone());
        hear_guardian(line.try_clone()?, tell);
        let mut text = serde_json::to_vec(order).expect("an order is plain values");
        text.push(b'\n');
        // one that is gone already is seen when its line closes
        let _ = line.write_all(&text);
        line.set_write_timeout(Some(SIGN_EVERY))?;
        Ok(Self { guardian, line, news, words, secrets: Vec::new(), is_output_heard: output == Output::Heard })
    }

    fn said(&self) -> String {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).told(&self.secrets)
    }

    fn watch<E>(
        mut self,
        launch: &Launch<'_>,
        spec: &Spec,
        hear: &mut dyn FnMut(Heard<'_>) -> Result<(), E>,
    ) -> Result<Result<(), CommandError>, E> {
        let began = launch.clock.since_start();
        let (mut moved, mut signed) = (began, began);
        let mut ended: Option<(Ending, Duration)> = None;
        // since then: how long nothing was there to be taken, and how much was
        let (mut waited, mut left) = (Duration::ZERO, 0);
        let (mut has_output_ended, mut have_words_ended) = (!self.is_output_heard, false);
        let failure = loop {
            let asked = launch.clock.since_start();
            let news = self.news.recv_timeout(LOOK_EVERY);
            if ended.is_some() {
                waited += launch.clock.since_start().saturating_sub(asked);
            }
            let heard = match news {
                Ok(News::Output(bytes)) => {
                    moved = launch.clock.since_start();
                    left += if ended.is_some() { bytes.len() } else { 0 };
                    hear(Heard::Output(&bytes))
                }
                Ok(News::OutputEnded) => {
                    has_output_ended = true;
                    Ok(())
                }
                Ok(News::WordsEnded) => {
                    have_words_ended = true;
                    Ok(())
                }
                Ok(News::Report(Report::NotStarted { why })) => {
                    self.reap(launch.clock);
                    let program = spec.argv.first().cloned().unwrap_or_default();
                    return Ok(Err(CommandError::NotStarted { program, why }));
                }
                Ok(News::Report(Report::Ended { ending })) => {
                    ended = Some((ending, launch.clock.since_start()));
                    Ok(())
                }
                Ok(News::GuardianGone) if ended.is_none() => {
                    break CommandError::Lost { why: "it ended without a word".to_owned() };
                }
                Ok(News::GuardianGone) => Ok(()),
                Err(RecvTimeoutError::Timeout) => hear(Heard::Nothing),
                // every pipe is closed, and each said so before
                Err(RecvTimeoutError::Disconnected) if ended.is_some() => Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    break CommandError::Lost { why: "its line closed".to_owned() };
                }
            };
            if let Err(error) = heard {
                self.stop(launch.clock);
                return Err(error);
            }
            let now = launch.clock.since_start();
            if now.saturating_sub(signed) >= SIGN_EVERY {
                signed = now;
                let _ = self.line.write_all(b".");
            }
            if let Some((ending, at)) = ended {
                let since = now.saturating_sub(at);
                if has_output_ended && (have_words_ended || since >= WORDS_WITHIN) {
                    self.reap(launch.clock);
                    return Ok(self.judge(ending));
                }
                if waited >= HELD_OPEN_MAX || (since >= HELD_OPEN_MAX && left > LEFT_BYTES_MAX) {
                    // a status other than 0 says more
                    break match self.judge(ending) {
                        Ok(()) => CommandError::HeldOpen { said: self.said() },
                        Err(error) => error,
                    };
                }
                // it kept to its deadline; a service that a hook left is nobody's to end
                if has_output_ended || launch.cancel.asked().is_none() {
                    continue;
                }
            }
            if launch.cancel.asked().is_some() {
                break CommandError::Stopped;
            }
            match spec.deadline {
                Some(deadline) if now.saturating_sub(began) >= deadline => {
                    self.stop(launch.clock);
                    return Ok(Err(CommandError::Deadline { deadline, said: self.said() }));
                }
                None if now.saturating_sub(moved) >= launch.silence => {
                    self.stop(launch.clock);
                    return Ok(Err(CommandError::Silent { silence: launch.silence, said: self.said() }));
                }
                _ => {}
            }
        };
        self.stop(launch.clock);
        Ok(Err(failure))
    }

    fn judge(&self, ending: Ending) -> Result<(), CommandError> {
        match ending {
            Ending::Status(0) => Ok(()),
            Ending::Status(status) => Err(CommandError::Status { status, said: self.said() }),
            Ending::Signal(signal) => Err(CommandError::Signal { signal, said: self.said() }),
        }
    }

    /// Ends the group: the guardian asks it to and kills what is left; whatever became of the guardian, it is killed here.
    fn stop(&mut self, clock: &dyn Clock) {
        let _ = self.line.shutdown(Shutdown::Both);
        self.is_over_within(TERM_GRACE + Duration::from_secs(1), clock);
        // it has not been waited for: its number, which is the group's, is nobody else's
        let _ = kill_process_group(Pid::from_child(&self.guardian), Signal::KILL);
        self.reap(clock);
    }

    /// Waits for a guardian that has nothing left to do.
    fn reap(&mut self, clock: &dyn Clock) {
        if self.is_over_within(Duration::from_secs(1), clock) {
            let _ = self.guardian.wait();
        }
    }

    /// Whether the guardian ends in time. It stays a zombie.
    fn is_over_within(&mut self, limit: Duration, clock: &dyn Clock) -> bool {
        let since = clock.since_start();
        let looks = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            if !matches!(waitid(WaitId::Pid(Pid::from_child(&self.guardian)), looks), Ok(None)) {
                return true;
            }
            if clock.since_start().saturating_sub(since) >= limit {
                return false;
            }
            // its pipes are emptied meanwhile, so that it can end in its own way; when all are closed this is a pause
            if let Err(RecvTimeoutError::Disconnected) = self.news.recv_timeout(Duration::from_millis(10)) {
                let (_keep, never) = bounded::<()>(0);
                let _ = never.recv_timeout(Duration::from_millis(10));
            }
        }
    }
}

fn hear_output(mut out: PipeReader, tell: Sender<News>) {
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match out.read(&mut piece) {
                Ok(0) => break,
                Ok(len) => {
                    if tell.send(News::Output(piece[..len].to_vec())).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = tell.send(News::OutputEnded);
    });
}

fn hear_words(mut out: PipeReader, words: Arc<Mutex<LastWords>>, tell: Sender<News>) {
    std::thread::spawn(move || {
        let mut piece = vec![0; 4 << 10];
        loop {
            match out.read(&mut piece) {
                Ok(0) => break,
                Ok(len) => words.lock().unwrap_or_else(PoisonError::into_inner).hear(&piece[..len]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = tell.send(News::WordsEnded);
    });
}

fn hear_guardian(line: UnixStream, tell: Sender<News>) {
    std::thread::spawn(move || {
        for text in BufReader::new(line).lines().map_while(Result::ok) {
            let Ok(report) = serde_json::from_str(&text) else { continue };
            if tell.send(News::Report(report)).is_err() {
                return;
            }
        }
        let _ = tell.send(News::GuardianGone);
    });
}
