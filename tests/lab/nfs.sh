#!/usr/bin/env bash
# The program on a real NFS mount, with the server's misfortunes: what `backup` says, how it exits, what it writes.
#
# Runs inside a machine that has a kernel NFS server exporting /srv/share, a client that mounts it on /mnt/nfs, and a
# command `lab` that makes things go wrong (server-stop, server-start, disk-gone, disk-back, unmount, mount, reexport,
# fill, unfill). Not part of the test suite; run by hand with BACKUP naming the binary and, for the store's own suite,
# STORE_TESTS naming the binary of tests/store.rs. Its arguments are the parts wanted: misfortunes, linked, owners,
# refused, outage, holds, daemon, suite; all without any. `daemon` takes ten minutes: its schedule is by the minute. Prints a
# line for each case and ends with `N passed, N failed`.
set -u
backup=${BACKUP:?name the binary}
work=$(mktemp -d); chmod 755 "$work"; src=$work/upload; mkdir -p "$src/a"
head -c 3000000 /dev/urandom >"$src/a/noise"; seq 200000 >"$src/text"
passed=0 failed=0
store=/mnt/nfs/store
run() { timeout 120 "$backup" --state-dir "$work/state" run --source "$src" --to "$store" "$@" >"$work/out" 2>&1; }
expect() { # CODE TEXT NAME
  local code=$1 text=$2 name=$3 got=$4
  if [ "$got" = "$code" ] && { [ -z "$text" ] || grep -q -- "$text" "$work/out"; }; then passed=$((passed + 1)); echo "ok    exit $got  $name"; sed -n '1,4s/^/        | /p' "$work/out"
  else failed=$((failed + 1)); echo "FAIL  exit $got, wanted $code and '$text': $name"; sed 's/^/        | /' "$work/out"; fi
}
tree() { find "$1" -printf '%P %s %T@ %m\n' 2>/dev/null | sort | sha256sum; }

# --- snapshots that share volumes: what follows has a job folder of its own in each part, seen on both sides of the wire
begin() { # JOB: a source that was left alone long enough to be believed, a folder for what is restored
  job=$1 src=$work/$1 as=() more=(); mkdir -p "$src/a/b"; head -c 20000000 /dev/urandom >"$src/a/noise"
  for number in $(seq 100); do echo "$number" >"$src/a/b/$number"; done; sleep 4
}
told() { echo "$2" >"$work/out"; expect 0 "$1" "$3" 0; }                      # what was SEEN, WANTED as a pattern, NAME
is() { echo "found: $1" >"$work/out"; expect 0 "found: $2\$" "$3" 0; }         # FOUND WANTED NAME
quiet() { "$@" >"$work/out" 2>&1; }
do_() { timeout 200 "${as[@]}" "$backup" --state-dir "$work/state-$job" "$@" >"$work/out" 2>&1; }
do_run() { do_ run --source "$src" --to "$store" "${more[@]}" "$@"; }
all() { (cd "/srv/share/${store#/mnt/nfs/}/$job" && ls -d "$job"-* 2>/dev/null); }        # as the server knows it
newest() { all | tail -1; }
there() { echo "/srv/share/${store#/mnt/nfs/}/$job/${1:-$(newest)}"; }
links() { stat -c %h "$1"/*.tar.zst 2>/dev/null | sort | tr '\n' ' ' | sed 's/ $//'; }     # of the volumes, the fewest first
used() { sync; du -sk /srv/share | cut -f1; }
grown() { local by=$(($(used) - $1)); echo "$by kB" >"$work/out"; [ "$by" -le "$2" ]; }    # BEFORE BOUND
sums() { quiet "${as[@]}" bash -c 'cd "$1" && sha256sum -c SHA256SUMS' sums "$store/$job/$(newest)"; }
same() { # SNAPSHOT SOURCE: what comes back is what was there
  rm -rf "$work/back"; install -d -m 777 "$work/back"
  do_ restore "$1" --store "$store" --job "$job" --to "$work/back/tree" || return
  quiet diff -r --no-dereference "$2" "$work/back/tree" && [ "$(cd "$2" && find . -printf '%P %m %T@\n' | sort)" = "$(cd "$work/back/tree" && find . -printf '%P %m %T@\n' | sort)" ]
}
deep() { do_ verify --all --deep --store "$store" --job "$job"; }

misfortunes() {
  run; expect 0 'is complete' 'a first run on NFS makes the folder a store and a snapshot' $?
  run; expect 0 'is complete' 'a second run' $?
  "$backup" --state-dir "$work/state" verify --all --store "$store" >"$work/out" 2>&1; expect 0 ': well' 'both snapshots verify' $?
  ( cd "$(ls -d $store/upload/upload-* | tail -1)" && sha256sum -c SHA256SUMS ) >"$work/out" 2>&1; expect 0 'snapshot.json: OK' 'sha256sum agrees' $?

  lab unmount; before=$(tree /mnt/nfs); run; expect 6 'does not exist' 'not mounted: refused' $?
  [ "$before" = "$(tree /mnt/nfs)" ]; expect 0 '' 'not mounted: not one byte on the local disk' $?
  mkdir -p $store; before=$(tree /mnt/nfs); run; expect 6 'no marker' 'not mounted, and a folder of that name on the local disk: refused' $?
  [ "$before" = "$(tree /mnt/nfs)" ]; expect 0 '' '… and not one byte written' $?
  rmdir $store
  cat >"$work/backup.yaml" <<Y
stores: {nas: {path: $store, require_mount: nfs}}
jobs: {upload: {source: $src}}
Y
  mkdir -p $store; timeout 60 "$backup" --state-dir "$work/state2" --config "$work/backup.yaml" run >"$work/out" 2>&1
  expect 6 'requires a mount of type nfs' 'require_mount: nfs on the local disk' $?; rmdir $store
  lab mount

  lab disk-gone; lab unmount -l; lab mount; mkdir -p $store 2>/dev/null; before=$(tree /srv/share); run
  expect 6 'no marker' "the server's disk is gone and it exports its own empty folder: refused" $?
  [ "$before" = "$(tree /srv/share)" ]; expect 0 '' '… and not one byte written there' $?
  rmdir $store 2>/dev/null; lab unmount -l; lab disk-back; lab mount

  lab fill 1; before=$(tree /srv/share); run --compression none; code=$?; expect 1 'free' 'full: refused' $code
  [ "$before" = "$(tree /srv/share)" ]; expect 0 '' '… and not one byte written' $?
  ls -a $store/upload | grep -q partial && { failed=$((failed + 1)); echo 'FAIL  unfinished work was left behind'; }
  lab unfill
  head -c 130000000 /dev/urandom >"$src/big"; lab fill 40; run --job fresh; code=$?
  expect 1 'no room left' 'full in mid-run: failed, told as room' $code
  ls -a $store/fresh | grep -q partial && { failed=$((failed + 1)); echo 'FAIL  unfinished work was left behind'; }
  lab unfill; rm "$src/big"
  run; expect 0 'is complete' '… and the next run is well' $?

  lab reexport ro,no_root_squash; run; expect 1 'read-only' 'a read-only export' $?
  lab reexport rw,root_squash; chown -R 65534:65534 /srv/share/store; run; expect 0 'is complete' 'root_squash, the folder belongs to nobody: works' $?
  chown -R 0:0 /srv/share/store; chmod 755 /srv/share/store /srv/share/store/upload; run; expect 1 'not permitted' 'root_squash, the folder belongs to root: told' $?
  lab reexport rw,no_root_squash; lab drop-caches # version 3 remembers for a while what was denied

  head -c 150000000 /dev/urandom >"$src/big"
  timeout 200 "$backup" --state-dir "$work/state" run --source "$src" --to "$store" --progress-timeout 20s >"$work/out" 2>&1 & pid=$!
  for _ in $(seq 200); do ls $store/upload/.partial-* >/dev/null 2>&1 && break; sleep 0.1; done
  lab server-stop; begin=$SECONDS; wait $pid; code=$?; took=$((SECONDS - begin))
  expect 6 'not answered for 20 s' "the server stops in mid-run: failed after $took s" $code
  [ "$took" -le 60 ]; expect 0 '' '… within its deadline' $?
  lab server-start
}

# What every linked job does, whoever it runs as.
linked_as() { # NAME
  local name=$1 before first second third
  do_run; expect 0 'is complete' "$name: a first run" $?
  first=$(newest); is "$(links "$(there)")" 1 "$name: its volume has one name"
  cp -a "$src" "$work/then-$job"
  echo changed >"$src/a/b/77"; before=$(used)
  do_run; expect 0 'is complete' "$name: one file of 101 changed" $?
  second=$(newest); is "$(links "$(there)")" '1 2' "$name: the old volume has a second name, the new one has one"
  grown "$before" 300; expect 0 kB "$name: … and the server's disk holds no more than 300 kB more" $?
  sums; expect 0 'snapshot.json: OK' "$name: … and sha256sum agrees" $?
  sleep 4; do_run; expect 0 'is complete' "$name: nothing changed, once it is believed" $?
  before=$(used); do_run; expect 0 'is complete' "$name: nothing changed" $?
  third=$(newest); is "$(find "$(there)" -type f -links 1 -printf '%f\n' | sort | tr '\n' ' ')" 'RESTORE.txt SHA256SUMS snapshot.json ' "$name: … and three small files are new"
  is "$(links "$(there)")" '4 4\|3 4' "$name: … and no volume"
  grown "$before" 64; expect 0 kB "$name: … and 64 kB at the most" $?
  sums; expect 0 'snapshot.json: OK' "$name: … and sha256sum agrees" $?
  deep; expect 0 ': well' "$name: all of them verify, down to every entry" $?
  same "$first" "$work/then-$job"; expect 0 '' "$name: the first comes back as it was" $?
  same "$third" "$src"; expect 0 '' "$name: the last comes back as it is" $?
  rm -r "$(there "$first")"; deep; expect 0 ': well' "$name: the first was removed on the server: the others verify" $?
  same "$second" "$src"; expect 0 '' "$name: … and the second comes back" $?
  do_ prune --store "$store" --job "$job" --last 1 --floor 1; expect 0 '2 removed' "$name: prune takes all but the last" $?
  is "$(all | tr '\n' ' ')" "$third " "$name: … and the last is there"
  sleep 2; do_ prune --store "$store" --job "$job" --last 1 --floor 1 --trash-for 1s; expect 0 '2 removed for good' "$name: … and the trash is emptied" $?
  is "$(links "$(there)")" '1 1' "$name: … and its volumes have one name each"
  deep; expect 0 ': well' "$name: … and it verifies" $?
  same "$third" "$src"; expect 0 '' "$name: … and comes back" $?
  echo again >"$src/a/b/78"; do_run; expect 0 'is complete' "$name: and the next run builds on it" $?
  is "$(links "$(there)")" '1 2 2' "$name: … by links"
  same "$(newest)" "$src"; expect 0 '' "$name: … and comes back" $?
}

linked() { begin linked; linked_as root; }

# A folder of its own on the server, and everything done by the user AS.
folder_of() { # JOB OWNER UID|0
  begin "$1"; store=/mnt/nfs/$1; install -d -o "$2" -g "$2" -m 750 "/srv/share/$1"
  echo 1 >/proc/sys/fs/protected_hardlinks
  if [ "$3" != 0 ]; then as=(setpriv --reuid "$3" --regid "$3" --clear-groups); chown -R "$3:$3" "$src"; fi
  install -d -o "$3" "$work/state-$1"
}

owners() {
  lab reexport rw,root_squash
  folder_of squashed 10001 10001; linked_as 'root_squash, uid 10001'
  lab reexport rw,all_squash
  folder_of everybody 65534 10001; linked_as 'all_squash, uid 10001'
  folder_of nobody 65534 0; linked_as 'all_squash, root'
  lab reexport rw,no_root_squash; store=/mnt/nfs/store
}

# A store that refuses links: what did not change is copied, and that is said.
copied_as() { # NAME: after a first run whose volume cannot be linked
  local name=$1 first; first=$(newest); echo changed >"$src/a/b/77"
  do_run; expect 0 'refuses hard links' "$name: the run copies and says so" $?
  is "$(links "$(there)")" '1 1' "$name: … and no volume has two names"
  deep; expect 0 ': well' "$name: … and all verify" $?
  echo 'changed again' >"$src/a/b/78"; do_run; expect 0 'is complete' "$name: the next run" $?
  is "$(links "$(there)")" '1 2 2' "$name: … links what was copied"
  chattr -i "$(there "$first")"/*.tar.zst; rm -r "$(there "$first")"
  deep; expect 0 ': well' "$name: the first was removed on the server: the others verify" $?
  same "$(newest)" "$src"; expect 0 '' "$name: … and the last comes back" $?
}

refused() {
  begin immutable; do_run; expect 0 'is complete' 'a first run' $?
  do_ doctor --store "$store"; expect 0 'it has hard links' 'doctor, before' $?
  chattr +i "$(there)"/*.tar.zst; lsattr "$(there)"/*.tar.zst
  do_ doctor --store "$store"; expect 0 'refuses hard links.*are copied once' 'doctor says what a refused link will cost' $?
  copied_as 'the server refuses a link (EPERM)'
  folder_of foreign 10001 10001; lab reexport rw,root_squash
  do_run; expect 0 'is complete' "uid 10001: a first run" $?
  chown 0:0 "$(there)"/*.tar.zst; chmod 444 "$(there)"/*.tar.zst; lab drop-caches
  copied_as "another user's volumes, protected_hardlinks"
  lab reexport rw,no_root_squash; store=/mnt/nfs/store; as=()
}

# The server stops and comes back: what the outcome says is so, and nothing is broken afterwards.
honest() { # NAME EXIT BEFORE
  local name=$1 code=$2 new; cp "$work/out" "$work/said"; echo "$3" >"$work/before"; new=$(all | grep -vxF -f "$work/before")
  if [ "$code" = 0 ]; then [ -n "$new" ]; expect 0 'is complete' "$name: complete, and it is there" $?
  else [ -z "$new" ]; expect 0 '' "$name: exit $code, and nothing new is listed" $?; grep -h . "$work/said" | head -3 | sed 's/^/        | /'; fi
  do_ verify latest --deep --store "$store" --job "$job"; expect 0 ': well' "$name: the newest verifies" $?
}

outage() {
  begin outage; do_run; expect 0 'is complete' 'a first run' $?
  local before begin took at code
  before=$(all); lab server-stop; do_run --progress-timeout 5s; code=$?; expect 6 'not answered' 'the server stopped between two runs' $code
  lab server-start; honest 'the server stopped between two runs' $code "$before"
  lab wire delay 5ms; begin=$(date +%s%N); echo 0 >"$src/a/b/1"; do_run; expect 0 'is complete' 'a run on a slow wire' $?
  took=$((($(date +%s%N) - begin) / 1000000)); echo "        | it took $took ms"; lab wire-off
  for at in 1 3 5 7 9; do
    echo "$at" >"$src/a/b/$at"; before=$(all); lab wire delay 5ms; do_run & pid=$!
    sleep "$(printf '%d.%03d' $((took * at / 10000)) $((took * at / 10 % 1000)))"; lab server-stop; lab wire-off; sleep 2; lab server-start
    wait $pid; honest "the server is away for 2 s after $at tenths of a linked run" $? "$before"
  done
  for at in 3 6 9; do
    echo "x$at" >"$src/a/b/$at"; before=$(all); lab wire delay 5ms; do_run --progress-timeout 5s & pid=$!
    sleep "$(printf '%d.%03d' $((took * at / 10000)) $((took * at / 10 % 1000)))"; lab server-stop; lab wire-off
    wait $pid; code=$?; cp "$work/out" "$work/kept"; lab server-start; sleep 1; cp "$work/kept" "$work/out"
    honest "the server is away for longer than is waited for, after $at tenths" $code "$before"
    do_run; expect 5 'is leased' '… a run at once is skipped: the lease of the one that was left behind lasts for its term' $?
    date -s '+20 minutes' >/dev/null; do_run; expect 0 'is complete' '… and one 20 minutes later is well' $?
  done
  do_run; expect 0 'is complete' 'the last run' $?
  is "$(find /srv/share/store/outage -maxdepth 1 -name '.partial-*' | wc -l)" 0 '… and no unfinished work is left'
  is "$(links "$(there)" | tr ' ' '\n' | sort -n | tail -1 | awk '{print ($1 > 2)}')" 1 '… and the volumes are shared'
  deep; expect 0 ': well' '… and all verify' $?
  same "$(newest)" "$src"; expect 0 '' '… and the last comes back' $?
}

# Two mounts of one export, each with a memory of its own, as two machines have.
holds() {
  begin holds; local options other=/mnt/other first second at code where is_held how held=0 told=0 late=0 bad=0
  for at in 1 2 3 4; do echo "$at" >"$src/a/b/1"; do_run --quiet; done
  first=$(all | sed -n 1p); second=$(all | sed -n 2p)
  options=$(awk '$2 == "/mnt/nfs" { print $4 }' /proc/mounts); mkdir -p "$other"
  mount -i -t "$(awk '$2 == "/mnt/nfs" { print $3 }' /proc/mounts)" -o "$options,nosharecache" "$(awk '$2 == "/mnt/nfs" { print $1 }' /proc/mounts)" "$other" || { told 'mounted' no 'a second mount of the same export'; return; }
  here() { local deed=$1; shift; do_ "$deed" --store "$store" --job holds "$@"; }
  yonder() { local deed=$1; shift; timeout 100 "$backup" --state-dir "$work/state-yonder" "$deed" --store "$other/store" --job holds "$@" >"$work/out" 2>&1; }
  [ "$(stat -c %d /mnt/nfs)" != "$(stat -c %d $other)" ]; expect 0 '' 'the second mount has a memory of its own' $?

  yonder prune --last 2 --floor 1 --dry-run; expect 0 '2 would be removed' 'there: nothing is held, and that is remembered' $?
  ls "$other/store/holds/.holds" >/dev/null 2>&1; here hold "$first" --why audit; expect 0 '' 'here: held' $?
  yonder prune --last 2 --floor 1; expect 0 '1 removed' 'there, at once: the held one stays although its absence was remembered' $?
  is "$(all | head -1)" "$first" '… and is listed'
  here undelete "$second"; expect 0 'is there again' 'here: what went is taken back' $?
  here release "$second"; here release "$first"; ls "$other/store/holds/.holds" >/dev/null
  here hold "$first" --why audit; expect 0 '' 'here: held once more, in a folder that is remembered there' $?
  yonder prune --last 2 --floor 1; expect 0 '1 removed' 'there, at once: it stays' $?
  is "$(all | head -1)" "$first" '… and is listed'
  here undelete "$second"; here release "$second"; here release "$first"
  here list; ls -l "$store/holds" >/dev/null; yonder prune --last 2 --floor 1; expect 0 '2 removed' 'there: released, so it goes' $?
  here hold "$first" --why audit; code=$?; [ $code != 0 ]; expect 0 "$first" "here, at once: whoever holds what went is told (exit $code)" $?
  here undelete "$first"; here undelete "$second"; here release "$first"; here release "$second"
  is "$(all | wc -l)" 4 '… and it can be taken back'

  local race='prune --last 2 --floor 1 --trash-for 1s --quiet' begin took
  lab wire delay 3ms; begin=$(date +%s%N); yonder $race; took=$((($(date +%s%N) - begin) / 1000000)); lab wire-off; echo "        | a prune took $took ms"
  for at in $(seq 0 11); do
    while [ "$(all | wc -l)" -lt 4 ]; do echo "$at $RANDOM" >"$src/a/b/1"; do_run --quiet || break; done
    first=$(all | head -1); lab wire delay 3ms
    yonder $race & pid=$!
    sleep "$(printf '%d.%03d' $((took * (at + 2) / 20000)) $((took * (at + 2) / 20 % 1000)))"
    timeout 100 "$backup" --state-dir "$work/state-$job" hold --store "$store" --job holds "$first" --why audit >"$work/held" 2>&1; code=$?
    wait $pid; how=$?; lab wire-off; sleep 1.2
    yonder $race
    if [ -d "$(there "$first")" ]; then where=listed; elif ls -d /srv/share/store/holds/.trash/*"$first" >/dev/null 2>&1; then where=trash; else where=gone; fi
    is_held=no; [ -e "/srv/share/store/holds/.holds/$first.json" ] && is_held=yes
    case $code.$is_held.$where in
      0.yes.listed) held=$((held + 1)) ;;
      [!0]*.yes.trash | [!0]*.yes.listed) told=$((told + 1)) ;;
      [!0]*.no.gone) late=$((late + 1)) ;;
      *) bad=$((bad + 1)) ;;
    esac
    echo "        | after $((took * (at + 2) / 20)) ms: prune exit $how, hold exit $code, held $is_held, $where: $(head -1 "$work/held")"
    [ $where != trash ] || here undelete "$first"
    here release "$first" --quiet
  done
  echo "$held held, $told told, $late not there any more, $bad otherwise" >"$work/out"; [ $bad = 0 ]; expect 0 '' 'a hold here and a prune there at the same moment: held and there, or told and in the trash' $?
  deep; expect 0 ': well' '… and all verify' $?
  umount "$other"
}

# The daemon of uid 10001 under root_squash, while its server goes and comes back. What it says of its runs is held against
# what the server has.
daemon() {
  begin daemon; lab reexport rw,root_squash; store=/mnt/nfs/daemon; as=(setpriv --reuid 10001 --regid 10001 --clear-groups)
  local state=$work/state-daemon door=http://127.0.0.1:9180 pid took before code
  install -d -o 10001 -g 10001 -m 700 /srv/share/daemon "$state"; chown -R 10001:10001 "$src"
  cat >"$work/daemon.yaml" <<Y
timezone: UTC
stores: {share: {path: $store, require_mount: nfs, lease_term: 1m}}
jobs: {daemon: {source: $src, schedule: "* * * * *", progress_timeout: 15s}}
Y
  on() { do_ --config "$work/daemon.yaml" "$@"; }
  within() { # SECONDS COMMAND...: until it succeeds; $took says how long that was
    local limit=$1 start=$SECONDS; shift
    until "$@" >/dev/null 2>&1; do took=$((SECONDS - start)); [ $took -lt "$limit" ] || return 1; sleep 0.5; done; took=$((SECONDS - start))
  }
  met() { local code=$1; echo "after $took s" >"$work/out"; shift; expect 0 '' "$*" "$code"; }
  up() { "${as[@]}" "$backup" --config "$work/daemon.yaml" --state-dir "$state" daemon --log-format text >>"$work/log" 2>&1 & pid=$!; }
  healthy() { timeout 20 "${as[@]}" "$backup" --config "$work/daemon.yaml" --state-dir "$state" status --check; }
  unhealthy() { healthy; [ $? = 1 ]; }
  more_than() { [ "$(all | wc -l)" -gt "$1" ]; }
  answers() { [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$door$1")" = "$2" ]; }
  runs() { curl -s -m 5 "$door/api/v1/jobs/daemon/runs" | grep -o "\"verdict\":\"$1\"" | wc -l; }
  bad_runs() { echo $(($(runs failed) + $(runs missed) + $(runs skipped))); }
  honest_runs() { # NAME: each run that is said to be ok has its snapshot on the server, and there is no other
    within 30 eval '[ "$(runs ok)" = "$(all | wc -l)" ]'; echo "ok $(runs ok), failed $(runs failed), missed $(runs missed), skipped $(runs skipped), snapshots $(all | wc -l)" >"$work/out"
    [ "$(runs ok)" = "$(all | wc -l)" ]; expect 0 '' "$1: as many runs are said to be ok as there are snapshots" $?
  }
  stop() { local start; start=$(date +%s%N); kill -TERM $pid; wait $pid; code=$?; took=$((($(date +%s%N) - start) / 1000000)); }

  on init --store share; expect 0 'is a store now' 'uid 10001 makes its store' $?
  is "$(stat -c %u /srv/share/daemon/.backup-store.json)" 10001 '… and it is its own on the server'
  up; within 30 answers /healthz 200; met $? 'the daemon answers'
  within 130 more_than 0; met $? 'a scheduled run made a snapshot'
  within 130 more_than 1; met $? 'and the next'
  within 30 healthy; met $? 'the health check is content'
  honest_runs 'the server is there'

  lab server-stop; before=$(all | wc -l)
  within 60 unhealthy; met $? 'the server is away: the health check fails'
  healthy >"$work/out" 2>&1; expect 1 '' '… and says why' $?
  within 130 eval '[ "$(bad_runs)" -ge 2 ]'; met $? '… and two runs are told as failed, missed or skipped'
  answers /healthz 200; met $? '… and the daemon answers all the while'
  is "$(all | wc -l)" "$before" '… and there is no new snapshot'
  told '^[0-9]$' "$(pgrep -u 10001 -c -f "$backup")" '… and few processes wait'
  lab server-start
  within 60 healthy; met $? 'the server is back: the health check is content' || true
  within 200 more_than "$before"; met $? '… and a scheduled run makes a snapshot'
  honest_runs 'the server was away'
  curl -s -m 5 "$door/api/v1/jobs/daemon/runs" | grep -o '"why":"[^"]*"' | sort | uniq -c | sed 's/^/        | /'

  lab wire delay 5ms; head -c 60000000 /dev/urandom >"$src/a/more"; before=$(all | wc -l)
  within 90 eval 'ls -d /srv/share/daemon/daemon/.partial-*'; met $? 'a scheduled run is at work'
  lab server-stop; lab wire-off
  stop; expect 0 '' "the server goes in the middle of it, and SIGTERM comes: the daemon ends after $took ms" $code
  [ $took -le 15000 ]; expect 0 '' '… within 15 s' $?
  lab server-start
  up; within 200 more_than "$before"; met $? 'the server is back, and the next daemon makes a snapshot'
  within 60 healthy; met $? '… and its health check is content'
  honest_runs 'a stop without a server'
  before=$(all | wc -l); within 130 more_than "$before"; met $? '… and the next scheduled run makes another'
  stop; expect 0 '' "SIGTERM with a server: the daemon ends after $took ms" $code
  is "$(find /srv/share/daemon/daemon -maxdepth 1 -name '.partial-*' | wc -l)" 0 '… and no unfinished work is left'
  deep; expect 0 ': well' 'all snapshots verify, down to every entry' $?
  same "$(newest)" "$src"; expect 0 '' 'the last comes back as it is' $?
  is "$(find /srv/share/daemon ! -user 10001 | wc -l)" 0 'files on the server that are not of uid 10001'
  lab reexport rw,no_root_squash; store=/mnt/nfs/store as=()
}

suite() {
  [ -n "${STORE_TESTS:-}" ] || { echo 'SKIPPED: STORE_TESTS names no binary'; return; }
  BACKUP_TEST_STORE_DIR=/mnt/nfs quiet "$STORE_TESTS" --exact the_folder_store_keeps_every_promise; expect 0 '1 passed' "the store's own suite" $?
  lab reexport rw,root_squash; install -d -o 10001 -m 700 /srv/share/suite
  BACKUP_TEST_STORE_DIR=/mnt/nfs/suite quiet setpriv --reuid 10001 --regid 10001 --clear-groups "$STORE_TESTS" --exact the_folder_store_keeps_every_promise
  expect 0 '1 passed' "… by uid 10001 with root_squash" $?
  lab reexport rw,all_squash; chown 65534 /srv/share/suite
  BACKUP_TEST_STORE_DIR=/mnt/nfs/suite quiet setpriv --reuid 10001 --regid 10001 --clear-groups "$STORE_TESTS" --exact the_folder_store_keeps_every_promise
  expect 0 '1 passed' "… by uid 10001 with all_squash" $?
  lab reexport rw,no_root_squash
}

for part in "${@:-}"; do
  case $part in
    '') misfortunes; linked; owners; refused; outage; holds; daemon; suite ;;
    misfortunes | linked | owners | refused | outage | holds | daemon | suite) "$part" ;;
    *) echo "no part is called $part" >&2; exit 2 ;;
  esac
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
