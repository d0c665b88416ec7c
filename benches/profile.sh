#!/usr/bin/env bash
# Where the time of a command goes, in a few shares: the table of "Where the time goes" in README.md beside this.
#
# Samples all its threads with `perf record`, and adds up what lies in the kernel, in SHA-256, in zstd, in the checksums of
# frames, in copying memory and in allocating it. Shares of processor time, not of waiting. Not a test: it judges nothing.
#
#   cargo build --release
#   python3 benches/race/corpora.py uploads /dev/shm/uploads
#   benches/profile.sh target/release/backup -q run --source /dev/shm/uploads --to /dev/shm/store
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
data=$(mktemp)
trap 'rm -f "$data" "$data.said"' EXIT
perf record -o "$data" -F 499 -g "$@" > /dev/null 2> "$data.said" || { cat "$data.said" >&2; exit 1; }
perf report -i "$data" --no-children -g none --stdio -F overhead,dso,symbol 2> /dev/null | awk '
  $1 !~ /%$/ { next }
  { share = $1 + 0; kind = "all the rest" }
  /sha2|sha256/ { kind = "SHA-256" }
  /ZSTD|HUF_|FSE_|HIST_|ZSTD_XXH/ { kind = "zstd" }
  /xxhash|twox_hash|frame::around/ { kind = "XXH3 and XXH64" }
  /memmove|memset|memcpy|memcmp/ { kind = "memmove, memset, memcmp" }
  /malloc|calloc|realloc|cfree|_int_free/ { kind = "allocating" }
  $2 ~ /kernel/ { kind = "the kernel" }
  { sum[kind] += share }
  END { for (kind in sum) printf "%5.1f %%  %s\n", sum[kind], kind }' | sort -rn
