#!/usr/bin/env python3
"""Checks a snapshot folder made by `backup`, from its files alone.

For tests and for doubters: it reads the sums, the record, the manifest and every volume, and holds them against
each other. It shares no code with the program, so that a mistake in the program's idea of its own format is not
repeated here: it needs Python 3.11's standard library and the `zstd` command line tool, nothing else.

    python3 tests/check_snapshot.py SNAPSHOT_FOLDER

It prints `checked N entries, N frames, N volumes` and exits 0, or prints each problem on a line and exits 1.
2: it was called wrongly, or there is no `zstd`.

What it does not check: the digest of extended attributes (only that they are there where the manifest says so), and
anything against the source.
"""

import collections
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import zlib

BLOCK = 512
PIECE = 1 << 20
HEADER_MAX = 64 << 20  # no tar header of any file system is larger
FRAME_MAX = 1 << 30
NANO = 10**9
HEX64 = re.compile(r"[0-9a-f]{64}")
HEX32 = re.compile("[0-9a-f]{32}")
XXHSUM = shutil.which("xxhsum")
SUM_LINE = re.compile(rb"([0-9a-f]{64})  ([^/\n]+)")
RECORD_NAME = "snapshot.json"
SUMS_NAME = "SHA256SUMS"
TYPES = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "char-device": b"3",
    "block-device": b"4",
    "folder": b"5",
    "fifo": b"6",
}


class Bad(Exception):
    """Something is not as it must be, in words."""


problems = []


def problem(text):
    problems.append(text)


def shown(path):
    """A path of any bytes, on one line and in quotes."""
    return repr(path.decode("utf-8", "backslashreplace"))


# --- fields of JSON ---------------------------------------------------------------------------------------------


def parse_json(line):
    def once(pairs):
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise Bad("a key is there twice")
        return dict(pairs)

    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Bad(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Bad("not a JSON object")
    return value


def is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def number(line, key):
    value = line.get(key)
    if not is_int(value) or not 0 <= value < 1 << 64:
        raise Bad(f"`{key}` is not a number from 0: {value!r}")
    return value


def digest(line, key):
    value = line.get(key)
    if not isinstance(value, str) or not HEX64.fullmatch(value):
        raise Bad(f"`{key}` is not a SHA-256: {value!r}")
    return value


def raw_bytes(line, key):
    """What `key` or `key_hex` says, as bytes; None if neither is there."""
    text, digits = line.get(key), line.get(key + "_hex")
    if text is None and digits is None:
        return None
    if text is not None and digits is not None:
        raise Bad(f"both `{key}` and `{key}_hex`")
    if text is not None:
        if not isinstance(text, str):
            raise Bad(f"`{key}` is not text")
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise Bad(f"`{key}` is not UTF-8") from error
    if not isinstance(digits, str) or not re.fullmatch(r"([0-9a-f]{2})+", digits):
        raise Bad(f"`{key}_hex` is not hexadecimal")
    value = bytes.fromhex(digits)
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return value
    raise Bad(f"`{key}_hex` is UTF-8 and belongs in `{key}`")


def path_of(line):
    path = raw_bytes(line, "path")
    if path is None:
        raise Bad("there is no path")
    check_path(path)
    return path


def check_path(path):
    if path == b".":
        return
    if b"\0" in path or any(part in (b"", b".", b"..") for part in path.split(b"/")):
        raise Bad(f"{shown(path)} is not a relative path in its plain form")


def sort_key(path):
    return b"" if path == b"." else path.replace(b"/", b"\0")


def time_of(line, key):
    value = line.get(key)
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_int, value)) or not 0 <= value[1] < NANO:
        raise Bad(f"`{key}` is not [seconds, nanoseconds]: {value!r}")
    return value[0] * NANO + value[1]


def codec_of(line):
    codec = line.get("codec")
    if isinstance(codec, dict) and len(codec) == 1:
        codec = next(iter(codec))
    if codec not in ("zstd", "gzip", "none"):
        raise Bad(f"the codec is not known: {codec!r}")
    return codec


# --- the files of the folder ------------------------------------------------------------------------------------


def sum_of_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sums(folder):
    """Holds SHA256SUMS against the folder; gives the (size, sha256) that each file really has."""
    real = {}
    for found in sorted(os.scandir(folder), key=lambda found: found.name):
        status = found.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            problem(f"{found.name!r}: not a regular file")
        elif found.name != SUMS_NAME:
            real[found.name] = (status.st_size, sum_of_file(found.path))
    told = {}
    try:
        with open(os.path.join(folder, SUMS_NAME), "rb") as file:
            text = file.read()
    except OSError as error:
        problem(f"{SUMS_NAME}: {error.strerror}")
        return real
    if not text.endswith(b"\n"):
        problem(f"{SUMS_NAME}: the last line has no end")
    for line in text.removesuffix(b"\n").split(b"\n"):
        match = SUM_LINE.fullmatch(line)
        if not match:
            problem(f"{SUMS_NAME}: not a line of sha256sum: {line!r}")
            continue
        name = os.fsdecode(match[2])
        if name in told:
            problem(f"{SUMS_NAME}: {name!r} is there twice")
        told[name] = match[1].decode()
    for name in sorted(told.keys() - real.keys()):
        problem(f"{SUMS_NAME}: {name!r} is named, but not there")
    for name in sorted(real.keys() - told.keys()):
        problem(f"{SUMS_NAME}: {name!r} is there, but not named")
    for name in sorted(real.keys() & told.keys()):
        if told[name] != real[name][1]:
            problem(f"{name!r}: its SHA-256 is {real[name][1]}, {SUMS_NAME} says {told[name]}")
    return real


def check_file_record(who, record, real):
    """Holds a {name, size, sha256} against the file of that name; gives the name, or None if it is not there."""
    name, size, sha256 = record.get("name"), number(record, "size"), digest(record, "sha256")
    if not isinstance(name, str) or name not in real:
        problem(f"{who}: there is no file {name!r}")
        return None
    if size != real[name][0]:
        problem(f"{who}: {name!r} has {real[name][0]} bytes, not {size}")
    if sha256 != real[name][1]:
        problem(f"{who}: the SHA-256 of {name!r} is {real[name][1]}, not {sha256}")
    return name


# --- zstd -------------------------------------------------------------------------------------------------------

ZSTD_MAGIC = 0xFD2FB528
SKIPPABLE_MAGIC = 0x184D2A5E
SEEKABLE_MAGIC = 0x8F92EAB1


def zstd_frame(data, begin=0):
    """Walks one zstd frame (RFC 8878): its end, its content size or None, its checksum or None."""
    try:
        magic, descriptor = struct.unpack_from("<IB", data, begin)
        if magic != ZSTD_MAGIC:
            raise Bad("no zstd frame begins here")
        single, checked = descriptor >> 5 & 1, descriptor >> 2 & 1
        if descriptor & 0x08:
            raise Bad("a reserved bit of the zstd frame is set")
        at = begin + 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
        width = (single, 2, 4, 8)[descriptor >> 6]
        size = None
        if width:
            field = data[at : at + width]
            if len(field) < width:
                raise Bad("the zstd frame is cut off")
            size = int.from_bytes(field, "little") + (256 if width == 2 else 0)
        at += width
        last = False
        while not last:
            low, high = struct.unpack_from("<HB", data, at)
            block = low | high << 16
            last, kind = block & 1, block >> 1 & 3
            if kind == 3:
                raise Bad("the zstd frame has a block of a reserved type")
            at += 3 + (1 if kind == 1 else block >> 3)
        checksum = None
        if checked:
            (checksum,) = struct.unpack_from("<I", data, at)
            at += 4
    except struct.error as error:
        raise Bad("the zstd frame is cut off") from error
    if at > len(data):
        raise Bad("the zstd frame is cut off")
    return at, size, checksum


def run_zstd(arguments, data):
    done = subprocess.run(["zstd", "-q", "-c", *arguments], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit {done.returncode}"]
        raise Bad(f"zstd: {words[-1].strip()}")
    return done.stdout


def zstd_checksum(raw):
    """The low 32 bits of XXH64, for a frame that does not carry them: zstd appends them to what it makes."""
    return struct.unpack("<I", run_zstd(["-1", "--check"], raw)[-4:])[0]


def seek_table(data):
    """The entries (stored, raw, checksum) of a seek table that is the whole of `data`."""
    if len(data) < 17:
        raise Bad(f"the seek table is cut off: {len(data)} bytes")
    magic, length = struct.unpack_from("<II", data)
    count, descriptor, footer = struct.unpack_from("<IBI", data, len(data) - 9)
    if magic != SKIPPABLE_MAGIC or footer != SEEKABLE_MAGIC:
        raise Bad("what follows the frames is no seek table")
    if length != len(data) - 8:
        raise Bad(f"the seek table's skippable frame has {len(data) - 8} bytes, and says {length}")
    if descriptor != 0x80:
        raise Bad(f"the seek table's descriptor is {descriptor:#x}, not 0x80")
    if length != count * 12 + 9:
        raise Bad(f"the seek table has {length} bytes, and says it has {count} entries")
    return list(struct.iter_unpack("<III", data[8:-9]))


# --- the manifest -----------------------------------------------------------------------------------------------


class Manifest:
    """What the manifest says; entries as lines, by volume, so that a million of them fit."""

    def __init__(self):
        self.header = {}
        self.entries = collections.defaultdict(list)  # volume: (offset, line)
        self.counts = collections.Counter()
        self.content = 0
        self.skips = 0
        self.files = {}  # path: (volume, offset)
        self.links = []  # path, target, volume, offset
        self.frames = collections.defaultdict(list)
        self.volumes = []
        self.trailer = {}


def kind_of(line):
    if "manifest" in line:
        return "header"
    if "path" in line or "path_hex" in line:
        return "entries"
    if "frame" in line:
        return "frames"
    if "entries" in line:
        return "trailer"
    if "volume" in line:
        return "volumes"
    raise Bad("a line of no known kind")


def read_manifest(name, data):
    """Checks the manifest in itself."""
    begins = check_manifest_frames(name, data)
    text = run_zstd(["-d"], data)
    if not text.endswith(b"\n"):
        problem(f"{name}: the last line has no end")
    manifest = Manifest()
    order = ["header", "entries", "frames", "volumes", "trailer"]
    lines, first = collections.Counter(), {}
    reached, at, last = 0, 0, (b"", True, True)
    for count, line in enumerate(text.removesuffix(b"\n").split(b"\n"), 1):
        try:
            value = parse_json(line)
            kind = kind_of(value)
            lines[kind] += 1
            first.setdefault(kind, at)
            if order.index(kind) < reached:
                raise Bad(f"{kind} after {order[reached]}")
            reached = order.index(kind)
            if kind == "header":
                manifest.header = value
            elif kind == "entries":
                last = take_entry(manifest, value, line, last)
            elif kind == "frames":
                manifest.frames[number(value, "volume")].append(value)
            elif kind == "volumes":
                if number(value, "volume") != len(manifest.volumes):
                    raise Bad(f"volume {value['volume']} comes as number {len(manifest.volumes)}")
                manifest.volumes.append(value)
            else:
                manifest.trailer = value
        except Bad as error:
            problem(f"{name}, line {count}: {error}")
        at += len(line) + 1
    for kind in ("header", "trailer"):
        if lines[kind] != 1:
            problem(f"{name}: {lines[kind]} lines are a {kind}")
    if manifest.header and manifest.header["manifest"] != 1:
        problem(f"{name}: its version is {manifest.header['manifest']!r}, not 1")
    check_frame_order(name, manifest)
    if manifest.trailer:
        # a section without lines begins where the next one does
        first.setdefault("volumes", first.get("trailer"))
        first.setdefault("frames", first["volumes"])
        first.setdefault("entries", first["frames"])
        check_trailer(name, manifest, lines, first, begins)
    return manifest


def check_manifest_frames(name, data):
    """Holds the manifest's own frames against its seek table; gives where frames begin in the text."""
    begins, at, raw_at, walked = set(), 0, 0, []
    while data[at : at + 4] == struct.pack("<I", ZSTD_MAGIC):
        begin = at
        at, size, checksum = zstd_frame(data, at)
        walked.append((at - begin, size, checksum))
        begins.add(raw_at)
        raw_at += size or 0
    try:
        if seek_table(data[at:]) != walked:
            problem(f"{name}: its seek table does not agree with its frames")
    except Bad as error:
        problem(f"{name}: {error}")
    return begins


def take_entry(manifest, value, line, last):
    """Takes a line of the first section; `last` and what is given: sort key, whether a skip, whether the first."""
    path = path_of(value)
    key, skip = sort_key(path), "skipped" in value
    # a skip may follow the entry that it is about
    if not last[2] and (key < last[0] or key == last[0] and not skip):
        problem(f"{shown(path)}: not in order, or there twice")
    if skip:
        manifest.skips += 1
        return key, skip, False
    kind = value.get("type")
    if kind not in TYPES:
        raise Bad(f"{shown(path)}: the type is not known: {kind!r}")
    volume, offset = number(value, "volume"), number(value, "offset")
    manifest.entries[volume].append((offset, line))
    manifest.counts[kind] += 1
    if kind == "file":
        manifest.content += number(value, "size")
        manifest.files[path] = (volume, offset)
    elif kind == "hardlink":
        target = raw_bytes(value, "target")
        if target is None:
            raise Bad(f"{shown(path)}: a hard link to nothing")
        manifest.links.append((path, target, volume, offset))
    return key, skip, False


def check_frame_order(name, manifest):
    if list(manifest.frames) != sorted(manifest.frames):
        problem(f"{name}: the frames are not sorted by volume")
    for volume in sorted(manifest.frames.keys() | manifest.entries.keys()):
        if volume >= len(manifest.volumes):
            problem(f"{name}: something lies in volume {volume}, but there are {len(manifest.volumes)}")


def check_trailer(name, manifest, lines, first, begins):
    for kind in ("entries", "frames", "volumes"):
        section = manifest.trailer.get(kind)
        real = {"raw_offset": first[kind], "lines": lines[kind]}
        if section != real:
            problem(f"{name}: the trailer says of {kind} {section!r}, the text {real!r}")
        if lines[kind] and real["raw_offset"] not in begins:
            problem(f"{name}: no frame begins where {kind} do")
    for key, real in (("skipped", manifest.skips), ("content_bytes", manifest.content)):
        if manifest.trailer.get(key) != real:
            problem(f"{name}: the trailer says {key} is {manifest.trailer.get(key)!r}, the lines say {real}")


def check_links(manifest):
    for path, target, volume, offset in manifest.links:
        found = manifest.files.get(target)
        if found is None:
            problem(f"{shown(path)}: a hard link to {shown(target)}, which is no file of the snapshot")
        elif found[0] != volume:
            problem(f"{shown(path)}: a hard link to {shown(target)}, which lies in another volume")
        elif found[1] >= offset:
            problem(f"{shown(path)}: a hard link to {shown(target)}, which comes later")


# --- the record -------------------------------------------------------------------------------------------------


def check_record(record, manifest, real):
    """Holds snapshot.json against the manifest and the files."""
    for key in ("job", "snapshot", "run"):
        if record.get(key) != manifest.header.get(key):
            problem(f"{RECORD_NAME}: {key} is {record.get(key)!r}, in the manifest {manifest.header.get(key)!r}")
    volumes = record.get("volumes")
    if not isinstance(volumes, list) or not all(isinstance(volume, dict) for volume in volumes):
        raise Bad("`volumes` is not a list of volumes")
    if len(volumes) != len(manifest.volumes):
        problem(f"{RECORD_NAME}: {len(volumes)} volumes, in the manifest {len(manifest.volumes)}")
    for ours, theirs in zip(volumes, manifest.volumes):
        check_file_record(RECORD_NAME, ours, real)
        for key in ("name", "codec", "size", "raw_size", "frames", "sha256"):
            if ours.get(key) != theirs.get(key):
                problem(f"{RECORD_NAME}: volume {ours.get('name')!r}: {key} differs from the manifest's")
    counts = manifest.counts
    totals = {
        "entries": counts.total(),
        "files": counts["file"],
        "folders": counts["folder"],
        "symlinks": counts["symlink"],
        "hard_links": counts["hardlink"],
        "special": counts["fifo"] + counts["char-device"] + counts["block-device"],
        "content_bytes": manifest.content,
    }
    told = record.get("totals")
    if not isinstance(told, dict):
        raise Bad("`totals` is not there")
    for key, value in totals.items():
        if told.get(key) != value:
            problem(f"{RECORD_NAME}: totals say {key} is {told.get(key)!r}, the manifest's lines say {value}")
    if record.get("skipped") != manifest.skips:
        problem(f"{RECORD_NAME}: skipped is {record.get('skipped')!r}, the manifest's lines say {manifest.skips}")


# --- volumes and their frames -----------------------------------------------------------------------------------


def decompress(codec, stored, raw):
    """Decompresses one frame on its own; gives its content and, for zstd, its checksum."""
    checksum = None
    if codec == "none":
        content = stored
    elif codec == "gzip":
        member = zlib.decompressobj(wbits=31)
        try:
            content = member.decompress(stored, raw + 1)
        except zlib.error as error:
            raise Bad(f"gzip: {error}") from error
        if len(content) <= raw and not member.eof:
            raise Bad("the gzip member does not end")
        if member.unused_data:
            raise Bad("something follows the gzip member")
    else:
        end, size, checksum = zstd_frame(stored)
        if end != len(stored):
            raise Bad("something follows the zstd frame")
        if size is not None and size != raw:
            raise Bad(f"the zstd frame says its content has {size} bytes, not {raw}")
        content = run_zstd(["-d"], stored)
        if checksum is None:
            checksum = zstd_checksum(content)
    if len(content) != raw:
        raise Bad(f"its content has {len(content)} bytes or more, not {raw}")
    return content, checksum


def xxh128(stored):
    """None where there is no `xxhsum`: the frame's own checksum and the file's SHA-256 are compared all the same."""
    if not XXHSUM:
        return None
    ran = subprocess.run([XXHSUM, "-H2"], input=stored, capture_output=True, check=True)
    return ran.stdout.split()[0].decode()


def check_frame(codec, frame, stored):
    """What is wrong with a frame, in words or None, its content or None, its checksum."""
    if len(stored) != frame["stored"]:
        return "is cut off", None, None
    told = xxh128(stored)
    wrong = None if told in (None, frame["xxh128"]) else f"its XXH128 is {told}, not {frame['xxh128']}"
    try:
        return wrong, *decompress(codec, stored, frame["raw"])
    except Bad as error:
        return f"{wrong}; {error}" if wrong else str(error), None, None


def frames_of(name, file, codec, frames, checksums):
    """Checks frames, some at once, and gives (length, content or None if it is damaged), in order."""
    workers = max(2, min(8, os.cpu_count() or 2))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        waiting, left = collections.deque(), iter(frames)
        while True:
            while len(waiting) < workers and (frame := next(left, None)) is not None:
                file.seek(frame["offset"])
                stored = file.read(frame["stored"])
                waiting.append((frame, pool.submit(check_frame, codec, frame, stored)))
            if not waiting:
                return
            frame, future = waiting.popleft()
            wrong, content, checksum = future.result()
            if wrong:
                problem(f"{name}, frame {frame['frame']}: {wrong}")
            checksums.append(checksum)
            yield frame["raw"], content


class Stream:
    """The raw tar stream, forwards."""

    def __init__(self, pieces):
        self.pieces = pieces
        self.at = 0
        self.damaged = False  # whether anything since the last `begin` lay in a damaged frame
        self.piece, self.used, self.length = b"", 0, 0

    def begin(self):
        self.damaged = False

    def read(self, most):
        """Up to `most` bytes, b"" at the end; zeros, and `damaged`, for what cannot be read."""
        while self.used == self.length:
            found = next(self.pieces, None)
            if found is None:
                return b""
            (self.length, self.piece), self.used = found, 0
        take = min(most, self.length - self.used, PIECE)
        if self.piece is None:
            self.damaged = True
            data = bytes(take)
        else:
            data = self.piece[self.used : self.used + take]
        self.used += take
        self.at += take
        return data

    def parts(self, length):
        while length:
            data = self.read(length)
            if not data:
                raise Bad(f"the tar stream ends at {self.at}")
            length -= len(data)
            yield data

    def exactly(self, length):
        return b"".join(self.parts(length))

    def to(self, offset):
        collections.deque(self.parts(offset - self.at), maxlen=0)


def usable_frames(name, frames, raw_size, count):
    """Checks that frames follow each other; gives where the last one ends in the file."""
    at = raw_at = 0
    for index, frame in enumerate(frames):
        for key in ("frame", "offset", "stored", "raw_offset", "raw"):
            number(frame, key)
        if not isinstance(frame.get("xxh128"), str) or not HEX32.fullmatch(frame["xxh128"]):
            raise Bad(f"`xxh128` is none: {frame.get('xxh128')!r}")
        if max(frame["stored"], frame["raw"]) > FRAME_MAX:
            raise Bad(f"frame {index} is too large to be one")
        real = {"frame": index, "offset": at, "raw_offset": raw_at}
        for key, value in real.items():
            if frame[key] != value:
                problem(f"{name}, frame {index}: {key} is {frame[key]}, not {value}")
        at, raw_at = frame["offset"] + frame["stored"], frame["raw_offset"] + frame["raw"]
    if len(frames) != count:
        problem(f"{name}: {count} frames, but the manifest has lines of {len(frames)}")
    if raw_at != raw_size:
        problem(f"{name}: raw_size is {raw_size}, but its frames have {raw_at}")
    return at


def check_volume(folder, line, frames, entries, skips, real):
    name = line.get("name")
    if check_file_record("manifest", line, real) is None:
        return
    codec, raw_size = codec_of(line), number(line, "raw_size")
    end = usable_frames(name, frames, raw_size, number(line, "frames"))
    with open(os.path.join(folder, name), "rb") as file:
        checksums = []
        pieces = frames_of(name, file, codec, frames, checksums)
        check_stream(name, Stream(pieces), raw_size, entries, skips)
        collections.deque(pieces, maxlen=0)  # whatever the entries did not reach
        file.seek(end)
        rest = file.read()
    if codec != "zstd":
        if rest:
            problem(f"{name}: {len(rest)} bytes follow the last frame")
        return
    table = seek_table(rest)
    if len(table) != len(frames):
        problem(f"{name}: the seek table has {len(table)} frames, the manifest {len(frames)}")
    for index, (found, frame, checksum) in enumerate(zip(table, frames, checksums)):
        # the checksum of a damaged frame is not known, and the damage is told
        if found[:2] != (frame["stored"], frame["raw"]) or checksum is not None and found[2] != checksum:
            problem(f"{name}: the seek table differs from frame {index}")


# --- the tar stream ---------------------------------------------------------------------------------------------


def check_stream(name, stream, raw_size, entries, skips):
    """Holds the entries of a volume against its tar stream."""
    end = 0
    for offset, line in sorted(entries, key=lambda entry: entry[0]):
        value = parse_json(line)
        path = path_of(value)
        who = f"{shown(path)} at {offset} of {name}"
        stream.begin()
        try:
            if offset < end:
                raise Bad(f"overlaps the entry before it, which ends at {end}")
            if offset > end and (not skips or offset % BLOCK):
                problem(f"{who}: {offset - end} bytes before it belong to no entry")
            stream.to(offset)
            stream.begin()
            body, length = number(value, "body"), stored_of(value)
            end = body + length + -length % BLOCK
            for wrong in check_entry(stream, path, value, offset, body, length):
                if not stream.damaged:
                    problem(f"{who}: {wrong}")
            if stream.damaged:
                problem(f"{who}: lies in a damaged frame")
        except Bad as error:
            problem(f"{who}: {'lies in a damaged frame' if stream.damaged else error}")
    try:
        if stream.at < end:
            stream.to(end)
        stream.begin()
        if raw_size - end > 2 * BLOCK and skips and raw_size % BLOCK == 0:
            stream.to(max(stream.at, raw_size - 2 * BLOCK))
        tail = stream.exactly(2 * BLOCK)
        if stream.damaged:
            raise Bad("the end marker lies in a damaged frame")
        if any(tail):
            raise Bad("no two blocks of zeros follow the last entry")
        rest = 0
        while data := stream.read(PIECE):
            rest += len(data)
        if rest:
            raise Bad(f"{rest} bytes follow the end marker")
    except Bad as error:
        problem(f"{name}: {error}")


def stored_of(value):
    if value["type"] != "file":
        if value.get("stored", 0) != 0 or "sha256" in value or value.get("sparse"):
            raise Bad("has a body, but is no file")
        return 0
    size = number(value, "size")
    stored = number(value, "stored") if "stored" in value else size
    if value.get("sparse", False) not in (True, False) or value.get("sparse") and "stored" not in value:
        raise Bad("is sparse, but does not say how long its body is")
    if not value.get("sparse") and stored != size:
        raise Bad(f"is not sparse, but stored is {stored} and size {size}")
    return stored


def check_entry(stream, path, value, offset, body, length):
    """Reads one entry to the end of its padding; gives what is wrong."""
    if body % BLOCK or not BLOCK <= body - offset <= HEADER_MAX:
        raise Bad(f"no header lies between {offset} and {body}")
    header = stream.exactly(body - offset)
    wrong = []
    if not stream.damaged:
        try:
            wrong += check_header(header, path, value, length)
        except Bad as error:
            wrong.append(str(error))
    hasher, head = hashlib.sha256(), bytearray()
    for part in stream.parts(length):
        hasher.update(part)
        if value.get("sparse") and len(head) < HEADER_MAX:
            head += part
    if value["type"] == "file":
        if hasher.hexdigest() != digest(value, "sha256"):
            wrong.append(f"the SHA-256 of its body is {hasher.hexdigest()}, not {value['sha256']}")
        if value.get("sparse"):
            wrong += check_sparse_map(head, value["size"], length)
    if any(stream.exactly(-length % BLOCK)):
        wrong.append("its padding is not zeros")
    return wrong


def check_sparse_map(head, size, length):
    """The map at the head of a body in GNU sparse format 1.0: decimal lines, then zeros to a whole block."""
    numbers, at = [], 0
    while not numbers or len(numbers) < 1 + 2 * numbers[0]:
        stop = head.find(b"\n", at, at + 24)
        if stop < 0 or not head[at:stop].isdigit():
            return ["its sparse map is not one"]
        numbers.append(int(head[at:stop]))
        at = stop + 1
    padded = at + -at % BLOCK
    extents = list(zip(numbers[1::2], numbers[2::2]))
    wrong = []
    if any(head[at:padded]):
        wrong.append("the padding of its sparse map is not zeros")
    if padded + sum(extent for _, extent in extents) != length:
        wrong.append("its sparse map does not say how long its body is")
    last = 0
    for begin, extent in extents:
        if begin < last:
            wrong.append("its sparse map is not in order")
        last = begin + extent
    if last > size:
        wrong.append("its sparse map goes beyond its end")
    return wrong


def tar_number(field):
    if field[0] & 0x80:
        if field[0] & 0x40:
            return int.from_bytes(field, "big", signed=True)
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]*", text):
        raise Bad(f"not a number of tar: {field!r}")
    return int(text or b"0", 8)


def tar_text(field):
    return field.split(b"\0", 1)[0]


def check_block(block):
    if len(block) < BLOCK:
        raise Bad("the tar header is cut off")
    if block[257:265] != b"ustar\x0000":
        raise Bad("no ustar header lies there")
    if tar_number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise Bad("the checksum of the tar header is wrong")


def pax_records(body):
    records, at = {}, 0
    while at < len(body):
        space = body.find(b" ", at, at + 20)
        if space < 0 or not body[at:space].isdigit():
            raise Bad("a pax record without a length")
        end = at + int(body[at:space])
        key, equals, rest = body[space + 1 : end].partition(b"=")
        if end > len(body) or not equals or not rest.endswith(b"\n"):
            raise Bad("a pax record of a wrong length")
        if key in records:
            raise Bad(f"the pax record {key!r} is there twice")
        records[key] = rest[:-1]
        at = end
    return records


def pax_time(text):
    match = re.fullmatch(rb"(-?)([0-9]+)(?:\.([0-9]{1,9}))?", text)
    if not match:
        raise Bad(f"not a time of pax: {text!r}")
    nanos = int(match[2]) * NANO + int((match[3] or b"").ljust(9, b"0"))
    return -nanos if match[1] else nanos


def pax_number(text):
    if not text.isdigit():
        raise Bad(f"not a number of pax: {text!r}")
    return int(text)


def check_header(header, path, value, length):
    """Holds the tar header, pax records and ustar block, against a line of the manifest; gives what is wrong."""
    records, at = {}, 0
    check_block(header[:BLOCK])
    if header[156:157] == b"x":
        size = tar_number(header[124:136])
        at = BLOCK + size + -size % BLOCK
        if not 0 <= size <= len(header) - BLOCK:
            raise Bad("its pax records reach beyond its header")
        if any(header[BLOCK + size : at]):
            raise Bad("the padding of its pax records is not zeros")
        records = pax_records(header[BLOCK : BLOCK + size])
    block = header[at : at + BLOCK]
    check_block(block)
    if at + BLOCK != len(header):
        raise Bad(f"its header ends {len(header) - at - BLOCK} bytes before its body")

    kind, sparse = value["type"], bool(value.get("sparse"))
    name, prefix = tar_text(block[:100]), tar_text(block[345:500])
    told_path = records.get(b"GNU.sparse.name", records.get(b"path", prefix + b"/" + name if prefix else name))
    link = records.get(b"linkpath", tar_text(block[157:257]))

    def pax_or(key, begin, end):
        return pax_number(records[key]) if key in records else tar_number(block[begin:end])

    if b"mtime" in records:
        mtime = pax_time(records[b"mtime"])
    else:
        mtime = tar_number(block[136:148]) * NANO
    mode = value.get("mode")
    if not isinstance(mode, str) or not re.fullmatch("[0-7]{4}", mode):
        raise Bad(f"`mode` is not four octal digits: {mode!r}")
    ctime = time_of(value, "ctime")
    has_link = kind in ("symlink", "hardlink")
    if (raw_bytes(value, "target") is not None) != has_link:
        raise Bad("a target belongs to links, and to nothing else")
    is_device = kind in ("char-device", "block-device")
    special = value.get("special", [0, 0])
    if ("special" in value) != is_device:
        raise Bad("`special` belongs to devices, and to nothing else")
    tar_path = b"./" if path == b"." else path + b"/" if kind == "folder" else path
    facts = [
        ("path", told_path, tar_path),
        ("type", block[156:157], TYPES[kind]),
        ("mode", tar_number(block[100:108]), int(mode, 8)),
        ("uid", pax_or(b"uid", 108, 116), number(value, "uid")),
        ("gid", pax_or(b"gid", 116, 124), number(value, "gid")),
        ("user", records.get(b"uname", tar_text(block[265:297])), raw_bytes(value, "user") or b""),
        ("group", records.get(b"gname", tar_text(block[297:329])), raw_bytes(value, "group") or b""),
        ("size", pax_or(b"size", 124, 136), length),
        ("mtime", mtime, time_of(value, "mtime")),
        ("ctime", pax_time(records[b"ctime"]) if b"ctime" in records else ctime, ctime),
        ("target", link, raw_bytes(value, "target") or b""),
        ("device", [tar_number(block[329:337]), tar_number(block[337:345])], special),
        ("xattrs", any(key.startswith(b"SCHILY.") for key in records), "xattrs" in value),
        ("sparse", any(key.startswith(b"GNU.sparse.") for key in records), sparse),
    ]
    if sparse:
        version = (records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor"))
        facts.append(("version of sparse", version, (b"1", b"0")))
        facts.append(("size when expanded", pax_number(records.get(b"GNU.sparse.realsize", b"")), value["size"]))
    wrong = [fact for fact in facts if fact[1] != fact[2]]
    return [f"{what}: {told!r} in the tar header, {ours!r} in the manifest" for what, told, ours in wrong]


# --- all of it --------------------------------------------------------------------------------------------------


def check(folder):
    """Fills `problems`; gives how many entries, frames and volumes there are."""
    real = check_sums(folder)
    try:
        with open(os.path.join(folder, RECORD_NAME), "rb") as file:
            record = parse_json(file.read())
        about = record.get("manifest")
        name = check_file_record(RECORD_NAME, about, real) if isinstance(about, dict) else None
        if name is None:
            raise Bad("it names no manifest that is there")
    except (Bad, OSError) as error:
        problem(f"{RECORD_NAME}: {error}")
        return 0, 0, 0
    try:
        with open(os.path.join(folder, name), "rb") as file:
            manifest = read_manifest(name, file.read())
    except Bad as error:
        problem(f"{name}: {error}")
        return 0, 0, 0
    try:
        check_record(record, manifest, real)
    except Bad as error:
        problem(f"{RECORD_NAME}: {error}")
    named = {RECORD_NAME, "RESTORE.txt", name} | {str(line.get("name")) for line in manifest.volumes}
    for other in sorted(real.keys() - named):
        problem(f"{other!r}: belongs to nothing")
    check_links(manifest)
    for index, line in enumerate(manifest.volumes):
        try:
            check_volume(folder, line, manifest.frames[index], manifest.entries[index], manifest.skips, real)
        except Bad as error:
            problem(f"volume {line.get('name')!r}: {error}")
    return manifest.counts.total(), sum(map(len, manifest.frames.values())), len(manifest.volumes)


def main():
    sys.stdout.reconfigure(errors="backslashreplace")
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        print("usage: check_snapshot.py SNAPSHOT_FOLDER", file=sys.stderr)
        return 2
    if shutil.which("zstd") is None:
        print("check_snapshot.py: there is no `zstd` to run", file=sys.stderr)
        return 2
    entries, frames, volumes = check(sys.argv[1])
    if problems:
        print("\n".join(problems))
        return 1
    print(f"checked {entries} entries, {frames} frames, {volumes} volumes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
