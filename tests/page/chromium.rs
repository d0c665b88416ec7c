//! The page in a real browser: nothing overflows, nothing is loaded, nothing complains, everything can be read.
//!
//! With `LOOK=FOLDER` the pictures are kept there for somebody to look at (`tests/page/look.sh`).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use backup::page::{answer, folder, front, security_headers, sign_in};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::systems::{self, empty, healthy, troubled};

/// The pages there are, by their names here.
fn pages() -> Vec<(&'static str, String)> {
    vec![
        ("empty", front(&empty())),
        ("healthy", front(&healthy())),
        ("troubled", front(&troubled())),
        ("folder", folder(&healthy(), &systems::folder())),
        ("door", sign_in(&healthy(), "/browse/upload-20261121T010000Z?path=", true)),
        ("answer", answer(&healthy(), "The run was started", "upload runs now.")),
    ]
}

/// Serves the pages at `/NAME` with the headers they are meant to have, until the process ends.
fn served() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // a browser opens connections it does not use: none may keep the others waiting
            std::thread::spawn(move || serve(stream.expect("a connection")));
        }
    });
    format!("http://{address}")
}

fn serve(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let wanted = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let found = pages().into_iter().find(|(name, _)| *name == wanted);
    let (status, page) = found.map_or(("404 Not Found", String::new()), |(_, page)| ("200 OK", page));
    let headers: String = security_headers().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", page.len());
    // a browser may go away in the middle
    let _ = stream.write_all((head + &page).as_bytes());
}

/// Texts that are too faint by WCAG's rule (4.5 to 1, large ones 3 to 1).
const FAINT: &str = r"(() => {
  const channel = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = text => (text.match(/[\d.]+/g) || []).map(Number);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const [r, g, b, a = 1] = numbers(getComputedStyle(node).backgroundColor);
      if (a > 0.99) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
    if (!own || node.closest('title') || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const ink = numbers(node.namespaceURI.includes('svg') ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(node))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)} ${node.tagName}.${node.className} ${node.textContent.slice(0, 40)}`);
  }
  return [...new Set(faint)];
})()";

/// What sticks out of the window or out of its box, or lies over its neighbour.
const ASTRAY: &str = r"(() => {
  const astray = [], wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) astray.push(`the page is ${document.documentElement.scrollWidth} wide in ${wide}`);
  for (const node of document.querySelectorAll('main *, header *, footer *')) {
    if (node.closest('svg') || node.closest('thead') || !node.getClientRects().length) continue;
    const box = node.getBoundingClientRect();
    if (box.right > wide + 0.5 || box.left < -0.5) astray.push(`${node.tagName}.${node.className} ends at ${box.right}`);
    if (node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).display !== 'inline') astray.push(`${node.tagName}.${node.className} holds ${node.scrollWidth} in ${node.clientWidth}`);
  }
  for (const row of document.querySelectorAll('tr, .top, footer, figcaption, .axis, .facts > div')) {
    const boxes = [...row.children].map(child => child.getBoundingClientRect()).filter(box => box.width && box.height);
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach(b => {
      if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1) astray.push(`overlap in ${row.tagName}.${row.className}: ${row.textContent.slice(0, 50)}`);
    }));
  }
  return [...new Set(astray)];
})()";

/// Whether everything that can be reached by the keyboard shows that it was, and the first is the way to the content.
const REACHED: &str = r"(() => {
  const bare = [];
  const nodes = [...document.querySelectorAll('a[href], summary, button, input:not([type=hidden])')].filter(node => node.getClientRects().length);
  for (const node of nodes) {
    if (node.tabIndex < 0) bare.push(`${node.outerHTML.slice(0, 80)} cannot be reached`);
    if (!node.textContent.trim() && !node.labels?.length && !node.getAttribute('aria-label')) bare.push(`${node.outerHTML.slice(0, 80)} has no name`);
  }
  if (!nodes[0].matches('.skip') || !document.querySelector(nodes[0].getAttribute('href'))) bare.push('the first is no way to the content');
  if (document.querySelectorAll('h1').length !== 1 || document.querySelectorAll('main, header, footer').length !== 3) bare.push('landmarks');
  const ids = [...document.querySelectorAll('[id]')].map(node => node.id);
  if (new Set(ids).size !== ids.length) bare.push('an id comes twice');
  for (const node of document.querySelectorAll('[aria-labelledby], [for], [aria-describedby]')) {
    const id = node.getAttribute('aria-labelledby') || node.getAttribute('for') || node.getAttribute('aria-describedby');
    if (!document.getElementById(id)) bare.push(`nothing is called ${id}`);
  }
  return bare;
})()";

#[test]
fn the_page_in_a_real_browser_is_whole_silent_and_legible() {
    let Some(mut browser) = Browser::open() else {
        println!("SKIPPED: there is no Chromium (Debian's package `chromium`)");
        return;
    };
    let kept = std::env::var_os("LOOK");
    let (host, mut flaws) = (served(), Vec::new());
    for (name, _) in pages() {
        for (width, scheme) in [(1280, "light"), (390, "light"), (1280, "dark"), (390, "dark")] {
            browser.size(width, scheme);
            browser.go(&format!("{host}/{name}"));
            let mut found: Vec<String> = browser.complaints();
            let foreign =
                browser.requests().into_iter().filter(|url| !url.starts_with(&host) && !url.starts_with("data:"));
            found.extend(foreign.map(|url| format!("asked for {url}")));
            assert!(browser.requests().contains(&format!("{host}/{name}")), "requests are seen");
            if let Some(kept) = &kept {
                keep(&Path::new(kept).join(format!("{name}-{width}-{scheme}.png")), &browser.picture());
            }
            // what is folded must hold together too
            browser.value("document.querySelectorAll('details').forEach(each => each.open = true)");
            for check in [FAINT, ASTRAY, REACHED] {
                let Value::Array(answer) = browser.value(check) else { panic!("{check}") };
                found.extend(answer.iter().map(ToString::to_string));
            }
            if let Some(kept) = &kept {
                keep(&Path::new(kept).join(format!("{name}-{width}-{scheme}-open.png")), &browser.picture());
            }
            flaws.extend(found.into_iter().map(|flaw| format!("{name} at {width}, {scheme}: {flaw}")));
        }
    }
    assert!(flaws.is_empty(), "\n{}\n", flaws.join("\n"));
}

#[test]
fn the_policy_would_stop_what_got_through_all_the_same() {
    let Some(mut browser) = Browser::open() else {
        println!("SKIPPED: there is no Chromium (Debian's package `chromium`)");
        return;
    };
    browser.go(&format!("{}/healthy", served()));
    let harm = "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\"><p id=p style=\"color:red\">x</p>');\
                const script = document.createElement('script'); script.textContent = 'window.ran = 2'; document.body.append(script);\
                const image = new Image(); const done = new Promise(end => image.onerror = image.onload = end);\
                image.src = '/answer'; document.body.append(image);\
                done.then(() => [String(window.ran), document.getElementById('p').style.color])";
    assert_eq!(browser.value(harm), json!(["undefined", ""]));
    assert!(
        browser.complaints().iter().any(|complaint| complaint.contains("Content Security Policy")),
        "complaints are seen"
    );
}

fn keep(path: &Path, picture: &str) {
    let mut bytes = Vec::new();
    let (mut word, mut bits) = (0_u32, 0);
    for c in picture.bytes() {
        let digit = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        (word, bits) = (word << 6 | u32::from(digit), bits + 6);
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits & 0xff) as u8);
        }
    }
    fs::write(path, bytes).expect("written");
}
