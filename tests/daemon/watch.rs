//! A daemon under test: started with a configuration of its own, watched by its log, asked at its door.

#![allow(dead_code, clippy::allow_attributes, reason = "each story asks a daemon for its own things")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::site::Site;

/// A secret like no other text.
pub const TOKEN: &str = "canary-4f1d0c7e9b2a-canary";

/// Longer than anything here takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// Waits until `look` gives something.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, look)
}

/// Waits until `look` gives something, for so long.
#[track_caller]
pub fn until_within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    let (_keep, never) = channel::<()>();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < deadline, "not within {deadline:?}: {what}");
        let _ = never.recv_timeout(Duration::from_millis(20));
    }
}

/// A daemon at work. It is killed when it is dropped.
pub struct Daemon {
    process: Child,
    lines: Receiver<String>,
    log: std::cell::RefCell<Vec<Value>>,
    pub config: PathBuf,
    port: std::cell::Cell<Option<u16>>,
    /// Of the job, when the daemon began.
    pub runs_before: usize,
    is_first: bool,
}

/// An answer of the door.
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Daemon {
    /// Starts one with a job `upload` in a store `nas`, and waits until it answers. `more` are further lines of the job.
    pub fn start(site: &Site, more: &str) -> Self {
        Self::start_with(site, more, "")
    }

    /// As `start`, with further lines at the top.
    pub fn start_with(site: &Site, more: &str, top: &str) -> Self {
        Self::spawn_in(site, more, top, &[]).ready()
    }

    /// As `start`, with further variables.
    pub fn start_in(site: &Site, variables: &[(&str, &str)]) -> Self {
        Self::spawn_in(site, "", "", variables).ready()
    }

    fn ready(self) -> Self {
        let daemon = self;
        assert!(daemon.has_door(), "it ended: {:?}", daemon.log.borrow());
        daemon.until_seen();
        daemon
    }

    /// Starts one and does not wait.
    pub fn spawn(site: &Site, more: &str) -> Self {
        Self::spawn_in(site, more, "", &[])
    }

    fn spawn_in(site: &Site, more: &str, top: &str, variables: &[(&str, &str)]) -> Self {
        let config = Self::configure(site, more, top);
        let mut command = site.command(["daemon", "--log-format", "json", "--config"]);
        command.arg(&config).envs(variables.iter().copied());
        Self::of(site, command, config, false)
    }

    /// Starts one as process 1 of a world of its own; none, and a word, where that is not allowed.
    pub fn start_as_first_process(site: &Site) -> Option<Self> {
        let config = Self::configure(site, "", "");
        let mut command = Command::new("unshare");
        command.args(["--fork", "--pid", "--mount-proc", "--kill-child", env!("CARGO_BIN_EXE_backup")]);
        command.args(["daemon", "--log-format", "json", "--config"]).arg(&config).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("BACKUP_STATE_DIR", site.path().join("state"));
        let daemon = Self::of(site, command, config, true);
        if !daemon.has_door() {
            eprintln!("SKIPPED: a process world of its own is not allowed here");
            return None;
        }
        daemon.until_seen();
        Some(daemon)
    }

    fn configure(site: &Site, more: &str, top: &str) -> PathBuf {
        if !site.store().exists() {
            fs::create_dir(site.store()).expect("a store");
            site.backup(["init".as_ref(), "--store".as_ref(), site.store().as_os_str()]).exits(0);
        }
        let token = site.path().join("token");
        fs::write(&token, format!("{TOKEN}\n")).expect("a token");
        let config = site.path().join("backup.yaml");
        let text = format!(
            "{top}web: {{listen: \"127.0.0.1:0\", token_file: {}}}\nstores:\n  nas: {{path: {}}}\njobs:\n  upload:\n    source: {}\n    \
             store: nas\n    schedule: \"0 3 1 1 *\"\n{more}",
            token.display(),
            site.store().display(),
            site.source().display(),
        );
        fs::write(&config, text).expect("a configuration");
        config
    }

    fn of(site: &Site, mut command: Command, config: PathBuf, is_first: bool) -> Self {
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stderr = process.stderr.take().expect("piped");
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let runs_before = super::site::names_in(&site.job().join(".runs")).len();
        Self { process, lines, log: Default::default(), config, port: Default::default(), runs_before, is_first }
    }

    fn hear(&self, line: &str) {
        let read =
            serde_json::from_str(line).unwrap_or_else(|_| serde_json::json!({"event": "not-json", "text": line}));
        self.log.borrow_mut().push(read);
    }

    /// Waits until it says where it answers; false if it ended before.
    pub fn has_door(&self) -> bool {
        while self.port.get().is_none() {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => self.hear(&line),
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("it says nothing: {:?}", self.log.borrow()),
            }
            let port =
                self.log.borrow().last().and_then(|line| line["address"].as_str()?.rsplit(':').next()?.parse().ok());
            self.port.set(port);
        }
        true
    }

    /// Waits until it has looked at its store.
    fn until_seen(&self) {
        until("it has looked at its store", || self.status()["stores"][0]["free"].as_u64());
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let port = self.port.get().expect("it answers");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the door is open");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let host = headers.iter().find(|(name, _)| *name == "host").map_or("localhost", |(_, host)| host);
        let mut text = format!("{method} {path} HTTP/1.0\r\nhost: {host}\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).expect("asked");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("an answer");
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
        let head = String::from_utf8(all[..end].to_vec()).expect("headers are text");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers =
            lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Answer { status, headers: headers.collect(), body: all[end + 4..].to_vec() }
    }

    /// Where it answers.
    pub fn port(&self) -> u16 {
        self.port.get().expect("it answers")
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    pub fn get_as(&self, token: &str, path: &str) -> Answer {
        self.request("GET", path, &[("authorization", &format!("Bearer {token}"))], "")
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.request("POST", path, headers, body)
    }

    pub fn post_as(&self, token: &str, path: &str) -> Answer {
        self.post(path, &[("authorization", &format!("Bearer {token}"))], "")
    }

    pub fn status(&self) -> Value {
        self.get("/api/v1/status").json()
    }

    /// Runs a job and waits until it is ok.
    #[track_caller]
    pub fn run(&self, job: &str) {
        let before = self.ok_runs();
        let asked = self.post_as(TOKEN, &format!("/api/v1/jobs/{job}/run"));
        assert_eq!(asked.status, 202, "{}", asked.text());
        until("the run is ok", || (self.ok_runs() > before).then_some(()));
    }

    fn ok_runs(&self) -> u64 {
        let status = self.status();
        let jobs = status["jobs"].as_array().expect("jobs");
        jobs.iter().map(|job| job["counts"]["ok"].as_u64().expect("a number")).sum()
    }

    /// Waits until so many runs have ended here, of whatever kind.
    #[track_caller]
    pub fn until_run(&self, count: u64) {
        until("runs have ended", || {
            let counts = self.status()["jobs"][0]["counts"].clone();
            let ended: u64 = counts.as_object()?.values().filter_map(Value::as_u64).sum();
            (ended >= count).then_some(())
        });
    }

    /// Waits until a run has begun to store.
    #[track_caller]
    pub fn until_at_work(&self) {
        until("it stores", || (self.status()["jobs"][0]["running"]["phase"] == "storing").then_some(()));
    }

    /// Waits until `/readyz` says so, and gives what it says.
    #[track_caller]
    pub fn until_ready(&self, ready: bool) -> String {
        until(if ready { "ready" } else { "not ready" }, || {
            let answer = self.get("/readyz");
            (answer.status == if ready { 200 } else { 503 }).then(|| answer.text())
        })
    }

    pub fn signal(&self, signal: Signal) {
        let pid = if self.is_first { self.first() } else { Pid::from_child(&self.process) };
        kill_process(pid, signal).expect("signalled");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The processes that it has started.
    pub fn children(&self) -> Vec<u32> {
        children_of(self.process.id())
    }

    /// Process 1 of its world, by the number that it has in ours.
    fn first(&self) -> Pid {
        let first = children_of(self.process.id()).into_iter().next().expect("unshare has a child");
        Pid::from_raw(first as i32).expect("a process")
    }

    /// Runs a shell script in its world.
    pub fn inside(&self, script: &str) -> String {
        let first = self.first().as_raw_nonzero().to_string();
        let mut command = Command::new("nsenter");
        let ran = command.args(["--target", &first, "--pid", "--mount", "sh", "-c", script]).output();
        String::from_utf8(ran.expect("nsenter starts").stdout).expect("UTF-8")
    }

    /// As a power cut.
    pub fn kill(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("it ends");
    }

    /// Waits for its end, but for this long at the most: the instant is what is tested.
    pub fn wait_not_longer_than(&self, time: Duration) {
        let (_keep, never) = channel::<()>();
        let _ = never.recv_timeout(time);
    }

    /// Signals it, and gives how long it took to end, how, and what it logged.
    pub fn end(mut self, signal: Signal) -> (Duration, Option<i32>, Vec<Value>) {
        let began = Instant::now();
        self.signal(signal);
        let status = until("it ends", || self.process.try_wait().expect("it can be asked"));
        let took = began.elapsed();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.hear(&line);
        }
        (took, status.code(), self.log.take())
    }

    /// Stops its children where they are: they answer nobody, as in a dead server's call.
    pub fn hang_children(&self) -> Held {
        let children = self.children();
        signal_all(&children, Signal::STOP);
        Held(children)
    }

    /// Waits until it has logged this.
    #[track_caller]
    pub fn until_logged(&self, event: &str) {
        while !self.log.borrow().iter().any(|line| line["event"] == event) {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("`{event}` is not logged"));
            self.hear(&line);
        }
    }

    /// Waits until it ends by itself, and well.
    #[track_caller]
    pub fn until_ended(mut self) -> Vec<Value> {
        let status = until("it ends", || self.process.try_wait().expect("it can be asked"));
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.hear(&line);
        }
        assert_eq!(status.code(), Some(0), "{:?}", self.log.borrow());
        self.log.take()
    }

    /// Signals it, and expects that it ends well within ten seconds.
    #[track_caller]
    pub fn stop(self, signal: Signal) -> Vec<Value> {
        let (took, code, log) = self.end(signal);
        assert_eq!(code, Some(0), "{log:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(log.iter().all(|line| line["event"] != "not-json"), "every line is JSON: {log:?}");
        log
    }

    #[track_caller]
    pub fn stop_well(self) -> Vec<Value> {
        self.stop(Signal::TERM)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Children that answer nobody.
pub struct Held(Vec<u32>);

impl Held {
    /// As if the server answered again.
    pub fn go_on(self) {
        signal_all(&self.0, Signal::CONT);
    }
}

fn signal_all(pids: &[u32], signal: Signal) {
    for pid in pids {
        // a look may be over by now
        let _ = kill_process(Pid::from_raw(*pid as i32).expect("a process"), signal);
    }
}

/// Children of a process, by what every process says of its parent.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = |child: u32| {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    numbers.filter(|child| parent(*child) == Some(pid)).collect()
}
