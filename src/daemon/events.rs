//! What follows from what has happened: it is remembered, logged, and told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::kept::Began;
use super::log::Weight;
use super::look::Look;
use super::news::Proof;
use super::owner::Owner;
use super::proofs::{self, DamageNews, Found, Turn};
use super::runs::{Left, start_proof};
use super::stores::{StoreWatch, TOLD_AFTER, Word};
use crate::config::JobSettings;
use crate::domain::{Clock, JobName, Level, Outcome, Skips, SnapshotName, StopReason, Totals, Trouble, Verdict};
use crate::page::Unlisted;
use crate::report::{Kind, Message, RunRecord, Subject};
use crate::schedule::{Agenda, Missed, Plan, Start, Why};
use crate::supervise::{End, Ended};

/// Damaged snapshots that one message names besides the newest.
const DAMAGED_TOLD: usize = 20;

impl Owner {
    /// A run is over: by its own word, by its watcher's, or left behind.
    pub(super) fn ended(&mut self, name: &JobName, ended: Ended) {
        let now = self.clock.now();
        let running = self.running.remove(name);
        let record = RunRecord::from(&ended.outcome);
        if let (Some(running), End::Left(_)) = (&running, &ended.end) {
            let left = Left { deed: "run", job: name.clone(), path: running.path.clone(), since: running.started };
            self.left.insert(record.run.clone(), left);
        }
        // one that was refused never ran
        let own = || self.settings.jobs.get(name).map(|job| job.store.clone());
        let store = running.map(|running| running.store).or_else(own).unwrap_or_default();
        if let (Some(id), Some(settings)) = (&ended.store, self.settings.stores.get(&store)) {
            self.note(self.state.remember_store(&settings.path, id));
        }
        self.state.drop_outcomes(&ended.recorded);
        if !ended.recorded.contains(&record.run) {
            self.note(self.state.keep_outcome(&record));
        }
        let is_cut_off = self.stopping.is_some() && is_stopped(&record);
        let plan = self.plans.get(name).cloned();
        let job = self.job_kept(name);
        job.ended(&record);
        job.process_ended(&record, &ended.end);
        let failed = matches!(record.verdict, Verdict::Failed | Verdict::Skipped | Verdict::Missed);
        let again = match (&mut job.agenda, plan) {
            // the slot stays open: the next daemon makes up for it once
            (Some(_), _) if is_cut_off => None,
            (Some(agenda), Some(plan)) => agenda.ended(&plan, now, failed),
            (Some(agenda), None) => {
                let _ = agenda.withdraw();
                None
            }
            (None, _) => None,
        };
        if let Some(at) = again {
            let values = [("job", json!(name)), ("at", json!(at))];
            self.say(Weight::Info, "retry", &format!("{name} is tried again"), &values);
        }
        if let Some(watch) = self.stores.get_mut(&store) {
            watch.want_deep();
        }
        self.tell_outcome(name, store.clone(), record);
        self.retained(name, &store, ended.retention);
    }

    fn tell_outcome(&mut self, name: &JobName, store: String, record: RunRecord) {
        let kind = match record.verdict {
            Verdict::Ok => Kind::Ok,
            Verdict::Partial => Kind::Partial,
            Verdict::Failed => Kind::Failed,
            // another run was at work: told from the second in a row on
            Verdict::Skipped | Verdict::Missed => Kind::Missed,
        };
        let job = self.kept.jobs.get(name);
        let message = Message {
            size_before: job.and_then(|job| job.size_before(&record.run)),
            snapshot: record.snapshot.clone(),
            outcome: Some(Box::new(record)),
            ..self.about_job(kind, name, store)
        };
        self.tell(message);
    }

    /// What is known of a job, for whatever is told of it.
    pub(super) fn about_job(&self, kind: Kind, name: &JobName, store: String) -> Message {
        let job = self.kept.jobs.get(name);
        Message {
            job: Some(name.clone()),
            store: Some(store),
            next_run: self.next_run(name, self.clock.now()),
            last_success: job.and_then(|job| job.last_success),
            in_a_row: job.map_or(0, |job| job.failures_in_a_row),
            ..self.message(kind)
        }
    }

    pub(super) fn next_run(&self, name: &JobName, now: Timestamp) -> Option<Timestamp> {
        let agenda = self.kept.jobs.get(name)?.agenda.as_ref()?;
        Some(agenda.next(self.plans.get(name)?, now)?.0)
    }

    /// The daemon before this one ended with a run handed out.
    pub(super) fn was_cut_off(&mut self, name: &JobName, start: Start, began: Option<Began>, now: Timestamp) {
        let Some(job) = self.settings.jobs.get(name).cloned() else { return };
        let Some(began) = began else {
            // it told its end before the daemon left, or never began; then its slot was missed, and is made up for
            if start.why == Why::Slot && !self.kept.jobs.get(name).is_some_and(|job| job.was_stopped()) {
                let reason = crate::schedule::Reason::Withdrawn;
                let missed = Missed { count: 1, first: start.slot, last: start.slot, reason };
                self.job_kept(name).missed(1, start.slot, reason.words());
                self.tell_missed(name, &missed);
            }
            return;
        };
        let trouble = Trouble {
            what: "the daemon ended while this run was at work".to_owned(),
            causes: Vec::new(),
            advice:
                "it is made up for if it is not too late; `backup list` shows the snapshot if it was published, and \
                     the log and the kernel's say why the daemon ended"
                    .to_owned(),
        };
        let outcome = self.untold_outcome(&job, began, now, (StopReason::Program, trouble));
        let record = RunRecord::from(&outcome);
        self.job_kept(name).ended(&record);
        self.tell_outcome(name, job.store, record);
    }

    /// The outcome of a run that cannot tell its own.
    pub(super) fn untold_outcome(
        &self,
        job: &JobSettings,
        began: Began,
        now: Timestamp,
        failure: (StopReason, Trouble),
    ) -> Outcome {
        let path = self.settings.stores.get(&job.store).map(|store| store.path.display().to_string());
        Outcome {
            job: job.name.clone(),
            run: began.run,
            host: self.host.clone(),
            store: path.unwrap_or_default(),
            sources: job.sources.iter().map(|path| path.display().to_string()).collect(),
            started: began.at,
            finished: now,
            took_ms: u64::try_from(now.duration_since(began.at).as_millis()).unwrap_or(0),
            snapshot: None,
            record: None,
            totals: Totals::default(),
            skips: Skips::default(),
            doubts: Vec::new(),
            notices: Vec::new(),
            failure: Some(failure),
        }
    }

    pub(super) fn tell_missed(&mut self, name: &JobName, missed: &Missed) {
        let zone = &self.settings.timezone;
        let at = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string();
        let what = match missed.count {
            1 => format!("{name} was due at {} and did not start: {}", at(missed.last), missed.reason.words()),
            count => {
                let (first, last) = (at(missed.first), at(missed.last));
                format!(
                    "{name} was due {count} times from {first} to {last} and did not start: {}",
                    missed.reason.words()
                )
            }
        };
        let advice = "one run makes up for all of them, if `catch_up` allows; nothing else needs to be done".to_owned();
        let store = self.settings.jobs.get(name).map(|job| job.store.clone()).unwrap_or_default();
        let trouble = Some(Trouble { what, causes: Vec::new(), advice });
        self.tell(Message { trouble, ..self.about_job(Kind::Missed, name, store) });
    }

    /// Tells of jobs that have not the good snapshot they should have: it is too old, or damaged, or gone.
    pub(super) fn watch_ages(&mut self, now: Timestamp) {
        let mut late = Vec::new();
        for (name, plan) in &self.plans {
            let Some(job) = self.kept.jobs.get_mut(name) else { continue };
            let Some(why) = self.late.get(name) else {
                // the next time is told at once
                self.is_kept_saved &= job.overdue_told.take().is_none();
                continue;
            };
            // the page says from its first slot on that a job has no good run; it may be at work on it, and is given time
            let due = first_due(plan, job.agenda.as_ref()).filter(|_| job.last_success.is_none());
            if job.repeats_overdue(now) && due.is_none_or(|due| plan.is_overdue(due, now)) {
                late.push((name.clone(), why.clone()));
            }
        }
        for (name, why) in late {
            self.job_kept(&name).overdue_told = Some(now);
            let what = format!("{name} has not the good snapshot that it should have: {why}");
            let advice =
                "see what its last runs met, and what is in the store: `backup status`, `backup list`".to_owned();
            let store = self.settings.jobs.get(&name).map(|job| job.store.clone()).unwrap_or_default();
            let trouble = Some(Trouble { what, causes: Vec::new(), advice });
            self.tell(Message { trouble, ..self.about_job(Kind::Overdue, &name, store) });
        }
    }

    /// Starts one verification, if one is due, none is at work, and no run of its store is.
    pub(super) fn start_proofs(&mut self, now: Timestamp) {
        if self.proving.is_some() {
            return;
        }
        let jobs: Vec<JobSettings> = self.settings.jobs.values().filter(|job| job.verify.is_some()).cloned().collect();
        for job in jobs {
            let Some(verify) = &job.verify else { continue };
            if self.running.values().any(|running| running.store == job.store) {
                continue;
            }
            let Some(plan) = job.verify_plan(&self.host) else { continue };
            let store = self.settings.stores.get(&job.store).cloned();
            let store = store.expect("the configuration was checked: a job's store exists");
            // people know that it hangs; the slot waits until that process is gone
            if self.left_in(&store).is_some() {
                continue;
            }
            let turn = self.turn(&job, verify.level, now);
            let kept = self.kept.jobs.entry(job.name.clone()).or_default();
            let agenda = kept.verify_agenda.get_or_insert_with(|| Agenda::begin(&plan, now));
            if turn == Turn::Unknown {
                continue;
            }
            let due = agenda.due(&plan, now);
            if due != crate::schedule::Due::default() {
                self.kept_changed();
            }
            if due.start.is_none() {
                continue;
            }
            let Turn::Of(snapshot) = turn else {
                let _ = self.job_kept(&job.name).verify_agenda.as_mut().and_then(Agenda::withdraw);
                self.tell_no_turn(&job, turn);
                continue;
            };
            let values = [("job", json!(job.name)), ("snapshot", json!(snapshot)), ("level", json!(verify.level))];
            self.say(Weight::Info, "verify-started", "a verification starts", &values);
            let (program, folder) = (self.program().clone(), self.state.folder().to_owned());
            let tell = self.inbox.tell.clone();
            // before it begins: whatever becomes of it, the next slot is another snapshot's
            self.job_kept(&job.name).tried.insert(snapshot.clone(), now);
            self.save(now);
            let left = Left { deed: "verification", job: job.name.clone(), path: store.path.clone(), since: now };
            let proving = start_proof(&program, &job, &store, verify, snapshot, &folder, tell);
            self.proving = Some((proving, left));
            return;
        }
    }

    fn turn(&self, job: &JobSettings, level: Level, now: Timestamp) -> Turn {
        let nothing = BTreeMap::new();
        let tried = self.kept.jobs.get(&job.name).map_or(&nothing, |kept| &kept.tried);
        let seen = self.seen.get(&job.name).map(|seen| seen.snapshots.as_slice());
        let unlisted = self.stores.get(&job.store).and_then(|watch| watch.unlisted.get(&job.name));
        proofs::turn(seen, unlisted.map(|unlisted| unlisted.why.as_str()), level, tried, now)
    }

    /// A slot of verification has come, and there is nothing that can be verified.
    fn tell_no_turn(&mut self, job: &JobSettings, turn: Turn) {
        if let Turn::Blind(why) = turn {
            let what = format!("nothing of {} could be verified: its snapshots cannot be listed", job.name);
            let advice =
                "its turn comes again at the next slot; `backup list` as the daemon's user tells more".to_owned();
            let trouble = Some(Trouble { what, causes: vec![why], advice });
            let about = self.about_job(Kind::Trouble, &job.name, job.store.clone());
            self.tell(Message { trouble, subject: Some(Subject::Verify), ..about });
        } else {
            let values = [("job", json!(job.name))];
            self.say(Weight::Warning, "verify-nothing", "there is nothing to verify yet", &values);
        }
    }

    /// A verification is over.
    pub(super) fn proven(&mut self, name: &JobName, snapshot: &SnapshotName, proof: Proof) {
        let at_work = self.proving.take();
        let now = self.clock.now();
        let is_left = matches!(proof, Proof::Left(..));
        if let (true, Some((_, left))) = (is_left, at_work) {
            self.left_proofs.insert((name.clone(), snapshot.clone()), left);
        }
        let is_failed = is_left || matches!(proof, Proof::Failed(_));
        let job = self.settings.jobs.get(name).cloned();
        let level = job.as_ref().and_then(|job| job.verify.as_ref()).map(|verify| verify.level);
        let plan = job.as_ref().and_then(|job| job.verify_plan(&self.host));
        let is_cut_off = self.stopping.is_some() && is_failed;
        match (&mut self.job_kept(name).verify_agenda, plan) {
            // the slot stays open: the next daemon makes up for it once
            _ if is_cut_off => {}
            (Some(agenda), Some(plan)) => drop(agenda.ended(&plan, now, is_failed)),
            (Some(agenda), None) => drop(agenda.withdraw()),
            (None, _) => {}
        }
        let store = job.map(|job| job.store).unwrap_or_default();
        if let Some(watch) = self.stores.get_mut(&store) {
            watch.want_deep();
        }
        let values = [("job", json!(name)), ("snapshot", json!(snapshot))];
        if matches!(proof, Proof::Well(_) | Proof::Damaged { .. }) {
            self.tell_well(Some(name), Some(&store), Subject::Verify);
        }
        match proof {
            Proof::Well(at) => {
                self.say(Weight::Info, "verify-ok", "a snapshot was verified and is well", &values);
                let kept = self.job_kept(name);
                // of a snapshot that is known to be damaged, the next look tells whether this disproves it
                if !kept.damage.contains_key(snapshot) {
                    kept.proven = level.map(|level| (at, level)).or(kept.proven);
                }
            }
            Proof::Damaged { causes, count, level, part } => {
                let kept = self.job_kept(name);
                let began = kept.tried.get(snapshot).copied().unwrap_or(now);
                kept.damage.insert(snapshot.clone(), Some(Found { began, level, part }));
                let what = format!("{snapshot} is damaged: {count} places were found");
                let advice =
                    "check the store's disk; everything that is not named can still be restored; the next run \
                              reads what is damaged from the source again"
                        .to_owned();
                let trouble = Some(Trouble { what, causes, advice });
                let (subject, particular) = (Some(Subject::Damage), Some(particular(snapshot, 1)));
                let about = Message { snapshot: Some(snapshot.clone()), ..self.about_job(Kind::Damage, name, store) };
                self.tell(Message { trouble, subject, particular, ..about });
            }
            Proof::Removed => {
                let text = "the snapshot was removed while it was verified: the next slot is another's";
                self.say(Weight::Info, "verify-removed", text, &values);
            }
            Proof::Failed(_) | Proof::Left(..) if self.stopping.is_some() => {}
            Proof::Failed(why) | Proof::Left(why, _) => {
                let what = format!("{snapshot} could not be verified");
                let left = self.settings.stores.get(&store).filter(|_| is_left).and_then(|store| self.left_in(store));
                let again = || "its turn comes again at the next slot; `backup verify` tells more".to_owned();
                let advice = left.map_or_else(again, |left| left.advice);
                let trouble = Some(Trouble { what, causes: vec![why], advice });
                self.tell(Message {
                    trouble,
                    subject: Some(Subject::Verify),
                    ..self.about_job(Kind::Trouble, name, store)
                });
            }
        }
    }

    /// A look at a store got no answer.
    pub(super) fn silent(&mut self, store: &str, is_deep: bool) {
        let Some(watch) = self.stores.get_mut(store) else { return };
        let before = (watch.trouble.clone(), watch.unlisted.clone());
        watch.silent(is_deep);
        self.say_change(store, before);
    }

    /// Logs that a store's trouble, or that of its jobs, is another than `before`.
    fn say_change(&self, store: &str, before: (Option<String>, BTreeMap<JobName, Unlisted>)) {
        let Some(watch) = self.stores.get(store) else { return };
        let (before, before_unlisted) = before;
        if before != watch.trouble {
            match &watch.trouble {
                Some(why) => self.say(Weight::Error, "store-trouble", why, &[("store", json!(store))]),
                None => self.say(Weight::Info, "store-well", "the store can be used", &[("store", json!(store))]),
            }
        }
        for (job, unlisted) in &watch.unlisted {
            if before_unlisted.get(job).is_none_or(|before| before.why != unlisted.why) {
                let text = format!("the snapshots of {job} could not be listed: {}", unlisted.why);
                self.say(Weight::Error, "listing-trouble", &text, &[("job", json!(job)), ("store", json!(store))]);
            }
        }
        for job in before_unlisted.keys().filter(|job| !watch.unlisted.contains_key(*job)) {
            let text = format!("the snapshots of {job} can be listed again");
            self.say(Weight::Info, "listing-well", &text, &[("job", json!(job)), ("store", json!(store))]);
        }
    }

    /// Tells people of stores that are gone for a while, and of those that are back.
    pub(super) fn watch_stores(&mut self) {
        let now = self.clock.since_start();
        let word = |(name, watch): (&String, &mut StoreWatch)| {
            let word = watch.word(now)?;
            Some((name.clone(), word, watch.trouble.clone().unwrap_or_default()))
        };
        let words: Vec<(String, Word, String)> = self.stores.iter_mut().filter_map(word).collect();
        for (store, word, why) in words {
            match word {
                Word::Gone => {
                    let for_so_long = crate::report::duration_words(TOLD_AFTER);
                    let what = format!("the store {store} has not been usable for {for_so_long}");
                    let advice = "until it is back no run can store anything there: `backup doctor`".to_owned();
                    let trouble = Trouble { what, causes: vec![why], advice };
                    self.tell(Message { store: Some(store), ..self.trouble(Subject::Store, trouble) });
                }
                Word::Back => self.tell_well(None, Some(&store), Subject::Store),
            }
        }
    }

    /// A look at a store is over.
    pub(super) fn looked(&mut self, store: &str, is_deep: bool, look: Look) {
        let now = self.clock.since_start();
        let Some(watch) = self.stores.get_mut(store) else { return };
        let before = (watch.trouble.clone(), watch.unlisted.clone());
        let seen = watch.looked(is_deep, look, now);
        self.say_change(store, before);
        for job in seen {
            let name = job.job.clone();
            if self.kept.jobs.get(&name).is_none_or(|kept| job.runs.iter().any(|run| !kept.knows(run))) {
                self.job_kept(&name).learn(&job.runs);
            }
            let kept = self.kept.jobs.entry(name.clone()).or_default();
            let tried = kept.tried.len();
            kept.tried.retain(|tried, _| job.snapshots.iter().any(|snapshot| snapshot.name == *tried));
            let news = proofs::news(&mut kept.damage, &job.snapshots);
            if news.has_changed || kept.tried.len() != tried {
                self.kept_changed();
            }
            let settings = self.settings.jobs.get(&name);
            let before = self.seen.get(&name).zip(settings);
            let vanished = before.map(|(before, settings)| proofs::vanished(before, &job, settings.trash_for));
            self.seen.insert(name.clone(), job);
            self.tell_damage(&name, store, news);
            self.tell_vanished(&name, store, &vanished.unwrap_or_default());
        }
    }

    /// Tells of good snapshots that are gone, and that nothing of ours removed.
    fn tell_vanished(&mut self, name: &JobName, store: &str, vanished: &[SnapshotName]) {
        let Some(newest) = vanished.first() else { return };
        let count = crate::report::counted(vanished.len() as u64, "good snapshot");
        let what = format!("{count} of {name} went from the store, and no prune moved them to the trash");
        let causes = vanished.iter().take(DAMAGED_TOLD).map(ToString::to_string).collect();
        let advice = "find out who or what removed them; `backup list` shows what is left".to_owned();
        let trouble = Some(Trouble { what, causes, advice });
        let (subject, snapshot) = (Some(Subject::Damage), Some(newest.clone()));
        let particular = Some(format!("gone/{}", particular(newest, vanished.len())));
        let about = self.about_job(Kind::Damage, name, store.to_owned());
        self.tell(Message { trouble, subject, particular, snapshot, ..about });
    }

    /// Tells what a look found damaged that nobody was told of, and that nothing is damaged any more.
    fn tell_damage(&mut self, name: &JobName, store: &str, news: DamageNews) {
        let about = Message { subject: Some(Subject::Damage), ..self.about_job(Kind::Damage, name, store.to_owned()) };
        if let Some((snapshot, why)) = news.found.first() {
            let what = match news.found.len() {
                1 => format!("{snapshot} is damaged: {why}"),
                count => format!("{count} snapshots are damaged, the newest of them {snapshot}: {why}"),
            };
            let more = news.found[1..].iter().take(DAMAGED_TOLD);
            let causes = more.map(|(snapshot, why)| format!("{snapshot}: {why}")).collect();
            let advice = "check the store's disk; `backup verify` tells what is lost, everything else can still be restored; \
                          the next run reads what is damaged from the source again";
            let trouble = Some(Trouble { what, causes, advice: advice.to_owned() });
            let particular = Some(particular(snapshot, news.found.len()));
            self.tell(Message { trouble, particular, snapshot: Some(snapshot.clone()), ..about });
        } else if news.is_over {
            self.tell(Message { kind: Kind::Recovered, ..about });
        }
    }
}

/// Which damage: it is told at its edges only, so none may be held back because another was told.
fn particular(newest: &SnapshotName, count: usize) -> String {
    if count > 1 { format!("{newest}+{}", count - 1) } else { newest.to_string() }
}

fn is_stopped(record: &RunRecord) -> bool {
    matches!(record.reason, Some(StopReason::Terminated | StopReason::Interrupted))
}

/// The first slot since the agenda began.
pub(super) fn first_due(plan: &Plan, agenda: Option<&Agenda>) -> Option<Timestamp> {
    plan.slot_after(agenda?.began())
}
