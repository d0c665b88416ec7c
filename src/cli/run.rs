//! `backup run`: make a snapshot of one or several jobs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::arguments::{Global, RunOverrides};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::config::{self, JobSettings, Overrides, Settings, StoreSettings};
use crate::domain::{Advise, Cancel, Clock, Outcome, Stop, SystemClock};
use crate::report::{Next, RunRecord, summary};
use crate::supervise::{Child, Retention, supervise};
use crate::wiring::{self, CHILD_VERB, Environment, JobPlan, LoadError, Notifiers, State};

/// How long a run may take to clean up after a signal.
const GRACE: Duration = Duration::from_secs(30);

/// Make a snapshot
///
/// Of the jobs of the configuration that are named (or its only one), or without any configuration of the folders
/// given with --source into the store given with --to, which is made on first use; then no configuration counts,
/// neither a file nor the environment's.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// Jobs of the configuration; none needs to be named if it has only one
    #[arg(value_name = "JOB", conflicts_with_all = ["source", "all"])]
    jobs: Vec<String>,
    /// All jobs of the configuration, one after another
    #[arg(long, conflicts_with = "source")]
    all: bool,
    /// A folder to read; may be given several times
    #[arg(long, value_name = "DIR", requires = "to")]
    source: Vec<PathBuf>,
    /// The folder of the store
    #[arg(long, value_name = "STORE", requires = "source")]
    to: Option<PathBuf>,
    /// With --source: the job's name; default: the name of the folder
    #[arg(long, value_name = "NAME", requires = "source")]
    job: Option<String>,
    #[command(flatten)]
    overrides: RunOverrides,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let overrides = Overrides {
        state_dir: global.state_dir.clone(),
        exclude: verb.overrides.exclude.clone(),
        compression: verb.overrides.compression.clone(),
        allow_empty: verb.overrides.allow_empty.then_some(true),
        threads: verb.overrides.threads.clone(),
        progress_timeout: verb.overrides.progress_timeout.clone(),
        max_shrink: verb.overrides.max_shrink.clone(),
        fresh: verb.overrides.fresh,
        volume_size: verb.overrides.volume_size.clone(),
    };
    let (settings, plans) = match &verb.to {
        Some(to) => from_flags(verb, to, overrides)?,
        None => from_configuration(verb, global, overrides, screen)?,
    };
    let state = which::state(global, Some(&settings));
    // before anything that can fail, so that it can be told
    let mut notifiers = Notifiers::new(&settings, &state, &Environment::read());
    let cancel = Cancel::new();
    wiring::watch_signals(&cancel);
    let mut worst = Exit::Ok;
    for plan in plans {
        match cancel.asked() {
            Some(Stop::Interrupted) => return Ok(Exit::Interrupted),
            Some(Stop::Terminated) => return Ok(Exit::Terminated),
            None => {}
        }
        complain(screen, notifiers.started(&plan.job.name));
        let (outcome, next_run) = match run_one(&plan, &state, &settings, &cancel, screen) {
            Ok(done) => done,
            Err(failure) => {
                let trouble = notifiers.sender().about_trouble(failure.trouble.clone(), SystemClock::new().now());
                complain(screen, notifiers.tell(vec![trouble]));
                return Err(failure);
            }
        };
        let message = notifiers.sender().about_run(&outcome, &plan.store.name, next_run, SystemClock::new().now());
        complain(screen, notifiers.tell(message.into_iter().collect()));
        worst = worse(worst, Exit::from(&outcome));
    }
    Ok(worst)
}

fn run_one(
    plan: &JobPlan,
    state: &State,
    settings: &Settings,
    cancel: &Cancel,
    screen: &Screen,
) -> Result<(Outcome, Option<jiff::Timestamp>), Failure> {
    let clock = SystemClock::new();
    let order = wiring::order_for(plan, &settings.timezone, state, screen.is_watched());
    let program = wiring::own_path().map_err(|error| Failure {
        exit: Exit::Failed,
        trouble: crate::domain::Trouble {
            what: "this program could not find its own file to start a run".to_owned(),
            causes: vec![error.to_string()],
            advice: "mount /proc where this runs".to_owned(),
        },
    })?;
    let child = Child {
        program,
        arguments: vec![OsString::from(CHILD_VERB)],
        deadline: plan.job.progress_timeout,
        grace: GRACE,
        hooks: wiring::hooks_of(&plan.job),
    };
    let progress = screen.progress();
    let ended = supervise(&child, &order, &clock, cancel, &*progress);
    drop(progress);
    if let Some(Retention::Undone { trouble }) = &ended.retention {
        screen.note(&format!("{}: {}; {}", trouble.what, trouble.causes.join(": "), trouble.advice));
    }
    let record = RunRecord::from(&ended.outcome);
    if let Some(id) = &ended.store {
        remember(state.remember_store(&plan.store.path, id), screen);
    }
    state.drop_outcomes(&ended.recorded);
    if !ended.recorded.contains(&order.run) {
        remember(state.keep_outcome(&record), screen);
    }
    if screen.is_json() {
        screen.json(&serde_json::to_value(&record).expect("a run record is plain values"));
    }
    let now = clock.now();
    let next = Next {
        due: plan.job.schedules.iter().filter_map(|schedule| schedule.next_after(now)).min(),
        zone: Some(settings.timezone.clone()),
        store_path: plan.store.path.display().to_string(),
    };
    let text = summary(&ended.outcome, &next);
    if !screen.is_json() {
        show(screen, &ended.outcome, &text);
    }
    Ok((ended.outcome, next.due))
}

/// Who could not be told. The outcome and the exit code stay what they are.
fn complain(screen: &Screen, lines: Vec<String>) {
    lines.iter().for_each(|line| screen.complain(&format!("notify: {line}")));
}

/// What went well goes to standard output; what did not, to standard error, also with --quiet.
fn show(screen: &Screen, outcome: &Outcome, text: &str) {
    use std::io::Write;
    match Exit::from(outcome) {
        Exit::Ok => screen.result(text),
        _ => {
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }
}

fn remember(result: Result<(), wiring::StateError>, screen: &Screen) {
    if let Err(error) = result {
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(" ({cause})"));
        screen.note(&format!("{error}{cause}: {}", error.advice()));
    }
}

fn from_flags(verb: &Verb, to: &std::path::Path, overrides: Overrides) -> Result<(Settings, Vec<JobPlan>), Failure> {
    let environment = Environment::read();
    let sources: Vec<PathBuf> = verb.source.iter().map(|path| which::absolute(path)).collect();
    let settings = config::from_flags(
        &sources,
        &which::absolute(to),
        verb.job.as_deref(),
        overrides,
        environment.default_state_dir(),
        environment.variables.get("TZ").map(String::as_str),
    )
    .map_err(|error| Failure::of(Exit::Usage, &LoadError::Wrong(error)))?;
    let plans = settings.jobs.values().map(|job| plan(job, &settings, true)).collect();
    Ok((settings, plans))
}

fn from_configuration(
    verb: &Verb,
    global: &Global,
    overrides: Overrides,
    screen: &Screen,
) -> Result<(Settings, Vec<JobPlan>), Failure> {
    let loaded = which::loaded(global, overrides).map_err(|error| Failure::of(Exit::Usage, &error))?;
    loaded.notices.iter().for_each(|notice| screen.note(notice));
    let settings = loaded.settings;
    let known: Vec<String> = settings.jobs.keys().map(ToString::to_string).collect();
    let jobs: Vec<&JobSettings> = match (verb.jobs.as_slice(), verb.all) {
        ([], true) => settings.jobs.values().collect(),
        ([], false) if settings.jobs.len() == 1 => settings.jobs.values().collect(),
        ([], false) => {
            return Err(Failure::usage(
                format!("the configuration has several jobs: {}", known.join(", ")),
                "name those to run, or say --all",
            ));
        }
        (names, _) => names
            .iter()
            .map(|name| {
                settings.jobs.values().find(|job| job.name.as_str() == name).ok_or_else(|| {
                    Failure::usage(
                        format!("there is no job {name}"),
                        format!("the configuration has {}", known.join(", ")),
                    )
                })
            })
            .collect::<Result<_, _>>()?,
    };
    let plans = jobs.into_iter().map(|job| plan(job, &settings, false)).collect();
    Ok((settings, plans))
}

fn plan(job: &JobSettings, settings: &Settings, init: bool) -> JobPlan {
    let store: StoreSettings =
        settings.stores.get(&job.store).cloned().expect("the configuration was checked: a job's store exists");
    JobPlan { job: job.clone(), store, init }
}

/// The code of several runs: the first of this list that any of them had.
fn worse(one: Exit, other: Exit) -> Exit {
    const WORST_FIRST: [Exit; 8] = [
        Exit::Interrupted,
        Exit::Terminated,
        Exit::Failed,
        Exit::StoreAbsent,
        Exit::Damage,
        Exit::Partial,
        // another run does the work, so nothing is missing yet
        Exit::Leased,
        Exit::Ok,
    ];
    let found = WORST_FIRST.into_iter().find(|exit| *exit == one || *exit == other);
    found.unwrap_or(Exit::Failed)
}

#[cfg(test)]
mod tests {
    use super::{Exit, worse};

    #[test]
    fn of_several_jobs_one_that_found_another_run_at_work_hides_none_that_is_partial_or_damaged() {
        for worst in [Exit::Partial, Exit::Damage, Exit::StoreAbsent, Exit::Failed] {
            assert_eq!((worse(worst, Exit::Leased), worse(Exit::Leased, worst)), (worst, worst));
        }
        assert_eq!(worse(Exit::Ok, Exit::Leased), Exit::Leased);
    }
}
