//! What people read on the page: the words of three systems, and names that mean harm.
//!
//! The words are kept in `tests/page/golden/`, one file a page, to be read in a review: after a change that is meant,
//! `UPDATE=1 cargo test --test page` writes them anew.

use std::fs;

use backup::domain::{EntryPath, JobName};
use backup::page::{FolderView, View, answer, folder, front, path_of_query, sign_in};
use proptest::prelude::*;

use crate::systems::{self, HOSTILE, empty, healthy, troubled};
use crate::{file, read};

/// Tags a text opens and closes, checked to be balanced; and the text outside of them, one line a block.
fn words(page: &str) -> String {
    let (mut text, mut open, mut rest) = (String::new(), Vec::new(), page);
    let blocks = ["p", "li", "tr", "h1", "h2", "h3", "h4", "dt", "dd", "title", "div", "summary", "section", "figure"];
    while let Some(at) = rest.find('<') {
        let inside = open.last().copied().unwrap_or_default();
        // a drawing says in words what it shows
        if inside != "style" && !open.contains(&"svg") {
            text.push_str(&rest[..at]);
        }
        let end = at + rest[at..].find('>').expect("a tag that ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split(' ').next().expect("a name");
        if tag.starts_with("svg")
            && let Some(label) = values(&format!("<{tag}>"), "aria-label").first()
        {
            text.push_str(&format!("\n[{label}]\n"));
        } else if blocks.contains(&name) && !open.contains(&"svg") {
            text.push('\n');
        } else if ["td", "th"].contains(&name) && tag.starts_with('/') {
            text.push_str(" | ");
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{page}");
        } else if !["!doctype", "meta", "link", "input"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

/// The values of an attribute.
fn values<'p>(page: &'p str, attribute: &str) -> Vec<&'p str> {
    let start = format!(" {attribute}=\"");
    page.split(start.as_str()).skip(1).map(|rest| rest.split('"').next().expect("a value")).collect()
}

fn golden(name: &str, page: &str) {
    let path = format!("tests/page/golden/{name}.txt");
    let found = words(page);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file("tests/page/golden")).expect("a folder");
        fs::write(file(&path), &found).expect("written");
    }
    let kept = read(&path);
    let differs = kept.lines().zip(found.lines()).find(|(kept, found)| kept != found);
    assert!(kept == found, "{path}: {differs:?}; look, then run `UPDATE=1 cargo test --test page` and commit");
}

#[test]
fn the_words_of_every_page_are_those_that_were_looked_at() {
    golden("empty", &front(&empty()));
    golden("healthy", &front(&healthy()));
    golden("troubled", &front(&troubled()));
    golden("folder", &folder(&healthy(), &systems::folder()));
    golden("door", &sign_in(&healthy(), "/browse/x?path=", true));
    golden("answer", &answer(&healthy(), "The run was started", "upload runs now."));
}

#[test]
fn the_verdict_is_the_first_thing_and_says_the_worst() {
    let headline = |view: &View| {
        let page = front(view);
        let (_, after) = page.split_once("<h1 id=\"verdict\">").expect("a headline");
        after.split('<').next().expect("words").to_owned()
    };
    assert_eq!(headline(&empty()), "Nothing is backed up yet");
    assert_eq!(headline(&healthy()), "All is well");
    assert_eq!(headline(&troubled()), "5 things are wrong, and 5 to look at");
    let mut quiet = healthy();
    quiet.undelivered = 1;
    assert_eq!(headline(&quiet), "1 thing to look at");
    quiet.ticked = quiet.started;
    assert_eq!(headline(&quiet), "1 thing is wrong, and 1 to look at");
}

#[test]
fn whatever_is_not_ready_is_said_on_the_page() {
    let page = words(&front(&troubled()));
    for reason in backup::page::ready(&troubled()).reasons {
        let (_, what) = reason.split_once(": ").expect("about: what");
        assert!(page.contains(what), "{what}");
    }
    assert_eq!(backup::page::ready(&troubled()).reasons.len(), 2);
}

#[test]
fn nobody_is_offered_what_needs_a_token_where_none_is_configured() {
    let mut view = healthy();
    view.may_sign_in = false;
    let page = front(&view);
    assert!(!page.contains("<form") && !page.contains("/browse/"));
    assert_eq!(front(&healthy()).matches("<form").count(), 2, "one for each job that does not run");
    assert!(front(&healthy()).contains("/browse/"));
}

#[test]
fn addresses_lead_to_this_daemon_and_nowhere_else() {
    for page in [front(&troubled()), folder(&troubled(), &systems::folder()), sign_in(&empty(), "/browse/", false)] {
        for attribute in ["href", "action", "src", "formaction"] {
            for value in values(&page, attribute) {
                let is_ours = value.starts_with('#') || (value.starts_with('/') && !value.starts_with("//"));
                assert!(is_ours || value.starts_with("data:image/svg+xml,"), "{attribute}={value}");
            }
        }
        for tag in page.split('<').skip(1) {
            // what is between quotes is a value
            let bare: String = tag.split('>').next().expect("a tag").split('"').step_by(2).collect();
            assert!(!bare.starts_with("script") && !bare.contains(" on") && !bare.contains(" style="), "{tag}");
        }
    }
}

#[test]
fn a_link_in_a_folder_leads_to_the_bytes_of_the_name() {
    let view = systems::folder();
    let page = folder(&healthy(), &view);
    let mut linked: Vec<EntryPath> = Vec::new();
    for value in values(&page, "href").into_iter().filter(|value| value.contains("?path=")) {
        let (_, query) = value.split_once('?').expect("a query");
        linked.push(path_of_query(query).expect("a path"));
    }
    for entry in &view.entries {
        let leads = matches!(entry.kind, Some(backup::domain::Kind::File | backup::domain::Kind::Folder));
        assert_eq!(linked.contains(&entry.path), leads, "{:?}", entry.path);
    }
}

#[test]
fn a_hundred_jobs_with_a_year_of_runs_fit_on_a_page_that_loads() {
    let mut view = healthy();
    let upload = view.jobs.pop().expect("a job");
    view.jobs = (0..100)
        .map(|number| {
            let mut job = upload.clone();
            job.name = format!("job{number}").parse::<JobName>().expect("a name");
            job
        })
        .collect();
    let page = front(&view);
    assert!(page.len() < 12_000_000, "{}", page.len());
    assert_eq!(page.matches("<summary>Details").count(), 100, "those that are well are folded");
}

/// Puts `text` wherever the world can put text.
fn poisoned(text: &str) -> (View, FolderView) {
    let mut view = troubled();
    (view.instance, view.tool) = (text.to_owned(), text.to_owned());
    (view.stores[0].name, view.stores[0].path) = (text.to_owned(), text.to_owned());
    view.stores[0].trouble = Some(text.to_owned());
    view.config_refused = Some(text.to_owned());
    (view.silent_channels[0].name, view.silent_channels[0].why) = (text.to_owned(), text.to_owned());
    for job in &mut view.jobs {
        job.store = text.to_owned();
        (job.sources, job.schedules) = (vec![text.to_owned()], vec![text.to_owned()]);
        job.runs[100].why = Some(text.to_owned());
        job.snapshots[0].damage = Some(text.to_owned());
        job.snapshots[1].kept_for = vec![text.to_owned()];
        let last = job.last.as_mut().expect("a run");
        (last.doubts, last.notices) = (vec![text.to_owned()], vec![text.to_owned()]);
        last.host = backup::domain::Host(text.to_owned());
        last.failure = Some(backup::domain::Trouble {
            what: text.to_owned(),
            causes: vec![text.to_owned()],
            advice: text.to_owned(),
        });
        for skip in &mut last.skips {
            (skip.path, skip.path_hex, skip.why) = (Some(text.to_owned()), None, text.to_owned());
        }
    }
    let mut listed = systems::folder();
    for entry in &mut listed.entries {
        (entry.target, entry.skipped) = (Some(text.as_bytes().to_vec()), Some(text.to_owned()));
    }
    (view, listed)
}

/// Every tag of a page with the names of its attributes, without their values.
fn shape(page: &str) -> Vec<String> {
    let bare: String = page.split('"').step_by(2).collect::<Vec<_>>().join("\"");
    bare.split('<').skip(1).map(|tag| tag.split('>').next().expect("a tag").to_owned()).collect()
}

#[test]
fn names_that_mean_harm_are_shown_and_change_nothing() {
    let (view, listed) = poisoned(HOSTILE);
    let (plain, plainly) = poisoned("harmless");
    for (page, same) in [
        (front(&view), front(&plain)),
        (folder(&view, &listed), folder(&plain, &plainly)),
        (answer(&view, HOSTILE, HOSTILE), answer(&plain, "harmless", "harmless")),
        (sign_in(&view, HOSTILE, false), sign_in(&plain, "harmless", false)),
    ] {
        assert_eq!(shape(&page), shape(&same), "a name became markup");
        assert!(words(&page).contains("<script>alert(1)</script>\"'&\\u{1b}[31m\\u{202e}gpj.exe"));
        assert!(!page.contains('\u{202e}') && !page.contains('\u{1b}'));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_text_from_outside_changes_the_shape_of_a_page(text in "[^`]{1,40}|[<>\"'&/=]{1,12}") {
        let ((view, listed), (plain, plainly)) = (poisoned(&text), poisoned("harmless"));
        for (page, same) in [(front(&view), front(&plain)), (folder(&view, &listed), folder(&plain, &plainly))] {
            prop_assert_eq!(shape(&page), shape(&same));
            prop_assert!(!page.chars().any(|c| c.is_control() && c != '\n'));
        }
    }
}
