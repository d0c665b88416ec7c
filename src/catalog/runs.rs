//! Run records: the outcome of every run, failed ones too, in `.runs/`.

use super::error::CatalogError;
use super::list::Catalog;
use crate::domain::{Outcome, RunId};
use crate::report::RunRecord;
use crate::store::{ListedKind, StoreError, create_whole};

/// How many are kept: a year of daily runs and some. Older ones are removed as new ones are written.
pub const RUNS_KEPT: usize = 400;

/// A record is a few lines with at most a thousand names; what is larger was not written by us.
const RUN_BYTES_MAX: u64 = 16 << 20;

impl Catalog {
    /// Stores what is told elsewhere of an earlier run, unless the store has a whole record of that run: the run wrote that
    /// one itself, and who only watched it knows less (that it was silent, or was ended while retention was at work).
    ///
    /// # Errors
    /// If the store refuses.
    pub fn store_earlier_run(&self, outcome: &Outcome) -> Result<(), CatalogError> {
        for name in self.run_names()?.iter().filter(|name| is_of(name, &outcome.run)) {
            match self.read_small(&self.layout().runs().join(name)?, RUN_BYTES_MAX) {
                Ok(bytes) if RunRecord::decode(&bytes).is_some_and(|record| record.run == outcome.run) => return Ok(()),
                Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
                // a crash cut it
                Ok(_) | Err(_) => {}
            }
        }
        self.store_run(outcome)
    }

    /// Stores the outcome of a run, by its own word, under its time and id. Storing it again is no error: the record is the
    /// same. Whatever else is told of the same run gives way.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn store_run(&self, outcome: &Outcome) -> Result<(), CatalogError> {
        let store = self.store();
        for folder in [self.layout().folder(), self.layout().runs()] {
            match store.create_folder(&folder) {
                Ok(()) | Err(StoreError::AlreadyThere { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let key = self.layout().run(outcome.started, &outcome.run);
        let text = RunRecord::from(outcome).encode();
        match create_whole(store, &key, text.as_bytes()) {
            Ok(()) => {}
            Err(StoreError::AlreadyThere { .. }) => {
                if self.read_small(&key, RUN_BYTES_MAX).is_ok_and(|bytes| bytes == text.as_bytes()) {
                    return Ok(());
                }
                // a crash cut it, or somebody else told of this run before it could
                store.remove(&key)?;
                create_whole(store, &key, text.as_bytes())?;
            }
            Err(error) => return Err(error.into()),
        }
        store.sync_folder(&self.layout().runs())?;
        let (others, names): (Vec<String>, Vec<String>) = self
            .run_names()?
            .into_iter()
            // its watcher began a moment before it, so its word may stand under another second
            .partition(|name| is_of(name, &outcome.run) && !key.to_string().ends_with(name.as_str()));
        for old in names.iter().rev().skip(RUNS_KEPT).chain(&others) {
            store.remove(&self.layout().runs().join(old)?)?;
        }
        Ok(())
    }

    /// The newest `count` runs, newest first. Records that cannot be read are passed over: they prove nothing.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn runs(&self, count: usize) -> Result<Vec<RunRecord>, CatalogError> {
        let names = self.run_names()?;
        let stamp = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
        let mut found: Vec<RunRecord> = Vec::new();
        let mut oldest = String::new();
        for name in names.iter().rev() {
            // names tell seconds: runs of one second are told apart by their records
            if found.len() >= count && stamp(name) != oldest {
                break;
            }
            oldest = stamp(name);
            match self.read_small(&self.layout().runs().join(name)?, RUN_BYTES_MAX) {
                Ok(bytes) => found.extend(RunRecord::decode(&bytes)),
                Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
                Err(_) => {}
            }
        }
        found.sort_by_key(|record| std::cmp::Reverse(record.started));
        found.truncate(count);
        Ok(found)
    }

    /// Whether the newest run's record is there and cannot be read: then nobody knows how it went.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn is_last_run_unreadable(&self) -> Result<bool, CatalogError> {
        let Some(newest) = self.run_names()?.pop() else { return Ok(false) };
        match self.read_small(&self.layout().runs().join(&newest)?, RUN_BYTES_MAX) {
            Ok(bytes) => Ok(RunRecord::decode(&bytes).is_none()),
            Err(CatalogError::Store(error)) if error.is_absent() => Err(error.into()),
            Err(_) => Ok(true),
        }
    }

    fn run_names(&self) -> Result<Vec<String>, CatalogError> {
        let listed = match self.store().list(&self.layout().runs()) {
            Ok(listed) => listed,
            Err(StoreError::NotThere { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut names: Vec<String> = listed
            .into_iter()
            .filter(|l| l.kind == ListedKind::File && l.name.ends_with(".json") && !l.name.starts_with('.'))
            .map(|l| l.name)
            .collect();
        names.sort();
        Ok(names)
    }
}

/// Whether this is the name of a record of this run, whenever that began.
fn is_of(name: &str, run: &RunId) -> bool {
    name.strip_suffix(".json").and_then(|name| name.strip_suffix(run.as_str())).is_some_and(|name| name.ends_with('-'))
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::Catalog;
    use crate::domain::{Host, Outcome, RunId, Skips, SnapshotName, StopReason, StoreId, Totals, Trouble, Verdict};
    use crate::store::{FolderStore, Permissions, RequireMount};

    fn at() -> Timestamp {
        "2026-11-21T02:00:00Z".parse().expect("a time")
    }

    fn catalog(folder: &std::path::Path) -> Catalog {
        let (mount, permissions, id) = (RequireMount::No, Permissions::default(), StoreId::from_random([1; 16]));
        FolderStore::init(folder, &mount, permissions, id, at(), "a test", true).expect("a store");
        let opened = FolderStore::open(folder, &mount, permissions, None).expect("a store");
        Catalog::new(std::sync::Arc::new(opened.store), "upload".parse().expect("a job"))
    }

    fn outcome(is_ok: bool, later: SignedDuration) -> Outcome {
        let job: crate::domain::JobName = "upload".parse().expect("a job");
        let trouble = Trouble { what: "it was silent".into(), causes: Vec::new(), advice: "wait".into() };
        Outcome {
            snapshot: is_ok.then(|| SnapshotName::new(&job, at())),
            job,
            run: RunId::from_random([7; 16]),
            host: Host("web1".into()),
            store: "/mnt".into(),
            sources: vec!["/srv".into()],
            started: at() + later,
            finished: at() + later,
            took_ms: 1,
            record: None,
            totals: Totals::default(),
            skips: Skips::default(),
            doubts: Vec::new(),
            notices: Vec::new(),
            failure: (!is_ok).then_some((StopReason::StoreAbsent, trouble)),
        }
    }

    /// A watcher's false word (that the run had failed) took the place of the run's own, where both began within one second,
    /// and stood beside it where they did not.
    #[test]
    fn of_one_run_one_record_is_kept_and_what_the_run_wrote_itself_is_the_one() {
        for later in [SignedDuration::ZERO, SignedDuration::from_secs(1)] {
            let folder = tempfile::tempdir().expect("a folder");
            let catalog = catalog(folder.path());
            let verdicts = || {
                let runs = catalog.runs(9).expect("runs");
                runs.iter().map(|run| run.verdict).collect::<Vec<_>>()
            };
            catalog.store_run(&outcome(true, later)).expect("stored");
            catalog.store_earlier_run(&outcome(false, SignedDuration::ZERO)).expect("passed over");
            assert_eq!(verdicts(), [Verdict::Ok], "{later:?} later");
            let other = Outcome { run: RunId::from_random([8; 16]), ..outcome(false, SignedDuration::ZERO) };
            catalog.store_earlier_run(&other).expect("stored");
            assert_eq!(verdicts().len(), 2, "another run");
            // the other way round: its process was left behind, and comes to its end after all
            catalog.store_run(&Outcome { run: other.run, ..outcome(true, later) }).expect("stored");
            assert_eq!(verdicts(), [Verdict::Ok; 2], "{later:?} later");
        }
    }

    #[test]
    fn a_record_that_a_crash_cut_gives_way_to_what_is_told_of_its_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = catalog(folder.path());
        catalog.store_run(&outcome(true, SignedDuration::ZERO)).expect("stored");
        let key = catalog.layout().run(at(), &outcome(true, SignedDuration::ZERO).run);
        catalog.store().remove(&key).expect("removed");
        crate::store::create_whole(catalog.store(), &key, b"{\"type\":\"run\",").expect("cut");
        catalog.store_earlier_run(&outcome(false, SignedDuration::ZERO)).expect("stored");
        let runs = catalog.runs(9).expect("runs");
        assert_eq!(runs.iter().map(|run| run.verdict).collect::<Vec<_>>(), [Verdict::Failed]);
    }
}
