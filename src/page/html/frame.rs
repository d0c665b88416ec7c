//! The document around every page, and the headers that go with it.
//!
//! The policy allows nothing but this document's own style sheet, known by its hash, its own icon and forms to its own
//! origin: text that got out of its element could still not run, load or send anything.

use super::{Html, el, leaf};
use crate::domain::Digest;
use crate::page::view::View;
use crate::page::words;

const STYLE: &str = include_str!("page.css");

/// A green tick on nothing, so that browsers do not ask for `/favicon.ico`.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32' rx='8' fill='%231f6f54'/%3E%3Cpath d='M8 17l5 5 11-12' fill='none' stroke='white' stroke-width='4' stroke-linecap='round' stroke-linejoin='round'/%3E%3C/svg%3E";

/// The value of `Content-Security-Policy` for every page of this room.
pub fn content_security_policy() -> String {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        base64(Digest::of(STYLE.as_bytes()).as_bytes())
    )
}

/// The headers of every page, in lower case.
pub fn security_headers() -> [(&'static str, String); 7] {
    [
        ("content-type", "text/html; charset=utf-8".to_owned()),
        ("content-security-policy", content_security_policy()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("referrer-policy", "no-referrer".to_owned()),
        ("cross-origin-opener-policy", "same-origin".to_owned()),
        ("cross-origin-resource-policy", "same-origin".to_owned()),
        ("cache-control", "no-store".to_owned()),
    ]
}

/// A whole document. `again` is where the same is found anew; none for the answer to a deed, which is not done twice.
pub(super) fn document(title: &str, view: &View, again: Option<&str>, main: impl Into<Html>) -> String {
    let head = [
        leaf("meta", &[("charset", "utf-8")]),
        leaf("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]),
        leaf("meta", &[("name", "color-scheme"), ("content", "light dark")]),
        leaf("meta", &[("name", "robots"), ("content", "noindex")]),
        el("title", &[], title),
        leaf("link", &[("rel", "icon"), ("href", ICON)]),
        // a literal of ours: the one thing that is not text
        Html(format!("<style>{STYLE}</style>")),
    ];
    let zone = view.zone.iana_name().unwrap_or("UTC");
    let as_of = format!("as of {} ({zone})", words::moment(view.now, &view.zone));
    let reload = again.map(|again| el("a", &[("href", again)], "Reload"));
    let header = el(
        "header",
        &[("class", "top")],
        [
            el(
                "p",
                &[("class", "brand")],
                [el("a", &[("href", "/")], "backup"), el("span", &[("class", "instance")], view.instance.as_str())],
            ),
            el("p", &[("class", "as-of")], [el("time", &[("datetime", &view.now.to_string())], as_of), reload.into()]),
        ],
    );
    let footer = el(
        "footer",
        &[],
        [
            el("p", &[], format!("{}, running for {}", view.tool, words::span(view.now.duration_since(view.started)))),
            el(
                "nav",
                &[("aria-label", "For machines")],
                [
                    el("a", &[("href", "/metrics")], "Metrics"),
                    el("a", &[("href", "/api/v1/status")], "JSON"),
                    el("a", &[("href", "/readyz")], "Ready?"),
                    el("a", &[("href", "/healthz")], "Alive?"),
                ],
            ),
        ],
    );
    let body = [
        el("a", &[("class", "skip"), ("href", "#main")], "Skip to the content"),
        header,
        el("main", &[("id", "main"), ("tabindex", "-1")], main),
        footer,
    ];
    let Html(page) = el("html", &[("lang", "en")], [el("head", &[], head), el("body", &[], body)]);
    format!("<!doctype html>\n{page}\n")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
