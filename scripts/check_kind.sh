#!/bin/sh
# Refuse to mix two kinds of ROS 2 in one virtual environment.
# Usage: check_kind.sh KIND    ("wheels", or the name of the sourced distribution)
set -eu
. "$(dirname "$0")/common.sh"

[ -d "$work/stamps" ] || exit 0
for stamp in "$work"/stamps/*; do
    other=$(basename "$stamp")
    [ "$other" = "$1" ] || fail "this checkout was set up for ROS 2 '$other', not for '$1'" \
        "Use a shell that fits (where '$other' is 'wheels': one with no ROS 2 sourced)," \
        "or start again with: make distclean setup"
done
