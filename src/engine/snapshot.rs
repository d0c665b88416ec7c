//! Making one snapshot, under the lease: what is linked, what is stored, read back, recorded and published.
//!
//! First the source is held against the snapshot before, up to the first difference. If there is none, this snapshot is
//! links and three small files. Otherwise the pipeline runs, and every folder is stored again besides what changed: the
//! newest volume, which is unpacked last, then gives all folders their times and modes, also to plain tar.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::basis::{Basis, Linkable, is_fresh_due};
use super::before::{Before, LinesError, Unchanged, is_unchanged};
use super::likeness::Rules;
use super::pipeline::{PipelineError, Work, store_all};
use super::plan::{AdoptedLines, Earlier, PlanTotals};
use super::room::Admitted;
use super::run::{Context, Job, RunError, Unsound, choose_name, walk};
use super::sanity::{clock_doubt, shrink_doubt};
use super::staged::{FromCommands, run_commands};
use super::stale::{EarlierList, Finished, StaleLists};
use super::write::{EarlierLines, OrderedWriter, Volumes, Written, WrittenVolume, add, unreadable};
use crate::archive::manifest::{self, FrameLine, Header, Line, ManifestWriter, VolumeLine};
use crate::catalog::{
    Adopted, Catalog, Draft, DraftFile, FileRecord, Lease, MANIFEST_NAME, Previous, RESTORE_NAME, Record, Reuse,
    VolumeRecord, check_frames, part_name, restore_guide, stale_name,
};
use crate::domain::{Advise, ByteCount, Digest, Skips, SnapshotName, Totals, Verdict};
use crate::observe::{Event, Phase};
use crate::report::counted;
use crate::source::{Descriptors, Names, SourceError, open_roots};
use crate::store::StoreError;

/// Everything that the steps of one run share.
pub(super) struct Making<'a> {
    pub(super) job: &'a Job,
    pub(super) context: &'a Context<'a>,
    pub(super) descriptors: &'a Arc<Descriptors>,
    pub(super) catalog: &'a Catalog,
    pub(super) lease: &'a Lease,
    pub(super) started: jiff::Timestamp,
    pub(super) admitted: Admitted,
    pub(super) before: Option<(Record, Digest)>,
    /// What the source is measured by: the newest snapshot that was ok, else the newest.
    pub(super) yardstick: Option<(SnapshotName, Totals)>,
    /// What runs before this one had finished, now in this run's draft.
    pub(super) adopted: Vec<Adopted>,
}

/// What a run that made a snapshot did.
pub(super) struct Done {
    pub(super) snapshot: SnapshotName,
    pub(super) record: Digest,
    pub(super) totals: Totals,
    pub(super) skips: Skips,
    pub(super) doubts: Vec<String>,
    pub(super) holds_store: bool,
}

/// What lies in the draft, all of it flushed and looked at through the store's eyes.
struct Filled {
    volumes: Vec<VolumeRecord>,
    manifest: FileRecord,
    manifest_of: Option<SnapshotName>,
    totals: Totals,
    skips: Skips,
    holds_store: bool,
}

/// What the pipeline left.
struct Stored {
    volumes: Vec<WrittenVolume>,
    manifest_file: DraftFile,
    manifest: ManifestWriter,
    manifest_ready: Vec<u8>,
    stale: Finished,
    /// Bytes in use of earlier volumes, by number.
    live: BTreeMap<u32, u64>,
    totals: Totals,
    skips: Skips,
    planned: PlanTotals,
}

/// What the end of a run that stored something gave.
struct Finish {
    volumes: Vec<VolumeRecord>,
    manifest: FileRecord,
    /// Bytes of earlier volumes that had to be copied.
    copied: ByteCount,
    /// Bytes of lists that were written.
    lists: ByteCount,
}

/// A fresh run that has no room is put off without a doubt until it has been due so many times: a partial run suspends
/// retention, and that may be what makes the room.
const PUT_OFF_TIMES: u32 = 2;

impl Making<'_> {
    /// Makes the snapshot and publishes it.
    ///
    /// Nothing in the draft is open when something of it is removed, or when it gets its name: NFS would leave
    /// `.nfs…` files in the snapshot, and CIFS refuse the rename.
    pub(super) fn make(mut self, draft: &mut Draft, note: &mut impl FnMut(String)) -> Result<Done, RunError> {
        let clock = clock_doubt(self.started, self.catalog.store().now()?);
        let snapshot = choose_name(self.catalog, self.started, &self.adopted)?;
        self.context.observer.notice(&Event::Started { snapshot: &snapshot });
        let commands = run_commands(self.job, self.context, draft)?;
        self.context.observer.notice(&Event::Entered { phase: Phase::Storing });
        let mut basis = self.basis(note)?;
        let put_off = basis.as_ref().and_then(|basis| self.put_off(&basis.record, PUT_OFF_TIMES));
        let filled = loop {
            let filled = self.unchanged(basis.as_ref()).and_then(|found| match found {
                Some((basis, unchanged)) => self.link_all(draft, basis, unchanged, note),
                None => self.fill(draft, &snapshot, basis.as_ref(), &commands, note),
            });
            match filled {
                Err(RunError::Unsound(unsound)) => self.build_on_less(&mut basis, unsound, draft, &commands, note)?,
                other => break other?,
            }
        };
        let Filled { volumes, manifest, manifest_of, totals, skips, holds_store } = filled;
        // what they held lies in the volumes now
        let (files, from_commands) = commands.close();
        for file in &files {
            draft.remove(file)?;
        }
        let doubts: Vec<String> = self
            .yardstick
            .as_ref()
            .and_then(|(name, before)| shrink_doubt(name, before, &totals, self.job.max_shrink_percent))
            .into_iter()
            .chain(clock)
            .chain(put_off)
            .chain(from_commands)
            .collect();
        let well = skips.is_empty() && doubts.is_empty();
        let previous = self.before.as_ref();
        let record = Record {
            format: 1,
            snapshot: snapshot.clone(),
            job: self.job.name.clone(),
            run: self.context.run.clone(),
            host: self.context.host.clone(),
            tool: self.context.tool.clone(),
            started: self.started,
            finished: self.context.clock.now(),
            verdict: if well { Verdict::Ok } else { Verdict::Partial },
            sources: self.job.sources.iter().map(|path| path.display().to_string()).collect(),
            commands: self.job.commands.list.iter().map(|command| command.name.clone()).collect(),
            totals,
            skipped: skips.count(),
            doubts: doubts.clone(),
            volumes,
            manifest,
            manifest_of,
            previous: previous.map(|(record, digest)| Previous { snapshot: record.snapshot.clone(), record: *digest }),
        };
        self.context.observer.notice(&Event::Entered { phase: Phase::Publishing });
        draft.add_small(RESTORE_NAME, restore_guide(&record).as_bytes())?;
        self.adopted.clear();
        draft.remove_parts()?;
        let digest = draft.seal(&record)?;
        self.go_on()?;
        let published = draft.publish(self.lease, &snapshot)?;
        let mut doubts = doubts;
        doubts.extend(published.doubt.map(|error| {
            format!(
                "the snapshot is there, but the store did not confirm that its name is durable ({error}): {}",
                error.advice()
            )
        }));
        Ok(Done { snapshot, record: digest, totals, skips, doubts, holds_store })
    }

    fn go_on(&self) -> Result<(), RunError> {
        self.context.cancel.asked().map_or(Ok(()), |stop| Err(RunError::Stopped(stop)))
    }

    /// What can be built on. Where everything is to be read, its volumes are let go: they are only compared with.
    fn basis(&self, note: &mut impl FnMut(String)) -> Result<Option<Basis>, RunError> {
        let Some((before, _)) = self.before.clone() else { return Ok(None) };
        let reuse = &self.job.reuse;
        // what is adopted stays, and counts like what this run writes
        let adopted: BTreeSet<_> = self.adopted.iter().map(|adopted| &adopted.header().snapshot).collect();
        let max_runs = reuse.max_volumes.get().saturating_sub(adopted.len() as u32);
        let Some(mut basis) = Basis::open(self.catalog, before, max_runs, note)? else {
            return Ok(None);
        };
        let is_due = is_fresh_due(reuse.fresh_every, &basis.record, self.started);
        let put_off = self.put_off(&basis.record, 1);
        if reuse.full {
            basis.let_go();
        } else if is_due && put_off.is_none() {
            note("the oldest volume in use has reached `fresh_every`: everything is read and stored anew".to_owned());
            basis.let_go();
        } else if basis.folded > 0 {
            note(format!(
                "folded: {}; what is in use of them is read and stored anew",
                counted(basis.folded as u64, "volume")
            ));
        }
        // later it is told as a doubt
        if let Some(words) = put_off.filter(|_| self.put_off(&basis.record, PUT_OFF_TIMES).is_none()) {
            note(words);
        }
        Ok(Some(basis))
    }

    /// In words, if everything should have been stored anew so many times, and there is no room for it.
    fn put_off(&self, before: &Record, times: u32) -> Option<String> {
        let Admitted::NotFresh { free, needed } = self.admitted else { return None };
        let every = self.job.reuse.fresh_every.map(|every| every.saturating_mul(times));
        is_fresh_due(every, before, self.started).then(|| {
            format!(
                "the oldest volume in use has reached {}`fresh_every`, and there is no room to read and store everything anew ({free} are free, and about {needed} are needed): it was put off, and what did not change is linked once more. Make room, or set `fresh_every` to what the store can hold",
                if times > 1 { "twice " } else { "" }
            )
        })
    }

    /// Something of the snapshot before is not sound after all: the run begins again without it.
    fn build_on_less(
        &self,
        basis: &mut Option<Basis>,
        unsound: Unsound,
        draft: &mut Draft,
        commands: &FromCommands,
        note: &mut impl FnMut(String),
    ) -> Result<(), RunError> {
        let Some(on) = basis else { return Err(RunError::Unsound(unsound)) };
        let name = on.record.snapshot.clone();
        match unsound {
            Unsound::Volume(number) => {
                let volume = on.linkable(number).map(|volume| volume.name.clone()).unwrap_or_default();
                note(format!(
                    "{volume} of {name} cannot be taken over as it was published, so what it holds is read again; run `backup verify {name}`"
                ));
                on.give_up(number);
            }
            Unsound::Manifest(why) => {
                note(format!("nothing of {name} is reused, everything is read: {why}; run `backup verify {name}`"));
                *basis = None;
            }
        }
        let adopted = self.adopted.iter();
        let keep = adopted.flat_map(|a| [a.line.name.clone(), part_name(&a.line.name, a.line.codec)]);
        draft.restart(&keep.chain(commands.files.iter().cloned()).collect::<Vec<_>>())?;
        Ok(())
    }

    fn rules(&self, basis: &Basis) -> Rules {
        Rules::new(basis.record.started, self.job.reuse.ctime, self.job.reuse.inode)
    }

    /// Whether the source is in every entry what the snapshot before holds.
    fn unchanged<'b>(&self, basis: Option<&'b Basis>) -> Result<Option<(&'b Basis, Unchanged)>, RunError> {
        // what a command gives is new each time
        let is_simple = self.adopted.is_empty() && self.job.commands.list.is_empty();
        let candidate = basis.filter(|basis| basis.is_whole() && basis.record.skipped == 0 && is_simple);
        let Some(basis) = candidate else { return Ok(None) };
        let roots = open_roots(&self.job.sources, self.job.naming(), self.descriptors)?;
        let prefixes = roots.iter().map(|root| root.prefix().clone()).collect();
        let walk = walk(self.job, self.catalog.store(), roots);
        let unchanged = is_unchanged(basis, &self.rules(basis), &Names::load(), prefixes, walk, self.context)
            .map_err(lines_error)?;
        self.go_on()?;
        Ok(unchanged.map(|unchanged| (basis, unchanged)))
    }

    /// Nothing changed: the snapshot is the one before under another name.
    fn link_all(
        &self,
        draft: &mut Draft,
        basis: &Basis,
        unchanged: Unchanged,
        note: &mut impl FnMut(String),
    ) -> Result<Filled, RunError> {
        let Record { snapshot: from, volumes, manifest, manifest_of, .. } = &basis.record;
        let mut totals = unchanged.totals;
        let mut copied = ByteCount::ZERO;
        let stale = volumes.iter().filter_map(|volume| volume.stale.clone());
        for file in volumes.iter().map(VolumeRecord::file).chain(stale).chain([manifest.clone()]) {
            match draft.reuse(from, &file, basis.seen(&file.name), self.context.observer)? {
                Reuse::Linked => {}
                Reuse::Copied => copied += ByteCount(file.size),
                Reuse::Unsound => return Err(RunError::Unsound(basis.which(&file.name))),
            }
            self.go_on()?;
        }
        tell_copied(copied, note);
        totals.reused_bytes = ByteCount(volumes.iter().map(|volume| volume.size).sum());
        totals.stored_bytes = copied;
        Ok(Filled {
            volumes: volumes.clone(),
            manifest: manifest.clone(),
            manifest_of: Some(manifest_of.clone().unwrap_or_else(|| from.clone())),
            totals,
            skips: Skips::default(),
            holds_store: unchanged.holds_store,
        })
    }

    /// Something changed, or all is to be read: the pipeline runs.
    fn fill(
        &self,
        draft: &mut Draft,
        snapshot: &SnapshotName,
        basis: Option<&Basis>,
        commands: &FromCommands,
        note: &mut impl FnMut(String),
    ) -> Result<Filled, RunError> {
        let mut stored = self.store(draft, snapshot, basis, commands)?;
        self.check_not_empty(&stored.planned)?;
        let mut totals = stored.totals;
        totals.read_bytes += commands.read;
        add(&mut totals, &stored.planned.counted);
        totals.excluded = stored.planned.counted.excluded;
        totals.sockets = stored.planned.counted.sockets;
        totals.mounts = stored.planned.counted.mounts;
        let skips = std::mem::take(&mut stored.skips);
        let holds_store = stored.planned.holds_store;
        let Finish { volumes, manifest, copied, lists } = self.finish(draft, snapshot, basis, stored)?;
        tell_copied(copied, note);
        let (own, earlier): (Vec<_>, Vec<_>) = volumes.iter().partition(|volume| volume.written_by == *snapshot);
        let size = |volumes: Vec<&VolumeRecord>| volumes.iter().map(|volume| volume.size).sum::<u64>();
        totals.stored_bytes = ByteCount(size(own) + manifest.size) + copied + lists;
        totals.reused_bytes = ByteCount(size(earlier));
        Ok(Filled { volumes, manifest, manifest_of: None, totals, skips, holds_store })
    }

    /// The pipeline: everything that is in the source into the draft's volumes and manifest, or kept.
    fn store(
        &self,
        draft: &Draft,
        snapshot: &SnapshotName,
        basis: Option<&Basis>,
        commands: &FromCommands,
    ) -> Result<Stored, RunError> {
        let (job, context) = (self.job, self.context);
        let first_adopted = basis.map_or(0, Basis::next_number);
        let header = Header {
            manifest: manifest::FORMAT,
            job: job.name.clone(),
            snapshot: snapshot.clone(),
            run: context.run.clone(),
            tool: context.tool.clone(),
            started: Some(self.started),
        };
        let mut ready = Vec::new();
        let manifest = ManifestWriter::new(&header, &mut ready);
        let volumes = Volumes {
            draft,
            snapshot,
            codec: job.codec,
            first_number: first_adopted + self.adopted.len() as u32,
            size_max: job.reuse.volume_size,
            header: &header,
        };
        let earlier_lines = basis
            .map(|basis| EarlierLines { snapshot: basis.record.snapshot.clone(), lines: basis.manifest.raw_lines() });
        let mut lists: BTreeMap<u32, EarlierList> = basis.map(Basis::lists).unwrap_or_default();
        for (adopted, number) in self.adopted.iter().zip(first_adopted..) {
            let name = stale_name(&adopted.line.name, adopted.line.codec);
            lists.insert(number, EarlierList { name, list: None });
        }
        let stale = StaleLists::new(self.catalog, draft, lists);
        let manifest_file = draft.create_file(MANIFEST_NAME)?;
        let writer =
            OrderedWriter::new(volumes, manifest_file, manifest, ready, earlier_lines, stale, context.observer)?;
        let roots = open_roots(&job.sources, job.naming(), self.descriptors)?;
        let names = Names::load();
        let work = Work {
            codec: job.codec,
            threads: job.threads,
            names: &names,
            roots: roots.iter().map(|root| root.prefix().clone()).collect(),
            commands: &commands.all,
            clock: context.clock,
            cancel: context.cancel,
            observer: context.observer,
        };
        let earlier = basis.map(|basis| Earlier { basis, before: Before::new(basis), rules: self.rules(basis) });
        let adopted = self.adopted.iter().zip(first_adopted..).map(|(adopted, number)| {
            let began = adopted.header().started.unwrap_or(jiff::Timestamp::MIN);
            AdoptedLines::new(&adopted.manifest, number, Rules::new(began, job.reuse.ctime, job.reuse.inode))
        });
        let (adopted, walk) = (adopted.collect(), walk(job, self.catalog.store(), roots));
        let (written, planned) = store_all(&work, walk, earlier, adopted, writer).map_err(|error| match error {
            PipelineError::Store(error) => error.into(),
            PipelineError::Lines(error) => lines_error(error),
            PipelineError::Stopped(stop) => RunError::Stopped(stop),
            PipelineError::Panicked => RunError::Panicked,
        })?;
        let Written { volumes, manifest_file, manifest, manifest_ready, stale, totals, live: found, skips } = written;
        let mut live = planned.live.clone();
        for (number, bytes) in found {
            *live.entry(number).or_default() += bytes;
        }
        let linked: BTreeSet<u32> = live.keys().copied().collect();
        let stale = stale.finish(&linked)?;
        Ok(Stored { volumes, manifest_file, manifest, manifest_ready, stale, live, totals, skips, planned })
    }

    fn check_not_empty(&self, planned: &PlanTotals) -> Result<(), RunError> {
        let sources = &self.job.sources;
        if planned.filled_roots == sources.len() || self.job.allow_empty {
            return Ok(());
        }
        let path = match sources.as_slice() {
            [only] => only.clone(),
            several => {
                let all: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
                PathBuf::from(format!("({} of {})", several.len() - planned.filled_roots, all.join(", ")))
            }
        };
        Err(SourceError::Empty { path }.into())
    }

    /// Links what is in use of earlier volumes, looks at this run's through the store's eyes, and ends the manifest.
    fn finish(
        &self,
        draft: &mut Draft,
        snapshot: &SnapshotName,
        basis: Option<&Basis>,
        stored: Stored,
    ) -> Result<Finish, RunError> {
        let Stored { volumes, mut manifest_file, mut manifest, mut manifest_ready, mut stale, live, .. } = stored;
        let (mut records, mut lines, mut copied) = (Vec::new(), Vec::new(), ByteCount::ZERO);
        self.context.observer.notice(&Event::Entered { phase: Phase::Flushing });
        for (number, live) in &live {
            let Some((basis, Linkable { record, line, .. })) =
                basis.and_then(|basis| Some((basis, basis.linkable(*number)?)))
            else {
                continue;
            };
            match draft.reuse(
                &basis.record.snapshot,
                &record.file(),
                basis.seen(&record.name),
                self.context.observer,
            )? {
                Reuse::Linked => {}
                Reuse::Copied => copied += ByteCount(record.size),
                Reuse::Unsound => return Err(RunError::Unsound(Unsound::Volume(*number))),
            }
            let stale = stale.take(*number, draft, Some(basis), self.context.observer)?;
            records.push(VolumeRecord { live: *live, stale, ..record.clone() });
            lines.push(VolumeLine { volume: *number, ..line.clone() });
            self.go_on()?;
        }
        let first_adopted = basis.map_or(0, Basis::next_number);
        for (adopted, number) in self.adopted.iter().zip(first_adopted..) {
            let Some(live) = live.get(&number) else {
                draft.remove(&adopted.file.name)?;
                continue;
            };
            draft.add(adopted.file.clone());
            let stale = stale.take(number, draft, None, self.context.observer)?;
            records.push(adopted_record(adopted, *live, stale).map_err(|error| unreadable(snapshot, error))?);
            lines.push(VolumeLine { volume: number, ..adopted.line.clone() });
        }
        self.context.observer.notice(&Event::Entered { phase: Phase::ReadingBack });
        for volume in &volumes {
            self.read_back(draft, volume)?;
            draft.add(volume.file.clone());
            let record = self.record_of(volume, snapshot);
            lines.push(record.line(volume.number));
            records.push(record);
        }
        let mut put = |frame: &FrameLine, ready: &mut Vec<u8>| {
            manifest.frame(frame, ready);
            if ready.len() >= 1 << 20 {
                manifest_file.write(ready)?;
                ready.clear();
            }
            Ok::<(), StoreError>(())
        };
        if let Some(basis) = basis.filter(|_| !live.is_empty()) {
            for frame in basis.manifest.frames() {
                let frame = frame.map_err(lines_error)?;
                let volume = basis.manifest.number_of(frame.volume);
                if live.contains_key(&volume) {
                    put(&FrameLine { volume, ..frame }, &mut manifest_ready)?;
                }
            }
        }
        for (adopted, volume) in self.adopted.iter().zip(first_adopted..).filter(|(_, n)| live.contains_key(n)) {
            for frame in adopted.manifest.frames() {
                let frame = frame.map_err(|error| unreadable(snapshot, error))?;
                put(&FrameLine { volume, ..frame }, &mut manifest_ready)?;
            }
        }
        for frame in volumes.iter().flat_map(|volume| &volume.frames) {
            put(frame, &mut manifest_ready)?;
        }
        for line in &lines {
            manifest.volume(line, &mut manifest_ready);
        }
        manifest.finish(&mut manifest_ready);
        manifest_file.write(&manifest_ready)?;
        let manifest = manifest_file.finish()?;
        draft.read_back(&manifest, self.context.observer)?;
        draft.add(manifest.clone());
        Ok(Finish { volumes: records, manifest, copied, lists: ByteCount(stale.stored) })
    }

    /// Compares a volume, frame by frame, with what was written.
    fn read_back(&self, draft: &Draft, volume: &WrittenVolume) -> Result<(), RunError> {
        let WrittenVolume { file, frames, table, .. } = volume;
        let key = draft.key(&file.name)?;
        let reader = self.catalog.store().open(&key)?;
        if reader.len() != file.size {
            let (place, found) = (key.to_string(), reader.len());
            return Err(StoreError::WrongLength { place, found, written: file.size }.into());
        }
        let (threads, context) = (self.job.threads, self.context);
        let damaged = check_frames(&*reader, frames, threads, true, context.cancel, context.observer);
        let frames_end = file.size - table.len() as u64;
        let mut table_back = vec![0; table.len()];
        reader.read_at(frames_end, &mut table_back)?;
        if table_back != *table {
            return Err(StoreError::ReadBackDiffers { place: key.to_string(), offset: frames_end }.into());
        }
        self.go_on()?;
        if let Some(damage) = damaged.into_iter().next() {
            let (place, offset) = (key.to_string(), damage.offset);
            return Err(damage.error.unwrap_or(StoreError::ReadBackDiffers { place, offset }).into());
        }
        Ok(())
    }

    fn record_of(&self, volume: &WrittenVolume, snapshot: &SnapshotName) -> VolumeRecord {
        VolumeRecord {
            name: volume.file.name.clone(),
            codec: self.job.codec,
            size: volume.file.size,
            raw_size: volume.raw_size,
            frames: volume.frames.len() as u64,
            sha256: volume.file.sha256,
            written_by: snapshot.clone(),
            held: volume.held,
            live: volume.held,
            stale: None,
        }
    }
}

fn adopted_record(adopted: &Adopted, live: u64, stale: Option<FileRecord>) -> Result<VolumeRecord, LinesError> {
    let mut held = 0;
    for line in adopted.manifest.lines() {
        if let Line::Entry(entry) = line? {
            held += entry.held();
        }
    }
    let VolumeLine { codec, size, raw_size, frames, sha256, .. } = adopted.line;
    let (name, written_by) = (adopted.line.name.clone(), adopted.header().snapshot.clone());
    Ok(VolumeRecord { name, codec, size, raw_size, frames, sha256, written_by, held, live, stale })
}

fn lines_error(error: LinesError) -> RunError {
    match error {
        LinesError::Read(error) => error.into(),
        other => RunError::Unsound(Unsound::Manifest(other.to_string())),
    }
}

fn tell_copied(copied: ByteCount, note: &mut impl FnMut(String)) {
    if copied > ByteCount::ZERO {
        note(format!(
            "the store refuses hard links, so {copied} of unchanged volumes were copied: each snapshot takes its full size there"
        ));
    }
}
