//! Pings in the manner of healthchecks: a dead man's switch that calls when *we* fall silent.
//!
//! `URL/start` when a run begins, `URL` when it was ok, `URL/fail` when it was not, `URL/log` for the rest. `{job}` in the
//! configured address is the job's name, because one check for several jobs would hide the one that fails behind the one
//! that does not. Then nothing is sent of what is about no job, but a test, for which the name is `backup`.
//!
//! A ping is about now. One that could not be delivered is tried again like any message, but gives way to a newer one of
//! its job: a late "all is well" after a failure would be a lie.

use jiff::Timestamp;

use super::channel::Delivery;
use super::http::{Address, AddressError, Answer, Http, HttpError, Method, Request};
use super::webhook::read_answer;
use super::words::Words;
use crate::domain::{JobName, Secret, Verdict};
use crate::report::{Kind, Message};

/// What healthchecks keeps of a body.
const BODY_BYTES_MAX: usize = 100_000;

/// Stands for the job's name in the address.
const PLACE_OF_JOB: &str = "{job}";

/// A check, or one for each job.
#[derive(Clone, Debug)]
pub struct Ping {
    url: Secret,
    allow_http: bool,
}

impl Ping {
    /// Of an address, in which `{job}` stands for the job's name.
    ///
    /// # Errors
    /// If it is no address.
    pub fn new(url: Secret, allow_http: bool) -> Result<Self, AddressError> {
        let ping = Self { url, allow_http };
        ping.address(None).map(|_| ping)
    }

    fn address(&self, job: Option<&JobName>) -> Result<Address, AddressError> {
        let text = self.url.reveal().replace(PLACE_OF_JOB, job.map_or("backup", JobName::as_str));
        Address::parse(&text, self.allow_http)
    }

    /// Says that a run begins. Not repeated by anybody: the next ping of the job says more.
    pub async fn start(&self, http: &Http, job: &JobName, now: Timestamp) -> Delivery {
        self.send(http, Some(job), Some("start"), String::new(), now).await
    }

    /// Tries once.
    pub async fn deliver(&self, http: &Http, message: &Message, now: Timestamp) -> Delivery {
        let words = Words::of(message);
        let body = format!("{}\n\n{}", words.title, words.body());
        self.send(http, message.job.as_ref(), path_of(message), body, now).await
    }

    async fn send(
        &self,
        http: &Http,
        job: Option<&JobName>,
        end: Option<&str>,
        mut body: String,
        now: Timestamp,
    ) -> Delivery {
        let Ok(address) = self.address(job) else {
            return Delivery::Never { why: "the address of the ping is none".to_owned() };
        };
        let address = end.map_or_else(|| address.clone(), |end| address.join(&[end]));
        let mut cut = body.len().min(BODY_BYTES_MAX);
        while !body.is_char_boundary(cut) {
            cut -= 1;
        }
        body.truncate(cut);
        let request = Request::new(Method::Post, address).body("text/plain; charset=utf-8", body.into_bytes());
        read_ping(http.send(request).await, now)
    }

    /// Whether there is a check that `message` is about: with one for each job there is none for what is about no job.
    pub(super) fn takes(&self, message: &Message) -> bool {
        message.job.is_some() || !self.url.reveal().contains(PLACE_OF_JOB)
    }
}

/// What is missing is this job's check and no other's. Waiting for it would hold up the pings of all other jobs, and a
/// ping is about now: the next one asks again.
fn read_ping(answer: Result<Answer, HttpError>, now: Timestamp) -> Delivery {
    match &answer {
        Ok(Answer { status: status @ (404 | 409 | 410), .. }) => Delivery::Never {
            why: format!(
                "the ping answered {status}: there is no check at this address; make it, or correct the address"
            ),
        },
        _ => read_answer(answer, "the ping", now),
    }
}

/// Whether `newer` makes `older` of the same channel superfluous. A verdict takes the place of the verdict before it and
/// of notes; a note takes the place of notes only: it must not hide that a run failed, or that one was ok.
pub(super) fn replaces(newer: &Message, older: &Message) -> bool {
    let is_note = |message| path_of(message) == Some("log");
    let about = |message: &Message| (message.job.clone(), message.store.clone(), message.subject);
    about(newer) == about(older) && (!is_note(newer) || is_note(older))
}

/// Only a run that was ok says that the job is well: that a configuration was taken, or that damage is gone, does not. A
/// run that did not start because another works is no failure of the job: it is noted.
fn path_of(message: &Message) -> Option<&'static str> {
    match (message.kind, message.outcome.as_ref().map(|outcome| outcome.verdict)) {
        (Kind::Ok | Kind::Recovered, Some(Verdict::Ok) | None) if message.subject.is_none() => None,
        (Kind::Partial | Kind::Failed | Kind::Damage, _) => Some("fail"),
        (Kind::Ok | Kind::Recovered | Kind::Missed | Kind::Overdue | Kind::Trouble | Kind::Test, _) => Some("log"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::tests::message;
    use super::{AddressError, Answer, Delivery, Kind, Ping, Secret, Timestamp, Verdict, path_of, read_ping, replaces};

    #[test]
    fn an_address_names_its_job_and_is_shown_to_nobody() {
        let ping = Ping::new(Secret::new("https://hc.example/canary/{job}?create=1"), false).expect("an address");
        let job = "upload".parse().expect("a job");
        let address = ping.address(Some(&job)).expect("an address").join(&["fail"]);
        assert_eq!(address.reveal(), "https://hc.example/canary/upload/fail?create=1");
        assert!(!format!("{ping:?}").contains("canary"));
        assert_eq!(Ping::new(Secret::new("http://hc.example/x"), false).err(), Some(AddressError::Plain));
    }

    /// One check that nobody had made silenced the pings of every job for an hour, again and again.
    #[test]
    fn a_check_that_is_missing_is_waited_for_by_no_ping_and_a_wrong_key_is() {
        let read = |status| {
            let answer = Answer { status, retry_after: None, body: String::new(), is_cut: false };
            read_ping(Ok(answer), Timestamp::UNIX_EPOCH)
        };
        for status in [404, 409, 410] {
            assert!(matches!(read(status), Delivery::Never { .. }), "{status}");
        }
        for status in [301, 401, 403, 429, 503] {
            assert!(matches!(read(status), Delivery::Later { .. }), "{status}");
        }
        assert!(matches!(read(200), Delivery::Delivered { .. }));
    }

    #[test]
    fn what_is_about_no_job_goes_to_no_check_of_a_job() {
        let of = |url| Ping::new(Secret::new(url), false).expect("an address");
        let (each, one) = (of("https://hc.example/canary/{job}"), of("https://hc.example/canary"));
        let mut message = message(Kind::Trouble);
        assert!(each.takes(&message) && one.takes(&message));
        message.job = None;
        assert!(!each.takes(&message) && one.takes(&message));
    }

    #[test]
    fn a_note_never_takes_the_place_of_a_verdict() {
        let (failed, missed) = (message(Kind::Failed), message(Kind::Missed));
        assert!(replaces(&failed, &failed) && replaces(&failed, &missed) && replaces(&missed, &missed));
        assert!(!replaces(&missed, &failed));
        let mut elsewhere = message(Kind::Failed);
        elsewhere.store = Some("another".to_owned());
        assert!(!replaces(&elsewhere, &failed), "what one store has does not tell of another");
        let mut damage = message(Kind::Damage);
        damage.subject = Some(crate::report::Subject::Damage);
        assert!(!replaces(&failed, &damage));
    }

    #[test]
    fn only_what_is_well_is_told_as_well() {
        let mut ok = message(Kind::Ok);
        assert_eq!(path_of(&ok), Some("log"), "its outcome is partial");
        ok.outcome.as_mut().expect("a run").verdict = Verdict::Ok;
        assert_eq!(path_of(&ok), None);
        ok.outcome = None;
        ok.subject = Some(crate::report::Subject::Damage);
        ok.kind = Kind::Recovered;
        assert_eq!(path_of(&ok), Some("log"), "the runs may fail all the same");
        for (kind, end) in [(Kind::Failed, "fail"), (Kind::Partial, "fail"), (Kind::Missed, "log"), (Kind::Test, "log")]
        {
            assert_eq!(path_of(&message(kind)), Some(end));
        }
    }
}
