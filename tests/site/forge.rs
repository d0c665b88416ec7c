//! Forged snapshots: everything in the folder agrees with everything else, and something is not true.
//!
//! A snapshot without compression is taken apart into its tar stream and its manifest's lines, changed, and put together
//! again with right checksums everywhere. So only who compares the content of the volume with the manifest can tell.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]
#![allow(dead_code, clippy::allow_attributes, reason = "each story uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};

use backup::archive::manifest::{Entry, FrameLine, Header, Line, ManifestReader, ManifestWriter, VolumeLine};
use backup::catalog::{FileRecord, Record, Sums, restore_guide};
use backup::domain::{Digest, FrameSum, SnapshotName};

/// A snapshot of one uncompressed volume, taken apart.
pub struct Forged {
    folder: PathBuf,
    pub header: Header,
    pub lines: Vec<Line>,
    pub volume: VolumeLine,
    /// The tar stream, which is the volume's file.
    pub raw: Vec<u8>,
    /// Bytes of a frame.
    pub frame_bytes: usize,
}

impl Forged {
    pub fn read(folder: &Path) -> Self {
        let bytes = fs::read(folder.join("manifest.jsonl.zst")).expect("a manifest");
        let manifest = ManifestReader::open(bytes).expect("a manifest");
        let lines = manifest.lines().collect::<Result<Vec<_>, _>>().expect("lines");
        let volume = manifest.volumes().expect("volumes").remove(0);
        let raw = fs::read(folder.join(&volume.name)).expect("a volume");
        let header = manifest.header().clone();
        Self { folder: folder.to_owned(), header, lines, volume, raw, frame_bytes: 1 << 20 }
    }

    pub fn entries(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.lines.iter_mut().filter_map(|line| match line {
            Line::Entry(entry) => Some(&mut **entry),
            Line::Skip(_) => None,
        })
    }

    pub fn entry(&mut self, path: &str) -> &mut Entry {
        self.entries().find(|entry| entry.path.to_string() == path).expect("an entry")
    }

    /// Puts bytes into the stream; what lies behind moves.
    pub fn insert(&mut self, at: u64, bytes: &[u8]) {
        for entry in self.entries() {
            if entry.placed.offset >= at {
                entry.placed.offset += bytes.len() as u64;
                entry.placed.body += bytes.len() as u64;
            }
        }
        self.raw.splice(at as usize..at as usize, bytes.iter().copied());
    }

    /// Another name for the snapshot, in a folder of its own; its volume is a link to this one's.
    pub fn linked_as(mut self, name: &SnapshotName) -> Self {
        let folder = self.folder.with_file_name(name.as_str());
        fs::create_dir(&folder).expect("a folder");
        for file in [&self.volume.name, "snapshot.json", "RESTORE.txt", "SHA256SUMS"] {
            let (from, to) = (self.folder.join(file), folder.join(file));
            if *file == self.volume.name {
                fs::hard_link(from, to).expect("a link");
            } else {
                fs::copy(from, to).expect("a copy");
            }
        }
        self.folder = folder;
        self.header.snapshot = name.clone();
        self
    }

    /// Writes it with right checksums. The volume is left alone if its bytes are the same.
    pub fn write(mut self) {
        let volume_path = self.folder.join(&self.volume.name);
        if fs::read(&volume_path).expect("a volume") != self.raw {
            fs::write(&volume_path, &self.raw).expect("written");
        }
        let frames: Vec<FrameLine> = self
            .raw
            .chunks(self.frame_bytes)
            .enumerate()
            .map(|(number, bytes)| FrameLine {
                frame: number as u64,
                volume: 0,
                offset: (number * self.frame_bytes) as u64,
                stored: bytes.len() as u64,
                raw_offset: (number * self.frame_bytes) as u64,
                raw: bytes.len() as u64,
                xxh128: FrameSum::of(bytes),
            })
            .collect();
        self.volume.size = self.raw.len() as u64;
        self.volume.raw_size = self.raw.len() as u64;
        self.volume.frames = frames.len() as u64;
        self.volume.sha256 = Digest::of(&self.raw);
        let mut manifest = Vec::new();
        let mut writer = ManifestWriter::new(&self.header, &mut manifest);
        for line in &self.lines {
            match line {
                Line::Entry(entry) => writer.entry(entry, &mut manifest),
                Line::Skip(skip) => writer.skip(skip, &mut manifest),
            }
        }
        frames.iter().for_each(|frame| writer.frame(frame, &mut manifest));
        writer.volume(&self.volume, &mut manifest);
        writer.finish(&mut manifest);
        fs::write(self.folder.join("manifest.jsonl.zst"), &manifest).expect("written");
        let path = self.folder.join("snapshot.json");
        let mut record: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).expect("a record")).expect("a record");
        record["snapshot"] = self.header.snapshot.as_str().into();
        record["manifest"]["size"] = manifest.len().into();
        record["manifest"]["sha256"] = Digest::of(&manifest).to_string().into();
        for (key, number) in
            [("size", self.volume.size), ("raw_size", self.volume.raw_size), ("frames", self.volume.frames)]
        {
            record["volumes"][0][key] = number.into();
        }
        record["volumes"][0]["sha256"] = self.volume.sha256.to_string().into();
        fs::write(&path, record.to_string()).expect("written");
        guide(&self.folder);
        sum(&self.folder);
    }
}

/// Writes `RESTORE.txt` anew, as the record has it.
pub fn guide(folder: &Path) {
    let record = fs::read(folder.join("snapshot.json")).expect("a record");
    let record: Record = serde_json::from_slice(&record).expect("a record");
    fs::write(folder.join("RESTORE.txt"), restore_guide(&record)).expect("written");
}

/// Writes the `.stale` list of the volume with that number, and makes the record, the guide and the sums fit.
pub fn list(folder: &Path, number: usize, text: &[u8]) {
    let path = folder.join("snapshot.json");
    let mut record: Record = serde_json::from_slice(&fs::read(&path).expect("a record")).expect("a record");
    let volume = &mut record.volumes[number];
    let name = backup::catalog::stale_name(&volume.name, volume.codec);
    fs::write(folder.join(&name), text).expect("written");
    volume.stale = Some(FileRecord { name, size: text.len() as u64, sha256: Digest::of(text) });
    fs::write(&path, serde_json::to_vec(&record).expect("JSON")).expect("written");
    guide(folder);
    sum(folder);
}

/// Writes `SHA256SUMS` anew, of whatever is there.
pub fn sum(folder: &Path) {
    let names = super::names_in(folder).into_iter().filter(|name| name != "SHA256SUMS");
    let all = names.map(|name| {
        let digest = Digest::of(&fs::read(folder.join(&name)).expect("a file"));
        (name, digest)
    });
    fs::write(folder.join("SHA256SUMS"), Sums::new(all.collect()).encode()).expect("written");
}
