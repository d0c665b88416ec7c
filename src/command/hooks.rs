//! Hooks: what is run around a run, in the process that watches it.
//!
//! The danger is a site that stays in maintenance: a step that was begun is undone whatever happens, once, in reverse order,
//! and nobody's wish to stop cuts that short. So hooks live with the watcher and not with the run, which may hang at a dead
//! server or be killed.
//!
//! What a hook that fails means: before the run, that there is none; at any other time a doubt, in words.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::error::CommandError;
use super::guardian::TERM_GRACE;
use super::run::{Launch, Output, Spec};
use crate::domain::{Advise, Cancel, Clock, JobName, RunId, Stop, StopReason, Trouble, Verdict};
use crate::report::RunRecord;

/// How long a hook may be at work unless something else is said.
pub const HOOK_DEADLINE: Duration = Duration::from_secs(5 * 60);

/// What hooks are told in their environment, as far as it is known. The second is always there.
pub const HOOK_VARIABLES: [&str; 6] =
    ["BACKUP_JOB", "BACKUP_RUN", "BACKUP_STORE", "BACKUP_VERDICT", "BACKUP_SNAPSHOT", "BACKUP_REASON"];

/// What is run before a run, and what takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is run.
    pub run: Spec,
    /// What undoes it.
    pub undo: Option<Spec>,
}

/// What is run around a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before anything of the source is read.
    pub before: Vec<Step>,
    /// After a run that made a snapshot.
    pub after: Vec<Spec>,
    /// After one that did not end ok.
    pub on_failure: Vec<Spec>,
    /// After every one.
    pub always: Vec<Spec>,
}

impl Hooks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty() && self.on_failure.is_empty() && self.always.is_empty()
    }

    /// All of them, each with what it is called.
    pub fn all(&self) -> Vec<(String, &Spec)> {
        fn named<'h>(kind: &str, specs: impl Iterator<Item = Option<&'h Spec>>) -> Vec<(String, &'h Spec)> {
            specs.zip(1..).filter_map(|(spec, number)| Some((name(kind, number), spec?))).collect()
        }
        let mut all = named("before", self.before.iter().map(|step| Some(&step.run)));
        all.extend(named("undo", self.before.iter().map(|step| step.undo.as_ref())));
        all.extend(named("after", self.after.iter().map(Some)));
        all.extend(named("on_failure", self.on_failure.iter().map(Some)));
        all.extend(named("always", self.always.iter().map(Some)));
        all
    }

    /// How long hooks may take at the most once the run was asked to stop: one that is ended, if it can be ended, and all
    /// that nobody's wish to stop cuts short.
    pub fn ending_limit(&self) -> Duration {
        let end = TERM_GRACE + Duration::from_secs(2);
        let at_work = if self.before.is_empty() && self.after.is_empty() { Duration::ZERO } else { end };
        let undo = self.before.iter().filter_map(|step| step.undo.as_ref());
        let ending = undo.chain(&self.on_failure).chain(&self.always);
        at_work + ending.map(|spec| spec.deadline.unwrap_or(HOOK_DEADLINE) + end).sum::<Duration>()
    }
}

fn name(kind: &str, number: usize) -> String {
    format!("hook `{kind}` {number}")
}

/// The hooks of one run, and how far they are.
pub struct HookRunner<'a> {
    hooks: &'a Hooks,
    guard: PathBuf,
    base: &'a BTreeMap<String, String>,
    clock: &'a dyn Clock,
    /// What every hook is told in its environment.
    told: BTreeMap<String, String>,
    /// How many steps were begun.
    begun: usize,
    /// What failed when they were undone; none if that is still to be done.
    undone: Option<Vec<String>>,
    is_ended: bool,
}

impl std::fmt::Debug for HookRunner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HookRunner({} begun)", self.begun)
    }
}

impl<'a> HookRunner<'a> {
    /// For one run of `job` into `store`.
    pub fn new(
        hooks: &'a Hooks,
        guard: PathBuf,
        base: &'a BTreeMap<String, String>,
        clock: &'a dyn Clock,
        (job, run, store): (&JobName, &RunId, String),
    ) -> Self {
        let told = [("BACKUP_JOB", job.to_string()), ("BACKUP_STORE", store), ("BACKUP_RUN", run.to_string())];
        let told = told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { hooks, guard, base, clock, told, begun: 0, undone: None, is_ended: false }
    }

    fn run(&self, spec: &Spec, cancel: &Cancel) -> Result<(), CommandError> {
        let silence = spec.deadline.unwrap_or(HOOK_DEADLINE);
        let launch = Launch { guard: &self.guard, base: self.base, silence, clock: self.clock, cancel };
        let bounded = Spec { deadline: Some(silence), ..spec.clone() };
        let never = |_: super::run::Heard<'_>| Ok::<(), std::convert::Infallible>(());
        let Ok(ended) = launch.run(&bounded, &self.told, Output::LastWords, &mut { never });
        ended
    }

    /// The steps before, until one fails.
    ///
    /// # Errors
    /// Why there is to be no run.
    pub fn before(&mut self, cancel: &Cancel) -> Result<(), (StopReason, Trouble)> {
        for (step, number) in self.hooks.before.iter().zip(1..) {
            if let Some(stop) = cancel.asked() {
                return Err(stopped(stop));
            }
            // whatever comes of it, it is to be undone
            self.begun = number;
            match (self.run(&step.run, cancel), cancel.asked()) {
                (Ok(()), _) => {}
                (Err(CommandError::Stopped), Some(stop)) => return Err(stopped(stop)),
                (Err(error), _) => {
                    if matches!(error, CommandError::NotStarted { .. } | CommandError::Secret { .. }) {
                        self.begun = number - 1;
                    }
                    let what = format!("{} failed, so there is no run", called("before", number, &step.run));
                    let Trouble { what: why, causes, advice } = Trouble::from(&error);
                    let causes = std::iter::once(why).chain(causes).collect();
                    return Err((StopReason::Hook, Trouble { what, causes, advice }));
                }
            }
        }
        Ok(())
    }

    /// Undoes every step that was begun, the last first. Gives what failed. Once: a second call does nothing and gives
    /// the same, because whoever was told first may be gone.
    pub fn undo(&mut self) -> Vec<String> {
        if let Some(doubts) = &self.undone {
            return doubts.clone();
        }
        let begun = self.hooks.before[..self.begun].iter().enumerate().rev();
        let all = begun.filter_map(|(at, step)| Some(("undo", at + 1, step.undo.as_ref()?)));
        let doubts = self.run_all(all.collect(), &Cancel::new());
        self.undone.insert(doubts).clone()
    }

    /// What comes after a run that ended so. Once. Gives what failed.
    pub fn ended(&mut self, record: &RunRecord, cancel: &Cancel) -> Vec<String> {
        // a run that found another at work has done nothing, and must not put back what that one needs
        if std::mem::replace(&mut self.is_ended, true) || record.reason == Some(StopReason::Leased) {
            return Vec::new();
        }
        let snapshot = record.snapshot.as_ref().map(ToString::to_string);
        let reason = record.reason.and_then(|reason| Some(serde_json::to_value(reason).ok()?.as_str()?.to_owned()));
        let verdict = Some(record.verdict.word().to_owned());
        for (name, value) in [("BACKUP_VERDICT", verdict), ("BACKUP_SNAPSHOT", snapshot), ("BACKUP_REASON", reason)] {
            self.told.extend(value.map(|value| (name.to_owned(), value)));
        }
        let numbered = |kind: &'static str, specs: &'a [Spec]| {
            specs.iter().zip(1..).map(|(spec, number)| (kind, number, spec)).collect::<Vec<_>>()
        };
        let mut doubts = Vec::new();
        if record.snapshot.is_some() {
            doubts.extend(self.run_all(numbered("after", &self.hooks.after), cancel));
        }
        if record.verdict != Verdict::Ok || !doubts.is_empty() {
            if record.verdict == Verdict::Ok {
                self.told.insert("BACKUP_VERDICT".to_owned(), Verdict::Partial.word().to_owned());
            }
            doubts.extend(self.run_all(numbered("on_failure", &self.hooks.on_failure), &Cancel::new()));
        }
        doubts.extend(self.run_all(numbered("always", &self.hooks.always), &Cancel::new()));
        doubts
    }

    fn run_all(&self, all: Vec<(&str, usize, &Spec)>, cancel: &Cancel) -> Vec<String> {
        let mut doubts = Vec::new();
        for (kind, number, spec) in all {
            if cancel.asked().is_some() {
                doubts.push(format!("{} was not run, because the run was stopped", called(kind, number, spec)));
                continue;
            }
            if let Err(error) = self.run(spec, cancel) {
                let Trouble { what, causes, .. } = Trouble::from(&error);
                let why = causes.into_iter().fold(what, |all, cause| format!("{all}: {cause}"));
                doubts.push(format!("{} failed: {why}: {}", called(kind, number, spec), error.advice()));
            }
        }
        doubts
    }
}

fn called(kind: &str, number: usize, spec: &Spec) -> String {
    let program = spec.argv.first().map_or("", String::as_str);
    format!("{} ({})", name(kind, number), crate::domain::Shown(program.as_bytes()))
}

fn stopped(stop: Stop) -> (StopReason, Trouble) {
    let word = if stop == Stop::Interrupted { "SIGINT" } else { "SIGTERM" };
    let what = format!("the run was stopped ({word}) before it began");
    (stop.into(), Trouble { what, causes: Vec::new(), advice: "run again when it suits".to_owned() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{Hooks, Step};
    use crate::command::Spec;

    #[test]
    fn who_waits_for_hooks_after_a_wish_to_stop_waits_for_one_to_be_ended_and_for_all_that_clear_up() {
        let spec = |seconds| Spec {
            argv: vec!["true".into()],
            deadline: Some(Duration::from_secs(seconds)),
            environment: BTreeMap::new(),
            environment_files: BTreeMap::new(),
        };
        let step = Step { run: spec(10_000), undo: Some(spec(1000)) };
        let limit = |hooks: Hooks| hooks.ending_limit().as_secs();
        assert_eq!(limit(Hooks::default()), 0);
        assert_eq!(limit(Hooks { always: vec![spec(100)], ..Hooks::default() }), 105);
        assert_eq!(limit(Hooks { after: vec![spec(100); 3], ..Hooks::default() }), 5);
        let all =
            Hooks { before: vec![step], after: vec![spec(1)], on_failure: vec![spec(10)], always: vec![spec(100)] };
        assert_eq!(limit(all), 5 + 1005 + 15 + 105);
    }
}
