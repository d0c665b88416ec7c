"""The systems that `benches/peers` measures beside each other, and the command of each for each deed.

Every system runs with its defaults. Encryption: borg and conserve can do without and do; restic, rustic and kopia
cannot, and get a fixed password. Caches, keys and settings of all of them lie in the work folder, not in your home;
they are not counted as stored. A deed that a system does not have is None.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass


@dataclass
class Place:
    """Where one system works on one tree."""

    source: str
    store: str
    state: str
    runs: int = 0
    first: int = 0  # bytes in the store after the first run

    def clear(self):
        """Nothing was ever stored."""
        for folder in (self.store, self.state):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
        self.runs, self.first = 0, 0


class System:
    """One of them. `run` is called for every snapshot, in a store that `begin` made."""

    name = ""
    needs = ()
    deduplicates = True  # whether what has not changed is not stored again

    def version(self):
        """As it says itself."""
        return first_line([self.needs[0], "--version"])

    def begin(self, place):
        """The command that makes an empty store, not measured; None if the first run does it."""

    def run(self, place):
        """Backs the source up."""
        raise NotImplementedError

    def restore(self, place, to):
        """Everything of the newest snapshot into the empty folder `to`."""

    def one_file(self, place, path, to):
        """One file of the newest snapshot into the empty folder `to`."""

    def verify(self, place):
        """Reads every stored byte."""


def first_line(argv):
    """What a command says first."""
    said = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr).strip().partition("\n")[0]


class Backup(System):
    """Ours."""

    name = "backup"
    codec = "zstd"

    def __init__(self, binary):
        self.needs = (binary,)

    def base(self, place):
        return [self.needs[0], "--quiet", "--state-dir", place.state]

    def run(self, place):
        return [*self.base(place), "run", "--source", place.source, "--to", place.store, "--job", "bench",
                "--compression", self.codec]

    def restore(self, place, to):
        return [*self.base(place), "restore", "latest", "--store", place.store, "--to", to]

    def one_file(self, place, path, to):
        return [*self.base(place), "restore", "latest", path, "--store", place.store, "--to", to]

    def verify(self, place):
        return [*self.base(place), "verify", "--all", "--store", place.store]


class BackupGzip(Backup):
    """Ours, with gzip."""

    name = "backup gzip"
    codec = "gzip"


class TarZstd(System):
    """What a careful script does."""

    name = "tar zstd"
    needs = ("tar", "zstd")
    deduplicates = False
    pack, unpack, suffix = "zstd -q -T0 -3", "--zstd", "zst"

    def version(self):
        return " + ".join(first_line([tool, "--version"]).strip("* ") for tool in self.needs)

    def archive(self, place):
        return f"{place.store}/all.tar.{self.suffix}"

    def run(self, place):
        return f"tar -C {place.source} -cf - . | {self.pack} > {self.archive(place)}"

    def restore(self, place, to):
        return ["tar", self.unpack, "-xf", self.archive(place), "-C", to]

    def one_file(self, place, path, to):
        return [*self.restore(place, to), f"./{path}"]


class TarPigz(TarZstd):
    """The same with gzip."""

    name = "tar pigz"
    needs = ("tar", "pigz")
    pack, unpack, suffix = "pigz", "-z", "gz"


class Restic(System):
    """Encrypts and deduplicates by content."""

    name = "restic"
    needs = ("restic",)

    def version(self):
        return first_line(["restic", "version"])

    def base(self, place):
        return ["env", "RESTIC_PASSWORD=x", f"RESTIC_CACHE_DIR={place.state}", "restic", "-r", place.store]

    def begin(self, place):
        return [*self.base(place), "init"]

    def run(self, place):
        return ["env", "-C", place.source, *self.base(place), "backup", "."]

    def restore(self, place, to):
        return [*self.base(place), "restore", "latest", "--target", to]

    def one_file(self, place, path, to):
        return [*self.restore(place, to), "--include", f"/{path}"]

    def verify(self, place):
        return [*self.base(place), "check", "--read-data"]


class Rustic(Restic):
    """restic's format in Rust."""

    name = "rustic"
    needs = ("rustic",)

    def version(self):
        return first_line(["rustic", "--version"])

    def base(self, place):
        return ["env", "RUSTIC_PASSWORD=x", f"RUSTIC_CACHE_DIR={place.state}", "rustic", "--no-progress", "-r",
                place.store]

    def restore(self, place, to):
        return [*self.base(place), "restore", "latest", to]

    def one_file(self, place, path, to):
        return [*self.base(place), "restore", f"latest:{path}", f"{to}/"]


class Borg(System):
    """Deduplicates by content; here without encryption."""

    name = "borg"
    needs = ("borg",)

    def base(self, place):
        return ["env", f"BORG_BASE_DIR={place.state}", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes",
                "BORG_RELOCATED_REPO_ACCESS_IS_OK=yes"]

    def newest(self, place):
        return f"{place.store}::run-{place.runs - 1}"

    def begin(self, place):
        return [*self.base(place), "borg", "init", "--encryption", "none", place.store]

    def run(self, place):
        return ["env", "-C", place.source, *self.base(place), "borg", "create", f"{place.store}::run-{place.runs}", "."]

    def restore(self, place, to):
        return ["env", "-C", to, *self.base(place), "borg", "extract", self.newest(place)]

    def one_file(self, place, path, to):
        return [*self.restore(place, to), path]

    def verify(self, place):
        return [*self.base(place), "borg", "check", "--verify-data", place.store]


class Conserve(System):
    """Blocks by content, no encryption."""

    name = "conserve"
    needs = ("conserve",)

    def begin(self, place):
        return ["conserve", "init", place.store]

    def run(self, place):
        return ["conserve", "backup", "--no-progress", place.store, place.source]

    def restore(self, place, to):
        return ["conserve", "restore", "--no-progress", "--force-overwrite", place.store, to]

    def one_file(self, place, path, to):
        return [*self.restore(place, to), "--only", f"/{path}"]

    def verify(self, place):
        return ["conserve", "validate", "--no-progress", place.store]


class Kopia(System):
    """Encrypts and deduplicates by content."""

    name = "kopia"
    needs = ("kopia",)

    def base(self, place):
        return ["env", "KOPIA_PASSWORD=x", "KOPIA_CHECK_FOR_UPDATES=false",
                f"KOPIA_CACHE_DIRECTORY={place.state}/cache", f"KOPIA_LOG_DIR={place.state}/log",
                "kopia", f"--config-file={place.state}/config"]

    def begin(self, place):
        return [*self.base(place), "repository", "create", "filesystem", "--path", place.store]

    def run(self, place):
        return [*self.base(place), "snapshot", "create", place.source]

    def restore(self, place, to):
        return [*self.base(place), "restore", place.source, to]

    def one_file(self, place, path, to):
        return [*self.base(place), "restore", f"{place.source}/{path}", f"{to}/{os.path.basename(path)}"]

    def verify(self, place):
        return [*self.base(place), "snapshot", "verify", "--verify-files-percent=100"]


def all_systems(binary):
    """In the order of the tables."""
    return [Backup(binary), BackupGzip(binary), TarZstd(), TarPigz(), Restic(), Borg(), Rustic(), Conserve(), Kopia()]
