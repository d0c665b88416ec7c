//! What is wrong with a configuration, and how it is told.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Everything that is wrong, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    text: String,
    brief: Vec<String>,
}

impl ConfigErrors {
    /// What is wrong and where, one line each, with nothing of what stands there: for those who do not sit at the
    /// terminal of whoever wrote the file.
    pub fn brief(&self) -> &[String] {
        &self.brief
    }

    /// How many things are wrong, in a sentence.
    pub fn headline(&self) -> String {
        let things = if self.count() == 1 { "one thing is" } else { "several things are" };
        format!("the configuration cannot be used: {things} wrong")
    }

    /// How many things are wrong.
    pub fn count(&self) -> usize {
        self.brief.len()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\n{}", self.headline(), self.text)
    }
}

/// Where something wrong stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// These bytes of the file.
    File(Range<usize>),
    /// A variable or a flag.
    Named(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) spot: Spot,
    /// What is wrong.
    pub(super) what: String,
    /// What is allowed.
    pub(super) allowed: String,
    /// The nearest thing that would be right.
    pub(super) meant: Option<String>,
}

/// The file that problems point into.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Draws all problems, those of the file in its order, each once.
pub(super) fn draw(mut problems: Vec<Problem>, file: &Text) -> ConfigErrors {
    problems.sort_by_key(|problem| match &problem.spot {
        Spot::Named(_) => (0, 0),
        Spot::File(range) => (1, range.start),
    });
    problems.dedup();
    for problem in &mut problems {
        problem.what = super::mask::without_addresses(&problem.what).into_owned();
    }
    let brief = problems.iter().map(|problem| briefly(problem, file)).collect();
    let file = &Text { path: file.path.clone(), text: super::mask::masked(&file.text) };
    let drawn: Vec<String> = problems.iter().map(|problem| draw_one(problem, file)).collect();
    ConfigErrors { text: drawn.join("\n\n"), brief }
}

fn briefly(problem: &Problem, file: &Text) -> String {
    let meant = problem.meant.as_ref().map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    let place = match &problem.spot {
        Spot::Named(name) => name.clone(),
        Spot::File(range) => {
            let before = &file.text[..floor(&file.text, range.start.min(file.text.len()))];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("{}:{line}:{column}", file.path.display())
        }
    };
    format!("{place}: {}{meant}", problem.what)
}

fn draw_one(problem: &Problem, file: &Text) -> String {
    let meant = problem.meant.as_ref().map(|meant| format!("did you mean `{meant}`?"));
    match &problem.spot {
        Spot::Named(name) => {
            let mut text = format!("error: {name}: {}", problem.what);
            for help in [Some(problem.allowed.clone()).filter(|text| !text.is_empty()), meant].into_iter().flatten() {
                text.push_str(&format!("\n  = help: {help}"));
            }
            text
        }
        Spot::File(range) => {
            let end = range.end.min(file.text.len());
            let start = range.start.min(end);
            // a caret under nothing is put under the last character
            let range = if start == end { start.saturating_sub(1)..end } else { start..end };
            let range = floor(&file.text, range.start)..ceil(&file.text, range.end);
            let path = file.path.display().to_string();
            let label = meant.unwrap_or_default();
            let snippet = Snippet::source(&*file.text)
                .path(&*path)
                .annotation(AnnotationKind::Primary.span(range).label(&*label));
            let mut group = Level::ERROR.primary_title(&*problem.what).element(snippet);
            if !problem.allowed.is_empty() {
                group = group.element(Level::HELP.message(&*problem.allowed));
            }
            Renderer::plain().render(&[group]).to_string()
        }
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// The known name that is nearest, if any is near enough to have been meant.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let near = |name: &str| strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
    let best = known.map(|name| (near(name), name)).min()?;
    (best.0 <= 1 + wrong.len() / 4).then(|| best.1.to_owned())
}
