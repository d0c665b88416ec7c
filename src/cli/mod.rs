//! Arguments, screen, exit codes: one file a verb.
//!
//! Doors are thin. A command parses, calls one deed, shows the result, leaves. Parsing looks nothing up, so help and
//! version work when all else is broken.

mod against;
mod arguments;
mod cat;
mod completions;
mod config;
mod daemon;
mod diff;
mod doctor;
mod drill;
mod entries;
mod exit;
mod find;
mod hold;
mod index;
mod init;
mod junit;
mod list;
mod ls;
mod man;
mod notify;
mod prune;
mod restore;
mod run;
mod schedule;
mod screen;
mod show;
mod silence;
mod status;
mod undelete;
mod unlock;
mod verify;
mod which;

use std::process::ExitCode;

use clap::Parser;

pub use arguments::{Arguments, Global, Verb};
pub use exit::{Exit, Failure};
pub use screen::Screen;

use crate::command::{GUARD_VERB, guard};
use crate::daemon::{LOOK_VERB, run_look};
use crate::wiring;

/// Runs the program and gives its exit status.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|verb| verb == wiring::CHILD_VERB) {
        let told = wiring::run_child(&mut std::io::BufReader::new(std::io::stdin()), std::io::stdout());
        return if told { ExitCode::SUCCESS } else { Exit::Usage.into() };
    }
    if std::env::args_os().nth(1).is_some_and(|verb| verb == GUARD_VERB) {
        return if guard() { ExitCode::SUCCESS } else { Exit::Usage.into() };
    }
    if std::env::args_os().nth(1).is_some_and(|verb| verb == LOOK_VERB) {
        let told = run_look(&mut std::io::stdin().lock(), &mut std::io::stdout());
        return if told { ExitCode::SUCCESS } else { Exit::Usage.into() };
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // help and version come here as well, and are no error
            let is_error = error.use_stderr();
            let _ = error.print();
            return if is_error { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    let screen = Screen::new(&arguments.global);
    if matches!(arguments.verb, Verb::Daemon(_)) && wiring::is_first_process() {
        return daemon::as_first_process(&screen);
    }
    match dispatch(&arguments, &screen) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            screen.failure(&failure);
            failure.exit.into()
        }
    }
}

fn dispatch(arguments: &Arguments, screen: &Screen) -> Result<Exit, Failure> {
    let global = &arguments.global;
    match &arguments.verb {
        Verb::Run(verb) => run::run(verb, global, screen),
        Verb::List(verb) => list::run(verb, global, screen),
        Verb::Show(verb) => show::run(verb, global, screen),
        Verb::Ls(verb) => ls::run(verb, global, screen),
        Verb::Find(verb) => find::run(verb, global, screen),
        Verb::Diff(verb) => diff::run(verb, global, screen),
        Verb::Verify(verb) => verify::run(verb, global, screen),
        Verb::Restore(verb) => restore::run(verb, global, screen),
        Verb::Cat(verb) => cat::run(verb, global),
        Verb::Prune(verb) => prune::run(verb, global, screen),
        Verb::Undelete(verb) => undelete::run(verb, global, screen),
        Verb::Hold(verb) => hold::hold(verb, global, screen),
        Verb::Release(verb) => hold::release(verb, global, screen),
        Verb::Index(verb) => index::run(verb, global, screen),
        Verb::Daemon(verb) => daemon::run(verb, global, screen),
        Verb::Schedule(verb) => schedule::run(verb, global, screen),
        Verb::Status(verb) => status::run(verb, global, screen),
        Verb::Doctor(verb) => doctor::run(verb, global, screen),
        Verb::Init(verb) => init::run(verb, global, screen),
        Verb::Unlock(verb) => unlock::run(verb, global, screen),
        Verb::Config(verb) => config::run(verb, global, screen),
        Verb::Notify(verb) => notify::run(verb, global, screen),
        Verb::Completions(verb) => completions::run(verb, screen),
        Verb::Man(verb) => man::run(verb, screen),
    }
}
