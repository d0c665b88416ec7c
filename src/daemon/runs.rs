//! Runs and verifications: each a child process, watched by a thread of its own that reports by message.
//!
//! A thread ends with its run. A panic in it is a run that failed, not a run that is at work for ever.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use super::news::{News, Proof};
use super::watched;
use crate::config::{JobSettings, StoreSettings, VerifySettings};
use crate::domain::{Cancel, Clock, JobName, Level, SnapshotName, SystemClock};
use crate::observe::{Event, Observer, Phase};
use crate::supervise::{Child, Order, cut_off, supervise};
use crate::wiring::{CHILD_VERB, hooks_of};

/// How long a run may take to clean up when it was asked to stop. With what comes after it is less than the ten seconds
/// in which a daemon should be gone.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(6);

/// Of a verification's answer; a line for a snapshot, with a thousand damages at the most.
const PROOF_BYTES_MAX: u64 = 64 << 20;

/// Damages that are told.
const DAMAGES_TOLD: usize = 20;

/// A run at work.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) store: String,
    pub(super) started: Timestamp,
    pub(super) phase: &'static str,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) cancel: Cancel,
    /// How long hooks may take when it was asked to stop.
    pub(super) hooks_limit: Duration,
}

/// Starts a run. Its end comes as [`News::Ended`], always.
pub(super) fn start_run(program: PathBuf, order: Order, job: &JobSettings, cancel: Cancel, tell: Sender<News>) {
    let (deadline, hooks) = (job.progress_timeout, hooks_of(job));
    let child = Child { program, arguments: vec![OsString::from(CHILD_VERB)], deadline, grace: STOP_WITHIN, hooks };
    std::thread::spawn(move || {
        let clock = SystemClock::new();
        let began = clock.now();
        let observer = Teller { job: order.job.clone(), tell: tell.clone(), sums: Mutex::default() };
        let watched = catch_unwind(AssertUnwindSafe(|| supervise(&child, &order, &clock, &cancel, &observer)));
        let ended = watched.unwrap_or_else(|_| cut_off(&order, began, clock.now(), "its watcher panicked"));
        let _ = tell.send(News::Ended { job: order.job.clone(), ended: Box::new(ended) });
    });
}

#[derive(Default)]
struct Sums {
    phase: Option<Phase>,
    entries: u64,
    bytes: u64,
}

/// Tells the loop how far a run is.
struct Teller {
    job: JobName,
    tell: Sender<News>,
    sums: Mutex<Sums>,
}

impl Observer for Teller {
    fn notice(&self, event: &Event<'_>) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Entered { phase } => sums.phase = Some(*phase),
            Event::Advanced { entries, bytes, .. } => {
                sums.entries += entries;
                sums.bytes += bytes.0;
            }
            Event::Started { .. } | Event::Expected { .. } | Event::Skipped { .. } | Event::Notice { .. } => return,
        }
        let phase = sums.phase.unwrap_or(Phase::Opening).words();
        // a full inbox loses it; the next one says the same and more
        let news = News::Progress { job: self.job.clone(), phase, entries: sums.entries, bytes: sums.bytes };
        let _ = self.tell.try_send(news);
    }
}

/// A verification at work.
#[derive(Clone, Debug)]
pub(super) struct Proving {
    child: Arc<Mutex<Option<Pid>>>,
}

impl Proving {
    /// Ends it: it holds no lease and writes nothing but what it has proven.
    pub(super) fn stop(&self, signal: Signal) {
        if let Some(pid) = *self.child.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Starts a verification. Its end comes as [`News::Proven`], always.
pub(super) fn start_proof(
    program: &Path,
    job: &JobSettings,
    store: &StoreSettings,
    verify: &VerifySettings,
    snapshot: SnapshotName,
    state_dir: &Path,
    tell: Sender<News>,
) -> Proving {
    let mut arguments: Vec<OsString> = vec!["verify".into(), snapshot.as_str().into(), "--json".into()];
    arguments.extend(["--job".into(), job.name.as_str().into(), "--store".into(), store.path.clone().into()]);
    arguments.extend(["--require-mount".into(), store.require_mount.flag().into()]);
    arguments.extend(["--state-dir".into(), state_dir.into()]);
    match verify.level {
        Level::Quick => arguments.push("--quick".into()),
        Level::Stored => {}
        Level::Deep => arguments.push("--deep".into()),
        Level::Drill => arguments.push("--drill".into()),
    }
    if let Some(sample) = verify.sample {
        arguments.extend(["--sample".into(), sample.to_string().into()]);
    }
    let timeout = format!("{}s", job.progress_timeout.as_secs());
    arguments.extend(["--store-timeout".into(), timeout.into()]);
    let child = Arc::new(Mutex::new(None));
    let proving = Proving { child: Arc::clone(&child) };
    let (program, job) = (program.to_owned(), job.name.clone());
    std::thread::spawn(move || {
        let proved = catch_unwind(AssertUnwindSafe(|| prove(&program, &arguments, &child)));
        *child.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let proof = proved.unwrap_or_else(|_| Proof::Failed("its watcher panicked".to_owned()));
        let _ = tell.send(News::Proven { job, snapshot, proof });
    });
    proving
}

fn prove(program: &Path, arguments: &[OsString], child: &Mutex<Option<Pid>>) -> Proof {
    use std::io::Read;
    let mut process = match watched::start(program, arguments) {
        Ok(process) => process,
        Err(error) => return Proof::Failed(format!("its process could not be started: {error}")),
    };
    *child.lock().unwrap_or_else(PoisonError::into_inner) = Some(Pid::from_child(&process));
    drop(process.stdin.take());
    let stderr = process.stderr.take().map(|stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let mut stderr = stderr;
            let _ = stderr.by_ref().take(16 << 10).read_to_end(&mut text);
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let mut out = Vec::new();
    if let Some(stdout) = process.stdout.take() {
        let _ = stdout.take(PROOF_BYTES_MAX).read_to_end(&mut out);
    }
    let status = process.wait();
    let said = stderr.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let mut lines =
        out.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let report = lines.rfind(|line| line["type"] == "verified");
    match (status.map(|status| status.code()), report) {
        (Ok(Some(0)), Some(report)) if report["well"] == true => Proof::Well(SystemClock::new().now()),
        (Ok(Some(4)), Some(report)) if report["well"] == false => {
            let empty = Vec::new();
            let damages = report["damages"].as_array().unwrap_or(&empty).iter().take(DAMAGES_TOLD);
            let words = damages.map(|damage| {
                let text = |key: &str| damage[key].as_str().unwrap_or_default().to_owned();
                format!("{}: {}", text("file"), text("what"))
            });
            Proof::Damaged(words.collect(), report["damages_count"].as_u64().unwrap_or(1))
        }
        (status, _) => {
            let code = status.ok().flatten().map_or_else(|| "a signal".to_owned(), |code| format!("status {code}"));
            Proof::Failed(format!("it ended with {code}: {}", said.trim()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use super::{Proof, prove};

    fn said(script: &str) -> Proof {
        prove(Path::new("/bin/sh"), &["-c".into(), script.into()], &Mutex::default())
    }

    #[test]
    fn only_a_report_that_fits_its_exit_code_proves_anything() {
        let well = r#"{"type":"verified","well":true,"damages":[]}"#;
        let harmed = r#"{"type":"verified","well":false,"damages_count":3,"damages":[{"file":"a.tar","what":"rot"}]}"#;
        assert!(matches!(said(&format!("echo noise; echo '{well}'")), Proof::Well(_)));
        let Proof::Damaged(words, 3) = said(&format!("echo '{harmed}'; exit 4")) else { panic!("it is damaged") };
        assert_eq!(words, ["a.tar: rot"]);
        for script in [
            "exit 0".to_owned(),
            "exit 4".to_owned(),
            format!("echo '{well}'; exit 1"),
            format!("echo '{well}'; exit 4"),
            format!("echo '{harmed}'"),
            format!("echo '{well}'; kill -9 $$"),
        ] {
            assert!(matches!(said(&script), Proof::Failed(_)), "{script}");
        }
        let Proof::Failed(why) = said("echo 'the store is gone' >&2; exit 6") else { panic!("it failed") };
        assert!(why.contains("status 6") && why.contains("the store is gone"), "{why}");
    }
}
