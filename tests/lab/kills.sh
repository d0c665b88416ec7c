#!/usr/bin/env bash
# Kills a run at its Nth call of each kind of system call, for N = 1, 2, … until the run no longer meets it, and looks
# after each kill: everything that is listed verifies, and the next run (the dead lease broken by hand, as its term is
# not over) succeeds. A campaign, not part of the suite. Needs strace. Prints n, violations and the bound they prove.
#
#   BACKUP=target/release/backup tests/lab/kills.sh [SECONDS]
set -u
backup=$(realpath "${BACKUP:?name the binary}") limit=${1:-300}
command -v strace >/dev/null || { echo 'SKIPPED: there is no strace'; exit 0; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src/folder"; seq 300000 >"$work/src/text"; head -c 200000 /dev/urandom >"$work/src/folder/noise"; ln "$work/src/text" "$work/src/hard"
run() { "$@" "$backup" --quiet --state-dir "$work/state" run --source "$work/src" --to "$work/store" >/dev/null 2>&1; }
tell() { "$backup" --state-dir "$work/state" "$@" --store "$work/store" >"$work/out" 2>&1; }
run env || { echo 'a run without a kill fails'; exit 1; }
n=0 violations=0
violation() { violations=$((violations + 1)); echo "VIOLATION at $call $when: $1"; sed 's/^/    /' "$work/out"; }
for call in write fsync mkdirat renameat2 unlinkat fchmod utimensat openat close pread64 statx read; do
  when=0
  while [ "$SECONDS" -lt "$limit" ]; do
    when=$((when + 1))
    before=$(ls "$work/store/src" | wc -l)
    { run strace -f -qq -o /dev/null -e "trace=$call" --inject="$call:signal=KILL:when=$when"; status=$?; } 2>/dev/null
    n=$((n + 1))
    tell verify --all || violation 'something that is listed does not verify'
    after=$(ls "$work/store/src" | wc -l)
    [ "$status" != 0 ] || [ "$after" -gt "$before" ] || violation 'a run said ok and made no snapshot'
    tell unlock --break || violation 'the lease cannot be broken'
    rm -rf "$work"/store/src/.partial-*
    run env || violation 'the next run fails'
    [ "$(ls "$work/store/src" | wc -l)" -lt 12 ] || (cd "$work/store/src" && ls -d src-* | head -n -2 | xargs rm -rf)
    [ "$status" != 0 ] || break
    # these are called hundreds of times alike: every seventh will do
    case $call in openat|close|pread64|statx|read) when=$((when + 6));; esac
  done
done
echo "n $n kills, $violations violations, 95 % bound $(awk "BEGIN{printf \"%.2f %%\", 300/$n}")"
[ "$violations" = 0 ]
