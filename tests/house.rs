//! The floors of the house, checked.
//!
//! The drawing stands at the top of `src/lib.rs` and again in `ARCHITECTURE.md`; this test reads it from there, so
//! that there is no third copy to drift. A room may use rooms on lower floors and no others. The rules are crude on
//! purpose: text, not a parser; what they cannot read they refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines with lower floors last, as drawn: room → floor.
fn drawing(text: &str) -> BTreeMap<String, usize> {
    let mut rooms = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim_start_matches("//!").trim();
        let Some((number, names)) = line.split_once("  ") else { continue };
        let Ok(floor) = number.parse::<usize>() else { continue };
        for name in names.split_whitespace() {
            assert!(rooms.insert(name.to_owned(), floor).is_none(), "`{name}` is drawn twice");
        }
    }
    rooms
}

/// The first fenced block after which the drawing begins.
fn fenced(text: &str) -> &str {
    let start = text.find("```text").expect("a drawing in a ```text fence") + "```text".len();
    let len = text[start..].find("```").expect("the fence is closed");
    &text[start..start + len]
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("read a folder of the source") {
        let path = entry.expect("read a folder of the source").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// `src/engine/merge.rs` → `engine`; none for `lib.rs` and `main.rs`.
fn room_of(file: &Path) -> Option<String> {
    let first = file.strip_prefix("src").ok()?.iter().next()?.to_str()?;
    let room = first.trim_end_matches(".rs");
    (!["lib", "main"].contains(&room)).then(|| room.to_owned())
}

/// What a line complains of, if anything: the rooms it names that `room` may not see, and paths we refuse to read.
fn complaints_of(room: &str, line: &str, floors: &BTreeMap<String, usize>) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let mut complaints = Vec::new();
    if code.contains("super::super::super") {
        complaints.push("climbs out of its room with `super::super::super`; write `crate::…`".to_owned());
    }
    for start in ["crate::", "backup::"] {
        for rest in code.split(start).skip(1) {
            let used: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            match (floors.get(room), floors.get(&used)) {
                (_, None) => complaints.push(format!("`{start}{used}` names no room; write whole paths")),
                (Some(own), Some(other)) if used != room && own <= other => {
                    complaints.push(format!("may not look up at `{used}`; move the shared type down, or the caller up"))
                }
                _ => {}
            }
        }
    }
    complaints
}

fn house() -> BTreeMap<String, usize> {
    drawing(fenced(&fs::read_to_string("src/lib.rs").expect("read src/lib.rs")))
}

#[test]
fn rooms_only_look_down() {
    let floors = house();
    let mut complaints = Vec::new();
    for file in rust_files(Path::new("src")) {
        let Some(room) = room_of(&file) else { continue };
        for (number, line) in fs::read_to_string(&file).expect("read a source file").lines().enumerate() {
            for complaint in complaints_of(&room, line, &floors) {
                complaints.push(format!("{}:{}: `{room}` {complaint}", file.display(), number + 1));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_guard_itself_notices_an_upward_and_a_sideways_look() {
    let floors = drawing("2  edge  rim\n1  middle\n0  ground");
    let looks = |room: &str, line: &str| complaints_of(room, line, &floors).len();
    assert_eq!(looks("edge", "use crate::middle::Thing;"), 0);
    assert_eq!(looks("edge", "use crate::edge::Thing;"), 0);
    assert_eq!(looks("edge", "use crate::rim::Thing;"), 1, "sideways");
    assert_eq!(looks("ground", "let x = crate::middle::f(crate::edge::g());"), 2, "up, twice");
    assert_eq!(looks("middle", "use crate::{edge, ground};"), 1, "grouped");
    assert_eq!(looks("middle", "use crate::*;"), 1, "glob");
    assert_eq!(looks("middle", "// crate::edge is above"), 0, "a comment");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<PathBuf> = ["src", "tests", "benches"]
        .iter()
        .filter(|folder| Path::new(folder).is_dir())
        .flat_map(|folder| rust_files(Path::new(folder)))
        .filter(|file| !fs::read_to_string(file).expect("read a source file").starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "these files open without a //! header: {silent:#?}");
}

#[test]
fn the_drawing_and_the_house_agree() {
    let drawn: BTreeSet<String> = house().into_keys().collect();
    let built: BTreeSet<String> = rust_files(Path::new("src")).iter().filter_map(|file| room_of(file)).collect();
    assert_eq!(drawn, built);
}

#[test]
fn the_drawing_in_architecture_md_is_the_same() {
    let text = fs::read_to_string("ARCHITECTURE.md").expect("read ARCHITECTURE.md");
    assert_eq!(drawing(fenced(&text)), house());
}

#[test]
fn no_room_is_called_utils() {
    let vague = ["utils", "util", "misc", "common", "helpers", "helper", "imp"];
    let found: Vec<PathBuf> = rust_files(Path::new("src"))
        .into_iter()
        .filter(|file| file.iter().any(|part| vague.contains(&part.to_str().unwrap_or("").trim_end_matches(".rs"))))
        .collect();
    assert!(found.is_empty(), "find the thing's name; it has one: {found:?}");
}
