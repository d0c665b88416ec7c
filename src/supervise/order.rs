//! What the child is told: settled values, nothing to look up but the source and the store.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::archive::Codec;
use crate::domain::{ByteCount, Host, JobName, RunId, StoreId};
use crate::engine::{CommandSource, Reuse};
use crate::report::RunRecord;
use crate::retention::Policy;
use crate::store::{Permissions, RequireMount};

/// One run, ordered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// This attempt.
    pub run: RunId,
    /// Earlier attempts from here whose processes have been waited for: whatever they hold in the store is over.
    #[serde(default)]
    pub dead_runs: Vec<RunId>,
    /// This machine.
    pub host: Host,
    /// The program and its version.
    pub tool: String,
    /// The job.
    pub job: JobName,
    /// The folders to read; any bytes.
    pub sources: Vec<OsString>,
    /// Commands whose output is stored besides.
    #[serde(default)]
    pub commands: Vec<CommandSource>,
    /// The environment of every command.
    #[serde(default)]
    pub command_environment: BTreeMap<String, String>,
    /// How long a command without a deadline may give nothing.
    #[serde(default)]
    pub silence: Duration,
    /// Patterns.
    pub exclude: Vec<String>,
    /// Leave out the content of cache folders.
    pub exclude_caches: bool,
    /// Leave out the content of folders that hold this file.
    pub exclude_if_present: Option<String>,
    /// Do not enter other file systems.
    pub one_file_system: bool,
    /// Leave out larger files.
    pub max_file_size: Option<ByteCount>,
    /// Whether an empty source is well.
    pub allow_empty: bool,
    /// How frames are compressed.
    pub codec: Codec,
    /// By how much entries or content may fall.
    pub max_shrink_percent: u8,
    /// Workers.
    pub threads: NonZeroUsize,
    /// Whether the parent has hooks, and is to be asked for them.
    #[serde(default)]
    pub has_hooks: bool,
    /// Look through the source first.
    pub survey: bool,
    /// What is built on the snapshot before.
    pub reuse: Reuse,
    /// The store.
    pub store: StoreOrder,
    /// What stays, after a run that was ok.
    pub retention: Policy,
    /// How long a removed snapshot can be taken back.
    pub trash_for: Duration,
    /// The zone of its calendar, as the configuration names it; UTC if it has no name.
    pub zone: String,
    /// Outcomes of former runs that did not reach the store.
    pub pending: Vec<RunRecord>,
}

/// The store of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoreOrder {
    /// Its folder; any bytes.
    pub path: OsString,
    /// What it must be mounted as.
    pub require_mount: RequireMount,
    /// Of what is created.
    pub permissions: Permissions,
    /// The id it had when it was last seen from here.
    pub expected: Option<StoreId>,
    /// Make it a store if it is none: only for a folder given on the command line.
    pub init: bool,
    /// After how long a silence of a run others may take its lease.
    pub lease_term: Duration,
}
