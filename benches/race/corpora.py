"""The trees that `benches/peers` backs up, made from a seed, and how they change from one day to the next.

The same seed and scale give the same bytes, whatever the number of processors: every file has a generator of its own.
Nothing here is real data. What decides a backup's speed is kept: how many files, how large, how well they shrink, how
often the same text comes again. Files are dated in the past, so that no program has to doubt them for being new.

    python3 benches/race/corpora.py uploads DIR [SEED [SCALE]]      makes one of them by itself
"""

import os
import random
import sys

MIB = 1 << 20
YEAR_S = 365 * 24 * 3600
LONG_AGO_S = 1_500_000_000
FILE_BYTES_MAX = 60 * MIB

# So old must a change be before anybody looks. Programs doubt a file that was touched within the tick of the clock in
# which they began, and read it again; a nightly run never meets one. Ours takes off the fraction of the second in which
# it began, and two seconds more (`src/engine/likeness.rs`).
SETTLE_S = 3.1

# name: (files, bytes, what it is)
SIZES = {
    "uploads": (18_000, 1_800_000_000, "pictures, documents and films of a web site, hardly compressible"),
    "small": (300_000, 1_200_000_000, "small text files"),
    "logs": (64, 2_000_000_000, "logs and SQL dumps"),
    "one": (1, 4_000_000_000, "one file, noise and text in turn"),
}


def make(corpus, folder, seed, scale):
    """Makes `corpus` in `folder`, which must not exist. On all processors, each with every n-th part."""
    parts = {"uploads": uploads, "small": small, "logs": logs, "one": one}[corpus](folder, seed, scale)
    children = []
    workers = os.cpu_count() or 1
    for worker in range(workers):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for part in parts[worker::workers]:
                    part()
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        raise SystemExit(f"corpus {corpus} could not be made: see above")


# ---- text out of a dictionary

def words(rng, count):
    """Invented words, some much more frequent than others once they are drawn by `frequent`."""
    syllables = [a + b for a in "bcdfghjklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "is", "on")]
    return ["".join(rng.choices(syllables, k=rng.choice((1, 2, 2, 3, 4)))).encode() for _ in range(count)]


def frequent(count):
    """Weights after Zipf."""
    total, weights = 0.0, []
    for rank in range(1, count + 1):
        total += 1 / rank
        weights.append(total)
    return weights


def lines_of_text(rng, count):
    """Lines as in source code and pages: a few shapes, filled with words."""
    dictionary, weights = words(rng, 5000), frequent(5000)
    shapes = (b"    %s.%s(%s, %s);\n", b"%s %s %s %s ", b"<p class=\"%s\">%s %s %s</p>\n", b"  %s: %s; /* %s %s */\n",
              b"if (%s.%s != %s) return %s;\n", b"%s %s, %s and %s. ", b"\n# %s %s\n\n%s = %s\n")
    drawn = rng.choices(dictionary, cum_weights=weights, k=count * 4)
    return [rng.choice(shapes) % tuple(drawn[4 * n:4 * n + 4]) for n in range(count)]


def text(rng, lines, size):
    """About `size` bytes of `lines`, with numbers between them that come only once."""
    picked = rng.choices(lines, k=size // 28 + 1)
    for at in range(0, len(picked), 16):
        picked[at] = b"%d\n" % rng.getrandbits(40)
    return b"".join(picked)[:size]


# ---- the four trees

def write(path, data, mtime):
    with open(path, "wb", buffering=0) as file:
        file.write(data)
    os.utime(path, (mtime, mtime))


def uploads(folder, seed, scale):
    """Folders of months; sizes log-normal, as uploads are; one file in twelve is text, one in 33 a copy of another."""
    rng = random.Random(f"{seed}/uploads")
    count, total = max(40, int(SIZES["uploads"][0] * scale)), SIZES["uploads"][1] * scale
    raw = [rng.lognormvariate(0, 1.6) for _ in range(count)]
    sizes = [min(FILE_BYTES_MAX, int(size * total / sum(raw)) + 200) for size in raw]
    lines = lines_of_text(rng, 20_000)
    kinds = ("jpg", "jpg", "jpg", "png", "jpg", "pdf", "jpg", "png", "docx", "mp4", "jpg", "css")
    files = []
    for number, size in enumerate(sizes):
        kind = kinds[number % len(kinds)]
        month = f"{folder}/{2019 + rng.randrange(7)}/{1 + rng.randrange(12):02}"
        content = number - 12 if number % 33 == 32 and number >= 12 else number  # twelve back is of the same kind
        files.append((f"{month}/upload_{number:06}.{kind}", kind, content, sizes[content]))
    for path in sorted({os.path.dirname(file[0]) for file in files}):
        os.makedirs(path)

    def part(path, kind, content, size):
        own = random.Random(f"{seed}/uploads/{content}")
        if kind == "css":
            data = text(own, lines, size)
        elif kind in ("pdf", "docx"):  # packed streams with plain structure between them
            plain = text(own, lines, size // 8)
            data = plain + own.randbytes(size - len(plain))
        else:
            data = own.randbytes(size)
        write(path, data, LONG_AGO_S + own.randrange(7 * YEAR_S))

    return [lambda file=file: part(*file) for file in files]


def small(folder, seed, scale):
    """Twelve files a folder, three folders deep, up to 16 KiB of text each."""
    count = max(120, int(SIZES["small"][0] * scale))
    lines = lines_of_text(random.Random(f"{seed}/small"), 20_000)

    def part(number):
        own = random.Random(f"{seed}/small/{number}")
        path = f"{folder}/site{number // 2400:03}/part{number // 120 % 20:02}/page{number:06}"
        os.makedirs(path)
        for name in range(12):
            size = min(16 << 10, int(own.lognormvariate(7.9, 0.9)) + 16)
            mtime = LONG_AGO_S + own.randrange(7 * YEAR_S)
            write(f"{path}/{name:02}-{number + name}.txt", text(own, lines, size), mtime)

    return [lambda number=number: part(number) for number in range(0, count, 12)]


def logs(folder, seed, scale):
    """Access logs, syslogs, SQL dumps and tables, a quarter each."""
    files, size = SIZES["logs"][0], int(SIZES["logs"][1] * scale) // SIZES["logs"][0]
    rng = random.Random(f"{seed}/logs")
    dictionary, weights = words(rng, 5000), frequent(5000)
    sentences = [b" ".join(rng.choices(dictionary, cum_weights=weights, k=rng.randrange(4, 20))) for _ in range(20_000)]
    hosts = [b"%d.%d.%d.%d" % tuple(rng.randrange(1, 255) for _ in range(4)) for _ in range(3000)]
    pages = [b"/" + b"/".join(rng.choices(dictionary, cum_weights=weights, k=rng.randrange(1, 5))) for _ in range(4000)]
    agents = [b"Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/%d.0" % (n, n) for n in range(80, 130)]
    few = {id(values): frequent(len(values)) for values in (hosts, pages, agents, sentences)}
    os.makedirs(folder)

    def part(number):
        own = random.Random(f"{seed}/logs/{number}")
        kind, clock, row, block = ("access", "syslog", "dump", "table")[number % 4], 1_700_000_000, 0, 4000
        path = f"{folder}/{kind}-{number:03}.{'sql' if kind == 'dump' else 'log'}"

        def draw(values):
            return own.choices(values, cum_weights=few[id(values)], k=block)

        with open(path, "wb") as file:
            while file.tell() < size:
                numbers, out = [own.getrandbits(32) for _ in range(block)], []
                if kind == "access":
                    for n, host, page, agent in zip(numbers, draw(hosts), draw(pages), draw(agents)):
                        clock += n % 3
                        out.append(b'%s - - [%02d/Nov/2025:%02d:%02d:%02d +0000] "GET %s HTTP/1.1" %d %d "-" "%s"\n' % (
                            host, clock // 86400 % 28 + 1, clock // 3600 % 24, clock // 60 % 60, clock % 60, page,
                            (200, 200, 304, 404)[n >> 4 & 3], n >> 15, agent))
                elif kind == "syslog":
                    for n, words_said in zip(numbers, draw(sentences)):
                        clock += n % 3
                        out.append(b"Nov %02d %02d:%02d:%02d host%d app[%d]: %s id=%08x\n" % (
                            clock // 86400 % 28 + 1, clock // 3600 % 24, clock // 60 % 60, clock % 60, n & 3, n >> 17,
                            words_said, n))
                elif kind == "dump":
                    for n, title, body in zip(numbers, draw(sentences), own.choices(sentences, k=block)):
                        row += 1
                        out.append(b"INSERT INTO posts VALUES (%d,%d,'%s','%s',%d,'publish');\n" % (
                            row, n % 500, title[:40], body, 1_700_000_000 + n % 10_000_000))
                else:
                    for n, word in zip(numbers, own.choices(dictionary, k=block)):
                        row += 1
                        out.append(b"%d,%d.%04d,%d.%02d,%s,%s\n" % (
                            row, n % 97, n >> 19, n >> 13 & 1023, n % 100, word, b"true" if n & 1 else b"false"))
                file.write(b"".join(out))
            file.truncate(size)
        os.utime(path, (LONG_AGO_S + number, LONG_AGO_S + number))

    return [lambda number=number: part(number) for number in range(files)]


def one(folder, seed, scale):
    """Noise and text, a mebibyte each, in turn; a disk image is like that."""
    pairs = max(1, int(SIZES["one"][1] * scale) // (2 * MIB))
    rng = random.Random(f"{seed}/one")
    lines = lines_of_text(rng, 20_000)
    os.makedirs(folder)
    path = f"{folder}/disk.img"
    with open(path, "wb") as file:
        file.truncate(pairs * 2 * MIB)
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))

    def part(number):
        own = random.Random(f"{seed}/one/{number}")
        with open(path, "r+b", buffering=0) as file:
            file.seek(number * 2 * MIB)
            file.write(own.randbytes(MIB) + text(own, lines, MIB).ljust(MIB, b"\n"))
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))

    return [lambda number=number: part(number) for number in range(pairs)]


# ---- from one day to the next

def files_in(folder):
    """All regular files, sorted."""
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)


def change(folder, rng):
    """One file in a hundred, at random: half are written anew with as many bytes, half grow by up to 4 KiB.
    Returns their paths."""
    files = files_in(folder)
    chosen = rng.sample(files, max(1, len(files) // 100))
    for number, path in enumerate(chosen):
        size = os.path.getsize(path)
        if number % 2:
            with open(path, "ab") as file:
                file.write(rng.randbytes(rng.randrange(64, 4096)))
        else:
            with open(path, "wb") as file:
                file.write(fresh(path, rng, size))
    return chosen


def add(folder, rng, name):
    """One new file for a hundred there are, in one new folder; each as long as one that is there already.
    Returns their paths."""
    files, made = files_in(folder), []
    os.makedirs(f"{folder}/{name}")
    for number, like in enumerate(rng.sample(files, max(1, len(files) // 100))):
        size = os.path.getsize(like)
        made.append(f"{folder}/{name}/new-{number:05}{os.path.splitext(like)[1]}")
        with open(made[-1], "wb") as file:
            file.write(fresh(like, rng, size))
    return made


def fresh(path, rng, size):
    """New content of the kind that `path` has."""
    if path.endswith((".txt", ".css")):
        return rng.randbytes(size // 2 + 1).hex().encode()[:size]
    return rng.randbytes(size)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in SIZES:
        raise SystemExit(__doc__)
    make(sys.argv[1], sys.argv[2], *(sys.argv[3:4] or ["1"]), float((sys.argv[4:5] or ["1"])[0]))
