//! Snapshots that cost what changed: whatever happens to the source between runs, each of them is whole, by this program
//! and by RESTORE.txt alone, and what did not change is not written again.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod site;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use backup::archive::{Codec, FrameMaker, seek};
use backup::domain::Digest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use site::forge::{Forged, guide, sum};
use site::tree::{assert_same, awkward, noise, picture, set_mtime, sparse};
use site::{Site, has, names_in};

type Picture = BTreeMap<Vec<u8>, String>;

/// Does what RESTORE.txt says, and nothing else.
fn by_the_guide(snapshot: &Path, to: &Path) {
    let text = fs::read_to_string(snapshot.join("RESTORE.txt")).expect("the guide");
    let commands: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .map(|line| if line.starts_with("TO=") { format!("TO='{}'", to.display()) } else { line.to_owned() })
        // names of owners may mean other numbers here; the site's own numbers are compared
        .map(|line| line.replace("--xattrs ", "--numeric-owner --warning=no-timestamp --xattrs "))
        .collect();
    let script = format!("set -eu\n{}\n", commands.join("\n"));
    let done = Command::new("bash").arg("-c").arg(&script).current_dir(snapshot).output().expect("bash starts");
    assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
}

fn restored(site: &Site, snapshot: &Path) -> Picture {
    let to = tempfile::tempdir_in(site.path()).expect("a folder");
    let name = snapshot.file_name().and_then(|name| name.to_str()).expect("a name");
    let target = to.path().join("tree");
    site.backup([
        "restore",
        name,
        "--store",
        &site.store().display().to_string(),
        "--to",
        &target.display().to_string(),
        "--privileged",
    ])
    .exits(0);
    picture(&target)
}

fn guided(site: &Site, snapshot: &Path) -> Picture {
    let to = tempfile::tempdir_in(site.path()).expect("a folder");
    let target = to.path().join("tree");
    by_the_guide(snapshot, &target);
    picture(&target)
}

fn record(snapshot: &Path) -> Value {
    serde_json::from_slice(&fs::read(snapshot.join("snapshot.json")).expect("a record")).expect("JSON")
}

/// As if the run had begun an hour later: nothing of the source is then in doubt for having been touched of late.
fn settle(snapshot: &Path) {
    let mut record = record(snapshot);
    let now: jiff::Timestamp = record["started"].as_str().expect("a time").parse().expect("a time");
    let later = now.checked_add(jiff::SignedDuration::from_hours(1)).expect("a time");
    record["started"] = later.to_string().into();
    fs::write(snapshot.join("snapshot.json"), record.to_string()).expect("written");
    guide(snapshot);
    sum(snapshot);
}

fn volumes(snapshot: &Path) -> Vec<String> {
    names_in(snapshot).into_iter().filter(|name| name.contains(".tar")).collect()
}

/// A number drawn by lot, the same each time.
struct Lot(u64);

impl Lot {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}

fn walk(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.to_owned()];
    let mut at = 0;
    while at < all.len() {
        if fs::symlink_metadata(&all[at]).expect("an entry").is_dir() {
            let mut names: Vec<PathBuf> =
                fs::read_dir(&all[at]).expect("a folder").map(|e| e.expect("an entry").path()).collect();
            names.sort();
            all.extend(names);
        }
        at += 1;
    }
    all
}

const NAMES: [&[u8]; 12] = [
    b"a",
    b"b",
    b"index.html",
    b"sub",
    b"tr ",
    b"st*r",
    b"qu?st",
    b"[br]",
    b"ba\\ck",
    b"new\nline",
    b"not\xffutf8",
    b"tab\t",
];

/// One thing that happens to a site.
fn mishap(root: &Path, lot: &mut Lot, step: u64) {
    let all = walk(root);
    let folders: Vec<&PathBuf> = all.iter().filter(|p| fs::symlink_metadata(p).expect("there").is_dir()).collect();
    let files: Vec<&PathBuf> = all.iter().filter(|p| fs::symlink_metadata(p).expect("there").is_file()).collect();
    let name = std::ffi::OsStr::from_bytes(lot.of::<&[u8]>(&NAMES));
    let fresh = lot.of(&folders).join(name);
    let is_free = fs::symlink_metadata(&fresh).is_err();
    let content = noise(step, 1 + lot.below(5000));
    match lot.below(14) {
        0 | 1 if is_free => fs::write(&fresh, &content).expect("a new file"),
        2 if is_free => fs::create_dir(&fresh).expect("a new folder"),
        3 if is_free => std::os::unix::fs::symlink(format!("to-{step}"), &fresh).expect("a symlink"),
        4 if is_free && !files.is_empty() => fs::hard_link(lot.of(&files), &fresh).expect("another name"),
        5 if !files.is_empty() => fs::write(lot.of(&files), &content).expect("other content"),
        6 if !files.is_empty() => fs::remove_file(lot.of(&files)).expect("gone"),
        7 if folders.len() > 1 => {
            let folder = folders[1 + lot.below(folders.len() - 1)];
            fs::remove_dir_all(folder).expect("gone with all in it");
        }
        8 if !files.is_empty() => {
            let mode = 0o600 | (step as u32 & 0o77);
            fs::set_permissions(lot.of(&files), fs::Permissions::from_mode(mode)).expect("another mode");
        }
        9 => set_mtime(lot.of(&all).as_path(), 1_000_000_000 + step as i64, 5),
        10 if is_free && all.len() > 1 => {
            let from = &all[1 + lot.below(all.len() - 1)];
            if !fresh.starts_with(from) {
                fs::rename(from, &fresh).expect("moved");
            }
        }
        // what was a file becomes a folder, and the other way round
        11 if !files.is_empty() => {
            let file = lot.of(&files);
            fs::remove_file(file).expect("gone");
            fs::create_dir(file).expect("a folder in its place");
            fs::write(file.join("below"), &content).expect("a file in it");
        }
        12 if folders.len() > 1 => {
            let folder = folders[1 + lot.below(folders.len() - 1)];
            fs::remove_dir_all(folder).expect("gone");
            fs::write(folder, &content).expect("a file in its place");
        }
        // written anew with the very same content
        13 if !files.is_empty() => {
            let file = lot.of(&files);
            let same = fs::read(file).expect("content");
            fs::write(file, same).expect("the same again");
        }
        _ => {}
    }
}

/// Gives how many of the runs folded.
fn history(seed: u64, runs: usize, mishaps: usize) -> usize {
    let site = Site::new();
    fs::create_dir_all(site.source()).expect("a source");
    let mut lot = Lot(seed);
    for step in 0..40 {
        mishap(&site.source(), &mut lot, seed * 1000 + step);
    }
    fs::create_dir(site.store()).expect("a folder");
    site.backup(["init", "--store", &site.store().display().to_string()]).exits(0);
    let by_tar = has("zstd", "restoring by RESTORE.txt");
    let mut known: Vec<(PathBuf, Picture)> = Vec::new();
    let mut folded = 0;
    for run in 0..runs {
        if names_in(&site.source()).is_empty() {
            site.file("always", "an empty source is a failure");
        }
        let (max_volumes, size) = (2 + lot.below(4), if seed.is_multiple_of(3) { "2kB" } else { "1GB" });
        let ran = site.run_by_environment(
            &[("BACKUP_MAX_VOLUMES", &max_volumes.to_string())],
            &["--max-shrink", "100%", "--volume-size", size],
        );
        folded += usize::from(ran.exits(0).err.contains("folded"));
        let snapshot = site.newest();
        let now = picture(&site.source());
        assert_same(&now, &restored(&site, &snapshot));
        if by_tar {
            assert_same(&now, &guided(&site, &snapshot));
        }
        known.push((snapshot.clone(), now));
        if lot.below(2) == 0 {
            settle(&snapshot);
        }
        for step in 0..lot.below(mishaps) as u64 {
            mishap(&site.source(), &mut lot, seed * 1000 + 100 * run as u64 + step + 50);
        }
    }
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
    // any of them may go, and the others are what they were
    for at in (0..known.len()).filter(|at| at % 2 == 0) {
        fs::remove_dir_all(&known[at].0).expect("removed");
    }
    for (snapshot, then) in known.iter().skip(1).step_by(2) {
        assert_same(then, &restored(&site, snapshot));
    }
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
    folded
}

#[test]
fn whatever_happens_to_a_source_every_snapshot_is_whole_by_this_program_and_by_tar_alone() {
    let folded: usize = (1..=6).map(|seed| history(seed, 5, 8)).sum();
    assert!(folded > 0, "some of them fold");
}

/// The campaign of the same: `cargo test --test linked -- --ignored --nocapture`.
#[test]
#[ignore = "a campaign of minutes"]
fn many_histories() {
    let count: u64 = std::env::var("HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let folded: usize = (100..100 + count).map(|seed| history(seed, 8, 12)).sum();
    println!("n {count} histories of 8 runs, {folded} of them folding, 0 violations, seeds 100 to {}", 99 + count);
}

#[test]
fn where_nothing_changed_nothing_is_written_but_three_small_files() {
    let site = Site::new();
    awkward(&site.source());
    site.file("large", noise(7, 3 << 20));
    site.run(&[]).exits(0);
    let first = site.newest();
    settle(&first);
    site.run(&[]).exits(0).says("reused");
    let second = site.newest();
    assert_ne!(first, second);
    assert_eq!(names_in(&first), names_in(&second));
    for name in names_in(&first) {
        let inode = |folder: &Path| fs::metadata(folder.join(&name)).expect("a file").ino();
        let is_own = matches!(name.as_str(), "snapshot.json" | "SHA256SUMS" | "RESTORE.txt");
        assert_eq!(inode(&first) == inode(&second), !is_own, "{name}");
    }
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
    let now = picture(&site.source());
    fs::remove_dir_all(&first).expect("removed");
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
    assert_same(&now, &restored(&site, &second));
    // and a third builds on the second
    site.run(&[]).exits(0);
    assert_eq!(record(&site.newest())["manifest_of"], record(&second)["manifest_of"]);
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
}

#[test]
fn one_file_that_changed_costs_itself_and_the_folders() {
    let site = Site::new();
    for number in 0..200 {
        site.file(&format!("{}/{number}", number % 5), noise(number, 10_000));
    }
    site.file("3/33", "as it was");
    site.run(&[]).exits(0);
    let first = volumes(&site.newest());
    site.file("3/33", "changed");
    site.run(&[]).exits(0).says("of earlier volumes").does_not_say("refuses hard links");
    let second = site.newest();
    let now = volumes(&second);
    assert_eq!(now.len(), 2);
    assert_eq!(now[0], first[0]);
    assert!(fs::metadata(second.join(&now[1])).expect("the new one").len() < 2000, "little more than seven headers");
    let stale = fs::read_to_string(second.join(now[0].replace(".tar.zst", ".stale"))).expect("the list");
    assert_eq!(stale, ".\n0\n1\n2\n3\n3/33\n4\n");
    site.on_store(&["cat", "latest", "3/33"]).exits(0).says("changed");
    let earlier = site.snapshots()[0].file_name().expect("a name").to_string_lossy().into_owned();
    site.on_store(&["cat", &earlier, "3/33"]).exits(0).says("as it was");
}

#[test]
fn a_volume_without_a_living_entry_is_not_linked() {
    let site = Site::new();
    site.file("one", "1");
    site.run(&[]).exits(0);
    site.file("one", "2").file("two", "3");
    site.run(&[]).exits(0);
    assert_eq!(volumes(&site.newest()).len(), 1, "only folders of the first are left, and the second holds those");
    assert!(!names_in(&site.newest()).iter().any(|name| name.ends_with(".stale")));
}

#[test]
fn a_fresh_run_is_one_tarball_and_tells_what_changed_without_a_trace() {
    let site = Site::new();
    site.file("rotten", "good content").file("fine", "fine content");
    fs::hard_link(site.source().join("rotten"), site.source().join("rotten too")).expect("a further name");
    sparse(&site.source().join("holes"), 1 << 20, &[(65536, 5000)]);
    site.run(&["--compression", "none"]).exits(0);
    site.file("new", "n");
    // the earlier snapshot is made to hold another content of a file whose times have not moved since
    let mut forged = Forged::read(&site.newest());
    for path in ["rotten", "holes"] {
        forged.entry(path).sha256 = Some(Digest::of(b"what it was before"));
    }
    assert!(forged.entry("holes").sparse);
    forged.write();
    settle(&site.newest());
    let run = site.run(&["--compression", "none"]).exits(0);
    assert_eq!(volumes(&site.newest()).len(), 2, "{}", run.out);
    settle(&site.newest());
    let fresh = site.run(&["--compression", "none", "--fresh"]).exits(3).says("rotten").says("holes").says("bit rot");
    fresh.does_not_say("fine");
    assert_eq!(volumes(&site.newest()).len(), 1);
    site.on_store(&["cat", "latest", "rotten"]).exits(0).says("good content");
    let back = site.path().join("back");
    let restored = site.on_store(&["restore", "latest", "--to", &back.display().to_string()]).exits(3);
    restored.says("MAY NOT BE AS IT WAS: rotten:").does_not_say("NOT IN THE SNAPSHOT");
    assert_same(&picture(&site.source()), &picture(&back));
    // what was told once is over: the content is known now
    settle(&site.newest());
    site.run(&["--compression", "none"]).exits(0);
    assert_eq!(volumes(&site.newest())[0], volumes(&site.snapshots()[2])[0], "its content stays where it lies");
}

#[test]
fn the_oldest_volume_has_an_age_at_which_everything_is_read_again() {
    let site = Site::new();
    site.file("a", "1");
    site.run(&[]).exits(0);
    site.file("b", "2");
    let with = |every: &str| site.run_by_environment(&[("BACKUP_FRESH_EVERY", every)], &[]).exits(0);
    with("never");
    assert_eq!(volumes(&site.newest()).len(), 2);
    // by its name, the oldest is older than a second
    let old = site.snapshots().remove(0);
    let name = old.file_name().expect("a name").to_string_lossy().into_owned();
    let path = site.newest().join("snapshot.json");
    let text = fs::read_to_string(&path).expect("a record");
    fs::write(
        &path,
        text.replace(&format!("\"written_by\": \"{name}\""), "\"written_by\": \"upload-20200101T000000Z\""),
    )
    .expect("written");
    sum(&site.newest());
    with("30d").says("fresh_every");
    assert_eq!(volumes(&site.newest()).len(), 1);
}

/// What is done to a volume of a snapshot.
type Harm = fn(&Path, &str);

#[test]
fn what_is_not_sound_is_said_and_read_from_the_source_again() {
    let harms: [(&str, Harm); 5] = [
        ("is not there", |folder, volume| fs::remove_file(folder.join(volume)).expect("removed")),
        ("bytes, and", |folder, volume| {
            let file = fs::OpenOptions::new().write(true).open(folder.join(volume)).expect("a volume");
            file.set_len(100).expect("cut");
        }),
        ("written to after", |folder, volume| {
            let mut bytes = fs::read(folder.join(volume)).expect("a volume");
            bytes[50] ^= 1;
            fs::write(folder.join(volume), bytes).expect("written");
            set_mtime(&folder.join(volume), 4_000_000_000, 0);
        }),
        ("manifest.jsonl.zst is not what was published", |folder, _| {
            let mut bytes = fs::read(folder.join("manifest.jsonl.zst")).expect("a manifest");
            bytes[20] ^= 1;
            fs::write(folder.join("manifest.jsonl.zst"), bytes).expect("written");
        }),
        ("its list", |folder, volume| {
            fs::write(folder.join(volume.replace(".tar.zst", ".stale")), "always\n").expect("written");
        }),
    ];
    for (said, harm) in harms {
        let site = Site::new();
        site.file("always", "the same").file("changes", "1");
        site.run(&[]).exits(0);
        site.file("changes", "2");
        site.run(&[]).exits(0);
        let before = site.newest();
        let volume = volumes(&before).remove(0);
        assert_eq!(volumes(&before).len(), 2);
        harm(&before, &volume);
        site.run(&[]).exits(0).says(said);
        site.on_store(&["verify", "latest", "--deep"]).exits(0);
        assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
        assert!(!volumes(&site.newest()).contains(&volume), "{said}");
    }
}

#[test]
fn what_a_verification_found_damaged_is_folded_by_the_next_run() {
    let site = Site::new();
    site.file("always", noise(1, 5000)).file("changes", "1");
    site.run(&[]).exits(0);
    let volume = volumes(&site.newest()).remove(0);
    let path = site.newest().join(&volume);
    let time = fs::metadata(&path).expect("a volume");
    let mut bytes = fs::read(&path).expect("a volume");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("written");
    set_mtime(&path, time.mtime(), time.mtime_nsec() as u32);
    site.file("changes", "2");
    site.run(&[]).exits(0);
    assert!(volumes(&site.newest()).contains(&volume), "nobody knows yet");
    site.on_store(&["verify", "--all"]).exits(4);
    site.run(&[]).exits(0).says("a verification found damage");
    assert!(!volumes(&site.newest()).contains(&volume));
    site.on_store(&["verify", "latest", "--deep"]).exits(0);
}

#[test]
fn volumes_cut_by_size_are_unpacked_as_one_stream_and_keep_their_links() {
    let site = Site::new();
    for number in 0..40 {
        site.file(&format!("folder-{}/{number:02}", number % 3), noise(number, 120_000));
    }
    for number in 0..10 {
        let name = format!("folder-{}/{number:02}", number % 3);
        fs::hard_link(site.source().join(name), site.source().join(format!("z-{number}"))).expect("a link");
        set_mtime(&site.source().join(format!("folder-{}", number % 3)), 1_500_000_000 + number, 7);
    }
    site.run(&["--volume-size", "300kB"]).exits(0);
    let snapshot = site.newest();
    assert!(volumes(&snapshot).len() > 2, "{:?}", volumes(&snapshot));
    let now = picture(&site.source());
    assert_same(&now, &restored(&site, &snapshot));
    if has("zstd", "restoring by RESTORE.txt") {
        assert_same(&now, &guided(&site, &snapshot));
    }
    site.file("folder-1/01", "changed through one of two names");
    settle(&snapshot);
    site.run(&["--volume-size", "300kB"]).exits(0);
    let now = picture(&site.source());
    assert_same(&now, &restored(&site, &site.newest()));
    if has("zstd", "restoring by RESTORE.txt") {
        assert_same(&now, &guided(&site, &site.newest()));
    }
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
}

#[test]
fn a_linked_snapshot_that_lost_its_manifest_is_made_whole_from_volumes_and_lists() {
    let site = Site::new();
    for number in 0..30 {
        site.file(&format!("{}/{number}", number % 4), noise(number, 2000));
    }
    site.run(&[]).exits(0);
    site.file("2/6", "changed").file("new", "new");
    fs::remove_file(site.source().join("1/5")).expect("gone");
    site.run(&[]).exits(0);
    let snapshot = site.newest();
    let now = picture(&site.source());
    for lost in ["manifest.jsonl.zst", "snapshot.json"] {
        fs::remove_file(snapshot.join(lost)).expect("lost");
    }
    let name = snapshot.file_name().expect("a name").to_string_lossy().into_owned();
    site.on_store(&["index", &name]).exits(0);
    assert_same(&now, &restored(&site, &snapshot));
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
}

/// With the record lost, all volumes were said to be of the indexed snapshot. RESTORE.txt then unpacked them as one stream
/// with all their lists, in this snapshot and in all that built on it, and left out what had changed.
#[test]
fn where_the_record_is_lost_too_the_names_of_the_volumes_tell_which_run_wrote_them() {
    let site = Site::new();
    for number in 0..8 {
        site.file(&format!("f{number}"), noise(number, 2000));
    }
    site.run(&["--compression", "gzip:9"]).exits(0);
    settle(&site.newest());
    site.file("f3", "changed");
    site.run(&["--compression", "gzip:9"]).exits(0);
    let snapshot = site.newest();
    let names: Vec<String> =
        site.snapshots().iter().map(|s| s.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    assert_eq!(writers(&snapshot), names);
    // a record that knows another folder's volumes is no better than none
    let mut lying = record(&snapshot);
    lying["volumes"].as_array_mut().expect("volumes")[0]["written_by"] = names[1].as_str().into();
    for lost in [false, true] {
        if lost {
            fs::remove_file(snapshot.join("snapshot.json")).expect("lost");
        } else {
            fs::write(snapshot.join("snapshot.json"), lying.to_string()).expect("written");
        }
        site.on_store(&["index", &names[1], "--force"]).exits(0);
        assert_eq!(writers(&snapshot), names);
        if has("gzip", "restoring by RESTORE.txt") {
            assert_same(&picture(&site.source()), &guided(&site, &snapshot));
        }
        site.on_store(&["verify", "--all", "--deep"]).exits(0);
        // the next goes to the trash under the name of the same second
        fs::remove_dir_all(site.job().join(".trash")).expect("removed");
    }
    site.file("new", "new");
    site.run(&["--compression", "gzip:9"]).exits(0);
    assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
    if has("gzip", "restoring by RESTORE.txt") {
        assert_same(&picture(&site.source()), &guided(&site, &site.newest()));
    }
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
    // a volume under another name tells nothing of the kind
    let volume = volumes(&snapshot).remove(0);
    fs::rename(snapshot.join(&volume), snapshot.join(format!("copy-of-{volume}.tar.gz"))).expect("renamed");
    site.on_store(&["index", &names[1], "--force"]).exits(4).says("its name tells no run that wrote it");
}

/// Starts a slow run, with these options, and ends it, by `signal`, when its unfinished work is so far.
fn stopped_when(site: &Site, more: &[&str], so_far: impl Fn(&Path) -> bool, signal: Signal) {
    let mut run = site.start(&[&["--compression", "zstd:19", "--threads", "1"], more].concat());
    let mut out = run.stderr.take().expect("piped");
    let said = std::thread::spawn(move || {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut out, &mut said).expect("UTF-8");
        said
    });
    let is_so_far = || {
        let partial = names_in(&site.job()).into_iter().find(|name| name.starts_with(".partial-"));
        partial.is_some_and(|partial| so_far(&site.job().join(partial)))
    };
    while !site.job().exists() || !is_so_far() {
        assert!(run.try_wait().expect("a child").is_none(), "it ended before it was stopped");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&run), signal).expect("signalled");
    run.wait().expect("it ends");
    said.join().expect("no panic");
}

/// A run that was stopped when three of its volumes, of little more than a frame each, were finished.
fn interrupted(site: &Site) {
    stopped_when(site, &["--volume-size", "500kB"], has_three_volumes, Signal::TERM);
}

/// The runs that wrote its volumes, in the order of these.
fn writers(snapshot: &Path) -> Vec<String> {
    let record = record(snapshot);
    let volumes = record["volumes"].as_array().expect("volumes").iter();
    volumes.map(|volume| volume["written_by"].as_str().expect("a name").to_owned()).collect()
}

fn different(names: Vec<String>) -> usize {
    names.into_iter().collect::<std::collections::BTreeSet<_>>().len()
}

fn has_three_volumes(partial: &Path) -> bool {
    names_in(partial).iter().filter(|name| name.ends_with(".part")).count() >= 3
}

fn many_texts(site: &Site) {
    for number in 0..16 {
        let mut text = format!("this is file {number}\n").repeat(4).into_bytes();
        // shrinks, but not by much, and takes the slowest level a while
        text.extend(noise(number, 400_000).into_iter().flat_map(|byte| [byte & 0x3f, byte >> 3]));
        site.file(&format!("texts/{number:02}"), text);
    }
    site.file("zz/last", "the last");
}

#[test]
fn what_an_interrupted_run_had_finished_is_adopted_by_the_next() {
    let site = Site::new();
    many_texts(&site);
    interrupted(&site);
    assert_eq!(site.snapshots().len(), 0);
    assert_eq!(site.leftovers().len(), 1, "the draft with what is finished, and no lease");
    // between the two runs one adopted file changes, one goes, and one comes
    site.file("texts/01", "changed meanwhile").file("texts/new", "new");
    fs::remove_file(site.source().join("texts/02")).expect("gone");
    site.run(&[]).exits(0).says("adopted").says("which was interrupted");
    let snapshot = site.newest();
    assert_eq!(site.leftovers(), [""; 0]);
    assert!(!names_in(&snapshot).iter().any(|name| name.ends_with(".part") || name == "given-up"));
    let now = picture(&site.source());
    assert_same(&now, &restored(&site, &snapshot));
    if has("zstd", "restoring by RESTORE.txt") {
        assert_same(&now, &guided(&site, &snapshot));
    }
    assert_eq!(different(writers(&snapshot)), 2, "the interrupted run's and this one's");
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
    // and the next builds on all of them
    site.file("zz/last", "changed");
    site.run(&[]).exits(0);
    assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
}

#[test]
fn a_volume_that_went_missing_from_unfinished_work_does_not_stand_in_the_way_of_the_next_run() {
    let site = Site::new();
    many_texts(&site);
    interrupted(&site);
    let folder = site.job().join(site.leftovers().pop().expect("unfinished work"));
    let part = names_in(&folder).into_iter().find(|name| name.ends_with(".part")).expect("a part");
    let is_its = |name: &String| *name != part && name.starts_with(part.trim_end_matches("part"));
    let volume = names_in(&folder).into_iter().find(is_its).expect("its volume");
    fs::remove_file(folder.join(&volume)).expect("gone");
    site.run(&[]).exits(0).says("is not adopted: it is gone").says("adopted");
    assert_eq!(site.leftovers(), [""; 0]);
    assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
}

#[test]
fn what_was_finished_is_adopted_only_if_every_byte_of_it_is_what_was_written() {
    let site = Site::new();
    many_texts(&site);
    interrupted(&site);
    let partial = site.job().join(&site.leftovers()[0]);
    let mut harmed = 0;
    for name in names_in(&partial).into_iter().filter(|name| name.ends_with(".part")) {
        let volume = partial.join(name.replace(".part", ".tar.zst"));
        let mut bytes = fs::read(&volume).expect("a volume");
        let last = bytes.len() - 30;
        bytes[last] ^= 1;
        fs::write(&volume, bytes).expect("harmed");
        harmed += 1;
    }
    assert!(harmed >= 2);
    site.run(&[]).exits(0).says("is not adopted: its bytes are others").does_not_say("adopted 1");
    assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
    assert_eq!(site.leftovers(), [""; 0]);
}

#[test]
fn what_a_dead_run_had_finished_is_adopted_when_its_lease_is_over() {
    let site = Site::new();
    many_texts(&site);
    interrupted(&site);
    let partial = site.job().join(&site.leftovers()[0]);
    fs::remove_file(partial.join("given-up")).expect("as if it had died without a word");
    site.run(&[]).exits(0).does_not_say("adopted").says("is left for now").says("that run may still be at work");
    for name in names_in(&partial) {
        set_mtime(&partial.join(name), 1_500_000_000, 0);
    }
    set_mtime(&partial, 1_500_000_000, 0);
    site.run(&["--fresh"]).exits(0).says("adopted");
    assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
}

/// Whoever holds the lease has it from the run that left the work, or a person decided that this one is over; the work was
/// passed over without a word, all the same, for as long as a lease's term, and stored a second time.
#[test]
fn unfinished_work_is_adopted_however_young_when_its_lease_was_taken_over_or_broken() {
    for broken in [true, false] {
        let site = Site::new();
        many_texts(&site);
        stopped_when(&site, &["--volume-size", "500kB"], has_three_volumes, Signal::KILL);
        assert_eq!(site.leftovers().len(), 2, "a lease and a draft");
        if broken {
            site.on_store(&["unlock", "--break"]).exits(0);
            site.run(&[]).exits(0).says("adopted");
        } else {
            site.run(&[]).exits(5);
            set_mtime(&site.job().join(".lease.json"), 1_500_000_000, 0);
            site.run(&[]).exits(0).says("took over the stale lease").says("adopted");
        }
        assert_eq!(site.leftovers(), [""; 0]);
        assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
        site.on_store(&["verify", "--all", "--deep"]).exits(0);
    }
}

/// A run whose lease was broken while it lived removed what it had finished when it was stopped.
#[test]
fn a_run_whose_lease_was_broken_leaves_what_it_had_finished_all_the_same() {
    let site = Site::new();
    many_texts(&site);
    let broken = |partial: &Path| {
        has_three_volumes(partial) && site.on_store(&["unlock", "--break"]).code == Some(0) && {
            assert!(partial.join("given-up").exists());
            true
        }
    };
    stopped_when(&site, &["--volume-size", "500kB"], broken, Signal::TERM);
    site.run(&[]).exits(0).says("adopted");
    assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
}

#[test]
fn what_an_interrupted_run_found_to_be_rotten_is_told_by_the_one_that_adopts_it() {
    let site = Site::new();
    site.file("aa", "good content").file("several", "good content, too");
    fs::hard_link(site.source().join("several"), site.source().join("several too")).expect("a link");
    many_texts(&site);
    site.run(&["--compression", "none"]).exits(0);
    // as in the test of fresh runs: what the earlier snapshot holds of them is something else
    let mut forged = Forged::read(&site.newest());
    for path in ["aa", "several"] {
        forged.entry(path).sha256 = Some(Digest::of(b"what it was before"));
    }
    forged.write();
    settle(&site.newest());
    stopped_when(&site, &["--volume-size", "500kB", "--fresh"], has_three_volumes, Signal::TERM);
    let ran = site.run(&[]).exits(3).says("adopted").says("bit rot");
    let skipped = &record(&site.newest())["skipped"];
    assert_eq!(skipped, 2, "{}", ran.out);
    let lines: Vec<String> = ran.out.lines().chain(ran.err.lines()).map(str::to_owned).collect();
    for path in ["aa", "several"] {
        assert!(lines.iter().any(|line| line.trim_start().starts_with(path)), "{path} is not told in {lines:#?}");
        site.on_store(&["cat", "latest", path]).exits(0).says("good content");
    }
    site.on_store(&["verify", "latest", "--deep"]).exits(0);
}

#[test]
fn runs_whose_volumes_are_adopted_count_among_those_that_a_snapshot_may_have() {
    let site = Site::new();
    site.file("aa", noise(1, 100_000));
    site.run(&[]).exits(0);
    many_texts(&site);
    interrupted(&site);
    site.configure("max_volumes: 2");
    let run = site.with_config("backup.yaml", &["run", "upload"]).output().expect("the binary starts");
    site::Ran::from(run).exits(0).says("adopted").says("folded: 1 volume");
    assert_eq!(different(writers(&site.newest())), 2);
    assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
}

/// A further name moves the ctime of all of them, and a file with several was then stored anew without a look: a rotation
/// by `cp -al` stored everything each night.
#[test]
fn a_file_with_several_names_whose_ctime_alone_moved_stays_where_it_lies() {
    let site = Site::new();
    let large = noise(2, 3 << 20);
    site.file("a small", noise(1, 50_000)).file("a large", &large).file("a torn", noise(3, 50_000));
    for name in ["a small", "a large", "a torn"] {
        fs::hard_link(site.source().join(name), site.source().join(format!("b {name}"))).expect("a link");
    }
    site.run(&[]).exits(0);
    settle(&site.newest());
    for name in ["a small", "a large", "a torn"] {
        fs::hard_link(site.source().join(name), site.source().join(format!("c {name}"))).expect("a link");
    }
    // under the same times another content: that is seen
    let times = fs::metadata(site.source().join("a torn")).expect("a file");
    fs::write(site.source().join("a torn"), noise(4, 50_000)).expect("written");
    set_mtime(&site.source().join("a torn"), times.mtime(), times.mtime_nsec() as u32);
    // what was touched within the clock's grain is not believed
    let touched = fs::metadata(site.source().join("a torn")).expect("a file");
    let grain_over = jiff::Timestamp::new(touched.ctime(), touched.ctime_nsec() as i32).expect("a time");
    let grain_over = grain_over.checked_add(jiff::SignedDuration::from_millis(50)).expect("a time");
    while jiff::Timestamp::now() < grain_over {
        std::thread::yield_now();
    }
    site.run(&[]).exits(0);
    let own = volumes(&site.newest()).pop().expect("its own");
    let len = fs::metadata(site.newest().join(own)).expect("a volume").len();
    assert!((50_000..60_000).contains(&len), "of the contents only the one that changed is stored again: {len}");
    let now = picture(&site.source());
    assert_same(&now, &restored(&site, &site.newest()));
    if has("zstd", "restoring by RESTORE.txt") {
        assert_same(&now, &guided(&site, &site.newest()));
    }
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
    // and the next builds on it: nothing is in doubt any more
    settle(&site.newest());
    fs::remove_file(site.source().join("c a torn")).expect("gone");
    site.run(&[]).exits(0);
    assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
}

#[test]
fn names_of_one_file_stay_links_when_a_folder_that_holds_one_is_renamed() {
    let site = Site::new();
    site.file("a/x", noise(1, 50_000)).file("b/other", "o");
    fs::hard_link(site.source().join("a/x"), site.source().join("b/x")).expect("a link");
    site.run(&[]).exits(0);
    settle(&site.newest());
    // no ctime of the file moves
    fs::rename(site.source().join("b"), site.source().join("c")).expect("renamed");
    site.run(&[]).exits(0);
    let now = picture(&site.source());
    assert_same(&now, &restored(&site, &site.newest()));
    if has("zstd", "restoring by RESTORE.txt") {
        assert_same(&now, &guided(&site, &site.newest()));
    }
    let own = volumes(&site.newest()).pop().expect("its own");
    assert!(fs::metadata(site.newest().join(own)).expect("a volume").len() < 2000, "the content is not stored again");
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
}

#[test]
fn another_file_under_a_linked_name_is_seen_also_where_ctime_and_inode_mean_nothing() {
    let site = Site::new();
    site.file("a", "one").file("c", "another, and longer");
    fs::hard_link(site.source().join("a"), site.source().join("b")).expect("a link");
    set_mtime(&site.source().join("a"), 1_000_000_000, 0);
    set_mtime(&site.source().join("c"), 1_000_000_000, 0);
    set_mtime(&site.source(), 1_000_000_000, 0);
    site.run(&[]).exits(0);
    fs::remove_file(site.source().join("b")).expect("gone");
    fs::hard_link(site.source().join("c"), site.source().join("b")).expect("a link to another");
    set_mtime(&site.source(), 1_000_000_000, 0);
    site.run_by_environment(&[("BACKUP_CHANGE_DETECTION", "mtime")], &[]).exits(0);
    site.on_store(&["cat", "latest", "b"]).exits(0).says("another, and longer");
    assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
}

/// The line of a further name tells no attributes, and was compared with what its file has: each night all was walked as
/// if something had changed.
#[test]
fn names_of_one_file_with_attributes_are_unchanged_also_where_ctime_means_nothing() {
    for detection in ["mtime", "inode"] {
        let site = Site::new();
        site.file("a", noise(1, 50_000));
        fs::hard_link(site.source().join("a"), site.source().join("b")).expect("a link");
        let attribute = |value: &[u8]| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(site.source().join("a"), "user.comment", value, flags)
        };
        if attribute(b"one").is_err() {
            eprintln!("SKIPPED: this file system has no user attributes");
            return;
        }
        let run = || site.run_by_environment(&[("BACKUP_CHANGE_DETECTION", detection)], &[]).exits(0);
        site.run(&[]).exits(0);
        settle(&site.newest());
        let first = volumes(&site.newest());
        run();
        assert_eq!(volumes(&site.newest()), first, "{detection}");
        // what changed is seen all the same, under both names
        attribute(b"two").expect("set");
        settle(&site.newest());
        run();
        assert_ne!(volumes(&site.newest()), first, "{detection}");
        assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
        site.on_store(&["verify", "--all", "--deep"]).exits(0);
    }
}

#[test]
fn a_part_comes_back_by_the_commands_of_the_guide_and_no_stale_name_hides_another() {
    if !has("zstd", "restoring by RESTORE.txt") {
        return;
    }
    let site = Site::new();
    for name in ["d/1", "d/2", "d/e/3", "w[1]", "a\nb", "a\tb", "a\x01b", "axb", "else"] {
        site.file(name, name);
    }
    site.run(&[]).exits(0);
    settle(&site.newest());
    fs::remove_file(site.source().join("a\nb")).expect("gone");
    site.file("d/2", "changed");
    site.run(&[]).exits(0);
    assert_same(&picture(&site.source()), &guided(&site, &site.newest()));
    let guide = fs::read_to_string(site.newest().join("RESTORE.txt")).expect("the guide");
    let to = tempfile::tempdir_in(site.path()).expect("a folder");
    for line in guide.lines().filter_map(|line| line.strip_prefix("    tar ")) {
        let script = format!("export LC_ALL=C TO='{}'\ntar {line} d 'w[1]'", to.path().display());
        let done = Command::new("bash").arg("-c").arg(&script).current_dir(site.newest()).output().expect("bash");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success() || said.contains("Not found in archive"), "{script}: {said}");
    }
    let found: Vec<String> = walk(to.path())
        .iter()
        .filter(|path| path.is_file())
        .map(|path| path.strip_prefix(to.path()).expect("below").display().to_string())
        .collect();
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(sorted, ["d/1", "d/2", "d/e/3", "w[1]"]);
}

#[test]
fn a_source_that_shrank_is_partial_until_it_is_whole_again_or_somebody_says_it_is_meant() {
    let site = Site::new();
    for number in 0..10 {
        site.file(&format!("half/{number}"), "content");
    }
    site.file("other", "o");
    site.run(&[]).exits(0);
    fs::remove_dir_all(site.source().join("half")).expect("not mounted");
    site.run(&[]).exits(3).says("shrank");
    site.run(&[]).exits(3).says("shrank");
    site.file("more", "m");
    site.run(&[]).exits(3).says("shrank");
    site.run(&["--max-shrink", "100%"]).exits(0);
    site.run(&[]).exits(0);
}

/// An NFS server without hard links is told by an errno of the kernel's own (524), others by EACCES: the run failed.
#[test]
fn whichever_way_a_store_refuses_a_link_the_volume_is_copied_and_that_is_said() {
    if !has("strace", "refusing links") {
        return;
    }
    let site = Site::new();
    site.file("always", noise(3, 50_000)).file("changes", "1");
    site.run(&[]).exits(0);
    for (number, errno) in ["EPERM", "EACCES", "EOPNOTSUPP", "EMLINK", "EXDEV", "524"].into_iter().enumerate() {
        site.file("changes", format!("{errno} {number}"));
        let run = site.run_command(&[]);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=linkat", "-e"]);
        strace.arg(format!("inject=linkat:error={errno}")).arg(run.get_program()).args(run.get_args());
        strace.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ran = strace.output().expect("strace starts");
        if String::from_utf8_lossy(&ran.stderr).contains("PTRACE") {
            eprintln!("SKIPPED: tracing is not allowed here");
            return;
        }
        site::Ran::from(ran).exits(0).says("refuses hard links").says("copied");
        for volume in volumes(&site.newest()) {
            assert_eq!(fs::metadata(site.newest().join(&volume)).expect("a volume").nlink(), 1, "{errno}: {volume}");
        }
        assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
    }
    site.on_store(&["verify", "--all", "--deep"]).exits(0);
}

/// Exchanges two lines of a manifest's entries, and makes every checksum right again.
fn out_of_order(snapshot: &Path) {
    let path = snapshot.join("manifest.jsonl.zst");
    let bytes = fs::read(&path).expect("a manifest");
    let footer = bytes[bytes.len() - seek::FOOTER_BYTES..].try_into().expect("a footer");
    let table_at = bytes.len() - seek::frame_len(&footer).expect("a table") as usize;
    let (mut at, mut written, mut table) = (0, Vec::new(), Vec::new());
    let mut maker = FrameMaker::new(Codec::Zstd { level: 3 });
    for entry in seek::decode(&bytes[table_at..]).expect("a table") {
        let mut text = Vec::with_capacity(entry.raw as usize);
        zstd_safe::decompress(&mut text, &bytes[at..at + entry.stored as usize]).expect("a frame");
        at += entry.stored as usize;
        let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        if lines[0].starts_with(b"{\"path\"") {
            lines.swap(1, 2);
        }
        let mut frame = Vec::new();
        let checksum = maker.make(&lines.concat(), &mut frame);
        table.push(seek::SeekEntry { stored: frame.len() as u32, raw: entry.raw, checksum });
        written.extend_from_slice(&frame);
    }
    written.extend_from_slice(&seek::encode(&table));
    fs::write(&path, &written).expect("written");
    let mut record = record(snapshot);
    record["manifest"]["size"] = written.len().into();
    record["manifest"]["sha256"] = Digest::of(&written).to_string().into();
    fs::write(snapshot.join("snapshot.json"), record.to_string()).expect("written");
    sum(snapshot);
}

#[test]
fn a_manifest_out_of_order_is_said_and_not_built_upon() {
    let site = Site::new();
    site.file("a", "1").file("b", "2").file("c", "3");
    site.run(&[]).exits(0);
    out_of_order(&site.newest());
    site.run(&[]).exits(0).says("its entries are not sorted").says("everything is read");
    assert_eq!(volumes(&site.newest()).len(), 1);
    site.on_store(&["verify", "latest", "--deep"]).exits(0);
    assert_same(&picture(&site.source()), &restored(&site, &site.newest()));
}

#[test]
fn a_run_that_is_stopped_before_a_volume_is_finished_leaves_nothing() {
    let site = Site::new();
    many_texts(&site);
    let begun = |partial: &Path| names_in(partial).iter().any(|name| name.ends_with(".part-unfinished"));
    stopped_when(&site, &["--volume-size", "1GB"], begun, Signal::TERM);
    assert_eq!(site.leftovers(), [""; 0]);
    site.run(&[]).exits(0).does_not_say("adopted");
}
