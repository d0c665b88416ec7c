//! A parent and children that are shells: what they say and do is all that counts.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::{Child, End, Ended, HookPlan, Message, Order, Retention, Turn, cut_off, supervise, untold};
use crate::archive::Codec;
use crate::command::{Hooks, Spec, Step};
use crate::domain::{
    Cancel, Clock, Host, Outcome, RunId, SnapshotName, Stop, StopReason, SystemClock, Trouble, Verdict,
};
use crate::engine::Reuse;
use crate::observe::{Event, Observer, Phase, Silent};
use crate::report::RunRecord;
use crate::retention::Policy;
use crate::store::{Permissions, RequireMount};
use crate::supervise::StoreOrder;

/// Much longer than a shell needs, and never waited for.
const LONG: Duration = Duration::from_secs(90);
const SHORT: Duration = Duration::from_millis(50);

fn order() -> Order {
    let store = StoreOrder {
        path: "/mnt".into(),
        require_mount: RequireMount::No,
        permissions: Permissions::default(),
        expected: None,
        init: false,
        lease_term: LONG,
    };
    Order {
        run: RunId::from_random([7; 16]),
        dead_runs: Vec::new(),
        host: Host("web1".into()),
        tool: "a test".into(),
        job: "upload".parse().expect("a job"),
        sources: vec!["/srv".into()],
        commands: Vec::new(),
        command_environment: BTreeMap::new(),
        silence: LONG,
        has_hooks: false,
        exclude: Vec::new(),
        exclude_caches: false,
        exclude_if_present: None,
        one_file_system: false,
        max_file_size: None,
        allow_empty: false,
        codec: Codec::None,
        max_shrink_percent: 50,
        threads: NonZeroUsize::MIN,
        survey: false,
        reuse: Reuse::default(),
        store,
        retention: Policy::default(),
        trash_for: LONG,
        zone: "UTC".into(),
        pending: Vec::new(),
    }
}

fn ok() -> Outcome {
    let at: Timestamp = "2026-11-21T02:00:00Z".parse().expect("a time");
    let order = order();
    let failure = (StopReason::Program, Trouble { what: String::new(), causes: Vec::new(), advice: String::new() });
    let snapshot = Some(SnapshotName::new(&order.job, at));
    Outcome { snapshot, failure: None, ..untold(&order, at, at, SHORT, failure) }
}

fn lines(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| serde_json::to_string(message).expect("plain values")).collect()
}

/// A shell that takes its order, says `$1` and so on as `script` wants it, and does not care about SIGTERM.
fn shell(script: &str, messages: &[Message], deadline: Duration, grace: Duration) -> Child {
    let script = format!("trap '' TERM; cat >/dev/null; say() {{ printf '%s\\n' \"$1\"; }}; {script}");
    let mut arguments = vec!["-c".into(), script.into(), "sh".into()];
    arguments.extend(lines(messages).into_iter().map(Into::into));
    Child { program: PathBuf::from("/bin/sh"), arguments, deadline, grace, hooks: None }
}

fn told() -> [Message; 3] {
    let outcome = ok();
    [
        Message::Outcome { record: Box::new(RunRecord::from(&outcome)) },
        Message::Recorded { runs: vec![outcome.run] },
        Message::Phase { phase: Phase::Pruning },
    ]
}

/// Asks to stop as soon as retention is at work.
struct Impatient(Cancel);

impl Observer for Impatient {
    fn notice(&self, event: &Event<'_>) {
        if matches!(event, Event::Entered { phase: Phase::Pruning }) {
            self.0.ask(Stop::Terminated);
        }
    }
}

fn assert_ok_and_cut(ended: &Ended) {
    assert_eq!((ended.outcome.verdict(), &ended.recorded), (Verdict::Ok, &vec![order().run]), "{ended:?}");
    assert!(matches!(ended.end, End::Cut), "it may have left its lease: {ended:?}");
}

/// A daemon was stopped while retention moved snapshots on a slow server: the run, whose snapshot was published and whose
/// record said ok, was told and recorded as failed.
#[test]
fn a_run_that_has_told_its_outcome_is_what_it_told_whatever_becomes_of_it_while_retention_is_at_work() {
    let say = "say \"$1\"; say \"$2\"; say \"$3\"; exec sleep 1000";
    let cancel = Cancel::new();
    let stopped = shell(say, &told(), LONG, SHORT);
    assert_ok_and_cut(&supervise(&stopped, &order(), &SystemClock::new(), &cancel, &Impatient(cancel.clone())));
    let silent = shell(say, &told(), SHORT, LONG);
    assert_ok_and_cut(&supervise(&silent, &order(), &SystemClock::new(), &Cancel::new(), &Silent));
    let crashed = shell("say \"$1\"; say \"$2\"; kill -9 $$", &told(), LONG, LONG);
    assert_ok_and_cut(&supervise(&crashed, &order(), &SystemClock::new(), &Cancel::new(), &Silent));
}

/// Nobody was told that retention never came to its end.
#[test]
fn what_retention_did_not_say_is_said_by_the_parent_where_it_was_due() {
    let due = Order { retention: Policy { last: 1, ..Policy::default() }, ..order() };
    let came = |order: &Order, script: &str, message: Message, deadline| {
        let [outcome, recorded, _] = told();
        let child = shell(&format!("say \"$1\"; say \"$2\"; {script}"), &[outcome, recorded, message], deadline, SHORT);
        let cancel = Cancel::new();
        supervise(&child, order, &SystemClock::new(), &cancel, &Impatient(cancel.clone())).retention
    };
    let pruning = || Message::Phase { phase: Phase::Pruning };
    let done = came(&due, "say \"$3\"", Message::Retention { came: Retention::Done }, LONG);
    assert_eq!(done, Some(Retention::Done));
    assert_eq!(came(&due, "say \"$3\"; exec sleep 1000", pruning(), LONG), Some(Retention::Stopped));
    assert_eq!(came(&order(), "exit 0", pruning(), LONG), None, "it was not due");
    for (script, deadline, wanted) in [("exec sleep 1000", SHORT, "has not answered"), ("exit 7", LONG, "ended")] {
        match came(&due, script, pruning(), deadline) {
            Some(Retention::Undone { trouble }) => assert!(trouble.causes[0].contains(wanted), "{trouble:?}"),
            other => panic!("{script}: {other:?}"),
        }
    }
}

/// A clock that leaps by an hour whenever it is asked, once something was heard of the run.
#[derive(Default)]
struct Leaping {
    is_heard_of: std::sync::atomic::AtomicBool,
    hours: std::sync::atomic::AtomicU64,
}

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        "2026-11-21T02:00:00Z".parse().expect("a time")
    }

    fn since_start(&self) -> Duration {
        use std::sync::atomic::Ordering::SeqCst;
        let step = u64::from(self.is_heard_of.load(SeqCst));
        Duration::from_secs(3600 * self.hours.fetch_add(step, SeqCst))
    }
}

impl Observer for Leaping {
    fn notice(&self, _: &Event<'_>) {
        self.is_heard_of.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

/// A process that was left behind was never waited for: each stayed a zombie for the life of the daemon.
#[test]
fn a_process_that_is_left_behind_is_waited_for_and_its_end_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let script = format!("echo $$ >{}; say \"$1\"; exec sleep 1000", file.display());
    let child = shell(&script, &[Message::Phase { phase: Phase::Storing }], LONG, LONG);
    let clock = Leaping::default();
    // by this clock neither the deadline nor the time to reap it is ever kept
    let ended = supervise(&child, &order(), &clock, &Cancel::new(), &clock);
    let End::Left(gone) = ended.end else { panic!("it was to be left: {ended:?}") };
    let advice = ended.outcome.failure.expect("it failed").1.advice;
    assert!(advice.contains("left behind"), "{advice}");
    assert!(gone.recv_timeout(LONG).is_err() && gone.recv().is_err(), "closed, not only late");
    let pid = std::fs::read_to_string(&file).expect("its number");
    assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "it is a zombie");
}

#[test]
fn a_run_that_ends_by_itself_holds_nothing_any_more() {
    let child = shell("say \"$1\"", &told(), LONG, LONG);
    let ended = supervise(&child, &order(), &SystemClock::new(), &Cancel::new(), &Silent);
    assert!(ended.outcome.verdict() == Verdict::Ok && matches!(ended.end, End::Clean), "{ended:?}");
    let at = ended.outcome.started;
    assert!(matches!(cut_off(&order(), at, at, "a test").end, End::Unseen));
}

#[test]
fn a_run_that_says_nothing_any_more_fails_at_its_deadline_and_its_process_is_waited_for() {
    let child = shell("exec sleep 1000", &[], SHORT, LONG);
    let ended = supervise(&child, &order(), &SystemClock::new(), &Cancel::new(), &Silent);
    let (reason, trouble) = ended.outcome.failure.expect("it failed");
    assert!(reason == StopReason::StoreAbsent && trouble.what.contains("has not answered"), "{trouble:?}");
    assert!(trouble.advice.contains("its process was ended") && matches!(ended.end, End::Cut), "{trouble:?}");
}

/// Only the run's process was told, and it was killed at a dead server before it could tell anybody.
#[test]
fn an_undo_that_failed_is_told_although_the_run_died_before_it_could_tell() {
    let spec = |program: &str| Spec {
        argv: vec![program.into()],
        deadline: None,
        environment: BTreeMap::new(),
        environment_files: BTreeMap::new(),
    };
    // a shell is no guardian: every hook fails, and the step counts as begun
    let step = Step { run: spec("begin"), undo: Some(spec("take-back")) };
    let hooks = Hooks { before: vec![step], ..Hooks::default() };
    let plan = || Some(HookPlan { hooks: hooks.clone(), environment: BTreeMap::new() });
    let asks = [Turn::Before, Turn::Undo].map(|turn| Message::Ask { turn });
    let [outcome, ..] = told();
    let dies = "IFS= read -r order; say \"$1\"; IFS= read -r one; say \"$2\"; IFS= read -r two";
    let doubts = |script: &str, messages: &[Message], deadline| {
        let mut child = shell("", messages, deadline, LONG);
        child.arguments[1] = format!("say() {{ printf '%s\\n' \"$1\"; }}; {script}").into();
        child.hooks = plan();
        supervise(&child, &order(), &SystemClock::new(), &Cancel::new(), &Silent).outcome.doubts
    };
    let killed = doubts(&format!("{dies}; kill -9 $$"), &asks, LONG);
    assert!(killed.len() == 1 && killed[0].contains("`undo` 1 (take-back) failed"), "{killed:?}");
    let silent = doubts(&format!("{dies}; exec sleep 1000"), &asks, Duration::from_secs(1));
    assert_eq!(silent, killed);
    let Message::Outcome { mut record } = outcome else { unreachable!("it is the first") };
    record.doubts.clone_from(&killed);
    let all = asks.into_iter().chain([Message::Outcome { record }]).collect::<Vec<_>>();
    assert_eq!(doubts(&format!("{dies}; say \"$3\""), &all, LONG), killed, "once, where the run has told it");
}
