//! Retention at the door: what goes, what stays, what can be taken back, and deaths in the middle of it.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod faults;
mod site;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup::catalog::{Catalog, CatalogError, Claim, Hold};
use backup::domain::{Advise, Cancel, Host, RunId, SnapshotName, Stop};
use backup::index::{IndexError, index};
use backup::observe::{Event, Observer, Silent};
use backup::prune::{self, Accept, Order};
use backup::retention::{Clocks, Dated, Policy, Quality, Refusal, judge};
use backup::store::{FolderStore, Permissions, RequireMount, Store};
use faults::{Fault, Faulty};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan, Zoned};
use site::tree::{assert_same, noise, picture};
use site::{Ran, Site, has, names_in};

/// A site with so many snapshots, each of another content.
fn with_snapshots(count: usize) -> Site {
    let site = Site::new();
    for number in 0..count {
        site.file("file", format!("content {number}")).file(&format!("file {number}"), "x").run(&["--quiet"]).exits(0);
    }
    assert_eq!(site.snapshots().len(), count);
    site
}

fn names(site: &Site) -> Vec<String> {
    site.snapshots().iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

fn prune(site: &Site, more: &[&str]) -> Ran {
    site.on_store(&[&["prune"], more].concat())
}

#[test]
fn what_no_rule_keeps_goes_to_the_trash_and_comes_back() {
    let site = with_snapshots(5);
    let before = names(&site);
    let untouched = picture(&site.store());
    prune(&site, &["--last", "3", "--dry-run"])
        .exits(0)
        .says("2 would be removed")
        .says("no rule keeps it")
        .says("last");
    assert_same(&untouched, &picture(&site.store()));
    prune(&site, &[]).exits(2).says("no rule");
    prune(&site, &["--last", "3"]).exits(0).says("2 removed");
    assert_eq!(names(&site), before[2..]);
    prune(&site, &["--last", "3"]).exits(0).says("nothing is to be removed");
    site.on_store(&["undelete"]).exits(0).says(&before[0]).says(&before[1]);
    site.on_store(&["undelete", &before[0]]).exits(0).says("is there again");
    assert_eq!(names(&site), [&before[..1], &before[2..]].concat());
    site.on_store(&["undelete", &before[0]]).exits(2).says("no removed snapshot");
    site.on_store(&["verify", "--all"]).exits(0);
    // what lies in the trash for long enough goes for good
    prune(&site, &["--last", "4", "--trash-for", "365d"]).exits(0);
    assert_eq!(names_in(&site.job().join(".trash")).len(), 1);
    age_the_trash(&site);
    prune(&site, &["--last", "4", "--trash-for", "365d"]).exits(0).says("1 removed for good");
    assert_eq!(names_in(&site.job().join(".trash")), [""; 0]);
}

#[test]
fn what_is_held_stays_and_says_why() {
    let site = with_snapshots(5);
    let before = names(&site);
    site.on_store(&["hold", &before[0], "--why", "the audit of 2026"]).exits(0);
    site.on_store(&["hold", &before[0], "--why", "something else"]).exits(0).says("held already: the audit of 2026");
    prune(&site, &["--last", "1", "--floor", "1"]).exits(0).says("held").says("3 removed");
    assert_eq!(names(&site), [&before[..1], &before[4..]].concat());
    site.on_store(&["release", &before[0]]).exits(0).says("left to retention again");
    prune(&site, &["--last", "1", "--floor", "1"]).exits(0).says("1 removed");
    assert_eq!(names(&site), before[4..]);
}

#[test]
fn nothing_goes_after_a_run_that_was_not_ok_or_below_the_floor_or_too_much_at_once() {
    let site = with_snapshots(5);
    prune(&site, &["--last", "1"]).exits(0).says("floor").says("2 removed");
    prune(&site, &["--last", "1", "--floor", "0", "--max-removals", "1"])
        .exits(1)
        .says("max_removals")
        .says("--max-removals");
    assert_eq!(site.snapshots().len(), 3);
    let source = site.path().join("aside");
    fs::rename(site.source(), &source).expect("renamed");
    site.run(&[]).exits(1);
    prune(&site, &["--last", "1", "--floor", "0"])
        .exits(1)
        .says("the last run was failed")
        .says("make a run succeed first");
    assert_eq!(site.snapshots().len(), 3);
    fs::rename(&source, site.source()).expect("renamed");
    site.run(&[]).exits(0);
    prune(&site, &["--last", "1", "--floor", "0"]).exits(0).says("3 removed");
}

#[test]
fn a_snapshot_that_cannot_be_read_is_not_removed() {
    let site = with_snapshots(4);
    let oldest = site.snapshots().remove(0);
    let record = oldest.join("snapshot.json");
    fs::remove_file(&record).expect("removed");
    fs::write(&record, "{").expect("written");
    prune(&site, &["--last", "1", "--floor", "1"]).exits(0).says("unreadable").says("2 removed");
    assert!(oldest.exists());
}

#[test]
fn a_run_prunes_as_its_job_says_and_a_failing_prune_changes_no_outcome() {
    let site = Site::new();
    site.file("file", "x");
    let config = site.path().join("backup.yaml");
    let text = format!(
        "stores:\n  local:\n    path: {}\njobs:\n  upload:\n    source: {}\n    retention: {{last: 2, floor: 1}}\n",
        site.store().display(),
        site.source().display()
    );
    fs::write(&config, text).expect("a configuration");
    let run = || site.backup(["run", "--config", config.to_str().expect("UTF-8")]);
    site.on_store(&["init"]);
    site.backup(["init", site.store().to_str().expect("UTF-8")]);
    for _ in 0..2 {
        run().exits(0).does_not_say("retention");
    }
    run().exits(0).says("retention removed 1 snapshot;");
    assert_eq!(site.snapshots().len(), 2);
    // a trash that is no folder: nothing can be moved there
    fs::remove_dir_all(site.job().join(".trash")).expect("removed");
    fs::write(site.job().join(".trash"), "").expect("a file");
    run().exits(0).says("retention could not do its work").says("the next run tries again");
    assert_eq!(site.snapshots().len(), 3);
    site.on_store(&["verify", "--all"]).exits(0);
}

#[test]
fn a_prune_that_is_killed_at_any_system_call_leaves_every_listed_snapshot_whole() {
    if !has("strace", "killing at each system call") {
        return;
    }
    let site = with_snapshots(4);
    let master = site.path().join("master");
    let copy = |from: &Path, to: &Path| {
        let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts");
        assert!(done.success());
    };
    copy(&site.store(), &master);
    let (mut kills, mut ended) = (0, false);
    for call in (1..2000).step_by(2) {
        fs::remove_dir_all(site.store()).expect("removed");
        copy(&master, &site.store());
        let mut strace = Command::new("strace");
        let calls = "%file,fsync,syncfs,ftruncate,pwrite64,write";
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"]);
        strace.arg(format!("inject={calls}:signal=KILL:when={call}")).arg(env!("CARGO_BIN_EXE_backup"));
        strace
            .args(["prune", "--last", "1", "--floor", "1", "--trash-for", "1s", "--quiet", "--store"])
            .arg(site.store());
        let ran = strace.arg("--state-dir").arg(site.path().join("state")).output().expect("strace starts");
        if String::from_utf8_lossy(&ran.stderr).contains("PTRACE") {
            eprintln!("SKIPPED: tracing is not allowed here");
            return;
        }
        let listed = names(&site).len();
        let trashed = names_in(&site.job().join(".trash")).len();
        assert!(listed + trashed == 4 && listed >= 1, "call {call}: {listed} listed, {trashed} in the trash");
        site.on_store(&["verify", "--all", "--quiet"]).exits(0);
        if ran.status.success() {
            assert_eq!(listed, 1);
            ended = true;
            break;
        }
        kills += 1;
        // the lease of the dead is taken over after its term; here a person breaks it, and the rest is done
        site.on_store(&["unlock", "--break"]);
        prune(&site, &["--last", "1", "--floor", "1", "--quiet"]).exits(0);
        assert_eq!(names(&site).len(), 1, "call {call}");
    }
    eprintln!("{kills} kills");
    assert!(ended && kills >= 30, "{kills} kills");
}

fn open(site: &Site) -> Arc<dyn Store> {
    let opened = FolderStore::open(&site.store(), &RequireMount::No, Permissions::default(), None).expect("a store");
    Arc::new(opened.store)
}

fn catalog(store: Arc<dyn Store>) -> Catalog {
    Catalog::new(store, "upload".parse().expect("a job"))
}

fn order(store: &dyn Store, last: u32) -> Order {
    let policy = Policy { last, floor: 1, ..Policy::default() };
    Order { policy, zone: TimeZone::UTC, now: store.now().expect("a time"), trash_for: Some(Duration::ZERO) }
}

fn claim(store: &dyn Store) -> Claim {
    let (run, started) = (RunId::from_random([9; 16]), store.now().expect("a time"));
    Claim { run, host: Host("here".to_owned()), pid: 1, started, term_s: 600 }
}

fn copy_of(master: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).expect("removed");
    }
    let done = Command::new("cp").arg("-a").arg(master).arg(to).status().expect("cp starts");
    assert!(done.success());
}

fn audit() -> Hold {
    Hold { why: "an audit".to_owned(), ..Hold::default() }
}

/// What must be true whatever came first: nothing that is held is gone for good, and who was told that it is held has it.
fn stands(site: &Site, name: &SnapshotName, told: &Result<bool, CatalogError>, call: u64) {
    let catalog = catalog(open(site));
    let listed = catalog.snapshots().expect("a list").contains(name);
    let trashed = catalog.trash().expect("a list").iter().any(|trashed| trashed.name == *name);
    let held = catalog.holds().expect("holds").contains_key(name);
    match told {
        Ok(_) => assert!(held && listed, "call {call}: held {held}, listed {listed}, in the trash {trashed}"),
        Err(CatalogError::RemovedMeanwhile { .. }) => {
            assert!(held, "call {call}: the hold stays");
        }
        Err(other) => panic!("call {call}: {other}"),
    }
    if held && !listed {
        // emptied at once, as the trash is here, it would be gone for good
        let (plain, store) = (catalog, open(site));
        prune::prune(&plain, &order(&*store, 1), claim(&*store), &Cancel::new(), &Silent).expect("pruned");
        assert!(trashed, "call {call}: what is held is gone for good");
        site.on_store(&["undelete", name.as_str()]).exits(0).says("is there again").says("an audit");
        site.on_store(&["verify", name.as_str()]).exits(0);
    }
}

#[test]
fn whoever_holds_at_any_moment_of_a_prune_has_it_or_is_told_and_nothing_held_is_gone() {
    let site = with_snapshots(3);
    let master = site.path().join("master");
    copy_of(&site.store(), &master);
    let first: SnapshotName = names(&site)[0].parse().expect("a name");
    let (mut kept, mut told_removed, mut late) = (0, 0, 0);
    for call in 1_u64.. {
        copy_of(&master, &site.store());
        let told = Arc::new(Mutex::new(None));
        let (other, name, tell) = (catalog(open(&site)), first.clone(), Arc::clone(&told));
        let coat = Faulty::meanwhile(open(&site), call, move || {
            let in_trash = other.trash().expect("a list").iter().any(|trashed| trashed.name == name);
            let is_there = in_trash || other.snapshots().expect("a list").contains(&name);
            *tell.lock().expect("a lock") = Some((is_there, other.hold(&name, &audit())));
        });
        let plain = open(&site);
        let report =
            prune::prune(&catalog(Arc::new(coat)), &order(&*plain, 1), claim(&*plain), &Cancel::new(), &Silent)
                .expect("pruned");
        let Some((was_there, told)) = told.lock().expect("a lock").take() else { break };
        if !was_there && report.emptied == 2 {
            // it was being removed for good before anybody held it
            assert!(matches!(told, Err(CatalogError::RemovedMeanwhile { .. })), "call {call}");
            late += 1;
            continue;
        }
        stands(&site, &first, &told, call);
        if report.held_meanwhile.contains(&first) {
            kept += 1;
        }
        told_removed += u32::from(told.is_err());
    }
    eprintln!("{kept} kept by a prune that saw the hold, {told_removed} told, {late} too late");
    assert!(kept >= 5 && told_removed >= 2, "{kept} {told_removed} {late}");
}

#[test]
fn what_is_removed_while_a_plan_is_made_spoils_it_for_no_other() {
    let site = with_snapshots(3);
    let master = site.path().join("master");
    copy_of(&site.store(), &master);
    let mut removed = 0;
    for call in 1_u64.. {
        copy_of(&master, &site.store());
        let (other, plain, ours) = (catalog(open(&site)), open(&site), open(&site));
        let done = Arc::new(Mutex::new(false));
        let mark = Arc::clone(&done);
        let coat = Faulty::meanwhile(open(&site), call, move || {
            prune::prune(&other, &order(&*plain, 1), claim(&*plain), &Cancel::new(), &Silent).expect("pruned");
            *mark.lock().expect("a lock") = true;
        });
        let plan = prune::plan(&catalog(Arc::new(coat)), &order(&*ours, 3));
        if !*done.lock().expect("a lock") {
            break;
        }
        let judged = plan.unwrap_or_else(|error| panic!("call {call}: {error}")).judgement.verdicts.len();
        assert!((1..=3).contains(&judged), "call {call}: {judged}");
        removed += u32::from(judged < 3);
    }
    assert!(removed >= 3, "{removed}");
}

#[test]
fn a_prune_at_any_moment_of_a_hold_is_seen_and_told() {
    let site = with_snapshots(3);
    let master = site.path().join("master");
    copy_of(&site.store(), &master);
    let first: SnapshotName = names(&site)[0].parse().expect("a name");
    let (mut held, mut told_removed) = (0, 0);
    for call in 1_u64.. {
        copy_of(&master, &site.store());
        let (other, plain) = (catalog(open(&site)), open(&site));
        let done = Arc::new(Mutex::new(false));
        let mark = Arc::clone(&done);
        let coat = Faulty::meanwhile(open(&site), call, move || {
            let order = Order { trash_for: Some(Duration::from_secs(3600)), ..order(&*plain, 1) };
            prune::prune(&other, &order, claim(&*plain), &Cancel::new(), &Silent).expect("pruned");
            *mark.lock().expect("a lock") = true;
        });
        let told = catalog(Arc::new(coat)).hold(&first, &audit());
        if !*done.lock().expect("a lock") {
            break;
        }
        stands(&site, &first, &told, call);
        held += u32::from(told.is_ok());
        told_removed += u32::from(told.is_err());
    }
    assert!(held >= 2 && told_removed >= 2, "{held} {told_removed}");
}

#[test]
fn what_is_held_in_the_trash_is_never_removed_for_good_until_it_is_released() {
    let site = with_snapshots(3);
    let first = names(&site).remove(0);
    prune(&site, &["--last", "1", "--floor", "1"]).exits(0).says("2 removed");
    // what a hold leaves that came at the same moment
    fs::create_dir_all(site.job().join(".holds")).expect("a folder");
    fs::write(site.job().join(".holds").join(format!("{first}.json")), "{\"why\": \"an audit\"}").expect("a hold");
    let folder = site.job().join(".trash");
    age_the_trash(&site);
    prune(&site, &["--last", "1", "--trash-for", "1h"]).exits(0).says("1 removed for good");
    let trashed = names_in(&folder);
    assert!(trashed.len() == 1 && trashed[0].ends_with(&first), "{trashed:?}");
    // a death while it was being removed, in a prune that saw no hold: it comes back to the trash
    fs::rename(folder.join(&trashed[0]), folder.join(format!(".going-{}", trashed[0]))).expect("renamed");
    prune(&site, &["--last", "1", "--trash-for", "1h"]).exits(0).does_not_say("for good");
    assert_eq!(names_in(&folder), trashed);
    site.on_store(&["release", &first]).exits(0).says("left to retention");
    prune(&site, &["--last", "1", "--trash-for", "1h"]).exits(0).says("1 removed for good");
}

#[test]
fn what_is_taken_back_is_held_and_says_how_that_ends() {
    let site = with_snapshots(4);
    let before = names(&site);
    prune(&site, &["--last", "3"]).exits(0).says("1 removed");
    let taken = site.on_store(&["undelete", &before[0]]).exits(0);
    taken.says("is there again").says(&format!("`backup release {}`", before[0])).says("taken back from the trash");
    prune(&site, &["--last", "3"]).exits(0).says("held").says("nothing is to be removed");
    assert_eq!(names(&site), before);
    site.on_store(&["release", &before[0]]).exits(0);
    prune(&site, &["--last", "3"]).exits(0).says("1 removed");
}

#[test]
fn a_taking_back_that_fails_at_any_call_leaves_it_in_the_trash_or_back_and_held() {
    let site = with_snapshots(3);
    prune(&site, &["--last", "2", "--floor", "1"]).exits(0).says("1 removed");
    let master = site.path().join("master");
    copy_of(&site.store(), &master);
    let trashed = catalog(open(&site)).trash().expect("a list").remove(0);
    for after in [false, true] {
        let (mut back, mut ended) = (0, false);
        for call in 1_u64..200 {
            copy_of(&master, &site.store());
            let fault = Fault { call, errno: 5, for_ever: true, after };
            let coat = Faulty::new(open(&site), Some(fault));
            let plan = coat.plan();
            let broken = catalog(Arc::new(coat));
            let done = prune::take_back(&broken, &trashed, &audit(), Accept::Whole, claim(&*open(&site)));
            let plain = catalog(open(&site));
            let listed = plain.snapshots().expect("a list").contains(&trashed.name);
            let is_in_trash = plain.trash().expect("a list").contains(&trashed);
            let held = plain.holds().expect("holds").contains_key(&trashed.name);
            assert!(listed != is_in_trash, "call {call}, after {after}: listed {listed}, in the trash {is_in_trash}");
            assert!(!listed || held, "call {call}, after {after}: it is back and not held");
            back += u32::from(listed);
            if plan.calls() < call {
                assert!(done.is_ok() && listed);
                ended = true;
                break;
            }
        }
        assert!(ended && back >= 2, "{back}");
    }
}

#[test]
fn what_is_taken_back_is_compared_with_its_record_first_and_never_lies_over_another() {
    let site = with_snapshots(4);
    let before = names(&site);
    prune(&site, &["--last", "3"]).exits(0).says("1 removed");
    let trashed = site.job().join(".trash").join(&names_in(&site.job().join(".trash"))[0]);
    let volume = trashed.join(names_in(&trashed).into_iter().find(|name| name.contains(".tar")).expect("a volume"));
    // a run is at work
    fs::write(site.job().join(".lease.json"), "").expect("a lease");
    site.on_store(&["undelete", &before[0]]).exits(5).says("leased");
    fs::remove_file(site.job().join(".lease.json")).expect("removed");
    // a folder of that name, though an empty one
    fs::create_dir(site.job().join(&before[0])).expect("a folder");
    site.on_store(&["undelete", &before[0]]).exits(1).says("there already");
    assert!(trashed.exists() && names_in(&site.job().join(".holds")).is_empty());
    fs::remove_dir(site.job().join(&before[0])).expect("removed");
    // a cut volume
    let aside = site.path().join("aside");
    fs::rename(&volume, &aside).expect("moved");
    fs::write(&volume, "cut").expect("written");
    site.on_store(&["undelete", &before[0]]).exits(4).says("not whole").says("has 3 bytes, and").says("--damaged");
    assert_eq!(names(&site), before[1..]);
    site.on_store(&["undelete", &before[0], "--damaged"]).exits(4).says("is there again").says("IT IS DAMAGED");
    assert_eq!(names(&site), before);
}

/// What is done to a snapshot's folder.
type Harm<'a> = &'a dyn Fn(&Path);

#[test]
fn a_damaged_snapshot_stays_and_counts_for_nothing() {
    let volume_of = |folder: &Path| {
        let name = names_in(folder).into_iter().rfind(|name| name.contains(".tar")).expect("a volume");
        folder.join(name)
    };
    let manifest_of = |folder: &Path| folder.join("manifest.jsonl.zst");
    let gone = |path: &Path| fs::remove_file(path).expect("removed");
    let cut = |path: &Path| {
        // a volume may have names in other snapshots: only this one is cut
        let bytes = fs::read(path).expect("a file");
        gone(path);
        fs::write(path, &bytes[1..]).expect("written");
    };
    let harms: [(&str, Harm); 5] = [
        ("is missing", &|folder| gone(&volume_of(folder))),
        ("were published", &|folder| cut(&volume_of(folder))),
        ("is missing", &|folder| gone(&manifest_of(folder))),
        ("were published", &|folder| cut(&manifest_of(folder))),
        ("SHA256SUMS is missing", &|folder| gone(&folder.join("SHA256SUMS"))),
    ];
    let site = with_snapshots(5);
    let master = site.path().join("master");
    copy_of(&site.store(), &master);
    for (words, harm) in harms {
        copy_of(&master, &site.store());
        let all = site.snapshots();
        harm(&all[4]);
        prune(&site, &["--last", "1", "--floor", "2"]).exits(0).says("damaged").says(words).says("2 removed");
        // the newest good one is the one before, and the floor is another good one
        assert_eq!(site.snapshots(), all[2..]);
    }
}

#[test]
fn damage_that_a_verification_found_counts_until_it_is_disproved() {
    let site = with_snapshots(4);
    let all = site.snapshots();
    let name = names_in(&all[3]).into_iter().rfind(|name| name.contains(".tar")).expect("a volume");
    let sound = fs::read(all[3].join(&name)).expect("a volume");
    let put = |bytes: &[u8]| {
        fs::remove_file(all[3].join(&name)).expect("removed");
        fs::write(all[3].join(&name), bytes).expect("written");
    };
    // another byte, the same length: no listing shows it
    let mut harmed = sound.clone();
    let middle = harmed.len() / 2;
    harmed[middle] ^= 1;
    put(&harmed);
    site.on_store(&["verify", "latest"]).exits(4);
    let dry = || prune(&site, &["--last", "1", "--floor", "1", "--dry-run"]).exits(0);
    dry().says("damaged (verify found damage on ").says("2 would be removed");
    put(&sound);
    dry().says("2 would be removed");
    site.on_store(&["verify", "latest"]).exits(0);
    dry().does_not_say("damage").says("3 would be removed");
}

#[test]
fn damage_in_a_file_that_snapshots_share_is_damage_of_each_until_it_is_itself_proven_well() {
    let site = Site::new();
    site.file("always", noise(1, 5000));
    for number in 0..3 {
        site.file("file", format!("content {number}")).run(&["--quiet"]).exits(0);
    }
    let all = site.snapshots();
    let of = |folder: &Path| names_in(folder).into_iter().filter(|name| name.contains(".tar")).collect::<Vec<_>>();
    let (first, last) = (of(&all[0]), of(&all[2]));
    let name = first.iter().find(|name| last.contains(name)).expect("a volume that they share");
    let harm = || {
        let mut bytes = fs::read(all[0].join(name)).expect("a volume");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(all[0].join(name), bytes).expect("written");
    };
    harm();
    let of_first = all[0].file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    site.on_store(&["verify", &of_first]).exits(4);
    let with = format!("DAMAGED with {of_first}");
    let listed = || site.on_store(&["list"]).exits(0);
    assert_eq!(listed().out.matches(&with).count(), 2, "{}", listed().out);
    let dry = || prune(&site, &["--last", "1", "--floor", "1", "--dry-run"]).exits(0);
    let shares = format!("in {name}, which it shares with {of_first}");
    assert_eq!(dry().says("nothing is to be removed").out.matches(&shares).count(), 2, "{}", dry().out);
    // a copy in its place is a file of its own
    let copy = all[1].join("aside");
    fs::copy(all[1].join(name), &copy).expect("copied");
    fs::rename(&copy, all[1].join(name)).expect("replaced");
    assert_eq!(listed().out.matches(&with).count(), 1, "{}", listed().out);
    // the disk has mended itself: who says so must have read it
    harm();
    site.on_store(&["verify", "latest", "--quick"]).exits(0);
    assert_eq!(listed().out.matches(&with).count(), 1, "{}", listed().out);
    site.on_store(&["verify", "latest"]).exits(0);
    listed().does_not_say(&with).says("DAMAGED,");
}

/// Root's verification, or a newer program's, told of damage that the daemon's user could not read: its retention took the
/// damaged snapshot for good and removed sound ones for it, and the next run linked what was damaged.
#[test]
fn a_verification_that_cannot_be_read_may_tell_of_damage_in_its_snapshot_and_in_no_other() {
    for harm in ["newer", "cut", "of another"] {
        let site = Site::new();
        for number in 0..3 {
            site.file("file", format!("content {number}")).run(&["--quiet", "--fresh"]).exits(0);
        }
        // shares its volume with the third
        site.run(&["--quiet"]).exits(0);
        let before = names(&site);
        site.on_store(&["verify", "latest", "--quick"]).exits(0);
        let remembered = site.job().join(".verified").join(names_in(&site.job().join(".verified")).remove(0));
        let text = fs::read_to_string(&remembered).expect("a verification");
        let harmed = match harm {
            "newer" => text.replace("\"format\":1", "\"format\":2"),
            "cut" => text[..text.len() / 2].to_owned(),
            _ => text.replace(&before[3], &before[0]),
        };
        assert_ne!(text, harmed);
        fs::write(&remembered, harmed).expect("written");
        let dry = || prune(&site, &["--last", "1", "--floor", "1", "--dry-run"]).exits(0);
        let with = format!("a verification of {}, with which it shares ", before[3]);
        dry().says("damaged (a verification of it cannot be read: ").says(&with).says("1 would be removed");
        // the first two are good, and count
        assert_eq!(dry().out.matches("no rule keeps it").count(), 1, "{harm}");
        site.run(&[]).exits(0).says("is not reused").says(&format!("a verification of {} cannot be read", before[3]));
        // what has its own volumes is built on again, and whoever reads all of the other ends the doubt
        site.run(&[]).exits(0).does_not_say("is not reused");
        site.on_store(&["verify", &before[3]]).exits(0);
        dry().says("a verification of it cannot be read");
        site.on_store(&["verify", &before[3], "--deep"]).exits(0);
        dry().does_not_say("cannot be read");
    }
}

#[test]
fn damage_in_a_shared_file_does_not_go_with_the_snapshot_in_which_it_was_found() {
    let site = Site::new();
    site.file("always", noise(1, 5000));
    for number in 0..3 {
        site.file("file", format!("content {number}")).run(&["--quiet"]).exits(0);
    }
    let all = site.snapshots();
    let name = names_in(&all[0]).into_iter().find(|name| name.contains(".tar") && all[2].join(name).exists());
    let name = name.expect("a volume that they share");
    let flip = || {
        let mut bytes = fs::read(all[2].join(&name)).expect("a volume");
        bytes[1000] ^= 1;
        fs::write(all[2].join(&name), bytes).expect("written");
    };
    flip();
    let called = |at: usize| all[at].file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    site.on_store(&["verify", &called(0)]).exits(4);
    fs::remove_dir_all(&all[0]).expect("somebody removes what is damaged");
    // whoever remembers something else forgets what is of no use any more, and this is
    site.on_store(&["verify", &called(1), "--quick"]).exits(0);
    let with = format!("DAMAGED with {}", called(0));
    let listed = || site.on_store(&["list"]).exits(0);
    assert_eq!(listed().out.matches(&with).count(), 2, "{}", listed().out);
    flip();
    site.on_store(&["verify", "--all"]).exits(0);
    listed().does_not_say("DAMAGED");
    let verified = || names_in(&site.job().join(".verified")).into_iter().any(|name| name.contains(&called(0)));
    assert!(verified(), "others have the file");
    fs::remove_file(all[1].join(&name)).expect("removed");
    fs::remove_file(all[2].join(&name)).expect("removed");
    site.on_store(&["verify", &called(1), "--quick"]).exits(4);
    assert!(!verified(), "nobody has it any more");
}

#[test]
fn nothing_goes_and_the_trash_is_not_emptied_while_our_clock_and_the_stores_differ() {
    let site = with_snapshots(4);
    let before = names(&site);
    prune(&site, &["--last", "3"]).exits(0).says("1 removed");
    let (catalog, store) = (catalog(open(&site)), open(&site));
    // everything is older than a minute for a clock that is hours ahead
    let policy = Policy { within: Some(Duration::from_secs(60)), floor: 0, ..Policy::default() };
    for hours in [2, 24 * 365, -2] {
        let mut order = Order { policy, ..order(&*store, 1) };
        order.now += SignedDuration::from_hours(hours);
        let report = prune::prune(&catalog, &order, claim(&*store), &Cancel::new(), &Silent).expect("asked");
        let refusal = report.judgement.refusal.clone();
        assert!(matches!(refusal, Some(Refusal::ClocksDiffer { .. })), "{hours} hours: {refusal:?}");
        assert_eq!((report.removed.len(), report.emptied), (0, 0));
        assert_eq!(names(&site), before[1..]);
        assert_eq!(names_in(&site.job().join(".trash")).len(), 1);
    }
    let report = prune::prune(&catalog, &order(&*store, 2), claim(&*store), &Cancel::new(), &Silent).expect("pruned");
    assert_eq!((report.removed.len(), report.emptied), (1, 2));
}

/// A configuration of the job, and a command beside which it stands in the environment.
fn configured(site: &Site, zone: &str, retention: &str) -> impl Fn(&[&str]) -> Ran {
    let config = site.path().join("the job's.yaml");
    let text = format!(
        "timezone: {zone}\nstores: {{local: {{path: {:?}}}}}\njobs: {{upload: {{source: {:?}, {retention}}}}}\n",
        site.store(),
        site.source()
    );
    fs::write(&config, text).expect("a configuration");
    move |arguments| site.command(arguments).env("BACKUP_CONFIG", &config).output().expect("the binary starts").into()
}

#[test]
fn the_days_of_a_jobs_rules_are_those_of_its_zone_also_where_the_store_is_named_by_its_folder() {
    let site = with_snapshots(1);
    let (made, name) = (site.newest(), names(&site).remove(0));
    // one day in UTC, two in Berlin
    for other in ["upload-20260101T100000Z", "upload-20260101T233000Z"] {
        let copy = site.job().join(other);
        copy_of(&made, &copy);
        let record = fs::read_to_string(made.join("snapshot.json")).expect("a record");
        let mut record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
        assert_eq!(record["snapshot"], name);
        record["snapshot"] = other.into();
        fs::remove_file(copy.join("snapshot.json")).expect("removed");
        fs::write(copy.join("snapshot.json"), record.to_string()).expect("written");
    }
    let store = site.store();
    let arguments = ["prune", "--dry-run", "--store", store.to_str().expect("UTF-8")];
    let retention = "retention: {daily: 9, floor: 0}";
    configured(&site, "UTC", retention)(&arguments).exits(0).says("1 would be removed");
    configured(&site, "Europe/Berlin", retention)(&arguments).exits(0).says("nothing is to be removed");
}

/// Whatever lies in the trash has lain there for years.
fn age_the_trash(site: &Site) {
    let trash = site.job().join(".trash");
    for trashed in names_in(&trash) {
        let old = format!("20200101T000000Z-{}", trashed.split_once('-').expect("a stamp").1);
        fs::rename(trash.join(trashed), trash.join(old)).expect("renamed");
    }
}

#[test]
fn a_prune_that_knows_no_job_of_the_store_empties_the_trash_only_where_it_is_told_after_how_long() {
    let site = with_snapshots(5);
    prune(&site, &["--last", "3"]).exits(0).says("2 removed").says("note: the trash is not emptied");
    age_the_trash(&site);
    // a job of this name in another store is another job
    let config = configured(&site, "UTC", "trash_for: 1h, retention: {last: 3}");
    let elsewhere = site.path().join("elsewhere");
    fs::rename(site.store(), &elsewhere).expect("renamed");
    let path = elsewhere.to_str().expect("UTF-8");
    config(&["prune", "--last", "3", "--store", path]).exits(0).says("note: the trash is not emptied");
    assert_eq!(names_in(&elsewhere.join("upload/.trash")).len(), 2);
    fs::rename(&elsewhere, site.store()).expect("renamed");
    prune(&site, &["--last", "3"]).exits(0).does_not_say("for good");
    config(&["prune"]).exits(0).says("2 removed for good").does_not_say("note");
    assert_eq!(names_in(&site.job().join(".trash")), [""; 0]);
}

#[test]
fn a_prune_that_refuses_leaves_the_trash_as_it_is() {
    let site = with_snapshots(6);
    prune(&site, &["--last", "5"]).exits(0).says("1 removed");
    age_the_trash(&site);
    let before = picture(&site.job().join(".trash"));
    let hour = ["--trash-for", "1h"];
    prune(&site, &[&["--last", "3", "--max-removals", "1"], &hour[..]].concat()).exits(1).says("nothing was removed");
    assert_same(&before, &picture(&site.job().join(".trash")));
    let source = site.path().join("aside");
    fs::rename(site.source(), &source).expect("renamed");
    site.run(&[]).exits(1);
    prune(&site, &[&["--last", "3"], &hour[..]].concat()).exits(1).says("nothing was removed");
    assert_same(&before, &picture(&site.job().join(".trash")));
    fs::rename(&source, site.source()).expect("renamed");
    site.run(&[]).exits(0);
    prune(&site, &[&["--last", "3"], &hour[..]].concat()).exits(0).says("1 removed for good");
}

/// It was blamed on this machine's clock, which had long been right, for ever.
#[test]
fn what_is_dated_in_the_future_stops_retention_with_an_advice_that_works() {
    let site = with_snapshots(4);
    let before = names(&site);
    fs::rename(site.newest(), site.job().join("upload-29990101T000000Z")).expect("named by a clock that was ahead");
    site.run(&["--quiet"]).exits(0);
    assert_eq!(names(&site)[4], "upload-29990101T000001Z", "the order of names is the order of runs");
    prune(&site, &["--last", "1", "--floor", "1"])
        .exits(1)
        .says("the newest snapshot upload-29990101T000001Z is dated in the future")
        .says("out of the store");
    assert_eq!(names(&site).len(), 5);
    for ahead in &names(&site)[3..] {
        fs::rename(site.job().join(ahead), site.path().join(ahead)).expect("moved");
    }
    prune(&site, &["--last", "1", "--floor", "1"]).exits(0).says("2 removed");
    site.run(&["--quiet"]).exits(0);
    assert_eq!(names(&site)[0], before[2]);
    assert!(!names(&site)[1].contains("2999"));
    site.on_store(&["verify", "--all"]).exits(0);
}

/// The nights of three years in Madrid, judged every night: what goes when, and what is left with its reasons.
fn daily_for_three_years() -> String {
    let policy = Policy { last: 7, daily: 14, weekly: 8, monthly: 12, yearly: 3, ..Policy::default() };
    let (madrid, job) = (TimeZone::get("Europe/Madrid").expect("a zone"), "up".parse().expect("a job"));
    let first: Zoned = "2024-01-01T02:00[Europe/Madrid]".parse().expect("a time");
    let day = |snapshot: &Dated| snapshot.name.at().to_zoned(madrid.clone()).date().to_string();
    let mut text = "A job that ran every night at two in Madrid and was pruned after each run with\n\
         last 7, daily 14, weekly 8, monthly 12, yearly 3: what goes in which night.\n\n"
        .to_owned();
    let mut there: Vec<Dated> = Vec::new();
    let mut left = String::new();
    for number in 0..3 * 366 {
        let night = first.checked_add(number.days()).expect("a time");
        if night.year() == 2027 {
            break;
        }
        let name = SnapshotName::new(&job, night.timestamp());
        there.push(Dated { name, quality: Quality::Good, held: false });
        let judgement = judge(&policy, &madrid, Clocks::ours(night.timestamp()), None, &there);
        assert_eq!(judgement.refusal, None);
        let gone: Vec<SnapshotName> = judgement.removals().cloned().collect();
        let days: Vec<String> = there.iter().filter(|one| gone.contains(&one.name)).map(day).collect();
        there.retain(|one| !gone.contains(&one.name));
        let what = if days.is_empty() { "nothing".to_owned() } else { days.join(" ") };
        text.push_str(&format!("{}  {:>2} stay, {what} goes\n", night.date(), there.len()));
        let stays = judgement.verdicts.iter().filter(|verdict| verdict.stays());
        left = stays.map(|verdict| format!("{}  {}\n", day(&verdict.snapshot), verdict.words())).collect();
    }
    text + "\nWhat is left, and why:\n\n" + &left
}

#[test]
fn three_years_of_nights_are_as_in_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables/daily-three-years.txt");
    let fresh = daily_for_three_years();
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, &fresh).expect("written");
    }
    let kept = fs::read_to_string(&path).expect("the table");
    let differs = kept.lines().zip(fresh.lines()).find(|(kept, fresh)| kept != fresh);
    assert_eq!(differs, None, "table, program: look why; then `UPDATE=1 cargo test --test retention` and commit");
    assert!(kept == fresh, "the table has another length than what is made now");
}

/// What is made anew is partial, so a good snapshot that is newer was enough to remove it.
#[test]
fn a_snapshot_that_was_made_anew_is_held_until_somebody_releases_it() {
    let site = with_snapshots(3);
    let before = names(&site);
    fs::remove_file(site.snapshots()[0].join("manifest.jsonl.zst")).expect("removed");
    let release = format!("held      until `backup release {}`: made anew from its volumes", before[0]);
    site.on_store(&["index", &before[0]]).exits(0).says(&release);
    prune(&site, &["--last", "1", "--floor", "1"]).exits(0).says("held").says("1 removed");
    assert_eq!(names(&site), [&before[..1], &before[2..]].concat());
    site.on_store(&["verify", &before[0]]).exits(0);
    site.on_store(&["release", &before[0]]).exits(0);
    prune(&site, &["--last", "1", "--floor", "1"]).exits(0).says("1 removed");
    // the reason of whoever held it before stays
    site.on_store(&["hold", "latest", "--why", "the audit of 2026"]).exits(0);
    site.on_store(&["index", "latest", "--force"]).exits(0).says("`: the audit of 2026");
}

/// Whoever makes a snapshot anew and removes it, within one second, met what it was before in the place in the trash.
#[test]
fn what_is_removed_finds_a_place_in_the_trash_where_its_name_was_taken_in_this_second() {
    let site = with_snapshots(2);
    let (before, trash) = (names(&site), site.job().join(".trash"));
    fs::create_dir(&trash).expect("a folder");
    let now = open(&site).now().expect("a time");
    for second in -100..100 {
        let stamp = (now + SignedDuration::from_secs(second)).strftime("%Y%m%dT%H%M%SZ").to_string();
        fs::create_dir(trash.join(format!("{stamp}-{}", before[0]))).expect("a folder");
    }
    prune(&site, &["--last", "1", "--floor", "1"]).exits(0).says("1 removed");
    assert_eq!((names(&site), names_in(&trash).len()), (before[1..].to_vec(), 201));
}

/// A store of two snapshots, the first without its manifest; its name, and a copy of the store.
fn without_a_manifest() -> (Site, SnapshotName, PathBuf) {
    let site = with_snapshots(2);
    let name: SnapshotName = names(&site)[0].parse().expect("a name");
    fs::remove_file(site.snapshots()[0].join("manifest.jsonl.zst")).expect("removed");
    let master = site.path().join("master");
    copy_of(&site.store(), &master);
    (site, name, master)
}

#[test]
fn whatever_fails_or_dies_while_a_snapshot_is_made_anew_it_is_listed_or_held_in_the_trash() {
    let (site, name, master) = without_a_manifest();
    // one error, before or after the deed; a store that is gone from then on, as for a run that died
    for (for_ever, after) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut failed, mut aside) = (0, 0);
        for call in 2_u64.. {
            copy_of(&master, &site.store());
            let now = open(&site).now().expect("a time");
            let coat = Faulty::new(open(&site), Some(Fault { call, errno: 5, for_ever, after }));
            let plan = coat.plan();
            let ended = index(&catalog(Arc::new(coat)), &name, claim(&*open(&site)), "a test", now);
            let plain = catalog(open(&site));
            let (listed, trash) = (plain.snapshots().expect("a list"), plain.trash().expect("a list"));
            let held = plain.holds().expect("holds").contains_key(&name);
            let case = format!("call {call}, for ever {for_ever}, after {after}: {ended:?}");
            assert_eq!(listed.len() + usize::from(!listed.contains(&name)), 2, "{case}");
            if !listed.contains(&name) {
                assert!(for_ever && held && trash.iter().any(|trashed| trashed.name == name), "{case}");
                let error = ended.as_ref().expect_err("it is not there");
                assert!(error.advice().contains(&format!("`backup undelete {name} --damaged`")), "{case}");
                aside += 1;
            }
            assert!(held || trash.is_empty(), "{case}");
            if plan.calls() < call {
                ended.expect("nothing failed");
                break;
            }
            failed += u32::from(ended.is_err());
        }
        // where only the answers are lost, it is put back all the same
        assert!(failed > 20 && (aside > 0) == (for_ever && !after), "{failed} failed, {aside} left in the trash");
    }
}

#[test]
fn who_loses_the_lease_while_it_makes_a_snapshot_anew_leaves_it_where_it_was() {
    let (site, name, master) = without_a_manifest();
    let mut lost = 0;
    for call in 1_u64.. {
        copy_of(&master, &site.store());
        let other = catalog(open(&site));
        let coat = Faulty::meanwhile(open(&site), call, move || {
            other.break_lease().expect("broken");
        });
        let plan = coat.plan();
        let now = open(&site).now().expect("a time");
        let ended = index(&catalog(Arc::new(coat)), &name, claim(&*open(&site)), "a test", now);
        assert!(catalog(open(&site)).snapshots().expect("a list").contains(&name), "call {call}: {ended:?}");
        lost += u32::from(matches!(ended, Err(IndexError::Catalog(CatalogError::LeaseLost { .. }))));
        if plan.calls() < call {
            break;
        }
    }
    assert!(lost > 20, "{lost}");
}

/// Asks to stop at its nth sign of life.
struct Impatient {
    cancel: Cancel,
    left: Mutex<u64>,
}

impl Observer for Impatient {
    fn notice(&self, event: &Event<'_>) {
        if matches!(event, Event::Advanced { .. }) {
            let mut left = self.left.lock().expect("no panic");
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.cancel.ask(Stop::Terminated);
            }
        }
    }
}

/// A prune on a slow server said nothing and heard nothing: whoever watched it took it for hung, and killed it.
#[test]
fn a_prune_that_is_asked_to_stop_at_any_step_stops_there_gives_its_lease_back_and_the_next_one_does_the_rest() {
    let site = with_snapshots(4);
    let master = site.path().join("master");
    copy_of(&site.store(), &master);
    let mut counts = Vec::new();
    for step in 1_u64.. {
        copy_of(&master, &site.store());
        let store = open(&site);
        let impatient = Impatient { cancel: Cancel::new(), left: Mutex::new(step) };
        let (cancel, order) = (impatient.cancel.clone(), order(&*store, 1));
        let report = prune::prune(&catalog(open(&site)), &order, claim(&*store), &cancel, &impatient).expect("pruned");
        assert!(!site.job().join(".lease.json").exists(), "step {step}");
        site.on_store(&["verify", "--quick", "--all"]).exits(0);
        counts.push((report.removed.len(), report.emptied));
        if !report.is_stopped {
            break;
        }
        prune::prune(&catalog(open(&site)), &order, claim(&*store), &Cancel::new(), &Silent).expect("pruned");
        assert_eq!((names(&site).len(), names_in(&site.job().join(".trash"))), (1, Vec::new()), "step {step}");
    }
    // a sign for each snapshot that is looked at, before each removal, and before each one that is emptied
    assert_eq!(counts[..4], [(0, 0); 4], "while it only looks it can be stopped before it does anything");
    for possible in [(1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3)] {
        assert!(counts.contains(&possible), "{possible:?} is not among {counts:?}");
    }
}
