//! The names in a store: the one place that knows how a job's folder is laid out.

use crate::archive::Codec;
use crate::domain::{JobName, RunId, SnapshotName, stamp_text};
use crate::store::Key;

/// The list of entries.
pub const MANIFEST_NAME: &str = "manifest.jsonl.zst";
/// The checksums of every other file in the folder.
pub const SUMS_NAME: &str = "SHA256SUMS";
/// How to restore without this program.
pub const RESTORE_NAME: &str = "RESTORE.txt";
/// The record.
pub const RECORD_NAME: &str = "snapshot.json";

const LEASE: &str = ".lease.json";
const RUNS: &str = ".runs";
const TRASH: &str = ".trash";
const HOLDS: &str = ".holds";
const VERIFIED: &str = ".verified";
/// Ends the name of the manifest of one finished volume.
pub(super) const PART_ENDING: &str = ".part";
/// In a draft: its run is over, whatever the clock says.
pub(super) const GIVEN_UP: &str = "given-up";
pub(super) const PARTIAL_PREFIX: &str = ".partial-";

/// The file name of the `number`th volume (from 1) that the run of `snapshot` writes.
pub fn volume_name(snapshot: &SnapshotName, number: u32, codec: Codec) -> String {
    match number {
        1 => format!("{snapshot}.{}", codec.ending()),
        _ => format!("{snapshot}-{number}.{}", codec.ending()),
    }
}

/// The codec that a volume's file name tells, at its usual level; none if it is no volume's.
pub fn volume_codec(file: &str) -> Option<Codec> {
    [Codec::default(), Codec::Gzip { level: 6 }, Codec::None]
        .into_iter()
        .find(|codec| file.strip_suffix(codec.ending()).is_some_and(|stem| stem.ends_with('.')))
}

/// The snapshot whose run wrote the volume of that file name, and the volume's number in the run: what [`volume_name`]
/// made it of. None if it is no such name.
pub fn volume_writer(file: &str) -> Option<(SnapshotName, u32)> {
    let codec = volume_codec(file)?;
    let stem = file.strip_suffix(codec.ending())?.strip_suffix('.')?;
    let (snapshot, number) = match stem.parse::<SnapshotName>() {
        Ok(snapshot) => (snapshot, 1),
        Err(_) => {
            let (snapshot, number) = stem.rsplit_once('-')?;
            (snapshot.parse().ok()?, number.parse().ok()?)
        }
    };
    (volume_name(&snapshot, number, codec) == file).then_some((snapshot, number))
}

/// The file name of the manifest of one finished volume in a draft. No snapshot holds such a file.
pub fn part_name(volume: &str, codec: Codec) -> String {
    let stem = volume.strip_suffix(codec.ending()).and_then(|stem| stem.strip_suffix('.'));
    format!("{}{PART_ENDING}", stem.unwrap_or(volume))
}

/// The file name of the list of names in `volume` that a snapshot does not use.
pub fn stale_name(volume: &str, codec: Codec) -> String {
    let stem = volume.strip_suffix(codec.ending()).and_then(|stem| stem.strip_suffix('.'));
    format!("{}.stale", stem.unwrap_or(volume))
}

/// Where things of one job lie.
#[derive(Clone, Debug)]
pub struct Layout {
    job: JobName,
}

impl Layout {
    /// Of `job`.
    pub fn new(job: JobName) -> Self {
        Self { job }
    }

    /// The job.
    pub fn job(&self) -> &JobName {
        &self.job
    }

    /// The job's folder.
    pub fn folder(&self) -> Key {
        Key::top().join(self.job.as_str()).expect("a job's name is a key")
    }

    /// A snapshot's folder.
    pub fn snapshot(&self, name: &SnapshotName) -> Key {
        self.in_folder(name.as_str())
    }

    /// The folder of a run's unfinished work.
    pub fn partial(&self, run: &RunId) -> Key {
        self.in_folder(&format!("{PARTIAL_PREFIX}{run}"))
    }

    /// The lease.
    pub fn lease(&self) -> Key {
        self.in_folder(LEASE)
    }

    /// Where the stale lease of `holder` is put by the run that takes it over. Its name is decided by the holder
    /// alone, so that exclusive creation lets exactly one run take over one lease.
    pub fn takeover(&self, holder: &RunId) -> Key {
        self.in_folder(&format!(".lease-takeover-{holder}"))
    }

    /// The folder of run records.
    pub fn runs(&self) -> Key {
        self.in_folder(RUNS)
    }

    /// Where removed snapshots lie for a while.
    pub fn trash(&self) -> Key {
        self.in_folder(TRASH)
    }

    /// The folder of holds.
    pub fn holds(&self) -> Key {
        self.in_folder(HOLDS)
    }

    /// The folder of what was verified when.
    pub fn verified(&self) -> Key {
        self.in_folder(VERIFIED)
    }

    /// The record of one run.
    pub fn run(&self, started: jiff::Timestamp, run: &RunId) -> Key {
        let name = format!("{}-{run}.json", stamp_text(started));
        self.runs().join(&name).expect("a stamp and an id are a key")
    }

    fn in_folder(&self, name: &str) -> Key {
        self.folder().join(name).expect("names made here are keys")
    }
}

#[cfg(test)]
mod tests {
    use super::{volume_name, volume_writer};
    use crate::archive::Codec;
    use crate::domain::SnapshotName;

    #[test]
    fn a_volumes_name_tells_the_run_that_wrote_it() {
        for job in ["up", "a-2", "my.tar", "up-20260101T000000Z", "x.tar.zst-1"] {
            let name: SnapshotName = format!("{job}-20261121T020000Z").parse().expect("a name");
            for codec in [Codec::default(), Codec::Gzip { level: 9 }, Codec::None] {
                for number in [1, 2, 10_000] {
                    let file = volume_name(&name, number, codec);
                    assert_eq!(volume_writer(&file), Some((name.clone(), number)), "{file}");
                }
            }
        }
        for file in [
            "up-20261121T020000Z",
            "up-20261121T020000Z.stale",
            "up-20261121T020000Z-1.tar",
            "up-20261121T020000Z-02.tar",
            "up-20261121T020000Z-+2.tar",
            "copy of up-20261121T020000Z.tar",
            "tar",
        ] {
            assert_eq!(volume_writer(file), None, "{file}");
        }
    }
}
