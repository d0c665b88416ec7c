//! Tickets: one for each trouble, whatever goes wrong between us and JIRA. Each story on its own, then two hundred
//! generated ones, against a model of both JIRAs (`receiver`).

mod receiver;
mod scenario;

use std::sync::Arc;
use std::time::Duration;

use backup::domain::Secret;
use backup::notify::http::{Address, Http, HttpOptions};
use backup::notify::jira::{Flavour, Jira, JiraMemory, Settings, SignIn};
use backup::notify::{Delivery, Slack, Templates, Wait};
use backup::report::{Kind, Message};
use jiff::Timestamp;
use receiver::jira::{Flavour as Real, Site, Status};
use receiver::{Fault, Receiver, slack};
use scenario::{HOSTILE, message, start};

/// A JIRA, what we remember of it, and the time.
struct Desk {
    receiver: Receiver,
    jira: Jira,
    memory: JiraMemory,
    now: Timestamp,
    told: u32,
}

fn http() -> Http {
    Http::new(&HttpOptions::new("backup/test")).expect("a client")
}

fn settings(url: &str, real: Real) -> Settings {
    let address = Address::parse(url, false).expect("an address");
    let (flavour, sign_in) = match real {
        Real::Cloud => {
            let sign_in = SignIn::Basic { user: "ops@acme.test".into(), token: Secret::new("cloud-token") };
            (Flavour::Cloud, sign_in)
        }
        Real::Center => (Flavour::DataCenter, SignIn::Bearer(Secret::new("center-canary"))),
    };
    let mut settings = Settings::new(address, flavour, sign_in, "OPS", "Task");
    settings.resolve = true;
    settings.labels = vec!["night shift".into()];
    settings.priority = Some("High".into());
    settings
}

impl Desk {
    async fn with(site: Site, change: impl FnOnce(&mut Settings)) -> Self {
        let real = site.flavour;
        let receiver = Receiver::start(site, start()).await;
        let mut settings = settings(&receiver.url, real);
        change(&mut settings);
        let jira = Jira::new(http(), settings);
        Self { receiver, jira, memory: JiraMemory::default(), now: start(), told: 0 }
    }

    async fn new(site: Site) -> Self {
        Self::with(site, |_| {}).await
    }

    fn message(&mut self, kind: Kind) -> Message {
        self.told += 1;
        message(kind, &format!("{:032x}", self.told), self.now)
    }

    /// Delivers a new message, once.
    async fn tell(&mut self, kind: Kind) -> Delivery {
        let message = self.message(kind);
        self.deliver(&message).await
    }

    async fn deliver(&mut self, message: &Message) -> Delivery {
        self.receiver.with(|world| world.now = self.now);
        self.jira.deliver(message, &mut self.memory, &|_| {}, self.now).await
    }

    fn wait(&mut self, hours: u64) {
        self.now = self.now.checked_add(Duration::from_secs(hours * 3600)).expect("a time");
    }

    fn break_next(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.receiver.with(|world| world.faults = faults.into_iter().collect());
    }

    fn site<R>(&self, look: impl FnOnce(&mut Site) -> R) -> R {
        self.receiver.with(|world| look(&mut world.jira))
    }

    /// Nothing that a real JIRA would have refused, and no second ticket.
    fn is_in_order(&self) {
        self.site(|site| {
            assert_eq!(site.problems, Vec::<String>::new());
            assert_eq!(site.duplicates, Vec::<String>::new());
        });
    }
}

fn delivered(answer: &str) -> Delivery {
    Delivery::Delivered { answer: answer.to_owned() }
}

fn later(delivery: &Delivery) -> (String, Wait) {
    match delivery {
        Delivery::Later { why, wait } => (why.clone(), *wait),
        other => panic!("not for later: {other:?}"),
    }
}

const BOTH: [Real; 2] = [Real::Cloud, Real::Center];

#[tokio::test]
async fn a_ticket_is_made_commented_closed_opened_again_and_made_anew() {
    for real in BOTH {
        let mut desk = Desk::new(Site::new(real)).await;
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 created"));
        desk.wait(7);
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 commented"));
        assert_eq!(desk.tell(Kind::Missed).await, delivered("OPS-1 commented"));
        assert_eq!(desk.tell(Kind::Recovered).await, delivered("OPS-1 closed"));
        desk.wait(24);
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 reopened"));
        assert_eq!(desk.site(|site| site.issues[0].status()), Status::New);
        assert_eq!(desk.tell(Kind::Recovered).await, delivered("OPS-1 closed"));
        desk.wait(8 * 24);
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-2 created"));
        desk.site(|site| {
            assert_eq!(site.issues[0].comments.len(), 5);
            assert!(site.issues[1].description.contains("The ticket before this one: OPS-1"));
            assert_eq!(site.issues[1].labels.len(), 3);
            assert!(site.issues[1].labels.contains(&"night-shift".to_owned()));
        });
        assert_eq!(desk.memory.key_of(&message(Kind::Failed, "x", start())), Some("OPS-2"));
        desk.is_in_order();
    }
}

#[tokio::test]
async fn a_message_that_is_delivered_twice_stands_there_once() {
    for real in BOTH {
        let mut desk = Desk::new(Site::new(real)).await;
        let (first, second) = (desk.message(Kind::Failed), desk.message(Kind::Failed));
        for message in [&first, &first, &second, &second, &first] {
            assert!(matches!(desk.deliver(message).await, Delivery::Delivered { .. }));
        }
        // and when all that was remembered is lost
        desk.memory = JiraMemory::default();
        for message in [&first, &second] {
            desk.deliver(message).await;
        }
        desk.site(|site| {
            assert_eq!((site.issues.len(), site.issues[0].comments.len()), (1, 1));
        });
        desk.is_in_order();
    }
}

/// The answer to the create is lost, and the search does not show the ticket for minutes.
#[tokio::test]
async fn a_ticket_made_without_an_answer_is_waited_for_and_found() {
    for (real, fault) in BOTH
        .into_iter()
        .flat_map(|real| [Fault::DoneThenReset, Fault::DoneThen(504), Fault::DoneThen(502)].map(|fault| (real, fault)))
    {
        let site = Site { lag: Duration::from_secs(300), ..Site::new(real) };
        let mut desk = Desk::new(site).await;
        let message = desk.message(Kind::Failed);
        desk.break_next([None, Some(fault)]);
        later(&desk.deliver(&message).await);
        let mut pauses = Vec::new();
        let answer = loop {
            match desk.deliver(&message).await {
                Delivery::Later { wait, .. } => {
                    pauses.push(wait.known().expect("it says for how long"));
                    desk.now = desk.now.checked_add(pauses[pauses.len() - 1]).expect("a time");
                }
                other => break other,
            }
        };
        assert_eq!(answer, delivered("OPS-1 has it already"), "{pauses:?}");
        assert!(pauses.windows(2).all(|two| two[0] < two[1]) && pauses.len() >= 4, "they grow: {pauses:?}");
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 commented"));
        desk.is_in_order();
    }
}

#[tokio::test]
async fn a_create_that_never_arrived_is_repeated_when_the_search_must_have_caught_up() {
    for real in BOTH {
        let mut desk = Desk::new(Site::new(real)).await;
        let message = desk.message(Kind::Failed);
        desk.break_next([None, Some(Fault::Reset)]);
        later(&desk.deliver(&message).await);
        desk.now = desk.now.checked_add(Duration::from_secs(599)).expect("a time");
        later(&desk.deliver(&message).await);
        desk.now = desk.now.checked_add(Duration::from_secs(1)).expect("a time");
        assert_eq!(desk.deliver(&message).await, delivered("OPS-1 created"));
        desk.is_in_order();
    }
}

/// The state folder is gone, and with it the key; the ticket is younger than the search.
#[tokio::test]
async fn a_lost_memory_makes_no_second_ticket() {
    for real in BOTH {
        let site = Site { lag: Duration::from_secs(480), page: 1, ..Site::new(real) };
        let mut desk = Desk::new(site).await;
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 created"));
        desk.memory = JiraMemory::begun(desk.now);
        let message = desk.message(Kind::Failed);
        let (_, wait) = later(&desk.deliver(&message).await);
        assert!(wait.known().is_some_and(|long| long <= Duration::from_secs(600)));
        desk.now = desk.now.checked_add(Duration::from_secs(480)).expect("a time");
        assert_eq!(desk.deliver(&message).await, delivered("OPS-1 commented"));
        desk.is_in_order();
    }
}

#[tokio::test]
async fn a_decision_of_people_is_left_alone() {
    for real in BOTH {
        let mut desk = Desk::new(Site::new(real)).await;
        desk.tell(Kind::Failed).await;
        let now = desk.now;
        desk.site(|site| site.close_all("Won\u{2019}t Do", now));
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 was left alone: Won\u{2019}t Do"));
        assert_eq!(desk.site(|site| (site.issues.len(), site.open().len(), site.issues[0].comments.len())), (1, 0, 0));
        desk.is_in_order();
    }
}

#[tokio::test]
async fn a_ticket_that_was_moved_is_followed_and_one_that_was_deleted_is_replaced() {
    for real in BOTH {
        let mut desk = Desk::new(Site::new(real)).await;
        desk.tell(Kind::Failed).await;
        desk.site(Site::move_all);
        assert_eq!(desk.tell(Kind::Failed).await, delivered("NEW-1 commented"));
        // the old key leads nowhere any more: found by its label
        desk.site(|site| site.issues[0].keys_before.clear());
        assert_eq!(desk.tell(Kind::Failed).await, delivered("NEW-1 commented"));
        desk.site(Site::delete_all);
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-2 created"));
        desk.is_in_order();
    }
}

#[tokio::test]
async fn screens_without_labels_or_priority_still_get_one_ticket() {
    for real in BOTH {
        for (has_labels, has_priority) in [(false, true), (true, false), (false, false)] {
            let mut desk = Desk::new(Site { has_labels, has_priority, ..Site::new(real) }).await;
            assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 created"));
            desk.site(|site| {
                assert_eq!(
                    (site.issues[0].labels.is_empty(), site.issues[0].priority.is_none()),
                    (!has_labels, !has_priority)
                );
            });
            // without a label it is found by its text
            desk.memory = JiraMemory::default();
            assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 commented"));
            desk.is_in_order();
        }
    }
}

#[tokio::test]
async fn what_closing_asks_for_is_said_and_not_guessed() {
    for real in BOTH {
        let mut desk = Desk::new(Site { close_asks: true, ..Site::new(real) }).await;
        desk.tell(Kind::Failed).await;
        assert_eq!(desk.tell(Kind::Recovered).await, delivered("OPS-1 told that all is well"));
        desk.site(|site| {
            assert!(site.issues[0].comments[0].contains("Please close it: Abschließen asks for Lösung."));
            assert_eq!(site.open().len(), 1);
        });
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 commented"), "it is still open");
        desk.is_in_order();
    }
}

#[tokio::test]
async fn where_nothing_can_be_opened_again_there_is_a_new_ticket() {
    for real in BOTH {
        let mut desk = Desk::new(Site { can_reopen: false, sets_resolution: false, ..Site::new(real) }).await;
        desk.tell(Kind::Failed).await;
        assert_eq!(desk.tell(Kind::Recovered).await, delivered("OPS-1 closed"));
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-2 created"));
        desk.is_in_order();
    }
}

#[tokio::test]
async fn closing_is_left_to_people_unless_it_is_wanted_and_recovery_makes_no_ticket() {
    for real in BOTH {
        let mut desk = Desk::with(Site::new(real), |settings| settings.resolve = false).await;
        assert_eq!(desk.tell(Kind::Recovered).await, delivered("there is no ticket"));
        desk.tell(Kind::Failed).await;
        assert_eq!(desk.tell(Kind::Recovered).await, delivered("OPS-1 told that all is well"));
        assert_eq!(desk.site(|site| (site.open().len(), site.counts.get("transition").copied())), (1, None));
        let now = desk.now;
        desk.site(|site| site.close_all("Done", now));
        assert_eq!(desk.tell(Kind::Recovered).await, delivered("OPS-1 is closed already"));
        desk.is_in_order();
    }
}

#[tokio::test]
async fn a_test_has_a_ticket_of_its_own() {
    for real in BOTH {
        let mut desk = Desk::new(Site::new(real)).await;
        desk.tell(Kind::Failed).await;
        assert_eq!(desk.tell(Kind::Test).await, delivered("OPS-2 created"));
        assert_eq!(desk.tell(Kind::Test).await, delivered("OPS-2 commented"));
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 commented"));
    }
}

/// `{noformat}` closes a block, `!x!` is a picture, `[~all]` tells everybody: in a ticket they are names.
#[tokio::test]
async fn names_that_are_markup_arrive_as_text() {
    for real in BOTH {
        let mut desk = Desk::new(Site::new(real)).await;
        let first = scenario::with_names(desk.message(Kind::Partial), &HOSTILE);
        let second = scenario::with_names(desk.message(Kind::Partial), &HOSTILE);
        assert_eq!(desk.deliver(&first).await, delivered("OPS-1 created"));
        assert_eq!(desk.deliver(&second).await, delivered("OPS-1 commented"));
        desk.site(|site| {
            for name in HOSTILE {
                assert!(site.issues[0].description.contains(name), "{name} in\n{}", site.issues[0].description);
                assert!(site.issues[0].comments[0].contains(name), "{name} in\n{}", site.issues[0].comments[0]);
            }
        });
        desk.is_in_order();
    }
}

/// A hundred names of 4,000 characters each: shortened, still found, still taken.
#[tokio::test]
async fn what_is_too_much_is_shortened() {
    for real in BOTH {
        let mut desk = Desk::new(Site::new(real)).await;
        let long: Vec<String> = (0..100).map(|number| format!("{number}{}", "{&\u{1f4a3}".repeat(1300))).collect();
        let names: Vec<&str> = long.iter().map(String::as_str).collect();
        let first = scenario::with_names(desk.message(Kind::Partial), &names);
        let second = scenario::with_names(desk.message(Kind::Partial), &names);
        assert_eq!(desk.deliver(&first).await, delivered("OPS-1 created"));
        assert_eq!(desk.deliver(&second).await, delivered("OPS-1 commented"));
        desk.site(|site| {
            assert!(site.issues[0].description.contains(&first.id), "what it is found by is never cut");
            assert!(site.issues[0].comments[0].contains(&second.id));
        });
        // read back in one answer, though the memory is gone
        desk.memory = JiraMemory::default();
        assert_eq!(desk.deliver(&second).await, delivered("OPS-1 has it already"));
        assert_eq!(desk.site(|site| site.issues[0].comments.len()), 1);
        desk.is_in_order();
    }
}

#[tokio::test]
async fn a_limit_is_kept_as_long_as_it_is_asked_for() {
    for (name, value) in [
        ("Retry-After", "90".to_owned()),
        ("Retry-After", "Sat, 21 Nov 2026 02:01:30 GMT".to_owned()),
        ("X-RateLimit-Reset", "2026-11-21T02:01:30Z".to_owned()),
    ] {
        let mut desk = Desk::new(Site::new(Real::Cloud)).await;
        let message = desk.message(Kind::Failed);
        desk.break_next([None, Some(Fault::Limit(name, value))]);
        assert_eq!(later(&desk.deliver(&message).await).1, Wait::Asked(Duration::from_secs(90)));
        // it was refused, so there is nothing to wait for besides
        assert_eq!(desk.deliver(&message).await, delivered("OPS-1 created"));
        desk.is_in_order();
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_without_showing_it_and_tried_again() {
    for real in BOTH {
        let mut desk = Desk::new(Site { is_locked: true, ..Site::new(real) }).await;
        let (why, wait) = later(&desk.tell(Kind::Failed).await);
        assert!(why.contains("renew the token") && !why.contains("canary") && !why.contains("cloud-token"), "{why}");
        assert_eq!(wait, Wait::Mended);
        desk.site(|site| site.is_locked = false);
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 created"));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_page_is_no_answer() {
    for real in BOTH {
        for fault in [Fault::Redirect, Fault::Page, Fault::Refuse(404), Fault::Refuse(503)] {
            let mut desk = Desk::new(Site::new(real)).await;
            desk.tell(Kind::Failed).await;
            desk.break_next([Some(fault)]);
            later(&desk.tell(Kind::Failed).await);
            assert_eq!(desk.receiver.with(|world| world.asked.len()), 3, "one request, and no other");
            assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 commented"));
            desk.is_in_order();
        }
    }
}

/// A Cloud under a name of one's own, taken for a Data Center: its search is gone (410), the new one is found.
#[tokio::test]
async fn a_search_that_is_gone_is_done_the_other_way() {
    let mut desk = Desk::with(Site::new(Real::Cloud), |settings| settings.flavour = Flavour::DataCenter).await;
    assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 created"));
    desk.memory = JiraMemory::default();
    assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 commented"));
    desk.is_in_order();
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_before_anything_is_sent() {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("a certificate and its key");
    let site = Site::new(Real::Cloud);
    let receiver = Receiver::start_tls(site, start(), tokio_rustls::TlsAcceptor::from(Arc::new(config))).await;
    let failed = message(Kind::Failed, "a", start());
    let mut memory = JiraMemory::default();
    let jira = Jira::new(http(), settings(&receiver.url, Real::Cloud));
    let (why, _) = later(&jira.deliver(&failed, &mut memory, &|_| {}, start()).await);
    assert!(why.contains("certificate"), "{why}");
    assert_eq!((memory.clone(), receiver.with(|world| world.asked.len())), (JiraMemory::default(), 0));
    let pem = certified.cert.pem().into_bytes();
    let trusting =
        Http::new(&HttpOptions { extra_roots: Some(pem), ..HttpOptions::new("backup/test") }).expect("a client");
    let jira = Jira::new(trusting, settings(&receiver.url, Real::Cloud));
    assert_eq!(jira.deliver(&failed, &mut memory, &|_| {}, start()).await, delivered("OPS-1 created"));
}

#[tokio::test]
async fn a_refusal_for_good_says_which_field() {
    let mut desk = Desk::with(Site::new(Real::Cloud), |settings| settings.issue_type = "Bug".into()).await;
    let Delivery::Never { why } = desk.tell(Kind::Failed).await else { panic!("it is for ever") };
    assert!(why.contains("issuetype: The issue type selected is invalid."), "{why}");
}

#[tokio::test]
async fn slack_takes_what_we_post_with_names_that_are_markup_and_a_link_to_the_ticket() {
    let receiver = Receiver::start(Site::new(Real::Cloud), start()).await;
    let address = Address::parse(&format!("{}{}", receiver.url, slack::PATH), false).expect("an address");
    let slack = Slack { address, templates: Templates::default() };
    let ticket = backup::notify::Ticket { key: "OPS-1".into(), url: format!("{}/browse/OPS-1", receiver.url) };
    for kind in [Kind::Failed, Kind::Partial, Kind::Missed, Kind::Recovered, Kind::Damage, Kind::Test] {
        let message = scenario::with_names(message(kind, "a", start()), &HOSTILE);
        assert_eq!(slack.deliver(&http(), &message, Some(&ticket), start()).await, delivered("ok"));
    }
    receiver.with(|world| {
        assert_eq!(world.slack.problems, Vec::<String>::new());
        assert_eq!(world.slack.posts.len(), 6);
        assert!(world.slack.posts[0].to_string().contains("/browse/OPS-1"));
        world.faults = [Some(Fault::Page), Some(Fault::Limit("Retry-After", "7".into()))].into();
    });
    let failed = message(Kind::Failed, "a", start());
    later(&slack.deliver(&http(), &failed, None, start()).await);
    assert_eq!(later(&slack.deliver(&http(), &failed, None, start()).await).1, Wait::Asked(Duration::from_secs(7)));
}

/// What a story found (seed 3): beside a memory that was lost, an older ticket that is closed is found at once, and the
/// newer, open one is not yet. The older one was taken for all there is.
#[tokio::test]
async fn a_lost_memory_does_not_take_an_older_closed_ticket_for_the_last() {
    for real in BOTH {
        let mut desk = Desk::new(Site { lag: Duration::from_secs(480), ..Site::new(real) }).await;
        desk.tell(Kind::Failed).await;
        desk.tell(Kind::Recovered).await;
        desk.wait(8 * 24);
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-2 created"));
        desk.memory = JiraMemory::begun(desk.now);
        let message = desk.message(Kind::Failed);
        later(&desk.deliver(&message).await);
        later(&desk.deliver(&message).await);
        desk.now = desk.now.checked_add(Duration::from_secs(480)).expect("a time");
        assert_eq!(desk.deliver(&message).await, delivered("OPS-2 commented"));
        desk.is_in_order();
    }
}

/// What stories found (seeds 2, 7 and 17): a page to sign in with has status 200. It was taken for a list of comments in
/// which ours is not, for a comment that was written, for a ticket that was closed.
#[tokio::test]
async fn a_page_with_status_200_is_no_answer_to_anything() {
    for real in BOTH {
        let mut desk = Desk::new(Site::new(real)).await;
        desk.tell(Kind::Failed).await;
        let message = desk.message(Kind::Failed);
        // looked at the ticket, looked at its comments, wrote one
        desk.break_next([None, None, Some(Fault::Page)]);
        later(&desk.deliver(&message).await);
        desk.break_next([None, None, Some(Fault::DoneThenReset)]);
        later(&desk.deliver(&message).await);
        desk.break_next([None, Some(Fault::Page)]);
        later(&desk.deliver(&message).await);
        assert_eq!(desk.deliver(&message).await, delivered("OPS-1 has it already"));
        // looked, looked at the transitions, at the comments, wrote one, closed it
        let recovered = desk.message(Kind::Recovered);
        desk.break_next([None, None, None, None, Some(Fault::Page)]);
        later(&desk.deliver(&recovered).await);
        assert_eq!(desk.deliver(&recovered).await, delivered("OPS-1 closed"));
        assert_eq!(desk.site(|site| (site.issues[0].comments.len(), site.open().len())), (2, 0));
        desk.is_in_order();
    }
}

/// Several tickets of old, and the open one is not the newest: a person has opened it again.
#[tokio::test]
async fn of_several_tickets_the_open_one_is_taken() {
    for real in BOTH {
        let mut desk = Desk::new(Site { page: 1, ..Site::new(real) }).await;
        for _ in 0..2 {
            desk.tell(Kind::Failed).await;
            desk.tell(Kind::Recovered).await;
            desk.wait(8 * 24);
        }
        let now = desk.now;
        desk.site(|site| site.open_again(0, now));
        desk.memory = JiraMemory::default();
        assert_eq!(desk.tell(Kind::Failed).await, delivered("OPS-1 commented"));
        desk.is_in_order();
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_in_time_and_what_it_did_is_found() {
    let site = Site::new(Real::Cloud);
    let mut desk = Desk::new(site).await;
    let message = desk.message(Kind::Failed);
    let short = HttpOptions { total_timeout: Duration::from_millis(500), ..HttpOptions::new("backup/test") };
    let patient = desk.jira.clone();
    desk.jira = Jira::new(Http::new(&short).expect("a client"), settings(&desk.receiver.url, Real::Cloud));
    desk.break_next([None, Some(Fault::DoneThenSilent)]);
    let (why, _) = later(&desk.deliver(&message).await);
    assert!(why.contains("did not answer in time"), "{why}");
    desk.jira = patient;
    assert_eq!(desk.deliver(&message).await, delivered("OPS-1 has it already"));
    desk.is_in_order();
}

#[tokio::test]
async fn two_hundred_troubles_have_one_ticket_each_and_no_message_is_lost() {
    scenario::run(200, http()).await;
}
