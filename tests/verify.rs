//! Verifying: what each level finds and what it cannot find, what damage costs, and what is remembered of it.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod faults;
mod site;

use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use backup::archive::{TarHeader, TarKind};
use backup::catalog::{Catalog, CatalogError, Record};
use backup::domain::{Cancel, EntryPath, FileTime, Level, Owner, SnapshotName, Xattrs};
use backup::observe::Silent;
use backup::store::{FolderStore, Permissions, RequireMount};
use backup::verify::{Known, Options, Terms, compare, verify};
use faults::Faulty;
use site::forge::{Forged, guide, list, sum};
use site::tree::{awkward, noise, set_mtime, sparse};
use site::{Site, has, is_root, names_in};

fn catalog(site: &Site) -> (Catalog, SnapshotName) {
    let store = FolderStore::open(&site.store(), &RequireMount::No, Permissions::default(), None).expect("a store");
    let catalog = Catalog::new(Arc::new(store.store), "upload".parse().expect("a name"));
    let name = catalog.find("latest").expect("a snapshot");
    (catalog, name)
}

/// Three files, the middle one in several frames.
fn plain() -> Site {
    let site = Site::new();
    site.file("a", noise(1, 3000)).file("b", noise(2, 3_000_000)).file("c", noise(3, 700)).file("d/e", "e");
    site.run(&["--compression", "none"]).exits(0);
    site
}

fn member(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    TarHeader {
        path: &EntryPath::parse(path.as_bytes()).expect("a path"),
        kind: TarKind::File { size: 600 },
        mode: 0o644,
        uid: 0,
        gid: 0,
        owner: &Owner::default(),
        mtime: FileTime { sec: 1, nsec: 0 },
        xattrs: &Xattrs::default(),
    }
    .encode(&mut bytes);
    bytes.extend_from_slice(&[b'x'; 600]);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A header that counts for all that follow, with a comment in it.
fn global_header() -> Vec<u8> {
    let mut bytes = member("global")[..512].to_vec();
    bytes[156] = b'g';
    bytes[124..136].copy_from_slice(b"00000000015\0");
    bytes[148..156].copy_from_slice(b"        ");
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.extend_from_slice(b"13 comment=x\n");
    bytes.resize(1024, 0);
    bytes
}

#[test]
fn every_level_is_well_with_an_awkward_tree_and_every_codec() {
    for codec in ["zstd", "gzip", "none"] {
        let site = Site::new();
        awkward(&site.source());
        sparse(&site.source().join("large holes"), 64 << 20, &[(1 << 20, 5000), (9 << 20, 3_500_000)]);
        site.file("large", noise(7, 5_000_000)).file("empty", "");
        site.run(&["--compression", codec]).exits(0);
        site.on_store(&["verify", "--quick"]).exits(0).says("well (quick");
        site.on_store(&["verify"]).exits(0).says("well (stored");
        site.on_store(&["verify", "--deep"]).exits(0).says("well (deep");
        let scratch = site.path().join("scratch");
        let ran = site.on_store(&["verify", "--drill", "--scratch", scratch.to_str().expect("UTF-8")]).exits(0);
        ran.says("well (drill");
        assert_eq!(names_in(&scratch), [] as [&str; 0], "the scratch folder is removed");
        site.on_store(&["verify", "--drill"]).exits(0);
        assert_eq!(names_in(&site.path().join("state")).iter().filter(|name| name.contains("drill")).count(), 0);
    }
}

#[test]
fn quick_sees_what_is_missing_or_cut_and_reads_no_volume() {
    let site = plain();
    let volume = site.volume();
    let whole = fs::read(&volume).expect("a volume");
    let mut harmed = whole.clone();
    harmed[1_500_000] ^= 1;
    fs::write(&volume, &harmed).expect("written");
    site.on_store(&["verify", "--quick"]).exits(0);
    fs::write(&volume, &whole[..whole.len() - 512]).expect("written");
    site.on_store(&["verify", "--quick"]).exits(4).says("bytes, and");
    fs::remove_file(&volume).expect("removed");
    site.on_store(&["verify", "--quick"]).exits(4).says("it is missing");
    for level in ["--deep", "--drill"] {
        site.on_store(&["verify", level]).exits(4).says("it is missing");
    }
}

/// What a forger changes, and what deep says of it. Every checksum is right.
#[test]
fn deep_tells_every_lie_that_checksums_cannot_see() {
    type Forge = fn(&mut Forged);
    let lies: [(&str, &str, Forge); 17] = [
        ("a member before the first", "holds stranger", |f| f.insert(0, &member("stranger"))),
        ("a member between", "holds stranger", |f| {
            let at = f.entry("c").placed.offset;
            f.insert(at, &member("stranger"));
        }),
        ("a known name twice", "holds a,", |f| {
            let at = f.entry("c").placed.offset;
            f.insert(at, &member("a"));
        }),
        ("a member behind the last", "holds stranger", |f| {
            let at = f.raw.len() as u64 - 1024;
            f.insert(at, &member("stranger"));
        }),
        ("a member behind the end", "behind its end marker", |f| f.raw.extend(member("stranger"))),
        ("zeros behind the end", "zeros behind its end marker", |f| f.raw.extend([0; 512])),
        ("no end", "end marker is not there", |f| f.raw.truncate(f.raw.len() - 1024)),
        ("half an end", "end marker is not there or not whole", |f| f.raw.truncate(f.raw.len() - 512)),
        ("an end in the middle", "end marker stands between", |f| {
            let at = f.entry("c").placed.offset;
            f.insert(at, &[0; 1024]);
        }),
        ("a header for all that follow, hidden in an entry", "the place of c", |f| {
            let at = f.entry("c").placed.offset;
            f.insert(at, &global_header());
            f.entry("c").placed.offset = at;
        }),
        ("a content that ends earlier", "the place of c", |f| {
            let body = f.entry("c").placed.body as usize;
            let sha256 = backup::domain::Digest::of(&f.raw[body..body + 600]);
            let entry = f.entry("c");
            (entry.placed.stored, entry.sha256) = (600, Some(sha256));
        }),
        ("another mode", "the mode of c", |f| f.entry("c").mode ^= 0o100),
        ("another time", "the time of b", |f| f.entry("b").mtime.nsec ^= 1),
        ("another content of a small file", "the content of c", |f| {
            f.entry("c").sha256 = Some(backup::domain::Digest::of(b"lie"));
        }),
        ("another content of a large file", "the content of b", |f| {
            f.entry("b").sha256 = Some(backup::domain::Digest::of(b"lie"));
        }),
        ("something in the padding", "in the padding of c", |f| {
            let placed = f.entry("c").placed;
            f.raw[(placed.body + placed.stored) as usize] = 1;
        }),
        ("an entry that the manifest leaves out", "holds c,", |f| {
            f.lines.retain(|line| line.path().to_string() != "c");
        }),
    ];
    for (lie, said, forge) in lies {
        let site = plain();
        let mut forged = Forged::read(&site.newest());
        forge(&mut forged);
        // a volume is cut into frames anywhere: nothing may depend on where
        forged.frame_bytes = 700_000;
        let leaves_out = lie.contains("leaves out");
        forged.write();
        eprintln!("{lie}");
        if !leaves_out {
            // the record counts another number of entries, and that is seen without opening the volume
            site.on_store(&["verify"]).exits(0);
        }
        site.on_store(&["verify", "--deep"]).exits(4).says(said);
    }
}

#[test]
fn what_a_stale_list_names_may_lie_in_a_volume() {
    let site = plain();
    let mut forged = Forged::read(&site.newest());
    let at = forged.entry("c").placed.offset;
    forged.insert(at, &member("old/one"));
    forged.write();
    site.on_store(&["verify", "--deep"]).exits(4).says("holds old/one");
    list(&site.newest(), 0, b"old/one\n");
    site.on_store(&["verify", "--deep"]).exits(0);
    list(&site.newest(), 0, b"old/two\n");
    site.on_store(&["verify", "--deep"]).exits(4).says("holds old/one");
}

#[test]
fn deep_compares_the_table_of_frames_and_names_what_lies_in_a_damaged_one() {
    let site = Site::new();
    for number in 0..6 {
        site.file(&format!("file {number}"), noise(number, 900_000));
    }
    site.run(&[]).exits(0);
    let volume = site.volume();
    let whole = fs::read(&volume).expect("a volume");
    let mut harmed = whole.clone();
    harmed[2_500_000] ^= 1;
    fs::write(&volume, &harmed).expect("written");
    let ran = site.on_store(&["verify", "--deep"]).exits(4).says("frame ").says("entries lie in it").says("file 2");
    ran.does_not_say("file 5");
    let mut harmed = whole.clone();
    let last = harmed.len() - 9 - 1;
    harmed[last] ^= 1;
    fs::write(&volume, &harmed).expect("written");
    site.on_store(&["verify", "--deep"]).exits(4).says("table of frames tells another checksum");
    harmed[last] ^= 1;
    harmed[last - 8] ^= 1;
    fs::write(&volume, &harmed).expect("written");
    site.on_store(&["verify", "--deep"]).exits(4).says("other frames than the manifest");
}

#[test]
fn a_volume_that_snapshots_share_is_read_once_and_its_damage_names_them_all() {
    let site = plain();
    let other: SnapshotName = "upload-20300101T000000Z".parse().expect("a name");
    let forged = Forged::read(&site.newest());
    let first = forged.header.snapshot.clone();
    forged.linked_as(&other).write();
    let again: SnapshotName = "upload-20310101T000000Z".parse().expect("a name");
    Forged::read(&site.newest()).linked_as(&again).write();
    // the forger cut it into other frames than the run: the first promises something else of it than the others
    let ran = site.on_store(&["verify", "--all"]).exits(0);
    assert_eq!(ran.out.matches("1 volume read before").count(), 1, "{}", ran.out);
    // a copy is another file, and may be damaged where the first is not
    let (volume, aside) = (site.volume(), site.path().join("aside"));
    fs::rename(&volume, &aside).expect("renamed");
    fs::copy(&aside, &volume).expect("a copy");
    site.on_store(&["verify", "--all"]).exits(0).does_not_say("read before");
    fs::remove_file(&volume).expect("removed");
    fs::rename(&aside, &volume).expect("renamed");
    let volume = site.volume();
    let mut harmed = fs::read(&volume).expect("a volume");
    harmed[1_500_000] ^= 1;
    fs::write(&volume, &harmed).expect("written");
    let ran = site.on_store(&["verify", again.as_str()]).exits(4).says("is a part of these snapshots too");
    let ran = ran.says(other.as_str()).says(first.as_str()).says("entries lie in it").says("    b");
    ran.does_not_say("    c");
    // damage that is known is told of each of them
    let ran = site.on_store(&["verify", "--all"]).exits(4);
    assert_eq!(ran.err.matches("entries lie in it").count(), 3, "{}", ran.err);
}

#[test]
fn a_drill_tells_every_difference_there_can_be() {
    if !is_root("owners") {
        return;
    }
    let site = Site::new();
    site.file("dir/file", noise(1, 5000)).file("text", "text").file("two names", "x");
    fs::hard_link(site.source().join("two names"), site.source().join("two names 2")).expect("a link");
    std::os::unix::fs::symlink("text", site.source().join("link")).expect("a link");
    sparse(&site.source().join("holes"), 10 << 20, &[(1 << 20, 5000)]);
    site.run(&[]).exits(0);
    let (catalog, name) = catalog(&site);
    type Change = fn(&Path);
    let changes: [(&str, &str, Change); 13] = [
        ("text", "content", |to| {
            let time = fs::metadata(to.join("text")).expect("there").modified().expect("a time");
            fs::write(to.join("text"), "tExt").expect("written");
            let file = fs::File::options().write(true).open(to.join("text")).expect("opened");
            file.set_modified(time).expect("set");
        }),
        ("text", "length", |to| fs::write(to.join("text"), "longer").expect("written")),
        ("text", "time", |to| set_mtime(&to.join("text"), 1, 1)),
        ("dir", "time", |to| set_mtime(&to.join("dir"), 1, 1)),
        ("text", "mode", |to| fs::set_permissions(to.join("text"), fs::Permissions::from_mode(0o4755)).expect("set")),
        ("text", "owner", |to| std::os::unix::fs::lchown(to.join("text"), Some(7), None).expect("set")),
        ("link", "target", |to| {
            fs::remove_file(to.join("link")).expect("removed");
            std::os::unix::fs::symlink("else", to.join("link")).expect("a link");
        }),
        ("dir/file", "is not there", |to| fs::remove_file(to.join("dir/file")).expect("removed")),
        ("dir/new", "not in the snapshot", |to| fs::write(to.join("dir/new"), "").expect("written")),
        ("two names 2", "first name", |to| {
            fs::copy(to.join("two names 2"), to.join("copy")).expect("a copy");
            fs::rename(to.join("copy"), to.join("two names 2")).expect("renamed");
        }),
        ("text", "is a folder", |to| {
            fs::remove_file(to.join("text")).expect("removed");
            fs::create_dir(to.join("text")).expect("a folder");
        }),
        ("holes", "holes are filled", |to| {
            let bytes = fs::read(to.join("holes")).expect("read");
            fs::remove_file(to.join("holes")).expect("removed");
            fs::write(to.join("holes"), bytes).expect("written");
        }),
        ("holes", "data where it has a hole", |to| {
            use std::os::unix::fs::FileExt;
            let file = fs::File::options().write(true).open(to.join("holes")).expect("opened");
            file.write_all_at(b"x", 5 << 20).expect("written");
        }),
    ];
    let terms = Terms { privileged: true, threads: NonZeroUsize::MIN };
    for (number, (path, said, change)) in changes.into_iter().enumerate() {
        let to = site.path().join(format!("out {number}"));
        site.on_store(&["restore", "--privileged", "--to", to.to_str().expect("UTF-8"), "latest"]).exits(0);
        let same = compare(&catalog, &name, &to, terms, &Cancel::new(), &Silent).expect("compared");
        assert_eq!(same.differences, [], "{path}: {said}");
        change(&to);
        let compared = compare(&catalog, &name, &to, terms, &Cancel::new(), &Silent).expect("compared");
        let told = compared.differences.iter().any(|d| d.path.to_string() == path && d.what.contains(said));
        assert!(told, "{path}: {said} in {:?}", compared.differences);
    }
}

fn verified_files(site: &Site) -> Vec<String> {
    names_in(&site.job().join(".verified"))
}

#[test]
fn samples_take_turns_until_everything_was_read_and_damage_in_one_part_is_not_forgotten_for_another() {
    let site = Site::new();
    site.file("a", noise(1, 11_500_000)).run(&["--compression", "none"]).exits(0);
    let volume = site.volume();
    let whole = fs::read(&volume).expect("a volume");
    let mut harmed = whole.clone();
    harmed[5_000_000] ^= 1;
    fs::write(&volume, &harmed).expect("written");
    for level in [&[][..], &["--deep"]] {
        let (mut parts, mut damaged, mut frames) = (Vec::new(), Vec::new(), 0);
        for _ in 0..4 {
            let ran = site.on_store(&[&["verify", "--sample", "25%", "--json"], level].concat());
            let json = ran.json();
            parts.push(json["part"]["number"].as_u64().expect("a number"));
            damaged.push(ran.code == Some(4));
            frames += json["frames"].as_u64().expect("a number");
        }
        assert_eq!(parts, [1, 2, 3, 4]);
        // the file lies in all frames: deep compares it with the part in which it begins
        let expected = if level.is_empty() { [false, true, false, false] } else { [true, true, false, false] };
        assert_eq!(damaged, expected, "{level:?}");
        let all = Forged::read(&site.newest()).volume.frames;
        assert!(level.len() == 1 || frames == all, "{frames} of {all}");
    }
    site.on_store(&["list"]).exits(0).says("DAMAGED, ");
    fs::write(&volume, &whole).expect("written");
    site.on_store(&["verify", "--quick"]).exits(0);
    site.on_store(&["list"]).exits(0).says("DAMAGED, ");
    site.on_store(&["verify", "--deep"]).exits(0);
    site.on_store(&["list"]).exits(0).does_not_say("DAMAGED").says("deep, ");
    site.on_store(&["verify", "--sample", "0%"]).exits(2);
    site.on_store(&["verify", "--sample", "25%", "--drill"]).exits(2);
}

#[test]
fn what_was_verified_is_remembered_in_the_store_as_long_as_it_counts() {
    let site = plain();
    site.on_store(&["list"]).exits(0).says("VERIFIED").says("never");
    for (level, said) in [("--quick", "quick, "), ("--deep", "deep, "), ("--quick", "deep, ")] {
        site.on_store(&["verify", level]).exits(0);
        site.on_store(&["list"]).exits(0).says(said).does_not_say("never");
    }
    for level in ["--quick", "--deep", "--quick", "--deep"] {
        site.on_store(&["verify", level]).exits(0);
    }
    assert_eq!(verified_files(&site).len(), 1, "the last deep one says all that the others said");
    let json = site.on_store(&["list", "--json"]).exits(0).json();
    assert_eq!((&json["verified"]["level"], &json["verified"]["damages"]), (&"deep".into(), &0.into()));
    // of a snapshot that is gone nothing is known any more
    let old = site.newest();
    let other: SnapshotName = "upload-20300101T000000Z".parse().expect("a name");
    Forged::read(&old).linked_as(&other).write();
    fs::remove_dir_all(&old).expect("removed");
    site.on_store(&["verify"]).exits(0);
    assert_eq!(verified_files(&site), [format!("{other}.00000001.json")]);
    // what cannot be understood proves nothing
    fs::write(site.job().join(".verified").join(format!("{other}.00000001.json")), "{").expect("written");
    site.on_store(&["list"]).exits(0).says("never");
}

#[test]
fn a_store_that_takes_nothing_is_verified_all_the_same() {
    let site = plain();
    fs::write(site.job().join(".verified"), "in the way").expect("written");
    site.on_store(&["verify"]).exits(0).says("well (stored").says("could not be remembered in the store");
    fs::remove_file(site.job().join(".verified")).expect("removed");
    site.on_store(&["list"]).exits(0).says("never");
}

#[test]
fn ci_gets_a_test_case_for_each_snapshot_and_the_damage_as_its_text() {
    let site = plain();
    let other: SnapshotName = "upload-20300101T000000Z".parse().expect("a name");
    Forged::read(&site.newest()).linked_as(&other).write();
    let report = site.path().join("report.xml");
    let arguments = ["verify", "--all", "--junit", report.to_str().expect("UTF-8")];
    site.on_store(&arguments).exits(0);
    let text = fs::read_to_string(&report).expect("a report");
    assert!(text.contains(r#"tests="2""#) && text.contains(r#"failures="0""#), "{text}");
    let mut harmed = fs::read(site.volume()).expect("a volume");
    harmed[1_500_000] ^= 1;
    fs::write(site.volume(), &harmed).expect("written");
    site.on_store(&arguments).exits(4);
    let text = fs::read_to_string(&report).expect("a report");
    assert!(text.contains(r#"failures="2""#) && text.contains("is damaged: its bytes differ"), "{text}");
    // damage is not hidden by a report that cannot be written
    site.on_store(&["verify", "--junit", "/proc/none/report.xml"]).exits(4).says("could not be written");
}

#[test]
fn a_verification_that_fails_leaves_a_report_that_says_so() {
    let site = plain();
    let report = site.path().join("report.xml");
    fs::write(site.path().join("no folder"), "").expect("written");
    let scratch = site.path().join("no folder/scratch");
    let (scratch, path) = (scratch.to_str().expect("UTF-8"), report.to_str().expect("UTF-8"));
    fs::write(&report, "of yesterday: all is well").expect("written");
    site.on_store(&["verify", "--drill", "--scratch", scratch, "--junit", path]).exits(1).says("no scratch folder");
    let text = fs::read_to_string(&report).expect("a report");
    assert!(text.contains(r#"errors="1""#) && text.contains(r#"failures="0""#), "{text}");
    assert!(text.contains("was not verified to its end") && text.contains("no scratch folder could be made"), "{text}");
}

#[test]
fn a_drill_of_an_ordinary_user_is_well_and_says_what_it_could_not_compare() {
    if !is_root("becoming another user") || !has("setpriv", "becoming another user") {
        return;
    }
    let site = Site::new();
    site.file("folder/read-only/file", "x").file("text", "t".repeat(3_000_000)).file("odd", "o");
    fs::create_dir(site.source().join("closed")).expect("a folder");
    std::os::unix::fs::symlink("text", site.source().join("link")).expect("a link");
    fs::hard_link(site.source().join("text"), site.source().join("folder/text")).expect("a link");
    sparse(&site.source().join("holes"), 10 << 20, &[(1 << 20, 5000)]);
    for (path, mode) in [("odd", 0o200), ("closed", 0), ("folder/read-only/file", 0o4755), ("folder/read-only", 0o555)]
    {
        fs::set_permissions(site.source().join(path), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    // made by root, of files that are root's; drilled by somebody who may read the store
    site.run(&[]).exits(0);
    let store = site.store();
    let script = ["-ec", "chown -R 65534:65534 store; chmod 755 ."];
    let opened = Command::new("sh").args(script).current_dir(site.path()).status().expect("sh starts");
    assert!(opened.success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(env!("CARGO_BIN_EXE_backup"));
    let scratch = tempfile::tempdir().expect("a folder");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
    command.args(["verify", "--drill", "--scratch"]).arg(scratch.path()).arg("--store").arg(store);
    command.arg("--state-dir").arg(scratch.path().join("state")).env_clear().current_dir("/");
    let ran: site::Ran = command.output().expect("setpriv starts").into();
    if ran.code == Some(126) || ran.code == Some(127) {
        eprintln!("SKIPPED: another user cannot reach the binary");
        return;
    }
    ran.exits(0).says("well (drill").says("owners and attributes were not compared");
    assert_eq!(names_in(scratch.path()), [] as [&str; 0], "also a folder that may not be written is removed");
}

/// A snapshot of two volumes of one run and one of the next, with a list beside the earlier ones.
fn linked() -> Site {
    let site = Site::new();
    for number in 0..40 {
        site.file(&format!("{:02}", number), noise(number, 60_000));
    }
    site.run(&["--compression", "none", "--volume-size", "1500kB"]).exits(0);
    site.file("05", "changed").file("35", "changed");
    site.run(&["--compression", "none", "--volume-size", "1500kB"]).exits(0);
    assert!(record(&site.newest()).volumes.len() > 2, "{:?}", names_in(&site.newest()));
    site
}

fn record(snapshot: &Path) -> Record {
    serde_json::from_slice(&fs::read(snapshot.join("snapshot.json")).expect("a record")).expect("a record")
}

fn at_all_levels(site: &Site, said: &str) {
    for level in [&["--quick"][..], &[], &["--deep"], &["--drill"]] {
        site.on_store(&[&["verify", "latest"], level].concat()).exits(4).says(said);
    }
}

/// A guide without its `-X` restored what had gone long ago, and was well at all levels when its checksum was made anew.
#[test]
fn a_guide_that_is_not_the_one_of_its_record_is_damage_at_every_level() {
    let site = linked();
    site.on_store(&["verify", "--deep"]).exits(0);
    let path = site.newest().join("RESTORE.txt");
    let text = fs::read_to_string(&path).expect("a guide");
    let at = text.find("-X ").expect("a list");
    let end = at + text[at + 3..].find(' ').expect("an end") + 4;
    fs::write(&path, format!("{}{}", &text[..at], &text[end..])).expect("written");
    sum(&site.newest());
    at_all_levels(&site, "RESTORE.txt: it is not the guide");
    // another version of this program may have said it otherwise
    let mut other = record(&site.newest());
    other.tool = "backup 0.0.0".into();
    fs::write(site.newest().join("snapshot.json"), serde_json::to_vec(&other).expect("JSON")).expect("written");
    sum(&site.newest());
    site.on_store(&["verify", "--deep"]).exits(0);
}

#[test]
fn a_record_that_tells_another_run_or_codec_or_list_of_a_volume_than_its_name_is_damage_at_every_level() {
    type Forge = fn(&mut Record);
    let lies: [(&str, Forge); 4] = [
        ("is not that of a volume of upload-20300101T000000Z", |record| {
            record.volumes[0].written_by = "upload-20300101T000000Z".parse().expect("a name");
        }),
        ("is not that of a volume of", |record| record.volumes[0].codec = backup::archive::Codec::default()),
        ("it does not know of", |record| record.volumes[0].stale = None),
        ("is not the list of", |record| record.volumes[0].stale = record.volumes[1].stale.clone()),
    ];
    for (said, forge) in lies {
        let site = linked();
        let mut forged = record(&site.newest());
        forge(&mut forged);
        fs::write(site.newest().join("snapshot.json"), serde_json::to_vec(&forged).expect("JSON")).expect("written");
        guide(&site.newest());
        sum(&site.newest());
        at_all_levels(&site, said);
    }
}

/// `RESTORE.txt` unpacks all volumes of a run with all their lists, so a name in the list of another of them counts too.
#[test]
fn a_list_that_names_what_lies_in_any_volume_of_its_run_is_damage_at_every_level() {
    let site = linked();
    let volumes = record(&site.newest()).volumes;
    assert_eq!(volumes[0].written_by, volumes[1].written_by);
    assert!(Forged::read(&site.newest()).entry("39").placed.volume > 0, "it lies in another volume than the list's");
    let stale = volumes[0].clone().stale.expect("a list").name;
    let text = fs::read_to_string(site.newest().join(&stale)).expect("a list");
    assert_eq!(text, ".\n05\n");
    site.on_store(&["verify", "--deep", "latest"]).exits(0);
    list(&site.newest(), 0, b".\n05\n39\n");
    at_all_levels(&site, "it names 39, which this snapshot uses");
    for (text, said) in [
        (&b"05\n.\n"[..], "its names are not in order"),
        (b".\n05\n05\n", "its names are not in order"),
        (b".\n05\n3*\n", "a line of it is no name"),
        (b".\n05\n40\n3*\n", "a line of it is no name"),
    ] {
        list(&site.newest(), 0, text);
        at_all_levels(&site, said);
    }
    list(&site.newest(), 0, b".\n05\n");
    site.on_store(&["verify", "--deep"]).exits(0);
    fs::write(site.newest().join(&stale), ".\n06\n").expect("written");
    at_all_levels(&site, "its bytes are not those");
}

/// Lists were read whole, through the bound of small files: one of 81 MB was called damage.
#[test]
fn a_snapshot_that_is_removed_at_any_moment_of_its_verification_is_not_told_as_damaged() {
    let site = linked();
    let (_, name) = catalog(&site);
    let (folder, aside) = (site.newest(), site.job().join(format!(".trash/20261122T000000Z-{name}")));
    fs::create_dir(site.job().join(".trash")).expect("a trash");
    let open = || FolderStore::open(&site.store(), &RequireMount::No, Permissions::default(), None).expect("a store");
    for level in [Level::Quick, Level::Stored, Level::Deep] {
        let (mut whole, mut removed) = (0, 0);
        for call in 1_u64.. {
            let (from, to) = (folder.clone(), aside.clone());
            let coat = Faulty::meanwhile(Arc::new(open().store), call, move || {
                fs::rename(from, to).expect("moved to the trash");
            });
            let catalog = Catalog::new(Arc::new(coat), "upload".parse().expect("a name"));
            let options = Options::at(level, NonZeroUsize::MIN);
            match verify(&catalog, &name, &options, &Known::default(), &Cancel::new(), &Silent) {
                Ok(report) => {
                    assert_eq!(report.damages, [], "{level:?}, call {call}");
                    whole += 1;
                }
                Err(CatalogError::NoSnapshot { .. }) => removed += 1,
                Err(error) => panic!("{level:?}, call {call}: {error}"),
            }
            if !aside.exists() {
                break;
            }
            fs::rename(&aside, &folder).expect("back again");
        }
        assert!(removed >= 5 && whole >= 1, "{level:?}: {removed} {whole}");
    }
}

#[test]
fn a_record_that_this_user_may_not_read_is_not_listed_as_damage() {
    if !is_root("reading as another user") {
        return;
    }
    let site = plain();
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o777)).expect("set");
    assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(site.store()).status().expect("chmod starts").success());
    let list = || site.as_another_user("$B --state-dir state-of-another list --store store");
    let Some(ran) = list() else { return };
    ran.exits(0);
    let record = site.newest().join("snapshot.json");
    fs::set_permissions(record, fs::Permissions::from_mode(0o600)).expect("set");
    let ran = list().expect("as before").exits(1);
    ran.says("snapshot.json was not permitted").does_not_say("DAMAGED");
}

/// The command is held up behind its first result, by a pipe that is full.
#[test]
fn all_others_are_verified_though_one_is_removed_meanwhile() {
    let site = plain();
    for content in ["b", "c"] {
        site.file("a", content).run(&[]).exits(0);
    }
    let (second, junit) = (site.snapshots().remove(1), site.path().join("junit.xml"));
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[b' '; 65_536]).expect("as much as a pipe takes");
    let mut command = site.command(["verify", "--all", "--json", "--junit"]);
    command.arg(&junit).arg("--store").arg(site.store()).stdout(writer);
    let mut running = command.spawn().expect("the binary starts");
    drop(command);
    let verified = site.job().join(".verified");
    while !verified.exists() || names_in(&verified).is_empty() {
        assert!(running.try_wait().expect("it runs").is_none(), "it ended before it was done");
        std::thread::yield_now();
    }
    fs::rename(&second, site.path().join("aside")).expect("removed");
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("what is said");
    assert_eq!(running.wait().expect("it ends").code(), Some(0), "{said}");
    assert_eq!(said.matches("\"well\":true").count(), 2, "{said}");
    assert!(fs::read_to_string(junit).expect("a report").contains("it was removed meanwhile"));
}

#[test]
fn a_list_of_any_length_is_read() {
    let site = linked();
    let mut text = b".\n05\n".to_vec();
    let long = "n".repeat(100_000);
    for number in 0..700 {
        text.extend_from_slice(format!("41 {number:03} {long}\n").as_bytes());
    }
    assert!(text.len() > 64 << 20);
    list(&site.newest(), 0, &text);
    site.on_store(&["verify", "--quick", "latest"]).exits(0);
    let name = site.newest().file_name().expect("a name").to_string_lossy().into_owned();
    fs::remove_file(site.newest().join("manifest.jsonl.zst")).expect("lost");
    site.on_store(&["index", &name]).exits(0);
    site.on_store(&["verify", "--deep", "latest"]).exits(0);
}
