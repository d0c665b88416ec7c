//! What a person or a program sees: chosen once, then used by every command.
//!
//! Results go to standard output, everything else to standard error. A screen decides nothing: closing it, or piping
//! it into something that ends, changes no outcome.

use std::io::{BufWriter, IsTerminal, StdoutLock, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::arguments::Global;
use super::exit::{Exit, Failure};
use crate::domain::{ByteCount, Clock, SystemClock, Trouble};
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

    /// For results that come one by one and may be millions.
    pub fn stream(&self) -> Stream {
        let out = std::io::stdout();
        let is_terminal = out.is_terminal();
        Stream { out: BufWriter::new(out.lock()), quiet: self.quiet, is_terminal, failed: None }
    }

    /// Worth knowing.
    pub fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            let _ = writeln!(anstream::stderr(), "note: {text}");
        }
    }

    /// Something that went wrong beside the command's own work. Shown whatever was asked for, on standard error.
    pub fn complain(&self, text: &str) {
        let _ = writeln!(anstream::stderr(), "{text}");
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

    /// Whether nothing but failures is shown.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// As [`Screen::progress`], for a deed whose results are shown while it goes on: a bar gives way to them.
    pub fn progress_beside_results(&self) -> (Box<dyn Observer>, Beside) {
        if self.is_watched() {
            let bar = Bar::new();
            let beside = Beside(Some(bar.bar.clone()));
            return (Box::new(bar), beside);
        }
        (self.progress(), Beside(None))
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

/// Results on standard output, line by line. Whether anybody listens is told, so that nothing is read for nobody; that
/// nobody listens any more is no failure, but output that a disk did not take is.
pub struct Stream {
    out: BufWriter<StdoutLock<'static>>,
    quiet: bool,
    is_terminal: bool,
    failed: Option<std::io::Error>,
}

impl Stream {
    /// A result, as text that is safe for a terminal. False once no more can be shown.
    #[must_use = "when nobody listens there is nothing more to do"]
    pub fn line(&mut self, text: &str) -> bool {
        !self.quiet && self.put(format_args!("{text}"))
    }

    /// A result, as a JSON value on a line of its own. False once no more can be shown.
    #[must_use = "when nobody listens there is nothing more to do"]
    pub fn json(&mut self, value: &serde_json::Value) -> bool {
        self.put(format_args!("{value}"))
    }

    /// Shows what is left.
    ///
    /// # Errors
    /// If something could not be written, though somebody listened.
    pub fn finish(mut self) -> Result<(), Failure> {
        let flushed = if self.failed.is_none() { self.out.flush() } else { Ok(()) };
        // what could not be written is not tried again on the way out
        let _ = self.out.into_parts();
        match self.failed.or(flushed.err()) {
            Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure {
                exit: Exit::Failed,
                trouble: Trouble {
                    what: "the result could not be written to the end".to_owned(),
                    causes: vec![error.to_string()],
                    advice: "check where standard output goes, and ask again; what stands there is not all".to_owned(),
                },
            }),
            _ => Ok(()),
        }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) -> bool {
        if self.failed.is_some() {
            return false;
        }
        // a person sees each result when it is found
        let put = writeln!(self.out, "{text}").and_then(|()| if self.is_terminal { self.out.flush() } else { Ok(()) });
        self.failed = put.err();
        self.failed.is_none()
    }
}

/// What may be printed while progress is shown.
pub struct Beside(Option<ProgressBar>);

impl Beside {
    /// Prints, where a bar has given way.
    pub fn print(&self, print: &mut dyn FnMut()) {
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
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
        Phase::Commands => "commands",
        Phase::Storing => "storing",
        Phase::Flushing => "flushing",
        Phase::ReadingBack => "reading back",
        Phase::Publishing => "publishing",
        Phase::Pruning => "pruning",
        Phase::Restoring => "restoring",
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
