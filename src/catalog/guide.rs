//! `RESTORE.txt`: how to restore this very snapshot without this program.
//!
//! For somebody who has never heard of it, years from now, at 3 a.m. The indented lines are commands; a test runs
//! them as they stand.

use crate::archive::Codec;
use crate::catalog::record::Record;

/// The text for the snapshot that `record` describes.
pub fn restore_guide(record: &Record) -> String {
    let sources = record.sources.join(", ");
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
    for volume in &record.volumes {
        let flag = match volume.codec {
            Codec::Zstd { .. } => "--zstd ",
            Codec::Gzip { .. } => "--gzip ",
            Codec::None => "",
        };
        text.push_str(&format!(
            "    tar {flag}--xattrs --xattrs-include='*' -xpf {name} -C \"$TO\"\n",
            name = volume.name
        ));
    }
    text.push_str(
        "\nAs root this gives back owners, modes, times, links, holes and extended attributes (ACLs and\n\
         capabilities among them). As an ordinary user leave out `--xattrs --xattrs-include='*'` and `p`.\n\
         Owners are restored by name where this machine knows the name; add --numeric-owner for the numbers.\n\
         One file only: add its name, as it stands in the manifest, at the end of the tar command.\n",
    );
    text
}
