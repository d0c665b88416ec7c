//! `backup notify test`: a marked message through each channel, and what each answered.

use super::arguments::Global;
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::config::Overrides;
use crate::notify::Delivery;
use crate::wiring::{Environment, Notifiers};

/// Try who would be told
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Send a message that is marked as a test through each channel, and show the answers
    Test {
        /// Only this one: slack, jira, webhook, ping or email
        channel: Option<String>,
    },
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let Verb::Test { channel } = verb;
    let overrides = Overrides { state_dir: global.state_dir.clone(), ..Overrides::default() };
    let loaded = which::loaded(global, overrides).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let settings = loaded.settings;
    let known: Vec<&str> = settings.notify.listeners.iter().map(|listener| listener.channel.name()).collect();
    match channel.as_deref() {
        _ if known.is_empty() => {
            let advice = "add `notify:` to the configuration, or set SLACK_WEBHOOK_URL, JIRA_URL, WEBHOOK_URL, PING_URL or SMTP_HOST";
            return Err(Failure::usage("the configuration tells nobody", advice));
        }
        Some(wanted) if !known.contains(&wanted) => {
            let advice = format!("the configuration has {}", known.join(", "));
            return Err(Failure::usage(format!("there is no channel {wanted}"), advice));
        }
        _ => {}
    }
    let state = which::state(global, Some(&settings));
    let mut notifiers = Notifiers::new(&settings, &state, &Environment::read());
    loaded.notices.iter().chain(notifiers.notices()).for_each(|notice| screen.note(notice));
    let mut exit = Exit::Ok;
    for (channel, delivery) in notifiers.test(channel.as_deref()) {
        let (delivered, text) = match delivery {
            Delivery::Delivered { answer } => (true, answer),
            Delivery::Later { why, .. } | Delivery::Never { why } => (false, why),
        };
        if !delivered {
            exit = Exit::Failed;
        }
        if screen.is_json() {
            screen.json(&serde_json::json!({
                "type": "notify-test", "channel": channel, "delivered": delivered, "answer": text,
            }));
        } else if delivered {
            screen.result(&format!("{channel}: delivered ({text})"));
        } else {
            screen.complain(&format!("{channel}: not delivered: {text}"));
        }
    }
    Ok(exit)
}
