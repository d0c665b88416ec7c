#!/bin/sh
# The mock-up web site: students hand in a paper now and then. Writes to /var/www/upload, under odd names as people give them.
set -eu
trap 'exit 0' TERM INT
cd /var/www/upload
number=0
while :; do
  number=$((number + 1))
  name="Student $((number % 200))_$(date +%V_%Y).pdf"
  { echo "%PDF-1.4 mock-up"; seq "$((number * 50))"; } >".$name.part"
  mv ".$name.part" "$name"
  echo "uploaded $name"
  sleep 5 & wait $!
done
