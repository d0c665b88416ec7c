//! `backup hold` and `backup release`: snapshots that stay whatever retention says.

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::catalog::{Catalog, Hold};
use crate::domain::{Clock, SnapshotName, SystemClock};
use crate::wiring;

/// Keep a snapshot, whatever retention says
///
/// Until `backup release`. If a prune moves it to the trash at this very moment, this says so; the hold then keeps it
/// from being removed for good, and `backup undelete` takes it back.
#[derive(Debug, clap::Args)]
pub struct HoldVerb {
    /// Its name, the beginning of its name or of its time, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    /// Why, for whoever finds it held
    #[arg(long, value_name = "TEXT")]
    why: String,
    #[command(flatten)]
    which: Which,
}

/// Leave a held snapshot to retention again
#[derive(Debug, clap::Args)]
pub struct ReleaseVerb {
    /// Its name, the beginning of its name or of its time, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    #[command(flatten)]
    which: Which,
}

pub(super) fn hold(verb: &HoldVerb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let (catalog, name) = which::catalog_of(&verb.snapshot, &verb.which, global)?;
    let by = wiring::machine_name().to_string();
    let hold = Hold { why: verb.why.clone(), by, since: Some(SystemClock::new().now()) };
    let text = if catalog.hold(&name, &hold)? {
        format!("{name} stays until `backup release {name}`: {}", verb.why)
    } else {
        let first = catalog.holds()?.remove(&name).unwrap_or_default();
        format!("{name} is held already: {}", first.why)
    };
    say(screen, &text, &serde_json::json!({"type": "held", "snapshot": name, "why": verb.why}));
    Ok(Exit::Ok)
}

pub(super) fn release(verb: &ReleaseVerb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let (catalog, name) = match which::catalog_of(&verb.snapshot, &verb.which, global) {
        Err(failure) => held_of(&verb.snapshot, &verb.which, global).ok_or(failure)?,
        found => found?,
    };
    let was = catalog.release(&name)?;
    let text = if was { format!("{name} is left to retention again") } else { format!("{name} was not held") };
    say(screen, &text, &serde_json::json!({"type": "released", "snapshot": name, "was_held": was}));
    Ok(Exit::Ok)
}

/// What is held is released wherever it is: in the trash, or removed by hand.
fn held_of(snapshot: &str, which: &Which, global: &Global) -> Option<(Catalog, SnapshotName)> {
    let name: SnapshotName = snapshot.parse().ok()?;
    let which = Which { job: Some(name.job().to_string()), ..which.clone() };
    let catalog = which::catalog(&which, global).ok()?;
    catalog.holds().ok()?.contains_key(&name).then_some((catalog, name))
}

fn say(screen: &Screen, text: &str, json: &serde_json::Value) {
    if screen.is_json() { screen.json(json) } else { screen.result(text) }
}
