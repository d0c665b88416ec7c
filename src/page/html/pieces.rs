//! Small pieces that every part of the page uses: times, tables, states.

use jiff::Timestamp;

use super::{Html, el, leaf};
use crate::domain::Verdict;
use crate::page::view::View;
use crate::page::words;

/// How good something is: its colour, which is never the only sign of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Notable,
    Bad,
    Quiet,
    Busy,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Notable => "notable",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
            Self::Busy => "busy",
        }
    }

    pub(super) fn of(verdict: Option<Verdict>) -> Self {
        match verdict {
            Some(Verdict::Ok) => Self::Good,
            Some(Verdict::Partial) => Self::Notable,
            Some(Verdict::Failed | Verdict::Missed) | None => Self::Bad,
            Some(Verdict::Skipped) => Self::Quiet,
        }
    }
}

/// A word in a coloured pill.
pub(super) fn pill(tone: Tone, word: &str) -> Html {
    el("span", &[("class", &format!("pill {}", tone.class()))], word)
}

/// A time as people think of it (`2 h 10 min ago`), with the exact one behind it.
pub(super) fn ago(at: Timestamp, view: &View) -> Html {
    let exact = words::moment(at, &view.zone);
    el("time", &[("datetime", &at.to_string()), ("title", &exact)], words::distance(at, view.now))
}

/// The exact time, with the distance behind it.
pub(super) fn on(at: Timestamp, view: &View) -> Html {
    let distance = words::distance(at, view.now);
    el("time", &[("datetime", &at.to_string()), ("title", &distance)], words::moment(at, &view.zone))
}

/// A table whose cells know their column's name, so that a narrow screen can show each row as a card. The roles say
/// what it is even when the style makes blocks of it.
pub(super) fn table(caption: &str, heads: &[&str], rows: Vec<Vec<Html>>) -> Html {
    let head = heads.iter().map(|head| el("th", &[("scope", "col"), ("role", "columnheader")], *head));
    let head = el("thead", &[("role", "rowgroup")], el("tr", &[("role", "row")], head.collect::<Vec<_>>()));
    let body = rows.into_iter().map(|cells| {
        let cells = cells.into_iter().zip(heads).enumerate().map(|(at, (cell, head))| {
            if at == 0 {
                el("th", &[("scope", "row"), ("role", "rowheader")], cell)
            } else {
                let class = if cell == nothing() { "void" } else { "told" };
                let attributes = [("data-label", *head), ("role", "cell"), ("class", class)];
                el("td", &attributes, el("span", &[], cell))
            }
        });
        el("tr", &[("role", "row")], cells.collect::<Vec<_>>())
    });
    let body = el("tbody", &[("role", "rowgroup")], body.collect::<Vec<_>>());
    el("table", &[("role", "table"), ("aria-label", caption)], [head, body])
}

/// A cell that has nothing to tell; cards leave it out.
pub(super) fn nothing() -> Html {
    "–".into()
}

/// Text of any length and without any place to break, in a cell.
pub(super) fn free(text: &str) -> Html {
    el("span", &[("class", "free")], text)
}

/// Facts as a list of names and values.
pub(super) fn facts(pairs: Vec<(&str, Html)>) -> Html {
    let pairs = pairs.into_iter().map(|(name, value)| el("div", &[], [el("dt", &[], name), el("dd", &[], value)]));
    el("dl", &[("class", "facts")], pairs.collect::<Vec<_>>())
}

/// Something that is there when asked for.
pub(super) fn fold(summary: impl Into<Html>, is_open: bool, inner: impl Into<Html>) -> Html {
    let attributes: &[(&str, &str)] = if is_open { &[("open", "")] } else { &[] };
    el("details", attributes, [el("summary", &[], summary), inner.into()])
}

/// `a, b and c` of codes.
pub(super) fn codes(texts: &[String]) -> Html {
    let mut parts = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            parts.push(", ".into());
        }
        parts.push(el("code", &[], text.as_str()));
    }
    parts.into()
}

/// Text in which `code` stands between backquotes.
pub(super) fn prose(text: &str) -> Html {
    let parts = text.split('`').enumerate().map(|(at, part)| match at % 2 {
        0 => part.into(),
        _ => el("code", &[], part),
    });
    parts.collect::<Vec<Html>>().into()
}

/// A field for the token, with its label. Password managers want a name beside it: it is hidden, and means nothing.
pub(super) fn token(id: &str, more: &[(&'static str, &str)]) -> Html {
    let name =
        [("type", "text"), ("name", "username"), ("value", "backup"), ("autocomplete", "username"), ("hidden", "")];
    let mut field = vec![("id", id), ("name", "token"), ("type", "password"), ("required", "")];
    field.push(("autocomplete", "current-password"));
    field.extend_from_slice(more);
    [leaf("input", &name), el("label", &[("for", id)], "Token"), leaf("input", &field)].into()
}
