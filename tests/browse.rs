//! Browsing: what a person finds at three in the morning, when something was deleted and nobody knows when.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod site;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use site::{Ran, Site, has, is_root};

/// 2026-11-20T14:00:05Z
fn dated(path: &Path) {
    let at = Timespec { tv_sec: 1_795_183_205, tv_nsec: 0 };
    utimensat(CWD, path, &Timestamps { last_access: at, last_modification: at }, AtFlags::SYMLINK_NOFOLLOW)
        .expect("dated");
}

fn name_of(snapshot: &Path) -> String {
    snapshot.file_name().and_then(OsStr::to_str).expect("a snapshot's name").to_owned()
}

/// Two snapshots; between them a folder was deleted, a file changed, a file came.
fn bereaved() -> (Site, String, String) {
    let site = Site::new();
    site.file("2019/invoices/january.pdf", "forty-two").file("2019/invoices/march.pdf", "march");
    site.file("2020/plan.txt", "plan A").file("readme", "read me");
    dated(&site.source().join("2019/invoices/january.pdf"));
    fs::set_permissions(site.source().join("readme"), fs::Permissions::from_mode(0o644)).expect("changed");
    site.run(&[]).exits(0);
    fs::remove_dir_all(site.source().join("2019")).expect("removed");
    site.file("2020/plan.txt", "plan B, longer").file("2020/new.txt", "new");
    fs::set_permissions(site.source().join("readme"), fs::Permissions::from_mode(0o600)).expect("changed");
    site.run(&[]).exits(0);
    let names: Vec<String> = site.snapshots().iter().map(|path| name_of(path)).collect();
    let [before, after] = names.try_into().expect("two snapshots");
    (site, before, after)
}

fn lines(ran: &Ran) -> Vec<serde_json::Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn at_three_in_the_morning_the_deleted_folder_is_found_seen_and_its_loss_told() {
    let (site, before, after) = bereaved();
    let found = site.on_store(&["find", "invoices"]).exits(0);
    let expected = format!("no such version in the newest, {after}");
    let found = found.says("2019/invoices/\n").says(&format!("in {before}\n")).says(&expected);
    assert!(!found.out.contains("january.pdf"), "a plain name is a whole name:\n{}", found.out);
    site.on_store(&["ls", &before, "2019/invoices"]).exits(0).says("january.pdf\nmarch.pdf\n");
    let long = site.on_store(&["ls", "-l", &before, "./2019/invoices/"]).exits(0);
    let line = long.out.lines().next().expect("a line");
    assert!(line.starts_with("-rw-") && line.ends_with("9 B 2026-11-20 14:00:05 UTC january.pdf"), "{line}");
    let differs = site.on_store(&["diff", &before, &after]).exits(0);
    let told: Vec<&str> = differs.out.lines().collect();
    assert_eq!(
        told,
        [
            "- 2019/",
            "- 2019/invoices/",
            "- 2019/invoices/january.pdf (9 B)",
            "- 2019/invoices/march.pdf (5 B)",
            "+ 2020/new.txt (3 B)",
            "~ 2020/plan.txt (content, 6 B -> 14 B, mtime)",
            "~ readme (mode 0644 -> 0600)",
            "1 added (3 B), 4 removed (14 B), 1 changed (6 B -> 14 B), 1 with other metadata, 2 the same",
        ]
    );
    site.on_store(&["diff", &before, &after, "2020"]).exits(0).says("+ 2020/new.txt").does_not_say("2019");
    site.on_store(&["diff", "latest", "latest"]).exits(0).says("0 added (0 B), 0 removed (0 B), 0 changed");
}

#[test]
fn what_is_not_there_is_told_with_what_may_be_meant() {
    let (site, before, after) = bereaved();
    let gone = site.on_store(&["ls", "latest", "2019/invoices"]).exits(1);
    gone.says(&format!("2019/invoices is not in {after}")).says("`backup find 'invoices'`");
    site.on_store(&["ls", &before, "2019/invoice"]).exits(1).says("did you mean `2019/invoices`?");
    site.on_store(&["diff", &before, &after, "2021"]).exits(1).says("did you mean `2020`?");
    site.on_store(&["find", "nowhere"]).exits(1).says("nothing in 2 snapshots").says("'*nowhere*'");
    site.on_store(&["find", "invoices/march.pdf"]).exits(1).says("'**/invoices/march.pdf'");
    site.on_store(&["find", "readme", "--type", "folder"]).exits(1).says("ask without sizes");
    site.on_store(&["find", "["]).exits(2).says("`[` is not a pattern");
    site.on_store(&["find", "x", "--newer", "20.11.2026"]).exits(2).says("is not a time").says("3 days ago");
    site.on_store(&["ls", "latest", "../x"]).exits(2).says("is not a path of a snapshot");
    site.on_store(&["ls", "19990101"]).exits(2).says("there is no snapshot 19990101");
}

#[test]
fn a_search_tells_versions_apart_and_takes_sizes_times_and_types() {
    let (site, before, after) = bereaved();
    let plan = site.on_store(&["find", "plan.txt", "--json"]).exits(0).json();
    assert_eq!(plan["type"], "found");
    assert_eq!(plan["path"], "2020/plan.txt");
    let versions = plan["versions"].as_array().expect("a list");
    assert_eq!(versions.len(), 2);
    assert_eq!((&versions[0]["size"], &versions[0]["first"]), (&6.into(), &before.clone().into()));
    assert_eq!((&versions[1]["size"], &versions[1]["snapshots"]), (&14.into(), &vec![after.clone()].into()));
    let same = site.on_store(&["find", "readme", "--json"]).exits(0).json();
    assert_eq!(same["versions"].as_array().map(Vec::len), Some(1), "another mode is no other version");
    assert_eq!((&same["versions"][0]["first"], &same["versions"][0]["last"]), (&before.clone().into(), &after.into()));
    let paths = |arguments: &[&str]| -> Vec<String> {
        let ran = site.on_store(&[&["find", "--json"], arguments].concat());
        lines(&ran).iter().filter_map(|line| line["path"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(paths(&["*.txt", "--in", &before]), ["2020/plan.txt"]);
    assert_eq!(paths(&["*", "--larger", "8B"]), ["2019/invoices/january.pdf", "2020/plan.txt"]);
    assert_eq!(paths(&["*", "--smaller", "4B"]), ["2020/new.txt"]);
    assert_eq!(paths(&["*", "--older", "2026-11-20 14:01"]), ["2019/invoices/january.pdf"]);
    assert!(!paths(&["*.pdf", "--newer", "2026-11-20 14:01"]).contains(&"2019/invoices/january.pdf".to_owned()));
    assert_eq!(paths(&["2*", "--type", "folder"]), ["2019", "2020"]);
    assert_eq!(paths(&["/2019/**"]).len(), 3);
    site.on_store(&["find", "*", "--in", "latest"]).exits(0).says("./\n");
    site.on_store(&["find", "--help"]).exits(0).says("`**/2019/*.pdf`").says("`found`");
    let pasted = site.source().join("2019/invoices/*.pdf");
    assert_eq!(paths(&[pasted.to_str().expect("UTF-8")]).len(), 2, "a path as it was on the machine");
}

#[test]
fn times_are_read_and_shown_in_the_zone_of_the_configuration() {
    let site = Site::new();
    site.file("a", "a");
    dated(&site.source().join("a"));
    site.run(&[]).exits(0);
    let config = site.path().join("here.yaml");
    let store = site.store();
    let text = format!(
        "timezone: Europe/Berlin\nstores: {{here: {{path: {:?}}}}}\njobs: {{upload: {{source: {:?}}}}}\n",
        store,
        site.source()
    );
    fs::write(&config, text).expect("written");
    let ask = |arguments: &[&str]| {
        let config = config.to_str().expect("UTF-8");
        site.backup([&["--config", config], arguments].concat())
    };
    ask(&["ls", "-l", "latest"]).exits(0).says("2026-11-20 15:00:05 CET a");
    ask(&["find", "a", "--older", "2026-11-20 15:01"]).exits(0).says("2026-11-20 15:00:05 CET  in upload-");
    ask(&["find", "a", "--older", "2026-11-20 15:00"]).exits(1);
    ask(&["find", "a", "--older", "2026-11-20 14:01Z"]).exits(0);
    // also where the store's folder is named, for which a configuration that cannot be read is no trouble
    let by_folder = || {
        let mut command = site.command(["ls", "-l", "latest", "--store"]);
        Ran::from(command.arg(&store).env("BACKUP_CONFIG", &config).output().expect("the binary starts"))
    };
    by_folder().exits(0).says("2026-11-20 15:00:05 CET a");
    fs::write(&config, "stores: [").expect("written");
    by_folder().exits(0).says("2026-11-20 14:00:05 UTC a");
}

#[test]
fn every_kind_of_entry_and_every_name_is_shown_and_none_drives_the_terminal() {
    let site = Site::new();
    let source = site.source();
    site.file("file", "x").file("folder/deep", "y");
    fs::write(source.join(OsStr::from_bytes(b"odd\x1b[2J\xff")), "z").expect("written");
    symlink("/no\x1bwhere", source.join("link")).expect("linked");
    fs::hard_link(source.join("file"), source.join("twin")).expect("linked");
    fs::set_permissions(source.join("file"), fs::Permissions::from_mode(0o4751)).expect("changed");
    for name in ["file", "link"] {
        dated(&source.join(name));
    }
    site.run(&[]).exits(0);
    let plain = site.on_store(&["ls", "latest"]).exits(0);
    assert_eq!(plain.out, "file\nfolder/\nlink\nodd\\u{1b}[2J\\xff\ntwin\n");
    let deep = site.on_store(&["ls", "-R", "latest"]).exits(0);
    assert!(deep.out.contains("folder/\nfolder/deep\n"), "{}", deep.out);
    let long = site.on_store(&["ls", "-l", "latest"]).exits(0).does_not_say("\x1b");
    for text in
        ["-rwsr-x--x", "drwx", "lrwxrwxrwx", "2026-11-20 14:00:05 UTC link -> /no\\u{1b}where", "twin link to file"]
    {
        assert!(long.out.contains(text), "`{text}` is not in\n{}", long.out);
    }
    let one = site.on_store(&["ls", "latest", "folder/deep"]).exits(0);
    assert_eq!(one.out, "folder/deep\n");
    let json = lines(&site.on_store(&["ls", "latest", "--json"]).exits(0));
    let odd = json.iter().find(|line| line["path_hex"].is_string()).expect("the odd one");
    assert_eq!(odd["path_hex"], "6f64641b5b324aff");
    assert!(json.iter().all(|line| line["type"] == "entry" && line["mode"].is_string()));
    assert_eq!(json.iter().find(|line| line["path"] == "twin").expect("there")["target"], "file");
}

#[test]
fn several_sources_are_listed_from_their_folders_down() {
    let site = Site::new();
    site.file("one/a", "a");
    fs::create_dir_all(site.path().join("else/two")).expect("a folder");
    fs::write(site.path().join("else/two/b"), "b").expect("a file");
    let second = site.path().join("else/two");
    let both = ["--source", second.to_str().expect("UTF-8"), "--job", "upload"];
    site.run(&both).exits(0);
    let mut folder = String::new();
    for part in site.path().iter().skip(1) {
        let listed = site.on_store(&["ls", "latest", &format!("/{folder}")]).exits(0);
        assert_eq!(listed.out, format!("{}/\n", part.to_string_lossy()));
        folder = format!("{folder}{}/", part.to_string_lossy());
    }
    assert_eq!(site.on_store(&["ls", "latest", &folder]).exits(0).out, "else/\nupload/\n");
    assert_eq!(site.on_store(&["ls", "latest", second.to_str().expect("UTF-8")]).exits(0).out, "b\n");
}

#[test]
fn what_could_not_be_read_is_not_told_as_deleted() {
    if !is_root("another user cannot be had") || !has("setpriv", "a run as another user") {
        return;
    }
    let site = Site::new();
    site.file("open", "o").file("closed", "c").file("folder/hidden", "h");
    let run_as_nobody = || -> Ran {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(env!("CARGO_BIN_EXE_backup"));
        command.arg("--state-dir").arg(site.path().join("state")).args(["run", "--source"]).arg(site.source());
        command.arg("--to").arg(site.store()).output().expect("setpriv starts").into()
    };
    for path in ["", "upload", "upload/open", "upload/closed", "upload/folder", "upload/folder/hidden"] {
        chown(site.path().join(path), Some(65534), Some(65534)).expect("an owner");
    }
    let whole = run_as_nobody();
    if whole.err.contains("execve") || whole.code == Some(127) {
        eprintln!("SKIPPED: another user cannot reach the binary");
        return;
    }
    whole.exits(0);
    for name in ["closed", "folder"] {
        fs::set_permissions(site.source().join(name), fs::Permissions::from_mode(0o000)).expect("a mode");
    }
    run_as_nobody().exits(3);
    let before = name_of(&site.snapshots()[0]);
    let differs = site.on_store(&["diff", &before, "latest"]).exits(0);
    let differs = differs.says("? closed (in B it, or a folder above it, could not be read)").does_not_say("\n- ");
    differs.says("? folder/hidden (in B").says("0 removed (0 B)").says("2 that one of them could not read");
    site.on_store(&["diff", &before, "latest", "folder"]).exits(0).says("? folder/hidden");
    site.on_store(&["ls", "latest", "folder/hidden"]).exits(1).says("folder could not be listed completely when");
    site.on_store(&["ls", "latest"]).exits(0).says("not as they should be: 2;").says("--skipped");
    site.on_store(&["ls", "-l", "latest", "folder"]).exits(0).says("skipped: folder: could not be listed completely");
    site.on_store(&["find", "closed"]).exits(0).says("missing in").says("it could not be read");
}

/// A reader that goes away is no failure; a disk that takes nothing is one.
#[test]
fn output_that_nobody_reads_ends_early_and_output_that_is_lost_is_told() {
    let site = Site::new();
    for number in 0..3000 {
        site.file(&format!("{}-{number:05}", "a long name to fill the pipe with".repeat(4)), "");
    }
    site.run(&[]).exits(0);
    for verb in [&["ls", "-l", "latest"][..], &["find", "*"]] {
        let mut command = site.command(verb);
        command.arg("--store").arg(site.store()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("it ends");
        assert!(ended.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&ended.stderr));
        if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
            let mut command = site.command(verb);
            let lost: Ran =
                command.arg("--store").arg(site.store()).stdout(full).output().expect("the binary starts").into();
            lost.exits(1).says("could not be written to the end");
        }
    }
}

#[test]
fn a_damaged_manifest_is_told_and_the_others_are_searched() {
    let (site, before, after) = bereaved();
    let harmed = site.job().join(&after).join("manifest.jsonl.zst");
    let mut bytes = fs::read(&harmed).expect("a manifest");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4].fill(0xee);
    fs::write(&harmed, bytes).expect("harmed");
    let found = site.on_store(&["find", "january.pdf"]).exits(4);
    found.says(&format!("in {before}")).says(&format!("manifest.jsonl.zst of snapshot {after} is damaged"));
    site.on_store(&["diff", &before, &after]).exits(4).says("is damaged");
}
