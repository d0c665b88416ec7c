#!/usr/bin/env bash
# Time and memory against the number of entries: whether time is a straight line, and memory bounded.
#
# For each count it makes that many real files (about 40 bytes, 1,000 to a folder) in the folder given with --to, which
# should be in memory, and measures with benches/race/stopwatch.py a first run, a run over the unchanged source, a quick
# verification, a listing of the root, and one file; beside them what the machine itself takes to look at each file
# (`find -size`) and to read it (`tar | cat`). Each run's seconds are printed with the nanoseconds an entry, and the
# highest sum of the PSS of all processes. Not a test: it judges nothing.
#
# A RAM disk takes a page for each file: 4 GB a million. With --image (root) the files lie in an image of ext4 in that
# folder, mounted by a loop device, which keeps so small a file within its inode: 10^7 of them take 4 GB, and about as much
# again and more for what the kernel remembers of them, which it lets go of when memory is short.
#
#   cargo build --release && benches/entries.sh --to /dev/shm [--image] [--counts "100000 1000000 10000000"]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) to='' counts='100000 1000000 10000000' image=''
while [ $# -gt 0 ]; do
  case $1 in
    --to) to=$2; shift 2 ;;
    --counts) counts=$2; shift 2 ;;
    --image) image=yes; shift ;;
    *) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
[ -d "$to" ] || { echo "--to FOLDER names a folder with room" >&2; exit 2; }
backup=${BACKUP:-$here/../target/release/backup}
work=$(mktemp -d "$to/entries.XXXXXX"); 
clear_work() {
  if mountpoint -q "$work/source"; then umount "$work/source"; fi
  rm -rf "${work:?}"/*
}
trap 'clear_work; rmdir "$work"' EXIT
for count in $counts; do
  clear_work
  mkdir "$work/source"
  if [ "$image" ]; then
    # with blocks of 1 KiB a group has at most 8,192 inodes in 8 MiB; most of it is never written
    truncate -s $((count * 1100 + (128 << 20))) "$work/image"
    mkfs.ext4 -q -F -m 0 -b 1024 -I 256 -N $((count + count / 500 + 1000)) -O inline_data,^has_journal "$work/image"
    mount -o loop,noatime "$work/image" "$work/source"
  fi
  PYTHONDONTWRITEBYTECODE=1 python3 - "$here/race" "$backup" "$work" "$count" <<'PYTHON'
import os, sys, time
race, backup, work, count = sys.argv[1:4] + [int(sys.argv[4])]
sys.path.insert(0, race)
from corpora import SETTLE_S
from stopwatch import measure
source, folders = f"{work}/source", (count + 999) // 1000

def make(worker, workers):
    for folder in range(worker, folders, workers):
        path = f"{source}/{folder // 100:03}/{folder:05}"
        os.makedirs(path)
        at = os.open(path, os.O_RDONLY)
        for number in range(min(1000, count - folder * 1000)):
            file = os.open(f"file-{number:04}.txt", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=at)
            os.write(file, b"%d %d some words\n%d\n" % (folder, number, folder * 31 + number))
            os.close(file)
        os.close(at)

workers = os.cpu_count() or 1
children = []
for worker in range(workers):
    child = os.fork()
    if child == 0:
        make(worker, workers)
        os._exit(0)
    children.append(child)
assert not any(os.waitpid(child, 0)[1] for child in children), "the files could not be made"
# what was touched within the clock's grain before a run is read again by the next
time.sleep(SETTLE_S)
common = [backup, "-q", "--state-dir", f"{work}/state"]
run = common + ["run", "--source", source, "--to", f"{work}/store"]
last = f"{(folders - 1) // 100:03}/{folders - 1:05}/file-0000.txt"
peer = f"tar -cf - -C {source} . | cat > /dev/null"
jobs = [("find -size", ["find", source, "-size", "+1000k"]), ("tar | cat", ["sh", "-c", peer]),
        ("first run", run), ("nothing changed", run),
        ("verify --quick", common + ["verify", "--quick", "--store", f"{work}/store"]),
        ("ls", common + ["ls", "latest", "--store", f"{work}/store"]),
        ("cat of the last file", common + ["cat", "latest", last, "--store", f"{work}/store"])]
for name, argv in jobs:
    seen = measure(argv, f"{work}/log")
    print(f"{count:>10,} files  {name:<22} {seen.wall_s:8.2f} s {seen.wall_s / count * 1e9:9.0f} ns an entry "
          f"{seen.cpu_s:8.2f} s CPU {seen.memory_mib:7.1f} MiB", flush=True)
PYTHON
done
