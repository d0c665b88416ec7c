//! `RESTORE.txt`: how to restore this very snapshot without this program.
//!
//! For somebody who has never heard of it, years from now, at 3 a.m. The indented lines are commands; a test runs
//! them as they stand.

use crate::archive::Codec;
use crate::catalog::record::{Record, VolumeRecord};

/// The text for the snapshot that `record` describes.
pub fn restore_guide(record: &Record) -> String {
    // a line feed in a name would begin a line of the sender's choice
    let sources = record.made_of().replace(char::is_control, "?");
    let totals = &record.totals;
    let mut text = format!(
        "This folder is a complete snapshot of {sources}\n\
         on {host}, begun {started}. It holds {entries} entries with {content} of content.\n",
        host = record.host,
        started = record.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        entries = totals.entries,
        content = totals.content_bytes,
    );
    if record.skipped > 0 || !record.doubts.is_empty() {
        text.push_str(&format!(
            "\nIt is PARTIAL: {} entries of the source are missing or changed while they were read. They are\n\
             the lines with \"skipped\" in {}: zstd -dc {} | grep '\"skipped\"'\n",
            record.skipped, record.manifest.name, record.manifest.name
        ));
        for doubt in &record.doubts {
            text.push_str(&format!("Also: {doubt}.\n"));
        }
    }
    text.push_str(
        "\nEvery volume is an ordinary tar file. To restore with ordinary tools (GNU tar, zstd or gzip, coreutils),\n\
         open a shell in this folder and run:\n\n    \
         sha256sum -c SHA256SUMS\n    \
         TO=/path/to/an/empty/folder\n    \
         mkdir -p \"$TO\"\n",
    );
    if record.volumes.iter().any(|volume| volume.stale.is_some()) {
        text.push_str("    export LC_ALL=C\n");
    }
    let is_one_stream = |one: &VolumeRecord, next: &VolumeRecord| {
        one.written_by == next.written_by && one.codec.ending() == next.codec.ending()
    };
    for volumes in record.volumes.chunk_by(is_one_stream) {
        text.push_str(&unpack(volumes));
    }
    if record.volumes.len() > 1 {
        text.push_str(
            "\nIn this order: the newest volume holds every folder, and gives all of them their times. A `.stale` list\n\
             names what this snapshot does not use of a volume that it shares with earlier ones.\n",
        );
    }
    text.push_str(
        "\nAs root this gives back owners, modes, times, links, holes and extended attributes (ACLs and\n\
         capabilities among them). As an ordinary user leave out `--xattrs --xattrs-include='*'` and `p`.\n\
         Owners are restored by name where this machine knows the name; add --numeric-owner for the numbers.\n\
         One file or folder only: add its name, as it stands in the manifest, at the end of each tar command; those\n\
         that do not hold it say \"Not found in archive\".\n",
    );
    text
}

/// The command that unpacks the volumes of one run. They are one stream, so that folders which begin in one and go on in
/// the next get their times when all is there.
fn unpack(volumes: &[VolumeRecord]) -> String {
    let [first, rest @ ..] = volumes else { return String::new() };
    let mut command = String::from("    ");
    if !rest.is_empty() {
        let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
        command.push_str(&format!("cat {} | ", names.join(" ")));
    }
    command.push_str(match first.codec {
        Codec::Zstd { .. } => "tar --zstd ",
        Codec::Gzip { .. } => "tar --gzip ",
        Codec::None => "tar ",
    });
    let stale: Vec<String> =
        volumes.iter().filter_map(|volume| Some(format!("-X {} ", volume.stale.as_ref()?.name))).collect();
    if !stale.is_empty() {
        command.push_str("--anchored --wildcards --no-recursion ");
        command.push_str(&stale.concat());
        // what was said of the lists holds for names that are added at the end as well
        command.push_str("--recursion --no-wildcards ");
    }
    if !rest.is_empty() {
        command.push_str("--ignore-zeros --delay-directory-restore ");
    }
    let from = if rest.is_empty() { first.name.as_str() } else { "-" };
    command.push_str(&format!("--xattrs --xattrs-include='*' -xpf {from} -C \"$TO\"\n"));
    command
}
