//! What a person or a program sees: chosen once, then used by every command.
//!
//! Results go to standard output, everything else to standard error. A screen decides nothing: closing it, or piping
//! it into something that ends, changes no outcome.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::arguments::Global;
use super::exit::Failure;
use crate::domain::{ByteCount, Clock, SystemClock};
use crate::observe::{Event, Observer, Phase};
use crate::report::{duration_words, tell};

/// Without a terminal a line is printed so often, so that a log shows life and stays short.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Where things are shown.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    json: bool,
    quiet: bool,
}

impl Screen {
    /// As the command line says.
    pub fn new(global: &Global) -> Self {
        Self { json: global.json, quiet: global.quiet }
    }

    /// Whether results are to be JSON lines.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person watches.
    pub fn is_watched(&self) -> bool {
        !self.json && !self.quiet && std::io::stderr().is_terminal()
    }

    /// A result, as text.
    pub fn result(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(anstream::stdout(), "{text}");
        }
    }

    /// A result, as a JSON value on a line of its own.
    pub fn json(&self, value: &serde_json::Value) {
        let _ = writeln!(std::io::stdout(), "{value}");
    }

    /// Worth knowing.
    pub fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            let _ = writeln!(anstream::stderr(), "note: {text}");
        }
    }

    /// Why the command failed. Shown whatever was asked for.
    pub fn failure(&self, failure: &Failure) {
        if self.json {
            let trouble = &failure.trouble;
            self.json(&serde_json::json!({
                "type": "failure", "what": trouble.what, "causes": trouble.causes, "advice": trouble.advice,
                "exit": failure.exit as u8,
            }));
        }
        let _ = writeln!(anstream::stderr(), "backup: {}", tell(&failure.trouble));
    }

    /// An observer that draws a deed's progress in the way that fits.
    pub fn progress(&self) -> Box<dyn Observer> {
        if self.json || self.quiet {
            Box::new(crate::observe::Silent)
        } else if std::io::stderr().is_terminal() {
            Box::new(Bar::new())
        } else {
            Box::new(Lines::new())
        }
    }
}

/// A bar with bytes, entries, rate and time left.
struct Bar {
    bar: ProgressBar,
    entries: Arc<AtomicU64>,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let entries = Arc::new(AtomicU64::new(0));
        bar.set_style(style(false, &entries));
        Self { bar, entries }
    }
}

fn style(with_length: bool, entries: &Arc<AtomicU64>) -> ProgressStyle {
    let template = if with_length {
        "{msg:12} [{bar:30}] {decimal_bytes} of {decimal_total_bytes}, {entries}, {decimal_bytes_per_sec}, {left}"
    } else {
        "{msg:12} {spinner} {decimal_bytes}, {entries}, {decimal_bytes_per_sec}"
    };
    let entries = Arc::clone(entries);
    ProgressStyle::with_template(template)
        .expect("the template is a constant that indicatif understands")
        .progress_chars("=> ")
        .with_key("entries", move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{} entries", entries.load(Ordering::Relaxed));
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{} left", HumanDuration(state.eta()));
        })
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Bar {
    fn notice(&self, event: &Event<'_>) {
        match event {
            Event::Entered { phase } => {
                self.bar.set_message(short(*phase));
                if *phase == Phase::ReadingBack {
                    self.bar.set_position(0);
                    self.bar.unset_length();
                    self.bar.set_style(style(false, &self.entries));
                }
            }
            Event::Expected { bytes, .. } => {
                self.bar.set_length(bytes.0);
                self.bar.set_style(style(true, &self.entries));
            }
            Event::Advanced { entries, bytes, .. } => {
                self.entries.fetch_add(*entries, Ordering::Relaxed);
                self.bar.inc(bytes.0);
            }
            Event::Skipped { skip } => {
                self.bar.suspend(|| {
                    let _ = writeln!(anstream::stderr(), "skipped {}: {}: {}", skip.path, skip.cause.words(), skip.why);
                });
            }
            Event::Notice { text } => self.bar.suspend(|| {
                let _ = writeln!(anstream::stderr(), "note: {text}");
            }),
            Event::Started { .. } => {}
        }
    }
}

fn short(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::Surveying => "surveying",
        Phase::Storing => "storing",
        Phase::Flushing => "flushing",
        Phase::ReadingBack => "reading back",
        Phase::Publishing => "publishing",
    }
}

/// Plain lines, for logs.
struct Lines {
    clock: SystemClock,
    state: Mutex<LinesState>,
}

#[derive(Default)]
struct LinesState {
    entries: u64,
    bytes: ByteCount,
    expected: Option<ByteCount>,
    shown_at: Duration,
    phase: Option<Phase>,
}

impl Lines {
    fn new() -> Self {
        Self { clock: SystemClock::new(), state: Mutex::default() }
    }
}

impl Observer for Lines {
    fn notice(&self, event: &Event<'_>) {
        let Ok(mut state) = self.state.lock() else { return };
        let now = self.clock.since_start();
        match event {
            Event::Entered { phase } => {
                state.phase = Some(*phase);
                state.bytes = ByteCount::ZERO;
            }
            Event::Expected { bytes, .. } => state.expected = Some(*bytes),
            Event::Advanced { entries, bytes, .. } => {
                state.entries += entries;
                state.bytes += *bytes;
            }
            Event::Started { snapshot } => {
                let _ = writeln!(std::io::stderr(), "making {snapshot}");
            }
            Event::Skipped { skip } => {
                let _ = writeln!(std::io::stderr(), "skipped {}: {}: {}", skip.path, skip.cause.words(), skip.why);
            }
            Event::Notice { text } => {
                let _ = writeln!(std::io::stderr(), "note: {text}");
            }
        }
        if now.saturating_sub(state.shown_at) >= LINE_EVERY {
            state.shown_at = now;
            let doing = state.phase.map_or("starting", Phase::words);
            let of = match (state.phase, state.expected) {
                (Some(Phase::Storing), Some(all)) => format!(" of {all}"),
                _ => String::new(),
            };
            let _ = writeln!(
                std::io::stderr(),
                "{doing}: {}{of}, {} entries, after {}",
                state.bytes,
                state.entries,
                duration_words(now)
            );
        }
    }
}
