//! What the daemon knows of its stores: whether they can be used, as far as looks have told.
//!
//! Two kinds of looks, each at most once at a time for each store: a short one every few seconds (marker and room, which
//! decides whether the store can be used), and a deep one seldom and after runs (what lies in it). A look that gets no
//! answer is left behind, and the next one waits until its child is gone: a dead server does not fill the machine with
//! processes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::Sender;
use jiff::tz::TimeZone;

use super::look::{LOOK_VERB, Look, LookJob, LookOrder, SeenJob};
use super::news::News;
use super::watched::{NoAnswer, Question, ask};
use crate::config::{Settings, StoreSettings};
use crate::domain::{JobName, Trouble};
use crate::page::Unlisted;
use crate::wiring::{State, store_order};

/// Between the end of a short look and the next.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Between deep looks, if nothing happened in between.
const DEEP_EVERY: Duration = Duration::from_secs(600);

/// A short look without an answer for so long: the store does not answer. A busy server takes some seconds.
const SHORT_DEADLINE: Duration = Duration::from_secs(20);

/// A deep look may read thousands of small files.
const DEEP_DEADLINE: Duration = Duration::from_secs(300);

/// Ten thousand snapshots of a hundred jobs.
const LOOK_BYTES_MAX: u64 = 256 << 20;

/// Past runs that are asked for: all that are kept where none are known, else what may have been made elsewhere.
const RUNS_ALL: usize = super::kept::RUNS_MAX;
const RUNS_NEW: usize = 20;

/// A store that cannot be used for so long is told to people: shorter, and each reboot of a server would be news.
pub(super) const TOLD_AFTER: Duration = Duration::from_secs(180);

/// What people should hear of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It has not been usable for [`TOLD_AFTER`].
    Gone,
    /// It is back, and they were told that it was gone: by this process, or perhaps by the one before.
    Back,
}

/// Since when a store cannot be used, and whether people know.
#[derive(Debug, Default)]
struct Absence {
    /// By a clock that does not step.
    since: Option<Duration>,
    is_told: bool,
    /// Since this process began.
    was_usable: bool,
}

impl Absence {
    /// What is to be told at `now`; each word once.
    fn word(&mut self, is_usable: bool, now: Duration) -> Option<Word> {
        if is_usable {
            // the first time as well: the daemon before may have told that it was gone, and only who was told hears it
            let is_back = self.is_told || !self.was_usable;
            *self = Self { was_usable: true, ..Self::default() };
            return is_back.then_some(Word::Back);
        }
        let since = *self.since.get_or_insert(now);
        if self.is_told || now.saturating_sub(since) < TOLD_AFTER {
            return None;
        }
        self.is_told = true;
        Some(Word::Gone)
    }
}

/// A store, as known.
#[derive(Debug, Default)]
pub(super) struct StoreWatch {
    /// Why it cannot be used; none before the first look as well, see `is_known`.
    pub(super) trouble: Option<String>,
    pub(super) free: Option<u64>,
    pub(super) total: Option<u64>,
    /// As the last deep look told it.
    pub(super) skew_s: Option<i64>,
    /// Whether any look has ended.
    pub(super) is_known: bool,
    /// Jobs of which the last deep look told nothing, and why.
    pub(super) unlisted: BTreeMap<JobName, Unlisted>,
    /// Jobs that the deep look at work was asked for.
    asked: Vec<JobName>,
    short: Looking,
    deep: Looking,
    deep_wanted: bool,
    absence: Absence,
}

/// One kind of look.
#[derive(Debug, Default)]
struct Looking {
    at_work: bool,
    /// When the last one ended, by a clock that does not step.
    ended: Option<Duration>,
}

impl Looking {
    fn is_due(&self, now: Duration, every: Duration) -> bool {
        !self.at_work && self.ended.is_none_or(|ended| now.saturating_sub(ended) >= every)
    }

    fn end(&mut self, now: Duration) {
        *self = Self { at_work: false, ended: Some(now) };
    }
}

/// What the looks need of the daemon.
pub(super) struct Eyes<'a> {
    pub(super) program: &'a PathBuf,
    pub(super) settings: &'a Settings,
    pub(super) state: &'a State,
    pub(super) tell: &'a Sender<News>,
}

impl StoreWatch {
    /// Something happened in it: it is looked into again soon.
    pub(super) fn want_deep(&mut self) {
        self.deep_wanted = true;
    }

    /// What people should hear of it now.
    pub(super) fn word(&mut self, now: Duration) -> Option<Word> {
        if self.is_known { self.absence.word(self.trouble.is_none(), now) } else { None }
    }

    /// Starts the looks whose time has come. `is_new` says of which jobs no history is known.
    pub(super) fn look(
        &mut self,
        store: &StoreSettings,
        eyes: &Eyes<'_>,
        now: Duration,
        is_new: &dyn Fn(&JobName) -> bool,
    ) {
        if self.short.is_due(now, LOOK_EVERY) {
            self.short.at_work = true;
            start(store, eyes, Vec::new(), false);
        }
        let wanted = self.deep_wanted && !self.deep.at_work;
        if self.is_known && self.trouble.is_none() && (wanted || self.deep.is_due(now, DEEP_EVERY)) {
            self.deep.at_work = true;
            self.deep_wanted = false;
            let jobs = eyes.settings.jobs.values().filter(|job| job.store == store.name);
            let jobs = jobs.map(|job| LookJob {
                job: job.name.clone(),
                retention: job.retention,
                runs: if is_new(&job.name) { RUNS_ALL } else { RUNS_NEW },
            });
            let jobs: Vec<LookJob> = jobs.collect();
            self.asked = jobs.iter().map(|job| job.job.clone()).collect();
            self.unlisted.retain(|job, _| self.asked.contains(job));
            start(store, eyes, jobs, true);
        }
    }

    /// A look has ended; gives what lies in the store, if it was a deep one.
    pub(super) fn looked(&mut self, is_deep: bool, look: Look, now: Duration) -> Vec<SeenJob> {
        if is_deep {
            self.deep.end(now)
        } else {
            self.short.end(now)
        }
        match look {
            Look::Seen(seen) => {
                self.is_known = true;
                (self.free, self.total) = (Some(seen.free), Some(seen.total));
                if is_deep {
                    self.skew_s = seen.skew_s;
                    seen.jobs.iter().for_each(|seen| drop(self.unlisted.remove(&seen.job)));
                    seen.unlisted.iter().for_each(|(job, trouble)| self.not_listed(job, &words(trouble)));
                } else if self.trouble.take().is_some() {
                    // what was not listed while it was away
                    self.want_deep();
                }
                seen.jobs
            }
            Look::Trouble(trouble) => {
                // whether the store can be used, the short one says
                if is_deep {
                    self.nothing_listed(&words(&trouble));
                } else {
                    self.is_known = true;
                    self.trouble = Some(words(&trouble));
                }
                Vec::new()
            }
        }
    }

    /// A look got no answer.
    pub(super) fn silent(&mut self, is_deep: bool) {
        if is_deep {
            self.nothing_listed(&format!("the store has not answered for {} s", DEEP_DEADLINE.as_secs()));
        } else {
            self.is_known = true;
            self.trouble = Some(format!("it has not answered for {} s", SHORT_DEADLINE.as_secs()));
        }
    }

    /// A deep look told nothing of any job.
    fn nothing_listed(&mut self, why: &str) {
        for job in std::mem::take(&mut self.asked) {
            self.not_listed(&job, why);
        }
    }

    fn not_listed(&mut self, job: &JobName, why: &str) {
        let known = self.unlisted.entry(job.clone()).or_default();
        known.why = why.to_owned();
        known.times = known.times.saturating_add(1);
    }

    /// The child of a look that got no answer is gone.
    pub(super) fn gone(&mut self, is_deep: bool, now: Duration) {
        if is_deep { self.deep.end(now) } else { self.short.end(now) }
    }
}

fn words(trouble: &Trouble) -> String {
    let causes: String = trouble.causes.iter().map(|cause| format!(" ({cause})")).collect();
    format!("{}{causes}; {}", trouble.what, trouble.advice)
}

/// A look in a thread of its own, which reports by message and ends with its child.
fn start(store: &StoreSettings, eyes: &Eyes<'_>, jobs: Vec<LookJob>, is_deep: bool) {
    let zone: &TimeZone = &eyes.settings.timezone;
    let order = LookOrder {
        store: store_order(store, eyes.state, false),
        zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        jobs,
    };
    let question = Question {
        arguments: vec![LOOK_VERB.into()],
        input: serde_json::to_vec(&order).expect("an order is plain values"),
        answer_bytes_max: LOOK_BYTES_MAX,
    };
    let (program, tell, store) = (eyes.program.clone(), eyes.tell.clone(), store.name.clone());
    std::thread::spawn(move || {
        let deadline = if is_deep { DEEP_DEADLINE } else { SHORT_DEADLINE };
        let answer = match ask(&program, question, deadline) {
            Ok(answer) => serde_json::from_slice::<Look>(&answer.out)
                .map_err(|_| format!("a look at it ended without an answer: {}", answer.err.trim())),
            Err(NoAnswer::Failed(why)) => Err(why),
            Err(NoAnswer::Silent(gone)) => {
                let _ = tell.send(News::Silent { store: store.clone(), is_deep });
                let _ = gone.recv();
                let _ = tell.send(News::Gone { store, is_deep });
                return;
            }
        };
        let advice = || "see the log; it is tried again".to_owned();
        let look = answer.unwrap_or_else(|what| Look::Trouble(Trouble { what, causes: Vec::new(), advice: advice() }));
        let _ = tell.send(News::Looked { store, is_deep, look: Box::new(look) });
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Absence, JobName, Look, SeenJob, StoreWatch, TOLD_AFTER, Trouble, Word};
    use crate::daemon::look::Seen;
    use crate::domain::StoreId;

    #[test]
    fn a_store_that_is_gone_is_told_once_after_three_minutes_and_its_return_to_whom_knew() {
        let mut absence = Absence::default();
        let at = |s: u64| Duration::from_secs(1000 + s);
        let last = TOLD_AFTER.as_secs();
        assert_eq!([0, 5, last - 1].map(|s| absence.word(false, at(s))), [None; 3]);
        assert_eq!([last, last + 5, last + 5000].map(|s| absence.word(false, at(s))), [Some(Word::Gone), None, None]);
        assert_eq!([last + 6000, last + 6005].map(|s| absence.word(true, at(s))), [Some(Word::Back), None]);
        // a short one is no news, and the next begins anew
        assert_eq!(absence.word(false, at(9000)), None);
        assert_eq!(absence.word(true, at(9100)), None);
        assert_eq!(absence.word(false, at(9100 + last)), None);
    }

    /// Nobody heard that it was back, and when it went again within hours it was no news.
    #[test]
    fn a_daemon_that_finds_a_store_well_says_so_once_because_the_one_before_may_have_told_that_it_was_gone() {
        let mut absence = Absence::default();
        let at = Duration::from_secs;
        assert_eq!([0, 5, 10].map(|s| absence.word(true, at(s))), [Some(Word::Back), None, None]);
        assert_eq!([20, 100].map(|s| absence.word(false, at(s))), [None; 2]);
        assert_eq!(absence.word(true, at(105)), None, "nobody was told");
    }

    #[test]
    fn what_a_deep_look_does_not_tell_is_counted_for_each_job_until_it_does() {
        let (one, two): (JobName, JobName) = ("one".parse().expect("a job"), "two".parse().expect("a job"));
        let trouble = |what: &str| Trouble { what: what.into(), causes: Vec::new(), advice: "do".into() };
        let at = "2026-11-21T02:00:00Z".parse().expect("a time");
        let store = StoreId::from_random([7; 16]);
        let seen = |job: &JobName| {
            let (snapshots, trashed, runs) = (Vec::new(), Vec::new(), Vec::new());
            SeenJob { job: job.clone(), at, store: store.clone(), snapshots, trashed, runs }
        };
        let look = |jobs, unlisted| {
            let id = StoreId::from_random([7; 16]);
            Look::Seen(Box::new(Seen { id, free: 1, total: 1, skew_s: None, jobs, unlisted }))
        };
        let times = |watch: &StoreWatch| [&one, &two].map(|job| watch.unlisted.get(job).map_or(0, |known| known.times));
        let mut watch = StoreWatch { asked: vec![one.clone(), two.clone()], ..StoreWatch::default() };
        let listed = watch.looked(true, look(vec![seen(&one)], vec![(two.clone(), trouble("denied"))]), Duration::ZERO);
        assert_eq!((listed.len(), times(&watch)), (1, [0, 1]));
        assert_eq!(watch.unlisted[&two].why, "denied; do");
        assert_eq!(watch.trouble, None, "the store can be used");
        watch.looked(true, Look::Trouble(trouble("no answer")), Duration::ZERO);
        assert_eq!(times(&watch), [1, 2], "of none was anything told");
        watch.asked = vec![one.clone(), two.clone()];
        watch.silent(true);
        assert_eq!((times(&watch), watch.trouble.as_ref()), ([2, 3], None));
        watch.looked(true, look(vec![seen(&two)], Vec::new()), Duration::ZERO);
        assert_eq!(times(&watch), [2, 0]);
    }

    #[test]
    fn a_look_without_an_answer_counts_as_any_other_trouble_and_a_store_that_was_never_looked_at_does_not() {
        let mut watch = StoreWatch::default();
        assert_eq!(watch.word(Duration::ZERO), None);
        assert_eq!(watch.word(TOLD_AFTER), None);
        watch.silent(false);
        assert_eq!(watch.word(TOLD_AFTER), None);
        assert_eq!(watch.word(TOLD_AFTER * 2), Some(Word::Gone));
    }
}
