//! `backup unlock`: who holds a job's lease, and the end of a dead one.

use std::time::Duration;

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::domain::{Clock, SystemClock};
use crate::report::duration_words;
use crate::wiring;

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
    let (is_stale, term) = (lease.is_stale(), duration_words(lease.term));
    let (removed, not_given_up) = if verb.break_it {
        (true, catalog.break_lease()?)
    } else if is_stale {
        let claim = wiring::claim(SystemClock::new().now(), Duration::from_secs(TERM_UNKNOWN_S));
        let ended = catalog.end_stale_lease(&lease, &claim)?;
        (ended, if ended { catalog.give_up_work(&lease.holder)? } else { None })
    } else {
        (false, None)
    };
    if let Some(error) = not_given_up {
        screen.note(&format!(
            "that run's unfinished work could not be given up ({error}): it is adopted or removed after {term} of silence"
        ));
    }
    let silent = duration_words(lease.silent);
    let done = match (removed, is_stale) {
        (true, true) => "its term was over, and it was removed".to_owned(),
        (true, false) => "it was removed, and that run will publish nothing".to_owned(),
        (false, true) => "its term was over, and is not any more, or another has taken it over".to_owned(),
        (false, false) => format!("its term ends after {term} of silence; --break removes it now"),
    };
    say(
        screen,
        &format!("the lease of {job} is held by {}, last renewed {silent} ago: {done}", lease.holder),
        &serde_json::json!({
            "type": "lease", "job": job, "holder": lease.holder.to_string(), "silent_s": lease.silent.as_secs(),
            "stale": is_stale, "removed": removed,
        }),
    );
    Ok(if removed { Exit::Ok } else { Exit::Leased })
}

fn say(screen: &Screen, text: &str, json: &serde_json::Value) {
    if screen.is_json() { screen.json(json) } else { screen.result(text) }
}
