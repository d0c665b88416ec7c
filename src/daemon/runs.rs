//! Runs and verifications: each a child process, watched by a thread of its own that reports by message.
//!
//! A thread ends with its run. A panic in it is a run that failed, not a run that is at work for ever.

use std::ffi::OsString;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::news::{News, Proof};
use super::watched::{self, STDERR_BYTES_MAX};
use crate::config::{JobSettings, StoreSettings, VerifySettings};
use crate::domain::{Cancel, Clock, JobName, Level, SnapshotName, SystemClock};
use crate::observe::{Event, Observer, Phase};
use crate::supervise::{Child, End, Order, cut_off, supervise};
use crate::wiring::{CHILD_VERB, hooks_of};

/// How long a run may take to clean up when it was asked to stop. With what comes after it is less than the ten seconds
/// in which a daemon should be gone.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(6);

/// Of a verification's answer; a line for a snapshot, with a thousand damages at the most.
const PROOF_BYTES_MAX: u64 = 64 << 20;

/// Damages that are told.
const DAMAGES_TOLD: usize = 20;

/// What a verification says on standard error are its last words: that its store does not answer (it looks at that
/// itself), or why it failed. Then it ends, unless the kernel keeps it.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// How long the kernel may take to end what was killed.
const KILLED_WITHIN: Duration = Duration::from_secs(2);

/// Of a damaged file so many other snapshots that hold it are named.
const SHARED_TOLD: usize = 3;

/// A run at work.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) store: String,
    /// The store's folder.
    pub(super) path: PathBuf,
    pub(super) started: Timestamp,
    pub(super) phase: &'static str,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) cancel: Cancel,
    /// How long hooks may take when it was asked to stop.
    pub(super) hooks_limit: Duration,
}

/// A run or a verification whose process was left behind: it hangs in its store, and nothing else is to hang beside it.
#[derive(Debug)]
pub(super) struct Left {
    /// `run` or `verification`.
    pub(super) deed: &'static str,
    pub(super) job: JobName,
    /// The store's folder: its name may be another one's by now.
    pub(super) path: PathBuf,
    pub(super) since: Timestamp,
}

/// Starts a run. Its end comes as [`News::Ended`], always; the end of a process that was left behind as
/// [`News::RunGone`], if it ever comes.
pub(super) fn start_run(program: PathBuf, order: Order, job: &JobSettings, cancel: Cancel, tell: Sender<News>) {
    let (deadline, hooks) = (job.progress_timeout, hooks_of(job));
    let child = Child { program, arguments: vec![OsString::from(CHILD_VERB)], deadline, grace: STOP_WITHIN, hooks };
    std::thread::spawn(move || {
        let clock = SystemClock::new();
        let began = clock.now();
        let observer = Teller { job: order.job.clone(), tell: tell.clone(), sums: Mutex::default() };
        let watched = catch_unwind(AssertUnwindSafe(|| supervise(&child, &order, &clock, &cancel, &observer)));
        let ended = watched.unwrap_or_else(|_| cut_off(&order, began, clock.now(), "its watcher panicked"));
        let left = if let End::Left(gone) = &ended.end { Some(gone.clone()) } else { None };
        let _ = tell.send(News::Ended { job: order.job.clone(), ended: Box::new(ended) });
        if let Some(gone) = left {
            // closed when it is gone; nothing is ever said by it
            let _ = gone.recv();
            let _ = tell.send(News::RunGone { job: order.job, run: order.run });
        }
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
        if let Event::Notice { text } = event {
            // not lost for a full inbox: what it says may be said nowhere else
            let _ = self.tell.send(News::Notice { job: self.job.clone(), text: (*text).to_owned() });
            return;
        }
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
#[derive(Clone, Debug, Default)]
pub(super) struct Proving(Arc<Mutex<ProofChild>>);

/// Its process.
#[derive(Debug, Default)]
struct ProofChild {
    /// Until it is about to be waited for: after that its number may be another's.
    pid: Option<Pid>,
    is_asked_to_stop: bool,
}

impl Proving {
    /// Ends it: it holds no lease and writes nothing but what it has proven. One that has not begun does not begin.
    pub(super) fn stop(&self, signal: Signal) {
        let mut child = self.child();
        child.is_asked_to_stop = true;
        if let Some(pid) = child.pid {
            let _ = kill_process(pid, signal);
        }
    }

    fn child(&self) -> MutexGuard<'_, ProofChild> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a verification. Its end comes as [`News::Proven`], always; the end of a process that was left behind as
/// [`News::ProofGone`], if it ever comes.
pub(super) fn start_proof(
    program: &Path,
    job: &JobSettings,
    store: &StoreSettings,
    verify: &VerifySettings,
    snapshot: SnapshotName,
    state_dir: &Path,
    tell: Sender<News>,
) -> Proving {
    let arguments = proof_arguments(job, store, verify, &snapshot, state_dir);
    let proving = Proving::default();
    let (program, job, ours) = (program.to_owned(), job.name.clone(), proving.clone());
    std::thread::spawn(move || {
        let proved = catch_unwind(AssertUnwindSafe(|| prove(&program, &arguments, &ours, GONE_WITHIN)));
        let proof = proved.unwrap_or_else(|_| {
            ours.child().pid = None;
            Proof::Failed("its watcher panicked".to_owned())
        });
        let left = if let Proof::Left(_, gone) = &proof { Some(gone.clone()) } else { None };
        let _ = tell.send(News::Proven { job: job.clone(), snapshot: snapshot.clone(), proof });
        if let Some(gone) = left {
            // closed when it is gone; nothing is ever said by it
            let _ = gone.recv();
            let _ = tell.send(News::ProofGone { job, snapshot });
        }
    });
    proving
}

/// The command line of a verification.
fn proof_arguments(
    job: &JobSettings,
    store: &StoreSettings,
    verify: &VerifySettings,
    snapshot: &SnapshotName,
    state_dir: &Path,
) -> Vec<OsString> {
    let mut arguments = watched::ends_with_us();
    arguments.extend(["verify".into(), snapshot.as_str().into(), "--json".into()]);
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
    if let Some(scratch) = &verify.scratch {
        arguments.extend(["--scratch".into(), scratch.into()]);
    }
    let timeout = format!("{}s", job.progress_timeout.as_secs());
    arguments.extend(["--store-timeout".into(), timeout.into()]);
    arguments
}

/// Does it, and waits for its end; `gone_within` is for a process that has said its last words.
fn prove(program: &Path, arguments: &[OsString], proving: &Proving, gone_within: Duration) -> Proof {
    let mut child = proving.child();
    if child.is_asked_to_stop {
        return Proof::Failed("it was asked to stop before it began".to_owned());
    }
    // under the lock, so that no wish to stop falls between the start and the number
    let mut process = match watched::start(program, arguments) {
        Ok(process) => process,
        Err(error) => return Proof::Failed(format!("its process could not be started: {error}")),
    };
    child.pid = Some(Pid::from_child(&process));
    drop(child);
    drop(process.stdin.take());
    let said = Arc::new(Mutex::new(Vec::new()));
    let (speak, speaks) = bounded::<()>(1);
    let hears = process.stderr.take().map(|stderr| {
        let said = Arc::clone(&said);
        std::thread::spawn(move || hear(stderr, &said, &speak))
    });
    let (end, ended) = bounded(1);
    let (gone, is_gone) = bounded::<()>(0);
    let ours = proving.clone();
    std::thread::spawn(move || {
        let _closes_with_the_thread = gone;
        let _ = end.send(hear_out(process, hears, &ours));
    });
    let said = || String::from_utf8_lossy(&said.lock().unwrap_or_else(PoisonError::into_inner)).trim().to_owned();
    let over = crossbeam_channel::select! {
        recv(ended) -> over => over.map_err(|_| RecvTimeoutError::Disconnected),
        // also if it closes it
        recv(speaks) -> _ => ended.recv_timeout(gone_within),
    };
    let over = over.or_else(|error| {
        // in state D it takes no signal, and is gone when the server answers
        proving.stop(Signal::KILL);
        if error == RecvTimeoutError::Timeout { ended.recv_timeout(KILLED_WITHIN) } else { Err(error) }
    });
    match over {
        Ok((code, out)) => proof_of(code, &out, &said()),
        Err(RecvTimeoutError::Timeout) => {
            Proof::Left(format!("its process hangs, and was left behind: {}", said()), is_gone)
        }
        Err(RecvTimeoutError::Disconnected) => Proof::Failed("the thread that heard it ended".to_owned()),
    }
}

/// Keeps what is said, and tells that something was.
fn hear(mut stderr: ChildStderr, said: &Mutex<Vec<u8>>, speak: &Sender<()>) {
    let mut piece = [0; 4096];
    loop {
        match stderr.read(&mut piece) {
            Ok(0) => return,
            Ok(len) => {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                let room = STDERR_BYTES_MAX.saturating_sub(said.len()).min(len);
                said.extend_from_slice(&piece[..room]);
                drop(said);
                // once is enough
                let _ = speak.try_send(());
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The exit code, none if a signal ended it, and what it said on standard output.
fn hear_out(mut process: Process, hears: Option<JoinHandle<()>>, proving: &Proving) -> (Option<i32>, Vec<u8>) {
    let mut out = Vec::new();
    if let Some(stdout) = process.stdout.take() {
        let _ = stdout.take(PROOF_BYTES_MAX).read_to_end(&mut out);
    }
    // its number is its own until it has been waited for
    let _ = waitid(WaitId::Pid(Pid::from_child(&process)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    proving.child().pid = None;
    let status = process.wait();
    let _ = hears.map(JoinHandle::join);
    (status.ok().and_then(|status| status.code()), out)
}

/// What a verification has proven that ended with `code`.
fn proof_of(code: Option<i32>, out: &[u8], said: &str) -> Proof {
    let lines = out.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let (mut report, mut is_removed) = (None, false);
    for line in lines {
        is_removed |= line["type"] == "removed";
        report = Some(line).filter(|line| line["type"] == "verified").or(report);
    }
    match (code, report) {
        (Some(0), Some(report)) if report["well"] == true => Proof::Well(SystemClock::new().now()),
        (Some(4), Some(report)) if report["well"] == false => {
            let empty = Vec::new();
            let damages = report["damages"].as_array().unwrap_or(&empty).iter().take(DAMAGES_TOLD);
            let words = damages.map(|damage| {
                let text = |key: &str| damage[key].as_str().unwrap_or_default().to_owned();
                format!("{}: {}{}", text("file"), text("what"), shared_with(damage))
            });
            Proof::Damaged {
                causes: words.collect(),
                count: report["damages_count"].as_u64().unwrap_or(1),
                // where that cannot be read, only the deepest look at all of it disproves it
                level: serde_json::from_value(report["level"].clone()).unwrap_or(Level::Drill),
                part: serde_json::from_value(report["part"].clone()).unwrap_or_default(),
            }
        }
        (Some(1), None) if is_removed => Proof::Removed,
        (code, _) => {
            let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("status {code}"));
            Proof::Failed(format!("it ended with {code}: {said}"))
        }
    }
}

/// The other snapshots that hold the damaged file, in words.
fn shared_with(damage: &serde_json::Value) -> String {
    let names: Vec<&str> = damage["shared_with"].as_array().into_iter().flatten().filter_map(|n| n.as_str()).collect();
    match names.len() {
        0 => String::new(),
        count if count > SHARED_TOLD => format!(" (a part of {count} other snapshots too)"),
        _ => format!(" (a part of {} too)", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::process::Signal;

    use super::{
        Duration, Event, GONE_WITHIN, Level, Mutex, News, Observer, Proof, Proving, Teller, proof_arguments, prove,
    };
    use crate::config::{Inputs, Need, Overrides, load};
    use crate::domain::Part;

    /// Notices of a run were dropped, and what retention says comes as nothing else.
    #[test]
    fn a_notice_of_a_run_waits_for_room_in_the_inbox_and_progress_does_not() {
        let (tell, news) = crossbeam_channel::bounded(1);
        let teller = Teller { job: "upload".parse().expect("a job"), tell, sums: Mutex::default() };
        let one = crate::domain::ByteCount(1);
        for _ in 0..3 {
            teller.notice(&Event::Advanced { entries: 1, bytes: one, stored: one });
        }
        let (go_on, has_gone_on) = crossbeam_channel::bounded::<()>(1);
        let told = std::thread::spawn(move || {
            teller.notice(&Event::Notice { text: "it was removed" });
            drop(go_on);
        });
        let waits = has_gone_on.recv_timeout(Duration::from_millis(100));
        assert_eq!(waits, Err(crossbeam_channel::RecvTimeoutError::Timeout), "it goes on, and its word is lost");
        assert!(matches!(news.recv(), Ok(News::Progress { .. })));
        assert!(matches!(news.recv(), Ok(News::Notice { text, .. }) if text == "it was removed"));
        told.join().expect("no panic");
    }

    fn said(script: &str) -> Proof {
        prove(Path::new("/bin/sh"), &["-c".into(), script.into()], &Proving::default(), GONE_WITHIN)
    }

    /// A daemon that was stopped just after it had begun a verification told nobody to stop.
    #[test]
    fn a_verification_hears_that_it_must_stop_at_whatever_moment_that_is_said() {
        let proving = Proving::default();
        proving.stop(Signal::TERM);
        let arguments = ["-c".into(), "exec sleep 1000".into()];
        let Proof::Failed(why) = prove(Path::new("/bin/sh"), &arguments, &proving, GONE_WITHIN) else {
            panic!("it failed")
        };
        assert!(why.contains("before it began"), "{why}");
        let proving = Proving::default();
        let other = proving.clone();
        let stopped = std::thread::spawn(move || {
            while other.child().pid.is_none() {
                std::thread::yield_now();
            }
            other.stop(Signal::TERM);
        });
        let Proof::Failed(why) = prove(Path::new("/bin/sh"), &arguments, &proving, GONE_WITHIN) else {
            panic!("it failed")
        };
        assert!(why.contains("a signal"), "{why}");
        stopped.join().expect("no panic");
        assert!(proving.child().pid.is_none(), "its number may be another's by now");
    }

    /// One that hung in a dead server ended all verifications of all stores, and nobody was told.
    #[test]
    fn a_verification_that_has_said_its_last_words_and_stays_is_killed_and_left_behind_if_that_does_not_end_it() {
        let soon = Duration::from_millis(50);
        let hangs = ["-c".into(), "echo 'the store does not answer' >&2; exec sleep 1000".into()];
        let proof = prove(Path::new("/bin/sh"), &hangs, &Proving::default(), soon);
        assert!(matches!(&proof, Proof::Failed(why) if why.contains("a signal: the store does not")), "{proof:?}");
        // what no signal ends is a thread in the kernel; here it is another process that holds its output
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
        let stays = format!("cat '{}' & echo 'the store does not answer' >&2; wait", pipe.display());
        let proof = prove(Path::new("/bin/sh"), &["-c".into(), stays.into()], &Proving::default(), soon);
        let Proof::Left(why, gone) = proof else { panic!("{proof:?}") };
        assert!(why.contains("the store does not answer") && gone.try_recv().is_err_and(|e| e.is_empty()), "{why}");
        drop(std::fs::OpenOptions::new().write(true).open(&pipe).expect("it answers"));
        let is_gone = gone.recv_timeout(Duration::from_secs(60));
        assert_eq!(is_gone, Err(crossbeam_channel::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_drill_of_the_daemon_restores_where_the_configuration_says() {
        let arguments = |verify: &str| {
            let text = format!(
                "stores: {{nas: {{path: /mnt/nas}}}}\njobs: {{up: {{source: /up, verify: {{schedule: '@daily', {verify}}}}}}}\n"
            );
            let settings = load(Inputs {
                need: Need::All,
                file: Some(("backup.yaml".into(), text)),
                env: &std::collections::BTreeMap::new(),
                overrides: Overrides::default(),
                default_state_dir: "/state".into(),
                read_secret: &|_| Err(std::io::ErrorKind::Unsupported.into()),
            })
            .expect("it is right");
            let job = settings.jobs.values().next().expect("a job");
            let (store, verify) = (&settings.stores["nas"], job.verify.as_ref().expect("a verification"));
            let snapshot = "up-20261121T020000Z".parse().expect("a name");
            let words = proof_arguments(job, store, verify, &snapshot, Path::new("/state"));
            words.into_iter().map(|word| word.into_string().expect("UTF-8")).collect::<Vec<_>>().join(" ")
        };
        let drill = arguments("level: drill, scratch: /srv/drill");
        assert!(drill.contains(" --drill --scratch /srv/drill "), "{drill}");
        assert!(!arguments("level: drill").contains("--scratch"), "in the folder of state");
    }

    #[test]
    fn only_a_report_that_fits_its_exit_code_proves_anything() {
        let well = r#"{"type":"verified","well":true,"damages":[]}"#;
        let harmed = r#"{"type":"verified","level":"deep","part":{"number":2,"of":3},"well":false,"damages_count":3,"damages":[{"file":"a.tar","what":"rot","shared_with":["x","y"]}]}"#;
        assert!(matches!(said(&format!("echo noise; echo '{well}'")), Proof::Well(_)));
        let Proof::Damaged { causes, count: 3, level: Level::Deep, part } = said(&format!("echo '{harmed}'; exit 4"))
        else {
            panic!("it is damaged")
        };
        assert_eq!(part, Some(Part { number: 2, of: 3 }));
        assert_eq!(causes, ["a.tar: rot (a part of x, y too)"]);
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
        let removed = r#"echo '{"type":"removed"}'; echo '{"type":"error"}'; exit "#;
        assert!(matches!(said(&format!("{removed} 1")), Proof::Removed));
        assert!(matches!(said(&format!("{removed} 6")), Proof::Failed(_)), "the store is gone as well");
        let Proof::Failed(why) = said("echo 'the store is gone' >&2; exit 6") else { panic!("it failed") };
        assert!(why.contains("status 6") && why.contains("the store is gone"), "{why}");
    }
}
