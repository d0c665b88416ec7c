//! What every store must do, as a suite that any store runs: a new one, and each coat around one.
//!
//! Each case is a sentence. A case gets an empty folder of its own and says why it failed. No suite, no store.

use std::io::IoSliceMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Key, ListedKind, Store, StoreError};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The sentence.
    pub case: &'static str,
    /// What happened instead.
    pub why: String,
}

type Case = (&'static str, fn(&Arc<dyn Store>, &Key) -> Result<(), String>);

const CASES: &[Case] = &[
    ("what is written is read, at every length and offset", written_is_read),
    ("a name is created once", created_once),
    ("of many that create one name at once exactly one does", one_creator),
    ("many files are written at once", many_at_once),
    ("a read beyond the end is told, never padded", short_reads),
    ("a folder is published whole and its old name is gone", published),
    ("nothing is published over what is there", not_over),
    ("a listing while others write never invents, repeats or loses a name", listed_while_written),
    ("an open file that is removed is read as it was, or not at all", removed_while_read),
    ("names of every allowed kind and length are names", names),
    ("a link is the same file under another name, or refused", linked),
    ("a copy is another file with the same content, and never goes over a name", copied),
    ("a file is moved, and never over another", moved),
    ("what is not there is not there, and is removed without complaint", absent),
    ("a folder is removed with all that is in it", folder_removed),
    ("touching a file or a folder takes its time forward to the store's now", touched),
    ("a writer that is dropped is no finished file of another length", dropped),
    ("the store is still itself, and knows its room", itself),
];

/// Runs every case in an empty folder of its own and gives the promises that were not kept.
pub fn check(store: &Arc<dyn Store>) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (number, (case, run)) in CASES.iter().enumerate() {
        let folder = key(&Key::top(), &format!("case-{number}"));
        let result = store.create_folder(&folder).map_err(told).and_then(|()| run(store, &folder));
        if let Err(why) = result {
            failures.push(Failure { case, why });
        }
    }
    failures
}

/// How many cases there are.
pub fn count() -> usize {
    CASES.len()
}

fn key(folder: &Key, name: &str) -> Key {
    folder.join(name).expect("the suite's names are names")
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn told(error: StoreError) -> String {
    let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
    format!("{error}{cause}")
}

fn put(store: &Arc<dyn Store>, file: &Key, bytes: &[u8]) -> Result<(), StoreError> {
    let mut writer = store.create(file)?;
    writer.write(&[bytes])?;
    writer.finish()
}

fn get(store: &Arc<dyn Store>, file: &Key) -> Result<Vec<u8>, StoreError> {
    let reader = store.open(file)?;
    let mut bytes = vec![0; reader.len() as usize];
    reader.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 % 251) as u8).collect()
}

fn ensure(holds: bool, why: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.into()) }
}

fn written_is_read(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    for len in [0, 1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1] {
        let (file, bytes) = (key(folder, &format!("f{len}")), sample(len));
        let mut writer = store.create(&file).map_err(told)?;
        // in several calls; and more pieces in the last than any kernel takes at once, some of them empty
        let (first, last) = bytes.split_at(len / 10);
        for part in first.chunks(10_000) {
            writer.write(&[part]).map_err(told)?;
        }
        let pieces: Vec<&[u8]> = last.chunks(500).flat_map(|piece| [piece, &[]]).collect();
        writer.write(&pieces).map_err(told)?;
        ensure(writer.written() == len as u64, "the writer miscounts")?;
        writer.finish().map_err(told)?;
        let reader = store.open(&file).map_err(told)?;
        ensure(reader.len() == len as u64, format!("{len} bytes became {}", reader.len()))?;
        for offset in [0, 1, len / 2, len.saturating_sub(1), len] {
            let mut back = vec![0; (len - offset.min(len)).min(5000)];
            reader.read_at(offset.min(len) as u64, &mut back).map_err(told)?;
            ensure(back == bytes[offset.min(len)..][..back.len()], format!("other bytes at {offset} of {len}"))?;
        }
        // as more pieces than any kernel takes at once, some of them empty
        let mut back = vec![0; len];
        let two = |piece| [IoSliceMut::new(piece), IoSliceMut::new(&mut [])];
        let mut pieces: Vec<IoSliceMut<'_>> = back.chunks_mut(500).flat_map(two).collect();
        reader.read_pieces_at(0, &mut pieces).map_err(told)?;
        ensure(back == bytes, format!("other bytes in pieces of {len}"))?;
    }
    Ok(())
}

fn created_once(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let (file, inner) = (key(folder, "file"), key(folder, "folder"));
    put(store, &file, b"first").map_err(told)?;
    store.create_folder(&inner).map_err(told)?;
    for name in [&file, &inner] {
        ensure(matches!(store.create(name), Err(StoreError::AlreadyThere { .. })), "a file over it")?;
        ensure(matches!(store.create_folder(name), Err(StoreError::AlreadyThere { .. })), "a folder over it")?;
    }
    ensure(get(store, &file).map_err(told)? == b"first", "the first one's bytes are gone")
}

fn one_creator(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    const RACERS: usize = 8;
    const RACES: usize = 100;
    for race in 0..RACES {
        let (file, won) = (key(folder, &format!("race-{race}")), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..RACERS {
                scope.spawn(|| won.fetch_add(usize::from(store.create(&file).is_ok()), Ordering::Relaxed));
            }
        });
        let won = won.load(Ordering::Relaxed);
        ensure(won == 1, format!("{won} of {RACERS} created one name"))?;
    }
    Ok(())
}

fn many_at_once(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..20 {
            let (failed, file) = (&failed, key(folder, &format!("f{number}")));
            scope.spawn(move || {
                failed.fetch_add(usize::from(put(store, &file, &sample(number * 5000)).is_err()), Ordering::Relaxed)
            });
        }
    });
    ensure(failed.load(Ordering::Relaxed) == 0, "a writer failed")?;
    for number in 0..20 {
        let back = get(store, &key(folder, &format!("f{number}"))).map_err(told)?;
        ensure(back == sample(number * 5000), "bytes of another writer")?;
    }
    Ok(())
}

fn short_reads(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let file = key(folder, "file");
    put(store, &file, &sample(1000)).map_err(told)?;
    let reader = store.open(&file).map_err(told)?;
    for (offset, len) in [(0, 1001), (999, 2), (1000, 1), (5000, 1)] {
        let read = reader.read_at(offset, &mut vec![0; len]);
        ensure(matches!(read, Err(StoreError::Short { .. })), format!("{len} bytes at {offset} of 1000"))?;
        let (mut one, mut other) = (vec![0; len - 1], [0]);
        let read = reader.read_pieces_at(offset, &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)]);
        ensure(matches!(read, Err(StoreError::Short { .. })), format!("{len} bytes in pieces at {offset} of 1000"))?;
    }
    Ok(())
}

fn published(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let (draft, name) = (key(folder, ".draft"), key(folder, "name"));
    store.create_folder(&draft).map_err(told)?;
    put(store, &key(&draft, "file"), b"content").map_err(told)?;
    store.sync_folder(&draft).map_err(told)?;
    store.publish(&draft, &name).map_err(told)?;
    store.sync_folder(folder).map_err(told)?;
    ensure(store.stat(&draft).map_err(told)?.is_none(), "the old name is still there")?;
    ensure(get(store, &key(&name, "file")).map_err(told)? == b"content", "its file is another")?;
    ensure(store.publish(&draft, &key(folder, "again")).is_err(), "what is not there was published")
}

fn not_over(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let (draft, taken) = (key(folder, ".draft"), key(folder, "taken"));
    for one in [&draft, &taken] {
        store.create_folder(one).map_err(told)?;
        put(store, &key(one, "file"), one.name().as_bytes()).map_err(told)?;
    }
    let refused = matches!(store.publish(&draft, &taken), Err(StoreError::AlreadyThere { .. }));
    ensure(refused, "it was published over another")?;
    for one in [&draft, &taken] {
        ensure(get(store, &key(one, "file")).map_err(told)? == one.name().as_bytes(), "one of the two was harmed")?;
    }
    Ok(())
}

fn listed_while_written(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    for number in 0..50 {
        put(store, &key(folder, &format!("old-{number}")), b"x").map_err(told)?;
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let result = (0..200).try_for_each(|number| put(store, &key(folder, &format!("new-{number}")), b"y"));
            done.store(true, Ordering::SeqCst);
            result
        });
        let mut checked = Ok(());
        while checked.is_ok() && !done.load(Ordering::SeqCst) {
            checked = store.list(folder).map_err(told).and_then(|listed| {
                let mut names: Vec<String> = listed.into_iter().map(|one| one.name).collect();
                names.sort();
                let all = names.len();
                names.dedup();
                ensure(names.len() == all, "a name came twice")?;
                ensure(names.iter().filter(|name| name.starts_with("old-")).count() == 50, "an old name was lost")?;
                ensure(names.iter().all(|n| n.starts_with("old-") || n.starts_with("new-")), "a name was invented")
            });
        }
        writer.join().map_err(|_| "the writer panicked".to_owned())?.map_err(told)?;
        checked
    })?;
    ensure(store.list(folder).map_err(told)?.len() == 250, "a name was lost")
}

fn removed_while_read(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let (file, bytes) = (key(folder, "file"), sample(300_000));
    put(store, &file, &bytes).map_err(told)?;
    let reader = store.open(&file).map_err(told)?;
    store.remove(&file).map_err(told)?;
    let mut back = vec![0; bytes.len()];
    match reader.read_at(0, &mut back) {
        Ok(()) => ensure(back == bytes, "other bytes were read"),
        Err(_) => Ok(()),
    }
}

fn names(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    for name in [".hidden", "-dash", "a.b_c-D.9", &"x".repeat(143), "..."] {
        let file = key(folder, name);
        put(store, &file, name.as_bytes()).map_err(told)?;
        ensure(get(store, &file).map_err(told)? == name.as_bytes(), name)?;
        let listed = store.list(folder).map_err(told)?;
        ensure(listed.iter().any(|one| one.name == name && one.kind == ListedKind::File), "it is not listed")?;
    }
    Ok(())
}

fn linked(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let (one, other) = (key(folder, "one"), key(folder, "other"));
    put(store, &one, b"content").map_err(told)?;
    match store.link(&one, &other) {
        Err(StoreError::LinkRefused { .. }) => return Ok(()),
        result => result.map_err(told)?,
    }
    ensure(matches!(store.link(&one, &other), Err(StoreError::AlreadyThere { .. })), "a link over a name")?;
    ensure(store.stat(&other).map_err(told)?.is_some_and(|listed| listed.links == 2), "it has not two names")?;
    store.remove(&one).map_err(told)?;
    ensure(get(store, &other).map_err(told)? == b"content", "it went with its other name")
}

fn copied(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let (one, other, empty) = (key(folder, "one"), key(folder, "other"), key(folder, "empty"));
    let content: Vec<u8> = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
    put(store, &one, &content).map_err(told)?;
    put(store, &empty, b"").map_err(told)?;
    let mut sum = 0;
    store.copy(&one, &other, &mut |bytes| sum += bytes.0).map_err(told)?;
    ensure(sum == content.len() as u64, "it did not tell all that was copied")?;
    let over = store.copy(&empty, &other, &mut |_| ());
    ensure(matches!(over, Err(StoreError::AlreadyThere { .. })), "it went over a name")?;
    ensure(
        store.copy(&key(folder, "none"), &key(folder, "new"), &mut |_| ()).is_err(),
        "what is not there was copied",
    )?;
    store.copy(&empty, &key(folder, "empty-too"), &mut |_| ()).map_err(told)?;
    store.remove(&one).map_err(told)?;
    ensure(get(store, &other).map_err(told)? == content, "it is not what was copied")?;
    ensure(get(store, &key(folder, "empty-too")).map_err(told)?.is_empty(), "nothing became something")
}

fn moved(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let (one, other, third) = (key(folder, "one"), key(folder, "other"), key(folder, "third"));
    put(store, &one, b"one").map_err(told)?;
    put(store, &other, b"other").map_err(told)?;
    ensure(matches!(store.rename(&one, &other), Err(StoreError::AlreadyThere { .. })), "it went over another")?;
    ensure(get(store, &other).map_err(told)? == b"other", "the other was harmed")?;
    store.rename(&one, &third).map_err(told)?;
    ensure(store.stat(&one).map_err(told)?.is_none(), "its old name is still there")?;
    ensure(get(store, &third).map_err(told)? == b"one", "its bytes are others")
}

fn absent(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let (file, deep) = (key(folder, "file"), key(&key(folder, "no"), "where"));
    for name in [&file, &deep] {
        ensure(store.stat(name).map_err(told)?.is_none(), "it is seen")?;
        ensure(matches!(store.open(name), Err(StoreError::NotThere { .. })), "it is opened")?;
        ensure(matches!(store.list(name), Err(StoreError::NotThere { .. })), "it is listed")?;
        store.remove(name).map_err(told)?;
        store.remove_folder(name).map_err(told)?;
    }
    ensure(store.create(&deep).is_err(), "a file without a folder")
}

fn folder_removed(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let top = key(folder, "top");
    let inner = key(&top, "inner");
    store.create_folder(&top).map_err(told)?;
    store.create_folder(&inner).map_err(told)?;
    for number in 0..100 {
        put(store, &key(if number % 2 == 0 { &top } else { &inner }, &format!("f{number}")), b"x").map_err(told)?;
    }
    store.remove_folder(&top).map_err(told)?;
    ensure(store.stat(&top).map_err(told)?.is_none(), "it is still there")?;
    store.remove_folder(&top).map_err(told)
}

fn touched(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let (file, inner) = (key(folder, "file"), key(folder, "folder"));
    put(store, &file, b"x").map_err(told)?;
    store.create_folder(&inner).map_err(told)?;
    for touched in [&file, &inner] {
        let modified =
            || store.stat(touched).map_err(told)?.map(|listed| listed.modified).ok_or("it is gone".to_owned());
        let before = modified()?;
        let now = store.now().map_err(told)?;
        store.touch(touched).map_err(told)?;
        let after = modified()?;
        ensure(before <= after, "its time went back")?;
        // both are stamped by the store, within moments; a server's clock may be coarse
        let apart = after.duration_since(now).as_secs().abs();
        ensure(apart < 60, format!("touching and asking the time differ by {apart} s"))?;
    }
    Ok(())
}

fn dropped(store: &Arc<dyn Store>, folder: &Key) -> Result<(), String> {
    let file = key(folder, "file");
    let mut writer = store.create(&file).map_err(told)?;
    writer.write(&[&sample(5000)]).map_err(told)?;
    drop(writer);
    ensure(matches!(store.create(&file), Err(StoreError::AlreadyThere { .. })), "its name is free again by itself")?;
    store.remove(&file).map_err(told)
}

fn itself(store: &Arc<dyn Store>, _: &Key) -> Result<(), String> {
    store.check_identity().map_err(told)?;
    let room = store.room().map_err(told)?;
    ensure(room.free <= room.total && room.total.0 > 0, format!("{} free of {}", room.free, room.total))
}
