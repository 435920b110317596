#!/bin/sh
# Refuse to mix two kinds of ROS 2 in one virtual environment.
# Usage: check_kind.sh KIND    ("wheels", or the name of the sourced distribution)
set -eu
. "$(dirname "$0")/common.sh"

[ -d "$work/stamps" ] || exit 0
for stamp in "$work"/stamps/*; do
    other=$(basename "$stamp")
    [ "$other" != "$1" ] || continue
    if [ "$other" = wheels ]; then shell='no ROS 2 sourced'; else shell="ROS 2 '$other' sourced"; fi
    fail "this checkout was set up in a shell with $shell; this shell is another" \
        "Use a shell with $shell, or start again: make distclean setup"
done
