#!/bin/sh
# Renders the three systems in a real Chromium at 1280 and 390 px, light and dark, into a folder, to be looked at.
# Usage: tests/page/look.sh FOLDER
set -eu
folder=${1:?a folder for the pictures}
mkdir -p "$folder"
cd "$(dirname "$0")/../.."
LOOK=$(realpath "$folder") exec cargo test --test page -- --nocapture in_a_real_browser
