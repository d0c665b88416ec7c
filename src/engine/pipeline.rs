//! The pipeline: where a run's threads start, and where they stop.
//!
//! ```text
//! planner (one) ── bounded ──▶ workers (several) ── bounded ──▶ writer (the caller's thread)
//!                                  ▲                                 │
//!                                  └── a token for each frame made ──┘
//! ```
//!
//! Memory is bounded by the tokens: a worker needs one before it takes a plan, and it comes back when the frame is written.
//! Plans are taken in their order, so the frame that the writer waits for always has one. If any part fails or panics,
//! `Halt` is raised, the channels close, and all threads end before `store_all` returns.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::before::LinesError;
use super::make::{Made, Maker};
use super::plan::{AdoptedLines, Circumstances, Earlier, FramePlan, PlanEnd, PlanTotals, Planner};
use super::prove::Prover;
use super::staged::FromCommand;
use super::write::{OrderedWriter, Written};
use crate::archive::{Codec, StoredFrame};
use crate::catalog::CatalogError;
use crate::domain::{Cancel, Clock, EntryPath, Stop};
use crate::domain::{Halt, Halted};
use crate::observe::Observer;
use crate::source::{Item, Names};

/// Frames in flight for each worker: one being made, one planned, and room for the writer to wait for a slow one.
const FRAMES_PER_WORKER: usize = 3;

/// How often the writer looks whether the pipeline has halted, while no frame comes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why the pipeline ended without a volume.
#[derive(Debug)]
pub(super) enum PipelineError {
    /// The store failed.
    Store(CatalogError),
    /// The earlier manifest cannot be read.
    Lines(LinesError),
    /// Somebody asked to stop.
    Stopped(Stop),
    /// A worker or the planner panicked: a defect of this program.
    Panicked,
}

/// What the pipeline works with.
pub(super) struct Work<'a> {
    pub(super) codec: Codec,
    pub(super) threads: NonZeroUsize,
    pub(super) names: &'a Names,
    pub(super) roots: Vec<EntryPath>,
    /// In the order of their paths.
    pub(super) commands: &'a [FromCommand],
    pub(super) clock: &'a dyn Clock,
    pub(super) cancel: &'a Cancel,
    pub(super) observer: &'a dyn Observer,
}

impl<'a> Work<'a> {
    /// Who reads what is in doubt.
    pub(super) fn prover(&self) -> Prover<'a> {
        Prover { clock: self.clock, cancel: self.cancel, observer: self.observer }
    }
}

/// Stores the whole walk.
pub(super) fn store_all<'w>(
    work: &Work<'_>,
    walk: impl Iterator<Item = Item> + Send,
    earlier: Option<Earlier<'_>>,
    adopted: Vec<AdoptedLines<'_>>,
    mut writer: OrderedWriter<'w>,
) -> Result<(Written<'w>, PlanTotals), PipelineError> {
    let workers = work.threads.get();
    let in_flight = workers * FRAMES_PER_WORKER;
    let halt = Halt::default();
    let (give_token, take_token) = bounded::<()>(in_flight);
    let (give_plan, take_plan) = bounded::<FramePlan>(workers);
    let (give_made, take_made) = bounded::<Made>(in_flight);
    let (give_buffer, take_buffer) = bounded::<StoredFrame>(in_flight);
    for _ in 0..in_flight {
        give_token.send(()).expect("the receiver lives in this function");
    }
    std::thread::scope(|scope| {
        let planner = scope.spawn(|| {
            let give = |plan| give_plan.send(plan).is_ok();
            let Work { names, cancel, observer, .. } = *work;
            let circumstances = Circumstances { names, prover: work.prover(), cancel, observer };
            let planner = Planner::new(circumstances, earlier, adopted, work.commands, work.roots.clone(), give);
            let end = catch_unwind(AssertUnwindSafe(|| planner.plan(walk)));
            if !matches!(end, Ok(PlanEnd::Done(_))) {
                halt.raise();
            }
            // closing this channel lets the workers end
            drop(give_plan);
            end
        });
        for _ in 0..workers {
            let (take_token, take_plan) = (take_token.clone(), take_plan.clone());
            let (give_made, take_buffer) = (give_made.clone(), take_buffer.clone());
            let halt = &halt;
            scope.spawn(move || run_worker(work, &take_token, &take_plan, &give_made, &take_buffer, halt));
        }
        drop((take_token, take_plan, give_made));
        let written = write_all(&mut writer, &take_made, &give_token, &give_buffer, work.cancel, &halt);
        if written.is_err() {
            halt.raise();
        }
        // whoever waits for the writer ends when its channels close
        drop((take_made, give_token, give_buffer));
        let planned = planner.join().expect("the planner's panics are caught");
        if let Some(stop) = work.cancel.asked() {
            return Err(PipelineError::Stopped(stop));
        }
        written.map_err(PipelineError::Store)?;
        match planned {
            Ok(PlanEnd::Done(totals)) if !halt.is_raised() => {
                Ok((writer.finish().map_err(PipelineError::Store)?, totals))
            }
            Ok(PlanEnd::Lines(error)) => Err(PipelineError::Lines(error)),
            _ => Err(PipelineError::Panicked),
        }
    })
}

fn run_worker(
    work: &Work<'_>,
    take_token: &Receiver<()>,
    take_plan: &Receiver<FramePlan>,
    give_made: &Sender<Made>,
    take_buffer: &Receiver<StoredFrame>,
    halt: &Halt,
) {
    let mut maker = Maker::new(work, halt.clone());
    loop {
        // both end with those who give: the writer, the planner
        let (Ok(()), Ok(plan)) = (take_token.recv(), take_plan.recv()) else { return };
        if halt.is_raised() {
            return;
        }
        let buffer = take_buffer.try_recv().unwrap_or_default();
        match catch_unwind(AssertUnwindSafe(|| maker.make(plan, buffer))) {
            Ok(Ok(made)) => {
                if give_made.send(made).is_err() {
                    return;
                }
            }
            Ok(Err(Halted)) => return,
            Err(_) => {
                halt.raise();
                return;
            }
        }
    }
}

fn write_all(
    writer: &mut OrderedWriter<'_>,
    take_made: &Receiver<Made>,
    give_token: &Sender<()>,
    give_buffer: &Sender<StoredFrame>,
    cancel: &Cancel,
    halt: &Halt,
) -> Result<(), CatalogError> {
    loop {
        if cancel.asked().is_some() || halt.is_raised() {
            return Ok(());
        }
        // a worker that died holds a frame that all others may be waiting behind: it is looked for, not only waited for
        let made = match take_made.recv_timeout(LOOK_EVERY) {
            Ok(made) => made,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        writer.take(made, |buffer| {
            // both fail only when nobody plans or makes frames any more
            let _ = give_buffer.try_send(buffer);
            let _ = give_token.try_send(());
        })?;
    }
}
