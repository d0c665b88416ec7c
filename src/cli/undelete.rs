//! `backup undelete`: takes removed snapshots back.

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::catalog::Trashed;

/// Take back a removed snapshot
///
/// Without a name, shows what can be taken back.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Its name, or the beginning of its name or of its time
    #[arg(value_name = "SNAPSHOT")]
    snapshot: Option<String>,
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
            catalog.take_back(trashed)?;
            tell(screen, "undeleted", trashed);
            Ok(Exit::Ok)
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

fn tell(screen: &Screen, kind: &str, trashed: &Trashed) {
    if screen.is_json() {
        screen.json(&serde_json::json!({"type": kind, "snapshot": trashed.name, "removed": trashed.since}));
    } else if kind == "undeleted" {
        screen.result(&format!("{} is there again", trashed.name));
    } else {
        screen.result(&format!("{}  removed {}", trashed.name, trashed.since.strftime("%Y-%m-%d %H:%M:%S UTC")));
    }
}
