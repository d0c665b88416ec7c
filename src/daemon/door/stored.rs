//! What is in snapshots, for those who have the token: folders to look through, files to download.
//!
//! Read by children of this program (`ls`, `cat`), because a store may hang. A folder has a deadline; a file is waited for
//! until its first bytes, then it flows as fast as it is taken. A file that turns out damaged ends in the middle of the
//! answer, as a broken transfer, never as a whole one.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc;

use super::Shared;
use crate::daemon::watched::{NoAnswer, Question, ask, start};
use crate::domain::{EntryPath, Kind, SnapshotName};
use crate::page::{EntryView, FolderView};

/// How long a folder, or a file's first bytes, are waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// A folder of a hundred thousand entries.
const FOLDER_BYTES_MAX: u64 = 64 << 20;

/// Entries that a page shows.
const ENTRIES_SHOWN: usize = 2000;

/// A file is passed on in pieces of this size, and so many wait for a slow reader.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 8;

/// Why nothing can be shown.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is not there, in the words of whoever looked.
    NotThere(String),
    /// The store does not answer, or too many are looking already.
    Busy(String),
}

/// The arguments that every reader gets.
fn arguments(shared: &Shared, verb: &str, snapshot: &SnapshotName, path: &EntryPath) -> Result<Vec<OsString>, Refusal> {
    let unknown = || Refusal::NotThere(format!("no job of this configuration has made {snapshot}"));
    let settings = shared.settings().ok_or_else(unknown)?;
    let job = settings.jobs.get(&snapshot.job()).ok_or_else(unknown)?;
    let store = settings.stores.get(&job.store).ok_or_else(unknown)?;
    let mut arguments = crate::daemon::watched::ends_with_us();
    arguments.push(verb.into());
    if verb == "ls" {
        arguments.push("--json".into());
    }
    arguments.extend(["--store".into(), store.path.clone().into(), "--job".into(), job.name.as_str().into()]);
    arguments.extend(["--require-mount".into(), store.require_mount.flag().into()]);
    arguments.extend(["--state-dir".into(), shared.state_dir.clone().into()]);
    arguments.extend(["--store-timeout".into(), format!("{}s", DEADLINE.as_secs()).into()]);
    let path = if path.is_root() { b".".to_vec() } else { path.as_bytes().to_vec() };
    arguments.extend(["--".into(), snapshot.as_str().into(), OsString::from_vec(path)]);
    Ok(arguments)
}

fn place(shared: &Shared) -> Result<OwnedSemaphorePermit, Refusal> {
    let busy = || Refusal::Busy("too many are reading from the store already; try again in a minute".to_owned());
    Arc::clone(&shared.readers).try_acquire_owned().map_err(|_| busy())
}

/// What lies in a folder.
pub(super) async fn folder(
    shared: Arc<Shared>,
    snapshot: SnapshotName,
    path: EntryPath,
) -> Result<FolderView, Refusal> {
    let arguments = arguments(&shared, "ls", &snapshot, &path)?;
    let place = place(&shared)?;
    let question = Question { arguments, input: Vec::new(), answer_bytes_max: FOLDER_BYTES_MAX };
    let program = shared.program.clone();
    let asked = tokio::task::spawn_blocking(move || match ask(&program, question, DEADLINE) {
        Ok(answer) if answer.code == Some(0) => Ok(answer.out),
        Ok(answer) => Err(refusal(answer.code, &answer.err)),
        Err(NoAnswer::Failed(why)) => Err(Refusal::Busy(why)),
        Err(NoAnswer::Silent(gone)) => {
            // the place is free when the child is gone
            std::thread::spawn(move || {
                let _ = gone.recv();
                drop(place);
            });
            Err(Refusal::Busy(format!("the store has not answered for {} s", DEADLINE.as_secs())))
        }
    });
    let out = asked.await.map_err(|_| Refusal::Busy("the reader ended".to_owned()))??;
    let mut entries: Vec<EntryView> = Vec::new();
    let mut more = 0;
    for line in out.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        if entries.len() >= ENTRIES_SHOWN {
            more += 1;
        } else {
            entries.extend(serde_json::from_slice(line).ok().and_then(|line| entry(&line)));
        }
    }
    Ok(FolderView { snapshot, path, entries, more })
}

fn refusal(code: Option<i32>, said: &str) -> Refusal {
    let said = said.trim().trim_start_matches("backup: ").to_owned();
    if code == Some(6) { Refusal::Busy(said) } else { Refusal::NotThere(said) }
}

/// A line of `ls --json`.
fn entry(line: &serde_json::Value) -> Option<EntryView> {
    let path = EntryPath::parse(&bytes(line, "path")?).ok()?;
    let kind = line["kind"].as_str();
    let kind = [Kind::File, Kind::Folder, Kind::Symlink, Kind::Fifo, Kind::CharDevice, Kind::BlockDevice, Kind::Socket]
        .into_iter()
        .find(|known| Some(known.word()) == kind)
        // a further name of a file is a file to whoever reads it
        .or_else(|| (line["type"] == "entry").then_some(Kind::File));
    let why = line["why"].as_str().map(str::to_owned);
    Some(EntryView {
        path,
        kind,
        bytes: line["size"].as_u64().unwrap_or(0),
        modified: line["mtime"].as_array().and_then(|time| Timestamp::from_second(time.first()?.as_i64()?).ok()),
        target: bytes(line, "target"),
        skipped: (line["type"] == "skipped").then(|| why.unwrap_or_default()),
    })
}

/// Bytes under `key`, or under `key_hex`.
fn bytes(line: &serde_json::Value, key: &str) -> Option<Vec<u8>> {
    if let Some(text) = line[key].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let hex = line[format!("{key}_hex")].as_str()?;
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// A file's content as it comes.
pub(super) struct Content {
    first: Option<Bytes>,
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
}

impl futures_core::Stream for Content {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.pieces.poll_recv(context),
        }
    }
}

/// A file's content; none of it is promised before its first bytes are there.
pub(super) async fn content(shared: Arc<Shared>, snapshot: SnapshotName, path: EntryPath) -> Result<Content, Refusal> {
    let arguments = arguments(&shared, "cat", &snapshot, &path)?;
    let place = place(&shared)?;
    let program = shared.program.clone();
    let (tell, mut pieces) = mpsc::channel(PIECES_MAX);
    let (refuse, refused) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _until_the_child_is_gone = place;
        read(&program, &arguments, &tell, refuse);
    });
    let first = tokio::time::timeout(DEADLINE, pieces.recv()).await;
    match first {
        Err(_) => Err(Refusal::Busy(format!("the store has not answered for {} s", DEADLINE.as_secs()))),
        Ok(Some(Ok(first))) => Ok(Content { first: Some(first), pieces }),
        Ok(Some(Err(error))) => Err(refused.await.unwrap_or_else(|_| Refusal::Busy(error.to_string()))),
        // an empty file
        Ok(None) => Ok(Content { first: None, pieces }),
    }
}

/// Reads a child's output and passes it on. A child that does not end well gives an error at the end.
fn read(
    program: &std::path::Path,
    arguments: &[OsString],
    tell: &mpsc::Sender<std::io::Result<Bytes>>,
    refuse: tokio::sync::oneshot::Sender<Refusal>,
) {
    let mut child = match start(program, arguments) {
        Ok(child) => child,
        Err(error) => {
            let _ = tell.blocking_send(Err(error));
            return;
        }
    };
    drop(child.stdin.take());
    let stderr = child.stderr.take().map(|stderr| {
        std::thread::spawn(move || {
            let (mut stderr, mut text) = (stderr, Vec::new());
            let _ = stderr.by_ref().take(4096).read_to_end(&mut text);
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let mut stdout = child.stdout.take().expect("it was piped");
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match stdout.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                if tell.blocking_send(Ok(Bytes::copy_from_slice(&piece[..count]))).is_err() {
                    // nobody takes it any more
                    let _ = child.kill();
                    break;
                }
            }
            Err(error) => {
                let _ = child.kill();
                let _ = tell.blocking_send(Err(error));
                break;
            }
        }
    }
    drop(stdout);
    let status = child.wait();
    let said = stderr.and_then(|thread| thread.join().ok()).unwrap_or_default();
    if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
        let _ = refuse.send(refusal(status.ok().and_then(|status| status.code()), &said));
        let _ = tell.blocking_send(Err(std::io::Error::other("the file could not be read to its end")));
    }
}
