//! Commands: dumps that become files of a snapshot, and what becomes of those that fail, hang, or are cut off.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod site;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use site::tree::noise;
use site::{Ran, Site, names_in};

const CANARY: &str = "hunter2-canary-of-the-database";

/// A site with a configuration of one job, `upload`; its lines are YAML, and `{}` in them is the site's folder.
struct Shop {
    site: Site,
}

impl Shop {
    fn new(job: &str) -> Self {
        let shop = Self { site: Site::new() };
        shop.site.file("page.html", "welcome");
        fs::create_dir(shop.site.store()).expect("a folder");
        shop.configure(job);
        shop.backup(&["init"]).exits(0);
        shop
    }

    /// With the site's source besides.
    fn with_source(job: &str) -> Self {
        Self::new(&format!("source: {{}}/upload\n{job}"))
    }

    fn configure(&self, job: &str) -> &Self {
        let lines = job.replace("{}", self.path().to_str().expect("plain"));
        let job: String = lines.lines().map(|line| format!("    {line}\n")).collect();
        let text = format!(
            "stores: {{nas: {{path: {}, lease_term: 1s}}}}\njobs:\n  upload:\n{job}",
            self.site.store().display()
        );
        fs::write(self.path().join("shop.yaml"), text).expect("a configuration");
        self
    }

    fn path(&self) -> &Path {
        self.site.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.site.with_config("shop.yaml", arguments)
    }

    fn backup(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().expect("the binary starts").into()
    }

    fn run(&self) -> Ran {
        self.backup(&["run"])
    }

    /// Restores the newest snapshot into a new folder.
    fn restore(&self) -> PathBuf {
        let to = self.path().join(format!("restored-{}", names_in(self.path()).len()));
        self.backup(&["restore", "latest", "--to", to.to_str().expect("plain")]);
        to
    }

    fn start(&self) -> Child {
        let mut command = self.command(&["run"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }

    /// Waits for a file that a command writes, and gives its words.
    fn words_of(&self, name: &str) -> Vec<String> {
        let path = self.path().join(name);
        loop {
            match fs::read_to_string(&path) {
                Ok(text) if text.ends_with('\n') => return text.split_whitespace().map(str::to_owned).collect(),
                _ => pause(),
            }
        }
    }

    /// No unfinished work, and nothing of it in a snapshot.
    fn is_tidy(&self) {
        assert_eq!(self.site.leftovers(), [""; 0]);
        for snapshot in self.site.snapshots() {
            let strangers: Vec<String> =
                names_in(&snapshot).into_iter().filter(|name| name.starts_with("command")).collect();
            assert_eq!(strangers, [""; 0]);
        }
    }
}

/// A moment in which others work.
fn pause() {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(std::time::Duration::from_millis(10));
}

/// Whether a process is there and no zombie.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !matches!(rest.trim_start().chars().next(), None | Some('Z' | 'X')))
}

/// What ends soon is waited for.
fn until_gone(pids: &[String]) {
    let mut pauses = 0;
    while pids.iter().any(|pid| is_alive(pid)) {
        pause();
        pauses += 1;
        assert!(pauses < 6000, "{pids:?} are still there after a minute");
    }
}

fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a number")).expect("a process");
    rustix::process::kill_process(pid, signal).expect("signalled");
}

fn children_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
}

#[test]
fn a_dump_comes_back_byte_for_byte_by_restore_and_by_plain_tar() {
    let sizes = [0, 1, 511, 512, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_333_333];
    for codec in ["zstd", "gzip", "none"] {
        let dumps: String = sizes
            .iter()
            .map(|size| format!("  - {{name: dumps/{size}.sql, run: [cat, '{{}}/made-{size}']}}\n"))
            .collect();
        let shop = Shop::with_source(&format!("compression: {codec}\ncommands:\n{dumps}"));
        for size in sizes {
            // half of it shrinks
            let mut bytes = noise(size as u64, size / 2);
            bytes.resize(size, b'x');
            fs::write(shop.path().join(format!("made-{size}")), bytes).expect("written");
        }
        shop.run().exits(3).says("dumps/0.sql ended well and gave nothing");
        shop.is_tidy();
        let tarred = shop.site.untar();
        // in the second snapshot the old dumps are stale and everything else is linked
        shop.run().exits(3);
        shop.backup(&["verify", "--all", "--deep"]).exits(0);
        for folder in [shop.restore(), tarred, shop.site.untar()] {
            for size in sizes {
                let made = fs::read(shop.path().join(format!("made-{size}"))).expect("a file");
                let found = fs::read(folder.join(format!("dumps/{size}.sql"))).expect("a file");
                assert!(made == found, "{codec} {size}");
                let stat = fs::metadata(folder.join(format!("dumps/{size}.sql"))).expect("a file");
                assert_eq!(stat.mode() & 0o7777, 0o600);
                assert_eq!(stat.uid(), rustix::process::geteuid().as_raw());
            }
        }
        let full = shop.site.source().join("page.html");
        let full = shop.restore().join(full.strip_prefix("/").expect("absolute"));
        assert_eq!(fs::read(full).expect("a file"), b"welcome", "with commands names are full paths");
    }
}

#[test]
fn a_dump_lies_whole_in_one_of_many_volumes_and_is_found_again_without_a_manifest() {
    let shop =
        Shop::with_source("volume_size: 1MB\ncompression: none\ncommands: [{name: a/dump, run: [cat, '{}/made']}]");
    let made = noise(7, 3_500_000);
    fs::write(shop.path().join("made"), &made).expect("written");
    for number in 0..4 {
        shop.site.file(&format!("{number}"), noise(number, 700_000));
    }
    for _ in 0..2 {
        shop.run().exits(0);
    }
    shop.is_tidy();
    let names = names_in(&shop.site.newest());
    assert!(names.iter().filter(|name| name.ends_with(".tar")).count() > 2, "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with(".part")), "{names:?}");
    shop.backup(&["verify", "--all", "--deep"]).exits(0);
    fs::remove_file(shop.site.newest().join("manifest.jsonl.zst")).expect("removed");
    shop.backup(&["index", "latest"]).says("made anew");
    shop.backup(&["verify", "latest", "--deep"]).exits(0);
    assert!(fs::read(shop.restore().join("a/dump")).expect("a file") == made);
    assert_eq!(shop.run().exits(0).code, Some(0));
}

#[test]
fn a_dump_has_the_time_of_its_end() {
    let shop = Shop::new("commands: [{name: a, run: [date, '+%s.%N']}]");
    shop.run().exits(0);
    let file = shop.restore().join("a");
    let said: f64 = fs::read_to_string(&file).expect("a file").trim().parse().expect("a number");
    let stat = fs::metadata(&file).expect("a file");
    let ended = stat.mtime() as f64 + stat.mtime_nsec() as f64 / 1e9;
    assert!((said..said + 60.0).contains(&ended), "{said} {ended}");
}

#[test]
fn three_hundred_megabytes_stream_through_little_memory() {
    if !site::has("time", "the peak of memory") {
        return;
    }
    let shop = Shop::new(
        "threads: 2\ncommands:\n  - name: big\n    shell: 'mkfifo {}/p; sha256sum < {}/p > {}/sum & head -c 314572800 /dev/urandom | tee {}/p; wait'\n",
    );
    let mut command = Command::new("time");
    command.args(["-f", "PEAK %M"]).arg(env!("CARGO_BIN_EXE_backup")).args(["run", "--config", "shop.yaml"]);
    command.env("BACKUP_STATE_DIR", shop.path().join("state")).current_dir(shop.path());
    let ran: Ran = command.output().expect("it starts").into();
    let ran = ran.exits(0);
    let peak = ran.err.lines().rev().find_map(|line| line.strip_prefix("PEAK ")).expect("a peak");
    let peak_kib: u64 = peak.parse().expect("a number");
    eprintln!("peak {peak_kib} KiB");
    assert!(peak_kib < 96 << 10, "{peak_kib} KiB");
    let sum = shop.words_of("sum").remove(0);
    let mut cat = shop.command(&["cat", "latest", "big"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut hasher = backup::domain::Hasher::new();
    let mut out = cat.stdout.take().expect("piped");
    let mut buffer = vec![0; 1 << 20];
    let len = std::iter::from_fn(|| {
        let got = std::io::Read::read(&mut out, &mut buffer).expect("read");
        hasher.update(&buffer[..got]);
        (got > 0).then_some(got)
    })
    .sum::<usize>();
    assert!(cat.wait().expect("it ends").success());
    assert_eq!((len, hasher.finish().to_string()), (300 << 20, sum));
    shop.is_tidy();
}

#[test]
fn what_fails_in_whatever_way_makes_the_run_partial_and_leaves_no_half_file() {
    let shop = Shop::with_source(
        "commands:\n\
         - {name: good, run: [echo, well]}\n\
         - {name: status, shell: \"seq 1 500000; echo 'ERROR 2006: gone away' >&2; exit 2\"}\n\
         - {name: signal, shell: \"seq 1 500000; kill -9 $$\"}\n\
         - {name: missing, run: [/no/such/mysqldump]}\n\
         - {name: forbidden, run: [/etc/passwd]}\n\
         - {name: late, shell: \"seq 1 500000; exec sleep 1000\", deadline: 2s}\n\
         - {name: secret, run: [echo, x], environment_files: {P: '{}/no such file'}}\n\
         - {name: held, shell: \"echo x; sleep 1000 & echo $! > {}/held\"}\n",
    );
    let ran = shop.run().exits(3);
    let ran = ran
        .says("status came of a command that failed: it ended with status 2; it said: ERROR 2006: gone away")
        .says("signal came of a command that failed: signal 9 ended it")
        .says("missing came of a command that failed: /no/such/mysqldump could not be started: No such file")
        .says("forbidden came of a command that failed: /etc/passwd could not be started: Permission denied")
        .says("late came of a command that failed: it had not ended after 2.0 s and was ended")
        .says("no such file for its variable P could not be read: No such file")
        .says("held came of a command that failed: it ended, but something that it had started went on holding");
    ran.says("skipped   7 entries");
    shop.is_tidy();
    until_gone(&shop.words_of("held"));
    let to = shop.restore();
    assert_eq!(fs::read(to.join("good")).expect("a file"), b"well\n");
    assert_eq!(names_in(&to).len(), 2, "the source's first folder and what was good: {:?}", names_in(&to));
    let tarred = names_in(&shop.site.untar());
    assert_eq!(tarred, names_in(&to));
    // what was there the night before is not taken for tonight's
    shop.configure("source: {}/upload\ncommands: [{name: status, run: [echo, well]}, {name: good, run: ['false']}]");
    shop.run().exits(3).says("good came of a command that failed: it ended with status 1");
    assert_eq!(fs::read(shop.restore().join("status")).expect("a file"), b"well\n");
    assert!(!shop.restore().join("good").exists());
    shop.backup(&["verify", "--all", "--deep"]).exits(0);
}

/// What was left running wrote on, so the command never ended: the run took its output until the store was full.
#[test]
fn what_a_command_left_running_is_not_waited_for_although_it_writes_on() {
    let shop = Shop::with_source(
        "commands:\n\
         - {name: floods, shell: \"timeout --foreground 60 yes & echo $! > {}/floods; echo x\"}\n\
         - {name: drips, shell: \"for i in $(seq 300); do echo y; sleep 0.2; done & echo $! > {}/drips; echo x\"}\n\
         - {name: late, shell: \"(sleep 1; seq 1000000) & echo x\"}\n",
    );
    let ran = shop.run().exits(3);
    let ran = ran
        .says("floods came of a command that failed: it ended, but something that it had started went on holding")
        .says("drips came of a command that failed: it ended, but something that it had started went on holding");
    ran.says("skipped   2 entries");
    until_gone(&[shop.words_of("floods"), shop.words_of("drips")].concat());
    assert!(fs::read(shop.restore().join("late")).expect("a file").ends_with(b"\n1000000\n"), "it took a moment only");
    shop.is_tidy();
}

#[test]
fn a_job_of_which_nothing_came_fails() {
    let shop = Shop::new("commands: [{name: a, run: ['false']}, {name: b, run: [no such program]}]");
    let ran = shop.run().exits(1).says("no command of the job gave anything, and it has no other source");
    ran.says("a: it ended with status 1").says("b: no such program could not be started");
    assert_eq!(shop.site.snapshots().len(), 0);
    shop.is_tidy();
    shop.configure("commands: [{name: a, run: ['false']}, {name: b, run: [echo, x]}]");
    shop.run().exits(3);
    shop.configure("commands: [{name: a, run: ['false']}]\nsource: {}/not there");
    shop.run().exits(1).says("does not exist");
}

#[test]
fn a_silent_command_is_ended_unless_its_deadline_lets_it_be_silent() {
    let shop = Shop::new(
        "progress_timeout: 2s\ncommands:\n- {name: hangs, run: [sleep, '1000']}\n- {name: thinks, shell: 'sleep 4; echo x', deadline: 1h}\n",
    );
    shop.run().exits(3).says("hangs came of a command that failed: it gave nothing for 2.0 s and was ended");
    assert_eq!(fs::read(shop.restore().join("thinks")).expect("a file"), b"x\n");
}

/// A command of several processes, of which one does not listen to SIGTERM.
const STUBBORN: &str = "commands:\n- name: dump\n  shell: \"(trap '' TERM; seq 1 500000; sleep 1000) & one=$!; sleep 1000 & echo $$ $one $! > {}/pids; wait\"\n";

#[test]
fn a_signal_ends_the_whole_group_of_a_command() {
    let shop = Shop::with_source(STUBBORN);
    let run = shop.start();
    let pids = shop.words_of("pids");
    assert_eq!(pids.len(), 3);
    kill(run.id(), rustix::process::Signal::TERM);
    let ran: Ran = run.wait_with_output().expect("it ends").into();
    ran.exits(143).says("SIGTERM");
    assert!(pids.iter().all(|pid| !is_alive(pid)), "they are gone when the run is");
    assert_eq!(shop.site.snapshots().len(), 0);
    shop.is_tidy();
}

#[test]
fn a_run_that_is_killed_takes_its_command_with_it_and_the_next_run_clears_up() {
    let shop = Shop::with_source(STUBBORN);
    let run = shop.start();
    let pids = shop.words_of("pids");
    let children = children_of(run.id());
    if children.is_empty() {
        eprintln!("SKIPPED: this kernel does not list children");
    }
    for pid in children.into_iter().chain([run.id()]) {
        kill(pid, rustix::process::Signal::KILL);
    }
    run.wait_with_output().expect("it ends");
    until_gone(&pids);
    let left = shop.site.leftovers();
    assert!(left.iter().any(|name| name.starts_with(".partial-")), "{left:?}");
    shop.configure("source: {}/upload\ncommands: [{name: dump, run: [echo, x]}]");
    let mut ran = shop.run();
    while ran.code == Some(5) {
        ran = shop.run();
    }
    ran.exits(0).says("removed the unfinished work");
    shop.is_tidy();
    assert_eq!(fs::read(shop.restore().join("dump")).expect("a file"), b"x\n");
}

#[test]
fn a_guardian_that_is_killed_fails_its_command_and_nothing_of_it_is_left() {
    let shop = Shop::with_source("commands: [{name: dump, shell: 'sleep 1000 & echo $$ $! $PPID > {}/pids; wait'}]");
    let run = shop.start();
    let pids = shop.words_of("pids");
    kill(pids[2].parse().expect("a number"), rustix::process::Signal::KILL);
    let ran: Ran = run.wait_with_output().expect("it ends").into();
    ran.exits(3).says("dump came of a command that failed: its guardian process was lost");
    until_gone(&pids);
    shop.is_tidy();
}

/// Every file below a folder, with its bytes; what zstd holds is expanded.
fn all_files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if name.is_dir() {
            found.extend(all_files(&name));
            continue;
        }
        let bytes = fs::read(&name).expect("a file");
        let mut raw = Vec::with_capacity(64 << 20);
        if zstd_safe::decompress(&mut raw, &bytes).is_ok() {
            found.push((name.clone(), raw));
        }
        found.push((name, bytes));
    }
    found
}

#[test]
fn a_secret_is_in_the_environment_of_its_command_and_nowhere_else() {
    let shop = Shop::with_source(&format!(
        "commands:\n\
         - name: used\n  environment: {{LANG: C.UTF-8, NOT: '1'}}\n  environment_files: {{PGPASSWORD: '{{}}/secret'}}\n  \
           shell: \"test \\\"$PGPASSWORD\\\" = {CANARY} && ! grep -q {CANARY} /proc/$PPID/cmdline /proc/$PPID/environ && echo right\"\n\
         - name: blabs\n  environment_files: {{PGPASSWORD: '{{}}/secret'}}\n  shell: \"echo \\\"no access with $PGPASSWORD\\\" >&2; exit 1\"\n\
         - name: env\n  run: [env]\n"
    ).replace(&format!("grep -q {CANARY}"), "grep -q hunter2").replace(&format!("= {CANARY}"), "= $(cat {}/secret)"));
    fs::write(shop.path().join("secret"), format!("{CANARY}\n")).expect("written");
    let mut command = shop.command(&["run"]);
    command.env("BACKUP_WEB_TOKEN", CANARY).env("JIRA_TOKEN", CANARY).env("AWS_SECRET", CANARY).env("LANG", "C");
    let ran: Ran = command.output().expect("it starts").into();
    ran.exits(3).says("no access with (secret)").says("skipped   1 entry").does_not_say(CANARY);
    let to = shop.restore();
    assert_eq!(fs::read(to.join("used")).expect("a file"), b"right\n");
    let env = fs::read_to_string(to.join("env")).expect("a file");
    let names: Vec<&str> = env.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["HOME", "LANG", "PATH"]);
    shop.backup(&["config", "show"]).exits(0).does_not_say(CANARY).says("environment_files = PGPASSWORD");
    for folder in ["store", "state"] {
        for (path, bytes) in all_files(&shop.path().join(folder)) {
            let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            assert!(!found, "{} holds the secret", path.display());
        }
    }
}

#[test]
fn what_a_command_says_cannot_drive_a_terminal() {
    let shop = Shop::with_source(
        "commands: [{name: a, shell: \"printf 'x\\\\033[2J\\\\033]0;owned\\\\007\\\\377\\\\342\\\\200\\\\256gnp\\\\nlast' >&2; exit 1\"}]",
    );
    let ran = shop.run().exits(3);
    assert!(!ran.err.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{}", ran.err);
    ran.says(r"it said: x\u{1b}[2J\u{1b}]0;owned\u{7}\xff\u{202e}gnp | last");
    let ran = shop.backup(&["run", "--json"]).exits(3);
    assert!(!ran.out.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{}", ran.out);
}

#[test]
fn mistakes_in_commands_are_told_where_they_stand() {
    let shop = Shop::new("commands: [{name: a, run: [echo]}]");
    for (job, told) in [
        ("commands: []", "the job has no `source`"),
        ("commands: [{run: [x]}]", "the command has no `name`"),
        ("commands: [{name: a}]", "it has neither `run` nor `shell`"),
        ("commands: [{name: a, run: [x], shell: x}]", "both `run` and `shell` are given"),
        ("commands: [{name: a, run: x y}]", "`run` takes a list of texts"),
        ("commands: [{name: a, run: []}]", "`run` names no program"),
        ("commands: [{name: a, rnu: [x]}]", "did you mean `run`?"),
        ("commands: [{name: /etc/a, run: [x]}]", "is not the path of a file in a snapshot"),
        ("commands: [{name: a/../b, run: [x]}]", "is not the path of a file in a snapshot"),
        ("commands: [{name: '', run: [x]}]", "is not the path of a file in a snapshot"),
        (&format!("commands: [{{name: {}, run: [x]}}]", "x".repeat(256)), "is not the path of a file in a snapshot"),
        ("commands: [{name: ., run: [x]}]", "is not the path of a file in a snapshot"),
        ("commands: [{name: a, run: [x]}, {name: a, run: [y]}]", "lies in the place of the command of `a`"),
        ("commands: [{name: a/b, run: [x]}, {name: a, run: [y]}]", "lies in the place of the command of `a/b`"),
        ("source: /var/www\ncommands: [{name: var/www/x, run: [x]}]", "lies in the place of the source /var/www"),
        ("source: /var/www\ncommands: [{name: var, run: [x]}]", "lies in the place of the source /var/www"),
        ("commands: [{name: a, run: [x], deadline: soon}]", "is not a length of time"),
        ("commands: [{name: a, run: [x], environment: {A-B: x}}]", "this is no name of a variable"),
        ("commands: [{name: a, run: [x], environment: {BACKUP_JOB: x}}]", "this is no name of a variable"),
        ("commands: [{name: a, run: [x], environment_files: {A: x}}]", "this is not an absolute path"),
        ("commands: [{name: a, run: [x], environment: {A: x}, environment_files: {A: /x}}]", "give it once"),
        ("commands: {name: a}", "`commands` takes a list"),
        ("commands: [a]", "a command is a map"),
    ] {
        shop.configure(job);
        shop.backup(&["config", "check"]).exits(2).says(told);
    }
    // a neighbour with the same beginning is another
    shop.configure("source: /var/www\ncommands: [{name: var/www2, run: [x]}, {name: var/wwv/x, run: [y, 5, true]}]");
    shop.backup(&["config", "check"]).exits(0);
    shop.configure(&format!("commands: [{{name: a, run: [x, --password={CANARY}], deadline: soon}}]"));
    shop.backup(&["config", "check"]).exits(2).does_not_say(CANARY);
}

#[test]
fn who_compares_and_who_looks_ahead_knows_of_commands() {
    let shop = Shop::with_source("commands: [{name: dumps/a, run: [date, +%N]}, {name: b, run: [echo, x]}]");
    shop.run().exits(0);
    let compared = shop.backup(&["verify", "latest", "--against-source"]).exits(0);
    compared.says("what commands gave is not compared: dumps/a, b");
    shop.site.file("new", "new");
    shop.backup(&["verify", "latest", "--against-source"]).exits(3).says("/upload/new").does_not_say("- dumps");
    shop.backup(&["show", "latest"]).exits(0).says("what commands gave (dumps/a, b)");
    let page = shop.site.source().join("page.html");
    shop.backup(&["cat", "latest", page.to_str().expect("plain")]).exits(0).says("welcome");
    shop.backup(&["cat", "latest", "b"]).exits(0).says("x");
    shop.backup(&["doctor"]).exits(0).says("its command of dumps/a is there: /");
    shop.configure("source: {}/upload\ncommands: [{name: dumps/a, run: [no-such-dump]}]");
    shop.backup(&["doctor"]).exits(1).says("its command of dumps/a cannot be started: no-such-dump");
}
