//! From settled settings to an order, from an order to an engine's job and an open store.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::tz::TimeZone;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::environment::{base_environment, machine_name, own_path, random_run, tool};
use super::state::State;
use crate::config::{JobSettings, StoreSettings};
use crate::domain::{Cancel, Stop};
use crate::engine::{Commands, Job};
use crate::source::{ExcludeError, Excludes};
use crate::store::{FolderStore, Store, StoreError};
use crate::supervise::{HookPlan, Order, StoreOrder};

/// A job with its store, and whether that may be made on first use.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// The job.
    pub job: JobSettings,
    /// Its store.
    pub store: StoreSettings,
    /// Whether the folder becomes a store if it is none.
    pub init: bool,
}

/// The order for one run of `plan`.
pub fn order_for(plan: &JobPlan, zone: &TimeZone, state: &State, survey: bool) -> Order {
    let JobPlan { job, store, init } = plan;
    let one = NonZeroUsize::MIN;
    Order {
        run: random_run(),
        dead_runs: Vec::new(),
        host: machine_name(),
        tool: tool(),
        job: job.name.clone(),
        sources: job.sources.iter().map(|path| path.clone().into_os_string()).collect(),
        commands: job.commands.clone(),
        command_environment: base_environment(),
        silence: job.progress_timeout,
        exclude: job.exclude.clone(),
        exclude_caches: job.exclude_caches,
        exclude_if_present: job.exclude_if_present.clone(),
        one_file_system: job.one_file_system,
        max_file_size: job.max_file_size,
        allow_empty: job.allow_empty,
        codec: job.codec,
        max_shrink_percent: job.max_shrink_percent,
        threads: job.threads.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(one)),
        has_hooks: !job.hooks.is_empty(),
        survey,
        reuse: job.reuse.clone(),
        store: store_order(store, state, *init),
        retention: job.retention,
        trash_for: job.trash_for,
        zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        pending: state.pending(&job.name, &store.path.to_string_lossy()),
    }
}

/// What is run around a run of this job, if anything is.
pub fn hooks_of(job: &JobSettings) -> Option<HookPlan> {
    let plan = || HookPlan { hooks: job.hooks.clone(), environment: base_environment() };
    (!job.hooks.is_empty()).then(plan)
}

/// A store as a child opens it.
pub fn store_order(store: &StoreSettings, state: &State, init: bool) -> StoreOrder {
    StoreOrder {
        path: store.path.clone().into_os_string(),
        require_mount: store.require_mount.clone(),
        permissions: store.permissions,
        expected: state.store_at(&store.path),
        init,
        lease_term: store.lease_term,
    }
}

/// What the engine is to do.
///
/// # Errors
/// If a pattern is none; the parent's configuration checks them first.
pub(super) fn engine_job(order: &Order) -> Result<Job, ExcludeError> {
    Ok(Job {
        name: order.job.clone(),
        sources: order.sources.iter().map(PathBuf::from).collect(),
        commands: Commands {
            list: order.commands.clone(),
            // none where the machine does not say: commands then say so
            guard: own_path().unwrap_or_default(),
            environment: order.command_environment.clone(),
            silence: order.silence,
        },
        excludes: Excludes::new(&order.exclude)?,
        exclude_caches: order.exclude_caches,
        exclude_if_present: order.exclude_if_present.as_ref().map(|name| name.as_bytes().into()),
        one_file_system: order.one_file_system,
        max_file_size: order.max_file_size,
        allow_empty: order.allow_empty,
        codec: order.codec,
        max_shrink_percent: order.max_shrink_percent,
        threads: order.threads,
        lease_term: order.store.lease_term,
        survey: order.survey,
        reuse: order.reuse.clone(),
    })
}

/// Opens a store behind its guard, with what is worth knowing of it.
///
/// # Errors
/// If it is not there, not the expected one, or not mounted as it must be.
pub fn open_store(order: &StoreOrder) -> Result<(Arc<dyn Store>, Vec<String>), StoreError> {
    let opened =
        FolderStore::open(Path::new(&order.path), &order.require_mount, order.permissions, order.expected.as_ref())?;
    Ok((Arc::new(opened.store), opened.notices))
}

/// SIGINT and SIGTERM ask the token to stop; nothing else happens in the handler's thread.
pub fn watch_signals(cancel: &Cancel) {
    let cancel = cancel.clone();
    let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]);
    let mut signals = signals.expect("SIGINT and SIGTERM can be handled");
    std::thread::spawn(move || {
        for signal in signals.forever() {
            cancel.ask(if signal == SIGINT { Stop::Interrupted } else { Stop::Terminated });
        }
    });
}

/// As [`watch_signals`], for a command that works in its own process: the second signal ends it at once, because a store
/// that hangs never lets it look at the token.
pub fn watch_signals_twice(cancel: &Cancel) {
    for signal in [SIGINT, SIGTERM] {
        let asked = Arc::new(AtomicBool::new(false));
        // in this order: the first signal meets a flag that is down, and raises it
        let ended = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked));
        ended.and_then(|_| signal_hook::flag::register(signal, asked)).expect("SIGINT and SIGTERM can be handled");
    }
    watch_signals(cancel);
}
