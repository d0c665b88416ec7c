//! Folding: which volumes are given up, their live entries read from the source again and written into this run's.
//!
//! A volume stays whole as long as anything in it is used, so what is stale in it costs room; and every run adds one.
//! Two rules bound both:
//!
//! 1. A volume of which less than half is live is folded, if what is dead in it is at least a twentieth of all that lives:
//!    less is not worth the reading. What is read again is less than what had died, and each byte dies once: over all
//!    time this rule writes no more than what was written before.
//! 2. If there would be the volumes of more than `max_volumes` runs, those of the runs of which least lives are folded, so
//!    many that a third of the allowance is free again: a byte that is folded for this lies then among about
//!    `max_volumes / 3` times as much, so it is folded so again only after as many more runs. It counts runs, because a run
//!    that is cut into many volumes by their size would otherwise be folded by the next.
//!
//! The tests simulate a year of four kinds of sources. Pure: sizes in, numbers out.

use std::collections::BTreeMap;

/// A volume, as the snapshot before uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Its number.
    pub(super) volume: u32,
    /// Which run wrote it: volumes of one have one number here.
    pub(super) run: usize,
    /// Bytes of entries in it, folders not counted.
    pub(super) held: u64,
    /// Of them, bytes that are used.
    pub(super) live: u64,
}

/// What is dead in a volume must be at least this part of all that lives.
const WORTH_FOLDING: u64 = 20;

/// The numbers of the volumes to be folded, so that with this run's own those of no more than `max_volumes` runs are left.
pub(super) fn to_fold(shares: &[Share], max_volumes: u32) -> Vec<u32> {
    let all_live = shares.iter().fold(0_u64, |sum, share| sum.saturating_add(share.live));
    let (mut fold, mut runs) = (Vec::new(), BTreeMap::<usize, (u64, Vec<u32>)>::new());
    for share in shares {
        let dead = share.held.saturating_sub(share.live);
        if dead > share.live && dead >= all_live / WORTH_FOLDING {
            fold.push(share.volume);
        } else {
            let (live, volumes) = runs.entry(share.run).or_default();
            *live = live.saturating_add(share.live);
            volumes.push(share.volume);
        }
    }
    let max = max_volumes.max(1) as usize;
    if runs.len() + 1 > max {
        let mut smallest: Vec<(u64, Vec<u32>)> = runs.into_values().collect();
        smallest.sort();
        let excess = smallest.len() - max * 2 / 3;
        fold.extend(smallest.into_iter().take(excess).flat_map(|(_, volumes)| volumes));
    }
    fold.sort_unstable();
    fold
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::{Share, to_fold};

    fn share(volume: u32, held: u64, live: u64) -> Share {
        Share { volume, run: volume as usize, held, live }
    }

    #[test]
    fn half_dead_is_kept_and_more_than_half_dead_is_folded() {
        let shares = [share(0, 100, 50), share(1, 100, 49), share(3, 0, 0), share(4, 7, 7)];
        assert_eq!(to_fold(&shares, 30), vec![1]);
        let small = [share(0, 10_000, 10_000), share(1, 620, 95), share(2, 600, 101), share(3, 400, 1)];
        assert_eq!(to_fold(&small, 30), vec![1], "a twentieth of what lives is 509");
    }

    #[test]
    fn a_run_that_was_cut_into_many_volumes_is_not_folded_for_their_number() {
        let cut: Vec<Share> = (0..500).map(|volume| Share { volume, run: 0, held: 10, live: 10 }).collect();
        assert_eq!(to_fold(&cut, 2), Vec::<u32>::new());
    }

    proptest! {
        #[test]
        fn never_more_runs_than_the_allowance_are_left(sizes in prop::collection::vec((1_u64..1000, 1_usize..4), 0..80), max in 1_u32..40) {
            let mut shares = Vec::new();
            for (run, (live, count)) in sizes.iter().enumerate() {
                for _ in 0..*count {
                    shares.push(Share { volume: shares.len() as u32, run, held: *live, live: *live });
                }
            }
            let folded = to_fold(&shares, max);
            let left: BTreeSet<usize> =
                shares.iter().filter(|share| !folded.contains(&share.volume)).map(|share| share.run).collect();
            prop_assert!(left.len() < max as usize, "{} are left beside this run, of {max}", left.len());
            let torn = shares.iter().any(|share| folded.contains(&share.volume) && left.contains(&share.run));
            prop_assert!(!torn, "for their number whole runs are folded");
            if sizes.len() < max as usize {
                prop_assert!(folded.is_empty());
            }
        }
    }

    /// A source whose files are numbered; `run` gives those that changed since the day before. All have one size.
    struct Simulation {
        files: BTreeMap<u64, usize>,
        held: Vec<u64>,
        written: u64,
        changed: u64,
        fresh: u64,
        most_volumes: usize,
        room: u64,
    }

    impl Simulation {
        fn new(files: u64) -> Self {
            let files: BTreeMap<u64, usize> = (0..files).map(|file| (file, 0)).collect();
            let held = vec![files.len() as u64];
            Self { files, held, written: 0, changed: 0, fresh: 0, most_volumes: 1, room: 0 }
        }

        fn live(&self) -> Vec<u64> {
            let mut live = vec![0; self.held.len()];
            for volume in self.files.values() {
                live[*volume] += 1;
            }
            live
        }

        fn day(&mut self, changed: &[u64], gone: &[u64], max_volumes: u32, fresh: bool) {
            for file in gone {
                self.files.remove(file);
            }
            let live = self.live();
            let in_use: Vec<usize> = (0..live.len()).filter(|volume| live[*volume] > 0).collect();
            let shares: Vec<Share> = in_use.iter().map(|at| share(*at as u32, self.held[*at], live[*at])).collect();
            let folded =
                if fresh { in_use.iter().map(|at| *at as u32).collect() } else { to_fold(&shares, max_volumes) };
            let number = self.held.len();
            let mut moved = 0;
            for volume in self.files.values_mut() {
                if folded.contains(&(*volume as u32)) {
                    *volume = number;
                    moved += 1;
                }
            }
            for file in changed {
                if self.files.insert(*file, number) != Some(number) {
                    moved += 1;
                }
            }
            self.held.push(moved);
            if fresh {
                self.fresh += moved;
            } else {
                self.written += moved;
                self.changed += changed.len() as u64;
            }
            let live = self.live();
            self.most_volumes = self.most_volumes.max(live.iter().filter(|live| **live > 0).count());
            self.room =
                self.room.max(live.iter().zip(&self.held).filter(|(live, _)| **live > 0).map(|(_, held)| held).sum());
        }
    }

    /// Numbers that look drawn by lot, the same each time.
    struct Lot(u64);

    impl Lot {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    #[test]
    fn a_year_of_daily_runs_writes_little_more_than_what_changed_whatever_the_source_does() {
        const FILES: u64 = 10_000;
        for fresh_every in [None, Some(30)] {
            for (what, kind) in [("scattered", 0), ("append-only", 1), ("rotating", 2), ("one huge file", 3)] {
                let mut lot = Lot(0x2545_F491_4F6C_DD1D);
                let mut simulation = Simulation::new(FILES);
                let mut newest = FILES;
                for day in 1..=365_u64 {
                    let (changed, gone): (Vec<u64>, Vec<u64>) = match kind {
                        // 1 % of the files, wherever they lie
                        0 => ((0..FILES / 100).map(|_| lot.below(FILES)).collect(), Vec::new()),
                        // 1 % of the first day's, new
                        1 => ((newest..newest + FILES / 100).collect(), Vec::new()),
                        // new ones come and the oldest go
                        2 => (
                            (newest..newest + FILES / 100).collect(),
                            (newest - FILES..newest - FILES + FILES / 100).collect(),
                        ),
                        // a tenth of everything is one file, told here as a thousand that always change together
                        _ => ((0..FILES / 10).collect(), Vec::new()),
                    };
                    newest += FILES / 100;
                    let fresh = fresh_every.is_some_and(|every| day % every == 0);
                    simulation.day(&changed, &gone, 30, fresh);
                }
                let Simulation { written, changed, most_volumes, room, fresh, .. } = simulation;
                let ratio = written as f64 / changed as f64;
                println!(
                    "{what}, fresh every {fresh_every:?} days: {ratio:.2} of what changed, {fresh} fresh, {most_volumes} volumes at most, room {room}"
                );
                assert!(ratio < 2.5, "{what}: {ratio:.2}");
                assert!(most_volumes <= 30, "{what}: {most_volumes} volumes");
                assert!(room <= 3 * FILES.max(newest), "{what}: room for {room}");
            }
        }
    }
}
