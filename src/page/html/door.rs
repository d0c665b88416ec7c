//! The door: the page that asks for the token, and the pages that answer a deed.
//!
//! What the daemon does with it: `POST /session` with the fields `token` and `return` compares the token in constant time
//! and sets a cookie (`HttpOnly`, `SameSite=Strict`, `Path=/`, short-lived, a random value that is not the token), then
//! answers 303 to `return`, if that begins with `/browse/` or `/download/` and nowhere else.

use super::frame::document;
use super::pieces::token;
use super::{Html, el, leaf};
use crate::page::view::View;

/// The page that asks for the token before something is browsed or downloaded. `back` is where to go then; `was_wrong`
/// says that the token that was given was not the right one.
pub fn sign_in(view: &View, back: &str, was_wrong: bool) -> String {
    let wrong = was_wrong.then(|| {
        el(
            "p",
            &[("class", "failure"), ("id", "wrong"), ("role", "alert")],
            "That is not the token. Nothing was opened.",
        )
    });
    let mut more = vec![("autofocus", "")];
    if was_wrong {
        more.extend([("aria-describedby", "wrong"), ("aria-invalid", "true")]);
    }
    let form = el(
        "form",
        &[("method", "post"), ("action", "/session"), ("class", "token")],
        [
            leaf("input", &[("type", "hidden"), ("name", "return"), ("value", back)]),
            token("token", &more),
            el("button", &[("type", "submit")], "Open"),
        ],
    );
    let main = [
        el("h1", &[], "Who is there?"),
        el(
            "p",
            &[("class", "lead")],
            "What is in a backup is for those who have the token (web.token in the configuration).",
        ),
        wrong.into(),
        form,
    ];
    document(&format!("Token · backup {}", view.instance), view, None, el("section", &[("class", "door")], main))
}

/// The page that answers a deed or a wrong address, with a way back.
pub fn answer(view: &View, title: &str, text: &str) -> String {
    let main: [Html; 3] = [
        el("h1", &[], title),
        el("p", &[("class", "lead")], text),
        el("p", &[], el("a", &[("href", "/")], "Back to all jobs")),
    ];
    document(&format!("{title} · backup {}", view.instance), view, None, el("section", &[("class", "door")], main))
}
