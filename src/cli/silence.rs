//! What a command says, and does, when its store does not answer.
//!
//! A person is told what is waited for, and may go on waiting. Where nobody watches, in a cron job or a pipe, the process
//! ends with the status of a store that is not there: something that hangs for ever is never looked at. Only standard
//! error is written to, because the thread that hangs may hold standard output.
//!
//! The danger is to promise too much: what was asked of the store last may still happen when it answers.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::arguments::Global;
use super::exit::Exit;
use crate::config::Settings;
use crate::wiring::News;

/// How long a store may take, unless something else is said: longer than a server's reboot and grace.
const USUAL: Duration = Duration::from_secs(300);

/// How long the stores of these settings may take.
pub(super) fn deadline(settings: Option<&Settings>, global: &Global) -> Duration {
    let of_jobs = settings.and_then(|settings| settings.jobs.values().map(|job| job.progress_timeout).max());
    global.store_timeout.or(of_jobs).unwrap_or(USUAL)
}

/// Hears news of a store.
pub(super) fn teller(store: String) -> impl FnMut(&News) + Send + 'static {
    let is_watched = std::io::stderr().is_terminal();
    move |news| {
        let _ = writeln!(std::io::stderr(), "backup: {}", words(&store, news, is_watched));
        if !is_watched && matches!(news, News::Silent(_)) {
            end();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread that would leave by the door hangs in the store")]
fn end() {
    std::process::exit(Exit::StoreAbsent as i32);
}

fn words(store: &str, news: &News, is_watched: bool) -> String {
    let News::Silent(waiting) = news else { return format!("the store {store} answers again") };
    let what = format!(
        "the store {store} has not answered for {} s while {} {}",
        waiting.long.as_secs(),
        waiting.deed,
        waiting.place
    );
    let advice = if is_watched {
        "this goes on when it does; to end it, interrupt it twice"
    } else {
        "this ends here, because nobody watches (--store-timeout waits longer); what was asked last may still happen, and \
         the same command may be given again"
    };
    format!("{what}\n  do: check the server and the mount; {advice}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{teller, words};
    use crate::domain::SystemClock;
    use crate::store::{Calls, Waiting};
    use crate::wiring::{News, watch_calls};

    #[test]
    fn a_silence_is_told_with_what_is_waited_for_and_what_to_do() {
        let waiting = Waiting { deed: "reading", place: "up/x.tar".into(), long: Duration::from_secs(301) };
        let said = words("/mnt/nas", &News::Silent(waiting.clone()), true);
        assert!(said.contains("/mnt/nas has not answered for 301 s while reading up/x.tar"), "{said}");
        assert!(said.contains("interrupt it twice"), "{said}");
        assert!(words("/mnt/nas", &News::Silent(waiting), false).contains("ends here"));
        assert!(words("/mnt/nas", &News::Answers, true).contains("answers again"));
    }

    /// Hangs for ever, as a thread in a dead server's call does. Started by the test below, in a process of its own.
    #[test]
    #[ignore = "hangs until the watch ends its process"]
    fn hang() {
        let calls = Calls::new(SystemClock::new());
        watch_calls(&calls, Duration::from_millis(20), teller("/mnt/nas".to_owned()));
        // whoever hangs may hold standard output
        let _held = std::io::stdout().lock();
        let (_keep, never) = crossbeam_channel::bounded::<()>(0);
        let _ = calls.during("listing", &Arc::from("up"), || never.recv());
    }

    #[test]
    fn where_nobody_watches_a_silent_store_ends_the_command_with_6() {
        let own = std::env::current_exe().expect("a test knows its own file");
        let mut command = std::process::Command::new(own);
        command.args(["--exact", "cli::silence::tests::hang", "--ignored", "--nocapture"]);
        let ran = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(6), "{said}");
        assert!(said.contains("the store /mnt/nas has not answered for 0 s while listing up"), "{said}");
    }
}
