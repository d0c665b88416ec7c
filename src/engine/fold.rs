//! Folding: which volumes are given up, their live entries read from the source again and written into this run's.
//!
//! A volume stays whole as long as anything in it is used, so what is stale in it costs room; and every run adds a
//! volume. Two rules bound both, over *groups*: the volumes that one run wrote stand or fall together, because the names
//! of a file may be spread over them.
//!
//! 1. A group of which less than half is live is folded, if what is dead in it is at least a twentieth of all that lives:
//!    less is not worth the reading, and `max_volumes` bounds how many such there can be. What is read again is less than
//!    what had died, and each byte dies once: over all time this rule writes no more than what was written before.
//! 2. If there would be more than `max_volumes`, the smallest live groups are folded, so many that a third of the allowance
//!    is free again: a byte that is folded for this lies then in a group about `max_volumes / 3` times as large, so it
//!    is folded so again only after as many more runs.
//!
//! The tests simulate a year of four kinds of sources. Pure: sizes in, numbers out.

/// The volumes that one run wrote, as the snapshot before uses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Their numbers.
    pub(super) volumes: Vec<u32>,
    /// Bytes of entries in them, folders not counted.
    pub(super) held: u64,
    /// Of them, bytes that are used.
    pub(super) live: u64,
}

/// What is dead in a group must be at least this part of all that lives.
const WORTH_FOLDING: u64 = 20;

/// The numbers of the volumes to be folded, so that with this run's own no more than `max_volumes` are left.
pub(super) fn to_fold(groups: &[Group], max_volumes: u32) -> Vec<u32> {
    let (mut stay, mut fold): (Vec<&Group>, Vec<&Group>) = (Vec::new(), Vec::new());
    let all_live = groups.iter().fold(0_u64, |sum, group| sum.saturating_add(group.live));
    for group in groups {
        let dead = group.held.saturating_sub(group.live);
        let is_worth_it = dead > group.live && dead >= all_live / WORTH_FOLDING;
        if is_worth_it { fold.push(group) } else { stay.push(group) }
    }
    let count = |groups: &[&Group]| groups.iter().map(|group| group.volumes.len()).sum::<usize>();
    let max = max_volumes.max(1) as usize;
    if count(&stay) + 1 > max {
        stay.sort_by_key(|group| (group.live, group.volumes.first().copied()));
        // the newest small ones first; what is left is then a few large ones
        while count(&stay) > max * 2 / 3 && !stay.is_empty() {
            fold.push(stay.remove(0));
        }
    }
    let mut numbers: Vec<u32> = fold.into_iter().flat_map(|group| group.volumes.iter().copied()).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Group, to_fold};

    #[test]
    fn half_dead_is_kept_and_more_than_half_dead_is_folded() {
        let group = |number, held, live| Group { volumes: vec![number], held, live };
        let groups = [group(0, 100, 50), group(1, 100, 49), group(3, 0, 0), group(4, 7, 7)];
        assert_eq!(to_fold(&groups, 30), vec![1]);
        let small = [group(0, 10_000, 10_000), group(1, 600, 95), group(2, 600, 101), group(3, 400, 1)];
        assert_eq!(to_fold(&small, 30), vec![1], "a twentieth of what lives is 509");
        let pair = Group { volumes: vec![8, 9], held: 100, live: 1 };
        assert_eq!(to_fold(&[pair], 30), vec![8, 9], "what one run wrote goes together");
    }

    proptest! {
        #[test]
        fn never_more_than_the_allowance_are_left(sizes in prop::collection::vec((1_u64..1000, 1_usize..4), 0..80), max in 1_u32..40) {
            let mut next = 0;
            let groups: Vec<Group> = sizes.iter().map(|(live, count)| {
                let volumes = (next..next + *count as u32).collect();
                next += *count as u32;
                Group { volumes, held: *live, live: *live }
            }).collect();
            let folded = to_fold(&groups, max);
            let left = next as usize - folded.len();
            prop_assert!(left < max as usize, "{left} are left beside this run's own, of {max}");
            if (next as usize) < max as usize {
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
            let groups: Vec<Group> = in_use
                .iter()
                .map(|at| Group { volumes: vec![*at as u32], held: self.held[*at], live: live[*at] })
                .collect();
            let folded =
                if fresh { in_use.iter().map(|at| *at as u32).collect() } else { to_fold(&groups, max_volumes) };
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
