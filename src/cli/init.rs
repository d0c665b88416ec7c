//! `backup init`: make a folder a store.

use std::path::PathBuf;

use super::arguments::Global;
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::config::StoreSettings;
use crate::domain::{Clock, SystemClock};
use crate::store::{FolderStore, MARKER_NAME, StoreError};
use crate::wiring;

/// Make a folder a store
///
/// Writes the marker by which the program knows the right disk. Do it once, with the share mounted.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Its folder, or its name in the configuration; default: all stores of the configuration
    #[arg(long, short, value_name = "STORE")]
    store: Option<PathBuf>,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let by_path = verb.store.as_deref().is_some_and(|path| path.is_absolute() || path.components().count() > 1);
    let settings = if by_path && global.config.is_none() { None } else { which::settings(global)? };
    let state = which::state(global, settings.as_ref());
    let stores: Vec<StoreSettings> = match (&verb.store, &settings) {
        (Some(given), settings) => vec![which::named_store(given, settings.as_ref())],
        (None, Some(settings)) => settings.stores.values().cloned().collect(),
        (None, None) => {
            let advice = "say which with --store DIR, or give a configuration with --config FILE";
            return Err(Failure::usage("no store was named, and there is no configuration", advice));
        }
    };
    let clock = SystemClock::new();
    for store in stores {
        let id = wiring::random_store();
        let made = FolderStore::init(
            &store.path,
            &store.require_mount,
            store.permissions,
            id.clone(),
            clock.now(),
            &wiring::tool(),
            settings.is_none(),
        );
        match made {
            Ok(()) => screen.result(&format!("{} is a store now ({MARKER_NAME}, id {id})", store.path.display())),
            // saying it again is how a script makes sure
            Err(StoreError::AlreadyThere { .. }) => {
                screen.result(&format!("{} is a store already", store.path.display()))
            }
            Err(error) => return Err(error.into()),
        }
        // a person said that what is mounted now is right
        let forgotten = state.forget_store(&store.path);
        if let Err(error) = forgotten {
            screen.note(&error.to_string());
        }
        if screen.is_json() {
            screen.json(&serde_json::json!({"type": "store", "path": store.path.display().to_string()}));
        }
    }
    Ok(Exit::Ok)
}
