//! The loop, told by hand what its threads would tell it: no child is waited for, and nothing answers.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::{Given, Inbox, News, Owner, RunNow, Shared, Trouble};
use crate::config::{Inputs, Overrides, Settings, load};
use crate::daemon::look::{Look, Seen, SeenJob, SeenSnapshot, Tried};
use crate::daemon::news::Proof;
use crate::daemon::{Log, LogFormat};
use crate::domain::{
    EntryPath, JobName, Level, Outcome, RunId, Skip, SkipCause, Skips, SnapshotName, StopReason, StoreId, Totals,
};
use crate::page::concerns;
use crate::supervise::{End, Ended, Retention};
use crate::wiring::State;

/// Of the door.
pub const TOKEN: &str = "0123456789abcdef-of-a-test";

/// What is logged comes from a thread.
const SOON: Duration = Duration::from_secs(60);

struct Lines(Sender<serde_json::Value>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let _ = self.0.send(serde_json::from_slice(line).expect("a line of the log is JSON"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn settings(folder: &Path, more: &str) -> Settings {
    let text = format!(
        "timezone: UTC\nstate_dir: {0}/state\nweb: {{token: {TOKEN}}}\nstores:\n  nas: {{path: {0}/store}}\njobs:\n  upload:\n    source: {0}\n    \
         store: nas\n    schedule: \"0 3 1 1 *\"\n{more}",
        folder.display()
    );
    let read = |_: &Path| Err(std::io::ErrorKind::Unsupported.into());
    let inputs = Inputs {
        need: crate::config::Need::All,
        file: Some((folder.join("backup.yaml"), text)),
        env: &BTreeMap::new(),
        overrides: Overrides::default(),
        default_state_dir: folder.join("state"),
        read_secret: &read,
    };
    load(inputs).unwrap_or_else(|errors| panic!("{errors}"))
}

/// One with a job `upload` in a store `nas`, whose children cannot be started, and what it logs.
fn owner(folder: &Path, more: &str) -> (Owner, Receiver<serde_json::Value>) {
    let (tell, news) = bounded(64);
    let (lines, logged) = unbounded();
    let settings = settings(folder, more);
    let program = folder.join("no program");
    let shared = Arc::new(Shared::new(program.clone(), folder.join("state"), tell.clone()));
    let given = Given {
        settings,
        load: Arc::new(|| unreachable!("nobody asks for another configuration")),
        state: State::new(folder.join("state")),
        program,
        log: Log::new(LogFormat::Json, Lines(lines)),
    };
    (Owner::new(given, Inbox { news, tell }, shared), logged)
}

/// What the door shows after a run of `upload` that could not read one entry.
pub fn with_a_skipped_entry(folder: &Path, path: &str) -> Arc<Shared> {
    let (mut owner, _logged) = owner(folder, "");
    let mut ended = ended(&owner, 1, None);
    let path = EntryPath::parse(path.as_bytes()).expect("a path");
    ended.outcome.skips.add(Skip { path, cause: SkipCause::Unreadable, why: "no permission".into() });
    owner.hear(News::Ended { job: upload(), ended: Box::new(ended) });
    owner.shown = None;
    owner.show(crate::domain::Clock::now(&owner.clock));
    Arc::clone(&owner.shared)
}

/// The next line of this event.
fn next(logged: &Receiver<serde_json::Value>, event: &str) -> serde_json::Value {
    loop {
        let line = logged.recv_timeout(SOON).unwrap_or_else(|_| panic!("`{event}` is not logged"));
        if line["event"] == event {
            return line;
        }
    }
}

fn upload() -> JobName {
    "upload".parse().expect("a job")
}

fn ended(owner: &Owner, number: u8, failure: Option<StopReason>) -> Ended {
    let now = crate::domain::Clock::now(&owner.clock);
    let trouble = Trouble { what: "no".into(), causes: Vec::new(), advice: "do".into() };
    let outcome = Outcome {
        snapshot: failure.is_none().then(|| SnapshotName::new(&upload(), now)),
        job: upload(),
        run: RunId::from_random([number; 16]),
        host: owner.host.clone(),
        store: "nas".into(),
        sources: vec!["/srv".into()],
        started: now,
        finished: now,
        took_ms: 1,
        record: None,
        totals: Totals::default(),
        skips: Skips::default(),
        doubts: Vec::new(),
        notices: Vec::new(),
        failure: failure.map(|reason| (reason, trouble)),
    };
    let recorded = vec![outcome.run.clone()];
    Ended { outcome, recorded, store: None, retention: None, end: End::Clean }
}

/// Retention had removed nothing for months, and it was said nowhere.
#[test]
fn retention_that_does_nothing_is_logged_shown_and_told_when_that_repeats_until_it_does_its_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut owner, logged) = owner(folder.path(), "");
    owner.hear(News::Notice { job: upload(), text: "a word of the run".into() });
    assert_eq!(next(&logged, "notice")["text"], "a word of the run");
    let causes = vec!["5 snapshots would be removed at once".to_owned()];
    let trouble = Trouble { what: "retention removed nothing".into(), causes, advice: "look".into() };
    let concern = |owner: &Owner| {
        let found = concerns(&owner.view(crate::domain::Clock::now(&owner.clock)));
        found.into_iter().find(|concern| concern.what.contains("retention")).map(|concern| concern.what)
    };
    for (number, event) in [(1, "retention"), (2, "trouble"), (3, "trouble")] {
        let ended =
            Ended { retention: Some(Retention::Undone { trouble: trouble.clone() }), ..ended(&owner, number, None) };
        owner.hear(News::Ended { job: upload(), ended: Box::new(ended) });
        let line = next(&logged, event);
        assert_eq!((&line["text"], &line["job"]), (&"retention removed nothing".into(), &"upload".into()), "{line}");
        assert!(line["causes"].as_str().is_some_and(|causes| causes.contains("5 snapshots")), "{line}");
        let shown = concern(&owner).expect("it is shown");
        assert!(shown.contains(&format!("after {number} run")) && shown.contains("5 snapshots"), "{shown}");
    }
    // a daemon that was stopped meanwhile has learnt nothing
    let stopped = Ended { retention: Some(Retention::Stopped), ..ended(&owner, 4, None) };
    owner.hear(News::Ended { job: upload(), ended: Box::new(stopped) });
    assert!(concern(&owner).is_some());
    let done = Ended { retention: Some(Retention::Done), ..ended(&owner, 5, None) };
    owner.hear(News::Ended { job: upload(), ended: Box::new(done) });
    assert_eq!(concern(&owner), None);
}

fn look(owner: &mut Owner, at: jiff::Timestamp, snapshots: &[(i64, Option<&str>, &[jiff::Timestamp])]) {
    let one = |(days, damage, tried): &(i64, Option<&str>, &[jiff::Timestamp])| SeenSnapshot {
        name: snapshot(*days),
        bytes: 1,
        entries: 1,
        is_ok: true,
        verified: None,
        tried: tried.iter().map(|at| Tried { level: Level::Stored, part: None, at: *at }).collect(),
        kept_for: Vec::new(),
        damage: damage.map(str::to_owned),
    };
    let id = StoreId::from_random([7; 16]);
    let snapshots = snapshots.iter().map(one).collect();
    let job = SeenJob { job: upload(), at, store: id.clone(), snapshots, trashed: Vec::new(), runs: Vec::new() };
    let seen = Seen { id, free: 1, total: 1, skew_s: None, jobs: vec![job], unlisted: Vec::new() };
    owner.hear(News::Looked { store: "nas".into(), is_deep: true, look: Box::new(Look::Seen(Box::new(seen))) });
}

fn snapshot(days: i64) -> SnapshotName {
    let first: jiff::Timestamp = "2026-01-01T02:00:00Z".parse().expect("a time");
    SnapshotName::new(&upload(), first + jiff::SignedDuration::from_hours(24 * days))
}

fn damaged() -> Proof {
    Proof::Damaged { causes: vec!["a.tar: rot".into()], count: 1, level: Level::Stored, part: None }
}

/// "Well again" was told when another part of a damaged snapshot was well, and a ticket was closed.
#[test]
fn a_proof_that_is_well_ends_no_damage_by_itself_and_a_look_that_knows_of_none_any_more_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut owner, logged) = owner(folder.path(), "    verify: {schedule: \"0 5 * * *\", sample: 50%}\n");
    let now = crate::domain::Clock::now(&owner.clock);
    let proven = |owner: &mut Owner, proof| owner.hear(News::Proven { job: upload(), snapshot: snapshot(1), proof });
    look(&mut owner, now, &[(1, None, &[])]);
    owner.job_kept(&upload()).tried.insert(snapshot(1), now);
    proven(&mut owner, damaged());
    assert_eq!(next(&logged, "damage")["causes"], "a.tar: rot");
    let found = Some("verify found damage");
    look(&mut owner, now, &[(1, found, &[now])]);
    let later = now + jiff::SignedDuration::from_secs(1);
    proven(&mut owner, Proof::Well(later));
    assert_eq!(next(&logged, "verify-ok")["snapshot"], snapshot(1).as_str());
    look(&mut owner, later, &[(1, found, &[now, later])]);
    look(&mut owner, later, &[(2, found, &[now]), (1, found, &[now, later])]);
    // whatever was said before this line has been read: nothing was over
    let mut line = logged.recv_timeout(SOON).expect("a line");
    while line["event"] != "damage" {
        assert_ne!(line["event"], "recovered", "{line}");
        line = logged.recv_timeout(SOON).expect("a line");
    }
    assert_eq!(line["snapshot"], snapshot(2).as_str(), "only what is new is told");
    look(&mut owner, later, &[(2, None, &[later]), (1, None, &[later])]);
    next(&logged, "recovered");
}

#[test]
fn good_snapshots_that_nothing_of_ours_removed_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut owner, logged) = owner(folder.path(), "");
    let now = crate::domain::Clock::now(&owner.clock);
    look(&mut owner, now, &[(3, None, &[]), (2, None, &[]), (1, None, &[])]);
    look(&mut owner, now, &[(3, None, &[])]);
    let line = next(&logged, "damage");
    assert!(line["text"].as_str().is_some_and(|text| text.contains("2 good snapshots of upload")), "{line}");
    assert!(line["causes"].as_str().is_some_and(|causes| causes.contains(snapshot(1).as_str())), "{line}");
}

/// One that hung in a dead server was the last of all stores, and nobody heard of it.
#[test]
fn a_verification_that_was_left_behind_is_told_and_holds_up_its_own_store_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let verify = "verify: {schedule: \"* * * * *\"}";
    let second = format!("    {verify}\n  second: {{source: {}, store: nas}}\n", folder.path().display());
    let (mut owner, logged) = owner(folder.path(), &second);
    let now = crate::domain::Clock::now(&owner.clock);
    look(&mut owner, now, &[(1, None, &[])]);
    owner.start_proofs(now);
    let later = |minutes| now + jiff::SignedDuration::from_mins(minutes);
    owner.start_proofs(later(2));
    assert!(owner.proving.is_some(), "it is due");
    let (keep, gone) = bounded(0);
    let proof = Proof::Left("the store nas has not answered for 300 s".into(), gone);
    owner.hear(News::Proven { job: upload(), snapshot: snapshot(1), proof });
    let line = next(&logged, "trouble");
    assert!(line["causes"].as_str().is_some_and(|causes| causes.contains("has not answered for 300 s")), "{line}");
    assert!(line["advice"].as_str().is_some_and(|advice| advice.contains("nothing starts in this store")), "{line}");
    assert!(owner.proving.is_none(), "others may begin");
    owner.start_proofs(later(4));
    assert!(owner.proving.is_none(), "not in that store");
    assert_eq!(owner.run_now(&upload()), RunNow::Taken(upload()));
    owner.start_waiting();
    let failed = next(&logged, "run-failed");
    assert!(failed["text"].as_str().is_some_and(|text| text.contains("upload's verification of")), "{failed}");
    drop(keep);
    owner.hear(News::ProofGone { job: upload(), snapshot: snapshot(1) });
    owner.start_proofs(later(6));
    assert!(owner.proving.is_some(), "the slot has waited");
}

/// A job that was due every five minutes on a dead mount left some three hundred hanging processes a day.
#[test]
fn while_a_run_that_was_left_behind_hangs_in_a_store_nothing_else_starts_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let second = format!("  second: {{source: {}, store: nas}}\n", folder.path().display());
    let (mut owner, logged) = owner(folder.path(), &second);
    let start = |owner: &mut Owner, name: &str| {
        let name: JobName = name.parse().expect("a job");
        assert_eq!(owner.run_now(&name), RunNow::Taken(name.clone()));
        owner.start_waiting();
        owner.running.contains_key(&name)
    };
    let (_keep, gone) = bounded(0);
    assert!(start(&mut owner, "upload"));
    // the program that is not there: its watcher tells that
    let Ok(News::Ended { job, ended: first }) = owner.inbox.news.recv_timeout(SOON) else { panic!("it ended") };
    let run = first.outcome.run.clone();
    owner.hear(News::Ended { job, ended: Box::new(Ended { end: End::Left(gone), ..*first }) });
    next(&logged, "run-failed");
    for name in ["upload", "second", "upload"] {
        assert!(!start(&mut owner, name), "{name}");
        let failed = next(&logged, "run-failed");
        let text = failed["text"].as_str().expect("a text");
        assert!(
            text.contains("the process of upload's run of") && text.contains("still hangs in the store nas"),
            "{text}"
        );
        assert_eq!((&failed["reason"], &failed["store"]), (&"store-absent".into(), &"nas".into()), "{failed}");
    }
    assert!(owner.kept.jobs[&upload()].dead_runs.is_empty(), "it may still hold its lease");
    owner.hear(News::RunGone { job: upload(), run: run.clone() });
    assert_eq!(owner.kept.jobs[&upload()].dead_runs, [run], "its lease is over");
    assert!(start(&mut owner, "second"));
}
