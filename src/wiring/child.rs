//! The child's side of a run: take the order, run it, tell how it went, and only then do what retention says.
//!
//! The danger is to be ended between the deed and the word. So the outcome is told as soon as there is one: what comes
//! after it (its record in the store, retention) may hang or be stopped, and changes nothing about it.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::environment::random_store;
use super::order::{engine_job, open_store, watch_signals};
use crate::catalog::{Catalog, Claim};
use crate::domain::{Cancel, Clock, Outcome, RunId, StopReason, SystemClock, Verdict};
use crate::engine::{self, Context};
use crate::observe::{Event, Observer, Phase};
use crate::prune;
use crate::report::{RunRecord, counted, duration_words};
use crate::store::{FolderStore, MARKER_NAME, Store, StoreError};
use crate::supervise::{Message, Order, PipeObserver};

/// The hidden verb that makes this program a run's child.
pub const CHILD_VERB: &str = "__run";

/// Runs the order that comes from `input` and tells everything to `output`. Gives back false if there was no order.
pub fn run_child(input: &mut dyn Read, output: impl Write + Send) -> bool {
    // if the parent dies, somebody wants this run to end; it ends as with SIGTERM
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    let clock = SystemClock::new();
    let cancel = Cancel::new();
    watch_signals(&cancel);
    let mut text = Vec::new();
    let order: Order = match input.read_to_end(&mut text).map(|_| serde_json::from_slice(&text)) {
        Ok(Ok(order)) => order,
        Ok(Err(_)) | Err(_) => return false,
    };
    let observer = PipeObserver::new(output, &clock);
    carry_out(&order, &clock, &cancel, &observer);
    true
}

fn carry_out<W: Write + Send>(order: &Order, clock: &SystemClock, cancel: &Cancel, observer: &PipeObserver<'_, W>) {
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
    };
    let outcome = engine::run(&job, open, &context);
    observer.send(&Message::Outcome { record: Box::new(RunRecord::from(&outcome)) });
    let is_full = matches!(outcome.failure, Some((StopReason::StoreFull, _)));
    // a store that is full is not written to for this either: the outcome is kept by the parent until there is room
    let Some(store) = opened.filter(|_| !is_full) else { return };
    let recorded = record(order, &outcome, &store, observer);
    observer.send(&Message::Recorded { runs: recorded });
    after(order, &outcome, &store, clock, cancel, observer);
}

/// Stores the outcomes that wait and this one, in this order; gives those that lie in the store now.
fn record(order: &Order, outcome: &Outcome, store: &Arc<dyn Store>, observer: &dyn Observer) -> Vec<RunId> {
    let catalog = Catalog::new(Arc::clone(store), order.job.clone());
    let mut recorded = Vec::new();
    let earlier =
        order.pending.iter().map(|earlier| (earlier.run.clone(), catalog.store_earlier_run(&earlier.outcome())));
    // told by their watchers, who may have known less than the runs themselves
    let own = std::iter::once_with(|| (outcome.run.clone(), catalog.store_run(outcome)));
    for (run, stored) in earlier.chain(own) {
        if let Err(error) = stored {
            let text = format!("the outcome could not be stored ({error}); it is kept here for the next run");
            observer.notice(&Event::Notice { text: &text });
            break;
        }
        recorded.push(run);
    }
    recorded
}

/// Retention, after a run that was ok. It changes no outcome.
fn after(
    order: &Order,
    outcome: &Outcome,
    store: &Arc<dyn Store>,
    clock: &SystemClock,
    cancel: &Cancel,
    observer: &dyn Observer,
) {
    if outcome.verdict() != Verdict::Ok || !order.retention.has_rules() {
        return;
    }
    observer.notice(&Event::Entered { phase: Phase::Pruning });
    let catalog = Catalog::new(Arc::clone(store), order.job.clone());
    let zone = jiff::tz::TimeZone::get(&order.zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let (now, trash_for) = (clock.now(), order.trash_for);
    let what = prune::Order { policy: order.retention, zone, now, trash_for };
    // by the run's own id: whoever sees this process die knows that this lease is over too
    let claim = Claim { run: order.run.clone(), ..super::environment::claim(now, order.store.lease_term) };
    let pruned = prune::prune(&catalog, &what, claim, cancel, observer);
    for name in pruned.iter().flat_map(|report| &report.held_meanwhile) {
        observer.notice(&Event::Notice { text: &format!("{name} stays: somebody has held it meanwhile") });
    }
    let text = match pruned {
        Ok(report) => match (&report.judgement.refusal, report.removed.len()) {
            (Some(refusal), _) => format!("retention removed nothing: {refusal}"),
            (None, 0) => return,
            (None, count) => format!(
                "retention removed {}; `backup undelete` takes them back for {}",
                counted(count as u64, "snapshot"),
                duration_words(order.trash_for)
            ),
        },
        Err(error) => format!("retention could not do its work ({error}); the next run tries again"),
    };
    observer.notice(&Event::Notice { text: &text });
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

    use super::carry_out;
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
        carry_out(&order(folder, last), &clock, cancel, &observer);
        let told = lines.lock().expect("no panic").clone();
        told
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
        run(folder.path(), 1, &Cancel::new(), &|| ());
        assert_eq!(names(&job, "upload-").len(), 1, "the next one does it");
    }
}
