//! The child's side of a run: take the order, run it, tell how it went, and only then do what retention says.
//!
//! The danger is to be ended between the deed and the word. So the outcome is told as soon as there is one: what comes
//! after it (its record in the store, retention) may hang or be stopped, and changes nothing about it.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::environment::random_store;
use super::order::{engine_job, open_store, watch_signals};
use crate::catalog::{Catalog, CatalogError, Claim};
use crate::domain::{Advise, Cancel, Clock, Outcome, RunId, StopReason, SystemClock, Trouble, Verdict};
use crate::engine::{self, Context, Gate};
use crate::observe::{Event, Observer, Phase};
use crate::prune;
use crate::report::{RunRecord, counted, duration_words};
use crate::store::{FolderStore, MARKER_NAME, Store, StoreError};
use crate::supervise::{Answer, Message, Order, PipeObserver, Retention, Turn};

/// The hidden verb that makes this program a run's child.
pub const CHILD_VERB: &str = "__run";

/// Runs the order that comes from `input` and tells everything to `output`. Gives back false if there was no order.
pub fn run_child(input: &mut (dyn BufRead + Send), output: impl Write + Send) -> bool {
    // if the parent dies, somebody wants this run to end; it ends as with SIGTERM
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    let clock = SystemClock::new();
    let cancel = Cancel::new();
    watch_signals(&cancel);
    let mut text = Vec::new();
    let order: Order = match input.read_until(b'\n', &mut text).map(|_| serde_json::from_slice(&text)) {
        Ok(Ok(order)) => order,
        Ok(Err(_)) | Err(_) => return false,
    };
    let observer = PipeObserver::new(output, &clock);
    let parent = Parent { is_asked: order.has_hooks, observer: &observer, answers: Mutex::new(input) };
    carry_out(&order, &clock, &cancel, &observer, &parent);
    true
}

/// Whoever started this process, and has the hooks.
struct Parent<'a, 'o, W> {
    is_asked: bool,
    observer: &'a PipeObserver<'o, W>,
    answers: Mutex<&'a mut (dyn BufRead + Send)>,
}

impl<W: Write + Send> Parent<'_, '_, W> {
    /// None if nobody answers: then the parent is dead, and this process is told to end.
    fn ask(&self, turn: Turn) -> Option<Answer> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        self.observer.send(&Message::Ask { turn });
        let mut line = Vec::new();
        answers.read_until(b'\n', &mut line).ok()?;
        serde_json::from_slice(&line).ok()
    }
}

impl<W: Write + Send> Gate for Parent<'_, '_, W> {
    fn is_kept(&self) -> bool {
        self.is_asked
    }

    fn before(&self) -> Result<(), (StopReason, Trouble)> {
        match self.ask(Turn::Before) {
            Some(Answer { refusal: None, .. }) => Ok(()),
            Some(Answer { refusal: Some(refusal), .. }) => Err(refusal),
            None => {
                let what = "whoever started this run is gone, and with it the hooks".to_owned();
                let advice = "look whether a step of `before` has to be undone by hand".to_owned();
                Err((StopReason::Program, Trouble { what, causes: Vec::new(), advice }))
            }
        }
    }

    fn undo(&self) -> Vec<String> {
        self.ask(Turn::Undo).map(|answer| answer.doubts).unwrap_or_default()
    }
}

fn carry_out<W: Write + Send>(
    order: &Order,
    clock: &SystemClock,
    cancel: &Cancel,
    observer: &PipeObserver<'_, W>,
    parent: &Parent<'_, '_, W>,
) {
    let job = match engine_job(order) {
        Ok(job) => job,
        // patterns were compiled by the parent before; a difference would be a defect, not a configuration
        Err(error) => unreachable!("the parent checked the order: {error}"),
    };
    let mut opened: Option<Arc<dyn Store>> = None;
    let open = || {
        let (store, notices) = open_or_init(order, clock)?;
        observer.send(&Message::Store { id: store.id().clone() });
        opened = Some(Arc::clone(&store));
        Ok((store, notices))
    };
    let context = Context {
        run: order.run.clone(),
        dead: &order.dead_runs,
        host: order.host.clone(),
        pid: super::environment::pid(),
        tool: order.tool.clone(),
        store_name: order.store.path.to_string_lossy().into_owned(),
        clock,
        cancel,
        observer,
        gate: parent,
    };
    let mut outcome = engine::run(&job, open, &context);
    if order.has_hooks {
        let record = Box::new(RunRecord::from(&outcome));
        outcome.doubts.extend(parent.ask(Turn::Ended { record }).map(|answer| answer.doubts).unwrap_or_default());
    }
    observer.send(&Message::Outcome { record: Box::new(RunRecord::from(&outcome)) });
    let is_full = matches!(outcome.failure, Some((StopReason::StoreFull, _)));
    // a store that is full is not written to for this either: the outcome is kept by the parent until there is room
    let Some(store) = opened.filter(|_| !is_full) else { return };
    let (recorded, unrecorded) = record(order, &outcome, &store);
    if let Some(why) = &unrecorded {
        let text = format!("the outcome could not be stored ({why}); it is kept here for the next run");
        observer.notice(&Event::Notice { text: &text });
    }
    observer.send(&Message::Recorded { runs: recorded });
    if outcome.verdict() == Verdict::Ok && order.retention.has_rules() {
        let came = match unrecorded {
            // it asks the store how the last run went
            Some(why) => undone("retention did not begin", format!("the outcome could not be stored: {why}"), NEXT),
            None => retain(order, &store, clock, cancel, observer),
        };
        observer.send(&Message::Retention { came });
    }
}

/// What to do where there is nothing to do.
const NEXT: &str = "the next run tries again";

/// Stores the outcomes that wait and this one, in this order; gives those that lie in the store now, and why not all do.
fn record(order: &Order, outcome: &Outcome, store: &Arc<dyn Store>) -> (Vec<RunId>, Option<CatalogError>) {
    let catalog = Catalog::new(Arc::clone(store), order.job.clone());
    let mut recorded = Vec::new();
    for earlier in &order.pending {
        // told by its watcher, who may have known less than the run itself
        match catalog.store_earlier_run(&earlier.outcome()) {
            Ok(()) => recorded.push(earlier.run.clone()),
            Err(error) => return (recorded, Some(error)),
        }
    }
    match catalog.store_run(outcome) {
        Ok(()) => recorded.push(outcome.run.clone()),
        Err(error) => return (recorded, Some(error)),
    }
    (recorded, None)
}

/// Retention, after a run that was ok. It changes no outcome.
fn retain(
    order: &Order,
    store: &Arc<dyn Store>,
    clock: &SystemClock,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Retention {
    observer.notice(&Event::Entered { phase: Phase::Pruning });
    let catalog = Catalog::new(Arc::clone(store), order.job.clone());
    let zone = jiff::tz::TimeZone::get(&order.zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let (now, trash_for) = (clock.now(), Some(order.trash_for));
    let what = prune::Order { policy: order.retention, zone, now, trash_for };
    // by the run's own id: whoever sees this process die knows that this lease is over too
    let claim = Claim { run: order.run.clone(), ..super::environment::claim(now, order.store.lease_term) };
    let report = match prune::prune(&catalog, &what, claim, cancel, observer) {
        Ok(report) => report,
        Err(error) => {
            let advice = format!("{}; {NEXT}", error.advice());
            return undone("retention could not do its work", error.to_string(), &advice);
        }
    };
    let note = |text: String| observer.notice(&Event::Notice { text: &text });
    for name in &report.held_meanwhile {
        note(format!("{name} stays: somebody has held it meanwhile"));
    }
    if !report.removed.is_empty() {
        note(format!(
            "retention removed {}; `backup undelete` takes them back for {}",
            counted(report.removed.len() as u64, "snapshot"),
            duration_words(order.trash_for)
        ));
    }
    match &report.judgement.refusal {
        Some(refusal) => undone("retention removed nothing", refusal.to_string(), refusal.advice()),
        None if report.is_stopped => Retention::Stopped,
        None => Retention::Done,
    }
}

fn undone(what: &str, why: String, advice: &str) -> Retention {
    let trouble = Trouble { what: what.to_owned(), causes: vec![why], advice: advice.to_owned() };
    Retention::Undone { trouble }
}

/// Opens the store; makes it one on first use where the order allows that.
fn open_or_init(order: &Order, clock: &dyn Clock) -> Result<(Arc<dyn Store>, Vec<String>), StoreError> {
    let path = PathBuf::from(&order.store.path);
    let first = open_store(&order.store);
    let is_new = match &first {
        // a folder that was a store before and has no marker now is another disk, never a new store
        Err(StoreError::NoMarker { .. } | StoreError::Missing { .. }) => {
            order.store.init && order.store.expected.is_none()
        }
        _ => false,
    };
    if !is_new {
        return first;
    }
    let permissions = order.store.permissions;
    FolderStore::init(&path, &order.store.require_mount, permissions, random_store(), clock.now(), &order.tool, true)?;
    let (store, mut notices) = open_store(&order.store)?;
    notices.push(format!(
        "{} is a store from now on ({MARKER_NAME} was made): the program will refuse to write there if that marker is ever missing",
        path.display()
    ));
    Ok((store, notices))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use super::{Parent, carry_out};
    use crate::config::{Overrides, from_flags};
    use crate::domain::{Cancel, Stop, SystemClock};
    use crate::retention::Policy;
    use crate::supervise::{Order, PipeObserver};
    use crate::wiring::{JobPlan, State, order_for};

    fn order(folder: &Path, last: u32) -> Order {
        let (source, store) = (folder.join("source"), folder.join("store"));
        let state = State::new(folder.join("state"));
        let settings = from_flags(&[source], &store, Some("upload"), Overrides::default(), folder.join("state"), None);
        let settings = settings.expect("settings");
        let mut job = settings.jobs.into_values().next().expect("a job");
        job.retention = Policy { last, floor: 0, ..Policy::default() };
        let store = settings.stores.into_values().next().expect("a store");
        order_for(&JobPlan { job, store, init: true }, &settings.timezone, &state, false)
    }

    /// Whoever reads the lines, and what it does at the word of the outcome.
    #[derive(Clone)]
    struct Reader<'a> {
        lines: Arc<Mutex<Vec<String>>>,
        at_outcome: &'a (dyn Fn() + Sync),
    }

    impl Write for Reader<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let line = String::from_utf8(bytes.to_vec()).expect("text");
            if line.starts_with("{\"type\":\"outcome\"") {
                (self.at_outcome)();
            }
            self.lines.lock().expect("no panic").push(line);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn names(folder: &Path, wanted: &str) -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| name.starts_with(wanted));
        names.sort();
        names
    }

    fn run(folder: &Path, last: u32, cancel: &Cancel, at_outcome: &(dyn Fn() + Sync)) -> Vec<String> {
        let clock = SystemClock::new();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let observer = PipeObserver::new(Reader { lines: Arc::clone(&lines), at_outcome }, &clock);
        let mut nothing: &[u8] = b"";
        let parent = Parent { is_asked: false, observer: &observer, answers: Mutex::new(&mut nothing) };
        carry_out(&order(folder, last), &clock, cancel, &observer, &parent);
        lines.lock().expect("no panic").clone()
    }

    /// The outcome was told after retention: a daemon that was stopped meanwhile told of a good run that it had failed.
    #[test]
    fn the_outcome_is_told_before_retention_which_gives_back_its_lease_when_it_is_asked_to_stop() {
        let folder = tempfile::tempdir().expect("a folder");
        let job = folder.path().join("store/upload");
        std::fs::create_dir(folder.path().join("source")).expect("a folder");
        for number in 0..3 {
            let file = std::fs::File::create(folder.path().join(format!("source/{number}"))).expect("a file");
            drop(file);
            run(folder.path(), 9, &Cancel::new(), &|| ());
        }
        assert_eq!(names(&job, "upload-").len(), 3);
        let cancel = Cancel::new();
        let lines = run(folder.path(), 1, &cancel, &|| {
            assert_eq!(names(&job, "upload-").len(), 4, "nothing is removed before the word is out");
            cancel.ask(Stop::Terminated);
        });
        let place = |kind: &str| lines.iter().position(|line| line.starts_with(&format!("{{\"type\":\"{kind}\"")));
        assert!(place("outcome") < place("recorded") && place("outcome").is_some(), "{lines:?}");
        assert_eq!((names(&job, "upload-").len(), names(&job, ".lease")), (4, Vec::new()), "{lines:?}");
        assert_eq!(names(&job.join(".runs"), "").len(), 4);
        assert!(lines.last().is_some_and(|line| line.contains("\"result\":\"stopped\"")), "{lines:?}");
        let lines = run(folder.path(), 1, &Cancel::new(), &|| ());
        assert_eq!(names(&job, "upload-").len(), 1, "the next one does it");
        assert!(lines.last().is_some_and(|line| line.contains("\"result\":\"done\"")), "{lines:?}");
    }

    #[test]
    fn what_keeps_retention_from_its_work_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("source")).expect("a folder");
        for number in 0..4 {
            drop(std::fs::File::create(folder.path().join(format!("source/{number}"))).expect("a file"));
            run(folder.path(), 9, &Cancel::new(), &|| ());
        }
        let last = |max_removals: u32| {
            let clock = SystemClock::new();
            let lines = Arc::new(Mutex::new(Vec::new()));
            let observer = PipeObserver::new(Reader { lines: Arc::clone(&lines), at_outcome: &|| () }, &clock);
            let mut order = order(folder.path(), 1);
            order.retention.max_removals = max_removals;
            let mut nothing: &[u8] = b"";
            let parent = Parent { is_asked: false, observer: &observer, answers: Mutex::new(&mut nothing) };
            carry_out(&order, &clock, &Cancel::new(), &observer, &parent);
            let told: Vec<String> = lines.lock().expect("no panic").clone();
            told.last().expect("a line").clone()
        };
        let refused = last(1);
        for part in ["\"result\":\"undone\"", "retention removed nothing", "(max_removals)", "--max-removals"] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        // a record that cannot be written: what the store says of the last run is not of this one
        let runs = folder.path().join("store/upload/.runs");
        std::fs::remove_dir_all(&runs).expect("removed");
        drop(std::fs::File::create(&runs).expect("a file in its place"));
        let unrecorded = last(50);
        assert!(unrecorded.contains("retention did not begin"), "{unrecorded}");
        assert_eq!(names(&folder.path().join("store/upload"), "upload-").len(), 6, "nothing was removed");
    }
}
