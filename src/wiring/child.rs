//! The child's side of a run: take the order, run it, tell how it went.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::environment::random_store;
use super::order::{engine_job, open_store, watch_signals};
use crate::catalog::{Catalog, Claim};
use crate::domain::{Cancel, Clock, Outcome, StopReason, SystemClock, Trouble, Verdict};
use crate::engine::{self, Context, Gate};
use crate::observe::{Event, Observer};
use crate::prune;
use crate::report::{RunRecord, counted, duration_words};
use crate::store::{FolderStore, MARKER_NAME, Store, StoreError};
use crate::supervise::{Answer, Message, Order, PipeObserver, Turn};

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
    let (outcome, recorded) = run_order(&order, &clock, &cancel, &observer, &parent);
    observer.send(&Message::Recorded { runs: recorded });
    observer.send(&Message::Outcome { record: Box::new(RunRecord::from(&outcome)) });
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

fn run_order<W: Write + Send>(
    order: &Order,
    clock: &SystemClock,
    cancel: &Cancel,
    observer: &PipeObserver<'_, W>,
    parent: &Parent<'_, '_, W>,
) -> (Outcome, Vec<crate::domain::RunId>) {
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
    let mut recorded = Vec::new();
    let is_full = matches!(outcome.failure, Some((StopReason::StoreFull, _)));
    // a store that is full is not written to for this either: the outcome is kept here until there is room
    let kept = opened.filter(|_| !is_full);
    if let Some(store) = &kept {
        let catalog = Catalog::new(Arc::clone(store), order.job.clone());
        for outcome in order.pending.iter().map(RunRecord::outcome).chain([outcome.clone()]) {
            match catalog.store_run(&outcome) {
                Ok(()) => recorded.push(outcome.run),
                Err(error) => {
                    let text = format!("the outcome could not be stored ({error}); it is kept here for the next run");
                    observer.notice(&Event::Notice { text: &text });
                    break;
                }
            }
        }
    }
    if let Some(store) = &kept {
        after(order, &outcome, store, clock, observer);
    }
    (outcome, recorded)
}

/// Retention, after a run that was ok and whose outcome is in the store. It changes no outcome.
fn after(order: &Order, outcome: &Outcome, store: &Arc<dyn Store>, clock: &SystemClock, observer: &dyn Observer) {
    if outcome.verdict() != Verdict::Ok || !order.retention.has_rules() {
        return;
    }
    let catalog = Catalog::new(Arc::clone(store), order.job.clone());
    let zone = jiff::tz::TimeZone::get(&order.zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let (now, trash_for) = (clock.now(), order.trash_for);
    let what = prune::Order { policy: order.retention, zone, now, trash_for };
    // by the run's own id: whoever sees this process die knows that this lease is over too
    let claim = Claim { run: order.run.clone(), ..super::environment::claim(now, order.store.lease_term) };
    let pruned = prune::prune(&catalog, &what, claim);
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
