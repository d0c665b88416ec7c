//! A child of this program whose answer is waited for only so long.
//!
//! Everything that touches a store and is no run goes through here: a call to a dead server never returns, and the kernel
//! does not always let go of who made it. So the one who waits has a deadline. When it passes the child is killed, and
//! left behind with the thread that reads from it; that thread says when the child is really gone, so that whoever asks
//! can have a bound on how many are left.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::supervise::inherit_nothing;

/// Of what a child says on standard error, so much is kept.
pub const STDERR_BYTES_MAX: usize = 16 << 10;

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// The verb and its arguments; no secret ever.
    pub arguments: Vec<OsString>,
    /// For its standard input.
    pub input: Vec<u8>,
    /// A longer answer is none.
    pub answer_bytes_max: u64,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: Vec<u8>,
    /// What it said on standard error.
    pub err: String,
}

/// No answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// It could not be started, or said too much.
    Failed(String),
    /// The deadline has passed. The channel closes when the child is gone.
    Silent(Receiver<()>),
}

/// The first arguments of a child that is to end when this process does, whatever ends it: nobody hears it any more, and
/// the next daemon would start another beside it.
pub fn ends_with_us() -> Vec<OsString> {
    vec![crate::wiring::OF_VERB.into(), crate::wiring::pid().to_string().into()]
}

/// Starts this program with `arguments`, nothing of this process's environment, and its three pipes.
///
/// # Errors
/// If it cannot be started.
pub fn start(program: &Path, arguments: &[OsString]) -> std::io::Result<Child> {
    inherit_nothing();
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Asks, and waits for an answer until `deadline`.
///
/// # Errors
/// [`NoAnswer`].
pub fn ask(program: &Path, question: Question, deadline: Duration) -> Result<Answer, NoAnswer> {
    let failed = |error: std::io::Error| NoAnswer::Failed(format!("its process could not be started: {error}"));
    let mut child = start(program, &question.arguments).map_err(failed)?;
    let pid = rustix::process::Pid::from_child(&child);
    let (tell, told) = bounded::<Result<Answer, String>>(1);
    let (gone, is_gone) = bounded::<()>(0);
    std::thread::spawn(move || {
        let _closes_with_the_thread = gone;
        let stdin = child.stdin.take();
        if let Some(mut stdin) = stdin {
            // a child that does not want it says so by its answer
            let _ = stdin.write_all(&question.input);
        }
        let stderr = child.stderr.take().map(|stderr| {
            std::thread::spawn(move || {
                let (mut stderr, mut text) = (stderr, Vec::new());
                let _ = stderr.by_ref().take(STDERR_BYTES_MAX as u64).read_to_end(&mut text);
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let mut out = Vec::new();
        let read = match child.stdout.take() {
            Some(stdout) => stdout.take(question.answer_bytes_max + 1).read_to_end(&mut out),
            None => Ok(0),
        };
        let is_too_long = out.len() as u64 > question.answer_bytes_max;
        if is_too_long || read.is_err() {
            let _ = child.kill();
        }
        let status = child.wait();
        let err = stderr.and_then(|thread| thread.join().ok()).unwrap_or_default();
        let _ = tell.send(match (status, read) {
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
            (Ok(_), _) if is_too_long => Err(format!("it said more than {} bytes", question.answer_bytes_max)),
            (Ok(status), Ok(_)) => Ok(Answer { code: status.code(), out, err }),
        });
    });
    match told.recv_timeout(deadline) {
        Ok(answer) => answer.map_err(NoAnswer::Failed),
        Err(RecvTimeoutError::Timeout) => {
            // in state D it takes no signal, and is gone when the server answers
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            Err(NoAnswer::Silent(is_gone))
        }
        Err(RecvTimeoutError::Disconnected) => Err(NoAnswer::Failed("its reader ended".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{NoAnswer, Question, ask};

    fn shell(script: &str, deadline: Duration) -> Result<super::Answer, NoAnswer> {
        let arguments = vec!["-c".into(), script.into()];
        let question = Question { arguments, input: b"word".to_vec(), answer_bytes_max: 100 };
        ask(Path::new("/bin/sh"), question, deadline)
    }

    #[test]
    fn an_answer_comes_with_its_code_and_knows_nothing_of_our_environment() {
        let answer = shell("cat; env; echo oh >&2; exit 3", Duration::from_secs(60)).expect("an answer");
        assert_eq!((answer.code, answer.err.as_str()), (Some(3), "oh\n"));
        let out = String::from_utf8(answer.out).expect("text");
        assert!(out.starts_with("word") && !out.contains("CARGO") && !out.contains("HOME"), "{out}");
    }

    #[test]
    fn who_is_silent_is_left_at_the_deadline_and_it_is_told_when_it_is_gone() {
        let Err(NoAnswer::Silent(gone)) = shell("exec sleep 1000", Duration::from_millis(50)) else {
            panic!("it was to be silent");
        };
        assert!(gone.recv_timeout(Duration::from_secs(60)).is_err());
        assert!(gone.is_empty() && gone.recv().is_err(), "closed, not only late");
    }

    #[test]
    fn who_says_too_much_is_ended() {
        let Err(NoAnswer::Failed(why)) = shell("yes", Duration::from_secs(60)) else { panic!("it was to fail") };
        assert!(why.contains("more than 100 bytes"), "{why}");
    }
}
