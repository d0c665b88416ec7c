//! A site: the one way in which stories build a world. A source, a store and a state folder of their own, the real
//! binary, and nothing of the machine's configuration.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]
#![allow(dead_code, clippy::allow_attributes, reason = "each story uses its own part of the site")]

pub mod forge;
pub mod tree;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A world of its own, removed with the value.
pub struct Site {
    folder: TempDir,
}

/// What a command did.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Site {
    pub fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        fs::create_dir(site.source()).expect("a source");
        site
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The source; the job is called `upload` after it.
    pub fn source(&self) -> PathBuf {
        self.path().join("upload")
    }

    pub fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// Writes a file of the source.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of the source");
        fs::write(path, content).expect("a file of the source");
        self
    }

    /// The binary with `arguments`, away from the machine's configuration and state.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backup"));
        command.args(arguments).env_clear().current_dir(self.path()).stdin(Stdio::null());
        command
            .env("BACKUP_STATE_DIR", self.path().join("state"))
            .env("HOME", self.path())
            .env("XDG_STATE_HOME", self.path().join("xdg"));
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Writes `backup.yaml`: the store `nas`, and the job `upload` with these keys besides its source.
    pub fn configure(&self, keys: &str) {
        let text = format!(
            "stores: {{nas: {{path: {}}}}}\njobs: {{upload: {{source: {}, {keys}}}}}\n",
            self.store().display(),
            self.source().display()
        );
        fs::write(self.path().join("backup.yaml"), text).expect("a configuration");
    }

    pub fn with_config(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.args(["--config", name]);
        command
    }

    pub fn backup<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Ran {
        self.with_state(self.command(arguments)).output().expect("the binary starts").into()
    }

    /// `run --source … --to …` with more arguments.
    pub fn run(&self, more: &[&str]) -> Ran {
        self.run_command(more).output().expect("the binary starts").into()
    }

    pub fn run_command(&self, more: &[&str]) -> Command {
        let mut command = self.command(["run", "--source"]);
        command.arg(self.source()).arg("--to").arg(self.store()).args(more);
        self.with_state(command)
    }

    /// `run` of the same job into the same store, which the environment describes: with `more` variables of it.
    pub fn run_by_environment(&self, more: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = self.command(["run"]);
        command.args(arguments).env("BACKUP_SOURCES", self.source()).env("BACKUP_ARCHIVE", self.store());
        command.envs(more.iter().copied());
        self.with_state(command).output().expect("the binary starts").into()
    }

    fn with_state(&self, mut command: Command) -> Command {
        command.env_remove("BACKUP_STATE_DIR").arg("--state-dir").arg(self.path().join("state"));
        command
    }

    /// Starts a run and leaves it running.
    pub fn start(&self, more: &[&str]) -> Child {
        let mut command = self.run_command(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
    }

    /// A reading command on the store.
    pub fn on_store(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        command.arg("--store").arg(self.store());
        self.with_state(command).output().expect("the binary starts").into()
    }

    /// A shell script by an ordinary user, with the binary as `$B`; none, and a word, where that user cannot reach it.
    pub fn as_another_user(&self, script: &str) -> Option<Ran> {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-ec", script])
            .current_dir(self.path());
        let ran: Ran = command.env("B", env!("CARGO_BIN_EXE_backup")).output().expect("setpriv starts").into();
        if matches!(ran.code, Some(126 | 127)) {
            eprintln!("SKIPPED: another user cannot reach the binary");
            return None;
        }
        Some(ran)
    }

    /// The job's folder in the store.
    pub fn job(&self) -> PathBuf {
        self.store().join("upload")
    }

    /// The snapshots that are there, oldest first.
    pub fn snapshots(&self) -> Vec<PathBuf> {
        names_in(&self.job())
            .into_iter()
            .filter(|name| !name.starts_with('.'))
            .map(|name| self.job().join(name))
            .collect()
    }

    /// The newest snapshot's folder.
    pub fn newest(&self) -> PathBuf {
        self.snapshots().pop().expect("a snapshot")
    }

    /// The newest snapshot's only volume.
    pub fn volume(&self) -> PathBuf {
        let folder = self.newest();
        let name = names_in(&folder).into_iter().find(|name| name.contains(".tar")).expect("a volume");
        folder.join(name)
    }

    /// Extracts the newest volume with GNU tar, as RESTORE.txt says, and gives the folder. Where there is no `zstd`
    /// command, its library stands in.
    pub fn untar(&self) -> PathBuf {
        let to = tempfile::tempdir_in(self.path()).expect("a folder").keep();
        let mut volume = self.volume();
        if volume.extension().is_some_and(|e| e == "zst") && !has("zstd", "extracting with the command itself") {
            let record: serde_json::Value =
                serde_json::from_slice(&fs::read(self.newest().join("snapshot.json")).expect("a record"))
                    .expect("JSON");
            let raw_size = record["volumes"][0]["raw_size"].as_u64().expect("a number") as usize;
            let mut raw = Vec::with_capacity(raw_size);
            zstd_safe::decompress(&mut raw, &fs::read(&volume).expect("a volume")).expect("frames");
            volume = to.with_extension("tar");
            fs::write(&volume, raw).expect("written");
        }
        let mut tar = Command::new("tar");
        tar.args(["--warning=no-timestamp", "--warning=no-unknown-keyword", "--xattrs", "--xattrs-include=*"]);
        let done = tar.args(["--numeric-owner", "-xpf"]).arg(volume).arg("-C").arg(&to).output().expect("tar starts");
        assert!(done.status.success(), "tar: {}", String::from_utf8_lossy(&done.stderr));
        to
    }

    /// What is left of unfinished work.
    pub fn leftovers(&self) -> Vec<String> {
        names_in(&self.job())
            .into_iter()
            .filter(|name| name.starts_with(".partial-") || name.starts_with(".lease"))
            .collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is shown is UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- standard output\n{}\n--- standard error\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let all = format!("{}{}", self.out, self.err);
        assert!(all.contains(text), "`{text}` is not said in\n{all}");
        self
    }

    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Self {
        let all = format!("{}{}", self.out, self.err);
        assert!(!all.contains(text), "`{text}` is said in\n{all}");
        self
    }

    /// The last line of JSON on standard output.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let line = self.out.lines().last().unwrap_or_else(|| panic!("no line: {}", self.err));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

/// Names in a folder, sorted; none if it is not there.
pub fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Whether the tests run as root; says aloud what is skipped otherwise.
pub fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED as an ordinary user: {what}");
    }
    root
}

/// Whether a tool is there; says aloud what is skipped otherwise.
pub fn has(tool: &str, what: &str) -> bool {
    let found =
        std::env::split_paths("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").any(|folder| folder.join(tool).exists());
    if !found {
        eprintln!("SKIPPED without `{tool}`: {what}");
    }
    found
}

/// Done when it goes out of scope, even when an assertion fails: a thread that waits for a word to stop would else be
/// waited for without end.
pub struct Finally<F: Fn()>(pub F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
