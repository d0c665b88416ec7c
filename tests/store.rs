//! Stores: the suite that every store and every coat passes, and runs over a store that fails at any of its calls.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod faults;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup::archive::Codec;
use backup::catalog::{Catalog, Claim, Draft, Holder, Lease};
use backup::command::Spec;
use backup::domain::{
    ByteCount, Cancel, Clock, EntryPath, Host, Level, RunId, StopReason, StoreId, SystemClock, Verdict,
};
use backup::engine::{CommandSource, Commands, Context, Job, NoGate, Reuse, run};
use backup::observe::{Event, Observer, Phase, Silent};
use backup::restore::content;
use backup::source::Excludes;
use backup::store::{
    Calls, FolderStore, Key, Listed, Permissions, RequireMount, Room, Store, StoreError, StoreReader, StoreWriter,
    Watched, conformance,
};
use backup::verify::{Known, Options, verify};
use backup::wiring::{News, watch_calls};
use faults::{Fault, Faulty, bytes_in};

fn folder_store(path: &Path) -> Arc<dyn Store> {
    let (no, permissions) = (RequireMount::No, Permissions::default());
    let id = StoreId::from_random([1; 16]);
    let created = "2026-11-21T00:00:00Z".parse().expect("a time");
    FolderStore::init(path, &no, permissions, id.clone(), created, "a test", true).expect("a new store");
    Arc::new(FolderStore::open(path, &no, permissions, Some(&id)).expect("a store").store)
}

#[track_caller]
fn assert_conforms(store: &Arc<dyn Store>) {
    let failures = conformance::check(store);
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_folder_store_keeps_every_promise() {
    // a share can be given: BACKUP_TEST_STORE_DIR=/mnt/nas cargo test --test store
    let given = std::env::var_os("BACKUP_TEST_STORE_DIR");
    let folder = given.map_or_else(tempfile::tempdir, tempfile::tempdir_in).expect("a folder");
    assert_conforms(&folder_store(&folder.path().join("store")));
}

#[test]
fn a_coat_without_a_fault_keeps_every_promise() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_conforms(&(Arc::new(Faulty::new(folder_store(&folder.path().join("store")), None)) as Arc<dyn Store>));
}

#[test]
fn a_coat_that_notes_calls_keeps_every_promise_and_forgets_what_was_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let calls = Calls::new(SystemClock::new());
    let watched = Watched::new(folder_store(&folder.path().join("store")), Arc::clone(&calls));
    let watched = Arc::new(watched) as Arc<dyn Store>;
    assert_conforms(&watched);
    assert_eq!(calls.longest(), None);
    assert!(watched.list(&Key::top().join("none").expect("a key")).is_err());
    assert_eq!(calls.longest(), None, "an error is an answer");
}

#[test]
fn a_silent_store_is_told_of_with_what_is_waited_for_until_it_answers() {
    let calls = Calls::new(SystemClock::new());
    let (tell, heard) = crossbeam_channel::unbounded();
    watch_calls(&calls, Duration::from_millis(5), move |news| {
        let _ = tell.send(news.clone());
    });
    let (answer, asked) = crossbeam_channel::bounded::<()>(0);
    std::thread::scope(|scope| {
        let (own, asked) = (&calls, &asked);
        scope.spawn(move || own.during("reading", &Arc::from("up/x.tar"), || asked.recv()));
        // another thread's calls are answered meanwhile, and hide nothing
        let place = Arc::from("up");
        for round in 0..2 {
            let News::Silent(waiting) = heard.recv().expect("it is told") else { panic!("nothing was answered") };
            assert_eq!((waiting.deed, &*waiting.place), ("reading", "up/x.tar"), "round {round}");
            assert!(waiting.long >= Duration::from_millis(5));
            calls.during("listing", &place, || ());
        }
        drop(answer);
    });
    assert!(heard.iter().any(|news| news == News::Answers));
    assert_eq!(calls.longest(), None);
    drop(calls);
    assert!(heard.iter().next().is_none(), "the watch ends when nobody has the store any more");
}

#[test]
fn the_suite_notices_a_store_that_loses_its_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let fault = Fault { call: 40, errno: 5, for_ever: true, after: false };
    let store = Arc::new(Faulty::new(folder_store(&folder.path().join("store")), Some(fault))) as Arc<dyn Store>;
    assert!(conformance::check(&store).len() > conformance::count() / 2);
}

#[test]
fn what_is_created_has_exactly_the_configured_permissions_whatever_the_umask() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    drop(folder_store(&path));
    let permissions = Permissions { file_mode: 0o666, dir_mode: 0o777 };
    let store = FolderStore::open(&path, &RequireMount::No, permissions, None).expect("a store").store;
    let inner = Key::top().join("folder").expect("a key");
    store.create_folder(&inner).expect("created");
    store.create(&inner.join("file").expect("a key")).expect("created").finish().expect("finished");
    let mode =
        |path: &str| fs::metadata(folder.path().join("store").join(path)).expect("there").permissions().mode() & 0o7777;
    assert_eq!((mode("folder"), mode("folder/file")), (0o777, 0o666));
    assert_eq!(mode(".backup-store.json"), 0o600);
}

#[test]
fn a_link_in_the_place_of_a_folder_of_ours_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder_store(&folder.path().join("store"));
    fs::create_dir(folder.path().join("outside")).expect("a folder");
    std::os::unix::fs::symlink(folder.path().join("outside"), folder.path().join("store/job")).expect("a link");
    let key = Key::top().join("job").and_then(|job| job.join("file")).expect("a key");
    assert!(store.create(&key).is_err());
    assert_eq!(fs::read_dir(folder.path().join("outside")).expect("a folder").count(), 0);
}

struct World {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    job: Job,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("source");
        fs::create_dir_all(source.join("inner")).expect("a folder");
        fs::write(source.join("file"), vec![7; 2_500_000]).expect("a file");
        fs::write(source.join("inner/other"), "other").expect("a file");
        let job = Job {
            name: "job".parse().expect("a name"),
            sources: vec![source],
            commands: Commands::default(),
            excludes: Excludes::none(),
            exclude_caches: false,
            exclude_if_present: None,
            one_file_system: true,
            max_file_size: None,
            allow_empty: false,
            codec: Codec::default(),
            max_shrink_percent: 50,
            threads: NonZeroUsize::new(2).expect("two"),
            lease_term: Duration::from_secs(900),
            survey: false,
            reuse: Reuse::default(),
        };
        let store = folder_store(&folder.path().join("store"));
        Self { folder, store, job }
    }

    fn run(&self, number: u64, store: Arc<dyn Store>) -> backup::domain::Outcome {
        self.run_watched(number, store, &Silent)
    }

    fn run_watched(&self, number: u64, store: Arc<dyn Store>, observer: &dyn Observer) -> backup::domain::Outcome {
        self.run_by(&SystemClock::new(), number, store, observer)
    }

    fn run_by(
        &self,
        clock: &dyn Clock,
        number: u64,
        store: Arc<dyn Store>,
        observer: &dyn Observer,
    ) -> backup::domain::Outcome {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let cancel = Cancel::new();
        let context = Context {
            run: RunId::from_random(id),
            dead: &[],
            host: Host("test".into()),
            pid: 1,
            tool: "a test".into(),
            store_name: "a store".into(),
            clock,
            cancel: &cancel,
            observer,
            gate: &NoGate,
        };
        run(&self.job, || Ok((store, Vec::new())), &context)
    }

    fn catalog(&self) -> Catalog {
        Catalog::new(Arc::clone(&self.store), self.job.name.clone())
    }

    /// Its job over a store that counts what is read from volumes.
    fn counted(&self) -> (Catalog, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        let counting = Arc::new(Counting { inner: Arc::clone(&self.store), counts: Arc::clone(&counts) });
        (Catalog::new(counting, self.job.name.clone()), counts)
    }

    fn clear(&self) {
        for entry in fs::read_dir(self.folder.path().join("store/job")).expect("the job's folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                fs::remove_dir_all(path).expect("removed")
            } else {
                fs::remove_file(path).expect("removed")
            }
        }
    }
}

/// Every call of a run fails once, and from then on, in three ways; before it is done and after. What the outcome says
/// is what lies in the store: a snapshot that was promised verifies, and where none was promised none is listed.
#[test]
fn whichever_call_of_the_store_fails_the_outcome_tells_the_truth() {
    const ENOSPC: i32 = 28;
    const EIO: i32 = 5;
    const ESTALE: i32 = 116;
    let world = World::new();
    let counted = Faulty::new(Arc::clone(&world.store), None);
    let plan = counted.plan();
    assert_eq!(world.run(0, Arc::new(counted)).verdict(), Verdict::Ok);
    let calls = plan.calls();
    world.clear();
    let options = Options::at(Level::Stored, NonZeroUsize::MIN);
    let (mut runs, mut promised) = (0_u64, 0);
    for call in 1..=calls + 1 {
        for errno in [ENOSPC, EIO, ESTALE] {
            for (for_ever, after) in [(false, false), (true, false), (false, true)] {
                let fault = Fault { call, errno, for_ever, after };
                runs += 1;
                let outcome = world.run(runs, Arc::new(Faulty::new(Arc::clone(&world.store), Some(fault))));
                let catalog = world.catalog();
                let listed = catalog.snapshots().expect("listed");
                match &outcome.snapshot {
                    Some(name) => {
                        promised += 1;
                        assert_eq!(listed, std::slice::from_ref(name), "{fault:?}");
                        let report = verify(&catalog, name, &options, &Known::default(), &Cancel::new(), &Silent);
                        let report = report.expect("verified");
                        assert!(report.is_well(), "{fault:?}: {:?}", report.damages);
                    }
                    None => {
                        assert!(outcome.failure.is_some(), "{fault:?}");
                        assert_eq!(listed, [], "{fault:?}: {outcome:?}");
                    }
                }
                world.clear();
            }
        }
    }
    eprintln!("{runs} runs over {calls} calls, {promised} promised a snapshot and had it");
    assert!(calls > 40 && promised >= 9, "the call after the last is no fault at all");
    assert!(promised < runs / 2);
}

/// A clock that is ahead.
#[derive(Debug)]
struct Ahead(SystemClock, jiff::SignedDuration);

impl Clock for Ahead {
    fn now(&self) -> jiff::Timestamp {
        self.0.now() + self.1
    }

    fn since_start(&self) -> Duration {
        self.0.since_start()
    }
}

/// One such snapshot had all later ones named for the future, and retention refused for ever: nobody heard of it until then.
#[test]
fn a_run_whose_clock_is_ahead_of_the_stores_is_partial_and_says_so_in_its_record_too() {
    let world = World::new();
    let ahead = |hours| Ahead(SystemClock::new(), jiff::SignedDuration::from_hours(hours));
    let outcome = world.run_by(&ahead(0), 1, Arc::clone(&world.store), &Silent);
    assert_eq!((outcome.verdict(), outcome.doubts.len()), (Verdict::Ok, 0), "{outcome:?}");
    let outcome = world.run_by(&ahead(24 * 365 * 5), 2, Arc::clone(&world.store), &Silent);
    assert_eq!(outcome.verdict(), Verdict::Partial);
    assert!(outcome.doubts[0].contains("more than an hour ahead of the store's"), "{:?}", outcome.doubts);
    let (record, _) = world.catalog().record(&outcome.snapshot.expect("there is one")).expect("a record");
    assert_eq!((record.verdict, record.doubts), (Verdict::Partial, outcome.doubts));
}

/// What a command gave, and what an earlier run had finished, lay open in the draft: NFS left `.nfs` files of them in the
/// snapshot, and CIFS refused to rename its folder.
#[test]
fn nothing_of_a_draft_is_open_when_it_is_removed_or_gets_its_name() {
    let mut world = World::new();
    let spec = Spec {
        argv: vec!["/bin/echo".into(), "a dump".into()],
        deadline: None,
        environment: BTreeMap::new(),
        environment_files: BTreeMap::new(),
    };
    world.job.commands = Commands {
        list: vec![CommandSource { name: "dump".into(), spec }],
        guard: env!("CARGO_BIN_EXE_backup").into(),
        environment: BTreeMap::new(),
        silence: Duration::from_secs(60),
    };
    for number in [0, 1] {
        let store = Faulty::new(Arc::clone(&world.store), None);
        let plan = store.plan();
        assert_eq!(world.run(number, Arc::new(store)).verdict(), Verdict::Ok);
        assert_eq!(plan.held(), [""; 0]);
    }
    world.clear();
    world.job = Job { commands: Commands::default(), codec: Codec::None, ..world.job };
    world.job.reuse.volume_size = Some(ByteCount(500_000));
    for name in ["a", "b", "c"] {
        fs::write(world.job.sources[0].join(name), vec![7; 600_000]).expect("a file");
    }
    let counted = Faulty::new(Arc::clone(&world.store), None);
    let plan = counted.plan();
    world.run(2, Arc::new(counted));
    world.clear();
    let mut adopted = 0;
    for call in 1..=plan.calls() {
        // what it had finished is for the next
        let fault = Fault { call, errno: 5, for_ever: false, after: false };
        world.run(2 * call + 1, Arc::new(Faulty::new(Arc::clone(&world.store), Some(fault))));
        let next = Faulty::new(Arc::clone(&world.store), None);
        let plan = next.plan();
        let outcome = world.run(2 * call + 2, Arc::new(next));
        adopted += u64::from(outcome.notices.iter().any(|notice| notice.contains("adopted")));
        assert_eq!(plan.held(), [""; 0], "after a fault at {call}: {:?}", outcome.notices);
        world.clear();
    }
    assert!(adopted > 0);
}

/// Notes what a run is doing, and how often the store had been called when it began to.
struct Phases(Arc<faults::Plan>, Mutex<Vec<(Phase, u64)>>);

impl Observer for Phases {
    fn notice(&self, event: &Event<'_>) {
        if let Event::Entered { phase } = event {
            self.1.lock().expect("no test panics in here").push((*phase, self.0.calls()));
        }
    }
}

/// Who watches blames the source for a silence while it is looked through. Up to where the first byte was stored, the
/// store's own silence, of the lease for one, was the source's fault.
#[test]
fn the_source_is_looked_through_without_the_store_and_then_the_store_is_waited_for_again() {
    let mut world = World::new();
    world.job.survey = true;
    let store = Faulty::new(Arc::clone(&world.store), None);
    let phases = Phases(store.plan(), Mutex::default());
    assert_eq!(world.run_watched(1, Arc::new(store), &phases).verdict(), Verdict::Ok);
    let seen = phases.1.into_inner().expect("no panic");
    let [(Phase::Opening, _), (Phase::Surveying, before), (Phase::Opening, after), (Phase::Storing, storing), ..] =
        seen[..]
    else {
        panic!("{seen:?}")
    };
    assert_eq!(before, after, "the store was called while the source was looked through");
    assert!(storing > after, "the lease was taken and the draft made in between");
}

/// Room was asked for before the lease, and what a killed run had left was removed after that: once it took the room, no
/// run ever came so far.
#[test]
fn what_a_dead_run_left_stands_in_nobodys_way_for_the_room_it_takes() {
    let mut world = World::new();
    world.job.codec = Codec::None;
    let job = world.folder.path().join("store/job");
    let leave = || {
        let left = job.join(".partial-00000000000000000000000000000009");
        fs::create_dir_all(&left).expect("a folder");
        fs::write(left.join("job-20200101T000000Z.tar"), vec![1; 3_000_000]).expect("a file");
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        for path in [left.join("job-20200101T000000Z.tar"), left.clone()] {
            fs::File::open(path).expect("there").set_modified(long_ago).expect("a time");
        }
        left
    };
    let on_disk = |size| Arc::new(Faulty::on_disk(Arc::clone(&world.store), job.clone(), size));
    let left = leave();
    let outcome = world.run(1, on_disk(4_000_000));
    assert_eq!(outcome.verdict(), Verdict::Ok, "{outcome:?}");
    assert!(!left.exists());
    // where there is no room without it either, it goes all the same
    world.clear();
    let left = leave();
    let failure = world.run(2, on_disk(2_000_000)).failure.expect("there is no room");
    assert_eq!(failure.0, StopReason::StoreFull, "{failure:?}");
    assert!(!left.exists());
    assert_eq!(world.catalog().snapshots().expect("listed"), []);
}

/// A run hung after it had looked at its lease, and its rename came through while the next one removed its work: the rest of
/// that was a snapshot, and its run was told that all is well.
#[test]
fn a_rename_that_comes_through_while_the_next_run_takes_over_publishes_all_or_nothing() {
    let world = World::new();
    assert_eq!(world.run(1, Arc::clone(&world.store)).verdict(), Verdict::Ok);
    let job = world.folder.path().join("store/job");
    let name = world.catalog().snapshots().expect("listed").remove(0);
    let aside = world.folder.path().join("aside");
    fs::rename(job.join(name.as_str()), &aside).expect("moved");
    let options = Options::at(Level::Stored, NonZeroUsize::MIN);
    let (mut came, mut late) = (0, 0);
    for call in 1_u64.. {
        world.clear();
        let left = job.join(".partial-00000000000000000000000000000009");
        fs::create_dir(&left).expect("a folder");
        for entry in fs::read_dir(&aside).expect("a folder") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), left.join(entry.file_name())).expect("copied");
        }
        fs::write(left.join("given-up"), "").expect("its lease was broken");
        let to = job.join(name.as_str());
        let coat = Faulty::meanwhile(Arc::clone(&world.store), call, move || {
            let _ = fs::rename(left, to);
        });
        let plan = coat.plan();
        let outcome = world.run(1 + call, Arc::new(coat));
        let catalog = world.catalog();
        let listed = catalog.snapshots().expect("listed");
        // of two that began in one second the first to come has the name
        assert!(outcome.verdict() == Verdict::Ok || listed == [name.clone()], "call {call}: {outcome:?}");
        if listed.contains(&name) {
            // as it was before its lease was broken; or it is the later run's own, which began in the same second
            let given_up = job.join(name.as_str()).join("given-up");
            assert!(fs::remove_file(&given_up).is_ok() || outcome.snapshot.as_ref() == Some(&name));
            let report = verify(&catalog, &name, &options, &Known::default(), &Cancel::new(), &Silent);
            let report = report.expect("verified");
            assert!(report.is_well(), "call {call}: {:?}", report.damages);
        }
        // a rename in the middle of the removal is no call of this store: so nothing is removed under a name that it knows
        let removed = plan.removed();
        let known = removed.iter().any(|folder| folder.ends_with(".partial-00000000000000000000000000000009"));
        assert!(!known, "call {call}: {removed:?}");
        came += u32::from(listed.contains(&name));
        late += u32::from(!listed.contains(&name));
        if plan.calls() < call {
            break;
        }
    }
    assert!(came > 10 && late > 10, "{came} came through, {late} came too late");
    // what a death left of it goes with the next run
    let going = job.join(".trash/.going-00000000000000000000000000000009");
    fs::create_dir_all(going.join("inner")).expect("a folder");
    assert_eq!(world.run(1, Arc::clone(&world.store)).verdict(), Verdict::Ok);
    assert!(!going.exists());
}

/// Without `--break` it removed whoever held the lease by then.
#[test]
fn whoever_ends_a_stale_lease_ends_none_that_another_took_over_meanwhile() {
    let world = World::new();
    let claim = |number: u8| Claim {
        run: RunId::from_random([number; 16]),
        host: Host("test".into()),
        pid: 1,
        started: world.store.now().expect("a time"),
        term_s: 900,
    };
    let (mut ended, mut left) = (0, 0);
    for call in 1_u64.. {
        let lease = Lease::acquire(&world.catalog(), claim(1)).expect("nobody has it");
        let file = world.folder.path().join("store/job/.lease.json");
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        fs::File::open(&file).expect("there").set_modified(long_ago).expect("a time");
        let stale = world.catalog().lease_state(900).expect("asked").expect("held");
        let (other, theirs) = (world.catalog(), claim(2));
        let taken = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&taken);
        let coat = Faulty::meanwhile(Arc::clone(&world.store), call, move || {
            *tell.lock().expect("a lock") = Some(Lease::acquire(&other, theirs).is_ok());
        });
        let plan = coat.plan();
        let done = Catalog::new(Arc::new(coat), world.job.name.clone()).end_stale_lease(&stale, &claim(3));
        let now = world.catalog().lease_state(900).expect("asked").map(|now| now.holder);
        let has_taken = taken.lock().expect("a lock").unwrap_or(false);
        assert_eq!(
            matches!(now, Some(Holder::Run(now)) if now.run == claim(2).run),
            has_taken,
            "call {call}: {done:?}"
        );
        ended += u32::from(matches!(done, Ok(true)));
        left += u32::from(!matches!(done, Ok(true)));
        drop(lease);
        let _ = fs::remove_file(&file);
        if plan.calls() < call {
            break;
        }
    }
    assert!(ended > 3 && left > 0, "{ended} ended, {left} left");
}

#[test]
fn what_is_adopted_needs_no_room_a_second_time() {
    let mut world = World::new();
    world.job.codec = Codec::None;
    world.job.reuse.volume_size = Some(ByteCount(1 << 20));
    for number in 0..5 {
        fs::write(world.job.sources[0].join(format!("more {number}")), vec![number; 1_000_000]).expect("a file");
    }
    let counted = Faulty::new(Arc::clone(&world.store), None);
    let plan = counted.plan();
    assert_eq!(world.run(1, Arc::new(counted)).verdict(), Verdict::Ok);
    let job = world.folder.path().join("store/job");
    let all = bytes_in(&job);
    world.clear();
    let fault = Fault { call: plan.calls() / 2, errno: 5, for_ever: false, after: false };
    assert_eq!(world.run(2, Arc::new(Faulty::new(Arc::clone(&world.store), Some(fault)))).verdict(), Verdict::Failed);
    assert!(bytes_in(&job) > 2_000_000, "{} of {all} are left for the next", bytes_in(&job));
    // room for one megabyte more than a whole snapshot, and no snapshot beside what is left
    let outcome = world.run(3, Arc::new(Faulty::on_disk(Arc::clone(&world.store), job, all + (1 << 20))));
    assert_eq!(outcome.verdict(), Verdict::Ok, "{outcome:?}");
    assert!(outcome.notices.iter().any(|notice| notice.contains("adopted")), "{:?}", outcome.notices);
}

/// It lay in the snapshot, and neither record nor checksums told of it.
#[test]
fn of_what_is_adopted_no_volume_is_left_in_the_draft_without_its_manifest() {
    let mut world = World::new();
    world.job.codec = Codec::None;
    world.job.reuse.volume_size = Some(ByteCount(1 << 20));
    let counted = Faulty::new(Arc::clone(&world.store), None);
    let plan = counted.plan();
    assert_eq!(world.run(1, Arc::new(counted)).verdict(), Verdict::Ok);
    let (calls, job) = (plan.calls(), world.folder.path().join("store/job"));
    let mut passed_over = 0;
    for call in 1_u64.. {
        world.clear();
        let fault = Fault { call: calls / 2, errno: 5, for_ever: false, after: false };
        world.run(2, Arc::new(Faulty::new(Arc::clone(&world.store), Some(fault))));
        let left = world.catalog().leftovers().expect("listed").pop().expect("unfinished work").run;
        let (from, done) = (job.join(format!(".partial-{}", left.as_str())), Arc::new(AtomicU64::new(0)));
        let mark = Arc::clone(&done);
        let coat = Faulty::meanwhile(Arc::clone(&world.store), call, move || {
            mark.store(1, Ordering::Relaxed);
            for entry in fs::read_dir(from).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.extension().is_some_and(|ending| ending == "part") {
                    fs::remove_file(path).expect("removed");
                }
            }
        });
        let run = RunId::from_random([9; 16]);
        let draft = Draft::create(&Catalog::new(Arc::new(coat), world.job.name.clone()), &run).expect("a draft");
        if let Ok((_, passed)) = draft.adopt(&left, &Silent) {
            let draft = job.join(format!(".partial-{}", run.as_str()));
            let names = fs::read_dir(draft).expect("a folder").map(|entry| entry.expect("an entry").file_name());
            let (parts, volumes): (Vec<_>, Vec<_>) =
                names.map(|name| name.to_string_lossy().into_owned()).partition(|name| name.ends_with(".part"));
            assert_eq!(parts.len(), volumes.len(), "call {call}: {parts:?} {volumes:?} {passed:?}");
            passed_over += u64::from(passed.iter().any(|passed| passed.contains("it is gone")));
        }
        if done.load(Ordering::Relaxed) == 0 {
            break;
        }
    }
    assert!(passed_over > 0);
}

/// It was admitted as if what did not change were linked, wrote until the store was full, and so each night again.
#[test]
fn a_fresh_run_that_is_due_and_has_no_room_is_put_off_and_said_until_there_is() {
    let mut world = World::new();
    world.job.codec = Codec::None;
    assert_eq!(world.run(0, Arc::clone(&world.store)).verdict(), Verdict::Ok);
    fs::write(world.job.sources[0].join("inner/other"), "changed").expect("a file");
    let job = world.folder.path().join("store/job");
    let with_free = |free| {
        Arc::new(Faulty::on_disk(Arc::clone(&world.store), job.clone(), bytes_in(&job) + free)) as Arc<dyn Store>
    };
    let later = |seconds| Ahead(SystemClock::new(), jiff::SignedDuration::from_secs(seconds));
    let is_said = |told: &[String]| told.iter().any(|told| told.contains("it was put off"));
    // at first it is no doubt: retention may make the room, and works only after a run that is ok
    for (fresh_every, seconds, verdict) in [(1500, 2000, Verdict::Ok), (1000, 2010, Verdict::Partial)] {
        world.job.reuse.fresh_every = Some(Duration::from_secs(fresh_every));
        let outcome = world.run_by(&later(seconds), fresh_every, with_free(2_000_000), &Silent);
        assert_eq!(outcome.verdict(), verdict, "{outcome:?}");
        let (by_notice, by_doubt) = (is_said(&outcome.notices), is_said(&outcome.doubts));
        assert_eq!((by_notice, by_doubt), (verdict == Verdict::Ok, verdict == Verdict::Partial), "{outcome:?}");
        assert!(outcome.totals.reused_bytes > ByteCount(2_000_000), "{:?}", outcome.totals);
    }
    // a run that is told to is refused, and one for which there is room is fresh
    world.job.reuse.full = true;
    assert!(world.run(2, with_free(2_000_000)).failure.is_some_and(|(reason, _)| reason == StopReason::StoreFull));
    world.job.reuse.full = false;
    let outcome = world.run_by(&later(2020), 3, with_free(4_000_000), &Silent);
    assert_eq!((outcome.verdict(), outcome.totals.reused_bytes), (Verdict::Ok, ByteCount::ZERO), "{outcome:?}");
}

/// A store that counts what is read from volumes.
struct Counting {
    inner: Arc<dyn Store>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    reads: AtomicU64,
    bytes: AtomicU64,
}

struct CountingReader(Box<dyn StoreReader>, Arc<Counts>);

impl StoreReader for CountingReader {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_pieces_at(&self, offset: u64, into: &mut [std::io::IoSliceMut<'_>]) -> Result<(), StoreError> {
        self.1.reads.fetch_add(1, Ordering::Relaxed);
        let len: usize = into.iter().map(|piece| piece.len()).sum();
        self.1.bytes.fetch_add(len as u64, Ordering::Relaxed);
        self.0.read_pieces_at(offset, into)
    }
}

impl Store for Counting {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn id(&self) -> &StoreId {
        self.inner.id()
    }
    fn check_identity(&self) -> Result<(), StoreError> {
        self.inner.check_identity()
    }
    fn create_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.inner.create_folder(folder)
    }
    fn create(&self, file: &Key) -> Result<Box<dyn StoreWriter>, StoreError> {
        self.inner.create(file)
    }
    fn open(&self, file: &Key) -> Result<Box<dyn StoreReader>, StoreError> {
        let reader = self.inner.open(file)?;
        let is_volume = file.to_string().contains(".tar");
        Ok(if is_volume { Box::new(CountingReader(reader, Arc::clone(&self.counts))) } else { reader })
    }
    fn list(&self, folder: &Key) -> Result<Vec<Listed>, StoreError> {
        self.inner.list(folder)
    }
    fn stat(&self, key: &Key) -> Result<Option<Listed>, StoreError> {
        self.inner.stat(key)
    }
    fn sync_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.inner.sync_folder(folder)
    }
    fn publish(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.inner.publish(from, to)
    }
    fn link(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.inner.link(from, to)
    }
    fn copy(&self, from: &Key, to: &Key, copied: &mut dyn FnMut(ByteCount)) -> Result<(), StoreError> {
        self.inner.copy(from, to, copied)
    }
    fn rename(&self, from: &Key, to: &Key) -> Result<(), StoreError> {
        self.inner.rename(from, to)
    }
    fn touch(&self, file: &Key) -> Result<(), StoreError> {
        self.inner.touch(file)
    }
    fn now(&self) -> Result<jiff::Timestamp, StoreError> {
        self.inner.now()
    }
    fn remove(&self, file: &Key) -> Result<(), StoreError> {
        self.inner.remove(file)
    }
    fn remove_folder(&self, folder: &Key) -> Result<(), StoreError> {
        self.inner.remove_folder(folder)
    }
    fn room(&self) -> Result<Room, StoreError> {
        self.inner.room()
    }
}

/// One file is read through the frame it lies in, whatever else the snapshot holds.
#[test]
fn one_small_file_costs_one_frame_of_the_volume() {
    for codec in [Codec::default(), Codec::Gzip { level: 6 }, Codec::None] {
        let mut world = World::new();
        world.job.codec = codec;
        let source = &world.job.sources[0];
        for number in 0..400 {
            fs::write(source.join(format!("file {number:03}")), vec![number as u8; 40_000]).expect("a file");
        }
        fs::write(source.join("small"), vec![7; 4096]).expect("a file");
        assert_eq!(world.run(1, Arc::clone(&world.store)).verdict(), Verdict::Ok);
        let (catalog, counts) = world.counted();
        let name = catalog.find("latest").expect("a snapshot");
        let mut out = Vec::new();
        let path = EntryPath::parse(b"small").expect("a path");
        content(&catalog, &name, &path, &mut out).expect("content");
        assert_eq!(out, vec![7; 4096]);
        assert_eq!(counts.reads.load(Ordering::Relaxed), 1, "{codec:?}");
    }
}

/// Over a network each byte of a volume is a byte of the line, so it is asked for once.
#[test]
fn verifying_reads_each_byte_of_a_volume_once() {
    let world = World::new();
    assert_eq!(world.run(1, Arc::clone(&world.store)).verdict(), Verdict::Ok);
    let (catalog, counts) = world.counted();
    let name = catalog.find("latest").expect("a snapshot");
    let (record, _) = catalog.record(&name).expect("a record");
    let options = Options::at(Level::Stored, NonZeroUsize::new(3).expect("three"));
    let report = verify(&catalog, &name, &options, &Known::default(), &Cancel::new(), &Silent).expect("a report");
    assert!(report.is_well() && report.frames > 2, "{report:?}");
    let stored: u64 = record.volumes.iter().map(|volume| volume.size).sum();
    assert_eq!(counts.bytes.load(Ordering::Relaxed), stored);
}

/// A header that does not fit is known from the frame it lies in, however long the file is.
#[test]
fn a_header_that_does_not_fit_costs_no_more_of_the_volume_than_a_map_could_take() {
    let mut world = World::new();
    world.job.codec = Codec::None;
    let file = fs::File::create(world.job.sources[0].join("holes")).expect("a file");
    file.set_len(32 << 20).expect("a length");
    let data: Vec<u8> = (0..8 << 20).map(|at: u32| (at % 251) as u8).collect();
    file.write_all_at(&data, 4 << 20).expect("written");
    drop(file);
    assert_eq!(world.run(1, Arc::clone(&world.store)).verdict(), Verdict::Ok);
    let (catalog, counts) = world.counted();
    let name = catalog.find("latest").expect("a snapshot");
    let folder = world.folder.path().join("store").join(world.job.name.as_str()).join(name.as_str());
    let volume = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let volume = volume.into_iter().find(|path| path.to_string_lossy().contains(".tar")).expect("a volume");
    let mut bytes = fs::read(&volume).expect("a volume");
    let at = bytes.windows(5).position(|window| window == b"holes").expect("a header");
    bytes[at] ^= 1;
    fs::write(&volume, bytes).expect("written");
    let path = EntryPath::parse(b"holes").expect("a path");
    let error = content(&catalog, &name, &path, &mut Vec::new()).expect_err("it is damaged");
    assert!(error.to_string().contains("holes"), "{error}");
    let read = counts.reads.load(Ordering::Relaxed);
    assert!(read <= 4, "{read} frames were read");
}

/// Does a deed when a run enters a phase, once.
struct When<F>(Phase, Mutex<Option<F>>);

impl<F: FnOnce() + Send> Observer for When<F> {
    fn notice(&self, event: &Event<'_>) {
        if matches!(event, Event::Entered { phase } if *phase == self.0)
            && let Some(deed) = self.1.lock().expect("a lock").take()
        {
            deed();
        }
    }
}

/// A volume of a first run, that a second one links; gives what the second says, and the world after it.
fn harmed_when(phase: Phase, harm: fn(&Path)) -> (World, backup::domain::Outcome) {
    let world = World::new();
    assert_eq!(world.run(0, Arc::clone(&world.store)).verdict(), Verdict::Ok);
    let first = world.catalog().snapshots().expect("listed").remove(0);
    let volume = world.folder.path().join(format!("store/job/{first}/{first}.tar.zst"));
    fs::write(world.job.sources[0].join("inner/other"), "changed").expect("a file");
    let harmful = When(phase, Mutex::new(Some(|| harm(&volume))));
    let outcome = world.run_watched(1, Arc::clone(&world.store), &harmful);
    assert!(harmful.1.into_inner().expect("a lock").is_none(), "it was harmed");
    (world, outcome)
}

#[track_caller]
fn assert_is_well(world: &World, outcome: &backup::domain::Outcome) {
    assert_eq!(outcome.verdict(), Verdict::Ok, "{outcome:?}");
    let name = outcome.snapshot.as_ref().expect("a snapshot");
    let options = Options::at(Level::Stored, NonZeroUsize::MIN);
    let report = verify(&world.catalog(), name, &options, &Known::default(), &Cancel::new(), &Silent);
    assert!(report.expect("verified").is_well());
}

fn overwrite(volume: &Path) {
    fs::File::options().write(true).open(volume).expect("it is there").write_all_at(b"x", 50).expect("written");
}

fn cut(volume: &Path) {
    fs::File::options().write(true).open(volume).expect("it is there").set_len(100).expect("cut");
}

/// It was looked at when the run began, and what came after that was older than this run's record: it was never seen.
#[test]
fn a_volume_that_is_written_cut_or_removed_between_the_look_at_it_and_its_link_is_not_built_on() {
    for harm in [overwrite, cut, |volume: &Path| fs::remove_file(volume).expect("removed")] {
        let (world, outcome) = harmed_when(Phase::Flushing, harm);
        let told = |notice: &String| notice.contains("cannot be taken over as it was published");
        assert!(outcome.notices.iter().any(told), "{:?}", outcome.notices);
        assert_is_well(&world, &outcome);
    }
}

#[test]
fn a_volume_that_is_written_between_its_link_and_the_record_fails_the_run_and_is_not_built_on_by_the_next() {
    let (world, outcome) = harmed_when(Phase::Publishing, overwrite);
    assert_eq!(outcome.verdict(), Verdict::Failed, "{outcome:?}");
    let (reason, trouble) = outcome.failure.expect("it failed");
    assert!(reason == StopReason::Store && trouble.what.contains("was written to while this run"), "{trouble:?}");
    let next = world.run(2, Arc::clone(&world.store));
    assert!(next.notices.iter().any(|notice| notice.contains("written to after it was published")));
    assert_is_well(&world, &next);
}
