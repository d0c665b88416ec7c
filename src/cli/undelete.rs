//! `backup undelete`: takes removed snapshots back.

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::catalog::{Hold, Trashed};
use crate::domain::{Clock, SystemClock};
use crate::prune::{Accept, TakenBack, take_back};
use crate::wiring;

/// Take back a removed snapshot
///
/// Without a name, shows what can be taken back. What is taken back is held, so that the next prune does not remove it
/// again: `backup release` ends that. Its files are compared with its record by name and length first.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Its name, or the beginning of its name or of its time
    #[arg(value_name = "SNAPSHOT")]
    snapshot: Option<String>,
    /// Take it back even if files of it are missing or cut
    #[arg(long, requires = "snapshot")]
    damaged: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let catalog = which::catalog(&verb.which, global)?;
    let all = catalog.trash()?;
    let Some(wanted) = &verb.snapshot else {
        for trashed in &all {
            tell(screen, "trashed", trashed);
        }
        if all.is_empty() && !screen.is_json() {
            screen.result("there is nothing to take back");
        }
        return Ok(Exit::Ok);
    };
    let prefix = format!("{}-", catalog.layout().job());
    let fits = |trashed: &&Trashed| {
        let name = trashed.name.as_str();
        name.starts_with(wanted.as_str())
            || name.strip_prefix(&prefix).is_some_and(|stamp| stamp.starts_with(wanted.as_str()))
    };
    let found: Vec<&Trashed> = all.iter().filter(fits).collect();
    let several = found.iter().any(|trashed| trashed.name != found[0].name);
    // of one name that was removed twice the last is meant
    match found.last() {
        Some(trashed) if !several => {
            let now = SystemClock::new().now();
            let removed = trashed.since.strftime("%Y-%m-%d %H:%M:%S UTC");
            let why = format!("taken back from the trash, where it was since {removed}");
            let hold = Hold { why, by: wiring::machine_name().to_string(), since: Some(now) };
            let accept = if verb.damaged { Accept::Damaged } else { Accept::Whole };
            let claim = wiring::claim(now, which::lease_term(&verb.which, global));
            let taken = take_back(&catalog, trashed, &hold, accept, claim)?;
            tell_taken(screen, trashed, &taken);
            Ok(if taken.damages.is_empty() { Exit::Ok } else { Exit::Damage })
        }
        Some(_) => {
            Err(Failure::usage(format!("several removed snapshots begin with {wanted}"), "give more of the name"))
        }
        None => Err(Failure::usage(
            format!("there is no removed snapshot {wanted}"),
            "`backup undelete` without a name shows what can be taken back; what was removed longer ago than `trash_for` is gone",
        )),
    }
}

fn tell_taken(screen: &Screen, trashed: &Trashed, taken: &TakenBack) {
    let name = &trashed.name;
    if screen.is_json() {
        return screen.json(&serde_json::json!({
            "type": "undeleted", "snapshot": name, "removed": trashed.since, "held": taken.hold.why, "damages": taken.damages,
        }));
    }
    let mut lines = vec![format!("{name} is there again, and held until `backup release {name}`: {}", taken.hold.why)];
    if !taken.damages.is_empty() {
        lines.push(format!("IT IS DAMAGED: {}", taken.damages.join("; ")));
        lines.push(format!("`backup verify {name}` shows what that costs"));
    }
    screen.result(&lines.join("\n"));
}

fn tell(screen: &Screen, kind: &str, trashed: &Trashed) {
    if screen.is_json() {
        screen.json(&serde_json::json!({"type": kind, "snapshot": trashed.name, "removed": trashed.since}));
    } else {
        screen.result(&format!("{}  removed {}", trashed.name, trashed.since.strftime("%Y-%m-%d %H:%M:%S UTC")));
    }
}
