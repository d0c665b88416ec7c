//! Runs: two at once, runs that are stopped or die, sources that change under them, snapshots that are harmed later.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod site;

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use site::tree::noise;
use site::{Finally, Ran, Site, has, is_root, names_in};

/// A source whose one file is a FIFO's worth of patience: a large file that takes a while to compress.
fn slow_source(site: &Site) {
    site.file("text", "all work and no play makes jack a dull boy\n".repeat(400_000));
    for number in 0..6 {
        fs::copy(site.source().join("text"), site.source().join(format!("text {number}"))).expect("copied");
    }
}

const SLOW: [&str; 4] = ["--compression", "zstd:19", "--threads", "1"];

/// Waits until the run has begun to write, by watching what it says.
fn until_it_stores(child: &mut Child) -> std::thread::JoinHandle<String> {
    use std::io::{BufRead, BufReader, Read};
    let mut lines = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("making ") {
        assert_ne!(lines.read_line(&mut said).expect("UTF-8"), 0, "the run ended early: {said}");
    }
    std::thread::spawn(move || {
        lines.read_to_string(&mut said).expect("UTF-8");
        said
    })
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).expect("signalled");
}

#[test]
fn of_two_runs_at_once_one_works_and_the_other_says_who_does() {
    let site = Site::new();
    slow_source(&site);
    let mut first = site.start(&SLOW);
    let said = until_it_stores(&mut first);
    site.run(&[]).exits(5).says("skipped: another run of upload is at work").says("is leased by run");
    site.on_store(&["status"]).says("at work");
    site.on_store(&["unlock"]).exits(5).says("--break removes it now");
    assert!(first.wait().expect("it ends").success(), "{}", said.join().expect("no panic"));
    assert_eq!(site.snapshots().len(), 1);
    assert_eq!(site.leftovers(), [""; 0]);
    site.on_store(&["unlock"]).exits(0).says("nobody holds the lease");
}

#[test]
fn a_run_whose_lease_a_person_broke_publishes_nothing() {
    let site = Site::new();
    slow_source(&site);
    let mut first = site.start(&SLOW);
    let said = until_it_stores(&mut first);
    site.on_store(&["unlock", "--break"]).exits(0);
    assert_eq!(first.wait().expect("it ends").code(), Some(1));
    assert!(said.join().expect("no panic").contains("the lease was taken over"));
    assert_eq!(site.snapshots().len(), 0);
    assert_eq!(site.leftovers(), [""; 0]);
}

#[test]
fn the_lease_of_a_run_that_died_is_taken_over_after_its_term_and_only_then() {
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0);
    let lease = site.job().join(".lease.json");
    let holder = "0123456789abcdef0123456789abcdef";
    let claim = format!(r#"{{"run":"{holder}","host":"dead","pid":1,"started":"2026-01-01T00:00:00Z","term_s":600}}"#);
    let unfinished = site.job().join(format!(".partial-{holder}"));
    fs::create_dir(&unfinished).expect("a folder");
    fs::write(unfinished.join("half"), "half a volume").expect("a file");
    let aged = |path: &Path, age_s: i64| {
        let now = jiff::Timestamp::try_from(
            fs::metadata(site.source().join("a")).expect("a file").modified().expect("a time"),
        );
        site::tree::set_mtime(path, now.expect("a time").as_second() - age_s, 0);
    };
    for (age_s, code) in [(0, 5), (500, 5), (700, 0)] {
        fs::write(&lease, &claim).expect("a lease");
        aged(&lease, age_s);
        aged(&unfinished.join("half"), 1000);
        aged(&unfinished, 1000);
        let ran = site.run(&[]).exits(code);
        if code == 5 {
            ran.says("run 01234567 on dead (pid 1");
            assert!(lease.exists() && unfinished.exists());
        } else {
            ran.says("took over the stale lease of run 01234567").says("removed the unfinished work of run 01234567");
        }
    }
    assert!(!unfinished.exists());
    assert_eq!(site.leftovers(), [""; 0]);
    assert_eq!(site.snapshots().len(), 2);
}

#[test]
fn a_lease_that_is_cut_by_a_crash_turns_stale_as_well() {
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0);
    let lease = site.job().join(".lease.json");
    fs::write(&lease, "{\"run\":\"01").expect("half a lease");
    site.run(&[]).exits(5).says("a run that does not give its name");
    site::tree::set_mtime(&lease, 1_000_000_000, 0);
    site.run(&[]).exits(0);
    // a person need not wait for a run
    fs::write(&lease, "{\"run\":\"01").expect("half a lease");
    site::tree::set_mtime(&lease, 1_000_000_000, 0);
    site.on_store(&["unlock"]).exits(0).says("its term was over, and it was removed");
    assert_eq!(site.leftovers(), [""; 0]);
}

#[test]
fn a_signal_stops_a_run_and_nothing_unfinished_is_left() {
    for (name, which, code) in
        [("SIGTERM", rustix::process::Signal::TERM, 143), ("SIGINT", rustix::process::Signal::INT, 130)]
    {
        let site = Site::new();
        slow_source(&site);
        let mut run = site.start(&SLOW);
        let said = until_it_stores(&mut run);
        signal(&run, which);
        assert_eq!(run.wait().expect("it ends").code(), Some(code), "{name}");
        assert!(said.join().expect("no panic").contains(name));
        assert_eq!(site.snapshots().len(), 0);
        assert_eq!(site.leftovers(), [""; 0], "{name}");
        assert_eq!(names_in(&site.job().join(".runs")).len(), 1, "the outcome is recorded");
    }
}

#[test]
fn a_run_that_is_killed_leaves_nothing_that_is_listed() {
    let site = Site::new();
    site.file("small", "small").run(&[]).exits(0);
    slow_source(&site);
    let mut run = site.start(&SLOW);
    let said = until_it_stores(&mut run);
    run.kill().expect("killed");
    run.wait().expect("it ends");
    // the child hears of its parent's death by SIGTERM and cleans up; the pipe closes when it is gone
    said.join().expect("no panic");
    site.on_store(&["verify", "--all"]).exits(0);
    assert_eq!(site.snapshots().len(), 1);
}

#[test]
fn a_run_that_shows_no_progress_fails_within_its_deadline() {
    let site = Site::new();
    slow_source(&site);
    let mut run = site.start(&[&SLOW[..], &["--progress-timeout", "2s"]].concat());
    let said = until_it_stores(&mut run);
    // the run's own process is stopped, as one that waits for a dead server is
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.id()));
    let Ok(children) = children else {
        eprintln!("SKIPPED: this kernel does not list children");
        run.wait().expect("it ends");
        return;
    };
    let child: i32 = children.split_whitespace().next().expect("a child").parse().expect("a number");
    let pid = rustix::process::Pid::from_raw(child).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
    let ended = run.wait().expect("it ends").code();
    let said = said.join().expect("no panic");
    assert_eq!(ended, Some(6), "{said}");
    assert!(said.contains("has not answered for 2 s") && said.contains("its process was ended"), "{said}");
    assert_eq!(site.snapshots().len(), 0);
    assert_eq!(names_in(&site.path().join("state/outcomes")).len(), 1, "the outcome is kept for the next run");
}

#[test]
fn what_cannot_be_read_is_named_and_the_run_is_partial() {
    if !is_root("becoming another user") {
        return;
    }
    use std::os::unix::fs::{PermissionsExt, chown};
    let site = Site::new();
    site.file("open", "o").file("closed", "c").file("folder/hidden", "h");
    let run_as_nobody = |site: &Site| -> Ran {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(env!("CARGO_BIN_EXE_backup"));
        command.arg("--state-dir").arg(site.path().join("state")).args(["run", "--source"]).arg(site.source());
        command.arg("--to").arg(site.store()).output().expect("setpriv starts").into()
    };
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    for path in ["", "open", "closed", "folder", "folder/hidden"] {
        chown(site.source().join(path), Some(65534), Some(65534)).expect("an owner");
    }
    chown(site.path(), Some(65534), Some(65534)).expect("an owner");
    let whole = run_as_nobody(&site);
    if whole.err.contains("execve") || whole.code == Some(127) {
        eprintln!("SKIPPED: another user cannot reach the binary");
        return;
    }
    whole.exits(0);
    fs::set_permissions(site.source().join("closed"), fs::Permissions::from_mode(0o000)).expect("a mode");
    fs::set_permissions(site.source().join("folder"), fs::Permissions::from_mode(0o000)).expect("a mode");
    let ran = run_as_nobody(&site).exits(3);
    ran.says("PARTIAL")
        .says("closed could not be read: Permission denied")
        .says("folder could not be listed completely");
    let shown = site.on_store(&["show", "--skipped"]).exits(0);
    let shown = shown.says("closed: could not be read").says("folder: could not be listed");
    shown.does_not_say("hidden");
    site.on_store(&["list"]).exits(0).says("partial (2 skipped)");
    let text = fs::read_to_string(site.newest().join("RESTORE.txt")).expect("RESTORE.txt");
    assert!(text.contains("It is PARTIAL: 2 entries"), "{text}");
}

#[test]
fn a_source_that_shrinks_sharply_makes_the_run_partial() {
    let site = Site::new();
    for number in 0..10 {
        site.file(&number.to_string(), noise(number, 1000));
    }
    site.run(&[]).exits(0);
    for number in 0..6 {
        fs::remove_file(site.source().join(number.to_string())).expect("removed");
    }
    site.run(&[]).exits(3).says("the source shrank by more than 50 %");
    site.run(&[]).exits(3).says("if it is meant");
    site.run(&["--max-shrink", "100%"]).exits(0);
    site.run(&["--max-shrink", "0%"]).exits(0);
    fs::remove_file(site.source().join("9")).expect("removed");
    site.run(&["--max-shrink", "0%"]).exits(3);
    site.run(&["--max-shrink", "100%"]).exits(0);
}

/// Two hundred files that somebody grows, cuts, replaces and deletes all the time.
#[test]
fn a_source_that_changes_all_the_time_gives_a_sound_snapshot_that_names_what_changed() {
    let site = Site::new();
    let path = |number: u64| site.source().join(format!("file {number:03}"));
    for number in 0..200 {
        fs::write(path(number), vec![b'a'; 100_000]).expect("a file");
    }
    let stop = AtomicBool::new(false);
    let changes = AtomicU64::new(0);
    let mut partial = 0;
    std::thread::scope(|scope| {
        let (stop, changes, path) = (&stop, &changes, &path);
        let _rest = Finally(|| stop.store(true, Ordering::Relaxed));
        scope.spawn(move || {
            let mut state = 1_u64;
            while !stop.load(Ordering::Relaxed) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (number, letter) = ((state >> 33) % 200, b'a' + ((state >> 20) % 26) as u8);
                let target = path(number);
                match (state >> 48) % 5 {
                    0 => {
                        let _ = fs::remove_file(target);
                    }
                    1 => {
                        let other = target.with_extension("new");
                        fs::write(&other, vec![letter; 150_000]).expect("written");
                        fs::rename(other, target).expect("replaced");
                    }
                    2 => {
                        if let Ok(file) = fs::OpenOptions::new().write(true).open(target) {
                            file.set_len(1 + state % 50_000).expect("cut");
                        }
                    }
                    3 => {
                        if let Ok(mut file) = fs::OpenOptions::new().append(true).open(target) {
                            let last = [letter; 40_000];
                            file.write_all(&last).expect("grown");
                        }
                    }
                    _ => {
                        if let Ok(file) = fs::OpenOptions::new().write(true).create(true).truncate(false).open(target) {
                            file.write_all_at(&vec![letter; 120_000], 0).expect("overwritten");
                        }
                    }
                }
                changes.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..10 {
            let ran = site.run(&["--quiet", "--compression", "none"]);
            assert!(matches!(ran.code, Some(0 | 3)), "{}", ran.err);
            partial += u32::from(ran.code == Some(3));
        }
    });
    let changes = changes.load(Ordering::Relaxed);
    eprintln!("{changes} changes, {partial} of 10 runs partial");
    assert!(changes > 1000);
    assert!(partial > 0, "with so many changes something is caught in the middle");
    site.on_store(&["verify", "--all"]).exits(0);
    for snapshot in site.snapshots() {
        let volume = names_in(&snapshot).into_iter().find(|name| name.ends_with(".tar")).expect("a volume");
        let listed = Command::new("tar").arg("-tf").arg(snapshot.join(volume)).output().expect("tar starts");
        assert!(listed.status.success() && listed.stderr.is_empty(), "{}", String::from_utf8_lossy(&listed.stderr));
    }
}

/// Somebody writes each file from its first byte to its last, with the letter after the one that it holds. So at any
/// instant a file holds one letter, or the next one up to where the writer is. Whatever is stored as anything else was
/// read at two instants, and must be named. (That a writer rested in the middle, nobody can see.)
#[test]
fn a_file_that_is_not_named_is_as_it_was_at_one_instant() {
    const LEN: usize = 400_000;
    let is_one_instant = |bytes: &[u8]| {
        let turns: Vec<(u8, u8)> = bytes.windows(2).filter(|pair| pair[0] != pair[1]).map(|p| (p[0], p[1])).collect();
        turns.iter().all(|(newer, older)| *newer == b'a' + (older - b'a' + 1) % 26) && turns.len() < 2
    };
    assert!(is_one_instant(b"aaa") && is_one_instant(b"bbaa") && is_one_instant(b"az"));
    assert!(!is_one_instant(b"aabb") && !is_one_instant(b"cba") && !is_one_instant(b"ca"));
    let site = Site::new();
    let path = |number: usize| site.source().join(format!("file {number:02}"));
    (0..30).for_each(|number| fs::write(path(number), vec![b'a'; LEN]).expect("a file"));
    let stop = AtomicBool::new(false);
    let (mut named, mut torn) = (0, 0);
    std::thread::scope(|scope| {
        let (stop, path) = (&stop, &path);
        let _rest = Finally(|| stop.store(true, Ordering::Relaxed));
        scope.spawn(move || {
            let files: Vec<fs::File> =
                (0..30).map(|n| fs::OpenOptions::new().write(true).open(path(n)).expect("a file")).collect();
            for round in 1_usize.. {
                let letter = vec![b'a' + (round % 26) as u8; LEN];
                for file in &files {
                    file.write_all_at(&letter, 0).expect("written");
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        });
        for _ in 0..10 {
            let ran = site.run(&["--json", "--compression", "none"]);
            assert!(matches!(ran.code, Some(0 | 3)), "{}", ran.err);
            let record = ran.json();
            let skips: Vec<&str> = record["skips"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|skip| skip["path"].as_str().expect("a path"))
                .collect();
            named += skips.len();
            let back = site.untar();
            for number in 0..30 {
                let name = format!("file {number:02}");
                if !is_one_instant(&fs::read(back.join(&name)).expect("a file")) {
                    torn += 1;
                    assert!(skips.contains(&name.as_str()), "{name} was read at two instants and is not named");
                }
            }
        }
    });
    eprintln!("{named} files named, {torn} of them torn");
    assert!(named > 0, "with a writer that never rests something is caught");
}

#[test]
fn verify_names_the_frame_and_the_files_that_are_damaged() {
    let site = Site::new();
    for number in 0..8 {
        site.file(&format!("file {number}"), noise(number, 900_000));
    }
    site.run(&[]).exits(0);
    let volume = site.volume();
    let whole = fs::read(&volume).expect("a volume");
    let mut harmed = whole.clone();
    harmed[2_500_000] ^= 1;
    fs::write(&volume, &harmed).expect("written");
    let ran =
        site.on_store(&["verify"]).exits(4).says("DAMAGED").says("frame ").says("entries lie in it").says("file 2");
    ran.does_not_say("file 7");
    fs::write(&volume, &whole[..whole.len() - 1]).expect("written");
    site.on_store(&["verify"]).exits(4).says("bytes, and");
    fs::write(&volume, &whole).expect("written");
    site.on_store(&["verify"]).exits(0);
    for name in names_in(&site.newest()) {
        let path = site.newest().join(&name);
        let bytes = fs::read(&path).expect("a file");
        let mut harmed = bytes.clone();
        let middle = harmed.len() / 2;
        harmed[middle] ^= 4;
        fs::write(&path, &harmed).expect("written");
        site.on_store(&["verify"]).exits(4);
        fs::remove_file(&path).expect("removed");
        site.on_store(&["verify"]).exits(4);
        fs::write(&path, &bytes).expect("written");
    }
    fs::write(site.newest().join("stranger"), "x").expect("written");
    site.on_store(&["verify"]).exits(4).says("stranger");
}

#[test]
fn a_snapshot_under_another_name_is_not_believed() {
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0);
    fs::rename(site.newest(), site.job().join("upload-20010101T000000Z")).expect("renamed");
    site.on_store(&["verify", "latest"]).exits(4).says("it is the record of");
    site.on_store(&["list"]).exits(4);
}

#[test]
fn json_says_the_same_as_the_exit_code() {
    let site = Site::new();
    site.file("a", "a");
    let ran = site.run(&["--json"]).exits(0);
    let record = ran.json();
    assert_eq!((&record["type"], &record["verdict"]), (&"run".into(), &"ok".into()));
    assert_eq!(site.on_store(&["list", "--json"]).exits(0).json()["record"]["verdict"], "ok");
    assert_eq!(site.on_store(&["verify", "--json"]).exits(0).json()["well"], true);
    fs::remove_dir_all(site.source()).expect("removed");
    let ran = site.run(&["--json"]).exits(1);
    assert_eq!((&ran.json()["verdict"], &ran.json()["reason"]), (&"failed".into(), &"source".into()));
}

#[test]
fn quiet_prints_nothing_when_all_is_well() {
    let site = Site::new();
    site.file("a", "a");
    let mut command = site.run_command(&["--quiet"]);
    let ran: Ran = command.stdin(Stdio::null()).output().expect("it starts").into();
    let ran = ran.exits(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
}

/// The content of a file that was replaced was on the disk, and its name was not: after a power cut the old one was back.
#[test]
fn what_must_outlast_a_power_cut_is_flushed_with_the_folder_that_names_it() {
    if !has("strace", "seeing what is flushed") {
        return;
    }
    let site = Site::new();
    site.file("a", "a");
    let trace = site.path().join("trace");
    let state = fs::canonicalize(site.path()).expect("a folder").join("state");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-e", "trace=fsync,rename,renameat,renameat2", "-o"]).arg(&trace);
    strace.arg(env!("CARGO_BIN_EXE_backup")).args(["run", "--quiet", "--source"]).arg(site.source());
    let ran = strace.arg("--to").arg(site.store()).arg("--state-dir").arg(&state).output().expect("strace starts");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    if said.contains("PTRACE") {
        eprintln!("SKIPPED: tracing is not allowed here");
        return;
    }
    assert!(ran.status.success(), "{said}");
    let calls = fs::read_to_string(&trace).expect("calls");
    let renamed = calls.find("/stores.json\"").expect("the store is remembered");
    let flushed = format!("<{}>)", state.display());
    assert!(calls[renamed..].lines().any(|call| call.contains("fsync(") && call.contains(&flushed)), "{calls}");
}
