"""What was measured, and the tables made of it.

A value that cannot be had is None, and the table says so: what was not measured is never met. A value that was had of
less than it should (one of three peers is not there, a job was left out) is shown with what it was had of.
"""

import collections
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys

import corpora
from goals import ELSEWHERE, JOBS, WHERE, goals
from systems import first_line

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def say(text):
    """To the terminal, at once; standard output is for the tables."""
    print(text, file=sys.stderr, flush=True)


class Row:
    """What one system did in one job on one tree."""

    def __init__(self):
        self.runs, self.grown, self.stored, self.failure = [], [], 0, ""
        # beside `grown`: the length of what changed, the same packed (None: by no one), and what a first run takes
        self.changed, self.packed, self.manifest, self.whole = [], [], [], []

    def median(self, what):
        return statistics.median(getattr(run, what) for run in self.runs)


class Results:
    """All rows, by tree, job and system."""

    def __init__(self, raw):
        self.rows, self.raw = collections.defaultdict(Row), raw

    def good(self, corpus, job, system):
        row = self.rows.get((corpus, job, system))
        return row if row and row.runs and not row.failure else None

    def wall_ratio(self, corpus, job, ours, peers):
        mine = self.good(corpus, job, ours)
        theirs = [row.median("wall_s") for peer in peers if (row := self.good(corpus, job, peer))]
        return mine.median("wall_s") / min(theirs) if mine and theirs else None

    def wall_ms(self, corpus, job):
        mine = self.good(corpus, job, "backup")
        return mine and mine.median("wall_s") * 1000

    def growth(self, corpus, job, beside):
        """What was written (less the manifest, where the change is the measure), beside something."""
        mine = self.good(corpus, job, "backup")
        parts = beside(mine) if mine else [None]
        if None in parts:
            return None
        less = [0] * len(parts) if parts is mine.whole else mine.manifest
        return statistics.median((grown - m) / part for grown, m, part in zip(mine.grown, less, parts))

    def space_ratio(self):
        ours, borg = self.good("uploads", "space", "backup"), self.good("uploads", "space", "borg")
        return ours.stored / borg.stored if ours and borg else None

    def parted(self, keys):
        """Which of these names were measured, and which were not; each stands for a corpus, a job and a system."""
        return tuple([name for name, key in keys.items() if bool(self.good(*key)) == there] for there in (True, False))

    def memory_mib(self, corpus):
        rows = [self.good(corpus, job, "backup") for job in WHERE[corpus]]
        return max((run.memory_mib for row in rows if row for run in row.runs), default=None)

    def failures(self):
        return [(*key, row.failure) for key, row in self.rows.items() if row.failure]

    def note(self, corpus, job, system, measured):
        row = self.rows[corpus, job, system]
        row.runs.append(measured)
        if self.raw:
            line = {"corpus": corpus, "job": job, "system": system, **vars(measured), "grown": row.grown[-1:]}
            print(json.dumps(line), file=self.raw, flush=True)
        say(f"  {corpus:8} {job:10} {system:12} {measured.wall_s:9.3f} s {measured.cpu_s:9.2f} s CPU "
            f"{measured.memory_mib:7.0f} MiB")


# ---- tables

def table(head, rows):
    align = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, align, *rows]) + "\n"


def goal_table(results, options):
    rows = []
    for goal in goals():
        value = goal.value(results)
        if value is None:
            shown, met = "-", "not measured"
        else:
            shown = f"{value:.{3 if value < 0.1 else 2}f}" if goal.unit == "x" else f"{value:.0f} {goal.unit}"
            there, missing = goal.parts(results)
            met = "no limit" if goal.limit is None else "yes" if value <= goal.limit else "**no**"
            met += f", of {', '.join(there)}; {', '.join(missing)} not measured" if missing else ""
        unit = "" if goal.unit == "x" else f" {goal.unit}"
        limit = "" if goal.limit is None else f"≤ {goal.limit}{unit}"
        rows.append([goal.what, limit, shown, met])
    rows += [[what, "", "-", where] for what, where in ELSEWHERE]
    note = "" if options.scale == 1 else (
        f"\nThe goals are for full size; this run was at scale {options.scale}, and proves nothing about them.\n")
    return table(["goal", "limit", "this run", "met"], rows) + note


def job_table(results, corpus, job, systems):
    ours = results.good(corpus, job, "backup gzip" if job == "gzip" else "backup")
    rows = []
    for system in systems:
        key = (corpus, job, system.name)
        if key not in results.rows:
            continue
        row = results.rows[key]
        if row.failure or not row.runs:
            rows.append([system.name, "failed", "", "", "", "", ""])
            continue
        walls = [run.wall_s for run in row.runs]
        grown = f"{statistics.median(row.grown) / 1e6:.2f}" if row.grown else ""
        rows.append([
            system.name, f"{row.median('wall_s'):.3f}", f"{min(walls):.3f} – {max(walls):.3f}",
            f"{row.median('cpu_s'):.2f}", f"{max(run.memory_mib for run in row.runs):.0f}",
            grown or f"{row.stored / 1e6:.2f}",
            f"{ours.median('wall_s') / row.median('wall_s'):.3f}" if ours else "-",
        ])
    stored = "the store, MB" if job in ("restore", "file", "verify") else "stored, MB"
    return table(["system", "wall s", "lowest – highest", "CPU s", "memory MiB", stored, "backup takes, x"], rows)


def space_table(results, corpus, job, systems):
    """Of so many runs only what lies there in the end counts; how they were made says nothing about time."""
    ours, rows = results.good(corpus, job, "backup"), []
    for system in systems:
        if (corpus, job, system.name) in results.rows:
            row = results.good(corpus, job, system.name)
            beside = f"{ours.stored / row.stored:.3f}" if ours and row else "-"
            rows.append([system.name, f"{row.stored / 1e6:.2f}" if row else "failed", beside])
    return table(["system", "the store, MB", "backup takes, x"], rows)


def command(options, trees, jobs, systems):
    """What to say to measure the same again; only what the work folder is called is nobody's affair."""
    lists = (("--trees", options.trees, trees), ("--only", options.only, jobs), ("--systems", options.systems, systems))
    chosen = [f"{name} {shlex.quote(','.join(some))}" for name, some, every in lists if set(some) != set(every)]
    return " ".join(["benches/peers", *(["--work FOLDER"] if options.work else []), f"--scale {options.scale:g}",
                     f"--rounds {spelled(options.rounds)}", f"--seed {shlex.quote(options.seed)}", *chosen, "--write"])


def spelled(rounds):
    """As the command line takes them."""
    return ",".join(f"{tree}={count}" for tree, count in rounds.items()) if len(set(rounds.values())) > 1 else str(
        next(iter(rounds.values())))


def told(rounds):
    """As a reader wants them: one number, or one for each tree."""
    return spelled(rounds).replace("=", " ").replace(",", ", ")


def report(results, trees, systems, missing, options, stopped=False):
    work_fs = subprocess.run(["df", "--output=fstype", options.work], capture_output=True, text=True, check=True)
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = (line.partition(": ")[2].strip() for line in lines if line.startswith("model name"))
        model = next(names, platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    revision = first_line(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"])
    out = [
        "# Beside its peers\n",
        f"Written by `{options.command}` on {datetime.date.today()}; "
        "how to read it: [benches/README.md](benches/README.md). Quote the ratios, not the seconds.\n",
        f"* Linux {platform.release().split('-')[0]}, {os.cpu_count()} × {model}, {memory:.0f} GB; the work folder is on {work_fs.stdout.split()[-1]}",
        f"* n = {told({tree: options.rounds[tree] for tree in options.trees})} (medians; memory is the highest of all), seed {options.seed}, "
        f"scale {options.scale:g}; source and store are warm, what a full run or a restore fills was touched before, all systems do each job in turn",
        "* memory is the sum of the PSS of all processes, polled; \"stored\" is what `du` of the store grew by",
        *[f"* {system.name}: {system.version()}" + (f" ({revision})" if system.name == "backup" else "")
          for system in systems if system.name != "backup gzip"],
        *(["* stopped before its end: what was not reached is not measured, and the last job has fewer rounds"] if stopped else []),
        f"* not there or not asked for, so not measured: {', '.join(missing) or 'none'}\n",
        "## Goals\n", "A ratio is the time that `backup` takes, divided by its peer's.\n", goal_table(results, options),
    ]
    for tree in trees:
        what = corpora.SIZES[tree.corpus][2]
        out.append(f"## {tree.corpus}: {tree.files:,} files, {tree.bytes / 1e9:.2f} GB; {what}\n")
        for job in options.jobs_of[tree.corpus]:
            shown = space_table if job == "space" else job_table
            out += [f"### {JOBS[job]}\n", shown(results, tree.corpus, job, systems)]
    if failures := results.failures():
        out.append("## Failed\n")
        out += [f"* {corpus}, {JOBS[job]}, {system}: {why.splitlines()[0].replace(options.work, '')}"
                for corpus, job, system, why in failures]
    return "\n".join(out).rstrip() + "\n"
