#!/bin/sh
# Install the system packages that are missing: a compiler and CMake for the messages, and the
# libraries that Open3D links against. Does nothing, and needs no root, where all are there.
# Usage: system_packages.sh PYTHON
set -eu
. "$(dirname "$0")/common.sh"

python=$1
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
missing=''

need() { missing="$missing $1"; }
need_command() { command -v "$1" >/dev/null || need "$2"; }
need_library() { printf '%s' "$libraries" | grep -q "$1 " || need "$2"; }

"$python" -c 'import ensurepip, venv' 2>/dev/null || need "python$version-venv"
"$python" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    need "python$version-dev"
need_command cmake cmake
need_command make make
need_command c++ g++
libraries=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)
need_library libusb-1.0.so.0 libusb-1.0-0
need_library libGL.so.1 libgl1
need_library libEGL.so.1 libegl1
need_library libX11.so.6 libx11-6
need_library libgomp.so.1 libgomp1

[ -n "$missing" ] || exit 0
say "Installing missing system packages:$missing"

by_hand="apt-get install$missing"
command -v apt-get >/dev/null || fail "system packages are missing and there is no apt-get" \
    "Install what corresponds to:$missing"
if [ "$(id -u)" -eq 0 ]; then
    as_root=''
elif command -v sudo >/dev/null; then
    as_root=sudo
    [ -t 0 ] || as_root='sudo -n'
else
    fail "system packages are missing, and this is neither root nor a machine with sudo" \
        "Let somebody with the rights run: $by_hand"
fi
# shellcheck disable=SC2086  # both hold several words on purpose
{
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing
} >/dev/null || fail "apt-get could not install:$missing" "Try by hand: $by_hand"
