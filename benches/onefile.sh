#!/usr/bin/env bash
# One file of 4 KiB out of a snapshot of 2 GB: the processor's time, and the bytes that are read from the store.
#
#   benches/onefile.sh [--runs N] [--to DIR] [--program FILE]
#
# The tree: 100 files of 10 MB and 100,000 of 10 kB, half of each random and half text, and the one in the middle. The
# time is user and system together, of one process from its start to its end, the mean of N runs with a warm cache. The
# goal is below 50 ms. The program is built first, unless one is given.
set -euo pipefail
runs=20 to=${TMPDIR:-/tmp} backup=
while [ $# -gt 0 ]; do case $1 in --runs) runs=$2; shift 2;; --to) to=$2; shift 2;; --program) backup=$(realpath "$2"); shift 2;; *) echo "usage: $0 [--runs N] [--to DIR] [--program FILE]"; exit 2;; esac; done
cd "$(dirname "$0")/.."
[ -n "$backup" ] || { cargo build --release --quiet; backup=$PWD/target/release/backup; }
work=$(mktemp -d "$to/onefile.XXXXXX"); trap 'rm -rf "$work"' EXIT
python3 - "$work/tree" <<'P'
import os, random, sys
base, r = sys.argv[1], random.Random(1)
text = ' '.join(''.join(r.choices('etaoinshrdlu', k=r.randint(2, 9))) for _ in range(200_000)).encode()
def write(path, size, n):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    data = r.randbytes(size) if n % 2 else b''.join(text[(n * 37 + at * 11) % 900_000:][:min(100_000, size - at)] for at in range(0, size, 100_000))
    with open(path, 'wb') as f: f.write(data[:size])
for n in range(100): write(f'{base}/{n:03}/large', 10_000_000, n)
for n in range(100_000): write(f'{base}/{n // 1000:03}/small-{n % 1000:03}', 10_000, n)
write(f'{base}/050/one', 4096, 0)
P
du -sh --apparent-size "$work/tree" | cut -f1
printf '%-6s %-8s %14s %16s %14s\n' codec command 'CPU ms (mean)' 'pread64 bytes' 'pread64 calls'
for codec in zstd gzip; do
  rm -rf "$work/store" "$work/state"
  b() { "$backup" -q --state-dir "$work/state" "$@"; }
  b run --source "$work/tree" --job one --to "$work/store" --compression "$codec"
  as_cat() { b cat latest 050/one --store "$work/store" >"$work/out"; }
  as_restore() { rm -rf "$work/back"; b restore latest 050/one --store "$work/store" --to "$work/back"; }
  for command in cat restore; do
    "as_$command"; cmp "$work/tree/050/one" "$([ $command = cat ] && echo "$work/out" || echo "$work/back/050/one")"
    TIMEFORMAT='%3U %3S'
    spent=$({ time for _ in $(seq "$runs"); do "as_$command"; done; } 2>&1 | awk -v n="$runs" '{printf "%.1f", ($1 + $2) * 1000 / n}')
    read_bytes=- calls=-
    if command -v strace >/dev/null; then
      rm -rf "$work/back"
      [ $command = cat ] && rest=(cat latest 050/one --store "$work/store") || rest=(restore latest 050/one --store "$work/store" --to "$work/back")
      strace -f -qq -e trace=pread64 -o "$work/trace" "$backup" -q --state-dir "$work/state" "${rest[@]}" >/dev/null
      read -r read_bytes calls < <(awk '/pread64.*= [0-9]+$/ {sum += $NF; n++} END {print sum + 0, n + 0}' "$work/trace")
    fi
    printf '%-6s %-8s %14s %16s %14s\n' "$codec" "$command" "$spent" "$read_bytes" "$calls"
  done
done
