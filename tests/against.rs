//! A snapshot against its source as it is now: each kind of difference, what is told of what nobody can know, and the
//! change that only this comparison sees.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod site;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use backup::domain::Digest;
use site::forge::{Forged, sum};
use site::tree::{awkward, noise, set_mtime, sparse};
use site::{Ran, Site, has, is_root};

fn compared(site: &Site, more: &[&str]) -> Ran {
    let source = site.source();
    let mut all = vec!["verify", "--against-source", "--source", source.to_str().expect("UTF-8")];
    all.extend(more);
    site.on_store(&all)
}

/// Every line of JSON but the last, as `change path`.
fn told(ran: &Ran) -> Vec<String> {
    let mut lines: Vec<serde_json::Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.pop().expect("a last line")["type"], "compared");
    let word = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    lines.iter().map(|line| format!("{} {}", word(&line["change"]), word(&line["path"]))).collect()
}

#[test]
fn a_source_that_nobody_touched_does_not_differ() {
    let site = Site::new();
    awkward(&site.source());
    sparse(&site.source().join("large holes"), 64 << 20, &[(1 << 20, 5000), (9 << 20, 3_500_000)]);
    site.file("large", noise(7, 5_000_000)).file("empty", "").file("left.out", "out");
    site.run(&["--exclude", "*.out"]).exits(0);
    let all = compared(&site, &["--exclude", "*.out", "--json"]).exits(0);
    assert_eq!(told(&all), [] as [&str; 0]);
    let last = all.json();
    assert_eq!((&last["added"], &last["same_source"]), (&0.into(), &true.into()), "{last}");
    assert!(last["same"].as_u64() > Some(20) && last["bytes"].as_u64() > Some(5_000_000), "{last}");
    compared(&site, &[]).exits(3).says("+ left.out").says("1 added");
}

#[test]
fn every_difference_is_named_by_its_kind() {
    let site = Site::new();
    for name in ["content", "kept", "longer", "mode", "time", "gone/x", "kind", "one", "same"] {
        site.file(name, name);
        set_mtime(&site.source().join(name), 1_600_000_000, 7);
    }
    let at = |name: &str| site.source().join(name);
    fs::hard_link(at("one"), at("two")).expect("a link");
    symlink("here", at("link")).expect("a link");
    sparse(&at("sparse"), 16 << 20, &[(1 << 20, 5000)]);
    site.run(&[]).exits(0);
    fs::write(at("content"), "CONTENT").expect("written");
    fs::write(at("kept"), "KEPT").expect("written");
    set_mtime(&at("kept"), 1_600_000_000, 7);
    fs::write(at("longer"), "longer than it was").expect("written");
    fs::set_permissions(at("mode"), fs::Permissions::from_mode(0o600)).expect("changed");
    set_mtime(&at("time"), 1_700_000_000, 0);
    fs::remove_dir_all(at("gone")).expect("removed");
    fs::remove_file(at("kind")).expect("removed");
    fs::create_dir(at("kind")).expect("a folder");
    fs::remove_file(at("two")).expect("removed");
    fs::copy(at("one"), at("two")).expect("a copy");
    set_mtime(&at("two"), 1_600_000_000, 7);
    fs::remove_file(at("link")).expect("removed");
    symlink("there", at("link")).expect("a link");
    // data in the hole, and the time of before
    let before = fs::metadata(at("sparse")).expect("a file");
    let file = fs::OpenOptions::new().write(true).open(at("sparse")).expect("a file");
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 9 << 20).expect("written");
    set_mtime(&at("sparse"), before.mtime(), before.mtime_nsec() as u32);
    site.file("new/y", "new");
    let ran = compared(&site, &["--json"]).exits(3);
    let expected = [
        "content content",
        "removed gone",
        "removed gone/x",
        "content kept",
        "content kind",
        "content link",
        "content longer",
        "metadata mode",
        "added new",
        "added new/y",
        "content sparse",
        "metadata time",
        "metadata two",
    ];
    assert_eq!(told(&ran), expected, "{}", ran.out);
    let last = ran.json();
    assert_eq!((&last["added"], &last["removed"], &last["content"]), (&2.into(), &2.into(), &6.into()));
    assert_eq!((&last["metadata"], &last["rot"], &last["unread"]), (&3.into(), &0.into(), &0.into()));
    let text = compared(&site, &[]).exits(3);
    text.says("~ kept (content: other bytes, though length and mtime are the same")
        .says("~ two (metadata: it is no further name of one")
        .says("- gone/x")
        .says("+ new/y")
        .says("kind (content: file -> folder");
    compared(&site, &["--quiet"]).exits(3).does_not_say("kept");
}

#[test]
fn what_nobody_changed_and_is_another_is_told_aloud() {
    let site = Site::new();
    site.file("a", "abc").file("b", noise(3, 3000));
    site.run(&["--compression", "none"]).exits(0);
    // the source is as it was; the snapshot remembers other bytes of the same length and times
    let mut forged = Forged::read(&site.newest());
    let body = forged.entry("a").placed.body as usize;
    forged.raw[body] = b'A';
    forged.entry("a").sha256 = Some(Digest::of(b"Abc"));
    forged.write();
    let ran = compared(&site, &[]).exits(3);
    ran.says("~ a (content: other bytes: it changed while the snapshot was made, or just before");
    let path = site.newest().join("snapshot.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a record")).expect("JSON");
    record["started"] = "2199-01-01T00:00:00Z".into();
    fs::write(&path, record.to_string()).expect("written");
    sum(&site.newest());
    let ran = compared(&site, &[]).exits(4);
    ran.says("! a (its content is another, though length, mtime and ctime are as they were")
        .says("CHANGED BY NOBODY: a")
        .says("bit rot of the source, or a forged time");
    assert_eq!(told(&compared(&site, &["--json"]).exits(4)), ["rot a"]);
    compared(&site, &["--quiet"]).exits(4).says("CHANGED BY NOBODY: a");
}

#[test]
fn the_configuration_tells_sources_prefixes_and_excludes() {
    let site = Site::new();
    site.file("a", "a").file("skip.tmp", "t");
    let other = site.path().join("other");
    fs::create_dir(&other).expect("a folder");
    fs::write(other.join("b"), "b").expect("written");
    let config = site.path().join("backup.yaml");
    let write = |sources: &str| {
        let store = site.store();
        let text = format!(
            "stores: {{here: {{path: {store:?}}}}}\njobs: {{upload: {{source: {sources}, exclude: ['*.tmp'], store: here}}}}\n"
        );
        fs::write(&config, text).expect("written");
    };
    let both = format!("[{:?}, {other:?}]", site.source());
    write(&both);
    let config_flag = config.to_str().expect("UTF-8");
    fs::create_dir(site.store()).expect("a folder");
    site.backup(["init", "--config", config_flag]).exits(0);
    site.backup(["run", "--config", config_flag]).exits(0);
    let verify = ["verify", "--against-source", "--config", config_flag, "--json"];
    assert_eq!(told(&site.backup(verify).exits(0)), [] as [&str; 0]);
    fs::write(other.join("c"), "c").expect("written");
    fs::remove_file(site.source().join("a")).expect("removed");
    let below = |folder: &std::path::Path, name: &str| format!("{}/{name}", &folder.to_str().expect("UTF-8")[1..]);
    let mut expected = vec![format!("added {}", below(&other, "c")), format!("removed {}", below(&site.source(), "a"))];
    let mut found = told(&site.backup(verify).exits(3));
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    // one folder of two: its names would be relative, and the snapshot's are not
    write(&format!("{other:?}"));
    site.backup(verify).exits(2).says("was made of").says("--source");
    // a pattern that came later leaves something out that is there
    write(&both);
    let text = fs::read_to_string(&config).expect("text").replace("*.tmp", "b");
    fs::write(&config, text).expect("written");
    let ran = site.backup(["verify", "--against-source", "--config", config_flag]).exits(3);
    ran.says("/b (it is there, and the job leaves it out now)").says("skip.tmp");
    // nothing says which folders are meant
    fs::remove_file(&config).expect("removed");
    site.on_store(&["verify", "--against-source"]).exits(2).says("--source DIR");
}

#[test]
fn a_store_within_its_own_source_is_no_difference() {
    let site = Site::new();
    site.file("a", "a");
    let store = site.source().join("store");
    let (source, store) = (site.source(), store.to_str().expect("UTF-8").to_owned());
    let source = source.to_str().expect("UTF-8");
    site.backup(["run", "--source", source, "--to", &store]).exits(0);
    site.backup(["run", "--source", source, "--to", &store]).exits(0);
    site.backup(["verify", "--against-source", "--source", source, "--store", &store]).exits(0).says("the same");
}

#[test]
fn what_cannot_be_read_is_not_called_the_same_or_removed() {
    if !is_root("becoming another user") || !has("setpriv", "becoming another user") {
        return;
    }
    let site = Site::new();
    site.file("closed/in", "in").file("open", "open").file("secret", "secret");
    site.run(&[]).exits(0);
    let at = |name: &str| site.source().join(name);
    fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o700)).expect("changed");
    fs::set_permissions(at("secret"), fs::Permissions::from_mode(0o600)).expect("changed");
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).expect("changed");
    let opened = Command::new("chmod").args(["-R", "a+rX"]).arg(site.store()).status().expect("chmod starts");
    assert!(opened.success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(env!("CARGO_BIN_EXE_backup"));
    command.args(["verify", "--against-source", "--json", "--source"]).arg(site.source());
    command.arg("--store").arg(site.store()).env_clear().current_dir("/");
    let state = tempfile::tempdir().expect("a folder");
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o777)).expect("changed");
    let ran: Ran = command.arg("--state-dir").arg(state.path()).output().expect("setpriv starts").into();
    let ran = ran.exits(3);
    let told = told(&ran);
    assert!(told.contains(&"unread closed/in".to_owned()) && told.contains(&"unread secret".to_owned()), "{told:?}");
    assert!(!told.iter().any(|line| line.starts_with("removed")), "{told:?}");
}
