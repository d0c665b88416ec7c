//! Refusals: what must not be written to, or read from, is told in one sentence, with its own exit code, and not one
//! byte is written.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod site;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use site::tree::picture;
use site::{Ran, Site, is_root, names_in};

#[test]
fn a_store_that_was_one_and_lost_its_marker_is_another_disk() {
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0).says("is a store from now on");
    fs::remove_file(site.store().join(".backup-store.json")).expect("removed");
    let before = picture(&site.store());
    site.run(&[]).exits(6).says("has no marker of a store").says("backup init --store");
    assert_eq!(picture(&site.store()), before);
    site.on_store(&["list"]).exits(6);
    // a person may say that it is right
    site.on_store(&["init"]).exits(0);
    site.run(&[]).exits(0);
}

#[test]
fn another_store_at_the_same_place_is_refused() {
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0);
    fs::rename(site.store(), site.path().join("old")).expect("moved");
    let mut command = site.command(["init", "--state-dir", "elsewhere", "--store"]);
    assert!(command.arg(site.store()).status().expect("it starts").success());
    let before = picture(&site.store());
    site.run(&[]).exits(6).says("was there before").says("another disk is mounted here");
    assert_eq!(picture(&site.store()), before);
}

#[test]
fn a_store_that_is_a_file_or_lies_in_one_is_refused() {
    let site = Site::new();
    site.file("a", "a");
    fs::write(site.store(), "a file").expect("written");
    site.run(&[]).exits(6).says("is not a folder");
    assert_eq!(fs::read_to_string(site.store()).expect("a file"), "a file");
}

#[test]
fn a_required_mount_that_is_not_there_is_refused() {
    let site = Site::new();
    site.file("a", "a");
    fs::create_dir(site.store()).expect("a folder");
    let config = format!(
        "stores: {{nas: {{path: {}, require_mount: nfs}}}}\njobs: {{upload: {{source: {}}}}}\n",
        site.store().display(),
        site.source().display()
    );
    fs::write(site.path().join("backup.yaml"), config).expect("a configuration");
    for verb in ["run", "init"] {
        site.backup([verb]).exits(6).says("requires a mount of type nfs").says("nothing was written");
    }
    assert_eq!(names_in(&site.store()), [""; 0]);
}

#[test]
fn a_missing_source_an_empty_one_and_a_file_are_refused() {
    let site = Site::new();
    site.run(&[]).exits(1).says("is empty").says("allow_empty");
    assert_eq!(site.snapshots(), [""; 0].map(std::path::PathBuf::from));
    assert_eq!(site.leftovers(), [""; 0], "neither a draft nor a lease is left");
    site.run(&["--allow-empty"]).exits(0);
    fs::remove_dir(site.source()).expect("removed");
    site.run(&[]).exits(1).says("does not exist").says("nothing was stored");
    fs::write(site.source(), "a file").expect("written");
    site.run(&[]).exits(1).says("is not a folder");
    assert_eq!(site.snapshots().len(), 1);
}

#[test]
fn failed_runs_are_recorded_in_the_store_and_shown_by_status() {
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0);
    fs::remove_dir_all(site.source()).expect("removed");
    site.run(&[]).exits(1);
    site.on_store(&["status"]).exits(0).says("last run  failed").says("does not exist");
    assert_eq!(names_in(&site.job().join(".runs")).len(), 2);
}

#[test]
fn status_knows_the_schedule_of_a_job_also_where_the_store_is_named() {
    let site = Site::new();
    site.configure("schedule: '0 2 * * *'");
    site.file("a", "a").run(&[]).exits(0);
    let status = |store: &str| -> Ran {
        let mut command = site.command(["status", "--store", store]);
        command.env("BACKUP_CONFIG", site.path().join("backup.yaml")).output().expect("the binary starts").into()
    };
    status("nas").exits(0).says("next run");
    // a folder is asked about whatever the configuration is
    status(site.store().to_str().expect("UTF-8")).exits(0).says("job upload").does_not_say("next run");
}

#[test]
fn an_outcome_that_could_not_reach_its_store_reaches_it_with_the_next_run() {
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0);
    fs::rename(site.store(), site.path().join("unplugged")).expect("moved");
    site.run(&[]).exits(6);
    assert_eq!(names_in(&site.path().join("state/outcomes")).len(), 1);
    fs::rename(site.path().join("unplugged"), site.store()).expect("moved");
    site.run(&[]).exits(0);
    assert_eq!(names_in(&site.job().join(".runs")).len(), 3);
    assert_eq!(names_in(&site.path().join("state/outcomes")), [""; 0]);
}

/// Runs a script in a mount namespace of its own.
fn in_own_mounts(site: &Site, script: &str) -> Ran {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).current_dir(site.path());
    command.env("BACKUP", env!("CARGO_BIN_EXE_backup")).env("STORE", site.store()).env("SOURCE", site.source());
    command.output().expect("unshare starts").into()
}

#[test]
fn a_store_without_room_is_refused_before_and_failed_cleanly_during() {
    if !is_root("mounting a tiny file system") {
        return;
    }
    let site = Site::new();
    site.file("noise", site::tree::noise(3, 12 << 20));
    fs::create_dir(site.store()).expect("a folder");
    let run = "$BACKUP --state-dir state run --source $SOURCE --to $STORE";
    let ran = in_own_mounts(
        &site,
        &format!(
            "mount -t tmpfs -o size=3m none $STORE && {run} --compression none; echo code $?; ls -A $STORE/upload"
        ),
    );
    ran.exits(2).says("code 1").says("this run needs about").says("nothing was stored");
    let ran = in_own_mounts(
        &site,
        &format!(
            "mount -t tmpfs -o size=3m none $STORE && {}; echo code $?; ls -A $STORE/upload | sed 's/^/left: /'",
            run.replace("state ", "other-state ")
        ),
    );
    let ran = ran.exits(0).says("code 1").says("no room left in the store").says("the unfinished work was removed");
    ran.does_not_say("left: .partial").does_not_say("left: .lease");
}

#[test]
fn a_read_only_store_is_refused() {
    if !is_root("mounting read-only") {
        return;
    }
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0);
    let script = "mount --bind $STORE $STORE && mount -o remount,ro,bind $STORE && $BACKUP --state-dir state run --source $SOURCE --to $STORE; echo code $?";
    in_own_mounts(&site, script).says("code 1").says("the store is read-only");
    assert_eq!(site.snapshots().len(), 1);
}

#[test]
fn the_folder_under_a_share_that_fstab_names_and_nobody_mounted_is_refused() {
    if !is_root("another /etc/fstab") {
        return;
    }
    let site = Site::new();
    site.file("a", "a");
    let script = "echo \"nas:/e $STORE nfs hard 0 0\" > fstab && mount --bind fstab /etc/fstab && $BACKUP --state-dir state run --source $SOURCE --to $STORE/x; echo code $?; ls -A";
    let ran = in_own_mounts(&site, script).says("code 6").says("names as a mount point, and nothing is mounted there");
    ran.does_not_say("\nstore");
}

#[test]
fn a_store_that_this_user_may_not_write_is_told_with_the_reason() {
    if !is_root("becoming another user") {
        return;
    }
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0);
    for path in [site.path().to_path_buf(), site.source(), site.store(), site.job()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    fs::set_permissions(site.store().join(".backup-store.json"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(env!("CARGO_BIN_EXE_backup"));
    command
        .args(["--state-dir", "/nonexistent/state", "run", "--source"])
        .arg(site.source())
        .arg("--to")
        .arg(site.store());
    let ran: Ran = command.output().expect("setpriv starts").into();
    if ran.err.contains("execve") || ran.code == Some(127) {
        eprintln!("SKIPPED: another user cannot reach the binary");
        return;
    }
    ran.exits(1).says("was not permitted").says("root_squash").says("set `state_dir`");
}

#[test]
fn a_command_line_that_is_wrong_exits_with_2_and_says_what_is_right() {
    let site = Site::new();
    site.backup(["run"]).exits(2).says("there is no configuration").says("--source DIR --to STORE");
    site.backup(["run", "--source", "x"]).exits(2).says("--to");
    site.backup(["list"]).exits(2).says("--store");
    site.backup(["frobnicate"]).exits(2);
    site.run(&["--compression", "zstandard"]).exits(2).says("zstd (1 to 19)");
    site.backup(["--help"]).exits(0).says("Exit status: 0 ok");
    site.backup(["--version"]).exits(0).says(env!("CARGO_PKG_VERSION"));
}

#[test]
fn one_empty_source_among_several_is_not_taken_for_well() {
    let site = Site::new();
    site.file("a", "a");
    let empty = site.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    let run = |more: &[&str]| -> Ran {
        let mut command = site.run_command(&["--job", "both"]);
        command.arg("--source").arg(&empty).args(more).output().expect("it starts").into()
    };
    run(&[]).exits(1).says("is empty").says("1 of");
    run(&["--allow-empty"]).exits(0);
}

#[test]
fn a_store_in_its_own_source_is_not_stored_into_itself() {
    let site = Site::new();
    site.file("a", "a");
    let store = site.source().join("inner/store");
    for _ in 0..2 {
        let mut command = site.command(["run", "--state-dir", "state", "--json", "--source"]);
        let ran: Ran = command.arg(site.source()).arg("--to").arg(&store).output().expect("it starts").into();
        let ran = ran.exits(0).says("the store lies in the source");
        assert_eq!(ran.json()["totals"]["files"], 1);
    }
}

#[test]
fn doctor_tells_every_fault_at_once_and_leaves_nothing_behind() {
    let site = Site::new();
    site.file("a", "a").run(&[]).exits(0);
    // but for the time of the store's own folder, in which it made and removed one
    let store = || {
        let mut found = picture(&site.store());
        found.remove(&b""[..]);
        found
    };
    let before = store();
    site.on_store(&["doctor"]).exits(0).says("it takes files, gives them back as they were").says("it has hard links");
    assert_eq!(store(), before);
    let empty = site.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    let config = format!(
        "stores: {{here: {{path: {store}}}, gone: {{path: {store}-gone}}}}\n\
         jobs:\n  one: {{source: {empty}, store: here}}\n  two: {{source: {empty}/no, store: gone, schedule: '@daily'}}\n",
        store = site.store().display(),
        empty = empty.display()
    );
    let file = site.path().join("backup.yaml");
    fs::write(&file, config).expect("a configuration");
    site.backup(["doctor", "--config", file.to_str().expect("a path")])
        .exits(6)
        .says("empty is empty, and a run would fail")
        .says("-gone does not exist")
        .says("empty/no cannot be listed")
        .says("it has no schedule");
    assert_eq!(store(), before);
}
