#!/usr/bin/env bash
# Whole runs beside tar: the same tree, the same codec, in turn; medians and ratios.
#
#   benches/beside.sh [--runs N] [--to DIR] [TREE...]
#
# Without a TREE it makes two: `uploads` (hardly compressible files of all sizes) and `small` (many small texts).
# DIR is where everything is written: a file system in memory measures the programs, a disk measures the disk.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=5 to=${TMPDIR:-/tmp}
while [ $# -gt 0 ]; do case $1 in --runs) runs=$2; shift 2;; --to) to=$2; shift 2;; *) break;; esac; done
cargo build --release --quiet
backup=$PWD/target/release/backup
work=$(mktemp -d "$to/beside.XXXXXX"); trap 'rm -rf "$work"' EXIT
if [ $# -eq 0 ]; then
  python3 - "$work" <<'P'
import os, random, sys
base, r = sys.argv[1], random.Random(1)
words = [''.join(r.choices('etaoinshrdlu', k=r.randint(2, 9))) for _ in range(4000)]
def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f: f.write(data)
for n in range(18000):
    size = min(int(r.lognormvariate(10.3, 1.5)), 30_000_000)
    data = r.randbytes(size) if n % 8 else ' '.join(r.choices(words, k=size // 6)).encode()
    write(f'{base}/uploads/{2019 + n % 7}/{1 + n % 12:02}/file-{n:06}', data)
for n in range(300000):
    write(f'{base}/small/{n // 1000:03}/{n % 1000 // 40:02}/text-{n:06}', ' '.join(r.choices(words, k=r.randint(20, 1000))).encode())
P
  set -- "$work/uploads" "$work/small"
fi
seconds() { local s=$EPOCHREALTIME; "$@" >/dev/null 2>&1; local e=$EPOCHREALTIME; echo "$(((${e/./} - ${s/./}) / 1000))"; }
median() { sort -n | sed -n "$(((runs + 1) / 2))p"; }
ours() { rm -rf "$work/store" "$work/state"; "$backup" -q --state-dir "$work/state" run --source "$1" --to "$work/store" --compression "$2"; }
theirs() { rm -f "$work/a.tar"*; case $2 in zstd) tar -C "$1" -cf - . | zstd -q -T0 -3 >"$work/a.tar.zst";; gzip) tar -C "$1" -cf - . | pigz >"$work/a.tar.gz";; esac; }
export -f theirs; export work
printf '%-10s %-6s %12s %12s %8s %10s %10s\n' tree codec 'backup ms' 'tar ms' ratio 'backup MB' 'tar MB'
for tree in "$@"; do
  find "$tree" -type f -exec cat {} + >/dev/null
  for codec in zstd gzip; do
    [ "$codec" = zstd ] && tool=zstd || tool=pigz
    command -v "$tool" >/dev/null || { echo "SKIPPED: $codec, there is no $tool"; continue; }
    a=() b=()
    for _ in $(seq "$runs"); do a+=("$(seconds ours "$tree" "$codec")"); b+=("$(seconds theirs "$tree" "$codec")"); done
    m=$(printf '%s\n' "${a[@]}" | median); n=$(printf '%s\n' "${b[@]}" | median)
    ours "$tree" "$codec" >/dev/null; theirs "$tree" "$codec"
    printf '%-10s %-6s %12s %12s %8s %10s %10s\n' "$(basename "$tree")" "$codec" "$m" "$n" "$(awk "BEGIN{printf \"%.2f\", $m/$n}")" \
      "$(($(du -sb "$work/store" | cut -f1) / 1000000))" "$(($(du -sbc "$work"/a.tar* | tail -1 | cut -f1) / 1000000))"
  done
done
