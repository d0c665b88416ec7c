//! The desk against servers that answer, refuse, hang, hang up and lie.

#![expect(clippy::disallowed_methods, reason = "tests look into the folder of messages")]

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use backup::domain::{Clock, Host, Secret, Trouble};
use backup::notify::http::{Address, Http, HttpOptions};
use backup::notify::jira::{Flavour, Jira, Settings, SignIn};
use backup::notify::{
    Channel, Delivery, Desk, Email, Listener, Pass, Ping, Protection, Rules, Slack, Templates, Wait, Webhook,
};
use backup::report::{Kind, Message};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};

use super::ear::{Ear, MailServer, Reply};

const OK: Reply = Reply::Say(200, "", "ok");
/// Shorter than the first wait after a failure, so that a pass ends when nothing is due.
const PATIENCE: Duration = Duration::from_millis(1900);

/// A clock that is set by hand.
struct Hand(Mutex<Timestamp>);

impl Hand {
    fn new() -> Self {
        Self(Mutex::new("2026-11-21T02:00:00Z".parse().expect("a time")))
    }

    fn moves(&self, seconds: u64) {
        let mut now = self.0.lock().expect("no panic");
        *now += Duration::from_secs(seconds);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no panic")
    }

    fn since_start(&self) -> Duration {
        Duration::ZERO
    }
}

fn http() -> Http {
    Http::new(&HttpOptions::new("backup/test")).expect("a client")
}

fn address(text: &str) -> Address {
    Address::parse(text, false).expect("an address")
}

fn slack(ear: &Ear) -> Listener {
    let address = address(&ear.url("/services/T0/B0/canary"));
    Listener { channel: Channel::Slack(Slack { address, templates: Templates::default() }), rules: Rules::for_people() }
}

fn webhook(ear: &Ear) -> Listener {
    let secret = Some(Secret::new("canary-key"));
    let address = address(&ear.url("/hook?token=canary"));
    Listener { channel: Channel::Webhook(Webhook { address, secret }), rules: Rules::everything() }
}

fn ping(ear: &Ear) -> Listener {
    let ping = Ping::new(Secret::new(&ear.url("/canary/{job}")), false).expect("an address");
    Listener { channel: Channel::Ping(ping), rules: Rules::everything() }
}

fn jira(ear: &Ear) -> Listener {
    let sign_in = SignIn::Bearer(Secret::new("canary-token"));
    let settings = Settings::new(address(&ear.url("/")), Flavour::DataCenter, sign_in, "OPS", "Task");
    Listener { channel: Channel::Jira(Box::new(Jira::new(http(), settings))), rules: Rules::for_people() }
}

fn email(server: &MailServer) -> Listener {
    let email = Email {
        host: server.address.ip().to_string(),
        port: Some(server.address.port()),
        protection: Protection::Off,
        login: Some(("user".to_owned(), Secret::new("canary-password"))),
        from: "backup@example.org".parse().expect("a mailbox"),
        to: vec!["ops@example.org".parse().expect("a mailbox")],
        extra_roots: None,
        timeout: Duration::from_secs(10),
        templates: Templates::default(),
    };
    Listener { channel: Channel::Email(Box::new(email)), rules: Rules::for_people() }
}

fn event(number: u8, kind: Kind, clock: &Hand) -> Message {
    let id = format!("{number:032x}");
    Message {
        job: "upload".parse().ok(),
        store: Some("nas".to_owned()),
        in_a_row: 1,
        trouble: (kind != Kind::Ok).then(|| Trouble {
            what: "could not store <!channel> *volume* 1".to_owned(),
            causes: Vec::new(),
            advice: "free some room".to_owned(),
        }),
        ..Message::bare(id, kind, clock.now(), "web1", &Host("web1".to_owned()), "backup 0.1.0")
    }
}

fn desk(folder: &Path, listeners: Vec<Listener>) -> Desk {
    Desk::new(folder.join("notify"), http(), listeners)
}

fn delivered(pass: &Pass) -> usize {
    pass.tried.iter().filter(|(_, delivery)| matches!(delivery, Delivery::Delivered { .. })).count()
}

#[tokio::test]
async fn a_receiver_that_asks_for_patience_gets_it_also_over_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ear, clock) = (Ear::new(&[Reply::Say(429, "retry-after: 90\r\n", "rate_limited"), OK]), Hand::new());
    let mut first = desk(folder.path(), vec![slack(&ear)]);
    let pass = first.work(vec![event(1, Kind::Failed, &clock)], &clock, PATIENCE).await;
    assert!(matches!(pass.tried[..], [("slack", Delivery::Later { wait: Wait::Asked(_), .. })]), "{pass:?}");
    assert_eq!((pass.waiting, ear.heard().len()), (1, 1));
    drop(first);
    let mut second = desk(folder.path(), vec![slack(&ear)]);
    clock.moves(89);
    assert_eq!(second.work(Vec::new(), &clock, PATIENCE).await.tried, []);
    clock.moves(1);
    let pass = second.work(Vec::new(), &clock, PATIENCE).await;
    assert_eq!((delivered(&pass), pass.waiting, ear.heard().len()), (1, 0, 2));
}

#[tokio::test]
async fn what_may_have_arrived_is_sent_again_under_the_same_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ear, clock) = (Ear::new(&[Reply::HangUp, Reply::Say(500, "", ""), Reply::Say(204, "", "")]), Hand::new());
    let mut desk = desk(folder.path(), vec![webhook(&ear)]);
    let pass = desk.work(vec![event(7, Kind::Failed, &clock)], &clock, PATIENCE).await;
    assert_eq!((delivered(&pass), pass.waiting), (0, 1), "{pass:?}");
    for _ in 0..2 {
        clock.moves(60);
        desk.work(Vec::new(), &clock, PATIENCE).await;
    }
    let ids: Vec<String> = ear.heard().iter().map(|heard| heard.header("x-backup-id").to_owned()).collect();
    assert_eq!(ids, vec![format!("{:032x}", 7); 3]);
    assert_eq!(desk.waiting(), 0);
}

#[tokio::test]
async fn a_receiver_that_never_answers_holds_up_nobody_and_its_message_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dead, alive, clock) = (Ear::new(&[Reply::Silence]), Ear::new(&[OK]), Hand::new());
    let mut desk = desk(folder.path(), vec![slack(&dead), webhook(&alive)]);
    let begun = tokio::time::Instant::now();
    let pass = desk.work(vec![event(1, Kind::Failed, &clock)], &clock, Duration::from_millis(700)).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((delivered(&pass), pass.waiting, alive.heard().len()), (1, 1, 1), "{pass:?}");
    assert!(pass.tried.iter().any(|(channel, answer)| *channel == "slack" && matches!(answer, Delivery::Later { .. })));
}

#[tokio::test]
async fn the_ticket_comes_first_so_that_slack_can_name_it_and_a_jira_that_hangs_costs_slack_a_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ear, clock) = (Ear::new(&[OK]), Hand::new());
    let tracker = Ear::new(&[
        Reply::Say(200, "", r#"{"issues":[],"total":0}"#),
        Reply::Say(201, "", r#"{"id":"1","key":"OPS-7","self":"x"}"#),
    ]);
    let mut desk = desk(folder.path(), vec![slack(&ear), jira(&tracker)]);
    let pass = desk.work(vec![event(1, Kind::Failed, &clock)], &clock, Duration::from_secs(20)).await;
    assert_eq!((delivered(&pass), pass.waiting), (2, 0), "{pass:?} {:?}", tracker.heard());
    let text = ear.heard()[0].json().to_string();
    assert!(text.contains(&format!("<{}|OPS-7>", tracker.url("/browse/OPS-7"))), "{text}");

    let folder = tempfile::tempdir().expect("a folder");
    let (ear, silent) = (Ear::new(&[OK]), Ear::new(&[Reply::Silence]));
    let mut desk = super::at_the_desk::desk(folder.path(), vec![slack(&ear), jira(&silent)]);
    let pass = desk.work(vec![event(1, Kind::Failed, &clock)], &clock, PATIENCE).await;
    assert_eq!((delivered(&pass), pass.waiting, ear.heard().len()), (1, 1, 1), "{pass:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (other, clock) = (Ear::new(&[OK]), Hand::new());
    let location: &'static str = Box::leak(format!("location: {}\r\n", other.url("/stolen")).into_boxed_str());
    let ear = Ear::new(&[Reply::Say(307, location, "")]);
    let mut desk = desk(folder.path(), vec![slack(&ear), webhook(&ear)]);
    let pass = desk.work(vec![event(1, Kind::Failed, &clock)], &clock, PATIENCE).await;
    let waits = |delivery: &Delivery| matches!(delivery, Delivery::Later { wait: Wait::Mended, .. });
    assert!(pass.tried.iter().all(|(_, delivery)| waits(delivery)), "somebody can correct the address: {pass:?}");
    assert_eq!((pass.tried.len(), pass.waiting, other.heard().len()), (2, 2, 0));
}

#[tokio::test]
async fn a_webhooks_signature_is_over_time_and_body() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ear, clock) = (Ear::new(&[OK]), Hand::new());
    desk(folder.path(), vec![webhook(&ear)]).work(vec![event(1, Kind::Failed, &clock)], &clock, PATIENCE).await;
    let heard = &ear.heard()[0];
    assert_eq!(heard.header("x-backup-timestamp"), clock.now().as_second().to_string());
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"canary-key").expect("a key");
    mac.update([heard.header("x-backup-timestamp").as_bytes(), b".", &heard.body].concat().as_slice());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(heard.header("x-backup-signature"), format!("sha256={hex}"));
    assert_eq!(heard.json()["kind"], "failed");
    let again: Message = serde_json::from_slice(&heard.body).expect("the documented form is the message's own");
    assert_eq!(again, event(1, Kind::Failed, &clock));
}

#[tokio::test]
async fn pings_come_in_order_and_a_late_one_gives_way_to_a_newer() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ear, clock) = (Ear::new(&[OK, OK, OK, Reply::Say(503, "", ""), OK]), Hand::new());
    let mut desk = desk(folder.path(), vec![ping(&ear)]);
    let job = "upload".parse().expect("a job");
    for (number, kind) in [(1, Kind::Failed), (2, Kind::Ok), (3, Kind::Failed)] {
        if number < 3 {
            desk.beginnings().tell(&job, clock.now(), PATIENCE).await;
        }
        desk.work(vec![event(number, kind, &clock)], &clock, PATIENCE).await;
        clock.moves(60);
    }
    let lines: Vec<String> = ear.heard().iter().map(|heard| heard.line.clone()).collect();
    // the fourth was refused, and the newer one took its place
    let paths = ["upload/start", "upload/fail", "upload/start", "upload", "upload/fail"];
    assert_eq!(lines, paths.map(|path| format!("POST /canary/{path}")));
    assert_eq!(desk.waiting(), 0);
}

#[tokio::test]
async fn a_recovery_is_told_once_and_after_what_was_wrong_even_when_both_waited() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ear, clock) = (Ear::new(&[Reply::Say(503, "", ""), OK]), Hand::new());
    let mut desk = desk(folder.path(), vec![slack(&ear)]);
    for (number, kind) in [(1, Kind::Failed), (2, Kind::Failed), (3, Kind::Ok), (4, Kind::Ok)] {
        desk.work(vec![event(number, kind, &clock)], &clock, PATIENCE).await;
        clock.moves(1);
    }
    for _ in 0..5 {
        clock.moves(120);
        desk.work(Vec::new(), &clock, PATIENCE).await;
    }
    let texts: Vec<String> = ear.heard().iter().map(|heard| heard.json()["text"].to_string()).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].contains("failed") && texts[1].contains("failed") && texts[2].contains("well again"), "{texts:?}");
    assert!(!texts[0].contains("<!channel>") && texts[0].contains("&lt;!channel&gt;"), "{texts:?}");
}

#[tokio::test]
async fn what_cannot_be_kept_is_tried_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("notify"), b"a file where a folder should be").expect("written");
    let (ear, clock) = (Ear::new(&[OK]), Hand::new());
    let pass =
        desk(folder.path(), vec![slack(&ear)]).work(vec![event(1, Kind::Failed, &clock)], &clock, PATIENCE).await;
    assert_eq!((delivered(&pass), ear.heard().len()), (1, 1));
    assert!(pass.notices.iter().any(|notice| notice.contains("cannot be kept")), "{pass:?}");
}

#[tokio::test]
async fn repeats_are_held_back_and_counted_also_when_the_memory_cannot_be_written() {
    for is_full in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let (ear, clock) = (Ear::new(&[OK]), Hand::new());
        let mut desk = desk(folder.path(), vec![slack(&ear)]);
        for number in 0..4 {
            desk.work(vec![event(number, Kind::Failed, &clock)], &clock, PATIENCE).await;
            clock.moves(3 * 3600);
            if is_full && number == 0 {
                let aside = format!("notify/told.new-{}", std::process::id());
                std::fs::create_dir(folder.path().join(aside)).expect("a folder in its way");
            }
        }
        let heard = ear.heard();
        assert_eq!(heard.len(), 2, "full: {is_full}");
        assert!(heard[1].json().to_string().contains("1 messages like this"), "full: {is_full}");
    }
}

#[tokio::test]
async fn while_another_process_delivers_only_what_is_new_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ear, clock) = (Ear::new(&[Reply::Say(503, "", ""), OK]), Hand::new());
    let mut one = desk(folder.path(), vec![webhook(&ear)]);
    one.work(vec![event(1, Kind::Failed, &clock)], &clock, PATIENCE).await;
    clock.moves(60);
    let other = backup::notify::Outbox::new(folder.path().join("notify/outbox"));
    let lock = other.lock().expect("lockable").expect("free");
    let mut elsewhere = Message { job: "other".parse().ok(), ..event(2, Kind::Failed, &clock) };
    elsewhere.in_a_row = 1;
    one.work(vec![elsewhere], &clock, PATIENCE).await;
    drop(lock);
    let ids: Vec<String> = ear.heard().iter().map(|heard| heard.header("x-backup-id").to_owned()).collect();
    assert_eq!(ids, [format!("{:032x}", 1), format!("{:032x}", 2)]);
    assert_eq!(one.waiting(), 1, "the older one is the other process's to send");
}

#[tokio::test]
async fn a_letter_arrives_as_text_and_a_servers_no_is_for_ever_or_for_now() {
    for (after, waiting, lost) in [("250 taken\r\n", 0, 0), ("451 later\r\n", 1, 0), ("550 canary: no\r\n", 0, 1)] {
        let folder = tempfile::tempdir().expect("a folder");
        let (server, clock) = (MailServer::new(after), Hand::new());
        let mut told = event(1, Kind::Failed, &clock);
        told.host = Host("web1\r\nBcc: evil@example.org".to_owned());
        let mut desk = desk(folder.path(), vec![email(&server)]);
        let pass = desk.work(vec![told], &clock, PATIENCE).await;
        assert_eq!((pass.waiting, desk.lost().refused), (waiting, lost), "{pass:?}");
        let letter = server.letters().remove(0);
        assert!(
            letter.contains("<!channel> *volume* 1") && letter.contains("Subject: [backup] upload on "),
            "{letter}"
        );
        assert!(!letter.contains("\r\nBcc:"), "{letter}");
        assert!(!format!("{pass:?}").contains("canary"), "{pass:?}");
    }
}

/// A certificate for `name`, valid until `year`.
fn certificate(name: &str, year: i32) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate"), key)
}

#[tokio::test]
async fn only_a_certificate_that_is_right_is_spoken_to() {
    for (name, year, is_trusted, expected) in [
        ("127.0.0.1", 2090, true, "delivered"),
        ("127.0.0.1", 2090, false, "was refused"),
        ("example.org", 2090, true, "was refused"),
        ("127.0.0.1", 2001, true, "was refused"),
    ] {
        let (certificate, key) = certificate(name, year);
        let ear = Ear::tls(certificate.der().clone(), key.serialize_der().try_into().expect("a key"));
        let mut options = HttpOptions::new("backup/test");
        options.extra_roots = is_trusted.then(|| certificate.pem().into_bytes());
        let address = address(&format!("https://{}/services/canary", ear.address));
        let slack = Slack { address, templates: Templates::default() };
        let clock = Hand::new();
        let http = Http::new(&options).expect("a client");
        let answer = slack.deliver(&http, &event(1, Kind::Failed, &clock), None, clock.now()).await;
        match answer {
            Delivery::Delivered { .. } => assert_eq!(expected, "delivered", "{name} {year} {is_trusted}"),
            Delivery::Later { why, .. } => {
                assert!(why.contains(expected) && !why.contains("canary"), "{name} {year} {is_trusted}: {why}");
                assert_eq!(ear.heard().len(), 0);
            }
            Delivery::Never { why } => panic!("{why}"),
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let body: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
    let ear = Ear::new(&[Reply::Say(200, "", body)]);
    let request = backup::notify::http::Request::new(backup::notify::http::Method::Get, address(&ear.url("/")));
    let answer = http().send(request).await.expect("an answer");
    assert_eq!((answer.body.len(), answer.is_cut), (64 << 10, true));
}

#[tokio::test]
async fn no_secret_is_in_any_error_any_debug_or_any_file() {
    let closed = Ear::new(&[Reply::HangUp]);
    let clock = Hand::new();
    for reply in [
        Reply::HangUp,
        Reply::Silence,
        Reply::Say(200, "", "see /services/T0/B0/canary"),
        Reply::Say(404, "", "no /services/T0/B0/canary, no canary-key, no canary-password"),
        Reply::Say(302, "location: /canary\r\n", "canary"),
        Reply::Say(500, "retry-after: canary\r\n", "canary"),
        Reply::Say(429, "retry-after: 1\r\n", "canary"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let ear = Ear::new(std::slice::from_ref(&reply));
        let server = MailServer::new("550 canary-password\r\n");
        let mut desk = desk(folder.path(), vec![slack(&ear), webhook(&ear), ping(&closed), email(&server), jira(&ear)]);
        let pass = desk.work(vec![event(1, Kind::Failed, &clock)], &clock, Duration::from_millis(600)).await;
        assert_eq!(pass.tried.len(), 5, "{pass:?}");
        let mut seen = format!("{pass:?} {desk:?}");
        let mut folders = vec![folder.path().to_owned()];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("a file").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files += 1;
                    seen.push_str(&std::fs::read_to_string(&path).expect("text"));
                }
            }
        }
        assert!(files >= 2 && !seen.contains("canary"), "{reply:?}: {seen}");
    }
}
