"""The jobs that `benches/peers` measures, the trees it measures each of them on, and the goal for each.

A goal is a value that comes out of the results and a limit for it. It holds at full scale only. Without a limit it
informs. Where a value may come of less than it should (a peer is not there, a job was left out), `parts` tells of what.
"""

import collections

DAYS = 30

JOBS = {
    "full": "First full run",
    "gzip": "First full run, gzip",
    "unchanged": "Nothing changed",
    "changed": "1 % of the files changed, at random",
    "added": "1 % added in one folder",
    "restore": "Restore everything",
    "file": "Restore one file",
    "verify": "Verify every stored byte",
    "space": f"Space after {DAYS} daily runs of 1 % change",
}
WHERE = {
    "uploads": ("full", "unchanged", "changed", "added", "restore", "file", "verify", "space"),
    "small": ("full", "unchanged", "changed", "added", "restore", "file", "verify"),
    "logs": ("full", "gzip"),
    "one": ("full",),
}

Goal = collections.namedtuple("Goal", "what value limit unit parts", defaults=(lambda results: ([], []),))


def goals():
    """Every target, with how its value comes out of the results; a value is None if something for it is missing."""
    all_of = ("restic", "borg", "rustic")
    out = []

    def wall(corpus, job, limit, *peers, ours="backup"):
        best = f"the best of {', '.join(peers)}" if len(peers) > 1 else peers[0]
        out.append(Goal(f"{JOBS[job]}, {corpus}: time beside {best}",
                        lambda r: r.wall_ratio(corpus, job, ours, peers), limit, "x",
                        lambda r: r.parted({peer: (corpus, job, peer) for peer in peers})))

    def other(what, corpus, job, limit, unit, value):
        out.append(Goal(f"{JOBS[job]}, {corpus}: {what}", value, limit, unit))

    for peer, limit in (("tar zstd", 0.5), ("restic", 0.2), ("borg", 0.2)):
        wall("uploads", "full", limit, peer)
    for peer, limit in (("tar zstd", 0.8), ("restic", 0.2), ("borg", 0.2), ("rustic", 0.2)):
        wall("small", "full", limit, peer)
    wall("logs", "full", 0.8, "tar zstd")
    wall("logs", "gzip", 0.4, "tar pigz", ours="backup gzip")
    wall("one", "full", 0.9, "tar zstd")
    for corpus in ("uploads", "small"):
        wall(corpus, "unchanged", 0.12, *all_of)
        other("bytes written beside the whole snapshot", corpus, "unchanged", 0.01, "x",
              lambda r, c=corpus: r.growth(c, "unchanged", lambda row: row.whole))
    wall("uploads", "unchanged", 1.0, "conserve")
    for job in ("changed", "added"):
        for corpus in ("uploads", "small"):
            wall(corpus, job, 0.2, *all_of)
            other("bytes written, less the manifest, beside the length of what changed", corpus, job, 1.3, "x",
                  lambda r, c=corpus, j=job: r.growth(c, j, lambda row: row.changed))
            other("bytes written, less the manifest, beside what changed as `tar \\| zstd -3`", corpus, job, None, "x",
                  lambda r, c=corpus, j=job: r.growth(c, j, lambda row: row.packed))
    for corpus, limit in (("uploads", 0.4), ("small", 0.55)):
        wall(corpus, "restore", limit, "tar zstd")
        wall(corpus, "restore", 0.25, "restic")
    for corpus, limit_ms in (("uploads", 30), ("small", 100)):
        wall(corpus, "file", 0.05, "restic")
        other("time", corpus, "file", limit_ms, "ms", lambda r, c=corpus: r.wall_ms(c, "file"))
    for corpus in ("uploads", "small"):
        wall(corpus, "verify", 0.3, "restic")
    other("stored beside borg", "uploads", "space", 1.15, "x", lambda r: r.space_ratio())
    out.append(Goal("Most memory in any job, small", lambda r: r.memory_mib("small"), 100, "MiB",
                    lambda r: r.parted({job: ("small", job, "backup") for job in WHERE["small"]})))
    return out


ELSEWHERE = (
    ("Memory at 10,000,000 entries, and time a straight line from 10^5 to 10^7", "`benches/entries.sh --image`: benches/README.md"),
    ("A second run on real NFS links, and costs the change", "`tests/lab/nfs.sh`"),
)
