#!/usr/bin/env bash
# The program on a real NFS mount, with the server's misfortunes: what `backup` says, how it exits, what it writes.
#
# Runs inside a machine that has a kernel NFS server exporting /srv/share, a client that mounts it on /mnt/nfs, and a
# command `lab` that makes things go wrong (server-stop, server-start, disk-gone, disk-back, unmount, mount, reexport,
# fill, unfill). Not part of the test suite; run by hand with BACKUP naming the binary. Prints a line for each case and
# ends with `N passed, N failed`.
set -u
backup=${BACKUP:?name the binary}
work=$(mktemp -d); src=$work/upload; mkdir -p "$src/a"; head -c 3000000 /dev/urandom >"$src/a/noise"; seq 200000 >"$src/text"
passed=0 failed=0
store=/mnt/nfs/store
run() { timeout 120 "$backup" --state-dir "$work/state" run --source "$src" --to "$store" "$@" >"$work/out" 2>&1; }
expect() { # CODE TEXT NAME
  local code=$1 text=$2 name=$3 got=$4
  if [ "$got" = "$code" ] && grep -q -- "$text" "$work/out"; then passed=$((passed + 1)); echo "ok    exit $got  $name"; sed -n '1,4s/^/        | /p' "$work/out"
  else failed=$((failed + 1)); echo "FAIL  exit $got, wanted $code and '$text': $name"; sed 's/^/        | /' "$work/out"; fi
}
tree() { find "$1" -printf '%P %s %T@ %m\n' 2>/dev/null | sort | sha256sum; }

run; expect 0 'is complete' 'a first run on NFS makes the folder a store and a snapshot' $?
run; expect 0 'is complete' 'a second run' $?
"$backup" --state-dir "$work/state" verify --all --store "$store" >"$work/out" 2>&1; expect 0 ': well' 'both snapshots verify' $?
( cd "$(ls -d $store/upload/upload-* | tail -1)" && sha256sum -c SHA256SUMS ) >"$work/out" 2>&1; expect 0 'snapshot.json: OK' 'sha256sum agrees' $?

lab unmount; before=$(tree /mnt/nfs); run; expect 6 'does not exist' 'not mounted: refused' $?
[ "$before" = "$(tree /mnt/nfs)" ]; echo "written" >"$work/out"; expect 0 written 'not mounted: not one byte on the local disk' $?
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
head -c 60000000 /dev/urandom >"$src/big"; lab fill 40; run --job fresh; code=$?
expect 1 'no room left' 'full in mid-run: failed, told as room' $code
ls -a $store/fresh | grep -q partial && { failed=$((failed + 1)); echo 'FAIL  unfinished work was left behind'; }
lab unfill; rm "$src/big"
run; expect 0 'is complete' '… and the next run is well' $?

lab reexport ro,no_root_squash; run; expect 1 'read-only' 'a read-only export' $?
lab reexport rw,root_squash; chown -R 65534:65534 /srv/share/store; run; expect 0 'is complete' 'root_squash, the folder belongs to nobody: works' $?
chown -R 0:0 /srv/share/store; chmod 755 /srv/share/store /srv/share/store/upload; run; expect 1 'not permitted' 'root_squash, the folder belongs to root: told' $?
lab reexport rw,no_root_squash

head -c 150000000 /dev/urandom >"$src/big"
timeout 200 "$backup" --state-dir "$work/state" run --source "$src" --to "$store" --progress-timeout 20s >"$work/out" 2>&1 & pid=$!
for _ in $(seq 200); do ls $store/upload/.partial-* >/dev/null 2>&1 && break; sleep 0.1; done
lab server-stop; begin=$SECONDS; wait $pid; code=$?; took=$((SECONDS - begin))
expect 6 'not answered for 20 s' "the server stops in mid-run: failed after $took s" $code
[ "$took" -le 60 ]; expect 0 '' '… within its deadline' $?
lab server-start
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
