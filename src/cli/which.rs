//! Finding the store and the job that a command means.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::silence;
use crate::catalog::{Catalog, Record, jobs_in};
use crate::config::{Need, Overrides, Settings, StoreSettings};
use crate::domain::{JobName, SnapshotName};
use crate::store::Store;
use crate::wiring::{self, Environment, LoadError, Loaded, State};

/// Stores and jobs as they are configured; none if there is no configuration at all. Whom to tell is not asked: its
/// secrets must not stand in the way of a restore.
pub(super) fn settings(global: &Global) -> Result<Option<Settings>, Failure> {
    settings_with(global, Need::Stores)
}

/// The settings, if there is a configuration.
pub(super) fn settings_with(global: &Global, need: Need) -> Result<Option<Settings>, Failure> {
    match load(global, Overrides { state_dir: global.state_dir.clone(), ..Overrides::default() }, need) {
        Ok(settings) => Ok(Some(settings)),
        Err(LoadError::None) => Ok(None),
        Err(error) => Err(Failure::of(Exit::Usage, &error)),
    }
}

pub(super) fn load(global: &Global, overrides: Overrides, need: Need) -> Result<Settings, LoadError> {
    Ok(Environment::read().load(global.config.as_deref(), overrides, need)?.settings)
}

/// All settings, with what is worth a line about them.
pub(super) fn loaded(global: &Global, overrides: Overrides) -> Result<Loaded, LoadError> {
    Environment::read().load(global.config.as_deref(), overrides, Need::All)
}

/// Where state lies.
pub(super) fn state(global: &Global, settings: Option<&Settings>) -> State {
    let folder = global
        .state_dir
        .clone()
        .or_else(|| settings.map(|settings| settings.state_dir.clone()))
        .unwrap_or_else(|| Environment::read().default_state_dir());
    State::new(folder)
}

/// The stores that a reading command looks at, and the job if only one is meant.
pub(super) struct Meant {
    pub(super) store: Arc<dyn Store>,
    pub(super) jobs: Vec<JobName>,
}

/// The stores and jobs that `which` means: one store with `--store`, else those of the configuration.
pub(super) fn meant(which: &Which, global: &Global) -> Result<Vec<Meant>, Failure> {
    let wanted = which.job.as_deref().map(job_name).transpose()?;
    let settings = settings_of(which, global)?;
    let state = state(global, settings.as_ref());
    let patience = silence::deadline(settings.as_ref(), global);
    let stores = match (&which.store, &settings) {
        (Some(given), settings) => {
            let mut store = named_store(given, settings.as_ref());
            store.require_mount = which.require_mount.clone().unwrap_or(store.require_mount);
            vec![store]
        }
        (None, Some(settings)) => settings.stores.values().cloned().collect(),
        (None, None) => {
            return Err(Failure::usage(
                "no store was named, and there is no configuration",
                "say which with --store STORE, or give a configuration with --config FILE",
            ));
        }
    };
    let mut all = Vec::new();
    for settings_of_store in stores {
        let store = open(&settings_of_store, &state, patience)?;
        let mut jobs = jobs_in(&*store)?;
        if let Some(wanted) = &wanted {
            jobs.retain(|job| job == wanted);
        }
        all.push(Meant { store, jobs });
    }
    Ok(all)
}

/// The configuration that a reading command needs: none where the store's folder is named, so that it works when the
/// configuration is broken.
pub(super) fn settings_of(which: &Which, global: &Global) -> Result<Option<Settings>, Failure> {
    if is_needless(which, global) { Ok(None) } else { settings(global) }
}

fn is_needless(which: &Which, global: &Global) -> bool {
    which.store.as_deref().is_some_and(is_path) && global.config.is_none()
}

/// The zone in which times are read and shown, and days begin: the configuration's, also beside a store's folder; else
/// UTC. One that cannot be read is no error where the folder is named.
pub(super) fn zone(which: &Which, global: &Global) -> Result<TimeZone, Failure> {
    let settings = match settings(global) {
        Err(_) if is_needless(which, global) => None,
        read => read?,
    };
    Ok(settings.map_or(TimeZone::UTC, |settings| settings.timezone))
}

/// The folders that a snapshot was made of. None where its record cannot be read: they only help to understand a path.
pub(super) fn sources(catalog: &Catalog, name: &SnapshotName) -> Vec<String> {
    // with commands every path is a full one, whatever the number of sources
    let naming = |record: Record| if record.commands.is_empty() { record.sources } else { Vec::new() };
    catalog.record(name).map(|(record, _)| naming(record)).unwrap_or_default()
}

/// After how long a silence a lease on the store may be taken over.
pub(super) fn lease_term(which: &Which, global: &Global) -> Duration {
    let settings = settings(global).ok().flatten();
    match &which.store {
        Some(given) => named_store(given, settings.as_ref()).lease_term,
        None => {
            let stores = settings.iter().flat_map(|settings| settings.stores.values());
            stores.map(|store| store.lease_term).max().unwrap_or(StoreSettings::local("/".into()).lease_term)
        }
    }
}

/// The one catalog that `which` means.
pub(super) fn catalog(which: &Which, global: &Global) -> Result<Catalog, Failure> {
    let mut found: Vec<(Arc<dyn Store>, JobName)> = Vec::new();
    for Meant { store, jobs } in meant(which, global)? {
        found.extend(jobs.into_iter().map(|job| (Arc::clone(&store), job)));
    }
    match found.len() {
        1 => {
            let (store, job) = found.remove(0);
            Ok(Catalog::new(store, job))
        }
        0 => Err(Failure::usage(
            match &which.job {
                Some(job) => format!("there is no job {job} in the store"),
                None => "there are no snapshots in the store yet".to_owned(),
            },
            "`backup list --store STORE` shows what is there",
        )),
        _ => {
            let names: Vec<String> = found.iter().map(|(_, job)| job.to_string()).collect();
            Err(Failure::usage(format!("several jobs are there: {}", names.join(", ")), "say which with --job NAME"))
        }
    }
}

/// The catalog in which a snapshot of this name lies: the name tells the job.
pub(super) fn catalog_of(snapshot: &str, which: &Which, global: &Global) -> Result<(Catalog, SnapshotName), Failure> {
    let mut which = which.clone();
    if which.job.is_none()
        && let Ok(name) = snapshot.parse::<SnapshotName>()
    {
        which.job = Some(name.job().to_string());
    }
    let catalog = catalog(&which, global)?;
    let name = catalog.find(snapshot)?;
    Ok((catalog, name))
}

/// A store given on the command line: the configuration's of that name, or the folder.
pub(super) fn named_store(given: &Path, settings: Option<&Settings>) -> StoreSettings {
    let known = given.to_str().and_then(|name| settings?.stores.get(name));
    known.cloned().unwrap_or_else(|| {
        let by_path = settings.and_then(|settings| settings.stores.values().find(|store| store.path == given));
        by_path.cloned().unwrap_or_else(|| StoreSettings::local(absolute(given)))
    })
}

/// A path as the child and the state know it: absolute, not resolved.
pub(super) fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn is_path(given: &Path) -> bool {
    given.components().count() > 1 || given.is_absolute()
}

fn open(store: &StoreSettings, state: &State, patience: Duration) -> Result<Arc<dyn Store>, Failure> {
    let tell = silence::teller(store.path.display().to_string());
    Ok(wiring::open_watched(store, state, patience, tell)?)
}

pub(super) fn job_name(text: &str) -> Result<JobName, Failure> {
    text.parse().map_err(|error: crate::domain::IdError| {
        Failure::usage(error.to_string(), "`backup list` shows the jobs that are there")
    })
}
