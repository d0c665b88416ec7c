//! What was verified when: small files in `.verified/`, one for each verification, the ones that still count.
//!
//! The danger is a small success that hides damage: a quick look that is well after a thorough one that was not. So
//! a verification gives way only to a later one that proves at least as much, and a sample that found damage only to
//! one that has looked at the same part again. One that is there and cannot be read (another user's, a newer program's)
//! is not nothing: it may tell of damage, anywhere in its snapshot, until a later one read all of that.
//!
//! Times are those of the clock of whoever verified. All of this may be lost: then it is verified again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::CatalogError;
use super::layout::MANIFEST_NAME;
use super::list::Catalog;
use super::record::Record;
use crate::domain::{Digest, Level, Part, SnapshotName};
use crate::store::{ListedKind, StoreError, create_whole};

const FORMAT: u32 = 1;

/// A verification is some hundred bytes.
const BYTES_MAX: u64 = 64 << 10;

/// So many others may take a number before us: each is another verification of the same snapshot at the same time.
const NUMBERS_TRIED: u64 = 100;

/// One verification of one snapshot, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The format's version.
    pub format: u32,
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// How deep it looked.
    pub level: Level,
    /// At which part of the frames, if not at all of them.
    #[serde(default)]
    pub part: Option<Part>,
    /// When it ended.
    pub at: Timestamp,
    /// How many damages it found.
    pub damages: u64,
    /// The files in which it found them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Of them, those that had further names in the store: files of other snapshots as well. [`Catalog::remember`] looks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<String>,
    /// The program and its version.
    pub tool: String,
}

impl Verification {
    /// Of this version of the format.
    pub fn new(
        snapshot: SnapshotName,
        level: Level,
        part: Option<Part>,
        at: Timestamp,
        damages: u64,
        tool: String,
    ) -> Self {
        Self { format: FORMAT, snapshot, level, part, at, damages, files: Vec::new(), linked: Vec::new(), tool }
    }

    /// Whether it found no damage.
    pub fn is_well(&self) -> bool {
        self.damages == 0
    }

    /// Whether it found damage in a file that had further names, and whose name no other file has: all but the manifest.
    fn is_linked_alone(&self, file: &str) -> bool {
        file != MANIFEST_NAME && self.linked.iter().any(|linked| linked == file)
    }

    /// Whether this one, which came later, outdates one that cannot be read: it looked at everything that is stored.
    fn outdates_unread(&self) -> bool {
        self.part.is_none() && self.level >= Level::Deep
    }

    /// Whether this one, which came later, says all that `earlier` said.
    fn outdates(&self, earlier: &Self) -> bool {
        match (self.part, earlier.part) {
            (None, _) => self.level >= earlier.level,
            (Some(_), None) => false,
            (Some(part), Some(was)) => self.level == earlier.level && (earlier.is_well() || part == was),
        }
    }
}

/// What is remembered of a job's snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// By snapshot, oldest first.
    pub known: BTreeMap<SnapshotName, Vec<Verification>>,
    /// The snapshots of which there is a verification that cannot be read and that no later one outdates, with the reason.
    pub unread: BTreeMap<SnapshotName, String>,
}

/// Those of a snapshot's verifications, oldest first, that no later one has outdated.
pub fn standing(all: &[Verification]) -> Vec<&Verification> {
    let outdated = |at: usize| all[at + 1..].iter().any(|later| later.outdates(&all[at]));
    (0..all.len()).filter(|at| !outdated(*at)).map(|at| &all[at]).collect()
}

/// The one of a snapshot's verifications, oldest first, that says how it stands: the newest that found damage nobody has
/// disproved, else the newest that read stored bytes, else the newest.
pub fn verdict(all: &[Verification]) -> Option<&Verification> {
    let standing = standing(all);
    let newest = |wanted: &dyn Fn(&Verification) -> bool| standing.iter().rev().find(|v| wanted(v)).copied();
    newest(&|v| !v.is_well()).or_else(|| newest(&|v| v.level > Level::Quick)).or_else(|| newest(&|_| true))
}

/// A snapshot as it lies in the store.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// None if it cannot be read.
    pub record: Option<&'a Record>,
    /// As [`Catalog::files_of`] gives them.
    pub files: &'a [(String, u64, u64)],
}

impl Stored<'_> {
    /// The checksum that was published of a file that snapshots may share; none of any other, and without a record.
    fn published(&self, file: &str) -> Option<Digest> {
        let record = self.record?;
        let volumes = record.volumes.iter();
        let lists = volumes.clone().filter_map(|volume| volume.stale.as_ref());
        let mut small = lists.chain([&record.manifest]).map(|file| (&file.name, file.sha256));
        let mut all = volumes.map(|volume| (&volume.name, volume.sha256));
        all.find(|(name, _)| *name == file).or_else(|| small.find(|(name, _)| *name == file)).map(|(_, sha256)| sha256)
    }
}

impl Stored<'_> {
    /// Whether a file is one file here and there.
    fn is_linked_by(&self, other: &Self, file: &str) -> bool {
        let published = self.published(file);
        let linked = self.files.iter().find(|(name, _, links)| name == file && *links > 1);
        published.is_some() && other.published(file) == published && linked.is_some_and(|own| other.files.contains(own))
    }
}

/// Damage that a verification found in another snapshot, in a file that is this one's as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedDamage<'v> {
    /// The file, of the same name in both.
    pub file: &'v str,
    /// What was found, in the other one.
    pub found: &'v Verification,
}

/// Which snapshots hold files in which standing verifications of others found damage. A file is the same if it was
/// published with the same checksum and has several names in the store, as many as there; a copy may be sound. Of a snapshot
/// that is gone, a volume that had several names then: no other volume ever has its name. It counts until the snapshot itself was proven well later, in whole and at least as deep.
pub fn shared_damage<'v>(
    snapshots: &BTreeMap<SnapshotName, Stored<'_>>,
    verifications: &'v BTreeMap<SnapshotName, Vec<Verification>>,
) -> BTreeMap<SnapshotName, Vec<SharedDamage<'v>>> {
    let mut shared: BTreeMap<SnapshotName, Vec<SharedDamage<'v>>> = BTreeMap::new();
    for (hurt, all) in verifications {
        let own = snapshots.get(hurt);
        for found in standing(all).into_iter().filter(|found| !found.is_well()) {
            for file in &found.files {
                let is_theirs = |stored: &Stored<'_>| match own {
                    Some(own) => own.is_linked_by(stored, file),
                    None => found.is_linked_alone(file) && stored.published(file).is_some(),
                };
                for (other, stored) in snapshots.iter().filter(|(other, _)| *other != hurt) {
                    // a part of one snapshot's frames is another part of another's
                    let disproves = |later: &Verification| {
                        later.is_well() && later.part.is_none() && later.level >= found.level && later.at > found.at
                    };
                    let is_disproved = || verifications.get(other).is_some_and(|all| all.iter().any(disproves));
                    if is_theirs(stored) && !is_disproved() {
                        shared.entry(other.clone()).or_default().push(SharedDamage { file, found });
                    }
                }
            }
        }
    }
    shared
}

/// Which snapshots hold files of others, of which a verification cannot be read: by their names, the first such file and
/// its snapshot. What that one found may lie in it. What a file is here and there, [`shared_damage`] says.
pub fn shared_doubt<'s>(
    snapshots: &'s BTreeMap<SnapshotName, Stored<'_>>,
    unread: &'s BTreeMap<SnapshotName, String>,
) -> BTreeMap<SnapshotName, (&'s str, &'s SnapshotName)> {
    let mut doubted = BTreeMap::new();
    for (of, own) in unread.keys().filter_map(|of| Some((of, snapshots.get(of)?))) {
        for (other, stored) in snapshots.iter().filter(|(other, _)| *other != of) {
            if let Some((file, ..)) = own.files.iter().find(|(file, ..)| own.is_linked_by(stored, file)) {
                doubted.entry(other.clone()).or_insert((file.as_str(), of));
            }
        }
    }
    doubted
}

impl Catalog {
    /// Remembers a verification, and forgets those that it outdates, and those of snapshots that are gone unless they
    /// found damage in a file that others still have, or cannot be read.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn remember(&self, verification: &Verification) -> Result<(), CatalogError> {
        let store = self.store();
        let folder = self.layout().verified();
        match store.create_folder(&folder) {
            Ok(()) | Err(StoreError::AlreadyThere { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut verification = verification.clone();
        if !verification.is_well() {
            let linked = self.files_of(&self.layout().snapshot(&verification.snapshot))?;
            let linked = linked.into_iter().filter(|(file, _, links)| *links > 1 && verification.files.contains(file));
            verification.linked = linked.map(|(file, ..)| file).collect();
        }
        let text = serde_json::to_string(&verification).expect("plain values") + "\n";
        let names = self.verified_names()?;
        let own = names.iter().filter(|(snapshot, ..)| *snapshot == verification.snapshot);
        let mut number = own.map(|(_, number, _)| number + 1).max().unwrap_or(1);
        let last = number + NUMBERS_TRIED;
        loop {
            let name = format!("{}.{number:08}.json", verification.snapshot);
            match create_whole(store, &folder.join(&name)?, text.as_bytes()) {
                Ok(()) => break,
                Err(StoreError::AlreadyThere { .. }) if number < last => number += 1,
                Err(error) => return Err(error.into()),
            }
        }
        store.sync_folder(&folder)?;
        let snapshots = self.snapshots()?;
        for (gone, _, name) in names.iter().filter(|(snapshot, ..)| !snapshots.contains(snapshot)) {
            let Some(Ok(known)) = self.read_verification(gone, name)? else { continue };
            let mut still = false;
            for file in known.linked.iter().filter(|file| known.is_linked_alone(file)) {
                for snapshot in &snapshots {
                    still |= self.files_of(&self.layout().snapshot(snapshot))?.iter().any(|(name, ..)| name == file);
                }
            }
            if !still {
                store.remove(&folder.join(name)?)?;
            }
        }
        let mut own: Vec<(String, Result<Verification, String>)> = Vec::new();
        for (snapshot, _, name) in self.verified_names()?.into_iter().filter(|(s, ..)| *s == verification.snapshot) {
            if let Some(known) = self.read_verification(&snapshot, &name)? {
                own.push((name, known));
            }
        }
        for at in 0..own.len() {
            let outdates = |later: &Verification| match &own[at].1 {
                Ok(known) => later.outdates(known),
                Err(_) => later.outdates_unread(),
            };
            if own[at + 1..].iter().any(|(_, later)| later.as_ref().is_ok_and(outdates)) {
                store.remove(&folder.join(&own[at].0)?)?;
            }
        }
        Ok(())
    }

    /// The verifications that can be read, by snapshot, oldest first. Whoever removes or builds on something asks
    /// [`Catalog::remembered`].
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn verifications(&self) -> Result<BTreeMap<SnapshotName, Vec<Verification>>, CatalogError> {
        Ok(self.remembered()?.known)
    }

    /// All that is remembered, and of which snapshots something is that cannot be read.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn remembered(&self) -> Result<Remembered, CatalogError> {
        let mut found = Remembered::default();
        for (snapshot, _, name) in self.verified_names()? {
            match self.read_verification(&snapshot, &name)? {
                Some(Ok(known)) => {
                    if known.outdates_unread() {
                        found.unread.remove(&snapshot);
                    }
                    found.known.entry(snapshot).or_default().push(known);
                }
                Some(Err(why)) => {
                    found.unread.insert(snapshot, why);
                }
                None => {}
            }
        }
        Ok(found)
    }

    /// One verification of `snapshot`, or why it cannot be read; none if it is gone.
    fn read_verification(
        &self,
        snapshot: &SnapshotName,
        name: &str,
    ) -> Result<Option<Result<Verification, String>>, CatalogError> {
        let bytes = match self.read_small(&self.layout().verified().join(name)?, BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(CatalogError::Store(error)) if error.is_absent() => return Err(error.into()),
            // a later one outdated it meanwhile
            Err(CatalogError::Store(StoreError::NotThere { .. })) => return Ok(None),
            Err(error) => return Ok(Some(Err(error.to_string()))),
        };
        Ok(Some(match serde_json::from_slice::<Verification>(&bytes) {
            Ok(known) if known.format > FORMAT => {
                Err(format!("{name} has format {}, and this program reads up to {FORMAT}", known.format))
            }
            Ok(known) if known.snapshot != *snapshot => Err(format!("{name} is of {}", known.snapshot)),
            Ok(known) => Ok(known),
            Err(error) => Err(format!("{name}: {error}")),
        }))
    }

    /// Snapshot, number and file name, in order of both.
    fn verified_names(&self) -> Result<Vec<(SnapshotName, u64, String)>, CatalogError> {
        let listed = match self.store().list(&self.layout().verified()) {
            Ok(listed) => listed,
            Err(StoreError::NotThere { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let parse = |name: String| {
            let (snapshot, number) = name.strip_suffix(".json")?.rsplit_once('.')?;
            Some((snapshot.parse().ok()?, number.parse().ok()?, name))
        };
        let files = listed.into_iter().filter(|listed| listed.kind == ListedKind::File);
        let mut names: Vec<_> = files.filter_map(|listed| parse(listed.name)).collect();
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Level, Part, Verification, standing, verdict};

    fn verification(at: usize, level: Level, part: Option<u32>, damages: u64) -> Verification {
        let name = "up-20261121T020000Z".parse().expect("a name");
        let at = jiff::Timestamp::from_second(at as i64).expect("a time");
        let part = part.map(|number| Part { number, of: 10 });
        Verification::new(name, level, part, at, damages, "a test".to_owned())
    }

    const LEVELS: [Level; 4] = [Level::Quick, Level::Stored, Level::Deep, Level::Drill];

    prop_compose! {
        fn any_history()(
            all in prop::collection::vec((0..4_usize, prop::option::of(1..=10_u32), 0..2_u64), 0..30)
        ) -> Vec<Verification> {
            let each = all.into_iter().enumerate();
            each.map(|(at, (level, part, damages))| verification(at, LEVELS[level], part, damages)).collect()
        }
    }

    proptest! {
        #[test]
        fn damage_stands_until_as_much_was_proven_well_again(all in any_history()) {
            let last_damage = all.iter().rposition(|v| !v.is_well());
            let damaged = verdict(&all).is_some_and(|v| !v.is_well());
            if let Some(at) = last_damage {
                let hurt = &all[at];
                let disproved = all[at + 1..].iter().any(|later| {
                    let as_deep = later.level >= hurt.level && later.part.is_none();
                    as_deep || (later.part == hurt.part && later.level == hurt.level)
                });
                prop_assert!(damaged || disproved, "{all:#?}");
            } else {
                prop_assert!(!damaged);
            }
            prop_assert_eq!(verdict(&all).is_none(), all.is_empty());
        }

        #[test]
        fn forgetting_what_is_outdated_changes_no_verdict_and_bounds_what_is_kept(all in any_history()) {
            let kept: Vec<Verification> = standing(&all).into_iter().cloned().collect();
            prop_assert_eq!(verdict(&kept), verdict(&all));
            prop_assert_eq!(standing(&kept).len(), kept.len());
            // a whole one of each level; of samples the newest, and one for each part that was damaged
            prop_assert!(kept.len() <= 4 * (1 + 1 + 10));
        }
    }

    #[test]
    fn a_quick_look_hides_neither_damage_nor_a_deeper_look() {
        let damaged = [verification(1, Level::Stored, None, 1), verification(2, Level::Quick, None, 0)];
        assert_eq!(verdict(&damaged).map(|v| (v.level, v.damages)), Some((Level::Stored, 1)));
        let well = [verification(1, Level::Deep, None, 0), verification(2, Level::Quick, None, 0)];
        assert_eq!(verdict(&well).map(|v| v.level), Some(Level::Deep));
        let healed = [verification(1, Level::Stored, Some(3), 1), verification(2, Level::Stored, None, 0)];
        assert_eq!(verdict(&healed).map(|v| v.damages), Some(0));
        let sampled = [verification(1, Level::Stored, Some(3), 1), verification(2, Level::Stored, Some(4), 0)];
        assert_eq!(verdict(&sampled).map(|v| v.damages), Some(1));
    }
}
