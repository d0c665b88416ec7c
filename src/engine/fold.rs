//! Folding: which volumes are given up, their live entries read from the source again and written into this run's.
//!
//! A volume stays whole as long as anything in it is used, so what is stale in it costs room; and every run adds one.
//! Two rules bound both:
//!
//! 1. The volumes of which less than half is live are folded, if what is dead in all of them is at least a tenth of all that
//!    lives: less is not worth the reading. It is their sum that counts, because volumes are as small as `volume_size`
//!    makes them. What is read again is less than what had died, and each byte dies once: over all time
//!    this rule writes no more than what was written before.
//! 2. If there would be the volumes of more than `max_volumes` runs, those of the runs of which least lives are folded, so
//!    many that a third of the allowance is free again: a byte that is folded for this lies then among about
//!    `max_volumes / 3` times as much, so it is folded so again only after as many more runs. It counts runs, because a run
//!    that is cut into many volumes by their size would otherwise be folded by the next.
//!
//! The tests simulate a year of four kinds of sources, with whole volumes and with cut ones. Pure: sizes in, numbers out.

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

/// What is dead in the volumes that are less than half live must be at least this part of all that lives.
const WORTH_FOLDING: u64 = 10;

/// The numbers of the volumes to be folded, so that with this run's own those of no more than `max_volumes` runs are left.
pub(super) fn to_fold(shares: &[Share], max_volumes: u32) -> Vec<u32> {
    let all_live = shares.iter().fold(0_u64, |sum, share| sum.saturating_add(share.live));
    let dead = |share: &Share| share.held.saturating_sub(share.live);
    let is_mostly_dead = |share: &&Share| dead(share) > share.live;
    let all_dead = shares.iter().filter(is_mostly_dead).fold(0_u64, |sum, share| sum.saturating_add(dead(share)));
    let is_worth_it = all_dead >= all_live / WORTH_FOLDING;
    let (mut fold, mut runs) = (Vec::new(), BTreeMap::<usize, (u64, Vec<u32>)>::new());
    for share in shares {
        if is_worth_it && is_mostly_dead(&share) {
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
    }

    #[test]
    fn what_is_mostly_dead_is_folded_when_it_is_worth_it_together() {
        let with = |held| [share(0, 10_000, 10_000), share(1, 300, 95), share(2, held, 101), share(3, 180, 90)];
        // a tenth of what lives is 1028
        assert_eq!(to_fold(&with(923), 30), Vec::<u32>::new());
        assert_eq!(to_fold(&with(924), 30), vec![1, 2]);
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

    /// A source whose files are numbered; `run` gives those that changed since the day before. All have one size, and a
    /// volume is followed by another when it holds `cut` of them.
    struct Simulation {
        files: BTreeMap<u64, usize>,
        cut: u64,
        held: Vec<u64>,
        live: Vec<u64>,
        /// Which run wrote a volume.
        runs: Vec<usize>,
        written: u64,
        changed: u64,
        fresh: u64,
        most_runs: usize,
        room: u64,
    }

    impl Simulation {
        fn new(count: u64, cut: u64) -> Self {
            let (files, held, live, runs) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
            let mut new =
                Self { files, cut, held, live, runs, written: 0, changed: 0, fresh: 0, most_runs: 1, room: 0 };
            new.write(0..count, 0);
            new
        }

        fn remove(&mut self, file: u64) {
            if let Some(volume) = self.files.remove(&file) {
                self.live[volume] -= 1;
            }
        }

        /// Writes files into volumes of a run, in their order.
        fn write(&mut self, files: impl IntoIterator<Item = u64>, run: usize) {
            for file in files {
                if self.runs.last() != Some(&run) || self.held.last().is_some_and(|held| *held >= self.cut) {
                    self.held.push(0);
                    self.live.push(0);
                    self.runs.push(run);
                }
                self.remove(file);
                let volume = self.held.len() - 1;
                self.files.insert(file, volume);
                self.held[volume] += 1;
                self.live[volume] += 1;
            }
        }

        fn day(&mut self, changed: &[u64], gone: &[u64], max_volumes: u32, fresh: bool) {
            gone.iter().for_each(|file| self.remove(*file));
            let shares = self.in_use().map(|at| {
                let (volume, run) = (u32::try_from(at).expect("few"), self.runs[at]);
                Share { volume, run, held: self.held[at], live: self.live[at] }
            });
            let folded: BTreeSet<u32> = to_fold(&shares.collect::<Vec<_>>(), max_volumes).into_iter().collect();
            let moves = |volume: usize| fresh || folded.contains(&(volume as u32));
            let moved = self.files.iter().filter(|(_, volume)| moves(**volume)).map(|(file, _)| *file);
            let moved: BTreeSet<u64> = moved.chain(changed.iter().copied()).collect();
            let count = moved.len() as u64;
            self.write(moved, self.runs.last().map_or(0, |last| last + 1));
            if fresh {
                self.fresh += count;
            } else {
                self.written += count;
                self.changed += changed.len() as u64;
            }
            let runs: BTreeSet<usize> = self.in_use().map(|volume| self.runs[volume]).collect();
            self.most_runs = self.most_runs.max(runs.len());
            self.room = self.room.max(self.in_use().map(|volume| self.held[volume]).sum());
        }

        fn in_use(&self) -> impl Iterator<Item = usize> {
            (0..self.held.len()).filter(|volume| self.live[*volume] > 0)
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
        // whole volumes, and cut ones of a five-hundredth of everything
        for (fresh_every, cut) in [(None, u64::MAX), (Some(30), u64::MAX), (None, FILES / 500)] {
            for (what, kind) in [("scattered", 0), ("append-only", 1), ("rotating", 2), ("one huge file", 3)] {
                let mut lot = Lot(0x2545_F491_4F6C_DD1D);
                let mut simulation = Simulation::new(FILES, cut);
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
                let Simulation { written, changed, most_runs, room, fresh, .. } = simulation;
                let ratio = written as f64 / changed as f64;
                println!(
                    "{what}, cut at {cut}, fresh every {fresh_every:?} days: {ratio:.2} of what changed, {fresh} fresh, {most_runs} runs at most, room {room}"
                );
                assert!(ratio < 2.5, "{what}: {ratio:.2}");
                assert!(most_runs <= 30, "{what}: the volumes of {most_runs} runs");
                let live = simulation.files.len() as u64;
                assert!(room * 10 <= live * 17, "{what}, cut at {cut}: room for {room}");
            }
        }
    }
}
