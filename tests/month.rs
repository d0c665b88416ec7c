//! Thirty days on a test clock, hundreds of times: what a job's agenda makes of faults, steps of the clock, sleep,
//! restarts, lost state and a store that hangs.
//!
//! A small world stands in for daemon and machine: a true time, a wall clock that may be wrong, a state file that is
//! saved before anything is done, runs that end as chance has it. A ledger notes what becomes of each slot; at the end
//! every slot has one of the five outcomes, and none ran twice. More months: `MONTHS=5000`, one again: `SEED=17`, both with
//! `cargo test --test month -- --nocapture`.

#![expect(clippy::disallowed_methods, reason = "how many months, and which, is asked of the environment")]

use std::collections::BTreeMap;
use std::time::Duration;

use backup::domain::Verdict;
use backup::schedule::{Agenda, Missed, ON_TIME, Plan, Reason, Retry, Schedule, Start, WAKE_MAX, Why};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// Chance that is the same for the same seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: i64) -> i64 {
        i64::try_from(self.next() % bound.unsigned_abs()).expect("below a bound")
    }

    fn one_in(&mut self, many: i64) -> bool {
        self.below(many) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as i64)).expect("an index")]
    }
}

/// What became of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Fate {
    started: u32,
    retries: u32,
    missed: u32,
    outcome: Option<Verdict>,
}

/// A run that goes on: which, when it ends (true time), and how.
#[derive(Clone, Copy)]
struct Run {
    start: Start,
    ends: i64,
    verdict: Verdict,
}

struct World {
    chance: Chance,
    plan: Plan,
    /// The true time, and by how much the wall clock is ahead of it.
    time: i64,
    ahead: i64,
    agenda: Agenda,
    saved: String,
    run: Option<Run>,
    fates: BTreeMap<Timestamp, Fate>,
    /// The latest time on the wall that the agenda has seen, and spans of which it cannot know.
    seen: Timestamp,
    unknown: Vec<(Timestamp, Timestamp)>,
    /// When the state was lost the last time: what ran before that may run again if the clock is set back besides.
    forgot: Timestamp,
    /// The last slots that were missed, until they are made up for.
    owed: Option<Missed>,
    counts: BTreeMap<&'static str, u64>,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn plan(chance: &mut Chance) -> Plan {
    const TEXTS: [&str; 7] =
        ["0 2 * * *", "30 2 * * *", "15 * * * *", "*/20 * * * *", "0 */6 * * *", "0 9 * * 1-5", "0 0 1,15 * 1"];
    let zone = TimeZone::get(chance.of(&["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"]));
    let zone = zone.expect("a zone");
    let count = 1 + chance.below(2);
    let schedules = (0..count).map(|_| Schedule::parse(chance.of(&TEXTS), zone.clone()).expect("a schedule")).collect();
    Plan {
        catch_up: (!chance.one_in(4)).then(|| Duration::from_secs(chance.of(&[3600, 86_400, 7 * 86_400]))),
        jitter: Duration::from_secs(chance.of(&[0, 0, 90, 1800, 100_000])),
        retry: Retry { times: chance.of(&[0, 1, 3]), after: Duration::from_secs(chance.of(&[60, 600])) },
        ..Plan::of("host/job", schedules)
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let plan = plan(&mut chance);
        // any day of 2026, so that changes of the clock are met
        let time = 1_767_225_600 + chance.below(365 * DAY);
        let agenda = Agenda::begin(&plan, at(time));
        let saved = serde_json::to_string(&agenda).expect("JSON");
        let (run, fates, unknown, owed, counts) = (None, BTreeMap::new(), Vec::new(), None, BTreeMap::new());
        Self {
            chance,
            plan,
            time,
            ahead: 0,
            agenda,
            saved,
            run,
            fates,
            seen: at(time),
            unknown,
            forgot: Timestamp::MIN,
            owed,
            counts,
        }
    }

    fn wall(&self) -> Timestamp {
        at(self.time + self.ahead)
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn save(&mut self) {
        self.saved = serde_json::to_string(&self.agenda).expect("JSON");
        assert!(self.saved.len() < 8192, "the state grows: {}", self.saved.len());
    }

    /// Goes on until this (true) time.
    fn live_until(&mut self, until: i64) {
        while self.time < until {
            if self.run.is_some_and(|run| run.ends <= self.time) {
                self.end_run();
            }
            self.look();
            let now = self.wall();
            let wake = self.agenda.wake_at(&self.plan, now);
            assert!(wake > now && wake <= now + WAKE_MAX, "{now}: the next look is at {wake}");
            // a look between does nothing; only now and then every one is taken
            let next =
                if self.chance.one_in(40) { Some(wake) } else { self.agenda.next(&self.plan, now).map(|(at, _)| at) };
            let next = next.map_or(until, |next| next.as_second() - self.ahead);
            let next = if self.agenda.running().is_some() { next.max(self.time + 1) } else { next };
            self.time = next.min(self.run.map_or(i64::MAX, |run| run.ends)).min(until).max(self.time + 1);
        }
        if self.run.is_some_and(|run| run.ends <= self.time) {
            self.end_run();
        }
        self.look();
    }

    fn look(&mut self) {
        let now = self.wall();
        let due = self.agenda.due(&self.plan, now);
        if due.set_back.is_some() {
            self.count("clocks set back by more than three hours");
            self.open_again(now);
        }
        self.seen = self.seen.max(now);
        self.save();
        if let Some(missed) = due.missed {
            self.note_missed(missed);
        }
        if let Some(start) = due.start {
            self.note_start(start, now);
        }
        assert_eq!(self.agenda.due(&self.plan, now), backup::schedule::Due::default(), "asked again at once");
    }

    /// What lies ahead again was missed too early.
    fn open_again(&mut self, now: Timestamp) {
        let remembered_since = self.forgot;
        self.fates.retain(|slot, fate| *slot <= now || (fate.started > 0 && *slot > remembered_since));
        self.seen = now;
    }

    fn note_missed(&mut self, missed: Missed) {
        let mut slot = self.plan.slot_after(missed.first - SignedDuration::from_nanos(1));
        let mut count = 0;
        while let Some(at) = slot.filter(|slot| *slot <= missed.last) {
            let fate = self.fates.entry(at).or_default();
            if fate.started == 0 {
                fate.missed += 1;
                fate.outcome = Some(Verdict::Missed);
                count += 1;
            }
            slot = self.plan.slot_after(at);
        }
        assert_eq!(count, missed.count, "{missed:?}");
        self.owed = (missed.reason == Reason::Away).then_some(missed);
        *self.counts.entry("missed slots").or_default() += count;
    }

    fn note_start(&mut self, start: Start, now: Timestamp) {
        assert!(self.run.is_none(), "two at once: {start:?}");
        let late = now.duration_since(start.slot).unsigned_abs();
        let fate = self.fates.entry(start.slot).or_default();
        match start.why {
            Why::Slot => {
                fate.started += 1;
                let bound = ON_TIME + self.plan.jitter;
                assert!(start.slot <= now && late <= bound, "{start:?} at {now}");
            }
            Why::CatchUp => {
                let owed = self.owed.take().expect("there is something to make up for");
                assert_eq!(owed.last, start.slot);
                assert!(late <= self.plan.catch_up.expect("it is wanted") + self.plan.jitter, "{start:?} at {now}");
            }
            Why::Retry => {
                fate.retries += 1;
                assert!(fate.retries <= 2 * self.plan.retry.times, "{start:?}: {fate:?}");
            }
            Why::Asked => {}
        }
        self.count(match start.why {
            Why::Slot => "runs on time",
            Why::CatchUp => "catch-ups",
            Why::Retry => "further attempts",
            Why::Asked => "runs by hand",
        });
        let (verdict, length) = match self.chance.below(40) {
            0 => (Verdict::Failed, 5 * MINUTE), // the store hangs until the deadline
            1 => (Verdict::Failed, 1),
            2 => (Verdict::Partial, HOUR),
            3 => (Verdict::Skipped, 1),
            4 => (Verdict::Ok, self.chance.of(&[HOUR, HOUR, 7 * HOUR, 50 * HOUR])), // a slow store
            _ => (Verdict::Ok, 1 + self.chance.below(10 * MINUTE)),
        };
        self.run = Some(Run { start, ends: self.time + length, verdict });
    }

    fn end_run(&mut self) {
        let Some(Run { start, verdict, .. }) = self.run.take() else { return };
        self.account(start, verdict);
        self.agenda.ended(&self.plan, self.wall(), verdict == Verdict::Failed);
        self.save();
    }

    fn account(&mut self, start: Start, verdict: Verdict) {
        if matches!(start.why, Why::Slot | Why::Retry)
            && let Some(fate) = self.fates.get_mut(&start.slot).filter(|fate| fate.started > 0)
        {
            fate.outcome = Some(verdict);
        }
    }

    fn trouble(&mut self) {
        match self.chance.below(8) {
            0 | 1 => self.restart(false),
            2 => self.restart(true),
            3 => {
                self.count("crashes before anything was saved");
                let _ = self.agenda.due(&self.plan, self.wall());
                self.restart(false);
            }
            4 => {
                self.count("sleeps");
                // whatever ran has slept as well
                let slept = self.chance.of(&[2 * MINUTE, 2 * HOUR, 20 * HOUR, 3 * DAY]);
                self.time += slept;
                if let Some(run) = &mut self.run {
                    run.ends += slept;
                }
            }
            5 | 6 => {
                self.count("steps of the clock");
                let by = self.chance.of(&[1, 90, HOUR, 3 * HOUR - 1, 5 * HOUR, 2 * DAY]);
                self.ahead += if self.chance.one_in(2) { by } else { -by };
            }
            _ => {
                if let Some(start) = self.agenda.ask(self.wall()) {
                    self.save();
                    self.note_start(start, self.wall());
                }
            }
        }
    }

    fn restart(&mut self, is_lost: bool) {
        self.count(if is_lost { "restarts without state" } else { "restarts" });
        self.run = None;
        self.time += self.chance.of(&[1, MINUTE, 3 * HOUR, 30 * HOUR, 4 * DAY]);
        let now = self.wall();
        if is_lost {
            self.agenda = Agenda::begin(&self.plan, now);
            self.unknown.push((self.seen.min(now) - self.plan.jitter, now));
            self.forgot = now;
            // what was at work has no outcome that anybody could tell
            self.fates.values_mut().filter(|fate| fate.started > 0 && fate.outcome.is_none()).for_each(|fate| {
                fate.outcome = Some(Verdict::Failed);
            });
            // nobody remembers what ran, should the clock have been set back besides
            self.fates.retain(|slot, _| *slot <= now);
            (self.seen, self.owed) = (now, None);
        } else {
            self.agenda = serde_json::from_str(&self.saved).expect("what was saved");
            if let Some(cut_off) = self.agenda.resume(&self.plan, now) {
                self.account(cut_off, Verdict::Failed);
                let one = Missed { count: 1, first: cut_off.slot, last: cut_off.slot, reason: Reason::Away };
                self.owed = Some(one);
            }
        }
        self.save();
    }

    /// What is wrong at the end.
    fn violations(&mut self) -> Vec<String> {
        while self.run.is_some() {
            self.live_until(self.time + 60 * HOUR);
        }
        let mut wrong = Vec::new();
        for (slot, fate) in &self.fates {
            if fate.started > 1 || fate.started + fate.missed > 1 {
                wrong.push(format!("{slot} is accounted for more than once: {fate:?}"));
            }
        }
        let began = self.agenda.began().min(self.fates.keys().next().copied().unwrap_or(self.seen));
        let mut slot = self.plan.slot_after(began);
        while let Some(at) = slot.filter(|at| self.plan.start_of(*at) <= self.seen) {
            let is_unknown = self.unknown.iter().any(|(from, to)| (*from..=*to).contains(&at));
            match self.fates.get(&at).and_then(|fate| fate.outcome) {
                Some(verdict) => *self.counts.entry(verdict.word()).or_default() += 1,
                None if is_unknown => {}
                None => wrong.push(format!("{at} has no outcome")),
            }
            *self.counts.entry("slots").or_default() += 1;
            slot = self.plan.slot_after(at);
        }
        wrong
    }
}

fn live_a_month(seed: u64) -> (Vec<String>, BTreeMap<&'static str, u64>) {
    let mut world = World::new(seed);
    let end = world.time + 30 * DAY;
    while world.time < end {
        let quiet = 1 + world.chance.below(8 * DAY);
        world.live_until((world.time + quiet).min(end));
        world.trouble();
    }
    (world.violations(), world.counts)
}

#[test]
fn in_thirty_days_of_faults_every_slot_has_one_of_five_outcomes_and_none_runs_twice() {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = asked("SEED").map_or(0..asked("MONTHS").unwrap_or(60), |seed| seed..seed + 1);
    let (mut counts, mut wrong) = (BTreeMap::<&str, u64>::new(), Vec::new());
    for seed in seeds.clone() {
        let month = std::panic::catch_unwind(|| live_a_month(seed));
        match month {
            Ok((found, of_month)) => {
                wrong.extend(found.into_iter().map(|what| format!("seed {seed}: {what}")));
                of_month.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
            }
            Err(_) => wrong.push(format!("seed {seed}: a broken promise, said above")),
        }
    }
    println!("{} months: {counts:?}; {} violations", seeds.end - seeds.start, wrong.len());
    assert!(wrong.is_empty(), "{:#?}", &wrong[..wrong.len().min(10)]);
}
