//! `backup unlock`: who holds a job's lease, and the end of a dead one.

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::report::duration_words;

/// A holder that cannot be read is taken for dead after this.
const TERM_UNKNOWN_S: u64 = 900;

/// Show who holds a job's lease, and end a dead one
///
/// Removes the lease if its term is over. A lease whose holder is still heard of is removed only with --break; that
/// run will then publish nothing.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Remove the lease even if its holder seems to live
    #[arg(long = "break")]
    break_it: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let catalog = which::catalog(&verb.which, global)?;
    let job = catalog.layout().job().clone();
    let Some(lease) = catalog.lease_state(TERM_UNKNOWN_S)? else {
        say(screen, &format!("nobody holds the lease of {job}"), &serde_json::json!({"type": "lease", "job": job}));
        return Ok(Exit::Ok);
    };
    let remove = lease.is_stale() || verb.break_it;
    if remove && let Some(error) = catalog.break_lease()? {
        screen.note(&format!(
            "that run's unfinished work could not be given up ({error}): it is adopted or removed after {} of silence",
            duration_words(lease.term)
        ));
    }
    let silent = duration_words(lease.silent);
    let done = match (remove, lease.is_stale()) {
        (true, true) => "its term was over, and it was removed".to_owned(),
        (true, false) => "it was removed, and that run will publish nothing".to_owned(),
        (false, _) => format!("its term ends after {} of silence; --break removes it now", duration_words(lease.term)),
    };
    say(
        screen,
        &format!("the lease of {job} is held by {}, last renewed {silent} ago: {done}", lease.holder),
        &serde_json::json!({
            "type": "lease", "job": job, "holder": lease.holder.to_string(), "silent_s": lease.silent.as_secs(),
            "stale": lease.is_stale(), "removed": remove,
        }),
    );
    Ok(if remove { Exit::Ok } else { Exit::Leased })
}

fn say(screen: &Screen, text: &str, json: &serde_json::Value) {
    if screen.is_json() { screen.json(json) } else { screen.result(text) }
}
