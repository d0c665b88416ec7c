//! Restoring: trees that come back in every detail, restores that are interrupted, damage that costs its own files
//! only, folders that hold something already, and somebody who swaps folders for links meanwhile.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod site;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use site::tree::{assert_same, awkward, noise, picture, set_mtime, sparse};
use site::{Finally, Ran, Site, has, is_root, names_in};

const UNFINISHED: &str = ".backup-restore.json";

fn restore(site: &Site, to: &Path, more: &[&str]) -> Ran {
    let to = to.to_str().expect("UTF-8");
    let mut arguments = vec!["restore", "latest"];
    arguments.extend(more);
    arguments.extend(["--to", to]);
    site.on_store(&arguments)
}

fn out(site: &Site) -> PathBuf {
    site.path().join("out")
}

#[test]
fn an_awkward_tree_comes_back_in_every_detail_with_every_codec() {
    for (codec, threads) in [("zstd", "2"), ("gzip", "3"), ("none", "1")] {
        let site = Site::new();
        awkward(&site.source());
        site.run(&["--compression", codec]).exits(0);
        let more = ["--privileged", "--threads", threads];
        restore(&site, &out(&site), &more).exits(0).says(": restored\n").does_not_say("note");
        assert_same(&picture(&site.source()), &picture(&out(&site)));
        // once more over it: all is there
        let json = restore(&site, &out(&site), &["--privileged", "--overwrite", "always", "--json"]).exits(0).json();
        assert_eq!((&json["files"], &json["symlinks"], &json["replaced"]), (&0.into(), &0.into(), &json["special"]));
        assert_same(&picture(&site.source()), &picture(&out(&site)));
    }
}

#[test]
fn an_ordinary_user_gets_an_ordinary_tree_back() {
    if !is_root("becoming another user") || !has("setpriv", "becoming another user") {
        return;
    }
    let site = Site::new();
    site.file("folder/read-only/file", "x").file("secret", "s").file("text", "t".repeat(3_000_000));
    std::os::unix::fs::symlink("secret", site.source().join("link")).expect("a link");
    fs::hard_link(site.source().join("text"), site.source().join("folder/text")).expect("a link");
    sparse(&site.source().join("holes"), 10 << 20, &[(1 << 20, 5000)]);
    let chown =
        Command::new("chown").args(["-R", "-h", "65534:65534"]).arg(site.path()).status().expect("chown starts");
    assert!(chown.success());
    fs::set_permissions(site.source().join("secret"), fs::Permissions::from_mode(0o400)).expect("a mode");
    for (folder, mode) in [("folder/read-only", 0o555), ("folder", 0o755)] {
        fs::set_permissions(site.source().join(folder), fs::Permissions::from_mode(mode)).expect("a mode");
        set_mtime(&site.source().join(folder), 1_000_000_000, 5);
    }
    let Some(ran) = site.as_another_user("$B --state-dir state run --source upload --to store") else { return };
    ran.exits(0);
    site.as_another_user("$B --state-dir state restore --store store --to out")
        .expect("as before")
        .exits(0)
        .says(": restored\n");
    assert_same(&picture(&site.source()), &picture(&out(&site)));
    // what is missing in a folder that may not be written comes back as well, and the folder is as it was
    fs::remove_file(out(&site).join("folder/read-only/file")).expect("removed");
    site.as_another_user("$B --state-dir state restore --store store --to out --overwrite always")
        .expect("as before")
        .exits(0);
    assert_same(&picture(&site.source()), &picture(&out(&site)));
}

#[test]
fn what_only_root_may_have_comes_back_only_when_asked() {
    if !is_root("making devices") {
        return;
    }
    let site = Site::new();
    awkward(&site.source());
    site.run(&[]).exits(0);
    let json = restore(&site, &out(&site), &["--json"]).exits(3).json();
    assert_eq!(json["losses"], 2, "two devices");
    let notes = json["notes"].as_array().expect("a list");
    let says = |what: &str| notes.iter().any(|note| note.as_str().expect("text").contains(what));
    assert!(says("setuid and setgid bits of 1 entries were left out"), "{notes:?}");
    assert!(says("capabilities"), "{notes:?}");
    assert!(!out(&site).join("char").exists());
    assert_eq!(fs::metadata(out(&site).join("setuid")).expect("a file").mode() & 0o7777, 0o755);
    assert!(!out(&site).join(UNFINISHED).exists(), "what nobody asked for is not unfinished");
}

#[test]
fn parts_come_back_by_path_and_by_pattern_with_the_folders_above_them() {
    let site = Site::new();
    for path in ["a/b/one.txt", "a/b/two.jpg", "a/c/three.jpg", "d/four.txt", "d/tmp/five.jpg", "six.jpg"] {
        site.file(path, path);
    }
    fs::set_permissions(site.source().join("a"), fs::Permissions::from_mode(0o750)).expect("a mode");
    set_mtime(&site.source().join("a"), 1_000_000_000, 7);
    site.run(&[]).exits(0);
    let files = |more: &[&str]| {
        let to = tempfile::tempdir_in(site.path()).expect("a folder").keep();
        fs::remove_dir(&to).expect("removed");
        restore(&site, &to, more).exits(0);
        let whole = picture(&site.source());
        let found = picture(&to);
        for (path, entry) in found.iter().filter(|(path, _)| !path.is_empty()) {
            assert_eq!(Some(entry), whole.get(path), "{}", path.escape_ascii());
        }
        let is_file = |path: &&Vec<u8>| to.join(String::from_utf8_lossy(path).as_ref()).is_file();
        found.keys().filter(is_file).map(|path| String::from_utf8_lossy(path).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(files(&["a/b/one.txt"]), ["a/b/one.txt"]);
    assert_eq!(files(&["./a/b/", "/six.jpg"]), ["a/b/one.txt", "a/b/two.jpg", "six.jpg"]);
    assert_eq!(files(&["a", "a/b"]), ["a/b/one.txt", "a/b/two.jpg", "a/c/three.jpg"]);
    assert_eq!(files(&["--include", "*.jpg", "--exclude", "tmp/"]), ["a/b/two.jpg", "a/c/three.jpg", "six.jpg"]);
    assert_eq!(files(&["d", "--include", "*.txt"]), ["d/four.txt"]);
    assert_eq!(files(&["."]).len(), 6);
    let nothing = site.path().join("nothing");
    restore(&site, &nothing, &["a/nowhere"]).exits(1).says("`a/nowhere`").says("backup find");
    assert!(!nothing.exists(), "a path that is not there is told before anything is made");
    restore(&site, &nothing, &["--include", "*.png"]).exits(1).says("the patterns");
    assert_eq!(names_in(&nothing), [""; 0]);
}

#[test]
fn a_further_name_without_its_first_carries_the_content() {
    let site = Site::new();
    site.file("a/first", noise(1, 5000)).file("b/own", "own");
    for name in ["b/second", "b/third", "c"] {
        fs::hard_link(site.source().join("a/first"), site.source().join(name)).expect("a link");
    }
    site.run(&[]).exits(0);
    restore(&site, &out(&site), &["b"]).exits(0);
    let file = |name: &str| fs::metadata(out(&site).join(name)).expect("a file");
    assert_eq!(fs::read(out(&site).join("b/third")).expect("a file"), noise(1, 5000));
    assert_eq!(file("b/second").ino(), file("b/third").ino());
    assert_eq!(file("b/second").nlink(), 2);
    // the same as a tar stream
    let mut command = site.command(["restore", "latest", "b", "--tar", "--store"]);
    let stream = command.arg(site.store()).arg("--state-dir").arg(site.path().join("state")).output().expect("starts");
    assert!(stream.status.success(), "{}", String::from_utf8_lossy(&stream.stderr));
    let to = site.path().join("tar");
    untar(&stream.stdout, &to);
    assert_same(&picture(&out(&site).join("b")), &picture(&to.join("b")));
}

fn untar(stream: &[u8], to: &Path) {
    use std::io::Write;
    fs::create_dir(to).expect("a folder");
    let mut tar = Command::new("tar");
    tar.args(["--warning=no-timestamp", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", "-", "-C"]);
    let mut tar = tar.arg(to).stdin(Stdio::piped()).spawn().expect("tar starts");
    tar.stdin.take().expect("piped").write_all(stream).expect("written");
    assert!(tar.wait().expect("it ends").success());
}

#[test]
fn a_tar_stream_is_the_whole_tree() {
    let site = Site::new();
    awkward(&site.source());
    site.run(&["--compression", "gzip"]).exits(0);
    let mut command = site.command(["restore", "--tar", "--store"]);
    let stream = command.arg(site.store()).arg("--state-dir").arg(site.path().join("state")).output().expect("starts");
    assert!(stream.status.success(), "{}", String::from_utf8_lossy(&stream.stderr));
    untar(&stream.stdout, &site.path().join("tar"));
    assert_same(&picture(&site.source()), &picture(&site.path().join("tar")));
}

#[test]
fn one_file_is_printed_whatever_it_lies_in() {
    let site = Site::new();
    let large = noise(3, (5 << 20) + 17);
    site.file("small", "small").file("large", &large).file("empty", "");
    fs::hard_link(site.source().join("large"), site.source().join("other name")).expect("a link");
    sparse(&site.source().join("holes"), 3 << 20, &[(1 << 20, 5000), ((2 << 20) + 4096, 100)]);
    std::os::unix::fs::symlink("small", site.source().join("link")).expect("a link");
    site.run(&[]).exits(0);
    for name in ["small", "large", "empty", "other name", "holes"] {
        let mut command = site.command(["cat", "latest", name, "--store"]);
        let ran = command.arg(site.store()).arg("--state-dir").arg(site.path().join("state")).output().expect("starts");
        assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
        assert!(ran.stdout == fs::read(site.source().join(name)).expect("a file"), "{name}");
    }
    site.on_store(&["cat", "latest", "link"]).exits(1).says("`link` as a file");
}

#[test]
fn damage_costs_the_files_in_its_frame_and_nothing_else() {
    for codec in ["zstd", "gzip", "none"] {
        let site = Site::new();
        for number in 0..40 {
            site.file(&format!("small {number:02}"), noise(number, 100_000));
        }
        site.file("large", noise(99, 5 << 20)).file("zz/last", "last");
        fs::hard_link(site.source().join("large"), site.source().join("zz/large again")).expect("a link");
        site.run(&["--compression", codec]).exits(0);
        let volume = site.volume();
        let middle = fs::metadata(&volume).expect("a volume").len() / 2;
        let harm = |at: u64| {
            fs::set_permissions(&volume, fs::Permissions::from_mode(0o600)).expect("a mode");
            let file = fs::OpenOptions::new().read(true).write(true).open(&volume).expect("a volume");
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("a byte");
            file.write_all_at(&[byte[0] ^ 4], at).expect("written");
        };
        // in the large file, and in a small one
        harm(middle);
        harm(middle / 2 * 3);
        let ran = restore(&site, &out(&site), &["--json"]).exits(4);
        let lost: Vec<String> = ran
            .out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .filter(|line| line["type"] == "loss")
            .map(|line| line["path"].as_str().expect("a path").to_owned())
            .collect();
        assert!((2..=14).contains(&lost.len()), "{codec}: {lost:?}");
        let before = picture(&site.source());
        let after = picture(&out(&site));
        for path in before.keys().filter(|path| !path.is_empty()) {
            let name = String::from_utf8_lossy(path).into_owned();
            if lost.contains(&name) {
                assert!(!after.contains_key(path), "{codec}: {name} is lost, and nothing stands in its place");
            } else if name != "large" && name != "zz/large again" {
                assert_eq!(before.get(path), after.get(path), "{codec}: {name}");
            }
        }
        assert!(!out(&site).join(UNFINISHED).exists(), "it came to its end");
        assert!(!names_in(&out(&site)).iter().any(|name| name.starts_with(".backup-restore-")), "nothing half-made");
        restore(&site, &out(&site), &[]).exits(2).says("is not empty");
        restore(&site, &out(&site), &["--overwrite", "always"]).exits(4).says("DAMAGED").says("backup find");
    }
}

#[test]
fn a_manifest_that_describes_another_volume_stops_the_restore() {
    let site = Site::new();
    site.file("a", noise(1, 3000)).run(&["--compression", "none"]).exits(0);
    let folder = site.newest();
    // the same lengths, another content, and a volume that is well by itself
    let volume = site.volume();
    let bytes = fs::read(&volume).expect("a volume");
    let at = bytes.windows(8).position(|window| window == &noise(1, 3000)[..8]).expect("the content");
    let mut other = bytes.clone();
    other[at] ^= 1;
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::write(&volume, &other).expect("written");
    // as damage it costs the file; with a manifest whose frame has the new checksum it is a lie
    restore(&site, &out(&site), &[]).exits(4).says("DAMAGED: a");
    let manifest = folder.join("manifest.jsonl.zst");
    relabel(&manifest, &bytes, &other);
    let to = site.path().join("out 2");
    restore(&site, &to, &[]).exits(4).says("contradicts itself").says("do not trust this snapshot");
    assert!(!to.join("a").exists());
}

/// Gives the frames in a manifest the checksums of other bytes.
fn relabel(manifest: &Path, before: &[u8], after: &[u8]) {
    let hex = |bytes: &[u8]| backup::domain::FrameSum::of(bytes).to_string();
    let stored = fs::read(manifest).expect("a manifest");
    let tail = stored.len() - 9;
    let count = u32::from_le_bytes(stored[tail..tail + 4].try_into().expect("four")) as usize;
    let table_at = stored.len() - (8 + 12 * count + 9);
    let (mut offset, mut new, mut table) = (0, Vec::new(), Vec::new());
    for frame in 0..count {
        let entry = &stored[table_at + 8 + 12 * frame..][..12];
        let len = u32::from_le_bytes(entry[..4].try_into().expect("four")) as usize;
        let raw_len = u32::from_le_bytes(entry[4..8].try_into().expect("four")) as usize;
        let mut raw = Vec::with_capacity(raw_len);
        zstd_safe::decompress(&mut raw, &stored[offset..offset + len]).expect("a frame");
        offset += len;
        let text = String::from_utf8(raw).expect("UTF-8").replace(&hex(before), &hex(after));
        let mut packed = Vec::with_capacity(text.len() + 1000);
        let mut context = zstd_safe::CCtx::create();
        context.set_parameter(zstd_safe::CParameter::ChecksumFlag(true)).expect("a parameter");
        context.compress2(&mut packed, text.as_bytes()).expect("a frame");
        let checksum = u32::from_le_bytes(packed[packed.len() - 4..].try_into().expect("four"));
        for number in [packed.len() as u32, text.len() as u32, checksum] {
            table.extend_from_slice(&number.to_le_bytes());
        }
        new.extend_from_slice(&packed);
    }
    new.extend_from_slice(&stored[table_at..table_at + 8]);
    new.extend_from_slice(&table);
    new.extend_from_slice(&stored[tail..]);
    fs::set_permissions(manifest, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::write(manifest, new).expect("written");
}

#[test]
fn a_restore_that_is_killed_goes_on_where_it_ended() {
    let site = Site::new();
    for number in 0..3000 {
        site.file(&format!("folder {:02}/file {number}", number % 40), noise(number, 4000));
    }
    site.file("large", noise(5, 20 << 20));
    site.run(&["--compression", "none"]).exits(0);
    let whole = picture(&site.source());
    // what is told to leave what it finds must find nothing of its own that is cut
    for policy in [&[][..], &["--overwrite", "never"]] {
        let _ = fs::remove_dir_all(out(&site));
        let (mut killed, mut compared) = (0, 0);
        for round in 0..5_usize {
            let mut command = site.command(["restore", "--threads", "1", "--quiet", "--to"]);
            command.arg(out(&site)).arg("--store").arg(site.store()).args(policy);
            command.arg("--state-dir").arg(site.path().join("state"));
            let mut child = command.spawn().expect("starts");
            let wanted = format!("folder {:02}", 7 * round % 40);
            while !out(&site).join(&wanted).exists() && child.try_wait().expect("asked").is_none() {
                std::thread::yield_now();
            }
            child.kill().expect("killed");
            killed += u32::from(!child.wait().expect("it ends").success());
            // whatever has its time is whole
            for (path, entry) in picture(&out(&site)) {
                let name = String::from_utf8_lossy(&path).into_owned();
                let last = name.rsplit('/').next().expect("a name");
                let mtime = |text: &str| text.split(' ').skip_while(|word| *word != "mtime").nth(1).map(str::to_owned);
                if out(&site).join(&name).is_file() && !last.starts_with(".backup-restore") {
                    let expected = whole.get(&path).expect("nothing is made up");
                    let may_be_cut = policy.is_empty() && mtime(&entry) != mtime(expected);
                    assert!(may_be_cut || entry == *expected, "{policy:?} {name}: {entry}");
                    compared += 1;
                }
            }
        }
        assert!(killed > 0 && compared > 0, "it was interrupted at least once");
        restore(&site, &out(&site), policy).exits(0);
        assert_same(&whole, &picture(&out(&site)));
    }
}

#[test]
fn what_is_there_is_replaced_kept_or_refused_as_asked() {
    let site = Site::new();
    site.file("newer here", "snapshot").file("older here", "snapshot").file("missing here", "snapshot");
    site.file("folder/inner", "snapshot").file("same", "snapshot");
    std::os::unix::fs::symlink("same", site.source().join("link")).expect("a link");
    for name in ["newer here", "older here", "same", "folder/inner"] {
        set_mtime(&site.source().join(name), 1_000_000_000, 0);
    }
    site.run(&[]).exits(0);
    let prepare = || {
        let to = out(&site);
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to).expect("a folder");
        for (name, time) in [("newer here", 1_100_000_000), ("older here", 900_000_000), ("mine", 5)] {
            fs::write(to.join(name), "here").expect("a file");
            set_mtime(&to.join(name), time, 0);
        }
        fs::write(to.join("folder"), "a file in a folder's place").expect("a file");
        fs::create_dir(to.join("link")).expect("a folder in a link's place");
        to
    };
    let read = |name: &str| fs::read_to_string(out(&site).join(name)).unwrap_or_else(|error| error.kind().to_string());
    let to = prepare();
    let untouched = picture(&to);
    restore(&site, &to, &[]).exits(2).says("is not empty").says("--overwrite");
    for policy in ["never", "older", "always"] {
        restore(&site, &to, &["--dry-run", "--overwrite", policy]).exits(3).says("blocked");
    }
    assert_same(&untouched, &picture(&to));

    restore(&site, &to, &["--overwrite", "never"]).exits(3).says("not written: folder").says("2 left as they are");
    assert_eq!(
        (read("newer here"), read("older here"), read("missing here")),
        ("here".into(), "here".into(), "snapshot".into())
    );
    assert_eq!(read("folder"), "a file in a folder's place");

    let to = prepare();
    restore(&site, &to, &["--overwrite", "older"]).exits(3).says("not written: folder");
    assert_eq!((read("newer here"), read("older here")), ("here".into(), "snapshot".into()));

    let to = prepare();
    restore(&site, &to, &["--overwrite", "always"]).exits(3).says("not written: link: a folder has its name");
    assert_eq!(
        (read("newer here"), read("older here"), read("folder/inner")),
        ("snapshot".into(), "snapshot".into(), "snapshot".into())
    );
    assert_eq!(read("mine"), "here");
    assert!(!to.join(UNFINISHED).exists(), "a folder that others live in gets no mark");
}

#[test]
fn what_is_not_in_the_snapshot_is_removed_only_when_asked_twice() {
    let site = Site::new();
    site.file("folder/known", "k").file("other", "o").run(&[]).exits(0);
    restore(&site, &out(&site), &[]).exits(0);
    fs::create_dir_all(out(&site).join("folder/extra/deep")).expect("a folder");
    fs::write(out(&site).join("folder/extra/deep/file"), "x").expect("a file");
    std::os::unix::fs::symlink("/etc", out(&site).join("extra link")).expect("a link");
    let delete = ["--overwrite", "always", "--delete"];
    restore(&site, &out(&site), &delete)
        .exits(0)
        .says("extra     extra link")
        .says("extra     folder/extra")
        .says("--yes");
    assert!(out(&site).join("folder/extra/deep/file").exists());
    restore(&site, &out(&site), &[&delete[..], &["--yes"]].concat()).exits(0).says("removed   2 entries");
    assert!(Path::new("/etc").exists());
    restore(&site, &out(&site), &["--overwrite", "always"]).exits(0);
    assert_same(&picture(&site.source()), &picture(&out(&site)));
    restore(&site, &out(&site), &["--delete"]).exits(2);
}

#[test]
fn a_snapshot_is_found_by_time() {
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0);
    let to = out(&site);
    let at = |time: &str| restore_at(&site, &to, time);
    at("2020-01-01").exits(2).says("there is no snapshot of job upload").says("2020-01-01");
    at("2199-01-01 14:00").exits(0);
    assert_eq!(fs::read(to.join("a")).expect("a file"), b"a");
    at("some day").exits(2).says("`some day` is not a time");
}

fn restore_at(site: &Site, to: &Path, time: &str) -> Ran {
    site.on_store(&["restore", "--at", time, "--to", to.to_str().expect("UTF-8")])
}

/// Somebody exchanges a folder of what is restored into with a link to the outside, over and over.
fn swaps_are_contained(swaps_wanted: u64) -> (u64, u64, u64) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let site = Site::new();
    for number in 0..30 {
        site.file(&format!("victim/deep/file {number}"), "restored").file(&format!("victim/file {number}"), "restored");
    }
    site.run(&["--quiet"]).exits(0);
    let outside = site.path().join("outside");
    fs::create_dir_all(outside.join("deep")).expect("a folder");
    for name in ["file 0", "deep/file 0", "passwd"] {
        fs::write(outside.join(name), "outside").expect("a file");
        set_mtime(&outside.join(name), 1_000_000_000, 0);
    }
    set_mtime(&outside.join("deep"), 1_000_000_000, 0);
    set_mtime(&outside, 1_000_000_000, 0);
    let canary = picture(&outside);
    let to = out(&site);
    restore(&site, &to, &[]).exits(0);
    let (done, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut restores, mut violations) = (0, 0);
    std::thread::scope(|scope| {
        let _rest = Finally(|| done.store(true, Ordering::Relaxed));
        let (victim, link) = (to.join("victim"), site.path().join("link"));
        let (done, swaps, outside) = (&done, &swaps, &outside);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                if renameat_with(CWD, &victim, CWD, &link, RenameFlags::EXCHANGE).is_err() {
                    // the link was replaced by a folder: another one
                    let _ = std::os::unix::fs::symlink(outside, &link);
                    let _ = fs::create_dir(&victim);
                }
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        while swaps.load(Ordering::Relaxed) < swaps_wanted {
            // whether it gets there does not matter; where it writes does
            restore(&site, &to, &["--overwrite", "always", "--quiet"]);
            restores += 1;
            violations += u64::from(picture(outside) != canary);
        }
    });
    (swaps.load(Ordering::Relaxed), restores, violations)
}

#[test]
fn a_folder_swapped_for_a_link_while_it_is_restored_into_leads_nowhere_outside() {
    let (swaps, restores, violations) = swaps_are_contained(100_000);
    eprintln!("{swaps} swaps, {restores} restores, {violations} violations");
    assert!(restores > 0);
    assert_eq!(violations, 0);
}

#[test]
#[ignore = "a campaign: cargo test --release --test restore -- --ignored --nocapture"]
fn a_million_swaps_while_restoring_lead_nowhere_outside() {
    let (swaps, restores, violations) = swaps_are_contained(1_000_000);
    eprintln!(
        "n {swaps} swaps over {restores} restores, {violations} violations, no seed: the race is the scheduler's"
    );
    assert_eq!(violations, 0);
}

#[test]
fn links_that_were_planted_before_lead_nowhere() {
    let site = Site::new();
    site.file("folder/file", "restored").file("file", "restored").run(&[]).exits(0);
    let outside = site.path().join("outside");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("file"), "outside").expect("a file");
    let canary = picture(&outside);
    for policy in ["never", "older", "always"] {
        let to = site.path().join(policy);
        fs::create_dir(&to).expect("a folder");
        std::os::unix::fs::symlink(&outside, to.join("folder")).expect("a link");
        std::os::unix::fs::symlink(outside.join("file"), to.join("file")).expect("a link");
        restore(&site, &to, &["--overwrite", policy]);
        assert_eq!(picture(&outside), canary, "{policy}");
        assert_eq!(fs::symlink_metadata(to.join("file")).expect("there").is_symlink(), policy != "always");
    }
    let always: BTreeMap<_, _> = picture(&site.path().join("always"));
    assert_same(&picture(&site.source()), &always);
}

#[test]
fn a_snapshot_whose_small_files_are_lost_is_made_whole_from_its_volumes() {
    for codec in ["zstd", "gzip", "none"] {
        let site = Site::new();
        awkward(&site.source());
        site.run(&["--compression", codec]).exits(0);
        let folder = site.newest();
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        site.on_store(&["index", &name]).exits(2).says("--force");
        for lost in ["manifest.jsonl.zst", "snapshot.json", "SHA256SUMS", "RESTORE.txt"] {
            fs::remove_file(folder.join(lost)).expect("removed");
        }
        site.on_store(&["verify"]).exits(4);
        site.on_store(&["index", &name]).exits(0).says("is not known any more").says("undelete");
        site.on_store(&["verify"]).exits(0);
        restore(&site, &out(&site), &["--privileged"]).exits(0);
        assert_same(&picture(&site.source()), &picture(&out(&site)));
        assert_eq!(site.leftovers(), [""; 0]);
        // a damaged volume is not indexed, and nothing is changed
        let volume = site.volume();
        let bytes = fs::read(&volume).expect("a volume");
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::write(&volume, &bytes[..bytes.len() - 3000]).expect("written");
        let before = picture(&site.newest());
        site.on_store(&["index", &name, "--force"]).exits(4).says("cannot be indexed").says("--archive");
        assert_same(&before, &picture(&site.newest()));
        assert_eq!(site.leftovers(), [""; 0]);
    }
}

#[test]
fn what_the_run_could_not_read_is_told_again_by_restore() {
    if !is_root("becoming another user") || !has("setpriv", "becoming another user") {
        return;
    }
    let site = Site::new();
    site.file("a", "a").file("b", "b");
    let chown = Command::new("chown").args(["-R", "65534:65534"]).arg(site.path()).status().expect("chown starts");
    assert!(chown.success());
    fs::set_permissions(site.source().join("b"), fs::Permissions::from_mode(0o000)).expect("a mode");
    let Some(ran) = site.as_another_user("$B --state-dir state run --source upload --to store") else { return };
    ran.exits(3);
    restore(&site, &out(&site), &[]).exits(3).says("NOT IN THE SNAPSHOT: b").says("could not be read");
    restore(&site, &site.path().join("out 2"), &["a"]).exits(0);
    restore(&site, &site.path().join("out 3"), &["b"]).exits(3).says("NOT IN THE SNAPSHOT: b");
}

#[test]
fn a_folder_that_others_live_in_never_becomes_one_that_may_be_overwritten() {
    let site = Site::new();
    site.file("page", "old").file("other", "other").run(&[]).exits(0);
    let to = out(&site);
    fs::create_dir(&to).expect("a folder");
    fs::write(to.join("page"), "mine").expect("a file");
    restore(&site, &to, &["--overwrite", "never"]).exits(0);
    assert!(!to.join(UNFINISHED).exists());
    restore(&site, &to, &["page"]).exits(2).says("is not empty");
    // nor does the mark of another part of the snapshot
    let part = site.path().join("part");
    fs::create_dir(&part).expect("a folder");
    let name = site.newest().file_name().expect("a name").to_string_lossy().into_owned();
    let mark = serde_json::json!({"type": "unfinished-restore", "snapshot": name, "wanted": "`page`"});
    fs::write(part.join(UNFINISHED), mark.to_string()).expect("a mark");
    restore(&site, &part, &["other"]).exits(2).says("unfinished restore");
    restore(&site, &part, &["page"]).exits(0).says("resumed");
}

#[test]
fn a_volume_that_is_cut_is_told_first_and_what_is_left_of_it_comes_back() {
    let site = Site::new();
    for number in 0..6 {
        site.file(&format!("file {number}"), noise(number, 900_000));
    }
    site.run(&["--compression", "none"]).exits(0);
    let volume = site.volume();
    let whole = fs::metadata(&volume).expect("a volume").len();
    fs::OpenOptions::new().write(true).open(&volume).expect("a file").set_len(whole / 2).expect("cut");
    let cut = format!("is cut: {} of {whole} bytes", whole / 2);
    let ran = restore(&site, &out(&site), &[]).exits(4).says("DAMAGED: file 5").says("is not there: the volume");
    let (told, lost) = (ran.err.find(&cut).expect("it is told"), ran.err.find("file 5").expect("it is lost"));
    assert!(told < lost, "{}", ran.err);
    assert_eq!(fs::read(out(&site).join("file 0")).expect("a file"), noise(0, 900_000));
    let json = restore(&site, &site.path().join("other"), &["--json", "--dry-run"]).json();
    assert!(json["notes"].to_string().contains(&cut), "{json}");
}

#[test]
fn an_entry_that_is_no_file_comes_back_from_several_frames() {
    let site = Site::new();
    let folder = site.source().join("folder");
    fs::create_dir(&folder).expect("a folder");
    let long = vec![b'x'; 3000];
    if rustix::fs::setxattr(&folder, "user.long", &long, rustix::fs::XattrFlags::empty()).is_err() {
        eprintln!("SKIPPED: this file system takes no attributes");
        return;
    }
    set_mtime(&folder, 1_000_000_000, 0);
    set_mtime(&site.source(), 1_000_000_000, 0);
    site.run(&["--compression", "none"]).exits(0);
    // no run cuts a header in two; another program may
    let mut forged = site::forge::Forged::read(&site.newest());
    forged.frame_bytes = 1024;
    forged.write();
    restore(&site, &out(&site), &[]).exits(0);
    assert_same(&picture(&site.source()), &picture(&out(&site)));
}

#[test]
fn a_damaged_frame_of_a_sparse_file_is_damage_and_no_lie_where_frames_are_not_compressed() {
    let site = Site::new();
    site.file("aa", "before").file("zz", "after");
    sparse(&site.source().join("holes"), 16 << 20, &[(1 << 20, 5_000_000)]);
    site.run(&["--compression", "none"]).exits(0);
    let volume = site.volume();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o600)).expect("a mode");
    let file = fs::OpenOptions::new().read(true).write(true).open(&volume).expect("a volume");
    let (mut byte, at) = ([0], 4 << 20);
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 4], at).expect("written");
    restore(&site, &out(&site), &[]).exits(4).says("DAMAGED: holes").does_not_say("contradicts");
    assert_eq!(names_in(&out(&site)), ["aa", "zz"]);
}

#[test]
fn a_further_name_of_what_is_damaged_is_named_and_not_in_the_stream() {
    let site = Site::new();
    site.file("a", "content of a").file("c", "c");
    fs::hard_link(site.source().join("a"), site.source().join("b")).expect("a link");
    site.run(&["--compression", "none"]).exits(0);
    let volume = site.volume();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o600)).expect("a mode");
    let mut bytes = fs::read(&volume).expect("a volume");
    let at = bytes.windows(12).position(|window| window == b"content of a").expect("its content");
    bytes[at] ^= 1;
    fs::write(&volume, bytes).expect("written");
    let mut command = site.command(["restore", "latest", "--tar"]);
    command.arg("--store").arg(site.store()).arg("--state-dir").arg(site.path().join("state"));
    let done = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(4), "{said}");
    assert!(said.contains("DAMAGED: a:") && said.contains("DAMAGED: b:"), "{said}");
    let to = out(&site);
    untar(&done.stdout, &to);
    assert_eq!(names_in(&to), ["c"]);
}

/// Written between the look at its folder and the look at its content, it has a time that its further names have not.
#[test]
fn a_further_name_is_made_though_its_line_has_the_time_that_the_file_was_listed_with() {
    let site = Site::new();
    site.file("a", "content");
    fs::hard_link(site.source().join("a"), site.source().join("b")).expect("a link");
    site.run(&["--compression", "none"]).exits(0);
    let mut forged = site::forge::Forged::read(&site.newest());
    forged.entry("b").mtime.sec -= 7;
    forged.write();
    site.on_store(&["verify", "latest", "--drill"]).exits(0).does_not_say("another");
    restore(&site, &out(&site), &[]).exits(0);
    let inode = |name: &str| fs::metadata(out(&site).join(name)).expect("a file").ino();
    assert_eq!(inode("a"), inode("b"));
}

#[test]
fn what_is_whole_but_for_its_time_is_not_written_again_by_a_restore_that_goes_on() {
    let site = Site::new();
    site.file("a", "content").file("b", "other content");
    site.run(&[]).exits(0);
    let to = out(&site);
    restore(&site, &to, &[]).exits(0);
    // as a file system keeps it that knows whole seconds of even numbers
    let inode = |name: &str| fs::metadata(to.join(name)).expect("a file").ino();
    let before = inode("a");
    set_mtime(&to.join("a"), 1_000_000_000, 0);
    fs::write(to.join("b"), "other_content").expect("written");
    mark(&site, &to);
    let json = restore(&site, &to, &["--json"]).exits(0).json();
    assert_eq!((&json["replaced"], &json["same"]), (&1.into(), &1.into()), "{json}");
    assert_eq!(inode("a"), before);
    assert_same(&picture(&site.source()), &picture(&to));
}

/// What a careful person says at the second try would keep the files that the first one cut.
#[test]
fn a_restore_that_was_begun_to_replace_what_is_there_is_not_continued_by_one_that_leaves_it() {
    let site = Site::new();
    site.file("a", "content").run(&[]).exits(0);
    let to = out(&site);
    restore(&site, &to, &[]).exits(0);
    mark(&site, &to);
    for policy in ["never", "older"] {
        restore(&site, &to, &["--overwrite", policy]).exits(2).says("files of it may be cut").says("as it was begun");
    }
    // begun so, it leaves what somebody changed meanwhile, also if it is as long
    fs::remove_file(to.join(UNFINISHED)).expect("removed");
    let name = site.newest().file_name().expect("a name").to_string_lossy().into_owned();
    let mark = serde_json::json!({"snapshot": name, "wanted": "everything", "replaces": false});
    fs::write(to.join(UNFINISHED), mark.to_string()).expect("a mark");
    fs::write(to.join("a"), "CONTENT").expect("written");
    restore(&site, &to, &["--overwrite", "never"]).exits(0).says("1 left as they are");
    assert_eq!(fs::read(to.join("a")).expect("a file"), b"CONTENT");
}

#[test]
fn the_mark_of_another_restore_is_left_to_it() {
    let site = Site::new();
    site.file("a", "content").run(&[]).exits(0);
    let to = out(&site);
    fs::create_dir(&to).expect("a folder");
    mark(&site, &to);
    site.file("a", "changed").run(&[]).exits(0);
    restore(&site, &to, &["--overwrite", "always"]).exits(0);
    assert!(to.join(UNFINISHED).exists());
}

/// What an interrupted restore leaves in its folder.
fn mark(site: &Site, to: &Path) {
    let name = site.newest().file_name().expect("a name").to_string_lossy().into_owned();
    let mark = serde_json::json!({"type": "unfinished-restore", "snapshot": name, "wanted": "everything"});
    fs::write(to.join(UNFINISHED), mark.to_string()).expect("a mark");
}

#[test]
fn a_restore_that_goes_on_reads_what_is_there() {
    for codec in ["zstd", "none"] {
        let site = Site::new();
        site.file("good", "good").file("small", noise(1, 900)).file("large", noise(2, 3_500_000));
        sparse(&site.source().join("holes"), 8 << 20, &[(1 << 20, 5000), (3 << 20, 2_000_000)]);
        sparse(&site.source().join("filled"), 8 << 20, &[(1 << 20, 5000)]);
        fs::hard_link(site.source().join("large"), site.source().join("larger")).expect("a link");
        site.run(&["--compression", codec]).exits(0);
        let to = out(&site);
        restore(&site, &to, &[]).exits(0);
        // as after a power cut: lengths and times are there, the bytes are not; and data where a hole was
        let harm = || {
            for (name, at) in [("small", 5), ("large", 3_000_000), ("holes", (3 << 20) + 7), ("filled", 6 << 20)] {
                let path = to.join(name);
                let before = fs::metadata(&path).expect("a file");
                let file = fs::OpenOptions::new().read(true).write(true).open(&path).expect("a file");
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).expect("read");
                file.write_all_at(&[!byte[0]], at).expect("written");
                drop(file);
                set_mtime(&path, before.mtime(), before.mtime_nsec() as u32);
            }
            mark(&site, &to);
        };
        harm();
        let json = restore(&site, &to, &["--json"]).exits(0).json();
        assert_eq!((&json["resumed"], &json["replaced"]), (&true.into(), &5.into()), "four and a further name: {json}");
        assert_same(&picture(&site.source()), &picture(&to));
        mark(&site, &to);
        let json = restore(&site, &to, &["--json"]).exits(0).json();
        assert_eq!((&json["replaced"], &json["files"], &json["same"]), (&0.into(), &0.into(), &6.into()), "{json}");
        // whoever wants it faster says so
        harm();
        let json = restore(&site, &to, &["--json", "--quick-check"]).exits(0).json();
        assert_eq!(json["replaced"], 0, "{json}");
        let small = fs::read(to.join("small")).expect("a file");
        assert_ne!(small, noise(1, 900));
        // what may be replaced is compared as well, and what may not be is left
        restore(&site, &to, &["--overwrite", "never"]).exits(0);
        assert_eq!(fs::read(to.join("small")).expect("a file"), small);
        restore(&site, &to, &["--overwrite", "always"]).exits(0);
        assert_same(&picture(&site.source()), &picture(&to));
    }
}

#[test]
fn further_names_are_made_where_the_file_system_cannot_hold_the_time() {
    // a RAM disk holds any time; most others cut or round it
    let Ok(fine) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("SKIPPED without a RAM disk: times that the target cannot hold");
        return;
    };
    let site = Site::new();
    fs::write(fine.path().join("one"), "one").expect("a file");
    set_mtime(&fine.path().join("one"), 100_000_000_000, 5);
    fs::hard_link(fine.path().join("one"), fine.path().join("two")).expect("a link");
    let (source, store) = (fine.path().to_str().expect("UTF-8"), site.store());
    site.backup(["run", "--source", source, "--job", "upload", "--to", store.to_str().expect("UTF-8")]).exits(0);
    restore(&site, &out(&site), &[]).exits(0).does_not_say("not the file that was restored");
    let inode = |name: &str| fs::metadata(out(&site).join(name)).expect("a file").ino();
    assert_eq!(inode("one"), inode("two"));
    if fs::metadata(out(&site).join("one")).expect("a file").mtime() == 100_000_000_000 {
        eprintln!("SKIPPED: the target holds any time too");
    }
}

#[test]
fn a_further_name_that_somebody_made_of_a_foreign_file_gives_nothing_away() {
    if !is_root("owning files") {
        return;
    }
    let site = Site::new();
    site.file("f", "123456");
    std::os::unix::fs::chown(site.source().join("f"), Some(65534), Some(65534)).expect("an owner");
    fs::set_permissions(site.source().join("f"), fs::Permissions::from_mode(0o666)).expect("a mode");
    set_mtime(&site.source().join("f"), 1_000_000_000, 0);
    site.run(&[]).exits(0);
    let foreign = site.path().join("foreign");
    fs::write(&foreign, "secret").expect("a file");
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).expect("a mode");
    set_mtime(&foreign, 1_000_000_000, 0);
    fs::create_dir(out(&site)).expect("a folder");
    fs::hard_link(&foreign, out(&site).join("f")).expect("a link");
    restore(&site, &out(&site), &["--overwrite", "always", "--owner", "number"]).exits(0);
    let meta = fs::metadata(&foreign).expect("a file");
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o600));
    assert_eq!(fs::read(out(&site).join("f")).expect("a file"), b"123456");
}

#[test]
fn a_setgid_bit_that_the_kernel_takes_away_without_a_word_is_told_and_is_no_damage() {
    if !is_root("giving folders to other groups") || !has("setpriv", "doing without a capability") {
        return;
    }
    let site = Site::new();
    site.file("shared/f", "x");
    std::os::unix::fs::chown(site.source().join("shared"), Some(0), Some(65534)).expect("an owner");
    fs::set_permissions(site.source().join("shared"), fs::Permissions::from_mode(0o2775)).expect("a mode");
    site.run(&[]).exits(0);
    let to = site.path().join("back");
    let without = |words: &[&str]| -> Ran {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-fsetid", "--inh-caps=-fsetid"]).arg(env!("CARGO_BIN_EXE_backup")).args(words);
        command.arg("--store").arg(site.store()).arg("--state-dir").arg(site.path().join("state"));
        command.output().expect("setpriv starts").into()
    };
    without(&["restore", "latest", "--to", &to.display().to_string()])
        .exits(0)
        .says("the setgid bits of 1 entries were not kept here");
    let mode = fs::metadata(to.join("shared")).expect("restored").permissions().mode();
    assert_eq!(mode & 0o7777, 0o775, "this kernel takes it away, which is what this test is about");
    without(&["verify", "--drill"]).exits(0).says("setgid").does_not_say("DAMAGED");
    restore(&site, &site.path().join("whole"), &[]).exits(0).does_not_say("setgid");
    let mode = fs::metadata(site.path().join("whole/shared")).expect("restored").permissions().mode();
    assert_eq!(mode & 0o7777, 0o2775);
}

#[test]
fn what_is_inherited_from_the_folder_above_does_not_stay() {
    if !is_root("giving folders to other groups") {
        return;
    }
    let site = Site::new();
    site.file("f", "x").file("d/g", "y");
    fs::set_permissions(site.source().join("f"), fs::Permissions::from_mode(0o640)).expect("a mode");
    site.run(&[]).exits(0);
    let above = site.path().join("above");
    fs::create_dir(&above).expect("a folder");
    std::os::unix::fs::chown(&above, Some(0), Some(65534)).expect("an owner");
    fs::set_permissions(&above, fs::Permissions::from_mode(0o2775)).expect("a mode");
    if has("setfacl", "ACLs that are inherited") {
        let done = Command::new("setfacl").args(["-d", "-m", "u:65534:rwx"]).arg(&above).status().expect("starts");
        eprintln!("setfacl: {done}");
    }
    for to in [above.clone(), above.join("new")] {
        restore(&site, &to, &["--overwrite", "always"]).exits(0);
        for (path, entry) in picture(&site.source()).iter().filter(|(path, _)| !path.is_empty()) {
            assert_eq!(picture(&to).get(path), Some(entry), "{}", path.escape_ascii());
        }
    }
}
