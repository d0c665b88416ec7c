//! `backup daemon`: runs the jobs when they are due, all day.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use super::arguments::Global;
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::config::{Need, Overrides, Settings};
use crate::daemon::{self, Given, Inbox, Load, Log, LogFormat};
use crate::domain::Trouble;
use crate::wiring::{self, Environment, Init};

/// Run the jobs when they are due, all day
///
/// Answers at `web.listen` (127.0.0.1:9180): a page, /healthz, /readyz, /metrics and /api/v1. SIGHUP reads the
/// configuration again: it is taken whole, or the one before stays at work. SIGTERM ends it within ten seconds, or after
/// `grace`: nothing starts any more, what runs is stopped and cleans up; a second one ends it at once. It may be the first
/// process of a container, and tells systemd that it is ready and alive (Type=notify, WatchdogSec).
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// How events are logged to standard error; default: $BACKUP_LOG_FORMAT, else text on a terminal and json elsewhere
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<Format>,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// An object a line
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

pub(super) fn run(verb: &Verb, global: &Global, _screen: &Screen) -> Result<Exit, Failure> {
    // before anything else: from here on a signal is an ordinary event
    let inbox = Inbox::open();
    wiring::leave_no_core();
    let (config, state_dir) = (global.config.clone(), global.state_dir.clone());
    let read = move || {
        let overrides = Overrides { state_dir: state_dir.clone(), ..Overrides::default() };
        Environment::read().load(config.as_deref(), overrides, Need::All).map(|loaded| loaded.settings)
    };
    let settings = read().map_err(|error| Failure::of(Exit::Usage, &error))?;
    let load: Load = Arc::new(move || -> Result<Settings, Trouble> { read().map_err(|error| error.brief()) });
    let program = own_path()?;
    let log = Log::new(log_format(verb, global)?, std::io::stderr());
    let state = which::state(global, Some(&settings));
    daemon::run(Given { settings, load, state, program, log }, inbox)
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    Ok(Exit::Ok)
}

fn own_path() -> Result<std::path::PathBuf, Failure> {
    wiring::own_path().map_err(|error| Failure {
        exit: Exit::Failed,
        trouble: Trouble {
            what: "this program could not find its own file to start runs".to_owned(),
            causes: vec![error.to_string()],
            advice: "mount /proc where this runs".to_owned(),
        },
    })
}

fn log_format(verb: &Verb, global: &Global) -> Result<LogFormat, Failure> {
    let environment = Environment::read();
    Ok(match (verb.log_format, environment.variables.get("BACKUP_LOG_FORMAT").map(String::as_str)) {
        (Some(format), _) => format.into(),
        (None, _) if global.json => LogFormat::Json,
        (None, Some("json")) => LogFormat::Json,
        (None, Some("text")) => LogFormat::Text,
        (None, Some(other)) => {
            return Err(Failure::usage(format!("BACKUP_LOG_FORMAT is `{other}`"), "json or text"));
        }
        (None, None) if std::io::stderr().is_terminal() => LogFormat::Text,
        (None, None) => LogFormat::Json,
    })
}

/// The first process of a container: a small init around the daemon.
pub(super) fn as_first_process(screen: &Screen) -> ExitCode {
    let started = own_path().and_then(|program| {
        let mut command = Command::new(program);
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        Init::run(command.args(arguments)).map_err(|error| Failure {
            exit: Exit::Failed,
            trouble: Trouble {
                what: "the daemon could not be started".to_owned(),
                causes: vec![error.to_string()],
                advice: "see what the container forbids; or start it with an init of its own".to_owned(),
            },
        })
    });
    match started {
        Ok(code) => code.into(),
        Err(failure) => {
            screen.failure(&failure);
            failure.exit.into()
        }
    }
}
