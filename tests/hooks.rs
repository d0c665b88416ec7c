//! Hooks: what runs around a run, in which order, whatever becomes of the run; and what is always put back.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod site;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use site::{Ran, Site, names_in};

/// A site with one job, `upload`, whose hooks write lines into a file, `told`. `{}` in them is the site's folder.
struct Stage {
    site: Site,
}

/// Two steps that can be undone, and one hook of each other kind, which tell what they were told.
const HOOKS: &str = "hooks:
  before:
    - {shell: \"echo before 1 $BACKUP_JOB >> {}/told\", undo: {shell: \"echo undo 1 >> {}/told\"}}
    - {shell: \"echo before 2 >> {}/told\", undo: {shell: \"echo undo 2 >> {}/told\"}}
  after: [{shell: \"echo after $BACKUP_VERDICT $BACKUP_SNAPSHOT >> {}/told\"}]
  on_failure: [{shell: \"echo on_failure $BACKUP_VERDICT $BACKUP_REASON >> {}/told\"}]
  always: [{shell: \"echo always $BACKUP_VERDICT >> {}/told\"}]
";

impl Stage {
    fn new(job: &str) -> Self {
        let stage = Self { site: Site::new() };
        stage.site.file("page.html", "welcome");
        fs::create_dir(stage.path().join("store")).expect("a folder");
        stage.configure(job);
        stage.backup(&["init"]).exits(0);
        stage
    }

    fn path(&self) -> &Path {
        self.site.path()
    }

    fn configure(&self, job: &str) {
        let lines = job.replace("{}", self.path().to_str().expect("plain"));
        let job: String = lines.lines().map(|line| format!("    {line}\n")).collect();
        let store = self.site.store();
        let text = format!("stores: {{nas: {{path: {}}}}}\njobs:\n  upload:\n{job}", store.display());
        fs::write(self.path().join("stage.yaml"), text).expect("a configuration");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.site.with_config("stage.yaml", arguments)
    }

    fn backup(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().expect("the binary starts").into()
    }

    fn start(&self) -> Child {
        self.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }

    /// What the hooks wrote since the last time.
    fn told(&self) -> Vec<String> {
        let path = self.path().join("told");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn until_there(&self, name: &str) -> String {
        loop {
            match fs::read_to_string(self.path().join(name)) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => pause(),
            }
        }
    }
}

/// A moment in which others work.
fn pause() {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(std::time::Duration::from_millis(10));
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !matches!(rest.trim_start().chars().next(), None | Some('Z' | 'X')))
}

fn kill(pid: &str, signal: Signal) {
    let pid = Pid::from_raw(pid.parse().expect("a number")).expect("a process");
    kill_process(pid, signal).expect("signalled");
}

#[test]
fn hooks_run_in_their_order_and_hear_how_it_went() {
    let stage = Stage::new(&format!("source: {{}}/upload\n{HOOKS}"));
    stage.backup(&["run"]).exits(0);
    let snapshot =
        names_in(&stage.site.job()).into_iter().find(|name| name.starts_with("upload-")).expect("a snapshot");
    let after = format!("after ok {snapshot}");
    let told = stage.told();
    assert_eq!(told, ["before 1 upload", "before 2", "undo 2", "undo 1", &after, "always ok"]);
    stage.configure(&format!("source: {{}}/upload\ncommands: [{{name: a, run: ['false']}}]\n{HOOKS}"));
    stage.backup(&["run"]).exits(3);
    let told = stage.told();
    assert_eq!(told[..4], ["before 1 upload", "before 2", "undo 2", "undo 1"]);
    assert!(told[4].starts_with("after partial upload-"), "{told:?}");
    assert_eq!(told[5..], ["on_failure partial", "always partial"]);
}

#[test]
fn a_hook_gets_the_documented_environment_and_nothing_else() {
    let stage = Stage::new("source: {}/upload\nhooks: {always: [{shell: 'env | sort > {}/told'}]}");
    let mut command = stage.command(&["run"]);
    command.env("JIRA_TOKEN", "canary").env("TZ", "UTC").env("BACKUP_CONFIG", "/canary");
    let ran: Ran = command.output().expect("it starts").into();
    ran.exits(0);
    let told = stage.told();
    let names: Vec<&str> = told.iter().filter_map(|line| line.split('=').next()).collect();
    let run = ["BACKUP_JOB", "BACKUP_RUN", "BACKUP_SNAPSHOT", "BACKUP_STORE", "BACKUP_VERDICT"];
    assert_eq!(names, [&run[..], &["HOME", "PATH", "PWD", "TZ"]].concat());
    assert!(told.contains(&format!("BACKUP_STORE={}", stage.site.store().display())), "{told:?}");
}

#[test]
fn a_step_that_fails_fails_the_run_and_what_was_begun_is_undone() {
    let job = format!("source: {{}}/upload\n{HOOKS}").replace("echo before 2", "echo 'no way' >&2; exit 7; echo");
    let stage = Stage::new(&job);
    let ran = stage.backup(&["run", "--json"]).exits(1);
    assert_eq!(ran.json()["reason"], "hook");
    assert_eq!(stage.told(), ["before 1 upload", "undo 2", "undo 1", "on_failure failed hook", "always failed"]);
    let ran = stage.backup(&["run"]).exits(1).says("hook `before` 2 (/bin/sh) failed, so there is no run");
    ran.says("because it ended with status 7; it said: no way");
    assert_eq!(stage.site.snapshots().len(), 0);
    assert_eq!(stage.site.leftovers(), [""; 0]);
    stage.told();
    // what could not even be started was not begun
    stage.configure(
        "source: {}/upload\nhooks: {before: [{run: [no-such-program], undo: {shell: 'echo undone > {}/told'}}]}",
    );
    stage.backup(&["run"]).exits(1).says("no-such-program could not be started");
    assert_eq!(stage.told(), [""; 0]);
}

#[test]
fn a_source_may_be_made_by_a_step_and_a_run_that_fails_undoes_it() {
    let stage = Stage::new(
        "source: {}/made\nhooks: {before: [{shell: 'mkdir {}/made; echo x > {}/made/x', undo: {shell: 'rm -r {}/made'}}]}",
    );
    stage.backup(&["run"]).exits(0);
    assert!(!stage.path().join("made").exists());
    stage.configure(&format!("source: {{}}/not there\n{HOOKS}"));
    stage.backup(&["run"]).exits(1).says("does not exist");
    let told = stage.told();
    assert_eq!(told, ["before 1 upload", "before 2", "undo 2", "undo 1", "on_failure failed source", "always failed"]);
    // a store that is not there: nothing was begun, and people's hooks hear of it
    stage.configure(&format!("source: {{}}/upload\n{HOOKS}"));
    fs::rename(stage.site.store(), stage.path().join("away")).expect("renamed");
    stage.backup(&["run"]).exits(6);
    assert_eq!(stage.told(), ["on_failure failed store-absent", "always failed"]);
}

#[test]
fn a_signal_during_a_command_undoes_every_step() {
    let job = format!("commands: [{{name: a, shell: 'sleep 1000 & echo $$ $! > {{}}/pids; wait'}}]\n{HOOKS}");
    let stage = Stage::new(&job);
    let run = stage.start();
    let pids = stage.until_there("pids");
    kill(&run.id().to_string(), Signal::TERM);
    let ran: Ran = run.wait_with_output().expect("it ends").into();
    ran.exits(143);
    assert!(pids.split(' ').all(|pid| !is_alive(pid)), "its whole group is gone");
    let told = stage.told();
    assert_eq!(
        told,
        ["before 1 upload", "before 2", "undo 2", "undo 1", "on_failure failed terminated", "always failed"]
    );
    assert_eq!(stage.site.leftovers(), [""; 0]);
}

/// The next one was started all the same, and killed a moment later in the middle of what it did.
#[test]
fn no_hook_after_the_run_is_begun_once_it_was_stopped_but_those_that_clear_up() {
    let hooks = HOOKS.replace("after: [", "after: [{shell: 'echo $$ > {}/pids; exec sleep 1000'}, ");
    let stage = Stage::new(&format!("source: {{}}/upload\n{hooks}"));
    let run = stage.start();
    stage.until_there("pids");
    kill(&run.id().to_string(), Signal::TERM);
    let ran: Ran = run.wait_with_output().expect("it ends").into();
    let ran = ran.says("hook `after` 1 (/bin/sh) failed: it was ended because the run was stopped");
    ran.says("hook `after` 2 (/bin/sh) was not run, because the run was stopped");
    let told = stage.told();
    assert_eq!(told[2..], ["undo 2", "undo 1", "on_failure partial", "always partial"], "{told:?}");
}

#[test]
fn a_signal_during_a_step_ends_it_and_undoes_it() {
    let job = format!("source: {{}}/upload\n{HOOKS}").replace("echo before 2", "echo $$ > {}/pids; sleep 1000; echo");
    let stage = Stage::new(&job);
    let run = stage.start();
    let pid = stage.until_there("pids");
    kill(&run.id().to_string(), Signal::INT);
    let ran: Ran = run.wait_with_output().expect("it ends").into();
    ran.exits(130);
    assert!(!is_alive(&pid));
    let told = stage.told();
    assert_eq!(told, ["before 1 upload", "undo 2", "undo 1", "on_failure failed interrupted", "always failed"]);
    assert_eq!(stage.site.snapshots().len(), 0);
}

#[test]
fn a_run_whose_process_is_killed_is_undone_by_whoever_watched_it() {
    let job = format!("commands: [{{name: a, shell: 'echo $$ > {{}}/pids; exec sleep 1000'}}]\n{HOOKS}");
    let stage = Stage::new(&job);
    let run = stage.start();
    let pid = stage.until_there("pids");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.id())).unwrap_or_default();
    let Some(child) = children.split_whitespace().next() else {
        eprintln!("SKIPPED: this kernel does not list children");
        kill(&run.id().to_string(), Signal::TERM);
        run.wait_with_output().expect("it ends");
        return;
    };
    kill(child, Signal::KILL);
    let ran: Ran = run.wait_with_output().expect("it ends").into();
    ran.exits(1).says("its process ended without telling how the run went");
    let told = stage.told();
    assert_eq!(told, ["before 1 upload", "before 2", "undo 2", "undo 1", "on_failure failed program", "always failed"]);
    while is_alive(&pid) {
        pause();
    }
}

#[test]
fn a_hook_that_fails_afterwards_makes_the_run_partial_in_every_record() {
    for (hooks, told) in [
        ("after: [{shell: 'echo so; exit 1'}]", "hook `after` 1 (/bin/sh) failed: it ended with status 1; it said: so"),
        ("always: [{run: [no-such-program]}]", "hook `always` 1 (no-such-program) failed: no-such-program could not"),
        (
            "always: [{run: [sleep, '1000'], deadline: 1s}]",
            "hook `always` 1 (sleep) failed: it had not ended after 1.0 s",
        ),
        ("before: [{run: ['true'], undo: {run: ['false']}}]", "hook `undo` 1 (false) failed: it ended with status 1"),
    ] {
        let failure = "on_failure: [{shell: 'echo $BACKUP_VERDICT > {}/told'}]";
        let stage = Stage::new(&format!("source: {{}}/upload\nhooks: {{{hooks}, {failure}}}"));
        let ran = stage.backup(&["run"]).exits(3).says(told);
        ran.says("doubt");
        assert_eq!(stage.site.snapshots().len(), 1);
        let runs = stage.site.job().join(".runs");
        let record = fs::read_to_string(runs.join(names_in(&runs).remove(0))).expect("a record");
        let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
        assert_eq!(record["verdict"], "partial", "the run's record in the store says the same");
        let heard = stage.told();
        // `always` comes last
        if hooks.starts_with("always") {
            assert_eq!(heard, [""; 0])
        } else {
            assert_eq!(heard, ["partial"])
        }
        stage.backup(&["verify", "--deep"]).exits(0);
    }
}

#[test]
fn a_run_that_finds_another_at_work_runs_no_hook() {
    let stage = Stage::new(&format!("commands: [{{name: a, shell: 'echo $$ > {{}}/pids; exec sleep 1000'}}]\n{HOOKS}"));
    let first = stage.start();
    stage.until_there("pids");
    assert_eq!(stage.told(), ["before 1 upload", "before 2"]);
    stage.backup(&["run"]).exits(5);
    assert_eq!(stage.told(), [""; 0], "the first one's source is not put back under its hands");
    kill(&first.id().to_string(), Signal::TERM);
    first.wait_with_output().expect("it ends");
    assert_eq!(stage.told()[..2], ["undo 2", "undo 1"]);
}

#[test]
fn a_hook_may_call_this_program_itself() {
    let program = env!("CARGO_BIN_EXE_backup");
    let stage = Stage::new(&format!(
        "source: {{}}/upload\nhooks: {{after: [{{run: [{program}, --config, '{{}}/stage.yaml', --state-dir, '{{}}/state', verify, latest]}}]}}"
    ));
    stage.backup(&["run"]).exits(0);
    let ran: Ran = stage.command(&["list"]).env("BACKUP_STORE", "x").output().expect("it starts").into();
    ran.exits(2).says("BACKUP_STORE").says("no such variable is known");
}

#[test]
fn a_service_that_a_hook_started_stays() {
    let stage = Stage::new("source: {}/upload\nhooks: {always: [{shell: 'sleep 1000 & echo $! > {}/pids'}]}");
    stage.backup(&["run"]).exits(0);
    let pid = stage.until_there("pids");
    assert!(is_alive(&pid));
    kill(&pid, Signal::KILL);
}

#[test]
fn what_a_hook_says_is_escaped_and_holds_no_secret() {
    let stage = Stage::new(
        "source: {}/upload\nhooks: {after: [{shell: 'printf \"\\033[2J$P\"; exit 1', environment_files: {P: '{}/secret'}}]}",
    );
    fs::write(stage.path().join("secret"), "hunter2-canary\n").expect("written");
    let ran = stage.backup(&["run"]).exits(3).does_not_say("canary").does_not_say("\u{1b}");
    ran.says(r"it said: \u{1b}[2J(secret)");
}

#[test]
fn mistakes_in_hooks_are_told_and_doctor_looks_for_their_programs() {
    let stage = Stage::new("source: {}/upload\nhooks: {before: [{run: [ls], undo: {run: [no-such-undo]}}]}");
    stage.backup(&["doctor"]).exits(1).says("its hook `before` 1 is there").says("its hook `undo` 1 cannot be started");
    stage.backup(&["config", "show"]).exits(0).says("hooks.before.1.run = ls").says("hooks.before.1.deadline = 5m");
    for (hooks, told) in [
        ("[]", "`hooks` takes a map"),
        ("{befor: []}", "did you mean `before`?"),
        ("{before: {run: [x]}}", "`before` takes a list"),
        ("{before: [{undo: {run: [x]}}]}", "it has neither `run` nor `shell`"),
        ("{before: [{run: [x], undo: {deadline: 1s}}]}", "it has neither `run` nor `shell`"),
        ("{before: [{run: [x], undo: [x]}]}", "`undo` is a map"),
        ("{after: [{run: [x], undo: {run: [x]}}]}", "`undo` is not a key of a hook"),
        ("{always: [{run: [x], name: a}]}", "`name` is not a key of a hook"),
        ("{always: [{run: [x], deadline: 0s}]}", "is not a length of time"),
    ] {
        stage.configure(&format!("source: /x\nhooks: {hooks}"));
        stage.backup(&["config", "check"]).exits(2).says(told);
    }
}
