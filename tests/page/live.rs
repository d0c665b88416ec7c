//! The whole way in a real browser, with a real daemon behind it: the page, the token, a folder, a file, a run.

use std::fs;

use serde_json::json;

use crate::browser::Browser;
use crate::site::Site;
use crate::watch::{Daemon, TOKEN, until};

/// Types the token into the form that has it, and sends it as a person would.
fn give(browser: &mut Browser, form: &str, token: &str) {
    let send = format!(
        "(() => {{ const form = document.querySelector('{form}'); form.closest('details')?.setAttribute('open', '');\
         form.querySelector('input[name=token]').value = '{token}'; form.querySelector('button').click(); }})()"
    );
    browser.follow(&send);
}

fn headline(browser: &mut Browser) -> String {
    browser.value("document.querySelector('h1').textContent").as_str().expect("a headline").to_owned()
}

#[test]
fn in_a_real_browser_a_person_signs_in_browses_downloads_and_starts_a_run() {
    let Some(mut browser) = Browser::open() else {
        println!("SKIPPED: there is no Chromium (Debian's package `chromium`)");
        return;
    };
    let (site, name) = (Site::new(), "a <b>bold</b> \"name\" & +100%.csv".replace('/', "\u{2044}"));
    site.file(&format!("folder/{name}"), "day one");
    let daemon = Daemon::start(&site, "");
    daemon.run("upload");
    let host = format!("http://127.0.0.1:{}", daemon.port());
    browser.size(1280, "light");

    browser.go(&host);
    until("the snapshot is on the page", || {
        browser.go(&host);
        (browser.value("document.querySelectorAll('a[href^=\"/browse/\"]').length") == json!(1)).then_some(())
    });
    // the one thing that this machine may have to say of itself: that its disk is nearly full
    let store = daemon.status()["stores"][0].clone();
    let is_full = store["free"].as_u64().expect("room") < store["total"].as_u64().expect("room") / 10;
    assert_eq!(headline(&mut browser), if is_full { "1 thing to look at" } else { "All is well" });
    assert_eq!(browser.complaints(), [""; 0]);

    browser.follow("document.querySelector('a[href^=\"/browse/\"]').click()");
    assert_eq!(headline(&mut browser), "Who is there?");
    give(&mut browser, "form.token", "this-is-not-the-token");
    assert_eq!(headline(&mut browser), "Who is there?");
    assert_eq!(
        browser.value("document.querySelector('[role=alert]').textContent"),
        "That is not the token. Nothing was opened."
    );
    give(&mut browser, "form.token", TOKEN);
    assert!(headline(&mut browser).starts_with("upload-"), "{}", headline(&mut browser));
    browser.follow("[...document.querySelectorAll('th a')].find(link => link.textContent === 'folder/').click()");
    assert_eq!(headline(&mut browser), "folder");
    assert_eq!(browser.value("document.querySelector('tbody th').textContent"), json!(name));
    assert_eq!(browser.complaints(), [""; 0]);

    let to = tempfile::tempdir().expect("a folder");
    browser.ask("Browser.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": to.path()}));
    browser.value("document.querySelector('a[href^=\"/download/\"]').click()");
    let (saved, content) = until("the file is there", || {
        let entry = fs::read_dir(to.path()).expect("a folder").next()?.expect("an entry");
        let content = fs::read(entry.path()).ok().filter(|content| content.len() == 7)?;
        let name = entry.file_name().into_string().expect("UTF-8");
        (!name.ends_with(".crdownload")).then_some((name, content))
    });
    assert_eq!(content, b"day one");
    // what no file system takes in a name, a browser replaces
    assert!(saved.starts_with("a ") && saved.ends_with("+100%.csv") && saved.contains("bold"), "{saved}");

    // snapshots are told apart by the second
    browser.go(&host);
    give(&mut browser, "form[action=\"/jobs/upload/run\"]", "this-is-not-the-token");
    assert_eq!(headline(&mut browser), "That is not the token");
    browser.go(&host);
    give(&mut browser, "form[action=\"/jobs/upload/run\"]", TOKEN);
    assert_eq!(headline(&mut browser), "The run starts");
    until("the second snapshot", || (site.snapshots().len() == 2).then_some(()));
    daemon.stop_well();
    assert!(browser.requests().iter().all(|url| url.starts_with(&host) || url.starts_with("data:")));
}
