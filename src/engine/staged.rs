//! Command sources: the output of a command becomes one file of the snapshot.
//!
//! A tar header says the length first, and nobody knows it before the command has ended. So the output is compressed into
//! frames while it comes and lies in the draft as a file of its own, in the store and not on this machine's disk; then the
//! entry gets its header, and the ordered writer copies the frames into the volume as they are, each compared with its
//! checksum on the way. For that while the store needs room for the output twice, compressed. Memory is a few pieces and a
//! line for each frame.
//!
//! The danger is half a dump that looks like a whole one: only what a command gave that ended well becomes a file. What
//! does not is removed at once and told.

use std::collections::BTreeMap;

use super::run::{Context, Job, RunError};
use crate::archive::manifest::{Entry, EntryKind, Placed};
use crate::archive::{FRAME_BYTES, FrameMaker, TarHeader, TarKind, pad};
use crate::catalog::{CatalogError, Draft, DraftFile};
use crate::command::{self, CommandError, Heard, Launch, Output};
use crate::domain::{ByteCount, EntryPath, FileTime, FrameSum, Hasher, Skip, SkipCause, Trouble, Xattrs};
use crate::observe::{Event, Phase};
use crate::source::Names;
use crate::store::{Key, StoreError, StoreReader};

/// A command whose output is a file of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CommandSource {
    /// The path of the file. It lies in no source, and no source in it.
    pub name: String,
    /// What is started.
    pub spec: command::Spec,
}

/// Commands of a job, and what they need.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    /// In the order in which they are run.
    pub list: Vec<CommandSource>,
    /// This program's own file: it watches over them.
    pub guard: std::path::PathBuf,
    /// The environment of all.
    pub environment: BTreeMap<String, String>,
    /// How long one without a deadline may give nothing.
    pub silence: std::time::Duration,
}

/// What became of one command.
#[derive(Clone)]
pub(super) enum FromCommand {
    /// Its output, whole.
    File(std::sync::Arc<Staged>),
    /// Nothing.
    Nothing(Skip),
}

impl FromCommand {
    /// Where it stands in the snapshot.
    pub(super) fn path(&self) -> &EntryPath {
        match self {
            Self::File(staged) => &staged.entry.path,
            Self::Nothing(skip) => &skip.path,
        }
    }
}

/// An output that lies in the draft, in frames.
pub(super) struct Staged {
    /// Its line in the manifest, with offsets from where its header begins.
    pub(super) entry: Entry,
    /// Its header, as it stands in the tar stream.
    pub(super) header: Vec<u8>,
    /// The last holds what pads the body, too.
    pub(super) frames: Vec<StagedFrame>,
    reader: Box<dyn StoreReader>,
    place: Key,
}

/// One frame of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct StagedFrame {
    offset: u64,
    stored: u64,
    pub(super) raw: u64,
    pub(super) xxh128: FrameSum,
    pub(super) checksum: u32,
}

impl Staged {
    /// Reads a frame as it is stored.
    ///
    /// # Errors
    /// If the store does not give it, or gives other bytes than it got.
    pub(super) fn read(&self, part: usize, into: &mut Vec<u8>) -> Result<(), StoreError> {
        let frame = &self.frames[part];
        into.resize(frame.stored as usize, 0);
        self.reader.read_at(frame.offset, into)?;
        if FrameSum::of(into) != frame.xxh128 {
            return Err(StoreError::ReadBackDiffers { place: self.place.to_string(), offset: frame.offset });
        }
        Ok(())
    }
}

/// What the commands of a run gave.
#[derive(Default)]
pub(super) struct FromCommands {
    /// In the order of their paths.
    pub(super) all: Vec<FromCommand>,
    /// The files in the draft; none of them is part of the snapshot.
    pub(super) files: Vec<String>,
    /// What makes the run partial although all went well.
    pub(super) doubts: Vec<String>,
    /// Bytes that came from commands.
    pub(super) read: ByteCount,
}

impl FromCommands {
    /// Closes what lies in the draft. Gives the names of the files, which can be removed now, and the doubts.
    pub(super) fn close(self) -> (Vec<String>, Vec<String>) {
        (self.files, self.doubts)
    }
}

/// No command gave anything, and there is nothing else.
#[derive(Debug)]
pub(super) struct NothingCame {
    skips: Vec<Skip>,
}

impl NothingCame {
    pub(super) fn trouble(&self) -> Trouble {
        Trouble {
            what: "no command of the job gave anything, and it has no other source".to_owned(),
            causes: self.skips.iter().map(|skip| format!("{}: {}", skip.path, skip.why)).collect(),
            advice: "run them by hand as the user that runs this; nothing was stored".to_owned(),
        }
    }
}

/// Runs the commands of the job, one after another, each to its end.
pub(super) fn run_commands(job: &Job, context: &Context<'_>, draft: &Draft) -> Result<FromCommands, RunError> {
    let commands = &job.commands;
    let mut from = FromCommands::default();
    if commands.list.is_empty() {
        return Ok(from);
    }
    context.observer.notice(&Event::Entered { phase: Phase::Commands });
    let names = Names::load();
    let launch = Launch {
        guard: &commands.guard,
        base: &commands.environment,
        silence: commands.silence,
        clock: context.clock,
        cancel: context.cancel,
    };
    for (source, number) in commands.list.iter().zip(1_u32..) {
        let path = EntryPath::parse(source.name.as_bytes()).expect("the configuration was checked: it is a path");
        let file = format!("command-{number}");
        let mut stage = Stage::begin(job, draft, &file)?;
        let mut hear = |heard: Heard<'_>| {
            let (mut bytes, mut stored) = (ByteCount::ZERO, ByteCount::ZERO);
            if let Heard::Output(output) = heard {
                let before = stage.file.written();
                stage.take(output)?;
                (bytes, stored) = (ByteCount(output.len() as u64), ByteCount(stage.file.written() - before));
            }
            // a command that is silent is no store that is
            context.observer.notice(&Event::Advanced { entries: 0, bytes, stored });
            Ok::<(), StoreError>(())
        };
        let ended = launch.run(&source.spec, &BTreeMap::new(), Output::Heard, &mut hear)?;
        if let Some(stop) = context.cancel.asked() {
            return Err(RunError::Stopped(stop));
        }
        match ended {
            Ok(()) => {
                let staged = stage.end(path, context, &names, draft)?;
                from.read += ByteCount(staged.entry.size);
                if staged.entry.size == 0 {
                    from.doubts.push(format!(
                        "the command of {} ended well and gave nothing: its file is empty; check that it is meant to",
                        staged.entry.path
                    ));
                }
                from.files.push(file);
                from.all.push(FromCommand::File(std::sync::Arc::new(staged)));
            }
            Err(error) => {
                draft.drop_file(stage.file)?;
                from.all.push(FromCommand::Nothing(skip(path, &error)));
            }
        }
    }
    from.all.sort_by(|one, other| one.path().cmp(other.path()));
    let skips = from.all.iter().map(|from| match from {
        FromCommand::File(_) => None,
        FromCommand::Nothing(skip) => Some(skip.clone()),
    });
    match skips.collect::<Option<Vec<Skip>>>() {
        Some(skips) if job.sources.is_empty() => Err(RunError::Commands(NothingCame { skips })),
        _ => Ok(from),
    }
}

fn skip(path: EntryPath, error: &CommandError) -> Skip {
    let mut why = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        why = format!("{why}: {cause}");
    }
    Skip { path, cause: SkipCause::Command, why }
}

/// An output that is coming.
struct Stage {
    file: DraftFile,
    maker: FrameMaker,
    raw: Vec<u8>,
    stored: Vec<u8>,
    hasher: Hasher,
    size: u64,
    frames: Vec<StagedFrame>,
    name: String,
}

impl Stage {
    fn begin(job: &Job, draft: &Draft, name: &str) -> Result<Self, CatalogError> {
        Ok(Self {
            file: draft.create_file(name)?,
            maker: FrameMaker::new(job.codec),
            raw: Vec::with_capacity(FRAME_BYTES),
            stored: Vec::new(),
            hasher: Hasher::new(),
            size: 0,
            frames: Vec::new(),
            name: name.to_owned(),
        })
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            // a full one waits for the next byte: the last has to be padded
            if self.raw.len() == FRAME_BYTES {
                self.put()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(FRAME_BYTES - self.raw.len()));
            self.raw.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn put(&mut self) -> Result<(), StoreError> {
        let offset = self.file.written();
        let checksum = self.maker.make(&self.raw, &mut self.stored);
        self.file.write(&self.stored)?;
        self.frames.push(StagedFrame {
            offset,
            stored: self.stored.len() as u64,
            raw: self.raw.len() as u64,
            xxh128: FrameSum::of(&self.stored),
            checksum,
        });
        self.raw.clear();
        Ok(())
    }

    fn end(mut self, path: EntryPath, context: &Context<'_>, names: &Names, draft: &Draft) -> Result<Staged, RunError> {
        if !self.raw.is_empty() {
            pad(&mut self.raw, self.size);
            self.put()?;
        }
        self.file.finish()?;
        let place = draft.key(&self.name)?;
        let reader = draft.store().open(&place)?;
        let now = context.clock.now().as_nanosecond();
        let time = FileTime {
            sec: i64::try_from(now.div_euclid(1_000_000_000)).unwrap_or_default(),
            nsec: u32::try_from(now.rem_euclid(1_000_000_000)).unwrap_or_default(),
        };
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (owner, xattrs, mode) = (names.owner(uid, gid), Xattrs::default(), 0o600);
        let kind = TarKind::File { size: self.size };
        let head = TarHeader { path: &path, kind, mode, uid, gid, owner: &owner, mtime: time, xattrs: &xattrs };
        let mut header = Vec::new();
        head.encode(&mut header);
        let entry = Entry {
            path: path.clone(),
            kind: EntryKind::File,
            mode,
            uid,
            gid,
            owner: owner.clone(),
            size: self.size,
            mtime: time,
            ctime: time,
            inode: 0,
            sha256: Some(self.hasher.finish()),
            xattrs: None,
            sparse: false,
            changed: false,
            placed: Placed { volume: 0, offset: 0, body: header.len() as u64, stored: self.size },
        };
        Ok(Staged { entry, header, frames: self.frames, reader, place })
    }
}
