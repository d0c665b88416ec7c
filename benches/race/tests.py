"""Tests of the parts of `benches/peers` that judge: what its tables say, the command it names, when a change is old enough.

    python3 benches/race/tests.py

Nothing is measured: systems are copies with `cp`, and nobody sleeps.
"""

import importlib.machinery
import importlib.util
import os
import re
import sys
import tempfile
import types
import unittest
from unittest import mock

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import corpora
import results
from goals import DAYS, JOBS, WHERE, goals
from stopwatch import Measured
from systems import System

loader = importlib.machinery.SourceFileLoader("peers", os.path.join(os.path.dirname(HERE), "peers"))
peers = importlib.util.module_from_spec(importlib.util.spec_from_loader("peers", loader))
loader.exec_module(peers)


def filled(*measured):
    """Results with a second for each of these corpora, jobs and systems."""
    out = results.Results(None)
    for key in measured:
        row = out.rows[key]
        row.runs = [Measured(1.0, 1.0, 50.0)]
        row.grown, row.changed, row.packed, row.manifest, row.whole = [130], [100], [60], [10], [1000]
    return out


def cells(measured, begin):
    """The row of the goals' table that begins so."""
    lines = results.goal_table(measured, types.SimpleNamespace(scale=1)).splitlines()
    found = [line for line in lines if line.startswith(f"| {begin}")]
    assert len(found) == 1, found
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", found[0])[1:-1]]


class Copies(System):
    """A whole copy for each run."""

    def __init__(self, name):
        self.name = name

    def run(self, place):
        return ["cp", "-a", place.source, f"{place.store}/{place.runs}"]

    def restore(self, place, to):
        return ["cp", "-a", f"{place.store}/{place.runs - 1}/.", to]


class Tables(unittest.TestCase):
    """What is said about what was measured, and about what was not."""

    def test_the_best_of_several_peers_names_those_that_were_measured_and_those_that_were_not(self):
        for job in ("unchanged", "changed", "added"):
            row = [("uploads", job, system) for system in ("backup", "restic", "borg")]
            shown = cells(filled(*row), f"{JOBS[job]}, uploads: time beside the best of")
            self.assertEqual(shown[-1], "**no**, of restic, borg; rustic not measured")
            shown = cells(filled(*row, ("uploads", job, "rustic")), f"{JOBS[job]}, uploads: time beside the best of")
            self.assertEqual(shown[-1], "**no**")

    def test_memory_names_the_jobs_it_was_measured_in_unless_it_was_all(self):
        shown = cells(filled(("small", "full", "backup")), "Most memory")
        self.assertEqual(shown[-1], "yes, of full; unchanged, changed, added, restore, file, verify not measured")
        shown = cells(filled(*(("small", job, "backup") for job in WHERE["small"])), "Most memory")
        self.assertEqual(shown[-1], "yes")

    def test_what_failed_was_not_measured(self):
        measured = filled(*(("small", job, "backup") for job in WHERE["small"]))
        measured.rows["small", "verify", "backup"].failure = "it did"
        self.assertIn("; verify not measured", cells(measured, "Most memory")[-1])

    def test_bytes_written_stand_beside_the_length_of_the_change_and_without_a_limit_beside_the_change_packed(self):
        measured = filled(("uploads", "changed", "backup"))
        begin = f"{JOBS['changed']}, uploads: bytes written, less the manifest, beside "
        self.assertEqual(cells(measured, begin + "the length")[1:], ["≤ 1.3", "1.20", "yes"])
        self.assertEqual(cells(measured, begin + "what changed as")[1:], ["", "2.00", "no limit"])
        measured.rows["uploads", "changed", "backup"].packed = [None]
        self.assertEqual(cells(measured, begin + "what changed as")[1:], ["", "-", "not measured"])
        self.assertEqual(cells(measured, begin + "the length")[-1], "yes")

    def test_nothing_is_met_where_nothing_was_measured(self):
        for goal in goals():
            self.assertIsNone(goal.value(filled()), goal.what)

    def test_the_command_in_the_head_chooses_what_was_chosen(self):
        systems = ["backup", "tar zstd", "restic"]
        for said in (["--work", "/x", "--rounds", "5,small=2", "--trees", "uploads,small", "--only", "full,space"],
                     ["--systems", "backup,tar zstd", "--seed", "a b", "--scale", "0.02"], []):
            options = peers.arguments(systems, said)
            told = results.command(options, list(WHERE), list(JOBS), systems)
            self.assertEqual("--only" in told, "--only" in said, "only what was chosen is named")
            again = peers.arguments(systems, results.shlex.split(told)[1:])
            self.assertTrue(again.write)
            again.work, again.write = options.work, options.write
            self.assertEqual(vars(again), vars(options), told)
            self.assertNotIn("/x", told)


class Trees(unittest.TestCase):
    """In what order things are done to a tree."""

    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        quiet = [mock.patch.object(peers, "say"), *map(mock.patch, ("results.say", "time.sleep", "os.sync"))]
        for patch in quiet:
            patch.start()
            self.addCleanup(patch.stop)
        self.work, self.results = work.name, results.Results(None)

    def tree(self, job, systems, rounds):
        options = types.SimpleNamespace(work=self.work, seed="1", scale=0.0005, rounds={"uploads": rounds},
                                        jobs_of={"uploads": [job]})
        return peers.Tree("uploads", systems, options, self.results)

    def test_thirty_days_lie_beside_each_other_also_when_nothing_else_is_asked_for(self):
        tree = self.tree("space", [Copies("backup"), Copies("borg"), Copies("restic")], 1)
        tree.do("space")
        self.assertEqual(self.results.failures(), [])
        for system in ("backup", "borg"):
            self.assertEqual(len(os.listdir(tree.places[system].store)), DAYS + 1)
            self.assertEqual(self.results.rows["uploads", "space", system].stored, peers.du(tree.places[system].store))
        self.assertNotIn(("uploads", "space", "restic"), self.results.rows, "its space is nobody's goal")
        self.assertEqual(self.results.space_ratio(), 1.0)

    def test_every_round_builds_on_the_one_before_also_when_only_changes_are_asked_for(self):
        tree = self.tree("changed", [Copies("backup")], 3)
        tree.do("changed")
        self.assertEqual(self.results.failures(), [])
        self.assertEqual(len(os.listdir(tree.places["backup"].store)), 1 + 3)
        row = self.results.rows["uploads", "changed", "backup"]
        self.assertTrue(all(changed > 0 for changed in row.changed) and len(row.changed) == 3, row.changed)

    def test_a_change_is_older_than_what_the_program_still_doubts(self):
        with open(f"{results.ROOT}/src/engine/likeness.rs", encoding="utf-8") as source:
            grain = int(re.search(r"GRAIN_SECONDS: i64 = (\d+);", source.read())[1])
        self.assertGreater(corpora.SETTLE_S, grain + 1, "the start of a run counts from its whole second")


if __name__ == "__main__":
    unittest.main()
