//! What is to be done, from what is known: no clock, no network, no memory is changed.
//!
//! The danger here is in both directions: a second ticket where there is one, and no ticket where there should be one.
//! Where it is not known whether there is one, the answer is to wait, for a time that has an end.

use std::time::Duration;

use jiff::Timestamp;

use super::issue::{Issue, State};
use super::memory::{JiraMemory, Known};
use super::settings::Settings;
use crate::report::Kind;

/// So long the search may not know what was written. What it has not found after this is not there.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(10 * 60);

/// The first pause before looking again for a ticket that may have been made; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(15);

/// What to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// There is no ticket that would do: make one. Holds the key of an older one, if there is one.
    Create(Option<String>),
    /// Write it into this ticket.
    Comment,
    /// Open this ticket again, then write it.
    Reopen,
    /// Write that all is well, and close it if that is wanted.
    Recover,
    /// It is not known yet whether there is a ticket: look again after this long.
    Wait(Duration),
    /// Nothing, for this reason.
    Nothing(String),
}

/// What to do, now that `issue` is all that can be found.
pub(super) fn judge(
    kind: Kind,
    issue: Option<&Issue>,
    unsettled: Option<Duration>,
    closed_by_us: Option<Timestamp>,
    settings: &Settings,
    now: Timestamp,
) -> Deed {
    let is_recovery = kind == Kind::Recovered;
    let state = issue.map(|issue| (issue, &issue.state));
    match (state, unsettled) {
        (Some((_, State::Open)), _) if is_recovery => Deed::Recover,
        (Some((_, State::Open)), _) => Deed::Comment,
        // there may be another ticket, which is open
        (_, Some(pause)) => Deed::Wait(pause),
        (None, None) if is_recovery => Deed::Nothing("there is no ticket".to_owned()),
        (None, None) => Deed::Create(None),
        (Some((issue, State::Closed { .. })), None) if is_recovery => {
            Deed::Nothing(format!("{} is closed already", issue.key))
        }
        (Some((issue, State::Closed { resolution, at })), None) => match resolution {
            Some(name) if is_wont_do(name, settings) => Deed::Nothing(format!("{} was left alone: {name}", issue.key)),
            _ if is_recent(at.or(closed_by_us), settings.reopen_within, now) => Deed::Reopen,
            _ => Deed::Create(Some(issue.key.clone())),
        },
    }
}

/// How long to wait before looking again, if a ticket may be there that the search does not find yet: because one was
/// asked for and no answer came, or because the memory is new in place of one that may have known it.
/// A test does not wait for the latter: somebody sits there, and its ticket is no trouble's.
pub(super) fn unsettled(kind: Kind, memory: &JiraMemory, known: &Known, now: Timestamp) -> Option<Duration> {
    if let Some(pending) = &known.pending {
        let left = left(pending.since, now)?;
        let pause = FIRST_PAUSE.saturating_mul(1 << pending.looks.min(16));
        return Some(pause.min(left));
    }
    if known.key.is_some() || kind == Kind::Test {
        return None;
    }
    memory.begun.and_then(|begun| left(begun, now))
}

/// What is left of the time in which the search may be behind; none if it is over. A `since` that lies in the future
/// (the clock was set back) counts as now, so that nothing waits for longer than that time.
fn left(since: Timestamp, now: Timestamp) -> Option<Duration> {
    let gone = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    SETTLED_AFTER.checked_sub(gone).filter(|left| !left.is_zero())
}

fn is_recent(closed: Option<Timestamp>, within: Duration, now: Timestamp) -> bool {
    closed.is_some_and(|at| match Duration::try_from(now.duration_since(at)) {
        Ok(ago) => ago <= within,
        // closed in the future: their clock is not ours
        Err(_) => true,
    })
}

fn is_wont_do(resolution: &str, settings: &Settings) -> bool {
    let plain = |text: &str| text.trim().replace('\u{2019}', "'").to_lowercase();
    settings.wont_do.iter().any(|name| plain(name) == plain(resolution))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::super::issue::{Issue, State};
    use super::super::memory::{JiraMemory, Known, Pending};
    use super::super::settings::{Flavour, Settings, SignIn};
    use super::{Deed, FIRST_PAUSE, SETTLED_AFTER, judge, unsettled};
    use crate::domain::Secret;
    use crate::notify::http::Address;
    use crate::report::Kind;

    fn settings() -> Settings {
        let url = Address::parse("https://acme.atlassian.net", false).expect("an address");
        Settings::new(url, Flavour::Cloud, SignIn::Bearer(Secret::new("t")), "OPS", "Task")
    }

    fn now() -> Timestamp {
        "2026-11-21T02:00:00Z".parse().expect("a time")
    }

    fn ago(hours: u64) -> Timestamp {
        now().checked_sub(Duration::from_secs(hours * 3600)).expect("a time")
    }

    fn closed(resolution: &str, hours: u64) -> Issue {
        let state = State::Closed { resolution: Some(resolution.to_owned()), at: Some(ago(hours)) };
        Issue { key: "OPS-1".into(), state, labels: Vec::new() }
    }

    fn open() -> Issue {
        Issue { key: "OPS-1".into(), state: State::Open, labels: Vec::new() }
    }

    fn deed(kind: Kind, issue: Option<&Issue>, wait: Option<Duration>) -> Deed {
        judge(kind, issue, wait, None, &settings(), now())
    }

    #[test]
    fn trouble_is_written_into_the_open_ticket_or_one_is_opened_again_or_made() {
        for kind in [Kind::Failed, Kind::Partial, Kind::Missed, Kind::Overdue, Kind::Damage, Kind::Trouble] {
            assert_eq!(deed(kind, None, None), Deed::Create(None));
            assert_eq!(deed(kind, Some(&open()), None), Deed::Comment);
            assert_eq!(deed(kind, Some(&closed("Done", 7 * 24)), None), Deed::Reopen);
            assert_eq!(deed(kind, Some(&closed("Done", 7 * 24 + 1)), None), Deed::Create(Some("OPS-1".into())));
        }
    }

    #[test]
    fn what_a_person_will_not_do_is_left_alone_for_ever() {
        for (resolution, hours) in [("Won't Do", 1), ("won\u{2019}t fix ", 9999), ("DECLINED", 1)] {
            assert!(matches!(deed(Kind::Failed, Some(&closed(resolution, hours)), None), Deed::Nothing(_)));
        }
    }

    #[test]
    fn recovery_makes_no_ticket_and_opens_none() {
        assert!(matches!(deed(Kind::Recovered, None, None), Deed::Nothing(_)));
        assert!(matches!(deed(Kind::Recovered, Some(&closed("Done", 1)), None), Deed::Nothing(_)));
        assert_eq!(deed(Kind::Recovered, Some(&open()), None), Deed::Recover);
    }

    #[test]
    fn while_a_ticket_may_be_there_unseen_none_is_made_and_none_is_opened_again() {
        let pause = Duration::from_secs(60);
        for issue in [None, Some(&closed("Done", 1)), Some(&closed("Done", 999)), Some(&closed("Declined", 1))] {
            for kind in [Kind::Failed, Kind::Recovered] {
                assert_eq!(deed(kind, issue, Some(pause)), Deed::Wait(pause));
            }
        }
        assert_eq!(deed(Kind::Failed, Some(&open()), Some(pause)), Deed::Comment, "one that is open will do");
    }

    #[test]
    fn the_pauses_grow_and_end() {
        let (mut known, memory) = (Known::default(), JiraMemory::default());
        assert_eq!(unsettled(Kind::Failed, &memory, &known, now()), None);
        let (mut at, mut pauses) = (now(), Vec::new());
        known.pending = Some(Pending { message: "a".into(), since: at, looks: 0 });
        while let Some(pause) = unsettled(Kind::Failed, &memory, &known, at) {
            pauses.push(pause);
            at = at.checked_add(pause).expect("a time");
            known.pending.as_mut().expect("still pending").looks += 1;
        }
        assert_eq!(pauses.first(), Some(&FIRST_PAUSE));
        assert!(pauses.len() < 10, "{pauses:?}");
        assert_eq!(pauses.iter().sum::<Duration>(), SETTLED_AFTER);
    }

    #[test]
    fn a_new_memory_in_place_of_a_lost_one_waits_and_a_new_one_for_a_single_run_does_not() {
        let known = Known::default();
        assert_eq!(unsettled(Kind::Failed, &JiraMemory::begun(now()), &known, now()), Some(SETTLED_AFTER));
        assert_eq!(unsettled(Kind::Failed, &JiraMemory::begun(ago(1)), &known, now()), None);
        assert_eq!(unsettled(Kind::Failed, &JiraMemory::default(), &known, now()), None);
        assert_eq!(unsettled(Kind::Test, &JiraMemory::begun(now()), &known, now()), None);
    }
}
