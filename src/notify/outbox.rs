//! What is still to be delivered: one file for each message and channel, so that it survives a restart.
//!
//! The danger here is to lose a message, or to lose the program over one. A message leaves the box only when its channel
//! has it, will never have it, or when it has become too old or one too many: both are counted and told. Nothing that
//! lies in the folder can be fatal: what cannot be read is set aside. What cannot be written (a full disk, no right) is
//! kept in memory and tried all the same. At least once, not exactly once: receivers know repeats by the message's id.
//!
//! * Files are written aside, flushed and renamed, 0600; a name is `<nanoseconds>-<channel>-<id>.json`, so names sort by the
//!   time of this machine's clock: one that is set back may turn the order of two messages.
//! * Several processes may share the folder: each message is a file of its own, and who delivers holds the lock
//!   ([`Outbox::lock`]) for as long, and reads the folder anew first.
//! * Messages of one channel and job are delivered in their order: nobody hears "well again" before what was wrong.
//! * No clock here: `now` is an argument. No network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::channel::{Delivery, Wait};
use crate::report::{Message, SkipRecord};

/// More than a year of one message a day for two channels: beyond that nobody reads them.
pub const MESSAGES_MAX: usize = 1000;
/// What is a week old is no news.
pub const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The first wait; doubled with each attempt.
const WAIT_MIN: Duration = Duration::from_secs(2);
/// The longest wait that we choose ourselves.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// A spooled message is some kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Damaged files that are kept for a person to look at.
const ASIDE_MAX: usize = 20;
/// Skipped entries that travel with a message; channels name fewer, the manifest all.
const SKIPS_MAX: usize = 100;
const FORMAT: u32 = 1;

/// How long to wait after the `attempts`th attempt (from 1): what the receiver asked for, or 2 s doubled up to an hour.
pub fn wait_after(attempts: u32, asked: Option<Duration>) -> Duration {
    let own = || WAIT_MIN.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1).min(20))).min(WAIT_MAX);
    asked.map_or_else(own, |asked| asked.max(Duration::from_secs(1)))
}

/// A message on its way to one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    format: u32,
    /// The channel's name.
    pub channel: String,
    /// What is to be told.
    pub message: Message,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was put here.
    pub since: Timestamp,
    not_before: Timestamp,
    /// Whether a person has to mend something first; perhaps it has been when this program starts anew.
    #[serde(default)]
    is_to_be_mended: bool,
    /// Why the last attempt failed; never holds a secret.
    pub last: Option<String>,
}

/// Which letter: the name of its file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(String);

/// Letters that will not be delivered, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Older than `AGE_MAX`.
    pub too_old: u64,
    /// More than `MESSAGES_MAX`.
    pub too_many: u64,
    /// Files that could not be read; they are set aside.
    pub damaged: u64,
    /// A channel will never take them.
    pub refused: u64,
}

/// The box.
#[derive(Debug)]
pub struct Outbox {
    folder: PathBuf,
    letters: BTreeMap<LetterId, Letter>,
    /// Those that no file holds.
    in_memory: BTreeSet<LetterId>,
    /// Channels that are to be left alone until then.
    quiet: BTreeMap<String, Timestamp>,
    /// Those that do not wait for the end of their time, until their next attempt. Of this process only: what the files
    /// say may be changed only under the lock.
    at_once: BTreeSet<LetterId>,
    /// Whether the next reading of the folder lifts what waits for a person.
    lifts: bool,
    lost: Lost,
}

/// Held while messages are delivered; let go of when dropped, or when the process dies.
#[derive(Debug)]
pub struct OutboxLock(#[expect(dead_code, reason = "the lock lives as long as the file is open")] File);

impl Outbox {
    /// In `folder`, which need not be there. Reads nothing yet.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            letters: BTreeMap::new(),
            in_memory: BTreeSet::new(),
            quiet: BTreeMap::new(),
            at_once: BTreeSet::new(),
            lifts: false,
            lost: Lost::default(),
        }
    }

    /// When the folder is read next, what waits for a person is due at once: for a program that starts and then stays. One
    /// that ends at once, and is started every few minutes, would knock with a wrong password each time.
    pub fn lift_once(&mut self) {
        self.lifts = true;
    }

    /// Asks for the lock. None while another process has it.
    ///
    /// # Errors
    /// If there can be no lock here: then there is no other process either that could deliver from this folder.
    pub fn lock(&self) -> io::Result<Option<OutboxLock>> {
        make_folder(&self.folder)?;
        let path = self.folder.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(OutboxLock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the folder anew: what others put there, what others delivered. Lets go of what is too old or too much.
    pub fn refresh(&mut self, now: Timestamp) {
        let in_memory = std::mem::take(&mut self.in_memory);
        let mut found: BTreeMap<LetterId, Letter> = std::mem::take(&mut self.letters);
        found.retain(|id, _| in_memory.contains(id));
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.extension().is_none_or(|end| end != "json") {
                continue;
            }
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let id = LetterId(name.to_owned());
            match read_letter(&path) {
                Ok(letter) if LetterId::of(&letter) == id => {
                    found.insert(id, letter);
                }
                // delivered by another process meanwhile
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) | Err(_) => {
                    self.lost.damaged += 1;
                    self.set_aside(&path);
                }
            }
        }
        self.letters = found;
        self.in_memory = in_memory.into_iter().filter(|id| self.letters.contains_key(id)).collect();
        self.at_once.retain(|id| self.letters.contains_key(id));
        if std::mem::take(&mut self.lifts) {
            let to_be_mended = self.letters.iter().filter(|(_, letter)| letter.is_to_be_mended);
            self.at_once.extend(to_be_mended.map(|(id, _)| id.clone()));
        }
        self.bound(now);
    }

    /// Puts a message here for a channel. Earlier ones of the same channel that it `replaces` are dropped.
    ///
    /// # Errors
    /// If no file could hold it. It is in the box all the same, for as long as this process lives.
    pub fn put(
        &mut self,
        channel: &str,
        mut message: Message,
        replaces: impl Fn(&Message) -> bool,
        now: Timestamp,
    ) -> io::Result<LetterId> {
        if let Some(outcome) = &mut message.outcome {
            outcome.skips.truncate(SKIPS_MAX);
            outcome.skips.iter_mut().for_each(shorten);
        }
        let is_old = |letter: &Letter| letter.channel == channel && replaces(&letter.message);
        let old: Vec<_> = self.letters.iter().filter(|(_, letter)| is_old(letter)).map(|(id, _)| id.clone()).collect();
        old.iter().for_each(|id| self.remove(id));
        let letter = Letter {
            format: FORMAT,
            channel: channel.to_owned(),
            message,
            attempts: 0,
            since: now,
            not_before: now,
            is_to_be_mended: false,
            last: None,
        };
        let id = LetterId::of(&letter);
        let written = self.write(&id, &letter);
        if written.is_err() {
            self.in_memory.insert(id.clone());
        }
        self.letters.insert(id.clone(), letter);
        self.bound(now);
        written.map(|()| id)
    }

    /// What is to be tried now: for each channel that is not to be left alone the oldest letter of each job whose wait is
    /// over, oldest first.
    pub fn due(&self, now: Timestamp) -> Vec<(LetterId, Letter)> {
        let mut seen = BTreeSet::new();
        self.letters
            .iter()
            .filter(|(_, letter)| seen.insert((&letter.channel, &letter.message.job)))
            .filter(|(_, letter)| self.quiet.get(&letter.channel).is_none_or(|until| is_over(*until, now)))
            .filter(|(id, letter)| is_over(self.not_before(id, letter), now))
            .map(|(id, letter)| (id.clone(), letter.clone()))
            .collect()
    }

    /// When one of the wanted letters may be due next; none if there is none.
    pub fn next_due_of(&self, wanted: impl Fn(&LetterId, &Letter) -> bool) -> Option<Timestamp> {
        let mut seen = BTreeSet::new();
        self.letters
            .iter()
            .filter(|(_, letter)| seen.insert((&letter.channel, &letter.message.job)))
            .filter(|(id, letter)| wanted(id, letter))
            .map(|(id, letter)| {
                let not_before = self.not_before(id, letter);
                self.quiet.get(&letter.channel).map_or(not_before, |until| not_before.max(*until))
            })
            .min()
    }

    fn not_before(&self, id: &LetterId, letter: &Letter) -> Timestamp {
        if self.at_once.contains(id) { letter.since } else { letter.not_before }
    }

    /// Forgets how long anybody was to be left alone, of all that lies here: who is asked, or how, is another now.
    pub fn try_at_once(&mut self, now: Timestamp) {
        self.refresh(now);
        self.quiet.clear();
        self.at_once = self.letters.keys().cloned().collect();
    }

    /// Letters that no file holds.
    pub fn only_in_memory(&self) -> usize {
        self.in_memory.len()
    }

    /// Whether no file holds this letter.
    pub fn is_in_memory(&self, id: &LetterId) -> bool {
        self.in_memory.contains(id)
    }

    /// Leaves a channel alone for so long: what it asked for, or what its pace is.
    pub fn leave_alone(&mut self, channel: &str, wait: Duration, now: Timestamp) {
        self.quiet.insert(channel.to_owned(), later(now, wait));
    }

    /// Writes down what became of an attempt. A whole channel is left alone after one that it did not take.
    pub fn settle(&mut self, id: &LetterId, delivery: &Delivery, now: Timestamp) {
        match delivery {
            Delivery::Delivered { .. } => self.remove(id),
            Delivery::Never { .. } => {
                self.lost.refused += 1;
                self.remove(id);
            }
            Delivery::Later { why, wait } => {
                let Some(mut letter) = self.letters.get(id).cloned() else { return };
                letter.attempts = letter.attempts.saturating_add(1);
                let known = wait.known();
                let long = wait_after(letter.attempts, known);
                letter.not_before = later(now, long);
                letter.is_to_be_mended = *wait == Wait::Mended;
                self.at_once.remove(id);
                letter.last = Some(why.clone());
                // another job's letter to a receiver that is not there would wait for nothing
                self.leave_alone(
                    &letter.channel.clone(),
                    long.min(Duration::from_secs(60)).max(known.unwrap_or_default()),
                    now,
                );
                // where it cannot be written the file that is there says the same but for the number of attempts
                if self.write(id, &letter).is_ok() {
                    self.in_memory.remove(id);
                }
                self.letters.insert(id.clone(), letter);
            }
        }
    }

    /// All that waits, oldest first.
    pub fn letters(&self) -> impl Iterator<Item = (&LetterId, &Letter)> {
        self.letters.iter()
    }

    /// What will not be delivered, since this box was made.
    pub fn lost(&self) -> &Lost {
        &self.lost
    }

    fn bound(&mut self, now: Timestamp) {
        let is_old = |letter: &Letter| {
            now.duration_since(letter.since) > jiff::SignedDuration::try_from(AGE_MAX).unwrap_or_default()
        };
        let old: Vec<_> = self.letters.iter().filter(|(_, letter)| is_old(letter)).map(|(id, _)| id.clone()).collect();
        self.lost.too_old += old.len() as u64;
        let mut gone: VecDeque<LetterId> = old.into();
        let excess = (self.letters.len() - gone.len()).saturating_sub(MESSAGES_MAX);
        self.lost.too_many += excess as u64;
        gone.extend(self.letters.keys().filter(|id| !gone.contains(id)).take(excess).cloned().collect::<Vec<_>>());
        gone.iter().for_each(|id| self.remove(id));
    }

    fn remove(&mut self, id: &LetterId) {
        self.letters.remove(id);
        self.in_memory.remove(id);
        self.at_once.remove(id);
        // a file that stays is delivered once more by the next process, which its receiver can tell by its id
        let _ = std::fs::remove_file(self.folder.join(&id.0));
    }

    fn write(&self, id: &LetterId, letter: &Letter) -> io::Result<()> {
        make_folder(&self.folder)?;
        replace(&self.folder.join(&id.0), &serde_json::to_vec(letter).expect("a letter is plain values"))
    }

    #[expect(clippy::disallowed_methods, reason = "a file of our own moves to a name that nothing reads")]
    fn set_aside(&self, path: &Path) {
        let aside = self.folder.join("damaged");
        let name = path.file_name().unwrap_or_default();
        let kept = std::fs::read_dir(&aside).map_or(0, Iterator::count);
        if kept >= ASIDE_MAX || make_folder(&aside).is_err() || std::fs::rename(path, aside.join(name)).is_err() {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl LetterId {
    fn of(letter: &Letter) -> Self {
        // the age first, so that names sort; ids are ours, and checked before they become part of a name
        let id: String = letter.message.id.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        let since = letter.since.as_nanosecond().max(0);
        Self(format!("{since:022}-{}-{id}.json", letter.channel))
    }
}

/// Whether a wait is over. One that a clock stepped back has made longer than any wait is over as well.
fn is_over(until: Timestamp, now: Timestamp) -> bool {
    until <= now || until.duration_since(now) > jiff::SignedDuration::from_hours(25)
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(now)
}

/// A path may have 4096 bytes and a hundred of them stand in a message.
fn shorten(skip: &mut SkipRecord) {
    if skip.why.len() > 300 {
        skip.why = super::words::clip(&skip.why, 300);
    }
}

fn read_letter(path: &Path) -> io::Result<Letter> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let letter: Letter = serde_json::from_slice(&bytes)?;
    if letter.format > FORMAT { Err(io::ErrorKind::InvalidData.into()) } else { Ok(letter) }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes aside, flushes, renames.
#[expect(clippy::disallowed_methods, reason = "the outbox replaces its own files, and no others")]
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::words::tests::message;
    use super::{AGE_MAX, Delivery, Duration, Letter, MESSAGES_MAX, Message, Outbox, Timestamp, Wait, wait_after};
    use crate::report::Kind;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).expect("a time")
    }

    fn numbered(number: u32, job: &str) -> Message {
        Message { id: format!("{number:032x}"), job: Some(job.parse().expect("a job")), ..message(Kind::Failed) }
    }

    fn later() -> Delivery {
        Delivery::later("no answer")
    }

    fn numbers(due: &[(super::LetterId, Letter)]) -> Vec<u32> {
        due.iter().map(|(_, letter)| u32::from_str_radix(&letter.message.id, 16).expect("a number")).collect()
    }

    #[test]
    fn waits_double_up_to_an_hour_and_the_receivers_wish_comes_first() {
        let own: Vec<u64> = (1..=13).map(|attempt| wait_after(attempt, None).as_secs()).collect();
        assert_eq!(own, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
        assert_eq!(wait_after(u32::MAX, None).as_secs(), 3600);
        assert_eq!(wait_after(9, Some(Duration::from_secs(7))).as_secs(), 7);
        assert_eq!(wait_after(1, Some(Duration::ZERO)).as_secs(), 1);
    }

    #[test]
    fn what_is_put_here_survives_a_restart_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("outbox");
        Outbox::new(path.clone()).put("slack", numbered(1, "a"), |_| false, at(0)).expect("writable");
        let mut again = Outbox::new(path.clone());
        again.refresh(at(10));
        assert_eq!(numbers(&again.due(at(10))), [1]);
        for entry in std::fs::read_dir(&path).expect("the folder") {
            let mode = entry.expect("a file").metadata().expect("its mode").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let id = again.due(at(10))[0].0.clone();
        again.settle(&id, &Delivery::Delivered { answer: "ok".to_owned() }, at(11));
        let mut third = Outbox::new(path);
        third.refresh(at(20));
        assert_eq!(third.letters().count(), 0);
    }

    #[test]
    fn messages_of_a_job_stay_in_order_and_another_job_does_not_wait_for_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::new(folder.path().join("outbox"));
        for (number, job) in [(1, "a"), (2, "a"), (3, "b")] {
            outbox.put("slack", numbered(number, job), |_| false, at(i64::from(number))).expect("writable");
        }
        let due = outbox.due(at(5));
        assert_eq!(numbers(&due), [1, 3]);
        outbox.settle(&due[0].0, &later(), at(5));
        assert_eq!(numbers(&outbox.due(at(5))), [0_u32; 0], "the channel is left alone");
        assert_eq!(outbox.next_due_of(|_, _| true), Some(at(7)));
        assert_eq!(numbers(&outbox.due(at(7))), [1, 3]);
        let first = outbox.due(at(7))[0].0.clone();
        outbox.settle(&first, &Delivery::Never { why: "no".to_owned() }, at(7));
        assert_eq!(numbers(&outbox.due(at(7))), [2, 3]);
        assert_eq!(outbox.lost().refused, 1);
    }

    #[test]
    fn a_wish_for_patience_is_honoured_and_attempts_are_remembered_over_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::new(folder.path().to_owned());
        outbox.put("slack", numbered(1, "a"), |_| false, at(0)).expect("writable");
        let id = outbox.due(at(0))[0].0.clone();
        let wish = Delivery::Later { why: "429".to_owned(), wait: Wait::Asked(Duration::from_secs(90)) };
        outbox.settle(&id, &wish, at(0));
        outbox.put("slack", numbered(2, "b"), |_| false, at(1)).expect("writable");
        assert!(outbox.due(at(89)).is_empty(), "the wish is the channel's, not the letter's");
        let mut again = Outbox::new(folder.path().to_owned());
        again.refresh(at(89));
        assert_eq!(numbers(&again.due(at(89))), [2]);
        assert_eq!(numbers(&again.due(at(90))), [1, 2]);
        assert_eq!(again.due(at(90))[0].1.attempts, 1);
    }

    /// A mended token was not tried for up to an hour: what had to be mended first stood in the file.
    #[test]
    fn what_a_person_had_to_mend_is_tried_at_once_after_a_restart_and_by_another_configuration_and_other_waits_stand() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::new(folder.path().to_owned());
        outbox.put("slack", numbered(1, "a"), |_| false, at(0)).expect("writable");
        outbox.put("jira", numbered(2, "a"), |_| false, at(1)).expect("writable");
        let due = outbox.due(at(1));
        outbox.settle(&due[0].0, &Delivery::once_mended("a wrong token".to_owned()), at(1));
        let wish = Delivery::Later { why: "429".to_owned(), wait: Wait::Asked(Duration::from_secs(3600)) };
        outbox.settle(&due[1].0, &wish, at(1));
        let mut passing = Outbox::new(folder.path().to_owned());
        passing.refresh(at(2));
        assert!(passing.due(at(2)).is_empty(), "a program that does not stay knocks no sooner");
        let mut again = Outbox::new(folder.path().to_owned());
        again.lift_once();
        again.refresh(at(2));
        again.refresh(at(3));
        assert_eq!(numbers(&again.due(at(3))), [1], "what the receiver asked for is kept");
        assert_eq!(again.next_due_of(|_, _| true), Some(at(0)));
        again.settle(&due[0].0, &Delivery::once_mended("still wrong".to_owned()), at(3));
        again.refresh(at(4));
        assert!(again.due(at(4)).is_empty(), "once");
        again.try_at_once(at(5));
        again.refresh(at(6));
        assert_eq!(numbers(&again.due(at(6))), [1, 2]);
    }

    #[test]
    fn the_oldest_give_way_and_are_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        // the disk is not what is looked at here
        let blocked = folder.path().join("file");
        std::fs::write(&blocked, b"").expect("writable");
        let mut outbox = Outbox::new(blocked);
        for number in 0..MESSAGES_MAX as u32 + 3 {
            assert!(outbox.put("slack", numbered(number, "a"), |_| false, at(i64::from(number))).is_err());
        }
        assert_eq!((outbox.letters().count(), outbox.lost().too_many), (MESSAGES_MAX, 3));
        assert_eq!(numbers(&outbox.due(at(5000))), [3]);
        outbox.refresh(at(5000) + AGE_MAX);
        assert_eq!((outbox.letters().count(), outbox.lost().too_old), (0, MESSAGES_MAX as u64));
    }

    #[test]
    fn what_cannot_be_written_is_kept_in_memory_and_tried() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, b"a file where a folder should be").expect("writable");
        let mut outbox = Outbox::new(path);
        assert!(outbox.lock().is_err());
        assert!(outbox.put("slack", numbered(1, "a"), |_| false, at(0)).is_err());
        outbox.refresh(at(1));
        let due = outbox.due(at(1));
        assert_eq!(numbers(&due), [1]);
        outbox.settle(&due[0].0, &later(), at(1));
        outbox.refresh(at(60));
        assert_eq!(outbox.due(at(60))[0].1.attempts, 1);
    }

    #[test]
    fn damaged_files_are_set_aside_and_never_fatal() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::new(folder.path().to_owned());
        outbox.put("slack", numbered(1, "a"), |_| false, at(0)).expect("writable");
        let good =
            std::fs::read_dir(folder.path()).expect("the folder").next().expect("a file").expect("a file").path();
        let text = std::fs::read(&good).expect("readable");
        for (name, bytes) in [
            ("0-slack-half.json", &text[..text.len() / 2]),
            ("0-slack-empty.json", b""),
            ("0-slack-other-name.json", &text[..]),
            ("0-slack-null.json", b"null"),
            ("0-slack-new.json", br#"{"format":99}"#),
        ] {
            std::fs::write(folder.path().join(name), bytes).expect("writable");
        }
        std::fs::create_dir(folder.path().join("0-slack-folder.json")).expect("writable");
        outbox.refresh(at(1));
        assert_eq!((outbox.lost().damaged, outbox.letters().count()), (6, 1));
        outbox.refresh(at(2));
        assert_eq!(outbox.lost().damaged, 6, "they are looked at once");
        assert_eq!(std::fs::read_dir(folder.path().join("damaged")).expect("set aside").count(), 6);
    }

    #[test]
    fn a_newer_ping_takes_the_place_of_the_older_of_its_job() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::new(folder.path().to_owned());
        for (number, channel, job) in [(1, "ping", "a"), (2, "ping", "b"), (3, "slack", "a"), (4, "ping", "a")] {
            let replaces =
                |older: &Message| channel == "ping" && older.job.as_ref().is_some_and(|one| one.as_str() == job);
            outbox.put(channel, numbered(number, job), replaces, at(i64::from(number))).expect("writable");
        }
        assert_eq!(numbers(&outbox.due(at(10))), [2, 3, 4]);
    }

    #[test]
    fn one_process_delivers_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (Outbox::new(folder.path().to_owned()), Outbox::new(folder.path().to_owned()));
        let lock = one.lock().expect("lockable").expect("free");
        assert!(other.lock().expect("lockable").is_none());
        drop(lock);
        assert!(other.lock().expect("lockable").is_some());
    }

    #[test]
    fn a_clock_that_stepped_back_does_not_hold_a_letter_for_years() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::new(folder.path().to_owned());
        outbox.put("slack", numbered(1, "a"), |_| false, at(1_000_000)).expect("writable");
        assert_eq!(numbers(&outbox.due(at(0))), [1]);
    }
}
