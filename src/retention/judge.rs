//! The verdicts.
//!
//! Of each hour, day, week, month and year the *newest* good snapshot stays. That is the choice that holds: as long as
//! a bucket is open its newest snapshot is the newest of all, which stays in any case; when the bucket closes, what
//! it keeps is settled and is kept by that rule from then on. So judging every day leaves the same snapshots as judging
//! once at the end (a test does both). Buckets are counted where there are snapshots: a job that rested for a month
//! does not lose its last seven days.
//!
//! Partial snapshots fill no bucket. One stays while no good one is newer, because it is the best there is of its time;
//! then it goes, unless it is held or within the time that everything is kept. Damaged ones and those that nobody can read
//! are counted nowhere and always stay: what is left of them may be all there is of their time.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::policy::Policy;
use crate::domain::SnapshotName;

/// So far a name may be ahead of the clock: runs within one second are told apart by the seconds that follow.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);

/// So far our clock and the store's may be apart for anything to be removed. Kept clocks differ by seconds and neglected
/// ones by minutes; a dead battery, a wrong zone or a hand that slipped makes an hour at least, and days where it hurts:
/// with `within`, a clock a month ahead makes everything old. Less than an hour changes no verdict that matters.
pub const CLOCKS_APART_MAX: SignedDuration = SignedDuration::from_hours(1);

/// What time it is, by two clocks that know nothing of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// By this machine's.
    pub ours: Timestamp,
    /// By the store's; none if it was not asked, which is for those who only want to know.
    pub stores: Option<Timestamp>,
}

impl Clocks {
    /// The store's clock was not asked.
    pub fn ours(now: Timestamp) -> Self {
        Self { ours: now, stores: None }
    }

    fn refusal(self) -> Option<Refusal> {
        let stores = self.stores?;
        let apart = self.ours.duration_since(stores).abs();
        (apart > CLOCKS_APART_MAX).then_some(Refusal::ClocksDiffer { ours: self.ours, stores })
    }
}

/// What a snapshot is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// Its run was ok, and no damage is known.
    Good,
    /// Its run was partial, and no damage is known.
    Partial,
    /// Something of it is missing or damaged, whatever its run was.
    Damaged,
    /// Its record cannot be read, so that nobody knows what it is.
    Unread,
}

/// A snapshot, as far as retention cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    /// Its name, which tells its time.
    pub name: SnapshotName,
    /// What it is worth.
    pub quality: Quality,
    /// Whether somebody said that it stays.
    pub held: bool,
}

impl Dated {
    /// Whether rules and the floor count it.
    pub fn is_good(&self) -> bool {
        self.quality == Quality::Good
    }
}

/// Why a snapshot stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The newest good one.
    Newest,
    /// Partial, and no good one is newer.
    Latest,
    /// Somebody holds it.
    Held,
    /// Among the last.
    Last,
    /// The newest of its hour.
    Hourly,
    /// Of its day.
    Daily,
    /// Of its week.
    Weekly,
    /// Of its month.
    Monthly,
    /// Of its year.
    Yearly,
    /// Not old enough.
    Within,
    /// So many good ones stay in any case.
    Floor,
    /// It is damaged: `backup verify` tells what that costs.
    Damaged,
    /// Nobody knows what it is: `backup verify` tells.
    Unread,
    /// There are no rules.
    NoRules,
}

impl Reason {
    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Latest => "latest",
            Self::Held => "held",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
            Self::Within => "within",
            Self::Floor => "floor",
            Self::Damaged => "damaged",
            Self::Unread => "unreadable",
            Self::NoRules => "no rules",
        }
    }
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which.
    pub snapshot: Dated,
    /// Why it stays; empty if it goes.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// Whether it stays.
    pub fn stays(&self) -> bool {
        !self.reasons.is_empty()
    }

    /// Why, in words; also for one that goes.
    pub fn words(&self) -> String {
        match (self.stays(), self.snapshot.is_good()) {
            (true, _) => self.reasons.iter().map(|reason| reason.word()).collect::<Vec<_>>().join(", "),
            (false, true) => "no rule keeps it".to_owned(),
            (false, false) => "partial, and a good one is newer".to_owned(),
        }
    }
}

/// Why nothing is removed at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The newest run is not known to have been ok.
    #[error("the last run was {outcome}, and nothing is removed after a run that was not ok")]
    LastRunNotOk {
        /// In a word.
        outcome: String,
    },
    /// Nobody knows what time it is.
    #[error("this machine's clock says {ours} and the store's {stores}: they are more than an hour apart")]
    ClocksDiffer {
        /// By our clock.
        ours: Timestamp,
        /// By the store's.
        stores: Timestamp,
    },
    /// A snapshot is dated later than now.
    #[error("this machine's clock ({now}) is behind the newest snapshot {newest}")]
    ClockBehind {
        /// By our clock.
        now: Timestamp,
        /// The snapshot.
        newest: SnapshotName,
    },
    /// A snapshot is dated later than two clocks that agree: its date is wrong, and theirs is not.
    #[error(
        "the newest snapshot {newest} is dated in the future: this machine's clock says {now}, and the store's agrees"
    )]
    DatedAhead {
        /// By our clock.
        now: Timestamp,
        /// The snapshot.
        newest: SnapshotName,
    },
    /// More would go than may go at once.
    #[error("{removals} snapshots would be removed at once, and at most {max} may be (max_removals)")]
    TooMany {
        /// How many.
        removals: usize,
        /// The bound.
        max: u32,
    },
}

impl Refusal {
    /// What to do now.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::LastRunNotOk { .. } => "make a run succeed first; `backup status` shows what the last one met",
            Self::ClocksDiffer { .. } => {
                "set the clock right that is wrong, this machine's or the store's; then prune again"
            }
            Self::ClockBehind { .. } => {
                "set this machine's clock right; where it is, `backup prune` (no dry run) asks the store's clock as well and says more"
            }
            Self::DatedAhead { .. } => {
                "its run's clock was wrong, and all runs after it are named later still. Move the folders of the snapshots \
                 that are dated in the future out of the store (their RESTORE.txt says how to restore them there): the next \
                 run is named by the clock again, and the rest can be pruned"
            }
            Self::TooMany { .. } => {
                "look with `backup prune --dry-run` whether that is what you want; if so, give --max-removals a larger \
                 number once"
            }
        }
    }
}

/// All verdicts, oldest first, and whether they may be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// One for each snapshot.
    pub verdicts: Vec<Verdict>,
    /// If there is one, nothing is removed.
    pub refusal: Option<Refusal>,
}

impl Judgement {
    /// What goes, oldest first; nothing if there is a refusal.
    pub fn removals(&self) -> impl Iterator<Item = &SnapshotName> {
        let refused = self.refusal.is_some();
        self.verdicts.iter().filter(move |verdict| !refused && !verdict.stays()).map(|verdict| &verdict.snapshot.name)
    }
}

/// Judges. `not_ok` is the outcome of the job's last run, in a word, if that was not ok. Clocks that differ are a refusal
/// even if nothing would go: the trash must not be emptied either.
pub fn judge(policy: &Policy, zone: &TimeZone, clocks: Clocks, not_ok: Option<&str>, snapshots: &[Dated]) -> Judgement {
    let now = clocks.ours;
    let mut sorted: Vec<Dated> = snapshots.to_vec();
    sorted.sort_by(|a, b| (a.name.at(), &a.name).cmp(&(b.name.at(), &b.name)));
    let mut verdicts: Vec<Verdict> =
        sorted.into_iter().map(|snapshot| Verdict { snapshot, reasons: Vec::new() }).collect();
    if policy.has_rules() {
        give_reasons(policy, zone, now, &mut verdicts);
    } else {
        verdicts.iter_mut().for_each(|verdict| verdict.reasons.push(Reason::NoRules));
    }
    let removals = verdicts.iter().filter(|verdict| !verdict.stays()).count();
    let newest = verdicts.last().map(|verdict| verdict.snapshot.name.clone());
    let refusal = clocks.refusal().or_else(|| match (newest, not_ok) {
        _ if removals == 0 => None,
        (Some(newest), _) if newest.at().duration_since(now) > AHEAD => Some(match clocks.stores {
            Some(stores) if newest.at().duration_since(now.max(stores)) > CLOCKS_APART_MAX => {
                Refusal::DatedAhead { now, newest }
            }
            _ => Refusal::ClockBehind { now, newest },
        }),
        (_, Some(outcome)) => Some(Refusal::LastRunNotOk { outcome: outcome.to_owned() }),
        _ if removals > policy.max_removals as usize => Some(Refusal::TooMany { removals, max: policy.max_removals }),
        _ => None,
    });
    Judgement { verdicts, refusal }
}

fn give_reasons(policy: &Policy, zone: &TimeZone, now: Timestamp, verdicts: &mut [Verdict]) {
    let newest_good = verdicts.iter().rposition(|verdict| verdict.snapshot.is_good());
    for (index, verdict) in verdicts.iter_mut().enumerate() {
        if newest_good == Some(index) {
            verdict.reasons.push(Reason::Newest);
        }
        match verdict.snapshot.quality {
            Quality::Unread => verdict.reasons.push(Reason::Unread),
            Quality::Damaged => verdict.reasons.push(Reason::Damaged),
            Quality::Partial if newest_good.is_none_or(|good| index > good) => verdict.reasons.push(Reason::Latest),
            Quality::Partial | Quality::Good => {}
        }
        if verdict.snapshot.held {
            verdict.reasons.push(Reason::Held);
        }
    }
    for (reason, count) in [
        (Reason::Last, policy.last),
        (Reason::Hourly, policy.hourly),
        (Reason::Daily, policy.daily),
        (Reason::Weekly, policy.weekly),
        (Reason::Monthly, policy.monthly),
        (Reason::Yearly, policy.yearly),
    ] {
        let mut buckets = BTreeSet::new();
        for (index, verdict) in verdicts.iter_mut().enumerate().rev().filter(|(_, verdict)| verdict.snapshot.is_good())
        {
            if buckets.len() >= count as usize {
                break;
            }
            if buckets.insert(bucket(reason, verdict.snapshot.name.at(), zone, index)) {
                verdict.reasons.push(reason);
            }
        }
    }
    if let Some(within) = policy.within {
        // a time before all times keeps everything
        let since = now.checked_sub(within).unwrap_or(Timestamp::MIN);
        for verdict in verdicts.iter_mut().filter(|verdict| verdict.snapshot.name.at() >= since) {
            verdict.reasons.push(Reason::Within);
        }
    }
    let kept = verdicts.iter().filter(|verdict| verdict.snapshot.is_good() && verdict.stays()).count();
    let missing = (policy.floor as usize).saturating_sub(kept);
    let more = verdicts.iter_mut().rev().filter(|verdict| verdict.snapshot.is_good() && !verdict.stays()).take(missing);
    more.for_each(|verdict| verdict.reasons.push(Reason::Floor));
}

/// Which hour, day … a time lies in, in a zone. Two hours of one name, when clocks go back, are two.
fn bucket(reason: Reason, at: Timestamp, zone: &TimeZone, index: usize) -> (i64, i64) {
    let local = at.to_zoned(zone.clone());
    let date = local.date();
    match reason {
        Reason::Hourly => {
            let day = i64::from(date.year()) * 512 + i64::from(date.day_of_year());
            (day, i64::from(local.hour()) * 200_000 + i64::from(local.offset().seconds()))
        }
        Reason::Daily => (i64::from(date.year()), i64::from(date.day_of_year())),
        Reason::Weekly => {
            let week = date.iso_week_date();
            (i64::from(week.year()), i64::from(week.week()))
        }
        Reason::Monthly => (i64::from(date.year()), i64::from(date.month())),
        Reason::Yearly => (i64::from(date.year()), 0),
        // each is a bucket of its own
        _ => (0, i64::try_from(index).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use jiff::tz::TimeZone;
    use jiff::{SignedDuration, Timestamp, ToSpan};
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, TestRunner};

    use super::super::policy::Policy;
    use super::{Clocks, Dated, Judgement, Quality, Reason, Refusal, judge};
    use crate::domain::{JobName, SnapshotName};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn dated(time: Timestamp, good: bool) -> Dated {
        let job: JobName = "up".parse().expect("a name");
        let quality = if good { Quality::Good } else { Quality::Partial };
        Dated { name: SnapshotName::new(&job, time), quality, held: false }
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone")
    }

    const YEARLY: Policy = Policy {
        last: 7,
        hourly: 0,
        daily: 14,
        weekly: 8,
        monthly: 12,
        yearly: 3,
        within: None,
        floor: 3,
        max_removals: 50,
    };

    /// Every night at two in Madrid, over two changes of its clocks a year.
    fn nights(days: i64) -> Vec<Timestamp> {
        let first = "2024-01-01T02:00[Europe/Madrid]".parse::<jiff::Zoned>().expect("a time");
        (0..days).map(|day| first.checked_add(day.days()).expect("a time").timestamp()).collect()
    }

    fn kept(judgement: &Judgement) -> Vec<String> {
        let stays = judgement.verdicts.iter().filter(|verdict| verdict.stays());
        stays.map(|verdict| verdict.snapshot.name.as_str()[3..11].to_owned()).collect()
    }

    /// Written down by hand from a calendar: the last of 2024 and 2025, the last of twelve months, the Sundays of eight weeks (the last is not over),
    /// fourteen days.
    const AFTER_THREE_YEARS: [&str; 28] = [
        "20241231", "20251231", "20260131", "20260228", "20260331", "20260430", "20260531", "20260630", "20260731",
        "20260831", "20260930", "20261031", "20261115", "20261122", "20261129", "20261130", "20261206", "20261213",
        "20261218", "20261219", "20261220", "20261221", "20261222", "20261223", "20261224", "20261225", "20261226",
        "20261227",
    ];

    #[test]
    fn three_years_of_nights_leave_what_a_calendar_says_judged_daily_or_once() {
        let madrid = zone("Europe/Madrid");
        let all = nights(3 * 365 + 1);
        let last = all.len() - 1;
        let once: Vec<Dated> = all.iter().map(|time| dated(*time, true)).collect();
        let generous = Policy { max_removals: 5000, ..YEARLY };
        let at_once = judge(&generous, &madrid, Clocks::ours(all[last]), None, &once);
        let mut daily: Vec<Dated> = Vec::new();
        for time in &all {
            daily.push(dated(*time, true));
            let judgement = judge(&YEARLY, &madrid, Clocks::ours(*time), None, &daily);
            assert_eq!(judgement.refusal, None);
            let gone: BTreeSet<SnapshotName> = judgement.removals().cloned().collect();
            daily.retain(|snapshot| !gone.contains(&snapshot.name));
        }
        let by_day: Vec<String> = daily.iter().map(|snapshot| snapshot.name.as_str()[3..11].to_owned()).collect();
        assert_eq!(by_day, kept(&at_once), "judging every day leaves what judging once leaves");
        // the newest three days of the fourteen, besides those of the table
        let mut expected: Vec<String> = AFTER_THREE_YEARS.iter().map(ToString::to_string).collect();
        expected.extend(["20261228", "20261229", "20261230", "20261231"].map(str::to_owned));
        // names tell UTC: two in the morning in Madrid is the same day there
        assert_eq!(by_day, expected);
    }

    #[test]
    fn partial_ones_take_no_good_ones_place() {
        let now = at(1_000_000_000);
        let set: Vec<Dated> = (0..20).map(|day| dated(at(1_000_000_000 - day * 86_400), day % 2 == 1)).collect();
        let judgement = judge(&Policy { daily: 5, ..Policy::default() }, &TimeZone::UTC, Clocks::ours(now), None, &set);
        let good = judgement.verdicts.iter().filter(|verdict| verdict.stays() && verdict.snapshot.is_good()).count();
        assert_eq!(good, 5);
        let partial: Vec<_> = judgement.verdicts.iter().filter(|v| v.stays() && !v.snapshot.is_good()).collect();
        assert_eq!(partial.len(), 1, "the newest of all is partial and the best there is of its time");
        assert_eq!(partial[0].reasons, [Reason::Latest]);
        assert!(judgement.verdicts.iter().all(|verdict| !verdict.words().is_empty()));
    }

    #[test]
    fn what_is_odd_removes_nothing_and_says_why() {
        let now = at(1_000_000_000);
        let set: Vec<Dated> = (0..100).map(|day| dated(at(1_000_000_000 - day * 86_400), true)).collect();
        let policy = Policy { last: 5, ..Policy::default() };
        let utc = &TimeZone::UTC;
        let refusal = |policy: &Policy, now, not_ok, set: &[Dated]| {
            let judgement = judge(policy, utc, Clocks::ours(now), not_ok, set);
            assert_eq!(judgement.removals().count() == 0, judgement.refusal.is_some());
            judgement.refusal
        };
        assert!(matches!(refusal(&policy, now, None, &set), Some(Refusal::TooMany { removals: 95, max: 50 })));
        let many = Policy { max_removals: 95, ..policy };
        assert_eq!(refusal(&many, now, None, &set), None);
        assert!(matches!(refusal(&many, now, Some("partial"), &set), Some(Refusal::LastRunNotOk { .. })));
        assert!(matches!(refusal(&many, at(999_999_900), None, &set), Some(Refusal::ClockBehind { .. })));
        let none = judge(&Policy::default(), utc, Clocks::ours(now), None, &set);
        assert!(none.verdicts.iter().all(|verdict| verdict.reasons == [Reason::NoRules]));
    }

    #[test]
    fn clocks_an_hour_apart_are_trusted_and_further_apart_nothing_goes_and_both_are_told() {
        let now = at(1_000_000_000);
        let set: Vec<Dated> = (0..9).map(|day| dated(at(1_000_000_000 - day * 86_400), true)).collect();
        let policy = Policy { within: Some(Duration::from_secs(86_400)), ..Policy::default() };
        for (seconds, removals) in [(0, 6), (3600, 6), (-3600, 6), (3601, 0), (-3601, 0), (-40 * 86_400, 0)] {
            let clocks = Clocks { ours: now, stores: Some(now - SignedDuration::from_secs(seconds)) };
            let judgement = judge(&policy, &TimeZone::UTC, clocks, None, &set);
            assert_eq!(judgement.removals().count(), removals, "{seconds} s ahead");
        }
        let clocks = Clocks { ours: now, stores: Some(at(999_990_000)) };
        // nothing would go: the trash is not to be emptied either, so it is said all the same
        let refusal = judge(&policy, &TimeZone::UTC, clocks, None, &[]).refusal.expect("a refusal").to_string();
        assert!(refusal.contains("2001-09-09T01:46:40Z") && refusal.contains("2001-09-08T23:00:00Z"), "{refusal}");
    }

    #[test]
    fn a_snapshot_that_two_clocks_call_the_future_is_told_with_the_way_out_and_not_blamed_on_a_clock() {
        let now = at(1_000_000_000);
        let mut set: Vec<Dated> = (0..9).map(|day| dated(at(1_000_000_000 - day * 86_400), true)).collect();
        let policy = Policy { last: 1, floor: 1, ..Policy::default() };
        for (ahead, stores, is_dated_ahead) in [
            (5 * 365 * 86_400, Some(now), true),
            (5 * 365 * 86_400, None, false),
            (3000, Some(now), false),
            (3700, Some(now), true),
            // the store's clock is a bit ahead as well: ours may be behind
            (3700, Some(at(1_000_000_200)), false),
        ] {
            set[0] = dated(at(1_000_000_000 + ahead), true);
            let judgement = judge(&policy, &TimeZone::UTC, Clocks { ours: now, stores }, None, &set);
            let refusal = judgement.refusal.clone().expect("nothing may go");
            assert_eq!(matches!(refusal, Refusal::DatedAhead { .. }), is_dated_ahead, "{ahead} {stores:?}: {refusal}");
            assert_eq!(refusal.advice().contains("out of the store"), is_dated_ahead);
            assert_eq!(judgement.removals().count(), 0);
        }
    }

    #[test]
    fn damaged_ones_stay_and_the_newest_and_the_floor_are_counted_without_them() {
        let now = at(1_000_000_000);
        let mut set: Vec<Dated> = (0..10).map(|day| dated(at(1_000_000_000 - day * 86_400), true)).collect();
        set[0].quality = Quality::Damaged;
        set[2].quality = Quality::Unread;
        let policy = Policy { last: 1, floor: 3, ..Policy::default() };
        let judgement = judge(&policy, &TimeZone::UTC, Clocks::ours(now), None, &set);
        let words: Vec<String> = judgement.verdicts.iter().rev().take(6).map(super::Verdict::words).collect();
        assert_eq!(words, ["damaged", "newest, last", "unreadable", "floor", "floor", "no rule keeps it"]);
    }

    /// Policy, zone, how far the clock is off, and snapshots: when, worth what, held.
    type Set = (Policy, usize, i64, Vec<(i64, Quality, bool)>);

    fn any_set() -> impl Strategy<Value = Set> {
        let count = || prop_oneof![3 => Just(0_u32), 4 => 0_u32..6];
        let policy = (
            (count(), count(), count(), count(), count(), count()),
            prop::option::of(0_u64..5_000_000),
            0_u32..5,
            prop_oneof![Just(1000_u32), 0_u32..6],
        )
            .prop_map(|((last, hourly, daily, weekly, monthly, yearly), within, floor, max_removals)| {
                let within = within.map(Duration::from_secs);
                Policy { last, hourly, daily, weekly, monthly, yearly, within, floor, max_removals }
            });
        // around a change of clocks, over hours, months and years, the future included
        let offset = prop_oneof![-9_000_i64..9_000, -4_000_000_i64..100_000, -100_000_000_i64..10_000];
        let quality = prop_oneof![
            4 => Just(Quality::Good), 4 => Just(Quality::Partial), 1 => Just(Quality::Damaged), 1 => Just(Quality::Unread)
        ];
        let set = prop::collection::vec((offset, quality, prop::bool::weighted(0.1)), 0..25);
        (policy, 0_usize..4, -100_000_i64..100_000, set)
    }

    /// What must hold for every set; an error tells what does not.
    fn holds((policy, zone_index, clock, set): &Set) -> Result<(), String> {
        // the last Sunday of October 2026, when Madrid's clocks go back
        let base = 1_792_890_000;
        let zone = zone(["UTC", "Europe/Madrid", "America/St_Johns", "Pacific/Apia"][*zone_index]);
        let now = at(base + clock);
        let mut names = BTreeSet::new();
        let set: Vec<Dated> = set
            .iter()
            .map(|(offset, quality, held)| Dated { held: *held, quality: *quality, ..dated(at(base + offset), true) })
            .filter(|snapshot| names.insert(snapshot.name.clone()))
            .collect();
        let check = |fine: bool, what: &str| if fine { Ok(()) } else { Err(format!("{what}: {policy:?} {set:?}")) };
        let judgement = judge(policy, &zone, Clocks::ours(now), None, &set);
        let gone: BTreeSet<SnapshotName> = judgement.removals().cloned().collect();
        let left: Vec<Dated> = set.iter().filter(|snapshot| !gone.contains(&snapshot.name)).cloned().collect();
        check(judgement.verdicts.len() == set.len(), "one verdict for each")?;
        check(judgement.verdicts.iter().all(|verdict| !verdict.words().is_empty()), "each has a reason")?;
        let newest_good = set.iter().filter(|snapshot| snapshot.is_good()).max_by_key(|snapshot| snapshot.name.at());
        check(newest_good.is_none_or(|newest| !gone.contains(&newest.name)), "the newest good one stays")?;
        let good = |set: &[Dated]| set.iter().filter(|snapshot| snapshot.is_good()).count();
        let odd = |snapshot: &&Dated| matches!(snapshot.quality, Quality::Damaged | Quality::Unread);
        check(!policy.has_rules() || set.iter().filter(odd).all(|s| !gone.contains(&s.name)), "what is odd stays")?;
        check(good(&left) >= good(&set).min(policy.floor as usize), "never below the floor")?;
        check(set.iter().all(|snapshot| !snapshot.held || !gone.contains(&snapshot.name)), "what is held stays")?;
        check(gone.len() <= policy.max_removals as usize, "never more than may go")?;
        check(policy.has_rules() || gone.is_empty(), "without a rule nothing goes")?;
        let future = set.iter().any(|snapshot| snapshot.name.at().duration_since(now) > super::AHEAD);
        check(!future || gone.is_empty(), "nothing goes while the clock is behind")?;
        check(
            judge(policy, &zone, Clocks::ours(now), Some("failed"), &set).removals().count() == 0,
            "nothing after a failure",
        )?;
        let apart = Clocks { ours: now, stores: Some(now + SignedDuration::from_secs(3601)) };
        check(judge(policy, &zone, apart, None, &set).removals().count() == 0, "nothing while two clocks differ")?;
        let again = judge(policy, &zone, Clocks::ours(now), None, &left);
        check(again.removals().count() == 0 || !gone.is_empty() || judgement.refusal.is_some(), "idempotent")?;
        if judgement.refusal.is_none() {
            check(again.removals().count() == 0, "judging what is left removes nothing")?;
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]
        #[test]
        fn whatever_the_set_what_is_needed_stays(set in any_set()) {
            holds(&set).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    #[ignore = "a campaign: cargo test --release --lib retention -- --ignored --nocapture"]
    fn a_million_sets_lose_nothing_that_is_needed() {
        const CASES: u32 = 1_000_000;
        let seed = [7; 32];
        let rng = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
        let mut violations = 0;
        for _ in 0..CASES {
            let set = any_set().new_tree(&mut runner).expect("a set").current();
            if let Err(what) = holds(&set) {
                violations += 1;
                eprintln!("{what}");
            }
        }
        eprintln!("n {CASES} sets, {violations} violations, seed {seed:?}");
        assert_eq!(violations, 0);
    }
}
