//! What can go wrong with what lies in a store.

use crate::domain::{Advise, SnapshotName};
use crate::store::{KeyError, StoreError};

/// A failed look at, or change of, what lies in a store.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A name that no store takes.
    #[error(transparent)]
    Name(#[from] KeyError),
    /// There is no such snapshot.
    #[error("there is no snapshot {name}")]
    NoSnapshot {
        /// What was asked for.
        name: String,
    },
    /// A file of a snapshot cannot be understood.
    #[error("{file} of snapshot {snapshot} is damaged: {why}")]
    Damaged {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The file in its folder.
        file: String,
        /// In words.
        why: String,
    },
    /// Somebody removed the snapshot while it was being held. The hold is written.
    #[error("{snapshot} was removed while it was being held")]
    RemovedMeanwhile {
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// What is to be taken back from the trash is not what was published.
    #[error("{snapshot} in the trash is not whole: {}", .damages.join("; "))]
    TrashDamaged {
        /// The snapshot.
        snapshot: SnapshotName,
        /// What is missing or cut, in words; never empty.
        damages: Vec<String>,
    },
    /// What is to be taken back is there.
    #[error("a snapshot {snapshot} is there already")]
    StillThere {
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// Somebody wrote to a file of an earlier snapshot while a run linked it.
    #[error("{place}, which is a file of an earlier snapshot too, was written to while this run was at work")]
    WrittenTo {
        /// Which.
        place: String,
    },
    /// What was to be made anew is not in its place: the store refused to put it back there. It is held.
    #[error("{snapshot} was put aside to be made anew, and that failed")]
    LeftAside {
        /// The snapshot.
        snapshot: SnapshotName,
        /// Why.
        source: Box<CatalogError>,
    },
    /// A later version of this program wrote it.
    #[error("{file} of snapshot {snapshot} has format {found}, and this program reads up to {newest}")]
    Newer {
        /// The snapshot.
        snapshot: SnapshotName,
        /// The file in its folder.
        file: String,
        /// Its version.
        found: u32,
        /// Ours.
        newest: u32,
    },
    /// Another run holds the lease.
    #[error("the job is leased by {holder}")]
    Leased {
        /// In words.
        holder: String,
    },
    /// The lease was lost while the run worked.
    #[error("the lease was taken over by {holder} while this run worked")]
    LeaseLost {
        /// In words.
        holder: String,
    },
}

impl Advise for CatalogError {
    fn advice(&self) -> String {
        match self {
            Self::Store(error) => error.advice(),
            Self::Name(_) => "choose a shorter or plainer name for the job".into(),
            Self::NoSnapshot { .. } => "`backup list` shows the snapshots that are there".into(),
            Self::Damaged { .. } => "run `backup verify` on it to see what the damage costs; other snapshots are untouched".into(),
            Self::RemovedMeanwhile { snapshot } => format!(
                "`backup undelete {snapshot}` takes it back; the hold stays, so it is not removed for good and is held once it is back"
            ),
            Self::TrashDamaged { snapshot, .. } => format!(
                "other snapshots of the same time may be whole; `backup undelete {snapshot} --damaged` takes back what there is"
            ),
            Self::WrittenTo { .. } => {
                "nothing was published. Find out who writes into this store; `backup verify --all` shows what it cost. The next \
                 run does not build on that file, and reads its content anew"
                    .into()
            }
            Self::StillThere { .. } => "nothing was overwritten, and what lies in the trash stays there".into(),
            Self::LeftAside { snapshot, .. } => format!(
                "nothing of it is lost: where `backup list` does not show it, it lies in the trash, held, and `backup undelete {snapshot} --damaged` takes it back"
            ),
            Self::Newer { .. } => "use the version of this program that made it, or a newer one".into(),
            Self::Leased { .. } => {
                "wait until that run ends; if it died, its lease ends by itself after its term, and `backup unlock` shows it".into()
            }
            Self::LeaseLost { .. } => {
                "nothing was published; find out why this run was silent for longer than its lease's term (a suspended machine, a hung server)".into()
            }
        }
    }
}
